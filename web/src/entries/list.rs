//! The entries that an account may read, searched.

use rusqlite::{Connection, OptionalExtension, named_params};

use super::access::{COLUMNS, FROM, VISIBLE};
use super::{Entry, Finding, State, read};
use crate::database::DbError;
use crate::uploads::Key;

/// The most entries on one page.
pub const MAX_PAGE: u32 = 200;
/// The most characters of a search; what follows is not looked at.
pub const MAX_SEARCH: usize = 200;

/// Whose entries, of those that an account may read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whose {
    /// All of them.
    #[default]
    All,
    /// The account's own.
    Mine,
    /// What is shared with this team, by whomever.
    Team(i64),
}

/// Which entries to list.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Whose.
    pub whose: Whose,
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
const WHERE: &str = r"AND (:mine = 0 OR e.account_id = :me) AND (:team IS NULL OR e.team_id = :team)
    AND (:search IS NULL OR e.name LIKE :search ESCAPE '\' OR e.note LIKE :search ESCAPE '\'
        OR e.sha256 LIKE :search ESCAPE '\')
    AND (:category IS NULL OR e.category_id = :category)
    AND (:state IS NULL OR e.state = :state)
    AND (:verdict IS NULL OR (e.state = 'done' AND :verdict =
        CASE WHEN e.malicious > 0 THEN 'malicious' WHEN e.suspicious > 0 THEN 'suspicious'
            WHEN e.scored = 0 THEN 'unclear' ELSE 'nothing' END))";

/// The entries that an account may read, the newest first.
///
/// # Errors
/// Where the database fails.
pub fn list(connection: &Connection, account: i64, query: &Query) -> Result<Page, DbError> {
    let search = pattern(&query.search);
    let (state, verdict) = (query.state.map(State::name), query.verdict.map(Finding::name));
    let (mine, team) = match query.whose {
        Whose::All => (false, None),
        Whose::Mine => (true, None),
        Whose::Team(team) => (false, Some(team)),
    };
    let of_entries = format!("FROM entries e WHERE {VISIBLE} {WHERE}");
    let total: i64 = connection.prepare_cached(&format!("SELECT count(*) {of_entries}"))?.query_row(
        named_params! {
            ":me": account, ":mine": mine, ":team": team, ":search": search, ":category": query.category, ":state": state,
            ":verdict": verdict,
        },
        |row| row.get(0),
    )?;
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} {FROM}
            WHERE e.id IN (SELECT e.id {of_entries} ORDER BY e.id DESC LIMIT :limit OFFSET :offset) ORDER BY e.id DESC"
    ))?;
    let entries = statement
        .query_and_then(
            named_params! {
                ":me": account, ":mine": mine, ":team": team, ":search": search, ":category": query.category, ":state": state,
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

/// The newest entry that the same account had of the same capture before this one, where whoever asked may read that, too.
///
/// # Errors
/// Where the database fails.
pub fn earlier(connection: &Connection, entry: &Entry) -> Result<Option<Key>, DbError> {
    let found: Option<String> = connection
        .prepare_cached(&format!(
            "SELECT e.key {FROM} WHERE {VISIBLE} AND e.account_id = :owner AND e.sha256 = :sha256 AND e.id < :id
                ORDER BY e.id DESC LIMIT 1"
        ))?
        .query_row(
            named_params! {
                ":me": entry.asker, ":owner": entry.account_id, ":sha256": entry.sha256.as_str(), ":id": entry.id,
            },
            |row| row.get(0),
        )
        .optional()?;
    found.map(|key| key.parse().map_err(|_| DbError::Foreign(format!("the key {key:?}")))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::{Reason, Refused};
    use crate::entries::{find, owned};
    use crate::uploads::testing::Place;

    fn keys(place: &Place, account: i64, query: &Query) -> Vec<Key> {
        let query = Query { limit: 50, ..query.clone() };
        let page = list(&place.connection, account, &query).unwrap();
        assert_eq!(page.total, page.entries.len() as u64);
        page.entries.into_iter().map(|entry| entry.key).collect()
    }

    #[track_caller]
    fn is(found: &[Key], expected: &[&Key]) {
        assert_eq!(found.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_page_is_a_part_of_the_whole_newest_first() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let all: Vec<Key> = (0..5u8).map(|n| place.keep(ada, &[n])).collect();
        let page = list(&place.connection, ada, &Query { offset: 1, limit: 2, ..Query::default() }).unwrap();
        let shown: Vec<_> = page.entries.iter().map(|entry| &entry.key).collect();
        assert_eq!((shown, page.total), (vec![&all[3], &all[2]], 5));
        let past = list(&place.connection, ada, &Query { offset: 9, limit: u32::MAX, ..Query::default() }).unwrap();
        assert_eq!((past.entries.len(), past.total), (0, 5));
    }

    #[test]
    fn a_search_means_what_it_says() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let [percent, line, slash, plain] = [b"1", b"2", b"3", b"4"].map(|bytes| place.keep(ada, bytes));
        place.set(&percent, "name = '100%.pcap'");
        place.set(&line, "name = 'a_b.pcap', note = 'Office \u{201c}north\u{201d}'");
        place.set(&slash, r"name = 'a\b.pcap'");
        place.set(&plain, "name = 'axb.pcap', note = '100 flows'");
        let found = |search: &str| keys(&place, ada, &Query { search: search.to_owned(), ..Query::default() });
        is(&found("%"), &[&percent]);
        is(&found("_"), &[&line]);
        is(&found("\\"), &[&slash]);
        is(&found("a_b"), &[&line]);
        is(&found("100"), &[&plain, &percent]);
        is(&found(" oFFice "), &[&line]);
        is(&found("' OR 1=1 --"), &[]);
        assert_eq!(found("").len(), 4);
        is(&found(&"%".repeat(100_000)), &[]);
        let hash = find(&place.connection, ada, plain.as_str()).unwrap().unwrap().sha256;
        is(&found(&hash.as_str()[3..20]), &[&plain]);
    }

    #[test]
    fn filters_narrow_and_join() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let [bad, odd, fine, waits] = [b"1", b"2", b"3", b"4"].map(|bytes| place.keep(ada, bytes));
        for key in [&bad, &odd, &fine] {
            place.done(key);
        }
        place.set(&bad, "malicious = 1, suspicious = 5, category_id = 2");
        place.set(&odd, "suspicious = 1, category_id = 2");
        let by = |query: Query| keys(&place, ada, &query);
        let verdict = |verdict| Query { verdict: Some(verdict), ..Query::default() };
        is(&by(verdict(Finding::Malicious)), &[&bad]);
        is(&by(verdict(Finding::Suspicious)), &[&odd]);
        // One that is not done has no verdict.
        is(&by(verdict(Finding::Nothing)), &[&fine]);
        is(&by(Query { state: Some(State::Unconfirmed), ..Query::default() }), &[&waits]);
        is(&by(Query { category: Some(2), ..Query::default() }), &[&odd, &bad]);
        is(&by(Query { category: Some(2), ..verdict(Finding::Suspicious) }), &[&odd]);
        // What the query calls a finding is what the entry does.
        for (key, finding) in [
            (&bad, Some(Finding::Malicious)),
            (&odd, Some(Finding::Suspicious)),
            (&fine, Some(Finding::Nothing)),
            (&waits, None),
        ] {
            let entry = find(&place.connection, ada, key.as_str()).unwrap().unwrap();
            assert_eq!(entry.finding(), finding);
        }
    }

    #[test]
    fn nobody_finds_what_is_another_s() {
        let mut place = Place::new();
        // The first account is an administrator, and sees no more than others.
        let (admin, bob) = (place.account("admin"), place.account("bob"));
        let key = place.keep(bob, b"bob's");
        assert!(find(&place.connection, bob, key.as_str()).unwrap().is_some());
        assert_eq!(find(&place.connection, admin, key.as_str()).unwrap(), None);
        assert!(matches!(owned(&place.connection, admin, key.as_str()), Err(Refused::Because(Reason::NotThere))));
        is(&keys(&place, admin, &Query::default()), &[]);
        for odd in ["", "%", "' OR 1=1 --", "../x"] {
            assert_eq!(find(&place.connection, bob, odd).unwrap(), None, "{odd}");
        }
    }
}
