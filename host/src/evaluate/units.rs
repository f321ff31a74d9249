//! What is counted: flows, (capture, server) pairs or captures, each with the score of a model that had not seen it.

use crate::learn::validate::{MALICIOUS_RATE, SUSPICIOUS_RATE, weights};
use crate::learn::{Dataset, Folds, Row, Truth, metrics::tail_threshold};
use serde::Serialize;
use std::collections::BTreeMap;
use veilwatch_core::detect::aggregate::{Evidence, Scale, host_place};
use veilwatch_core::detect::{Calibration, Thresholds};

/// What counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A (capture, server) pair, by the highest score of its flows: it is called malicious when one of them is.
    Pair,
    /// The same by the mean score of its flows, as the published baseline has it.
    PairMean,
    /// The same by what detection makes of its flows together.
    Conversation,
    /// A flow; those of one pair weigh no more than three together.
    CappedFlow,
    /// A flow, whatever it repeats.
    Flow,
    /// A capture with a malicious pair, or a benign one, by what detection makes of its pairs together.
    Capture,
    /// The same by the highest score of its flows.
    CaptureHighest,
}

impl Level {
    /// All of them, the headline's first.
    pub const ALL: [Self; 7] = [
        Self::Pair,
        Self::PairMean,
        Self::Conversation,
        Self::CappedFlow,
        Self::Flow,
        Self::Capture,
        Self::CaptureHighest,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pair => "pair, highest score",
            Self::PairMean => "pair, mean score",
            Self::Conversation => "pair, put together",
            Self::CappedFlow => "flow, pairs capped",
            Self::Flow => "flow",
            Self::Capture => "capture, put together",
            Self::CaptureHighest => "capture, highest score",
        }
    }
}

/// What malicious flows are told from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Negatives {
    /// Both kinds together.
    Both,
    /// Benign captures.
    Benign,
    /// The infected machines' own benign flows.
    Background,
}

impl Negatives {
    /// All of them, the headline's first.
    pub const ALL: [Self; 3] = [Self::Both, Self::Benign, Self::Background];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Benign => "benign captures",
            Self::Background => "infected machines' own",
        }
    }

    fn has(self, truth: Truth) -> bool {
        match truth {
            Truth::Malicious => true,
            Truth::Benign => self != Self::Background,
            Truth::Background => self != Self::Benign,
            Truth::Unlabelled => false,
        }
    }
}

/// The raw scores of a cross-validation, and what they come to.
pub(super) struct Outcome<'a> {
    pub(super) data: &'a Dataset,
    pub(super) folds: &'a Folds,
    /// One a row; NaN where it was not tested.
    pub(super) raw: Vec<f64>,
    /// The same as scores in [0, 1], calibrated on the other folds.
    pub(super) score: Vec<f64>,
}

impl<'a> Outcome<'a> {
    pub(super) fn new(data: &'a Dataset, folds: &'a Folds, raw: Vec<f64>) -> Self {
        let score = calibrated(data, folds, &raw);
        Self { data, folds, raw, score }
    }
}

/// Scores in [0, 1] by Platt's method, for each fold fitted to the capped flows of the others.
fn calibrated(data: &Dataset, folds: &Folds, raw: &[f64]) -> Vec<f64> {
    let known: Vec<usize> =
        (0..raw.len()).filter(|at| !raw[*at].is_nan() && data.rows[*at].truth != Truth::Unlabelled).collect();
    let weights = weights(data, &known);
    let mut score = vec![f64::NAN; raw.len()];
    for fold in 0..folds.count {
        let others: Vec<(f64, bool, f64)> = known
            .iter()
            .zip(&weights)
            .filter(|(row, _)| !folds.tests(fold, **row))
            .map(|(row, weight)| (raw[*row], data.rows[*row].truth == Truth::Malicious, *weight))
            .collect();
        let calibration = Calibration::fit(&others);
        (0..raw.len()).filter(|row| folds.tests(fold, *row)).for_each(|row| score[row] = calibration.score(raw[row]));
    }
    score
}

/// One of what is counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unit {
    pub(super) capture: usize,
    pub(super) pair: usize,
    pub(super) truth: Truth,
    /// By what it is ranked.
    pub(super) raw: f64,
    /// Calibrated on the other folds.
    pub(super) score: f64,
    pub(super) weight: f64,
    pub(super) fold: usize,
    /// The row that gave the score.
    pub(super) row: usize,
    /// Whether it reaches the alarm threshold, chosen on the other folds for one false alarm in a thousand pairs.
    pub(super) alarm: bool,
    /// Whether it reaches the threshold with the best F1 on the other folds.
    pub(super) called: bool,
}

impl Unit {
    pub(super) fn malicious(&self) -> bool {
        self.truth == Truth::Malicious
    }
}

