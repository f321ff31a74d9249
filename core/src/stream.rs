//! The first bytes of each direction of a flow, in TCP order.
//!
//! A [`StreamPrefix`] is the bounded beginning of one direction: segments may come out of order, twice, overlapping or
//! cut by the capture. The first copy of a byte wins, as it does on most receivers; a later copy that differs is
//! counted, because that is what evasion looks like. Bytes behind a hole wait; when the hole never closes, the prefix
//! ends before it.

/// The bounded beginning of one direction of a flow.
#[derive(Debug, Clone, Default)]
pub struct StreamPrefix {
    data: Vec<u8>,
    /// Sequence number of the first byte of `data`.
    base: Option<u32>,
    /// Whether the base came from a SYN, so that nothing can come before it.
    anchored: bool,
    /// Segments that wait for what precedes them: offset from the base, packet number, bytes.
    waiting: Vec<(u32, u64, Vec<u8>)>,
    /// Where packets begin in `data`: offset, packet number.
    marks: Vec<(u32, u64)>,
    /// Nothing more will be taken in: full, or a byte is missing from the capture itself.
    closed: bool,
}

/// Bounds of one prefix.
#[derive(Debug, Clone, Copy)]
pub struct PrefixLimits {
    /// Bytes kept of each direction.
    pub bytes: u32,
    /// Segments that may wait for a hole to close.
    pub waiting: u32,
}

/// What happened to a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// The ordered prefix grew.
    Grew,
    /// Nothing new in order.
    Same,
    /// It overlapped what was there, and differs.
    Conflict,
    /// It was dropped because too many segments wait.
    Dropped,
}

const MARKS: usize = 64;

impl StreamPrefix {
    /// Notes a SYN: the first payload byte has the next sequence number.
    pub fn anchor(&mut self, syn_seq: u32) {
        if self.base.is_none() {
            self.base = Some(syn_seq.wrapping_add(1));
            self.anchored = true;
        }
    }

    /// Takes one TCP segment in; `cut` says that the capture holds only the beginning of it.
    pub fn push(&mut self, seq: u32, bytes: &[u8], cut: bool, packet: u64, limits: PrefixLimits) -> Pushed {
        if self.closed {
            return Pushed::Same;
        }
        let base = *self.base.get_or_insert(seq);
        let offset = seq.wrapping_sub(base);
        if offset > i32::MAX as u32 {
            return self.push_before(offset.wrapping_neg(), bytes, cut, packet, limits);
        }
        if offset >= limits.bytes {
            return Pushed::Same;
        }
        let end = self.data.len() as u32;
        if offset > end {
            if self.waiting.len() as u32 >= limits.waiting {
                return Pushed::Dropped;
            }
            let room = (limits.bytes - offset) as usize;
            self.waiting.push((offset, packet, bytes[..bytes.len().min(room)].to_vec()));
            return Pushed::Same;
        }
        let outcome = self.append(offset, bytes, packet, limits);
        if cut && outcome == Pushed::Grew {
            self.close();
            return outcome;
        }
        self.drain(limits);
        outcome
    }

    /// A UDP payload or anything else that has an order of its own: appended as it comes.
    pub fn append_datagram(&mut self, bytes: &[u8], packet: u64, limits: PrefixLimits) -> Pushed {
        if self.closed {
            return Pushed::Same;
        }
        self.append(self.data.len() as u32, bytes, packet, limits)
    }

    /// A segment from before the base, `before` bytes earlier: without a SYN the first packet seen need not be the
    /// first sent.
    fn push_before(&mut self, before: u32, bytes: &[u8], cut: bool, packet: u64, limits: PrefixLimits) -> Pushed {
        if self.anchored || before > limits.bytes || cut {
            return if self.anchored && before == 1 { Pushed::Same } else { self.overlap_before(before, bytes) };
        }
        if (bytes.len() as u32) < before && self.waiting.len() as u32 >= limits.waiting {
            return Pushed::Dropped;
        }
        // Start again from the earlier byte: all that was there waits behind it.
        for (offset, ..) in &mut self.waiting {
            *offset = offset.saturating_add(before);
        }
        let first = self.marks.first().map_or(packet, |m| m.1);
        self.waiting.push((before, first, std::mem::take(&mut self.data)));
        self.marks.clear();
        self.base = self.base.map(|base| base.wrapping_sub(before));
        let outcome = self.append(0, bytes, packet, limits);
        self.drain(limits);
        outcome
    }

    /// The part of an early segment that reaches past the base, if any, is compared like any overlap.
    fn overlap_before(&self, before: u32, bytes: &[u8]) -> Pushed {
        let past = bytes.get(before as usize..).unwrap_or(&[]);
        let both = past.len().min(self.data.len());
        if past[..both] == self.data[..both] { Pushed::Same } else { Pushed::Conflict }
    }

