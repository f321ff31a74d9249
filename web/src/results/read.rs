//! The file, opened by the portal.
//!
//! Whoever wrote it may mean harm. SQLite is told to trust nothing in it, its tables must be ours to the letter, no
//! value is larger than its bound, every value has the type that is expected of it, and every query has a deadline.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, params_from_iter};
use serde::Deserialize;
use serde_json::Value as Json;
use thiserror::Error;
use veilwatch::engine::Category;
use veilwatch::output::{CSV_COLUMNS, CsvFlow, csv_line};
use veilwatch::worker::CutFlow;
use veilwatch::worker::browse::JudgedFlow;
use veilwatch_core::detect::Verdict;

use super::facts::{Facts, PipelineFacts, ResultSummary, short};
use super::histograms::Histograms;
use super::questions::{self, Question};
use super::schema::{APPLICATION_ID, CELL_BYTES, FIRST_ALERT, Meta, OBJECTS, TEXT_BYTES, VERDICTS, VERSION};

/// SQLite's page cache while reading, in KiB.
const CACHE_KIB: i64 = 16 * 1024;
/// Steps of SQLite's machine between two looks at the clock: some ten microseconds.
const STEPS: i32 = 2000;
/// Bytes of a search text.
pub const SEARCH_BYTES: usize = 255;
/// Rows of any list at once.
pub const PAGE_ROWS: u32 = 5000;
/// Flows beyond a page that are counted for a query; that there are more is said.
pub const COUNTED: u64 = 100_000;
/// Flows of a verdict that are few enough to be sorted for every page.
const FEW: u64 = 20_000;
/// Bytes of JSON lines at once; the last line may go beyond.
pub const PAGE_BYTES: usize = 4 << 20;
/// Bytes of JSON of all alerts at once: some thousand alerts.
pub const ALERT_BYTES: usize = 16 << 20;
/// Reasons and packet numbers of an alert that are read.
pub const ALERT_LIST: usize = 256;

/// Why a result cannot be shown.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResultError {
    /// The file cannot be read.
    #[error("the result {} cannot be read: {error}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is something else, or it is cut off: the worker did not finish it.
    #[error("the result {} is no result of Veilwatch: {why}; analyse the capture again", path.display())]
    NotAResult {
        /// Which file.
        path: PathBuf,
        /// How one sees it.
        why: &'static str,
    },
    /// Another version of the portal made it.
    #[error("the result is of version {found}, this portal knows version {VERSION}: analyse the capture again")]
    OtherVersion {
        /// Its version.
        found: u32,
    },
    /// Something in it reads as nothing we wrote.
    #[error("the result holds what Veilwatch never wrote ({0}): do not trust it, and analyse the capture again")]
    Foreign(String),
    /// The deadline has passed.
    #[error("looking it up took longer than {milliseconds} ms: ask for less, or for something more narrow")]
    TooSlow {
        /// The deadline.
        milliseconds: u32,
    },
    /// SQLite cannot do it, for a reason that is not in the file.
    #[error("the result cannot be read: {0}")]
    Sqlite(rusqlite::Error),
}

/// A result that was opened and has our tables.
#[derive(Debug)]
pub struct ResultFile {
    connection: Connection,
    clock: Clock,
}

/// The deadline of the query that runs.
#[derive(Clone, Debug)]
struct Clock {
    begin: Instant,
    milliseconds: u32,
    /// Milliseconds since `begin` after which the query ends.
    end: Arc<AtomicU64>,
}

impl Clock {
    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn restart(&self) {
        self.end.store(self.now().saturating_add(u64::from(self.milliseconds)), Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.now() > self.end.load(Ordering::Relaxed)
    }
}

/// One host that opened flows.
#[derive(Clone, Debug, PartialEq)]
pub struct HostRow {
    /// Its address.
    pub address: IpAddr,
    /// Flows it opened.
    pub flows: u64,
    /// Those that were scored.
    pub scored: u64,
    /// Those called malicious.
    pub malicious: u64,
    /// Those called suspicious.
    pub suspicious: u64,
    /// The largest score.
    pub score: Option<f64>,
    /// Servers it opened flows to.
    pub servers: u64,
    /// Packets of its flows, both ways.
    pub packets: u64,
    /// Bytes of its flows, both ways.
    pub bytes: u64,
    /// Begin of its first flow in nanoseconds since 1970.
    pub first_ns: u64,
    /// End of its last flow.
    pub last_ns: u64,
}

/// One flow in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowRow {
    /// Its place in the order of output.
    pub n: i64,
    /// Its number.
    pub flow_id: u64,
    /// Time of its first packet in nanoseconds since 1970.
    pub first_ns: u64,
    /// Time of its last packet.
    pub last_ns: u64,
    /// Number of its first packet in the capture.
    pub first_packet: u64,
    /// The originator's address.
    pub src_ip: IpAddr,
    /// Its port.
    pub src_port: u16,
    /// The responder's address.
    pub dest_ip: IpAddr,
    /// Its port.
    pub dest_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Id of the template that recognised it.
    pub app: Option<String>,
    /// The server name it asked for: the capture's text.
    pub sni: Option<String>,
    /// The verdict's name, where it was scored.
    pub verdict: Option<&'static str>,
    /// The score, where it was scored.
    pub score: Option<f64>,
    /// Packets, both ways.
    pub packets: u64,
    /// Bytes, both ways.
    pub bytes: u64,
}

impl FlowRow {
    /// `TCP` or `UDP`.
    pub fn transport(&self) -> &'static str {
        if self.protocol == 6 { "TCP" } else { "UDP" }
    }

    /// The flow as a worker is told to cut it out of its capture.
    pub fn cut(&self) -> CutFlow {
        CutFlow {
            src_ip: self.src_ip,
            src_port: self.src_port,
            dest_ip: self.dest_ip,
            dest_port: self.dest_port,
            protocol: self.protocol,
            first_packet: self.first_packet,
            last_ns: self.last_ns,
        }
    }

    /// Nanoseconds from its first to its last packet.
    pub fn duration_ns(&self) -> u64 {
        self.last_ns.saturating_sub(self.first_ns)
    }
}

