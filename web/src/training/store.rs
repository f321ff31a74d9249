//! Which trainings there are, and what became of each. The queue is the table, so it survives a restart.
//!
//! Accounts take turns: whoever waited longest for one comes first, and of one account's trainings the oldest.

use std::fmt;
use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use utoipa::ToSchema;
use veilwatch::learn::OnConflict;
use veilwatch::worker::TrainReport;

use crate::accounts::audit::{self, Action};
use crate::accounts::{Actor, Reason, Refused, people};
use crate::config::Training as Limits;
use crate::database::DbError;
use crate::jobs::queue::{CRASHES, STARTS, Turns, Why};
use crate::uploads::{Key, Sha256Hex};

/// How far a training has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It waits for its turn.
    Queued,
    /// A worker has it.
    Running,
    /// There is a model.
    Done,
    /// Marks contradict labels, and nobody said who is right: nothing was trained.
    Conflicts,
    /// There is none, and `why` says why.
    Failed,
    /// Somebody stopped it.
    Stopped,
}

impl State {
    /// All states.
    pub const ALL: [Self; 6] = [Self::Queued, Self::Running, Self::Done, Self::Conflicts, Self::Failed, Self::Stopped];

    /// Its name in the database, in messages and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Conflicts => "conflicts",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// Whether nothing more happens to it.
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for State {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        Self::ALL.into_iter().find(|state| state.name() == text).ok_or(Reason::Form)
    }
}

/// What somebody asks for.
#[derive(Clone, Debug)]
pub struct NewTraining {
    /// Whose features and classifier.
    pub pipeline: String,
    /// What the model is called in the registry.
    pub model: String,
    /// Names in the folder of labelled data.
    pub sources: Vec<String>,
    /// Captures whose marks are learnt from.
    pub captures: Vec<Sha256Hex>,
    /// How many marks these have.
    pub marks: u64,
    /// What a mark weighs, in flows.
    pub weight: f64,
    /// Who is right where a mark contradicts a label.
    pub on_conflict: OnConflict,
    /// Seed of whatever is random.
    pub seed: u32,
}

/// One training. Times are seconds since 1970.
#[derive(Clone, Debug)]
pub struct Training {
    /// Its number.
    pub id: i64,
    /// What names it in addresses.
    pub key: Key,
    /// Who asked for it.
    pub account_id: i64,
    /// The name to show of whoever asked.
    pub by: String,
    /// How far it has come.
    pub state: State,
    /// What was asked for.
    pub asked: NewTraining,
    /// When.
    pub created_at: i64,
    /// When it was over.
    pub ended_at: Option<i64>,
    /// Whether somebody asked it to stop.
    pub stop_asked: bool,
    /// The kind of its failure.
    pub why: Option<String>,
    /// The words for it.
    pub words: Option<String>,
    /// The version that the registry has of what came of it.
    pub version: Option<u32>,
    /// What came of it.
    pub report: Option<TrainReport>,
}

const SELECT: &str = "SELECT t.*, a.display_name FROM trainings t JOIN accounts a ON a.id = t.account_id";

fn read(row: &Row<'_>) -> Result<Training, DbError> {
    let text = |column: &str| row.get::<_, String>(column);
    let (key, state, sources, captures) = (text("key")?, text("state")?, text("sources")?, text("captures")?);
    let foreign = |what: &str| DbError::Foreign(format!("the {what} of training {key:?}"));
    let list = |text: &str, what| serde_json::from_str::<Vec<String>>(text).map_err(|_| foreign(what));
    let captures = list(&captures, "captures")?;
    let report: Option<String> = row.get("report")?;
    Ok(Training {
        id: row.get("id")?,
        account_id: row.get("account_id")?,
        by: row.get("display_name")?,
        state: state.parse().map_err(|_| foreign("state"))?,
        asked: NewTraining {
            pipeline: row.get("pipeline")?,
            model: row.get("model")?,
            sources: list(&sources, "sources")?,
            captures: captures
                .iter()
                .map(|one| one.parse().map_err(|_| foreign("captures")))
                .collect::<Result<_, _>>()?,
            marks: u64::try_from(row.get::<_, i64>("marks")?).map_err(|_| foreign("marks"))?,
            weight: row.get("weight")?,
            on_conflict: text("on_conflict")?.parse().map_err(|_| foreign("on_conflict"))?,
            seed: row.get("seed")?,
        },
        created_at: row.get("created_at")?,
        ended_at: row.get("ended_at")?,
        stop_asked: row.get("stop_asked")?,
        why: row.get("why")?,
        words: row.get("words")?,
        version: row.get("version")?,
        report: report.as_deref().map(serde_json::from_str).transpose().map_err(|_| foreign("report"))?,
        key: key.parse().map_err(|_| foreign("key"))?,
    })
}

