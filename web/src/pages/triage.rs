//! What to look at next, and one thing of it: decided, given to somebody, and talked about.

use rocket::http::{ContentType, Status};
use rocket::{FromForm, State, get, post};
use rusqlite::Connection;
use serde_json::{Value, json};
use veilwatch::engine::Category as Purpose;

use super::entry::{self, Save};
use super::errors::refusal;
use super::render::{Answer, Failure, Page, Reply, told};
use super::{downloads, flows, home, local_path, looks, marks, result};
use crate::accounts::{Reason, Role};
use crate::clock::readable;
use crate::database::DbError;
use crate::entries::visible::{Person, may_work};
use crate::entries::{self, FlowMarks, May, categories};
use crate::forms::Posted;
use crate::portal::Portal;
use crate::results::human;
use crate::results::read::category_message;
use crate::triage::change::{Change, Past, change, history, several};
use crate::triage::comments::{self, Comment, MAX_COMMENT};
use crate::triage::queue::{self, Cursor, From, Given, Query};
use crate::triage::{Doer, Item, Kind, State as ItemState, labels};
use crate::visitor::{Analyst, Viewer};

/// What was done just before, for a line at the top. Other words are ignored.
const DONE: [&str; 4] = ["changed", "commented", "edited", "deleted"];
/// What several items can become at once, with the keys for it.
const BULK: [(&str, &str); 7] = [
    ("seen", "s"),
    ("confirmed", "c"),
    ("dismissed", "d"),
    ("new", "r"),
    ("closed", "z"),
    ("take", "t"),
    ("release", "g"),
];
/// What one item becomes with a key, before the next one is shown.
const QUICK: [(&str, &str); 4] = [("seen", "s"), ("confirmed", "c"), ("dismissed", "d"), ("new", "r")];

/// Which items, and from where on. What reads as nothing we know is left out.
#[derive(Clone, Debug, Default, FromForm)]
pub struct Wanted {
    kind: Option<String>,
    state: Option<String>,
    assignee: Option<String>,
    category: Option<String>,
    purpose: Option<String>,
    entry: Option<String>,
    after: Option<String>,
    before: Option<String>,
    done: Option<String>,
    edit: Option<i64>,
}

impl Wanted {
    /// What is looked for, for this account.
    pub(crate) fn query(&self, account: i64) -> Query {
        let states = match self.state.as_deref().unwrap_or_default() {
            "all" => Vec::new(),
            name => name.parse().map_or_else(|_| ItemState::OPEN.to_vec(), |state| vec![state]),
        };
        let given = match self.assignee.as_deref().unwrap_or_default() {
            "me" => Some(Given::To(account)),
            "nobody" => Some(Given::Nobody),
            _ => None,
        };
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Query {
            kind: self.kind.as_deref().and_then(|kind| kind.parse().ok()).unwrap_or_default(),
            states,
            given,
            entry: some(&self.entry),
            category: self.category.as_deref().and_then(|category| category.parse().ok()),
            purpose: some(&self.purpose),
        }
    }

    fn from(&self) -> From {
        let cursor = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<Cursor>().ok());
        match (cursor(&self.after), cursor(&self.before)) {
            (Some(cursor), _) => From::After(cursor),
            (None, Some(cursor)) => From::Before(cursor),
            (None, None) => From::Begin,
        }
    }

    /// An address with what is looked for, and this before it.
    fn address(&self, path: &str, more: &[(&str, &str)]) -> String {
        let own = [
            ("kind", &self.kind),
            ("state", &self.state),
            ("assignee", &self.assignee),
            ("category", &self.category),
            ("purpose", &self.purpose),
            ("entry", &self.entry),
        ];
        let own = own.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        let parts: Vec<String> = own
            .chain(more.iter().copied())
            .filter(|(name, value)| {
                !value.is_empty() && (more.contains(&(*name, *value)) || !more.iter().any(|(other, _)| other == name))
            })
            .map(|(name, value)| format!("{name}={}", home::encoded(value)))
            .collect();
        if parts.is_empty() { path.to_owned() } else { format!("{path}?{}", parts.join("&")) }
    }
}

