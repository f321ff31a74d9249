//! What can be saved of a result: the report, the flows as JSON Lines and CSV, the packets of one flow.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rocket::futures::Stream;
use rocket::http::{ContentType, Status};
use rocket::response::stream::ByteStream;
use rocket::response::{Responder, Response};
use rocket::tokio::fs::File;
use rocket::tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use rocket::tokio::task;
use rocket::{Request, State, get};
use rusqlite::Connection;
use serde_json::json;

use super::entry::{self, Save};
use super::errors::told_page;
use super::render::{Failure, Page, told};
use super::{flows, marks, result};
use crate::accounts::audit::{self, Action};
use crate::accounts::{Actor, Reason, Refused};
use crate::at_once::Place;
use crate::entries::{self, Entry, State as EntryState};
use crate::jobs::tasks::LookError;
use crate::portal::Portal;
use crate::results::report::{ReportFacts, ReportMark, report as write_report};
use crate::results::{ResultError, ResultFile};
use crate::visitor::Viewer;

/// Flows that are read at once: an export never holds more, however long the result is.
const PIECE: u32 = 1000;

pub(crate) async fn note(portal: &Portal, actor: Actor, action: Action, entry: &Entry) -> Result<(), Failure> {
    let (subject, now) = (entry.key.to_string(), portal.now());
    Ok(portal.db.run(move |c| audit::record(c, &actor, action, Some(&subject), now)).await?)
}

/// What somebody takes away in one piece, in one of the places for downloads: read beside the connection that writes, and
/// written into the audit log under the name of `what` it is.
///
/// # Errors
/// Where the account has as many downloads under way as it may, or something broke.
pub(crate) async fn whole<T: Send + 'static>(
    portal: &Portal,
    (account, actor): (i64, Actor),
    what: &'static str,
    read: impl FnOnce(&Connection) -> Result<T, Refused> + Send + 'static,
) -> Result<Result<T, Reason>, Failure> {
    let _place = place(portal, account)?;
    let found = told(portal.db.read(read).await)?;
    if found.is_ok() {
        let now = portal.now();
        portal.db.run(move |db| audit::record(db, &actor, Action::Exported, Some(what), now)).await?;
    }
    Ok(found)
}

/// The report: one page that needs nothing else.
#[get("/entries/<key>/report.html")]
pub async fn report(me: Viewer<'_>, portal: &State<Portal>, key: &str) -> Result<Save<String>, Failure> {
    let (entry, _) = entry::find(portal, me.account.id, key).await?;
    if entry.state != EntryState::Done {
        return Err(Failure(Status::NotFound));
    }
    let of = entry.clone();
    let marks = portal.db.run(move |connection| entries::of_entry(connection, &of)).await?;
    let messages = portal.templates.messages(me.language)?;
    let marks = marks.into_values().filter_map(|all| {
        let mark = all.counts?;
        Some(ReportMark {
            flow_id: all.flow.flow_id,
            malicious: mark.malicious,
            reason: marks::words(&mark, messages),
            by: mark.by,
            at: mark.at,
        })
    });
    let facts = ReportFacts {
        name: entry.name.clone(),
        note: entry.note.clone(),
        category: entry.category.clone(),
        owner: entry.owner.clone(),
        uploaded_at: entry.created_at,
        analysed_at: entry.ended_at.unwrap_or_default(),
        sha256: entry.sha256.to_string(),
        bytes: entry.bytes,
        marks: marks.collect(),
    };
    let (templates, language) = (Arc::clone(&portal.templates), me.language);
    let looked = result::look(portal, &entry, move |file| Ok(write_report(&templates, language, &facts, file)));
    let html = result::readable_result(looked.await?)?.map_err(|error| {
        tracing::error!(%error, "a report cannot be made");
        Failure(Status::InternalServerError)
    })?;
    note(portal, me.actor(), Action::ReportTaken, &entry).await?;
    Ok(Save::new(html, ContentType::HTML, "veilwatch-report.html"))
}

