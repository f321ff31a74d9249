//! The conversation of a host and a service: its flows over time, and whether they come by the clock.

use std::net::IpAddr;

use rocket::http::{ContentType, Status};
use rocket::{FromForm, State, get};
use serde_json::{Value, json};

use super::render::{Failure, Page, Reply};
use super::{entry, home, result};
use crate::entries::Entry;
use crate::pages::language::Messages;
use crate::portal::Portal;
use crate::results::conversation::{BELIEVED, CLOCKWORK, MAX_CALLS, RHYTHM_GAPS, SOMEWHAT};
use crate::results::pictures::{Ink, calls};
use crate::results::sentence::said;
use crate::results::{Call, Conversation, ConversationOf, FlowRow, Service, human};
use crate::uploads::Key;
use crate::visitor::Viewer;

/// Names and addresses of servers that are told.
const SERVERS: usize = 10;

/// Which conversation, and which of its calls are listed.
#[derive(Clone, Debug, FromForm)]
pub struct Wanted {
    client: String,
    name: Option<String>,
    server: Option<String>,
    port: u16,
    offset: Option<u64>,
    dark: Option<bool>,
}

impl Wanted {
    fn conversation(&self) -> Result<ConversationOf, Failure> {
        let address = |text: &str| text.parse::<IpAddr>().map_err(|_| Failure(Status::NotFound));
        let service = match (&self.name, &self.server) {
            (Some(name), None) => Service::Name(name.clone()),
            (None, Some(server)) => Service::Address(address(server)?),
            _ => return Err(Failure(Status::NotFound)),
        };
        Ok(ConversationOf { client: address(&self.client)?, service, port: self.port })
    }
}

/// The address of a flow's conversation.
pub(super) fn link(key: &Key, flow: &FlowRow) -> String {
    format!("/entries/{key}/conversation?{}", query(&ConversationOf::flow(flow)))
}

fn query(of: &ConversationOf) -> String {
    let (kind, service) = match &of.service {
        Service::Name(name) => ("name", home::encoded(name)),
        Service::Address(address) => ("server", home::encoded(&address.to_string())),
    };
    format!("client={}&{kind}={service}&port={}", home::encoded(&of.client.to_string()), of.port)
}

/// The conversation, where there is one.
async fn find(portal: &Portal, entry: &Entry, wanted: &Wanted) -> Result<(ConversationOf, Conversation), Failure> {
    let of = wanted.conversation()?;
    let asked = of.clone();
    let found = result::readable_result(result::look(portal, entry, move |file| file.conversation(&asked)).await?)?;
    if found.calls.is_empty() { Err(Failure(Status::NotFound)) } else { Ok((of, found)) }
}

/// The page.
#[get("/entries/<key>/conversation?<wanted..>")]
pub async fn show(me: Viewer<'_>, portal: &State<Portal>, key: &str, wanted: Wanted) -> Reply {
    let (entry, _) = entry::find(portal, me.account.id, key).await?;
    let (of, found) = find(portal, &entry, &wanted).await?;
    let messages = portal.templates.messages(me.language)?;
    let query = query(&of);
    let picture = calls(&found, messages, Ink::OnLight)?;
    let rows: Vec<Vec<String>> =
        picture.rows.into_iter().map(|(name, cells)| std::iter::once(name).chain(cells).collect()).collect();
    let (service, servers) = match &of.service {
        Service::Name(name) => {
            (format!("{name}:{}", of.port), distinct(found.calls.iter().map(|call| call.flow.dest_ip.to_string())))
        }
        Service::Address(address) => {
            (result::place(*address, of.port), distinct(found.calls.iter().filter_map(|call| call.flow.sni.clone())))
        }
    };
    let step = u64::from(portal.config.limits.page_rows);
    let offset = wanted.offset.unwrap_or_default();
    let from = usize::try_from(offset).unwrap_or(usize::MAX);
    let shown: Vec<Value> = found.calls.iter().skip(from).take(step as usize).map(row).collect();
    let to = |offset: u64| format!("/entries/{}/conversation?{query}&offset={offset}#h-calls", entry.key);
    let up_to = offset.saturating_add(shown.len() as u64);
    let count = found.calls.len() as u64;
    let data = json!({
        "key": entry.key.as_str(), "name": entry.name, "client": of.client.to_string(), "service": service,
        "servers": servers, "is_named": matches!(of.service, Service::Name(_)),
        "more": (!found.is_whole).then(|| human::grouped(MAX_CALLS.into())),
        "facts": facts(&found, messages), "beacon": beacon(&found, messages),
        "picture": json!({
            "src": format!("/entries/{}/conversation.svg?{query}", entry.key), "title": picture.title,
            "alternative": picture.alternative, "head": picture.columns, "rows": rows,
        }),
        "total": human::grouped(count), "rows": shown,
        "previous": (offset > 0).then(|| to(offset.saturating_sub(step))),
        "next": (up_to < count && up_to > offset).then(|| to(up_to)),
    });
    Ok(Page::new(portal, &me, "conversation", data)?.into())
}

/// Its picture, for a light ground or a dark one.
#[get("/entries/<key>/conversation.svg?<wanted..>")]
pub async fn picture(
    me: Viewer<'_>,
    portal: &State<Portal>,
    key: &str,
    wanted: Wanted,
) -> Result<(ContentType, String), Failure> {
    let (entry, _) = entry::find(portal, me.account.id, key).await?;
    let (_, found) = find(portal, &entry, &wanted).await?;
    let ink = if wanted.dark == Some(true) { Ink::OnDark } else { Ink::OnLight };
    Ok((ContentType::SVG, calls(&found, portal.templates.messages(me.language)?, ink)?.svg))
}

