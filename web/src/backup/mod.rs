//! Copies of the data folder: taken while the portal works, put back, and whether a folder is whole.
//!
//! | module | story |
//! |---|---|
//! | [`manifest`] | what a backup says of itself |
//! | [`files`] | files in and out, hashed on the way |
//! | [`take`](mod@take) | a backup is taken |
//! | [`restore`](mod@restore) | a backup becomes a data folder |
//! | [`check`](mod@check) | whether a data folder is whole |
//! | [`progress`] | how far it has come, on a terminal |
//!
//! The database is copied first, at one moment; captures, results and indexes, which never change once they are there,
//! follow as this copy names them. What is deleted before its turn comes is taken out of the copy as well: a backup holds
//! entries that are whole, and no half of one.

pub mod check;
pub mod files;
pub mod manifest;
pub mod progress;
pub mod restore;
pub mod take;

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use check::{Checked, check};
pub use progress::Progress;
pub use restore::{Restored, restore};
pub use take::{Taken, take};

use crate::database::DbError;
use crate::secret::SecretError;

/// The folder in a data folder that a restore works in; where it is left behind, the restore was broken off.
pub const RESTORING: &str = "restoring";
/// What a data folder's lock is called.
pub(crate) const LOCK: &str = "lock";
/// The most findings that are listed; the others are counted.
const LISTED: usize = 100;

/// Why a backup, a restore or a check came to nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackupError {
    /// A file cannot be read, written, made or moved.
    #[error("{} cannot be {what}: {source}", path.display())]
    File {
        /// What was tried, as in "cannot be written".
        what: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no portal's database.
    #[error("{} is no data folder: it has no portal.sqlite", .0.display())]
    NoData(PathBuf),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// No random bytes.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Something is at the target already.
    #[error("{} is there already: a backup is never written over anything", .0.display())]
    Exists(PathBuf),
    /// The target is inside of what is backed up.
    #[error("{} lies in the data folder itself: a backup must lie elsewhere", .0.display())]
    Inside(PathBuf),
    /// Not enough room.
    #[error("there are {free} bytes free at {}, and {needed} are needed", path.display())]
    NoRoom {
        /// Where.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are needed.
        needed: u64,
    },
    /// A portal works in the folder.
    #[error("{} is in use by a portal: end it, or name another folder", .0.display())]
    InUse(PathBuf),
    /// There is something in the folder.
    #[error("{} is not empty: a restore wants a new or an empty folder", .0.display())]
    NotEmpty(PathBuf),
    /// The backup is none, or damaged.
    #[error("this is no backup that can be restored: {0}")]
    Backup(String),
}

impl From<rusqlite::Error> for BackupError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Db(error.into())
    }
}

impl BackupError {
    pub(crate) fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { what, path: path.to_owned(), source }
    }
}

/// Words about what is not as it should be: the first ones, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The first ones.
    pub words: Vec<String>,
    /// All of them.
    pub count: u64,
}

impl Findings {
    /// One more.
    pub fn add(&mut self, words: impl Into<String>) {
        self.count += 1;
        if self.words.len() < LISTED {
            self.words.push(words.into());
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Bytes that are free where `path` lies, for whoever asks.
fn free_bytes(path: &Path) -> Result<u64, BackupError> {
    let disk = rustix::fs::statvfs(path).map_err(|error| BackupError::at("looked at", path)(error.into()))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests;
