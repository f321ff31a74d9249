//! What people say of flows, and the labels that come of it.
//!
//! A mark is never changed: the newest of a flow counts, and those before it stay as its history. The export is what
//! `veilwatch train --feedback FOLDER` reads beside labels that are vouched for, once the captures lie beside it, and
//! `--data FOLDER` as labels like any others.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};
use veilwatch::output::harmless;

use super::change::begin;
use super::{Entry, State, owned};
use crate::accounts::audit::{self, Action};
use crate::accounts::{Actor, Reason, Refused, shown_text_of};
use crate::database::DbError;
use crate::uploads::Sha256Hex;

/// The fewest characters of a mark's reason.
pub const MIN_REASON: usize = 3;
/// The most characters of a mark's reason.
pub const MAX_REASON: usize = 500;
/// The most characters of a server name that is copied into a mark.
pub const MAX_SNI: usize = 255;
/// The most marks that are shown at once.
pub const MARKS_SHOWN: u32 = 1000;
/// The most marks of one account.
pub const MAX_MARKS: u32 = 50_000;

/// What names a flow without the result that it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowFacts {
    /// The flow in the entry's result.
    pub flow_id: u64,
    /// The time of its first packet, in nanoseconds since 1970.
    pub first_ns: u64,
    /// Who opened it.
    pub client: IpAddr,
    /// Their port.
    pub client_port: u16,
    /// Who answered.
    pub server: IpAddr,
    /// Their port.
    pub server_port: u16,
    /// The server name that was asked for: the capture's text.
    pub sni: Option<String>,
}

/// What somebody says of a flow.
#[derive(Clone, Debug)]
pub struct NewMark<'a> {
    /// The flow.
    pub flow: &'a FlowFacts,
    /// Whether it is malicious.
    pub malicious: bool,
    /// Why, in one line.
    pub reason: &'a str,
}

/// What somebody said of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// Its number; later ones are higher.
    pub id: i64,
    /// Whether the flow is malicious.
    pub malicious: bool,
    /// Why.
    pub reason: String,
    /// The name to show of who said it.
    pub by: String,
    /// When, in seconds since 1970.
    pub at: i64,
}

/// All that was said of one flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FlowMarks {
    /// The flow.
    pub flow: FlowFacts,
    /// What counts.
    pub latest: Mark,
    /// What was said before, the newest first.
    pub history: Vec<Mark>,
}

/// Labels in the format of a training folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    captures: String,
    flows: String,
}

impl Labels {
    /// The content of `captures.csv`: which files must lie beside it.
    pub fn captures_csv(&self) -> &str {
        &self.captures
    }

    /// The content of `flows.csv`.
    pub fn flows_csv(&self) -> &str {
        &self.flows
    }
}

/// Marks a flow of an entry that is done.
///
/// # Errors
/// Where the reason says nothing, is too long or steers, the entry is not there, another's or not done, there are too
/// many marks, or the database fails.
pub fn mark(
    connection: &mut Connection,
    account: i64,
    key: &str,
    new: &NewMark<'_>,
    actor: &Actor,
    now: i64,
) -> Result<(), Refused> {
    let reason = shown_text_of(new.reason, MAX_REASON).filter(|reason| reason.chars().count() >= MIN_REASON);
    let reason = reason.ok_or(Reason::Mark)?;
    let flow = new.flow;
    let signed = |number: u64| i64::try_from(number).map_err(|_| Reason::Form);
    let (flow_id, first_ns) = (signed(flow.flow_id)?, signed(flow.first_ns)?);
    let sni: Option<String> = flow.sni.as_ref().map(|sni| sni.chars().take(MAX_SNI).collect());
    let transaction = begin(connection)?;
    let entry = owned(&transaction, account, key)?;
    if entry.state != State::Done {
        return Err(Reason::State.into());
    }
    let there: u32 = transaction.query_row(
        "SELECT count(*) FROM marks m JOIN entries e ON e.id = m.entry_id WHERE e.account_id = ?1",
        [account],
        |row| row.get(0),
    )?;
    if there >= MAX_MARKS {
        return Err(Reason::TooManyMarks.into());
    }
    transaction.execute(
        "INSERT INTO marks (entry_id, flow_id, malicious, reason, account_id, at, first_ns, client, client_port, server,
            server_port, sni) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            entry.id,
            flow_id,
            new.malicious,
            reason,
            account,
            now,
            first_ns,
            flow.client.to_string(),
            flow.client_port,
            flow.server.to_string(),
            flow.server_port,
            sni
        ],
    )?;
    let said = if new.malicious { "malicious" } else { "benign" };
    let subject = format!("{key}: flow {flow_id} {said}");
    audit::record(&transaction, actor, Action::Marked, Some(&subject), now)?;
    transaction.commit()?;
    Ok(())
}

