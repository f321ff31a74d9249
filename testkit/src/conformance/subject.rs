//! The plugin under test, and what its checks share.

use super::template::Reading;
use super::{Boundary, Options};
use crate::flows::variety;
use std::sync::OnceLock;
use veilwatch_core::abi::export::guard;
use veilwatch_core::abi::{export, import};
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
    /// It cannot be looked at, and no other check says what is wrong.
    Unknown(String),
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
    /// What several checks compare with, made once.
    pub(super) rows: Basis<Vec<f32>>,
    pub(super) readings: Basis<Vec<Reading>>,
    pub(super) weights: Basis<Vec<u8>>,
}

/// What fresh instances give for the kit's input, twice. One check says that it cannot be had, another that it is not the
/// same both times, and all others, which compare with it, are skipped then.
pub(super) struct Basis<T>(OnceLock<Result<[T; 2], PluginError>>);

impl<T> Basis<T> {
    fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Both, or why not; `make` is called where nobody has asked before.
    pub(super) fn both(&self, make: impl Fn() -> Result<T, PluginError>) -> Result<&[T; 2], &PluginError> {
        self.0.get_or_init(|| guard(|| Ok([make()?, make()?]))).as_ref()
    }

    /// What to compare with.
    pub(super) fn known(
        &self,
        make: impl Fn() -> Result<T, PluginError>,
        same: impl Fn(&T, &T) -> bool,
    ) -> Result<&T, Stop> {
        match self.both(make) {
            Ok([first, again]) if same(first, again) => Ok(first),
            Ok(_) => Err(Stop::Skipped("it is not the same twice".into())),
            Err(_) => Err(Stop::Skipped("it fails".into())),
        }
    }
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
        Self { declaration, how, fields, flows, rows: Basis::new(), readings: Basis::new(), weights: Basis::new() }
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
        guard(|| extractor.wire(&self.fields)).map_err(|error| {
            Stop::Unknown(format!(
                "it cannot be wired with these fields ({}); have it write NaN where a field is missing, or check it in a \
                 test with `Options::fields`",
                error.message
            ))
        })
    }

    pub(super) fn classifier(&self) -> Result<Box<dyn Classifier>, Stop> {
        classifier(self.instance()?)
    }

    pub(super) fn picked(&self) -> Vec<&FlowRecord> {
        self.flows.iter().collect()
    }
}

/// Through the adapter and back.
pub(crate) fn across(instance: Instance) -> Instance {
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
