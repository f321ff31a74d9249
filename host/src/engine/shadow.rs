//! A challenger: a second model that scores the same rows beside the first, and decides nothing.
//!
//! Its scores change no verdict, no reason and no exit status. What they come to stands in the summary: how often both agree,
//! where they differ most, and whether they put flows in the same order. Where it fails, its score is missing, and that is
//! counted; the run goes on. All of it is taken in the order of flows, so that it does not depend on threads.

use super::judgement::Judgement;
use crate::model::Card;
use crate::model::memory::Memory;
use crate::plugins::{Meter, brief};
use std::cmp::Ordering;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use veilwatch_core::detect::Verdict;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::{Classifier, PluginError};

/// Differences that are told.
const TOLD: usize = 10;
/// Pairs of scores from which the rank correlation is taken; of more flows a sample that goes by their ids.
const RANKED: usize = 16_384;

/// The challenger of a pipeline.
pub(super) struct Challenger {
    /// Its card, with the thresholds that the configuration asks for of either model.
    pub(super) card: Card,
    pub(super) memory: Option<Arc<Memory>>,
    /// Whether a verdict is `unknown` where its training held nothing like the flow.
    pub(super) abstains: bool,
    pub(super) plugin: Box<dyn Classifier>,
    pub(super) meter: Arc<Meter>,
}

/// What the challenger says of one flow.
#[derive(Debug, Clone, PartialEq)]
pub struct ShadowScore {
    /// Its calibrated score; none where it has none or failed.
    pub score: Option<f64>,
    /// Its verdict by its own thresholds; unknown where there is no score.
    pub verdict: Verdict,
    /// Why there is no score, where it failed.
    pub failure: Option<String>,
}

impl Challenger {
    /// Scores rows; one on which it fails has none, and costs the others nothing.
    pub(super) fn score(&self, rows: &[f32], width: usize) -> Vec<ShadowScore> {
        let count = rows.len().checked_div(width).unwrap_or(0);
        let mut raw = vec![f64::NAN; count];
        let together = self.plugin.predict(&Rows::new(rows, width), &mut raw);
        if together.is_ok() && !raw.iter().any(|raw| raw.is_infinite()) {
            return raw.into_iter().zip(rows.chunks_exact(width)).map(|(raw, row)| self.judge(raw, row)).collect();
        }
        let alone = |row: &[f32]| {
            let mut one = [f64::NAN];
            match self.plugin.predict(&Rows::new(row, width), &mut one) {
                Err(error) => failed(&error),
                Ok(()) if one[0].is_infinite() => failed(&super::health::infinite("score")),
                Ok(()) => self.judge(one[0], row),
            }
        };
        rows.chunks_exact(width.max(1)).map(alone).collect()
    }

    fn judge(&self, raw: f64, row: &[f32]) -> ShadowScore {
        let Judgement { score, verdict, .. } =
            Judgement::of(&self.card, self.memory.as_deref(), self.abstains, raw, row);
        ShadowScore { score, verdict, failure: None }
    }
}

fn failed(error: &PluginError) -> ShadowScore {
    ShadowScore { score: None, verdict: Verdict::Unknown, failure: Some(brief(&error.message)) }
}

/// A flow's two scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShadowDifference {
    /// The flow.
    pub flow_id: u64,
    /// Score and verdict of the model that decides.
    pub champion: (f64, Verdict),
    /// Those of the challenger.
    pub challenger: (f64, Verdict),
}

impl ShadowDifference {
    fn size(&self) -> f64 {
        (self.champion.0 - self.challenger.0).abs()
    }

    /// The largest first; which of equals, no thread decides.
    fn order(&self, other: &Self) -> Ordering {
        let key = |it: &Self| (it.flow_id, it.champion.0.to_bits(), it.challenger.0.to_bits());
        other.size().total_cmp(&self.size()).then_with(|| key(self).cmp(&key(other)))
    }
}

