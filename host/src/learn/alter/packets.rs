//! A capture is written anew while it is read: never more of it is held than a block, what one packet of it becomes, and
//! what jitter may still reorder.

use super::super::random::Random;
use super::{Alteration, segments};
use crate::source::{Block, InputLimits, Source, SourceError};
use std::collections::BTreeMap;
use std::io::{self, Read};
use veilwatch_core::packet::LinkType;

/// The same capture with its packets altered; a source without alterations of packets is given back as it is.
///
/// Chance is of `seed` and of the capture's `name`, so that it does not hang on which captures are read beside it.
pub(in super::super) fn altered(
    source: Source,
    alterations: &[Alteration],
    name: &str,
    seed: u64,
    limits: &InputLimits,
) -> Result<Source, SourceError> {
    let changes: Vec<Change> = alterations
        .iter()
        .enumerate()
        .filter_map(|(at, alteration)| Change::of(*alteration, Random::of(seed, &[name, &at.to_string()])))
        .collect();
    if changes.is_empty() {
        return Ok(source);
    }
    Source::from_reader(name.to_owned(), Rewriter::new(source, changes), limits)
}

/// A packet that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) time_ns: u64,
    pub(super) link: LinkType,
    pub(super) wire_len: u32,
    pub(super) data: Vec<u8>,
}

/// Packets that jitter may hold back at once; past it the earliest goes.
const HELD: usize = 4096;

/// What is done to every packet.
enum Change {
    SnapLength(usize),
    Loss { share: f64, random: Random },
    Mtu(usize),
    Jitter { most_ns: u64, random: Random, now_ns: u64, held: BTreeMap<(u64, u64), Frame>, number: u64 },
}

impl Change {
    fn of(alteration: Alteration, random: Random) -> Option<Self> {
        Some(match alteration {
            Alteration::SnapLength(bytes) => Self::SnapLength(bytes as usize),
            Alteration::Loss(share) => Self::Loss { share, random },
            Alteration::Mtu(bytes) => Self::Mtu(bytes.into()),
            Alteration::Jitter(most) => {
                let most_ns = u64::from(most) * 1_000_000;
                Self::Jitter { most_ns, random, now_ns: 0, held: BTreeMap::new(), number: 0 }
            }
            Alteration::Hide(_) | Alteration::Pad(_) => return None,
        })
    }

    /// Takes one packet, and gives those that go on.
    fn push(&mut self, mut frame: Frame, on: &mut dyn FnMut(Frame)) {
        match self {
            Self::SnapLength(bytes) => {
                frame.data.truncate(*bytes);
                on(frame);
            }
            Self::Loss { share, random } => {
                if random.share() >= *share {
                    on(frame);
                }
            }
            Self::Mtu(bytes) => segments::cut(frame, *bytes, on),
            Self::Jitter { most_ns, random, now_ns, held, number } => {
                *now_ns = frame.time_ns.max(*now_ns);
                let moved = (random.share() * 2.0 * *most_ns as f64) as u64;
                frame.time_ns = frame.time_ns.saturating_add(moved).saturating_sub(*most_ns);
                *number += 1;
                held.insert((frame.time_ns, *number), frame);
                // What comes from now on is no earlier than this.
                let settled = now_ns.saturating_sub(*most_ns);
                while let Some(first) = held.first_entry()
                    && (first.key().0 <= settled || held.len() > HELD)
                {
                    if let Some((_, frame)) = held.pop_first() {
                        on(frame);
                    }
                }
            }
        }
    }

    /// Gives what was held back when nothing more will come.
    fn finish(&mut self, on: &mut dyn FnMut(Frame)) {
        if let Self::Jitter { held, .. } = self {
            std::mem::take(held).into_values().for_each(on);
        }
    }
}

/// Sends a packet through all changes in order.
fn pass(changes: &mut [Change], frame: Frame, written: &mut Writer) {
    match changes.split_first_mut() {
        None => written.packet(&frame),
        Some((first, rest)) => first.push(frame, &mut |frame| pass(rest, frame, written)),
    }
}

/// Reads a source and gives the bytes of a capture.
struct Rewriter {
    source: Source,
    block: Option<Block>,
    /// The next packet of the block.
    next: usize,
    changes: Vec<Change>,
    written: Writer,
    /// How much of what is written was given away.
    given: usize,
    ended: bool,
}

impl Rewriter {
    fn new(source: Source, changes: Vec<Change>) -> Self {
        Self { source, block: None, next: 0, changes, written: Writer::begin(), given: 0, ended: false }
    }

    /// Writes what the next packet becomes: a block's packets cut small would take many times its room.
    fn advance(&mut self) -> io::Result<()> {
        self.written.bytes.clear();
        self.given = 0;
        if let Some(packet) = self.block.as_ref().and_then(|block| block.get(self.next)) {
            let (time_ns, link, wire_len) = (packet.time_ns, packet.link, packet.wire_len);
            let frame = Frame { time_ns, link, wire_len, data: packet.data.to_vec() };
            self.next += 1;
            pass(&mut self.changes, frame, &mut self.written);
            return Ok(());
        }
        match self.source.next_block(self.block.take()).map_err(io::Error::other)? {
            Some(block) => (self.block, self.next) = (Some(block), 0),
            None => {
                for at in 0..self.changes.len() {
                    if let Some((change, rest)) = self.changes.get_mut(at..).and_then(<[Change]>::split_first_mut) {
                        change.finish(&mut |frame| pass(rest, frame, &mut self.written));
                    }
                }
                self.ended = true;
            }
        }
        Ok(())
    }
}

impl Read for Rewriter {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.written.bytes.len() && !self.ended {
            self.advance()?;
        }
        let left = self.written.bytes.get(self.given..).unwrap_or_default();
        let some = left.len().min(buffer.len());
        buffer[..some].copy_from_slice(&left[..some]);
        self.given += some;
        Ok(some)
    }
}

/// Writes pcapng (draft-ietf-opsawg-pcapng): times in nanoseconds, one interface for each link type as it comes.
struct Writer {
    bytes: Vec<u8>,
    links: Vec<LinkType>,
}

impl Writer {
    fn begin() -> Self {
        let mut writer = Self { bytes: Vec::new(), links: Vec::new() };
        // Byte order, version 1.0, a section of unknown length.
        writer.block(0x0a0d_0d0a, &[&0x1a2b_3c4d_u32.to_le_bytes(), &[1, 0, 0, 0], &[0xff; 8]]);
        writer
    }

    fn block(&mut self, kind: u32, parts: &[&[u8]]) {
        let body: usize = parts.iter().map(|part| part.len()).sum();
        let length = (12 + body.next_multiple_of(4)) as u32;
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend(length.to_le_bytes());
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.bytes.extend(length.to_le_bytes());
    }

    fn packet(&mut self, frame: &Frame) {
        let interface = self.links.iter().position(|link| *link == frame.link).unwrap_or_else(|| {
            self.links.push(frame.link);
            // No snap length; option 9: times in 10^-9 seconds; end of options.
            self.block(1, &[&frame.link.0.to_le_bytes(), &[0; 6], &[9, 0, 1, 0, 9, 0, 0, 0], &[0; 4]]);
            self.links.len() - 1
        });
        let Frame { time_ns, wire_len, data, .. } = frame;
        let numbers = [interface as u32, (time_ns >> 32) as u32, *time_ns as u32, data.len() as u32, *wire_len];
        let numbers: Vec<u8> = numbers.into_iter().flat_map(u32::to_le_bytes).collect();
        self.block(6, &[&numbers, data]);
    }
}
