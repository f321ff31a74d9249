//! JA4 over real captures: ours against another implementation's, over the same bytes.
//!
//! The differences stand in `oracle/ja4-differences.md`, and this test fails when they are others. How to run it over
//! all captures and write that file again stands in `oracle/README.md`.

// All of this file is a test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

#[path = "common/flows.rs"]
mod flows;

use flows::flows;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use veilwatch::source::{InputLimits, Source};
use veilwatch_core::flow::{Direction, FlowRecord, Templates};
use veilwatch_core::plugin::{PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView};
use veilwatch_core::record::{ClientHello, FieldId, Ja4, Mark, Value, ja4, ja4_raw};
use veilwatch_protocol_tls::Tls;

const TABLE: &str = "oracle/ja4-differences.md";
/// What stands before the rows in it.
const ROWS: &str = "\n## All differences\n\n| capture | packet | ours | huginn | class |\n|---|---|---|---|---|\n";

/// Where the wrapper below keeps the client's hello as a single record.
const HELLO: FieldId = FieldId(FieldId::FIRST_DECLARED.0);

/// The template, and beside what it writes the bytes of the ClientHello.
struct WithBytes(Tls);

impl ProtocolTemplate for WithBytes {
    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        self.0.probe(stream)
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let hello = [Direction::Forward, Direction::Backward].map(|direction| hello(stream.bytes(direction)));
        if let Some(hello) = hello.into_iter().flatten().next() {
            out.field(HELLO, Value::Bytes(&hello));
        }
        self.0.parse(stream, out)
    }
}

/// The ClientHello that a direction begins with: in one record, however many it came in; in SSL 2.0 form as it is.
fn hello(bytes: &[u8]) -> Option<Vec<u8>> {
    if let [first, _, 1, 0 | 3, ..] = *bytes
        && first & 0x80 != 0
    {
        return Some(bytes.to_vec());
    }
    let version = bytes.get(1..3)?;
    let mut message = Vec::new();
    let mut rest = bytes;
    // TLS, or the Chinese national one, whose version is 1.1; a ChangeCipherSpec may stand before a second hello.
    while let [kind @ (20 | 22), 3 | 1, _, high, low, ref body @ ..] = *rest {
        let len = usize::from(u16::from_be_bytes([high, low])).min(body.len());
        if kind == 22 {
            message.extend_from_slice(&body[..len]);
        }
        rest = &body[len..];
    }
    let &[1, a, b, c, ..] = message.as_slice() else { return None };
    message.truncate(4 + u32::from_be_bytes([0, a, b, c]) as usize);
    let mut record = vec![22, version[0], version[1]];
    record.extend_from_slice(&u16::try_from(message.len()).ok()?.to_be_bytes());
    record.append(&mut message);
    Some(record)
}

/// What was found in one capture.
#[derive(Default)]
struct Found {
    hellos: usize,
    equal: usize,
    rows: Vec<Row>,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    capture: String,
    packet: u64,
    ours: String,
    theirs: String,
    class: &'static str,
}

/// Classes of differences: name, who is right, why.
const CLASSES: [(&str, &str, &str); 4] = [
    (
        "old-form",
        "both",
        "a ClientHello in SSL 2.0 form: huginn reads records of TLS alone, ours is over version and suites",
    ),
    ("cut", "both", "the capture ends within the hello: huginn reads whole ones alone, ours is over what there is"),
    (
        "broken",
        "both",
        "fuzzed, its lengths contradict each other: huginn reads nothing, ours is over version and suites",
    ),
    (UNEXPLAINED, "?", ""),
];
const UNEXPLAINED: &str = "UNEXPLAINED";
const UNREAD: &str = "none";

impl Row {
    fn line(&self) -> String {
        let Self { capture, packet, ours, theirs, class } = self;
        format!("| {capture} | {packet} | `{ours}` | `{theirs}` | {class} |")
    }
}

fn look(folder: &Path, capture: &str) -> Found {
    let template = WithBytes(Tls::create(Settings::new("")).unwrap());
    let templates = Templates::new(vec![Box::new(template)]);
    let source = Source::open(&folder.join(capture), &InputLimits::default()).unwrap();
    let mut found = Found::default();
    for flow in flows(source, &templates) {
        compare(&flow, capture, &mut found);
    }
    found
}

