//! What each stage of a run costs by itself: reading, decoding, the flow table, stream prefixes, TLS, features, scoring.
//!
//! `cargo bench -p veilwatch --bench stages`; with `VEILWATCH_CAPTURE=FILE` over the first packets of that capture instead
//! of an example's. Figures are for one thread. The example is small, so that its flows lie in the processor's caches;
//! those of a capture with very many flows do not, and its flow table takes several times as long.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a bench is a test")]

use criterion::{
    BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use veilwatch::config::Config;
use veilwatch::engine::{Detection, Pipeline, Progress, RunOptions, Sink, run};
use veilwatch::model::Model;
use veilwatch::plugins::Registry;
use veilwatch::source::{Block, Source};
use veilwatch_core::feature::Rows;
use veilwatch_core::flow::{FlowRecord, FlowTable, Templates};
use veilwatch_core::packet::{Decoded, Packet, decode};
use veilwatch_core::plugin::{Classifier, Instance, Settings};
use veilwatch_core::stream::{PrefixLimits, Spare, StreamPrefix};

/// Packets of a capture that are used at most.
const PACKETS: u64 = 200_000;

/// A capture in memory, and what the stages before each stage make of it.
struct Material {
    path: PathBuf,
    pipeline: Pipeline,
    blocks: Vec<Block>,
    classifier: Box<dyn Classifier>,
}

/// Flows that are scored.
#[derive(Default)]
struct Kept(Vec<FlowRecord>);

impl Sink for Kept {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        self.0.extend(detection.scored.map(|_| detection.flow.clone()));
        Ok(())
    }
}

impl Material {
    fn new() -> Self {
        let example = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/captures/benign-office.pcapng");
        let path = std::env::var_os("VEILWATCH_CAPTURE").map_or_else(example, PathBuf::from);
        let mut registry = Registry::with_builtins().unwrap();
        let pipeline = Pipeline::new(Config::builtin().unwrap(), &mut registry).unwrap();
        let (kind, settings) = pipeline.classifier().unwrap();
        let Instance::Classifier(mut classifier) = registry.create(kind, Settings::new(settings)).unwrap() else {
            panic!("{kind} is no classifier");
        };
        classifier.load(&Model::builtin().unwrap().weights).unwrap();
        let mut source = Source::open(&path, &pipeline.config().input).unwrap();
        let (mut blocks, mut packets) = (Vec::new(), 0);
        while packets < PACKETS
            && let Some(block) = source.next_block(None).unwrap()
        {
            packets += block.len() as u64;
            blocks.push(block);
        }
        Self { path, pipeline, blocks, classifier }
    }

    fn packets(&self) -> impl Iterator<Item = Packet<'_>> {
        self.blocks.iter().flat_map(Block::packets)
    }

    fn decoded(&self) -> Vec<(u64, u64, Decoded<'_>)> {
        self.packets().filter_map(|packet| Some((packet.number, packet.time_ns, decode(&packet).ok()?))).collect()
    }

    fn scored(&self) -> Vec<FlowRecord> {
        let (stop, progress, mut kept) = (AtomicBool::new(false), Progress::default(), Kept::default());
        let options = RunOptions { workers: 1, packets: Some(PACKETS), stop: &stop, progress: &progress };
        let source = Source::open(&self.path, &self.pipeline.config().input).unwrap();
        run(&self.pipeline, source, options, &mut kept).unwrap();
        kept.0
    }
}

/// All packets through one flow table, to the end of every flow.
fn flows(material: &Material, packets: &[(u64, u64, Decoded<'_>)], templates: &Templates) -> usize {
    let mut table = FlowTable::new(material.pipeline.config().flows.clone(), 1);
    for (number, time_ns, packet) in packets {
        table.push(*number, *time_ns, packet, templates);
    }
    table.finish_all(u64::MAX / 2, templates);
    table.take_finished().len()
}

/// TCP segments with payload, by flow and direction, in the order of the capture.
fn segments<'a>(packets: &[(u64, u64, Decoded<'a>)]) -> Vec<Vec<(u32, &'a [u8], u64)>> {
    let mut streams: HashMap<_, Vec<_>> = HashMap::new();
    for (number, _, packet) in packets {
        if let Some(tcp) = packet.tcp.filter(|_| !packet.payload.is_empty()) {
            let key = (packet.src, packet.src_port, packet.dst, packet.dst_port);
            streams.entry(key).or_default().push((tcp.seq, packet.payload, *number));
        }
    }
    streams.into_values().collect()
}

fn stages(criterion: &mut Criterion) {
    let material = Material::new();
    let packets = material.decoded();
    let count = material.packets().count() as u64;
    let bytes = material.packets().map(|packet| packet.data.len() as u64).sum::<u64>();
    let input = &material.pipeline.config().input;

    let mut group = criterion.benchmark_group("bytes");
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function("read", |bench| {
        bench.iter(|| {
            let mut source = Source::open(&material.path, input).unwrap();
            let (mut seen, mut spare) = (0, None);
            while let Some(block) = source.next_block(spare.take()).unwrap().filter(|_| seen < count) {
                seen += block.len() as u64;
                spare = Some(block);
            }
            seen
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("packets");
    group.throughput(Throughput::Elements(count));
    group.bench_function("decode", |bench| {
        bench.iter(|| material.packets().filter(|packet| decode(packet).is_ok()).count());
    });
    group.throughput(Throughput::Elements(packets.len() as u64));
    group.bench_function("flow table", |bench| bench.iter(|| flows(&material, &packets, &Templates::default())));
    group.bench_function("flow table with the templates", |bench| {
        bench.iter(|| flows(&material, &packets, material.pipeline.templates()));
    });
    group.finish();

    let streams = segments(&packets);
    let mut group = criterion.benchmark_group("segments");
    group.throughput(Throughput::Elements(streams.iter().map(|stream| stream.len() as u64).sum()));
    prefixes(&mut group, &streams);
    group.finish();

    let scored = material.scored();
    let rows = material.pipeline.extract(&scored.iter().collect::<Vec<_>>()).unwrap();
    let mut group = criterion.benchmark_group("scored flows");
    group.throughput(Throughput::Elements(scored.len() as u64));
    group.bench_function("features", |bench| {
        bench.iter_batched(
            || scored.iter().collect::<Vec<_>>(),
            |flows| material.pipeline.extract(&flows).unwrap(),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("score", |bench| {
        let mut scores = vec![f64::NAN; scored.len()];
        let rows = Rows::new(&rows, material.pipeline.schema().width());
        bench.iter(|| material.classifier.predict(&rows, &mut scores).unwrap());
    });
    group.finish();
}

/// Beginnings of streams, kept in TCP order.
fn prefixes(group: &mut BenchmarkGroup<'_, WallTime>, streams: &[Vec<(u32, &[u8], u64)>]) {
    let limits = PrefixLimits { bytes: 16_384, waiting: 32 };
    group.bench_function("stream prefix", |bench| {
        let mut spare = Spare::default();
        bench.iter(|| {
            let mut kept = 0;
            for stream in streams {
                let mut pair = spare.pair();
                let prefix: &mut StreamPrefix = &mut pair[0];
                for (seq, payload, number) in stream {
                    prefix.push(*seq, payload, false, *number, limits, &mut spare);
                }
                kept += prefix.bytes().len();
                spare.give_pair(pair);
            }
            kept
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = stages
}
criterion_main!(benches);
