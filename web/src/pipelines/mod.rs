//! Pipelines that administrators write here, and what becomes of the plugins of any pipeline.
//!
//! | module | story |
//! |---|---|
//! | [`store`] | each version of each pipeline, kept for ever |
//! | [`text`] | what such a text may name, and where its mistakes stand |
//! | [`difference`] | what differs between two versions |
//! | [`described`] | what a confined worker said of the plugins, remembered |
//! | [`troubles`] | how often plugins failed in analyses |

pub mod described;
pub mod difference;
pub mod store;
pub mod text;
pub mod troubles;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::Connection;

use veilwatch::worker::ModelChoice;

use crate::config::{Config, DEFAULT_PIPELINE};
use crate::database::DbError;
use crate::jobs::Bench;
use crate::jobs::tasks::Temporary;
use crate::models::{OfPipeline, Shelf};

/// The names of the pipelines that were made here and can be chosen; copies share them.
#[derive(Clone, Debug, Default)]
pub struct Names(Arc<RwLock<Vec<String>>>);

impl Names {
    /// What they are now.
    pub fn now(&self) -> Vec<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads them anew: after each change.
    ///
    /// # Errors
    /// Where the database fails.
    pub fn renew(&self, connection: &Connection) -> Result<(), DbError> {
        let made = store::list(connection)?.into_iter().filter(|made| !made.retired).map(|made| made.name).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = made;
        Ok(())
    }
}

/// A pipeline as a worker gets it.
#[derive(Debug, Default)]
pub struct Chosen {
    file: Option<PathBuf>,
    /// The text of a pipeline that was made here, as long as this is held.
    _text: Option<Temporary>,
    /// What judges one of the operator's.
    judged: Option<OfPipeline>,
}

impl Chosen {
    /// The file of its configuration; none for the one in the box.
    pub fn file(&self) -> Option<PathBuf> {
        self.file.clone()
    }

    /// The model in the place of the one that the configuration names, where there is one.
    pub fn model(&self) -> Option<ModelChoice> {
        self.judged.as_ref().and_then(|judged| judged.choice.clone())
    }

    /// Which model judges one of the operator's; one that was written here names its model itself.
    pub fn judged(&self) -> Option<&OfPipeline> {
        self.judged.as_ref()
    }
}

/// Writes what [`text::read`] made of a text where a worker can read it.
///
/// # Errors
/// Where it cannot be written: for the log.
pub fn written(bench: &Bench, text: &str) -> Result<Chosen, String> {
    let (mut file, path) = bench.folders.new_work_file().map_err(|error| error.to_string())?;
    let held = Temporary::new(path.clone());
    file.write_all(text.as_bytes()).map_err(|error| error.to_string())?;
    Ok(Chosen { file: Some(path), _text: Some(held), judged: None })
}

/// The configuration of a pipeline by its name; none outside for a name that the operator did not give, inside for the
/// pipeline in the box.
pub fn configured(config: &Config, name: &str) -> Option<Option<PathBuf>> {
    if name == DEFAULT_PIPELINE {
        return Some(None);
    }
    config.pipeline.iter().find(|choice| choice.name == name).map(|choice| Some(choice.file.clone()))
}

/// The pipeline of this name, and this version where it was made here; none where there is no such pipeline any more. It
/// reads the database and files: not for a thread that must not wait.
///
/// # Errors
/// Why it cannot be used, for people.
pub fn choose(bench: &Bench, name: &str, version: Option<i64>) -> Result<Option<Chosen>, String> {
    let Some(version) = version else {
        let judged = || Shelf::new(bench.clone()).of_pipeline(name);
        return Ok(configured(&bench.config, name).map(|file| Chosen { file, _text: None, judged: judged() }));
    };
    let found = bench.db.run_blocking(|connection| store::version(connection, name, version));
    let Some(found) = found.map_err(|error| error.to_string())? else { return Ok(None) };
    // What it names was there when it was saved; the operator may have thought better of it.
    let read = text::read(&found.text, &bench.config.framework).map_err(|mistakes| {
        mistakes.first().map_or_else(String::new, |mistake| format!("{name}@{version}: {}", mistake.in_english()))
    })?;
    written(bench, &read.written).map(Some)
}

/// The SHA-256 of the libraries that a configuration names, by their file names: a library could lie of itself.
pub fn libraries(config: &veilwatch::config::Config, most: u64) -> Vec<(String, String)> {
    let in_folders = config.plugins.folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
    let in_folders = in_folders.filter_map(|entry| Some(entry.ok()?.path()));
    let in_folders = in_folders.filter(|path| path.extension().is_some_and(|end| end == "so"));
    let named = config.plugin.iter().filter_map(|entry| entry.path.clone());
    let hashed = |path: PathBuf| Some((file_name(&path)?, sha256_of(&path, most)?));
    named.chain(in_folders).take(veilwatch::worker::PLUGINS).filter_map(hashed).collect()
}

fn file_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_string_lossy().into_owned())
}

/// The hash of a file that is not too large.
fn sha256_of(path: &Path, most: u64) -> Option<String> {
    let file = std::fs::File::open(path).ok()?;
    let facts = file.metadata().ok()?;
    if !facts.is_file() || facts.len() > most {
        return None;
    }
    // It may grow meanwhile.
    veilwatch::hash::sha256_of(&mut file.take(most)).ok().map(|hash| veilwatch::hash::hex(&hash))
}
