//! A library of an earlier contract gives what its source gives when it is linked in.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;
#[path = "stored/contract-1.0/src/plugins.rs"]
#[allow(unreachable_pub, missing_docs, reason = "it is a module of the library, too")]
mod plugins;

use common::example;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use veilwatch::config::Config;
use veilwatch::engine::{Detection, Pipeline, Progress, RunOptions, Sink, run};
use veilwatch::hash::sha256_hex;
use veilwatch::model::Model;
use veilwatch::output::{JsonSink, Selection};
use veilwatch::plugins::{Origin, Probing, Registry};
use veilwatch::source::Source;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::{Classifier, Instance, Settings, TrainingSet};

const SHA256: &str = "54d0db0f1d72d00719afdb10674735372f0d2aa2b92a3b112a2a26c251ed150a";

/// The library of contract 1.0 in a folder of the test's own; says so where this system cannot load it.
fn stored(folder: &Path) -> Option<PathBuf> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) {
        eprintln!("skipped: the stored library is for x86_64 Linux with the GNU C library");
        return None;
    }
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stored/contract-1.0-x86_64-linux-gnu.so.zst");
    let bytes = zstd::decode_all(std::fs::File::open(packed).unwrap()).unwrap();
    assert_eq!(sha256_hex(&bytes), SHA256);
    let path = folder.join("libstored.so");
    std::fs::write(&path, bytes).unwrap();
    Some(path)
}

/// Linked in, or from a library that is tried first.
fn registry(library: Option<&Path>, cache: &Path) -> Registry {
    let mut registry = Registry::with_builtins().unwrap();
    match library {
        None => registry.register(plugins::declarations(), &Origin::Builtin).unwrap(),
        Some(path) => {
            let child = Probing::Child(env!("CARGO_BIN_EXE_veilwatch").into());
            registry = registry.probing(child).remembering(cache);
            assert_eq!(registry.load(path).unwrap().len(), 3);
        }
    }
    registry
}

fn classifier(registry: &Registry) -> Box<dyn Classifier> {
    match registry.create("classifier/stored", Settings::new("")).unwrap() {
        Instance::Classifier(classifier) => classifier,
        _ => panic!("no classifier"),
    }
}

/// Rows and raw scores of all flows, to the bit.
#[derive(Default)]
struct Seen {
    rows: Vec<Vec<u32>>,
    scores: Vec<u64>,
}

impl Sink for Seen {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        if let Some(scored) = detection.scored {
            self.rows.push(scored.row.iter().map(|value| value.to_bits()).collect());
            self.scores.push(scored.raw.to_bits());
        }
        Ok(())
    }
}

/// What the three plugins make of a capture: columns, weights that were learnt, output with all fields, rows and scores,
/// and each column's part in them.
fn outcome(mut registry: Registry, contract: &str, capture: &str) -> (Vec<String>, Vec<u8>, String, Seen, Vec<u64>) {
    let entries = ["protocol", "feature", "classifier"]
        .map(|kind| format!("[[plugin]]\nid = \"{kind}\"\nuse = \"{kind}/stored\"\n"))
        .concat();
    let mut pipeline = Pipeline::untrained(Config::parse(&entries, "test").unwrap(), &mut registry).unwrap();
    let contracts: Vec<&str> = pipeline.reports().iter().map(|report| report.contract.as_str()).collect();
    assert!(contracts.iter().all(|known| known.split('.').take(2).eq(contract.split('.'))), "{contracts:?}");
    let go = |pipeline: &Pipeline, sink: &mut dyn Sink| {
        let source = Source::open(&example(capture), &pipeline.config().input).unwrap();
        let (stop, progress) = (AtomicBool::new(false), Progress::default());
        let options = RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress };
        run(pipeline, source, options, sink).unwrap()
    };
    let mut untrained = Seen::default();
    go(&pipeline, &mut untrained);
    let data: Vec<f32> = untrained.rows.concat().into_iter().map(f32::from_bits).collect();
    let labels: Vec<bool> = (0..untrained.rows.len()).map(|row| row % 3 == 0).collect();
    let (rows, weights) = (Rows::new(&data, pipeline.schema().width()), vec![0.5; labels.len()]);
    let mut classifier = classifier(&registry);
    classifier.fit(&TrainingSet { rows, labels: &labels, weights: &weights, seed: 7 }).unwrap();
    let learnt = classifier.save().unwrap();
    assert!(classifier.load(&learnt[1..]).unwrap_err().to_string().contains("eight bytes"));
    classifier.load(&learnt).unwrap();
    let mut parts = vec![0.0; pipeline.schema().width()];
    classifier.explain(rows.row(1), &mut parts).unwrap();

    let mut model = Model::builtin().unwrap();
    model.weights.clone_from(&learnt);
    model.card.classifier = "classifier/stored".into();
    model.card.schema_sha256 = pipeline.schema().hash().into();
    let column = model.card.columns[0].clone();
    model.card.columns.resize(pipeline.schema().width(), column);
    pipeline.use_model(&model).unwrap();
    let mut seen = Seen::default();
    go(&pipeline, &mut seen);
    let mut json = JsonSink::new(Vec::new(), Selection { all: true, min_score: None }, None, 512);
    let summary = go(&pipeline, &mut json);
    let text = String::from_utf8(json.summary(&summary).unwrap()).unwrap();
    let columns = pipeline.schema().columns().iter().map(|column| column.name.to_string()).collect();
    (columns, learnt, text, seen, parts.into_iter().map(f64::to_bits).collect())
}

/// The lines of flows: what is said of the run has its times.
fn flows(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.pop();
    lines
}

#[test]
fn a_library_of_contract_1_0_gives_what_its_source_gives() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = stored(folder.path()) else { return };
    for capture in ["first-run.pcap", "benign-office.pcapng"] {
        let inside = outcome(registry(None, folder.path()), "1.1", capture);
        let outside = outcome(registry(Some(&library), folder.path()), "1.0", capture);
        assert_eq!(inside.0, outside.0);
        assert_eq!(inside.1, outside.1, "{capture}: weights");
        assert_eq!(flows(&inside.2), flows(&outside.2), "{capture}");
        assert_eq!(inside.3.rows, outside.3.rows, "{capture}");
        assert_eq!(inside.3.scores, outside.3.scores, "{capture}");
        assert_eq!(inside.4, outside.4, "{capture}: explanation");
        // And it is something.
        assert!(outside.3.rows.len() > 20 && outside.0.len() == 58, "{capture}");
        assert!(outside.2.contains("\"stored.mean\"") && outside.2.contains("\"stored.pairs\""), "{capture}");
        let known: std::collections::BTreeSet<u64> = outside.3.scores.iter().copied().collect();
        assert!(known.len() > 10 && outside.3.scores.iter().all(|score| f64::from_bits(*score) < 0.0), "{capture}");
    }
}

/// The contract has a version of its own: that of the crate it was built with does not count.
#[test]
fn the_version_of_the_crate_does_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = stored(folder.path()) else { return };
    let mut bytes = std::fs::read(&library).unwrap();
    let (old, new) = (b"veilwatch-core;0.1.0", b"veilwatch-core;9.8.7");
    let at: Vec<usize> = (0..bytes.len() - old.len()).filter(|at| bytes[*at..].starts_with(old)).collect();
    assert!(!at.is_empty());
    for at in at {
        bytes[at..at + new.len()].copy_from_slice(new);
    }
    let other = folder.path().join("libother.so");
    std::fs::write(&other, bytes).unwrap();
    assert_eq!(registry(Some(&other), folder.path()).manifests().filter(|(m, _)| m.name == "stored").count(), 3);
}
