//! Every plugin in the box and every example keeps to the contract, as the test kit checks it; and some values that one
//! can check by hand.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;

// Of libraries that export themselves a program can link only one: these two come without the line that exports them.
#[allow(unreachable_pub, dead_code, reason = "in its own crate it is public")]
#[path = "../../examples/plugins/mqtt/src/mqtt.rs"]
mod mqtt;
#[allow(unreachable_pub, dead_code, reason = "in its own crate it is public")]
#[path = "../../examples/plugins/nearest-mean/src/nearest_mean.rs"]
mod nearest_mean;

use common::example;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use veilwatch::builtin;
use veilwatch::config::Config;
use veilwatch::engine::{Detection, Pipeline, Progress, RunOptions, Sink, run};
use veilwatch::plugins::Registry;
use veilwatch::source::Source;
use veilwatch_core::flow::FlowRecord;
use veilwatch_testkit::conformance::assert_conforms;

#[test]
fn every_plugin_in_the_box_conforms() {
    assert_conforms(builtin::declarations());
}

#[test]
fn every_example_conforms() {
    assert_conforms(
        [mqtt::declarations(), veilwatch_example_mqtt_keep_alive::declarations(), nearest_mean::declarations()]
            .concat(),
    );
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
