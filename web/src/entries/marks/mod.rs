//! What people say of flows, and the labels that come of it.
//!
//! | module | story |
//! |---|---|
//! | [`said`] | how somebody knows, and which flows a mark speaks of |
//! | [`labels`] | what training reads |
//!
//! A mark is never changed: of several that speak of a flow the narrower one counts ([`Scope`]), then the newer one, and
//! those before it stay as its history. Whoever was wrong withdraws it, and what was said before counts again.

pub mod labels;
pub mod said;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use veilwatch::engine::Category;

pub use labels::{Labels, capture_name};
pub use said::{Scope, Why};

use super::change::begin;
use super::visible::seen_by;
use super::{Entry, State, workable};
use crate::accounts::audit::{self, Action};
use crate::accounts::{Actor, Reason, Refused, shown_text_of};
use crate::database::DbError;

/// The fewest characters of a mark's words, where the list does not say how somebody knows.
pub const MIN_REASON: usize = 3;
/// The most characters of a mark's words.
pub const MAX_REASON: usize = 500;
/// The most characters of a server name that is copied into a mark.
pub const MAX_SNI: usize = 255;
/// The most marks, or marked flows, that are shown at once.
pub const MARKS_SHOWN: u32 = 1000;
/// The most marks of one account.
pub const MAX_MARKS: u32 = 50_000;
/// The most conflicts that are shown.
pub const CONFLICTS_SHOWN: u32 = 50;
/// The most rows that are read for the marks of some flows.
const ROWS: u32 = 50_000;

/// What names a flow without the result that it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowFacts {
    /// The flow in the entry's result.
    pub flow_id: u64,
    /// The time of its first packet, in nanoseconds since 1970.
    pub first_ns: u64,
    /// Who opened it.
    pub client: IpAddr,
    /// Their port.
    pub client_port: u16,
    /// Who answered.
    pub server: IpAddr,
    /// Their port.
    pub server_port: u16,
    /// The server name that was asked for: the capture's text.
    pub sni: Option<String>,
}

/// What somebody says of a flow, and of others like it.
#[derive(Clone, Debug)]
pub struct NewMark<'a> {
    /// The flow that they looked at.
    pub flow: &'a FlowFacts,
    /// What else it speaks of.
    pub scope: Scope,
    /// All flows of that scope, this one among them.
    pub covers: &'a [FlowFacts],
    /// Whether it is malicious.
    pub malicious: bool,
    /// How they know.
    pub why: Why,
    /// What a malicious flow is for, where they know.
    pub purpose: Option<Category>,
    /// Why, in one line; may be empty where the list says it.
    pub reason: &'a str,
}

/// What marks are held to.
#[derive(Clone, Copy, Debug)]
pub struct MarkBounds {
    /// Flows that one mark covers.
    pub flows: u32,
    /// Flows that all marks of an account cover.
    pub all_flows: u32,
}

/// What somebody said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mark {
    /// Its number; later ones are higher.
    pub id: i64,
    /// The flow that they looked at.
    pub flow: FlowFacts,
    /// Whether it is malicious.
    pub malicious: bool,
    /// How they know.
    pub why: Why,
    /// What it is for.
    pub purpose: Option<Category>,
    /// Why.
    pub reason: String,
    /// What else it speaks of.
    pub scope: Scope,
    /// Flows that it covers.
    pub covers: u64,
    /// The account of who said it.
    pub account_id: i64,
    /// The name to show of who said it.
    pub by: String,
    /// When, in seconds since 1970.
    pub at: i64,
    /// Who withdrew it, and when.
    pub withdrawn: Option<(String, i64)>,
}

impl Mark {
    /// Whether two marks that speak of one flow contradict each other: what one person says again of the same scope is
    /// a correction.
    pub fn contradicts(&self, other: &Self) -> bool {
        self.malicious != other.malicious && (self.scope, self.account_id) != (other.scope, other.account_id)
    }
}

/// All that was said of one flow.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowMarks {
    /// The flow.
    pub flow: FlowFacts,
    /// What counts; none where all was withdrawn.
    pub counts: Option<Mark>,
    /// What it stands before, the narrower and the newer first, and at last what was withdrawn.
    pub others: Vec<Mark>,
}

impl FlowMarks {
    /// A mark that says the opposite of what counts, and was not withdrawn.
    pub fn conflict(&self) -> Option<&Mark> {
        let counts = self.counts.as_ref()?;
        self.others.iter().find(|other| other.withdrawn.is_none() && counts.contradicts(other))
    }
}

