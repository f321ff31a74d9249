//! The thread that starts one training after the other, and looks after it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use veilwatch::worker::{
    Event, FailedWhy, LearnProgress, Learnt, ModelChoice, Supervised, Task, TrainReport, TrainTask, WorkerEnd,
    WorkerLimits, supervise, unpack,
};

use super::{State, Training, folder, store};
use crate::database::DbError;
use crate::entries::marks::labels::works_with;
use crate::jobs::queue::{Turns, Why};
use crate::jobs::tasks::Temporary;
use crate::jobs::{Bench, clean};
use crate::models::Shelf;
use crate::pipelines::configured;

/// How long the thread sleeps without work before it looks by itself.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The thread, and the way to wake and end it.
#[derive(Clone, Default)]
pub struct Trainer(Arc<Shared>);

#[derive(Default)]
struct Shared {
    rung: Mutex<bool>,
    bell: Condvar,
    ended: AtomicBool,
    now: Mutex<Option<Now>>,
}

/// The training that runs.
#[derive(Clone)]
struct Now {
    id: i64,
    kill: Arc<AtomicBool>,
    progress: Option<LearnProgress>,
}

/// Why a training has come to nothing.
enum Outcome {
    Failed(Why, Option<String>),
    Crashed(Why, String),
    /// It was ended from here.
    Killed,
}

impl Trainer {
    /// Starts the thread. It ends with [`Trainer::end`], or with the program.
    ///
    /// # Errors
    /// Where the system has no thread left.
    pub fn start(bench: &Bench) -> std::io::Result<Self> {
        let trainer = Self::default();
        let (own, bench) = (trainer.clone(), bench.clone());
        std::thread::Builder::new().name("training".into()).spawn(move || own.work(&bench))?;
        Ok(trainer)
    }

    /// Says that there is something to do.
    pub fn wake(&self) {
        *self.0.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.bell.notify_all();
    }

    /// Ends what runs and takes nothing more. It is run again after the next start.
    pub fn end(&self) {
        self.0.ended.store(true, Ordering::Relaxed);
        if let Some(now) = self.now().as_ref() {
            now.kill.store(true, Ordering::Relaxed);
        }
        self.wake();
    }

    /// Ends one that runs, for good.
    pub fn stop(&self, id: i64) {
        if let Some(now) = self.now().filter(|now| now.id == id) {
            now.kill.store(true, Ordering::Relaxed);
        }
    }

    /// How far one has come that runs.
    pub fn progress(&self, id: i64) -> Option<LearnProgress> {
        self.now().filter(|now| now.id == id)?.progress
    }