/// A malicious or suspicious flow with what made it one.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRow {
    /// The flow.
    pub flow: FlowRow,
    /// What it is for, where something tells it.
    pub category: Option<String>,
    /// Why that, the reason that decided first.
    pub category_reasons: Vec<CategoryReasonRow>,
    /// Why, the weightiest first.
    pub reasons: Vec<ReasonRow>,
    /// Numbers of the packets to look at, as in any packet browser.
    pub evidence: Vec<u64>,
    /// What its handshake shows: EVE's names and their texts.
    pub tls: Vec<(String, String)>,
}

/// One reason.
#[derive(Clone, Debug, PartialEq)]
pub struct ReasonRow {
    /// The feature.
    pub feature: String,
    /// The flow's value; none where it is missing.
    pub value: Option<f64>,
    /// What that means, in words.
    pub words: String,
    /// Its part in the raw score, in log-odds.
    pub contribution: f64,
}

/// One reason of a category.
#[derive(Clone, Debug, PartialEq)]
pub struct CategoryReasonRow {
    /// The rule.
    pub rule: String,
    /// What it saw, in words.
    pub words: String,
}

/// The reasons of the category that a flow's line has.
pub fn category_reasons(line: &Json) -> Vec<CategoryReasonRow> {
    let reasons = line.get("category_reasons").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    let reason = |reason: &Json| {
        let text = |name: &str| short(reason.get(name).and_then(Json::as_str).unwrap_or_default());
        CategoryReasonRow { rule: text("rule"), words: text("words") }
    };
    reasons.iter().take(ALERT_LIST).map(reason).collect()
}

/// The key of a category's words among the messages; none of one that there is not.
pub fn category_message(category: &str) -> Option<String> {
    Category::from_name(category).map(|category| format!("for.{category}"))
}

/// Everything that is known of a flow.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowDetail {
    /// Its facts.
    pub flow: FlowRow,
    /// Its line of JSON Lines.
    pub line: Json,
    /// Its row of features, where it was scored.
    pub features: Vec<Feature>,
}

/// One feature of a flow.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// The flow's value; NaN where it is missing.
    pub value: f32,
    /// Its unit.
    pub unit: String,
    /// What it measures.
    pub words: String,
}

/// What flows are ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortKey {
    /// The order of output.
    #[default]
    Order,
    /// Time of the first packet.
    First,
    /// The score.
    Score,
    /// Bytes.
    Bytes,
    /// Packets.
    Packets,
    /// The originator's address, as text.
    Source,
    /// The responder's address, as text.
    Server,
    /// The server name.
    Sni,
}

impl SortKey {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Order, Self::First, Self::Score, Self::Bytes, Self::Packets, Self::Source, Self::Server, Self::Sni];

    /// Its name in addresses of pages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::First => "time",
            Self::Score => "score",
            Self::Bytes => "bytes",
            Self::Packets => "packets",
            Self::Source => "source",
            Self::Server => "server",
            Self::Sni => "sni",
        }
    }

    /// The key of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    fn column(self) -> &'static str {
        match self {
            Self::Order => "n",
            Self::First => "first_ns",
            Self::Score => "score",
            Self::Bytes => "bytes",
            Self::Packets => "packets",
            Self::Source => "src_ip",
            Self::Server => "dest_ip",
            Self::Sni => "sni",
        }
    }
}

/// Which verdicts are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerdictFilter {
    /// Malicious and suspicious flows.
    Alerts,
    /// Malicious flows.
    Malicious,
    /// Suspicious flows.
    Suspicious,
    /// Benign flows.
    Benign,
    /// Flows of which the model says nothing.
    Unknown,
    /// Flows that were not scored.
    NotScored,
}

impl VerdictFilter {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Alerts, Self::Malicious, Self::Suspicious, Self::Benign, Self::Unknown, Self::NotScored];

    /// Its name in addresses of pages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alerts => "alerts",
            Self::Malicious => "malicious",
            Self::Suspicious => "suspicious",
            Self::Benign => "benign",
            Self::Unknown => "unknown",
            Self::NotScored => "not-scored",
        }
    }

    /// The filter of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|filter| filter.name() == name)
    }

    fn sql(self) -> &'static str {
        match self {
            Self::Alerts => "verdict >= 2",
            Self::Malicious => "verdict = 3",
            Self::Suspicious => "verdict = 2",
            Self::Benign => "verdict = 1",
            Self::Unknown => "verdict = 0",
            Self::NotScored => "verdict IS NULL",
        }
    }
}

/// Which flows are listed, and in what order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowQuery {
    /// A part of an address, a server name or a template's id, or a port; at most [`SEARCH_BYTES`].
    pub search: Option<String>,
    /// What they are ordered by.
    pub sort: SortKey,
    /// The largest first.
    pub descending: bool,
    /// Only flows of this verdict.
    pub verdict: Option<VerdictFilter>,
    /// Only flows that this host opened.
    pub host: Option<IpAddr>,
    /// Flows to pass over.
    pub offset: u64,
    /// Flows to list; at most [`PAGE_ROWS`].
    pub limit: u32,
}

/// Some flows of many.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowPage {
    /// The flows.
    pub rows: Vec<FlowRow>,
    /// How many there are in all, as far as they were counted.
    pub total: u64,
    /// Whether all were counted before the deadline and [`COUNTED`].
    pub total_is_exact: bool,
    /// Whether the deadline left the page whole.
    pub is_complete: bool,
}

