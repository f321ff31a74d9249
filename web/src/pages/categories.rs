//! What entries are sorted into, for administrators.

use rocket::http::Status;
use rocket::{FromForm, State, get, post};
use serde_json::{Value, json};

use super::login::Nothing;
use super::render::{Answer, Failure, Page, Reply, told};
use crate::accounts::{Reason, Refused};
use crate::entries::categories;
use crate::forms::Posted;
use crate::portal::Portal;
use crate::visitor::Administrator;

/// What was done just before, for a line at the top. Other words are ignored.
const DONE: [&str; 4] = ["added", "renamed", "retired", "restored"];

/// The list.
#[get("/categories?<done>")]
pub async fn show(me: Administrator<'_>, portal: &State<Portal>, done: Option<&str>) -> Reply {
    let done = done.filter(|done| DONE.contains(done)).map(|done| format!("categories.done-{done}"));
    Ok(page(me, portal, done, None).await?.into())
}

/// The name of a category.
#[derive(Debug, FromForm)]
pub struct Name {
    name: String,
}

/// Adds one.
#[post("/categories", data = "<form>")]
pub async fn add(me: Administrator<'_>, portal: &State<Portal>, form: Posted<Name>) -> Reply {
    let (actor, now) = (me.actor(), portal.now());
    let added = portal.db.run(move |connection| categories::add(connection, &form.0.name, &actor, now)).await;
    finish(me, portal, added.map(drop), "added").await
}

/// Gives one another name.
#[post("/categories/<id>/rename", data = "<form>")]
pub async fn rename(me: Administrator<'_>, portal: &State<Portal>, id: i64, form: Posted<Name>) -> Reply {
    let (actor, now) = (me.actor(), portal.now());
    let done = portal.db.run(move |connection| categories::rename(connection, id, &form.0.name, &actor, now)).await;
    finish(me, portal, done, "renamed").await
}

/// Offers one no longer.
#[post("/categories/<id>/retire", data = "<_form>")]
pub async fn retire(me: Administrator<'_>, portal: &State<Portal>, id: i64, _form: Posted<Nothing>) -> Reply {
    let (actor, now) = (me.actor(), portal.now());
    let done = portal.db.run(move |connection| categories::set_retired(connection, id, true, &actor, now)).await;
    finish(me, portal, done, "retired").await
}

/// Offers one again.
#[post("/categories/<id>/restore", data = "<_form>")]
pub async fn restore(me: Administrator<'_>, portal: &State<Portal>, id: i64, _form: Posted<Nothing>) -> Reply {
    let (actor, now) = (me.actor(), portal.now());
    let done = portal.db.run(move |connection| categories::set_retired(connection, id, false, &actor, now)).await;
    finish(me, portal, done, "restored").await
}

async fn finish(me: Administrator<'_>, portal: &Portal, result: Result<(), Refused>, done: &str) -> Reply {
    match told(result)? {
        Ok(()) => Ok(Answer::to(&format!("/categories?done={done}"))),
        Err(reason) => Ok(page(me, portal, None, Some(reason)).await?.with_status(Status::UnprocessableEntity).into()),
    }
}

async fn page(
    me: Administrator<'_>,
    portal: &Portal,
    done: Option<String>,
    error: Option<Reason>,
) -> Result<Page, Failure> {
    let all = portal.db.run(|connection| categories::list(connection)).await?;
    let all: Vec<Value> = all
        .into_iter()
        .map(|category| json!({ "id": category.id, "name": category.name, "retired": category.retired }))
        .collect();
    let data = json!({ "done": done, "error": error.map(|reason| reason.to_string()), "categories": all });
    Ok(Page::new(portal, &me, "categories", data)?)
}
