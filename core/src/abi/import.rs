//! The host's side: objects behind safe traits, so that after registration nobody knows where a plugin came from.

use super::types::{
    ClassifierObject, ExtractorObject, RawField, RawFlows, RawFlows_TO, RawFramed, RawFraming, RawInstance, RawMade,
    RawRange, RawSink, RawSink_TO, RawStream, RawTree, RawTree_TO, RawValue, TemplateObject, number,
};
use crate::feature::{Column, FlowBatch, FlowSource, Rows, RowsMut};
use crate::flow::Direction;
use crate::plugin::dissect::TreeSink;
use crate::plugin::{
    Carrier, Classifier, FeatureExtractor, Instance, Made, Openings, Piece, PluginError, Probe, Progress,
    ProtocolTemplate, RecordSink, SinkTarget, StreamView, TrainingSet, TreeTarget,
};
use crate::record::{FieldId, FieldKind, FieldSpec, FieldTable, Mark, Value};
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RSlice, RSliceMut, RStr};
use std::cell::Cell;

/// Puts an object from across the boundary behind its safe trait.
pub fn unwrap(instance: RawInstance) -> Instance {
    match instance {
        RawInstance::Protocol(inner) => {
            Instance::Protocol(Box::new(ImportedTemplate { inner, allowed: allowed(std::iter::empty()) }))
        }
        RawInstance::Feature(inner) => Instance::Feature(Box::new(Imported(inner))),
        RawInstance::Classifier(inner) => Instance::Classifier(Box::new(Imported(inner))),
    }
}

/// Lets a panic that the plugin's side caught go on on this one, where the host's guard catches it: for calls that have no
/// error of their own. An empty list instead would be a lie.
fn go_on(error: PluginError) -> ! {
    let message = error.message.strip_prefix("panicked: ").unwrap_or(&error.message).to_owned();
    std::panic::resume_unwind(Box::new(message))
}

struct Imported<T>(T);

/// A template from across, and what it may write.
struct ImportedTemplate {
    inner: TemplateObject,
    /// By id, the kind of each typed field and of each of its own.
    allowed: Vec<Option<FieldKind>>,
}

/// What a template may write that declares these fields.
fn allowed(own: impl Iterator<Item = (FieldId, FieldKind)>) -> Vec<Option<FieldKind>> {
    let typed = FieldTable::new();
    let mut allowed = Vec::new();
    for (id, kind) in typed.iter().map(|(id, spec)| (id, spec.kind)).chain(own) {
        let at = usize::from(id.0);
        if allowed.len() <= at {
            allowed.resize(at + 1, None);
        }
        allowed[at] = Some(kind);
    }
    allowed
}