/// Alerts of one conversation: of one computer to one service.
#[derive(Clone, Debug, PartialEq)]
pub struct ConversationRow {
    /// Who opened them.
    pub client: IpAddr,
    /// Who answered.
    pub server: IpAddr,
    /// Their port.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// The server name that was asked for, or nothing: the capture's text.
    pub name: String,
    /// How many there are.
    pub flows: u64,
    /// The verdict on the worst of them.
    pub verdict: Option<&'static str>,
    /// Its score.
    pub score: Option<f64>,
    /// Its number.
    pub flow_id: u64,
    /// When it began, in nanoseconds since 1970.
    pub first_ns: u64,
    /// The port that it came from.
    pub client_port: u16,
    /// What it is for, where something tells it.
    pub category: Option<String>,
}

impl ConversationRow {
    /// The conversation of a flow, which has so many.
    pub fn of(flow: FlowRow, flows: u64) -> Self {
        Self {
            client: flow.src_ip,
            server: flow.dest_ip,
            port: flow.dest_port,
            protocol: flow.protocol,
            name: flow.sni.unwrap_or_default(),
            flows,
            verdict: flow.verdict,
            score: flow.score,
            flow_id: flow.flow_id,
            first_ns: flow.first_ns,
            client_port: flow.src_port,
            category: None,
        }
    }

    /// Whether both are the same conversation.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.client, self.server, self.port, self.protocol, &self.name)
            == (other.client, other.server, other.port, other.protocol, &other.name)
    }
}

/// What flows have in common; a part that is none lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alike {
    /// Who opened them.
    pub client: Option<IpAddr>,
    /// Who answered.
    pub server: Option<IpAddr>,
    /// Their port.
    pub port: Option<u16>,
    /// The server name that was asked for, to the letter.
    pub name: Option<String>,
}

impl Alike {
    /// The conditions of SQL, with their values.
    fn conditions(&self) -> (String, Vec<Value>) {
        let address = |address: Option<IpAddr>| address.map(|address| Value::Text(address.to_string()));
        let parts = [
            ("src_ip", address(self.client)),
            ("dest_ip", address(self.server)),
            ("dest_port", self.port.map(|port| Value::Integer(port.into()))),
            ("sni", self.name.clone().map(Value::Text)),
        ];
        let (mut sql, mut values) = ("verdict IS NOT NULL".to_owned(), Vec::new());
        for (column, value) in parts {
            if let Some(value) = value {
                values.push(value);
                sql.push_str(&format!(" AND {column} = ?{}", values.len()));
            }
        }
        (sql, values)
    }
}

pub(super) const FLOW_COLUMNS: &str = "flows.n, flow_id, first_ns, last_ns, first_packet, src_ip, src_port, dest_ip, dest_port, \
                            protocol, app, sni, verdict, score, packets, bytes";
/// Where columns of another table begin after these.
const AFTER_FLOW: usize = 16;

impl FlowQuery {
    /// The conditions of the query with their values.
    fn conditions(&self) -> (String, Vec<Value>) {
        let (mut conditions, mut values) = (Vec::new(), Vec::new());
        if let Some(host) = self.host {
            values.push(Value::Text(host.to_string()));
            conditions.push(format!("src_ip = ?{}", values.len()));
        }
        if let Some(filter) = self.verdict {
            conditions.push(filter.sql().to_owned());
        }
        if let Some(search) = self.search.as_deref().map(str::trim).filter(|search| !search.is_empty()) {
            let mut pattern = String::from("%");
            for c in search.chars().scan(0, |bytes, c| {
                *bytes += c.len_utf8();
                (*bytes <= SEARCH_BYTES).then_some(c)
            }) {
                if matches!(c, '%' | '_' | '\\') {
                    pattern.push('\\');
                }
                pattern.push(c);
            }
            pattern.push('%');
            values.push(Value::Text(pattern));
            let at = values.len();
            let like = |column| format!("{column} LIKE ?{at} ESCAPE '\\'");
            let mut any = ["src_ip", "dest_ip", "sni", "app"].map(like).join(" OR ");
            if let Ok(port) = search.parse::<u16>() {
                values.push(Value::Integer(port.into()));
                let at = values.len();
                any.push_str(&format!(" OR src_port = ?{at} OR dest_port = ?{at}"));
            }
            conditions.push(format!("({any})"));
        }
        let sql = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        (sql, values)
    }

    /// The query for a page, with its values; `hint` says by which index.
    fn page(&self, hint: &str) -> (String, Vec<Value>) {
        let (mut conditions, mut values) = self.conditions();
        let direction = if self.descending { "DESC" } else { "ASC" };
        let order = match self.sort {
            SortKey::Order => format!("n {direction}"),
            key => format!("{} {direction}, n {direction}", key.column()),
        };
        values.push(Value::Integer(self.limit.min(PAGE_ROWS).into()));
        values.push(Value::Integer(i64::try_from(self.offset).unwrap_or(i64::MAX)));
        let at = values.len();
        // All of them are numbered from 0 on: those before a page need not be passed over one by one.
        let all_in_order = self.sort == SortKey::Order && conditions.is_empty();
        let offset = if all_in_order { String::new() } else { format!(" OFFSET ?{at}") };
        if all_in_order {
            conditions = match self.descending {
                false => format!(" WHERE n >= ?{at}"),
                true => format!(" WHERE n <= (SELECT max(n) FROM flows) - ?{at}"),
            };
        }
        (
            format!("SELECT {FLOW_COLUMNS} FROM flows{hint}{conditions} ORDER BY {order} LIMIT ?{}{offset}", at - 1),
            values,
        )
    }
}

impl ResultFile {
    /// Opens a result; every query of it ends after so many milliseconds.
    ///
    /// # Errors
    /// Where it is no result, or one of another version, or not to the letter what Veilwatch writes.
    pub fn open(path: &Path, milliseconds: u32) -> Result<Self, ResultError> {
        check_header(path)?;
        let clock = Clock { begin: Instant::now(), milliseconds, end: Arc::default() };
        // Nothing beside it is looked at, such as a journal, and nothing is made: it does not change any more.
        let uri = format!("file:{}?immutable=1", escaped(&whole(path)?));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let mut connection = Connection::open_with_flags(uri, flags).map_err(ResultError::Sqlite)?;
        let looked_at = clock.clone();
        clock.restart();
        connection.progress_handler(STEPS, Some(move || looked_at.is_over())).map_err(ResultError::Sqlite)?;
        let file = Self { connection, clock };
        file.distrust().map_err(|error| file.error(error))?;
        file.check_tables()?;
        Ok(file)
    }

