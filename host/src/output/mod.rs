//! What people and programs get to see: a table on a terminal, JSON Lines or CSV in a pipe.
//!
//! Everything a capture says (server names, certificates) is an attacker's text: it is cut to a length, and never
//! reaches a terminal with control characters in it. `docs` of the JSON Lines format: `host/OUTPUT.md`.

mod appended;
mod community;
mod conclusion;
mod csv;
mod jsonl;
mod live;
mod names;
mod packets;
mod queue;
mod selection;
mod shadow;
mod table;
mod text;
mod words;

pub use appended::open_appended;
pub(crate) use community::community_id;
pub use csv::{CSV_COLUMNS, CsvFlow, CsvSink, csv_error, csv_line, harmless};
pub(crate) use jsonl::version_name;
pub use jsonl::{FORMAT, FlowLines, JsonSink, server_name};
pub use live::LiveSink;
pub use packets::{PacketHexSink, PacketJsonSink, PacketTableSink, PacketTreeSink};
pub use queue::{QueueSink, question_lines, question_table};
pub use selection::Selection;
pub use table::{TableSink, fit, summary_text};
pub use text::{bounded, plain, timestamp};
pub(crate) use words::plain_value;
pub use words::{counterfactual_words, nearest_words, reason_words};
