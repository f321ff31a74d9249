use super::*;
use proptest::prelude::*;
use std::sync::OnceLock;
use veilwatch_classifier_shared::testing::{Lesson, hostile, learns, refuses, survives, taught};
use veilwatch_core::plugin::Classifier;
use veilwatch_testkit::conformance::assert_conforms;

#[test]
fn it_conforms() {
    assert_conforms(declarations());
}

#[test]
fn it_learns() {
    learns::<EnsembleSettings>("trees = 60", 0.93);
}

#[test]
fn the_score_is_the_mean_of_its_parts() {
    let lesson = Lesson::new(300, 6, 0.2, 2);
    let both = EnsembleSettings { trees: 40, ..EnsembleSettings::default() };
    let scores = |share: f64| {
        let model = EnsembleSettings { linear_share: share, ..both.clone() }.learn(&lesson.set(1)).unwrap();
        let mut scores = vec![0.0; 300];
        model.score(&lesson.rows(), &mut scores);
        scores
    };
    let (linear, trees, quarter) = (scores(1.0), scores(0.0), scores(0.25));
    let mut boosted = vec![0.0; 300];
    both.boosted().learn(&lesson.set(1)).unwrap().score(&lesson.rows(), &mut boosted);
    assert_eq!(trees, boosted, "those of the plugin `boosted-trees`");
    assert!(linear.iter().zip(&trees).any(|(one, other)| (one - other).abs() > 0.1));
    for ((linear, trees), quarter) in linear.iter().zip(trees).zip(quarter) {
        assert!((0.25 * linear + 0.75 * trees - quarter).abs() < 1e-12);
    }
}

#[test]
fn parts_of_a_score_add_up() {
    let lesson = Lesson::new(300, 6, 0.2, 2);
    let model = EnsembleSettings { trees: 40, ..EnsembleSettings::default() }.learn(&lesson.set(1)).unwrap();
    let mut scores = vec![0.0; 300];
    model.score(&lesson.rows(), &mut scores);
    let rest = |at: usize| {
        let mut parts = vec![0.0; 6];
        model.explain(lesson.rows().row(at), &mut parts);
        scores[at] - parts.iter().sum::<f64>()
    };
    assert!((1..300).all(|at| (rest(at) - rest(0)).abs() < 1e-5), "all but a constant of the model");
}

#[test]
fn checks_its_settings() {
    refuses::<EnsembleSettings>(&[
        ("linear_share = 1.5", "`linear_share`"),
        ("linear_bins = 1", "`linear_bins`"),
        ("linear_l2 = 0.0", "`linear_l2`"),
        ("linear_rows = 5", "`linear_rows`"),
        ("trees = 0", "`trees`"),
        ("max_depth = 40", "`max_depth`"),
        ("linear_share = nan", "`linear_share`"),
        ("max_leaves = 7", "max_leaves"),
    ]);
}

proptest! {
    #[test]
    fn hostile_weights_do_no_harm(hostile in hostile()) {
        static GOOD: OnceLock<Vec<u8>> = OnceLock::new();
        let learn = || taught::<EnsembleSettings>("trees = 9", &Lesson::new(200, 5, 0.2, 1), 1).save().unwrap();
        survives::<EnsembleSettings>(GOOD.get_or_init(learn), hostile);
    }
}
