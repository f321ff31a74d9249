//! One's own password, sessions and API tokens.

use rocket::http::{CookieJar, Status};
use rocket::{FromForm, State, get, post};
use serde_json::{Value, json};

use super::login::{Nothing, begin_session, host};
use super::render::{Answer, Failure, Page, Reply, told};
use crate::accounts::tokens::{self, NewToken, Scope};
use crate::accounts::{Reason, Refused, identities, password, people, second_factor, sessions, teams};
use crate::clock::readable;
use crate::database::DbError;
use crate::forms::Posted;
use crate::portal::Portal;
use crate::results::human;
use crate::uploads;
use crate::visitor::{LoggedIn, Viewer};

/// What was done just before, for a line at the top. Other words are ignored.
const DONE: [&str; 6] = ["password", "session", "sessions", "token", "linked", "unlinked"];

/// What the page says besides what is always on it.
#[derive(Default)]
struct Notice {
    done: Option<String>,
    error: Option<String>,
    minutes: i64,
    new_token: Option<String>,
}

/// The account's page.
#[get("/account?<done>")]
pub async fn show(me: Viewer<'_>, portal: &State<Portal>, done: Option<String>) -> Reply {
    let done = done.filter(|done| DONE.contains(&done.as_str())).map(|done| format!("account.done-{done}"));
    Ok(page(me, portal, Notice { done, ..Notice::default() }).await?.into())
}

/// A change of password.
#[derive(Debug, FromForm)]
pub struct PasswordChange {
    current: String,
    password: String,
    again: String,
}

/// Sets a new password. All sessions end; this browser gets a new one.
#[post("/account/password", data = "<form>")]
pub async fn set_password(
    me: Viewer<'_>,
    portal: &State<Portal>,
    cookies: &CookieJar<'_>,
    form: Posted<PasswordChange>,
) -> Reply {
    let (form, account, now) = (form.0, me.account, portal.now());
    // An account of the provider's has no password, and gets none here: whoever vouches for it would not know of it.
    let id = account.id;
    if !portal.db.run(move |connection| people::has_password(connection, id)).await? {
        return refused(me, portal, Reason::NoPasswordHere).await;
    }
    match it_is_me(me.into(), portal, &form.current).await? {
        Ok(()) => {}
        Err(Doubt::Wait(wait)) => return throttled(me, portal, wait).await,
        Err(Doubt::Because(reason)) => return refused(me, portal, reason).await,
    }
    if form.password != form.again {
        return refused(me, portal, Reason::PasswordsDiffer).await;
    }
    if let Err(fault) = password::check(&form.password, &[&account.name, &account.display_name]) {
        return refused(me, portal, fault.into()).await;
    }
    let actor = me.actor();
    let hash = portal.hasher.hash(&form.password).await?;
    let set = portal.db.run(move |connection| people::set_password(connection, id, &hash, &actor, now)).await;
    if let Err(reason) = told(set)? {
        return refused(me, portal, reason).await;
    }
    begin_session(portal, &me, cookies, id, &account.name).await?;
    Ok(Answer::to("/account?done=password"))
}

/// Why somebody is not believed to be the owner of the account they are logged in to.
pub(super) enum Doubt {
    /// Too many attempts: the seconds to wait.
    Wait(i64),
    /// The password is wrong, or the session too old for an account without one.
    Because(Reason),
}

/// Whether it is the account's owner who sits there: they know the password. An account of a provider's has none; then
/// the session must have begun just before.
pub(super) async fn it_is_me(me: LoggedIn<'_>, portal: &Portal, typed: &str) -> Result<Result<(), Doubt>, Failure> {
    let now = portal.now();
    // A session that was left open must not become a place to guess the password in.
    if let Err(wait) = portal.throttle.attempt(&me.account.name, me.address, now) {
        return Ok(Err(Doubt::Wait(wait)));
    }
    let (name, session) = (me.account.name.clone(), me.session);
    let (hash, began) = portal
        .db
        .run(move |connection| -> Result<_, DbError> {
            let hash = people::by_name(connection, &name)?.map(|(_, hash)| hash);
            Ok((hash.unwrap_or_default(), sessions::began(connection, session)?))
        })
        .await?;
    if hash.is_empty() {
        if now - began >= portal.config.login.pending_seconds {
            return Ok(Err(Doubt::Because(Reason::SignInAgain)));
        }
        portal.throttle.succeeded(&me.account.name, me.address);
        return Ok(Ok(()));
    }
    if !portal.hasher.verify(typed, Some(&hash)).await? {
        return Ok(Err(Doubt::Because(Reason::WrongPassword)));
    }
    portal.throttle.succeeded(&me.account.name, me.address);
    Ok(Ok(()))
}

/// The number of something of one's own.
#[derive(Debug, FromForm)]
pub struct Number {
    id: i64,
}

/// Ends one of one's sessions.
#[post("/account/sessions/revoke", data = "<form>")]
pub async fn revoke_session(me: Viewer<'_>, portal: &State<Portal>, form: Posted<Number>) -> Reply {
    let (account, id, actor, now) = (me.account.id, form.0.id, me.actor(), portal.now());
    let ended = portal.db.run(move |connection| sessions::revoke(connection, account, id, &actor, now)).await;
    finish(me, portal, ended, "session").await
}

