//! The readers: who has one, who must wait.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rocket::tokio::sync::oneshot;
use veilwatch::worker::browse::{Ask, ReadState, Said};

use super::judged::Verdicts;
use super::serve::{Job, What, serve};
use crate::config::Browse;
use crate::entries::{Entry, State};
use crate::jobs::Bench;
use crate::live::Session;

/// Questions that wait for one reader.
const WAITING: usize = 8;
/// Time between two looks whether a reader has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// All readers; copies share them.
#[derive(Clone)]
pub struct Readers {
    pub(super) bench: Bench,
    all: Arc<Mutex<All>>,
    ended: Arc<AtomicBool>,
}

/// Those that can be asked, and those whose end is on its way.
#[derive(Default)]
struct All {
    /// By entry, and by live session below 0.
    held: HashMap<i64, Held>,
    ending: Vec<Ending>,
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

/// A reader that nobody can ask any more. Its process may still be there, and its files.
struct Ending {
    entry: i64,
    account: i64,
    /// Gone with its thread and with all questions.
    waiting: Weak<()>,
}

impl All {
    /// Takes a reader off the list: it ends, once it has answered what it was asked.
    fn take_off(&mut self, entry: i64) {
        if let Some(Held { account, waiting, .. }) = self.held.remove(&entry) {
            self.ending.push(Ending { entry, account, waiting: Arc::downgrade(&waiting) });
        }
    }

    fn take_off_all(&mut self) {
        let entries: Vec<i64> = self.held.keys().copied().collect();
        entries.into_iter().for_each(|entry| self.take_off(entry));
    }

    /// Takes the one of some readers off that was idle longest.
    fn take_off_one(&mut self, of: impl Fn(&Held) -> bool) -> Result<(), ReadError> {
        let idle = self.held.iter().filter(|(_, held)| of(held) && held.is_idle());
        let entry = idle.min_by_key(|(_, held)| held.asked).map(|(entry, _)| *entry).ok_or(ReadError::Busy)?;
        self.take_off(entry);
        Ok(())
    }

    /// Those of some that have not ended yet.
    fn ending(&mut self, of: impl Fn(&Ending) -> bool) -> Vec<Weak<()>> {
        self.ending.retain(|one| one.waiting.strong_count() > 0);
        self.ending.iter().filter(|one| of(one)).map(|one| Weak::clone(&one.waiting)).collect()
    }

