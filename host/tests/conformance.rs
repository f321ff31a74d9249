//! What every plugin keeps to, those in the box and the examples: stable columns, finite numbers, no dependence on
//! batches, nothing but errors for junk, and the same bytes through the boundary that dropped-in plugins come through.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;

// Of libraries that export themselves a program can link only one: these two come without the line that exports them.
#[allow(unreachable_pub, dead_code, reason = "in its own crate it is public")]
#[path = "../../examples/plugins/nearest-mean/src/nearest_mean.rs"]
mod nearest_mean;
#[allow(unreachable_pub, dead_code, reason = "in its own crate it is public")]
#[path = "../../examples/plugins/ssh-greeting/src/greeting.rs"]
mod ssh_greeting;

use common::example;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use veilwatch::builtin;
use veilwatch::config::Config;
use veilwatch::engine::{Detection, Pipeline, Progress, RunOptions, Sink, run};
use veilwatch::plugins::Registry;
use veilwatch::source::Source;
use veilwatch_core::abi::{export, import};
use veilwatch_core::feature::{FlowBatch, Rows, RowsMut};
use veilwatch_core::flow::{Direction, FlowLimits, FlowRecord, FlowTable};
use veilwatch_core::packet::{Decoded, Tcp};
use veilwatch_core::plugin::{
    Classifier, Declaration, FeatureExtractor, Instance, PluginKind, ProtocolTemplate, Settings, TrainingSet,
};
use veilwatch_core::record::FieldTable;

/// All plugins of a kind, in the box and among the examples.
fn declarations(kind: PluginKind) -> Vec<Declaration> {
    let all = [
        builtin::declarations(),
        ssh_greeting::declarations(),
        veilwatch_example_sent_share::declarations(),
        nearest_mean::declarations(),
    ];
    all.into_iter().flatten().filter(|declaration| declaration.manifest.kind == kind).collect()
}

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
    for declaration in declarations(PluginKind::Feature) {
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
    assert_eq!(checked, 8);
}

fn template(instance: Instance, fields: &mut FieldTable) -> Box<dyn ProtocolTemplate> {
    let Instance::Protocol(mut template) = instance else { panic!("no template") };
    let ids: Vec<_> = template.fields().into_iter().map(|spec| fields.declare(spec, "test").unwrap()).collect();
    template.wire(&ids).unwrap();
    template
}

/// What a template makes of two byte streams that come in pieces of some size, in turns; and how often it failed.
fn read(template: Box<dyn ProtocolTemplate>, streams: [&[u8]; 2], piece: usize) -> (FlowRecord, u64) {
    let templates = vec![template];
    let mut table = FlowTable::new(FlowLimits::default(), 1);
    let (mut at, mut number) = ([0; 2], 0);
    while (0..2).any(|side| at[side] < streams[side].len()) {
        for (side, direction) in [Direction::Forward, Direction::Backward].into_iter().enumerate() {
            let payload = &streams[side][at[side]..streams[side].len().min(at[side] + piece)];
            let (from, to) = if direction == Direction::Forward { (1, 2) } else { (2, 1) };
            let packet = Decoded {
                src: [from; 16],
                dst: [to; 16],
                src_port: u16::from(from),
                dst_port: u16::from(to),
                protocol: 6,
                lan: 0,
                ip_len: payload.len() as u32 + 40,
                payload_len: payload.len() as u32,
                tcp: Some(Tcp { seq: 1000 + at[side] as u32, flags: Tcp::ACK }),
                payload,
            };
            number += 1;
            table.push(number, number * 1_000_000, &packet, &templates);
            at[side] += payload.len();
        }
    }
    table.finish_all(0, &templates);
    let errors = table.counters().template_errors;
    (table.take_finished().pop().unwrap(), errors)
}

#[test]
fn templates_keep_the_contract() {
    // A hello that begins well, greetings, and junk: each whole, cut after every byte, and with every byte changed.
    let hello = [&[22, 3, 1, 0, 50, 1, 0, 0, 46, 3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0, 0, 0]].concat();
    let texts: [&[u8]; 4] =
        [&hello, b"SSH-2.0-one two\r\n\0\0", b"Welcome.\r\nSSH-1.99-three\n", b"\xff\0SSH-\n\n\n\r\x16\x03\x01"];
    let mut streams: Vec<Vec<u8>> = Vec::new();
    for text in texts {
        streams.extend((1..=text.len()).map(|end| text[..end].to_vec()));
        streams.extend((0..text.len()).map(|at| {
            let mut changed = text.to_vec();
            changed[at] ^= 0xa5;
            changed
        }));
    }
    let mut recognised = BTreeMap::new();
    for declaration in declarations(PluginKind::Protocol) {
        let name = declaration.manifest.path();
        let make = || (declaration.create)(Settings::new("")).unwrap();
        for (at, stream) in streams.iter().enumerate() {
            let both = [stream.as_slice(), &streams[(at * 7 + 3) % streams.len()]];
            for piece in [1, 9, usize::MAX] {
                let (direct, errors) = read(template(make(), &mut FieldTable::new()), both, piece);
                let (foreign, foreign_errors) =
                    read(template(import::unwrap(export::wrap(make())), &mut FieldTable::new()), both, piece);
                assert_eq!(errors + foreign_errors, 0, "{name}: fails on {both:02x?}");
                assert_eq!(direct.fields, foreign.fields, "{name}: another result through the boundary");
                assert_eq!((direct.template, direct.marks), (foreign.template, foreign.marks), "{name}");
                *recognised.entry(name.clone()).or_insert(0) += usize::from(direct.template.is_some());
            }
        }
        assert!((declaration.create)(Settings::new("no_such_key = 1")).is_err(), "{name}: takes unknown settings");
    }
    assert_eq!(recognised.len(), 2);
    assert!(recognised.values().all(|times| *times > 50), "{recognised:?}");
}

