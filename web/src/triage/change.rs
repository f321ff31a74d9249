//! States, assignees, and their history.
//!
//! Whoever changes an item says which version of it they saw. Where somebody else was faster nothing is changed, and they
//! are told: of two people who work on the same thing, none overwrites what the other did.

use rusqlite::{Connection, Transaction, params};

use super::{Doer, Item, State, lines_of, queue};
use crate::accounts::audit::{self, Action};
use crate::accounts::{Reason, Refused};
use crate::database::DbError;
use crate::entries::change::begin;
use crate::entries::visible::may_work;
use crate::entries::workable;

/// The most characters of the words beside a change.
pub const MAX_WORDS: usize = 1000;
/// The fewest with which something is closed.
pub const MIN_WORDS: usize = 3;
/// The most items that are changed at once.
pub const MAX_AT_ONCE: usize = 200;

/// What to change of an item; what is none stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// How far people have come.
    pub state: Option<State>,
    /// Whom it is given to, or taken from everybody.
    pub assignee: Option<Option<i64>>,
    /// Words for the history; of a closed item they are needed.
    pub words: String,
}

/// One change that was made. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// When.
    pub at: i64,
    /// The name to show of who did it.
    pub by: String,
    /// The state that it became; none where that stayed.
    pub state: Option<State>,
    /// Whom it was given to: nobody where the name is empty; none where that stayed.
    pub assignee: Option<String>,
    /// The words beside it.
    pub words: String,
}

/// What changing several items came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Several {
    /// How many were changed.
    pub changed: usize,
    /// Those that somebody else had changed since.
    pub stale: Vec<i64>,
    /// Those that the account may only read.
    pub only_read: Vec<i64>,
    /// How many are not there any more.
    pub gone: usize,
}

/// Changes one item, of which this version was seen. Of its changes the newest `kept` stay.
///
/// # Errors
/// Where the item is not there or the account may not see it, somebody changed it since, it is to be closed without words,
/// given to somebody who may not work with it, the words are too long or steer, or the database fails.
pub fn change(
    connection: &mut Connection,
    doer: Doer<'_>,
    (id, version): (i64, i64),
    change: &Change,
    kept: u32,
    now: i64,
) -> Result<(), Refused> {
    let transaction = begin(connection)?;
    one(&transaction, doer, (id, version), change, kept, now)?;
    transaction.commit()?;
    Ok(())
}

/// Changes several items in the same way, each of which was seen in a version. Those that somebody else had changed since,
/// or that the account may only read, stay as they are.
///
/// # Errors
/// Where there are none or too many, the change itself is refused, or the database fails.
pub fn several(
    connection: &mut Connection,
    doer: Doer<'_>,
    items: &[(i64, i64)],
    change: &Change,
    kept: u32,
    now: i64,
) -> Result<Several, Refused> {
    if items.is_empty() {
        return Err(Reason::NothingChosen.into());
    }
    if items.len() > MAX_AT_ONCE {
        return Err(Reason::Form.into());
    }
    let transaction = begin(connection)?;
    let mut done = Several::default();
    for item in items {
        match one(&transaction, doer, *item, change, kept, now) {
            Ok(()) => done.changed += 1,
            Err(Refused::Because(Reason::Stale)) => done.stale.push(item.0),
            Err(Refused::Because(Reason::NotAllowed)) => done.only_read.push(item.0),
            Err(Refused::Because(Reason::NotThere)) => done.gone += 1,
            Err(other) => return Err(other),
        }
    }
    transaction.commit()?;
    Ok(done)
}

fn one(
    transaction: &Transaction<'_>,
    doer: Doer<'_>,
    (id, version): (i64, i64),
    change: &Change,
    kept: u32,
    now: i64,
) -> Result<(), Refused> {
    let item = queue::find(transaction, doer.account, id)?;
    workable(transaction, doer.account, &item.key)?;
    if item.version != version {
        return Err(Reason::Stale.into());
    }
    let words = match change.words.trim() {
        "" => String::new(),
        words => lines_of(words, MAX_WORDS).ok_or(Reason::ClosingWords)?,
    };
    let state = change.state.filter(|state| *state != item.state);
    if state == Some(State::Closed) && words.chars().count() < MIN_WORDS {
        return Err(Reason::ClosingWords.into());
    }
    let current = item.assignee.as_ref().map(|assignee| assignee.id);
    let assignee = change.assignee.filter(|assignee| *assignee != current);
    let given = match assignee {
        Some(Some(account)) => {
            let people = may_work(transaction, item.entry_id)?;
            let person = people.into_iter().find(|person| person.id == account);
            Some(person.ok_or(Reason::Assignee)?.display_name)
        }
        Some(None) => Some(String::new()),
        None => None,
    };
    if state.is_none() && given.is_none() && words.is_empty() {
        return Ok(());
    }
    let new = state.unwrap_or(item.state);
    let closing = match (new, words.is_empty()) {
        (State::Closed, false) => words.as_str(),
        (State::Closed, true) => item.words.as_str(),
        _ => "",
    };
    transaction.execute(
        "UPDATE items SET state = ?2, words = ?3, assignee_id = ?4, version = version + 1 WHERE id = ?1",
        params![id, new.name(), closing, assignee.unwrap_or(current)],
    )?;
    transaction.execute(
        "INSERT INTO changes (item_id, at, by, state, assignee, words) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![id, now, doer.by, state.map(State::name), given, words],
    )?;
    transaction.execute(
        "DELETE FROM changes WHERE item_id = ?1 AND id <= (SELECT id FROM changes WHERE item_id = ?1
            ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        params![id, kept],
    )?;
    audit::record(transaction, doer.actor, Action::Triaged, Some(&subject(&item, state, given.as_deref())), now)?;
    Ok(())
}

/// How the audit log names a change.
fn subject(item: &Item, state: Option<State>, given: Option<&str>) -> String {
    let mut subject = format!("{}: item {}", item.key, item.id);
    if let Some(state) = state {
        subject.push_str(&format!(", {state}"));
    }
    match given {
        Some("") => subject.push_str(", given to nobody"),
        Some(name) => subject.push_str(&format!(", given to {name}")),
        None => {}
    }
    subject
}

/// What was changed of an item, the newest first: so many at most.
///
/// # Errors
/// Where the database fails.
pub fn history(connection: &Connection, item: i64, most: u32) -> Result<Vec<Past>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT at, by, state, assignee, words FROM changes WHERE item_id = ?1 ORDER BY id DESC LIMIT ?2",
    )?;
    let rows = statement.query_and_then(params![item, most], |row| {
        let state: Option<String> = row.get(2)?;
        let state = state.map(|name| name.parse().map_err(|_| DbError::Foreign(format!("the state {name:?}"))));
        Ok(Past {
            at: row.get(0)?,
            by: row.get(1)?,
            state: state.transpose()?,
            assignee: row.get(3)?,
            words: row.get(4)?,
        })
    })?;
    rows.collect()
}