/// Where an item and its state are told in short, on other pages.
pub(super) fn brief(item: &Item) -> Value {
    json!({
        "link": format!("/triage/{}", item.id), "queue": format!("/triage?entry={}&state=all", item.key),
        "state": format!("triage.state-{}", item.state),
        "assignee": item.assignee.as_ref().map(|assignee| &assignee.display_name),
    })
}

/// The class and the message of an item's verdict; of an entry without a result, those of its analysis.
fn verdict(item: &Item) -> (String, String) {
    match (item.verdict.as_deref(), item.kind) {
        (Some(name), _) => (name.to_owned(), format!("verdict.{name}")),
        (None, Kind::Conversation) => ("none".to_owned(), "verdict.none".to_owned()),
        (None, Kind::Entry) if item.analysis == "done" => ("clean".to_owned(), "verdict.clean".to_owned()),
        (None, Kind::Entry) => (item.analysis.clone(), format!("state.{}", item.analysis)),
    }
}

/// An address and a port in words; what is no address as it is.
fn place(address: &str, port: u16) -> String {
    address.parse().map_or_else(|_| address.to_owned(), |address| result::place(address, port))
}

/// What an item is in short.
fn what(item: &Item) -> String {
    match &item.conversation {
        Some(conversation) => format!("{} → {}", conversation.client, place(&conversation.server, conversation.port)),
        None => item.capture.clone(),
    }
}

fn row(item: &Item, wanted: &Wanted) -> Value {
    let (class, badge) = verdict(item);
    let name = item.conversation.as_ref().map(|conversation| conversation.name.as_str()).unwrap_or_default();
    json!({
        "value": format!("{}.{}", item.id, item.version),
        "link": wanted.address(&format!("/triage/{}", item.id), &[]), "what": what(item), "name": name,
        "class": class, "badge": badge, "score": item.score.map(human::score).unwrap_or_default(),
        "purpose": item.purpose, "purpose_key": item.purpose.as_deref().and_then(category_message),
        "novel": item.novel, "flows": human::grouped(item.flows), "capture": item.capture, "key": item.key,
        "state": format!("triage.state-{}", item.state),
        "assignee": item.assignee.as_ref().map(|assignee| &assignee.display_name), "at": readable(item.at),
    })
}

fn option(name: &str, key: String, current: &str) -> Value {
    json!({ "name": name, "key": key, "is_current": name == current })
}

/// The queue.
#[get("/triage?<wanted..>")]
pub async fn list(me: Viewer<'_>, portal: &State<Portal>, wanted: Wanted) -> Reply {
    let (account, query, from) = (me.account.id, wanted.query(me.account.id), wanted.from());
    let (asked, limit) = (query.clone(), portal.config.limits.page_rows);
    let (page, counts, missing, all, entry) = looks::search(portal, account, move |connection| -> Result<_, DbError> {
        let entry = asked.entry.as_deref().map(|key| entries::find(connection, account, key)).transpose()?.flatten();
        Ok((
            queue::list(connection, account, &asked, from, limit)?,
            queue::counts(connection, account, &asked)?,
            queue::missing(connection, account, asked.entry.as_deref())?,
            categories::list(connection)?,
            entry.map(|entry| entry.name),
        ))
    })
    .await??;
    let cursor = |cursor: Option<Cursor>, name| {
        cursor.map(|cursor| wanted.address("/triage", &[(name, cursor.to_string().as_str())]))
    };
    let chosen = |text: &Option<String>| text.clone().unwrap_or_default();
    let state = match query.states.as_slice() {
        [] => "all",
        [one] => one.name(),
        _ => "",
    };
    let number = |number: u64| (number > 0).then(|| human::grouped(number));
    let states: Vec<Value> = counts
        .iter()
        .map(|(one, count)| {
            json!({
                "key": format!("triage.state-{one}"), "count": human::grouped(*count), "is_current": one.name() == state,
                "link": wanted.address("/triage", &[("state", one.name())]),
            })
        })
        .collect();
    let filters = [("", "triage.open".to_owned()), ("all", "verdict.any".to_owned())]
        .into_iter()
        .chain(ItemState::ALL.map(|one| (one.name(), format!("triage.state-{one}"))));
    let assignees = [("", "verdict.any"), ("me", "triage.me"), ("nobody", "triage.nobody")];
    let data = json!({
        "done": done(&wanted),
        "rows": page.items.iter().map(|item| row(item, &wanted)).collect::<Vec<_>>(), "counts": states,
        "states": filters.map(|(name, key)| option(name, key, state)).collect::<Vec<_>>(),
        "assignees": assignees.map(|(name, key)| option(name, key.to_owned(), &chosen(&wanted.assignee))),
        "kinds": Kind::ALL.map(|kind| option(kind.name(), format!("triage.kind-{}", kind.name()), query.kind.name())),
        "purposes": Purpose::ALL.map(|one| option(one.name(), format!("for.{one}"), &chosen(&wanted.purpose))),
        "categories": home::choices(&all, query.category, true),
        "entry": entry, "entry_key": query.entry, "without_entry": Wanted { entry: None, ..wanted.clone() }.address("/triage", &[]),
        "pending": number(missing.pending), "unread": number(missing.unread), "left": number(missing.left),
        "can_change": me.account.role >= Role::Analyst,
        "bulk": BULK.map(|(name, key)| json!({ "name": name, "label": format!("triage.do-{name}"), "key": key })),
        "back": wanted.address("/triage", &cursors(&wanted)),
        "previous": cursor(page.before, "before"), "next": cursor(page.after, "after"),
        "csv": wanted.address("/triage/labels.csv", &[]), "json": wanted.address("/triage/labels.json", &[]),
        "is_conversations": query.kind == Kind::Conversation,
    });
    Ok(Page::new(portal, &me, "triage", data)?.into())
}

