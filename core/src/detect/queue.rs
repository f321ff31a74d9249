//! Which flows are worth a person's word: those of which the model is least certain, that are unlike what it knows, and that
//! are not all the same.
//!
//! A flow is worth *uncertainty × novelty × diversity*. Uncertainty is 1 on a threshold, where a word changes most, and halves
//! with every log-odds of score away from it. Novelty is what the model's memory says, where it has
//! one. Diversity is greedy: once a flow is chosen, others of its conversation, of its server, and with nearly its row of
//! features are worth a part of what they were, since one word says most of what there is to say of them.

use super::Thresholds;
use super::aggregate::Scale;
use super::conversations::Conversations;
use crate::flow::{Endpoint, FlowRecord};

/// What another flow of a chosen one's conversation is worth still.
const SAME_CONVERSATION: f64 = 0.1;
/// What another flow to a chosen one's server is worth still.
const SAME_SERVER: f64 = 0.4;
/// What another flow with nearly the row of a chosen one is worth still.
const SAME_ROW: f64 = 0.3;
/// Share of columns that two rows have in common from which on they are nearly the same.
const NEARLY: f64 = 0.95;
/// What a flow is worth that is as near to what the model knows as can be, as a share of what a wholly new one is.
const KNOWN: f64 = 0.25;
/// In how many log-odds uncertainty halves.
const HALF: f64 = 1.0;
/// Flows of one conversation that are remembered.
const OF_CONVERSATION: usize = 2;

/// Which threshold a flow is nearest to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nearest {
    /// The lower one: benign or suspicious.
    Suspicious,
    /// The upper one: suspicious or malicious.
    Malicious,
}

/// A flow that is worth a person's word.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The flow's number.
    pub flow_id: u64,
    /// Time of its first packet, in nanoseconds since 1970.
    pub first_ns: u64,
    /// Number of its first packet.
    pub first_packet: u64,
    /// Who opened it.
    pub originator: Endpoint,
    /// Who answered.
    pub responder: Endpoint,
    /// The service's name, where the conversation is with one; else empty.
    pub name: Box<[u8]>,
    /// Its score.
    pub score: f64,
    /// The threshold that it is nearest to.
    pub nearest: Nearest,
    /// How near, from 0 to 1.
    pub uncertainty: f64,
    /// How unlike what the model knows, from 0 to 1, where that is known.
    pub novelty: Option<f64>,
    /// Whether that is so unlike that the model's training held nothing like it.
    pub novel: bool,
    /// What is left of its worth beside those that were chosen before, from 0 to 1.
    pub diversity: f64,
    /// All of it together.
    pub worth: f64,
    /// Scored flows of its conversation: a word on one says most of all.
    pub alike: u64,
}

/// A flow that may be asked about.
#[derive(Debug, Clone)]
struct Candidate {
    question: Question,
    row: Box<[f32]>,
}

/// A conversation's best candidates.
#[derive(Debug, Clone, Default)]
struct Known {
    flows: u64,
    best: Vec<Candidate>,
}

impl Known {
    fn worth(&self) -> f64 {
        self.best.first().map_or(0.0, |candidate| candidate.question.worth)
    }
}

/// Gathers candidates while flows go by, bounded: where a conversation finds no room, the half of them that is worth least is
/// forgotten.
#[derive(Debug)]
pub struct QuestionQueue {
    scale: Scale,
    known: Conversations<Known>,
}

impl QuestionQueue {
    /// One for scores of a model with these thresholds, that remembers so many conversations (two at the least); whether a
    /// service is a name, where there is one, says `by_name`.
    pub fn new(thresholds: Thresholds, limit: usize, by_name: bool) -> Self {
        Self { scale: Scale::new(thresholds), known: Conversations::new(limit, by_name) }
    }

    /// Takes in a final flow with its score and its row; what the model's memory says of it, where it has one, and whether
    /// that is beyond the model's limit.
    pub fn observe(&mut self, flow: &FlowRecord, score: f64, (novelty, novel): (Option<f64>, bool), row: &[f32]) {
        if score.is_nan() {
            return;
        }
        let (nearest, uncertainty) = self.uncertainty(score);
        let novelty = novelty.filter(|novelty| !novelty.is_nan()).map(|novelty| novelty.clamp(0.0, 1.0));
        let worth = uncertainty * novelty.map_or(1.0, |novelty| KNOWN + (1.0 - KNOWN) * novelty);
        let key = self.known.key(flow);
        let name = key.name.clone();
        let known = self.known.of(key, Known::worth);
        known.flows += 1;
        // The earlier of two that are worth the same.
        let at = known.best.partition_point(|candidate| candidate.question.worth >= worth);
        if at >= OF_CONVERSATION {
            return;
        }
        let question = Question {
            flow_id: flow.id,
            first_ns: flow.first_ns,
            first_packet: flow.first_packet,
            originator: flow.originator,
            responder: flow.responder,
            name,
            score,
            nearest,
            uncertainty,
            novelty,
            novel,
            diversity: 1.0,
            worth,
            alike: 0,
        };
        known.best.insert(at, Candidate { question, row: row.into() });
        known.best.truncate(OF_CONVERSATION);
    }

