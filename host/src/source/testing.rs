//! Captures made for tests, in every format, and what comes back from them.

use super::{InputLimits, Source, SourceError, SourceStatus};
use std::io::{self, Cursor, Read, Write};

/// A packet that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) number: u64,
    pub(super) time_ns: u64,
    pub(super) link: u16,
    pub(super) wire_len: u32,
    pub(super) data: Vec<u8>,
}

/// Packets of many sizes, some of them cut by a snaplen, at whole microseconds.
pub(super) fn sample() -> Vec<Made> {
    let sizes = [60, 0, 1, 1514, 3, 2, 9000, 17, 70_000, 64, 300, 1500];
    let made = |(index, &size): (usize, &usize)| {
        let number = index as u64 + 1;
        let data: Vec<u8> = (0..size).map(|at| (at as u64 * 7 + number * 31) as u8).collect();
        let wire_len = (size + if index % 3 == 0 { 1000 } else { 0 }) as u32;
        Made { number, time_ns: (1_700_000_000_000_000 + number * 1_234_567) * 1000, link: 1, wire_len, data }
    };
    sizes.iter().enumerate().map(made).collect()
}

/// Writes numbers in one byte order.
pub(super) struct Writer {
    pub(super) big: bool,
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new(big: bool) -> Self {
        Self { big, bytes: Vec::new() }
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes.extend(if self.big { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes.extend(if self.big { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes.extend(if self.big { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    /// A pcapng block around `body`, padded.
    pub(super) fn block(&mut self, kind: u32, body: &[u8]) {
        let length = 12 + body.len().next_multiple_of(4);
        self.u32(kind);
        self.u32(length as u32);
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.u32(length as u32);
    }

    pub(super) fn section(&mut self) {
        let mut body = Self::new(self.big);
        body.u32(0x1a2b_3c4d);
        body.u16(1);
        body.u16(0);
        body.u64(u64::MAX);
        self.block(0x0a0d_0d0a, &body.bytes);
    }

    /// An interface with `options` as (code, value).
    pub(super) fn interface(&mut self, link: u16, snaplen: u32, options: &[(u16, &[u8])]) {
        let mut body = Self::new(self.big);
        body.u16(link);
        body.u16(0);
        body.u32(snaplen);
        for (code, value) in options {
            body.u16(*code);
            body.u16(value.len() as u16);
            body.bytes.extend(*value);
            body.bytes.resize(body.bytes.len().next_multiple_of(4), 0);
        }
        self.block(1, &body.bytes);
    }

    pub(super) fn enhanced(&mut self, interface: u32, ticks: u64, wire_len: u32, data: &[u8]) {
        let mut body = Self::new(self.big);
        body.u32(interface);
        body.u32((ticks >> 32) as u32);
        body.u32(ticks as u32);
        body.u32(data.len() as u32);
        body.u32(wire_len);
        body.bytes.extend(data);
        self.block(6, &body.bytes);
    }

    pub(super) fn pcap_header(&mut self, magic: u32, minor: u16, network: u32) {
        self.u32(magic);
        self.u16(2);
        self.u16(minor);
        self.u64(0);
        self.u32(262_144);
        self.u32(network);
    }
}

/// A classic pcap file; `magic` is the number in the file's own byte order.
pub(super) fn pcap(packets: &[Made], magic: u32, big: bool) -> Vec<u8> {
    let unit = if magic == 0xa1b2_3c4d { 1 } else { 1000 };
    let mut file = Writer::new(big);
    file.pcap_header(magic, 4, 0xf400_0001);
    for packet in packets {
        file.u32((packet.time_ns / 1_000_000_000) as u32);
        file.u32((packet.time_ns % 1_000_000_000 / unit) as u32);
        file.u32(packet.data.len() as u32);
        file.u32(packet.wire_len);
        if magic == 0xa1b2_cd34 {
            file.u64(0x0102_0304_0506_0708);
        }
        file.bytes.extend(&packet.data);
    }
    file.bytes
}

/// A pcapng file with an unknown block after every packet.
pub(super) fn pcapng(packets: &[Made], big: bool) -> Vec<u8> {
    let mut file = Writer::new(big);
    file.section();
    file.interface(1, 0, &[(2, b"eth0"), (9, &[6]), (0, b"")]);
    for packet in packets {
        file.enhanced(0, packet.time_ns / 1000, packet.wire_len, &packet.data);
        file.block(0x0bad, &[7; 13]);
    }
    file.bytes
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 3).unwrap()
}

/// Gives one byte at a time.
pub(super) struct Trickle(pub(super) Cursor<Vec<u8>>);

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = buffer.len().min(1);
        self.0.read(&mut buffer[..end])
    }
}

/// Limits with the smallest blocks, so that records straddle them everywhere.
pub(super) fn small() -> InputLimits {
    InputLimits { block_bytes: 64, ..InputLimits::default() }
}

pub(super) fn open(bytes: &[u8]) -> Result<Source, SourceError> {
    Source::from_reader("test".to_owned(), Cursor::new(bytes.to_vec()), &InputLimits::default())
}

/// Everything a source gives, and its last word.
pub(super) fn drain(mut source: Source) -> (Vec<Made>, SourceStatus) {
    let mut packets = Vec::new();
    let mut recycled = None;
    while let Some(block) = source.next_block(recycled.take()).unwrap() {
        assert!(!block.is_empty());
        assert_eq!(block.packets().len(), block.len());
        packets.extend(block.packets().map(|packet| Made {
            number: packet.number,
            time_ns: packet.time_ns,
            link: packet.link.0,
            wire_len: packet.wire_len,
            data: packet.data.to_vec(),
        }));
        recycled = Some(block);
    }
    assert!(source.next_block(None).unwrap().is_none(), "an end stays one");
    assert_eq!(source.status().packets, packets.len() as u64);
    (packets, source.status().clone())
}

/// What `bytes` give; the same in large blocks, in the smallest and byte by byte.
pub(super) fn read(bytes: &[u8]) -> (Vec<Made>, SourceStatus) {
    let whole = drain(open(bytes).unwrap());
    let input = Cursor::new(bytes.to_vec());
    let blocks = drain(Source::from_reader("test".to_owned(), input.clone(), &small()).unwrap());
    let trickle = drain(Source::from_reader("test".to_owned(), Trickle(input), &small()).unwrap());
    for (packets, mut status) in [blocks, trickle] {
        assert_eq!(packets, whole.0);
        if status.damage.is_some() {
            // How much had been read beyond the damage is all that may differ.
            (status.file_bytes, status.unpacked_bytes) = (whole.1.file_bytes, whole.1.unpacked_bytes);
        }
        assert_eq!(status, whole.1);
    }
    whole
}
