//! Packets and frames inside packets. Where a tunnel is known by name alone, its layer reaches to the IP packet in it.

use super::ether;
use super::part::Part;
use super::tree::Datum;
use super::walk::{Envelope, Next, Walk};
use crate::packet::decode::steps;

/// MPLS (RFC 3032).
pub(super) fn labels<'a>(walk: &mut Walk<'_, 'a>, part: Part<'a>) -> Next<'a> {
    const ENTRY: usize = 4;
    /// Labels that are drawn; more than a handful is no network's.
    const MOST: usize = 32;
    const BOTTOM: u32 = 0x100;
    let found = steps::in_ether(0x8847, part.step());
    let mut at = 0;
    for _ in 0..MOST {
        let Some(entry) = part.be32(at) else { return walk.cut("mpls", "MPLS", part, at + ENTRY) };
        let label = entry >> 12;
        walk.draw.open("mpls", "MPLS", &format!("label {label}"), Datum::Bytes, Some(part.range(at, ENTRY)));
        walk.draw.number("mpls.label", "Label", label, part.range(at, 3));
        walk.draw.number("mpls.exp", "Traffic class", entry >> 9 & 7, part.range(at + 2, 1));
        walk.draw.flag("mpls.bottom", "Last one", entry & BOTTOM != 0, part.range(at + 2, 1));
        walk.draw.number("mpls.ttl", "Time to live", entry & 0xff, part.range(at + 3, 1));
        walk.draw.close();
        walk.say("MPLS", format!("label {label}"));
        at += ENTRY;
        if entry & BOTTOM != 0 {
            break;
        }
    }
    let Some(body) = part.after(at) else { return Next::End };
    match found {
        Ok(inner) if part.found(inner).at == body.at => Next::Ip(part.found(inner)),
        other => walk.by_name("pw", "Pseudo-wire", body, other),
    }
}

/// A PPPoE session (RFC 2516).
pub(super) fn session<'a>(walk: &mut Walk<'_, 'a>, part: Part<'a>) -> Next<'a> {
    const HEADER: usize = 6;
    let (Some(code), Some(id), Some(length), Some(body)) =
        (part.byte(1), part.be16(2), part.be16(4), part.after(HEADER))
    else {
        return walk.cut("pppoe", "PPPoE", part, HEADER);
    };
    walk.draw.open("pppoe", "PPPoE", &format!("session {id:#06x}"), Datum::Bytes, Some(part.range(0, HEADER)));
    walk.draw.number("pppoe.code", "Code", code, part.range(1, 1));
    walk.draw.hex("pppoe.session_id", "Session", id, 4, part.range(2, 2));
    walk.draw.number("pppoe.payload_length", "Payload length", length, part.range(4, 2));
    walk.draw.close();
    walk.say("PPPoE", format!("session {id:#06x}"));
    walk.by_name("ppp", "PPP", body, steps::in_ether(0x8864, part.step()))
}

/// What EtherIP and MPLS in IP carry.
pub(super) fn by_protocol<'a>(walk: &mut Walk<'_, 'a>, protocol: u8, part: Part<'a>) -> Next<'a> {
    if protocol == 137 {
        return labels(walk, part);
    }
    let Some(body) = part.after(2) else { return walk.cut("etherip", "EtherIP", part, 2) };
    walk.draw.leaf("etherip", "EtherIP", "", Datum::Bytes, Some(part.range(0, 2)));
    ether::frame(walk, body)
}