/// From where on the list is shown, to come back to it.
fn cursors(wanted: &Wanted) -> Vec<(&str, &str)> {
    [("after", &wanted.after), ("before", &wanted.before)]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
        .collect()
}

fn done(wanted: &Wanted) -> Option<String> {
    let done = wanted.done.as_deref().filter(|done| DONE.contains(done));
    done.map(|done| format!("triage.done-{done}"))
}

/// What is known of an item, for its page.
struct Known {
    item: Item,
    history: Vec<Past>,
    comments: Vec<Comment>,
    people: Vec<Person>,
    neighbours: [Option<i64>; 2],
    marks: Option<FlowMarks>,
    may: May,
    /// Comments that this account may bring it to.
    comments_most: u32,
}

/// What somebody wanted to do and could not: it is shown again.
#[derive(Default)]
struct Tried {
    error: Option<Reason>,
    decision: Option<Decision>,
    comment: Option<String>,
    edited: Option<(i64, String)>,
}

/// One item.
#[get("/triage/<id>?<wanted..>")]
pub async fn show(me: Viewer<'_>, portal: &State<Portal>, id: i64, wanted: Wanted) -> Reply {
    Ok(page(&me, portal, id, &wanted, Tried::default()).await?.into())
}

/// The item of an entry as a whole.
#[get("/entries/<key>/triage")]
pub async fn of_entry(me: Viewer<'_>, portal: &State<Portal>, key: &str) -> Reply {
    let (entry, _) = entry::find(portal, me.account.id, key).await?;
    let item = portal.db.run(move |connection| queue::of_entry(connection, entry.id)).await?;
    let id = item.ok_or(Failure(Status::NotFound))?.id;
    Ok(page(&me, portal, id, &Wanted::default(), Tried::default()).await?.into())
}

async fn known(portal: &Portal, account: i64, id: i64, query: Query) -> Result<Known, Failure> {
    let limits = portal.config.triage.clone();
    let found = looks::search(portal, account, move |connection| {
        let item = queue::find(connection, account, id)?;
        // An entry has neighbours among entries, whatever the list was of.
        let query = Query { kind: item.kind, ..query };
        let entry = entries::need(connection, account, &item.key, May::Read)?;
        let marks = match &item.conversation {
            Some(conversation) => entries::of_flow(connection, &entry, conversation.flow_id)?,
            None => None,
        };
        Ok::<_, crate::accounts::Refused>(Known {
            history: history(connection, id, limits.changes)?,
            comments: comments::list(connection, id, limits.comments)?,
            people: may_work(connection, item.entry_id)?,
            neighbours: queue::neighbours(connection, account, &query, &item)?,
            marks,
            may: entry.may,
            comments_most: entry.share_of(limits.comments),
            item,
        })
    });
    told(found.await?)?.map_err(|_| Failure(Status::NotFound))
}

