//! Every bound has a name, stands in the documents, and is counted where it bites.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;

use common::{err, example, out, protocols, root, veilwatch};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use veilwatch::config::{Config, EXAMPLE};
use veilwatch::engine::{Pipeline, Summary};
use veilwatch::plugins::Registry;
use veilwatch_core::flow::FlowCounters;
use veilwatch_core::packet::FragmentCounters;

/// The table of `config/README.md`: key, and where the result says that it was reached.
fn table() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(root().join("config/README.md")).unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, key, _, said, _] = cells[..] else { panic!("a row of other than three cells: {line}") };
        assert!(rows.insert(key.trim_matches('`').to_owned(), said.to_owned()).is_none(), "{key} stands there twice");
    }
    rows
}

/// A bound that is new here needs a row, and a row needs its key.
#[test]
fn every_number_of_the_configuration_stands_in_the_table() {
    let all = toml::Table::try_from(Config::default()).unwrap();
    let numbers = |section: &str, table: &toml::Table| {
        let numbers = table.iter().filter(|(_, value)| value.is_integer() || value.is_float());
        numbers.map(|(key, _)| format!("{section}.{key}")).collect::<Vec<_>>()
    };
    let sections = ["input", "live", "flows", "context", "output"];
    let mut keys: BTreeSet<String> =
        sections.into_iter().flat_map(|section| numbers(section, all[section].as_table().unwrap())).collect();
    assert!(keys.len() > 20);
    for entry in protocols().plugin {
        if entry.plugin.is_some_and(|plugin| plugin.starts_with("protocol/")) {
            keys.extend(numbers(&entry.id, &entry.settings));
        }
    }
    assert_eq!(keys, table().into_keys().collect());
}

/// What the table says is among `limits`, the summary can have there, and nothing else.
#[test]
fn limits_in_the_result_are_those_of_the_table() {
    let everything = Summary {
        flow_counters: FlowCounters {
            opened: 1,
            evicted: 1,
            host_evicted: 1,
            prefix_full: 1,
            without_prefix: 1,
            segments_dropped: 1,
            overlap_conflicts: 1,
            fields_dropped: 1,
            template_errors: 1,
            hand_overs_refused: 1,
            warnings_left_out: 1,
        },
        fragments: FragmentCounters { joined: 1, unfinished: 1, dropped: 1, dropped_for_bytes: 1, conflicts: 1 },
        skipped: [1; 8],
        conversations_forgotten: 1,
        hosts_forgotten: 1,
        names_forgotten: 1,
        name_hosts_forgotten: 1,
        spread_hosts_forgotten: 1,
        concluded_forgotten: 1,
        questions_forgotten: 1,
        not_written: 1,
        unexplained: 1,
        pairs_not_counted: 1,
        ..Summary::default()
    };
    let mut limits: BTreeSet<&str> = everything.limits_hit().into_iter().map(|(name, _)| name).collect();
    assert!(limits.remove("fields of a flow"));
    let table = table();
    let said = |(key, said): (_, &String)| said.split(", ").any(|part| part == "limits").then_some(key);
    let documented: BTreeSet<&str> = table.iter().map(|(key, words)| (key.as_str(), words)).filter_map(said).collect();
    let sections = ["input.", "live.", "flows.", "context.", "output."];
    let (engine, templates): (BTreeSet<&str>, BTreeSet<&str>) =
        documented.iter().partition(|key| sections.iter().any(|section| key.starts_with(section)));
    assert_eq!(engine, limits);
    // Those of templates are what they declare.
    let pipeline = Pipeline::untrained(protocols(), &mut Registry::with_builtins().unwrap()).unwrap();
    let declared: BTreeSet<String> = pipeline.fields().declared().filter_map(|(_, spec)| spec.limit_name()).collect();
    assert_eq!(templates.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), declared);
    // Each limit is a warning of its own, by its name.
    let warnings = everything.warnings();
    assert!(
        limits.iter().all(|limit| warnings.iter().any(|line| line.starts_with(&format!("limit reached: {limit}, 1 "))))
    );
}

