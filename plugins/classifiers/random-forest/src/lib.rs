//! The classifier `random-forest`: many decision trees, each of rows and columns drawn for it, that vote.
//!
//! `linfa-trees` grows the trees. The forest of `linfa-ensemble` is not used: it forgets the weights of rows when it
//! draws, has no shares of votes, and settles ties over a random hash map.

mod settings;
#[cfg(test)]
mod tests;

pub use settings::RandomForestSettings;

use std::num::NonZero;
use std::thread::available_parallelism;
use veilwatch_classifier_decision_tree::{Codes, Growth, grow};
use veilwatch_classifier_shared::forest::{Forest, Shape};
use veilwatch_classifier_shared::learner::{Learner, Learning};
use veilwatch_classifier_shared::sample::Dice;
use veilwatch_core::plugin::{PluginError, TrainingSet};

/// The classifier. It explains by the exact Shapley values of its trees, see `forest` of what classifiers share.
pub type RandomForest = Learning<RandomForestSettings>;

impl Learner for RandomForestSettings {
    type Model = Forest;
    const MAGIC: [u8; 4] = *b"VWRF";
    const VERSION: u8 = 1;
    const NAME: &'static str = "a random forest";

    fn check(&self) -> Result<(), PluginError> {
        self.within_ranges()
    }

    fn learn(&self, data: &TrainingSet<'_>) -> Result<Forest, PluginError> {
        learn(self, data, available_parallelism().map_or(1, NonZero::get))
    }
}

/// Grows the trees in this many threads. Each tree has chance of its own, so their number does not matter.
fn learn(settings: &RandomForestSettings, data: &TrainingSet<'_>, threads: usize) -> Result<Forest, PluginError> {
    let codes = Codes::learn(data, settings.bins);
    let telling: Vec<usize> = codes.telling().collect();
    let mut weights = Vec::with_capacity(data.weights.len());
    let mut total = 0.0;
    for weight in data.weights {
        total += f64::from(*weight);
        weights.push(total);
    }
    let one = |number: usize| tree(settings, &codes, &telling, &weights, Dice::of_part(data.seed, number as u64));
    let threads = threads.clamp(1, settings.trees);
    let grown: Vec<Result<Vec<_>, PluginError>> = std::thread::scope(|scope| {
        let some = |first: usize| (first..settings.trees).step_by(threads).map(one).collect();
        let others: Vec<_> = (1..threads).map(|first| scope.spawn(move || some(first))).collect();
        let failed = |_| Err(PluginError::failed("a thread of the training ended early"));
        let mut all = vec![some(0)];
        all.extend(others.into_iter().map(|thread| thread.join().unwrap_or_else(failed)));
        all
    });
    let grown = grown.into_iter().collect::<Result<Vec<_>, _>>()?;

    let mut forest = Forest::new(data.rows.width(), 0.0)?;
    let mut parts: Vec<_> = grown.into_iter().map(Vec::into_iter).collect();
    for number in 0..settings.trees {
        if let Some(shape) = parts[number % threads].next() {
            forest.push(&shape)?;
        }
    }
    Ok(forest)
}

/// One tree, on rows drawn by weight, each as often as it comes, and on columns drawn for it.
fn tree(
    settings: &RandomForestSettings,
    codes: &Codes<'_>,
    telling: &[usize],
    weights: &[f64],
    mut dice: Dice,
) -> Result<Vec<Shape>, PluginError> {
    let total = weights.last().copied().unwrap_or(0.0);
    let draws = settings.rows.min(weights.len());
    let mut rows: Vec<usize> = (0..draws)
        .map(|_| dice.share() * total)
        .map(|place| weights.partition_point(|sum| *sum <= place).min(weights.len() - 1))
        .collect();
    rows.sort_unstable();
    let drawn: Vec<(usize, u32)> =
        rows.chunk_by(|one, other| one == other).map(|same| (same[0], same.len() as u32)).collect();

    let mut columns = telling.to_vec();
    let count = ((columns.len() as f64 * settings.column_share).ceil() as usize).min(columns.len());
    for at in 0..count {
        let other = at + dice.below(columns.len() - at);
        columns.swap(at, other);
    }
    columns.truncate(count);
    columns.sort_unstable();

    let growth = Growth {
        max_depth: settings.max_depth,
        min_leaf: settings.min_leaf_weight * draws as f32 / weights.len() as f32,
    };
    // Its share of the vote: that of the malicious rows in the leaf, as if there were half a row more of either class.
    let trees = settings.trees as f64;
    let share = |[benign, malicious]: [f64; 2]| (malicious + 0.5) / (benign + malicious + 1.0) / trees;
    grow(codes, &drawn, &columns, growth, share)
}

veilwatch_core::declare_plugins!(
    classifier "random-forest" "decision trees of rows and columns drawn for each, that vote": RandomForest
);