fn compare(flow: &FlowRecord, capture: &str, found: &mut Found) {
    let Some(client) = flow.fields.record::<ClientHello<'_>>() else { return };
    found.hellos += 1;
    let bytes = match flow.fields.get(HELLO) {
        Some(Value::Bytes(bytes)) => bytes,
        _ => &[],
    };
    let ours = ja4(&client, Ja4::Tcp);
    let theirs = huginn_net_tls::parse_tls_client_hello_ja4(bytes);
    if theirs.as_ref() == Some(&ours) {
        found.equal += 1;
        return;
    }
    // Where both read the hello, nothing excuses a difference.
    let class = if theirs.is_none() { explain(&client, bytes) } else { UNEXPLAINED };
    if class == UNEXPLAINED {
        println!("{capture}: {ours} is {theirs:?} to huginn; {}", ja4_raw(&client, Ja4::Tcp));
    }
    found.rows.push(Row {
        capture: capture.to_owned(),
        packet: flow.packet_of(Some(Mark::ClientHello)),
        ours,
        theirs: theirs.unwrap_or_else(|| UNREAD.to_owned()),
        class,
    });
}

/// The class of a hello that huginn does not read, by what the bytes are.
fn explain(client: &ClientHello<'_>, record: &[u8]) -> &'static str {
    if client.record_version == 2 {
        return "old-form";
    }
    let Some(&[a, b, c]) = record.get(6..9) else { return UNEXPLAINED };
    if u32::from_be_bytes([0, a, b, c]) as usize > record.len() - 9 {
        return "cut";
    }
    if suites_fit(&record[9..]) == Some(true) { UNEXPLAINED } else { "broken" }
}

/// Whether the list of suites is one, and leaves room for what comes behind it.
fn suites_fit(body: &[u8]) -> Option<bool> {
    let at = 35 + usize::from(*body.get(34)?);
    let len = u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]);
    body.get(at + 2 + usize::from(len))?;
    Some(len % 2 == 0)
}

fn captures(folder: &Path) -> Vec<String> {
    let mut table = csv::Reader::from_path(folder.join("captures.csv")).unwrap();
    let mut paths: Vec<String> = table.records().map(|row| row.unwrap()[0].to_owned()).collect();
    paths.sort();
    paths
}

fn document(captures: usize, found: &Found) -> String {
    let unread = found.rows.iter().filter(|row| row.theirs == UNREAD).count();
    let mut text = format!(
        "# JA4: what huginn-net-tls and we say\n\nWritten by `tests/ja4_oracle.rs`; do not edit. How to write it again \
         stands in [README.md](README.md).\n\n| | count | of all |\n|---|---|---|\n| captures | {captures} | |\n\
         | ClientHellos | {} | |\n| JA4 equal | {} | {:.2} % |\n| not read by huginn | {} | {:.2} % |\n\
         | JA4 differs, both read it | {} | |\n\n## Classes\n\n\
         | class | rows | who is right | why |\n|---|---|---|---|\n",
        found.hellos,
        found.equal,
        100.0 * found.equal as f64 / found.hellos as f64,
        unread,
        100.0 * unread as f64 / found.hellos as f64,
        found.rows.len() - unread,
    );
    let mut counts = BTreeMap::<_, usize>::new();
    for row in &found.rows {
        *counts.entry(row.class).or_default() += 1;
    }
    for (name, right, why) in CLASSES {
        if let Some(count) = counts.get(name) {
            writeln!(text, "| {name} | {count} | {right} | {why} |").unwrap();
        }
    }
    text.push_str(ROWS);
    for row in &found.rows {
        writeln!(text, "{}", row.line()).unwrap();
    }
    text
}

#[test]
fn ja4_is_what_another_implementation_finds() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder: PathBuf = here.join("../../shared/data/train");
    if !folder.is_dir() {
        println!("skipped: ../shared/data/train is not there");
        return;
    }
    let write = std::env::var_os("VEILWATCH_WRITE_ORACLE").is_some_and(|value| value == "1");
    let paths = captures(&folder);
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Found::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = look(&folder, path);
                    let mut all = all.lock().unwrap();
                    all.hellos += found.hellos;
                    all.equal += found.equal;
                    all.rows.extend(found.rows);
                }
            });
        }
    });
    let mut all = all.into_inner().unwrap();
    all.rows.sort();
    println!("{} captures, {} ClientHellos, {} equal, {} differ", paths.len(), all.hellos, all.equal, all.rows.len());
    let table = here.join("tests").join(TABLE);
    if write {
        std::fs::write(&table, document(paths.len(), &all)).unwrap();
    }
    let known = std::fs::read_to_string(&table).unwrap();
    let known: BTreeSet<&str> = known.split_once(ROWS).unwrap().1.lines().collect();
    let lines: Vec<String> = all.rows.iter().map(Row::line).collect();
    let now: BTreeSet<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(now.len(), lines.len(), "a difference stands twice");
    assert_eq!(now.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new(), "new differences");
    assert_eq!(known.difference(&now).collect::<Vec<_>>(), Vec::<&&str>::new(), "differences that are gone");
    assert!(all.hellos > paths.len() * 5, "{} hellos in {} captures", all.hellos, paths.len());
    assert!(all.rows.iter().all(|row| row.class != UNEXPLAINED), "differences without a reason");
}