/// What a challenger came to in a run, over final records.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ShadowSummary {
    /// Name of the challenger.
    pub model: String,
    /// Its classifier.
    pub classifier: String,
    /// Flows that both scored. All that follows but `champion_only`, `challenger_only` and `failed` is of these.
    pub both: u64,
    /// Flows that the champion alone scored.
    pub champion_only: u64,
    /// Flows that the challenger alone scored.
    pub challenger_only: u64,
    /// Flows on which the challenger failed, and what it said the first time.
    pub failed: u64,
    /// What it said the first time.
    pub reason: Option<String>,
    /// Flows of which both have the same verdict.
    pub same_verdict: u64,
    /// Alerts of the champion.
    pub champion_alerts: u64,
    /// Alerts of the challenger.
    pub challenger_alerts: u64,
    /// Flows that both alert on.
    pub both_alert: u64,
    /// The largest differences, largest first.
    pub largest: Vec<ShadowDifference>,
    /// Spearman's rank correlation of the scores; none where there are fewer than two flows, or all scores of one are the same.
    pub rank_correlation: Option<f64>,
    /// Flows that it was taken from.
    pub ranked: u64,
}

/// What a challenger comes to, while a run goes on.
#[derive(Debug)]
pub(super) struct Tally {
    summary: ShadowSummary,
    /// Scores of both, behind a number that their flow gives by chance: those with the lowest numbers are kept.
    sample: Vec<(u64, u64, u64)>,
}

impl Tally {
    pub(super) fn new(challenger: &Challenger) -> Self {
        let Card { name, classifier, .. } = &challenger.card;
        let summary = ShadowSummary { model: name.clone(), classifier: classifier.clone(), ..ShadowSummary::default() };
        Self { summary, sample: Vec::new() }
    }

    /// Takes one flow's scores in.
    pub(super) fn add(&mut self, flow_id: u64, champion: (Option<f64>, Option<Verdict>), shadow: &ShadowScore) {
        let all = &mut self.summary;
        if let Some(reason) = &shadow.failure {
            all.failed += 1;
            all.reason.get_or_insert_with(|| reason.clone());
        }
        let ((Some(score), Some(verdict)), Some(other)) = (champion, shadow.score) else {
            all.champion_only += u64::from(champion.0.is_some());
            all.challenger_only += u64::from(shadow.score.is_some());
            return;
        };
        all.both += 1;
        all.same_verdict += u64::from(verdict == shadow.verdict);
        let alerts = (verdict.is_alert(), shadow.verdict.is_alert());
        all.champion_alerts += u64::from(alerts.0);
        all.challenger_alerts += u64::from(alerts.1);
        all.both_alert += u64::from(alerts == (true, true));
        let difference = ShadowDifference { flow_id, champion: (score, verdict), challenger: (other, shadow.verdict) };
        if difference.size() > 0.0 {
            let at = all.largest.partition_point(|known| known.order(&difference).is_lt());
            if at < TOLD {
                all.largest.insert(at, difference);
                all.largest.truncate(TOLD);
            }
        }
        let mut chance = foldhash::fast::FixedState::with_seed(0).build_hasher();
        chance.write_u64(flow_id);
        // Scores are not negative, so that their bits are in the order of the numbers.
        self.sample.push((chance.finish(), score.to_bits(), other.to_bits()));
        if self.sample.len() >= 2 * RANKED {
            self.keep_lowest();
        }
    }

    fn keep_lowest(&mut self) {
        if self.sample.len() > RANKED {
            self.sample.select_nth_unstable(RANKED);
            self.sample.truncate(RANKED);
        }
    }

    pub(super) fn finish(mut self) -> ShadowSummary {
        self.keep_lowest();
        // The order of equals in a sum of floating-point numbers is that of the sample.
        self.sample.sort_unstable();
        let of = |pick: fn(&(u64, u64, u64)) -> u64| ranks(&self.sample.iter().map(pick).collect::<Vec<_>>());
        let (one, other) = (of(|pair| pair.1), of(|pair| pair.2));
        ShadowSummary { rank_correlation: correlation(&one, &other), ranked: one.len() as u64, ..self.summary }
    }
}

