//! What an owner does with an entry.
//!
//! The states `running`, `done` and the failures of workers are written by whoever runs the workers; here is what
//! people ask for.

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::{Entry, MAX_NOTE, State, WHY_CAPTURE_MISSING, WHY_STOPPED, categories, owned};
use crate::accounts::audit::{self, Action};
use crate::accounts::{Actor, Reason, Refused, shown_text_of};
use crate::config::Limits;
use crate::database::DbError;
use crate::uploads::store::one_more_entry;
use crate::uploads::{Key, Sha256Hex};

/// What an owner chooses before the analysis.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// The name of the pipeline.
    pub pipeline: String,
    /// Packets after which the analysis stops; all where there is none.
    pub packet_limit: Option<u64>,
    /// What the owner says of it; may be empty.
    pub note: String,
    /// What it is sorted into.
    pub category: Option<i64>,
}

/// What a choice is held to.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<'a> {
    /// The names of the pipelines that can be chosen.
    pub pipelines: &'a [&'a str],
    /// Entries of one account that may wait at the same time.
    pub waiting: u32,
}

/// What stopping an entry came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It had not begun, and has failed.
    AtOnce,
    /// It runs: whoever holds the worker of this entry must ask it to end.
    Running {
        /// The entry's number.
        id: i64,
    },
}

/// What is left to do for an entry that was deleted: its rows are gone. Where it ran, end its worker; then give this to
/// [`crate::uploads::remove`], which removes the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The number that the entry had.
    pub id: i64,
    /// Its key.
    pub key: Key,
    /// Its capture, which other entries may still name.
    pub sha256: Sha256Hex,
    /// Whether it ran: its worker must be ended, and must not be counted as crashed.
    pub was_running: bool,
}

/// Begins a change: nobody else changes anything until it is committed.
pub(super) fn begin(connection: &mut Connection) -> Result<Transaction<'_>, DbError> {
    Ok(connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
}

/// Confirms an unconfirmed entry: it waits for a worker from now on.
///
/// # Errors
/// Where the entry is not there, another's or in another state, a choice is none that was offered, too many of the
/// account's entries wait, or the database fails.
pub fn confirm(
    connection: &mut Connection,
    account: i64,
    key: &str,
    choices: &Choices,
    bounds: Bounds<'_>,
    actor: &Actor,
    now: i64,
) -> Result<(), Refused> {
    let transaction = begin(connection)?;
    let entry = owned(&transaction, account, key)?;
    if entry.state != State::Unconfirmed {
        return Err(Reason::State.into());
    }
    if !bounds.pipelines.contains(&choices.pipeline.as_str()) {
        return Err(Reason::Pipeline.into());
    }
    let packets = choices.packet_limit.map(i64::try_from).transpose().map_err(|_| Reason::PacketLimit)?;
    if packets == Some(0) {
        return Err(Reason::PacketLimit.into());
    }
    let note = shown_text_of(&choices.note, MAX_NOTE).ok_or(Reason::Note)?;
    categories::check(&transaction, choices.category, entry.category_id)?;
    let waiting: u32 = transaction.query_row(
        "SELECT count(*) FROM entries WHERE account_id = ?1 AND state = 'queued'",
        [account],
        |row| row.get(0),
    )?;
    if waiting >= bounds.waiting {
        return Err(Reason::Waiting.into());
    }
    transaction.execute(
        "UPDATE entries SET state = 'queued', pipeline = ?2, packet_limit = ?3, note = ?4, category_id = ?5,
            confirmed_at = ?6 WHERE id = ?1",
        params![entry.id, choices.pipeline, packets, note, choices.category, now],
    )?;
    audit::record(&transaction, actor, Action::Confirmed, Some(key), now)?;
    transaction.commit()?;
    Ok(())
}

/// Sets what the owner says of an entry; may be empty.
///
/// # Errors
/// Where the note is too long or steers, the entry is not there or another's, or the database fails.
pub fn set_note(
    connection: &mut Connection,
    account: i64,
    key: &str,
    note: &str,
    actor: &Actor,
    now: i64,
) -> Result<(), Refused> {
    let note = shown_text_of(note, MAX_NOTE).ok_or(Reason::Note)?;
    let transaction = begin(connection)?;
    let entry = owned(&transaction, account, key)?;
    if entry.note == note {
        return Ok(());
    }
    transaction.execute("UPDATE entries SET note = ?2 WHERE id = ?1", params![entry.id, note])?;
    audit::record(&transaction, actor, Action::Described, Some(key), now)?;
    transaction.commit()?;
    Ok(())
}

