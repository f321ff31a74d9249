//! What a confined worker said of the plugins of a pipeline, remembered for as long as the portal runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use veilwatch::worker::{PipelineDescription, PluginDescription};

/// What a worker said of a pipeline.
#[derive(Clone, Debug, Default)]
pub struct Described {
    /// Its plugins, in order.
    pub plugins: Vec<PluginDescription>,
    /// All of it.
    pub whole: PipelineDescription,
    /// The SHA-256 of libraries by their file names, as this process read them.
    pub libraries: Vec<(String, String)>,
}

/// The descriptions by the pipeline's name and version; copies share them.
#[derive(Clone, Debug, Default)]
pub struct Descriptions(Arc<Mutex<BTreeMap<String, Of>>>);

/// A version and what was said of it.
#[derive(Clone, Debug)]
struct Of {
    version: Option<i64>,
    described: Arc<Described>,
    is_old: bool,
}

impl Descriptions {
    /// What was said of this version, unless its model has been another since.
    pub fn find(&self, name: &str, version: Option<i64>) -> Option<Arc<Described>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(name).filter(|of| of.version == version && !of.is_old).map(|of| Arc::clone(&of.described))
    }

    /// What was said of a pipeline last: for what hangs on this machine alone.
    pub fn last(&self, name: &str) -> Option<Arc<Described>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(name).map(|of| Arc::clone(&of.described))
    }

    /// Notes that a pipeline is judged by another model from now on.
    pub fn grow_old(&self, name: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get_mut(name).into_iter().for_each(|of| of.is_old = true);
    }

    /// Remembers it; of each pipeline one version is remembered.
    pub fn keep(&self, name: &str, version: Option<i64>, described: Described) -> Arc<Described> {
        let described = Arc::new(described);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(name.to_owned(), Of { version, described: Arc::clone(&described), is_old: false });
        described
    }
}
