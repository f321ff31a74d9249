//! Captures that other programs stumbled over, and two flows carried in 67 ways each.
//!
//! The captures are not part of the project; without them these tests say so and pass.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;

use common::{err, shared, veilwatch};
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use veilwatch::config::Config;
use veilwatch::engine::{Detection, Pipeline, Progress, RunOptions, Sink, Summary, run};
use veilwatch::output::{JsonSink, Selection};
use veilwatch::plugins::Registry;
use veilwatch::source::Source;
use veilwatch_core::record::{ClientHello, Ja4, ServerHello, ja4};

fn pipeline() -> Pipeline {
    Pipeline::untrained(Config::builtin().unwrap(), &mut Registry::with_builtins().unwrap()).unwrap()
}

fn go(pipeline: &Pipeline, path: &Path, workers: usize, sink: &mut dyn Sink) -> Option<Summary> {
    let source = Source::open(path, &pipeline.config().input).ok()?;
    let (stop, progress) = (AtomicBool::new(false), Progress::default());
    let options = RunOptions { workers, packets: None, stop: &stop, progress: &progress };
    Some(run(pipeline, source, options, sink).unwrap())
}

/// The rows of flows with a ClientHello, as bits.
#[derive(Default)]
struct Rows(Vec<Vec<u32>>);

impl Sink for Rows {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        self.0.extend(detection.scored.map(|scored| scored.row.iter().map(|value| value.to_bits()).collect()));
        Ok(())
    }
}

/// What QUIC shows of TLS: server name, JA4, whether the server's hello was read, and who the originator is.
#[derive(Default)]
struct Hellos(Vec<(String, String, bool, u16)>);

impl Sink for Hellos {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        let flow = detection.flow;
        if let Some(hello) = flow.fields.record::<ClientHello<'_>>() {
            assert!(detection.scored.is_none(), "QUIC has no score");
            assert_eq!(
                flow.template,
                detection.pipeline.template_ids().iter().position(|id| id == "quic").map(|at| at as u8)
            );
            let answered = flow.fields.record::<ServerHello<'_>>().is_some();
            let ja4 = ja4(&hello, Ja4::of(flow.protocol, &hello));
            self.0.push((String::from_utf8_lossy(hello.sni).into_owned(), ja4, answered, flow.originator.port));
        }
        Ok(())
    }
}

/// All files with the cells of their rows in the table of captures.
fn captures(folder: &Path) -> BTreeMap<PathBuf, BTreeMap<String, String>> {
    let mut table = csv::Reader::from_path(folder.join("captures.csv")).unwrap();
    let rows = table.deserialize().map(|row| row.unwrap());
    rows.map(|row: BTreeMap<String, String>| (folder.join(&row["path"]), row)).collect()
}

/// What became of the files.
#[derive(Debug, Default)]
struct Outcomes {
    files: u64,
    /// Not opened: no captures, or without a header.
    refused: u64,
    damaged: u64,
    packets: u64,
    /// Packets that belong to a flow.
    decoded: u64,
    unknown_links: u64,
    joined: u64,
    hellos: u64,
}

#[test]
fn every_file_is_analysed_without_harm() {
    let Some(folder) = shared("badinput") else { return };
    let files: Vec<PathBuf> = captures(&folder).into_keys().collect();
    let pipeline = pipeline();
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Outcomes::default()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut rows = Rows::default();
                    let summary = go(&pipeline, path, 1, &mut rows);
                    let mut sum = outcomes.lock().unwrap();
                    sum.files += 1;
                    let Some(summary) = summary else {
                        sum.refused += 1;
                        continue;
                    };
                    sum.damaged += u64::from(summary.damage.is_some());
                    sum.packets += summary.packets;
                    sum.decoded += summary.packets - summary.skipped.iter().sum::<u64>();
                    sum.unknown_links += summary.unknown_links.values().sum::<u64>();
                    sum.joined += summary.fragments.joined;
                    sum.hellos += rows.0.len() as u64;
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    println!("{outcomes:?}");
    assert_eq!(outcomes.files, files.len() as u64);
    assert!(outcomes.files > 1700 && outcomes.refused < 50, "{outcomes:?}");
    assert!(outcomes.decoded > outcomes.packets / 3, "{outcomes:?}");
    assert!(outcomes.joined > 50, "{outcomes:?}");
}

