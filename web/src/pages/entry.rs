//! One entry: confirmed, waited for, described, deleted. What a result looks like is told by [`super::result`].

use rocket::fs::NamedFile;
use rocket::http::{ContentType, Header, Status};
use rocket::tokio::task;
use rocket::{FromForm, Responder, State, get, post};
use serde_json::{Value, json};

use super::errors::{refusal, told_page};
use super::login::Nothing;
use super::render::{Answer, Failure, Page, Reply, told};
use super::{downloads, home, result, sharing, waiting};
use crate::accounts::audit::Action;
use crate::accounts::{Actor, Reason, Refused};
use crate::clock::readable;
use crate::database::DbError;
use crate::entries::{self, Category, Choices, Entry, May, State as EntryState, Stop, categories};
use crate::forms::Posted;
use crate::portal::Portal;
use crate::results::human;
use crate::retention::erase::Whole;
use crate::visitor::{Analyst, Viewer, Visitor};

/// What was done just before, for a line at the top. Other words are ignored.
const DONE: [&str; 5] = ["saved", "shared", "taken-back", "kept", "let-go"];

/// An entry that this account may read, or "not found".
pub(crate) async fn find(portal: &Portal, account: i64, key: &str) -> Result<(Entry, Vec<Category>), Failure> {
    let key = key.to_owned();
    let (entry, categories) = portal
        .db
        .run(move |connection| -> Result<_, DbError> {
            Ok((entries::find(connection, account, &key)?, categories::list(connection)?))
        })
        .await?;
    Ok((entry.ok_or(Failure(Status::NotFound))?, categories))
}

/// An entry with which this account may do so much; "not allowed" where it may only look, "not found" where not even that.
pub(crate) async fn need(portal: &Portal, account: i64, key: &str, may: May) -> Result<Entry, Failure> {
    let (entry, _) = find(portal, account, key).await?;
    if entry.may >= may { Ok(entry) } else { Err(Failure(Status::Forbidden)) }
}

/// Whatever the entry is now: a question, a wait, a result, a failure.
#[get("/entries/<key>?<done>")]
pub async fn show(me: Viewer<'_>, portal: &State<Portal>, key: &str, done: Option<&str>) -> Reply {
    let (entry, categories) = find(portal, me.account.id, key).await?;
    let page = match entry.state {
        EntryState::Unconfirmed => confirm_page(&me, portal, &entry, &categories, None).await?,
        EntryState::Queued | EntryState::Running => waiting::page(&me, portal, &entry).await?,
        EntryState::Failed => {
            failed_page(&me, portal, &entry, &categories, entry.why.as_deref().unwrap_or("worker")).await?
        }
        EntryState::Done => {
            let done = done.filter(|done| DONE.contains(done)).map(|done| format!("entry.done-{done}"));
            result::page(&me, portal, &entry, &categories, done).await?
        }
    };
    Ok(page.into())
}

async fn confirm_page(
    me: &Viewer<'_>,
    portal: &Portal,
    entry: &Entry,
    categories: &[Category],
    error: Option<Reason>,
) -> Result<Page, Failure> {
    let this = entry.clone();
    let earlier = portal.db.run(move |connection| entries::earlier(connection, &this)).await?;
    let inspection = &entry.inspection;
    let [first, last, span] = human::times(inspection).map_or([const { None }; 3], |times| times.map(Some));
    let mut data = json!({
        "error": error.map(|reason| reason.to_string()),
        "earlier": earlier.map(|earlier| earlier.to_string()),
        "inspection": inspection, "packets": human::grouped(inspection.packets),
        "is_undecoded": inspection.packets > 0 && inspection.decoded == 0,
        "key": entry.key.as_str(), "name": entry.name, "note": entry.note, "size": human::bytes(entry.bytes),
        "sha256": entry.sha256.as_str(), "first": first, "last": last, "span": span,
        "pipelines": portal.pipelines(), "categories": home::choices(categories, entry.category_id, false),
    });
    extend(&mut data, sharing::standing(portal, entry).await?);
    Ok(Page::new(portal, me, "confirm", data)?)
}

/// The page of an entry without a result, and why.
pub(super) async fn failed_page(
    me: &Viewer<'_>,
    portal: &Portal,
    entry: &Entry,
    categories: &[Category],
    why: &str,
) -> Result<Page, Failure> {
    let mut data = json!({
        "why": format!("failure.{why}"), "do": format!("failure.{why}-do"), "words": entry.words,
        "size": human::bytes(entry.bytes), "pipeline": entry.pipeline_shown(), "created_at": readable(entry.created_at),
    });
    actions(portal, entry, categories, &mut data).await?;
    Ok(Page::new(portal, me, "failed", data)?)
}

