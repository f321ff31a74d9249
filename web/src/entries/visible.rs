//! Who may see an entry: the one place that says so for marks, the queue, comments, and whom work can be given to.
//!
//! It is the rule of [`super::access`], put as a condition of SQL.

use rusqlite::Connection;

use super::access::VISIBLE;
use crate::database::DbError;

/// Somebody who may work with an entry.
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

/// The same of working with it, and not only reading: [`super::May::Work`].
pub fn worked_by(account: &str) -> String {
    format!(
        "({} AND EXISTS (SELECT 1 FROM accounts w WHERE w.id = {account} AND w.role <> 'viewer')
            AND (e.account_id = {account} OR EXISTS (SELECT 1 FROM members s WHERE s.team_id = e.team_id
                AND s.account_id = {account} AND s.standing <> 'reads')))",
        seen_by(account)
    )
}

/// Everybody who may work with an entry and is not shut out, by name: whom work can be given to.
///
/// # Errors
/// Where the database fails.
pub fn may_work(connection: &Connection, entry: i64) -> Result<Vec<Person>, DbError> {
    let sql = format!(
        "SELECT a.id, a.name, a.display_name FROM entries e JOIN accounts a ON {} WHERE e.id = ?1 AND a.disabled = 0
            ORDER BY a.name",
        worked_by("a.id")
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let person = |row: &rusqlite::Row<'_>| Ok(Person { id: row.get(0)?, name: row.get(1)?, display_name: row.get(2)? });
    Ok(statement.query_map([entry], person)?.collect::<Result<_, _>>()?)
}

/// Takes what was given to somebody back from whoever cannot work with it any more, inside the caller's transaction: it
/// would be nobody's and look as if it were somebody's. The history has it, by nobody.
///
/// # Errors
/// Where the database fails.
pub(crate) fn release_lost(connection: &Connection, now: i64) -> Result<(), DbError> {
    let lost = format!(
        "assignee_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM entries e WHERE e.id = items.entry_id AND {})",
        worked_by("items.assignee_id")
    );
    let sql = format!("INSERT INTO changes (item_id, at, by, assignee) SELECT id, ?1, '', '' FROM items WHERE {lost}");
    connection.execute(&sql, [now])?;
    connection.execute(&format!("UPDATE items SET assignee_id = NULL, version = version + 1 WHERE {lost}"), [])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entries::find;
    use crate::uploads::testing::{NOW, Place};

    #[test]
    fn an_entry_is_its_owner_s_alone() {
        let mut place = Place::new();
        let (ada, bob) = (place.account("ada"), place.account("bob"));
        let key = place.keep(bob, b"bob's");
        let entry = find(&place.connection, bob, key.as_str()).unwrap().unwrap();
        let names = |place: &Place| -> Vec<String> {
            may_work(&place.connection, entry.id).unwrap().into_iter().map(|person| person.name).collect()
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
        release_lost(&place.connection, NOW).unwrap();
        assert_eq!(given(&place), 1);
        place.connection.execute("UPDATE accounts SET disabled = 1 WHERE id = ?1", [bob]).unwrap();
        assert!(names(&place).is_empty());
        release_lost(&place.connection, NOW).unwrap();
        assert_eq!(given(&place), 0);
        let told = place.number("SELECT count(*) FROM changes WHERE by = '' AND assignee = '' AND state IS NULL");
        assert!(told > 0);
        // Whoever only reads is given nothing, and keeps nothing: by their role, or by their standing.
        let give = |place: &Place, account: i64| {
            place
                .connection
                .execute("UPDATE items SET assignee_id = ?1 WHERE entry_id = ?2", [account, entry.id])
                .unwrap();
        };
        place.connection.execute("UPDATE accounts SET disabled = 0, role = 'viewer' WHERE id = ?1", [bob]).unwrap();
        give(&place, bob);
        assert!(names(&place).is_empty() && seen(bob) == 1);
        release_lost(&place.connection, NOW).unwrap();
        assert_eq!(given(&place), 0);
        let team = format!(
            "INSERT INTO teams (name, created_at) VALUES ('sea', 1);
            INSERT INTO members VALUES (1, {ada}, 'works', 1); UPDATE entries SET team_id = 1"
        );
        place.connection.execute_batch(&team).unwrap();
        assert_eq!(names(&place), ["ada"]);
        give(&place, ada);
        release_lost(&place.connection, NOW).unwrap();
        assert_eq!(given(&place), 1);
        place.connection.execute("UPDATE members SET standing = 'reads'", []).unwrap();
        release_lost(&place.connection, NOW).unwrap();
        assert_eq!((given(&place), seen(ada)), (0, 1));
    }
}