/// The marks of an entry by flow number: the newest [`MARKS_SHOWN`].
///
/// # Errors
/// Where the database fails.
pub fn of_entry(connection: &Connection, entry: &Entry) -> Result<BTreeMap<u64, FlowMarks>, DbError> {
    of(connection, entry, None)
}

/// The marks of one flow of an entry.
///
/// # Errors
/// Where the database fails.
pub fn of_flow(connection: &Connection, entry: &Entry, flow: u64) -> Result<Option<FlowMarks>, DbError> {
    Ok(of(connection, entry, Some(flow))?.remove(&flow))
}

fn of(connection: &Connection, entry: &Entry, flow: Option<u64>) -> Result<BTreeMap<u64, FlowMarks>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT m.*, a.display_name FROM marks m JOIN accounts a ON a.id = m.account_id
            WHERE m.entry_id = ?1 AND (?2 IS NULL OR m.flow_id = ?2) ORDER BY m.id DESC LIMIT ?3",
    )?;
    let mut rows = statement.query(params![entry.id, flow.map(u64::cast_signed), MARKS_SHOWN])?;
    let mut flows: BTreeMap<u64, FlowMarks> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let flow = read_flow(row)?;
        let mark = Mark {
            id: row.get("id")?,
            malicious: row.get("malicious")?,
            reason: row.get("reason")?,
            by: row.get("display_name")?,
            at: row.get("at")?,
        };
        match flows.get_mut(&flow.flow_id) {
            Some(marks) => marks.history.push(mark),
            None => {
                flows.insert(flow.flow_id, FlowMarks { flow, latest: mark, history: Vec::new() });
            }
        }
    }
    Ok(flows)
}

fn read_flow(row: &Row<'_>) -> Result<FlowFacts, DbError> {
    let number = |column: &str| -> Result<u64, DbError> {
        let found: i64 = row.get(column)?;
        u64::try_from(found).map_err(|_| DbError::Foreign(format!("a mark with the {column} {found}")))
    };
    let address = |column: &str| -> Result<IpAddr, DbError> {
        let found: String = row.get(column)?;
        found.parse().map_err(|_| DbError::Foreign(format!("a mark with the {column} {found:?}")))
    };
    Ok(FlowFacts {
        flow_id: number("flow_id")?,
        first_ns: number("first_ns")?,
        client: address("client")?,
        client_port: row.get("client_port")?,
        server: address("server")?,
        server_port: row.get("server_port")?,
        sni: row.get("sni")?,
    })
}

/// One label of the export.
struct Label {
    flow: FlowFacts,
    malicious: bool,
    words: String,
    by: String,
    /// In seconds since 1970.
    at: i64,
}

/// The marks of all of an account's entries as labels. Of several marks of one flow of one capture, in whatever entry,
/// the newest counts.
///
/// # Errors
/// Where the database fails.
pub fn export(connection: &mut Connection, account: i64, actor: &Actor, now: i64) -> Result<Labels, Refused> {
    let transaction = begin(connection)?;
    let labels = written(&marked(&transaction, account)?)
        .map_err(|error| DbError::Foreign(format!("marks that are no table ({error})")))?;
    audit::record(&transaction, actor, Action::Exported, Some("marks"), now)?;
    transaction.commit()?;
    Ok(labels)
}

/// A capture of an account with flows that are marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkedCapture {
    /// The capture.
    pub sha256: Sha256Hex,
    /// What the newest of its entries calls its file: any text.
    pub name: String,
    /// Flows of it that are marked.
    pub flows: u64,
}

/// The captures of an account with marks, the newest first; at most so many.
///
/// # Errors
/// Where the database fails.
pub fn marked_captures(connection: &Connection, account: i64, most: u32) -> Result<Vec<MarkedCapture>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT e.sha256, max(e.id) AS newest, e.name,
            count(DISTINCT m.first_ns || ' ' || m.client || ' ' || m.client_port || ' ' || m.server || ' ' || m.server_port)
            FROM marks m JOIN entries e ON e.id = m.entry_id WHERE e.account_id = ?1
            GROUP BY e.sha256 ORDER BY newest DESC LIMIT ?2",
    )?;
    let mut rows = statement.query(params![account, most])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (sha256, flows): (String, i64) = (row.get(0)?, row.get(3)?);
        found.push(MarkedCapture {
            sha256: sha256.parse().map_err(|_| DbError::Foreign(format!("the hash {sha256:?}")))?,
            name: row.get(2)?,
            flows: u64::try_from(flows).unwrap_or_default(),
        });
    }
    Ok(found)
}

