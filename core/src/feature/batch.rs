use crate::context::{ConversationSnapshot, DnsSnapshot, HostSnapshot};
use crate::flow::{Direction, DirectionStats, FlowRecord};
use crate::record::{FieldId, FieldStore, FieldValue, Record, Value};

/// What stands behind a batch: the host's records, or the other side of a library boundary.
pub trait FlowSource {
    /// How many flows.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// A field of one flow.
    fn value(&self, row: usize, id: FieldId) -> Option<Value<'_>>;
    /// All fields of one flow, where they stand on this side of a boundary.
    fn fields(&self, _row: usize) -> Option<&FieldStore> {
        None
    }
    /// Counts of one direction.
    fn direction(&self, row: usize, direction: Direction) -> DirectionStats;
    /// Lengths and times of the first payload packets.
    fn splt(&self, row: usize) -> SpltView<'_>;
    /// Nanoseconds from the first to the last packet, and the responder's port and IP protocol.
    fn shape(&self, row: usize) -> FlowShape;
    /// What was known of the conversation when the flow ended.
    fn conversation(&self, row: usize) -> ConversationSnapshot;
    /// What the originator had asked for when the flow began; nothing where names are not followed.
    fn names(&self, _row: usize) -> NamesView<'_> {
        NamesView::default()
    }
    /// What was known of the originator when the flow ended; nothing where hosts are not followed.
    fn host(&self, _row: usize) -> HostSnapshot {
        HostSnapshot::default()
    }
}

/// What a flow's originator had asked for when the flow began, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NamesView<'a> {
    /// The name that led it to this responder; empty where none did.
    pub name: &'a [u8],
    /// Seconds from the answer to the begin of the flow; NaN without one.
    pub age: f64,
    /// Time to live of the answer in seconds; 0 without one.
    pub ttl: u32,
    /// Addresses in the answer; 0 without one.
    pub answers: u32,
    /// Queries that it had sent before, as far as flows of DNS show them.
    pub queries: u32,
    /// Share of them that were told that there is no such name; NaN without queries.
    pub nxdomain_share: f64,
}

impl Default for NamesView<'_> {
    fn default() -> Self {
        Self { name: &[], age: f64::NAN, ttl: 0, answers: 0, queries: 0, nxdomain_share: f64::NAN }
    }
}

impl<'a> From<&'a DnsSnapshot> for NamesView<'a> {
    fn from(known: &'a DnsSnapshot) -> Self {
        let view = Self { queries: known.queries, nxdomain_share: known.nxdomain_share, ..Self::default() };
        match &known.link {
            Some(link) => Self { name: &link.name, age: link.age, ttl: link.ttl, answers: link.answers, ..view },
            None => view,
        }
    }
}

/// The few facts of a flow that are neither counts nor fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlowShape {
    /// Time of the first packet in nanoseconds since 1970: for differences to other times, never a feature itself.
    pub first_ns: u64,
    /// Nanoseconds from the first packet to the last.
    pub duration_ns: u64,
    /// The responder's port.
    pub responder_port: u16,
    /// IP protocol number.
    pub protocol: u8,
}

/// Lengths and times of a flow's first payload packets, borrowed.
#[derive(Debug, Clone, Copy, Default)]
pub struct SpltView<'a> {
    /// Payload lengths in bytes; positive forward, negative backward.
    pub sizes: &'a [i32],
    /// Microseconds since the flow's first packet.
    pub times_us: &'a [u32],
}

/// A batch of finished flows, as an extractor sees it.
#[derive(Clone, Copy)]
pub struct FlowBatch<'a> {
    source: &'a dyn FlowSource,
}

impl<'a> FlowBatch<'a> {
    /// A batch over a source.
    pub fn new(source: &'a dyn FlowSource) -> Self {
        Self { source }
    }

    /// How many flows.
    pub fn len(&self) -> usize {
        self.source.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.source.is_empty()
    }

    /// The flows in order.
    pub fn iter(&self) -> impl Iterator<Item = FlowView<'a>> + use<'a> {
        let source = self.source;
        (0..source.len()).map(move |row| FlowView { source, row })
    }

