use serde::Deserialize;
use veilwatch_classifier_decision_tree::{MAX_DEPTH, MAX_DRAWS};
use veilwatch_classifier_shared::bins::MAX_CUTS;
use veilwatch_classifier_shared::forest::MAX_NODES;
use veilwatch_core::plugin::{PluginError, within};

/// The settings of the classifier.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomForestSettings {
    /// Trees to grow.
    pub trees: usize,
    /// Rows that are drawn for each tree, by weight, at most.
    pub rows: usize,
    /// Share of the columns that each tree may ask for; at least one column.
    pub column_share: f64,
    /// Decisions from the root to a leaf, at most.
    pub max_depth: usize,
    /// Sum of weights that a leaf needs, with weights scaled to a mean of 1.
    pub min_leaf_weight: f32,
    /// Bins each column is cut into.
    pub bins: usize,
}

impl Default for RandomForestSettings {
    fn default() -> Self {
        Self { trees: 100, rows: 3_000, column_share: 0.15, max_depth: 12, min_leaf_weight: 1.0, bins: 64 }
    }
}

impl RandomForestSettings {
    /// Refuses values outside of their ranges.
    pub(crate) fn within_ranges(&self) -> Result<(), PluginError> {
        within("trees", self.trees, 1..=5_000)?;
        within("rows", self.rows, 100..=MAX_DRAWS)?;
        within("column_share", self.column_share, 0.001..=1.0)?;
        within("max_depth", self.max_depth, 1..=MAX_DEPTH)?;
        within("min_leaf_weight", self.min_leaf_weight, 0.0..=1e6)?;
        within("bins", self.bins, 2..=MAX_CUTS + 1)?;
        let leaves = self.rows.min(1 << self.max_depth);
        if self.trees * (2 * leaves - 1) > MAX_NODES {
            return Err(PluginError::settings(format!(
                "{} trees of up to {leaves} leaves could exceed the limit of {MAX_NODES} nodes: lower `trees`, `rows` or \
                 `max_depth`",
                self.trees
            )));
        }
        Ok(())
    }
}
