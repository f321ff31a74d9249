//! What a parent and a child that browses say to each other.

use crate::worker::order::{Unpacking, WorkerLimits};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use veilwatch_core::detect::Verdict;

/// What a child is to browse: the first line that it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrowseOrder {
    /// The capture.
    pub capture: PathBuf,
    /// Says of which content the index is, such as a hash of the capture: an index of another one is not believed.
    pub identity: String,
    /// An index that was kept.
    pub kept: Option<PathBuf>,
    /// An empty file that is there already, for an index that had to be made.
    pub index: PathBuf,
    /// Another one, for what a compressed capture unpacks to.
    pub unpacked: PathBuf,
    /// A folder of tables over those in the box; none where there are no more.
    #[serde(default)]
    pub tables: Option<PathBuf>,
    /// A file with what an analysis said of the capture's flows, a [`JudgedFlow`](super::JudgedFlow) a line; none where nothing
    /// is known of any. It may still be empty, or only a part of it may be there, which its first byte says
    /// ([`JUDGED_PART`](super::JUDGED_PART)): it is read with the first question for which it is whole, and a search that
    /// speaks of verdicts waits for that. An empty line is none.
    #[serde(default)]
    pub judged: Option<PathBuf>,
    /// Whether the capture still grows: one that this program writes as pcapng, whose beginning is there. No index of it is
    /// kept.
    pub follows: bool,
    /// Packets that are indexed.
    pub packets: u64,
    /// Bytes of an index; a larger one is not written.
    pub index_bytes: u64,
    /// Bounds on unpacking.
    pub unpacking: Unpacking,
    /// Bounds that the kernel holds the child to.
    pub limits: WorkerLimits,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Its number, which the answer repeats.
    pub id: u64,
    /// What is asked.
    pub ask: Ask,
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// Lines of the list of packets.
    Rows {
        /// The first packet that may be among them.
        from: u64,
        /// How many lines, [`ROWS`] at most.
        count: u32,
        /// Only packets of this packet's flow.
        flow: Option<u64>,
        /// A display filter; empty: all packets. Of a flow, all are told.
        filter: String,
        /// Whether the search goes on where it is not done.
        search: bool,
    },
    /// Everything of one packet.
    Packet {
        /// Its number.
        number: u64,
    },
    /// What both sides of a packet's flow said.
    Stream {
        /// The packet.
        packet: u64,
        /// Bytes to pass over.
        skip: u64,
    },
    /// Which fields may stand at a place of an expression.
    Complete {
        /// The expression.
        text: String,
        /// The place, in bytes.
        cursor: u64,
    },
}

/// Lines of one answer at most.
pub const ROWS: u32 = 500;
/// Bytes of a line of questions.
pub const ASKED_BYTES: usize = 32 << 10;
/// Bytes of a line of answers: a tree of the largest size, its text written in the longest way.
pub const ANSWER_BYTES: usize = 8 << 20;
/// Bytes of a packet that are told.
pub const PACKET_BYTES: usize = 64 << 10;
/// Bytes of a stream in one answer.
pub const STREAM_BYTES: usize = 64 << 10;
/// Fields of one completion.
pub const COMPLETIONS: usize = 30;
/// Checksums, and warnings, of one packet that are told.
pub const REMARKS: usize = 64;
/// Bytes of a cell of the list.
pub const CELL_BYTES: usize = 80;
/// Bytes of what a packet says, in the list.
pub const INFO_BYTES: usize = 400;
/// Bytes of a message.
pub const WORDS_BYTES: usize = 600;

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The number of the question.
    pub id: u64,
    /// How far the capture is read.
    pub read: ReadState,
    /// What was asked for.
    pub said: Said,
}

/// How far a capture is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadState {
    /// What is done at the time.
    pub stage: ReadStage,
    /// Bytes of the file that were read.
    pub bytes: u64,
    /// Bytes of the file.
    pub total_bytes: u64,
    /// Packets that are known so far.
    pub packets: u64,
    /// Whether there are more packets than are indexed.
    pub is_cut: bool,
    /// What ended reading before the capture's end.
    pub damage: Option<String>,
    /// Bytes of an index that was made and written whole.
    pub index_bytes: Option<u64>,
}

