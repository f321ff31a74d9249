//! What a model that learnt from captures as they are makes of the same captures, altered.

use super::Bench;
use super::figures::Figures;
use super::units::{Level, Negatives, Outcome, against, units};
use crate::learn::{Dataset, Folds, LearnError, validate};
use crate::model::Figure;
use serde::Serialize;
use std::collections::BTreeMap;

/// The data as another sensor, network or adversary would have made it.
#[derive(Debug)]
pub struct Altered {
    /// What was altered, in words.
    pub name: String,
    /// The same captures, read so.
    pub data: Dataset,
}

/// What an alteration costs.
#[derive(Debug, Clone, Serialize)]
pub struct Robustness {
    /// What was altered.
    pub name: String,
    /// Malicious pairs that are still there.
    pub malicious_pairs: usize,
    /// Negative pairs that are still there.
    pub negative_pairs: usize,
    /// Average precision by pair, against both negatives.
    pub average_precision: Option<Figure>,
    /// Recall by pair at the alarm threshold that was chosen on unaltered captures.
    pub recall_at_threshold: Option<Figure>,
    /// False-positive rate by pair there.
    pub false_positive_rate: Option<Figure>,
}

/// Scores of altered data, from the very models whose figures stand beside: filled fold by fold.
pub(super) struct Tests<'a> {
    altered: &'a Altered,
    /// Fold of each capture, by its path.
    folds: BTreeMap<&'a str, usize>,
    raw: Vec<f64>,
}

impl<'a> Tests<'a> {
    pub(super) fn new(altered: &'a Altered, data: &'a Dataset, folds: &Folds) -> Self {
        let mut of_path = BTreeMap::new();
        for (at, row) in data.rows.iter().enumerate() {
            of_path.extend(folds.fold(at).map(|fold| (data.captures[row.capture].path.as_str(), fold)));
        }
        Self { altered, folds: of_path, raw: vec![f64::NAN; altered.data.rows.len()] }
    }

    fn rows(&self, fold: usize) -> Vec<usize> {
        let of = |row: &usize| {
            let path = &self.altered.data.captures[self.altered.data.rows[*row].capture].path;
            self.folds.get(path.as_str()) == Some(&fold)
        };
        (0..self.raw.len()).filter(of).collect()
    }

    /// Has a fold's model score the altered captures that the fold tests.
    pub(super) fn score(&mut self, fold: usize, path: &str, fitted: &validate::Fitted<'_>) -> Result<(), LearnError> {
        let rows = self.rows(fold);
        let scores = validate::scores(fitted.classifier, path, &self.altered.data, &rows)?;
        rows.iter().zip(scores).for_each(|(row, score)| self.raw[*row] = score);
        Ok(())
    }

    /// What came of it; thresholds are those of the unaltered captures.
    pub(super) fn report(self, bench: &Bench<'_>, unaltered: &Outcome<'_>) -> Robustness {
        let data = &self.altered.data;
        let folds = unaltered.folds.like(data, |capture| self.folds.get(capture.path.as_str()).copied());
        let outcome = Outcome::new(data, &folds, self.raw);
        let mut units = units(&outcome, Level::Pair);
        let thresholds = super::units::alarm_thresholds_of(unaltered);
        units.iter_mut().for_each(|unit| unit.alarm = unit.raw >= thresholds[unit.fold]);
        let figures = Figures::of(&against(&units, Negatives::Both), bench.plan.samples(), bench.plan.seed);
        let malicious = units.iter().filter(|unit| unit.malicious()).count();
        Robustness {
            name: self.altered.name.clone(),
            malicious_pairs: malicious,
            negative_pairs: units.len() - malicious,
            average_precision: figures.as_ref().map(|figures| figures.average_precision),
            recall_at_threshold: figures.as_ref().map(|figures| figures.alarms.recall),
            false_positive_rate: figures.as_ref().map(|figures| figures.alarms.false_positive_rate),
        }
    }
}