    pub(crate) fn source(&self) -> &'a dyn FlowSource {
        self.source
    }
}

/// One finished flow, as an extractor sees it: no addresses, and no port of the originator.
#[derive(Clone, Copy)]
pub struct FlowView<'a> {
    source: &'a dyn FlowSource,
    row: usize,
}

impl<'a> FlowView<'a> {
    /// Counts of one direction.
    pub fn direction(&self, direction: Direction) -> DirectionStats {
        self.source.direction(self.row, direction)
    }

    /// Lengths and times of the first payload packets.
    pub fn splt(&self) -> SpltView<'a> {
        self.source.splt(self.row)
    }

    /// Seconds from the first packet to the last.
    pub fn duration(&self) -> f64 {
        self.source.shape(self.row).duration_ns as f64 / 1e9
    }

    /// Seconds since 1970 of the first packet: only for the distance to other times, such as a certificate's.
    pub fn began(&self) -> u64 {
        self.source.shape(self.row).first_ns / 1_000_000_000
    }

    /// The responder's port.
    pub fn responder_port(&self) -> u16 {
        self.source.shape(self.row).responder_port
    }

    /// IP protocol number.
    pub fn protocol(&self) -> u8 {
        self.source.shape(self.row).protocol
    }

    /// What was known of the conversation when the flow ended.
    pub fn conversation(&self) -> ConversationSnapshot {
        self.source.conversation(self.row)
    }

    /// What the originator had asked for when the flow began.
    pub fn names(&self) -> NamesView<'a> {
        self.source.names(self.row)
    }

    /// What was known of the originator when the flow ended.
    pub fn host(&self) -> HostSnapshot {
        self.source.host(self.row)
    }

    /// A field by its id.
    pub fn value(&self, id: FieldId) -> Option<Value<'a>> {
        self.source.value(self.row, id)
    }

    /// A field as a number, text or list, where the pipeline has it, this flow has it, and it is of that kind: `id` is
    /// what [`FieldTable::id`](crate::record::FieldTable::id) gave when the extractor was wired.
    pub fn field<T: FieldValue<'a>>(&self, id: Option<FieldId>) -> Option<T> {
        T::from_value(self.value(id?)?)
    }

    /// A typed record, such as the [`ClientHello`](crate::record::ClientHello).
    pub fn record<R: Record<'a>>(&self) -> Option<R> {
        match self.source.fields(self.row) {
            Some(fields) => fields.record(),
            None => R::read(|id| self.value(id)),
        }
    }
}

/// The host's own records: a batch is any choice of them, in order.
impl FlowSource for &[&FlowRecord] {
    fn len(&self) -> usize {
        <[&FlowRecord]>::len(self)
    }
    fn value(&self, row: usize, id: FieldId) -> Option<Value<'_>> {
        self.get(row)?.fields.get(id)
    }
    fn fields(&self, row: usize) -> Option<&FieldStore> {
        Some(&self.get(row)?.fields)
    }
    fn direction(&self, row: usize, direction: Direction) -> DirectionStats {
        self.get(row).map(|flow| flow.stats[direction.index()]).unwrap_or_default()
    }
    fn splt(&self, row: usize) -> SpltView<'_> {
        self.get(row)
            .map(|flow| SpltView { sizes: &flow.splt.sizes, times_us: &flow.splt.times_us })
            .unwrap_or_default()
    }
    fn shape(&self, row: usize) -> FlowShape {
        self.get(row).map(|flow| flow.shape()).unwrap_or_default()
    }
    fn conversation(&self, row: usize) -> ConversationSnapshot {
        self.get(row).map(|flow| flow.conversation).unwrap_or_default()
    }
    fn names(&self, row: usize) -> NamesView<'_> {
        self.get(row).map(|flow| NamesView::from(&flow.names)).unwrap_or_default()
    }
    fn host(&self, row: usize) -> HostSnapshot {
        self.get(row).map(|flow| flow.host).unwrap_or_default()
    }
}
