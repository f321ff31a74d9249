use super::part::{Fragment, FragmentKey};
use super::walk::Walk;
use super::{DecodeLimits, Skip};
use std::collections::BTreeMap;

/// What became of the parts of packets in one shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FragmentCounters {
    /// Packets put together.
    pub joined: u64,
    /// Packets of which a part was still missing when their time was over or the capture ended.
    pub unfinished: u64,
    /// Packets given up because too many were waiting.
    pub dropped: u64,
    /// Packets given up because those waiting held too many bytes.
    pub dropped_for_bytes: u64,
    /// Parts that repeat bytes with other contents, or disagree about where the packet ends.
    pub conflicts: u64,
}

impl FragmentCounters {
    /// Adds another shard's counts.
    pub fn add(&mut self, other: &Self) {
        self.joined += other.joined;
        self.unfinished += other.unfinished;
        self.dropped += other.dropped;
        self.dropped_for_bytes += other.dropped_for_bytes;
        self.conflicts += other.conflicts;
    }
}

/// The largest IP packet in bytes.
const LARGEST: u32 = 65_535;

/// Packets of which parts are missing. The first copy of a byte wins, as in stream prefixes.
///
/// Time is packet time, and only a packet's own parts tell that it has waited too long: what others do, and a broken
/// clock, change nothing for it.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    waiting: BTreeMap<FragmentKey, Waiting>,
    /// Memory of all of them, in bytes.
    bytes: usize,
    /// Counts packets that began to wait: the smallest one has waited longest.
    turn: u64,
}

/// A packet that is being put together.
#[derive(Debug)]
struct Waiting {
    turn: u64,
    first_ns: u64,
    /// What is known, with zeros for what is not.
    data: Vec<u8>,
    /// The stretches that have come, as begin and end on the wire: in order, never touching.
    known: Vec<(u32, u32)>,
    /// Where it ends, once the last part has come.
    end: Option<u32>,
    /// From the part that begins it: what it carries, the length of its headers, where it was met.
    head: Option<(u8, u32, Walk)>,
    /// The first byte that came on the wire and is not in the capture.
    lost: u32,
}

/// A packet put together.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) key: FragmentKey,
    pub(super) walk: Walk,
    /// IP protocol number of what it carries.
    pub(super) next: u8,
    /// Length in bytes of the headers that its parts repeated.
    pub(super) headers: u32,
    /// Length on the wire of what it carries.
    pub(super) wire: u32,
    /// What the capture has of that.
    pub(super) data: Vec<u8>,
}

impl Fragments {
    /// Takes a part in; gives the packet that it completes.
    pub(super) fn add(
        &mut self,
        fragment: &Fragment<'_>,
        time_ns: u64,
        limits: &DecodeLimits,
        counters: &mut FragmentCounters,
    ) -> Result<Whole, Skip> {
        let Fragment { key, offset, more, body, .. } = *fragment;
        // All parts but the last come in units of eight bytes; receivers ignore what is left over.
        let wire = if more { body.wire & !7 } else { body.wire };
        // Where the IP header leaves its length open, `wire` is what the capture says, and that may be anything.
        let room = LARGEST.saturating_sub(fragment.headers);
        let end = offset.checked_add(wire).filter(|end| wire > 0 && *end <= room).ok_or(Skip::Malformed)?;
        let bytes = &body.data[..body.data.len().min(wire as usize)];
        let patience = u64::from(limits.fragment_seconds) * 1_000_000_000;
        if self.waiting.get(&key).is_some_and(|old| time_ns.abs_diff(old.first_ns) > patience) {
            counters.unfinished += 1;
            self.remove(&key);
        }
        if !self.waiting.contains_key(&key) && self.waiting.len() >= limits.fragments_per_shard.max(1) as usize {
            self.give_up(None, time_ns, patience, &mut counters.dropped, &mut counters.unfinished);
        }
        let room = limits.fragment_bytes_per_shard as usize;
        while self.bytes + (end as usize) > room
            && self.give_up(Some(&key), time_ns, patience, &mut counters.dropped_for_bytes, &mut counters.unfinished)
        {
        }
        let turn = self.turn;
        self.turn += 1;
        let waiting = self.waiting.entry(key).or_insert_with(|| Waiting::new(turn, time_ns));
        let before = waiting.footprint();
        let conflict = waiting.take(fragment, offset, end, bytes);
        counters.conflicts += u64::from(conflict);
        self.bytes = self.bytes + waiting.footprint() - before;
        if !waiting.is_whole() {
            return Err(Skip::Fragment);
        }
        let whole = self.remove(&key).and_then(|waiting| waiting.into_whole(key)).ok_or(Skip::Fragment)?;
        counters.joined += 1;
        Ok(whole)
    }

