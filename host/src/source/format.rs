use super::block::Entry;
use super::pcap::Pcap;
use super::pcapng::Pcapng;
use super::sniff::{self, Kind};
use super::{InputLimits, SourceError, SourceStatus};

/// The parser for a capture's format, with what it has to remember between blocks.
pub(super) enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

/// Where a parser stopped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stop {
    /// Bytes that are done with.
    pub(super) consumed: usize,
    /// Why it went no further.
    pub(super) why: Why,
}

/// Why a parser went no further.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Everything is consumed, and a capture may end here.
    Boundary,
    /// A record is not whole: it takes this many bytes, counted from `consumed`, to get further.
    Need(usize),
    /// The record at `consumed` is broken, in the words of the sentence.
    Broken(String),
}

impl Format {
    /// Chooses by `head`, the first bytes of the capture; also says how many of them are done with.
    pub(super) fn open(name: &str, head: &[u8], limits: &InputLimits) -> Result<(Self, usize), SourceError> {
        let name = || name.to_owned();
        let stranger = |looks| SourceError::NotACapture { name: name(), looks };
        let (format, need) = match Kind::of(head) {
            _ if head.is_empty() => return Err(SourceError::Empty { name: name() }),
            Kind::Pcap => ("pcap", super::pcap::HEADER),
            Kind::Pcapng => ("pcapng", super::pcapng::HEADER),
            Kind::Compressed(_) | Kind::Other => return Err(stranger(sniff::looks(head))),
        };
        if head.len() < need {
            return Err(SourceError::HeaderCut { name: name(), format, have: head.len(), need });
        }
        let opened = if format == "pcapng" {
            // The section header is a block like any other, so it is read again as one.
            Pcapng::open(head, limits).map(|pcapng| (Self::Pcapng(pcapng), 0))
        } else {
            Pcap::open(head, limits).map(|pcap| (Self::Pcap(pcap), need))
        };
        opened.map_err(|unfit| match unfit {
            Unfit::Version { major, minor } => SourceError::Version { name: name(), format, major, minor },
            Unfit::ByteOrder => stranger(format!("{format} of an unknown byte order")),
        })
    }

    /// The name people know it by.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Pcap(pcap) => pcap.name(),
            Self::Pcapng(_) => "pcapng",
        }
    }

    /// Finds the packets in `data`, which starts where the previous call's `consumed` ended.
    pub(super) fn parse(&mut self, data: &[u8], packets: &mut Vec<Entry>, status: &mut SourceStatus) -> Stop {
        match self {
            Self::Pcap(pcap) => pcap.parse(data, packets, status),
            Self::Pcapng(pcapng) => pcapng.parse(data, packets, status),
        }
    }
}

/// Why a file header that looked like one of ours is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// A version nobody here knows.
    Version { major: u16, minor: u16 },
    /// Its byte order cannot be told.
    ByteOrder,
}

/// Which end of a number comes first in a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    /// The two bytes of `data` at `at` as a number; 0 past its end, so check the length before.
    pub(super) fn u16(self, data: &[u8], at: usize) -> u16 {
        let bytes = data.get(at..).and_then(|rest| rest.first_chunk::<2>()).copied().unwrap_or_default();
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    /// The four bytes of `data` at `at` as a number; 0 past its end, so check the length before.
    pub(super) fn u32(self, data: &[u8], at: usize) -> u32 {
        let bytes = data.get(at..).and_then(|rest| rest.first_chunk::<4>()).copied().unwrap_or_default();
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }
}
