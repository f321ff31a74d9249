//! Scores become verdicts, and verdicts get reasons; alerts get the category of what they are for, and all flows of a run
//! come to one conclusion.

pub mod aggregate;
mod category;
#[cfg(test)]
mod category_tests;
mod conversations;
pub mod queue;

pub use aggregate::{Aggregator, Conclusion, ConversationConclusion, HostConclusion};
pub use category::{
    Categorised, Category, CategoryEvidence, CategoryReason, NameKind, Named, Rule, Trust, categorise, is_unruly,
};

use serde::{Deserialize, Serialize};
use std::fmt;

/// The decision on a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The model abstains.
    Unknown,
    /// Below both thresholds.
    Benign,
    /// At or above the lower threshold.
    Suspicious,
    /// At or above the model's threshold.
    Malicious,
}

impl Verdict {
    /// The verdict's name in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Benign => "benign",
            Self::Suspicious => "suspicious",
            Self::Malicious => "malicious",
        }
    }

    /// The verdict of this name; none of another.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Unknown, Self::Benign, Self::Suspicious, Self::Malicious].into_iter().find(|one| one.name() == name)
    }

    /// Whether it is worth a person's time.
    pub fn is_alert(self) -> bool {
        matches!(self, Self::Malicious | Self::Suspicious)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// From which score on a flow is suspicious, and malicious.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// The lower one.
    pub suspicious: f64,
    /// The model's threshold.
    pub malicious: f64,
}

impl Thresholds {
    /// The verdict on a score.
    pub fn verdict(&self, score: f64) -> Verdict {
        if score.is_nan() {
            Verdict::Unknown
        } else if score >= self.malicious {
            Verdict::Malicious
        } else if score >= self.suspicious {
            Verdict::Suspicious
        } else {
            Verdict::Benign
        }
    }
}

/// Turns a classifier's raw number into a score in [0, 1] (Platt 1999): `1 / (1 + exp(−(slope · raw + offset)))`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Factor on the raw number.
    pub slope: f64,
    /// Added after it.
    pub offset: f64,
}

impl Calibration {
    /// The score of a raw number; NaN stays NaN.
    pub fn score(&self, raw: f64) -> f64 {
        1.0 / (1.0 + (-(self.slope * raw + self.offset)).exp())
    }

    /// Fits slope and offset to labelled raw numbers by Newton's method on the weighted log loss, with Platt's softened
    /// targets. Rows are `(raw, malicious, weight)`.
    pub fn fit(rows: &[(f64, bool, f64)]) -> Self {
        let total = |label: bool| rows.iter().filter(|r| r.1 == label).map(|r| r.2).sum::<f64>();
        let (positive, negative) = (total(true), total(false));
        let target = [1.0 / (negative + 2.0), (positive + 1.0) / (positive + 2.0)];
        let mut fitted = Self { slope: 1.0, offset: ((positive + 1.0) / (negative + 1.0)).ln() };
        for _ in 0..100 {
            // Gradient and Hessian; the ridge keeps the step finite when the classes are far apart.
            let (mut g, mut h) = ([0.0; 2], [1e-9, 0.0, 1e-9]);
            for &(raw, label, weight) in rows {
                let p = fitted.score(raw);
                let error = weight * (p - target[usize::from(label)]);
                let curve = weight * p * (1.0 - p);
                g[0] += error * raw;
                g[1] += error;
                h[0] += curve * raw * raw;
                h[1] += curve * raw;
                h[2] += curve;
            }
            let det = h[0] * h[2] - h[1] * h[1];
            if det.abs() < 1e-18 {
                break;
            }
            let step = [(h[2] * g[0] - h[1] * g[1]) / det, (h[0] * g[1] - h[1] * g[0]) / det];
            // A long step overshoots where the curve is flat.
            let scale = (4.0 / step[0].abs().max(step[1].abs()).max(4.0)).min(1.0);
            fitted.slope -= scale * step[0];
            fitted.offset -= scale * step[1];
            if step[0].abs() + step[1].abs() < 1e-10 {
                break;
            }
        }
        // A classifier whose numbers fall with malice is broken; the order of its scores is never turned round.
        fitted.slope = fitted.slope.max(1e-6);
        fitted
    }
}

/// Why a flow scored as it did: one feature's part.
#[derive(Debug, Clone, PartialEq)]
pub struct Reason {
    /// Column of the schema.
    pub column: usize,
    /// The flow's value; NaN where it is missing.
    pub value: f32,
    /// The column's part in the raw score.
    pub contribution: f64,
}

/// Picks the columns that pushed a raw score up most: at most `limit`, largest first.
pub fn top_reasons(row: &[f32], contributions: &[f64], limit: usize) -> Vec<Reason> {
    let mut order: Vec<usize> = (0..row.len().min(contributions.len())).filter(|at| contributions[*at] > 0.0).collect();
    order.sort_by(|a, b| contributions[*b].total_cmp(&contributions[*a]).then(a.cmp(b)));
    order.truncate(limit);
    order.into_iter().map(|column| Reason { column, value: row[column], contribution: contributions[column] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_inclusive_and_nan_abstains() {
        let thresholds = Thresholds { suspicious: 0.5, malicious: 0.9 };
        assert_eq!(thresholds.verdict(0.9), Verdict::Malicious);
        assert_eq!(thresholds.verdict(0.5), Verdict::Suspicious);
        assert_eq!(thresholds.verdict(0.49), Verdict::Benign);
        assert_eq!(thresholds.verdict(f64::NAN), Verdict::Unknown);
    }

    #[test]
    fn calibration_finds_the_rate() {
        // At each raw number the share of malicious rows is known; the score must come close to it.
        let mut rows = Vec::new();
        for at in -20..=20 {
            let raw = f64::from(at) / 5.0;
            let share = 1.0 / (1.0 + (-(1.5 * raw - 0.7)).exp());
            rows.push((raw, true, 1000.0 * share));
            rows.push((raw, false, 1000.0 * (1.0 - share)));
        }
        let fitted = Calibration::fit(&rows);
        assert!((fitted.slope - 1.5).abs() < 0.02, "{fitted:?}");
        assert!((fitted.offset + 0.7).abs() < 0.02, "{fitted:?}");
    }

    #[test]
    fn reasons_are_the_largest_pushes_upward() {
        let reasons = top_reasons(&[1.0, 2.0, 3.0, 4.0], &[0.1, -5.0, 0.7, 0.7], 2);
        assert_eq!(reasons.iter().map(|r| r.column).collect::<Vec<_>>(), [2, 3]);
    }
}