fn classifier(instance: Instance) -> Box<dyn Classifier> {
    let Instance::Classifier(classifier) = instance else { panic!("no classifier") };
    classifier
}

#[test]
fn classifiers_keep_the_contract() {
    // Three columns of 200 rows: the label and some noise, noise, and one that is often missing.
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 16_777_216.0
    };
    let (mut values, mut labels, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for at in 0..200 {
        let label = at % 3 == 0;
        let often = if at % 4 == 0 { noise() } else { f32::NAN };
        values.extend([noise() + f32::from(u8::from(label)), noise(), often]);
        labels.push(label);
        weights.push(0.5 + noise());
    }
    let rows = Rows::new(&values, 3);
    let set = TrainingSet { rows, labels: &labels, weights: &weights, seed: 5 };
    let scores = |classifier: &dyn Classifier| {
        let mut scores = vec![f64::NAN; rows.len()];
        classifier.predict(&rows, &mut scores).unwrap();
        scores
    };
    let mut checked = 0;
    for declaration in declarations(PluginKind::Classifier) {
        let name = declaration.manifest.path();
        let make = || (declaration.create)(Settings::new("")).unwrap();
        let mut direct = classifier(make());
        assert!(
            direct.save().is_err() && direct.predict(&rows, &mut [0.0; 200]).is_err(),
            "{name}: knows from nothing"
        );
        direct.fit(&set).unwrap();
        let (learnt, told) = (direct.save().unwrap(), scores(&*direct));
        assert!(told.iter().all(|score| score.is_finite()), "{name}");
        let mean = |wanted: bool| {
            let some = || told.iter().zip(&labels).filter(|(_, label)| **label == wanted).map(|(score, _)| *score);
            some().sum::<f64>() / some().count() as f64
        };
        assert!(mean(true) > mean(false), "{name}: scores do not grow with malice");

        let mut foreign = classifier(import::unwrap(export::wrap(make())));
        foreign.fit(&set).unwrap();
        assert!(foreign.save().unwrap() == learnt, "{name}: the same rows and seed give other weights");
        let mut loaded = classifier(import::unwrap(export::wrap(make())));
        loaded.load(&learnt).unwrap();
        assert!(scores(&*loaded) == told && loaded.save().unwrap() == learnt, "{name}: loading changes what was saved");

        // The parts and a constant of the model are the score.
        let rest = |at: usize| {
            let mut parts = [f64::NAN; 3];
            loaded.explain(rows.row(at), &mut parts).unwrap();
            told[at] - parts.iter().sum::<f64>()
        };
        assert!((1..200).all(|at| (rest(at) - rest(0)).abs() < 1e-3), "{name}: parts and score differ");

        assert!(
            loaded.predict(&Rows::new(&values, 2), &mut [0.0; 300]).is_err(),
            "{name}: takes rows of another width"
        );
        for cut in [0, 1, 3, learnt.len() / 2, learnt.len() - 1] {
            assert!(loaded.load(&learnt[..cut]).is_err(), "{name}: takes weights cut after {cut} bytes");
        }
        assert!(loaded.load(&[&learnt[..], b"more"].concat()).is_err(), "{name}: takes more than weights");
        // A byte changed is an error or a model, and no model gives what is no number.
        for at in (0..learnt.len()).step_by(learnt.len().div_ceil(300)) {
            let mut changed = learnt.clone();
            changed[at] ^= 0x41;
            let mut scores = [0.0; 200];
            if loaded.load(&changed).is_ok() && loaded.predict(&rows, &mut scores).is_ok() {
                assert!(scores.iter().all(|score| !score.is_nan()), "{name}: byte {at}");
            }
        }
        assert!((declaration.create)(Settings::new("no_such_key = 1")).is_err(), "{name}: takes unknown settings");
        checked += 1;
    }
    assert_eq!(checked, 2);
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
