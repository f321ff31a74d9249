use super::{Common, kept};
use crate::commands::plugin::show;
use anyhow::{Result, bail};
use serde::Serialize;
use std::process::ExitCode;
use veilwatch::model::ModelRegistry;

/// Arguments of `veilwatch model rollback`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model's name in the registry.
    name: String,
    #[command(flatten)]
    common: Common,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    model: &'a str,
    /// The champion now.
    version: u32,
    /// The one that was until now; its version stays.
    former: u32,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let registry = ModelRegistry::open(&args.common.settings()?)?;
    let asked = kept(&args.name)?;
    if asked.version.is_some() {
        bail!("{asked}: one goes back to the former champion, whichever version that is; leave the number out");
    }
    let name = &asked.name;
    // A name that there is none of should leave no folder behind.
    if registry.champions(name)?.is_empty() {
        registry.place(&asked)?;
    }
    let (former, version) = registry.edit(name)?.roll_back()?;
    if show::for_people(args.common.format) {
        show::text(&format!("{name}@{version} is the champion of {name} again; until now it was {name}@{former}"))?;
    } else {
        show::lines(&[Line { model: name, version, former }])?;
    }
    Ok(ExitCode::SUCCESS)
}
