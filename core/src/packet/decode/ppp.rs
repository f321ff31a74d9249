//! PPP (RFC 1661), how it is framed, and PPPoE (RFC 2516).

use super::walk::{Found, Lan, Rest, Walk};
use super::{Skip, ethertype, mpls};

/// PPP with or without its address and control bytes.
pub(super) fn packet(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    let rest = if rest.data.starts_with(&[0xff, 3]) { rest.after(2)? } else { rest };
    let first = rest.byte(0)?;
    // The first byte of a protocol is even, the last one odd: a sender may leave out a first one of zero.
    let (protocol, body) = match first & 1 {
        1 => (u16::from(first), rest.after(1)?),
        _ => (rest.be16(0)?, rest.after(2)?),
    };
    match protocol {
        0x0021 | 0x0057 => Ok((walk, body)),
        0x0281 | 0x0283 => mpls::stack(walk.enter()?, body),
        // Encryption control (RFC 1968) and its form inside a bundle.
        0x0053 | 0x0055 => Err(Skip::Encrypted),
        _ => Err(Skip::NotIp),
    }
}

/// A PPPoE session packet.
pub(super) fn session(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    if rest.byte(0)? != 0x11 {
        return Err(Skip::Malformed);
    }
    // Any other code belongs to discovery.
    if rest.byte(1)? != 0 {
        return Err(Skip::NotIp);
    }
    let walk = walk.within(Lan::Session(rest.be16(2)?));
    packet(walk, rest.after(6)?.first(u32::from(rest.be16(4)?)))
}

/// A serial line: PPP in HDLC-like framing (RFC 1662) or Cisco HDLC.
pub(super) fn serial(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    match rest.bytes(0)? {
        [0x0f | 0x8f, 0] => cisco(walk, rest),
        _ => packet(walk, rest),
    }
}

/// Cisco HDLC: address, control, EtherType.
pub(super) fn cisco(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    match rest.be16(2)? {
        kind @ 0x0600.. => ethertype::payload(walk, kind, rest.after(4)?),
        _ => Err(Skip::NotIp),
    }
}
