//! The classifier `ensemble`: the mean log-odds of a logistic regression over ranks and of shallow boosted trees.
//!
//! The two err in different places: the regression weighs every column a little and carries over to what nobody has seen,
//! the trees know what goes together. Either alone does worse on malware families that were left out.

mod ranked;
mod settings;
#[cfg(test)]
mod tests;

pub use settings::EnsembleSettings;

use veilwatch_classifier_shared::codec::{Reader, Writer};
use veilwatch_classifier_shared::forest::Forest;
use veilwatch_classifier_shared::learner::{Learner, Learning, Model};
use veilwatch_classifier_shared::sums::BinTable;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::{PluginError, TrainingSet};

/// The classifier. It explains by the two parts' explanations, weighed as their scores are.
pub type Ensemble = Learning<EnsembleSettings>;

/// Rows that both parts score before the next ones: their scores stay on the stack.
const BLOCK: usize = 64;

/// A regression and trees over the same rows; either's score is the log-odds of malice.
#[derive(Debug)]
pub struct Pair {
    linear: BinTable,
    trees: Forest,
    /// Share of the regression in the score.
    share: f64,
}

impl Pair {
    fn new(linear: BinTable, trees: Forest, share: f64) -> Result<Self, PluginError> {
        if linear.width() != trees.width() {
            return Err(PluginError::data("the two parts of the ensemble are for rows of different widths"));
        }
        if !(0.0..=1.0).contains(&share) {
            return Err(PluginError::data("the share of the ensemble's regression is not between 0 and 1"));
        }
        Ok(Self { linear, trees, share })
    }

    fn blend(&self, linear: f64, trees: f64) -> f64 {
        self.share * linear + (1.0 - self.share) * trees
    }
}

impl Model for Pair {
    fn width(&self) -> usize {
        self.linear.width()
    }

    fn score(&self, rows: &Rows<'_>, scores: &mut [f64]) {
        let width = self.width();
        for (rows, scores) in rows.data().chunks(BLOCK * width).zip(scores.chunks_mut(BLOCK)) {
            let rows = Rows::new(rows, width);
            let mut linear = [0.0; BLOCK];
            self.linear.score(&rows, &mut linear[..scores.len()]);
            self.trees.score(&rows, scores);
            scores.iter_mut().zip(linear).for_each(|(score, linear)| *score = self.blend(linear, *score));
        }
    }

    fn explain(&self, row: &[f32], parts: &mut [f64]) {
        let mut linear = vec![0.0; parts.len()];
        self.linear.explain(row, &mut linear);
        self.trees.explain(row, parts);
        parts.iter_mut().zip(linear).for_each(|(part, linear)| *part = self.blend(linear, *part));
    }

    fn write(&self, to: &mut Writer) -> Result<(), PluginError> {
        to.put(&self.share)?;
        self.linear.write(to)?;
        self.trees.write(to)
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, PluginError> {
        let share = from.number()?;
        let linear = BinTable::read(from)?;
        Self::new(linear, Forest::read(from)?, share)
    }
}

impl Learner for EnsembleSettings {
    type Model = Pair;
    const MAGIC: [u8; 4] = *b"VWEN";
    const VERSION: u8 = 1;
    const NAME: &'static str = "an ensemble";

    fn check(&self) -> Result<(), PluginError> {
        self.within_ranges()
    }

    fn learn(&self, data: &TrainingSet<'_>) -> Result<Pair, PluginError> {
        Pair::new(ranked::regress(self, data)?, self.boosted().learn(data)?, self.linear_share)
    }
}

veilwatch_core::declare_plugins!(
    classifier "ensemble" "the mean log-odds of a regression over ranks and of shallow boosted trees": Ensemble
);
