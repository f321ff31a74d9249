//! One plugin of each kind, dropped in: the pipeline of `examples/pipelines` trains, detects, and is no other than the
//! same plugins linked in.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;
#[path = "common/dropins.rs"]
mod dropins;

// The same sources, linked in. Of libraries that export themselves a program can link only one, so that two of the
// three are taken in without the line that exports them.
#[allow(unreachable_pub, dead_code, reason = "in its own crate it is public")]
#[path = "../../examples/plugins/nearest-mean/src/nearest_mean.rs"]
mod nearest_mean;
#[allow(unreachable_pub, dead_code, reason = "in its own crate it is public")]
#[path = "../../examples/plugins/ssh-greeting/src/greeting.rs"]
mod ssh_greeting;

use common::{err, example, out, root, veilwatch};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use veilwatch::config::Config;
use veilwatch::engine::{Detection, Pipeline, Progress, RunOptions, Sink, Summary, run};
use veilwatch::output::{JsonSink, Selection};
use veilwatch::plugins::{Origin, Registry};
use veilwatch::source::Source;

const CAPTURES: [&str; 2] = ["first-run.pcap", "ssh-greeting.pcap"];

fn read(pipeline: &Pipeline, capture: &Path, sink: &mut dyn Sink) -> Summary {
    let source = Source::open(capture, &pipeline.config().input).unwrap();
    let (stop, progress) = (AtomicBool::new(false), Progress::default());
    run(pipeline, source, RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress }, sink).unwrap()
}

/// All lines of a capture, as `detect --all --format jsonl` writes them.
fn detect(pipeline: &Pipeline, capture: &str) -> String {
    let selection = Selection { all: true, min_score: None };
    let mut sink = JsonSink::new(Vec::new(), selection, None, pipeline.config().output.text_bytes);
    let summary = read(pipeline, &example(capture), &mut sink);
    String::from_utf8(sink.summary(&summary).unwrap()).unwrap()
}

fn flows(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["event_type"] == "flow")
        .collect()
}

/// The plugins in the box and the three examples, linked in.
fn linked() -> Registry {
    let mut registry = Registry::with_builtins().unwrap();
    for declarations in
        [ssh_greeting::declarations(), veilwatch_example_sent_share::declarations(), nearest_mean::declarations()]
    {
        registry.register(declarations, &Origin::Builtin).unwrap();
    }
    registry
}

/// A pipeline whose libraries are named by `use` instead of `path`.
fn with_linked(pipeline: &Path) -> Config {
    let mut config = Config::load(pipeline).unwrap();
    let mut changed = 0;
    for entry in &mut config.plugin {
        if let Some(path) = entry.path.take() {
            let of = |plugin: &&&str| path == dropins::library(plugin.split_once('/').unwrap().1);
            entry.plugin = dropins::EXAMPLES.iter().find(of).map(|plugin| (*plugin).to_owned());
            changed += 1;
        }
    }
    assert_eq!(changed, 3);
    config
}

#[test]
fn dropped_in_and_linked_in_learn_and_tell_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = dropins::own_parts(folder.path());
    let mut linked = linked();
    let mut config = with_linked(&path);
    dropins::train(config.clone(), &mut linked, &folder.path().join("linked"));
    for file in ["weights.bin", "card.json"] {
        let [dropped, inside] =
            ["model", "linked"].map(|model| std::fs::read(folder.path().join(model).join(file)).unwrap());
        assert!(!dropped.is_empty());
        assert!(dropped == inside, "{file} differs");
    }
    config.model = folder.path().join("linked").display().to_string();
    let inside = Pipeline::new(config, &mut linked).unwrap();
    let dropped = Pipeline::new(Config::load(&path).unwrap(), &mut Registry::with_builtins().unwrap()).unwrap();
    for capture in CAPTURES {
        let text = detect(&dropped, capture);
        assert!(text.lines().count() > 3);
        assert!(text == detect(&inside, capture), "{capture}: linked in and dropped in tell different things");
        // And so does the command, with threads.
        let (_, told) = out(&veilwatch([
            Path::new("detect"),
            &example(capture),
            Path::new("--config"),
            &path,
            Path::new("--all"),
            Path::new("--workers=3"),
            Path::new("--format=jsonl"),
        ]));
        assert!(text == told, "{capture}: the command tells other things than the library");
    }
}

