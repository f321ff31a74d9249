use super::interrupt::Interrupt;
use super::watch::Watch;
use super::{FilterArgs, Total};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use veilwatch::config::ShadowSettings;
use veilwatch::engine::{self, Pipeline, Progress, RunError, RunOptions, Sink, Summary};
use veilwatch::output::{
    CsvSink, JsonSink, QueueSink, Selection, TableSink, question_lines, question_table, summary_text,
};
use veilwatch::query::{Fields, FlowQuery, WhereSink};
use veilwatch::source::{Source, SourceError};

/// Arguments of `veilwatch detect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Captures and folders of captures; `-` is standard input.
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// Pipeline to run instead of the default one: a file, or one in the box: `protocols`, which reads every protocol,
    /// `full`, which knows most of each flow, `blind`, which sees no names and certificates.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Model to use instead of the configuration's: `default`, `registry:NAME`, or a folder made by `veilwatch train`.
    #[arg(long, value_name = "FOLDER")]
    model: Option<String>,
    /// A second model that scores the same flows and decides nothing: the last line says where it differs.
    #[arg(long, value_name = "FOLDER")]
    shadow: Option<String>,
    /// How to write the result; by default a table on a terminal and JSON Lines elsewhere.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write all flows, not only alerts.
    #[arg(long, conflicts_with = "min_score")]
    all: bool,
    /// False alerts in 100,000 benign pairs of a host and a server that are to be expected; the model's card knows which
    /// score that takes, and ten times as many are suspicious (10,000 at most).
    #[arg(long, value_name = "N", value_parser = budget, conflicts_with = "threshold")]
    budget: Option<f64>,
    /// Score from which on a flow is malicious, in place of the model's.
    #[arg(long, value_name = "SCORE", value_parser = score)]
    threshold: Option<f64>,
    /// Write flows that score at least this much, whatever their verdict.
    #[arg(long, value_name = "SCORE", value_parser = score)]
    min_score: Option<f64>,
    /// Write flows of which this expression holds, whatever their verdict, such as `verdict == "malicious" && tls.sni contains
    /// "duck"`: a language of our own, near to Wireshark's display filters (host/QUERY.md). All flows count, and `--min-score`
    /// and `--queue` choose among those.
    #[arg(long = "where", value_name = "EXPRESSION")]
    query: Option<String>,
    /// Write instead the so many flows that are most worth a person's word: those of which the model is least certain, and not
    /// all the same; a table, or one JSON object a line.
    #[arg(long, value_name = "N", conflicts_with_all = ["all", "min_score", "shadow"], value_parser = clap::value_parser!(u16).range(1..=1000))]
    queue: Option<u16>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Stop after so many packets of each capture; those that the filter keeps out count too.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    packets: Option<u64>,
    /// Threads that decode and assemble flows; the result does not depend on it [default: the cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: Option<u16>,
    /// Say on standard error what each plugin took; for a template, one call in sixteen is timed for all.
    #[arg(long)]
    plugin_times: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A summary and the worst flows, for people.
    Table,
    /// One JSON object a line, the last one sums up.
    Jsonl,
    /// One flow a line.
    Csv,
}

/// A score as one types it.
pub(super) fn score(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(score) if (0.0..=1.0).contains(&score) => Ok(score),
        _ => Err("a score is a number from 0 to 1".into()),
    }
}

/// A budget as one types it.
fn budget(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(budget) if budget.is_finite() && budget > 0.0 => Ok(budget),
        _ => Err("a budget is a number above 0: false alerts in 100,000 pairs".into()),
    }
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let (mut config, mut registry) = super::prepare(args.config.as_deref())?;
    if let Some(model) = &args.model {
        config.model.clone_from(model);
    }
    if args.budget.is_some() || args.threshold.is_some() {
        (config.detection.budget, config.detection.threshold) = (args.budget, args.threshold);
    }
    if let Some(shadow) = &args.shadow {
        config.shadow.model.clone_from(shadow);
    }
    if args.queue.is_some() {
        // Nobody sees alerts then, and nothing of a second model.
        config.shadow = ShadowSettings::default();
        config.output.explained = 0;
    }
    args.filter.apply(&mut config);
    let mut total = Total::default();
    let captures = super::captures(&args.inputs, &mut total)?;
    let pipeline = Pipeline::new(config, &mut registry)?;
    let query = match args.query.as_deref().map(|text| FlowQuery::new(text, &Fields::of(&pipeline))).transpose() {
        Ok(query) => query,
        Err(error) => return Ok(super::refuse(&error)),
    };
    let interrupt = Interrupt::listen()?;
    let terminal = std::io::stdout().is_terminal();
    let format = args.format.unwrap_or(if terminal { Format::Table } else { Format::Jsonl });
    if args.queue.is_some() && format == Format::Csv {
        bail!("--queue is written as a table or as JSON Lines");
    }
    let mut out = BufWriter::new(interrupt.stdout()?);
    let several = captures.inputs.len() > 1;
    for (at, input) in captures.inputs.iter().enumerate() {
        if interrupt.asked() {
            total.interrupt(captures.inputs.len() - at);
            break;
        }
        let name = several.then(|| super::name(input));
        let query = query.as_ref();
        let job = Job {
            args,
            query,
            pipeline: &pipeline,
            stop: interrupt.flag(),
            format,
            colour: terminal,
            name,
            first: at == 0,
        };
        let outcome = super::open(input, pipeline.config(), &interrupt)
            .and_then(|source| job.run(&super::name(input), source, &mut out));
        match outcome {
            Ok(summary) => total.add(&summary),
            Err(error) if super::is_interrupted(&error) => {
                super::say(&format!("{error:#}"));
                total.interrupt(captures.inputs.len() - at - 1);
                break;
            }
            // One bad file among many is named, and the others go on; a plugin or a full disk fails them all.
            Err(error) if several && concerns_one_file(&error) => {
                super::complain(&format!("{error:#}"));
                total.failed += 1;
            }
            Err(error) => return Err(error),
        }
    }
    if captures.left_out > 0 && format == Format::Table {
        writeln!(out, "{} files in the folders are no captures and were left out", captures.left_out)?;
    }
    out.flush()?;
    Ok(total.exit())
}

