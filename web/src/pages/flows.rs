//! The table of all flows of a result, and one of them.

use std::net::IpAddr;

use rocket::http::Status;
use rocket::{FromForm, State, get, post};
use serde_json::{Map, Value, json};
use utoipa::IntoParams;
use veilwatch::engine::Category;

use super::language::{Language, Messages};
use super::render::{Answer, Failure, Page, PageError, Reply, Templates, told};
use super::{conversation, entry, home, marks, result};
use crate::accounts::Reason;
use crate::entries::{self, Entry, FlowFacts, MarkBounds, May, NewMark, Scope, Why};
use crate::forms::Posted;
use crate::portal::Portal;
use crate::results::read::{category_message, category_reasons};
use crate::results::{FlowDetail, FlowPage, FlowQuery, FlowRow, ResultError, SortKey, VerdictFilter, human};
use crate::uploads::Key;
use crate::visitor::{Analyst, Viewer};

/// What was done just before, for a line at the top. Other words are ignored.
const DONE: [&str; 2] = ["marked", "withdrawn"];
/// Characters of one value on the page of a flow.
const VALUE: usize = 2000;
/// Facts of one kind on the page of a flow.
const FACTS: usize = 200;

/// Which flows, in what order.
#[derive(Clone, Debug, Default, FromForm, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// A part of an address, a server name or a protocol, or a port.
    search: Option<String>,
    /// Only these: `alerts`, `malicious`, `suspicious`, `benign`, `unknown`, `not-scored`.
    verdict: Option<String>,
    /// Only flows that this address opened.
    host: Option<String>,
    /// What they are ordered by: `order`, `time`, `score`, `bytes`, `packets`, `source`, `server`, `sni`.
    sort: Option<String>,
    /// The largest first.
    down: Option<bool>,
    /// Flows to pass over.
    #[param(value_type = Option<u64>)]
    offset: Option<String>,
}

impl Wanted {
    /// The query; what reads as nothing we know is left out.
    pub(crate) fn query(&self, limit: u32) -> FlowQuery {
        FlowQuery {
            search: self.search.clone().filter(|search| !search.trim().is_empty()),
            sort: self.sort.as_deref().and_then(SortKey::from_name).unwrap_or_default(),
            descending: self.down.unwrap_or_default(),
            verdict: self.verdict.as_deref().and_then(VerdictFilter::from_name),
            host: self.host.as_deref().and_then(|host| host.parse::<IpAddr>().ok()),
            offset: self.offset.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default(),
            limit,
        }
    }
}

impl Wanted {
    /// The name of a part that holds what is not offered: a page leaves it out, a program is told.
    pub(crate) fn unknown(&self) -> Option<&'static str> {
        let is_unknown =
            |text: &Option<String>, known: fn(&str) -> bool| text.as_deref().is_some_and(|text| !known(text));
        if is_unknown(&self.verdict, |name| VerdictFilter::from_name(name).is_some()) {
            Some("verdict")
        } else if is_unknown(&self.sort, |name| SortKey::from_name(name).is_some()) {
            Some("sort")
        } else if is_unknown(&self.host, |host| host.parse::<IpAddr>().is_ok()) {
            Some("host")
        } else if is_unknown(&self.offset, |text| text.parse::<u64>().is_ok()) {
            Some("offset")
        } else {
            None
        }
    }
}

/// The address of the table with this query.
fn link(key: &str, query: &FlowQuery) -> String {
    let mut link =
        format!("/entries/{key}/flows?sort={}&down={}&offset={}", query.sort.name(), query.descending, query.offset);
    if let Some(search) = &query.search {
        link.push_str(&format!("&search={}", home::encoded(search)));
    }
    if let Some(verdict) = query.verdict {
        link.push_str(&format!("&verdict={}", verdict.name()));
    }
    if let Some(host) = query.host {
        link.push_str(&format!("&host={}", home::encoded(&host.to_string())));
    }
    link
}

