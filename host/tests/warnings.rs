//! What the tables say of flows: warnings as reasons, types of files, and what unknown streams begin with.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;

use common::{out, veilwatch};
use serde_json::Value;
use std::path::Path;

/// A capture of TCP payloads, each `(client's port, server's port, whether the client says it, payload)`.
fn capture(path: &Path, said: &[(u16, u16, bool, &[u8])]) {
    let mut bytes = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    for (at, (client, server, forth, payload)) in (0u32..).zip(said) {
        let before = said[..at as usize].iter();
        let sent = before.filter(|other| (other.0, other.1, other.2) == (*client, *server, *forth));
        let seq = 1000 + sent.map(|other| other.3.len() as u32).sum::<u32>();
        let ends = [([10, 0, 0, 1], *client), ([192, 0, 2, 7], *server)];
        let [(from, a), (to, b)] = if *forth { ends } else { [ends[1], ends[0]] };
        let mut packet = Vec::new();
        let builder = etherparse::PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4(from, to, 64);
        builder.tcp(a, b, seq, 100).ack(1).write(&mut packet, payload).unwrap();
        let len = (packet.len() as u32).to_le_bytes();
        bytes.extend([1_700_000_000u32.to_le_bytes(), (at * 1000).to_le_bytes(), len, len].concat());
        bytes.extend(packet);
    }
    std::fs::write(path, bytes).unwrap();
}

/// The lines of a run over it: those of flows by the server's port, and the last.
fn lines(path: &Path, config: &[&str]) -> (Vec<(u64, Value)>, Value) {
    let arguments = ["detect", path.to_str().unwrap(), "--all", "--format", "jsonl"];
    let (_, text) = out(&veilwatch(arguments.iter().chain(config)));
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.pop().unwrap();
    let mut flows: Vec<(u64, Value)> =
        lines.into_iter().map(|line| (line["dest_port"].as_u64().unwrap(), line)).collect();
    flows.sort_by_key(|(port, _)| *port);
    (flows, last)
}

fn warnings(line: &Value) -> Vec<&str> {
    let reasons = line["reasons"].as_array().map(Vec::as_slice).unwrap_or_default();
    reasons.iter().map(|reason| reason["feature"].as_str().unwrap()).collect()
}

const PROGRAM: &[u8] =
    b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0\xb8\0\0\0 This program cannot be run in DOS mode.\r\r\n";

#[test]
fn warnings_are_reasons_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pcap");
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n";
    let random: Vec<u8> = (0..200u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
    capture(
        &path,
        &[
            (40_000, 80, true, b"GET /a.png HTTP/1.1\r\nHost: files.example\r\n\r\n"),
            (40_000, 80, false, &[head, PROGRAM].concat()),
            (40_001, 4444, true, &random),
            (40_001, 4444, false, b"Microsoft Windows [Version 10.0]\r\n"),
            (40_002, 9000, true, b"nothing that is known"),
        ],
    );
    let (flows, last) = lines(&path, &[]);
    let [(80, web), (4444, shell), (9000, plain)] = &flows[..] else { panic!("{flows:?}") };
    assert_eq!(warnings(web), ["warn.windows-program"]);
    assert_eq!(web["files"]["toclient"]["type"], "pe", "{web}");
    assert_eq!((&web["service"], &web["beginning"]["toserver"]["class"]), (&"http".into(), &"text".into()));
    assert_eq!(warnings(shell), ["warn.windows-prompt", "warn.port-metasploit"]);
    let reason = &shell["reasons"][0];
    assert_eq!((&reason["severity"], &reason["contribution"]), (&"high".into(), &0.0.into()));
    assert!(reason["words"].as_str().unwrap().contains("command line") && reason["look"].is_string());
    assert_eq!(shell["beginning"]["toserver"]["class"], "random", "{shell}");
    assert_eq!(shell["packets"], serde_json::json!([3, 4]), "the first, for its port, and that of the prompt");
    assert!(warnings(plain).is_empty() && plain.get("files").is_none());
    let counts = serde_json::json!({"windows-program": 1, "windows-prompt": 1, "port-metasploit": 1});
    assert_eq!(last["warned"], counts);
    assert_eq!(last["malicious"], 0, "a warning is no verdict");
    let (_, text) = out(&veilwatch(["detect", path.to_str().unwrap(), "--format", "table"].iter()));
    assert!(text.contains("1 windows-program (high)"), "{text}");
}

#[test]
fn names_warn_and_tables_of_ones_own_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pcap");
    let tables = folder.path().join("tables");
    std::fs::create_dir(&tables).unwrap();
    std::fs::write(
        tables.join("own.toml"),
        "[warn]\nwindows-program = false\n[warn.rival]\nseverity = \"low\"\nnames = [\"*.rival.example\"]\n\
         words = \"w\"\nlook = \"l\"\n[tcp]\n80 = \"our-web\"\n",
    )
    .unwrap();
    capture(
        &path,
        &[
            (40_000, 80, true, b"GET / HTTP/1.1\r\nHost: www.Rival.example\r\n\r\n"),
            (40_000, 80, false, &[b"HTTP/1.1 200 OK\r\n\r\n", PROGRAM].concat()),
        ],
    );
    let everything = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/protocols.toml");
    let text = std::fs::read_to_string(everything).unwrap();
    let at = text.find("[tables]").unwrap();
    let key = at + text[at..].find("folders = []").unwrap();
    let config = folder.path().join("own-config.toml");
    let own = format!("{}folders = [\"tables\"]{}", &text[..key], &text[key + "folders = []".len()..]);
    std::fs::write(&config, own).unwrap();
    let (flows, _) = lines(&path, &["--config", config.to_str().unwrap()]);
    let [(80, web)] = &flows[..] else { panic!("{flows:?}") };
    assert_eq!(warnings(web), ["warn.rival"]);
    assert_eq!((&web["app_proto"], &web["service"]), (&"http".into(), &"our-web".into()));
    assert_eq!(web["files"]["toclient"]["type"], "pe");
    assert!(web.get("beginning").is_none(), "it is known");
}
