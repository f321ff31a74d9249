//! `examples/WALKTHROUGH.md`, run as it stands: from `plugin new` to a verdict.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;
#[path = "common/generated.rs"]
mod generated;

use common::root;
use generated::{command, said, target};
use std::path::Path;
use std::time::{Duration, Instant};

/// A block of commands, and the lines that they must say.
struct Step {
    line: usize,
    commands: String,
    promised: Vec<String>,
}

/// The blocks of a document: `sh` is run, `text` is promised of the block before it.
fn steps(document: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut fence: Option<&str> = None;
    for (at, line) in document.lines().enumerate() {
        match (fence, line.strip_prefix("```")) {
            (Some(_), Some(_)) => fence = None,
            (None, Some(language)) => {
                fence = Some(language);
                if language == "sh" {
                    steps.push(Step { line: at + 1, commands: String::new(), promised: Vec::new() });
                }
            }
            (Some("sh"), None) => steps.last_mut().unwrap().commands += &format!("{line}\n"),
            (Some("text"), None) => steps.last_mut().unwrap().promised.push(line.trim().to_owned()),
            _ => {}
        }
    }
    steps
}

/// Whether a line holds the pieces of a promise, in order.
fn holds(line: &str, promise: &str) -> bool {
    promise
        .split('…')
        .map(str::trim)
        .try_fold(line, |rest, piece| Some(&rest[rest.find(piece)? + piece.len()..]))
        .is_some()
}

#[test]
fn promises_are_held_in_order() {
    assert!(holds("  passed   no infinities", "passed   no infinities"));
    assert!(holds("17 passed, 0 failed, 1 skipped", "… passed, 0 failed, …"));
    assert!(!holds("17 passed, 1 failed, 1 skipped", "… passed, 0 failed, …"));
    assert!(!holds("b a", "a … b"));
}

#[test]
fn the_walk_through_is_true() {
    let begin = Instant::now();
    let (place, tools) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let cold = !target().join("release").exists();
    std::os::unix::fs::symlink(root().join("examples"), place.path().join("examples")).unwrap();
    let steps = steps(&std::fs::read_to_string(root().join("examples/WALKTHROUGH.md")).unwrap());
    assert!(steps.len() >= 7 && steps.iter().map(|step| step.promised.len()).sum::<usize>() > 12);
    for Step { line, commands, promised } in &steps {
        let output = command("bash", place.path(), tools.path()).args(["-e", "-c", commands]).output().unwrap();
        let text = said(&output);
        assert!(output.status.success(), "line {line}: {}\n{commands}\n{text}", output.status);
        for promise in promised {
            let kept = text.lines().any(|line| holds(line, promise));
            assert!(kept, "line {line}: nothing says `{promise}`\n{commands}\n{text}");
        }
    }
    another_workspace_and_optimisation(&place.path().join("target/mine/longest-silence"), tools.path());
    let took = begin.elapsed();
    eprintln!("the walk-through took {:.0} s, {}", took.as_secs_f64(), if cold { "cold" } else { "warm" });
    assert!(took < Duration::from_secs(600), "{took:?}");
}

/// What was loaded is no library of this build: it has a workspace of its own, and was built with `--release`, while the
/// program that loaded it is what `cargo test` builds.
fn another_workspace_and_optimisation(krate: &Path, tools: &Path) {
    let metadata =
        command("cargo", krate, tools).args(["metadata", "--no-deps", "--format-version=1"]).output().unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let workspace = Path::new(metadata["workspace_root"].as_str().unwrap()).to_owned();
    assert_eq!(workspace, krate.canonicalize().unwrap());
    let library = krate.join("target/release/liblongest_silence.so").canonicalize().unwrap();
    assert!(library.starts_with(target().join("release").canonicalize().unwrap()), "{}", library.display());
    let host = Path::new(env!("CARGO_BIN_EXE_veilwatch")).parent().unwrap().file_name().unwrap().to_owned();
    if cfg!(debug_assertions) {
        assert_eq!(host, "debug");
    }
}