/// The newest entry of each capture of an account with marks, by the capture's hash: its key, and what its file was called.
///
/// # Errors
/// Where the database fails.
pub fn captures_of(connection: &Connection, account: i64) -> Result<BTreeMap<String, (String, String)>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT e.sha256, e.key, e.name, max(e.id) FROM marks m JOIN entries e ON e.id = m.entry_id
            WHERE e.account_id = ?1 AND e.state = 'done' GROUP BY e.sha256",
    )?;
    let rows = statement.query_map([account], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The marks of some of an account's captures as labels, and how many there are.
///
/// # Errors
/// Where the database fails.
pub fn labels_of(connection: &Connection, account: i64, captures: &[Sha256Hex]) -> Result<(Labels, u64), DbError> {
    let mut all = marked(connection, account)?;
    all.retain(|sha256, _| captures.iter().any(|capture| capture.as_str() == sha256));
    let count = all.values().map(|capture| capture.flows.len() as u64).sum();
    let labels = written(&all).map_err(|error| DbError::Foreign(format!("marks that are no table ({error})")))?;
    Ok((labels, count))
}

/// What tells two flows of a capture apart in every result of it.
type FlowPlace = (u64, IpAddr, u16, IpAddr, u16);

/// The labels of one capture.
#[derive(Default)]
struct Marked {
    /// The name of its file.
    path: String,
    flows: BTreeMap<FlowPlace, Label>,
}

/// The labels of an account by the captures' hashes.
fn marked(connection: &Connection, account: i64) -> Result<BTreeMap<String, Marked>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT m.*, a.display_name, e.sha256, e.inspection ->> 'format' AS format,
            e.inspection ->> 'compression' AS compression
            FROM marks m JOIN entries e ON e.id = m.entry_id JOIN accounts a ON a.id = m.account_id
            WHERE e.account_id = ?1 ORDER BY m.id",
    )?;
    let mut rows = statement.query([account])?;
    let mut captures: BTreeMap<String, Marked> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let sha256: String = row.get("sha256")?;
        let format: Option<String> = row.get("format")?;
        let compression: Option<String> = row.get("compression")?;
        let path = format!("{sha256}.{}", ending(format.as_deref(), compression.as_deref()));
        let flow = read_flow(row)?;
        let place = (flow.first_ns, flow.client, flow.client_port, flow.server, flow.server_port);
        let label = Label {
            flow,
            malicious: row.get("malicious")?,
            words: row.get("reason")?,
            by: row.get("display_name")?,
            at: row.get("at")?,
        };
        let capture = captures.entry(sha256).or_default();
        capture.path = path;
        // In the order of time: the newest replaces.
        capture.flows.insert(place, label);
    }
    Ok(captures)
}

/// The name of an entry's capture in an export: what it holds, and nothing that anybody chose.
pub fn capture_name(entry: &Entry) -> String {
    let inspection = &entry.inspection;
    format!("{}.{}", entry.sha256, ending(Some(&inspection.format), inspection.compression.as_deref()))
}

