//! The embedded database.
//!
//! One SQLite file in the data folder, one connection. SQLite blocks, so every use runs on a thread that may; and it
//! writes one thing at a time anyway, so one connection behind a lock costs little and can never wait for itself. What
//! reads a lot opens a connection of its own beside it ([`Db::read`]): whoever writes does not wait for it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rocket::tokio::sync::Semaphore;
use rocket::tokio::task;
use rusqlite::{Connection, OpenFlags};
use thiserror::Error;

/// Every change of the tables, in order. A migration that has been released is never edited; the next one follows it.
const MIGRATIONS: &[(u32, &str)] = &[
    (1, include_str!("0001_accounts.sql")),
    (2, include_str!("0002_entries.sql")),
    (3, include_str!("0003_indexes.sql")),
    (4, include_str!("0004_triage.sql")),
    (5, include_str!("0005_uploads.sql")),
    (6, include_str!("0006_sign_in.sql")),
    (7, include_str!("0007_teams.sql")),
    (8, include_str!("0008_pipelines.sql")),
    (9, include_str!("0009_training.sql")),
    (10, include_str!("0010_watched.sql")),
];

/// The database's name in the data folder.
pub const FILE: &str = "portal.sqlite";

/// How long a statement waits for another program (a backup) that holds the file.
const BUSY: Duration = Duration::from_secs(5);

/// Readings beside the connection that writes, at the same time; more wait.
const READINGS: usize = 8;
/// Steps of SQLite's machine between two looks at the clock: some ten microseconds.
const STEPS: i32 = 2000;

/// Why the database did not do it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DbError {
    /// SQLite says no.
    #[error("the database says: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A newer portal made this database.
    #[error(
        "the database {} is of version {found}, this portal knows versions up to {known}: start the newer portal, or \
         restore a backup", path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The thread that ran it is gone.
    #[error("the work on the database was broken off: {0}")]
    Broken(String),
    /// No random bytes for a new token.
    #[error(transparent)]
    Secret(#[from] crate::secret::SecretError),
    /// Something in the database reads as nothing we wrote.
    #[error("the database holds {0}, which this portal never wrote")]
    Foreign(String),
}

/// A handle on the database; copies share it.
#[derive(Clone, Debug)]
pub struct Db {
    connection: Arc<Mutex<Connection>>,
    path: Arc<Path>,
    readings: Arc<Semaphore>,
}

