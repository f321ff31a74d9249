//! Signing in by the provider, there and back.
//!
//! The session's cookie is `SameSite=Strict`: a browser that comes back from the provider does not send it, and would not
//! send a new one with a redirect that follows, since another site began the journey. So the way there is kept in a cookie
//! of its own that is `SameSite=Lax`, which holds nothing but that; and the way back ends on a page of ours that goes on by
//! itself, which is a journey that we began. The way there is such a page, too: `form-action` lets no form lead elsewhere.

use rocket::http::{CookieJar, SameSite, Status};
use rocket::{FromForm, State, get, post};
use serde_json::json;

use super::account::{Doubt, it_is_me};
use super::local_path;
use super::login::{admit, begin_session};
use super::render::{Answer, Failure, Page, Reply, told};
use crate::accounts::audit::{self, Action};
use crate::accounts::pending::{self, Begun, Kind};
use crate::accounts::{Account, Actor, Reason, Refused, identities, invitations};
use crate::forms::Posted;
use crate::portal::Portal;
use crate::provider::token::Person;
use crate::provider::{Fault, Provider, Secrets};
use crate::secret::{Purpose, same};
use crate::visitor::{Viewer, Visitor};

/// Longer values are none of the provider's, nor of ours.
const MAX_VALUE: usize = 4096;
/// Longer cookies are none of ours.
const MAX_COOKIE: usize = 128;

/// Where to go on to.
#[derive(Debug, FromForm)]
pub struct Onward {
    next: String,
}

/// Begins a log-in by the provider.
#[post("/login/provider", data = "<form>")]
pub async fn log_in(visitor: &Visitor, portal: &State<Portal>, cookies: &CookieJar<'_>, form: Posted<Onward>) -> Reply {
    let begun = Begun { next: local_path(&form.0.next), ..Begun::default() };
    begin(portal, visitor, cookies, begun).await
}

/// The token of an invitation.
#[derive(Debug, FromForm)]
pub struct Invited {
    token: String,
}

/// Begins to accept an invitation by the provider.
#[post("/invitation/provider", data = "<form>")]
pub async fn accept(
    visitor: &Visitor,
    portal: &State<Portal>,
    cookies: &CookieJar<'_>,
    form: Posted<Invited>,
) -> Reply {
    provider(portal)?;
    let (secret, token, now) = (portal.secret.clone(), form.0.token, portal.now());
    let hash = secret.hash(Purpose::Invitation, &token);
    let found = portal.db.run(move |connection| invitations::find(connection, &secret, &token, now)).await;
    if told(found)?.is_err() {
        return failed(portal, visitor, Fault::Invitation);
    }
    let begun = Begun { invitation: Some(hash), next: "/".to_owned(), ..Begun::default() };
    begin(portal, visitor, cookies, begun).await
}

/// The current password, where there is one.
#[derive(Debug, FromForm)]
pub struct Current {
    current: String,
}

/// Begins to link one's account to one of the provider.
#[post("/account/provider/link", data = "<form>")]
pub async fn link(me: Viewer<'_>, portal: &State<Portal>, cookies: &CookieJar<'_>, form: Posted<Current>) -> Reply {
    provider(portal)?;
    if let Err(doubt) = it_is_me(me.into(), portal, &form.0.current).await? {
        return doubted(me, portal, doubt).await;
    }
    let begun = Begun {
        account: Some(me.account.id),
        session: Some(me.session),
        next: "/account?done=linked".to_owned(),
        ..Begun::default()
    };
    begin(portal, &me, cookies, begun).await
}

/// Takes that link away.
#[post("/account/provider/unlink", data = "<form>")]
pub async fn unlink(me: Viewer<'_>, portal: &State<Portal>, form: Posted<Current>) -> Reply {
    provider(portal)?;
    if let Err(doubt) = it_is_me(me.into(), portal, &form.0.current).await? {
        return doubted(me, portal, doubt).await;
    }
    let (account, actor, now) = (me.account.clone(), me.actor(), portal.now());
    let done = portal.db.run(move |connection| identities::unlink(connection, &account, &actor, now)).await;
    match told(done)? {
        Ok(()) => Ok(Answer::to("/account?done=unlinked")),
        Err(reason) => super::account::refused(me, portal, reason).await,
    }
}

async fn doubted(me: Viewer<'_>, portal: &Portal, doubt: Doubt) -> Reply {
    match doubt {
        Doubt::Because(reason) => super::account::refused(me, portal, reason).await,
        Doubt::Wait(wait) => super::account::throttled(me, portal, wait).await,
    }
}

