//! Catches what plugins in the box may do: a panic becomes an error that names the plugin, and the run goes on.
//!
//! Dropped-in plugins are caught on their own side of the boundary already; a second net costs nothing there.

use veilwatch_core::abi::export::guard;
use veilwatch_core::feature::{Column, FlowBatch, Rows, RowsMut};
use veilwatch_core::plugin::{
    Classifier, Declaration, FeatureExtractor, Instance, PluginError, Probe, Progress, ProtocolTemplate, RecordSink,
    Settings, StreamView, TrainingSet,
};
use veilwatch_core::record::{FieldId, FieldSpec, FieldTable};

/// Makes an instance whose calls cannot panic.
pub(crate) fn create(declaration: &Declaration, settings: Settings<'_>) -> Result<Instance, PluginError> {
    Ok(match guard(|| (declaration.create)(settings))? {
        Instance::Protocol(inner) => Instance::Protocol(Box::new(Guarded(inner))),
        Instance::Feature(inner) => Instance::Feature(Box::new(Guarded(inner))),
        Instance::Classifier(inner) => Instance::Classifier(Box::new(Guarded(inner))),
    })
}

struct Guarded<T>(T);

impl ProtocolTemplate for Guarded<Box<dyn ProtocolTemplate>> {
    fn fields(&self) -> Vec<FieldSpec> {
        guard(|| Ok(self.0.fields())).unwrap_or_default()
    }
    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        guard(|| self.0.wire(ids))
    }
    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        guard(|| Ok(self.0.probe(stream))).unwrap_or(Probe::No)
    }
    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        guard(|| self.0.parse(stream, out))
    }
}

impl FeatureExtractor for Guarded<Box<dyn FeatureExtractor>> {
    fn columns(&self) -> Vec<Column> {
        guard(|| Ok(self.0.columns())).unwrap_or_default()
    }
    fn wire(&mut self, fields: &FieldTable) -> Result<(), PluginError> {
        guard(|| self.0.wire(fields))
    }
    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        guard(|| self.0.extract(batch, rows))
    }
}

impl Classifier for Guarded<Box<dyn Classifier>> {
    fn fit(&mut self, data: &TrainingSet<'_>) -> Result<(), PluginError> {
        guard(|| self.0.fit(data))
    }
    fn save(&self) -> Result<Vec<u8>, PluginError> {
        guard(|| self.0.save())
    }
    fn load(&mut self, weights: &[u8]) -> Result<(), PluginError> {
        guard(|| self.0.load(weights))
    }
    fn predict(&self, rows: &Rows<'_>, scores: &mut [f64]) -> Result<(), PluginError> {
        guard(|| self.0.predict(rows, scores))
    }
    fn explain(&self, row: &[f32], contributions: &mut [f64]) -> Result<(), PluginError> {
        guard(|| self.0.explain(row, contributions))
    }
}
