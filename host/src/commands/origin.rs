//! The origin's table of classifiers, beside ours by its own protocol.

use super::train::{Folds, imported};
use anyhow::Result;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use veilwatch::learn::origin::{self, Entry, TABLE, WORTH};
use veilwatch::plugins::Registry;

/// Prints it.
pub(super) fn run(good: &Path, bad: &Path, seed: u64, json: bool) -> Result<ExitCode> {
    let registry = super::careful(Registry::with_builtins()?);
    let data = imported(good, bad)?;
    let watch = Folds::watch();
    // What is not in the table is in the box all the same.
    let ours = Entry {
        name: "boosted trees",
        path: "classifier/boosted-trees",
        settings: "",
        balanced: false,
        theirs: (f64::NAN, f64::NAN),
    };
    let entries: Vec<Entry> = TABLE.into_iter().chain([ours]).collect();
    let mut rows = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let figures = match registry.find(entry.path) {
            Some(_) => Some(origin::score(&registry, (entry.path, entry.settings), entry.balanced, &data, seed)?),
            None => None,
        };
        rows.push((*entry, figures));
        watch.set(at + 1, entries.len());
    }
    drop(watch);
    let mut out = std::io::stdout().lock();
    let known = |percent: f64| (!percent.is_nan()).then_some(percent);
    if json {
        let row = |(entry, figures): &(Entry, Option<_>)| {
            serde_json::json!({
                "name": entry.name,
                "classifier": entry.path,
                "figures": figures,
                "origin_f1": known(entry.theirs.0).map(|percent| percent / 100.0),
                "origin_precision": known(entry.theirs.1).map(|percent| percent / 100.0),
            })
        };
        let rows: Vec<_> = rows.iter().map(row).collect();
        serde_json::to_writer_pretty(&mut out, &serde_json::json!({ "table": rows, "seed": seed, "worth": WORTH }))?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["classifier", "F1 %", "precision %", "F1 % there", "precision % there"]);
    let percent = |number: Option<f64>| number.map_or("-".to_owned(), |number| format!("{number:.2}"));
    for (entry, figures) in rows {
        let [f1, precision] = match figures {
            Some(figures) => [figures.f1, figures.precision].map(|share| percent(Some(100.0 * share))),
            None => ["not in this build".to_owned(), String::new()],
        };
        let (their_f1, their_precision) = entry.theirs;
        table.add_row([
            entry.name.to_owned(),
            f1,
            precision,
            percent(known(their_f1)),
            percent(known(their_precision)),
        ]);
    }
    writeln!(
        out,
        "weighted by class, mean of five folds within 40 % of the conversations, as the origin printed them"
    )?;
    writeln!(out, "{table}\n{WORTH}")?;
    Ok(ExitCode::SUCCESS)
}
