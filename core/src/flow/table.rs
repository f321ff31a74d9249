use super::Templates;
use super::deadlines::Deadlines;
use super::early::Early;
use super::hosts::Hosts;
use super::open::{Flow, Means, Reading};
use super::{Direction, EndReason, FlowCounters, FlowKey, FlowLimits, FlowRecord, Notice, Told};
use crate::packet::{Decoded, Tcp};
use crate::record::FieldStore;
use crate::stream::{PrefixLimits, Spare};
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// The open flows of one logical shard.
#[derive(Debug)]
pub struct FlowTable {
    limits: FlowLimits,
    early: Option<Early>,
    index: HashTable<u32>,
    flows: Vec<Option<Flow>>,
    /// By slot, when its flow may be over at the earliest: what a sweep looks at, so that it need not touch the flows.
    deadlines: Deadlines,
    /// Slots whose deadline was over when somebody looked last.
    due: Vec<u32>,
    free: Vec<u32>,
    hasher: foldhash::fast::FixedState,
    #[allow(clippy::vec_box, reason = "records are large, and travel on in their boxes")]
    finished: Vec<Box<FlowRecord>>,
    /// What is told while flows go on, where somebody wants to know.
    notices: Option<Vec<Notice>>,
    reserve: Reserve,
    counters: FlowCounters,
    prefix_bytes: usize,
    /// Where the search for a flow to end goes on.
    hand: usize,
    /// Who opened what, as long as there are so many flows that somebody could have too many.
    hosts: Option<Hosts>,
}

/// Where a packet's flow is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    key: FlowKey,
    /// Whether the packet goes from the key's lower endpoint to the higher.
    upward: bool,
    hash: u64,
}

/// Memory that a shard's flows pass on: asking the allocator for each flow would cost more than counting its packets.
#[derive(Debug, Default)]
struct Reserve {
    spare: Spare,
    draft: FieldStore,
    /// Fields of such records: few flows have any, and those that do have much the same.
    stores: Vec<FieldStore>,
    aside: FieldStore,
    /// Records that nobody needs any more.
    #[allow(clippy::vec_box, reason = "records are large, and travel on in their boxes")]
    records: Vec<Box<FlowRecord>>,
}

impl Reserve {
    /// Pieces of each kind that wait for a use.
    const KEPT: usize = 64;

    fn means<'a>(
        &'a mut self,
        limits: &FlowLimits,
        held: usize,
        counters: &'a mut FlowCounters,
        templates: &'a Templates,
    ) -> Means<'a> {
        Means {
            templates,
            limits: PrefixLimits { bytes: limits.prefix_bytes, waiting: limits.prefix_waiting },
            budget: (limits.prefix_bytes_per_shard as usize).saturating_sub(held),
            hand_overs: limits.hand_overs,
            datagrams: limits.probe_datagrams,
            counters,
            spare: &mut self.spare,
            draft: &mut self.draft,
            stores: &mut self.stores,
            aside: &mut self.aside,
        }
    }

    /// A record for a flow that begins with this packet.
    fn record(&mut self, time_ns: u64, number: u64) -> Box<FlowRecord> {
        match self.records.pop() {
            Some(mut record) => {
                record.begin_anew(time_ns, number);
                record
            }
            None => Box::new(FlowRecord::beginning(time_ns, number)),
        }
    }
}

const NANOS: u64 = 1_000_000_000;

impl FlowTable {
    /// An empty table. `seed` guards it against chosen addresses and changes no result.
    pub fn new(limits: FlowLimits, seed: u64) -> Self {
        Self {
            early: Early::of(&limits),
            limits,
            index: HashTable::new(),
            flows: Vec::new(),
            deadlines: Deadlines::default(),
            due: Vec::new(),
            free: Vec::new(),
            hasher: foldhash::fast::FixedState::with_seed(seed),
            finished: Vec::new(),
            notices: None,
            reserve: Reserve::default(),
            counters: FlowCounters::default(),
            prefix_bytes: 0,
            hand: 0,
            hosts: None,
        }
    }

    /// The same with [`Notice`]s: flows say when they begin, and what names they hear.
    #[must_use]
    pub fn with_notices(self) -> Self {
        Self { notices: Some(Vec::new()), ..self }
    }

