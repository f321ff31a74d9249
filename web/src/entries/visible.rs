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

/// Takes what was given to somebody back from whoever cannot see it any more, inside the caller's transaction: it would be
/// nobody's and look as if it were somebody's.
///
/// # Errors
/// Where the database fails.
pub(crate) fn release_unseen(connection: &Connection) -> Result<(), DbError> {
    let sql = format!(
        "UPDATE items SET assignee_id = NULL, version = version + 1 WHERE assignee_id IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM entries e WHERE e.id = items.entry_id AND {})",
        seen_by("items.assignee_id")
    );
    connection.execute(&sql, [])?;
    Ok(())
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
        // Nothing is given to whoever cannot come in, and what was is taken back.
        place.connection.execute("UPDATE items SET assignee_id = ?1 WHERE entry_id = ?2", [bob, entry.id]).unwrap();
        let given = |place: &Place| place.number("SELECT count(*) FROM items WHERE assignee_id IS NOT NULL");
        release_unseen(&place.connection).unwrap();
        assert_eq!(given(&place), 1);
        place.connection.execute("UPDATE accounts SET disabled = 1 WHERE id = ?1", [bob]).unwrap();
        assert!(names(&place).is_empty());
        release_unseen(&place.connection).unwrap();
        assert_eq!(given(&place), 0);
    }
}