    fn now(&self) -> Option<Now> {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, now: Option<Now>) {
        *self.0.now.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    fn has_ended(&self) -> bool {
        self.0.ended.load(Ordering::Relaxed)
    }

    fn work(&self, bench: &Bench) {
        let mut turns = Turns::default();
        while !self.has_ended() {
            match bench.db.run_blocking(|connection| store::take(connection, &mut turns, bench.clock.now())) {
                Ok(Some(training)) => self.run(bench, &training),
                Ok(None) => {
                    let rung = self.0.rung.lock().unwrap_or_else(PoisonError::into_inner);
                    let woken = self.0.bell.wait_timeout_while(rung, LOOK_AGAIN, |rung| !*rung);
                    *woken.unwrap_or_else(PoisonError::into_inner).0 = false;
                }
                Err(error) => {
                    tracing::error!(%error, "the queue of trainings cannot be read");
                    std::thread::sleep(LOOK_AGAIN);
                }
            }
        }
    }

    fn run(&self, bench: &Bench, training: &Training) {
        let kill = Arc::new(AtomicBool::new(false));
        self.set(Some(Now { id: training.id, kill: Arc::clone(&kill), progress: None }));
        // It may have been stopped before anybody could see it run.
        let asked = bench.db.run_blocking(|connection| store::is_stop_asked(connection, training.id));
        if asked.unwrap_or_default() || self.has_ended() {
            kill.store(true, Ordering::Relaxed);
        }
        // A mistake of ours costs this training, and not the thread.
        let tried = catch_unwind(AssertUnwindSafe(|| self.train(bench, training, &kill)));
        let outcome = tried.unwrap_or(Err(Outcome::Failed(Why::Worker, None)));
        loop {
            match self.note(bench, training, &outcome) {
                Ok(()) => break,
                Err(error) => {
                    tracing::error!(training = training.id, %error, "the outcome of a training cannot be noted yet");
                    if self.has_ended() {
                        break;
                    }
                    std::thread::sleep(LOOK_AGAIN);
                }
            }
        }
        self.set(None);
    }

    fn train(
        &self,
        bench: &Bench,
        training: &Training,
        kill: &AtomicBool,
    ) -> Result<(Option<u32>, TrainReport), Outcome> {
        let unwritten = |error: &dyn std::fmt::Display| {
            tracing::error!(training = training.id, %error, "a training cannot keep its files");
            Outcome::Failed(Why::Output, None)
        };
        if !bench.has_room() {
            return Err(Outcome::Failed(Why::Disk, None));
        }
        let result = Temporary::new(bench.folders.new_work_file().map_err(|error| unwritten(&error))?.1);
        let order = order(bench, training, result.path())?;
        let ended = supervise(
            Supervised {
                program: &bench.program,
                order: &order,
                wall: Duration::from_secs(bench.config.training.wall_seconds),
                stop: &AtomicBool::new(false),
                kill,
            },
            &mut |event| {
                if let Event::Learning(progress) = event
                    && let Some(now) = self.0.now.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
                {
                    now.progress = Some(*progress);
                }
            },
        );
        let trained = match ended {
            Ok(Event::Learnt(Learnt { trained })) => trained,
            Ok(_) => return Err(Outcome::Crashed(Why::Worker, "the worker spoke of something else".to_owned())),
            Err(end) => return Err(outcome_of(&end)),
        };
        let place = folder(&bench.config.data, &training.key).join("model");
        // What a try before left is no part of this one.
        let _ = std::fs::remove_dir_all(&place);
        std::fs::create_dir_all(&place).map_err(|error| unwritten(&error))?;
        let foreign = |words: String| {
            tracing::error!(training = training.id, words, "a training left what is no model");
            Outcome::Crashed(Why::Output, clean(&words))
        };
        let (report, has_model) = unpack(result.path(), &place).map_err(|error| foreign(error.to_string()))?;
        if has_model != trained {
            return Err(foreign("it said otherwise".to_owned()));
        }
        if !trained {
            return Ok((None, report));
        }
        // Its account was deleted meanwhile, or somebody stopped it at the last moment: nothing stays of it.
        if bench.db.run_blocking(|connection| store::is_stop_asked(connection, training.id)).unwrap_or_default() {
            return Err(Outcome::Killed);
        }
        let taken = Shelf::new(bench.clone()).take_in(&training.asked.model, &place);
        let version = taken.map_err(|error| foreign(error.to_string()))?;
        Ok((Some(version), report))
    }

    fn note(
        &self,
        bench: &Bench,
        training: &Training,
        outcome: &Result<(Option<u32>, TrainReport), Outcome>,
    ) -> Result<(), DbError> {
        let (id, now) = (training.id, bench.clock.now());
        let again = match outcome {
            Ok((version, report)) => {
                tracing::info!(training = id, version, "a training is done");
                bench.db.run_blocking(|c| store::done(c, id, *version, report, now)).map(|()| false)
            }
            // The portal ends: that was no try of it.
            Err(Outcome::Killed) if self.has_ended() && !bench.db.run_blocking(|c| store::is_stop_asked(c, id))? => {
                bench.db.run_blocking(|c| store::put_back(c, id)).map(|()| true)
            }
            Err(Outcome::Killed) => bench.db.run_blocking(|c| store::failed(c, id, Why::Stopped, None, false, now)),
            Err(Outcome::Failed(why, words)) => {
                let words = words.as_deref().map(clean);
                tracing::warn!(training = id, why = why.name(), words, "a training failed");
                bench.db.run_blocking(|c| store::failed(c, id, *why, words.as_deref(), false, now))
            }
            Err(Outcome::Crashed(why, words)) => {
                let words = clean(words);
                tracing::warn!(training = id, why = why.name(), words, "the worker of a training died");
                bench.db.run_blocking(|c| store::failed(c, id, *why, Some(&words), true, now))
            }
        }?;
        if !again {
            // Marks are copies of what people said: nobody needs them any more.
            let _ = std::fs::remove_dir_all(folder(&bench.config.data, &training.key));
        }
        Ok(())
    }
}

/// What the worker is to do, within the operator's limits.
fn order(bench: &Bench, training: &Training, result: &Path) -> Result<veilwatch::worker::Order, Outcome> {
    let asked = &training.asked;
    let shelf = Shelf::new(bench.clone());
    let Some(file) = configured(&bench.config, &asked.pipeline) else {
        let words = format!("there is no pipeline `{}` any more", asked.pipeline);
        return Err(Outcome::Failed(Why::Pipeline, Some(words)));
    };
    let data = bench.config.training.data.clone();
    let data = data.ok_or(Outcome::Failed(Why::Labels, Some("no folder of labelled data is configured".to_owned())))?;
    let marks = folder(&bench.config.data, &training.key).join("marks");
    let captures = bench.db.run_blocking(|connection| -> Result<Vec<PathBuf>, DbError> {
        let mut own = Vec::new();
        for sha256 in &asked.captures {
            if works_with(connection, training.account_id, sha256)? {
                own.push(bench.folders.capture(sha256));
            }
        }
        Ok(own)
    });
    let captures = captures.map_err(|error| {
        tracing::error!(training = training.id, %error, "nobody knows which captures a training may read");
        Outcome::Failed(Why::Worker, None)
    })?;
    let task = TrainTask {
        sources: asked.sources.clone(),
        marks: (asked.marks > 0).then_some(marks),
        // One that is not there any more, or not the account's: its marks find nothing, and that is told.
        captures: captures.into_iter().filter(|path| path.is_file()).collect(),
        on_conflict: asked.on_conflict,
        weight: asked.weight,
        name: asked.model.clone(),
        seed: asked.seed.into(),
        workers: bench.config.training.threads,
        result: result.to_owned(),
    };
    let mut order = bench.order(data, Task::Train(task), file);
    // The champion of that name, else what the pipeline is judged by now.
    order.model = shelf.judge(&asked.model).map(|name| ModelChoice { name, models: shelf.settings().clone() });
    let limits = &bench.config.training;
    order.limits = WorkerLimits {
        memory_bytes: limits.memory_bytes,
        cpu_seconds: limits.cpu_seconds,
        file_bytes: limits.result_bytes,
        ..order.limits
    };
    Ok(order)
}

fn outcome_of(end: &WorkerEnd) -> Outcome {
    let why = match end {
        WorkerEnd::Failed(failed) => {
            let why = match failed.why {
                FailedWhy::Pipeline => Why::Pipeline,
                FailedWhy::Plugin => Why::Plugin,
                FailedWhy::Output => Why::Output,
                FailedWhy::Sandbox => Why::Sandbox,
                FailedWhy::Labels | FailedWhy::Empty | FailedWhy::NotACapture | FailedWhy::Unreadable => Why::Labels,
                FailedWhy::Order => Why::Worker,
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

impl Training {
    /// Whether whoever waits for it has to wait no more.
    pub fn is_over(&self) -> bool {
        State::is_over(self.state)
    }
}
