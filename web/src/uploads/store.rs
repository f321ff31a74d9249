//! A received file becomes a kept capture with an entry, and goes with its last entry.
//!
//! The file is in its place, and on the disk, before the row that names it is there; when it goes, the row goes first.
//! So a crash can leave a file too many, which the sweep takes away, and never a row whose file is not there. Both ways
//! hold the database's write lock, so no capture is taken away while somebody else brings the same one.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use veilwatch::worker::Inspection;

use super::folders::{Folders, Key, Sha256Hex, is_kept, remove_file};
use super::name::shown_name;
use super::receive::Received;
use crate::accounts::audit::{self, Action};
use crate::accounts::{Actor, Reason, Refused, steers};
use crate::config::Limits;
use crate::database::DbError;
use crate::entries::Deleted;

/// The most characters of a format's or a compression's name.
const MAX_FORMAT: usize = 64;
/// The most characters of what is said of damage.
const MAX_DAMAGE: usize = 500;
/// The most link types that are kept of a capture.
const MAX_LINKS: usize = 64;

/// What is known of an upload, beside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct NewUpload<'a> {
    /// What its file was called: any text.
    pub name: &'a str,
    /// What a worker recognised in it.
    pub inspection: &'a Inspection,
}

/// An upload that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its new entry.
    pub key: Key,
    /// The newest entry that this account had of the same capture before.
    pub earlier: Option<Key>,
}

/// Whether an account may upload anything at all, and how many bytes it keeps so far.
///
/// # Errors
/// Where it has as many entries as it may, its quota is used up, or the database fails.
pub fn room(connection: &Connection, account: i64, limits: &Limits) -> Result<u64, Refused> {
    one_more_entry(connection, account, limits.entries)?;
    let kept = kept_bytes(connection, account)?;
    if kept >= limits.quota_bytes { Err(Reason::Quota.into()) } else { Ok(kept) }
}

/// The sum of the sizes of an account's captures, each content counted once.
///
/// # Errors
/// Where the database fails.
pub fn kept_bytes(connection: &Connection, account: i64) -> Result<u64, DbError> {
    let sum: i64 = connection
        .prepare_cached(
            "SELECT coalesce(sum(bytes), 0) FROM captures
                WHERE sha256 IN (SELECT sha256 FROM entries WHERE account_id = ?1)",
        )?
        .query_row([account], |row| row.get(0))?;
    Ok(u64::try_from(sum).unwrap_or(0))
}

/// Whether an account may have one entry more.
pub(crate) fn one_more_entry(connection: &Connection, account: i64, most: u32) -> Result<(), Refused> {
    let there: u32 = connection
        .prepare_cached("SELECT count(*) FROM entries WHERE account_id = ?1")?
        .query_row([account], |row| row.get(0))?;
    if there >= most { Err(Reason::TooManyEntries.into()) } else { Ok(()) }
}

/// Keeps an upload: from now on it is there after a power cut. A content that is kept already, by whomever, is kept
/// once; that others have it shows in nothing.
///
/// # Errors
/// Where the account's quota or its number of entries is used up, the file cannot be moved, or the database fails. The
/// upload is deleted then.
pub fn keep(
    connection: &mut Connection,
    folders: &Folders,
    received: Received,
    new: &NewUpload<'_>,
    limits: &Limits,
    actor: &Actor,
    now: i64,
) -> Result<Kept, Refused> {
    place_and_write(connection, folders, &received, new, limits, actor, now).inspect_err(|_| {
        // The file may be in its place already.
        if let Err(error) = remove_unnamed(connection, folders, received.sha256()) {
            tracing::warn!(%error, "a capture without an entry stays behind until the next start");
        }
    })
}

fn place_and_write(
    connection: &mut Connection,
    folders: &Folders,
    received: &Received,
    new: &NewUpload<'_>,
    limits: &Limits,
    actor: &Actor,
    now: i64,
) -> Result<Kept, Refused> {
    let (account, sha256) = (received.account(), received.sha256());
    let inspection = serde_json::to_string(&bounded(new.inspection))
        .map_err(|error| DbError::Foreign(format!("an inspection that is no JSON ({error})")))?;
    let bytes = i64::try_from(received.bytes()).unwrap_or(i64::MAX);
    let key = Key::random().map_err(DbError::from)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    one_more_entry(&transaction, account, limits.entries)?;
    let earlier: Option<String> = transaction
        .prepare_cached("SELECT key FROM entries WHERE account_id = ?1 AND sha256 = ?2 ORDER BY id DESC LIMIT 1")?
        .query_row(params![account, sha256.as_str()], |row| row.get(0))
        .optional()?;
    let more = if earlier.is_some() { 0 } else { received.bytes() };
    if kept_bytes(&transaction, account)?.saturating_add(more) > limits.quota_bytes {
        return Err(Reason::Quota.into());
    }
    let place = folders.capture(sha256);
    // A file of the right name and length that has a row is the same capture. One without is put in place again.
    let is_there = is_kept(&transaction, sha256)?
        && std::fs::metadata(&place).is_ok_and(|there| there.is_file() && there.len() == received.bytes());
    if !is_there {
        folders.place(received.path(), &place)?;
    }
    transaction.execute(
        "INSERT OR IGNORE INTO captures (sha256, bytes, stored_at) VALUES (?1, ?2, ?3)",
        params![sha256.as_str(), bytes, now],
    )?;
    transaction.execute(
        "INSERT INTO entries (key, account_id, sha256, name, created_at, inspection, state)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'unconfirmed')",
        params![key.as_str(), account, sha256.as_str(), shown_name(new.name), now, inspection],
    )?;
    audit::record(&transaction, actor, Action::Uploaded, Some(key.as_str()), now)?;
    transaction.commit()?;
    let earlier = earlier.map(|text| text.parse().map_err(|_| DbError::Foreign(format!("the key {text:?}"))));
    Ok(Kept { key, earlier: earlier.transpose()? })
}

/// Removes the files of an entry that was deleted: its result, and its capture where no other entry names it. End its
/// worker first. What a crash leaves here, the sweep takes away.
///
/// # Errors
/// Where a file cannot be removed, or the database fails.
pub fn remove(connection: &mut Connection, folders: &Folders, deleted: &Deleted) -> Result<(), Refused> {
    folders.remove_result(&deleted.key)?;
    remove_unnamed(connection, folders, &deleted.sha256)
}

/// Removes a capture's file where no entry names it. Somebody may have brought it again since its row went, so this
/// holds the write lock.
fn remove_unnamed(connection: &mut Connection, folders: &Folders, sha256: &Sha256Hex) -> Result<(), Refused> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if !is_kept(&transaction, sha256)? {
        remove_file(&folders.capture(sha256))?;
    }
    transaction.commit()?;
    Ok(())
}

/// What is kept of an inspection: a worker that read a hostile capture may say anything.
fn bounded(inspection: &Inspection) -> Inspection {
    let text = |text: &str, most: usize| text.chars().filter(|c| !steers(*c)).take(most).collect::<String>();
    Inspection {
        format: text(&inspection.format, MAX_FORMAT),
        compression: inspection.compression.as_deref().map(|name| text(name, MAX_FORMAT)),
        links: inspection.links.iter().copied().take(MAX_LINKS).collect(),
        damage: inspection.damage.as_deref().map(|words| text(words, MAX_DAMAGE)),
        ..*inspection
    }
}
