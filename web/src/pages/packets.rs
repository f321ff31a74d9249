//! Packets of a capture: the list, one packet with its fields and bytes, and what both sides of its flow said.

use std::ops::Range;

use rocket::http::Status;
use rocket::serde::json::Json;
use rocket::{FromForm, State, get};
use serde_json::{Value, json};
use veilwatch::query::asks_verdicts;
use veilwatch::worker::browse::{
    Ask, PacketPage, PacketRow, PacketRows, ReadStage, ReadState, STREAM_BYTES, Said, StreamPart, StreamPiece,
    WrongFilter,
};

use super::errors::told_with;
use super::looks::place;
use super::render::{Failure, Page, Reply};
use super::{entry, home};
use crate::entries::Entry;
use crate::live::Session;
use crate::packets::{Death, ReadError, Told, Verdicts};
use crate::portal::Portal;
use crate::results::human;
use crate::visitor::{Viewer, Visitor};

/// Bytes of a line of a packet's bytes.
const LINE: usize = 16;
/// Bytes of a display filter that are taken.
pub(super) const FILTER: usize = 4096;
/// Lines of packets that came, in one event.
const NEWS: u32 = 100;
/// Seconds after which a page that is not whole yet is loaded again.
const AGAIN: u32 = 2;

/// Which packets, and which of them in full.
#[derive(Clone, Debug, Default, PartialEq, FromForm)]
pub struct Wanted {
    /// The first packet of the list.
    from: Option<u64>,
    /// A display filter.
    #[field(name = "where")]
    filter: Option<String>,
    /// Only packets of this packet's flow.
    flow: Option<u64>,
    /// The packet that is shown in full.
    at: Option<u64>,
    /// Which of its fields is lit.
    field: Option<usize>,
    /// Whether the search stops where it is.
    stop: Option<bool>,
}

/// Whose packets are looked at.
#[derive(Clone, Copy)]
pub(super) enum Ground<'a> {
    Entry(&'a Entry),
    Live(&'a Session),
}

impl Ground<'_> {
    fn account(self) -> i64 {
        match self {
            Self::Entry(entry) => entry.asker,
            Self::Live(session) => session.account,
        }
    }

    /// The number that the log knows it by.
    fn number(self) -> i64 {
        match self {
            Self::Entry(entry) => entry.id,
            Self::Live(session) => session.number,
        }
    }

    fn key(self) -> String {
        match self {
            Self::Entry(entry) => entry.key.to_string(),
            Self::Live(session) => session.key.to_string(),
        }
    }

    fn name(self) -> String {
        match self {
            Self::Entry(entry) => entry.name.clone(),
            Self::Live(session) => session.what.interface.clone(),
        }
    }

    /// The address of its list.
    fn list(self) -> String {
        match self {
            Self::Entry(_) => self.packets(),
            Self::Live(session) => format!("/live/{}", session.key),
        }
    }

    /// What addresses of single packets begin with.
    fn packets(self) -> String {
        let kind = match self {
            Self::Entry(_) => "entries",
            Self::Live(_) => "live",
        };
        format!("/{kind}/{}/packets", self.key())
    }
}

impl Wanted {
    /// Whether the newest packets are wanted, whichever these are.
    pub(super) fn is_newest(&self) -> bool {
        *self == Self { filter: self.filter.clone(), ..Self::default() }
    }

    pub(super) fn filter(&self) -> &str {
        self.filter.as_deref().map(str::trim).unwrap_or_default()
    }

    /// The first packet of the list: the one that was asked for stands among some others where nothing else is said.
    fn from(&self, rows: u64) -> u64 {
        let beside = match self.at.unwrap_or(1).saturating_sub(1) {
            _ if self.flow.is_some() || !self.filter().is_empty() => 1,
            at => at - at % rows + 1,
        };
        self.from.unwrap_or(beside).max(1)
    }

