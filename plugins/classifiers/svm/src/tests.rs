use super::*;
use proptest::prelude::*;
use std::sync::OnceLock;
use veilwatch_classifier_shared::learner::{Learner, Model};
use veilwatch_classifier_shared::testing::{Lesson, hostile, learns, refuses, scores, survives, taught};
use veilwatch_core::plugin::Classifier;
use veilwatch_testkit::conformance::assert_conforms;

#[test]
fn they_conform() {
    assert_conforms(declarations());
}

#[test]
fn they_learn() {
    learns::<LinearSvmSettings>("", 0.9);
    learns::<RbfSvmSettings>("", 0.9);
}

fn scored(model: &impl Model, lesson: &Lesson) -> Vec<f64> {
    let mut scores = vec![0.0; lesson.labels.len()];
    model.score(&lesson.rows(), &mut scores);
    scores
}

/// The margins that the library gives rows of the same numbers.
fn margins(solved: &Solved, lesson: &Lesson, scale: f64) -> Vec<f64> {
    let margin = |row| {
        let numbers: Array1<f64> =
            solved.columns.of(row).map(|(_, number)| f64::from((number * scale) as f32)).collect();
        solved.machine.weighted_sum(&numbers) - solved.machine.rho
    };
    lesson.rows().iter().map(margin).collect()
}

#[test]
fn linear_equals_the_library() {
    let lesson = Lesson::new(300, 9, 0.2, 3);
    let settings = LinearSvmSettings::default();
    let (solved, scale) = linear::machine(&settings, &lesson.set(1)).unwrap();
    let ours = scored(&settings.learn(&lesson.set(1)).unwrap(), &lesson);
    for (ours, theirs) in ours.iter().zip(margins(&solved, &lesson, scale)) {
        // Theirs were rounded to `f32`.
        assert!((ours - theirs).abs() < 1e-5, "{ours} and {theirs}");
    }
}

#[test]
fn rbf_equals_the_library() {
    let lesson = Lesson::new(300, 9, 0.2, 3);
    let settings = RbfSvmSettings::default();
    let (solved, _) = rbf::machine(&settings, &lesson.set(1)).unwrap();
    let ours = scored(&settings.learn(&lesson.set(1)).unwrap(), &lesson);
    for (ours, theirs) in ours.iter().zip(margins(&solved, &lesson, 1.0)) {
        assert!((ours - theirs).abs() < 1e-9, "{ours} and {theirs}");
    }
}

#[test]
fn classes_keep_their_weight_when_rows_are_drawn() {
    let mut lesson = Lesson::new(900, 3, 0.0, 1);
    // A tenth of the rows, but half of the weight.
    lesson.labels = (0..900).map(|at| at % 10 == 0).collect();
    lesson.weights = lesson.labels.iter().map(|label| if *label { 9.0 } else { 1.0 }).collect();
    for rows in [100, 500, 900, 5000] {
        let (picked, costs) = draw(&lesson.set(1), rows, 2.0);
        assert!(picked.len() <= rows.min(900), "{} rows", picked.len());
        let cost = |wanted: bool| {
            picked.iter().filter(|row| lesson.labels[**row] == wanted).count() as f64 * costs[usize::from(wanted)]
        };
        assert!((cost(false) / cost(true) - 1.0).abs() < 0.05, "{} and {}", cost(false), cost(true));
        assert!(((cost(false) + cost(true)) / picked.len() as f64 - 2.0).abs() < 0.05);
    }
}

/// Column 0 alone tells the classes apart: it has most of each explanation.
#[test]
fn explanations_name_what_tells() {
    let lesson = Lesson::new(400, 3, 0.0, 1);
    let machine = taught::<RbfSvmSettings>("width = 4.0", &lesson, 1);
    let mut sizes = [0.0; 3];
    let mut rests = Vec::new();
    for (row, score) in lesson.rows().iter().zip(scores(&machine, &lesson.rows())) {
        let mut parts = [0.0; 3];
        machine.explain(row, &mut parts).unwrap();
        sizes.iter_mut().zip(parts).for_each(|(size, part)| *size += part.abs());
        rests.push(score - parts.iter().sum::<f64>());
    }
    assert!(sizes[0] > 2.0 * (sizes[1] + sizes[2]), "{sizes:?}");
    assert!(rests.iter().all(|rest| (rest - rests[0]).abs() < 1e-9));
}

#[test]
fn they_check_their_settings() {
    refuses::<LinearSvmSettings>(&[
        ("cost = 0.0", "`cost`"),
        ("rows = 20000", "give 100 to 10000"),
        ("tolerance = 0.0", "`tolerance`"),
        ("limit = -1.0", "`limit`"),
        ("width = 1.0", "width"),
    ]);
    refuses::<RbfSvmSettings>(&[
        ("cost = nan", "`cost`"),
        ("width = 0.0", "`width`"),
        ("rows = 1", "`rows`"),
        ("tolerance = 1.0", "`tolerance`"),
        ("limit = 0.0", "`limit`"),
        ("gamma = 1.0", "gamma"),
    ]);
}

proptest! {
    #[test]
    fn hostile_weights_do_no_harm(hostile in hostile()) {
        static GOOD: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
        let lesson = || Lesson::new(100, 5, 0.2, 1);
        let [linear, rbf] = GOOD.get_or_init(|| [
            taught::<LinearSvmSettings>("", &lesson(), 1).save().unwrap(),
            taught::<RbfSvmSettings>("", &lesson(), 1).save().unwrap(),
        ]);
        survives::<LinearSvmSettings>(linear, hostile.clone());
        survives::<RbfSvmSettings>(rbf, hostile);
    }
}
