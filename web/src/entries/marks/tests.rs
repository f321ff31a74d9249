//! Marks, what counts of them, and the labels as training reads them.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;
use veilwatch::config::Config;
use veilwatch::engine::{self, Detection, Pipeline, Progress, RunOptions, Sink};
use veilwatch::learn::{self, Feedback, LoadOptions, Loading, LostMarks, OnConflict, Origin, Truth};
use veilwatch::plugins::Registry;
use veilwatch::source::Source;

use super::*;
use crate::entries::find;
use crate::entries::marks::labels::{captures_of, labels, labels_of, marked_captures};
use crate::uploads::testing::{NOW, Place, actor};
use crate::uploads::{Key, Sha256Hex};

/// Bounds that no test comes near by chance.
pub(crate) const BOUNDS: MarkBounds = MarkBounds { flows: 100, all_flows: 100_000 };

/// A mark of one flow, for a reason that is none of the list.
pub(crate) fn one<'a>(flow: &'a FlowFacts, malicious: bool, reason: &'a str) -> NewMark<'a> {
    let covers = std::slice::from_ref(flow);
    NewMark { flow, scope: Scope::Flow, covers, malicious, why: Why::Other, purpose: None, reason }
}

fn flow(flow_id: u64) -> FlowFacts {
    FlowFacts {
        flow_id,
        first_ns: 1_700_000_000_000_000_007 + flow_id * 1_000_000_000,
        client: [192, 0, 2, 1].into(),
        client_port: 50_000,
        server: "2001:db8::1".parse().unwrap(),
        server_port: 443,
        sni: Some("a.example".to_owned()),
    }
}

fn say(
    place: &mut Place,
    account: i64,
    key: &Key,
    flow: &FlowFacts,
    malicious: bool,
    reason: &str,
) -> Result<(), Refused> {
    mark(&mut place.connection, account, key.as_str(), &one(flow, malicious, reason), BOUNDS, &actor(), NOW).map(drop)
}

#[test]
fn the_newest_mark_counts_and_the_older_ones_stay() {
    let mut place = Place::new();
    let ada = place.account("ada");
    let key = place.keep(ada, b"x");
    place.done(&key);
    say(&mut place, ada, &key, &flow(1), true, "looks bad").unwrap();
    say(&mut place, ada, &key, &flow(2), false, "our own scanner").unwrap();
    say(&mut place, ada, &key, &flow(1), false, " asked the owner ").unwrap();
    let entry = find(&place.connection, ada, key.as_str()).unwrap().unwrap();
    let marks = of_entry(&place.connection, &entry).unwrap();
    assert_eq!(marks.len(), 2);
    let first = &marks[&1];
    assert_eq!(first.flow, flow(1));
    let counts = first.counts.as_ref().unwrap();
    assert_eq!((counts.malicious, counts.reason.as_str()), (false, "asked the owner"));
    assert_eq!((counts.by.as_str(), counts.at), ("ada", NOW));
    let history: Vec<_> = first.others.iter().map(|mark| (mark.malicious, mark.reason.as_str())).collect();
    assert_eq!(history, [(true, "looks bad")]);
    assert!(first.conflict().is_none(), "whoever says otherwise of the same flow corrects themselves");
    assert!(marks[&2].others.is_empty());
    assert_eq!(place.actions().iter().filter(|action| *action == "marked").count(), 3);
}

#[test]
fn a_mark_needs_a_result_and_a_reason() {
    let mut place = Place::new();
    let ada = place.account("ada");
    let key = place.keep(ada, b"x");
    assert!(matches!(say(&mut place, ada, &key, &flow(1), true, "bad"), Err(Refused::Because(Reason::State))));
    place.done(&key);
    for reason in ["", "no", "  no  ", "two\nlines", "a\u{202e}bc", &"x".repeat(MAX_REASON + 1)] {
        let refused = say(&mut place, ada, &key, &flow(1), true, reason);
        assert!(matches!(refused, Err(Refused::Because(Reason::Mark))), "{reason:?}");
    }
    let huge = FlowFacts { flow_id: u64::MAX, ..flow(1) };
    assert!(matches!(say(&mut place, ada, &key, &huge, true, "bad"), Err(Refused::Because(Reason::Form))));
    let long = FlowFacts { sni: Some("ä".repeat(10_000)), ..flow(1) };
    say(&mut place, ada, &key, &long, true, &"因".repeat(MAX_REASON)).unwrap();
    assert_eq!(place.number("SELECT length(sni) FROM marks"), MAX_SNI as i64);
}

