//! What classifiers keep to.

use super::Rule;
use super::subject::{Stop, Subject, at_once, classifier, ensure, no_panic};
use crate::flows::Chance;
use veilwatch_core::abi::export::guard;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::{Classifier, PluginError, TrainingSet};

pub(super) const RULES: [Rule; 14] = [
    ("knows nothing before it learns", untrained),
    ("learns", learns),
    ("scores grow with malice", grows),
    ("same rows and seed, same weights", twice),
    ("forgets what it learnt before", forgets),
    ("loading gives what was saved", round_trip),
    ("scores do not depend on the batch", batches),
    ("parts make the score", parts),
    ("rows of another width refused", widths),
    ("cut or extended weights refused", cut),
    ("changed weights do no harm", changed),
    ("odd rows do no harm", odd),
    ("called from two threads", threads),
    ("same through the boundary", boundary),
];

/// Columns of the rows that are learnt from.
const WIDTH: usize = 3;

/// Rows to learn from.
struct Lesson {
    values: Vec<f32>,
    labels: Vec<bool>,
    weights: Vec<f32>,
}

impl Lesson {
    /// 200 rows of three columns: the label and some noise, noise, and one that is often missing.
    fn new(start: u64) -> Self {
        let mut chance = Chance(start);
        let (mut values, mut labels, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for at in 0..200 {
            let label = at % 3 == 0;
            let often = if at % 4 == 0 { chance.share() as f32 } else { f32::NAN };
            values.extend([chance.share() as f32 + f32::from(u8::from(label)), chance.share() as f32, often]);
            labels.push(label);
            weights.push(0.5 + chance.share() as f32);
        }
        Self { values, labels, weights }
    }

    fn rows(&self) -> Rows<'_> {
        Rows::new(&self.values, WIDTH)
    }

    fn set(&self) -> TrainingSet<'_> {
        TrainingSet { rows: self.rows(), labels: &self.labels, weights: &self.weights, seed: 5 }
    }
}

/// The lesson that all checks share.
fn lesson() -> Lesson {
    Lesson::new(1)
}

fn fit(classifier: &mut dyn Classifier, lesson: &Lesson) -> Result<Vec<u8>, PluginError> {
    guard(|| {
        classifier.fit(&lesson.set())?;
        classifier.save()
    })
}

fn scores(classifier: &dyn Classifier, rows: &Rows<'_>) -> Result<Vec<f64>, PluginError> {
    let mut scores = vec![f64::NAN; rows.len()];
    guard(|| classifier.predict(rows, &mut scores))?;
    Ok(scores)
}

/// The weights of a fresh instance that has learnt.
fn weights(subject: &Subject) -> Result<Vec<u8>, PluginError> {
    let mut classifier = subject.classifier().map_err(|_| PluginError::failed("it cannot be made"))?;
    fit(&mut *classifier, &lesson())
}

/// A classifier that has learnt, with its weights: only those that learn, and the same each time, are looked at further.
fn learnt(subject: &Subject) -> Result<(Box<dyn Classifier>, &[u8]), Stop> {
    let mut classifier = subject.classifier()?;
    let known = subject.weights.known(|| weights(subject), |first, again| first == again)?;
    fit(&mut *classifier, &lesson())?;
    Ok((classifier, known))
}

/// A classifier that has loaded what it learnt.
fn loaded(subject: &Subject) -> Result<(Box<dyn Classifier>, &[u8]), Stop> {
    let (_, known) = learnt(subject)?;
    let mut classifier = subject.classifier()?;
    guard(|| classifier.load(known)).map_err(|_| Stop::Skipped("it does not load what it saved".into()))?;
    Ok((classifier, known))
}

fn untrained(subject: &Subject) -> Result<(), Stop> {
    let (classifier, lesson) = (subject.classifier()?, lesson());
    let saved = no_panic(guard(|| classifier.save()))?;
    let told = no_panic(scores(&*classifier, &lesson.rows()))?;
    let parts = no_panic(guard(|| classifier.explain(lesson.rows().row(0), &mut [0.0; WIDTH])))?;
    ensure(saved.is_none() && told.is_none() && parts.is_none(), || {
        "it saves, scores or explains before it has learnt; return an error then".into()
    })
}

fn learns(subject: &Subject) -> Result<(), Stop> {
    subject.classifier()?;
    match subject.weights.both(|| weights(subject)) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.clone().into()),
    }
}

