//! Flows are scored in batches, and many batches on all threads.
//!
//! A batch is scored in the hope that nothing fails. Where something does, the batch is scored again in its turn, so that
//! failures are counted in the order of flows and never in that of threads.

use super::health::Health;
use super::pipeline::{Scored, ScoredBatch};
use super::{Pipeline, RunError};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use veilwatch_core::flow::FlowRecord;

/// Flows that are scored together; rows do not depend on it.
const BATCH: usize = 256;
/// Batches from which on it is worth while to start threads: most epochs have one or two, the last one has many.
const MANY: usize = 4;
/// Batches for each thread that are scored before any of them is written: what bounds their memory.
const AHEAD: usize = 4;

/// Some flows in their order, and those of them that are scored.
pub(super) struct Batch<'f> {
    pub(super) flows: &'f [Box<FlowRecord>],
    /// Final records that came before it.
    pub(super) before: u64,
    finals: Vec<&'f FlowRecord>,
    /// Numbers of the final records.
    numbers: Vec<u64>,
    early: Vec<&'f FlowRecord>,
}

/// The scores of a batch.
pub(super) struct Scores {
    finals: ScoredBatch,
    early: ScoredBatch,
}

impl Scores {
    /// Those of final records and those of early ones, each in order.
    pub(super) fn iter(&self) -> (impl Iterator<Item = Scored<'_>>, impl Iterator<Item = Scored<'_>>) {
        (self.finals.iter(), self.early.iter())
    }
}

impl<'f> Batch<'f> {
    /// Cuts flows into batches; `before` final records came before them.
    pub(super) fn cut(flows: &'f [Box<FlowRecord>], pipeline: &Pipeline, mut before: u64) -> Vec<Self> {
        let batch = |flows: &'f [Box<FlowRecord>]| {
            let mut batch = Self { flows, before, finals: Vec::new(), numbers: Vec::new(), early: Vec::new() };
            for flow in flows {
                // Final records have numbers; early ones have none.
                before += u64::from(!flow.is_early());
                if !pipeline.scores(flow) {
                    continue;
                }
                if flow.is_early() {
                    batch.early.push(flow);
                } else {
                    batch.finals.push(flow);
                    batch.numbers.push(before);
                }
            }
            batch
        };
        flows.chunks(BATCH).map(batch).collect()
    }

    /// Scores it in its turn.
    pub(super) fn score(&self, pipeline: &Pipeline, health: &mut Health<'_>) -> Result<Scores, RunError> {
        let finals = pipeline.score(&self.finals, &self.numbers, health)?;
        let early = pipeline.score(&self.early, &vec![0; self.early.len()], &mut health.aside())?;
        Ok(Scores { finals, early })
    }
}

/// Batches that go together, at most.
pub(super) fn together(threads: usize) -> usize {
    threads.max(1) * AHEAD
}

/// Scores batches on several threads; nothing for those that must be scored in their turn.
pub(super) fn score_ahead(
    batches: &[Batch<'_>],
    pipeline: &Pipeline,
    health: &Health<'_>,
    threads: usize,
) -> Vec<Option<Scores>> {
    if threads < 2 || batches.len() < MANY {
        return batches.iter().map(|_| None).collect();
    }
    let done: Vec<Mutex<Option<Scores>>> = batches.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let (Some(batch), Some(place)) = (batches.get(at), done.get(at)) else { return };
            let mut aside = health.aside();
            if let Ok(scores) = batch.score(pipeline, &mut aside)
                && aside.is_spotless()
                && let Ok(mut place) = place.lock()
            {
                *place = Some(scores);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Where no thread can be had, the others do its work.
            let _ = std::thread::Builder::new().name("score".into()).spawn_scoped(scope, work);
        }
        work();
    });
    done.into_iter().map(|place| place.into_inner().ok().flatten()).collect()
}