    fn uncertainty(&self, score: f64) -> (Nearest, f64) {
        let place = self.scale.place(score);
        let [lower, upper] = [place.abs(), (place - 1.0).abs()];
        let nearest = if upper <= lower { Nearest::Malicious } else { Nearest::Suspicious };
        let halves = lower.min(upper) * self.scale.width() / HALF;
        (nearest, (-halves).exp2())
    }

    /// Conversations that were forgotten because the limit was reached.
    pub fn forgotten(&self) -> u64 {
        self.known.forgotten()
    }

    /// The `count` flows that are most worth a word, the first one first.
    pub fn choose(self, count: usize) -> Vec<Question> {
        let mut candidates: Vec<(usize, Candidate)> = Vec::new();
        for (conversation, known) in self.known.into_known().into_values().enumerate() {
            let alike = known.flows;
            candidates.extend(known.best.into_iter().map(|mut candidate| {
                candidate.question.alike = alike;
                (conversation, candidate)
            }));
        }
        let mut chosen = Vec::new();
        while chosen.len() < count {
            let best = candidates.iter().enumerate().max_by(|(_, (_, a)), (_, (_, b))| {
                // Of those that are worth the same, the one that began first.
                let order = |candidate: &Candidate| (candidate.question.first_packet, candidate.question.flow_id);
                a.question.worth.total_cmp(&b.question.worth).then(order(b).cmp(&order(a)))
            });
            let Some((at, _)) = best else { break };
            let (conversation, pick) = candidates.swap_remove(at);
            for (other, candidate) in &mut candidates {
                let server = |question: &Question| question.responder;
                let mut left = 1.0;
                if *other == conversation {
                    left *= SAME_CONVERSATION;
                } else if server(&candidate.question) == server(&pick.question) {
                    left *= SAME_SERVER;
                }
                if nearly_same(&candidate.row, &pick.row) {
                    left *= SAME_ROW;
                }
                candidate.question.diversity *= left;
                candidate.question.worth *= left;
            }
            chosen.push(pick.question);
        }
        chosen
    }
}

