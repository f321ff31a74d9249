//! The short looks into a capture that somebody waits for: what is it, and the packets of one flow.
//!
//! They parse a capture too, so they run in a worker like an analysis. Only a few run at the same time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rocket::tokio::sync::Semaphore;
use rocket::tokio::task;
use veilwatch::worker::{CutFlow, Event, FailedWhy, Inspection, Supervised, Task, WorkerEnd, supervise};

use super::Bench;
use crate::uploads::Sha256Hex;

/// Looks that are taken at the same time; others wait.
const AT_ONCE: usize = 3;

/// Takes short looks.
#[derive(Clone)]
pub struct Looks {
    bench: Bench,
    free: Arc<Semaphore>,
}

/// Why a look gave nothing.
#[derive(Debug)]
pub enum LookError {
    /// The capture is empty, none, or cannot be read: what and why, for people.
    Capture(FailedWhy, String),
    /// It killed the worker, or took too long.
    Died(String),
    /// Something on this side.
    Ours(String),
}

impl Looks {
    /// Looks through this bench.
    pub fn new(bench: Bench) -> Self {
        Self { bench, free: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Says what a file is.
    ///
    /// # Errors
    /// Where it is nothing that can be analysed.
    pub async fn inspect(&self, capture: PathBuf) -> Result<Inspection, LookError> {
        let task = Task::Inspect { packets: self.bench.config.worker.inspect_packets };
        match self.look(capture, task, None).await? {
            Event::Inspected(inspection) => Ok(inspection),
            _ => Err(LookError::Died("the worker spoke of something else".to_owned())),
        }
    }

    /// Cuts the packets of a flow out of a capture that this pipeline has read, into a file that ends with the answer; says whether all fitted.
    ///
    /// # Errors
    /// Where they cannot be cut out.
    pub async fn cut(&self, sha256: &Sha256Hex, pipeline: &str, flow: CutFlow) -> Result<(Temporary, bool), LookError> {
        let (_, path) = self.bench.folders.new_work_file().map_err(|error| LookError::Ours(error.to_string()))?;
        let result = Temporary(path);
        let task = Task::Cut { flow, result: result.0.clone(), bytes: self.bench.config.limits.cut_bytes };
        // Its limits on what is read, not its plugins.
        let pipeline = self.bench.pipeline(pipeline).flatten();
        match self.look(self.bench.folders.capture(sha256), task, pipeline).await? {
            Event::Cut { complete, .. } => Ok((result, complete)),
            _ => Err(LookError::Died("the worker spoke of something else".to_owned())),
        }
    }

    async fn look(&self, capture: PathBuf, task: Task, pipeline: Option<PathBuf>) -> Result<Event, LookError> {
        // Held until the worker has ended, even where whoever waits has gone.
        let turn = Arc::clone(&self.free).acquire_owned().await;
        let turn = turn.map_err(|error| LookError::Ours(error.to_string()))?;
        let bench = self.bench.clone();
        let looked = task::spawn_blocking(move || {
            let _turn = turn;
            let order = bench.order(capture, task, pipeline);
            let never = AtomicBool::new(false);
            let what = Supervised {
                program: &bench.program,
                order: &order,
                wall: Duration::from_secs(bench.config.worker.inspect_seconds),
                stop: &never,
                kill: &never,
            };
            supervise(what, &mut |_| {})
        });
        match looked.await.map_err(|error| LookError::Ours(error.to_string()))? {
            Ok(event) => Ok(event),
            Err(WorkerEnd::Failed(failed)) => match failed.why {
                FailedWhy::Empty | FailedWhy::NotACapture | FailedWhy::Unreadable => {
                    Err(LookError::Capture(failed.why, failed.words))
                }
                _ => Err(LookError::Ours(failed.words)),
            },
            Err(WorkerEnd::Start(error)) => Err(LookError::Ours(error.to_string())),
            Err(end) => Err(LookError::Died(end.to_string())),
        }
    }
}

/// A file that is deleted when nobody needs it any more.
#[derive(Debug)]
pub struct Temporary(PathBuf);

impl Temporary {
    /// This file, from now on.
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
