//! Plain data as it crosses the boundary, and the objects behind the traits.

use crate::context::ConversationSnapshot;
use crate::feature::{Column, Evidence, FlowShape};
use crate::flow::{Direction, DirectionStats, Moments};
use crate::plugin::dissect::ByteRange;
use crate::plugin::{FirstBytes, Manifest, Openings, Piece, PluginError, PluginErrorKind, PluginKind, Progress};
use crate::record::{FieldKind, FieldSpec, Value};
use crate::stream::{Framed, Framing};
use abi_stable::std_types::{RBox, ROption, RResult, RSlice, RSliceMut, RStr, RString, RVec};
use abi_stable::{StableAbi, sabi_trait};

/// [`Manifest`].
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct RawManifest {
    pub kind: u8,
    pub name: RString,
    pub version: RString,
    pub summary: RString,
}

impl From<&Manifest> for RawManifest {
    fn from(manifest: &Manifest) -> Self {
        Self {
            kind: manifest.kind as u8,
            name: manifest.name.as_str().into(),
            version: manifest.version.as_str().into(),
            summary: manifest.summary.as_str().into(),
        }
    }
}

impl RawManifest {
    /// Back to a manifest; `None` for a kind of a later contract.
    pub fn read(&self) -> Option<Manifest> {
        Some(Manifest {
            kind: PluginKind::from_number(self.kind)?,
            name: self.name.to_string(),
            version: self.version.to_string(),
            summary: self.summary.to_string(),
        })
    }
}

/// [`PluginError`].
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct RawError {
    pub kind: u8,
    pub message: RString,
}

impl From<PluginError> for RawError {
    fn from(error: PluginError) -> Self {
        Self { kind: error.kind as u8, message: error.message.into() }
    }
}

impl From<RawError> for PluginError {
    fn from(error: RawError) -> Self {
        Self { kind: PluginErrorKind::from_number(error.kind), message: error.message.into_string() }
    }
}

/// [`FieldSpec`] with the id it has in the pipeline; the id means nothing in a declaration.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct RawField {
    pub id: u16,
    pub kind: u8,
    pub name: RString,
    pub words: RString,
}

impl RawField {
    pub fn new(id: u16, spec: &FieldSpec) -> Self {
        Self { id, kind: spec.kind as u8, name: spec.name.as_ref().into(), words: spec.words.as_ref().into() }
    }

    /// Back to a declaration; `None` for a kind of a later contract.
    pub fn read(&self) -> Option<FieldSpec> {
        Some(FieldSpec {
            name: self.name.to_string().into(),
            kind: FieldKind::from_number(self.kind)?,
            words: self.words.to_string().into(),
        })
    }
}

/// [`Column`].
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct RawColumn {
    pub name: RString,
    pub unit: RString,
    pub words: RString,
    pub evidence: u8,
}

impl From<&Column> for RawColumn {
    fn from(column: &Column) -> Self {
        Self {
            name: column.name.as_ref().into(),
            unit: column.unit.as_ref().into(),
            words: column.words.as_ref().into(),
            evidence: column.evidence as u8,
        }
    }
}

impl From<&RawColumn> for Column {
    fn from(column: &RawColumn) -> Self {
        Self::new(
            column.name.to_string(),
            column.unit.to_string(),
            column.words.to_string(),
            Evidence::from_number(column.evidence).unwrap_or(Evidence::Flow),
        )
    }
}

/// [`Value`], or that there is none.
#[repr(u8)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub enum RawValue<'a> {
    None,
    U64(u64),
    F64(f64),
    Bytes(RSlice<'a, u8>),
    U16List(RSlice<'a, u16>),
}

impl<'a> From<Option<Value<'a>>> for RawValue<'a> {
    fn from(value: Option<Value<'a>>) -> Self {
        match value {
            None => Self::None,
            Some(Value::U64(number)) => Self::U64(number),
            Some(Value::F64(number)) => Self::F64(number),
            Some(Value::Bytes(bytes)) => Self::Bytes(bytes.into()),
            Some(Value::U16List(list)) => Self::U16List(list.into()),
        }
    }
}

