//! What a model makes of a flow: one rule for whoever decides and whoever only looks on.

use crate::model::Card;
use crate::model::memory::Memory;
use veilwatch_core::detect::Verdict;

/// A raw number, judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Judgement {
    /// The calibrated score; none where the raw number is none.
    pub(super) score: Option<f64>,
    /// The verdict.
    pub(super) verdict: Verdict,
    /// How new the flow is to the model, where it has a score and the model remembers its training.
    pub(super) novelty: Option<f64>,
}

impl Judgement {
    /// Judges a row. Where the model `abstains`, what would be benign is unknown if training held nothing like it; an alert
    /// stays one, however new.
    pub(super) fn of(card: &Card, memory: Option<&Memory>, abstains: bool, raw: f64, row: &[f32]) -> Self {
        let score = card.calibration.score(raw);
        let novelty = memory.filter(|_| !score.is_nan()).and_then(|memory| memory.novelty(row));
        let verdict = match card.thresholds.verdict(score) {
            Verdict::Benign if abstains && card.is_novel(novelty) => Verdict::Unknown,
            verdict => verdict,
        };
        Self { score: (!score.is_nan()).then_some(score), verdict, novelty }
    }
}
