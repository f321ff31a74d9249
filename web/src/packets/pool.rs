//! The readers: who has one, who must wait.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rocket::tokio::sync::oneshot;
use veilwatch::worker::browse::{Answer, Ask};

use super::serve::{Job, What, serve};
use crate::entries::{Entry, State};
use crate::jobs::Bench;
use crate::live::Session;

/// Questions that wait for one reader.
const WAITING: usize = 8;

/// All readers, by entry, and by live session below 0; copies share them.
#[derive(Clone)]
pub struct Readers {
    pub(super) bench: Bench,
    all: Arc<Mutex<HashMap<i64, Held>>>,
    ended: Arc<AtomicBool>,
}

/// A reader, as whoever asks sees it.
struct Held {
    account: i64,
    /// Whether it knows what an analysis said of flows.
    is_judged: bool,
    /// Which of the entry's readers it is: another one may take its place.
    number: Instant,
    asked: Instant,
    questions: SyncSender<Question>,
    /// How many wait for an answer; shared with the thread.
    waiting: Arc<()>,
}

impl Held {
    fn is_idle(&self) -> bool {
        // The thread has one, each question that is not answered another one.
        Arc::strong_count(&self.waiting) <= 2
    }
}

/// A question on its way.
pub(super) struct Question {
    pub(super) ask: Ask,
    pub(super) answer: oneshot::Sender<Result<Answer, ReadError>>,
    /// As long as it is there, the reader is busy.
    pub(super) waits: Arc<()>,
}

/// Why packets cannot be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The capture's file is gone.
    Gone,
    /// All readers are busy.
    Busy,
    /// The disk is full.
    Full,
    /// The capture cannot be read: why, for people.
    Capture(String),
    /// The reader died of this question.
    Died(Death),
    /// Something on this side.
    Ours(String),
}

/// What a reader died of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// It wanted more memory than it may have.
    Memory,
    /// Its answer took too long.
    Slow,
    /// It used up its processor time.
    Worn,
    /// It did or said what no honest one does.
    Odd,
    /// Anything else.
    Crash,
}

impl Death {
    /// The key of the message for it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Memory => "packets.died-memory",
            Self::Slow => "packets.died-slow",
            Self::Worn => "packets.died-worn",
            Self::Odd => "packets.died-odd",
            Self::Crash => "packets.died-crash",
        }
    }
}

impl Readers {
    /// Readers at this bench; none so far.
    pub fn new(bench: Bench) -> Self {
        Self { bench, all: Arc::default(), ended: Arc::default() }
    }

    /// Asks the reader of an entry; one is started where there is none. Whoever calls has made sure whose entry it is.
    ///
    /// # Errors
    /// Where there is no place for one more reader, or it has no answer.
    pub async fn ask(&self, entry: &Entry, ask: Ask) -> Result<Answer, ReadError> {
        if entry.capture_gone_at.is_some() {
            return Err(ReadError::Gone);
        }
        let is_judged = entry.state == State::Done;
        let what = What::Entry { key: entry.key.clone(), sha256: entry.sha256.clone(), is_judged };
        self.ask_of((entry.id, entry.asker), what, ask).await
    }

    /// Asks the reader of a live session, which follows its file while it grows.
    ///
    /// # Errors
    /// As [`Readers::ask`].
    pub async fn ask_live(&self, session: &Session, ask: Ask) -> Result<Answer, ReadError> {
        let what = What::Live { path: session.path().to_owned(), follows: !session.has_ended() };
        self.ask_of((session.number, session.account), what, ask).await
    }

    async fn ask_of(&self, whose: (i64, i64), what: What, ask: Ask) -> Result<Answer, ReadError> {
        let (answer, answered) = oneshot::channel();
        self.put(whose, what, ask, answer)?;
        answered.await.unwrap_or(Err(ReadError::Died(Death::Crash)))
    }