    /// Gives up the packet that has waited longest, other than `keep`; whether there was one.
    fn give_up(
        &mut self,
        keep: Option<&FragmentKey>,
        now_ns: u64,
        patience: u64,
        dropped: &mut u64,
        unfinished: &mut u64,
    ) -> bool {
        let others = self.waiting.iter().filter(|(key, _)| Some(*key) != keep);
        let Some((key, first_ns)) = others.min_by_key(|(_, old)| old.turn).map(|(key, old)| (*key, old.first_ns))
        else {
            return false;
        };
        // One whose time was over is no victim of the limit.
        let count = if now_ns.abs_diff(first_ns) > patience { unfinished } else { dropped };
        *count += 1;
        self.remove(&key);
        true
    }

    fn remove(&mut self, key: &FragmentKey) -> Option<Waiting> {
        let removed = self.waiting.remove(key)?;
        self.bytes -= removed.footprint();
        Some(removed)
    }

    /// The capture has ended: counts the packets that stayed in parts.
    pub(super) fn finish(&mut self, counters: &mut FragmentCounters) {
        counters.unfinished += self.waiting.len() as u64;
        self.waiting.clear();
        self.bytes = 0;
    }

    #[cfg(test)]
    pub(super) fn footprint(&self) -> (usize, usize) {
        (self.waiting.len(), self.waiting.values().map(Waiting::footprint).sum())
    }
}

impl Waiting {
    fn new(turn: u64, first_ns: u64) -> Self {
        Self { turn, first_ns, data: Vec::new(), known: Vec::new(), end: None, head: None, lost: u32::MAX }
    }

    fn footprint(&self) -> usize {
        self.data.capacity() + self.known.capacity() * size_of::<(u32, u32)>()
    }

    fn is_whole(&self) -> bool {
        self.head.is_some() && self.end.is_some_and(|end| self.known == [(0, end)])
    }

    fn into_whole(mut self, key: FragmentKey) -> Option<Whole> {
        let (next, headers, walk) = self.head?;
        let wire = self.end?;
        self.data.truncate(wire.min(self.lost) as usize);
        Some(Whole { key, walk, next, headers, wire, data: self.data })
    }

    /// Takes in what is new of the part from `offset` to `end`; returns whether it contradicts what is known.
    fn take(&mut self, fragment: &Fragment<'_>, offset: u32, end: u32, bytes: &[u8]) -> bool {
        let reached = self.known.last().map_or(0, |last| last.1);
        // An end stays where it was first said to be, and never lies before what has come.
        let strange = match self.end {
            Some(known) => end > known || (!fragment.more && end != known),
            None => !fragment.more && end < reached,
        };
        if strange {
            return true;
        }
        if !fragment.more {
            self.end = Some(end);
        }
        if offset == 0 && self.head.is_none() {
            self.head = Some((fragment.next, fragment.headers, fragment.walk));
        }
        if self.data.len() < end as usize {
            let missing = end as usize - self.data.len();
            self.data.reserve_exact(missing);
            self.data.resize(end as usize, 0);
        }
        let held = offset + bytes.len() as u32;
        if held < end {
            self.lost = self.lost.min(held);
        }
        self.fill(offset, end, bytes)
    }

    /// Copies what falls into gaps and compares the rest; returns whether that differs.
    fn fill(&mut self, offset: u32, end: u32, bytes: &[u8]) -> bool {
        // The stretches that the part overlaps or touches become one with it.
        let first = self.known.partition_point(|stretch| stretch.1 < offset);
        let last = self.known.partition_point(|stretch| stretch.0 <= end);
        let mut conflict = false;
        let mut at = offset;
        let mut merged = (offset, end);
        for index in first..last {
            let (from, to) = self.known[index];
            self.copy(at, from, offset, bytes);
            // Where the capture lost bytes there are zeros instead, which prove nothing.
            if self.lost == u32::MAX {
                let from = from.max(offset);
                let to = to.min(end).max(from);
                let fresh = &bytes[(from - offset) as usize..(to - offset) as usize];
                conflict |= self.data[from as usize..to as usize] != *fresh;
            }
            at = at.max(to);
            merged = (merged.0.min(from), merged.1.max(to));
        }
        self.copy(at, end, offset, bytes);
        self.known.splice(first..last, [merged]);
        conflict
    }

    /// Copies the bytes of a part at `offset` that belong between `from` and `to`.
    fn copy(&mut self, from: u32, to: u32, offset: u32, bytes: &[u8]) {
        let to = to.min(offset + bytes.len() as u32);
        if from < to {
            let source = &bytes[(from - offset) as usize..(to - offset) as usize];
            self.data[from as usize..to as usize].copy_from_slice(source);
        }
    }
}
