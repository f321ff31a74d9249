//! Link types, by their tcpdump.org numbers.

use super::outline::Address;
use super::part::Part;
use super::tree::Datum;
use super::walk::{Next, Walk};
use super::{ether, tunnel};
use crate::packet::LinkType;
use crate::packet::decode::steps;

/// Draws the link layer of a frame.
pub(super) fn draw<'a>(walk: &mut Walk<'_, 'a>, kind: LinkType, part: Part<'a>) -> Next<'a> {
    match kind {
        LinkType::ETHERNET => ether::frame(walk, part),
        LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_ALT | LinkType::IPV4 | LinkType::IPV6 => Next::Ip(part),
        LinkType::NULL | LinkType::LOOP => loopback(walk, kind, part),
        LinkType::LINUX_SLL => cooked(walk, part, &FIRST),
        LinkType::LINUX_SLL2 => cooked(walk, part, &SECOND),
        LinkType::MPLS => tunnel::labels(walk, part),
        LinkType::PPP_ETHER => tunnel::session(walk, part),
        other => {
            let found = steps::in_link(other, part.step());
            let (field, label) = (field(other), other.to_string());
            walk.by_name(field, &label, part, found)
        }
    }
}

/// The name that a link type's layer has as a field.
fn field(kind: LinkType) -> &'static str {
    match kind {
        LinkType::IEEE802_11 => "wlan",
        LinkType::RADIOTAP => "radiotap",
        LinkType::PRISM => "prism",
        LinkType::AVS => "wlancap",
        LinkType::PPI => "ppi",
        LinkType::PPP | LinkType::PPP_HDLC | LinkType::PPP_PPPD | LinkType::PPP_WITH_DIRECTION => "ppp",
        LinkType::C_HDLC | LinkType::C_HDLC_WITH_DIRECTION => "chdlc",
        LinkType::FRELAY | LinkType::FRELAY_WITH_DIRECTION => "fr",
        LinkType::TOKEN_RING => "tr",
        LinkType::FDDI => "fddi",
        LinkType::PFLOG => "pflog",
        LinkType::NFLOG => "nflog",
        LinkType::ENC => "enc",
        LinkType::ERF => "erf",
        LinkType::PKTAP => "pktap",
        LinkType::SLIP => "slip",
        _ => "link",
    }
}

/// BSD loopback: an address family in the byte order of whoever captured, or of the network.
fn loopback<'a>(walk: &mut Walk<'_, 'a>, kind: LinkType, part: Part<'a>) -> Next<'a> {
    const LENGTH: usize = 4;
    let (field, label) = if kind == LinkType::LOOP { ("loop", "OpenBSD loopback") } else { ("null", "BSD loopback") };
    let (Some(family), Some(body)) = (part.bytes::<LENGTH>(0), part.after(LENGTH)) else {
        return walk.cut(field, label, part, LENGTH);
    };
    let big = family[0] == 0 && family[1] == 0;
    let number = if big { u32::from_be_bytes(family) } else { u32::from_le_bytes(family) };
    let words = match number {
        2 => "IPv4",
        10 | 24 | 26 | 28 | 30 => "IPv6",
        _ => "no IP",
    };
    walk.draw.open(field, label, "", Datum::Bytes, Some(part.range(0, LENGTH)));
    walk.draw.named(
        if field == "loop" { "loop.family" } else { "null.family" },
        "Family",
        number,
        words,
        part.range(0, 4),
    );
    walk.draw.close();
    match steps::in_link(kind, part.step()) {
        Ok(_) => Next::Ip(body),
        Err(_) => walk.stop("data", "Data", body, "no IP inside"),
    }
}

/// Where in a "cooked" header its fields stand.
struct Cooked {
    label: &'static str,
    length: usize,
    /// Sent or received; one or two bytes.
    direction: (usize, usize),
    /// Kind of interface (ARPHRD); two bytes.
    interface: usize,
    /// Length of the address; one or two bytes.
    address_length: (usize, usize),
    address: usize,
    protocol: usize,
    /// Number of the interface; four bytes.
    index: Option<usize>,
}

const FIRST: Cooked = Cooked {
    label: "Linux cooked capture",
    length: 16,
    direction: (0, 2),
    interface: 2,
    address_length: (4, 2),
    address: 6,
    protocol: 14,
    index: None,
};

const SECOND: Cooked = Cooked {
    label: "Linux cooked capture, version 2",
    length: 20,
    direction: (10, 1),
    interface: 8,
    address_length: (11, 1),
    address: 12,
    protocol: 0,
    index: Some(4),
};

/// Linux "cooked" capture.
fn cooked<'a>(walk: &mut Walk<'_, 'a>, part: Part<'a>, form: &Cooked) -> Next<'a> {
    const TO_US: [&str; 5] = ["to us", "broadcast", "multicast", "to somebody else", "sent by us"];
    const NETLINK: u16 = 824;
    const WIFI: [u16; 2] = [801, 803];
    const SMALLEST_TYPE: u16 = 0x0600;
    let number = |(at, width): (usize, usize)| match width {
        1 => part.byte(at).map(u16::from),
        _ => part.be16(at),
    };
    let (Some(direction), Some(interface), Some(length), Some(protocol), Some(body)) = (
        number(form.direction),
        part.be16(form.interface),
        number(form.address_length),
        part.be16(form.protocol),
        part.after(form.length),
    ) else {
        return walk.cut("sll", form.label, part, form.length);
    };
    walk.draw.open("sll", form.label, "", Datum::Bytes, Some(part.range(0, form.length)));
    let (at, width) = form.direction;
    let words = TO_US.get(usize::from(direction)).copied().unwrap_or_default();
    walk.draw.named("sll.pkttype", "Packet type", direction, words, part.range(at, width));
    if let Some((at, index)) = form.index.and_then(|at| Some((at, part.be32(at)?))) {
        walk.draw.number("sll.ifindex", "Interface index", index, part.range(at, 4));
    }
    walk.draw.number("sll.hatype", "Kind of interface", interface, part.range(form.interface, 2));
    let (at, width) = form.address_length;
    walk.draw.number("sll.halen", "Address length", length, part.range(at, width));
    if let (6, Some(source)) = (length, part.bytes::<6>(form.address)) {
        let text = Address::Mac(source).to_string();
        walk.draw.leaf("sll.src.eth", "Source", &text, Datum::Mac(source), Some(part.range(form.address, 6)));
    }
    let name = walk.tables().ether_name(protocol).unwrap_or_default();
    walk.draw.hex_named("sll.etype", "Protocol", protocol, name, part.range(form.protocol, 2));
    walk.draw.close();
    walk.say("SLL", words);
    if protocol >= SMALLEST_TYPE && interface != NETLINK && !WIFI.contains(&interface) {
        return Next::Ether(protocol, body);
    }
    let kind = if form.index.is_some() { LinkType::LINUX_SLL2 } else { LinkType::LINUX_SLL };
    let (field, label) = match protocol {
        _ if interface == NETLINK => ("netlink", "Netlink"),
        _ if WIFI.contains(&interface) => ("wlan", "802.11"),
        4 => ("llc", "LLC"),
        _ => ("data", "Data"),
    };
    let found = steps::in_link(kind, part.step());
    walk.by_name(field, label, body, found)
}
