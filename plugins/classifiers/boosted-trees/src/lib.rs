//! The classifier `boosted-trees`: gradient-boosted decision trees over the feature rows.
//!
//! Trees are learnt by `forust-ml` and scored by a flat forest of our own that gives the same numbers to the bit. A raw
//! score is the log-odds of malice; NaN in a row is a missing value with a learnt side of its own at every split.

mod forest;
mod settings;
#[cfg(test)]
mod tests;
mod training;
mod weights;

pub use settings::BoostedTreesSettings;

use forest::Forest;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::{Classifier, PluginError, Settings, TrainingSet};

/// The classifier: its settings, and the forest once there is one.
#[derive(Debug)]
pub struct BoostedTrees {
    settings: BoostedTreesSettings,
    forest: Option<Forest>,
}

impl BoostedTrees {
    /// A classifier that has learnt nothing yet.
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        let settings: BoostedTreesSettings = settings.read()?;
        settings.check()?;
        Ok(Self { settings, forest: None })
    }

    fn forest(&self) -> Result<&Forest, PluginError> {
        self.forest.as_ref().ok_or_else(|| PluginError::failed("there is no model yet: train or load one first"))
    }

    /// The forest, if it was learnt from rows of this width.
    fn forest_for(&self, width: usize) -> Result<&Forest, PluginError> {
        let forest = self.forest()?;
        if width == forest.width() {
            return Ok(forest);
        }
        Err(PluginError::data(format!(
            "the model was trained on rows of {} columns, these have {width}: use the feature extractors and settings it \
             was trained with, or train again",
            forest.width()
        )))
    }
}

impl Classifier for BoostedTrees {
    fn fit(&mut self, data: &TrainingSet<'_>) -> Result<(), PluginError> {
        self.forest = None;
        self.forest = Some(training::train(&self.settings, data)?);
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>, PluginError> {
        weights::encode(self.forest()?)
    }

    fn load(&mut self, weights: &[u8]) -> Result<(), PluginError> {
        self.forest = Some(weights::decode(weights)?);
        Ok(())
    }

    fn predict(&self, rows: &Rows<'_>, scores: &mut [f64]) -> Result<(), PluginError> {
        let forest = self.forest_for(rows.width())?;
        if scores.len() != rows.len() {
            return Err(PluginError::data(format!("{} rows, but room for {} scores", rows.len(), scores.len())));
        }
        forest.score(rows, scores);
        Ok(())
    }

    /// Attributes along each decision path (Saabas): a split's column gets the change of the expected score from the
    /// node to the child that the row goes to. The parts and a constant of the model, its expected score, add up to the
    /// raw score.
    ///
    /// This approximates Shapley values: it favours columns deep in the trees over those near the root when they
    /// interact. A later version may compute Shapley values exactly, at many times the cost.
    fn explain(&self, row: &[f32], contributions: &mut [f64]) -> Result<(), PluginError> {
        let forest = self.forest_for(row.len())?;
        if contributions.len() != row.len() {
            return Err(PluginError::data(format!(
                "{} columns, but room for {} contributions",
                row.len(),
                contributions.len()
            )));
        }
        forest.attribute(row, contributions);
        Ok(())
    }
}

veilwatch_core::declare_plugins!(
    classifier "boosted-trees" "gradient-boosted decision trees; knows missing values": BoostedTrees
);
