//! `veilwatch model`: what models are worth where they are used.

mod drift;

use anyhow::Result;
use std::process::ExitCode;

/// Subcommands of `veilwatch model`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    /// Tell whether traffic is still what a model was made for.
    ///
    /// The exit status is 0 where nothing has drifted, 1 where something has, 2 where it could not be told.
    Drift(drift::Args),
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match args {
        Args::Drift(args) => drift::run(args),
    }
}
