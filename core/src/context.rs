//! What crosses flows: conversations and their rhythm, hosts, the names that led to services, and what a host tries
//! elsewhere.
//!
//! One consumer feeds finished flows in their merged order; each flow gets a [`ConversationSnapshot`] of what was known
//! of its conversation *before* it, so that a row never sees the future.

mod beacon;
mod hosts;
mod names;
mod spread;

pub use beacon::{BeaconSnapshot, Rhythm};
pub use hosts::{HostSnapshot, HostTracker};
pub use names::{DnsSnapshot, NameLink, NameTracker};
pub use spread::{SPREAD_KEPT, SpreadSnapshot, SpreadTracker};

use crate::flow::{FlowRecord, Moments};
use crate::record::{ClientHello, Value};
use beacon::Ring;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// What was known of a conversation when one of its flows ended, that flow not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ConversationSnapshot {
    /// Earlier flows from the same host to the same service.
    pub earlier: u32,
    /// Those of them in which the responder sent no payload.
    pub failed: u32,
    /// Seconds between the begin of the latest earlier flow and this one; NaN without one.
    pub gap: f64,
    /// Mean of the earlier gaps in seconds, this one included; NaN with fewer than two.
    pub gap_mean: f64,
    /// Standard deviation of those gaps over their mean; NaN with fewer than two.
    pub gap_variation: f64,
    /// Standard deviation of the originators' payload bytes over their mean, this flow included; NaN with one flow.
    pub sent_variation: f64,
    /// The rhythm of the latest flows, this one included.
    pub beacon: BeaconSnapshot,
}

/// From which host to which service: a name, or an address where there is none.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key<'a> {
    host: [u8; 16],
    /// Zeros where there is a name.
    service: [u8; 16],
    name: &'a [u8],
    port: u16,
}

impl<'a> Key<'a> {
    fn of(flow: &'a FlowRecord, by_name: bool) -> Self {
        // Over TCP alone: models have learnt conversations without QUIC among those of a name.
        let name = match flow.fields.get(ClientHello::SNI) {
            Some(Value::Bytes(name)) if flow.protocol == 6 && by_name => name,
            _ => &[],
        };
        let service = if name.is_empty() { flow.responder.address } else { [0; 16] };
        Self { host: flow.originator.address, service, name, port: flow.responder.port }
    }
}

/// What tells conversations apart, for whoever keeps something of each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConversationKey {
    /// The originator's address.
    pub(crate) host: [u8; 16],
    /// The service's address; zeros where it has a name.
    service: [u8; 16],
    /// Its name, where it has one.
    pub(crate) name: Box<[u8]>,
    /// Its port.
    pub(crate) port: u16,
}

impl ConversationKey {
    /// The conversation of a flow; a service is a name, where one was asked for, with `by_name`.
    pub(crate) fn of(flow: &FlowRecord, by_name: bool) -> Self {
        let Key { host, service, name, port } = Key::of(flow, by_name);
        Self { host, service, name: name.into(), port }
    }
}

/// A conversation that is remembered.
#[derive(Debug)]
struct Known {
    host: [u8; 16],
    service: [u8; 16],
    name: Box<[u8]>,
    port: u16,
    so_far: Conversation,
}

impl Known {
    fn new(key: &Key<'_>) -> Self {
        let Key { host, service, name, port } = *key;
        Self { host, service, name: name.into(), port, so_far: Conversation::default() }
    }

    fn key(&self) -> Key<'_> {
        Key { host: self.host, service: self.service, name: &self.name, port: self.port }
    }

    fn is(&self, key: &Key<'_>) -> bool {
        self.key() == *key
    }
}

#[derive(Debug, Clone, Default)]
struct Conversation {
    flows: u32,
    failed: u32,
    last_begin_ns: u64,
    gaps: Moments,
    sent: Moments,
    /// From the second flow on: most conversations are one flow.
    rhythm: Option<Box<Ring>>,
}

/// All conversations of a run, bounded: two generations, of which the older is forgotten when the younger is full.
#[derive(Debug)]
pub struct ConversationTracker {
    young: HashTable<Known>,
    old: HashTable<Known>,
    hasher: foldhash::fast::FixedState,
    limit: usize,
    by_name: bool,
    forgotten: u64,
}