    /// Tells SQLite to believe nothing of the file.
    fn distrust(&self) -> rusqlite::Result<()> {
        let connection = &self.connection;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
        for (limit, most) in [
            (Limit::SQLITE_LIMIT_LENGTH, CELL_BYTES * 2),
            (Limit::SQLITE_LIMIT_SQL_LENGTH, 100_000),
            (Limit::SQLITE_LIMIT_ATTACHED, 0),
            (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
        ] {
            connection.set_limit(limit, i32::try_from(most).unwrap_or(i32::MAX))?;
        }
        connection.pragma_update(None, "cell_size_check", true)?;
        connection.pragma_update(None, "mmap_size", 0)?;
        connection.pragma_update(None, "temp_store", "memory")?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.pragma_update(None, "query_only", true)
    }

    /// The tables must be ours, all of them and nothing else.
    fn check_tables(&self) -> Result<(), ResultError> {
        let found =
            self.rows("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY rowid LIMIT 100", &[], |row| {
                Ok([text(row, 0)?, text(row, 1)?, text(row, 2)?, text(row, 3)?])
            })?;
        let expected = OBJECTS.iter().map(|(kind, name, table, sql)| [*kind, *name, *table, *sql]);
        if found.len() != OBJECTS.len() {
            return Err(ResultError::Foreign("it has other tables".to_owned()));
        }
        for (found, expected) in found.iter().zip(expected) {
            if *found != expected {
                let name = short(found.get(1).map_or("", String::as_str));
                return Err(ResultError::Foreign(format!("{name:?} is no table of ours")));
            }
        }
        Ok(())
    }

    /// What it came to.
    ///
    /// # Errors
    /// Where the file holds something else, or it takes too long.
    pub fn summary(&self) -> Result<ResultSummary, ResultError> {
        let line = self.meta(Meta::Summary)?;
        let facts: Facts = self.json_meta(Meta::Facts)?;
        let pipeline: PipelineFacts = self.json_meta(Meta::Pipeline)?;
        if line.contains('\n') {
            return Err(ResultError::Foreign("a line that is several".to_owned()));
        }
        ResultSummary::join(line, facts, pipeline).map_err(|error| foreign(Meta::Summary.name(), &error))
    }

    /// What pictures are drawn from.
    ///
    /// # Errors
    /// Where the file holds something else, or it takes too long.
    pub fn histograms(&self) -> Result<Histograms, ResultError> {
        let histograms: Histograms = self.json_meta(Meta::Histograms)?;
        match histograms.flaw() {
            Some(flaw) => Err(ResultError::Foreign(flaw.to_owned())),
            None => Ok(histograms),
        }
    }

    /// Flows that are most worth a person's word, the first one first; none in results of before there was a queue.
    ///
    /// # Errors
    /// Where the file holds something else, or it takes too long.
    pub fn questions(&self) -> Result<Vec<Question>, ResultError> {
        let stored = self.known_meta(Meta::Questions)?.unwrap_or_default();
        questions::read(&stored).map_err(|error| foreign(Meta::Questions.name(), &error))
    }

    /// Hosts that opened flows, the worst first.
    ///
    /// # Errors
    /// Where the file holds something else, or it takes too long.
    pub fn hosts(&self, limit: u32, offset: u64) -> Result<Vec<HostRow>, ResultError> {
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let sql = "SELECT address, flows, scored, malicious, suspicious, score, servers, packets, bytes, first_ns, \
                   last_ns FROM hosts WHERE n >= ?2 ORDER BY n LIMIT ?1";
        self.rows(sql, &[Value::Integer(limit.min(PAGE_ROWS).into()), Value::Integer(offset)], |row| {
            Ok(HostRow {
                address: address(row, 0)?,
                flows: number(row, 1)?,
                scored: number(row, 2)?,
                malicious: number(row, 3)?,
                suspicious: number(row, 4)?,
                score: score(row, 5)?,
                servers: number(row, 6)?,
                packets: number(row, 7)?,
                bytes: number(row, 8)?,
                first_ns: bits(row, 9)?,
                last_ns: bits(row, 10)?,
            })
        })
    }

    /// Hosts there are.
    ///
    /// # Errors
    /// Where the file holds something else, or it takes too long.
    pub fn host_count(&self) -> Result<u64, ResultError> {
        // Without a condition SQLite counts pages, and no deadline is looked at meanwhile.
        self.one("SELECT count(*) FROM hosts WHERE rowid >= 0", &[])
    }

    /// Malicious and suspicious flows, the highest scores first; about [`ALERT_BYTES`] of them at once.
    ///
    /// # Errors
    /// Where the file holds something else, or it takes too long.
    pub fn alerts(&self, limit: u32, offset: u64) -> Result<Vec<AlertRow>, ResultError> {
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let sql = format!(
            "SELECT {FLOW_COLUMNS}, json FROM flows LEFT JOIN lines ON lines.n = flows.n WHERE verdict >= {FIRST_ALERT} \
             ORDER BY verdict DESC, score DESC, flows.n LIMIT ?1 OFFSET ?2"
        );
        let mut bytes = 0;
        self.rows_while(&sql, &[Value::Integer(limit.min(PAGE_ROWS).into()), Value::Integer(offset)], |row| {
            let (flow, line) = (flow_row(row)?, raw_line(row, AFTER_FLOW)?);
            bytes += line.len();
            Ok((alert(flow, &parsed(&line)?), bytes < ALERT_BYTES))
        })
    }

    /// How many flows there are.
    ///
    /// # Errors
    /// Where the file holds something else, or it takes too long.
    pub fn flow_count(&self) -> Result<u64, ResultError> {
        // They are numbered from 0 on.
        self.one("SELECT coalesce(max(n) + 1, 0) FROM flows", &[])
    }

    /// Some flows of those that a query asks for.
    ///
    /// # Errors
    /// Where the file holds something else. A deadline that passes leaves a part, which says so.
    pub fn flows(&self, query: &FlowQuery) -> Result<FlowPage, ResultError> {
        let (hint, few) = self.hint(query)?;
        let (sql, values) = query.page(hint);
        let (rows, is_complete) = self.rows_in_time(&sql, &values, flow_row)?;
        let up_to = query.offset.saturating_add(rows.len() as u64);
        let (conditions, values) = query.conditions();
        let counted = if let Some(few) = few {
            Ok(few)
        } else if is_complete && rows.len() < query.limit as usize && (query.offset == 0 || !rows.is_empty()) {
            // The last page: the deadline is not spent on finding all of it once more.
            Ok(up_to)
        } else if conditions.is_empty() {
            self.flow_count()
        } else {
            let some = format!("SELECT 1 FROM flows{conditions} LIMIT {}", up_to.saturating_add(COUNTED));
            self.one(&format!("SELECT count(*) FROM ({some})"), &values)
        };
        let (total, total_is_exact) = match counted {
            Ok(total) => (total, conditions.is_empty() || total < up_to.saturating_add(COUNTED)),
            Err(ResultError::TooSlow { .. }) => (up_to, false),
            Err(error) => return Err(error),
        };
        Ok(FlowPage { rows, total, total_is_exact, is_complete })
    }

    /// By which index flows of a verdict are found. The index of verdicts where they are few, which are sorted then; where they
    /// are many, they are met soon in any order, and SQLite is right but for the order of the table itself. With it how many
    /// there are, where they are few.
    fn hint(&self, query: &FlowQuery) -> Result<(&'static str, Option<u64>), ResultError> {
        let Some(filter) = query.verdict.filter(|_| query.host.is_none() && query.search.is_none()) else {
            return Ok(("", None));
        };
        let some = format!("SELECT 1 FROM flows INDEXED BY flows_by_verdict WHERE {} LIMIT {}", filter.sql(), FEW + 1);
        let count: u64 = self.one(&format!("SELECT count(*) FROM ({some})"), &[])?;
        Ok(match query.sort {
            _ if count <= FEW => (" INDEXED BY flows_by_verdict", Some(count)),
            SortKey::Order => (" NOT INDEXED", None),
            _ => ("", None),
        })
    }

    /// Flows of a query of [`FLOW_COLUMNS`] and a count.
    pub(super) fn flows_with_number(&self, sql: &str, values: &[Value]) -> Result<Vec<(FlowRow, u64)>, ResultError> {
        self.rows(sql, values, |row| Ok((flow_row(row)?, number(row, AFTER_FLOW)?)))
    }

    /// Conversations of the worst `alerts` alerts, the worst first: at most `most`.
    ///
    /// # Errors
    /// Where the file holds something else, or it takes too long.
    pub fn conversations(&self, alerts: u32, most: u32) -> Result<Vec<ConversationRow>, ResultError> {
        // Beside one `max` SQLite gives the other columns of the row that has it: the worst flow of each. Every score is at
        // most 1, so no suspicious flow is worse than a malicious one.
        let sql = format!(
            "SELECT {FLOW_COLUMNS}, flows.flows, (SELECT json FROM lines WHERE lines.n = flows.n) FROM (
                SELECT *, count(*) AS flows, max(verdict * 2 + coalesce(score, 0)) AS worst FROM (
                    SELECT * FROM flows WHERE verdict >= {FIRST_ALERT} ORDER BY verdict DESC, score DESC, n LIMIT ?1)
                GROUP BY src_ip, dest_ip, dest_port, protocol, sni ORDER BY worst DESC, n LIMIT ?2) AS flows"
        );
        self.rows(&sql, &[Value::Integer(alerts.into()), Value::Integer(most.into())], |row| {
            let count = number(row, AFTER_FLOW)?;
            let line = bounded_text(row, AFTER_FLOW + 1, CELL_BYTES)?.unwrap_or_default();
            let category = serde_json::from_str::<Json>(&line).ok();
            let category = category.as_ref().and_then(|line| line.get("category")).and_then(Json::as_str).map(short);
            Ok(ConversationRow { category, ..ConversationRow::of(flow_row(row)?, count) })
        })
    }

