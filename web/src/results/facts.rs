//! What is said of a result as a whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use veilwatch::engine::{Pipeline, Summary};

use super::sentence::Tone;

/// Entries of any list in here that are read.
pub const LIST_ENTRIES: usize = 1000;
/// Characters of any text in here that are kept.
pub const TEXT_CHARS: usize = 1000;

/// What an analysis came to: the last line of JSON Lines, and what it does not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResultSummary {
    /// Packets looked at.
    pub packets: u64,
    /// Their bytes on the wire.
    pub wire_bytes: u64,
    /// Time of the first packet in nanoseconds since 1970.
    pub first_ns: Option<u64>,
    /// Latest packet time.
    pub last_ns: Option<u64>,
    /// Flows.
    pub flows: u64,
    /// Flows by the template that recognised them.
    pub recognised: Vec<(String, u64)>,
    /// Flows that were scored.
    pub scored: u64,
    /// Flows that have a score and that the model does not judge all the same: its training held nothing like them.
    pub unknown: u64,
    /// Flows called malicious.
    pub malicious: u64,
    /// Flows called suspicious.
    pub suspicious: u64,
    /// What all scored flows but the unknown come to; none where there are none, or in results of before there was a
    /// conclusion.
    pub conclusion: Option<Concluded>,
    /// Flows by what they are for: alerts, and others that are worth a look all the same.
    pub categories: Vec<(String, u64)>,
    /// Packets that gave no flow, by reason; reasons that came up.
    pub skipped: Vec<(String, u64)>,
    /// Packets of each link type that is not decoded.
    pub unknown_links: Vec<(String, u64)>,
    /// Limits of the configuration that were reached, with how often.
    pub limits: Vec<(String, u64)>,
    /// TCP segments that repeated bytes with other contents.
    pub overlap_conflicts: u64,
    /// Flows that a template could not read.
    pub template_errors: u64,
    /// Flows that each plugin failed on: these have no values of it.
    pub plugin_errors: Vec<(String, u64)>,
    /// Plugins that were not used, or no more from a flow on: the instance, that flow, and why.
    pub disabled: Vec<(String, Option<u64>, String)>,
    /// Whether this covers less than the capture.
    pub partial: bool,
    /// Whether it stopped at the number of packets that was asked for.
    pub stopped: bool,
    /// Whether it was stopped from outside.
    pub interrupted: bool,
    /// Whether not one packet could be looked into because of its link type.
    pub blind: bool,
    /// What ended reading before the capture's end: where, in bytes of the unpacked file, and what.
    pub damage: Option<(u64, String)>,
    /// What a person must know beside the flows, a line each, in English as the command writes them.
    pub warnings: Vec<String>,
    /// Who talks to whom as malware does.
    pub found: Found,
    /// Flows that are listed.
    pub listed: u64,
    /// Flows that are not listed, only counted.
    pub not_listed: u64,
    /// Flows whose host is not listed.
    pub hosts_not_listed: u64,
    /// The pipeline and its model.
    pub pipeline: PipelineFacts,
    /// The last line of JSON Lines itself, without a line break.
    pub line: String,
}

/// What the flows of a capture come to, put together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Concluded {
    /// How bad it is.
    pub tone: Tone,
    /// From 0 to 1.
    pub score: f64,
}

/// How many talk to how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Originators.
    pub computers: u64,
    /// Responders.
    pub servers: u64,
}

/// Who talks to whom as malware does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// Of malicious flows.
    pub malicious: Spread,
    /// Of suspicious flows.
    pub suspicious: Spread,
}

/// What the last line of JSON Lines does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Time of the first packet in nanoseconds since 1970.
    pub first_ns: Option<u64>,
    /// Latest packet time.
    pub last_ns: Option<u64>,
    /// What a person must know, a line each.
    pub warnings: Vec<String>,
    /// Whether it was stopped from outside.
    pub interrupted: bool,
    /// Whether not one packet could be looked into.
    pub blind: bool,
    /// Who talks to whom.
    pub found: Found,
    /// Flows that are listed.
    pub listed: u64,
    /// Flows that are only counted.
    pub not_listed: u64,
    /// Flows whose host is not listed.
    pub hosts_not_listed: u64,
}