/// Marks flows of an entry that is done, and gives the mark's number.
///
/// # Errors
/// Where the words say nothing, are too long or steer, a benign flow is given a purpose, the scope covers no flow or too many,
/// the entry is not there, another's or not done, there are too many marks, or the database fails.
pub fn mark(
    connection: &mut Connection,
    account: i64,
    key: &str,
    new: &NewMark<'_>,
    bounds: MarkBounds,
    actor: &Actor,
    now: i64,
) -> Result<i64, Refused> {
    let least = if new.why == Why::Other { MIN_REASON } else { 0 };
    let reason = shown_text_of(new.reason, MAX_REASON).filter(|reason| reason.chars().count() >= least);
    let reason = reason.ok_or(Reason::Mark)?;
    if new.purpose.is_some() && !new.malicious {
        return Err(Reason::MarkPurpose.into());
    }
    let covers = u32::try_from(new.covers.len()).unwrap_or(u32::MAX);
    if covers == 0 {
        return Err(Reason::MarkNothing.into());
    }
    if covers > bounds.flows {
        return Err(Reason::MarkTooWide.into());
    }
    let flow = Bound::of(new.flow)?;
    let transaction = begin(connection)?;
    let entry = workable(&transaction, account, key)?;
    if entry.state != State::Done {
        return Err(Reason::State.into());
    }
    let (there, all): (u32, i64) = transaction.query_row(
        "SELECT count(*), coalesce(sum(iif(m.withdrawn_at IS NULL, m.covers, 1)), 0) FROM marks m
            JOIN entries e ON e.id = m.entry_id WHERE e.account_id = ?1",
        [entry.account_id],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    // What others mark leaves its owner a tenth of theirs.
    if there >= entry.share_of(MAX_MARKS) || all + i64::from(covers) > i64::from(entry.share_of(bounds.all_flows)) {
        return Err(Reason::TooManyMarks.into());
    }
    transaction.execute(
        "INSERT INTO marks (entry_id, flow_id, malicious, reason, account_id, at, first_ns, client, client_port, server,
            server_port, sni, why, purpose, scope, covers)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        params![
            entry.id,
            flow.flow_id,
            new.malicious,
            reason,
            account,
            now,
            flow.first_ns,
            flow.client,
            flow.client_port,
            flow.server,
            flow.server_port,
            flow.sni,
            new.why.name(),
            new.purpose.map(Category::name),
            new.scope.name(),
            covers
        ],
    )?;
    let id = transaction.last_insert_rowid();
    {
        // A result may list a flow twice; its number is one.
        let mut insert = transaction.prepare_cached(
            "INSERT OR IGNORE INTO marked (mark_id, entry_id, flow_id, first_ns, client, client_port, server, server_port,
                sni) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?;
        for flow in new.covers {
            let flow = Bound::of(flow)?;
            insert.execute(params![
                id,
                entry.id,
                flow.flow_id,
                flow.first_ns,
                flow.client,
                flow.client_port,
                flow.server,
                flow.server_port,
                flow.sni
            ])?;
        }
    }
    let said = if new.malicious { "malicious" } else { "benign" };
    let subject = format!("{key}: flow {} {said}, {}, {covers}", flow.flow_id, new.scope.name());
    audit::record(&transaction, actor, Action::Marked, Some(&subject), now)?;
    transaction.commit()?;
    Ok(id)
}

/// A flow as the database takes it.
struct Bound {
    flow_id: i64,
    first_ns: i64,
    client: String,
    client_port: u16,
    server: String,
    server_port: u16,
    sni: Option<String>,
}

impl Bound {
    fn of(flow: &FlowFacts) -> Result<Self, Reason> {
        let signed = |number: u64| i64::try_from(number).map_err(|_| Reason::Form);
        Ok(Self {
            flow_id: signed(flow.flow_id)?,
            first_ns: signed(flow.first_ns)?,
            client: flow.client.to_string(),
            client_port: flow.client_port,
            server: flow.server.to_string(),
            server_port: flow.server_port,
            sni: flow.sni.as_ref().map(|sni| sni.chars().take(MAX_SNI).collect()),
        })
    }
}

