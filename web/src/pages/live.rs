//! Interfaces of the machine that the portal runs on, and one that is captured on.

use std::sync::Arc;

use rocket::fs::NamedFile;
use rocket::http::{ContentType, Status};
use rocket::response::stream::{Event, EventStream};
use rocket::serde::json::Json;
use rocket::tokio::fs::File;
use rocket::tokio::time::{Duration, Instant, sleep};
use rocket::{FromForm, Shutdown, State, get, post};
use serde_json::{Value, json};
use veilwatch::live::{Interface, interfaces, may_capture};
use veilwatch::worker::live::{LiveCommand, LiveRefusal};

use super::entry::{self, Save};
use super::login::Nothing;
use super::packets::{self, Ground, Wanted};
use super::render::{Answer, Failure, Page, Reply};
use super::uploads::{Outcome, take};
use super::{Language, home};
use crate::accounts::Refused as NotDone;
use crate::accounts::audit::{self, Action};
use crate::config::Live as Settings;
use crate::entries::Choices;
use crate::forms::Posted;
use crate::live::{Begin, Held, Refused, Seen, Session, State as Stage};
use crate::portal::Portal;
use crate::results::human;
use crate::uploads::shown_name;
use crate::visitor::{Administrator, Visitor};

/// What was done just before, for a line at the top. Other words are ignored.
const DONE: [&str; 1] = ["discarded"];
/// Characters of a capture filter.
const FILTER: usize = 1000;
/// Time between two events.
const PAUSE: Duration = Duration::from_millis(500);
/// How long one stream lasts; the browser then asks for the next.
const LONGEST: Duration = Duration::from_secs(600);
/// Seconds after which a page without script loads itself again.
const REFRESH: u32 = 3;
/// Alerts on a page, and in one event.
const ALERTS: usize = 50;
/// Packets of an alert that are linked.
const LINKS: usize = 4;

/// The interfaces, and who captures.
#[get("/live?<done>")]
pub async fn show(me: Administrator<'_>, portal: &State<Portal>, done: Option<&str>) -> Reply {
    let done = done.filter(|done| DONE.contains(done)).map(|done| format!("live.done-{done}"));
    Ok(interfaces_page(&me, portal, done, None, None)?.into())
}

/// Whether the operator lets an interface be captured on. Those that lead back to this machine have to be named.
fn is_allowed(settings: &Settings, interface: &Interface) -> bool {
    match settings.interfaces.as_slice() {
        [] => !interface.is_loopback,
        named => named.contains(&interface.name),
    }
}

/// What keeps everybody from capturing here, as a message.
fn obstacle(settings: &Settings) -> Option<&'static str> {
    if !settings.enabled {
        Some("live.disabled")
    } else if !may_capture() {
        Some("live.no-right")
    } else {
        None
    }
}

fn interfaces_page(
    me: &Administrator<'_>,
    portal: &Portal,
    done: Option<String>,
    form: Option<&New>,
    error: Option<String>,
) -> Result<Page, Failure> {
    let settings = &portal.config.live;
    let sessions = portal.live.all();
    let all = interfaces().map_err(|error| {
        tracing::error!(%error, "the interfaces cannot be listed");
        Failure(Status::InternalServerError)
    })?;
    let obstacle = obstacle(settings);
    let all: Vec<Value> = all
        .iter()
        .filter(|interface| is_allowed(settings, interface))
        .map(|interface| {
            let addresses: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
            let state = match (interface.is_up, interface.is_running) {
                (false, _) => "live.is-down",
                (true, false) => "live.is-unplugged",
                (true, true) => "live.is-up",
            };
            let users = sessions.iter().filter(|session| session.what.interface == interface.name);
            let users: Vec<Value> = users
                .filter(|session| !session.has_ended())
                .map(|session| json!({ "who": session.who, "is_mine": session.account == me.account.id }))
                .collect();
            json!({
                "name": interface.name, "kind": interface.kind_word(), "addresses": addresses.join(" "), "state": state,
                "can": interface.is_up && interface.link().is_some(), "users": users,
                "is_current": form.is_some_and(|form| form.interface == interface.name),
            })
        })
        .collect();
    let own: Vec<Value> = sessions
        .iter()
        .filter(|session| session.account == me.account.id)
        .map(|session| {
            json!({
                "key": session.key.as_str(), "interface": session.what.interface, "filter": session.what.filter,
                "ended": session.has_ended(), "began_at": crate::clock::readable(session.began_at),
            })
        })
        .collect();
    let none_free = all.iter().all(|interface| interface.get("can") != Some(&Value::Bool(true)));
    let data = json!({
        "obstacle": obstacle, "interfaces": all, "own": own, "error": error, "done": done, "none_free": none_free,
        "filter": form.map_or("", |form| form.filter.trim()), "promiscuous": form.is_some_and(|form| form.promiscuous),
        "pipelines": pipelines(portal, form.map(|form| form.pipeline.as_str())),
        "minutes": settings.seconds / 60, "size": human::bytes(settings.bytes),
        "packets": human::grouped(settings.packets), "idle": settings.idle_seconds / 60,
    });
    Ok(Page::new(portal, me, "live", data)?)
}

