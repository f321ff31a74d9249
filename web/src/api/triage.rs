//! What to look at next, for programs: the queue of the page *Triage*, with its rules.

use rocket::http::Status;
use rocket::serde::json::Json;
use rocket::{FromForm, State, get, patch, post};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

use super::body::Body;
use super::entries::{number, refused};
use super::{Address, Answer, Caller, Writer};
use crate::accounts::{Actor, Reason, Refused};
use crate::database::DbError;
use crate::entries::visible::may_work;
use crate::pages::errors::{Problem, ProblemDocument};
use crate::pages::{downloads, looks};
use crate::portal::Portal;
use crate::triage::change::{Change, change, history};
use crate::triage::queue::{self, Cursor, From, Given, Query};
use crate::triage::{Doer, Item, Kind, State as ItemState, comments, labels};

/// Items of one answer where nobody says how many.
const PAGE: u32 = 50;

/// Something that people work on.
#[derive(Debug, Serialize, ToSchema)]
pub struct TriageItem {
    /// What names it in addresses.
    id: i64,
    /// A conversation in an entry, or an entry as a whole.
    kind: Kind,
    /// The key of its entry.
    entry: String,
    /// What the entry's capture is called.
    capture: String,
    /// How far people have come.
    state: ItemState,
    /// The words with which it was closed.
    words: String,
    /// The login name of whom it was given to.
    assignee: Option<String>,
    /// Grows with every change: a change says which one it saw.
    version: i64,
    /// Since when it waits, in seconds since 1970.
    at: i64,
    /// The worst verdict of its flows.
    verdict: Option<String>,
    /// The score of its worst flow.
    score: Option<f64>,
    /// What a word on it teaches a model, from 0 to 1.
    worth: f64,
    /// Whether the model's training held nothing like it.
    novel: bool,
    /// What it is for, where something tells it.
    purpose: Option<String>,
    /// Flows of it that are worth a look.
    flows: u64,
    /// The conversation; none of an entry.
    conversation: Option<TriageConversation>,
    /// The item of an earlier analysis of the same capture whose state it took over.
    carried_from: Option<i64>,
}

/// A computer and a service, with the worst of their flows.
#[derive(Debug, Serialize, ToSchema)]
pub struct TriageConversation {
    client: String,
    server: String,
    port: u16,
    /// IP protocol number.
    protocol: u8,
    /// The server name that was asked for, or nothing.
    name: String,
    /// The worst flow.
    flow_id: u64,
    /// When that began, in nanoseconds since 1970.
    first_ns: u64,
}

/// Some items of many.
#[derive(Debug, Serialize, ToSchema)]
pub struct TriageList {
    /// The items, in the order of the queue.
    items: Vec<TriageItem>,
    /// How many there are of each state, whatever states were asked for.
    counts: BTreeMap<&'static str, u64>,
    /// What to ask for with `after`, where there are more.
    after: Option<String>,
    /// Entries whose conversations are still to be taken over.
    pending: u64,
    /// Entries whose result cannot be read.
    unread: u64,
    /// Alerts that are in no conversation, because an entry had too many.
    left: u64,
}

/// An item with what was done and said.
#[derive(Debug, Serialize, ToSchema)]
pub struct TriageDetail {
    #[serde(flatten)]
    item: TriageItem,
    /// What was changed, the newest first.
    history: Vec<TriageChange>,
    /// What was said, the oldest first.
    comments: Vec<TriageComment>,
}

/// One change.
#[derive(Debug, Serialize, ToSchema)]
pub struct TriageChange {
    at: i64,
    /// Who did it, as they are shown; empty where nobody did: what the rules did by themselves.
    by: String,
    /// What it became; nothing where that stayed.
    state: Option<ItemState>,
    /// Whom it was given to, as they are shown: nobody where it is empty; nothing where that stayed.
    assignee: Option<String>,
    words: String,
}

/// One comment.
#[derive(Debug, Serialize, ToSchema)]
pub struct TriageComment {
    id: i64,
    at: i64,
    by: String,
    /// Nothing where it was deleted.
    text: String,
    edited_at: Option<i64>,
    deleted_at: Option<i64>,
}

fn view(item: Item) -> TriageItem {
    TriageItem {
        id: item.id,
        kind: item.kind,
        entry: item.key,
        capture: item.capture,
        state: item.state,
        words: item.words,
        assignee: item.assignee.map(|assignee| assignee.name),
        version: item.version,
        at: item.at,
        verdict: item.verdict,
        score: item.score,
        worth: item.worth,
        novel: item.novel,
        purpose: item.purpose,
        flows: item.flows,
        conversation: item.conversation.map(|one| TriageConversation {
            client: one.client,
            server: one.server,
            port: one.port,
            protocol: one.protocol,
            name: one.name,
            flow_id: one.flow_id,
            first_ns: one.first_ns,
        }),
        carried_from: item.carried_from,
    }
}