fn grows(subject: &Subject) -> Result<(), Stop> {
    let ((classifier, _), lesson) = (learnt(subject)?, lesson());
    let told = scores(&*classifier, &lesson.rows())?;
    ensure(told.iter().all(|score| score.is_finite()), || "a score is no finite number".into())?;
    let mean = |wanted: bool| {
        let some = || told.iter().zip(&lesson.labels).filter(|(_, label)| **label == wanted).map(|(score, _)| *score);
        some().sum::<f64>() / some().count() as f64
    };
    let (malicious, benign) = (mean(true), mean(false));
    ensure(malicious > benign, || {
        format!("malicious rows score {malicious:.3} in the mean, benign ones {benign:.3}; the first must be higher")
    })
}

fn twice(subject: &Subject) -> Result<(), Stop> {
    subject.classifier()?;
    let both = subject.weights.both(|| weights(subject));
    let [first, again] = both.map_err(|_| Stop::Skipped("it does not learn".into()))?;
    ensure(first == again, || "the same rows and seed give other weights the second time".into())
}

fn forgets(subject: &Subject) -> Result<(), Stop> {
    let (_, known) = learnt(subject)?;
    let mut classifier = subject.classifier()?;
    fit(&mut *classifier, &Lesson::new(99))?;
    scores(&*classifier, &Lesson::new(98).rows())?;
    let again = fit(&mut *classifier, &lesson())?;
    ensure(again == known, || "what was learnt before changes what is learnt".into())
}

fn round_trip(subject: &Subject) -> Result<(), Stop> {
    let ((fitted, known), lesson) = (learnt(subject)?, lesson());
    let mut other = subject.classifier()?;
    guard(|| other.load(known))?;
    ensure(guard(|| other.save())? == known, || "it saves other weights than it loaded".into())?;
    let [before, after] = [scores(&*fitted, &lesson.rows())?, scores(&*other, &lesson.rows())?];
    ensure(bits(&before) == bits(&after), || "it scores otherwise once it has loaded what it saved".into())
}

fn batches(subject: &Subject) -> Result<(), Stop> {
    let ((classifier, _), lesson) = (learnt(subject)?, lesson());
    let whole = scores(&*classifier, &lesson.rows())?;
    for size in [1, 7] {
        let mut parted = Vec::new();
        for part in lesson.values.chunks(size * WIDTH) {
            parted.extend(scores(&*classifier, &Rows::new(part, WIDTH))?);
        }
        ensure(bits(&whole) == bits(&parted), || format!("{size} rows at a time score otherwise than all at once"))?;
    }
    ensure(scores(&*classifier, &Rows::new(&[], WIDTH))?.is_empty(), || "no rows give scores".into())
}

/// The parts and a constant of the model are the score.
fn parts(subject: &Subject) -> Result<(), Stop> {
    let ((classifier, _), lesson) = (learnt(subject)?, lesson());
    let rows = lesson.rows();
    let told = scores(&*classifier, &rows)?;
    let mut constant = None;
    for (at, (row, score)) in rows.iter().zip(told).enumerate() {
        let mut parts = [f64::NAN; WIDTH];
        guard(|| classifier.explain(row, &mut parts))?;
        let rest = score - parts.iter().sum::<f64>();
        let first = *constant.get_or_insert(rest);
        ensure((rest - first).abs() < 1e-3, || {
            format!("row {at}: score less parts is {rest:.4}, and {first:.4} for the first row; it must be the same")
        })?;
    }
    Ok(())
}

fn widths(subject: &Subject) -> Result<(), Stop> {
    let ((classifier, _), lesson) = (learnt(subject)?, lesson());
    for width in [1, WIDTH - 1, WIDTH + 1] {
        let rows = Rows::new(&lesson.values, width);
        let told = no_panic(scores(&*classifier, &rows))?;
        let parts = no_panic(guard(|| classifier.explain(rows.row(0), &mut vec![0.0; width])))?;
        ensure(told.is_none() && parts.is_none(), || format!("it learnt from {WIDTH} columns, and takes {width}"))?;
    }
    Ok(())
}

fn cut(subject: &Subject) -> Result<(), Stop> {
    let (mut classifier, known) = loaded(subject)?;
    let mut refuses = |weights: &[u8], what: String| {
        let taken = no_panic(guard(|| classifier.load(weights)))?;
        ensure(taken.is_none(), || format!("takes weights {what}; check what `load` is given"))
    };
    for end in [0, 1, 3, known.len() / 2, known.len().saturating_sub(1)] {
        refuses(&known[..end.min(known.len())], format!("cut after {end} of {} bytes", known.len()))?;
    }
    refuses(&[known, b"more"].concat(), "with more behind them".into())
}

