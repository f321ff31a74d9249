//! The figures of one set of units, with intervals by capture.

use super::bootstrap::Bootstrap;
use super::units::Unit;
use crate::model::Figure;
use serde::Serialize;
use std::collections::BTreeSet;

/// False-positive rates at which recall is asked for.
pub const FALSE_POSITIVE_RATES: [f64; 3] = [1e-2, 1e-3, 1e-4];
/// False alarms that a false-positive rate must allow among the negative pairs there are, for recall at it to be told:
/// with fewer, one odd pair decides.
pub const LEAST_ALARMS: f64 = 2.0;
/// Shares of malicious units in the traffic for which precision is told.
pub const BASE_RATES: [f64; 4] = [1e-2, 1e-3, 1e-4, 1e-5];
/// Where no false alarm was seen among `n` negatives, their rate is below `3 / n` with 95 % confidence.
pub const RULE_OF_THREE: f64 = 3.0;
/// Bins of equal width over [0, 1] behind the calibration error.
pub const CALIBRATION_BINS: usize = 10;

/// All figures of one set of units.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Malicious units.
    pub malicious: usize,
    /// The others.
    pub negatives: usize,
    /// (capture, server) pairs among the others.
    pub negative_pairs: usize,
    /// Captures that they come from, which the intervals draw from.
    pub captures: usize,
    /// Area under the ROC curve.
    pub roc_auc: Figure,
    /// Average precision: area under the precision–recall steps.
    pub average_precision: Figure,
    /// Recall at given false-positive rates.
    pub recall: Vec<RecallAt>,
    /// What the alarm threshold does, which was chosen on the other folds for one false alarm in a thousand pairs.
    pub alarms: Alarms,
    /// Precision at the alarm threshold where so large a share of the traffic is malicious.
    pub precision_at_base_rate: Vec<PrecisionAt>,
    /// F1 of the malicious, at the threshold with the best F1 on the other folds.
    pub malicious_f1: Figure,
    /// Precision of the malicious there.
    pub malicious_precision: Figure,
    /// Recall of the malicious there.
    pub malicious_recall: Figure,
    /// F1 of both classes there, each weighted by its size, as the origin project printed it.
    pub weighted_f1: Figure,
    /// Precision of both classes there, each weighted by its size.
    pub weighted_precision: Figure,
    /// What that F1 is worth: its value where everything is called benign.
    pub weighted_f1_of_all_benign: f64,
    /// Brier score: mean squared difference of score and truth.
    pub brier: Figure,
    /// Expected calibration error over bins of equal width.
    pub calibration_error: Figure,
}

/// Recall at a false-positive rate.
#[derive(Debug, Clone, Serialize)]
pub struct RecallAt {
    /// The rate.
    pub false_positive_rate: f64,
    /// The recall; none where there are too few negative pairs.
    pub recall: Option<Figure>,
    /// Negative pairs that it takes.
    pub negative_pairs_needed: usize,
}

/// What the alarm threshold does.
#[derive(Debug, Clone, Serialize)]
pub struct Alarms {
    /// Share of the malicious that reach it.
    pub recall: Figure,
    /// Share of the others that reach it.
    pub false_positive_rate: Figure,
    /// How many of the others do.
    pub false_alarms: usize,
}

/// Precision at a base rate.
#[derive(Debug, Clone, Serialize)]
pub struct PrecisionAt {
    /// Share of malicious units in the traffic.
    pub base_rate: f64,
    /// Precision.
    pub precision: Figure,
    /// Whether no false alarm was seen, so that the false-positive rate behind it is the bound by the rule of three and the
    /// precision a lower bound.
    pub is_bound: bool,
}

const MEASURES: usize = 17;

