//! Cross-validation: every row is scored by a model that has seen neither its capture nor its family.

use super::folds::Folds;
use super::metrics::{Pair, Pairs, tail_threshold};
use super::{Dataset, LearnError, Truth, augment, search};
use crate::model::{Report, by_rarity};
use crate::plugins::Registry;
use std::collections::BTreeMap;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::PluginError;
use veilwatch_core::plugin::{Classifier, Instance, Settings, TrainingSet};

/// Most weight that the flows of one (capture, server) pair have together.
pub(crate) const PAIR_WEIGHT: f64 = 3.0;
/// False alerts per benign pair that the upper threshold is chosen for.
pub(crate) const MALICIOUS_RATE: f64 = 1e-3;
/// The same for the lower threshold.
pub(crate) const SUSPICIOUS_RATE: f64 = 1e-2;
/// Total weight of malicious rows, as a share of the total weight of benign rows.
pub(super) const POSITIVE_SHARE: f64 = 0.25;

/// How the folds are made, for cards and reports.
pub(super) const SPLIT: &str = "leave one malware family out; no malicious row in training shares a named family, a \
    server or a certificate with one in the test; benign captures spread over the folds, those of sources that share \
    captures together; captures that are others under a new name left out";

/// The outcome of a cross-validation.
#[derive(Debug)]
pub struct Evaluation {
    /// The figures.
    pub report: Report,
    /// Raw score of every row from the model that had not seen it; NaN for rows without a label.
    pub raw: Vec<f64>,
    /// How each family did.
    pub families: Vec<FamilyResult>,
    /// The benign pairs that scored highest: what to look at.
    pub false_alarms: Vec<(String, u64, f64)>,
    /// Folds.
    pub folds: usize,
}

/// How one family did when it was left out.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FamilyResult {
    /// The family of the captures.
    pub family: String,
    /// Its malicious pairs.
    pub pairs: usize,
    /// Those found at the threshold chosen on the other folds.
    pub found: usize,
}

/// Fits a fresh classifier to some rows, as the data set's recipe says, search of its settings included.
pub(crate) fn fit(
    registry: &Registry,
    (path, settings): (&str, &str),
    data: &Dataset,
    rows: &[usize],
    seed: u64,
) -> Result<Box<dyn Classifier>, LearnError> {
    let settings = search::choose(registry, (path, settings), data, rows, seed)?;
    fit_as(registry, (path, &settings), data, rows, seed)
}

/// The same with settings that were chosen.
pub(super) fn fit_as(
    registry: &Registry,
    (path, settings): (&str, &str),
    data: &Dataset,
    rows: &[usize],
    seed: u64,
) -> Result<Box<dyn Classifier>, LearnError> {
    let Instance::Classifier(classifier) = registry.create(path, Settings::new(settings))? else {
        return Err(LearnError::NoClassifier);
    };
    let mut classifier = by_rarity(classifier, &data.terms);
    let (mut learnt, mut labels, mut factors) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        if let Some((label, factor)) = data.lesson(*row) {
            learnt.push(*row);
            labels.push(label);
            factors.push(factor);
        }
    }
    let mut values = Vec::with_capacity(learnt.len() * data.width);
    learnt.iter().for_each(|row| values.extend_from_slice(data.row(*row)));
    let mut weights = weights(data, &learnt);
    weights.iter_mut().zip(&factors).for_each(|(weight, factor)| *weight *= factor);
    data.weigh_marks(&learnt, &mut weights);
    let total = |label: bool| -> f64 {
        weights.iter().zip(&labels).filter(|(_, known)| **known == label).map(|(weight, _)| weight).sum()
    };
    let malicious = total(true);
    let scale = if malicious > 0.0 { data.recipe.positive_share * total(false) / malicious } else { 1.0 };
    weights.iter_mut().zip(&labels).filter(|(_, label)| **label).for_each(|(weight, _)| *weight *= scale);
    augment::add_copies(data, &learnt, &mut values, &mut labels, &mut weights);
    let weights: Vec<f32> = weights.iter().map(|weight| *weight as f32).collect();
    let set = TrainingSet { rows: Rows::new(&values, data.width), labels: &labels, weights: &weights, seed };
    classifier.fit(&set).map_err(|error| LearnError::Classifier { path: path.to_owned(), error })?;
    Ok(classifier)
}

/// One weight a row: a pair's flows share at most what the recipe gives a pair. What people marked in a pair shares as much
/// beside it, so that no mark takes weight from a label.
pub(crate) fn weights(data: &Dataset, rows: &[usize]) -> Vec<f64> {
    let share = |row: &usize| (data.rows[*row].pair, data.marked.rows.contains_key(row));
    let mut sizes: BTreeMap<(usize, bool), f64> = BTreeMap::new();
    rows.iter().for_each(|row| *sizes.entry(share(row)).or_default() += 1.0);
    rows.iter().map(|row| (data.recipe.pair_weight / sizes[&share(row)]).min(1.0)).collect()
}

