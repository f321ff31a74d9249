//! The audit log, for administrators.

use rocket::http::{ContentType, Header};
use rocket::response::stream::ByteStream;
use rocket::{Responder, State, get};
use serde_json::{Value, json};

use super::Failure;
use super::render::{Page, Reply};
use crate::accounts::audit::{self, Action};
use crate::clock::readable;
use crate::portal::Portal;
use crate::visitor::Administrator;

/// Lines on one page.
const LINES: u32 = 100;
/// Lines that an export reads at once: it never holds more, however long the log is.
const PIECE: u32 = 500;

/// The newest lines, or those before one.
#[get("/audit?<before>")]
pub async fn show(me: Administrator<'_>, portal: &State<Portal>, before: Option<i64>) -> Reply {
    let before = before.unwrap_or(i64::MAX);
    let lines = portal.db.run(move |connection| audit::newest(connection, before, LINES)).await?;
    let older = lines.last().filter(|line| line.id > 1).map(|line| line.id);
    let lines: Vec<Value> = lines
        .into_iter()
        .map(|line| {
            json!({
                "at": readable(line.at), "actor": line.actor, "action": format!("action.{}", line.action),
                "subject": line.subject, "address": line.address,
            })
        })
        .collect();
    Ok(Page::new(portal, &me, "audit", json!({ "lines": lines, "older": older }))?.into())
}

/// A stream of JSON Lines to save.
#[derive(Responder)]
pub struct Export<B> {
    body: B,
    kind: ContentType,
    disposition: Header<'static>,
}

/// The whole log, oldest line first.
#[get("/audit/export")]
pub async fn export(
    me: Administrator<'_>,
    portal: &State<Portal>,
) -> Result<Export<ByteStream<impl rocket::futures::Stream<Item = Vec<u8>> + use<>>>, Failure> {
    let (actor, now) = (me.actor(), portal.now());
    portal.db.run(move |connection| audit::record(connection, &actor, Action::AuditExported, None, now)).await?;
    let db = portal.db.clone();
    let body = ByteStream! {
        let mut last = 0;
        loop {
            let lines = match db.run(move |connection| audit::after(connection, last, PIECE)).await {
                Ok(lines) => lines,
                Err(error) => {
                    tracing::error!(%error, "an export broke off");
                    break;
                }
            };
            let Some(newest) = lines.last() else { break };
            last = newest.id;
            let mut piece = Vec::new();
            for line in &lines {
                // A line of ours is always JSON.
                if serde_json::to_writer(&mut piece, line).is_ok() {
                    piece.push(b'\n');
                }
            }
            yield piece;
        }
    };
    Ok(Export {
        body,
        kind: ContentType::new("application", "jsonl"),
        disposition: Header::new("Content-Disposition", "attachment; filename=\"veilwatch-audit.jsonl\""),
    })
}
