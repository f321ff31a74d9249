use crate::declarations;
use proptest::prelude::*;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::{Classifier, Instance, Settings, TrainingSet, weights};
use veilwatch_testkit::conformance::assert_conforms;

const NAN: f32 = f32::NAN;

/// Three columns: one that tells the classes apart, one that is missing in one of them, one that never changes.
const ROWS: [f32; 15] = [0.0, 1.0, 5.0, 2.0, 2.0, 5.0, NAN, 3.0, 5.0, 10.0, NAN, 5.0, 14.0, NAN, 5.0];

fn classifier() -> Box<dyn Classifier> {
    match (declarations()[0].create)(Settings::new("")).unwrap() {
        Instance::Classifier(classifier) => classifier,
        _ => panic!("no classifier"),
    }
}

fn fitted() -> Box<dyn Classifier> {
    let mut classifier = classifier();
    let labels = [false, false, false, true, true];
    let set = TrainingSet { rows: Rows::new(&ROWS, 3), labels: &labels, weights: &[1.0, 1.0, 1.0, 1.0, 3.0], seed: 1 };
    classifier.fit(&set).unwrap();
    classifier
}

fn score(classifier: &dyn Classifier, row: &[f32]) -> f64 {
    let mut scores = [f64::NAN];
    classifier.predict(&Rows::new(row, row.len()), &mut scores).unwrap();
    scores[0]
}

#[test]
fn it_conforms() {
    assert_conforms(declarations());
}

#[test]
fn learns_means_and_spreads_by_weight() {
    let learnt: Vec<[f64; 3]> = weights::read(&fitted().save().unwrap()).unwrap();
    // Benign 0 and 2; malicious 10, and 14 three times: means 1 and 13. From 7 between them the squares are 49, 25, 9 and
    // three times 49, over the weight of 6.
    let [benign, malicious, spread] = learnt[0];
    assert_eq!((benign, malicious), (1.0, 13.0));
    assert!((spread - (230.0f64 / 6.0).sqrt()).abs() < 1e-12, "{spread}");
    assert_eq!(learnt[1..], [[0.0, 0.0, 1.0]; 2], "columns that tell nothing");
}

#[test]
fn one_column_can_do_so_much_and_no_more() {
    let learnt = fitted();
    let [benign, middle, malicious] = [1.0, 7.0, 13.0].map(|value| score(&*learnt, &[value, 1.0, 5.0]));
    assert!(benign < middle && middle < malicious && middle.abs() < 1e-12, "{benign} {middle} {malicious}");
    assert_eq!(score(&*learnt, &[NAN, NAN, NAN]), 0.0);
    for row in [[12.0, 7.0, 5.0], [f32::MAX, f32::INFINITY, 0.0]] {
        assert!(score(&*learnt, &row).abs() <= 9.0);
    }
}

proptest! {
    /// Weights of anybody, of the right form or none: an error, or finite scores.
    #[test]
    fn no_weights_do_harm(columns in any::<[[f64; 3]; 2]>(), row in any::<[f32; 2]>()) {
        let mut loaded = classifier();
        if loaded.load(&weights::write(&columns).unwrap()).is_ok() {
            prop_assert!(score(&*loaded, &row).is_finite());
        }
    }
}