/// Generic routing encapsulation (RFC 2784, RFC 2890); other forms than that by name.
pub(super) fn gre<'a>(walk: &mut Walk<'_, 'a>, part: Part<'a>, envelope: Envelope) -> Next<'a> {
    const FIXED: usize = 4;
    const CHECKSUM: u16 = 0x8000;
    const ROUTE: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const VERSION: u16 = 0x0007;
    let (Some(flags), Some(kind)) = (part.be16(0), part.be16(2)) else { return walk.cut("gre", "GRE", part, FIXED) };
    let usual = flags & (ROUTE | VERSION) == 0 && !matches!(kind, 0x883e | 0x880b | ..0x0600);
    if !usual || envelope.fragment {
        return walk.by_name("gre", "GRE", part, steps::in_protocol(47, part.step()));
    }
    let present = |flag: u16| if flags & flag != 0 { 4 } else { 0 };
    let (key_at, sequence_at) = (FIXED + present(CHECKSUM), FIXED + present(CHECKSUM) + present(KEY));
    let length = sequence_at + present(SEQUENCE);
    let Some(body) = part.after(length) else { return walk.cut("gre", "GRE", part, length) };
    let name = walk.tables().ether_name(kind).unwrap_or_default();
    walk.draw.open("gre", "GRE", "", Datum::Bytes, Some(part.range(0, length)));
    walk.draw.hex("gre.flags_and_version", "Flags and version", flags, 4, part.range(0, 2));
    walk.draw.hex_named("gre.proto", "Protocol", kind, name, part.range(2, 2));
    if let Some(key) = part.be32(key_at).filter(|_| flags & KEY != 0) {
        walk.draw.hex("gre.key", "Key", key, 8, part.range(key_at, 4));
    }
    if let Some(number) = part.be32(sequence_at).filter(|_| flags & SEQUENCE != 0) {
        walk.draw.number("gre.sequence_number", "Sequence number", number, part.range(sequence_at, 4));
    }
    walk.draw.close();
    walk.say("GRE", format!("protocol {kind:#06x} {name}").trim_end().to_owned());
    match kind {
        // ERSPAN: a mirrored frame, bare in type I.
        0x88be if flags & SEQUENCE == 0 => ether::frame(walk, body),
        0x88be => mirrored(walk, body, 8),
        // Type III: eight bytes more where the last bit says so.
        0x22eb => mirrored(walk, body, if body.byte(11).is_some_and(|last| last & 1 != 0) { 20 } else { 12 }),
        _ => Next::Ether(kind, body),
    }
}

/// A mirrored frame behind a header of so many bytes.
fn mirrored<'a>(walk: &mut Walk<'_, 'a>, part: Part<'a>, header: usize) -> Next<'a> {
    let Some(body) = part.after(header) else { return walk.cut("erspan", "ERSPAN", part, header) };
    walk.draw.leaf("erspan", "ERSPAN", "", Datum::Bytes, Some(part.range(0, header)));
    ether::frame(walk, body)
}

/// A tunnel that goes by its UDP port, where it looks like one.
pub(super) fn by_port<'a>(walk: &mut Walk<'_, 'a>, src: u16, dst: u16, body: Part<'a>) -> Option<Next<'a>> {
    const HEADER: usize = 8;
    const NAMED: u8 = 0x04;
    let found = steps::in_ports(src, dst, body.step())?;
    let known = |port: u16| {
        Some(match port {
            4789 | 8472 => ("vxlan", "VXLAN"),
            4790 => ("vxlan", "VXLAN-GPE"),
            6081 => ("geneve", "GENEVE"),
            2152 => ("gtp", "GTP-U"),
            3544 => ("teredo", "Teredo"),
            1701 => ("l2tp", "L2TP"),
            5247 => ("capwap", "CAPWAP"),
            _ => return None,
        })
    };
    let (field, label) = known(dst).or_else(|| known(src))?;
    match (field, body.byte(0), body.be32(4), body.after(HEADER)) {
        // What says what it carries is named, and no more.
        ("vxlan", Some(flags), Some(network), Some(frame)) if dst != 4790 || flags & NAMED == 0 => {
            let network = network >> 8;
            walk.draw.open(field, label, &format!("network {network}"), Datum::Bytes, Some(body.range(0, HEADER)));
            walk.draw.number("vxlan.vni", "Network", network, body.range(4, 3));
            walk.draw.close();
            Some(ether::frame(walk, frame))
        }
        ("geneve", Some(head), Some(network), Some(_)) => {
            let length = HEADER + usize::from(head & 0x3f) * 4;
            let (kind, frame) = (body.be16(2)?, body.after(length)?);
            let network = network >> 8;
            walk.draw.open(field, label, &format!("network {network}"), Datum::Bytes, Some(body.range(0, length)));
            let name = walk.tables().ether_name(kind).unwrap_or_default();
            walk.draw.hex_named("geneve.proto_type", "Protocol", kind, name, body.range(2, 2));
            walk.draw.number("geneve.vni", "Network", network, body.range(4, 3));
            walk.draw.close();
            Some(Next::Ether(kind, frame))
        }
        _ => Some(walk.by_name(field, label, body, found)),
    }
}