/// Ends all one's sessions but this one.
#[post("/account/sessions/revoke-others", data = "<_form>")]
pub async fn revoke_other_sessions(me: Viewer<'_>, portal: &State<Portal>, _form: Posted<Nothing>) -> Reply {
    let (account, kept, actor, now) = (me.account.id, me.session, me.actor(), portal.now());
    portal.db.run(move |connection| sessions::revoke_others(connection, account, kept, &actor, now)).await?;
    Ok(Answer::to("/account?done=sessions"))
}

/// What a new API token is to be.
#[derive(Debug, FromForm)]
pub struct TokenWish {
    label: String,
    scope: String,
    days: i64,
}

/// Makes an API token and shows it, once.
#[post("/account/tokens", data = "<form>")]
pub async fn create_token(me: Viewer<'_>, portal: &State<Portal>, form: Posted<TokenWish>) -> Reply {
    let form = form.0;
    let scope = match Scope::parse(&form.scope) {
        Ok(scope) => scope,
        Err(reason) => return refused(me, portal, reason).await,
    };
    let new = NewToken { label: form.label, scope, days: form.days };
    let (secret, account, actor, now) = (portal.secret.clone(), me.account.id, me.actor(), portal.now());
    let most = portal.config.limits.api_tokens;
    let made =
        portal.db.run(move |connection| tokens::create(connection, &secret, account, &new, &actor, most, now)).await;
    match told(made)? {
        Ok(token) => Ok(page(me, portal, Notice { new_token: Some(token), ..Notice::default() }).await?.into()),
        Err(reason) => refused(me, portal, reason).await,
    }
}

/// Ends one of one's API tokens.
#[post("/account/tokens/revoke", data = "<form>")]
pub async fn revoke_token(me: Viewer<'_>, portal: &State<Portal>, form: Posted<Number>) -> Reply {
    let (account, id, actor, now) = (me.account.id, form.0.id, me.actor(), portal.now());
    let ended = portal.db.run(move |connection| tokens::revoke(connection, account, id, &actor, now)).await;
    finish(me, portal, ended, "token").await
}

async fn finish(me: Viewer<'_>, portal: &Portal, result: Result<(), Refused>, done: &str) -> Reply {
    match told(result)? {
        Ok(()) => Ok(Answer::to(&format!("/account?done={done}"))),
        Err(reason) => refused(me, portal, reason).await,
    }
}

pub(super) async fn throttled(me: Viewer<'_>, portal: &Portal, wait: i64) -> Reply {
    let notice = Notice { error: Some("login.throttled".to_owned()), minutes: (wait + 59) / 60, ..Notice::default() };
    let page = page(me, portal, notice).await?.with_status(Status::TooManyRequests);
    Ok(page.with_header("Retry-After", wait.to_string()).into())
}

pub(super) async fn refused(me: Viewer<'_>, portal: &Portal, reason: Reason) -> Reply {
    let notice = Notice { error: Some(reason.to_string()), ..Notice::default() };
    Ok(page(me, portal, notice).await?.with_status(Status::UnprocessableEntity).into())
}

async fn page(me: Viewer<'_>, portal: &Portal, notice: Notice) -> Result<Page, Failure> {
    let (account, limits, now) = (me.account.id, portal.config.sessions.clone(), portal.now());
    let everywhere = portal.config.limits.quota_bytes;
    let issuer = portal.provider.as_ref().map(|provider| provider.config().issuer.clone());
    let (sessions, tokens, used, quota, teams, factor, has_password, linked) = portal
        .db
        .run(move |connection| -> Result<_, DbError> {
            Ok((
                sessions::list(connection, account, &limits, now)?,
                tokens::list(connection, account, now)?,
                uploads::kept_bytes(connection, account)?,
                uploads::quota_of(connection, account, everywhere)?,
                teams::of_account(connection, account)?,
                second_factor::state(connection, account)?,
                people::has_password(connection, account)?,
                issuer.map(|issuer| identities::linked_since(connection, account, &issuer)).transpose()?.flatten(),
            ))
        })
        .await?;
    let sessions: Vec<Value> = sessions
        .into_iter()
        .map(|session| {
            json!({
                "id": session.id, "address": session.address, "agent": session.agent,
                "created_at": readable(session.created_at), "last_seen": readable(session.last_seen),
                "is_this": session.id == me.session,
            })
        })
        .collect();
    let tokens: Vec<Value> = tokens
        .into_iter()
        .map(|token| {
            json!({
                "id": token.id, "label": token.label, "scope": format!("scope.{}", token.scope),
                "created_at": readable(token.created_at), "expires_at": readable(token.expires_at),
                "last_used": token.last_used.map(readable),
            })
        })
        .collect();
    let teams: Vec<Value> = teams
        .into_iter()
        .map(|team| json!({ "name": team.name, "standing": format!("standing.{}", team.standing) }))
        .collect();
    let data = json!({
        "used": human::bytes(used), "quota": human::bytes(quota), "teams": teams,
        "done": notice.done, "error": notice.error, "minutes": notice.minutes, "new_token": notice.new_token,
        "min_characters": password::MIN_CHARACTERS, "max_days": tokens::MAX_DAYS,
        "sessions": sessions, "tokens": tokens,
        "has_password": has_password, "provider": host(portal), "linked": linked.map(readable),
        "factor": { "since": factor.since.map(readable), "taken_at": factor.taken_at.map(readable) },
    });
    Ok(Page::new(portal, &me, "account", data)?)
}
