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
