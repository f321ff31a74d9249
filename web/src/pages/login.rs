//! Logging in, by password and by the code that may have to follow it, and out.

use rocket::http::{CookieJar, Status};
use rocket::{FromForm, State, get, post};
use serde_json::json;

use super::local_path;
use super::render::{Answer, Failure, Page, Reply, told};
use crate::accounts::audit::{self, Action};
use crate::accounts::pending::{self, Begun, Kind};
use crate::accounts::second_factor::{self, Used};
use crate::accounts::{Account, Actor, Reason, Refused, login_name, people, sessions};
use crate::database::DbError;
use crate::forms::Posted;
use crate::portal::Portal;
use crate::provider::Provider;
use crate::visitor::{LoggedIn, Visitor};

/// Longer cookies are none of ours.
const MAX_COOKIE: usize = 128;

/// A name and a password.
#[derive(Debug, FromForm)]
pub struct Credentials {
    name: String,
    password: String,
    next: String,
}

/// The form to log in with. Before there is anybody, the way leads to the set-up.
#[get("/login?<next>&<lost>")]
pub async fn show(visitor: &Visitor, portal: &State<Portal>, next: Option<String>, lost: Option<bool>) -> Reply {
    let next = local_path(&next.unwrap_or_default());
    if visitor.account.is_some() {
        return Ok(Answer::to(&next));
    }
    if portal.db.run(|connection| people::count(connection)).await? == 0 {
        return Ok(Answer::to("/setup"));
    }
    // A form was sent by somebody who is not logged in any more.
    let lost = lost.unwrap_or_default().then(|| "login.lost".to_owned());
    Ok(page(portal, visitor, "", &next, lost, 0)?.into())
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
    portal.throttle.succeeded(&name, visitor.address);
    match found {
        Some((account, _)) => Ok(Answer::to(&admit(portal, visitor, cookies, &account, next).await?.0)),
        None => Ok(Answer::to(&next)),
    }
}

/// Lets somebody in who has shown who they are: at once, or as far as the code of their second factor. Gives the place
/// to go on to, and the token of the session where one has begun.
pub(super) async fn admit(
    portal: &Portal,
    visitor: &Visitor,
    cookies: &CookieJar<'_>,
    account: &Account,
    next: String,
) -> Result<(String, Option<String>), Failure> {
    let (id, now) = (account.id, portal.now());
    let state = portal.db.run(move |connection| second_factor::state(connection, id)).await?;
    if state.since.is_none() {
        let token = begin_session(portal, visitor, cookies, account.id, &account.name).await?;
        // What happened to their second factor is said there.
        return Ok((if state.taken_at.is_some() { "/account".to_owned() } else { next }, Some(token)));
    }
    let (secret, begun) = (portal.secret.clone(), Begun { account: Some(id), next, ..Begun::default() });
    let limits = (portal.config.login.pending, now + portal.config.login.pending_seconds);
    let token =
        portal.db.run(move |connection| pending::begin(connection, &secret, Kind::Code, &begun, limits, now)).await?;
    cookies.add(portal.cookie(portal.code_cookie(), token));
    Ok(("/login/code".to_owned(), None))
}

/// Who waits for a code in this browser, and where they want to go on to.
async fn waiting(portal: &Portal, cookies: &CookieJar<'_>) -> Result<Option<(String, Account, String)>, Failure> {
    let cookie = cookies.get(portal.code_cookie()).map(|cookie| cookie.value().to_owned());
    let Some(token) = cookie.filter(|token| token.len() <= MAX_COOKIE) else { return Ok(None) };
    let (secret, wanted, now) = (portal.secret.clone(), token.clone(), portal.now());
    let found = portal.db.run(move |connection| pending::find_code(connection, &secret, &wanted, now)).await?;
    Ok(found.map(|(account, next)| (token, account, next)))
}

/// The form for the code after the password.
#[get("/login/code")]
pub async fn show_code(visitor: &Visitor, portal: &State<Portal>, cookies: &CookieJar<'_>) -> Reply {
    match waiting(portal, cookies).await? {
        Some(_) => Ok(code_page(portal, visitor, None, 0)?.into()),
        None => Ok(Answer::to("/login")),
    }
}

