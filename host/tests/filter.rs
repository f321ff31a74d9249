//! Capture filters: which packets count, and that nothing else changes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;
#[path = "common/long.rs"]
mod long;

use common::{err, example, filters, out, veilwatch};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

fn detect(capture: &Path, more: &[&str]) -> (Option<i32>, Vec<String>) {
    let capture = capture.to_str().unwrap();
    let (status, text) = out(&veilwatch(["detect", capture, "--format", "jsonl"].iter().chain(more)));
    (status, text.lines().map(str::to_owned).collect())
}

fn last(lines: &[String]) -> Value {
    serde_json::from_str(lines.last().unwrap()).unwrap()
}

/// What tcpdump counts.
fn tcpdump(capture: &Path, filter: &str) -> Option<u64> {
    let output = Command::new("tcpdump").arg("-nr").arg(capture).args(["--count", filter]).output().ok()?;
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().parse().ok()
}

#[test]
fn as_many_packets_count_as_tcpdump_says() {
    if !filters() {
        return;
    }
    if tcpdump(&example("first-run.pcap"), "ip").is_none() {
        eprintln!("skipped: there is no tcpdump that counts");
        return;
    }
    for name in ["first-run.pcap", "benign-office.pcapng", "mqtt-sensors.pcap"] {
        for filter in
            ["tcp port 443", "udp", "tcp[tcpflags] & tcp-syn != 0", "greater 1000", "not ip", "host 192.168.56.106"]
        {
            let summary = last(&detect(&example(name), &["--filter", filter]).1);
            let number = |name: &str| summary[name].as_u64().unwrap();
            let through = number("packets") - number("filtered");
            assert_eq!(Some(through), tcpdump(&example(name), filter), "{name}: {filter}");
        }
    }
}

/// What is let through has the numbers, and so the lines, that it has without a filter.
#[test]
fn flows_are_the_same_with_less_around_them() {
    if !filters() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let long = folder.path().join("long.pcap");
    std::fs::write(&long, long::long_capture(12_000, false)).unwrap();
    for (capture, filter, to) in [
        (example("first-run.pcap"), "tcp port 443", "dest_port\":443,\"proto\":\"TCP"),
        (long, "host 192.0.2.3", "dest_ip\":\"192.0.2.3\""),
    ] {
        let (_, all) = detect(&capture, &["--all"]);
        let want: Vec<&String> = all.iter().filter(|line| line.contains(to)).collect();
        assert!(want.len() > 20 && want.len() + 5 < all.len(), "{} of {}", want.len(), all.len());
        for workers in ["1", "2", "8"] {
            let (_, got) = detect(&capture, &["--all", "--workers", workers, "--filter", filter]);
            assert!(got[..got.len() - 1].iter().eq(want.iter().copied()), "{filter} with {workers} workers");
            let (before, after) = (last(&all), last(&got));
            assert_eq!(before["packets"], after["packets"]);
            assert!(before.get("filtered").is_none() && after["filtered"].as_u64().unwrap() > 0);
            assert!(after["wire_bytes"].as_u64() < before["wire_bytes"].as_u64());
            assert_eq!(after["partial"], false);
        }
    }
    // Packets that are kept out count where packets are limited; a table says how many there were.
    let (_, few) = detect(&example("first-run.pcap"), &["--packets", "10", "--filter", "not ip"]);
    assert_eq!((last(&few)["packets"].as_u64(), last(&few)["stopped"].as_bool()), (Some(10), Some(true)));
    let capture = example("first-run.pcap");
    let table = veilwatch([Path::new("detect"), &capture, "--format=table".as_ref(), "--filter=udp".as_ref()]);
    let (status, table) = out(&table);
    assert_eq!(status, Some(0));
    assert!(table.contains(" of these packets were kept out by the filter\n"), "{table}");
    let rows =
        |more: &[&str]| out(&veilwatch(["features", capture.to_str().unwrap()].iter().chain(more))).1.lines().count();
    assert!(rows(&[]) > 20);
    assert_eq!(rows(&["--filter", "udp"]), 1);
}

