//! Which analysis comes next, and what became of it.
//!
//! The queue is the table of entries, so it survives whatever happens to the portal. Accounts take turns: whoever has
//! the fewest analyses running comes first, among them whoever waited longest for a turn, and of one account's entries the oldest.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params};
use veilwatch::worker::Analysed;

use crate::database::DbError;
use crate::entries::{WHY_CAPTURE_MISSING, WHY_STOPPED};
use crate::uploads::store::there_bytes;
use crate::uploads::{Key, Sha256Hex, quota_of};

/// Workers that an entry may kill before it is set aside.
pub const CRASHES: i64 = 2;
/// Starts without an end, of whatever cause, after which an entry is set aside: perhaps it kills the whole portal.
pub const STARTS: i64 = 5;

/// What an analysis came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// What the worker says.
    pub analysed: Analysed,
    /// Bytes of the result.
    pub bytes: u64,
}

/// An analysis that is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The entry.
    pub entry: i64,
    /// Its key.
    pub key: Key,
    /// Its capture.
    pub sha256: Sha256Hex,
    /// The name of the pipeline.
    pub pipeline: String,
    /// Its version, where it was made here.
    pub pipeline_version: Option<i64>,
    /// Stop after so many packets.
    pub packet_limit: Option<u64>,
}

/// Why an entry has no result; each has a message `failure.<name>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// It killed its worker twice.
    Crashed,
    /// It was begun again and again without an end.
    Restarts,
    /// It reached the limit of memory.
    Memory,
    /// It reached the limit of processor time.
    CpuTime,
    /// It reached the limit of time.
    WallTime,
    /// The result reached its limit of size.
    ResultSize,
    /// It tried what an analysis never does.
    Forbidden,
    /// The capture is empty, no capture, or cannot be read.
    Capture,
    /// Pipeline, plugins or model cannot be used.
    Pipeline,
    /// Labelled data or marks cannot be learnt from: only of trainings.
    Labels,
    /// A plugin failed in the middle.
    Plugin,
    /// The sandbox cannot be set up.
    Sandbox,
    /// The result cannot be written or is none.
    Output,
    /// The disk is full.
    Disk,
    /// The quota of its owner has no room for the result.
    Quota,
    /// The worker could not be started, or spoke another language.
    Worker,
    /// Somebody stopped it before there was anything.
    Stopped,
    /// The file is gone.
    Missing,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Crashed,
        Self::Restarts,
        Self::Memory,
        Self::CpuTime,
        Self::WallTime,
        Self::ResultSize,
        Self::Forbidden,
        Self::Capture,
        Self::Pipeline,
        Self::Labels,
        Self::Plugin,
        Self::Sandbox,
        Self::Output,
        Self::Disk,
        Self::Quota,
        Self::Worker,
        Self::Stopped,
        Self::Missing,
    ];

    /// Its name in the database, in messages and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crashed => "crashed",
            Self::Restarts => "restarts",
            Self::Memory => "memory",
            Self::CpuTime => "cpu-time",
            Self::WallTime => "wall-time",
            Self::ResultSize => "result-size",
            Self::Forbidden => "forbidden",
            Self::Capture => "capture",
            Self::Pipeline => "pipeline",
            Self::Labels => "labels",
            Self::Plugin => "plugin",
            Self::Sandbox => "sandbox",
            Self::Output => "output",
            Self::Disk => "disk",
            Self::Quota => "quota",
            Self::Worker => "worker",
            Self::Stopped => WHY_STOPPED,
            Self::Missing => WHY_CAPTURE_MISSING,
        }
    }
}

/// Who had the last turns: in memory, because a restart may begin the round anew.
#[derive(Debug, Default)]
pub struct Turns {
    last: HashMap<i64, u64>,
    now: u64,
}

impl Turns {
    /// When an account had its last turn: whoever has the smallest number waited longest.
    pub fn last(&self, account: i64) -> u64 {
        self.last.get(&account).copied().unwrap_or_default()
    }

    /// Notes whose turn it was; nobody's where nobody waits, and then it no longer matters who had the last ones.
    pub fn note(&mut self, account: Option<i64>) {
        let Some(account) = account else { return self.last.clear() };
        self.now += 1;
        self.last.insert(account, self.now);
    }
}

