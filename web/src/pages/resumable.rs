//! Uploads that go on after they were broken off, for the script of the page. See [`crate::tus`].

use rocket::data::Data;
use rocket::http::Status;
use rocket::serde::json::Json;
use rocket::{State, delete, get, patch, post};
use serde_json::{Value, json};

use super::errors::told_page;
use super::login::Nothing;
use super::render::{Answer, Failure, Reply};
use crate::forms::{Posted, Signed};
use crate::portal::Portal;
use crate::tus::{self, Asked, No, Told};
use crate::visitor::{Analyst, Visitor};

/// What the script is told where something is refused: words of the visitor's language.
type Refused = (Status, Json<Value>);

fn say(portal: &Portal, me: &Visitor, (status, refusal): No) -> Refused {
    let words = portal.templates.message(me.language, &refusal.key, &refusal.values).unwrap_or_default();
    (status, Json(json!({ "detail": words })))
}

/// Begins an upload.
#[post("/uploads/resumable", data = "<data>")]
pub async fn create(
    me: Analyst<'_>,
    portal: &State<Portal>,
    _ours: Signed,
    asked: Asked,
    data: Data<'_>,
) -> Result<Told, Refused> {
    let created =
        tus::create(portal, (me.account.id, &me.actor()), asked, (String::new(), None), |_, _| Ok(()), data).await;
    created.map_err(|no| say(portal, &me, no))
}

/// How far an upload has come.
#[get("/uploads/resumable/<key>")]
pub async fn show(me: Analyst<'_>, portal: &State<Portal>, asked: Asked, key: &str) -> Result<Told, Refused> {
    tus::show(portal, me.account.id, &asked, key).await.map_err(|no| say(portal, &me, no))
}

/// Goes on with an upload.
#[patch("/uploads/resumable/<key>", data = "<data>")]
pub async fn append(
    me: Analyst<'_>,
    portal: &State<Portal>,
    _ours: Signed,
    asked: Asked,
    key: &str,
    data: Data<'_>,
) -> Result<Told, Refused> {
    let appended = tus::append(portal, (me.account.id, &me.actor()), &asked, key, data).await;
    appended.map_err(|no| say(portal, &me, no))
}

/// Ends an upload for good.
#[delete("/uploads/resumable/<key>")]
pub async fn terminate(
    me: Analyst<'_>,
    portal: &State<Portal>,
    _ours: Signed,
    asked: Asked,
    key: &str,
) -> Result<Told, Refused> {
    tus::terminate(portal, me.account.id, &asked, key).await.map_err(|no| say(portal, &me, no))
}

/// The same, for whoever has no script.
#[post("/uploads/resumable/<key>/delete", data = "<_form>")]
pub async fn delete(me: Analyst<'_>, portal: &State<Portal>, key: &str, _form: Posted<Nothing>) -> Reply {
    match tus::remove(portal, me.account.id, key).await {
        Ok(()) => Ok(Answer::to("/?done=upload-ended")),
        Err((Status { code: 404 }, _)) => Err(Failure(Status::NotFound)),
        Err((_, refusal)) => {
            let words = portal.templates.message(me.language, &refusal.key, &refusal.values)?;
            Ok(told_page(portal, &me, &words)?.into())
        }
    }
}
