//! Marks as labels for training.
//!
//! What is written is what `veilwatch train --feedback FOLDER` reads beside labels that are vouched for, once the captures
//! lie beside it, and `--data FOLDER` as labels like any others: a row for every flow that a mark covers.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::rc::Rc;

use jiff::Timestamp;
use rusqlite::{Connection, params};
use veilwatch::engine::Category;
use veilwatch::output::harmless;

use super::{FlowFacts, JOIN, Mark, OF_FLOW, SELECT, Scope, read, read_flow};
use crate::accounts::{Reason, Refused};
use crate::database::DbError;
use crate::entries::Entry;
use crate::entries::visible::{seen_by, worked_by};
use crate::uploads::Sha256Hex;

/// The columns of `captures.csv`.
const CAPTURES: [&str; 5] = ["path", "kind", "family", "source", "sha256_original"];
/// The columns of `flows.csv`. People's words have a column of their own: in one called `reason`, training looks for the
/// name of a family.
pub const FLOWS: [&str; 16] = [
    "path",
    "time",
    "client",
    "client_port",
    "server",
    "server_port",
    "label",
    "confidence",
    "family",
    "sni",
    "words",
    "by",
    "at",
    "why",
    "purpose",
    "scope",
];

/// Labels in the format of a training folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    captures: String,
    flows: String,
}

impl Labels {
    /// The content of `captures.csv`: which files must lie beside it.
    pub fn captures_csv(&self) -> &str {
        &self.captures
    }

    /// The content of `flows.csv`.
    pub fn flows_csv(&self) -> &str {
        &self.flows
    }
}

/// The marks of all entries that an account sees as labels. Of several marks of one flow of one capture, in whatever
/// entry, the narrower one counts, then the newer one.
///
/// # Errors
/// Where the database fails.
pub fn labels(connection: &Connection, account: i64) -> Result<Labels, DbError> {
    written(&marked(connection, account)?)
        .map_err(|error| DbError::Foreign(format!("marks that are no table ({error})")))
}

/// A capture with flows that are marked, of those that an account works with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkedCapture {
    /// The capture.
    pub sha256: Sha256Hex,
    /// What the newest of its entries calls its file: any text.
    pub name: String,
    /// Flows of it that are marked.
    pub flows: u64,
}

/// The captures with marks that an account works with, the newest first; at most so many.
///
/// # Errors
/// Where the database fails.
pub fn marked_captures(connection: &Connection, account: i64, most: u32) -> Result<Vec<MarkedCapture>, DbError> {
    let sql = format!(
        "SELECT e.sha256, max(e.id) AS newest, e.name,
            count(DISTINCT f.first_ns || ' ' || f.client || ' ' || f.client_port || ' ' || f.server || ' ' || f.server_port)
            FROM marks m JOIN entries e ON e.id = m.entry_id JOIN marked f ON f.mark_id = m.id
            WHERE {} AND m.withdrawn_at IS NULL GROUP BY e.sha256 ORDER BY newest DESC LIMIT ?2",
        worked_by("?1")
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![account, most])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (sha256, flows): (String, i64) = (row.get(0)?, row.get(3)?);
        found.push(MarkedCapture {
            sha256: sha256.parse().map_err(|_| DbError::Foreign(format!("the hash {sha256:?}")))?,
            name: row.get(2)?,
            flows: u64::try_from(flows).unwrap_or_default(),
        });
    }
    Ok(found)
}

