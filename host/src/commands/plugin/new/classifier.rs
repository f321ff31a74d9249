//! A classifier: where does each value lie between the mean of the benign rows and that of the malicious ones?

use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::{Classifier, PluginError, Settings, TrainingSet};

// What pipelines call it, and what it is for. The second line makes a library of this crate.
veilwatch_core::declare_plugins!(classifier "{{name}}" "between two means": Plugin);
veilwatch_core::export_plugins!(declarations);

/// What was learnt: for each column the benign and the malicious mean, where it tells them apart; empty before that.
#[derive(Debug)]
pub struct Plugin(Vec<Option<[f32; 2]>>);

impl Plugin {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none().map(|()| Self(Vec::new()))
    }
    fn learnt(&self, columns: usize) -> Result<&[Option<[f32; 2]>], PluginError> {
        let other = || PluginError::data(format!("learnt from {} columns, not {columns}; train it", self.0.len()));
        (columns > 0 && columns == self.0.len()).then_some(self.0.as_slice()).ok_or_else(other)
    }
    /// The part of each column in the score: from -1, as benign as the mean, to 1; 0 where something is missing.
    fn parts<'a>(&'a self, row: &'a [f32]) -> Result<impl Iterator<Item = f64> + 'a, PluginError> {
        Ok(row.iter().zip(self.learnt(row.len())?).map(|(value, means)| {
            let [benign, malicious] = means.unwrap_or([f32::NAN; 2]);
            let part = 2.0 * (value - benign) / (malicious - benign) - 1.0;
            if part.is_nan() { 0.0 } else { part.clamp(-1.0, 1.0).into() }
        }))
    }
}

impl Classifier for Plugin {
    fn fit(&mut self, data: &TrainingSet<'_>) -> Result<(), PluginError> {
        // Of each column: sum and weight of the benign values, and of the malicious ones.
        let mut sums = vec![[[0.0; 2]; 2]; data.rows.width()];
        for ((row, label), weight) in data.rows.iter().zip(data.labels).zip(data.weights) {
            for (value, sums) in row.iter().zip(&mut sums).filter(|(value, _)| value.is_finite()) {
                let own = if *label { &mut sums[1] } else { &mut sums[0] };
                *own = [own[0] + f64::from(*value) * f64::from(*weight), own[1] + f64::from(*weight)];
            }
        }
        let means = sums.iter().map(|sums| sums.map(|[sum, weight]| (sum / weight) as f32));
        self.0 = means.map(|[one, two]| (two - one).is_normal().then_some([one, two])).collect();
        Ok(())
    }
    fn save(&self) -> Result<Vec<u8>, PluginError> {
        serde_json::to_vec(self.learnt(self.0.len())?).map_err(|error| PluginError::failed(error.to_string()))
    }
    fn load(&mut self, weights: &[u8]) -> Result<(), PluginError> {
        // The bytes may be anybody's.
        self.0 = serde_json::from_slice(weights).map_err(|error| PluginError::data(format!("no weights: {error}")))?;
        Ok(())
    }
    fn predict(&self, rows: &Rows<'_>, scores: &mut [f64]) -> Result<(), PluginError> {
        rows.iter().zip(scores).try_for_each(|(row, score)| self.parts(row).map(|parts| *score = parts.sum()))
    }
    fn explain(&self, row: &[f32], contributions: &mut [f64]) -> Result<(), PluginError> {
        self.parts(row).map(|parts| contributions.iter_mut().zip(parts).for_each(|(cell, part)| *cell = part))
    }
}
