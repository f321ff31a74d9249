//! Display filters: what expressions hold of in the example captures, what tshark finds with the same ones, and the two
//! commands that take them.
//!
//! `query/expressions.txt` has expressions and results. The results are written anew with `VEILWATCH_WRITE_GOLDEN=1`; a new
//! expression needs a line of its own with its mark.

// All of this file is a test.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{example, out, protocols, veilwatch};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use veilwatch::config::Config;
use veilwatch::engine::{Detection, Pipeline, Progress, RunOptions, Sink, run};
use veilwatch::packets::{Browser, Numbers, PacketSink, PacketView, ReadOptions, read};
use veilwatch::plugins::Registry;
use veilwatch::query::{Fields, FlowQuery, Kind, Level, PacketQuery};
use veilwatch::source::Source;
use veilwatch_core::packet::dissect::Datum;
use veilwatch_core::packet::{LinkType, Packet};
use veilwatch_testkit::fuzz::Input;
use veilwatch_testkit::golden;

const EXPRESSIONS: &str = "tests/query/expressions.txt";
/// The least that the table has.
const LEAST: usize = 100;

/// Expressions of one run of tshark.
const TOGETHER: usize = 40;

/// How an expression stands to tshark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// It finds the same.
    Same,
    /// It finds others.
    Other,
    /// It does not know a field, or writes it otherwise.
    Unknown,
}

/// A capture, what is asked of it, and of what level.
struct Section {
    level: Level,
    capture: String,
    asked: Vec<(Mark, String)>,
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(EXPRESSIONS)
}

/// The head of the file, and what is asked in it.
fn asked() -> (String, Vec<Section>) {
    let text = std::fs::read_to_string(path()).unwrap();
    let head: String =
        text.lines().take_while(|line| line.starts_with('#')).fold(String::new(), |all, line| all + line + "\n");
    let mut sections = Vec::new();
    for line in text.lines().skip_while(|line| line.starts_with('#')) {
        let (first, rest) = line.split_once(' ').unwrap_or_default();
        let level = match first {
            // A result.
            "" => continue,
            "packets" => Level::Packet,
            "flows" => Level::Flow,
            mark => {
                let mark = match mark {
                    "=" => Mark::Same,
                    "!" => Mark::Other,
                    "-" => Mark::Unknown,
                    other => panic!("`{other}` is no mark: {line}"),
                };
                let section: &mut Section = sections.last_mut().unwrap();
                section.asked.push((mark, rest.to_owned()));
                continue;
            }
        };
        sections.push(Section { level, capture: rest.to_owned(), asked: Vec::new() });
    }
    (head, sections)
}

/// Which packets each expression holds of.
struct Asks {
    queries: Vec<PacketQuery>,
    found: Vec<Vec<u64>>,
}

