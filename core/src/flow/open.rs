//! One open flow: its counts, its beginnings, and what templates read out of them.

use super::look::Looked;
use super::made::{self, Hands, Scene, origin};
use super::{
    Direction, DirectionStats, EndReason, Endpoint, FlowCounters, FlowKey, FlowRecord, Handed, SequenceTracker,
    Templates, Told,
};
use crate::packet::{Decoded, Tcp};
use crate::plugin::{Carrier, Made, Piece, Probe, Progress, RecordSink, StreamView};
use crate::record::{FieldId, FieldStore, Mark, Value};
use crate::stream::{Framed, Framing, MARKS, PrefixLimits, PrefixPair, Pushed, Spare, StreamPrefix};
use sha2::{Digest, Sha256};

/// What reading a flow takes beside the flow.
pub(super) struct Means<'a> {
    pub(super) templates: &'a Templates,
    pub(super) limits: PrefixLimits,
    /// Bytes that prefixes of the shard may still take.
    pub(super) budget: usize,
    pub(super) hand_overs: u32,
    /// Datagrams at which templates look, each by itself, until one is somebody's.
    pub(super) datagrams: u32,
    pub(super) counters: &'a mut FlowCounters,
    pub(super) spare: &'a mut Spare,
    /// Where templates write to, until it is known that they have not failed.
    pub(super) draft: &'a mut FieldStore,
    /// Fields of flows that are no more.
    pub(super) stores: &'a mut Vec<FieldStore>,
    /// The same for those that read what others made.
    pub(super) aside: &'a mut FieldStore,
}

/// What a flow's prefixes are for, right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Templates that may still recognise it, one bit each.
    Probing(u64),
    /// One did, and wants this many bytes of each direction; no prefix has as many as the largest number.
    Parsing { template: u8, wanted: [u32; 2], closed: [bool; 2] },
    /// Nothing more is read.
    Done,
}

/// The order is that of memory: what every packet needs fills two cache lines.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Flow {
    pub(super) key: FlowKey,
    /// What there is of its record.
    pub(super) record: Box<FlowRecord>,
    pub(super) prefixes: Option<PrefixPair>,
    /// When FINs or a RST closed it.
    pub(super) closed_ns: Option<u64>,
    pub(super) reading: Reading,
    pub(super) sequence: [SequenceTracker; 2],
    /// Whether the key's lower endpoint is the originator.
    pub(super) low_originates: bool,
    /// Whether the flow began with a SYN, so that nothing else can say who opened it.
    pub(super) syn_decides: bool,
    /// FIN seen, by direction.
    pub(super) fin: [bool; 2],
    pub(super) reset: bool,
    /// Whether it gave its early record.
    pub(super) early_given: bool,
    /// Whether a template read it since somebody last asked.
    pub(super) reread: bool,
    /// What was looked at of each direction.
    pub(super) looked: [Looked; 2],
    /// Whether it was counted that more was handed on than may be, and that more bytes were than are taken.
    pub(super) handed_too_much: [bool; 2],
    /// How often what there was was nobody's.
    pub(super) passed_over: u32,
    /// Sequence number of the originator's SYN.
    pub(super) syn: Option<u32>,
    /// Where in both directions that begins which the templates are asked about now.
    pub(super) base: [usize; 2],
    /// Sequence number of each direction's SYN, for a prefix that is yet to come.
    pub(super) anchors: [Option<u32>; 2],
    /// What it has told of names.
    pub(super) told: Told,
}

impl Flow {
    pub(super) fn closing_reason(&self) -> EndReason {
        if self.reset { EndReason::Reset } else { EndReason::Finished }
    }

