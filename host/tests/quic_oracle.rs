//! QUIC over real captures: the hellos that we read, and those that tshark reads.
//!
//! What tshark reads stands in `oracle/quic-tshark.tsv`, which `oracle/quic.py` writes. The differences stand in
//! `oracle/quic-differences.md`, and this test fails when they are others. How to write both again stands in
//! `oracle/README.md`.

// All of this file is a test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod common;
#[path = "common/flows.rs"]
mod flows;

use common::shared;
use flows::flows;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use veilwatch::source::{InputLimits, Source};
use veilwatch_core::flow::Templates;
use veilwatch_core::plugin::Settings;
use veilwatch_core::record::{ClientHello, Ja4, ja4};
use veilwatch_protocol_quic::Quic;
use veilwatch_protocol_tls::Tls;

const TSHARK: &str = include_str!("oracle/quic-tshark.tsv");
const TABLE: &str = "oracle/quic-differences.md";
/// What stands before the rows in it.
const ROWS: &str =
    "\n## All differences\n\n| capture | ports | SNI | JA4 | read by | class |\n|---|---|---|---|---|---|\n";

/// A ClientHello: both ports, server name, JA4.
type Hello = (String, String, String);

/// What tshark reads of each capture.
fn listed() -> BTreeMap<&'static str, BTreeSet<Hello>> {
    let mut captures = BTreeMap::<_, BTreeSet<Hello>>::new();
    let mut capture = "";
    for line in TSHARK.lines().skip(1) {
        let Some(row) = line.strip_prefix('\t') else {
            capture = line;
            captures.insert(capture, BTreeSet::new());
            continue;
        };
        let [_packet, client, server, sni, ja4] = row.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        captures.get_mut(capture).unwrap().insert((format!("{client} → {server}"), sni.into(), ja4.into()));
    }
    captures
}

/// What we read of a capture.
fn look(path: &Path) -> BTreeSet<Hello> {
    let (tls, quic) = (Tls::create(Settings::new("")).unwrap(), Quic::create(Settings::new("")).unwrap());
    let templates = Templates::new(vec![Box::new(tls), Box::new(quic)]);
    let Ok(source) = Source::open(path, &InputLimits::default()) else { return BTreeSet::new() };
    let mut hellos = BTreeSet::new();
    for flow in flows(source, &templates).iter().filter(|flow| flow.protocol == 17) {
        let Some(hello) = flow.fields.record::<ClientHello<'_>>() else { continue };
        let ports = format!("{} → {}", flow.originator.port, flow.responder.port);
        let sni = hello.sni.escape_ascii().to_string();
        hellos.insert((ports, sni, ja4(&hello, Ja4::of(flow.protocol, &hello))));
    }
    hellos
}

/// What was found in all captures.
#[derive(Default)]
struct Found {
    ours: usize,
    theirs: usize,
    equal: usize,
    rows: Vec<Row>,
}

/// A hello that only one side reads like this.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    capture: &'static str,
    hello: Hello,
    reader: &'static str,
}

/// Differences that were looked into, by the end of the capture's name and the ports: class, who is right, why.
const CLASSES: [(&str, &str, &str, &str, &str); 4] = [
    (
        "Sar-as902_Task-5-Network-Traffic-Analysis__network_traffic.pcap.gz",
        "63403 → 443",
        "cut",
        "both",
        "a part of the hello is not in the capture: tshark waits for it, ours is over what there is",
    ),
    (
        "cisco_mercury__quic-crypto-packets.pcap.gz",
        "57359 → 443",
        "moved",
        "we",
        "the client repeats its hello from another address, over IPv4 after IPv6, with the same connection id; tshark \
         takes it for sent again and shows none, to us it is a flow of its own",
    ),
    (
        "ntop_nDPI__quic-forcing-vn-with-data.pcap",
        "55523 → 4433",
        "negotiated",
        "we",
        "the client asks for a version that nobody speaks, and then for the first one with the same connection id; tshark \
         stays with the keys of the one before",
    ),
    ("tex2e_mako-quic__quic.pcap", "55813 → 4433", "negotiated", "we", "the same"),
];

impl Row {
    /// The class of the difference.
    fn class(&self) -> Option<&'static str> {
        let known = |class: &&(&str, &str, _, _, _)| self.capture.ends_with(class.0) && self.hello.0 == class.1;
        CLASSES.iter().find(known).map(|class| class.2)
    }

    fn line(&self) -> String {
        let (ports, sni, ja4) = &self.hello;
        let class = self.class().unwrap_or(UNEXPLAINED);
        format!("| {} | {ports} | {sni} | `{ja4}` | {} | {class} |", self.capture, self.reader)
    }
}

const UNEXPLAINED: &str = "UNEXPLAINED";

fn document(captures: usize, all: &Found) -> String {
    let share = 100.0 * all.equal as f64 / all.theirs as f64;
    let mut text = format!(
        "# QUIC: what tshark and we say\n\nWritten by `tests/quic_oracle.rs`; do not edit. How to write it again stands in \
         [README.md](README.md).\n\n| | count |\n|---|---|\n| captures in which there might be QUIC | {captures} |\n\
         | ClientHellos that tshark reads | {} |\n| ClientHellos that we read | {} |\n\
         | equal: ports, SNI and JA4 | {} ({share:.2} % of tshark's) |\n\n## Classes\n\n\
         | class | capture | who is right | why |\n|---|---|---|---|\n",
        all.theirs, all.ours, all.equal,
    );
    for (capture, _, class, right, why) in CLASSES {
        writeln!(text, "| {class} | {capture} | {right} | {why} |").unwrap();
    }
    text.push_str(ROWS);
    for row in &all.rows {
        writeln!(text, "{}", row.line()).unwrap();
    }
    text
}

#[test]
fn hellos_are_those_that_tshark_reads() {
    let Some(train) = shared("train") else { return };
    let folder = train.parent().unwrap();
    let listed = listed();
    let captures: Vec<&'static str> = listed.keys().copied().collect();
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Found::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(capture) = captures.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (ours, theirs) = (look(&folder.join(capture)), &listed[capture]);
                    let mut all = all.lock().unwrap();
                    all.ours += ours.len();
                    all.theirs += theirs.len();
                    all.equal += ours.intersection(theirs).count();
                    let mut add = |hello: &Hello, reader| {
                        all.rows.push(Row { capture, hello: hello.clone(), reader });
                    };
                    theirs.difference(&ours).for_each(|hello| add(hello, "tshark"));
                    ours.difference(theirs).for_each(|hello| add(hello, "us"));
                }
            });
        }
    });
    let mut all = all.into_inner().unwrap();
    all.rows.sort();
    println!("{} captures, {} of tshark, {} of ours, {} equal", captures.len(), all.theirs, all.ours, all.equal);
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(TABLE);
    if std::env::var_os("VEILWATCH_WRITE_ORACLE").is_some_and(|value| value == "1") {
        std::fs::write(&table, document(captures.len(), &all)).unwrap();
    }
    let known = std::fs::read_to_string(&table).unwrap();
    let now = document(captures.len(), &all);
    assert!(known == now, "the differences are others\n--- known\n{known}\n--- now\n{now}");
    assert!(all.theirs > 1000, "{} hellos of tshark", all.theirs);
    assert!(all.rows.iter().all(|row| row.class().is_some()), "differences without a reason:\n{now}");
}