    /// The address of the same with another begin and another packet.
    fn link(&self, ground: Ground<'_>, from: u64, at: Option<u64>) -> String {
        let mut link = format!("{}?from={from}", ground.list());
        if !self.filter().is_empty() {
            link.push_str(&format!("&where={}", home::encoded(self.filter())));
        }
        if self.stop == Some(true) {
            link.push_str("&stop=true");
        }
        for (name, number) in [("flow", self.flow), ("at", at)] {
            if let Some(number) = number {
                link.push_str(&format!("&{name}={number}"));
            }
        }
        link
    }
}

/// Asks the reader of an entry or a session; what a visitor can do nothing about is an error page, or this one.
async fn ask(portal: &Portal, me: &Visitor, ground: Ground<'_>, ask: Ask) -> Result<Result<Told, Page>, Failure> {
    if let Ground::Entry(entry) = ground
        && let Some(page) = entry::without_capture(portal, me, entry)?
    {
        return Ok(Err(page));
    }
    let _place = place(portal, ground.account())?;
    let told = match ground {
        Ground::Entry(entry) => portal.readers.ask(entry, ask).await,
        Ground::Live(session) => portal.readers.ask_live(session, ask).await,
    };
    let mut status = Status::UnprocessableEntity;
    let (key, words) = match told {
        Ok(Told { said: Said::Unreadable(words), .. }) | Err(ReadError::Capture(words)) => ("unreadable", words),
        Ok(told) => return Ok(Ok(told)),
        Err(ReadError::Gone) => ("gone", String::new()),
        Err(ReadError::Died(death)) => {
            // Another reader may do better.
            let is_slow = death == Death::Slow;
            status = if is_slow { Status::ServiceUnavailable } else { Status::InternalServerError };
            ("died", portal.templates.message(me.language, death.key(), &json!({}))?)
        }
        Err(ReadError::Busy) => return Err(Failure(Status::TooManyRequests)),
        Err(ReadError::Full) => return Err(Failure(Status::ServiceUnavailable)),
        Err(error @ ReadError::Ours(_)) => {
            tracing::error!(entry = ground.number(), ?error, "packets cannot be read");
            return Err(Failure(Status::InternalServerError));
        }
    };
    let words = portal.templates.message(me.language, &format!("packets.{key}"), &json!({ "words": words }))?;
    Ok(Err(told_with(portal, me, status, &words)?))
}

/// The list, and one packet of it in full.
#[get("/entries/<key>/packets?<wanted..>")]
pub async fn list(me: Viewer<'_>, portal: &State<Portal>, key: &str, wanted: Wanted) -> Reply {
    let (entry, _) = entry::find(portal, me.account.id, key).await?;
    match data(portal, &me, Ground::Entry(&entry), &wanted).await? {
        Ok(data) => Ok(Page::new(portal, &me, "packets", data)?.into()),
        Err(page) => Ok(page.into()),
    }
}

