//! The tus protocol, version 1.0.0 (<https://tus.io/protocols/resumable-upload>): uploads that go on after they were
//! broken off, for programs and for the script of the page.
//!
//! It has two doors, [`crate::api::uploads`] and [`crate::pages::resumable`], which differ in who is let in and in what
//! language is spoken. What is asked and answered is here, and the bytes are [`crate::uploads::resumable`]'s. Beside the
//! core it speaks the extensions `creation`, `creation-with-upload`, `expiration`, `checksum` and `termination`. One header
//! is ours: `Veilwatch-Entry` names the entry that an upload became.

use rocket::data::{Data, ToByteUnit};
use rocket::fairing::{Fairing, Info, Kind};
use rocket::http::{Header, Method, Status};
use rocket::request::{FromRequest, Outcome as Guarded};
use rocket::response::{Responder, Response};
use rocket::{Request, response};
use rusqlite::Connection;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::accounts::{Actor, Reason, Refused};
use crate::pages::uploads::drain;
use crate::portal::Portal;
use crate::uploads::receive::ReceiveLimits;
use crate::uploads::resumable::{
    self, AppendError, Checksum, Confirmation, Held, Metadata, NewResumable, Resumable, Stage,
};
use crate::uploads::{Key, Outcome, Refusal};

/// The version of the protocol.
pub const VERSION: &str = "1.0.0";
/// What is spoken beside its core.
pub const EXTENSIONS: &str = "creation,creation-with-upload,expiration,checksum,termination";
/// The header with the key of the entry that an upload became.
pub const ENTRY: &str = "Veilwatch-Entry";
/// Where programs come in.
pub const API: &str = "/api/v1/uploads";
/// Where the script of the page comes in.
pub const PAGE: &str = "/uploads/resumable";
/// The type of a piece.
const PIECE_TYPE: &str = "application/offset+octet-stream";
/// The status of a piece that is not what its checksum says.
const CHECKSUM_MISMATCH: u16 = 460;

/// Why something was not done: a status, and the words for it.
pub type No = (Status, Refusal);

fn no(code: u16, key: &str) -> No {
    (Status::new(code), Refusal::new(format!("tus.{key}")))
}

/// The headers of a request that the protocol knows.
#[derive(Debug)]
pub struct Asked {
    version: Option<String>,
    length: Option<String>,
    deferred: bool,
    offset: Option<String>,
    metadata: Option<String>,
    checksum: Option<String>,
    declared: Option<u64>,
    is_piece: bool,
    is_for_programs: bool,
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Asked {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Guarded<Self, ()> {
        let text = |name: &str| request.headers().get_one(name).map(str::to_owned);
        Guarded::Success(Self {
            version: text("Tus-Resumable"),
            length: text("Upload-Length"),
            deferred: text("Upload-Defer-Length").is_some(),
            offset: text("Upload-Offset"),
            metadata: text("Upload-Metadata"),
            checksum: text("Upload-Checksum"),
            declared: text("Content-Length").and_then(|length| length.parse().ok()),
            is_piece: text("Content-Type").is_some_and(|kind| kind.eq_ignore_ascii_case(PIECE_TYPE)),
            is_for_programs: request.uri().path().starts_with(API),
        })
    }
}

impl Asked {
    /// What makes a request to begin an upload another one than the last, beside its address.
    pub fn fingerprint(&self) -> String {
        format!("{:?} {:?}", self.length, self.metadata)
    }

    fn check_version(&self) -> Result<(), No> {
        if self.version.as_deref() == Some(VERSION) { Ok(()) } else { Err(no(412, "version")) }
    }

    fn checksum(&self) -> Result<Option<Checksum>, No> {
        let given = self.checksum.as_deref();
        given.map(|text| Checksum::parse(text).ok_or_else(|| no(400, "checksum"))).transpose()
    }
}

/// A number that has nothing but digits.
fn number(text: Option<&str>, otherwise: &str) -> Result<u64, No> {
    let digits = text.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| no(400, otherwise))
}

/// An upload that can be gone on with, or that came to its end not long ago.
#[derive(Debug, Serialize, ToSchema)]
pub struct UploadView {
    /// What names it in addresses.
    key: String,
    /// What its file is called.
    name: String,
    /// Its bytes.
    length: u64,
    /// Those that are kept: go on here.
    offset: u64,
    /// The key of the entry that it became.
    entry: Option<String>,
    /// When it is forgotten unless more of it comes, in seconds since 1970.
    expires_at: i64,
}