#[test]
fn a_filter_of_the_configuration_holds_unless_another_is_given() {
    if !filters() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mine = |name: &str, filter: &str| -> PathBuf {
        let file = folder.path().join(name);
        let text = veilwatch::config::EXAMPLE.replace("\nfilter = \"\" ", &format!("\nfilter = \"{filter}\" "));
        assert_ne!(text, veilwatch::config::EXAMPLE);
        std::fs::write(&file, text).unwrap();
        file
    };
    let config = mine("mine.toml", "udp");
    let filtered = |more: &[&str]| {
        let config = ["--config", config.to_str().unwrap()];
        last(&detect(&example("first-run.pcap"), &[&config, more].concat()).1)["filtered"].as_u64()
    };
    let summary = last(&detect(&example("first-run.pcap"), &["--filter", "not udp"]).1);
    assert_eq!(filtered(&[]), Some(summary["packets"].as_u64().unwrap() - summary["filtered"].as_u64().unwrap()));
    assert_eq!(filtered(&["--filter", "not udp"]), summary["filtered"].as_u64());
    assert_eq!(filtered(&["--filter", ""]), None);
    let wrong = mine("wrong.toml", "udp and and");
    let (status, message) = err(&veilwatch([Path::new("config"), Path::new("check"), &wrong]));
    assert!(status == Some(2) && message.contains("the capture filter `udp and and`"), "{message}");
}

#[test]
fn what_cannot_be_filtered_is_said_in_one_line() {
    if !filters() {
        return;
    }
    // Of several captures, too: no capture is to blame.
    for captures in ["examples/captures/first-run.pcap", "examples/captures"] {
        let wrong = veilwatch(["detect", captures, "--filter", "tcp porrt 443"]);
        let (status, message) = err(&wrong);
        assert_eq!((status, out(&wrong).1.as_str()), (Some(2), ""));
        assert!(message.starts_with("error: the capture filter `tcp porrt 443` cannot be used: "), "{message}");
        assert!(message.contains("syntax error") && message.lines().count() == 1, "{message}");
    }
    // Two interfaces, of which one has no addresses of stations: Ethernet, and raw IP.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two.pcapng");
    let block = |kind: u32, body: &[u8]| {
        let len = (body.len() + 12) as u32;
        [&kind.to_le_bytes()[..], &len.to_le_bytes(), body, &len.to_le_bytes()].concat()
    };
    let packet = |interface: u32| {
        let mut ip = Vec::new();
        let builder = etherparse::PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
        builder.udp(5000, 53).write(&mut ip, &[0; 18]).unwrap();
        let data = if interface == 0 { &ip[..] } else { &ip[14..] };
        let mut body = [interface, 0, 1, data.len() as u32, data.len() as u32].map(u32::to_le_bytes).concat();
        body.extend(data);
        body.resize(body.len().next_multiple_of(4), 0);
        block(6, &body)
    };
    let section = block(0x0a0d_0d0a, &[&0x1a2b_3c4du32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat());
    let interface = |link: u8| block(1, &[link, 0, 0, 0, 0, 0, 4, 0]);
    let capture =
        [section, interface(1), interface(101), packet(0), packet(1), packet(0), packet(1), packet(1)].concat();
    std::fs::write(&path, capture).unwrap();
    let run = |filter: &str| veilwatch(["detect", path.to_str().unwrap(), "--format", "jsonl", "--filter", filter]);
    for (filter, filtered) in [("ether host 1:1:1:1:1:1", 0), ("ether host 1:2:3:4:5:6", 2)] {
        let run = run(filter);
        let (status, text) = out(&run);
        let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        let counts = (&summary["packets"], &summary["filtered"], &summary["filter_failed"]["101"]);
        assert_eq!(counts, (&5.into(), &filtered.into(), &3.into()), "{text}");
        let blind = filtered == 2;
        assert_eq!((status, summary["partial"].as_bool()), (Some(if blind { 2 } else { 3 }), Some(true)), "{text}");
        let (_, message) = err(&run);
        assert!(message.contains("link type 101") && message.contains(": 3 of 5 packets"), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
    let (status, text) = out(&run("udp port 53"));
    assert!(status == Some(0) && text.contains("\"filtered\":0,\"wire_bytes\""), "{text}");
}

/// What the system finds first under the library's names is no library.
#[test]
fn without_libpcap_there_are_no_filters_and_everything_else() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["libpcap.so.1", "libpcap.so.0.8", "libpcap.so"] {
        std::fs::write(folder.path().join(name), "no library at all").unwrap();
    }
    let run = |more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_veilwatch"))
            .arg("detect")
            .arg(example("first-run.pcap"))
            .args(["--format", "jsonl"])
            .args(more)
            .env("LD_LIBRARY_PATH", folder.path())
            .output()
            .unwrap()
    };
    assert_eq!(out(&run(&[])).0, Some(1));
    let (status, message) = err(&run(&["--filter", "tcp"]));
    assert_eq!((status, message.lines().count()), (Some(2), 1), "{message}");
    for part in ["need libpcap", "tried libpcap.so.1, ", "apt install libpcap0.8", "run without a filter"] {
        assert!(message.contains(part), "{message}");
    }
}