    /// Whose end a new reader waits for: all that its entry had, and where it would be one process too many, all whose place it
    /// may have taken.
    fn before(&mut self, entry: i64, account: i64, limits: &Browse) -> Vec<Weak<()>> {
        let alive = self.ending(|_| true).len();
        let own = self.held.values().filter(|held| held.account == account).count();
        let own = own + self.ending.iter().filter(|one| one.account == account).count();
        let is_full = self.held.len() + alive >= usize::from(limits.readers);
        let is_own_full = own >= usize::from(limits.readers_of_one);
        self.ending(|one| one.entry == entry || is_full || (is_own_full && one.account == account))
    }
}

/// Waits until all of these readers have ended, or a time has come; says whether they have.
fn have_ended(readers: &[Weak<()>], is_over: impl Fn() -> bool) -> bool {
    while readers.iter().any(|reader| reader.strong_count() > 0) {
        if is_over() {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
    true
}

/// An answer, and what its reader knows of verdicts; nothing where there are none to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// How far the capture is read.
    pub read: ReadState,
    /// What was asked for.
    pub said: Said,
    /// What the reader knows of verdicts.
    pub verdicts: Option<Verdicts>,
}

/// A question on its way.
pub(super) struct Question {
    pub(super) ask: Ask,
    pub(super) answer: oneshot::Sender<Result<Told, ReadError>>,
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
    pub async fn ask(&self, entry: &Entry, ask: Ask) -> Result<Told, ReadError> {
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
    pub async fn ask_live(&self, session: &Session, ask: Ask) -> Result<Told, ReadError> {
        let what = What::Live { path: session.path().to_owned(), follows: !session.has_ended() };
        self.ask_of((session.number, session.account), what, ask).await
    }

    async fn ask_of(&self, whose: (i64, i64), what: What, ask: Ask) -> Result<Told, ReadError> {
        let (answer, answered) = oneshot::channel();
        self.put(whose, what, ask, answer)?;
        answered.await.unwrap_or(Err(ReadError::Died(Death::Crash)))
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(
        &self,
        (entry, account): (i64, i64),
        what: What,
        ask: Ask,
        answer: oneshot::Sender<Result<Told, ReadError>>,
    ) -> Result<(), ReadError> {
        let mut all = self.lock();
        if self.ended.load(Ordering::Relaxed) {
            return Err(ReadError::Busy);
        }
        // One from before the analysis knows nothing of verdicts. One that is busy is asked once more: the next one would wait
        // for its end.
        if all.held.get(&entry).is_some_and(|held| held.is_judged != what.is_judged() && held.is_idle()) {
            all.take_off(entry);
        }
        if !all.held.contains_key(&entry) {
            let held = self.start(&mut all, entry, account, what)?;
            all.held.insert(entry, held);
        }
        let Some(held) = all.held.get_mut(&entry) else { return Err(ReadError::Busy) };
        held.asked = Instant::now();
        let question = Question { ask, answer, waits: Arc::clone(&held.waiting) };
        match held.questions.try_send(question) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(ReadError::Busy),
            // Its thread broke down before it could take itself off the list.
            Err(TrySendError::Disconnected(_)) => {
                all.take_off(entry);
                Err(ReadError::Died(Death::Crash))
            }
        }
    }

    fn start(&self, all: &mut All, entry: i64, account: i64, what: What) -> Result<Held, ReadError> {
        if !what.capture(&self.bench).is_file() {
            return Err(ReadError::Gone);
        }
        if !self.bench.has_room() {
            return Err(ReadError::Full);
        }
        let limits = &self.bench.config.browse;
        // Whoever asks takes the place, whose entry it may be.
        let own = all.held.values().filter(|held| held.account == account).count();
        if own >= usize::from(limits.readers_of_one) {
            all.take_off_one(|held| held.account == account)?;
        }
        if all.held.len() >= usize::from(limits.readers) {
            all.take_off_one(|_| true)?;
        }
        let before = all.before(entry, account, limits);
        let (questions, asked) = sync_channel(WAITING);
        let (number, waiting) = (Instant::now(), Arc::new(()));
        let (readers, kept, is_judged) = (self.clone(), Arc::clone(&waiting), what.is_judged());
        let job = Job { entry, what, number, before };
        let started = std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
            let _waiting = kept;
            serve(&readers, &job, &asked);
        });
        started.map_err(|error| ReadError::Ours(error.to_string()))?;
        Ok(Held { account, is_judged, number, asked: number, questions, waiting })
    }

    /// Takes a reader off the list, unless it was asked something meanwhile: then `has_more` says so.
    pub(super) fn leave(&self, job: &Job, has_more: impl FnOnce() -> bool) -> bool {
        let mut all = self.lock();
        // Nobody asks while the list is held.
        if has_more() {
            return false;
        }
        if all.held.get(&job.entry).is_some_and(|held| held.number == job.number) {
            all.take_off(job.entry);
        }
        true
    }

    /// Waits so long until those have ended that were there before this one, with all files that they had; says whether they
    /// have. Nobody waits any more where the portal ends, or this one is taken off the list itself.
    pub(super) fn wait_for_those_before(&self, job: &Job, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let is_held = || self.lock().held.get(&job.entry).is_some_and(|held| held.number == job.number);
        have_ended(&job.before, || self.ended.load(Ordering::Relaxed) || Instant::now() >= until || !is_held())
    }

    /// Ends the reader of an entry that is deleted. One that is busy ends with its answer.
    pub fn end_of(&self, entry: i64) {
        self.lock().take_off(entry);
    }

    /// Ends the reader of an entry that is deleted, and waits so long for its end and that of all that the entry had before,
    /// with all files that they had. This blocks.
    pub fn end_and_wait(&self, entry: i64, patience: Duration) {
        let ending = {
            let mut all = self.lock();
            all.take_off(entry);
            all.ending(|one| one.entry == entry)
        };
        let until = Instant::now() + patience;
        have_ended(&ending, || Instant::now() >= until);
    }

    /// Ends all readers, so that the next ones read tables anew. One that is busy ends with its answer.
    pub fn renew(&self) {
        self.lock().take_off_all();
    }

    /// Ends all readers: the portal ends.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.lock().take_off_all();
    }

