//! Pipelines in TOML: what is read, which plugins, which limits.
//!
//! Unknown keys are errors that say where they stand and what was probably meant. `config/default.toml` is the pipeline
//! in the box and holds every key with its default; tests hold the two equal.

use crate::live::LiveSettings;
use crate::model::ModelSettings;
use crate::source::InputLimits;
use crate::tables::TableSettings;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use veilwatch_core::context::SPREAD_KEPT;
use veilwatch_core::flow::{FlowLimits, FlowRecord};
use veilwatch_core::record::{ClientHello, Record};

/// The default configuration with all comments, as `veilwatch config example` prints it.
pub const EXAMPLE: &str = include_str!("../../config/default.toml");

/// The pipelines in the box, by name.
const IN_THE_BOX: [(&str, &str); 4] = [
    ("default", EXAMPLE),
    ("protocols", include_str!("../../config/protocols.toml")),
    ("full", include_str!("../../config/full.toml")),
    ("blind", include_str!("../../config/blind.toml")),
];

/// A pipeline as its file declares it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The model: `default`, `full` and `blind` are in the box; `registry:NAME` is the champion of that name in the registry,
    /// `registry:NAME@VERSION` a certain one; anything else is a folder, relative to the file that names it.
    pub model: String,
    /// Where models of one's own are kept, and whose signature counts.
    pub models: ModelSettings,
    /// A second model that scores beside the first.
    pub shadow: ShadowSettings,
    /// What is read, and bounds on it.
    pub input: InputLimits,
    /// Bounds and times of flows.
    pub flows: FlowLimits,
    /// Bounds on what crosses flows.
    pub context: ContextLimits,
    /// Bounds on live captures.
    pub live: LiveSettings,
    /// What is judged.
    pub detection: DetectionSettings,
    /// What is written.
    pub output: OutputSettings,
    /// What holds for all plugins.
    pub plugins: PluginLimits,
    /// Tables beside those in the box.
    pub tables: TableSettings,
    /// The plugins, in order.
    pub plugin: Vec<PluginEntry>,
}

/// A second model, the challenger, that scores beside the first and decides nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShadowSettings {
    /// The model, named as the first is; empty for none.
    pub model: String,
    /// Whether lines have its score for every flow, and not only where the verdicts differ.
    pub all: bool,
}

/// Bounds on what crosses flows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContextLimits {
    /// Conversations that are remembered; with 0 every flow is the first of its own.
    pub conversations: u32,
    /// Addresses that a name led a host to, which are remembered; 0 for none.
    pub names: u32,
    /// Hosts whose queries of DNS are counted.
    pub name_hosts: u32,
    /// Hosts whose earlier flows are counted; 0 for none.
    pub hosts: u32,
    /// Whether a conversation is with a server name, where one was asked for; with `false` always with an address.
    pub by_name: bool,
    /// Pairs of a host and a service through which malware spreads, of which it is known what was tried; 0 for none.
    pub spread_hosts: u32,
    /// Addresses that a host tries at such a service from which on it spreads.
    pub spread_targets: u32,
    /// Seconds in which it must have tried them.
    pub spread_seconds: u32,
    /// Conversations whose scored flows are put together, for the conclusion on hosts and the capture.
    pub concluded: u32,
    /// Conversations of which flows are remembered that are worth a person's word.
    pub questions: u32,
}

impl Default for ContextLimits {
    fn default() -> Self {
        Self {
            conversations: 200_000,
            names: 0,
            name_hosts: 50_000,
            hosts: 0,
            by_name: true,
            spread_hosts: 10_000,
            spread_targets: 10,
            spread_seconds: 300,
            concluded: 100_000,
            questions: 2000,
        }
    }
}

/// What is judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectionSettings {
    /// Which flows get a row of features, and a score.
    pub scored: ScoredFlows,
    /// Whether the verdict on a flow is `unknown` where it would be `benign`, but the model's training held nothing like it.
    pub unknown: bool,
    /// False alerts per 100,000 benign (host, server) pairs that the thresholds are chosen for; the model's own where it is
    /// not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<f64>,
    /// The score from which on a flow is malicious, in place of the model's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
}

