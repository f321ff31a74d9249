//! pcapng: a chain of blocks, each with its type and length in front and its length again behind.
//!
//! Headers of sections and interfaces are read with `pcap_parser`. Packet blocks are read by hand: they come by the
//! million, `pcap_parser` allocates for the options of each, and it has no obsolete packet block. Its reading of
//! `if_tsresol` (no powers of two) and `if_tsoffset` (always little-endian) is not used either.

use super::block::Entry;
use super::clock::Clock;
use super::format::{ByteOrder, Stop, Unfit, Why};
use super::sniff::PCAPNG;
use super::{InputLimits, SourceStatus};
use crate::filter::Passage;
use pcap_parser::pcapng::{
    InterfaceDescriptionBlock, OptionCode, parse_interfacedescriptionblock_be, parse_interfacedescriptionblock_le,
    parse_sectionheaderblock,
};
use veilwatch_core::packet::LinkType;

/// Length in bytes of a section header without options.
pub(super) const HEADER: usize = 28;

/// What a block may hold beyond a packet of the largest size: headers, padding and options.
const OPTIONS: usize = 64 << 10;

/// The smallest block: type, length, length.
const FRAME: usize = 12;

/// Block types that are read; all others are passed over.
mod block_type {
    pub(super) const INTERFACE: u32 = 1;
    pub(super) const OBSOLETE_PACKET: u32 = 2;
    pub(super) const SIMPLE_PACKET: u32 = 3;
    pub(super) const ENHANCED_PACKET: u32 = 6;
    pub(super) const SECTION: u32 = 0x0a0d_0d0a;
}

/// A pcapng file.
pub(super) struct Pcapng {
    order: ByteOrder,
    /// The interfaces of the current section.
    interfaces: Vec<Interface>,
    /// Time of the last packet that had one, for simple packet blocks.
    last_ns: u64,
    /// Bytes still to come of a block that is passed over.
    passing: usize,
    packet_limit: usize,
    interface_limit: usize,
}

#[derive(Debug, Clone, Copy)]
struct Interface {
    link: LinkType,
    /// Most bytes captured of a packet; 0 for no limit.
    snaplen: u32,
    clock: Clock,
}

/// Where a packet block has its packet.
struct Found {
    interface: usize,
    /// Ticks of the interface's clock; `None` for a simple packet block.
    ticks: Option<u64>,
    captured: u32,
    wire: u32,
    /// Offset of the packet within the block.
    offset: usize,
}

impl Pcapng {
    /// Looks at the first section header, of which [`HEADER`] bytes must be there.
    pub(super) fn open(head: &[u8], limits: &InputLimits) -> Result<Self, Unfit> {
        let order = byte_order(head).ok_or(Unfit::ByteOrder)?;
        let (major, minor) = (order.u16(head, 12), order.u16(head, 14));
        if major != 1 {
            return Err(Unfit::Version { major, minor });
        }
        Ok(Self {
            order,
            interfaces: Vec::new(),
            last_ns: 0,
            passing: 0,
            packet_limit: limits.packet(),
            interface_limit: limits.interfaces as usize,
        })
    }

    pub(super) fn parse(&mut self, data: &[u8], packets: &mut Vec<Entry>, status: &mut SourceStatus) -> Stop {
        let mut at = 0;
        loop {
            let rest = &data[at..];
            if self.passing > 0 {
                let passed = self.passing.min(rest.len());
                self.passing -= passed;
                at += passed;
                if self.passing > 0 {
                    return Stop { consumed: at, why: Why::Need(self.passing) };
                }
                continue;
            }
            if rest.is_empty() {
                return Stop { consumed: at, why: Why::Boundary };
            }
            match self.block(rest, at, packets, status) {
                Ok(length) => at += length,
                Err(why) => return Stop { consumed: at, why },
            }
        }
    }

