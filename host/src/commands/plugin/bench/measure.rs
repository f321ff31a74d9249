//! How a figure is got: the calls of a run, in rounds, with a clock around them.

use super::Figure;
use super::material::Material;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use veilwatch_core::feature::{FlowBatch, Rows, RowsMut};
use veilwatch_core::flow::{FlowLimits, FlowRecord, FlowTable, Templates};
use veilwatch_core::plugin::{
    Classifier, Declaration, FeatureExtractor, Instance, PluginError, PluginKind, Probe, Progress, ProtocolTemplate,
    RecordSink, StreamView, TrainingSet,
};
use veilwatch_core::record::{FieldId, FieldSpec, FieldTable};

/// Flows of one call, as in a run.
const BATCH: usize = 256;
/// Rows that a classifier learns from.
pub(super) const LESSON: usize = 512;
/// Time before anything is counted.
pub(super) const WARM_UP: Duration = Duration::from_millis(300);
/// Time that is counted.
const MEASURED: Duration = Duration::from_millis(1700);
/// Least time of one round: short ones measure the clock.
pub(super) const ROUND: Duration = Duration::from_millis(40);

/// What a figure is of.
struct Naming {
    plugin: String,
    boundary: &'static str,
    flows: usize,
}

impl Naming {
    fn figure(&self, calls: &'static str, per: &'static str, mut rounds: Vec<f64>) -> Figure {
        rounds.sort_by(f64::total_cmp);
        let at = |at: usize| rounds.get(at).copied().unwrap_or(f64::NAN);
        Figure {
            plugin: self.plugin.clone(),
            calls,
            boundary: self.boundary,
            per,
            nanoseconds: at(rounds.len() / 2),
            fastest: at(0),
            slowest: at(rounds.len().saturating_sub(1)),
            rounds: rounds.len(),
            flows: self.flows,
        }
    }
}

pub(super) fn measure(
    declaration: &Declaration,
    boundary: &'static str,
    instance: Instance,
    material: &Material,
) -> Result<Vec<Figure>, PluginError> {
    let naming = Naming { plugin: declaration.manifest.path(), boundary, flows: material.flows.len() };
    if naming.flows == 0 && instance.kind() != PluginKind::Protocol {
        return Err(PluginError::data("the capture has no flow that is scored; give one with TLS"));
    }
    match instance {
        Instance::Feature(plugin) => extractor(plugin, material, &naming),
        Instance::Classifier(plugin) => classifier(plugin, material, &naming),
        Instance::Protocol(plugin) => template(plugin, material, naming),
    }
}

/// Repeats a piece of work and gives what each round took, in nanoseconds for each of `units`.
fn rounds(units: usize, mut work: impl FnMut() -> Result<Duration, PluginError>) -> Result<Vec<f64>, PluginError> {
    let begin = Instant::now();
    while begin.elapsed() < WARM_UP {
        work()?;
    }
    let (begin, mut found) = (Instant::now(), Vec::new());
    while found.is_empty() || begin.elapsed() < MEASURED {
        let (round, mut took, mut times) = (Instant::now(), Duration::ZERO, 0_u32);
        while times == 0 || round.elapsed() < ROUND {
            took += work()?;
            times += 1;
        }
        found.push(took.as_nanos() as f64 / f64::from(times) / units.max(1) as f64);
    }
    Ok(found)
}

/// How long some work takes.
fn timed(work: impl FnOnce() -> Result<(), PluginError>) -> Result<Duration, PluginError> {
    let begin = Instant::now();
    work()?;
    Ok(begin.elapsed())
}

fn extractor(
    mut plugin: Box<dyn FeatureExtractor>,
    material: &Material,
    naming: &Naming,
) -> Result<Vec<Figure>, PluginError> {
    plugin.wire(material.pipeline.fields())?;
    let width = plugin.columns().len();
    let flows: Vec<&FlowRecord> = material.flows.iter().collect();
    let mut values = vec![f32::NAN; BATCH * width];
    let found = rounds(flows.len(), || {
        timed(|| {
            flows.chunks(BATCH).try_for_each(|batch| {
                let rows = &mut values[..batch.len() * width];
                plugin.extract(&FlowBatch::new(&batch), &mut RowsMut::new(rows, width, 0, width))
            })
        })
    })?;
    Ok(vec![naming.figure("extract", "flow", found)])
}