impl<'a> From<RawValue<'a>> for Option<Value<'a>> {
    fn from(value: RawValue<'a>) -> Self {
        Some(match value {
            RawValue::None => return None,
            RawValue::U64(number) => Value::U64(number),
            RawValue::F64(number) => Value::F64(number),
            RawValue::Bytes(bytes) => Value::Bytes(bytes.as_slice()),
            RawValue::U16List(list) => Value::U16List(list.as_slice()),
        })
    }
}

/// [`crate::plugin::StreamView`].
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct RawStream<'a> {
    pub forward: RSlice<'a, u8>,
    pub backward: RSlice<'a, u8>,
    pub forward_ended: bool,
    pub backward_ended: bool,
    pub protocol: u8,
    pub originator_port: u16,
    pub responder_port: u16,
}

/// [`crate::plugin::Progress`]: whether it is done, else the bytes wanted.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct RawProgress {
    pub done: bool,
    pub forward: usize,
    pub backward: usize,
}

impl From<Progress> for RawProgress {
    fn from(progress: Progress) -> Self {
        match progress {
            Progress::Done => Self { done: true, forward: 0, backward: 0 },
            Progress::More { forward, backward } => Self { done: false, forward, backward },
        }
    }
}

impl From<RawProgress> for Progress {
    fn from(RawProgress { done, forward, backward }: RawProgress) -> Self {
        if done { Self::Done } else { Self::More { forward, backward } }
    }
}

/// Where a foreign template writes to.
#[sabi_trait]
pub trait RawSink {
    fn set(&mut self, id: u16, value: RawValue<'_>);
    fn mark(&mut self, mark: u8, backward: bool, offset: usize);
    #[sabi(last_prefix_field)]
    fn swap_directions(&mut self);
    /// Since 1.1.
    fn hand_over(&mut self, _forward: usize, _backward: usize) {}
    /// Since 1.1.
    fn frames(&mut self, _backward: bool, _how: RawFraming) {}
    /// Since 1.1.
    fn resume(&mut self) {}
    /// What is left out of a direction, since 1.1: it has no place in [`RawStream`], whose layout is that of 1.0.
    fn framed(&self, _backward: bool) -> RawFramed {
        RawFramed { there: false, at: 0, missing: 0 }
    }
    /// Where a direction's datagrams end, since 1.2.
    fn datagram_ends(&self, _backward: bool) -> RSlice<'_, u32> {
        RSlice::EMPTY
    }
    /// Since 1.2.
    fn hand_bytes(&mut self, _contents: RStr<'_>, _forward: RawMade<'_>, _backward: RawMade<'_>) {}
}

/// [`FirstBytes`]; since 1.2.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct RawFirstBytes {
    pub bits: [u64; 4],
    pub silence: bool,
}

/// [`Openings`]; since 1.2.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct RawOpenings {
    pub forward: RawFirstBytes,
    pub backward: RawFirstBytes,
}

impl From<Openings> for RawOpenings {
    fn from(Openings { forward, backward }: Openings) -> Self {
        let [forward, backward] =
            [forward, backward].map(|FirstBytes { bits, silence }| RawFirstBytes { bits, silence });
        Self { forward, backward }
    }
}

impl From<RawOpenings> for Openings {
    fn from(RawOpenings { forward, backward }: RawOpenings) -> Self {
        let [forward, backward] =
            [forward, backward].map(|RawFirstBytes { bits, silence }| FirstBytes { bits, silence });
        Self { forward, backward }
    }
}

/// [`crate::plugin::Made`], of one direction; since 1.2.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct RawMade<'a> {
    pub bytes: RSlice<'a, u8>,
    pub pieces: RSlice<'a, RawPiece>,
}

/// [`Piece`]; since 1.2.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct RawPiece {
    pub at: usize,
    pub from: usize,
}