/// Takes a mark back: it counts no more, and stays as history. Gives the flow that it was made on.
///
/// # Errors
/// Where it is not there, another's, of another entry or withdrawn already, or the database fails.
pub fn withdraw(
    connection: &mut Connection,
    account: i64,
    key: &str,
    id: i64,
    actor: &Actor,
    now: i64,
) -> Result<u64, Refused> {
    let transaction = begin(connection)?;
    let entry = workable(&transaction, account, key)?;
    let flow: Option<i64> = transaction
        .query_row(
            "SELECT flow_id FROM marks WHERE id = ?1 AND entry_id = ?2 AND withdrawn_at IS NULL",
            params![id, entry.id],
            |row| row.get(0),
        )
        .optional()?;
    let flow = flow.ok_or(Reason::NotThere)?;
    transaction
        .execute("UPDATE marks SET withdrawn_at = ?2, withdrawn_by = ?3 WHERE id = ?1", params![id, now, account])?;
    // Its history is told on the flow that it was made on; what else it covered makes room.
    transaction.execute("DELETE FROM marked WHERE mark_id = ?1 AND flow_id <> ?2", params![id, flow])?;
    audit::record(&transaction, actor, Action::MarkWithdrawn, Some(&format!("{key}: flow {flow}")), now)?;
    transaction.commit()?;
    Ok(flow.cast_unsigned())
}

/// What [`read`] reads.
const SELECT: &str = "m.*, a.display_name, w.display_name AS withdrawn_name";
/// Where that comes from.
const JOIN: &str = "JOIN accounts a ON a.id = m.account_id LEFT JOIN accounts w ON w.id = m.withdrawn_by";

/// The marks of an entry, the newest first: [`MARKS_SHOWN`] at most.
///
/// # Errors
/// Where the database fails.
pub fn list(connection: &Connection, entry: &Entry) -> Result<Vec<Mark>, DbError> {
    let sql = format!("SELECT {SELECT} FROM marks m {JOIN} WHERE m.entry_id = ?1 ORDER BY m.id DESC LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_and_then(params![entry.id, MARKS_SHOWN], read)?.collect()
}

/// The flows of an entry of which something counts, by number: those of the newest marks, [`MARKS_SHOWN`] at most.
///
/// # Errors
/// Where the database fails.
pub fn of_entry(connection: &Connection, entry: &Entry) -> Result<BTreeMap<u64, FlowMarks>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT f.flow_id FROM marked f JOIN marks m ON m.id = f.mark_id
            WHERE m.entry_id = ?1 AND m.withdrawn_at IS NULL GROUP BY f.flow_id ORDER BY max(m.id) DESC, f.flow_id LIMIT ?2",
    )?;
    let flows: Vec<i64> =
        statement.query_map(params![entry.id, MARKS_SHOWN], |row| row.get(0))?.collect::<Result<_, _>>()?;
    of_flows(connection, entry, &flows.into_iter().map(i64::cast_unsigned).collect::<Vec<_>>())
}

/// The marks of one flow of an entry.
///
/// # Errors
/// Where the database fails.
pub fn of_flow(connection: &Connection, entry: &Entry, flow: u64) -> Result<Option<FlowMarks>, DbError> {
    Ok(of_flows(connection, entry, &[flow])?.remove(&flow))
}

/// The marks of these flows of an entry, by number; those that nobody spoke of are left out.
///
/// # Errors
/// Where the database fails.
pub fn of_flows(connection: &Connection, entry: &Entry, flows: &[u64]) -> Result<BTreeMap<u64, FlowMarks>, DbError> {
    let wanted = serde_json::json!(flows.iter().map(|flow| flow.cast_signed()).collect::<Vec<_>>()).to_string();
    let sql = format!(
        "SELECT {SELECT}, f.flow_id AS of_flow, f.first_ns AS of_first, f.client_port AS of_port, f.client AS of_client,
            f.server AS of_server, f.server_port AS of_server_port, f.sni AS of_sni
            FROM marked f JOIN marks m ON m.id = f.mark_id {JOIN}
            WHERE f.entry_id = ?1 AND f.flow_id IN (SELECT value FROM json_each(?2))
            ORDER BY m.withdrawn_at IS NOT NULL, {} DESC, m.id DESC LIMIT ?3",
        Scope::NARROWNESS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![entry.id, wanted, ROWS])?;
    let mut found: BTreeMap<u64, FlowMarks> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (flow, mark) = (read_flow(row, &OF_FLOW)?, read(row)?);
        let marks = found.entry(flow.flow_id).or_insert(FlowMarks { flow, counts: None, others: Vec::new() });
        // The first one counts: that is the order.
        if marks.counts.is_none() && marks.others.is_empty() && mark.withdrawn.is_none() {
            marks.counts = Some(mark);
        } else {
            marks.others.push(mark);
        }
    }
    Ok(found)
}

/// Two marks of an entry that say opposite things of the same flows.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// The entry's key.
    pub key: String,
    /// What its capture is called.
    pub name: String,
    /// One of the flows.
    pub flow_id: u64,
    /// How many there are.
    pub flows: u64,
}