/// Why the worst flow of an item is what it is, from its result; nothing where that cannot be read.
async fn reasons(me: &Viewer<'_>, portal: &Portal, item: &Item) -> Result<Vec<Value>, Failure> {
    let Some(conversation) = &item.conversation else { return Ok(Vec::new()) };
    let (entry, _) = entry::find(portal, me.account.id, &item.key).await?;
    match flows::find(portal, &entry, conversation.flow_id).await {
        Ok(detail) => Ok(flows::reasons(&detail.line, portal.templates.messages(me.language)?)),
        Err(Failure(Status::TooManyRequests)) => Err(Failure(Status::TooManyRequests)),
        Err(_) => Ok(Vec::new()),
    }
}

/// The history of an item, in words.
fn past(me: &Viewer<'_>, portal: &Portal, history: &[Past]) -> Result<Vec<Value>, Failure> {
    let say = |key: &str, values: &Value| portal.templates.message(me.language, key, values);
    let mut past = Vec::new();
    for one in history {
        let mut words = Vec::new();
        if let Some(state) = one.state {
            words.push(say(&format!("triage.became-{state}"), &json!({}))?);
        }
        match one.assignee.as_deref() {
            Some("") => words.push(say("triage.given-to-nobody", &json!({}))?),
            Some(name) => words.push(say("triage.given-to", &json!({ "name": name }))?),
            None => {}
        }
        // What nobody did, the rules did: whoever had it may not work with it any more.
        let who = if one.by.is_empty() { say("triage.by-itself", &json!({}))? } else { one.by.clone() };
        past.push(json!({ "who": who, "at": readable(one.at), "what": words, "words": one.words }));
    }
    Ok(past)
}

/// A comment as the page of an item shows it to an account, where that may change its own; `tried` is a text of one that was refused.
fn said(account: Option<i64>, wanted: &Wanted, item: i64, comment: &Comment, tried: Option<&(i64, String)>) -> Value {
    let is_there = comment.deleted_at.is_none();
    let is_own = account == Some(comment.account_id) && is_there;
    let tried = tried.filter(|(id, _)| *id == comment.id).map(|(_, text)| text.as_str());
    let id = comment.id.to_string();
    json!({
        "id": comment.id, "who": comment.by, "at": readable(comment.at), "text": comment.text,
        "version": comment.version, "edited": comment.edited_at.filter(|_| is_there).map(readable),
        "deleted": comment.deleted_at.map(readable), "is_own": is_own,
        "is_edited": is_own && (wanted.edit == Some(comment.id) || tried.is_some()),
        "draft": tried.unwrap_or(&comment.text),
        "edit": wanted.address(&format!("/triage/{item}"), &[("edit", id.as_str())]),
    })
}

