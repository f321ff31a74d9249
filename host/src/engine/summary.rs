use super::ShadowSummary;
use super::pipeline::CLASSIFIER;
use crate::filter::Filter;
use crate::live::{InterfaceCounts, LiveCounts};
use crate::plugins::PluginReport;
use crate::source::Damage;
use std::collections::BTreeMap;
use std::time::Duration;
use veilwatch_core::detect::{Category, Conclusion};
use veilwatch_core::flow::FlowCounters;
use veilwatch_core::packet::{FragmentCounters, LinkType, Skip};
use veilwatch_core::tables::Severity;

/// The one bound that is no key of the configuration: what one flow's fields may hold.
const FIELDS: &str = "fields of a flow";

/// What a run did, and what it passed over: every limit that was reached is counted here.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Packets read.
    pub packets: u64,
    /// Those among them that the capture filter kept out, where there is a filter. They count in nothing that follows.
    pub filtered: Option<u64>,
    /// Those of link types that the filter cannot be used with, which were passed over too.
    pub filter_failed: BTreeMap<u16, FilterFailed>,
    /// Bytes of the others on the wire.
    pub wire_bytes: u64,
    /// Packets that gave no flow, by reason; in the order of [`Skip::ALL`].
    pub skipped: [u64; Skip::ALL.len()],
    /// Packets of each link type that is not decoded.
    pub unknown_links: BTreeMap<u16, u64>,
    /// Time of the first packet in nanoseconds since 1970.
    pub first_ns: Option<u64>,
    /// Latest packet time.
    pub last_ns: u64,
    /// Times that the capture's clock was set back, and flows of the time that was left ended.
    pub set_back: u64,
    /// Flows that ended.
    pub flows: u64,
    /// Early records that were given; they are counted nowhere else.
    pub early: u64,
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
    /// Alerts that were not explained, because there were too many; early records are counted nowhere.
    pub unexplained: u64,
    /// Flows that have a score and are called unknown all the same, because the model's training held nothing like them.
    pub unknown: u64,
    /// Flows of each category; in the order of [`Category::ALL`].
    pub categories: [u64; Category::ALL.len()],
    /// What all scored flows come to.
    pub conclusion: Conclusion,
    /// Conversations that were forgotten before they were put together.
    pub concluded_forgotten: u64,
    /// Conversations that were forgotten before somebody could be asked about them; whoever keeps a queue sets it.
    pub questions_forgotten: u64,
    /// What WARN says of flows, worst first.
    pub warned: Vec<Warned>,
    /// What the flow tables counted.
    pub flow_counters: FlowCounters,
    /// What became of packets that came in parts.
    pub fragments: FragmentCounters,
    /// Flows and early records that were to be written and were too many; whoever writes them sets it.
    pub not_written: u64,
    /// Flows of pairs that a table did not count, because there were too many; whoever draws it sets it.
    pub pairs_not_counted: u64,
    /// Flows on which a setting of a template bit, by plugin and setting.
    pub template_limits: Vec<(String, u64)>,
    /// Conversations forgotten because the limit was reached.
    pub conversations_forgotten: u64,
    /// Hosts whose earlier flows were forgotten because the limit was reached.
    pub hosts_forgotten: u64,
    /// Pairs of host and address whose name was forgotten because the limit was reached.
    pub names_forgotten: u64,
    /// Hosts whose queries of DNS were forgotten because the limit was reached.
    pub name_hosts_forgotten: u64,
    /// Pairs of host and service whose attempts were forgotten because the limit was reached.
    pub spread_hosts_forgotten: u64,
    /// Plugins that were not used, or no more from some record on.
    pub disabled: Vec<PluginReport>,
    /// Instances that failed on some records, in pipeline order.
    pub plugin_errors: Vec<PluginErrors>,
    /// What each instance took. It differs from run to run, so that it stands in no result.
    pub plugin_times: Vec<PluginTime>,
    /// What a challenger came to, where there is one.
    pub shadow: Option<ShadowSummary>,
    /// What came of the interfaces, where the capture was live; whoever captures sets it.
    pub live: Option<LiveCounts>,
    /// What ended reading before the capture's end.
    pub damage: Option<Damage>,
    /// Whether the run was stopped from outside.
    pub interrupted: bool,
    /// Whether it stopped at the number of packets that was asked for.
    pub packet_limit: bool,
}

/// Flows of which a warning speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warned {
    /// The warning's id.
    pub id: String,
    /// What it weighs.
    pub severity: Severity,
    /// How many.
    pub flows: u64,
}