/// Sorts an entry into a category, or into none. A retired one is kept, and cannot be chosen anew.
///
/// # Errors
/// Where there is no such category to choose, the entry is not there or another's, or the database fails.
pub fn set_category(
    connection: &mut Connection,
    account: i64,
    key: &str,
    category: Option<i64>,
    actor: &Actor,
    now: i64,
) -> Result<(), Refused> {
    let transaction = begin(connection)?;
    let entry = owned(&transaction, account, key)?;
    if entry.category_id == category {
        return Ok(());
    }
    categories::check(&transaction, category, entry.category_id)?;
    transaction.execute("UPDATE entries SET category_id = ?2 WHERE id = ?1", params![entry.id, category])?;
    audit::record(&transaction, actor, Action::Described, Some(key), now)?;
    transaction.commit()?;
    Ok(())
}

/// Asks for the end of an analysis. One that waits fails at once; of one that runs, the worker must be asked.
///
/// # Errors
/// Where the entry neither waits nor runs, is not there or another's, or the database fails.
pub fn ask_stop(
    connection: &mut Connection,
    account: i64,
    key: &str,
    actor: &Actor,
    now: i64,
) -> Result<Stop, Refused> {
    let transaction = begin(connection)?;
    let Entry { id, state, stop_asked, .. } = owned(&transaction, account, key)?;
    let stop = match state {
        State::Queued => {
            transaction.execute(
                "UPDATE entries SET state = 'failed', stop_asked = 1, why = ?2, words = NULL, ended_at = ?3
                    WHERE id = ?1",
                params![id, WHY_STOPPED, now],
            )?;
            Stop::AtOnce
        }
        State::Running => {
            transaction.execute("UPDATE entries SET stop_asked = 1 WHERE id = ?1", [id])?;
            Stop::Running { id }
        }
        State::Unconfirmed | State::Done | State::Failed => return Err(Reason::State.into()),
    };
    // Asking twice is one stop.
    if !stop_asked {
        audit::record(&transaction, actor, Action::Stopped, Some(key), now)?;
    }
    transaction.commit()?;
    Ok(stop)
}

/// Deletes an entry in any state, with its marks. Its files are left to the caller, who ends its worker first.
///
/// # Errors
/// Where the entry is not there or another's, or the database fails.
pub fn delete(
    connection: &mut Connection,
    account: i64,
    key: &str,
    actor: &Actor,
    now: i64,
) -> Result<Deleted, Refused> {
    let transaction = begin(connection)?;
    let Entry { id, key, sha256, state, .. } = owned(&transaction, account, key)?;
    transaction.execute("DELETE FROM entries WHERE id = ?1", [id])?;
    transaction.execute(
        "DELETE FROM captures WHERE sha256 = ?1 AND NOT EXISTS (SELECT 1 FROM entries WHERE sha256 = ?1)",
        [sha256.as_str()],
    )?;
    audit::record(&transaction, actor, Action::Deleted, Some(key.as_str()), now)?;
    transaction.commit()?;
    Ok(Deleted { id, key, sha256, was_running: state == State::Running })
}

/// Makes a new entry of the same capture, with the same name, note and category, to be confirmed.
///
/// # Errors
/// Where the entry is itself unconfirmed or its capture is gone, it is not there or another's, there are as many entries
/// as there may be, or the database fails.
pub fn analyse_again(
    connection: &mut Connection,
    account: i64,
    key: &str,
    limits: &Limits,
    actor: &Actor,
    now: i64,
) -> Result<Key, Refused> {
    let new = Key::random().map_err(DbError::from)?;
    let transaction = begin(connection)?;
    let entry = owned(&transaction, account, key)?;
    if entry.state == State::Unconfirmed || entry.why.as_deref() == Some(WHY_CAPTURE_MISSING) {
        return Err(Reason::State.into());
    }
    one_more_entry(&transaction, account, limits.entries)?;
    transaction.execute(
        "INSERT INTO entries (key, account_id, sha256, name, note, category_id, created_at, inspection, state)
            SELECT ?2, account_id, sha256, name, note, category_id, ?3, inspection, 'unconfirmed' FROM entries
            WHERE id = ?1",
        params![entry.id, new.as_str(), now],
    )?;
    audit::record(&transaction, actor, Action::Again, Some(new.as_str()), now)?;
    transaction.commit()?;
    Ok(new)
}
