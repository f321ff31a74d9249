//! What can be saved of a result: the report, the flows as JSON Lines and CSV, the packets of one flow.

use std::collections::VecDeque;

use rocket::futures::Stream;
use rocket::http::{ContentType, Status};
use rocket::response::stream::ByteStream;
use rocket::tokio::fs::File;
use rocket::tokio::task;
use rocket::{State, get};

use super::entry::{self, Save};
use super::render::Failure;
use super::{flows, result};
use crate::accounts::Actor;
use crate::accounts::audit::{self, Action};
use crate::entries::{Entry, State as EntryState};
use crate::jobs::tasks::{LookError, Temporary};
use crate::portal::Portal;
use crate::results::report::{ReportFacts, ReportMark, report as write_report};
use crate::results::{ResultError, ResultFile};
use crate::visitor::Viewer;

/// Flows that are read at once: an export never holds more, however long the result is.
const PIECE: u32 = 1000;
/// Bytes of a cut-out that are read at once.
const READ: usize = 64 << 10;

async fn note(portal: &Portal, actor: Actor, action: Action, entry: &Entry) -> Result<(), Failure> {
    let (subject, now) = (entry.key.to_string(), portal.now());
    Ok(portal.db.run(move |c| audit::record(c, &actor, action, Some(&subject), now)).await?)
}

/// The report: one page that needs nothing else.
#[get("/entries/<key>/report.html")]
pub async fn report(me: Viewer<'_>, portal: &State<Portal>, key: &str) -> Result<Save<String>, Failure> {
    let (entry, _) = entry::find(portal, me.account.id, key).await?;
    if entry.state != EntryState::Done {
        return Err(Failure(Status::NotFound));
    }
    let marks = result::marks_of(portal, &entry).await?;
    let marks = marks.into_values().map(|all| ReportMark {
        flow_id: all.flow.flow_id,
        malicious: all.latest.malicious,
        reason: all.latest.reason,
        by: all.latest.by,
        at: all.latest.at,
    });
    let facts = ReportFacts {
        name: entry.name.clone(),
        note: entry.note.clone(),
        category: entry.category.clone(),
        owner: me.account.display_name.clone(),
        uploaded_at: entry.created_at,
        analysed_at: entry.ended_at.unwrap_or_default(),
        sha256: entry.sha256.to_string(),
        bytes: entry.bytes,
        marks: marks.collect(),
    };
    let (templates, language) = (std::sync::Arc::clone(&portal.templates), me.language);
    let path = portal.folders.result(&entry.key);
    let milliseconds = portal.config.limits.search_milliseconds;
    let made = task::spawn_blocking(move || -> Result<String, Failure> {
        let file = result::readable_result(ResultFile::open(&path, milliseconds))?;
        write_report(&templates, language, &facts, &file).map_err(|error| {
            tracing::error!(%error, "a report cannot be made");
            Failure(Status::InternalServerError)
        })
    });
    let html = made.await.map_err(|_| Failure(Status::InternalServerError))??;
    note(portal, me.actor(), Action::ReportTaken, &entry).await?;
    Ok(Save::new(html, ContentType::HTML, "veilwatch-report.html"))
}

/// A stream of pieces of a result. Where reading fails, the connection ends in the middle: whoever reads must not take
/// the part for the whole.
fn pieces<F>(portal: &Portal, entry: &Entry, head: Vec<u8>, tail: bool, read: F) -> impl Stream<Item = Vec<u8>> + use<F>
where
    F: Fn(&ResultFile, i64) -> Result<Option<(i64, Vec<u8>)>, ResultError> + Copy + Send + 'static,
{
    let path = portal.folders.result(&entry.key);
    let milliseconds = portal.config.limits.search_milliseconds;
    rocket::async_stream::stream! {
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
            let path = path.clone();
            let had: Option<ResultFile> = file.take();
            let looked = task::spawn_blocking(move || {
                let file = match had {
                    Some(file) => file,
                    None => ResultFile::open(&path, milliseconds)?,
                };
                let more = read(&file, from)?;
                let last = if more.is_none() && tail { Some(file.summary()?.line) } else { None };
                Ok::<_, ResultError>((file, more, last))
            });
            match looked.await {
                Ok(Ok((kept, more, last))) => {
                    file = Some(kept);
                    after = more.as_ref().map(|(last, _)| *last);
                    ready.extend(more.map(|(_, piece)| piece));
                    ready.extend(last.map(|line| format!("{line}\n").into_bytes()));
                }
                Ok(Err(error)) => {
                    tracing::error!(%error, "an export broke off");
                    break;
                }
                Err(error) => {
                    tracing::error!(%error, "an export broke off");
                    break;
                }
            }
        }
    }
}

