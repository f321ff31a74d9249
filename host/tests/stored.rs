//! A library of an earlier contract gives what its source gives when it is linked in.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;
#[path = "stored/contract-1.2/src/plugins.rs"]
#[allow(unreachable_pub, missing_docs, clippy::module_inception, reason = "it is a module of the library, too")]
mod contract_1_2;

use common::example;
use contract_1_1::earlier as contract_1_0;
use contract_1_2::earlier as contract_1_1;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use veilwatch::config::Config;
use veilwatch::engine::{Detection, Pipeline, Progress, RunOptions, Sink, run};
use veilwatch::hash::sha256_hex;
use veilwatch::model::Model;
use veilwatch::output::{JsonSink, Selection};
use veilwatch::plugins::{Origin, Probing, Registry};
use veilwatch::source::Source;
use veilwatch_core::abi::CONTRACT;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::dissect::Tree;
use veilwatch_core::plugin::{Carrier, Classifier, Declaration, Instance, Openings, Settings, StreamView, TrainingSet};

/// A library that is stored, and its source.
struct Stored {
    contract: &'static str,
    sha256: &'static str,
    source: fn() -> Vec<Declaration>,
}

const STORED: [Stored; 3] = [
    Stored {
        contract: "1.0",
        sha256: "54d0db0f1d72d00719afdb10674735372f0d2aa2b92a3b112a2a26c251ed150a",
        source: contract_1_0::declarations,
    },
    Stored {
        contract: "1.1",
        sha256: "57c730b3ddc6ec506b56be7591d7a13688d5352d7ccc1fc7b1a333709671192e",
        source: contract_1_1::declarations,
    },
    Stored {
        contract: "1.2",
        sha256: "58bc4908083455a7a0b7cdce151cab9dfaf3eb54276b0224b4893149b5159f34",
        source: contract_1_2::declarations,
    },
];

/// A stored library in a folder of the test's own; says so where this system cannot load it.
fn stored(folder: &Path, Stored { contract, sha256, .. }: &Stored) -> Option<PathBuf> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) {
        eprintln!("skipped: the stored library is for x86_64 Linux with the GNU C library");
        return None;
    }
    let name = format!("tests/stored/contract-{contract}-x86_64-linux-gnu.so.zst");
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let bytes = zstd::decode_all(std::fs::File::open(packed).unwrap()).unwrap();
    assert_eq!(sha256_hex(&bytes), *sha256);
    let path = folder.join("libstored.so");
    std::fs::write(&path, bytes).unwrap();
    Some(path)
}

/// Linked in, or from a library that is tried first.
fn registry(source: fn() -> Vec<Declaration>, library: Option<&Path>, cache: &Path) -> Registry {
    let mut registry = Registry::with_builtins().unwrap();
    match library {
        None => registry.register(source(), &Origin::Builtin).unwrap(),
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

/// A conversation of two records each way, as the template draws it.
fn tree(registry: &Registry) -> Tree {
    let said = b"\x16\x03\x01\0\x03abc\x17\x03\x03\0\x01d";
    match registry.create("protocol/stored", Settings::new("")).unwrap() {
        Instance::Protocol(template) => {
            Tree::of(&*template, &StreamView { forward: said, backward: said, ..StreamView::default() })
        }
        _ => panic!("no template"),
    }
}

/// With which bytes a flow begins, as the template says; any, before 1.2.
fn openings(registry: &Registry) -> [Openings; 2] {
    match registry.create("protocol/stored", Settings::new("")).unwrap() {
        Instance::Protocol(template) => [Carrier::Tcp, Carrier::Udp].map(|carrier| template.openings(carrier)),
        _ => panic!("no template"),
    }
}

/// Rows and raw scores of all flows, to the bit, and how often they were handed over.
#[derive(Default)]
struct Seen {
    rows: Vec<Vec<u32>>,
    scores: Vec<u64>,
    handed: Vec<usize>,
}

impl Sink for Seen {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        if let Some(scored) = detection.scored {
            self.rows.push(scored.row.iter().map(|value| value.to_bits()).collect());
            self.scores.push(scored.raw.to_bits());
            self.handed.push(detection.flow.handed.len());
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
    assert!(contracts.iter().all(|known| known.split('.').take(2).eq(contract.split('.').take(2))), "{contracts:?}");
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
fn a_library_of_an_earlier_contract_gives_what_its_source_gives() {
    for stored_one in &STORED {
        let folder = tempfile::tempdir().unwrap();
        let Some(library) = stored(folder.path(), stored_one) else { return };
        let made = |library| registry(stored_one.source, library, folder.path());
        let contract = stored_one.contract;
        assert_eq!(tree(&made(None)), tree(&made(Some(&library))), "{contract}");
        assert_eq!(openings(&made(None)), openings(&made(Some(&library))), "{contract}");
        assert_eq!(openings(&made(None)) == [Openings::ANY; 2], contract != "1.2");
        for capture in ["first-run.pcap", "benign-office.pcapng"] {
            let inside = outcome(made(None), CONTRACT, capture);
            let outside = outcome(made(Some(&library)), contract, capture);
            assert_eq!(inside.0, outside.0);
            assert_eq!(inside.1, outside.1, "{contract}, {capture}: weights");
            assert_eq!(flows(&inside.2), flows(&outside.2), "{contract}, {capture}");
            assert_eq!(inside.3.rows, outside.3.rows, "{contract}, {capture}");
            assert_eq!(inside.3.scores, outside.3.scores, "{contract}, {capture}");
            assert_eq!(inside.3.handed, outside.3.handed, "{contract}, {capture}");
            assert_eq!(inside.4, outside.4, "{contract}, {capture}: explanation");
            // And it is something.
            assert!(outside.3.rows.len() > 20 && outside.0.len() == 58, "{contract}, {capture}");
            assert!(outside.2.contains("\"stored.mean\"") && outside.2.contains("\"stored.pairs\""), "{capture}");
            let known: std::collections::BTreeSet<u64> = outside.3.scores.iter().copied().collect();
            assert!(known.len() > 10 && outside.3.scores.iter().all(|score| f64::from_bits(*score) < 0.0), "{capture}");
            let handed = outside.3.handed.iter().filter(|handed| **handed > 0).count();
            assert_eq!(handed > 3, contract != "1.0", "{contract}, {capture}: {handed} flows were handed over");
        }
    }
    let drawn = STORED.map(|stored| tree(&registry(stored.source, None, Path::new(""))).nodes.len());
    assert_eq!(drawn, [0, 2, 2]);
}

/// The contract has a version of its own: that of the crate it was built with does not count.
#[test]
fn the_version_of_the_crate_does_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = stored(folder.path(), &STORED[0]) else { return };
    let mut bytes = std::fs::read(&library).unwrap();
    let (old, new) = (b"veilwatch-core;0.1.0", b"veilwatch-core;9.8.7");
    let at: Vec<usize> = (0..bytes.len() - old.len()).filter(|at| bytes[*at..].starts_with(old)).collect();
    assert!(!at.is_empty());
    for at in at {
        bytes[at..at + new.len()].copy_from_slice(new);
    }
    let other = folder.path().join("libother.so");
    std::fs::write(&other, bytes).unwrap();
    let registry = registry(STORED[0].source, Some(&other), folder.path());
    assert_eq!(registry.manifests().filter(|(m, _)| m.name == "stored").count(), 3);
}
