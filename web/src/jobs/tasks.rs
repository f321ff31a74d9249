//! The short looks into a capture that somebody waits for: what is it, and the packets of one flow.
//!
//! They parse a capture too, so they run in a worker like an analysis. Only a few run at the same time, and one account
//! has one of each kind at most: however many somebody wants, the others get their turns.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rocket::tokio::task;
use veilwatch::worker::{CutFlow, Event, FailedWhy, Inspection, Supervised, Task, WorkerEnd, supervise};

use super::{Bench, check, clean};
use crate::at_once::{OneEach, Turn};
use crate::entries::Entry;
use crate::pipelines::described::Described;
use crate::pipelines::{self, Chosen};

/// Looks of each kind that are taken at the same time; others wait. Whoever cuts out flows keeps nobody from uploading.
const AT_ONCE: usize = 2;

/// Takes short looks.
#[derive(Clone)]
pub struct Looks {
    bench: Bench,
    inspecting: OneEach,
    cutting: OneEach,
    loading: OneEach,
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
        let turns = || OneEach::new(AT_ONCE);
        Self { bench, inspecting: turns(), cutting: turns(), loading: turns(), ended: Arc::default() }
    }

    /// Ends all looks: the portal ends.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Says what a file of this account is.
    ///
    /// # Errors
    /// Where it is nothing that can be analysed.
    pub async fn inspect(&self, account: i64, capture: PathBuf) -> Result<Inspection, LookError> {
        let task = Task::Inspect { packets: self.bench.config.worker.inspect_packets };
        let turn = turn(&self.inspecting, account).await?;
        match self.look(turn, capture, task, None, self.bench.config.worker.inspect_seconds).await? {
            Event::Inspected(inspection) => Ok(inspection),
            _ => Err(LookError::Died("the worker spoke of something else".to_owned())),
        }
    }

    /// Cuts the packets of a flow out of a capture that this pipeline has read, into a file that ends with the answer;
    /// says whether all fitted. It takes a turn of whoever asked for the entry.
    ///
    /// # Errors
    /// Where they cannot be cut out.
    pub async fn cut(&self, entry: &Entry, flow: CutFlow) -> Result<(Temporary, bool), LookError> {
        let turn = turn(&self.cutting, entry.asker).await?;
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

    /// Loads a pipeline for this account and says what became of its plugins.
    ///
    /// # Errors
    /// Why no worker could say it: a library may have killed it.
    pub async fn describe(&self, account: i64, chosen: Chosen) -> Result<Described, LookError> {
        let turn = turn(&self.loading, account).await?;
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
        turn: Turn,
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

/// Waits for a turn of this account.
async fn turn(turns: &OneEach, account: i64) -> Result<Turn, LookError> {
    turns.take(account).await.map_err(|error| LookError::Ours(error.to_string()))
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

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::at_once::already;
    use crate::clock::SystemClock;
    use crate::config::{Config, Limits};
    use crate::database::Db;
    use crate::entries;
    use crate::uploads::testing::Place;

    /// Looks that no worker can take: one that has had its turn ends with that.
    fn looks(place: &Place) -> Looks {
        let limits = Limits { free_disk_bytes: 0, ..Limits::default() };
        Looks::new(Bench {
            config: Config { limits, ..Config::default() },
            db: Db::open(&place.folder.path().join("portal.sqlite")).unwrap(),
            clock: Arc::new(SystemClock),
            folders: place.folders.clone(),
            program: place.folder.path().join("no-program"),
            figures: Arc::default(),
        })
    }

    fn had_its_turn<T>(looked: Result<T, LookError>) -> bool {
        matches!(looked, Err(LookError::Ours(_)))
    }

    #[rocket::async_test]
    async fn who_has_a_file_inspected_keeps_nobody_else_waiting() {
        let place = Place::new();
        let looks = looks(&place);
        let held = looks.inspecting.take(1).await.unwrap();
        let mut own = Box::pin(looks.inspect(1, "capture".into()));
        assert!(already(&mut own).is_none());
        assert!(had_its_turn(looks.inspect(2, "capture".into()).await));
        drop(held);
        assert!(had_its_turn(own.await));
    }

    #[test]
    fn who_cuts_flows_out_keeps_nobody_else_waiting() {
        let mut place = Place::new();
        let (ada, bob) = (place.account("ada"), place.account("bob"));
        let [theirs, others] = [ada, bob].map(|account| {
            let key = place.keep(account, b"packets");
            entries::find(&place.connection, account, key.as_str()).unwrap().unwrap()
        });
        let looks = looks(&place);
        let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let flow = || CutFlow {
            src_ip: nobody,
            src_port: 1,
            dest_ip: nobody,
            dest_port: 2,
            protocol: 6,
            first_packet: 1,
            last_ns: 1,
        };
        rocket::execute(async {
            let held = looks.cutting.take(ada).await.unwrap();
            let mut own = Box::pin(looks.cut(&theirs, flow()));
            assert!(already(&mut own).is_none());
            assert!(had_its_turn(looks.cut(&others, flow()).await));
            // What somebody cuts out does not keep them from uploading.
            assert!(had_its_turn(looks.inspect(ada, "capture".into()).await));
            drop(held);
            assert!(had_its_turn(own.await));
        });
    }
}