fn provider(portal: &Portal) -> Result<&Provider, Failure> {
    portal.provider.as_ref().ok_or(Failure(Status::NotFound))
}

/// Sends somebody to the provider.
async fn begin(portal: &Portal, visitor: &Visitor, cookies: &CookieJar<'_>, mut begun: Begun) -> Reply {
    let (provider, now) = (provider(portal)?, portal.now());
    // Strangers must not push those out who are on their way.
    if let Err(wait) = portal.throttle.attempt_from(visitor.address, now) {
        let page = Page::new(
            portal,
            visitor,
            "error",
            json!({
                "status": 429, "title": "error.429.title", "words": null, "what": "provider-failed.throttled",
                "do": "provider-failed.throttled-do",
            }),
        )?;
        return Ok(page.with_status(Status::TooManyRequests).with_header("Retry-After", wait.to_string()).into());
    }
    begun.place = place(portal, visitor, provider);
    let (secret, place) = (portal.secret.clone(), begun.place.clone());
    let limits = (portal.config.login.pending, now + portal.config.login.pending_seconds);
    let token = portal
        .db
        .run(move |connection| pending::begin(connection, &secret, Kind::Provider, &begun, limits, now))
        .await?;
    match provider.begin(Secrets::of(&portal.secret, &token), place, now).await {
        Ok(address) => {
            let mut cookie = portal.cookie(portal.provider_cookie(), token);
            cookie.set_same_site(SameSite::Lax);
            cookies.add(cookie);
            let data = json!({ "onward": address, "host": provider.host(), "title": "provider.going" });
            Ok(Page::new(portal, visitor, "provider", data)?.into())
        }
        Err(fault) => failed(portal, visitor, fault),
    }
}

/// The address that the provider sends back to.
fn place(portal: &Portal, visitor: &Visitor, provider: &Provider) -> String {
    let scheme = if portal.config.is_https() { "https" } else { "http" };
    let called = || format!("{scheme}://{}", visitor.host.as_deref().unwrap_or_default());
    format!("{}/login/return", provider.config().portal.clone().unwrap_or_else(called))
}

/// Where the provider sends people back to.
#[get("/login/return?<code>&<state>&<error>&<iss>")]
pub async fn come_back(
    visitor: &Visitor,
    portal: &State<Portal>,
    cookies: &CookieJar<'_>,
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
    iss: Option<String>,
) -> Reply {
    let provider = provider(portal)?;
    match finish(visitor, portal, provider, cookies, (code, state, error, iss)).await? {
        Ok((next, session)) => {
            // The forms of this page are of the session that has just begun, where one has.
            let csrf = session.map_or_else(|| visitor.form_token.clone(), |token| portal.secret.form_token(&token));
            let data = json!({ "onward": next, "host": null, "title": "provider.back", "csrf": csrf });
            Ok(Page::new(portal, visitor, "provider", data)?.into())
        }
        Err(fault) => {
            let (actor, now) = (Actor { name: None, ..visitor.actor() }, portal.now());
            // What belongs to no log-in of ours is anybody's, and fills no log.
            if fault != Fault::State {
                portal
                    .db
                    .run(move |connection| {
                        audit::record(connection, &actor, Action::ProviderFailed, Some(&fault.to_string()), now)
                    })
                    .await?;
            }
            failed(portal, visitor, fault)
        }
    }
}

/// What comes back: code, state, error and issuer (RFC 6749, 4.1.2; RFC 9207).
type Back = (Option<String>, Option<String>, Option<String>, Option<String>);

