//! The plugin's side: safe traits behind objects, panics caught.

use super::types::{
    RawClassifier, RawClassifier_TO, RawColumn, RawError, RawExtractor, RawExtractor_TO, RawField, RawFlowsRef,
    RawInstance, RawMade, RawManifest, RawOpenings, RawPiece, RawProgress, RawSinkMut, RawStream, RawTemplate,
    RawTemplate_TO, RawTreeMut, RawValue, number,
};
use crate::context::{ConversationSnapshot, HostSnapshot};
use crate::feature::{FlowBatch, FlowShape, FlowSource, NamesView, Rows, RowsMut, SpltView};
use crate::flow::{Direction, DirectionStats};
use crate::plugin::dissect::{ByteRange, TreeSink};
use crate::plugin::{
    Carrier, Classifier, Declaration, FeatureExtractor, Instance, Made, PluginError, PluginErrorKind, ProtocolTemplate,
    RecordSink, Settings, SinkTarget, StreamView, TrainingSet, TreeTarget,
};
use crate::record::{FieldId, FieldTable, Mark, Value};
use crate::stream::{Framing, MARKS};
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{ROption, RResult, RSlice, RSliceMut, RStr, RVec};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs plugin code; a panic becomes an error.
pub fn guard<T>(run: impl FnOnce() -> Result<T, PluginError>) -> Result<T, PluginError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "without a message".into());
        Err(PluginError { kind: PluginErrorKind::Panicked, message: format!("panicked: {message}") })
    })
}

fn guarded<T>(run: impl FnOnce() -> Result<T, PluginError>) -> RResult<T, RawError> {
    guard(run).map_err(RawError::from).into()
}

/// The manifests of a library's plugins.
pub fn manifests(declarations: fn() -> Vec<Declaration>) -> RResult<RVec<RawManifest>, RawError> {
    guarded(|| Ok(declarations().iter().map(|declaration| RawManifest::from(&declaration.manifest)).collect()))
}

/// Makes an instance of a library's plugin number `at`.
pub fn create(declarations: fn() -> Vec<Declaration>, at: usize, settings: RStr<'_>) -> RResult<RawInstance, RawError> {
    guarded(|| {
        let all = declarations();
        let declaration = all.get(at).ok_or_else(|| PluginError::failed(format!("there is no plugin number {at}")))?;
        Ok(wrap((declaration.create)(Settings::new(settings.as_str()))?))
    })
}

/// Puts an instance behind an object that can cross.
pub fn wrap(instance: Instance) -> RawInstance {
    match instance {
        Instance::Protocol(inner) => RawInstance::Protocol(RawTemplate_TO::from_value(Exported(inner), TD_Opaque)),
        Instance::Feature(inner) => RawInstance::Feature(RawExtractor_TO::from_value(Exported(inner), TD_Opaque)),
        Instance::Classifier(inner) => {
            RawInstance::Classifier(RawClassifier_TO::from_value(Exported(inner), TD_Opaque))
        }
    }
}

struct Exported<T>(T);

