use serde::Deserialize;
use veilwatch_classifier_shared::bins::Bins;
use veilwatch_classifier_shared::learner::Learner;
use veilwatch_classifier_shared::sums::BinTable;
use veilwatch_core::plugin::{PluginError, TrainingSet, within};

/// The settings of `multinomial-bayes`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MultinomialSettings {
    /// Bins each column is cut into.
    pub bins: usize,
    /// Rows of each word that each class is taken to have beside its own.
    pub smoothing: f64,
}

impl Default for MultinomialSettings {
    fn default() -> Self {
        Self { bins: 8, smoothing: 1.0 }
    }
}

impl Learner for MultinomialSettings {
    type Model = BinTable;
    const MAGIC: [u8; 4] = *b"VWMB";
    const VERSION: u8 = 1;
    const NAME: &'static str = "multinomial naive Bayes";

    fn check(&self) -> Result<(), PluginError> {
        within("bins", self.bins, 2..=255)?;
        within("smoothing", self.smoothing, 1e-3..=1e6)
    }

    fn learn(&self, data: &TrainingSet<'_>) -> Result<BinTable, PluginError> {
        let bins = Bins::learn(data, self.bins - 1);
        let [benign, malicious] = bins.frequencies_of_classes(data);
        // Words that every row has tell nothing.
        let tells: Vec<bool> = benign.iter().zip(&malicious).map(|(good, bad)| words(good, bad) > 1).collect();
        let vocabulary: usize = benign.iter().zip(&malicious).map(|(good, bad)| words(good, bad)).sum();
        let all: usize = tells.iter().filter(|tells| !**tells).count();
        let vocabulary = (vocabulary - all) as f64;
        if vocabulary < 1.0 {
            return Err(PluginError::data("no column of the rows to train on ever changes: nothing can be learnt"));
        }
        let total = |class: &[Vec<f64>]| -> f64 {
            let words = class.iter().zip(&tells).filter(|(_, tells)| **tells);
            words.map(|(counts, _)| counts.iter().sum::<f64>()).sum::<f64>() + self.smoothing * vocabulary
        };
        let [of_benign, of_malicious] = [total(&benign), total(&malicious)];
        let rows = |class: &[Vec<f64>]| class.first().map_or(0.0, |counts| counts.iter().sum::<f64>());
        let base = (rows(&malicious) / rows(&benign)).ln();

        let mut parts = Vec::with_capacity(bins.width());
        for ((good, bad), tells) in benign.iter().zip(&malicious).zip(&tells) {
            let share = |count: f64, total: f64| ((count + self.smoothing) / total).ln();
            let pairs = good.iter().zip(bad);
            let part = |(good, bad): (&f64, &f64)| share(*bad, of_malicious) - share(*good, of_benign);
            parts.push(pairs.map(|pair| if *tells { part(pair) } else { 0.0 }).collect());
        }
        let frequencies: Vec<Vec<f64>> = benign
            .iter()
            .zip(&malicious)
            .map(|(good, bad)| good.iter().zip(bad).map(|(good, bad)| good + bad).collect())
            .collect();
        BinTable::new(bins, base, parts, &frequencies)
    }
}

/// How many codes of a column occur.
fn words(benign: &[f64], malicious: &[f64]) -> usize {
    benign.iter().zip(malicious).filter(|(good, bad)| **good + **bad > 0.0).count()
}
