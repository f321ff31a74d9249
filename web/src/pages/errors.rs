//! What is wrong and what to do: a page for people, a problem document (RFC 9457) for programs.

use std::borrow::Cow;

use rocket::http::{Accept, ContentType, MediaType, Status};
use rocket::outcome::Outcome;
use rocket::request::FromRequest;
use rocket::response::{Redirect, Responder};
use rocket::{Catcher, Request, catch, catchers};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::render::{Answer, Failure, Page};
use crate::accounts::Reason;
use crate::portal::Portal;
use crate::visitor::Visitor;

/// The message that says more than the status does, where a guard left one.
#[derive(Clone, Copy, Debug)]
pub struct Detail(pub Option<&'static str>);

/// Statuses with words of their own; all others share some.
const KNOWN: [u16; 9] = [403, 404, 413, 415, 422, 429, 500, 503, 507];

/// The catchers of the pages.
pub fn page_catchers() -> Vec<Catcher> {
    catchers![log_in_first, page]
}

/// The catchers of the API.
pub fn api_catchers() -> Vec<Catcher> {
    catchers![problem]
}

/// A stranger is sent to the log-in, and from there back to where they wanted to go.
#[catch(401)]
async fn log_in_first(request: &Request<'_>) -> Result<Redirect, (Status, (ContentType, String))> {
    let visitor = <&Visitor>::from_request(request).await.succeeded();
    if wants_json(request)
        && let Some(portal) = request.rocket().state::<Portal>()
        && let Some(visitor) = visitor
        && let Ok(words) = portal.templates.message(visitor.language, "upload.log-in-again", &json!({}))
    {
        return Err(for_script(Status::Unauthorized, &words));
    }
    if visitor.is_some_and(|visitor| visitor.must_set_up) {
        return Ok(Redirect::to(rocket::uri!(super::second_factor::show)));
    }
    let next = match request.method() {
        rocket::http::Method::Get => super::local_path(&request.uri().to_string()),
        _ => "/".to_owned(),
    };
    // What a form held is gone, which whoever wrote it must hear. In these two nobody writes anything.
    let says_nothing = ["/logout", "/language"].contains(&request.uri().path().as_str());
    let lost = (request.method() != rocket::http::Method::Get && !says_nothing).then_some(true);
    Ok(Redirect::to(rocket::uri!(super::login::show(next = Some(next), lost = lost))))
}

/// Whether the script of a page asks, which cannot show a page.
pub(super) fn wants_json(request: &Request<'_>) -> bool {
    request.accept().map(Accept::preferred).is_some_and(|kind| kind.media_type() == &MediaType::JSON)
}

fn for_script(status: Status, words: &str) -> (Status, (ContentType, String)) {
    (status, (ContentType::JSON, json!({ "detail": words }).to_string()))
}

#[catch(default)]
async fn page(status: Status, request: &Request<'_>) -> Result<Answer, (Status, (ContentType, String))> {
    let plain = || (status, (ContentType::Plain, format!("{status}\n")));
    let portal = request.rocket().state::<Portal>().ok_or_else(plain)?;
    // Without a database there is no visitor; then a plain line is all there is to say.
    let Outcome::Success(visitor) = <&Visitor>::from_request(request).await else { return Err(plain()) };
    let kind = match status.code {
        code if KNOWN.contains(&code) => code.to_string(),
        code if code < 500 => "other".to_owned(),
        _ => "500".to_owned(),
    };
    let detail = request.local_cache(|| Detail(None)).0;
    let data = json!({
        "status": status.code,
        "words": null,
        "title": format!("error.{kind}.title"),
        "what": detail.map_or_else(|| format!("error.{kind}.what"), |detail| format!("{detail}.what")),
        "do": detail.map_or_else(|| format!("error.{kind}.do"), |detail| format!("{detail}.do")),
    });
    if wants_json(request) {
        let say = |key: &str| {
            let key = data.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
            portal.templates.message(visitor.language, key, &json!({})).unwrap_or_default()
        };
        return Err(for_script(status, &format!("{} {}", say("what"), say("do"))));
    }
    match Page::new(portal, visitor, "error", data) {
        Ok(page) => Ok(page.with_status(status).into()),
        Err(error) => {
            tracing::error!(%error, "no error page");
            Err(plain())
        }
    }
}

/// The page that says why something was not done, where there is no form to say it above.
///
/// # Errors
/// Where the page cannot be made.
pub fn refusal(portal: &Portal, visitor: &Visitor, reason: Reason) -> Result<Page, Failure> {
    told_page(portal, visitor, &portal.templates.message(visitor.language, &reason.to_string(), &json!({}))?)
}

/// The page that says these words.
///
/// # Errors
/// Where the page cannot be made.
pub fn told_page(portal: &Portal, visitor: &Visitor, words: &str) -> Result<Page, Failure> {
    told_with(portal, visitor, Status::UnprocessableEntity, words)
}

/// The same with another status, of those that have a title.
///
/// # Errors
/// Where the page cannot be made.
pub fn told_with(portal: &Portal, visitor: &Visitor, status: Status, words: &str) -> Result<Page, Failure> {
    let title = format!("error.{}.title", status.code);
    let data = json!({ "status": status.code, "title": title, "words": words, "what": null, "do": null });
    Ok(Page::new(portal, visitor, "error", data)?.with_status(status))
}

/// An answer for programs that says what is wrong.
#[derive(Debug)]
pub struct Problem {
    /// The status.
    pub status: Status,
    /// What is wrong here, in a sentence or two.
    pub detail: Cow<'static, str>,
}

/// A problem document as programs get it (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemDocument {
    /// Always `about:blank`: the status says what kind of problem it is.
    r#type: &'static str,
    /// The name of the status.
    title: &'static str,
    /// The status.
    status: u16,
    /// What is wrong here, in a sentence or two.
    detail: String,
}