    /// Takes one packet in.
    pub fn push(&mut self, number: u64, time_ns: u64, packet: &Decoded<'_>, templates: &Templates) {
        let place = self.place(packet);
        self.push_at(place, number, time_ns, packet, templates);
    }

    /// Where a packet's flow is looked for, in any table with the same seed.
    #[inline]
    pub fn place(&self, packet: &Decoded<'_>) -> Place {
        let (key, upward) = FlowKey::of(packet);
        Place { key, upward, hash: self.hasher.hash_one(key) }
    }

    /// Where the flow at a place probably lies; a guess, for [`touch`](Self::touch).
    #[inline]
    pub fn guess(&self, place: &Place) -> Option<u32> {
        self.index.find(place.hash, |_| true).copied()
    }

    /// Reads a little of a flow, so that it is on its way from memory while others are touched: most of the time that a
    /// packet takes is waiting for its flow. Changes nothing; what it returns means nothing.
    #[inline]
    pub fn touch(&self, guess: u32, place: &Place) -> u64 {
        let flow = self.flows.get(guess as usize).and_then(Option::as_ref);
        flow.map_or(0, |flow| flow.touch(flow.direction(place.upward)))
    }

    /// Takes one packet in whose place is known.
    pub fn push_at(&mut self, place: Place, number: u64, time_ns: u64, packet: &Decoded<'_>, templates: &Templates) {
        let Place { key, upward, hash } = place;
        let flows = &self.flows;
        let found =
            self.index.find(hash, |slot| flows[*slot as usize].as_ref().is_some_and(|flow| flow.key == key)).copied();
        let slot = match found {
            Some(slot) => match self.flows[slot as usize].as_ref().and_then(|f| self.over(f, time_ns, packet)) {
                Some(end) => {
                    self.finish(slot, end, time_ns, templates);
                    self.open(key, hash, upward, number, time_ns, packet, templates)
                }
                None => slot,
            },
            None => self.open(key, hash, upward, number, time_ns, packet, templates),
        };
        let Some(flow) = self.flows[slot as usize].as_mut() else { return };
        let direction = flow.direction(upward);
        let was_open = flow.closed_ns.is_none();
        flow.count(direction, time_ns, packet);
        if was_open && flow.closed_ns.is_some() {
            let over_ns = time_ns.saturating_add(u64::from(self.limits.linger_seconds) * NANOS);
            self.deadlines.set(slot, over_ns);
        }
        if flow.reading != Reading::Done {
            let before = flow.footprint();
            let held = self.prefix_bytes;
            let mut means = self.reserve.means(&self.limits, held, &mut self.counters, templates);
            flow.read(direction, number, packet, &mut means);
            self.prefix_bytes = self.prefix_bytes + flow.footprint() - before;
            // Here and not where flows end: a notice is one of its own packet, whenever somebody looks.
            if std::mem::take(&mut flow.reread)
                && let Some(notices) = &mut self.notices
            {
                notices.extend(flow.news(number, time_ns));
            }
        }
        // A template may have turned the flow round meanwhile.
        let direction = flow.direction(upward);
        if packet.payload_len > 0 && templates.tables().is_some() && flow.looked[direction.index()].wants_more() {
            self.counters.warnings_left_out += flow.look(direction, number, packet, templates, self.limits.warnings);
        }
        if let Some(early) = &self.early
            && early.is_due(flow, time_ns)
        {
            flow.early_given = true;
            self.finished.push(flow.snapshot(time_ns));
        }
    }

    /// Why a flow is over before this packet, if it is.
    fn over(&self, flow: &Flow, time_ns: u64, packet: &Decoded<'_>) -> Option<EndReason> {
        if let Some(end) = self.timed_out(flow, time_ns) {
            return Some(end);
        }
        if time_ns.saturating_sub(flow.record.first_ns) > u64::from(self.limits.active_seconds) * NANOS {
            return Some(EndReason::Active);
        }
        let tcp = packet.tcp?;
        let begins = tcp.has(Tcp::SYN) && !tcp.has(Tcp::ACK);
        if !begins {
            return None;
        }
        match (flow.closed_ns, flow.syn) {
            (Some(_), _) => Some(flow.closing_reason()),
            // Another initial sequence number than the one this flow began with: a new connection.
            (None, Some(seq)) if seq != tcp.seq => Some(EndReason::Reused),
            // Packets came before any SYN: they belong to an older connection, or were sent to hide this one.
            (None, None) if !flow.syn_decides => Some(EndReason::Reused),
            _ => None,
        }
    }

