//! The three example plugins as libraries, and a pipeline with a trained model that uses them.
//!
//! This file stands by itself, so that the tests of another crate can take it in with `#[path]`. Such a crate has the
//! three `veilwatch-example-…` packages among its dev-dependencies: cargo then builds the libraries beside its tests.

#![allow(dead_code, clippy::unwrap_used, reason = "every test takes its share; helpers of tests count as tests")]

use std::path::{Path, PathBuf};
use veilwatch::config::Config;
use veilwatch::engine::Pipeline;
use veilwatch::learn::{self, Loading};
use veilwatch::plugins::Registry;

/// The examples by kind and name.
pub(crate) const EXAMPLES: [&str; 3] = ["protocol/mqtt", "feature/mqtt-keep-alive", "classifier/nearest-mean"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// An example's library, by the plugin's name: cargo builds it beside the test that runs now.
pub(crate) fn library(name: &str) -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let path = folder.join(format!("libveilwatch_example_{}.so", name.replace('-', "_")));
    assert!(path.is_file(), "{} was not built", path.display());
    path
}

/// The text of a pipeline of `examples`, its libraries found where they lie for this test.
pub(crate) fn here(text: &str) -> String {
    let mut lines = String::new();
    for line in text.lines() {
        let example = line.split_once("/libveilwatch_example_").filter(|_| line.starts_with("path = "));
        match example.and_then(|(_, rest)| rest.strip_suffix(".so\"")) {
            Some(name) => lines.push_str(&format!("path = {:?}\n", library(name))),
            None => lines.push_str(&format!("{line}\n")),
        }
    }
    lines
}

/// Writes `examples/pipelines/own-parts.toml` for this test into a folder, and a model for it, which `examples/labels`
/// trained, beside it. Returns the pipeline's path.
pub(crate) fn own_parts(folder: &Path) -> PathBuf {
    let text = std::fs::read_to_string(root().join("examples/pipelines/own-parts.toml")).unwrap();
    let path = folder.join("own-parts.toml");
    std::fs::write(&path, here(&text).replace("\"../../target/own-parts\"", "\"model\"")).unwrap();
    train(Config::load(&path).unwrap(), &mut Registry::with_builtins().unwrap(), &folder.join("model"));
    path
}

/// Trains a pipeline's classifier on `examples/labels`, as `veilwatch train` does.
pub(crate) fn train(config: Config, registry: &mut Registry, model: &Path) {
    let pipeline = Pipeline::untrained(config, registry).unwrap();
    let data = learn::load(&root().join("examples/labels"), &pipeline, 2, &Loading::default()).unwrap();
    let trained = learn::train(registry, &pipeline, &data, "model", 1, |_, _| ()).unwrap();
    trained.model.save(model).unwrap();
}
