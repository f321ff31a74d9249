//! Captures come in, and what becomes of them.

use std::str::FromStr;

use rocket::data::{Data, ToByteUnit};
use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};
use rocket::serde::json::Json;
use rocket::tokio::io::AsyncRead;
use rocket::{FromForm, Request, State, delete, get, patch, post};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::body::Body;
use super::once::{Given, Made, Repeat, Turn};
use super::{Address, Answer, Caller, Writer};
use crate::accounts::teams::{self, Standing};
use crate::accounts::{Reason, Refused};
use crate::config::DEFAULT_PIPELINE;
use crate::entries::{self, Choices, Entry, Finding, May, State as EntryState};
use crate::jobs::live::Live;
use crate::pages::errors::{Problem, ProblemDocument};
use crate::pages::render::status_of;
use crate::pages::uploads::drain;
use crate::pages::{Language, entry, home};
use crate::portal::Portal;
use crate::uploads::receive::{self, ReceiveLimits};
use crate::uploads::resumable::Confirmation as Wish;
use crate::uploads::{Outcome as Upload, Sha256Hex, shown_name};

/// Entries of one answer where nobody says how many.
const PAGE: u32 = 50;

/// An entry.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntryView {
    /// What names it in addresses.
    key: String,
    /// What its file was called.
    name: String,
    /// What its owner says of it.
    note: String,
    /// What it is sorted into.
    category: Option<String>,
    /// The name to show of whoever uploaded it.
    owner: String,
    /// The team that it is shared with.
    team: Option<String>,
    /// What the account may do with it.
    may: May,
    /// When its capture was deleted while its result stayed, in seconds since 1970.
    capture_deleted_at: Option<i64>,
    /// SHA-256 of the capture, hexadecimal.
    sha256: String,
    /// Bytes of the capture.
    bytes: u64,
    /// When it was uploaded, in seconds since 1970.
    created_at: i64,
    /// How far it has come.
    state: EntryState,
    /// What was recognised before the confirmation.
    #[schema(value_type = Object)]
    inspection: Value,
    /// The pipeline that was chosen.
    pipeline: Option<String>,
    /// Its version, where it was made in the portal.
    pipeline_version: Option<i64>,
    /// Packets after which the analysis stops.
    packet_limit: Option<u64>,
    /// When it was done or failed, in seconds since 1970.
    ended_at: Option<i64>,
    /// The worst that was found, once it is done.
    verdict: Option<Finding>,
    /// What the analysis came to, once it is done.
    #[schema(value_type = Option<Object>)]
    analysed: Option<Value>,
    /// Why there is no result, where it failed: the kind, and the words for it.
    failure: Option<FailureView>,
    /// How far it has come, while it runs.
    #[schema(value_type = Option<Object>)]
    progress: Option<Live>,
}

/// Why there is no result.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailureView {
    /// The kind, such as `crashed`, `memory`, `pipeline`.
    why: String,
    /// What happened, as the worker or the system says it.
    words: Option<String>,
}

/// Some entries of many.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntryList {
    /// The entries, newest first.
    entries: Vec<EntryView>,
    /// How many there are in all.
    total: u64,
}

fn view(portal: &Portal, entry: Entry) -> EntryView {
    let verdict = entry.finding();
    let progress = portal.runner.board.find(entry.id).map(|running| running.now());
    EntryView {
        verdict,
        progress: progress.filter(|_| entry.state == EntryState::Running),
        key: entry.key.to_string(),
        name: entry.name,
        note: entry.note,
        category: entry.category,
        owner: entry.owner,
        team: entry.team.map(|team| team.name),
        may: entry.may,
        capture_deleted_at: entry.capture_gone_at,
        sha256: entry.sha256.to_string(),
        bytes: entry.bytes,
        created_at: entry.created_at,
        state: entry.state,
        inspection: json!(entry.inspection),
        pipeline: entry.pipeline,
        pipeline_version: entry.pipeline_version,
        packet_limit: entry.packet_limit,
        ended_at: entry.ended_at,
        analysed: entry.analysed.filter(|_| verdict.is_some()).map(|analysed| json!(analysed)),
        failure: entry
            .why
            .filter(|_| entry.state == EntryState::Failed)
            .map(|why| FailureView { why, words: entry.words }),
    }
}

