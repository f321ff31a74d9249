//! What was found: one sentence, the computers by risk, the alerts, pictures, and what was not looked at.

use std::collections::{BTreeMap, HashMap};

use rocket::http::{ContentType, Status};
use rocket::tokio::task;
use rocket::{State, get};
use serde_json::{Value, json};

use super::render::{Failure, Page, Reply};
use super::{conversation, entry, home, looks};
use crate::database::DbError;
use crate::entries::{self, Category, Entry, FlowMarks, State as EntryState, marks};
use crate::portal::Portal;
use crate::results::pictures::{Ink, PictureKind, picture};
use crate::results::read::category_message;
use crate::results::sentence::{Counts, beside, sentence, warnings};
use crate::results::{
    AlertRow, FlowRow, Histograms, HostRow, NearestThreshold, Question, ResultError, ResultFile, ResultSummary, human,
};
use crate::triage::queue;
use crate::uploads::Key;
use crate::visitor::Viewer;

/// Computers on the result page.
const HOSTS: u32 = 20;
/// Alerts that are looked at for the result page.
const ALERTS: u32 = 1000;
/// Marks on it.
const MARKS: usize = 100;
/// Flows on it that are worth a word.
const NEXT: usize = 10;
/// Groups of alerts on it: those of one computer and one server stand together.
const GROUPS: usize = 30;

/// Looks into the result of an entry that is done, on a thread that may block.
pub(crate) async fn look<T: Send + 'static>(
    portal: &Portal,
    entry: &Entry,
    work: impl FnOnce(&ResultFile) -> Result<T, ResultError> + Send + 'static,
) -> Result<Result<T, ResultError>, Failure> {
    if entry.state != EntryState::Done {
        return Err(Failure(Status::NotFound));
    }
    let place = looks::place(portal, entry.asker)?;
    let (path, milliseconds) = (portal.folders.result(&entry.key), portal.config.limits.search_milliseconds);
    let looked = task::spawn_blocking(move || {
        // Held to the end of the work, even where whoever waits has gone.
        let _place = place;
        ResultFile::open(&path, milliseconds).and_then(|file| work(&file))
    });
    looked.await.map_err(|error| {
        tracing::error!(%error, "a look into a result broke off");
        Failure(Status::InternalServerError)
    })
}

/// A result that cannot be read is this side's trouble.
pub(crate) fn readable_result<T>(looked: Result<T, ResultError>) -> Result<T, Failure> {
    looked.map_err(|error| {
        tracing::error!(%error, "a result cannot be shown");
        match error {
            ResultError::TooSlow { .. } => Failure(Status::ServiceUnavailable),
            _ => Failure(Status::InternalServerError),
        }
    })
}

/// All computers of a result, by risk.
#[get("/entries/<key>/hosts?<offset>")]
pub async fn hosts(me: Viewer<'_>, portal: &State<Portal>, key: &str, offset: Option<u64>) -> Reply {
    let (entry, _) = entry::find(portal, me.account.id, key).await?;
    let (offset, step) = (offset.unwrap_or_default(), portal.config.limits.page_rows);
    let looked = look(portal, &entry, move |file| Ok((file.hosts(step, offset)?, file.host_count()?))).await?;
    let (hosts, count) = readable_result(looked)?;
    let link = |offset: u64| format!("/entries/{}/hosts?offset={offset}", entry.key);
    let shown_up_to = offset.saturating_add(hosts.len() as u64);
    let data = json!({
        "key": entry.key.as_str(), "name": entry.name, "total": human::grouped(count),
        "hosts": hosts.iter().map(|host| host_row(&entry, host)).collect::<Vec<_>>(),
        "previous": (offset > 0).then(|| link(offset.saturating_sub(step.into()))),
        "next": (shown_up_to < count && !hosts.is_empty()).then(|| link(shown_up_to)),
    });
    Ok(Page::new(portal, &me, "hosts", data)?.into())
}

/// The message of a mark.
pub(super) fn mark_key(is_malicious: bool) -> &'static str {
    if is_malicious { "mark.true" } else { "mark.false" }
}

/// The class and the message of a flow's verdict.
pub(super) fn verdict(flow: &FlowRow) -> (&'static str, String) {
    let name = flow.verdict.unwrap_or("none");
    (name, format!("verdict.{name}"))
}

