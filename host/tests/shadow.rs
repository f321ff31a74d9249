//! A challenger beside the champion: what it says is told, and nothing else changes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;
#[path = "common/long.rs"]
mod long;

use common::{err, example, out, root, veilwatch};
use long::long_capture;
use serde::Deserialize;
use serde_json::Value as Json;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use veilwatch::config::Config;
use veilwatch::engine::{Pipeline, Progress, RunOptions, run};
use veilwatch::model::Model;
use veilwatch::output::{JsonSink, Selection};
use veilwatch::plugins::{Origin, Registry};
use veilwatch::source::Source;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::{Classifier, PluginError, Settings, TrainingSet};

veilwatch_core::declare_plugins!(classifier "odd" "scores by what stands in a row": Odd);

/// What it does with some rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Does {
    #[default]
    Score,
    Otherwise,
    Panic,
    Infinite,
    Abstain,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Odd {
    does: Does,
}

impl Odd {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.read()
    }

    fn of(&self, row: &[f32]) -> f64 {
        let number = row.iter().fold(0u32, |all, cell| all.rotate_left(5) ^ cell.to_bits().wrapping_mul(0x9e37_79b9));
        let score = f64::from(number % 1000) / 100.0 - 5.0;
        match self.does {
            Does::Otherwise if number.is_multiple_of(5) => -score,
            Does::Panic if number.is_multiple_of(5) => panic!("no luck"),
            Does::Infinite if number.is_multiple_of(5) => f64::INFINITY,
            Does::Abstain if number.is_multiple_of(5) => f64::NAN,
            _ => score,
        }
    }
}

impl Classifier for Odd {
    fn fit(&mut self, _: &TrainingSet<'_>) -> Result<(), PluginError> {
        Ok(())
    }
    fn save(&self) -> Result<Vec<u8>, PluginError> {
        Ok(Vec::new())
    }
    fn load(&mut self, weights: &[u8]) -> Result<(), PluginError> {
        if weights == b"none" { Err(PluginError::data("there is nothing to learn from that")) } else { Ok(()) }
    }
    fn predict(&self, rows: &Rows<'_>, scores: &mut [f64]) -> Result<(), PluginError> {
        rows.iter().zip(scores).for_each(|(row, score)| *score = self.of(row));
        Ok(())
    }
    fn explain(&self, _: &[f32], _: &mut [f64]) -> Result<(), PluginError> {
        Ok(())
    }
}

/// A pipeline that scores every flow, and what challenges it.
fn pipeline(challenger: Option<&str>, all: bool) -> Pipeline {
    let text = format!(
        "[detection]\nscored = \"all\"\nunknown = false\n[output]\nexplained = 20\n[shadow]\nall = {all}\n[[plugin]]\nid = \"tls\"\nuse = \"protocol/tls\"\n\
         [[plugin]]\nid = \"flow\"\nuse = \"feature/flow-statistics\"\n[[plugin]]\nid = \"odd\"\nuse = \"classifier/odd\"\n"
    );
    let mut registry = Registry::with_builtins().unwrap();
    registry.register(declarations(), &Origin::Builtin).unwrap();
    let mut pipeline = Pipeline::untrained(Config::parse(&text, "test").unwrap(), &mut registry).unwrap();
    let mut model = Model::builtin().unwrap();
    model.card.classifier = "classifier/odd".into();
    model.card.settings = String::new();
    model.card.scored = veilwatch::config::ScoredFlows::All;
    model.card.schema_sha256 = pipeline.schema().hash().into();
    let column = model.card.columns[0].clone();
    model.card.columns.resize(pipeline.schema().width(), column);
    pipeline.use_model(&model).unwrap();
    if let Some(does) = challenger {
        model.card.name = "challenger".into();
        model.card.settings = format!("does = {does:?}");
        let broken = Model { weights: b"none".to_vec(), ..model.clone() };
        let error = pipeline.challenge(&broken, &registry).unwrap_err().to_string();
        assert!(
            error.contains("challenger: its weights cannot be used by plugin `shadow`: there is nothing"),
            "{error}"
        );
        pipeline.challenge(&model, &registry).unwrap();
    }
    pipeline
}

/// The lines of flows and the last one.
fn lines(pipeline: &Pipeline, capture: &Path, workers: usize) -> (Vec<Json>, Json) {
    let mut sink = JsonSink::new(Vec::new(), Selection { all: true, min_score: None }, None, 512);
    let source = Source::open(capture, &pipeline.config().input).unwrap();
    let (stop, progress) = (AtomicBool::new(false), Progress::default());
    let options = RunOptions { workers, packets: None, stop: &stop, progress: &progress };
    let summary = run(pipeline, source, options, &mut sink).unwrap();
    let text = String::from_utf8(sink.summary(&summary).unwrap()).unwrap();
    let mut lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.pop().unwrap();
    (lines, last)
}

fn without_shadow(line: &Json) -> Json {
    let mut line = line.clone();
    line.as_object_mut().unwrap().remove("shadow");
    line
}

