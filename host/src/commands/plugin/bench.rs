//! How long plugins take.
//!
//! A figure is the median of several rounds after a warm-up, and each round is many calls; it takes about two seconds.
//! Plugins are called as a run calls them, in batches, but without the guard and the clock that a run puts around them.

use super::show::{self, Format};
use anyhow::{Context, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use veilwatch::engine::{self, Detection, Pipeline, Progress as RunProgress, RunOptions, Sink};
use veilwatch::plugins::Origin;
use veilwatch::source::{Block, Source};
use veilwatch_core::abi::{export, import};
use veilwatch_core::feature::{FlowBatch, Rows, RowsMut};
use veilwatch_core::flow::{FlowLimits, FlowRecord, FlowTable};
use veilwatch_core::packet::{Decoded, decode};
use veilwatch_core::plugin::{
    Classifier, Declaration, FeatureExtractor, Instance, PluginError, PluginKind, Probe, Progress, ProtocolTemplate,
    RecordSink, Settings, StreamView, TrainingSet,
};
use veilwatch_core::record::{FieldId, FieldSpec, FieldTable};
use veilwatch_testkit::flows::variety;
use veilwatch_testkit::talk::Talk;

/// Flows of one call, as in a run.
const BATCH: usize = 256;
/// Packets of a capture that are used at most.
const PACKETS: u64 = 100_000;
/// Rows that a classifier learns from.
const LESSON: usize = 512;
/// Time before anything is counted, and time that is counted.
const WARM_UP: Duration = Duration::from_millis(300);
const MEASURED: Duration = Duration::from_millis(1700);
/// Least time of one round: short ones measure the clock.
const ROUND: Duration = Duration::from_millis(40);

/// Arguments of `veilwatch plugin bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The path of a library, or a plugin in the box such as `feature/splt`.
    #[arg(value_name = "PATH|KIND/NAME")]
    plugin: PathBuf,
    /// Capture whose flows are used, instead of those of the test kit.
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
    /// Its settings as TOML, such as 'key = 1'.
    #[arg(long, value_name = "TOML", default_value = "")]
    settings: String,
    /// How to write it; by default a table on a terminal and JSON Lines elsewhere.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// One figure.
#[derive(Debug, Serialize)]
struct Figure {
    plugin: String,
    /// Which calls.
    calls: &'static str,
    /// `direct`, `adapter` (linked in, but called as a library is) or `library`.
    boundary: &'static str,
    /// What the nanoseconds are for: a flow, or a byte of payload.
    per: &'static str,
    nanoseconds: f64,
    /// The fastest and the slowest round.
    fastest: f64,
    slowest: f64,
    rounds: usize,
    /// Flows that were used, again and again.
    flows: usize,
}

/// What plugins are called with.
struct Material {
    blocks: Vec<Block>,
    talks: Vec<Talk>,
    flows: Vec<FlowRecord>,
    pipeline: Pipeline,
    /// For people: what it is.
    words: String,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let material = Material::new(args.capture.as_deref())?;
    let (_, mut registry) = super::super::prepare(None)?;
    let mut figures = Vec::new();
    for (declaration, origin) in super::declarations(&args.plugin, &mut registry)? {
        let sides: &[&'static str] = if origin == Origin::Builtin { &["direct", "adapter"] } else { &["library"] };
        for side in sides {
            let make = || -> Result<Instance, PluginError> {
                let instance = (declaration.create)(Settings::new(&args.settings))?;
                Ok(if *side == "adapter" { import::unwrap(export::wrap(instance)) } else { instance })
            };
            let found = export::guard(|| measure(&declaration, side, make()?, &material));
            figures.extend(found.with_context(|| declaration.manifest.path())?);
        }
    }
    if show::for_people(args.format) {
        let cells = |figure: &Figure| {
            let Figure { nanoseconds, fastest, slowest, rounds, .. } = figure;
            [
                figure.plugin.clone(),
                figure.calls.to_owned(),
                figure.boundary.to_owned(),
                format!("{nanoseconds:.1} ns/{}", figure.per),
                format!("{fastest:.1} – {slowest:.1} in {rounds} rounds"),
            ]
        };
        let header = ["plugin", "calls", "boundary", "median", "fastest – slowest"];
        show::text(&show::grid(header, figures.iter().map(cells)))?;
        show::text(&format!(
            "{}; median of rounds of {} ms or more after {} ms of warm-up, one thread, {} build of this program",
            material.words,
            ROUND.as_millis(),
            WARM_UP.as_millis(),
            if cfg!(debug_assertions) { "debug" } else { "release" }
        ))?;
    } else {
        show::lines(&figures)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Material {
    fn new(capture: Option<&Path>) -> Result<Self> {
        let (config, mut registry) = super::super::prepare(None)?;
        let pipeline = Pipeline::untrained(config, &mut registry)?;
        let Some(path) = capture else {
            let flows = variety(LESSON, pipeline.fields());
            let talks = talks();
            let words = format!("{} flows and {} conversations of the test kit", flows.len(), talks.len());
            return Ok(Self { blocks: Vec::new(), talks, flows, pipeline, words });
        };
        let (stop, progress) = (AtomicBool::new(false), RunProgress::default());
        let options = RunOptions { workers: 1, packets: Some(PACKETS), stop: &stop, progress: &progress };
        let mut kept = Kept::default();
        let open = || Source::open(path, &pipeline.config().input);
        engine::run(&pipeline, open()?, options, &mut kept)?;
        let (mut blocks, mut packets, mut source) = (Vec::new(), 0, open()?);
        while packets < PACKETS
            && let Some(block) = source.next_block(None)?
        {
            packets += block.len() as u64;
            blocks.push(block);
        }
        let words = format!("{} scored flows and {packets} packets of {}", kept.0.len(), path.display());
        Ok(Self { blocks, talks: Vec::new(), flows: kept.0, pipeline, words })
    }

    /// All packets, in order, with number and time.
    fn packets(&self) -> Vec<(u64, u64, Decoded<'_>)> {
        let captured = self.blocks.iter().flat_map(Block::packets);
        let captured = captured.filter_map(|packet| Some((packet.number, packet.time_ns, decode(&packet).ok()?)));
        let talked = self.talks.iter().flat_map(|talk| talk.packets().iter().map(move |packet| (talk, packet)));
        let talked = talked.zip(1..).map(|((talk, packet), number)| (number, packet.time_ns, talk.decoded(packet)));
        captured.chain(talked).collect()
    }
}

/// Scored flows of a run.
#[derive(Default)]
struct Kept(Vec<FlowRecord>);

impl Sink for Kept {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        if detection.scored.is_some() {
            self.0.push(detection.flow.clone());
        }
        Ok(())
    }
}

/// Conversations of several protocols, so that a template meets its own and others.
fn talks() -> Vec<Talk> {
    // A ClientHello of TLS 1.2 with one cipher suite.
    let mut hello = b"\x16\x03\x01\0\x32\x01\0\0\x2e\x03\x03".to_vec();
    hello.extend([7; 32]);
    hello.extend(b"\0\0\x02\x13\x01\x01\0\0\0");
    let said: [(bool, &[u8], &[u8]); 4] = [
        (true, b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
        (true, b"SSH-2.0-OpenSSH_9.6\r\n", b"SSH-2.0-dropbear_2022.83\r\n"),
        (true, &hello, b"\x15\x03\x03\0\x02\x02\x28"),
        (false, b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x02bc\0\0\x01\0\x01", b"\x12\x34\x81\x83"),
    ];
    (0..64)
        .flat_map(|at| said.iter().map(move |said| (at, *said)))
        .map(|(at, (tcp, forward, backward))| {
            let talk = if tcp { Talk::tcp() } else { Talk::udp() };
            let talk = talk.between(&format!("10.0.0.1:{}", 40_000 + at), "192.0.2.1:443");
            let talk = if tcp { talk.open() } else { talk };
            let talk = talk.forward(forward).wait_ms(20).backward(backward);
            if tcp { talk.close() } else { talk }
        })
        .collect()
}

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

fn measure(
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
    let packets = material.packets();
    let bytes: usize = packets.iter().map(|(_, _, packet)| packet.payload.len()).sum();
    let spent = Arc::new(Spent::default());
    let templates: Vec<Box<dyn ProtocolTemplate>> =
        vec![Box::new(Clocked { inner: plugin, spent: Arc::clone(&spent) })];
    let mut pass = || {
        spent.reset();
        let mut table = FlowTable::new(FlowLimits::default(), 1);
        packets.iter().for_each(|(number, time, packet)| table.push(*number, *time, packet, &templates));
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
    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        self.spent.time(|| self.inner.parse(stream, out))
    }
}