/// How many flows of an account's entries are marked.
///
/// # Errors
/// Where the database fails.
pub fn count(connection: &Connection, account: i64) -> Result<u64, DbError> {
    let count: i64 = connection
        .prepare_cached(
            "SELECT count(*) FROM (SELECT DISTINCT m.entry_id, m.flow_id FROM marks m
                JOIN entries e ON e.id = m.entry_id WHERE e.account_id = ?1)",
        )?
        .query_row([account], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// How the name of a capture's file ends.
fn ending(format: Option<&str>, compression: Option<&str>) -> String {
    let format = if format.is_some_and(|name| name.starts_with("pcapng")) { "pcapng" } else { "pcap" };
    match compression {
        Some("gzip") => format!("{format}.gz"),
        Some("zstd") => format!("{format}.zst"),
        _ => format.to_owned(),
    }
}

fn written(captures: &BTreeMap<String, Marked>) -> Result<Labels, csv::Error> {
    let mut captures_csv = csv::Writer::from_writer(Vec::new());
    let mut flows_csv = csv::Writer::from_writer(Vec::new());
    captures_csv.write_record(["path", "kind", "family", "source", "sha256_original"])?;
    // People's words have a column of their own: in one called `reason`, training looks for the name of a family.
    flows_csv.write_record([
        "path",
        "time",
        "client",
        "client_port",
        "server",
        "server_port",
        "label",
        "confidence",
        "family",
        "sni",
        "words",
        "by",
        "at",
    ])?;
    for (sha256, Marked { path, flows }) in captures {
        // Nobody named a family, so each capture is one of its own: training then leaves out one capture at a time.
        let family = format!("marked-{}", sha256.get(..12).unwrap_or(sha256));
        let is_malicious = flows.values().any(|label| label.malicious);
        // Never `benign`, which would speak for all flows of the capture.
        let (kind, capture_family) = if is_malicious { ("malicious", family.as_str()) } else { ("unlabelled", "") };
        captures_csv.write_record([path, kind, capture_family, "portal", sha256])?;
        for Label { flow, malicious, words, by, at } in flows.values() {
            let (label, flow_family) = if *malicious { ("malicious", family.as_str()) } else { ("benign", "") };
            flows_csv.write_record([
                path.clone(),
                format!("{}.{:09}", flow.first_ns / 1_000_000_000, flow.first_ns % 1_000_000_000),
                flow.client.to_string(),
                flow.client_port.to_string(),
                flow.server.to_string(),
                flow.server_port.to_string(),
                label.to_owned(),
                "source".to_owned(),
                flow_family.to_owned(),
                harmless(flow.sni.clone().unwrap_or_default()),
                harmless(words.clone()),
                harmless(by.clone()),
                Timestamp::from_second(*at).map(|at| at.to_string()).unwrap_or_default(),
            ])?;
        }
    }
    let text = |writer: csv::Writer<Vec<u8>>| {
        writer
            .into_inner()
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .map_err(|error| csv::Error::from(std::io::Error::new(error.error().kind(), error.to_string())))
    };
    Ok(Labels { captures: text(captures_csv)?, flows: text(flows_csv)? })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::AtomicBool;

    use veilwatch::config::Config;
    use veilwatch::engine::{self, Detection, Pipeline, Progress, RunOptions, Sink};
    use veilwatch::learn::{self, Feedback, LoadOptions, Loading, LostMarks, OnConflict, Origin, Truth};
    use veilwatch::plugins::Registry;
    use veilwatch::source::Source;

    use super::*;
    use crate::entries::find;
    use crate::uploads::Key;
    use crate::uploads::testing::{NOW, Place, actor};

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
        let new = NewMark { flow, malicious, reason };
        mark(&mut place.connection, account, key.as_str(), &new, &actor(), NOW)
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
        assert_eq!((first.latest.malicious, first.latest.reason.as_str()), (false, "asked the owner"));
        assert_eq!((first.latest.by.as_str(), first.latest.at), ("ada", NOW));
        let history: Vec<_> = first.history.iter().map(|mark| (mark.malicious, mark.reason.as_str())).collect();
        assert_eq!(history, [(true, "looks bad")]);
        assert!(marks[&2].history.is_empty());
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

        let labels = export(&mut place.connection, ada, &actor(), NOW).unwrap();
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
        assert_eq!(rows(labels.captures_csv()), captures);
        let mut flows = rows(labels.flows_csv());
        flows.sort_by(|a, b| a[1].cmp(&b[1]));
        let ends = ["192.0.2.1", "50000", "2001:db8::1", "443"];
        assert_eq!(flows.len(), 3);
        assert_eq!(flows[0][..2], [format!("{x}.pcap"), "1700000001.000000007".to_owned()]);
        assert_eq!(flows[0][2..6], ends);
        assert_eq!(flows[0][6..9], ["malicious", "source", &family]);
        let at = Timestamp::from_second(NOW).unwrap().to_string();
        assert_eq!(flows[0][9..], ["a.example", "'=cmd|' /C calc'!A0, \"quoted\" = Zeus C&C", "ada", &at]);
        assert_eq!(flows[1][6..], ["benign", "source", "", "'@evil\nexample", "harmless", "ada", &at]);
        assert_eq!(flows[2][0], format!("{y}.pcapng.zst"));
        assert!(!labels.flows_csv().contains("bob's own"));
        assert_eq!(place.actions().last().map(String::as_str), Some("exported"));

        let none = export(&mut place.connection, 999, &actor(), NOW).unwrap();
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
        let labels = export(&mut place.connection, ada, &actor(), NOW).unwrap();
        let training = tempfile::tempdir().unwrap();
        std::fs::write(training.path().join("captures.csv"), labels.captures_csv()).unwrap();
        std::fs::write(training.path().join("flows.csv"), labels.flows_csv()).unwrap();
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
}
