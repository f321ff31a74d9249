//! Does a threshold keep its promise elsewhere?
//!
//! In each fold, what a model ships with beside its weights is chosen anew on folds *within* what it learns from: how raw
//! numbers become scores, and the thresholds. Nothing of what is tested had a part in it, so that what the alarms do there
//! is what they may be expected to do where somebody else captures.

use super::figures::Figures;
use super::protocols::{AgainstReport, reports};
use super::units::{Negatives, Outcome, Unit, pairs_called};
use super::{Bench, Steps};
use crate::learn::chosen::Chosen;
use crate::learn::{Folds, LearnError, Protocol, Truth, validate};
use crate::model::Figure;
use serde::Serialize;

/// Folds within what a fold learns from.
pub(super) const INNER_FOLDS: usize = 5;
/// The same, the quick way.
pub(super) const QUICK_INNER_FOLDS: usize = 3;
/// False alarms per benign pair that thresholds are chosen for; the first is the shipped one.
pub(super) const PROMISES: [f64; 4] = [1e-3, 3e-4, 3e-3, 1e-2];

/// What became of thresholds that were chosen within.
#[derive(Debug, Clone, Serialize)]
pub struct Transfer {
    /// What was left out.
    pub protocol: Protocol,
    /// Its name.
    pub name: &'static str,
    /// Folds.
    pub folds: usize,
    /// Folds within each.
    pub inner_folds: usize,
    /// Figures by pair at the shipped rate; its calibration error is that of scores calibrated within, and F1 and what goes
    /// with it are those at the alarm threshold.
    pub against: Vec<AgainstReport>,
    /// Rates promised and kept, against both negatives.
    pub kept: Vec<Kept>,
    /// What happened in each fold at the shipped rate.
    pub by_fold: Vec<FoldKept>,
    /// Of each bin of scores: mean score, share of malicious pairs, pairs. Empty bins are left out.
    pub reliability: Vec<(f64, f64, usize)>,
    /// Why there are no figures, where there are none.
    pub failed: Option<String>,
}

/// A promised rate, and what came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Kept {
    /// False alarms per benign pair that the threshold was chosen for.
    pub promised: f64,
    /// Those that there were.
    pub false_positive_rate: Figure,
    /// How many.
    pub false_alarms: usize,
    /// Share of the malicious pairs that were found.
    pub recall: Figure,
}

/// What a fold's threshold did.
#[derive(Debug, Clone, Serialize)]
pub struct FoldKept {
    /// What was left out: groups with malicious pairs.
    pub left_out: Vec<String>,
    /// The threshold, as a score.
    pub threshold: f64,
    /// Malicious pairs.
    pub malicious: usize,
    /// Those that were found.
    pub found: usize,
    /// Other pairs.
    pub negatives: usize,
    /// Those among them that raised an alarm.
    pub false_alarms: usize,
}

impl Transfer {
    /// Leaves out what a protocol leaves out; what fails is named and ends nothing.
    pub(super) fn judge(bench: &Bench<'_>, protocol: Protocol, steps: &mut Steps<'_>) -> Self {
        let folds = Folds::of(protocol, bench.data, bench.plan.seed, bench.plan.folds());
        let inner_folds = if bench.plan.quick { QUICK_INNER_FOLDS } else { INNER_FOLDS };
        let name = format!("thresholds from within, {}", protocol.name());
        let bare = Self {
            protocol,
            name: protocol.name(),
            folds: folds.count,
            inner_folds,
            against: Vec::new(),
            kept: Vec::new(),
            by_fold: Vec::new(),
            reliability: Vec::new(),
            failed: None,
        };
        steps.say(&name, 0, folds.count);
        let chosen = nested(bench, &folds, inner_folds, |done| steps.say(&name, done, folds.count));
        steps.count(&name);
        match chosen {
            Ok(nested) => bare.told(bench, &folds, nested),
            Err(error) => Self { failed: Some(error.to_string()), ..bare },
        }
    }