/// An address with its port; IPv6 in brackets.
pub(super) fn place(address: std::net::IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

/// The page of a result.
pub(super) async fn page(
    me: &Viewer<'_>,
    portal: &Portal,
    entry: &Entry,
    categories: &[Category],
    done: Option<String>,
) -> Result<Page, Failure> {
    let looked = look(portal, entry, |file| {
        let (hosts, host_count) = (file.hosts(HOSTS, 0)?, file.host_count()?);
        Ok((file.summary()?, hosts, host_count, file.alerts(ALERTS, 0)?, file.histograms()?, file.questions()?))
    });
    let (summary, hosts, host_count, alerts, histograms, questions) = match looked.await? {
        // Another version's, or damaged: there is a way on, and the page shows it.
        Err(error) if !matches!(error, ResultError::TooSlow { .. }) => {
            tracing::error!(entry = entry.id, %error, "a result cannot be shown");
            return entry::failed_page(me, portal, entry, categories, "result-unreadable").await;
        }
        looked => readable_result(looked)?,
    };
    let (of, ids) = (entry.clone(), alerts.iter().map(|alert| alert.flow.flow_id));
    let ids: Vec<u64> = ids.chain(questions.iter().map(|question| question.flow_id)).collect();
    let (marks, said, item) = portal
        .db
        .run(move |connection| -> Result<_, DbError> {
            Ok((
                entries::of_flows(connection, &of, &ids)?,
                marks::list(connection, &of)?,
                queue::of_entry(connection, of.id)?,
            ))
        })
        .await?;
    let alert_count = summary.malicious.saturating_add(summary.suspicious);
    let mut groups = grouped(&alerts);
    groups.truncate(GROUPS);
    let shown: u64 = groups.iter().map(|group| group.flows).sum();
    let messages = portal.templates.messages(me.language)?;
    let verdict = sentence(&Counts::from(&summary));
    let span = summary.first_ns.zip(summary.last_ns);
    let marks_shown = said.iter().take(MARKS).map(|mark| super::marks::shown(portal, me, mark));
    let marks_shown = marks_shown.collect::<Result<Vec<_>, _>>()?;
    let mut data = json!({
        "title": "outcome.title", "done": done, "class": verdict.tone.name(), "sentence": verdict.text(messages),
        "beside": beside(&summary, messages),
        "size": human::bytes(entry.bytes), "category": entry.category, "pipeline": entry.pipeline_shown(),
        "model": summary.pipeline.model.as_ref().map(|model| model.shown_with_hash()),
        "first": span.map(|(first, _)| human::time(first)), "last": span.map(|(_, last)| human::time(last)),
        "span": span.map(|(first, last)| human::duration(last.saturating_sub(first) as f64)),
        "packets": human::grouped(summary.packets), "flows": human::grouped(summary.flows),
        "scored": human::grouped(summary.judged()),
        "all_hosts": format!("/entries/{}/hosts", entry.key),
        "hosts": hosts.iter().map(|host| host_row(entry, host)).collect::<Vec<_>>(),
        "more_hosts": host_count.checked_sub(hosts.len() as u64).filter(|more| *more > 0).map(human::grouped),
        "alerts": groups
            .iter()
            .map(|group| alert_row(entry, group, marks.get(&group.worst.flow.flow_id)))
            .collect::<Vec<_>>(),
        "more_alerts": alert_count.checked_sub(shown).filter(|more| *more > 0).map(human::grouped),
        "next": next(portal, me, entry, &questions, &marks)?,
        "pictures": pictures(portal, me, &histograms)?, "unseen": unseen(portal, me, &summary)?, "marks": marks_shown,
        "more_marks": said.len().checked_sub(MARKS).filter(|more| *more > 0).map(|more| human::grouped(more as u64)),
        "item": item.map(|item| super::triage::brief(&item)),
    });
    entry::actions(portal, entry, categories, &mut data).await?;
    Ok(Page::new(portal, me, "result", data)?)
}

/// Whether something counts of a flow.
fn is_marked(marks: &BTreeMap<u64, FlowMarks>, flow: u64) -> bool {
    marks.get(&flow).is_some_and(|marks| marks.counts.is_some())
}

/// The flows that are most worth a word, but for those that somebody marked.
fn next(
    portal: &Portal,
    me: &Viewer<'_>,
    entry: &Entry,
    questions: &[Question],
    marks: &BTreeMap<u64, FlowMarks>,
) -> Result<Vec<Value>, Failure> {
    let say = |key: &str, values: &Value| portal.templates.message(me.language, key, values);
    let mut all = Vec::new();
    for question in questions.iter().filter(|question| !is_marked(marks, question.flow_id)).take(NEXT) {
        let near = match question.nearest {
            NearestThreshold::Malicious => "outcome.next-malicious",
            NearestThreshold::Suspicious => "outcome.next-suspicious",
        };
        let mut reasons = vec![say(near, &json!({ "score": human::score(question.score) }))?];
        if question.novel {
            reasons.push(say("outcome.next-new", &json!({}))?);
        }
        if question.alike > 1 {
            reasons.push(say("outcome.next-alike", &json!({ "n": human::grouped(question.alike) }))?);
        }
        if question.diversity < 1.0 {
            reasons.push(say("outcome.next-like", &json!({}))?);
        }
        all.push(json!({
            "link": format!("/entries/{}/flows/{}", entry.key, question.flow_id),
            "what": format!("{} → {}", question.src_ip, place(question.dest_ip, question.dest_port)),
            "name": question.name, "reasons": reasons,
        }));
    }
    Ok(all)
}

fn host_row(entry: &Entry, host: &HostRow) -> Value {
    json!({
        "host": host.address.to_string(), "score": host.score.map(human::score).unwrap_or_default(),
        "link": format!("/entries/{}/flows?host={}&sort=score&down=true", entry.key, home::encoded(&host.address.to_string())),
        "malicious": human::grouped(host.malicious), "suspicious": human::grouped(host.suspicious),
        "flows": human::grouped(host.flows), "servers": human::grouped(host.servers),
    })
}

/// Alerts of one computer and one server: a beacon is one finding, however often it calls.
struct Group<'a> {
    worst: &'a AlertRow,
    flows: u64,
}

