//! `veilwatch collect`: captures of one label join a table, stored ones or such that are recorded in rounds.

use super::interrupt::Interrupt;
use super::learning::{background, watched};
use super::{FilterArgs, say};
use anyhow::{Context, Result, bail};
use std::fs::DirBuilder;
use std::ops::ControlFlow;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use veilwatch::config::Config;
use veilwatch::engine::Pipeline;
use veilwatch::filter::Filter;
use veilwatch::learn::{Added, Background, Collected, Collection, LoadOptions, Rounds, Truth, collect_rounds};
use veilwatch::live::{Live, Reach, Recording, Wanted, confine};
use veilwatch::output::plain;

/// Arguments of `veilwatch collect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What every flow of the captures is: benign, background (an infected machine's own harmless traffic), malicious or
    /// unlabelled (neither learnt from nor judged by).
    #[arg(long, value_name = "LABEL")]
    label: Truth,
    /// Captures, and folders of captures.
    #[arg(long, value_name = "PATH", num_args = 1.., required_unless_present = "interface")]
    from: Vec<PathBuf>,
    #[command(flatten)]
    live: LiveArgs,
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
    /// Read so many packets of each capture, those that the filter keeps out among them; with `-i`, record so many in each
    /// round, of those that the filter lets through.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    packets: Option<u64>,
    /// Table of services that infected machines talk to as all do: `default` is in the box, `none` for no cleaning. It takes
    /// such flows out of captures that are malicious. All rows of a table are cleaned by the same. [default: the table's own,
    /// else `default`]
    #[arg(long, value_name = "FILE|default|none")]
    clean: Option<String>,
}

/// What is recorded live.
#[derive(Debug, clap::Args)]
struct LiveArgs {
    /// Interface to record on instead, as `veilwatch interfaces` lists them, in rounds; each is a capture of its own, and in the
    /// table before the next one begins. What comes between two is not recorded.
    #[arg(short, long, value_name = "INTERFACE", conflicts_with = "from")]
    interface: Option<String>,
    /// How many rounds.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "interface", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,
    /// End each round after this time, such as `90s` or `10m`, though it has fewer packets.
    #[arg(long, value_name = "TIME", requires = "interface", value_parser = super::capture::duration)]
    duration: Option<Duration>,
    /// Keep the captures in this folder; else they are gone once their rows are in the table.
    #[arg(long, value_name = "FOLDER", requires = "interface")]
    keep: Option<PathBuf>,
    /// Have the interface take packets that are for others.
    #[arg(long, requires = "interface")]
    promiscuous: bool,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.family.is_some() && args.label == Truth::Benign {
        bail!("--family: benign captures have none; --source says where they are from");
    }
    let (mut config, mut registry) = super::prepare(args.config.as_deref())?;
    args.filter.apply(&mut config);
    let pipeline = Pipeline::untrained(config.clone(), &mut registry)?;
    let mut collection = Collection::open(&args.into, &pipeline)?;
    let background = cleaning(args.clean.as_deref(), &collection)?;
    let options = LoadOptions {
        workers: super::cores(),
        background: background.as_ref(),
        packets: args.packets,
        ..LoadOptions::default()
    };
    if let Some(interface) = &args.live.interface {
        return live(args, interface, &config, &mut collection, &pipeline, &options);
    }
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

/// Records rounds, and reads each like a stored capture.
fn live(
    args: &Args,
    interface: &str,
    config: &Config,
    collection: &mut Collection,
    pipeline: &Pipeline,
    options: &LoadOptions<'_>,
) -> Result<ExitCode> {
    if args.packets.is_none() && args.live.duration.is_none() {
        bail!("a round has no end; give it one with --packets or --duration");
    }
    let rounds = Rounds {
        count: args.live.rounds,
        interface,
        truth: args.label,
        family: args.family.as_deref(),
        source: args.source.as_deref(),
        keep: args.live.keep.as_deref(),
    };
    let interrupt = Interrupt::listen()?;
    interrupt.at_hang_up()?;
    // Later nothing can be looked up any more: names in the filter, and whether there is the interface.
    let mut filter = Filter::new(&config.input.filter)?;
    filter.as_mut().map_or(Ok(()), Filter::compile_all)?;
    say(&format!("collecting on {}; Ctrl-C ends it", plain(interface)));
    if config.live.sandbox {
        confine(&reach(args)?)?;
    }
    let options = LoadOptions { packets: None, ..*options };
    let mut partial = false;
    let mut record = |_: u32, into: &Path| {
        let missing = record(args, interface, config, into, &interrupt)?;
        partial |= missing;
        Ok(if interrupt.asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    };
    let (mut read, mut exits) = (0, Added::default());
    let mut told = |round: u32, added: &Added| {
        say(&format!("round {round}:"));
        tell(added, pipeline);
        read += 1;
        exits.doubts.extend(added.doubts.iter().cloned());
        exits.unreadable.extend(added.unreadable.iter().cloned());
    };
    collect_rounds(collection, &rounds, pipeline, &options, &mut record, &mut told)?;
    exits.captures = read;
    if partial {
        exits.doubts.push("packets are missing".to_owned());
    }
    sum_up(collection);
    Ok(exit(&exits))
}

/// What recording and reading takes, once the pipeline is made: to write the table, and captures beside it or where they are
/// kept.
fn reach(args: &Args) -> Result<Reach> {
    let mut write = Vec::new();
    if let Some(keep) = &args.live.keep {
        // Nobody else looks into what passes here.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(keep);
        made.with_context(|| format!("{}: the folder cannot be made", keep.display()))?;
        write.push(keep.clone());
    }
    // A table that is a link is written where it leads.
    let table = args.into.canonicalize().unwrap_or_else(|_| args.into.clone());
    write.push(super::folder_of(&table));
    Ok(Reach { write, opens_again: true, ..Reach::default() })
}

/// Records one round; whether packets are missing in it.
fn record(args: &Args, interface: &str, config: &Config, into: &Path, interrupt: &Interrupt) -> Result<bool> {
    let wanted = Wanted {
        interfaces: vec![interface.to_owned()],
        promiscuous: args.live.promiscuous,
        filter: config.input.filter.clone(),
        recording: Some(Recording { path: into.to_owned(), ring: None }),
        packets: args.packets,
        duration: args.live.duration,
        bytes: None,
    };
    let live = Live::open(&wanted, &config.live, |line| say(&plain(line)))?;
    let (control, mut source) = (live.control(), live.source());
    let mut block = None;
    // It returns without packets, too, so that an end that was asked for is heard.
    while let Some(next) = source.next_block(block.take())? {
        if interrupt.asked() {
            control.stop();
        }
        block = Some(next);
    }
    let counts = control.counts();
    if counts.is_partial() {
        let (dropped, lost, downs) = (counts.dropped(), counts.not_recorded, counts.downs());
        say(&format!("{}: {dropped} packets lost, {lost} not written, {downs} times down", plain(interface)));
    }
    Ok(counts.is_partial())
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
