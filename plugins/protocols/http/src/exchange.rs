//! Requests and responses in turns, as far as they can be followed.

use crate::body::{Body, follow};
use crate::head::{Found, Head, Request, Status};
use crate::template::Limits;

/// Why reading stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The client has to say this many bytes in all.
    Client(usize),
    /// The server has.
    Server(usize),
    /// Nothing more is read.
    Over,
    /// Another protocol begins, at these offsets of client and server.
    Behind(usize, usize),
}

/// One side's bytes, and how far they were read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) bytes: &'a [u8],
    /// No more will come.
    pub(crate) ended: bool,
}

/// A request, or a response, with its header fields.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a, Line> {
    pub(crate) line: Line,
    pub(crate) head: Head<'a>,
}

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Told<'a> {
    /// The first request; where a CONNECT or an upgrade succeeded, that one.
    pub(crate) request: Option<Message<'a, Request<'a>>>,
    /// What was answered to it.
    pub(crate) response: Option<Message<'a, Status<'a>>>,
    pub(crate) requests: u64,
    pub(crate) responses: u64,
    /// A head was longer than is read.
    pub(crate) head_too_long: bool,
}

/// Goes through the exchanges.
pub(crate) fn read<'a>(client: Side<'a>, server: Side<'a>, limits: &Limits, told: &mut Told<'a>) -> Stop {
    let (mut asked, mut answered) = (0, 0);
    for _ in 0..limits.exchanges {
        let (request, response) = match exchange(client, server, asked, answered, limits, told) {
            Ok(both) => both,
            Err(stop) => return stop,
        };
        if let Some(request) = &request
            && leads_on(request, response.as_ref(), client)
        {
            (told.request, told.response) = (Some(*request), response.or(told.response));
            return Stop::Behind(request.head.end, response.map_or(server.bytes.len(), |response| response.head.end));
        }
        if request.is_none() && response.is_none() {
            return Stop::Over;
        }
        if let Some(request) = &request {
            asked = match follow(&request.head, client.bytes, limits.body_bytes, Body::Ends(request.head.end)) {
                Body::Ends(end) => end,
                Body::Wants(bytes) if !client.ended => return Stop::Client(bytes),
                _ => return Stop::Over,
            };
        }
        if let Some(response) = &response {
            answered = match body(response, request.as_ref(), server.bytes, limits) {
                Body::Ends(end) => end,
                Body::Wants(bytes) if !server.ended => return Stop::Server(bytes),
                _ => return Stop::Over,
            };
        }
    }
    Stop::Over
}

/// A request and its response; one of them is missing where its side says no more.
type Exchange<'a> = (Option<Message<'a, Request<'a>>>, Option<Message<'a, Status<'a>>>);

/// Reads the heads of the next exchange, and counts it.
fn exchange<'a>(
    client: Side<'a>,
    server: Side<'a>,
    asked: usize,
    mut answered: usize,
    limits: &Limits,
    told: &mut Told<'a>,
) -> Result<Exchange<'a>, Stop> {
    let request = match head(client, asked, limits, told).map_err(|wait| wait.map_or(Stop::Over, Stop::Client))? {
        None => None,
        Some(head) => Some(Message { line: Request::read(head.first).ok_or(Stop::Over)?, head }),
    };
    if let Some(request) = request {
        told.requests += 1;
        told.request.get_or_insert(request);
    }
    let response = loop {
        let found = head(server, answered, limits, told).map_err(|wait| wait.map_or(Stop::Over, Stop::Server))?;
        let Some(head) = found else { break None };
        let line = Status::read(head.first).ok_or(Stop::Over)?;
        // What only says that an answer will follow (RFC 9110 section 15.2).
        if !(100..200).contains(&line.code) || line.code == 101 {
            break Some(Message { line, head });
        }
        answered = head.end;
    };
    if let Some(response) = response {
        told.responses += 1;
        told.response.get_or_insert(response);
    }
    Ok((request, response))
}

/// The head at an offset: none where nothing more comes, an error where it is not whole; with the bytes to wait for.
fn head<'a>(
    side: Side<'a>,
    at: usize,
    limits: &Limits,
    told: &mut Told<'_>,
) -> Result<Option<Head<'a>>, Option<usize>> {
    match Head::find(side.bytes, at, side.ended, limits.header_bytes) {
        Found::Head(head) => Ok(Some(head)),
        Found::Gone => Ok(None),
        Found::Short => Err(Some(side.bytes.len().max(at) + 1)),
        Found::TooLong => {
            told.head_too_long = true;
            Err(None)
        }
    }
}

/// Whether what follows is another protocol's: behind a CONNECT that succeeded, or an upgrade to TLS (RFC 2817).
fn leads_on(request: &Message<'_, Request<'_>>, response: Option<&Message<'_, Status<'_>>>, client: Side<'_>) -> bool {
    let Some(response) = response else {
        // Of a capture of one side alone: a record of TLS follows.
        let next = client.bytes.get(request.head.end..).unwrap_or_default();
        return request.line.method == b"CONNECT" && next.starts_with(&[0x16, 3]);
    };
    match response.line.code {
        200..=299 => request.line.method == b"CONNECT",
        101 => response.head.field(b"Upgrade").is_some_and(|to| to.to_ascii_uppercase().starts_with(b"TLS/")),
        _ => false,
    }
}

/// Where the body of a response ends (RFC 9112 section 6.3).
pub(crate) fn body(
    response: &Message<'_, Status<'_>>,
    request: Option<&Message<'_, Request<'_>>>,
    bytes: &[u8],
    limits: &Limits,
) -> Body {
    let none = request.is_some_and(|request| request.line.method == b"HEAD");
    match response.line.code {
        // Another protocol: not ours to follow.
        101 => Body::Lost,
        204 | 304 => Body::Ends(response.head.end),
        _ if none => Body::Ends(response.head.end),
        _ => follow(&response.head, bytes, limits.body_bytes, Body::Lost),
    }
}
