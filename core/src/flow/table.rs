use super::{Direction, DirectionStats, Endpoint, FlowKey, SequenceTracker, Splt};
use crate::context::ConversationSnapshot;
use crate::feature::FlowShape;
use crate::packet::{Decoded, Tcp};
use crate::plugin::{Carrier, Probe, Progress, ProtocolTemplate, RecordSink, StreamView};
use crate::record::{FieldId, FieldStore, Mark, Value};
use crate::stream::{PrefixLimits, Pushed, StreamPrefix};
use hashbrown::HashTable;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::hash::BuildHasher;

/// Bounds and times of one shard's flows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowLimits {
    /// Open flows of one shard; past it the one that was quiet longest among a few is ended.
    pub flows_per_shard: u32,
    /// Bytes kept of each direction's beginning.
    pub prefix_bytes: u32,
    /// Segments of one direction that may wait for a missing one.
    pub prefix_waiting: u32,
    /// Bytes that all prefixes of one shard may hold together; past it new flows get none.
    pub prefix_bytes_per_shard: u32,
    /// Seconds of silence after which a TCP flow has ended.
    pub tcp_idle_seconds: u32,
    /// Seconds of silence after which a UDP flow has ended.
    pub udp_idle_seconds: u32,
    /// Seconds after which a flow is ended and begun anew, however busy it is.
    pub active_seconds: u32,
    /// Seconds for which a closed TCP flow still takes its last packets in.
    pub linger_seconds: u32,
}

impl Default for FlowLimits {
    fn default() -> Self {
        Self {
            flows_per_shard: 16_384,
            prefix_bytes: 16_384,
            prefix_waiting: 32,
            prefix_bytes_per_shard: 4 << 20,
            tcp_idle_seconds: 300,
            udp_idle_seconds: 120,
            active_seconds: 3600,
            linger_seconds: 5,
        }
    }
}

/// Why a flow ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndReason {
    /// Both sides sent FIN.
    Finished,
    /// A RST.
    Reset,
    /// Silence.
    Idle,
    /// It was open for so long that it is reported and begun anew.
    Active,
    /// The same five-tuple began anew with a SYN.
    Reused,
    /// The shard was full.
    Evicted,
    /// The capture ended.
    EndOfCapture,
}

impl EndReason {
    /// The reason's name in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "fin",
            Self::Reset => "rst",
            Self::Idle => "idle",
            Self::Active => "active",
            Self::Reused => "reused",
            Self::Evicted => "evicted",
            Self::EndOfCapture => "end",
        }
    }
}

/// A finished flow: everything that later stages know of it.
#[derive(Debug, Clone)]
pub struct FlowRecord {
    /// A number that stands for the flow: the same for the same five-tuple and begin, in any run; below 2^53.
    pub id: u64,
    /// Who opened it.
    pub originator: Endpoint,
    /// Who answered.
    pub responder: Endpoint,
    /// IP protocol number.
    pub protocol: u8,
    /// Time of the first packet in nanoseconds since 1970.
    pub first_ns: u64,
    /// Time of the last packet.
    pub last_ns: u64,
    /// When the flow counted as ended: the order of output.
    pub ended_ns: u64,
    /// Number of its first packet in the capture.
    pub first_packet: u64,
    /// Why it ended.
    pub end: EndReason,
    /// Counts of both directions; index by [`Direction::index`].
    pub stats: [DirectionStats; 2],
    /// Lengths and times of the first payload packets.
    pub splt: Splt,
    /// Which template recognised it, as its place in the pipeline.
    pub template: Option<u8>,
    /// What the template read.
    pub fields: FieldStore,
    /// Packet numbers of what the template marked; index by [`Mark`].
    pub marks: [Option<u64>; Mark::COUNT],
    /// What was known of its conversation.
    pub conversation: ConversationSnapshot,
}

impl FlowRecord {
    /// The facts that extractors see beside counts and fields.
    pub fn shape(&self) -> FlowShape {
        FlowShape {
            first_ns: self.first_ns,
            duration_ns: self.last_ns.saturating_sub(self.first_ns),
            responder_port: self.responder.port,
            protocol: self.protocol,
        }
    }

