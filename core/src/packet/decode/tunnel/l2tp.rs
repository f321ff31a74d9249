//! L2TP, version 2 (RFC 2661): PPP in UDP. Tunnels and sessions have one identifier for each direction.

use super::super::walk::{Found, Rest, Walk};
use super::super::{Skip, ppp};

/// The assigned port.
pub(super) const PORT: u16 = 1701;

/// Follows a data message.
pub(super) fn follow(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    const CONTROL: u16 = 0x8000;
    const LENGTH: u16 = 0x4000;
    const SEQUENCE: u16 = 0x0800;
    const OFFSET: u16 = 0x0200;
    const RESERVED: u16 = 0x34f0;
    let flags = rest.be16(0)?;
    if flags & (CONTROL | RESERVED) != 0 || flags & 0x0f != 2 {
        return Err(Skip::Malformed);
    }
    let (mut at, mut wire) = (2, rest.wire);
    if flags & LENGTH != 0 {
        wire = u32::from(rest.be16(at)?);
        at += 2;
    }
    if wire > rest.wire {
        return Err(Skip::Malformed);
    }
    // Tunnel and session, then what the flags announce.
    at += 4;
    at += if flags & SEQUENCE != 0 { 4 } else { 0 };
    if flags & OFFSET != 0 {
        at += 2 + usize::from(rest.be16(at)?);
    }
    // Two bits prove little: only with IP inside is it believed.
    ppp::packet(walk, rest.first(wire).after(at)?)
        .map_err(|skip| if skip == Skip::NotIp { Skip::Malformed } else { skip })
}