impl PacketSink for Asks {
    fn packet(&mut self, view: &PacketView<'_>) -> io::Result<()> {
        for (query, found) in self.queries.iter().zip(&mut self.found) {
            if query.holds(view) {
                found.push(view.packet.number);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a capture's packets into a sink.
fn packets(pipeline: &Pipeline, capture: &str, sink: &mut dyn PacketSink) {
    let source = Source::open(&example(capture), &pipeline.config().input).unwrap();
    let (stop, progress) = (AtomicBool::new(false), Progress::default());
    let options = ReadOptions { numbers: &Numbers::all(), query: None, stop: &stop, progress: &progress };
    read(pipeline, source, options, sink).unwrap();
}

/// Which packets an expression holds of, where no more of each is looked at than it asks for.
fn in_part(pipeline: &Pipeline, capture: &str, query: &PacketQuery) -> Vec<u64> {
    #[derive(Default)]
    struct Shown(Vec<u64>);
    impl PacketSink for Shown {
        fn packet(&mut self, view: &PacketView<'_>) -> io::Result<()> {
            self.0.push(view.packet.number);
            Ok(())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let source = Source::open(&example(capture), &pipeline.config().input).unwrap();
    let (stop, progress, mut shown) = (AtomicBool::new(false), Progress::default(), Shown::default());
    let options = ReadOptions { numbers: &Numbers::all(), query: Some(query), stop: &stop, progress: &progress };
    read(pipeline, source, options, &mut shown).unwrap();
    shown.0
}

fn browser() -> (Pipeline, Fields) {
    let pipeline = Pipeline::untrained(protocols(), &mut Registry::with_builtins().unwrap()).unwrap();
    let fields = Fields::of(&pipeline);
    (pipeline, fields)
}

fn found_packets(pipeline: &Pipeline, fields: &Fields, section: &Section) -> Vec<Vec<u64>> {
    let query = |(_, text): &(Mark, String)| PacketQuery::new(text, fields).unwrap_or_else(|error| panic!("{error}"));
    let queries: Vec<PacketQuery> = section.asked.iter().map(query).collect();
    let mut sink = Asks { found: vec![Vec::new(); queries.len()], queries };
    packets(pipeline, &section.capture, &mut sink);
    // Whoever asks looks only at what is asked for, and finds the same.
    for ((query, whole), (_, text)) in sink.queries.iter().zip(&sink.found).zip(&section.asked) {
        assert_eq!(&in_part(pipeline, &section.capture, query), whole, "{text}");
    }
    sink.found
}

/// Of how many flows each expression holds, and the numbers of their first packets.
struct AsksFlows {
    queries: Vec<FlowQuery>,
    found: Vec<Vec<u64>>,
}

impl Sink for AsksFlows {
    fn flow(&mut self, detection: &Detection<'_>) -> io::Result<()> {
        for (query, found) in self.queries.iter().zip(&mut self.found) {
            if query.holds(detection) {
                found.push(detection.flow.first_packet);
            }
        }
        Ok(())
    }
}

fn found_flows(pipeline: &Pipeline, fields: &Fields, section: &Section) -> Vec<Vec<u64>> {
    let query = |(_, text): &(Mark, String)| FlowQuery::new(text, fields).unwrap_or_else(|error| panic!("{error}"));
    let queries: Vec<FlowQuery> = section.asked.iter().map(query).collect();
    let mut sink = AsksFlows { found: vec![Vec::new(); queries.len()], queries };
    let source = Source::open(&example(&section.capture), &pipeline.config().input).unwrap();
    let (stop, progress) = (AtomicBool::new(false), Progress::default());
    let options = RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress };
    run(pipeline, source, options, &mut sink).unwrap();
    sink.found.iter_mut().for_each(|found| found.sort_unstable());
    sink.found
}

/// Numbers as one would ask for them; of many, how many there are and what they add up to.
fn numbers(found: &[u64], of: Level) -> String {
    const SHOWN: usize = 80;
    let what = match (of, found.len()) {
        (Level::Packet, 1) => "packet",
        (Level::Packet, _) => "packets",
        (Level::Flow, 1) => "flow, by its first packet",
        (Level::Flow, _) => "flows, by their first packets",
    };
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in found {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let range = |(first, last): &(u64, u64)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    let all = ranges.iter().map(range).collect::<Vec<_>>().join(",");
    let count = found.len();
    match (found.first(), found.last()) {
        (Some(first), Some(last)) if all.len() > SHOWN => {
            format!("{count} {what}, from {first} to {last}, numbers {} in all", found.iter().sum::<u64>())
        }
        (Some(_), _) => format!("{count} {what}: {all}"),
        _ => format!("no {}", what.split(',').next().unwrap()),
    }
}

#[test]
fn expressions_hold_of_what_the_table_says() {
    let (mut text, sections) = asked();
    assert!(sections.iter().map(|section| section.asked.len()).sum::<usize>() >= LEAST);
    let (viewer, fields) = browser();
    let judge = Pipeline::new(Config::builtin().unwrap(), &mut Registry::with_builtins().unwrap()).unwrap();
    let flow_fields = Fields::of(&judge);
    for section in &sections {
        let (word, found) = match section.level {
            Level::Packet => ("packets", found_packets(&viewer, &fields, section)),
            Level::Flow => ("flows", found_flows(&judge, &flow_fields, section)),
        };
        writeln!(text, "\n{word} {}", section.capture).unwrap();
        for ((mark, asked), found) in section.asked.iter().zip(found) {
            let mark = match mark {
                Mark::Same => '=',
                Mark::Other => '!',
                Mark::Unknown => '-',
            };
            writeln!(text, "{mark} {asked}\n    {}", numbers(&found, section.level)).unwrap();
        }
    }
    golden(path(), &text);
}

/// How many packets tshark finds with each expression, and what their numbers add up to: in one run for all in which there
/// is no comma, as commas part expressions there.
fn theirs(capture: &str, asked: &[&str]) -> BTreeMap<String, (u64, u64)> {
    let run = |arguments: &[&str]| {
        let output = Command::new("tshark").arg("-n").arg("-r").arg(example(capture)).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let (listed, together): (Vec<&str>, Vec<&str>) = asked.iter().partition(|text| text.contains(','));
    let mut found = BTreeMap::new();
    for text in listed {
        let numbers = run(&["-Y", text, "-T", "fields", "-e", "frame.number"]);
        let numbers: Vec<u64> = numbers.lines().map(|line| line.parse().unwrap()).collect();
        found.insert(text.to_owned(), (numbers.len() as u64, numbers.iter().sum()));
    }
    for some in together.chunks(TOGETHER) {
        let columns = some.iter().map(|text| {
            format!("COUNT(frame.number)frame.number && ({text}),SUM(frame.number)frame.number && ({text})")
        });
        let statistics = format!("io,stat,0,{}", columns.collect::<Vec<_>>().join(","));
        let output = run(&["-q", "-z", &statistics]);
        let row = output.lines().rfind(|line| line.contains("<>")).unwrap_or_else(|| panic!("{output}"));
        let cells: Vec<u64> = row.split('|').skip(2).filter_map(|cell| cell.trim().parse().ok()).collect();
        assert_eq!(cells.len(), some.len() * 2, "{output}");
        for (text, cells) in some.iter().zip(cells.chunks(2)) {
            found.insert((*text).to_owned(), (cells[0], cells[1]));
        }
    }
    found
}

#[test]
fn tshark_finds_the_same_packets() {
    if Command::new("tshark").arg("--version").output().is_err() {
        eprintln!("skipped: tshark is not there");
        return;
    }
    let (pipeline, fields) = browser();
    let mut wrong = Vec::new();
    for section in asked().1.iter().filter(|section| section.level == Level::Packet) {
        let ours = found_packets(&pipeline, &fields, section);
        let marked: Vec<&str> =
            section.asked.iter().filter(|(mark, _)| *mark != Mark::Unknown).map(|(_, text)| text.as_str()).collect();
        let theirs = theirs(&section.capture, &marked);
        for ((mark, text), ours) in section.asked.iter().zip(ours) {
            let Some(theirs) = theirs.get(text) else { continue };
            let ours = (ours.len() as u64, ours.iter().sum::<u64>());
            if (ours == *theirs) != (*mark == Mark::Same) {
                wrong.push(format!("{}: `{text}`: {ours:?} here, {theirs:?} there", section.capture));
            }
        }
    }
    assert!(wrong.is_empty(), "packets and the sum of their numbers:\n{}", wrong.join("\n"));
}

/// Holds the list of header fields, and their kinds, to what is drawn.
struct Holds<'f> {
    fields: &'f Fields,
    missing: BTreeSet<String>,
    /// Fields that were drawn.
    seen: BTreeSet<String>,
}

impl PacketSink for Holds<'_> {
    fn packet(&mut self, view: &PacketView<'_>) -> io::Result<()> {
        let mut template = false;
        for node in &view.tree.nodes {
            template = if node.depth == 0 { view.template.as_deref() == Some(&*node.field) } else { template };
            if template || matches!(&*node.field, "service" | "warning.look" | "icmp.quoted") {
                continue;
            }
            let kind = self.fields.get(Level::Packet, &node.field).map(|field| field.kind);
            let fits = matches!(
                (&node.datum, kind),
                (Datum::Number(_), Some(Kind::Number | Kind::Flag))
                    | (Datum::Ip(IpAddr::V4(_)), Some(Kind::Ipv4))
                    | (Datum::Ip(IpAddr::V6(_)), Some(Kind::Ipv6))
                    | (Datum::Mac(_), Some(Kind::Mac))
                    | (Datum::Words, Some(Kind::Text | Kind::Time | Kind::Duration))
                    // A layer of which too little was captured says so in words.
                    | (Datum::Words | Datum::Bytes, Some(Kind::Bytes))
            );
            if !fits {
                self.missing.insert(format!("{}: {:?}, {kind:?}", node.field, node.datum));
            }
            self.seen.insert(node.field.to_string());
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The example captures, and what packets are fuzzed with: every header there is, whole and broken.
#[test]
fn whatever_headers_draw_is_a_field() {
    let (pipeline, fields) = browser();
    let mut sink = Holds { fields: &fields, missing: BTreeSet::new(), seen: BTreeSet::new() };
    for capture in std::fs::read_dir(example("")).unwrap().map(|entry| entry.unwrap().file_name()) {
        let name = capture.to_str().unwrap();
        if name.ends_with(".pcap") || name.ends_with(".pcapng") {
            packets(&pipeline, name, &mut sink);
        }
    }
    for entry in std::fs::read_dir(common::root().join("fuzz/corpus/packets")).unwrap() {
        let input = Input::decode(&std::fs::read(entry.unwrap().path()).unwrap());
        let mut browser = Browser::new(&pipeline);
        for (number, piece) in (1..).zip(&input.pieces) {
            let link = LinkType(u16::from_be_bytes(input.how));
            let packet = Packet { number, time_ns: 0, link, wire_len: piece.bytes.len() as u32, data: &piece.bytes };
            sink.packet(&browser.view(&packet)).unwrap();
        }
    }
    assert!(sink.missing.is_empty(), "{:#?}", sink.missing);
    assert!(sink.seen.len() > 150, "{}: {:?}", sink.seen.len(), sink.seen);
}

/// The fields of the pipeline with every protocol, as a page.
#[test]
fn the_list_of_fields_is_that_of_the_program() {
    let (_, fields) = browser();
    let mut page = String::from(
        "# Fields of `--where`\n\nThose of the pipeline with every protocol (`--config protocols`); what they mean as a whole \
         stands in [QUERY.md](QUERY.md). Of flows there\nare the columns of their rows as well, as `feature.NAME`. A test writes this page.\n",
    );
    for (level, head) in [(Level::Packet, "Packets"), (Level::Flow, "Flows")] {
        write!(page, "\n## {head}\n\n| field | kind | what it says |\n|---|---|---|\n").unwrap();
        // Columns come and go with extractors.
        for field in fields.iter(level).filter(|field| !field.name.starts_with("feature.")) {
            writeln!(page, "| `{}` | {} | {} |", field.name, field.kind, field.words.replace('|', "\\|")).unwrap();
        }
    }
    golden(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("QUERY_FIELDS.md"), &page);
}

#[test]
fn packets_shows_those_that_an_expression_holds_of() {
    let capture = example("benign-office.pcapng");
    let asked = "http.request && ip.dst == 203.0.113.80";
    let lines = |format: &str, more: &[&str]| {
        let mut args = vec!["packets", capture.to_str().unwrap(), "--format", format, "--where", asked];
        args.extend(more);
        let (status, text) = out(&veilwatch(args));
        assert_eq!(status, Some(0));
        text
    };
    let json = lines("jsonl", &[]);
    let numbers: Vec<u64> = json
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [175, 660]);
    assert_eq!(lines("table", &[]).lines().count(), 3);
    assert_eq!(lines("tree", &[]).matches("Packet ").count(), 2);
    assert_eq!(lines("hex", &["--packets", "-200"]).matches("Packet ").count(), 1);
}

#[test]
fn detect_writes_flows_that_an_expression_holds_of() {
    let capture = example("first-run.pcap");
    let lines = |more: &[&str]| {
        let mut args = vec!["detect", capture.to_str().unwrap(), "--format", "jsonl"];
        args.extend(more);
        let (status, text) = out(&veilwatch(args));
        assert_eq!(status, Some(1), "the capture is what it is, whatever is shown of it");
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let benign = lines(&["--where", "verdict == \"benign\" && tls.sni contains \"news\""]);
    let (summary, flows) = benign.split_last().unwrap();
    assert!(!flows.is_empty());
    assert!(
        flows.iter().all(|flow| flow["verdict"] == "benign" && flow["tls"]["sni"].as_str().unwrap().contains("news"))
    );
    assert_eq!(summary["malicious"], 26, "all flows count");
    let scored = lines(&["--where", "tcp.port == 4443", "--min-score", "0.5"]);
    assert!(scored.len() > 1 && scored.iter().rev().skip(1).all(|flow| flow["dest_port"] == 4443));
}

#[test]
fn what_is_wrong_is_told_before_anything_is_read() {
    for (command, asked, told) in [
        (
            "packets",
            "tls.snj",
            "error: packets have no field `tls.snj`; the nearest is `tls.sni`\n  tls.snj\n  ^^^^^^^\n",
        ),
        (
            "detect",
            "tcp.len > 5",
            "error: `tcp.len` is a field of packets, and flows are asked here (`veilwatch packets --where` asks packets)\n  \
             tcp.len > 5\n  ^^^^^^^\n",
        ),
    ] {
        let output = veilwatch([command, example("first-run.pcap").to_str().unwrap(), "--where", asked]);
        assert_eq!(out(&output), (Some(2), String::new()));
        assert_eq!(String::from_utf8_lossy(&output.stderr), told);
    }
}
