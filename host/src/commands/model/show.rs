use super::{Common, Found, Signature, facts, figure, find, shown, signed_by};
use crate::commands::plugin::show;
use anyhow::Result;
use serde::Serialize;
use std::process::ExitCode;
use veilwatch::model::Card;

/// Arguments of `veilwatch model show`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A model: `default` and the others in the box, a folder, or `NAME` or `NAME@VERSION` of the registry.
    model: String,
    #[command(flatten)]
    common: Common,
}

/// What a program gets.
#[derive(Debug, Serialize)]
struct Line<'a> {
    model: &'a str,
    bytes: u64,
    signature: Signature,
    card: &'a Card,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let Found { name, model, signer, bytes } = find(&args.model, &args.common.settings()?)?;
    let card = &model.card;
    if show::for_people(args.common.format) {
        let mut rows: Vec<[String; 2]> =
            facts(card).into_iter().map(|(what, text)| [what.into(), shown(&text)]).collect();
        let figures = card.report.figures().map(|(what, value)| [what.to_owned(), figure(value)]);
        rows.extend(figures);
        let key = signer.key().map(|key| format!(", key {key}")).unwrap_or_default();
        rows.push(["signed by".into(), format!("{}{key}", signed_by(signer))]);
        rows.push(["bytes".into(), bytes.to_string()]);
        show::text(&show::grid(["model", &shown(&name)], rows))?;
    } else {
        show::lines(&[Line { model: &name, bytes, signature: signer.into(), card }])?;
    }
    Ok(ExitCode::SUCCESS)
}