/// How an export begins and ends.
struct Frame {
    /// What comes first.
    head: Vec<u8>,
    /// Whether the line that sums up comes last.
    has_summary: bool,
    /// What comes last where reading failed: nobody may take the part for the whole.
    broken_off: &'static str,
}

/// A stream of pieces of a result.
fn pieces<F>(
    portal: &Portal,
    entry: &Entry,
    place: Place,
    frame: Frame,
    read: F,
) -> impl Stream<Item = Vec<u8>> + use<F>
where
    F: Fn(&ResultFile, i64) -> Result<Option<(i64, Vec<u8>)>, ResultError> + Copy + Send + 'static,
{
    let path = portal.folders.result(&entry.key);
    let milliseconds = portal.config.limits.search_milliseconds;
    rocket::async_stream::stream! {
        let place = Arc::new(place);
        let Frame { head, has_summary, broken_off } = frame;
        let mut ready = VecDeque::from([head]);
        let mut file = None;
        let mut after = Some(i64::MIN);
        loop {
            if let Some(piece) = ready.pop_front() {
                if !piece.is_empty() {
                    yield piece;
                }
                continue;
            }
            let Some(from) = after else { break };
            let (path, held) = (path.clone(), Arc::clone(&place));
            let had: Option<ResultFile> = file.take();
            let looked = task::spawn_blocking(move || {
                // To the end of the piece, even where whoever saves it has gone.
                let _held = held;
                let file = match had {
                    Some(file) => file,
                    None => ResultFile::open(&path, milliseconds)?,
                };
                let more = read(&file, from)?;
                let last = if more.is_none() && has_summary { Some(file.summary()?.line) } else { None };
                Ok::<_, ResultError>((file, more, last))
            });
            let looked = match looked.await {
                Ok(looked) => looked.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match looked {
                Ok((kept, more, last)) => {
                    file = Some(kept);
                    after = more.as_ref().map(|(last, _)| *last);
                    ready.extend(more.map(|(_, piece)| piece));
                    ready.extend(last.map(|line| format!("{line}\n").into_bytes()));
                }
                Err(error) => {
                    tracing::error!(error, "an export broke off");
                    yield broken_off.as_bytes().to_vec();
                    break;
                }
            }
        }
    }
}

/// All flows as JSON Lines, as the command writes them with `--all`.
///
/// # Errors
/// Where the account has as many downloads under way as it may.
pub(crate) fn json_lines_of(portal: &Portal, entry: &Entry) -> Result<impl Stream<Item = Vec<u8>> + use<>, Failure> {
    let frame = Frame {
        head: Vec::new(),
        has_summary: true,
        broken_off: "{\"format\":1,\"event_type\":\"error\",\"message\":\"the export broke off here; ask for it again\"}\n",
    };
    Ok(pieces(portal, entry, place(portal, entry.asker)?, frame, |file, after| {
        let lines = file.lines(after, PIECE, false)?;
        let Some((last, _)) = lines.last() else { return Ok(None) };
        let last = *last;
        let mut piece = Vec::new();
        for (_, line) in lines {
            piece.extend_from_slice(line.as_bytes());
            piece.push(b'\n');
        }
        Ok(Some((last, piece)))
    }))
}

/// A place for a download.
fn place(portal: &Portal, account: i64) -> Result<Place, Failure> {
    portal.downloads.enter(account).ok_or(Failure(Status::TooManyRequests))
}

async fn done(me: &Viewer<'_>, portal: &Portal, key: &str) -> Result<Entry, Failure> {
    let (entry, _) = entry::find(portal, me.account.id, key).await?;
    if entry.state == EntryState::Done { Ok(entry) } else { Err(Failure(Status::NotFound)) }
}

/// All flows as JSON Lines.
#[get("/entries/<key>/flows.jsonl")]
pub async fn json_lines(
    me: Viewer<'_>,
    portal: &State<Portal>,
    key: &str,
) -> Result<Save<ByteStream<impl Stream<Item = Vec<u8>> + use<>>>, Failure> {
    let entry = done(&me, portal, key).await?;
    let body = ByteStream(json_lines_of(portal, &entry)?);
    note(portal, me.actor(), Action::Exported, &entry).await?;
    Ok(Save::new(body, ContentType::new("application", "jsonl"), "veilwatch-flows.jsonl"))
}

/// All flows as CSV, as the command writes them.
#[get("/entries/<key>/flows.csv")]
pub async fn csv(
    me: Viewer<'_>,
    portal: &State<Portal>,
    key: &str,
) -> Result<Save<ByteStream<impl Stream<Item = Vec<u8>> + use<>>>, Failure> {
    let entry = done(&me, portal, key).await?;
    let place = place(portal, entry.asker)?;
    note(portal, me.actor(), Action::Exported, &entry).await?;
    let frame = Frame {
        head: ResultFile::csv_header(),
        has_summary: false,
        broken_off: "the export broke off here; ask for it again\n",
    };
    let body = pieces(portal, &entry, place, frame, |file, after| {
        let lines = file.csv(after, PIECE, false)?;
        let Some((last, _)) = lines.last() else { return Ok(None) };
        let last = *last;
        Ok(Some((last, lines.into_iter().flat_map(|(_, line)| line).collect())))
    });
    Ok(Save::new(ByteStream(body), ContentType::CSV, "veilwatch-flows.csv"))
}

/// The packets of a flow on their way: an open file without a name, gone when it is closed.
pub struct CutOut {
    file: File,
    _place: Place,
}

impl AsyncRead for CutOut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.file).poll_read(context, buffer)
    }
}

