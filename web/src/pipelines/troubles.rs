//! How often plugins failed in analyses. The words of a failure may hold a capture's text and stay in the result.

use rusqlite::{Connection, params};

use crate::database::DbError;
use crate::results::ResultSummary;

/// Plugins of one analysis that are noted.
const MOST: usize = 256;

/// What went wrong with one plugin in one analysis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The instance.
    pub plugin: String,
    /// Records on which it failed.
    pub records: u64,
    /// Whether it was not used, or from some record on no more.
    pub disabled: bool,
}

/// What a result tells.
pub fn of(summary: &ResultSummary) -> Vec<Trouble> {
    let mut found: Vec<Trouble> = Vec::new();
    for (plugin, records) in &summary.plugin_errors {
        found.push(Trouble { plugin: plugin.clone(), records: *records, disabled: false });
    }
    for (plugin, ..) in &summary.disabled {
        match found.iter_mut().find(|trouble| trouble.plugin == *plugin) {
            Some(trouble) => trouble.disabled = true,
            None => found.push(Trouble { plugin: plugin.clone(), records: 0, disabled: true }),
        }
    }
    found.truncate(MOST);
    found
}

/// Notes them with the entry.
///
/// # Errors
/// Where the database fails.
pub fn note(connection: &Connection, entry: i64, troubles: &[Trouble]) -> Result<(), DbError> {
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO plugin_troubles (entry_id, plugin, records, disabled) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for trouble in troubles {
        let records = i64::try_from(trouble.records).unwrap_or(i64::MAX);
        statement.execute(params![entry, trouble.plugin, records, trouble.disabled])?;
    }
    Ok(())
}

/// What the last analyses say of one plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// The instance.
    pub plugin: String,
    /// Analyses in which it failed or was not used.
    pub analyses: i64,
    /// Records on which it failed, in all of them.
    pub records: i64,
    /// Analyses in which it was not used, or from some record on no more.
    pub disabled: i64,
}

/// The counts of the last analyses with this pipeline, and how many analyses these are; of one account alone, where it is
/// named.
///
/// # Errors
/// Where the database fails.
pub fn counts(
    connection: &Connection,
    pipeline: &str,
    account: Option<i64>,
    last: u32,
) -> Result<(i64, Vec<Count>), DbError> {
    const LAST: &str =
        "SELECT id FROM entries WHERE state = 'done' AND pipeline = ?1 AND (?2 IS NULL OR account_id = ?2)
        ORDER BY ended_at DESC, id DESC LIMIT ?3";
    let analyses = connection
        .prepare_cached(&format!("SELECT count(*) FROM ({LAST})"))?
        .query_row(params![pipeline, account, last], |row| row.get(0))?;
    let mut statement = connection.prepare_cached(&format!(
        "SELECT plugin, count(*), sum(records), sum(disabled) FROM plugin_troubles WHERE entry_id IN ({LAST})
         GROUP BY plugin ORDER BY plugin"
    ))?;
    let rows = statement.query_map(params![pipeline, account, last], |row| {
        Ok(Count { plugin: row.get(0)?, analyses: row.get(1)?, records: row.get(2)?, disabled: row.get(3)? })
    })?;
    Ok((analyses, rows.collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uploads::testing::Place;

    #[test]
    fn the_last_analyses_are_counted() {
        let mut place = Place::new();
        let (ada, bob) = (place.account("ada"), place.account("bob"));
        let summary = ResultSummary {
            plugin_errors: vec![("own".to_owned(), 7)],
            disabled: vec![("own".to_owned(), Some(9), "x".to_owned()), ("gone".to_owned(), None, "y".to_owned())],
            ..ResultSummary::default()
        };
        for (account, content) in [(ada, b"a"), (ada, b"b"), (bob, b"c")] {
            let key = place.keep(account, content);
            place.set(&key, "state = 'done', pipeline = 'mine', ended_at = id");
            let id = place.number("SELECT max(id) FROM entries");
            note(&place.connection, id, &of(&summary)).unwrap();
        }
        let count = |plugin: &str, analyses, records, disabled| Count {
            plugin: plugin.to_owned(),
            analyses,
            records,
            disabled,
        };
        let all = counts(&place.connection, "mine", None, 100).unwrap();
        assert_eq!(all, (3, vec![count("gone", 3, 0, 3), count("own", 3, 21, 3)]));
        assert_eq!(counts(&place.connection, "mine", Some(ada), 100).unwrap().0, 2);
        assert_eq!(
            counts(&place.connection, "mine", None, 1).unwrap(),
            (1, vec![count("gone", 1, 0, 1), count("own", 1, 7, 1)])
        );
        assert_eq!(counts(&place.connection, "other", None, 100).unwrap(), (0, Vec::new()));
    }
}
