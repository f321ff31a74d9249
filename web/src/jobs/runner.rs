//! The threads that start workers and look after them.
//!
//! Each thread takes one analysis after the other. They are plain threads: a worker is a process, and waiting for it
//! blocks. What a worker leaves is checked before the database says that it is there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use veilwatch::worker::{Event, FailedWhy, Supervised, Task, WorkerEnd, supervise};

use super::live::{Board, Running};
use super::queue::{self, Done, Job, Turns, Why};
use super::tasks::Temporary;
use super::{Bench, clean};
use crate::database::DbError;
use crate::models::{Shelf, shadow};
use crate::operations::Figures;
use crate::pipelines::{self, troubles};
use crate::results::{ResultError, ResultFile};
use crate::triage::collect::{self, Found};
use crate::uploads::Key;

/// How long a thread without work sleeps before it looks by itself.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long the first look into a result may take.
const CHECK_MILLISECONDS: u32 = 10_000;

/// The threads, and the way to wake and end them.
#[derive(Clone)]
pub struct Runner {
    shared: Arc<Shared>,
    /// How far running analyses have come.
    pub board: Board,
}

#[derive(Default)]
struct Shared {
    /// How often it was said that there is something to do. A count, and no flag that the first thread to wake takes
    /// down: two analyses that come at the same time wake two threads.
    rung: Mutex<u64>,
    bell: Condvar,
    ended: AtomicBool,
    turns: Mutex<Turns>,
}

impl Runner {
    /// Starts the threads. They end with [`Runner::end`], or with the program.
    ///
    /// # Errors
    /// Where the system has no thread left.
    pub fn start(bench: &Bench) -> std::io::Result<Self> {
        let runner = Self { shared: Arc::new(Shared::default()), board: Board::default() };
        for at in 0..bench.config.worker.at_once {
            let (runner, bench) = (runner.clone(), bench.clone());
            std::thread::Builder::new().name(format!("analyses-{at}")).spawn(move || runner.work(&bench))?;
        }
        Ok(runner)
    }

    /// Says that there is something to do.
    pub fn wake(&self) {
        *self.shared.rung.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.shared.bell.notify_all();
    }

    /// Ends all workers and takes no more work. What was running is run again after the next start.
    pub fn end(&self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.board.kill_all();
        self.wake();
    }

    fn work(&self, bench: &Bench) {
        while !self.shared.ended.load(Ordering::Relaxed) {
            // What comes after this look rings again.
            let rung = *self.shared.rung.lock().unwrap_or_else(PoisonError::into_inner);
            let job = bench.db.run_blocking(|connection| {
                let mut turns = self.shared.turns.lock().unwrap_or_else(PoisonError::into_inner);
                queue::take(connection, &mut turns, bench.clock.now())
            });
            match job {
                Ok(Some(job)) => self.run(bench, &job),
                // Nobody waits: entries of before there was a queue of conversations follow, one at a time.
                Ok(None) if follow(bench) => {}
                Ok(None) => self.sleep(rung),
                Err(error) => {
                    tracing::error!(%error, "the queue cannot be read");
                    std::thread::sleep(LOOK_AGAIN);
                }
            }
        }
    }

    /// Sleeps until the bell rings once more than `heard` times.
    fn sleep(&self, heard: u64) {
        let rung = self.shared.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let woken = self.shared.bell.wait_timeout_while(rung, LOOK_AGAIN, |rung| *rung == heard);
        drop(woken.unwrap_or_else(PoisonError::into_inner));
    }

    fn run(&self, bench: &Bench, job: &Job) {
        let on_board = self.board.begin(job.entry);
        let running = &on_board.running;
        // A mistake of ours costs this analysis, and not the thread.
        let tried = catch_unwind(AssertUnwindSafe(|| {
            // It may have been stopped or deleted before it was on the board.
            begin(bench, job, running).and_then(|()| analyse(bench, job, running))
        }));
        let outcome = tried.unwrap_or(Err(Outcome::Failed(Why::Worker, None)));
        let has_ended = || self.shared.ended.load(Ordering::Relaxed);
        loop {
            let noted = match &outcome {
                // The portal ends: that was no try of this analysis.
                Err(Outcome::Killed) if has_ended() => {
                    bench.db.run_blocking(|c| queue::put_back(c, job.entry)).map(|()| true)
                }
                outcome => note(bench, job, outcome),
            };
            match noted {
                Ok(true) => {
                    count(&bench.figures, &outcome);
                    break;
                }
                Ok(false) => {
                    bench.figures.analysed(Why::Quota.name());
                    break;
                }
                Err(error) if has_ended() => {
                    tracing::error!(entry = job.entry, %error, "the outcome of an analysis is lost; it is run again");
                    break;
                }
                Err(error) => {
                    // A full disk, or a backup that takes long: without this line the entry would hang for ever.
                    tracing::error!(entry = job.entry, %error, "the outcome of an analysis cannot be noted yet");
                    std::thread::sleep(LOOK_AGAIN);
                }
            }
        }
        drop(on_board);
        // Perhaps it was put back.
        self.wake();
    }
}

