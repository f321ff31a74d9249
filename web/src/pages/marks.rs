//! What somebody said of flows, as labels for training.

use rocket::http::ContentType;
use rocket::{State, get};
use serde_json::json;

use super::entry::Save;
use super::render::{Failure, Page, Reply, told};
use crate::entries::{self, Labels, marks};
use crate::portal::Portal;
use crate::results::human;
use crate::visitor::Analyst;

/// What there is, and how to train with it.
#[get("/marks")]
pub async fn show(me: Analyst<'_>, portal: &State<Portal>) -> Reply {
    let account = me.account.id;
    let count = portal.db.run(move |connection| marks::count(connection, account)).await?;
    Ok(Page::new(portal, &me, "marks", json!({ "count": human::grouped(count) }))?.into())
}

async fn labels(me: &Analyst<'_>, portal: &Portal) -> Result<Labels, Failure> {
    let (account, actor, now) = (me.account.id, me.actor(), portal.now());
    let labels = portal.db.run(move |connection| entries::export(connection, account, &actor, now)).await;
    told(labels)?.map_err(|_| Failure(rocket::http::Status::UnprocessableEntity))
}

/// The table of captures.
#[get("/marks/captures.csv")]
pub async fn captures(me: Analyst<'_>, portal: &State<Portal>) -> Result<Save<String>, Failure> {
    let labels = labels(&me, portal).await?;
    Ok(Save::new(labels.captures_csv().to_owned(), ContentType::CSV, "captures.csv"))
}

/// The table of flows.
#[get("/marks/flows.csv")]
pub async fn flows(me: Analyst<'_>, portal: &State<Portal>) -> Result<Save<String>, Failure> {
    let labels = labels(&me, portal).await?;
    Ok(Save::new(labels.flows_csv().to_owned(), ContentType::CSV, "flows.csv"))
}
