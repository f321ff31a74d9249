//! Which instances still work: failures are counted record by record, and past the budget an instance is disabled.
//!
//! Everything here happens in the context stage, where flows are in their order: at which record an instance is disabled
//! is a matter of the capture and not of threads. What fails costs the record its values of that instance and nothing
//! else.

use super::pipeline::Pipeline;
use super::{PluginErrors, RunError};
use crate::plugins::{PluginReport, brief};
use veilwatch_core::flow::FlowRecord;
use veilwatch_core::plugin::{PluginError, PluginErrorKind};

/// One instance's failures in this run.
#[derive(Debug, Default)]
struct Failures {
    records: u64,
    /// The first record, and what was said.
    first: Option<(u64, String)>,
    /// The record at which it was disabled.
    disabled: Option<u64>,
}

/// All instances of a run, by their places among the pipeline's entries.
#[derive(Debug)]
pub(super) struct Health<'p> {
    pipeline: &'p Pipeline,
    failures: Vec<Failures>,
    budget: u64,
}

impl<'p> Health<'p> {
    pub(super) fn new(pipeline: &'p Pipeline) -> Self {
        let config = pipeline.config();
        let failures = config.plugin.iter().map(|_| Failures::default()).collect();
        Self { pipeline, failures, budget: u64::from(config.plugins.errors) }
    }

    /// Whether the instance at this place may be called.
    pub(super) fn works(&self, place: usize) -> bool {
        self.failures.get(place).is_none_or(|part| part.disabled.is_none())
    }

    /// Counts a record on which an instance failed; an error where the run cannot go on without it.
    pub(super) fn fail(&mut self, place: usize, record: u64, error: &PluginError) -> Result<(), RunError> {
        let (Some(part), Some(entry)) = (self.failures.get_mut(place), self.pipeline.config().plugin.get(place)) else {
            return Ok(());
        };
        if part.disabled.is_some() {
            return Ok(());
        }
        part.records += 1;
        part.first.get_or_insert_with(|| (record, brief(&error.message)));
        if part.records < self.budget {
            return Ok(());
        }
        if entry.required {
            let message = format!(
                "{} (record {record}, failure {} of {} that `errors` under [plugins] allows); correct the plugin, or set \
                 `required = false` to go on without it",
                brief(&error.message),
                part.records,
                self.budget
            );
            return Err(RunError::Plugin { id: entry.id.clone(), error: PluginError { kind: error.kind, message } });
        }
        part.disabled = Some(record);
        Ok(())
    }

    /// Looks at what a flow's template said: its failure is counted, and a disabled one's words do not count.
    pub(super) fn read(&mut self, flow: &mut FlowRecord, record: u64) -> Result<(), RunError> {
        let Some(place) = flow.template.and_then(|at| self.pipeline.template_place(at)) else { return Ok(()) };
        if let Some(error) = flow.template_error.clone().filter(|_| self.works(place)) {
            self.fail(place, record, &error)?;
        }
        if !self.works(place) {
            flow.forget_template();
        }
        Ok(())
    }

    /// What became of the instances: those that are not used, and those that failed.
    pub(super) fn tell(self) -> (Vec<PluginReport>, Vec<PluginErrors>) {
        let mut disabled: Vec<PluginReport> = self.pipeline.disabled().cloned().collect();
        let mut errors = Vec::new();
        for (entry, part) in self.pipeline.config().plugin.iter().zip(self.failures) {
            let Some((first, reason)) = part.first else { continue };
            if let Some(record) = part.disabled
                && let Some(report) = self.pipeline.report(&entry.id)
            {
                let mut report = report.clone();
                let more = if part.records == 1 { String::new() } else { format!(", the first time: {reason}") };
                let times =
                    if part.records == 1 { reason.clone() } else { format!("it failed on {} flows", part.records) };
                report.disable(&format!("{times}{more}; correct the plugin, or raise `errors` under [plugins]"));
                report.record = Some(record);
                disabled.push(report);
            }
            errors.push(PluginErrors { id: entry.id.clone(), records: part.records, first, reason });
        }
        (disabled, errors)
    }
}

/// The error of a value that no plugin may give.
pub(super) fn infinite(what: &str) -> PluginError {
    PluginError { kind: PluginErrorKind::Data, message: format!("gave an infinite {what}; give a finite one, or NaN") }
}