/// The table.
#[get("/entries/<key>/flows?<wanted..>")]
pub async fn list(me: Viewer<'_>, portal: &State<Portal>, key: &str, wanted: Wanted) -> Reply {
    let (entry, _) = entry::find(portal, me.account.id, key).await?;
    let query = wanted.query(portal.config.limits.page_rows);
    let asked = query.clone();
    let (page, too_slow) = match result::look(portal, &entry, move |file| file.flows(&asked)).await? {
        Err(ResultError::TooSlow { .. }) => {
            (FlowPage { rows: Vec::new(), total: 0, total_is_exact: false, is_complete: false }, true)
        }
        looked => (result::readable_result(looked)?, false),
    };
    let heads: Vec<Value> = [
        ("field.time", Some(SortKey::First)),
        ("field.source", Some(SortKey::Source)),
        ("field.target", Some(SortKey::Server)),
        ("field.protocol", None),
        ("field.server-name", Some(SortKey::Sni)),
        ("field.verdict", None),
        ("field.score", Some(SortKey::Score)),
        ("field.packets", Some(SortKey::Packets)),
        ("field.bytes", Some(SortKey::Bytes)),
    ]
    .into_iter()
    .map(|(label, sort)| {
        let is_current = sort == Some(query.sort);
        let order = if query.descending { "descending" } else { "ascending" };
        let to = sort.map(|sort| {
            // Numbers begin with the largest; the same column once more turns round.
            let largest_first = matches!(sort, SortKey::Score | SortKey::Packets | SortKey::Bytes);
            let descending = if is_current { !query.descending } else { largest_first };
            link(key, &FlowQuery { sort, descending, offset: 0, ..query.clone() })
        });
        json!({ "label": label, "link": to, "order": is_current.then_some(order) })
    })
    .collect();
    let filters = std::iter::once(("", "verdict.any".to_owned()))
        .chain(VerdictFilter::ALL.into_iter().map(|filter| (filter.name(), filter_key(filter))));
    let verdicts: Vec<Value> = filters
        .map(|(name, label)| {
            json!({ "name": name, "key": label, "is_current": query.verdict.map_or("", VerdictFilter::name) == name })
        })
        .collect();
    let step = u64::from(query.limit);
    let shown_up_to = query.offset + page.rows.len() as u64;
    let has_more = shown_up_to < page.total || (!page.total_is_exact && page.rows.len() as u64 == step);
    let data = json!({
        "key": entry.key.as_str(), "name": entry.name, "too_slow": too_slow || !page.is_complete,
        "search": query.search.clone().unwrap_or_default(), "verdicts": verdicts,
        "host": query.host.map(|host| host.to_string()), "sort": query.sort.name(), "down": query.descending,
        "total": human::grouped(page.total), "is_exact": page.total_is_exact, "heads": heads,
        "rows": page.rows.iter().map(row).collect::<Vec<_>>(),
        "previous": (query.offset > 0)
            .then(|| link(key, &FlowQuery { offset: query.offset.saturating_sub(step), ..query.clone() })),
        "next": has_more.then(|| link(key, &FlowQuery { offset: query.offset + step, ..query.clone() })),
    });
    Ok(Page::new(portal, &me, "flows", data)?.into())
}

fn filter_key(filter: VerdictFilter) -> String {
    match filter {
        VerdictFilter::NotScored => "verdict.none".to_owned(),
        other => format!("verdict.{}", other.name()),
    }
}

fn row(flow: &FlowRow) -> Value {
    let (class, badge) = result::verdict(flow);
    json!({
        "flow_id": flow.flow_id.to_string(), "time": human::time(flow.first_ns),
        "src": result::place(flow.src_ip, flow.src_port), "dest": result::place(flow.dest_ip, flow.dest_port),
        "app": flow.app.clone().unwrap_or_else(|| flow.transport().to_lowercase()),
        "sni": flow.sni.clone().unwrap_or_default(), "class": class, "badge": flow.verdict.map(|_| badge),
        "score": flow.score.map(human::score).unwrap_or_default(),
        "packets": human::grouped(flow.packets), "bytes": human::bytes(flow.bytes),
    })
}

/// A flow of an entry of this account.
pub(super) async fn find(portal: &Portal, entry: &Entry, flow: u64) -> Result<FlowDetail, Failure> {
    let found = result::look(portal, entry, move |file| file.flow(flow)).await?;
    result::readable_result(found)?.ok_or(Failure(Status::NotFound))
}

/// Everything that is known of one flow.
#[get("/entries/<key>/flows/<flow>?<done>")]
pub async fn show(me: Viewer<'_>, portal: &State<Portal>, key: &str, flow: u64, done: Option<&str>) -> Reply {
    let (entry, _) = entry::find(portal, me.account.id, key).await?;
    let detail = find(portal, &entry, flow).await?;
    let done = done.filter(|done| DONE.contains(done)).map(|done| format!("flow.done-{done}"));
    Ok(page(&me, portal, &entry, &detail, done, None).await?.into())
}

