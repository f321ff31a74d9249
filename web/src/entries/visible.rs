//! Who may see an entry: the one place that says so for marks, the queue, comments, and whom work can be given to.
//!
//! It is the rule of [`super::access`], put as a condition of SQL.

use rusqlite::Connection;

use super::access::VISIBLE;
use crate::database::DbError;

/// Somebody who may see an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Their account.
    pub id: i64,
    /// What they log in with.
    pub name: String,
    /// What is shown of them.
    pub display_name: String,
}

/// The rule as a condition of SQL: whether the account with this number (an expression) sees the entry `e`.
pub fn seen_by(account: &str) -> String {
    format!("({})", VISIBLE.replace(":me", account))
}

/// Everybody who may see an entry and is not shut out, by name.
///
/// # Errors
/// Where the database fails.
pub fn may_see(connection: &Connection, entry: i64) -> Result<Vec<Person>, DbError> {
    let sql = format!(
        "SELECT a.id, a.name, a.display_name FROM entries e JOIN accounts a ON {} WHERE e.id = ?1 AND a.disabled = 0
            ORDER BY a.name",
        seen_by("a.id")
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let person = |row: &rusqlite::Row<'_>| Ok(Person { id: row.get(0)?, name: row.get(1)?, display_name: row.get(2)? });
    Ok(statement.query_map([entry], person)?.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entries::find;
    use crate::uploads::testing::Place;

    #[test]
    fn an_entry_is_its_owner_s_alone() {
        let mut place = Place::new();
        let (ada, bob) = (place.account("ada"), place.account("bob"));
        let key = place.keep(bob, b"bob's");
        let entry = find(&place.connection, bob, key.as_str()).unwrap().unwrap();
        let names = |place: &Place| -> Vec<String> {
            may_see(&place.connection, entry.id).unwrap().into_iter().map(|person| person.name).collect()
        };
        assert_eq!(names(&place), ["bob"]);
        let seen = |account: i64| {
            let sql = format!("SELECT count(*) FROM entries e WHERE {}", seen_by(&account.to_string()));
            place.number(&sql)
        };
        assert_eq!((seen(ada), seen(bob)), (0, 1));
        // Nothing is given to whoever cannot come in.
        place.connection.execute("UPDATE accounts SET disabled = 1 WHERE id = ?1", [bob]).unwrap();
        assert!(names(&place).is_empty());
    }
}
