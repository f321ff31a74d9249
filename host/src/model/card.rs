use crate::config::ScoredFlows;
use crate::learn::Recipe;
use serde::{Deserialize, Serialize};
use veilwatch_core::detect::{Calibration, Thresholds, is_unruly};

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
    /// Which score so many of these pairs reached or are expected to, rarer ones last: what another budget takes. Cards of before this was
    /// told have none.
    #[serde(default)]
    pub alarm_rates: Vec<AlarmRate>,
    /// What it was trained on.
    pub training: Training,
    /// How it did on folds it had not seen.
    pub report: Report,
    /// What each column looks like in benign training flows, so that reasons can say what is normal.
    pub columns: Vec<ColumnProfile>,
}

impl Card {
    /// Benign pairs that a budget counts false alerts in.
    pub(crate) const BUDGET_PAIRS: f64 = 1e5;
    /// The layout that this version reads and writes.
    pub const FORMAT: u32 = 1;
    /// Bytes of a name in it, at most.
    const NAME_BYTES: usize = 256;

    /// What makes the card unusable, if anything: nothing else in it decides verdicts or stands in
    /// messages.
    pub(super) fn flaw(&self) -> Option<&'static str> {
        let Calibration { slope, offset } = self.calibration;
        let Thresholds { suspicious, malicious } = self.thresholds;
        if self.format != Self::FORMAT {
            Some("it is of another format than this version knows")
        } else if !(slope.is_finite() && slope > 0.0 && offset.is_finite()) {
            Some("its calibration turns scores round or into nothing")
        } else if !(0.0 <= suspicious && suspicious <= malicious && malicious <= 1.0) {
            Some("its thresholds are not in order between 0 and 1")
        } else if !rates_in_order(&self.alarm_rates) {
            Some("its alarm rates are not in order between 0 and 1")
        } else if [&self.name, &self.classifier].iter().any(|name| name.len() > Self::NAME_BYTES) {
            Some("a name in it is longer than 256 bytes")
        } else if [&self.name, &self.classifier].iter().any(|name| name.chars().any(is_unruly)) {
            Some("a name in it has characters that steer a terminal")
        } else if !self.novelty_limit.is_none_or(|limit| limit > 0.0 && limit <= 1.0) {
            Some("the limit of its novelty is not between 0 and 1")
        } else {
            None
        }
    }

    /// Whether a flow of this novelty is like nothing that the model was trained on.
    pub(crate) fn is_novel(&self, novelty: Option<f64>) -> bool {
        novelty.zip(self.novelty_limit).is_some_and(|(novelty, limit)| novelty >= limit)
    }

    /// The thresholds for so many false alerts per 100,000 benign (capture, server) pairs, and ten times as many for the
    /// lower one. Between the rates that the card tells, the score's log-odds go evenly with the rate's logarithm.
    ///
    /// # Errors
    /// What the card can answer, where it cannot answer this.
    pub fn thresholds_for(&self, budget: f64) -> Result<Thresholds, String> {
        let (Some(most), Some(least)) = (self.alarm_rates.first(), self.alarm_rates.last()) else {
            return Err("this model's card does not say how scores and false alerts go together; train it again".into());
        };
        let told = least.rate..=most.rate;
        let rate = budget / Self::BUDGET_PAIRS;
        if !told.contains(&rate) {
            return Err(format!(
                "a budget of {budget} false alerts in 100,000: this model can answer for {} to {}",
                rounded(least.rate * Self::BUDGET_PAIRS),
                rounded(most.rate * Self::BUDGET_PAIRS)
            ));
        }
        let malicious = self.score_at(rate);
        let suspicious = self.score_at((rate * SUSPICIOUS_FACTOR).min(most.rate)).min(malicious);
        Ok(Thresholds { suspicious, malicious })
    }

    /// The score of a rate between those that are told.
    fn score_at(&self, rate: f64) -> f64 {
        let after = self.alarm_rates.iter().position(|at| at.rate <= rate).unwrap_or(self.alarm_rates.len());
        let (Some(before), Some(after)) = (self.alarm_rates.get(after.saturating_sub(1)), self.alarm_rates.get(after))
        else {
            return self.alarm_rates.last().map_or(1.0, |at| at.score);
        };
        // Equal where it is told, to the last bit.
        if after.rate == rate || before.score == after.score {
            return after.score;
        }
        let odds = |score: f64| (score / (1.0 - score)).ln();
        let way = (rate / before.rate).ln() / (after.rate / before.rate).ln();
        let between = odds(before.score) + way * (odds(after.score) - odds(before.score));
        let score = 1.0 / (1.0 + (-between).exp());
        if score.is_finite() { score.clamp(before.score, after.score) } else { after.score }
    }
}

