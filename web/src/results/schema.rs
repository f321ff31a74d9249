//! The tables of a result, and their bounds.

/// Marks a SQLite file as a result of Veilwatch: `VWLR`.
pub const APPLICATION_ID: i32 = 0x5657_4c52;
/// Version of the tables: it grows with every change of them.
pub const VERSION: i32 = 1;

/// Flows that are listed one by one. Flows that were scored may go beyond it by half, alerts by as much again, so that
/// no flood of other flows can hide them. What is not listed is counted.
pub const MAX_FLOWS: u64 = 2_000_000;
/// Hosts that are listed, in the same sense.
pub const MAX_HOSTS: usize = 100_000;
/// Pairs of host and server that are told apart for the number of a host's servers.
pub const MAX_PAIRS: usize = 1_000_000;
/// Bytes of a flow's JSON line, and of anything else in one cell.
pub const CELL_BYTES: usize = 1 << 20;
/// Bytes of a server name in the list of flows, before escapes; its JSON line has as much of it as the pipeline says.
pub const SNI_BYTES: usize = 256;
/// Bytes of a short text as it is read: an address, a name of a template, a server name with its escapes.
pub const TEXT_BYTES: usize = 4096;

/// Everything in the file: type, name, table and SQL, as `sqlite_schema` has them, in the order they are made in.
/// Tables come first, indexes are made when all rows are there.
pub const OBJECTS: &[(&str, &str, &str, &str)] = &[
    // Times are nanoseconds since 1970 and unsigned; they are kept bit by bit in SQLite's signed numbers.
    (
        "table",
        "flows",
        "flows",
        "CREATE TABLE flows (n INTEGER PRIMARY KEY, flow_id INTEGER NOT NULL, first_ns INTEGER NOT NULL, \
         last_ns INTEGER NOT NULL, first_packet INTEGER NOT NULL, src_ip TEXT NOT NULL, src_port INTEGER NOT NULL, \
         dest_ip TEXT NOT NULL, dest_port INTEGER NOT NULL, protocol INTEGER NOT NULL, app TEXT, sni TEXT, \
         verdict INTEGER, score REAL, packets INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT",
    ),
    ("table", "lines", "lines", "CREATE TABLE lines (n INTEGER PRIMARY KEY, json TEXT NOT NULL) STRICT"),
    ("table", "rows", "rows", "CREATE TABLE rows (n INTEGER PRIMARY KEY, row BLOB NOT NULL) STRICT"),
    (
        "table",
        "columns",
        "columns",
        "CREATE TABLE columns (n INTEGER PRIMARY KEY, name TEXT NOT NULL, unit TEXT NOT NULL, words TEXT NOT NULL) \
         STRICT",
    ),
    (
        "table",
        "hosts",
        "hosts",
        "CREATE TABLE hosts (n INTEGER PRIMARY KEY, address TEXT NOT NULL, flows INTEGER NOT NULL, \
         scored INTEGER NOT NULL, malicious INTEGER NOT NULL, suspicious INTEGER NOT NULL, score REAL, \
         servers INTEGER NOT NULL, packets INTEGER NOT NULL, bytes INTEGER NOT NULL, first_ns INTEGER NOT NULL, \
         last_ns INTEGER NOT NULL) STRICT",
    ),
    (
        "table",
        "meta",
        "meta",
        "CREATE TABLE meta (n INTEGER PRIMARY KEY, name TEXT NOT NULL, value TEXT NOT NULL) STRICT",
    ),
    ("index", "flows_by_id", "flows", "CREATE INDEX flows_by_id ON flows (flow_id)"),
    ("index", "flows_by_first", "flows", "CREATE INDEX flows_by_first ON flows (first_ns)"),
    ("index", "flows_by_score", "flows", "CREATE INDEX flows_by_score ON flows (score)"),
    ("index", "flows_by_verdict", "flows", "CREATE INDEX flows_by_verdict ON flows (verdict DESC, score DESC)"),
    ("index", "flows_by_bytes", "flows", "CREATE INDEX flows_by_bytes ON flows (bytes)"),
    ("index", "flows_by_packets", "flows", "CREATE INDEX flows_by_packets ON flows (packets)"),
    ("index", "flows_by_src", "flows", "CREATE INDEX flows_by_src ON flows (src_ip)"),
    ("index", "flows_by_dest", "flows", "CREATE INDEX flows_by_dest ON flows (dest_ip)"),
    ("index", "flows_by_sni", "flows", "CREATE INDEX flows_by_sni ON flows (sni)"),
    ("index", "flows_alerts", "flows", "CREATE INDEX flows_alerts ON flows (n) WHERE verdict >= 2"),
];

/// What stands in `meta`, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meta {
    /// The last line of the JSON Lines output.
    Summary = 1,
    /// What that line does not say.
    Facts = 2,
    /// The pipeline and its model.
    Pipeline = 3,
    /// What pictures are drawn from.
    Histograms = 4,
    /// Flows that are worth a person's word; results of before there was a queue have none.
    Questions = 5,
}

impl Meta {
    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Summary => "summary",
            Self::Facts => "facts",
            Self::Pipeline => "pipeline",
            Self::Histograms => "histograms",
            Self::Questions => "questions",
        }
    }
}

/// Verdicts by their numbers in the tables; larger is worse.
pub const VERDICTS: [&str; 4] = ["unknown", "benign", "suspicious", "malicious"];
/// Verdicts from this number on are alerts.
pub const FIRST_ALERT: i64 = 2;

/// The number of a verdict's name.
pub fn verdict_number(name: &str) -> Option<i64> {
    VERDICTS.iter().zip(0..).find(|(known, _)| **known == name).map(|(_, number)| number)
}