    #[inline]
    pub(super) fn count(&mut self, direction: Direction, time_ns: u64, packet: &Decoded<'_>) {
        self.record.last_ns = self.record.last_ns.max(time_ns);
        let stats = &mut self.record.stats[direction.index()];
        stats.add(packet, time_ns);
        if packet.payload_len > 0 {
            let size = packet.payload_len.min(i32::MAX as u32) as i32;
            let signed = if direction == Direction::Forward { size } else { -size };
            self.record.splt.add(signed, time_ns.saturating_sub(self.record.first_ns));
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

    /// Which way a packet goes that goes from the key's lower endpoint to the higher, or the other way.
    #[inline]
    pub(super) fn direction(&self, upward: bool) -> Direction {
        if upward == self.low_originates { Direction::Forward } else { Direction::Backward }
    }

    /// Reads one number out of each part that a packet of this direction changes.
    #[inline]
    pub(super) fn touch(&self, direction: Direction) -> u64 {
        let (record, at) = (&*self.record, direction.index());
        let DirectionStats { packets, gaps, .. } = &record.stats[at];
        let prefix = self.prefixes.as_ref().map_or(0, |both| both[at].touch());
        packets ^ gaps.count ^ record.splt.touch() ^ u64::from(self.reset) ^ prefix
    }

    pub(super) fn footprint(&self) -> usize {
        self.prefixes.as_ref().map_or(0, |both| both.iter().map(StreamPrefix::footprint).sum())
    }

    /// Feeds the prefixes, and the templates where there is something new.
    pub(super) fn read(&mut self, direction: Direction, number: u64, packet: &Decoded<'_>, means: &mut Means<'_>) {
        let syn = packet.tcp.filter(|tcp| tcp.has(Tcp::SYN));
        if let Some(tcp) = syn {
            match &mut self.prefixes {
                Some(both) => both[direction.index()].anchor(tcp.seq),
                None => {
                    self.anchors[direction.index()].get_or_insert(tcp.seq);
                }
            }
        }
        if packet.payload_len == 0 {
            return;
        }
        if self.prefixes.is_none() && self.is_nobodys(direction, packet, means.limits, means.templates) {
            self.pass_over(means);
            return;
        }
        if means.budget < packet.payload.len() {
            means.counters.without_prefix += 1;
            self.read_to_the_end(means);
            self.stop_reading(means.spare);
            return;
        }
        let both = self.prefixes.get_or_insert_with(|| {
            let mut both = means.spare.pair();
            for (prefix, anchor) in both.iter_mut().zip(self.anchors) {
                anchor.into_iter().for_each(|seq| prefix.anchor(seq));
            }
            both
        });
        let was_full = both.iter().any(|prefix| prefix.is_full(means.limits));
        let prefix = &mut both[direction.index()];
        if packet.payload.is_empty() {
            if packet.payload_len > 0 {
                // The capture holds nothing of this payload: from here on there is a hole.
                if prefix.close_at_hole(packet.tcp.map(|tcp| tcp.seq)) {
                    self.offer(means);
                }
            }
            return;
        }
        let cut = (packet.payload.len() as u32) < packet.payload_len;
        let pushed = match packet.tcp {
            Some(tcp) => {
                let seq = tcp.seq.wrapping_add(u32::from(syn.is_some()));
                prefix.push(seq, packet.payload, cut, number, means.limits, means.spare)
            }
            None => {
                let pushed = prefix.append_datagram(packet.payload, number, means.limits, means.spare);
                if cut {
                    // What comes next does not go on where this one was cut.
                    prefix.close_at_hole(None);
                }
                pushed
            }
        };
        means.counters.segments_dropped += u64::from(prefix.take_dropped());
        means.counters.prefix_full += u64::from(!was_full && prefix.is_full(means.limits));
        match pushed {
            Pushed::Grew => self.offer(means),
            Pushed::Conflict => {
                means.counters.overlap_conflicts += 1;
                self.offer(means);
            }
            Pushed::Dropped => means.counters.segments_dropped += 1,
            Pushed::Same => {}
        }
    }

    /// Whether no template knows the first payload that is looked at: most flows are nobody's, and nothing of them need
    /// be kept.
    fn is_nobodys(
        &self,
        direction: Direction,
        packet: &Decoded<'_>,
        limits: PrefixLimits,
        templates: &Templates,
    ) -> bool {
        let Reading::Probing(candidates) = self.reading else { return false };
        let bytes = packet.payload;
        let whole = bytes.len() == packet.payload_len as usize && bytes.len() < limits.bytes as usize;
        // Only what a prefix would begin with: no payload on a SYN, nothing that came early.
        let begins = match (packet.tcp, self.anchors[direction.index()]) {
            (Some(tcp), Some(anchor)) => !tcp.has(Tcp::SYN) && tcp.seq == anchor.wrapping_add(1),
            (Some(tcp), None) => !tcp.has(Tcp::SYN),
            (None, _) => true,
        };
        if !whole || !begins {
            return false;
        }
        let (forward, backward) = if direction == Direction::Forward { (bytes, &[][..]) } else { (&[][..], bytes) };
        let (originator, responder) = self.endpoints();
        let view = StreamView {
            forward,
            backward,
            forward_ended: false,
            backward_ended: false,
            framed: [None; 2],
            datagram_ends: [&[]; 2],
            carrier: if self.key.protocol == 6 { Carrier::Tcp } else { Carrier::Udp },
            originator_port: originator.port,
            responder_port: responder.port,
        };
        let mut known = templates.among(candidates & templates.asked(view.carrier, forward, backward));
        // A failure is counted where the bytes are kept.
        known.all(|(_, template)| template.try_probe(&view) == Ok(Probe::No))
    }

    pub(super) fn endpoints(&self) -> (Endpoint, Endpoint) {
        if self.low_originates { (self.key.low, self.key.high) } else { (self.key.high, self.key.low) }
    }

    /// Asks the templates what the new bytes mean.
    fn offer(&mut self, means: &mut Means<'_>) {
        if let Reading::Probing(candidates) = self.reading {
            self.probe(candidates, false, means);
        }
        // Once more for each hand-over: what is handed over may be there already.
        while let Reading::Parsing { template, wanted, closed } = self.reading
            && let Some(both) = &self.prefixes
            && (0..2).any(|at| both[at].bytes().len() >= wanted[at] as usize || both[at].is_closed() != closed[at])
            && self.parse(template, false, means)
        {}
    }

    /// No more bytes will come: the template that recognised the flow reads what is there, and so does each to which it
    /// is handed over then.
    pub(super) fn read_to_the_end(&mut self, means: &mut Means<'_>) {
        while let Reading::Parsing { template, .. } = self.reading
            && self.parse(template, true, means)
        {}
    }

    fn view<'a>(
        prefixes: &'a [StreamPrefix; 2],
        base: [usize; 2],
        key: &FlowKey,
        low_originates: bool,
        ended: bool,
    ) -> StreamView<'a> {
        let from = |at: usize| prefixes[at].bytes().get(base[at]..).unwrap_or_default();
        let (originator, responder) = if low_originates { (key.low, key.high) } else { (key.high, key.low) };
        StreamView {
            forward: from(0),
            backward: from(1),
            forward_ended: ended || prefixes[0].is_closed(),
            backward_ended: ended || prefixes[1].is_closed(),
            framed: [0, 1].map(|at: usize| {
                let framed = prefixes[at].framed()?;
                Some(Framed { at: framed.at.saturating_sub(base[at]), ..framed })
            }),
            datagram_ends: [&[]; 2],
            carrier: if key.protocol == 6 { Carrier::Tcp } else { Carrier::Udp },
            originator_port: originator.port,
            responder_port: responder.port,
        }
    }

