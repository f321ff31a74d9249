use super::payload::{PacketWarning, Told};
use super::streams::{Bitten, Spot, Streams};
use crate::engine::Pipeline;
use std::sync::Arc;
use veilwatch_core::packet::dissect::{
    Address, Checksum, Datum, Dissected, Names, PacketTree, Surroundings, dissect_for,
};
use veilwatch_core::packet::{Decoded, Outer, Packet};
use veilwatch_core::tables::{Tables, Transport};

/// One packet as people see it.
#[derive(Debug, Clone)]
pub struct PacketView<'a> {
    /// The packet.
    pub packet: Packet<'a>,
    /// Nanoseconds since the first packet of the capture; a broken clock may go back.
    pub since_ns: i128,
    /// Who sent it.
    pub src: Option<Address>,
    /// For whom it is.
    pub dst: Option<Address>,
    /// Ports, where the transport has some.
    pub ports: Option<(u16, u16)>,
    /// The innermost layer that is no template's, such as `TCP` or `ARP`.
    pub layer: String,
    /// The template that reads its payload, by the id of its instance.
    pub template: Option<String>,
    /// What the responder's port usually stands for; where that has no name, the other one.
    pub service: Option<String>,
    /// What it says, on one line.
    pub info: String,
    /// Every checksum that was looked at.
    pub checksums: Vec<Checksum>,
    /// The type of file that begins in it.
    pub file_type: Option<String>,
    /// Warnings that fit it.
    pub warnings: Vec<PacketWarning>,
    /// All of it.
    pub tree: PacketTree,
}

impl<'a> PacketView<'a> {
    /// One at which nobody has looked.
    pub(crate) fn empty(packet: &Packet<'a>, since_ns: i128) -> Self {
        Self {
            packet: *packet,
            since_ns,
            src: None,
            dst: None,
            ports: None,
            layer: String::new(),
            template: None,
            service: None,
            info: String::new(),
            checksums: Vec::new(),
            file_type: None,
            warnings: Vec::new(),
            tree: PacketTree::default(),
        }
    }

    /// What it is in a word: the template that reads it, else its innermost layer.
    pub fn protocol(&self) -> &str {
        self.template.as_deref().unwrap_or(&self.layer)
    }
}

/// What of a packet somebody has a use for: where few questions are asked of many packets, most of them are answered by
/// little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Its headers, and what is made of them: ends, ports, checksums, the line.
    pub headers: bool,
    /// What templates make of its payload.
    pub payload: Payloads,
    /// What tables say of its payload: warnings, type of file.
    pub tables: bool,
}

/// Which payloads are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Payloads {
    /// None.
    None,
    /// Those in which a template may find something to draw, but for its name.
    Told,
    /// All.
    All,
}

impl Extent {
    /// Everything.
    pub const ALL: Self = Self { headers: true, payload: Payloads::All, tables: true };
    /// What its record says, and nothing else.
    pub const RECORD: Self = Self { headers: false, payload: Payloads::None, tables: false };

    /// What either has a use for.
    pub fn and(self, other: Self) -> Self {
        Self {
            headers: self.headers || other.headers,
            payload: self.payload.max(other.payload),
            tables: self.tables || other.tables,
        }
    }
}

/// A packet that was taken in.
pub struct Taken<'a> {
    decoded: Option<Decoded<'a>>,
    spot: Option<Spot>,
    begin_ns: u64,
}

impl Taken<'_> {
    /// Whether a template may find something to draw in it.
    fn may_tell(&self) -> bool {
        let Some((decoded, spot)) = self.decoded.as_ref().zip(self.spot.as_ref()) else { return false };
        let goes_on = spot.template.is_some() && decoded.tcp.is_some() && spot.offset.is_none();
        !decoded.payload.is_empty() && !goes_on
    }
}

/// Makes views of packets, and remembers the beginnings of the flows that it has seen.
pub struct Browser<'p> {
    pub(super) pipeline: &'p Pipeline,
    pub(super) streams: Streams,
    begin_ns: Option<u64>,
}

impl<'p> Browser<'p> {
    /// A browser with a pipeline's templates.
    pub fn new(pipeline: &'p Pipeline) -> Self {
        Self { pipeline, streams: Streams::new(&pipeline.config().flows), begin_ns: None }
    }

    /// How often its bounds bit.
    pub fn bitten(&self) -> Bitten {
        self.streams.bitten
    }

    pub(super) fn tables(&self) -> &Tables {
        self.pipeline.tables()
    }