    /// Entries that have a reader, or one that waits for the end of the one before.
    pub fn count(&self) -> usize {
        self.lock().held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::config::{Config, Limits};
    use crate::database::Db;
    use crate::uploads::testing::Place;

    /// A reader of an account, and what its thread has of it.
    fn held(account: i64) -> (Held, Arc<()>) {
        let (number, waiting) = (Instant::now(), Arc::new(()));
        let (thread, (questions, _)) = (Arc::clone(&waiting), sync_channel(WAITING));
        (Held { account, is_judged: false, number, asked: number, questions, waiting }, thread)
    }

    #[test]
    fn whoever_comes_next_waits_for_all_that_were_there_before() {
        let limits = Browse { readers: 4, readers_of_one: 3, ..Browse::default() };
        let mut all = All::default();
        let [first, second] = [(); 2].map(|()| {
            let (held, thread) = held(1);
            all.held.insert(7, held);
            all.take_off(7);
            thread
        });
        assert!(all.held.is_empty());
        let before = all.before(7, 1, &limits);
        let at_once = |before: &[Weak<()>]| have_ended(before, || true);
        assert_eq!((before.len(), at_once(&before)), (2, false));
        drop(first);
        assert_eq!((all.before(7, 1, &limits).len(), at_once(&before)), (1, false), "one of them is still there");
        // One of another entry has nobody to wait for while there is room.
        assert!(all.before(8, 1, &limits).is_empty());
        let (another, another_thread) = held(1);
        all.held.insert(9, another);
        assert!(all.before(8, 2, &limits).is_empty());
        all.take_off(9);
        let few = |readers, readers_of_one| Browse { readers, readers_of_one, ..limits.clone() };
        assert_eq!(all.before(8, 1, &few(4, 2)).len(), 2, "it would be one too many of its account");
        assert!(all.before(8, 2, &few(4, 2)).is_empty());
        assert_eq!(all.before(8, 2, &few(2, 2)).len(), 2, "it would be one too many of all");
        drop((second, another_thread));
        assert!(at_once(&before) && all.before(7, 1, &few(1, 1)).is_empty() && all.ending.is_empty());
    }

    #[test]
    fn none_is_started_beside_one_that_does_not_end() {
        let place = Place::new();
        let limits = Limits { free_disk_bytes: 0, ..Limits::default() };
        let browse = Browse { answer_seconds: 1, ..Browse::default() };
        let readers = Readers::new(Bench {
            config: Config { limits, browse, ..Config::default() },
            db: Db::open(&place.folder.path().join("portal.sqlite")).unwrap(),
            clock: Arc::new(SystemClock),
            folders: place.folders.clone(),
            // One that is begun says so by that.
            program: place.folder.path().join("no-program"),
            figures: Arc::default(),
        });
        let path = place.folder.path().join("capture");
        std::fs::write(&path, b"").unwrap();
        let ask = || {
            let (answer, answered) = oneshot::channel();
            let what = What::Live { path: path.clone(), follows: false };
            readers.put((-1, 1), what, Ask::Packet { number: 1 }, answer).unwrap();
            answered.blocking_recv().unwrap().unwrap_err()
        };
        let (old, thread) = held(1);
        readers.lock().held.insert(-1, old);
        readers.end_of(-1);
        // However often somebody asks.
        assert_eq!([ask(), ask()], [ReadError::Busy, ReadError::Busy]);
        drop(thread);
        let begun = ask();
        assert!(matches!(begun, ReadError::Ours(_)), "{begun:?}");
        readers.end_and_wait(-1, Duration::from_secs(60));
        assert!(readers.lock().ending(|_| true).is_empty());
    }
}
