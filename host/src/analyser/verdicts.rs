use super::Index;
use crate::engine::{self, Detection, Pipeline, Progress, RunError, RunOptions, Sink, Summary};
use crate::output::{plain, reason_words, server_name};
use crate::query::OfFlow;
use crate::source::Source;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use veilwatch_core::flow::{Endpoint, FlowKey};

/// A flow as the pipeline judges it.
#[derive(Debug, Clone)]
pub struct FlowLine {
    /// Its id, as results have it.
    pub id: u64,
    /// Packet time of its first packet in nanoseconds since 1970.
    pub first_ns: u64,
    /// Who opened it.
    pub originator: Endpoint,
    /// With whom.
    pub responder: Endpoint,
    /// IP protocol number.
    pub protocol: u8,
    /// What the template is called that recognised it.
    pub template: Option<Arc<str>>,
    /// The name that was asked for.
    pub name: Box<str>,
    /// What the model says, and what it is for.
    pub judged: OfFlow,
    /// Why, in words.
    pub reasons: Box<[Box<str>]>,
    /// Packets and bytes of IP, of the originator and of the responder.
    pub packets: [u64; 2],
    /// The bytes.
    pub bytes: [u64; 2],
    /// Numbers of packets behind the reasons.
    pub evidence: Box<[u64]>,
    /// Number of its first packet; 0 where that was left out.
    pub first_packet: u64,
}

/// Flows with their verdicts, as they are found.
#[derive(Debug, Default)]
pub struct Verdicts {
    flows: Mutex<Found>,
    /// From these numbers of the engine's on, those of the index are lower by so much; nothing where it leaves packets out.
    shifts: Mutex<Vec<(u64, Option<u64>)>>,
}

#[derive(Debug, Default)]
struct Found {
    lines: Vec<FlowLine>,
    /// Their places, by what their ends come to and by their first packets.
    places: BTreeMap<(u64, u32), u32>,
    /// Nobody outside knows which ends come to the same.
    hasher: foldhash::fast::RandomState,
}

impl Verdicts {
    /// Flows that are kept; of more it is only known how many there are.
    pub const MOST: usize = 1_000_000;
    /// Flows of the same ends, of networks that only packets tell apart, among which a packet's is looked for.
    const ALIKE: usize = 8;

