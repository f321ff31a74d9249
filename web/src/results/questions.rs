//! Which flows of a result are most worth a person's word.
//!
//! The worker chooses them while flows go by, and stores the lines that `veilwatch detect --queue` writes. Results of before
//! there was a queue have none.

use std::net::IpAddr;

use serde::Deserialize;

use super::facts::short;

/// Flows that are stored.
pub(super) const QUESTIONS: usize = 20;
/// What a flow must be worth to be shown: of the others the model is certain.
const LEAST_WORTH: f64 = 0.05;

/// A flow that is worth a person's word.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Question {
    /// The flow's number.
    pub flow_id: u64,
    /// Who opened it.
    pub src_ip: IpAddr,
    /// Who answered.
    pub dest_ip: IpAddr,
    /// Their port.
    pub dest_port: u16,
    /// The service's name, where it has one: the capture's text.
    pub name: Option<String>,
    /// Its score.
    pub score: f64,
    /// What it is worth, from 0 to 1.
    pub worth: f64,
    /// The threshold that it is nearest to.
    pub nearest: NearestThreshold,
    /// How unlike what the model knows, from 0 to 1, where that is known.
    pub novelty: Option<f64>,
    /// Whether the model's training held nothing like it; results of before this was told do not say so.
    #[serde(default)]
    pub novel: bool,
    /// What others that stand before it left of its worth, from 0 to 1.
    pub diversity: f64,
    /// Flows of its conversation.
    pub alike: u64,
}

/// Which threshold a flow is nearest to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NearestThreshold {
    /// The lower one.
    Suspicious,
    /// The upper one.
    Malicious,
}

/// Reads stored lines: those that are worth showing, the first one first.
pub(super) fn read(lines: &str) -> Result<Vec<Question>, serde_json::Error> {
    let mut questions = Vec::new();
    for line in lines.lines().take(QUESTIONS) {
        let mut question: Question = serde_json::from_str(line)?;
        question.name = question.name.map(|name| short(&name));
        if question.worth >= LEAST_WORTH {
            questions.push(question);
        }
    }
    Ok(questions)
}
