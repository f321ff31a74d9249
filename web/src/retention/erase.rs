//! Rows are gone: worker and reader end, then the files go. The one way by which anything of an entry is deleted, by whomever.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::accounts::Refused;
use crate::database::Db;
use crate::entries::Deleted;
use crate::jobs::live::Board;
use crate::packets::Readers;
use crate::uploads::{self, Folders};

/// How long a deletion waits for a worker, and for a reader, to end.
const ENDS: Duration = Duration::from_secs(5);
/// Time between two looks whether it has.
const PAUSE: Duration = Duration::from_millis(10);

/// What of an entry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// All of it: its row is gone.
    Entry,
    /// Its capture and the index of that; the row says so already, and the result stays.
    Capture,
}

/// What deletes files.
#[derive(Clone)]
pub struct Eraser {
    pub(super) db: Db,
    folders: Folders,
    board: Board,
    readers: Readers,
}

impl Eraser {
    /// Deletes from these folders, and ends what works there.
    pub fn new(db: Db, folders: Folders, board: Board, readers: Readers) -> Self {
        Self { db, folders, board, readers }
    }

    /// Ends what holds the files of an entry whose rows are gone, and removes them; says whether the capture's file went.
    /// This blocks.
    ///
    /// # Errors
    /// Where a file cannot be removed, or the database fails.
    pub fn erase(&self, deleted: &Deleted, whole: Whole) -> Result<bool, Refused> {
        // Its worker reads the capture and writes the result: it ends first.
        let until = Instant::now() + ENDS;
        while let Some(running) = self.board.find(deleted.id).filter(|_| Instant::now() < until) {
            running.kill.store(true, Ordering::Relaxed);
            std::thread::sleep(PAUSE);
        }
        self.readers.end_and_wait(deleted.id, ENDS);
        let is_gone = self.db.run_blocking(|connection| match whole {
            Whole::Entry => uploads::remove(connection, &self.folders, deleted),
            Whole::Capture => uploads::remove_capture(connection, &self.folders, deleted),
        })?;
        // Somebody may have asked between the two.
        self.readers.end_of(deleted.id);
        Ok(is_gone)
    }
}
