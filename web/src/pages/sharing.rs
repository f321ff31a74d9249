//! Whom an entry is shared with, and when it goes: what its page says of that, and what its owner changes.

use rocket::http::Status;
use rocket::{FromForm, State, post};
use serde_json::{Value, json};

use super::errors::refusal;
use super::login::Nothing;
use super::render::{Answer, Failure, Reply, told};
use crate::accounts::{Reason, Refused, teams};
use crate::clock::readable;
use crate::database::DbError;
use crate::entries::{self, Entry, May};
use crate::forms::Posted;
use crate::portal::Portal;
use crate::retention;
use crate::visitor::Analyst;

/// What the partials `entry-actions` and `entry-standing` say of an entry beside its note.
pub(super) async fn standing(portal: &Portal, entry: &Entry) -> Result<Value, Failure> {
    let (this, timers) = (entry.clone(), portal.config.retention.clone());
    let (mine, due) = portal
        .db
        .run(move |connection| -> Result<_, DbError> {
            Ok((teams::of_account(connection, this.asker)?, retention::due(connection, &timers, &this)?))
        })
        .await?;
    let shared = entry.team.as_ref();
    let choices: Vec<Value> = mine
        .iter()
        .map(|team| json!({ "id": team.id, "name": team.name, "is_current": shared.is_some_and(|one| one.id == team.id) }))
        .collect();
    Ok(json!({
        "can_work": entry.may >= May::Work, "can_lead": entry.may >= May::Lead, "can_own": entry.may >= May::Own,
        "owner": (entry.asker != entry.account_id).then_some(&entry.owner),
        "team": shared.map(|team| &team.name), "team_retired": shared.is_some_and(|team| team.retired),
        "teams": choices, "kept_why": entry.kept_why, "capture_gone": entry.capture_gone_at.map(readable),
        "has_capture": entry.capture_gone_at.is_none(),
        "capture_due": due.capture_at.map(readable), "entry_due": due.entry_at.map(readable),
    }))
}

/// A team to share with; the empty text is none.
#[derive(Debug, FromForm)]
pub struct Sharing {
    team: String,
}

/// Shares an entry with a team.
#[post("/entries/<key>/share", data = "<form>")]
pub async fn share(me: Analyst<'_>, portal: &State<Portal>, key: &str, form: Posted<Sharing>) -> Reply {
    let (account, actor, now, own) = (me.account.id, me.actor(), portal.now(), key.to_owned());
    let done = match form.0.team.parse::<i64>() {
        Ok(team) => portal.db.run(move |c| entries::share(c, account, &own, team, &actor, now)).await,
        Err(_) => Err(Reason::Team.into()),
    };
    finish(me, portal, key, done, "shared").await
}

/// Takes an entry out of its team.
#[post("/entries/<key>/take-back", data = "<_form>")]
pub async fn take_back(me: Analyst<'_>, portal: &State<Portal>, key: &str, _form: Posted<Nothing>) -> Reply {
    let (account, actor, now, own) = (me.account.id, me.actor(), portal.now(), key.to_owned());
    let done = portal.db.run(move |c| entries::take_back(c, account, &own, &actor, now)).await;
    if done.is_ok() {
        // Whoever leads the team, and is not the owner, sees it no more.
        let own = key.to_owned();
        if portal.db.run(move |c| entries::find(c, account, &own)).await?.is_none() {
            return Ok(Answer::to("/?done=taken-back"));
        }
    }
    finish(me, portal, key, done, "taken-back").await
}

/// Why an entry is kept.
#[derive(Debug, FromForm)]
pub struct Keeping {
    reason: String,
}

/// Keeps an entry from the timers.
#[post("/entries/<key>/keep", data = "<form>")]
pub async fn keep(me: Analyst<'_>, portal: &State<Portal>, key: &str, form: Posted<Keeping>) -> Reply {
    let (account, actor, now, own) = (me.account.id, me.actor(), portal.now(), key.to_owned());
    let reason = form.0.reason;
    let done = portal.db.run(move |c| entries::keep(c, account, &own, Some(&reason), &actor, now)).await;
    finish(me, portal, key, done, "kept").await
}

/// Lets the timers count again.
#[post("/entries/<key>/let-go", data = "<_form>")]
pub async fn let_go(me: Analyst<'_>, portal: &State<Portal>, key: &str, _form: Posted<Nothing>) -> Reply {
    let (account, actor, now, own) = (me.account.id, me.actor(), portal.now(), key.to_owned());
    let done = portal.db.run(move |c| entries::keep(c, account, &own, None, &actor, now)).await;
    finish(me, portal, key, done, "let-go").await
}

async fn finish(me: Analyst<'_>, portal: &Portal, key: &str, result: Result<(), Refused>, done: &str) -> Reply {
    match told(result)? {
        Ok(()) => Ok(Answer::to(&format!("/entries/{key}?done={done}"))),
        Err(Reason::NotThere) => Err(Failure(Status::NotFound)),
        Err(reason) => Ok(refusal(portal, &me, reason)?.into()),
    }
}
