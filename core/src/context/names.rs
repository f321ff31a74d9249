//! Which names led which host to which address.
//!
//! Fed with the notices of all flows in the order of their packets: an answer leads the host that asked to its addresses,
//! and a flow that begins gets what is known at that packet. So a row never sees the future, and neither clocks nor the
//! order in which flows end have a part in it.

use crate::flow::{FlowRecord, Notice, Noticed};
use crate::record::DnsLinks;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// What a flow's originator had asked for when the flow began.
#[derive(Debug, Clone, PartialEq)]
pub struct DnsSnapshot {
    /// The name that led it to this responder; the latest, where several did.
    pub link: Option<NameLink>,
    /// Queries that it had sent before, as far as flows of DNS show them.
    pub queries: u32,
    /// Share of them that were told that there is no such name; NaN without queries.
    pub nxdomain_share: f64,
}

impl Default for DnsSnapshot {
    fn default() -> Self {
        Self { link: None, queries: 0, nxdomain_share: f64::NAN }
    }
}

/// A name that led a host to an address.
#[derive(Debug, Clone, PartialEq)]
pub struct NameLink {
    /// The name that was asked for.
    pub name: Arc<[u8]>,
    /// Seconds from the answer to the begin of the flow.
    pub age: f64,
    /// Time to live of the answer in seconds.
    pub ttl: u32,
    /// Addresses in it.
    pub answers: u32,
}

/// An answer that is remembered.
#[derive(Debug, Clone)]
struct Answer {
    name: Arc<[u8]>,
    time_ns: u64,
    ttl: u32,
    answers: u32,
}

/// What a host asked.
#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    queries: u32,
    nxdomains: u32,
}

/// All names of a run, bounded, and what the flows that are open knew of them when they began.
#[derive(Debug)]
pub struct NameTracker {
    /// By host and address.
    answers: Generations<([u8; 16], [u8; 16]), Answer>,
    hosts: Generations<[u8; 16], Asked>,
    /// By the number of the packet with which a flow began: what it knew. Each goes with its flow.
    begun: HashMap<u64, DnsSnapshot, FixedState>,
}

impl NameTracker {
    /// A tracker that remembers for at most `names` pairs of host and address which name led there, and of at most
    /// `hosts` hosts how often they asked. `seed` guards the tables against chosen keys and changes no result.
    pub fn new(names: usize, hosts: usize, seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        Self {
            answers: Generations::new(names, hasher.clone()),
            hosts: Generations::new(hosts, hasher.clone()),
            begun: HashMap::with_hasher(hasher),
        }
    }

    /// Takes a notice in; they come in the order of their packets.
    pub fn notice(&mut self, notice: &Notice) {
        let Notice { packet, time_ns, host, what } = notice;
        match what {
            Noticed::Began { to } => self.begin(*packet, *time_ns, host, to),
            Noticed::Names { queries, nxdomains, links } => {
                let Asked { queries: asked, nxdomains: failed } = self.hosts.get(host).copied().unwrap_or_default();
                let (queries, nxdomains) = (asked.saturating_add(*queries), failed.saturating_add(*nxdomains));
                self.hosts.put(*host, Asked { queries, nxdomains });
                for link in DnsLinks::new(links) {
                    let name: Arc<[u8]> = link.name.into();
                    let answers = link.len() as u32;
                    for (address, ttl) in link.addresses() {
                        let answer = Answer { name: Arc::clone(&name), time_ns: *time_ns, ttl, answers };
                        self.answers.put((*host, address), answer);
                    }
                }
            }
        }
    }

    fn begin(&mut self, packet: u64, time_ns: u64, host: &[u8; 16], to: &[u8; 16]) {
        let link = self.answers.get(&(*host, *to)).map(|answer| NameLink {
            name: Arc::clone(&answer.name),
            age: time_ns.saturating_sub(answer.time_ns) as f64 / 1e9,
            ttl: answer.ttl,
            answers: answer.answers,
        });
        let asked = self.hosts.get(host).copied().unwrap_or_default();
        if link.is_none() && asked.queries == 0 {
            return;
        }
        let nxdomain_share = if asked.queries == 0 {
            f64::NAN
        } else {
            (f64::from(asked.nxdomains) / f64::from(asked.queries)).min(1.0)
        };
        self.begun.insert(packet, DnsSnapshot { link, queries: asked.queries, nxdomain_share });
    }

    /// Writes what a flow knew when it began. Its final record takes it along, an early one does not.
    pub fn observe(&mut self, flow: &mut FlowRecord) {
        let known = match flow.is_early() {
            true => self.begun.get(&flow.first_packet).cloned(),
            false => self.begun.remove(&flow.first_packet),
        };
        flow.names = known.unwrap_or_default();
    }

    /// Pairs of host and address whose name was forgotten because the limit was reached.
    pub fn forgotten(&self) -> u64 {
        self.answers.forgotten
    }

    /// Hosts whose queries were forgotten because the limit was reached.
    pub fn hosts_forgotten(&self) -> u64 {
        self.hosts.forgotten()
    }
}

/// A bounded map: two generations, of which the older is forgotten when the younger is full.
#[derive(Debug)]
pub(super) struct Generations<K, V> {
    young: HashMap<K, V, FixedState>,
    old: HashMap<K, V, FixedState>,
    limit: usize,
    forgotten: u64,
}