impl From<&Piece> for RawPiece {
    fn from(&Piece { at, from }: &Piece) -> Self {
        Self { at, from }
    }
}

impl From<&RawPiece> for Piece {
    fn from(&RawPiece { at, from }: &RawPiece) -> Self {
        Self { at, from }
    }
}

/// [`Framing`].
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct RawFraming {
    pub at: usize,
    pub header: u8,
    pub length_at: u8,
    pub length_bytes: u8,
    pub keep: u16,
}

impl From<Framing> for RawFraming {
    fn from(Framing { at, header, length_at, length_bytes, keep }: Framing) -> Self {
        Self { at, header, length_at, length_bytes, keep }
    }
}

impl From<RawFraming> for Framing {
    fn from(RawFraming { at, header, length_at, length_bytes, keep }: RawFraming) -> Self {
        Self { at, header, length_at, length_bytes, keep }
    }
}

/// [`Framed`], or that nothing is left out.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct RawFramed {
    pub there: bool,
    pub at: usize,
    pub missing: usize,
}

impl From<Option<Framed>> for RawFramed {
    fn from(framed: Option<Framed>) -> Self {
        let there = framed.is_some();
        let Framed { at, missing } = framed.unwrap_or(Framed { at: 0, missing: 0 });
        Self { there, at, missing }
    }
}

impl From<RawFramed> for Option<Framed> {
    fn from(RawFramed { there, at, missing }: RawFramed) -> Self {
        there.then_some(Framed { at, missing })
    }
}

/// [`crate::plugin::dissect::ByteRange`], or that there is none.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct RawRange {
    pub there: bool,
    pub backward: bool,
    pub offset: usize,
    pub length: usize,
}

impl From<Option<ByteRange>> for RawRange {
    fn from(range: Option<ByteRange>) -> Self {
        let there = range.is_some();
        let range = range.unwrap_or(ByteRange::new(Direction::Forward, 0, 0));
        let ByteRange { direction, offset, length } = range;
        Self { there, backward: direction == Direction::Backward, offset, length }
    }
}

impl RawRange {
    pub fn read(self) -> Option<ByteRange> {
        let direction = if self.backward { Direction::Backward } else { Direction::Forward };
        self.there.then_some(ByteRange::new(direction, self.offset, self.length))
    }
}

/// Where a foreign template draws to; since 1.1.
#[sabi_trait]
pub trait RawTree {
    fn open(&mut self, label: RStr<'_>, value: RStr<'_>, bytes: RawRange);
    fn close(&mut self);
    fn fail(&mut self, message: RStr<'_>);
    #[sabi(last_prefix_field)]
    fn is_full(&self) -> bool;
    /// Where a direction's datagrams end, since 1.2.
    fn datagram_ends(&self, _backward: bool) -> RSlice<'_, u32> {
        RSlice::EMPTY
    }
}

/// A batch of flows for a foreign extractor: accessors by number, so that the set can grow.
#[sabi_trait]
pub trait RawFlows {
    fn flows(&self) -> usize;
    /// A field of one flow.
    fn value(&self, row: usize, id: u16) -> RawValue<'_>;
    /// A number of one flow by its code (see [`number`]), as bits; codes that are not known give `u64::MAX`.
    fn number(&self, row: usize, code: u16) -> u64;
    fn splt_sizes(&self, row: usize) -> RSlice<'_, i32>;
    #[sabi(last_prefix_field)]
    fn splt_times_us(&self, row: usize) -> RSlice<'_, u32>;
    /// The numbers of one flow from a code on; since 1.1.
    fn numbers(&self, row: usize, first: u16, mut numbers: RSliceMut<'_, u64>) {
        for (code, number) in (first..).zip(numbers.as_mut_slice()) {
            *number = self.number(row, code);
        }
    }
    /// The name that led to the flow, empty where none did; since 1.3.
    fn name(&self, _row: usize) -> RSlice<'_, u8> {
        RSlice::EMPTY
    }
}

