use super::{Common, Found, find};
use crate::commands::interrupt::Interrupt;
use crate::commands::plugin::show;
use crate::commands::watch::Watch;
use crate::commands::{FAILED, FilterArgs, PARTIAL, Total, captures, complain, cores, name, open, warn};
use anyhow::{Context, Result, bail};
use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use veilwatch::config::ShadowSettings;
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
    /// Model to ask instead of the configuration's: `default` and the others in the box, a folder, or `NAME` or
    /// `NAME@VERSION` of the registry.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Columns to name, those that have moved farthest first.
    #[arg(long, value_name = "N", default_value_t = 10)]
    columns: usize,
    #[command(flatten)]
    common: Common,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let (mut config, mut registry) = args.common.prepare()?;
    args.filter.apply(&mut config);
    // Nobody sees alerts here, and nothing of a second model.
    config.shadow = ShadowSettings::default();
    config.output.explained = 0;
    let mut total = Total::default();
    let captures = captures(&args.inputs, &mut total)?;
    let Found { name, model, .. } = find(args.model.as_ref().unwrap_or(&config.model), &config.models)?;
    let mut pipeline = Pipeline::untrained(config, &mut registry)?;
    pipeline.use_model(&model)?;
    let (Some(memory), Some(card)) = (pipeline.memory(), pipeline.card()) else {
        bail!(
            "model {name}: it does not remember what its training looked like, so that nothing can be held against it; \
             train it again with this version"
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
    let mut drift = collector.finish(pipeline.schema(), card, pipeline.false_alert_budget());
    if drift.flows == 0 {
        bail!("no flow of these captures is scored by this model; it judges `scored = \"{}\"`", card.scored.word());
    }
    let hidden = drift.columns.len().saturating_sub(args.columns);
    drift.columns.truncate(args.columns);
    let mut out = interrupt.stdout()?;
    if show::for_people(args.common.format) {
        out.write_all(text(&drift, hidden, std::io::stdout().is_terminal()).as_bytes())?;
    } else {
        serde_json::to_writer(&mut out, &drift)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(ExitCode::from(match drift.state {
        _ if total.analysed == 0 => FAILED,
        State::Drifted => DRIFTED,
        // Nothing could be told of so few.
        State::Unclear => FAILED,
        _ if total.partial || total.failed > 0 => PARTIAL,
        State::Stable | State::Shifted => 0,
    }))
}

/// Runs the pipeline over a capture.
fn take(input: &Input, pipeline: &Pipeline, interrupt: &Interrupt, collector: &mut Collector<'_>) -> Result<Summary> {
    let source = open(input, pipeline.config(), interrupt)?;
    let progress = Arc::new(Progress::default());
    let _watch = Watch::capture(&progress, source.status().total_bytes);
    let options = RunOptions { workers: cores(), packets: None, stop: interrupt.flag(), progress: &progress };
    let mut summary = engine::run(pipeline, source, options, collector).with_context(|| name(input))?;
    // Of nobody's wish.
    summary.unexplained = 0;
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
            novel.expected.unwrap_or_default() * 100.0
        );
    }
    let _ = write!(
        out,
        "called malicious: {:.3} % of the flows, where those of one server weigh no more than three",
        drift.alerts.share * 100.0
    );
    let _ = match drift.alerts.expected {
        Some(expected) => writeln!(out, "; the threshold was chosen for {:.3} % false ones", expected * 100.0),
        None => writeln!(out),
    };
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