impl From<&Resumable> for UploadView {
    fn from(upload: &Resumable) -> Self {
        let entry = match &upload.stage {
            Stage::Done(entry) => Some(entry.clone()),
            Stage::Open | Stage::Refused(_) => None,
        };
        Self {
            key: upload.key.to_string(),
            name: upload.name.clone(),
            length: upload.length,
            offset: upload.kept,
            entry,
            expires_at: upload.expires_at,
        }
    }
}

/// An answer.
#[derive(Debug)]
pub struct Told {
    status: Status,
    headers: Vec<Header<'static>>,
    body: Option<Value>,
}

impl Told {
    fn new(status: Status) -> Self {
        Self { status, headers: Vec::new(), body: None }
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push(Header::new(name, value.to_string()));
        self
    }

    /// How far an upload has come.
    fn of(status: Status, upload: &Resumable) -> Self {
        let mut told =
            Self::new(status).with("Upload-Offset", upload.kept).with("Upload-Expires", date(upload.expires_at));
        if let Stage::Done(entry) = &upload.stage {
            told = told.with(ENTRY, entry);
        }
        told
    }
}

impl<'r> Responder<'r, 'static> for Told {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let mut response = match self.body {
            Some(body) => rocket::serde::json::Json(body).respond_to(request)?,
            None => Response::new(),
        };
        response.set_status(self.status);
        for header in self.headers {
            response.set_header(header);
        }
        Ok(response)
    }
}

/// A time as headers have it (RFC 9110, section 5.6.7).
fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| String::new(), |time| time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

/// What is spoken here.
pub fn offer(portal: &Portal) -> Told {
    Told::new(Status::NoContent)
        .with("Tus-Version", VERSION)
        .with("Tus-Extension", EXTENSIONS)
        .with("Tus-Max-Size", portal.config.limits.upload_bytes)
        .with("Tus-Checksum-Algorithm", Checksum::ALGORITHMS)
}

/// Begins an upload, and takes what comes with the request. `name` is what its file is called where its description does
/// not say; `noted` is told the key of what is begun.
///
/// # Errors
/// Where it is refused.
pub async fn create(
    portal: &Portal,
    (account, actor): (i64, &Actor),
    asked: Asked,
    (name, confirmation): (String, Option<Confirmation>),
    noted: impl FnOnce(&Connection, &Key) -> Result<(), Refused> + Send + 'static,
    data: Data<'_>,
) -> Result<Told, No> {
    asked.check_version()?;
    if asked.deferred {
        return Err(no(400, "deferred"));
    }
    let length = number(asked.length.as_deref(), "length")?;
    let metadata = asked.metadata.as_deref().filter(|text| !text.trim().is_empty());
    let metadata = metadata.map(|text| Metadata::parse(text).ok_or_else(|| no(400, "metadata"))).transpose()?;
    asked.checksum()?;
    let intake = &portal.intake;
    let fits = ReceiveLimits::from(&portal.config.limits).check_declared(&portal.folders, length);
    fits.map_err(|error| intake.of_upload(&error))?;
    let new = NewResumable { length, metadata, name, confirmation };
    let (folders, limits, now, by) =
        (portal.folders.clone(), portal.config.limits.clone(), portal.now(), actor.clone());
    let writing = intake.writing.clone();
    // What others forgot may be what there is no room for.
    let forgotten = portal.db.run(move |connection| resumable::forget(connection, &writing, now));
    let forgotten = forgotten.await.map_err(|error| gone(portal, error.into()))?;
    forgotten.remove(&portal.folders).await.map_err(|error| gone(portal, error.into()))?;
    let begun = portal
        .db
        .run(move |connection| resumable::begin(connection, &folders, &new, (account, &by), &limits, now, noted));
    let upload = match begun.await {
        Ok(upload) => upload,
        Err(error) => {
            let (status, refusal) = intake.of_refused(error);
            return Err((status, intake.with_quota(account, refusal).await));
        }
    };
    let base = if asked.is_for_programs { API } else { PAGE };
    let place = format!("{base}/{}", upload.key);
    let upload = if asked.is_piece {
        let held = hold(portal, upload.id)?;
        go_on(portal, (account, actor), upload, held, &asked, data).await?
    } else {
        upload
    };
    let mut told = Told::of(Status::Created, &upload).with("Location", place);
    told.body = Some(json!(UploadView::from(&upload)));
    Ok(told)
}