/// The flow as a mark names it.
fn facts_of(row: &FlowRow) -> FlowFacts {
    FlowFacts {
        flow_id: row.flow_id,
        first_ns: row.first_ns,
        client: row.src_ip,
        client_port: row.src_port,
        server: row.dest_ip,
        server_port: row.dest_port,
        sni: row.sni.clone(),
    }
}

/// What a mark on this flow could speak of, each with how many flows that is. What takes too long to count is left out.
async fn scopes(
    me: &Viewer<'_>,
    portal: &Portal,
    entry: &Entry,
    facts: &FlowFacts,
    chosen: Scope,
) -> Result<Vec<Value>, Failure> {
    let most = portal.config.triage.mark_flows;
    let of = facts.clone();
    let counted = result::look(portal, entry, move |file| {
        let count = |scope: Scope| match scope.alike(&of) {
            Some(alike) => file.judged_count(&alike, most.saturating_add(1)).map(Some),
            None => Ok((scope == Scope::Flow).then_some(1)),
        };
        let mut all = Vec::new();
        for scope in Scope::ALL {
            match count(scope) {
                Ok(found) => all.extend(found.map(|count| (scope, count))),
                Err(ResultError::TooSlow { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    });
    let counted = result::readable_result(counted.await?)?;
    let say = |key: &str, values: &Value| portal.templates.message(me.language, key, values);
    counted
        .into_iter()
        .map(|(scope, count)| {
            let is_too_wide = count > u64::from(most);
            let values = json!({
                "n": human::grouped(count.min(most.into())), "client": facts.client.to_string(),
                "server": facts.server.to_string(), "place": result::place(facts.server, facts.server_port),
                "name": facts.sni.as_deref().unwrap_or_default().chars().take(80).collect::<String>(),
            });
            let words = say(&format!("scopes.{}", scope.name()), &values)?;
            let words = if is_too_wide { say("scopes.too-wide", &json!({ "words": words }))? } else { words };
            Ok(json!({
                "name": scope.name(), "words": words, "is_too_wide": is_too_wide, "is_current": scope == chosen,
            }))
        })
        .collect::<Result<_, PageError>>()
        .map_err(Failure::from)
}

/// What the form for a mark offers, and what was chosen in it just before.
async fn form(
    me: &Viewer<'_>,
    portal: &Portal,
    entry: &Entry,
    flow: &FlowRow,
    said: Option<&Said>,
) -> Result<Value, Failure> {
    let text = |of: fn(&Said) -> Option<&String>| said.and_then(of).map(String::as_str).unwrap_or_default();
    let (why, purpose) = (text(|said| said.why.as_ref()), text(|said| said.purpose.as_ref()));
    let chosen = text(|said| said.scope.as_ref()).parse().unwrap_or(Scope::Flow);
    let option =
        |name: &str, key: String, current: &str| json!({ "name": name, "key": key, "is_current": name == current });
    Ok(json!({
        "malicious": said.is_none_or(|said| said.malicious),
        "words": said.map(|said| said.reason.as_str()).unwrap_or_default(),
        "whys": Why::ALL.map(|one| option(one.name(), format!("why.{}", one.name()), why)),
        "purposes": Category::ALL.map(|one| option(one.name(), format!("for.{one}"), purpose)),
        "scopes": scopes(me, portal, entry, &facts_of(flow), chosen).await?,
    }))
}

async fn page(
    me: &Viewer<'_>,
    portal: &Portal,
    entry: &Entry,
    detail: &FlowDetail,
    done: Option<String>,
    refused: Option<(Reason, &Said)>,
) -> Result<Page, Failure> {
    let flow = &detail.flow;
    let summary = result::readable_result(result::look(portal, entry, |file| file.summary()).await?)?;
    let (of, id) = (entry.clone(), flow.flow_id);
    let marks = portal.db.run(move |connection| entries::of_flow(connection, &of, id)).await?;
    let (class, badge) = result::verdict(flow);
    let message = |key: &str| portal.templates.message(me.language, key, &json!({}));
    let mut facts = vec![
        (message("field.source")?, result::place(flow.src_ip, flow.src_port)),
        (message("field.target")?, result::place(flow.dest_ip, flow.dest_port)),
        (
            message("field.protocol")?,
            match &flow.app {
                Some(app) => format!("{app} / {}", flow.transport()),
                None => flow.transport().to_owned(),
            },
        ),
        (
            message("field.time")?,
            format!("{} ({})", human::time(flow.first_ns), human::duration(flow.duration_ns() as f64)),
        ),
        (message("field.packets")?, human::grouped(flow.packets)),
        (message("field.bytes")?, human::bytes(flow.bytes)),
    ];
    if let Some(counts) = detail.line.get("flow").and_then(Value::as_object) {
        facts.extend(named(counts, &["pkts_toserver", "pkts_toclient", "bytes_toserver", "bytes_toclient", "reason"]));
    }
    facts.push(("flow_id".to_owned(), flow.flow_id.to_string()));
    facts.extend(detail.line.get("community_id").map(|id| ("community_id".to_owned(), text(id))));
    const CERTIFICATE: [&str; 6] = ["subject", "issuerdn", "serial", "fingerprint_sha256", "notbefore", "notafter"];
    let tls = detail.line.get("tls").and_then(Value::as_object);
    let handshake = tls.map(|tls| {
        let rest = tls.iter().filter(|(name, _)| !CERTIFICATE.contains(&name.as_str()));
        rest.map(|(name, value)| (format!("tls.{name}"), text(value))).collect::<Vec<_>>()
    });
    let certificate =
        tls.map(|tls| named(tls, &CERTIFICATE).map(|(name, value)| (format!("tls.{name}"), value)).collect::<Vec<_>>());
    let fields = detail.line.get("fields").and_then(Value::as_object);
    let fields = fields
        .map(|fields| fields.iter().take(FACTS).map(|(name, value)| (name.clone(), text(value))).collect::<Vec<_>>());
    let sections: Vec<Value> =
        [("facts", Some(facts)), ("tls", handshake), ("certificate", certificate), ("fields", fields)]
            .into_iter()
            .filter_map(|(id, facts)| facts.filter(|facts| !facts.is_empty()).map(|facts| (id, facts)))
            .map(|(id, facts)| {
                let facts: Vec<Value> =
                    facts.into_iter().map(|(label, value)| json!({ "label": label, "value": value })).collect();
                json!({ "id": id, "title": format!("flow.{id}"), "facts": facts })
            })
            .collect();
    let conflict = marks.as_ref().and_then(entries::FlowMarks::conflict).is_some();
    let shown = marks
        .iter()
        .flat_map(|all| all.counts.iter().map(|mark| (mark, true)).chain(all.others.iter().map(|mark| (mark, false))))
        .map(|(mark, counts)| {
            let mut shown = marks::shown(portal, me, mark)?;
            if let Some(shown) = shown.as_object_mut() {
                shown.insert("counts".to_owned(), counts.into());
                shown.insert("elsewhere".to_owned(), (mark.flow.flow_id != flow.flow_id).into());
            }
            Ok(shown)
        })
        .collect::<Result<Vec<_>, PageError>>()?;
    let can_change = entry.may >= May::Work;
    let form = match can_change && flow.verdict.is_some() {
        true => Some(form(me, portal, entry, flow, refused.map(|(_, said)| said)).await?),
        false => None,
    };
    let features: Vec<Value> = detail
        .features
        .iter()
        .map(|feature| {
            let value = if feature.value.is_nan() { "–".to_owned() } else { feature.value.to_string() };
            json!({ "name": feature.name, "value": value, "unit": feature.unit, "words": feature.words })
        })
        .collect();
    let model = summary.pipeline.model.as_ref();
    let category = detail.line.get("category").and_then(Value::as_str);
    let first = flow.first_packet;
    let data = json!({
        "done": done, "error": refused.map(|(reason, _)| reason.to_string()),
        "key": entry.key.as_str(), "name": entry.name, "flow_id": flow.flow_id.to_string(),
        "class": class, "badge": badge, "score": flow.score.map(human::score),
        "thresholds": model.map(|model| json!({
            "malicious": human::score(model.malicious), "suspicious": human::score(model.suspicious),
        })),
        "category": category, "category_key": category.and_then(category_message),
        "category_reasons": category_reasons(&detail.line).into_iter().map(|reason| reason.words).collect::<Vec<_>>(),
        "seen": seen(&detail.line),
        "reasons": reasons(&detail.line, portal.templates.messages(me.language)?),
        "without": without(&detail.line, &portal.templates, me.language)?,
        "unexplained": matches!(flow.verdict, Some("malicious" | "suspicious")) && came_later(&detail.line, &summary.limits),
        "packets": packets(&entry.key, &detail.line), "browse": format!("/entries/{}/packets?flow={first}&at={first}", entry.key), "sections": sections,
        "conversation": conversation::link(&entry.key, flow),
        "marks": shown, "conflict": conflict, "can_change": can_change, "form": form,
        "features_count": features.len(), "features": features,
    });
    Ok(Page::new(portal, me, "flow", data)?)
}

/// What the model had seen that is like the flow.
fn seen(line: &Value) -> Value {
    json!({
        "novelty": line.get("novelty").and_then(Value::as_f64).map(human::percent),
        "novel": line.get("novel").and_then(Value::as_bool), "nearest": nearest(line),
    })
}

/// What an alert is nearest to in training: the family of malware by its name, anything else by its label's words.
fn nearest(line: &Value) -> Vec<Value> {
    let nearest = line.get("nearest").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let told = |near: &Value| {
        let text = |name| near.get(name).and_then(Value::as_str).unwrap_or_default();
        let label = ["benign", "background", "malicious"].into_iter().find(|label| *label == text("label"))?;
        let family = if label == "malicious" { text("family") } else { "" };
        let apart = near.get("distance").and_then(Value::as_f64).map(human::percent)?;
        Some(json!({ "key": format!("near.{label}"), "family": family, "apart": apart }))
    };
    nearest.iter().take(FACTS).filter_map(told).collect()
}

/// Whether the line says why the model scored as it did; warnings are the tables' alone.
fn is_explained(line: &Value) -> bool {
    let is_column = |reason: &Value| {
        reason.get("feature").and_then(Value::as_str).is_some_and(|feature| !feature.starts_with("warn."))
    };
    line.get("reasons").and_then(Value::as_array).is_some_and(|reasons| reasons.iter().any(is_column))
}

/// Whether an alert has no reasons where the run reached its limit of alerts that it explains: without that there is another
/// cause, as a classifier that failed.
fn came_later(line: &Value, limits: &[(String, u64)]) -> bool {
    limits.iter().any(|(limit, _)| limit == "output.explained") && !is_explained(line)
}

/// What a topic is called, where it is one in the box.
fn topic<'a>(name: &'a str, messages: &'a Messages) -> &'a str {
    messages.get(&format!("topic.{name}")).map_or(name, String::as_str)
}

/// What the score would be without some topics, in words.
fn without(line: &Value, templates: &Templates, language: Language) -> Result<Option<String>, PageError> {
    let Some(told) = line.get("counterfactual") else { return Ok(None) };
    let messages = templates.messages(language)?;
    let names = told.get("without").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut topics = String::new();
    for name in names.iter().take(FACTS).filter_map(Value::as_str) {
        let name = topic(name, messages);
        topics = match topics.as_str() {
            "" => name.to_owned(),
            one => templates.message(language, "flow.topics", &json!({ "one": one, "other": name }))?,
        };
    }
    let verdict = told.get("verdict").and_then(Value::as_str).unwrap_or_default();
    let (Some(score), Some(known)) =
        (told.get("score").and_then(Value::as_f64), messages.get(&format!("verdict.{verdict}")))
    else {
        return Ok(None);
    };
    let key = if matches!(verdict, "malicious" | "suspicious") { "flow.without-alert" } else { "flow.without" };
    let values = json!({ "topics": topics, "score": human::score(score), "verdict": known });
    Ok(Some(templates.message(language, key, &values)?))
}

pub(super) fn reasons(line: &Value, messages: &Messages) -> Vec<Value> {
    let reasons = line.get("reasons").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    reasons
        .iter()
        .take(FACTS)
        .map(|reason| {
            let part = |name| reason.get(name).map(text).unwrap_or_default();
            let name = reason.get("topic").and_then(|topic| topic.get("name")).and_then(Value::as_str);
            let name = name.map(|name| text(&topic(name, messages).into()));
            json!({ "topic": name, "words": part("words"), "feature": part("feature"), "value": part("value") })
        })
        .collect()
}

fn packets(key: &Key, line: &Value) -> Vec<Value> {
    let packets = line.get("packets").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    result::packet_links(key, &packets.iter().take(FACTS).filter_map(Value::as_u64).collect::<Vec<_>>())
}

/// These of the facts that are there.
fn named<'a>(facts: &'a Map<String, Value>, names: &'a [&str]) -> impl Iterator<Item = (String, String)> + 'a {
    names.iter().filter_map(|name| Some(((*name).to_owned(), text(facts.get(*name)?))))
}

/// A value of a line as one reads it: what stands in objects of one entry, such as a hash, alone.
fn text(value: &Value) -> String {
    let words = match value {
        Value::String(text) => text.clone(),
        Value::Null => "–".to_owned(),
        Value::Object(map) if map.len() == 1 => map.values().next().map(text).unwrap_or_default(),
        other => other.to_string(),
    };
    words.chars().take(VALUE).collect()
}

/// What somebody knows of a flow, and of others like it.
#[derive(Debug, FromForm)]
pub struct Said {
    malicious: bool,
    /// A name of [`Why`]; `other` where there is none.
    why: Option<String>,
    /// A name of [`Category`]; empty where nobody knows.
    purpose: Option<String>,
    /// A name of [`Scope`]; this flow where there is none.
    scope: Option<String>,
    reason: String,
}

impl Said {
    /// What was chosen of the lists.
    fn chosen(&self) -> Result<(Why, Option<Category>, Scope), Reason> {
        let why = self.why.as_deref().map_or(Ok(Why::Other), str::parse)?;
        let scope = self.scope.as_deref().map_or(Ok(Scope::Flow), str::parse)?;
        let purpose = match self.purpose.as_deref().unwrap_or_default() {
            "" => None,
            name => Some(Category::from_name(name).ok_or(Reason::Form)?),
        };
        Ok((why, purpose, scope))
    }
}

/// Marks a flow, or all that are like it.
#[post("/entries/<key>/flows/<flow>/mark", data = "<form>")]
pub async fn mark(me: Analyst<'_>, portal: &State<Portal>, key: &str, flow: u64, form: Posted<Said>) -> Reply {
    let entry = entry::need(portal, me.account.id, key, May::Work).await?;
    let detail = find(portal, &entry, flow).await?;
    let said = form.0;
    let marked = match said.chosen() {
        Ok(chosen) => keep(&me, portal, &entry, &detail.flow, &said, chosen).await?,
        Err(reason) => Err(reason),
    };
    match marked {
        Ok(_) => Ok(Answer::to(&format!("/entries/{key}/flows/{flow}?done=marked"))),
        Err(Reason::NotThere) => Err(Failure(Status::NotFound)),
        Err(reason) => {
            let page = page(&me.into(), portal, &entry, &detail, None, Some((reason, &said))).await?;
            Ok(page.with_status(Status::UnprocessableEntity).into())
        }
    }
}

/// Keeps a mark, with the flows that it covers.
async fn keep(
    me: &Analyst<'_>,
    portal: &Portal,
    entry: &Entry,
    flow: &FlowRow,
    said: &Said,
    (why, purpose, scope): (Why, Option<Category>, Scope),
) -> Result<Result<i64, Reason>, Failure> {
    let triage = &portal.config.triage;
    let bounds = MarkBounds { flows: triage.mark_flows, all_flows: triage.marked_flows };
    let facts = facts_of(flow);
    let covers = match scope.alike(&facts) {
        Some(alike) => {
            // One more than may be tells that there are too many.
            let most = bounds.flows.saturating_add(1);
            let found = result::look(portal, entry, move |file| file.judged(&alike, most)).await?;
            result::readable_result(found)?.iter().map(facts_of).collect()
        }
        None if scope == Scope::Flow => Vec::from_iter(flow.verdict.is_some().then(|| facts.clone())),
        None => Vec::new(),
    };
    let (account, actor, now, key) = (me.account.id, me.actor(), portal.now(), entry.key.to_string());
    let (malicious, reason) = (said.malicious, said.reason.clone());
    let marked = portal.db.run(move |connection| {
        let new = NewMark { flow: &facts, scope, covers: &covers, malicious, why, purpose, reason: &reason };
        entries::mark(connection, account, &key, &new, bounds, &actor, now)
    });
    told(marked.await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_flow_would_score_is_said_in_both_languages() {
        let templates = Templates::embedded().unwrap();
        let said = |line: &Value, language| without(line, &templates, language).unwrap();
        let two = json!({"counterfactual": {"without": ["rhythm", "keep.*"], "score": 0.31, "verdict": "benign"}});
        let english = said(&two, Language::English).unwrap();
        let score = human::score(0.31);
        let wanted =
            format!("Without the rhythm of the flows to this server and keep.* this would score {score}: Benign.");
        assert_eq!(english, wanted);
        assert!(said(&two, Language::Chinese).unwrap().starts_with("如果访问该服务器的节律和keep.*与正常流量一样"));
        let one = json!({"counterfactual": {"without": ["port"], "score": 0.9, "verdict": "malicious"}});
        assert!(said(&one, Language::English).unwrap().starts_with("Even without the server's port this"));
        assert!(said(&one, Language::Chinese).unwrap().starts_with("即使服务器端口与"));
        // Nobody else's words reach the page.
        let odd = json!({"counterfactual": {"without": ["port"], "score": 0.9, "verdict": "fine"}});
        assert_eq!((said(&odd, Language::English), said(&json!({}), Language::English)), (None, None));
    }

    #[test]
    fn a_flow_that_only_tables_warn_of_is_not_explained() {
        let line = |features: &[&str]| json!({"reasons": features.iter().map(|name| json!({"feature": name})).collect::<Vec<_>>()});
        assert!(!is_explained(&json!({})) && !is_explained(&line(&["warn.shell"])));
        assert!(is_explained(&line(&["flow.duration", "warn.shell"])));
        // Where there was room for all, none came too late.
        let limits = |name: &str| vec![("flows.packets".to_owned(), 2), (name.to_owned(), 1)];
        assert!(came_later(&line(&["warn.shell"]), &limits("output.explained")));
        assert!(!came_later(&line(&["flow.duration"]), &limits("output.explained")));
        assert!(!came_later(&line(&[]), &limits("flows.limit")));
        let (messages, reason) =
            (Language::Chinese.messages().unwrap(), |topic: &str| json!({"topic": {"name": topic}}));
        let told =
            reasons(&json!({"reasons": [reason("rhythm"), reason("keep.*"), {"words": "a warning"}]}), &messages);
        let topics: Vec<&Value> = told.iter().map(|reason| &reason["topic"]).collect();
        assert_eq!(topics, [&json!("访问该服务器的节律"), &json!("keep.*"), &Value::Null]);
    }

    /// The page of a flow whose line says this much.
    fn page(line: &Value, language: Language) -> String {
        // A page has all of its template's values, and most of them are empty here.
        let data = json!({
            "done": null, "error": null, "key": "k", "name": "n", "flow_id": "1", "class": "malicious",
            "badge": "verdict.malicious", "score": null, "thresholds": null, "category": null, "reasons": [],
            "sections": [], "browse": "/x", "conversation": "/y", "marks": [], "conflict": false, "can_change": false, "form": null, "features": [], "seen": seen(line),
        });
        Templates::embedded().unwrap().render(language, "flow", &data).unwrap()
    }

    #[test]
    fn a_flow_is_told_what_the_model_had_seen() {
        let near = |label: &str, family: &str| json!({ "label": label, "family": family, "distance": 0.125 });
        let line = json!({
            "novelty": 0.998, "novel": true,
            "nearest": [near("malicious", "<b>Duck"), near("malicious", ""), near("background", ""), near("odd", "x")],
        });
        let english = page(&line, Language::English);
        assert!(english.contains("99.8 % was more like that training") && english.contains("held nothing like it"));
        assert!(english.contains("<li>&lt;b&gt;Duck <span class=\"dim\">12.5 % apart</span>"), "{english}");
        assert!(english.contains("Malware of no named family") && english.contains("of an infected computer"));
        assert_eq!(english.matches("% apart").count(), 3, "a label that there is none of is left out");
        let chinese = page(&line, Language::Chinese);
        assert!(chinese.contains("99.8 %") && chinese.contains("没有与之相似") && chinese.contains("相差 12.5 %"));
        // What is like much of it is said without a warning, and nothing where nothing is remembered.
        let usual = page(&json!({ "novelty": 0.0 }), Language::English);
        assert!(usual.contains("0 % was more like") && !usual.contains("held nothing like it"));
        assert!(!page(&json!({}), Language::English).contains("h-near"));
    }
}
