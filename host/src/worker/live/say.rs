//! What a parent and a child that captures say to each other.

use crate::worker::order::{Failed, ModelChoice, WorkerLimits};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a child is to capture: the first line that it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveOrder {
    /// The interface.
    pub interface: String,
    /// Which packets, in tcpdump's language; empty: those that the pipeline's configuration lets through.
    pub capture_filter: String,
    /// Whether the interface is to take packets that are for others.
    pub promiscuous: bool,
    /// The file that packets are written into, which is not there yet.
    pub recording: PathBuf,
    /// The pipeline's configuration; the one in the box where there is none.
    pub pipeline: Option<PathBuf>,
    /// A folder of tables over those of the pipeline; none where there are no more.
    #[serde(default)]
    pub tables: Option<PathBuf>,
    /// The model instead of the one that the configuration names, and where it is looked for.
    #[serde(default)]
    pub model: Option<ModelChoice>,
    /// Packets after which it ends.
    pub packets: u64,
    /// Bytes of the file after which it ends.
    pub bytes: u64,
    /// Seconds after which it ends.
    pub seconds: u64,
    /// Seconds that it may take to begin: the pipeline and its model are loaded then.
    pub begin_seconds: u64,
    /// Seconds without a word from it, once it has begun, after which it counts as hung.
    pub silent_seconds: u64,
    /// Bytes of the kernel's ring.
    pub ring_bytes: u32,
    /// Threads of the packet stage.
    pub workers: u16,
    /// Flows that are told as alerts; more are only counted.
    pub alerts: u64,
    /// Bounds that the kernel holds the child to.
    pub limits: WorkerLimits,
}

/// What a child is told later, a line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveCommand {
    /// Pass over what comes.
    Pause,
    /// Capture again.
    GoOn,
    /// End with what was captured.
    Stop,
}

impl LiveCommand {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Pause, Self::GoOn, Self::Stop];

    /// Its line, without the end.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::GoOn => "go-on",
            Self::Stop => "stop",
        }
    }
}

/// Bytes of a message in words.
pub const LIVE_WORDS_BYTES: usize = 1000;
/// Bytes of a name in an alert.
pub const ALERT_NAME_BYTES: usize = 255;
/// Reasons of an alert that are told, and bytes of each.
pub const ALERT_REASONS: usize = 4;
/// The latter.
pub const ALERT_REASON_BYTES: usize = 300;
/// Packets to look at that an alert names.
pub const ALERT_PACKETS: usize = 16;

/// What a child says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LiveSaid {
    /// It captures, is confined, and its pipeline is made.
    Begun,
    /// How it goes; four times a second.
    Now(LiveNow),
    /// A flow that is an alert, or that was one so far.
    Alert(Box<LiveAlert>),
    /// What a person should know of, such as an interface that went down.
    Word(String),
    /// It cannot begin, or not go on, and why.
    Refused(LiveRefused),
    /// The same, where not even the order can be read.
    Failed(Failed),
    /// It has ended, and the file is whole.
    Ended(LiveEnd),
}

/// How a capture goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveNow {
    /// Packets that were captured.
    pub packets: u64,
    /// Bytes of these on the wire.
    pub bytes: u64,
    /// Packets that are in the file.
    pub recorded: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Packets that could not be written.
    pub not_recorded: u64,
    /// Packets that the kernel lost.
    pub lost: u64,
    /// Packets that were passed over in a pause.
    pub passed_over: u64,
    /// Times that the interface went down.
    pub downs: u64,
    /// Flows that have ended.
    pub flows: u64,
    /// Malicious and suspicious ones among them.
    pub alerts: u64,
    /// Whether it pauses.
    pub is_paused: bool,
    /// Whether the interface is down.
    pub is_down: bool,
}

/// An alert in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveAlert {
    /// The flow.
    pub flow_id: u64,
    /// Whether the flow has ended: before that its verdict may change.
    pub is_final: bool,
    /// `malicious`, `suspicious`, or of one that is no alert any more `benign` or `unknown`.
    pub verdict: String,
    /// Its score.
    pub score: f64,
    /// The originator: address and port.
    pub src: String,
    /// The responder.
    pub dest: String,
    /// The name that was asked for: the traffic's text.
    pub name: String,
    /// Why, in words.
    pub reasons: Vec<String>,
    /// Numbers of packets to look at, in order.
    pub packets: Vec<u64>,
    /// Time of its first packet, in nanoseconds since 1970.
    pub first_ns: u64,
}

/// Why there is no capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveRefused {
    /// What kind of reason.
    pub why: LiveRefusal,
    /// What, where and what to do, in one line.
    pub words: String,
}

/// Kinds of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LiveRefusal {
    /// The process may not capture.
    Forbidden,
    /// There is no such interface, or none that can be captured on.
    Interface,
    /// The capture filter cannot be used.
    Filter,
    /// The file cannot be made.
    File,
    /// The pipeline's configuration, its plugins or its model cannot be used.
    Pipeline,
    /// A plugin failed in the middle.
    Plugin,
    /// The sandbox cannot be set up.
    Sandbox,
}

/// How a capture ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveEnd {
    /// Why.
    pub why: LiveEnding,
    /// What it came to.
    pub now: LiveNow,
}

/// Why a capture ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LiveEnding {
    /// It was told to.
    Stopped,
    /// It has as many packets as it may have.
    Packets,
    /// The file is as large as it may be.
    Bytes,
    /// It took as long as it may take.
    Time,
    /// The interface was removed, and cannot be taken up again.
    Interface,
    /// The file cannot be written on.
    Disk,
}