/// What the template of the list needs; or the page that says why there is nothing.
pub(super) async fn data(
    portal: &Portal,
    me: &Visitor,
    ground: Ground<'_>,
    wanted: &Wanted,
) -> Result<Result<Value, Page>, Failure> {
    if wanted.filter().len() > FILTER {
        return Err(Failure(Status::UnprocessableEntity));
    }
    let count = portal.config.limits.page_rows.min(veilwatch::worker::browse::ROWS);
    // Of a session, whoever wants nothing else wants what came last.
    let is_newest = matches!(ground, Ground::Live(_)) && wanted.is_newest();
    let mut from = if is_newest { u64::MAX } else { wanted.from(count.into()) };
    let stopped = wanted.stop == Some(true);
    let rows =
        |from| Ask::Rows { from, count, flow: wanted.flow, filter: wanted.filter().to_owned(), search: !stopped };
    let mut told = match ask(portal, me, ground, rows(from)).await? {
        Ok(told) => told,
        Err(page) => return Ok(Err(page)),
    };
    if is_newest {
        from = match &told.said {
            Said::Rows(PacketRows { before: Some(before), .. }) => *before,
            _ => 1,
        };
        told = match ask(portal, me, ground, rows(from)).await? {
            Ok(told) => told,
            Err(page) => return Ok(Err(page)),
        };
    }
    let (mut read, verdicts) = (told.read, told.verdicts);
    let (rows, wrong) = match told.said {
        Said::Rows(rows) => (rows, None),
        Said::Wrong(wrong) => (PacketRows { rows: Vec::new(), before: None, after: None, search: None }, Some(wrong)),
        _ => return Err(Failure(Status::InternalServerError)),
    };
    let at = wanted.at.or_else(|| rows.rows.first().filter(|_| !is_newest).map(|row| row.number));
    let mut packet = None;
    if let Some(number) = at.filter(|_| wrong.is_none()) {
        let told = match ask(portal, me, ground, Ask::Packet { number }).await? {
            Ok(told) => told,
            Err(page) => return Ok(Err(page)),
        };
        read = told.read;
        if let Said::Packet(page) = told.said {
            packet = page;
        }
    }
    let is_known = matches!(read.stage, ReadStage::Ready | ReadStage::Following);
    let is_full = rows.rows.len() >= count as usize;
    let is_searched = rows.search.as_ref().is_none_or(|search| search.done || stopped);
    let is_missing = wanted.at.is_some() && packet.is_none();
    // More rows may come, or the packet itself.
    let is_whole = (is_full && rows.after.is_some()) || (is_known && is_searched);
    let waits = wrong.is_none() && (!is_whole || (is_missing && !is_known));
    let stop = Wanted { stop: Some(true), ..wanted.clone() }.link(ground, from, at);
    let go_on = Wanted { stop: None, ..wanted.clone() }.link(ground, from, at);
    let search = rows.search.as_ref().map(|search| {
        json!({
            "found": human::grouped(search.found), "scanned": human::grouped(search.scanned),
            "done": search.done && is_known, "stopped": stopped,
            "stop": &stop, "go_on": &go_on, "may_miss": search.may_miss,
        })
    });
    let refresh = waits.then_some(AGAIN);
    let mut pointed = wrong.as_ref().map(|wrong| pointed(wanted.filter(), wrong));
    // A reader without verdicts knows of no such fields, and would send people to the command.
    if let Some(pointed) = pointed.as_mut().filter(|_| verdicts.is_none() && asks_verdicts(wanted.filter())) {
        pointed["what"] = portal.templates.message(me.language, "packets.no-verdicts", &json!({}))?.into();
    }
    let unknown = verdicts
        .filter(|_| wrong.is_none())
        .and_then(|verdicts| unknown(&verdicts, stopped, portal.config.browse.marked_flows));
    let data = json!({
        "key": ground.key(), "name": ground.name(), "where": wanted.filter(), "refresh": refresh, "again": refresh,
        "list": ground.list(), "complete": format!("{}/complete", ground.packets()),
        "back": matches!(ground, Ground::Entry(_)), "is_live": matches!(ground, Ground::Live(_)),
        "wrong": pointed, "flow": wanted.flow.map(|flow| flow.to_string()),
        "all": format!("{}{}", ground.list(), at.map(|at| format!("?at={at}")).unwrap_or_default()),
        "reading": reading(&read), "search": search, "packets": human::grouped(read.packets), "unknown": unknown,
        "is_cut": read.is_cut, "damage": read.damage, "missing": is_missing && is_known,
        "has_list": !rows.rows.is_empty() || is_newest, "is_newest": is_newest,
        "rows": rows.rows.iter().map(|row| line(row, &wanted.link(ground, from, Some(row.number)), at)).collect::<Vec<_>>(),
        "previous": rows.before.map(|before| wanted.link(ground, before, None)),
        "next": rows.after.map(|after| wanted.link(ground, after, None)),
        "packet": packet.map(|page| whole(ground, &page, &wanted.link(ground, from, Some(page.row.number)), wanted.field)),
    });
    Ok(Ok(data))
}

/// Packets that came.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Their lines.
    pub(super) rows: Vec<Value>,
    /// Whether some were left out.
    pub(super) is_cut: bool,
    /// Packets that the filter found by now, and those that were looked at.
    pub(super) found: Option<(u64, u64)>,
}

