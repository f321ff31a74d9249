use super::{Common, Found, Signature, figure, not_vouched_for, open, shown, signed_by};
use crate::commands::plugin::show;
use anyhow::Result;
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use veilwatch::model::{Figure, Model, ModelRegistry, ModelSettings, VersionName};

/// Arguments of `veilwatch model list`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
}

/// One line of the listing.
#[derive(Debug, Serialize)]
struct Line {
    /// How a configuration names it.
    model: String,
    /// Of the registry: its number.
    version: Option<u32>,
    /// Of the registry: whether it is what its name alone leads to.
    champion: bool,
    #[serde(flatten)]
    said: Option<Said>,
    /// Why it cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// What a model says of itself.
#[derive(Debug, Serialize)]
struct Said {
    name: String,
    classifier: String,
    average_precision: Figure,
    recall_at_threshold: Figure,
    fpr_at_threshold: Figure,
    signature: Signature,
    #[serde(skip)]
    signed_by: String,
}

impl From<Found> for Said {
    fn from(Found { model, signer, .. }: Found) -> Self {
        let report = &model.card.report;
        Self {
            average_precision: report.average_precision,
            recall_at_threshold: report.recall_at_threshold,
            fpr_at_threshold: report.fpr_at_threshold,
            name: model.card.name,
            classifier: model.card.classifier,
            signature: signer.into(),
            signed_by: signed_by(signer),
        }
    }
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let settings = args.common.settings()?;
    let mut lines = Vec::new();
    for name in Model::names_in_the_box() {
        lines.push(line(name.to_owned(), None, false, &settings, open(name, Path::new(name), &settings)));
    }
    if !settings.folder.as_os_str().is_empty() {
        kept(&settings, &mut lines)?;
    }
    if show::for_people(args.common.format) {
        let cells = |line: &Line| {
            let champion = line.champion.then(|| "champion".to_owned());
            let reason = line.reason.as_deref().map(|reason| format!("cannot be used: {}", shown(reason)));
            let state = champion.into_iter().chain(reason).collect::<Vec<_>>().join("; ");
            let Some(said) = &line.said else {
                let none = const { String::new() };
                return [shown(&line.model), none.clone(), none.clone(), none.clone(), none.clone(), none, state];
            };
            let classifier = said.classifier.rsplit('/').next().unwrap_or_default();
            let figures = [said.average_precision, said.recall_at_threshold, said.fpr_at_threshold];
            let [average_precision, recall, fpr] = figures.map(|value| figure(Some(value)));
            let signed_by = said.signed_by.clone();
            [shown(&line.model), shown(classifier), average_precision, recall, fpr, signed_by, state]
        };
        let header = ["model", "classifier", "average precision", "recall", "FPR", "signed by", "state"];
        show::text(&show::grid(header, lines.iter().map(cells)))?;
    } else {
        show::lines(&lines)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// All versions in the registry: what cannot be used is a line of it, and not its end.
fn kept(settings: &ModelSettings, lines: &mut Vec<Line>) -> Result<()> {
    let registry = ModelRegistry::open(settings)?;
    for name in registry.names()? {
        let mut champion = None;
        let mut reason = None;
        match registry.champions(&name) {
            Ok(champions) => champion = champions.last().map(|champion| champion.version),
            Err(error) => reason = Some(error.to_string()),
        }
        if champion.is_some() {
            let alone = VersionName { name: name.clone(), version: None };
            reason = registry.place(&alone).err().map(|error| error.to_string());
        }
        let versions = registry.versions(&name)?;
        // A champion that has no line of its own is missed all the same.
        if let Some(reason) = reason.as_ref().filter(|_| champion.is_none_or(|version| !versions.contains(&version))) {
            let model = format!("{}{name}", ModelSettings::REGISTRY);
            lines.push(Line { model, version: None, champion: false, said: None, reason: Some(reason.clone()) });
        }
        for version in versions {
            let asked = VersionName { name: name.clone(), version: Some(version) };
            let model = format!("{}{asked}", ModelSettings::REGISTRY);
            let is_champion = champion == Some(version);
            let found = registry.place(&asked).map_err(Into::into).and_then(|place| open(&model, &place, settings));
            let mut line = line(model, Some(version), is_champion, settings, found);
            if is_champion && line.reason.is_none() {
                line.reason.clone_from(&reason);
            }
            lines.push(line);
        }
    }
    Ok(())
}

fn line(model: String, version: Option<u32>, champion: bool, settings: &ModelSettings, found: Result<Found>) -> Line {
    match found {
        Ok(found) => {
            let reason = not_vouched_for(&model, found.signer, settings).map(|error| error.to_string());
            Line { model, version, champion, said: Some(found.into()), reason }
        }
        Err(error) => Line { model, version, champion, said: None, reason: Some(error.to_string()) },
    }
}
