//! Uploads that go on after they were broken off: the tus protocol 1.0.0. See [`crate::tus`].

use rocket::data::Data;
use rocket::serde::json::Json;
use rocket::{State, delete, get, options, patch, post};

use rusqlite::Connection;

use super::entries::{UploadOptions, refused, said};
use super::once::{Repeat, Turn};
use super::{Address, Answer, Writer};
use crate::pages::errors::{Problem, ProblemDocument};
use crate::portal::Portal;
use crate::tus::{self, Asked, No, Told, UploadView};
use crate::uploads::{Key, resumable};

fn problem(portal: &Portal, (status, refusal): No) -> Problem {
    said(portal, status, &refusal.key, &refusal.values)
}

/// What is spoken here: version, extensions, the largest upload.
#[utoipa::path(options, path = "/api/v1/uploads", tag = "uploads", responses((status = 204)))]
#[options("/uploads")]
pub fn offer(_caller: Writer, portal: &State<Portal>) -> Told {
    tus::offer(portal)
}

/// Begin an upload that can be gone on with (tus 1.0.0).
///
/// The body may hold its first piece, with the type `application/offset+octet-stream`. The query says what becomes of it at
/// the end, as for an upload in one piece. `Upload-Metadata` may name the file as `filename`.
#[utoipa::path(
    post, path = "/api/v1/uploads", tag = "uploads",
    params(
        UploadOptions,
        ("Tus-Resumable" = String, Header, description = "`1.0.0`."),
        ("Upload-Length" = u64, Header, description = "Bytes of the capture."),
        ("Upload-Metadata" = Option<String>, Header, description = "Pairs of a name and a value in Base64."),
        ("Idempotency-Key" = Option<String>, Header, description = "Asked again with the same key, nothing more is made."),
    ),
    request_body(content_type = "application/offset+octet-stream", content = Option<Vec<u8>>),
    responses(
        (status = 201, body = UploadView, description = "`Location` says where to go on."),
        (status = 400, body = ProblemDocument), (status = 409, body = ProblemDocument), (status = 412, body = ProblemDocument),
        (status = 413, body = ProblemDocument), (status = 422, body = ProblemDocument), (status = 429, body = ProblemDocument),
        (status = 507, body = ProblemDocument),
    ),
)]
#[post("/uploads?<options..>", data = "<data>")]
pub async fn create(
    caller: Writer,
    address: Address,
    portal: &State<Portal>,
    asked: Asked,
    options: UploadOptions,
    repeat: Repeat,
    data: Data<'_>,
) -> Result<Told, Problem> {
    let (account, actor) = (caller.0.account.id, caller.0.actor(&address));
    let turn = repeat.enter(portal, account).await?;
    let asks = asked.fingerprint();
    if let Turn::Again(made) = &turn {
        made.check(portal, &asks)?;
        // What comes with it came before: its offset says where to go on.
        return tus::begun_before(portal, account, &made.location).await.map_err(|no| problem(portal, no));
    }
    let note = turn.note();
    let first = move |connection: &Connection, key: &Key| note(connection, &asks, key);
    let name = options.name();
    let confirmation = options.checked(portal)?;
    let created = tus::create(portal, (account, &actor), asked, (name, confirmation), first, data).await;
    created.map_err(|no| problem(portal, no))
}

/// The account's uploads that can be gone on with, the oldest first.
#[utoipa::path(get, path = "/api/v1/uploads", tag = "uploads", responses((status = 200, body = Vec<UploadView>)))]
#[get("/uploads")]
pub async fn list(caller: Writer, portal: &State<Portal>) -> Answer<Vec<UploadView>> {
    let (account, now) = (caller.0.account.id, portal.now());
    let all = portal.db.run(move |connection| resumable::unfinished(connection, account, now)).await;
    let all = all.map_err(|error| refused(portal, error.into()))?;
    Ok(Json(all.iter().map(UploadView::from).collect()))
}

/// How far an upload has come. `HEAD` gives the headers alone: `Upload-Offset` says where to go on.
///
/// One that was refused is gone (410), and the answer to a `GET` says why.
#[utoipa::path(
    get, path = "/api/v1/uploads/{key}", tag = "uploads", params(("key" = String, Path, description = "The upload.")),
    responses(
        (status = 200, body = UploadView), (status = 404, body = ProblemDocument), (status = 410, body = ProblemDocument),
    ),
)]
#[get("/uploads/<key>")]
pub async fn show(caller: Writer, portal: &State<Portal>, asked: Asked, key: &str) -> Result<Told, Problem> {
    tus::show(portal, caller.0.account.id, &asked, key).await.map_err(|no| problem(portal, no))
}

/// Go on with an upload. The last piece is answered when the capture was looked at: `Veilwatch-Entry` names its entry.
#[utoipa::path(
    patch, path = "/api/v1/uploads/{key}", tag = "uploads",
    params(
        ("key" = String, Path, description = "The upload."),
        ("Tus-Resumable" = String, Header, description = "`1.0.0`."),
        ("Upload-Offset" = u64, Header, description = "Where the piece begins: where the upload stands."),
        ("Upload-Checksum" = Option<String>, Header, description = "`sha256` or `sha1`, and the hash of the piece in Base64: a piece with another hash is not kept (460)."),
    ),
    request_body(content_type = "application/offset+octet-stream", content = Vec<u8>),
    responses(
        (status = 204), (status = 400, body = ProblemDocument), (status = 404, body = ProblemDocument),
        (status = 408, body = ProblemDocument), (status = 409, body = ProblemDocument), (status = 410, body = ProblemDocument),
        (status = 412, body = ProblemDocument), (status = 413, body = ProblemDocument), (status = 415, body = ProblemDocument),
        (status = 422, body = ProblemDocument), (status = 423, body = ProblemDocument), (status = 429, body = ProblemDocument),
        (status = 460, body = ProblemDocument), (status = 507, body = ProblemDocument),
    ),
)]
#[patch("/uploads/<key>", data = "<data>")]
pub async fn append(
    caller: Writer,
    address: Address,
    portal: &State<Portal>,
    asked: Asked,
    key: &str,
    data: Data<'_>,
) -> Result<Told, Problem> {
    let (account, actor) = (caller.0.account.id, caller.0.actor(&address));
    tus::append(portal, (account, &actor), &asked, key, data).await.map_err(|no| problem(portal, no))
}

/// End an upload for good. The entry of one that is done stays.
#[utoipa::path(
    delete, path = "/api/v1/uploads/{key}", tag = "uploads",
    params(
        ("key" = String, Path, description = "The upload."),
        ("Tus-Resumable" = String, Header, description = "`1.0.0`."),
    ),
    responses(
        (status = 204), (status = 404, body = ProblemDocument), (status = 412, body = ProblemDocument),
        (status = 423, body = ProblemDocument),
    ),
)]
#[delete("/uploads/<key>")]
pub async fn remove(caller: Writer, portal: &State<Portal>, asked: Asked, key: &str) -> Result<Told, Problem> {
    tus::terminate(portal, caller.0.account.id, &asked, key).await.map_err(|no| problem(portal, no))
}
