//! The thread that deletes what is over time, and the entries of accounts that were deleted.
//!
//! Entries are taken one by one, each in a transaction of its own that looks once more whether its time is over: pages are
//! answered meanwhile, and whoever keeps an entry in the last moment keeps it. The audit log then says what went by its
//! number and after how many days. It names neither file nor hash: a file's name may be what was to be forgotten, and by a
//! hash it can be told for ever who had what.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use super::clock::{Believed, Doubt, believe};
use super::erase::{Eraser, Whole};
use super::{Timed, of_entry, overdue};
use crate::accounts::audit::{self, Action};
use crate::accounts::{Actor, Refused};
use crate::clock::Clock;
use crate::config::Retention;
use crate::database::DbError;
use crate::entries::Deleted;
use crate::entries::change::remove_rows;

/// Entries of deleted accounts that are looked for at once.
const PIECE: u32 = 100;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Entries that were deleted.
    pub entries: u64,
    /// Captures that were deleted while their entry stayed.
    pub captures: u64,
    /// Bytes of files that went.
    pub bytes: u64,
    /// Why nothing was deleted.
    pub doubt: Option<Doubt>,
    /// Whether there is more, for the next sweep.
    pub more: bool,
}

/// Deletes what is over time; copies are the same one.
#[derive(Clone)]
pub struct Sweeper {
    eraser: Eraser,
    timers: Retention,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Whether somebody said that there is something to do.
    rung: Mutex<bool>,
    bell: Condvar,
    ended: AtomicBool,
    /// One goes through at a time.
    at_work: Mutex<()>,
}

/// What one entry came to.
enum Gone {
    Entry,
    Capture,
}

impl Sweeper {
    /// Starts the thread. It ends with [`Sweeper::end`], or with the program.
    ///
    /// # Errors
    /// Where the system has no thread left.
    pub fn start(eraser: Eraser, timers: Retention, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        let sweeper = Self { eraser, timers, clock, shared: Arc::default() };
        let this = sweeper.clone();
        std::thread::Builder::new().name("retention".to_owned()).spawn(move || this.work())?;
        Ok(sweeper)
    }

    /// What deletes files.
    pub fn eraser(&self) -> Eraser {
        self.eraser.clone()
    }

    /// Says that an account was deleted.
    pub fn wake(&self) {
        *self.shared.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.bell.notify_all();
    }

    /// Ends the thread: the portal ends.
    pub fn end(&self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.wake();
    }

    fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Relaxed)
    }

    fn work(&self) {
        let interval = Duration::from_secs(self.timers.sweep_seconds);
        let mut next = Instant::now() + interval;
        while !self.has_ended() {
            if let Err(error) = self.empty_accounts() {
                tracing::error!(%error, "entries of a deleted account stay until the next try");
            }
            let is_time = self.wait_until(next);
            if is_time && !self.has_ended() {
                next = Instant::now() + interval;
                if let Err(error) = self.sweep() {
                    tracing::error!(%error, "what is over time stays until the next sweep");
                }
            }
        }
    }

    /// Waits for the time, or the bell; says whether it is time.
    fn wait_until(&self, next: Instant) -> bool {
        let rung = self.shared.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let left = next.saturating_duration_since(Instant::now());
        let woken = self.shared.bell.wait_timeout_while(rung, left, |rung| !*rung);
        let (mut rung, waited) = woken.unwrap_or_else(PoisonError::into_inner);
        *rung = false;
        waited.timed_out()
    }

    /// Deletes what is over time, `sweep_entries` of them at most, if the clock can be believed. This blocks.
    ///
    /// # Errors
    /// Where a file cannot be removed, or the database fails; whatever could be deleted is.
    pub fn sweep(&self) -> Result<Sweep, Refused> {
        let _alone = self.shared.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        let (db, now, most) = (&self.eraser.db, self.clock.now(), self.timers.sweep_entries);
        let mut sweep = Sweep::default();
        match db.run_blocking(|connection| believe(connection, now, self.timers.jump_days))? {
            Believed::Yes => {}
            Believed::First => return Ok(sweep),
            Believed::No(doubt) => {
                tracing::error!(
                    doubt = doubt.name(),
                    "the clock jumped: nothing is deleted by time, see the page Retention"
                );
                sweep.doubt = Some(doubt);
                return Ok(sweep);
            }
        }
        let mut found = db.run_blocking(|connection| overdue(connection, &self.timers, now, most.saturating_add(1)))?;
        sweep.more = found.len() > most as usize;
        found.truncate(most as usize);
        let mut trouble = None;
        for entry in found {
            if self.has_ended() {
                sweep.more = true;
                break;
            }
            // One that cannot be deleted keeps none of the others.
            if let Err(error) = self.expire(entry, now, &mut sweep) {
                tracing::error!(entry, %error, "an entry that is over time cannot be deleted");
                trouble = Some(error);
            }
        }
        if sweep.entries + sweep.captures > 0 {
            tracing::info!(?sweep, "what was over time is deleted");
        }
        trouble.map_or(Ok(sweep), Err)
    }

    /// Deletes what is over time of one entry.
    fn expire(&self, entry: i64, now: i64, sweep: &mut Sweep) -> Result<(), Refused> {
        let gone = self.eraser.db.run_blocking(|connection| expire_rows(connection, &self.timers, entry, now))?;
        let Some((timed, deleted, gone)) = gone else { return Ok(()) };
        let whole = match gone {
            Gone::Entry => Whole::Entry,
            Gone::Capture => Whole::Capture,
        };
        let is_capture_gone = self.eraser.erase(&deleted, whole)?;
        let of_capture = if is_capture_gone { timed.bytes } else { 0 };
        let bytes = match gone {
            Gone::Entry => {
                sweep.entries += 1;
                timed.own_bytes.saturating_add(of_capture)
            }
            Gone::Capture => {
                sweep.captures += 1;
                timed.index_bytes.saturating_add(of_capture)
            }
        };
        sweep.bytes = sweep.bytes.saturating_add(bytes);
        let counted = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.eraser.db.run_blocking(|connection| -> Result<(), DbError> {
            connection.execute("UPDATE retention SET bytes = bytes + ?1", [counted])?;
            Ok(())
        })?;
        Ok(())
    }

    /// Deletes all entries of accounts that were deleted. This blocks, and can be called again after it failed.
    ///
    /// # Errors
    /// Where a file cannot be removed, or the database fails.
    pub fn empty_accounts(&self) -> Result<u64, Refused> {
        let _alone = self.shared.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = 0;
        loop {
            let found = self.eraser.db.run_blocking(orphans)?;
            if found.is_empty() || self.has_ended() {
                return Ok(count);
            }
            for (account, deleted) in found {
                let now = self.clock.now();
                self.eraser.db.run_blocking(|connection| orphan_rows(connection, account, &deleted, now))?;
                self.eraser.erase(&deleted, Whole::Entry)?;
                count += 1;
            }
        }
    }
}