/// The packets that came since one, the newest where there are too many. Nothing where nobody can say.
pub(super) async fn since(portal: &Portal, session: &Session, filter: &str, after: u64) -> Option<News> {
    let count = NEWS;
    let _place = portal.results.enter(session.account)?;
    let rows = async |from| {
        let ask = Ask::Rows { from, count, flow: None, filter: filter.to_owned(), search: true };
        match portal.readers.ask_live(session, ask).await {
            Ok(Told { said: Said::Rows(rows), .. }) => Some(rows),
            _ => None,
        }
    };
    let mut found = rows(after.saturating_add(1)).await?;
    let is_cut = found.after.is_some();
    if is_cut {
        let newest = rows(u64::MAX).await?;
        found = rows(newest.before?.max(after.saturating_add(1))).await?;
    }
    let encoded = if filter.is_empty() { String::new() } else { format!("&where={}", home::encoded(filter)) };
    let link = |row: &PacketRow| format!("/live/{}?at={}{encoded}", session.key, row.number);
    Some(News {
        rows: found.rows.iter().map(|row| line(row, &link(row), None)).collect(),
        is_cut,
        found: found.search.map(|search| (search.found, search.scanned)),
    })
}

/// What is wrong with a filter, and the part of it that is.
fn pointed(filter: &str, wrong: &WrongFilter) -> Value {
    let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(filter.len());
    let (from, to) = (filter.floor_char_boundary(at(wrong.place.0)), filter.ceil_char_boundary(at(wrong.place.1)));
    let part = |range: Range<usize>| filter.get(range).unwrap_or_default();
    json!({
        "what": wrong.what, "before": part(0..from), "part": part(from..to), "after": part(to..filter.len()),
        "at_end": from == to,
    })
}

/// How far the capture is read, while that is not all of it.
fn reading(read: &ReadState) -> Option<Value> {
    let key = match read.stage {
        ReadStage::Unpacking => "packets.unpacking",
        ReadStage::Indexing => "packets.indexing",
        ReadStage::Ready | ReadStage::Following => return None,
    };
    let percent = u128::from(read.bytes) * 100 / u128::from(read.total_bytes.max(1));
    Some(json!({ "key": key, "percent": percent.min(100).to_string() }))
}

/// What is to be said of verdicts that nobody knows here; nothing where they would change nothing on the page.
fn unknown(verdicts: &Verdicts, stopped: bool, marked: u32) -> Option<Value> {
    let Verdicts { are_asked, are_told, told, to_tell, flows, lacks_alerts } = *verdicts;
    let left = flows.saturating_sub(told);
    let (key, all) = match are_told {
        false if are_asked && !stopped => ("packets.telling", to_tell),
        false => ("packets.unmarked", flows),
        true if lacks_alerts => ("packets.lacks-alerts", flows),
        true if are_asked && left > 0 => ("packets.lacks-others", flows),
        true => return None,
    };
    Some(json!({
        "key": key, "n": human::grouped(told), "all": human::grouped(all), "left": human::grouped(left),
        "most": human::grouped(marked.into()), "is_bad": are_told,
    }))
}