/// Puts a training into the queue.
///
/// # Errors
/// Where as many wait as may wait, of this account or of all, or the database fails.
pub fn create(
    connection: &mut Connection,
    account: i64,
    key: &Key,
    new: &NewTraining,
    limits: &Limits,
    actor: &Actor,
    now: i64,
) -> Result<(), Refused> {
    let transaction = connection.transaction()?;
    // It may have been shut out, or deleted, while its marks were read.
    if !people::is_let_in(&transaction, account)? {
        return Err(Reason::NotAllowed.into());
    }
    let (waiting, own): (u32, u32) = transaction.query_row(
        "SELECT count(*), count(*) FILTER (WHERE account_id = ?1) FROM trainings WHERE state = 'queued'",
        [account],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if own >= limits.waiting_of_one {
        return Err(Reason::TrainingWaitingOfOne.into());
    }
    if waiting >= limits.waiting {
        return Err(Reason::TrainingWaiting.into());
    }
    let list = |texts: Vec<&str>| serde_json::to_string(&texts).unwrap_or_default();
    transaction.execute(
        "INSERT INTO trainings (key, account_id, state, pipeline, model, sources, captures, marks, weight, on_conflict,
            seed, created_at) VALUES (?1, ?2, 'queued', ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            key.as_str(),
            account,
            new.pipeline,
            new.model,
            list(new.sources.iter().map(String::as_str).collect()),
            list(new.captures.iter().map(Sha256Hex::as_str).collect()),
            i64::try_from(new.marks).unwrap_or(i64::MAX),
            new.weight,
            new.on_conflict.to_string(),
            new.seed,
            now,
        ],
    )?;
    // What is over is forgotten, the oldest first; the models stay in the registry.
    transaction.execute(
        "DELETE FROM trainings WHERE account_id = ?1 AND state NOT IN ('queued', 'running') AND id NOT IN
            (SELECT id FROM trainings WHERE account_id = ?1 ORDER BY id DESC LIMIT ?2)",
        params![account, limits.kept],
    )?;
    let subject = format!("{}: {} marks, {}", key, new.marks, new.model);
    audit::record(&transaction, actor, Action::TrainingBegun, Some(&subject), now)?;
    transaction.commit()?;
    Ok(())
}

/// An account's trainings, or everybody's; the newest first.
///
/// # Errors
/// Where the database fails.
pub fn list(connection: &Connection, account: Option<i64>, most: u32) -> Result<Vec<Training>, DbError> {
    let mut statement = connection
        .prepare_cached(&format!("{SELECT} WHERE ?1 IS NULL OR t.account_id = ?1 ORDER BY t.id DESC LIMIT ?2"))?;
    statement.query_and_then(params![account, most], read)?.collect()
}

/// One training, of an account, or of anybody.
///
/// # Errors
/// Where the database fails.
pub fn find(connection: &Connection, account: Option<i64>, key: &str) -> Result<Option<Training>, DbError> {
    let mut statement =
        connection.prepare_cached(&format!("{SELECT} WHERE t.key = ?2 AND (?1 IS NULL OR t.account_id = ?1)"))?;
    statement.query_and_then(params![account, key], read)?.next().transpose()
}

