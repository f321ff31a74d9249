//! The published Python baseline: points to hold an interval against.
//!
//! Only its figures are known, not its scores, so that no difference can be paired: what is told is whether its point lies
//! within our interval. That is weaker than a paired test, in both directions.

use super::protocols::ProtocolReport;
use super::units::{Level, Negatives};
use crate::learn::Protocol;
use crate::model::Figure;
use serde::Serialize;

/// Our interval against the baseline's point.
#[derive(Debug, Clone, Serialize)]
pub struct Against {
    /// Which figure.
    pub figure: &'static str,
    /// Ours.
    pub ours: Figure,
    /// The baseline's.
    pub baseline: f64,
    /// What that says.
    pub words: &'static str,
}

/// Leave-one-family-out (by the families' names) average precision and recall at 1e-3, and leave-one-source-out average precision against benign
/// captures, of gradient-boosted trees on 617 features; by the mean score of a pair's flows.
const FAMILY_PRECISION: f64 = 0.941;
const FAMILY_RECALL: f64 = 0.78;
const SOURCE_PRECISION: f64 = 0.89;

/// What can be compared.
pub(super) fn compare(protocols: &[ProtocolReport]) -> Vec<Against> {
    let find = |protocol, level, negatives| {
        protocols.iter().find(|report| report.protocol == protocol)?.figures(level, negatives)
    };
    let mut all = Vec::new();
    let mut add = |figure, ours: Option<Figure>, baseline: f64| {
        let Some(ours) = ours else { return };
        let words = if ours.low > baseline {
            "our interval lies above its point"
        } else if ours.high < baseline {
            "our interval lies below its point"
        } else {
            "its point lies within our interval"
        };
        all.push(Against { figure, ours, baseline, words });
    };
    let family = |level| find(Protocol::FamilyName, level, Negatives::Both);
    let source = |level| find(Protocol::Source, level, Negatives::Benign);
    add(
        "family names left out, average precision (highest score)",
        family(Level::Pair).map(|figures| figures.average_precision),
        FAMILY_PRECISION,
    );
    add(
        "family names left out, average precision (mean score)",
        family(Level::PairMean).map(|figures| figures.average_precision),
        FAMILY_PRECISION,
    );
    add(
        "family names left out, recall at FPR 1e-3 (highest score)",
        family(Level::Pair).and_then(|figures| figures.recall_at(1e-3)),
        FAMILY_RECALL,
    );
    add(
        "family names left out, recall at FPR 1e-3 (mean score)",
        family(Level::PairMean).and_then(|figures| figures.recall_at(1e-3)),
        FAMILY_RECALL,
    );
    add(
        "sources left out, average precision against benign captures (highest score)",
        source(Level::Pair).map(|figures| figures.average_precision),
        SOURCE_PRECISION,
    );
    add(
        "sources left out, average precision against benign captures (mean score)",
        source(Level::PairMean).map(|figures| figures.average_precision),
        SOURCE_PRECISION,
    );
    all
}
