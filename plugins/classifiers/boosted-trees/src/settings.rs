use serde::Deserialize;
use veilwatch_classifier_shared::forest::{MAX_DEPTH, MAX_NODES, MAX_NODES_PER_TREE, MAX_TREES};
use veilwatch_core::plugin::{PluginError, within};

/// The settings of the classifier. The defaults suit some thousand rows of a few hundred columns, of which few are
/// malicious.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BoostedTreesSettings {
    /// Trees to grow.
    pub trees: usize,
    /// Share of each tree's answer that counts; the smaller, the more trees it takes.
    pub learning_rate: f32,
    /// Decisions from the root to a leaf, at most.
    pub max_depth: usize,
    /// Leaves of a tree, at most. When depth alone allows more, the heaviest nodes are split first.
    pub max_leaves: usize,
    /// Evidence a leaf needs: the sum of weight × p(1 − p) over its rows, with weights scaled to a mean of 1.
    pub min_leaf_weight: f32,
    /// How strongly leaf values are drawn towards zero.
    pub l2: f32,
    /// Gain a split needs.
    pub gamma: f32,
    /// Share of the rows each tree is grown on.
    pub row_subsample: f32,
    /// Share of the columns each tree is grown on; at least one column.
    pub column_subsample: f64,
    /// Bins each column is cut into when splits are searched.
    pub bins: u16,
}

impl Default for BoostedTreesSettings {
    fn default() -> Self {
        Self {
            trees: 120,
            learning_rate: 0.12,
            max_depth: 6,
            max_leaves: 64,
            min_leaf_weight: 0.2,
            l2: 1.0,
            gamma: 0.0,
            row_subsample: 0.8,
            column_subsample: 0.6,
            bins: 256,
        }
    }
}

impl BoostedTreesSettings {
    /// Refuses values outside of their ranges.
    pub(crate) fn within_ranges(&self) -> Result<(), PluginError> {
        within("trees", self.trees, 1..=MAX_TREES)?;
        within("learning_rate", self.learning_rate, 0.001..=1.0)?;
        within("max_depth", self.max_depth, 1..=MAX_DEPTH)?;
        within("max_leaves", self.max_leaves, 2..=MAX_NODES_PER_TREE.div_ceil(2))?;
        // Below this, rounding in the library's sums can make it split off an empty child.
        within("min_leaf_weight", self.min_leaf_weight, 0.01..=1e6)?;
        within("l2", self.l2, 0.0..=1e6)?;
        within("gamma", self.gamma, 0.0..=1e6)?;
        within("row_subsample", self.row_subsample, 0.05..=1.0)?;
        within("column_subsample", self.column_subsample, 0.01..=1.0)?;
        within("bins", self.bins, 4..=4096)?;

        let leaves = self.max_leaves.min(1 << self.max_depth);
        if self.trees * (2 * leaves - 1) > MAX_NODES {
            return Err(PluginError::settings(format!(
                "{} trees of up to {leaves} leaves could exceed the limit of {MAX_NODES} nodes: lower `trees`, \
                 `max_depth` or `max_leaves`",
                self.trees
            )));
        }
        Ok(())
    }

    /// Whether `max_leaves` ends a tree before `max_depth` does.
    pub(crate) fn leaves_bind(&self) -> bool {
        self.max_leaves < 1 << self.max_depth
    }
}