impl Default for DetectionSettings {
    fn default() -> Self {
        Self { scored: ScoredFlows::default(), unknown: true, budget: None, threshold: None }
    }
}

impl DetectionSettings {
    /// The key that cannot be used, and why.
    fn flaw(&self) -> Option<(&'static str, String)> {
        let Self { budget, threshold, .. } = self;
        if budget.is_some() && threshold.is_some() {
            return Some(("threshold", "`budget` and `threshold` both choose the threshold: give one of them".into()));
        }
        if let Some(budget) = budget.filter(|budget| !(budget.is_finite() && *budget > 0.0)) {
            return Some(("budget", format!("`budget = {budget}`: give false alerts in 100,000, above 0")));
        }
        let threshold = threshold.filter(|threshold| !(0.0..=1.0).contains(threshold))?;
        Some(("threshold", format!("`threshold = {threshold}`: give a score from 0 to 1")))
    }
}

/// Which flows get a row of features, and a score: a model learns from these, and judges no others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScoredFlows {
    /// Those over TCP whose ClientHello was read. Not those of QUIC: the models in the box have learnt from none.
    #[default]
    Tls,
    /// Those that a template recognised.
    Recognised,
    /// All.
    All,
}

impl ScoredFlows {
    /// The word for it in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Recognised => "recognised",
            Self::All => "all",
        }
    }

    /// Whether a flow is one of them.
    pub fn has(self, flow: &FlowRecord) -> bool {
        match self {
            Self::Tls => flow.protocol == 6 && flow.fields.get(ClientHello::FIRST).is_some(),
            Self::Recognised => flow.template.is_some(),
            Self::All => true,
        }
    }
}

/// What is written of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutputSettings {
    /// Reasons of an alert.
    pub reasons: u32,
    /// Alerts of one capture that are explained, and as many early records.
    pub explained: u64,
    /// Flows written of one capture, and as many early records.
    pub lines: u64,
    /// Pairs of host and server in a terminal's table.
    pub table_rows: u32,
    /// Pairs of host and server whose flows are counted for it.
    pub table_pairs: u32,
    /// Hosts that are named in the conclusion on a capture.
    pub worst_hosts: u32,
    /// Bytes of a text that the capture decides, such as a server name.
    pub text_bytes: u32,
}

impl Default for OutputSettings {
    fn default() -> Self {
        Self {
            reasons: 4,
            explained: 1000,
            lines: 10_000_000,
            table_rows: 10,
            table_pairs: 100_000,
            worst_hosts: 10,
            text_bytes: 512,
        }
    }
}

/// Where plugins are found beside those in the box, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PluginLimits {
    /// Folders whose libraries are loaded, relative to the file that names them.
    pub folders: Vec<PathBuf>,
    /// Records on which an instance may fail; with so many it is disabled.
    pub errors: u32,
    /// Time of one call; past it the run ends.
    pub batch_milliseconds: u32,
    /// Time that trying a library may take, before it is loaded for the first time.
    pub probe_milliseconds: u32,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self { folders: Vec::new(), errors: 100, batch_milliseconds: 10_000, probe_milliseconds: 5000 }
    }
}

/// One configured use of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginEntry {
    /// What this instance is called; the first part of its columns' names.
    pub id: String,
    /// `kind/name` of a plugin in the box, or of one that `path` brings.
    #[serde(rename = "use", default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// A library to load first, relative to the file that names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The SHA-256 that the library of `path` must have, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Whether there is no run without it. Where not, the pipeline goes on when it cannot be had or has failed too often.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub required: bool,
    /// Of a feature extractor, the columns that are used, by their names without `id.`; all where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// The plugin's own settings.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub settings: toml::Table,
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it")]
fn is_yes(required: &bool) -> bool {
    *required
}