#[test]
fn marks_are_counted() {
    let mut place = Place::new();
    let (ada, bob) = (place.account("ada"), place.account("bob"));
    let (key, others) = (place.keep(ada, b"x"), place.keep(bob, b"x"));
    place.done(&key);
    place.done(&others);
    say(&mut place, ada, &key, &flow(1), true, "bad").unwrap();
    place
        .connection
        .execute(
            "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                INSERT INTO marks (entry_id, flow_id, malicious, reason, account_id, at, first_ns, client,
                    client_port, server, server_port)
                SELECT entry_id, i, malicious, reason, account_id, at, first_ns, client, client_port, server,
                    server_port FROM n, marks",
            [MAX_MARKS],
        )
        .unwrap();
    let refused = say(&mut place, ada, &key, &flow(1), true, "bad");
    assert!(matches!(refused, Err(Refused::Because(Reason::TooManyMarks))));
    say(&mut place, bob, &others, &flow(1), true, "bad").unwrap();
}

#[test]
fn labels_are_one_account_s_and_the_newest_of_each_flow() {
    let mut place = Place::new();
    let (ada, bob) = (place.account("ada"), place.account("bob"));
    let [first, second, plain] = [b"x", b"x", b"y"].map(|bytes| place.keep(ada, bytes));
    let others = place.keep(bob, b"x");
    for key in [&first, &second, &plain, &others] {
        place.done(key);
    }
    place.set(&plain, r#"inspection = json_set(inspection, '$.format', 'pcapng', '$.compression', 'zstd')"#);
    say(&mut place, ada, &second, &flow(1), true, "=cmd|' /C calc'!A0, \"quoted\" = Zeus C&C").unwrap();
    let odd = FlowFacts { sni: Some("@evil\nexample".to_owned()), ..flow(2) };
    say(&mut place, ada, &first, &odd, true, "was wrong").unwrap();
    // The same flow in another entry of the same capture.
    say(&mut place, ada, &second, &FlowFacts { flow_id: 99, ..odd }, false, "harmless").unwrap();
    say(&mut place, ada, &plain, &flow(3), false, "a printer").unwrap();
    say(&mut place, bob, &others, &flow(4), true, "bob's own").unwrap();

    let all = labels(&place.connection, ada).unwrap();
    let hash = |key: &Key| find(&place.connection, ada, key.as_str()).unwrap().unwrap().sha256;
    let (x, y) = (hash(&first), hash(&plain));
    let rows = |text: &str| -> Vec<Vec<String>> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
    };
    let family = format!("marked-{}", &x.as_str()[..12]);
    let mut captures = vec![
        vec![format!("{x}.pcap"), "malicious".to_owned(), family.clone(), "portal".to_owned(), x.to_string()],
        vec![format!("{y}.pcapng.zst"), "unlabelled".to_owned(), String::new(), "portal".to_owned(), y.to_string()],
    ];
    captures.sort();
    assert_eq!(rows(all.captures_csv()), captures);
    let mut flows = rows(all.flows_csv());
    flows.sort_by(|a, b| a[1].cmp(&b[1]));
    let ends = ["192.0.2.1", "50000", "2001:db8::1", "443"];
    assert_eq!(flows.len(), 3);
    assert_eq!(flows[0][..2], [format!("{x}.pcap"), "1700000001.000000007".to_owned()]);
    assert_eq!(flows[0][2..6], ends);
    assert_eq!(flows[0][6..9], ["malicious", "source", &family]);
    let at = Timestamp::from_second(NOW).unwrap().to_string();
    let said = ["other", "", "flow"];
    assert_eq!(flows[0][9..13], ["a.example", "'=cmd|' /C calc'!A0, \"quoted\" = Zeus C&C", "ada", &at]);
    assert_eq!(flows[1][6..13], ["benign", "source", "", "'@evil\nexample", "harmless", "ada", &at]);
    assert!(flows.iter().all(|row| row[13..] == said), "{flows:?}");
    assert_eq!(flows[2][0], format!("{y}.pcapng.zst"));
    assert!(!all.flows_csv().contains("bob's own"));

    let none = labels(&place.connection, 999).unwrap();
    assert_eq!((rows(none.captures_csv()).len(), rows(none.flows_csv()).len()), (0, 0));
    assert!(none.flows_csv().starts_with("path,time,client,"), "a table without rows is still a table");
}