    fn timed_out(&self, flow: &Flow, now_ns: u64) -> Option<EndReason> {
        let over = now_ns > self.deadline(flow);
        over.then(|| if flow.closed_ns.is_some() { flow.closing_reason() } else { EndReason::Idle })
    }

    /// The last moment at which a flow is not over, as far as its packets tell so far.
    fn deadline(&self, flow: &Flow) -> u64 {
        match flow.closed_ns {
            Some(closed) => closed.saturating_add(u64::from(self.limits.linger_seconds) * NANOS),
            None => flow.record.last_ns.saturating_add(self.idle_ns(flow.key.protocol)),
        }
    }

    fn idle_ns(&self, protocol: u8) -> u64 {
        let seconds = if protocol == 6 { self.limits.tcp_idle_seconds } else { self.limits.udp_idle_seconds };
        u64::from(seconds) * NANOS
    }

    #[allow(clippy::too_many_arguments)] // one call site, and a struct would only rename the list
    fn open(
        &mut self,
        key: FlowKey,
        hash: u64,
        upward: bool,
        number: u64,
        time_ns: u64,
        packet: &Decoded<'_>,
        templates: &Templates,
    ) -> u32 {
        // A SYN with ACK is an answer: whoever it goes to opened the flow.
        let answers = packet.tcp.is_some_and(|tcp| tcp.has(Tcp::SYN | Tcp::ACK));
        let low_originates = upward != answers;
        let host = if low_originates { key.low.address } else { key.high.address };
        self.make_room(&host, time_ns, templates);
        let all = templates.all();
        let flow = Flow {
            key,
            closed_ns: None,
            sequence: Default::default(),
            low_originates,
            syn_decides: packet.tcp.is_some_and(|tcp| tcp.has(Tcp::SYN)),
            syn: None,
            fin: [false; 2],
            reset: false,
            reading: if all == 0 { Reading::Done } else { Reading::Probing(all) },
            base: [0; 2],
            prefixes: None,
            anchors: [None; 2],
            passed_over: 0,
            handed_too_much: [false; 2],
            early_given: false,
            reread: false,
            told: Told::default(),
            looked: Default::default(),
            record: self.reserve.record(time_ns, number),
        };
        if let Some(notices) = &mut self.notices {
            notices.push(flow.beginning(number, time_ns));
        }
        let deadline = self.deadline(&flow);
        let slot = match self.free.pop() {
            Some(slot) => {
                self.flows[slot as usize] = Some(flow);
                slot
            }
            None => {
                self.flows.push(Some(flow));
                (self.flows.len() - 1) as u32
            }
        };
        self.deadlines.set(slot, deadline);
        let (flows, hasher) = (&self.flows, &self.hasher);
        self.index.insert_unique(hash, slot, |slot| {
            flows[*slot as usize].as_ref().map_or(0, |flow| hasher.hash_one(flow.key))
        });
        if let Some(hosts) = &mut self.hosts {
            hosts.opened(slot, host);
        }
        self.counters.opened += 1;
        slot
    }

    /// Ends what must end before this host can open a flow.
    fn make_room(&mut self, host: &[u8; 16], now_ns: u64, templates: &Templates) {
        let most = self.limits.flows_per_host;
        if self.hosts.is_none() && self.index.len() >= most as usize && most < self.limits.flows_per_shard {
            let mut open: Vec<(u32, &Flow)> =
                (0..).zip(&self.flows).filter_map(|(slot, flow)| Some((slot, flow.as_ref()?))).collect();
            open.sort_by_key(|(_, flow)| flow.record.first_packet);
            let mut hosts = Hosts::new(most, self.hasher.clone());
            open.into_iter().for_each(|(slot, flow)| hosts.opened(slot, flow.endpoints().0.address));
            self.hosts = Some(hosts);
        }
        let flows = &self.flows;
        let last_ns = |slot: u32| flows[slot as usize].as_ref().map_or(0, |flow| flow.record.last_ns);
        if let Some(slot) = self.hosts.as_mut().and_then(|hosts| hosts.victim(host, last_ns)) {
            self.counters.host_evicted += 1;
            self.finish(slot, EndReason::Evicted, now_ns, templates);
        }
        if self.index.len() >= self.limits.flows_per_shard.max(1) as usize {
            self.evict(now_ns, templates);
        }
    }

