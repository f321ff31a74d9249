use crate::config::ScoredFlows;
use crate::learn::Recipe;
use serde::{Deserialize, Serialize};
use veilwatch_core::detect::{Calibration, Thresholds};

/// What a model says of itself: everything that is needed to judge it, to use it, and to make it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Version of this layout.
    pub format: u32,
    /// Name of the model.
    pub name: String,
    /// Version of Veilwatch that trained it.
    pub made_by: String,
    /// `kind/name` of the classifier.
    pub classifier: String,
    /// The classifier's settings, as TOML.
    pub settings: String,
    /// SHA-256 of the weights, in hexadecimal.
    pub weights_sha256: String,
    /// SHA-256 of what it remembers of its training, in hexadecimal; none for a model that remembers nothing, as those of
    /// before there was a memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_sha256: Option<String>,
    /// From which novelty on a flow is like nothing in training, so that this model has no business calling it benign; none
    /// where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub novelty_limit: Option<f64>,
    /// Hash of the schema it was trained on; no other is accepted.
    pub schema_sha256: String,
    /// Which flows it was trained on; it judges no others. Cards of before this was a choice say nothing, and mean TLS.
    #[serde(default)]
    pub scored: ScoredFlows,
    /// How a raw number becomes a score.
    pub calibration: Calibration,
    /// From which score on a flow is suspicious, and malicious.
    pub thresholds: Thresholds,
    /// False alerts per 100,000 benign (capture, server) pairs that the upper threshold was chosen for, on folds that
    /// the scoring model had not seen.
    pub false_alert_budget: f64,
    /// What it was trained on.
    pub training: Training,
    /// How it did on folds it had not seen.
    pub report: Report,
    /// What each column looks like in benign training flows, so that reasons can say what is normal.
    pub columns: Vec<ColumnProfile>,
}

impl Card {
    /// The layout that this version reads and writes.
    pub const FORMAT: u32 = 1;

    /// What makes the card unusable, if anything: nothing else in it decides verdicts.
    pub(super) fn flaw(&self) -> Option<&'static str> {
        let Calibration { slope, offset } = self.calibration;
        let Thresholds { suspicious, malicious } = self.thresholds;
        if self.format != Self::FORMAT {
            Some("it is of another format than this version knows")
        } else if !(slope.is_finite() && slope > 0.0 && offset.is_finite()) {
            Some("its calibration turns scores round or into nothing")
        } else if !(0.0 <= suspicious && suspicious <= malicious && malicious <= 1.0) {
            Some("its thresholds are not in order between 0 and 1")
        } else if !self.novelty_limit.is_none_or(|limit| limit > 0.0 && limit <= 1.0) {
            Some("the limit of its novelty is not between 0 and 1")
        } else {
            None
        }
    }
}

/// What a model was trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// SHA-256 over the names and contents of all captures and label files, in hexadecimal.
    pub data_sha256: String,
    /// Seed of whatever was random.
    pub seed: u64,
    /// Captures that gave at least one row.
    pub captures: usize,
    /// Benign rows from benign captures.
    pub benign_flows: usize,
    /// Benign rows from infected machines.
    pub background_flows: usize,
    /// Malicious rows.
    pub malicious_flows: usize,
    /// Malicious (capture, server) pairs.
    pub malicious_pairs: usize,
    /// Rows left out because their label is weak or unknown.
    pub unlabelled_flows: usize,
    /// Most weight that the flows of one (capture, server) pair have together.
    pub pair_weight: f64,
    /// How rows were weighed and chosen beside that. Cards of before there was a choice say nothing, and mean the default.
    #[serde(default)]
    pub recipe: Recipe,
    /// How the folds were made.
    pub split: String,
}

impl Training {
    /// The whole recipe.
    pub fn recipe(&self) -> Recipe {
        Recipe { pair_weight: self.pair_weight, ..self.recipe.clone() }
    }
}

/// A figure with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The figure itself.
    pub value: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// How a model did on folds it had not seen, by (capture, server) pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Malicious pairs.
    pub malicious_pairs: usize,
    /// Benign pairs of benign captures.
    pub benign_pairs: usize,
    /// Benign pairs of infected machines.
    pub background_pairs: usize,
    /// Average precision against both kinds of benign pairs.
    pub average_precision: Figure,
    /// Average precision against benign captures alone; none where there are none.
    #[serde(default)]
    pub average_precision_benign: Option<Figure>,
    /// Average precision against the infected machines' own benign pairs alone; none where there are none.
    #[serde(default)]
    pub average_precision_background: Option<Figure>,
    /// Recall where one benign pair in a thousand is called malicious.
    pub recall_at_fpr_1e3: Figure,
    /// Recall at the shipped threshold, on folds the scoring model had not seen.
    pub recall_at_threshold: Figure,
    /// Share of benign pairs at or above the shipped threshold.
    pub fpr_at_threshold: Figure,
}

/// What a column looks like in benign training flows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnProfile {
    /// Name in the schema.
    pub name: String,
    /// 5 % quantile; null where benign flows never have it.
    pub p5: Option<f32>,
    /// Median.
    pub p50: Option<f32>,
    /// 95 % quantile.
    pub p95: Option<f32>,
}
