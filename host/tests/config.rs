//! Every configuration that ships loads, and so does every one in the documents.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;

use common::{out, root, veilwatch};
use std::path::{Path, PathBuf};
use veilwatch::config::Config;

#[test]
fn every_file_in_config_is_good() {
    let files: Vec<PathBuf> = std::fs::read_dir(root().join("config"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    assert!(!files.is_empty());
    for file in files {
        let (status, text) = out(&veilwatch([Path::new("config"), Path::new("check"), &file]));
        assert_eq!(status, Some(0), "{}: {text}", file.display());
    }
}

#[test]
fn the_printed_example_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let (_, text) = out(&veilwatch(["config", "example"]));
    let file = folder.path().join("mine.toml");
    std::fs::write(&file, text).unwrap();
    assert_eq!(out(&veilwatch([Path::new("config"), Path::new("check"), &file])).0, Some(0));
}

/// Documents of the project: markdown outside of build and version control.
fn documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
            documents(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

#[test]
fn every_pipeline_in_the_documents_can_be_read() {
    let mut found = Vec::new();
    documents(&root(), &mut found);
    let mut blocks = 0;
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            if block.contains("[[plugin]]") {
                blocks += 1;
                Config::parse(block, &path.display().to_string()).unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }
    assert!(blocks > 0, "the documents show no pipeline");
}
