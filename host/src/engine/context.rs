//! The context stage: finished flows in a fixed order, what crosses them, their scores.

use super::health::Health;
use super::packets::HandOver;
use super::pipeline::Scored;
use super::summary::{PacketCounts, Summary};
use super::{Pipeline, Progress, RunError};
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};
use veilwatch_core::context::{ConversationTracker, NameTracker};
use veilwatch_core::detect::Verdict;
use veilwatch_core::flow::FlowRecord;
use veilwatch_core::record::{FieldId, Value};

/// Gets every finished flow, in order.
pub trait Sink {
    /// Takes one flow.
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()>;

    /// Called after flows, when none will follow before more packets are read: whoever waits for them should get them now.
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    /// Takes the early record of a flow that goes on, in the same order: its final record comes later, and it alone is the
    /// flow's verdict. Most have no use for it.
    fn early(&mut self, _detection: &Detection<'_>) -> std::io::Result<()> {
        Ok(())
    }
}

/// A finished flow with what the pipeline makes of it.
#[derive(Debug, Clone, Copy)]
pub struct Detection<'a> {
    /// The flow.
    pub flow: &'a FlowRecord,
    /// Its row of features and its verdict, where it was scored.
    pub scored: Option<&'a Scored<'a>>,
    /// The pipeline, for names.
    pub pipeline: &'a Pipeline,
}

/// Flows that are scored together; rows do not depend on it.
const BATCH: usize = 256;

/// A flow with its place in the order, so that sorting need not touch the flow.
struct Held {
    order: (u64, u64, bool),
    flow: Box<FlowRecord>,
}

pub(super) struct Consumer<'a> {
    pipeline: &'a Pipeline,
    progress: &'a Progress,
    sink: &'a mut dyn Sink,
    conversations: ConversationTracker,
    names: NameTracker,
    /// Flows that have ended and early records, which might still be preceded by others.
    held: Vec<Held>,
    /// Records that are done with, for whoever has a use for their memory.
    #[allow(clippy::vec_box, reason = "records are large, and travel on in their boxes")]
    spent: Vec<Box<FlowRecord>>,
    summary: Summary,
    recognised: Vec<u64>,
    /// What templates say of their limits, and flows of which they said so.
    limits: Vec<(FieldId, String)>,
    limited: Vec<u64>,
    health: Health<'a>,
}

impl<'a> Consumer<'a> {
    pub(super) fn new(pipeline: &'a Pipeline, progress: &'a Progress, sink: &'a mut dyn Sink) -> Self {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos() as u64);
        let limits = pipeline.limit_fields();
        let context = &pipeline.config().context;
        Self {
            limited: vec![0; limits.len()],
            limits,
            pipeline,
            progress,
            sink,
            conversations: ConversationTracker::new(context.conversations as usize, seed),
            names: NameTracker::new(context.names as usize, context.name_hosts as usize, seed),
            held: Vec::new(),
            spent: Vec::new(),
            summary: Summary::default(),
            recognised: vec![0; pipeline.templates().len()],
            health: Health::new(pipeline),
        }
    }

