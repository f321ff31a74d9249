//! What every plugin keeps to, and what this one makes of rows that are known.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::{Classifier, Instance, Settings, TrainingSet};
use veilwatch_testkit::conformance::assert_conforms;

use {{snake}}::declarations;

fn classifier() -> Box<dyn Classifier> {
    let Instance::Classifier(classifier) = (declarations()[0].create)(Settings::new("")).unwrap() else {
        panic!("no classifier")
    };
    classifier
}

#[test]
fn keeps_to_the_contract() {
    assert_conforms(declarations());
}

#[test]
fn lies_between_two_means() {
    // Two columns: benign rows have 0 and malicious ones 10 in the first; the second says nothing.
    let values = [0.0, 1.0, 0.0, 1.0, 10.0, 1.0, 10.0, 1.0];
    let labels = [false, false, true, true];
    let set = TrainingSet { rows: Rows::new(&values, 2), labels: &labels, weights: &[1.0; 4], seed: 1 };
    let mut classifier = classifier();
    classifier.fit(&set).unwrap();
    let mut scores = [f64::NAN; 4];
    classifier.predict(&Rows::new(&[0.0, 1.0, 5.0, 1.0, 99.0, 1.0, f32::NAN, 1.0], 2), &mut scores).unwrap();
    assert_eq!(scores, [-1.0, 0.0, 1.0, 0.0]);
    let mut parts = [f64::NAN; 2];
    classifier.explain(&[10.0, 1.0], &mut parts).unwrap();
    assert_eq!(parts, [1.0, 0.0]);
}
