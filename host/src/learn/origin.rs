//! The protocol by which the project that this one grew from came to its table of seven classifiers.
//!
//! Read in its public source, and described here in our own words. The two tables are put together and shuffled; 60 % of the
//! conversations are set apart for training and 40 % for the test. Each classifier is fitted to the 60 %. But the printed
//! figures are of something else: a five-fold cross-validation *within the 40 %*, stratified by label, whose mean F1 and mean
//! precision are each weighted by how many conversations a class has. The fit to the 60 % is saved and never scored. The
//! shuffle was not seeded there, so its figures differ from run to run; ours are, and each classifier sees the same split.
//!
//! What that is worth: conversations of one host and one hour lie on both sides of every fold, all benign ones were captured
//! in one place and all malicious ones in another, and the weighted figures count the easy, larger class five times as much.
//! A classifier that tells the two places apart scores as well as one that knows malice.
//!
//! Our classifiers give raw numbers of any scale, so the cut between the classes is where a logistic curve, fitted to the
//! scores of the rows that were learnt from, passes one half.

use super::random::Random;
use super::{Dataset, LearnError, Truth, validate};
use crate::plugins::Registry;
use veilwatch_core::detect::Calibration;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::{Instance, Settings, TrainingSet};

/// One line on what the protocol is worth.
pub const WORTH: &str = "what this protocol is worth: it splits by conversation within one place of capture a class, so \
    that a classifier need only tell the two places apart; compare `veilwatch evaluate --data`, which leaves families and \
    sources out";

/// Share of the conversations that the figures come from.
const TEST_SHARE: f64 = 0.4;
/// Folds within them.
const FOLDS: usize = 5;

/// A classifier of the origin's table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// What the origin calls it, in English.
    pub name: &'static str,
    /// `kind/name` of ours.
    pub path: &'static str,
    /// Its settings in TOML, those of the origin where it has the same ones: 200 trees, smoothing 0.01, costs 100 and 0.92.
    pub settings: &'static str,
    /// Whether both classes have the same weight.
    pub balanced: bool,
    /// The origin's weighted F1 and weighted precision in percent.
    pub theirs: (f64, f64),
}

/// The origin's table, in its order.
pub const TABLE: [Entry; 7] = [
    entry("random forest", "classifier/random-forest", "trees = 200", false, (91.01, 92.26)),
    entry("Bernoulli naive Bayes", "classifier/bernoulli-bayes", "smoothing = 0.01", false, (89.81, 91.3)),
    entry("decision tree", "classifier/decision-tree", "max_depth = 12", false, (87.70, 90.25)),
    entry("logistic regression", "classifier/logistic-regression", "l2 = 0.01", true, (88.25, 88.89)),
    entry("linear SVM", "classifier/linear-svm", "cost = 0.92", true, (77.13, 81.57)),
    entry("multinomial naive Bayes", "classifier/multinomial-bayes", "smoothing = 0.01", false, (64.25, 67.27)),
    entry("RBF SVM", "classifier/rbf-svm", "cost = 1.0", false, (42.98, 34.03)),
];

const fn entry(
    name: &'static str,
    path: &'static str,
    settings: &'static str,
    balanced: bool,
    theirs: (f64, f64),
) -> Entry {
    Entry { name, path, settings, balanced, theirs }
}

/// Mean F1 and precision over the folds, each weighted by the classes' sizes, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct OriginFigures {
    /// Weighted F1.
    pub f1: f64,
    /// Weighted precision.
    pub precision: f64,
}

/// Scores a classifier by this protocol.
pub fn score(
    registry: &Registry,
    (path, settings): (&str, &str),
    balanced: bool,
    data: &Dataset,
    seed: u64,
) -> Result<OriginFigures, LearnError> {
    let folds = folds(data, seed);
    let (mut f1, mut precision) = (0.0, 0.0);
    for (at, tested) in folds.iter().enumerate() {
        let learnt: Vec<usize> =
            folds.iter().enumerate().filter(|(other, _)| *other != at).flat_map(|(_, rows)| rows.clone()).collect();
        let called = call(registry, (path, settings), balanced, data, &learnt, tested, seed)?;
        let truth: Vec<bool> = tested.iter().map(|row| is_malicious(data, *row)).collect();
        let figures = weighted(&truth, &called);
        f1 += figures.f1 / FOLDS as f64;
        precision += figures.precision / FOLDS as f64;
    }
    Ok(OriginFigures { f1, precision })
}

fn is_malicious(data: &Dataset, row: usize) -> bool {
    data.rows[row].truth == Truth::Malicious
}

/// The rows of the test share, in folds with the same share of each label.
fn folds(data: &Dataset, seed: u64) -> Vec<Vec<usize>> {
    let mut rows: Vec<usize> = (0..data.rows.len()).filter(|row| data.rows[*row].truth != Truth::Unlabelled).collect();
    let mut random = Random::of(seed, &["origin"]);
    for at in (1..rows.len()).rev() {
        rows.swap(at, (random.next() % (at as u64 + 1)) as usize);
    }
    rows.truncate((rows.len() as f64 * TEST_SHARE).ceil() as usize);
    let mut folds = vec![Vec::new(); FOLDS];
    for malicious in [false, true] {
        let of_label = rows.iter().filter(|row| is_malicious(data, **row) == malicious);
        of_label.enumerate().for_each(|(at, row)| folds[at % FOLDS].push(*row));
    }
    folds
}

