//! The protocol template.

use crate::message::{Found, Message, Value as Ber};
use serde::Deserialize;
use veilwatch_core::plugin::dissect::TreeSink;
use veilwatch_core::plugin::{
    Carrier, FirstBytes, Openings, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView,
    within,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

/// The settings: how much is kept of one connection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes kept of each text.
    pub text_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { text_bytes: 255 }
    }
}

/// Reads LDAP (RFC 4511) on any port until somebody has logged in, and hands over TLS behind StartTLS.
#[derive(Debug, Clone)]
pub struct Ldap {
    limits: Limits,
    ids: Vec<FieldId>,
}

/// Operations that are looked at (sections 4.2, 4.3 and 4.12).
const BIND: u8 = 0x60;
const BIND_ANSWER: u8 = 0x61;
const EXTENDED: u8 = 0x77;
const EXTENDED_ANSWER: u8 = 0x78;
/// Search, modify, add, delete, rename, compare, abandon, unbind.
const OTHERS: [u8; 8] = [0x63, 0x66, 0x68, 0x4a, 0x6c, 0x6e, 0x50, 0x42];
/// Their answers.
const OTHER_ANSWERS: [u8; 8] = [0x64, 0x65, 0x73, 0x67, 0x69, 0x6b, 0x6d, 0x6f];
const STARTTLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
/// Requests before the one that matters, as a search for what the server can do.
const REQUESTS: usize = 8;
/// Messages that answer one request, as what a search finds.
const ANSWERS: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Client,
    Server,
    Short,
    No,
}

fn look(bytes: &[u8]) -> Look {
    match Message::operation_of(bytes) {
        None => Look::No,
        Some(None) => Look::Short,
        Some(Some(BIND | EXTENDED)) => Look::Client,
        Some(Some(BIND_ANSWER | EXTENDED_ANSWER)) => Look::Server,
        Some(Some(other)) if OTHERS.contains(&other) => Look::Client,
        Some(Some(other)) if OTHER_ANSWERS.contains(&other) => Look::Server,
        Some(Some(_)) => Look::No,
    }
}

/// What was read.
#[derive(Default)]
struct Told<'a> {
    version: Option<u32>,
    name: Option<&'a [u8]>,
    mechanism: Option<&'a [u8]>,
    clear_credentials: bool,
    result: Option<u32>,
    tls: Option<bool>,
}

enum Stop {
    Client(usize),
    Server(usize),
    Over,
    Tls(usize, usize),
}

/// The next message of a side; none where it is broken.
fn next<'a>(bytes: &'a [u8], at: usize) -> Result<Option<Message<'a>>, usize> {
    match Message::read(bytes.get(at..).unwrap_or_default()) {
        Found::Message(message) => Ok(Some(message)),
        Found::Short(wanted) => Err(at + wanted),
        Found::Broken => Ok(None),
    }
}

/// Goes through requests and their answers until somebody has logged in.
fn read<'a>(client: &'a [u8], server: &'a [u8], told: &mut Told<'a>) -> Stop {
    let (mut asked, mut answered) = (0, 0);
    for _ in 0..REQUESTS {
        let request = match next(client, asked) {
            Ok(Some(request)) => request,
            Ok(None) => return Stop::Over,
            Err(wanted) => return Stop::Client(wanted),
        };
        asked += request.len;
        let starttls =
            request.operation == EXTENDED && Ber::of(request.body, 0x80).is_some_and(|name| name.body == STARTTLS);
        match request.operation {
            BIND => bind(request.body, told),
            // Abandoned, or the end: neither has an answer.
            0x50 | 0x42 => continue,
            _ => {}
        }
        let answer = match answer(server, &mut answered, request.id) {
            Ok(Some(answer)) => answer,
            Ok(None) => return Stop::Over,
            Err(wanted) => return Stop::Server(wanted),
        };
        let result = Ber::read(answer.body).and_then(|code| code.number());
        if request.operation == BIND {
            told.result = result;
            return Stop::Over;
        }
        if starttls && answer.operation == EXTENDED_ANSWER {
            told.tls = Some(result == Some(0));
            if result == Some(0) {
                return Stop::Tls(asked, answered);
            }
        }
    }
    Stop::Over
}

/// The last message that answers a request; what a search finds comes before it.
fn answer<'a>(server: &'a [u8], at: &mut usize, id: u32) -> Result<Option<Message<'a>>, usize> {
    const FOUND: [u8; 2] = [0x64, 0x73];
    for _ in 0..ANSWERS {
        let Some(message) = next(server, *at)? else { return Ok(None) };
        *at += message.len;
        if message.id == id && !FOUND.contains(&message.operation) {
            return Ok(Some(message));
        }
    }
    Ok(None)
}

