//! The subcommands: arguments in, library called, text out.

pub(crate) mod analyse;
pub(crate) mod capture;
pub(crate) mod collect;
pub(crate) mod config;
pub(crate) mod detect;
pub(crate) mod evaluate;
pub(crate) mod features;
mod feedback;
pub(crate) mod interfaces;
mod interrupt;
mod learning;
pub(crate) mod model;
mod origin;
pub(crate) mod packets;
pub(crate) mod plugin;
pub(crate) mod tables;
pub(crate) mod train;
mod watch;

use anyhow::Result;
use interrupt::Interrupt;
use std::io::Write;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use veilwatch::config::Config;
use veilwatch::engine::{PluginTime, RunError, Summary};
use veilwatch::output::plain;
use veilwatch::plugins::{OnOverdue, Probing, Registry};
use veilwatch::query::QueryError;
use veilwatch::source::inputs::{self, Input, Inputs};
use veilwatch::source::{Source, SourceError};

/// Exit status: nothing could be analysed, or the run had to end.
pub(crate) const FAILED: u8 = 2;
/// Exit status: nobody reads the output any more. It is what a shell says of a program that SIGPIPE ended.
pub(crate) const UNREAD: u8 = 128 + 13;
/// Exit status: the result is partial.
pub(crate) const PARTIAL: u8 = 3;
/// Exit status: a final verdict is malicious.
pub(crate) const MALICIOUS: u8 = 1;

/// Which packets of the captures count.
#[derive(Debug, Clone, clap::Args)]
struct FilterArgs {
    /// Look only at packets that this expression lets through, in tcpdump's language (needs libpcap); overrides the
    /// configuration's, and `''` lifts it. The others keep their numbers.
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
}

impl FilterArgs {
    /// Has it in a configuration.
    fn apply(&self, config: &mut Config) {
        if let Some(filter) = &self.filter {
            config.input.filter.clone_from(filter);
        }
    }
}

/// The configuration that was asked for, and the plugins in the box.
fn prepare(path: Option<&Path>) -> Result<(Config, Registry)> {
    Ok((config(path)?, registry()?))
}

/// The configuration that was asked for.
fn config(path: Option<&Path>) -> Result<Config> {
    Ok(match path {
        Some(path) => Config::load(path)?,
        None => Config::builtin()?,
    })
}

/// The plugins in the box, and a careful look at others.
fn registry() -> Result<Registry> {
    Ok(careful(Registry::with_builtins()?))
}

/// A registry that knows no plugin yet.
fn without_plugins() -> Registry {
    careful(Registry::default())
}

/// Tries libraries in a child of this program, and ends it where a call does not come back.
fn careful(registry: Registry) -> Registry {
    // Where this program cannot be found again, libraries are loaded untried.
    let probing = std::env::current_exe().map_or(Probing::None, Probing::Child);
    bounded(registry.probing(probing))
}

/// Ends this program where a call does not come back.
fn bounded(registry: Registry) -> Registry {
    registry.on_overdue(OnOverdue::new(|overdue| {
        // A thread that is stuck in a call cannot be ended but with the process.
        complain(overdue);
        std::process::exit(FAILED.into());
    }))
}

/// Opens a capture, or standard input.
fn open(input: &Input, config: &Config, interrupt: &Interrupt) -> Result<Source> {
    let reader = match input {
        Input::Stdin => interrupt.stdin(),
        Input::File(path) if path.metadata().is_ok_and(|found| found.file_type().is_fifo()) => interrupt.pipe(path),
        Input::File(path) => return Ok(Source::open(path, &config.input)?),
    };
    let reader = reader.map_err(|why| SourceError::Open { name: name(input), why })?;
    Ok(Source::from_reader(name(input), reader, &config.input)?)
}

/// The folder that a file lies in, or is to lie in.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// What a capture is called in results and messages.
fn name(input: &Input) -> String {
    match input {
        Input::Stdin => "standard input".into(),
        Input::File(path) => path.display().to_string(),
    }
}

