//! MPLS label stacks (RFC 3032). Labels differ by direction and name nothing.

use super::walk::{Found, Rest, Walk};
use super::{Skip, ethertype, ip};

/// Follows a label stack to what it carries, which nothing announces: IP, or a pseudo-wire (RFC 4448) with or without
/// its control word. The first nibble tells IP from a control word; an address of a pseudo-wire's frame may begin like
/// either, so that the better fit decides.
pub(super) fn stack(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    const BOTTOM: u32 = 0x100;
    let mut rest = rest;
    loop {
        let label = rest.be32(0)?;
        rest = rest.after(4)?;
        if label & BOTTOM != 0 {
            break;
        }
    }
    match rest.byte(0)? >> 4 {
        4 | 6 if ip::is_plausible(rest) && !ethertype::holds_ip(rest) => Ok((walk, rest)),
        0 if rest.after(4).is_ok_and(ethertype::is_likely_frame) => ethertype::frame(walk.enter()?, rest.after(4)?),
        _ if ethertype::is_likely_frame(rest) => ethertype::frame(walk.enter()?, rest),
        4 | 6 => Ok((walk, rest)),
        _ => Err(Skip::NotIp),
    }
}