    /// Notes when the capture begins, where that is with a packet that does not count.
    pub fn begin(&mut self, time_ns: u64) {
        self.begin_ns.get_or_insert(time_ns);
    }

    /// Takes a packet in that nobody asked for, so that later ones of its flow are understood.
    pub fn pass(&mut self, packet: &Packet<'_>) {
        self.begin(packet.time_ns);
        if let Some(decoded) = self.decode(packet) {
            self.streams.take(packet.number, &decoded, self.pipeline.templates(), false);
        }
    }

    /// Takes a packet in, and shows it.
    pub fn view<'a>(&mut self, packet: &Packet<'a>) -> PacketView<'a> {
        let taken = self.take(packet);
        self.show(packet, &taken, Extent::ALL, None)
    }

    /// Takes a packet in, so that it can be shown.
    pub fn take<'a>(&mut self, packet: &Packet<'a>) -> Taken<'a> {
        let begin_ns = *self.begin_ns.get_or_insert(packet.time_ns);
        let decoded = self.decode(packet);
        let spot =
            decoded.as_ref().map(|decoded| self.streams.take(packet.number, decoded, self.pipeline.templates(), true));
        Taken { decoded, spot, begin_ns }
    }

    /// Shows what was asked for of a packet that was taken in last; the rest of the view is empty. With `names` only nodes
    /// of these fields have text.
    pub fn show<'a>(
        &mut self,
        packet: &Packet<'a>,
        taken: &Taken<'a>,
        extent: Extent,
        names: Option<&Arc<Names>>,
    ) -> PacketView<'a> {
        let Taken { decoded, spot, begin_ns } = taken;
        let (begin_ns, since_ns) = (*begin_ns, i128::from(packet.time_ns) - i128::from(*begin_ns));
        let payload = extent.payload == Payloads::All || extent.payload == Payloads::Told && taken.may_tell();
        if !(extent.headers || extent.tables || payload) {
            return PacketView::empty(packet, since_ns);
        }
        let [first_seq, first_ack] = spot.as_ref().map_or([None; 2], |spot| spot.first);
        let around = Surroundings { tables: self.pipeline.tables(), begin_ns, first_seq, first_ack };
        let Dissected { mut drawing, outline } = dissect_for(packet, &around, names);
        let transport = Transport::of_protocol(outline.transport.unwrap_or_default());
        let port = outline.ports.map_or(0, |ports| self.responder(spot.as_ref(), transport, ports));
        let mut told = Told::default();
        if let Some(carried) = outline.payload.as_ref().filter(|_| payload || extent.tables) {
            let flow = spot.as_ref().zip(decoded.as_ref());
            told = self.payload(
                carried,
                flow,
                port,
                Extent { payload: if payload { Payloads::All } else { Payloads::None }, ..extent },
                &mut drawing,
            );
        }
        let service = outline.ports.and_then(|(src, dst)| {
            let other = if port == dst { src } else { dst };
            let name = |port| self.tables().service_name(transport, port);
            name(port).or_else(|| name(other)).map(str::to_owned)
        });
        if let Some(service) = &service {
            drawing.leaf("service", "Usual service", service, Datum::Words, None);
        }
        let info = match (outline.ports, told.words.is_empty()) {
            (Some((src, dst)), false) => format!("{src} → {dst} {}", told.words),
            _ => outline.info,
        };
        PacketView {
            packet: *packet,
            since_ns,
            src: outline.src,
            dst: outline.dst,
            ports: outline.ports,
            layer: outline.protocol,
            template: told.template,
            service,
            info,
            checksums: outline.checksums,
            file_type: told.file_type,
            warnings: told.warnings,
            tree: drawing.finish(),
        }
    }

    /// A packet as the engine reads it, but for one in parts.
    fn decode<'a>(&self, packet: &Packet<'a>) -> Option<Decoded<'a>> {
        Outer::of(packet, self.pipeline.config().flows.nesting).decode().ok()
    }

    /// The responder's port. Where nobody saw who opened the flow, it is the one that has a service of its own, and not
    /// only as one of a range; of two the lower one.
    fn responder(&self, spot: Option<&Spot>, transport: Transport, (src, dst): (u16, u16)) -> u16 {
        let (guess, opened) = spot.map_or((dst, false), |spot| (spot.responder, spot.opened));
        let other = if guess == dst { src } else { dst };
        let own = |port| self.tables().service(transport, port).is_some_and(|entry| entry.first == entry.last);
        if opened || !own(other) || (own(guess) && guess < other) { guess } else { other }
    }
}
