//! What a pipeline holds, and whether it can be used, before anybody chooses it.
//!
//! A worker loads it, confined as later: a library that is missing, or a model that does not fit, is said to the operator
//! at the start, or to whoever wants to save it, and not to somebody who waits for a result.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use veilwatch::worker::{Event, ModelChoice, Supervised, Task, WorkerEnd, supervise};

use super::{Bench, clean};
use crate::config::DEFAULT_PIPELINE;
use crate::pipelines::described::{Described, Descriptions};
use crate::pipelines::{Chosen, choose, libraries};
use crate::portal::{PipelineError, StartError};

/// What a worker reads that is to read no capture.
const NOTHING: &str = "/dev/null";

/// Has a worker load a pipeline and say what became of its plugins. It blocks.
///
/// # Errors
/// How the worker ended that did not say it.
pub fn describe(bench: &Bench, chosen: &Chosen, kill: &AtomicBool) -> Result<Described, WorkerEnd> {
    describe_with(bench, chosen.file(), chosen.model(), kill)
}

/// The same of a configuration's file, none for the one in the box, with this model in the place of the one that it names.
///
/// # Errors
/// As [`describe`].
pub fn describe_with(
    bench: &Bench,
    pipeline: Option<PathBuf>,
    model: Option<ModelChoice>,
    kill: &AtomicBool,
) -> Result<Described, WorkerEnd> {
    let mut order = bench.order(PathBuf::from(NOTHING), Task::Describe, pipeline.clone());
    order.model = model;
    let never = AtomicBool::new(false);
    let what = Supervised {
        program: &bench.program,
        order: &order,
        wall: Duration::from_secs(bench.config.framework.check_seconds),
        stop: &never,
        kill,
    };
    let mut described = Described::default();
    let end = supervise(what, &mut |event| {
        if let Event::Plugin(plugin) = event {
            described.plugins.push((**plugin).clone());
        }
    });
    match end? {
        Event::Described(whole) => described.whole = whole,
        _ => return Err(WorkerEnd::Babble { what: "an answer to another question" }),
    }
    // Of a configuration that cannot be read there is nothing to hash.
    let config = pipeline.and_then(|path| veilwatch::config::Config::load(&path).ok());
    described.libraries =
        config.map(|config| libraries(&config, bench.config.framework.part_bytes)).unwrap_or_default();
    Ok(described)
}

/// Has a worker load the pipeline in the box and every one that the operator named.
///
/// # Errors
/// Where one cannot be used.
pub fn load_pipelines(bench: &Bench, descriptions: &Descriptions) -> Result<(), StartError> {
    let own = bench.config.pipeline.iter().map(|choice| choice.name.as_str());
    let never = AtomicBool::new(false);
    // The one in the box says whether workers can be run here at all.
    for name in std::iter::once(DEFAULT_PIPELINE).chain(own) {
        let unused = |words: &str| PipelineError::Unusable { name: name.to_owned(), words: clean(words) };
        let generation = descriptions.generation(name);
        let chosen = choose(bench, name, None).map_err(|words| unused(&words))?.unwrap_or_default();
        let described = match describe(bench, &chosen, &never) {
            Ok(described) => described,
            Err(WorkerEnd::Failed(failed)) => return Err(unused(&failed.words).into()),
            Err(end) => return Err(unused(&end.to_string()).into()),
        };
        if let Some(words) = &described.whole.refused {
            return Err(unused(words).into());
        }
        descriptions.keep(name, None, generation, described);
    }
    Ok(())
}