/// What is answered to a program that begins an upload once more, because it did not hear where it is.
///
/// # Errors
/// Where it is gone meanwhile.
pub async fn begun_before(portal: &Portal, account: i64, key: &str) -> Result<Told, No> {
    let upload = find(portal, account, key).await?;
    let mut told = Told::of(Status::Created, &upload).with("Location", format!("{API}/{key}"));
    told.body = Some(json!(UploadView::from(&upload)));
    Ok(told)
}

/// How far an upload has come.
///
/// # Errors
/// Where there is none, or it was refused.
pub async fn show(portal: &Portal, account: i64, asked: &Asked, key: &str) -> Result<Told, No> {
    // What is no `HEAD` of the protocol may ask, too.
    if asked.version.is_some() {
        asked.check_version()?;
    }
    let upload = find(portal, account, key).await?;
    let mut told = Told::of(Status::Ok, &upload).with("Upload-Length", upload.length);
    if let Some(metadata) = &upload.metadata {
        told = told.with("Upload-Metadata", metadata);
    }
    told.body = Some(json!(UploadView::from(&upload)));
    Ok(told)
}

/// Goes on with an upload.
///
/// # Errors
/// Where it is not as far as the request says, somebody else goes on with it, what came is refused, or the connection
/// broke; what came before that is kept.
pub async fn append(
    portal: &Portal,
    (account, actor): (i64, &Actor),
    asked: &Asked,
    key: &str,
    data: Data<'_>,
) -> Result<Told, No> {
    asked.check_version()?;
    if !asked.is_piece {
        return Err(no(415, "type"));
    }
    let offset = number(asked.offset.as_deref(), "offset")?;
    let upload = find(portal, account, key).await?;
    if matches!(upload.stage, Stage::Open) {
        let held = hold(portal, upload.id)?;
        // It may have grown, or come to its end, before it was held.
        let id = upload.id;
        let upload = portal.db.run(move |connection| resumable::again(connection, id)).await;
        let upload = upload.map_err(|error| gone(portal, error))?;
        if matches!(upload.stage, Stage::Open) {
            if offset != upload.kept {
                return Err(no(409, "other-offset"));
            }
            let upload = go_on(portal, (account, actor), upload, held, asked, data).await?;
            return Ok(Told::of(Status::NoContent, &upload));
        }
    }
    let upload = find(portal, account, key).await?;
    if offset == upload.length { Ok(Told::of(Status::NoContent, &upload)) } else { Err(no(409, "other-offset")) }
}

/// Ends an upload for good.
///
/// # Errors
/// Where there is none, or somebody goes on with it.
pub async fn remove(portal: &Portal, account: i64, key: &str) -> Result<(), No> {
    let (now, key, folders) = (portal.now(), key.to_owned(), portal.folders.clone());
    let found = portal.db.run(move |connection| resumable::find(connection, account, &key, now)).await;
    let upload = found.map_err(|error| gone(portal, error))?;
    let _held = hold(portal, upload.id)?;
    let removed = portal.db.run(move |connection| resumable::remove(connection, &folders, &upload)).await;
    removed.map_err(|error| gone(portal, error))
}

/// The same, as the protocol asks for it.
///
/// # Errors
/// Where there is none, or somebody goes on with it.
pub async fn terminate(portal: &Portal, account: i64, asked: &Asked, key: &str) -> Result<Told, No> {
    asked.check_version()?;
    remove(portal, account, key).await?;
    Ok(Told::new(Status::NoContent))
}

/// An upload that was not refused.
async fn find(portal: &Portal, account: i64, key: &str) -> Result<Resumable, No> {
    let (now, key) = (portal.now(), key.to_owned());
    let found = portal.db.run(move |connection| resumable::find(connection, account, &key, now)).await;
    let upload = found.map_err(|error| gone(portal, error))?;
    match upload.stage {
        Stage::Refused(refusal) => Err((Status::Gone, *refusal)),
        _ => Ok(upload),
    }
}

