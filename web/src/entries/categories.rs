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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uploads::testing::{NOW, Place, actor};

    fn names(place: &Place) -> Vec<(String, bool)> {
        list(&place.connection).unwrap().into_iter().map(|category| (category.name, category.retired)).collect()
    }

    fn because<T: std::fmt::Debug>(result: Result<T, Refused>) -> Reason {
        match result {
            Err(Refused::Because(reason)) => reason,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn the_list_grows_changes_and_retires() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let key = place.keep(ada, b"x");
        let id = add(&mut place.connection, " 演练 <b> ", &actor(), NOW).unwrap();
        place.set(&key, &format!("category_id = {id}"));
        rename(&mut place.connection, id, "Drill", &actor(), NOW).unwrap();
        rename(&mut place.connection, id, "Drill", &actor(), NOW).unwrap();
        let entry = crate::entries::find(&place.connection, ada, key.as_str()).unwrap().unwrap();
        assert_eq!(entry.category.as_deref(), Some("Drill"));
        set_retired(&mut place.connection, 1, true, &actor(), NOW).unwrap();
        set_retired(&mut place.connection, 1, true, &actor(), NOW).unwrap();
        let expected = [("Drill", false), ("Malware sample", false), ("Routine check", false), ("Incident", true)];
        assert_eq!(names(&place), expected.map(|(name, retired)| (name.to_owned(), retired)));
        set_retired(&mut place.connection, 1, false, &actor(), NOW).unwrap();
        assert!(names(&place).iter().all(|(_, retired)| !retired));
        let changes = place.actions().iter().filter(|action| *action == "category-changed").count();
        assert_eq!(changes, 4, "what changes nothing is not logged");
    }

    #[test]
    fn names_have_a_form_and_are_there_once() {
        let mut place = Place::new();
        for bad in ["", "  ", &"x".repeat(MAX_NAME + 1), "a\u{202e}b", "a\nb"] {
            assert_eq!(because(add(&mut place.connection, bad, &actor(), NOW)), Reason::CategoryName, "{bad:?}");
            assert_eq!(because(rename(&mut place.connection, 1, bad, &actor(), NOW)), Reason::CategoryName);
        }
        assert_eq!(because(add(&mut place.connection, "INCIDENT", &actor(), NOW)), Reason::CategoryTaken);
        assert_eq!(because(rename(&mut place.connection, 2, "incident", &actor(), NOW)), Reason::CategoryTaken);
        rename(&mut place.connection, 1, "INCIDENT", &actor(), NOW).unwrap();
        assert_eq!(because(rename(&mut place.connection, 99, "New", &actor(), NOW)), Reason::NotThere);
        assert_eq!(because(set_retired(&mut place.connection, 99, true, &actor(), NOW)), Reason::NotThere);
        add(&mut place.connection, &"类".repeat(MAX_NAME), &actor(), NOW).unwrap();
    }

    #[test]
    fn there_are_so_many_at_most() {
        let mut place = Place::new();
        for n in list(&place.connection).unwrap().len()..MAX_CATEGORIES as usize {
            add(&mut place.connection, &format!("c{n}"), &actor(), NOW).unwrap();
        }
        assert_eq!(because(add(&mut place.connection, "more", &actor(), NOW)), Reason::TooManyCategories);
        assert_eq!(list(&place.connection).unwrap().len(), MAX_CATEGORIES as usize);
    }
}