/// A batch as it is borrowed for one call.
pub type RawFlowsRef<'a> = RawFlows_TO<'a, abi_stable::sabi_types::RRef<'a, ()>>;
/// A sink as it is borrowed for one call.
pub type RawSinkMut<'a> = RawSink_TO<'a, abi_stable::sabi_types::RMut<'a, ()>>;

/// A tree as it is borrowed for one call.
pub type RawTreeMut<'a> = RawTree_TO<'a, abi_stable::sabi_types::RMut<'a, ()>>;

#[sabi_trait]
pub trait RawTemplate: Send + Sync {
    fn fields(&self) -> RResult<RVec<RawField>, RawError>;
    fn wire(&mut self, ids: RSlice<'_, u16>) -> RResult<(), RawError>;
    fn probe(&self, stream: RawStream<'_>) -> u8;
    #[sabi(last_prefix_field)]
    fn parse(&self, stream: RawStream<'_>, out: RawSinkMut<'_>) -> RResult<RawProgress, RawError>;
    /// What `probe` says, or that it failed; since 1.1.
    fn try_probe(&self, stream: RawStream<'_>) -> RResult<u8, RawError> {
        RResult::ROk(self.probe(stream))
    }
    /// Since 1.1.
    fn dissect(&self, _stream: RawStream<'_>, _tree: RawTreeMut<'_>) -> RResult<(), RawError> {
        RResult::ROk(())
    }
    /// Whether it reads such contents, and the progress where it does; since 1.2.
    fn parse_contents(
        &self,
        _contents: RStr<'_>,
        _stream: RawStream<'_>,
        _out: RawSinkMut<'_>,
    ) -> RResult<ROption<RawProgress>, RawError> {
        RResult::ROk(ROption::RNone)
    }
    /// By protocol number; since 1.2.
    fn openings(&self, _protocol: u8) -> RResult<RawOpenings, RawError> {
        RResult::ROk(Openings::ANY.into())
    }
}

#[sabi_trait]
pub trait RawExtractor: Send + Sync {
    fn columns(&self) -> RResult<RVec<RawColumn>, RawError>;
    fn wire(&mut self, fields: RVec<RawField>) -> RResult<(), RawError>;
    /// `rows` are `stride` wide; the extractor's columns begin at `first` and are `width` wide.
    #[sabi(last_prefix_field)]
    fn extract(
        &self,
        batch: RawFlowsRef<'_>,
        rows: RSliceMut<'_, f32>,
        stride: usize,
        first: usize,
        width: usize,
    ) -> RResult<(), RawError>;
}

#[sabi_trait]
pub trait RawClassifier: Send + Sync {
    fn fit(
        &mut self,
        rows: RSlice<'_, f32>,
        width: usize,
        labels: RSlice<'_, bool>,
        weights: RSlice<'_, f32>,
        seed: u64,
    ) -> RResult<(), RawError>;
    fn save(&self) -> RResult<RVec<u8>, RawError>;
    fn load(&mut self, weights: RSlice<'_, u8>) -> RResult<(), RawError>;
    fn predict(&self, rows: RSlice<'_, f32>, width: usize, scores: RSliceMut<'_, f64>) -> RResult<(), RawError>;
    #[sabi(last_prefix_field)]
    fn explain(&self, row: RSlice<'_, f32>, contributions: RSliceMut<'_, f64>) -> RResult<(), RawError>;
}

/// An owned template from across the boundary.
pub type TemplateObject = RawTemplate_TO<'static, RBox<()>>;
/// An owned extractor from across the boundary.
pub type ExtractorObject = RawExtractor_TO<'static, RBox<()>>;
/// An owned classifier from across the boundary.
pub type ClassifierObject = RawClassifier_TO<'static, RBox<()>>;

/// [`crate::plugin::Instance`].
#[repr(u8)]
#[derive(StableAbi)]
pub enum RawInstance {
    Protocol(TemplateObject),
    Feature(ExtractorObject),
    Classifier(ClassifierObject),
}

/// The codes of [`RawFlows::number`]: one place that both sides share.
pub mod number {
    use super::{ConversationSnapshot, DirectionStats, FlowShape, Moments};
    use crate::context::{BeaconSnapshot, HostSnapshot};
    use crate::feature::{FlowSource, NamesView};
    use crate::flow::Direction;

    /// First code of each group; forward and backward counts have the same order.
    const DIRECTION: [u16; 2] = [0, 64];
    const SHAPE: u16 = 128;
    const CONVERSATION: u16 = 160;
    /// Since 1.3, as are the groups that follow.
    const BEACON: u16 = CONVERSATION + 6;
    const NAMES: u16 = 192;
    const HOST: u16 = 208;

    /// Reads a number of one flow by its code.
    pub fn get(code: u16, flows: &dyn FlowSource, row: usize) -> u64 {
        match code {
            0..64 => of_direction(&flows.direction(row, Direction::Forward), code - DIRECTION[0]),
            64..128 => of_direction(&flows.direction(row, Direction::Backward), code - DIRECTION[1]),
            128..160 => {
                let shape = flows.shape(row);
                match code - SHAPE {
                    0 => shape.first_ns,
                    1 => shape.duration_ns,
                    2 => u64::from(shape.responder_port),
                    3 => u64::from(shape.protocol),
                    _ => u64::MAX,
                }
            }
            160..192 => of_conversation(&flows.conversation(row), code),
            192..208 => {
                let known = flows.names(row);
                match code - NAMES {
                    0 => known.age.to_bits(),
                    1 => u64::from(known.ttl),
                    2 => u64::from(known.answers),
                    3 => u64::from(known.queries),
                    4 => known.nxdomain_share.to_bits(),
                    _ => u64::MAX,
                }
            }
            208..224 => {
                let known = flows.host(row);
                match code - HOST {
                    0 => u64::from(known.earlier),
                    1 => u64::from(known.failed),
                    2 => u64::from(known.tls),
                    3 => f64::from(known.services).to_bits(),
                    4 => f64::from(known.hellos).to_bits(),
                    5 => f64::from(known.recent).to_bits(),
                    _ => u64::MAX,
                }
            }
            _ => u64::MAX,
        }
    }

    /// Reads the numbers from `first` on; what a group is read from is looked up once.
    pub fn fill(first: u16, numbers: &mut [u64], flows: &dyn FlowSource, row: usize) {
        let directions = [const { std::cell::OnceCell::new() }; 2];
        let direction = |index: usize, direction| *directions[index].get_or_init(|| flows.direction(row, direction));
        let conversation = std::cell::OnceCell::new();
        for (code, number) in (first..).zip(numbers) {
            *number = match code {
                0..64 => of_direction(&direction(0, Direction::Forward), code - DIRECTION[0]),
                64..128 => of_direction(&direction(1, Direction::Backward), code - DIRECTION[1]),
                160..192 => of_conversation(conversation.get_or_init(|| flows.conversation(row)), code),
                _ => get(code, flows, row),
            };
        }
    }

    fn of_conversation(known: &ConversationSnapshot, code: u16) -> u64 {
        match code - CONVERSATION {
            0 => u64::from(known.earlier),
            1 => u64::from(known.failed),
            2 => known.gap.to_bits(),
            3 => known.gap_mean.to_bits(),
            4 => known.gap_variation.to_bits(),
            5 => known.sent_variation.to_bits(),
            at => {
                let value = known.beacon.values().get(usize::from(at - (BEACON - CONVERSATION))).copied();
                value.map_or(u64::MAX, |value| f64::from(value).to_bits())
            }
        }
    }

    fn of_direction(stats: &DirectionStats, at: u16) -> u64 {
        let moments = |m: &Moments, at: u16| match at {
            0 => m.count,
            1 => m.min.to_bits(),
            2 => m.max.to_bits(),
            3 => m.mean.to_bits(),
            _ => m.squares.to_bits(),
        };
        match at {
            0 => stats.packets,
            1 => stats.bytes,
            2 => stats.payload_bytes,
            3 => u64::from(stats.syn),
            4 => u64::from(stats.fin),
            5 => u64::from(stats.rst),
            6 => u64::from(stats.psh),
            7 => u64::from(stats.retransmitted),
            8 => u64::from(stats.reordered),
            9 => stats.first_ns,
            10 => stats.last_ns,
            11..16 => moments(&stats.lengths, at - 11),
            16..21 => moments(&stats.gaps, at - 16),
            _ => u64::MAX,
        }
    }

    /// Builds the counts of one direction from their numbers, which `fill` gets from a code on.
    pub fn direction(index: usize, fill: impl Fn(u16, &mut [u64])) -> DirectionStats {
        let mut numbers = [0; 21];
        fill(DIRECTION[index & 1], &mut numbers);
        let get = |at: u16| numbers[usize::from(at)];
        let small = |at: u16| get(at) as u32;
        let moments = |first: u16| Moments {
            count: get(first),
            min: f64::from_bits(get(first + 1)),
            max: f64::from_bits(get(first + 2)),
            mean: f64::from_bits(get(first + 3)),
            squares: f64::from_bits(get(first + 4)),
        };
        DirectionStats {
            packets: get(0),
            bytes: get(1),
            payload_bytes: get(2),
            syn: small(3),
            fin: small(4),
            rst: small(5),
            psh: small(6),
            retransmitted: small(7),
            reordered: small(8),
            first_ns: get(9),
            last_ns: get(10),
            lengths: moments(11),
            gaps: moments(16),
        }
    }

    /// Builds the shape from its numbers.
    pub fn shape(fill: impl Fn(u16, &mut [u64])) -> FlowShape {
        let mut numbers = [0; 4];
        fill(SHAPE, &mut numbers);
        let [first_ns, duration_ns, responder_port, protocol] = numbers;
        FlowShape { first_ns, duration_ns, responder_port: responder_port as u16, protocol: protocol as u8 }
    }

    /// Builds the conversation's snapshot from its numbers.
    pub fn conversation(fill: impl Fn(u16, &mut [u64])) -> ConversationSnapshot {
        let mut numbers = [0; 6 + BeaconSnapshot::VALUES];
        fill(CONVERSATION, &mut numbers);
        let float = |at: usize| f64::from_bits(numbers[at]);
        ConversationSnapshot {
            earlier: numbers[0] as u32,
            failed: numbers[1] as u32,
            gap: float(2),
            gap_mean: float(3),
            gap_variation: float(4),
            sent_variation: float(5),
            beacon: BeaconSnapshot::from_values(std::array::from_fn(|at| float(6 + at) as f32)),
        }
    }

    /// Builds what is known of names from its numbers.
    pub fn names(name: &[u8], fill: impl Fn(u16, &mut [u64])) -> NamesView<'_> {
        let mut numbers = [0; 5];
        fill(NAMES, &mut numbers);
        let [age, ttl, answers, queries, nxdomain_share] = numbers;
        NamesView {
            name,
            age: f64::from_bits(age),
            ttl: ttl as u32,
            answers: answers as u32,
            queries: queries as u32,
            nxdomain_share: f64::from_bits(nxdomain_share),
        }
    }

    /// Builds the host's snapshot from its numbers.
    pub fn host(fill: impl Fn(u16, &mut [u64])) -> HostSnapshot {
        let mut numbers = [0; 6];
        fill(HOST, &mut numbers);
        let float = |at: usize| f64::from_bits(numbers[at]) as f32;
        HostSnapshot {
            earlier: numbers[0] as u32,
            failed: numbers[1] as u32,
            tls: numbers[2] as u32,
            services: float(3),
            hellos: float(4),
            recent: float(5),
        }
    }
}