/// What the partial `entry-actions` needs.
pub(super) async fn actions(
    portal: &Portal,
    entry: &Entry,
    categories: &[Category],
    data: &mut Value,
) -> Result<(), Failure> {
    let more = json!({
        "key": entry.key.as_str(), "name": entry.name, "note": entry.note, "category_id": entry.category_id,
        // Again it would be analysed by another version.
        "newer": entry.newest_version.filter(|newest| entry.pipeline_version.is_some_and(|used| used < *newest)),
        "categories": home::choices(categories, entry.category_id, false),
    });
    extend(data, more);
    extend(data, sharing::standing(portal, entry).await?);
    Ok(())
}

/// Puts what one object holds into another.
fn extend(data: &mut Value, more: Value) {
    if let (Some(data), Value::Object(more)) = (data.as_object_mut(), more) {
        data.extend(more);
    }
}

/// The second confirmation.
#[derive(Debug, FromForm)]
pub struct Confirmation {
    pipeline: String,
    packets: String,
    category: String,
    note: String,
    /// Only where its owner confirms, who is in a team.
    team: Option<String>,
}

/// An optional number in a form: an empty field is none.
fn number<T: std::str::FromStr>(text: &str, otherwise: Reason) -> Result<Option<T>, Reason> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| otherwise),
    }
}

fn chosen(form: Confirmation) -> Result<Choices, Reason> {
    Ok(Choices {
        packet_limit: number(&form.packets, Reason::PacketLimit)?,
        category: number(&form.category, Reason::Category)?,
        team: form.team.map(|team| number(&team, Reason::Team)).transpose()?,
        pipeline: form.pipeline,
        note: form.note,
    })
}

/// Begins the analysis.
#[post("/entries/<key>/confirm", data = "<form>")]
pub async fn confirm(me: Analyst<'_>, portal: &State<Portal>, key: &str, form: Posted<Confirmation>) -> Reply {
    let confirmed = match chosen(form.0) {
        Ok(choices) => told(begin(portal, me.account.id, key, choices, me.actor()).await)?,
        Err(reason) => Err(reason),
    };
    match confirmed {
        Ok(()) => Ok(Answer::to(&format!("/entries/{key}"))),
        Err(Reason::NotThere) => Err(Failure(Status::NotFound)),
        Err(reason) => {
            let (entry, categories) = find(portal, me.account.id, key).await?;
            if entry.state != EntryState::Unconfirmed {
                return Ok(Answer::to(&format!("/entries/{key}")));
            }
            let page = confirm_page(&me.into(), portal, &entry, &categories, Some(reason)).await?;
            Ok(page.with_status(Status::UnprocessableEntity).into())
        }
    }
}

/// Puts an entry into the queue. The same for the page and for the API.
pub(crate) async fn begin(
    portal: &Portal,
    account: i64,
    key: &str,
    choices: Choices,
    actor: Actor,
) -> Result<(), Refused> {
    portal.intake.confirm(account, key, choices, actor).await
}

/// Stops the analysis; what was found so far is kept.
#[post("/entries/<key>/stop", data = "<_form>")]
pub async fn stop(me: Analyst<'_>, portal: &State<Portal>, key: &str, _form: Posted<Nothing>) -> Reply {
    match told(stop_it(portal, me.account.id, key, me.actor()).await)? {
        // It may have ended just now.
        Ok(()) | Err(Reason::State) => Ok(Answer::to(&format!("/entries/{key}"))),
        Err(_) => Err(Failure(Status::NotFound)),
    }
}

/// Stops an analysis. The same for the page and for the API.
pub(crate) async fn stop_it(portal: &Portal, account: i64, key: &str, actor: Actor) -> Result<(), Refused> {
    let (key, now) = (key.to_owned(), portal.now());
    let stopped = portal.db.run(move |connection| entries::ask_stop(connection, account, &key, &actor, now)).await?;
    if let Stop::Running { id } = stopped
        && let Some(running) = portal.runner.board.find(id)
    {
        running.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    }
    Ok(())
}

/// What an entry is called and sorted into.
#[derive(Debug, FromForm)]
pub struct Description {
    note: String,
    category: String,
    seen_note: Option<String>,
    seen_category: Option<String>,
}

