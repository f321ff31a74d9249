//! TCP (RFC 9293).

use super::outline::Payload;
use super::part::Part;
use super::tree::Datum;
use super::walk::{Envelope, Next, Walk};
use crate::record::syn_print;
use crate::tables::Transport;

/// Length of a header without options in bytes.
const HEADER: usize = 20;
/// The flags from the highest bit on: field, name in a tree, name in a line.
const FLAGS: [(&str, &str, &str); 9] = [
    ("tcp.flags.ae", "Accurate congestion echo", "AE"),
    ("tcp.flags.cwr", "Congestion window reduced", "CWR"),
    ("tcp.flags.ece", "Congestion echo", "ECE"),
    ("tcp.flags.urg", "Urgent", "URG"),
    ("tcp.flags.ack", "Acknowledgement", "ACK"),
    ("tcp.flags.push", "Push", "PSH"),
    ("tcp.flags.reset", "Reset", "RST"),
    ("tcp.flags.syn", "Syn", "SYN"),
    ("tcp.flags.fin", "Fin", "FIN"),
];
const ACK: u16 = 0x010;
const URG: u16 = 0x020;

/// Flags in words, the lowest bit first, as in `SYN, ACK`.
fn flag_words(flags: u16) -> String {
    let set = FLAGS.iter().rev().enumerate().filter(|(bit, _)| flags >> bit & 1 != 0);
    set.map(|(_, (_, _, name))| *name).collect::<Vec<_>>().join(", ")
}

/// A TCP segment.
pub(super) fn draw<'a>(walk: &mut Walk<'_, 'a>, part: Part<'a>, envelope: Envelope) -> Next<'a> {
    let Some(head) = part.bytes::<HEADER>(0) else { return short(walk, part) };
    let be16 = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let be32 = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let length = usize::from(head[12] >> 4) * 4;
    let (src, dst, seq, ack) = (be16(0), be16(2), be32(4), be32(8));
    let flags = be16(12) & 0x0fff;
    let words = flag_words(flags);
    let payload = part.wire.saturating_sub(length);
    let status = walk.verify(part, 16, Some(6), &envelope);
    walk.draw.open(
        "tcp",
        "TCP",
        &format!("{src} → {dst} [{words}]"),
        Datum::Bytes,
        Some(part.range(0, length.max(HEADER))),
    );
    ports(walk, Transport::Tcp, ["tcp.srcport", "tcp.dstport"], part, (src, dst));
    let relative = |first: Option<u32>, number: u32| first.map(|first| number.wrapping_sub(first));
    let (near, far) = if walk.quoted { (None, None) } else { (walk.around.first_seq, walk.around.first_ack) };
    let (relative_seq, relative_ack) = (relative(near, seq), relative(far, ack).filter(|_| flags & ACK != 0));
    if let Some(seq) = relative_seq {
        walk.draw.number("tcp.seq", "Sequence number since the first one", seq, part.range(4, 4));
    }
    walk.draw.number("tcp.seq_raw", "Sequence number", seq, part.range(4, 4));
    if let Some(ack) = relative_ack {
        walk.draw.number("tcp.ack", "Acknowledged since the first one", ack, part.range(8, 4));
    }
    let unused = if flags & ACK == 0 && ack != 0 { "without its flag" } else { "" };
    walk.draw.named("tcp.ack_raw", "Acknowledgement number", ack, unused, part.range(8, 4));
    let lie = if length < HEADER {
        "less than a header"
    } else if length > part.wire {
        "more than there is"
    } else {
        ""
    };
    walk.draw.named("tcp.hdr_len", "Header length", length as u64, lie, part.range(12, 1));
    let value = format!("{flags:#05x} ({words})");
    walk.draw.open("tcp.flags", "Flags", &value, Datum::Number(flags.into()), Some(part.range(12, 2)));
    walk.draw.number("tcp.flags.res", "Reserved", flags >> FLAGS.len(), part.range(12, 1));
    for (at, (field, label, _)) in FLAGS.iter().enumerate() {
        let set = flags >> (FLAGS.len() - 1 - at) & 1 != 0;
        walk.draw.flag(field, label, set, part.range(if at == 0 { 12 } else { 13 }, 1));
    }
    walk.draw.close();
    let window = be16(14);
    walk.draw.number("tcp.window_size_value", "Window", window, part.range(14, 2));
    walk.checksum(("tcp.checksum", "tcp.checksum.status"), be16(16), status, part.range(16, 2));
    if flags & URG != 0 || be16(18) != 0 {
        walk.draw.number("tcp.urgent_pointer", "Urgent pointer", be16(18), part.range(18, 2));
    }
    let mut notes = String::new();
    if let Some(options) = part.first(length).after(HEADER).filter(|_| length > HEADER) {
        walk.draw.open(
            "tcp.options",
            "Options",
            &format!("{} bytes", length - HEADER),
            Datum::Bytes,
            Some(part.range(HEADER, length - HEADER)),
        );
        draw_options(walk, options, &mut notes);
        walk.draw.close();
    }
    if let Some(print) = part.data.get(..length).and_then(syn_print) {
        walk.draw.leaf("tcp.fingerprint", "Fingerprint", &print, Datum::Words, None);
    }
    if lie.is_empty() {
        walk.draw.leaf("tcp.len", "Payload length", &payload.to_string(), Datum::Number(payload as u64), None);
    }
    walk.draw.close();
    let mut info = format!("{src} → {dst} [{words}] seq {}", relative_seq.unwrap_or(seq));
    if flags & ACK != 0 {
        info.push_str(&format!(" ack {}", relative_ack.unwrap_or(ack)));
    }
    info.push_str(&format!(" win {window} len {payload}{notes}"));
    if !lie.is_empty() {
        info.push_str(&format!(", header length {lie}"));
    }
    walk.say("TCP", info);
    if walk.quoted || !lie.is_empty() {
        return Next::End;
    }
    walk.outline.ports = Some((src, dst));
    let rest = part.after(length).unwrap_or(Part { at: part.at + part.data.len(), data: &[], wire: payload });
    walk.outline.payload =
        Some(Payload { at: rest.at, bytes: rest.data, wire_len: payload, fragment: envelope.fragment });
    Next::End
}

