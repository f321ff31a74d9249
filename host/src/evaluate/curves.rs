//! What pictures are drawn from.

use super::figures::{CALIBRATION_BINS, calibration_bin};
use super::units::Unit;
use serde::Serialize;

/// Bins of the score histograms.
pub(super) const SCORE_BINS: usize = 20;

/// Curves of the headline: by pair, against both negatives.
#[derive(Debug, Clone, Serialize)]
pub struct Curves {
    /// `(false-positive rate, recall)` at every step, upwards.
    pub roc: Vec<(f64, f64)>,
    /// `(recall, precision)` at every step, upwards in recall.
    pub precision_recall: Vec<(f64, f64)>,
    /// Of each bin of scores: mean score, share of malicious pairs, pairs. Empty bins are left out.
    pub reliability: Vec<(f64, f64, usize)>,
    /// Malicious and other pairs in each of twenty bins of scores.
    pub scores: Vec<(usize, usize)>,
}

impl Curves {
    /// The curves of units in falling order of score.
    pub(super) fn of(units: &[Unit]) -> Self {
        let positive = units.iter().filter(|unit| unit.malicious()).count() as f64;
        let negative = units.len() as f64 - positive;
        let (mut hits, mut alarms) = (0.0, 0.0);
        let (mut roc, mut precision_recall) = (vec![(0.0, 0.0)], Vec::new());
        for tied in units.chunk_by(|a, b| a.raw == b.raw) {
            let more = tied.iter().filter(|unit| unit.malicious()).count() as f64;
            hits += more;
            alarms += tied.len() as f64 - more;
            roc.push((alarms / negative, hits / positive));
            if more > 0.0 {
                precision_recall.push((hits / positive, hits / (hits + alarms)));
            }
        }
        let mut bins = vec![(0.0, 0usize, 0usize); CALIBRATION_BINS];
        let mut scores = vec![(0, 0); SCORE_BINS];
        for unit in units {
            let bin = &mut bins[calibration_bin(unit.score)];
            bin.0 += unit.score;
            bin.1 += usize::from(unit.malicious());
            bin.2 += 1;
            let bin = &mut scores[((unit.score * SCORE_BINS as f64) as usize).min(SCORE_BINS - 1)];
            *(if unit.malicious() { &mut bin.0 } else { &mut bin.1 }) += 1;
        }
        let filled = bins.into_iter().filter(|(_, _, all)| *all > 0);
        let reliability = filled.map(|(sum, hits, all)| (sum / all as f64, hits as f64 / all as f64, all)).collect();
        Self { roc, precision_recall, reliability, scores }
    }
}
