//! Accounts: made, changed, disabled.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::audit::{self, Action};
use super::{Account, Actor, Reason, Refused, Role};
use crate::database::{self, DbError};
use crate::entries::visible;

/// What a new account needs; the texts have been checked.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// What is typed to log in.
    pub name: String,
    /// What is shown.
    pub display_name: String,
    /// The password's hash; empty where there is none, because a provider vouches for the account.
    pub password_hash: String,
}

/// The columns that [`read`] reads, for a table that is called `a`.
pub(super) const COLUMNS: &str = "a.id, a.name, a.display_name, a.role, a.language, a.disabled, a.created_at";

/// An account from a row that begins with [`COLUMNS`].
pub(super) fn read(row: &Row<'_>) -> Result<Account, DbError> {
    let role: String = row.get(3)?;
    Ok(Account {
        id: row.get(0)?,
        name: row.get(1)?,
        display_name: row.get(2)?,
        role: role.parse().map_err(|_| DbError::Foreign(format!("the role {role:?}")))?,
        language: row.get(4)?,
        disabled: row.get(5)?,
        created_at: row.get(6)?,
    })
}

/// How many accounts there are.
///
/// # Errors
/// Where the database fails.
pub fn count(connection: &Connection) -> Result<i64, DbError> {
    Ok(connection.query_row("SELECT count(*) FROM accounts", [], |row| row.get(0))?)
}

/// All accounts by name.
///
/// # Errors
/// Where the database fails.
pub fn all(connection: &Connection) -> Result<Vec<Account>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM accounts a WHERE a.deleted_at IS NULL ORDER BY a.name");
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_and_then([], read)?.collect()
}

/// The account with this number.
///
/// # Errors
/// Where there is none, or the database fails.
pub fn by_id(connection: &Connection, id: i64) -> Result<Account, Refused> {
    let sql = format!("SELECT {COLUMNS} FROM accounts a WHERE a.id = ?1 AND a.deleted_at IS NULL");
    let mut statement = connection.prepare_cached(&sql)?;
    let account = statement.query_and_then([id], read)?.next();
    Ok(account.transpose()?.ok_or(Reason::NotThere)?)
}

/// The account with this name and the hash of its password.
///
/// # Errors
/// Where the database fails.
pub fn by_name(connection: &Connection, name: &str) -> Result<Option<(Account, String)>, DbError> {
    let sql = format!("SELECT {COLUMNS}, a.password_hash FROM accounts a WHERE a.name = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_and_then([name], |row| Ok::<_, DbError>((read(row)?, row.get(7)?)))?.next();
    found.transpose()
}

/// Whether an account may still do anything: it was not shut out, nor deleted. For what is kept at the end of something
/// that took a while, in the transaction that keeps it.
///
/// # Errors
/// Where the database fails.
pub(crate) fn is_let_in(connection: &Connection, id: i64) -> Result<bool, DbError> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM accounts WHERE id = ?1 AND disabled = 0 AND deleted_at IS NULL")?
        .exists([id])?)
}

/// Whether an account has a password; one of a provider's may have none.
///
/// # Errors
/// Where the database fails.
pub fn has_password(connection: &Connection, id: i64) -> Result<bool, DbError> {
    let sql = "SELECT password_hash <> '' FROM accounts WHERE id = ?1";
    Ok(connection.query_row(sql, [id], |row| row.get(0))?)
}

/// Makes the first administrator; the second one to try is refused.
///
/// # Errors
/// Where there is an account already, or the database fails.
pub fn create_first(connection: &mut Connection, new: &NewAccount, actor: &Actor, now: i64) -> Result<i64, Refused> {
    let transaction = connection.transaction()?;
    if count(&transaction)? > 0 {
        return Err(Reason::SetupDone.into());
    }
    let id = insert(&transaction, new, Role::Administrator, now)?;
    audit::record(&transaction, actor, Action::Setup, Some(&new.name), now)?;
    transaction.commit()?;
    Ok(id)
}

/// Adds an account, inside the caller's transaction.
pub(super) fn insert(connection: &Connection, new: &NewAccount, role: Role, now: i64) -> Result<i64, Refused> {
    let taken: Option<i64> =
        connection.query_row("SELECT id FROM accounts WHERE name = ?1", [&new.name], |row| row.get(0)).optional()?;
    if taken.is_some() {
        return Err(Reason::NameTaken.into());
    }
    connection.execute(
        "INSERT INTO accounts (name, display_name, role, password_hash, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![new.name, new.display_name, role.name(), new.password_hash, now],
    )?;
    Ok(connection.last_insert_rowid())
}

/// Sets the language of an account.
///
/// # Errors
/// Where the database fails.
pub fn set_language(connection: &Connection, id: i64, language: &str) -> Result<(), DbError> {
    connection.execute("UPDATE accounts SET language = ?2 WHERE id = ?1", params![id, language])?;
    Ok(())
}

