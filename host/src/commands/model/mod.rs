//! `veilwatch model`: which models there are, what they say of themselves, who vouches for them, and which is the champion.

mod compare;
mod drift;
mod list;
mod promote;
mod rollback;
mod show;
mod sign;
mod verify;

use super::plugin::show::Format;
use anyhow::Result;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use veilwatch::config::Config;
use veilwatch::model::{
    Card, Figure, Model, ModelError, ModelRegistry, ModelSettings, RegistryError, Signer, Trust, VersionName,
};
use veilwatch::output::bounded;
use veilwatch::plugins::Registry;

/// Characters of a card's text that a person is shown.
const SHOWN: usize = 400;

/// Subcommands of `veilwatch model`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    /// List the models in the box and all versions in the registry.
    List(list::Args),
    /// Tell what a model says of itself: what it learnt from, how it did, its thresholds, who signed it.
    Show(show::Args),
    /// Lay two models side by side, and say which figures differ by more than chance would make them.
    Compare(compare::Args),
    /// Check a model: card, hashes, signature; with --config also whether it fits that pipeline.
    Verify(verify::Args),
    /// Copy a model into the registry, once it is verified and fits the pipeline, and make it the champion of its name.
    Promote(promote::Args),
    /// Make the former champion the champion again.
    Rollback(rollback::Args),
    /// Make a key that signs models.
    Keygen(sign::KeygenArgs),
    /// Sign a model's card, which names the hashes of its other files.
    Sign(sign::SignArgs),
    /// Tell whether traffic is still what a model was made for.
    ///
    /// The exit status is 0 where nothing has drifted, 1 where something has, 2 where it could not be told, 3 where captures
    /// were read in part and nothing has drifted.
    Drift(drift::Args),
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match args {
        Args::List(args) => list::run(args),
        Args::Show(args) => show::run(args),
        Args::Compare(args) => compare::run(args),
        Args::Verify(args) => verify::run(args),
        Args::Promote(args) => promote::run(args),
        Args::Rollback(args) => rollback::run(args),
        Args::Drift(args) => drift::run(args),
        Args::Keygen(args) => sign::keygen(args),
        Args::Sign(args) => sign::sign(args),
    }
}

/// Where models are looked for, and how it is told.
#[derive(Debug, clap::Args)]
struct Common {
    /// Configuration whose `[models]` names the registry and the keys; by default the one in the box, which names none.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The registry's folder, instead of the configuration's.
    #[arg(long, value_name = "FOLDER")]
    registry: Option<PathBuf>,
    /// How to write it; by default a table on a terminal and JSON Lines elsewhere.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

impl Common {
    /// The configuration, and the plugins in the box.
    fn prepare(&self) -> Result<(Config, Registry)> {
        let (mut config, registry) = super::prepare(self.config.as_deref())?;
        if let Some(folder) = &self.registry {
            config.models.folder.clone_from(folder);
        }
        Ok((config, registry))
    }