impl ConversationTracker {
    /// A tracker that remembers at most `limit` conversations; with 0 every flow is the first of its own. `seed` guards the
    /// tables against chosen keys and changes no result.
    pub fn new(limit: usize, seed: u64) -> Self {
        let hasher = foldhash::fast::FixedState::with_seed(seed);
        Self { young: HashTable::new(), old: HashTable::new(), hasher, limit, by_name: true, forgotten: 0 }
    }

    /// The same, but a service is always an address and a port, whatever name was asked for there.
    #[must_use]
    pub fn by_address(self) -> Self {
        Self { by_name: false, ..self }
    }

    /// Takes a finished flow in and writes its snapshot.
    pub fn observe(&mut self, flow: &mut FlowRecord) {
        if self.limit == 0 {
            flow.conversation = Conversation::default().observe(flow);
            return;
        }
        let key = Key::of(flow, self.by_name);
        let hash = self.hasher.hash_one(&key);
        if let Some(known) = self.young.find_mut(hash, |known| known.is(&key)) {
            flow.conversation = known.so_far.observe(flow);
            return;
        }
        // Taken out before the older generation goes: who is heard of now is not forgotten.
        let mut known = match self.old.find_entry(hash, |known| known.is(&key)) {
            Ok(known) => known.remove().0,
            Err(_) => Known::new(&key),
        };
        if self.young.len() >= (self.limit / 2).max(1) {
            self.forgotten += self.old.len() as u64;
            self.old = std::mem::take(&mut self.young);
            if self.limit < 2 {
                self.forgotten += self.old.len() as u64;
                self.old.clear();
            }
        }
        flow.conversation = known.so_far.observe(flow);
        let hasher = &self.hasher;
        self.young.insert_unique(hash, known, |known| hasher.hash_one(known.key()));
    }

    /// Writes the snapshot that a flow would get if it ended as it is, and takes nothing in: for early records.
    pub fn peek(&self, flow: &mut FlowRecord) {
        let key = Key::of(flow, self.by_name);
        let hash = self.hasher.hash_one(&key);
        let known = [&self.young, &self.old].into_iter().find_map(|known| known.find(hash, |known| known.is(&key)));
        let mut so_far = known.map_or_else(Conversation::default, |known| known.so_far.clone());
        flow.conversation = so_far.observe(flow);
    }

