use super::interrupt::Interrupt;
use super::learning::{DataArgs, read};
use super::watch::Watch;
use super::{FilterArgs, Total};
use anyhow::{Context, Result, bail};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use veilwatch::engine::{self, Detection, Pipeline, Progress, RunOptions, Sink};
use veilwatch::learn::{self, Origin, Truth};
use veilwatch::output::csv_error;

/// Arguments of `veilwatch features`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Captures and folders of captures; `-` is standard input.
    inputs: Vec<PathBuf>,
    /// Pipeline to run instead of the default one; its classifier and model are not used.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Write a table for `veilwatch train --table`, in which every flow of the captures is benign, background, malicious or
    /// unlabelled.
    #[arg(long, value_name = "LABEL")]
    label: Option<Truth>,
    #[command(flatten)]
    data: DataArgs,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let (mut config, mut registry) = super::prepare(args.config.as_deref())?;
    args.filter.apply(&mut config);
    if args.label.is_some() || !args.data.is_empty() {
        return labelled(args, &Pipeline::untrained(config, &mut registry)?);
    }
    if args.inputs.is_empty() {
        bail!("name captures, or labelled ones with --data, --benign or --malicious");
    }
    let mut total = Total::default();
    let captures = super::captures(&args.inputs, &mut total)?;
    let pipeline = Pipeline::untrained(config, &mut registry)?;
    let interrupt = Interrupt::listen()?;
    let mut sink = Rows { out: csv::Writer::from_writer(BufWriter::new(interrupt.stdout()?)), unflushed: true };
    let columns = pipeline.schema().columns().iter().map(|column| column.name.as_ref());
    sink.out.write_record(["flow_id"].into_iter().chain(columns)).map_err(csv_error)?;
    for (at, input) in captures.inputs.iter().enumerate() {
        if interrupt.asked() {
            total.interrupt(captures.inputs.len() - at);
            break;
        }
        let name = super::name(input);
        let source = match super::open(input, pipeline.config(), &interrupt) {
            Err(error) if super::is_interrupted(&error) => {
                super::say(&format!("{error:#}"));
                total.interrupt(captures.inputs.len() - at - 1);
                break;
            }
            other => other?,
        };
        let progress = Arc::new(Progress::default());
        let watch = Watch::capture(&progress, source.status().total_bytes);
        let options =
            RunOptions { workers: super::cores(), packets: None, stop: interrupt.flag(), progress: &progress };
        let summary = engine::run(&pipeline, source, options, &mut sink).with_context(|| name.clone())?;
        drop(watch);
        super::warn(&name, &summary);
        total.add(&summary);
    }
    sink.out.flush()?;
    Ok(total.exit())
}

/// Writes labelled rows; they are held in memory until all are known.
fn labelled(args: &Args, pipeline: &Pipeline) -> Result<ExitCode> {
    let mut origins = args.data.origins();
    match args.label {
        Some(label) => origins.push(Origin::Captures(args.inputs.iter().map(|path| (label, path.clone())).collect())),
        None if args.inputs.is_empty() => {}
        None => bail!("captures by themselves have no label; say it with --label, --benign or --malicious"),
    }
    let background = args.data.background()?;
    let mut data = read(&origins, pipeline, background.as_ref(), None)?;
    data.recipe.background_sha256 = background.map(|table| table.sha256().to_owned()).unwrap_or_default();
    let mut out = BufWriter::new(std::io::stdout().lock());
    learn::write_table(&data, pipeline, &mut out)?;
    out.flush()?;
    let partial = !data.unreadable.is_empty();
    Ok(if partial { ExitCode::from(super::PARTIAL) } else { ExitCode::SUCCESS })
}

struct Rows<W: std::io::Write> {
    out: csv::Writer<W>,
    /// Whether there are rows that may not have reached their reader yet.
    unflushed: bool,
}

impl<W: std::io::Write> Sink for Rows<W> {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        let Some(scored) = detection.scored else { return Ok(()) };
        let cell = |value: &f32| if value.is_nan() { String::new() } else { value.to_string() };
        let row = scored.row.iter().map(cell);
        self.unflushed = true;
        self.out.write_record([detection.flow.id.to_string()].into_iter().chain(row)).map_err(csv_error)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if std::mem::take(&mut self.unflushed) { self.out.flush() } else { Ok(()) }
    }
}
