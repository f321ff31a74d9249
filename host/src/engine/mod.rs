//! The engine: a capture in, finished flows with verdicts out.
//!
//! Two stages. The *packet stage* spreads packets over [`SHARDS`] logical shards by host pair and runs on any number of
//! threads; all bounds are per shard, so nothing depends on how many there are. The *context stage* is one consumer
//! that merges finished flows in a fixed order, adds what crosses flows, and scores them in batches.
//!
//! Order is made by *epochs*: after every [`EPOCH_PACKETS`] packets of the capture each shard hands over what has
//! ended, and the consumer sorts one epoch at a time. Epochs count packets, not bytes or seconds, so that neither the
//! file format nor the machine can move them.

mod batch;
mod context;
mod health;
mod judgement;
#[cfg(test)]
mod look_tests;
mod packets;
mod pipeline;
mod shadow;
mod summary;

pub use context::{Detection, Sink};
pub use pipeline::{Pipeline, PipelineError, Scored};
pub use shadow::{ShadowDifference, ShadowScore, ShadowSummary};
pub use summary::{FilterFailed, PluginErrors, PluginTime, Summary, Warned};
pub use veilwatch_core::context::{BeaconSnapshot, Rhythm};
pub use veilwatch_core::detect::Category;

use crate::plugins::Overdue;
use crate::source::{Source, SourceError};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Logical shards; fixed, because bounds are per shard.
pub const SHARDS: usize = 64;
/// Packets between two hand-overs to the context stage.
pub const EPOCH_PACKETS: u64 = 8192;

/// How a run is made.
#[derive(Debug, Clone, Copy)]
pub struct RunOptions<'a> {
    /// Threads of the packet stage; 1 runs everything in the caller's, where packets wait for that.
    pub workers: usize,
    /// Stop after so many packets.
    pub packets: Option<u64>,
    /// Set from elsewhere to end the run with what was found so far.
    pub stop: &'a AtomicBool,
    /// Kept up to date while the run goes on.
    pub progress: &'a Progress,
}

/// How far a run has come, for whoever looks on from another thread.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes read from the file.
    pub bytes: AtomicU64,
    /// Packets read.
    pub packets: AtomicU64,
    /// Flows that have ended.
    pub flows: AtomicU64,
    /// Malicious and suspicious flows among them.
    pub alerts: AtomicU64,
    /// Malicious ones among these.
    pub malicious: AtomicU64,
}

impl Progress {
    pub(crate) fn read(&self, source: &Source) {
        self.bytes.store(source.status().file_bytes, Ordering::Relaxed);
        self.packets.store(source.status().packets, Ordering::Relaxed);
    }
}

/// Why a run ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The capture cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A plugin that the pipeline cannot do without failed too often.
    #[error("plugin `{id}`: {error}")]
    Plugin {
        /// The instance.
        id: String,
        /// What it said.
        error: veilwatch_core::plugin::PluginError,
    },
    /// A plugin's call took too long.
    #[error(transparent)]
    Overdue(#[from] Overdue),
    /// The result cannot be written.
    #[error("the result cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

/// Runs a pipeline over one capture; `sink` gets every finished flow in order.
pub fn run(
    pipeline: &Pipeline,
    mut source: Source,
    options: RunOptions<'_>,
    sink: &mut dyn Sink,
) -> Result<Summary, RunError> {
    let _watchdog = pipeline.watch();
    source.set_filter(pipeline.filter().cloned());
    let mut consumer = context::Consumer::new(pipeline, options, source.is_live(), sink);
    // Packets that come by themselves do not wait until the last ones are scored: somebody else takes them.
    let packets = if options.workers <= 1 && !source.is_live() {
        packets::run_inline(pipeline, source, options, &mut consumer)?
    } else {
        packets::run_threads(pipeline, source, options, &mut consumer)?
    };
    Ok(consumer.finish(packets))
}
