//! What people say to each other of an entry or a conversation: plain text of some lines. Its author changes it or takes
//! it back, and both are seen.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{Doer, lines_of, queue};
use crate::accounts::audit::{self, Action};
use crate::accounts::{Reason, Refused};
use crate::database::DbError;
use crate::entries::change::begin;
use crate::entries::workable;

/// The most characters of a comment: as many of any script as fit into a form.
pub const MAX_COMMENT: usize = 1500;

/// One comment. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// Its number.
    pub id: i64,
    /// The account of its author.
    pub account_id: i64,
    /// The name to show of its author.
    pub by: String,
    /// When it was written.
    pub at: i64,
    /// What it says: any text of some lines; nothing where it was deleted.
    pub text: String,
    /// Grows with every change.
    pub version: i64,
    /// When it was last changed.
    pub edited_at: Option<i64>,
    /// When it was deleted.
    pub deleted_at: Option<i64>,
}

/// The comments on an item, the oldest first.
///
/// # Errors
/// Where the database fails.
pub fn list(connection: &Connection, item: i64, most: u32) -> Result<Vec<Comment>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT c.id, c.account_id, a.display_name, c.at, c.text, c.version, c.edited_at, c.deleted_at FROM comments c
            JOIN accounts a ON a.id = c.account_id WHERE c.item_id = ?1 ORDER BY c.id LIMIT ?2",
    )?;
    let rows = statement.query_map(params![item, most], |row| {
        Ok(Comment {
            id: row.get(0)?,
            account_id: row.get(1)?,
            by: row.get(2)?,
            at: row.get(3)?,
            text: row.get(4)?,
            version: row.get(5)?,
            edited_at: row.get(6)?,
            deleted_at: row.get(7)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Adds a comment to an item, which has so many at most.
///
/// # Errors
/// Where the item is not there or the account may not see it, the text is empty, too long or steers, there are too many, or
/// the database fails.
pub fn add(
    connection: &mut Connection,
    doer: Doer<'_>,
    item: i64,
    text: &str,
    most: u32,
    now: i64,
) -> Result<i64, Refused> {
    let text = lines_of(text, MAX_COMMENT).ok_or(Reason::Comment)?;
    let transaction = begin(connection)?;
    let of = queue::find(&transaction, doer.account, item)?;
    let entry = workable(&transaction, doer.account, &of.key)?;
    let there: u32 =
        transaction.query_row("SELECT count(*) FROM comments WHERE item_id = ?1", [item], |row| row.get(0))?;
    // What others say leaves its owner a tenth.
    if there >= entry.share_of(most) {
        return Err(Reason::TooManyComments.into());
    }
    transaction.execute(
        "INSERT INTO comments (item_id, account_id, at, text) VALUES (?1, ?2, ?3, ?4)",
        params![item, doer.account, now, text],
    )?;
    let id = transaction.last_insert_rowid();
    let subject = format!("{}: item {item}, comment {id}", of.key);
    audit::record(&transaction, doer.actor, Action::Commented, Some(&subject), now)?;
    transaction.commit()?;
    Ok(id)
}

/// Changes what a comment of one's own says, of which this version was seen. Gives its item.
///
/// # Errors
/// Where it is not there, deleted, somebody else's or changed since, the text is none, or the database fails.
pub fn edit(
    connection: &mut Connection,
    doer: Doer<'_>,
    (id, version): (i64, i64),
    text: &str,
    now: i64,
) -> Result<i64, Refused> {
    let text = lines_of(text, MAX_COMMENT).ok_or(Reason::Comment)?;
    let transaction = begin(connection)?;
    let item = own(&transaction, doer, (id, version), "edited", now)?;
    transaction.execute(
        "UPDATE comments SET text = ?2, edited_at = ?3, version = version + 1 WHERE id = ?1",
        params![id, text, now],
    )?;
    transaction.commit()?;
    Ok(item)
}

/// Takes back a comment of one's own: that there was one is still seen. Gives its item.
///
/// # Errors
/// Where it is not there, deleted, somebody else's or changed since, or the database fails.
pub fn delete(
    connection: &mut Connection,
    doer: Doer<'_>,
    (id, version): (i64, i64),
    now: i64,
) -> Result<i64, Refused> {
    let transaction = begin(connection)?;
    let item = own(&transaction, doer, (id, version), "deleted", now)?;
    transaction.execute(
        "UPDATE comments SET text = '', deleted_at = ?2, version = version + 1 WHERE id = ?1",
        params![id, now],
    )?;
    transaction.commit()?;
    Ok(item)
}

/// The item of a comment that is this account's, of an item that it may still see; notes what is done to it.
fn own(
    transaction: &Transaction<'_>,
    doer: Doer<'_>,
    (id, version): (i64, i64),
    what: &str,
    now: i64,
) -> Result<i64, Refused> {
    let found: Option<(i64, i64)> = transaction
        .prepare_cached(
            "SELECT item_id, version FROM comments WHERE id = ?1 AND account_id = ?2 AND deleted_at IS NULL",
        )?
        .query_row(params![id, doer.account], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (item, current) = found.ok_or(Reason::NotThere)?;
    let of = queue::find(transaction, doer.account, item)?;
    workable(transaction, doer.account, &of.key)?;
    if current != version {
        return Err(Reason::Stale.into());
    }
    let subject = format!("{}: item {item}, comment {id} {what}", of.key);
    audit::record(transaction, doer.actor, Action::Commented, Some(&subject), now)?;
    Ok(item)
}
