//! What IP carries beside TCP, UDP, ICMP and tunnels: SCTP's head, all else by name.

use super::part::Part;
use super::tcp;
use super::tree::Datum;
use super::walk::{Next, Walk};
use crate::tables::Transport;

/// What the IP protocol carries.
pub(super) fn draw<'a>(walk: &mut Walk<'_, 'a>, protocol: u8, part: Part<'a>) -> Next<'a> {
    let field = match protocol {
        132 => return sctp(walk, part),
        59 => return walk.stop("ipv6.nonext", "No next header", part, "nothing follows"),
        2 => "igmp",
        46 => "rsvp",
        88 => "eigrp",
        89 => "ospf",
        103 => "pim",
        112 => "vrrp",
        _ => "data",
    };
    let name = walk.tables().protocol_name(protocol).map_or_else(|| format!("protocol {protocol}"), str::to_owned);
    let words = format!("{} bytes", part.wire);
    walk.stop(field, &name, part, &words)
}

/// SCTP (RFC 9260): the common header, and its chunks by name.
fn sctp<'a>(walk: &mut Walk<'_, 'a>, part: Part<'a>) -> Next<'a> {
    const HEADER: usize = 12;
    const CHUNK: usize = 4;
    /// Chunks that are drawn.
    const MOST: usize = 64;
    let (Some(src), Some(dst), Some(tag), Some(checksum), Some(mut rest)) =
        (part.be16(0), part.be16(2), part.be32(4), part.be32(8), part.after(HEADER))
    else {
        return walk.cut("sctp", "SCTP", part, HEADER);
    };
    walk.draw.open("sctp", "SCTP", &format!("{src} → {dst}"), Datum::Bytes, Some(part.all()));
    tcp::ports(walk, Transport::Other, ["sctp.srcport", "sctp.dstport"], part, (src, dst));
    walk.draw.hex("sctp.verification_tag", "Verification tag", tag, 8, part.range(4, 4));
    walk.draw.hex("sctp.checksum", "Checksum", checksum, 8, part.range(8, 4));
    let mut names = Vec::new();
    for _ in 0..MOST {
        let (Some(kind), Some(length)) = (rest.byte(0), rest.be16(2)) else { break };
        let name = match kind {
            0 => "DATA",
            1 => "INIT",
            2 => "INIT ACK",
            3 => "SACK",
            4 => "HEARTBEAT",
            5 => "HEARTBEAT ACK",
            6 => "ABORT",
            7 => "SHUTDOWN",
            8 => "SHUTDOWN ACK",
            9 => "ERROR",
            10 => "COOKIE ECHO",
            11 => "COOKIE ACK",
            14 => "SHUTDOWN COMPLETE",
            _ => "",
        };
        let length = usize::from(length);
        walk.draw.named("sctp.chunk_type", "Chunk", kind, name, rest.range(0, length.max(CHUNK)));
        names.push(if name.is_empty() { kind.to_string() } else { name.to_owned() });
        match rest.after(length.next_multiple_of(CHUNK)) {
            Some(next) if length >= CHUNK => rest = next,
            _ => break,
        }
    }
    walk.draw.close();
    walk.say("SCTP", format!("{src} → {dst} {}", names.join(", ")));
    if !walk.quoted {
        walk.outline.ports = Some((src, dst));
    }
    Next::End
}
