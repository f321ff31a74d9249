//! Why alerts are alerts: topics, what would be without them, and how many are explained.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;

use common::{example, out, veilwatch};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use veilwatch::config::EXAMPLE;
use veilwatch::explain::Topics;

/// The alerts of a capture, and the last line.
fn run(capture: &Path, more: &[&str]) -> (Vec<Value>, Value) {
    let mut args = vec!["detect", capture.to_str().unwrap(), "--format", "jsonl"];
    args.extend(more);
    let (_, text) = out(&veilwatch(args));
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().unwrap();
    lines.retain(|line| ["malicious", "suspicious"].contains(&line["verdict"].as_str().unwrap_or_default()));
    (lines, summary)
}

fn list<'a>(line: &'a Value, name: &str) -> &'a [Value] {
    line[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

#[test]
fn reasons_are_told_by_topic_and_what_would_be_without_them() {
    let (flows, summary) = run(&example("first-run.pcap"), &[]);
    assert!(flows.len() > 20);
    let known: BTreeSet<&str> = Topics::keys_in_the_box().collect();
    let mut told = 0;
    for flow in &flows {
        let reasons = list(flow, "reasons");
        let topics: Vec<&str> = reasons.iter().map(|reason| reason["topic"]["name"].as_str().unwrap()).collect();
        assert!((1..=4).contains(&topics.len()) && topics.iter().all(|topic| known.contains(topic)), "{flow}");
        assert_eq!(topics.iter().collect::<BTreeSet<_>>().len(), topics.len(), "a topic is told twice: {flow}");
        let weights: Vec<f64> =
            reasons.iter().map(|reason| reason["topic"]["contribution"].as_f64().unwrap()).collect();
        assert!(weights.is_sorted_by(|a, b| a >= b), "{flow}");
        for reason in reasons {
            let part = reason["contribution"].as_f64().unwrap();
            assert!(part > 0.0 && reason["also"]["contribution"].as_f64().is_none_or(|also| also <= part), "{flow}");
        }

        let without = &flow["counterfactual"];
        if without.is_null() {
            continue;
        }
        told += 1;
        assert!((1..=3).contains(&list(without, "without").len()), "{flow}");
        assert!(without["score"].as_f64().unwrap() < flow["score"].as_f64().unwrap(), "{flow}");
        let (words, verdict) = (without["words"].as_str().unwrap(), without["verdict"].as_str().unwrap());
        assert!(words.contains("without the ") && words.ends_with(verdict), "{flow}");
        assert_eq!(words.starts_with("even "), verdict != "benign", "{flow}");
    }
    assert!(told > 20, "{told} of {}", flows.len());
    assert!(summary["limits"].get("output.explained").is_none());
}

#[test]
fn the_first_alerts_are_explained_whatever_the_threads() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("few.toml");
    std::fs::write(&config, EXAMPLE.replace("explained = 1000", "explained = 5")).unwrap();
    let config = config.to_str().unwrap();
    let capture = example("first-run.pcap");
    let (flows, summary) = run(&capture, &["--config", config, "--workers", "1"]);
    let alerts = flows.len() as u64;
    for (at, flow) in flows.iter().enumerate() {
        assert_eq!(!list(flow, "reasons").is_empty(), at < 5, "{flow}");
        assert!(flow["score"].is_number() && (at < 5 || flow["counterfactual"].is_null()), "{flow}");
    }
    assert_eq!(summary["limits"]["output.explained"], alerts - 5);
    assert_eq!(run(&capture, &["--config", config, "--workers", "4"]), (flows, summary));

    // The worst flows may come late: a table explains those that it shows.
    let table = |more: &[&str]| {
        let args = ["detect", capture.to_str().unwrap(), "--format", "table"];
        out(&veilwatch(args.iter().chain(more))).1
    };
    let few = table(&["--config", config]);
    let said: Vec<&str> = few.lines().filter(|line| !line.contains("limit reached: output.explained")).collect();
    assert_eq!(said.len() + 1, few.lines().count(), "{few}");
    assert_eq!(said, table(&[]).lines().collect::<Vec<_>>());
}
