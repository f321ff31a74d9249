use crate::declarations;
use proptest::prelude::*;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::{Classifier, Instance, PluginError, Settings, TrainingSet};

const NAN: f32 = f32::NAN;

fn classifier(settings: &str) -> Box<dyn Classifier> {
    match (declarations()[0].create)(Settings::new(settings)).unwrap() {
        Instance::Classifier(classifier) => classifier,
        _ => panic!("no classifier"),
    }
}

/// Three columns: one that tells the classes apart, one that is missing in one of them, one that never changes.
const ROWS: [f32; 18] = [0.0, 1.0, 5.0, 2.0, 2.0, 5.0, NAN, 3.0, 5.0, 10.0, NAN, 5.0, 14.0, NAN, 5.0, 10.0, NAN, 5.0];
const LABELS: [bool; 6] = [false, false, false, true, true, true];

fn fitted(settings: &str, weights: &[f32]) -> Result<Box<dyn Classifier>, PluginError> {
    let mut classifier = classifier(settings);
    let set = TrainingSet { rows: Rows::new(&ROWS, 3), labels: &LABELS, weights, seed: 1 };
    classifier.fit(&set).map(|()| classifier)
}

fn score(classifier: &dyn Classifier, row: &[f32]) -> f64 {
    let mut scores = [f64::NAN];
    classifier.predict(&Rows::new(row, row.len()), &mut scores).unwrap();
    scores[0]
}

fn text(classifier: &dyn Classifier) -> String {
    String::from_utf8(classifier.save().unwrap()).unwrap()
}

#[test]
fn learns_means_and_spreads_by_weight() {
    // Benign 0 and 2, one each: mean 1, spread 1. Malicious 10, 14 and 10, weights 1, 2 and 1: mean 12, spread 2.
    let learnt = fitted("", &[1.0, 1.0, 1.0, 1.0, 2.0, 1.0]).unwrap();
    let text = text(&*learnt);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["veilwatch nearest-mean 1", "columns 3 farthest 3e0"]);
    let numbers: Vec<f64> = lines[2].split(' ').map(|number| number.parse().unwrap()).collect();
    // Of all rows the mean is 50 / 6; a fifth of their spread is a little more than the benign spread of 1.
    let all: f64 = [0.0, 2.0, 10.0, 14.0, 14.0, 10.0].map(|value: f64| (value - 50.0 / 6.0).powi(2) / 6.0).iter().sum();
    let least = all.sqrt() * 0.2;
    assert!(least > 1.0);
    for (number, wanted) in numbers.iter().zip([1.0, least, 12.0, 2.0]) {
        assert!((number - wanted).abs() < 1e-12, "{numbers:?}, wanted {wanted}");
    }
    assert_eq!(lines[3..], ["-", "-"], "columns that tell nothing");
}

#[test]
fn scores_grow_with_malice_and_are_explained_to_the_bit() {
    let learnt = fitted("", &[1.0; 6]).unwrap();
    let [benign, middle, malicious] = [1.0, 6.0, 12.0].map(|value| score(&*learnt, &[value, 1.0, 5.0]));
    assert!(benign < middle && middle < malicious, "{benign} {middle} {malicious}");
    assert!(benign < 0.0 && malicious > 0.0);
    assert_eq!(score(&*learnt, &[NAN, NAN, NAN]), 0.0);
    for row in [[12.0, 7.0, 5.0], [0.5, NAN, 4.0], [f32::MAX, f32::INFINITY, 0.0]] {
        let mut parts = [f64::NAN; 3];
        learnt.explain(&row, &mut parts).unwrap();
        assert_eq!(parts.iter().sum::<f64>().to_bits(), score(&*learnt, &row).to_bits());
        // One column can do so much and no more.
        assert!(parts.iter().all(|part| part.abs() <= 9.0), "{parts:?}");
    }
}

