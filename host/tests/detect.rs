//! The main job, end to end: the command on the captures that ship with the project.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;
#[path = "common/long.rs"]
mod long;

use common::{err, example, out, root, veilwatch};
use long::long_capture;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use veilwatch_testkit::golden;

const CAPTURES: [&str; 7] = [
    "first-run.pcap",
    "benign-office.pcapng",
    "benign-odd.pcap",
    "malicious-beacon-tls12.pcap",
    "malicious-beacon-tls13.pcap",
    // Nothing in these is scored, and nothing may be called anything.
    "mqtt-sensors.pcap",
    "ssh-greeting.pcap",
];

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn detect(capture: &Path, more: &[&str]) -> (Option<i32>, String) {
    let mut args = vec!["detect", capture.to_str().unwrap()];
    args.extend(more);
    out(&veilwatch(args))
}

/// Verdicts and reason names of every scored flow, as one reads them: no digits of scores.
fn verdicts(text: &str) -> String {
    let mut out = String::new();
    for line in lines(text) {
        if line["event_type"] != "flow" || line["verdict"].is_null() {
            continue;
        }
        let mut reasons: Vec<&str> =
            line["reasons"].as_array().into_iter().flatten().filter_map(|reason| reason["feature"].as_str()).collect();
        reasons.sort_unstable();
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let _ = writeln!(
            out,
            "{} {}:{} -> {}:{} {} {}",
            text(&line["verdict"]),
            text(&line["src_ip"]),
            line["src_port"],
            text(&line["dest_ip"]),
            line["dest_port"],
            text(&line["tls"]["sni"]),
            reasons.join(" ")
        );
    }
    out
}

/// Goldens are reviewed like code; `VEILWATCH_WRITE_GOLDEN=1` writes them anew, for example after training.
#[test]
fn the_examples_get_the_verdicts_that_were_reviewed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for name in CAPTURES {
        let (_, text) = detect(&example(name), &["--all", "--format", "jsonl"]);
        let got = verdicts(&text);
        golden(folder.join(format!("{name}.txt")), &got);
    }
}

/// What `LABELS.csv` calls benign is never called malicious, and the first run finds what it must.
#[test]
fn labels_hold() {
    let mut labels = csv::Reader::from_path(example("LABELS.csv")).unwrap();
    let labels: Vec<BTreeMap<String, String>> = labels.deserialize().map(Result::unwrap).collect();
    assert!(labels.len() > 10);
    for name in CAPTURES {
        let (status, text) = detect(&example(name), &["--format", "jsonl"]);
        let called: Vec<Value> = lines(&text).into_iter().filter(|line| line["verdict"] == "malicious").collect();
        assert_eq!(status, Some(i32::from(!called.is_empty())), "{name}");
        for line in &called {
            let label = labels.iter().find(|label| {
                label["capture"] == *name
                    && label["client"] == line["src_ip"].as_str().unwrap()
                    && label["server"] == line["dest_ip"].as_str().unwrap()
                    && label["server_port"].parse().ok() == line["dest_port"].as_u64()
            });
            assert_eq!(label.unwrap_or_else(|| panic!("{line} has no label"))["label"], "malicious", "{name}: {line}");
            assert!(!line["reasons"].as_array().unwrap().is_empty());
            assert!(!line["packets"].as_array().unwrap().is_empty());
        }
        if matches!(name, "first-run.pcap" | "malicious-beacon-tls12.pcap") {
            assert!(called.len() > 20, "{name}: the beacon must be found, not only the odd beat of it");
        }
    }
}