/// Puts back what was running when the portal ended; what was begun too often is set aside.
///
/// # Errors
/// Where the database fails.
pub fn restart(connection: &mut Connection, now: i64) -> Result<usize, DbError> {
    let transaction = connection.transaction()?;
    transaction.execute(
        "UPDATE entries SET state = 'failed', why = ?1, words = NULL, ended_at = ?2 WHERE state = 'running' AND starts >= ?3",
        params![Why::Restarts.name(), now, STARTS],
    )?;
    let again = transaction.execute("UPDATE entries SET state = 'queued' WHERE state = 'running'", [])?;
    transaction.commit()?;
    Ok(again)
}

/// Takes the next analysis out of the queue and marks it as running.
///
/// # Errors
/// Where the database fails.
pub fn take(connection: &mut Connection, turns: &mut Turns, now: i64) -> Result<Option<Job>, DbError> {
    let transaction = connection.transaction()?;
    let accounts: Vec<(i64, i64)> = transaction
        .prepare_cached(
            "SELECT account_id, (SELECT count(*) FROM entries AS r WHERE r.state = 'running' AND r.account_id = q.account_id)
             FROM entries AS q WHERE state = 'queued' GROUP BY account_id",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let next = accounts.iter().min_by_key(|(account, running)| (*running, turns.last(*account), *account));
    let Some((account, _)) = next else {
        turns.note(None);
        return Ok(None);
    };
    let job = transaction
        .prepare_cached(
            "SELECT id, key, sha256, pipeline, packet_limit, pipeline_version FROM entries
             WHERE state = 'queued' AND account_id = ?1 ORDER BY confirmed_at, id LIMIT 1",
        )?
        .query_and_then([account], read)?
        .next()
        .transpose()?;
    if let Some(job) = &job {
        transaction.execute(
            "UPDATE entries SET state = 'running', started_at = ?2, starts = starts + 1 WHERE id = ?1",
            params![job.entry, now],
        )?;
    }
    transaction.commit()?;
    turns.note(Some(*account));
    Ok(job)
}

fn read(row: &Row<'_>) -> Result<Job, DbError> {
    let (key, sha256): (String, String) = (row.get(1)?, row.get(2)?);
    Ok(Job {
        entry: row.get(0)?,
        key: key.parse().map_err(|_| DbError::Foreign(format!("the key {key:?}")))?,
        sha256: sha256.parse().map_err(|_| DbError::Foreign(format!("the hash {sha256:?}")))?,
        pipeline: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
        packet_limit: row.get::<_, Option<i64>>(4)?.and_then(|limit| u64::try_from(limit).ok()),
        pipeline_version: row.get(5)?,
    })
}

/// How many bytes the owner of an entry may still keep, of what came of other analyses too since it was confirmed; none where
/// that is more already.
///
/// # Errors
/// Where the database fails.
pub fn left_of_quota(connection: &Connection, entry: i64, everywhere: u64) -> Result<Option<u64>, DbError> {
    let owner: Option<i64> = connection
        .prepare_cached("SELECT account_id FROM entries WHERE id = ?1")?
        .query_row([entry], |row| row.get(0))
        .optional()?;
    let Some(owner) = owner else { return Ok(None) };
    let quota = quota_of(connection, owner, everywhere)?;
    Ok(quota.checked_sub(there_bytes(connection, owner)?))
}

/// Whether a running analysis was asked to stop; `None` where its entry was deleted meanwhile.
///
/// # Errors
/// Where the database fails.
pub fn is_stop_asked(connection: &Connection, entry: i64) -> Result<Option<bool>, DbError> {
    Ok(connection
        .prepare_cached("SELECT stop_asked FROM entries WHERE id = ?1")?
        .query_row([entry], |row| row.get(0))
        .optional()?)
}

/// Notes what an analysis came to. False where the entry was deleted meanwhile.
///
/// # Errors
/// Where the database fails.
pub fn done(connection: &Connection, entry: i64, done: &Done, now: i64) -> Result<bool, DbError> {
    let result = &done.analysed;
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let changed = connection.execute(
        "UPDATE entries SET state = 'done', ended_at = ?2, why = NULL, words = NULL, packets = ?3, flows = ?4, scored = ?5,
         malicious = ?6, suspicious = ?7, partial = ?8, blind = ?9, result_bytes = ?10 WHERE id = ?1 AND state = 'running'",
        params![
            entry,
            now,
            number(result.packets),
            number(result.flows),
            number(result.scored),
            number(result.malicious),
            number(result.suspicious),
            result.partial,
            result.blind,
            number(done.bytes),
        ],
    )?;
    Ok(changed == 1)
}

/// Notes that an analysis has no result.
///
/// # Errors
/// Where the database fails.
pub fn failed(connection: &Connection, entry: i64, why: Why, words: Option<&str>, now: i64) -> Result<(), DbError> {
    connection.execute(
        "UPDATE entries SET state = 'failed', ended_at = ?2, why = ?3, words = ?4 WHERE id = ?1 AND state = 'running'",
        params![entry, now, why.name(), words],
    )?;
    Ok(())
}

/// Puts back what was running when the portal was told to end. It is no start that counts.
///
/// # Errors
/// Where the database fails.
pub fn put_back(connection: &Connection, entry: i64) -> Result<(), DbError> {
    connection.execute(
        "UPDATE entries SET state = 'queued', starts = max(starts - 1, 0) WHERE id = ?1 AND state = 'running'",
        [entry],
    )?;
    Ok(())
}

/// Notes that a worker died over an entry: it is run once more, and then set aside. Says whether it is run again.
///
/// # Errors
/// Where the database fails.
pub fn crashed(connection: &Connection, entry: i64, why: Why, words: &str, now: i64) -> Result<bool, DbError> {
    connection.execute(
        "UPDATE entries SET crashes = crashes + 1,
             state = CASE WHEN crashes + 1 >= ?2 THEN 'failed' ELSE 'queued' END,
             ended_at = CASE WHEN crashes + 1 >= ?2 THEN ?3 END, why = ?4, words = ?5
         WHERE id = ?1 AND state = 'running'",
        params![entry, CRASHES, now, why.name(), words],
    )?;
    let state: Option<String> =
        connection.query_row("SELECT state FROM entries WHERE id = ?1", [entry], |row| row.get(0)).optional()?;
    Ok(state.as_deref() == Some("queued"))
}

/// How many analyses come before this one, roughly: those that run and those that were confirmed earlier.
///
/// # Errors
/// Where the database fails.
pub fn ahead(connection: &Connection, entry: i64) -> Result<u32, DbError> {
    Ok(connection
        .prepare_cached(
            "SELECT count(*) FROM entries AS e JOIN entries AS me ON me.id = ?1
             WHERE e.id <> me.id AND (e.state = 'running' OR (e.state = 'queued'
                 AND (e.confirmed_at, e.id) < (me.confirmed_at, me.id)))",
        )?
        .query_row([entry], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Db;

    fn database(entries: &[(i64, i64)]) -> (tempfile::TempDir, Db) {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&folder.path().join("portal.sqlite")).unwrap();
        db.run_blocking(|c| -> Result<(), DbError> {
            for account in 1..=3 {
                c.execute(
                    "INSERT INTO accounts (id, name, display_name, role, password_hash, created_at)
                     VALUES (?1, ?2, 'x', 'analyst', 'x', 0)",
                    params![account, format!("a{account}")],
                )?;
            }
            let sha256 = "a".repeat(64);
            c.execute("INSERT INTO captures VALUES (?1, 1, 0)", [&sha256])?;
            for (at, (account, confirmed)) in entries.iter().enumerate() {
                c.execute(
                    "INSERT INTO entries (key, account_id, sha256, name, created_at, inspection, state, pipeline, confirmed_at)
                     VALUES (?1, ?2, ?4, 'n', 0, '{}', 'queued', 'default', ?3)",
                    params![key(at), account, confirmed, sha256],
                )?;
            }
            Ok(())
        })
        .unwrap();
        (folder, db)
    }

    fn key(at: usize) -> String {
        format!("{at:032x}")
    }

    /// The next entries, as the numbers they were made with.
    fn keys(db: &Db, turns: &mut Turns, most: usize) -> Vec<usize> {
        let next = |_| db.run_blocking(|c| take(c, turns, 7)).unwrap();
        (0..most).map_while(next).map(|job| usize::from_str_radix(job.key.as_str(), 16).unwrap()).collect()
    }

    #[test]
    fn accounts_take_turns() {
        // One account has filled the queue before the others came.
        let (_folder, db) = database(&[(1, 10), (1, 10), (1, 10), (1, 11), (2, 20), (2, 21), (3, 30)]);
        let mut turns = Turns::default();
        assert_eq!(keys(&db, &mut turns, 3), [0, 4, 6]);
        // Two of them are ready: they get the next turns, not the one whose analysis still runs.
        db.run_blocking(|c| c.execute("UPDATE entries SET state = 'done' WHERE key IN (?1, ?2)", [key(4), key(0)]))
            .unwrap();
        assert_eq!(keys(&db, &mut turns, 9), [1, 5, 2, 3]);
    }

    #[test]
    fn what_was_running_is_run_again_but_not_for_ever() {
        let (_folder, db) = database(&[(1, 10)]);
        for _ in 1..STARTS {
            assert_eq!(keys(&db, &mut Turns::default(), 2), [0]);
            assert_eq!(db.run_blocking(|c| restart(c, 9)).unwrap(), 1);
        }
        assert_eq!(keys(&db, &mut Turns::default(), 2), [0]);
        assert_eq!(db.run_blocking(|c| restart(c, 9)).unwrap(), 0);
        let why: String = db
            .run_blocking(|c| c.query_row("SELECT why FROM entries WHERE state = 'failed'", [], |r| r.get(0)))
            .unwrap();
        assert_eq!(why, "restarts");
    }

    #[test]
    fn who_kills_two_workers_is_set_aside() {
        let (_folder, db) = database(&[(1, 10)]);
        let mut turns = Turns::default();
        assert_eq!(keys(&db, &mut turns, 2), [0]);
        assert!(db.run_blocking(|c| crashed(c, 1, Why::Crashed, "signal 11", 5)).unwrap());
        assert_eq!(keys(&db, &mut turns, 2), [0]);
        assert!(!db.run_blocking(|c| crashed(c, 1, Why::Crashed, "signal 11", 5)).unwrap());
        assert_eq!(keys(&db, &mut turns, 2), [0; 0]);
        let words: String = db
            .run_blocking(|c| c.query_row("SELECT words FROM entries WHERE state = 'failed'", [], |r| r.get(0)))
            .unwrap();
        assert_eq!(words, "signal 11");
    }

    #[test]
    fn results_that_came_meanwhile_count_towards_the_quota() {
        let (_folder, db) = database(&[(1, 10), (1, 11), (2, 12)]);
        let left = |entry: i64| db.run_blocking(|c| left_of_quota(c, entry, 100)).unwrap();
        assert_eq!(left(2), Some(99), "the capture has a byte");
        let grow = "UPDATE entries SET result_bytes = 100 WHERE id = 1";
        db.run_blocking(|c| c.execute(grow, [])).unwrap();
        assert_eq!((left(2), left(3)), (None, Some(99)));
        assert_eq!(left(99), None, "deleted meanwhile");
    }

    #[test]
    fn a_deleted_entry_gets_no_result() {
        let (_folder, db) = database(&[(1, 10)]);
        assert_eq!(keys(&db, &mut Turns::default(), 1), [0]);
        let analysed =
            Analysed { packets: 0, flows: 0, scored: 0, malicious: 0, suspicious: 0, partial: false, blind: false };
        let nothing = Done { analysed, bytes: 0 };
        db.run_blocking(|c| -> Result<(), DbError> {
            assert_eq!(is_stop_asked(c, 1)?, Some(false));
            c.execute("DELETE FROM entries", [])?;
            assert_eq!(is_stop_asked(c, 1)?, None);
            assert!(!done(c, 1, &nothing, 5)?);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn names_are_told_apart() {
        let names: std::collections::BTreeSet<_> = Why::ALL.iter().map(|why| why.name()).collect();
        assert_eq!(names.len(), Why::ALL.len());
    }
}