/// A code.
#[derive(Debug, FromForm)]
pub struct TypedCode {
    code: String,
}

/// Takes the code, or a recovery code in its place.
#[post("/login/code", data = "<form>")]
pub async fn check_code(
    visitor: &Visitor,
    portal: &State<Portal>,
    cookies: &CookieJar<'_>,
    form: Posted<TypedCode>,
) -> Reply {
    let now = portal.now();
    let Some((token, account, next)) = waiting(portal, cookies).await? else { return Ok(Answer::to("/login")) };
    let counted = code_attempts(&account.name);
    if let Err(wait) = portal.throttle.attempt(&counted, visitor.address, now) {
        let page = code_page(portal, visitor, Some("login.throttled".to_owned()), wait)?;
        return Ok(page.with_status(Status::TooManyRequests).with_header("Retry-After", wait.to_string()).into());
    }
    let actor = Actor { name: Some(account.name.clone()), address: visitor.address.to_string() };
    let (secret, id, name) = (portal.secret.clone(), account.id, account.name.clone());
    let checked = portal
        .db
        .run(move |connection| -> Result<Used, Refused> {
            let transaction = connection.transaction()?;
            match second_factor::check(&transaction, &secret, id, &form.0.code, &actor, now) {
                Ok(used) => {
                    // Of two who come at once, with two codes that are both good, one gets in.
                    pending::take(&transaction, &secret, Kind::Code, &token, now)?.ok_or(Reason::Code)?;
                    transaction.commit()?;
                    Ok(used)
                }
                Err(error) => {
                    let stranger = Actor { name: None, ..actor };
                    audit::record(&transaction, &stranger, Action::CodeFailed, Some(&name), now)?;
                    transaction.commit()?;
                    Err(error)
                }
            }
        })
        .await;
    match told(checked)? {
        Ok(used) => {
            portal.throttle.succeeded(&counted, visitor.address);
            begin_session(portal, visitor, cookies, account.id, &account.name).await?;
            // How many are left is said there.
            Ok(Answer::to(if used == Used::Recovery { "/account/second-factor" } else { &next }))
        }
        Err(reason) => {
            let page = code_page(portal, visitor, Some(reason.to_string()), 0)?;
            Ok(page.with_status(Status::UnprocessableEntity).into())
        }
    }
}

/// What attempts with codes are counted under: beside those with passwords, since whoever knows the password could begin
/// anew without end. No account has a colon in its name.
pub(super) fn code_attempts(name: &str) -> String {
    format!("code:{name}")
}

fn code_page(portal: &Portal, visitor: &Visitor, error: Option<String>, wait: i64) -> Result<Page, Failure> {
    let data = json!({ "error": error, "minutes": (wait + 59) / 60, "seconds": portal.config.login.pending_seconds });
    Ok(Page::new(portal, visitor, "login-code", data)?)
}

/// Logs out, here and now.
#[post("/logout", data = "<_form>")]
pub async fn log_out(
    me: LoggedIn<'_>,
    portal: &State<Portal>,
    cookies: &CookieJar<'_>,
    _form: Posted<Nothing>,
) -> Reply {
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

/// The host of the provider that people may sign in by.
pub(super) fn host(portal: &Portal) -> Option<&str> {
    portal.provider.as_ref().map(Provider::host)
}

/// Begins a session for this account, under a new token, which it gives; the one that the browser had ends.
pub(super) async fn begin_session(
    portal: &Portal,
    visitor: &Visitor,
    cookies: &CookieJar<'_>,
    account: i64,
    name: &str,
) -> Result<String, Failure> {
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
    portal.hand_out_session(cookies, token.clone());
    Ok(token)
}

fn page(
    portal: &Portal,
    visitor: &Visitor,
    name: &str,
    next: &str,
    error: Option<String>,
    wait: i64,
) -> Result<Page, Failure> {
    let data =
        json!({ "name": name, "next": next, "error": error, "minutes": (wait + 59) / 60, "provider": host(portal) });
    Ok(Page::new(portal, visitor, "login", data)?)
}
