//! How rare terms are: what a model learns of columns that are term weights, and keeps with its own weights.
//!
//! An extractor knows one flow at a time, so that it can count terms but not weigh them by how many flows have them
//! (inverse document frequency). This stands around a pipeline's classifier where its schema has such columns: `fit` learns
//! a factor for each from the rows that it learns from, and those rows alone; the factors go before the classifier's own
//! bytes in the model. To trees they mean nothing, to models of sums and distances much.

use std::borrow::Cow;
use veilwatch_core::feature::{Column, Rows};
use veilwatch_core::plugin::{Classifier, PluginError, TrainingSet};

/// The unit by which columns say that they are term weights: this, or this with more behind a blank.
const UNIT: &str = "weight";

/// What the weights of such a model begin with.
const MAGIC: &[u8; 8] = b"vw-terms";

/// The columns that are term weights.
pub(crate) fn term_columns(columns: &[Column]) -> Vec<usize> {
    let is_term = |column: &Column| column.unit.split(' ').next() == Some(UNIT);
    columns.iter().enumerate().filter(|(_, column)| is_term(column)).map(|(at, _)| at).collect()
}

/// A classifier that gets term weights by how rare they are; the classifier itself where there are no such columns.
pub(crate) fn by_rarity(inner: Box<dyn Classifier>, terms: &[usize]) -> Box<dyn Classifier> {
    if terms.is_empty() {
        return inner;
    }
    Box::new(ByRarity { inner, terms: terms.to_vec(), factors: vec![1.0; terms.len()] })
}

struct ByRarity {
    inner: Box<dyn Classifier>,
    /// Columns that are term weights.
    terms: Vec<usize>,
    /// One for each of them.
    factors: Vec<f32>,
}

impl ByRarity {
    fn weigh(&self, row: &mut [f32]) {
        for (at, factor) in self.terms.iter().zip(&self.factors) {
            if let Some(cell) = row.get_mut(*at) {
                *cell *= factor;
            }
        }
    }

    fn weighed<'a>(&self, rows: &Rows<'a>) -> Cow<'a, [f32]> {
        let mut data = Cow::Borrowed(rows.data());
        data.to_mut().chunks_exact_mut(rows.width().max(1)).for_each(|row| self.weigh(row));
        data
    }
}

/// `ln((1 + all) / (1 + those that have it)) + 1` for each column, rows counted by their weights. A column that nobody
/// has is as rare as can be.
fn factors(data: &TrainingSet<'_>, terms: &[usize]) -> Vec<f32> {
    let all: f64 = data.weights.iter().map(|weight| f64::from(*weight)).sum();
    let factor = |at: &usize| {
        let with: f64 = data.column(*at).filter(|(value, ..)| *value != 0.0).map(|(_, _, weight)| weight).sum();
        (((1.0 + all) / (1.0 + with)).ln() + 1.0) as f32
    };
    terms.iter().map(factor).collect()
}

impl Classifier for ByRarity {
    fn fit(&mut self, data: &TrainingSet<'_>) -> Result<(), PluginError> {
        self.factors = factors(data, &self.terms);
        let weighed = self.weighed(&data.rows);
        self.inner.fit(&TrainingSet { rows: Rows::new(&weighed, data.rows.width()), ..*data })
    }

    fn save(&self) -> Result<Vec<u8>, PluginError> {
        let inner = self.inner.save()?;
        let count = u32::try_from(self.factors.len()).map_err(|_| PluginError::data("too many terms"))?;
        let factors = self.factors.iter().flat_map(|factor| factor.to_le_bytes());
        Ok(MAGIC.iter().copied().chain(count.to_le_bytes()).chain(factors).chain(inner).collect())
    }

    fn load(&mut self, weights: &[u8]) -> Result<(), PluginError> {
        let broken = || PluginError::data("the model has no weights of terms; train it again for this pipeline");
        let rest = weights.strip_prefix(MAGIC).ok_or_else(broken)?;
        let (count, rest) = rest.split_first_chunk::<4>().ok_or_else(broken)?;
        if u32::from_le_bytes(*count) as usize != self.terms.len() {
            return Err(broken());
        }
        let (factors, rest) = rest.split_at_checked(self.terms.len() * 4).ok_or_else(broken)?;
        let read = factors.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        let factors: Vec<f32> = read.collect();
        if !factors.iter().all(|factor| factor.is_finite() && *factor > 0.0) {
            return Err(broken());
        }
        self.inner.load(rest)?;
        self.factors = factors;
        Ok(())
    }