fn pipelines(portal: &Portal, chosen: Option<&str>) -> Vec<Value> {
    let is_current = |name: &str| chosen == Some(name);
    portal.pipelines().iter().map(|name| json!({ "name": name, "is_current": is_current(name) })).collect()
}

/// What to capture.
#[derive(Debug, FromForm)]
pub struct New {
    interface: String,
    filter: String,
    promiscuous: bool,
    pipeline: String,
}

/// Begins to capture.
#[post("/live", data = "<form>")]
pub async fn begin(me: Administrator<'_>, portal: &State<Portal>, form: Posted<New>) -> Reply {
    let form = form.0;
    let again = |words: String| -> Reply {
        let page = interfaces_page(&me, portal, None, Some(&form), Some(words))?;
        Ok(page.with_status(Status::UnprocessableEntity).into())
    };
    let say = |key: &str, values: Value| portal.templates.message(me.language, key, &values);
    let settings = &portal.config.live;
    if let Some(obstacle) = obstacle(settings) {
        return again(say(obstacle, json!({}))?);
    }
    let is_there = interfaces().unwrap_or_default();
    let is_there = is_there.iter().any(|one| one.name == form.interface && is_allowed(settings, one));
    if !is_there {
        return again(say("live.no-interface", json!({}))?);
    }
    if form.filter.chars().count() > FILTER || form.filter.contains(crate::accounts::steers) {
        return again(say("live.filter-long", json!({ "n": FILTER }))?);
    }
    let what = Begin {
        interface: form.interface.clone(),
        filter: form.filter.trim().to_owned(),
        promiscuous: form.promiscuous,
        pipeline: form.pipeline.clone(),
    };
    let session = match portal.live.begin(me.account.id, &me.account.display_name, what).await {
        Ok(session) => session,
        Err(Refused::Child(refused)) => {
            let key = match refused.why {
                LiveRefusal::Forbidden => "live.no-right",
                LiveRefusal::Interface => "live.refused-interface",
                LiveRefusal::Filter => "live.refused-filter",
                LiveRefusal::Pipeline | LiveRefusal::Plugin => "live.refused-pipeline",
                LiveRefusal::File | LiveRefusal::Sandbox => "live.refused",
            };
            return again(say(key, json!({ "words": crate::jobs::clean(&refused.words) }))?);
        }
        Err(Refused::Full) => return again(say("live.full", json!({ "n": settings.sessions }))?),
        Err(Refused::Room) => return again(say("live.no-room", json!({}))?),
        Err(Refused::Pipeline) => return again(say("live.no-pipeline", json!({}))?),
        Err(Refused::Died(words)) => return again(say("live.refused", json!({ "words": words }))?),
        Err(Refused::Ours(error)) => {
            tracing::error!(error, "a live session cannot begin");
            return Err(Failure(Status::InternalServerError));
        }
    };
    // The right was asked for before the form came, and may have gone since. Whoever takes it away from here on finds
    // the session among those of the account, and ends it.
    if !me.goes_on(portal).await {
        session.discard();
        return Err(Failure(Status::Unauthorized));
    }
    let subject = match session.what.filter.as_str() {
        "" => session.what.interface.clone(),
        filter => format!("{}: {filter}", session.what.interface),
    };
    // What is not in the log does not go on.
    if let Err(failure) = note(portal, &me, Action::LiveStarted, subject).await {
        session.discard();
        return Err(failure);
    }
    Ok(Answer::to(&format!("/live/{}", session.key)))
}

