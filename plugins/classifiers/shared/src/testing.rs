//! Made-up rows, and what every classifier is asked in its own tests.

use crate::learner::{Learner, Learning, Model};
use crate::sample::Dice;
use proptest::prelude::*;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::{Classifier, PluginErrorKind, Settings, TrainingSet};

/// Rows with labels and weights.
#[derive(Debug, Clone)]
pub struct Lesson {
    /// Columns of a row.
    pub width: usize,
    /// The values, row after row.
    pub values: Vec<f32>,
    /// One a row: true for malicious.
    pub labels: Vec<bool>,
    /// One a row.
    pub weights: Vec<f32>,
}

impl Lesson {
    /// Of three rows one is malicious. Columns 0, 4, 8 … are higher there, by less the farther they lie behind; columns
    /// 1, 5 … have long tails, columns 2, 6 … few values, and columns 3, 7 … the same value everywhere. Of the other
    /// columns a share of the values is missing. Weights differ.
    pub fn new(height: usize, width: usize, missing: f64, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut lesson = Self { width, values: Vec::new(), labels: Vec::new(), weights: Vec::new() };
        for _ in 0..height {
            let malicious = dice.below(3) == 0;
            for column in 0..width {
                let noise = dice.share() + dice.share() + dice.share() - 1.5;
                let value = match column % 4 {
                    0 => noise + f64::from(u8::from(malicious)) * 2.0 / (1.0 + column as f64),
                    1 => (noise * 8.0).exp(),
                    2 => (noise * 2.0).round(),
                    _ => 7.0,
                };
                lesson.values.push(if dice.share() < missing && column % 4 != 3 { f32::NAN } else { value as f32 });
            }
            lesson.labels.push(malicious);
            lesson.weights.push(0.5 + dice.share() as f32);
        }
        lesson
    }

    /// The rows.
    pub fn rows(&self) -> Rows<'_> {
        Rows::new(&self.values, self.width)
    }

    /// All of it, to learn from.
    pub fn set(&self, seed: u64) -> TrainingSet<'_> {
        TrainingSet { rows: self.rows(), labels: &self.labels, weights: &self.weights, seed }
    }

    /// How often a malicious row scores higher than a benign one.
    pub fn ranked(&self, scores: &[f64]) -> f64 {
        let of = |wanted: bool| {
            let rows = scores.iter().zip(&self.labels);
            rows.filter(move |(_, label)| **label == wanted).map(|(score, _)| *score)
        };
        let pairs = || of(true).flat_map(|bad| of(false).map(move |good| (bad, good)));
        let higher = |(bad, good): (f64, f64)| if bad > good { 1.0 } else { f64::from(u8::from(bad == good)) / 2.0 };
        pairs().map(higher).sum::<f64>() / pairs().count() as f64
    }
}

/// A classifier with these settings.
///
/// # Panics
/// Where they are refused.
#[allow(clippy::unwrap_used, reason = "it is there to end a test")]
pub fn create<L: Learner>(settings: &str) -> Learning<L> {
    Learning::create(Settings::new(settings)).unwrap()
}

/// One that has learnt from a lesson.
///
/// # Panics
/// Where it does not learn.
#[allow(clippy::unwrap_used, reason = "it is there to end a test")]
pub fn taught<L: Learner>(settings: &str, lesson: &Lesson, seed: u64) -> Learning<L> {
    let mut classifier = create(settings);
    classifier.fit(&lesson.set(seed)).unwrap();
    classifier
}

/// The scores of rows.
///
/// # Panics
/// Where it does not score.
#[allow(clippy::unwrap_used, reason = "it is there to end a test")]
pub fn scores<L: Learner>(classifier: &Learning<L>, rows: &Rows<'_>) -> Vec<f64> {
    let mut scores = vec![f64::NAN; rows.len()];
    classifier.predict(rows, &mut scores).unwrap();
    scores
}

/// What every classifier keeps to beyond the suite that all plugins go through: it ranks rows that it has not seen at
/// least this well, gives the same bytes when it learns again, other bytes for other weights, and parts that make up
/// the score where values are missing.
///
/// # Panics
/// Where it does not.
#[allow(clippy::unwrap_used, reason = "it is there to end a test")]
pub fn learns<L: Learner>(settings: &str, well: f64) {
    let lesson = Lesson::new(600, 10, 0.15, 1);
    let mut classifier = taught::<L>(settings, &lesson, 7);
    let first = classifier.save().unwrap();
    classifier.fit(&lesson.set(7)).unwrap();
    assert!(first == classifier.save().unwrap(), "the same rows and seed, other bytes");

    let fresh = Lesson::new(400, 10, 0.15, 2);
    let told = scores(&classifier, &fresh.rows());
    let ranked = fresh.ranked(&told);
    assert!(ranked >= well, "ranked {ranked}");
    let mut parts = vec![0.0; 10];
    let rests: Vec<f64> = (fresh.rows().iter().zip(&told))
        .map(|(row, score)| {
            classifier.explain(row, &mut parts).unwrap();
            assert_eq!(parts[3], 0.0, "a column that never changes has a part");
            score - parts.iter().sum::<f64>()
        })
        .collect();
    assert!(rests.iter().all(|rest| (rest - rests[0]).abs() < 1e-6 * (1.0 + rests[0].abs())), "{rests:?}");

    // Whose malicious rows hardly weigh finds other things than one that has them all.
    let mut light = lesson.clone();
    for (weight, row) in light.weights.iter_mut().zip(lesson.rows().iter()) {
        *weight *= if row[0] > 0.0 { 0.01 } else { 1.0 };
    }
    assert!(first != taught::<L>(settings, &light, 7).save().unwrap(), "weights of rows do not matter");
}

