//! QUIC over real captures: the hellos that we read, and those that tshark reads.
//!
//! What tshark reads stands in `oracle/quic-tshark.tsv`, which `oracle/quic.py` writes. The differences stand in
//! `oracle/quic-differences.md`, and this test fails when they are others. How to write both again stands in
//! `oracle/README.md`.

// All of this file is a test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod common;

use common::shared;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use veilwatch::source::{InputLimits, Source};
use veilwatch_core::flow::{FlowLimits, FlowTable};
use veilwatch_core::packet::{DecodeLimits, Decoder};
use veilwatch_core::plugin::{ProtocolTemplate, Settings};
use veilwatch_core::record::{ClientHello, Ja4, ja4};
use veilwatch_protocol_quic::Quic;
use veilwatch_protocol_tls::Tls;

const TSHARK: &str = include_str!("oracle/quic-tshark.tsv");
const TABLE: &str = "oracle/quic-differences.md";
/// What stands before the rows in it.
const ROWS: &str = "\n## All differences\n\n| capture | ports | SNI | JA4 | read by | class |\n|---|---|---|---|---|---|\n";

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
    let templates: Vec<Box<dyn ProtocolTemplate>> = vec![Box::new(tls), Box::new(quic)];
    // One table instead of 64: it may hold as much as they do together.
    let limits = FlowLimits { flows_per_shard: 1 << 20, prefix_bytes_per_shard: 256 << 20, ..FlowLimits::default() };
    let mut table = FlowTable::new(limits, 1);
    let mut decoder = Decoder::new(DecodeLimits::default(), 1);
    let mut spare = None;
    let Ok(mut source) = Source::open(path, &InputLimits::default()) else { return BTreeSet::new() };
    while let Some(block) = source.next_block(spare.take()).unwrap() {
        for packet in block.packets() {
            if let Ok(decoded) = decoder.decode(0, &packet) {
                table.push(packet.number, packet.time_ns, &decoded, &templates);
            }
        }
        spare = Some(block);
    }
    table.finish_all(0, &templates);
    assert_eq!(table.counters().template_errors, 0, "{}", path.display());
    let mut hellos = BTreeSet::new();
    for flow in table.take_finished().iter().filter(|flow| flow.protocol == 17) {
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

impl Row {
    fn line(&self, class: &str) -> String {
        let (ports, sni, ja4) = &self.hello;
        format!("| {} | {ports} | {sni} | `{ja4}` | {} | {class} |", self.capture, self.reader)
    }
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
    let lines: Vec<String> = all.rows.iter().map(|row| row.line(row.class(&all.rows))).collect();
    lines.iter().for_each(|line| println!("{line}"));
}