#[test]
fn each_part_has_its_say() {
    let folder = tempfile::tempdir().unwrap();
    let path = dropins::own_parts(folder.path());
    let pipeline = Pipeline::new(Config::load(&path).unwrap(), &mut Registry::with_builtins().unwrap()).unwrap();

    // The template: what both sides call themselves; no flow of it is scored.
    let ssh = flows(&detect(&pipeline, "ssh-greeting.pcap"));
    let versions: Vec<[Option<&str>; 2]> = ssh
        .iter()
        .map(|flow| {
            assert_eq!((flow["app_proto"].as_str(), flow["verdict"].as_str()), (Some("ssh"), None));
            ["ssh.client_version", "ssh.server_version"].map(|name| flow["fields"][name].as_str())
        })
        .collect();
    assert_eq!(
        versions,
        [
            [Some("SSH-2.0-OpenSSH_9.6"), Some("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u2")],
            [Some("SSH-2.0-PuTTY_Release_0.80"), Some("SSH-2.0-dropbear_2022.83")],
            [None, Some("SSH-1.99-Router-1.25")],
            [Some("SSH-2.0-libssh_0.10.6 cut in the mid"), None],
        ]
    );

    // The feature: a column of its own, filled.
    let (status, table) =
        out(&veilwatch([Path::new("features"), &example("first-run.pcap"), Path::new("--config"), &path]));
    assert_eq!(status, Some(0));
    let mut rows = csv::Reader::from_reader(table.as_bytes());
    let at = rows.headers().unwrap().iter().position(|column| column == "sent.sent_share").unwrap();
    let shares: BTreeSet<String> = rows.records().map(|row| row.unwrap()[at].to_owned()).collect();
    assert!(shares.len() > 10, "{shares:?}");

    // The classifier: verdicts are those of its model. It learnt from the sibling of this beacon, so it must know it.
    let card = pipeline.card().unwrap();
    assert_eq!(card.classifier, "classifier/nearest-mean");
    let flows = flows(&detect(&pipeline, "first-run.pcap"));
    let mut verdicts: BTreeMap<(bool, &str), usize> = BTreeMap::new();
    for flow in flows.iter().filter(|flow| !flow["verdict"].is_null()) {
        let far = ["203.0.113.129", "192.0.2.222"].contains(&flow["dest_ip"].as_str().unwrap());
        let verdict = flow["verdict"].as_str().unwrap();
        let score = flow["score"].as_f64().unwrap();
        assert_eq!(verdict, card.thresholds.verdict(score).name(), "score {score}");
        *verdicts.entry((far, verdict)).or_default() += 1;
        let reasons = flow["reasons"].as_array().map_or(0, Vec::len);
        assert_eq!(reasons > 0, verdict != "benign", "{flow}");
    }
    assert_eq!(verdicts.get(&(true, "malicious")), Some(&26), "{verdicts:?}");
    assert_eq!(verdicts.get(&(false, "benign")), Some(&13), "{verdicts:?}");
}