    fn told(self, bench: &Bench<'_>, folds: &Folds, nested: Nested) -> Self {
        let Nested { raw, score, chosen } = nested;
        let outcome = Outcome { data: bench.data, folds, raw, score };
        let units = |rate: f64| {
            let of = |chosen: &Option<Chosen>| chosen.as_ref().map_or(f64::INFINITY, |one| one.raw_threshold(rate));
            pairs_called(&outcome, &chosen.iter().map(of).collect::<Vec<_>>())
        };
        let kept = |rate: f64| {
            let figures = Figures::of(&units(rate), bench.plan.samples(), bench.plan.seed)?;
            Some(Kept {
                promised: rate,
                false_positive_rate: figures.alarms.false_positive_rate,
                false_alarms: figures.alarms.false_alarms,
                recall: figures.alarms.recall,
            })
        };
        let shipped = units(PROMISES[0]);
        let by_fold = (0..folds.count).filter_map(|fold| {
            let chosen = chosen.get(fold)?.as_ref()?;
            let threshold = chosen.calibration.score(chosen.raw_threshold(PROMISES[0]));
            Some(FoldKept::of(&outcome, fold, threshold, &shipped))
        });
        Self {
            against: reports(&shipped, bench.plan.samples(), bench.plan.seed),
            kept: PROMISES.into_iter().filter_map(kept).collect(),
            by_fold: by_fold.collect(),
            reliability: super::curves::Curves::of(&shipped).reliability,
            ..self
        }
    }

    /// Figures by pair at the shipped rate against some negatives.
    pub fn figures(&self, negatives: Negatives) -> Option<&Figures> {
        self.against.iter().find(|report| report.negatives == negatives)?.figures.as_ref()
    }
}

impl FoldKept {
    fn of(outcome: &Outcome<'_>, fold: usize, threshold: f64, units: &[Unit]) -> Self {
        let inside = || units.iter().filter(|unit| unit.fold == fold);
        let count = |malicious: bool, alarm: bool| {
            inside().filter(|unit| unit.malicious() == malicious && (unit.alarm || !alarm)).count()
        };
        let mut left_out: Vec<String> = inside()
            .filter(|unit| unit.truth == Truth::Malicious)
            .map(|unit| outcome.folds.left_out(&outcome.data.captures[unit.capture]).to_owned())
            .collect();
        left_out.sort_unstable();
        left_out.dedup();
        Self {
            left_out,
            threshold,
            malicious: count(true, false),
            found: count(true, true),
            negatives: count(false, false),
            false_alarms: count(false, true),
        }
    }
}

/// What was found in all folds: one number a row, NaN where it was not tested, and one choice a fold.
struct Nested {
    raw: Vec<f64>,
    score: Vec<f64>,
    chosen: Vec<Option<Chosen>>,
}

/// A fold: the rows that it tested, their raw numbers, and what was chosen within.
struct Judged {
    tested: Vec<usize>,
    scores: Vec<f64>,
    chosen: Chosen,
}

fn nested(
    bench: &Bench<'_>,
    folds: &Folds,
    inner_folds: usize,
    mut done: impl FnMut(usize),
) -> Result<Nested, LearnError> {
    let Bench { registry, classifier, data, plan, .. } = bench;
    let rows = data.rows.len();
    let mut all = Nested { raw: vec![f64::NAN; rows], score: vec![f64::NAN; rows], chosen: vec![None; folds.count] };
    let judge = |fold: usize| -> Result<Option<Judged>, LearnError> {
        let tested = folds.tested(fold);
        if tested.is_empty() {
            return Ok(None);
        }
        let training = folds.training(fold, data);
        let chosen = Chosen::within(registry, *classifier, data, &training, inner_folds, plan.seed)?;
        let model = validate::fit(registry, *classifier, data, &training, plan.seed)?;
        let scores = validate::scores(&*model, classifier.0, data, &tested)?;
        Ok(Some(Judged { tested, scores, chosen }))
    };
    validate::in_order(folds.count, judge, |fold, judged| {
        if let Some(Judged { tested, scores, chosen }) = judged? {
            for (row, raw) in tested.into_iter().zip(scores) {
                all.raw[row] = raw;
                all.score[row] = chosen.calibration.score(raw);
            }
            all.chosen[fold] = Some(chosen);
        }
        done(fold + 1);
        Ok(())
    })?;
    Ok(all)
}
