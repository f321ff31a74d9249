//! Added entries in the database: only administrators may be let near what changes them.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use veilwatch_core::tables::Table;

use super::entry::Added;
use super::load;
use crate::accounts::audit::{self, Action};
use crate::accounts::{Actor, Reason, Refused};
use crate::database::DbError;

/// All that were added, oldest first.
///
/// # Errors
/// Where the database fails or holds an entry of no table.
pub fn list(connection: &Connection) -> Result<Vec<Added>, DbError> {
    let mut statement =
        connection.prepare_cached("SELECT id, tbl, key, fields, saved_by, saved_at FROM table_entries ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, table, fields): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(3)?);
        let foreign = |what: &str| DbError::Foreign(format!("the {what} of table entry {id}"));
        all.push(Added {
            id,
            table: Table::from_name(&table).ok_or_else(|| foreign("table"))?,
            key: row.get(2)?,
            fields: serde_json::from_str(&fields).map_err(|_| foreign("fields"))?,
            by: row.get(4)?,
            at: row.get(5)?,
        });
    }
    Ok(all)
}

/// What is to be saved.
#[derive(Clone, Debug)]
pub struct New {
    /// The entry that it corrects; none for a new one.
    pub id: Option<i64>,
    /// Its table.
    pub table: Table,
    /// Its number, range or id.
    pub key: String,
    /// Its fields.
    pub fields: BTreeMap<String, String>,
}

/// What saving came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saved {
    /// It is there.
    Yes,
    /// It is no entry of that table: why, in English.
    Wrong(Vec<String>),
}

/// Adds an entry, or corrects one, after the code that reads tables has found nothing wrong with it.
///
/// # Errors
/// Where there is one with that key, there are too many, the one to correct is not there, or the database fails.
pub fn save(connection: &mut Connection, new: &New, most: u32, actor: &Actor, now: i64) -> Result<Saved, Refused> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut all = list(&transaction)?;
    if all.iter().any(|added| (added.table, &added.key) == (new.table, &new.key) && Some(added.id) != new.id) {
        return Err(Reason::TableTaken.into());
    }
    match new.id {
        Some(id) if !all.iter().any(|added| added.id == id && added.table == new.table) => {
            return Err(Reason::NotThere.into());
        }
        None if all.len() >= most as usize => return Err(Reason::TooManyTableEntries.into()),
        _ => {}
    }
    let by = actor.name.clone().unwrap_or_default();
    let (key, fields) = (new.key.clone(), new.fields.clone());
    let entry = Added { id: new.id.unwrap_or(0), table: new.table, key, fields, by, at: now };
    all.retain(|added| Some(added.id) != new.id);
    // What is wrong with others must not keep anybody from adding this one.
    let mut all = super::Shelf::of(all).added;
    all.push(entry.clone());
    if let Err(errors) = load(&all) {
        let told = errors.errors.into_iter().map(|error| {
            let hint = error.hint.map(|hint| format!("; did you mean `{hint}`?")).unwrap_or_default();
            crate::jobs::clean(&format!("{}{hint}", error.message))
        });
        return Ok(Saved::Wrong(told.collect()));
    }
    let fields = serde_json::to_string(&entry.fields).map_err(|error| DbError::Foreign(error.to_string()))?;
    match new.id {
        Some(id) => transaction.execute(
            "UPDATE table_entries SET key = ?2, fields = ?3, saved_by = ?4, saved_at = ?5 WHERE id = ?1",
            params![id, entry.key, fields, entry.by, now],
        )?,
        None => transaction.execute(
            "INSERT INTO table_entries (tbl, key, fields, saved_by, saved_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![entry.table.name(), entry.key, fields, entry.by, now],
        )?,
    };
    let subject = format!("{} {}", entry.table.name(), entry.key);
    audit::record(&transaction, actor, Action::TableSaved, Some(&subject), now)?;
    transaction.commit()?;
    Ok(Saved::Yes)
}

/// Removes an added entry.
///
/// # Errors
/// Where it is not there, or the database fails.
pub fn remove(connection: &mut Connection, id: i64, actor: &Actor, now: i64) -> Result<(), Refused> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let subject: Option<String> = transaction
        .query_row("DELETE FROM table_entries WHERE id = ?1 RETURNING tbl || ' ' || key", [id], |row| row.get(0))
        .optional()?;
    let subject = subject.ok_or(Reason::NotThere)?;
    audit::record(&transaction, actor, Action::TableRemoved, Some(&subject), now)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uploads::testing::{NOW, Place, actor};

    fn new(id: Option<i64>, key: &str, name: &str) -> New {
        let fields = BTreeMap::from([("name".to_owned(), name.to_owned())]);
        New { id, table: Table::Tcp, key: key.to_owned(), fields }
    }

    fn save_it(place: &mut Place, new: &New) -> Result<Saved, Reason> {
        match save(&mut place.connection, new, 2, &actor(), NOW) {
            Ok(saved) => Ok(saved),
            Err(Refused::Because(reason)) => Err(reason),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn entries_are_added_corrected_and_removed() {
        let mut place = Place::new();
        assert_eq!(save_it(&mut place, &new(None, "8443", "ours")), Ok(Saved::Yes));
        assert_eq!(save_it(&mut place, &new(None, "8443", "twice")), Err(Reason::TableTaken));
        for (key, name, says) in [("99999", "x", "99999"), ("80", "", "name"), ("eighty", "x", "eighty")] {
            let Ok(Saved::Wrong(told)) = save_it(&mut place, &new(None, key, name)) else { panic!("{key}") };
            assert!(told[0].contains(says), "{told:?}");
        }
        // The same number, written in another way, is told by whoever reads it.
        assert!(matches!(save_it(&mut place, &new(None, "0x20fb", "ours")), Ok(Saved::Wrong(_))));
        let id = list(&place.connection).unwrap()[0].id;
        assert_eq!(save_it(&mut place, &new(Some(id), "8444", "moved")), Ok(Saved::Yes));
        assert_eq!(save_it(&mut place, &new(Some(99), "1", "x")), Err(Reason::NotThere));
        assert_eq!(save_it(&mut place, &new(None, "443", "ours-too")), Ok(Saved::Yes));
        assert_eq!(save_it(&mut place, &new(None, "444", "more")), Err(Reason::TooManyTableEntries));
        let all = list(&place.connection).unwrap();
        assert_eq!((all.len(), all[0].key.as_str(), all[0].fields["name"].as_str()), (2, "8444", "moved"));
        remove(&mut place.connection, id, &actor(), NOW).unwrap();
        assert!(remove(&mut place.connection, id, &actor(), NOW).is_err());
        let told: Vec<String> = place.actions().into_iter().filter(|action| action.starts_with("table-")).collect();
        assert_eq!(told, ["table-saved", "table-saved", "table-saved", "table-removed"]);
    }
}
