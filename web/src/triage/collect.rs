//! Conversations of a result become items when its analysis is done.
//!
//! What a result holds is a capture's text: it is read as [`crate::results::read`] reads everything, and a result that cannot
//! be read leaves its entry without conversations, which the queue says. Entries of before there was a queue follow when
//! no analysis waits ([`pending`]). Where the same conversation was found by an earlier analysis of the same capture, its
//! state, its assignee and the newest of their history are taken over.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::database::DbError;
use crate::results::{ConversationRow, Question, ResultError, ResultFile};
use crate::uploads::Key;

/// Alerts of one result that are put together into conversations, the worst first; the rest is counted.
const ALERTS: u32 = 50_000;
/// Items of earlier analyses of a capture that states are taken over from, the newest first.
const EARLIER: u32 = 20_000;
/// Changes of an item that are taken over with its state, the newest.
const COPIED: u32 = 10;
/// And of all items of an analysis together: words of people take room that no quota counts.
const ALL_COPIED: usize = 2000;

/// What a result has for the queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The conversations, the worst first.
    conversations: Vec<Waiting>,
    /// Alerts that belong to none of them: there were too many.
    left: u64,
}

/// A conversation that is worth a look.
#[derive(Clone, Debug, PartialEq)]
struct Waiting {
    row: ConversationRow,
    worth: f64,
    novel: bool,
}

/// The place in the queue: malicious before suspicious before all others, then by the score in steps of a tenth, then by
/// what a word teaches. The smallest comes first.
pub(super) fn place(verdict: Option<&str>, score: Option<f64>, worth: f64) -> i64 {
    let verdict = match verdict {
        Some("malicious") => 0,
        Some("suspicious") => 1,
        _ => 2,
    };
    let steps = |value: f64, of: f64| (of - (value.clamp(0.0, 1.0) * of).floor()) as i64;
    (verdict * 11 + steps(score.unwrap_or_default(), 10.0)) * 1001 + steps(worth, 1000.0)
}

/// What a result has for the queue: so many conversations at most. Alerts come first, then flows that are most worth a
/// word, as `veilwatch detect --queue` chooses them.
///
/// # Errors
/// Where the result cannot be read.
pub fn read(file: &ResultFile, most: u32) -> Result<Found, ResultError> {
    let summary = file.summary()?;
    let mut conversations: Vec<Waiting> =
        file.conversations(ALERTS, most)?.into_iter().map(|row| Waiting { row, worth: 0.0, novel: false }).collect();
    let shown: u64 = conversations.iter().map(|waiting| waiting.row.flows).sum();
    for question in file.questions()? {
        let Some(flow) = file.flow(question.flow_id)?.map(|detail| detail.flow) else { continue };
        let asked = ConversationRow::of(flow, question.alike);
        let Question { worth, novel, .. } = question;
        match conversations.iter().position(|waiting| waiting.row.is_same(&asked)) {
            Some(at) => {
                if let Some(waiting) = conversations.get_mut(at).filter(|waiting| waiting.worth < worth) {
                    (waiting.worth, waiting.novel) = (worth, novel);
                }
            }
            None if conversations.len() < most as usize => conversations.push(Waiting { row: asked, worth, novel }),
            None => {}
        }
    }
    Ok(Found { conversations, left: summary.malicious.saturating_add(summary.suspicious).saturating_sub(shown) })
}

/// What a conversation is called in the database.
type Name = (String, String, u16, u8, String);

/// What an earlier analysis left: the item, its state, the words with which it was closed, and its assignee.
type Earlier = (i64, String, String, Option<i64>);

