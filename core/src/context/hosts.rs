//! What a host did before: how many flows it opened, to how many services, and how they went.
//!
//! Like conversations, hosts are told of in the merged order, and a flow sees only what came before it. Numbers of
//! different things are estimates from a few bits (linear counting: Whang, Vander-Zanden and Taylor 1990), so that a
//! host takes the same memory whatever it does.

use super::names::Generations;
use crate::feature::hash64;
use crate::flow::FlowRecord;
use crate::record::{ClientHello, is_grease};
use foldhash::fast::FixedState;

/// What was known of a flow's originator before the flow ended, that flow not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct HostSnapshot {
    /// Flows that it had opened.
    pub earlier: u32,
    /// Those of them in which the responder sent no payload.
    pub failed: u32,
    /// Those of them whose ClientHello was read.
    pub tls: u32,
    /// About how many services (address and port) they led to; 621 where there are too many to tell.
    pub services: f32,
    /// About how many kinds of ClientHello they had, by what these offer; 266 where there are too many to tell.
    pub hellos: f32,
    /// How many of them began of late, each counted by e to the power of less the minutes from its begin to this one's.
    pub recent: f32,
}

/// Bits that tell about how many different things were seen.
#[derive(Debug, Clone, Copy)]
struct Seen<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Default for Seen<WORDS> {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl<const WORDS: usize> Seen<WORDS> {
    fn add(&mut self, hash: u64) {
        let bit = hash as usize % (WORDS * 64);
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    /// Bits that are not set over all, by the logarithm; the most that can be told where all are set.
    fn estimate(&self) -> f32 {
        let bits = (WORDS * 64) as f64;
        let unset = self.0.iter().map(|word| f64::from(word.count_zeros())).sum::<f64>().max(1.0);
        (bits * (bits / unset).ln()) as f32
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Host {
    flows: u32,
    failed: u32,
    tls: u32,
    services: Seen<2>,
    hellos: Seen<1>,
    /// When the latest of its flows began, and how many there were of late by then.
    begun_ns: u64,
    recent: f64,
}

/// Time after which a flow counts 1/e as one of late.
const RECENT_NS: f64 = 60e9;

/// What is left of 1 after so much time.
fn left(ns: u64) -> f64 {
    (-(ns as f64) / RECENT_NS).exp()
}

impl Host {
    fn snapshot(&self, begun_ns: u64) -> HostSnapshot {
        HostSnapshot {
            earlier: self.flows,
            failed: self.failed,
            tls: self.tls,
            services: self.services.estimate(),
            hellos: self.hellos.estimate(),
            // For one that began before others that ended before it, no time has passed.
            recent: (self.recent * left(begun_ns.saturating_sub(self.begun_ns))) as f32,
        }
    }

    fn observe(&mut self, flow: &FlowRecord) {
        // Differences alone: neither the clock nor the end of a capture, at which flows are cut, has a part in it.
        let begun = flow.first_ns;
        let latest = begun.max(self.begun_ns);
        self.recent = self.recent * left(latest - self.begun_ns) + left(latest - begun);
        self.begun_ns = latest;
        self.flows = self.flows.saturating_add(1);
        self.failed = self.failed.saturating_add(u32::from(flow.stats[1].payload_bytes == 0));
        let port = u64::from(flow.responder.port);
        self.services.add(hash64(port, &flow.responder.address));
        if let Some(hello) = flow.fields.record::<ClientHello<'_>>() {
            self.tls = self.tls.saturating_add(1);
            self.hellos.add(kind(&hello));
        }
    }
}

/// What a ClientHello offers, as a number. No extensions: whether some are there goes with the server name's length.
fn kind(hello: &ClientHello<'_>) -> u64 {
    let lists = [hello.ciphers, hello.groups, hello.signature_algorithms, hello.supported_versions];
    lists.iter().enumerate().fold(u64::from(hello.version), |hash, (at, list)| {
        let codes = list.iter().filter(|code| !is_grease(**code));
        codes.fold(hash64(hash, &[at as u8]), |hash, code| hash64(hash, &code.to_be_bytes()))
    })
}

/// All hosts of a run, bounded.
#[derive(Debug)]
pub struct HostTracker {
    hosts: Generations<[u8; 16], Host>,
    limit: usize,
}

impl HostTracker {
    /// A tracker that remembers at most `limit` hosts; with 0 nothing is known of any. `seed` guards the tables against
    /// chosen keys and changes no result.
    pub fn new(limit: usize, seed: u64) -> Self {
        Self { hosts: Generations::new(limit, FixedState::with_seed(seed)), limit }
    }

    /// Writes the snapshot that a flow gets, and takes nothing in: all that early records need.
    pub fn peek(&self, flow: &mut FlowRecord) {
        if self.limit > 0 {
            let host = self.hosts.get(&flow.originator.address).copied().unwrap_or_default();
            flow.host = host.snapshot(flow.first_ns);
        }
    }

    /// Takes a finished flow in and writes its snapshot.
    pub fn observe(&mut self, flow: &mut FlowRecord) {
        if self.limit > 0 {
            let mut host = self.hosts.get(&flow.originator.address).copied().unwrap_or_default();
            flow.host = host.snapshot(flow.first_ns);
            host.observe(flow);
            self.hosts.put(flow.originator.address, host);
        }
    }

    /// Hosts that were forgotten because the limit was reached.
    pub fn forgotten(&self) -> u64 {
        self.hosts.forgotten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{FlowLimits, FlowTable, Templates};
    use crate::packet::Decoded;
    use crate::record::Record;

    const SECOND: u64 = 1_000_000_000;

    fn flow(host: u8, service: u16, ended: u64) -> FlowRecord {
        let packet = Decoded {
            src: [host; 16],
            dst: [200; 16],
            src_port: 1,
            dst_port: service,
            protocol: 17,
            lan: 0,
            ip_len: 38,
            payload_len: 10,
            tcp: None,
            payload: &[],
        };
        let mut table = FlowTable::new(FlowLimits::default(), 0);
        table.push(1, ended * SECOND, &packet, &Templates::default());
        table.finish_all(0, &Templates::default());
        let flow = table.take_finished().remove(0);
        FlowRecord { ended_ns: ended * SECOND, ..flow }
    }

    /// One that begins in this second and ends in that one.
    fn spanning(begun: u64, ended: u64) -> FlowRecord {
        FlowRecord { ended_ns: ended * SECOND, ..flow(1, 443, begun) }
    }

    fn seen(tracker: &mut HostTracker, mut flow: FlowRecord) -> HostSnapshot {
        tracker.observe(&mut flow);
        flow.host
    }

    #[test]
    fn a_row_sees_only_what_came_before() {
        let mut tracker = HostTracker::new(100, 0);
        assert_eq!(seen(&mut tracker, flow(1, 443, 600)), HostSnapshot::default());
        let second = seen(&mut tracker, flow(1, 443, 630));
        assert_eq!((second.earlier, second.failed, second.tls), (1, 1, 0));
        assert_eq!(second.recent, (-0.5f64).exp() as f32);
        assert_eq!(seen(&mut tracker, flow(2, 443, 900)), HostSnapshot::default());
        let mut early = flow(1, 443, 901);
        tracker.peek(&mut early);
        assert_eq!(early.host, seen(&mut tracker, flow(1, 443, 901)));
    }

    #[test]
    fn neither_the_clock_nor_the_end_of_flows_tells_what_was_of_late() {
        // Begin and end in order of the ends; the third began before the second, the last is cut by the capture's end.
        let run = |shift: u64, longer: u64| {
            let mut tracker = HostTracker::new(100, 0);
            let flows = [(0, 1), (30, 40), (20, 50), (90, 95 + longer), (150, 160 + longer)];
            flows.map(|(begun, ended)| seen(&mut tracker, spanning(begun + shift, ended + shift)).recent)
        };
        let begin = run(600, 0);
        let left = |seconds: f64| (-seconds / 60.0).exp();
        let wanted = [0.0, left(30.0), left(30.0) + 1.0, left(90.0) + left(60.0) + left(70.0)];
        wanted
            .iter()
            .zip(begin)
            .for_each(|(wanted, found)| assert!((*wanted as f32 - found).abs() < 1e-5, "{begin:?}"));
        assert!([run(617, 0), run(1_700_000_033, 0), run(600, 1000)].iter().all(|other| *other == begin));
    }

    #[test]
    fn services_and_kinds_of_hellos_are_counted_about_right() {
        let mut tracker = HostTracker::new(100, 0);
        for service in 1..=60 {
            seen(&mut tracker, flow(1, service, 1));
            let mut hello = flow(2, 443, 1);
            let ciphers = [service % 6, 0x0a0a];
            ClientHello { ciphers: &ciphers, ..ClientHello::default() }.write(|id, value| {
                hello.fields.set(id, value);
            });
            tracker.observe(&mut hello);
        }
        let many = seen(&mut tracker, flow(1, 1, 2)).services;
        assert!((45.0..=75.0).contains(&many), "{many}");
        let hellos = seen(&mut tracker, flow(2, 443, 2));
        assert_eq!((hellos.tls, hellos.earlier), (60, 60));
        assert!((5.0..=7.5).contains(&hellos.hellos), "{hellos:?}");
        for service in 0..5000 {
            seen(&mut tracker, flow(1, service, 3));
        }
        let most = seen(&mut tracker, flow(1, 1, 4)).services;
        assert!((621.0..621.1).contains(&most), "{most}");
    }

    #[test]
    fn memory_is_bounded_and_what_is_forgotten_is_counted() {
        let mut tracker = HostTracker::new(10, 0);
        (0..100).for_each(|host| tracker.observe(&mut flow(host, 1, 1)));
        assert_eq!(tracker.forgotten(), 90);
        let mut nothing = HostTracker::new(0, 0);
        seen(&mut nothing, flow(1, 1, 1));
        assert_eq!(seen(&mut nothing, flow(1, 1, 1)), HostSnapshot::default());
    }
}