/// Takes the next one that waits, and marks it as running.
///
/// # Errors
/// Where the database fails.
pub fn take(connection: &mut Connection, turns: &mut Turns, now: i64) -> Result<Option<Training>, DbError> {
    let transaction = connection.transaction()?;
    let oldest: Vec<(i64, i64)> = transaction
        .prepare_cached("SELECT account_id, min(id) FROM trainings WHERE state = 'queued' GROUP BY account_id")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    // One runs at a time, so nobody has more of them running than somebody else.
    let next = oldest.iter().min_by_key(|(account, id)| (turns.last(*account), *id));
    let Some((account, id)) = next else {
        turns.note(None);
        return Ok(None);
    };
    let next = transaction
        .prepare_cached(&format!("{SELECT} WHERE t.id = ?1"))?
        .query_and_then([id], read)?
        .next()
        .transpose()?;
    if let Some(next) = &next {
        transaction.execute(
            "UPDATE trainings SET state = 'running', started_at = ?2, starts = starts + 1 WHERE id = ?1",
            params![next.id, now],
        )?;
    }
    transaction.commit()?;
    turns.note(Some(*account));
    Ok(next)
}

/// How many come before this one, roughly: those that run and those that were asked for earlier.
///
/// # Errors
/// Where the database fails.
pub fn ahead(connection: &Connection, id: i64) -> Result<u32, DbError> {
    let sql = "SELECT count(*) FROM trainings WHERE state = 'running' OR (state = 'queued' AND id < ?1)";
    Ok(connection.prepare_cached(sql)?.query_row([id], |row| row.get(0))?)
}

