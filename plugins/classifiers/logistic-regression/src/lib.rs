//! The classifier `logistic-regression`: the log-odds of malice as a weighted sum of scaled columns.
//!
//! `linfa-logistic` finds the factors (L-BFGS with an L2 penalty). It takes no weights and no missing values: rows come
//! as often as they weigh, and `columns` of what classifiers share fills in and scales.

#[cfg(test)]
mod tests;

use linfa::traits::Fit;
use linfa::{Dataset, ParamGuard};
use linfa_logistic::{FittedLogisticRegression, LogisticRegression as Regression};
use ndarray::{Array1, Array2};
use serde::Deserialize;
use veilwatch_classifier_shared::columns::{Columns, MAX_LIMIT};
use veilwatch_classifier_shared::learner::{Learner, Learning};
use veilwatch_classifier_shared::sample::Sample;
use veilwatch_classifier_shared::sums::Curves;
use veilwatch_classifier_shared::training::guarded;
use veilwatch_core::plugin::{PluginError, TrainingSet, within};

/// The classifier. It explains exactly: each column's part is its difference from the training mean.
pub type LogisticRegression = Learning<LogisticRegressionSettings>;

/// The settings of the classifier.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogisticRegressionSettings {
    /// How strongly factors are drawn towards zero.
    pub l2: f64,
    /// Steps of the solver, at most.
    pub iterations: u64,
    /// Slope, as a mean over the rows, at which the solver stops.
    pub tolerance: f64,
    /// Rows that are drawn by weight, at most.
    pub rows: usize,
    /// Deviations from the mean beyond which a column does not count for more.
    pub limit: f64,
    /// Whether patterns of missing values have columns of their own.
    pub missing_indicators: bool,
}

impl Default for LogisticRegressionSettings {
    fn default() -> Self {
        Self { l2: 1.0, iterations: 100, tolerance: 1e-5, rows: 10_000, limit: 5.0, missing_indicators: true }
    }
}

impl Learner for LogisticRegressionSettings {
    type Model = Curves;
    const MAGIC: [u8; 4] = *b"VWLR";
    const VERSION: u8 = 1;
    const NAME: &'static str = "a logistic regression";

    fn check(&self) -> Result<(), PluginError> {
        // Without a penalty the factors of classes that can be parted grow for ever.
        within("l2", self.l2, 1e-6..=1e6)?;
        within("iterations", self.iterations, 1..=10_000)?;
        within("tolerance", self.tolerance, 1e-12..=1.0)?;
        within("rows", self.rows, 100..=200_000)?;
        within("limit", self.limit, 0.1..=MAX_LIMIT)
    }

    fn learn(&self, data: &TrainingSet<'_>) -> Result<Curves, PluginError> {
        let (columns, fitted) = regress(self, data)?;
        let (intercept, factors) = log_odds(&fitted);
        Curves::linear(columns, intercept, &factors)
    }
}

/// Lets the library learn.
fn regress(
    settings: &LogisticRegressionSettings,
    data: &TrainingSet<'_>,
) -> Result<(Columns, FittedLogisticRegression<f64, bool>), PluginError> {
    let columns = Columns::learn(data, settings.limit, settings.missing_indicators)?;
    let count = settings.rows.min(data.rows.len());
    let picked = Sample::by_weight(data.labels, data.weights, count, data.seed).repeated();
    let LogisticRegressionSettings { l2, iterations, tolerance, .. } = *settings;
    let labels = picked.iter().map(|row| data.labels[*row]).collect();
    let matrix = columns.matrix(&data.rows, &picked);
    let fitted = fit(matrix, columns.len(), labels, &Solver { l2, iterations, tolerance })?;
    Ok((columns, fitted))
}

/// How the library looks for the factors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Solver {
    /// How strongly they are drawn towards zero.
    pub l2: f64,
    /// Steps, at most.
    pub iterations: u64,
    /// Slope, as a mean over the rows, at which it stops.
    pub tolerance: f64,
}

/// Lets the library look for them: rows of `width` numbers, one after the other, and a label for each.
///
/// # Errors
/// Where numbers and labels do not fit, or the library fails.
pub fn fit(
    numbers: Vec<f64>,
    width: usize,
    labels: Vec<bool>,
    solver: &Solver,
) -> Result<FittedLogisticRegression<f64, bool>, PluginError> {
    let rows = labels.len();
    let matrix =
        Array2::from_shape_vec((rows, width), numbers).map_err(|error| PluginError::failed(error.to_string()))?;
    let parameters = Regression::default()
        .alpha(solver.l2)
        .max_iterations(solver.iterations)
        .gradient_tolerance(solver.tolerance * rows as f64);
    guarded("linfa-logistic", || parameters.check()?.fit(&Dataset::new(matrix, Array1::from_vec(labels))))
}

/// Intercept and factors of the log-odds of malice. The library's positive class is the more frequent one.
pub fn log_odds(fitted: &FittedLogisticRegression<f64, bool>) -> (f64, Vec<f64>) {
    let sign = if fitted.labels().pos.class { 1.0 } else { -1.0 };
    (sign * fitted.intercept(), fitted.params().iter().map(|factor| sign * factor).collect())
}

veilwatch_core::declare_plugins!(
    classifier "logistic-regression" "log-odds as a weighted sum of scaled columns": LogisticRegression
);
