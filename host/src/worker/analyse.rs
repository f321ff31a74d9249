use super::events::{Events, MAX_ALERTS, Watched, alert, failed};
use super::order::{Analysed, Event, Failed, FailedWhy, Stage};
use super::run::{OpenResult, ResultSink, unreadable, without_packets};
use crate::config::{Config, ShadowSettings};
use crate::engine::{self, Detection, Pipeline, PipelineError, RunError, RunOptions, Sink};
use crate::plugins::Registry;
use crate::source::{Source, SourceStatus};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// A pipeline over a capture.
pub(super) struct Analysis<'a> {
    pub(super) packets: Option<u64>,
    pub(super) workers: u16,
    pub(super) result: &'a Path,
    pub(super) open: OpenResult,
}

/// Threads that a worker starts at most.
const WORKERS: u16 = 64;

impl Analysis<'_> {
    pub(super) fn run(
        &self,
        source: Source,
        config: Config,
        events: &Events,
        watched: &Watched,
        stop: &AtomicBool,
    ) -> Result<Analysed, Failed> {
        let mut registry = Registry::with_builtins().map_err(|error| failed(FailedWhy::Pipeline, error))?;
        let pipeline = match Pipeline::new(config.clone(), &mut registry) {
            // It decides nothing, so that nothing hangs on it.
            Err(PipelineError::Shadow { .. }) => {
                registry = Registry::with_builtins().map_err(|error| failed(FailedWhy::Pipeline, error))?;
                Pipeline::new(Config { shadow: ShadowSettings::default(), ..config }, &mut registry)
            }
            outcome => outcome,
        };
        let pipeline = pipeline.map_err(|error| failed(FailedWhy::Pipeline, error))?;
        let unwritten =
            |error: std::io::Error| failed(FailedWhy::Output, format!("the result cannot be written: {error}"));
        let mut result = (self.open)(self.result, &pipeline).map_err(unwritten)?;
        let workers = usize::from(self.workers.clamp(1, WORKERS));
        let options = RunOptions { workers, packets: self.packets, stop, progress: &watched.progress };
        let begin = source.status().clone();
        watched.stage(Stage::Reading);
        let mut sink = Telling { inner: result.as_mut(), events, told: 0 };
        let summary = engine::run(&pipeline, source, options, &mut sink).map_err(|error| match &error {
            RunError::Source(error) => unreadable(error),
            RunError::Plugin { .. } | RunError::Overdue(_) => failed(FailedWhy::Plugin, &error),
            RunError::Output(_) => failed(FailedWhy::Output, &error),
        })?;
        if summary.packets == 0 && !summary.interrupted && self.packets != Some(0) {
            return Err(without_packets(&SourceStatus { damage: summary.damage, ..begin }));
        }
        watched.stage(Stage::Writing);
        result.finish(&summary).map_err(unwritten)?;
        Ok(Analysed {
            packets: summary.packets,
            flows: summary.flows,
            // Without a model there are rows, but nothing is judged.
            scored: summary.scored,
            malicious: summary.malicious,
            suspicious: summary.suspicious,
            partial: summary.is_partial(),
            blind: summary.is_blind(),
        })
    }
}

/// Tells the parent of the first alerts on their way into the result.
struct Telling<'a> {
    inner: &'a mut dyn ResultSink,
    events: &'a Events,
    told: u64,
}

impl Sink for Telling<'_> {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        self.inner.flow(detection)?;
        if self.told < MAX_ALERTS
            && let Some(alert) = alert(detection)
        {
            self.told += 1;
            self.events.say(&Event::Alert(alert));
        }
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }

    fn renew(&mut self) {
        self.inner.renew();
    }

    fn early(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        self.inner.early(detection)
    }
}
