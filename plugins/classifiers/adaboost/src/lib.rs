//! The classifier `adaboost`: small trees in a row, each on what the earlier ones got wrong.
//!
//! `linfa-ensemble` boosts (SAMME), and `linfa-trees` grows its trees on what `decision-tree` makes of the rows. The
//! library takes no weights: rows come as often as they weigh.

mod settings;
#[cfg(test)]
mod tests;

pub use settings::AdaBoostSettings;

use linfa::error::Error;
use linfa::traits::Fit;
use linfa::{Dataset, DatasetBase, ParamGuard};
use linfa_ensemble::{AdaBoost as Boosted, AdaBoostParams};
use linfa_trees::{DecisionTree, DecisionTreeParams};
use ndarray::{Array1, Array2};
use rand::SeedableRng;
use rand::rngs::StdRng;
use veilwatch_classifier_decision_tree::{Codes, flat, never_tied};
use veilwatch_classifier_shared::forest::Forest;
use veilwatch_classifier_shared::learner::{Learner, Learning};
use veilwatch_classifier_shared::sample::Sample;
use veilwatch_classifier_shared::training::guarded;
use veilwatch_core::plugin::{PluginError, TrainingSet};

/// The classifier. It explains by the exact Shapley values of its trees, see `forest` of what classifiers share.
pub type AdaBoost = Learning<AdaBoostSettings>;

/// A tree of the library by its number of a class: 0 for benign, 1 for malicious.
type Tree = DecisionTree<f32, usize>;

impl Learner for AdaBoostSettings {
    type Model = Forest;
    const MAGIC: [u8; 4] = *b"VWAB";
    const VERSION: u8 = 1;
    const NAME: &'static str = "AdaBoost";

    fn check(&self) -> Result<(), PluginError> {
        self.within_ranges()
    }

    fn learn(&self, data: &TrainingSet<'_>) -> Result<Forest, PluginError> {
        let codes = Codes::learn(data, self.bins);
        let columns: Vec<usize> = codes.telling().collect();
        let boosted = boost(self, data, &codes, &columns)?;
        // The score is the share of the votes for malice, less that against it: between −1 and 1.
        let total: f64 = boosted.model_weights.iter().sum();
        let mut forest = Forest::new(data.rows.width(), 0.0)?;
        for (tree, weight) in boosted.models.iter().zip(&boosted.model_weights) {
            let rows = data.weights.iter().map(|weight| f64::from(*weight)).enumerate().collect();
            let vote = weight / total;
            forest.push(&flat(&codes, &columns, tree.root_node(), rows, |leaf, _| {
                if leaf.prediction() == Some(1) { vote } else { -vote }
            })?)?;
        }
        Ok(forest)
    }
}

/// Lets the library learn.
fn boost(
    settings: &AdaBoostSettings,
    data: &TrainingSet<'_>,
    codes: &Codes<'_>,
    columns: &[usize],
) -> Result<Boosted<Tree, usize>, PluginError> {
    let count = settings.rows.min(data.rows.len());
    let picked = Sample::by_weight(data.labels, data.weights, count, data.seed).repeated();
    let matrix = codes.matrix(picked.iter().copied(), columns);
    let labels: Array1<usize> = picked.iter().map(|row| usize::from(data.labels[*row])).collect();
    let weak = Weak { max_depth: settings.max_depth, min_leaf: settings.min_leaf_rows };
    let parameters = AdaBoostParams::new_fixed_rng(weak, StdRng::seed_from_u64(data.seed))
        .n_estimators(settings.trees)
        .learning_rate(settings.learning_rate);
    guarded("linfa-ensemble", || parameters.check()?.fit(&Dataset::new(matrix, labels)))
}

/// What grows one tree: the library's, with weights that keep it from settling ties by chance.
#[derive(Debug, Clone, Copy)]
struct Weak {
    max_depth: usize,
    min_leaf: f32,
}

impl Fit<Array2<f32>, Array1<usize>, Error> for Weak {
    type Object = Tree;

    fn fit(&self, data: &DatasetBase<Array2<f32>, Array1<usize>>) -> Result<Tree, Error> {
        let labels: Vec<bool> = data.targets.iter().map(|class| *class == 1).collect();
        let (weights, one) =
            never_tied(&labels, &vec![1; labels.len()]).map_err(|error| Error::Parameters(error.message))?;
        let data = DatasetBase::new(data.records.view(), data.targets.view()).with_weights(Array1::from(weights));
        DecisionTreeParams::new()
            .max_depth(Some(self.max_depth))
            .min_weight_leaf((self.min_leaf * one).max(1.0))
            .check()?
            .fit(&data)
    }
}

veilwatch_core::declare_plugins!(
    classifier "adaboost" "small trees, each on what the earlier ones got wrong": AdaBoost
);
