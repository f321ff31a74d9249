//! Single packets, end to end: the command on the captures that ship with the project.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;

use common::{err, example, filters, out, veilwatch};
use serde_json::Value;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use veilwatch_testkit::golden;

fn packets(capture: &Path, more: &[&str]) -> (Option<i32>, String) {
    out(&veilwatch(["packets", capture.to_str().unwrap()].iter().chain(more)))
}

/// The numbers of the packets that are shown.
fn numbers(capture: &Path, more: &[&str]) -> Vec<u64> {
    let (status, text) = packets(capture, more);
    assert_eq!(status, Some(0));
    text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["number"].as_u64().unwrap()).collect()
}

/// Asks for ARP, a SYN, DNS, a ClientHello, a ServerHello and what follows it.
const SOME: &str = "1,3,6,10,19,24,26";

#[test]
fn every_format_is_as_it_was_reviewed() {
    for (format, chosen, name) in [
        ("table", "-40", "packets-table.txt"),
        ("tree", SOME, "packets-tree.txt"),
        ("hex", SOME, "packets-hex.txt"),
        ("jsonl", SOME, "packets-jsonl.txt"),
    ] {
        let (status, text) = packets(&example("first-run.pcap"), &["--format", format, "--packets", chosen]);
        assert_eq!(status, Some(0));
        golden(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name), &text);
    }
}

#[test]
fn the_packets_that_are_asked_for_are_shown() {
    let capture = example("first-run.pcap");
    assert_eq!(numbers(&capture, &["--packets", "3,7-9"]), [3, 7, 8, 9]);
    assert_eq!(numbers(&capture, &["--packets", "-2"]), [1, 2]);
    let all = numbers(&capture, &[]);
    assert!(all.len() > 500 && all.iter().zip(1..).all(|(number, place)| *number == place));
    assert_eq!(numbers(&capture, &["--packets", "500-"]), all[499..]);
    let (status, text) = err(&veilwatch(["packets", "x", "--packets", "9-3"]));
    assert_eq!(status, Some(2));
    assert!(text.contains("`9-3` ends before it begins"), "{text}");
    if filters() {
        let arp = numbers(&capture, &["--filter", "arp", "--packets", "-5"]);
        assert_eq!(arp, [1, 2, 4, 5]);
        // A filter changes neither numbers nor times.
        let (_, text) = packets(&capture, &["--filter", "udp", "--packets", "6", "--format", "table"]);
        assert!(text.contains("     6     0.101853  192.168.56.105"), "{text}");
    }
}

/// The same packets as `detect` speaks of, and the same from any kind of file.
#[test]
fn standard_input_and_compressed_captures_are_read() {
    let capture = example("first-run.pcap");
    let plain = std::fs::read(&capture).unwrap();
    let want = packets(&capture, &["--packets", "-30"]).1;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    for bytes in [gzip.finish().unwrap(), plain] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_veilwatch"))
            .args(["packets", "-", "--packets", "-30"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || _ = stdin.write_all(&bytes));
        assert_eq!(out(&child.wait_with_output().unwrap()), (Some(0), want.clone()));
        writer.join().unwrap();
    }
}

#[test]
fn a_damaged_capture_is_shown_as_far_as_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.pcap");
    let bytes = std::fs::read(example("first-run.pcap")).unwrap();
    // The file's head, the first packet of 42 bytes, and a part of the second.
    std::fs::write(&path, &bytes[..24 + 16 + 42 + 20]).unwrap();
    let output = veilwatch(["packets", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 1);
    assert!(err(&output).1.contains("damaged: the capture is cut off"), "{}", err(&output).1);
    // What was asked for is whole.
    assert_eq!(packets(&path, &["--packets", "1"]).0, Some(0));
    std::fs::write(&path, &bytes[..24 + 10]).unwrap();
    assert_eq!(packets(&path, &[]).0, Some(2));
    std::fs::write(&path, b"no capture at all").unwrap();
    let output = veilwatch(["packets", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).1.contains("is no capture"), "{}", err(&output).1);
}

#[test]
fn who_has_read_enough_ends_it() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_veilwatch"))
        .args(["packets", example("first-run.pcap").to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(141), &b""[..]));
}

/// Ctrl-C on a pipe that says nothing more: what came before is there, and the status says that it is not all.
#[test]
fn somebody_who_waits_may_stop_waiting() {
    use nix::sys::signal::{Signal, kill};
    use std::io::{BufRead, BufReader};
    let mut child = Command::new(env!("CARGO_BIN_EXE_veilwatch"))
        .args(["packets", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = std::fs::read(example("first-run.pcap")).unwrap();
    stdin.write_all(&bytes[..24 + 16 + 42]).unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("\"number\":1"), "{line}");
    kill(nix::unistd::Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(err(&output).1.contains("interrupted: these are the packets so far"), "{}", err(&output).1);
}
