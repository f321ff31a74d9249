//! Which flows are most worth a person's word, for people and programs.

use super::FORMAT;
use super::jsonl::rounded;
use super::table::fit;
use super::text::{bounded, timestamp};
use crate::engine::{Detection, Pipeline, Sink};
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;
use std::net::SocketAddr;
use veilwatch_core::detect::queue::{Nearest, Question, QuestionQueue};
use veilwatch_core::flow::Endpoint;

/// Width of a table where there is no terminal.
const WIDTH: u16 = 120;

/// Gathers the flows of a run that are worth a person's word.
#[derive(Debug)]
pub struct QueueSink {
    /// None without a model: nothing is certain or uncertain then.
    queue: Option<QuestionQueue>,
}

impl QueueSink {
    /// One for the flows of this pipeline.
    pub fn new(pipeline: &Pipeline) -> Self {
        let context = &pipeline.config().context;
        let queue = pipeline
            .card()
            .map(|card| QuestionQueue::new(card.thresholds, context.questions as usize, context.by_name));
        Self { queue }
    }

    /// Takes in a flow.
    pub fn add(&mut self, detection: &Detection<'_>) {
        if let (Some(queue), Some(scored)) = (&mut self.queue, detection.scored)
            && let Some(score) = scored.score
        {
            let novelty = (scored.novelty, detection.pipeline.is_novel(scored.novelty));
            queue.observe(detection.flow, score, novelty, scored.row);
        }
    }

    /// Conversations that were forgotten, because there were too many.
    pub fn forgotten(&self) -> u64 {
        self.queue.as_ref().map_or(0, QuestionQueue::forgotten)
    }

    /// The flows that are most worth a word, the first one first.
    pub fn choose(self, count: usize) -> Vec<Question> {
        self.queue.map(|queue| queue.choose(count)).unwrap_or_default()
    }
}

impl Sink for QueueSink {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        self.add(detection);
        Ok(())
    }
}

#[derive(Serialize)]
struct QuestionLine<'a> {
    format: u32,
    event_type: &'static str,
    rank: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<&'a str>,
    timestamp: String,
    flow_id: u64,
    src_ip: String,
    src_port: u16,
    dest_ip: String,
    dest_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    score: f64,
    worth: f64,
    uncertainty: f64,
    nearest: &'static str,
    novelty: Option<f64>,
    novel: bool,
    diversity: f64,
    alike: u64,
    packet: u64,
    reasons: Vec<String>,
}

/// What a threshold begins.
fn name_of(nearest: Nearest) -> &'static str {
    match nearest {
        Nearest::Suspicious => "suspicious",
        Nearest::Malicious => "malicious",
    }
}

/// Why a flow is worth a word.
fn reasons(question: &Question) -> Vec<String> {
    let Question { score, nearest, uncertainty, novelty, novel, diversity, alike, .. } = question;
    let near = if *uncertainty >= 0.5 { "close to" } else { "nearest to" };
    let mut reasons = vec![format!("its score {score:.3} is {near} where {} begins", name_of(*nearest))];
    if let Some(novelty) = novelty.filter(|_| *novel) {
        reasons.push(format!("it is unlike what the model has learnt from ({novelty:.3})"));
    }
    if *alike > 1 {
        reasons.push(format!("a word on it speaks of {alike} flows of its conversation"));
    }
    if *diversity < 1.0 {
        reasons.push("others like it stand before it".to_owned());
    }
    reasons
}

/// One object a line, the most useful flow first; `capture` names the capture on each, and names have at most `text_bytes`.
pub fn question_lines(questions: &[Question], capture: Option<&str>, text_bytes: u32) -> serde_json::Result<String> {
    let mut out = String::new();
    for (rank, it) in (1..).zip(questions) {
        let line = QuestionLine {
            format: FORMAT,
            event_type: "question",
            rank,
            capture,
            timestamp: timestamp(it.first_ns),
            flow_id: it.flow_id,
            src_ip: it.originator.ip().to_string(),
            src_port: it.originator.port,
            dest_ip: it.responder.ip().to_string(),
            dest_port: it.responder.port,
            name: (!it.name.is_empty()).then(|| bounded(&it.name, text_bytes as usize)),
            score: rounded(it.score),
            worth: rounded(it.worth),
            uncertainty: rounded(it.uncertainty),
            nearest: name_of(it.nearest),
            novelty: it.novelty.map(rounded),
            novel: it.novel,
            diversity: rounded(it.diversity),
            alike: it.alike,
            packet: it.first_packet,
            reasons: reasons(it),
        };
        out += &serde_json::to_string(&line)?;
        out.push('\n');
    }
    Ok(out)
}

/// The same as a table.
pub fn question_table(questions: &[Question], terminal: bool, text_bytes: u32) -> String {
    if questions.is_empty() {
        return "no flow has a score: there is nothing to ask about\n".to_owned();
    }
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    fit(&mut table, terminal, WIDTH);
    table.set_header(["", "worth", "flow", "why"]);
    let end = |end: Endpoint| SocketAddr::new(end.ip(), end.port).to_string();
    for (rank, it) in (1..).zip(questions) {
        let name = if it.name.is_empty() { String::new() } else { bounded(&it.name, text_bytes as usize) };
        let flow = format!(
            "{}\n{} → {}\n{name}\npacket {}, flow {}",
            timestamp(it.first_ns),
            end(it.originator),
            end(it.responder),
            it.first_packet,
            it.flow_id
        );
        let why: Vec<String> = reasons(it).iter().map(|reason| format!("• {reason}")).collect();
        table.add_row([rank.to_string(), format!("{:.3}", it.worth), flow.replace("\n\n", "\n"), why.join("\n")]);
    }
    format!("{table}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_model_calls_novel_is_told_and_nothing_else() {
        let end = Endpoint { address: [1; 16], port: 443 };
        let question = |novel| Question {
            flow_id: 1,
            first_ns: 0,
            first_packet: 1,
            originator: end,
            responder: end,
            name: Box::default(),
            score: 0.5,
            nearest: Nearest::Malicious,
            uncertainty: 1.0,
            novelty: Some(0.95),
            novel,
            diversity: 1.0,
            worth: 1.0,
            alike: 1,
        };
        let line = |novel| question_lines(&[question(novel)], None, 100).unwrap();
        assert!(line(true).contains("unlike what the model") && line(true).contains("\"novel\":true"));
        assert!(!line(false).contains("unlike what the model") && line(false).contains("\"novel\":false"));
    }
}
