//! A new account from a one-time link.

use rocket::http::{CookieJar, Status};
use rocket::{State, get, post};
use serde_json::json;

use super::login::{begin_session, host};
use super::render::{Answer, Page, Reply, told};
use super::setup::NewPerson;
use crate::accounts::{Reason, invitations, password};
use crate::forms::Posted;
use crate::pages::Failure;
use crate::portal::Portal;
use crate::visitor::Visitor;

/// The form for a new account, or the news that the link has ended.
#[get("/invitation?<token>")]
pub async fn show(visitor: &Visitor, portal: &State<Portal>, token: Option<String>) -> Reply {
    let token = token.unwrap_or_default();
    let status = if waits(portal, &token).await? { Status::Ok } else { Status::NotFound };
    let page = page(portal, visitor, &token, "", "", status == Status::Ok, None)?;
    Ok(page.with_status(status).into())
}

/// Makes the account and logs it in.
#[post("/invitation", data = "<form>")]
pub async fn accept(
    visitor: &Visitor,
    portal: &State<Portal>,
    cookies: &CookieJar<'_>,
    form: Posted<NewPerson>,
) -> Reply {
    let form = form.0;
    let refused = |reason, status| -> Reply {
        let waits = reason != Reason::NotThere;
        let page = page(portal, visitor, &form.token, &form.name, &form.display_name, waits, Some(reason))?;
        Ok(page.with_status(status).into())
    };
    if !waits(portal, &form.token).await? {
        return refused(Reason::NotThere, Status::NotFound);
    }
    let new = match form.checked(portal).await? {
        Ok(new) => new,
        Err(reason) => return refused(reason, Status::UnprocessableEntity),
    };
    let (secret, token, actor, now) = (portal.secret.clone(), form.token.clone(), visitor.actor(), portal.now());
    let name = new.name.clone();
    let made =
        portal.db.run(move |connection| invitations::accept(connection, &secret, &token, &new, &actor, now)).await;
    match told(made)? {
        Ok(id) => {
            begin_session(portal, visitor, cookies, id, &name).await?;
            Ok(Answer::to("/"))
        }
        Err(Reason::NotThere) => refused(Reason::NotThere, Status::NotFound),
        Err(reason) => refused(reason, Status::UnprocessableEntity),
    }
}

async fn waits(portal: &Portal, token: &str) -> Result<bool, Failure> {
    let (secret, token, now) = (portal.secret.clone(), token.to_owned(), portal.now());
    let found = portal.db.run(move |connection| invitations::find(connection, &secret, &token, now)).await;
    Ok(told(found)?.is_ok())
}

fn page(
    portal: &Portal,
    visitor: &Visitor,
    token: &str,
    name: &str,
    display_name: &str,
    waits: bool,
    error: Option<Reason>,
) -> Result<Page, Failure> {
    let data = json!({
        "token": token, "name": name, "display_name": display_name, "waits": waits,
        "error": error.filter(|_| waits).map(|reason| reason.to_string()),
        "min_characters": password::MIN_CHARACTERS, "provider": host(portal),
    });
    Ok(Page::new(portal, visitor, "invitation", data)?)
}