/// The flows of a capture that training looks at, with the number of their first packet.
#[derive(Default)]
struct Seen(Vec<(FlowFacts, u64)>);

impl Sink for Seen {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        let flow = detection.flow;
        if detection.scored.is_some() {
            let facts = FlowFacts {
                flow_id: flow.id,
                first_ns: flow.first_ns,
                client: flow.originator.ip(),
                client_port: flow.originator.port,
                server: flow.responder.ip(),
                server_port: flow.responder.port,
                sni: None,
            };
            self.0.push((facts, flow.first_packet));
        }
        Ok(())
    }
}

#[test]
fn training_reads_the_labels_as_they_were_meant() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/captures/malicious-beacon-tls12.pcap");
    let config = Config::builtin().unwrap();
    let pipeline = Pipeline::untrained(config.clone(), &mut Registry::with_builtins().unwrap()).unwrap();
    let (stop, progress, mut seen) = (AtomicBool::new(false), Progress::default(), Seen::default());
    let options = RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress };
    engine::run(&pipeline, Source::open(&example, &config.input).unwrap(), options, &mut seen).unwrap();
    assert!(seen.0.len() > 4, "too few flows to tell anything");

    let mut place = Place::new();
    let ada = place.account("ada");
    let key = place.keep(ada, &std::fs::read(&example).unwrap());
    place.done(&key);
    let mut expected = BTreeMap::new();
    for (at, (facts, packet)) in seen.0.iter().enumerate() {
        let truth = match at % 3 {
            0 => Truth::Malicious,
            1 => Truth::Background,
            _ => Truth::Unlabelled,
        };
        if truth != Truth::Unlabelled {
            say(&mut place, ada, &key, facts, truth == Truth::Malicious, "benign, or = not; \"\u{201c}").unwrap();
        }
        expected.insert(*packet, truth);
    }
    // What is said of a whole server holds for the flows of which nothing is said by themselves.
    let server = alike(&seen, &seen.0[2].0, |of, other| of.server == other.server);
    wide(&mut place, ada, &key, &server, (Scope::Address, false)).unwrap();
    for (facts, packet) in seen.0.iter().filter(|(facts, _)| facts.server == seen.0[2].0.server) {
        assert!(server.contains(facts));
        if expected[packet] == Truth::Unlabelled {
            expected.insert(*packet, Truth::Background);
        }
    }
    assert!(expected[&seen.0[2].1] == Truth::Background && server.len() > 1, "the scope covers more than was marked");
    let all = labels(&place.connection, ada).unwrap();
    let training = tempfile::tempdir().unwrap();
    std::fs::write(training.path().join("captures.csv"), all.captures_csv()).unwrap();
    std::fs::write(training.path().join("flows.csv"), all.flows_csv()).unwrap();
    let sha256 = find(&place.connection, ada, key.as_str()).unwrap().unwrap().sha256;
    std::fs::copy(place.folders.capture(&sha256), training.path().join(format!("{sha256}.pcap"))).unwrap();

    let data = learn::load(training.path(), &pipeline, 1, &Loading::default()).unwrap();
    assert!(data.unreadable.is_empty() && data.duplicates.is_empty());
    let read: BTreeMap<u64, Truth> = data.rows.iter().map(|row| (row.packet, row.truth)).collect();
    assert_eq!(read, expected);
    let family = format!("marked-{}", &sha256.as_str()[..12]);
    assert_eq!(data.captures[0].family, family);
    let malicious = data.rows.iter().find(|row| row.truth == Truth::Malicious).unwrap();
    assert_eq!(malicious.kin[0], format!("family {family}"));

    // The same as marks beside other labels: each finds its flow, says whose it is, and scores nothing.
    let marks = Feedback::load(&[training.path().to_owned()], OnConflict::Refuse, 1.0).unwrap();
    let origins = [Origin::Marked(marks.captures(&[]))];
    let options = LoadOptions { workers: 1, feedback: Some(&marks), ..LoadOptions::default() };
    let data = learn::load_from(&origins, &pipeline, &options, &Loading::default()).unwrap();
    assert_eq!(marks.lost(), LostMarks::default());
    assert!(data.rows.iter().all(|row| row.truth == Truth::Unlabelled));
    let told: BTreeMap<u64, Truth> = data
        .rows
        .iter()
        .enumerate()
        .map(|(at, row)| match data.marked.rows.get(&at) {
            Some(mark) if mark.malicious => (row.packet, Truth::Malicious),
            Some(mark) => {
                assert_eq!(mark.by, "ada");
                (row.packet, Truth::Background)
            }
            None => (row.packet, Truth::Unlabelled),
        })
        .collect();
    assert_eq!(told, expected);
}

