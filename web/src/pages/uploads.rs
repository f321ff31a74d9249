//! Captures come in: streamed to the disk, recognised, and then confirmed by whoever brought them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use multer::{Constraints, Field, Multipart, SizeLimit};
use rocket::data::{Data, ToByteUnit};
use rocket::futures::TryStreamExt;
use rocket::http::{ContentType, Status};
use rocket::request::FromRequest;
use rocket::serde::json::Json;
use rocket::tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use rocket::tokio::time::timeout;
use rocket::{Request, Responder, State, post};
use serde_json::{Value, json};
use tokio_util::io::StreamReader;

use super::errors::wants_json;
use super::render::{Answer, Failure, Page};
use crate::accounts::{Actor, Reason};
use crate::forms::FromOurPage;
use crate::portal::Portal;
use crate::secret::same;
use crate::uploads::shown_name;
pub(crate) use crate::uploads::{Outcome, Refusal};
use crate::visitor::Analyst;

/// Files of one form.
pub const FILES: usize = 20;
/// Bytes of a form beside its files: boundaries, headers, the form token.
const AROUND: u64 = 1 << 20;
/// Bytes of a form that are read before what came is looked at.
const AT_ONCE: u64 = 256 << 10;
/// How much of a refused upload is still read, and for how long: a browser that is cut off in the middle shows its own
/// error and not ours.
const DRAIN: (u64, Duration) = (64 << 20, Duration::from_secs(5));

/// What a browser's script, or the browser itself, gets.
#[derive(Responder)]
pub enum UploadReply {
    /// A page.
    Page(Answer),
    /// For the script.
    Json((Status, Json<Value>)),
}

/// Whether the visitor's script asks, which wants JSON.
pub struct ByScript(bool);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for ByScript {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> rocket::request::Outcome<Self, ()> {
        rocket::request::Outcome::Success(Self(wants_json(request)))
    }
}

/// Takes the files of a form.
#[post("/uploads", data = "<data>")]
pub async fn upload(
    me: Analyst<'_>,
    portal: &State<Portal>,
    _ours: FromOurPage,
    script: ByScript,
    kind: &ContentType,
    data: Data<'_>,
) -> Result<UploadReply, Failure> {
    let Some(boundary) = kind.param("boundary").filter(|_| kind.is_form_data()) else {
        return Err(Failure(Status::UnsupportedMediaType));
    };
    let most = portal.config.limits.upload_bytes.saturating_mul(FILES as u64).saturating_add(AROUND);
    let mut stream = data.open(most.bytes());
    let taken = take_form(portal, &me, boundary, &mut stream).await;
    let is_kept = |outcomes: &Vec<(String, Outcome)>| outcomes.iter().all(|(_, one)| matches!(one, Outcome::Kept(_)));
    if !matches!(&taken, Ok(Some(outcomes)) if is_kept(outcomes)) {
        drain(&mut stream).await;
    }
    match taken? {
        Some(outcomes) => answer(portal, &me, script.0, outcomes),
        None => not_ours(portal, &me, script.0),
    }
}

/// The answer to a form that no page of ours made for this visitor.
fn not_ours(portal: &Portal, me: &Analyst<'_>, by_script: bool) -> Result<UploadReply, Failure> {
    let status = Status::Forbidden;
    if by_script {
        let say = |key: &str| portal.templates.message(me.language, key, &json!({}));
        let words = format!("{} {}", say("error.form-token.what")?, say("error.form-token.do")?);
        return Ok(UploadReply::Json((status, Json(json!({ "detail": words })))));
    }
    let data = json!({
        "status": status.code, "title": "error.403.title", "words": null,
        "what": "error.form-token.what", "do": "error.form-token.do",
    });
    Ok(UploadReply::Page(Page::new(portal, me, "error", data)?.with_status(status).into()))
}

/// A form as it comes in. The parser keeps what it cannot use yet, and by itself reads on for as long as something is
/// there: a part whose head never ends would fill the memory.
struct Held<R> {
    inner: R,
    /// Bytes since the parser last gave something away.
    ahead: Arc<AtomicU64>,
    /// Bytes since the parser was last interrupted.
    at_once: u64,
}

impl<R: AsyncRead + Unpin> AsyncRead for Held<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.ahead.load(Ordering::Relaxed) > AROUND {
            return Poll::Ready(Err(std::io::Error::other("a part of the form has no end")));
        }
        if self.at_once >= AT_ONCE {
            // It then looks at what it has.
            self.at_once = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        let more = buffer.filled().len().saturating_sub(before) as u64;
        self.ahead.fetch_add(more, Ordering::Relaxed);
        self.at_once += more;
        polled
    }
}

