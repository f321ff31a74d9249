//! Classic pcap: a file header, then records of 16 bytes and the packet.
//!
//! Read by hand rather than with `pcap_parser`, whose functions do not know the sixth variant and leave the limit to
//! the caller, who would have to read the length field again; a test holds the two equal.

use super::block::Entry;
use super::format::{ByteOrder, Stop, Unfit, Why};
use super::{InputLimits, SourceStatus};
use crate::filter::Passage;
use veilwatch_core::packet::LinkType;

/// Length of the file header in bytes.
pub(super) const HEADER: usize = 24;

/// What a file's first four bytes say about the rest of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Variant {
    order: ByteOrder,
    /// Nanoseconds in one unit of the record's fraction of a second.
    unit_ns: u64,
    /// Length of a record's header in bytes.
    record: usize,
    /// Bytes between the file header and the first record.
    gap: usize,
    name: &'static str,
}

/// The variant that starts with `magic`.
pub(super) fn variant(magic: [u8; 4]) -> Option<Variant> {
    use ByteOrder::{Big, Little};
    let (order, unit_ns, (record, gap), name) = match magic {
        [0xd4, 0xc3, 0xb2, 0xa1] => (Little, 1000, (16, 0), "pcap"),
        [0xa1, 0xb2, 0xc3, 0xd4] => (Big, 1000, (16, 0), "pcap"),
        [0x4d, 0x3c, 0xb2, 0xa1] => (Little, 1, (16, 0), "pcap (nanoseconds)"),
        [0xa1, 0xb2, 0x3c, 0x4d] => (Big, 1, (16, 0), "pcap (nanoseconds)"),
        // Kuznetzov's: interface, protocol and packet type follow the usual 16 bytes of a record.
        [0x34, 0xcd, 0xb2, 0xa1] => (Little, 1000, (24, 0), "pcap (modified)"),
        [0xa1, 0xb2, 0xcd, 0x34] => (Big, 1000, (24, 0), "pcap (modified)"),
        // IXIA's, of its hardware and its software: the size of all records stands before the first.
        [0xac, 0x01, 0x00, 0x1c] => (Little, 1, (16, 4), "pcap (IXIA)"),
        [0x1c, 0x00, 0x01, 0xac] => (Big, 1, (16, 4), "pcap (IXIA)"),
        [0xab, 0x01, 0x00, 0x1c] => (Little, 1000, (16, 4), "pcap (IXIA)"),
        [0x1c, 0x00, 0x01, 0xab] => (Big, 1000, (16, 4), "pcap (IXIA)"),
        _ => return None,
    };
    Some(Variant { order, unit_ns, record, gap, name })
}

/// A classic pcap file.
pub(super) struct Pcap {
    variant: Variant,
    link: LinkType,
    /// Files before version 2.4 may have a record's two lengths the other way round.
    old: bool,
    packet_limit: usize,
    /// Bytes to pass over before the next record.
    gap: usize,
}

impl Pcap {
    /// Reads the file header, of which [`HEADER`] bytes must be there.
    pub(super) fn open(head: &[u8], limits: &InputLimits) -> Result<Self, Unfit> {
        let variant = head.first_chunk().and_then(|&magic| variant(magic)).ok_or(Unfit::ByteOrder)?;
        let order = variant.order;
        let (major, minor) = (order.u16(head, 4), order.u16(head, 6));
        if major != 2 || minor > 4 {
            return Err(Unfit::Version { major, minor });
        }
        Ok(Self {
            variant,
            // The upper half of the field says how long the frame check sequences are.
            link: LinkType(order.u32(head, 20) as u16),
            old: minor < 4,
            packet_limit: limits.packet(),
            gap: variant.gap,
        })
    }

