//! What a model ships with beside its weights: how raw numbers become scores, and from which score on it raises an alarm.
//!
//! Both are chosen on scores of rows that the scoring models had not seen, so that they may be expected to hold elsewhere.
//! Training chooses them on its own folds; an evaluation chooses them anew within each of its folds, to see whether they do.

use super::metrics::tail_threshold;
use super::validate::{self, MALICIOUS_RATE, SUSPICIOUS_RATE};
use super::{Dataset, LearnError, Truth, search};
use crate::model::AlarmRate;
use crate::plugins::Registry;
use std::collections::BTreeMap;
use veilwatch_core::detect::{Calibration, Thresholds};

/// False alarms per benign pair for which a card tells the threshold.
const TOLD_RATES: [f64; 9] = [1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5];

/// Calibration, and the benign scores that thresholds are chosen on.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    /// How a raw number becomes a score.
    pub(crate) calibration: Calibration,
    /// The highest raw number of each benign (capture, server) pair.
    benign: Vec<f64>,
}

impl Chosen {
    /// From raw numbers of some rows, one each; rows without a label, or without a number, do not count.
    pub(crate) fn of(data: &Dataset, rows: &[usize], raw: &[f64]) -> Self {
        let known: Vec<(usize, f64)> = rows
            .iter()
            .zip(raw)
            .filter(|(row, raw)| data.rows[**row].truth != Truth::Unlabelled && !raw.is_nan())
            .map(|(row, raw)| (*row, *raw))
            .collect();
        let weights = validate::weights(data, &known.iter().map(|(row, _)| *row).collect::<Vec<_>>());
        let labelled: Vec<(f64, bool, f64)> = known
            .iter()
            .zip(&weights)
            .map(|((row, raw), weight)| (*raw, data.rows[*row].truth == Truth::Malicious, *weight))
            .collect();
        let mut pairs: BTreeMap<usize, (f64, bool)> = BTreeMap::new();
        for (row, raw) in known {
            let row = &data.rows[row];
            let pair = pairs.entry(row.pair).or_insert((f64::NEG_INFINITY, false));
            *pair = (pair.0.max(raw), pair.1 || row.truth == Truth::Malicious);
        }
        let benign = pairs.into_values().filter(|(_, malicious)| !malicious).map(|(raw, _)| raw).collect();
        Self { calibration: Calibration::fit(&labelled), benign }
    }

    /// On folds within some rows: what training would choose if these rows were all there is.
    pub(crate) fn within(
        registry: &Registry,
        classifier: (&str, &str),
        data: &Dataset,
        rows: &[usize],
        folds: usize,
        seed: u64,
    ) -> Result<Self, LearnError> {
        let of = search::inner(data, rows, folds, seed);
        let mut raw = vec![f64::NAN; rows.len()];
        for fold in 0..folds {
            let part = |inside: bool| -> Vec<usize> {
                rows.iter().zip(&of).filter(|(_, of)| (**of == fold) == inside).map(|(row, _)| *row).collect()
            };
            let (learnt, tested) = (part(false), part(true));
            let taught =
                |label: bool| learnt.iter().any(|row| data.lesson(*row).is_some_and(|(known, _)| known == label));
            if tested.is_empty() || !(taught(true) && taught(false)) {
                continue;
            }
            let model = validate::fit(registry, classifier, data, &learnt, seed)?;
            let scores = validate::scores(&*model, classifier.0, data, &tested)?;
            let places = of.iter().enumerate().filter(|(_, of)| **of == fold).map(|(at, _)| at);
            places.zip(scores).for_each(|(at, score)| raw[at] = score);
        }
        Ok(Self::of(data, rows, &raw))
    }

    /// The raw number that so many of the benign pairs would reach, with a smoothed tail; out of reach where there are none.
    pub(crate) fn raw_threshold(&self, rate: f64) -> f64 {
        if self.benign.is_empty() { f64::INFINITY } else { tail_threshold(self.benign.clone(), rate) }
    }

    /// The same as a score.
    fn threshold(&self, rate: f64) -> f64 {
        self.calibration.score(self.raw_threshold(rate))
    }

