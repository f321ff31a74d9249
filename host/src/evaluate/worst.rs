//! The errors that are worth a person's time: what to open in the packet browser, and why the classifier thought so.

use super::units::{Level, Outcome, Unit, units};
use crate::learn::validate::Fitted;
use crate::learn::{Dataset, Truth};
use serde::Serialize;
use std::collections::BTreeMap;
use veilwatch_core::detect::top_reasons;

/// Errors of each kind that are told.
const TOLD: usize = 12;
/// Reasons of each.
const REASONS: usize = 4;

/// The worst errors.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Worst {
    /// Benign pairs that scored highest.
    pub false_alarms: Vec<Mistake>,
    /// Malicious pairs that scored lowest.
    pub missed: Vec<Mistake>,
}

/// One of them.
#[derive(Debug, Clone, Serialize)]
pub struct Mistake {
    /// The capture's path in the training folder.
    pub capture: String,
    /// Number of the first packet of the flow that gave the pair its score.
    pub packet: u64,
    /// Calibrated score, by a model that had not seen it.
    pub score: f64,
    /// What it is: `benign`, `background` or `malicious`.
    pub label: &'static str,
    /// The capture's family; empty for benign captures.
    pub family: String,
    /// Whether it reached the alarm threshold of its fold.
    pub alarm: bool,
    /// The columns that pushed the score the wrong way, strongest first.
    pub reasons: Vec<Push>,
}

/// A column's part in a raw score.
#[derive(Debug, Clone, Serialize)]
pub struct Push {
    /// Column.
    pub column: String,
    /// The flow's value; null where it is missing.
    pub value: Option<f32>,
    /// Its part in the raw score.
    pub contribution: f64,
}

/// Explanations of the rows that may be among the worst, asked for while the model that gave the score is there.
#[derive(Debug, Default)]
pub(super) struct Explained {
    of_row: BTreeMap<usize, Vec<Push>>,
}

impl Explained {
    /// Asks a fold's model about its worst rows: as many as are told in the end, so that these are among them.
    pub(super) fn ask(&mut self, data: &Dataset, columns: &[String], fitted: &Fitted<'_>) {
        // A pair stands for its highest flow, benign or malicious.
        let mut best: BTreeMap<usize, (usize, f64, Truth)> = BTreeMap::new();
        for (row, score) in fitted.tested.iter().zip(fitted.scores) {
            let known = &data.rows[*row];
            if known.truth == Truth::Unlabelled {
                continue;
            }
            let entry = best.entry(known.pair).or_insert((*row, *score, known.truth));
            entry.2 = entry.2.max(known.truth);
            if *score > entry.1 {
                (entry.0, entry.1) = (*row, *score);
            }
        }
        for malicious in [false, true] {
            let mut rows: Vec<(usize, f64)> = best
                .values()
                .filter(|(_, _, truth)| (*truth == Truth::Malicious) == malicious)
                .map(|(row, score, _)| (*row, if malicious { -score } else { *score }))
                .collect();
            rows.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            for (row, _) in rows.into_iter().take(TOLD) {
                let mut parts = vec![0.0; data.width];
                // A classifier that cannot explain itself has no reasons.
                if fitted.classifier.explain(data.row(row), &mut parts).is_err() {
                    continue;
                }
                // What was missed has reasons that pushed down.
                let sign = if malicious { -1.0 } else { 1.0 };
                parts.iter_mut().for_each(|part| *part *= sign);
                let push = |reason: veilwatch_core::detect::Reason| Push {
                    column: columns.get(reason.column).cloned().unwrap_or_default(),
                    value: (!reason.value.is_nan()).then_some(reason.value),
                    contribution: sign * reason.contribution,
                };
                self.of_row.insert(row, top_reasons(data.row(row), &parts, REASONS).into_iter().map(push).collect());
            }
        }
    }
}

impl Worst {
    pub(super) fn of(outcome: &Outcome<'_>, explained: &Explained) -> Self {
        let units = units(outcome, Level::Pair);
        let told = |unit: &Unit| {
            let row = &outcome.data.rows[unit.row];
            let capture = &outcome.data.captures[unit.capture];
            Mistake {
                capture: capture.path.clone(),
                packet: row.packet,
                score: unit.score,
                label: unit.truth.name(),
                family: capture.family.clone(),
                alarm: unit.alarm,
                reasons: explained.of_row.get(&unit.row).cloned().unwrap_or_default(),
            }
        };
        Self {
            false_alarms: units.iter().filter(|unit| !unit.malicious()).take(TOLD).map(told).collect(),
            missed: units.iter().rev().filter(|unit| unit.malicious() && !unit.alarm).take(TOLD).map(told).collect(),
        }
    }
}