/// The pipeline that made a result, and its model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineFacts {
    /// Version of the program.
    pub version: String,
    /// Its plugins: the instance, and what it is one of.
    pub plugins: Vec<(String, String)>,
    /// Ids of its protocol templates.
    pub templates: Vec<String>,
    /// Columns of a row of features.
    pub columns: u64,
    /// Hash of their schema.
    pub schema_sha256: String,
    /// The model, where it has one.
    pub model: Option<ModelFacts>,
}

/// What a model's card says that a reader of a result must know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFacts {
    /// Its name.
    pub name: String,
    /// As the pipeline named it, with its version in a registry; empty in results of before this was told, and for a folder.
    #[serde(default)]
    pub asked: String,
    /// Version of Veilwatch that trained it.
    pub made_by: String,
    /// `kind/name` of its classifier.
    pub classifier: String,
    /// SHA-256 of its weights.
    pub weights_sha256: String,
    /// From which score on a flow is suspicious.
    pub suspicious: f64,
    /// From which score on it is malicious.
    pub malicious: f64,
    /// False alerts per 100,000 benign pairs that the upper threshold was chosen for, where it was for any.
    pub false_alert_budget: Option<f64>,
    /// Captures it was trained on.
    pub captures: u64,
    /// Benign flows of the training.
    pub benign_flows: u64,
    /// Malicious flows of the training.
    pub malicious_flows: u64,
    /// Share of malicious pairs found at the threshold, on folds it had not seen; not known of another threshold than the
    /// model's own.
    pub recall: Option<f64>,
    /// Share of benign pairs called malicious at the threshold, where that is known.
    pub false_positives: Option<f64>,
}

impl ModelFacts {
    /// Its name, and its version in a registry.
    pub fn shown(&self) -> String {
        match self.asked.strip_prefix(veilwatch::model::ModelSettings::REGISTRY) {
            Some(asked) => asked.to_owned(),
            None => self.name.clone(),
        }
    }

    /// The same with the beginning of its hash: what two models of one name are told apart by.
    pub fn shown_with_hash(&self) -> String {
        let hash: String = self.weights_sha256.chars().take(12).collect();
        format!("{} ({hash})", self.shown())
    }
}

impl PipelineFacts {
    /// What there is to say of a pipeline.
    pub fn of(pipeline: &Pipeline) -> Self {
        let plugins = pipeline.config().plugin.iter().map(|entry| {
            // Where a library lies is the operator's business; a report is sent to others.
            let file = || Some(entry.path.as_ref()?.file_name()?.to_string_lossy().into_owned());
            (entry.id.clone(), entry.plugin.clone().or_else(file).unwrap_or_default())
        });
        let measured = pipeline.has_own_thresholds();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            plugins: plugins.collect(),
            templates: pipeline.template_ids().to_vec(),
            columns: pipeline.schema().width() as u64,
            schema_sha256: pipeline.schema().hash().to_owned(),
            model: pipeline.card().map(|card| ModelFacts {
                name: card.name.clone(),
                // Where a folder lies is the operator's business.
                asked: Some(&pipeline.config().model)
                    .filter(|asked| !veilwatch::model::ModelSettings::is_folder(asked))
                    .cloned()
                    .unwrap_or_default(),
                made_by: card.made_by.clone(),
                classifier: card.classifier.clone(),
                weights_sha256: card.weights_sha256.clone(),
                suspicious: card.thresholds.suspicious,
                malicious: card.thresholds.malicious,
                false_alert_budget: pipeline.false_alert_budget(),
                captures: card.training.captures as u64,
                benign_flows: card.training.benign_flows as u64,
                malicious_flows: card.training.malicious_flows as u64,
                recall: measured.then_some(card.report.recall_at_threshold.value),
                false_positives: measured.then_some(card.report.fpr_at_threshold.value),
            }),
        }
    }
}

impl Facts {
    /// What a summary alone knows.
    pub fn of(summary: &Summary) -> Self {
        Self {
            first_ns: summary.first_ns,
            last_ns: summary.first_ns.map(|_| summary.last_ns),
            warnings: summary.warnings(),
            interrupted: summary.interrupted,
            blind: summary.is_blind(),
            ..Self::default()
        }
    }
}