/// A classic pcap written as pcapng, two interfaces and a section more than it needs.
fn as_pcapng(pcap: &[u8]) -> Vec<u8> {
    let block = |kind: u32, body: &[u8]| {
        let len = (body.len() + 12) as u32;
        [&kind.to_le_bytes()[..], &len.to_le_bytes(), body, &len.to_le_bytes()].concat()
    };
    let section = block(0x0a0d_0d0a, &[&0x1a2b_3c4du32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat());
    let interface = block(1, &[1, 0, 0, 0, 0, 0, 4, 0]);
    let mut out = [section.clone(), interface.clone(), section, interface.clone(), interface].concat();
    let mut rest = &pcap[24..];
    while rest.len() >= 16 {
        let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        let (seconds, micros, len, wire) = (word(0), word(4), word(8), word(12));
        let time = u64::from(seconds) * 1_000_000 + u64::from(micros);
        let mut body = [1u32, (time >> 32) as u32, time as u32, len, wire].map(u32::to_le_bytes).concat();
        body.extend_from_slice(&rest[16..16 + len as usize]);
        body.resize(body.len().next_multiple_of(4), 0);
        out.extend(block(6, &body));
        rest = &rest[16 + len as usize..];
    }
    out
}

#[test]
fn the_same_capture_gives_the_same_lines_however_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let pcap = std::fs::read(example("first-run.pcap")).unwrap();
    let save = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&pcap).unwrap();
    let files: Vec<PathBuf> = vec![
        example("first-run.pcap"),
        save("pcapng", &as_pcapng(&pcap)),
        // Compressed, under a name that says nothing.
        save("gz.pcap", &gz.finish().unwrap()),
        save("zst", &zstd::encode_all(pcap.as_slice(), 1).unwrap()),
    ];
    let (_, want) = detect(&files[0], &["--all", "--format", "jsonl", "--workers", "1"]);
    assert!(want.lines().count() > 30);
    for file in &files {
        for workers in ["1", "2", "8"] {
            let (_, got) = detect(file, &["--all", "--format", "jsonl", "--workers", workers]);
            assert!(got == want, "{} with {workers} workers differs", file.display());
        }
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_veilwatch"))
        .args(["detect", "-", "--all", "--format", "jsonl"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || pcap.chunks(1000).for_each(|part| input.write_all(part).unwrap()));
    let got = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(String::from_utf8(got.stdout).unwrap() == want, "standard input differs");
}

#[test]
fn lines_have_the_documented_names() {
    let (_, text) = detect(&example("first-run.pcap"), &["--all", "--format", "jsonl"]);
    let all = lines(&text);
    let documented = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("OUTPUT.md")).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for line in &all {
        assert_eq!(line["format"], 1);
        assert!(line.get("novelty").is_none() || line["score"].is_number(), "{line}");
        for (key, value) in line.as_object().unwrap() {
            seen.insert(key.clone());
            if matches!(key.as_str(), "tls" | "flow" | "dns" | "dns_name") {
                seen.extend(value.as_object().unwrap().keys().map(|inner| format!("{key}.{inner}")));
            }
        }
    }
    for name in &seen {
        assert!(documented.contains(&format!("`{name}`")), "`{name}` is not in host/OUTPUT.md");
    }
    for name in ["tls.sni", "tls.ja4", "flow_id", "community_id", "reasons", "packets", "score", "flow.duration"] {
        assert!(seen.contains(name), "{name} is never written");
    }
    let last = all.last().unwrap();
    assert_eq!(last["event_type"], "summary");
    assert_eq!(last["flows"].as_u64().unwrap() as usize, all.len() - 1);
    assert_eq!(last["partial"], false);
}

