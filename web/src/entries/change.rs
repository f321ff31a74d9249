//! What people do with an entry: its owner, and those of its team who may.
//!
//! The states `running`, `done` and the failures of workers are written by whoever runs the workers; here is what
//! people ask for.

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::{Entry, MAX_NOTE, May, State, WHY_CAPTURE_MISSING, WHY_STOPPED, categories, need, share, workable};
use crate::accounts::audit::{self, Action};
use crate::accounts::{Actor, Reason, Refused, shown_text_of};
use crate::config::Limits;
use crate::database::DbError;
use crate::pipelines;
use crate::uploads::store::one_more_entry;
use crate::uploads::{Key, Sha256Hex, goes_beyond};

/// What an owner chooses before the analysis.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// The name of the pipeline.
    pub pipeline: String,
    /// Packets after which the analysis stops; all where there is none.
    pub packet_limit: Option<u64>,
    /// What the owner says of it; may be empty.
    pub note: String,
    /// What it is sorted into.
    pub category: Option<i64>,
    /// Whom its owner shares it with, or that nobody sees it; as it is where nothing is said.
    pub team: Option<Option<i64>>,
}

/// What a choice is held to.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<'a> {
    /// The names of the pipelines that can be chosen.
    pub pipelines: &'a [&'a str],
    /// Entries of one account that may wait at the same time.
    pub waiting: u32,
    /// Bytes that an account may keep which has no quota of its own.
    pub quota_bytes: u64,
}

/// What stopping an entry came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It had not begun, and has failed.
    AtOnce,
    /// It runs: whoever holds the worker of this entry must ask it to end.
    Running {
        /// The entry's number.
        id: i64,
    },
}

/// What is left to do for an entry that was deleted: its rows are gone. Where it ran, end its worker; then give this to
/// [`crate::uploads::remove`], which removes the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The number that the entry had.
    pub id: i64,
    /// Its key.
    pub key: Key,
    /// Its capture, which other entries may still name.
    pub sha256: Sha256Hex,
}

/// Whether a text may be an entry's note.
pub fn is_note(text: &str) -> bool {
    shown_text_of(text, MAX_NOTE).is_some()
}

/// Begins a change: nobody else changes anything until it is committed.
pub(crate) fn begin(connection: &mut Connection) -> Result<Transaction<'_>, DbError> {
    Ok(connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
}

/// Confirms an unconfirmed entry, inside the caller's transaction: it waits for a worker from now on. Without a team in the
/// choices, nothing is changed where it is refused.
///
/// # Errors
/// Where the entry is not there, may not be worked with or is in another state, a choice is none that was offered, too many of the
/// account's entries wait, or the database fails.
pub fn confirm(
    transaction: &Connection,
    account: i64,
    key: &str,
    choices: &Choices,
    bounds: Bounds<'_>,
    actor: &Actor,
    now: i64,
) -> Result<(), Refused> {
    let entry = workable(transaction, account, key)?;
    if entry.state != State::Unconfirmed {
        return Err(Reason::State.into());
    }
    if !bounds.pipelines.contains(&choices.pipeline.as_str()) {
        return Err(Reason::Pipeline.into());
    }
    let packets = choices.packet_limit.map(i64::try_from).transpose().map_err(|_| Reason::PacketLimit)?;
    if packets == Some(0) {
        return Err(Reason::PacketLimit.into());
    }
    let note = shown_text_of(&choices.note, MAX_NOTE).ok_or(Reason::Note)?;
    categories::check(transaction, choices.category, entry.category_id)?;
    let waiting: u32 = transaction.query_row(
        "SELECT count(*) FROM entries WHERE account_id = ?1 AND state = 'queued'",
        [entry.account_id],
        |row| row.get(0),
    )?;
    if waiting >= bounds.waiting {
        return Err(Reason::Waiting.into());
    }
    if goes_beyond(transaction, entry.account_id, 0, bounds.quota_bytes)? {
        return Err(Reason::QuotaFull.into());
    }
    let version = pipelines::store::newest(transaction, &choices.pipeline)?;
    transaction.execute(
        "UPDATE entries SET state = 'queued', pipeline = ?2, packet_limit = ?3, note = ?4, category_id = ?5,
            confirmed_at = ?6, pipeline_version = ?7 WHERE id = ?1",
        params![entry.id, choices.pipeline, packets, note, choices.category, now, version],
    )?;
    if let Some(team) = choices.team {
        if entry.may < May::Own {
            return Err(Reason::NotAllowed.into());
        }
        share::share_with(transaction, &entry, team, actor, now)?;
    }
    audit::record(transaction, actor, Action::Confirmed, Some(key), now)?;
    Ok(())
}

