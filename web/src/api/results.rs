//! What was found, for programs.

use rocket::futures::Stream;
use rocket::http::{ContentType, Status};
use rocket::response::stream::ByteStream;
use rocket::serde::json::Json;
use rocket::{State, get};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::entries::number;
use super::{Address, Answer, Caller};
use crate::accounts::audit::Action;
use crate::entries::{Entry, State as EntryState};
use crate::pages::errors::{Problem, ProblemDocument};
use crate::pages::flows::Wanted;
use crate::pages::{downloads, entry, result};
use crate::portal::Portal;
use crate::results::{AlertRow, FlowRow, ResultError, ResultFile};

/// Computers of one answer.
const HOSTS: u32 = 200;
/// Alerts of one answer.
const ALERTS: u32 = 200;

/// What an analysis came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResultView {
    /// The last line of JSON Lines: counters, limits that were reached, damage.
    #[schema(value_type = Object)]
    summary: Value,
    /// What a person must know beside the flows.
    warnings: Vec<String>,
    /// The computers that opened flows, by risk; at most 200 from the offset on.
    hosts: Vec<HostView>,
    /// How many there are.
    host_count: u64,
}

/// A computer that opened flows.
#[derive(Debug, Serialize, ToSchema)]
pub struct HostView {
    address: String,
    /// Its largest score.
    score: Option<f64>,
    malicious: u64,
    suspicious: u64,
    flows: u64,
    servers: u64,
}

/// A flow in short.
#[derive(Debug, Serialize, ToSchema)]
pub struct FlowView {
    flow_id: u64,
    /// Nanoseconds since 1970.
    first_ns: u64,
    src_ip: String,
    src_port: u16,
    dest_ip: String,
    dest_port: u16,
    /// The template that recognised it.
    app_proto: Option<String>,
    /// The server name that was asked for.
    sni: Option<String>,
    /// `malicious`, `suspicious`, `benign`, `unknown`, or nothing where it was not scored.
    verdict: Option<String>,
    score: Option<f64>,
    packets: u64,
    bytes: u64,
}

/// An alert.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertView {
    #[serde(flatten)]
    flow: FlowView,
    /// What it is for, where something tells it.
    category: Option<String>,
    /// Why that, in words.
    category_reasons: Vec<String>,
    /// Why it is an alert, in words.
    reasons: Vec<String>,
    /// Numbers of the packets to look at.
    evidence: Vec<u64>,
}

/// Some flows of many.
#[derive(Debug, Serialize, ToSchema)]
pub struct FlowList {
    flows: Vec<FlowView>,
    /// How many there are, as far as they were counted.
    total: u64,
    /// Whether all were counted in time.
    total_is_exact: bool,
    /// Whether the list is whole: a search that takes too long ends in the middle.
    is_complete: bool,
}

impl From<FlowRow> for FlowView {
    fn from(row: FlowRow) -> Self {
        Self {
            flow_id: row.flow_id,
            first_ns: row.first_ns,
            src_ip: row.src_ip.to_string(),
            src_port: row.src_port,
            dest_ip: row.dest_ip.to_string(),
            dest_port: row.dest_port,
            app_proto: row.app,
            sni: row.sni,
            verdict: row.verdict.map(str::to_owned),
            score: row.score,
            packets: row.packets,
            bytes: row.bytes,
        }
    }
}

impl From<AlertRow> for AlertView {
    fn from(row: AlertRow) -> Self {
        Self {
            flow: row.flow.into(),
            category: row.category,
            category_reasons: row.category_reasons.into_iter().map(|reason| reason.words).collect(),
            reasons: row.reasons.into_iter().map(|reason| reason.words).collect(),
            evidence: row.evidence,
        }
    }
}

/// An entry that is done.
async fn done(caller: &Caller, portal: &Portal, key: &str) -> Result<Entry, Problem> {
    let (entry, _) = entry::find(portal, caller.account.id, key).await?;
    if entry.state == EntryState::Done {
        return Ok(entry);
    }
    Err(Problem::new(Status::Conflict, format!("There is no result: the entry is {}.", entry.state)))
}

async fn look<T: Send + 'static>(
    portal: &Portal,
    entry: &Entry,
    work: impl FnOnce(&ResultFile) -> Result<T, ResultError> + Send + 'static,
) -> Result<T, Problem> {
    match result::look(portal, entry, work).await? {
        Err(error @ ResultError::TooSlow { .. }) => Err(Problem::new(Status::UnprocessableEntity, error.to_string())),
        Err(error @ ResultError::OtherVersion { .. }) => Err(Problem::new(Status::Conflict, error.to_string())),
        looked => Ok(result::readable_result(looked)?),
    }
}