impl RawTemplate for Exported<Box<dyn ProtocolTemplate>> {
    fn fields(&self) -> RResult<RVec<RawField>, RawError> {
        guarded(|| Ok(self.0.fields().iter().map(|spec| RawField::new(0, spec)).collect()))
    }
    fn wire(&mut self, ids: RSlice<'_, u16>) -> RResult<(), RawError> {
        let ids: Vec<FieldId> = ids.iter().map(|id| FieldId(*id)).collect();
        guarded(|| self.0.wire(&ids))
    }
    fn openings(&self, protocol: u8) -> RResult<RawOpenings, RawError> {
        let carrier = if protocol == Carrier::Udp as u8 { Carrier::Udp } else { Carrier::Tcp };
        guarded(|| Ok(self.0.openings(carrier).into()))
    }
    fn probe(&self, stream: RawStream<'_>) -> u8 {
        // For programs of contract 1.0, which take no error here: the flow is not recognised.
        guard(|| self.0.try_probe(&stream.view())).map_or(0, |probe| probe as u8)
    }
    fn try_probe(&self, stream: RawStream<'_>) -> RResult<u8, RawError> {
        guarded(|| Ok(self.0.try_probe(&stream.view())? as u8))
    }
    fn dissect(&self, stream: RawStream<'_>, mut tree: RawTreeMut<'_>) -> RResult<(), RawError> {
        guarded(|| {
            let mut ends = [[0; MARKS]; 2];
            let datagram_ends = copied(&mut ends, |backward| tree.datagram_ends(backward));
            let view = StreamView { datagram_ends, ..stream.view() };
            self.0.dissect(&view, &mut TreeSink::new(&mut ImportedTree(&mut tree)));
            Ok(())
        })
    }
    fn parse(&self, stream: RawStream<'_>, mut out: RawSinkMut<'_>) -> RResult<RawProgress, RawError> {
        guarded(|| {
            let framed = [false, true].map(|backward| out.framed(backward).into());
            let mut ends = [[0; MARKS]; 2];
            let datagram_ends = copied(&mut ends, |backward| out.datagram_ends(backward));
            let view = StreamView { framed, datagram_ends, ..stream.view() };
            let mut target = ImportedSink(&mut out);
            Ok(self.0.parse(&view, &mut RecordSink::new(&mut target))?.into())
        })
    }
    fn parse_contents(
        &self,
        contents: RStr<'_>,
        stream: RawStream<'_>,
        mut out: RawSinkMut<'_>,
    ) -> RResult<ROption<RawProgress>, RawError> {
        guarded(|| {
            let mut target = ImportedSink(&mut out);
            let said = self.0.parse_contents(contents.as_str(), &stream.view(), &mut RecordSink::new(&mut target))?;
            Ok(said.map(RawProgress::from).into())
        })
    }
}

/// Ends of datagrams of both directions, which the other side keeps only as long as nothing is written to it.
fn copied<'a, 'r>(ends: &'a mut [[u32; MARKS]; 2], of: impl Fn(bool) -> RSlice<'r, u32>) -> [&'a [u32]; 2] {
    let mut both = ends.iter_mut().zip([false, true]).map(|(into, backward)| {
        let ends = of(backward);
        let count = ends.len().min(into.len());
        into.iter_mut().zip(ends.iter()).for_each(|(into, end)| *into = *end);
        into.get(..count).unwrap_or_default()
    });
    [both.next().unwrap_or_default(), both.next().unwrap_or_default()]
}

impl RawStream<'_> {
    fn view(&self) -> StreamView<'_> {
        StreamView {
            forward: self.forward.as_slice(),
            backward: self.backward.as_slice(),
            forward_ended: self.forward_ended,
            backward_ended: self.backward_ended,
            framed: [None; 2],
            datagram_ends: [&[]; 2],
            carrier: if self.protocol == Carrier::Udp as u8 { Carrier::Udp } else { Carrier::Tcp },
            originator_port: self.originator_port,
            responder_port: self.responder_port,
        }
    }
}

struct ImportedSink<'a, 'b>(&'a mut RawSinkMut<'b>);

impl SinkTarget for ImportedSink<'_, '_> {
    fn set(&mut self, id: FieldId, value: Value<'_>) {
        self.0.set(id.0, RawValue::from(Some(value)));
    }
    fn mark(&mut self, mark: Mark, direction: Direction, offset: usize) {
        self.0.mark(mark as u8, direction == Direction::Backward, offset);
    }
    fn swap_directions(&mut self) {
        self.0.swap_directions();
    }
    fn frames(&mut self, direction: Direction, how: Framing) {
        self.0.frames(direction == Direction::Backward, how.into());
    }
    fn resume(&mut self) {
        self.0.resume();
    }
    fn hand_over(&mut self, [forward, backward]: [usize; 2]) {
        self.0.hand_over(forward, backward);
    }
    fn hand_bytes(&mut self, contents: &str, made: Made<'_>) {
        let pieces = made.pieces.map(|pieces| pieces.iter().map(RawPiece::from).collect::<Vec<_>>());
        let side = |at: usize| RawMade { bytes: made.bytes[at].into(), pieces: pieces[at].as_slice().into() };
        self.0.hand_bytes(contents.into(), side(0), side(1));
    }
    // Who has a right to what is known on the other side alone.
    fn refuse(&mut self) {}
}

struct ImportedTree<'a, 'b>(&'a mut RawTreeMut<'b>);

