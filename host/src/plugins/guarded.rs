//! Catches what plugins in the box may do: a panic becomes an error that names the plugin, and the run goes on. And
//! takes the time of every call.
//!
//! Dropped-in plugins are caught on their own side of the boundary already; a second net costs nothing there.

use super::meter::Meter;
use std::sync::Arc;
use veilwatch_core::abi::export::guard;
use veilwatch_core::feature::{Column, FlowBatch, Rows, RowsMut};
use veilwatch_core::plugin::dissect::TreeSink;
use veilwatch_core::plugin::{
    Carrier, Classifier, Declaration, FeatureExtractor, Instance, Openings, PluginError, Probe, Progress,
    ProtocolTemplate, RecordSink, Settings, StreamView, TrainingSet,
};
use veilwatch_core::record::{FieldId, FieldSpec, FieldTable};

/// Makes an instance whose calls cannot panic, and are timed by `meter`.
pub(crate) fn create(
    declaration: &Declaration,
    settings: Settings<'_>,
    meter: &Arc<Meter>,
) -> Result<Instance, PluginError> {
    let meter = Arc::clone(meter);
    Ok(match meter.time(|| guard(|| (declaration.create)(settings)))? {
        Instance::Protocol(inner) => Instance::Protocol(Box::new(Guarded { inner, meter })),
        Instance::Feature(inner) => Instance::Feature(Box::new(Guarded { inner, meter })),
        Instance::Classifier(inner) => Instance::Classifier(Box::new(Guarded { inner, meter })),
    })
}

struct Guarded<T> {
    inner: T,
    meter: Arc<Meter>,
}

impl<T> Guarded<T> {
    fn call<R>(&self, run: impl FnOnce(&T) -> Result<R, PluginError>) -> Result<R, PluginError> {
        self.meter.time(|| guard(|| run(&self.inner)))
    }

    /// The same for calls that are made for every flow, or more often.
    fn brief<R>(&self, run: impl FnOnce(&T) -> Result<R, PluginError>) -> Result<R, PluginError> {
        self.meter.brief(|| guard(|| run(&self.inner)))
    }

    /// A call without an error of its own: what goes wrong is kept for whoever asks the meter.
    fn list<R>(&self, run: impl FnOnce(&T) -> Vec<R>) -> Vec<R> {
        self.call(|inner| Ok(run(inner))).unwrap_or_else(|error| {
            self.meter.note(error);
            Vec::new()
        })
    }

    fn change<R>(&mut self, run: impl FnOnce(&mut T) -> Result<R, PluginError>) -> Result<R, PluginError> {
        self.meter.time(|| guard(|| run(&mut self.inner)))
    }
}

impl ProtocolTemplate for Guarded<Box<dyn ProtocolTemplate>> {
    fn fields(&self) -> Vec<FieldSpec> {
        self.list(|inner| inner.fields())
    }
    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.change(|inner| inner.wire(ids))
    }
    fn openings(&self, carrier: Carrier) -> Openings {
        self.call(|inner| Ok(inner.openings(carrier))).unwrap_or_else(|error| {
            self.meter.note(error);
            Openings::NONE
        })
    }
    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        self.try_probe(stream).unwrap_or(Probe::No)
    }
    fn try_probe(&self, stream: &StreamView<'_>) -> Result<Probe, PluginError> {
        self.brief(|inner| inner.try_probe(stream))
    }
    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        self.brief(|inner| inner.parse(stream, out))
    }
    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        let drawn = self.call(|inner| {
            inner.dissect(stream, tree);
            Ok(())
        });
        if let Err(error) = drawn {
            tree.fail(&error.message);
        }
    }
    fn parse_contents(
        &self,
        contents: &str,
        stream: &StreamView<'_>,
        out: &mut RecordSink<'_>,
    ) -> Result<Option<Progress>, PluginError> {
        self.call(|inner| inner.parse_contents(contents, stream, out))
    }
}

impl FeatureExtractor for Guarded<Box<dyn FeatureExtractor>> {
    fn columns(&self) -> Vec<Column> {
        self.list(|inner| inner.columns())
    }
    fn wire(&mut self, fields: &FieldTable) -> Result<(), PluginError> {
        self.change(|inner| inner.wire(fields))
    }
    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        self.call(|inner| inner.extract(batch, rows))
    }
}

impl Classifier for Guarded<Box<dyn Classifier>> {
    fn fit(&mut self, data: &TrainingSet<'_>) -> Result<(), PluginError> {
        self.change(|inner| inner.fit(data))
    }
    fn save(&self) -> Result<Vec<u8>, PluginError> {
        self.call(|inner| inner.save())
    }
    fn load(&mut self, weights: &[u8]) -> Result<(), PluginError> {
        self.change(|inner| inner.load(weights))
    }
    fn predict(&self, rows: &Rows<'_>, scores: &mut [f64]) -> Result<(), PluginError> {
        self.call(|inner| inner.predict(rows, scores))
    }
    fn explain(&self, row: &[f32], contributions: &mut [f64]) -> Result<(), PluginError> {
        self.call(|inner| inner.explain(row, contributions))
    }
}