async fn page(me: &Viewer<'_>, portal: &Portal, id: i64, wanted: &Wanted, tried: Tried) -> Result<Page, Failure> {
    let Known { item, history, comments, people, neighbours, marks, may, comments_most } =
        known(portal, me.account.id, id, wanted.query(me.account.id)).await?;
    let reasons = reasons(me, portal, &item).await?;
    let (class, badge) = verdict(&item);
    let [previous, next] = neighbours.map(|id| id.map(|id| wanted.address(&format!("/triage/{id}"), &[])));
    let queue = wanted.address("/triage", &[]);
    let conversation = item.conversation.as_ref().map(|conversation| {
        let alerts = format!(
            "/entries/{}/flows?host={}&search={}&verdict=alerts&sort=score&down=true",
            item.key,
            home::encoded(&conversation.client),
            home::encoded(&conversation.server)
        );
        json!({
            "client": conversation.client, "server": place(&conversation.server, conversation.port),
            "protocol": if conversation.protocol == 6 { "TCP" } else { "UDP" }, "name": conversation.name,
            "flow": format!("/entries/{}/flows/{}", item.key, conversation.flow_id), "alerts": alerts,
            "time": human::time(conversation.first_ns),
        })
    });
    let can_change = may >= May::Work;
    let past = past(me, portal, &history)?;
    let said: Vec<Value> = comments
        .iter()
        .map(|comment| said(can_change.then_some(me.account.id), wanted, id, comment, tried.edited.as_ref()))
        .collect();
    let triage = &portal.config.triage;
    let decision = tried.decision.unwrap_or_default();
    let assignee = item.assignee.as_ref().map(|assignee| assignee.id);
    let chosen = match decision.assignee.as_deref() {
        Some(text) => text.parse::<i64>().ok(),
        None => assignee,
    };
    let state = decision.state.clone().unwrap_or_else(|| item.state.name().to_owned());
    let states = ItemState::ALL.map(|one| option(one.name(), format!("triage.state-{one}"), &state));
    let people: Vec<Value> = people
        .iter()
        .map(|person| json!({ "id": person.id, "name": person.display_name, "is_current": Some(person.id) == chosen }))
        .collect();
    let quick: Vec<Value> = QUICK
        .iter()
        .filter(|(name, _)| *name != item.state.name())
        .map(|(name, key)| json!({ "name": name, "label": format!("triage.do-{name}"), "key": key }))
        .collect();
    let conflict = marks.as_ref().and_then(FlowMarks::conflict).is_some();
    let mark = match marks.as_ref().and_then(|marks| marks.counts.as_ref()) {
        Some(mark) => Some(marks::shown(portal, me, mark)?),
        None => None,
    };
    let history_most = history.len() >= triage.changes as usize;
    let is_full = comments.len() >= comments_most as usize;
    let go_on = next.clone().unwrap_or_else(|| queue.clone());
    let mut data = json!({
        "title": format!("triage.title-{}", item.kind.name()), "done": done(wanted),
        "error": tried.error.map(|reason| reason.to_string()), "id": item.id, "version": item.version,
        "key": item.key, "capture": item.capture, "sorted": item.sorted, "class": class, "badge": badge,
        "score": item.score.map(human::score), "purpose": item.purpose,
        "purpose_key": item.purpose.as_deref().and_then(category_message), "flows": human::grouped(item.flows),
        "novel": item.novel, "conversation": conversation, "reasons": reasons, "at": readable(item.at),
        "state": format!("triage.state-{}", item.state), "closing": item.words,
        "assignee": item.assignee.as_ref().map(|assignee| &assignee.display_name),
        "conversations": brief(&item).get("queue"), "carried_from": item.carried_from,
        "mark": mark, "conflict": conflict, "history": past, "comments": said,
        "history_most": history_most.then_some(triage.changes),
        "comments_most": is_full.then_some(comments_most),
        "previous": previous, "next": next, "queue": queue,
    });
    let forms = json!({
        "can_change": can_change, "can_comment": can_change && !is_full, "is_mine": assignee == Some(me.account.id),
        "me_id": me.account.id, "comment": tried.comment.unwrap_or_default(), "max_comment": MAX_COMMENT,
        "states": states, "people": people, "quick": quick, "words": decision.words.unwrap_or_default(), "go_on": go_on,
        "own": wanted.address(&format!("/triage/{id}"), &[]),
    });
    if let (Some(data), Value::Object(forms)) = (data.as_object_mut(), forms) {
        data.extend(forms);
    }
    Ok(Page::new(portal, me, "triage-item", data)?)
}

/// What becomes of an item, of which this version was seen.
#[derive(Clone, Debug, Default, FromForm)]
pub struct Decision {
    version: i64,
    state: Option<String>,
    assignee: Option<String>,
    words: Option<String>,
    next: Option<String>,
}

impl Decision {
    fn change(&self) -> Result<Change, Reason> {
        let assignee = match self.assignee.as_deref() {
            None => None,
            Some("") => Some(None),
            Some(text) => Some(Some(text.parse().map_err(|_| Reason::Form)?)),
        };
        Ok(Change {
            state: self.state.as_deref().map(str::parse).transpose()?,
            assignee,
            words: self.words.clone().unwrap_or_default(),
        })
    }
}

/// The address to go on to, with what was done.
fn after(path: Option<&str>, otherwise: &str, done: &str) -> Answer {
    let path = local_path(path.unwrap_or(otherwise));
    let path = if path.starts_with("/triage") { path } else { otherwise.to_owned() };
    let joint = if path.contains('?') { '&' } else { '?' };
    Answer::to(&format!("{path}{joint}done={done}"))
}

