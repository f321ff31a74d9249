//! The report for a terminal.

use super::tables::{self, Table};
use crate::evaluate::{Judgement, Level};
use crate::output::plain;
use std::fmt::Write;

/// The report as text. Names of captures and families are whoever's who made them: what a terminal would obey is escaped.
pub fn text(judgement: &Judgement) -> String {
    let mut out = String::new();
    let counts = &judgement.data;
    let _ = writeln!(
        out,
        "{} captures; {} malicious, {} benign and {} background flows ({} unlabelled); {} columns; {}",
        counts.captures,
        counts.malicious_flows,
        counts.benign_flows,
        counts.background_flows,
        counts.unlabelled_flows,
        counts.columns,
        judgement.classifier
    );
    if let Some(audit) = &judgement.audit {
        put(&mut out, &tables::audit(audit));
    }
    match tables::headline(judgement) {
        Some(table) => put(&mut out, &table),
        None if !judgement.withheld.is_empty() => {
            let _ = writeln!(out, "\nThe headline is withheld, because {}:", tables::why_withheld(judgement));
            for why in &judgement.withheld {
                let _ = writeln!(out, "  {}", plain(why));
            }
        }
        None => {}
    }
    if !judgement.protocols.is_empty() {
        put(&mut out, &tables::protocols(judgement));
        for protocol in &judgement.protocols {
            let _ = writeln!(out, "  {}: {}", protocol.name, protocol.words);
        }
    }
    if let Some(family) = judgement.protocols.first() {
        Level::ALL
            .into_iter()
            .filter_map(|level| tables::level(judgement, family, level))
            .for_each(|table| put(&mut out, &table));
    }
    tables::transfer(judgement).iter().for_each(|table| put(&mut out, table));
    tables::others(judgement).iter().for_each(|table| put(&mut out, table));
    let _ = writeln!(out, "\n{}", super::tables::variants(judgement));
    out
}

fn put(out: &mut String, table: &Table) {
    let _ = writeln!(out, "\n{}", plain(&table.title));
    if !table.about.is_empty() {
        let _ = writeln!(out, "{}", table.about);
    }
    let mut drawn = comfy_table::Table::new();
    drawn.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    drawn.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
    drawn.set_header(table.head.iter().map(|cell| plain(cell)));
    table.rows.iter().for_each(|row| _ = drawn.add_row(row.iter().map(|cell| plain(cell))));
    let _ = writeln!(out, "{drawn}");
}