impl Problem {
    /// A problem.
    pub fn new(status: Status, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into() }
    }
}

impl From<Status> for Problem {
    /// A problem that the status says enough of.
    fn from(status: Status) -> Self {
        let detail = match status.code {
            401 => "An API token is needed: send `Authorization: Bearer` with one that has not ended.",
            403 => {
                "The account's role, its standing in the entry's team or the scope of its token does not allow this, or \
                 the account lacks the second factor that it must have here: set it up on the page Account."
            }
            404 => "There is nothing at this address.",
            429 => "As much of this is under way for this account as may be: ask again when it is done.",
            503 => "It took too long: ask for less, or ask again later.",
            507 => "There is no room left on the disk of the portal.",
            code if code < 500 => "The request was not understood.",
            _ => "Something broke on this side; the portal's log says what.",
        };
        Self::new(status, detail)
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        failure.0.into()
    }
}

impl<'r> Responder<'r, 'static> for Problem {
    fn respond_to(self, request: &'r Request<'_>) -> rocket::response::Result<'static> {
        let body = json!(ProblemDocument {
            r#type: "about:blank",
            title: self.status.reason_lossy(),
            status: self.status.code,
            detail: self.detail.into_owned(),
        });
        let kind = ContentType::new("application", "problem+json");
        let mut response = (self.status, (kind, body.to_string())).respond_to(request)?;
        if self.status == Status::Unauthorized {
            response.set_raw_header("WWW-Authenticate", "Bearer");
        }
        Ok(response)
    }
}

/// The words that say more than the status does, where a guard of the API left some.
#[derive(Debug)]
pub struct Words(pub Option<String>);

#[catch(default)]
fn problem(status: Status, request: &Request<'_>) -> Problem {
    match &request.local_cache(|| Words(None)).0 {
        Some(words) => Problem::new(status, words.clone()),
        None => status.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::Language;
    use crate::pages::render::Templates;

    #[test]
    fn what_a_program_can_do_something_about_has_words_of_its_own() {
        let told = |code: u16| Problem::from(Status::new(code)).detail;
        let of_all_others = [told(400), told(500)];
        for code in [401, 403, 404, 429, 503, 507] {
            assert!(!of_all_others.contains(&told(code)), "{code}: {}", told(code));
        }
        assert!(told(429).contains("ask again when it is done") && told(503).contains("ask for less"));
    }

    #[test]
    fn pages_of_errors_have_words_in_every_language() {
        let templates = Templates::embedded().unwrap();
        for kind in KNOWN.map(|code| code.to_string()).into_iter().chain(["other".to_owned()]) {
            for part in ["title", "what", "do"] {
                let key = format!("error.{kind}.{part}");
                for language in Language::ALL {
                    assert!(templates.message(language, &key, &json!({})).is_ok(), "{key} in {language:?}");
                }
            }
        }
    }
}
