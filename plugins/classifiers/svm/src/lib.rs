//! The classifiers `linear-svm` and `rbf-svm`: support vector machines.
//!
//! `linfa-svm` solves them (SMO) over the similarities of all pairs of rows, so rows are drawn: as many as `rows` says,
//! by weight, in each class apart. What a class has lost by that it gets back as the cost of its errors. The raw score
//! is the margin.

mod kernel;
mod linear;
mod rbf;
#[cfg(test)]
mod tests;

pub use linear::LinearSvmSettings;
pub use rbf::RbfSvmSettings;

use linfa::traits::Fit;
use linfa::{Dataset, ParamGuard};
use linfa_svm::{Svm, SvmParams};
use ndarray::{Array1, Array2};
use veilwatch_classifier_shared::columns::Columns;
use veilwatch_classifier_shared::learner::Learning;
use veilwatch_classifier_shared::sample::Sample;
use veilwatch_classifier_shared::training::guarded;
use veilwatch_core::plugin::{PluginError, TrainingSet};

/// The linear one. It explains exactly: each column's part is its difference from the training mean.
pub type LinearSvm = Learning<LinearSvmSettings>;
/// The one with a Gaussian kernel. Its explanations are an approximation, by integrated gradients on the way from the training
/// mean to the row.
pub type RbfSvm = Learning<RbfSvmSettings>;

/// Rows that can be drawn, at most: the similarities of all pairs take 8 bytes each.
const MAX_ROWS: usize = 10_000;

/// What a machine was learnt from, and what the library made of it.
struct Solved {
    columns: Columns,
    /// The drawn rows as numbers.
    matrix: Array2<f64>,
    machine: Svm<f64, bool>,
}

/// Draws up to `rows` rows, and lets the library solve; `scale` is what the numbers of a row are multiplied with.
fn solve(
    data: &TrainingSet<'_>,
    columns: Columns,
    rows: usize,
    cost: f64,
    scale: f64,
    with: impl FnOnce(SvmParams<f64, bool>) -> SvmParams<f64, bool>,
) -> Result<Solved, PluginError> {
    let (picked, [benign, malicious]) = draw(data, rows, cost);
    // Support vectors are kept as `f32`: they are learnt as such.
    let numbers = columns.matrix(&data.rows, &picked).into_iter().map(|number| f64::from((number * scale) as f32));
    let matrix = Array2::from_shape_vec((picked.len(), columns.len()), numbers.collect())
        .map_err(|error| PluginError::failed(error.to_string()))?;
    let labels: Array1<bool> = picked.iter().map(|row| data.labels[*row]).collect();
    let parameters = with(Svm::params().pos_neg_weights(malicious, benign));
    let data = Dataset::new(matrix, labels);
    let machine = guarded("linfa-svm", || parameters.check()?.fit(&data))?;
    Ok(Solved { columns, matrix: data.records, machine })
}

/// The rows to learn from, each as often as it was drawn, and the costs of an error in a benign and a malicious one.
///
/// Each class gets its share of the rows by weight, and the rarer no more than it has.
fn draw(data: &TrainingSet<'_>, rows: usize, cost: f64) -> (Vec<usize>, [f64; 2]) {
    let class = |wanted: bool| data.labels.iter().zip(data.weights).filter(move |(label, _)| **label == wanted);
    let total = |wanted| class(wanted).map(|(_, weight)| f64::from(*weight)).sum::<f64>();
    let sums = [total(false), total(true)];
    let counts = [false, true].map(|wanted| class(wanted).count());
    let all = rows.min(data.rows.len()).max(2);
    let share = all as f64 * sums[1] / (sums[0] + sums[1]);
    let malicious = (share.round() as usize).clamp(1, counts[1].min(all - 1));
    let drawn = [(all - malicious).min(counts[0]), malicious];
    let sample = Sample::by_class(data.labels, data.weights, drawn, data.seed);
    let picked = sample.repeated();
    // As if each row had its share of the weight.
    let mean = (sums[0] + sums[1]) / picked.len() as f64;
    let costs = [0, 1].map(|class| cost * sums[class] / drawn[class] as f64 / mean);
    (picked, costs)
}

veilwatch_core::declare_plugins!(
    classifier "linear-svm" "support vector machine: a plane between the classes": LinearSvm,
    classifier "rbf-svm" "support vector machine: likeness to flows of either class": RbfSvm
);