/// What is done with a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadStage {
    /// It is unpacked.
    Unpacking,
    /// An index of it is made.
    Indexing,
    /// All of it is known that was written by now.
    Following,
    /// All of it is known.
    Ready,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// Lines.
    Rows(PacketRows),
    /// A packet; nothing where there is none of that number so far.
    Packet(Option<Box<PacketPage>>),
    /// A stream; nothing where the packet is of no flow, or of none so far.
    Stream(Option<StreamPart>),
    /// Fields.
    Complete(Completed),
    /// The display filter is wrong.
    Wrong(WrongFilter),
    /// It cannot be read, and why.
    Unreadable(String),
}

/// Lines of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketRows {
    /// The lines.
    pub rows: Vec<PacketRow>,
    /// From where the lines before these begin, if there are any.
    pub before: Option<u64>,
    /// From where the lines after these begin.
    pub after: Option<u64>,
    /// How far the search is, where there is a filter.
    pub search: Option<Searched>,
}

/// A line of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketRow {
    /// The packet's number.
    pub number: u64,
    /// Its time since the capture's first packet, in nanoseconds.
    pub since_ns: i64,
    /// Who sent it.
    pub src: String,
    /// For whom it is.
    pub dst: String,
    /// What it is, in a word.
    pub protocol: String,
    /// Bytes it had on the wire.
    pub wire_len: u32,
    /// What it says.
    pub info: String,
    /// The verdict on its flow, where that is known.
    #[serde(default)]
    pub verdict: Option<Verdict>,
}

/// How far a search is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Searched {
    /// Packets that were looked at.
    pub scanned: u64,
    /// Packets of which the filter holds.
    pub found: u64,
    /// Whether all of the capture was looked at.
    pub done: bool,
    /// Whether packets may be missing, because more flows were under way at once than are kept in mind.
    pub may_miss: bool,
}

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketPage {
    /// Its line.
    pub row: PacketRow,
    /// Its time, in nanoseconds since 1970.
    pub time_ns: u64,
    /// All its fields.
    pub nodes: Vec<PacketField>,
    /// Fields that were left out because there were too many.
    pub left_out: u64,
    /// Its checksums: the field, and what is to say of it.
    pub checksums: Vec<(String, String)>,
    /// Warnings that fit it.
    pub warnings: Vec<String>,
    /// Its bytes in hexadecimal, [`PACKET_BYTES`] at most.
    pub hex: String,
    /// Bytes that were captured.
    pub captured: u64,
    /// Packets of its flow, where it is of one.
    pub flow_packets: Option<u64>,
}

/// A field of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketField {
    /// Fields above it.
    pub depth: u8,
    /// Its name, such as `ip.src`.
    pub field: String,
    /// What it is.
    pub label: String,
    /// What it says.
    pub value: String,
    /// The first of its bytes, and the one after the last.
    pub bytes: Option<(u64, u64)>,
}

/// A part of what both sides of a flow said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPart {
    /// Who sent the flow's first packet, and to whom.
    pub ends: [String; 2],
    /// Piece after piece.
    pub pieces: Vec<StreamPiece>,
    /// Bytes before this part.
    pub skipped: u64,
    /// Bytes of all of it.
    pub bytes: u64,
    /// Whether there is more than is followed, or something is missing in the capture.
    pub is_cut: bool,
}

/// What one side said at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPiece {
    /// Whether the side of the flow's first packet said it.
    pub first_side: bool,
    /// The packet with which all of it was there.
    pub packet: u64,
    /// The bytes in hexadecimal.
    pub hex: String,
}

/// Fields that may stand at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completed {
    /// The bytes of the expression that a choice takes the place of.
    pub replaces: (u64, u64),
    /// The fields: names, and what they say.
    pub fields: Vec<(String, String)>,
}

/// What is wrong with a display filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrongFilter {
    /// What.
    pub what: String,
    /// The bytes of it that are wrong; empty at its end where something is missing.
    pub place: (u64, u64),
}