/// Which rows a classifier that learnt from others calls malicious.
fn call(
    registry: &Registry,
    (path, settings): (&str, &str),
    balanced: bool,
    data: &Dataset,
    learnt: &[usize],
    tested: &[usize],
    seed: u64,
) -> Result<Vec<bool>, LearnError> {
    let Instance::Classifier(mut classifier) = registry.create(path, Settings::new(settings))? else {
        return Err(LearnError::NoClassifier);
    };
    let labels: Vec<bool> = learnt.iter().map(|row| is_malicious(data, *row)).collect();
    let count = |label: bool| labels.iter().filter(|known| **known == label).count().max(1) as f32;
    let weight = |label: bool| if balanced { labels.len() as f32 / (2.0 * count(label)) } else { 1.0 };
    let weights: Vec<f32> = labels.iter().map(|label| weight(*label)).collect();
    let values: Vec<f32> = learnt.iter().flat_map(|row| data.row(*row)).copied().collect();
    let set = TrainingSet { rows: Rows::new(&values, data.width), labels: &labels, weights: &weights, seed };
    classifier.fit(&set).map_err(|error| LearnError::Classifier { path: path.to_owned(), error })?;
    let known = validate::scores(&*classifier, path, data, learnt)?;
    let curve: Vec<(f64, bool, f64)> = known
        .into_iter()
        .zip(&labels)
        .zip(&weights)
        .map(|((raw, label), weight)| (raw, *label, f64::from(*weight)))
        .collect();
    let curve = Calibration::fit(&curve);
    let raw = validate::scores(&*classifier, path, data, tested)?;
    Ok(raw.into_iter().map(|raw| curve.score(raw) >= 0.5).collect())
}

/// F1 and precision of both classes, weighted by how often each is true; a class that is never called has precision 0.
fn weighted(truth: &[bool], called: &[bool]) -> OriginFigures {
    let (mut f1, mut precision) = (0.0, 0.0);
    for class in [false, true] {
        let count = |is: &dyn Fn(bool, bool) -> bool| {
            truth.iter().zip(called).filter(|(truth, called)| is(**truth == class, **called == class)).count() as f64
        };
        let (right, claimed, there) = (count(&|t, c| t && c), count(&|_, c| c), count(&|t, _| t));
        let share = there / (truth.len() as f64).max(1.0);
        precision += share * if claimed > 0.0 { right / claimed } else { 0.0 };
        f1 += share * if claimed + there > 0.0 { 2.0 * right / (claimed + there) } else { 0.0 };
    }
    OriginFigures { f1, precision }
}

#[cfg(test)]
mod tests {
    use super::super::{CaptureFacts, Keys, Row};
    use super::*;

    #[test]
    fn weighted_figures_by_hand() {
        // Benign: 2 of 3 found, 2 of 2 right. Malicious: 1 of 1 found, 1 of 2 right.
        let got = weighted(&[false, false, false, true], &[false, false, true, true]);
        assert!((got.precision - (0.75 * 1.0 + 0.25 * 0.5)).abs() < 1e-12);
        assert!((got.f1 - (0.75 * 0.8 + 0.25 * 2.0 / 3.0)).abs() < 1e-12);
        // All benign is called: what the origin's last line looks like.
        let lazy = weighted(&[false, false, false, true], &[false; 4]);
        assert!((lazy.precision - 0.75 * 0.75).abs() < 1e-12);
    }

    fn data(rows: usize) -> Dataset {
        let row = |at: usize| Row {
            capture: 0,
            pair: at,
            truth: if at.is_multiple_of(5) { Truth::Malicious } else { Truth::Benign },
            kin: Vec::new(),
            packet: 1,
            keys: Keys::default(),
        };
        Dataset {
            width: 1,
            values: (0..rows).map(|at| if at.is_multiple_of(5) { 9.0 } else { (at % 4) as f32 }).collect(),
            rows: (0..rows).map(row).collect(),
            captures: vec![CaptureFacts { path: "a".into(), ..CaptureFacts::default() }],
            ..Dataset::default()
        }
    }

    #[test]
    fn the_test_share_is_in_even_folds_and_seeded() {
        let data = data(500);
        let one = folds(&data, 1);
        assert_eq!(one, folds(&data, 1));
        assert_ne!(one, folds(&data, 2));
        let mut all = one.concat();
        assert_eq!(all.len(), 200);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 200, "no row is in two folds");
        let malicious = |rows: &Vec<usize>| rows.iter().filter(|row| is_malicious(&data, **row)).count();
        let counts: Vec<usize> = one.iter().map(malicious).collect();
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
    }

    #[test]
    fn what_can_be_told_apart_is() {
        let registry = Registry::with_builtins().unwrap();
        let classifier = ("classifier/boosted-trees", "trees = 10");
        let got = score(&registry, classifier, true, &data(500), 1).unwrap();
        assert!(got.f1 > 0.99 && got.precision > 0.99, "{got:?}");
    }
}
