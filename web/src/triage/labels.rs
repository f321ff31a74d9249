//! What was decided, as labels for training: of every conversation that was confirmed or dismissed its worst flow.
//!
//! The table has the columns of the export of marks, so `veilwatch train --feedback FILE` reads it, and three more. Who
//! knows that more flows of a conversation are so marks them, with a scope.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;
use utoipa::ToSchema;
use veilwatch::output::harmless;

use super::{Item, Kind, State, queue};
use crate::accounts::{Reason, Refused};
use crate::database::DbError;
use crate::entries::marks::labels::{FLOWS, ending, family, table_time, text};

/// One label: the columns of `flows.csv`, then the item, its entry and its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = TriageLabel)]
pub struct Label {
    path: String,
    time: String,
    client: String,
    client_port: u16,
    server: String,
    server_port: u16,
    /// `malicious` of what was confirmed, `benign` of what was dismissed.
    label: &'static str,
    confidence: &'static str,
    family: String,
    sni: String,
    words: String,
    by: String,
    at: String,
    why: &'static str,
    purpose: String,
    scope: &'static str,
    item: i64,
    entry: String,
    state: State,
}

/// The labels of the items that a query is for: `most` at most.
///
/// # Errors
/// Where there are more, or the database fails.
pub fn labels(connection: &Connection, account: i64, query: &queue::Query, most: u32) -> Result<Vec<Label>, Refused> {
    let decided = [State::Confirmed, State::Dismissed];
    let states: Vec<State> =
        decided.into_iter().filter(|state| query.states.is_empty() || query.states.contains(state)).collect();
    let query = queue::Query { states, kind: Kind::Conversation, ..query.clone() };
    if query.states.is_empty() {
        return Ok(Vec::new());
    }
    let items = queue::first(connection, account, &query, most.saturating_add(1))?;
    if items.len() > most as usize {
        return Err(Reason::ExportTooLarge.into());
    }
    Ok(items.iter().map(|item| label(connection, item)).filter_map(Result::transpose).collect::<Result<_, _>>()?)
}

fn label(connection: &Connection, item: &Item) -> Result<Option<Label>, DbError> {
    let Some(conversation) = &item.conversation else { return Ok(None) };
    let decided: Option<(String, i64, String)> = connection
        .prepare_cached("SELECT by, at, words FROM changes WHERE item_id = ?1 AND state = ?2 ORDER BY id DESC LIMIT 1")?
        .query_row((item.id, item.state.name()), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let (by, at, words) = decided.unwrap_or_default();
    let (sha256, format, compression): (String, Option<String>, Option<String>) = connection
        .prepare_cached(
            "SELECT sha256, inspection ->> 'format', inspection ->> 'compression' FROM entries WHERE id = ?1",
        )?
        .query_row([item.entry_id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let is_malicious = item.state == State::Confirmed;
    Ok(Some(Label {
        path: format!("{sha256}.{}", ending(format.as_deref(), compression.as_deref())),
        time: table_time(conversation.first_ns),
        client: conversation.client.clone(),
        client_port: conversation.client_port,
        server: conversation.server.clone(),
        server_port: conversation.port,
        label: if is_malicious { "malicious" } else { "benign" },
        confidence: "source",
        family: if is_malicious { family(&sha256) } else { String::new() },
        sni: harmless(conversation.name.clone()),
        words: harmless(words.replace('\n', " ")),
        by: harmless(by),
        at: Timestamp::from_second(at).map(|at| at.to_string()).unwrap_or_default(),
        why: "other",
        purpose: harmless(item.purpose.clone().filter(|_| is_malicious).unwrap_or_default()),
        scope: "flow",
        item: item.id,
        entry: item.key.clone(),
        state: item.state,
    }))
}

/// The labels as a table.
///
/// # Errors
/// Where it cannot be written.
pub fn table(labels: &[Label]) -> Result<String, csv::Error> {
    let mut table = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    table.write_record(FLOWS.into_iter().chain(["item", "entry", "state"]))?;
    for label in labels {
        table.serialize(label)?;
    }
    text(table)
}
