//! What protocols show in clear, over real captures: the first HTTP exchange and the greetings of mail and FTP
//! servers, ours against tshark's.
//!
//! What tshark reads is stored in `oracle/clear-tshark.tsv.gz`; the differences stand in `oracle/clear-differences.md`,
//! and this test fails when they are others. How both are written again stands in `oracle/README.md`.

// All of this file is a test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use veilwatch::engine::{Detection, Pipeline, Progress, RunOptions, Sink, run};
use veilwatch::plugins::Registry;
use veilwatch::source::Source;
use veilwatch_core::record::Value;

const STORED: &str = "oracle/clear-tshark.tsv.gz";
const TABLE: &str = "oracle/clear-differences.md";
/// What stands before the rows in it.
const ROWS: &str =
    "\n## All differences\n\n| capture | packet | field | tshark | we | class |\n|---|---|---|---|---|---|\n";

/// The values of a line of the oracle, in its order, and our fields for them.
const FIELDS: [(&str, &str); 8] = [
    ("HTTP method", "http.http_method"),
    ("HTTP Host", "http.hostname"),
    ("HTTP User-Agent", "http.http_user_agent"),
    ("HTTP status", "http.status"),
    ("SMTP greeting", "smtp.banner"),
    ("FTP greeting", "ftp.banner"),
    ("IMAP greeting", "imap.banner"),
    ("POP3 greeting", "pop3.banner"),
];

type End = (IpAddr, u16);

/// Values, as text, and what tells which flow they belong to.
#[derive(Debug, Clone)]
struct Seen {
    /// The first packet of a flow of ours; where tshark reads first in a stream.
    packet: u64,
    /// In the order of addresses.
    ends: [End; 2],
    values: [String; 8],
}

fn in_order(mut ends: [End; 2]) -> [End; 2] {
    ends.sort();
    ends
}

/// The oracle, by capture.
fn stored(path: &Path) -> BTreeMap<String, Vec<Seen>> {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    let mut captures = BTreeMap::<String, Vec<Seen>>::new();
    for line in String::from_utf8_lossy(&bytes).lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        let [capture, packet, one, two, values @ ..] = &cells[..] else { panic!("{line}") };
        let end = |text: &str| -> Option<End> {
            let (ip, port) = text.split_once(' ')?;
            Some((ip.parse().ok()?, port.parse().ok()?))
        };
        // Without addresses there is no flow, as in a capture of something else than IP.
        let (Some(one), Some(two)) = (end(one), end(two)) else { continue };
        let values = std::array::from_fn(|at| clean(values[at]));
        let seen = Seen { packet: packet.parse().unwrap(), ends: in_order([one, two]), values };
        captures.entry((*capture).to_owned()).or_default().push(seen);
    }
    captures
}

/// A value as both sides can write it: tshark escapes what is no text, each in its own way.
fn clean(text: &str) -> String {
    let text: String = text.chars().filter(|c| c.is_ascii() && !c.is_ascii_control() && *c != '\\').collect();
    text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Our flows that have any of the fields.
#[derive(Default)]
struct Ours(Vec<Seen>);

impl Sink for Ours {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        let (flow, fields) = (detection.flow, detection.pipeline.fields());
        let text = |name: &str| match fields.id(name).and_then(|id| flow.fields.get(id)) {
            Some(Value::U64(number)) => number.to_string(),
            Some(Value::Bytes(bytes)) => clean(&String::from_utf8_lossy(bytes)),
            _ => String::new(),
        };
        let values: [String; 8] = std::array::from_fn(|at| text(FIELDS[at].1));
        if flow.protocol == 6 && values.iter().any(|value| !value.is_empty()) {
            let ends = [flow.originator, flow.responder].map(|end| (end.ip(), end.port));
            self.0.push(Seen { packet: flow.first_packet, ends: in_order(ends), values });
        }
        Ok(())
    }
}

fn ours(pipeline: &Pipeline, path: &Path) -> Vec<Seen> {
    let Ok(source) = Source::open(path, &pipeline.config().input) else { return Vec::new() };
    let (stop, progress) = (AtomicBool::new(false), Progress::default());
    let options = RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress };
    let mut flows = Ours::default();
    run(pipeline, source, options, &mut flows).unwrap();
    flows.0
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    capture: String,
    packet: u64,
    field: &'static str,
    theirs: String,
    ours: String,
    class: &'static str,
}

