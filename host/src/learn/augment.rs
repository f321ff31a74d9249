//! Altered copies of rows, to learn from beside them.
//!
//! A copy is never tested, and never by itself: it is learnt from only where its row is, and the two share the row's weight.
//! So it cannot bring anything over from a fold's test, nor make its pair weigh more.

use super::random::Random;
use super::{Altering, Copied, Dataset, LearnError, LoadOptions, Loading, Origin, Truth, load_from};
use crate::engine::Pipeline;
use std::collections::BTreeMap;

/// A flow is the same as before where it begins no further from there than this, in nanoseconds: lost packets and jitter
/// move its begin.
const NEAR_NS: u64 = 5_000_000_000;

impl Dataset {
    /// Adds the copies that its recipe asks for, by reading the captures again, once for each alteration.
    pub fn augment(
        &mut self,
        origins: &[Origin],
        pipeline: &Pipeline,
        options: &LoadOptions<'_>,
        seed: u64,
        loading: &Loading,
    ) -> Result<(), LearnError> {
        for augment in self.recipe.augment.clone() {
            let altering = Altering { alterations: &[augment.alteration], seed };
            let altered = load_from(origins, pipeline, &LoadOptions { altering, ..*options }, loading)?;
            self.copy_from(&altered, &augment.to_string(), augment.share, seed);
        }
        Ok(())
    }

    /// Takes a share of the rows of an altered reading as copies.
    fn copy_from(&mut self, altered: &Self, words: &str, share: f64, seed: u64) {
        let mut found: BTreeMap<(&str, u64), Vec<usize>> = BTreeMap::new();
        for (at, (row, tuple)) in altered.rows.iter().zip(&altered.tuples).enumerate() {
            found.entry((&altered.captures[row.capture].path, *tuple)).or_default().push(at);
        }
        let mut random = Random::of(seed, &[words]);
        for (at, (row, tuple)) in self.rows.iter().zip(&self.tuples).enumerate() {
            // Drawn for each row, so that what is labelled otherwise changes nothing for the others.
            let drawn = random.share() < share;
            let worth = row.truth != Truth::Unlabelled
                || self.weak.contains_key(&at)
                || self.cleaned.contains_key(&at)
                || self.marked.rows.contains_key(&at);
            if !drawn || !worth {
                continue;
            }
            let far = |other: usize| altered.rows[other].keys.first_ns.abs_diff(row.keys.first_ns);
            let others = found.get(&(self.captures[row.capture].path.as_str(), *tuple)).into_iter().flatten();
            if let Some(other) = others.copied().min_by_key(|other| far(*other)).filter(|other| far(*other) <= NEAR_NS)
            {
                self.copies.push(Copied { row: at, values: altered.row(other).to_vec() });
            }
        }
    }
}

/// Adds the altered copies of the rows that are learnt from; a row and its copies share its weight.
pub(super) fn add_copies(
    data: &Dataset,
    learnt: &[usize],
    values: &mut Vec<f32>,
    labels: &mut Vec<bool>,
    weights: &mut Vec<f64>,
) {
    let place: BTreeMap<usize, usize> = learnt.iter().enumerate().map(|(at, row)| (*row, at)).collect();
    let theirs: Vec<_> = data.copies.iter().filter_map(|copy| Some((*place.get(&copy.row)?, copy))).collect();
    let mut shares = vec![1.0; learnt.len()];
    theirs.iter().for_each(|(at, _)| shares[*at] += 1.0);
    weights.iter_mut().zip(&shares).for_each(|(weight, share)| *weight /= share);
    for (at, copy) in theirs {
        values.extend_from_slice(&copy.values);
        labels.push(labels[at]);
        weights.push(weights[at]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CaptureFacts, Keys, Row};
    use super::*;

    fn data(times: &[u64]) -> Dataset {
        let row = |time: &u64| Row {
            capture: 0,
            pair: 0,
            truth: Truth::Benign,
            kin: Vec::new(),
            packet: 1,
            keys: Keys { first_ns: *time * 1_000_000_000, ..Keys::default() },
        };
        Dataset {
            width: 1,
            values: times.iter().map(|time| *time as f32).collect(),
            rows: times.iter().map(row).collect(),
            captures: vec![CaptureFacts { path: "a".into(), ..CaptureFacts::default() }],
            tuples: vec![7; times.len()],
            ..Dataset::default()
        }
    }

    #[test]
    fn copies_are_of_the_same_flow_and_of_their_share() {
        let mut some = data(&[100, 200, 300]);
        some.copy_from(&data(&[101, 299, 250]), "x", 1.0, 1);
        let copied: Vec<(usize, f32)> = some.copies.iter().map(|copy| (copy.row, copy.values[0])).collect();
        assert_eq!(copied, [(0, 101.0), (2, 299.0)], "the second was lost");
        let mut many = data(&(0..1000).map(|at| at * 100).collect::<Vec<_>>());
        let same = many.clone();
        many.copy_from(&same, "x", 0.3, 1);
        assert!((250..350).contains(&many.copies.len()), "{}", many.copies.len());
        assert!(many.copies.iter().all(|copy| copy.values == many.row(copy.row)));
    }

    #[test]
    fn a_row_and_its_copies_weigh_what_the_row_did() {
        let mut some = data(&[100, 200, 300]);
        some.copy_from(&data(&[101, 201, 301]), "x", 1.0, 1);
        some.copy_from(&data(&[102, 250, 302]), "y", 1.0, 1);
        // Rows 0 and 1 are learnt from, row 2 is tested: its copies are not there.
        let (mut values, mut labels, mut weights) = (vec![100.0, 200.0], vec![true, false], vec![0.6, 1.0]);
        add_copies(&some, &[0, 1], &mut values, &mut labels, &mut weights);
        assert_eq!(values, [100.0, 200.0, 101.0, 201.0, 102.0]);
        assert_eq!(labels, [true, false, true, false, true]);
        let near = |got: f64, expected: f64| (got - expected).abs() < 1e-12;
        assert!(near(weights[0] + weights[2] + weights[4], 0.6) && near(weights[0], weights[4]), "{weights:?}");
        assert!(near(weights[1] + weights[3], 1.0), "{weights:?}");
    }
}
