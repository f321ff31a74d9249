//! Access for programs: API tokens with a scope and an end.

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::audit::{self, Action};
use super::{Account, Actor, Reason, Refused, people, shown_text};
use crate::database::DbError;
use crate::secret::{Purpose, Secret, random_token};

/// What every API token begins with, so that a leaked one is recognised.
pub const TOKEN_PREFIX: &str = "vwp_";
/// The longest life of a token in days.
pub const MAX_DAYS: i64 = 365;

const DAY: i64 = 24 * 3600;

/// What a token may be used for, at most; the account's role counts too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Reads.
    Read,
    /// Reads and changes.
    Write,
}

impl Scope {
    /// Its name in the database, in forms and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    /// The scope of that name.
    ///
    /// # Errors
    /// Where there is none.
    pub fn parse(text: &str) -> Result<Self, Reason> {
        [Self::Read, Self::Write].into_iter().find(|scope| scope.name() == text).ok_or(Reason::Form)
    }
}

/// One token as its owner sees it.
#[derive(Clone, Debug)]
pub struct ApiToken {
    /// Names it on a page; lets nobody in.
    pub id: i64,
    /// What its owner calls it.
    pub label: String,
    /// What it may be used for.
    pub scope: String,
    /// When it was made.
    pub created_at: i64,
    /// When it ends.
    pub expires_at: i64,
    /// When it was last used.
    pub last_used: Option<i64>,
}

/// What a new token is to be.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What its owner calls it.
    pub label: String,
    /// What it may be used for.
    pub scope: Scope,
    /// After how many days it ends.
    pub days: i64,
}

/// Makes a token for this account; the answer is the only time it is seen.
///
/// # Errors
/// Where label or days are out of range, there are too many, or the database fails.
pub fn create(
    connection: &mut Connection,
    secret: &Secret,
    account: i64,
    new: &NewToken,
    actor: &Actor,
    most: u32,
    now: i64,
) -> Result<String, Refused> {
    let label = shown_text(&new.label).ok_or(Reason::Label)?;
    if !(1..=MAX_DAYS).contains(&new.days) {
        return Err(Reason::Days.into());
    }
    let token = format!("{TOKEN_PREFIX}{}", random_token().map_err(DbError::from)?);
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM api_tokens WHERE expires_at <= ?1", [now])?;
    let there: u32 =
        transaction.query_row("SELECT count(*) FROM api_tokens WHERE account_id = ?1", [account], |row| row.get(0))?;
    if there >= most {
        return Err(Reason::TooMany.into());
    }
    transaction.execute(
        "INSERT INTO api_tokens (hash, account_id, label, scope, created_at, expires_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![secret.hash(Purpose::Api, &token), account, label, new.scope.name(), now, now + new.days * DAY],
    )?;
    audit::record(&transaction, actor, Action::TokenCreated, Some(&label), now)?;
    transaction.commit()?;
    Ok(token)
}

/// Whose token this is and what it may be used for, if it has not ended.
///
/// # Errors
/// Where the database fails.
pub fn find(
    connection: &Connection,
    secret: &Secret,
    token: &str,
    now: i64,
) -> Result<Option<(Account, Scope)>, DbError> {
    let sql = format!(
        "SELECT {}, t.id, t.scope, t.last_used FROM api_tokens t JOIN accounts a ON a.id = t.account_id
            WHERE t.hash = ?1 AND t.expires_at > ?2 AND a.disabled = 0",
        people::COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement
        .query_and_then(params![secret.hash(Purpose::Api, token), now], |row| {
            Ok::<(Account, i64, String, Option<i64>), DbError>((
                people::read(row)?,
                row.get(7)?,
                row.get(8)?,
                row.get(9)?,
            ))
        })?
        .next()
        .transpose()?;
    let Some((account, id, scope, last_used)) = found else { return Ok(None) };
    if last_used.is_none_or(|used| now - used >= 60) {
        connection.execute("UPDATE api_tokens SET last_used = ?2 WHERE id = ?1", params![id, now])?;
    }
    let scope = Scope::parse(&scope).map_err(|_| DbError::Foreign(format!("the scope {scope:?}")))?;
    Ok(Some((account, scope)))
}

/// The tokens of an account that have not ended.
///
/// # Errors
/// Where the database fails.
pub fn list(connection: &Connection, account: i64, now: i64) -> Result<Vec<ApiToken>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, label, scope, created_at, expires_at, last_used FROM api_tokens
            WHERE account_id = ?1 AND expires_at > ?2 ORDER BY id DESC",
    )?;
    let rows = statement.query_map([account, now], |row| {
        Ok(ApiToken {
            id: row.get(0)?,
            label: row.get(1)?,
            scope: row.get(2)?,
            created_at: row.get(3)?,
            expires_at: row.get(4)?,
            last_used: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Ends one token of this account.
///
/// # Errors
/// Where it is not there or another's, or the database fails.
pub fn revoke(connection: &mut Connection, account: i64, id: i64, actor: &Actor, now: i64) -> Result<(), Refused> {
    let transaction = connection.transaction()?;
    let label: String = match transaction.query_row(
        "DELETE FROM api_tokens WHERE id = ?1 AND account_id = ?2 RETURNING label",
        [id, account],
        |row| row.get(0),
    ) {
        Err(rusqlite::Error::QueryReturnedNoRows) => return Err(Reason::NotThere.into()),
        other => other?,
    };
    audit::record(&transaction, actor, Action::TokenRevoked, Some(&label), now)?;
    transaction.commit()?;
    Ok(())
}
