use super::*;
use proptest::prelude::*;
use std::sync::OnceLock;
use veilwatch_classifier_shared::learner::Model;
use veilwatch_classifier_shared::testing::{Lesson, hostile, learns, refuses, survives, taught};
use veilwatch_core::plugin::Classifier;
use veilwatch_testkit::conformance::assert_conforms;

#[test]
fn it_conforms() {
    assert_conforms(declarations());
}

#[test]
fn it_learns() {
    learns::<LogisticRegressionSettings>("", 0.93);
}

#[test]
fn equals_the_library() {
    let settings = LogisticRegressionSettings::default();
    // The rarer class is the malicious one, and then the benign one.
    for turned in [false, true] {
        let mut lesson = Lesson::new(500, 9, 0.2, 3);
        if turned {
            lesson.labels.iter_mut().for_each(|label| *label = !*label);
        }
        let (columns, fitted) = regress(&settings, &lesson.set(1)).unwrap();
        assert_eq!(fitted.labels().pos.class, turned);
        let all: Vec<usize> = (0..500).collect();
        let matrix = Array2::from_shape_vec((500, columns.len()), columns.matrix(&lesson.rows(), &all)).unwrap();
        let theirs = fitted.predict_probabilities(&matrix);
        let mut ours = vec![0.0; 500];
        settings.learn(&lesson.set(1)).unwrap().score(&lesson.rows(), &mut ours);
        for (ours, theirs) in ours.iter().zip(theirs) {
            let malice = if turned { theirs } else { 1.0 - theirs };
            assert!((1.0 / (1.0 + (-ours).exp()) - malice).abs() < 1e-12, "{ours} and {theirs}");
        }
    }
}

#[test]
fn checks_its_settings() {
    refuses::<LogisticRegressionSettings>(&[
        ("l2 = 0.0", "`l2`"),
        ("iterations = 0", "give 1 to 10000"),
        ("tolerance = nan", "`tolerance`"),
        ("rows = 5", "`rows`"),
        ("limit = inf", "`limit`"),
        ("missing_indicator = true", "missing_indicator"),
    ]);
}

proptest! {
    #[test]
    fn hostile_weights_do_no_harm(hostile in hostile()) {
        static GOOD: OnceLock<Vec<u8>> = OnceLock::new();
        let learn = || taught::<LogisticRegressionSettings>("", &Lesson::new(200, 5, 0.2, 1), 1).save().unwrap();
        survives::<LogisticRegressionSettings>(GOOD.get_or_init(learn), hostile);
    }
}