impl Default for Config {
    /// Every key but the plugins: a pipeline lists its own.
    fn default() -> Self {
        Self {
            model: "default".into(),
            models: ModelSettings::default(),
            shadow: ShadowSettings::default(),
            input: InputLimits::default(),
            flows: FlowLimits::default(),
            context: ContextLimits::default(),
            live: LiveSettings::default(),
            detection: DetectionSettings::default(),
            output: OutputSettings::default(),
            plugins: PluginLimits::default(),
            tables: TableSettings::default(),
            plugin: Vec::new(),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "{path}: cannot be read ({error}); check the path, or take `default`, `protocols`, `full` or `blind`, which are in the box"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The text is no configuration.
    #[error("{file}:{line}: {message}{}", hint.as_ref().map(|h| format!("; did you mean `{h}`?")).unwrap_or_default())]
    Invalid {
        /// The file.
        file: String,
        /// Line of the mistake, from 1.
        line: usize,
        /// Its character in that line, from 1.
        column: usize,
        /// What is wrong.
        message: String,
        /// The nearest known key.
        hint: Option<String>,
    },
}

/// Line and character of a place in a text, both from 1.
pub fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line..].chars().count() + 1)
}

/// A setting of a plugin in the box, as the pipelines in the box write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSetting {
    /// Its name.
    pub name: &'static str,
    /// Its default, in TOML.
    pub value: &'static str,
    /// What it is for, in English; empty where nobody says.
    pub words: &'static str,
}

/// The settings of a plugin (`kind/name`) that a pipeline in the box writes down: each with its default there.
pub fn settings_in_the_box(plugin: &str) -> Vec<KnownSetting> {
    let told = |text: &'static str| {
        let (mut is_it, mut in_settings, mut found) = (false, false, Vec::new());
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                in_settings = line == "[plugin.settings]";
                is_it &= in_settings;
            } else if let Some((name, rest)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
                let (value, words) = rest.split_once(" # ").unwrap_or((rest, ""));
                let (name, value) = (name.trim(), value.trim());
                if in_settings && is_it {
                    found.push(KnownSetting { name, value, words: words.trim() });
                } else if name == "use" {
                    is_it = value.trim_matches('"') == plugin;
                }
            }
        }
        found
    };
    IN_THE_BOX.iter().map(|(_, text)| told(text)).find(|found| !found.is_empty()).unwrap_or_default()
}

impl Config {
    /// The pipeline in the box: [`EXAMPLE`].
    pub fn builtin() -> Result<Self, ConfigError> {
        Self::parse(EXAMPLE, "config/default.toml")
    }

    /// Whether there is a pipeline of this name in the box.
    pub fn is_in_the_box(name: &str) -> bool {
        IN_THE_BOX.iter().any(|(known, _)| *known == name)
    }