/// Whether two rows have nearly all columns in common.
fn nearly_same(a: &[f32], b: &[f32]) -> bool {
    let same = a.iter().zip(b).filter(|(a, b)| a == b || (a.is_nan() && b.is_nan())).count();
    !a.is_empty() && same as f64 >= NEARLY * a.len().max(b.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{FlowLimits, FlowTable, Templates};
    use crate::packet::Decoded;
    use proptest::prelude::*;

    const THRESHOLDS: Thresholds = Thresholds { suspicious: 0.26, malicious: 0.83 };

    fn flow(host: u8, server: u16, number: u64) -> FlowRecord {
        let [high, low] = server.to_be_bytes();
        let packet = Decoded {
            src: [host; 16],
            dst: [high, low, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9],
            src_port: 40_000,
            dst_port: 443,
            protocol: 17,
            lan: 0,
            ip_len: 128,
            payload_len: 100,
            tcp: None,
            payload: &[],
        };
        let mut table = FlowTable::new(FlowLimits::default(), 0);
        table.push(number, 1_000_000_000, &packet, &Templates::default());
        table.finish_all(0, &Templates::default());
        table.take_finished().remove(0)
    }

    /// (host, server, place, novelty, row), with the flow's number as its first packet.
    type Given = (u8, u16, f64, Option<f64>, [f32; 4]);

    fn chosen(flows: &[Given], limit: usize, count: usize) -> (Vec<Question>, u64) {
        let scale = Scale::new(THRESHOLDS);
        let mut queue = QuestionQueue::new(THRESHOLDS, limit, true);
        for (number, (host, server, place, novelty, row)) in (1..).zip(flows) {
            queue.observe(
                &flow(*host, *server, number),
                scale.score(*place),
                (*novelty, novelty.is_some_and(|it| it > 0.9)),
                row,
            );
        }
        let forgotten = queue.forgotten();
        (queue.choose(count), forgotten)
    }

    fn numbers(flows: &[Given]) -> Vec<u64> {
        chosen(flows, 100, 10).0.iter().map(|question| question.first_packet).collect()
    }

    const ROWS: [[f32; 4]; 3] = [[1.0, 2.0, 3.0, 4.0], [9.0, 8.0, 7.0, 6.0], [0.5, f32::NAN, 0.0, 5.0]];

    #[test]
    fn what_is_least_certain_comes_first() {
        let at = |server, place| (1, server, place, None, [f32::from(server), 1.0, 2.0, 3.0]);
        let flows = [at(1, -4.0), at(2, 0.97), at(3, 0.5), at(4, -0.1), at(5, 3.0)];
        assert_eq!(numbers(&flows), [2, 4, 3, 5, 1]);
        let (questions, _) = chosen(&flows, 100, 2);
        assert_eq!(questions.len(), 2);
        assert_eq!([questions[0].nearest, questions[1].nearest], [Nearest::Malicious, Nearest::Suspicious]);
        assert!(questions[0].uncertainty > 0.9 && questions[0].diversity == 1.0 && questions[0].novelty.is_none());
        assert!(!questions[0].novel);
        // What the model knows well is worth less than what it has never seen.
        let known = [(1, 1, 1.0, Some(0.0), ROWS[0]), (1, 2, 0.7, Some(1.0), ROWS[1])];
        assert_eq!(numbers(&known), [2, 1]);
        // Nothing to ask about a flow without a score.
        let mut queue = QuestionQueue::new(THRESHOLDS, 10, true);
        queue.observe(&flow(1, 1, 1), f64::NAN, (None, false), &ROWS[0]);
        assert!(queue.choose(10).is_empty());
    }

    #[test]
    fn one_of_many_alike_is_enough() {
        // A beacon's hundred flows on the threshold, and others a little off it.
        let mut flows: Vec<Given> = vec![(1, 1, 1.0, None, ROWS[0]); 100];
        flows.push((1, 2, 0.8, None, ROWS[1]));
        // The same server from another host, and the same row elsewhere.
        flows.push((2, 1, 0.8, None, ROWS[2]));
        flows.push((2, 3, 0.8, None, ROWS[0]));
        let (questions, _) = chosen(&flows, 100, 10);
        let order: Vec<u64> = questions.iter().map(|question| question.first_packet).collect();
        assert_eq!(order, [1, 101, 102, 103, 2]);
        assert_eq!((questions[0].alike, questions[1].alike), (100, 1));
        assert!(questions[2].diversity == SAME_SERVER && questions[3].diversity == SAME_ROW, "{questions:?}");
    }

    #[test]
    fn a_flood_of_what_is_certain_takes_no_room() {
        let mut flows: Vec<Given> = vec![(1, 1, 1.0, None, ROWS[0])];
        flows.extend((10..210).map(|server| (1, server, -3.0, None, ROWS[1])));
        let (questions, forgotten) = chosen(&flows, 16, 1);
        assert_eq!(questions[0].first_packet, 1);
        assert!((184..201).contains(&forgotten), "{forgotten}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Worths fall, nothing is asked twice, and a shorter queue is the beginning of a longer one.
        #[test]
        fn queues_are_in_order(
            flows in proptest::collection::vec((0u8..3, 0u16..6, -3.0..3.0f64, proptest::option::of(0.0..1.0f64), 0usize..3), 0..40),
            count in 0usize..12,
        ) {
            let flows: Vec<Given> = flows.iter().map(|(host, server, place, novelty, row)| (*host, *server, *place, *novelty, ROWS[*row])).collect();
            let (questions, _) = chosen(&flows, 100, count);
            prop_assert!(questions.len() <= count);
            prop_assert!(questions.windows(2).all(|two| two[0].worth >= two[1].worth));
            prop_assert!(questions.iter().all(|question| (0.0..=1.0).contains(&question.worth)));
            let mut numbers: Vec<u64> = questions.iter().map(|question| question.first_packet).collect();
            let (longer, _) = chosen(&flows, 100, count + 3);
            prop_assert_eq!(&longer[..questions.len()], &questions[..]);
            numbers.sort_unstable();
            numbers.dedup();
            prop_assert_eq!(numbers.len(), questions.len());
        }
    }
}
