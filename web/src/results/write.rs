//! Flows into the file, in the worker.
//!
//! The worker can neither make nor read another file, and nobody reads this one before it is whole: no journal, no
//! locks, no waiting for the disk, one transaction. If the worker dies, the file is thrown away.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, params};
use veilwatch::engine::{Detection, Pipeline, Sink, Summary};
use veilwatch::output::{FlowLines, QueueSink, question_lines, server_name};

use super::facts::{Facts, PipelineFacts};
use super::histograms::Counter;
use super::questions::QUESTIONS;
use super::schema::{APPLICATION_ID, CELL_BYTES, MAX_FLOWS, Meta, OBJECTS, SNI_BYTES, VERSION, verdict_number};
use super::tally::{Tally, Weight};

/// SQLite's page cache while writing, in KiB.
const CACHE_KIB: i64 = 64 * 1024;
/// Bytes of a page: a line and a row of features fit into one.
const PAGE_BYTES: i64 = 8192;

const INSERT_FLOW: &str =
    "INSERT INTO flows VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
const INSERT_LINE: &str = "INSERT INTO lines VALUES (?1, ?2)";
const INSERT_ROW: &str = "INSERT INTO rows VALUES (?1, ?2)";
const INSERT_COLUMN: &str = "INSERT INTO columns VALUES (?1, ?2, ?3, ?4)";
const INSERT_HOST: &str = "INSERT INTO hosts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
const INSERT_META: &str = "INSERT INTO meta VALUES (?1, ?2, ?3)";

/// Writes a result while the engine runs.
#[derive(Debug)]
pub struct ResultWriter {
    connection: Connection,
    lines: FlowLines,
    /// Flows that are listed so far; its next number, too.
    listed: u64,
    not_listed: u64,
    /// Where flows of no weight find no more room.
    most: u64,
    tally: Tally,
    counter: Counter,
    queue: QueueSink,
    text_bytes: u32,
    templates: Vec<String>,
    line: Vec<u8>,
    row: Vec<u8>,
}

/// What SQLite says, as the engine takes it.
fn failed(error: rusqlite::Error) -> std::io::Error {
    std::io::Error::other(error)
}

/// A number that is unsigned outside of SQLite, bit by bit.
fn bits(number: u64) -> i64 {
    number.cast_signed()
}