    fn probe(&mut self, mut candidates: u64, ended: bool, means: &mut Means<'_>) {
        let Some(prefixes) = &self.prefixes else { return };
        let view = Self::view(prefixes, self.base, &self.key, self.low_originates, ended);
        candidates &= means.templates.asked(view.carrier, view.forward, view.backward);
        for (at, template) in means.templates.among(candidates) {
            match template.try_probe(&view) {
                Ok(Probe::Certain) => {
                    self.record.template = Some(at);
                    self.record.refused = 0;
                    self.reading = Reading::Parsing { template: at, wanted: [0; 2], closed: [false; 2] };
                    return;
                }
                Ok(Probe::No) => candidates &= !(1 << at),
                Ok(Probe::Unsure) => {}
                Err(error) => {
                    means.counters.template_errors += 1;
                    self.record.probe_errors.push((at, error));
                    candidates &= !(1 << at);
                }
            }
        }
        self.reading = Reading::Probing(candidates);
        if candidates == 0 {
            self.pass_over(means);
        }
    }

    /// What there is, nobody knows, and nothing of it is kept. Over UDP the next datagram is looked at by itself: what
    /// came before need not belong to it, and a datagram of nonsense must not hide what follows.
    fn pass_over(&mut self, means: &mut Means<'_>) {
        self.stop_reading(means.spare);
        self.passed_over = self.passed_over.saturating_add(1);
        if self.key.protocol == 17 && self.record.handed.is_empty() && self.passed_over < means.datagrams {
            self.reading = Reading::Probing(self.willing(means.templates));
        }
    }

