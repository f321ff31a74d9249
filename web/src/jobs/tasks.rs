//! The short looks into a capture that somebody waits for: what is it, and the packets of one flow.
//!
//! They parse a capture too, so they run in a worker like an analysis. Only a few run at the same time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rocket::tokio::sync::{OwnedSemaphorePermit, Semaphore};
use rocket::tokio::task;
use veilwatch::worker::{CutFlow, Event, FailedWhy, Inspection, Supervised, Task, WorkerEnd, supervise};

use super::{Bench, check, clean};
use crate::entries::Entry;
use crate::pipelines::described::Described;
use crate::pipelines::{self, Chosen};

/// Looks of each kind that are taken at the same time; others wait. Whoever cuts out flows keeps nobody from uploading.
const AT_ONCE: usize = 2;

/// Takes short looks.
#[derive(Clone)]
pub struct Looks {
    bench: Bench,
    inspecting: Arc<Semaphore>,
    cutting: Arc<Semaphore>,
    loading: Arc<Semaphore>,
    ended: Arc<AtomicBool>,
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
        let places = || Arc::new(Semaphore::new(AT_ONCE));
        Self { bench, inspecting: places(), cutting: places(), loading: places(), ended: Arc::default() }
    }

    /// Ends all looks: the portal ends.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Says what a file is.
    ///
    /// # Errors
    /// Where it is nothing that can be analysed.
    pub async fn inspect(&self, capture: PathBuf) -> Result<Inspection, LookError> {
        let task = Task::Inspect { packets: self.bench.config.worker.inspect_packets };
        let turn = turn(&self.inspecting).await?;
        match self.look(turn, capture, task, None, self.bench.config.worker.inspect_seconds).await? {
            Event::Inspected(inspection) => Ok(inspection),
            _ => Err(LookError::Died("the worker spoke of something else".to_owned())),
        }
    }

    /// Cuts the packets of a flow out of a capture that this pipeline has read, into a file that ends with the answer;
    /// says whether all fitted.
    ///
    /// # Errors
    /// Where they cannot be cut out.
    pub async fn cut(&self, entry: &Entry, flow: CutFlow) -> Result<(Temporary, bool), LookError> {
        let turn = turn(&self.cutting).await?;
        if !self.bench.has_room() {
            return Err(LookError::Ours("the disk is full".to_owned()));
        }
        let (_, path) = self.bench.folders.new_work_file().map_err(|error| LookError::Ours(error.to_string()))?;
        let result = Temporary(path);
        let task = Task::Cut { flow, result: result.0.clone(), bytes: self.bench.config.limits.cut_bytes };
        // Its limits on what is read, not its plugins.
        let (bench, name, version) = (self.bench.clone(), entry.pipeline.clone(), entry.pipeline_version);
        let chosen = move || pipelines::choose(&bench, name.as_deref().unwrap_or_default(), version);
        let chosen = task::spawn_blocking(chosen).await.map_err(|error| LookError::Ours(error.to_string()))?;
        let chosen = chosen.ok().flatten().unwrap_or_default();
        let capture = self.bench.folders.capture(&entry.sha256);
        match self.look(turn, capture, task, chosen.file(), self.bench.config.worker.cut_seconds).await? {
            Event::Cut { complete, .. } => Ok((result, complete)),
            _ => Err(LookError::Died("the worker spoke of something else".to_owned())),
        }
    }

    /// Loads a pipeline and says what became of its plugins.
    ///
    /// # Errors
    /// Why no worker could say it: a library may have killed it.
    pub async fn describe(&self, chosen: Chosen) -> Result<Described, LookError> {
        let turn = turn(&self.loading).await?;
        let (bench, ended) = (self.bench.clone(), Arc::clone(&self.ended));
        let described = task::spawn_blocking(move || {
            let _turn = turn;
            check::describe(&bench, &chosen, &ended)
        });
        described.await.map_err(|error| LookError::Ours(error.to_string()))?.map_err(|end| match end {
            WorkerEnd::Start(error) => LookError::Ours(error.to_string()),
            WorkerEnd::Failed(failed) => LookError::Died(clean(&failed.words)),
            end => LookError::Died(clean(&end.to_string())),
        })
    }

    /// Looks; `turn` is held until the worker has ended, even where whoever waits has gone.
    async fn look(
        &self,
        turn: OwnedSemaphorePermit,
        capture: PathBuf,
        task: Task,
        pipeline: Option<PathBuf>,
        seconds: u64,
    ) -> Result<Event, LookError> {
        let (bench, ended) = (self.bench.clone(), Arc::clone(&self.ended));
        let looked = task::spawn_blocking(move || {
            let _turn = turn;
            let order = bench.order(capture, task, pipeline);
            let never = AtomicBool::new(false);
            let what = Supervised {
                program: &bench.program,
                order: &order,
                wall: Duration::from_secs(seconds),
                stop: &never,
                kill: &ended,
            };
            supervise(what, &mut |_| {})
        });
        match looked.await.map_err(|error| LookError::Ours(error.to_string()))? {
            Ok(event) => Ok(event),
            Err(WorkerEnd::Failed(failed)) => match failed.why {
                FailedWhy::Empty | FailedWhy::NotACapture | FailedWhy::Unreadable => {
                    Err(LookError::Capture(failed.why, clean(&failed.words)))
                }
                _ => Err(LookError::Ours(clean(&failed.words))),
            },
            Err(WorkerEnd::Start(error)) => Err(LookError::Ours(error.to_string())),
            Err(end) => Err(LookError::Died(clean(&end.to_string()))),
        }
    }
}

/// Waits for a place.
async fn turn(free: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, LookError> {
    Arc::clone(free).acquire_owned().await.map_err(|error| LookError::Ours(error.to_string()))
}

/// A file that is deleted when nobody needs it any more.
#[derive(Debug)]
pub struct Temporary(PathBuf);

impl Temporary {
    /// This file, from now on.
    pub(crate) fn new(path: PathBuf) -> Self {
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