/// How the audit log names the timers.
fn timers_actor() -> Actor {
    Actor { name: None, address: String::new() }
}

/// Deletes rows of what is over time of one entry, where that is still so.
fn expire_rows(
    connection: &mut Connection,
    timers: &Retention,
    entry: i64,
    now: i64,
) -> Result<Option<(Timed, Deleted, Gone)>, Refused> {
    let transaction = connection.transaction()?;
    let Some(timed) = of_entry(&transaction, timers, entry)? else { return Ok(None) };
    let deleted = Deleted {
        id: timed.id,
        key: timed.key.parse().map_err(|_| DbError::Foreign(format!("the key {:?}", timed.key)))?,
        sha256: timed.sha256.parse().map_err(|_| DbError::Foreign(format!("the hash {:?}", timed.sha256)))?,
    };
    let is_over = |at: Option<i64>| at.is_some_and(|at| at <= now);
    let (gone, action, days) = if is_over(timed.due.entry_at) {
        remove_rows(&transaction, deleted.id, &deleted.sha256)?;
        transaction.execute("UPDATE retention SET entries = entries + 1", [])?;
        (Gone::Entry, Action::EntryExpired, timed.entry_days)
    } else if is_over(timed.due.capture_at) {
        transaction.execute(
            "UPDATE entries SET capture_gone_at = ?2, index_bytes = NULL WHERE id = ?1",
            params![deleted.id, now],
        )?;
        transaction.execute("UPDATE retention SET captures = captures + 1", [])?;
        (Gone::Capture, Action::CaptureExpired, timed.capture_days)
    } else {
        return Ok(None);
    };
    let subject = format!("entry {}: {} days", deleted.id, days.unwrap_or_default());
    audit::record(&transaction, &timers_actor(), action, Some(&subject), now)?;
    transaction.commit()?;
    Ok(Some((timed, deleted, gone)))
}

/// Some entries of accounts that were deleted.
fn orphans(connection: &mut Connection) -> Result<Vec<(i64, Deleted)>, Refused> {
    let mut statement = connection.prepare_cached(
        "SELECT a.id, e.id, e.key, e.sha256 FROM accounts a JOIN entries e ON e.account_id = a.id
            WHERE a.deleted_at IS NOT NULL ORDER BY e.id LIMIT ?1",
    )?;
    let mut rows = statement.query([PIECE])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (key, sha256): (String, String) = (row.get(2)?, row.get(3)?);
        let deleted = Deleted {
            id: row.get(1)?,
            key: key.parse().map_err(|_| DbError::Foreign(format!("the key {key:?}")))?,
            sha256: sha256.parse().map_err(|_| DbError::Foreign(format!("the hash {sha256:?}")))?,
        };
        found.push((row.get(0)?, deleted));
    }
    Ok(found)
}

/// Deletes the rows of one of them; the last one is told to the audit log.
fn orphan_rows(connection: &mut Connection, account: i64, deleted: &Deleted, now: i64) -> Result<(), Refused> {
    let transaction = connection.transaction()?;
    remove_rows(&transaction, deleted.id, &deleted.sha256)?;
    let left = transaction.prepare_cached("SELECT 1 FROM entries WHERE account_id = ?1")?.exists([account])?;
    if !left {
        let subject = format!("account {account}");
        audit::record(&transaction, &timers_actor(), Action::AccountEmptied, Some(&subject), now)?;
    }
    transaction.commit()?;
    Ok(())
}