    /// Ends the flow that was quiet longest among the next few: close to the oldest at a constant price.
    fn evict(&mut self, now_ns: u64, templates: &Templates) {
        const LOOK: usize = 32;
        let mut oldest: Option<(u64, usize)> = None;
        let mut seen = 0;
        for step in 0..self.flows.len() {
            let at = (self.hand + step) % self.flows.len();
            if let Some(flow) = &self.flows[at] {
                if oldest.is_none_or(|(time, _)| flow.record.last_ns < time) {
                    oldest = Some((flow.record.last_ns, at));
                }
                seen += 1;
                if seen == LOOK {
                    self.hand = at + 1;
                    break;
                }
            }
        }
        if let Some((_, at)) = oldest {
            self.counters.evicted += 1;
            self.finish(at as u32, EndReason::Evicted, now_ns, templates);
        }
    }

    /// Ends the flows whose time is over at `now_ns`, the packet time of the whole capture.
    ///
    /// When this is called changes when a flow is handed out, never what it says, as long as no bound is reached: flows
    /// that are over and were not looked for yet count as open.
    pub fn expire(&mut self, now_ns: u64, templates: &Templates) {
        self.look_for_due(now_ns);
        self.expire_due(now_ns, now_ns, templates);
    }

    /// The first half of [`expire`](Self::expire), for whoever has several tables: finds the flows that may be over.
    pub fn look_for_due(&mut self, now_ns: u64) {
        self.due.clear();
        self.deadlines.over(now_ns, &mut self.due);
    }

    /// Reads a little of these flows, as [`touch`](Self::touch) does.
    pub fn touch_due(&self) -> u64 {
        let flows = self.due.iter().filter_map(|slot| self.flows[*slot as usize].as_ref());
        flows.fold(0, |sum, flow| sum ^ flow.record.touch() ^ flow.touch(Direction::Backward))
    }

    /// The second half: ends those of them that are over at `now_ns`, and those that were closed by then and are over at
    /// `closed_now_ns`. That may lie later than any packet, for who knows that none from before is still to come: how a
    /// closed flow ended is told by its own packets, but a silent one ends by another's, or with the capture.
    pub fn expire_due(&mut self, now_ns: u64, closed_now_ns: u64, templates: &Templates) {
        let due = std::mem::take(&mut self.due);
        for slot in &due {
            // Packets came since: the flow tells how long it has.
            let Some(flow) = &self.flows[*slot as usize] else { continue };
            let was_closed = flow.closed_ns.is_some_and(|closed_ns| closed_ns <= now_ns);
            let flow_now_ns = if was_closed { closed_now_ns } else { now_ns };
            match self.timed_out(flow, flow_now_ns) {
                Some(end) => self.finish(*slot, end, now_ns, templates),
                None => self.deadlines.set(*slot, self.deadline(flow)),
            }
        }
        self.due = due;
    }

    /// Ends the flows whose last packet lies behind `after_ns`: the clock was set back, and they are of a time that may not
    /// come again.
    pub fn end_future(&mut self, after_ns: u64, now_ns: u64, templates: &Templates) {
        for slot in 0..self.flows.len() {
            if let Some(flow) = self.flows[slot].as_ref().filter(|flow| flow.record.last_ns > after_ns) {
                let end = if flow.closed_ns.is_some() { flow.closing_reason() } else { EndReason::EndOfCapture };
                self.finish(slot as u32, end, now_ns, templates);
            }
        }
    }

    /// Ends all flows: the capture is over at `now_ns`. Those whose time was over before end as if somebody had looked.
    pub fn finish_all(&mut self, now_ns: u64, templates: &Templates) {
        self.expire(now_ns, templates);
        for slot in 0..self.flows.len() {
            if let Some(flow) = &self.flows[slot] {
                let end = if flow.closed_ns.is_some() { flow.closing_reason() } else { EndReason::EndOfCapture };
                self.finish(slot as u32, end, now_ns, templates);
            }
        }
    }