/// Fits 8,000 rows of 450 columns with the default settings, about what one fold of an evaluation has; says what the fit
/// and the scoring of a row take.
pub fn time<L: Learner>() {
    time_of::<L>(8_000, 450);
}

/// The same with so many rows of so many columns.
#[allow(clippy::print_stdout, reason = "it is for examples, which print")]
pub fn time_of<L: Learner>(height: usize, width: usize) {
    let lesson = Lesson::new(height, width, 0.2, 1);
    let start = std::time::Instant::now();
    let classifier = taught::<L>("", &lesson, 1);
    let fit = start.elapsed();
    let start = std::time::Instant::now();
    let scores = scores(&classifier, &lesson.rows());
    let score = start.elapsed();
    // Every pair of rows is compared: the first ones will do.
    let first = Lesson { width, values: Vec::new(), labels: lesson.labels[..8_000].to_vec(), weights: Vec::new() };
    let ranked = first.ranked(&scores[..8_000]);
    let bytes = classifier.save().map_or(0, |bytes| bytes.len());
    println!(
        "{}, {height} rows of {width} columns: fit {:.2} s, {:.1} µs a row, {bytes} bytes, ranked {ranked:.3}",
        L::NAME,
        fit.as_secs_f64(),
        score.as_secs_f64() / height as f64 * 1e6
    );
}

/// Settings that are refused, each with a word of the message.
///
/// # Panics
/// Where one is not refused, or otherwise.
#[allow(clippy::panic, clippy::unwrap_used, reason = "it is there to end a test")]
pub fn refuses<L: Learner>(bad: &[(&str, &str)]) {
    assert!(Learning::<L>::create(Settings::new("")).is_ok());
    for (bad, says) in bad {
        let Err(error) = Learning::<L>::create(Settings::new(bad)) else { panic!("{bad} is taken") };
        assert_eq!(error.kind, PluginErrorKind::Settings);
        assert!(error.message.contains(says), "{error}");
    }
}

/// Changes to weights: whether they begin as good ones do, and where other bytes stand.
pub fn hostile() -> impl Strategy<Value = Hostile> {
    let flips = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (flips, any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..200), 0u8..4)
        .prop_map(|(flips, cut, junk, kind)| Hostile { flips, cut, junk, kind })
}

/// What is done to good weights.
#[derive(Debug, Clone)]
pub struct Hostile {
    flips: Vec<(prop::sample::Index, u8)>,
    cut: prop::sample::Index,
    junk: Vec<u8>,
    kind: u8,
}

impl Hostile {
    /// Some bytes of good weights replaced; all behind a place left out, or replaced; or junk alone.
    fn of(self, good: &[u8]) -> Vec<u8> {
        let mut bytes = good.to_vec();
        let cut = self.cut.index(bytes.len().max(1));
        match self.kind {
            0 => {}
            1 => bytes.truncate(cut),
            2 => {
                bytes.truncate(cut.max(5));
                bytes.extend(&self.junk);
            }
            _ => bytes.splice(.., self.junk).for_each(drop),
        }
        for (at, byte) in self.flips {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes
    }
}

/// Loads hostile weights: an error, or a model of which every score and part is a finite number.
///
/// # Panics
/// Where it is neither.
#[allow(clippy::unwrap_used, reason = "it is there to end a test")]
pub fn survives<L: Learner>(good: &[u8], hostile: Hostile) {
    let mut classifier = create::<L>("");
    if classifier.load(&hostile.of(good)).is_err() {
        return;
    }
    let width = classifier.model().unwrap().width();
    for value in [f32::NAN, 0.0, f32::MAX, f32::NEG_INFINITY] {
        let row = vec![value; width];
        let mut parts = vec![f64::NAN; width];
        assert!(scores(&classifier, &Rows::new(&row, width))[0].is_finite());
        classifier.explain(&row, &mut parts).unwrap();
        assert!(parts.iter().all(|part| part.is_finite()));
    }
    assert!(classifier.save().is_ok());
}
