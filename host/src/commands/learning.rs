//! What commands that learn have in common: where their rows come from, and how they are weighed and chosen.

use super::say;
use super::watch::Watch;
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use veilwatch::engine::Pipeline;
use veilwatch::learn::{
    self, Augment, Background, Dataset, Feedback, Grid, LoadOptions, Loading, Negatives, NoAugment, Origin, Recipe,
    Truth,
};
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
        match self.clean.as_deref() {
            Some(word) => background(word),
            None if self.malicious.is_empty() => Ok(None),
            None => background("default"),
        }
    }
}

/// The table of background traffic that a word of `--clean` names.
pub(super) fn background(word: &str) -> Result<Option<Background>> {
    Ok(match word {
        "none" => None,
        "default" => Some(Background::builtin()?),
        file => Some(Background::load(file.as_ref())?),
    })
}

/// How rows are weighed and chosen.
#[derive(Debug, clap::Args)]
pub(super) struct RecipeArgs {
    /// Most weight that the flows of one (capture, server) pair have together. [default: 3]
    #[arg(long, value_name = "FLOWS")]
    pair_weight: Option<f64>,
    /// Weight of all malicious flows, as a share of that of all benign ones. [default: 0.25]
    #[arg(long, value_name = "SHARE")]
    positive_share: Option<f64>,
    /// Benign flows to learn from: those of benign captures, those of infected machines, or both. [default: both]
    #[arg(long, value_name = "benign|background|both")]
    negatives: Option<Negatives>,
    /// Weight of flows that are weakly labelled malicious; they never score a model. [default: 0]
    #[arg(long, value_name = "WEIGHT")]
    heuristic: Option<f64>,
    /// Learn from altered copies of flows too, such as `hide=certificates:0.3,hide=names:0.2`: of which share of the flows.
    /// What there is beside: snaplen=256, loss=0.01, mtu=576, jitter=20ms, hide=dns, pad=256. `path` stands for what may
    /// happen to packets on their way, a fifth of the flows each; the models in the box have learnt so.
    #[arg(long, value_name = "ALTERATION:SHARE|path", value_delimiter = ',', value_parser = augment)]
    augment: Vec<AugmentList>,
    /// Choose settings of the classifier on folds within what is learnt from.
    #[arg(long)]
    search: bool,
    /// What to try instead of `config/training/search.toml`.
    #[arg(long, value_name = "FILE", requires = "search")]
    grid: Option<PathBuf>,
}

impl RecipeArgs {
    /// The recipe for a classifier.
    pub(super) fn recipe(&self, classifier: &str) -> Result<Recipe> {
        let usual = Recipe::default();
        let number = |name: &str, given: Option<f64>, usual: f64, least: f64, most: f64| match given {
            Some(number) if !(least..=most).contains(&number) => {
                bail!("--{name} {number}: it must be from {least} to {most}")
            }
            given => Ok(given.unwrap_or(usual)),
        };
        Ok(Recipe {
            pair_weight: number("pair-weight", self.pair_weight, usual.pair_weight, 0.01, 1e6)?,
            positive_share: number("positive-share", self.positive_share, usual.positive_share, 1e-4, 1e4)?,
            negatives: self.negatives.unwrap_or_default(),
            heuristic: number("heuristic", self.heuristic, usual.heuristic, 0.0, 1.0)?,
            augment: self.augment.iter().flat_map(|list| list.0.clone()).collect(),
            search: if self.search { Some(Grid::load(self.grid.as_deref(), classifier)?) } else { None },
            ..usual
        })
    }
}

/// What one word of `--augment` asks for.
#[derive(Debug, Clone)]
struct AugmentList(Vec<Augment>);

fn augment(word: &str) -> Result<AugmentList, NoAugment> {
    Ok(AugmentList(if word == "path" { Augment::PATH.to_vec() } else { vec![word.parse()?] }))
}

/// The data with its recipe, and with the altered copies that this asks for.
pub(super) fn prepared(
    mut data: Dataset,
    recipe: Recipe,
    origins: &[Origin],
    pipeline: &Pipeline,
    background: Option<&Background>,
    seed: u64,
) -> Result<Dataset> {
    let augments = !recipe.augment.is_empty();
    data.set_recipe(recipe);
    if augments {
        let options = LoadOptions { workers: super::cores(), background, ..LoadOptions::default() };
        watched(|loading| data.augment(origins, pipeline, &options, seed, loading))?;
        say(&format!("{} altered copies of {} flows", data.copies.len(), data.rows.len()));
    }
    Ok(data)
}

/// Reads captures, with progress, and tells what was left out.
pub(super) fn read(
    origins: &[Origin],
    pipeline: &Pipeline,
    background: Option<&Background>,
    feedback: Option<&Feedback>,
) -> Result<Dataset> {
    let data = watched(|loading| {
        let options = LoadOptions { workers: super::cores(), background, feedback, ..LoadOptions::default() };
        learn::load_from(origins, pipeline, &options, loading)
    })?;
    for path in &data.unreadable {
        say(&format!("{}: no capture, left out", plain(path)));
    }
    if data.lost_labels > 0 {
        say(&format!("flows.csv: {} labels whose ends are no addresses, left out", data.lost_labels));
    }
    if data.idle_labels > 0 {
        say(&format!(
            "flows.csv: {} of {} labels belong to no flow that has a row; what a label must have in common with its flow \
             are the capture's path, both ends, and a time within it",
            data.idle_labels, data.labels
        ));
    }
    tell_doubts(&data);
    for path in &data.duplicates {
        say(&format!("{}: the same capture as another, left out", plain(path)));
    }
    Ok(data)
}

/// Tells what is to be said of what was read in part, or changed.
fn tell_doubts(data: &Dataset) {
    data.doubts.iter().for_each(|doubt| say(&plain(doubt)));
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
/// which all were cleaned.
pub(super) fn append_tables(
    data: &mut Dataset,
    tables: &[PathBuf],
    pipeline: &Pipeline,
    background: Option<&Background>,
) -> Result<Option<String>> {
    // One card tells of one cleaning: what the command line says, else what captures beside the tables have, else the
    // first table's own.
    let mut wanted = background.map(|table| table.sha256().to_owned());
    if wanted.is_none() && !data.captures.is_empty() {
        wanted = Some(String::new());
    }
    for path in tables {
        let table = learn::read_table(path, pipeline)?;
        tell_doubts(&table);
        let by = &table.recipe.background_sha256;
        if wanted.get_or_insert_with(|| by.clone()) != by {
            bail!(
                "{}: its rows were not cleaned by the same table of background traffic as the others, or not at all; \
                 write it again with the same `--clean`",
                path.display()
            );
        }
        if let Some(capture) = data.shared(&table) {
            bail!("{}: its capture {} is there already, in another table or beside it", path.display(), plain(capture));
        }
        data.append(table);
    }
    Ok(wanted.filter(|by| !by.is_empty()))
}