/// The command itself: whatever the file, it ends with one of its statuses, says what is wrong, and takes little memory.
#[test]
fn the_command_ends_with_a_status_on_every_file() {
    let Some(folder) = shared("badinput") else { return };
    let files: Vec<PathBuf> = captures(&folder).into_keys().collect();
    let (next, statuses) = (AtomicUsize::new(0), Mutex::new(BTreeMap::<i32, u32>::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let done = veilwatch([Path::new("detect"), Path::new("--all"), path]);
                    let (status, said) = err(&done);
                    let status = status.unwrap_or_else(|| panic!("{}: ended by a signal: {said}", path.display()));
                    assert!((0..=3).contains(&status), "{}: status {status}: {said}", path.display());
                    assert!(status != 2 || said.contains(&*path.file_name().unwrap().to_string_lossy()), "{said}");
                    assert!(!said.contains("panicked"), "{}: {said}", path.display());
                    *statuses.lock().unwrap().entry(status).or_default() += 1;
                }
            });
        }
    });
    let most = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    println!("files by status: {:?}; the largest process took {} MB", statuses.into_inner().unwrap(), most / 1024);
    assert!(most < 256 * 1024, "{most} KB");
}

/// Tunnels and fragments too give the same lines with any number of workers.
#[test]
fn any_number_of_workers_says_the_same() {
    let Some(folder) = shared("badinput") else { return };
    let pipeline = pipeline();
    let lines = |path: &Path, workers| {
        let mut sink = JsonSink::new(Vec::new(), Selection { all: true, min_score: None }, None, 512);
        let summary = go(&pipeline, path, workers, &mut sink)?;
        Some(String::from_utf8(sink.summary(&summary).unwrap()).unwrap())
    };
    let some = |path: &PathBuf| {
        let name = path.to_string_lossy();
        name.contains("/tunnel/") || name.contains("frag") || name.contains("derived_metamorphic")
    };
    for path in captures(&folder).into_keys().filter(some) {
        let one = lines(&path, 1);
        for workers in [2, 4, 8] {
            assert!(lines(&path, workers) == one, "{} with {workers} workers", path.display());
        }
    }
}

/// Ways to carry QUIC of which a ClientHello is read and no ServerHello, and why.
const UNANSWERED: [(&str, &str); 1] = [("client_only", "half of the flow is missing")];

/// Every way shows as many ClientHellos as Wireshark finds, all of them the same, with the client as the originator.
#[test]
fn quic_is_read_however_it_is_carried() {
    let Some(folder) = shared("badinput") else { return };
    let pipeline = pipeline();
    let mut ways = BTreeMap::new();
    for (path, cells) in captures(&folder) {
        let Some(way) = path.file_stem().and_then(|stem| stem.to_str()?.strip_prefix("derived__quic__")) else {
            continue;
        };
        let mut hellos = Hellos::default();
        go(&pipeline, &path, 1, &mut hellos).unwrap();
        // Where Wireshark finds no packet the cell is empty.
        let expected: usize = cells["tshark_clienthellos"].parse().unwrap_or(0);
        assert_eq!(hellos.0.len(), expected, "ClientHellos of {way}");
        for (sni, ja4, answered, port) in hellos.0 {
            assert_eq!(
                (sni.as_str(), ja4.as_str()),
                ("www.google.de", "q13d0308h3_55b375c5d22e_f0736a66fa6b"),
                "{way}"
            );
            assert_eq!(port, 34_347, "the client of {way}");
            let why = UNANSWERED.iter().find(|(name, _)| *name == way).map(|(_, why)| *why);
            assert_eq!(answered, why.is_none(), "the ServerHello of {way}: {why:?}");
            ways.insert(way.to_owned(), answered);
        }
    }
    assert_eq!(ways.len(), 67 - 13, "those with a ClientHello");
    // As it is written.
    let mut sink = JsonSink::new(Vec::new(), Selection { all: true, min_score: None }, None, 512);
    let plain = folder.join("derived_metamorphic/derived__quic__pcap_le_us.pcap");
    let summary = go(&pipeline, &plain, 1, &mut sink).unwrap();
    let text = String::from_utf8(sink.summary(&summary).unwrap()).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((&line["app_proto"], &line["proto"], &line["score"]), (&json!("quic"), &json!("UDP"), &json!(null)));
    let tls = &line["tls"];
    assert_eq!(
        (&tls["version"], &tls["sni"], &tls["alpn"]),
        (&json!("TLS 1.3"), &json!("www.google.de"), &json!("h3,h3-29,h3-28,h3-27"))
    );
    assert_eq!(tls["ja4"], "q13d0308h3_55b375c5d22e_f0736a66fa6b");
    assert_eq!(tls["ja3s"]["hash"].as_str().map(str::len), Some(32));
    assert_eq!((&line["fields"]["quic.version"], &line["fields"]["quic.dcil"]), (&json!(1), &json!(16)));
}

