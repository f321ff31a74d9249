//! PostgreSQL's frontend/backend protocol, version 3 (its documentation, chapter "Message Flow").

use crate::dissect::{HIDDEN, Side, big, text as lossy};
use crate::template::{Limits, Stop, zero_ended};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink};
use veilwatch_core::plugin::{
    Carrier, PluginError, Probe, Progress, ProtocolTemplate, Reader, RecordSink, Settings, StreamView,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

/// Reads PostgreSQL on any port until the client has logged in, and hands over TLS behind an SSLRequest that was granted.
///
/// Recognised by the first message of a client alone: a server's bytes say too little.
#[derive(Debug, Clone)]
pub struct PostgreSql {
    limits: Limits,
    ids: Vec<FieldId>,
}

/// What stands where a version would.
const SSL: u32 = 80_877_103;
const GSSENC: u32 = 80_877_104;
const CANCEL: u32 = 80_877_102;
/// Longest startup message that servers take.
const STARTUP: u32 = 10_000;
/// Requests to encrypt before the startup message: one of each kind, each answered.
const REQUESTS: usize = 3;
/// Messages of a server until the client is in.
const ANSWERS: usize = 32;

#[derive(Default)]
struct Told<'a> {
    user: Option<&'a [u8]>,
    database: Option<&'a [u8]>,
    application: Option<&'a [u8]>,
    server_version: Option<&'a [u8]>,
    tls: Option<bool>,
    gssenc: Option<bool>,
    authentication: Option<u32>,
    clear_credentials: bool,
}

/// Whether a client begins like this.
fn look(bytes: &[u8]) -> Probe {
    // The first byte of a length below 10,000.
    if bytes.iter().take(2).any(|byte| *byte != 0) {
        return Probe::No;
    }
    let mut reader = Reader::new(bytes);
    let (Some(len), Some(code)) = (reader.u32(), reader.u32()) else {
        let long = bytes.get(2).is_some_and(|high| u32::from(*high) > STARTUP >> 8);
        let code = bytes.get(4).is_some_and(|first| !matches!(first, 0 | 4));
        return if long || code { Probe::No } else { Probe::Unsure };
    };
    match (len, code) {
        (8, SSL | GSSENC) | (16, CANCEL) => Probe::Certain,
        // Version 3.0 or 3.2, with at least a user.
        (9..=STARTUP, 0x0003_0000 | 0x0003_0002) => match reader.rest() {
            rest if rest.starts_with(b"user\0") || rest.len() >= 16 && rest.contains(&0) => Probe::Certain,
            rest if rest.len() < 16 => Probe::Unsure,
            _ => Probe::No,
        },
        _ => Probe::No,
    }
}

/// Goes through what client and server say until the client is in.
fn read<'a>(client: &'a [u8], server: &'a [u8], told: &mut Told<'a>) -> Stop {
    let (mut asked, mut answered) = (0, 0);
    for _ in 0..REQUESTS {
        let mut reader = Reader::new(client.get(asked..).unwrap_or_default());
        let (Some(len), Some(code)) = (reader.u32(), reader.u32()) else { return Stop::Client(asked + 8) };
        if !(8..=STARTUP).contains(&len) || code == CANCEL {
            return Stop::Over;
        }
        let end = asked + len as usize;
        if !matches!(code, SSL | GSSENC) {
            let Some(body) = client.get(asked + 8..end) else { return Stop::Client(end) };
            startup(body, told);
            return login(client, end, server, answered, told);
        }
        asked = end;
        let Some(answer) = server.get(answered) else { return Stop::Server(answered + 1) };
        answered += 1;
        match (code, answer) {
            (SSL, b'S') => {
                told.tls = Some(true);
                return Stop::Tls(asked, answered);
            }
            (SSL, b'N') => told.tls = Some(false),
            (_, b'N') => told.gssenc = Some(false),
            (GSSENC, b'G') => {
                told.gssenc = Some(true);
                return Stop::Over;
            }
            _ => return Stop::Over,
        }
    }
    Stop::Over
}

/// Names and values of a startup message.
fn startup<'a>(body: &'a [u8], told: &mut Told<'a>) {
    let mut rest = body;
    while let Some((name, behind)) = zero_ended(rest)
        && let Some((value, next)) = zero_ended(behind)
        && !name.is_empty()
    {
        match name {
            b"user" => told.user = Some(value),
            b"database" => told.database = Some(value),
            b"application_name" => told.application = Some(value),
            _ => {}
        }
        rest = next;
    }
}

