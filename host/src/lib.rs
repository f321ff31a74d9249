//! Finds malicious traffic inside encryption, without decrypting it.
//!
//! This is the library behind the command `veilwatch` and the portal. Files, threads and libraries are touched here;
//! everything that decides what a capture means stands in `veilwatch-core`.
//!
//! | module | story |
//! |---|---|
//! | [`source`] | captures become blocks of packets |
//! | [`live`] | live interfaces do too |
//! | [`filter`] | which packets of a capture count, in tcpdump's language |
//! | [`query`] | which dissected packets and which flows are shown, in a language of our own |
//! | [`config`] | pipelines in TOML |
//! | [`plugins`] | plugins in the box and dropped in, behind one registry |
//! | [`engine`] | a capture in, finished flows with verdicts out |
//! | [`explain`] | why a verdict is what it is, and what it would be without that |
//! | [`memory`] | memory that is not needed any more goes back to the system |
//! | [`metrics`] | figures for Prometheus |
//! | [`model`] | models as folders of data; versions, champions, signatures |
//! | [`learn`] | labelled rows, folds, training |
//! | [`evaluate`] | figures with intervals, and the audit that they stand or fall with |
//! | [`output`] | tables, JSON Lines, CSV |
//! | [`analyser`] | a capture that somebody looks into: any packet at once, its flow, statistics |
//! | [`packets`] | single packets, as a packet browser shows them |
//! | [`tables`] | tables in the box and dropped in, read from TOML |
//! | [`worker`] | one analysis in a confined child process |
//!
//! ```no_run
//! use std::sync::atomic::AtomicBool;
//! use veilwatch::config::Config;
//! use veilwatch::engine::{Detection, Pipeline, Progress, RunOptions, Sink, run};
//! use veilwatch::plugins::Registry;
//! use veilwatch::source::Source;
//!
//! struct Count(u64);
//! impl Sink for Count {
//!     fn flow(&mut self, _: &Detection<'_>) -> std::io::Result<()> {
//!         self.0 += 1;
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::builtin()?;
//! let source = Source::open("examples/captures/first-run.pcap".as_ref(), &config.input)?;
//! let pipeline = Pipeline::new(config, &mut Registry::with_builtins()?)?;
//! let (stop, progress) = (AtomicBool::new(false), Progress::default());
//! let options = RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress };
//! let mut count = Count(0);
//! let summary = run(&pipeline, source, options, &mut count)?;
//! assert_eq!(summary.flows, count.0);
//! # Ok(()) }
//! ```

pub mod analyser;
pub mod builtin;
mod cache;
pub mod config;
pub mod engine;
pub mod evaluate;
pub mod explain;
pub mod filter;
pub mod hash;
pub mod learn;
pub mod live;
pub mod memory;
pub mod metrics;
pub mod model;
pub mod output;
pub mod packets;
pub mod plugins;
pub mod query;
mod sandbox;
pub mod source;
pub mod tables;
pub mod worker;
