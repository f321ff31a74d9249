//! How long things are kept, and how they go.
//!
//! An operator sets after how many days captures, entries and uploads that nobody confirmed are deleted; a team may have
//! shorter times for what is shared with it; an owner keeps an entry with a reason. One statement says when what goes, for
//! the pages and for the sweep alike. What goes, goes the way of what a person deletes ([`erase`]).
//!
//! | module | story |
//! |---|---|
//! | [`clock`] | whether the time can be believed |
//! | [`erase`] | rows are gone: worker and reader end, files go |
//! | [`sweep`] | the thread that deletes what is over time, and entries of deleted accounts |

pub mod clock;
pub mod erase;
pub mod sweep;

use rusqlite::{Connection, OptionalExtension, Row, named_params};

use crate::config::Retention;
use crate::database::DbError;
use crate::entries::Entry;

pub use sweep::{Sweep, Sweeper};

/// Seconds of a day.
pub const DAY: i64 = 24 * 3600;

/// When an entry is deleted, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Its capture goes, and its result stays.
    pub capture_at: Option<i64>,
    /// All of it goes.
    pub entry_at: Option<i64>,
}

/// When what goes. Days count from the end of the analysis, or from the upload where there was none; nothing goes while an
/// analysis waits or runs, or while its owner keeps it. 0 is never, and of two times the shorter one holds.
const DUE: &str = "SELECT id, key, sha256, capture_gone_at, result_bytes, index_bytes, bytes, entry_days, capture_days,
        since + 86400 * entry_days AS entry_at,
        CASE WHEN capture_gone_at IS NULL AND (entry_days IS NULL OR capture_days < entry_days)
            THEN since + 86400 * capture_days END AS capture_at
    FROM (SELECT e.id, e.key, e.sha256, e.capture_gone_at, e.result_bytes, e.index_bytes, c.bytes,
            coalesce(e.ended_at, e.confirmed_at, e.created_at) AS since,
            nullif(min(coalesce(nullif(:entries, 0), 99999), coalesce(t.entries_days, 99999),
                CASE WHEN e.state = 'unconfirmed'
                    THEN min(coalesce(nullif(:unconfirmed, 0), 99999), coalesce(t.unconfirmed_days, 99999))
                    ELSE 99999 END), 99999) AS entry_days,
            CASE WHEN e.state <> 'unconfirmed' THEN
                nullif(min(coalesce(nullif(:captures, 0), 99999), coalesce(t.captures_days, 99999)), 99999)
                END AS capture_days
        FROM entries e JOIN captures c ON c.sha256 = e.sha256
        LEFT JOIN teams t ON t.id = e.team_id AND t.retired = 0
        WHERE e.kept_why IS NULL AND e.state NOT IN ('queued', 'running'))";

/// An entry that time has something to say of.
struct Timed {
    id: i64,
    key: String,
    sha256: String,
    /// Bytes of what is the entry's alone: its result and its index.
    own_bytes: u64,
    /// Bytes of its index.
    index_bytes: u64,
    /// Bytes of its capture.
    bytes: u64,
    entry_days: Option<u32>,
    capture_days: Option<u32>,
    due: Due,
}

fn timed(row: &Row<'_>) -> Result<Timed, DbError> {
    let bytes = |column: &str| {
        let bytes: Option<i64> = row.get(column)?;
        Ok::<_, DbError>(bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0))
    };
    Ok(Timed {
        id: row.get("id")?,
        key: row.get("key")?,
        sha256: row.get("sha256")?,
        own_bytes: bytes("result_bytes")?.saturating_add(bytes("index_bytes")?),
        index_bytes: bytes("index_bytes")?,
        bytes: bytes("bytes")?,
        entry_days: row.get("entry_days")?,
        capture_days: row.get("capture_days")?,
        due: Due { capture_at: row.get("capture_at")?, entry_at: row.get("entry_at")? },
    })
}

/// What time says of one entry; nothing where no timer counts for it.
fn of_entry(connection: &Connection, timers: &Retention, entry: i64) -> Result<Option<Timed>, DbError> {
    let mut statement = connection.prepare_cached(&format!("SELECT * FROM ({DUE}) WHERE id = :id"))?;
    let values = named_params! {
        ":captures": timers.captures_days, ":entries": timers.entries_days, ":unconfirmed": timers.unconfirmed_days,
        ":id": entry,
    };
    statement.query_and_then(values, timed)?.next().transpose()
}

