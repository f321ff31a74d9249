//! How far one gets by looking up who it is, instead of what it does.

use super::columns::by_pair;
use super::{Check, Subject};
use crate::evaluate::bootstrap::{Bootstrap, interval};
use crate::learn::validate::weights;
use crate::learn::{Dataset, Folds, Keys, Pair, Pairs, Truth};
use std::collections::BTreeMap;

/// A look-up may reach this share of the model's average precision.
pub const LOOKUP_SHARE: f64 = 0.75;

/// Folds of captures by which names and certificates are looked up.
const CAPTURE_FOLDS: usize = 10;

type Key = fn(&Keys) -> Option<u64>;

/// What is looked up, and whether in the model's own folds. There no server and no certificate of a tested malicious row is
/// ever learnt from: a list of names or certificates could find nothing, and its check could not fail.
const LOOKUPS: [(&str, &str, Key, bool); 4] = [
    ("lookup_sni", "server name", |keys| keys.sni, false),
    ("lookup_ja3", "JA3", |keys| keys.ja3, true),
    ("lookup_ja4", "JA4", |keys| keys.ja4, true),
    ("lookup_certificate", "certificate", |keys| keys.certificate, false),
];

/// The labelled rows that each fold learns from.
pub(super) fn folds_training(folds: &Folds, data: &Dataset) -> Vec<Vec<usize>> {
    let labelled = |row: &usize| data.rows[*row].truth != Truth::Unlabelled;
    (0..folds.count).map(|fold| folds.training(fold, data).into_iter().filter(labelled).collect()).collect()
}

/// The same of folds by capture, whatever it is tied to.
fn untied_training(folds: &Folds, data: &Dataset) -> Vec<Vec<usize>> {
    let learnt = |fold: usize, row: &usize| {
        data.rows[*row].truth != Truth::Unlabelled && folds.is_used(*row) && !folds.tests(fold, *row)
    };
    (0..folds.count).map(|fold| (0..data.rows.len()).filter(|row| learnt(fold, row)).collect()).collect()
}

/// Scores of all tested rows: the share of malicious weight that their category has in the rows that their fold learns
/// from, drawn towards the share over all categories by one row's weight.
pub(super) fn lookup(
    data: &Dataset,
    folds: &Folds,
    training: &[Vec<usize>],
    category: &[u32],
    categories: usize,
) -> Vec<f64> {
    let mut scores = vec![f64::NAN; data.rows.len()];
    for (fold, rows) in training.iter().enumerate() {
        let mut of_category = vec![(0.0, 0.0); categories];
        let (mut malicious, mut all) = (0.0, 0.0);
        for (row, weight) in rows.iter().zip(weights(data, rows)) {
            let (hits, total) = &mut of_category[category[*row] as usize];
            *total += weight;
            all += weight;
            if data.rows[*row].truth == Truth::Malicious {
                *hits += weight;
                malicious += weight;
            }
        }
        let prior = if all > 0.0 { malicious / all } else { 0.0 };
        for row in (0..scores.len()).filter(|row| folds.tests(fold, *row)) {
            let (hits, total) = of_category[category[row] as usize];
            scores[row] = (hits + prior) / (total + 1.0);
        }
    }
    scores
}

/// Numbers from 0 for keys; 0 for what has none.
fn numbered(data: &Dataset, key: Key) -> (Vec<u32>, usize) {
    let mut numbers = BTreeMap::new();
    let number = |found: Option<u64>| {
        let Some(found) = found else { return 0 };
        let next = numbers.len() as u32 + 1;
        *numbers.entry(found).or_insert(next)
    };
    let category = data.rows.iter().map(|row| key(&row.keys)).map(number).collect();
    (category, numbers.len() + 1)
}

pub(super) fn checks(subject: &Subject<'_>) -> Vec<Check> {
    let (data, folds) = (subject.data, subject.folds);
    let by_capture = Folds::by_capture(data, subject.seed, CAPTURE_FOLDS);
    let (tied, untied) = (folds_training(folds, data), untied_training(&by_capture, data));
    let model = by_pair(data, &subject.model.raw).0;
    let check = |(id, what, key, ties): (&'static str, &str, Key, bool)| {
        let (learnt, folds, training) = match ties {
            true => ("the training folds", folds, &tied),
            false => {
                ("all folds of captures but its own, families and servers of the test included,", &by_capture, &untied)
            }
        };
        let check = Check::new(
            id,
            &format!("Would a list of {what}s do as well as the model?"),
            format!(
                "fails where a look-up of the {what} in {learnt} has more than {LOOKUP_SHARE:.2} of the model's \
                 average precision by pair, or where the 95 % interval of the difference (both on the same bootstrap \
                 samples) reaches zero"
            ),
        );
        let (category, categories) = numbered(data, key);
        if categories < 3 {
            return check.too_little("fewer than two different ones were seen");
        }
        let scores = lookup(data, folds, training, &category, categories);
        let found = by_pair(data, &scores).0;
        let difference = difference(subject, &scores);
        let [low, high] = [difference.low, difference.high];
        if low.is_nan() {
            return check.too_little("too few malicious captures for an interval");
        }
        let text = format!(
            "look-up {found:.3}, model {model:.3}; the model is better by {:.3} [{low:.3}, {high:.3}]",
            difference.value
        );
        check
            .number("average_precision", found)
            .number("model_average_precision", model)
            .number("difference_low", low)
            .passes(found <= LOOKUP_SHARE * model && low > 0.0, text)
    };
    LOOKUPS.into_iter().map(check).collect()
}

/// The model's average precision less a look-up's, by pair, with its interval: both are measured on the same samples.
fn difference(subject: &Subject<'_>, scores: &[f64]) -> crate::model::Figure {
    let data = subject.data;
    let pairs = |scores: &[f64]| {
        let mut pairs: BTreeMap<usize, Pair> = BTreeMap::new();
        for (row, score) in data.rows.iter().zip(scores).filter(|(row, _)| row.truth != Truth::Unlabelled) {
            let none = Pair { capture: row.capture, malicious: false, score: f64::NEG_INFINITY };
            let pair = pairs.entry(row.pair).or_insert(none);
            pair.score = pair.score.max(*score);
            pair.malicious |= row.truth == Truth::Malicious;
        }
        Pairs::new(pairs.into_values().collect())
    };
    let both = [pairs(&subject.model.raw), pairs(scores)];
    let bootstrap = Bootstrap::new(both[0].iter().map(|pair| pair.capture), subject.samples, subject.seed);
    let measure = |times: Option<&[f64]>| {
        let weight = |pair: &Pair| times.map_or(1.0, |times| times[pair.capture]);
        both[0].average_precision(weight) - both[1].average_precision(weight)
    };
    let mut drawn = Vec::new();
    bootstrap.each(|times| drawn.extend(Some(measure(Some(times))).filter(|value| !value.is_nan())));
    interval(measure(None), &mut drawn, subject.samples)
}
