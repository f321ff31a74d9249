use crate::filter::{Filter, Passage};
use veilwatch_core::packet::{LinkType, Packet};

/// A piece of a capture as it was read, and the packets in it.
///
/// A block is immutable once handed out, so that threads can share it; given back to
/// [`Source::next_block`](super::Source::next_block), its memory is used again.
#[derive(Debug, Default)]
pub struct Block {
    /// What was read, in its first `filled` bytes. The rest is zeros or leftovers, kept so that a recycled block need
    /// not be cleared again.
    buffer: Vec<u8>,
    filled: usize,
    /// Number of the first packet.
    first: u64,
    entries: Vec<Entry>,
    look: Option<Look>,
    /// Where in the unpacked capture it begins.
    base: u64,
}

/// That somebody waits for what has ended by the end of a block: of packets that come by themselves nobody knows when enough
/// of them have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// The time that every packet to come is later than, in nanoseconds since 1970, where that is known.
    pub nothing_before_ns: Option<u64>,
}

/// Where a packet lies in its block, and what its record says of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) time_ns: u64,
    pub(super) wire_len: u32,
    pub(super) offset: u32,
    pub(super) len: u32,
    pub(super) link: LinkType,
    /// What the filter says; without one every packet is [`Passage::Seen`].
    pub(super) passage: Passage,
}

impl Block {
    /// Number of packets in it.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds no packet; a source hands out such a block only where it is a look.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The packets in the order of the capture.
    pub fn packets(&self) -> impl ExactSizeIterator<Item = Packet<'_>> + Clone {
        self.entries.iter().enumerate().map(|(index, entry)| self.resolve(self.first + index as u64, entry))
    }

    /// The same with what became of each at the source's filter.
    pub fn filtered(&self) -> impl ExactSizeIterator<Item = (Packet<'_>, Passage)> + Clone {
        self.packets().zip(self.entries.iter().map(|entry| entry.passage))
    }

    /// The packet at `index`, counted from 0 within this block.
    pub fn get(&self, index: usize) -> Option<Packet<'_>> {
        self.entries.get(index).map(|entry| self.resolve(self.first + index as u64, entry))
    }

    fn resolve(&self, number: u64, entry: &Entry) -> Packet<'_> {
        let start = entry.offset as usize;
        Packet {
            number,
            time_ns: entry.time_ns,
            link: entry.link,
            wire_len: entry.wire_len,
            data: &self.buffer[start..start + entry.len as usize],
        }
    }

    /// Where in the unpacked capture the bytes of each packet begin.
    pub fn offsets(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.entries.iter().map(|entry| self.base + u64::from(entry.offset))
    }

    /// Notes where it ends in the unpacked capture.
    pub(super) fn ends_at(&mut self, end: u64) {
        self.base = end.saturating_sub(self.filled as u64);
    }

    /// Whether somebody waits for what has ended.
    pub fn look(&self) -> Option<Look> {
        self.look
    }

    /// Has somebody wait.
    pub(crate) fn ask(&mut self, look: Look) {
        self.look = Some(look);
    }

    /// Puts a packet behind those that are there; its bytes are those of `parts`, one after the other. Says whether there was
    /// room: where there is not, an empty block is made as large as it takes.
    pub(crate) fn append(&mut self, time_ns: u64, wire_len: u32, link: LinkType, parts: [&[u8]; 3]) -> bool {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if self.room().len() < len {
            if !self.is_empty() {
                return false;
            }
            self.buffer.resize(self.filled + len, 0);
        }
        let offset = self.filled as u32;
        for part in parts {
            self.buffer[self.filled..self.filled + part.len()].copy_from_slice(part);
            self.filled += part.len();
        }
        self.entries.push(Entry { time_ns, wire_len, offset, len: len as u32, link, passage: Passage::Seen });
        true
    }

    /// Takes the last packet out again.
    pub(crate) fn drop_last(&mut self) {
        if let Some(last) = self.entries.pop() {
            self.filled = last.offset as usize;
        }
    }

    /// Asks a filter about every packet.
    pub(super) fn judge(&mut self, filter: &mut Filter) {
        for index in 0..self.entries.len() {
            let passage = self.get(index).map_or(Passage::Seen, |packet| filter.passage(&packet));
            self.entries[index].passage = passage;
        }
    }

    /// Makes it a fresh block of at least `size` bytes that starts with `carried`, what the previous one ended with.
    pub(super) fn restart(&mut self, first: u64, size: usize, carried: &[u8]) {
        self.first = first;
        self.entries.clear();
        self.look = None;
        let size = size.max(carried.len());
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        }
        self.buffer[..carried.len()].copy_from_slice(carried);
        self.filled = carried.len();
    }

    /// The bytes read so far, and the list for the packets found in them.
    pub(super) fn parts(&mut self) -> (&[u8], &mut Vec<Entry>) {
        (&self.buffer[..self.filled], &mut self.entries)
    }

    /// The room that is left for reading.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled..]
    }

    /// Takes `bytes` of the room for read.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.filled = (self.filled + bytes).min(self.buffer.len());
    }

    /// What was read from `start` on.
    pub(super) fn rest(&self, start: usize) -> &[u8] {
        &self.buffer[start..self.filled]
    }

    /// Drops the first `bytes`; only for a block without packets, whose offsets nobody knows yet.
    pub(super) fn drop_front(&mut self, bytes: usize) {
        self.buffer.copy_within(bytes..self.filled, 0);
        self.filled -= bytes;
    }

    /// Where it is full, makes it larger on the way to a record of `need` bytes. It doubles only what has really been
    /// read, so a length field alone never costs memory.
    pub(super) fn grow(&mut self, need: usize) {
        if self.filled == self.buffer.len() && need > self.filled {
            self.buffer.resize(need.min(self.filled * 2).max(64), 0);
        }
    }
}
