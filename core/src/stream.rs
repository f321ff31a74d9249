//! The first bytes of each direction of a flow, in TCP order.
//!
//! A [`StreamPrefix`] is the bounded beginning of one direction: segments may come out of order, twice, overlapping or
//! cut by the capture. The first copy of a byte wins, as it does on most receivers; a later copy that differs is
//! counted, because that is what evasion looks like. Bytes behind a hole wait; when the hole never closes, the prefix
//! ends before it.

mod framing;
mod spare;

pub use framing::{Framed, Framing};
pub use spare::{PrefixPair, Spare};

use framing::Frames;

/// The bounded beginning of one direction of a flow.
#[derive(Debug, Clone, Default)]
pub struct StreamPrefix {
    /// The bytes that are kept: all up to `length`, or up to where frames begin, and then their headers.
    data: Vec<u8>,
    /// Bytes that came in order, kept or not.
    length: usize,
    /// Where in the stream only headers began to be kept, and how far they have come.
    frames: Option<Frames>,
    /// Sequence number of the first byte of `data`.
    base: Option<u32>,
    /// Whether the base came from a SYN, so that nothing can come before it.
    anchored: bool,
    /// Pieces that wait for what precedes them; they never overlap.
    waiting: Vec<Piece>,
    /// Where packets begin in `data`: offset, packet number.
    marks: Vec<(u32, u64)>,
    /// Pieces given up because too many waited.
    dropped: u32,
    /// Nothing more will be taken in: full, or a byte is missing from the capture itself.
    closed: bool,
}

/// Bytes that arrived before what precedes them.
#[derive(Debug, Clone)]
struct Piece {
    /// Offset from the base.
    offset: u32,
    /// Number of the packet that brought it.
    packet: u64,
    bytes: Vec<u8>,
    /// The capture holds nothing of what follows in this segment.
    cut: bool,
}

impl Piece {
    fn end(&self) -> u32 {
        self.offset + self.bytes.len() as u32
    }
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

/// Packets of a prefix whose place is remembered.
pub const MARKS: usize = 64;

impl StreamPrefix {
    /// Notes a SYN: the first payload byte has the next sequence number.
    pub fn anchor(&mut self, syn_seq: u32) {
        if self.base.is_none() {
            self.base = Some(syn_seq.wrapping_add(1));
            self.anchored = true;
        }
    }

    /// Takes one TCP segment in; `cut` says that the capture holds only the beginning of it.
    pub fn push(
        &mut self,
        seq: u32,
        bytes: &[u8],
        cut: bool,
        packet: u64,
        limits: PrefixLimits,
        spare: &mut Spare,
    ) -> Pushed {
        if self.closed {
            return Pushed::Same;
        }
        let base = *self.base.get_or_insert(seq);
        let offset = seq.wrapping_sub(base);
        if offset > i32::MAX as u32 {
            return self.push_before(offset.wrapping_neg(), bytes, cut, packet, limits, spare);
        }
        if offset >= limits.bytes {
            return Pushed::Same;
        }
        let bytes = &bytes[..bytes.len().min((limits.bytes - offset) as usize)];
        if offset as usize <= self.length && self.waiting.is_empty() {
            let outcome = self.append(offset, bytes, packet, limits, spare);
            let reaches = offset as usize + bytes.len() == self.length;
            if cut && reaches {
                self.close();
            }
            return outcome;
        }
        self.fit_in(offset, bytes, cut, packet, limits, spare)
    }