/// What a run with another number here and there writes: its last line, and what it says beside.
fn run(changes: &[(&str, &str)], more: &[&str]) -> (Vec<Value>, String) {
    let mut text = EXAMPLE.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let folder = tempfile::tempdir().unwrap();
    let config: PathBuf = folder.path().join("small.toml");
    std::fs::write(&config, text).unwrap();
    let capture = example("first-run.pcap");
    let args = ["detect", capture.to_str().unwrap(), "--config", config.to_str().unwrap()];
    let done = veilwatch(args.iter().chain(more));
    let lines = out(&done).1.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    (lines, out(&done).1 + &err(&done).1)
}

#[test]
fn lines_of_output_are_bounded_and_counted() {
    let jsonl = ["--format", "jsonl", "--all"];
    let (whole, _) = run(&[], &jsonl);
    let (mut lines, _) = run(&[("lines = 10000000 ", "lines = 7 ")], &jsonl);
    let (mut last, all) = (lines.pop().unwrap(), whole.last().unwrap());
    assert_eq!(lines, whole[..7]);
    assert_eq!(last["limits"].take(), json!({"output.lines": whole.len() - 1 - 7}));
    // Nothing else is missing.
    last["limits"] = json!({});
    assert_eq!(&last, all);
    let (_, csv) = run(&[("lines = 10000000 ", "lines = 7 ")], &["--format", "csv", "--all"]);
    assert_eq!(csv.lines().filter(|line| line.contains(",final,")).count(), 7);
    assert!(csv.contains("limit reached: output.lines, "), "{csv}");
}

#[test]
fn pairs_of_a_table_are_bounded_and_counted() {
    let (_, table) = run(&[("table_pairs = 100000 ", "table_pairs = 1 ")], &["--format", "table", "--all"]);
    assert!(table.contains("limit reached: output.table_pairs, "), "{table}");
    assert!(!run(&[], &["--format", "table", "--all"]).1.contains("limit reached"));
}

#[test]
fn what_bounds_a_flows_beginning_is_counted() {
    let jsonl = ["--format", "jsonl", "--all"];
    let short = [("name_bytes = 512 ", "name_bytes = 5 "), ("sni_bytes = 255 ", "sni_bytes = 5 ")];
    let (mut lines, _) = run(&short, &jsonl);
    let last = lines.pop().unwrap();
    for (setting, field) in ["name_bytes", "sni_bytes"].map(|key| (key, format!("tls.limit.{key}"))) {
        let flows = lines.iter().filter(|line| line["fields"][&field] == 1).count();
        assert!(flows > 3, "{setting}");
        assert_eq!(last["limits"][format!("tls.{setting}")], flows);
    }
    let (lines, _) = run(&[("prefix_bytes = 16384 ", "prefix_bytes = 2048 ")], &jsonl);
    assert!(lines.last().unwrap()["limits"]["flows.prefix_bytes"].as_u64().unwrap() > 3);
}

/// A host that scans another: its own flows end, whatever the threads, and the result says how many.
#[test]
fn a_scan_is_bounded_and_counted() {
    const PORTS: u16 = 3000;
    let mut pcap = [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 262_144, 1].map(u32::to_le_bytes).concat();
    for port in 1..=PORTS {
        let mut frame = Vec::new();
        etherparse::PacketBuilder::ethernet2([1; 6], [2; 6])
            .ipv4([10, 0, 0, 1], [192, 0, 2, 1], 64)
            .tcp(40_000, port, 7, 100)
            .syn()
            .write(&mut frame, b"")
            .unwrap();
        let len = frame.len() as u32;
        pcap.extend([1_700_000_000 + u32::from(port / 100), u32::from(port), len, len].map(u32::to_le_bytes).concat());
        pcap.extend(frame);
    }
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("scan.pcap");
    std::fs::write(&capture, pcap).unwrap();
    let [one, four] = ["1", "4"].map(|workers| {
        out(&veilwatch(["detect", capture.to_str().unwrap(), "--format", "jsonl", "--all", "--workers", workers])).1
    });
    assert!(one == four);
    let last: Value = serde_json::from_str(one.lines().last().unwrap()).unwrap();
    let most = Config::default().flows.flows_per_host;
    assert_eq!(last["flows"], PORTS);
    assert_eq!(last["limits"], json!({"flows.flows_per_host": u32::from(PORTS) - most}));
    assert_eq!(one.matches("\"reason\":\"evicted\"").count() as u32, u32::from(PORTS) - most);
}