/// Less than a header, as an error message may quote it.
fn short<'a>(walk: &mut Walk<'_, 'a>, part: Part<'a>) -> Next<'a> {
    let (Some(src), Some(dst)) = (part.be16(0), part.be16(2)) else { return walk.cut("tcp", "TCP", part, HEADER) };
    let words = format!("{src} → {dst}, cut off: {} of {HEADER} bytes are there", part.data.len());
    walk.draw.open("tcp", "TCP", &words, Datum::Bytes, Some(part.all()));
    ports(walk, Transport::Tcp, ["tcp.srcport", "tcp.dstport"], part, (src, dst));
    if let Some(seq) = part.be32(4) {
        walk.draw.number("tcp.seq_raw", "Sequence number", seq, part.range(4, 4));
    }
    walk.draw.close();
    walk.say("TCP", words);
    Next::End
}

/// Draws both ports with the services that they usually stand for.
pub(super) fn ports(
    walk: &mut Walk<'_, '_>,
    transport: Transport,
    fields: [&'static str; 2],
    part: Part<'_>,
    (src, dst): (u16, u16),
) {
    let tables = walk.around.tables;
    for ((field, label), (at, port)) in
        fields.into_iter().zip(["Source port", "Destination port"]).zip([(0, src), (2, dst)])
    {
        let name = tables.service_name(transport, port).unwrap_or_default();
        walk.draw.named(field, label, port, name, part.range(at, 2));
    }
}

/// Options; the usual ones add a few words to the packet's line.
fn draw_options(walk: &mut Walk<'_, '_>, options: Part<'_>, notes: &mut String) {
    let mut at = 0;
    while let Some(kind) = options.byte(at) {
        if kind < 2 {
            let words = if kind == 0 { "end" } else { "nothing" };
            walk.draw.named("tcp.option_kind", "Option", kind, words, options.range(at, 1));
            at += 1;
            if kind == 0 {
                return;
            }
            continue;
        }
        let length = options.byte(at + 1).map_or(0, usize::from);
        let Some(body) = options.after(at + 2).filter(|body| length >= 2 && body.data.len() >= length - 2) else {
            walk.draw.named("tcp.option_kind", "Option", kind, "a length that cannot be", options.range(at, 1));
            return;
        };
        let body = body.first(length - 2);
        let name = match kind {
            2 => "maximum segment size",
            3 => "window scale",
            4 => "selective acknowledgement permitted",
            5 => "selective acknowledgement",
            8 => "timestamps",
            14 => "alternate checksum",
            19 => "MD5 signature",
            28 => "user timeout",
            29 => "authentication",
            30 => "multipath TCP",
            34 => "fast open cookie",
            _ => "",
        };
        let value = if name.is_empty() { kind.to_string() } else { format!("{kind} ({name})") };
        walk.draw.open(
            "tcp.option_kind",
            "Option",
            &value,
            Datum::Number(kind.into()),
            Some(options.range(at, length)),
        );
        match kind {
            2 if body.data.len() == 2 => {
                if let Some(size) = body.be16(0) {
                    walk.draw.number("tcp.options.mss_val", "Maximum segment size", size, body.all());
                    notes.push_str(&format!(" mss {size}"));
                }
            }
            3 if body.data.len() == 1 => {
                if let Some(shift) = body.byte(0) {
                    walk.draw.named(
                        "tcp.options.wscale.shift",
                        "Shift",
                        shift,
                        &format!("times {}", 1_u32 << shift.min(14)),
                        body.all(),
                    );
                    notes.push_str(&format!(" scale {}", 1_u32 << shift.min(14)));
                }
            }
            4 => {
                walk.draw.flag("tcp.options.sack_perm", "Permitted", true, options.range(at, length));
                notes.push_str(" sack");
            }
            5 => {
                let edges = body.data.as_chunks::<8>().0.len();
                for pair in 0..edges {
                    let (Some(left), Some(right)) = (body.be32(pair * 8), body.be32(pair * 8 + 4)) else { break };
                    walk.draw.number("tcp.options.sack_le", "Left edge", left, body.range(pair * 8, 4));
                    walk.draw.number("tcp.options.sack_re", "Right edge", right, body.range(pair * 8 + 4, 4));
                }
            }
            8 if body.data.len() == 8 => {
                if let (Some(value), Some(echo)) = (body.be32(0), body.be32(4)) {
                    walk.draw.number("tcp.options.timestamp.tsval", "Value", value, body.range(0, 4));
                    walk.draw.number("tcp.options.timestamp.tsecr", "Echo", echo, body.range(4, 4));
                }
            }
            _ => {}
        }
        walk.draw.close();
        at += length;
    }
}
