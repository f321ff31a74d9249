//! A logistic regression over ranks: where a value lies among those of training, whatever its size.
//!
//! `linfa-logistic` finds the factors. What comes of it is a table of what each bin of each column adds, because a bin has
//! one rank: to score is to look up.

use crate::EnsembleSettings;
use std::collections::HashSet;
use veilwatch_classifier_logistic_regression::{Solver, fit, log_odds};
use veilwatch_classifier_shared::bins::Bins;
use veilwatch_classifier_shared::sample::Sample;
use veilwatch_classifier_shared::sums::BinTable;
use veilwatch_core::plugin::{PluginError, TrainingSet};

/// Share of the rows that must miss a value, and that must not, for an indicator to be worth its factor.
const MISSING_SHARE: f64 = 0.005;

/// One of the numbers that a row becomes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Number {
    /// The rank of a column's bin, between −½ and ½; 0 where the value is missing.
    Rank(usize),
    /// ½ where a column's value is missing, 0 elsewhere; of columns that are missing together the first one.
    Missing(usize),
}

impl Number {
    /// The number of a row.
    fn of(self, row: &[f32], bins: &Bins, ranks: &[Vec<f64>]) -> f64 {
        match self {
            Self::Rank(column) => ranks[column][bins.code(column, row[column])],
            Self::Missing(column) => f64::from(u8::from(row[column].is_nan())) / 2.0,
        }
    }
}

/// Learns the table.
pub(crate) fn regress(settings: &EnsembleSettings, data: &TrainingSet<'_>) -> Result<BinTable, PluginError> {
    let bins = Bins::learn(data, settings.linear_bins - 1);
    let frequencies = bins.frequencies(data);
    let ranks: Vec<Vec<f64>> = frequencies.iter().map(|column| ranks(column)).collect();
    let numbers = numbers(&bins, data, &frequencies);
    if numbers.is_empty() {
        return Err(PluginError::data("no column of the rows to train on ever changes: nothing can be learnt"));
    }
    let (base, factors) = regression(settings, data, &bins, &ranks, &numbers)?;
    // What each bin adds. A rank's mean is 0, and so is that of a value that is missing.
    let mut parts: Vec<Vec<f64>> = ranks.iter().map(|ranks| vec![0.0; ranks.len()]).collect();
    for (number, factor) in numbers.iter().zip(factors) {
        match *number {
            Number::Rank(column) => {
                parts[column].iter_mut().zip(&ranks[column]).for_each(|(part, rank)| *part += factor * rank);
            }
            Number::Missing(column) => parts[column][0] += factor / 2.0,
        }
    }
    BinTable::new(bins, base, parts, &frequencies)
}

/// The rank of each code of a column by the weights of the rows that have it: the middle of the bin among all that have a
/// value. The first code is that of missing values.
fn ranks(frequencies: &[f64]) -> Vec<f64> {
    let present: f64 = frequencies.iter().skip(1).sum();
    let mut below = 0.0;
    let mut ranks = vec![0.0];
    for weight in frequencies.iter().skip(1) {
        ranks.push(if present > 0.0 { (below + weight / 2.0) / present - 0.5 } else { 0.0 });
        below += weight;
    }
    ranks
}

/// The numbers that rows become.
fn numbers(bins: &Bins, data: &TrainingSet<'_>, frequencies: &[Vec<f64>]) -> Vec<Number> {
    let mut numbers = Vec::new();
    let mut patterns = HashSet::new();
    for (column, frequencies) in frequencies.iter().enumerate() {
        if !bins.cuts(column).is_empty() {
            numbers.push(Number::Rank(column));
        }
        let total: f64 = frequencies.iter().sum();
        let missing = frequencies.first().copied().unwrap_or_default() / total;
        if (MISSING_SHARE..=1.0 - MISSING_SHARE).contains(&missing) {
            let pattern: Vec<bool> = data.rows.iter().map(|row| row[column].is_nan()).collect();
            if patterns.insert(pattern) {
                numbers.push(Number::Missing(column));
            }
        }
    }
    numbers
}

/// Intercept and factors of the log-odds of malice.
fn regression(
    settings: &EnsembleSettings,
    data: &TrainingSet<'_>,
    bins: &Bins,
    ranks: &[Vec<f64>],
    numbers: &[Number],
) -> Result<(f64, Vec<f64>), PluginError> {
    // The library takes no weights: rows come as often as they weigh.
    let count = settings.linear_rows.min(data.rows.len());
    let picked = Sample::by_weight(data.labels, data.weights, count, data.seed).repeated();
    let mut values = Vec::with_capacity(picked.len() * numbers.len());
    for row in &picked {
        let row = data.rows.row(*row);
        values.extend(numbers.iter().map(|number| number.of(row, bins, ranks)));
    }
    let labels = picked.iter().map(|row| data.labels[*row]).collect();
    let solver =
        Solver { l2: settings.linear_l2, iterations: settings.linear_iterations, tolerance: settings.linear_tolerance };
    Ok(log_odds(&fit(values, numbers.len(), labels, &solver)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use veilwatch_classifier_shared::learner::Model;
    use veilwatch_classifier_shared::testing::Lesson;

    #[test]
    fn ranks_are_the_middles_of_bins() {
        assert_eq!(ranks(&[5.0, 1.0, 2.0, 1.0]), [0.0, -0.375, 0.0, 0.375]);
        assert_eq!(ranks(&[5.0, 0.0]), [0.0, 0.0]);
    }

    #[test]
    fn the_table_is_what_the_library_says() {
        let lesson = Lesson::new(400, 7, 0.2, 3);
        let data = lesson.set(1);
        let settings = EnsembleSettings::default();
        let bins = Bins::learn(&data, settings.linear_bins - 1);
        let frequencies = bins.frequencies(&data);
        let ranks: Vec<Vec<f64>> = frequencies.iter().map(|column| super::ranks(column)).collect();
        let numbers = numbers(&bins, &data, &frequencies);
        assert!(numbers.contains(&Number::Rank(0)) && numbers.iter().any(|n| matches!(n, Number::Missing(_))));
        let (base, factors) = regression(&settings, &data, &bins, &ranks, &numbers).unwrap();
        let mut table = vec![0.0; 400];
        regress(&settings, &data).unwrap().score(&lesson.rows(), &mut table);
        for (row, score) in lesson.rows().iter().zip(table) {
            let value = |number: &Number| number.of(row, &bins, &ranks);
            let direct: f64 = base + numbers.iter().zip(&factors).map(|(n, factor)| factor * value(n)).sum::<f64>();
            assert!((direct - score).abs() < 1e-9, "{direct} and {score}");
        }
    }
}
