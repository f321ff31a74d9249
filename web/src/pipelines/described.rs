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

/// The descriptions by the pipeline's name; copies share them.
#[derive(Clone, Debug, Default)]
pub struct Descriptions(Arc<Mutex<BTreeMap<String, Of>>>);

/// How often a pipeline has come to be judged by another model: what a worker says holds for one of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation(u64);

/// What is known of one pipeline.
#[derive(Clone, Debug, Default)]
struct Of {
    generation: Generation,
    last: Option<Last>,
}

/// A version, and what was said of it.
#[derive(Clone, Debug)]
struct Last {
    version: Option<i64>,
    generation: Generation,
    described: Arc<Described>,
}

impl Descriptions {
    /// What was said of this version, unless its model has been another since.
    pub fn find(&self, name: &str, version: Option<i64>) -> Option<Arc<Described>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = all.get(name)?;
        let last = of.last.as_ref().filter(|last| last.version == version && last.generation == of.generation)?;
        Some(Arc::clone(&last.described))
    }

    /// What was said of a pipeline last: for what hangs on this machine alone.
    pub fn last(&self, name: &str) -> Option<Arc<Described>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(name)?.last.as_ref().map(|last| Arc::clone(&last.described))
    }

    /// The generation of a pipeline now. Ask before anything of the pipeline is looked up, and hand it to
    /// [`Descriptions::keep`]: a worker takes its time, and the model may be another one by then.
    pub fn generation(&self, name: &str) -> Generation {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(name).map(|of| of.generation).unwrap_or_default()
    }

    /// Notes that a pipeline is judged by another model from now on.
    pub fn grow_old(&self, name: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Also where nothing was said yet: somebody may be asking a worker just now.
        all.entry(name.to_owned()).or_default().generation.0 += 1;
    }

    /// Remembers what was asked for in this generation; of each pipeline one version is remembered. What is said of a
    /// former generation is handed back all the same, but [`Descriptions::find`] never gives it.
    pub fn keep(
        &self,
        name: &str,
        version: Option<i64>,
        generation: Generation,
        described: Described,
    ) -> Arc<Described> {
        let described = Arc::new(described);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = all.entry(name.to_owned()).or_default();
        // Who was slow does not push out what holds.
        if of.last.is_none() || generation == of.generation {
            of.last = Some(Last { version, generation, described: Arc::clone(&described) });
        }
        described
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged_by(model: &str) -> Described {
        let whole = PipelineDescription { model: Some(model.to_owned()), ..PipelineDescription::default() };
        Described { whole, ..Described::default() }
    }

    /// The model of what is found of the pipeline `default`.
    fn found(all: &Descriptions, version: Option<i64>) -> Option<String> {
        all.find("default", version)?.whole.model.clone()
    }

    #[test]
    fn what_was_asked_for_before_another_model_judges_is_told_once_and_not_found_again() {
        let all = Descriptions::default();
        let before = all.generation("default");
        all.grow_old("default");
        let told = all.keep("default", None, before, judged_by("office@1"));
        assert_eq!(told.whole.model.as_deref(), Some("office@1"));
        assert_eq!(found(&all, None), None);
        assert!(all.last("default").is_some(), "what hangs on the machine alone is known");
        all.keep("default", None, all.generation("default"), judged_by("office@2"));
        assert_eq!(found(&all, None).as_deref(), Some("office@2"));
        // Somebody who was slower still.
        let told = all.keep("default", None, before, judged_by("office@1"));
        assert_eq!(told.whole.model.as_deref(), Some("office@1"));
        assert_eq!(found(&all, None).as_deref(), Some("office@2"));
    }

    #[test]
    fn a_description_holds_for_its_version_until_its_own_model_is_another() {
        let all = Descriptions::default();
        all.keep("default", Some(1), all.generation("default"), judged_by("office@1"));
        assert_eq!((found(&all, Some(1)).as_deref(), found(&all, Some(2))), (Some("office@1"), None));
        all.grow_old("other");
        assert_eq!(found(&all, Some(1)).as_deref(), Some("office@1"));
        all.keep("default", Some(2), all.generation("default"), judged_by("office@1"));
        assert_eq!((found(&all, Some(1)), found(&all, Some(2)).as_deref()), (None, Some("office@1")));
        all.grow_old("default");
        assert_eq!(found(&all, Some(2)), None);
        assert!(all.last("default").is_some());
    }
}
