//! An account's entries, found and searched.

use rusqlite::{Connection, named_params};

use super::{Entry, Finding, SELECT, State, read};
use crate::accounts::{Reason, Refused};
use crate::database::DbError;

/// The most entries on one page.
pub const MAX_PAGE: u32 = 200;
/// The most characters of a search; what follows is not looked at.
pub const MAX_SEARCH: usize = 200;

/// Which entries to list.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Text in the name, the note or the SHA-256; empty for any.
    pub search: String,
    /// In this category.
    pub category: Option<i64>,
    /// In this state.
    pub state: Option<State>,
    /// With this as the worst that was found; only entries that are done.
    pub verdict: Option<Finding>,
    /// Skip so many of the newest.
    pub offset: u32,
    /// So many at most.
    pub limit: u32,
}

/// Some of the entries that a query is for.
#[derive(Clone, Debug)]
pub struct Page {
    /// These, the newest first.
    pub entries: Vec<Entry>,
    /// How many there are in all.
    pub total: u64,
}

/// The conditions of a query; each parameter that is none lets everything through.
const WHERE: &str = r"WHERE e.account_id = :account
    AND (:search IS NULL OR e.name LIKE :search ESCAPE '\' OR e.note LIKE :search ESCAPE '\'
        OR e.sha256 LIKE :search ESCAPE '\')
    AND (:category IS NULL OR e.category_id = :category)
    AND (:state IS NULL OR e.state = :state)
    AND (:verdict IS NULL OR (e.state = 'done' AND :verdict =
        CASE WHEN e.malicious > 0 THEN 'malicious' WHEN e.suspicious > 0 THEN 'suspicious' ELSE 'nothing' END))";

/// The entries of an account, the newest first.
///
/// # Errors
/// Where the database fails.
pub fn list(connection: &Connection, account: i64, query: &Query) -> Result<Page, DbError> {
    let search = pattern(&query.search);
    let (state, verdict) = (query.state.map(State::name), query.verdict.map(Finding::name));
    let total: i64 = connection.prepare_cached(&format!("SELECT count(*) FROM entries e {WHERE}"))?.query_row(
        named_params! {
            ":account": account, ":search": search, ":category": query.category, ":state": state,
            ":verdict": verdict,
        },
        |row| row.get(0),
    )?;
    let mut statement =
        connection.prepare_cached(&format!("{SELECT} {WHERE} ORDER BY e.id DESC LIMIT :limit OFFSET :offset"))?;
    let entries = statement
        .query_and_then(
            named_params! {
                ":account": account, ":search": search, ":category": query.category, ":state": state,
                ":verdict": verdict, ":limit": query.limit.min(MAX_PAGE), ":offset": query.offset,
            },
            read,
        )?
        .collect::<Result<_, _>>()?;
    Ok(Page { entries, total: u64::try_from(total).unwrap_or(0) })
}

/// A `LIKE` pattern for a text somewhere; none for the empty text.
fn pattern(search: &str) -> Option<String> {
    let search = search.trim();
    if search.is_empty() {
        return None;
    }
    let mut pattern = "%".to_owned();
    for c in search.chars().take(MAX_SEARCH) {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    Some(pattern)
}

/// The entry of that key, if it is this account's.
///
/// # Errors
/// Where the database fails.
pub fn find(connection: &Connection, account: i64, key: &str) -> Result<Option<Entry>, DbError> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} WHERE e.key = ?1 AND e.account_id = ?2"))?;
    let found = statement.query_and_then((key, account), read)?.next().transpose()?;
    Ok(found)
}

/// The entry of that key, which must be this account's.
///
/// # Errors
/// Where it is not there or another's, or the database fails.
pub fn owned(connection: &Connection, account: i64, key: &str) -> Result<Entry, Refused> {
    Ok(find(connection, account, key)?.ok_or(Reason::NotThere)?)
}
