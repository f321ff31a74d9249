//! Whether the pipelines that can be chosen can be used, before anybody chooses one.
//!
//! A worker loads each, confined as later: a library that is missing, or a model that does not fit, is said to the
//! operator at the start and not to somebody who waits for a result.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use veilwatch::worker::{Event, Supervised, Task, WorkerEnd, supervise};

use super::tasks::Temporary;
use super::{Bench, clean};
use crate::config::DEFAULT_PIPELINE;
use crate::models::Shelf;
use crate::portal::{PipelineError, StartError};
use crate::uploads::FileError;

/// A capture (pcap, version 2.4, Ethernet) without a packet.
const NO_PACKETS: [u8; 24] = [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0];

/// Has a worker load every pipeline that the operator named.
///
/// # Errors
/// Where one cannot be used.
pub fn load_pipelines(bench: &Bench) -> Result<(), StartError> {
    let shelf = Shelf::new(bench.clone());
    let own = bench.config.pipeline.iter().map(|choice| (choice.name.as_str(), Some(choice.file.clone())));
    // The one in the box says whether workers can be run here at all.
    for (name, pipeline) in std::iter::once((DEFAULT_PIPELINE, None)).chain(own) {
        let capture = empty_capture(bench)?;
        let result = Temporary::new(bench.folders.new_work_file()?.1);
        let unused = |words: String| PipelineError::Unusable { name: name.to_owned(), words: clean(&words) };
        let task = Task::Analyse { packets: Some(0), workers: 1, result: result.path().to_owned() };
        let mut order = bench.order(capture.path().to_owned(), task, pipeline);
        order.model = shelf.of_pipeline(name).and_then(|one| one.choice);
        let never = AtomicBool::new(false);
        let what = Supervised {
            program: &bench.program,
            order: &order,
            wall: Duration::from_secs(bench.config.worker.wall_seconds),
            stop: &never,
            kill: &never,
        };
        match supervise(what, &mut |_| {}) {
            Ok(Event::Analysed(_)) => {}
            Ok(_) => return Err(unused("the worker spoke of something else".to_owned()).into()),
            Err(WorkerEnd::Failed(failed)) => return Err(unused(failed.words).into()),
            Err(end) => return Err(unused(end.to_string()).into()),
        }
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
