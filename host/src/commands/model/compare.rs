use super::{Common, facts, figure, find, shown};
use crate::commands::plugin::show;
use anyhow::Result;
use serde::Serialize;
use std::process::ExitCode;
use veilwatch::model::{Compared, Standing, compare, same_protocol};

/// Arguments of `veilwatch model compare`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A model: `default` and the others in the box, a folder, or `NAME` or `NAME@VERSION` of the registry.
    one: String,
    /// Another.
    other: String,
    #[command(flatten)]
    common: Common,
}

/// What a program gets.
#[derive(Debug, Serialize)]
struct Line<'a> {
    one: &'a str,
    other: &'a str,
    /// Whether the figures are of the same data, split the same way.
    same_protocol: bool,
    figures: Vec<Compared>,
    /// What else differs.
    facts: Vec<Fact>,
}

#[derive(Debug, Serialize)]
struct Fact {
    fact: &'static str,
    one: String,
    other: String,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let settings = args.common.settings()?;
    let [one, other] = [find(&args.one, &settings)?.model.card, find(&args.other, &settings)?.model.card];
    let figures = compare(&one, &other);
    let same = same_protocol(&one, &other);
    let facts = facts(&one).into_iter().zip(facts(&other)).filter(|(one, other)| one.1 != other.1);
    let facts: Vec<Fact> = facts.map(|((fact, one), (_, other))| Fact { fact, one, other }).collect();
    if !show::for_people(args.common.format) {
        show::lines(&[Line { one: &args.one, other: &args.other, same_protocol: same, figures, facts }])?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = figures
        .iter()
        .map(|row| [row.figure.to_owned(), figure(row.one), figure(row.other), words(row.standing).to_owned()]);
    let facts = facts.iter().map(|fact| [fact.fact.to_owned(), shown(&fact.one), shown(&fact.other), String::new()]);
    let header = ["", &shown(&args.one), &shown(&args.other), "the second is"];
    show::text(&show::grid(header, rows.chain(facts)))?;
    if !same {
        show::text(&"The figures are not of the same data, split the same way: they say little about each other.")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn words(standing: Option<Standing>) -> &'static str {
    match standing {
        Some(Standing::Better) => "better, beyond the intervals",
        Some(Standing::Worse) => "worse, beyond the intervals",
        Some(Standing::Within) => "not told apart",
        None => "not comparable",
    }
}