    /// Flows that were judged and are alike, in order: so many at most, however many that is.
    ///
    /// # Errors
    /// Where the file holds something else, or it takes too long.
    pub fn judged(&self, alike: &Alike, most: u32) -> Result<Vec<FlowRow>, ResultError> {
        let (conditions, mut values) = alike.conditions();
        values.push(Value::Integer(most.into()));
        let at = values.len();
        self.rows(
            &format!("SELECT {FLOW_COLUMNS} FROM flows WHERE {conditions} ORDER BY n LIMIT ?{at}"),
            &values,
            flow_row,
        )
    }

    /// How many flows [`Self::judged`] would give.
    ///
    /// # Errors
    /// Where the file holds something else, or it takes too long.
    pub fn judged_count(&self, alike: &Alike, most: u32) -> Result<u64, ResultError> {
        let (conditions, mut values) = alike.conditions();
        values.push(Value::Integer(most.into()));
        let at = values.len();
        self.one(&format!("SELECT count(*) FROM (SELECT 1 FROM flows WHERE {conditions} LIMIT ?{at})"), &values)
    }

    /// Everything that is known of a flow.
    ///
    /// # Errors
    /// Where the file holds something else, or it takes too long.
    pub fn flow(&self, flow_id: u64) -> Result<Option<FlowDetail>, ResultError> {
        let sql = format!(
            "SELECT {FLOW_COLUMNS}, json, row FROM flows LEFT JOIN lines ON lines.n = flows.n LEFT JOIN rows ON rows.n = \
             flows.n WHERE flow_id = ?1 ORDER BY flows.n LIMIT 1"
        );
        let found = self.rows(&sql, &[Value::Integer(flow_id.cast_signed())], |row| {
            let values = match row.get_ref(AFTER_FLOW + 1)? {
                ValueRef::Null => None,
                ValueRef::Blob(bytes) => {
                    Some(bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect::<Vec<f32>>())
                }
                _ => return Err(Odd::other("a row of features")),
            };
            Ok((flow_row(row)?, json(row, AFTER_FLOW)?, values))
        })?;
        let Some((flow, line, values)) = found.into_iter().next() else { return Ok(None) };
        let Some(values) = values else { return Ok(Some(FlowDetail { flow, line, features: Vec::new() })) };
        let mut values = values.into_iter();
        let features = self.rows("SELECT name, unit, words FROM columns ORDER BY n LIMIT 20000", &[], |row| {
            let value = values.next().ok_or(Odd::other("a row of features that is too short"))?;
            Ok(Feature { name: text(row, 0)?, value, unit: text(row, 1)?, words: text(row, 2)? })
        })?;
        if values.next().is_some() {
            return Err(ResultError::Foreign("a row of features that is too long".to_owned()));
        }
        Ok(Some(FlowDetail { flow, line, features }))
    }

