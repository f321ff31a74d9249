//! What to look at next.
//!
//! The order is one and is told on the page: malicious before suspicious before all others; then by score, in steps of a
//! tenth; then by what a word teaches most ([`super::collect`] makes one number of these three); then what nobody has taken;
//! then what waits longest. A page begins after an item and not after a number of items, so nothing is shown twice or
//! passed over when somebody changes something meanwhile.

use std::fmt;
use std::str::FromStr;

use rusqlite::{Connection, named_params, params};

use super::{Item, Kind, SELECT, State, read};
use crate::accounts::{Reason, Refused};
use crate::database::DbError;
use crate::entries::visible::seen_by;

/// The most items of one page, and of one answer.
pub const MAX_PAGE: u32 = 200;

/// Whose items are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// To this account.
    To(i64),
    /// To nobody.
    Nobody,
}

/// Which items are looked for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Entries or conversations.
    pub kind: Kind,
    /// In one of these states; in any where there is none.
    pub states: Vec<State>,
    /// Given to somebody, or to nobody.
    pub given: Option<Given>,
    /// Of the entry with this key.
    pub entry: Option<String>,
    /// Of entries of this category.
    pub category: Option<i64>,
    /// What flows are for.
    pub purpose: Option<String>,
}

/// The place of an item in the queue: what comes after it is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    place: i64,
    taken: bool,
    at: i64,
    id: i64,
}

impl Cursor {
    /// The place of an item.
    pub fn of(item: &Item) -> Self {
        Self { place: item.place, taken: item.assignee.is_some(), at: item.at, id: item.id }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}", self.place, u8::from(self.taken), self.at, self.id)
    }
}

impl FromStr for Cursor {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        let mut parts = text.split('.').map(|part| part.parse::<i64>().map_err(|_| Reason::Form));
        let mut next = || parts.next().unwrap_or(Err(Reason::Form));
        let cursor = Self { place: next()?, taken: next()? != 0, at: next()?, id: next()? };
        if parts.next().is_some() { Err(Reason::Form) } else { Ok(cursor) }
    }
}

/// From where a page goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// From the first item on.
    #[default]
    Begin,
    /// After this place.
    After(Cursor),
    /// Before this place, the nearest ones.
    Before(Cursor),
}

/// Some of the items that a query is for.
#[derive(Clone, Debug)]
pub struct Page {
    /// These, in order.
    pub items: Vec<Item>,
    /// What to go back before, where something comes before them.
    pub before: Option<Cursor>,
    /// What to go on after, where something comes after them.
    pub after: Option<Cursor>,
}

/// What all queries ask for but the state; a parameter that is none lets everything through.
fn conditions() -> String {
    format!(
        "WHERE {} AND i.kind = :kind AND (:given IS NULL OR i.assignee_id = :given)
            AND (NOT :nobody OR i.assignee_id IS NULL) AND (:entry IS NULL OR e.key = :entry)
            AND (:category IS NULL OR e.category_id = :category) AND (:purpose IS NULL OR i.category = :purpose)",
        seen_by(":account")
    )
}

const OF_STATE: &str = "AND (:states IS NULL OR i.state IN (SELECT value FROM json_each(:states)))";
const PLACE: &str = "(i.place, i.assignee_id IS NOT NULL, i.at, i.id)";

/// Some items of a query: those behind or before a place, the nearest first.
fn beside(
    connection: &Connection,
    account: i64,
    query: &Query,
    cursor: Option<Cursor>,
    backwards: bool,
    limit: u32,
) -> Result<Vec<Item>, DbError> {
    let (compare, direction) = if backwards { ("<", "DESC") } else { (">", "ASC") };
    let sql = format!(
        "{SELECT} {} {OF_STATE} AND (:from IS NULL OR {PLACE} {compare} (:place, :taken, :at, :id))
            ORDER BY i.place {direction}, i.assignee_id IS NOT NULL {direction}, i.at {direction}, i.id {direction}
            LIMIT :limit",
        conditions()
    );
    let (given, nobody) = given(query);
    let states = states(query);
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_and_then(
        named_params! {
            ":account": account, ":kind": query.kind.name(), ":given": given, ":nobody": nobody, ":entry": query.entry,
            ":category": query.category, ":purpose": query.purpose, ":states": states,
            ":from": cursor.map(|_| true), ":place": cursor.map(|at| at.place), ":taken": cursor.map(|at| at.taken),
            ":at": cursor.map(|at| at.at), ":id": cursor.map(|at| at.id), ":limit": limit,
        },
        read,
    )?;
    rows.collect()
}

fn given(query: &Query) -> (Option<i64>, bool) {
    match query.given {
        Some(Given::To(account)) => (Some(account), false),
        Some(Given::Nobody) => (None, true),
        None => (None, false),
    }
}

fn states(query: &Query) -> Option<String> {
    let names: Vec<&str> = query.states.iter().map(|state| state.name()).collect();
    (!names.is_empty()).then(|| serde_json::json!(names).to_string())
}

/// The first items that a query is for, in order, of those that the account may see: for whoever wants all at once.
///
/// # Errors
/// Where the database fails.
pub fn first(connection: &Connection, account: i64, query: &Query, limit: u32) -> Result<Vec<Item>, DbError> {
    beside(connection, account, query, None, false, limit)
}