    /// Reads a file; paths in it become relative to its folder. Where there is no file of that name, `default`, `protocols`,
    /// `full` and `blind` are the pipelines in the box.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let in_the_box = IN_THE_BOX.iter().find(|(name, _)| path == Path::new(name)).filter(|_| !path.is_file());
        if let Some((name, text)) = in_the_box {
            return Self::parse(text, &format!("config/{name}.toml"));
        }
        let text =
            std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
        let mut config = Self::parse(&text, &path.display().to_string())?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for entry in &mut config.plugin {
            if let Some(library) = &mut entry.path {
                *library = folder.join(&*library);
            }
        }
        for plugins in &mut config.plugins.folders {
            *plugins = folder.join(&*plugins);
        }
        for tables in &mut config.tables.folders {
            *tables = folder.join(&*tables);
        }
        for model in [&mut config.model, &mut config.shadow.model] {
            if !model.is_empty() && ModelSettings::is_folder(model) {
                *model = folder.join(&*model).display().to_string();
            }
        }
        if !config.models.folder.as_os_str().is_empty() {
            config.models.folder = folder.join(&config.models.folder);
        }
        Ok(config)
    }

    /// Reads a text; `file` is its name in messages.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        let invalid = |at: usize, message: String, hint: Option<String>| ConfigError::Invalid {
            file: file.to_owned(),
            line: line_and_column(text, at).0,
            column: line_and_column(text, at).1,
            message,
            hint,
        };
        let config: Self = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let message = error.message().to_owned();
            let hint = unknown_key_hint(&message);
            // The list of all keys helps nobody who gets the right one.
            let message = if hint.is_some() {
                message.split(", expected").next().unwrap_or_default().to_owned()
            } else {
                message
            };
            invalid(at, message, hint)
        })?;
        if let Some((key, message)) = config.detection.flaw() {
            return Err(invalid(text.find(key).unwrap_or_default(), message, None));
        }
        if let Some((key, message)) = config.out_of_range().or_else(|| config.models.flaw()) {
            return Err(invalid(text.find(key).unwrap_or_default(), message, None));
        }
        for (at, entry) in config.plugin.iter().enumerate() {
            let place = || text.match_indices("[[plugin]]").nth(at).map_or(0, |(place, _)| place);
            let plain = |id: &str| {
                !id.is_empty() && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
            };
            if !plain(&entry.id) {
                let message = format!("`id = \"{}\"`: use lower-case letters, digits, `-` and `_`", entry.id);
                return Err(invalid(place(), message, None));
            }
            if config.plugin[..at].iter().any(|earlier| earlier.id == entry.id) {
                let message = format!("two plugins have the id `{}`; every instance needs its own", entry.id);
                return Err(invalid(place(), message, None));
            }
            if entry.plugin.is_none() && entry.path.is_none() {
                let message = format!("plugin `{}` needs `use = \"kind/name\"` or `path = \"library\"`", entry.id);
                return Err(invalid(place(), message, None));
            }
            if let Some(hash) = &entry.sha256 {
                let whole = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
                if !whole || entry.path.is_none() {
                    let message = format!(
                        "plugin `{}`: `sha256` takes 64 hexadecimal digits and stands beside a `path`; `sha256sum` prints them",
                        entry.id
                    );
                    return Err(invalid(place(), message, None));
                }
            }
        }
        Ok(config)
    }
}

