//! Accounts of a provider: which of them belong to which account here.
//!
//! What links them is the issuer and the subject, which the provider gives to nobody else. Names and mail addresses link
//! nothing: whoever gets one there must not get an account here.

use rusqlite::{Connection, OptionalExtension, params};

use super::audit::{self, Action};
use super::people::{self, NewAccount};
use super::{Account, Actor, MAX_TEXT, Reason, Refused, Role, login_name, shown_text, steers};
use crate::database::DbError;
use crate::provider::token::Person;

/// The account that a person of the provider has here.
///
/// # Errors
/// Where the database fails.
pub fn account_of(connection: &Connection, person: &Person) -> Result<Option<Account>, Refused> {
    let id: Option<i64> = connection
        .query_row(
            "SELECT account_id FROM identities WHERE issuer = ?1 AND subject = ?2",
            params![person.issuer, person.subject],
            |row| row.get(0),
        )
        .optional()?;
    id.map(|id| people::by_id(connection, id)).transpose()
}

/// Since when an account is linked to one of this provider.
///
/// # Errors
/// Where the database fails.
pub fn linked_since(connection: &Connection, account: i64, issuer: &str) -> Result<Option<i64>, DbError> {
    let since = connection
        .query_row(
            "SELECT linked_at FROM identities WHERE account_id = ?1 AND issuer = ?2",
            params![account, issuer],
            |row| row.get(0),
        )
        .optional()?;
    Ok(since)
}

/// Links an account to a person of the provider, for a session that asked for it and still lasts.
///
/// # Errors
/// Where either is linked already, the session has ended, or the database fails.
pub fn link(
    connection: &mut Connection,
    account: i64,
    session: i64,
    person: &Person,
    address: &str,
    now: i64,
) -> Result<(), Refused> {
    let transaction = connection.transaction()?;
    let lasts: bool = transaction.query_row(
        "SELECT EXISTS (SELECT 1 FROM sessions WHERE id = ?1 AND account_id = ?2)",
        [session, account],
        |row| row.get(0),
    )?;
    if !lasts {
        return Err(Reason::NotThere.into());
    }
    let name = people::by_id(&transaction, account)?.name;
    insert(&transaction, account, person, now)?;
    let actor = Actor { name: Some(name.clone()), address: address.to_owned() };
    audit::record(&transaction, &actor, Action::Linked, Some(&name), now)?;
    transaction.commit()?;
    Ok(())
}

/// Takes the link of an account away. The account must have a password: without one nobody could log in to it.
///
/// # Errors
/// Where there is no link, the account has no password, or the database fails.
pub fn unlink(connection: &mut Connection, account: &Account, actor: &Actor, now: i64) -> Result<(), Refused> {
    let transaction = connection.transaction()?;
    if !people::has_password(&transaction, account.id)? {
        return Err(Reason::NoPassword.into());
    }
    if transaction.execute("DELETE FROM identities WHERE account_id = ?1", [account.id])? == 0 {
        return Err(Reason::NotThere.into());
    }
    audit::record(&transaction, actor, Action::Unlinked, Some(&account.name), now)?;
    transaction.commit()?;
    Ok(())
}

/// Makes the account of an invitation for a person of the provider.
///
/// # Errors
/// Where the invitation has ended, that person has an account, or the database fails.
pub fn accept(
    connection: &mut Connection,
    invitation: &[u8],
    person: &Person,
    address: &str,
    now: i64,
) -> Result<Account, Refused> {
    let transaction = connection.transaction()?;
    let role: Option<String> = transaction
        .query_row(
            "DELETE FROM invitations WHERE hash = ?1 AND expires_at > ?2 RETURNING role",
            params![invitation, now],
            |row| row.get(0),
        )
        .optional()?;
    let role: Role = role.ok_or(Reason::NotThere)?.parse()?;
    let account = make(&transaction, person, role, Action::Joined, address, now)?;
    transaction.commit()?;
    Ok(account)
}

/// Makes an account for a person of the provider, whose role the provider knows.
///
/// # Errors
/// Where that person has an account, or the database fails.
pub fn create(
    connection: &mut Connection,
    person: &Person,
    role: Role,
    address: &str,
    now: i64,
) -> Result<Account, Refused> {
    let transaction = connection.transaction()?;
    let account = make(&transaction, person, role, Action::CreatedByProvider, address, now)?;
    transaction.commit()?;
    Ok(account)
}

fn make(
    connection: &Connection,
    person: &Person,
    role: Role,
    action: Action,
    address: &str,
    now: i64,
) -> Result<Account, Refused> {
    let name = free_name(connection, person.name.as_deref().unwrap_or_default())?;
    let shown = person.display_name.as_deref().and_then(shown_part).unwrap_or_else(|| name.clone());
    let new = NewAccount { name: name.clone(), display_name: shown, password_hash: String::new() };
    let id = people::insert(connection, &new, role, now)?;
    insert(connection, id, person, now)?;
    let actor = Actor { name: None, address: address.to_owned() };
    audit::record(connection, &actor, action, Some(&name), now)?;
    people::by_id(connection, id)
}

fn insert(connection: &Connection, account: i64, person: &Person, now: i64) -> Result<(), Refused> {
    let added = connection.execute(
        "INSERT OR IGNORE INTO identities (issuer, subject, account_id, linked_at) VALUES (?1, ?2, ?3, ?4)",
        params![person.issuer, person.subject, account, now],
    )?;
    if added == 0 { Err(Reason::IdentityTaken.into()) } else { Ok(()) }
}

/// A login name that nobody has, as near as can be to what the provider says.
fn free_name(connection: &Connection, said: &str) -> Result<String, Refused> {
    let fitting: String = said
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-@".contains(*c))
        .take(56)
        .collect();
    let base = login_name(&fitting).unwrap_or_else(|_| "person".to_owned());
    for number in 1..=9999_u32 {
        let name = if number == 1 { base.clone() } else { format!("{base}-{number}") };
        if people::by_name(connection, &name)?.is_none() {
            return Ok(name);
        }
    }
    Err(Reason::NameTaken.into())
}

/// What can be shown of a name that the provider says.
fn shown_part(said: &str) -> Option<String> {
    let part: String = said.chars().filter(|c| !steers(*c)).take(MAX_TEXT).collect();
    shown_text(&part)
}
