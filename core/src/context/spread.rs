//! Who tries how many addresses at services through which malware spreads.
//!
//! A worm is seen in what its host does to others: many addresses tried at one service within a short time, most of which
//! say nothing. All flows count here, scored or not.

use super::names::Generations;
use crate::flow::FlowRecord;
use foldhash::fast::FixedState;

/// Addresses of a host and service that are remembered: with more the number stays there.
pub const SPREAD_KEPT: usize = 64;

/// What a flow's originator had tried at the flow's service when the flow ended, this flow among it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpreadSnapshot {
    /// Addresses, at most [`SPREAD_KEPT`]; 0 where the service is none of those that are counted.
    pub targets: u32,
    /// Those of them that sent no payload the last time.
    pub failed: u32,
    /// Seconds in which that was.
    pub seconds: u32,
}

/// An address that was tried.
#[derive(Debug, Clone, Copy)]
struct Target {
    address: [u8; 16],
    /// When the latest flow to it began.
    begun_ns: u64,
    failed: bool,
}

/// All that is tried, bounded: two generations of hosts and services, of which the older is forgotten when the younger is
/// full.
#[derive(Debug)]
pub struct SpreadTracker {
    /// By host and service.
    tried: Generations<([u8; 16], u16), Vec<Target>>,
    window_ns: u64,
    limit: usize,
}

impl SpreadTracker {
    /// A tracker that remembers what at most `hosts` pairs of host and service tried in so many seconds of packet time;
    /// with 0 hosts it counts nothing. `seed` guards the tables against chosen keys and changes no result.
    pub fn new(hosts: usize, seconds: u32, seed: u64) -> Self {
        Self {
            tried: Generations::new(hosts, FixedState::with_seed(seed)),
            window_ns: u64::from(seconds) * 1_000_000_000,
            limit: hosts,
        }
    }

    /// Takes a finished flow in and writes its snapshot; `service` stands for its port.
    pub fn observe(&mut self, service: u16, flow: &mut FlowRecord) {
        if self.limit == 0 {
            return;
        }
        let key = (flow.originator.address, service);
        // Taken out and put back: whoever is heard of now is among those that are remembered longest.
        let mut tried = self.tried.take(&key).unwrap_or_default();
        let target = Target::of(flow);
        target.join(&mut tried);
        flow.spread = self.sum(&tried, &target);
        self.tried.put(key, tried);
    }

    /// Writes the snapshot that a flow would get if it ended as it is, and takes nothing in: for early records.
    pub fn peek(&self, service: u16, flow: &mut FlowRecord) {
        if self.limit == 0 {
            return;
        }
        let target = Target::of(flow);
        let mut tried = self.tried.get(&(flow.originator.address, service)).cloned().unwrap_or_default();
        target.join(&mut tried);
        flow.spread = self.sum(&tried, &target);
    }

    /// Pairs of host and service that were forgotten because the limit was reached.
    pub fn forgotten(&self) -> u64 {
        self.tried.forgotten()
    }

    /// What was tried around the time of a flow: one with a broken clock moves it for itself alone.
    fn sum(&self, tried: &[Target], now: &Target) -> SpreadSnapshot {
        let mut sum = SpreadSnapshot::default();
        let mut span = 0;
        for target in tried {
            let away = target.begun_ns.abs_diff(now.begun_ns);
            if away <= self.window_ns {
                sum.targets += 1;
                sum.failed += u32::from(target.failed);
                span = span.max(away);
            }
        }
        sum.seconds = u32::try_from(span.div_ceil(1_000_000_000)).unwrap_or(u32::MAX);
        sum
    }
}

impl Target {
    fn of(flow: &FlowRecord) -> Self {
        let failed = flow.stats[1].payload_bytes == 0;
        Self { address: flow.responder.address, begun_ns: flow.first_ns, failed }
    }