/// Weights that somebody made up, with a card that names them: the error says whose it is and where.
#[test]
fn made_up_weights_are_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = dropins::own_parts(folder.path());
    let at = |file: &str| folder.path().join("model").join(file);
    let weights = std::fs::read_to_string(at("weights.bin")).unwrap();
    let card: Value = serde_json::from_slice(&std::fs::read(at("card.json")).unwrap()).unwrap();
    let column = weights.lines().find(|line| line.split(' ').count() == 4 && !line.starts_with('c')).unwrap();
    for bad in [weights.replacen(column, "NaN 1 0 1", 1), weights[..weights.len() / 2].to_owned(), "PK\u{3}".to_owned()]
    {
        use sha2::Digest;
        let hash: String = sha2::Sha256::digest(&bad).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut card = card.clone();
        card["weights_sha256"] = hash.into();
        std::fs::write(at("weights.bin"), bad).unwrap();
        std::fs::write(at("card.json"), card.to_string()).unwrap();
        let (status, message) =
            err(&veilwatch([Path::new("detect"), &example("first-run.pcap"), Path::new("--config"), &path]));
        assert_eq!(status, Some(2));
        assert!(message.contains("`nearest`: line ") && message.contains("of the weights"), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

/// Files under `examples` that hold a pipeline.
fn pipelines(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pipelines(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "toml")
            && std::fs::read_to_string(&path).unwrap().contains("[[plugin]]")
        {
            found.push(path);
        }
    }
}

#[test]
fn every_pipeline_among_the_examples_is_good() {
    let mut found = Vec::new();
    pipelines(&root().join("examples"), &mut found);
    assert!(found.len() >= 2, "{found:?}");
    for path in found {
        let text = dropins::here(&std::fs::read_to_string(&path).unwrap());
        let config = Config::parse(&text, &path.display().to_string()).unwrap_or_else(|error| panic!("{error}"));
        let libraries = config.plugin.iter().filter(|entry| entry.path.is_some()).count();
        assert!(libraries > 0, "{}", path.display());
        Pipeline::untrained(config, &mut Registry::with_builtins().unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // The paths in the file lead to where cargo puts libraries.
        let target = root().join("target");
        for entry in Config::load(&path).unwrap().plugin {
            let Some(library) = entry.path else { continue };
            let plain: PathBuf = library.components().fold(PathBuf::new(), |mut whole, part| {
                match part {
                    std::path::Component::ParentDir => assert!(whole.pop()),
                    part => whole.push(part),
                }
                whole
            });
            assert!(plain.starts_with(&target), "{}: {}", path.display(), plain.display());
        }
    }
}

/// The TLS flows of a capture: time of the first packet, and both ends.
#[derive(Default)]
struct Ends(Vec<String>, Vec<[String; 3]>);

impl Sink for Ends {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        if detection.scored.is_some() {
            let (time, from, to) = (detection.flow.first_ns, detection.flow.originator, detection.flow.responder);
            let (seconds, micros) = (time / 1_000_000_000, time / 1000 % 1_000_000);
            self.0.push(format!("{seconds}.{micros:06},{},{},{},{}", from.ip(), from.port, to.ip(), to.port));
            self.1.push([from.ip().to_string(), to.ip().to_string(), to.port.to_string()]);
        }
        Ok(())
    }
}

/// `examples/labels/flows.csv` is what `LABELS.csv` says of the captures; `VEILWATCH_WRITE_GOLDEN=1` writes it anew.
#[test]
fn the_labelled_flows_are_those_of_the_captures() {
    let pipeline = Pipeline::untrained(Config::builtin().unwrap(), &mut Registry::with_builtins().unwrap()).unwrap();
    let mut labels = csv::Reader::from_path(example("LABELS.csv")).unwrap();
    let labels: Vec<BTreeMap<String, String>> = labels.deserialize().map(Result::unwrap).collect();
    let folder = root().join("examples/labels");
    let mut captures = csv::Reader::from_path(folder.join("captures.csv")).unwrap();
    let mut want = "path,time,client,client_port,server,server_port,label,confidence,family\n".to_owned();
    for capture in captures.deserialize().map(Result::<BTreeMap<String, String>, _>::unwrap) {
        let path = folder.join(&capture["path"]);
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut ends = Ends::default();
        read(&pipeline, &path, &mut ends);
        assert!(!ends.0.is_empty(), "{name}");
        for (text, [client, server, port]) in ends.0.iter().zip(&ends.1) {
            let of = |label: &&BTreeMap<String, String>| {
                label["capture"] == name
                    && label["client"] == *client
                    && label["server"] == *server
                    && label["server_port"] == *port
            };
            let label = labels.iter().find(of).unwrap_or_else(|| panic!("{name}: {text} has no label"));
            assert_eq!(label["label"], capture["kind"], "{name}: {text}");
            // Flows of benign captures need no line.
            if label["label"] == "malicious" {
                let _ = writeln!(want, "{},{text},malicious,source,{}", capture["path"], capture["family"]);
            }
        }
    }
    let path = folder.join("flows.csv");
    if std::env::var_os("VEILWATCH_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &want).unwrap();
    }
    let got = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(got == want, "examples/labels/flows.csv is not what the captures hold; it should be\n{want}");
}
