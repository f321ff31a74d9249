//! What entries are sorted into. Everybody reads the list; only administrators may be let near what changes it.
//!
//! A category is never deleted, since entries name it: it is retired, and can then not be chosen any more.

use rusqlite::{Connection, OptionalExtension, params};

use super::change::begin;
use crate::accounts::audit::{self, Action};
use crate::accounts::{Actor, Reason, Refused, shown_text_of};
use crate::database::DbError;

/// The most characters of a category's name.
pub const MAX_NAME: usize = 40;
/// The most categories, retired ones included.
pub const MAX_CATEGORIES: u32 = 100;

/// One category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// Its number.
    pub id: i64,
    /// What it is called: any text.
    pub name: String,
    /// Whether it can no longer be chosen.
    pub retired: bool,
}

/// All categories by name, the retired ones last.
///
/// # Errors
/// Where the database fails.
pub fn list(connection: &Connection) -> Result<Vec<Category>, DbError> {
    let mut statement =
        connection.prepare_cached("SELECT id, name, retired FROM categories ORDER BY retired, name, id")?;
    let rows =
        statement.query_map([], |row| Ok(Category { id: row.get(0)?, name: row.get(1)?, retired: row.get(2)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Adds a category and gives its number.
///
/// # Errors
/// Where the name is empty, too long, steers or is taken, there are too many, or the database fails.
pub fn add(connection: &mut Connection, name: &str, actor: &Actor, now: i64) -> Result<i64, Refused> {
    let name = checked(name)?;
    let transaction = begin(connection)?;
    let all = list(&transaction)?;
    if all.len() >= MAX_CATEGORIES as usize {
        return Err(Reason::TooManyCategories.into());
    }
    free(&all, &name, None)?;
    transaction.execute("INSERT INTO categories (name) VALUES (?1)", [&name])?;
    let id = transaction.last_insert_rowid();
    audit::record(&transaction, actor, Action::CategoryChanged, Some(&format!("+ {name}")), now)?;
    transaction.commit()?;
    Ok(id)
}

/// Gives a category another name, for all entries that are in it.
///
/// # Errors
/// Where the name is empty, too long, steers or is taken, the category is not there, or the database fails.
pub fn rename(connection: &mut Connection, id: i64, name: &str, actor: &Actor, now: i64) -> Result<(), Refused> {
    let name = checked(name)?;
    let transaction = begin(connection)?;
    let all = list(&transaction)?;
    let old = all.iter().find(|category| category.id == id).ok_or(Reason::NotThere)?;
    if old.name == name {
        return Ok(());
    }
    free(&all, &name, Some(id))?;
    transaction.execute("UPDATE categories SET name = ?2 WHERE id = ?1", params![id, name])?;
    let subject = format!("{} -> {name}", old.name);
    audit::record(&transaction, actor, Action::CategoryChanged, Some(&subject), now)?;
    transaction.commit()?;
    Ok(())
}

/// Retires a category, or restores it.
///
/// # Errors
/// Where it is not there, or the database fails.
pub fn set_retired(
    connection: &mut Connection,
    id: i64,
    retired: bool,
    actor: &Actor,
    now: i64,
) -> Result<(), Refused> {
    let transaction = begin(connection)?;
    let name: Option<(String, bool)> = transaction
        .query_row("SELECT name, retired FROM categories WHERE id = ?1", [id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (name, was) = name.ok_or(Reason::NotThere)?;
    if was == retired {
        return Ok(());
    }
    transaction.execute("UPDATE categories SET retired = ?2 WHERE id = ?1", params![id, retired])?;
    let subject = format!("{} {name}", if retired { "-" } else { "+" });
    audit::record(&transaction, actor, Action::CategoryChanged, Some(&subject), now)?;
    transaction.commit()?;
    Ok(())
}

/// Whether a category can be chosen for an entry that is in `current`.
pub(super) fn check(connection: &Connection, chosen: Option<i64>, current: Option<i64>) -> Result<(), Refused> {
    let Some(chosen) = chosen else { return Ok(()) };
    let retired: Option<bool> =
        connection.query_row("SELECT retired FROM categories WHERE id = ?1", [chosen], |row| row.get(0)).optional()?;
    match retired {
        Some(retired) if !retired || current == Some(chosen) => Ok(()),
        _ => Err(Reason::Category.into()),
    }
}

fn checked(name: &str) -> Result<String, Reason> {
    shown_text_of(name, MAX_NAME).filter(|name| !name.is_empty()).ok_or(Reason::CategoryName)
}

/// Two names that differ in case alone would be taken for each other.
fn free(all: &[Category], name: &str, own: Option<i64>) -> Result<(), Reason> {
    let same = |other: &Category| Some(other.id) != own && other.name.to_lowercase() == name.to_lowercase();
    if all.iter().any(same) { Err(Reason::CategoryTaken) } else { Ok(()) }
}
