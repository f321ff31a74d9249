//! How long things are kept and how the timers go on, for administrators.

use rocket::{State, get, post};
use serde_json::json;

use super::login::Nothing;
use super::render::{Answer, Failure, Page, Reply, told};
use crate::clock::readable;
use crate::forms::Posted;
use crate::portal::Portal;
use crate::results::human;
use crate::retention;
use crate::visitor::Administrator;

/// What was done just before, for a line at the top. Other words are ignored.
const DONE: [&str; 1] = ["accepted"];

/// The page.
#[get("/retention?<done>")]
pub async fn show(me: Administrator<'_>, portal: &State<Portal>, done: Option<&str>) -> Reply {
    let progress = portal.db.run(|connection| retention::progress(connection)).await?;
    let timers = &portal.config.retention;
    let days = |days: u32| (days > 0).then(|| days.to_string());
    let count = |count: i64| human::grouped(count.unsigned_abs());
    let data = json!({
        "done": done.filter(|done| DONE.contains(done)).map(|done| format!("retention.done-{done}")),
        "captures_days": days(timers.captures_days), "entries_days": days(timers.entries_days),
        "unconfirmed_days": days(timers.unconfirmed_days),
        "every": human::duration(timers.sweep_seconds as f64 * 1e9), "most": human::grouped(timers.sweep_entries.into()),
        "jump_days": timers.jump_days.to_string(), "last": progress.last_sweep_at.map(readable),
        "waits": progress.waits.map(|why| format!("retention.waits-{why}")), "now": readable(portal.now()),
        "entries": count(progress.entries), "captures": count(progress.captures), "bytes": human::bytes(progress.bytes),
    });
    Ok(Page::new(portal, &me, "retention", data)?.into())
}

/// Vouches for the clock: from now on it is believed.
#[post("/retention/accept", data = "<_form>")]
pub async fn accept(me: Administrator<'_>, portal: &State<Portal>, _form: Posted<Nothing>) -> Reply {
    let (actor, now) = (me.actor(), portal.now());
    let done = portal.db.run(move |connection| retention::clock::accept(connection, &actor, now)).await;
    told(done)?.map_err(|_| Failure(rocket::http::Status::UnprocessableEntity))?;
    Ok(Answer::to("/retention?done=accepted"))
}
