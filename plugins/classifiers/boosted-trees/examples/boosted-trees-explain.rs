//! How long an exact explanation takes:
//! `cargo run --release -p veilwatch-classifier-boosted-trees --example boosted-trees-explain`.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "it prints what it measures")]

use std::time::Instant;
use veilwatch_classifier_boosted_trees::BoostedTreesSettings;
use veilwatch_classifier_shared::learner::Learning;
use veilwatch_classifier_shared::testing::{Lesson, taught};
use veilwatch_core::plugin::Classifier;

/// Rows that are explained.
const ROWS: usize = 400;

fn main() {
    // As many columns as the default pipeline has, and the default settings; then as many trees as an ensemble may have.
    let lesson = Lesson::new(4_000, 485, 0.2, 1);
    for trees in [120, 600] {
        let settings = format!("trees = {trees}\nmin_leaf_weight = 0.01");
        let classifier: Learning<BoostedTreesSettings> = taught(&settings, &lesson, 1);
        let forest = classifier.model().unwrap();
        let nodes: usize = forest.shapes().map(|tree| tree.len()).sum();
        let mut parts = vec![0.0; lesson.width];
        let mut took: Vec<f64> = (lesson.rows().iter().take(ROWS))
            .map(|row| {
                let start = Instant::now();
                classifier.explain(row, &mut parts).unwrap();
                start.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        took.sort_by(f64::total_cmp);
        println!(
            "{trees} trees, {nodes} nodes: {:.0} µs an explanation in the median, {:.0} µs at most of 95 %",
            took[ROWS / 2],
            took[ROWS * 95 / 100]
        );
    }
}
