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
    /// The last of them.
    last: u64,
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

    /// The same instances for early records: those that are disabled stay so, and what fails counts nowhere, so that no
    /// early record decides about a final one.
    pub(super) fn aside(&self) -> Self {
        let failures = self.failures.iter().map(|part| Failures { disabled: part.disabled, ..Failures::default() });
        Self { pipeline: self.pipeline, failures: failures.collect(), budget: u64::MAX }
    }

    /// Whether nothing has failed.
    pub(super) fn is_spotless(&self) -> bool {
        self.failures.iter().all(|part| part.records == 0)
    }

    /// How many instances were disabled so far.
    pub(super) fn disabled(&self) -> usize {
        self.failures.iter().filter(|part| part.disabled.is_some()).count()
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
        // However often it fails on one record, that is one.
        if part.disabled.is_some() || part.last == record {
            return Ok(());
        }
        part.last = record;
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

    /// Looks at what a flow's templates said: their failures are counted, and the words of a disabled one do not count,
    /// nor what was read behind its hand-over.
    pub(super) fn read(&mut self, flow: &mut FlowRecord, record: u64) -> Result<(), RunError> {
        for (template, error) in &flow.probe_errors {
            if let Some(place) = self.pipeline.template_place(*template) {
                self.fail(place, record, error)?;
            }
        }
        let mut kept = None;
        for (at, (template, refused)) in flow.templates().enumerate() {
            let Some(place) = self.pipeline.template_place(template) else { continue };
            if refused > 0 {
                self.fail(place, record, &foreign(refused))?;
            }
            // The error is that of the last one.
            if let Some(error) = flow.template_error.as_deref().filter(|_| at == flow.handed.len()) {
                self.fail(place, record, error)?;
            }
            if !self.works(place) {
                kept = Some(at);
                break;
            }
        }
        if let Some(kept) = kept {
            flow.keep_templates(kept);
        }
        let guests: Vec<(u8, u32)> = flow.guests.iter().map(|guest| (guest.template, guest.refused)).collect();
        for (template, refused) in guests {
            let Some(place) = self.pipeline.template_place(template) else { continue };
            if refused > 0 {
                self.fail(place, record, &foreign(refused))?;
            }
            if !self.works(place) {
                flow.forget_guest(template);
            }
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

/// The error of values under ids that a template has no right to.
fn foreign(values: u32) -> PluginError {
    PluginError::data(format!(
        "wrote {values} values under fields that are not its own, or of another kind than it declared; they were left \
         out: write to the ids that `wire` gives, with the declared kind"
    ))
}