/// A time since the begin of the capture, in seconds.
fn seconds(since_ns: i64) -> String {
    let micros = since_ns.unsigned_abs() / 1000;
    let sign = if since_ns < 0 { "-" } else { "" };
    format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

fn line(row: &PacketRow, link: &str, at: Option<u64>) -> Value {
    // What stands out is what is worth a look.
    let verdict = row.verdict.filter(|verdict| verdict.is_alert());
    json!({
        "verdict": verdict, "verdict_words": verdict.map(|verdict| format!("verdict.{verdict}")),
        "number": row.number.to_string(), "link": link, "is_current": at == Some(row.number),
        "time": seconds(row.since_ns), "src": row.src, "dst": row.dst, "protocol": row.protocol,
        "length": row.wire_len.to_string(), "info": row.info,
    })
}

/// One packet: its fields with links that light their bytes, and the bytes.
fn whole(ground: Ground<'_>, page: &PacketPage, link: &str, field: Option<usize>) -> Value {
    let bytes = unhex(&page.hex);
    let lit = field.and_then(|field| page.nodes.get(field)?.bytes);
    let place = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(bytes.len());
    let lit = lit.map_or(0..0, |(from, to)| place(from)..place(to));
    let node = |(at, node): (usize, &veilwatch::worker::browse::PacketField)| {
        let (from, to) = node.bytes.unwrap_or_default();
        json!({
            "link": format!("{link}&field={at}"), "depth": node.depth.to_string(), "field": node.field,
            "label": node.label, "value": node.value, "from": from.to_string(), "to": to.to_string(),
            "is_current": field == Some(at),
        })
    };
    let number = page.row.number;
    json!({
        "number": human::grouped(number), "time": veilwatch::output::timestamp(page.time_ns), "info": page.row.info,
        "nodes": page.nodes.iter().enumerate().map(node).collect::<Vec<_>>(),
        "left_out": (page.left_out > 0).then(|| human::grouped(page.left_out)),
        "checksums": page.checksums.iter().map(|(field, words)| format!("{field} {words}")).collect::<Vec<_>>(),
        "warnings": page.warnings, "lines": dump(&bytes, &lit),
        "unseen": page.captured.checked_sub(bytes.len() as u64).filter(|more| *more > 0).map(human::grouped),
        "captured": human::grouped(page.captured),
        "stream": page.flow_packets.map(|_| format!("{}/{number}/stream", ground.packets())),
        "flow": page.flow_packets.map(|_| format!("{}?flow={number}&at={number}", ground.list())),
        "flow_packets": page.flow_packets.map(human::grouped),
    })
}

/// Bytes of digits that were found to be hexadecimal.
fn unhex(digits: &str) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or_default() as u8;
    digits.as_bytes().chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, one| byte << 4 | digit(one))).collect()
}

/// Bytes as one reads them: a line has its place, the bytes in hexadecimal and as text, both in three parts of which the
/// second is lit.
fn dump(bytes: &[u8], lit: &Range<usize>) -> Vec<Value> {
    let lines = bytes.chunks(LINE).enumerate().map(|(at, line)| {
        let begin = at * LINE;
        let inside = |place: usize| place.clamp(begin, begin + line.len()) - begin;
        let (from, to) = (inside(lit.start), inside(lit.end));
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let part = |range: Range<usize>| hex.get(range).unwrap_or_default().join(" ");
        let space = |before: usize, after: usize| if before > 0 && after > 0 { " " } else { "" };
        let text = |range: Range<usize>| line.get(range).unwrap_or_default().iter().map(shown).collect::<String>();
        let rest = line.len() - to;
        json!({
            "at": format!("{begin:08x}"),
            "hex": [
                format!("{}{}", part(0..from), space(from, line.len() - from)), part(from..to),
                format!("{}{}", space(to - from, rest), part(to..line.len())),
            ],
            "text": [text(0..from), text(from..to), text(to..line.len())],
            "gap": "   ".repeat(LINE - line.len()),
        })
    });
    lines.collect()
}

/// A byte as text: what is not printable is a dot.
fn shown(byte: &u8) -> char {
    if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' }
}

/// What both sides of a packet's flow said.
#[get("/entries/<key>/packets/<number>/stream?<skip>&<hex>")]
pub async fn stream(
    me: Viewer<'_>,
    portal: &State<Portal>,
    key: &str,
    number: u64,
    skip: Option<u64>,
    hex: Option<bool>,
) -> Reply {
    let (entry, _) = entry::find(portal, me.account.id, key).await?;
    said(portal, &me, Ground::Entry(&entry), number, skip, hex).await
}

