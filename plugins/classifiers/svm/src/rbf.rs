use crate::kernel::{Kernel, MAX_WIDTH, MIN_WIDTH};
use crate::{MAX_ROWS, Solved, solve};
use serde::Deserialize;
use veilwatch_classifier_shared::columns::{Columns, MAX_LIMIT};
use veilwatch_classifier_shared::learner::Learner;
use veilwatch_core::plugin::{PluginError, TrainingSet, within};

/// The settings of `rbf-svm`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RbfSvmSettings {
    /// What an error costs.
    pub cost: f64,
    /// Squared distance over which likeness falls to 1/e, in columns: two rows by chance are about 2 apart.
    pub width: f64,
    /// Rows that are drawn by weight, at most.
    pub rows: usize,
    /// How far from the solution the solver may stop.
    pub tolerance: f64,
    /// Deviations from the mean beyond which a column does not count for more.
    pub limit: f64,
    /// Whether patterns of missing values have columns of their own.
    pub missing_indicators: bool,
}

impl Default for RbfSvmSettings {
    fn default() -> Self {
        Self { cost: 1.0, width: 1.0, rows: 3_000, tolerance: 1e-3, limit: 5.0, missing_indicators: true }
    }
}

impl Learner for RbfSvmSettings {
    type Model = Kernel;
    const MAGIC: [u8; 4] = *b"VWRS";
    const VERSION: u8 = 1;
    const NAME: &'static str = "a support vector machine with a Gaussian kernel";

    fn check(&self) -> Result<(), PluginError> {
        within("cost", self.cost, 1e-4..=1e4)?;
        within("width", self.width, 1e-2..=1e2)?;
        within("rows", self.rows, 100..=MAX_ROWS)?;
        within("tolerance", self.tolerance, 1e-6..=0.5)?;
        within("limit", self.limit, 0.1..=MAX_LIMIT)
    }

    fn learn(&self, data: &TrainingSet<'_>) -> Result<Kernel, PluginError> {
        let (solved, width) = machine(self, data)?;
        let mut vectors = Vec::new();
        let mut alphas = Vec::new();
        for (row, alpha) in solved.matrix.outer_iter().zip(&solved.machine.alpha) {
            // What the library takes for zero.
            if alpha.abs() > 100.0 * f64::EPSILON {
                vectors.extend(row.iter().map(|number| *number as f32));
                alphas.push(*alpha);
            }
        }
        Kernel::new(solved.columns, width, -solved.machine.rho, alphas, vectors)
    }
}

/// Lets the library solve; and the squared distance over which likeness falls to 1/e.
pub(crate) fn machine(settings: &RbfSvmSettings, data: &TrainingSet<'_>) -> Result<(Solved, f64), PluginError> {
    let columns = Columns::learn(data, settings.limit, settings.missing_indicators)?;
    let width = (settings.width * columns.len() as f64).clamp(MIN_WIDTH, MAX_WIDTH);
    let solved = solve(data, columns, settings.rows, settings.cost, 1.0, |parameters| {
        parameters.eps(settings.tolerance).gaussian_kernel(width)
    })?;
    Ok((solved, width))
}