    /// Reads the block that `data` starts with and returns its length; 0 for one that is passed over without being
    /// there yet. `at` is the position of `data` in the block of memory.
    fn block(
        &mut self,
        data: &[u8],
        at: usize,
        packets: &mut Vec<Entry>,
        status: &mut SourceStatus,
    ) -> Result<usize, Why> {
        if data.len() < FRAME {
            return Err(Why::Need(FRAME));
        }
        // A section chooses the byte order of everything in it, its own header included.
        if data.starts_with(&PCAPNG) {
            self.order = byte_order(data).ok_or_else(|| broken("a section header of an unknown byte order"))?;
        }
        let kind = self.order.u32(data, 0);
        let length = padded(self.order.u32(data, 4));
        if length < smallest(kind) {
            return Err(Why::Broken(format!("a block of type {kind:#x} claims a length of {length} bytes")));
        }
        if length > self.packet_limit + OPTIONS {
            if smallest(kind) == FRAME {
                self.passing = length;
                status.skipped_blocks += 1;
                return Ok(0);
            }
            return Err(Why::Broken(format!(
                "a block of type {kind:#x} claims {length} bytes, more than a packet of {} (packet_bytes) can need",
                self.packet_limit
            )));
        }
        if data.len() < length {
            return Err(Why::Need(length));
        }
        let data = &data[..length];
        let again = padded(self.order.u32(data, length - 4));
        // The first length led here, and the next block shows whether it was right.
        status.odd_blocks += u64::from(again != length);
        match kind {
            block_type::SECTION => self.section(data)?,
            block_type::INTERFACE => self.interface(data)?,
            block_type::ENHANCED_PACKET => self.packet(data, at, self.enhanced(data), packets, status)?,
            block_type::OBSOLETE_PACKET => self.packet(data, at, self.obsolete(data), packets, status)?,
            block_type::SIMPLE_PACKET => self.packet(data, at, self.simple(data), packets, status)?,
            _ => status.skipped_blocks += 1,
        }
        Ok(length)
    }

    fn section(&mut self, data: &[u8]) -> Result<(), Why> {
        let (_, header) = parse_sectionheaderblock(data).map_err(|_| broken("a section header that makes no sense"))?;
        if header.major_version != 1 {
            return Err(Why::Broken(format!(
                "a section of pcapng version {}.{}, which is not supported",
                header.major_version, header.minor_version
            )));
        }
        self.interfaces.clear();
        Ok(())
    }

    fn interface(&mut self, data: &[u8]) -> Result<(), Why> {
        if self.interfaces.len() >= self.interface_limit {
            return Err(Why::Broken(format!(
                "a section describes more than {} interfaces (limit interfaces)",
                self.interface_limit
            )));
        }
        let (_, description) = match self.order {
            ByteOrder::Little => parse_interfacedescriptionblock_le(data),
            ByteOrder::Big => parse_interfacedescriptionblock_be(data),
        }
        .map_err(|_| broken("an interface description that makes no sense"))?;
        self.interfaces.push(Interface {
            // pcap_parser widens the field's 16 bits.
            link: LinkType(description.linktype.0 as u16),
            snaplen: description.snaplen,
            clock: self.clock(&description),
        });
        Ok(())
    }

    fn clock(&self, description: &InterfaceDescriptionBlock<'_>) -> Clock {
        let mut clock = Clock::default();
        for option in &description.options {
            match (option.code, option.as_bytes()) {
                (OptionCode::EndOfOpt, _) => break,
                (OptionCode::IfTsresol, Ok(&[resolution])) => clock.resolution = resolution,
                (OptionCode::IfTsoffset, Ok(value)) => {
                    if let Ok(bytes) = <[u8; 8]>::try_from(value) {
                        clock.offset_s = match self.order {
                            ByteOrder::Little => i64::from_le_bytes(bytes),
                            ByteOrder::Big => i64::from_be_bytes(bytes),
                        };
                    }
                }
                _ => {}
            }
        }
        clock
    }

    fn enhanced(&self, data: &[u8]) -> Found {
        Found { interface: self.order.u32(data, 8) as usize, ..self.timed(data) }
    }

    /// The packet block of before 2009: a counter of drops takes half of the interface's field.
    fn obsolete(&self, data: &[u8]) -> Found {
        Found { interface: usize::from(self.order.u16(data, 8)), ..self.timed(data) }
    }

    fn timed(&self, data: &[u8]) -> Found {
        let order = self.order;
        Found {
            interface: 0,
            ticks: Some(u64::from(order.u32(data, 12)) << 32 | u64::from(order.u32(data, 16))),
            captured: order.u32(data, 20),
            wire: order.u32(data, 24),
            offset: 28,
        }
    }

    /// A packet of the first interface without time or captured length: that is what the snaplen and the block leave.
    fn simple(&self, data: &[u8]) -> Found {
        let wire = self.order.u32(data, 8);
        let snaplen = self.interfaces.first().map_or(0, |interface| interface.snaplen);
        let room = (data.len() - 16) as u32;
        let captured = wire.min(room).min(if snaplen == 0 { u32::MAX } else { snaplen });
        Found { interface: 0, ticks: None, captured, wire, offset: 12 }
    }