/// Sets the password of an account and ends all its sessions: whoever knew the old one is out.
///
/// # Errors
/// Where the database fails.
pub fn set_password(
    connection: &mut Connection,
    id: i64,
    password_hash: &str,
    actor: &Actor,
    now: i64,
) -> Result<(), Refused> {
    let transaction = connection.transaction()?;
    let account = by_id(&transaction, id)?;
    transaction.execute("UPDATE accounts SET password_hash = ?2 WHERE id = ?1", params![id, password_hash])?;
    transaction.execute("DELETE FROM sessions WHERE account_id = ?1", [id])?;
    audit::record(&transaction, actor, Action::Password, Some(&account.name), now)?;
    transaction.commit()?;
    Ok(())
}

/// Changes what an account may do and ends all its sessions, so that a log-in is never worth more than it was. The
/// invitations that it made end too: they were made with the rights of before.
///
/// # Errors
/// Where it is not there, it is the last administrator, or the database fails.
pub fn set_role(connection: &mut Connection, id: i64, role: Role, actor: &Actor, now: i64) -> Result<(), Refused> {
    let transaction = connection.transaction()?;
    let account = by_id(&transaction, id)?;
    if account.role == role {
        return Ok(());
    }
    transaction.execute("UPDATE accounts SET role = ?2 WHERE id = ?1", params![id, role.name()])?;
    transaction.execute("DELETE FROM sessions WHERE account_id = ?1", [id])?;
    transaction.execute("DELETE FROM invitations WHERE invited_by = ?1", [id])?;
    visible::release_lost(&transaction, now)?;
    some_administrator_stays(&transaction)?;
    let subject = format!("{}: {} -> {role}", account.name, account.role);
    audit::record(&transaction, actor, Action::Role, Some(&subject), now)?;
    transaction.commit()?;
    Ok(())
}

/// Shuts an account out, with its sessions, API tokens and invitations, or lets it in again.
///
/// # Errors
/// Where it is not there, it is the last administrator, or the database fails.
pub fn set_disabled(
    connection: &mut Connection,
    id: i64,
    disabled: bool,
    actor: &Actor,
    now: i64,
) -> Result<(), Refused> {
    let transaction = connection.transaction()?;
    let account = by_id(&transaction, id)?;
    if account.disabled == disabled {
        return Ok(());
    }
    transaction.execute("UPDATE accounts SET disabled = ?2 WHERE id = ?1", params![id, disabled])?;
    if disabled {
        transaction.execute("DELETE FROM sessions WHERE account_id = ?1", [id])?;
        transaction.execute("DELETE FROM api_tokens WHERE account_id = ?1", [id])?;
        transaction.execute("DELETE FROM invitations WHERE invited_by = ?1", [id])?;
        visible::release_lost(&transaction, now)?;
        some_administrator_stays(&transaction)?;
    }
    let action = if disabled { Action::Disabled } else { Action::Enabled };
    audit::record(&transaction, actor, action, Some(&account.name), now)?;
    transaction.commit()?;
    Ok(())
}

/// Deletes an account for good, with its name, password, sessions, tokens, memberships and whatever else the database keeps
/// with it (`ON DELETE CASCADE`). A bare row of its number stays, so that what it said of entries of others still has an
/// author: a former account. Its own entries are nobody's from now on, and are left to
/// [`crate::retention::Sweeper::empty_accounts`]; the audit log keeps its name.
///
/// # Errors
/// Where it is not there, it is the last administrator, or the database fails.
pub fn delete(connection: &mut Connection, id: i64, actor: &Actor, now: i64) -> Result<(), Refused> {
    let transaction = connection.transaction()?;
    let account = by_id(&transaction, id)?;
    // What names the account waits for the commit, and then finds the bare row.
    transaction.pragma_update(None, "defer_foreign_keys", true)?;
    transaction.execute("DELETE FROM invitations WHERE invited_by = ?1", [id])?;
    // Whoever deletes an account stops the one that runs, and removes the folders of all (`training::forget`).
    transaction.execute("DELETE FROM trainings WHERE account_id = ?1", [id])?;
    transaction.execute("DELETE FROM accounts WHERE id = ?1", [id])?;
    // Nobody can choose a name like this one, and nobody logs in with it.
    transaction.execute(
        "INSERT INTO accounts (id, name, display_name, role, password_hash, disabled, created_at, deleted_at)
            VALUES (?1, '#' || ?1, '', 'viewer', '', 1, 0, ?2)",
        params![id, now],
    )?;
    visible::release_lost(&transaction, now)?;
    some_administrator_stays(&transaction)?;
    audit::record(&transaction, actor, Action::AccountDeleted, Some(&format!("account {id}: {}", account.name)), now)?;
    transaction.commit()?;
    database::empty_log(connection)?;
    Ok(())
}

fn some_administrator_stays(connection: &Connection) -> Result<(), Refused> {
    let left: i64 = connection.query_row(
        "SELECT count(*) FROM accounts WHERE role = 'administrator' AND disabled = 0",
        [],
        |row| row.get(0),
    )?;
    if left == 0 { Err(Reason::LastAdministrator.into()) } else { Ok(()) }
}