/// Everything that [`Seen`] has of flows like this one.
fn alike(seen: &Seen, of: &FlowFacts, is: impl Fn(&FlowFacts, &FlowFacts) -> bool) -> Vec<FlowFacts> {
    seen.0.iter().map(|(facts, _)| facts.clone()).filter(|facts| is(of, facts)).collect()
}

/// A mark of this scope.
fn wide(
    place: &mut Place,
    account: i64,
    key: &Key,
    covers: &[FlowFacts],
    (scope, malicious): (Scope, bool),
) -> Result<i64, Refused> {
    let new = NewMark { scope, covers, why: Why::Behaviour, ..one(&covers[0], malicious, "") };
    mark(&mut place.connection, account, key.as_str(), &new, BOUNDS, &actor(), NOW)
}

#[test]
fn the_narrower_mark_counts_whose_it_is_is_seen_and_undoing_gives_back_what_was() {
    let mut place = Place::new();
    let (ada, bob) = (place.account("ada"), place.account("bob"));
    let (key, others) = (place.keep(ada, b"x"), place.keep(bob, b"x"));
    place.done(&key);
    place.done(&others);
    let flows: Vec<FlowFacts> = (1..=5).map(flow).collect();
    let server = wide(&mut place, ada, &key, &flows, (Scope::AddressAndPort, true)).unwrap();
    let pair = wide(&mut place, ada, &key, &flows[..3], (Scope::Pair, false)).unwrap();
    say(&mut place, ada, &key, &flow(1), true, "this one was seen").unwrap();
    // What is wider does not count, however new it is.
    wide(&mut place, ada, &key, &flows, (Scope::Address, false)).unwrap();
    let entry = find(&place.connection, ada, key.as_str()).unwrap().unwrap();
    let counts = |place: &Place| -> Vec<(bool, Scope, bool)> {
        let marks = of_entry(&place.connection, &entry).unwrap();
        let counts = |marks: &FlowMarks| {
            let mark = marks.counts.as_ref().unwrap();
            (mark.malicious, mark.scope, marks.conflict().is_some())
        };
        marks.values().map(counts).collect()
    };
    let server_counts = (true, Scope::AddressAndPort, true);
    let pair_counts = (false, Scope::Pair, true);
    assert_eq!(counts(&place), [(true, Scope::Flow, true), pair_counts, pair_counts, server_counts, server_counts]);
    assert_eq!(count(&place.connection, ada).unwrap(), 5);
    let found = conflicts(&place.connection, ada).unwrap();
    assert_eq!(found.iter().map(|one| one.flows).collect::<Vec<_>>(), [1, 5, 1, 3], "{found:?}");
    assert!(conflicts(&place.connection, bob).unwrap().is_empty());

    // Nobody withdraws another's, or through another entry.
    for (account, key) in [(bob, &key), (bob, &others)] {
        let refused = withdraw(&mut place.connection, account, key.as_str(), pair, &actor(), NOW);
        assert!(matches!(refused, Err(Refused::Because(Reason::NotThere))));
    }
    assert_eq!(withdraw(&mut place.connection, ada, key.as_str(), pair, &actor(), NOW + 1).unwrap(), 1);
    assert!(withdraw(&mut place.connection, ada, key.as_str(), pair, &actor(), NOW).is_err(), "once is enough");
    assert_eq!(counts(&place)[1..], [server_counts; 4]);
    // It stays as history on the flow that it was made on, and nowhere else.
    let history = |flow: u64| -> Vec<Option<i64>> {
        let marks = of_flow(&place.connection, &entry, flow).unwrap().unwrap();
        marks
            .others
            .iter()
            .map(|mark| {
                mark.withdrawn.as_ref().map(|(who, at)| {
                    assert_eq!(who, "ada");
                    *at
                })
            })
            .collect()
    };
    assert_eq!(history(1), [None, None, Some(NOW + 1)]);
    assert_eq!(history(2), [None]);
    assert_eq!(list(&place.connection, &entry).unwrap().len(), 4);
    let rows = |place: &Place| {
        let all = labels(&place.connection, ada).unwrap();
        let mut reader = csv::Reader::from_reader(all.flows_csv().as_bytes());
        reader.records().map(|row| row.unwrap()[15].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(rows(&place), ["flow", "address-and-port", "address-and-port", "address-and-port", "address-and-port"]);
    withdraw(&mut place.connection, ada, key.as_str(), server, &actor(), NOW).unwrap();
    assert_eq!(rows(&place), ["flow", "address", "address", "address", "address"]);
    assert_eq!(place.actions().iter().filter(|action| *action == "mark-withdrawn").count(), 2);
}

#[test]
fn a_flow_that_is_marked_again_and_again_contradicts_once() {
    let mut place = Place::new();
    let ada = place.account("ada");
    let key = place.keep(ada, b"x");
    place.done(&key);
    let flows: Vec<FlowFacts> = (1..=3).map(flow).collect();
    wide(&mut place, ada, &key, &flows, (Scope::Pair, false)).unwrap();
    for malicious in [true, false, true, false, true] {
        say(&mut place, ada, &key, &flow(2), malicious, "looked at again").unwrap();
    }
    let found = conflicts(&place.connection, ada).unwrap();
    assert_eq!(found.iter().map(|one| (one.flow_id, one.flows)).collect::<Vec<_>>(), [(2, 1)]);
    // The newest word is the same as the other mark's.
    say(&mut place, ada, &key, &flow(2), false, "looked at again").unwrap();
    assert!(conflicts(&place.connection, ada).unwrap().is_empty());
}

#[test]
fn a_mark_covers_so_many_flows_and_means_what_it_says() {
    let mut place = Place::new();
    let ada = place.account("ada");
    let key = place.keep(ada, b"x");
    place.done(&key);
    let flows: Vec<FlowFacts> = (1..=5).map(flow).collect();
    let bounds = MarkBounds { flows: 3, all_flows: 5 };
    let mut try_it = |covers: &[FlowFacts], new: &NewMark<'_>| {
        let new = NewMark { covers, scope: Scope::Pair, ..new.clone() };
        mark(&mut place.connection, ada, key.as_str(), &new, bounds, &actor(), NOW)
    };
    let because = |refused: Result<i64, Refused>| match refused {
        Err(Refused::Because(reason)) => reason,
        other => panic!("not refused: {other:?}"),
    };
    let good = NewMark { purpose: Some(Category::C2Direct), ..one(&flows[0], true, "seen before") };
    assert_eq!(because(try_it(&flows, &good)), Reason::MarkTooWide);
    assert_eq!(because(try_it(&[], &good)), Reason::MarkNothing);
    assert_eq!(because(try_it(&flows[..1], &NewMark { malicious: false, ..good.clone() })), Reason::MarkPurpose);
    assert_eq!(because(try_it(&flows[..1], &NewMark { reason: "", ..good.clone() })), Reason::Mark);
    let first = try_it(&flows[..3], &NewMark { reason: "", why: Why::Owner, ..good.clone() }).unwrap();
    assert_eq!(because(try_it(&flows[..3], &good)), Reason::TooManyMarks, "six of five");
    // What is withdrawn takes the room of one.
    withdraw(&mut place.connection, ada, key.as_str(), first, &actor(), NOW).unwrap();
    let new = NewMark { covers: &flows[..3], scope: Scope::Pair, ..good };
    mark(&mut place.connection, ada, key.as_str(), &new, bounds, &actor(), NOW).unwrap();
    let entry = find(&place.connection, ada, key.as_str()).unwrap().unwrap();
    let mark = of_flow(&place.connection, &entry, 2).unwrap().unwrap().counts.unwrap();
    assert_eq!((mark.purpose, mark.covers, mark.flow.flow_id), (Some(Category::C2Direct), 3, 1));
}

#[test]
fn a_training_learns_from_captures_that_one_works_with_alone() {
    use crate::accounts::teams::{Standing, add, set_member};
    use crate::entries::share;
    let mut place = Place::new();
    let (ada, bob) = (place.account("ada"), place.account("bob"));
    let (own, bobs) = (place.keep(ada, b"ada's"), place.keep(bob, b"bob's"));
    for key in [&own, &bobs] {
        place.done(key);
    }
    say(&mut place, ada, &own, &flow(1), true, "looks bad").unwrap();
    say(&mut place, bob, &bobs, &flow(2), true, "looks bad").unwrap();
    let hash =
        |place: &Place, account, key: &Key| find(&place.connection, account, key.as_str()).unwrap().unwrap().sha256;
    let (mine, his) = (hash(&place, ada, &own), hash(&place, bob, &bobs));
    let count = |place: &Place, captures: &[Sha256Hex]| match labels_of(&place.connection, ada, captures) {
        Ok((_, flows)) => Ok(flows),
        Err(Refused::Because(reason)) => Err(reason),
        Err(error) => panic!("{error}"),
    };
    assert_eq!(count(&place, std::slice::from_ref(&mine)), Ok(1));
    // A hash that one happens to know leads nowhere, not even beside one's own.
    assert_eq!(count(&place, &[mine.clone(), his.clone()]), Err(Reason::Form));
    let blue = add(&mut place.connection, "Blue", &actor(), NOW).unwrap();
    set_member(&mut place.connection, blue, bob, Standing::Leads, &actor(), NOW).unwrap();
    set_member(&mut place.connection, blue, ada, Standing::Reads, &actor(), NOW).unwrap();
    share(&mut place.connection, bob, bobs.as_str(), blue, &actor(), NOW).unwrap();
    assert_eq!(count(&place, std::slice::from_ref(&his)), Err(Reason::Form), "reading is not enough");
    // What is offered is what is taken.
    let offered = |place: &Place| -> Vec<Sha256Hex> {
        let all = marked_captures(&place.connection, ada, 9).unwrap();
        all.into_iter().map(|capture| capture.sha256).collect()
    };
    assert_eq!(offered(&place), std::slice::from_ref(&mine));
    set_member(&mut place.connection, blue, ada, Standing::Works, &actor(), NOW).unwrap();
    assert_eq!(count(&place, &[mine.clone(), his.clone()]), Ok(2));
    assert_eq!(offered(&place), [his.clone(), mine.clone()]);
    // Whoever has learnt from a capture sees what was said of it, also once no mark of it is left.
    place.connection.execute("UPDATE marks SET withdrawn_at = 1", []).unwrap();
    let named = captures_of(&place.connection, ada, &[mine.clone(), his.clone()]).unwrap();
    assert!(named.len() == 2 && named.contains_key(mine.as_str()) && named.contains_key(his.as_str()));
    place.connection.execute("UPDATE entries SET team_id = NULL", []).unwrap();
    assert_eq!(
        captures_of(&place.connection, ada, &[mine.clone(), his]).unwrap().into_keys().collect::<Vec<_>>(),
        [mine.as_str()]
    );
}
