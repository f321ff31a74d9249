//! The context stage: finished flows in a fixed order, what crosses them, their scores.

use super::batch::{self, Batch, Scores};
use super::health::Health;
use super::packets::HandOver;
use super::pipeline::Scored;
use super::shadow::Tally;
use super::summary::{PacketCounts, Summary, Warned};
use super::{Pipeline, Progress, RunError, RunOptions};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};
use veilwatch_core::context::{ConversationTracker, HostTracker, NameTracker, SpreadTracker};
use veilwatch_core::detect::{Aggregator, Categorised, Category, Verdict};
use veilwatch_core::flow::FlowRecord;
use veilwatch_core::record::{FieldId, Value};
use veilwatch_core::tables::Warning;

/// Gets every finished flow, in order.
pub trait Sink {
    /// Takes one flow.
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()>;

    /// Sees each flow, early records too, when its templates have read all of it, and before anything that crosses flows is
    /// added and its row is computed; who alters what is learnt from or tested on does it here.
    fn ended(&mut self, _flow: &mut FlowRecord) {}

    /// Called after flows, when none will follow before more packets are read: whoever waits for them should get them now.
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    /// Called when a stretch of a live run is over, for which bounds hold: what is bounded by a number begins anew.
    fn renew(&mut self) {}

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
    /// What it is for: of alerts, and of flows of which something else is known that is worth a person's time.
    pub category: Option<&'a Categorised>,
    /// The pipeline, for names.
    pub pipeline: &'a Pipeline,
}

/// Flows that are fetched from memory together.
const AHEAD: usize = 16;

/// A flow with its place in the order, so that sorting need not touch the flow.
struct Held {
    order: (u64, u64, bool),
    flow: Box<FlowRecord>,
}

pub(super) struct Consumer<'a> {
    pipeline: &'a Pipeline,
    progress: &'a Progress,
    /// Threads that score where there is much to score.
    threads: usize,
    sink: &'a mut dyn Sink,
    conversations: ConversationTracker,
    names: NameTracker,
    hosts: HostTracker,
    spread: SpreadTracker,
    /// What scored flows come to, where there is a model.
    aggregator: Option<Aggregator>,
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
    /// Which stretch of time the two rooms are of, where packets come by themselves.
    stretch: Option<u64>,
    /// Alerts, and early records of alerts, that are still explained.
    room: u64,
    early_room: u64,
    /// Flows of which each warning speaks, by its id.
    warned: BTreeMap<&'a str, u64>,
    /// What the challenger comes to, where there is one.
    shadow: Option<Tally>,
}