impl Row {
    fn line(&self) -> String {
        let Self { capture, packet, field, theirs, ours, class } = self;
        let cell = |text: &str| text.replace('|', "\\|");
        format!("| {capture} | {packet} | {field} | {} | {} | {class} |", cell(theirs), cell(ours))
    }
}

const UNEXPLAINED: &str = "UNEXPLAINED";

/// Classes of differences: name, who is right, why.
const CLASSES: [(&str, &str, &str); 12] = [
    ("answer", "tshark", "a server answers in HTTP to what is none: we go by who spoke first, tshark by each segment"),
    ("scanner", "both", "a scanner says something else to a mail server: we go by who spoke first, tshark by the port"),
    ("port", "we", "tshark gives the port to another dissector"),
    ("cut", "we", "segments of the first request are missing: tshark waits for them, we read what is there"),
    (
        "hole",
        "both",
        "the first response is missing: tshark shows the second one, we do not take it for the first one's",
    ),
    ("notification", "we", "requests of UPnP, which tshark tells in another field"),
    ("evader", "both", "made to be read in different ways: status lines that are none, which browsers take"),
    ("tunnel", "tshark", "inside a tunnel that is not decoded"),
    ("networks", "we", "the same ends in two networks: tshark takes the second for packets sent again"),
    ("null", "both", "inside TLS without encryption, which tshark reads on"),
    ("resent", "we", "every packet stands there twice, and tshark leaves the second one out with what it completes"),
    (UNEXPLAINED, "?", ""),
];

/// Captures that were looked into: part of the path, and the class of all differences in it.
const LOOKED_INTO: [(&str, &str); 13] = [
    ("PcapPlusPlus__4KHttpRequests.pcap", "cut"),
    ("boundary_wireshark__test.cap", "notification"),
    ("suricata-verify__http-evader_input.pcap", "evader"),
    ("zeek_zeek__ayiya3.pcap", "tunnel"),
    ("zeek_zeek__gre-over-udp-4754.pcap", "tunnel"),
    ("zeek_zeek__vlan-collisions.pcap", "networks"),
    ("zeek_zeek__vxlan-overlapping-http-get.pcap", "networks"),
    ("wireshark-notes__tls-null.pcap", "null"),
    ("ntop_nDPI__1kxun.pcap.gz", "hole"),
    ("ntop_nDPI__KakaoTalk_talk.pcap.gz", "resent"),
    // SMTP on port 80, HTTP on port 1080.
    ("2017-10-10-Emotet-malspam-traffic.pcap.gz", "port"),
    ("ACandeias.IntrusionDetection__tijcont.pcap", "port"),
    ("linux-cooked-unsw-nb15.pcap", "hole"),
];

/// The class of a difference; `asked` says whether either program sees a request.
fn explain(capture: &str, at: usize, theirs: &str, ours: &str, asked: bool) -> &'static str {
    if let Some((_, class)) = LOOKED_INTO.iter().find(|(part, _)| capture.ends_with(part)) {
        return class;
    }
    let greeting = FIELDS[at].0.ends_with("greeting");
    match (theirs.is_empty(), ours.is_empty()) {
        (false, true) if FIELDS[at].0 == "HTTP status" && !asked => "answer",
        (false, true) if greeting && capture.ends_with("ids-pcap-analysis__alert6.pcap.gz") => "scanner",
        (true, false) if !greeting && capture.ends_with("ids-pcap-analysis__alert6.pcap.gz") => "port",
        _ => UNEXPLAINED,
    }
}

/// How many values there are, and how many are the same.
#[derive(Debug, Default, Clone, Copy)]
struct Count {
    theirs: usize,
    equal: usize,
}

#[derive(Default)]
struct Found {
    counts: [Count; 8],
    rows: Vec<Row>,
}

