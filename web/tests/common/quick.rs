//! A pipeline that learns in a moment, with a model of its own, and the configuration that trains it.

use std::path::{Path, PathBuf};

use veilwatch::config::Config;
use veilwatch::engine::Pipeline;
use veilwatch::learn::{self, Loading};
use veilwatch::plugins::Registry;

/// The examples, which hold the folder `labels`.
pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").canonicalize().unwrap()
}

/// Writes a pipeline with the quickest classifier into a folder, and a model for it; gives its file.
pub(crate) fn quick_pipeline(folder: &Path) -> PathBuf {
    let text = veilwatch::config::EXAMPLE;
    let (before, _) = text.split_once("[[plugin]]\nid = \"ensemble\"").unwrap();
    let text = format!("{before}[[plugin]]\nid = \"quick\"\nuse = \"classifier/gaussian-bayes\"\n");
    let text = text.replacen("model = \"default\"", "model = \"begun\"", 1);
    let file = folder.join("quick.toml");
    std::fs::write(&file, text).unwrap();
    let mut registry = Registry::with_builtins().unwrap();
    let pipeline = Pipeline::untrained(Config::load(&file).unwrap(), &mut registry).unwrap();
    let data = learn::load(&examples().join("labels"), &pipeline, 2, &Loading::default()).unwrap();
    let trained = learn::train(&registry, &pipeline, &data, "begun", 1, |_, _| {}).unwrap();
    trained.model.save(&folder.join("begun")).unwrap();
    file
}
