//! What flows are for: the figures on captures whose tables were not tuned on them, and what the pipeline tells.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

#[path = "common/categories.rs"]
mod categories;
mod common;

use categories::{Figures, Outcome, Row, look, truth};
use common::{out, protocols, root, shared, veilwatch};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use veilwatch::engine::Pipeline;
use veilwatch::hash::sha256_hex;
use veilwatch::plugins::Registry;
use veilwatch_core::detect::Category;

fn pipeline() -> Pipeline {
    Pipeline::new(protocols(), &mut Registry::with_builtins().unwrap()).unwrap()
}

/// Captures that have rows of each category, by part.
fn captures_of(rows: &[Row]) -> BTreeMap<Category, BTreeSet<&str>> {
    let mut of: BTreeMap<Category, BTreeSet<&str>> = BTreeMap::new();
    for row in rows {
        of.entry(row.category).or_default().insert(&row.capture);
    }
    of
}

/// The bar on the truth itself, and that which captures are held back was not chosen: it follows from their paths.
#[test]
fn the_truth_is_large_enough_and_split_by_a_hash() {
    let rows = truth(&root());
    let of = captures_of(&rows);
    let captures: BTreeSet<&str> = rows.iter().map(|row| row.capture.as_str()).collect();
    assert!(captures.len() >= 60);
    assert!(of.values().filter(|captures| captures.len() >= 8).count() >= 5);
    assert!(rows.iter().all(|row| !row.source.is_empty()));
    let places: BTreeSet<_> = rows.iter().map(|row| (&row.capture, &row.server, row.port)).collect();
    assert_eq!(places.len(), rows.len(), "a service stands twice");
    // A capture stands with those of the rarest category that it has rows of; in each such group, in the order of the
    // hashes, every second one is held back.
    let name = |category: &Category| category.name();
    let rarest = |capture: &str| {
        let has = of.iter().filter(|(_, captures)| captures.contains(capture));
        has.map(|(category, captures)| (captures.len(), name(category))).min().unwrap().1
    };
    let mut groups: BTreeMap<&str, Vec<(String, &str)>> = BTreeMap::new();
    for capture in captures {
        let hash = sha256_hex(format!("veilwatch categories 1|use|{capture}").as_bytes());
        groups.entry(rarest(capture)).or_default().push((hash, capture));
    }
    for group in groups.values_mut() {
        group.sort();
        for (at, (_, capture)) in group.iter().enumerate() {
            let part = if at % 2 == 0 { "tuned" } else { "held" };
            assert!(rows.iter().filter(|row| row.capture == *capture).all(|row| row.part == part), "{capture}");
        }
    }
}

#[test]
fn macro_precision_holds_where_tables_were_not_tuned() {
    let Some(data) = shared("train") else { return };
    let outcomes = look(&truth(&root()), &data, &pipeline(), 2);
    assert!(outcomes.iter().all(|outcome| outcome.flows > 0 && !outcome.because.is_empty()));
    let figures = |part: &str| Figures::of(outcomes.iter().filter(|outcome| outcome.row.part == part));
    let (tuned, held) = (figures("tuned"), figures("held"));
    println!("tuned\n{}held\n{}", tuned.text(), held.text());
    // The bar is .8. What is asked for here is what was reached, less what a changed table may cost.
    assert!(held.macro_precision() >= 0.9 && held.macro_recall() >= 0.9, "{}", held.text());
    assert!(tuned.macro_precision() >= 0.95, "{}", tuned.text());
    // What the pipeline tells of these flows by itself is what is told of them as alerts, and some are no alerts.
    let sum = |count: fn(&Outcome) -> usize| outcomes.iter().map(count).sum::<usize>();
    assert!(sum(|outcome| outcome.through) > sum(|outcome| outcome.alerts));
    assert!(sum(|outcome| outcome.through_right) as f64 >= 0.95 * sum(|outcome| outcome.through) as f64);
}

/// Lines and the summary of a capture of the data.
fn detect(capture: &str, more: &[&str]) -> Option<(Vec<Value>, Value)> {
    let path = shared("train")?.join(capture);
    let args = ["detect", "--config", "protocols", "--format", "jsonl", path.to_str().unwrap()];
    let (_, text) = out(&veilwatch(args.iter().chain(more)));
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop()?;
    Some((lines, summary))
}

/// Telnet tried on some eighty addresses: no flow of it is scored, and it is told all the same.
#[test]
fn a_spread_is_told_without_a_verdict() {
    let capture = "malicious/ctu_malware_unspecified/stratosphereips.StratosphereLinuxIPS__test7-malicious.pcap.gz";
    let Some((lines, summary)) = detect(capture, &[]) else { return };
    assert!(lines.len() > 50);
    for line in &lines {
        assert_eq!(line["verdict"], Value::Null);
        assert_eq!(line["category"], "worm-propagation");
        assert_eq!(line["category_reasons"][0]["rule"], "spread");
        assert_eq!(line["category_reasons"][0]["entry"], "telnet");
        assert!([23, 2323].contains(&line["dest_port"].as_u64().unwrap()));
    }
    assert_eq!(summary["categories"]["worm-propagation"], lines.len());
    assert_eq!((&summary["malicious"], &summary["suspicious"]), (&0.into(), &0.into()));
    // The first nine are not yet a spread.
    let (all, _) = detect(capture, &["--all"]).unwrap();
    let telnet = |line: &&Value| [23, 2323].contains(&line["dest_port"].as_u64().unwrap());
    let without = |line: &&Value| line["category"].is_null();
    assert_eq!(all.iter().filter(telnet).filter(without).count(), 9);
    // With a number that is not reached nobody spreads.
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("none.toml");
    let text = common::PROTOCOLS.replace("spread_hosts = 10000 ", "spread_hosts = 0 ");
    std::fs::write(&config, text).unwrap();
    let path = shared("train").unwrap().join(capture);
    let args = ["detect", "--config", config.to_str().unwrap(), "--format", "jsonl", path.to_str().unwrap()];
    assert_eq!(out(&veilwatch(args)).1.lines().count(), 1);
}
