//! What parsers of traffic and of models were fuzzed with, read again: the corpus, and a few changes of it. More of them makes the runner,
//! `host/examples/fuzz.rs`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod targets;

use std::collections::BTreeSet;
use std::path::Path;
use targets::models::{SIGNED, WIDTH, classifier};
use targets::{Target, targets};
use veilwatch::builtin;
use veilwatch::model::Signature;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::{PluginKind, TrainingSet};
use veilwatch_testkit::fuzz::{Input, Look, Mutator, Piece};

/// Changed inputs for each target.
const CHANGED: usize = 150;

fn names(folder: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(folder);
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.map(|name| name.trim_end_matches(".rs").to_owned()).collect()
}

fn corpus(target: &Target) -> Vec<(String, Input)> {
    let mut entries: Vec<_> = std::fs::read_dir(target.corpus()).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries.iter().map(|path| (path.display().to_string(), Input::decode(&std::fs::read(path).unwrap()))).collect()
}

#[track_caller]
fn read(target: &Target, what: &str, input: &Input) {
    if let Err(why) = target.read(input, Look::ALL) {
        panic!("{what}: {why}\n{}", input.encode().escape_ascii());
    }
}

#[test]
fn every_entry_of_every_corpus_is_read() {
    for target in targets().unwrap() {
        let corpus = corpus(&target);
        assert!(!corpus.is_empty(), "{}", target.name);
        corpus.iter().for_each(|(path, input)| read(&target, path, input));
    }
}

#[test]
fn what_is_changed_by_chance_is_read() {
    for target in targets().unwrap() {
        let corpus: Vec<Input> = corpus(&target).into_iter().map(|(_, input)| input).collect();
        let mut mutator = Mutator::new(2024, &corpus);
        for round in 0..CHANGED {
            let other = &corpus[mutator.below(corpus.len())];
            let input = mutator.mutate(&corpus[round % corpus.len()], other);
            read(&target, &format!("{}, round {round}", target.name), &input);
        }
    }
}

/// What a classifier learns in a small way, which is what its corpus begins with: `VEILWATCH_WRITE_SEEDS` names a folder to
/// write it to.
#[test]
fn what_classifiers_save_is_read() {
    let rows: Vec<f32> = (0..60 * WIDTH)
        .map(|at| {
            let (row, column) = (at / WIDTH, at % WIDTH);
            let value = ((row * 7 + column * 3) % 11) as f32 + if row % 3 == 0 { 2.5 } else { 0.0 };
            if (row + column) % 9 == 0 { f32::NAN } else { value }
        })
        .collect();
    let labels: Vec<bool> = (0..60).map(|row| row % 3 == 0).collect();
    let set = TrainingSet { rows: Rows::new(&rows, WIDTH), labels: &labels, weights: &[1.0; 60], seed: 1 };
    for target in targets().unwrap() {
        let Some(name) = target.name.strip_prefix("weights-") else { continue };
        let small = match name {
            "boosted-trees" => "trees = 3\nmax_leaves = 6",
            "random-forest" | "adaboost" | "ensemble" => "trees = 3",
            _ => "",
        };
        let declared = builtin::declarations();
        let mut is_it =
            declared.iter().filter(|one| one.manifest.kind == PluginKind::Classifier && one.manifest.name == name);
        let mut learning = classifier(is_it.next().unwrap(), small).unwrap();
        learning.fit(&set).unwrap();
        let pieces =
            learning.save().unwrap().chunks(1000).map(|bytes| Piece { mark: 0, bytes: bytes.to_vec() }).collect();
        let input = Input { how: [0, 0], pieces };
        read(&target, name, &input);
        if let Some(folder) = std::env::var_os("VEILWATCH_WRITE_SEEDS") {
            let folder = Path::new(&folder).join(&target.name);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("learnt"), input.encode()).unwrap();
        }
    }
    assert!(Signature::parse(SIGNED.as_bytes()).unwrap().is_of(b"card"));
}

/// Who adds a template gets a target with it, and is told of the rest here.
#[test]
fn every_parser_has_a_target_and_a_corpus() {
    let known: BTreeSet<String> = targets().unwrap().into_iter().map(|target| target.name).collect();
    assert_eq!(names("corpus"), known);
    assert_eq!(names("fuzz_targets"), known);
    let manifest = include_str!("../../../fuzz/Cargo.toml");
    for name in &known {
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n")), "{name}");
    }
}