/// The units of an outcome, highest score first, judged by thresholds from the other folds.
pub(super) fn units(outcome: &Outcome<'_>, level: Level) -> Vec<Unit> {
    let mut units = bare(outcome, level, &|_| true);
    let count = outcome.folds.count;
    let alarms = match level {
        // A flow is called by the threshold that pairs have, as detection does.
        Level::Pair | Level::CappedFlow | Level::Flow => alarm_thresholds_of(outcome),
        _ => alarm_thresholds(&units, count),
    };
    let best = best_f1_thresholds(&units, count);
    for unit in &mut units {
        unit.alarm = unit.raw >= alarms[unit.fold];
        unit.called = unit.raw >= best[unit.fold];
    }
    units
}

/// Pairs by their highest score, called by a raw threshold of each fold.
pub(super) fn pairs_called(outcome: &Outcome<'_>, thresholds: &[f64]) -> Vec<Unit> {
    let mut units = bare(outcome, Level::Pair, &|_| true);
    for unit in &mut units {
        unit.alarm = thresholds.get(unit.fold).is_some_and(|threshold| unit.raw >= *threshold);
        unit.called = unit.alarm;
    }
    units
}

/// Units of some rows alone, by the thresholds of all.
pub(super) fn units_of(outcome: &Outcome<'_>, level: Level, keep: &dyn Fn(&Row) -> bool) -> Vec<Unit> {
    let all = bare(outcome, level, &|_| true);
    let alarms = alarm_thresholds(&bare(outcome, Level::Pair, &|_| true), outcome.folds.count);
    let best = best_f1_thresholds(&all, outcome.folds.count);
    let mut units = bare(outcome, level, keep);
    for unit in &mut units {
        unit.alarm = unit.raw >= alarms[unit.fold];
        unit.called = unit.raw >= best[unit.fold];
    }
    units
}

/// The alarm thresholds of an outcome's folds.
pub(super) fn alarm_thresholds_of(outcome: &Outcome<'_>) -> Vec<f64> {
    alarm_thresholds(&bare(outcome, Level::Pair, &|_| true), outcome.folds.count)
}

/// Units against some negatives only.
pub(super) fn against(units: &[Unit], negatives: Negatives) -> Vec<Unit> {
    units.iter().filter(|unit| negatives.has(unit.truth)).copied().collect()
}

/// Units that nothing was decided about yet.
fn bare(outcome: &Outcome<'_>, level: Level, keep: &dyn Fn(&Row) -> bool) -> Vec<Unit> {
    let Outcome { data, folds, raw, score } = outcome;
    let rows: Vec<usize> = (0..data.rows.len())
        .filter(|at| data.rows[*at].truth != Truth::Unlabelled && !raw[*at].is_nan() && keep(&data.rows[*at]))
        .collect();
    let unit = |at: usize, weight: f64| {
        let Row { capture, pair, truth, .. } = data.rows[at];
        let fold = folds.fold(at).unwrap_or_default();
        let (raw, score) = (raw[at], score[at]);
        Unit { capture, pair, truth, raw, score, weight, fold, row: at, alarm: false, called: false }
    };
    let mut units: Vec<Unit> = match level {
        Level::Flow => rows.iter().map(|at| unit(*at, 1.0)).collect(),
        Level::CappedFlow => rows.iter().zip(weights(data, &rows)).map(|(at, weight)| unit(*at, weight)).collect(),
        Level::Pair | Level::PairMean => {
            let mut pairs: BTreeMap<usize, (Unit, f64, f64)> = BTreeMap::new();
            for at in rows {
                let one = unit(at, 1.0);
                let (best, sum, count) = pairs.entry(one.pair).or_insert((one, 0.0, 0.0));
                let truth = best.truth.max(one.truth);
                if one.raw > best.raw {
                    *best = one;
                }
                best.truth = truth;
                *sum += one.score;
                *count += 1.0;
            }
            let mean = level == Level::PairMean;
            let unit = |(best, sum, count): (Unit, f64, f64)| {
                if mean { Unit { raw: sum / count, score: sum / count, ..best } } else { best }
            };
            pairs.into_values().map(unit).collect()
        }
        Level::Conversation => put_together(outcome, rows.iter().map(|at| unit(*at, 1.0))).0,
        Level::Capture => put_together(outcome, rows.iter().map(|at| unit(*at, 1.0))).1,
        Level::CaptureHighest => {
            captures(rows.iter().map(|at| unit(*at, 1.0))).into_values().map(|(strongest, _)| strongest).collect()
        }
    };
    units.sort_by(|a, b| b.raw.total_cmp(&a.raw).then(a.row.cmp(&b.row)));
    units
}