    /// Takes a segment in while others wait: only bytes that no earlier packet brought are new, the rest is compared.
    fn fit_in(
        &mut self,
        offset: u32,
        bytes: &[u8],
        cut: bool,
        packet: u64,
        limits: PrefixLimits,
        spare: &mut Spare,
    ) -> Pushed {
        let before = self.length;
        let mut conflict = false;
        let mut at = offset as usize;
        let end = at + bytes.len();
        let part = |from: usize, to: usize| &bytes[from - offset as usize..to - offset as usize];
        if at < before {
            let both = before.min(end);
            conflict = self.differs(at, part(at, both));
            at = both;
        }
        self.waiting.sort_by_key(|piece| piece.offset);
        let mut fresh = Vec::new();
        for piece in &self.waiting {
            if at >= end {
                break;
            }
            let (from, to) = (piece.offset as usize, piece.end() as usize);
            if to <= at {
                continue;
            }
            if from > at {
                fresh.push((at, from.min(end)));
                at = from.min(end);
            }
            let both = to.min(end);
            if both > at {
                conflict |= piece.bytes[at - from..both - from] != *part(at, both);
                at = both;
            }
        }
        if at < end {
            fresh.push((at, end));
        }
        if self.waiting.len() + fresh.len() > limits.waiting as usize && fresh.first().is_none_or(|f| f.0 > before) {
            return Pushed::Dropped;
        }
        for (from, to) in fresh {
            let cut = cut && to == end;
            self.waiting.push(Piece { offset: from as u32, packet, bytes: part(from, to).to_vec(), cut });
        }
        self.drain(limits, spare);
        match (conflict, self.length > before) {
            (true, _) => Pushed::Conflict,
            (false, true) => Pushed::Grew,
            (false, false) => Pushed::Same,
        }
    }

    /// A UDP payload or anything else that has an order of its own: appended as it comes.
    pub fn append_datagram(&mut self, bytes: &[u8], packet: u64, limits: PrefixLimits, spare: &mut Spare) -> Pushed {
        if self.closed {
            return Pushed::Same;
        }
        self.append(self.length as u32, bytes, packet, limits, spare)
    }

    /// A segment from before the base, `before` bytes earlier: without a SYN the first packet seen need not be the
    /// first sent.
    fn push_before(
        &mut self,
        before: u32,
        bytes: &[u8],
        cut: bool,
        packet: u64,
        limits: PrefixLimits,
        spare: &mut Spare,
    ) -> Pushed {
        if self.anchored || before > limits.bytes || cut || self.frames.is_some() {
            return if self.anchored && before == 1 { Pushed::Same } else { self.overlap_before(before, bytes) };
        }
        // Start again from the earlier byte: what was there keeps its place behind it.
        for piece in &mut self.waiting {
            piece.offset = piece.offset.saturating_add(before);
        }
        let data = std::mem::take(&mut self.data);
        self.length = 0;
        let marks = std::mem::take(&mut self.marks);
        for (index, (start, packet)) in marks.iter().enumerate() {
            let end = marks.get(index + 1).map_or(data.len(), |next| next.0 as usize);
            let bytes = data[*start as usize..end].to_vec();
            self.waiting.push(Piece { offset: start.saturating_add(before), packet: *packet, bytes, cut: false });
        }
        // What is moved out of the prefix will never be in it.
        self.waiting.retain(|piece| piece.offset < limits.bytes);
        self.base = self.base.map(|base| base.wrapping_sub(before));
        let bytes = &bytes[..bytes.len().min(limits.bytes as usize)];
        // These pieces were counted when they came: they do not count as waiting.
        let most = limits.waiting as usize + MARKS;
        let outcome = self.fit_in(0, bytes, cut, packet, PrefixLimits { waiting: u32::MAX, ..limits }, spare);
        if self.waiting.len() > most {
            self.waiting.sort_by_key(|piece| piece.offset);
            self.dropped += (self.waiting.len() - most) as u32;
            self.waiting.truncate(most);
        }
        outcome
    }

    /// Pieces that were given up since the last call because too many waited.
    pub fn take_dropped(&mut self) -> u32 {
        std::mem::take(&mut self.dropped)
    }

    /// The part of an early segment that reaches past the base, if any, is compared like any overlap.
    fn overlap_before(&self, before: u32, bytes: &[u8]) -> Pushed {
        let past = bytes.get(before as usize..).unwrap_or(&[]);
        let both = past.len().min(self.length);
        if self.differs(0, &past[..both]) { Pushed::Conflict } else { Pushed::Same }
    }

    /// Whether bytes that came before at `at` were others; of what was not kept, nobody knows.
    fn differs(&self, at: usize, bytes: &[u8]) -> bool {
        let whole = self.frames.as_ref().map_or(self.length, |frames| frames.seen().at);
        let both = whole.saturating_sub(at).min(bytes.len());
        self.data[at.min(whole)..][..both] != bytes[..both]
    }