    /// JSON lines of flows with a greater number than `after`, in order and without line breaks: at most `most`, and
    /// about [`PAGE_BYTES`]. None are left where the list is empty. Begin with a negative number.
    ///
    /// # Errors
    /// Where the file holds something else, or it takes too long.
    pub fn lines(&self, after: i64, most: u32, only_alerts: bool) -> Result<Vec<(i64, String)>, ResultError> {
        let sql = format!("SELECT flows.n, json FROM {}", streamed(only_alerts));
        let mut bytes = 0;
        self.rows_while(&sql, &streaming(after, most), |row| {
            let line = raw_line(row, 1)?;
            // A forged line could be several, or none.
            if line.contains('\n') || serde_json::from_str::<serde::de::IgnoredAny>(&line).is_err() {
                return Err(Odd::other("a line that is not JSON"));
            }
            bytes += line.len();
            Ok(((row.get(0)?, line), bytes < PAGE_BYTES))
        })
    }

    /// What the analysis said of flows, each with the number of its row, in the same manner as [`Self::lines`].
    ///
    /// # Errors
    /// Where the file holds something else, or it takes too long.
    pub fn verdicts(&self, after: i64, most: u32) -> Result<Vec<(i64, JudgedFlow)>, ResultError> {
        /// What a line says of the model's words; the rest of it is passed over.
        #[derive(Deserialize)]
        struct Said {
            novelty: Option<f64>,
            #[serde(default)]
            novel: bool,
            category: Option<Category>,
        }
        let sql = format!("SELECT {FLOW_COLUMNS}, json FROM {}", streamed(false));
        let mut bytes = 0;
        self.rows_while(&sql, &streaming(after, most), |row| {
            let (flow, line) = (flow_row(row)?, raw_line(row, AFTER_FLOW)?);
            let Said { novelty, novel, category } =
                serde_json::from_str(&line).map_err(|_| Odd::other("a line that is no flow's"))?;
            bytes += line.len();
            let verdict = flow.verdict.and_then(Verdict::from_name);
            let judged = JudgedFlow { packet: flow.first_packet, verdict, score: flow.score, novelty, novel, category };
            Ok(((flow.n, judged), bytes < PAGE_BYTES))
        })
    }

    /// Lines of CSV, each with its line break, in the same manner as [`Self::lines`].
    ///
    /// # Errors
    /// Where the file holds something else, or it takes too long.
    pub fn csv(&self, after: i64, most: u32, only_alerts: bool) -> Result<Vec<(i64, Vec<u8>)>, ResultError> {
        let sql = format!("SELECT {FLOW_COLUMNS}, json FROM {}", streamed(only_alerts));
        let mut bytes = 0;
        self.rows_while(&sql, &streaming(after, most), |row| {
            let flow = flow_row(row)?;
            let line = json(row, AFTER_FLOW)?;
            let tls = |name: &str| line.get("tls").and_then(|tls| tls.get(name)).and_then(Json::as_str);
            let n = flow.n;
            let sni = tls("sni").unwrap_or_default().to_owned();
            let ja4 = tls("ja4").unwrap_or_default().to_owned();
            let alert = alert(flow, &line);
            let flow = &alert.flow;
            let reasons: Vec<&str> = alert.reasons.iter().map(|reason| reason.feature.as_str()).collect();
            let rules: Vec<&str> = alert.category_reasons.iter().map(|reason| reason.rule.as_str()).collect();
            let cells = CsvFlow {
                capture: None,
                first_ns: flow.first_ns,
                flow_id: flow.flow_id,
                src: (flow.src_ip, flow.src_port),
                dest: (flow.dest_ip, flow.dest_port),
                protocol: flow.protocol,
                verdict: flow.verdict,
                score: flow.score,
                sni: &sni,
                ja4: &ja4,
                reasons: &reasons,
                packets: &alert.evidence,
                record: "final",
                category: alert.category.as_deref(),
                category_reasons: &rules,
            };
            let mut out = Vec::new();
            csv_line(cells.cells(), &mut out).map_err(|_| Odd::other("a line that makes no CSV"))?;
            bytes += out.len();
            Ok(((n, out), bytes < PAGE_BYTES))
        })
    }

    /// The line of CSV with the names of its columns.
    pub fn csv_header() -> Vec<u8> {
        let mut out = Vec::new();
        // Writing into memory does not fail.
        let _ = csv_line(CSV_COLUMNS, &mut out);
        out
    }