impl Figures {
    /// The figures of units in falling order of score; none where one of the classes is missing.
    pub(super) fn of(units: &[Unit], samples: usize, seed: u64) -> Option<Self> {
        let malicious = units.iter().filter(|unit| unit.malicious()).count();
        let negatives = units.len() - malicious;
        if malicious == 0 || negatives == 0 {
            return None;
        }
        let negative = || units.iter().filter(|unit| !unit.malicious());
        let negative_pairs = negative().map(|unit| unit.pair).collect::<BTreeSet<_>>().len();
        let false_alarms = negative().filter(|unit| unit.alarm).count();
        let bootstrap = Bootstrap::new(units.iter().map(|unit| unit.capture), samples, seed);
        // Flows of one pair are no evidence of their own: the bound counts pairs. Whether it stands for the rate is a matter of
        // what was seen, not of what a sample happens to draw.
        let bound = (false_alarms == 0).then(|| RULE_OF_THREE / negative_pairs as f64);
        let all: [Figure; MEASURES] = bootstrap.figures(|times| measure(units, times, bound));
        let [roc_auc, average_precision, r2, r3, r4, tpr, fpr, p2, p3, p4, p5, f1, precision, recall, wf1, wp, brier] =
            all;
        let [calibration_error] = bootstrap.figures(|times| [calibration_error(units, times)]);
        let needed = |rate: f64| (LEAST_ALARMS / rate).round() as usize;
        Some(Self {
            malicious,
            negatives,
            negative_pairs,
            captures: bootstrap.captures(),
            roc_auc,
            average_precision,
            recall: FALSE_POSITIVE_RATES
                .into_iter()
                .zip([r2, r3, r4])
                .map(|(rate, figure)| RecallAt {
                    false_positive_rate: rate,
                    recall: (negative_pairs >= needed(rate)).then_some(figure),
                    negative_pairs_needed: needed(rate),
                })
                .collect(),
            alarms: Alarms { recall: tpr, false_positive_rate: fpr, false_alarms },
            precision_at_base_rate: BASE_RATES
                .into_iter()
                .zip([p2, p3, p4, p5])
                .map(|(base_rate, precision)| PrecisionAt { base_rate, precision, is_bound: false_alarms == 0 })
                .collect(),
            malicious_f1: f1,
            malicious_precision: precision,
            malicious_recall: recall,
            weighted_f1: wf1,
            weighted_precision: wp,
            weighted_f1_of_all_benign: all_benign(units),
            brier,
            calibration_error,
        })
    }

    /// Recall at a false-positive rate, where it was measurable.
    pub fn recall_at(&self, rate: f64) -> Option<Figure> {
        self.recall.iter().find(|at| at.false_positive_rate == rate)?.recall
    }
}

/// Everything that one pass over the sorted units gives; a bound of the false-positive rate stands for it where there is one.
fn measure(units: &[Unit], times: Option<&[f64]>, bound: Option<f64>) -> [f64; MEASURES] {
    let weight = |unit: &Unit| unit.weight * times.map_or(1.0, |times| times[unit.capture]);
    let (mut positive, mut negative) = (0.0, 0.0);
    // Malicious and others, of those that raise an alarm and of those that are called at the best F1.
    let (mut alarm, mut called, mut brier) = ([0.0; 2], [0.0; 2], 0.0);
    for unit in units {
        let (weight, at) = (weight(unit), usize::from(!unit.malicious()));
        *(if at == 0 { &mut positive } else { &mut negative }) += weight;
        alarm[at] += if unit.alarm { weight } else { 0.0 };
        called[at] += if unit.called { weight } else { 0.0 };
        brier += weight * (unit.score - if at == 0 { 1.0 } else { 0.0 }).powi(2);
    }
    let (mut hits, mut alarms, mut area, mut precision) = (0.0, 0.0, 0.0, 0.0);
    let mut recall = [0.0; FALSE_POSITIVE_RATES.len()];
    for tied in units.chunk_by(|a, b| a.raw == b.raw) {
        let (mut more_hits, mut more_alarms) = (0.0, 0.0);
        tied.iter()
            .for_each(|unit| *(if unit.malicious() { &mut more_hits } else { &mut more_alarms }) += weight(unit));
        // A malicious unit stands above all others that come later, and above half of those that tie.
        area += more_hits * (negative - alarms - more_alarms / 2.0);
        hits += more_hits;
        alarms += more_alarms;
        if hits > 0.0 {
            precision += more_hits * hits / (hits + alarms);
        }
        for (recall, rate) in recall.iter_mut().zip(FALSE_POSITIVE_RATES) {
            if alarms <= rate * negative {
                *recall = hits / positive;
            }
        }
    }
    let recall_or = |value: f64| if positive > 0.0 && negative > 0.0 { value } else { f64::NAN };
    let (tpr, fpr) = (alarm[0] / positive, alarm[1] / negative);
    let bounded = bound.unwrap_or(fpr);
    let at_base = |rate: f64| rate * tpr / (rate * tpr + (1.0 - rate) * bounded);
    let f1 = |hit: f64, size: f64, called: f64| if size + called > 0.0 { 2.0 * hit / (size + called) } else { 0.0 };
    let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
    let (total, right) = (positive + negative, negative - called[1]);
    let all_called = called[0] + called[1];
    let malicious = (f1(called[0], positive, all_called), share(called[0], all_called));
    let benign = (f1(right, negative, total - all_called), share(right, total - all_called));
    let by_size = |malicious: f64, benign: f64| (positive * malicious + negative * benign) / total;
    [
        area / (positive * negative),
        recall_or(precision / positive),
        recall_or(recall[0]),
        recall_or(recall[1]),
        recall_or(recall[2]),
        tpr,
        fpr,
        at_base(BASE_RATES[0]),
        at_base(BASE_RATES[1]),
        at_base(BASE_RATES[2]),
        at_base(BASE_RATES[3]),
        recall_or(malicious.0),
        recall_or(malicious.1),
        called[0] / positive,
        by_size(malicious.0, benign.0),
        by_size(malicious.1, benign.1),
        brier / total,
    ]
}

