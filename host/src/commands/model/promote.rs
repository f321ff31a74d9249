use super::{Common, figure, kept, shown};
use crate::commands::plugin::show;
use crate::commands::say;
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use veilwatch::engine::Pipeline;
use veilwatch::model::{
    Card, Model, ModelRegistry, ModelSettings, Standing, Trust, VersionName, compare, same_protocol,
};

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
    let mut fits = |model: &Model| -> Result<()> {
        pipeline.use_model(model)?;
        if !model.card.report.is_possible() {
            bail!("model {name}: its card claims figures that cannot be; get it again from where it came");
        }
        Ok(())
    };
    let place = match version {
        Some(version) => registry.place(&VersionName { name: name.clone(), version: Some(version) })?,
        None => folder.to_owned(),
    };
    // Looked at before anything is made, so that what is no good leaves nothing behind.
    let (model, _) = Model::open_signed(&place.display().to_string(), &trust)?;
    fits(&model)?;
    let edit = registry.edit(&name)?;
    // One who does not care what was before may go on where nobody can say.
    let champions = if args.even_if_worse { registry.champions_to_keep(&name) } else { registry.champions(&name) };
    let former = champions?.last().map(|champion| champion.version);
    let compared = |model: &Model| {
        if args.even_if_worse { Ok(()) } else { no_worse(&registry, &name, former, &model.card) }
    };
    let version = match version {
        Some(version) => {
            compared(&model)?;
            version
        }
        None => {
            // And again: the folder may be another one by now, and the copy stays what it is.
            let staged = edit.stage(folder)?;
            fits(&staged.model)?;
            compared(&staged.model)?;
            edit.take_in(staged)?
        }
    };
    edit.promote(version)?;
    let former = former.filter(|former| *former != version);
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

/// An error where a card is worse than the champion's by more than the intervals.
fn no_worse(registry: &ModelRegistry, name: &str, former: Option<u32>, card: &Card) -> Result<()> {
    let Some(former) = former else { return Ok(()) };
    let champion = VersionName { name: name.to_owned(), version: Some(former) };
    // One that cannot be read any more keeps nobody from taking its place.
    let opened = registry.place(&champion).and_then(|place| Model::open(&place.display().to_string()));
    let champions = match opened {
        Ok(model) => model.card,
        Err(error) => {
            say(&format!("the champion {champion} cannot be compared with: {}", shown(&error.to_string())));
            return Ok(());
        }
    };
    let worse: Vec<String> = compare(&champions, card)
        .into_iter()
        .filter(|row| row.standing == Some(Standing::Worse))
        .map(|row| format!("{} {} against {}", row.figure, figure(row.other), figure(row.one)))
        .collect();
    if worse.is_empty() {
        return Ok(());
    }
    let other = if same_protocol(&champions, card) { "" } else { " (of other data, or split another way)" };
    bail!(
        "the model is worse than the champion {champion} by more than chance would make it{other}: {}; leave the champion, \
         or give --even-if-worse",
        worse.join("; ")
    )
}