impl Db {
    /// Opens or makes the database, and brings its tables up to date.
    ///
    /// # Errors
    /// Where the file cannot be used, or a newer portal made it.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        // A confirmed change survives a power cut.
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        // What is deleted is overwritten, and not only forgotten.
        connection.pragma_update(None, "secure_delete", true)?;
        migrate(&mut connection, path)?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            path: path.into(),
            readings: Arc::new(Semaphore::new(READINGS)),
        })
    }

    /// Runs `work` with the connection, on a thread that may block.
    ///
    /// # Errors
    /// What `work` says, or that its thread is gone.
    pub async fn run<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let db = self.clone();
        task::spawn_blocking(move || db.run_blocking(work))
            .await
            .unwrap_or_else(|error| Err(DbError::Broken(error.to_string()).into()))
    }

    /// Runs `work` with a connection of its own that changes nothing, and sees one state of the database all along: for
    /// what takes so long that others must not wait for it.
    ///
    /// # Errors
    /// What `work` says, that the database cannot be opened once more, or that its thread is gone.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.look(None, work).await
    }

    /// The same for so many milliseconds: what takes longer is broken off ([`is_too_slow`]).
    ///
    /// # Errors
    /// As [`Db::read`], and where the time is over.
    pub async fn read_within<T, E, F>(&self, milliseconds: u32, work: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.look(Some(Duration::from_millis(milliseconds.into())), work).await
    }

    async fn look<T, E, F>(&self, time: Option<Duration>, work: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let turn = Arc::clone(&self.readings).acquire_owned().await;
        let turn = turn.map_err(|error| DbError::Broken(error.to_string()))?;
        let path = Arc::clone(&self.path);
        let reading = task::spawn_blocking(move || {
            let _turn = turn;
            let mut connection = read_only(&path)?;
            if let Some(time) = time {
                let begin = Instant::now();
                let is_over = move || begin.elapsed() > time;
                connection.progress_handler(STEPS, Some(is_over)).map_err(DbError::from)?;
            }
            let transaction = connection.transaction().map_err(DbError::from)?;
            work(&transaction)
        });
        reading.await.unwrap_or_else(|error| Err(DbError::Broken(error.to_string()).into()))
    }

    /// Runs `work` with the connection on this thread: for the start, and for threads of one's own.
    ///
    /// # Errors
    /// What `work` says.
    pub fn run_blocking<T, E>(&self, work: impl FnOnce(&mut Connection) -> Result<T, E>) -> Result<T, E> {
        // A panic inside a transaction has rolled it back: the connection is as good as before.
        work(&mut self.connection.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Writes what SQLite's write-ahead log holds into the database and cuts the log off: rows that were deleted stand in it
/// until then. Whoever reads the database meanwhile ([`Db::read`], a backup) can keep it from being cut; [`crate::chores`]
/// does it a minute later.
///
/// # Errors
/// Where SQLite says no.
pub fn empty_log(connection: &Connection) -> Result<(), DbError> {
    // Nobody waits for a backup here, which may take long: all others would wait as well.
    connection.busy_timeout(Duration::ZERO)?;
    // It answers with a row, of which nothing is needed.
    let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    connection.busy_timeout(BUSY)?;
    Ok(emptied?)
}

/// Whether an error is that the time of [`Db::read_within`] was over, however deep below that is said.
pub fn is_too_slow(error: &(dyn std::error::Error + 'static)) -> bool {
    let is_broken_off = error.downcast_ref().is_some_and(|error: &rusqlite::Error| {
        error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted)
    });
    is_broken_off || error.source().is_some_and(is_too_slow)
}

/// The newest version of the tables that this portal knows.
pub fn known_version() -> u32 {
    MIGRATIONS.last().map_or(0, |(number, _)| *number)
}

/// The version of the tables in this database.
///
/// # Errors
/// Where the file cannot be read, or a newer portal made it.
pub fn version(connection: &Connection, path: &Path) -> Result<u32, DbError> {
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = known_version();
    if found > known { Err(DbError::Newer { path: path.to_owned(), found, known }) } else { Ok(found) }
}

/// The database as somebody reads it who changes nothing, beside a portal that works or without one.
///
/// # Errors
/// Where there is none, or it cannot be read.
pub fn read_only(path: &Path) -> Result<Connection, DbError> {
    // What has a write-ahead log is read with the help of a file beside it, which must be made where nobody else has.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Runs the migrations that this file has not seen, each whole or not at all.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), DbError> {
    let found = version(connection, path)?;
    for (number, sql) in MIGRATIONS.iter().filter(|(number, _)| *number > found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_run_once_and_are_numbered_in_order() {
        assert!(MIGRATIONS.iter().zip(1..).all(|((number, _), expected)| *number == expected));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portal.sqlite");
        for _ in 0..2 {
            let db = Db::open(&path).unwrap();
            let (version, mode, keys): (u32, String, bool) = db
                .run_blocking(|connection| -> Result<_, DbError> {
                    Ok((
                        connection.pragma_query_value(None, "user_version", |row| row.get(0))?,
                        connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?,
                        connection.pragma_query_value(None, "foreign_keys", |row| row.get(0))?,
                    ))
                })
                .unwrap();
            assert_eq!((version, mode.as_str(), keys), (u32::try_from(MIGRATIONS.len()).unwrap(), "wal", true));
        }
    }

    #[test]
    fn a_newer_database_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portal.sqlite");
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 999).unwrap();
        assert!(matches!(Db::open(&path), Err(DbError::Newer { found: 999, .. })));
    }

    #[rocket::async_test]
    async fn a_panic_breaks_one_use_and_not_the_database() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&folder.path().join("portal.sqlite")).unwrap();
        let broken = db.run(|_| -> Result<(), DbError> { panic!("a bug") }).await;
        assert!(matches!(broken, Err(DbError::Broken(_))));
        let one: i64 =
            db.run(|c| -> Result<_, DbError> { Ok(c.query_row("SELECT 1", [], |row| row.get(0))?) }).await.unwrap();
        assert_eq!(one, 1);
    }

    #[rocket::async_test]
    async fn a_reading_whose_time_is_over_is_broken_off() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&folder.path().join("portal.sqlite")).unwrap();
        let endless = |connection: &Connection| -> Result<i64, DbError> {
            let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
            Ok(connection.query_row(sql, [], |row| row.get(0))?)
        };
        let error = db.read_within(1, endless).await.unwrap_err();
        assert!(is_too_slow(&error), "{error}");
        let refused = crate::accounts::Refused::from(error);
        assert!(is_too_slow(&refused), "{refused}");
        assert!(!is_too_slow(&DbError::Broken("no".to_owned())));
    }

    #[rocket::async_test]
    async fn a_reading_changes_nothing_and_waits_for_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&folder.path().join("portal.sqlite")).unwrap();
        let count = |connection: &Connection| -> Result<i64, DbError> {
            Ok(connection.query_row("SELECT count(*) FROM audit", [], |row| row.get(0))?)
        };
        // The one connection is held, in the middle of a change, while another one reads.
        let (held, done) = (Arc::clone(&db.connection), std::sync::mpsc::channel::<()>());
        let (began, begun) = rocket::tokio::sync::oneshot::channel();
        let holder = std::thread::spawn(move || {
            let mut connection = held.lock().unwrap();
            let transaction = connection.transaction().unwrap();
            transaction.execute("INSERT INTO audit (at, action) VALUES (1, 'a')", []).unwrap();
            began.send(()).unwrap();
            done.1.recv().unwrap();
            transaction.commit().unwrap();
        });
        begun.await.unwrap();
        assert_eq!(db.read(count).await.unwrap(), 0);
        done.0.send(()).unwrap();
        holder.join().unwrap();
        assert_eq!(db.read(count).await.unwrap(), 1);
        let written = db.read(|connection| -> Result<_, DbError> { Ok(connection.execute("DELETE FROM teams", [])?) });
        assert!(matches!(written.await, Err(DbError::Sqlite(_))));
    }

    #[test]
    fn the_audit_log_only_grows() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&folder.path().join("portal.sqlite")).unwrap();
        db.run_blocking(|connection| -> Result<(), DbError> {
            connection.execute("INSERT INTO audit (at, action) VALUES (1, 'a')", [])?;
            for sql in [
                "UPDATE audit SET at = 2",
                "DELETE FROM audit",
                "REPLACE INTO audit (id, at, action) VALUES (1, 9, 'z')",
            ] {
                assert!(connection.execute(sql, []).is_err(), "{sql}");
            }
            Ok(())
        })
        .unwrap();
    }
}