/// Units of pairs, and of captures that are known as a whole, as detection puts flows together: by where they stand between
/// the thresholds that the other folds give.
fn put_together(outcome: &Outcome<'_>, flows: impl Iterator<Item = Unit>) -> (Vec<Unit>, Vec<Unit>) {
    let scales = scales(outcome);
    let mut pairs: BTreeMap<usize, (Unit, Evidence)> = BTreeMap::new();
    for one in flows {
        let (best, evidence) = pairs.entry(one.pair).or_insert((one, Evidence::default()));
        let truth = best.truth.max(one.truth);
        if one.raw > best.raw {
            *best = one;
        }
        best.truth = truth;
        if let Some(scale) = scales.get(one.fold) {
            evidence.add(scale.place(one.score));
        }
    }
    let at = |unit: Unit, place: f64| {
        let score = scales.get(unit.fold).map_or(f64::NAN, |scale| scale.score(place));
        Unit { raw: place, score, ..unit }
    };
    let pairs: Vec<Unit> = pairs.into_values().map(|(best, evidence)| at(best, evidence.place())).collect();
    let captures = captures(pairs.iter().copied()).into_values();
    let captures = captures.map(|(best, places)| at(best, host_place(places))).collect();
    (pairs, captures)
}

/// The strongest unit of each capture that is malicious somewhere, or benign as a whole, and where all of its units stand.
/// What else an infected machine's capture holds nobody labelled, so that one without a malicious unit is neither.
fn captures(units: impl Iterator<Item = Unit>) -> BTreeMap<usize, (Unit, Vec<f64>)> {
    let mut captures: BTreeMap<usize, (Unit, Vec<f64>)> = BTreeMap::new();
    for one in units {
        let (best, places) = captures.entry(one.capture).or_insert((one, Vec::new()));
        let truth = best.truth.max(one.truth);
        if one.raw > best.raw {
            *best = one;
        }
        best.truth = truth;
        places.push(one.raw);
    }
    captures.retain(|_, (best, _)| best.truth != Truth::Background);
    captures
}

/// For each fold, the scale between the thresholds that pairs of the other folds give. It is near to what a card would have,
/// and not the same: each fold's scores were calibrated by others.
fn scales(outcome: &Outcome<'_>) -> Vec<Scale> {
    let pairs = bare(outcome, Level::Pair, &|_| true);
    let scale = |fold: usize| {
        let benign = pairs.iter().filter(|unit| !unit.malicious() && unit.fold != fold);
        // In log-odds, which the tail's shape is taken of; a score of 0 or 1 has none.
        let score = |unit: &Unit| unit.score.clamp(1e-9, 1.0 - 1e-9);
        let benign: Vec<f64> = benign.map(score).map(|score| (score / (1.0 - score)).ln()).collect();
        let threshold = |rate| 1.0 / (1.0 + (-tail_threshold(benign.clone(), rate)).exp());
        let malicious = if benign.is_empty() { 1.0 } else { threshold(MALICIOUS_RATE) };
        let suspicious = if benign.is_empty() { 1.0 } else { threshold(SUSPICIOUS_RATE).min(malicious) };
        Scale::new(Thresholds { suspicious, malicious })
    };
    (0..outcome.folds.count).map(scale).collect()
}

/// For each fold, the threshold that one benign pair in a thousand of the other folds reaches.
fn alarm_thresholds(units: &[Unit], folds: usize) -> Vec<f64> {
    (0..folds)
        .map(|fold| {
            let others = units.iter().filter(|unit| !unit.malicious() && unit.fold != fold);
            let scores: Vec<f64> = others.map(|unit| unit.raw).collect();
            if scores.is_empty() { f64::INFINITY } else { tail_threshold(scores, MALICIOUS_RATE) }
        })
        .collect()
}

/// For each fold, the threshold with the best F1 of the malicious on the other folds. `units` are in falling order.
fn best_f1_thresholds(units: &[Unit], folds: usize) -> Vec<f64> {
    (0..folds)
        .map(|fold| {
            let others = || units.iter().filter(move |unit| unit.fold != fold);
            let positive: f64 = others().filter(|unit| unit.malicious()).map(|unit| unit.weight).sum();
            let (mut hits, mut called, mut best) = (0.0, 0.0, (0.0, f64::INFINITY));
            let mut others = others().peekable();
            while let Some(unit) = others.next() {
                called += unit.weight;
                hits += if unit.malicious() { unit.weight } else { 0.0 };
                // What ties is called together.
                if others.peek().is_some_and(|next| next.raw == unit.raw) {
                    continue;
                }
                let f1 = 2.0 * hits / (positive + called);
                if f1 > best.0 {
                    best = (f1, unit.raw);
                }
            }
            best.1
        })
        .collect()
}