impl<'a> Consumer<'a> {
    pub(super) fn new(pipeline: &'a Pipeline, options: RunOptions<'a>, is_live: bool, sink: &'a mut dyn Sink) -> Self {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos() as u64);
        let limits = pipeline.limit_fields();
        let context = &pipeline.config().context;
        let conversations = ConversationTracker::new(context.conversations as usize, seed);
        Self {
            limited: vec![0; limits.len()],
            limits,
            pipeline,
            progress: options.progress,
            threads: options.workers,
            sink,
            conversations: if context.by_name { conversations } else { conversations.by_address() },
            hosts: HostTracker::new(context.hosts as usize, seed),
            names: NameTracker::new(context.names as usize, context.name_hosts as usize, seed),
            spread: SpreadTracker::new(context.spread_hosts as usize, context.spread_seconds, seed),
            aggregator: pipeline
                .card()
                .map(|card| Aggregator::new(card.thresholds, context.concluded as usize, context.by_name)),
            held: Vec::new(),
            spent: Vec::new(),
            summary: Summary::default(),
            recognised: vec![0; pipeline.templates().len()],
            health: Health::new(pipeline),
            stretch: is_live.then_some(0),
            room: pipeline.config().output.explained,
            early_room: pipeline.config().output.explained,
            warned: BTreeMap::new(),
            shadow: pipeline.challenger().map(Tally::new),
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
        // One that says it ended in the future, by a packet with a broken clock, does not wait for that.
        let now_ns = epoch.now_ns;
        self.renew(now_ns);
        let order = |flow: &FlowRecord| (flow.ended_ns.min(now_ns), flow.first_packet, !flow.is_early());
        self.held.extend(epoch.flows.into_iter().map(|flow| Held { order: order(&flow), flow }));
        self.held.sort_by_key(|held| held.order);
        let ready = match epoch.watermark_ns {
            u64::MAX => self.held.len(),
            watermark => self.held.partition_point(|held| held.order.0 < watermark),
        };
        let mut flows: Vec<Box<FlowRecord>> = self.held.drain(..ready).map(|held| held.flow).collect();
        self.pipeline.late()?;
        let record = self.context(&mut flows)?;
        let ended = record - self.summary.flows;
        let before = std::mem::replace(&mut self.summary.flows, record);
        self.progress.flows.fetch_add(ended, Ordering::Relaxed);
        let batches = Batch::cut(&flows, self.pipeline, before);
        for some in batches.chunks(batch::together(self.threads)) {
            let disabled = self.health.disabled();
            let ahead = batch::score_ahead(some, self.pipeline, &self.health, self.threads);
            for (batch, scores) in some.iter().zip(ahead) {
                let scores = match scores {
                    Some(scores) if self.health.disabled() == disabled => scores,
                    _ => batch.score(self.pipeline, &mut self.health)?,
                };
                self.pipeline.late()?;
                self.write(batch, &scores)?;
            }
        }
        if !flows.is_empty() {
            self.sink.flush()?;
        }
        self.spent.append(&mut flows);
        Ok(())
    }

    /// What comes by itself may go on for months: what is bounded for a capture is bounded for a stretch of it.
    fn renew(&mut self, now_ns: u64) {
        let Some(stretch) = &mut self.stretch else { return };
        let now = now_ns / (u64::from(self.pipeline.config().live.renew_seconds.max(1)) * 1_000_000_000);
        if now != *stretch {
            *stretch = now;
            (self.room, self.early_room) = [self.pipeline.config().output.explained; 2].into();
            self.sink.renew();
        }
    }

    /// Hands the flows of a batch to the sink, and counts verdicts.
    fn write(&mut self, batch: &Batch<'_>, scores: &Scores) -> Result<(), RunError> {
        let (mut finals, mut early) = scores.iter();
        let mut record = batch.before;
        for flow in batch.flows {
            record += u64::from(!flow.is_early());
            let mut scored = match (self.pipeline.scores(flow), flow.is_early()) {
                (false, _) => None,
                (true, false) => finals.next(),
                (true, true) => early.next(),
            };
            let is_alert = scored.as_ref().and_then(|scored| scored.verdict).is_some_and(Verdict::is_alert);
            if let Some(scored) = scored.as_mut().filter(|_| is_alert) {
                self.explain(scored, flow.is_early(), record)?;
            }
            let warnings = self.pipeline.warnings(flow);
            let category = self.pipeline.categorise(flow, is_alert, &warnings);
            let detection =
                Detection { flow, scored: scored.as_ref(), category: category.as_ref(), pipeline: self.pipeline };
            if flow.is_early() {
                self.sink.early(&detection)?;
                continue;
            }
            for (warning, _) in warnings {
                *self.warned.entry(&warning.id).or_default() += 1;
            }
            if let Some(Categorised { category, .. }) = &category
                && let Some(at) = Category::ALL.iter().position(|known| known == category)
                && let Some(count) = self.summary.categories.get_mut(at)
            {
                *count += 1;
            }
            if let Some(scored) = &scored {
                let has_score = scored.score.is_some();
                self.summary.scored += u64::from(has_score);
                self.summary.unscored += u64::from(!has_score && self.pipeline.card().is_some());
                self.summary.malicious += u64::from(scored.verdict == Some(Verdict::Malicious));
                self.summary.suspicious += u64::from(scored.verdict == Some(Verdict::Suspicious));
                self.summary.unknown += u64::from(has_score && scored.verdict == Some(Verdict::Unknown));
                if let (Some(tally), Some(shadow)) = (&mut self.shadow, &scored.shadow) {
                    tally.add(flow.id, (scored.score, scored.verdict), shadow);
                }
                if let (Some(aggregator), Some(score), Some(verdict)) =
                    (&mut self.aggregator, scored.score, scored.verdict)
                {
                    aggregator.observe(flow, score, verdict);
                }
                if is_alert {
                    self.progress.alerts.fetch_add(1, Ordering::Relaxed);
                    let malicious = scored.verdict == Some(Verdict::Malicious);
                    self.progress.malicious.fetch_add(malicious.into(), Ordering::Relaxed);
                }
            }
            self.sink.flow(&detection)?;
        }
        Ok(())
    }

    /// Says why an alert is one, where there is room for it: the first ones in the order of flows are explained, whatever the
    /// threads. Early records have room of their own, so that they take none of the final ones'.
    fn explain(&mut self, scored: &mut Scored<'_>, is_early: bool, record: u64) -> Result<(), RunError> {
        let room = if is_early { &mut self.early_room } else { &mut self.room };
        if *room == 0 {
            self.summary.unexplained += u64::from(!is_early);
            scored.no_room = true;
            return Ok(());
        }
        *room -= 1;
        scored.explanation = if is_early {
            self.pipeline.explain_in_health(scored, record, &mut self.health.aside())?
        } else {
            self.pipeline.explain_in_health(scored, record, &mut self.health)?
        };
        Ok(())
    }

    /// Adds what crosses flows, in their order; returns how many have ended in all.
    fn context(&mut self, flows: &mut [Box<FlowRecord>]) -> Result<u64, RunError> {
        let mut record = self.summary.flows;
        for some in flows.chunks_mut(AHEAD) {
            std::hint::black_box(some.iter().fold(0, |sum, flow| sum ^ flow.touch()));
            for flow in some {
                self.names.observe(flow);
                if flow.is_early() {
                    self.health.aside().read(flow, record)?;
                    self.sink.ended(flow);
                    self.conversations.peek(flow);
                    self.hosts.peek(flow);
                    if let Some(service) = self.pipeline.spread_service(flow) {
                        self.spread.peek(service, flow);
                    }
                    self.summary.early += 1;
                    continue;
                }
                record += 1;
                // Here, where flows are in order: which record a template is disabled at must not depend on threads.
                self.health.read(flow, record)?;
                self.sink.ended(flow);
                self.conversations.observe(flow);
                self.hosts.observe(flow);
                if let Some(service) = self.pipeline.spread_service(flow) {
                    self.spread.observe(service, flow);
                }
                if let Some(template) = flow.template
                    && let Some(count) = self.recognised.get_mut(usize::from(template))
                {
                    *count += 1;
                    for ((id, _), count) in self.limits.iter().zip(&mut self.limited) {
                        *count += u64::from(matches!(flow.fields.get(*id), Some(Value::U64(1..))));
                    }
                }
            }
        }
        Ok(record)
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
        let worst = self.pipeline.config().output.worst_hosts as usize;
        let concluded_forgotten = self.aggregator.as_ref().map_or(0, Aggregator::forgotten);
        Summary {
            warned: warned(self.pipeline, &self.warned),
            conclusion: self.aggregator.map(|aggregator| aggregator.conclude(worst)).unwrap_or_default(),
            concluded_forgotten,
            disabled,
            plugin_errors,
            shadow: self.shadow.map(Tally::finish),
            plugin_times: self.pipeline.times(),
            filter_failed: packets.filter_failed(),
            filtered: packets.filter.as_ref().map(|_| packets.filtered),
            packets: packets.packets,
            wire_bytes: packets.wire_bytes,
            skipped: packets.skipped,
            unknown_links: packets.unknown_links,
            first_ns: packets.first_ns,
            last_ns: packets.last_ns,
            set_back: packets.clock_set_back,
            recognised: ids.iter().cloned().zip(self.recognised).collect(),
            flow_counters: packets.flows,
            fragments: packets.fragments,
            template_limits: self.limits.into_iter().map(|(_, name)| name).zip(self.limited).collect(),
            conversations_forgotten: self.conversations.forgotten(),
            hosts_forgotten: self.hosts.forgotten(),
            names_forgotten: self.names.forgotten(),
            name_hosts_forgotten: self.names.hosts_forgotten(),
            spread_hosts_forgotten: self.spread.forgotten(),
            damage: packets.damage,
            interrupted: packets.interrupted,
            packet_limit: packets.packet_limit,
            ..self.summary
        }
    }
}

/// Counts of warnings, worst first.
fn warned(pipeline: &Pipeline, counts: &BTreeMap<&str, u64>) -> Vec<Warned> {
    let told = |warning: &Warning| {
        let flows = *counts.get(&*warning.id)?;
        Some(Warned { id: warning.id.to_string(), severity: warning.severity, flows })
    };
    pipeline.tables().warn().iter().filter_map(told).collect()
}