fn compare(capture: &str, theirs: &[Seen], ours: &[Seen], found: &mut Found) {
    let mut left: Vec<Option<&Seen>> = ours.iter().map(Some).collect();
    let mut row = |packet, at: usize, theirs: &str, ours: &str, asked: bool| {
        let class = explain(capture, at, theirs, ours, asked);
        let (theirs, ours) = (theirs.to_owned(), ours.to_owned());
        found.rows.push(Row { capture: capture.to_owned(), packet, field: FIELDS[at].0, theirs, ours, class });
    };
    for stream in theirs {
        // A stream of tshark's may be several flows of ours, one after the other.
        let near = (0..ours.len())
            .filter(|at| ours[*at].ends == stream.ends && ours[*at].packet <= stream.packet)
            .max_by_key(|at| ours[*at].packet);
        if let Some(at) = near {
            left[at] = None;
        }
        let asked = !stream.values[0].is_empty() || near.is_some_and(|near| !ours[near].values[0].is_empty());
        for (at, value) in stream.values.iter().enumerate() {
            let mine = near.map_or("", |near| ours[near].values[at].as_str());
            if value.is_empty() && mine.is_empty() {
                continue;
            }
            found.counts[at].theirs += usize::from(!value.is_empty());
            if same(at, value, mine) {
                found.counts[at].equal += 1;
            } else {
                row(stream.packet, at, value, mine, asked);
            }
        }
    }
    for flow in left.into_iter().flatten() {
        for (at, value) in flow.values.iter().enumerate().filter(|(_, value)| !value.is_empty()) {
            row(flow.packet, at, "", value, true);
        }
    }
}

/// Whether two values are the same; ours are cut at 512 bytes or 255.
fn same(at: usize, theirs: &str, ours: &str) -> bool {
    let theirs = if FIELDS[at].0 == "IMAP greeting" {
        theirs.trim_start_matches("* ").split_once(' ').map_or("", |(_, text)| text)
    } else {
        theirs
    };
    theirs == ours || (ours.len() >= 250 && theirs.starts_with(ours))
}

fn document(captures: usize, counts: [Count; 8], rows: &[Row]) -> String {
    let mut text = format!(
        "# What stands in clear: what tshark and we read\n\nWritten by `tests/clear_oracle.rs` over {captures} captures in \
         which tshark finds any of it; do not edit.\nHow to write it again stands in [README.md](README.md).\n\n\
         One value for each TCP stream: that of the first request, of the first response, of the greeting.\n\n\
         | | tshark reads | equal | of all | only we |\n|---|---|---|---|---|\n"
    );
    for ((name, _), count) in FIELDS.iter().zip(counts) {
        let share = 100.0 * count.equal as f64 / count.theirs as f64;
        let only = rows.iter().filter(|row| row.field == *name && row.theirs.is_empty()).count();
        writeln!(text, "| {name} | {} | {} | {share:.2} % | {only} |", count.theirs, count.equal).unwrap();
    }
    text.push_str("\n## Classes\n\n| class | rows | who is right | why |\n|---|---|---|---|\n");
    for (name, right, why) in CLASSES {
        let count = rows.iter().filter(|row| row.class == name).count();
        if count > 0 {
            writeln!(text, "| {name} | {count} | {right} | {why} |").unwrap();
        }
    }
    text.push_str(ROWS);
    rows.iter().for_each(|row| writeln!(text, "{}", row.line()).unwrap());
    text
}

#[test]
fn what_stands_in_clear_is_what_another_program_reads() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let (Some(train), Some(_)) = (common::shared("train"), common::shared("badinput")) else { return };
    let folder = train.parent().unwrap();
    let oracle = stored(&here.join(STORED));
    let pipeline = Pipeline::untrained(common::protocols(), &mut Registry::with_builtins().unwrap()).unwrap();
    let captures: Vec<(&String, &Vec<Seen>)> = oracle.iter().collect();
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Found::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((capture, theirs)) = captures.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let flows = ours(&pipeline, &folder.join(capture));
                    compare(capture, theirs, &flows, &mut all.lock().unwrap());
                }
            });
        }
    });
    let Found { counts, mut rows } = all.into_inner().unwrap();
    rows.sort();
    for ((name, _), count) in FIELDS.iter().zip(counts) {
        println!("{name}: {} of {} equal", count.equal, count.theirs);
    }
    let table = here.join(TABLE);
    if std::env::var_os("VEILWATCH_WRITE_ORACLE").is_some_and(|value| value == "1") {
        std::fs::write(&table, document(captures.len(), counts, &rows)).unwrap();
    }
    let known = std::fs::read_to_string(&table).unwrap();
    let known: BTreeSet<&str> = known.split_once(ROWS).unwrap().1.lines().collect();
    let lines: Vec<String> = rows.iter().map(Row::line).collect();
    let now: BTreeSet<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(now.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new(), "new differences");
    assert_eq!(known.difference(&now).collect::<Vec<_>>(), Vec::<&&str>::new(), "differences that are gone");
    assert!(rows.iter().all(|row| row.class != UNEXPLAINED), "differences without a reason");
    // What requests say is the same in 999 of a thousand.
    assert!(counts[..3].iter().all(|count| count.theirs > 4000 && count.equal * 1000 >= count.theirs * 999));
}