async fn note(portal: &Portal, me: &Visitor, action: Action, subject: String) -> Result<(), Failure> {
    let (actor, now) = (me.actor(), portal.now());
    Ok(portal.db.run(move |connection| audit::record(connection, &actor, action, Some(&subject), now)).await?)
}

/// A session of this account, or "not found".
fn find(portal: &Portal, me: &Administrator<'_>, key: &str) -> Result<Arc<Session>, Failure> {
    portal.live.find(me.account.id, key).ok_or(Failure(Status::NotFound))
}

/// One session: how it goes, its alerts, and its packets.
#[get("/live/<key>?<wanted..>")]
pub async fn session(me: Administrator<'_>, portal: &State<Portal>, key: &str, wanted: Wanted) -> Reply {
    let session = find(portal, &me, key)?;
    Ok(session_page(&me, portal, &session, &wanted, None).await?.into())
}

async fn session_page(
    me: &Administrator<'_>,
    portal: &Portal,
    session: &Session,
    wanted: &Wanted,
    error: Option<String>,
) -> Result<Page, Failure> {
    let seen = session.look();
    let mut data = match packets::data(portal, me, Ground::Live(session), wanted).await? {
        Ok(data) => data,
        Err(page) => return Ok(page),
    };
    let has_ended = seen.has_ended();
    let follows = wanted.is_newest() && !has_ended && data.get("wrong").is_none_or(Value::is_null);
    let last = data.get("rows").and_then(Value::as_array).and_then(|rows| rows.last()?.get("number")?.as_str());
    let events = format!(
        "/live/{}/events?change={}&rows={follows}&after={}&where={}",
        session.key,
        seen.change,
        last.unwrap_or("0"),
        home::encoded(wanted.filter())
    );
    let newest = seen.alerts.iter().rev().take(ALERTS);
    let alerts = newest.map(|held| alert(portal, me.language, session, held)).collect::<Result<Vec<_>, Failure>>()?;
    let name = format!("{}-{}.pcapng", session.what.interface, session.began_at);
    let live = json!({
        "events": (!has_ended).then_some(events), "facts": facts(&seen), "state": state(portal, me.language, &seen)?,
        "words": seen.words, "has_ended": has_ended, "is_paused": seen.now.is_paused,
        "is_running": seen.state == Stage::Running, "is_saving": seen.is_saving, "alerts": alerts,
        "more_alerts": (seen.now.alerts > alerts.len() as u64).then(|| human::grouped(seen.now.alerts)),
        "filter": session.what.filter, "pipeline": session.what.pipeline, "promiscuous": session.what.promiscuous,
        "began_at": crate::clock::readable(session.began_at), "file": name, "can_save": seen.now.recorded > 0,
        "minutes": portal.config.live.keep_seconds / 60, "follows": follows, "died": is_odd(&seen),
    });
    if let Some(data) = data.as_object_mut() {
        data.insert("live".to_owned(), live);
        data.insert("error".to_owned(), error.into());
        data.insert("pipelines".to_owned(), portal.pipelines().into());
        if follows {
            // Events bring what comes; without script the page is loaded again, unless somebody paused to look.
            data.insert("again".to_owned(), Value::Null);
            data.insert("refresh".to_owned(), (!seen.now.is_paused).then_some(REFRESH).into());
        }
    }
    Ok(Page::new(portal, me, "live-session", data)?)
}

