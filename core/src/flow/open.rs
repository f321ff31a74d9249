//! One open flow: its counts, its beginnings, and what templates read out of them.

use super::{
    Direction, DirectionStats, EndReason, FlowCounters, FlowKey, FlowRecord, SequenceTracker, Splt, Templates,
};
use crate::context::ConversationSnapshot;
use crate::packet::{Decoded, Tcp};
use crate::plugin::{Carrier, PluginError, Probe, Progress, RecordSink, StreamView};
use crate::record::{FieldId, FieldStore, Mark, Value};
use crate::stream::{PrefixLimits, Pushed, StreamPrefix};
use sha2::{Digest, Sha256};

/// What a flow's prefixes are for, right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Templates that may still recognise it, one bit each.
    Probing(u64),
    /// One did, and wants this many bytes of each direction.
    Parsing { template: u8, wanted: [usize; 2], closed: [bool; 2] },
    /// Nothing more is read.
    Done,
}

#[derive(Debug)]
pub(super) struct Flow {
    pub(super) key: FlowKey,
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    /// When FINs or a RST closed it.
    pub(super) closed_ns: Option<u64>,
    pub(super) first_packet: u64,
    pub(super) stats: [DirectionStats; 2],
    pub(super) sequence: [SequenceTracker; 2],
    pub(super) splt: Splt,
    /// Whether the key's lower endpoint is the originator.
    pub(super) low_originates: bool,
    /// Whether the flow began with a SYN, so that nothing else can say who opened it.
    pub(super) syn_decides: bool,
    /// Sequence number of the originator's SYN.
    pub(super) syn: Option<u32>,
    /// FIN seen, by direction.
    pub(super) fin: [bool; 2],
    pub(super) reset: bool,
    pub(super) reading: Reading,
    pub(super) template: Option<u8>,
    /// What the template said when it failed.
    pub(super) template_error: Option<Box<PluginError>>,
    pub(super) prefixes: Option<Box<[StreamPrefix; 2]>>,
    pub(super) fields: FieldStore,
    pub(super) marks: [Option<u64>; Mark::COUNT],
}

impl Flow {
    pub(super) fn closing_reason(&self) -> EndReason {
        if self.reset { EndReason::Reset } else { EndReason::Finished }
    }

    #[inline]
    pub(super) fn count(&mut self, direction: Direction, time_ns: u64, packet: &Decoded<'_>) {
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

    pub(super) fn footprint(&self) -> usize {
        self.prefixes.as_ref().map_or(0, |both| both.iter().map(StreamPrefix::footprint).sum())
    }

    /// Feeds the prefixes, and the templates where there is something new.
    #[allow(clippy::too_many_arguments)] // one call site, and a struct would only rename the list
    pub(super) fn read(
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
                if prefix.close_at_hole(packet.tcp.map(|tcp| tcp.seq)) {
                    self.offer(templates, counters);
                }
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

    pub(super) fn parse(&mut self, template: u8, ended: bool, templates: &Templates, counters: &mut FlowCounters) {
        let (Some(prefixes), Some(parser)) = (&self.prefixes, templates.get(usize::from(template))) else { return };
        let view = Self::view(prefixes, &self.key, self.low_originates, ended);
        // What an earlier parse wrote goes when this one has succeeded, not before.
        let mut target = Writing::default();
        let outcome = parser.parse(&view, &mut RecordSink::new(&mut target));
        let Writing { fields, marks, swap, dropped } = target;
        counters.fields_dropped += dropped;
        if outcome.is_ok() {
            self.fields = fields;
        }
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
            Err(error) => {
                counters.template_errors += 1;
                self.template_error = Some(Box::new(error));
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

    pub(super) fn into_record(self, end: EndReason, idle_ns: u64, now_ns: u64) -> FlowRecord {
        let (originator, responder) =
            if self.low_originates { (self.key.low, self.key.high) } else { (self.key.high, self.key.low) };
        let ended_ns = match end {
            EndReason::Idle => self.last_ns.saturating_add(idle_ns),
            EndReason::Active | EndReason::Reused | EndReason::Evicted => now_ns,
            EndReason::Finished | EndReason::Reset => self.closed_ns.unwrap_or(self.last_ns),
            // After all that ended by themselves, whenever those were handed over.
            EndReason::EndOfCapture => self.last_ns.max(now_ns),
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
            template_error: self.template_error,
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
    hasher.update(key.lan.to_be_bytes());
    hasher.update(first_ns.to_be_bytes());
    let digest = hasher.finalize();
    digest.iter().take(8).fold(0u64, |id, byte| id << 8 | u64::from(*byte)) >> 11
}

/// What a template writes during one parse.
#[derive(Default)]
struct Writing {
    fields: FieldStore,
    marks: [Option<(Direction, usize)>; Mark::COUNT],
    swap: bool,
    /// Values for which there was no room.
    dropped: u64,
}

impl crate::plugin::SinkTarget for Writing {
    fn set(&mut self, id: FieldId, value: Value<'_>) {
        self.dropped += u64::from(!self.fields.set(id, value));
    }
    fn mark(&mut self, mark: Mark, direction: Direction, offset: usize) {
        self.marks[mark as usize] = Some((direction, offset));
    }
    fn swap_directions(&mut self) {
        self.swap = true;
    }
}
