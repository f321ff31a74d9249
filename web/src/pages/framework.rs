//! Where analysts find what analyses are made of.

use rocket::{State, get};
use serde_json::{Value, json};

use super::render::{Page, Reply};
use crate::portal::Portal;
use crate::visitor::Analyst;

/// The pages, by their address; the messages `<name>.title` and `framework.<name>` say what they are for.
const PAGES: [&str; 5] = ["pipelines", "plugins", "models", "training", "tables"];

/// The list.
#[get("/framework")]
pub async fn show(me: Analyst<'_>, portal: &State<Portal>) -> Reply {
    let pages: Vec<Value> = PAGES
        .iter()
        .map(|name| json!({ "path": format!("/{name}"), "title": format!("{name}.title"), "words": format!("framework.{name}") }))
        .collect();
    Ok(Page::new(portal, &me, "framework", json!({ "pages": pages }))?.into())
}
