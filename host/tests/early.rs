//! Early records, end to end: where they stand, what they change, and that nothing else does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;
#[path = "common/long.rs"]
mod long;

use common::{example, out, veilwatch};
use long::long_capture;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A configuration that differs from the default in these numbers of `[flows]`.
fn config(folder: &Path, name: &str, numbers: &[(&str, u32)]) -> PathBuf {
    let mut text = veilwatch::config::EXAMPLE.to_owned();
    for (key, number) in numbers {
        let at = text.find(&format!("\n{key} = ")).unwrap() + 1;
        let end = at + text[at..].find([' ', '\n']).unwrap() + 3;
        let rest = text[end..].trim_start_matches(|c: char| c.is_ascii_digit()).to_owned();
        text = format!("{}{number}{rest}", &text[..end]);
    }
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn detect(capture: &Path, config: &Path, more: &[&str]) -> (Option<i32>, String) {
    let (capture, config) = (capture.to_str().unwrap(), config.to_str().unwrap());
    out(&veilwatch(["detect", capture, "--config", config].iter().chain(more)))
}

/// Early lines and final ones, without the last line, which is returned parsed.
fn apart(text: &str) -> (Vec<&str>, Vec<&str>, Value) {
    let mut lines: Vec<&str> = text.lines().collect();
    let last = serde_json::from_str(lines.pop().unwrap()).unwrap();
    let (early, finals) = lines.into_iter().partition(|line| line.contains("\"record\":\"early\""));
    (early, finals, last)
}

const JSONL: [&str; 3] = ["--all", "--format", "jsonl"];

#[test]
fn final_records_are_the_same_with_early_ones_and_without() {
    let folder = tempfile::tempdir().unwrap();
    let off = config(folder.path(), "off.toml", &[]);
    let on = config(folder.path(), "on.toml", &[("early_packets", 6), ("early_seconds", 2)]);
    let mut given = 0;
    for name in ["first-run.pcap", "benign-office.pcapng", "benign-odd.pcap", "malicious-beacon-tls12.pcap"] {
        let (status, without) = detect(&example(name), &off, &JSONL);
        let (same_status, with) = detect(&example(name), &on, &JSONL);
        let (none, before, mut sums) = apart(&without);
        let (early, after, mut sums_with) = apart(&with);
        assert_eq!((none.len(), status), (0, same_status), "{name}");
        assert!(before == after, "{name}: final records differ");
        assert_eq!(sums["early"], Value::Null);
        assert_eq!(sums_with["early"].as_u64().unwrap_or(0), early.len() as u64, "{name}");
        for sums in [&mut sums, &mut sums_with] {
            sums.as_object_mut().unwrap().remove("early");
        }
        assert_eq!(sums, sums_with, "{name}: early records count nowhere else");
        // Neither a table nor an alert too many.
        let table = ["--format", "table"];
        let (_, table_with) = detect(&example(name), &on, &table);
        let kept: String =
            table_with.lines().filter(|line| !line.contains("early records")).map(|line| format!("{line}\n")).collect();
        assert_eq!(kept, detect(&example(name), &off, &table).1, "{name}");
        given += early.len();
    }
    assert!(given > 50, "{given}");
}

#[test]
fn an_early_record_is_what_the_flow_was_at_that_packet() {
    let folder = tempfile::tempdir().unwrap();
    let on = config(folder.path(), "on.toml", &[("early_packets", 12)]);
    let (_, text) = detect(&example("first-run.pcap"), &on, &JSONL);
    let mut waiting: BTreeMap<u64, Value> = BTreeMap::new();
    let (mut judged, mut read) = (0, 0);
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let Some(id) = line["flow_id"].as_u64() else { continue };
        let packets = |line: &Value| {
            line["flow"]["pkts_toserver"].as_u64().unwrap() + line["flow"]["pkts_toclient"].as_u64().unwrap()
        };
        if line["record"] == "early" {
            assert_eq!((packets(&line), &line["flow"]["reason"]), (12, &"early".into()), "{line}");
            judged += u32::from(!line["verdict"].is_null());
            assert!(waiting.insert(id, line).is_none(), "two early records of flow {id}");
        } else if let Some(early) = waiting.remove(&id) {
            assert!(packets(&line) >= 12 && line["flow"]["reason"] != "early");
            assert_eq!((&early["timestamp"], &early["dest_ip"]), (&line["timestamp"], &line["dest_ip"]));
            read += u32::from(early["tls"]["sni"].is_string() && early["tls"]["sni"] == line["tls"]["sni"]);
        } else {
            // Nothing is early about a flow that ended before, or with that packet.
            assert!(packets(&line) <= 12, "{line}");
        }
    }
    assert!(waiting.is_empty(), "early records without a final one after them");
    assert!(judged > 20 && read > 10, "{judged} {read}");
}

#[test]
fn early_alerts_are_written_and_do_not_decide() {
    let folder = tempfile::tempdir().unwrap();
    let on = config(folder.path(), "on.toml", &[("early_packets", 12)]);
    let capture = example("malicious-beacon-tls12.pcap");
    let (_, alerts) = detect(&capture, &on, &["--format", "jsonl"]);
    let (early, finals, last) = apart(&alerts);
    assert!(early.len() > 3 && last["early"].as_u64().unwrap() >= early.len() as u64, "{last}");
    let alert = |line: &&str| line.contains("\"verdict\":\"malicious\"") || line.contains("\"verdict\":\"suspicious\"");
    assert!(early.iter().chain(&finals).all(alert));
    assert_eq!(last["malicious"].as_u64().unwrap() + last["suspicious"].as_u64().unwrap(), finals.len() as u64);
    let first: Value = serde_json::from_str(early[0]).unwrap();
    assert!(!first["reasons"].as_array().unwrap().is_empty() && !first["packets"].as_array().unwrap().is_empty());
    let (_, csv) = detect(&capture, &on, &["--format", "csv"]);
    assert_eq!(csv.lines().filter(|line| line.contains(",early,")).count(), early.len());
    assert_eq!(csv.lines().filter(|line| line.contains(",final,")).count(), finals.len());
    // Features are of final records alone.
    let rows = |config: &Path| {
        let args = ["features", capture.to_str().unwrap(), "--config", config.to_str().unwrap()];
        out(&veilwatch(args)).1
    };
    assert!(rows(&on) == rows(&config(folder.path(), "off.toml", &[])));
}

#[test]
fn neither_workers_nor_hand_overs_move_early_records() {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("long.pcap");
    std::fs::write(&capture, long_capture(12_000, true)).unwrap();
    let few = [("flows_per_shard", 16), ("tcp_idle_seconds", 5)];
    for (name, numbers) in [
        ("packets.toml", vec![("early_packets", 3)]),
        ("seconds.toml", vec![("early_seconds", 1)]),
        ("few.toml", [&few[..], &[("early_packets", 4), ("early_seconds", 1)]].concat()),
    ] {
        let config = config(folder.path(), name, &numbers);
        let run = |workers: &str| detect(&capture, &config, &[&JSONL[..], &["--workers", workers]].concat()).1;
        let want = run("1");
        let (early, finals, last) = apart(&want);
        assert!(early.len() > 1000 && finals.len() > 10_000, "{name}: {last}");
        assert_eq!(last["early"].as_u64(), Some(early.len() as u64));
        for workers in ["2", "4", "8"] {
            assert!(run(workers) == want, "{name}: {workers} workers differ");
        }
    }
}
