//! Training and evaluation, end to end, on a small labelled folder made of the captures that ship with the project.
//!
//! The models made here are thrown away: the shipped captures train nothing that is kept.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;

use common::{err, example, out, veilwatch};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;

/// A training folder: two malware families, three benign captures.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let captures = [
        ("a.pcap", "malicious-beacon-tls12.pcap", "malicious", "old"),
        ("b.pcap", "malicious-beacon-tls13.pcap", "malicious", "new"),
        ("c.pcap", "benign-office.pcapng", "benign", ""),
        ("d.pcap", "benign-odd.pcap", "benign", ""),
        ("broken.pcap", "README.md", "benign", ""),
    ];
    let mut table = "path,kind,family,source\n".to_owned();
    let mut flows = "path,time,client,client_port,server,server_port,label,confidence,family\n".to_owned();
    for (name, from, kind, family) in captures {
        std::fs::copy(example(from), folder.path().join(name)).unwrap();
        let _ = writeln!(table, "{name},{kind},{family},{name}");
        if kind == "malicious" {
            let (_, text) = out(&veilwatch([
                Path::new("detect"),
                &example(from),
                "--all".as_ref(),
                "--format".as_ref(),
                "jsonl".as_ref(),
            ]));
            for line in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
                if line["tls"].is_null() {
                    continue;
                }
                let time: f64 = line["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_nanosecond()
                    as f64
                    / 1e9;
                let text = |key: &str| line[key].as_str().map_or(line[key].to_string(), str::to_owned);
                let (from, to) = (text("src_ip"), text("dest_ip"));
                let (a, b) = (text("src_port"), text("dest_port"));
                let _ = writeln!(flows, "{name},{time},{from},{a},{to},{b},malicious,ioc,{family}");
            }
        }
    }
    std::fs::write(folder.path().join("captures.csv"), table).unwrap();
    std::fs::write(folder.path().join("flows.csv"), flows).unwrap();
    folder
}

/// The default pipeline with a small classifier, so that the test is quick.
fn config(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("small.toml");
    let text = veilwatch::config::EXAMPLE.replace("trees = 120 ", "trees = 20 ");
    assert_ne!(text, veilwatch::config::EXAMPLE);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_model_is_trained_judged_used_and_made_again() {
    let data = folder();
    let config = config(data.path());
    let at = |name: &str| data.path().join(name);
    let args = |out: &Path| {
        [
            "train".into(),
            "--data".into(),
            data.path().to_owned(),
            "--out".into(),
            out.to_owned(),
            "--config".into(),
            config.clone(),
        ]
    };
    let done = veilwatch(args(&at("one")));
    let (status, messages) = err(&done);
    assert_eq!(status, Some(0), "{messages}");
    assert!(messages.contains("broken.pcap: no capture, left out"), "{messages}");
    assert_eq!(veilwatch(args(&at("two"))).status.code(), Some(0));
    for file in ["weights.bin", "card.json"] {
        let [one, two] = ["one", "two"].map(|model| {
            std::fs::read_to_string(at(model).join(file)).map_err(|_| std::fs::read(at(model).join(file)).unwrap())
        });
        // Only the model's name differs.
        assert!(one.map(|card| card.replace("\"one\"", "\"two\"")) == two, "{file} differs between two trainings");
    }
    let card: Value = serde_json::from_slice(&std::fs::read(at("one/card.json")).unwrap()).unwrap();
    assert_eq!(card["training"]["malicious_pairs"], 4);
    assert!(card["report"]["average_precision"]["value"].is_f64());

    let judged = veilwatch([
        "evaluate".into(),
        "--json".into(),
        "--data".into(),
        data.path().to_owned(),
        "--config".into(),
        config.clone(),
    ]);
    let report: Value = serde_json::from_slice(&judged.stdout).unwrap();
    assert_eq!(report["report"], card["report"], "training and evaluation must tell the same");
    assert_eq!(report["folds"], 2);

    let used = |model: &Path| {
        veilwatch([
            Path::new("detect"),
            &example("benign-odd.pcap"),
            "--model".as_ref(),
            model,
            "--all".as_ref(),
            "--config".as_ref(),
            &config,
        ])
    };
    let first = used(&at("one"));
    assert!(out(&first).1.contains("\"score\":0."), "{} {}", err(&first).1, out(&first).1);

    // A model whose weights were changed is refused.
    let mut weights = std::fs::read(at("one/weights.bin")).unwrap();
    let middle = weights.len() / 2;
    weights[middle] ^= 1;
    std::fs::write(at("one/weights.bin"), weights).unwrap();
    let (status, message) = err(&used(&at("one")));
    assert_eq!(status, Some(2));
    assert!(message.contains("not those that its card names"), "{message}");
}

#[test]
fn a_folder_without_tables_is_named() {
    let empty = tempfile::tempdir().unwrap();
    let (status, message) = err(&veilwatch(["evaluate".as_ref(), "--data".as_ref(), empty.path()]));
    assert_eq!(status, Some(2));
    assert!(message.contains("captures.csv"), "{message}");
}
