//! Messages of PostgreSQL as a tree, without passwords.

use super::{CANCEL, GSSENC, REQUESTS, SSL, STARTUP};
use crate::dissect::{HIDDEN, Side, big, statement, text as lossy};
use crate::template::zero_ended;
use veilwatch_core::plugin::Reader;
use veilwatch_core::plugin::dissect::TreeSink;

/// The requests to encrypt with which a client begins, and what follows the last of them where it was granted.
pub(super) fn requests(client: &[u8], server: &[u8]) -> (Vec<u32>, Option<&'static str>) {
    let mut requests = Vec::new();
    while let Some(request) = client.get(8 * requests.len()..).filter(|_| requests.len() < REQUESTS) {
        let mut reader = Reader::new(request);
        let (Some(8), Some(code @ (SSL | GSSENC))) = (reader.u32(), reader.u32()) else { break };
        requests.push(code);
        match (code, server.get(requests.len() - 1)) {
            (SSL, Some(b'S')) => return (requests, Some("TLS")),
            (GSSENC, Some(b'G')) => return (requests, Some("GSSAPI")),
            _ => {}
        }
    }
    (requests, None)
}

pub(super) fn draw_client(side: &mut Side<'_>, requests: &[u32], behind: Option<&str>, tree: &mut TreeSink<'_>) {
    for code in requests {
        let name = if *code == SSL { "SSLRequest" } else { "GSSENCRequest" };
        tree.leaf("Request", name, side.range(8));
        side.at += 8;
    }
    if behind.is_some() || side.rest().is_empty() {
        return;
    }
    let mut reader = Reader::new(side.rest());
    let (Some(len), Some(code)) = (reader.u32(), reader.u32()) else {
        side.all("Startup", "cut off here", tree);
        return;
    };
    if !(8..=STARTUP).contains(&len) {
        return;
    }
    let len = len as usize;
    if code == CANCEL {
        tree.leaf("Request", "CancelRequest", side.range(len));
        side.at += len.min(side.rest().len());
        return;
    }
    let cut = if len > side.rest().len() { ", cut off here" } else { "" };
    tree.open("Startup", &format!("version {}.{}{cut}", code >> 16, code & 0xffff), side.range(len));
    let mut body = side.part(len);
    body.at += 8;
    // Names and values; an empty name is the end.
    while let Some((name, _)) = zero_ended(body.rest()).filter(|(name, _)| !name.is_empty() && !tree.is_full()) {
        let Some((value, _)) = body.rest().get(name.len() + 1..).and_then(zero_ended) else { break };
        let len = name.len() + value.len() + 2;
        let value = if name == b"password" { HIDDEN.into() } else { lossy(value) };
        tree.leaf(&lossy(name), &value, body.range(len));
        body.at += len;
    }
    tree.close();
    draw_messages(side, true, tree);
}

pub(super) fn draw_server(side: &mut Side<'_>, requests: &[u32], behind: Option<&str>, tree: &mut TreeSink<'_>) {
    for _ in requests {
        let words = match side.rest().first() {
            Some(b'S' | b'G') => "yes",
            Some(b'N') => "no",
            // One that does not know the request says so in a message.
            _ => break,
        };
        side.leaf("Answer", 1, |_| words.into(), tree);
    }
    if behind.is_none() {
        draw_messages(side, false, tree);
    }
}

/// Messages with a kind and a length each.
fn draw_messages(side: &mut Side<'_>, of_client: bool, tree: &mut TreeSink<'_>) {
    while let Some((&kind, rest)) = side.rest().split_first().filter(|_| !tree.is_full()) {
        let name = if of_client { asked(kind) } else { answered(kind) };
        let len = Reader::new(rest).u32();
        let (Some(name), Some(len)) = (name, len.filter(|len| *len >= 4)) else {
            let why = if len.is_none() { "cut off here" } else { "nothing is read from here on" };
            side.all("No message", why, tree);
            return;
        };
        let whole = (len as usize).saturating_add(1);
        let cut = if whole > side.rest().len() { ", cut off here" } else { "" };
        tree.open(name, &format!("{} bytes{cut}", len - 4), side.range(whole));
        let mut body = side.part(whole);
        body.at += 5;
        if of_client {
            draw_asked(kind, &mut body, tree);
        } else {
            draw_answered(kind, &mut body, tree);
        }
        tree.close();
    }
}