/// The first few of them, each once.
fn distinct(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut some = Vec::new();
    for one in all {
        if some.len() < SERVERS && !some.contains(&one) {
            some.push(one);
        }
    }
    some
}

fn facts(found: &Conversation, messages: &Messages) -> Vec<Value> {
    let calls = &found.calls;
    let first = calls.first().map_or(0, |call| call.flow.first_ns);
    let last = calls.iter().map(|call| call.flow.last_ns).max().unwrap_or_default();
    let sum = |of: fn(&Call) -> u64| calls.iter().map(of).fold(0, u64::saturating_add);
    let (all, sent) = (sum(|call| call.flow.bytes), sum(|call| call.sent));
    let verdicts = ["malicious", "suspicious", "benign", "unknown"].into_iter().filter_map(|verdict| {
        let count = calls.iter().filter(|call| call.flow.verdict == Some(verdict)).count() as u64;
        let name = messages.get(&format!("verdict.{verdict}"))?;
        (count > 0).then(|| format!("{name}: {}", human::grouped(count)))
    });
    let verdicts: Vec<String> = verdicts.collect();
    let score = calls.iter().filter_map(|call| call.flow.score).max_by(f64::total_cmp);
    let span = human::duration(last.saturating_sub(first) as f64);
    [
        ("field.flows", human::grouped(calls.len() as u64)),
        ("field.time", format!("{} – {} ({span})", human::time(first), human::time(last))),
        ("conversation.sent", human::bytes(sent)),
        ("conversation.received", human::bytes(all.saturating_sub(sent))),
        ("field.verdict", verdicts.join(", ")),
        ("conversation.worst", score.map(human::score).unwrap_or_default()),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(label, value)| json!({ "label": label, "value": value }))
    .collect()
}

/// Why it is a beacon, or is none: the sentence, and what it rests on.
fn beacon(found: &Conversation, messages: &Messages) -> Value {
    let say = |key: &str, values: &[(&str, String)]| {
        said(messages, &format!("conversation.{key}"), |name| {
            values.iter().find(|(of, _)| *of == name).map(|(_, value)| value.clone())
        })
    };
    let gaps = found.calls.len().saturating_sub(1);
    let Some(seen) = found.rhythm().filter(|seen| !seen.score.is_nan()) else {
        let n = human::grouped(found.calls.len() as u64);
        return json!({ "class": "unknown", "sentence": say("few", &[("n", n)]), "parts": [], "beside": [] });
    };
    let score = |score: f32| format!("{score:.2}");
    let (class, key) = if seen.score >= CLOCKWORK {
        ("suspicious", "clockwork")
    } else if seen.score >= SOMEWHAT {
        ("unknown", "somewhat")
    } else {
        ("benign", "no-clock")
    };
    let seconds = |seconds: f32| human::duration(f64::from(seconds) * 1e9);
    let share = |share: f32| human::percent(f64::from(share));
    let (usual, within) = found.usual_bytes().unwrap_or_default();
    let mut parts = vec![];
    if seen.jitter.is_nan() {
        parts.push(("part-times", say("times-none", &[])));
    } else {
        let values = [
            ("period", seconds(seen.period)),
            ("within", seconds(seen.period * seen.jitter)),
            ("jitter", share(seen.jitter)),
        ];
        parts.push(("part-times", say("times", &values)));
    }
    parts.push(("part-sizes", say("sizes", &[("usual", human::bytes(usual)), ("within", human::bytes(within))])));
    parts.push(("part-coverage", say("coverage", &[("percent", share(seen.coverage))])));
    parts.push(("part-missed", say("missed", &[("percent", share(seen.missed.max(0.0)))])));
    let parts: Vec<Value> = parts
        .into_iter()
        .map(|(label, value)| json!({ "label": format!("conversation.{label}"), "value": value }))
        .collect();
    let mut beside = Vec::new();
    if seen.confidence < BELIEVED {
        beside.push(say("little", &[("n", human::grouped(gaps as u64))]));
    }
    if let Some(best) = found.best().filter(|best| best.rhythm.score > seen.score + 0.05) {
        beside.push(say("best", &[("score", score(best.rhythm.score)), ("time", human::time(best.flow.first_ns))]));
    }
    beside.push(say("measured", &[("n", RHYTHM_GAPS.to_string())]));
    if class != "benign" {
        beside.push(say("no-proof", &[]));
    }
    let values = [("score", score(seen.score)), ("n", human::grouped(gaps.min(RHYTHM_GAPS) as u64))];
    json!({ "class": class, "sentence": say(key, &values), "parts": parts, "beside": beside })
}

fn row(call: &Call) -> Value {
    let flow = &call.flow;
    let (class, badge) = result::verdict(flow);
    json!({
        "flow_id": flow.flow_id.to_string(), "time": human::time(flow.first_ns),
        "gap": call.gap_ns.map(|gap| human::duration(gap as f64)).unwrap_or_default(),
        "lasted": human::duration(flow.duration_ns() as f64),
        "sent": human::bytes(call.sent), "received": human::bytes(flow.bytes.saturating_sub(call.sent)),
        "src": result::place(flow.src_ip, flow.src_port), "class": class, "badge": flow.verdict.map(|_| badge),
        "score": flow.score.map(human::score).unwrap_or_default(),
        "like": if call.rhythm.score.is_nan() { String::new() } else { format!("{:.2}", call.rhythm.score) },
    })
}
