//! How long plugins take.
//!
//! A figure is the median of several rounds after a warm-up, and each round is many calls; it takes about two seconds.
//! Plugins are called as a run calls them, in batches, but without the guard and the clock that a run puts around them.

mod material;
mod measure;

use super::show::{self, Format};
use anyhow::{Context, Result};
use material::Material;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;
use veilwatch::plugins::Origin;
use veilwatch_core::abi::{export, import};
use veilwatch_core::plugin::{Instance, PluginError, Settings};

/// Arguments of `veilwatch plugin bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The path of a library, or a plugin in the box such as `feature/splt`.
    #[arg(value_name = "PATH|KIND/NAME")]
    plugin: PathBuf,
    /// Capture whose flows are used, instead of those of the test kit.
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
    /// Its settings as TOML, such as 'key = 1'.
    #[arg(long, value_name = "TOML", default_value = "")]
    settings: String,
    /// Seconds that the calls on one side of the boundary may take in all; past them the program ends.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: u64,
    /// How to write it; by default a table on a terminal and JSON Lines elsewhere.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// One figure.
#[derive(Debug, Serialize)]
struct Figure {
    plugin: String,
    /// Which calls.
    calls: &'static str,
    /// `direct`, `adapter` (linked in, but called as a library is) or `library`.
    boundary: &'static str,
    /// What the nanoseconds are for: a flow, or a byte of payload.
    per: &'static str,
    nanoseconds: f64,
    /// The fastest and the slowest round.
    fastest: f64,
    slowest: f64,
    rounds: usize,
    /// Flows that were used, again and again.
    flows: usize,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let material = Material::new(args.capture.as_deref())?;
    let (_, mut registry) = crate::commands::prepare(None)?;
    let mut figures = Vec::new();
    for (declaration, origin) in super::declarations(&args.plugin, &mut registry)? {
        let sides: &[&'static str] = if origin == Origin::Builtin { &["direct", "adapter"] } else { &["library"] };
        for side in sides {
            let make = || -> Result<Instance, PluginError> {
                let instance = (declaration.create)(Settings::new(&args.settings))?;
                Ok(if *side == "adapter" { import::unwrap(export::wrap(instance)) } else { instance })
            };
            let _bound = bound(declaration.manifest.path(), Duration::from_secs(args.patience));
            let found = export::guard(|| measure::measure(&declaration, side, make()?, &material));
            figures.extend(found.with_context(|| declaration.manifest.path())?);
        }
    }
    if show::for_people(args.format) {
        let cells = |figure: &Figure| {
            let Figure { nanoseconds, fastest, slowest, rounds, .. } = figure;
            [
                figure.plugin.clone(),
                figure.calls.to_owned(),
                figure.boundary.to_owned(),
                format!("{nanoseconds:.1} ns/{}", figure.per),
                format!("{fastest:.1} – {slowest:.1} in {rounds} rounds"),
            ]
        };
        let header = ["plugin", "calls", "boundary", "median", "fastest – slowest"];
        show::text(&show::grid(header, figures.iter().map(cells)))?;
        show::text(&format!(
            "{}; median of rounds of {} ms or more after {} ms of warm-up, one thread, {} build of this program",
            material.words,
            measure::ROUND.as_millis(),
            measure::WARM_UP.as_millis(),
            if cfg!(debug_assertions) { "debug" } else { "release" }
        ))?;
    } else {
        show::lines(&figures)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends the program unless what it returns is dropped in time: a thread that is stuck in a call cannot be ended.
fn bound(plugin: String, limit: Duration) -> Sender<()> {
    let (over, waits) = channel();
    std::thread::spawn(move || {
        if waits.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            crate::commands::complain(&format!(
                "plugin {plugin}: not measured within {} s; look for an endless loop, or raise `--patience`",
                limit.as_secs()
            ));
            std::process::exit(crate::commands::FAILED.into());
        }
    });
    over
}