/// Raw scores of some rows; a classifier that gives none for a row has failed.
pub(crate) fn scores(
    model: &dyn Classifier,
    path: &str,
    data: &Dataset,
    rows: &[usize],
) -> Result<Vec<f64>, LearnError> {
    let mut values = Vec::with_capacity(rows.len() * data.width);
    rows.iter().for_each(|row| values.extend_from_slice(data.row(*row)));
    let mut scores = vec![0.0; rows.len()];
    let failed = |error| LearnError::Classifier { path: path.to_owned(), error };
    model.predict(&Rows::new(&values, data.width), &mut scores).map_err(failed)?;
    let missing = scores.iter().filter(|score| score.is_nan()).count();
    if missing > 0 {
        let message = format!("gives no score for {missing} of {} rows that it did not learn from", scores.len());
        return Err(failed(PluginError::data(message)));
    }
    Ok(scores)
}

/// Cross-validates a classifier; `progress` hears of every fold that is done.
pub fn evaluate(
    registry: &Registry,
    classifier: (&str, &str),
    data: &Dataset,
    seed: u64,
    mut progress: impl FnMut(usize, usize),
) -> Result<Evaluation, LearnError> {
    let folds = Folds::by_family(data, seed, usize::MAX);
    let mut raw = cross_validate(registry, classifier, data, &folds, seed, |fold, _| progress(fold + 1, folds.count))?;
    raw.iter_mut()
        .zip(&data.rows)
        .filter(|(_, row)| row.truth == Truth::Unlabelled)
        .for_each(|(raw, _)| *raw = f64::NAN);
    Ok(report(data, raw, &folds, seed))
}

/// What a fold's model has to say for itself, before it is gone.
pub(crate) struct Fitted<'a> {
    /// The model.
    pub(crate) classifier: &'a dyn Classifier,
    /// The rows it was tested on.
    pub(crate) tested: &'a [usize],
    /// Its raw scores of them.
    pub(crate) scores: &'a [f64],
}

