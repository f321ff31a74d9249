//! What a pipeline holds, and whether it can be used, before anybody chooses it.
//!
//! A worker loads it, confined as later: a library that is missing, or a model that does not fit, is said to the operator
//! at the start, or to whoever wants to save it, and not to somebody who waits for a result.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use veilwatch::worker::{Event, Supervised, Task, WorkerEnd, supervise};

use super::tasks::Temporary;
use super::{Bench, clean};
use crate::config::DEFAULT_PIPELINE;
use crate::pipelines::described::{Described, Descriptions};
use crate::pipelines::{Chosen, choose, libraries};
use crate::portal::{PipelineError, StartError};
use crate::uploads::FileError;

/// A capture (pcap, version 2.4, Ethernet) without a packet.
const NO_PACKETS: [u8; 24] = [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0];

/// What a worker reads that is to read no capture.
const NOTHING: &str = "/dev/null";

/// Has a worker load a pipeline and say what became of its plugins. It blocks.
///
/// # Errors
/// How the worker ended that did not say it.
pub fn describe(bench: &Bench, chosen: &Chosen, kill: &AtomicBool) -> Result<Described, WorkerEnd> {
    let pipeline = chosen.file();
    let mut order = bench.order(PathBuf::from(NOTHING), Task::Describe, pipeline.clone());
    order.model = chosen.model();
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
        let chosen = choose(bench, name, None).map_err(|words| unused(&words))?.unwrap_or_default();
        let described = match describe(bench, &chosen, &never) {
            Ok(described) => described,
            Err(WorkerEnd::Failed(failed)) => return Err(unused(&failed.words).into()),
            Err(end) => return Err(unused(&end.to_string()).into()),
        };
        if let Some(words) = &described.whole.refused {
            return Err(unused(words).into());
        }
        descriptions.keep(name, None, described);
    }
    Ok(())
}

/// A capture without a packet, for a worker that only loads a pipeline.
///
/// # Errors
/// Where it cannot be written.
pub(crate) fn empty_capture(bench: &Bench) -> Result<Temporary, FileError> {
    let (mut file, path) = bench.folders.new_work_file()?;
    let capture = Temporary::new(path);
    std::io::Write::write_all(&mut file, &NO_PACKETS).map_err(|source| FileError {
        what: "written",
        path: capture.path().to_owned(),
        source,
    })?;
    Ok(capture)
}