/// The ranks of numbers; equal ones share the mean of theirs.
fn ranks(numbers: &[u64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by_key(|at| numbers.get(*at));
    let mut ranks = vec![0.0; numbers.len()];
    let mut before = 0;
    for equals in order.chunk_by(|one, other| numbers.get(*one) == numbers.get(*other)) {
        let rank = before as f64 + (equals.len() as f64 - 1.0) / 2.0;
        for at in equals {
            if let Some(place) = ranks.get_mut(*at) {
                *place = rank;
            }
        }
        before += equals.len();
    }
    ranks
}

/// Pearson's correlation.
fn correlation(one: &[f64], other: &[f64]) -> Option<f64> {
    let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len() as f64;
    let (middle, center) = (mean(one), mean(other));
    let (mut both, mut first, mut second) = (0.0, 0.0, 0.0);
    for (x, y) in one.iter().zip(other) {
        let (x, y) = (x - middle, y - center);
        both += x * y;
        first += x * x;
        second += y * y;
    }
    (first > 0.0 && second > 0.0).then(|| (both / (first * second).sqrt()).clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tally() -> Tally {
        Tally { summary: ShadowSummary::default(), sample: Vec::new() }
    }

    fn shadow(score: f64, verdict: Verdict) -> ShadowScore {
        ShadowScore { score: Some(score), verdict, failure: None }
    }

    #[test]
    fn agreement_is_counted() {
        use Verdict::{Benign, Malicious, Suspicious, Unknown};
        let mut tally = tally();
        tally.add(1, (Some(0.9), Some(Malicious)), &shadow(0.9, Malicious));
        tally.add(2, (Some(0.9), Some(Malicious)), &shadow(0.1, Benign));
        tally.add(3, (Some(0.1), Some(Benign)), &shadow(0.5, Suspicious));
        tally.add(4, (Some(0.1), Some(Benign)), &failed(&PluginError::data("no\nnumber")));
        tally.add(5, (None, Some(Unknown)), &shadow(0.5, Suspicious));
        let all = tally.finish();
        assert_eq!((all.both, all.champion_only, all.challenger_only, all.failed), (3, 1, 1, 1));
        assert_eq!((all.same_verdict, all.champion_alerts, all.challenger_alerts, all.both_alert), (1, 2, 2, 1));
        assert_eq!(all.reason.as_deref(), Some("no number"));
        assert_eq!(all.largest.iter().map(|one| one.flow_id).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(all.ranked, 3);
    }

    #[test]
    fn ranks_of_equals_are_their_mean() {
        assert_eq!(ranks(&[7, 3, 7, 1]), [2.5, 1.0, 2.5, 0.0]);
        assert_eq!(correlation(&ranks(&[1, 2, 3]), &ranks(&[10, 20, 30])), Some(1.0));
        assert_eq!(correlation(&ranks(&[1, 2, 3]), &ranks(&[3, 2, 1])), Some(-1.0));
        assert_eq!(correlation(&ranks(&[1, 1]), &ranks(&[1, 2])), None);
        assert_eq!(correlation(&[], &[]), None);
    }

    fn summary<'f>(flows: impl Iterator<Item = &'f (u64, f64, f64)>) -> ShadowSummary {
        let mut tally = tally();
        for (id, one, other) in flows {
            tally.add(*id, (Some(*one), Some(Verdict::Benign)), &shadow(*other, Verdict::Benign));
        }
        tally.finish()
    }

    #[test]
    fn of_many_flows_a_sample_is_ranked_whatever_their_order() {
        let flow = |at: u64| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15), (at % 97) as f64 / 97.0, (at % 89) as f64 / 89.0);
        let flows: Vec<_> = (0..3 * RANKED as u64).map(flow).collect();
        let (forward, backward) = (summary(flows.iter()), summary(flows.iter().rev()));
        assert_eq!(forward, backward);
        assert_eq!((forward.both, forward.ranked), (flows.len() as u64, RANKED as u64));
        assert!(forward.rank_correlation.unwrap().abs() < 0.05, "{forward:?}");
    }

    proptest! {
        #[test]
        fn the_order_of_flows_changes_nothing(
            scores in proptest::collection::vec((0u64..50, 0u8..20, 0u8..20), 1..60),
        ) {
            let flow = |(id, one, other): &(u64, u8, u8)| (*id, f64::from(*one) / 20.0, f64::from(*other) / 20.0);
            let flows: Vec<_> = scores.iter().map(flow).collect();
            let (forward, backward) = (summary(flows.iter()), summary(flows.iter().rev()));
            prop_assert_eq!(&forward, &backward);
            prop_assert!(forward.largest.is_sorted_by(|one, other| one.order(other).is_le()));
            prop_assert_eq!(forward.ranked, flows.len() as u64);
            prop_assert!(forward.rank_correlation.is_none_or(|value| (-1.0..=1.0).contains(&value)));
        }
    }
}
