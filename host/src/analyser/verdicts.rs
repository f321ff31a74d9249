use crate::engine::{self, Detection, Pipeline, Progress, RunError, RunOptions, Sink, Summary};
use crate::output::{plain, reason_words, server_name};
use crate::source::Source;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use veilwatch_core::detect::{Category, Verdict};

/// A flow as the pipeline judges it.
#[derive(Debug, Clone)]
pub struct FlowLine {
    /// Its id, as results have it.
    pub id: u64,
    /// Packet time of its first packet in nanoseconds since 1970.
    pub first_ns: u64,
    /// Who opened it.
    pub originator: SocketAddr,
    /// With whom.
    pub responder: SocketAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// What the template is called that recognised it.
    pub template: Option<String>,
    /// The name that was asked for.
    pub name: String,
    /// What the model says.
    pub verdict: Option<Verdict>,
    /// How sure it is.
    pub score: Option<f64>,
    /// What it is for.
    pub category: Option<Category>,
    /// Why, in words.
    pub reasons: Vec<String>,
    /// Packets and bytes of IP, of the originator and of the responder.
    pub packets: [u64; 2],
    /// The bytes.
    pub bytes: [u64; 2],
    /// Numbers of packets to look at, the first one of the flow among them.
    pub evidence: Vec<u64>,
}

/// Flows with their verdicts, as they are found.
#[derive(Debug, Default)]
pub struct Verdicts {
    flows: Mutex<Vec<FlowLine>>,
}

impl Verdicts {
    /// Flows that are kept; of more it is only known how many there are.
    pub const MOST: usize = 1_000_000;

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
        engine::run(pipeline, source, options, &mut Into(self))
    }

    /// Flows that were found so far.
    pub fn len(&self) -> usize {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Looks at them.
    pub fn with<T>(&self, look: impl FnOnce(&[FlowLine]) -> T) -> T {
        look(&self.flows.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Into<'v>(&'v Verdicts);

impl Sink for Into<'_> {
    fn flow(&mut self, detection: &Detection<'_>) -> io::Result<()> {
        let mut flows = self.0.flows.lock().unwrap_or_else(PoisonError::into_inner);
        if flows.len() >= Verdicts::MOST {
            return Ok(());
        }
        flows.push(FlowLine::of(detection));
        Ok(())
    }
}

/// Bytes of a name that are shown.
const NAME: usize = 120;

impl FlowLine {
    fn of(detection: &Detection<'_>) -> Self {
        let (flow, pipeline, scored) = (detection.flow, detection.pipeline, detection.scored);
        let [there, back] = &flow.stats;
        let explanation = scored.map(|scored| &scored.explanation);
        let explained = explanation.map(|explanation| explanation.reasons.as_slice()).unwrap_or_default();
        let behind = explanation.into_iter().flat_map(|explanation| explanation.packets(flow, pipeline.schema()));
        let mut evidence: Vec<u64> = behind.chain([flow.first_packet]).collect();
        evidence.sort_unstable();
        evidence.dedup();
        let end = |end: &veilwatch_core::flow::Endpoint| SocketAddr::new(end.ip(), end.port);
        Self {
            id: flow.id,
            first_ns: flow.first_ns,
            originator: end(&flow.originator),
            responder: end(&flow.responder),
            protocol: flow.protocol,
            template: flow.template.and_then(|at| pipeline.template_ids().get(usize::from(at)).cloned()),
            name: server_name(flow, NAME).map(|name| plain(&name)).unwrap_or_default(),
            verdict: scored.and_then(|scored| scored.verdict),
            score: scored.and_then(|scored| scored.score),
            category: detection.category.map(|said| said.category),
            reasons: explained
                .iter()
                .map(|reason| plain(&reason_words(reason, pipeline.schema(), pipeline.card())))
                .chain(detection.category.iter().flat_map(|said| &said.reasons).map(|reason| plain(&reason.words)))
                .collect(),
            packets: [there.packets, back.packets],
            bytes: [there.bytes, back.bytes],
            evidence,
        }
    }
}
