//! What became of the plugins of a pipeline: loaded as for an analysis, by the same confined process.

use super::LINE_BYTES;
use super::events::{Events, failed, words};
use super::order::{Event, Failed, FailedWhy, PipelineDescription, PluginDescription, SettingDescription};
use crate::config::{Config, PluginEntry};
use crate::engine::Pipeline;
use crate::output::bounded;
use crate::plugins::{Origin, Part, Parts, PluginReport, PluginState, Registry, setting_names};
use veilwatch_core::detect::is_unruly;

/// Plugins of a pipeline that are told.
pub const PLUGINS: usize = 256;
/// Columns or fields of one plugin that are told, and its settings.
pub const PARTS: usize = 128;
/// Bytes of a name.
const NAME: usize = 128;
/// Bytes of a text that explains.
const WORDS: usize = 400;
/// Bytes of a reason.
const REASON: usize = 2000;

/// Loads the pipeline and tells of its plugins. One that cannot be used is described as far as it goes.
pub(super) fn describe(config: &Config, landlock: Option<i32>, events: &Events) -> Result<PipelineDescription, Failed> {
    let registry = || Registry::with_builtins().map_err(|error| failed(FailedWhy::Pipeline, error));
    let mut used = registry()?;
    let (pipeline, refused) = match Pipeline::new(config.clone(), &mut used) {
        Ok(pipeline) => (Some(pipeline), None),
        Err(error) => {
            // Once more without what cannot be had: the others are described all the same.
            let mut lenient = config.clone();
            lenient.plugin.iter_mut().for_each(|entry| entry.required = false);
            used = registry()?;
            (Pipeline::untrained(lenient, &mut used).ok(), Some(words(&error)))
        }
    };
    let reports = pipeline.as_ref().map(Pipeline::reports).unwrap_or_default();
    for report in reports.iter().take(PLUGINS) {
        let entry = config.plugin.iter().find(|entry| entry.id == report.id);
        events.say(&Event::Plugin(Box::new(plugin(&used, report, entry))));
    }
    Ok(PipelineDescription {
        refused,
        model: pipeline.as_ref().and_then(Pipeline::card).map(|card| name(&card.name)),
        columns: pipeline.as_ref().map_or(0, |pipeline| pipeline.schema().width() as u64),
        plugins: reports.len().min(PLUGINS) as u64,
        landlock,
    })
}

fn plugin(registry: &Registry, report: &PluginReport, entry: Option<&PluginEntry>) -> PluginDescription {
    let is_used = report.state() != PluginState::Disabled;
    let written = entry.map(|entry| &entry.settings);
    // What failed as configured is not made a second time.
    let parts = written
        .filter(|_| is_used)
        .and_then(|settings| toml::to_string(settings).ok())
        .and_then(|settings| Parts::of(registry, &report.plugin, &settings).ok())
        .unwrap_or_default();
    let wanted = entry.and_then(|entry| entry.columns.as_ref());
    let columns = parts.columns.into_iter().filter(|part| wanted.is_none_or(|names| names.contains(&part.name)));
    let columns: Vec<Part> = columns.collect();
    let mut names = if is_used { setting_names(registry, &report.plugin) } else { Vec::new() };
    let of_entry = written.into_iter().flatten().map(|(name, _)| name.clone());
    let unknown: Vec<String> = of_entry.filter(|name| !names.contains(name)).collect();
    names.extend(unknown);
    let setting = |name: &String| SettingDescription {
        name: self::name(name),
        value: written.and_then(|table| table.get(name)).map(|value| brief(&value.to_string())),
    };
    let manifest = registry.find(&report.plugin).map(|(declaration, _)| &declaration.manifest);
    let mut told = PluginDescription {
        id: name(&report.id),
        plugin: name(&report.plugin),
        version: name(&report.version),
        contract: name(&report.contract),
        summary: manifest.map(|manifest| brief(&manifest.summary)).unwrap_or_default(),
        library: match &report.origin {
            Origin::Builtin => None,
            // Where it lies is the operator's business.
            Origin::Library(path) => Some(name(&path.file_name().unwrap_or_default().to_string_lossy())),
        },
        state: report.state().word().to_owned(),
        reason: report.reason.as_deref().map(|reason| bounded(reason.as_bytes(), REASON)),
        required: entry.is_some_and(|entry| entry.required),
        settings: names.iter().take(PARTS).map(setting).collect(),
        column_count: columns.len() as u64,
        columns: columns.iter().take(PARTS).map(part).collect(),
        field_count: parts.fields.len() as u64,
        fields: parts.fields.iter().take(PARTS).map(part).collect(),
    };
    // A line has an end: the counts say what is left out.
    while serde_json::to_vec(&told).map_or(0, |line| line.len()) + 64 > LINE_BYTES {
        let (columns, fields, settings) = (told.columns.len(), told.fields.len(), told.settings.len());
        told.columns.truncate(columns / 2);
        told.fields.truncate(fields / 2);
        told.settings.truncate(settings / 2);
        if columns + fields + settings == 0 {
            break;
        }
    }
    told
}

fn part(part: &Part) -> Part {
    Part { name: name(&part.name), unit: name(&part.unit), words: brief(&part.words) }
}

fn name(text: &str) -> String {
    bounded(text.as_bytes(), NAME)
}

fn brief(text: &str) -> String {
    bounded(text.as_bytes(), WORDS)
}

/// Whether a text is such as an honest worker sends: not too long, and nothing in it that steers. What is escaped may have
/// grown.
fn is_sound(text: &str, bytes: usize) -> bool {
    text.len() <= bytes * 10 && !text.chars().any(is_unruly)
}

impl PluginDescription {
    /// Whether an honest worker may have said it.
    pub(super) fn is_sound(&self) -> bool {
        let part =
            |part: &Part| is_sound(&part.name, NAME) && is_sound(&part.unit, NAME) && is_sound(&part.words, WORDS);
        let names = [&self.id, &self.plugin, &self.version, &self.contract];
        let states = ["declared", "verified", "loaded", "started", "disabled"];
        let count = |told: &[Part], all: u64| told.len() <= PARTS && told.len() as u64 <= all && told.iter().all(part);
        states.contains(&self.state.as_str())
            && names.into_iter().chain(&self.library).all(|text| is_sound(text, NAME))
            && is_sound(&self.summary, WORDS)
            && self.reason.iter().all(|text| is_sound(text, REASON))
            && self.reason.is_some() == (self.state == "disabled")
            && self.settings.len() <= PARTS
            && self.settings.iter().all(|one| is_sound(&one.name, NAME) && one.value.iter().all(|v| is_sound(v, WORDS)))
            && count(&self.columns, self.column_count)
            && count(&self.fields, self.field_count)
    }
}

impl PipelineDescription {
    /// The same of a whole pipeline, of which so many plugins were told.
    pub(super) fn is_sound(&self, told: u64) -> bool {
        self.plugins == told
            && self.refused.iter().all(|text| is_sound(text, REASON))
            && self.model.iter().all(|text| is_sound(text, NAME))
    }
}
