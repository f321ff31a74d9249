use super::{Common, kept, shown};
use crate::commands::plugin::show;
use crate::commands::say;
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use veilwatch::engine::Pipeline;
use veilwatch::model::{Candidate, Model, ModelRegistry, ModelSettings, Promoted, Trust, VersionName, promote};

/// Arguments of `veilwatch model promote`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A model's folder, or `NAME@VERSION` of the registry.
    model: String,
    /// The model's name in the registry; by default the one in its card.
    #[arg(long)]
    name: Option<String>,
    /// Promote it even where its card is worse than the champion's by more than chance would make it.
    #[arg(long)]
    even_if_worse: bool,
    #[command(flatten)]
    common: Common,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Line {
    model: String,
    version: u32,
    /// The champion before.
    former: Option<u32>,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let (config, mut plugins) = args.common.prepare()?;
    let registry = ModelRegistry::open(&config.models)?;
    let trust = config.models.trust();
    let mut pipeline = Pipeline::untrained(config, &mut plugins)?;
    let folder = Path::new(&args.model);
    let is_kept = args.model.starts_with(ModelSettings::REGISTRY) || !folder.exists();
    let (name, version) = match is_kept.then(|| kept(&args.model)) {
        Some(Ok(VersionName { name, version: Some(version) })) => {
            if args.name.as_ref().is_some_and(|other| *other != name) {
                bail!("{}: a version keeps its name; leave --name out, or promote its folder", shown(&args.model));
            }
            (name, Some(version))
        }
        Some(asked) if args.model.starts_with(ModelSettings::REGISTRY) => {
            bail!("registry:{}: say which version, as in NAME@VERSION", asked?);
        }
        _ => (called(args, folder, &trust)?, None),
    };
    let candidate = version.map_or(Candidate::Folder(folder), Candidate::Version);
    let Promoted { version, former, incomparable } =
        promote(&registry, &name, candidate, args.even_if_worse, |model, _| -> Result<()> {
            Ok(pipeline.use_model(model)?)
        })?;
    if let Some(words) = incomparable {
        say(&shown(&words));
    }
    if show::for_people(args.common.format) {
        let was = former.map(|former| format!("; before, it was {name}@{former}")).unwrap_or_default();
        show::text(&format!("{name}@{version} is the champion of {name}{was}"))?;
    } else {
        show::lines(&[Line { model: name, version, former }])?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a model from elsewhere is to be called.
fn called(args: &Args, folder: &Path, trust: &Trust) -> Result<String> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => Model::open_signed(&folder.display().to_string(), trust)?.0.card.name,
    };
    let VersionName { name, version } = name.parse().context("give the model a name with --name")?;
    if version.is_some() {
        bail!("{}: versions are numbered by the registry; leave the number out", shown(&args.model));
    }
    Ok(name)
}