    /// Appends the new part of a segment that begins within or at the end of what came in order.
    fn append(&mut self, offset: u32, bytes: &[u8], packet: u64, limits: PrefixLimits, spare: &mut Spare) -> Pushed {
        let at = offset as usize;
        let (known, fresh) = bytes.split_at((self.length - at).min(bytes.len()));
        let conflict = self.differs(at, known);
        let room = (limits.bytes as usize).saturating_sub(self.length);
        let fresh = &fresh[..fresh.len().min(room)];
        if !fresh.is_empty() {
            self.keep(fresh, packet, room, spare);
            self.length += fresh.len();
        }
        if self.length >= limits.bytes as usize {
            self.close();
        }
        match (conflict, fresh.is_empty()) {
            (true, _) => Pushed::Conflict,
            (false, false) => Pushed::Grew,
            (false, true) => Pushed::Same,
        }
    }

    /// Keeps what is to be kept of the next bytes; `room` is how many there can be in all.
    fn keep(&mut self, fresh: &[u8], packet: u64, room: usize, spare: &mut Spare) {
        let start = self.data.len() as u32;
        if self.marks.capacity() == 0 {
            self.marks.reserve_exact(8);
        }
        if self.marks.last().is_some_and(|(at, _)| *at == start) {
            // Nothing was kept of the packet before.
            self.marks.pop();
        }
        if self.marks.len() < MARKS {
            self.marks.push((start, packet));
        }
        if let Some(frames) = &mut self.frames {
            if self.data.capacity() == 0 {
                self.data = spare.buffer(1, room);
            }
            frames.take(fresh, &mut self.data);
            return;
        }
        let length = self.data.len() + fresh.len();
        if self.data.capacity() < length {
            let mut larger = spare.buffer(length, self.data.len() + room);
            larger.extend_from_slice(&self.data);
            spare.give(std::mem::replace(&mut self.data, larger));
        }
        self.data.extend_from_slice(fresh);
    }

    /// From `how.at` on keeps only the headers of frames. A framing that is not possible, and a second one, change nothing.
    pub fn frame(&mut self, how: Framing, spare: &mut Spare) {
        if self.closed || self.frames.is_some() || how.at > self.data.len() || !how.is_possible() {
            return;
        }
        let before = std::mem::take(&mut self.data);
        self.data = spare.buffer(how.at.max(1), how.at);
        self.data.extend_from_slice(&before[..how.at]);
        let tail = &before[how.at..];
        self.frames = Some(Frames::new(how));
        // What is there already comes again, packet by packet.
        let first = self.marks.partition_point(|(start, _)| (*start as usize) < how.at);
        let within = self.marks[..first].last().map_or(0, |(_, packet)| *packet);
        let mut later = [(0, 0); MARKS + 1];
        let count = self.marks.len() - first;
        later[..count].copy_from_slice(&self.marks[first..]);
        later[count] = ((how.at + tail.len()) as u32, 0);
        self.marks.truncate(first);
        let mut from = 0;
        let mut packet = within;
        for &(start, next) in &later[..=count] {
            let to = start as usize - how.at;
            if to > from {
                self.keep(&tail[from..to], packet, 0, spare);
            }
            (from, packet) = (to, next);
        }
        spare.give(before);
    }

    /// Whether there is no room for more bytes; where only headers are kept, nobody asked for more.
    pub fn is_full(&self, limits: PrefixLimits) -> bool {
        self.length >= limits.bytes as usize && self.frames.is_none()
    }

    /// How the bytes are to be read where only headers are kept.
    pub fn framed(&self) -> Option<Framed> {
        self.frames.as_ref().map(|frames| frames.seen())
    }

    /// Takes in whatever waited and is now in order.
    fn drain(&mut self, limits: PrefixLimits, spare: &mut Spare) {
        while let Some(at) = self.waiting.iter().position(|piece| piece.offset as usize == self.length) {
            let piece = self.waiting.swap_remove(at);
            self.append(piece.offset, &piece.bytes, piece.packet, limits, spare);
            if piece.cut {
                self.close();
            }
        }
    }

    /// Notes a segment of which the capture holds nothing: where it continues the prefix, the prefix ends. Returns
    /// whether it did.
    pub fn close_at_hole(&mut self, seq: Option<u32>) -> bool {
        let next = self.base.map(|base| base.wrapping_add(self.length as u32));
        let ends = !self.closed && (seq.is_none() || next.is_none() || seq == next);
        if ends {
            self.close();
        }
        ends
    }

    fn close(&mut self) {
        self.closed = true;
        self.waiting = Vec::new();
    }