/// Which items are looked for.
#[derive(Debug, FromForm, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// `conversation` or `entry`; conversations where nobody says.
    kind: Option<String>,
    /// `new`, `seen`, `confirmed`, `dismissed`, `closed`, `open` or `all`; `open` where nobody says.
    state: Option<String>,
    /// `me` or `nobody`.
    assignee: Option<String>,
    /// What it is for: `c2-direct`, `connectivity-check`, `parent-process`, `trusted-relay`, `worm-propagation`, `other`.
    purpose: Option<String>,
    /// The key of an entry.
    entry: Option<String>,
    /// Where the answer before ended.
    after: Option<String>,
    /// Items to list, at most 200.
    #[param(value_type = Option<u32>)]
    limit: Option<String>,
}

impl Wanted {
    fn query(&self, account: i64) -> Result<Query, Reason> {
        Ok(Query {
            kind: self.kind.as_deref().map(str::parse).transpose()?.unwrap_or_default(),
            states: match self.state.as_deref() {
                None | Some("open") => ItemState::OPEN.to_vec(),
                Some("all") => Vec::new(),
                Some(name) => vec![name.parse()?],
            },
            given: match self.assignee.as_deref() {
                None => None,
                Some("me") => Some(Given::To(account)),
                Some("nobody") => Some(Given::Nobody),
                Some(_) => return Err(Reason::Form),
            },
            entry: self.entry.clone(),
            category: None,
            purpose: self.purpose.clone(),
        })
    }
}

/// What to look at next: the queue of all entries that the account may see.
#[utoipa::path(
    get, path = "/api/v1/triage", tag = "triage", params(Wanted),
    responses(
        (status = 200, body = TriageList), (status = 422, body = ProblemDocument), (status = 503, body = ProblemDocument),
    ),
)]
#[get("/triage?<wanted..>")]
pub async fn list(caller: Caller, portal: &State<Portal>, wanted: Wanted) -> Answer<TriageList> {
    let unknown = |reason: Reason| refused(portal, reason.into());
    let (account, query) = (caller.account.id, wanted.query(caller.account.id).map_err(unknown)?);
    let from = wanted.after.as_deref().map(str::parse::<Cursor>).transpose().map_err(unknown)?;
    let (from, limit) =
        (from.map_or(From::Begin, From::After), number("limit", wanted.limit.as_deref())?.unwrap_or(PAGE));
    let asked = looks::search(portal, account, move |connection| -> Result<_, DbError> {
        Ok((
            queue::list(connection, account, &query, from, limit)?,
            queue::counts(connection, account, &query)?,
            queue::missing(connection, account, query.entry.as_deref())?,
        ))
    });
    let (page, counts, missing) = asked.await?.map_err(|error| refused(portal, error.into()))?;
    Ok(Json(TriageList {
        after: page.after.map(|cursor| cursor.to_string()),
        items: page.items.into_iter().map(view).collect(),
        counts: counts.into_iter().map(|(state, count)| (state.name(), count)).collect(),
        pending: missing.pending,
        unread: missing.unread,
        left: missing.left,
    }))
}

/// One item, with its history and its comments.
#[utoipa::path(
    get, path = "/api/v1/triage/{id}", tag = "triage", params(("id" = i64, Path, description = "The item.")),
    responses((status = 200, body = TriageDetail), (status = 404, body = ProblemDocument)),
)]
#[get("/triage/<id>")]
pub async fn show(caller: Caller, portal: &State<Portal>, id: i64) -> Answer<TriageDetail> {
    let (account, limits) = (caller.account.id, portal.config.triage.clone());
    let found = portal.db.run(move |connection| -> Result<_, Refused> {
        let item = queue::find(connection, account, id)?;
        Ok((item, history(connection, id, limits.changes)?, comments::list(connection, id, limits.comments)?))
    });
    let (item, history, said) = found.await.map_err(|error| refused(portal, error))?;
    let change = |one: crate::triage::change::Past| TriageChange {
        at: one.at,
        by: one.by,
        state: one.state,
        assignee: one.assignee,
        words: one.words,
    };
    let comment = |one: comments::Comment| TriageComment {
        id: one.id,
        at: one.at,
        by: one.by,
        text: one.text,
        edited_at: one.edited_at,
        deleted_at: one.deleted_at,
    };
    Ok(Json(TriageDetail {
        item: view(item),
        history: history.into_iter().map(change).collect(),
        comments: said.into_iter().map(comment).collect(),
    }))
}