/// What to change of how an entry is described; what is none stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// What its owner says of it; may be empty.
    pub note: Option<String>,
    /// The category to sort it into, or out of any. A retired one is kept, and cannot be chosen anew.
    pub category: Option<Option<i64>>,
    /// The team to share it with, or none to take it back.
    pub team: Option<Option<i64>>,
    /// Note and category as whoever changes them saw them: what is left as it was seen stays as it is by now.
    pub seen: Option<(String, Option<i64>)>,
}

impl Description {
    /// What is to be written instead of `current`: nothing where it was left as it was seen.
    fn wanted<T: PartialEq>(wanted: Option<T>, seen: Option<&T>, current: &T) -> Result<Option<T>, Reason> {
        let wanted = wanted.filter(|wanted| seen != Some(wanted) && wanted != current);
        match (wanted, seen) {
            (Some(_), Some(seen)) if seen != current => Err(Reason::NoteStale),
            (wanted, _) => Ok(wanted),
        }
    }
}

/// Describes an entry and shares it: all of it, or nothing.
///
/// # Errors
/// Where the note is too long or steers, there is no such category to choose, somebody else has changed what was seen of
/// them, the entry cannot be shared, it is not there or the account may do less with it than this asks for, or the database fails.
pub fn describe(
    connection: &mut Connection,
    account: i64,
    key: &str,
    description: &Description,
    actor: &Actor,
    now: i64,
) -> Result<(), Refused> {
    let transaction = begin(connection)?;
    let least = match description.team {
        Some(Some(_)) => May::Own,
        Some(None) => May::Lead,
        None => May::Work,
    };
    let entry = need(&transaction, account, key, least)?;
    let note = description.note.as_deref().map(|note| shown_text_of(note, MAX_NOTE).ok_or(Reason::Note)).transpose()?;
    let (seen_note, seen_category) = description.seen.as_ref().map(|(note, category)| (note, category)).unzip();
    let note = Description::wanted(note, seen_note, &entry.note)?.unwrap_or_else(|| entry.note.clone());
    let category = Description::wanted(description.category, seen_category, &entry.category_id)?;
    let category = category.unwrap_or(entry.category_id);
    if (&note, category) != (&entry.note, entry.category_id) {
        categories::check(&transaction, category, entry.category_id)?;
        transaction.execute(
            "UPDATE entries SET note = ?2, category_id = ?3 WHERE id = ?1",
            params![entry.id, note, category],
        )?;
        audit::record(&transaction, actor, Action::Described, Some(key), now)?;
    }
    if let Some(team) = description.team {
        share::share_with(&transaction, &entry, team, actor, now)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Asks for the end of an analysis. One that waits fails at once; of one that runs, the worker must be asked.
///
/// # Errors
/// Where the entry neither waits nor runs, is not there or may not be worked with, or the database fails.
pub fn ask_stop(
    connection: &mut Connection,
    account: i64,
    key: &str,
    actor: &Actor,
    now: i64,
) -> Result<Stop, Refused> {
    let transaction = begin(connection)?;
    let Entry { id, state, stop_asked, .. } = workable(&transaction, account, key)?;
    let stop = match state {
        State::Queued => {
            transaction.execute(
                "UPDATE entries SET state = 'failed', stop_asked = 1, why = ?2, words = NULL, ended_at = ?3
                    WHERE id = ?1",
                params![id, WHY_STOPPED, now],
            )?;
            Stop::AtOnce
        }
        State::Running => {
            transaction.execute("UPDATE entries SET stop_asked = 1 WHERE id = ?1", [id])?;
            Stop::Running { id }
        }
        State::Unconfirmed | State::Done | State::Failed => return Err(Reason::State.into()),
    };
    // Asking twice is one stop.
    if !stop_asked {
        audit::record(&transaction, actor, Action::Stopped, Some(key), now)?;
    }
    transaction.commit()?;
    Ok(stop)
}

/// Deletes an entry in any state, with its marks. Its files are left to the caller, who ends its worker first.
///
/// # Errors
/// Where the entry is not there or may not be deleted, or the database fails.
pub fn delete(
    connection: &mut Connection,
    account: i64,
    key: &str,
    actor: &Actor,
    now: i64,
) -> Result<Deleted, Refused> {
    let transaction = begin(connection)?;
    let Entry { id, key, sha256, .. } = need(&transaction, account, key, May::Lead)?;
    remove_rows(&transaction, id, &sha256)?;
    audit::record(&transaction, actor, Action::Deleted, Some(key.as_str()), now)?;
    transaction.commit()?;
    Ok(Deleted { id, key, sha256 })
}

/// Deletes what the database has of an entry, inside the caller's transaction.
pub(crate) fn remove_rows(connection: &Connection, id: i64, sha256: &Sha256Hex) -> Result<(), DbError> {
    // Its name may be what is to be forgotten: nobody is told of it any more, and no answer of before repeats it.
    for of_it in [
        "deliveries WHERE entry = (SELECT key FROM entries WHERE id = ?1)",
        "answers WHERE location IN (SELECT key FROM entries WHERE id = ?1 UNION ALL
            SELECT u.key FROM uploads u JOIN entries e ON e.key = u.entry WHERE e.id = ?1)",
        "uploads WHERE entry = (SELECT key FROM entries WHERE id = ?1)",
    ] {
        connection.execute(&format!("DELETE FROM {of_it}"), [id])?;
    }
    connection.execute("DELETE FROM entries WHERE id = ?1", [id])?;
    connection.execute(
        "DELETE FROM captures WHERE sha256 = ?1 AND NOT EXISTS (SELECT 1 FROM entries WHERE sha256 = ?1)",
        [sha256.as_str()],
    )?;
    Ok(())
}

/// Makes a new entry of the same capture, with the same owner, team, name, note and category, to be confirmed. `noted` is
/// told its key, in the transaction that makes it.
///
/// # Errors
/// Where the entry is itself unconfirmed or its capture is gone, it is not there or may not be worked with, there are as many entries
/// as there may be, or the database fails.
pub fn analyse_again(
    connection: &mut Connection,
    account: i64,
    key: &str,
    limits: &Limits,
    actor: &Actor,
    now: i64,
    noted: impl FnOnce(&Connection, &Key) -> Result<(), Refused>,
) -> Result<Key, Refused> {
    let new = Key::random().map_err(DbError::from)?;
    let transaction = begin(connection)?;
    let entry = workable(&transaction, account, key)?;
    if entry.capture_gone_at.is_some() {
        return Err(Reason::CaptureGone.into());
    }
    if entry.state == State::Unconfirmed || entry.why.as_deref() == Some(WHY_CAPTURE_MISSING) {
        return Err(Reason::State.into());
    }
    // What others ask for leaves its owner a tenth of their entries.
    one_more_entry(&transaction, entry.account_id, entry.share_of(limits.entries))?;
    // What comes of it counts, too.
    if goes_beyond(&transaction, entry.account_id, 1, limits.quota_bytes)? {
        return Err(Reason::QuotaFull.into());
    }
    transaction.execute(
        "INSERT INTO entries (key, account_id, team_id, sha256, name, note, category_id, created_at, inspection, state)
            SELECT ?2, account_id, team_id, sha256, name, note, category_id, ?3, inspection, 'unconfirmed' FROM entries
            WHERE id = ?1",
        params![entry.id, new.as_str(), now],
    )?;
    audit::record(&transaction, actor, Action::Again, Some(new.as_str()), now)?;
    noted(&transaction, &new)?;
    transaction.commit()?;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entries::marks::tests::{BOUNDS as MARK_BOUNDS, one};
    use crate::entries::{FlowFacts, find, mark, of_entry, owned};
    use crate::uploads::testing::{NOW, Place, actor};

    const BOUNDS: Bounds<'_> = Bounds { pipelines: &["default", "thorough"], waiting: 2, quota_bytes: u64::MAX };

    fn choices() -> Choices {
        let pipeline = "thorough".to_owned();
        Choices { pipeline, packet_limit: Some(5), note: " why ".to_owned(), category: Some(1), team: None }
    }

    fn confirm_it(place: &mut Place, account: i64, key: &Key, choices: &Choices) -> Result<(), Refused> {
        let transaction = begin(&mut place.connection)?;
        confirm(&transaction, account, key.as_str(), choices, BOUNDS, &actor(), NOW + 5)?;
        Ok(transaction.commit()?)
    }

    fn entry(place: &Place, account: i64, key: &Key) -> Entry {
        find(&place.connection, account, key.as_str()).unwrap().unwrap()
    }

    fn because<T: std::fmt::Debug>(result: Result<T, Refused>) -> Reason {
        match result {
            Err(Refused::Because(reason)) => reason,
            other => panic!("not refused: {other:?}"),
        }
    }

    fn noted(note: &str) -> Description {
        Description { note: Some(note.to_owned()), ..Description::default() }
    }

    fn sorted(category: Option<i64>) -> Description {
        Description { category: Some(category), ..Description::default() }
    }

    #[test]
    fn a_description_is_taken_whole_or_not_at_all() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let key = place.keep(ada, b"a capture");
        let both = Description { note: Some("new".to_owned()), category: Some(Some(999)), ..Description::default() };
        assert!(describe(&mut place.connection, ada, key.as_str(), &both, &actor(), NOW).is_err());
        assert_eq!(owned(&place.connection, ada, key.as_str()).unwrap().note, "");
        let both = Description { category: Some(Some(1)), ..both };
        describe(&mut place.connection, ada, key.as_str(), &both, &actor(), NOW).unwrap();
        let entry = owned(&place.connection, ada, key.as_str()).unwrap();
        assert_eq!((entry.note.as_str(), entry.category_id), ("new", Some(1)));
    }

    #[test]
    fn a_confirmed_entry_waits_with_what_was_chosen() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let key = place.keep(ada, b"x");
        confirm_it(&mut place, ada, &key, &choices()).unwrap();
        let entry = entry(&place, ada, &key);
        assert_eq!((entry.state, entry.confirmed_at), (State::Queued, Some(NOW + 5)));
        assert_eq!((entry.pipeline.as_deref(), entry.packet_limit), (Some("thorough"), Some(5)));
        assert_eq!((entry.note.as_str(), entry.category.as_deref()), ("why", Some("Incident")));
        assert_eq!(because(confirm_it(&mut place, ada, &key, &choices())), Reason::State);
        assert_eq!(place.actions().iter().filter(|action| *action == "confirmed").count(), 1);
    }

    #[test]
    fn a_choice_that_was_not_offered_changes_nothing() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let key = place.keep(ada, b"x");
        place.connection.execute("UPDATE categories SET retired = 1 WHERE id = 2", []).unwrap();
        let before = entry(&place, ada, &key);
        let cases = [
            (Choices { pipeline: "../evil".to_owned(), ..choices() }, Reason::Pipeline),
            (Choices { pipeline: String::new(), ..choices() }, Reason::Pipeline),
            (Choices { packet_limit: Some(0), ..choices() }, Reason::PacketLimit),
            (Choices { packet_limit: Some(u64::MAX), ..choices() }, Reason::PacketLimit),
            (Choices { note: "x".repeat(MAX_NOTE + 1), ..choices() }, Reason::Note),
            (Choices { note: "a\u{202e}b".to_owned(), ..choices() }, Reason::Note),
            (Choices { category: Some(2), ..choices() }, Reason::Category),
            (Choices { category: Some(99), ..choices() }, Reason::Category),
        ];
        for (choices, reason) in cases {
            assert_eq!(because(confirm_it(&mut place, ada, &key, &choices)), reason);
        }
        assert_eq!(entry(&place, ada, &key), before);
        let plain = Choices { packet_limit: None, note: String::new(), category: None, ..choices() };
        confirm_it(&mut place, ada, &key, &plain).unwrap();
    }

    #[test]
    fn only_so_many_of_one_account_wait() {
        let mut place = Place::new();
        let (ada, bob) = (place.account("ada"), place.account("bob"));
        let keys = [b"1", b"2", b"3"].map(|bytes| place.keep(ada, bytes));
        let others = place.keep(bob, b"4");
        confirm_it(&mut place, ada, &keys[0], &choices()).unwrap();
        confirm_it(&mut place, ada, &keys[1], &choices()).unwrap();
        assert_eq!(because(confirm_it(&mut place, ada, &keys[2], &choices())), Reason::Waiting);
        confirm_it(&mut place, bob, &others, &choices()).unwrap();
        place.set(&keys[0], "state = 'running'");
        confirm_it(&mut place, ada, &keys[2], &choices()).unwrap();
    }

    #[test]
    fn one_that_waits_stops_at_once_and_one_that_runs_is_asked() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let key = place.keep(ada, b"x");
        let stop = |place: &mut Place| ask_stop(&mut place.connection, ada, key.as_str(), &actor(), NOW + 9);
        assert_eq!(because(stop(&mut place)), Reason::State);
        confirm_it(&mut place, ada, &key, &choices()).unwrap();
        assert_eq!(stop(&mut place).unwrap(), Stop::AtOnce);
        let stopped = entry(&place, ada, &key);
        assert_eq!((stopped.state, stopped.why.as_deref()), (State::Failed, Some(WHY_STOPPED)));
        assert_eq!((stopped.ended_at, stopped.stop_asked), (Some(NOW + 9), true));
        assert_eq!(because(stop(&mut place)), Reason::State);

        place.set(&key, "state = 'running', stop_asked = 0, why = NULL, ended_at = NULL");
        for _ in 0..2 {
            assert_eq!(stop(&mut place).unwrap(), Stop::Running { id: stopped.id });
        }
        let asked = entry(&place, ada, &key);
        assert_eq!((asked.state, asked.stop_asked, asked.ended_at), (State::Running, true, None));
        assert_eq!(place.actions().iter().filter(|action| *action == "stopped").count(), 2);
    }

    #[test]
    fn a_deleted_entry_takes_its_marks_and_leaves_what_others_have() {
        let mut place = Place::new();
        let (ada, bob) = (place.account("ada"), place.account("bob"));
        let (mine, others) = (place.keep(ada, b"x"), place.keep(bob, b"x"));
        let again = place.keep(ada, b"y");
        place.done(&mine);
        let flow = FlowFacts {
            flow_id: 1,
            first_ns: 1,
            client: [192, 0, 2, 1].into(),
            client_port: 1,
            server: [192, 0, 2, 2].into(),
            server_port: 443,
            sni: None,
        };
        let new = one(&flow, true, "beacon");
        mark(&mut place.connection, ada, mine.as_str(), &new, MARK_BOUNDS, &actor(), NOW).unwrap();
        let done = entry(&place, ada, &mine);
        let deleted = delete(&mut place.connection, ada, mine.as_str(), &actor(), NOW).unwrap();
        assert_eq!(deleted, Deleted { id: done.id, key: mine.clone(), sha256: done.sha256 });
        assert_eq!(place.number("SELECT count(*) FROM marks"), 0);
        assert_eq!(place.number("SELECT count(*) FROM captures"), 2);
        assert_eq!(because(delete(&mut place.connection, ada, mine.as_str(), &actor(), NOW)), Reason::NotThere);
        assert_eq!(entry(&place, bob, &others).state, State::Unconfirmed);
        place.set(&again, "state = 'running'");
        delete(&mut place.connection, ada, again.as_str(), &actor(), NOW).unwrap();
        assert_eq!(place.number("SELECT count(*) FROM captures"), 1);
        // The log still tells of it.
        assert_eq!(place.actions().iter().filter(|action| *action == "deleted").count(), 2);
    }

    #[test]
    fn the_same_capture_can_be_analysed_again() {
        let mut place = Place::new();
        place.limits.entries = 2;
        let ada = place.account("ada");
        let key = place.keep(ada, b"x");
        let again = |place: &mut Place| {
            analyse_again(&mut place.connection, ada, key.as_str(), &place.limits, &actor(), NOW + 1, |_, _| Ok(()))
        };
        assert_eq!(because(again(&mut place)), Reason::State);
        confirm_it(&mut place, ada, &key, &choices()).unwrap();
        place.done(&key);
        let new = again(&mut place).unwrap();
        let (old, new) = (entry(&place, ada, &key), entry(&place, ada, &new));
        assert_eq!((new.state, new.pipeline, new.confirmed_at), (State::Unconfirmed, None, None));
        assert_eq!((new.created_at, new.analysed), (NOW + 1, None));
        assert_eq!(
            (new.sha256, new.name, new.note, new.category_id, new.inspection),
            (old.sha256, old.name, old.note, old.category_id, old.inspection)
        );
        assert_eq!(because(again(&mut place)), Reason::TooManyEntries);
        place.limits.entries = 9;
        place.set(&key, &format!("state = 'failed', why = '{WHY_CAPTURE_MISSING}'"));
        assert_eq!(because(again(&mut place)), Reason::State);
    }

    #[test]
    fn others_leave_an_owner_a_tenth_of_their_entries() {
        use crate::accounts::teams::{Standing, add, set_member};
        use crate::entries::share;
        let mut place = Place::new();
        place.limits.entries = 10;
        let (ada, bob) = (place.account("ada"), place.account("bob"));
        let key = place.keep(ada, b"x");
        place.done(&key);
        let blue = add(&mut place.connection, "Blue", &actor(), NOW).unwrap();
        set_member(&mut place.connection, blue, ada, Standing::Leads, &actor(), NOW).unwrap();
        set_member(&mut place.connection, blue, bob, Standing::Works, &actor(), NOW).unwrap();
        share(&mut place.connection, ada, key.as_str(), blue, &actor(), NOW).unwrap();
        let again = |place: &mut Place, who: i64| {
            analyse_again(&mut place.connection, who, key.as_str(), &place.limits, &actor(), NOW, |_, _| Ok(()))
        };
        for _ in 0..8 {
            again(&mut place, bob).unwrap();
        }
        assert_eq!(because(again(&mut place, bob)), Reason::TooManyEntries);
        again(&mut place, ada).unwrap();
        assert_eq!(because(again(&mut place, ada)), Reason::TooManyEntries);
    }

    #[test]
    fn notes_and_categories_change() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let key = place.keep(ada, b"x");
        let note = |place: &mut Place, text: &str| {
            describe(&mut place.connection, ada, key.as_str(), &noted(text), &actor(), NOW)
        };
        let category =
            |place: &mut Place, id| describe(&mut place.connection, ada, key.as_str(), &sorted(id), &actor(), NOW);
        note(&mut place, " <b>seen</b> ").unwrap();
        note(&mut place, "<b>seen</b>").unwrap();
        assert_eq!(because(note(&mut place, "two\nlines")), Reason::Note);
        category(&mut place, Some(2)).unwrap();
        place.connection.execute("UPDATE categories SET retired = 1", []).unwrap();
        category(&mut place, Some(2)).unwrap();
        assert_eq!(because(category(&mut place, Some(1))), Reason::Category);
        let now = entry(&place, ada, &key);
        assert_eq!((now.note.as_str(), now.category.as_deref()), ("<b>seen</b>", Some("Malware sample")));
        category(&mut place, None).unwrap();
        note(&mut place, "").unwrap();
        let now = entry(&place, ada, &key);
        assert_eq!((now.note.as_str(), now.category), ("", None));
        // What changed nothing is not logged.
        assert_eq!(place.actions().iter().filter(|action| *action == "described").count(), 4);
    }

    #[test]
    fn nobody_changes_what_is_another_s() {
        let mut place = Place::new();
        let (admin, bob) = (place.account("admin"), place.account("bob"));
        for state in State::ALL {
            let key = place.keep(bob, state.name().as_bytes());
            place.set(&key, &format!("state = '{state}'"));
            let (before, log, limits) = (entry(&place, bob, &key), place.actions(), place.limits.clone());
            let connection = &mut place.connection;
            let (key, by) = (key.as_str(), &actor());
            let flow = FlowFacts {
                flow_id: 1,
                first_ns: 1,
                client: [192, 0, 2, 1].into(),
                client_port: 1,
                server: [192, 0, 2, 2].into(),
                server_port: 443,
                sni: None,
            };
            let new = one(&flow, true, "beacon");
            for refused in [
                because(confirm(connection, admin, key, &choices(), BOUNDS, by, NOW)),
                because(describe(connection, admin, key, &noted("mine"), by, NOW)),
                because(describe(connection, admin, key, &sorted(Some(1)), by, NOW)),
                because(ask_stop(connection, admin, key, by, NOW)),
                because(delete(connection, admin, key, by, NOW)),
                because(analyse_again(connection, admin, key, &limits, by, NOW, |_, _| Ok(()))),
                because(mark(connection, admin, key, &new, MARK_BOUNDS, by, NOW)),
            ] {
                assert_eq!(refused, Reason::NotThere, "{state}");
            }
            let after = find(&place.connection, bob, key).unwrap().unwrap();
            assert_eq!((&after, place.actions()), (&before, log));
            assert!(of_entry(&place.connection, &after).unwrap().is_empty());
        }
    }
}