/// All flows as JSON Lines, as the command writes them with `--all`.
pub(crate) fn json_lines_of(portal: &Portal, entry: &Entry) -> impl Stream<Item = Vec<u8>> + use<> {
    pieces(portal, entry, Vec::new(), true, |file, after| {
        let lines = file.lines(after, PIECE, false)?;
        let Some((last, _)) = lines.last() else { return Ok(None) };
        let last = *last;
        let mut piece = Vec::new();
        for (_, line) in lines {
            piece.extend_from_slice(line.as_bytes());
            piece.push(b'\n');
        }
        Ok(Some((last, piece)))
    })
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
    note(portal, me.actor(), Action::Exported, &entry).await?;
    let body = ByteStream(json_lines_of(portal, &entry));
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
    note(portal, me.actor(), Action::Exported, &entry).await?;
    let body = pieces(portal, &entry, ResultFile::csv_header(), false, |file, after| {
        let lines = file.csv(after, PIECE, false)?;
        let Some((last, _)) = lines.last() else { return Ok(None) };
        let last = *last;
        Ok(Some((last, lines.into_iter().flat_map(|(_, line)| line).collect())))
    });
    Ok(Save::new(ByteStream(body), ContentType::CSV, "veilwatch-flows.csv"))
}

/// A file that is deleted once it has been sent.
pub struct CutOut {
    file: File,
    _temporary: Temporary,
}

/// The packets of one flow, as a capture of their own.
#[get("/entries/<key>/flows/<flow>/packets.pcap")]
pub async fn packets(
    me: Viewer<'_>,
    portal: &State<Portal>,
    key: &str,
    flow: u64,
) -> Result<Save<ByteStream<impl Stream<Item = Vec<u8>> + use<>>>, Failure> {
    let entry = done(&me, portal, key).await?;
    let detail = flows::find(portal, &entry, flow).await?;
    let cut = portal.looks.cut(&entry.sha256, entry.pipeline.as_deref().unwrap_or_default(), detail.flow.cut()).await;
    let (temporary, complete) = cut.map_err(|error| {
        tracing::error!(entry = entry.id, ?error, "a flow cannot be cut out");
        match error {
            LookError::Capture(..) | LookError::Died(_) => Failure(Status::UnprocessableEntity),
            LookError::Ours(_) => Failure(Status::InternalServerError),
        }
    })?;
    note(portal, me.actor(), Action::Exported, &entry).await?;
    let file = File::open(temporary.path()).await.map_err(|error| {
        tracing::error!(%error, "a cut-out flow cannot be read");
        Failure(Status::InternalServerError)
    })?;
    let mut out = CutOut { file, _temporary: temporary };
    let body = ByteStream! {
        use rocket::tokio::io::AsyncReadExt;
        loop {
            let mut piece = vec![0; READ];
            match out.file.read(&mut piece).await {
                Ok(0) | Err(_) => break,
                Ok(read) => {
                    piece.truncate(read);
                    yield piece;
                }
            }
        }
    };
    let name = if complete { "veilwatch-flow.pcap" } else { "veilwatch-flow-beginning.pcap" };
    Ok(Save::new(body, ContentType::new("application", "vnd.tcpdump.pcap"), name))
}
