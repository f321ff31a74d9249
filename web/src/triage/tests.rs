//! The queue, what is decided in it, and what is said.

use veilwatch::learn::{Feedback, OnConflict};

use super::change::{Change, Several, change, history, several};
use super::collect::{Found, pending, store};
use super::queue::{From, Given, Missing, Query, counts, find, list, missing, neighbours};
use super::*;
use crate::accounts::Refused;
use crate::uploads::Key;
use crate::uploads::testing::{NOW, Place, actor};

const KEPT: u32 = 3;

/// An entry that is done, with these conversations.
fn entry(place: &mut Place, account: i64, bytes: &[u8], found: &Found) -> Key {
    let key = place.keep(account, bytes);
    place.done(&key);
    collect(place, &key, Some(found));
    key
}

fn collect(place: &mut Place, key: &Key, found: Option<&Found>) {
    let id = place.number(&format!("SELECT id FROM entries WHERE key = '{key}'"));
    let transaction = place.connection.transaction().unwrap();
    store(&transaction, id, found, NOW + id).unwrap();
    transaction.commit().unwrap();
}

fn all(place: &Place, account: i64, query: &Query) -> Vec<Item> {
    let page = list(&place.connection, account, query, From::Begin, 200).unwrap();
    assert!(page.before.is_none() && page.after.is_none());
    page.items
}

/// Servers and names of items, in order.
fn names(items: &[Item]) -> Vec<String> {
    let name = |item: &Item| {
        let conversation = item.conversation.as_ref().unwrap();
        format!("{} {}", conversation.server.rsplit('.').next().unwrap(), conversation.name).trim().to_owned()
    };
    items.iter().map(name).collect()
}

