//! What people make of findings: who looks at what next, what came of it, and what was said.
//!
//! | module | story |
//! |---|---|
//! | [`collect`] | conversations of a result become items when its analysis is done |
//! | [`queue`] | what to look at next |
//! | [`change`] | states, assignees, and their history |
//! | [`comments`] | what people say to each other |
//! | [`labels`] | what was decided, as labels for training |
//!
//! What people work on is an *item*: an entry, or a conversation in it that is worth a look. A conversation is all flows of
//! one computer to one service (a server's address, port and protocol, and the name that was asked for), because that is
//! what one decides about: a beacon that calls a thousand times is one finding, and two services on one address are two.
//! A single flow is marked ([`crate::entries::marks`]), and not worked on.
//!
//! Items are copied out of results, so the queue opens no result however many entries there are. Who may see an entry
//! sees its items ([`crate::entries::visible`]).

pub mod change;
pub mod collect;
pub mod comments;
pub mod labels;
pub mod queue;

use std::fmt;
use std::str::FromStr;

use rusqlite::Row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::accounts::{Actor, Reason};
use crate::database::DbError;

/// How far people have come with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = TriageState)]
pub enum State {
    /// Nobody has looked.
    New,
    /// Somebody has looked, and it is not decided.
    Seen,
    /// It is what it looks like.
    Confirmed,
    /// It is harmless.
    Dismissed,
    /// Nothing more is to be done, as the words say.
    Closed,
}

impl State {
    /// All of them, in the order of an item's life.
    pub const ALL: [Self; 5] = [Self::New, Self::Seen, Self::Confirmed, Self::Dismissed, Self::Closed];
    /// Those with something left to do.
    pub const OPEN: [Self; 3] = [Self::New, Self::Seen, Self::Confirmed];

    /// Its name in the database, in addresses and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Seen => "seen",
            Self::Confirmed => "confirmed",
            Self::Dismissed => "dismissed",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for State {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        Self::ALL.into_iter().find(|state| state.name() == text).ok_or(Reason::Form)
    }
}

/// What an item is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A conversation in an entry.
    #[default]
    Conversation,
    /// An entry as a whole.
    Entry,
}

impl Kind {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Conversation, Self::Entry];

    /// Its name in the database, in addresses and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conversation => "conversation",
            Self::Entry => "entry",
        }
    }
}

impl FromStr for Kind {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or(Reason::Form)
    }
}

/// One item. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its number, which names it in addresses.
    pub id: i64,
    /// The number of its entry.
    pub entry_id: i64,
    /// The key of its entry.
    pub key: String,
    /// What the entry's capture is called: any text.
    pub capture: String,
    /// What the entry is sorted into.
    pub sorted: Option<String>,
    /// How far its analysis is: the name of an [`crate::entries::State`].
    pub analysis: String,
    /// What it is.
    pub kind: Kind,
    /// How far people have come.
    pub state: State,
    /// The words with which it was closed.
    pub words: String,
    /// Whose it is to look at.
    pub assignee: Option<Assignee>,
    /// Grows with every change.
    pub version: i64,
    /// Since when it waits.
    pub at: i64,
    /// Its place in the queue: the smallest comes first.
    pub place: i64,
    /// The worst verdict of its flows; none before there is a result.
    pub verdict: Option<String>,
    /// The score of its worst flow.
    pub score: Option<f64>,
    /// What a word on it teaches a model, from 0 to 1.
    pub worth: f64,
    /// Whether the model's training held nothing like it.
    pub novel: bool,
    /// What it is for, where something tells it.
    pub purpose: Option<String>,
    /// Flows of it that are worth a look.
    pub flows: u64,
    /// The conversation; none of an entry.
    pub conversation: Option<Conversation>,
    /// The item of an earlier analysis of the same capture whose state it took over, if that is still there.
    pub carried_from: Option<i64>,
}

/// Whom an item was given to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignee {
    /// Their account.
    pub id: i64,
    /// What they log in with.
    pub name: String,
    /// What is shown of them.
    pub display_name: String,
}

/// Which conversation an item is, and its worst flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Who opened its flows.
    pub client: String,
    /// Who answered.
    pub server: String,
    /// Their port.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// The server name that was asked for, or nothing: the capture's text.
    pub name: String,
    /// The worst flow.
    pub flow_id: u64,
    /// When that began, in nanoseconds since 1970.
    pub first_ns: u64,
    /// And from which port.
    pub client_port: u16,
}

/// Who changes something.
#[derive(Clone, Copy, Debug)]
pub struct Doer<'a> {
    /// Their account.
    pub account: i64,
    /// The name that the history shows.
    pub by: &'a str,
    /// How the audit log names them.
    pub actor: &'a Actor,
}

/// What [`read`] reads; put conditions behind it.
const SELECT: &str =
    "SELECT i.*, e.key, e.name AS capture, e.state AS analysis, k.name AS sorted, a.name AS assignee, a.display_name,
    (SELECT o.id FROM items o WHERE o.id = i.carried_from) AS earlier
    FROM items i JOIN entries e ON e.id = i.entry_id LEFT JOIN accounts a ON a.id = i.assignee_id
    LEFT JOIN categories k ON k.id = e.category_id";

/// An item from a row of [`SELECT`].
fn read(row: &Row<'_>) -> Result<Item, DbError> {
    let foreign = |what: &str| DbError::Foreign(format!("an item with another {what}"));
    let (kind, state): (String, String) = (row.get("kind")?, row.get("state")?);
    let kind: Kind = kind.parse().map_err(|_| foreign("kind"))?;
    let assignee = match row.get::<_, Option<i64>>("assignee_id")? {
        Some(id) => Some(Assignee { id, name: row.get("assignee")?, display_name: row.get("display_name")? }),
        None => None,
    };
    let conversation = match kind {
        Kind::Entry => None,
        Kind::Conversation => Some(Conversation {
            client: row.get("client")?,
            server: row.get("server")?,
            port: row.get("port")?,
            protocol: row.get("protocol")?,
            name: row.get("name")?,
            flow_id: row.get::<_, i64>("flow_id")?.cast_unsigned(),
            first_ns: row.get::<_, i64>("first_ns")?.cast_unsigned(),
            client_port: row.get("client_port")?,
        }),
    };
    Ok(Item {
        id: row.get("id")?,
        entry_id: row.get("entry_id")?,
        key: row.get("key")?,
        capture: row.get("capture")?,
        sorted: row.get("sorted")?,
        analysis: row.get("analysis")?,
        kind,
        state: state.parse().map_err(|_| foreign("state"))?,
        words: row.get("words")?,
        assignee,
        version: row.get("version")?,
        at: row.get("at")?,
        place: row.get("place")?,
        verdict: row.get("verdict")?,
        score: row.get("score")?,
        worth: row.get("worth")?,
        novel: row.get("novel")?,
        purpose: row.get("category")?,
        flows: u64::try_from(row.get::<_, i64>("flows")?).unwrap_or_default(),
        conversation,
        carried_from: row.get("earlier")?,
    })
}

/// A text of some lines that people wrote: with `\n` between them, trimmed; none where it is empty, longer than that, or
/// holds characters that steer.
fn lines_of(text: &str, most: usize) -> Option<String> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let text = text.trim();
    let fits = !text.is_empty() && text.chars().count() <= most;
    (fits && !text.contains(|c| c != '\n' && crate::accounts::steers(c))).then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
