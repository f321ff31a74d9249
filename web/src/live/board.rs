//! The sessions there are.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rocket::tokio::sync::oneshot;
use veilwatch::worker::live::{LiveCommand, LiveRefused};

use super::seen::{Seen, State};
use super::serve::{Said, serve};
use crate::jobs::Bench;
use crate::packets::Readers;
use crate::pipelines::{self, Chosen};
use crate::uploads::Key;

/// What somebody wants to capture.
#[derive(Clone, Debug)]
pub struct Begin {
    /// The interface.
    pub interface: String,
    /// Which packets, in tcpdump's language; empty for all.
    pub filter: String,
    /// Whether to have the interface take packets that are for others.
    pub promiscuous: bool,
    /// The pipeline, by its name.
    pub pipeline: String,
}

/// Why no session begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There are as many as there may be.
    Full,
    /// The disk is full.
    Room,
    /// There is no such pipeline.
    Pipeline,
    /// The child says why.
    Child(LiveRefused),
    /// The child died, and how.
    Died(String),
    /// Something on this side.
    Ours(String),
}

/// A session. Its thread and those who look at it share it.
pub struct Session {
    /// What names it in addresses.
    pub key: Key,
    /// Whose it is.
    pub account: i64,
    /// What they are called.
    pub who: String,
    /// What is captured.
    pub what: Begin,
    /// When it began, in seconds since 1970.
    pub began_at: i64,
    /// A number of its own for whoever reads its packets.
    pub(crate) number: i64,
    /// Its file.
    pub(super) path: PathBuf,
    seen: Mutex<Seen>,
    tell: Mutex<Sender<Said>>,
}

impl Session {
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of it now. Somebody looks: it does not end for want of that.
    pub fn look(&self) -> Seen {
        let mut seen = self.seen();
        seen.looked = Instant::now();
        seen.clone()
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.seen().has_ended()
    }

    /// Where its packets are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells its child something; one that has ended does not hear.
    pub fn tell(&self, command: LiveCommand) {
        if command == LiveCommand::Stop {
            let mut seen = self.seen();
            if !seen.has_ended() {
                seen.state = State::Stopping;
            }
        }
        self.say(Said::Command(command));
    }

    /// Throws it away, with its file.
    pub fn discard(&self) {
        self.say(Said::Discard);
    }

    fn say(&self, said: Said) {
        // Its thread is gone where nobody hears.
        let _ = self.tell.lock().unwrap_or_else(PoisonError::into_inner).send(said);
    }

    /// Begins to save it: until that is done its file stays. Not where it goes on, or somebody saves it already.
    pub fn begin_saving(self: &Arc<Self>) -> Option<Saving> {
        let mut seen = self.seen();
        if !seen.has_ended() || std::mem::replace(&mut seen.is_saving, true) {
            return None;
        }
        drop(seen);
        Some(Saving(Arc::clone(self)))
    }
}

/// As long as it is there, a session's file stays.
pub struct Saving(Arc<Session>);

impl Drop for Saving {
    fn drop(&mut self) {
        self.0.seen().is_saving = false;
    }
}

/// All sessions; copies share them.
#[derive(Clone)]
pub struct Sessions {
    pub(super) bench: Bench,
    pub(super) readers: Readers,
    all: Arc<Mutex<HashMap<String, Arc<Session>>>>,
    numbers: Arc<AtomicI64>,
    ended: Arc<AtomicBool>,
}

impl Sessions {
    /// None so far.
    pub fn new(bench: Bench, readers: Readers) -> Self {
        Self { bench, readers, all: Arc::default(), numbers: Arc::default(), ended: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one, and waits until it captures. Whoever calls has made sure that this account may.
    ///
    /// # Errors
    /// Where it cannot.
    pub async fn begin(&self, account: i64, who: &str, what: Begin) -> Result<Arc<Session>, Refused> {
        let (session, begun) = self.start(account, who, what)?;
        match begun.await {
            Ok(Ok(())) => Ok(session),
            Ok(Err(refused)) => Err(refused),
            Err(_) => Err(Refused::Ours("the thread of a live session broke down".to_owned())),
        }
    }

    #[allow(clippy::type_complexity, reason = "a session, and who says that it has begun")]
    fn start(
        &self,
        account: i64,
        who: &str,
        what: Begin,
    ) -> Result<(Arc<Session>, oneshot::Receiver<Result<(), Refused>>), Refused> {
        if !self.bench.has_room() {
            return Err(Refused::Room);
        }
        let key = Key::random().map_err(|error| Refused::Ours(error.to_string()))?;
        let (tell, told) = channel();
        let session = Arc::new(Session {
            path: self.bench.folders.live(&key),
            key,
            account,
            who: who.to_owned(),
            what,
            began_at: self.bench.clock.now(),
            // Those of entries are above 0.
            number: -1 - self.numbers.fetch_add(1, Ordering::Relaxed),
            seen: Mutex::new(Seen::new(self.bench.config.live.alerts)),
            tell: Mutex::new(tell),
        });
        let (begun, wait) = oneshot::channel();
        let mut all = self.lock();
        // Those that only wait to be saved take a place too: their files are there.
        if self.ended.load(Ordering::Relaxed) || all.len() >= usize::from(self.bench.config.live.sessions) {
            return Err(Refused::Full);
        }
        let (sessions, own) = (self.clone(), Arc::clone(&session));
        let started = std::thread::Builder::new().name("live".to_owned()).spawn(move || {
            // Its text is there for as long as this is held.
            match sessions.chosen(&own.what.pipeline) {
                Ok(chosen) => serve(&sessions, &own, &chosen, &told, begun),
                // Whoever waited may have gone.
                Err(refused) => drop(begun.send(Err(refused))),
            }
            sessions.lock().remove(own.key.as_str());
        });
        started.map_err(|error| Refused::Ours(error.to_string()))?;
        all.insert(session.key.to_string(), Arc::clone(&session));
        Ok((session, wait))
    }

    /// The pipeline of this name as it is now.
    fn chosen(&self, name: &str) -> Result<Chosen, Refused> {
        let version = self.bench.db.run_blocking(|connection| pipelines::store::newest(connection, name));
        let version = version.map_err(|error| Refused::Ours(error.to_string()))?;
        let chosen = pipelines::choose(&self.bench, name, version).map_err(Refused::Ours)?;
        chosen.ok_or(Refused::Pipeline)
    }

    /// A session of this account's; of others' none is found.
    pub fn find(&self, account: i64, key: &str) -> Option<Arc<Session>> {
        self.lock().get(key).filter(|session| session.account == account).cloned()
    }

    /// All of them, the oldest first.
    pub fn all(&self) -> Vec<Arc<Session>> {
        let mut all: Vec<Arc<Session>> = self.lock().values().cloned().collect();
        all.sort_by_key(|session| std::cmp::Reverse(session.number));
        all
    }

    /// How many capture, and how many have ended and are not saved yet.
    pub fn counts(&self) -> (usize, usize) {
        let all = self.all();
        let ended = all.iter().filter(|session| session.has_ended()).count();
        (all.len() - ended, ended)
    }

    /// Ends those of an account that is no administrator any more, and throws them away.
    pub fn end_of_account(&self, account: i64) {
        self.lock().values().filter(|session| session.account == account).for_each(|session| session.discard());
    }

    /// Ends all of them, and throws them away: the portal ends.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.lock().values().for_each(|session| session.discard());
    }

    pub(super) fn is_over(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}