/// Raw scores of all rows that a fold tests, by a model that has not learnt from what the fold holds back; NaN for the
/// others. `each` hears of every fold that is done.
pub(crate) fn cross_validate(
    registry: &Registry,
    classifier: (&str, &str),
    data: &Dataset,
    folds: &Folds,
    seed: u64,
    mut each: impl FnMut(usize, &Fitted<'_>),
) -> Result<Vec<f64>, LearnError> {
    let (malicious, benign) = (data.count(Truth::Malicious), data.count(Truth::Benign) + data.count(Truth::Background));
    if malicious == 0 || benign == 0 || folds.count < 2 {
        return Err(LearnError::TooFew { malicious, benign, families: folds.count });
    }
    let mut raw = vec![f64::NAN; data.rows.len()];
    let judge = |fold: usize| -> Result<Judging, LearnError> {
        let tested = folds.tested(fold);
        if tested.is_empty() {
            return Ok(None);
        }
        let model = fit(registry, classifier, data, &folds.training(fold, data), seed)?;
        let scores = scores(model.as_ref(), classifier.0, data, &tested)?;
        Ok(Some((model, tested, scores)))
    };
    in_order(folds.count, judge, |fold, judged| {
        let Some((model, tested, scores)) = judged? else { return Ok(()) };
        tested.iter().zip(&scores).for_each(|(row, score)| raw[*row] = *score);
        each(fold, &Fitted { classifier: model.as_ref(), tested: &tested, scores: &scores });
        Ok(())
    })?;
    Ok(raw)
}

/// A fold's model, the rows it was tested on and its scores of them; nothing where the fold tests none.
type Judging = Option<(Box<dyn Classifier>, Vec<usize>, Vec<f64>)>;

/// Does `work` for each of `count` folds on all processors, and gives what comes of it to `take` in the order of the folds;
/// the first error ends it. At most as many as there are processors are under way or wait for their turn.
pub(crate) fn in_order<T: Send>(
    count: usize,
    work: impl Fn(usize) -> T + Sync,
    mut take: impl FnMut(usize, T) -> Result<(), LearnError>,
) -> Result<(), LearnError> {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(count);
    std::thread::scope(|scope| {
        // Worker `n` does every `workers`-th fold and waits until the last one was taken.
        let lanes: Vec<_> = (0..workers)
            .map(|first| {
                let (send, receive) = std::sync::mpsc::sync_channel(0);
                let work = &work;
                scope.spawn(move || {
                    for fold in (first..count).step_by(workers) {
                        if send.send(work(fold)).is_err() {
                            return;
                        }
                    }
                });
                receive
            })
            .collect();
        for fold in 0..count {
            // A worker that is gone has panicked; the scope hands that on.
            let Ok(done) = lanes[fold % workers].recv() else { return Ok(()) };
            take(fold, done)?;
        }
        Ok(())
    })
}

/// One pair with what kind it is and its first packet.
struct Judged {
    pair: Pair,
    truth: Truth,
    packet: u64,
    fold: usize,
}

/// The pairs of a data set: the highest score of a pair's labelled flows. A pair with a malicious flow is malicious,
/// whatever else is in it.
fn judge(data: &Dataset, raw: &[f64], folds: &Folds) -> Vec<Judged> {
    let mut judged: BTreeMap<usize, Judged> = BTreeMap::new();
    for (at, row) in data.rows.iter().enumerate() {
        if row.truth == Truth::Unlabelled {
            continue;
        }
        let entry = judged.entry(row.pair).or_insert_with(|| Judged {
            pair: Pair { capture: row.capture, malicious: false, score: f64::NEG_INFINITY },
            truth: row.truth,
            packet: row.packet,
            fold: folds.fold(at).unwrap_or_default(),
        });
        if raw[at] > entry.pair.score {
            entry.pair.score = raw[at];
            entry.packet = row.packet;
        }
        entry.truth = entry.truth.max(row.truth);
        entry.pair.malicious = entry.truth == Truth::Malicious;
    }
    judged.into_values().collect()
}

/// The figures of a card, from scores that are NaN for rows without a label.
pub(crate) fn report(data: &Dataset, raw: Vec<f64>, folds: &Folds, seed: u64) -> Evaluation {
    let judged = judge(data, &raw, folds);
    let against = |negatives: &[Truth]| {
        let wanted = |j: &&Judged| j.pair.malicious || negatives.contains(&j.truth);
        Pairs::new(judged.iter().filter(wanted).map(|j| j.pair).collect())
    };
    let both = against(&[Truth::Benign, Truth::Background]);
    let precision = |pairs: &Pairs| pairs.figure(seed, |pairs, weight| pairs.average_precision(weight));
    // Against nothing every ranking is perfect.
    let precision_of =
        |negatives: Truth| Some(precision(&against(&[negatives]))).filter(|figure| !figure.value.is_nan());
    // The threshold of a fold is chosen on the other folds' scores alone.
    let thresholds: Vec<f64> = (0..folds.count)
        .map(|fold| {
            let others = judged.iter().filter(|j| !j.pair.malicious && j.fold != fold);
            tail_threshold(others.map(|j| j.pair.score).collect(), MALICIOUS_RATE)
        })
        .collect();
    // As a score: 1 where the pair reaches its fold's threshold.
    let called = Pairs::new(
        judged
            .iter()
            .map(|j| Pair { score: f64::from(u8::from(j.pair.score >= thresholds[j.fold])), ..j.pair })
            .collect(),
    );
    let share = |malicious: bool| {
        called.figure(seed, move |pairs, weight| {
            let sum = |only_called: bool| -> f64 {
                pairs
                    .iter()
                    .filter(|pair| pair.malicious == malicious && (!only_called || pair.score > 0.5))
                    .map(weight)
                    .sum()
            };
            sum(true) / sum(false)
        })
    };
    let count = |truth: Truth| judged.iter().filter(|j| j.truth == truth).count();
    let report = Report {
        malicious_pairs: count(Truth::Malicious),
        benign_pairs: count(Truth::Benign),
        background_pairs: count(Truth::Background),
        average_precision: precision(&both),
        average_precision_benign: precision_of(Truth::Benign),
        average_precision_background: precision_of(Truth::Background),
        recall_at_fpr_1e3: both.figure(seed, |pairs, weight| pairs.recall_at(1e-3, weight)),
        recall_at_threshold: share(true),
        fpr_at_threshold: share(false),
    };
    let mut families: BTreeMap<&str, FamilyResult> = BTreeMap::new();
    for j in judged.iter().filter(|j| j.pair.malicious) {
        let family = data.captures[j.pair.capture].family.as_str();
        let entry =
            families.entry(family).or_insert_with(|| FamilyResult { family: family.to_owned(), pairs: 0, found: 0 });
        entry.pairs += 1;
        entry.found += usize::from(j.pair.score >= thresholds[j.fold]);
    }
    let mut alarms: Vec<&Judged> = judged.iter().filter(|j| !j.pair.malicious).collect();
    alarms.sort_by(|a, b| b.pair.score.total_cmp(&a.pair.score));
    let false_alarms =
        alarms.iter().take(10).map(|j| (data.captures[j.pair.capture].path.clone(), j.packet, j.pair.score)).collect();
    Evaluation { report, raw, families: families.into_values().collect(), false_alarms, folds: folds.count }
}
