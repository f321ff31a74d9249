//! IPv4 (RFC 791) and IPv6 (RFC 8200).

use super::checksum::judge;
use super::outline::Address;
use super::part::Part;
use super::tree::Datum;
use super::walk::{Envelope, Next, Walk};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Length of an IPv4 header without options in bytes.
const V4: usize = 20;
/// Length of an IPv6 header in bytes.
const V6: usize = 40;

/// An IP packet of either version.
pub(super) fn draw<'a>(walk: &mut Walk<'_, 'a>, part: Part<'a>) -> Next<'a> {
    match part.byte(0).map(|first| first >> 4) {
        Some(4) => version4(walk, part),
        Some(6) => version6(walk, part),
        Some(version) => walk.stop("data", "IP", part, &format!("version {version}, which there is not")),
        None => walk.cut("ip", "IP", part, V4),
    }
}

fn version4<'a>(walk: &mut Walk<'_, 'a>, part: Part<'a>) -> Next<'a> {
    const CONGESTION: [&str; 4] = ["not capable", "capable (1)", "capable (0)", "congestion experienced"];
    let Some(head) = part.bytes::<V4>(0) else { return walk.cut("ip", "IPv4", part, V4) };
    let be16 = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let length = usize::from(head[0] & 15) * 4;
    let total = usize::from(be16(2));
    // A total length of zero is what segmentation offload leaves behind: the frame's length is all there is.
    let packet = if total == 0 { part.wire } else { total };
    let [src, dst] = [[head[12], head[13], head[14], head[15]], [head[16], head[17], head[18], head[19]]]
        .map(|address| IpAddr::V4(Ipv4Addr::from(address)));
    let place = be16(6);
    let (offset, more) = (usize::from(place & 0x1fff) * 8, place & 0x2000 != 0);
    let header = part.range(0, length.max(V4));
    walk.draw.open("ip", "IPv4", &format!("{src} → {dst}"), Datum::Bytes, Some(header));
    let draw = &mut walk.draw;
    draw.number("ip.version", "Version", head[0] >> 4, part.range(0, 1));
    let words = match length {
        ..V4 => "less than a header",
        _ if length > part.data.len() => "more than there is",
        _ => "",
    };
    draw.named("ip.hdr_len", "Header length", length as u64, words, part.range(0, 1));
    draw.open(
        "ip.dsfield",
        "Differentiated services",
        &format!("{:#04x}", head[1]),
        Datum::Number(head[1].into()),
        Some(part.range(1, 1)),
    );
    draw.number("ip.dsfield.dscp", "Code point", head[1] >> 2, part.range(1, 1));
    let congestion = CONGESTION.get(usize::from(head[1] & 3)).copied().unwrap_or_default();
    draw.named("ip.dsfield.ecn", "Congestion", head[1] & 3, congestion, part.range(1, 1));
    draw.close();
    let words = match total {
        0 => "left to the network card",
        _ if total < length => "less than the header",
        _ if total > part.wire => "more than there is",
        _ => "",
    };
    draw.named("ip.len", "Total length", total as u64, words, part.range(2, 2));
    draw.hex("ip.id", "Identification", be16(4), 4, part.range(4, 2));
    draw.open(
        "ip.flags",
        "Flags",
        &format!("{:#03x}", place >> 13),
        Datum::Number((place >> 13).into()),
        Some(part.range(6, 1)),
    );
    draw.flag("ip.flags.rb", "Reserved", place & 0x8000 != 0, part.range(6, 1));
    draw.flag("ip.flags.df", "Don't fragment", place & 0x4000 != 0, part.range(6, 1));
    draw.flag("ip.flags.mf", "More fragments", more, part.range(6, 1));
    draw.close();
    draw.number("ip.frag_offset", "Fragment offset", offset as u64, part.range(6, 2));
    draw.number("ip.ttl", "Time to live", head[8], part.range(8, 1));
    let protocol = walk.around.tables.protocol_name(head[9]).unwrap_or_default();
    walk.draw.named("ip.proto", "Protocol", head[9], protocol, part.range(9, 1));
    let status = match part.data.get(..length) {
        Some(header) if length >= V4 => judge(header, 10, 0, true),
        _ => super::ChecksumStatus::NotVerified,
    };
    walk.checksum(("ip.checksum", "ip.checksum.status"), be16(10), status, part.range(10, 2));
    walk.draw.leaf("ip.src", "Source", &src.to_string(), Datum::Ip(src), Some(part.range(12, 4)));
    walk.draw.leaf("ip.dst", "Destination", &dst.to_string(), Datum::Ip(dst), Some(part.range(16, 4)));
    let mut envelope = Envelope { src, dst, fragment: more || offset > 0, routed: false };
    if let Some(options) = part.after(V4).filter(|_| length > V4) {
        draw_options(walk, options.first(length - V4), &mut envelope);
    }
    walk.draw.close();
    walk.between(Address::Ip(src), Address::Ip(dst));
    walk.say("IPv4", format!("protocol {} {protocol}", head[9]).trim_end().to_owned());
    if !walk.quoted {
        walk.outline.transport = Some(head[9]);
    }
    if length < V4 || packet < length {
        return Next::End;
    }
    trailer(walk, part, packet);
    let Some(body) = part.first(packet).after(length) else { return Next::End };
    let body = Part { wire: packet - length, ..body };
    if envelope.fragment {
        let words = format!("bytes {offset} to {} of packet {:#06x}", offset + body.wire, be16(4));
        return fragment(walk, "ip.fragment", &words, offset == 0, head[9], body, envelope);
    }
    Next::Protocol(head[9], body, envelope)
}