/// The problem document of what was refused: its words are English, as all of the API.
pub(super) fn refused(portal: &Portal, error: Refused) -> Problem {
    match error {
        Refused::Because(Reason::NotThere) => Status::NotFound.into(),
        Refused::Because(Reason::NotAllowed) => Status::Forbidden.into(),
        Refused::Because(Reason::Form) => Problem::new(
            Status::UnprocessableEntity,
            "A value is none of those that are offered: `/api/v1/openapi.json` names them.",
        ),
        Refused::Because(reason) => said(portal, Status::UnprocessableEntity, &reason.to_string(), &json!({})),
        broken => {
            tracing::error!(error = %broken, "an API request failed");
            status_of(&broken).into()
        }
    }
}

pub(super) fn said(portal: &Portal, status: Status, key: &str, values: &Value) -> Problem {
    match portal.templates.message(Language::English, key, values) {
        Ok(words) => Problem::new(status, words),
        Err(_) => status.into(),
    }
}

/// The length that a request says its body has.
pub struct Declared(Option<u64>);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Declared {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        Outcome::Success(Self(request.headers().get_one("Content-Length").and_then(|length| length.parse().ok())))
    }
}

/// What to do with an upload.
#[derive(Debug, FromForm, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UploadOptions {
    /// What its file is called.
    name: Option<String>,
    /// Confirm it at once: it is then analysed without another call. Where that cannot be once the file is there (as
    /// many wait as may wait, the quota is used up, the pipeline is gone), the entry stays `unconfirmed`.
    #[field(default = false)]
    #[param(required = false)]
    confirm: bool,
    /// The pipeline to confirm it with; `default` where none is named.
    pipeline: Option<String>,
    /// Packets after which the analysis stops.
    #[param(value_type = Option<u64>)]
    packets: Option<String>,
    /// What to say of it.
    note: Option<String>,
}

impl UploadOptions {
    /// What the file is called.
    pub(super) fn name(&self) -> String {
        shown_name(self.name.as_deref().unwrap_or_default())
    }

    /// How to confirm the upload, if it is to be; what can be said before the file comes is said now.
    pub(super) fn checked(self, portal: &Portal) -> Result<Option<Wish>, Problem> {
        if self.pipeline.as_ref().is_some_and(|name| !portal.pipelines().contains(name)) {
            return Err(refused(portal, Reason::Pipeline.into()));
        }
        let packets: Option<u64> = number("packets", self.packets.as_deref())?;
        if packets == Some(0) {
            return Err(refused(portal, Reason::PacketLimit.into()));
        }
        let note = self.note.unwrap_or_default();
        if !entries::is_note(&note) {
            return Err(refused(portal, Reason::Note.into()));
        }
        Ok(self.confirm.then_some(Wish { pipeline: self.pipeline, packets, note }))
    }
}

/// A number of a query. One that is none is told: as if it were not there, it would ask for something else.
pub(super) fn number<T: FromStr>(name: &str, text: Option<&str>) -> Result<Option<T>, Problem> {
    let wrong = |_| Problem::new(Status::UnprocessableEntity, format!("`{name}` is no number that fits."));
    text.map(|text| text.parse::<T>().map_err(wrong)).transpose()
}

