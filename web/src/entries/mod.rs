//! What people uploaded, and what became of it.
//!
//! | module | story |
//! |---|---|
//! | [`access`] | who may do what: the one rule |
//! | [`list`](mod@list) | the entries that an account may read, searched |
//! | [`change`] | confirmed, described, stopped, deleted, analysed again |
//! | [`share`](mod@share) | shared with a team, and kept from timers |
//! | [`categories`] | what entries are sorted into |
//! | [`marks`] | what people say of flows, and the labels that come of it |
//! | [`visible`] | who may see an entry |
//!
//! An entry is its account's alone, unless that shares it with a team. Every function asks for the account, and goes through
//! [`access`]: administrators do not see other people's captures.

pub mod access;
pub mod categories;
pub mod change;
pub mod list;
pub mod marks;
pub mod share;
pub mod visible;

use std::fmt;
use std::str::FromStr;

use rusqlite::Row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use veilwatch::worker::{Analysed, Inspection};

pub use access::{May, find, need, owned, workable};
pub use categories::Category;
pub use change::{
    Bounds, Choices, Deleted, Description, Stop, analyse_again, ask_stop, confirm, delete, describe, is_note,
};
pub use list::{Page, Query, Whose, earlier, list};
pub use marks::{
    FlowFacts, FlowMarks, Labels, Mark, MarkBounds, NewMark, Scope, Why, capture_name, mark, of_entry, of_flow,
    of_flows,
};
pub use share::{keep, share, shared_count, take_back};

use crate::accounts::Reason;
use crate::database::DbError;
use crate::uploads::{Key, Sha256Hex};

/// The `why` of an entry that was stopped before it began.
pub const WHY_STOPPED: &str = "stopped";
/// The `why` of an entry whose capture is gone from the data folder.
pub const WHY_CAPTURE_MISSING: &str = "capture-missing";
/// The `why` of an entry whose result is gone from the data folder.
pub const WHY_RESULT_MISSING: &str = "result-missing";

/// The most characters of a note.
pub const MAX_NOTE: usize = 500;

/// How far an entry has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It was uploaded; its owner has not said what to do.
    Unconfirmed,
    /// It waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// There is a result.
    Done,
    /// There is none, and `why` says why.
    Failed,
}

impl State {
    /// All states, in the order of an entry's life.
    pub const ALL: [Self; 5] = [Self::Unconfirmed, Self::Queued, Self::Running, Self::Done, Self::Failed];

    /// Its name in the database, in addresses and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unconfirmed => "unconfirmed",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
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

/// The worst that was found in a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// A malicious flow.
    Malicious,
    /// A suspicious flow, and none that is malicious.
    Suspicious,
    /// Neither, among flows that were judged.
    Nothing,
    /// Nothing could be judged.
    Unclear,
}

impl Finding {
    /// All findings, the worst first.
    pub const ALL: [Self; 4] = [Self::Malicious, Self::Suspicious, Self::Nothing, Self::Unclear];

    /// Its name in addresses and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malicious => "malicious",
            Self::Suspicious => "suspicious",
            Self::Nothing => "nothing",
            Self::Unclear => "unclear",
        }
    }
}

impl FromStr for Finding {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        Self::ALL.into_iter().find(|finding| finding.name() == text).ok_or(Reason::Form)
    }
}

/// The team that an entry is shared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedWith {
    /// The team's number.
    pub id: i64,
    /// What it is called: any text.
    pub name: String,
    /// Whether the team is retired: then the entry is its owner's alone.
    pub retired: bool,
}

/// One entry, as somebody sees it: a capture that was uploaded, and what became of it. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its number; names it to the portal's own parts.
    pub id: i64,
    /// Names it in addresses.
    pub key: Key,
    /// Whose it is.
    pub account_id: i64,
    /// The name to show of whose it is.
    pub owner: String,
    /// Whom it is shared with.
    pub team: Option<SharedWith>,
    /// Who asked for it.
    pub asker: i64,
    /// What whoever asked may do with it.
    pub may: May,
    /// Why no timer deletes it.
    pub kept_why: Option<String>,
    /// Since when it does without its capture, which was deleted.
    pub capture_gone_at: Option<i64>,
    /// The capture.
    pub sha256: Sha256Hex,
    /// Bytes of the capture.
    pub bytes: u64,
    /// What its file was called: any text.
    pub name: String,
    /// What its owner says of it; may be empty.
    pub note: String,
    /// What it is sorted into.
    pub category_id: Option<i64>,
    /// The name of that category.
    pub category: Option<String>,
    /// When it was uploaded.
    pub created_at: i64,
    /// What was recognised.
    pub inspection: Inspection,
    /// How far it has come.
    pub state: State,
    /// The name of the pipeline that was chosen.
    pub pipeline: Option<String>,
    /// Its version, where it was made here.
    pub pipeline_version: Option<i64>,
    /// The newest version of it that can be chosen now.
    pub newest_version: Option<i64>,
    /// Packets after which the analysis stops.
    pub packet_limit: Option<u64>,
    /// When it was confirmed.
    pub confirmed_at: Option<i64>,
    /// When its worker was last started.
    pub started_at: Option<i64>,
    /// When it was done or failed.
    pub ended_at: Option<i64>,
    /// How often its worker was started.
    pub starts: u32,
    /// How often its worker died.
    pub crashes: u32,
    /// Whether its owner asked it to stop.
    pub stop_asked: bool,
    /// The kind of its failure.
    pub why: Option<String>,
    /// The words for its failure: may hold a capture's text.
    pub words: Option<String>,
    /// What the analysis came to.
    pub analysed: Option<Analysed>,
}

