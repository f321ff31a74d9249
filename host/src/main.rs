//! The command `veilwatch`.

mod commands;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Finds malicious traffic inside encryption, without decrypting it.
#[derive(Debug, Parser)]
#[command(name = "veilwatch", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read captures and say which flows are malicious, and why.
    Detect(commands::detect::Args),
    /// Watch live interfaces, say which flows are malicious, and write their packets down.
    Capture(commands::capture::Args),
    /// List the interfaces that can be captured on.
    Interfaces(commands::interfaces::Args),
    /// Look into a capture or an interface, packet by packet, in the terminal.
    Analyse(commands::analyse::Args),
    /// Show single packets of a capture, header by header.
    Packets(commands::packets::Args),
    /// Write the feature rows of captures as CSV.
    Features(commands::features::Args),
    /// Add the feature rows of labelled captures to a table that models are trained on.
    Collect(commands::collect::Args),
    /// Train a model on labelled captures.
    Train(commands::train::Args),
    /// Judge a pipeline's classifier on labelled captures, families left out one by one.
    Evaluate(commands::evaluate::Args),
    /// List, compare, sign and verify models, say which of yours is the champion, and whether one still fits the traffic.
    #[command(subcommand)]
    Model(commands::model::Args),
    /// Check a pipeline's configuration, or print an example.
    #[command(subcommand)]
    Config(commands::config::Args),
    /// List and check the tables of numbers, file types and warnings.
    #[command(subcommand)]
    Tables(commands::tables::Args),
    /// List, check and measure plugins, and begin new ones.
    #[command(subcommand)]
    Plugin(commands::plugin::Args),
}

fn main() -> ExitCode {
    // A library is tried in a child of this program, which has no other business.
    if let Some(code) = veilwatch::plugins::probe_main() {
        return code;
    }
    commands::panics_in_one_line();
    let outcome = match Cli::parse().command {
        Command::Detect(args) => commands::detect::run(&args),
        Command::Capture(args) => commands::capture::run(&args),
        Command::Interfaces(args) => commands::interfaces::run(&args),
        Command::Analyse(args) => commands::analyse::run(&args),
        Command::Packets(args) => commands::packets::run(&args),
        Command::Features(args) => commands::features::run(&args),
        Command::Collect(args) => commands::collect::run(&args),
        Command::Train(args) => commands::train::run(&args),
        Command::Evaluate(args) => commands::evaluate::run(&args),
        Command::Model(args) => commands::model::run(&args),
        Command::Config(args) => commands::config::run(&args),
        Command::Tables(args) => commands::tables::run(&args),
        Command::Plugin(args) => commands::plugin::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        // A reader that has seen enough (`| head`) is no failure worth a message.
        if commands::is_broken_pipe(&error) {
            return ExitCode::from(commands::UNREAD);
        }
        commands::complain(&format!("{error:#}"));
        ExitCode::from(commands::FAILED)
    })
}
