use super::*;
use crate::bernoulli::Questions;
use linfa::Dataset;
use linfa::traits::Fit;
use linfa_bayes::MultinomialNb;
use ndarray::Array1;
use proptest::prelude::*;
use std::sync::OnceLock;
use veilwatch_classifier_shared::learner::{Learner, Model};
use veilwatch_classifier_shared::testing::{Lesson, hostile, learns, refuses, survives, taught};
use veilwatch_core::plugin::Classifier;
use veilwatch_testkit::conformance::assert_conforms;

#[test]
fn they_conform() {
    assert_conforms(declarations());
}

#[test]
fn they_learn() {
    learns::<BernoulliSettings>("", 0.85);
    learns::<BernoulliSettings>("cuts = 7", 0.9);
    learns::<MultinomialSettings>("", 0.85);
    learns::<GaussianSettings>("", 0.9);
}

fn scored(model: &impl Model, lesson: &Lesson) -> Vec<f64> {
    let mut scores = vec![0.0; lesson.labels.len()];
    model.score(&lesson.rows(), &mut scores);
    scores
}

fn near(ours: &[f64], theirs: Vec<f64>) {
    assert_eq!(ours.len(), theirs.len());
    for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert!((ours - theirs).abs() < 1e-8 * (1.0 + theirs.abs()), "row {at}: {ours} and {theirs}");
    }
}

#[test]
fn bernoulli_equals_the_library() {
    for cuts in [1, 6] {
        let lesson = Lesson::new(400, 9, 0.2, 3);
        let settings = BernoulliSettings { cuts, ..Default::default() };
        let questions = Questions::learn(&lesson.set(1), cuts);
        let model = bernoulli::fit(&settings, &lesson.set(1), &questions).unwrap();
        let all: Vec<usize> = (0..400).collect();
        let theirs = log_odds(&model, &questions.ask(&lesson.rows(), &all).unwrap()).unwrap();
        near(&scored(&settings.learn(&lesson.set(1)).unwrap(), &lesson), theirs);
    }
}

#[test]
fn gaussian_equals_the_library() {
    let lesson = Lesson::new(400, 9, 0.2, 3);
    let settings = GaussianSettings::default();
    let (columns, model) = gaussian::fit(&settings, &lesson.set(1)).unwrap();
    let all: Vec<usize> = (0..400).collect();
    let records = matrix(400, columns.len(), columns.matrix(&lesson.rows(), &all)).unwrap();
    let theirs = log_odds(&model, &records).unwrap();
    near(&scored(&settings.learn(&lesson.set(1)).unwrap(), &lesson), theirs);
}

/// With weights that are whole numbers the library has the same from rows that come as often. Ours have a mean of 1,
/// those of the library one of 2, and so twice the smoothing.
#[test]
fn multinomial_equals_the_library() {
    let mut lesson = Lesson::new(300, 9, 0.2, 3);
    lesson.weights = (0..300).map(|at| 1.0 + (at % 3) as f32).collect();
    let settings = MultinomialSettings::default();
    let ours = settings.learn(&lesson.set(1)).unwrap();
    let bins = ours.bins();
    // The words that occur, of columns that have more than one.
    let codes: Vec<Vec<usize>> = lesson.rows().iter().map(|row| bins.of(row).collect()).collect();
    let occurs = &|column: usize, code: usize| codes.iter().any(|codes| codes[column] == code);
    let words: Vec<(usize, usize)> = (0..9)
        .map(|column| (0..bins.codes(column)).filter(move |code| occurs(column, *code)).map(move |code| (column, code)))
        .map(Iterator::collect::<Vec<_>>)
        .filter(|words| words.len() > 1)
        .flatten()
        .collect();
    let texts = |picked: &[usize]| {
        let has = |row: usize| words.iter().map(move |(column, code)| (row, *column, *code));
        let found = picked.iter().flat_map(|row| has(*row)).map(|(row, column, code)| codes[row][column] == code);
        matrix(picked.len(), words.len(), found.map(|has| f64::from(u8::from(has))).collect()).unwrap()
    };
    let often: Vec<usize> = (0..300).flat_map(|row| std::iter::repeat_n(row, lesson.weights[row] as usize)).collect();
    let labels: Array1<bool> = often.iter().map(|row| lesson.labels[*row]).collect();
    let model = MultinomialNb::params().alpha(2.0).fit(&Dataset::new(texts(&often), labels)).unwrap();
    let all: Vec<usize> = (0..300).collect();
    near(&scored(&ours, &lesson), log_odds(&model, &texts(&all)).unwrap());
}

#[test]
fn they_check_their_settings() {
    refuses::<BernoulliSettings>(&[
        ("cuts = 0", "give 1 to 15"),
        ("smoothing = 0.0", "`smoothing`"),
        ("rows = 3", "`rows`"),
        ("alpha = 1.0", "alpha"),
    ]);
    refuses::<MultinomialSettings>(&[("bins = 1", "`bins`"), ("smoothing = nan", "`smoothing`"), ("bin = 1", "bin")]);
    refuses::<GaussianSettings>(&[
        ("smoothing = 0.0", "`smoothing`"),
        ("rows = 3", "`rows`"),
        ("limit = 1e9", "`limit`"),
        ("limits = 1", "limits"),
    ]);
}

proptest! {
    #[test]
    fn hostile_weights_do_no_harm(hostile in hostile()) {
        static GOOD: OnceLock<[Vec<u8>; 3]> = OnceLock::new();
        let lesson = || Lesson::new(200, 5, 0.2, 1);
        let [bernoulli, multinomial, gaussian] = GOOD.get_or_init(|| [
            taught::<BernoulliSettings>("", &lesson(), 1).save().unwrap(),
            taught::<MultinomialSettings>("", &lesson(), 1).save().unwrap(),
            taught::<GaussianSettings>("", &lesson(), 1).save().unwrap(),
        ]);
        survives::<BernoulliSettings>(bernoulli, hostile.clone());
        survives::<MultinomialSettings>(multinomial, hostile.clone());
        survives::<GaussianSettings>(gaussian, hostile);
    }
}