impl ProtocolTemplate for ImportedTemplate {
    fn fields(&self) -> Vec<FieldSpec> {
        match self.inner.fields().into_result() {
            Ok(fields) => fields.iter().filter_map(RawField::read).collect(),
            Err(error) => go_on(error.into()),
        }
    }
    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        // Ids are given by place: a field that cannot be read here would shift all that follow.
        let declared = self.inner.fields().into_result()?;
        if declared.len() != ids.len() {
            let message = "declares fields of a kind that this version does not know; update Veilwatch";
            return Err(PluginError::failed(message));
        }
        let kinds = declared.iter().map(|field| FieldKind::from_number(field.kind));
        self.allowed = allowed(ids.iter().zip(kinds).filter_map(|(id, kind)| Some((*id, kind?))));
        let ids: Vec<u16> = ids.iter().map(|id| id.0).collect();
        Ok(self.inner.wire(ids.as_slice().into()).into_result()?)
    }
    fn openings(&self, carrier: Carrier) -> Openings {
        match self.inner.openings(carrier as u8).into_result() {
            Ok(openings) => openings.into(),
            Err(error) => go_on(error.into()),
        }
    }
    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        self.try_probe(stream).unwrap_or(Probe::No)
    }
    fn try_probe(&self, stream: &StreamView<'_>) -> Result<Probe, PluginError> {
        Ok(match self.inner.try_probe(raw(stream)).into_result()? {
            1 => Probe::Unsure,
            2 => Probe::Certain,
            _ => Probe::No,
        })
    }
    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let mut sink = ExportedSink { target: out.target(), allowed: &self.allowed, stream };
        let said = self.inner.parse(raw(stream), RawSink_TO::from_ptr(&mut sink, TD_Opaque));
        Ok(said.into_result()?.into())
    }
    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        let mut sink = ExportedTree { target: tree.target(), stream };
        let outcome = self.inner.dissect(raw(stream), RawTree_TO::from_ptr(&mut sink, TD_Opaque)).into_result();
        if let Err(error) = outcome {
            tree.fail(&error.message);
        }
    }
    fn parse_contents(
        &self,
        contents: &str,
        stream: &StreamView<'_>,
        out: &mut RecordSink<'_>,
    ) -> Result<Option<Progress>, PluginError> {
        let mut sink = ExportedSink { target: out.target(), allowed: &self.allowed, stream };
        let out = RawSink_TO::from_ptr(&mut sink, TD_Opaque);
        let said = self.inner.parse_contents(contents.into(), raw(stream), out).into_result()?;
        Ok(said.into_option().map(Progress::from))
    }
}

fn raw<'a>(stream: &StreamView<'a>) -> RawStream<'a> {
    RawStream {
        forward: stream.forward.into(),
        backward: stream.backward.into(),
        forward_ended: stream.forward_ended,
        backward_ended: stream.backward_ended,
        protocol: stream.carrier as u8,
        originator_port: stream.originator_port,
        responder_port: stream.responder_port,
    }
}

struct ExportedSink<'a, 's> {
    target: &'a mut dyn SinkTarget,
    allowed: &'a [Option<FieldKind>],
    stream: &'a StreamView<'s>,
}

impl RawSink for ExportedSink<'_, '_> {
    fn set(&mut self, id: u16, value: RawValue<'_>) {
        let Some(value) = Option::<Value<'_>>::from(value) else { return };
        // What others read under this id must be what its owner declared.
        if self.allowed.get(usize::from(id)).copied().flatten() == Some(value.kind()) {
            self.target.set(FieldId(id), value);
        } else {
            self.target.refuse();
        }
    }
    fn mark(&mut self, mark: u8, backward: bool, offset: usize) {
        if let Some(mark) = Mark::from_number(mark) {
            self.target.mark(mark, if backward { Direction::Backward } else { Direction::Forward }, offset);
        }
    }
    fn swap_directions(&mut self) {
        self.target.swap_directions();
    }
    fn hand_over(&mut self, forward: usize, backward: usize) {
        self.target.hand_over([forward, backward]);
    }
    fn frames(&mut self, backward: bool, how: RawFraming) {
        self.target.frames(if backward { Direction::Backward } else { Direction::Forward }, how.into());
    }
    fn resume(&mut self) {
        self.target.resume();
    }
    fn framed(&self, backward: bool) -> RawFramed {
        self.stream.framed[usize::from(backward)].into()
    }
    fn datagram_ends(&self, backward: bool) -> RSlice<'_, u32> {
        self.stream.datagram_ends[usize::from(backward)].into()
    }
    fn hand_bytes(&mut self, contents: RStr<'_>, forward: RawMade<'_>, backward: RawMade<'_>) {
        let both = [forward, backward];
        let pieces = both.map(|made| made.pieces.iter().map(Piece::from).collect::<Vec<_>>());
        let made = Made {
            bytes: [both[0].bytes.as_slice(), both[1].bytes.as_slice()],
            pieces: [pieces[0].as_slice(), pieces[1].as_slice()],
        };
        self.target.hand_bytes(contents.as_str(), made);
    }
}

struct ExportedTree<'a, 's> {
    target: &'a mut dyn TreeTarget,
    stream: &'a StreamView<'s>,
}

