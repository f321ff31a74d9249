//! What a parent and its worker say to each other: JSON, one line each.
//!
//! The parent writes one [`Order`] to the worker's standard input and keeps it open: the line `stop` asks the worker to end with
//! what it found so far, and the end of the input ends the worker at once. The worker answers with [`Event`]s on standard
//! output. A worker that read a hostile capture may say anything: the parent believes none of it further than it can
//! check.

use crate::learn::OnConflict;
use crate::model::ModelSettings;
use crate::plugins::Part;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a worker is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The capture; nothing else of the data folder can be read. Of [`Task::Train`] the folder of labelled data.
    pub capture: PathBuf,
    /// What to do with it.
    pub task: Task,
    /// The pipeline's configuration; the one in the box where there is none.
    pub pipeline: Option<PathBuf>,
    /// A folder of tables over those of the pipeline; none where there are no more.
    #[serde(default)]
    pub tables: Option<PathBuf>,
    /// The model instead of the one that the configuration names, and where it is looked for.
    #[serde(default)]
    pub model: Option<ModelChoice>,
    /// A second model that scores beside the first and decides nothing; where it cannot be used, the analysis goes on
    /// without it. It is looked for where the first one is.
    #[serde(default)]
    pub shadow: Option<String>,
    /// Bounds on unpacking, however generous the pipeline is.
    #[serde(default)]
    pub unpacking: Unpacking,
    /// Bounds that the kernel holds the worker to.
    pub limits: WorkerLimits,
}

/// A model for a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelChoice {
    /// As a configuration names it: in the box, `registry:NAME`, `registry:NAME@VERSION`, or a folder. Of [`Task::Train`] the
    /// champion to compare with, or nothing.
    pub name: String,
    /// The registry, and whose signature counts.
    pub models: ModelSettings,
}

/// How far a compressed capture may unpack; the pipeline's own bounds hold as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Unpacking {
    /// Bytes it may unpack to.
    pub bytes: u64,
    /// How many times its size on disk.
    pub ratio: u32,
}

impl Default for Unpacking {
    fn default() -> Self {
        Self { bytes: u64::MAX, ratio: u32::MAX }
    }
}

/// What to do with a capture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Task {
    /// Say what it is, from its first packets.
    Inspect {
        /// Packets to look at.
        packets: u64,
    },
    /// Run the pipeline over it.
    Analyse {
        /// Stop after so many packets.
        packets: Option<u64>,
        /// Threads of the packet stage.
        workers: u16,
        /// Where the result goes: an empty file that is there already. No other file can be written or made.
        result: PathBuf,
    },
    /// Load the pipeline and say what became of each of its plugins. The capture is not looked at.
    Describe,
    /// Write the packets of one flow as a capture of its own.
    Cut {
        /// The flow.
        flow: CutFlow,
        /// Where the packets go: an empty file that is there already.
        result: PathBuf,
        /// Bytes after which writing stops.
        bytes: u64,
    },
    /// Train a model from labelled data and marks, and compare it with the champion.
    Train(TrainTask),
}

/// What a model is learnt from, and where it goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainTask {
    /// What of the folder is learnt from: folders with captures.csv, and tables of rows, by their names in it; the folder
    /// itself where the name is empty.
    pub sources: Vec<String>,
    /// A folder with marks as the portal exports them.
    pub marks: Option<PathBuf>,
    /// The captures that the marks are of.
    pub captures: Vec<PathBuf>,
    /// What to do where a mark contradicts a strong label.
    pub on_conflict: OnConflict,
    /// What a mark weighs, in flows.
    pub weight: f64,
    /// What the model is called in its card.
    pub name: String,
    /// Seed of whatever is random.
    pub seed: u64,
    /// Captures that are read at the same time.
    pub workers: u16,
    /// Where the model and what came of it go: an empty file that is there already.
    pub result: PathBuf,
}

/// Which packets to cut out: those of a five-tuple, in either direction, from one packet number on up to a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CutFlow {
    /// One side's address.
    pub src_ip: std::net::IpAddr,
    /// Its port.
    pub src_port: u16,
    /// The other side's address.
    pub dest_ip: std::net::IpAddr,
    /// Its port.
    pub dest_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// The number of the flow's first packet in the capture, from 1.
    pub first_packet: u64,
    /// The time of its last packet, in nanoseconds since 1970.
    pub last_ns: u64,
}

/// What the kernel holds a worker to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerLimits {
    /// Bytes of memory, as address space.
    pub memory_bytes: u64,
    /// Seconds of processor time.
    pub cpu_seconds: u64,
    /// Bytes of the result file.
    pub file_bytes: u64,
    /// Files that are open at the same time.
    pub open_files: u64,
    /// Run even where the kernel can neither confine files (Landlock) nor calls (seccomp).
    pub without_sandbox: bool,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self { memory_bytes: 3 << 30, cpu_seconds: 1800, file_bytes: 8 << 30, open_files: 64, without_sandbox: false }
    }
}

/// What a worker says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// How far it has come; several times a second at most.
    Progress(WorkerProgress),
    /// An alert, as soon as it is known; only the first few.
    Alert(WorkerAlert),
    /// What the capture is: the end of [`Task::Inspect`].
    Inspected(Inspection),
    /// The result is written: the end of [`Task::Analyse`].
    Analysed(Analysed),
    /// The packets are written: the end of [`Task::Cut`].
    Cut {
        /// How many.
        packets: u64,
        /// Whether all of the flow's packets fitted.
        complete: bool,
    },
    /// One plugin of the pipeline, on the way to the end of [`Task::Describe`].
    Plugin(Box<PluginDescription>),
    /// Every plugin was told: the end of [`Task::Describe`].
    Described(PipelineDescription),
    /// How far a training has come.
    Learning(LearnProgress),
    /// The model is written, or why there is none: the end of [`Task::Train`].
    Learnt(Learnt),
    /// It cannot be done, and why.
    Failed(Failed),
}