    /// The packet that a mark leads to; without one, the flow's first.
    pub fn packet_of(&self, mark: Option<Mark>) -> u64 {
        mark.and_then(|mark| self.marks[mark as usize]).unwrap_or(self.first_packet)
    }
}

/// What one table counted: every limit that was reached is here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlowCounters {
    /// Flows opened.
    pub opened: u64,
    /// Flows ended because the shard was full.
    pub evicted: u64,
    /// Flows that were read no further because the shard's prefixes were full.
    pub without_prefix: u64,
    /// Segments dropped because too many waited for a missing one.
    pub segments_dropped: u64,
    /// Segments that repeated bytes with other contents.
    pub overlap_conflicts: u64,
    /// Parses that a template could not finish.
    pub template_errors: u64,
}

impl FlowCounters {
    /// Adds another table's counts.
    pub fn add(&mut self, other: &Self) {
        self.opened += other.opened;
        self.evicted += other.evicted;
        self.without_prefix += other.without_prefix;
        self.segments_dropped += other.segments_dropped;
        self.overlap_conflicts += other.overlap_conflicts;
        self.template_errors += other.template_errors;
    }
}

/// What a flow's prefixes are for, right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Templates that may still recognise it, one bit each.
    Probing(u64),
    /// One did, and wants this many bytes of each direction.
    Parsing { template: u8, wanted: [usize; 2], closed: [bool; 2] },
    /// Nothing more is read.
    Done,
}

#[derive(Debug)]
struct Flow {
    key: FlowKey,
    first_ns: u64,
    last_ns: u64,
    /// When FINs or a RST closed it.
    closed_ns: Option<u64>,
    first_packet: u64,
    stats: [DirectionStats; 2],
    sequence: [SequenceTracker; 2],
    splt: Splt,
    /// Whether the key's lower endpoint is the originator.
    low_originates: bool,
    /// Whether the flow began with a SYN, so that nothing else can say who opened it.
    syn_decides: bool,
    /// Sequence number of the originator's SYN.
    syn: Option<u32>,
    /// FIN seen, by direction.
    fin: [bool; 2],
    reset: bool,
    reading: Reading,
    template: Option<u8>,
    prefixes: Option<Box<[StreamPrefix; 2]>>,
    fields: FieldStore,
    marks: [Option<u64>; Mark::COUNT],
}

/// The open flows of one logical shard.
#[derive(Debug)]
pub struct FlowTable {
    limits: FlowLimits,
    index: HashTable<u32>,
    flows: Vec<Option<Flow>>,
    free: Vec<u32>,
    hasher: foldhash::fast::FixedState,
    finished: Vec<FlowRecord>,
    counters: FlowCounters,
    prefix_bytes: usize,
    /// Where the search for a flow to end goes on.
    hand: usize,
    swept_ns: u64,
}

/// The templates of a pipeline, in order; at most 64.
pub type Templates = [Box<dyn ProtocolTemplate>];

const NANOS: u64 = 1_000_000_000;

impl FlowTable {
    /// An empty table. `seed` guards it against chosen addresses and changes no result.
    pub fn new(limits: FlowLimits, seed: u64) -> Self {
        Self {
            limits,
            index: HashTable::new(),
            flows: Vec::new(),
            free: Vec::new(),
            hasher: foldhash::fast::FixedState::with_seed(seed),
            finished: Vec::new(),
            counters: FlowCounters::default(),
            prefix_bytes: 0,
            hand: 0,
            swept_ns: 0,
        }
    }

    /// Takes one packet in.
    pub fn push(&mut self, number: u64, time_ns: u64, packet: &Decoded<'_>, templates: &Templates) {
        let (key, upward) = FlowKey::of(packet);
        let hash = self.hasher.hash_one(key);
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
        let direction = if upward == flow.low_originates { Direction::Forward } else { Direction::Backward };
        flow.count(direction, time_ns, packet);
        if flow.reading != Reading::Done {
            let limits = PrefixLimits { bytes: self.limits.prefix_bytes, waiting: self.limits.prefix_waiting };
            let budget = (self.limits.prefix_bytes_per_shard as usize).saturating_sub(self.prefix_bytes);
            let before = flow.footprint();
            flow.read(direction, number, packet, limits, budget, templates, &mut self.counters);
            self.prefix_bytes = self.prefix_bytes + flow.footprint() - before;
        }
    }