impl RawTree for ExportedTree<'_, '_> {
    fn open(&mut self, label: RStr<'_>, value: RStr<'_>, bytes: RawRange) {
        self.target.open(label.as_str(), value.as_str(), bytes.read());
    }
    fn close(&mut self) {
        self.target.close();
    }
    fn fail(&mut self, message: RStr<'_>) {
        self.target.fail(message.as_str());
    }
    fn is_full(&self) -> bool {
        self.target.is_full()
    }
    fn datagram_ends(&self, backward: bool) -> RSlice<'_, u32> {
        self.stream.datagram_ends[usize::from(backward)].into()
    }
}

impl FeatureExtractor for Imported<ExtractorObject> {
    fn columns(&self) -> Vec<Column> {
        match self.0.columns().into_result() {
            Ok(columns) => columns.iter().map(Column::from).collect(),
            Err(error) => go_on(error.into()),
        }
    }
    fn wire(&mut self, fields: &FieldTable) -> Result<(), PluginError> {
        let fields = fields.iter().map(|(id, spec)| RawField::new(id.0, spec)).collect();
        Ok(self.0.wire(fields).into_result()?)
    }
    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        let flows = ExportedFlows { flows: batch.source(), next: Cell::new(0) };
        let (stride, first, width) = rows.place();
        let batch = RawFlows_TO::from_ptr(&flows, TD_Opaque);
        Ok(self.0.extract(batch, rows.data_mut().into(), stride, first, width).into_result()?)
    }
}

struct ExportedFlows<'a> {
    flows: &'a dyn FlowSource,
    /// Place of the field behind the one that was read last.
    next: Cell<usize>,
}

impl RawFlows for ExportedFlows<'_> {
    fn flows(&self) -> usize {
        self.flows.len()
    }
    fn value(&self, row: usize, id: u16) -> RawValue<'_> {
        let Some(fields) = self.flows.fields(row) else { return self.flows.value(row, FieldId(id)).into() };
        // A typed record is read member by member: the next one is most likely the next field.
        let (value, next) = fields.get_from(self.next.get(), FieldId(id));
        self.next.set(next);
        value.into()
    }
    fn number(&self, row: usize, code: u16) -> u64 {
        number::get(code, self.flows, row)
    }
    fn splt_sizes(&self, row: usize) -> RSlice<'_, i32> {
        self.flows.splt(row).sizes.into()
    }
    fn splt_times_us(&self, row: usize) -> RSlice<'_, u32> {
        self.flows.splt(row).times_us.into()
    }
    fn numbers(&self, row: usize, first: u16, mut numbers: RSliceMut<'_, u64>) {
        number::fill(first, numbers.as_mut_slice(), self.flows, row);
    }
    fn name(&self, row: usize) -> RSlice<'_, u8> {
        self.flows.names(row).name.into()
    }
}

impl Classifier for Imported<ClassifierObject> {
    fn fit(&mut self, data: &TrainingSet<'_>) -> Result<(), PluginError> {
        let (rows, width) = (data.rows.data().into(), data.rows.width());
        Ok(self.0.fit(rows, width, data.labels.into(), data.weights.into(), data.seed).into_result()?)
    }
    fn save(&self) -> Result<Vec<u8>, PluginError> {
        Ok(self.0.save().into_result()?.into())
    }
    fn load(&mut self, weights: &[u8]) -> Result<(), PluginError> {
        Ok(self.0.load(weights.into()).into_result()?)
    }
    fn predict(&self, rows: &Rows<'_>, scores: &mut [f64]) -> Result<(), PluginError> {
        Ok(self.0.predict(rows.data().into(), rows.width(), scores.into()).into_result()?)
    }
    fn explain(&self, row: &[f32], contributions: &mut [f64]) -> Result<(), PluginError> {
        Ok(self.0.explain(row.into(), contributions.into()).into_result()?)
    }
}