fn begin(bench: &Bench, job: &Job, running: &Running) -> Result<(), Outcome> {
    match bench.db.run_blocking(|connection| queue::is_stop_asked(connection, job.entry)) {
        Ok(Some(asked)) => {
            // Somebody may ask just now: that must not be forgotten.
            running.stop.fetch_or(asked, Ordering::Relaxed);
            Ok(())
        }
        Ok(None) => Err(Outcome::Killed),
        Err(error) => {
            tracing::error!(entry = job.entry, %error, "an entry cannot be read");
            Err(Outcome::Failed(Why::Worker, None))
        }
    }
}

/// What became of an analysis that has no result.
enum Outcome {
    /// It is set aside.
    Failed(Why, Option<String>),
    /// Its worker died.
    Crashed(Why, String),
    /// It was ended from here: by a deletion, because it did not hear that it should stop, or because the portal ends.
    Killed,
}

fn analyse(bench: &Bench, job: &Job, running: &Running) -> Result<Done, Outcome> {
    let capture = bench.folders.capture(&job.sha256);
    if !capture.is_file() {
        return Err(Outcome::Failed(Why::Missing, None));
    }
    let unusable = |words: String| Outcome::Failed(Why::Pipeline, Some(words));
    let chosen = pipelines::choose(bench, &job.pipeline, job.pipeline_version).map_err(unusable)?;
    // Its text is there for as long as this is held.
    let Some(chosen) = chosen else {
        let words = format!("there is no pipeline `{}` any more", job.pipeline);
        return Err(Outcome::Failed(Why::Pipeline, Some(words)));
    };
    if !bench.has_room() {
        return Err(Outcome::Failed(Why::Disk, None));
    }
    let quota = bench.config.limits.quota_bytes;
    let left = bench.db.run_blocking(|connection| queue::left_of_quota(connection, job.entry, quota));
    let left = left.map_err(|error| {
        tracing::error!(entry = job.entry, %error, "a quota cannot be read");
        Outcome::Failed(Why::Worker, None)
    })?;
    let Some(left) = left else { return Err(Outcome::Failed(Why::Quota, None)) };
    let (_, result) = bench.folders.new_work_file().map_err(|error| unwritten(&error))?;
    let result = Temporary::new(result);
    let task = Task::Analyse {
        packets: job.packet_limit,
        workers: bench.config.worker.threads.max(1),
        result: result.path().to_owned(),
    };
    let mut order = bench.order(capture, task, chosen.file());
    // Nothing grows beyond the quota, however much may be written otherwise.
    let most = order.limits.file_bytes;
    order.limits.file_bytes = most.min(left);
    let judged_by = chosen.judged();
    order.shadow = judged_by.and_then(|_| beside(bench, &job.pipeline));
    order.model = match (judged_by, &order.shadow) {
        (Some(one), Some(_)) => one.beside(Shelf::new(bench.clone()).settings()),
        _ => chosen.model(),
    };
    let ended = supervise(
        Supervised {
            program: &bench.program,
            order: &order,
            wall: Duration::from_secs(bench.config.worker.wall_seconds),
            stop: &running.stop,
            kill: &running.kill,
        },
        &mut |event| running.note(event),
    );
    match ended {
        Ok(Event::Analysed(analysed)) => {
            let (bytes, troubles) = keep(bench, job, result.path())?;
            // Counts for a page: without them the result is as good.
            if let Err(error) = bench.db.run_blocking(|c| troubles::note(c, job.entry, &troubles)) {
                tracing::warn!(entry = job.entry, %error, "failures of plugins cannot be noted");
            }
            if let Some(challenger) = &order.shadow {
                compared(bench, job, judged_by.map_or("", |one| one.model.as_str()), challenger);
            }
            Ok(Done { analysed, bytes })
        }
        Ok(_) => Err(Outcome::Crashed(Why::Worker, "the worker spoke of something else".to_owned())),
        Err(WorkerEnd::FileSize { .. }) if left < most => Err(Outcome::Failed(Why::Quota, None)),
        Err(end) => Err(outcome_of(&end)),
    }
}