fn because<T: std::fmt::Debug>(result: Result<T, Refused>) -> Reason {
    match result {
        Err(Refused::Because(reason)) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

fn becomes(state: State) -> Change {
    Change { state: Some(state), ..Change::default() }
}

/// Changes an item as this account; it saw this version.
fn decide(place: &mut Place, account: i64, item: (i64, i64), new: &Change) -> Result<(), Refused> {
    let actor = actor();
    change(&mut place.connection, Doer { account, by: "Ada", actor: &actor }, item, new, KEPT, NOW + 9)
}

fn seen(place: &Place, account: i64, id: i64) -> Item {
    find(&place.connection, account, id).unwrap()
}

#[test]
fn the_order_is_as_it_is_told() {
    let mut place = Place::new();
    let ada = place.account("ada");
    let found = [
        (1, "low", "malicious", 0.61, 0.0),
        (2, "high", "malicious", 0.95, 0.0),
        (3, "teaches", "malicious", 0.62, 0.7),
        (4, "odd", "suspicious", 0.99, 0.9),
        (5, "asks", "benign", 0.3, 0.9),
    ];
    entry(&mut place, ada, b"one", &Found::of(&found, 0));
    entry(&mut place, ada, b"two", &Found::of(&[(6, "later", "malicious", 0.65, 0.0)], 0));
    let query = Query::default();
    let items = all(&place, ada, &query);
    assert_eq!(names(&items), ["2 high", "3 teaches", "1 low", "6 later", "4 odd", "5 asks"]);
    // What somebody has taken comes after what nobody has.
    let low = &items[2];
    decide(&mut place, ada, (low.id, 1), &Change { assignee: Some(Some(ada)), ..Change::default() }).unwrap();
    assert_eq!(names(&all(&place, ada, &query))[2..4], ["6 later", "1 low"]);
    // The entries have the place of their worst.
    let entries = all(&place, ada, &Query { kind: Kind::Entry, ..Query::default() });
    let scores: Vec<_> = entries.iter().map(|item| (item.score, item.flows, item.conversation.is_some())).collect();
    assert_eq!(scores, [(Some(0.95), 10, false), (Some(0.65), 2, false)]);
}

#[test]
fn pages_are_whole_whatever_changes_meanwhile() {
    let mut place = Place::new();
    let ada = place.account("ada");
    let found: Vec<_> = (1..=7).map(|n| (n, "", "malicious", 0.9, 0.0)).collect();
    entry(&mut place, ada, b"one", &Found::of(&found, 0));
    let query = Query { states: State::OPEN.to_vec(), ..Query::default() };
    let page = |place: &Place, from| list(&place.connection, ada, &query, from, 3).unwrap();
    let first = page(&place, From::Begin);
    assert_eq!((names(&first.items), first.before), (["1", "2", "3"].map(str::to_owned).to_vec(), None));
    let second = page(&place, From::After(first.after.unwrap()));
    assert_eq!(names(&second.items), ["4", "5", "6"]);
    // What goes out of the first page shifts nothing out of the second.
    decide(&mut place, ada, (first.items[1].id, 1), &becomes(State::Dismissed)).unwrap();
    assert_eq!(names(&page(&place, From::After(first.after.unwrap())).items), ["4", "5", "6"]);
    let last = page(&place, From::After(second.after.unwrap()));
    assert_eq!((names(&last.items), last.after), (vec!["7".to_owned()], None));
    let back = page(&place, From::Before(last.before.unwrap()));
    assert_eq!((names(&back.items), back.after.is_some()), (["4", "5", "6"].map(str::to_owned).to_vec(), true));
    assert_eq!(names(&page(&place, From::Before(back.before.unwrap())).items), ["1", "3"]);
    // From within an item, too, whether or not it is still in the list.
    let beside = |id: i64| neighbours(&place.connection, ada, &query, &seen(&place, ada, id)).unwrap();
    let ids: Vec<i64> = first.items.iter().map(|item| item.id).collect();
    assert_eq!(beside(ids[0]), [None, Some(ids[2])]);
    assert_eq!(beside(ids[1]), [Some(ids[0]), Some(ids[2])]);
    for text in ["", "1", "1.2.3", "1.0.1.1.1", "x.0.1.1", "1.0.1.99999999999999999999"] {
        assert!(text.parse::<queue::Cursor>().is_err(), "{text}");
    }
    let cursor = first.after.unwrap();
    assert_eq!(cursor.to_string().parse(), Ok(cursor));
}

#[test]
fn filters_narrow_and_counts_tell_all_states() {
    let mut place = Place::new();
    let (ada, bob) = (place.account("ada"), place.account("bob"));
    let one = entry(
        &mut place,
        ada,
        b"one",
        &Found::of(&[(1, "", "malicious", 0.9, 0.0), (2, "", "suspicious", 0.5, 0.0)], 4),
    );
    let two = entry(&mut place, ada, b"two", &Found::of(&[(3, "", "malicious", 0.9, 0.0)], 3));
    entry(&mut place, bob, b"one", &Found::of(&[(9, "", "malicious", 0.9, 0.0)], 0));
    place.set(&two, "category_id = 2");
    place.connection.execute("UPDATE items SET category = 'c2-direct' WHERE server LIKE '%.2'", []).unwrap();
    let first = all(&place, ada, &Query::default())[0].clone();
    let take = Change { state: Some(State::Confirmed), assignee: Some(Some(ada)), words: "mine".to_owned() };
    decide(&mut place, ada, (first.id, 1), &take).unwrap();
    let by = |query: Query| names(&all(&place, ada, &query));
    assert_eq!(by(Query::default()), ["3", "1", "2"]);
    assert_eq!(by(Query { states: vec![State::New], ..Query::default() }), ["3", "2"]);
    assert_eq!(by(Query { given: Some(Given::To(ada)), ..Query::default() }), ["1"]);
    assert_eq!(by(Query { given: Some(Given::Nobody), ..Query::default() }), ["3", "2"]);
    assert_eq!(by(Query { entry: Some(one.to_string()), ..Query::default() }), ["1", "2"]);
    assert_eq!(by(Query { category: Some(2), ..Query::default() }), ["3"]);
    assert_eq!(by(Query { purpose: Some("c2-direct".to_owned()), ..Query::default() }), ["2"]);
    let counted = |query: &Query| -> Vec<u64> {
        counts(&place.connection, ada, query).unwrap().into_iter().map(|(_, count)| count).collect()
    };
    assert_eq!(counted(&Query { states: vec![State::Closed], ..Query::default() }), [2, 0, 1, 0, 0]);
    assert_eq!(counted(&Query { kind: Kind::Entry, ..Query::default() }), [2, 0, 0, 0, 0]);
    assert_eq!(missing(&place.connection, ada, None).unwrap(), Missing { pending: 0, unread: 0, left: 7 });
    assert_eq!(missing(&place.connection, ada, Some(one.as_str())).unwrap().left, 4);
    // Nothing of another's is there, whatever one asks for.
    assert_eq!(names(&all(&place, bob, &Query::default())), ["9"]);
    assert_eq!(by(Query { entry: Some("x' OR 1=1 --".to_owned()), ..Query::default() }), [""; 0]);
    assert_eq!(because(find(&place.connection, bob, first.id)), Reason::NotThere);
    assert_eq!(because(decide(&mut place, bob, (first.id, 2), &becomes(State::Closed))), Reason::NotThere);
}

#[test]
fn whoever_is_late_is_told_and_nothing_is_lost() {
    let mut place = Place::new();
    let (ada, bob) = (place.account("ada"), place.account("bob"));
    entry(&mut place, ada, b"one", &Found::of(&[(1, "", "malicious", 0.9, 0.0)], 0));
    let id = all(&place, ada, &Query::default())[0].id;
    decide(&mut place, ada, (id, 1), &becomes(State::Seen)).unwrap();
    for new in [becomes(State::Dismissed), Change { words: "a remark".to_owned(), ..Change::default() }] {
        assert_eq!(because(decide(&mut place, ada, (id, 1), &new)), Reason::Stale);
    }
    assert_eq!((seen(&place, ada, id).state, seen(&place, ada, id).version), (State::Seen, 2));
    // What changes nothing is no change.
    decide(&mut place, ada, (id, 2), &becomes(State::Seen)).unwrap();
    assert_eq!(seen(&place, ada, id).version, 2);
    // Only to somebody who may see it, and closed only with words.
    let give = |to| Change { assignee: Some(Some(to)), ..Change::default() };
    for nobody in [bob, 999] {
        assert_eq!(because(decide(&mut place, ada, (id, 2), &give(nobody))), Reason::Assignee);
    }
    decide(&mut place, ada, (id, 2), &give(ada)).unwrap();
    assert_eq!(because(decide(&mut place, ada, (id, 3), &becomes(State::Closed))), Reason::ClosingWords);
    for words in ["no", "a\u{202e}bcd", &"x".repeat(change::MAX_WORDS + 1)] {
        let close = Change { words: words.to_owned(), ..becomes(State::Closed) };
        assert_eq!(because(decide(&mut place, ada, (id, 3), &close)), Reason::ClosingWords, "{words:?}");
    }
    let close = Change { words: " reimaged\r\non Monday ".to_owned(), ..becomes(State::Closed) };
    decide(&mut place, ada, (id, 3), &close).unwrap();
    assert_eq!(seen(&place, ada, id).words, "reimaged\non Monday");
    let free = Change { assignee: Some(None), ..becomes(State::New) };
    decide(&mut place, ada, (id, 4), &free).unwrap();
    let item = seen(&place, ada, id);
    assert_eq!((item.state, item.assignee, item.words.as_str(), item.version), (State::New, None, "", 5));
    // The newest three of four changes are kept, and the audit log has all.
    let past = history(&place.connection, id, 99).unwrap();
    let told: Vec<_> = past.iter().map(|one| (one.state, one.assignee.as_deref(), one.words.as_str())).collect();
    let closed = (Some(State::Closed), None, "reimaged\non Monday");
    assert_eq!(told, [(Some(State::New), Some(""), ""), closed, (None, Some("ada"), "")]);
    assert!(past.iter().all(|one| one.by == "Ada" && one.at == NOW + 9));
    assert_eq!(place.actions().iter().filter(|action| *action == "triaged").count(), 4);
}

#[test]
fn several_are_changed_at_once_but_for_those_that_somebody_else_changed() {
    let mut place = Place::new();
    let (ada, bob) = (place.account("ada"), place.account("bob"));
    let found: Vec<_> = (1..=4).map(|n| (n, "", "malicious", 0.9, 0.0)).collect();
    entry(&mut place, ada, b"one", &Found::of(&found, 0));
    entry(&mut place, bob, b"two", &Found::of(&found[..1], 0));
    let lent = entry(&mut place, bob, b"three", &Found::of(&found[..1], 0));
    let ids: Vec<i64> = all(&place, ada, &Query::default()).iter().map(|item| item.id).collect();
    let bobs = all(&place, bob, &Query::default());
    let [lent_id, others] =
        [true, false].map(|is| bobs.iter().find(|item| (item.key == lent.as_str()) == is).unwrap().id);
    place
        .connection
        .execute_batch(&format!(
            "INSERT INTO teams (name, created_at) VALUES ('sea', 1);
            INSERT INTO members VALUES (1, {ada}, 'reads', 1), (1, {bob}, 'works', 1);
            UPDATE entries SET team_id = 1 WHERE key = '{lent}'"
        ))
        .unwrap();
    decide(&mut place, ada, (ids[1], 1), &becomes(State::Confirmed)).unwrap();
    let by = actor();
    let doer = Doer { account: ada, by: "Ada", actor: &by };
    let mut try_all = |items: &[(i64, i64)], new: &Change| several(&mut place.connection, doer, items, new, KEPT, NOW);
    let chosen = [(ids[0], 1), (ids[1], 1), (lent_id, 1), (ids[2], 1), (others, 1)];
    let done = try_all(&chosen, &becomes(State::Dismissed)).unwrap();
    assert_eq!(done, Several { changed: 2, stale: vec![ids[1]], only_read: vec![lent_id], gone: 1 });
    // What is refused for one is refused for all.
    assert_eq!(because(try_all(&[(ids[3], 1)], &becomes(State::Closed))), Reason::ClosingWords);
    assert_eq!(because(try_all(&[], &becomes(State::Seen))), Reason::NothingChosen);
    assert_eq!(because(try_all(&[(1, 1); change::MAX_AT_ONCE + 1], &becomes(State::Seen))), Reason::Form);
    let states: Vec<State> = ids.iter().map(|id| seen(&place, ada, *id).state).collect();
    assert_eq!(states, [State::Dismissed, State::Confirmed, State::Dismissed, State::New]);
    assert_eq!(seen(&place, bob, others).state, State::New);
}

#[test]
fn another_analysis_takes_over_what_was_decided() {
    let mut place = Place::new();
    let (ada, bob) = (place.account("ada"), place.account("bob"));
    let both = [(1, "a.example", "malicious", 0.9, 0.0), (1, "b.example", "suspicious", 0.5, 0.0)];
    let old = entry(&mut place, ada, b"one", &Found::of(&both, 0));
    let items = all(&place, ada, &Query::default());
    let close = Change { words: "a drill".to_owned(), assignee: Some(Some(ada)), ..becomes(State::Closed) };
    decide(&mut place, ada, (items[0].id, 1), &close).unwrap();
    // One that finds only a part of it comes in between, and of another account nothing is taken over.
    entry(&mut place, ada, b"one", &Found::of(&both[1..], 0));
    entry(&mut place, bob, b"one", &Found::of(&both, 0));
    assert!(
        all(&place, bob, &Query::default()).iter().all(|item| item.state == State::New && item.carried_from.is_none())
    );
    let new = entry(&mut place, ada, b"one", &Found::of(&[both[0], (2, "c.example", "malicious", 0.9, 0.0)], 0));
    let now = all(&place, ada, &Query { entry: Some(new.to_string()), ..Query::default() });
    assert_eq!(names(&now), ["2 c.example", "1 a.example"], "what is taken comes behind");
    assert_eq!((now[0].state, now[0].carried_from), (State::New, None));
    let carried = &now[1];
    assert_eq!((carried.state, carried.words.as_str(), carried.version), (State::Closed, "a drill", 1));
    assert_eq!(carried.assignee.as_ref().map(|one| one.id), Some(ada));
    assert_eq!(carried.carried_from, Some(items[0].id));
    assert_eq!(history(&place.connection, carried.id, 9).unwrap(), history(&place.connection, items[0].id, 9).unwrap());
    // It stands alone: what it came from may go.
    crate::entries::delete(&mut place.connection, ada, old.as_str(), &actor(), NOW).unwrap();
    assert_eq!(
        (seen(&place, ada, carried.id).state, seen(&place, ada, carried.id).carried_from),
        (State::Closed, None)
    );
    assert_eq!(history(&place.connection, carried.id, 9).unwrap().len(), 1);
}

#[test]
fn of_a_long_history_the_newest_is_taken_over() {
    let mut place = Place::new();
    let ada = place.account("ada");
    let found = Found::of(&[(1, "a.example", "malicious", 0.9, 0.0)], 0);
    entry(&mut place, ada, b"one", &found);
    let old = all(&place, ada, &Query::default())[0].id;
    let states = [State::Seen, State::Confirmed];
    for version in 1..=12 {
        let new = becomes(states[usize::from(version % 2 == 0)]);
        let actor = actor();
        change(&mut place.connection, Doer { account: ada, by: "Ada", actor: &actor }, (old, version), &new, 99, NOW)
            .unwrap();
    }
    let new = entry(&mut place, ada, b"one", &found);
    let carried = all(&place, ada, &Query { entry: Some(new.to_string()), ..Query::default() })[0].id;
    let (before, after) =
        (history(&place.connection, old, 99).unwrap(), history(&place.connection, carried, 99).unwrap());
    assert_eq!((before.len(), after.len()), (12, 10));
    assert_eq!(after[..], before[..10]);
}

#[test]
fn entries_of_before_follow_one_by_one_and_only_once() {
    let mut place = Place::new();
    let ada = place.account("ada");
    let keys = [b"1", b"2"].map(|bytes| place.keep(ada, bytes));
    for key in &keys {
        place.done(key);
    }
    assert_eq!(
        all(&place, ada, &Query { kind: Kind::Entry, ..Query::default() }).len(),
        2,
        "each is an item from the begin"
    );
    assert_eq!(missing(&place.connection, ada, None).unwrap(), Missing { pending: 2, unread: 0, left: 0 });
    assert_eq!(pending(&place.connection).unwrap().map(|(_, key)| key).as_ref(), Some(&keys[0]));
    collect(&mut place, &keys[0], Some(&Found::of(&[(1, "", "malicious", 0.9, 0.0)], 0)));
    let id = all(&place, ada, &Query::default())[0].id;
    decide(&mut place, ada, (id, 1), &becomes(State::Seen)).unwrap();
    // Two threads may have read the same result.
    collect(&mut place, &keys[0], Some(&Found::of(&[(1, "", "malicious", 0.9, 0.0)], 0)));
    assert_eq!(seen(&place, ada, id).state, State::Seen);
    // One that cannot be read is not tried for ever.
    assert_eq!(pending(&place.connection).unwrap().map(|(_, key)| key).as_ref(), Some(&keys[1]));
    collect(&mut place, &keys[1], None);
    assert_eq!(pending(&place.connection).unwrap(), None);
    assert_eq!(missing(&place.connection, ada, None).unwrap(), Missing { pending: 0, unread: 1, left: 0 });
}

#[test]
fn comments_are_their_author_s_and_what_became_of_them_is_seen() {
    let mut place = Place::new();
    let (ada, bob) = (place.account("ada"), place.account("bob"));
    entry(&mut place, ada, b"one", &Found::of(&[(1, "", "malicious", 0.9, 0.0)], 0));
    let id = all(&place, ada, &Query::default())[0].id;
    let by = actor();
    let [mine, others] = [ada, bob].map(|account| Doer { account, by: "x", actor: &by });
    let c = &mut place.connection;
    for text in ["", " \n ", "a\u{1b}[31m", "a\u{202e}b", &"x".repeat(comments::MAX_COMMENT + 1)] {
        assert_eq!(because(comments::add(c, mine, id, text, 2, NOW)), Reason::Comment, "{text:?}");
    }
    let first = comments::add(c, mine, id, " one\r\ntwo <b> ", 2, NOW).unwrap();
    comments::add(c, mine, id, &"\u{6587}".repeat(comments::MAX_COMMENT), 2, NOW).unwrap();
    assert_eq!(because(comments::add(c, mine, id, "one more", 2, NOW)), Reason::TooManyComments);
    assert_eq!(because(comments::add(c, others, id, "theirs", 9, NOW)), Reason::NotThere);
    assert_eq!(because(comments::edit(c, others, (first, 1), "theirs", NOW)), Reason::NotThere);
    assert_eq!(comments::edit(c, mine, (first, 1), "three", NOW + 1).unwrap(), id);
    assert_eq!(because(comments::edit(c, mine, (first, 1), "four", NOW)), Reason::Stale);
    assert_eq!(because(comments::delete(c, mine, (first, 1), NOW)), Reason::Stale);
    let said = comments::list(c, id, 9).unwrap();
    assert_eq!((said[0].text.as_str(), said[0].edited_at, said[0].by.as_str()), ("three", Some(NOW + 1), "ada"));
    assert_eq!(comments::delete(c, mine, (first, 2), NOW + 2).unwrap(), id);
    assert_eq!(because(comments::edit(c, mine, (first, 3), "back", NOW)), Reason::NotThere);
    let said = comments::list(c, id, 9).unwrap();
    assert_eq!((said.len(), said[0].text.as_str(), said[0].deleted_at), (2, "", Some(NOW + 2)));
    assert_eq!(said[1].edited_at, None);
    assert_eq!(place.actions().iter().filter(|action| *action == "commented").count(), 4);
}

#[test]
fn what_was_decided_is_a_table_that_training_reads() {
    let mut place = Place::new();
    let (ada, bob) = (place.account("ada"), place.account("bob"));
    let found = [
        (1, "=a.example", "malicious", 0.9, 0.0),
        (2, "", "suspicious", 0.5, 0.0),
        (3, "", "suspicious", 0.5, 0.0),
        (4, "", "malicious", 0.9, 0.0),
    ];
    let key = entry(&mut place, ada, b"one", &Found::of(&found, 0));
    entry(&mut place, bob, b"two", &Found::of(&found, 0));
    let items = all(&place, ada, &Query::default());
    let of =
        |server: &str| items.iter().find(|item| names(std::slice::from_ref(item))[0].starts_with(server)).unwrap().id;
    let confirm = Change { words: "=seen\nbefore".to_owned(), ..becomes(State::Confirmed) };
    decide(&mut place, ada, (of("1"), 1), &confirm).unwrap();
    decide(&mut place, ada, (of("2"), 1), &becomes(State::Dismissed)).unwrap();
    decide(&mut place, ada, (of("3"), 1), &becomes(State::Seen)).unwrap();
    let c = &place.connection;
    assert_eq!(because(labels::labels(c, ada, &Query::default(), 1)), Reason::ExportTooLarge);
    let labels = labels::labels(c, ada, &Query::default(), 2).unwrap();
    let table = labels::table(&labels).unwrap();
    let rows: Vec<Vec<String>> = {
        let mut reader = csv::Reader::from_reader(table.as_bytes());
        reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
    };
    assert_eq!(rows.len(), 2);
    assert_eq!(
        rows[0][1..8],
        ["1700000000.000000007", "192.0.2.1", "50000", "198.51.100.1", "443", "malicious", "source"]
    );
    assert_eq!(
        (rows[0][9].as_str(), rows[0][10].as_str(), rows[0][11].as_str()),
        ("'=a.example", "'=seen before", "Ada")
    );
    assert_eq!((rows[1][6].as_str(), rows[1][8].as_str(), rows[1][18].as_str()), ("benign", "", "dismissed"));
    assert_eq!(
        (rows[1][17].as_str(), serde_json::json!(labels)[1]["state"].as_str()),
        (key.as_str(), Some("dismissed"))
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("labels.csv");
    std::fs::write(&file, &table).unwrap();
    let read = Feedback::load(&[file], OnConflict::Refuse, 1.0).unwrap();
    assert_eq!((read.len(), read.passed_over()), (2, [0, 0, 0]));
    // A list of what is open holds what was confirmed, and nothing is decided in one of what is new.
    let query = |states: &[State]| Query { states: states.to_vec(), ..Query::default() };
    assert_eq!(labels::labels(c, ada, &query(&State::OPEN), 9).unwrap().len(), 1);
    assert!(labels::labels(c, ada, &query(&[State::New]), 9).unwrap().is_empty());
}