/// What a worker is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Loading plugins and the model.
    Preparing,
    /// Reading packets.
    Reading,
    /// Finishing the result.
    Writing,
}

/// What a training is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LearnStage {
    /// Reading captures.
    Reading,
    /// Learning, fold by fold.
    Learning,
    /// Evaluation and audit.
    Judging,
    /// The champion beside the challenger.
    Comparing,
    /// Writing the model.
    Writing,
}

/// How far a training has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearnProgress {
    /// What it is busy with.
    pub stage: LearnStage,
    /// How much of that is done.
    pub done: u64,
    /// Of how much.
    pub of: u64,
}

/// What a training came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learnt {
    /// Whether there is a model; there is none where marks contradict labels and nobody said who is right.
    pub trained: bool,
}

/// How far a worker has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerProgress {
    /// What it is busy with.
    pub stage: Stage,
    /// Bytes of the capture that were read, as they are in the file.
    pub bytes: u64,
    /// Bytes of the file.
    pub total_bytes: Option<u64>,
    /// Packets read.
    pub packets: u64,
    /// Flows that have ended.
    pub flows: u64,
    /// Malicious and suspicious flows among them.
    pub alerts: u64,
}

/// An alert in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerAlert {
    /// The flow.
    pub flow_id: u64,
    /// `malicious` or `suspicious`.
    pub verdict: String,
    /// Its score.
    pub score: f64,
    /// The originator's address.
    pub src_ip: String,
    /// The responder's address.
    pub dest_ip: String,
    /// The responder's port.
    pub dest_port: u16,
    /// The server name that was asked for: the capture's text.
    pub sni: Option<String>,
}

/// What a capture is, as far as its first packets tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// Name of the format, such as `pcapng`.
    pub format: String,
    /// Name of the compression, if any.
    pub compression: Option<String>,
    /// Packets that were looked at.
    pub packets: u64,
    /// Whether these are all packets of the capture.
    pub complete: bool,
    /// Bytes of the file up to there.
    pub bytes: u64,
    /// Earliest time among these packets, in nanoseconds since 1970.
    pub first_ns: Option<u64>,
    /// Latest time.
    pub last_ns: Option<u64>,
    /// Link types by number, with how many packets.
    pub links: Vec<(u16, u64)>,
    /// Packets that decode down to TCP or UDP.
    pub decoded: u64,
    /// What ended reading before the capture's end.
    pub damage: Option<String>,
}

/// What an analysis came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysed {
    /// Packets looked at.
    pub packets: u64,
    /// Flows.
    pub flows: u64,
    /// Flows that were scored.
    pub scored: u64,
    /// Flows called malicious.
    pub malicious: u64,
    /// Flows called suspicious.
    pub suspicious: u64,
    /// Whether the result covers less than the capture.
    pub partial: bool,
    /// Whether not one packet could be looked into because of its link type.
    pub blind: bool,
}

/// One `[[plugin]]` entry, or what a folder brought beside. All texts are bounded and on one line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginDescription {
    /// The instance; for what a folder brought, the library's file name.
    pub id: String,
    /// `kind/name`; empty where nobody knows.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// The contract that it was built against.
    pub contract: String,
    /// What it says of itself.
    pub summary: String,
    /// The file name of its library; none where it is in the box.
    pub library: Option<String>,
    /// How far it came: a word of [`PluginState`](crate::plugins::PluginState).
    pub state: String,
    /// Why it is not used.
    pub reason: Option<String>,
    /// Whether there is no run without it.
    pub required: bool,
    /// Its settings, as far as it names them.
    pub settings: Vec<SettingDescription>,
    /// Columns of an extractor that the pipeline uses, the first [`PARTS`](super::PARTS) of them at most.
    pub columns: Vec<Part>,
    /// How many there are.
    pub column_count: u64,
    /// Fields of a template, as many of them.
    pub fields: Vec<Part>,
    /// How many there are.
    pub field_count: u64,
}

/// One setting of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingDescription {
    /// Its name.
    pub name: String,
    /// What this pipeline sets, in TOML; none where it does not.
    pub value: Option<String>,
}

/// A pipeline as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineDescription {
    /// Why it cannot be used; none where it can be.
    pub refused: Option<String>,
    /// The name of its model; none without one.
    pub model: Option<String>,
    /// Columns of a row.
    pub columns: u64,
    /// Plugins that were told.
    pub plugins: u64,
    /// The version of Landlock by which files and the network were out of reach while it was loaded, as seccomp had calls;
    /// none where the worker was not confined.
    pub landlock: Option<i32>,
}

/// Why a worker cannot do it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// What kind of failure.
    pub why: FailedWhy,
    /// What, where and what to do, in one line.
    pub words: String,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailedWhy {
    /// There is not one byte, or not one packet, in the capture.
    Empty,
    /// It is no capture.
    NotACapture,
    /// It is one, but cannot be read at all: cut inside its header, of an unknown version, nested too deep.
    Unreadable,
    /// The pipeline's configuration, its plugins or its model cannot be used.
    Pipeline,
    /// The labelled data, or the marks, cannot be learnt from.
    Labels,
    /// A plugin failed in the middle.
    Plugin,
    /// The result cannot be written.
    Output,
    /// The sandbox cannot be set up.
    Sandbox,
    /// The order itself makes no sense.
    Order,
}
