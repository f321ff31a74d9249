//! What commands that learn have in common: where their rows come from.

use super::say;
use super::watch::Watch;
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use veilwatch::engine::Pipeline;
use veilwatch::learn::{self, Background, Dataset, LoadOptions, Loading, Origin, Truth};
use veilwatch::output::plain;

/// Where labelled rows come from; all that is named makes one data set.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct DataArgs {
    /// Folders with captures.csv, flows.csv and the captures they name.
    #[arg(long, value_name = "FOLDER", num_args = 1..)]
    pub(super) data: Vec<PathBuf>,
    /// Captures, and folders of captures, in which every flow is benign.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    benign: Vec<PathBuf>,
    /// Captures, and folders of captures, in which every flow is malicious but for what `--clean` recognises; the folder
    /// that a capture lies in names its family, and one that lies in none is a family by itself.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    malicious: Vec<PathBuf>,
    /// Table of services that infected machines talk to as all do: `default` is in the box, `none` for no cleaning. It is
    /// `default` with `--malicious`, else `none`.
    #[arg(long, value_name = "FILE|default|none")]
    clean: Option<String>,
}

impl DataArgs {
    /// Whether nothing is named.
    pub(super) fn is_empty(&self) -> bool {
        self.data.is_empty() && self.benign.is_empty() && self.malicious.is_empty()
    }

    /// Whether the command line says how to clean.
    pub(super) fn says_clean(&self) -> bool {
        self.clean.is_some()
    }

    /// Cleans by the table in the box where nothing else is said.
    pub(super) fn clean_by_default(&mut self) {
        self.clean.get_or_insert_with(|| "default".to_owned());
    }

    /// The captures.
    pub(super) fn origins(&self) -> Vec<Origin> {
        let mut origins: Vec<Origin> = self.data.iter().cloned().map(Origin::Folder).collect();
        let labelled = |truth, paths: &[PathBuf]| paths.iter().map(|path| (truth, path.clone())).collect::<Vec<_>>();
        let captures = [labelled(Truth::Benign, &self.benign), labelled(Truth::Malicious, &self.malicious)].concat();
        if !captures.is_empty() {
            origins.push(Origin::Captures(captures));
        }
        origins
    }

    /// The table of background traffic.
    pub(super) fn background(&self) -> Result<Option<Background>> {
        Ok(match self.clean.as_deref() {
            Some("none") => None,
            Some("default") => Some(Background::builtin()?),
            Some(file) => Some(Background::load(file.as_ref())?),
            None if self.malicious.is_empty() => None,
            None => Some(Background::builtin()?),
        })
    }
}

/// Reads captures, with progress, and tells what was left out.
pub(super) fn read(origins: &[Origin], pipeline: &Pipeline, background: Option<&Background>) -> Result<Dataset> {
    let data = watched(|loading| {
        let options = LoadOptions { workers: super::cores(), background, ..LoadOptions::default() };
        learn::load_from(origins, pipeline, &options, loading)
    })?;
    for path in &data.unreadable {
        say(&format!("{}: no capture, left out", plain(path)));
    }
    for path in &data.duplicates {
        say(&format!("{}: the same capture as another, left out", plain(path)));
    }
    Ok(data)
}

/// Shows how far reading captures has come.
pub(super) fn watched<T>(read: impl FnOnce(&Loading) -> T) -> T {
    let loading = Arc::new(Loading::default());
    let looked_at = Arc::clone(&loading);
    let _watch = Watch::start(
        false,
        Box::new(move || {
            let total = looked_at.total.load(Ordering::Relaxed) as u64;
            (looked_at.done.load(Ordering::Relaxed) as u64, Some(total), "captures read".into())
        }),
    );
    read(&loading)
}

/// Adds feature tables to what was read of captures; `background` is the table that cleans. Gives the hash of the one by
/// which a feature table was cleaned when it was written.
pub(super) fn append_tables(
    data: &mut Dataset,
    tables: &[PathBuf],
    pipeline: &Pipeline,
    background: Option<&Background>,
) -> Result<Option<String>> {
    let mut cleaned = None;
    for path in tables {
        let table = learn::read_table(path, pipeline)?;
        let by = &table.recipe.background_sha256;
        if background.is_some_and(|wanted| by != wanted.sha256()) {
            bail!(
                "{}: its rows were not cleaned by this table of background traffic; write it again with the same \
                 `--clean`",
                path.display()
            );
        }
        cleaned = Some(by.clone()).filter(|by| !by.is_empty()).or(cleaned);
        data.append(table);
    }
    Ok(cleaned)
}