/// The query that an address of ours holds: where somebody was.
fn wanted_of(path: Option<&str>) -> Wanted {
    let query = path.and_then(|path| path.split_once('?')).map(|(_, query)| query).unwrap_or_default();
    rocket::form::Form::<Wanted>::parse_encoded(rocket::http::RawStr::new(query)).unwrap_or_default()
}

/// The status of what was refused.
fn status(reason: Reason) -> Status {
    if reason == Reason::Stale { Status::Conflict } else { Status::UnprocessableEntity }
}

/// Changes state and assignee.
#[post("/triage/<id>", data = "<form>")]
pub async fn decide(me: Analyst<'_>, portal: &State<Portal>, id: i64, form: Posted<Decision>) -> Reply {
    let decision = form.0;
    let changed = match decision.change() {
        Ok(new) => {
            let (account, by, actor, now) = who(&me, portal);
            let (kept, version) = (portal.config.triage.changes, decision.version);
            let changed = portal.db.run(move |connection| {
                let doer = Doer { account, by: &by, actor: &actor };
                change(connection, doer, (id, version), &new, kept, now)
            });
            told(changed.await)?
        }
        Err(reason) => Err(reason),
    };
    match changed {
        Ok(()) => Ok(after(decision.next.as_deref(), &format!("/triage/{id}"), "changed")),
        Err(Reason::NotThere) => Err(Failure(Status::NotFound)),
        Err(reason) => {
            let wanted = wanted_of(decision.next.as_deref());
            let tried = Tried { error: Some(reason), decision: Some(decision), ..Tried::default() };
            Ok(page(&me.into(), portal, id, &wanted, tried).await?.with_status(status(reason)).into())
        }
    }
}

/// Who changes something, for a thread that outlives the request's parts.
fn who(me: &Analyst<'_>, portal: &Portal) -> (i64, String, crate::accounts::Actor, i64) {
    (me.account.id, me.account.display_name.clone(), me.actor(), portal.now())
}

/// What somebody says.
#[derive(Debug, FromForm)]
pub struct Words {
    text: String,
    next: Option<String>,
}

/// Adds a comment.
#[post("/triage/<id>/comments", data = "<form>")]
pub async fn comment(me: Analyst<'_>, portal: &State<Portal>, id: i64, form: Posted<Words>) -> Reply {
    let Words { text, next } = form.0;
    let (account, by, actor, now) = who(&me, portal);
    let (most, words) = (portal.config.triage.comments, text.clone());
    let added = portal.db.run(move |connection| {
        let doer = Doer { account, by: &by, actor: &actor };
        comments::add(connection, doer, id, &words, most, now)
    });
    match told(added.await)? {
        Ok(_) => Ok(after(next.as_deref(), &format!("/triage/{id}"), "commented")),
        Err(Reason::NotThere) => Err(Failure(Status::NotFound)),
        Err(reason) => {
            let tried = Tried { error: Some(reason), comment: Some(text), ..Tried::default() };
            let page = page(&me.into(), portal, id, &wanted_of(next.as_deref()), tried).await?;
            Ok(page.with_status(status(reason)).into())
        }
    }
}

/// Another text of a comment, of which this version was seen, on the page of an item.
#[derive(Debug, FromForm)]
pub struct Edited {
    version: i64,
    item: i64,
    text: String,
    next: Option<String>,
}

/// Changes a comment of one's own.
#[post("/triage/comments/<id>/edit", data = "<form>")]
pub async fn edit(me: Analyst<'_>, portal: &State<Portal>, id: i64, form: Posted<Edited>) -> Reply {
    let Edited { version, item, text, next } = form.0;
    let (account, by, actor, now) = who(&me, portal);
    let words = text.clone();
    let edited = portal.db.run(move |connection| {
        let doer = Doer { account, by: &by, actor: &actor };
        comments::edit(connection, doer, (id, version), &words, now)
    });
    match told(edited.await)? {
        Ok(item) => Ok(after(next.as_deref(), &format!("/triage/{item}"), "edited")),
        Err(Reason::NotThere) => Err(Failure(Status::NotFound)),
        Err(reason) => {
            let tried = Tried { error: Some(reason), edited: Some((id, text)), ..Tried::default() };
            let page = page(&me.into(), portal, item, &wanted_of(next.as_deref()), tried).await?;
            Ok(page.with_status(status(reason)).into())
        }
    }
}

