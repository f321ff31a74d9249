//! VXLAN (RFC 7348) with its group policy bits, and VXLAN-GPE.

use super::super::walk::{Found, Lan, Rest, Walk};
use super::super::{Skip, ethertype, mpls};

/// The assigned port.
pub(super) const PORT: u16 = 4789;
/// The port of Linux before one was assigned.
pub(super) const OLD_PORT: u16 = 8472;
/// The port of VXLAN-GPE.
pub(super) const EXTENDED_PORT: u16 = 4790;

const IDENTIFIED: u8 = 0x08;

/// Follows VXLAN to the packet in its frame.
pub(super) fn follow(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    const POLICY: u8 = 0x80;
    let [flags, applied, group @ ..] = rest.bytes::<4>(0)?;
    let reserved = rest.byte(7)?;
    // Group policies fill what is zero otherwise.
    let plain = flags & POLICY == 0;
    if flags & !POLICY != IDENTIFIED || reserved != 0 || (plain && (applied != 0 || group != [0, 0])) {
        return Err(Skip::Malformed);
    }
    ethertype::frame(walk.within(Lan::Virtual(rest.be32(4)? >> 8)), rest.after(8)?)
}

/// Follows VXLAN-GPE, which says what it carries.
pub(super) fn follow_extended(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    const NAMED: u8 = 0x04;
    let [flags, first, second, next] = rest.bytes(0)?;
    if flags & !1 != IDENTIFIED | NAMED || first != 0 || second != 0 {
        return follow(walk, rest);
    }
    let walk = walk.within(Lan::Virtual(rest.be32(4)? >> 8));
    let body = rest.after(8)?;
    match next {
        1 | 2 => Ok((walk, body)),
        3 => ethertype::frame(walk, body),
        4 => ethertype::service_chain(walk.enter()?, body),
        5 => mpls::stack(walk.enter()?, body),
        _ => Err(Skip::Malformed),
    }
}