/// The newest entry of each of some captures that an account sees, by the capture's hash: its key, and what its file was
/// called.
///
/// # Errors
/// Where the database fails.
pub fn captures_of(
    connection: &Connection,
    account: i64,
    captures: &[Sha256Hex],
) -> Result<BTreeMap<String, (String, String)>, DbError> {
    // Whether anything is still marked in them does not matter: what was marked can be taken back.
    let sql = format!(
        "SELECT e.sha256, e.key, e.name, max(e.id) FROM entries e
            WHERE e.sha256 IN (SELECT value FROM json_each(?2)) AND {} AND e.state = 'done' GROUP BY e.sha256",
        seen_by("?1")
    );
    let captures: Vec<&str> = captures.iter().map(Sha256Hex::as_str).collect();
    let captures = serde_json::json!(captures).to_string();
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![account, captures], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The marks of some captures that an account works with as labels, and how many flows they cover. A capture that it may not
/// work with, or on which nothing is marked, is refused: whoever names a hash must not have it read.
///
/// # Errors
/// [`Reason::Form`] for such a capture, or where the database fails.
pub fn labels_of(connection: &Connection, account: i64, captures: &[Sha256Hex]) -> Result<(Labels, u64), Refused> {
    let mut all = marked(connection, account)?;
    all.retain(|sha256, _| captures.iter().any(|capture| capture.as_str() == sha256));
    for capture in captures {
        if !all.contains_key(capture.as_str()) || !works_with(connection, account, capture)? {
            return Err(Reason::Form.into());
        }
    }
    let count = all.values().map(|capture| capture.flows.len() as u64).sum();
    let labels = written(&all).map_err(|error| DbError::Foreign(format!("marks that are no table ({error})")))?;
    Ok((labels, count))
}

/// Whether an account has an entry of a capture that it works with, and does not only read.
///
/// # Errors
/// Where the database fails.
pub fn works_with(connection: &Connection, account: i64, capture: &Sha256Hex) -> Result<bool, DbError> {
    let sql = format!("SELECT 1 FROM entries e WHERE e.sha256 = ?2 AND {} LIMIT 1", worked_by("?1"));
    Ok(connection.prepare_cached(&sql)?.exists(params![account, capture.as_str()])?)
}

/// What tells two flows of a capture apart in every result of it.
type FlowPlace = (u64, IpAddr, u16, IpAddr, u16);

/// The labels of one capture.
#[derive(Default)]
struct Marked {
    /// The name of its file.
    path: String,
    flows: BTreeMap<FlowPlace, (FlowFacts, Rc<Mark>)>,
}

/// The labels of an account by the captures' hashes.
fn marked(connection: &Connection, account: i64) -> Result<BTreeMap<String, Marked>, DbError> {
    let sql = format!(
        "SELECT {SELECT}, f.flow_id AS of_flow, f.first_ns AS of_first, f.client_port AS of_port, f.client AS of_client,
            f.server AS of_server, f.server_port AS of_server_port, f.sni AS of_sni, e.sha256,
            e.inspection ->> 'format' AS format, e.inspection ->> 'compression' AS compression
            FROM marks m JOIN entries e ON e.id = m.entry_id JOIN marked f ON f.mark_id = m.id {JOIN}
            WHERE {} AND m.withdrawn_at IS NULL ORDER BY {}, m.id",
        seen_by("?1"),
        Scope::NARROWNESS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([account])?;
    let mut captures: BTreeMap<String, Marked> = BTreeMap::new();
    // A mark of many flows is read once.
    let mut marks: HashMap<i64, Rc<Mark>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get("id")?;
        let mark = match marks.get(&id) {
            Some(mark) => Rc::clone(mark),
            None => {
                let mark = Rc::new(read(row)?);
                marks.insert(id, Rc::clone(&mark));
                mark
            }
        };
        let sha256: String = row.get("sha256")?;
        let flow = read_flow(row, &OF_FLOW)?;
        let place = (flow.first_ns, flow.client, flow.client_port, flow.server, flow.server_port);
        let capture = match captures.get_mut(&sha256) {
            Some(capture) => capture,
            None => {
                let format: Option<String> = row.get("format")?;
                let compression: Option<String> = row.get("compression")?;
                let path = format!("{sha256}.{}", ending(format.as_deref(), compression.as_deref()));
                captures.entry(sha256).or_insert(Marked { path, flows: BTreeMap::new() })
            }
        };
        // In the order of what counts: the last replaces.
        capture.flows.insert(place, (flow, mark));
    }
    Ok(captures)
}

/// The name of an entry's capture in an export: what it holds, and nothing that anybody chose.
pub fn capture_name(entry: &Entry) -> String {
    let inspection = &entry.inspection;
    format!("{}.{}", entry.sha256, ending(Some(&inspection.format), inspection.compression.as_deref()))
}

/// How the name of a capture's file ends.
pub(crate) fn ending(format: Option<&str>, compression: Option<&str>) -> String {
    let format = if format.is_some_and(|name| name.starts_with("pcapng")) { "pcapng" } else { "pcap" };
    match compression {
        Some("gzip") => format!("{format}.gz"),
        Some("zstd") => format!("{format}.zst"),
        _ => format.to_owned(),
    }
}

/// Nobody named a family, so each capture is one of its own: training then leaves out one capture at a time.
pub(crate) fn family(sha256: &str) -> String {
    format!("marked-{}", sha256.get(..12).unwrap_or(sha256))
}

/// A time of a table: seconds, with all digits.
pub(crate) fn table_time(ns: u64) -> String {
    format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

fn written(captures: &BTreeMap<String, Marked>) -> Result<Labels, csv::Error> {
    let mut captures_csv = csv::Writer::from_writer(Vec::new());
    let mut flows_csv = csv::Writer::from_writer(Vec::new());
    captures_csv.write_record(CAPTURES)?;
    flows_csv.write_record(FLOWS)?;
    for (sha256, Marked { path, flows }) in captures {
        let family = family(sha256);
        let is_malicious = flows.values().any(|(_, mark)| mark.malicious);
        // Never `benign`, which would speak for all flows of the capture.
        let (kind, capture_family) = if is_malicious { ("malicious", family.as_str()) } else { ("unlabelled", "") };
        captures_csv.write_record([path, kind, capture_family, "portal", sha256])?;
        for (flow, mark) in flows.values() {
            let (label, flow_family) = if mark.malicious { ("malicious", family.as_str()) } else { ("benign", "") };
            flows_csv.write_record([
                path.clone(),
                table_time(flow.first_ns),
                flow.client.to_string(),
                flow.client_port.to_string(),
                flow.server.to_string(),
                flow.server_port.to_string(),
                label.to_owned(),
                "source".to_owned(),
                flow_family.to_owned(),
                harmless(flow.sni.clone().unwrap_or_default()),
                harmless(mark.reason.clone()),
                harmless(mark.by.clone()),
                Timestamp::from_second(mark.at).map(|at| at.to_string()).unwrap_or_default(),
                mark.why.name().to_owned(),
                mark.purpose.map(Category::name).unwrap_or_default().to_owned(),
                mark.scope.name().to_owned(),
            ])?;
        }
    }
    Ok(Labels { captures: text(captures_csv)?, flows: text(flows_csv)? })
}

/// What a table in memory holds.
pub(crate) fn text(writer: csv::Writer<Vec<u8>>) -> Result<String, csv::Error> {
    writer
        .into_inner()
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(|error| csv::Error::from(std::io::Error::new(error.error().kind(), error.to_string())))
}
