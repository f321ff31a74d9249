//! One's own second factor: set up, recovery codes, switched off.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rocket::http::{CookieJar, Status};
use rocket::{FromForm, State, get, post};
use serde_json::{Value, json};

use super::account::{Doubt, it_is_me};
use super::login::{Nothing, begin_session, code_attempts};
use super::render::{Answer, Failure, Page, Reply, told};
use crate::accounts::second_factor::{self, FEW_CODES, SECRET_BYTES};
use crate::accounts::{Reason, people};
use crate::clock::readable;
use crate::database::DbError;
use crate::forms::Posted;
use crate::portal::Portal;
use crate::visitor::LoggedIn;

/// The page: what there is, and what can be done with it.
#[get("/account/second-factor")]
pub async fn show(me: LoggedIn<'_>, portal: &State<Portal>) -> Reply {
    Ok(page(me, portal, json!({})).await?.into())
}

/// The current password, where there is one.
#[derive(Debug, FromForm)]
pub struct Current {
    current: String,
}

/// Shows a new secret, as a picture and as text. It is kept nowhere until a code has shown that a device has it.
#[post("/account/second-factor", data = "<form>")]
pub async fn begin(me: LoggedIn<'_>, portal: &State<Portal>, form: Posted<Current>) -> Reply {
    if let Err(doubt) = it_is_me(me, portal, &form.0.current).await? {
        return doubted(me, portal, doubt).await;
    }
    let id = me.account.id;
    if portal.db.run(move |connection| second_factor::is_set(connection, id)).await? {
        return refused(me, portal, Reason::FactorThere).await;
    }
    let key = second_factor::new_key().map_err(DbError::from)?;
    let until = portal.now() + portal.config.login.pending_seconds;
    let sealed = portal.secret.seal(&context(me, until), &key).map_err(DbError::from)?;
    let sealed = format!("{until}.{}", URL_SAFE_NO_PAD.encode(sealed));
    Ok(offer(me, portal, &key, &sealed, None).await?.into())
}

/// What the form with the picture carries: the secret that it shows, sealed, and the first code.
#[derive(Debug, FromForm)]
pub struct FirstCode {
    sealed: String,
    code: String,
}

/// Sets the second factor up, and shows its recovery codes, once. All sessions end; this browser gets a new one.
#[post("/account/second-factor/confirm", data = "<form>")]
pub async fn confirm(
    me: LoggedIn<'_>,
    portal: &State<Portal>,
    cookies: &CookieJar<'_>,
    form: Posted<FirstCode>,
) -> Reply {
    let (FirstCode { sealed, code }, now) = (form.0, portal.now());
    let Some(key) = opened(me, portal, &sealed) else {
        return refused(me, portal, Reason::FactorOld).await;
    };
    if let Err(wait) = portal.throttle.attempt(&code_attempts(&me.account.name), me.address, now) {
        return doubted(me, portal, Doubt::Wait(wait)).await;
    }
    let (secret, account, actor) = (portal.secret.clone(), me.account.clone(), me.actor());
    let set = portal
        .db
        .run(move |connection| second_factor::set_up(connection, &secret, &account, &key, &code, &actor, now))
        .await;
    match told(set)? {
        Ok(codes) => {
            portal.throttle.succeeded(&code_attempts(&me.account.name), me.address);
            let token = begin_session(portal, &me, cookies, me.account.id, &me.account.name).await?;
            // The forms of this page are of the new session already.
            let data =
                json!({ "codes": codes, "csrf": portal.secret.form_token(&token), "done": "second-factor.done-set" });
            Ok(page(me, portal, data).await?.into())
        }
        Err(Reason::Code) => {
            let page = offer(me, portal, &key, &sealed, Some(Reason::Code)).await?;
            Ok(page.with_status(Status::UnprocessableEntity).into())
        }
        Err(reason) => refused(me, portal, reason).await,
    }
}

/// Makes recovery codes anew, and shows them, once.
#[post("/account/second-factor/codes", data = "<form>")]
pub async fn renew(me: LoggedIn<'_>, portal: &State<Portal>, form: Posted<Current>) -> Reply {
    if let Err(doubt) = it_is_me(me, portal, &form.0.current).await? {
        return doubted(me, portal, doubt).await;
    }
    let (secret, account, actor, now) = (portal.secret.clone(), me.account.clone(), me.actor(), portal.now());
    let made =
        portal.db.run(move |connection| second_factor::new_codes(connection, &secret, &account, &actor, now)).await;
    match told(made)? {
        Ok(codes) => {
            let data = json!({ "codes": codes, "done": "second-factor.done-renewed" });
            Ok(page(me, portal, data).await?.into())
        }
        Err(reason) => refused(me, portal, reason).await,
    }
}

