use super::*;
use crate::grow::fit;
use linfa::traits::Predict;
use proptest::prelude::*;
use std::sync::OnceLock;
use veilwatch_classifier_shared::learner::Model;
use veilwatch_classifier_shared::testing::{Lesson, hostile, learns, refuses, survives, taught};
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::Classifier;
use veilwatch_testkit::conformance::assert_conforms;

#[test]
fn it_conforms() {
    assert_conforms(declarations());
}

#[test]
fn it_learns() {
    learns::<DecisionTreeSettings>("", 0.85);
}

#[test]
fn equals_the_library() {
    for (seed, bins) in [(1, 64), (2, 5), (3, 255)] {
        let lesson = Lesson::new(500, 9, 0.2, seed);
        let set = lesson.set(seed);
        let codes = Codes::learn(&set, bins);
        let drawn = Sample::by_weight(set.labels, set.weights, 400, seed).rows;
        let columns: Vec<usize> = codes.telling().collect();
        assert_eq!(columns, [0, 1, 2, 4, 5, 6, 8], "without those that never change");
        let growth = Growth { max_depth: 7, min_leaf: 2.0 };
        let theirs = fit(&codes, &drawn, &columns, growth).unwrap().predict(&codes.matrix(0..500, &columns));

        // Where as many of both were drawn, the rarer class has it.
        let sign = |[benign, malicious]: [f64; 2]| if malicious >= benign { 1.0 } else { -1.0 };
        let mut forest = Forest::new(9, 0.0).unwrap();
        forest.push(&grow(&codes, &drawn, &columns, growth, sign).unwrap()).unwrap();
        let mut ours = vec![0.0; 500];
        forest.score(&lesson.rows(), &mut ours);
        assert!(ours.iter().zip(&theirs).all(|(ours, theirs)| (*ours > 0.0) == *theirs));
        assert!(theirs.iter().any(|label| *label) && !theirs.iter().all(|label| *label));
    }
}

/// The library alone gives one of two trees here, by chance: half of the rows are of either class.
#[test]
fn ties_are_settled_the_same_way_each_time() {
    let values: Vec<f32> = (0..64).map(|at| (at / 2) as f32).collect();
    let labels: Vec<bool> = (0..64).map(|at| at % 2 == 0).collect();
    let set = TrainingSet { rows: Rows::new(&values, 1), labels: &labels, weights: &[1.0; 64], seed: 1 };
    let mut tree = Learning::<DecisionTreeSettings>::create(veilwatch_core::plugin::Settings::new("")).unwrap();
    let mut fits = (0..30).map(|_| {
        tree.fit(&set).unwrap();
        tree.save().unwrap()
    });
    let first = fits.next().unwrap();
    assert!(fits.all(|bytes| bytes == first));
}

#[test]
fn tells_what_is_missing_from_what_is_there() {
    let values: Vec<f32> = (0..80).map(|at| if at % 2 == 0 { f32::NAN } else { at as f32 - 40.0 }).collect();
    let labels: Vec<bool> = (0..80).map(|at| at % 2 == 0).collect();
    let lesson = Lesson { width: 1, values, labels, weights: vec![1.0; 80] };
    let tree = taught::<DecisionTreeSettings>("", &lesson, 1);
    let row = [f32::NAN, f32::MIN, -3.0, f32::MAX];
    let mut scores = [0.0; 4];
    tree.predict(&Rows::new(&row, 1), &mut scores).unwrap();
    assert!(scores[0] > 0.0 && scores[1..].iter().all(|score| *score < 0.0), "{scores:?}");
}

proptest! {
    #[test]
    fn no_sums_of_both_classes_are_the_same(
        rows in prop::collection::vec((any::<bool>(), 1u32..5, any::<bool>()), 1..60)
    ) {
        let labels: Vec<bool> = rows.iter().map(|row| row.0).collect();
        let times: Vec<u32> = rows.iter().map(|row| row.1).collect();
        let (weights, _) = never_tied(&labels, &times).unwrap();
        let sum = |wanted: bool| -> f32 {
            rows.iter().zip(&weights).filter(|(row, _)| row.2 && row.0 == wanted).map(|(_, weight)| weight).sum()
        };
        prop_assert!(sum(false) != sum(true) || sum(false) == 0.0);
    }

    #[test]
    fn hostile_weights_do_no_harm(hostile in hostile()) {
        static GOOD: OnceLock<Vec<u8>> = OnceLock::new();
        let learn = || taught::<DecisionTreeSettings>("", &Lesson::new(200, 5, 0.2, 1), 1).save().unwrap();
        survives::<DecisionTreeSettings>(GOOD.get_or_init(learn), hostile);
    }
}

#[test]
fn checks_its_settings() {
    refuses::<DecisionTreeSettings>(&[
        ("max_depth = 13", "give 1 to 12"),
        ("min_leaf_weight = nan", "`min_leaf_weight`"),
        ("rows = 1", "`rows`"),
        ("bins = 256", "`bins`"),
        ("depth = 3", "depth"),
    ]);
}

#[test]
fn as_many_rows_as_are_allowed_can_be_weighed() {
    for malicious in [1, MAX_DRAWS / 3, MAX_DRAWS / 2] {
        let labels: Vec<bool> = (0..MAX_DRAWS).map(|at| at < malicious).collect();
        assert!(never_tied(&labels, &vec![1; MAX_DRAWS]).is_ok());
    }
    assert!(never_tied(&(0..12_000).map(|at| at % 2 == 0).collect::<Vec<_>>(), &[1; 12_000]).is_err());
}