/// The captures that files and folders stand for; folders that cannot be read are named and counted as failed.
fn captures(paths: &[PathBuf], total: &mut Total) -> Result<Inputs> {
    let found = inputs::expand(paths)?;
    for error in &found.unreadable {
        complain(error);
        total.failed += 1;
    }
    Ok(found)
}

/// Says a line on standard error, if anybody still reads there.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Has a panic told in one line without what could steer a terminal, and the first ones only: a plugin that panics may do so
/// over every flow, its words may be an attacker's, and what it comes to is told at the end.
pub(crate) fn panics_in_one_line() {
    const TOLD: u32 = 5;
    static SEEN: AtomicU32 = AtomicU32::new(0);
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let words = panic.payload_as_str().unwrap_or("without a message");
        if SEEN.fetch_add(1, Ordering::Relaxed) < TOLD {
            say(&format!("panicked at {}: {}", plain(&place), plain(words)));
        }
    }));
}

/// Tells of an error on standard error; file names in it may be an attacker's.
pub(crate) fn complain(error: &dyn std::fmt::Display) {
    say(&format!("error: {}", plain(&error.to_string())));
}

/// Tells what is wrong with an expression of `--where`, and where.
fn refuse(error: &QueryError) -> ExitCode {
    error.to_string().lines().enumerate().for_each(|(at, line)| match at {
        0 => complain(&line),
        _ => say(line),
    });
    ExitCode::from(FAILED)
}

/// Tells what a person must know of a run beside its result.
fn warn(name: &str, summary: &Summary) {
    for line in summary.warnings() {
        say(&format!("{}: {}", plain(name), plain(&line)));
    }
}

/// Tells what each plugin took, longest first.
fn tell_times(name: &str, summary: &Summary) {
    let mut times = summary.plugin_times.clone();
    times.sort_by_key(|time| std::cmp::Reverse(time.total));
    for PluginTime { id, calls, total } in times {
        say(&format!("{}: plugin `{id}` took {:.1} ms in {calls} calls", plain(name), total.as_secs_f64() * 1e3));
    }
}

/// What a command line comes to, over all captures.
#[derive(Debug, Default)]
struct Total {
    analysed: usize,
    failed: usize,
    partial: bool,
    malicious: bool,
    interrupted: bool,
}

impl Total {
    /// Counts a run that came to an end.
    fn add(&mut self, summary: &Summary) {
        if summary.is_blind() {
            self.failed += 1;
        } else {
            self.analysed += 1;
        }
        self.partial |= summary.is_partial();
        self.malicious |= summary.malicious > 0;
        self.interrupted |= summary.interrupted;
    }

    /// Counts that somebody asked for the end when so many captures were left, of which nothing was found so far.
    fn interrupt(&mut self, left: usize) {
        self.interrupted = true;
        self.partial = true;
        if left > 0 {
            say(&format!("interrupted: {left} captures were not read"));
        }
    }

    /// The exit status, as `host/OUTPUT.md` says.
    fn exit(&self) -> ExitCode {
        // An interrupted run did what it was told, even before there was anything to look at.
        ExitCode::from(if self.analysed == 0 && !self.interrupted {
            FAILED
        } else if self.malicious {
            MALICIOUS
        } else if self.partial || self.failed > 0 {
            PARTIAL
        } else {
            0
        })
    }
}

/// Cores of this machine.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Whether an error is only that somebody asked for the end before there was anything of a capture.
fn is_interrupted(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(SourceError::Interrupted { .. }))
}

/// Whether an error is only that nobody reads any more.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let kind = match cause.downcast_ref() {
            Some(RunError::Output(inner)) => Some(inner.kind()),
            _ => cause.downcast_ref().map(std::io::Error::kind),
        };
        let json = || cause.downcast_ref().and_then(serde_json::Error::io_error_kind);
        kind.or_else(json) == Some(std::io::ErrorKind::BrokenPipe)
    })
}
