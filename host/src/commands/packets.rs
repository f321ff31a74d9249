use super::interrupt::Interrupt;
use super::watch::Watch;
use super::{FAILED, FilterArgs, PARTIAL};
use anyhow::{Context, Result};
use clap::ValueEnum;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use veilwatch::engine::{Pipeline, Progress};
use veilwatch::output::{PacketHexSink, PacketJsonSink, PacketTableSink, PacketTreeSink, plain};
use veilwatch::packets::{Numbers, PacketSink, ReadOptions, read};
use veilwatch::query::{Fields, PacketQuery};
use veilwatch::source::inputs::Input;

/// Arguments of `veilwatch packets`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A capture; `-` is standard input.
    capture: PathBuf,
    /// How to write packets; by default a table on a terminal and JSON Lines elsewhere.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Which packets to show, by their numbers in the capture: `5`, `10-20`, `-3` (up to 3), `100-` (from 100 on), several
    /// with commas between. Nothing is read behind the last of them.
    #[arg(long, value_name = "NUMBERS", allow_hyphen_values = true)]
    packets: Option<Numbers>,
    /// Of these show only packets of which this expression holds, such as `tls.sni contains "duck" && ip.ttl < 64`: a language
    /// of our own, near to Wireshark's display filters (host/QUERY.md).
    #[arg(long = "where", value_name = "EXPRESSION")]
    query: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Pipeline whose protocol templates, tables and limits are used; by default the one in the box with every protocol.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for each packet.
    Table,
    /// One JSON object a line, with every field of every layer.
    Jsonl,
    /// Every header with its fields, indented.
    Tree,
    /// The bytes, sixteen a line.
    Hex,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    // Somebody looks at few packets, so that every template may look, too.
    let config = args.config.as_deref().unwrap_or(Path::new("protocols"));
    let (mut config, mut registry) = super::prepare(Some(config))?;
    args.filter.apply(&mut config);
    let pipeline = Pipeline::untrained(config, &mut registry)?;
    let query = match args.query.as_deref().map(|text| PacketQuery::new(text, &Fields::of(&pipeline))).transpose() {
        Ok(query) => query,
        Err(error) => return Ok(super::refuse(&error)),
    };
    let interrupt = Interrupt::listen()?;
    let input = match args.capture.as_os_str().as_encoded_bytes() {
        b"-" => Input::Stdin,
        _ => Input::File(args.capture.clone()),
    };
    let name = super::name(&input);
    let source = match super::open(&input, pipeline.config(), &interrupt) {
        Err(error) if super::is_interrupted(&error) => {
            super::say(&format!("{error:#}"));
            return Ok(ExitCode::from(PARTIAL));
        }
        other => other?,
    };
    let terminal = std::io::stdout().is_terminal();
    let out = BufWriter::new(interrupt.stdout()?);
    let mut sink = sink(args.format.unwrap_or(if terminal { Format::Table } else { Format::Jsonl }), terminal, out);
    let numbers = args.packets.clone().unwrap_or_else(Numbers::all);
    let progress = Arc::new(Progress::default());
    let watch = (!terminal).then(|| Watch::capture(&progress, source.status().total_bytes));
    let options = ReadOptions { numbers: &numbers, query: query.as_ref(), stop: interrupt.flag(), progress: &progress };
    let outcome = read(&pipeline, source, options, &mut *sink).with_context(|| name.clone())?;
    drop(watch);
    for line in outcome.warnings() {
        super::say(&format!("{}: {}", plain(&name), plain(&line)));
    }
    Ok(ExitCode::from(if outcome.packets == 0 && outcome.damage.is_some() {
        FAILED
    } else if outcome.is_partial() {
        PARTIAL
    } else {
        0
    }))
}

/// A terminal that is said to be narrower does not know how wide it is, and nothing is cut for it.
const NARROWEST: u16 = 40;

/// Who writes a format.
fn sink<'a>(format: Format, terminal: bool, out: impl Write + 'a) -> Box<dyn PacketSink + 'a> {
    match format {
        Format::Table => {
            let width = comfy_table::Table::new().width().filter(|width| terminal && *width >= NARROWEST);
            Box::new(PacketTableSink::new(out, width.map(usize::from)))
        }
        Format::Jsonl => Box::new(PacketJsonSink::new(out)),
        Format::Tree => Box::new(PacketTreeSink::new(out)),
        Format::Hex => Box::new(PacketHexSink::new(out)),
    }
}