/// What the server wants to know, whether a password comes in clear, and the server's version.
fn login<'a>(client: &[u8], sent: usize, server: &'a [u8], answered: usize, told: &mut Told<'a>) -> Stop {
    let mut at = answered;
    for _ in 0..ANSWERS {
        let mut reader = Reader::new(server.get(at..).unwrap_or_default());
        let (Some(kind), Some(len)) = (reader.u8(), reader.u32()) else { return Stop::Server(at + 5) };
        if !(4..=STARTUP).contains(&len) {
            return Stop::Over;
        }
        let end = at + 1 + len as usize;
        let Some(body) = server.get(at + 5..end) else { return Stop::Server(end) };
        at = end;
        match kind {
            b'R' => {
                let code = Reader::new(body).u32();
                // Zero says that it is enough.
                if code != Some(0) && told.authentication.is_none() {
                    told.authentication = code;
                }
                if code == Some(3) {
                    let Some(first) = client.get(sent) else { return Stop::Client(sent + 1) };
                    told.clear_credentials = *first == b'p';
                }
            }
            b'S' => {
                if let Some((b"server_version", value)) = zero_ended(body) {
                    told.server_version = value.strip_suffix(b"\0");
                    return Stop::Over;
                }
            }
            // Notices, keys; a version that is negotiated.
            b'N' | b'K' | b'v' => {}
            _ => return Stop::Over,
        }
    }
    Stop::Over
}

impl PostgreSql {
    /// Makes the template from its settings ([`Limits`]).
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        Ok(Self { limits: Limits::read(settings)?, ids: Vec::new() })
    }
}

impl ProtocolTemplate for PostgreSql {
    fn fields(&self) -> Vec<FieldSpec> {
        let text = |name, words| FieldSpec::new(name, FieldKind::Bytes, words);
        let number = |name, words| FieldSpec::new(name, FieldKind::U64, words);
        vec![
            text("postgresql.user", "the user who logs in; a password is not read"),
            text("postgresql.database", "the database that is asked for"),
            text("postgresql.application_name", "what the client calls itself"),
            text("postgresql.server_version", "version of the server"),
            FieldSpec::limit("postgresql", "text_bytes"),
            number("postgresql.starttls", "whether the server agreed to TLS when it was asked"),
            number("postgresql.gssenc", "whether the server agreed to GSSAPI encryption when it was asked"),
            number("postgresql.authentication", "what the server wants to know: 3 a password in clear, 5 MD5, 10 SASL"),
            number("postgresql.clear_credentials", "1 where a password went in clear"),
        ]
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.ids = ids.to_vec();
        Ok(())
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        match stream.carrier {
            Carrier::Udp => Probe::No,
            // The client speaks first.
            Carrier::Tcp if stream.forward.is_empty() && !stream.backward.is_empty() => Probe::No,
            Carrier::Tcp => look(stream.forward),
        }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let mut told = Told::default();
        let stop = read(stream.forward, stream.backward, &mut told);
        let texts = [told.user, told.database, told.application, told.server_version];
        self.limits.write(&texts, &self.ids, out);
        let flags = [
            told.tls.map(Value::number),
            told.gssenc.map(Value::number),
            told.authentication.map(Value::number),
            told.clear_credentials.then_some(Value::U64(1)),
        ];
        out.fields(self.ids.get(texts.len() + 1..).unwrap_or_default(), &flags);
        Ok(stop.tell(out))
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        let (requests, behind) = requests(stream.forward, stream.backward);
        for (direction, name) in
            [(Direction::Forward, "PostgreSQL, client"), (Direction::Backward, "PostgreSQL, server")]
        {
            let bytes = stream.bytes(direction);
            if bytes.is_empty() {
                continue;
            }
            tree.open(name, "", Some(ByteRange::new(direction, 0, bytes.len())));
            let mut side = Side::new(bytes, direction);
            match direction {
                Direction::Forward => draw_client(&mut side, &requests, behind, tree),
                Direction::Backward => draw_server(&mut side, &requests, behind, tree),
            }
            side.all(behind.unwrap_or("Not read"), if behind.is_some() { "from here on" } else { "" }, tree);
            tree.close();
        }
    }
}

/// The requests to encrypt with which a client begins, and what follows the last of them where it was granted.
fn requests(client: &[u8], server: &[u8]) -> (Vec<u32>, Option<&'static str>) {
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

fn draw_client(side: &mut Side<'_>, requests: &[u32], behind: Option<&str>, tree: &mut TreeSink<'_>) {
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

fn draw_server(side: &mut Side<'_>, requests: &[u32], behind: Option<&str>, tree: &mut TreeSink<'_>) {
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
        b'Q' => _ = body.text("Statement", tree),
        b'P' => _ = body.text("Name", tree).and_then(|_| body.text("Statement", tree)),
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