    /// How SQLite goes about a query.
    #[cfg(test)]
    pub(super) fn plan(&self, query: &FlowQuery) -> Vec<String> {
        let (sql, values) = query.page(self.hint(query).unwrap().0);
        self.rows(&format!("EXPLAIN QUERY PLAN {sql}"), &values, |row| text(row, 3)).unwrap()
    }

    fn meta(&self, key: Meta) -> Result<String, ResultError> {
        self.known_meta(key)?.ok_or_else(|| ResultError::Foreign(format!("no {}", key.name())))
    }

    /// The same, where it is there.
    fn known_meta(&self, key: Meta) -> Result<Option<String>, ResultError> {
        let values = [Value::Integer(key as i64), Value::Text(key.name().to_owned())];
        let found = self.rows("SELECT value FROM meta WHERE n = ?1 AND name = ?2", &values, |row| raw_line(row, 0))?;
        Ok(found.into_iter().next())
    }

    fn json_meta<T: serde::de::DeserializeOwned>(&self, key: Meta) -> Result<T, ResultError> {
        serde_json::from_str(&self.meta(key)?).map_err(|error| foreign(key.name(), &error))
    }

    fn one(&self, sql: &str, values: &[Value]) -> Result<u64, ResultError> {
        let found = self.rows(sql, values, |row| number(row, 0))?;
        Ok(found.into_iter().next().unwrap_or_default())
    }