impl<K: Eq + Hash + Copy, V> Generations<K, V> {
    pub(super) fn new(limit: usize, hasher: FixedState) -> Self {
        let [young, old] = [hasher.clone(), hasher].map(HashMap::with_hasher);
        Self { young, old, limit, forgotten: 0 }
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Takes a key's value out, for whoever puts another one back.
    pub(super) fn take(&mut self, key: &K) -> Option<V> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    /// Keys that were forgotten.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Keys that are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Gives a key a value; from here on it is one of the younger generation.
    pub(super) fn put(&mut self, key: K, value: V) {
        if let Some(known) = self.young.get_mut(&key) {
            *known = value;
            return;
        }
        // Taken out before the older generation goes: who is heard of now is not forgotten.
        self.old.remove(&key);
        if self.young.len() >= (self.limit / 2).max(1) {
            self.forgotten += self.old.len() as u64;
            self.old.clear();
            std::mem::swap(&mut self.young, &mut self.old);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{EndReason, FlowLimits, FlowTable, Templates};
    use crate::packet::Decoded;

    const SECOND: u64 = 1_000_000_000;
    const CLIENT: [u8; 16] = [1; 16];
    const SERVER: [u8; 16] = [9; 16];

    fn answer(packet: u64, name: &[u8], addresses: &[u8]) -> Notice {
        let addresses: Vec<_> = addresses.iter().map(|address| ([*address; 16], 300)).collect();
        let mut links = Vec::new();
        DnsLinks::push(&mut links, name, &addresses);
        names(packet, 1, 0, links)
    }

    fn names(packet: u64, queries: u32, nxdomains: u32, links: Vec<u8>) -> Notice {
        let what = Noticed::Names { queries, nxdomains, links: links.into() };
        Notice { packet, time_ns: packet * SECOND, host: CLIENT, what }
    }

    fn began(packet: u64, host: [u8; 16]) -> Notice {
        Notice { packet, time_ns: packet * SECOND, host, what: Noticed::Began { to: SERVER } }
    }

    /// A record of the flow that began with this packet, and nothing else about it.
    fn record(packet: u64) -> FlowRecord {
        let decoded = Decoded {
            src: CLIENT,
            dst: SERVER,
            src_port: 1,
            dst_port: 2,
            protocol: 17,
            lan: 0,
            ip_len: 28,
            payload_len: 0,
            tcp: None,
            payload: &[],
        };
        let mut table = FlowTable::new(FlowLimits::default(), 1);
        table.push(packet, packet * SECOND, &decoded, &Templates::default());
        table.finish_all(0, &Templates::default());
        table.take_finished().remove(0)
    }

    fn known(tracker: &mut NameTracker, packet: u64) -> DnsSnapshot {
        let mut flow = record(packet);
        tracker.observe(&mut flow);
        flow.names
    }

    #[test]
    fn a_flow_knows_what_was_answered_before_it_began() {
        let mut tracker = NameTracker::new(100, 100, 0);
        let told = [
            began(1, CLIENT),
            answer(2, b"a.example", &[9, 8]),
            began(5, CLIENT),
            answer(6, b"b.example", &[9]),
            names(6, 2, 1, Vec::new()),
            began(7, CLIENT),
            // Another host was led nowhere.
            began(8, [2; 16]),
        ];
        told.iter().for_each(|notice| tracker.notice(notice));
        // In whatever order they end.
        let link = |name: &[u8], age: f64, answers: u32| Some(NameLink { name: name.into(), age, ttl: 300, answers });
        assert_eq!(
            known(&mut tracker, 7),
            DnsSnapshot { link: link(b"b.example", 1.0, 1), queries: 4, nxdomain_share: 0.25 }
        );
        assert_eq!(
            known(&mut tracker, 5),
            DnsSnapshot { link: link(b"a.example", 3.0, 2), queries: 1, nxdomain_share: 0.0 }
        );
        for nothing in [1, 8] {
            let snapshot = known(&mut tracker, nothing);
            assert_eq!((snapshot.link, snapshot.queries), (None, 0));
            assert!(snapshot.nxdomain_share.is_nan());
        }
        assert!(tracker.begun.is_empty(), "nothing stays behind");
    }

    #[test]
    fn early_records_leave_it_to_the_final_one() {
        let mut tracker = NameTracker::new(100, 100, 0);
        [answer(2, b"a.example", &[9]), began(5, CLIENT)].iter().for_each(|notice| tracker.notice(notice));
        let mut early = FlowRecord { end: EndReason::Early, ..record(5) };
        tracker.observe(&mut early);
        assert_eq!(early.names, known(&mut tracker, 5));
        assert!(early.names.link.is_some());
    }

    #[test]
    fn memory_is_bounded_and_what_is_forgotten_is_counted() {
        let mut tracker = NameTracker::new(10, 4, 0);
        for host in 0..100 {
            tracker.notice(&Notice { host: [host; 16], ..answer(u64::from(host), b"a.example", &[9]) });
        }
        assert!(tracker.answers.young.len() + tracker.answers.old.len() <= 10);
        assert_eq!((tracker.forgotten(), tracker.hosts_forgotten()), (90, 96));
        // Those that were heard of last are known.
        tracker.notice(&began(200, [99; 16]));
        tracker.notice(&began(201, [1; 16]));
        assert!(known(&mut tracker, 200).link.is_some() && known(&mut tracker, 201).link.is_none());
    }
}