impl TreeTarget for ImportedTree<'_, '_> {
    fn open(&mut self, label: &str, value: &str, bytes: Option<ByteRange>) {
        self.0.open(label.into(), value.into(), bytes.into());
    }
    fn close(&mut self) {
        self.0.close();
    }
    fn fail(&mut self, message: &str) {
        self.0.fail(message.into());
    }
    fn is_full(&self) -> bool {
        self.0.is_full()
    }
}

impl RawExtractor for Exported<Box<dyn FeatureExtractor>> {
    fn columns(&self) -> RResult<RVec<RawColumn>, RawError> {
        guarded(|| Ok(self.0.columns().iter().map(RawColumn::from).collect()))
    }
    fn wire(&mut self, fields: RVec<RawField>) -> RResult<(), RawError> {
        guarded(|| {
            let entries = fields.iter().filter_map(|field| Some((FieldId(field.id), field.read()?)));
            self.0.wire(&FieldTable::from_entries(entries))
        })
    }
    fn extract(
        &self,
        batch: RawFlowsRef<'_>,
        mut rows: RSliceMut<'_, f32>,
        stride: usize,
        first: usize,
        width: usize,
    ) -> RResult<(), RawError> {
        guarded(|| {
            if first.checked_add(width).is_none_or(|end| end > stride) {
                return Err(PluginError::data("columns past the end of the rows"));
            }
            let source = ImportedFlows(batch);
            self.0.extract(&FlowBatch::new(&source), &mut RowsMut::new(rows.as_mut_slice(), stride, first, width))
        })
    }
}

struct ImportedFlows<'a>(RawFlowsRef<'a>);

impl FlowSource for ImportedFlows<'_> {
    fn len(&self) -> usize {
        self.0.flows()
    }
    fn value(&self, row: usize, id: FieldId) -> Option<Value<'_>> {
        self.0.value(row, id.0).into()
    }
    fn direction(&self, row: usize, direction: Direction) -> DirectionStats {
        number::direction(direction.index(), |first, numbers| self.0.numbers(row, first, numbers.into()))
    }
    fn splt(&self, row: usize) -> SpltView<'_> {
        SpltView { sizes: self.0.splt_sizes(row).as_slice(), times_us: self.0.splt_times_us(row).as_slice() }
    }
    fn shape(&self, row: usize) -> FlowShape {
        number::shape(|first, numbers| self.0.numbers(row, first, numbers.into()))
    }
    fn conversation(&self, row: usize) -> ConversationSnapshot {
        number::conversation(|first, numbers| self.0.numbers(row, first, numbers.into()))
    }
    fn names(&self, row: usize) -> NamesView<'_> {
        let name = self.0.name(row).as_slice();
        number::names(name, |first, numbers| self.0.numbers(row, first, numbers.into()))
    }
    fn host(&self, row: usize) -> HostSnapshot {
        number::host(|first, numbers| self.0.numbers(row, first, numbers.into()))
    }
}

impl RawClassifier for Exported<Box<dyn Classifier>> {
    fn fit(
        &mut self,
        rows: RSlice<'_, f32>,
        width: usize,
        labels: RSlice<'_, bool>,
        weights: RSlice<'_, f32>,
        seed: u64,
    ) -> RResult<(), RawError> {
        let rows = Rows::new(rows.as_slice(), width);
        let data = TrainingSet { rows, labels: labels.as_slice(), weights: weights.as_slice(), seed };
        guarded(|| self.0.fit(&data))
    }
    fn save(&self) -> RResult<RVec<u8>, RawError> {
        guarded(|| Ok(self.0.save()?.into()))
    }
    fn load(&mut self, weights: RSlice<'_, u8>) -> RResult<(), RawError> {
        guarded(|| self.0.load(weights.as_slice()))
    }
    fn predict(&self, rows: RSlice<'_, f32>, width: usize, mut scores: RSliceMut<'_, f64>) -> RResult<(), RawError> {
        guarded(|| self.0.predict(&Rows::new(rows.as_slice(), width), scores.as_mut_slice()))
    }
    fn explain(&self, row: RSlice<'_, f32>, mut contributions: RSliceMut<'_, f64>) -> RResult<(), RawError> {
        guarded(|| self.0.explain(row.as_slice(), contributions.as_mut_slice()))
    }
}