#[test]
fn choices_of_what_is_written() {
    let capture = example("first-run.pcap");
    let count = |more: &[&str]| detect(&capture, more).1.lines().count();
    let alerts = count(&["--format", "jsonl"]);
    let all = count(&["--format", "jsonl", "--all"]);
    assert!(1 < alerts && alerts < all);
    assert!(count(&["--format", "jsonl", "--min-score", "0"]) > alerts);
    assert_eq!(count(&["--format", "jsonl", "--min-score", "1"]), 1);
    for nonsense in ["NaN", "1.1", "-1", "high"] {
        let (status, message) = err(&veilwatch(["detect", "-", &format!("--min-score={nonsense}")]));
        assert!(status == Some(2) && message.contains("a number from 0 to 1"), "{message}");
    }
    // CSV has a header instead of a last line.
    assert_eq!(count(&["--format", "csv"]), alerts);
    let (_, table) = detect(&capture, &["--format", "table"]);
    for part in ["malicious", "packets", "flows", "t1"] {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
    let (status, few) = detect(&capture, &["--format", "jsonl", "--packets", "5"]);
    let summary = lines(&few).pop().unwrap();
    assert_eq!((status, summary["packets"].as_u64(), summary["stopped"].as_bool()), (Some(0), Some(5), Some(true)));
}

/// What the flows of a capture come to: the last line and the text say the same, and neither counts what no flow said.
#[test]
fn a_capture_comes_to_one_conclusion() {
    for (name, verdict) in [
        ("malicious-beacon-tls12.pcap", Some("malicious")),
        ("benign-office.pcapng", Some("benign")),
        ("ssh-greeting.pcap", None),
    ] {
        let all = lines(&detect(&example(name), &["--format", "jsonl", "--all"]).1);
        let last = all.last().unwrap();
        let (conclusion, hosts) = (&last["conclusion"], last["hosts"].as_array());
        assert_eq!(conclusion["verdict"].as_str(), verdict, "{name}: {conclusion}");
        let (_, text) = detect(&example(name), &["--format", "table"]);
        assert_eq!(text.contains("taken together: "), verdict.is_some(), "{text}");
        let Some(hosts) = hosts else {
            assert_eq!(verdict, None);
            continue;
        };
        let said = format!("taken together: {} ", verdict.unwrap());
        assert!(text.contains(&said) && text.contains(conclusion["words"].as_str().unwrap()), "{text}");
        // Every scored flow is in a host, and every host is as bad as its strongest conversation at least.
        let sum = |key: &str| hosts.iter().map(|host| host[key].as_u64().unwrap()).sum::<u64>();
        assert_eq!(sum("flows"), last["scored"]);
        assert_eq!(sum("alerts"), last["malicious"].as_u64().unwrap() + last["suspicious"].as_u64().unwrap());
        assert_eq!(conclusion["hosts"], hosts.len());
        let score = |value: &Value| value["score"].as_f64().unwrap();
        assert!(
            hosts.iter().all(|host| score(host) >= score(&host["strongest"][0]) && score(conclusion) >= score(host))
        );
        let is_bad = |host: &&Value| host["verdict"] == "malicious";
        assert_eq!(conclusion["malicious_hosts"], hosts.iter().filter(is_bad).count());
    }
}

/// What to ask a person about: flows of this capture, the same with any number of workers, each with why.
#[test]
fn a_queue_says_which_flows_are_worth_a_word() {
    let capture = example("first-run.pcap");
    let queue = |count: &str, more: &[&str]| {
        let (status, text) = detect(&capture, &[&["--queue", count, "--format", "jsonl"], more].concat());
        assert_eq!(status, Some(1));
        lines(&text)
    };
    let five = queue("5", &["--workers", "1"]);
    assert_eq!(five.len(), 5);
    assert_eq!(five, queue("9", &["--workers", "4"])[..5]);
    let all = lines(&detect(&capture, &["--format", "jsonl", "--all"]).1);
    for (rank, question) in (1..).zip(&five) {
        assert_eq!((question["event_type"].as_str(), question["rank"].as_u64()), (Some("question"), Some(rank)));
        let flow = all.iter().find(|line| line["flow_id"] == question["flow_id"]).unwrap();
        for key in ["timestamp", "src_ip", "src_port", "dest_ip", "dest_port", "score"] {
            assert_eq!(flow[key], question[key], "{key}");
        }
        assert_eq!(question["novel"], flow["novel"] == true, "{question}");
        let score = question["score"].to_string();
        assert!(question["reasons"][0].as_str().unwrap().contains(&score[..4]), "{question}");
    }
    assert!(five.windows(2).all(|two| two[0]["worth"].as_f64() >= two[1]["worth"].as_f64()));
    let (_, table) = detect(&capture, &["--queue", "3", "--format", "table"]);
    assert!(table.contains("worth") && table.contains("begins") && table.contains("taken together"), "{table}");
    // Nothing of this capture has a score.
    let (_, none) = detect(&example("ssh-greeting.pcap"), &["--queue", "3", "--format", "table"]);
    assert!(none.contains("nothing to ask about"), "{none}");
    let (status, message) = err(&veilwatch(["detect", "-", "--queue", "3", "--format", "csv"]));
    assert!(status == Some(2) && message.contains("--queue"), "{message}");
}

#[test]
fn files_and_folders_at_once() {
    let both = veilwatch(["detect", "examples/captures", "--format", "jsonl"]);
    let (status, text) = out(&both);
    assert_eq!(status, Some(1));
    let summaries: Vec<Value> = lines(&text).into_iter().filter(|line| line["event_type"] == "summary").collect();
    assert_eq!(summaries.len(), CAPTURES.len());
    assert!(summaries.iter().all(|line| line["capture"].as_str().unwrap().starts_with("examples/captures")));
}

#[test]
fn bad_input_gets_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("empty.pcap"), b"").unwrap();
    std::fs::write(path("text.pcap"), b"this is a shopping list\nmilk\n").unwrap();
    std::fs::create_dir(path("nothing")).unwrap();
    for (name, says) in [
        ("empty.pcap", "is empty"),
        ("text.pcap", "looks like text"),
        ("nothing", "no capture in folder"),
        ("missing.pcap", "no such file"),
    ] {
        let (status, message) = err(&veilwatch([Path::new("detect"), &path(name)]));
        assert_eq!(status, Some(2), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.contains(says) && message.contains(name), "{message}");
    }
    // Beside a good capture a bad one is named, and the result is partial; so with an empty folder.
    let good = example("benign-odd.pcap");
    let folder_too =
        veilwatch([Path::new("detect"), &path("nothing"), &good, Path::new("--format"), Path::new("jsonl")]);
    assert_eq!(err(&folder_too).0, Some(3));
    assert!(err(&folder_too).1.contains("no capture in folder") && out(&folder_too).1.contains("summary"));
    let mixed = veilwatch([Path::new("detect"), &good, &path("text.pcap"), Path::new("--format"), Path::new("jsonl")]);
    assert_eq!(err(&mixed).0, Some(3));
    assert!(err(&mixed).1.contains("looks like text"));
}