    /// Appends the new part of a segment that begins within or at the end of the data.
    fn append(&mut self, offset: u32, bytes: &[u8], packet: u64, limits: PrefixLimits) -> Pushed {
        let at = offset as usize;
        let known = (self.data.len() - at).min(bytes.len());
        let conflict = self.data[at..at + known] != bytes[..known];
        let fresh = &bytes[known..];
        let room = (limits.bytes as usize).saturating_sub(self.data.len());
        let fresh = &fresh[..fresh.len().min(room)];
        if !fresh.is_empty() {
            if self.marks.len() < MARKS {
                self.marks.push((self.data.len() as u32, packet));
            }
            self.data.extend_from_slice(fresh);
        }
        if self.data.len() >= limits.bytes as usize {
            self.close();
        }
        match (conflict, fresh.is_empty()) {
            (true, _) => Pushed::Conflict,
            (false, false) => Pushed::Grew,
            (false, true) => Pushed::Same,
        }
    }

    /// Takes in whatever waited and is now in order, the earliest packet first.
    fn drain(&mut self, limits: PrefixLimits) {
        while let Some(at) = self
            .waiting
            .iter()
            .enumerate()
            .filter(|(_, (offset, ..))| *offset as usize <= self.data.len())
            .min_by_key(|(_, (offset, packet, _))| (*offset, *packet))
            .map(|(at, _)| at)
        {
            let (offset, packet, bytes) = self.waiting.swap_remove(at);
            self.append(offset, &bytes, packet, limits);
        }
    }

    /// Notes a segment of which the capture holds nothing: where it continues the prefix, the prefix ends.
    pub fn close_at_hole(&mut self, seq: Option<u32>) {
        let next = self.base.map(|base| base.wrapping_add(self.data.len() as u32));
        if seq.is_none() || next.is_none() || seq == next {
            self.close();
        }
    }

    fn close(&mut self) {
        self.closed = true;
        self.waiting = Vec::new();
    }

    /// The bytes so far, in order and without holes.
    pub fn bytes(&self) -> &[u8] {
        &self.data
    }

    /// Whether no more bytes will come, whatever is captured.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Bytes of memory that the prefix holds.
    pub fn footprint(&self) -> usize {
        self.data.capacity() + self.waiting.iter().map(|(.., b)| b.capacity()).sum::<usize>()
    }

    /// Number of the packet that brought the byte at `offset`.
    pub fn packet_at(&self, offset: usize) -> Option<u64> {
        let after = self.marks.partition_point(|(start, _)| *start as usize <= offset);
        Some(self.marks.get(after.checked_sub(1)?)?.1)
    }

    /// Frees the bytes; nothing more is taken in.
    pub fn release(&mut self) {
        self.close();
        self.data = Vec::new();
        self.marks = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: PrefixLimits = PrefixLimits { bytes: 64, waiting: 16 };

    #[test]
    fn a_conflicting_copy_loses_and_is_told() {
        let mut prefix = StreamPrefix::default();
        prefix.push(5, b"good", false, 1, LIMITS);
        assert_eq!(prefix.push(5, b"evil", false, 2, LIMITS), Pushed::Conflict);
        assert_eq!(prefix.bytes(), b"good");
    }

    #[test]
    fn a_cut_segment_ends_the_prefix() {
        let mut prefix = StreamPrefix::default();
        prefix.push(0, b"begin", true, 1, LIMITS);
        prefix.push(100, b"rest", false, 2, LIMITS);
        assert_eq!((prefix.bytes(), prefix.is_closed()), (&b"begin"[..], true));
    }

    #[test]
    fn packets_are_found_again() {
        let mut prefix = StreamPrefix::default();
        prefix.anchor(99);
        prefix.push(105, b"fghij", false, 8, LIMITS);
        prefix.push(100, b"abcde", false, 9, LIMITS);
        assert_eq!(prefix.bytes(), b"abcdefghij");
        assert_eq!((prefix.packet_at(0), prefix.packet_at(5), prefix.packet_at(9)), (Some(9), Some(8), Some(8)));
    }

    proptest! {
        /// However a stream is cut, shuffled and repeated, and wherever its numbers wrap, the prefix is its beginning.
        #[test]
        fn order_does_not_matter(
            start in any::<u32>(),
            stream in proptest::collection::vec(any::<u8>(), 1..100),
            cuts in proptest::collection::vec((0usize..100, 1usize..30), 0..12),
            syn in any::<bool>(),
        ) {
            let mut pieces: Vec<(usize, usize)> =
                cuts.into_iter().map(|(at, len)| (at % stream.len(), len)).collect();
            // Every byte is sent at least once, last piece first: the worst order.
            pieces.extend((0..stream.len()).step_by(20).map(|at| (at, 20)).rev());
            let mut prefix = StreamPrefix::default();
            if syn {
                prefix.anchor(start.wrapping_sub(1));
            }
            let limits = PrefixLimits { bytes: 64, waiting: 64 };
            for (packet, (at, len)) in pieces.into_iter().enumerate() {
                let bytes = &stream[at..(at + len).min(stream.len())];
                prefix.push(start.wrapping_add(at as u32), bytes, false, packet as u64, limits);
            }
            if syn {
                prop_assert_eq!(prefix.bytes(), &stream[..stream.len().min(64)]);
            } else {
                // Without a SYN a prefix may close (full) before the true beginning arrives; it is then a later
                // part of the stream, but never one out of order.
                prop_assert!(stream.windows(prefix.bytes().len()).any(|w| w == prefix.bytes()));
            }
        }
    }
}