    fn finish(&mut self, slot: u32, end: EndReason, now_ns: u64, templates: &Templates) {
        let Some(mut flow) = self.flows[slot as usize].take() else { return };
        let hash = self.hasher.hash_one(flow.key);
        if let Ok(entry) = self.index.find_entry(hash, |known| *known == slot) {
            entry.remove();
        }
        if let Some(hosts) = &mut self.hosts {
            hosts.closed(slot);
            if self.index.len() < self.limits.flows_per_host as usize / 2 {
                self.hosts = None;
            }
        }
        self.free.push(slot);
        self.deadlines.set(slot, u64::MAX);
        self.prefix_bytes -= flow.footprint();
        let mut means = self.reserve.means(&self.limits, self.prefix_bytes, &mut self.counters, templates);
        flow.read_to_the_end(&mut means);
        flow.stop_reading(means.spare);
        let idle = self.idle_ns(flow.key.protocol);
        self.finished.push(flow.into_record(end, idle, now_ns));
    }

    /// Takes the flows that have ended since the last call, and early records, in no particular order.
    pub fn take_finished(&mut self) -> Vec<FlowRecord> {
        self.finished.drain(..).map(|record| *record).collect()
    }

    /// The same one by one, for a caller that comes often: the table keeps the list's memory.
    pub fn drain_finished(&mut self) -> impl ExactSizeIterator<Item = Box<FlowRecord>> {
        self.finished.drain(..)
    }

    /// Takes the notices since the last call, in the order of their packets.
    pub fn drain_notices(&mut self) -> impl Iterator<Item = Notice> {
        self.notices.iter_mut().flat_map(|notices| notices.drain(..))
    }

    /// Takes back a record that nobody needs any more: its memory is another flow's then.
    pub fn reuse(&mut self, mut record: Box<FlowRecord>) {
        let Reserve { stores, records, .. } = &mut self.reserve;
        if !record.fields.has_no_memory() && stores.len() < Reserve::KEPT {
            let mut fields = std::mem::take(&mut record.fields);
            fields.clear();
            stores.push(fields);
        }
        if records.len() < Reserve::KEPT {
            records.push(record);
        }
    }

    /// Open flows.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether no flow is open.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// What was counted so far.
    pub fn counters(&self) -> &FlowCounters {
        &self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::{PluginError, Probe, Progress, ProtocolTemplate, RecordSink, StreamView};
    use crate::record::{ClientHello, Mark};

    const SECOND: u64 = NANOS;

    /// Recognises flows whose originator or responder says "hi", and reads until "." in either direction.
    struct Greeting;

    impl ProtocolTemplate for Greeting {
        fn probe(&self, stream: &StreamView<'_>) -> Probe {
            match [stream.forward, stream.backward].iter().find(|bytes| bytes.len() >= 2) {
                Some(bytes) if bytes.starts_with(b"hi") => Probe::Certain,
                Some(_) => Probe::No,
                None => Probe::Unsure,
            }
        }
        fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
            if stream.backward.starts_with(b"hi") {
                out.swap_directions();
            }
            let said = if stream.forward.is_empty() { stream.backward } else { stream.forward };
            out.mark(Mark::ClientHello, Direction::Forward, 0);
            out.record(&ClientHello { sni: said, ..ClientHello::default() });
            if said.ends_with(b".") { Ok(Progress::Done) } else { Ok(Progress::More { forward: 0, backward: 0 }) }
        }
    }

    fn templates() -> Templates {
        Templates::new(vec![Box::new(Greeting)])
    }

    /// Feeds packets to a table and collects what ends.
    struct Bench {
        table: FlowTable,
        templates: Templates,
        number: u64,
    }

    impl Bench {
        fn new(limits: FlowLimits) -> Self {
            Self { table: FlowTable::new(limits, 1), templates: templates(), number: 0 }
        }

        /// A TCP packet of host 1, port `port`, to host 2, port 443, or back.
        fn tcp(&mut self, time_ns: u64, port: u16, forth: bool, flags: u8, seq: u32, payload: &[u8]) {
            self.number += 1;
            let (here, there) = (([1; 16], port), ([2; 16], 443));
            let ((src, src_port), (dst, dst_port)) = if forth { (here, there) } else { (there, here) };
            let packet = Decoded {
                src,
                dst,
                src_port,
                dst_port,
                protocol: 6,
                lan: 0,
                ip_len: 40 + payload.len() as u32,
                payload_len: payload.len() as u32,
                tcp: Some(Tcp { seq, flags }),
                payload,
            };
            self.table.push(self.number, time_ns, &packet, &self.templates);
        }

