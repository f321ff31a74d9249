use crate::grow::MAX_DEPTH;
use serde::Deserialize;
use veilwatch_classifier_shared::bins::MAX_CUTS;
use veilwatch_core::plugin::{PluginError, within};

/// The settings of the classifier.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecisionTreeSettings {
    /// Decisions from the root to a leaf, at most.
    pub max_depth: usize,
    /// Sum of weights that a leaf needs, with weights scaled to a mean of 1.
    pub min_leaf_weight: f32,
    /// Rows that are drawn by weight, at most.
    pub rows: usize,
    /// Bins each column is cut into.
    pub bins: usize,
}

impl Default for DecisionTreeSettings {
    fn default() -> Self {
        Self { max_depth: 8, min_leaf_weight: 5.0, rows: 10_000, bins: 64 }
    }
}

impl DecisionTreeSettings {
    /// Refuses values outside of their ranges.
    pub(crate) fn within_ranges(&self) -> Result<(), PluginError> {
        within("max_depth", self.max_depth, 1..=MAX_DEPTH)?;
        within("min_leaf_weight", self.min_leaf_weight, 0.0..=1e6)?;
        within("rows", self.rows, 100..=100_000)?;
        within("bins", self.bins, 2..=MAX_CUTS + 1)
    }
}
