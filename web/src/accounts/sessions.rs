//! Log-ins that last for a while.
//!
//! A session is a random token in a cookie. The database keeps its keyed hash, so a stolen database logs nobody in; and
//! the account is read anew with every request, so a change of role or a disabled account counts at once.

use rusqlite::{Connection, params};

use super::audit::{self, Action};
use super::{Account, Actor, MAX_TEXT, Reason, Refused, people};
use crate::config::Sessions;
use crate::database::DbError;
use crate::secret::{Purpose, Secret, random_token};

/// Seconds between two notes of when a session was last seen: reading a page should not write to the disk each time.
const SEEN_STEP: i64 = 60;

/// One session as its owner sees it.
#[derive(Clone, Debug)]
pub struct Session {
    /// Names it on a page; lets nobody in.
    pub id: i64,
    /// When it began.
    pub created_at: i64,
    /// When it was last used, to a minute.
    pub last_seen: i64,
    /// Where it began.
    pub address: String,
    /// What the browser calls itself.
    pub agent: String,
}

/// Begins a session and gives the token for its cookie. Sessions that have ended are swept out on the way.
///
/// # Errors
/// Where the database fails.
#[expect(clippy::too_many_arguments, reason = "each is one column, and all have one caller")]
pub fn begin(
    connection: &mut Connection,
    secret: &Secret,
    account: i64,
    agent: &str,
    actor: &Actor,
    limits: &Sessions,
    most: u32,
    now: i64,
) -> Result<String, DbError> {
    let token = random_token()?;
    let agent: String = agent.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect();
    let transaction = connection.transaction()?;
    transaction.execute(
        "DELETE FROM sessions WHERE last_seen <= ?1 OR created_at <= ?2",
        params![now - limits.idle_seconds, now - limits.absolute_seconds],
    )?;
    transaction.execute(
        "DELETE FROM sessions WHERE account_id = ?1 AND id NOT IN
            (SELECT id FROM sessions WHERE account_id = ?1 ORDER BY id DESC LIMIT ?2)",
        params![account, most.saturating_sub(1)],
    )?;
    transaction.execute(
        "INSERT INTO sessions (hash, account_id, created_at, last_seen, address, agent)
            VALUES (?1, ?2, ?3, ?3, ?4, ?5)",
        params![secret.hash(Purpose::Session, &token), account, now, actor.address, agent],
    )?;
    audit::record(&transaction, actor, Action::Login, None, now)?;
    transaction.commit()?;
    Ok(token)
}

/// Whose session this token is, if it has not ended.
///
/// # Errors
/// Where the database fails.
pub fn find(
    connection: &Connection,
    secret: &Secret,
    token: &str,
    limits: &Sessions,
    now: i64,
) -> Result<Option<(Account, i64)>, DbError> {
    let sql = format!(
        "SELECT {}, s.id, s.last_seen FROM sessions s JOIN accounts a ON a.id = s.account_id
            WHERE s.hash = ?1 AND s.last_seen > ?2 AND s.created_at > ?3 AND a.disabled = 0",
        people::COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let hash = secret.hash(Purpose::Session, token);
    let found = statement
        .query_and_then(params![hash, now - limits.idle_seconds, now - limits.absolute_seconds], |row| {
            Ok::<(Account, i64, i64), DbError>((people::read(row)?, row.get(7)?, row.get(8)?))
        })?
        .next()
        .transpose()?;
    let Some((account, id, last_seen)) = found else { return Ok(None) };
    // A short idle time is still kept to the second.
    if now - last_seen >= SEEN_STEP.min(limits.idle_seconds / 4) {
        connection.prepare_cached("UPDATE sessions SET last_seen = ?2 WHERE id = ?1")?.execute(params![id, now])?;
    }
    Ok(Some((account, id)))
}

/// Whether a session goes on: for what is told for longer than a request takes.
///
/// # Errors
/// Where the database fails.
pub fn goes_on(connection: &Connection, id: i64, limits: &Sessions, now: i64) -> Result<bool, DbError> {
    let mut open = connection.prepare_cached(
        "SELECT 1 FROM sessions s JOIN accounts a ON a.id = s.account_id
            WHERE s.id = ?1 AND s.last_seen > ?2 AND s.created_at > ?3 AND a.disabled = 0",
    )?;
    Ok(open.exists(params![id, now - limits.idle_seconds, now - limits.absolute_seconds])?)
}

/// When a session began.
///
/// # Errors
/// Where it is not there, or the database fails.
pub fn began(connection: &Connection, id: i64) -> Result<i64, DbError> {
    Ok(connection.query_row("SELECT created_at FROM sessions WHERE id = ?1", [id], |row| row.get(0))?)
}

/// The sessions of an account that have not ended, the newest first.
///
/// # Errors
/// Where the database fails.
pub fn list(connection: &Connection, account: i64, limits: &Sessions, now: i64) -> Result<Vec<Session>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, created_at, last_seen, address, agent FROM sessions
            WHERE account_id = ?1 AND last_seen > ?2 AND created_at > ?3 ORDER BY id DESC",
    )?;
    let rows =
        statement.query_map(params![account, now - limits.idle_seconds, now - limits.absolute_seconds], |row| {
            Ok(Session {
                id: row.get(0)?,
                created_at: row.get(1)?,
                last_seen: row.get(2)?,
                address: row.get(3)?,
                agent: row.get(4)?,
            })
        })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Ends one session of this account.
///
/// # Errors
/// Where it is not there or another's, or the database fails.
pub fn revoke(connection: &mut Connection, account: i64, id: i64, actor: &Actor, now: i64) -> Result<(), Refused> {
    let transaction = connection.transaction()?;
    let ended = transaction.execute("DELETE FROM sessions WHERE id = ?1 AND account_id = ?2", [id, account])?;
    if ended == 0 {
        return Err(Reason::NotThere.into());
    }
    audit::record(&transaction, actor, Action::SessionRevoked, Some("one"), now)?;
    transaction.commit()?;
    Ok(())
}

/// Ends all sessions of this account but one.
///
/// # Errors
/// Where the database fails.
pub fn revoke_others(
    connection: &mut Connection,
    account: i64,
    kept: i64,
    actor: &Actor,
    now: i64,
) -> Result<(), DbError> {
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM sessions WHERE account_id = ?1 AND id <> ?2", [account, kept])?;
    audit::record(&transaction, actor, Action::SessionRevoked, Some("all others"), now)?;
    transaction.commit()?;
    Ok(())
}

/// Ends the session that asks for it.
///
/// # Errors
/// Where the database fails.
pub fn log_out(connection: &mut Connection, id: i64, actor: &Actor, now: i64) -> Result<(), DbError> {
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM sessions WHERE id = ?1", [id])?;
    audit::record(&transaction, actor, Action::Logout, None, now)?;
    transaction.commit()?;
    Ok(())
}