fn changed(subject: &Subject) -> Result<(), Stop> {
    let ((mut classifier, known), lesson) = (loaded(subject)?, lesson());
    // A byte changed is an error or a model, and no model gives what is no number.
    for at in (0..known.len()).step_by(known.len().div_ceil(300).max(1)) {
        let mut weights = known.to_vec();
        weights[at] ^= 0x41;
        if no_panic(guard(|| classifier.load(&weights)))?.is_none() {
            continue;
        }
        let told = no_panic(scores(&*classifier, &lesson.rows()))?.unwrap_or_default();
        ensure(told.iter().all(|score| !score.is_nan()), || format!("with byte {at} changed, scores are no numbers"))?;
    }
    Ok(())
}

/// Rows that teach nothing: an error or a model, but no panic and no infinite score.
fn odd(subject: &Subject) -> Result<(), Stop> {
    learnt(subject)?;
    let known = lesson();
    let many = known.labels.len();
    let missing = vec![f32::NAN; known.values.len()];
    let alike = vec![1.5; known.values.len()];
    let large: Vec<f32> = known.values.iter().map(|value| value * (f32::MAX / 4.0)).collect();
    let (benign, malicious) = (vec![false; many], vec![true; many]);
    let sets: [(&str, &[f32], &[bool]); 7] = [
        ("no rows", &[], &[]),
        ("one row", &known.values[..WIDTH], &[true]),
        ("benign rows only", &known.values, &benign),
        ("malicious rows only", &known.values, &malicious),
        ("rows without values", &missing, &known.labels),
        ("rows that are all alike", &alike, &known.labels),
        ("very large values", &large, &known.labels),
    ];
    for (what, values, labels) in sets {
        let mut classifier = subject.classifier()?;
        let rows = Rows::new(values, WIDTH);
        let set = TrainingSet { rows, labels, weights: &known.weights[..labels.len()], seed: 5 };
        let named = |stop| match stop {
            Stop::Failed(why) => Stop::Failed(format!("{what}: {why}")),
            other => other,
        };
        if no_panic(guard(|| classifier.fit(&set))).map_err(named)?.is_none() {
            continue;
        }
        no_panic(guard(|| classifier.save())).map_err(named)?;
        for rows in [rows, known.rows(), Rows::new(&missing, WIDTH), Rows::new(&large, WIDTH)] {
            let told = no_panic(scores(&*classifier, &rows)).map_err(named)?.unwrap_or_default();
            ensure(!told.iter().any(|score| score.is_infinite()), || format!("{what}: a score is infinite"))?;
        }
    }
    Ok(())
}

fn threads(subject: &Subject) -> Result<(), Stop> {
    let ((classifier, _), lesson) = (learnt(subject)?, lesson());
    let known = bits(&scores(&*classifier, &lesson.rows())?);
    for _ in 0..8 {
        for told in at_once(|| scores(&*classifier, &lesson.rows()))? {
            ensure(bits(&told) == known, || "two threads at once get other scores".into())?;
        }
    }
    Ok(())
}

fn boundary(subject: &Subject) -> Result<(), Stop> {
    learnt(subject)?;
    let mut direct = subject.classifier()?;
    let mut foreign = classifier(subject.foreign()?)?;
    agree(&mut *direct, &mut *foreign)
}

/// Whether two classifiers learn, load, score and explain the same.
fn agree(direct: &mut dyn Classifier, foreign: &mut dyn Classifier) -> Result<(), Stop> {
    let lesson = lesson();
    let known = fit(direct, &lesson)?;
    ensure(fit(foreign, &lesson)? == known, || "other weights come through the boundary".into())?;
    for loads in [false, true] {
        if loads {
            guard(|| direct.load(&known))?;
            guard(|| foreign.load(&known))?;
        }
        let [here, there] = [scores(direct, &lesson.rows())?, scores(foreign, &lesson.rows())?];
        ensure(bits(&here) == bits(&there), || "other scores come through the boundary".into())?;
        let explained = |classifier: &dyn Classifier| {
            let mut parts = [f64::NAN; WIDTH];
            guard(|| classifier.explain(lesson.rows().row(0), &mut parts)).map(|()| bits(&parts))
        };
        ensure(explained(direct)? == explained(foreign)?, || "other parts come through the boundary".into())?;
    }
    Ok(())
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[cfg(test)]
#[path = "classifier_tests.rs"]
mod tests;
