//! Single steps of the walk, for whoever draws the headers that lie between: where does the IP packet inside begin?

use super::walk::{Found, Rest, Walk};
use super::{DecodeLimits, Skip, ethertype, ip, link, tunnel};
use crate::packet::LinkType;

/// Bytes of a frame, and their length on the wire.
pub(in crate::packet) type Bytes<'a> = (&'a [u8], u32);

fn walk() -> Walk {
    Walk::new(DecodeLimits::default().nesting)
}

fn rest((data, wire): Bytes<'_>) -> Rest<'_> {
    Rest { data, wire }
}

fn inside(found: Found<'_>) -> Result<Bytes<'_>, Skip> {
    found.map(|(_, rest)| (rest.data, rest.wire))
}

/// The IP packet in a frame of some link type.
pub(in crate::packet) fn in_link(kind: LinkType, frame: Bytes<'_>) -> Result<Bytes<'_>, Skip> {
    inside(link::to_ip(walk(), kind, rest(frame)))
}

/// The IP packet in what an EtherType announces.
pub(in crate::packet) fn in_ether(kind: u16, body: Bytes<'_>) -> Result<Bytes<'_>, Skip> {
    inside(ethertype::payload(walk(), kind, rest(body)))
}

/// The IP packet in what an IP protocol carries.
pub(in crate::packet) fn in_protocol(protocol: u8, body: Bytes<'_>) -> Result<Bytes<'_>, Skip> {
    inside(tunnel::inside_protocol(walk(), protocol, rest(body)))
}

/// The IP packet in a UDP payload, where its ports are a tunnel's and it looks like one, as for a [`super::Decoder`]; or
/// that the tunnel carries something else.
pub(in crate::packet) fn in_ports(src_port: u16, dst_port: u16, body: Bytes<'_>) -> Option<Result<Bytes<'_>, Skip>> {
    if !tunnel::may_be(src_port, dst_port) {
        return None;
    }
    let found = tunnel::inside_ports(walk(), src_port, dst_port, rest(body))?;
    let decoded = found.and_then(|(walk, inner)| ip::packet(walk, inner, &mut None).map(|_| ()));
    match decoded {
        Err(Skip::Malformed) => None,
        Err(Skip::Truncated) if rest(body).is_whole() => None,
        _ => Some(inside(found)),
    }
}
