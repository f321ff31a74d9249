use crate::packet::{Decoded, Tcp};
use smallvec::SmallVec;

/// Count, extremes, mean and spread of a sequence of numbers, in one pass (Welford 1962) and constant memory.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moments {
    /// How many numbers were added.
    pub count: u64,
    /// The smallest; 0 while empty.
    pub min: f64,
    /// The largest; 0 while empty.
    pub max: f64,
    /// The arithmetic mean; 0 while empty.
    pub mean: f64,
    /// The sum of squared distances from the mean.
    pub squares: f64,
}

impl Moments {
    /// Takes one number in.
    #[inline]
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        if self.count == 1 {
            self.min = value;
            self.max = value;
        } else {
            self.min = self.min.min(value);
            self.max = self.max.max(value);
        }
        let distance = value - self.mean;
        self.mean += distance / self.count as f64;
        self.squares += distance * (value - self.mean);
    }

    /// Standard deviation of the numbers themselves (not of a sample); 0 while empty.
    pub fn deviation(&self) -> f64 {
        if self.count == 0 { 0.0 } else { (self.squares / self.count as f64).sqrt() }
    }
}

/// What was counted of one direction of a flow; lengths are those on the wire.
///
/// The order is that of memory: what every packet changes stands together, and what few packets do behind it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(C)]
pub struct DirectionStats {
    /// Packets.
    pub packets: u64,
    /// Bytes of whole IP packets.
    pub bytes: u64,
    /// Bytes of transport payload.
    pub payload_bytes: u64,
    /// Time of the latest packet in nanoseconds.
    pub last_ns: u64,
    /// Lengths in bytes of the payloads that are not empty.
    pub lengths: Moments,
    /// Seconds between neighbouring packets.
    pub gaps: Moments,
    /// Packets with PSH.
    pub psh: u32,
    /// Payload packets whose bytes had all been sent before.
    pub retransmitted: u32,
    /// Payload packets that arrived before bytes that precede them.
    pub reordered: u32,
    /// Packets with SYN.
    pub syn: u32,
    /// Packets with FIN.
    pub fin: u32,
    /// Packets with RST.
    pub rst: u32,
    /// Time of the first packet in nanoseconds; 0 while there is none.
    pub first_ns: u64,
}

impl DirectionStats {
    /// Counts one packet.
    #[inline]
    pub fn add(&mut self, packet: &Decoded<'_>, time_ns: u64) {
        if self.packets == 0 {
            self.first_ns = time_ns;
        } else {
            self.gaps.add(time_ns.saturating_sub(self.last_ns) as f64 / 1e9);
        }
        self.last_ns = self.last_ns.max(time_ns);
        self.packets += 1;
        self.bytes += u64::from(packet.ip_len);
        if packet.payload_len > 0 {
            self.payload_bytes += u64::from(packet.payload_len);
            self.lengths.add(f64::from(packet.payload_len));
        }
        if let Some(tcp) = packet.tcp {
            self.psh += u32::from(tcp.has(Tcp::PSH));
            if tcp.flags & (Tcp::SYN | Tcp::FIN | Tcp::RST) != 0 {
                self.syn += u32::from(tcp.has(Tcp::SYN));
                self.fin += u32::from(tcp.has(Tcp::FIN));
                self.rst += u32::from(tcp.has(Tcp::RST));
            }
        }
    }
}

/// Tells retransmitted and reordered TCP payload by sequence numbers alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SequenceTracker {
    next: Option<u32>,
}

impl SequenceTracker {
    /// Takes one payload in and counts it in `stats` where it came late or early.
    #[inline]
    pub fn observe(&mut self, seq: u32, len: u32, stats: &mut DirectionStats) {
        let end = seq.wrapping_add(len);
        let Some(next) = self.next else {
            self.next = Some(end);
            return;
        };
        if seq == next {
            self.next = Some(end);
            return;
        }
        // Distances on the circle of sequence numbers (RFC 9293 section 3.4).
        if (end.wrapping_sub(next) as i32) <= 0 {
            stats.retransmitted += 1;
        } else {
            stats.reordered += u32::from((seq.wrapping_sub(next) as i32) > 0);
            self.next = Some(end);
        }
    }
}

/// Sequence of packet lengths and times: the first payload packets of a flow, both directions together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Splt {
    /// Payload lengths on the wire in bytes; positive forward, negative backward.
    pub sizes: SmallVec<[i32; 8]>,
    /// Microseconds since the flow's first packet, one for each size; saturates after 71 minutes.
    pub times_us: SmallVec<[u32; 8]>,
}

impl Splt {
    /// How many packets a flow records.
    pub const CAPACITY: usize = 32;

    /// Reads where the next packet goes, so that it is on its way from memory; what it returns means nothing.
    #[inline]
    pub(crate) fn touch(&self) -> u64 {
        match (self.sizes.last(), self.times_us.last()) {
            (Some(size), Some(time)) if self.sizes.len() < Self::CAPACITY => u64::from(size.unsigned_abs() ^ time),
            _ => self.sizes.len() as u64,
        }
    }

    /// Adds one payload packet unless the sequence is full.
    #[inline]
    pub fn add(&mut self, size: i32, since_start_ns: u64) {
        if self.sizes.len() < Self::CAPACITY {
            if self.sizes.len() == self.sizes.capacity() {
                // Most flows have few packets, or many.
                let more = Self::CAPACITY - self.sizes.len();
                self.sizes.reserve_exact(more);
                self.times_us.reserve_exact(more);
            }
            self.sizes.push(size);
            self.times_us.push(u32::try_from(since_start_ns / 1000).unwrap_or(u32::MAX));
        }
    }

    /// Becomes empty and keeps its memory.
    pub fn clear(&mut self) {
        self.sizes.clear();
        self.times_us.clear();
    }

    /// Turns both directions round: used when the originator turns out to be the other side.
    pub fn reverse(&mut self) {
        for size in &mut self.sizes {
            *size = -*size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_by_hand() {
        let mut moments = Moments::default();
        for value in [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0] {
            moments.add(value);
        }
        assert_eq!((moments.min, moments.max, moments.mean), (2.0, 9.0, 5.0));
        assert!((moments.deviation() - 2.0).abs() < 1e-12);
    }

    #[test]
    fn late_and_early_segments_across_the_wrap() {
        let mut stats = DirectionStats::default();
        let mut tracker = SequenceTracker::default();
        tracker.observe(u32::MAX - 9, 10, &mut stats);
        tracker.observe(10, 10, &mut stats);
        assert_eq!((stats.reordered, stats.retransmitted), (1, 0));
        tracker.observe(0, 10, &mut stats);
        assert_eq!((stats.reordered, stats.retransmitted), (1, 1));
    }
}
