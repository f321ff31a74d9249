//! How listings are written: a table for people, JSON Lines for programs.

use anyhow::Result;
use clap::ValueEnum;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;
use std::io::{BufWriter, IsTerminal, Write};
use veilwatch::output::fit;

/// How to write it; by default a table on a terminal and JSON Lines elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::commands) enum Format {
    /// For people.
    Table,
    /// One JSON object a line.
    #[value(alias = "jsonl")]
    Json,
}

/// Whether a person reads.
pub(in crate::commands) fn for_people(format: Option<Format>) -> bool {
    format.map_or_else(|| std::io::stdout().is_terminal(), |format| format == Format::Table)
}

/// A table of these cells.
pub(in crate::commands) fn grid<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Table {
    let mut grid = Table::new();
    grid.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    fit(&mut grid, std::io::stdout().is_terminal(), 120);
    for row in rows {
        grid.add_row(row);
    }
    grid
}

/// Writes one JSON object a line.
pub(in crate::commands) fn lines<T: Serialize>(items: &[T]) -> Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    for item in items {
        writeln!(out, "{}", serde_json::to_string(item)?)?;
    }
    out.flush()?;
    Ok(())
}

/// Writes a text for people.
pub(in crate::commands) fn text(text: &dyn std::fmt::Display) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}