/// Which bin of the calibration error a score falls into.
pub(super) fn calibration_bin(score: f64) -> usize {
    ((score * CALIBRATION_BINS as f64) as usize).min(CALIBRATION_BINS - 1)
}

fn calibration_error(units: &[Unit], times: Option<&[f64]>) -> f64 {
    let mut bins = [(0.0, 0.0, 0.0); CALIBRATION_BINS];
    for unit in units {
        let weight = unit.weight * times.map_or(1.0, |times| times[unit.capture]);
        let (total, score, malicious) = &mut bins[calibration_bin(unit.score)];
        *total += weight;
        *score += weight * unit.score;
        *malicious += if unit.malicious() { weight } else { 0.0 };
    }
    bins.iter().map(|(_, score, malicious)| (score - malicious).abs()).sum::<f64>()
        / bins.iter().map(|(total, _, _)| total).sum::<f64>()
}

/// The weighted F1 where everything is called benign.
fn all_benign(units: &[Unit]) -> f64 {
    let total: f64 = units.iter().map(|unit| unit.weight).sum();
    let negative: f64 = units.iter().filter(|unit| !unit.malicious()).map(|unit| unit.weight).sum();
    negative / total * (2.0 * negative / (negative + total))
}

/// Average precision and area under the ROC curve of scores with their truths, in any order; ties are taken together.
pub(super) fn ranking(scored: &[(f64, bool)]) -> (f64, f64) {
    let mut sorted = scored.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positive = sorted.iter().filter(|one| one.1).count() as f64;
    let negative = sorted.len() as f64 - positive;
    let (mut hits, mut alarms, mut area, mut precision) = (0.0, 0.0, 0.0, 0.0);
    for tied in sorted.chunk_by(|a, b| a.0 == b.0) {
        let more_hits = tied.iter().filter(|one| one.1).count() as f64;
        let more_alarms = tied.len() as f64 - more_hits;
        area += more_hits * (negative - alarms - more_alarms / 2.0);
        hits += more_hits;
        alarms += more_alarms;
        precision += more_hits * hits / (hits + alarms);
    }
    (precision / positive, area / (positive * negative))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::Truth;

    /// Units in falling order, each of its own capture and pair; alarms are the first so many, calls as well.
    fn units(list: &[(f64, bool)], alarms: usize, called: usize) -> Vec<Unit> {
        let unit = |(at, &(score, malicious)): (usize, &(f64, bool))| Unit {
            capture: at,
            pair: at,
            truth: if malicious { Truth::Malicious } else { Truth::Benign },
            raw: score,
            score,
            weight: 1.0,
            fold: 0,
            row: at,
            alarm: at < alarms,
            called: at < called,
        };
        list.iter().enumerate().map(unit).collect()
    }

    fn near(got: Figure, want: f64) {
        assert!((got.value - want).abs() < 1e-12, "{got:?}, not {want}");
    }

    #[test]
    fn figures_by_hand() {
        let list = [(0.9, true), (0.8, false), (0.7, true), (0.1, false), (0.1, false)];
        let figures = Figures::of(&units(&list, 1, 3), 50, 1).unwrap();
        assert_eq!((figures.malicious, figures.negatives, figures.captures), (2, 3, 5));
        // Of six pairs of a malicious and a benign one, five are in order.
        near(figures.roc_auc, 5.0 / 6.0);
        near(figures.average_precision, (1.0 + 2.0 / 3.0) / 2.0);
        // Three called, two of them right: precision 2/3, recall 1, F1 .8. Benign: precision 1, recall 2/3, F1 .8.
        near(figures.malicious_precision, 2.0 / 3.0);
        near(figures.malicious_recall, 1.0);
        near(figures.malicious_f1, 0.8);
        near(figures.weighted_f1, 0.8);
        near(figures.weighted_precision, (2.0 * 2.0 / 3.0 + 3.0) / 5.0);
        // All benign: precision 3/5, recall 1, F1 .75, of three in five.
        assert!((figures.weighted_f1_of_all_benign - 0.6 * 0.75).abs() < 1e-12);
        near(figures.brier, (0.01 + 0.64 + 0.09 + 0.01 + 0.01) / 5.0);
        // Bins: .1 twice with none malicious; .7, .8 and .9 with 1, 0 and 1.
        near(figures.calibration_error, (0.2 + 0.3 + 0.8 + 0.1) / 5.0);
        // One alarm, and it is right: no false alarm among three, so that the rate is taken as 3/3.
        near(figures.alarms.recall, 0.5);
        near(figures.alarms.false_positive_rate, 0.0);
        assert!(figures.precision_at_base_rate[0].is_bound);
        near(figures.precision_at_base_rate[0].precision, 0.01 * 0.5 / (0.01 * 0.5 + 0.99 * 1.0));
    }

    #[test]
    fn precision_at_a_base_rate_by_hand() {
        let mut list: Vec<(f64, bool)> = vec![(0.9, true), (0.8, false)];
        list.extend((0..99).map(|_| (0.1, false)));
        let figures = Figures::of(&units(&list, 2, 2), 20, 1).unwrap();
        // Recall 1 and one false alarm in a hundred.
        near(figures.precision_at_base_rate[0].precision, 0.01 / (0.01 + 0.99 * 0.01));
        near(figures.precision_at_base_rate[3].precision, 1e-5 / (1e-5 + (1.0 - 1e-5) * 0.01));
        assert!(!figures.precision_at_base_rate[0].is_bound);
        // Samples without that alarm have a rate of zero, and no bound in its place.
        assert_eq!(figures.precision_at_base_rate[3].precision.high, 1.0);
    }

    #[test]
    fn recall_is_told_only_where_negatives_suffice() {
        let mut list: Vec<(f64, bool)> = vec![(0.95, true), (0.9, false), (0.85, true)];
        list.extend((0..1998).map(|at| (0.8 - f64::from(at) / 1e4, false)));
        let enough = Figures::of(&units(&list, 1, 1), 20, 1).unwrap();
        assert_eq!(enough.recall_at(1e-3), None, "1,999 are too few");
        assert_eq!(enough.recall[1].negative_pairs_needed, 2000);
        list.push((0.0, false));
        let enough = Figures::of(&units(&list, 1, 1), 20, 1).unwrap();
        // Two alarms are allowed, so that the second hit counts.
        assert_eq!(enough.recall_at(1e-3).unwrap().value, 1.0);
        assert_eq!(enough.recall_at(1e-4), None);
    }

    #[test]
    fn weights_and_ties() {
        let mut tied = units(&[(0.5, true), (0.5, false), (0.5, false)], 0, 0);
        tied[0].weight = 2.0;
        let figures = Figures::of(&tied, 20, 1).unwrap();
        near(figures.roc_auc, 0.5);
        near(figures.average_precision, 0.5);
        // Nothing is called: no division by nothing.
        near(figures.malicious_f1, 0.0);
        assert_eq!(ranking(&[(0.5, true), (0.5, false), (0.4, false)]), (0.5, 0.75));
    }

    #[test]
    fn one_class_alone_has_no_figures() {
        assert!(Figures::of(&units(&[(0.5, true)], 0, 0), 20, 1).is_none());
        assert!(Figures::of(&units(&[(0.5, false)], 0, 0), 20, 1).is_none());
    }
}
