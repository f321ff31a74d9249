use super::*;
use proptest::prelude::*;
use std::sync::OnceLock;
use veilwatch_classifier_shared::codec::Writer;
use veilwatch_classifier_shared::learner::Model;
use veilwatch_classifier_shared::testing::{Lesson, hostile, learns, refuses, scores, survives, taught};
use veilwatch_core::plugin::Classifier;
use veilwatch_testkit::conformance::assert_conforms;

#[test]
fn it_conforms() {
    assert_conforms(declarations());
}

#[test]
fn it_learns() {
    learns::<RandomForestSettings>("column_share = 0.5", 0.93);
}

#[test]
fn is_the_same_on_any_number_of_threads() {
    let settings = RandomForestSettings { trees: 11, ..Default::default() };
    let lesson = Lesson::new(300, 8, 0.1, 1);
    let bytes = |threads, seed| {
        let mut writer = Writer::new(*b"TEST", 1);
        learn(&settings, &lesson.set(seed), threads).unwrap().write(&mut writer).unwrap();
        writer.finish()
    };
    let first = bytes(1, 3);
    assert!([2, 3, 7, 64].into_iter().all(|threads| bytes(threads, 3) == first));
    assert!(bytes(1, 4) != first, "the seed matters");
}

#[test]
fn votes_are_shares() {
    let lesson = Lesson::new(300, 8, 0.1, 1);
    let forest = taught::<RandomForestSettings>("trees = 20\nrows = 200", &lesson, 1);
    let told = scores(&forest, &lesson.rows());
    assert!(told.iter().all(|share| (0.0..=1.0).contains(share)));
    assert_eq!(forest.model().unwrap().len(), 20);
    // Of other columns each: no tree is like another.
    let firsts: Vec<Shape> = forest.model().unwrap().shapes().filter_map(|mut tree| tree.next()).collect();
    assert!(firsts.iter().any(|first| *first != firsts[0]));
}

#[test]
fn checks_its_settings() {
    refuses::<RandomForestSettings>(&[
        ("trees = 0", "give 1 to 5000"),
        ("rows = 6000", "`rows`"),
        ("column_share = 0.0", "`column_share`"),
        ("max_depth = 13", "`max_depth`"),
        ("min_leaf_weight = -1.0", "`min_leaf_weight`"),
        ("bins = 1", "`bins`"),
        ("trees = 5000", "nodes"),
        ("tree = 3", "tree"),
    ]);
}

proptest! {
    #[test]
    fn hostile_weights_do_no_harm(hostile in hostile()) {
        static GOOD: OnceLock<Vec<u8>> = OnceLock::new();
        let learn = || taught::<RandomForestSettings>("trees = 5", &Lesson::new(200, 5, 0.2, 1), 1).save().unwrap();
        survives::<RandomForestSettings>(GOOD.get_or_init(learn), hostile);
    }
}
