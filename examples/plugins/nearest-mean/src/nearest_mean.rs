//! A classifier: is a flow nearer to the mean of the malicious flows, or to that of the benign ones?

use veilwatch_core::feature::{Rows, weighted_mean};
use veilwatch_core::plugin::{Classifier, PluginError, Settings, TrainingSet, weights};

veilwatch_core::declare_plugins!(classifier "nearest-mean" "the nearer of two means; small, to be read": NearestMean);

/// What was learnt of each column: the mean of the benign rows, that of the malicious ones, and the spread of all.
pub struct NearestMean(Vec<[f64; 3]>);

impl NearestMean {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none().map(|()| Self(Vec::new()))
    }
    /// Each column's part in the score. Three spreads are far, so that no column decides alone; what is missing is far
    /// from both means, and says nothing.
    fn parts(&self, row: &[f32]) -> Result<impl Iterator<Item = f64>, PluginError> {
        if self.0.is_empty() || self.0.len() != row.len() {
            return Err(PluginError::data("it learnt from rows of another width, or from none; train again"));
        }
        Ok(row.iter().zip(&self.0).map(|(value, [benign, malicious, spread])| {
            let distance = |mean: &f64| ((f64::from(*value) - mean) / spread).abs().min(3.0).powi(2);
            distance(benign) - distance(malicious)
        }))
    }
}

impl Classifier for NearestMean {
    fn fit(&mut self, data: &TrainingSet<'_>) -> Result<(), PluginError> {
        let learn = |at| {
            let mean = |wanted| data.column(at).filter(move |row| row.1 == wanted).map(|row| (row.0, row.2));
            let [benign, malicious] = [false, true].map(|class| weighted_mean(mean(class)));
            let far = |value: f64| (value - (benign + malicious) / 2.0).powi(2);
            let spread = weighted_mean(data.column(at).map(|(value, _, weight)| (far(value), weight))).sqrt();
            // A column that is always the same, or was never there in a class, tells nothing.
            if spread > 0.0 { [benign, malicious, spread] } else { [0.0, 0.0, 1.0] }
        };
        self.0 = (0..data.rows.width()).map(learn).collect();
        Ok(())
    }
    fn save(&self) -> Result<Vec<u8>, PluginError> {
        let known = Some(&self.0).filter(|known| !known.is_empty());
        weights::write(known.ok_or_else(|| PluginError::failed("there is no model yet; train or load one"))?)
    }
    fn load(&mut self, weights: &[u8]) -> Result<(), PluginError> {
        self.0 = weights::read(weights)?;
        let good = |[a, b, spread]: &[f64; 3]| a.is_finite() && b.is_finite() && *spread > 0.0;
        let bad = self.0.iter().position(|column| !good(column));
        bad.map_or(Ok(()), |at| Err(PluginError::data(format!("the weights of column {at} are none; train again"))))
    }
    fn predict(&self, rows: &Rows<'_>, scores: &mut [f64]) -> Result<(), PluginError> {
        rows.iter().zip(scores).try_for_each(|(row, score)| self.parts(row).map(|parts| *score = parts.sum()))
    }
    fn explain(&self, row: &[f32], contributions: &mut [f64]) -> Result<(), PluginError> {
        self.parts(row).map(|parts| contributions.iter_mut().zip(parts).for_each(|(cell, part)| *cell = part))
    }
}