/// Whether an error is about the capture it happened with, and nothing else.
fn concerns_one_file(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.is::<SourceError>() || matches!(cause.downcast_ref::<RunError>(), Some(RunError::Source(_))))
}

struct Job<'a> {
    args: &'a Args,
    query: Option<&'a FlowQuery>,
    pipeline: &'a Pipeline,
    stop: &'a AtomicBool,
    format: Format,
    colour: bool,
    /// The capture's name, where there are several.
    name: Option<String>,
    first: bool,
}

impl Job<'_> {
    fn run(&self, name: &str, source: Source, out: &mut dyn Write) -> Result<Summary> {
        let progress = Arc::new(Progress::default());
        let status = source.status();
        let (capture_format, total) = (status.format, status.total_bytes);
        let workers = self.args.workers.map_or_else(super::cores, usize::from);
        let analyse = |sink: &mut dyn Sink| {
            let _watch = Watch::capture(&progress, total);
            let options = RunOptions { workers, packets: self.args.packets, stop: self.stop, progress: &progress };
            let mut sink = WhereSink::new(self.query, sink);
            engine::run(self.pipeline, source, options, &mut sink).with_context(|| name.to_owned())
        };
        let settings = &self.pipeline.config().output;
        if let Some(count) = self.args.queue {
            let mut sink = QueueSink::new(self.pipeline);
            let mut summary = analyse(&mut sink)?;
            summary.questions_forgotten = sink.forgotten();
            // Of nobody's wish.
            summary.unexplained = 0;
            let questions = sink.choose(count.into());
            if self.format == Format::Table {
                let head = summary_text(name, capture_format, &summary);
                write!(out, "{head}{}", question_table(&questions, self.colour, settings.text_bytes))?;
            } else {
                out.write_all(question_lines(&questions, self.name.as_deref(), settings.text_bytes)?.as_bytes())?;
                super::warn(name, &summary);
            }
            if self.args.plugin_times {
                super::tell_times(name, &summary);
            }
            return Ok(summary);
        }
        let all = self.args.all || self.query.is_some() && self.args.min_score.is_none();
        let selection = Selection { all, min_score: self.args.min_score };
        let summary = match self.format {
            Format::Jsonl => {
                let sink = JsonSink::new(out, selection, self.name.clone(), settings.text_bytes);
                let mut sink = sink.at_most(settings.lines);
                let mut summary = analyse(&mut sink)?;
                summary.not_written = sink.not_written();
                sink.summary(&summary)?;
                let lost = !summary.disabled.is_empty() || !summary.filter_failed.is_empty();
                if summary.is_blind() || summary.interrupted || lost {
                    super::warn(name, &summary);
                }
                summary
            }
            Format::Csv => {
                let sink = CsvSink::new(out, selection, self.name.clone(), settings.text_bytes, self.first)?;
                let mut sink = sink.at_most(settings.lines);
                let mut summary = analyse(&mut sink)?;
                summary.not_written = sink.not_written();
                sink.finish()?;
                // CSV has no last line of its own.
                super::warn(name, &summary);
                summary
            }
            Format::Table => {
                let mut sink = TableSink::new(selection, settings.table_rows, settings.text_bytes)
                    .with_pairs(settings.table_pairs)
                    .explaining(settings.explained);
                let mut summary = analyse(&mut sink)?;
                summary.pairs_not_counted = sink.not_counted();
                write!(out, "{}{}", summary_text(name, capture_format, &summary), sink.render(self.colour))?;
                summary
            }
        };
        if self.args.plugin_times {
            super::tell_times(name, &summary);
        }
        Ok(summary)
    }
}