/// What an analysis came to, and the computers by risk.
#[utoipa::path(
    get, path = "/api/v1/entries/{key}/result", tag = "results",
    params(
        ("key" = String, Path, description = "The entry."),
        ("offset" = Option<u64>, Query, description = "Computers to pass over."),
    ),
    responses((status = 200, body = ResultView), (status = 404, body = ProblemDocument), (status = 409, body = ProblemDocument)),
)]
#[get("/entries/<key>/result?<offset>")]
pub async fn summary(caller: Caller, portal: &State<Portal>, key: &str, offset: Option<&str>) -> Answer<ResultView> {
    let entry = done(&caller, portal, key).await?;
    let offset = number::<u64>("offset", offset)?.unwrap_or_default();
    let looked =
        look(portal, &entry, move |file| Ok((file.summary()?, file.hosts(HOSTS, offset)?, file.host_count()?))).await?;
    let (summary, hosts, host_count) = looked;
    let hosts = hosts
        .into_iter()
        .map(|host| HostView {
            address: host.address.to_string(),
            score: host.score,
            malicious: host.malicious,
            suspicious: host.suspicious,
            flows: host.flows,
            servers: host.servers,
        })
        .collect();
    let line = serde_json::from_str(&summary.line).unwrap_or_else(|_| json!({}));
    Ok(Json(ResultView { summary: line, warnings: summary.warnings, hosts, host_count }))
}

/// The alerts, the highest score first; at most 200 of them.
#[utoipa::path(
    get, path = "/api/v1/entries/{key}/alerts", tag = "results",
    params(
        ("key" = String, Path, description = "The entry."),
        ("offset" = Option<u64>, Query, description = "Alerts to pass over."),
    ),
    responses(
        (status = 200, body = Vec<AlertView>), (status = 404, body = ProblemDocument), (status = 409, body = ProblemDocument),
    ),
)]
#[get("/entries/<key>/alerts?<offset>")]
pub async fn alerts(caller: Caller, portal: &State<Portal>, key: &str, offset: Option<&str>) -> Answer<Vec<AlertView>> {
    let entry = done(&caller, portal, key).await?;
    let offset = number::<u64>("offset", offset)?.unwrap_or_default();
    let alerts = look(portal, &entry, move |file| file.alerts(ALERTS, offset)).await?;
    Ok(Json(alerts.into_iter().map(AlertView::from).collect()))
}

/// Flows, searched and sorted as on the page.
#[utoipa::path(
    get, path = "/api/v1/entries/{key}/flows", tag = "results",
    params(("key" = String, Path, description = "The entry."), Wanted),
    responses(
        (status = 200, body = FlowList), (status = 404, body = ProblemDocument), (status = 409, body = ProblemDocument),
        (status = 422, body = ProblemDocument),
    ),
)]
#[get("/entries/<key>/flows?<wanted..>")]
pub async fn flows(caller: Caller, portal: &State<Portal>, key: &str, wanted: Wanted) -> Answer<FlowList> {
    let entry = done(&caller, portal, key).await?;
    let query = wanted.query(portal.config.limits.page_rows);
    if let Some(unknown) = wanted.unknown() {
        return Err(Problem::new(Status::UnprocessableEntity, format!("`{unknown}` has a value that is not offered.")));
    }
    let page = look(portal, &entry, move |file| file.flows(&query)).await?;
    Ok(Json(FlowList {
        flows: page.rows.into_iter().map(FlowView::from).collect(),
        total: page.total,
        total_is_exact: page.total_is_exact,
        is_complete: page.is_complete,
    }))
}

/// All flows as JSON Lines, as `veilwatch detect --all` writes them.
#[utoipa::path(
    get, path = "/api/v1/entries/{key}/flows.jsonl", tag = "results",
    params(("key" = String, Path, description = "The entry.")),
    responses(
        (status = 200, content_type = "application/jsonl", body = String), (status = 404, body = ProblemDocument),
        (status = 409, body = ProblemDocument),
    ),
)]
#[get("/entries/<key>/flows.jsonl")]
pub async fn json_lines(
    caller: Caller,
    address: Address,
    portal: &State<Portal>,
    key: &str,
) -> Result<(ContentType, ByteStream<impl Stream<Item = Vec<u8>> + use<>>), Problem> {
    let entry = done(&caller, portal, key).await?;
    let body = downloads::json_lines_of(portal, &entry)?;
    downloads::note(portal, caller.actor(&address), Action::Exported, &entry).await?;
    Ok((ContentType::new("application", "jsonl"), ByteStream(body)))
}
