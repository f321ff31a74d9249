//! One plugin of each kind, dropped in: the pipeline of `examples/pipelines` trains, detects, and is no other than the
//! same plugins linked in.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;
#[path = "common/dropins.rs"]
mod dropins;

// The same sources, linked in. Of libraries that export themselves a program can link only one, so that two of the
// three are taken in without the line that exports them.
#[allow(unreachable_pub, dead_code, reason = "in its own crate it is public")]
#[path = "../../examples/plugins/mqtt/src/mqtt.rs"]
mod mqtt;
#[allow(unreachable_pub, dead_code, reason = "in its own crate it is public")]
#[path = "../../examples/plugins/nearest-mean/src/nearest_mean.rs"]
mod nearest_mean;

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
use veilwatch_testkit::golden;

const CAPTURES: [&str; 2] = ["first-run.pcap", "mqtt-sensors.pcap"];

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
        [mqtt::declarations(), veilwatch_example_mqtt_keep_alive::declarations(), nearest_mean::declarations()]
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

    // The template: what clients call themselves, and what the broker answered.
    let mqtt = flows(&detect(&pipeline, "mqtt-sensors.pcap"));
    let named = |name: &str| mqtt.iter().filter(|flow| flow["fields"]["mqtt.clientid"] == name).collect::<Vec<_>>();
    assert!(mqtt.len() > 30 && mqtt.iter().all(|flow| flow["app_proto"] == "mqtt"), "{mqtt:?}");
    let [meter, gateway] = ["meter-3f", "gateway-3f"].map(|name| named(name)[0]["fields"].clone());
    let fields = ["mqtt.ver", "mqtt.kalive", "mqtt.conflag.uname", "mqtt.conack.val"];
    assert_eq!(fields.map(|name| meter[name].as_u64()), [5, 120, 1, 0].map(Some), "{meter}");
    assert_eq!(fields.map(|name| gateway[name].as_u64()), [5, 60, 1, 0x87].map(Some), "{gateway}");
    assert!(named("battery-hygrometer-2f").len() > 5);

    // The feature: columns of its own over the template's field, filled.
    let (status, table) =
        out(&veilwatch([Path::new("features"), &example("mqtt-sensors.pcap"), Path::new("--config"), &path]));
    assert_eq!(status, Some(0));
    let [seconds, used] = ["alive.keep_alive", "alive.used"].map(|wanted| {
        let mut rows = csv::Reader::from_reader(table.as_bytes());
        let at = rows.headers().unwrap().iter().position(|column| column == wanted).unwrap();
        rows.records().map(|row| row.unwrap()[at].to_owned()).collect::<BTreeSet<String>>()
    });
    assert_eq!(seconds.iter().map(String::as_str).collect::<Vec<_>>(), ["0", "10", "120", "15", "2", "30", "60"]);
    assert!(used.len() > 10, "{used:?}");

    // All of it together: the odd client stands out. So does the door, whose keep-alive is nearly as short.
    let mut alerts: BTreeMap<&str, usize> = BTreeMap::new();
    for flow in mqtt.iter().filter(|flow| flow["verdict"] == "malicious") {
        *alerts.entry(flow["src_ip"].as_str().unwrap()).or_default() += 1;
    }
    assert_eq!(alerts, BTreeMap::from([("192.168.56.108", 1), ("192.168.56.109", 8)]));
    assert_eq!(named("door-3f")[0]["verdict"], "malicious");

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

/// What a model was trained on is in its card: a pipeline that scores other flows has no use for it.
#[test]
fn a_model_judges_no_other_flows_than_it_learnt_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = dropins::own_parts(folder.path());
    let card = std::fs::read_to_string(folder.path().join("model/card.json")).unwrap();
    assert!(card.contains("\"scored\": \"recognised\""), "{card}");
    for other in ["tls", "all"] {
        let text = std::fs::read_to_string(&path).unwrap().replace("\"recognised\"", &format!("{other:?}"));
        let config = folder.path().join("other.toml");
        std::fs::write(&config, text).unwrap();
        let (status, message) =
            err(&veilwatch([Path::new("detect"), &example("first-run.pcap"), Path::new("--config"), &config]));
        assert_eq!((status, message.lines().count()), (Some(2), 1), "{message}");
        assert!(
            message.contains("was trained on other flows") && message.contains("`scored = \"recognised\"`"),
            "{message}"
        );
    }
    // Every flow gets a row where all are wanted, with a template or without.
    let text = "[detection]\nscored = \"all\"\n[[plugin]]\nid = \"flow\"\nuse = \"feature/flow-statistics\"\n";
    let config = Config::parse(text, "all").unwrap();
    let pipeline = Pipeline::untrained(config, &mut Registry::with_builtins().unwrap()).unwrap();
    let mut rows = Rows::default();
    let summary = read(&pipeline, &example("ssh-greeting.pcap"), &mut rows);
    // Without a model they have no score.
    assert_eq!((summary.flows, rows.0, summary.scored), (4, 4, 0));
}

/// Counts the flows that have a row.
#[derive(Default)]
struct Rows(u64);

impl Sink for Rows {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        self.0 += u64::from(detection.scored.is_some_and(|scored| !scored.row.is_empty()));
        Ok(())
    }
}

/// Weights that somebody made up, with a card that names them: the error says whose it is and where.
#[test]
fn made_up_weights_are_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = dropins::own_parts(folder.path());
    let at = |file: &str| folder.path().join("model").join(file);
    let weights = std::fs::read_to_string(at("weights.bin")).unwrap();
    let card: Value = serde_json::from_slice(&std::fs::read(at("card.json")).unwrap()).unwrap();
    let (before, first) = weights.split_once("[[").unwrap();
    let (_, after) = first.split_once(']').unwrap();
    let nan = format!("{before}[[nan, 1.0, 1.0]{after}");
    for bad in [nan, weights[..weights.len() / 2].to_owned(), "PK\u{3}".to_owned()] {
        use sha2::Digest;
        let hash: String = sha2::Sha256::digest(&bad).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut card = card.clone();
        card["weights_sha256"] = hash.into();
        std::fs::write(at("weights.bin"), bad).unwrap();
        std::fs::write(at("card.json"), card.to_string()).unwrap();
        let (status, message) =
            err(&veilwatch([Path::new("detect"), &example("first-run.pcap"), Path::new("--config"), &path]));
        assert_eq!(status, Some(2));
        assert!(message.contains("`nearest`: the weights ") && message.contains("train again"), "{message}");
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

/// The scored flows of a capture: time of the first packet, and both ends.
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
    let text = std::fs::read_to_string(root().join("examples/pipelines/own-parts.toml")).unwrap();
    let config = Config::parse(&dropins::here(&text), "own-parts.toml").unwrap();
    let pipeline = Pipeline::untrained(config, &mut Registry::with_builtins().unwrap()).unwrap();
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
            // Flows of benign captures need no line.
            match (capture["kind"].as_str(), label["label"].as_str()) {
                ("benign", label) => assert_eq!(label, "benign", "{name}: {text}"),
                (_, "malicious") => {
                    let _ = writeln!(want, "{},{text},malicious,source,{}", capture["path"], capture["family"]);
                }
                (_, label) => {
                    let _ = writeln!(want, "{},{text},{label},source,", capture["path"]);
                }
            }
        }
    }
    golden(folder.join("flows.csv"), &want);
}
