//! Large TCP segments become several, as behind a link with a smaller MTU.

use super::packets::Frame;
use veilwatch_core::packet::LinkType;

/// Gives a packet in pieces that fit; as it is where it fits, where it is not plainly TCP over IP with a payload, or where
/// its pieces would take far more than was kept of it.
pub(super) fn cut(frame: Frame, mtu: usize, on: &mut dyn FnMut(Frame)) {
    match Segment::of(&frame, mtu) {
        Some(segment) => segment.pieces(&frame, mtu, on),
        None => on(frame),
    }
}

/// A TCP segment that is too large, and where its headers stand.
struct Segment {
    /// Begin of the IP header.
    ip: usize,
    version: u8,
    /// Begin of the TCP header.
    tcp: usize,
    /// Begin of the payload.
    payload: usize,
    /// Length of the payload on the wire.
    len: usize,
}

/// How many times the bytes that were kept of a packet its pieces may take together. A packet of which little was kept, cut
/// into many pieces that are headers alone, could take thousands of times as much; it stays as it is.
const GROWTH: usize = 256;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

impl Segment {
    fn of(frame: &Frame, mtu: usize) -> Option<Self> {
        let data = frame.data.as_slice();
        let ip = network(frame)?;
        let header = data.get(ip..)?;
        let version = header.first()? >> 4;
        let (tcp, end) = match version {
            4 => {
                let (total, fragment) = (number(header, 2)?, number(header, 6)?);
                let plain = *header.get(9)? == 6 && fragment & 0x3fff == 0;
                let length = usize::from(header.first()? & 0x0f) * 4;
                (plain && length >= 20).then_some((ip + length, ip + total))?
            }
            6 => (*header.get(6)? == 6).then_some((ip + 40, ip + 40 + number(header, 4)?))?,
            _ => return None,
        };
        let offset = usize::from(data.get(tcp + 12)? >> 4) * 4;
        let payload = tcp + offset;
        let syn = data.get(tcp + 13)? & SYN != 0;
        let whole = offset >= 20 && payload <= data.len() && payload < end && end <= frame.wire_len as usize;
        let fits = end - ip <= mtu || payload - ip >= mtu;
        let bounded = || {
            (end - payload).div_ceil(mtu - (payload - ip)).saturating_mul(payload) <= data.len().saturating_mul(GROWTH)
        };
        (whole && !syn && !fits && bounded()).then(|| Self { ip, version, tcp, payload, len: end - payload })
    }

    fn pieces(&self, frame: &Frame, mtu: usize, on: &mut dyn FnMut(Frame)) {
        let most = mtu - (self.payload - self.ip);
        // What stands behind the IP packet is no part of it: a link's padding, a checksum of the frame.
        let captured = frame.data[self.payload..].get(..self.len).unwrap_or(&frame.data[self.payload..]);
        for (number, from) in (0..self.len).step_by(most).enumerate() {
            let len = most.min(self.len - from);
            let kept = captured.get(from..).map_or(&[][..], |rest| &rest[..len.min(rest.len())]);
            let mut data = Vec::with_capacity(self.payload + kept.len());
            data.extend_from_slice(&frame.data[..self.payload]);
            data.extend_from_slice(kept);
            self.renew(&mut data, from, len, number, from + len == self.len);
            on(Frame { wire_len: (self.payload + len) as u32, data, ..*frame });
        }
    }

    /// Writes lengths, sequence number, flags and checksums of the piece of `len` bytes that begins `from` bytes into the
    /// payload.
    fn renew(&self, data: &mut [u8], from: usize, len: usize, number: usize, last: bool) {
        let header = self.payload - self.ip;
        let (frame_ip, tcp) = data[self.ip..].split_at_mut(self.tcp - self.ip);
        if self.version == 4 {
            put(frame_ip, 2, (header + len) as u16);
            let id = u16::from_be_bytes([frame_ip[4], frame_ip[5]]);
            put(frame_ip, 4, id.wrapping_add(number as u16));
            put(frame_ip, 10, 0);
            let sum = !folded(add(0, frame_ip));
            put(frame_ip, 10, sum);
        } else {
            put(frame_ip, 4, (header - 40 + len) as u16);
        }
        let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]).wrapping_add(from as u32);
        tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
        if !last {
            tcp[13] &= !(FIN | PSH);
        }
        if number > 0 {
            tcp[13] &= !CWR;
        }
        put(tcp, 16, 0);
        // Over bytes that were not kept nothing can be added up: zero, as a network card that computes it leaves it.
        if tcp.len() == self.payload - self.tcp + len {
            let addresses = if self.version == 4 { &frame_ip[12..20] } else { &frame_ip[8..40] };
            let sum = !folded(add(add(6 + tcp.len() as u64, addresses), tcp));
            put(tcp, 16, sum);
        }
    }
}

/// Where the IP header begins, for links that need no more than a look.
fn network(frame: &Frame) -> Option<usize> {
    let kind = |at| number(&frame.data, at);
    let (mut at, announced) = match frame.link {
        LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_ALT | LinkType::IPV4 | LinkType::IPV6 => return Some(0),
        LinkType::NULL | LinkType::LOOP => return Some(4),
        LinkType::ETHERNET => (14, 12),
        LinkType::LINUX_SLL => (16, 14),
        LinkType::LINUX_SLL2 => (20, 0),
        _ => return None,
    };
    let mut announced = kind(announced)?;
    // Tags of virtual networks; as many as decoding goes through by the short way.
    for _ in 0..4 {
        if !matches!(announced, 0x8100 | 0x88a8 | 0x9100) {
            break;
        }
        announced = kind(at + 2)?;
        at += 4;
    }
    matches!(announced, 0x0800 | 0x86dd).then_some(at)
}

fn number(data: &[u8], at: usize) -> Option<usize> {
    let pair = data.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*pair).into())
}

fn put(data: &mut [u8], at: usize, number: u16) {
    data[at..at + 2].copy_from_slice(&number.to_be_bytes());
}

/// Adds bytes up as the Internet checksum does (RFC 1071).
fn add(sum: u64, bytes: &[u8]) -> u64 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let whole: u64 = pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum();
    sum + whole + rest.first().map_or(0, |last| u64::from(*last) << 8)
}

fn folded(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}