/// What stands behind the packet in its frame.
fn trailer(walk: &mut Walk<'_, '_>, part: Part<'_>, packet: usize) {
    if let Some(rest) = part.after(packet).filter(|rest| !rest.data.is_empty() && !walk.quoted) {
        let words = format!("{} bytes behind the packet", rest.data.len());
        walk.draw.leaf("eth.trailer", "Trailer", &words, Datum::Bytes, Some(rest.all()));
    }
}

/// A part of a packet: the first one has the next header, and of the others nothing can be read.
pub(super) fn fragment<'a>(
    walk: &mut Walk<'_, 'a>,
    field: &'static str,
    words: &str,
    first: bool,
    protocol: u8,
    body: Part<'a>,
    envelope: Envelope,
) -> Next<'a> {
    let name = walk.tables().protocol_name(protocol).map_or_else(|| format!("protocol {protocol}"), str::to_owned);
    let words = format!("{words}, {name}");
    walk.draw.leaf(field, "Fragment", &words, Datum::Words, Some(body.all()));
    walk.say(if field == "ip.fragment" { "IPv4" } else { "IPv6" }, format!("fragment: {words}"));
    if first { Next::Protocol(protocol, body, envelope) } else { Next::End }
}

/// Options of IPv4, by their numbers.
fn draw_options(walk: &mut Walk<'_, '_>, options: Part<'_>, envelope: &mut Envelope) {
    let mut at = 0;
    let mut routes = 0;
    while let Some(kind) = options.byte(at) {
        let name = match kind {
            0 => "end",
            1 => "nothing",
            7 => "record route",
            68 => "timestamps",
            131 => "loose route",
            137 => "strict route",
            148 => "router alert",
            _ => "",
        };
        let length = match kind {
            0 | 1 => 1,
            _ => usize::from(options.byte(at + 1).unwrap_or(0)),
        };
        if length == 0 || (kind > 1 && length < 2) || at + length > options.wire {
            walk.draw.named("ip.opt.type", "Option", kind, "a length that cannot be", options.range(at, 1));
            return;
        }
        walk.draw.named("ip.opt.type", "Option", kind, name, options.range(at, length));
        if kind == 0 {
            return;
        }
        if let (131 | 137, Some(option)) = (kind, options.after(at)) {
            follow(option.first(length), envelope);
            routes += 1;
            // There is one at most.
            envelope.routed |= routes > 1;
        }
        at += length;
    }
}

/// A route that the sender chose (RFC 791 section 3.1): while a part of it is left, the header's destination is the next
/// stop, and checksums cover the address at the end of the route, as with IPv6 (RFC 8200 section 8.1).
fn follow(option: Part<'_>, envelope: &mut Envelope) {
    /// Kind, length and pointer, which counts from one.
    const HEAD: usize = 3;
    const STOP: usize = 4;
    let length = option.wire;
    let Some(pointer) = option.byte(2).map(usize::from) else { return envelope.routed = true };
    if pointer > length {
        return;
    }
    let even = pointer > HEAD && [pointer - 1, length].iter().all(|end| (end - HEAD).is_multiple_of(STOP));
    match length.checked_sub(STOP).filter(|_| even).and_then(|at| option.bytes::<STOP>(at)) {
        Some(last) => envelope.dst = IpAddr::V4(Ipv4Addr::from(last)),
        None => envelope.routed = true,
    }
}

fn version6<'a>(walk: &mut Walk<'_, 'a>, part: Part<'a>) -> Next<'a> {
    let Some(head) = part.bytes::<V6>(0) else { return walk.cut("ipv6", "IPv6", part, V6) };
    let (Some(src), Some(dst)) = (part.bytes::<16>(8), part.bytes::<16>(24)) else { return Next::End };
    let [src, dst] = [src, dst].map(|address| IpAddr::V6(Ipv6Addr::from(address)));
    let first = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    let payload = usize::from(u16::from_be_bytes([head[4], head[5]]));
    let packet = if payload == 0 { part.wire.max(V6) } else { payload + V6 };
    walk.draw.open("ipv6", "IPv6", &format!("{src} → {dst}"), Datum::Bytes, Some(part.range(0, V6)));
    let draw = &mut walk.draw;
    draw.number("ipv6.version", "Version", head[0] >> 4, part.range(0, 1));
    draw.hex("ipv6.tclass", "Traffic class", first >> 20 & 0xff, 2, part.range(0, 2));
    draw.hex("ipv6.flow", "Flow label", first & 0x000f_ffff, 5, part.range(1, 3));
    let words = if packet > part.wire { "more than there is" } else { "" };
    draw.named("ipv6.plen", "Payload length", payload as u64, words, part.range(4, 2));
    let protocol = walk.around.tables.protocol_name(head[6]).unwrap_or_default();
    walk.draw.named("ipv6.nxt", "Next header", head[6], protocol, part.range(6, 1));
    walk.draw.number("ipv6.hlim", "Hop limit", head[7], part.range(7, 1));
    walk.draw.leaf("ipv6.src", "Source", &src.to_string(), Datum::Ip(src), Some(part.range(8, 16)));
    walk.draw.leaf("ipv6.dst", "Destination", &dst.to_string(), Datum::Ip(dst), Some(part.range(24, 16)));
    walk.draw.close();
    walk.between(Address::Ip(src), Address::Ip(dst));
    walk.say("IPv6", format!("next header {} {protocol}", head[6]).trim_end().to_owned());
    if !walk.quoted {
        walk.outline.transport = Some(head[6]);
    }
    trailer(walk, part, packet);
    let Some(body) = part.first(packet).after(V6) else { return Next::End };
    let body = Part { wire: packet - V6, ..body };
    Next::Protocol(head[6], body, Envelope { src, dst, fragment: false, routed: false })
}