impl Entry {
    /// The pipeline as it is shown: with its version, where it has one.
    pub fn pipeline_shown(&self) -> Option<String> {
        let name = self.pipeline.as_ref()?;
        Some(self.pipeline_version.map_or_else(|| name.clone(), |version| format!("{name}@{version}")))
    }

    /// What somebody who may do so much with it may use of a bound of its owner's: others leave the owner a tenth.
    pub(crate) fn share_of(&self, most: u32) -> u32 {
        if self.may < May::Own { most - most / 10 } else { most }
    }

    /// The worst that was found; none before it is done.
    pub fn finding(&self) -> Option<Finding> {
        let analysed = self.analysed.as_ref().filter(|_| self.state == State::Done)?;
        Some(match analysed {
            Analysed { malicious: 1.., .. } => Finding::Malicious,
            Analysed { suspicious: 1.., .. } => Finding::Suspicious,
            Analysed { scored: 0, .. } => Finding::Unclear,
            _ => Finding::Nothing,
        })
    }
}

/// An entry from a row of [`access::COLUMNS`].
fn read(row: &Row<'_>) -> Result<Entry, DbError> {
    let text = |column: &str| row.get::<_, String>(column);
    let (key, sha256, state, inspection) = (text("key")?, text("sha256")?, text("state")?, text("inspection")?);
    let foreign = |what: &str| DbError::Foreign(format!("the {what} of entry {key:?}"));
    let number = |column: &str| -> Result<Option<u64>, DbError> {
        let found: Option<i64> = row.get(column)?;
        found.map(|found| u64::try_from(found).map_err(|_| foreign(column))).transpose()
    };
    let count = |column: &str| Ok::<_, DbError>(number(column)?.unwrap_or(0));
    let flag = |column: &str| Ok::<_, DbError>(row.get::<_, Option<bool>>(column)?.unwrap_or(false));
    let analysed = match number("flows")? {
        Some(flows) => Some(Analysed {
            packets: count("packets")?,
            flows,
            scored: count("scored")?,
            malicious: count("malicious")?,
            suspicious: count("suspicious")?,
            partial: flag("partial")?,
            blind: flag("blind")?,
        }),
        None => None,
    };
    let team = match row.get("team_id")? {
        Some(id) => Some(SharedWith { id, name: row.get("team_name")?, retired: row.get("team_retired")? }),
        None => None,
    };
    Ok(Entry {
        id: row.get("id")?,
        account_id: row.get("account_id")?,
        owner: row.get("owner")?,
        team,
        asker: row.get("asker")?,
        may: access::may(row)?,
        kept_why: row.get("kept_why")?,
        capture_gone_at: row.get("capture_gone_at")?,
        sha256: sha256.parse().map_err(|_| foreign("sha256"))?,
        bytes: count("bytes")?,
        name: row.get("name")?,
        note: row.get("note")?,
        category_id: row.get("category_id")?,
        category: row.get("category")?,
        created_at: row.get("created_at")?,
        inspection: serde_json::from_str(&inspection).map_err(|_| foreign("inspection"))?,
        state: state.parse().map_err(|_| foreign("state"))?,
        pipeline: row.get("pipeline")?,
        pipeline_version: row.get("pipeline_version")?,
        newest_version: row.get("newest_version")?,
        packet_limit: number("packet_limit")?,
        confirmed_at: row.get("confirmed_at")?,
        started_at: row.get("started_at")?,
        ended_at: row.get("ended_at")?,
        starts: row.get("starts")?,
        crashes: row.get("crashes")?,
        stop_asked: row.get("stop_asked")?,
        why: row.get("why")?,
        words: row.get("words")?,
        analysed,
        key: key.parse().map_err(|_| foreign("key"))?,
    })
}
