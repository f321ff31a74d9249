//! Where administrators find what is theirs.

use rocket::{State, get};
use serde_json::{Value, json};

use super::render::{Page, Reply};
use crate::portal::Portal;
use crate::visitor::Administrator;

/// The pages, by their address; the messages `<name>.title` and `administration.<name>` say what they are for.
const PAGES: [&str; 8] = ["people", "teams", "categories", "live", "retention", "webhooks", "audit", "system"];

/// The list.
#[get("/administration")]
pub async fn show(me: Administrator<'_>, portal: &State<Portal>) -> Reply {
    let pages: Vec<Value> = PAGES
        .iter()
        .map(|name| json!({ "path": format!("/{name}"), "title": format!("{name}.title"), "words": format!("administration.{name}") }))
        .collect();
    Ok(Page::new(portal, &me, "administration", json!({ "pages": pages }))?.into())
}