    pub(super) fn name(&self) -> &'static str {
        self.variant.name
    }

    pub(super) fn parse(&mut self, data: &[u8], packets: &mut Vec<Entry>, status: &mut SourceStatus) -> Stop {
        let Variant { order, unit_ns, record, .. } = self.variant;
        let second = 1_000_000_000 / unit_ns;
        if data.len() < self.gap {
            return Stop { consumed: 0, why: Why::Need(self.gap) };
        }
        let mut at = std::mem::take(&mut self.gap);
        loop {
            let rest = &data[at..];
            if rest.len() < record {
                let why = if rest.is_empty() { Why::Boundary } else { Why::Need(record) };
                return Stop { consumed: at, why };
            }
            let seconds = u64::from(order.u32(rest, 0));
            let fraction = u64::from(order.u32(rest, 4));
            let mut captured = order.u32(rest, 8);
            let mut wire = order.u32(rest, 12);
            if self.old && captured > wire {
                (captured, wire) = (wire, captured);
            }
            let len = captured as usize;
            if len > self.packet_limit {
                let what = format!(
                    "a record claims a packet of {captured} bytes, above the limit of {} (packet_bytes)",
                    self.packet_limit
                );
                return Stop { consumed: at, why: Why::Broken(what) };
            }
            if rest.len() - record < len {
                return Stop { consumed: at, why: Why::Need(record + len) };
            }
            status.odd_times += u64::from(fraction >= second);
            status.odd_lengths += u64::from(captured > wire);
            packets.push(Entry {
                // 2^32 seconds and as many units are below 2^63 nanoseconds.
                time_ns: seconds * 1_000_000_000 + fraction * unit_ns,
                wire_len: wire.max(captured),
                offset: (at + record) as u32,
                len: captured,
                link: self.link,
                passage: Passage::Seen,
            });
            at += record + len;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Made, Writer, pcap, read, sample};

    /// A file with one record of these four numbers and `data`.
    fn record(minor: u16, numbers: [u32; 4], data: &[u8]) -> Vec<u8> {
        let mut file = Writer::new(false);
        file.pcap_header(0xa1b2_c3d4, minor, 1);
        numbers.into_iter().for_each(|number| file.u32(number));
        file.bytes.extend(data);
        file.bytes
    }

    #[test]
    fn reads_what_pcap_parser_reads() {
        for big in [false, true] {
            let bytes = pcap(&sample(), 0xa1b2_c3d4, big);
            let (mut rest, header) = pcap_parser::parse_pcap_header(&bytes).unwrap();
            let frame = if big { pcap_parser::parse_pcap_frame_be } else { pcap_parser::parse_pcap_frame };
            let mut expected = Vec::new();
            while !rest.is_empty() {
                let (next, frame) = frame(rest).unwrap();
                expected.push(Made {
                    number: expected.len() as u64 + 1,
                    time_ns: (u64::from(frame.ts_sec) * 1_000_000 + u64::from(frame.ts_usec)) * 1000,
                    link: header.network.0 as u16,
                    wire_len: frame.origlen.max(frame.caplen),
                    data: frame.data.to_vec(),
                });
                rest = next;
            }
            assert_eq!(read(&bytes).0, expected);
        }
    }

    #[test]
    fn a_record_above_the_limit_ends_reading_where_it_stands() {
        let mut bytes = record(4, [1, 0, 3, 3], b"abc");
        for number in [2u32, 0, 262_145, 262_145] {
            bytes.extend(number.to_le_bytes());
        }
        let (packets, status) = read(&bytes);
        assert_eq!(packets.len(), 1);
        let damage = status.damage.unwrap();
        assert_eq!(damage.offset, 24 + 16 + 3);
        assert_eq!(damage.what, "a record claims a packet of 262145 bytes, above the limit of 262144 (packet_bytes)");
    }

    #[test]
    fn odd_numbers_are_counted_and_kept() {
        let (packets, status) = read(&record(4, [u32::MAX, u32::MAX, 4, 2], b"abcd"));
        assert_eq!(packets[0].time_ns, 4_294_967_295_000_000_000 + 4_294_967_295_000);
        assert_eq!(packets[0].wire_len, 4);
        assert_eq!((status.odd_times, status.odd_lengths, status.damage), (1, 1, None));
    }

    #[test]
    fn a_file_of_ixia_has_a_size_before_its_records() {
        for (magic, unit) in [(0x1c00_01ac, 1), (0x1c00_01ab, 1000)] {
            for big in [false, true] {
                let mut file = Writer::new(big);
                file.pcap_header(magic, 4, 1);
                [18, 5, 7, 2, 60].into_iter().for_each(|number| file.u32(number));
                file.bytes.extend(b"ab");
                let (packets, status) = read(&file.bytes);
                assert_eq!((packets[0].time_ns, packets[0].wire_len), (5_000_000_000 + 7 * unit, 60));
                assert_eq!((packets[0].data.as_slice(), status.damage), (&b"ab"[..], None));
                // Without a record it is whole, and without the size it is not.
                assert_eq!(read(&file.bytes[..28]).1.damage, None);
                assert!(read(&file.bytes[..26]).1.damage.is_some());
            }
        }
    }

    #[test]
    fn old_files_have_the_lengths_swapped() {
        let (packets, status) = read(&record(2, [1, 0, 60, 4], b"abcd"));
        assert_eq!((packets[0].data.as_slice(), packets[0].wire_len), (&b"abcd"[..], 60));
        assert_eq!(status.damage, None);
    }

    #[test]
    fn a_capture_without_packets_is_whole() {
        let (packets, status) = read(&pcap(&[], 0xa1b2_3c4d, true));
        assert!(packets.is_empty());
        assert_eq!((status.damage, status.format), (None, "pcap (nanoseconds)"));
    }
}
