//! Which webhooks there are and what became of their messages, for administrators.

use rocket::http::Status;
use rocket::{State, get, post};
use serde_json::{Value, json};

use super::login::Nothing;
use super::render::{Answer, Failure, Page, Reply};
use crate::accounts::audit::{self, Action};
use crate::clock::readable;
use crate::database::DbError;
use crate::forms::Posted;
use crate::portal::Portal;
use crate::visitor::Administrator;
use crate::webhooks;

/// What was done just before, for a line at the top. Other words are ignored.
const DONE: [&str; 1] = ["tested"];
/// Messages on the page.
const NEWEST: u32 = 50;

/// The webhooks, and the newest messages.
#[get("/webhooks?<done>")]
pub async fn show(me: Administrator<'_>, portal: &State<Portal>, done: Option<&str>) -> Reply {
    let done = done.filter(|done| DONE.contains(done)).map(|done| format!("webhooks.done-{done}"));
    let (counts, newest) = portal
        .db
        .run(|connection| -> Result<_, DbError> {
            Ok((webhooks::counts(connection)?, webhooks::newest(connection, NEWEST)?))
        })
        .await?;
    let all: Vec<Value> = portal
        .config
        .webhook
        .iter()
        .map(|webhook| {
            let count =
                |state: &str| counts.get(&(webhook.name.clone(), state.to_owned())).copied().unwrap_or_default();
            json!({
                "name": webhook.name, "host": webhook.host(), "sent": count("sent"), "waiting": count("waiting"),
                "dropped": count("dropped"),
            })
        })
        .collect();
    let newest: Vec<Value> = newest
        .into_iter()
        .map(|one| {
            json!({
                "id": one.id, "at": readable(one.created_at), "webhook": one.webhook, "event": one.event,
                "state": format!("webhooks.state-{}", one.state), "tries": one.tries,
                "words": one.words.unwrap_or_default(),
            })
        })
        .collect();
    let data = json!({ "done": done, "webhooks": all, "newest": newest });
    Ok(Page::new(portal, &me, "webhooks", data)?.into())
}

/// Sends a message that says nothing of anybody.
#[post("/webhooks/<name>/test", data = "<_form>")]
pub async fn test(me: Administrator<'_>, portal: &State<Portal>, name: &str, _form: Posted<Nothing>) -> Reply {
    let found = portal.config.webhook.iter().find(|webhook| webhook.name == name);
    let webhook = found.cloned().ok_or(Failure(Status::NotFound))?;
    let (limits, actor, now) = (portal.config.webhooks.clone(), me.actor(), portal.now());
    let added = portal.db.run(move |connection| -> Result<(), DbError> {
        let transaction = connection.transaction()?;
        webhooks::test(&transaction, &webhook, &limits, now)?;
        audit::record(&transaction, &actor, Action::WebhookTested, Some(&webhook.name), now)?;
        transaction.commit()?;
        Ok(())
    });
    added.await?;
    portal.webhooks.wake();
    Ok(Answer::to("/webhooks?done=tested"))
}