/// Whether its child did what no honest one does, or died.
fn is_odd(seen: &Seen) -> bool {
    matches!(seen.state, Stage::Ended(crate::live::End::Died(_)))
}

/// How it goes, in words.
fn state(portal: &Portal, language: Language, seen: &Seen) -> Result<String, Failure> {
    let (key, words) = match &seen.state {
        Stage::Starting => ("live.starting", None),
        Stage::Stopping => ("live.stopping", None),
        Stage::Running if seen.now.is_down => ("live.waits", None),
        Stage::Running if seen.now.is_paused => ("live.paused", None),
        Stage::Running => ("live.running", None),
        Stage::Ended(end) => (end.key(), end.words()),
    };
    Ok(portal.templates.message(language, key, &json!({ "words": words.unwrap_or_default() }))?)
}

/// Figures, by what they are called on the page.
fn facts(seen: &Seen) -> Value {
    let now = &seen.now;
    json!({
        "packets": human::grouped(now.recorded), "rate": human::grouped(seen.rate), "size": human::bytes(now.file_bytes),
        "lost": human::grouped(now.lost.saturating_add(now.not_recorded)), "passed": human::grouped(now.passed_over),
        "flows": human::grouped(now.flows), "alerts": human::grouped(now.alerts),
    })
}

fn alert(portal: &Portal, language: Language, session: &Session, held: &Held) -> Result<Value, Failure> {
    let say = |key: &str| portal.templates.message(language, key, &json!({}));
    let alert = &held.alert;
    let server = if alert.name.is_empty() { alert.dest.clone() } else { format!("{} ({})", alert.name, alert.dest) };
    let link =
        |number: &u64| json!({ "number": number.to_string(), "link": format!("/live/{}?at={number}", session.key) });
    Ok(json!({
        "id": format!("flow-{}", alert.flow_id), "verdict": alert.verdict, "words": say(&format!("verdict.{}", alert.verdict))?,
        "stage": if alert.is_final { String::new() } else { say("live.early")? },
        "text": format!("{} → {server}", alert.src), "score": human::score(alert.score), "reasons": alert.reasons,
        "packets": alert.packets.iter().take(LINKS).map(link).collect::<Vec<_>>(),
    }))
}

/// What a page has already.
#[derive(Clone, Debug, FromForm)]
pub struct Watching {
    /// The last change among the alerts.
    change: Option<u64>,
    /// Whether packets are wanted.
    rows: Option<bool>,
    /// The last packet.
    after: Option<u64>,
    /// The display filter.
    #[field(name = "where")]
    filter: Option<String>,
}

/// How it goes on, as events.
#[get("/live/<key>/events?<watching..>")]
pub async fn events<'r>(
    me: Administrator<'r>,
    portal: &'r State<Portal>,
    key: &'r str,
    watching: Watching,
    mut shutdown: Shutdown,
) -> Result<EventStream![Event + 'r], Failure> {
    let (account, language) = (me.account.id, me.language);
    if watching.filter.as_ref().is_some_and(|filter| filter.len() > packets::FILTER) {
        return Err(Failure(Status::UnprocessableEntity));
    }
    let session = find(portal, &me, key)?;
    let place = portal.streams.enter(account).ok_or(Failure(Status::TooManyRequests))?;
    let until = Instant::now() + LONGEST;
    let filter = watching.filter.unwrap_or_default();
    let (mut change, mut after) = (watching.change.unwrap_or_default(), watching.after.unwrap_or_default());
    let wants_rows = watching.rows == Some(true);
    Ok(EventStream! {
        let _place = place;
        while Instant::now() < until {
            let goes_on = me.goes_on(portal).await;
            let seen = session.look();
            if seen.has_ended() || !goes_on {
                yield Event::data("").event("end");
                break;
            }
            let mut fresh: Vec<&Held> = seen.alerts.iter().filter(|held| held.change > change).collect();
            fresh.sort_by_key(|held| held.change);
            fresh.truncate(ALERTS);
            change = fresh.last().map_or(change, |held| held.change);
            let alerts: Vec<Value> =
                fresh.into_iter().filter_map(|held| alert(portal, language, &session, held).ok()).collect();
            let came = match wants_rows {
                true => packets::since(portal, &session, &filter, after).await.unwrap_or_default(),
                false => packets::News::default(),
            };
            let last = came.rows.last().and_then(|row| row.get("number")?.as_str()?.parse().ok());
            after = last.unwrap_or(after);
            let state = state(portal, language, &seen).unwrap_or_default();
            let found = came.found.and_then(|(found, all)| {
                let values = json!({ "n": human::grouped(found), "all": human::grouped(all) });
                portal.templates.message(language, "packets.found", &values).ok()
            });
            let news = json!({
                "facts": facts(&seen), "state": state, "alerts": alerts, "rows": came.rows, "skipped": came.is_cut,
                "words": seen.words.back(), "found": found,
            });
            yield Event::json(&news).event("now");
            rocket::tokio::select! {
                () = sleep(PAUSE) => {}
                () = &mut shutdown => break,
            }
        }
    })
}