        fn end(self) -> Vec<FlowRecord> {
            self.end_at(0)
        }

        fn end_at(mut self, now_ns: u64) -> Vec<FlowRecord> {
            self.table.finish_all(now_ns, &self.templates);
            let mut all = self.table.take_finished();
            all.sort_by_key(|flow| flow.first_packet);
            all
        }
    }

    fn said(flow: &FlowRecord) -> Vec<u8> {
        flow.fields.record::<ClientHello<'_>>().map(|hello| hello.sni.to_vec()).unwrap_or_default()
    }

    #[test]
    fn both_directions_are_one_flow_and_the_syn_opens_it() {
        let mut bench = Bench::new(FlowLimits::default());
        bench.tcp(0, 9, true, Tcp::SYN, 10, b"");
        bench.tcp(1000, 9, false, Tcp::SYN | Tcp::ACK, 90, b"");
        bench.tcp(2000, 9, true, Tcp::ACK | Tcp::PSH, 11, b"hi.");
        bench.tcp(3000, 9, false, Tcp::ACK, 91, b"yes");
        let flows = bench.end();
        assert_eq!(flows.len(), 1);
        let flow = &flows[0];
        assert_eq!((flow.originator.port, flow.responder.port, flow.end), (9, 443, EndReason::EndOfCapture));
        assert_eq!((flow.stats[0].packets, flow.stats[1].packets), (2, 2));
        assert_eq!(flow.splt.sizes[..], [3, -3]);
        assert_eq!(flow.splt.times_us[..], [2, 3]);
        assert_eq!(said(flow), b"hi.");
        assert_eq!(flow.marks[Mark::ClientHello as usize], Some(3));
    }

    #[test]
    fn a_syn_with_ack_goes_to_the_originator() {
        let mut bench = Bench::new(FlowLimits::default());
        bench.tcp(0, 9, false, Tcp::SYN | Tcp::ACK, 90, b"");
        bench.tcp(1, 9, true, Tcp::ACK, 11, b"hi.");
        assert_eq!(bench.end()[0].originator.port, 9);
    }

    #[test]
    fn a_template_turns_a_flow_round_unless_a_syn_opened_it() {
        for (syn, originator) in [(false, 443), (true, 9)] {
            let mut bench = Bench::new(FlowLimits::default());
            bench.tcp(0, 9, true, if syn { Tcp::SYN } else { Tcp::ACK }, 10, b"");
            bench.tcp(1, 9, false, Tcp::ACK, 90, b"hi.");
            let flows = bench.end();
            assert_eq!(flows[0].originator.port, originator, "with SYN: {syn}");
            assert_eq!(flows[0].marks[Mark::ClientHello as usize], Some(2), "with SYN: {syn}");
            assert_eq!(flows[0].splt.sizes[..], [if syn { -3 } else { 3 }]);
        }
    }

    #[test]
    fn silence_ends_a_flow_whenever_somebody_looks() {
        let looks: [&[u64]; 3] = [&[], &[100, 200, 300, 301, 302], &[5000]];
        let mut outcomes = Vec::new();
        for look in looks {
            let mut bench = Bench::new(FlowLimits::default());
            bench.tcp(0, 9, true, Tcp::ACK, 1, b"hi there.");
            for at in look {
                bench.table.expire(at * SECOND, &bench.templates);
            }
            bench.tcp(6000 * SECOND, 9, true, Tcp::ACK, 100, b"hi again.");
            let flows = bench.end();
            outcomes.push(flows.iter().map(|f| (f.id, f.end, f.ended_ns, said(f))).collect::<Vec<_>>());
        }
        assert_eq!(outcomes[0].len(), 2);
        assert_eq!(outcomes[0][0].1, EndReason::Idle);
        assert_eq!(outcomes[0], outcomes[1]);
        assert_eq!(outcomes[0], outcomes[2]);
    }

    #[test]
    fn the_end_of_the_capture_is_a_look_too() {
        let mut ends = Vec::new();
        for look in [false, true] {
            let mut bench = Bench::new(FlowLimits::default());
            bench.tcp(0, 9, true, Tcp::ACK, 1, b"hi.");
            if look {
                bench.table.expire(1000 * SECOND, &bench.templates);
            }
            let flows = bench.end_at(1000 * SECOND);
            ends.push((flows[0].end, flows[0].ended_ns));
        }
        assert_eq!(ends, [(EndReason::Idle, 300 * SECOND); 2]);
    }

