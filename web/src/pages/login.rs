//! Logging in and out.

use rocket::http::{CookieJar, Status};
use rocket::{FromForm, State, get, post};
use serde_json::json;

use super::local_path;
use super::render::{Answer, Failure, Page, Reply};
use crate::accounts::audit::{self, Action};
use crate::accounts::{Actor, Reason, login_name, people, sessions};
use crate::database::DbError;
use crate::forms::Posted;
use crate::portal::Portal;
use crate::visitor::{Viewer, Visitor};

/// A name and a password.
#[derive(Debug, FromForm)]
pub struct Credentials {
    name: String,
    password: String,
    next: String,
}

/// The form to log in with. Before there is anybody, the way leads to the set-up.
#[get("/login?<next>")]
pub async fn show(visitor: &Visitor, portal: &State<Portal>, next: Option<String>) -> Reply {
    let next = local_path(&next.unwrap_or_default());
    if visitor.account.is_some() {
        return Ok(Answer::to(&next));
    }
    if portal.db.run(|connection| people::count(connection)).await? == 0 {
        return Ok(Answer::to("/setup"));
    }
    Ok(page(portal, visitor, "", &next, None, 0)?.into())
}

/// Logs in. Unknown names, wrong passwords and disabled accounts get the same answer after the same work.
#[post("/login", data = "<form>")]
pub async fn log_in(
    visitor: &Visitor,
    portal: &State<Portal>,
    cookies: &CookieJar<'_>,
    form: Posted<Credentials>,
) -> Reply {
    let Credentials { name: typed, password, next } = form.0;
    let (next, now) = (local_path(&next), portal.now());
    let name = login_name(&typed).unwrap_or_default();
    if let Err(wait) = portal.throttle.attempt(&name, visitor.address, now) {
        let page = page(portal, visitor, &typed, &next, Some("login.throttled".to_owned()), wait)?;
        return Ok(page.with_status(Status::TooManyRequests).with_header("Retry-After", wait.to_string()).into());
    }
    let wanted = name.clone();
    let found = portal.db.run(move |connection| people::by_name(connection, &wanted)).await?;
    let hash = found.as_ref().filter(|(account, _)| !account.disabled).map(|(_, hash)| hash.as_str());
    if !portal.hasher.verify(&password, hash).await? {
        // Only a name that exists is written down: people type their password into the wrong field.
        let (actor, subject) = (Actor { name: None, ..visitor.actor() }, found.map(|(account, _)| account.name));
        portal
            .db
            .run(move |connection| audit::record(connection, &actor, Action::LoginFailed, subject.as_deref(), now))
            .await?;
        let page = page(portal, visitor, &typed, &next, Some(Reason::Login.to_string()), 0)?;
        return Ok(page.with_status(Status::UnprocessableEntity).into());
    }
    portal.throttle.succeeded(&name);
    if let Some((account, _)) = found {
        begin_session(portal, visitor, cookies, account.id, &account.name).await?;
    }
    Ok(Answer::to(&next))
}

/// Logs out, here and now.
#[post("/logout", data = "<_form>")]
pub async fn log_out(me: Viewer<'_>, portal: &State<Portal>, cookies: &CookieJar<'_>, _form: Posted<Nothing>) -> Reply {
    let (session, actor, now) = (me.session, me.actor(), portal.now());
    portal.db.run(move |connection| sessions::log_out(connection, session, &actor, now)).await?;
    portal.take_back_session(cookies);
    Ok(Answer::to("/login"))
}

/// A form without fields of its own.
#[derive(Debug, FromForm)]
pub struct Nothing {
    #[field(name = "csrf")]
    _csrf: String,
}

/// Begins a session for this account, under a new token; the one that the browser had ends.
pub(super) async fn begin_session(
    portal: &Portal,
    visitor: &Visitor,
    cookies: &CookieJar<'_>,
    account: i64,
    name: &str,
) -> Result<(), Failure> {
    let (secret, limits, most) = (portal.secret.clone(), portal.config.sessions.clone(), portal.config.limits.sessions);
    let (agent, before, now) = (visitor.agent.clone(), visitor.session, portal.now());
    let actor = Actor { name: Some(name.to_owned()), address: visitor.address.to_string() };
    let token = portal
        .db
        .run(move |connection| -> Result<String, DbError> {
            if let Some(before) = before {
                sessions::log_out(connection, before, &actor, now)?;
            }
            sessions::begin(connection, &secret, account, &agent, &actor, &limits, most, now)
        })
        .await?;
    portal.hand_out_session(cookies, token);
    Ok(())
}

fn page(
    portal: &Portal,
    visitor: &Visitor,
    name: &str,
    next: &str,
    error: Option<String>,
    wait: i64,
) -> Result<Page, Failure> {
    let data = json!({ "name": name, "next": next, "error": error, "minutes": (wait + 59) / 60 });
    Ok(Page::new(portal, visitor, "login", data)?)
}
