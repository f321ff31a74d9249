//! The classifier `decision-tree`: one tree of decisions over single columns.
//!
//! `linfa-trees` grows it; the flat forest that classifiers share scores it.

mod grow;
mod settings;
#[cfg(test)]
mod tests;

pub use grow::{Codes, Growth, MAX_DEPTH, MAX_DRAWS, flat, grow, never_tied};
pub use settings::DecisionTreeSettings;

use veilwatch_classifier_shared::forest::Forest;
use veilwatch_classifier_shared::learner::{Learner, Learning};
use veilwatch_classifier_shared::sample::Sample;
use veilwatch_core::plugin::{PluginError, TrainingSet};

/// The classifier. It explains by the exact Shapley values of its tree, see `forest` of what classifiers share.
pub type DecisionTree = Learning<DecisionTreeSettings>;

impl Learner for DecisionTreeSettings {
    type Model = Forest;
    const MAGIC: [u8; 4] = *b"VWDT";
    const VERSION: u8 = 1;
    const NAME: &'static str = "a decision tree";

    fn check(&self) -> Result<(), PluginError> {
        self.within_ranges()
    }

    fn learn(&self, data: &TrainingSet<'_>) -> Result<Forest, PluginError> {
        let codes = Codes::learn(data, self.bins);
        let rows = self.rows.min(data.rows.len()).min(MAX_DRAWS.max(codes.most_draws()));
        let drawn = Sample::by_weight(data.labels, data.weights, rows, data.seed).rows;
        let growth =
            Growth { max_depth: self.max_depth, min_leaf: self.min_leaf_weight * rows as f32 / data.rows.len() as f32 };
        let columns: Vec<usize> = codes.telling().collect();
        let mut forest = Forest::new(data.rows.width(), 0.0)?;
        // As if each leaf had one row more of either class.
        let log_odds = |[benign, malicious]: [f64; 2]| ((malicious + 1.0) / (benign + 1.0)).ln();
        forest.push(&grow(&codes, &drawn, &columns, growth, log_odds)?)?;
        Ok(forest)
    }
}

veilwatch_core::declare_plugins!(
    classifier "decision-tree" "one tree of decisions over single columns": DecisionTree
);