    /// Takes its place among those that were tried: its address's own, else a new one, else that of the oldest.
    fn join(self, tried: &mut Vec<Self>) {
        let full = tried.len() >= SPREAD_KEPT;
        if let Some(known) = tried.iter_mut().find(|known| known.address == self.address) {
            if known.begun_ns <= self.begun_ns {
                *known = self;
            }
        } else if !full {
            tried.push(self);
        } else if let Some(oldest) = tried.iter_mut().min_by_key(|known| known.begun_ns) {
            *oldest = self;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{FlowLimits, FlowTable, Templates};
    use crate::packet::Decoded;

    const SECOND: u64 = 1_000_000_000;

    /// A flow from a host to an address, which answers or does not.
    fn flow(host: u8, to: u8, begin_ns: u64, answered: bool) -> FlowRecord {
        let packet = |src: u8, dst: u8, payload_len| Decoded {
            src: [src; 16],
            dst: [dst; 16],
            src_port: if src == host { 1000 } else { 445 },
            dst_port: if src == host { 445 } else { 1000 },
            protocol: 17,
            lan: 0,
            ip_len: payload_len + 28,
            payload_len,
            tcp: None,
            payload: &[],
        };
        let mut table = FlowTable::new(FlowLimits::default(), 0);
        table.push(1, begin_ns, &packet(host, to, 10), &Templates::default());
        if answered {
            table.push(2, begin_ns + 1, &packet(to, host, 10), &Templates::default());
        }
        table.finish_all(0, &Templates::default());
        table.take_finished().remove(0)
    }

    fn observe(tracker: &mut SpreadTracker, service: u16, mut flow: FlowRecord) -> SpreadSnapshot {
        tracker.observe(service, &mut flow);
        flow.spread
    }

    #[test]
    fn distinct_addresses_of_a_window_count() {
        let mut tracker = SpreadTracker::new(10, 60, 0);
        for to in 100..110 {
            observe(&mut tracker, 1, flow(1, to, u64::from(to) * SECOND, to % 2 == 0));
        }
        // One of them again: it is no eleventh, and it answers now.
        let again = observe(&mut tracker, 1, flow(1, 101, 111 * SECOND, true));
        assert_eq!(again, SpreadSnapshot { targets: 10, failed: 4, seconds: 11 });
        // An earlier flow to it that ends later changes nothing.
        assert_eq!(observe(&mut tracker, 1, flow(1, 101, 101 * SECOND, false)).failed, 4);
        // Other hosts and other services are others.
        assert_eq!(observe(&mut tracker, 1, flow(2, 101, 111 * SECOND, true)).targets, 1);
        assert_eq!(observe(&mut tracker, 2, flow(1, 101, 111 * SECOND, true)).targets, 1);
        // An hour later all of that is long ago, and one clock that is far ahead counts for itself.
        assert_eq!(observe(&mut tracker, 1, flow(1, 120, 4000 * SECOND, true)).targets, 1);
        assert_eq!(observe(&mut tracker, 1, flow(1, 121, u64::MAX / 2, true)).targets, 1);
        assert_eq!(observe(&mut tracker, 1, flow(1, 122, 112 * SECOND, false)).targets, 11);
    }

    #[test]
    fn an_early_record_sees_the_same_and_leaves_nothing_behind() {
        let mut tracker = SpreadTracker::new(10, 60, 0);
        for to in 100..103 {
            observe(&mut tracker, 1, flow(1, to, 0, false));
        }
        for _ in 0..2 {
            let mut early = flow(1, 103, SECOND, false);
            tracker.peek(1, &mut early);
            assert_eq!(early.spread, SpreadSnapshot { targets: 4, failed: 4, seconds: 1 });
        }
        assert_eq!(observe(&mut tracker, 1, flow(1, 103, SECOND, false)).targets, 4);
    }

    #[test]
    fn an_early_record_sees_the_same_where_no_more_are_remembered() {
        let mut tracker = SpreadTracker::new(10, 60, 0);
        // Tried long before: only the flow that is asked about is of now.
        for to in 100..100 + SPREAD_KEPT as u8 {
            observe(&mut tracker, 1, flow(1, to, 0, false));
        }
        for (to, begin) in [(200, 1000 * SECOND), (201, 1001 * SECOND), (201, 999 * SECOND)] {
            let mut early = flow(1, to, begin, false);
            tracker.peek(1, &mut early);
            let after = observe(&mut tracker, 1, flow(1, to, begin, false));
            assert_eq!(early.spread, after);
            assert_eq!(after.targets, if to == 200 { 1 } else { 2 });
        }
    }

    #[test]
    fn memory_is_bounded_and_what_is_forgotten_is_counted() {
        let mut tracker = SpreadTracker::new(4, 60, 0);
        for to in 0..=255 {
            let seen = observe(&mut tracker, 1, flow(1, to, u64::from(to), false)).targets;
            assert_eq!(seen as usize, (usize::from(to) + 1).min(SPREAD_KEPT));
        }
        // The host that goes on is not forgotten for others that come once.
        for host in 10..30 {
            observe(&mut tracker, 1, flow(host, 1, 0, false));
            observe(&mut tracker, 1, flow(1, 1, 300, false));
        }
        assert_eq!(observe(&mut tracker, 1, flow(1, 1, 301, false)).targets as usize, SPREAD_KEPT);
        assert!(tracker.tried.len() <= 4 && tracker.forgotten() > 0);
        let mut nothing = SpreadTracker::new(0, 60, 0);
        assert_eq!(observe(&mut nothing, 1, flow(1, 2, 0, false)), SpreadSnapshot::default());
        assert_eq!(nothing.tried.len(), 0);
    }

    #[test]
    fn the_seed_changes_nothing() {
        let run = |seed| {
            let mut tracker = SpreadTracker::new(6, 60, seed);
            let of =
                |at: u64| flow((at % 9) as u8 + 1, (at * 7 % 101) as u8 + 100, at * SECOND / 3, at.is_multiple_of(3));
            (0..600).map(|at| observe(&mut tracker, (at % 2) as u16, of(at))).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(2));
    }
}