/// Sets note and category.
#[post("/entries/<key>/note", data = "<form>")]
pub async fn describe(me: Analyst<'_>, portal: &State<Portal>, key: &str, form: Posted<Description>) -> Reply {
    let Description { note, category, seen_note, seen_category } = form.0;
    let seen_category = seen_category.and_then(|seen| number(&seen, Reason::Category).ok());
    let (account, actor, now, own) = (me.account.id, me.actor(), portal.now(), key.to_owned());
    let changed = match number(&category, Reason::Category) {
        Ok(category) => {
            let seen = seen_note.zip(seen_category);
            let new = entries::Description { note: Some(note), category: Some(category), team: None, seen };
            told(portal.db.run(move |c| entries::describe(c, account, &own, &new, &actor, now)).await)?
        }
        Err(reason) => Err(reason),
    };
    match changed {
        Ok(()) => Ok(Answer::to(&format!("/entries/{key}?done=saved"))),
        Err(Reason::NotThere) => Err(Failure(Status::NotFound)),
        Err(reason) => Ok(refusal(portal, &me, reason)?.into()),
    }
}

/// Asks once more before an entry is deleted.
#[get("/entries/<key>/delete")]
pub async fn ask_delete(me: Analyst<'_>, portal: &State<Portal>, key: &str) -> Reply {
    let entry = need(portal, me.account.id, key, May::Lead).await?;
    let data = json!({
        "key": entry.key.as_str(), "name": entry.name, "team": entry.team.map(|team| team.name), "kept": entry.kept_why,
    });
    Ok(Page::new(portal, &me, "delete", data)?.into())
}

/// Deletes an entry, its capture, and all that came from it.
#[post("/entries/<key>/delete", data = "<_form>")]
pub async fn delete(me: Analyst<'_>, portal: &State<Portal>, key: &str, _form: Posted<Nothing>) -> Reply {
    match told(delete_it(portal, me.account.id, key, me.actor()).await)? {
        Ok(()) => Ok(Answer::to("/?done=deleted")),
        Err(_) => Err(Failure(Status::NotFound)),
    }
}

/// Deletes an entry. The same for the page and for the API.
pub(crate) async fn delete_it(portal: &Portal, account: i64, key: &str, actor: Actor) -> Result<(), Refused> {
    let (key, now) = (key.to_owned(), portal.now());
    let deleted = portal.db.run(move |connection| entries::delete(connection, account, &key, &actor, now)).await?;
    let eraser = portal.sweeper.eraser();
    let erased = task::spawn_blocking(move || eraser.erase(&deleted, Whole::Entry)).await;
    erased.map_err(|error| DbError::Broken(error.to_string()))?.map(drop)
}

/// A new entry of the same capture, to be confirmed.
#[post("/entries/<key>/again", data = "<_form>")]
pub async fn again(me: Analyst<'_>, portal: &State<Portal>, key: &str, _form: Posted<Nothing>) -> Reply {
    let (account, actor, now, limits) = (me.account.id, me.actor(), portal.now(), portal.config.limits.clone());
    let old = key.to_owned();
    let made =
        portal.db.run(move |c| entries::analyse_again(c, account, &old, &limits, &actor, now, |_, _| Ok(()))).await;
    match told(made)? {
        Ok(new) => Ok(Answer::to(&format!("/entries/{new}"))),
        Err(Reason::NotThere) => Err(Failure(Status::NotFound)),
        Err(reason) => Ok(refusal(portal, &me, reason)?.into()),
    }
}

/// The page that says since when an entry does without its capture, where it does.
pub(super) fn without_capture(portal: &Portal, visitor: &Visitor, entry: &Entry) -> Result<Option<Page>, Failure> {
    let Some(at) = entry.capture_gone_at else { return Ok(None) };
    let words = portal.templates.message(visitor.language, "entry.capture-gone", &json!({ "at": readable(at) }))?;
    Ok(Some(told_page(portal, visitor, &words)?))
}

/// Something to save under a name.
#[derive(Responder)]
pub struct Save<B> {
    body: B,
    kind: ContentType,
    disposition: Header<'static>,
}

impl<B> Save<B> {
    /// Bytes to save. The name is one of ours, never one that somebody chose.
    pub(super) fn new(body: B, kind: ContentType, name: &str) -> Self {
        let disposition = Header::new("Content-Disposition", format!("attachment; filename=\"{name}\""));
        Self { body, kind, disposition }
    }
}

/// The capture as it was uploaded.
#[get("/entries/<key>/capture")]
pub async fn capture(
    me: Analyst<'_>,
    portal: &State<Portal>,
    key: &str,
) -> Result<Result<Save<NamedFile>, Page>, Failure> {
    let entry = need(portal, me.account.id, key, May::Work).await?;
    if let Some(page) = without_capture(portal, &me, &entry)? {
        return Ok(Err(page));
    }
    let file = NamedFile::open(portal.folders.capture(&entry.sha256)).await.map_err(|error| {
        tracing::error!(entry = entry.id, %error, "a capture cannot be opened");
        Failure(Status::NotFound)
    })?;
    downloads::note(portal, me.actor(), Action::Exported, &entry).await?;
    let name = entries::capture_name(&entry);
    Ok(Ok(Save::new(file, ContentType::Binary, &name)))
}