fn gone(portal: &Portal, error: Refused) -> No {
    match error {
        Refused::Because(Reason::NotThere) => no(404, "not-there"),
        error => portal.intake.of_refused(error),
    }
}

fn hold(portal: &Portal, id: i64) -> Result<Held, No> {
    portal.intake.writing.enter(id).ok_or_else(|| no(423, "held"))
}

/// Takes a piece, and makes an entry of the upload where it is the last.
async fn go_on(
    portal: &Portal,
    (account, actor): (i64, &Actor),
    mut upload: Resumable,
    held: Held,
    asked: &Asked,
    data: Data<'_>,
) -> Result<Resumable, No> {
    let intake = &portal.intake;
    let checksum = asked.checksum()?;
    let missing = upload.length - upload.kept;
    // One byte more tells a piece that is just as long as it may be from a longer one.
    let mut body = data.open(missing.saturating_add(1).bytes());
    if asked.declared.is_some_and(|declared| declared > missing) {
        drain(&mut body).await;
        return Err(no(413, "too-much"));
    }
    let turn = match intake.under_way.begin(account, 0, &portal.config.limits) {
        Ok(turn) => turn,
        Err(reason) => {
            drain(&mut body).await;
            return Err(intake.of_reason(reason));
        }
    };
    let appended = resumable::append(intake, &upload, held, &mut body, checksum).await;
    drop(turn);
    let (kept, held) = match appended {
        Ok(appended) => appended,
        Err(error) => {
            drain(&mut body).await;
            return Err(match error {
                AppendError::Lost => {
                    let _ = remove(portal, account, upload.key.as_str()).await;
                    no(410, "lost")
                }
                AppendError::Checksum => no(CHECKSUM_MISMATCH, "checksum-differs"),
                AppendError::TooMuch => no(413, "too-much"),
                AppendError::Upload(error) => intake.of_upload(&error),
            });
        }
    };
    upload.kept = kept;
    upload.expires_at = portal.now().saturating_add(portal.config.limits.unfinished_seconds);
    if kept == upload.length {
        match resumable::finish(intake, upload.clone(), held, actor.clone()).await {
            Outcome::Kept(entry) => upload.stage = Stage::Done(entry.to_string()),
            Outcome::Refused(status, refusal) => return Err((status, refusal)),
        }
    }
    Ok(upload)
}

/// Says the version on every answer of both doors, and lets a program that knows no `PATCH` say it in a header.
#[derive(Clone, Copy, Debug)]
pub struct Tus;

impl Tus {
    fn is_met(request: &Request<'_>) -> bool {
        let path = request.uri().path();
        [API, PAGE]
            .into_iter()
            .any(|door| path.strip_prefix(door).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }
}

#[rocket::async_trait]
impl Fairing for Tus {
    fn info(&self) -> Info {
        Info { name: "tus", kind: Kind::Request | Kind::Response }
    }

    async fn on_request(&self, request: &mut Request<'_>, _: &mut Data<'_>) {
        // Only for programs, which bring a token along: no form of another site becomes something else by this.
        let is_program = request.uri().path().starts_with(API) && request.method() == Method::Post;
        let other = match request.headers().get_one("X-HTTP-Method-Override") {
            Some("PATCH") => Method::Patch,
            Some("DELETE") => Method::Delete,
            _ => return,
        };
        if is_program {
            request.set_method(other);
        }
    }

    async fn on_response<'r>(&self, request: &'r Request<'_>, response: &mut Response<'r>) {
        if Self::is_met(request) {
            response.set_header(Header::new("Tus-Resumable", VERSION));
            if response.status() == Status::PreconditionFailed {
                response.set_header(Header::new("Tus-Version", VERSION));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_are_as_headers_have_them() {
        assert_eq!(date(1_800_000_000), "Fri, 15 Jan 2027 08:00:00 GMT");
        assert_eq!(number(Some("0012"), "offset").unwrap(), 12);
        for bad in [None, Some(""), Some("-1"), Some("+1"), Some(" 1"), Some("1e3"), Some("18446744073709551616")] {
            assert!(number(bad, "offset").is_err(), "{bad:?}");
        }
    }
}
