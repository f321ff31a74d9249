//! The plugin under test, and what its checks share.

use super::template::Reading;
use super::{Boundary, Options};
use crate::flows::{extract, variety};
use std::sync::OnceLock;
use veilwatch_core::abi::export::guard;
use veilwatch_core::abi::{export, import};
use veilwatch_core::feature::Column;
use veilwatch_core::flow::FlowRecord;
use veilwatch_core::plugin::{
    Classifier, Declaration, FeatureExtractor, Instance, PluginError, PluginErrorKind, Settings,
};
use veilwatch_core::record::{FieldKind, FieldSpec, FieldTable};

/// Why a check ended early.
#[derive(Debug, Clone)]
pub(super) enum Stop {
    /// The plugin does not keep to it.
    Failed(String),
    /// It cannot be looked at.
    Skipped(String),
}

impl From<PluginError> for Stop {
    fn from(error: PluginError) -> Self {
        Self::Failed(error.message)
    }
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

/// Fails with these words unless something holds.
pub(super) fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), Stop> {
    if holds { Ok(()) } else { Err(Stop::Failed(why())) }
}

/// Where an error is a plugin's good right, only a panic is a failure.
pub(super) fn no_panic<T>(outcome: Result<T, PluginError>) -> Result<Option<T>, Stop> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind == PluginErrorKind::Panicked => Err(error.into()),
        Err(_) => Ok(None),
    }
}

/// The plugin under test.
pub(super) struct Subject {
    pub(super) declaration: Declaration,
    pub(super) how: Options,
    pub(super) fields: FieldTable,
    pub(super) flows: Vec<FlowRecord>,
    /// What several checks compare with, made once; where it cannot be had, the check that is about it says why.
    rows: OnceLock<Result<Vec<f32>, PluginError>>,
    readings: OnceLock<Result<Vec<Reading>, PluginError>>,
    weights: OnceLock<Result<Vec<u8>, PluginError>>,
}

impl Subject {
    pub(super) fn new(declaration: Declaration, how: Options) -> Self {
        let mut fields = FieldTable::new();
        // A field of each kind that no plugin knows, so that those that walk over all fields meet some.
        let kinds = [FieldKind::U64, FieldKind::F64, FieldKind::Bytes, FieldKind::U16List];
        let own = kinds.into_iter().zip(["number", "fraction", "bytes", "list"]).map(|(kind, name)| FieldSpec {
            name: format!("testkit.{name}").into(),
            kind,
            words: "made up by the test kit".into(),
        });
        for spec in how.fields.iter().cloned().chain(own) {
            // A name that cannot be declared is the caller's mistake, and shows as a field that is missing.
            let _ = fields.declare(spec, "testkit");
        }
        let flows = variety(how.flows.clamp(1, 4096), &fields);
        Self {
            declaration,
            how,
            fields,
            flows,
            rows: OnceLock::new(),
            readings: OnceLock::new(),
            weights: OnceLock::new(),
        }
    }

    /// A fresh instance on the side of the boundary that is looked at.
    pub(super) fn make(&self) -> Result<Instance, PluginError> {
        let instance = self.direct()?;
        Ok(if self.how.boundary == Boundary::Adapter { across(instance) } else { instance })
    }

    /// A fresh instance as the declaration makes it.
    pub(super) fn direct(&self) -> Result<Instance, PluginError> {
        guard(|| (self.declaration.create)(Settings::new(&self.how.settings)))
    }

    /// A fresh instance from across the boundary, where that is to be compared.
    pub(super) fn foreign(&self) -> Result<Instance, Stop> {
        if self.how.boundary != Boundary::Both {
            return Err(Stop::Skipped("one side of the boundary was asked for".into()));
        }
        Ok(across(self.made(self.direct())?))
    }

    /// Every check but the first takes for granted that the plugin can be made.
    fn made(&self, instance: Result<Instance, PluginError>) -> Result<Instance, Stop> {
        instance.map_err(|_| Stop::Skipped("it cannot be made with these settings".into()))
    }

    pub(super) fn instance(&self) -> Result<Instance, Stop> {
        self.made(self.make())
    }

    pub(super) fn extractor(&self) -> Result<Box<dyn FeatureExtractor>, Stop> {
        extractor(self.instance()?)
    }

    /// An extractor that knows the fields.
    pub(super) fn wired(&self) -> Result<Box<dyn FeatureExtractor>, Stop> {
        let mut extractor = self.extractor()?;
        self.wire(&mut *extractor)?;
        Ok(extractor)
    }

    pub(super) fn wire(&self, extractor: &mut dyn FeatureExtractor) -> Result<(), Stop> {
        guard(|| extractor.wire(&self.fields))
            .map_err(|error| Stop::Skipped(format!("it cannot be wired with these fields ({})", error.message)))
    }

    pub(super) fn classifier(&self) -> Result<Box<dyn Classifier>, Stop> {
        classifier(self.instance()?)
    }

    pub(super) fn picked(&self) -> Vec<&FlowRecord> {
        self.flows.iter().collect()
    }

    /// The rows of all flows, from one call of a fresh instance.
    pub(super) fn rows(&self) -> Result<(Vec<Column>, &[f32]), Stop> {
        let extractor = self.wired()?;
        let columns = guard(|| Ok(extractor.columns())).map_err(|_| skip_columns())?;
        let rows = self.rows.get_or_init(|| guard(|| extract(&*extractor, columns.len(), &self.picked())));
        match rows {
            Ok(rows) if rows.len() == columns.len() * self.flows.len() => Ok((columns, rows)),
            Ok(_) => Err(skip_columns()),
            Err(_) => Err(Stop::Skipped("it gives no rows".into())),
        }
    }

    pub(super) fn readings(
        &self,
        read: impl FnOnce() -> Result<Vec<Reading>, PluginError>,
    ) -> &Result<Vec<Reading>, PluginError> {
        self.readings.get_or_init(|| guard(read))
    }

    pub(super) fn weights(
        &self,
        learn: impl FnOnce() -> Result<Vec<u8>, PluginError>,
    ) -> &Result<Vec<u8>, PluginError> {
        self.weights.get_or_init(|| guard(learn))
    }
}

fn skip_columns() -> Stop {
    Stop::Skipped("its columns are not steady".into())
}

/// Through the adapter and back.
pub(super) fn across(instance: Instance) -> Instance {
    import::unwrap(export::wrap(instance))
}

pub(super) fn extractor(instance: Instance) -> Result<Box<dyn FeatureExtractor>, Stop> {
    match instance {
        Instance::Feature(extractor) => Ok(extractor),
        _ => Err(Stop::Skipped("it is of another kind than declared".into())),
    }
}

pub(super) fn classifier(instance: Instance) -> Result<Box<dyn Classifier>, Stop> {
    match instance {
        Instance::Classifier(classifier) => Ok(classifier),
        _ => Err(Stop::Skipped("it is of another kind than declared".into())),
    }
}

/// Runs the same twice at the same time, and gives both results.
pub(super) fn at_once<T: Send>(run: impl Fn() -> Result<T, PluginError> + Sync) -> Result<[T; 2], Stop> {
    let together = std::sync::Barrier::new(2);
    let one = || {
        together.wait();
        guard(&run)
    };
    let (here, there) = std::thread::scope(|scope| {
        let other = scope.spawn(one);
        (one(), other.join())
    });
    // `guard` caught what the plugin panicked with.
    let there = there.map_err(|_| Stop::Failed("it ended the thread in which it was called".into()))?;
    Ok([here?, there?])
}
