//! Ethernet, and what an EtherType announces.

use super::outline::Address;
use super::part::Part;
use super::tree::Datum;
use super::tunnel;
use super::walk::{Next, Walk};
use crate::packet::decode::steps;
use std::net::{IpAddr, Ipv4Addr};

/// The largest value of the field that is a length and no type (IEEE 802.3).
const LONGEST: u16 = 1500;

/// An Ethernet frame.
pub(super) fn frame<'a>(walk: &mut Walk<'_, 'a>, part: Part<'a>) -> Next<'a> {
    const LENGTH: usize = 14;
    let (Some(to), Some(from), Some(kind), Some(body)) =
        (part.bytes::<6>(0), part.bytes::<6>(6), part.be16(12), part.after(LENGTH))
    else {
        return walk.cut("eth", "Ethernet", part, LENGTH);
    };
    let (src, dst) = (Address::Mac(from), Address::Mac(to));
    walk.draw.open("eth", "Ethernet", &format!("{src} → {dst}"), Datum::Bytes, Some(part.range(0, LENGTH)));
    walk.draw.leaf("eth.dst", "Destination", &dst.to_string(), Datum::Mac(to), Some(part.range(0, 6)));
    walk.draw.leaf("eth.src", "Source", &src.to_string(), Datum::Mac(from), Some(part.range(6, 6)));
    if kind <= LONGEST {
        walk.draw.number("eth.len", "Length", kind, part.range(12, 2));
    } else {
        let name = walk.tables().ether_name(kind).unwrap_or_default();
        walk.draw.hex_named("eth.type", "Type", kind, name, part.range(12, 2));
    }
    walk.draw.close();
    walk.between(src, dst);
    walk.say("Ethernet", format!("type {kind:#06x}"));
    Next::Ether(kind, body)
}

/// What an EtherType announces.
pub(super) fn draw<'a>(walk: &mut Walk<'_, 'a>, kind: u16, part: Part<'a>) -> Next<'a> {
    match kind {
        0x0800 | 0x86dd => Next::Ip(part),
        0x0806 | 0x8035 => arp(walk, kind, part),
        0x8100 | 0x88a8 | 0x9100 | 0x9200 => tag(walk, kind, part),
        0x8847 | 0x8848 => tunnel::labels(walk, part),
        0x8864 => tunnel::session(walk, part),
        0x6558 => frame(walk, part),
        ..=LONGEST => control(walk, kind, part),
        _ => {
            let (field, known) = field(kind);
            let name = walk
                .tables()
                .ether_name(kind)
                .or(known)
                .map_or_else(|| format!("EtherType {kind:#06x}"), str::to_owned);
            walk.by_name(field, &name, part, steps::in_ether(kind, part.step()))
        }
    }
}

/// The names that an EtherType's layer has: as a field, and for people where no table knows it.
fn field(kind: u16) -> (&'static str, Option<&'static str>) {
    match kind {
        0x88e7 => ("ieee8021ah", Some("provider backbone bridge")),
        0x88e5 => ("macsec", Some("MACsec")),
        0x8909 => ("cmd", Some("Cisco MetaData")),
        0x892f => ("hsr", Some("HSR")),
        0x8926 => ("vntag", Some("VN-Tag")),
        0x8903 => ("cfp", Some("FabricPath")),
        0x22f3 => ("trill", Some("TRILL")),
        0x894f => ("nsh", Some("NSH")),
        0x88cc => ("lldp", Some("LLDP")),
        0x888e => ("eapol", Some("EAPOL")),
        0x8863 => ("pppoed", Some("PPPoE discovery")),
        _ => ("data", None),
    }
}

/// A VLAN's tag (IEEE 802.1Q), or that of a provider around it (802.1ad).
fn tag<'a>(walk: &mut Walk<'_, 'a>, kind: u16, part: Part<'a>) -> Next<'a> {
    const LENGTH: usize = 4;
    const DROP: u16 = 0x1000;
    let label = if kind == 0x8100 { "802.1Q VLAN" } else { "802.1ad VLAN" };
    let (Some(tag), Some(inner), Some(body)) = (part.be16(0), part.be16(2), part.after(LENGTH)) else {
        return walk.cut("vlan", label, part, LENGTH);
    };
    let id = tag & 0x0fff;
    walk.draw.open("vlan", label, &format!("id {id}"), Datum::Bytes, Some(part.range(0, LENGTH)));
    walk.draw.number("vlan.priority", "Priority", tag >> 13, part.range(0, 2));
    walk.draw.flag("vlan.dei", "May be dropped", tag & DROP != 0, part.range(0, 2));
    walk.draw.number("vlan.id", "Identifier", id, part.range(0, 2));
    let name = walk.tables().ether_name(inner).unwrap_or_default();
    walk.draw.hex_named("vlan.etype", "Type", inner, name, part.range(2, 2));
    walk.draw.close();
    walk.say("VLAN", format!("id {id}, type {inner:#06x}"));
    Next::Ether(inner, body)
}

