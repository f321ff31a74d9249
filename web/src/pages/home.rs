//! The first page: what one has uploaded. And the language of all pages.

use rocket::http::{Cookie, CookieJar, SameSite};
use rocket::{FromForm, State, get, post};
use serde_json::json;

use super::render::{Answer, Failure, Page, Reply};
use super::{Language, local_path};
use crate::accounts::people;
use crate::forms::Posted;
use crate::portal::Portal;
use crate::visitor::{LANGUAGE_COOKIE, Viewer, Visitor};

/// The entries of an account. There are none: captures cannot be uploaded yet.
#[get("/")]
pub async fn show(me: Viewer<'_>, portal: &State<Portal>) -> Reply {
    Ok(Page::new(portal, &me, "home", json!({ "entries": [] }))?.into())
}

/// A choice of language.
#[derive(Debug, FromForm)]
pub struct Choice {
    language: String,
    next: String,
}

/// Sets the language: of the account, and of this browser for the time before the log-in.
#[post("/language", data = "<form>")]
pub async fn set_language(
    visitor: &Visitor,
    portal: &State<Portal>,
    cookies: &CookieJar<'_>,
    form: Posted<Choice>,
) -> Reply {
    let Some(language) = Language::from_code(&form.0.language) else {
        return Err(Failure(rocket::http::Status::UnprocessableEntity));
    };
    if let Some(account) = &visitor.account {
        let id = account.id;
        portal.db.run(move |connection| people::set_language(connection, id, language.code())).await?;
    }
    let cookie = Cookie::build((LANGUAGE_COOKIE, language.code()))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(portal.config.is_https())
        .permanent();
    cookies.add(cookie);
    Ok(Answer::to(&local_path(&form.0.next)))
}
