//! What a capture file consists of, as bytes: classic pcap, and pcapng as its draft has it (`draft-ietf-opsawg-pcapng`), both
//! little-endian and in nanoseconds. Who writes files puts the pieces one after the other.

use veilwatch_core::packet::LinkType;

/// The longest packet that a header promises, in bytes: what capture tools take without a question.
const SNAPLEN: u32 = 256 << 10;

/// Bytes of a pcap's header, and of what stands before each of its packets.
pub(crate) const PCAP_HEADER: usize = 24;
/// The latter.
pub(crate) const PCAP_RECORD: usize = 16;

/// The beginning of a pcap.
pub(crate) fn pcap_header(link: LinkType) -> [u8; PCAP_HEADER] {
    let version = 2 | 4 << 16;
    numbers([0xa1b2_3c4d, version, 0, 0, SNAPLEN, u32::from(link.0)])
}

/// What stands in a pcap before a packet of so many bytes. A pcap counts seconds until 2106; what is later is of then.
pub(crate) fn pcap_record(time_ns: u64, captured: u32, wire_len: u32) -> [u8; PCAP_RECORD] {
    let seconds = u32::try_from(time_ns / 1_000_000_000).unwrap_or(u32::MAX);
    numbers([seconds, (time_ns % 1_000_000_000) as u32, captured, wire_len])
}

/// The beginning of a pcapng: its section, and its interfaces by their names.
pub(crate) fn pcapng_header(interfaces: &[(String, LinkType)]) -> Vec<u8> {
    let mut out = Vec::new();
    // How long the section is, nobody knows yet.
    let mut body = [&numbers::<2, 8>([0x1a2b_3c4d, 1])[..], &[0xff; 8]].concat();
    option(&mut body, 4, concat!("veilwatch ", env!("CARGO_PKG_VERSION")).as_bytes());
    option(&mut body, 0, &[]);
    block(&mut out, 0x0a0d_0d0a, &body);
    for (name, link) in interfaces {
        let mut body = numbers::<2, 8>([link.0.into(), SNAPLEN]).to_vec();
        option(&mut body, 2, name.as_bytes());
        // Times are in units of 10^-9 seconds.
        option(&mut body, 9, &[9]);
        option(&mut body, 0, &[]);
        block(&mut out, 1, &body);
    }
    out
}

/// Adds a packet to a pcapng, whose bytes are those of `parts`, one after the other.
pub(crate) fn pcapng_packet(out: &mut Vec<u8>, interface: u32, time_ns: u64, wire_len: u32, parts: [&[u8]; 3]) {
    let captured = parts.iter().map(|part| part.len()).sum::<usize>() as u32;
    let length = 32 + captured.next_multiple_of(4);
    let (high, low) = halves(time_ns);
    out.extend(numbers::<7, 28>([6, length, interface, high, low, captured, wire_len]));
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.resize(out.len() + (length - 32 - captured) as usize, 0);
    out.extend(length.to_le_bytes());
}

/// Adds what the kernel counted of an interface to a pcapng: packets that it had, and of these the lost ones.
pub(crate) fn pcapng_statistics(out: &mut Vec<u8>, interface: u32, time_ns: u64, received: u64, dropped: u64) {
    let (high, low) = halves(time_ns);
    let mut body = numbers::<3, 12>([interface, high, low]).to_vec();
    option(&mut body, 4, &received.to_le_bytes());
    option(&mut body, 5, &dropped.to_le_bytes());
    option(&mut body, 0, &[]);
    block(out, 5, &body);
}

fn halves(number: u64) -> (u32, u32) {
    ((number >> 32) as u32, number as u32)
}

/// Numbers as four bytes each.
fn numbers<const N: usize, const BYTES: usize>(numbers: [u32; N]) -> [u8; BYTES] {
    let mut out = [0; BYTES];
    out.chunks_mut(4).zip(numbers).for_each(|(place, number)| place.copy_from_slice(&number.to_le_bytes()));
    out
}

/// A block of a pcapng.
fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let length = 12 + body.len() as u32;
    out.extend(numbers::<2, 8>([kind, length]));
    out.extend_from_slice(body);
    out.extend(length.to_le_bytes());
}

/// An option of a block, padded.
fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    [code, value.len() as u16].iter().for_each(|number| out.extend(number.to_le_bytes()));
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}