/// How many times more pairs may be suspicious than malicious.
const SUSPICIOUS_FACTOR: f64 = 10.0;

/// Whether rates fall and scores do not, all within 0 and 1.
fn rates_in_order(rates: &[AlarmRate]) -> bool {
    rates.iter().all(|at| at.rate > 0.0 && at.rate <= 1.0 && (0.0..=1.0).contains(&at.score))
        && rates.is_sorted_by(|before, after| before.rate > after.rate && before.score <= after.score)
}

/// A number with at most three digits behind the point.
fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// The score that a share of benign (capture, server) pairs reached, on folds that the scoring model had not seen; of shares
/// too small for any pair to have reached it, the score that the tail of the others lets expect.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmRate {
    /// The share.
    pub rate: f64,
    /// The score.
    pub score: f64,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;

    fn card(rates: &[(f64, f64)]) -> Card {
        let alarm_rates = rates.iter().map(|(rate, score)| AlarmRate { rate: *rate, score: *score }).collect();
        Card { alarm_rates, ..Model::builtin().unwrap().card }
    }

    #[test]
    fn a_budget_finds_its_threshold() {
        let card = card(&[(1e-1, 0.1), (1e-2, 0.4), (1e-3, 0.9), (1e-4, 0.9)]);
        assert_eq!(card.thresholds_for(100.0), Ok(Thresholds { suspicious: 0.4, malicious: 0.9 }));
        assert_eq!(card.thresholds_for(10_000.0), Ok(Thresholds { suspicious: 0.1, malicious: 0.1 }));
        let between = card.thresholds_for(1000.0 / 10f64.sqrt()).unwrap();
        // Half way between log-odds of -0.405 and 2.197.
        assert!((between.malicious - 0.7101).abs() < 1e-4, "{between:?}");
        let mut last = 0.0;
        for step in 0..=300 {
            let budget = 10f64.powf(4.0 - f64::from(step) / 100.0).clamp(10.0, 1e4);
            let Thresholds { suspicious, malicious } = card.thresholds_for(budget).unwrap();
            assert!(suspicious <= malicious && last <= malicious, "{budget}");
            last = malicious;
        }
        for budget in [1.0, 20_000.0] {
            let error = card.thresholds_for(budget).unwrap_err();
            assert!(error.ends_with("can answer for 10 to 10000"), "{error}");
        }
    }

    /// Without a budget, and with the one that a card names, verdicts are the same.
    #[test]
    fn cards_in_the_box_answer_for_their_own_budget() {
        for name in Model::names_in_the_box() {
            let card = Model::open(name).unwrap().card;
            assert_eq!(card.thresholds_for(card.false_alert_budget), Ok(card.thresholds), "{name}");
            let scores: Vec<f64> = card.alarm_rates.iter().map(|at| at.score).collect();
            assert!(scores.len() > 5 && scores.windows(2).all(|two| two[0] < two[1]), "{name}: {scores:?}");
        }
    }

    #[test]
    fn scores_of_one_have_thresholds_too() {
        let card = card(&[(1e-2, 0.5), (1e-3, 1.0), (1e-4, 1.0)]);
        assert_eq!(card.thresholds_for(10.0).unwrap().malicious, 1.0);
        assert!(card.thresholds_for(300.0).unwrap().malicious >= 0.5);
    }

    #[test]
    fn rates_stand_in_order() {
        assert_eq!(card(&[(1e-2, 0.4), (1e-3, 0.9)]).flaw(), None);
        for bad in [
            [(1e-3, 0.4), (1e-2, 0.9)],
            [(1e-2, 0.9), (1e-3, 0.4)],
            [(1e-2, 0.9), (1e-3, f64::NAN)],
            [(0.0, 0.1), (0.0, 0.1)],
        ] {
            assert!(card(&bad).flaw().is_some(), "{bad:?}");
        }
        assert!(card(&[]).thresholds_for(100.0).is_err());
    }
}
