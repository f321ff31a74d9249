//! One-time links to a new account.

use rusqlite::{Connection, params};

use super::audit::{self, Action};
use super::people::{self, NewAccount};
use super::{Actor, Reason, Refused, Role};
use crate::database::DbError;
use crate::secret::{Purpose, Secret, random_token};

/// One invitation that waits.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// Names it on a page; lets nobody in.
    pub id: i64,
    /// The role of the account to be.
    pub role: String,
    /// Who invited.
    pub invited_by: String,
    /// When it ends.
    pub expires_at: i64,
}

/// Makes an invitation; the answer is the only time its token is seen.
///
/// # Errors
/// Where too many wait, or the database fails.
pub fn create(
    connection: &mut Connection,
    secret: &Secret,
    role: Role,
    by: i64,
    actor: &Actor,
    (most, expires_at): (u32, i64),
    now: i64,
) -> Result<String, Refused> {
    let token = random_token().map_err(DbError::from)?;
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM invitations WHERE expires_at <= ?1", [now])?;
    let waiting: u32 = transaction.query_row("SELECT count(*) FROM invitations", [], |row| row.get(0))?;
    if waiting >= most {
        return Err(Reason::TooMany.into());
    }
    transaction.execute(
        "INSERT INTO invitations (hash, role, invited_by, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![secret.hash(Purpose::Invitation, &token), role.name(), by, now, expires_at],
    )?;
    audit::record(&transaction, actor, Action::Invited, Some(role.name()), now)?;
    transaction.commit()?;
    Ok(token)
}

/// The role that this token's invitation gives, if it waits.
///
/// # Errors
/// Where there is no such invitation (any more), or the database fails.
pub fn find(connection: &Connection, secret: &Secret, token: &str, now: i64) -> Result<Role, Refused> {
    let role: String = match connection.query_row(
        "SELECT role FROM invitations WHERE hash = ?1 AND expires_at > ?2",
        params![secret.hash(Purpose::Invitation, token), now],
        |row| row.get(0),
    ) {
        Err(rusqlite::Error::QueryReturnedNoRows) => return Err(Reason::NotThere.into()),
        other => other?,
    };
    Ok(role.parse()?)
}

/// Turns an invitation into an account. Of two who try at once, one gets it.
///
/// # Errors
/// Where there is no such invitation (any more), the name is taken, or the database fails.
pub fn accept(
    connection: &mut Connection,
    secret: &Secret,
    token: &str,
    new: &NewAccount,
    actor: &Actor,
    now: i64,
) -> Result<i64, Refused> {
    let transaction = connection.transaction()?;
    let role = find(&transaction, secret, token, now)?;
    transaction.execute("DELETE FROM invitations WHERE hash = ?1", [secret.hash(Purpose::Invitation, token)])?;
    let id = people::insert(&transaction, new, role, now)?;
    audit::record(&transaction, actor, Action::Joined, Some(&new.name), now)?;
    transaction.commit()?;
    Ok(id)
}

/// The invitations that wait, the newest first.
///
/// # Errors
/// Where the database fails.
pub fn list(connection: &Connection, now: i64) -> Result<Vec<Invitation>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT i.id, i.role, a.name, i.expires_at FROM invitations i JOIN accounts a ON a.id = i.invited_by
            WHERE i.expires_at > ?1 ORDER BY i.id DESC",
    )?;
    let rows = statement.query_map([now], |row| {
        Ok(Invitation { id: row.get(0)?, role: row.get(1)?, invited_by: row.get(2)?, expires_at: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Takes an invitation back.
///
/// # Errors
/// Where it does not wait (any more), or the database fails.
pub fn withdraw(connection: &mut Connection, id: i64, actor: &Actor, now: i64) -> Result<(), Refused> {
    let transaction = connection.transaction()?;
    if transaction.execute("DELETE FROM invitations WHERE id = ?1", [id])? == 0 {
        return Err(Reason::NotThere.into());
    }
    audit::record(&transaction, actor, Action::InvitationWithdrawn, None, now)?;
    transaction.commit()?;
    Ok(())
}