/// The same of either.
pub(super) async fn said(
    portal: &Portal,
    me: &Visitor,
    ground: Ground<'_>,
    number: u64,
    skip: Option<u64>,
    hex: Option<bool>,
) -> Reply {
    let (skip, hex) = (skip.unwrap_or_default(), hex == Some(true));
    let told = match ask(portal, me, ground, Ask::Stream { packet: number, skip }).await? {
        Ok(told) => told,
        Err(page) => return Ok(page.into()),
    };
    let Said::Stream(part) = told.said else { return Err(Failure(Status::InternalServerError)) };
    let reading = reading(&told.read);
    let Some(part) = part.or_else(|| reading.is_some().then(nothing_yet)) else {
        return Err(Failure(Status::NotFound));
    };
    let link = |skip: u64, hex: bool| format!("{}/{number}/stream?skip={skip}&hex={hex}", ground.packets());
    let end = skip.saturating_add(part.pieces.iter().map(|piece| piece.hex.len() as u64 / 2).sum());
    let data = json!({
        "key": ground.key(), "name": ground.name(), "number": number.to_string(),
        "refresh": reading.as_ref().map(|_| AGAIN), "reading": reading,
        "first": part.ends[0], "second": part.ends[1], "is_cut": part.is_cut, "is_hex": hex,
        "other": link(skip, !hex), "bytes": human::grouped(part.bytes),
        "from": human::grouped(skip), "to": human::grouped(end),
        "back": format!("{}?flow={number}&at={number}", ground.list()),
        "pieces": part.pieces.iter().map(|said| piece(ground, said, hex)).collect::<Vec<_>>(),
        "previous": (skip > 0).then(|| link(skip.saturating_sub(STREAM_BYTES as u64), hex)),
        "next": (end < part.bytes && end > skip).then(|| link(end, hex)),
    });
    Ok(Page::new(portal, me, "stream", data)?.into())
}

fn nothing_yet() -> StreamPart {
    StreamPart { ends: Default::default(), pieces: Vec::new(), skipped: 0, bytes: 0, is_cut: false }
}

fn piece(ground: Ground<'_>, said: &StreamPiece, hex: bool) -> Value {
    let bytes = unhex(&said.hex);
    let lines = |byte: &u8| if *byte == b'\n' { '\n' } else { shown(byte) };
    json!({
        "first_side": said.first_side, "number": said.packet.to_string(),
        "link": format!("{}?at={}", ground.list(), said.packet),
        "text": if hex { String::new() } else { bytes.iter().filter(|byte| **byte != b'\r').map(lines).collect() },
        "lines": if hex { dump(&bytes, &(0..0)) } else { Vec::new() },
    })
}

/// Which fields may stand at a place of a filter, for the script of the page.
#[get("/entries/<key>/packets/complete?<text>&<cursor>")]
pub async fn complete(
    me: Viewer<'_>,
    portal: &State<Portal>,
    key: &str,
    text: &str,
    cursor: u64,
) -> Result<Json<Value>, Failure> {
    let (entry, _) = entry::find(portal, me.account.id, key).await?;
    completed(portal, &me, Ground::Entry(&entry), text, cursor).await
}

