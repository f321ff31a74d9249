use crate::{log_odds, matrix};
use linfa::traits::Fit;
use linfa::{Dataset, ParamGuard};
use linfa_bayes::GaussianNb;
use ndarray::{Array1, Array2};
use serde::Deserialize;
use veilwatch_classifier_shared::columns::{Columns, MAX_LIMIT};
use veilwatch_classifier_shared::learner::Learner;
use veilwatch_classifier_shared::sample::Sample;
use veilwatch_classifier_shared::sums::Curves;
use veilwatch_classifier_shared::training::guarded;
use veilwatch_core::plugin::{PluginError, TrainingSet, within};

/// The settings of `gaussian-bayes`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GaussianSettings {
    /// Added to every variance, as a share of the largest, which is about 1.
    pub smoothing: f64,
    /// Rows that are drawn by weight, at most.
    pub rows: usize,
    /// Deviations from the mean beyond which a column does not count for more.
    pub limit: f64,
    /// Whether patterns of missing values have columns of their own.
    pub missing_indicators: bool,
}

impl Default for GaussianSettings {
    fn default() -> Self {
        Self { smoothing: 0.1, rows: 20_000, limit: 5.0, missing_indicators: true }
    }
}

impl Learner for GaussianSettings {
    type Model = Curves;
    const MAGIC: [u8; 4] = *b"VWGB";
    const VERSION: u8 = 1;
    const NAME: &'static str = "Gaussian naive Bayes";

    fn check(&self) -> Result<(), PluginError> {
        // Below this the logarithms of two classes differ by more than a double can tell.
        within("smoothing", self.smoothing, 1e-6..=1e3)?;
        within("rows", self.rows, 100..=200_000)?;
        within("limit", self.limit, 0.1..=MAX_LIMIT)
    }

    fn learn(&self, data: &TrainingSet<'_>) -> Result<Curves, PluginError> {
        let (columns, model) = fit(self, data)?;
        let count = columns.len();
        let base = log_odds(&model, &Array2::zeros((1, count)))?.iter().sum::<f64>();
        // Three points tell a parabola.
        let sides = |side: f64| log_odds(&model, &(Array2::eye(count) * side));
        let factors = sides(1.0)?
            .into_iter()
            .zip(sides(-1.0)?)
            .map(|(up, down)| [(up - down) / 2.0, (up + down) / 2.0 - base])
            .collect();
        Curves::new(columns, base, factors)
    }
}

/// Lets the library learn.
pub(crate) fn fit(
    settings: &GaussianSettings,
    data: &TrainingSet<'_>,
) -> Result<(Columns, GaussianNb<f64, bool>), PluginError> {
    let columns = Columns::learn(data, settings.limit, settings.missing_indicators)?;
    let count = settings.rows.min(data.rows.len());
    let picked = Sample::by_weight(data.labels, data.weights, count, data.seed).repeated();
    let records = matrix(picked.len(), columns.len(), columns.matrix(&data.rows, &picked))?;
    let labels: Array1<bool> = picked.iter().map(|row| data.labels[*row]).collect();
    let parameters = GaussianNb::params().var_smoothing(settings.smoothing);
    let model = guarded("linfa-bayes", || parameters.check()?.fit(&Dataset::new(records, labels)))?;
    Ok((columns, model))
}