/// Numbers of entries of which something is to be deleted by now, the longest overdue first.
fn overdue(connection: &Connection, timers: &Retention, now: i64, most: u32) -> Result<Vec<i64>, DbError> {
    // To look at all entries takes a while where there are many; mostly no time is set.
    let is_set = [timers.captures_days, timers.entries_days, timers.unconfirmed_days].iter().any(|days| *days > 0);
    let of_teams = "SELECT 1 FROM teams WHERE retired = 0
        AND coalesce(captures_days, entries_days, unconfirmed_days) IS NOT NULL";
    if !is_set && !connection.prepare_cached(of_teams)?.exists([])? {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id FROM ({DUE}) WHERE min(coalesce(entry_at, capture_at), coalesce(capture_at, entry_at)) <= :now
            ORDER BY min(coalesce(entry_at, capture_at), coalesce(capture_at, entry_at)), id LIMIT :most"
    ))?;
    let values = named_params! {
        ":captures": timers.captures_days, ":entries": timers.entries_days, ":unconfirmed": timers.unconfirmed_days,
        ":now": now, ":most": most,
    };
    Ok(statement.query_map(values, |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// When an entry is deleted by timers.
///
/// # Errors
/// Where the database fails.
pub fn due(connection: &Connection, timers: &Retention, entry: &Entry) -> Result<Due, DbError> {
    Ok(of_entry(connection, timers, entry.id)?.map(|timed| timed.due).unwrap_or_default())
}

/// How the timers go on, for administrators. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// When they last went through.
    pub last_sweep_at: Option<i64>,
    /// Why nothing is deleted.
    pub waits: Option<String>,
    /// Entries that they deleted so far.
    pub entries: i64,
    /// Captures of entries that stayed.
    pub captures: i64,
    /// Bytes of files that went.
    pub bytes: u64,
}

/// How the timers go on.
///
/// # Errors
/// Where the database fails.
pub fn progress(connection: &Connection) -> Result<Progress, DbError> {
    let found = connection
        .query_row("SELECT last_sweep_at, waits, entries, captures, bytes FROM retention", [], |row| {
            let bytes: i64 = row.get(4)?;
            Ok(Progress {
                last_sweep_at: row.get(0)?,
                waits: row.get(1)?,
                entries: row.get(2)?,
                captures: row.get(3)?,
                bytes: u64::try_from(bytes).unwrap_or(0),
            })
        })
        .optional()?;
    found.ok_or_else(|| DbError::Foreign("no row of how the timers go on".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::teams::{Standing, TeamLimits, add, set_limits, set_member, set_retired};
    use crate::entries::{find, keep, share};
    use crate::uploads::Key;
    use crate::uploads::testing::{NOW, Place, actor};

    fn timers(captures_days: u32, entries_days: u32, unconfirmed_days: u32) -> Retention {
        Retention { captures_days, entries_days, unconfirmed_days, ..Retention::default() }
    }

    /// Days until capture and entry go; what the sweep finds is held to it.
    fn days(place: &Place, account: i64, key: &Key, timers: &Retention) -> (Option<i64>, Option<i64>) {
        let entry = find(&place.connection, account, key.as_str()).unwrap().unwrap();
        let due = due(&place.connection, timers, &entry).unwrap();
        let found = |now| overdue(&place.connection, timers, now, 99).unwrap().contains(&entry.id);
        match due.capture_at.into_iter().chain(due.entry_at).min() {
            Some(first) => assert!(found(first) && !found(first - 1)),
            None => assert!(!found(i64::MAX)),
        }
        let in_days = |at: Option<i64>| at.map(|at| (at - NOW) / DAY);
        (in_days(due.capture_at), in_days(due.entry_at))
    }

    #[test]
    fn the_shortest_time_that_holds_counts() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let [waits, runs, done] = [b"1", b"2", b"3"].map(|bytes| place.keep(ada, bytes));
        place.set(&runs, "state = 'running'");
        place.done(&done);
        let told = |place: &Place, timers| [&waits, &runs, &done].map(|key| days(place, ada, key, &timers));
        let never = (None, None);
        assert_eq!(told(&place, timers(0, 0, 0)), [never; 3]);
        assert_eq!(told(&place, timers(0, 0, 3)), [(None, Some(3)), never, never]);
        assert_eq!(told(&place, timers(10, 30, 0)), [(None, Some(30)), never, (Some(10), Some(30))]);
        // A capture goes with its entry where that is sooner.
        assert_eq!(told(&place, timers(30, 10, 20)), [(None, Some(10)), never, (None, Some(10))]);
        assert_eq!(told(&place, timers(5, 0, 0)), [never, never, (Some(5), None)]);
        // From the end of the analysis on.
        place.set(&done, &format!("ended_at = {}", NOW + 2 * DAY));
        assert_eq!(days(&place, ada, &done, &timers(5, 9, 0)), (Some(7), Some(11)));
        place.set(&done, "capture_gone_at = 7");
        assert_eq!(days(&place, ada, &done, &timers(5, 9, 0)), (None, Some(11)));
    }

    #[test]
    fn a_team_shortens_and_never_lengthens_and_a_reason_keeps() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let key = place.keep(ada, b"x");
        place.done(&key);
        let by = actor();
        let blue = add(&mut place.connection, "Blue", &by, NOW).unwrap();
        set_member(&mut place.connection, blue, ada, Standing::Works, &by, NOW).unwrap();
        let limits = TeamLimits { captures_days: Some(2), entries_days: Some(50), ..TeamLimits::default() };
        set_limits(&mut place.connection, blue, &limits, &by, NOW).unwrap();
        assert_eq!(days(&place, ada, &key, &timers(5, 20, 0)), (Some(5), Some(20)));
        share(&mut place.connection, ada, key.as_str(), blue, &by, NOW).unwrap();
        assert_eq!(days(&place, ada, &key, &timers(5, 20, 0)), (Some(2), Some(20)));
        assert_eq!(days(&place, ada, &key, &timers(0, 0, 0)), (Some(2), Some(50)));
        keep(&mut place.connection, ada, key.as_str(), Some("case 7"), &by, NOW).unwrap();
        assert_eq!(days(&place, ada, &key, &timers(5, 20, 0)), (None, None));
        keep(&mut place.connection, ada, key.as_str(), None, &by, NOW).unwrap();
        set_retired(&mut place.connection, blue, true, &by, NOW).unwrap();
        assert_eq!(days(&place, ada, &key, &timers(5, 20, 0)), (Some(5), Some(20)));
    }
}
