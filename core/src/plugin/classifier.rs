use super::PluginError;
use crate::feature::Rows;

/// Labelled rows to learn from.
#[derive(Debug, Clone, Copy)]
pub struct TrainingSet<'a> {
    /// The feature rows; NaN where a value is missing.
    pub rows: Rows<'a>,
    /// One label a row: true for malicious.
    pub labels: &'a [bool],
    /// One weight a row, positive.
    pub weights: &'a [f32],
    /// Seed of whatever is random; the same seed and rows give the same model to the byte.
    pub seed: u64,
}

impl TrainingSet<'_> {
    /// One column where it is there: value, label, weight, in the order of the rows.
    pub fn column(&self, at: usize) -> impl Iterator<Item = (f64, bool, f64)> {
        let rows = self.rows.iter().zip(self.labels).zip(self.weights);
        rows.filter_map(move |((row, label), weight)| Some((f64::from(*row.get(at)?), *label, f64::from(*weight))))
            .filter(|(value, _, _)| value.is_finite())
    }
}

/// Learns from labelled rows, and scores rows.
///
/// What it learns is data ([`save`](Self::save), [`load`](Self::load)), never code. A raw score is any number that
/// grows with malice; the host calibrates it.
pub trait Classifier: Send + Sync {
    /// Learns; forgets what was learnt before.
    fn fit(&mut self, data: &TrainingSet<'_>) -> Result<(), PluginError>;

    /// What was learnt, as bytes.
    fn save(&self) -> Result<Vec<u8>, PluginError>;

    /// Takes up what [`save`](Self::save) wrote. The bytes may be an attacker's: check every count and index.
    fn load(&mut self, weights: &[u8]) -> Result<(), PluginError>;

    /// Writes one raw score a row into `scores`.
    fn predict(&self, rows: &Rows<'_>, scores: &mut [f64]) -> Result<(), PluginError>;

    /// Writes each column's part in the raw score of one row into `contributions`.
    fn explain(&self, row: &[f32], contributions: &mut [f64]) -> Result<(), PluginError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_what_is_there_of_it() {
        let values = [1.0, f32::NAN, 2.0, 3.0, f32::INFINITY, 4.0];
        let set =
            TrainingSet { rows: Rows::new(&values, 2), labels: &[true, false, true], weights: &[1.0; 3], seed: 0 };
        assert_eq!(set.column(0).collect::<Vec<_>>(), [(1.0, true, 1.0), (2.0, false, 1.0)]);
        assert_eq!(set.column(1).collect::<Vec<_>>(), [(3.0, false, 1.0), (4.0, true, 1.0)]);
        assert_eq!(set.column(2).count(), 0);
    }
}