    fn predict(&self, rows: &Rows<'_>, scores: &mut [f64]) -> Result<(), PluginError> {
        self.inner.predict(&Rows::new(&self.weighed(rows), rows.width()), scores)
    }

    fn explain(&self, row: &[f32], contributions: &mut [f64]) -> Result<(), PluginError> {
        let mut row = row.to_vec();
        self.weigh(&mut row);
        self.inner.explain(&row, contributions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use veilwatch_core::feature::Evidence;

    /// Adds up a row.
    struct Sum;

    impl Classifier for Sum {
        fn fit(&mut self, _: &TrainingSet<'_>) -> Result<(), PluginError> {
            Ok(())
        }
        fn save(&self) -> Result<Vec<u8>, PluginError> {
            Ok(b"sum".to_vec())
        }
        fn load(&mut self, weights: &[u8]) -> Result<(), PluginError> {
            if weights == b"sum" { Ok(()) } else { Err(PluginError::data("no sum")) }
        }
        fn predict(&self, rows: &Rows<'_>, scores: &mut [f64]) -> Result<(), PluginError> {
            rows.iter().zip(scores).for_each(|(row, score)| *score = row.iter().map(|cell| f64::from(*cell)).sum());
            Ok(())
        }
        fn explain(&self, row: &[f32], contributions: &mut [f64]) -> Result<(), PluginError> {
            row.iter().zip(contributions).for_each(|(cell, part)| *part = f64::from(*cell));
            Ok(())
        }
    }

    const LABELS: [bool; 3] = [true, false, false];

    fn learnt(terms: &[usize]) -> Box<dyn Classifier> {
        // Column 0 is none of terms; column 1 has all rows, column 2 the first, of half the weight.
        let rows = [9.0, 1.0, 0.5, 9.0, -1.0, 0.0, 9.0, 1.0, f32::NAN];
        let mut classifier = by_rarity(Box::new(Sum), terms);
        let data = TrainingSet { rows: Rows::new(&rows, 3), labels: &LABELS, weights: &[1.0, 0.5, 0.5], seed: 1 };
        classifier.fit(&data).unwrap();
        classifier
    }

    #[test]
    fn rare_terms_weigh_more() {
        let classifier = learnt(&[1, 2]);
        let mut parts = [0.0; 3];
        classifier.explain(&[1.0; 3], &mut parts).unwrap();
        // In all of 2: ln(3 / 3) + 1. In 1 of 2: ln(3 / 2) + 1.
        assert_eq!(parts, [1.0, 1.0, f64::from((1.5f64.ln() + 1.0) as f32)]);
        let mut scores = [0.0; 2];
        classifier.predict(&Rows::new(&[1.0, 1.0, 1.0, 0.0, 2.0, 0.0], 3), &mut scores).unwrap();
        assert_eq!(scores, [parts.iter().sum(), 2.0]);
    }

    #[test]
    fn the_model_keeps_what_was_learnt() {
        let saved = learnt(&[1, 2]).save().unwrap();
        let mut other = by_rarity(Box::new(Sum), &[1, 2]);
        other.load(&saved).unwrap();
        assert_eq!(other.save().unwrap(), saved);
        let mut broken: Vec<Vec<u8>> = (0..saved.len()).map(|len| saved[..len].to_vec()).collect();
        broken.push([&saved[..12], &f32::NAN.to_le_bytes(), &saved[16..]].concat());
        broken.push(b"sum".to_vec());
        assert!(broken.iter().all(|weights| other.load(weights).is_err()));
        assert!(by_rarity(Box::new(Sum), &[1]).load(&saved).is_err());
        assert_eq!(other.save().unwrap(), saved, "what could not be loaded changes nothing");
    }

    #[test]
    fn without_terms_there_is_nothing_around_it() {
        assert_eq!(learnt(&[]).save().unwrap(), b"sum");
        let column = |unit| Column::new("a", unit, "a", Evidence::Flow);
        assert_eq!(
            term_columns(&[column("bytes"), column("weight"), column("weight 00ff"), column("weights")]),
            [1, 2]
        );
    }
}
