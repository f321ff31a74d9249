//! `veilwatch collect`: captures of one label join a table.

use super::learning::{background, watched};
use super::{FilterArgs, say};
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::process::ExitCode;
use veilwatch::engine::Pipeline;
use veilwatch::learn::{Added, Background, Collected, Collection, LoadOptions, Truth};
use veilwatch::output::plain;

/// Arguments of `veilwatch collect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What every flow of the captures is: benign, background (an infected machine's own harmless traffic), malicious or
    /// unlabelled (neither learnt from nor judged by).
    #[arg(long, value_name = "LABEL")]
    label: Truth,
    /// Captures, and folders of captures.
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    from: Vec<PathBuf>,
    /// The table, for `veilwatch train --table`; it is made where it is not there. A capture that is in it is passed over.
    #[arg(long, value_name = "TABLE")]
    into: PathBuf,
    /// Pipeline to run instead of the default one; its classifier and model are not used. A table is of one pipeline.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Malware family of all these captures. [default: the folder that each lies in, else each is one by itself]
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    family: Option<String>,
    /// Who published or where somebody took these captures. [default: the folder that each lies in, else its name]
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    source: Option<String>,
    /// Read so many packets of each capture; those that the filter keeps out count too.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    packets: Option<u64>,
    /// Table of services that infected machines talk to as all do: `default` is in the box, `none` for no cleaning. It takes
    /// such flows out of captures that are malicious. All rows of a table are cleaned by the same. [default: the table's own,
    /// else `default`]
    #[arg(long, value_name = "FILE|default|none")]
    clean: Option<String>,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.family.is_some() && args.label == Truth::Benign {
        bail!("--family: benign captures have none; --source says where they are from");
    }
    let (mut config, mut registry) = super::prepare(args.config.as_deref())?;
    args.filter.apply(&mut config);
    let pipeline = Pipeline::untrained(config, &mut registry)?;
    let mut collection = Collection::open(&args.into, &pipeline)?;
    let background = cleaning(args.clean.as_deref(), &collection)?;
    let options = LoadOptions {
        workers: super::cores(),
        background: background.as_ref(),
        packets: args.packets,
        ..LoadOptions::default()
    };
    let what = Collected {
        paths: args.from.clone(),
        truth: args.label,
        family: args.family.clone(),
        source: args.source.clone(),
    };
    let added = watched(|loading| collection.add(&what, &pipeline, &options, loading))?;
    tell(&added, &pipeline);
    sum_up(&collection);
    Ok(exit(&added))
}

/// The table of background traffic: the one that is named, else that of the rows that are there.
fn cleaning(named: Option<&str>, collection: &Collection) -> Result<Option<Background>> {
    match (named, collection.cleaned_by()) {
        (Some(word), _) => background(word),
        (None, None) => background("default"),
        (None, Some("")) => Ok(None),
        (None, Some(hash)) => {
            let table = background("default")?;
            if table.as_ref().is_none_or(|table| table.sha256() != hash) {
                let path = collection.path().display().to_string();
                bail!(
                    "{}: its rows were cleaned by another table of background traffic; name it with --clean",
                    plain(&path)
                );
            }
            Ok(table)
        }
    }
}

/// Tells what was added, and what was not.
fn tell(added: &Added, pipeline: &Pipeline) {
    for path in &added.unreadable {
        say(&format!("{}: no capture, left out", plain(path)));
    }
    added.doubts.iter().for_each(|doubt| say(&plain(doubt)));
    for path in &added.duplicates {
        say(&format!("{}: the same capture as another, left out", plain(path)));
    }
    for (path, there) in &added.known {
        let words = if path == there { String::new() } else { format!(", as {}", plain(there)) };
        say(&format!("{}: it is in the table already{words}; passed over", plain(path)));
    }
    let scored = pipeline.config().detection.scored.word();
    for path in &added.without_rows {
        say(&format!("{}: no flow of it has a row; those have one that `scored = \"{scored}\"` means", plain(path)));
    }
    let rows: Vec<String> = added.rows.iter().map(|(truth, rows)| format!("{rows} {}", truth.name())).collect();
    let rows = if rows.is_empty() { "no".to_owned() } else { rows.join(" and ") };
    say(&format!("added {rows} rows of {} captures", added.captures));
}

/// Tells what the table has now.
fn sum_up(collection: &Collection) {
    let count = |truth| collection.count(truth);
    say(&format!(
        "{}: {} captures; {} malicious, {} benign and {} background flows ({} unlabelled)",
        plain(&collection.path().display().to_string()),
        collection.captures(),
        count(Truth::Malicious),
        count(Truth::Benign),
        count(Truth::Background),
        count(Truth::Unlabelled)
    ));
}

/// The exit status, as `host/OUTPUT.md` says: it is no failure that all was there already.
fn exit(added: &Added) -> ExitCode {
    let read = added.captures + added.without_rows.len() + added.known.len();
    ExitCode::from(if read == 0 {
        super::FAILED
    } else if !added.unreadable.is_empty() || !added.doubts.is_empty() {
        super::PARTIAL
    } else {
        0
    })
}