/// Who changes something: the account, and how history and audit log name it.
fn who(caller: &Writer, address: &Address) -> (i64, String, Actor) {
    (caller.0.account.id, caller.0.account.display_name.clone(), caller.0.actor(address))
}

/// What to change of an item.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TriageDecision {
    /// The version that was seen: where somebody was faster, nothing is changed.
    version: i64,
    /// What it becomes.
    state: Option<ItemState>,
    /// The login name of whom it is given to, or nobody where that is empty.
    assignee: Option<String>,
    /// Words for the history, at most 1000 characters; what is closed needs them.
    #[serde(default)]
    words: String,
}

/// Change the state or the assignee of an item.
#[utoipa::path(
    patch, path = "/api/v1/triage/{id}", tag = "triage", params(("id" = i64, Path, description = "The item.")),
    request_body = TriageDecision,
    responses(
        (status = 200, body = TriageDetail), (status = 404, body = ProblemDocument), (status = 409, body = ProblemDocument),
        (status = 422, body = ProblemDocument),
    ),
)]
#[patch("/triage/<id>", data = "<decision>")]
pub async fn decide(
    caller: Writer,
    address: Address,
    portal: &State<Portal>,
    id: i64,
    decision: Body<TriageDecision>,
) -> Answer<TriageDetail> {
    let TriageDecision { version, state, assignee, words } = decision.0;
    let (account, by, actor) = who(&caller, &address);
    let (now, kept) = (portal.now(), portal.config.triage.changes);
    let changed = portal.db.run(move |connection| -> Result<(), Refused> {
        let item = queue::find(connection, account, id)?;
        let assignee = match assignee.as_deref() {
            None => None,
            Some("") => Some(None),
            Some(name) => {
                let people = may_work(connection, item.entry_id)?;
                let person = people.into_iter().find(|person| person.name == name);
                Some(Some(person.ok_or(Reason::Assignee)?.id))
            }
        };
        let doer = Doer { account, by: &by, actor: &actor };
        change(connection, doer, (id, version), &Change { state, assignee, words }, kept, now)
    });
    changed.await.map_err(|error| match error {
        Refused::Because(Reason::Stale) => {
            Problem::new(Status::Conflict, "Somebody else has changed it since that version: read it again.")
        }
        error => refused(portal, error),
    })?;
    show(caller.0, portal, id).await
}

/// What to say of an item.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TriageWords {
    /// Plain text of some lines, at most 1500 characters.
    text: String,
}

/// Add a comment to an item. On its page the account that the token is of changes it or takes it back.
#[utoipa::path(
    post, path = "/api/v1/triage/{id}/comments", tag = "triage", params(("id" = i64, Path, description = "The item.")),
    request_body = TriageWords,
    responses((status = 200, body = TriageDetail), (status = 404, body = ProblemDocument), (status = 422, body = ProblemDocument)),
)]
#[post("/triage/<id>/comments", data = "<words>")]
pub async fn comment(
    caller: Writer,
    address: Address,
    portal: &State<Portal>,
    id: i64,
    words: Body<TriageWords>,
) -> Answer<TriageDetail> {
    let (account, by, actor) = who(&caller, &address);
    let (now, most) = (portal.now(), portal.config.triage.comments);
    let added = portal.db.run(move |connection| {
        comments::add(connection, Doer { account, by: &by, actor: &actor }, id, &words.0.text, most, now)
    });
    added.await.map_err(|error| refused(portal, error))?;
    show(caller.0, portal, id).await
}

/// What was decided, as labels for training: of every conversation that was confirmed or dismissed its worst flow. All come
/// at once: `after` and `limit` say nothing here.
#[utoipa::path(
    get, path = "/api/v1/triage/labels", tag = "triage", params(Wanted),
    responses((status = 200, body = Vec<labels::Label>), (status = 422, body = ProblemDocument)),
)]
#[get("/triage/labels?<wanted..>")]
pub async fn decided(
    caller: Caller,
    address: Address,
    portal: &State<Portal>,
    wanted: Wanted,
) -> Answer<Vec<labels::Label>> {
    let mut query = wanted.query(caller.account.id).map_err(|reason| refused(portal, reason.into()))?;
    if wanted.state.is_none() {
        query.states.clear();
    }
    let (account, most) = (caller.account.id, portal.config.triage.export_rows);
    let read = move |connection: &Connection| labels::labels(connection, account, &query, most);
    let found = downloads::whole(portal, (account, caller.actor(&address)), "triage", read).await?;
    found.map(Json).map_err(|reason| refused(portal, reason.into()))
}