/// A count: larger ones than SQLite has are the largest it has.
fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl ResultWriter {
    /// Begins a result in a file that is there already and empty.
    ///
    /// # Errors
    /// Where the file cannot be written, or is not empty.
    pub fn open(path: &Path, pipeline: &Pipeline) -> std::io::Result<Box<Self>> {
        Self::with_most(path, pipeline, MAX_FLOWS)
    }

    pub(super) fn with_most(path: &Path, pipeline: &Pipeline, most: u64) -> std::io::Result<Box<Self>> {
        if std::fs::metadata(path)?.len() > 0 {
            let words = "it is not empty: a result goes into a new file";
            return Err(std::io::Error::new(std::io::ErrorKind::AlreadyExists, words));
        }
        // Without locks: nobody else may open it, and the sandbox need not allow them.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags_and_vfs(path, flags, c"unix-none").map_err(failed)?;
        let prepare = || -> rusqlite::Result<()> {
            connection.pragma_update(None, "page_size", PAGE_BYTES)?;
            connection.pragma_update(None, "locking_mode", "exclusive")?;
            connection.pragma_update(None, "journal_mode", "off")?;
            connection.pragma_update(None, "synchronous", "off")?;
            connection.pragma_update(None, "temp_store", "memory")?;
            connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
            connection.pragma_update(None, "application_id", APPLICATION_ID)?;
            connection.pragma_update(None, "user_version", VERSION)?;
            connection.execute_batch("BEGIN EXCLUSIVE")?;
            for (_, _, _, sql) in OBJECTS.iter().filter(|(kind, ..)| *kind == "table") {
                connection.execute_batch(sql)?;
            }
            let mut insert = connection.prepare(INSERT_COLUMN)?;
            for (n, column) in (0..).zip(pipeline.schema().columns()) {
                insert.execute(params![n as i64, column.name, column.unit, column.words])?;
            }
            let facts = serde_json::to_string(&PipelineFacts::of(pipeline)).unwrap_or_default();
            connection.execute(INSERT_META, params![Meta::Pipeline as i64, Meta::Pipeline.name(), facts])?;
            Ok(())
        };
        prepare().map_err(failed)?;
        Ok(Box::new(Self {
            connection,
            lines: FlowLines::new(None, pipeline.config().output.text_bytes),
            listed: 0,
            not_listed: 0,
            most,
            tally: Tally::default(),
            counter: Counter::new(pipeline.templates().len()),
            queue: QueueSink::new(pipeline),
            text_bytes: pipeline.config().output.text_bytes,
            templates: pipeline.template_ids().to_vec(),
            line: Vec::new(),
            row: Vec::new(),
        }))
    }

    /// Writes what is said of all flows together, and ends the file.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn finish(self: Box<Self>, summary: &Summary) -> std::io::Result<()> {
        let Self {
            connection, lines, listed, not_listed, tally, counter, queue, text_bytes, templates, mut line, ..
        } = *self;
        let summary = &Summary { questions_forgotten: queue.forgotten(), ..summary.clone() };
        line.clear();
        lines.summary(summary, &mut line)?;
        let facts = Facts {
            found: tally.found(),
            listed,
            not_listed,
            hosts_not_listed: tally.not_listed(),
            ..Facts::of(summary)
        };
        let meta = [
            (Meta::Summary, String::from_utf8(line).map_err(std::io::Error::other)?),
            (Meta::Facts, serde_json::to_string(&facts)?),
            (Meta::Histograms, serde_json::to_string(&counter.finish(&templates))?),
            (Meta::Questions, question_lines(&queue.choose(QUESTIONS), None, text_bytes)?),
        ];
        let write = || -> rusqlite::Result<()> {
            for (key, value) in meta {
                connection.execute(INSERT_META, params![key as i64, key.name(), value])?;
            }
            {
                let mut insert = connection.prepare(INSERT_HOST)?;
                for (n, (address, host)) in (0_i64..).zip(tally.by_risk()) {
                    insert.execute(params![
                        n,
                        address.to_string(),
                        count(host.flows),
                        count(host.scored),
                        count(host.malicious),
                        count(host.suspicious),
                        host.score,
                        count(host.servers),
                        count(host.packets),
                        count(host.bytes),
                        bits(host.first_ns),
                        bits(host.last_ns),
                    ])?;
                }
            }
            for (_, _, _, sql) in OBJECTS.iter().filter(|(kind, ..)| *kind == "index") {
                connection.execute_batch(sql)?;
            }
            connection.execute_batch("COMMIT")
        };
        write().map_err(failed)?;
        connection.close().map_err(|(_, error)| failed(error))
    }

    fn insert(&self, detection: &Detection<'_>, verdict: Option<i64>) -> rusqlite::Result<()> {
        let flow = detection.flow;
        let n = bits(self.listed);
        let app = flow.template.and_then(|at| self.templates.get(usize::from(at)));
        let [forward, backward] = &flow.stats;
        self.connection.prepare_cached(INSERT_FLOW)?.execute(params![
            n,
            bits(flow.id),
            bits(flow.first_ns),
            bits(flow.last_ns),
            count(flow.first_packet),
            flow.originator.ip().to_string(),
            flow.originator.port,
            flow.responder.ip().to_string(),
            flow.responder.port,
            flow.protocol,
            app,
            server_name(flow, SNI_BYTES),
            verdict,
            detection.scored.and_then(|scored| scored.score),
            count(forward.packets + backward.packets),
            count(forward.bytes.saturating_add(backward.bytes)),
        ])?;
        // JSON is always text.
        let line = str::from_utf8(&self.line).unwrap_or_default();
        self.connection.prepare_cached(INSERT_LINE)?.execute(params![n, line])?;
        if detection.scored.is_some() {
            self.connection.prepare_cached(INSERT_ROW)?.execute(params![n, self.row])?;
        }
        Ok(())
    }
}

impl Sink for ResultWriter {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        let verdict = detection.scored.and_then(|scored| scored.verdict);
        let verdict = verdict.and_then(|verdict| verdict_number(verdict.name()));
        let weight = Weight::of(detection.scored.is_some(), verdict);
        self.tally.add(detection, verdict);
        self.counter.add(detection, weight == Weight::Alert);
        self.queue.add(detection);
        if self.listed >= weight.room(self.most) {
            self.not_listed += 1;
            return Ok(());
        }
        self.line.clear();
        self.lines.flow(detection, &mut self.line)?;
        if self.line.len() > CELL_BYTES {
            self.not_listed += 1;
            return Ok(());
        }
        self.row.clear();
        for value in detection.scored.map(|scored| scored.row).unwrap_or_default() {
            self.row.extend_from_slice(&value.to_le_bytes());
        }
        self.insert(detection, verdict).map_err(failed)?;
        self.listed += 1;
        Ok(())
    }
}