/// Ends a log-in by the provider: where to go on to, and the token of the session that began.
async fn finish(
    visitor: &Visitor,
    portal: &Portal,
    provider: &Provider,
    cookies: &CookieJar<'_>,
    (code, state, error, iss): Back,
) -> Result<Result<(String, Option<String>), Fault>, Failure> {
    let now = portal.now();
    let cookie = cookies.get(portal.provider_cookie()).map(|cookie| cookie.value().to_owned());
    let Some(token) = cookie.filter(|token| token.len() <= MAX_COOKIE) else { return Ok(Err(Fault::State)) };
    let secrets = Secrets::of(&portal.secret, &token);
    // Before anything is taken: another site cannot end what was begun here.
    if !state.is_some_and(|state| same(state.as_bytes(), secrets.state.as_bytes())) {
        return Ok(Err(Fault::State));
    }
    let secret = portal.secret.clone();
    let taken =
        portal.db.run(move |connection| pending::take(connection, &secret, Kind::Provider, &token, now)).await?;
    portal.take_back_provider(cookies);
    let Some(begun) = taken else { return Ok(Err(Fault::State)) };
    if iss.is_some_and(|iss| iss != provider.config().issuer) {
        return Ok(Err(Fault::Answer));
    }
    let Some(code) = code.filter(|code| error.is_none() && !code.is_empty() && code.len() <= MAX_VALUE) else {
        return Ok(Err(Fault::Denied));
    };
    match provider.finish(code, secrets, begun.place.clone(), now).await {
        Ok(person) => {
            let arrived = arrive(visitor, portal, provider, cookies, begun, person).await?;
            if arrived.is_ok() {
                portal.throttle.succeeded_from(visitor.address);
            }
            Ok(arrived)
        }
        Err(fault) => Ok(Err(fault)),
    }
}

/// What becomes of somebody whom the provider has vouched for.
async fn arrive(
    visitor: &Visitor,
    portal: &Portal,
    provider: &Provider,
    cookies: &CookieJar<'_>,
    begun: Begun,
    person: Person,
) -> Result<Result<(String, Option<String>), Fault>, Failure> {
    let (address, now) = (visitor.address.to_string(), portal.now());
    if let (Some(account), Some(session)) = (begun.account, begun.session) {
        let linked = portal
            .db
            .run(move |connection| identities::link(connection, account, session, &person, &address, now))
            .await;
        return Ok(match told(linked)? {
            Ok(()) => Ok((begun.next, None)),
            Err(Reason::IdentityTaken) => Err(Fault::Taken),
            Err(_) => Err(Fault::State),
        });
    }
    if let Some(invitation) = begun.invitation {
        let made =
            portal.db.run(move |connection| identities::accept(connection, &invitation, &person, &address, now)).await;
        return match told(made)? {
            Ok(account) => new_session(visitor, portal, cookies, &account, begun.next).await,
            Err(Reason::IdentityTaken) => Ok(Err(Fault::Taken)),
            Err(_) => Ok(Err(Fault::Invitation)),
        };
    }
    let creates = provider.config().create_accounts;
    let found = portal
        .db
        .run(move |connection| -> Result<Result<(Account, bool), Fault>, Refused> {
            if let Some(account) = identities::account_of(connection, &person)? {
                // Whoever is shut out is told no more than somebody unknown.
                return Ok(if account.disabled { Err(Fault::Unknown) } else { Ok((account, false)) });
            }
            match person.role {
                _ if !creates => Ok(Err(Fault::Unknown)),
                None => Ok(Err(Fault::NoRole)),
                Some(role) => Ok(Ok((identities::create(connection, &person, role, &address, now)?, true))),
            }
        })
        .await;
    match told(found)? {
        Ok(Ok((account, true))) => new_session(visitor, portal, cookies, &account, begun.next).await,
        Ok(Ok((account, false))) => Ok(Ok(admit(portal, visitor, cookies, &account, begun.next).await?)),
        Ok(Err(fault)) => Ok(Err(fault)),
        // Somebody with the same account of the provider's came at the same moment.
        Err(_) => Ok(Err(Fault::Taken)),
    }
}

async fn new_session(
    visitor: &Visitor,
    portal: &Portal,
    cookies: &CookieJar<'_>,
    account: &Account,
    next: String,
) -> Result<Result<(String, Option<String>), Fault>, Failure> {
    let token = begin_session(portal, visitor, cookies, account.id, &account.name).await?;
    Ok(Ok((next, Some(token))))
}

/// The page that says why somebody was not signed in, and what to do.
fn failed(portal: &Portal, visitor: &Visitor, fault: Fault) -> Reply {
    let status = match fault {
        Fault::State => Status::BadRequest,
        Fault::Unreachable | Fault::Answer => Status::BadGateway,
        Fault::Invitation => Status::NotFound,
        Fault::Denied | Fault::Unknown | Fault::NoRole | Fault::Taken => Status::Forbidden,
    };
    let data = json!({
        "status": status.code, "title": "provider-failed.title", "words": null,
        "what": format!("provider-failed.{fault}"), "do": format!("provider-failed.{fault}-do"),
    });
    Ok(Page::new(portal, visitor, "error", data)?.with_status(status).into())
}
