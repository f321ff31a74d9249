use super::places::Places;
use crate::source::{Block, Damage, Source, SourceError};
use foldhash::fast::FixedState;
use std::collections::HashMap;
use veilwatch_core::flow::FlowKey;
use veilwatch_core::packet::{LinkType, Outer, Packet};

/// Where the packets of a capture lie.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Index {
    pub(super) places: Places,
    pub(super) flows: Vec<IndexedFlow>,
    /// What ended it before the capture's end.
    pub damage: Option<Damage>,
    /// Packets that are left out, because there are more than [`Index::MOST`].
    pub left_out: u64,
}

/// Where one packet lies, and what its record says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Packet time in nanoseconds since 1970.
    pub time_ns: u64,
    /// Where its first byte lies in the file.
    pub offset: u64,
    /// Bytes that are there.
    pub len: u32,
    /// Bytes it had on the wire.
    pub wire_len: u32,
    /// Which flow it is of; [`Place::NO_FLOW`] where it is of none.
    pub flow: u32,
    /// What it begins with.
    pub link: LinkType,
}

impl Place {
    /// The number of no flow.
    pub const NO_FLOW: u32 = u32::MAX;
}

/// A flow as packets show it at first sight: one as long as its five-tuple is.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexedFlow {
    /// Who talks with whom.
    pub key: FlowKey,
    /// Whether the first packet went from the key's lower endpoint to the higher.
    pub upward: bool,
    /// Number of its first packet.
    pub first: u32,
    /// Packets, and bytes of these on the wire: those in the direction of the first one, and the others.
    pub packets: [u64; 2],
    /// The bytes.
    pub bytes: [u64; 2],
    /// Times of its first and last packet.
    pub first_ns: u64,
    /// The latter.
    pub last_ns: u64,
}

impl Index {
    /// Packets of one capture that are indexed; an index of so many takes six gigabytes.
    pub const MOST: usize = 1 << 28;
    /// Packets of a flow that later ones are understood by.
    pub const OPENING: usize = 48;

    /// Packets that are known so far.
    pub fn len(&self) -> u64 {
        self.places.len() as u64
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.places.len() == 0
    }

    /// Where a packet lies; the first is number 1.
    pub fn place(&self, number: u64) -> Option<Place> {
        self.places.get(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// Packets from a number on.
    pub fn from(&self, number: u64) -> impl Iterator<Item = (u64, Place)> {
        let skipped = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
        self.places.from(skipped).zip(number.max(1)..).map(|(place, number)| (number, place))
    }

    /// Nothing more comes: room that was kept for more is given back.
    pub fn end(&mut self, damage: Option<Damage>) {
        self.damage = damage;
        self.flows.shrink_to_fit();
    }

    /// All flows so far, by their numbers.
    pub fn flows(&self) -> &[IndexedFlow] {
        &self.flows
    }

    /// The flow of a packet.
    pub fn flow_of(&self, number: u64) -> Option<(u32, &IndexedFlow)> {
        let flow = self.place(number)?.flow;
        Some((flow, self.flows.get(flow as usize)?))
    }

    /// Numbers of a flow's packets, in order.
    pub fn packets_of(&self, flow: u32) -> impl Iterator<Item = u64> {
        // Nothing of it comes before its first packet.
        let skipped = self.flows.get(flow as usize).map_or(usize::MAX, |flow| flow.first.saturating_sub(1) as usize);
        self.places.of_flow(flow, skipped).map(|at| at as u64 + 1)
    }

    /// Numbers of the packets before one by which it is understood: the first ones of its flow.
    pub fn opening_before(&self, number: u64) -> impl Iterator<Item = u64> {
        let flow = self.place(number).map_or(Place::NO_FLOW, |place| place.flow);
        self.packets_of(flow).take(Self::OPENING).take_while(move |earlier| *earlier < number)
    }
}

/// Makes an index of a capture file, a block of packets at a time.
pub struct Indexer {
    source: Source,
    numbering: Numbering,
    recycled: Option<Block>,
}

/// Gives flows their numbers.
pub struct Numbering {
    nesting: u8,
    numbers: HashMap<FlowKey, u32, FixedState>,
}

impl Indexer {
    /// Begins one of a capture.
    pub fn new(source: Source, nesting: u8, seed: u64) -> Self {
        Self { source, numbering: Numbering::new(nesting, seed), recycled: None }
    }

    /// Bytes of the file that were read.
    pub fn read(&self) -> u64 {
        self.source.status().file_bytes
    }

    /// Reads the next packets; nothing at the capture's end.
    pub fn more(&mut self) -> Result<Option<Indexed>, SourceError> {
        let Some(block) = self.source.next_block(self.recycled.take())? else { return Ok(None) };
        let indexed = self.numbering.indexed(&block, block.offsets());
        self.recycled = Some(block);
        Ok(Some(indexed))
    }

    /// What ended it before the capture's end.
    pub fn damage(&self) -> Option<Damage> {
        self.source.status().damage.clone()
    }
}

impl Numbering {
    /// Numbers from 0 on. `seed` guards the table against chosen addresses.
    pub fn new(nesting: u8, seed: u64) -> Self {
        Self { nesting, numbers: HashMap::with_hasher(FixedState::with_seed(seed)) }
    }

    /// The packets of a block, whose bytes lie at `offsets`.
    pub fn indexed(&mut self, block: &Block, offsets: impl Iterator<Item = u64>) -> Indexed {
        Indexed { places: block.packets().zip(offsets).map(|(packet, offset)| self.place(&packet, offset)).collect() }
    }

    fn place(&mut self, packet: &Packet<'_>, offset: u64) -> (Place, Option<(FlowKey, bool)>) {
        let key = Outer::of(packet, self.nesting).decode().ok().map(|decoded| FlowKey::of(&decoded));
        let flow = match key {
            Some((key, _)) => {
                let next = u32::try_from(self.numbers.len()).unwrap_or(Place::NO_FLOW);
                *self.numbers.entry(key).or_insert(next)
            }
            None => Place::NO_FLOW,
        };
        let Packet { time_ns, link, wire_len, data, .. } = *packet;
        (Place { time_ns, offset, len: data.len() as u32, wire_len, flow, link }, key)
    }
}

/// Packets that are about to join an index.
pub struct Indexed {
    places: Vec<(Place, Option<(FlowKey, bool)>)>,
}

impl Index {
    /// Takes packets in, in the order they were read.
    pub fn take(&mut self, indexed: Indexed) {
        for (place, key) in indexed.places {
            if self.places.len() >= Self::MOST {
                self.left_out += 1;
                continue;
            }
            self.places.push(place);
            let number = self.places.len() as u32;
            let Some((key, upward)) = key else { continue };
            if place.flow as usize == self.flows.len() {
                self.flows.push(IndexedFlow {
                    key,
                    upward,
                    first: number,
                    packets: [0; 2],
                    bytes: [0; 2],
                    first_ns: place.time_ns,
                    last_ns: place.time_ns,
                });
            }
            let Some(flow) = self.flows.get_mut(place.flow as usize) else { continue };
            let back = usize::from(upward != flow.upward);
            flow.packets[back] += 1;
            flow.bytes[back] += u64::from(place.wire_len);
            flow.last_ns = flow.last_ns.max(place.time_ns);
        }
    }
}
