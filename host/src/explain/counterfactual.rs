//! What a score would be if some things were as usual.

use super::{TopicReason, Topics};
use crate::model::Card;
use veilwatch_core::detect::Verdict;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::PluginError;

/// Topics that are tried, the weightiest first.
const TRIED: usize = 6;
/// Topics that are taken away together, at most: without more it is another flow.
const MOST: usize = 3;

/// What a score would be if all columns of some topics were as they are in the median benign training flow.
///
/// Topics are taken away one by one, each time the one without which the score is lowest, until the flow would be no alert.
/// So they are few, though not always the fewest. A flow that could not be does not stop it: it is the model that is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Counterfactual {
    /// The topics, by their places in [`Topics`], in the order in which they are taken away.
    pub without: Vec<usize>,
    /// The score without them.
    pub score: f64,
    /// The verdict on it.
    pub verdict: Verdict,
}

/// Looks for it: `reasons` are all that pushed the score up, the weightiest first; `predict` scores rows.
///
/// It asks for at most 15 scores, in at most three calls.
///
/// # Errors
/// Those of `predict`.
pub(crate) fn without(
    row: &[f32],
    raw: f64,
    reasons: &[TopicReason],
    topics: &Topics,
    card: &Card,
    mut predict: impl FnMut(&Rows<'_>, &mut [f64]) -> Result<(), PluginError>,
) -> Result<Option<Counterfactual>, PluginError> {
    let verdict = |raw: f64| card.thresholds.verdict(card.calibration.score(raw));
    let mut left: Vec<usize> = reasons.iter().take(TRIED).map(|reason| reason.topic).collect();
    let (mut row, mut raw) = (row.to_vec(), raw);
    let mut without = Vec::new();
    while without.len() < MOST && !left.is_empty() && (without.is_empty() || verdict(raw).is_alert()) {
        let mut rows = Vec::with_capacity(left.len() * row.len());
        for topic in &left {
            let usual = |(column, (value, profile)): (usize, (&f32, &crate::model::ColumnProfile))| {
                if topics.of_column(column) == *topic { profile.p50.unwrap_or(f32::NAN) } else { *value }
            };
            rows.extend(row.iter().zip(&card.columns).enumerate().map(usual));
        }
        let mut scores = vec![f64::NAN; left.len()];
        predict(&Rows::new(&rows, row.len()), &mut scores)?;
        let lower = scores.into_iter().enumerate().filter(|(_, score)| *score < raw);
        let Some((at, lowest)) = lower.min_by(|(_, one), (_, other)| one.total_cmp(other)) else { break };
        let Some(taken) = rows.chunks_exact(row.len()).nth(at) else { break };
        row = taken.to_vec();
        raw = lowest;
        without.push(left.remove(at));
    }
    let score = card.calibration.score(raw);
    Ok((!without.is_empty()).then(|| Counterfactual { without, score, verdict: verdict(raw) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;
    use veilwatch_core::detect::{Calibration, Reason, Thresholds};

    /// The raw score is the sum of four columns, each of a topic of its own; a missing one counts for nothing.
    fn asked(row: [f32; 4], usual: [Option<f32>; 4]) -> (Option<Counterfactual>, usize) {
        let mut card = Model::builtin().unwrap().card;
        card.calibration = Calibration { slope: 1.0, offset: 0.0 };
        card.thresholds = Thresholds { suspicious: 0.5, malicious: 0.9 };
        card.columns.truncate(4);
        card.columns.iter_mut().zip(usual).for_each(|(profile, usual)| profile.p50 = usual);
        let topics = Topics::of_places(&[0, 1, 2, 3]);
        let sum = |row: &[f32]| row.iter().filter(|value| !value.is_nan()).map(|value| f64::from(*value)).sum::<f64>();
        let reasons: Vec<TopicReason> = (0..4)
            .map(|at| {
                let lead = Reason { column: at, value: row[at], contribution: 1.0 };
                TopicReason { topic: at, contribution: 1.0, lead, also: None }
            })
            .collect();
        let mut calls = 0;
        let found = without(&row, sum(&row), &reasons, &topics, &card, |rows, scores| {
            calls += 1;
            rows.iter().zip(scores).for_each(|(row, score)| *score = sum(row));
            Ok(())
        });
        (found.unwrap(), calls)
    }

    #[test]
    fn what_lowers_most_is_taken_away_first_until_there_is_no_alert() {
        let (found, calls) = asked([1.0, 3.0, 2.0, 1.0], [Some(0.0), Some(-1.0), None, Some(0.5)]);
        let found = found.unwrap();
        // 7 less 4 is 3; less 2 is 1; less 1 is 0, which still is suspicious.
        assert_eq!((found.without, found.verdict, calls), (vec![1, 2, 0], Verdict::Suspicious, 3));
        assert_eq!(found.score, 0.5);
        let (found, calls) = asked([1.0, 3.0, 2.0, 1.0], [Some(0.0), Some(-9.0), None, Some(0.5)]);
        let found = found.unwrap();
        assert_eq!((found.without, found.verdict, calls), (vec![1], Verdict::Benign, 1));
        assert!(found.score < 0.01);
    }

    #[test]
    fn where_nothing_lowers_the_score_nothing_is_said() {
        let (found, calls) = asked([1.0; 4], [Some(1.0), Some(2.0), Some(1.0), Some(1.5)]);
        assert_eq!((found, calls), (None, 1));
    }
}
