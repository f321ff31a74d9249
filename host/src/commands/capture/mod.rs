//! `veilwatch capture`: the pipeline on live interfaces.
//!
//! | module | story |
//! |---|---|
//! | `looks` | what a person sees meanwhile |
//! | `log` | a result in a file that others may move away |
//! | `reload` | another configuration or model without losing a packet |
//! | `metrics` | figures for Prometheus |

mod log;
mod looks;
mod metrics;
mod reload;

use super::interrupt::Interrupt;
use super::{FilterArgs, Total};
use anyhow::{Context, Result};
use clap::ValueEnum;
use log::Log;
use looks::Looks;
use metrics::Metrics;
use reload::{Reloader, Signals, Watcher};
use std::io::{BufWriter, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use veilwatch::config::Config;
use veilwatch::engine::{self, Pipeline, Progress, RunOptions, Summary};
use veilwatch::live::{FileRing, Live, LiveCounts, Reach, Recording, Wanted, confine};
use veilwatch::output::{JsonSink, LiveSink, Selection, summary_text};
use veilwatch::source::Source;

/// Arguments of `veilwatch capture`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Interface to capture on, as `veilwatch interfaces` lists them; several are captured together, and `any` is all that are up.
    #[arg(short, long = "interface", value_name = "INTERFACE", required = true)]
    interfaces: Vec<String>,
    /// Pipeline to run instead of the default one: a file, or one in the box.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Model to use instead of the configuration's: `default`, `registry:NAME`, or a folder made by `veilwatch train`.
    #[arg(long, value_name = "FOLDER")]
    model: Option<String>,
    /// Capture only packets that this expression lets through, in tcpdump's language (needs libpcap).
    #[command(flatten)]
    filter: FilterArgs,
    /// Write the packets down too: as pcapng, or as classic pcap where the name ends with `.pcap`. A file that is there
    /// already stays as it is.
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Write many files in turn, and keep the newest: the size of each and how many, such as `100M×10`.
    #[arg(long, value_name = "SIZE×COUNT", requires = "write")]
    ring: Option<FileRing>,
    /// Stop after so many packets.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    packets: Option<u64>,
    /// Stop after this time, such as `90s`, `10m` or `1h 30m`.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Have the interfaces take packets that are for others.
    #[arg(long)]
    promiscuous: bool,
    /// How to write the result; by default a table on a terminal and JSON Lines elsewhere.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Append the result to a file, as JSON Lines; SIGHUP has it opened anew, so that it can be moved away.
    #[arg(short, long, value_name = "FILE", conflicts_with = "format")]
    output: Option<PathBuf>,
    /// Write all flows, not only alerts.
    #[arg(long, conflicts_with = "min_score")]
    all: bool,
    /// Write flows that score at least this much, whatever their verdict.
    #[arg(long, value_name = "SCORE", value_parser = super::detect::score)]
    min_score: Option<f64>,
    /// Serve figures for Prometheus under `/metrics`, at an address such as `127.0.0.1:9464`.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Threads that decode and assemble flows [default: the cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for each alert, for people.
    Table,
    /// One JSON object a line, the last one sums up.
    Jsonl,
}

/// A time as one types it.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "give a time such as 90s, 10m or 1h 30m".to_owned();
    let duration: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(duration).ok().filter(|duration| !duration.is_zero()).ok_or_else(wrong)
}

impl Args {
    /// The configuration that was asked for; also when it is asked for again.
    fn config(&self) -> Result<Config> {
        let mut config = super::config(self.config.as_deref())?;
        if let Some(model) = &self.model {
            config.model.clone_from(model);
        }
        self.filter.apply(&mut config);
        Ok(config)
    }

    fn selection(&self) -> Selection {
        Selection { all: self.all, min_score: self.min_score }
    }

    fn wanted(&self, config: &Config) -> Wanted {
        Wanted {
            interfaces: self.interfaces.clone(),
            promiscuous: self.promiscuous,
            filter: config.input.filter.clone(),
            recording: self.write.clone().map(|path| Recording { path, ring: self.ring }),
            packets: self.packets,
            duration: self.duration,
            bytes: None,
        }
    }

