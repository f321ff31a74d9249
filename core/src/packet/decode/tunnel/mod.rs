//! Tunnels: packets and frames inside IP packets, by IP protocol or by UDP port.
//!
//! A protocol number is believed. A port proves nothing, so that header and inner packet must both make sense;
//! otherwise the packet is what it looks like: UDP.

mod capwap;
mod geneve;
mod gre;
mod gtp;
mod l2tp;
mod teredo;
mod vxlan;

use super::part::Left;
use super::transport::{self, Envelope};
use super::walk::{Found, Rest, Walk};
use super::{Decoded, Skip, ethertype, ip, mpls};

/// Decodes what an IP protocol other than TCP and UDP carries.
#[cold]
#[inline(never)]
pub(super) fn by_protocol<'a>(
    walk: Walk,
    protocol: u8,
    rest: Rest<'a>,
    envelope: Envelope,
    left: Left<'_, 'a>,
) -> Result<Decoded<'a>, Skip> {
    // The authentication header (RFC 4302) signs and does not hide.
    if protocol == 51 {
        let length = usize::from(rest.byte(1)?) * 4 + 8;
        return transport::rare(walk.enter()?, rest.byte(0)?, rest.after(length)?, envelope, left);
    }
    let (walk, inner) = inside_protocol(walk, protocol, rest)?;
    ip::packet(walk, inner, left)
}

/// Follows an IP protocol that carries packets to the packet inside.
pub(super) fn inside_protocol(walk: Walk, protocol: u8, rest: Rest<'_>) -> Found<'_> {
    match protocol {
        // IP in IP: 4in4 (RFC 2003), 4in6 (RFC 2473), 6in4 and 6to4 (RFC 4213, RFC 3056).
        4 | 41 => Ok((walk.enter()?, rest)),
        47 => gre::follow(walk.enter()?, rest),
        // EtherIP (RFC 3378): a version, then a frame.
        97 => ethertype::frame(walk.enter()?, rest.after(2)?),
        137 => mpls::stack(walk.enter()?, rest),
        _ => Err(Skip::OtherTransport),
    }
}

/// How a port's tunnel is read.
type Follow = for<'a> fn(Walk, Rest<'a>) -> Found<'a>;

/// Ports of tunnels, and whether the port may be the sender's too.
const PORTS: [(u16, bool, Follow); 8] = [
    (vxlan::PORT, false, vxlan::follow),
    (vxlan::OLD_PORT, false, vxlan::follow),
    (vxlan::EXTENDED_PORT, false, vxlan::follow_extended),
    (geneve::PORT, false, geneve::follow),
    (gtp::PORT, false, gtp::follow),
    (teredo::PORT, true, teredo::follow),
    (l2tp::PORT, true, l2tp::follow),
    (capwap::PORT, true, capwap::follow),
];

/// The ports again, each at the place of its low bits: one look tells almost every other port that it is none.
static BY_LOW_BITS: [u16; 128] = {
    let mut table = [0; 128];
    // No port with these low bits is 1, and 0 would be a port.
    table[0] = 1;
    let mut at = 0;
    while at < PORTS.len() {
        let place = (PORTS[at].0 & 127) as usize;
        assert!(table[place] == 0, "two tunnels share a place");
        table[place] = PORTS[at].0;
        at += 1;
    }
    table
};

/// Whether a UDP packet between these ports may be a tunnel's.
#[inline]
pub(super) fn may_be(src_port: u16, dst_port: u16) -> bool {
    let known = |port: u16| BY_LOW_BITS[usize::from(port & 127)] == port;
    known(dst_port) | known(src_port)
}

/// Decodes what a UDP packet carries, if it is a tunnel's.
#[cold]
#[inline(never)]
pub(super) fn by_port<'a>(
    walk: Walk,
    src_port: u16,
    dst_port: u16,
    body: Rest<'a>,
    left: Left<'_, 'a>,
) -> Option<Result<Decoded<'a>, Skip>> {
    let inner = inside_ports(walk, src_port, dst_port, body)?.and_then(|(walk, inner)| ip::packet(walk, inner, left));
    match inner {
        Err(Skip::Malformed) => None,
        // What is too short although nothing was cut off was never meant as a tunnel.
        Err(Skip::Truncated) if body.is_whole() => None,
        inner => Some(inner),
    }
}

/// Follows a tunnel that goes by its port to what may be a packet inside; nothing where no tunnel has these ports.
pub(super) fn inside_ports(walk: Walk, src_port: u16, dst_port: u16, body: Rest<'_>) -> Option<Found<'_>> {
    let (_, _, follow) = PORTS.iter().find(|(port, either, _)| *port == dst_port || (*either && *port == src_port))?;
    let inside = || {
        let (walk, inner) = follow(walk.enter()?, body)?;
        if inner.data.len() >= 6 && !ip::is_plausible(inner) {
            return Err(Skip::Malformed);
        }
        Ok((walk, inner))
    };
    Some(inside())
}