    fn put(
        &self,
        (entry, account): (i64, i64),
        what: What,
        ask: Ask,
        answer: oneshot::Sender<Result<Answer, ReadError>>,
    ) -> Result<(), ReadError> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if self.ended.load(Ordering::Relaxed) {
            return Err(ReadError::Busy);
        }
        // One from before the analysis knows nothing of verdicts. One that is busy is asked once more: its process must not run
        // beside another one of the same entry.
        if all.get(&entry).is_some_and(|held| held.is_judged != what.is_judged() && held.is_idle()) {
            all.remove(&entry);
        }
        if !all.contains_key(&entry) {
            let held = self.start(&mut all, entry, account, what)?;
            all.insert(entry, held);
        }
        let Some(held) = all.get_mut(&entry) else { return Err(ReadError::Busy) };
        held.asked = Instant::now();
        let question = Question { ask, answer, waits: Arc::clone(&held.waiting) };
        match held.questions.try_send(question) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(ReadError::Busy),
            // Its thread broke down before it could take itself off the list.
            Err(TrySendError::Disconnected(_)) => {
                all.remove(&entry);
                Err(ReadError::Died(Death::Crash))
            }
        }
    }

    fn start(&self, all: &mut HashMap<i64, Held>, entry: i64, account: i64, what: What) -> Result<Held, ReadError> {
        if !what.capture(&self.bench).is_file() {
            return Err(ReadError::Gone);
        }
        if !self.bench.has_room() {
            return Err(ReadError::Full);
        }
        let limits = &self.bench.config.browse;
        // Whoever asks takes the place, whose entry it may be.
        let own = all.values().filter(|held| held.account == account).count();
        if own >= usize::from(limits.readers_of_one) {
            end_one(all, |held| held.account == account)?;
        }
        if all.len() >= usize::from(limits.readers) {
            end_one(all, |_| true)?;
        }
        let (questions, asked) = sync_channel(WAITING);
        let (number, waiting) = (Instant::now(), Arc::new(()));
        let (readers, kept, is_judged) = (self.clone(), Arc::clone(&waiting), what.is_judged());
        let job = Job { entry, what, number };
        let started = std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
            let _waiting = kept;
            serve(&readers, &job, &asked);
        });
        started.map_err(|error| ReadError::Ours(error.to_string()))?;
        Ok(Held { account, is_judged, number, asked: number, questions, waiting })
    }

    /// Takes a reader off the list, unless it was asked something meanwhile: then `has_more` says so.
    pub(super) fn leave(&self, job: &Job, has_more: impl FnOnce() -> bool) -> bool {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody asks while the list is held.
        if has_more() {
            return false;
        }
        if all.get(&job.entry).is_some_and(|held| held.number == job.number) {
            all.remove(&job.entry);
        }
        true
    }

    /// Ends the reader of an entry that is deleted. One that is busy ends with its answer.
    pub fn end_of(&self, entry: i64) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&entry);
    }

    /// Ends the reader of an entry that is deleted, and waits so long for its end, with all files that it had. This blocks.
    pub fn end_and_wait(&self, entry: i64, patience: Duration) {
        let Some(held) = self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&entry) else { return };
        let (until, waiting) = (Instant::now() + patience, Arc::clone(&held.waiting));
        // The thread ends where nobody can ask any more; its own part of this is the last to go.
        drop(held);
        while Arc::strong_count(&waiting) > 1 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends all readers, so that the next ones read tables anew. One that is busy ends with its answer.
    pub fn renew(&self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Ends all readers: the portal ends.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Entries that have a reader.
    pub fn count(&self) -> usize {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Ends the one of some readers that was idle longest.
fn end_one(all: &mut HashMap<i64, Held>, of: impl Fn(&Held) -> bool) -> Result<(), ReadError> {
    let idle = all.iter().filter(|(_, held)| of(held) && held.is_idle());
    let entry = idle.min_by_key(|(_, held)| held.asked).map(|(entry, _)| *entry).ok_or(ReadError::Busy)?;
    all.remove(&entry);
    Ok(())
}