/// The last line of JSON Lines as it is read back; what it has beyond this is passed over.
#[derive(Deserialize)]
struct SummaryLine {
    packets: u64,
    wire_bytes: u64,
    flows: u64,
    recognised: BTreeMap<String, u64>,
    scored: u64,
    #[serde(default)]
    unknown: u64,
    malicious: u64,
    suspicious: u64,
    #[serde(default)]
    conclusion: Option<ConclusionLine>,
    #[serde(default)]
    categories: BTreeMap<String, u64>,
    skipped: BTreeMap<String, u64>,
    unknown_links: BTreeMap<String, u64>,
    limits: BTreeMap<String, u64>,
    overlap_conflicts: u64,
    template_errors: u64,
    #[serde(default)]
    plugin_errors: BTreeMap<String, u64>,
    #[serde(default)]
    disabled: Vec<DisabledLine>,
    partial: bool,
    stopped: bool,
    damage: Option<DamageLine>,
}

#[derive(Deserialize)]
struct ConclusionLine {
    score: f64,
    verdict: String,
}

impl ConclusionLine {
    /// Of a verdict that this version does not know there is nothing to say.
    fn read(&self) -> Option<Concluded> {
        let tone = match self.verdict.as_str() {
            "malicious" => Tone::Malicious,
            "suspicious" => Tone::Suspicious,
            "benign" => Tone::Nothing,
            _ => return None,
        };
        Some(Concluded { tone, score: self.score })
    }
}

#[derive(Deserialize)]
struct DisabledLine {
    id: String,
    record: Option<u64>,
    reason: String,
}

#[derive(Deserialize)]
struct DamageLine {
    offset: u64,
    what: String,
}

/// Cuts a text to [`TEXT_CHARS`], without control characters.
pub fn short(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT_CHARS).collect()
}

fn list(counts: BTreeMap<String, u64>) -> Vec<(String, u64)> {
    counts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .take(LIST_ENTRIES)
        .map(|(name, count)| (short(&name), count))
        .collect()
}

impl ResultSummary {
    /// Flows that the model judges: it abstains from those that its training held nothing like.
    pub fn judged(&self) -> u64 {
        self.scored.saturating_sub(self.unknown)
    }

    /// Puts together what the tables hold.
    ///
    /// # Errors
    /// Where the line is none of ours.
    pub(super) fn join(line: String, facts: Facts, mut pipeline: PipelineFacts) -> Result<Self, serde_json::Error> {
        let summary: SummaryLine = serde_json::from_str(&line)?;
        pipeline.plugins.truncate(LIST_ENTRIES);
        pipeline.templates.truncate(LIST_ENTRIES);
        Ok(Self {
            packets: summary.packets,
            wire_bytes: summary.wire_bytes,
            first_ns: facts.first_ns,
            last_ns: facts.last_ns,
            flows: summary.flows,
            recognised: list(summary.recognised),
            scored: summary.scored,
            unknown: summary.unknown,
            malicious: summary.malicious,
            suspicious: summary.suspicious,
            conclusion: summary.conclusion.as_ref().and_then(ConclusionLine::read),
            categories: list(summary.categories),
            skipped: list(summary.skipped),
            unknown_links: list(summary.unknown_links),
            limits: list(summary.limits),
            overlap_conflicts: summary.overlap_conflicts,
            template_errors: summary.template_errors,
            plugin_errors: list(summary.plugin_errors),
            disabled: summary
                .disabled
                .into_iter()
                .take(LIST_ENTRIES)
                .map(|plugin| (short(&plugin.id), plugin.record, short(&plugin.reason)))
                .collect(),
            partial: summary.partial,
            stopped: summary.stopped,
            interrupted: facts.interrupted,
            blind: facts.blind,
            damage: summary.damage.map(|damage| (damage.offset, short(&damage.what))),
            warnings: facts.warnings.iter().take(LIST_ENTRIES).map(|text| short(text)).collect(),
            found: facts.found,
            listed: facts.listed,
            not_listed: facts.not_listed,
            hosts_not_listed: facts.hosts_not_listed,
            pipeline,
            line,
        })
    }
}
