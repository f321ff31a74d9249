//! Figures of the categories on `config/categories-truth.csv`: `cargo run --release -p veilwatch --example categories`.
//!
//! Needs the data beside the checkout. With the argument `tuned` it also tells each row of that part that came out
//! otherwise; rows of the other part are never told one by one, since whoever reads them tunes by them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    dead_code,
    reason = "a tool for those who work on the tables"
)]

#[path = "../tests/common/categories.rs"]
mod categories;

use categories::{Figures, Outcome, look, truth};
use std::collections::BTreeSet;
use std::path::Path;
use veilwatch::config::Config;
use veilwatch::engine::Pipeline;
use veilwatch::plugins::Registry;
use veilwatch_core::detect::Category;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let data = root.join("../shared/data/train");
    let config = Config::parse(include_str!("../../config/protocols.toml"), "config/protocols.toml").unwrap();
    let pipeline = Pipeline::new(config, &mut Registry::with_builtins().unwrap()).unwrap();
    let outcomes = look(&truth(&root), &data, &pipeline, 2);
    let part = |part: &str| outcomes.iter().filter(|outcome| outcome.row.part == part).collect::<Vec<_>>();
    let (tuned, held) = (part("tuned"), part("held"));
    let known: BTreeSet<&str> = tuned.iter().map(|outcome| outcome.row.server.as_str()).collect();
    let new = held.iter().filter(|outcome| !known.contains(outcome.row.server.as_str())).copied();
    tell("tuned", tuned.iter().copied());
    tell("held", held.iter().copied());
    tell("held, servers that are not among the tuned", new);
    if std::env::args().nth(1).as_deref() == Some("tuned") {
        for outcome in tuned.iter().filter(|outcome| outcome.said != Some(outcome.row.category)) {
            let Outcome { row, said, because, flows, .. } = outcome;
            let said = said.map(|said| said.name());
            println!(
                "{} {}:{} is {}, said {said:?} ({flows} flows) {because}",
                row.capture, row.server, row.port, row.category
            );
        }
    }
}

fn tell<'a>(name: &str, outcomes: impl Iterator<Item = &'a Outcome> + Clone) {
    let captures: BTreeSet<&str> = outcomes.clone().map(|outcome| outcome.row.capture.as_str()).collect();
    println!("{name}: {} captures\n{}", captures.len(), Figures::of(outcomes.clone()).text());
    let sum = |count: fn(&Outcome) -> usize| outcomes.clone().map(count).sum::<usize>();
    println!(
        "  through the whole pipeline: {} flows, {} of them alerts, {} with a category, {} with the right one",
        sum(|outcome| outcome.flows),
        sum(|outcome| outcome.alerts),
        sum(|outcome| outcome.through),
        sum(|outcome| outcome.through_right)
    );
    // Worms are mostly seen by what crosses flows, which no verdict helps.
    let worms = || outcomes.clone().filter(|outcome| outcome.row.category == Category::WormPropagation);
    let told = worms().filter(|outcome| outcome.through_right > 0).count();
    println!("  worm-propagation through the whole pipeline: {told} of {} rows\n", worms().count());
}