    /// Enters the packet that was `found` in the block `data`.
    fn packet(
        &mut self,
        data: &[u8],
        at: usize,
        found: Found,
        packets: &mut Vec<Entry>,
        status: &mut SourceStatus,
    ) -> Result<(), Why> {
        let Found { interface, ticks, captured, wire, offset } = found;
        let room = data.len() - offset - 4;
        if captured as usize > room {
            return Err(Why::Broken(format!("a packet claims {captured} bytes in a block with room for {room}")));
        }
        if captured as usize > self.packet_limit {
            return Err(Why::Broken(format!(
                "a packet of {captured} bytes is above the limit of {} (packet_bytes)",
                self.packet_limit
            )));
        }
        let Some(described) = self.interfaces.get(interface) else {
            return Err(Why::Broken(format!("a packet of interface {interface}, which its section does not describe")));
        };
        if let Some(ticks) = ticks {
            self.last_ns = described.clock.nanoseconds(ticks);
        }
        status.odd_lengths += u64::from(captured > wire);
        packets.push(Entry {
            time_ns: self.last_ns,
            wire_len: wire.max(captured),
            offset: (at + offset) as u32,
            len: captured,
            link: described.link,
            passage: Passage::Seen,
        });
        Ok(())
    }
}

/// The byte order of the section whose header `data` starts with.
fn byte_order(data: &[u8]) -> Option<ByteOrder> {
    match data.get(8..12)? {
        [0x4d, 0x3c, 0x2b, 0x1a] => Some(ByteOrder::Little),
        [0x1a, 0x2b, 0x3c, 0x4d] => Some(ByteOrder::Big),
        _ => None,
    }
}

/// The length of a block in bytes. Some writers forget to count the padding at its end.
fn padded(length: u32) -> usize {
    (length as usize).checked_next_multiple_of(4).unwrap_or(usize::MAX)
}

/// Length in bytes of the smallest block of a type; [`FRAME`] for types that are passed over.
fn smallest(kind: u32) -> usize {
    match kind {
        block_type::SECTION => HEADER,
        block_type::INTERFACE => 20,
        block_type::ENHANCED_PACKET | block_type::OBSOLETE_PACKET => 32,
        block_type::SIMPLE_PACKET => 16,
        _ => FRAME,
    }
}