    /// Runs a pipeline over a capture, and keeps what comes of it.
    pub fn find(
        &self,
        pipeline: &Pipeline,
        source: Source,
        workers: usize,
        stop: &AtomicBool,
        progress: &Progress,
    ) -> Result<Summary, RunError> {
        let options = RunOptions { workers, packets: None, stop, progress };
        let templates = pipeline.template_ids().iter().map(|id| Arc::from(id.as_str())).collect();
        engine::run(pipeline, source, options, &mut Into { verdicts: self, templates })
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Flows that were found so far.
    pub fn len(&self) -> usize {
        self.lock().lines.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// From this packet of the engine's on, the index has other numbers, lower by so much, or leaves packets out: a person
    /// paused. Said in the order of packets, before flows of these end.
    pub fn shift(&self, from: u64, by: Option<u64>) {
        let mut shifts = self.shifts.lock().unwrap_or_else(PoisonError::into_inner);
        if shifts.last().map_or(Some(0), |(_, last)| *last) != by {
            shifts.push((from, by));
        }
    }

    /// The index's number of a packet; nothing where it is left out.
    fn number(&self, engine: u64) -> Option<u64> {
        let shifts = self.shifts.lock().unwrap_or_else(PoisonError::into_inner);
        let at = shifts.partition_point(|(from, _)| *from <= engine);
        let by = at.checked_sub(1).and_then(|at| shifts.get(at)).map_or(Some(0), |(_, by)| *by)?;
        engine.checked_sub(by)
    }

    /// Looks at them.
    pub fn with<T>(&self, look: impl FnOnce(&[FlowLine]) -> T) -> T {
        look(&self.lock().lines)
    }

    /// What is known of the flows of some packets, in their order; nothing yet of those that go on.
    pub fn of_packets(&self, index: &Index, numbers: impl Iterator<Item = u64>) -> Vec<Option<OfFlow>> {
        let found = self.lock();
        let judged = |number| found.of_packet(index, number).map(|line| line.judged);
        numbers.map(judged).collect()
    }

    /// The flow of a packet, once it has ended.
    pub fn of_packet(&self, index: &Index, number: u64) -> Option<FlowLine> {
        self.lock().of_packet(index, number).cloned()
    }
}

impl Found {
    /// Of several with these ports the last one that had begun by then.
    fn of_packet(&self, index: &Index, number: u64) -> Option<&FlowLine> {
        let (flow, indexed) = index.flow_of(number)?;
        let ends = self.hasher.hash_one(FlowKey { lan: 0, ..indexed.key });
        let number = u32::try_from(number).ok()?;
        let mut candidates = self.places.range((ends, 0)..=(ends, number)).rev().take(Verdicts::ALIKE);
        let is_of_flow = |first: u32| index.place(first.into()).is_some_and(|place| place.flow == flow);
        let (_, at) = candidates.find(|((_, first), _)| is_of_flow(*first))?;
        self.lines.get(*at as usize)
    }
}

struct Into<'v> {
    verdicts: &'v Verdicts,
    templates: Vec<Arc<str>>,
}

impl Sink for Into<'_> {
    fn flow(&mut self, detection: &Detection<'_>) -> io::Result<()> {
        let flow = detection.flow;
        let mut line = FlowLine::of(detection, &self.templates);
        let numbers = line.evidence.iter().filter_map(|number| self.verdicts.number(*number));
        line.evidence = numbers.collect();
        // One that began while packets were left out begins with the first that was not.
        line.first_packet = self.verdicts.number(flow.first_packet).or(line.evidence.first().copied()).unwrap_or(0);
        let mut found = self.verdicts.lock();
        if found.lines.len() >= Verdicts::MOST {
            return Ok(());
        }
        let (one, other) = (flow.originator, flow.responder);
        let key = FlowKey { low: one.min(other), high: one.max(other), protocol: flow.protocol, lan: 0 };
        let at = found.lines.len() as u32;
        if let Ok(first) = u32::try_from(line.first_packet) {
            let ends = found.hasher.hash_one(key);
            found.places.insert((ends, first), at);
        }
        found.lines.push(line);
        Ok(())
    }
}

/// Bytes of a name that are shown.
const NAME: usize = 120;

impl FlowLine {
    /// Numbers of packets to look at: the first one, and those behind the reasons.
    pub fn packets_to_look_at(&self) -> Vec<u64> {
        let first = Some(self.first_packet).filter(|first| *first > 0);
        let mut all: Vec<u64> = self.evidence.iter().copied().chain(first).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Of a flow, with the engine's numbers of packets.
    pub(crate) fn of(detection: &Detection<'_>, templates: &[Arc<str>]) -> Self {
        let (flow, pipeline, scored) = (detection.flow, detection.pipeline, detection.scored);
        let [there, back] = &flow.stats;
        let explanation = scored.map(|scored| &scored.explanation);
        let explained = explanation.map(|explanation| explanation.reasons.as_slice()).unwrap_or_default();
        let behind = explanation.into_iter().flat_map(|explanation| explanation.packets(flow, pipeline.schema()));
        let mut evidence: Vec<u64> = behind.collect();
        evidence.sort_unstable();
        evidence.dedup();
        Self {
            id: flow.id,
            first_ns: flow.first_ns,
            originator: flow.originator,
            responder: flow.responder,
            protocol: flow.protocol,
            template: flow.template.and_then(|at| templates.get(usize::from(at)).cloned()),
            name: server_name(flow, NAME).map(|name| plain(&name)).unwrap_or_default().into(),
            judged: OfFlow {
                verdict: scored.and_then(|scored| scored.verdict),
                score: scored.and_then(|scored| scored.score),
                novelty: scored.and_then(|scored| scored.novelty),
                novel: scored.map(|scored| pipeline.is_novel(scored.novelty)),
                category: detection.category.map(|said| said.category),
            },
            reasons: explained
                .iter()
                .map(|reason| plain(&reason_words(reason, pipeline.schema(), pipeline.card())))
                .chain(detection.category.iter().flat_map(|said| &said.reasons).map(|reason| plain(&reason.words)))
                .map(String::into_boxed_str)
                .collect(),
            packets: [there.packets, back.packets],
            bytes: [there.bytes, back.bytes],
            evidence: evidence.into(),
            first_packet: flow.first_packet,
        }
    }
}