/// Whether a query is for anything behind or before a place. No order is asked for: the first that is found is enough.
fn is_beside(
    connection: &Connection,
    account: i64,
    query: &Query,
    cursor: Cursor,
    backwards: bool,
) -> Result<bool, DbError> {
    let compare = if backwards { "<" } else { ">" };
    let sql = format!(
        "SELECT 1 FROM items i JOIN entries e ON e.id = i.entry_id {} {OF_STATE}
            AND {PLACE} {compare} (:place, :taken, :at, :id) LIMIT 1",
        conditions()
    );
    let (given, nobody) = given(query);
    let found = connection.prepare_cached(&sql)?.exists(named_params! {
        ":account": account, ":kind": query.kind.name(), ":given": given, ":nobody": nobody, ":entry": query.entry,
        ":category": query.category, ":purpose": query.purpose, ":states": states(query),
        ":place": cursor.place, ":taken": cursor.taken, ":at": cursor.at, ":id": cursor.id,
    })?;
    Ok(found)
}

/// A page of the items that a query is for, of those that the account may see.
///
/// # Errors
/// Where the database fails.
pub fn list(connection: &Connection, account: i64, query: &Query, from: From, limit: u32) -> Result<Page, DbError> {
    let limit = limit.clamp(1, MAX_PAGE);
    let (cursor, backwards) = match from {
        From::Begin => (None, false),
        From::After(cursor) => (Some(cursor), false),
        From::Before(cursor) => (Some(cursor), true),
    };
    // One more tells whether it goes on.
    let mut items = beside(connection, account, query, cursor, backwards, limit.saturating_add(1))?;
    let goes_on = items.len() > limit as usize;
    items.truncate(limit as usize);
    if backwards {
        items.reverse();
    }
    let (first, last) = (items.first().map(Cursor::of), items.last().map(Cursor::of));
    let is_beside = |cursor: Option<Cursor>, backwards| match cursor {
        Some(cursor) => is_beside(connection, account, query, cursor, backwards),
        None => Ok(false),
    };
    let (has_before, has_after) = match from {
        From::Begin => (false, goes_on),
        From::After(_) => (is_beside(first, true)?, goes_on),
        From::Before(_) => (goes_on, is_beside(last, false)?),
    };
    Ok(Page { items, before: first.filter(|_| has_before), after: last.filter(|_| has_after) })
}

/// The items before and behind one, by number, among those that a query is for.
///
/// # Errors
/// Where the database fails.
pub fn neighbours(
    connection: &Connection,
    account: i64,
    query: &Query,
    item: &Item,
) -> Result<[Option<i64>; 2], DbError> {
    let one = |backwards| -> Result<Option<i64>, DbError> {
        let found = beside(connection, account, query, Some(Cursor::of(item)), backwards, 1)?;
        Ok(found.first().map(|item| item.id))
    };
    Ok([one(true)?, one(false)?])
}

/// How many items there are of each state, but for the states that the query asks for.
///
/// # Errors
/// Where the database fails.
pub fn counts(connection: &Connection, account: i64, query: &Query) -> Result<Vec<(State, u64)>, DbError> {
    let sql = format!(
        "SELECT i.state, count(*) FROM items i JOIN entries e ON e.id = i.entry_id {} GROUP BY i.state",
        conditions()
    );
    let (given, nobody) = given(query);
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(
        named_params! {
            ":account": account, ":kind": query.kind.name(), ":given": given, ":nobody": nobody, ":entry": query.entry,
            ":category": query.category, ":purpose": query.purpose,
        },
        |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)),
    )?;
    let found: Vec<(String, i64)> = rows.collect::<Result<_, _>>()?;
    let count = |state: State| found.iter().find(|(name, _)| name == state.name()).map_or(0, |(_, count)| *count);
    Ok(State::ALL.into_iter().map(|state| (state, count(state).cast_unsigned())).collect())
}

/// What is not in the queue of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Entries whose conversations are still to be copied.
    pub pending: u64,
    /// Entries whose result could not be read.
    pub unread: u64,
    /// Alerts that are in no conversation, because an entry had too many.
    pub left: u64,
}

/// What is not in the queue of an account, or of one entry.
///
/// # Errors
/// Where the database fails.
pub fn missing(connection: &Connection, account: i64, entry: Option<&str>) -> Result<Missing, DbError> {
    let sql = format!(
        "SELECT count(*) FILTER (WHERE e.items_at IS NULL),
            count(*) FILTER (WHERE e.items_at IS NOT NULL AND e.items_left IS NULL), total(e.items_left)
            FROM entries e WHERE {} AND e.state = 'done' AND (?2 IS NULL OR e.key = ?2)",
        seen_by("?1")
    );
    let count = |number: i64| number.cast_unsigned();
    Ok(connection.prepare_cached(&sql)?.query_row(params![account, entry], |row| {
        Ok(Missing {
            pending: count(row.get(0)?),
            unread: count(row.get(1)?),
            left: count(row.get::<_, f64>(2)? as i64),
        })
    })?)
}

/// An item that this account may see.
///
/// # Errors
/// Where it is not there or the account may not see it, or the database fails.
pub fn find(connection: &Connection, account: i64, id: i64) -> Result<Item, Refused> {
    let sql = format!("{SELECT} WHERE i.id = ?1 AND {}", seen_by("?2"));
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_and_then(params![id, account], read)?.next().transpose()?;
    Ok(found.ok_or(Reason::NotThere)?)
}

/// The item of an entry as a whole. Whether somebody may see the entry was asked before.
///
/// # Errors
/// Where the database fails.
pub fn of_entry(connection: &Connection, entry: i64) -> Result<Option<Item>, DbError> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} WHERE i.entry_id = ?1 AND i.kind = 'entry'"))?;
    statement.query_and_then([entry], read)?.next().transpose()
}
