//! What every plugin in the box keeps to: stable columns, finite numbers, no dependence on batches, and the same bytes
//! through the boundary that dropped-in plugins come through.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;

use common::example;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use veilwatch::builtin;
use veilwatch::config::Config;
use veilwatch::engine::{Detection, Pipeline, Progress, RunOptions, Sink, run};
use veilwatch::plugins::Registry;
use veilwatch::source::Source;
use veilwatch_core::abi::{export, import};
use veilwatch_core::feature::{FlowBatch, RowsMut};
use veilwatch_core::flow::FlowRecord;
use veilwatch_core::plugin::{FeatureExtractor, Instance, PluginKind, Settings};
use veilwatch_core::record::FieldTable;

#[derive(Default)]
struct Flows(Vec<FlowRecord>);

impl Sink for Flows {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        self.0.push(detection.flow.clone());
        Ok(())
    }
}

fn flows(captures: &[&str]) -> Vec<FlowRecord> {
    let pipeline = Pipeline::untrained(Config::builtin().unwrap(), &mut Registry::with_builtins().unwrap()).unwrap();
    let (stop, progress) = (AtomicBool::new(false), Progress::default());
    let mut flows = Flows::default();
    for capture in captures {
        let source = Source::open(&example(capture), &pipeline.config().input).unwrap();
        let options = RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress };
        run(&pipeline, source, options, &mut flows).unwrap();
    }
    flows.0
}

/// Rows of some flows, extracted `at_once` at a time.
fn rows(extractor: &dyn FeatureExtractor, flows: &[FlowRecord], at_once: usize) -> Vec<f32> {
    let width = extractor.columns().len();
    let mut rows = Vec::new();
    for batch in flows.chunks(at_once) {
        let picked: Vec<&FlowRecord> = batch.iter().collect();
        let source = picked.as_slice();
        let mut part = vec![f32::NAN; batch.len() * width];
        extractor.extract(&FlowBatch::new(&source), &mut RowsMut::new(&mut part, width, 0, width)).unwrap();
        rows.extend(part);
    }
    rows
}

fn bits(rows: &[f32]) -> Vec<u32> {
    rows.iter().map(|value| value.to_bits()).collect()
}

fn extractor(instance: Instance) -> Box<dyn FeatureExtractor> {
    let Instance::Feature(mut extractor) = instance else { panic!("no extractor") };
    extractor.wire(&FieldTable::new()).unwrap();
    extractor
}

#[test]
fn extractors_keep_the_contract() {
    let flows = flows(&["first-run.pcap", "benign-office.pcapng", "benign-odd.pcap", "malicious-beacon-tls13.pcap"]);
    assert!(flows.len() > 100);
    let mut checked = 0;
    for declaration in builtin::declarations() {
        if declaration.manifest.kind != PluginKind::Feature {
            continue;
        }
        let name = declaration.manifest.path();
        let make = || (declaration.create)(Settings::new("")).unwrap();
        let direct = extractor(make());
        let columns = direct.columns();
        assert_eq!(columns, extractor(make()).columns(), "{name}: columns change");
        for column in &columns {
            assert!(!column.words.is_empty() && !column.unit.is_empty(), "{name}: {column:?}");
            let plain = column.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            assert!(plain, "{name}: `{}`", column.name);
        }
        let all = rows(&*direct, &flows, 1000);
        assert_eq!(bits(&all), bits(&rows(&*direct, &flows, 1000)), "{name}: twice is not the same");
        assert_eq!(bits(&all), bits(&rows(&*direct, &flows, 1)), "{name}: rows depend on the batch");
        let foreign = extractor(import::unwrap(export::wrap(make())));
        assert_eq!(foreign.columns(), columns, "{name}: columns through the boundary");
        assert_eq!(bits(&all), bits(&rows(&*foreign, &flows, 100)), "{name}: rows through the boundary");
        let infinite = all.iter().position(|value| value.is_infinite());
        assert_eq!(infinite.map(|at| &columns[at % columns.len()].name), None, "{name}");
        let unknown = (declaration.create)(Settings::new("no_such_key = 1"));
        assert!(unknown.is_err(), "{name}: takes unknown settings");
        checked += 1;
    }
    assert_eq!(checked, 7);
}

/// A few values that one can check by hand in any packet browser.
#[test]
fn values_by_hand() {
    let pipeline = Pipeline::untrained(Config::builtin().unwrap(), &mut Registry::with_builtins().unwrap()).unwrap();
    let flows = flows(&["benign-odd.pcap"]);
    let picked: Vec<&FlowRecord> = flows.iter().filter(|flow| pipeline.scores(flow)).collect();
    let all = pipeline.extract(&picked).unwrap();
    let width = pipeline.schema().width();
    let named = |at: usize| -> BTreeMap<&str, f32> {
        pipeline.schema().columns().iter().map(|c| c.name.as_ref()).zip(all[at * width..].iter().copied()).collect()
    };
    let to = |address: &str| -> Vec<usize> {
        (0..picked.len()).filter(|at| picked[*at].responder.ip().to_string() == address).collect()
    };
    // The update agent: TLS 1.3, so no certificate in the clear; a flow every ten seconds.
    let agent = to("192.0.2.90");
    assert_eq!(agent.len(), 20);
    let last = named(*agent.last().unwrap());
    assert_eq!(last["name.length"] as usize, "update.orchard-agent.example".len());
    assert_eq!((last["name.labels"], last["name.hyphens"], last["name.present"]), (3.0, 1.0, 1.0));
    assert_eq!((last["certificate.present"], last["handshake.server_version"] as u16), (0.0, 0x0304));
    assert!(last["certificate.validity"].is_nan());
    assert_eq!(last["conversation.earlier"], 19.0);
    assert!((last["conversation.gap_mean"] - 10.0).abs() < 0.5, "{}", last["conversation.gap_mean"]);
    assert!(last["conversation.gap_variation"] < 0.1);
    let first = named(agent[0]);
    assert_eq!(first["conversation.earlier"], 0.0);
    assert!(first["conversation.gap"].is_nan());
    // The router: TLS 1.2, self-signed, reached by address.
    let router = named(to("192.168.56.1")[0]);
    assert_eq!((router["name.present"], router["handshake.server_version"] as u16), (0.0, 0x0303));
    assert_eq!((router["certificate.present"], router["certificate.self_signed"]), (1.0, 1.0));
    assert_eq!((router["certificate.chain_length"], router["certificate.transparency"]), (1.0, 0.0));
    assert!(router["name.length"].is_nan());
    assert_eq!(router["flow.port_https"], 1.0);
}