    fn settings(&self) -> Result<ModelSettings> {
        Ok(self.prepare()?.0.models)
    }
}

/// A model that somebody asked for.
struct Found {
    /// What it is called here.
    name: String,
    model: Model,
    signer: Signer,
    /// Bytes of its card, its weights and what it remembers; of one in the box, without the card.
    bytes: u64,
}

/// A model by what a person calls it: one in the box, a folder, or one of the registry, with or without `registry:`. Whoever
/// only looks at one may look at any: a wrong signature alone is refused.
fn find(asked: &str, settings: &ModelSettings) -> Result<Found> {
    let named: Option<VersionName> = match asked.strip_prefix(ModelSettings::REGISTRY) {
        Some(rest) => Some(rest.parse()?),
        None if Model::is_in_the_box(asked) || Path::new(asked).exists() => None,
        None if settings.folder.as_os_str().is_empty() => None,
        None => asked.parse().ok(),
    };
    let place = match &named {
        Some(named) => ModelRegistry::open(settings)?.place(named)?,
        None => PathBuf::from(asked),
    };
    open(asked, &place, settings)
}

/// A name of the registry, as `model list` prints it or without `registry:`.
fn kept(asked: &str) -> Result<VersionName, RegistryError> {
    asked.strip_prefix(ModelSettings::REGISTRY).unwrap_or(asked).parse()
}

/// Why a model must not be used that somebody may look at.
fn not_vouched_for(name: &str, signer: Signer, settings: &ModelSettings) -> Option<ModelError> {
    let name = name.to_owned();
    match signer {
        Signer::Nobody if settings.require_signature => Some(ModelError::Unsigned { name }),
        Signer::Stranger(key) if settings.require_signature => Some(ModelError::Untrusted { name, key }),
        _ => None,
    }
}

/// A model in the box or in a folder, for who only looks at it.
fn open(name: &str, place: &Path, settings: &ModelSettings) -> Result<Found> {
    let trust = Trust { required: false, ..settings.trust() };
    let (model, signer) = Model::open_signed(&place.display().to_string(), &trust)?;
    let card = if signer == Signer::Box { None } else { place.join("card.json").metadata().ok() };
    let remembered = model.memory.as_ref().map_or(0, |memory| memory.to_bytes().len());
    let bytes = (model.weights.len() + remembered) as u64 + card.map_or(0, |file| file.len());
    Ok(Found { name: name.to_owned(), model, signer, bytes })
}

/// Who vouches for a model, as programs read it.
#[derive(Debug, Serialize)]
struct Signature {
    state: &'static str,
    key: Option<String>,
}

impl From<Signer> for Signature {
    fn from(signer: Signer) -> Self {
        Self { state: signer.word(), key: signer.key().map(|key| key.to_string()) }
    }
}

/// Who vouches for a model, as people read it.
fn signed_by(signer: Signer) -> String {
    match signer {
        Signer::Box => "in the box".into(),
        Signer::Nobody => "nobody".into(),
        Signer::Trusted(key) => key.short(),
        Signer::Stranger(key) => format!("{} (not trusted)", key.short()),
    }
}

/// A text of a card, fit for a terminal.
fn shown(text: &str) -> String {
    bounded(text.as_bytes(), SHOWN)
}

/// A figure with its interval.
fn figure(figure: Option<Figure>) -> String {
    figure.map_or("none".into(), |Figure { value, low, high }| format!("{value:.3} [{low:.3} – {high:.3}]"))
}

/// What a card says beside its figures and columns, line by line: all of it in words of a few.
fn facts(card: &Card) -> Vec<(&'static str, String)> {
    let training = &card.training;
    let report = &card.report;
    let settings: Vec<&str> = card.settings.lines().collect();
    let recipe = serde_json::to_string(&training.recipe()).unwrap_or_default();
    vec![
        ("name", card.name.clone()),
        ("made by version", card.made_by.clone()),
        ("classifier", card.classifier.clone()),
        ("settings", settings.join(", ")),
        ("scores flows", card.scored.word().into()),
        ("captures", training.captures.to_string()),
        (
            "flows learnt from",
            format!(
                "{} malicious, {} benign, {} of infected machines; {} without a label left out",
                training.malicious_flows, training.benign_flows, training.background_flows, training.unlabelled_flows
            ),
        ),
        (
            "pairs judged by",
            format!(
                "{} malicious, {} benign, {} of infected machines",
                report.malicious_pairs, report.benign_pairs, report.background_pairs
            ),
        ),
        ("split", training.split.clone()),
        ("recipe", recipe),
        ("seed", training.seed.to_string()),
        ("data", training.data_sha256.clone()),
        ("columns", card.columns.len().to_string()),
        ("schema", card.schema_sha256.clone()),
        ("weights", card.weights_sha256.clone()),
        ("memory", card.memory_sha256.clone().unwrap_or_else(|| "none".into())),
        ("novelty limit", card.novelty_limit.map_or("none".into(), |limit| limit.to_string())),
        ("calibration", format!("slope {:.4}, offset {:.4}", card.calibration.slope, card.calibration.offset)),
        (
            "thresholds",
            format!("suspicious {:.4}, malicious {:.4}", card.thresholds.suspicious, card.thresholds.malicious),
        ),
        ("budget", format!("{} false alerts per 100,000 benign pairs", card.false_alert_budget)),
    ]
}