fn draw_asked(kind: u8, body: &mut Side<'_>, tree: &mut TreeSink<'_>) {
    match kind {
        b'p' => body.all("Password", HIDDEN, tree),
        b'Q' => _ = body.words("Statement", statement, tree),
        b'P' => _ = body.text("Name", tree).and_then(|_| body.words("Statement", statement, tree)),
        _ => {}
    }
}

fn draw_answered(kind: u8, body: &mut Side<'_>, tree: &mut TreeSink<'_>) {
    match kind {
        b'R' => _ = body.leaf("Authentication", 4, |code| authentication(big(code)), tree),
        b'S' => _ = body.text("Name", tree).and_then(|_| body.text("Value", tree)),
        b'K' => {
            body.leaf("Process", 4, |number| big(number).to_string(), tree);
            body.all("Key", HIDDEN, tree);
        }
        b'C' => _ = body.text("Command", tree),
        b'Z' => {
            let words = |state: &[u8]| match state {
                b"I" => "idle".into(),
                b"T" => "in a transaction".into(),
                _ => "in one that failed".into(),
            };
            body.leaf("State", 1, words, tree);
        }
        // Fields, each with a letter in front (its chapter "Error and Notice Message Fields").
        b'E' | b'N' => {
            while let Some(field) = body.rest().first().copied().filter(|field| *field != 0 && !tree.is_full()) {
                let label = match field {
                    b'S' => "Severity",
                    b'C' => "Code",
                    b'M' => "Words",
                    b'D' => "Detail",
                    b'H' => "Hint",
                    _ => "Field",
                };
                let Some(len) = body.rest().iter().position(|byte| *byte == 0) else { break };
                let words = |text: &[u8]| lossy(text.get(1..len).unwrap_or_default());
                body.leaf(label, len + 1, words, tree);
            }
        }
        _ => {}
    }
}

fn authentication(code: u64) -> String {
    let name = match code {
        0 => "enough",
        2 => "Kerberos",
        3 => "a password in clear",
        5 => "a password by MD5",
        7 => "GSSAPI",
        8 => "GSSAPI goes on",
        9 => "SSPI",
        10 => "SASL",
        11 => "SASL goes on",
        12 => "SASL ends",
        _ => "unknown",
    };
    format!("{name}, {code}")
}

/// Messages of a client (its chapter "Message Formats").
fn asked(kind: u8) -> Option<&'static str> {
    Some(match kind {
        b'B' => "Bind",
        b'C' => "Close",
        b'D' => "Describe",
        b'E' => "Execute",
        b'F' => "FunctionCall",
        b'H' => "Flush",
        b'P' => "Parse",
        b'Q' => "Query",
        b'S' => "Sync",
        b'X' => "Terminate",
        b'c' => "CopyDone",
        b'd' => "CopyData",
        b'f' => "CopyFail",
        b'p' => "Password",
        _ => return None,
    })
}

/// Messages of a server.
fn answered(kind: u8) -> Option<&'static str> {
    Some(match kind {
        b'1' => "ParseComplete",
        b'2' => "BindComplete",
        b'3' => "CloseComplete",
        b'A' => "NotificationResponse",
        b'C' => "CommandComplete",
        b'D' => "DataRow",
        b'E' => "ErrorResponse",
        b'G' => "CopyInResponse",
        b'H' => "CopyOutResponse",
        b'I' => "EmptyQueryResponse",
        b'K' => "BackendKeyData",
        b'N' => "NoticeResponse",
        b'R' => "Authentication",
        b'S' => "ParameterStatus",
        b'T' => "RowDescription",
        b'V' => "FunctionCallResponse",
        b'Z' => "ReadyForQuery",
        b'c' => "CopyDone",
        b'd' => "CopyData",
        b'n' => "NoData",
        b's' => "PortalSuspended",
        b't' => "ParameterDescription",
        b'v' => "NegotiateProtocolVersion",
        _ => return None,
    })
}
