//! Link types, by their tcpdump.org numbers, down to the IP packet.

use super::walk::{Found, Rest, Walk};
use super::{Skip, ethertype, llc, mpls, ppp, wifi};
use crate::packet::LinkType;

/// Follows the link layer to the IP packet.
#[inline(always)]
pub(super) fn to_ip(walk: Walk, link: LinkType, rest: Rest<'_>) -> Found<'_> {
    match link {
        LinkType::ETHERNET => ethertype::outer_frame(walk, rest),
        LinkType::RAW => Ok((walk, rest)),
        _ => other(walk, link, rest),
    }
}

/// The same for a link type that a header of another names.
#[cold]
#[inline(never)]
pub(super) fn nested(walk: Walk, link: LinkType, rest: Rest<'_>) -> Found<'_> {
    to_ip(walk.enter()?, link, rest)
}

#[cold]
#[inline(never)]
fn other(walk: Walk, link: LinkType, rest: Rest<'_>) -> Found<'_> {
    match link {
        LinkType::RAW_BSD | LinkType::RAW_ALT | LinkType::IPV4 | LinkType::IPV6 => Ok((walk, rest)),
        LinkType::NULL | LinkType::LOOP => loopback(walk, rest),
        LinkType::LINUX_SLL => cooked(walk, rest.be16(2)?, rest.be16(14)?, rest.after(16)?),
        LinkType::LINUX_SLL2 => cooked(walk, rest.be16(8)?, rest.be16(0)?, rest.after(20)?),
        LinkType::PPP | LinkType::PPP_HDLC => ppp::serial(walk, rest),
        LinkType::PPP_PPPD => ppp::packet(walk, rest.after(2)?),
        LinkType::PPP_WITH_DIRECTION => ppp::packet(walk, rest.after(1)?),
        LinkType::PPP_ETHER => ppp::session(walk, rest),
        LinkType::C_HDLC => ppp::cisco(walk, rest),
        LinkType::C_HDLC_WITH_DIRECTION => ppp::cisco(walk, rest.after(1)?),
        LinkType::FRELAY => frame_relay(walk, rest),
        LinkType::FRELAY_WITH_DIRECTION => frame_relay(walk, rest.after(1)?),
        LinkType::MPLS => mpls::stack(walk, rest),
        LinkType::IEEE802_11 => wifi::frame(walk, rest, false),
        LinkType::RADIOTAP => wifi::radiotap(walk, rest),
        LinkType::PPI => wifi::per_packet(walk, rest),
        LinkType::PRISM => wifi::prism(walk, rest),
        LinkType::AVS => wifi::avs(walk, rest),
        LinkType::ENC => encapsulated(walk, rest),
        LinkType::PFLOG => firewall_log(walk, rest),
        LinkType::NFLOG => netfilter_log(walk, rest),
        // Frame control, then two addresses.
        LinkType::FDDI => llc::packet(walk, rest.after(13)?),
        LinkType::TOKEN_RING => token_ring(walk, rest),
        LinkType::ATM_LLC => llc::packet(walk, rest),
        LinkType::IP_OVER_FC => llc::packet(walk, rest.after(16)?),
        LinkType::SUN_ATM => sun_atm(walk, rest),
        // Direction and a compressed header of the driver.
        LinkType::SLIP => Ok((walk, rest.after(16)?)),
        // Two addresses of eight bytes.
        LinkType::APPLE_FIREWIRE => ethertype::payload(walk, rest.be16(16)?, rest.after(18)?),
        // Version, address family, source and destination zone and interface.
        LinkType::IPNET => Ok((walk, rest.after(24)?)),
        // Two addresses of twenty bytes, then an EtherType and two bytes that are reserved.
        LinkType::IP_OVER_INFINIBAND => ethertype::payload(walk, rest.be16(40)?, rest.after(44)?),
        LinkType::NETANALYZER => ethertype::frame(walk, rest.after(4)?),
        // The same, with the frame's preamble.
        LinkType::NETANALYZER_TRANSPARENT => ethertype::frame(walk, rest.after(12)?),
        LinkType::DSA_BROADCOM | LinkType::DSA => ethertype::payload(walk, rest.be16(16)?, rest.after(18)?),
        LinkType::DSA_BROADCOM_FRONT => ethertype::frame(walk, rest.after(4)?),
        LinkType::DSA_ETHERTYPE => ethertype::payload(walk, rest.be16(20)?, rest.after(22)?),
        LinkType::PKTAP => packet_tap(walk, rest),
        LinkType::ERF => endace(walk, rest),
        _ => Err(Skip::UnknownLink),
    }
}

/// BSD loopback: the address family tells nothing that the IP version does not, except that IP is inside.
fn loopback(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    let family = rest.bytes::<4>(0)?;
    // The family is in the byte order of whoever captured: one of these bytes holds it.
    let family = if family[0] == 0 && family[1] == 0 { family[3] } else { family[0] };
    if is_ip(family) { Ok((walk, rest.after(4)?)) } else { Err(Skip::NotIp) }
}

/// Whether an address family is IP: 2 everywhere, and one of five numbers for IPv6.
fn is_ip(family: u8) -> bool {
    matches!(family, 2 | 10 | 24 | 26 | 28 | 30)
}

/// Linux "cooked" capture: the kind of interface (ARPHRD) changes what the protocol means.
fn cooked(walk: Walk, interface: u16, protocol: u16, rest: Rest<'_>) -> Found<'_> {
    const GRE: [u16; 2] = [778, 823];
    const RADIOTAP: u16 = 803;
    const WIFI: u16 = 801;
    const NETLINK: u16 = 824;
    const LLC: u16 = 4;
    match (interface, protocol) {
        (NETLINK, _) => Err(Skip::NotIp),
        (RADIOTAP, _) => wifi::radiotap(walk, rest),
        (WIFI, _) => wifi::frame(walk, rest, false),
        (_, LLC) => llc::packet(walk, rest),
        (_, 0x0600..) => ethertype::payload(walk, protocol, rest),
        // A tunnel's interface that names no protocol.
        (kind, 0) if GRE.contains(&kind) && super::ip::is_plausible(rest) => Ok((walk, rest)),
        _ => Err(Skip::NotIp),
    }
}

/// Frame Relay (Q.922): an address of two bytes or more, then RFC 2427 or an EtherType as Cisco has it.
fn frame_relay(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    const LAST: u8 = 1;
    if rest.byte(0)? & LAST != 0 {
        return Err(Skip::Malformed);
    }
    let address = (1..4).find(|at| rest.data.get(*at).is_some_and(|byte| byte & LAST != 0)).ok_or(Skip::Truncated)? + 1;
    let body = rest.after(address)?;
    match body.bytes(0)? {
        // Unnumbered information, perhaps with a byte of padding.
        [3, 0] => llc::network_layer(walk, body.after(2)?),
        [3, _] => llc::network_layer(walk, body.after(1)?),
        _ => match body.be16(0)? {
            kind @ 0x0600.. => ethertype::payload(walk, kind, body.after(2)?),
            _ => Err(Skip::NotIp),
        },
    }
}

/// OpenBSD's encapsulation interface: family, security index, flags.
fn encapsulated(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    loopback(walk, rest).and_then(|(walk, _)| Ok((walk, rest.after(12)?)))
}

/// A BSD packet filter's log: its header says how long it is, without the padding.
fn firewall_log(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    let [length, family] = rest.bytes(0)?;
    if !is_ip(family) {
        return Err(Skip::NotIp);
    }
    Ok((walk, rest.after(usize::from(length).next_multiple_of(4))?))
}

/// Linux netfilter's log: a list of attributes, one of which is the packet.
fn netfilter_log(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    const PAYLOAD: u16 = 9;
    let mut rest = rest.after(4)?;
    loop {
        // Numbers are in the byte order of whoever captured; a length is at most a packet's, so the smaller one it is.
        let (length, kind): ([u8; 2], [u8; 2]) = (rest.bytes(0)?, rest.bytes(2)?);
        let little = u16::from_le_bytes(kind) & 0x7fff <= u16::from_be_bytes(kind) & 0x7fff;
        let (length, kind) = if little {
            (u16::from_le_bytes(length), u16::from_le_bytes(kind))
        } else {
            (u16::from_be_bytes(length), u16::from_be_bytes(kind))
        };
        if length < 4 {
            return Err(Skip::Malformed);
        }
        if kind & 0x7fff == PAYLOAD {
            return Ok((walk, rest.first(u32::from(length)).after(4)?));
        }
        rest = rest.after(usize::from(length).next_multiple_of(4))?;
    }
}

/// Token Ring (IEEE 802.5): the source's first bit says that a route follows.
fn token_ring(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    let routed = rest.byte(8)? & 0x80 != 0;
    let route = if routed { usize::from(rest.byte(14)? & 0x1f) } else { 0 };
    llc::packet(walk, rest.after(14 + route)?)
}

/// SunATM: the kind of traffic, path and circuit.
fn sun_atm(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    match rest.byte(0)? & 0x0f {
        // LAN emulation: two bytes of the client, then a frame.
        1 => ethertype::frame(walk, rest.after(6)?),
        2 => llc::packet(walk, rest.after(4)?),
        _ => Err(Skip::NotIp),
    }
}

/// Apple's tap: a header with its length and the link type of what follows, in the byte order of today's machines.
fn packet_tap(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    let [length, _, inner] = [0, 4, 8].map(|at| rest.bytes(at).map(u32::from_le_bytes));
    let inner = u16::try_from(inner?).map_err(|_| Skip::Malformed)?;
    let length = length?;
    if length < 12 {
        return Err(Skip::Malformed);
    }
    nested(walk, LinkType(inner), rest.after(length as usize)?)
}

/// Endace's extensible record format: a record of its own around each packet.
fn endace(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    const MORE: u8 = 0x80;
    let kind = rest.byte(8)?;
    let mut at = 16;
    let mut more = kind & MORE != 0;
    while more {
        more = rest.byte(at)? & MORE != 0;
        at += 8;
    }
    match kind & 0x7f {
        1 => ppp::serial(walk, rest.after(at)?),
        // Two bytes of padding before a frame.
        2 | 11 | 16 | 20 => ethertype::frame(walk, rest.after(at + 2)?),
        22 | 23 => Ok((walk, rest.after(at)?)),
        _ => Err(Skip::NotIp),
    }
}
