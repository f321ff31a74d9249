//! One flow has one score: whether it is detected, judged from a labelled folder, or asked about alone, by one worker or
//! eight, to the last bit.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;

use common::{example, root};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use veilwatch::config::Config;
use veilwatch::engine::{Detection, Pipeline, Progress, RunOptions, Sink, run};
use veilwatch::learn::{Loading, load};
use veilwatch::model::Model;
use veilwatch::plugins::Registry;
use veilwatch::source::Source;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::{Instance, Settings};

const CAPTURES: [&str; 3] = ["first-run.pcap", "malicious-beacon-tls12.pcap", "benign-office.pcapng"];

/// First packet, and the bits of score and raw number.
#[derive(Default)]
struct Scores(BTreeMap<u64, (u64, u64)>);

impl Sink for Scores {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        if let Some(scored) = detection.scored.filter(|_| !detection.flow.is_early()) {
            let bits = (scored.score.unwrap().to_bits(), scored.raw.to_bits());
            self.0.insert(detection.flow.first_packet, bits);
        }
        Ok(())
    }
}

fn detected(pipeline: &Pipeline, name: &str, workers: usize) -> BTreeMap<u64, (u64, u64)> {
    let source = Source::open(&example(name), &pipeline.config().input).unwrap();
    let (stop, progress) = (AtomicBool::new(false), Progress::default());
    let mut scores = Scores::default();
    run(pipeline, source, RunOptions { workers, packets: None, stop: &stop, progress: &progress }, &mut scores)
        .unwrap();
    scores.0
}

#[test]
fn a_flow_has_one_score() {
    for config in ["default", "lean"] {
        let mut registry = Registry::with_builtins().unwrap();
        let file = root().join(format!("config/{config}.toml"));
        let pipeline = Pipeline::new(Config::load(&file).unwrap(), &mut registry).unwrap();
        let model = Model::open(&pipeline.config().model).unwrap();
        let (path, settings) = pipeline.classifier().unwrap();
        let Instance::Classifier(mut classifier) = registry.create(path, Settings::new(settings)).unwrap() else {
            panic!()
        };
        classifier.load(&model.weights).unwrap();

        // A labelled folder, as training and evaluation read it.
        let folder = tempfile::tempdir().unwrap();
        let mut table = "path,kind,family,source\n".to_owned();
        for name in CAPTURES {
            std::fs::copy(example(name), folder.path().join(name)).unwrap();
            table += &format!("{name},benign,,{name}\n");
        }
        std::fs::write(folder.path().join("captures.csv"), table).unwrap();
        std::fs::write(
            folder.path().join("flows.csv"),
            "path,time,client,client_port,server,server_port,label,confidence,family\n",
        )
        .unwrap();
        let data = load(folder.path(), &pipeline, 2, &Loading::default()).unwrap();

        let mut flows = 0;
        for name in CAPTURES {
            let one = detected(&pipeline, name, 1);
            assert_eq!(one, detected(&pipeline, name, 8), "{config}, {name}: workers");
            for (at, row) in data.rows.iter().enumerate().filter(|(_, row)| data.captures[row.capture].path == name) {
                // Alone, and among all: neither neighbours nor batches count.
                let mut alone = [0.0];
                classifier.predict(&Rows::new(data.row(at), data.width), &mut alone).unwrap();
                let mut all = vec![0.0; data.rows.len()];
                classifier.predict(&Rows::new(&data.values, data.width), &mut all).unwrap();
                assert_eq!(alone[0].to_bits(), all[at].to_bits(), "{config}, {name}");
                let score = model.card.calibration.score(alone[0]);
                assert_eq!(one[&row.packet], (score.to_bits(), alone[0].to_bits()), "{config}, {name}");
                flows += 1;
            }
        }
        assert!(flows >= 20, "{config}: {flows} flows");
    }
}
