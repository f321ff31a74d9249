use super::*;
use linfa::traits::Predict;
use proptest::prelude::*;
use std::sync::OnceLock;
use veilwatch_classifier_shared::learner::Model;
use veilwatch_classifier_shared::testing::{Lesson, hostile, learns, refuses, scores, survives, taught};
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::Classifier;
use veilwatch_testkit::conformance::assert_conforms;

#[test]
fn it_conforms() {
    assert_conforms(declarations());
}

#[test]
fn it_learns() {
    learns::<AdaBoostSettings>("", 0.9);
}

#[test]
fn equals_the_library() {
    let lesson = Lesson::new(400, 9, 0.2, 3);
    let set = lesson.set(1);
    let settings = AdaBoostSettings { trees: 15, ..Default::default() };
    let codes = Codes::learn(&set, settings.bins);
    let columns: Vec<usize> = codes.telling().collect();
    let boosted = boost(&settings, &set, &codes, &columns).unwrap();
    let theirs = boosted.predict(&codes.matrix(0..400, &columns));
    let mut ours = vec![0.0; 400];
    settings.learn(&set).unwrap().score(&lesson.rows(), &mut ours);
    assert!(ours.iter().zip(&theirs).all(|(ours, theirs)| (*ours > 0.0) == (*theirs == 1)));
    assert!(theirs.iter().any(|class| *class == 1) && theirs.iter().any(|class| *class == 0));
}

#[test]
fn votes_are_shares() {
    let lesson = Lesson::new(300, 8, 0.1, 1);
    let trees = taught::<AdaBoostSettings>("trees = 20", &lesson, 1);
    assert!(scores(&trees, &lesson.rows()).iter().all(|share| (-1.0 - 1e-6..=1.0 + 1e-6).contains(share)));
    assert_eq!(trees.model().unwrap().len(), 20);
    assert!(trees.save().unwrap() != taught::<AdaBoostSettings>("trees = 20", &lesson, 2).save().unwrap());
}

/// Half of the rows of each value are of either class, so that classes tie: the library alone would settle it by chance.
#[test]
fn ties_are_settled_the_same_way_each_time() {
    let values: Vec<f32> = (0..60).map(|at| (at / 2) as f32).collect();
    let labels: Vec<bool> = (0..60).map(|at| at % 2 == 0 || at > 50).collect();
    let set = TrainingSet { rows: Rows::new(&values, 1), labels: &labels, weights: &[1.0; 60], seed: 1 };
    let saved = || {
        let mut trees = Learning::<AdaBoostSettings>::create(veilwatch_core::plugin::Settings::new("")).unwrap();
        trees.fit(&set).unwrap();
        trees.save().unwrap()
    };
    let first = saved();
    assert!((0..20).all(|_| saved() == first));
}

#[test]
fn checks_its_settings() {
    refuses::<AdaBoostSettings>(&[
        ("trees = 0", "give 1 to 5000"),
        ("learning_rate = 0.0", "`learning_rate`"),
        ("max_depth = 7", "`max_depth`"),
        ("min_leaf_rows = nan", "`min_leaf_rows`"),
        ("rows = 6000", "`rows`"),
        ("bins = 256", "`bins`"),
        ("depth = 1", "depth"),
    ]);
}

proptest! {
    #[test]
    fn hostile_weights_do_no_harm(hostile in hostile()) {
        static GOOD: OnceLock<Vec<u8>> = OnceLock::new();
        let learn = || taught::<AdaBoostSettings>("trees = 5", &Lesson::new(200, 5, 0.2, 1), 1).save().unwrap();
        survives::<AdaBoostSettings>(GOOD.get_or_init(learn), hostile);
    }
}
