use serde::Deserialize;
use veilwatch_classifier_boosted_trees::BoostedTreesSettings;
use veilwatch_classifier_shared::bins::MAX_CUTS;
use veilwatch_classifier_shared::learner::Learner;
use veilwatch_core::plugin::{PluginError, within};

/// The settings of the classifier. Those without `linear` in front are of the boosted trees, as `boosted-trees` has them;
/// the defaults are for many shallow trees, each of which sees few columns.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnsembleSettings {
    /// Share of the regression in the score; the rest is the trees'.
    pub linear_share: f64,
    /// Bins that each column is cut into; a value counts by the rank of its bin.
    pub linear_bins: usize,
    /// How strongly the regression's factors are drawn towards zero. Ranks lie between −½ and ½.
    pub linear_l2: f64,
    /// Steps of the regression's solver, at most.
    pub linear_iterations: u64,
    /// Slope, as a mean over the rows, at which the solver stops.
    pub linear_tolerance: f64,
    /// Rows that are drawn by weight for the regression, at most.
    pub linear_rows: usize,
    /// Trees to grow.
    pub trees: usize,
    /// Share of each tree's answer that counts.
    pub learning_rate: f32,
    /// Decisions from the root to a leaf, at most.
    pub max_depth: usize,
    /// Evidence a leaf needs.
    pub min_leaf_weight: f32,
    /// How strongly leaf values are drawn towards zero.
    pub l2: f32,
    /// Share of the rows each tree is grown on.
    pub row_subsample: f32,
    /// Share of the columns each tree is grown on.
    pub column_subsample: f64,
    /// Bins each column is cut into when splits are searched.
    pub bins: u16,
}

impl Default for EnsembleSettings {
    fn default() -> Self {
        Self {
            linear_share: 0.5,
            linear_bins: 32,
            linear_l2: 15.0,
            linear_iterations: 60,
            linear_tolerance: 1e-4,
            linear_rows: 10_000,
            trees: 250,
            learning_rate: 0.12,
            max_depth: 2,
            min_leaf_weight: 1.0,
            l2: 5.0,
            row_subsample: 0.8,
            column_subsample: 0.3,
            bins: 256,
        }
    }
}

impl EnsembleSettings {
    /// Refuses values outside of their ranges.
    pub(crate) fn within_ranges(&self) -> Result<(), PluginError> {
        within("linear_share", self.linear_share, 0.0..=1.0)?;
        within("linear_bins", self.linear_bins, 2..=MAX_CUTS + 1)?;
        // Without a penalty the factors of classes that can be parted grow for ever.
        within("linear_l2", self.linear_l2, 1e-6..=1e6)?;
        within("linear_iterations", self.linear_iterations, 1..=10_000)?;
        within("linear_tolerance", self.linear_tolerance, 1e-12..=1.0)?;
        within("linear_rows", self.linear_rows, 100..=200_000)?;
        self.boosted().check()
    }

    /// The settings of the boosted trees.
    pub(crate) fn boosted(&self) -> BoostedTreesSettings {
        BoostedTreesSettings {
            trees: self.trees,
            learning_rate: self.learning_rate,
            max_depth: self.max_depth,
            max_leaves: 1 << self.max_depth.min(12),
            min_leaf_weight: self.min_leaf_weight,
            l2: self.l2,
            gamma: 0.0,
            row_subsample: self.row_subsample,
            column_subsample: self.column_subsample,
            bins: self.bins,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `veilwatch config example` prints every default: the file it prints holds those of this plugin.
    #[test]
    fn the_example_holds_the_defaults() {
        let file: toml::Table = include_str!("../../../../config/default.toml").parse().unwrap();
        let entries = file["plugin"].as_array().unwrap();
        let entry = entries.iter().find(|entry| entry["use"].as_str() == Some("classifier/ensemble")).unwrap();
        let written = entry["settings"].as_table().unwrap();
        let read: EnsembleSettings = written.clone().try_into().unwrap();
        assert_eq!(read, EnsembleSettings::default());
        let keys = 14;
        assert_eq!(written.len(), keys, "a setting is missing in config/default.toml");
    }
}
