//! Extension headers of IPv6 (RFC 8200 section 4), and those of IPsec, which IPv4 has too.

use super::ip;
use super::part::Part;
use super::tree::Datum;
use super::walk::{Envelope, Next, Walk};
use std::net::{IpAddr, Ipv6Addr};

/// One extension header.
pub(super) fn draw<'a>(walk: &mut Walk<'_, 'a>, kind: u8, part: Part<'a>, envelope: Envelope) -> Next<'a> {
    let (field, label) = match kind {
        0 => ("ipv6.hopopts", "Hop-by-hop options"),
        43 => ("ipv6.routing", "Routing header"),
        44 => ("ipv6.fraghdr", "Fragment header"),
        60 => ("ipv6.dstopts", "Destination options"),
        135 => ("mipv6", "Mobility header"),
        139 => ("hip", "Host identity header"),
        _ => ("shim6", "Shim6 header"),
    };
    let Some([next, units]) = part.bytes::<2>(0) else { return walk.cut(field, label, part, 8) };
    let length = if kind == 44 { 8 } else { usize::from(units) * 8 + 8 };
    let Some(body) = part.after(length) else { return walk.cut(field, label, part, length) };
    let name = walk.tables().protocol_name(next).unwrap_or_default();
    walk.draw.open(field, label, "", Datum::Bytes, Some(part.range(0, length)));
    let next_field = match kind {
        0 => "ipv6.hopopts.nxt",
        43 => "ipv6.routing.nxt",
        44 => "ipv6.fraghdr.nxt",
        60 => "ipv6.dstopts.nxt",
        _ => "ipv6.nxt",
    };
    walk.draw.named(next_field, "Next header", next, name, part.range(0, 1));
    let mut envelope = envelope;
    let mut place = None;
    match kind {
        43 => {
            if let Some([kind, left]) = part.bytes::<2>(2) {
                walk.draw.number("ipv6.routing.type", "Type", kind, part.range(2, 1));
                walk.draw.number("ipv6.routing.segleft", "Segments left", left, part.range(3, 1));
                if left > 0 {
                    // Checksums cover the address at the end of the route.
                    let at = match kind {
                        0 | 2 => length.checked_sub(16),
                        // Segments are listed from the last to the first (RFC 8754).
                        4 => Some(8),
                        _ => None,
                    };
                    match at.filter(|at| *at >= 8).and_then(|at| part.bytes::<16>(at)) {
                        Some(last) => envelope.dst = IpAddr::V6(Ipv6Addr::from(last)),
                        None => envelope.routed = true,
                    }
                }
            }
        }
        44 => {
            if let (Some(word), Some(id)) = (part.be16(2), part.be32(4)) {
                let (offset, more) = (usize::from(word & 0xfff8), word & 1 != 0);
                walk.draw.number("ipv6.fraghdr.offset", "Offset", offset as u64, part.range(2, 2));
                walk.draw.flag("ipv6.fraghdr.more", "More fragments", more, part.range(3, 1));
                walk.draw.hex("ipv6.fraghdr.ident", "Identification", id, 8, part.range(4, 4));
                // One that is whole is no fragment (RFC 6946).
                place = (offset > 0 || more).then_some((offset, id));
            }
        }
        _ => {}
    }
    walk.draw.close();
    walk.say("IPv6", format!("{label}, next header {next} {name}").trim_end().to_owned());
    if !walk.quoted {
        walk.outline.transport = Some(next);
    }
    if let Some((offset, id)) = place {
        envelope.fragment = true;
        let words = format!("bytes {offset} to {} of packet {id:#010x}", offset + body.wire);
        return ip::fragment(walk, "ipv6.fragment", &words, offset == 0, next, body, envelope);
    }
    Next::Protocol(next, body, envelope)
}

/// The authentication header (RFC 4302), which signs and does not hide, and the encrypted payload (RFC 4303), which does.
pub(super) fn security<'a>(walk: &mut Walk<'_, 'a>, kind: u8, part: Part<'a>, envelope: Envelope) -> Next<'a> {
    const HEADER: usize = 8;
    let signed = kind == 51;
    let (field, label, at) = if signed { ("ah", "Authentication header", 4) } else { ("esp", "ESP", 0) };
    let need = if signed { part.byte(1).map_or(HEADER, |units| usize::from(units) * 4 + HEADER) } else { HEADER };
    let (Some(index), Some(sequence), Some(body)) = (part.be32(at), part.be32(at + 4), part.after(need)) else {
        return walk.cut(field, label, part, need);
    };
    walk.draw.open(field, label, "", Datum::Bytes, Some(part.range(0, need)));
    let next = part.byte(0).filter(|_| signed);
    if let Some(next) = next {
        let name = walk.tables().protocol_name(next).unwrap_or_default();
        walk.draw.named("ah.next_header", "Next header", next, name, part.range(0, 1));
    }
    let (index_field, sequence_field) = if signed { ("ah.spi", "ah.sequence") } else { ("esp.spi", "esp.sequence") };
    walk.draw.hex(index_field, "Security parameters index", index, 8, part.range(at, 4));
    walk.draw.number(sequence_field, "Sequence number", sequence, part.range(at + 4, 4));
    walk.draw.close();
    walk.say(if signed { "AH" } else { "ESP" }, format!("SPI {index:#010x}, sequence number {sequence}"));
    match next {
        Some(next) => {
            if !walk.quoted {
                walk.outline.transport = Some(next);
            }
            Next::Protocol(next, body, envelope)
        }
        None => {
            let words = format!("{} bytes", body.wire);
            walk.draw.leaf("esp.encrypted_data", "Encrypted", &words, Datum::Bytes, Some(body.all()));
            Next::End
        }
    }
}
