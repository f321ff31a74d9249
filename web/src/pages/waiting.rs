//! Waiting for a result: a page that keeps itself up to date, by events or by loading itself again.

use rocket::http::Status;
use rocket::response::stream::{Event, EventStream};
use rocket::tokio::time::{Duration, Instant, sleep};
use rocket::{Shutdown, State, get};
use serde_json::{Value, json};
use veilwatch::worker::{Stage, WorkerAlert};

use super::render::{Failure, Page};
use super::{Language, entry};
use crate::entries::{Entry, May, State as EntryState, find};
use crate::jobs::{live::Live, queue};
use crate::portal::Portal;
use crate::results::human;
use crate::visitor::Viewer;

/// Time between two events.
const PAUSE: Duration = Duration::from_millis(300);
/// How long one stream lasts; the browser then asks for the next.
const LONGEST: Duration = Duration::from_secs(600);
/// Seconds after which a page without script loads itself again.
const REFRESH: u32 = 3;

/// The page while an analysis waits or runs.
pub(super) async fn page(me: &Viewer<'_>, portal: &Portal, entry: &Entry) -> Result<Page, Failure> {
    let live = portal.runner.board.find(entry.id).map(|running| running.now());
    let mut data = match &live {
        Some(live) => shown(portal, me.language, live)?,
        None => json!({
            "bytes": "", "packets": "", "rate": "", "flows": "", "alerts": "", "left": "", "percent": 0, "found": [],
            "stage": "preparing", "stopping": false,
        }),
    };
    let is_queued = entry.state == EntryState::Queued;
    let ahead = if is_queued { ahead(portal, entry.id).await? } else { 0 };
    if let Some(data) = data.as_object_mut() {
        let stage = data.get("stage").and_then(Value::as_str).unwrap_or("preparing").to_owned();
        let stopping = data.get("stopping").and_then(Value::as_bool).unwrap_or_default();
        data.insert("stage".into(), format!("wait.{}", if stopping { "stopping" } else { &stage }).into());
        data.insert("key".into(), entry.key.as_str().into());
        data.insert("name".into(), entry.name.clone().into());
        data.insert("size".into(), human::bytes(entry.bytes).into());
        data.insert("is_queued".into(), is_queued.into());
        data.insert("ahead".into(), ahead.into());
        data.insert("can_change".into(), (entry.may >= May::Work).into());
        data.insert("refresh".into(), REFRESH.into());
    }
    Ok(Page::new(portal, me, "wait", data)?)
}

async fn ahead(portal: &Portal, entry: i64) -> Result<u32, Failure> {
    Ok(portal.db.run(move |connection| queue::ahead(connection, entry)).await?)
}

/// A running analysis in words.
fn shown(portal: &Portal, language: Language, live: &Live) -> Result<Value, Failure> {
    let progress = &live.progress;
    let bytes = match progress.total_bytes {
        Some(total) => format!("{} / {}", human::bytes(progress.bytes), human::bytes(total)),
        None => human::bytes(progress.bytes),
    };
    let percent = progress.total_bytes.filter(|total| *total > 0);
    let percent = percent.map(|total| (progress.bytes.saturating_mul(100) / total).min(100)).unwrap_or_default();
    let left = match live.seconds_left {
        Some(seconds) if progress.stage == Stage::Reading => {
            // A guess to the second is as good as it gets.
            let left = if seconds < 120 { format!("{seconds} s") } else { human::duration(seconds as f64 * 1e9) };
            portal.templates.message(language, "wait.left-words", &json!({ "left": left }))?
        }
        _ => String::new(),
    };
    let found = live.alerts.iter().map(|alert| found(portal, language, alert)).collect::<Result<Vec<_>, Failure>>()?;
    Ok(json!({
        "stage": match progress.stage {
            Stage::Preparing => "preparing",
            Stage::Reading => "reading",
            Stage::Writing => "writing",
        },
        "stopping": live.stopping, "bytes": bytes, "percent": percent, "packets": human::grouped(progress.packets),
        "rate": human::grouped(live.packets_per_second), "flows": human::grouped(progress.flows),
        "alerts": human::grouped(progress.alerts), "left": left, "found": found,
    }))
}

fn found(portal: &Portal, language: Language, alert: &WorkerAlert) -> Result<Value, Failure> {
    let server = match &alert.sni {
        Some(name) => format!("{name} ({}:{})", alert.dest_ip, alert.dest_port),
        None => format!("{}:{}", alert.dest_ip, alert.dest_port),
    };
    let words = portal.templates.message(language, &format!("verdict.{}", alert.verdict), &json!({}))?;
    Ok(json!({ "verdict": alert.verdict, "words": words, "text": format!("{} → {server}", alert.src_ip) }))
}

/// What a stream of events says next.
enum Next {
    Queued(u32),
    Running(Box<Live>),
    /// Between the queue and the board.
    Between,
    Over,
}

async fn next(portal: &Portal, account: i64, id: i64, key: &str) -> Result<Next, Failure> {
    // Asked each time: whoever may no longer look at it hears no more of it.
    let key = key.to_owned();
    let entry = portal.db.run(move |connection| find(connection, account, &key)).await?;
    let Some(entry) = entry else { return Ok(Next::Over) };
    if let Some(running) = portal.runner.board.find(id) {
        return Ok(Next::Running(Box::new(running.now())));
    }
    match entry.state {
        EntryState::Queued => Ok(Next::Queued(ahead(portal, entry.id).await?)),
        EntryState::Running => Ok(Next::Between),
        _ => Ok(Next::Over),
    }
}

/// How an analysis goes on, as events.
#[get("/entries/<key>/events")]
pub async fn events<'r>(
    me: Viewer<'r>,
    portal: &'r State<Portal>,
    key: &'r str,
    mut shutdown: Shutdown,
) -> Result<EventStream![Event + 'r], Failure> {
    let (account, language) = (me.account.id, me.language);
    let id = entry::find(portal, account, key).await?.0.id;
    let place = portal.streams.enter(account).ok_or(Failure(Status::TooManyRequests))?;
    let until = Instant::now() + LONGEST;
    Ok(EventStream! {
        let _place = place;
        while Instant::now() < until {
            let told = if me.goes_on(portal).await { next(portal, account, id, key).await } else { Ok(Next::Over) };
            let event = match told {
                Ok(Next::Queued(ahead)) => {
                    let words = portal.templates.message(language, "wait.queued", &json!({ "n": ahead }));
                    words.ok().map(|words| Event::json(&json!({ "words": words })).event("queued"))
                }
                Ok(Next::Running(live)) => {
                    shown(portal, language, &live).ok().map(|shown| Event::json(&shown).event("progress"))
                }
                Ok(Next::Between) => None,
                Ok(Next::Over) | Err(_) => {
                    yield Event::data("").event("end");
                    break;
                }
            };
            if let Some(event) = event {
                yield event;
            }
            rocket::tokio::select! {
                () = sleep(PAUSE) => {}
                () = &mut shutdown => break,
            }
        }
    })
}