    /// Takes what all shards handed over at the end of an epoch.
    ///
    /// Flows are let through in the order of their ends, however epochs fall: those that others might still precede
    /// are held back.
    pub(super) fn epoch(&mut self, mut epoch: HandOver) -> Result<(), RunError> {
        // Nothing is held back here: epochs cut the order of packets, and none of theirs is still to come. One packet is
        // one shard's, so that a sort that keeps the order of equals keeps that of its notices.
        epoch.notices.sort_by_key(|notice| notice.packet);
        epoch.notices.iter().for_each(|notice| self.names.notice(notice));
        // A flow's early record comes before its final one.
        let order = |flow: &FlowRecord| (flow.ended_ns, flow.first_packet, !flow.is_early());
        self.held.extend(epoch.flows.into_iter().map(|flow| Held { order: order(&flow), flow }));
        self.held.sort_by_key(|held| held.order);
        let ready = match epoch.watermark_ns {
            u64::MAX => self.held.len(),
            watermark => self.held.partition_point(|held| held.order.0 < watermark),
        };
        let mut flows: Vec<Box<FlowRecord>> = self.held.drain(..ready).map(|held| held.flow).collect();
        self.pipeline.late()?;
        let mut record = self.summary.flows;
        for flow in &mut flows {
            self.names.observe(flow);
            if flow.is_early() {
                self.health.aside().read(flow, record)?;
                self.conversations.peek(flow);
                self.summary.early += 1;
                continue;
            }
            record += 1;
            // Here, where flows are in order: which record a template is disabled at must not depend on threads.
            self.health.read(flow, record)?;
            self.conversations.observe(flow);
            if let Some(template) = flow.template
                && let Some(count) = self.recognised.get_mut(usize::from(template))
            {
                *count += 1;
                for ((id, _), count) in self.limits.iter().zip(&mut self.limited) {
                    *count += u64::from(matches!(flow.fields.get(*id), Some(Value::U64(1..))));
                }
            }
        }
        let ended = record - self.summary.flows;
        let mut record = std::mem::replace(&mut self.summary.flows, record);
        self.progress.flows.fetch_add(ended, Ordering::Relaxed);
        // Not all flows are scored: only those with something to score are put into batches, in order.
        let mut rest = flows.as_slice();
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(rest.len().min(BATCH));
            rest = after;
            let (mut wanted, mut records, mut early) = (Vec::new(), Vec::new(), Vec::new());
            for flow in batch {
                // Final records have numbers; early ones have none.
                record += u64::from(!flow.is_early());
                if !self.pipeline.scores(flow) {
                    continue;
                }
                if flow.is_early() {
                    early.push(&**flow);
                } else {
                    wanted.push(&**flow);
                    records.push(record);
                }
            }
            let scores = self.pipeline.score(&wanted, &records, &mut self.health)?;
            let early = self.pipeline.score(&early, &vec![0; early.len()], &mut self.health.aside())?;
            self.pipeline.late()?;
            let (mut scores, mut early) = (scores.iter(), early.iter());
            for flow in batch {
                let of_its_kind = if flow.is_early() { &mut early } else { &mut scores };
                let scored = if self.pipeline.scores(flow) { of_its_kind.next() } else { None };
                let detection = Detection { flow, scored: scored.as_ref(), pipeline: self.pipeline };
                if flow.is_early() {
                    self.sink.early(&detection)?;
                    continue;
                }
                if let Some(scored) = &scored {
                    let has_score = scored.score.is_some();
                    self.summary.scored += u64::from(has_score);
                    self.summary.unscored += u64::from(!has_score && self.pipeline.card().is_some());
                    self.summary.malicious += u64::from(scored.verdict == Some(Verdict::Malicious));
                    self.summary.suspicious += u64::from(scored.verdict == Some(Verdict::Suspicious));
                    if scored.verdict.is_some_and(Verdict::is_alert) {
                        self.progress.alerts.fetch_add(1, Ordering::Relaxed);
                    }
                }
                self.sink.flow(&detection)?;
            }
        }
        if !flows.is_empty() {
            self.sink.flush()?;
        }
        self.spent.append(&mut flows);
        Ok(())
    }

    /// Hands out the records that are done with.
    #[allow(clippy::vec_box, reason = "records are large, and travel on in their boxes")]
    pub(super) fn give_back(&mut self, spent: &mut Vec<Box<FlowRecord>>) {
        if spent.is_empty() {
            std::mem::swap(&mut self.spent, spent);
        }
        self.spent.clear();
    }

    pub(super) fn finish(self, packets: PacketCounts) -> Summary {
        let ids = self.pipeline.template_ids();
        let (disabled, plugin_errors) = self.health.tell();
        Summary {
            disabled,
            plugin_errors,
            plugin_times: self.pipeline.times(),
            filter_failed: packets.filter_failed(),
            filtered: packets.filter.as_ref().map(|_| packets.filtered),
            packets: packets.packets,
            wire_bytes: packets.wire_bytes,
            skipped: packets.skipped,
            unknown_links: packets.unknown_links,
            first_ns: packets.first_ns,
            last_ns: packets.last_ns,
            recognised: ids.iter().cloned().zip(self.recognised).collect(),
            flow_counters: packets.flows,
            fragments: packets.fragments,
            template_limits: self.limits.into_iter().map(|(_, name)| name).zip(self.limited).collect(),
            conversations_forgotten: self.conversations.forgotten(),
            names_forgotten: self.names.forgotten(),
            name_hosts_forgotten: self.names.hosts_forgotten(),
            damage: packets.damage,
            interrupted: packets.interrupted,
            packet_limit: packets.packet_limit,
            ..self.summary
        }
    }
}
