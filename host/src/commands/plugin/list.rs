use super::show::{self, Format};
use anyhow::Result;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use veilwatch::config::{Config, PluginEntry};
use veilwatch::engine::Pipeline;
use veilwatch::output::plain;
use veilwatch::plugins::{Parts, PluginState, Registry};

/// Arguments of `veilwatch plugin list`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Pipeline whose plugins are listed, instead of the default one's and the rest of the box.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to write it; by default a table on a terminal and JSON Lines elsewhere.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// One line of the listing.
#[derive(Debug, Serialize)]
struct Line {
    /// The instance; empty for a plugin that the pipeline does not use.
    id: String,
    plugin: String,
    version: String,
    origin: String,
    state: &'static str,
    /// Columns of an extractor.
    columns: usize,
    /// Fields of a template.
    fields: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let (mut config, mut registry) = crate::commands::prepare(args.config.as_deref())?;
    // A listing tells of all: what cannot be had is a line of it, and not its end.
    config.plugin.iter_mut().for_each(|entry| entry.required = false);
    let pipeline = Pipeline::untrained(config.clone(), &mut registry)?;
    let mut lines = used(&pipeline, &config, &registry);
    if args.config.is_none() {
        lines.extend(unused(&registry, &lines));
    }
    if show::for_people(args.format) {
        let cells = |line: &Line| {
            let count = |count: usize, what: &str| match count {
                0 => None,
                1 => Some(format!("1 {what}")),
                _ => Some(format!("{count} {what}s")),
            };
            let parts = count(line.columns, "column").or_else(|| count(line.fields, "field"));
            let state = match &line.reason {
                Some(reason) => format!("{}: {reason}", line.state),
                None => line.state.to_owned(),
            };
            let cells = [&line.id, &line.plugin, &line.version, &line.origin].map(|cell| plain(cell));
            let [id, plugin, version, origin] = cells;
            [id, plugin, version, origin, parts.unwrap_or_default(), plain(&state)]
        };
        show::text(&show::grid(["id", "plugin", "version", "origin", "brings", "state"], lines.iter().map(cells)))?;
    } else {
        show::lines(&lines)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The entries of a pipeline, and what its folders brought.
fn used(pipeline: &Pipeline, config: &Config, registry: &Registry) -> Vec<Line> {
    let line = |report: &veilwatch::plugins::PluginReport| {
        let entry = config.plugin.iter().find(|entry| entry.id == report.id);
        // What failed as configured is not made a second time.
        let parts = if report.state() == PluginState::Disabled { None } else { parts(registry, &report.plugin, entry) };
        Line {
            id: report.id.clone(),
            plugin: report.plugin.clone(),
            version: report.version.clone(),
            origin: report.origin.to_string(),
            state: report.state().word(),
            columns: parts.as_ref().map_or(report.columns, |parts| parts.columns.len()),
            fields: parts.as_ref().map_or(0, |parts| parts.fields.len()),
            reason: report.reason.clone(),
        }
    };
    pipeline.reports().iter().map(line).collect()
}

/// What is in the box beside.
fn unused(registry: &Registry, used: &[Line]) -> Vec<Line> {
    let beside = registry.manifests().filter(|(manifest, _)| used.iter().all(|line| line.plugin != manifest.path()));
    beside
        .map(|(manifest, origin)| {
            let parts = parts(registry, &manifest.path(), None);
            Line {
                id: String::new(),
                plugin: manifest.path(),
                version: manifest.version.clone(),
                origin: origin.to_string(),
                state: PluginState::Loaded.word(),
                columns: parts.as_ref().map_or(0, |parts| parts.columns.len()),
                fields: parts.as_ref().map_or(0, |parts| parts.fields.len()),
                reason: None,
            }
        })
        .collect()
}

fn parts(registry: &Registry, plugin: &str, entry: Option<&PluginEntry>) -> Option<Parts> {
    let settings = entry.map(|entry| toml::to_string(&entry.settings)).transpose().ok()?.unwrap_or_default();
    Parts::of(registry, plugin, &settings).ok()
}
