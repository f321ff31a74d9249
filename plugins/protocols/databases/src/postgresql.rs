//! PostgreSQL's frontend/backend protocol, version 3 (its documentation, chapter "Message Flow").

mod dissect;

use crate::dissect::Side;
use crate::template::{Limits, Stop, zero_ended};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink};
use veilwatch_core::plugin::{
    Carrier, FirstBytes, Openings, PluginError, Probe, Progress, ProtocolTemplate, Reader, RecordSink, Settings,
    StreamView,
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
/// Bytes within which the name of the first parameter ends.
const NAME: usize = 32;
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
        (9..=STARTUP, 0x0003_0000 | 0x0003_0002) => {
            let rest = reader.rest();
            match rest.iter().take(NAME).position(|byte| *byte == 0) {
                Some(0) => Probe::No,
                Some(_) if rest.starts_with(b"user\0") || rest.len() >= 16 => Probe::Certain,
                None if rest.len() >= NAME => Probe::No,
                _ => Probe::Unsure,
            }
        }
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

    fn openings(&self, carrier: Carrier) -> Openings {
        match carrier {
            Carrier::Tcp => Openings { forward: FirstBytes::of(&[0]), backward: FirstBytes::NONE },
            Carrier::Udp => Openings::NONE,
        }
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
        let (requests, behind) = dissect::requests(stream.forward, stream.backward);
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
                Direction::Forward => dissect::draw_client(&mut side, &requests, behind, tree),
                Direction::Backward => dissect::draw_server(&mut side, &requests, behind, tree),
            }
            side.all(behind.unwrap_or("Not read"), if behind.is_some() { "from here on" } else { "" }, tree);
            tree.close();
        }
    }
}