fn broken(what: &str) -> Why {
    Why::Broken(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Made, Writer, open, pcapng, read, sample};
    use pcap_parser::traits::PcapNGPacketBlock;

    fn started(big: bool, options: &[(u16, &[u8])]) -> Writer {
        let mut file = Writer::new(big);
        file.section();
        file.interface(1, 0, options);
        file
    }

    /// Number, time, link type and data of a packet.
    type Told = (u64, u64, u16, Vec<u8>);

    fn told(bytes: &[u8]) -> (Vec<Told>, Option<String>) {
        let (packets, status) = read(bytes);
        let told = packets.into_iter().map(|packet| (packet.number, packet.time_ns, packet.link, packet.data));
        (told.collect(), status.damage.map(|damage| damage.to_string()))
    }

    #[test]
    fn reads_what_pcap_parser_reads() {
        for big in [false, true] {
            let bytes = pcapng(&sample(), big);
            let mut expected = Vec::new();
            for block in pcap_parser::PcapNGSlice::from_slice(&bytes).unwrap() {
                if let Ok(pcap_parser::PcapBlockOwned::NG(pcap_parser::Block::EnhancedPacket(packet))) = block {
                    expected.push(Made {
                        number: expected.len() as u64 + 1,
                        time_ns: (u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low)) * 1000,
                        link: 1,
                        wire_len: packet.origlen,
                        data: packet.packet_data().to_vec(),
                    });
                }
            }
            let (packets, status) = read(&bytes);
            assert_eq!(packets, expected);
            assert_eq!(status.skipped_blocks, packets.len() as u64);
        }
    }

    #[test]
    fn sections_have_their_own_order_and_interfaces_their_own_clocks() {
        let mut file = started(false, &[]);
        file.interface(101, 0, &[(9, &[9]), (14, &5i64.to_le_bytes())]);
        file.enhanced(0, 7, 1, b"a");
        file.enhanced(1, 7, 1, b"b");
        file.big = true;
        file.section();
        file.interface(113, 0, &[(9, &[0x80 | 1]), (14, &(-2i64).to_be_bytes()), (0, b""), (9, &[0])]);
        file.enhanced(0, 9, 1, b"c");
        let expected = vec![
            (1, 7_000, 1, b"a".to_vec()),
            (2, 5_000_000_007, 101, b"b".to_vec()),
            (3, 2_500_000_000, 113, b"c".to_vec()),
        ];
        assert_eq!(told(&file.bytes), (expected, None));
    }

    #[test]
    fn simple_and_obsolete_packets() {
        let mut file = Writer::new(true);
        file.section();
        file.interface(1, 3, &[]);
        let mut obsolete = Writer::new(true);
        obsolete.u16(0);
        obsolete.u16(99);
        [0, 42, 2, 60].into_iter().for_each(|number| obsolete.u32(number));
        obsolete.bytes.extend(b"ab");
        file.block(2, &obsolete.bytes);
        file.block(3, b"\0\0\0\x09abc\0");
        file.block(3, b"\0\0\0\x02de");
        let expected =
            vec![(1, 42_000, 1, b"ab".to_vec()), (2, 42_000, 1, b"abc".to_vec()), (3, 42_000, 1, b"de".to_vec())];
        assert_eq!(told(&file.bytes), (expected, None));
        assert_eq!(read(&file.bytes).0[1].wire_len, 9);
    }

    #[test]
    fn large_blocks_are_passed_over_without_being_held() {
        let mut file = started(false, &[]);
        file.block(10, &vec![1; 3 << 20]);
        file.enhanced(0, 1, 1, b"a");
        let (packets, status) = read(&file.bytes);
        assert_eq!((packets.len(), status.skipped_blocks, status.damage), (1, 1, None));
        // Cut inside: the missing bytes are noticed all the same.
        let (packets, damage) = told(&file.bytes[..1 << 20]);
        assert!(packets.is_empty());
        assert!(damage.unwrap().starts_with("the capture is cut off: 209"));
    }

    #[test]
    fn broken_blocks_end_reading_where_they_stand() {
        let good = {
            let mut file = started(false, &[]);
            file.enhanced(0, 1, 1, b"a");
            file
        };
        let at = good.bytes.len();
        let mut packet = Writer::new(false);
        packet.enhanced(0, 1, 9, b"abcd");
        let changed = |position: usize, value: u32| {
            let mut bytes = good.bytes.clone();
            bytes.extend(&packet.bytes);
            bytes[at + position..at + position + 4].copy_from_slice(&value.to_le_bytes());
            told(&bytes)
        };
        for (position, value, what) in [
            (4, 0, "a block of type 0x6 claims a length of 0 bytes"),
            (4, 8, "a block of type 0x6 claims a length of 8 bytes"),
            (4, u32::MAX, "a block of type 0x6 claims 4294967296 bytes, more than a packet of 262144"),
            (4, 64, "the capture is cut off: 28 bytes or more of its last record are missing"),
            (8, 1, "a packet of interface 1, which its section does not describe"),
            (20, 5, "a packet claims 5 bytes in a block with room for 4"),
            (0, 0x0a0d_0d0a, "a section header of an unknown byte order"),
            (0, 1, "the end"),
        ] {
            let (packets, damage) = changed(position, value);
            assert_eq!(packets.len(), 1, "{what}");
            match damage {
                Some(damage) => {
                    assert!(damage.starts_with(what), "{damage}");
                    assert!(damage.ends_with(&format!("(at byte {at})")), "{damage}");
                }
                // Taken for the description of an interface, it is a fine one.
                None => assert_eq!(what, "the end"),
            }
        }
    }

    #[test]
    fn the_length_at_the_end_may_be_another() {
        let mut file = started(false, &[]);
        file.enhanced(0, 1, 1, b"a");
        let end = file.bytes.len();
        file.enhanced(0, 1, 1, b"b");
        file.bytes[end - 4] ^= 0x40;
        let (packets, status) = read(&file.bytes);
        assert_eq!((packets.len(), status.odd_blocks, status.damage), (2, 1, None));
    }

    #[test]
    fn padding_may_be_left_out_of_the_length() {
        let mut file = started(false, &[]);
        let at = file.bytes.len();
        file.enhanced(0, 1, 3, b"abc");
        let end = file.bytes.len();
        file.enhanced(0, 1, 3, b"def");
        file.bytes[at + 4] -= 1;
        file.bytes[end - 4] -= 1;
        assert_eq!(told(&file.bytes).0.len(), 2);
    }

    #[test]
    fn refuses_strange_headers() {
        let mut bytes = pcapng(&[], false);
        bytes[12] = 3;
        let error = open(&bytes).err().unwrap().to_string();
        assert!(error.starts_with("test is pcapng version 3.0, which is not supported;"), "{error}");
        bytes[8] = 0;
        let error = open(&bytes).err().unwrap().to_string();
        assert!(error.starts_with("test is no capture: it looks like pcapng of an unknown byte order;"), "{error}");
    }

    #[test]
    fn interfaces_have_a_limit() {
        let limits = super::InputLimits { interfaces: 2, ..super::InputLimits::default() };
        let mut file = started(false, &[]);
        file.interface(1, 0, &[]);
        file.section();
        file.interface(1, 0, &[]);
        file.enhanced(0, 1, 1, b"a");
        file.interface(1, 0, &[]);
        file.interface(1, 0, &[]);
        let reader = std::io::Cursor::new(file.bytes);
        let source = super::super::Source::from_reader(String::new(), reader, &limits).unwrap();
        let (packets, status) = super::super::testing::drain(source);
        assert_eq!(packets.len(), 1);
        assert_eq!(status.damage.unwrap().what, "a section describes more than 2 interfaces (limit interfaces)");
    }
}
