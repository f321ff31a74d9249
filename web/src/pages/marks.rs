//! What somebody said of flows: how it is shown, and as labels for training.

use rocket::http::{ContentType, Status};
use rocket::{State, get, post};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::entry::Save;
use super::language::Messages;
use super::login::Nothing;
use super::render::{Answer, Failure, Page, PageError, Reply, told};
use super::{downloads, looks, result};
use crate::clock::readable;
use crate::database::DbError;
use crate::entries::{Labels, Mark, Why, marks};
use crate::forms::Posted;
use crate::portal::Portal;
use crate::results::human;
use crate::visitor::{Analyst, Visitor};

/// How somebody knows, in a line: what they chose of the list, and their own words.
pub(super) fn words(mark: &Mark, messages: &Messages) -> String {
    let chosen = messages.get(&format!("why.{}", mark.why.name())).map_or("", String::as_str);
    match (mark.why, mark.reason.as_str()) {
        (Why::Other, own) => own.to_owned(),
        (_, "") => chosen.to_owned(),
        (_, own) => format!("{chosen}: {own}"),
    }
}

/// A mark as pages show it.
pub(super) fn shown(portal: &Portal, visitor: &Visitor, mark: &Mark) -> Result<Value, PageError> {
    let messages = portal.templates.messages(visitor.language)?;
    let say = |key: &str, values: &Value| portal.templates.message(visitor.language, key, values);
    let flow = &mark.flow;
    let values = json!({
        "n": human::grouped(mark.covers), "client": flow.client.to_string(), "server": flow.server.to_string(),
        "place": result::place(flow.server, flow.server_port), "name": flow.sni.clone().unwrap_or_default(),
    });
    let withdrawn = match &mark.withdrawn {
        Some((who, at)) => Some(say("marks.withdrawn", &json!({ "who": who, "at": readable(*at) }))?),
        None => None,
    };
    Ok(json!({
        "id": mark.id, "flow_id": flow.flow_id.to_string(),
        "mark": result::mark_key(mark.malicious), "class": if mark.malicious { "malicious" } else { "benign" },
        "words": words(mark, messages), "purpose": mark.purpose.map(|purpose| format!("for.{purpose}")),
        "scope": say(&format!("scopes.{}", mark.scope.name()), &values)?,
        "what": format!("{} → {}", result::place(flow.client, flow.client_port), result::place(flow.server, flow.server_port)),
        "who": mark.by, "at": readable(mark.at), "withdrawn": withdrawn,
    }))
}

/// What there is, what contradicts each other, and how to train with it.
#[get("/marks")]
pub async fn show(me: Analyst<'_>, portal: &State<Portal>) -> Reply {
    let account = me.account.id;
    let (count, conflicts) = looks::search(portal, account, move |connection| -> Result<_, DbError> {
        Ok((marks::count(connection, account)?, marks::conflicts(connection, account)?))
    })
    .await??;
    let most = conflicts.len() == marks::CONFLICTS_SHOWN as usize;
    let conflicts: Vec<Value> = conflicts
        .iter()
        .map(|one| {
            let link = format!("/entries/{}/flows/{}", one.key, one.flow_id);
            json!({ "link": link, "name": one.name, "n": human::grouped(one.flows) })
        })
        .collect();
    let data = json!({
        "count": human::grouped(count), "conflicts": conflicts, "most": most.then_some(marks::CONFLICTS_SHOWN),
    });
    Ok(Page::new(portal, &me, "marks", data)?.into())
}

/// Takes a mark back.
#[post("/entries/<key>/marks/<id>/withdraw", data = "<_form>")]
pub async fn withdraw(me: Analyst<'_>, portal: &State<Portal>, key: &str, id: i64, _form: Posted<Nothing>) -> Reply {
    let (account, actor, now, own) = (me.account.id, me.actor(), portal.now(), key.to_owned());
    let done = portal.db.run(move |connection| marks::withdraw(connection, account, &own, id, &actor, now)).await;
    match told(done)? {
        Ok(flow) => Ok(Answer::to(&format!("/entries/{key}/flows/{flow}?done=withdrawn"))),
        Err(_) => Err(Failure(Status::NotFound)),
    }
}

async fn labels(me: &Analyst<'_>, portal: &Portal) -> Result<Labels, Failure> {
    let account = me.account.id;
    let read = move |connection: &Connection| Ok(marks::labels::labels(connection, account)?);
    // Nothing that reads them refuses.
    downloads::whole(portal, (account, me.actor()), "marks", read).await?.map_err(|_| Failure(Status::NotFound))
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