/// The current password, where there is one, and a code.
#[derive(Debug, FromForm)]
pub struct Both {
    current: String,
    code: String,
}

/// Switches the second factor off.
#[post("/account/second-factor/off", data = "<form>")]
pub async fn switch_off(me: LoggedIn<'_>, portal: &State<Portal>, form: Posted<Both>) -> Reply {
    let (Both { current, code }, now) = (form.0, portal.now());
    if let Err(doubt) = it_is_me(me, portal, &current).await? {
        return doubted(me, portal, doubt).await;
    }
    let counted = code_attempts(&me.account.name);
    if let Err(wait) = portal.throttle.attempt(&counted, me.address, now) {
        return doubted(me, portal, Doubt::Wait(wait)).await;
    }
    let (secret, account, actor) = (portal.secret.clone(), me.account.clone(), me.actor());
    let off = portal
        .db
        .run(move |connection| second_factor::switch_off(connection, &secret, &account, &code, &actor, now))
        .await;
    match told(off)? {
        Ok(()) => {
            portal.throttle.succeeded(&counted, me.address);
            Ok(page(me, portal, json!({ "done": "second-factor.done-off" })).await?.into())
        }
        Err(reason) => refused(me, portal, reason).await,
    }
}

/// The owner knows that an administrator took the second factor away.
#[post("/account/second-factor/seen", data = "<_form>")]
pub async fn seen(me: LoggedIn<'_>, portal: &State<Portal>, _form: Posted<Nothing>) -> Reply {
    let id = me.account.id;
    portal.db.run(move |connection| second_factor::has_seen(connection, id)).await?;
    Ok(Answer::to("/account"))
}

/// What a sealed secret is for: this session, until that time.
fn context(me: LoggedIn<'_>, until: i64) -> String {
    format!("second factor to be of {} in session {} until {until}", me.account.id, me.session)
}

/// The secret that a form carries, if it was made for this session, a short while ago.
fn opened(me: LoggedIn<'_>, portal: &Portal, text: &str) -> Option<[u8; SECRET_BYTES]> {
    let (until, sealed) = text.split_once('.')?;
    let until: i64 = until.parse().ok()?;
    let key = portal.secret.open(&context(me, until), &URL_SAFE_NO_PAD.decode(sealed).ok()?)?;
    if portal.now() < until { key.try_into().ok() } else { None }
}

/// The page with a secret that is to be confirmed.
async fn offer(
    me: LoggedIn<'_>,
    portal: &Portal,
    key: &[u8; SECRET_BYTES],
    sealed: &str,
    error: Option<Reason>,
) -> Result<Page, Failure> {
    let data = json!({
        "picture": second_factor::picture(&me.account.name, key)?, "key": second_factor::key_text(key),
        "sealed": sealed, "error": error.map(|reason| reason.to_string()),
    });
    page(me, portal, data).await
}

async fn doubted(me: LoggedIn<'_>, portal: &Portal, doubt: Doubt) -> Reply {
    match doubt {
        Doubt::Because(reason) => refused(me, portal, reason).await,
        Doubt::Wait(wait) => {
            let data = json!({ "error": "login.throttled", "minutes": (wait + 59) / 60 });
            let page = page(me, portal, data).await?.with_status(Status::TooManyRequests);
            Ok(page.with_header("Retry-After", wait.to_string()).into())
        }
    }
}

async fn refused(me: LoggedIn<'_>, portal: &Portal, reason: Reason) -> Reply {
    Ok(page(me, portal, json!({ "error": reason.to_string() })).await?.with_status(Status::UnprocessableEntity).into())
}

async fn page(me: LoggedIn<'_>, portal: &Portal, mut data: Value) -> Result<Page, Failure> {
    let id = me.account.id;
    let (state, has_password) = portal
        .db
        .run(move |connection| -> Result<_, DbError> {
            Ok((second_factor::state(connection, id)?, people::has_password(connection, id)?))
        })
        .await?;
    let always = json!({
        "done": null, "error": null, "minutes": 0, "codes": null, "picture": null,
        "since": state.since.map(readable), "codes_left": state.codes_left, "few": state.codes_left <= FEW_CODES,
        "has_password": has_password, "must": me.must_set_up,
    });
    if let (Some(data), Value::Object(always)) = (data.as_object_mut(), always) {
        for (key, value) in always {
            data.entry(key).or_insert(value);
        }
    }
    Ok(Page::new(portal, &me, "second-factor", data)?)
}