fn classifier(
    mut plugin: Box<dyn Classifier>,
    material: &Material,
    naming: &Naming,
) -> Result<Vec<Figure>, PluginError> {
    let flows: Vec<&FlowRecord> = material.flows.iter().collect();
    let width = material.pipeline.schema().width();
    let rows = material.pipeline.extract(&flows).map_err(|error| PluginError::failed(error.to_string()))?;
    // What it learns does not matter here, only that there is something to go through.
    let many = flows.len().min(LESSON);
    let labels: Vec<bool> = (0..many).map(|at| at % 2 == 0).collect();
    let lesson = Rows::new(&rows[..many * width], width);
    plugin.fit(&TrainingSet { rows: lesson, labels: &labels, weights: &vec![1.0; many], seed: 1 })?;
    let mut scores = vec![f64::NAN; BATCH];
    let predict = rounds(flows.len(), || {
        timed(|| {
            rows.chunks(BATCH * width).try_for_each(|batch| {
                let batch = Rows::new(batch, width);
                plugin.predict(&batch, &mut scores[..batch.len()])
            })
        })
    })?;
    let mut parts = vec![0.0; width];
    let explain =
        rounds(flows.len(), || timed(|| rows.chunks(width).try_for_each(|row| plugin.explain(row, &mut parts))))?;
    Ok(vec![naming.figure("predict", "flow", predict), naming.figure("explain", "flow", explain)])
}

fn template(
    mut plugin: Box<dyn ProtocolTemplate>,
    material: &Material,
    mut naming: Naming,
) -> Result<Vec<Figure>, PluginError> {
    let mut fields = FieldTable::new();
    let ids: Result<Vec<FieldId>, _> = plugin.fields().into_iter().map(|spec| fields.declare(spec, "bench")).collect();
    plugin.wire(&ids.map_err(|error| PluginError::failed(error.to_string()))?)?;
    let mut bytes = 0;
    material.each_packet(|_, _, packet| bytes += packet.payload.len());
    let spent = Arc::new(Spent::default());
    let templates = Templates::new(vec![Box::new(Clocked { inner: plugin, spent: Arc::clone(&spent) })]);
    let mut pass = || {
        spent.reset();
        let mut table = FlowTable::new(FlowLimits::default(), 1);
        material.each_packet(|number, time, packet| table.push(number, time, packet, &templates));
        table.finish_all(0, &templates);
        naming.flows = table.take_finished().len();
        Ok(spent.reading())
    };
    pass()?;
    let found = rounds(1, pass)?;
    let per = |units: usize| found.iter().map(|took| took / units.max(1) as f64).collect::<Vec<f64>>();
    let (by_flow, by_byte) = (per(naming.flows), per(bytes));
    Ok(vec![naming.figure("probe and parse", "flow", by_flow), naming.figure("probe and parse", "byte", by_byte)])
}

/// Time spent in a template.
#[derive(Default)]
struct Spent {
    nanoseconds: AtomicU64,
    calls: AtomicU64,
}

impl Spent {
    fn time<T>(&self, call: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let out = call();
        self.nanoseconds.fetch_add(begin.elapsed().as_nanos() as u64, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
        out
    }

    fn reset(&self) {
        self.nanoseconds.store(0, Ordering::Relaxed);
        self.calls.store(0, Ordering::Relaxed);
    }

    /// What was spent, less what looking at the clock takes.
    fn reading(&self) -> Duration {
        let calls = self.calls.load(Ordering::Relaxed);
        let empty = Self::default();
        (0..calls).for_each(|_| empty.time(|| ()));
        let [spent, clock] = [self, &empty].map(|spent| spent.nanoseconds.load(Ordering::Relaxed));
        Duration::from_nanos(spent.saturating_sub(clock))
    }
}

/// A template whose calls are timed, and nothing of the flow table around it.
struct Clocked {
    inner: Box<dyn ProtocolTemplate>,
    spent: Arc<Spent>,
}

impl ProtocolTemplate for Clocked {
    fn fields(&self) -> Vec<FieldSpec> {
        self.inner.fields()
    }
    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.inner.wire(ids)
    }
    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        self.spent.time(|| self.inner.probe(stream))
    }
    fn try_probe(&self, stream: &StreamView<'_>) -> Result<Probe, PluginError> {
        self.spent.time(|| self.inner.try_probe(stream))
    }
    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        self.spent.time(|| self.inner.parse(stream, out))
    }
}
