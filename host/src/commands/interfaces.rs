use anyhow::{Context, Result};
use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use veilwatch::live::{Interface, interfaces};
use veilwatch::output::{fit, plain};

/// Arguments of `veilwatch interfaces`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    up: bool,
    running: bool,
    kind: &'a str,
    addresses: Vec<String>,
}

impl<'a> Line<'a> {
    fn of(interface: &'a Interface) -> Self {
        Self {
            name: &interface.name,
            up: interface.is_up,
            running: interface.is_running,
            kind: interface.kind_word(),
            addresses: interface.addresses.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Runs it: a table on a terminal, JSON Lines elsewhere.
pub(crate) fn run(_: &Args) -> Result<ExitCode> {
    let all = interfaces().context("the interfaces cannot be listed")?;
    let mut out = std::io::stdout().lock();
    if !out.is_terminal() {
        for interface in &all {
            serde_json::to_writer(&mut out, &Line::of(interface))?;
            writeln!(out)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    fit(&mut table, true, 100);
    table.set_header(["interface", "state", "kind", "addresses"]);
    for interface in &all {
        let state = match (interface.is_up, interface.is_running) {
            (true, true) => "up",
            (true, false) => "up, nothing connected",
            (false, _) => "down",
        };
        let addresses: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
        table.add_row([&plain(&interface.name), state, interface.kind_word(), &addresses.join("\n")]);
    }
    writeln!(out, "{table}")?;
    Ok(ExitCode::SUCCESS)
}