/// What both sides of a packet's flow said.
#[get("/live/<key>/packets/<number>/stream?<skip>&<hex>")]
pub async fn stream(
    me: Administrator<'_>,
    portal: &State<Portal>,
    key: &str,
    number: u64,
    skip: Option<u64>,
    hex: Option<bool>,
) -> Reply {
    let session = find(portal, &me, key)?;
    session.look();
    packets::said(portal, &me, Ground::Live(&session), number, skip, hex).await
}

/// Which fields may stand at a place of a filter, for the script of the page.
#[get("/live/<key>/packets/complete?<text>&<cursor>")]
pub async fn complete(
    me: Administrator<'_>,
    portal: &State<Portal>,
    key: &str,
    text: &str,
    cursor: u64,
) -> Result<Json<Value>, Failure> {
    let session = find(portal, &me, key)?;
    packets::completed(portal, &me, Ground::Live(&session), text, cursor).await
}

/// Has packets that come be passed over.
#[post("/live/<key>/pause", data = "<_form>")]
pub async fn pause(me: Administrator<'_>, portal: &State<Portal>, key: &str, _form: Posted<Nothing>) -> Reply {
    told(portal, &me, key, LiveCommand::Pause).await
}

/// Captures again.
#[post("/live/<key>/go-on", data = "<_form>")]
pub async fn go_on(me: Administrator<'_>, portal: &State<Portal>, key: &str, _form: Posted<Nothing>) -> Reply {
    told(portal, &me, key, LiveCommand::GoOn).await
}

/// Ends it, and keeps what was captured for a while.
#[post("/live/<key>/stop", data = "<_form>")]
pub async fn stop(me: Administrator<'_>, portal: &State<Portal>, key: &str, _form: Posted<Nothing>) -> Reply {
    told(portal, &me, key, LiveCommand::Stop).await
}

/// How long a page waits for what a child was told, so that it shows it.
const HEARD: Duration = Duration::from_secs(5);

