use std::collections::{HashMap, VecDeque};
use veilwatch_core::flow::{Direction, FlowKey, FlowLimits, Templates};
use veilwatch_core::packet::{Decoded, Tcp};
use veilwatch_core::plugin::{Carrier, Probe, StreamView};
use veilwatch_core::stream::{PrefixLimits, Spare, StreamPrefix};

/// Flows whose beginnings are kept; past it the one that began first is forgotten.
const FLOWS: usize = 8192;
/// Bytes that all beginnings may hold together; past it no more are kept.
const BYTES: usize = 64 << 20;
/// Times that one flow's beginning is drawn: a flow of one byte a packet would have all of it drawn for each.
const DRAWINGS: u32 = 256;
/// Datagrams of a flow whose ends are known.
const DATAGRAMS: usize = 64;

/// Where a packet stands in its flow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    key: FlowKey,
    pub(super) direction: Direction,
    /// Sequence number of the first byte of the packet's sender, and of the other side.
    pub(super) first: [Option<u32>; 2],
    /// The responder's port, as far as the first packet tells.
    pub(super) responder: u16,
    /// Whether a SYN told who opened the flow.
    pub(super) opened: bool,
    /// The flow's template, by its place in the pipeline.
    pub(super) template: Option<usize>,
    /// Bytes of its direction before the payload, where these and the payload are there.
    pub(super) offset: Option<usize>,
    /// Whether the flow's beginning may be drawn for it.
    pub(super) draws: bool,
}

/// Beginnings of flows, as far as packets were seen. Parts of packets are not put together, and a flow is one as long as
/// its key is: no time ends it, but a new SYN does.
pub(super) struct Streams {
    limits: PrefixLimits,
    flows: HashMap<FlowKey, Seen>,
    /// Keys in the order in which their flows began.
    order: VecDeque<FlowKey>,
    /// Bytes that beginnings hold.
    held: usize,
    spare: Spare,
    pub(super) bitten: Bitten,
}

/// How often each bound bit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bitten {
    /// Flows that were forgotten because there were too many.
    pub flows_forgotten: u64,
    /// Packets whose payload was not kept because beginnings held too many bytes.
    pub without_room: u64,
    /// Packets that were shown as a continuation because their flow's beginning had been drawn too often.
    pub not_drawn: u64,
}

impl Bitten {
    /// What a person must know of it, a line each.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        [
            (
                self.flows_forgotten,
                format!("more than {FLOWS} flows at once"),
                "flows, the oldest ones, were forgotten",
            ),
            (
                self.without_room,
                format!("beginnings of flows hold {BYTES} bytes"),
                "packets are not kept for later ones",
            ),
            (
                self.not_drawn,
                format!("more than {DRAWINGS} packets at the beginning of a flow"),
                "packets are named alone",
            ),
        ]
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, limit, words)| format!("limit reached: {limit}; {count} {words}"))
    }
}

/// One flow.
#[derive(Default)]
struct Seen {
    low_originates: bool,
    /// Sequence number of the first byte that was seen of each direction; of a SYN that of itself.
    first: [Option<u32>; 2],
    /// Sequence number of the originator's SYN.
    syn: Option<u32>,
    prefixes: [StreamPrefix; 2],
    /// Where datagrams end.
    ends: [Vec<u32>; 2],
    /// Templates that do not know it, one bit each.
    refused: u64,
    template: Option<usize>,
    drawings: u32,
}

impl Seen {
    /// A flow of which this is the first packet; the answer to a SYN comes from the responder.
    fn new(upward: bool, packet: &Decoded<'_>) -> Self {
        let answers = packet.tcp.is_some_and(|tcp| tcp.has(Tcp::SYN | Tcp::ACK));
        Self { low_originates: upward != answers, ..Self::default() }
    }

    /// Asks the templates that may still know it about a TCP flow.
    fn recognise(&mut self, key: &FlowKey, templates: &Templates) {
        if self.template.is_some() || self.prefixes.iter().all(|prefix| prefix.bytes().is_empty()) {
            return;
        }
        let view = self.view(key);
        let (found, refused) = ask(&view, self.refused, templates);
        (self.template, self.refused) = (found, refused);
    }

    /// Takes a datagram in, and says where it stands among those that were kept. Before a template knows the flow, each
    /// is looked at by itself, and none is kept.
    fn datagram(
        &mut self,
        at: usize,
        number: u64,
        packet: &Decoded<'_>,
        templates: &Templates,
        limits: PrefixLimits,
        spare: &mut Spare,
    ) -> Option<usize> {
        if self.template.is_none() {
            let direction = if at == 0 { Direction::Forward } else { Direction::Backward };
            self.template = ask(&alone(direction, &[], packet), 0, templates).0;
        }
        self.template?;
        let before = self.prefixes[at].bytes().len();
        // One that does not fit is not kept in part.
        let end = before + packet.payload.len();
        if end > limits.bytes as usize || self.ends[at].len() >= DATAGRAMS {
            return None;
        }
        self.prefixes[at].append_datagram(packet.payload, number, limits, spare);
        self.ends[at].push(u32::try_from(end).ok()?);
        Some(before)
    }

    fn held(&self) -> usize {
        self.prefixes.iter().map(StreamPrefix::footprint).sum()
    }

    fn view(&self, key: &FlowKey) -> StreamView<'_> {
        let (originator, responder) = if self.low_originates { (key.low, key.high) } else { (key.high, key.low) };
        let [forward, backward] = &self.prefixes;
        StreamView {
            forward: forward.bytes(),
            backward: backward.bytes(),
            forward_ended: forward.is_closed(),
            backward_ended: backward.is_closed(),
            datagram_ends: [&self.ends[0], &self.ends[1]],
            carrier: carrier(key.protocol),
            originator_port: originator.port,
            responder_port: responder.port,
            ..StreamView::default()
        }
    }
}