/// The version of a comment that was seen.
#[derive(Debug, FromForm)]
pub struct Version {
    version: i64,
    next: Option<String>,
}

/// Takes back a comment of one's own.
#[post("/triage/comments/<id>/delete", data = "<form>")]
pub async fn delete(me: Analyst<'_>, portal: &State<Portal>, id: i64, form: Posted<Version>) -> Reply {
    let Version { version, next } = form.0;
    let (account, by, actor, now) = who(&me, portal);
    let deleted = portal.db.run(move |connection| {
        let doer = Doer { account, by: &by, actor: &actor };
        comments::delete(connection, doer, (id, version), now)
    });
    match told(deleted.await)? {
        Ok(item) => Ok(after(next.as_deref(), &format!("/triage/{item}"), "deleted")),
        Err(Reason::NotThere) => Err(Failure(Status::NotFound)),
        Err(reason) => Ok(refusal(portal, &me, reason)?.with_status(status(reason)).into()),
    }
}

/// Items that were chosen, each with the version that was seen, and what they are to become.
#[derive(Clone, Debug, FromForm)]
pub struct Chosen {
    item: Vec<String>,
    #[field(name = "do")]
    becomes: String,
    words: Option<String>,
    back: Option<String>,
}

impl Chosen {
    /// Numbers and versions.
    fn items(&self) -> Result<Vec<(i64, i64)>, Reason> {
        let one = |text: &String| {
            let (id, version) = text.split_once('.')?;
            Some((id.parse().ok()?, version.parse().ok()?))
        };
        let items = self.item.iter().map(|text| one(text).ok_or(Reason::Form)).collect::<Result<Vec<_>, _>>()?;
        if items.is_empty() { Err(Reason::NothingChosen) } else { Ok(items) }
    }

    fn change(&self, account: i64) -> Result<Change, Reason> {
        let words = self.words.clone().unwrap_or_default();
        match self.becomes.as_str() {
            "take" => Ok(Change { assignee: Some(Some(account)), words, ..Change::default() }),
            "release" => Ok(Change { assignee: Some(None), words, ..Change::default() }),
            state => Ok(Change { state: Some(state.parse()?), words, ..Change::default() }),
        }
    }
}

/// Asks whether all that was chosen is to be changed.
#[post("/triage/choose", data = "<form>")]
pub async fn choose(me: Analyst<'_>, portal: &State<Portal>, form: Posted<Chosen>) -> Reply {
    ask(&me, portal, &form.0, None).await
}

