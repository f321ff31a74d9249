//! The classifier `boosted-trees`: gradient-boosted decision trees over the feature rows.
//!
//! Trees are learnt by `forust-ml` and scored by a flat forest of our own that gives the same numbers to the bit. A raw
//! score is the log-odds of malice; NaN in a row is a missing value with a learnt side of its own at every split.

mod settings;
#[cfg(test)]
mod tests;
mod training;

pub use settings::BoostedTreesSettings;

use veilwatch_classifier_shared::forest::Forest;
use veilwatch_classifier_shared::learner::{Learner, Learning};
use veilwatch_core::plugin::{PluginError, TrainingSet};

/// The classifier: its settings, and the forest once there is one.
///
/// It explains by the exact Shapley values of its trees: the parts and a constant of the model, its expected score, add up
/// to the raw score. See `forest` of what classifiers share.
pub type BoostedTrees = Learning<BoostedTreesSettings>;

impl Learner for BoostedTreesSettings {
    type Model = Forest;
    const MAGIC: [u8; 4] = *b"VWBT";
    const VERSION: u8 = 1;
    const NAME: &'static str = "boosted trees";

    fn check(&self) -> Result<(), PluginError> {
        self.within_ranges()
    }

    fn learn(&self, data: &TrainingSet<'_>) -> Result<Forest, PluginError> {
        training::train(self, data)
    }
}

veilwatch_core::declare_plugins!(
    classifier "boosted-trees" "gradient-boosted decision trees; knows missing values": BoostedTrees
);