    /// The templates that have not failed on this flow.
    fn willing(&self, templates: &Templates) -> u64 {
        self.record.probe_errors.iter().fold(templates.all(), |others, (failed, _)| others & !(1 << failed))
    }

    /// Has a template read what is there; whether it handed the rest over to one that is to read now.
    fn parse(&mut self, template: u8, ended: bool, means: &mut Means<'_>) -> bool {
        let (Some(prefixes), Some(parser)) = (&self.prefixes, means.templates.get(usize::from(template))) else {
            return false;
        };
        let mut view = Self::view(prefixes, self.base, &self.key, self.low_originates, ended);
        let mut ends = [[0; MARKS]; 2];
        if view.carrier == Carrier::Udp {
            let [forward, backward] = &mut ends;
            view.datagram_ends = [
                datagram_ends(&prefixes[0], self.base[0], forward),
                datagram_ends(&prefixes[1], self.base[1], backward),
            ];
        }
        // What an earlier parse wrote goes when this one has succeeded, not before. What those wrote that handed the
        // flow over stays.
        match self.record.handed.last() {
            Some(earlier) => means.draft.copy_from(&earlier.fields),
            None => means.draft.clear(),
        }
        let hands = Hands::new(means.hand_overs, means.limits.bytes as usize);
        let mut target = Writing::to(means.draft, hands);
        let outcome = parser.parse(&view, &mut RecordSink::new(&mut target));
        let Writing { fields, mut marks, swap, resumes, frames, handed, hands, dropped, refused, .. } = target;
        means.counters.fields_dropped += dropped;
        if outcome.is_ok() && (resumes || !self.record.guests.is_empty() || !hands.is_empty() || hands.refused) {
            let behind = self.record.handed.len();
            let scene = Scene {
                host: template,
                behind,
                view: if swap { view.turned() } else { view },
                templates: means.templates,
                failed: &self.record.probe_errors,
            };
            let read = made::read(hands, &scene, fields, means.aside, &mut marks);
            means.counters.fields_dropped += read.dropped;
            means.counters.template_errors += read.errors.len() as u64;
            let counters = [&mut means.counters.hand_overs_refused, &mut means.counters.prefix_full];
            for ((known, now), counter) in self.handed_too_much.iter_mut().zip([read.refused, read.cut]).zip(counters) {
                *counter += u64::from(now && !*known);
                *known |= now;
            }
            let guests = &mut self.record.guests;
            guests.retain(|guest| guest.behind < behind || resumes);
            guests.extend(read.guests);
            self.record.probe_errors.extend(read.errors);
        }
        self.record.refused = self.record.refused.max(refused);
        self.reread |= outcome.is_ok();
        if outcome.is_ok() {
            if resumes {
                self.record.fields.make_room(fields);
                for (id, value) in fields.iter() {
                    // What those wrote that handed the flow over is there already.
                    if self.record.fields.get(id) != Some(value) {
                        means.counters.fields_dropped += u64::from(!self.record.fields.set(id, value));
                    }
                }
            } else {
                if self.record.fields.has_no_memory()
                    && let Some(store) = means.stores.pop()
                {
                    self.record.fields = store;
                }
                self.record.fields.copy_from(fields);
            }
        }
        // A SYN decides who the originator is, even where a template thinks otherwise.
        let swapped = swap && !self.syn_decides;
        let crossed = swap && !swapped;
        if swapped {
            self.swap_directions();
        }
        let Some(prefixes) = &mut self.prefixes else { return false };
        for (known, mark) in self.record.marks.iter_mut().zip(marks) {
            if let Some((direction, offset)) = mark {
                let direction = if crossed { direction.reverse() } else { direction };
                let at = self.base[direction.index()].saturating_add(offset);
                *known = prefixes[direction.index()].packet_at(at).or(*known);
            }
        }
        let travels = |[forward, backward]: [usize; 2]| if crossed { [backward, forward] } else { [forward, backward] };
        match (outcome, handed) {
            (Ok(_), Some(offsets)) => {
                return self.hand_over(template, travels(offsets), ended, means);
            }
            (Ok(Progress::More { forward, backward }), None) if !ended => {
                for (direction, how) in frames.into_iter().flatten() {
                    let direction = if crossed { direction.reverse() } else { direction };
                    let at = how.at.saturating_add(self.base[direction.index()]);
                    prefixes[direction.index()].frame(Framing { at, ..how }, means.spare);
                }
                let asked = travels([forward, backward]);
                // A template that asks for what it has would be called on every packet.
                let wanted = [0, 1].map(|at: usize| {
                    let wanted = asked[at].saturating_add(self.base[at]).max(prefixes[at].bytes().len() + 1);
                    u32::try_from(wanted).unwrap_or(u32::MAX)
                });
                let closed = [0, 1].map(|at: usize| prefixes[at].is_closed());
                self.reading = Reading::Parsing { template, wanted, closed };
            }
            (Ok(_), None) => self.stop_reading(means.spare),
            (Err(error), _) => {
                means.counters.template_errors += 1;
                self.record.template_error = Some(Box::new(error));
                self.stop_reading(means.spare);
            }
        }
        false
    }