/// The challenger of a pipeline. It decides nothing, so that no analysis waits for what is wrong with it.
fn beside(bench: &Bench, pipeline: &str) -> Option<String> {
    let asked = bench.db.run_blocking(|connection| shadow::of(connection, pipeline));
    asked.inspect_err(|error| tracing::error!(%error, "which challenger there is cannot be read")).ok().flatten()
}

/// Notes what a challenger came to.
fn compared(bench: &Bench, job: &Job, champion: &str, challenger: &str) {
    let line = ResultFile::open(&bench.folders.result(&job.key), CHECK_MILLISECONDS).and_then(|file| file.summary());
    let noted = line.map_err(|error| error.to_string()).and_then(|summary| {
        let note = |c: &mut rusqlite::Connection| shadow::note(c, job.entry, champion, challenger, &summary.line);
        bench.db.run_blocking(note).map_err(|error| error.to_string())
    });
    if let Err(error) = noted {
        tracing::error!(entry = job.entry, error, "what a challenger came to is lost");
    }
}

/// Trouble of this side with files: the log says where, the page does not.
fn unwritten(error: &dyn std::fmt::Display) -> Outcome {
    tracing::error!(%error, "a result cannot be kept");
    Outcome::Failed(Why::Output, None)
}

/// Checks what the worker wrote and puts it where results are; says how large it is, and which plugins failed.
fn keep(bench: &Bench, job: &Job, result: &Path) -> Result<(u64, Vec<troubles::Trouble>), Outcome> {
    // A result that is not one of ours was written by a worker that a capture or a plugin has taken over. All that the
    // result's page will ask for is asked here first.
    let checked = ResultFile::open(result, CHECK_MILLISECONDS).and_then(|file| {
        Ok((file.summary()?, file.histograms()?, file.host_count()?, file.hosts(1, 0)?, file.alerts(1, 0)?))
    });
    let (summary, ..) = checked.map_err(|error| {
        tracing::error!(entry = job.entry, %error, "a worker left what is no result");
        Outcome::Crashed(Why::Output, "what the worker left is no result".to_owned())
    })?;
    let file = std::fs::File::open(result).map_err(|error| unwritten(&error))?;
    file.sync_all().map_err(|error| unwritten(&error))?;
    let bytes = file.metadata().map_err(|error| unwritten(&error))?.len();
    bench.folders.place(result, &bench.folders.result(&job.key)).map_err(|error| unwritten(&error))?;
    Ok((bytes, troubles::of(&summary)))
}

fn outcome_of(end: &WorkerEnd) -> Outcome {
    let why = match end {
        WorkerEnd::Failed(failed) => {
            let why = match failed.why {
                FailedWhy::Empty | FailedWhy::NotACapture | FailedWhy::Unreadable => Why::Capture,
                FailedWhy::Pipeline => Why::Pipeline,
                FailedWhy::Plugin => Why::Plugin,
                FailedWhy::Output => Why::Output,
                FailedWhy::Sandbox => Why::Sandbox,
                FailedWhy::Order | FailedWhy::Labels => Why::Worker,
            };
            return Outcome::Failed(why, Some(failed.words.clone()));
        }
        WorkerEnd::Killed => return Outcome::Killed,
        // Limits are reached again as surely as the first time.
        WorkerEnd::Memory => Why::Memory,
        WorkerEnd::CpuTime { .. } => Why::CpuTime,
        WorkerEnd::WallTime { .. } => Why::WallTime,
        WorkerEnd::FileSize { .. } => Why::ResultSize,
        WorkerEnd::Forbidden => Why::Forbidden,
        _ => return Outcome::Crashed(Why::Crashed, end.to_string()),
    };
    Outcome::Failed(why, Some(end.to_string()))
}

/// One run more that came to this.
fn count(figures: &Figures, outcome: &Result<Done, Outcome>) {
    figures.analysed(match outcome {
        Ok(_) => "done",
        Err(Outcome::Failed(why, _)) => why.name(),
        Err(Outcome::Killed) => Why::Stopped.name(),
        Err(Outcome::Crashed(why, _)) => {
            Figures::count(&figures.analyses_died);
            why.name()
        }
    });
}

