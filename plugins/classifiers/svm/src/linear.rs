use crate::{MAX_ROWS, Solved, solve};
use serde::Deserialize;
use veilwatch_classifier_shared::columns::{Columns, MAX_LIMIT};
use veilwatch_classifier_shared::learner::Learner;
use veilwatch_classifier_shared::sums::Curves;
use veilwatch_core::plugin::{PluginError, TrainingSet, within};

/// The settings of `linear-svm`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinearSvmSettings {
    /// What an error costs; rows are scaled to a length of about 1.
    pub cost: f64,
    /// Rows that are drawn by weight, at most.
    pub rows: usize,
    /// How far from the solution the solver may stop.
    pub tolerance: f64,
    /// Deviations from the mean beyond which a column does not count for more.
    pub limit: f64,
    /// Whether patterns of missing values have columns of their own.
    pub missing_indicators: bool,
}

impl Default for LinearSvmSettings {
    fn default() -> Self {
        Self { cost: 1.0, rows: 3_000, tolerance: 1e-3, limit: 5.0, missing_indicators: true }
    }
}

impl Learner for LinearSvmSettings {
    type Model = Curves;
    const MAGIC: [u8; 4] = *b"VWLS";
    const VERSION: u8 = 1;
    const NAME: &'static str = "a linear support vector machine";

    fn check(&self) -> Result<(), PluginError> {
        within("cost", self.cost, 1e-4..=1e4)?;
        within("rows", self.rows, 100..=MAX_ROWS)?;
        within("tolerance", self.tolerance, 1e-6..=0.5)?;
        within("limit", self.limit, 0.1..=MAX_LIMIT)
    }

    fn learn(&self, data: &TrainingSet<'_>) -> Result<Curves, PluginError> {
        let (solved, scale) = machine(self, data)?;
        let mut factors = vec![0.0; solved.columns.len()];
        for (row, alpha) in solved.matrix.outer_iter().zip(&solved.machine.alpha) {
            factors.iter_mut().zip(row).for_each(|(factor, number)| *factor += alpha * number * scale);
        }
        Curves::linear(solved.columns, -solved.machine.rho, &factors)
    }
}

/// Lets the library solve; and what the numbers of a row were multiplied with.
pub(crate) fn machine(settings: &LinearSvmSettings, data: &TrainingSet<'_>) -> Result<(Solved, f64), PluginError> {
    let columns = Columns::learn(data, settings.limit, settings.missing_indicators)?;
    let scale = (columns.len() as f64).sqrt().recip();
    let solved = solve(data, columns, settings.rows, settings.cost, scale, |parameters| {
        parameters.eps(settings.tolerance).linear_kernel()
    })?;
    Ok((solved, scale))
}