#[test]
fn what_is_loaded_is_what_was_saved() {
    let learnt = fitted("farthest = 2.5", &[0.3, 0.7, 1.1, 0.1, 2.0, 1.0]).unwrap();
    // Other settings: what was learnt decides.
    let mut loaded = classifier("farthest = 9.0");
    loaded.load(&learnt.save().unwrap()).unwrap();
    assert_eq!(text(&*loaded), text(&*learnt));
    for value in [-3.0, 0.1, 7.7, 1e30] {
        let row = [value, 1.0, 2.0];
        assert_eq!(score(&*loaded, &row).to_bits(), score(&*learnt, &row).to_bits());
    }
    assert_eq!(text(&*fitted("farthest = 2.5", &[0.3, 0.7, 1.1, 0.1, 2.0, 1.0]).unwrap()), text(&*learnt));
}

#[test]
fn bad_weights_are_refused_with_the_line() {
    let good = text(&*fitted("", &[1.0; 6]).unwrap());
    let column = good.lines().nth(2).unwrap();
    let other = |from: &str, to: &str| good.replacen(from, to, 1);
    let zero_spread = format!("1e0 0e0 {}", column.split_once(' ').unwrap().1.split_once(' ').unwrap().1);
    for (weights, line) in [
        (String::new(), 1),
        (other("mean 1", "mean 2"), 1),
        (other("columns 3", "columns 4"), 2),
        (other("columns 3", "columns 99999999999999999999"), 2),
        (other("columns 3", "columns -1"), 2),
        (other("farthest 3e0", "farthest NaN"), 2),
        (other("farthest 3e0", "farthest -1"), 2),
        (other(column, "NaN 1 2 3"), 3),
        (other(column, "1 1 inf 1"), 3),
        (other(column, "1 1 2"), 3),
        (other(column, &zero_spread), 3),
        (other(column, "1 1 1 -1"), 3),
        (good.clone() + "-\n", 2),
    ] {
        let error = classifier("").load(weights.as_bytes()).unwrap_err().message;
        assert!(error.starts_with(&format!("line {line} of the weights: ")), "{weights}: {error}");
    }
    for cut in 0..good.len() {
        assert!(classifier("").load(&good.as_bytes()[..cut]).is_err(), "cut after {cut} bytes");
    }
}

#[test]
fn rows_that_cannot_be_learnt_or_scored_are_refused() {
    assert!(fitted("", &[1.0; 5]).is_err());
    assert!(fitted("", &[1.0, 1.0, 1.0, 1.0, 1.0, 0.0]).is_err());
    assert!(fitted("", &[1.0, 1.0, 1.0, 1.0, 1.0, NAN]).is_err());
    let mut one_class = classifier("");
    let set = TrainingSet { rows: Rows::new(&ROWS, 3), labels: &[true; 6], weights: &[1.0; 6], seed: 1 };
    assert!(one_class.fit(&set).unwrap_err().message.contains("both kinds"));
    assert!(one_class.save().is_err());
    let learnt = fitted("", &[1.0; 6]).unwrap();
    assert!(learnt.predict(&Rows::new(&[1.0, 2.0], 2), &mut [0.0]).unwrap_err().message.contains("3 columns"));
    assert!(learnt.predict(&Rows::new(&[1.0; 3], 3), &mut []).is_err());
    assert!(learnt.explain(&[1.0; 3], &mut [0.0; 2]).is_err());
    for settings in ["farthest = 0.0", "farthest = nan", "least_spread = 2.0", "seed = 1"] {
        assert!((declarations()[0].create)(Settings::new(settings)).is_err(), "{settings}");
    }
}

proptest! {
    /// Weights of anybody, of the right form or none: an error, or finite scores.
    #[test]
    fn no_weights_do_harm(
        numbers in prop::collection::vec(any::<f64>(), 8),
        junk in prop::collection::vec(any::<u8>(), 0..200),
        row in prop::array::uniform2(any::<f32>()),
    ) {
        let _ = classifier("").load(&junk);
        let line = |at: usize| format!("{} {} {} {}", numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]);
        let weights = format!("veilwatch nearest-mean 1\ncolumns 2 farthest 3\n{}\n{}\n", line(0), line(4));
        let mut loaded = classifier("");
        if loaded.load(weights.as_bytes()).is_ok() {
            prop_assert!(score(&*loaded, &row).is_finite());
        }
    }
}