    /// Conversations that were forgotten because the limit was reached.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

impl Conversation {
    fn observe(&mut self, flow: &FlowRecord) -> ConversationSnapshot {
        let gap = if self.flows == 0 {
            f64::NAN
        } else {
            let gap = flow.first_ns.abs_diff(self.last_begin_ns) as f64 / 1e9;
            self.gaps.add(gap);
            self.rhythm.get_or_insert_default().add(gap, flow.stats[0].payload_bytes as f64);
            gap
        };
        let (earlier, failed) = (self.flows, self.failed);
        self.sent.add(flow.stats[0].payload_bytes as f64);
        self.flows = self.flows.saturating_add(1);
        self.failed = self.failed.saturating_add(u32::from(flow.stats[1].payload_bytes == 0));
        self.last_begin_ns = self.last_begin_ns.max(flow.first_ns);
        let variation = |m: &Moments| if m.count < 2 || m.mean <= 0.0 { f64::NAN } else { m.deviation() / m.mean };
        ConversationSnapshot {
            earlier,
            failed,
            gap,
            gap_mean: if self.gaps.count < 2 { f64::NAN } else { self.gaps.mean },
            gap_variation: variation(&self.gaps),
            sent_variation: variation(&self.sent),
            beacon: self.rhythm.as_ref().map(|ring| ring.snapshot()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Endpoint, FlowLimits, FlowTable, Templates};
    use crate::packet::Decoded;

    fn flow(host: u8, begin_seconds: u64, sent: u32) -> FlowRecord {
        let packet = Decoded {
            src: [host; 16],
            dst: [200; 16],
            src_port: 1000 + begin_seconds as u16,
            dst_port: 443,
            protocol: 17,
            lan: 0,
            ip_len: sent + 28,
            payload_len: sent,
            tcp: None,
            payload: &[],
        };
        let mut table = FlowTable::new(FlowLimits::default(), 0);
        table.push(1, begin_seconds * 1_000_000_000, &packet, &Templates::default());
        table.finish_all(0, &Templates::default());
        table.take_finished().remove(0)
    }

    #[test]
    fn a_row_sees_only_what_came_before() {
        let mut tracker = ConversationTracker::new(100, 0);
        let mut seen = Vec::new();
        for at in [0, 60, 120, 180] {
            let mut flow = flow(1, at, 100);
            tracker.observe(&mut flow);
            seen.push(flow.conversation);
        }
        assert_eq!(
            seen.iter().map(|known| (known.earlier, known.failed)).collect::<Vec<_>>(),
            [(0, 0), (1, 1), (2, 2), (3, 3)]
        );
        assert!(seen[0].gap.is_nan() && seen[1].gap_mean.is_nan());
        assert_eq!((seen[3].gap, seen[3].gap_mean, seen[3].gap_variation), (60.0, 60.0, 0.0));
        assert_eq!(seen[3].sent_variation, 0.0);
    }

    #[test]
    fn an_early_record_sees_the_same_and_leaves_nothing_behind() {
        let (mut tracker, mut untouched) = (ConversationTracker::new(4, 0), ConversationTracker::new(4, 0));
        for at in [0, 60, 130, 180] {
            let mut early = flow(1, at, 100);
            tracker.peek(&mut early);
            // Others push the conversation into the older generation, where it is found as well.
            for tracker in [&mut tracker, &mut untouched] {
                (2..4).for_each(|host| tracker.observe(&mut flow(host, at, 5)));
            }
            let (mut last, mut other) = (flow(1, at, 100), flow(1, at, 100));
            tracker.peek(&mut early);
            tracker.observe(&mut last);
            untouched.observe(&mut other);
            let [early, last, other] = [early, last, other].map(|flow| format!("{:?}", flow.conversation));
            assert_eq!((&early, &last), (&last, &other));
        }
        assert_eq!(tracker.forgotten(), untouched.forgotten());
    }

    #[test]
    fn a_service_is_a_name_or_an_address() {
        let named = |name: &[u8], address: u8| {
            let mut flow = flow(1, 1, 5);
            flow.protocol = 6;
            flow.responder.address = [address; 16];
            flow.fields.set(ClientHello::SNI, Value::Bytes(name));
            flow
        };
        let mut flows = [named(b"a", 1), named(b"b", 1), named(b"a", 2)];
        let mut by_name = ConversationTracker::new(10, 0);
        flows.iter_mut().for_each(|flow| by_name.observe(flow));
        assert_eq!(flows.each_ref().map(|flow| flow.conversation.earlier), [0, 0, 1]);
        let mut by_address = ConversationTracker::new(10, 0).by_address();
        flows.iter_mut().for_each(|flow| by_address.observe(flow));
        assert_eq!(flows.each_ref().map(|flow| flow.conversation.earlier), [0, 1, 0]);
    }

    #[test]
    fn the_rhythm_is_told_from_the_fourth_flow_on() {
        let mut tracker = ConversationTracker::new(100, 0);
        for at in 0..6 {
            let mut early = flow(1, at * 60, 100);
            tracker.peek(&mut early);
            let mut flow = flow(1, at * 60, 100);
            tracker.observe(&mut flow);
            let seen = flow.conversation.beacon;
            assert_eq!(seen.period.is_nan(), at < 3);
            assert!(at < 3 || (seen.period, seen.jitter) == (60.0, 0.0));
            assert_eq!(format!("{seen:?}"), format!("{:?}", early.conversation.beacon));
        }
    }

    #[test]
    fn memory_is_bounded_and_what_is_forgotten_is_counted() {
        let mut tracker = ConversationTracker::new(10, 0);
        for host in 0..100 {
            let mut flow = flow(host, 1, 5);
            flow.responder = Endpoint { address: [host; 16], port: 1 };
            tracker.observe(&mut flow);
        }
        assert!(tracker.young.len() + tracker.old.len() <= 10);
        assert_eq!(tracker.forgotten(), 90);
    }
}
