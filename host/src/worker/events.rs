use super::order::{Event, Failed, FailedWhy, LearnProgress, LearnStage, Stage, WorkerProgress};
use super::{LINE_BYTES, WorkerAlert};
use crate::engine::{Detection, Progress};
use crate::output::bounded;
use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::process;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;
use veilwatch_core::record::ClientHello;

/// Alerts that are told while an analysis goes on.
pub const MAX_ALERTS: u64 = 100;
/// Bytes of a message in words.
const WORDS_BYTES: usize = 2000;
/// Bytes of a server name in an alert.
const SNI_BYTES: usize = 255;
/// Time between two words on progress.
const EVERY: Duration = Duration::from_millis(200);

/// The line to the parent.
pub(super) struct Events(Mutex<File>);

impl Events {
    /// Takes standard output away from everybody else: what a plugin prints goes to standard error.
    pub(super) fn take() -> std::io::Result<Self> {
        let own = std::io::stdout().as_fd().try_clone_to_owned()?;
        nix::unistd::dup2_stdout(std::io::stderr())?;
        Ok(Self(Mutex::new(File::from(own))))
    }

    /// Says one thing; ends the process where nobody listens.
    pub(super) fn say(&self, event: &Event) {
        let Ok(line) = serde_json::to_vec(event) else { return };
        // All texts in events are bounded; an empty line tells less than a cut one would break.
        if line.len() < LINE_BYTES {
            self.line(line);
        }
    }

    /// Says a line of any length.
    pub(super) fn line(&self, mut line: Vec<u8>) {
        line.push(b'\n');
        let told = self.0.lock().map(|mut out| out.write_all(&line));
        if !matches!(told, Ok(Ok(()))) {
            process::exit(1);
        }
    }
}

/// A failure in words that fit on a line.
pub(super) fn failed(why: FailedWhy, words: impl Display) -> Failed {
    Failed { why, words: bounded(words.to_string().as_bytes(), WORDS_BYTES) }
}

/// A text that may hold what the capture says, fit for a line.
pub(super) fn words(text: &dyn Display) -> String {
    bounded(text.to_string().as_bytes(), WORDS_BYTES)
}

/// An alert in short.
pub(super) fn alert(detection: &Detection<'_>) -> Option<WorkerAlert> {
    let scored = detection.scored?;
    let (verdict, score) = (scored.verdict?, scored.score?);
    let flow = detection.flow;
    let hello = flow.fields.record::<ClientHello<'_>>();
    verdict.is_alert().then(|| WorkerAlert {
        flow_id: flow.id,
        verdict: verdict.name().into(),
        score,
        src_ip: flow.originator.ip().to_string(),
        dest_ip: flow.responder.ip().to_string(),
        dest_port: flow.responder.port,
        sni: hello.filter(|hello| !hello.sni.is_empty()).map(|hello| bounded(hello.sni, SNI_BYTES)),
    })
}

/// How far the work has come, for the thread that tells of it.
#[derive(Default)]
pub(super) struct Watched {
    /// Counted by the engine, or by the task itself.
    pub(super) progress: Progress,
    stage: AtomicU8,
    /// Bytes of the file and one more; 0 where they are not known.
    total: AtomicU64,
    /// How far a training has come, where that is what is done.
    learning: Mutex<Option<LearnProgress>>,
}

impl Watched {
    pub(super) fn total(&self, bytes: Option<u64>) {
        self.total.store(bytes.map_or(0, |bytes| bytes.saturating_add(1)), Ordering::Relaxed);
    }

    pub(super) fn stage(&self, stage: Stage) {
        let number = match stage {
            Stage::Preparing => 0,
            Stage::Reading => 1,
            Stage::Writing => 2,
        };
        self.stage.store(number, Ordering::Relaxed);
    }

    pub(super) fn learning(&self, stage: LearnStage, done: u64, of: u64) {
        if let Ok(mut learning) = self.learning.lock() {
            *learning = Some(LearnProgress { stage, done, of });
        }
    }

    fn now(&self) -> Event {
        if let Some(learning) = self.learning.lock().ok().and_then(|learning| *learning) {
            return Event::Learning(learning);
        }
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Event::Progress(WorkerProgress {
            stage: match self.stage.load(Ordering::Relaxed) {
                0 => Stage::Preparing,
                1 => Stage::Reading,
                _ => Stage::Writing,
            },
            bytes: read(&self.progress.bytes),
            total_bytes: read(&self.total).checked_sub(1),
            packets: read(&self.progress.packets),
            flows: read(&self.progress.flows),
            alerts: read(&self.progress.alerts),
        })
    }

    /// Does `work` while another thread tells how far it has come.
    pub(super) fn telling<T>(&self, events: &Events, work: impl FnOnce() -> T) -> T {
        thread::scope(|scope| {
            let (done, told) = mpsc::channel::<()>();
            let tell = move || {
                while told.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                    events.say(&self.now());
                }
                events.say(&self.now());
            };
            // Where there can be no thread, the work still can be done.
            let _teller = thread::Builder::new().name("progress".into()).spawn_scoped(scope, tell);
            let outcome = work();
            drop(done);
            outcome
        })
    }
}
