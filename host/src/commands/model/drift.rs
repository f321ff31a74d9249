use crate::commands::interrupt::Interrupt;
use crate::commands::watch::Watch;
use crate::commands::{FAILED, FilterArgs, PARTIAL, Total, captures, complain, cores, name, open, prepare, warn};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use veilwatch::engine::{self, Pipeline, Progress, RunOptions, Summary};
use veilwatch::model::drift::{Collector, Drift, State};
use veilwatch::output::{fit, plain};
use veilwatch::source::inputs::Input;

/// Exit status: the traffic has drifted.
const DRIFTED: u8 = 1;

/// Arguments of `veilwatch model drift`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Captures and folders of captures; `-` is standard input.
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// Pipeline to run instead of the default one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Model to ask instead of the configuration's: `default`, or a folder made by `veilwatch train`.
    #[arg(long, value_name = "FOLDER")]
    model: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Columns to name, those that have moved farthest first.
    #[arg(long, value_name = "N", default_value_t = 10)]
    columns: usize,
    /// How to write it; by default a table on a terminal and JSON elsewhere.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// One JSON object.
    Json,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let (mut config, mut registry) = prepare(args.config.as_deref())?;
    if let Some(model) = &args.model {
        config.model.clone_from(model);
    }
    args.filter.apply(&mut config);
    let mut total = Total::default();
    let captures = captures(&args.inputs, &mut total)?;
    let pipeline = Pipeline::new(config, &mut registry)?;
    let (Some(memory), Some(card)) = (pipeline.memory(), pipeline.card()) else {
        bail!(
            "model {}: it does not remember what its training looked like, so that nothing can be held against it; train \
             it again with this version",
            pipeline.config().model
        );
    };
    let interrupt = Interrupt::listen()?;
    let mut collector = Collector::new(memory);
    for (at, input) in captures.inputs.iter().enumerate() {
        if interrupt.asked() {
            total.interrupt(captures.inputs.len() - at);
            break;
        }
        match take(input, &pipeline, &interrupt, &mut collector) {
            Ok(summary) => total.add(&summary),
            // One bad file among many is named, and the others go on.
            Err(error) if captures.inputs.len() > 1 => {
                complain(&format!("{error:#}"));
                total.failed += 1;
            }
            Err(error) => return Err(error),
        }
        collector.next_capture();
    }
    let mut drift = collector.finish(pipeline.schema(), card);
    if drift.flows == 0 {
        bail!("no flow of these captures is scored by this model; it judges `scored = \"{}\"`", card.scored.word());
    }
    let hidden = drift.columns.len().saturating_sub(args.columns);
    drift.columns.truncate(args.columns);
    let terminal = std::io::stdout().is_terminal();
    let mut out = interrupt.stdout()?;
    match args.format.unwrap_or(if terminal { Format::Table } else { Format::Json }) {
        Format::Table => out.write_all(text(&drift, hidden, terminal).as_bytes())?,
        Format::Json => {
            serde_json::to_writer(&mut out, &drift)?;
            out.write_all(b"\n")?;
        }
    }
    out.flush()?;
    Ok(ExitCode::from(match drift.state {
        _ if total.analysed == 0 => FAILED,
        State::Drifted => DRIFTED,
        _ if total.partial || total.failed > 0 => PARTIAL,
        State::Stable | State::Unclear | State::Shifted => 0,
    }))
}

/// Runs the pipeline over a capture.
fn take(input: &Input, pipeline: &Pipeline, interrupt: &Interrupt, collector: &mut Collector<'_>) -> Result<Summary> {
    let source = open(input, pipeline.config(), interrupt)?;
    let progress = Arc::new(Progress::default());
    let _watch = Watch::capture(&progress, source.status().total_bytes);
    let options = RunOptions { workers: cores(), packets: None, stop: interrupt.flag(), progress: &progress };
    let summary = engine::run(pipeline, source, options, collector).with_context(|| name(input))?;
    warn(&name(input), &summary);
    Ok(summary)
}

/// All of it for a person.
fn text(drift: &Drift, hidden: usize, terminal: bool) -> String {
    let mut out = format!("{}\n", plain(&drift.sentence));
    let _ = writeln!(
        out,
        "{} flows, worth {:.0} independent ones; scores: {} (index {:.2}, of which chance was taken off: {:.2})",
        drift.flows,
        drift.worth,
        drift.scores.state.name(),
        drift.scores.psi,
        drift.scores.noise
    );
    if drift.not_looked_at > 0 {
        let _ = writeln!(out, "{} more flows were not looked at", drift.not_looked_at);
    }
    if let Some(novel) = &drift.novel {
        let _ = writeln!(
            out,
            "training held nothing like {:.2} % of the flows; of benign ones that it had not seen it was {:.2} %",
            novel.share * 100.0,
            novel.expected * 100.0
        );
    }
    let _ = writeln!(
        out,
        "called malicious: {:.3} % of the flows; the threshold was chosen for {:.3} % false ones",
        drift.alerts.share * 100.0,
        drift.alerts.expected * 100.0
    );
    let [all, shifted, drifted] = drift.all;
    let _ = writeln!(out, "of all {all} columns {shifted} have shifted, {drifted} of them drifted");
    if drift.columns.is_empty() {
        return out;
    }
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    fit(&mut table, terminal, 120);
    table.set_header(["column", "index", "state", "much used", "what it was and is"]);
    for column in &drift.columns {
        let index = format!("{:.2}", column.moved.psi);
        let used = if column.used { "yes" } else { "" };
        let state = column.moved.state.name();
        table.add_row([plain(&column.column), index, state.into(), used.into(), plain(&column.words)]);
    }
    let _ = writeln!(out, "{table}");
    if hidden > 0 {
        let _ = writeln!(out, "{hidden} more columns have moved; `--columns` names more");
    }
    out
}
