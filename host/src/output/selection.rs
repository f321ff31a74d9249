use crate::engine::Detection;
use veilwatch_core::detect::Verdict;

/// Which flows are written.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Selection {
    /// All flows, benign and unscored ones too.
    pub all: bool,
    /// Flows with at least this score, whatever their verdict.
    pub min_score: Option<f64>,
}

impl Selection {
    /// Whether a flow is written.
    pub fn takes(&self, detection: &Detection<'_>) -> bool {
        if self.all {
            return true;
        }
        let Some(scored) = detection.scored else { return false };
        match self.min_score {
            Some(least) => scored.score.is_some_and(|score| score >= least),
            None => scored.verdict.is_some_and(Verdict::is_alert),
        }
    }
}