/// What contradicts each other among the marks that an account sees, the newest first: [`CONFLICTS_SHOWN`] at most.
///
/// # Errors
/// Where the database fails.
pub fn conflicts(connection: &Connection, account: i64) -> Result<Vec<Conflict>, DbError> {
    // Of one person the newest mark of each scope counts, and of a flow there is a handful of these, however often it was
    // marked. Beside one `max` SQLite gives the other columns of the row that has it.
    let sql = format!(
        "WITH newest AS MATERIALIZED (
            SELECT f.entry_id, f.flow_id, max(m.id) AS mark_id, m.malicious, e.key, e.name
                FROM marks m JOIN entries e ON e.id = m.entry_id JOIN marked f ON f.mark_id = m.id
                WHERE {} AND m.withdrawn_at IS NULL GROUP BY f.entry_id, f.flow_id, m.scope, m.account_id)
            SELECT a.key, a.name, min(a.flow_id), count(*) FROM newest a
                JOIN newest b ON b.entry_id = a.entry_id AND b.flow_id = a.flow_id AND b.mark_id < a.mark_id
                    AND b.malicious <> a.malicious
                GROUP BY a.mark_id, b.mark_id ORDER BY a.mark_id DESC, b.mark_id DESC LIMIT ?2",
        seen_by("?1")
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![account, CONFLICTS_SHOWN], |row| {
        Ok(Conflict {
            key: row.get(0)?,
            name: row.get(1)?,
            flow_id: row.get::<_, i64>(2)?.cast_unsigned(),
            flows: row.get::<_, i64>(3)?.cast_unsigned(),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How many flows of the entries that an account sees are marked.
///
/// # Errors
/// Where the database fails.
pub fn count(connection: &Connection, account: i64) -> Result<u64, DbError> {
    let sql = format!(
        "SELECT count(*) FROM (SELECT DISTINCT f.entry_id, f.flow_id FROM marks m JOIN entries e ON e.id = m.entry_id
            JOIN marked f ON f.mark_id = m.id WHERE {} AND m.withdrawn_at IS NULL)",
        seen_by("?1")
    );
    let count: i64 = connection.prepare_cached(&sql)?.query_row([account], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

fn read(row: &Row<'_>) -> Result<Mark, DbError> {
    let foreign = |what: &str| DbError::Foreign(format!("a mark with another {what}"));
    let (why, scope): (String, String) = (row.get("why")?, row.get("scope")?);
    let purpose: Option<String> = row.get("purpose")?;
    let purpose = purpose.map(|name| Category::from_name(&name).ok_or_else(|| foreign("purpose"))).transpose()?;
    let withdrawn: Option<i64> = row.get("withdrawn_at")?;
    Ok(Mark {
        id: row.get("id")?,
        flow: read_flow(row, &OWN)?,
        malicious: row.get("malicious")?,
        why: why.parse().map_err(|_| foreign("reason"))?,
        purpose,
        reason: row.get("reason")?,
        scope: scope.parse().map_err(|_| foreign("scope"))?,
        covers: u64::try_from(row.get::<_, i64>("covers")?).unwrap_or_default(),
        account_id: row.get("account_id")?,
        by: row.get("display_name")?,
        at: row.get("at")?,
        withdrawn: match withdrawn {
            Some(at) => Some((row.get::<_, Option<String>>("withdrawn_name")?.unwrap_or_default(), at)),
            None => None,
        },
    })
}

/// The columns of a mark's own flow, in the order of [`read_flow`].
const OWN: [&str; 7] = ["flow_id", "first_ns", "client", "client_port", "server", "server_port", "sni"];
/// The columns of a flow that a mark covers.
const OF_FLOW: [&str; 7] = ["of_flow", "of_first", "of_client", "of_port", "of_server", "of_server_port", "of_sni"];

fn read_flow(row: &Row<'_>, columns: &[&str; 7]) -> Result<FlowFacts, DbError> {
    let [flow_id, first_ns, client, client_port, server, server_port, sni] = columns;
    let number = |column: &str| -> Result<u64, DbError> {
        let found: i64 = row.get(column)?;
        u64::try_from(found).map_err(|_| DbError::Foreign(format!("a mark with the {column} {found}")))
    };
    let address = |column: &str| -> Result<IpAddr, DbError> {
        let found: String = row.get(column)?;
        found.parse().map_err(|_| DbError::Foreign(format!("a mark with the {column} {found:?}")))
    };
    Ok(FlowFacts {
        flow_id: number(flow_id)?,
        first_ns: number(first_ns)?,
        client: address(client)?,
        client_port: row.get(*client_port)?,
        server: address(server)?,
        server_port: row.get(*server_port)?,
        sni: row.get(*sni)?,
    })
}