impl AsyncSeek for CutOut {
    fn start_seek(mut self: Pin<&mut Self>, position: std::io::SeekFrom) -> std::io::Result<()> {
        Pin::new(&mut self.file).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<u64>> {
        Pin::new(&mut self.file).poll_complete(context)
    }
}

impl<'r> Responder<'r, 'static> for CutOut {
    fn respond_to(self, _: &'r Request<'_>) -> rocket::response::Result<'static> {
        // With its length, so that a part is not taken for the whole.
        Response::build().sized_body(None, self).ok()
    }
}

/// The packets of one flow, as a capture of their own.
#[get("/entries/<key>/flows/<flow>/packets.pcap")]
pub async fn packets(
    me: Viewer<'_>,
    portal: &State<Portal>,
    key: &str,
    flow: u64,
) -> Result<Result<Save<CutOut>, Page>, Failure> {
    let entry = done(&me, portal, key).await?;
    if let Some(page) = entry::without_capture(portal, &me, &entry)? {
        return Ok(Err(page));
    }
    let place = place(portal, entry.asker)?;
    let detail = flows::find(portal, &entry, flow).await?;
    let cut = portal.looks.cut(&entry, detail.flow.cut()).await;
    let (temporary, complete) = match cut {
        Ok(cut) => cut,
        Err(LookError::Ours(words)) => {
            tracing::error!(entry = entry.id, words, "a flow cannot be cut out");
            return Err(Failure(Status::InternalServerError));
        }
        Err(LookError::Capture(_, words) | LookError::Died(words)) => {
            tracing::warn!(entry = entry.id, words, "a flow cannot be cut out");
            let words = portal.templates.message(me.language, "flow.no-cut", &json!({ "words": words }))?;
            return Ok(Err(told_page(portal, &me, &words)?));
        }
    };
    note(portal, me.actor(), Action::Exported, &entry).await?;
    let file = File::open(temporary.path()).await.map_err(|error| {
        tracing::error!(%error, "a cut-out flow cannot be read");
        Failure(Status::InternalServerError)
    })?;
    let name = if complete { "veilwatch-flow.pcap" } else { "veilwatch-flow-beginning.pcap" };
    Ok(Ok(Save::new(CutOut { file, _place: place }, ContentType::new("application", "vnd.tcpdump.pcap"), name)))
}