/// What became of a result that is whole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Became {
    Kept,
    /// Its owner has no room for it.
    TooMuch,
    /// Its entry was deleted meanwhile.
    Gone,
}

/// Notes what became of an analysis. False where there is no room left for what it came to.
fn note(bench: &Bench, job: &Job, outcome: &Result<Done, Outcome>) -> Result<bool, DbError> {
    let (entry, now) = (job.entry, bench.clock.now());
    match outcome {
        Ok(done) => {
            // One that takes too long follows when nobody waits.
            let found = found(bench, job.entry, &job.key);
            let quota = bench.config.limits.quota_bytes;
            let became = bench.db.run_blocking(|connection| -> Result<Became, DbError> {
                let transaction = connection.transaction()?;
                if !queue::done(&transaction, entry, done, now)? {
                    return Ok(Became::Gone);
                }
                // What came of another one of its owner's meanwhile may have taken the room.
                if queue::left_of_quota(&transaction, entry, quota)?.is_none() {
                    drop(transaction);
                    queue::failed(connection, entry, Why::Quota, None, now)?;
                    return Ok(Became::TooMuch);
                }
                if let Ok(found) = &found {
                    collect::store(&transaction, entry, Some(found), now)?;
                }
                transaction.commit()?;
                Ok(Became::Kept)
            })?;
            let (packets, flows) = (done.analysed.packets, done.analysed.flows);
            match became {
                Became::Kept => tracing::info!(entry, packets, flows, "an analysis is done"),
                Became::TooMuch => tracing::warn!(entry, bytes = done.bytes, "a quota has no room for a result"),
                // And with it everything that came from it.
                Became::Gone => {
                    tracing::info!(entry, packets, flows, "an analysis is done whose entry was deleted meanwhile")
                }
            }
            if became != Became::Kept
                && let Err(error) = bench.folders.remove_result(&job.key)
            {
                tracing::warn!(entry, %error, "a result stays behind until the next start");
            }
            return Ok(became != Became::TooMuch);
        }
        Err(Outcome::Failed(why, words)) => {
            let words = words.as_deref().map(clean);
            tracing::warn!(entry, why = why.name(), words, "an analysis failed");
            bench.db.run_blocking(|c| queue::failed(c, entry, *why, words.as_deref(), now))?;
        }
        Err(Outcome::Crashed(why, words)) => {
            let words = clean(words);
            let again = bench.db.run_blocking(|c| queue::crashed(c, entry, *why, &words, now))?;
            tracing::warn!(entry, why = why.name(), words, again, "a worker died");
        }
        // Its entry was deleted, or it was asked to stop and did not hear.
        Err(Outcome::Killed) => bench.db.run_blocking(|c| queue::failed(c, entry, Why::Stopped, None, now))?,
    }
    Ok(true)
}

/// The conversations of a result that are worth a look.
fn found(bench: &Bench, entry: i64, key: &Key) -> Result<Found, ResultError> {
    let file = ResultFile::open(&bench.folders.result(key), CHECK_MILLISECONDS);
    file.and_then(|file| collect::read(&file, bench.config.triage.conversations)).inspect_err(|error| {
        tracing::warn!(entry, %error, "conversations of a result cannot be read");
    })
}

/// Reads the conversations of one entry that has none yet. False where there is no such entry.
fn follow(bench: &Bench) -> bool {
    let followed = bench.db.run_blocking(|connection| collect::pending(connection)).and_then(|pending| {
        let Some((entry, key)) = pending else { return Ok(false) };
        let found = found(bench, entry, &key).ok();
        bench.db.run_blocking(|connection| -> Result<bool, DbError> {
            let transaction = connection.transaction()?;
            collect::store(&transaction, entry, found.as_ref(), bench.clock.now())?;
            transaction.commit()?;
            Ok(true)
        })
    });
    followed.unwrap_or_else(|error| {
        tracing::error!(%error, "conversations of earlier results cannot be kept");
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_rings_wake_two_threads() {
        let runner = Runner { shared: Arc::default(), board: Board::default() };
        let begin = std::time::Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| runner.sleep(0));
            }
            std::thread::sleep(Duration::from_millis(100));
            runner.wake();
            runner.wake();
        });
        assert!(begin.elapsed() < LOOK_AGAIN / 2);
    }
}