/// Upload a capture: the body is the file itself.
///
/// It may be pcap or pcapng, also packed with gzip or zstd; what counts is its content. With an `Idempotency-Key` it can be
/// sent again: the same request with the same key makes no second entry and is given the first answer.
#[utoipa::path(
    post, path = "/api/v1/entries", tag = "entries",
    params(UploadOptions, ("Idempotency-Key" = Option<String>, Header, description = "Up to 255 characters, the program's own.")),
    request_body(content_type = "application/octet-stream", content = Vec<u8>),
    responses(
        (status = 201, body = EntryView), (status = 408, body = ProblemDocument), (status = 409, body = ProblemDocument),
        (status = 413, body = ProblemDocument), (status = 422, body = ProblemDocument), (status = 429, body = ProblemDocument), (status = 507, body = ProblemDocument),
    ),
)]
#[post("/entries?<options..>", data = "<data>")]
pub async fn upload(
    caller: Writer,
    address: Address,
    portal: &State<Portal>,
    declared: Declared,
    options: UploadOptions,
    repeat: Repeat,
    data: Data<'_>,
) -> Result<Given, Problem> {
    let account = caller.0.account.id;
    let name = options.name();
    let wish = options.checked(portal)?;
    // One byte more tells a file of just the limit from a longer one.
    let mut body = data.open((portal.config.limits.upload_bytes.saturating_add(1)).bytes());
    let turn = repeat.enter(portal, account).await?;
    if let Turn::Again(made) = &turn {
        made.check(portal, digest(portal, account, &mut body).await?.as_str())?;
        return made_before(portal, account, made, Status::Created).await;
    }
    let intake = &portal.intake;
    let (actor, wish) = (caller.0.actor(&address), wish.map(Choices::from));
    let taken = intake.take_and(account, &actor, &name, declared.0, &mut body, turn.note(), wish).await;
    let key = match taken {
        Upload::Kept(key) => key,
        Upload::Refused(status, refusal) => {
            drain(&mut body).await;
            return Err(said(portal, status, &refusal.key, &refusal.values));
        }
    };
    // The queue may be full, or the quota used up: the capture is kept, and the state says that it waits for a
    // confirmation.
    let (entry, _) = entry::find(portal, account, key.as_str()).await?;
    let given = Given::new(Status::Created, &view(portal, entry), format!("/api/v1/entries/{key}"))?;
    Ok(turn.answer(portal, given).await)
}

/// The SHA-256 of a body that is sent again: nothing else is kept of it.
async fn digest(portal: &Portal, account: i64, body: &mut (impl AsyncRead + Unpin)) -> Result<Sha256Hex, Problem> {
    let (intake, limits) = (&portal.intake, &portal.config.limits);
    let read = async {
        let _turn = intake.under_way.begin(account, 0, limits).map_err(|reason| intake.of_reason(reason))?;
        receive::digest(&mut *body, ReceiveLimits::from(limits)).await.map_err(|error| intake.of_upload(&error))
    };
    let read = read.await;
    match read {
        Ok(sha256) => Ok(sha256),
        Err((status, refusal)) => {
            drain(body).await;
            Err(said(portal, status, &refusal.key, &refusal.values))
        }
    }
}

/// The answer to a request that made an entry before.
async fn made_before(portal: &Portal, account: i64, made: &Made, status: Status) -> Result<Given, Problem> {
    let location = format!("/api/v1/entries/{}", made.location);
    if let Some(answer) = made.answer.clone() {
        return Ok(Given::again(status, answer, location));
    }
    let (entry, _) = entry::find(portal, account, &made.location).await?;
    Given::new(status, &view(portal, entry), location)
}

/// Which entries are looked for.
#[derive(Debug, FromForm, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// `mine`, or the number of a team; all that the account may read where nothing is said.
    whose: Option<String>,
    /// A part of a name, a note or a hash.
    search: Option<String>,
    /// Only entries of this state: `unconfirmed`, `queued`, `running`, `done`, `failed`.
    state: Option<String>,
    /// Only entries that are done, of this verdict: `malicious`, `suspicious`, `nothing`.
    verdict: Option<String>,
    /// Entries to pass over.
    #[param(value_type = Option<u32>)]
    offset: Option<String>,
    /// Entries to list, at most 200.
    #[param(value_type = Option<u32>)]
    limit: Option<String>,
}

/// The entries that the account may read, newest first.
#[utoipa::path(
    get, path = "/api/v1/entries", tag = "entries", params(Wanted),
    responses((status = 200, body = EntryList), (status = 422, body = ProblemDocument)),
)]
#[get("/entries?<wanted..>")]
pub async fn list(caller: Caller, portal: &State<Portal>, wanted: Wanted) -> Answer<EntryList> {
    let unknown = |reason: Reason| refused(portal, reason.into());
    let whose = home::whose(wanted.whose.as_deref().unwrap_or_default()).ok_or_else(|| unknown(Reason::Form))?;
    let query = entries::Query {
        whose,
        search: wanted.search.unwrap_or_default(),
        category: None,
        state: wanted.state.map(|state| state.parse()).transpose().map_err(unknown)?,
        verdict: wanted.verdict.map(|verdict| verdict.parse()).transpose().map_err(unknown)?,
        offset: number("offset", wanted.offset.as_deref())?.unwrap_or_default(),
        limit: number("limit", wanted.limit.as_deref())?.unwrap_or(PAGE),
    };
    let account = caller.account.id;
    let page = portal.db.run(move |connection| entries::list(connection, account, &query)).await;
    let page = page.map_err(|error| refused(portal, error.into()))?;
    let entries = page.entries.into_iter().map(|entry| view(portal, entry)).collect();
    Ok(Json(EntryList { entries, total: page.total }))
}