#[test]
fn what_could_be_read_of_a_damaged_capture_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(example("benign-odd.pcap")).unwrap();
    let cut = folder.path().join("cut.pcap");
    std::fs::write(&cut, &whole[..whole.len() / 2 + 7]).unwrap();
    let (status, text) = detect(&cut, &["--format", "jsonl", "--all"]);
    let summary = lines(&text).pop().unwrap();
    assert_eq!((status, summary["partial"].as_bool()), (Some(3), Some(true)));
    assert!(summary["flows"].as_u64().unwrap() > 5);
    assert!(summary["damage"]["what"].as_str().unwrap().len() > 10);
    // A link type that nobody decodes is named, with its number.
    let mut foreign = whole;
    foreign[20] = 147;
    std::fs::write(&cut, &foreign).unwrap();
    let blind = veilwatch([Path::new("detect"), &cut, Path::new("--format"), Path::new("jsonl")]);
    let (status, text) = out(&blind);
    let summary = lines(&text).pop().unwrap();
    assert_eq!((status, &summary["unknown_links"]["147"]), (Some(2), &summary["packets"]));
    let (_, message) = err(&blind);
    assert!(message.contains("link type 147 is not decoded") && message.lines().count() == 1, "{message}");
}

/// Every file that other programs stumbled over: no panic, a documented exit status.
#[test]
fn odd_captures_do_no_harm() {
    let Some(folder) = common::shared("badinput") else { return };
    let (status, _) = out(&veilwatch([Path::new("detect"), &folder, Path::new("--format"), Path::new("jsonl")]));
    assert!(matches!(status, Some(0 | 1 | 3)), "{status:?}");
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_veilwatch"))
        .args(["detect", "examples/captures/first-run.pcap", "--all", "--format", "jsonl"])
        .current_dir(root())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stderr), "");
}

/// Many hand-overs, evictions and expiries: nothing depends on the number of workers, nor on where hand-overs fall.
#[test]
fn long_captures_are_the_same_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("long.pcap"), long_capture(12_000, true)).unwrap();
    let capture = long_capture(12_000, false);
    std::fs::write(path("plain.pcap"), &capture).unwrap();
    // The same behind frames that are no IP: every hand-over falls elsewhere, and so does every packet number.
    let mut arp = vec![0u8; 60];
    arp[12..14].copy_from_slice(&[8, 6]);
    let first: [u8; 8] = capture[24..32].try_into().unwrap();
    let junk = [&first[..], &60u32.to_le_bytes(), &60u32.to_le_bytes(), &arp].concat().repeat(3001);
    std::fs::write(path("shifted.pcap"), [&capture[..24], &junk, &capture[24..]].concat()).unwrap();
    let small = veilwatch::config::EXAMPLE
        .replace("flows_per_shard = 2048 ", "flows_per_shard = 16 ")
        .replace("tcp_idle_seconds = 300 ", "tcp_idle_seconds = 5 ");
    std::fs::write(path("small.toml"), small).unwrap();
    for config in [None, Some(path("small.toml"))] {
        let run = |capture: &str, workers: &str| {
            let mut args = vec!["detect".into(), path(capture), "--all".into(), "--format".into(), "jsonl".into()];
            args.extend(["--workers".into(), PathBuf::from(workers)]);
            args.extend(config.iter().flat_map(|config| ["--config".into(), config.clone()]));
            out(&veilwatch(args)).1
        };
        let want = run("long.pcap", "1");
        let summary = lines(&want).pop().unwrap();
        assert!(
            summary["packets"].as_u64().unwrap() > 40_000 && summary["scored"].as_u64().unwrap() > 5000,
            "{summary}"
        );
        for workers in ["2", "3", "8"] {
            assert!(run("long.pcap", workers) == want, "{workers} workers differ");
        }
        if config.is_none() {
            let flows = |text: &str| -> Vec<Value> {
                let mut flows = lines(text);
                flows.pop();
                for flow in &mut flows {
                    flow.as_object_mut().unwrap().remove("packets");
                }
                flows
            };
            assert!(flows(&run("shifted.pcap", "2")) == flows(&run("plain.pcap", "1")), "junk in front changes flows");
        } else {
            assert!(summary["limits"]["flows.flows_per_shard"].as_u64().unwrap() > 0, "nothing was evicted");
        }
    }
}
