//! The first page: what one has uploaded, and the place to upload more. And the language of all pages.

use rocket::http::{Cookie, CookieJar, SameSite};
use rocket::{FromForm, State, get, post};
use serde_json::{Value, json};

use super::render::{Answer, Failure, Page, Reply};
use super::{Language, local_path};
use crate::accounts::{Role, people, teams};
use crate::clock::readable;
use crate::database::DbError;
use crate::entries::{self, Category, Entry, Finding, State as EntryState, Whose, categories};
use crate::forms::Posted;
use crate::portal::Portal;
use crate::results::human;
use crate::uploads;
use crate::uploads::resumable::{self, Resumable};
use crate::visitor::{LANGUAGE_COOKIE, Viewer, Visitor};

/// What was done just before, for a line at the top. Other words are ignored.
const DONE: [&str; 3] = ["deleted", "taken-back", "upload-ended"];

/// Which entries are looked for.
#[derive(Clone, Debug, Default, FromForm)]
pub struct Wanted {
    /// `mine`, or the number of a team.
    whose: Option<String>,
    search: Option<String>,
    category: Option<String>,
    state: Option<String>,
    verdict: Option<String>,
    offset: Option<u32>,
    done: Option<String>,
}

/// Whose entries a text asks for; all where it is none that we know.
pub(crate) fn whose(text: &str) -> Option<Whose> {
    match text {
        "" => Some(Whose::All),
        "mine" => Some(Whose::Mine),
        team => team.parse().ok().map(Whose::Team),
    }
}

/// The entries that an account may read, newest first.
#[get("/?<wanted..>")]
pub async fn show(me: Viewer<'_>, portal: &State<Portal>, wanted: Wanted) -> Reply {
    let limits = &portal.config.limits;
    let state: Option<EntryState> = wanted.state.as_deref().and_then(|state| state.parse().ok());
    let category: Option<i64> = wanted.category.as_deref().and_then(|category| category.parse().ok());
    let verdict: Option<Finding> = wanted.verdict.as_deref().and_then(|verdict| verdict.parse().ok());
    let search = wanted.search.clone().unwrap_or_default();
    let now = portal.now();
    let (offset, account, page_rows) = (wanted.offset.unwrap_or(0), me.account.id, limits.page_rows);
    let whose = wanted.whose.as_deref().and_then(whose).unwrap_or_default();
    let query = entries::Query { whose, search: search.clone(), category, state, verdict, offset, limit: page_rows };
    let everywhere = limits.quota_bytes;
    let (page, categories, kept, quota, mine, unfinished) = portal
        .db
        .run(move |connection| -> Result<_, DbError> {
            Ok((
                entries::list(connection, account, &query)?,
                categories::list(connection)?,
                uploads::kept_bytes(connection, account)?,
                uploads::quota_of(connection, account, everywhere)?,
                teams::of_account(connection, account)?,
                resumable::unfinished(connection, account, now)?,
            ))
        })
        .await?;
    let is_searched =
        whose != Whose::All || !search.trim().is_empty() || category.is_some() || state.is_some() || verdict.is_some();
    let link = |offset: u32| {
        let mut link = format!("/?offset={offset}");
        let parts = [
            ("whose", &wanted.whose),
            ("search", &wanted.search),
            ("category", &wanted.category),
            ("state", &wanted.state),
            ("verdict", &wanted.verdict),
        ];
        for (name, value) in parts {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                link.push_str(&format!("&{name}={}", encoded(value)));
            }
        }
        link
    };
    let states: Vec<Value> = EntryState::ALL
        .into_iter()
        .map(|one| json!({ "name": one.name(), "key": format!("state.{one}"), "is_current": Some(one) == state }))
        .collect();
    let verdicts: Vec<Value> = Finding::ALL
        .into_iter()
        .map(|one| json!({ "name": one.name(), "key": finding_key(one), "is_current": Some(one) == verdict }))
        .collect();
    let teams: Vec<Value> = mine
        .iter()
        .map(|team| json!({ "id": team.id, "name": team.name, "is_current": whose == Whose::Team(team.id) }))
        .collect();
    let done =
        wanted.done.as_ref().filter(|done| DONE.contains(&done.as_str())).map(|done| format!("entry.done-{done}"));
    let shown_up_to = u64::from(offset) + page.entries.len() as u64;
    let data = json!({
        "done": done, "folder_files": limits.folder_files,
        "unfinished": unfinished.iter().map(unfinished_row).collect::<Vec<_>>(),
        "can_upload": me.account.role >= Role::Analyst,
        "limit": human::bytes(limits.upload_bytes), "limit_bytes": limits.upload_bytes,
        "used": human::bytes(kept), "quota": human::bytes(quota),
        "search": search, "is_searched": is_searched, "teams": teams, "is_mine": whose == Whose::Mine,
        "is_searched_or_filled": is_searched || !page.entries.is_empty() || offset > 0,
        "categories": choices(&categories, category, true), "states": states, "verdicts": verdicts,
        "entries": page.entries.iter().map(row).collect::<Vec<_>>(), "total": human::grouped(page.total),
        "newer": (offset > 0).then(|| link(offset.saturating_sub(page_rows))),
        "older": (shown_up_to < page.total).then(|| link(offset.saturating_add(page_rows))),
    });
    Ok(Page::new(portal, &me, "home", data)?.into())
}

/// One entry in the list.
fn row(entry: &Entry) -> Value {
    let (class, badge) = badge(entry);
    json!({
        "key": entry.key.as_str(), "name": entry.name, "note": entry.note, "class": class, "badge": badge,
        "created_at": readable(entry.created_at), "category": entry.category.clone().unwrap_or_default(),
        "size": human::bytes(entry.bytes), "owner": entry.owner, "team": entry.team.as_ref().map(|team| &team.name),
    })
}

/// An upload that can be gone on with.
fn unfinished_row(upload: &Resumable) -> Value {
    json!({
        "key": upload.key.as_str(), "name": upload.name, "length": upload.length,
        "modified": upload.modified.clone().unwrap_or_default(),
        "kept": human::bytes(upload.kept), "size": human::bytes(upload.length),
    })
}

/// The message of a finding.
fn finding_key(finding: Finding) -> &'static str {
    match finding {
        Finding::Malicious => "verdict.malicious",
        Finding::Suspicious => "verdict.suspicious",
        Finding::Nothing => "verdict.clean",
        Finding::Unclear => "verdict.unclear",
    }
}

/// The class and the message of an entry's state or verdict.
pub(super) fn badge(entry: &Entry) -> (&'static str, String) {
    match entry.finding() {
        Some(Finding::Nothing) => ("clean", finding_key(Finding::Nothing).to_owned()),
        Some(finding) => (finding.name(), finding_key(finding).to_owned()),
        None => (entry.state.name(), format!("state.{}", entry.state)),
    }
}

/// The categories to choose from, with the retired ones where they are wanted or chosen.
pub(super) fn choices(categories: &[Category], current: Option<i64>, with_retired: bool) -> Vec<Value> {
    categories
        .iter()
        .filter(|category| with_retired || !category.retired || Some(category.id) == current)
        .map(|category| json!({ "id": category.id, "name": category.name, "is_current": Some(category.id) == current }))
        .collect()
}

/// A text as a part of an address.
pub(super) fn encoded(text: &str) -> String {
    rocket::http::RawStr::new(text)
        .percent_encode()
        .as_str()
        .replace('&', "%26")
        .replace('+', "%2B")
        .replace('#', "%23")
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