async fn told(portal: &Portal, me: &Administrator<'_>, key: &str, command: LiveCommand) -> Reply {
    let session = find(portal, me, key)?;
    if !session.has_ended() {
        session.tell(command);
        if command == LiveCommand::Stop {
            note(portal, me, Action::LiveStopped, session.what.interface.clone()).await?;
        }
        let until = Instant::now() + HEARD;
        let is_done = |seen: &Seen| match command {
            LiveCommand::Pause => seen.now.is_paused,
            LiveCommand::GoOn => !seen.now.is_paused,
            LiveCommand::Stop => false,
        };
        loop {
            let seen = session.look();
            if seen.has_ended() || is_done(&seen) || Instant::now() >= until {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(Answer::to(&format!("/live/{key}")))
}

/// Asks before it is thrown away.
#[get("/live/<key>/discard")]
pub async fn ask_discard(me: Administrator<'_>, portal: &State<Portal>, key: &str) -> Reply {
    let session = find(portal, &me, key)?;
    let seen = session.look();
    let data = json!({
        "key": session.key.as_str(), "interface": session.what.interface, "packets": human::grouped(seen.now.recorded),
    });
    Ok(Page::new(portal, &me, "live-discard", data)?.into())
}

/// Throws it away.
#[post("/live/<key>/discard", data = "<_form>")]
pub async fn discard(me: Administrator<'_>, portal: &State<Portal>, key: &str, _form: Posted<Nothing>) -> Reply {
    let session = find(portal, &me, key)?;
    note(portal, &me, Action::LiveDiscarded, session.what.interface.clone()).await?;
    session.discard();
    gone(portal, &me, key).await;
    Ok(Answer::to("/live?done=discarded"))
}

/// Waits until a session that was thrown away is gone.
async fn gone(portal: &Portal, me: &Administrator<'_>, key: &str) {
    let until = Instant::now() + HEARD;
    while portal.live.find(me.account.id, key).is_some() && Instant::now() < until {
        sleep(Duration::from_millis(10)).await;
    }
}

/// How it is kept.
#[derive(Debug, FromForm)]
pub struct Kept {
    name: String,
    /// The pipeline that it is analysed with at once; none: it is to be confirmed.
    pipeline: String,
}

/// Makes an entry of what was captured.
#[post("/live/<key>/save", data = "<form>")]
pub async fn save(me: Administrator<'_>, portal: &State<Portal>, key: &str, form: Posted<Kept>) -> Reply {
    let session = find(portal, &me, key)?;
    let Some(saving) = session.begin_saving() else { return Ok(Answer::to(&format!("/live/{key}"))) };
    let opened = match File::open(session.path()).await {
        Ok(file) => file.metadata().await.map(|metadata| (file, metadata.len())),
        Err(error) => Err(error),
    };
    let (file, length) = opened.map_err(|error| {
        tracing::error!(%error, "what a live session captured cannot be opened");
        Failure(Status::InternalServerError)
    })?;
    let name = shown_name(&form.0.name);
    let kept = match take(portal, me.account.id, &me.actor(), &name, Some(length), file).await {
        Outcome::Kept(kept) => kept,
        Outcome::Refused(status, refusal) => {
            drop(saving);
            let words = portal.templates.message(me.language, &refusal.key, &refusal.values)?;
            let page = session_page(&me, portal, &session, &Wanted::default(), Some(words)).await?;
            return Ok(page.with_status(status).into());
        }
    };
    note(portal, &me, Action::LiveSaved, kept.to_string()).await?;
    if !form.0.pipeline.is_empty() {
        let choices =
            Choices { pipeline: form.0.pipeline, packet_limit: None, note: String::new(), category: None, team: None };
        match entry::begin(portal, me.account.id, kept.as_str(), choices, me.actor()).await {
            // The queue may be full: then its page asks.
            Ok(()) | Err(NotDone::Because(_)) => {}
            Err(error) => tracing::error!(%error, "a saved live session cannot be analysed"),
        }
    }
    drop(saving);
    session.discard();
    Ok(Answer::to(&format!("/entries/{kept}")))
}

/// What was captured, as it is.
#[get("/live/<key>/capture.pcapng")]
pub async fn capture(me: Administrator<'_>, portal: &State<Portal>, key: &str) -> Result<Save<NamedFile>, Failure> {
    let session = find(portal, &me, key)?;
    if !session.look().has_ended() {
        return Err(Failure(Status::NotFound));
    }
    note(portal, &me, Action::Exported, format!("live {}", session.what.interface)).await?;
    let file = NamedFile::open(session.path()).await.map_err(|error| {
        tracing::error!(%error, "what a live session captured cannot be opened");
        Failure(Status::NotFound)
    })?;
    let name = format!("{}-{}.pcapng", session.what.interface, session.began_at);
    Ok(Save::new(file, ContentType::Binary, &name))
}
