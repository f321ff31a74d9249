//! Why a verdict is what it is: what pushed a score up, by topic, and what it would be without that.
//!
//! A classifier says what each column did. Many columns say one thing in many ways, so reasons are told by *topic*
//! ([`Topics`]): what all of a topic's columns did together decides its place, and the one that did most speaks for it. Beside
//! that stands what the score would be if the weightiest topics were as usual ([`Counterfactual`]).

mod counterfactual;
mod topics;

pub use counterfactual::Counterfactual;
pub(crate) use counterfactual::without;
pub use topics::{Topic, Topics};

use crate::model::memory::Neighbour;
use veilwatch_core::detect::Reason;
use veilwatch_core::feature::FeatureSchema;
use veilwatch_core::flow::FlowRecord;

/// Part of the leading column's contribution from which on a second column of a topic is worth a word.
const WORTH_A_WORD: f64 = 0.25;

/// Why a flow is an alert.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Explanation {
    /// What pushed its score up, the weightiest topic first.
    pub reasons: Vec<TopicReason>,
    /// What it would be without that; none where nothing would lower its score.
    pub counterfactual: Option<Counterfactual>,
    /// What it is nearest to in training, nearest first; nothing where the model remembers nothing.
    pub nearest: Vec<Neighbour>,
}

impl Explanation {
    /// Numbers of the packets that its reasons were computed from, in the order of the reasons; a packet may come again.
    pub fn packets<'a>(&'a self, flow: &'a FlowRecord, schema: &'a FeatureSchema) -> impl Iterator<Item = u64> + 'a {
        let columns = self.reasons.iter().flat_map(|reason| [Some(&reason.lead), reason.also.as_ref()]).flatten();
        let known = columns.filter_map(|reason| schema.columns().get(reason.column));
        known.map(|column| flow.packet_of(column.evidence.mark()))
    }
}

/// One topic's part in a score.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicReason {
    /// The topic, by its place in [`Topics`].
    pub topic: usize,
    /// The part of all its columns in the raw score.
    pub contribution: f64,
    /// The column that pushed most.
    pub lead: Reason,
    /// The next one, where it has pushed as well.
    pub also: Option<Reason>,
}

/// The topics that pushed a raw score up, the weightiest first: each has a column that did.
///
/// A topic of which other columns pushed the score down by more than that is told only where there is no other.
pub(crate) fn by_topic(row: &[f32], contributions: &[f64], topics: &Topics) -> Vec<TopicReason> {
    let mut of: Vec<Option<TopicReason>> = vec![None; topics.len()];
    let mut sums = vec![0.0; topics.len()];
    for (column, (value, contribution)) in row.iter().zip(contributions).enumerate() {
        let topic = topics.of_column(column);
        let (Some(sum), Some(place)) = (sums.get_mut(topic), of.get_mut(topic)) else { continue };
        if !contribution.is_finite() {
            continue;
        }
        *sum += contribution;
        if *contribution <= 0.0 {
            continue;
        }
        let this = Reason { column, value: *value, contribution: *contribution };
        match place {
            None => *place = Some(TopicReason { topic, contribution: 0.0, lead: this, also: None }),
            Some(reason) if this.contribution > reason.lead.contribution => {
                reason.also = Some(std::mem::replace(&mut reason.lead, this));
            }
            Some(reason) if reason.also.as_ref().is_none_or(|also| this.contribution > also.contribution) => {
                reason.also = Some(this);
            }
            Some(_) => {}
        }
    }
    let mut reasons: Vec<TopicReason> = of
        .into_iter()
        .flatten()
        .map(|reason| {
            let least = reason.lead.contribution * WORTH_A_WORD;
            let also = reason.also.filter(|also| also.contribution >= least);
            TopicReason { contribution: sums[reason.topic], also, ..reason }
        })
        .collect();
    reasons.sort_by(|a, b| b.contribution.total_cmp(&a.contribution).then(a.topic.cmp(&b.topic)));
    if reasons.first().is_some_and(|first| first.contribution > 0.0) {
        reasons.retain(|reason| reason.contribution > 0.0);
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(contributions: &[f64]) -> Vec<(usize, f64, usize, Option<usize>)> {
        let topics = Topics::of_places(&[0, 0, 0, 1, 1, 2]);
        let row: Vec<f32> = (0..6).map(|at| at as f32).collect();
        let reasons = by_topic(&row, contributions, &topics).into_iter();
        reasons.map(|why| (why.topic, why.contribution, why.lead.column, why.also.map(|also| also.column))).collect()
    }

    #[test]
    fn columns_of_a_topic_are_one_reason() {
        // Three columns of one topic outweigh the largest column of another.
        assert_eq!(told(&[0.5, 1.0, 0.25, 1.5, -1.0, 0.0]), [(0, 1.75, 1, Some(0)), (1, 0.5, 3, None)]);
        // What is taken back within a topic is no reason, unless there is none else.
        assert_eq!(told(&[0.5, -1.0, 0.0, 0.25, 0.0, f64::NAN]), [(1, 0.25, 3, None)]);
        assert_eq!(told(&[0.5, -1.0, 0.0, 0.0, 0.0, f64::INFINITY]), [(0, -0.5, 0, None)]);
        // A column that did next to nothing gets no word beside the one that did it all.
        assert_eq!(told(&[0.0, 0.0, 0.0, 1.0, 0.125, 2.0]), [(2, 2.0, 5, None), (1, 1.125, 3, None)]);
        assert!(told(&[-1.0; 6]).is_empty());
    }
}