    /// All rows of a query.
    fn rows<T>(
        &self,
        sql: &str,
        values: &[Value],
        mut read: impl FnMut(&Row<'_>) -> Result<T, Odd>,
    ) -> Result<Vec<T>, ResultError> {
        self.rows_while(sql, values, |row| Ok((read(row)?, true)))
    }

    /// Rows of a query as long as `read` wants more.
    fn rows_while<T>(
        &self,
        sql: &str,
        values: &[Value],
        read: impl FnMut(&Row<'_>) -> Result<(T, bool), Odd>,
    ) -> Result<Vec<T>, ResultError> {
        let mut found = Vec::new();
        self.collect(sql, values, read, &mut found)?;
        Ok(found)
    }

    /// Rows of a query, as many as come before the deadline, and whether these are all.
    fn rows_in_time<T>(
        &self,
        sql: &str,
        values: &[Value],
        mut read: impl FnMut(&Row<'_>) -> Result<T, Odd>,
    ) -> Result<(Vec<T>, bool), ResultError> {
        let mut found = Vec::new();
        match self.collect(sql, values, |row| Ok((read(row)?, true)), &mut found) {
            Ok(()) => Ok((found, true)),
            Err(ResultError::TooSlow { .. }) => Ok((found, false)),
            Err(error) => Err(error),
        }
    }

    fn collect<T>(
        &self,
        sql: &str,
        values: &[Value],
        mut read: impl FnMut(&Row<'_>) -> Result<(T, bool), Odd>,
        found: &mut Vec<T>,
    ) -> Result<(), ResultError> {
        self.clock.restart();
        let mut collect = || -> Result<(), Odd> {
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query(params_from_iter(values))?;
            while let Some(row) = rows.next()? {
                let (value, more) = read(row)?;
                found.push(value);
                if !more {
                    break;
                }
            }
            Ok(())
        };
        collect().map_err(|odd| match odd {
            Odd::Sqlite(error) => self.error(error),
            Odd::Other(what) => ResultError::Foreign(what.to_owned()),
        })
    }

    fn error(&self, error: rusqlite::Error) -> ResultError {
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => ResultError::TooSlow { milliseconds: self.clock.milliseconds },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TooBig) => {
                ResultError::Foreign(short(&error.to_string()))
            }
            // A read beyond the end of a file that was cut.
            Some(ErrorCode::SystemIoFailure) => ResultError::Foreign(short(&error.to_string())),
            _ => match error {
                rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::Utf8Error(..) => ResultError::Foreign(short(&error.to_string())),
                error => ResultError::Sqlite(error),
            },
        }
    }
}

/// What is wrong with a row.
enum Odd {
    Sqlite(rusqlite::Error),
    Other(&'static str),
}

impl Odd {
    fn other(what: &'static str) -> Self {
        Self::Other(what)
    }
}

impl From<rusqlite::Error> for Odd {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

fn foreign(what: &str, error: &serde_json::Error) -> ResultError {
    ResultError::Foreign(format!("its {what}: {}", short(&error.to_string())))
}

/// Where lines that are streamed come from.
fn streamed(only_alerts: bool) -> String {
    // Alerts are few: their own index leads to them.
    let (index, alerts) = if only_alerts { (" INDEXED BY flows_alerts", "verdict >= 2 AND ") } else { ("", "") };
    format!("flows{index} JOIN lines ON lines.n = flows.n WHERE {alerts}flows.n > ?1 ORDER BY flows.n LIMIT ?2")
}

fn streaming(after: i64, most: u32) -> [Value; 2] {
    [Value::Integer(after), Value::Integer(most.min(PAGE_ROWS).into())]
}

/// A text of at most [`TEXT_BYTES`].
fn text(row: &Row<'_>, at: usize) -> Result<String, Odd> {
    bounded_text(row, at, TEXT_BYTES)?.ok_or(Odd::other("a text that is missing"))
}

/// A line, or something else of its size.
fn raw_line(row: &Row<'_>, at: usize) -> Result<String, Odd> {
    bounded_text(row, at, CELL_BYTES)?.ok_or(Odd::other("a line that is missing"))
}

fn bounded_text(row: &Row<'_>, at: usize, most: usize) -> Result<Option<String>, Odd> {
    match row.get_ref(at)? {
        ValueRef::Null => Ok(None),
        ValueRef::Text(bytes) if bytes.len() > most => Err(Odd::other("a text that is too long")),
        ValueRef::Text(bytes) => {
            str::from_utf8(bytes).map(|text| Some(text.to_owned())).map_err(|_| Odd::other("a text that is none"))
        }
        _ => Err(Odd::other("something else than a text")),
    }
}

fn json(row: &Row<'_>, at: usize) -> Result<Json, Odd> {
    parsed(&raw_line(row, at)?)
}

fn parsed(line: &str) -> Result<Json, Odd> {
    serde_json::from_str(line).map_err(|_| Odd::other("a line that is not JSON"))
}

fn address(row: &Row<'_>, at: usize) -> Result<IpAddr, Odd> {
    text(row, at)?.parse().map_err(|_| Odd::other("an address that is none"))
}

/// A count.
fn number(row: &Row<'_>, at: usize) -> Result<u64, Odd> {
    u64::try_from(row.get::<_, i64>(at)?).map_err(|_| Odd::other("a count below zero"))
}

/// A number that is unsigned outside of SQLite.
fn bits(row: &Row<'_>, at: usize) -> Result<u64, Odd> {
    Ok(row.get::<_, i64>(at)?.cast_unsigned())
}

fn score(row: &Row<'_>, at: usize) -> Result<Option<f64>, Odd> {
    match row.get::<_, Option<f64>>(at)? {
        Some(score) if !(0.0..=1.0).contains(&score) => Err(Odd::other("a score beyond 0 and 1")),
        score => Ok(score),
    }
}

fn flow_row(row: &Row<'_>) -> Result<FlowRow, Odd> {
    let verdict = match row.get::<_, Option<i64>>(12)? {
        None => None,
        Some(number) => {
            let known = usize::try_from(number).ok().and_then(|at| VERDICTS.get(at));
            Some(*known.ok_or(Odd::other("a verdict that there is not"))?)
        }
    };
    Ok(FlowRow {
        n: row.get(0)?,
        flow_id: bits(row, 1)?,
        first_ns: bits(row, 2)?,
        last_ns: bits(row, 3)?,
        first_packet: number(row, 4)?,
        src_ip: address(row, 5)?,
        src_port: row.get(6)?,
        dest_ip: address(row, 7)?,
        dest_port: row.get(8)?,
        protocol: row.get(9)?,
        app: bounded_text(row, 10, TEXT_BYTES)?,
        sni: bounded_text(row, 11, TEXT_BYTES)?,
        verdict,
        score: score(row, 13)?,
        packets: number(row, 14)?,
        bytes: number(row, 15)?,
    })
}

/// What a flow's line says of why it is an alert.
fn alert(flow: FlowRow, line: &Json) -> AlertRow {
    let list = |name: &str| line.get(name).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    let reasons = list("reasons").iter().take(ALERT_LIST).map(|reason| {
        let text = |name: &str| short(reason.get(name).and_then(Json::as_str).unwrap_or_default());
        ReasonRow {
            feature: text("feature"),
            value: reason.get("value").and_then(Json::as_f64),
            words: text("words"),
            contribution: reason.get("contribution").and_then(Json::as_f64).unwrap_or_default(),
        }
    });
    let tls = line.get("tls").and_then(Json::as_object).into_iter().flatten().take(ALERT_LIST);
    let tls = tls.filter_map(|(name, value)| {
        let value = value.get("hash").unwrap_or(value);
        let words = match value {
            Json::String(text) => short(text),
            Json::Bool(_) | Json::Number(_) => value.to_string(),
            _ => return None,
        };
        Some((short(name), words))
    });
    AlertRow {
        category: line.get("category").and_then(Json::as_str).map(short),
        category_reasons: category_reasons(line),
        reasons: reasons.collect(),
        evidence: list("packets").iter().filter_map(Json::as_u64).take(ALERT_LIST).collect(),
        tls: tls.collect(),
        flow,
    }
}

/// The path from the root on, with no link in it but perhaps the last part.
fn whole(path: &Path) -> Result<PathBuf, ResultError> {
    let unreadable = |error| ResultError::Unreadable { path: path.to_owned(), error };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or_else(|| unreadable(std::io::ErrorKind::InvalidInput.into()))?;
    Ok(folder.canonicalize().map_err(unreadable)?.join(name))
}

/// A path inside a URI: everything but plain characters as `%hh`.
fn escaped(path: &Path) -> String {
    let mut uri = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri
}

/// Looks at the file's first bytes before SQLite does, for clear words (<https://sqlite.org/fileformat.html>, 1.3).
fn check_header(path: &Path) -> Result<(), ResultError> {
    use std::io::Read;

    let unreadable = |error| ResultError::Unreadable { path: path.to_owned(), error };
    let not = |why| ResultError::NotAResult { path: path.to_owned(), why };
    if !std::fs::symlink_metadata(path).map_err(unreadable)?.is_file() {
        return Err(not("it is no plain file"));
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let bytes = file.metadata().map_err(unreadable)?.len();
    let mut header = Vec::new();
    file.take(100).read_to_end(&mut header).map_err(unreadable)?;
    let word = |at: usize| {
        header.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_be_bytes).unwrap_or_default()
    };
    if header.is_empty() {
        return Err(not("it is empty"));
    }
    if !header.starts_with(b"SQLite format 3\0") || header.len() < 100 {
        return Err(not("it has another format"));
    }
    if word(68) != APPLICATION_ID.cast_unsigned() {
        return Err(not("another program made it"));
    }
    if word(60) != VERSION.cast_unsigned() {
        return Err(ResultError::OtherVersion { found: word(60) });
    }
    // Page size 1 stands for 65536; the file says how many pages it has, since nothing old wrote it.
    let page = match u64::from(word(16) >> 16) {
        1 => 65_536,
        page => page,
    };
    if header.get(18..20) != Some(&[1, 1]) {
        return Err(not("its header asks for a journal"));
    }
    if bytes < page.saturating_mul(u64::from(word(28))) {
        return Err(not("it is cut off"));
    }
    Ok(())
}
