//! Models learnt from the operator's labelled data and from what people marked.
//!
//! | module | story |
//! |---|---|
//! | [`store`] | which trainings there are, and what became of each |
//! | [`data`] | what there is to learn from |
//! | [`runner`] | the thread that starts one after the other |
//!
//! Any analyst may ask for one: marks and captures are theirs alone, and what comes of it is a version in the registry that
//! judges nothing. Only an administrator makes it the champion. A training runs in a confined child, one at a time. What it
//! learns from is copied when it is asked for, so that a restart runs the same again.

pub mod data;
pub mod runner;
pub mod store;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use veilwatch::worker::TrainReport;

use crate::database::{Db, DbError};
use crate::entries::marks::labels;
use crate::uploads::Key;

pub use runner::Trainer;
pub use store::{NewTraining, State, Training};

/// Where the files of a training lie, as long as it is not over.
pub fn folder(data: &Path, key: &Key) -> PathBuf {
    data.join("training").join(key.as_str())
}

/// The captures of a training that an account sees, by their hashes: the key of an entry, and what its file was called.
pub type SeenCaptures = BTreeMap<String, (String, String)>;

/// What an account may be shown of what came of a training, with the captures that it sees: of somebody else's, no flow and
/// no capture; of its own, none of captures that it does not see any more. What people said, it may hear as long as it sees
/// all captures it is about.
///
/// # Errors
/// Where the database fails.
pub async fn seen_report(
    db: &Db,
    account: i64,
    training: &Training,
) -> Result<Option<(TrainReport, SeenCaptures)>, DbError> {
    let Some(mut report) = training.report.clone() else { return Ok(None) };
    if training.account_id != account {
        (report.conflicts, report.changed, report.said) = (Vec::new(), Vec::new(), Vec::new());
        return Ok(Some((report, SeenCaptures::new())));
    }
    let captures = training.asked.captures.clone();
    let seen = db.read(move |connection| labels::captures_of(connection, account, &captures)).await?;
    report.changed.retain(|one| seen.contains_key(&one.sha256));
    if !training.asked.captures.iter().all(|capture| seen.contains_key(capture.as_str())) {
        (report.conflicts, report.said) = (Vec::new(), Vec::new());
    }
    Ok(Some((report, seen)))
}

/// Removes what was copied for trainings of an account that is deleted, and stops the one that runs.
pub fn forget(trainer: &Trainer, data: &Path, trainings: &[(i64, Key)]) {
    for (id, key) in trainings {
        trainer.stop(*id);
        // What runs is waited for by its own thread, which removes what is left.
        if let Err(error) = std::fs::remove_dir_all(folder(data, key))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "the files of a training stay behind until the next start");
        }
    }
}

/// Puts back what was running when the portal ended, and removes what nobody will need.
///
/// # Errors
/// Where the database fails.
pub fn restart(db: &Db, data: &Path, now: i64) -> Result<(), DbError> {
    db.run_blocking(|connection| store::restart(connection, now))?;
    let wanted = db.run_blocking(|connection| store::waiting_keys(connection))?;
    let Ok(there) = std::fs::read_dir(data.join("training")) else { return Ok(()) };
    for entry in there.flatten() {
        if !wanted.iter().any(|key| *key == *entry.file_name().to_string_lossy())
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::warn!(%error, "the files of a training stay behind");
        }
    }
    Ok(())
}
