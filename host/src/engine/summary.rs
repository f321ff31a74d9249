use crate::source::Damage;
use std::collections::BTreeMap;
use veilwatch_core::flow::FlowCounters;
use veilwatch_core::packet::Skip;

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
    /// Flows that were scored.
    pub scored: u64,
    /// Flows called malicious.
    pub malicious: u64,
    /// Flows called suspicious.
    pub suspicious: u64,
    /// What the flow tables counted.
    pub flow_counters: FlowCounters,
    /// Conversations forgotten because the limit was reached.
    pub conversations_forgotten: u64,
    /// What ended reading before the capture's end.
    pub damage: Option<Damage>,
    /// Whether the run was stopped from outside.
    pub interrupted: bool,
    /// Whether it stopped at the number of packets that was asked for.
    pub packet_limit: bool,
}

impl Summary {
    /// Whether the result covers less than the capture: damaged, interrupted, or in part of a link type that is not
    /// decoded.
    pub fn is_partial(&self) -> bool {
        self.damage.is_some() || self.interrupted || !self.unknown_links.is_empty()
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
        if self.flow_counters.template_errors > 0 {
            lines.push(format!("{} flows could not be read by their template", self.flow_counters.template_errors));
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
    }
}