/// The alerts, which come with the worst first, by computer and server.
fn grouped(alerts: &[AlertRow]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut places = HashMap::new();
    for alert in alerts {
        let flow = &alert.flow;
        let place = *places.entry((flow.src_ip, flow.dest_ip, flow.dest_port, &flow.sni)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.flows += 1,
            None => groups.push(Group { worst: alert, flows: 1 }),
        }
    }
    groups
}

fn alert_row(entry: &Entry, group: &Group<'_>, marks: Option<&FlowMarks>) -> Value {
    let flow = &group.worst.flow;
    let (class, badge) = verdict(flow);
    let same = format!(
        "/entries/{}/flows?host={}&search={}&verdict=alerts&sort=score&down=true",
        entry.key,
        home::encoded(&flow.src_ip.to_string()),
        home::encoded(&flow.dest_ip.to_string())
    );
    json!({
        "flow_id": flow.flow_id.to_string(), "class": class, "badge": badge,
        "score": flow.score.map(human::score).unwrap_or_default(), "category": group.worst.category,
        "category_key": group.worst.category.as_deref().and_then(category_message),
        "category_reasons": group.worst.category_reasons.iter().map(|reason| &reason.words).collect::<Vec<_>>(),
        "mark": marks.and_then(|marks| marks.counts.as_ref()).map(|mark| mark_key(mark.malicious)),
        "conflict": marks.and_then(FlowMarks::conflict).is_some(),
        "src": flow.src_ip.to_string(), "dest": place(flow.dest_ip, flow.dest_port), "sni": flow.sni,
        "time": human::time(flow.first_ns),
        "reasons": group.worst.reasons.iter().map(|reason| reason.words.clone()).collect::<Vec<_>>(),
        "packets": packet_links(&entry.key, &group.worst.evidence),
        "more": (group.flows > 1).then(|| human::grouped(group.flows)), "same": same,
        "conversation": conversation::link(&entry.key, flow),
    })
}

/// Packets to look at, with where they are shown.
pub(super) fn packet_links(key: &Key, packets: &[u64]) -> Vec<Value> {
    let link = |number| json!({ "number": number, "link": format!("/entries/{key}/packets?at={number}") });
    packets.iter().map(link).collect()
}

fn pictures(portal: &Portal, me: &Viewer<'_>, histograms: &Histograms) -> Result<Vec<Value>, Failure> {
    let messages = portal.templates.messages(me.language)?;
    let mut all = Vec::new();
    for kind in PictureKind::ALL {
        let picture = picture(kind, histograms, messages, Ink::OnLight)?;
        let rows: Vec<Vec<String>> =
            picture.rows.into_iter().map(|(name, cells)| std::iter::once(name).chain(cells).collect()).collect();
        all.push(json!({
            "kind": kind.name(), "title": picture.title, "alternative": picture.alternative,
            "head": picture.columns, "rows": rows,
        }));
    }
    Ok(all)
}

/// What was not looked at, or not judged, a line each.
fn unseen(portal: &Portal, me: &Viewer<'_>, summary: &ResultSummary) -> Result<Vec<String>, Failure> {
    let messages = portal.templates.messages(me.language)?;
    let mut lines = warnings(summary, messages);
    for (reason, count) in &summary.skipped {
        // A reason that this version does not know is named as the result names it.
        let reason = messages.get(&format!("result.skip-{reason}")).unwrap_or(reason);
        let values = json!({ "reason": reason, "n": human::grouped(*count) });
        lines.push(portal.templates.message(me.language, "outcome.skipped", &values)?);
    }
    if let Some(unjudged) = summary.flows.checked_sub(summary.scored).filter(|unjudged| *unjudged > 0) {
        let values = json!({ "n": human::grouped(unjudged) });
        lines.push(portal.templates.message(me.language, "outcome.unjudged", &values)?);
    }
    Ok(lines)
}

/// A picture of a result, for a light ground or a dark one.
#[get("/entries/<key>/pictures/<file>?<dark>")]
pub async fn picture_file(
    me: Viewer<'_>,
    portal: &State<Portal>,
    key: &str,
    file: &str,
    dark: Option<bool>,
) -> Result<(ContentType, String), Failure> {
    let kind = file.strip_suffix(".svg").and_then(PictureKind::from_name).ok_or(Failure(Status::NotFound))?;
    let (entry, _) = entry::find(portal, me.account.id, key).await?;
    let histograms = readable_result(look(portal, &entry, ResultFile::histograms).await?)?;
    let ink = if dark == Some(true) { Ink::OnDark } else { Ink::OnLight };
    Ok((ContentType::SVG, picture(kind, &histograms, portal.templates.messages(me.language)?, ink)?.svg))
}