    /// What the process needs once it is confined: to write files in turn, and to read its configuration again.
    fn reach(&self, config: &Config) -> Reach {
        let mut read = vec![PathBuf::from("/proc/self/statm")];
        // Not only what is there now: a file that another one takes the place of is to be found, and where a link leads.
        let mut with_folder = |path: &Path| {
            let led = path.canonicalize().ok();
            read.extend([Some(path), led.as_deref()].into_iter().flatten().map(super::folder_of));
        };
        if let Some(path) = self.config.as_deref().filter(|path| path.exists()) {
            with_folder(path);
        }
        let models = [&config.model, &config.shadow.model].into_iter().filter_map(|model| config.models.needed(model));
        models.for_each(|model| with_folder(&model));
        config.tables.folders.iter().for_each(|tables| with_folder(tables));
        if !config.models.folder.as_os_str().is_empty() {
            with_folder(&config.models.folder);
            read.push(config.models.folder.clone());
        }
        // One file that is open needs no folder.
        let write = self.write.as_ref().filter(|_| self.ring.is_some());
        Reach {
            read,
            write: write.into_iter().chain(&self.output).map(|path| super::folder_of(path)).collect(),
            libraries: config.plugin.iter().filter_map(|entry| entry.path.clone()).collect(),
            library_folders: config.plugins.folders.clone(),
            opens_again: false,
        }
    }
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    // Before anything that takes a while: whoever sends a signal meanwhile means it.
    let signals = Signals::listen(Interrupt::listen()?)?;
    let workers = args.workers.map_or_else(super::cores, usize::from);
    let config = args.config()?;
    let mut registry = super::registry()?;
    let mut pipeline = Arc::new(Pipeline::new(without_filter(config.clone()), &mut registry)?);
    let terminal = std::io::stdout().is_terminal();
    let format = match (args.format, &args.output) {
        (Some(format), _) => format,
        (None, None) if terminal => Format::Table,
        _ => Format::Jsonl,
    };
    let looks = Looks::new();
    let metrics = args.metrics.map(metrics::listen).transpose()?;
    let log = args.output.as_deref().map(Log::open).transpose()?;
    let live = Live::open(&args.wanted(&config), &config.live, looks.teller())?;
    if config.live.sandbox {
        confine(&args.reach(&config))?;
    }
    let progress = Arc::new(Progress::default());
    let control = live.control();
    let lost = log.as_ref().map(Log::lost).unwrap_or_default();
    let metrics = Metrics::new(Arc::clone(&progress), control.clone(), Arc::clone(&lost)).serve(metrics)?;
    let _look = looks.begin(&progress, &control, live.name());
    let reopen = log.as_ref().map(Log::reopener);
    let reloader = Reloader::new(args, &config, &pipeline, reopen, metrics, Box::new(looks.teller()));
    let watcher = Watcher::start(reloader, &signals, control.clone())?;
    let mut out: Box<dyn Write + '_> = match log {
        Some(log) => Box::new(BufWriter::new(log)),
        None => Box::new(BufWriter::new(looks.around(signals.stdout()?))),
    };
    (looks.teller())(&format!("capturing on {}; Ctrl-C ends it", live.name()));
    let mut total = Total::default();
    let never = AtomicBool::new(false);
    let mut before = LiveCounts::default();
    loop {
        // In this order: whoever has another pipeline ready after the first line has this run end at once.
        let source = live.source();
        if let Some(next) = watcher.next() {
            pipeline = next;
        }
        let run = Run {
            args,
            format,
            colour: terminal,
            workers,
            live: &live,
            before: &before,
            progress: &progress,
            stop: &never,
        };
        let summary = run.run(&pipeline, source, &mut out)?;
        total.add(&summary);
        if live.has_ended() {
            break;
        }
        before = control.counts();
    }
    out.flush()?;
    drop(out);
    let lost = lost.load(Ordering::Relaxed);
    if lost > 0 {
        super::say(&format!("{lost} pieces of the result could not be written"));
        total.partial = true;
    }
    Ok(total.exit())
}

/// The filter is the interface's: what it keeps out is not there.
fn without_filter(mut config: Config) -> Config {
    config.input.filter.clear();
    config
}

/// One run of the engine: until the end, or until there is another pipeline.
struct Run<'a> {
    args: &'a Args,
    format: Format,
    colour: bool,
    workers: usize,
    live: &'a Live,
    /// What was counted when it began.
    before: &'a LiveCounts,
    progress: &'a Progress,
    stop: &'a AtomicBool,
}

impl Run<'_> {
    fn run(&self, pipeline: &Pipeline, source: Source, out: &mut dyn Write) -> Result<Summary> {
        let options = RunOptions { workers: self.workers, packets: None, stop: self.stop, progress: self.progress };
        let settings = &pipeline.config().output;
        let selection = self.args.selection();
        let name = self.live.name();
        let mut summary;
        match self.format {
            Format::Jsonl => {
                let sink = JsonSink::new(out, selection, None, settings.text_bytes);
                let mut sink = sink.at_most(settings.lines);
                summary = engine::run(pipeline, source, options, &mut sink).with_context(|| name.to_owned())?;
                self.sum_up(&mut summary, sink.not_written());
                sink.summary(&summary)?;
                super::warn(name, &summary);
            }
            Format::Table => {
                let sink = LiveSink::new(&mut *out, selection, self.colour, settings.text_bytes);
                let mut sink = sink.at_most(settings.lines);
                summary = engine::run(pipeline, source, options, &mut sink).with_context(|| name.to_owned())?;
                let not_written = sink.not_written();
                self.sum_up(&mut summary, not_written);
                write!(out, "{}", summary_text(name, "live", &summary))?;
                out.flush()?;
            }
        }
        Ok(summary)
    }

    fn sum_up(&self, summary: &mut Summary, not_written: u64) {
        summary.live = Some(self.live.control().counts().since(self.before));
        summary.not_written = not_written;
    }
}
