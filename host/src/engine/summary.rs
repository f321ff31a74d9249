use super::pipeline::CLASSIFIER;
use crate::plugins::PluginReport;
use crate::source::Damage;
use std::collections::BTreeMap;
use std::time::Duration;
use veilwatch_core::flow::FlowCounters;
use veilwatch_core::packet::{FragmentCounters, Skip};

/// What a run did, and what it passed over: every limit that was reached is counted here.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Packets looked at.
    pub packets: u64,
    /// Bytes of those packets on the wire.
    pub wire_bytes: u64,
    /// Packets that gave no flow, by reason; in the order of [`Skip::ALL`].
    pub skipped: [u64; Skip::ALL.len()],
    /// Packets of each link type that is not decoded.
    pub unknown_links: BTreeMap<u16, u64>,
    /// Time of the first packet in nanoseconds since 1970.
    pub first_ns: Option<u64>,
    /// Latest packet time.
    pub last_ns: u64,
    /// Flows that ended.
    pub flows: u64,
    /// Flows that a template recognised, by the template's id, in pipeline order.
    pub recognised: Vec<(String, u64)>,
    /// Flows that have a score.
    pub scored: u64,
    /// Flows that were to have one, and for which the classifier gave none: it failed, or said that there is none.
    pub unscored: u64,
    /// Flows called malicious.
    pub malicious: u64,
    /// Flows called suspicious.
    pub suspicious: u64,
    /// What the flow tables counted.
    pub flow_counters: FlowCounters,
    /// What became of packets that came in parts.
    pub fragments: FragmentCounters,
    /// Conversations forgotten because the limit was reached.
    pub conversations_forgotten: u64,
    /// Plugins that were not used, or no more from some record on.
    pub disabled: Vec<PluginReport>,
    /// Instances that failed on some records, in pipeline order.
    pub plugin_errors: Vec<PluginErrors>,
    /// What each instance took. It differs from run to run, so that it stands in no result.
    pub plugin_times: Vec<PluginTime>,
    /// What ended reading before the capture's end.
    pub damage: Option<Damage>,
    /// Whether the run was stopped from outside.
    pub interrupted: bool,
    /// Whether it stopped at the number of packets that was asked for.
    pub packet_limit: bool,
}

/// An instance that failed on some records: these have no values of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginErrors {
    /// The instance.
    pub id: String,
    /// On how many records.
    pub records: u64,
    /// The first of them, counted from 1 in the order of output.
    pub first: u64,
    /// What it said there.
    pub reason: String,
}

/// What an instance took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginTime {
    /// The instance.
    pub id: String,
    /// Its calls.
    pub calls: u64,
    /// All of them together.
    pub total: Duration,
}

impl Summary {
    /// Whether the result covers less than the capture: damaged, interrupted, in part of a link type that is not
    /// decoded, without a plugin that was disabled on the way, without the classifier, or with flows that it gave no score.
    pub fn is_partial(&self) -> bool {
        let lost = |plugin: &PluginReport| plugin.record.is_some() || plugin.plugin.starts_with(CLASSIFIER);
        let lost = self.disabled.iter().any(lost);
        self.damage.is_some() || self.interrupted || !self.unknown_links.is_empty() || lost || self.unscored > 0
    }

    /// Whether not one packet could be looked into because of its link type.
    pub fn is_blind(&self) -> bool {
        self.packets > 0 && self.unknown_links.values().sum::<u64>() == self.packets
    }

    /// What a person must know beside the flows, a line each; nothing where all went well.
    pub fn warnings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (link, count) in &self.unknown_links {
            lines.push(format!(
                "link type {link} is not decoded: {count} of {} packets were passed over; capture on the interface \
                 itself, or convert the capture",
                self.packets
            ));
        }
        for (limit, count) in self.limits_hit() {
            lines.push(format!("limit reached: {limit}, {count} times; raise it in the configuration"));
        }
        for PluginErrors { id, records, first, reason } in &self.plugin_errors {
            lines.push(format!(
                "plugin `{id}` failed on {records} flows, which have no values of it; the first one, record {first}: {reason}"
            ));
        }
        if self.unscored > 0 {
            let all = self.scored + self.unscored;
            lines.push(format!(
                "the classifier gave no score for {} of {all} flows; their verdict is unknown",
                self.unscored
            ));
        }
        for plugin in &self.disabled {
            let reason = plugin.reason.as_deref().unwrap_or_default();
            lines.push(match plugin.record {
                Some(record) => format!("plugin `{}` was disabled at record {record}: {reason}", plugin.id),
                None => format!("plugin `{}` is not used: {reason}", plugin.id),
            });
        }
        if self.interrupted {
            lines.push("interrupted: this is what was found so far".into());
        }
        if let Some(damage) = &self.damage {
            lines.push(format!("damaged: {damage}; what came before it was analysed"));
        }
        lines
    }

    /// The limits that were reached, by the name under which the configuration has them, with how often.
    pub fn limits_hit(&self) -> Vec<(&'static str, u64)> {
        let counters = &self.flow_counters;
        [
            ("flows.flows_per_shard", counters.evicted),
            ("flows.prefix_bytes_per_shard", counters.without_prefix),
            ("flows.prefix_waiting", counters.segments_dropped),
            ("flows.hand_overs", counters.hand_overs_refused),
            ("flows.nesting", self.skipped[Skip::TooNested as usize]),
            ("flows.fragments_per_shard", self.fragments.dropped),
            ("flows.fragment_bytes_per_shard", self.fragments.dropped_for_bytes),
            ("context.conversations", self.conversations_forgotten),
            // A fixed bound of the engine, and not a key of the configuration.
            ("fields of a flow", counters.fields_dropped),
        ]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .collect()
    }
}

/// What the packet stage counted.
#[derive(Debug, Default)]
pub(super) struct PacketCounts {
    pub(super) packets: u64,
    pub(super) wire_bytes: u64,
    pub(super) skipped: [u64; Skip::ALL.len()],
    pub(super) unknown_links: BTreeMap<u16, u64>,
    pub(super) first_ns: Option<u64>,
    pub(super) last_ns: u64,
    pub(super) flows: FlowCounters,
    pub(super) fragments: FragmentCounters,
    pub(super) damage: Option<Damage>,
    pub(super) interrupted: bool,
    pub(super) packet_limit: bool,
}

impl PacketCounts {
    /// Adds what another thread's shards counted; what the reader counted is its alone.
    pub(super) fn add_shards(&mut self, other: &Self) {
        for (sum, count) in self.skipped.iter_mut().zip(other.skipped) {
            *sum += count;
        }
        for (link, count) in &other.unknown_links {
            *self.unknown_links.entry(*link).or_default() += count;
        }
        self.flows.add(&other.flows);
        self.fragments.add(&other.fragments);
    }
}