    #[test]
    fn only_closed_flows_end_by_another_clock_than_that_of_packets() {
        let mut bench = Bench::new(FlowLimits::default());
        bench.tcp(0, 8, true, Tcp::ACK, 1, b"hi.");
        bench.tcp(1, 9, true, Tcp::SYN, 10, b"");
        bench.tcp(2, 9, false, Tcp::RST, 0, b"");
        for later in [9, 1000] {
            bench.table.look_for_due(later * SECOND);
            bench.table.expire_due(2, later * SECOND, &bench.templates);
            let ended = bench.table.take_finished();
            let told: Vec<_> = ended.iter().map(|flow| (flow.end, flow.ended_ns)).collect();
            assert_eq!(told, if later == 9 { vec![] } else { vec![(EndReason::Reset, 2)] });
        }
        assert_eq!(bench.end_at(2)[0].end, EndReason::EndOfCapture);
    }

    #[test]
    fn a_stray_packet_before_the_syn_hides_nothing() {
        let mut bench = Bench::new(FlowLimits::default());
        bench.tcp(0, 9, true, Tcp::ACK, 4_000_000, b"x");
        bench.tcp(1, 9, true, Tcp::SYN, 10, b"");
        bench.tcp(2, 9, true, Tcp::ACK, 11, b"hi.");
        let flows = bench.end();
        assert_eq!(flows.len(), 2);
        assert_eq!((flows[0].end, said(&flows[1])), (EndReason::Reused, b"hi.".to_vec()));
    }

    #[test]
    fn a_closed_flow_takes_late_packets_and_a_new_syn_opens_another() {
        let mut bench = Bench::new(FlowLimits::default());
        bench.tcp(0, 9, true, Tcp::SYN, 10, b"");
        bench.tcp(1, 9, true, Tcp::FIN, 11, b"");
        bench.tcp(2, 9, false, Tcp::FIN, 91, b"");
        bench.tcp(3, 9, true, Tcp::ACK, 12, b"");
        bench.tcp(SECOND, 9, true, Tcp::SYN, 5000, b"");
        bench.tcp(SECOND + 1, 9, false, Tcp::RST, 0, b"");
        let flows = bench.end();
        let ends: Vec<_> = flows.iter().map(|flow| (flow.end, flow.stats[0].packets)).collect();
        assert_eq!(ends, [(EndReason::Finished, 3), (EndReason::Reset, 1)]);
    }

    #[test]
    fn a_repeated_syn_is_the_same_flow_and_another_number_is_not() {
        let mut bench = Bench::new(FlowLimits::default());
        bench.tcp(0, 9, true, Tcp::SYN, 10, b"");
        bench.tcp(1, 9, true, Tcp::SYN, 10, b"");
        bench.tcp(2, 9, true, Tcp::SYN, 4_000_000, b"");
        let flows = bench.end();
        assert_eq!(
            flows.iter().map(|flow| (flow.stats[0].syn, flow.end)).collect::<Vec<_>>(),
            [(2, EndReason::Reused), (1, EndReason::EndOfCapture)]
        );
    }

    #[test]
    fn a_busy_flow_is_reported_after_its_active_time() {
        let mut bench = Bench::new(FlowLimits { active_seconds: 10, ..FlowLimits::default() });
        (0..25).for_each(|at| bench.tcp(at * SECOND, 9, true, Tcp::ACK, 1 + at as u32, b"x"));
        let flows = bench.end();
        assert_eq!(flows.iter().map(|flow| flow.stats[0].packets).collect::<Vec<_>>(), [11, 11, 3]);
    }

    #[test]
    fn a_full_shard_evicts_the_quiet_and_counts_it() {
        let mut bench = Bench::new(FlowLimits { flows_per_shard: 10, ..FlowLimits::default() });
        (0..100).for_each(|port| bench.tcp(u64::from(port), port, true, Tcp::SYN, 0, b""));
        assert_eq!(bench.table.len(), 10);
        assert_eq!(bench.table.counters().evicted, 90);
        let flows = bench.end();
        assert_eq!(flows.len(), 100);
        assert!(flows[..90].iter().all(|flow| flow.end == EndReason::Evicted));
    }

