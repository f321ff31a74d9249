use serde::Deserialize;
use veilwatch_classifier_decision_tree::MAX_DRAWS;
use veilwatch_classifier_shared::bins::MAX_CUTS;
use veilwatch_core::plugin::{PluginError, within};

/// The settings of the classifier.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaBoostSettings {
    /// Trees to grow, at most: it ends early with one that is always right, or no better than chance.
    pub trees: usize,
    /// How strongly each tree counts, and changes what the next one sees.
    pub learning_rate: f64,
    /// Decisions from the root to a leaf, at most.
    pub max_depth: usize,
    /// Drawn rows that a leaf needs.
    pub min_leaf_rows: f32,
    /// Rows that are drawn by weight, at most, and again for each tree.
    pub rows: usize,
    /// Bins each column is cut into.
    pub bins: usize,
}

impl Default for AdaBoostSettings {
    fn default() -> Self {
        Self { trees: 50, learning_rate: 0.5, max_depth: 2, min_leaf_rows: 2.0, rows: 2_000, bins: 32 }
    }
}

impl AdaBoostSettings {
    /// Refuses values outside of their ranges.
    pub(crate) fn within_ranges(&self) -> Result<(), PluginError> {
        within("trees", self.trees, 1..=5_000)?;
        within("learning_rate", self.learning_rate, 1e-3..=2.0)?;
        within("max_depth", self.max_depth, 1..=6)?;
        within("min_leaf_rows", self.min_leaf_rows, 1.0..=1e6)?;
        within("rows", self.rows, 100..=MAX_DRAWS)?;
        within("bins", self.bins, 2..=MAX_CUTS + 1)
    }
}