    /// Why a flow is over before this packet, if it is.
    fn over(&self, flow: &Flow, time_ns: u64, packet: &Decoded<'_>) -> Option<EndReason> {
        if let Some(end) = self.timed_out(flow, time_ns) {
            return Some(end);
        }
        if time_ns.saturating_sub(flow.first_ns) > u64::from(self.limits.active_seconds) * NANOS {
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
            _ => None,
        }
    }

    fn timed_out(&self, flow: &Flow, now_ns: u64) -> Option<EndReason> {
        if let Some(closed) = flow.closed_ns {
            let lingered = now_ns.saturating_sub(closed) > u64::from(self.limits.linger_seconds) * NANOS;
            return lingered.then(|| flow.closing_reason());
        }
        let silence = now_ns.saturating_sub(flow.last_ns);
        (silence > self.idle_ns(flow.key.protocol)).then_some(EndReason::Idle)
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
        if self.index.len() >= self.limits.flows_per_shard.max(1) as usize {
            self.evict(time_ns, templates);
        }
        // A SYN with ACK is an answer: whoever it goes to opened the flow.
        let answers = packet.tcp.is_some_and(|tcp| tcp.has(Tcp::SYN | Tcp::ACK));
        let all = if templates.len() >= 64 { u64::MAX } else { (1 << templates.len()) - 1 };
        let flow = Flow {
            key,
            first_ns: time_ns,
            last_ns: time_ns,
            closed_ns: None,
            first_packet: number,
            stats: Default::default(),
            sequence: Default::default(),
            splt: Splt::default(),
            low_originates: upward != answers,
            syn_decides: packet.tcp.is_some_and(|tcp| tcp.has(Tcp::SYN)),
            syn: None,
            fin: [false; 2],
            reset: false,
            reading: if all == 0 { Reading::Done } else { Reading::Probing(all) },
            template: None,
            prefixes: None,
            fields: FieldStore::default(),
            marks: [None; Mark::COUNT],
        };
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
        let (flows, hasher) = (&self.flows, &self.hasher);
        self.index.insert_unique(hash, slot, |slot| {
            flows[*slot as usize].as_ref().map_or(0, |flow| hasher.hash_one(flow.key))
        });
        self.counters.opened += 1;
        slot
    }