    /// Asks the other templates about what begins at these offsets; whether one of them is sure.
    fn hand_over(&mut self, template: u8, offsets: [usize; 2], ended: bool, means: &mut Means<'_>) -> bool {
        // Of a direction whose bodies were left out there is nothing to hand over.
        let framed = self.prefixes.iter().flat_map(|both| both.iter()).any(|prefix| prefix.framed().is_some());
        if self.record.handed.len() >= means.hand_overs as usize || framed {
            means.counters.hand_overs_refused += 1;
            self.stop_reading(means.spare);
            return false;
        }
        let (fields, marks) = (self.record.fields.clone(), self.record.marks);
        self.record.handed.push(Handed { template, fields, marks, refused: self.record.refused });
        self.base = [0, 1].map(|at: usize| self.base[at].saturating_add(offsets[at]));
        let others = self.willing(means.templates);
        self.reading = Reading::Probing(others & !(1 << template));
        self.probe(others & !(1 << template), ended, means);
        matches!(self.reading, Reading::Parsing { .. })
    }

    fn swap_directions(&mut self) {
        self.low_originates = !self.low_originates;
        self.record.stats.swap(0, 1);
        if let Some(sights) = &mut self.record.sights {
            sights.beginnings.swap(0, 1);
            sights.files.swap(0, 1);
        }
        self.looked.swap(0, 1);
        self.sequence.swap(0, 1);
        self.fin.swap(0, 1);
        self.record.splt.reverse();
        self.base.swap(0, 1);
        if let Some(prefixes) = &mut self.prefixes {
            prefixes.swap(0, 1);
        }
    }

