//! UDP (RFC 768), whose ports may be a tunnel's.

use super::checksum::ChecksumStatus;
use super::outline::Payload;
use super::part::Part;
use super::tree::Datum;
use super::walk::{Envelope, Next, Walk};
use super::{tcp, tunnel};
use crate::tables::Transport;
use std::net::IpAddr;

const HEADER: usize = 8;

/// A UDP packet.
pub(super) fn draw<'a>(walk: &mut Walk<'_, 'a>, part: Part<'a>, envelope: Envelope) -> Next<'a> {
    let (Some(src), Some(dst), Some(said), Some(checksum), Some(body)) =
        (part.be16(0), part.be16(2), part.be16(4), part.be16(6), part.after(HEADER))
    else {
        return walk.cut("udp", "UDP", part, HEADER);
    };
    // UDP says again how long it is; a length that cannot be leaves IP's.
    let length = if usize::from(said) >= HEADER { usize::from(said).min(part.wire) } else { part.wire };
    let payload = length.saturating_sub(HEADER);
    let lie = match usize::from(said) {
        // That of a jumbogram (RFC 2675), or left to the network card.
        0 => "not said",
        1..HEADER => "less than a header",
        // The first part of a packet says the length of all of it.
        said if said > part.wire && !envelope.fragment => "more than there is",
        _ => "",
    };
    let status = if checksum == 0 && matches!(envelope.src, IpAddr::V4(_)) {
        ChecksumStatus::Absent
    } else {
        verify(walk, part.first(length), &envelope)
    };
    walk.draw.open("udp", "UDP", &format!("{src} → {dst}"), Datum::Bytes, Some(part.range(0, HEADER)));
    tcp::ports(walk, Transport::Udp, ["udp.srcport", "udp.dstport"], part, (src, dst));
    walk.draw.named("udp.length", "Length", said, lie, part.range(4, 2));
    walk.checksum(("udp.checksum", "udp.checksum.status"), checksum, status, part.range(6, 2));
    walk.draw.close();
    walk.say("UDP", format!("{src} → {dst} len {payload}"));
    if walk.quoted {
        return Next::End;
    }
    let body = Part { wire: payload, ..body.first(payload) };
    if !envelope.fragment
        && let Some(next) = tunnel::by_port(walk, src, dst, body)
    {
        return next;
    }
    walk.outline.ports = Some((src, dst));
    walk.outline.payload =
        Some(Payload { at: body.at, bytes: body.data, wire_len: payload, fragment: envelope.fragment });
    Next::End
}

fn verify<'a>(walk: &mut Walk<'_, 'a>, part: Part<'a>, envelope: &Envelope) -> ChecksumStatus {
    match walk.verify(part, 6, Some(17), envelope) {
        // Zero says that there is none: where it is the sum, the other zero stands for it.
        ChecksumStatus::Bad { expected: 0 } => ChecksumStatus::Bad { expected: 0xffff },
        status => status,
    }
}