    /// Reads where the next bytes go, so that it is on its way from memory; what it returns means nothing.
    #[inline]
    pub(crate) fn touch(&self) -> u64 {
        self.data.last().map_or(0, |byte| u64::from(*byte))
    }

    /// The bytes so far, in order; without holes but for [`framed`](Self::framed) ones.
    pub fn bytes(&self) -> &[u8] {
        &self.data
    }

    /// Where in the stream the byte with a sequence number stands; nothing for one before its first byte, and where no
    /// byte is known.
    pub fn offset_of(&self, seq: u32) -> Option<usize> {
        let offset = seq.wrapping_sub(self.base?);
        (offset <= i32::MAX as u32).then_some(offset as usize)
    }

    /// Whether no more bytes will come, whatever is captured.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Bytes of memory that the prefix holds.
    pub fn footprint(&self) -> usize {
        let waiting = self.waiting.iter().map(|piece| piece.bytes.capacity() + size_of::<Piece>()).sum::<usize>();
        self.data.capacity() + waiting + self.marks.capacity() * size_of::<(u32, u64)>()
    }

    /// Number of the packet that brought the byte at `offset`.
    pub fn packet_at(&self, offset: usize) -> Option<u64> {
        let after = self.marks.partition_point(|(start, _)| *start as usize <= offset);
        Some(self.marks.get(after.checked_sub(1)?)?.1)
    }

