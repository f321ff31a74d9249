//! Captures one behind the other, each with its own clock.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;
#[path = "common/long.rs"]
mod long;

use common::{out, veilwatch};
use long::long_capture;
use serde_json::Value;

/// The lines of a capture, without the last, and the last.
fn run(capture: &[u8], workers: &str) -> (Vec<Value>, Value) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.pcap");
    std::fs::write(&path, capture).unwrap();
    let args = ["detect", path.to_str().unwrap(), "--all", "--format", "jsonl", "--workers", workers];
    let text = out(&veilwatch(args)).1;
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.pop().unwrap();
    (lines, last)
}

/// The packets of a capture, some seconds later.
fn later(capture: &[u8], seconds: u32) -> Vec<u8> {
    let (mut packets, mut at) = (capture[24..].to_vec(), 0);
    while at < packets.len() {
        let number = |at: usize| u32::from_le_bytes(packets[at..at + 4].try_into().unwrap());
        let (time, len) = (number(at) + seconds, number(at + 8) as usize);
        packets[at..at + 4].copy_from_slice(&time.to_le_bytes());
        at += 16 + len;
    }
    packets
}

#[test]
fn flows_of_another_time_do_not_wait_for_it() {
    let first = long_capture(6_000, false);
    // A quarter of an hour, most of it silence, and then again from the beginning.
    let hour = [&first[..], &later(&first, 900)].concat();
    let twice = [&hour[..], &hour[24..]].concat();
    let (lines, once) = run(&hour, "1");
    let (all, sums) = run(&twice, "1");
    assert_eq!(once["set_back"], Value::Null);
    assert_eq!(sums["set_back"], 1);
    // Until the next hand-over, flows of both times lie in one table: the same endpoints go on there.
    let (one, two) = (once["flows"].as_u64().unwrap(), sums["flows"].as_u64().unwrap());
    assert!((2 * one * 99 / 100..=2 * one + 64).contains(&two), "{one} {two}");
    // What came before is as it was: the first half of it at least stands there to the letter.
    assert!(all[..lines.len() / 2] == lines[..lines.len() / 2]);
    for workers in ["2", "4", "8"] {
        assert!(run(&twice, workers) == (all.clone(), sums.clone()), "{workers} workers differ");
    }
}