impl Config {
    /// The first number outside of its range: limits so low that nothing could be found are mistakes, and so are those
    /// so high that they are none.
    fn out_of_range(&self) -> Option<(&'static str, String)> {
        let (input, flows) = (&self.input, &self.flows);
        [
            ("packet_bytes", u64::from(input.packet_bytes), 1514..=16 << 20),
            ("interfaces", u64::from(input.interfaces), 1..=1 << 20),
            ("expansion_ratio", u64::from(input.expansion_ratio), 2..=1 << 20),
            ("unpacked_bytes", input.unpacked_bytes, 1 << 20..=1 << 50),
            ("block_bytes", u64::from(input.block_bytes), 4096..=16 << 20),
            ("ring_bytes", u64::from(self.live.ring_bytes), 1 << 20..=u64::from(u32::MAX)),
            ("all_rings_bytes", self.live.all_rings_bytes, 1 << 20..=1 << 40),
            ("ring_block_bytes", u64::from(self.live.ring_block_bytes), 256 << 10..=64 << 20),
            ("rings", u64::from(self.live.rings), 1..=64),
            ("wait_milliseconds", u64::from(self.live.wait_milliseconds), 1..=1000),
            ("look_milliseconds", u64::from(self.live.look_milliseconds), 10..=60_000),
            ("renew_seconds", u64::from(self.live.renew_seconds), 1..=604_800),
            ("flows_per_shard", u64::from(flows.flows_per_shard), 16..=1 << 20),
            ("flows_per_host", u64::from(flows.flows_per_host), 16..=1 << 20),
            ("prefix_bytes", u64::from(flows.prefix_bytes), 2048..=1 << 20),
            ("prefix_waiting", u64::from(flows.prefix_waiting), 1..=4096),
            ("prefix_bytes_per_shard", u64::from(flows.prefix_bytes_per_shard), 1 << 16..=1 << 30),
            ("tcp_idle_seconds", u64::from(flows.tcp_idle_seconds), 5..=86_400),
            ("udp_idle_seconds", u64::from(flows.udp_idle_seconds), 5..=86_400),
            ("active_seconds", u64::from(flows.active_seconds), 60..=604_800),
            ("linger_seconds", u64::from(flows.linger_seconds), 0..=600),
            ("early_packets", u64::from(flows.early_packets), 0..=1 << 20),
            ("early_seconds", u64::from(flows.early_seconds), 0..=604_800),
            ("hand_overs", u64::from(flows.hand_overs), 0..=64),
            ("warnings", u64::from(flows.warnings), 0..=1024),
            ("probe_datagrams", u64::from(flows.probe_datagrams), 1..=65_536),
            ("nesting", u64::from(flows.nesting), 1..=64),
            ("fragments_per_shard", u64::from(flows.fragments_per_shard), 1..=65_536),
            ("fragment_bytes_per_shard", u64::from(flows.fragment_bytes_per_shard), 1 << 17..=1 << 30),
            ("fragment_seconds", u64::from(flows.fragment_seconds), 1..=600),
            ("conversations", u64::from(self.context.conversations), 0..=1 << 24),
            ("names", u64::from(self.context.names), 0..=1 << 24),
            ("name_hosts", u64::from(self.context.name_hosts), 1..=1 << 24),
            ("hosts", u64::from(self.context.hosts), 0..=1 << 24),
            ("spread_hosts", u64::from(self.context.spread_hosts), 0..=1 << 20),
            ("spread_targets", u64::from(self.context.spread_targets), 2..=SPREAD_KEPT as u64),
            ("spread_seconds", u64::from(self.context.spread_seconds), 1..=86_400),
            ("concluded", u64::from(self.context.concluded), 16..=1 << 22),
            ("questions", u64::from(self.context.questions), 16..=100_000),
            ("reasons", u64::from(self.output.reasons), 1..=64),
            ("explained", self.output.explained, 0..=1 << 40),
            ("lines", self.output.lines, 1..=1 << 40),
            ("table_rows", u64::from(self.output.table_rows), 1..=1000),
            ("table_pairs", u64::from(self.output.table_pairs), 1..=1 << 24),
            ("worst_hosts", u64::from(self.output.worst_hosts), 0..=1000),
            ("text_bytes", u64::from(self.output.text_bytes), 16..=65_536),
            ("errors", u64::from(self.plugins.errors), 1..=1 << 20),
            ("batch_milliseconds", u64::from(self.plugins.batch_milliseconds), 100..=3_600_000),
            ("probe_milliseconds", u64::from(self.plugins.probe_milliseconds), 100..=3_600_000),
        ]
        .into_iter()
        .find(|(_, value, range)| !range.contains(value))
        .map(|(key, value, range)| {
            (key, format!("`{key} = {value}`: give a number from {} to {}", range.start(), range.end()))
        })
    }
}

/// From serde's "unknown field `x`, expected one of `a`, `b`": the one that is nearest to `x`.
fn unknown_key_hint(message: &str) -> Option<String> {
    let mut words = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let asked = words.next()?;
    nearest(asked, words).map(str::to_owned)
}

/// The candidate that takes the fewest edits to reach, if that is a plausible slip.
pub(crate) fn nearest<'a>(asked: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (distance(asked, candidate), candidate))
        .min()
        .filter(|(edits, candidate)| *edits <= candidate.len().max(asked.len()) / 2)
        .map(|(_, candidate)| candidate)
}