    #[test]
    fn a_flood_ends_flows_of_its_own_and_the_quiet_ones_first() {
        let limits = FlowLimits { flows_per_shard: 40, flows_per_host: 10, ..FlowLimits::default() };
        let mut bench = Bench::new(limits);
        // Others talk to this host, and it keeps one connection of its own busy.
        (0..8).for_each(|port| bench.tcp(u64::from(port), 5000 + port, false, Tcp::SYN, 0, b""));
        for port in 0..100u16 {
            let now = 1000 + 2 * u64::from(port);
            bench.tcp(now, 4000, true, if port == 0 { Tcp::SYN } else { Tcp::ACK }, u32::from(port), b"x");
            bench.tcp(now + 1, port, true, Tcp::SYN, 0, b"");
        }
        let counters = bench.table.counters();
        assert_eq!((bench.table.len(), counters.host_evicted, counters.evicted), (18, 91, 0));
        let flows = bench.end();
        let ended: Vec<u16> =
            flows.iter().filter(|flow| flow.end == EndReason::Evicted).map(|flow| flow.originator.port).collect();
        assert_eq!((ended.len(), ended.iter().all(|port| *port < 100)), (91, true));
        assert_eq!(flows.iter().find(|flow| flow.originator.port == 4000).unwrap().stats[0].packets, 100);
    }

    #[test]
    fn a_beginning_that_is_full_too_soon_is_counted_once() {
        let limits = FlowLimits { prefix_bytes: 2048, ..FlowLimits::default() };
        for (said, full) in [(&b"hi."[..], 0), (b"hi and on", 1)] {
            let mut bench = Bench::new(limits.clone());
            for (at, part) in [said, &[7; 1500], &[7; 1500], &[7; 1500]].iter().enumerate() {
                let seq = 1 + [0, said.len() as u32, said.len() as u32 + 1500, said.len() as u32 + 3000][at];
                bench.tcp(at as u64, 9, true, Tcp::ACK, seq, part);
                bench.tcp(at as u64, 9, false, Tcp::ACK, seq, part);
            }
            assert_eq!(bench.table.counters().prefix_full, full, "{}", String::from_utf8_lossy(said));
        }
    }

    #[test]
    fn prefixes_together_stay_within_their_limit() {
        let limits = FlowLimits { prefix_bytes_per_shard: 2000, ..FlowLimits::default() };
        let mut bench = Bench::new(limits);
        for port in 0..50 {
            bench.tcp(0, port, true, Tcp::ACK, 1, &[b"hi".as_slice(), &[0; 298]].concat());
        }
        assert!(bench.table.counters().without_prefix > 0);
        assert!(bench.table.prefix_bytes <= 2000 + 2 * 300, "{}", bench.table.prefix_bytes);
        assert_eq!(bench.end().len(), 50);
    }

    /// Fails on everything.
    struct Failing;

    impl ProtocolTemplate for Failing {
        fn probe(&self, _: &StreamView<'_>) -> Probe {
            Probe::Certain
        }
        fn parse(&self, _: &StreamView<'_>, _: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
            Err(PluginError::failed("no luck"))
        }
    }

    #[test]
    fn a_template_that_fails_is_called_once_and_its_words_are_kept() {
        let mut bench =
            Bench { templates: Templates::new(vec![Box::new(Failing)]), ..Bench::new(FlowLimits::default()) };
        bench.tcp(0, 9, true, Tcp::ACK, 1, b"one");
        bench.tcp(1, 9, true, Tcp::ACK, 4, b"two");
        assert_eq!(bench.table.counters().template_errors, 1);
        let flow = bench.end().remove(0);
        assert_eq!((flow.template, flow.template_error.unwrap().message.as_str()), (Some(0), "no luck"));
    }

    #[test]
    fn what_a_template_said_survives_the_end_of_the_capture() {
        let mut bench = Bench::new(FlowLimits::default());
        bench.tcp(0, 9, true, Tcp::ACK, 1, b"hi and no");
        bench.tcp(1, 9, true, Tcp::ACK, 10, b" full stop");
        assert_eq!(said(&bench.end()[0]), b"hi and no full stop");
    }
}
