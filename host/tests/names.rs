//! DNS and the flows that names lead to, end to end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;

use common::{example, out, veilwatch};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Lines of a run over a capture, with another text here and there in the configuration.
fn detect(capture: &Path, changes: &[(&str, &str)], more: &[&str]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    let text = changes.iter().fold(common::PROTOCOLS.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    std::fs::write(&config, text).unwrap();
    let args =
        ["detect", capture.to_str().unwrap(), "--all", "--format", "jsonl", "--config", config.to_str().unwrap()];
    let (_, text) = out(&veilwatch(args.iter().chain(more)));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every flow of TLS in an example was reached through a name, but for those that go to an address at once: the answer came
/// over a flow of DNS that had not ended yet.
#[test]
fn names_lead_to_the_flows_that_ask_for_them() {
    for name in ["first-run.pcap", "benign-office.pcapng", "benign-odd.pcap"] {
        let lines = detect(&example(name), &[], &[]);
        // From which host which name led to which address, as the flows of DNS tell.
        let mut led = BTreeSet::new();
        for line in lines.iter().filter(|line| line["app_proto"] == "dns") {
            assert_eq!(line["dns"]["queries"], line["dns"]["responses"], "{line}");
            for answer in line["dns"]["answers"].as_array().into_iter().flatten() {
                led.insert(
                    [&line["src_ip"], &answer["rrname"], &answer["rdata"]].map(|v| v.as_str().unwrap().to_owned()),
                );
            }
        }
        let mut linked = 0;
        for line in lines.iter().filter(|line| line["app_proto"] == "tls") {
            let host = line["src_ip"].as_str().unwrap().to_owned();
            let Some(wanted) = line["tls"]["sni"].as_str() else {
                assert_eq!(line["dns_name"], Value::Null, "{line}");
                continue;
            };
            let link = &line["dns_name"];
            let known = [host, wanted.to_owned(), line["dest_ip"].as_str().unwrap().to_owned()];
            if !led.contains(&known) {
                continue;
            }
            assert_eq!(link["rrname"], wanted, "{name}: {line}");
            assert!(link["age"].as_f64().unwrap() < 60.0 && link["queries"].as_u64().unwrap() > 0, "{link}");
            linked += 1;
        }
        assert!(linked > 10, "{name}: {linked}");
    }
}

/// Final records are the same with early ones and without, and so are those of any number of workers.
#[test]
fn links_do_not_depend_on_when_somebody_looks() {
    let capture = example("benign-office.pcapng");
    let known = detect(&capture, &[], &["--workers", "1"]);
    assert!(known.iter().any(|line| !line["dns_name"].is_null()));
    assert!(known == detect(&capture, &[], &["--workers", "3"]));
    let early = detect(&capture, &[("early_packets = 0 ", "early_packets = 4 ")], &[]);
    let (given, finals): (Vec<Value>, Vec<Value>) = early.into_iter().partition(|line| line["record"] == "early");
    assert!(finals[..finals.len() - 1] == known[..known.len() - 1]);
    // An early record knows what the final one knows of names: both know what was known at the begin.
    for line in given {
        let last = finals.iter().find(|last| last["flow_id"] == line["flow_id"]).unwrap();
        assert_eq!(line["dns_name"], last["dns_name"]);
    }
}

#[test]
fn names_are_bounded_and_counted() {
    let capture = example("first-run.pcap");
    let known = detect(&capture, &[], &[]);
    let mut none = detect(&capture, &[("names = 200000 ", "names = 0 ")], &[]);
    assert!(none.iter().all(|line| line["dns_name"].is_null()));
    // Nothing else is another, but for what a lack of names is worth.
    for (line, known) in none.iter_mut().zip(&known) {
        let mut known = known.clone();
        for line in [&mut *line, &mut known] {
            line.as_object_mut().unwrap().remove("dns_name");
            line.as_object_mut().unwrap().remove("category_reasons");
        }
        assert_eq!(*line, known);
    }
    let few = detect(&capture, &[("names = 200000 ", "names = 2 ")], &[]);
    assert!(few.last().unwrap()["limits"]["context.names"].as_u64().unwrap() > 0, "{few:?}");
}