    /// The thresholds that a model ships with: those of two of the rates that its card tells.
    pub(crate) fn thresholds(&self) -> Thresholds {
        let rates = self.alarm_rates();
        let of = |rate: f64| rates.iter().find(|at| at.rate == rate).map_or(1.0, |at| at.score);
        Thresholds { suspicious: of(SUSPICIOUS_RATE), malicious: of(MALICIOUS_RATE) }
    }

    /// The threshold for each of the rates that a card tells. Where smoothed tails cross, the rarer alarms are believed, and
    /// more frequent ones take no higher score.
    pub(crate) fn alarm_rates(&self) -> Vec<AlarmRate> {
        let mut most = 1.0f64;
        let told = TOLD_RATES.into_iter().rev().map(|rate| {
            most = most.min(self.threshold(rate));
            AlarmRate { rate, score: most }
        });
        let mut told: Vec<AlarmRate> = told.collect();
        told.reverse();
        told
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Keys, Row};
    use super::*;

    fn row(capture: usize, pair: usize, truth: Truth) -> Row {
        Row { capture, pair, truth, kin: Vec::new(), packet: 1, keys: Keys::default() }
    }

    /// Benign pairs of two flows each whose higher raw numbers fall off as an exponential of scale 1.
    fn data(pairs: usize) -> (Dataset, Vec<f64>) {
        let (mut data, mut raw) = (Dataset::default(), Vec::new());
        for pair in 0..pairs {
            for below in [0.0, 3.0] {
                data.rows.push(row(pair, pair, Truth::Benign));
                raw.push(-((pair as f64 + 0.5) / pairs as f64).ln() - below);
            }
        }
        for pair in 0..pairs / 20 {
            data.rows.push(row(pairs + pair, pairs + pair, Truth::Malicious));
            raw.push(6.0 + pair as f64 / pairs as f64);
        }
        data.rows.push(row(0, 0, Truth::Unlabelled));
        raw.push(100.0);
        (data, raw)
    }

    #[test]
    fn thresholds_follow_the_tail_of_benign_pairs() {
        let (data, raw) = data(4000);
        let rows: Vec<usize> = (0..raw.len()).collect();
        let chosen = Chosen::of(&data, &rows, &raw);
        assert_eq!(chosen.benign.len(), 4000, "a pair counts once, and malicious ones do not");
        for rate in [1e-2, 1e-3, 1e-5] {
            let got = chosen.raw_threshold(rate);
            assert!((got + rate.ln()).abs() < 0.6, "{rate}: {got}");
        }
        let Thresholds { suspicious, malicious } = chosen.thresholds();
        assert!(0.0 < suspicious && suspicious < malicious && malicious < 1.0);
        let told = chosen.alarm_rates();
        assert!(told.windows(2).all(|two| two[0].rate > two[1].rate && two[0].score <= two[1].score));
        assert!(told.iter().any(|at| at.rate == MALICIOUS_RATE && at.score == malicious));
    }

    /// A few benign pairs that stand apart from all others make the tails of different rates cross.
    #[test]
    fn what_a_card_tells_is_what_it_ships_with() {
        let (data, mut raw) = data(2700);
        let apart = data.rows.iter().filter(|row| row.pair < 30).count();
        raw.iter_mut().take(apart).for_each(|raw| *raw = 0.5 + (*raw * 7.0).fract() / 2.0);
        raw.iter_mut().skip(apart).take(2 * 2700 - apart).for_each(|raw| *raw -= 5.0);
        let chosen = Chosen::of(&data, &(0..raw.len()).collect::<Vec<_>>(), &raw);
        assert!(chosen.raw_threshold(3e-3) > chosen.raw_threshold(1e-3), "they cross");
        let told = chosen.alarm_rates();
        assert!(told.windows(2).all(|two| two[0].score <= two[1].score));
        let of = |rate| told.iter().find(|at| at.rate == rate).unwrap().score;
        assert_eq!(chosen.thresholds(), Thresholds { suspicious: of(1e-2), malicious: of(1e-3) });
    }

    #[test]
    fn without_benign_pairs_nothing_is_an_alarm() {
        let data = Dataset { rows: vec![row(0, 0, Truth::Malicious)], ..Dataset::default() };
        assert_eq!(Chosen::of(&data, &[0], &[5.0]).raw_threshold(1e-3), f64::INFINITY);
    }
}