/// Edit distance of Levenshtein, on bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_a_line_and_a_column() {
        assert_eq!(line_and_column("ab\ncd", 0), (1, 1));
        assert_eq!(line_and_column("ab\ncd", 4), (2, 2));
        assert_eq!(line_and_column("é\né=", 4), (2, 1), "in the middle of a character");
        assert_eq!(line_and_column("é\né=", 99), (2, 3));
        let error = Config::parse("model = \"default\"\n[flows]\n  tcp_idle = 5\n", "x").unwrap_err();
        let ConfigError::Invalid { line, column, .. } = error else { panic!("{error}") };
        assert_eq!((line, column), (3, 3));
    }

    #[test]
    fn settings_in_the_box_are_those_of_the_files() {
        let tls = settings_in_the_box("protocol/tls");
        let sni = tls.iter().find(|setting| setting.name == "sni_bytes").unwrap();
        assert_eq!((sni.value, sni.words), ("255", "bytes kept of a server name"));
        assert!(settings_in_the_box("feature/splt").iter().all(|setting| !setting.words.is_empty()));
        assert!(settings_in_the_box("feature/nobody").is_empty());
        // All that the default pipeline sets, and no more.
        for entry in Config::builtin().unwrap().plugin {
            let known = settings_in_the_box(entry.plugin.as_deref().unwrap());
            assert_eq!(known.len(), entry.settings.len(), "{}", entry.id);
            assert!(known.iter().all(|setting| entry.settings.contains_key(setting.name)), "{}", entry.id);
        }
    }

    /// Values in the example are the defaults; the plugins' own tests hold their settings to theirs.
    #[test]
    fn the_example_is_the_default_and_holds_every_key() {
        let example = Config::builtin().unwrap();
        assert!(!example.plugin.is_empty());
        assert_eq!(Config { plugin: Vec::new(), ..example }, Config::default());
        let file: toml::Table = EXAMPLE.parse().unwrap();
        let all = toml::Table::try_from(Config::default()).unwrap();
        for (key, value) in &all {
            let known = file.get(key).unwrap_or_else(|| panic!("`{key}` is missing in config/default.toml"));
            if let (Some(inner), Some(known)) = (value.as_table(), known.as_table()) {
                inner.keys().for_each(|key| assert!(known.contains_key(key), "`{key}` is missing"));
            }
        }
    }

    #[test]
    fn a_slip_is_shown_with_its_line_and_the_key_that_was_meant() {
        let error = Config::parse("model = \"default\"\n\n[flows]\nprefix_byte = 1\n", "my.toml").unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("my.toml:4: unknown field `prefix_byte`"), "{text}");
        assert!(text.ends_with("did you mean `prefix_bytes`?"), "{text}");
    }

    #[test]
    fn limits_that_would_blind_the_detector_are_refused() {
        let error = Config::parse("[flows]\nprefix_bytes = 1\n", "my.toml").unwrap_err().to_string();
        assert_eq!(error, "my.toml:2: `prefix_bytes = 1`: give a number from 2048 to 1048576");
    }

    #[test]
    fn hashes_are_whole_and_stand_beside_a_path() {
        let entry = |more: &str| Config::parse(&format!("[[plugin]]\nid = \"a\"\n{more}\n"), "my.toml");
        let hash = "0123456789abcdef".repeat(4);
        let good = entry(&format!("path = \"x.so\"\nsha256 = \"{hash}\"")).unwrap();
        assert!(good.plugin[0].required && good.plugin[0].sha256.is_some());
        assert!(!entry("use = \"feature/x\"\nrequired = false").unwrap().plugin[0].required);
        for bad in ["path = \"x.so\"\nsha256 = \"abc\"".to_owned(), format!("use = \"feature/x\"\nsha256 = \"{hash}\"")]
        {
            let error = entry(&bad).unwrap_err().to_string();
            assert!(error.starts_with("my.toml:1: plugin `a`: `sha256` takes 64"), "{error}");
        }
    }

    #[test]
    fn ids_are_single() {
        let twice = "[[plugin]]\nid = \"a\"\nuse = \"protocol/tls\"\n[[plugin]]\nid = \"a\"\nuse = \"protocol/tls\"\n";
        assert!(Config::parse(twice, "my.toml").unwrap_err().to_string().starts_with("my.toml:4: two plugins"));
    }
}
