//! Log-ins that are half done: the password was right and a code has to follow, or somebody is on the way to the
//! provider and back.
//!
//! Each is a random token in a cookie, whose keyed hash is kept with what was begun. It lets nobody in by itself, ends
//! soon, and is taken once.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Account, people};
use crate::database::DbError;
use crate::secret::{Purpose, Secret, random_token};

/// What a log-in waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A code of the second factor.
    Code,
    /// The way back from the provider.
    Provider,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Provider => "provider",
        }
    }

    fn purpose(self) -> Purpose {
        match self {
            Self::Code => Purpose::Code,
            Self::Provider => Purpose::Provider,
        }
    }
}

/// What was begun.
#[derive(Clone, Debug, Default)]
pub struct Begun {
    /// Whose log-in it is, where that is known.
    pub account: Option<i64>,
    /// The session that links its account to one of the provider.
    pub session: Option<i64>,
    /// The hash of the invitation that becomes an account.
    pub invitation: Option<Vec<u8>>,
    /// Where to go on to.
    pub next: String,
    /// The address that the provider sends back to.
    pub place: String,
}

/// Begins one and gives the token for its cookie. Of too many the oldest end.
///
/// # Errors
/// Where the database fails.
pub fn begin(
    connection: &mut Connection,
    secret: &Secret,
    kind: Kind,
    begun: &Begun,
    (most, expires_at): (u32, i64),
    now: i64,
) -> Result<String, DbError> {
    let token = random_token()?;
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM pending WHERE expires_at <= ?1", [now])?;
    transaction.execute(
        "DELETE FROM pending WHERE kind = ?1 AND rowid NOT IN
            (SELECT rowid FROM pending WHERE kind = ?1 ORDER BY rowid DESC LIMIT ?2)",
        params![kind.name(), most.saturating_sub(1)],
    )?;
    transaction.execute(
        "INSERT INTO pending (hash, kind, account_id, session_id, invitation, next, place, expires_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            secret.hash(kind.purpose(), &token),
            kind.name(),
            begun.account,
            begun.session,
            begun.invitation,
            begun.next,
            begun.place,
            expires_at
        ],
    )?;
    transaction.commit()?;
    Ok(token)
}

/// What waits for a code under this token: whose, and where to go on to.
///
/// # Errors
/// Where the database fails.
pub fn find_code(
    connection: &Connection,
    secret: &Secret,
    token: &str,
    now: i64,
) -> Result<Option<(Account, String)>, DbError> {
    let sql = format!(
        "SELECT {}, p.next FROM pending p JOIN accounts a ON a.id = p.account_id
            WHERE p.hash = ?1 AND p.kind = 'code' AND p.expires_at > ?2 AND a.disabled = 0",
        people::COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let hash = secret.hash(Purpose::Code, token);
    let found =
        statement.query_and_then(params![hash, now], |row| Ok::<_, DbError>((people::read(row)?, row.get(7)?)))?.next();
    found.transpose()
}

/// Takes what waits under this token: whoever comes second with it finds nothing.
///
/// # Errors
/// Where the database fails.
pub fn take(
    connection: &Connection,
    secret: &Secret,
    kind: Kind,
    token: &str,
    now: i64,
) -> Result<Option<Begun>, DbError> {
    let found = connection
        .query_row(
            "DELETE FROM pending WHERE hash = ?1 AND kind = ?2
                RETURNING account_id, session_id, invitation, next, place, expires_at",
            params![secret.hash(kind.purpose(), token), kind.name()],
            |row| {
                let begun = Begun {
                    account: row.get(0)?,
                    session: row.get(1)?,
                    invitation: row.get(2)?,
                    next: row.get(3)?,
                    place: row.get(4)?,
                };
                Ok((begun, row.get::<_, i64>(5)?))
            },
        )
        .optional()?;
    Ok(found.filter(|(_, expires_at)| *expires_at > now).map(|(begun, _)| begun))
}