    pub(super) fn stop_reading(&mut self, spare: &mut Spare) {
        self.reading = Reading::Done;
        if let Some(prefixes) = self.prefixes.take() {
            spare.give_pair(prefixes);
        }
    }

    /// Completes its record.
    pub(super) fn into_record(self, end: EndReason, idle_ns: u64, now_ns: u64) -> Box<FlowRecord> {
        let (originator, responder) = self.endpoints();
        let Self { mut record, key, closed_ns, .. } = self;
        record.id = flow_id(&key, record.first_ns);
        (record.originator, record.responder, record.protocol) = (originator, responder, key.protocol);
        record.end = end;
        record.ended_ns = match end {
            EndReason::Idle => record.last_ns.saturating_add(idle_ns),
            EndReason::Active | EndReason::Reused | EndReason::Evicted | EndReason::Early => now_ns,
            EndReason::Finished | EndReason::Reset => closed_ns.unwrap_or(record.last_ns),
            // After all that ended by themselves, whenever those were handed over.
            EndReason::EndOfCapture => record.last_ns.max(now_ns),
        };
        record
    }
}

/// Where a prefix's datagrams end, counted from `base`.
fn datagram_ends<'a>(prefix: &StreamPrefix, base: usize, into: &'a mut [u32; MARKS]) -> &'a [u32] {
    let count = prefix.datagram_ends(into).len();
    let ends = into.get_mut(..count).unwrap_or_default();
    let first = ends.partition_point(|end| *end as usize <= base);
    ends.iter_mut().for_each(|end| *end = end.saturating_sub(base as u32));
    ends.get(first..).unwrap_or_default()
}

/// The first 53 bits of a SHA-256, so that JSON readers keep every digit.
pub(super) fn flow_id(key: &FlowKey, first_ns: u64) -> u64 {
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
pub(super) struct Writing<'a> {
    pub(super) fields: &'a mut FieldStore,
    pub(super) marks: [Option<(Direction, usize)>; Mark::COUNT],
    swap: bool,
    /// What was written before stands.
    resumes: bool,
    /// Directions of which only headers matter from now on.
    frames: [Option<(Direction, Framing)>; 2],
    /// Where the rest begins, if it is handed over.
    handed: Option<[usize; 2]>,
    /// What it made and hands on.
    pub(super) hands: Hands,
    /// Where the bytes come from that it reads, if another template made them.
    pub(super) within: Option<&'a [Vec<Piece>; 2]>,
    /// Values for which there was no room.
    pub(super) dropped: u64,
    /// Values that the template had no right to write.
    pub(super) refused: u32,
}

impl<'a> Writing<'a> {
    pub(super) fn to(fields: &'a mut FieldStore, hands: Hands) -> Self {
        Self {
            fields,
            marks: [None; Mark::COUNT],
            swap: false,
            resumes: false,
            frames: [None; 2],
            handed: None,
            hands,
            within: None,
            dropped: 0,
            refused: 0,
        }
    }
}

impl crate::plugin::SinkTarget for Writing<'_> {
    fn set(&mut self, id: FieldId, value: Value<'_>) {
        self.dropped += u64::from(!self.fields.set(id, value));
    }
    fn mark(&mut self, mark: Mark, direction: Direction, offset: usize) {
        self.marks[mark as usize] = Some((direction, origin(self.within, direction.index(), offset)));
    }
    fn swap_directions(&mut self) {
        self.swap = true;
    }
    fn frames(&mut self, direction: Direction, how: Framing) {
        self.frames[direction.index()] = Some((direction, how));
    }
    fn resume(&mut self) {
        self.resumes = true;
    }
    fn hand_over(&mut self, offsets: [usize; 2]) {
        self.handed = Some(offsets);
    }
    fn hand_bytes(&mut self, contents: &str, made: Made<'_>) {
        self.hands.take(contents, &made, self.within);
    }
    fn refuse(&mut self) {
        self.refused = self.refused.saturating_add(1);
    }
}
