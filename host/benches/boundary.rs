//! What dropping plugins in costs, against two bars: ten of them start in less than 300 ms once they were tried, and the
//! boundary takes at most 5 % of a run's processor time where all plugins of the box stand behind it.
//!
//! `cargo bench -p veilwatch --bench boundary -- CAPTURE [ROUNDS]`; without a capture, an example. A large capture is
//! needed for a figure that means something: runs alternate, each is measured by the processor time of this process, and
//! the medians are compared.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a bench is a test")]

#[path = "../tests/common/libraries.rs"]
mod libraries;

use libraries::compile;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use veilwatch::config::{Config, EXAMPLE};
use veilwatch::engine::{Detection, Pipeline, Progress, RunOptions, Sink, run};
use veilwatch::plugins::{Probing, Registry};
use veilwatch::source::Source;

/// Every plugin crate of the box, and the core.
const CRATES: &str = "veilwatch_core veilwatch_protocol_tls veilwatch_feature_flow_statistics veilwatch_feature_splt \
                      veilwatch_feature_tls_handshake veilwatch_feature_tls_records veilwatch_feature_certificate \
                      veilwatch_feature_server_name veilwatch_feature_conversation veilwatch_classifier_boosted_trees";

fn main() {
    // Cargo's own arguments begin with dashes.
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/captures/benign-office.pcapng");
    let capture = arguments.next().map_or(example, PathBuf::from);
    let rounds = arguments.next().map_or(5, |rounds| rounds.parse().expect("a number of rounds"));
    start_of_ten();
    share_of_the_boundary(&capture, rounds);
}

/// Ten libraries: the first start tries each in a process of its own, later ones do not.
fn start_of_ten() {
    let libraries: Vec<PathBuf> = (0..10)
        .map(|number| compile("numbered", "veilwatch_core", &["-Copt-level=3", &format!("--cfg=version_{number}")]))
        .collect();
    let cache = tempfile::tempdir().unwrap();
    let entry = |(at, path): (usize, &PathBuf)| format!("[[plugin]]\nid = \"n{at}\"\npath = {path:?}\n");
    let text: String = libraries.iter().enumerate().map(entry).collect();
    for start in ["first", "second", "third", "fourth"] {
        let begin = Instant::now();
        let child = Probing::Child(env!("CARGO_BIN_EXE_veilwatch").into());
        let mut registry = Registry::with_builtins().unwrap().probing(child).remembering(cache.path());
        let pipeline = Pipeline::untrained(Config::parse(&text, "bench").unwrap(), &mut registry).unwrap();
        assert_eq!(pipeline.schema().width(), 10);
        println!("{start} start with ten dropped-in plugins: {:.1} ms", begin.elapsed().as_secs_f64() * 1e3);
    }
}

/// Counts flows and adds scores up, so that both runs can be compared.
#[derive(Default, PartialEq, Debug)]
struct Tally(u64, u64);

impl Sink for Tally {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        self.0 += 1;
        if let Some(score) = detection.scored.as_ref().and_then(|scored| scored.score) {
            self.1 = self.1.rotate_left(1) ^ score.to_bits();
        }
        Ok(())
    }
}

/// User and system time of this process.
fn used() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let duration = |time: TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000);
    duration(usage.user_time()) + duration(usage.system_time())
}

fn share_of_the_boundary(capture: &Path, rounds: usize) {
    // With the optimisation that the program itself has, so that only the boundary differs.
    let library = compile("in_the_box", CRATES, &["-Copt-level=3", "-Clto=thin", "-Ccodegen-units=4"]);
    let mut dropped = Registry::default();
    dropped.load(&library).unwrap();
    let mut boxed = Registry::with_builtins().unwrap();
    let config = || Config::parse(EXAMPLE, "bench").unwrap();
    let pipelines = [&mut boxed, &mut dropped].map(|registry| Pipeline::new(config(), registry).unwrap());
    let mut times: [Vec<f64>; 2] = Default::default();
    let mut tallies = Vec::new();
    // The first round warms up.
    for round in 0..=rounds {
        for (side, pipeline) in pipelines.iter().enumerate() {
            let source = Source::open(capture, &pipeline.config().input).unwrap();
            let (stop, progress, mut tally) = (AtomicBool::new(false), Progress::default(), Tally::default());
            let options = RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress };
            let begin = used();
            run(pipeline, source, options, &mut tally).unwrap();
            let took = (used() - begin).as_secs_f64();
            if round > 0 {
                times[side].push(took);
                println!("round {round}, {}: {took:.3} s", ["in the box", "dropped in"][side]);
            }
            tallies.push(tally);
        }
    }
    assert!(tallies.iter().all(|tally| *tally == tallies[0]), "both give the same: {tallies:?}");
    let [inside, outside] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    println!(
        "{} flows; medians of {rounds} rounds: in the box {inside:.3} s, dropped in {outside:.3} s, the boundary takes {:.1} %",
        tallies[0].0,
        (outside / inside - 1.0) * 100.0
    );
}