fn carrier(protocol: u8) -> Carrier {
    if protocol == 17 { Carrier::Udp } else { Carrier::Tcp }
}

impl Streams {
    pub(super) fn new(limits: &FlowLimits) -> Self {
        let limits = PrefixLimits { bytes: limits.prefix_bytes, waiting: limits.prefix_waiting };
        Self {
            limits,
            flows: HashMap::new(),
            order: VecDeque::new(),
            held: 0,
            spare: Spare::default(),
            bitten: Bitten::default(),
        }
    }

    /// Takes a packet in, and asks the templates where it brings something new of a flow that is nobody's yet. One that
    /// `is_shown` counts among those for which the flow's beginning is drawn.
    pub(super) fn take(&mut self, number: u64, packet: &Decoded<'_>, templates: &Templates, is_shown: bool) -> Spot {
        let (key, upward) = FlowKey::of(packet);
        let room = BYTES.saturating_sub(self.held);
        if !self.flows.contains_key(&key) {
            while self.flows.len() >= FLOWS
                && let Some(oldest) = self.order.pop_front()
            {
                let gone = self.flows.remove(&oldest);
                self.held = self.held.saturating_sub(gone.map_or(0, |seen| seen.held()));
                self.bitten.flows_forgotten += 1;
            }
            self.order.push_back(key);
        }
        let seen = self.flows.entry(key).or_insert_with(|| Seen::new(upward, packet));
        let before = seen.held();
        let syn = packet.tcp.filter(|tcp| tcp.has(Tcp::SYN));
        let opens = syn.filter(|tcp| !tcp.has(Tcp::ACK)).map(|tcp| tcp.seq);
        // Another SYN than the one that opened it: the ports are used again.
        if opens.is_some() && seen.syn.is_some() && seen.syn != opens {
            *seen = Seen::new(upward, packet);
        }
        let direction = if upward == seen.low_originates { Direction::Forward } else { Direction::Backward };
        let at = direction.index();
        if let Some(tcp) = packet.tcp {
            seen.first[at].get_or_insert(tcp.seq);
            seen.syn = seen.syn.or(opens);
            if syn.is_some() {
                seen.prefixes[at].anchor(tcp.seq);
            }
        }
        let fits = room >= packet.payload.len() && !packet.payload.is_empty();
        self.bitten.without_room += u64::from(room < packet.payload.len());
        let offset = match packet.tcp {
            _ if !fits => None,
            Some(tcp) => {
                let seq = tcp.seq.wrapping_add(u32::from(syn.is_some()));
                let cut = packet.payload.len() < packet.payload_len as usize;
                seen.prefixes[at].push(seq, packet.payload, cut, number, self.limits, &mut self.spare);
                seen.recognise(&key, templates);
                let offset = seen.prefixes[at].offset_of(seq);
                offset.filter(|offset| offset + packet.payload.len() <= seen.prefixes[at].bytes().len())
            }
            None => seen.datagram(at, number, packet, templates, self.limits, &mut self.spare),
        };
        self.held = (self.held + seen.held()).saturating_sub(before);
        let is_drawn = is_shown && seen.template.is_some() && offset.is_some();
        let draws = is_drawn && seen.drawings < DRAWINGS;
        seen.drawings += u32::from(draws);
        self.bitten.not_drawn += u64::from(is_drawn && !draws);
        let responder = if seen.low_originates { key.high } else { key.low };
        let first = [seen.first[at], seen.first[direction.reverse().index()]];
        Spot {
            key,
            direction,
            first,
            responder: responder.port,
            opened: seen.syn.is_some(),
            template: seen.template,
            offset,
            draws,
        }
    }

    /// Both beginnings of a packet's flow as they are now, where there is something of it to draw.
    pub(super) fn view(&self, spot: &Spot) -> Option<StreamView<'_>> {
        let seen = self.flows.get(&spot.key).filter(|_| spot.draws)?;
        Some(seen.view(&spot.key))
    }
}

/// The payload of a packet that travels in a direction, as if it were all there is of its flow.
pub(super) fn alone<'a>(direction: Direction, ends: &'a [u32], packet: &Decoded<'a>) -> StreamView<'a> {
    let carrier = carrier(packet.protocol);
    match direction {
        Direction::Forward => StreamView {
            forward: packet.payload,
            datagram_ends: [ends, &[]],
            carrier,
            originator_port: packet.src_port,
            responder_port: packet.dst_port,
            ..StreamView::default()
        },
        Direction::Backward => StreamView {
            backward: packet.payload,
            datagram_ends: [&[], ends],
            carrier,
            originator_port: packet.dst_port,
            responder_port: packet.src_port,
            ..StreamView::default()
        },
    }
}

/// The first template that is certain, and those that have said no by now or need not be asked, one bit each.
pub(super) fn ask(view: &StreamView<'_>, mut refused: u64, templates: &Templates) -> (Option<usize>, u64) {
    refused |= !templates.asked(view.carrier, view.forward, view.backward);
    for (at, template) in templates.among(!refused) {
        match template.try_probe(view) {
            Ok(Probe::Certain) => return (Some(at.into()), refused),
            Ok(Probe::Unsure) => {}
            // One that fails is not asked again.
            Ok(Probe::No) | Err(_) => refused |= 1 << at,
        }
    }
    (None, refused)
}
