//! Generic routing encapsulation (RFC 2784, RFC 2890; RFC 1701 with its routes; RFC 2637 for PPTP).

use super::super::walk::{Found, Lan, Rest, Walk};
use super::super::{Skip, ethertype, ppp};

const CHECKSUM: u16 = 0x8000;
const ROUTE: u16 = 0x4000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
const ACKNOWLEDGED: u16 = 0x0080;
const VERSION: u16 = 0x0007;

/// Follows GRE to the packet inside. Keys differ by direction, except that of NVGRE (RFC 7637).
pub(super) fn follow(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    let (flags, kind) = (rest.be16(0)?, rest.be16(2)?);
    match flags & VERSION {
        0 => {}
        1 => return enhanced(walk, flags, kind, rest),
        _ => return Err(Skip::Malformed),
    }
    let mut at = 4;
    if flags & (CHECKSUM | ROUTE) != 0 {
        at += 4;
    }
    let key = if flags & KEY != 0 { Some(rest.be32(at)?) } else { None };
    at += if key.is_some() { 4 } else { 0 };
    at += if flags & SEQUENCE != 0 { 4 } else { 0 };
    if flags & ROUTE != 0 {
        at = behind_routes(rest, at)?;
    }
    let body = rest.after(at)?;
    match kind {
        0x6558 => {
            // NVGRE: a virtual subnet and a number for the flow in the key, and neither checksum nor sequence.
            let walk = match key {
                Some(key) if flags & (CHECKSUM | SEQUENCE) == 0 => walk.within(Lan::Virtual(key >> 8)),
                _ => walk,
            };
            ethertype::frame(walk, body)
        }
        // ERSPAN: a mirrored frame, bare in type I, behind eight bytes in type II.
        0x88be if flags & SEQUENCE == 0 => ethertype::frame(walk, body),
        0x88be => ethertype::frame(walk, body.after(8)?),
        // Type III: twelve bytes, and eight more where the last bit says so.
        0x22eb => {
            let more = if body.byte(11)? & 1 != 0 { 8 } else { 0 };
            ethertype::frame(walk, body.after(12 + more)?)
        }
        // WCCP: IP, in its second version behind four bytes.
        0x883e if body.byte(0)? >> 4 != 4 => Ok((walk, body.after(4)?)),
        0x883e => Ok((walk, body)),
        0x880b => ppp::packet(walk, body),
        0x0600.. => ethertype::payload(walk, kind, body),
        _ => Err(Skip::NotIp),
    }
}

/// RFC 1701's routes: entries of four bytes and a length, up to an empty one.
fn behind_routes(rest: Rest<'_>, mut at: usize) -> Result<usize, Skip> {
    loop {
        let [.., length] = rest.bytes::<4>(at)?;
        let family = rest.be16(at)?;
        at += 4 + usize::from(length);
        if family == 0 && length == 0 {
            return Ok(at);
        }
    }
}

/// PPTP's form: the key is a length and the call, and an acknowledgement may be all there is.
fn enhanced(walk: Walk, flags: u16, kind: u16, rest: Rest<'_>) -> Found<'_> {
    if kind != 0x880b || flags & KEY == 0 {
        return Err(Skip::Malformed);
    }
    if flags & SEQUENCE == 0 {
        return Err(Skip::NotIp);
    }
    let acknowledgement = if flags & ACKNOWLEDGED != 0 { 4 } else { 0 };
    ppp::packet(walk, rest.after(12 + acknowledgement)?.first(u32::from(rest.be16(4)?)))
}