/// Version, name, and how the client shows who it is (section 4.2).
fn bind<'a>(body: &'a [u8], told: &mut Told<'a>) {
    let Some(version) = Ber::read(body) else { return };
    told.version = version.number();
    let Some(name) = Ber::of(version.rest, 0x04) else { return };
    told.name = Some(name.body).filter(|name| !name.is_empty());
    let Some(choice) = Ber::read(name.rest) else { return };
    match choice.tag {
        // A password; an empty one is nobody's.
        0x80 => told.clear_credentials = !choice.body.is_empty(),
        0xa3 => {
            told.mechanism = Ber::of(choice.body, 0x04).map(|mechanism| mechanism.body);
            told.clear_credentials = told.mechanism == Some(b"PLAIN");
        }
        _ => {}
    }
}

impl Ldap {
    /// Makes the template from its settings ([`Limits`]).
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        let limits: Limits = settings.read()?;
        within("text_bytes", limits.text_bytes, 16..=1024)?;
        Ok(Self { limits, ids: Vec::new() })
    }
}

impl ProtocolTemplate for Ldap {
    fn fields(&self) -> Vec<FieldSpec> {
        vec![
            FieldSpec::new("ldap.version", FieldKind::U64, "version that the client asks for"),
            FieldSpec::new("ldap.name", FieldKind::Bytes, "who logs in; a password is not read"),
            FieldSpec::new("ldap.mechanism", FieldKind::Bytes, "SASL mechanism by which the client logs in"),
            FieldSpec::new("ldap.result_code", FieldKind::U64, "the server's answer to that, 0 for welcome"),
            FieldSpec::new("ldap.starttls", FieldKind::U64, "whether the server agreed to TLS when it was asked"),
            FieldSpec::new("ldap.clear_credentials", FieldKind::U64, "1 where a password went in clear"),
            FieldSpec::limit("ldap", "text_bytes"),
        ]
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.ids = ids.to_vec();
        Ok(())
    }

    fn openings(&self, carrier: Carrier) -> Openings {
        match carrier {
            Carrier::Tcp => Openings::either(FirstBytes::of(&[crate::message::SEQUENCE])),
            Carrier::Udp => Openings::NONE,
        }
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        if stream.carrier != Carrier::Tcp {
            return Probe::No;
        }
        let first = if stream.forward.is_empty() { stream.backward } else { stream.forward };
        match look(first) {
            Look::Client | Look::Server => Probe::Certain,
            Look::Short => Probe::Unsure,
            Look::No => Probe::No,
        }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        // Nobody asks anything where there are two servers.
        let Some(reversed) = is_reversed(stream) else { return Ok(Progress::Done) };
        let (client, server) =
            if reversed { (stream.backward, stream.forward) } else { (stream.forward, stream.backward) };
        if reversed {
            out.swap_directions();
        }
        let mut told = Told::default();
        let stop = read(client, server, &mut told);
        let most = self.limits.text_bytes;
        let texts = [told.name, told.mechanism];
        let cut = texts.iter().flatten().any(|text| text.len() > most);
        let [name, mechanism] = texts.map(|text| text.map(|text| Value::Bytes(text.get(..most).unwrap_or(text))));
        let flag = |set: bool| set.then_some(Value::U64(1));
        let tls = told.tls.map(Value::number);
        let [version, result] = [told.version, told.result].map(|number| number.map(Value::number));
        out.fields(&self.ids, &[version, name, mechanism, result, tls, flag(told.clear_credentials), flag(cut)]);
        Ok(match stop {
            Stop::Client(forward) => Progress::More { forward, backward: usize::MAX },
            Stop::Server(backward) => Progress::More { forward: usize::MAX, backward },
            Stop::Over => Progress::Done,
            Stop::Tls(forward, backward) => {
                out.hand_over(forward, backward);
                Progress::Done
            }
        })
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        let reversed = is_reversed(stream).unwrap_or_default();
        let (client, server) =
            if reversed { (stream.backward, stream.forward) } else { (stream.forward, stream.backward) };
        let tls = match read(client, server, &mut Told::default()) {
            Stop::Tls(asked, answered) => [asked, answered],
            _ => [usize::MAX; 2],
        };
        crate::dissect::draw(stream, reversed, tls, tree);
    }
}

/// Whether the originator is the server; nothing where both sides are.
fn is_reversed(stream: &StreamView<'_>) -> Option<bool> {
    match (look(stream.forward), look(stream.backward)) {
        (Look::Server, Look::Server) => None,
        (Look::Client, _) => Some(false),
        (forward, backward) => Some(forward == Look::Server || backward == Look::Client),
    }
}