/// Logical link control (IEEE 802.2) behind a length.
fn control<'a>(walk: &mut Walk<'_, 'a>, length: u16, part: Part<'a>) -> Next<'a> {
    const LENGTH: usize = 3;
    const SNAP: usize = 8;
    let part = part.first(usize::from(length));
    let Some([dsap, ssap, control]) = part.bytes::<LENGTH>(0) else { return walk.cut("llc", "LLC", part, LENGTH) };
    let snap = part.bytes::<5>(LENGTH).filter(|_| dsap & 0xfe == 0xaa && ssap & 0xfe == 0xaa && control == 3);
    let header = if snap.is_some() { SNAP } else { LENGTH };
    walk.draw.open("llc", "LLC", "", Datum::Bytes, Some(part.range(0, header)));
    walk.draw.hex("llc.dsap", "Destination service", dsap, 2, part.range(0, 1));
    walk.draw.hex("llc.ssap", "Source service", ssap, 2, part.range(1, 1));
    walk.draw.hex("llc.control", "Control", control, 2, part.range(2, 1));
    let mut next = None;
    if let Some([a, b, c, high, low]) = snap {
        let kind = u16::from_be_bytes([high, low]);
        walk.draw.hex("llc.oui", "Who numbers", u32::from_be_bytes([0, a, b, c]), 6, part.range(3, 3));
        let name = walk.tables().ether_name(kind).unwrap_or_default();
        walk.draw.hex_named("llc.type", "Type", kind, name, part.range(6, 2));
        let types = matches!([a, b, c], [0, 0, 0] | [0, 0, 0xf8] | [0, 0, 0x0c]) && kind > LONGEST;
        next = part.after(SNAP).filter(|_| types).map(|body| Next::Ether(kind, body));
    }
    walk.draw.close();
    if let Some(next) = next {
        return next;
    }
    let Some(body) = part.after(header) else { return Next::End };
    match (dsap, ssap) {
        (0x42, 0x42) => walk.stop("stp", "STP", body, "spanning tree"),
        _ => walk.by_name("data", "LLC data", body, steps::in_ether(length, part.step())),
    }
}

/// ARP (RFC 826) and its reverse (RFC 903), in full for IPv4 over Ethernet and its kin.
fn arp<'a>(walk: &mut Walk<'_, 'a>, kind: u16, part: Part<'a>) -> Next<'a> {
    const FIXED: usize = 8;
    let label = if kind == 0x8035 { "RARP" } else { "ARP" };
    let (Some(hardware), Some(protocol), Some([hardware_size, protocol_size]), Some(operation)) =
        (part.be16(0), part.be16(2), part.bytes::<2>(4), part.be16(6))
    else {
        return walk.cut("arp", label, part, FIXED);
    };
    let words = match operation {
        1 => "request",
        2 => "reply",
        3 => "reverse request",
        4 => "reverse reply",
        8 => "inverse request",
        9 => "inverse reply",
        _ => "",
    };
    let sizes = [hardware_size, protocol_size].map(usize::from);
    let length = FIXED + 2 * (sizes[0] + sizes[1]);
    walk.draw.open("arp", label, words, Datum::Bytes, Some(part.range(0, length)));
    let name = if hardware == 1 { "Ethernet" } else { "" };
    walk.draw.named("arp.hw.type", "Hardware type", hardware, name, part.range(0, 2));
    let name = walk.tables().ether_name(protocol).unwrap_or_default();
    walk.draw.hex_named("arp.proto.type", "Protocol type", protocol, name, part.range(2, 2));
    walk.draw.number("arp.hw.size", "Hardware size", hardware_size, part.range(4, 1));
    walk.draw.number("arp.proto.size", "Protocol size", protocol_size, part.range(5, 1));
    walk.draw.named("arp.opcode", "Operation", operation, words, part.range(6, 2));
    let mut hosts = [const { None }; 2];
    let fields =
        [("arp.src.hw_mac", "arp.src.proto_ipv4", "Sender"), ("arp.dst.hw_mac", "arp.dst.proto_ipv4", "Target")];
    for ((mac_field, ip_field, who), (at, host)) in
        fields.into_iter().zip([FIXED, FIXED + sizes[0] + sizes[1]].into_iter().zip(&mut hosts))
    {
        if sizes != [6, 4] {
            break;
        }
        let (Some(mac), Some(ip)) = (part.bytes::<6>(at), part.bytes::<4>(at + 6)) else { break };
        let ip = IpAddr::V4(Ipv4Addr::from(ip));
        let text = Address::Mac(mac).to_string();
        walk.draw.leaf(
            mac_field,
            &format!("{who}'s hardware address"),
            &text,
            Datum::Mac(mac),
            Some(part.range(at, 6)),
        );
        let range = part.range(at + 6, 4);
        walk.draw.leaf(ip_field, &format!("{who}'s address"), &ip.to_string(), Datum::Ip(ip), Some(range));
        *host = Some((text, ip));
    }
    walk.draw.close();
    let info = match (operation, &hosts) {
        (1, [Some((_, from)), Some((_, to))]) if from == to => format!("{from} announces itself"),
        (1, [Some((_, from)), Some((_, to))]) => format!("who has {to}? tell {from}"),
        (2, [Some((mac, from)), _]) => format!("{from} is at {mac}"),
        _ => format!("operation {operation} {words}").trim_end().to_owned(),
    };
    walk.say(label, info);
    Next::End
}