/// Keys of those whose files are still needed.
pub(super) fn waiting_keys(connection: &Connection) -> Result<Vec<String>, DbError> {
    let mut statement = connection.prepare("SELECT key FROM trainings WHERE state IN ('queued', 'running')")?;
    Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// Puts back what was running when the portal ended; what was begun too often is set aside.
pub(super) fn restart(connection: &mut Connection, now: i64) -> Result<(), DbError> {
    let transaction = connection.transaction()?;
    transaction.execute(
        "UPDATE trainings SET state = 'failed', why = ?1, ended_at = ?2 WHERE state = 'running' AND starts >= ?3",
        params![Why::Restarts.name(), now, STARTS],
    )?;
    transaction.execute("UPDATE trainings SET state = 'queued' WHERE state = 'running'", [])?;
    transaction.commit()?;
    Ok(())
}

/// Puts one back that was ended because the portal ends: that was no start that counts.
pub(super) fn put_back(connection: &Connection, id: i64) -> Result<(), DbError> {
    connection.execute(
        "UPDATE trainings SET state = 'queued', starts = max(starts - 1, 0) WHERE id = ?1 AND state = 'running'",
        [id],
    )?;
    Ok(())
}

/// Asks for an end. One that waits is over at once; of one that runs, says its number.
///
/// # Errors
/// Where there is none of this account's, it is over, or the database fails.
pub fn ask_stop(
    connection: &mut Connection,
    account: Option<i64>,
    key: &str,
    actor: &Actor,
    now: i64,
) -> Result<Option<i64>, Refused> {
    let transaction = connection.transaction()?;
    let training = find(&transaction, account, key)?.ok_or(Reason::NotThere)?;
    let running = match training.state {
        State::Queued => {
            let sql = "UPDATE trainings SET state = 'stopped', ended_at = ?2, stop_asked = 1 WHERE id = ?1";
            transaction.execute(sql, params![training.id, now])?;
            None
        }
        State::Running => {
            transaction.execute("UPDATE trainings SET stop_asked = 1 WHERE id = ?1", [training.id])?;
            Some(training.id)
        }
        _ => return Err(Reason::State.into()),
    };
    audit::record(&transaction, actor, Action::TrainingStopped, Some(key), now)?;
    transaction.commit()?;
    Ok(running)
}

/// The trainings of an account that are not over, for whoever deletes the account: their rows go with it, the files do
/// not.
///
/// # Errors
/// Where the database fails.
pub fn unfinished_of(connection: &Connection, account: i64) -> Result<Vec<(i64, Key)>, DbError> {
    let sql = "SELECT id, key FROM trainings WHERE account_id = ?1 AND state IN ('queued', 'running')";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([account], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    let key = |(id, key): (i64, String)| {
        Ok((id, key.parse().map_err(|_| DbError::Foreign(format!("the training {key:?}")))?))
    };
    rows.map(|row| key(row?)).collect()
}

/// Whether a running one was asked to stop, or is not there any more.
pub(super) fn is_stop_asked(connection: &Connection, id: i64) -> Result<bool, DbError> {
    let sql = "SELECT stop_asked FROM trainings WHERE id = ?1";
    Ok(connection.query_row(sql, [id], |row| row.get(0)).optional()?.unwrap_or(true))
}

/// Notes what came of one: a version, or conflicts.
pub(super) fn done(
    connection: &Connection,
    id: i64,
    version: Option<u32>,
    report: &TrainReport,
    now: i64,
) -> Result<(), DbError> {
    let state = if version.is_some() { State::Done } else { State::Conflicts };
    let report = serde_json::to_string(report).map_err(|error| DbError::Foreign(error.to_string()))?;
    connection.execute(
        "UPDATE trainings SET state = ?2, version = ?3, report = ?4, ended_at = ?5, why = NULL, words = NULL
            WHERE id = ?1 AND state = 'running'",
        params![id, state.name(), version, report, now],
    )?;
    Ok(())
}

/// Notes that one has come to nothing. One that killed its worker for the first time is run once more; says whether.
pub(super) fn failed(
    connection: &Connection,
    id: i64,
    why: Why,
    words: Option<&str>,
    crashed: bool,
    now: i64,
) -> Result<bool, DbError> {
    connection.execute(
        "UPDATE trainings SET crashes = crashes + ?2,
             state = CASE WHEN ?6 THEN 'stopped' WHEN ?2 AND crashes + 1 < ?3 THEN 'queued' ELSE 'failed' END,
             ended_at = CASE WHEN ?2 AND crashes + 1 < ?3 THEN NULL ELSE ?4 END, why = ?5, words = ?7
             WHERE id = ?1 AND state = 'running'",
        params![id, crashed, CRASHES, now, why.name(), why == Why::Stopped, words],
    )?;
    let state: Option<String> =
        connection.query_row("SELECT state FROM trainings WHERE id = ?1", [id], |row| row.get(0)).optional()?;
    Ok(state.as_deref() == Some("queued"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uploads::testing::{NOW, Place, actor};

    fn new() -> NewTraining {
        NewTraining {
            pipeline: "default".into(),
            model: "default".into(),
            sources: vec!["labels".into()],
            captures: Vec::new(),
            marks: 0,
            weight: 1.0,
            on_conflict: OnConflict::Refuse,
            seed: 1,
        }
    }

    /// The next one, for whoever begins the round anew.
    fn next(connection: &mut Connection) -> Option<Training> {
        take(connection, &mut Turns::default(), NOW).unwrap()
    }

    fn ask(connection: &mut Connection, account: i64, limits: &Limits) -> Result<Key, Refused> {
        let key = Key::random().unwrap();
        create(connection, account, &key, &new(), limits, &actor(), NOW).map(|()| key)
    }

    #[test]
    fn accounts_take_turns() {
        let mut place = Place::new();
        let (ada, bob, eve) = (place.account("ada"), place.account("bob"), place.account("eve"));
        let limits = Limits { waiting_of_one: 4, ..Limits::default() };
        // One account has filled the queue before the others came.
        let ids: Vec<i64> = [ada, ada, ada, eve, bob, bob]
            .into_iter()
            .map(|account| {
                let key = ask(&mut place.connection, account, &limits).unwrap();
                find(&place.connection, None, key.as_str()).unwrap().unwrap().id
            })
            .collect();
        let mut turns = Turns::default();
        let mut taken = |place: &mut Place, most: usize| -> Vec<i64> {
            let next = |_| take(&mut place.connection, &mut turns, NOW).unwrap();
            (0..most).map_while(next).map(|training| training.id).collect()
        };
        assert_eq!(taken(&mut place, 4), [ids[0], ids[3], ids[4], ids[1]]);
        // It asked earlier for the one that is left, and yet it is the other's turn.
        assert_eq!(taken(&mut place, 2), [ids[5], ids[2]]);
        // Where nobody waits the round begins anew, and nothing is kept of it.
        assert!(taken(&mut place, 1).is_empty());
        assert_eq!([ada, bob].map(|account| turns.last(account)), [0, 0], "a new round");
    }

    #[test]
    fn one_account_does_not_fill_the_queue() {
        let mut place = Place::new();
        let (ada, bob) = (place.account("ada"), place.account("bob"));
        let limits = Limits { waiting: 3, waiting_of_one: 2, ..Limits::default() };
        let first = ask(&mut place.connection, ada, &limits).unwrap();
        ask(&mut place.connection, ada, &limits).unwrap();
        let refused = |connection: &mut Connection, account: i64, why: Reason| {
            assert!(matches!(ask(connection, account, &limits), Err(Refused::Because(reason)) if reason == why));
        };
        refused(&mut place.connection, ada, Reason::TrainingWaitingOfOne);
        ask(&mut place.connection, bob, &limits).unwrap();
        refused(&mut place.connection, bob, Reason::TrainingWaiting);
        // One that runs waits no more.
        assert_eq!(next(&mut place.connection).unwrap().key, first);
        ask(&mut place.connection, ada, &limits).unwrap();
        refused(&mut place.connection, ada, Reason::TrainingWaitingOfOne);
    }

    #[test]
    fn they_are_run_again_and_the_queue_has_an_end() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let limits = Limits { waiting: 2, waiting_of_one: 3, kept: 1, ..Limits::default() };
        let ask = |connection: &mut Connection| ask(connection, ada, &limits);
        let (one, two) = (ask(&mut place.connection).unwrap(), ask(&mut place.connection).unwrap());
        assert!(matches!(ask(&mut place.connection), Err(Refused::Because(Reason::TrainingWaiting))));
        let first = next(&mut place.connection).unwrap();
        assert_eq!((&first.key, first.asked.sources.as_slice()), (&one, &["labels".to_owned()][..]));
        let second = find(&place.connection, Some(ada), two.as_str()).unwrap().unwrap();
        assert_eq!(ahead(&place.connection, second.id).unwrap(), 1);
        // A restart runs it again, but not for ever.
        for _ in 1..STARTS {
            restart(&mut place.connection, NOW).unwrap();
            assert_eq!(next(&mut place.connection).unwrap().key, one);
        }
        restart(&mut place.connection, NOW).unwrap();
        let over = find(&place.connection, Some(ada), one.as_str()).unwrap().unwrap();
        assert_eq!((over.state, over.why.as_deref()), (State::Failed, Some("restarts")));
        // Nobody else's.
        assert!(find(&place.connection, Some(ada + 1), one.as_str()).unwrap().is_none());
        assert!(find(&place.connection, None, one.as_str()).unwrap().is_some());
        // Who kills two workers is set aside.
        let id = next(&mut place.connection).unwrap().id;
        assert!(failed(&place.connection, id, Why::Crashed, Some("signal"), true, NOW).unwrap());
        let id = next(&mut place.connection).unwrap().id;
        assert!(!failed(&place.connection, id, Why::Crashed, Some("signal"), true, NOW).unwrap());
        // What is over is forgotten, but for the newest.
        let three = ask(&mut place.connection).unwrap();
        let left: Vec<Key> = list(&place.connection, Some(ada), 9).unwrap().into_iter().map(|it| it.key).collect();
        assert_eq!(left, std::slice::from_ref(&three));
        assert_eq!(ask_stop(&mut place.connection, Some(ada), three.as_str(), &actor(), NOW).unwrap(), None);
        assert_eq!(find(&place.connection, None, three.as_str()).unwrap().unwrap().state, State::Stopped);
        assert!(ask_stop(&mut place.connection, Some(ada), three.as_str(), &actor(), NOW).is_err());
        for action in ["training-begun", "training-stopped"] {
            assert!(place.actions().iter().any(|known| known == action), "{action}");
        }
    }

    #[test]
    fn what_came_of_one_is_read_again() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let key = Key::random().unwrap();
        create(&mut place.connection, ada, &key, &new(), &Limits::default(), &actor(), NOW).unwrap();
        let id = next(&mut place.connection).unwrap().id;
        let report = TrainReport { captures: 7, ..TrainReport::default() };
        done(&place.connection, id, Some(3), &report, NOW).unwrap();
        let found = find(&place.connection, Some(ada), key.as_str()).unwrap().unwrap();
        assert_eq!((found.state, found.version, found.report), (State::Done, Some(3), Some(report)));
    }
}