/// Makes items of what was found in an entry that is done; without, notes that its result could not be read. What has
/// items already keeps them.
///
/// # Errors
/// Where the database fails.
pub fn store(transaction: &Transaction<'_>, entry: i64, found: Option<&Found>, now: i64) -> Result<(), DbError> {
    let left = found.map(|found| i64::try_from(found.left).unwrap_or(i64::MAX));
    let fresh = transaction.execute(
        "UPDATE entries SET items_at = ?2, items_left = ?3 WHERE id = ?1 AND state = 'done' AND items_at IS NULL",
        params![entry, now, left],
    )?;
    let Some(found) = found.filter(|_| fresh == 1) else { return Ok(()) };
    let earlier = earlier(transaction, entry)?;
    let mut insert = transaction.prepare_cached(
        "INSERT OR IGNORE INTO items (entry_id, kind, at, place, verdict, score, worth, novel, category, flows, client,
            server, port, protocol, name, flow_id, first_ns, client_port, state, words, assignee_id, carried_from)
            VALUES (?1, 'conversation', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
            ?21)",
    )?;
    let mut copy = transaction.prepare_cached(
        "INSERT INTO changes (item_id, at, by, state, assignee, words)
            SELECT ?1, at, by, state, assignee, words FROM (SELECT * FROM changes WHERE item_id = ?2 ORDER BY id DESC LIMIT ?3)
            ORDER BY id",
    )?;
    let mut copied = 0;
    for Waiting { row, worth, novel } in &found.conversations {
        let (client, server) = (row.client.to_string(), row.server.to_string());
        let name: Name = (client, server, row.port, row.protocol, row.name.clone());
        let before = earlier.get(&name);
        let (client, server, ..) = &name;
        let inserted = insert.execute(params![
            entry,
            now,
            place(row.verdict, row.score, *worth),
            row.verdict,
            row.score,
            worth,
            novel,
            row.category,
            i64::try_from(row.flows).unwrap_or(i64::MAX),
            client,
            server,
            row.port,
            row.protocol,
            row.name,
            row.flow_id.cast_signed(),
            row.first_ns.cast_signed(),
            row.client_port,
            before.map_or("new", |(_, state, ..)| state.as_str()),
            before.map_or("", |(_, _, words, _)| words.as_str()),
            before.and_then(|(.., assignee)| *assignee),
            before.map(|(id, ..)| *id)
        ])?;
        if let Some((old, ..)) = before
            && inserted == 1
        {
            let most = u32::try_from(ALL_COPIED.saturating_sub(copied)).unwrap_or(COPIED).min(COPIED);
            copied += copy.execute(params![transaction.last_insert_rowid(), old, most])?;
        }
    }
    let worst = found
        .conversations
        .iter()
        .map(|one| (place(one.row.verdict, one.row.score, one.worth), one))
        .min_by_key(|(place, _)| *place);
    let all: u64 = found.conversations.iter().map(|one| one.row.flows).sum();
    let (place, row) = worst.map_or((place(None, None, 0.0), None), |(place, one)| (place, Some(&one.row)));
    transaction.execute(
        "UPDATE items SET place = ?2, verdict = ?3, score = ?4, flows = ?5, at = ?6 WHERE entry_id = ?1 AND kind = 'entry'",
        params![
            entry,
            place,
            row.and_then(|row| row.verdict),
            row.and_then(|row| row.score),
            i64::try_from(all).unwrap_or(i64::MAX),
            now
        ],
    )?;
    Ok(())
}

/// Conversations of earlier entries of the same account and capture that somebody has worked on: the newest of each. What was
/// said among other people stays with them.
fn earlier(connection: &Connection, entry: i64) -> Result<HashMap<Name, Earlier>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT i.client, i.server, i.port, i.protocol, i.name, i.id, i.state, i.words, i.assignee_id
            FROM entries me JOIN entries e ON e.account_id = me.account_id AND e.sha256 = me.sha256 AND e.id < me.id
                AND e.team_id IS me.team_id
            JOIN items i ON i.entry_id = e.id AND i.kind = 'conversation'
            WHERE me.id = ?1 ORDER BY e.id DESC LIMIT ?2",
    )?;
    let mut rows = statement.query(params![entry, EARLIER])?;
    let mut found = HashMap::new();
    while let Some(row) = rows.next()? {
        let name: Name = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
        let earlier: Earlier = (row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?);
        found.entry(name).or_insert(earlier);
    }
    Ok(found)
}

/// The oldest entry that is done and whose conversations are no items yet.
///
/// # Errors
/// Where the database fails.
pub fn pending(connection: &Connection) -> Result<Option<(i64, Key)>, DbError> {
    let found: Option<(i64, String)> = connection
        .prepare_cached("SELECT id, key FROM entries WHERE state = 'done' AND items_at IS NULL ORDER BY id LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    found.map(|(id, key)| Ok((id, key.parse().map_err(|_| DbError::Foreign(format!("the key {key:?}")))?))).transpose()
}

#[cfg(test)]
impl Found {
    /// Conversations of one computer with these servers: the last part of their address, the name, the verdict, the score
    /// and the worth of each.
    pub(super) fn of(rows: &[(u8, &str, &'static str, f64, f64)], left: u64) -> Self {
        let conversations = rows.iter().map(|(server, name, verdict, score, worth)| {
            let row = ConversationRow {
                client: [192, 0, 2, 1].into(),
                server: [198, 51, 100, *server].into(),
                port: 443,
                protocol: 6,
                name: (*name).to_owned(),
                flows: 2,
                verdict: Some(verdict),
                score: Some(*score),
                flow_id: u64::from(*server),
                first_ns: 1_700_000_000_000_000_007,
                client_port: 50_000,
                category: None,
            };
            Waiting { row, worth: *worth, novel: false }
        });
        Self { conversations: conversations.collect(), left }
    }
}