    /// Where the datagrams of a prefix end, of those whose end is known; `into` has room for all.
    pub(crate) fn datagram_ends<'a>(&self, into: &'a mut [u32; MARKS]) -> &'a [u32] {
        let begins = self.marks.iter().skip(1).map(|(start, _)| *start);
        // Behind the last place that could be noted there may be several.
        let last = (self.marks.len() < MARKS && !self.marks.is_empty()).then_some(self.data.len() as u32);
        let mut count = 0;
        for (end, slot) in begins.chain(last).zip(into.iter_mut()) {
            (*slot, count) = (end, count + 1);
        }
        into.get(..count).unwrap_or_default()
    }

    /// Becomes one without a byte again, and gives its memory back.
    fn reset(&mut self, spare: &mut Spare) {
        spare.give(std::mem::take(&mut self.data));
        let mut marks = std::mem::take(&mut self.marks);
        marks.clear();
        *self = Self { marks, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: PrefixLimits = PrefixLimits { bytes: 64, waiting: 16 };

    #[test]
    fn segments_that_walk_backwards_are_bounded() {
        let limits = PrefixLimits { bytes: 16_384, waiting: 32 };
        for step in [2, 100, 16_384] {
            let mut prefix = StreamPrefix::default();
            for at in 0..2000u32 {
                prefix.push(u32::MAX.wrapping_sub(at * step), b"x", false, 1, limits, &mut Spare::default());
                assert!(prefix.waiting.len() <= 32 + MARKS);
                assert!(prefix.waiting.iter().all(|piece| piece.offset < limits.bytes));
            }
            assert_eq!(prefix.bytes(), b"x");
            // Of 2,000 pieces 96 may wait; those that moved out of the prefix are not missed.
            assert_eq!(prefix.take_dropped() > 0, step < 16_384 / 96, "{step}");
        }
    }

    #[test]
    fn a_conflicting_copy_loses_and_is_told() {
        let mut prefix = StreamPrefix::default();
        prefix.push(5, b"good", false, 1, LIMITS, &mut Spare::default());
        assert_eq!(prefix.push(5, b"evil", false, 2, LIMITS, &mut Spare::default()), Pushed::Conflict);
        assert_eq!(prefix.bytes(), b"good");
    }

    #[test]
    fn a_cut_segment_ends_the_prefix() {
        let mut prefix = StreamPrefix::default();
        prefix.push(0, b"begin", true, 1, LIMITS, &mut Spare::default());
        prefix.push(100, b"rest", false, 2, LIMITS, &mut Spare::default());
        assert_eq!((prefix.bytes(), prefix.is_closed()), (&b"begin"[..], true));
    }

    #[test]
    fn datagrams_end_where_the_next_begins() {
        let mut prefix = StreamPrefix::default();
        let ends = |prefix: &StreamPrefix| prefix.datagram_ends(&mut [0; MARKS]).to_vec();
        assert_eq!(ends(&prefix), []);
        for (packet, datagram) in (1..).zip([&b"one"[..], b"", b"three", b"4"]) {
            prefix.append_datagram(datagram, packet, LIMITS, &mut Spare::default());
        }
        assert_eq!(ends(&prefix), [3, 8, 9]);
        // One for which there is not enough room, and one for which there is none.
        for _ in 0..2 {
            prefix.append_datagram(&[7; 60], 5, LIMITS, &mut Spare::default());
        }
        assert_eq!(ends(&prefix), [3, 8, 9, 64]);
        // As many as there are places: where the last one ends nobody knows.
        let limits = PrefixLimits { bytes: 1000, waiting: 0 };
        let mut prefix = StreamPrefix::default();
        for packet in 1..100 {
            prefix.append_datagram(b"ab", packet, limits, &mut Spare::default());
            let known = if packet < 64 { packet } else { 63 };
            assert_eq!(ends(&prefix), (1..=known).map(|count| count as u32 * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn packets_are_found_again() {
        let mut prefix = StreamPrefix::default();
        prefix.anchor(99);
        prefix.push(105, b"fghij", false, 8, LIMITS, &mut Spare::default());
        prefix.push(100, b"abcde", false, 9, LIMITS, &mut Spare::default());
        assert_eq!(prefix.bytes(), b"abcdefghij");
        assert_eq!((prefix.packet_at(0), prefix.packet_at(5), prefix.packet_at(9)), (Some(9), Some(8), Some(8)));
    }

    #[test]
    fn the_first_copy_wins_among_those_that_wait() {
        let mut prefix = StreamPrefix::default();
        prefix.anchor(0);
        prefix.push(11, b"XX", false, 1, LIMITS, &mut Spare::default());
        assert_eq!(prefix.push(6, b"yyyyyyyyyy", false, 2, LIMITS, &mut Spare::default()), Pushed::Conflict);
        prefix.push(1, b"aaaaa", false, 3, LIMITS, &mut Spare::default());
        assert_eq!(prefix.bytes(), b"aaaaayyyyyXXyyy");
        let packets: Vec<_> = [0, 5, 10, 12].map(|at| prefix.packet_at(at)).to_vec();
        assert_eq!(packets, [Some(3), Some(2), Some(1), Some(2)]);
    }

    #[test]
    fn packets_are_found_again_after_an_earlier_beginning() {
        let mut prefix = StreamPrefix::default();
        prefix.push(100, b"cc", false, 5, LIMITS, &mut Spare::default());
        prefix.push(102, b"dd", false, 6, LIMITS, &mut Spare::default());
        prefix.push(98, b"bb", false, 7, LIMITS, &mut Spare::default());
        assert_eq!(prefix.bytes(), b"bbccdd");
        assert_eq!([0, 2, 4].map(|at| prefix.packet_at(at)), [Some(7), Some(5), Some(6)]);
    }

    #[test]
    fn a_cut_segment_that_waited_ends_the_prefix_too() {
        let mut prefix = StreamPrefix::default();
        prefix.anchor(0);
        prefix.push(3, b"cd", true, 1, LIMITS, &mut Spare::default());
        prefix.push(1, b"ab", false, 2, LIMITS, &mut Spare::default());
        assert_eq!((prefix.bytes(), prefix.is_closed()), (&b"abcd"[..], true));
    }

    proptest! {
        /// Whatever is sent, each byte is the one that came first.
        #[test]
        fn first_copies_win(
            segments in proptest::collection::vec((0usize..60, proptest::collection::vec(any::<u8>(), 1..20)), 1..40),
        ) {
            let mut first = [None; 64];
            let mut prefix = StreamPrefix::default();
            prefix.anchor(u32::MAX);
            let limits = PrefixLimits { bytes: 64, waiting: 1000 };
            for (packet, (at, bytes)) in segments.iter().enumerate() {
                prefix.push(*at as u32, bytes, false, packet as u64, limits, &mut Spare::default());
                for (offset, byte) in bytes.iter().enumerate() {
                    if let Some(cell) = first.get_mut(at + offset) {
                        cell.get_or_insert(*byte);
                    }
                }
            }
            let want: Vec<u8> = first.iter().map_while(|byte| *byte).collect();
            prop_assert_eq!(prefix.bytes(), &want[..]);
        }

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
                prefix.push(start.wrapping_add(at as u32), bytes, false, packet as u64, limits, &mut Spare::default());
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