#[test]
fn a_challenger_changes_nothing_but_what_is_said_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("long.pcap");
    std::fs::write(&capture, long_capture(1500, false)).unwrap();
    let (alone, last) = lines(&pipeline(None, false), &capture, 1);
    assert!(alone.len() > 1000 && last["shadow"].is_null());
    for does in ["score", "otherwise", "panic", "infinite", "abstain"] {
        let made = pipeline(Some(does), false);
        let (flows, sum) = lines(&made, &capture, 1);
        assert!(lines(&made, &capture, 8) == (flows.clone(), sum.clone()), "{does}: 8 workers differ");
        assert_eq!(flows.iter().map(without_shadow).collect::<Vec<_>>(), alone, "{does}");
        assert_eq!(without_shadow(&sum), last, "{does}");
        let shadow = &sum["shadow"];
        let number = |name: &str| shadow[name].as_u64().unwrap();
        let told: Vec<&Json> = flows.iter().filter(|flow| !flow["shadow"].is_null()).collect();
        assert_eq!(shadow["model"], "challenger");
        assert_eq!(number("both") + number("champion_only"), last["scored"].as_u64().unwrap(), "{does}");
        assert_eq!(number("champion_alerts") > 0, number("both") > 0);
        assert_eq!(told.len() as u64, number("both") - number("same_verdict") + number("champion_only"), "{does}");
        let lost = number("champion_only");
        match does {
            "score" => {
                assert_eq!((number("same_verdict"), lost), (number("both"), 0));
                assert!(shadow["rank_correlation"] == 1.0 && shadow["largest"].as_array().unwrap().is_empty());
            }
            "otherwise" => {
                assert!(lost == 0 && number("same_verdict") < number("both"));
                assert!(shadow["rank_correlation"].as_f64().unwrap() < 0.9);
                let largest = shadow["largest"].as_array().unwrap();
                assert_eq!(largest.len(), 10);
                let flow = flows.iter().find(|flow| flow["flow_id"] == largest[0]["flow_id"]).unwrap();
                assert!(flow["verdict"] == largest[0]["champion"]["verdict"]);
                assert_eq!(flow["shadow"], largest[0]["challenger"]);
            }
            "abstain" => assert!(lost > 100 && number("failed") == 0),
            _ => {
                assert!(lost > 100 && number("failed") == lost, "{does}");
                assert!(shadow["reason"].is_string());
                assert!(
                    told.iter().any(|flow| flow["shadow"]["verdict"] == "unknown" && flow["shadow"]["score"].is_null())
                );
            }
        }
    }
    // Asked for all, it is told of all.
    let (flows, _) = lines(&pipeline(Some("score"), true), &capture, 2);
    assert!(flows.iter().all(|flow| flow["shadow"]["score"] == flow["score"]));
}

#[test]
fn the_command_lets_a_model_score_beside_another() {
    let folder = tempfile::tempdir().unwrap();
    let capture = example("first-run.pcap");
    let capture = capture.to_str().unwrap();
    // The same weights, but hardly anything is malicious.
    let mut model = Model::open(root().join("models/default").to_str().unwrap()).unwrap();
    model.card.name = "shy".into();
    model.card.thresholds.malicious = 0.9975;
    model.card.thresholds.suspicious = 0.9974;
    model.save(folder.path()).unwrap();
    let shy = folder.path().to_str().unwrap();
    let (status, alone) = out(&veilwatch(["detect", capture]));
    let (with, text) = out(&veilwatch(["detect", capture, "--shadow", shy]));
    assert_eq!((status, with), (Some(1), Some(1)));
    let parsed = |text: &str| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Json>>();
    assert_eq!(parsed(&text).iter().map(without_shadow).collect::<Vec<_>>(), parsed(&alone));
    let last = parsed(&text).pop().unwrap();
    assert!(last["shadow"]["model"] == "shy" && last["shadow"]["rank_correlation"] == 1.0, "{last}");
    assert!(last["shadow"]["challenger_alerts"].as_u64() < last["shadow"]["champion_alerts"].as_u64());
    let (_, table) = out(&veilwatch(["detect", capture, "--shadow", shy, "--format", "table"]));
    assert!(table.contains("shadow: shy (classifier/ensemble) scored 39 flows"), "{table}");
    let (status, said) = err(&veilwatch(["detect", capture, "--shadow", "blind"]));
    assert!(status == Some(2) && said.contains("[shadow]: model blind was trained on other features"), "{said}");
    // A card may name any classifier; what is no such plugin is not looked for anywhere.
    for (classifier, words) in
        [("feature/splt", "no such kind"), ("classifier/../../evil", "there is no"), ("classifier/svm", "")]
    {
        model.card.classifier = classifier.into();
        model.save(folder.path()).unwrap();
        let (status, said) = err(&veilwatch(["detect", capture, "--shadow", shy]));
        assert!(status == Some(2) && said.contains("[shadow]") && said.contains(words), "{said}");
    }
}

/// The same rules hold for both: thresholds for a budget, and flows that training held nothing like.
#[test]
fn a_model_agrees_with_itself() {
    for more in [&[][..], &["--budget", "1000"], &["--threshold", "0.2"]] {
        let mut args = vec!["detect", "--shadow", "default", "--all", "--format", "jsonl"];
        args.extend(more);
        for name in ["first-run.pcap", "benign-odd.pcap", "malicious-beacon-tls13.pcap"] {
            let path = example(name);
            let mut args: Vec<&std::ffi::OsStr> = args.iter().map(std::ffi::OsStr::new).collect();
            args.push(path.as_os_str());
            let (_, text) = out(&veilwatch(args));
            let last: Json = serde_json::from_str(text.lines().last().unwrap()).unwrap();
            let shadow = &last["shadow"];
            assert_eq!(shadow["same_verdict"], shadow["both"], "{name} {more:?}: {shadow}");
            assert_eq!(shadow["champion_alerts"], shadow["challenger_alerts"], "{name} {more:?}");
            assert!(text.lines().all(|line| !line.contains("\"shadow\":{\"score\"")), "{name} {more:?}");
        }
    }
}