async fn ask(me: &Analyst<'_>, portal: &Portal, chosen: &Chosen, error: Option<Reason>) -> Reply {
    let wanted = chosen.items().and_then(|items| chosen.change(me.account.id).map(|_| items));
    let items = match wanted {
        Ok(items) if items.len() <= crate::triage::change::MAX_AT_ONCE => items,
        Ok(_) => return Ok(refusal(portal, me, Reason::Form)?.into()),
        Err(reason) => return Ok(refusal(portal, me, reason)?.into()),
    };
    let account = me.account.id;
    let found = portal.db.run(move |connection| {
        let mut found = Vec::new();
        for (id, version) in items {
            match queue::find(connection, account, id) {
                Ok(item) => found.push((item, version)),
                Err(crate::accounts::Refused::Because(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    });
    let found = told(found.await)?.map_err(|_| Failure(Status::UnprocessableEntity))?;
    if found.is_empty() {
        return Ok(refusal(portal, me, Reason::NotThere)?.into());
    }
    let rows: Vec<Value> = found
        .iter()
        .map(|(item, version)| {
            let mut row = row(item, &Wanted::default());
            if let Some(row) = row.as_object_mut() {
                // What is confirmed is what was seen.
                row.insert("value".to_owned(), format!("{}.{version}", item.id).into());
            }
            row
        })
        .collect();
    let data = json!({
        "error": error.map(|reason| reason.to_string()), "do": chosen.becomes, "label": format!("triage.do-{}", chosen.becomes),
        "count": human::grouped(found.len() as u64), "rows": rows, "needs_words": chosen.becomes == "closed",
        "words": chosen.words.clone().unwrap_or_default(), "back": back(chosen),
    });
    let page = Page::new(portal, me, "triage-bulk", data)?;
    Ok(if error.is_some() { page.with_status(Status::UnprocessableEntity) } else { page }.into())
}

/// Where the list was.
fn back(chosen: &Chosen) -> String {
    let path = local_path(chosen.back.as_deref().unwrap_or("/triage"));
    if path.starts_with("/triage") { path } else { "/triage".to_owned() }
}

/// Changes all that was chosen.
#[post("/triage/change", data = "<form>")]
pub async fn change_all(me: Analyst<'_>, portal: &State<Portal>, form: Posted<Chosen>) -> Reply {
    let chosen = form.0;
    let wanted = chosen.items().and_then(|items| Ok((items, chosen.change(me.account.id)?)));
    let (items, new) = match wanted {
        Ok(wanted) => wanted,
        Err(reason) => return Ok(refusal(portal, &me, reason)?.into()),
    };
    let (account, by, actor, now) = who(&me, portal);
    let (kept, items_chosen) = (portal.config.triage.changes, items.len());
    let changed = portal.db.run(move |connection| {
        let doer = Doer { account, by: &by, actor: &actor };
        several(connection, doer, &items, &new, kept, now)
    });
    match told(changed.await)? {
        Ok(done) if done.changed == items_chosen => Ok(after(chosen.back.as_deref(), "/triage", "changed")),
        Ok(done) => {
            let links = |ids: &[i64]| -> Vec<Value> {
                ids.iter().map(|id| json!({ "id": id, "link": format!("/triage/{id}") })).collect()
            };
            let data = json!({
                "changed": human::grouped(done.changed as u64), "back": back(&chosen),
                "stale": links(&done.stale), "only_read": links(&done.only_read),
                "gone": (done.gone > 0).then(|| human::grouped(done.gone as u64)),
            });
            Ok(Page::new(portal, &me, "triage-stale", data)?.with_status(Status::Conflict).into())
        }
        Err(reason @ Reason::ClosingWords) => ask(&me, portal, &chosen, Some(reason)).await,
        Err(reason) => Ok(refusal(portal, &me, reason)?.into()),
    }
}

async fn decided(
    me: &Analyst<'_>,
    portal: &Portal,
    wanted: &Wanted,
) -> Result<Result<Vec<labels::Label>, Reason>, Failure> {
    let account = me.account.id;
    let (mut query, most) = (wanted.query(account), portal.config.triage.export_rows);
    // The list shows by itself what is open; labels are of what is decided.
    if wanted.state.as_deref().unwrap_or_default().is_empty() {
        query.states.clear();
    }
    let read = move |connection: &Connection| labels::labels(connection, account, &query, most);
    downloads::whole(portal, (account, me.actor()), "triage", read).await
}

/// What was decided, as a table of labels.
#[get("/triage/labels.csv?<wanted..>")]
pub async fn labels_csv(me: Analyst<'_>, portal: &State<Portal>, wanted: Wanted) -> Result<Save<String>, Exported> {
    match decided(&me, portal, &wanted).await? {
        Ok(labels) => match labels::table(&labels) {
            Ok(table) => Ok(Save::new(table, ContentType::CSV, "labels.csv")),
            Err(error) => {
                tracing::error!(%error, "labels that are no table");
                Err(Failure(Status::InternalServerError).into())
            }
        },
        Err(reason) => Err(refusal(portal, &me, reason)?.into()),
    }
}

/// The same as JSON.
#[get("/triage/labels.json?<wanted..>")]
pub async fn labels_json(me: Analyst<'_>, portal: &State<Portal>, wanted: Wanted) -> Result<Save<String>, Exported> {
    match decided(&me, portal, &wanted).await? {
        Ok(labels) => Ok(Save::new(json!(labels).to_string(), ContentType::JSON, "labels.json")),
        Err(reason) => Err(refusal(portal, &me, reason)?.into()),
    }
}

/// Why there is no export: a page that says what to do, or what broke.
#[derive(Debug, rocket::Responder)]
pub enum Exported {
    /// More than one may hold.
    Refused(Box<Page>),
    /// Something broke.
    Broken(Failure),
}

impl std::convert::From<Page> for Exported {
    fn from(page: Page) -> Self {
        Self::Refused(Box::new(page))
    }
}

impl std::convert::From<Failure> for Exported {
    fn from(failure: Failure) -> Self {
        Self::Broken(failure)
    }
}