/// One entry: its state, how far it has come, what it came to.
#[utoipa::path(
    get, path = "/api/v1/entries/{key}", tag = "entries", params(("key" = String, Path, description = "The entry.")),
    responses((status = 200, body = EntryView), (status = 404, body = ProblemDocument)),
)]
#[get("/entries/<key>")]
pub async fn show(caller: Caller, portal: &State<Portal>, key: &str) -> Answer<EntryView> {
    let (entry, _) = entry::find(portal, caller.account.id, key).await?;
    Ok(Json(view(portal, entry)))
}

/// What to say of an entry.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// A line of at most 500 characters; as it is where nothing is said.
    note: Option<String>,
    /// The number of one of the account's teams to share it with, 0 to take it back; as it is where nothing is said.
    team: Option<i64>,
}

/// Change the note, and whom it is shared with.
#[utoipa::path(
    patch, path = "/api/v1/entries/{key}", tag = "entries", params(("key" = String, Path, description = "The entry.")),
    request_body = Description,
    responses((status = 200, body = EntryView), (status = 404, body = ProblemDocument), (status = 422, body = ProblemDocument)),
)]
#[patch("/entries/<key>", data = "<description>")]
pub async fn describe(
    caller: Writer,
    address: Address,
    portal: &State<Portal>,
    key: &str,
    description: Body<Description>,
) -> Answer<EntryView> {
    let (account, actor, now, own) = (caller.0.account.id, caller.0.actor(&address), portal.now(), key.to_owned());
    let (before, _) = entry::find(portal, account, key).await?;
    let Description { note, team } = description.0;
    let team = team.map(|team| (team != 0).then_some(team));
    let new = entries::Description { note, team, ..entries::Description::default() };
    let changed = portal.db.run(move |c| entries::describe(c, account, &own, &new, &actor, now)).await;
    changed.map_err(|error| refused(portal, error))?;
    let own = key.to_owned();
    let found = portal.db.run(move |connection| entries::find(connection, account, &own)).await;
    let found = found.map_err(|error| refused(portal, error.into()))?;
    // Whoever leads a team and took the entry of another out of it sees it a last time.
    Ok(Json(view(portal, found.unwrap_or(Entry { team: None, ..before }))))
}

/// Delete an entry, its capture, and all that came from it.
#[utoipa::path(
    delete, path = "/api/v1/entries/{key}", tag = "entries", params(("key" = String, Path, description = "The entry.")),
    responses((status = 204), (status = 404, body = ProblemDocument)),
)]
#[delete("/entries/<key>")]
pub async fn delete(caller: Writer, address: Address, portal: &State<Portal>, key: &str) -> Result<Status, Problem> {
    let deleted = entry::delete_it(portal, caller.0.account.id, key, caller.0.actor(&address)).await;
    deleted.map_err(|error| refused(portal, error))?;
    Ok(Status::NoContent)
}

/// How to analyse.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Confirmation {
    /// The pipeline; `default` where none is named.
    pipeline: Option<String>,
    /// Packets after which the analysis stops.
    packets: Option<u64>,
    /// A line of at most 500 characters.
    note: String,
}