/// Packets of a link type for which the filter's expression cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterFailed {
    /// How many.
    pub packets: u64,
    /// What libpcap says.
    pub reason: String,
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
    /// How many flows are for what; only categories that came up.
    pub fn categories(&self) -> impl Iterator<Item = (Category, u64)> {
        Category::ALL.into_iter().zip(self.categories).filter(|(_, count)| *count > 0)
    }

    /// Whether the result covers less than the capture: damaged, interrupted, in part of a link type that is not
    /// decoded or that the filter cannot be used with, without a plugin that was disabled on the way, without the
    /// classifier, or with flows that it gave no score. What a filter keeps out is not missing.
    pub fn is_partial(&self) -> bool {
        let lost = |plugin: &PluginReport| plugin.record.is_some() || plugin.plugin.starts_with(CLASSIFIER);
        let lost = self.disabled.iter().any(lost);
        let links = !self.unknown_links.is_empty() || !self.filter_failed.is_empty();
        let live = self.live.as_ref().is_some_and(LiveCounts::is_partial);
        self.damage.is_some() || self.interrupted || live || links || lost || self.unscored > 0
    }

    /// Whether not one packet could be looked into because of its link type.
    pub fn is_blind(&self) -> bool {
        let unfilterable: u64 = self.filter_failed.values().map(|failed| failed.packets).sum();
        let blind = unfilterable + self.unknown_links.values().sum::<u64>();
        blind > 0 && blind == self.packets - self.filtered.unwrap_or_default()
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
        for (link, FilterFailed { packets, reason }) in &self.filter_failed {
            lines.push(format!(
                "the capture filter cannot be used with link type {link} ({reason}): {packets} of {} packets were passed \
                 over; use another expression",
                self.packets
            ));
        }
        if self.set_back > 0 {
            lines.push(format!(
                "the clock was set back {} times by more than five minutes: flows of the time that was left ended there",
                self.set_back
            ));
        }
        for (limit, count) in self.limits_hit() {
            let raise = if limit == FIELDS { "it is fixed" } else { "raise it in the configuration" };
            lines.push(format!("limit reached: {limit}, {count} times; {raise}"));
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
        if let Some(live) = &self.live {
            for InterfaceCounts { name, received, dropped, downs, .. } in &live.interfaces {
                if *dropped > 0 {
                    lines.push(format!(
                        "{name}: {dropped} of {received} packets were lost, because nobody took them in time; raise \
                         `live.ring_bytes`, or capture less with --filter"
                    ));
                }
                if *downs > 0 {
                    lines.push(format!("{name} went down {downs} times; what passed meanwhile is not known"));
                }
            }
            if live.not_recorded > 0 {
                lines.push(format!("{} packets could not be written down", live.not_recorded));
            }
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
    pub fn limits_hit(&self) -> Vec<(&str, u64)> {
        let counters = &self.flow_counters;
        let templates = self.template_limits.iter().map(|(name, count)| (name.as_str(), *count));
        [
            ("flows.flows_per_shard", counters.evicted),
            ("flows.flows_per_host", counters.host_evicted),
            ("flows.prefix_bytes", counters.prefix_full),
            ("flows.prefix_bytes_per_shard", counters.without_prefix),
            ("flows.prefix_waiting", counters.segments_dropped),
            ("flows.hand_overs", counters.hand_overs_refused),
            ("flows.warnings", counters.warnings_left_out),
            ("flows.nesting", self.skipped[Skip::TooNested as usize]),
            ("flows.fragments_per_shard", self.fragments.dropped),
            ("flows.fragment_bytes_per_shard", self.fragments.dropped_for_bytes),
            ("context.conversations", self.conversations_forgotten),
            ("context.names", self.names_forgotten),
            ("context.name_hosts", self.name_hosts_forgotten),
            ("context.hosts", self.hosts_forgotten),
            ("context.spread_hosts", self.spread_hosts_forgotten),
            ("output.explained", self.unexplained),
            ("context.concluded", self.concluded_forgotten),
            ("context.questions", self.questions_forgotten),
            ("output.lines", self.not_written),
            ("output.table_pairs", self.pairs_not_counted),
            (FIELDS, counters.fields_dropped),
        ]
        .into_iter()
        .chain(templates)
        .filter(|(_, count)| *count > 0)
        .collect()
    }
}

/// What the packet stage counted.
#[derive(Debug, Default)]
pub(super) struct PacketCounts {
    pub(super) packets: u64,
    pub(super) filtered: u64,
    /// Times that the clock was set back; every thread sees all of them.
    pub(super) clock_set_back: u64,
    pub(super) filter_failed: BTreeMap<u16, u64>,
    /// The filter, where there is one, with what it knows by the end.
    pub(super) filter: Option<Filter>,
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
    /// The link types that the filter cannot be used with.
    pub(super) fn filter_failed(&self) -> BTreeMap<u16, FilterFailed> {
        let reason = |link| self.filter.as_ref().and_then(|filter| filter.refusal(link)).unwrap_or_default().to_owned();
        let failed = |(link, packets): (&u16, &u64)| {
            (*link, FilterFailed { packets: *packets, reason: reason(LinkType(*link)) })
        };
        self.filter_failed.iter().map(failed).collect()
    }

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