/// Reads the form token first, then every file; nothing where the token is wrong.
async fn take_form(
    portal: &Portal,
    me: &Analyst<'_>,
    boundary: &str,
    stream: &mut (impl AsyncRead + Unpin + Send),
) -> Result<Option<Vec<(String, Outcome)>>, Failure> {
    // A form that cannot be read is the visitor's, or the connection's.
    let broken = |_| Failure(Status::UnprocessableEntity);
    let limits = SizeLimit::new().for_field("csrf", 256);
    let ahead = Arc::new(AtomicU64::new(0));
    let held = Held { inner: stream, ahead: Arc::clone(&ahead), at_once: 0 };
    let mut form = Multipart::with_reader_with_constraints(held, boundary, Constraints::new().size_limit(limits));
    let idle = Duration::from_secs(portal.config.limits.upload_idle_seconds.unsigned_abs());
    let token = match next_field(&mut form, idle).await? {
        Some(field) if field.name() == Some("csrf") => {
            timeout(idle, field.text()).await.map_err(|_| Failure(Status::RequestTimeout))?.map_err(broken)?
        }
        _ => String::new(),
    };
    if !same(token.as_bytes(), me.form_token.as_bytes()) {
        return Ok(None);
    }
    let mut outcomes = Vec::new();
    while let Some(mut field) = next_field(&mut form, idle).await? {
        ahead.store(0, Ordering::Relaxed);
        if field.name() != Some("capture") {
            continue;
        }
        // A browser sends a field in which nothing was chosen as a file without name and without bytes.
        let is_nameless = field.file_name().is_none_or(str::is_empty);
        let name = shown_name(field.file_name().unwrap_or_default());
        if outcomes.len() == FILES {
            if is_nameless && is_empty(&mut field, idle).await {
                continue;
            }
            let values = json!({ "n": FILES });
            outcomes.push((name, refused(Refusal { key: "upload-error.too-many-files".to_owned(), values })));
            break;
        }
        let progress = Arc::clone(&ahead);
        let pieces = field.map_err(std::io::Error::other).inspect_ok(move |_| progress.store(0, Ordering::Relaxed));
        let mut reader = StreamReader::new(pieces);
        let outcome = take(portal, me.account.id, &me.actor(), &name, None, &mut reader).await;
        let is_kept = matches!(outcome, Outcome::Kept(_));
        if is_nameless
            && matches!(&outcome, Outcome::Refused(_, refusal) if refusal.key == Reason::UploadEmpty.to_string())
        {
            continue;
        }
        outcomes.push((name, outcome));
        // What follows may be the rest of a file that was refused; the next file comes after it.
        if !is_kept && !drain(&mut reader).await {
            break;
        }
    }
    Ok(Some(outcomes))
}

async fn next_field<'r>(form: &mut Multipart<'r>, idle: Duration) -> Result<Option<Field<'r>>, Failure> {
    let field = timeout(idle, form.next_field()).await.map_err(|_| Failure(Status::RequestTimeout))?;
    field.map_err(|_| Failure(Status::UnprocessableEntity))
}

/// Whether not one byte of a field comes.
async fn is_empty(field: &mut Field<'_>, idle: Duration) -> bool {
    loop {
        match timeout(idle, field.chunk()).await {
            Ok(Ok(Some(piece))) if piece.is_empty() => {}
            Ok(Ok(None)) => return true,
            _ => return false,
        }
    }
}

fn refused(refusal: Refusal) -> Outcome {
    Outcome::Refused(Status::UnprocessableEntity, refusal)
}

/// Takes one file: to the disk, a look into it, an entry. The same for a form and for the API.
pub(crate) async fn take(
    portal: &Portal,
    account: i64,
    actor: &Actor,
    name: &str,
    declared: Option<u64>,
    reader: impl AsyncRead + Unpin,
) -> Outcome {
    portal.intake.take(account, actor, name, declared, reader).await
}

/// Reads on for a while, so that the answer is heard. Says whether that was all.
pub(crate) async fn drain(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let (most, time) = DRAIN;
    let mut rest = stream.take(most);
    let read = timeout(time, rocket::tokio::io::copy(&mut rest, &mut rocket::tokio::io::sink())).await;
    matches!(read, Ok(Ok(read)) if read < most)
}

fn answer(
    portal: &Portal,
    me: &Analyst<'_>,
    by_script: bool,
    mut outcomes: Vec<(String, Outcome)>,
) -> Result<UploadReply, Failure> {
    if outcomes.is_empty() {
        outcomes.push((String::new(), refused(Refusal::new("upload-error.nothing"))));
    }
    let told = |refusal: &Refusal| portal.templates.message(me.language, &refusal.key, &refusal.values);
    if let [(_, only)] = outcomes.as_slice() {
        return Ok(match only {
            Outcome::Kept(key) if by_script => {
                UploadReply::Json((Status::Created, Json(json!({ "location": format!("/entries/{key}") }))))
            }
            Outcome::Kept(key) => UploadReply::Page(Answer::to(&format!("/entries/{key}"))),
            Outcome::Refused(status, refusal) if by_script => {
                UploadReply::Json((*status, Json(json!({ "detail": told(refusal)? }))))
            }
            Outcome::Refused(status, refusal) => {
                let data = json!({
                    "status": status.code, "title": "error.upload.title", "words": told(refusal)?,
                    "what": null, "do": null,
                });
                UploadReply::Page(Page::new(portal, me, "error", data)?.with_status(*status).into())
            }
        });
    }
    let list = outcomes
        .iter()
        .map(|(name, outcome)| {
            Ok(match outcome {
                Outcome::Kept(key) => json!({ "name": name, "location": format!("/entries/{key}"), "error": null }),
                Outcome::Refused(_, refusal) => json!({ "name": name, "location": null, "error": told(refusal)? }),
            })
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    Ok(UploadReply::Page(Page::new(portal, me, "uploaded", json!({ "outcomes": list }))?.into()))
}