/// The same of either.
pub(super) async fn completed(
    portal: &Portal,
    me: &Visitor,
    ground: Ground<'_>,
    text: &str,
    cursor: u64,
) -> Result<Json<Value>, Failure> {
    if text.len() > FILTER {
        return Err(Failure(Status::UnprocessableEntity));
    }
    // The script counts as JavaScript does, in 16-bit units.
    let mut units = 0;
    let before = text.chars().take_while(|c| {
        units += c.len_utf16() as u64;
        units <= cursor
    });
    let cursor = before.map(char::len_utf8).sum::<usize>() as u64;
    let told = ask(portal, me, ground, Ask::Complete { text: text.to_owned(), cursor }).await?;
    let Ok(Told { said: Said::Complete(said), .. }) = told else { return Err(Failure(Status::ServiceUnavailable)) };
    let units = |place: u64| {
        let place = usize::try_from(place).unwrap_or(usize::MAX).min(text.len());
        text.get(..text.floor_char_boundary(place)).unwrap_or_default().encode_utf16().count()
    };
    let fields: Vec<Value> = said.fields.iter().map(|(name, words)| json!({ "name": name, "words": words })).collect();
    Ok(Json(json!({ "from": units(said.replaces.0), "to": units(said.replaces.1), "fields": fields })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lit_bytes_are_the_second_part_of_each_line() {
        let lines = dump(&(0..20).collect::<Vec<u8>>(), &(14..18));
        assert_eq!(lines[0]["hex"], json!(["00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d ", "0e 0f", ""]));
        assert_eq!(lines[1]["hex"], json!(["", "10 11", " 12 13"]));
        assert_eq!((&lines[1]["at"], &lines[1]["gap"]), (&json!("00000010"), &json!("   ".repeat(12))));
        assert_eq!(dump(b"GET <\n", &(0..0))[0]["text"], json!(["", "", "GET <."]));
        assert_eq!(dump(b"ab", &(1..1))[0]["hex"], json!(["61 ", "", "62"]));
        assert!(dump(&[], &(0..0)).is_empty());
    }

    #[test]
    fn a_line_says_the_same_whatever_is_lit() {
        let whole = |line: &Value, part: &str| {
            line[part].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect::<String>()
        };
        for length in 0..36 {
            let bytes: Vec<u8> = (0..length).collect();
            let plain = dump(&bytes, &(0..0));
            for (from, to) in (0..40).flat_map(|from| (from..40).map(move |to| (from, to))) {
                for (line, plain) in dump(&bytes, &(from..to)).iter().zip(&plain) {
                    assert!(["hex", "text"].iter().all(|part| whole(line, part) == whole(plain, part)), "{from}..{to}");
                    assert!(!whole(line, "hex").ends_with(' '));
                }
            }
        }
    }

    #[test]
    fn digits_become_bytes() {
        assert_eq!(unhex("00ff7f"), [0, 255, 127]);
        assert!(unhex("").is_empty());
    }

    #[test]
    fn the_wrong_part_of_a_filter_is_pointed_at() {
        let at = |filter: &str, place| pointed(filter, &WrongFilter { what: String::new(), place });
        assert_eq!(at("tcp.prt == 1", (0, 7))["part"], "tcp.prt");
        assert_eq!(
            at("tcp &&", (6, 6)),
            json!({ "what": "", "before": "tcp &&", "part": "", "after": "", "at_end": true })
        );
        // A reader may say anything.
        assert_eq!(at("é", (1, u64::MAX))["part"], "é");
        assert_eq!(at("", (7, 9))["at_end"], true);
    }

    #[test]
    fn verdicts_that_nobody_knows_are_spoken_of_where_somebody_would_miss_them() {
        let told = |verdicts: &Verdicts, stopped| unknown(verdicts, stopped, 100_000);
        let key = |verdicts: &Verdicts, stopped| told(verdicts, stopped).map(|said| said["key"].clone());
        let begun = Verdicts { told: 5000, to_tell: 1_000_000, flows: 1_500_000, ..Verdicts::default() };
        let asked = Verdicts { are_asked: true, ..begun };
        assert_eq!(key(&begun, false), Some(json!("packets.unmarked")));
        assert_eq!(
            told(&asked, false),
            Some(json!({
                "key": "packets.telling", "n": "5,000", "all": "1,000,000", "left": "1,495,000", "most": "100,000",
                "is_bad": false,
            }))
        );
        assert_eq!(key(&asked, true), Some(json!("packets.unmarked")), "it goes on no more");
        // All alerts are among those that are known: marks are whole, and only a search may miss something.
        let known = |verdicts| Verdicts { are_told: true, told: 1_000_000, ..verdicts };
        assert_eq!(key(&known(begun), false), None);
        let lacks = told(&known(asked), true).unwrap();
        assert_eq!((&lacks["key"], &lacks["left"]), (&json!("packets.lacks-others"), &json!("500,000")));
        for verdicts in [begun, asked] {
            let lacks = Verdicts { lacks_alerts: true, ..known(verdicts) };
            assert_eq!(key(&lacks, false), Some(json!("packets.lacks-alerts")));
        }
        let whole = Verdicts { flows: 1_000_000, ..known(asked) };
        assert_eq!(key(&whole, false), None);
    }

    #[test]
    fn a_packet_is_shown_among_its_neighbours() {
        let from = |wanted: &Wanted| wanted.from(50);
        let at = |at| Wanted { at: Some(at), ..Wanted::default() };
        assert_eq!([1, 50, 51, 0, u64::MAX].map(|number| from(&at(number))), [1, 1, 51, 1, u64::MAX - 14]);
        assert_eq!(from(&Wanted { filter: Some("tcp".into()), ..at(70) }), 1);
        assert_eq!(from(&Wanted { from: Some(7), ..at(70) }), 7);
        assert_eq!(seconds(-1_500_000), "-0.001500");
    }
}