    /// Ends the flow that was quiet longest among the next few: close to the oldest at a constant price.
    fn evict(&mut self, now_ns: u64, templates: &Templates) {
        const LOOK: usize = 32;
        let mut oldest: Option<(u64, usize)> = None;
        let mut seen = 0;
        for step in 0..self.flows.len() {
            let at = (self.hand + step) % self.flows.len();
            if let Some(flow) = &self.flows[at] {
                if oldest.is_none_or(|(time, _)| flow.last_ns < time) {
                    oldest = Some((flow.last_ns, at));
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

    /// Ends the flows whose time is over at `now_ns`, the latest packet time of the whole capture.
    ///
    /// When this is called changes when a flow is handed out, never what it says.
    pub fn expire(&mut self, now_ns: u64, templates: &Templates) {
        // A sweep looks at every flow: once in a second of packet time is enough.
        if now_ns.saturating_sub(self.swept_ns) < NANOS {
            return;
        }
        self.swept_ns = now_ns;
        for slot in 0..self.flows.len() {
            if let Some(end) = self.flows[slot].as_ref().and_then(|flow| self.timed_out(flow, now_ns)) {
                self.finish(slot as u32, end, now_ns, templates);
            }
        }
    }

    /// Ends all flows: the capture is over.
    pub fn finish_all(&mut self, templates: &Templates) {
        for slot in 0..self.flows.len() {
            if let Some(flow) = &self.flows[slot] {
                let end = if flow.closed_ns.is_some() { flow.closing_reason() } else { EndReason::EndOfCapture };
                self.finish(slot as u32, end, u64::MAX, templates);
            }
        }
    }

    fn finish(&mut self, slot: u32, end: EndReason, now_ns: u64, templates: &Templates) {
        let Some(mut flow) = self.flows[slot as usize].take() else { return };
        let hash = self.hasher.hash_one(flow.key);
        if let Ok(entry) = self.index.find_entry(hash, |known| *known == slot) {
            entry.remove();
        }
        self.free.push(slot);
        self.prefix_bytes -= flow.footprint();
        if let Reading::Parsing { template, .. } = flow.reading {
            flow.parse(template, true, templates, &mut self.counters);
        }
        let idle = self.idle_ns(flow.key.protocol);
        self.finished.push(flow.into_record(end, idle, now_ns));
    }

    /// Takes the flows that have ended since the last call, in no particular order.
    pub fn take_finished(&mut self) -> Vec<FlowRecord> {
        std::mem::take(&mut self.finished)
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

impl Flow {
    fn closing_reason(&self) -> EndReason {
        if self.reset { EndReason::Reset } else { EndReason::Finished }
    }

    #[inline]
    fn count(&mut self, direction: Direction, time_ns: u64, packet: &Decoded<'_>) {
        self.last_ns = self.last_ns.max(time_ns);
        let stats = &mut self.stats[direction.index()];
        stats.add(packet, time_ns);
        if packet.payload_len > 0 {
            let size = packet.payload_len.min(i32::MAX as u32) as i32;
            let signed = if direction == Direction::Forward { size } else { -size };
            self.splt.add(signed, time_ns.saturating_sub(self.first_ns));
        }
        let Some(tcp) = packet.tcp else { return };
        if packet.payload_len > 0 {
            self.sequence[direction.index()].observe(tcp.seq, packet.payload_len, stats);
        }
        if tcp.has(Tcp::SYN) && !tcp.has(Tcp::ACK) && direction == Direction::Forward {
            self.syn.get_or_insert(tcp.seq);
        }
        if tcp.has(Tcp::FIN) {
            self.fin[direction.index()] = true;
        }
        self.reset |= tcp.has(Tcp::RST);
        if self.closed_ns.is_none() && (self.reset || self.fin == [true; 2]) {
            self.closed_ns = Some(time_ns);
        }
    }

    fn footprint(&self) -> usize {
        self.prefixes.as_ref().map_or(0, |both| both.iter().map(StreamPrefix::footprint).sum())
    }

    /// Feeds the prefixes, and the templates where there is something new.
    #[allow(clippy::too_many_arguments)] // one call site, and a struct would only rename the list
    fn read(
        &mut self,
        direction: Direction,
        number: u64,
        packet: &Decoded<'_>,
        limits: PrefixLimits,
        budget: usize,
        templates: &Templates,
        counters: &mut FlowCounters,
    ) {
        let syn = packet.tcp.filter(|tcp| tcp.has(Tcp::SYN));
        if packet.payload_len == 0 && syn.is_none() {
            return;
        }
        if budget < packet.payload.len() {
            counters.without_prefix += 1;
            match self.reading {
                Reading::Parsing { template, .. } => self.parse(template, true, templates, counters),
                _ => self.stop_reading(),
            }
            return;
        }
        let prefix = &mut self.prefixes.get_or_insert_default()[direction.index()];
        if let Some(tcp) = syn {
            prefix.anchor(tcp.seq);
        }
        if packet.payload.is_empty() {
            if packet.payload_len > 0 {
                // The capture holds nothing of this payload: from here on there is a hole.
                prefix.close_at_hole(packet.tcp.map(|tcp| tcp.seq));
            }
            return;
        }
        let cut = (packet.payload.len() as u32) < packet.payload_len;
        let pushed = match packet.tcp {
            Some(tcp) => {
                let seq = tcp.seq.wrapping_add(u32::from(syn.is_some()));
                prefix.push(seq, packet.payload, cut, number, limits)
            }
            None => prefix.append_datagram(packet.payload, number, limits),
        };
        match pushed {
            Pushed::Grew => self.offer(templates, counters),
            Pushed::Conflict => {
                counters.overlap_conflicts += 1;
                self.offer(templates, counters);
            }
            Pushed::Dropped => counters.segments_dropped += 1,
            Pushed::Same => {}
        }
    }

    /// Asks the templates what the new bytes mean.
    fn offer(&mut self, templates: &Templates, counters: &mut FlowCounters) {
        if let Reading::Probing(candidates) = self.reading {
            self.probe(candidates, templates);
        }
        if let Reading::Parsing { template, wanted, closed } = self.reading
            && let Some(both) = &self.prefixes
            && (0..2).any(|at| both[at].bytes().len() >= wanted[at] || both[at].is_closed() != closed[at])
        {
            self.parse(template, false, templates, counters);
        }
    }

    fn view<'a>(prefixes: &'a [StreamPrefix; 2], key: &FlowKey, low_originates: bool, ended: bool) -> StreamView<'a> {
        let (originator, responder) = if low_originates { (key.low, key.high) } else { (key.high, key.low) };
        StreamView {
            forward: prefixes[0].bytes(),
            backward: prefixes[1].bytes(),
            forward_ended: ended || prefixes[0].is_closed(),
            backward_ended: ended || prefixes[1].is_closed(),
            carrier: if key.protocol == 6 { Carrier::Tcp } else { Carrier::Udp },
            originator_port: originator.port,
            responder_port: responder.port,
        }
    }

    fn probe(&mut self, mut candidates: u64, templates: &Templates) {
        let Some(prefixes) = &self.prefixes else { return };
        let view = Self::view(prefixes, &self.key, self.low_originates, false);
        for (at, template) in templates.iter().take(64).enumerate() {
            if candidates & (1 << at) == 0 {
                continue;
            }
            match template.probe(&view) {
                Probe::Certain => {
                    self.template = Some(at as u8);
                    self.reading = Reading::Parsing { template: at as u8, wanted: [0; 2], closed: [false; 2] };
                    return;
                }
                Probe::No => candidates &= !(1 << at),
                Probe::Unsure => {}
            }
        }
        self.reading = Reading::Probing(candidates);
        if candidates == 0 {
            self.stop_reading();
        }
    }

    fn parse(&mut self, template: u8, ended: bool, templates: &Templates, counters: &mut FlowCounters) {
        let (Some(prefixes), Some(parser)) = (&self.prefixes, templates.get(usize::from(template))) else { return };
        let view = Self::view(prefixes, &self.key, self.low_originates, ended);
        let mut target = Writing { fields: &mut self.fields, marks: [None; Mark::COUNT], swap: false };
        target.fields.clear();
        let outcome = parser.parse(&view, &mut RecordSink::new(&mut target));
        let Writing { marks, swap, .. } = target;
        // A SYN decides who the originator is, even where a template thinks otherwise.
        let swapped = swap && !self.syn_decides;
        let crossed = swap && !swapped;
        if swapped {
            self.swap_directions();
        }
        let Some(prefixes) = &self.prefixes else { return };
        for (known, mark) in self.marks.iter_mut().zip(marks) {
            if let Some((direction, offset)) = mark {
                let direction = if crossed { direction.reverse() } else { direction };
                *known = prefixes[direction.index()].packet_at(offset).or(*known);
            }
        }
        match outcome {
            Ok(Progress::More { forward, backward }) if !ended => {
                let asked = if crossed { [backward, forward] } else { [forward, backward] };
                // A template that asks for what it has would be called on every packet.
                let wanted = [0, 1].map(|at: usize| asked[at].max(prefixes[at].bytes().len() + 1));
                let closed = [0, 1].map(|at: usize| prefixes[at].is_closed());
                self.reading = Reading::Parsing { template, wanted, closed };
            }
            Ok(_) => self.stop_reading(),
            Err(_) => {
                counters.template_errors += 1;
                self.stop_reading();
            }
        }
    }

    fn swap_directions(&mut self) {
        self.low_originates = !self.low_originates;
        self.stats.swap(0, 1);
        self.sequence.swap(0, 1);
        self.fin.swap(0, 1);
        self.splt.reverse();
        if let Some(prefixes) = &mut self.prefixes {
            prefixes.swap(0, 1);
        }
    }

    fn stop_reading(&mut self) {
        self.reading = Reading::Done;
        self.prefixes = None;
    }

    fn into_record(self, end: EndReason, idle_ns: u64, now_ns: u64) -> FlowRecord {
        let (originator, responder) =
            if self.low_originates { (self.key.low, self.key.high) } else { (self.key.high, self.key.low) };
        let ended_ns = match end {
            EndReason::Idle => self.last_ns.saturating_add(idle_ns),
            EndReason::Active | EndReason::Reused | EndReason::Evicted => now_ns,
            EndReason::Finished | EndReason::Reset | EndReason::EndOfCapture => self.closed_ns.unwrap_or(self.last_ns),
        };
        FlowRecord {
            id: flow_id(&self.key, self.first_ns),
            originator,
            responder,
            protocol: self.key.protocol,
            first_ns: self.first_ns,
            last_ns: self.last_ns,
            ended_ns,
            first_packet: self.first_packet,
            end,
            stats: self.stats,
            splt: self.splt,
            template: self.template,
            fields: self.fields,
            marks: self.marks,
            conversation: ConversationSnapshot::default(),
        }
    }
}

/// The first 53 bits of a SHA-256, so that JSON readers keep every digit.
fn flow_id(key: &FlowKey, first_ns: u64) -> u64 {
    let mut hasher = Sha256::new();
    for endpoint in [key.low, key.high] {
        hasher.update(endpoint.address);
        hasher.update(endpoint.port.to_be_bytes());
    }
    hasher.update([key.protocol]);
    hasher.update(key.vlan.to_be_bytes());
    hasher.update(first_ns.to_be_bytes());
    let digest = hasher.finalize();
    digest.iter().take(8).fold(0u64, |id, byte| id << 8 | u64::from(*byte)) >> 11
}

/// What a template writes during one parse.
struct Writing<'a> {
    fields: &'a mut FieldStore,
    marks: [Option<(Direction, usize)>; Mark::COUNT],
    swap: bool,
}

impl crate::plugin::SinkTarget for Writing<'_> {
    fn set(&mut self, id: FieldId, value: Value<'_>) {
        self.fields.set(id, value);
    }
    fn mark(&mut self, mark: Mark, direction: Direction, offset: usize) {
        self.marks[mark as usize] = Some((direction, offset));
    }
    fn swap_directions(&mut self) {
        self.swap = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::PluginError;
    use crate::record::{ClientHello, Record};

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

    fn templates() -> Vec<Box<dyn ProtocolTemplate>> {
        vec![Box::new(Greeting)]
    }

    /// Feeds packets to a table and collects what ends.
    struct Bench {
        table: FlowTable,
        templates: Vec<Box<dyn ProtocolTemplate>>,
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
                vlan: 0,
                ip_len: 40 + payload.len() as u32,
                payload_len: payload.len() as u32,
                tcp: Some(Tcp { seq, flags }),
                payload,
            };
            self.table.push(self.number, time_ns, &packet, &self.templates);
        }

        fn end(mut self) -> Vec<FlowRecord> {
            self.table.finish_all(&self.templates);
            let mut all = self.table.take_finished();
            all.sort_by_key(|flow| flow.first_packet);
            all
        }
    }

    fn said(flow: &FlowRecord) -> Vec<u8> {
        ClientHello::read(|id| flow.fields.get(id)).map(|hello| hello.sni.to_vec()).unwrap_or_default()
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
        assert_eq!(flow.splt.sizes, [3, -3]);
        assert_eq!(flow.splt.times_us, [2, 3]);
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
            assert_eq!(flows[0].splt.sizes, [if syn { -3 } else { 3 }]);
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

    #[test]
    fn what_a_template_said_survives_the_end_of_the_capture() {
        let mut bench = Bench::new(FlowLimits::default());
        bench.tcp(0, 9, true, Tcp::ACK, 1, b"hi and no");
        bench.tcp(1, 9, true, Tcp::ACK, 10, b" full stop");
        assert_eq!(said(&bench.end()[0]), b"hi and no full stop");
    }
}