/// Confirm an upload: it is then analysed.
#[utoipa::path(
    post, path = "/api/v1/entries/{key}/confirm", tag = "entries",
    params(("key" = String, Path, description = "The entry.")), request_body = Confirmation,
    responses((status = 200, body = EntryView), (status = 404, body = ProblemDocument), (status = 422, body = ProblemDocument)),
)]
#[post("/entries/<key>/confirm", data = "<choices>")]
pub async fn confirm(
    caller: Writer,
    address: Address,
    portal: &State<Portal>,
    key: &str,
    choices: Body<Confirmation>,
) -> Answer<EntryView> {
    let Confirmation { pipeline, packets, note } = choices.0;
    let pipeline = pipeline.unwrap_or_else(|| DEFAULT_PIPELINE.to_owned());
    let choices = Choices { pipeline, packet_limit: packets, note, category: None, team: None };
    let begun = entry::begin(portal, caller.0.account.id, key, choices, caller.0.actor(&address)).await;
    begun.map_err(|error| refused(portal, error))?;
    show(caller.0, portal, key).await
}

/// Stop an analysis; what was found so far is kept.
#[utoipa::path(
    post, path = "/api/v1/entries/{key}/stop", tag = "entries",
    params(("key" = String, Path, description = "The entry.")),
    responses((status = 200, body = EntryView), (status = 404, body = ProblemDocument), (status = 422, body = ProblemDocument)),
)]
#[post("/entries/<key>/stop")]
pub async fn stop(caller: Writer, address: Address, portal: &State<Portal>, key: &str) -> Answer<EntryView> {
    let stopped = entry::stop_it(portal, caller.0.account.id, key, caller.0.actor(&address)).await;
    stopped.map_err(|error| refused(portal, error))?;
    show(caller.0, portal, key).await
}

/// Analyse the same capture once more: a new entry, to be confirmed. An `Idempotency-Key` makes it one entry at most.
#[utoipa::path(
    post, path = "/api/v1/entries/{key}/again", tag = "entries",
    params(
        ("key" = String, Path, description = "The entry."),
        ("Idempotency-Key" = Option<String>, Header, description = "Up to 255 characters, the program's own."),
    ),
    responses((status = 200, body = EntryView), (status = 409, body = ProblemDocument), (status = 404, body = ProblemDocument), (status = 422, body = ProblemDocument)),
)]
#[post("/entries/<key>/again")]
pub async fn again(
    caller: Writer,
    address: Address,
    portal: &State<Portal>,
    repeat: Repeat,
    key: &str,
) -> Result<Given, Problem> {
    let (account, actor, now) = (caller.0.account.id, caller.0.actor(&address), portal.now());
    let turn = repeat.enter(portal, account).await?;
    if let Turn::Again(made) = &turn {
        made.check(portal, "")?;
        return made_before(portal, account, made, Status::Ok).await;
    }
    let (limits, old, note) = (portal.config.limits.clone(), key.to_owned(), turn.note());
    let made = portal.db.run(move |connection| {
        entries::analyse_again(connection, account, &old, &limits, &actor, now, |db, new| note(db, "", new))
    });
    let new = made.await.map_err(|error| refused(portal, error))?;
    let (entry, _) = entry::find(portal, account, new.as_str()).await?;
    let given = Given::new(Status::Ok, &view(portal, entry), format!("/api/v1/entries/{new}"))?;
    Ok(turn.answer(portal, given).await)
}

/// A team that the account is in.
#[derive(Debug, Serialize, ToSchema)]
pub struct TeamView {
    /// Its number.
    id: i64,
    /// What it is called.
    name: String,
    /// What the account may do with what is shared there.
    standing: Standing,
}

/// The teams that the account is in.
#[utoipa::path(get, path = "/api/v1/teams", tag = "entries", responses((status = 200, body = Vec<TeamView>)))]
#[get("/teams")]
pub async fn my_teams(caller: Caller, portal: &State<Portal>) -> Answer<Vec<TeamView>> {
    let account = caller.account.id;
    let found = portal.db.run(move |connection| teams::of_account(connection, account)).await;
    let found = found.map_err(|error| refused(portal, error.into()))?;
    let view = |team: teams::Membership| TeamView { id: team.id, name: team.name, standing: team.standing };
    Ok(Json(found.into_iter().map(view).collect()))
}

/// The pipelines that can be chosen.
#[utoipa::path(get, path = "/api/v1/pipelines", tag = "entries", responses((status = 200, body = Vec<String>)))]
#[get("/pipelines")]
pub fn pipelines(_caller: Caller, portal: &State<Portal>) -> Json<Vec<String>> {
    Json(portal.pipelines())
}