/// Ways to carry the flow that change what is known of it, and why.
const DIFFERENT: [(&str, &str); 22] = [
    ("client_only", "half of the flow is missing"),
    ("server_only", "half of the flow is missing"),
    ("drop_every_7th", "packets are missing"),
    ("no_handshake_3way", "packets are missing"),
    ("pcapng_cut", "the last packet is missing"),
    ("pcapng_epb_bad_iface", "no packet can be read: of what link type they are is not said"),
    ("pcapng_no_idb", "no packet can be read: of what link type they are is not said"),
    ("pcapng_spb", "these packets have no times"),
    ("ts_zero", "these packets have no times"),
    ("ts_backwards", "times are features"),
    // A repeated packet is not always a copy made at the tap: retransmissions look alike, and it is counted as one.
    ("duplicated", "every packet counts, and each second one as sent again"),
    ("order_reversed", "order and times of packets are features"),
    ("order_shuffled", "order and times of packets are features"),
    ("snaplen_20", "the handshake is not in the capture"),
    ("snaplen_40", "the handshake is not in the capture"),
    ("snaplen_54", "the handshake is not in the capture"),
    ("snaplen_60", "the handshake is not in the capture"),
    ("snaplen_66", "the handshake is not in the capture"),
    ("snaplen_68", "the handshake is not in the capture"),
    ("snaplen_96", "the handshake is not in the capture"),
    ("snaplen_128", "the handshake is not in the capture"),
    ("snaplen_200", "the handshake is not in the capture"),
];

/// Where we find a ClientHello and Wireshark does not: it takes the first segment that it sees for the stream's first.
const MORE_THAN_WIRESHARK: [&str; 2] = ["order_reversed", "order_shuffled"];

/// The list is reviewed like code; `VEILWATCH_WRITE_GOLDEN=1` writes it anew.
#[test]
fn how_a_flow_is_carried_changes_nothing() {
    let Some(folder) = shared("badinput") else { return };
    let pipeline = pipeline();
    let columns: Vec<String> = pipeline.schema().columns().iter().map(|column| column.name.to_string()).collect();
    let prefix = "derived__tls12__";
    let mut ways = BTreeMap::new();
    for (path, cells) in captures(&folder) {
        let Some(way) = path.file_stem().and_then(|stem| stem.to_str()?.strip_prefix(prefix)) else { continue };
        let mut rows = Rows::default();
        go(&pipeline, &path, 1, &mut rows).unwrap();
        // Where Wireshark finds no packet the cell is empty.
        let expected =
            cells["tshark_clienthellos"].parse().unwrap_or(0) + usize::from(MORE_THAN_WIRESHARK.contains(&way));
        assert_eq!(rows.0.len(), expected, "ClientHellos of {way}");
        ways.insert(way.to_owned(), rows.0);
    }
    assert_eq!(ways.len(), 67);
    let plain = ways["pcap_le_us"][0].clone();
    let mut list = String::new();
    for (way, rows) in &ways {
        let why = DIFFERENT.iter().find(|(name, _)| name == way).map(|(_, why)| *why);
        let said = match rows.first() {
            None => "no row".to_owned(),
            Some(row) if *row == plain => "the same row".to_owned(),
            Some(row) => {
                let other = columns.iter().zip(row.iter().zip(&plain)).filter(|(_, (a, b))| a != b);
                let mut of: Vec<&str> = other.filter_map(|(name, _)| name.split('.').next()).collect();
                of.dedup();
                format!("other values of {}", of.join(", "))
            }
        };
        assert_eq!(said == "the same row", why.is_none(), "{way}: {said}");
        let _ = writeln!(list, "{way}: {said}{}", why.map(|why| format!(" ({why})")).unwrap_or_default());
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/carried.txt");
    if std::env::var_os("VEILWATCH_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &list).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap();
    assert!(list == want, "what carrying changes is no longer what it was\n--- reviewed\n{want}\n--- now\n{list}");
}
