//! The protocol template.

use crate::stream::{Found, Tag, position};
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

/// Reads the stream headers of XMPP (RFC 6120) on any port, and hands over TLS behind `<starttls/>` and `<proceed/>`.
#[derive(Debug, Clone)]
pub struct Xmpp {
    limits: Limits,
    ids: Vec<FieldId>,
}

const STREAM: &[u8] = b"<stream:stream";
/// Bytes within which a stream's header begins.
const BEGIN: usize = 512;

impl Xmpp {
    /// Makes the template from its settings ([`Limits`]).
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        let limits: Limits = settings.read()?;
        within("text_bytes", limits.text_bytes, 16..=1024)?;
        Ok(Self { limits, ids: Vec::new() })
    }
}

/// Whether a side begins with a stream header.
fn look(bytes: &[u8]) -> Probe {
    let begins = |bytes: &[u8], with: &[u8]| bytes.starts_with(with) || with.starts_with(bytes);
    let seen = bytes.get(..BEGIN).unwrap_or(bytes);
    let header = if begins(seen, b"<?xml") && seen.len() > 1 {
        // Behind the declaration comes the header; any other element is another protocol's.
        let behind = seen.iter().position(|byte| *byte == b'>').and_then(|end| seen.get(end + 1..)).unwrap_or_default();
        behind.trim_ascii_start()
    } else {
        seen
    };
    match header {
        header if header.starts_with(STREAM) => Probe::Certain,
        header if begins(header, STREAM) && seen.len() < BEGIN => Probe::Unsure,
        _ => Probe::No,
    }
}

/// What was read.
#[derive(Default)]
struct Told<'a> {
    to: Option<&'a [u8]>,
    from: Option<&'a [u8]>,
    mechanism: Option<&'a [u8]>,
    tls: Option<bool>,
    clear_credentials: bool,
}

enum Stop {
    Client,
    Server,
    Over,
    Tls(usize, usize),
}

/// Goes through what matters of both sides.
fn read<'a>(client: &'a [u8], server: &'a [u8], told: &mut Told<'a>) -> Stop {
    let Found::Whole(header) = Tag::find(client, 0, STREAM) else { return Stop::Client };
    told.to = header.attribute(b"to");
    let Found::Whole(answer) = Tag::find(server, 0, STREAM) else { return Stop::Server };
    told.from = answer.attribute(b"from");
    // The client's next element: TLS, or its name and password.
    let rest = client.get(header.end..).unwrap_or_default();
    let Some(at) = rest.iter().position(|byte| !byte.is_ascii_whitespace()) else { return Stop::Client };
    let at = header.end + at;
    let element = |name: &[u8]| match client.get(at..).unwrap_or_default() {
        rest if rest.starts_with(name) => Some(Tag::find(client, at, name)),
        rest if name.starts_with(rest) => Some(Found::Part),
        _ => None,
    };
    if let Some(found) = element(b"<starttls") {
        let Found::Whole(asked) = found else { return Stop::Client };
        return starttls(client, server, &asked, answer.end, told);
    }
    if let Some(found) = element(b"<auth") {
        let Found::Whole(auth) = found else { return Stop::Client };
        told.mechanism = auth.attribute(b"mechanism");
        told.clear_credentials = told.mechanism.is_some_and(|name| name.eq_ignore_ascii_case(b"PLAIN"));
        return Stop::Over;
    }
    if let Some(found) = element(b"<iq") {
        // What was before SASL (XEP-0078).
        let Found::Whole(_) = found else { return Stop::Client };
        let Some(end) = position(client, at, b"</iq>") else { return Stop::Client };
        let query = client.get(at..end).unwrap_or_default();
        told.clear_credentials = position(query, 0, b"<password>").is_some();
        return Stop::Over;
    }
    Stop::Over
}

/// The server's answer to `<starttls/>`, and where TLS begins.
fn starttls<'a>(client: &'a [u8], server: &'a [u8], asked: &Tag<'a>, answered: usize, told: &mut Told<'a>) -> Stop {
    let Some(begin) = behind(client, asked, b"</starttls>") else { return Stop::Client };
    // The first of both counts.
    let agreed = position(server, answered, b"<proceed");
    if position(server, answered, b"<failure").is_some_and(|at| agreed.is_none_or(|agreed| at < agreed)) {
        told.tls = Some(false);
        return Stop::Over;
    }
    let proceed = Tag::find(server, answered, b"<proceed");
    let Found::Whole(proceed) = proceed else { return Stop::Server };
    let Some(end) = behind(server, &proceed, b"</proceed>") else { return Stop::Server };
    told.tls = Some(true);
    // Blanks may stand before the first record; nothing else may.
    let rest = client.get(begin..).unwrap_or_default();
    match rest.iter().position(|byte| !byte.is_ascii_whitespace()) {
        Some(blanks) => Stop::Tls(begin + blanks, end),
        None => Stop::Client,
    }
}

/// Offset behind an element that holds nothing.
fn behind(bytes: &[u8], tag: &Tag<'_>, close: &[u8]) -> Option<usize> {
    if tag.is_empty { Some(tag.end) } else { Some(position(bytes, tag.end, close)? + close.len()) }
}

impl ProtocolTemplate for Xmpp {
    fn fields(&self) -> Vec<FieldSpec> {
        vec![
            FieldSpec::new("xmpp.to", FieldKind::Bytes, "the host that the client wants"),
            FieldSpec::new("xmpp.from", FieldKind::Bytes, "what the server calls itself"),
            FieldSpec::new("xmpp.auth", FieldKind::Bytes, "the mechanism by which the client logs in"),
            FieldSpec::new("xmpp.starttls", FieldKind::U64, "whether the server agreed to TLS when it was asked"),
            FieldSpec::new("xmpp.clear_credentials", FieldKind::U64, "1 where a password went in clear"),
            FieldSpec::limit("xmpp", "text_bytes"),
        ]
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.ids = ids.to_vec();
        Ok(())
    }

    fn openings(&self, carrier: Carrier) -> Openings {
        match carrier {
            Carrier::Tcp => Openings::either(FirstBytes::of(b"<")),
            Carrier::Udp => Openings::NONE,
        }
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        if stream.carrier != Carrier::Tcp {
            return Probe::No;
        }
        if stream.forward.is_empty() { look(stream.backward) } else { look(stream.forward) }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let reversed = match is_reversed(stream) {
            Sides::Reversed(reversed) => reversed,
            // Nobody asks anything.
            Sides::Servers => return Ok(Progress::Done),
            Sides::Unsure => return Ok(Progress::More { forward: stream.forward.len() + 1, backward: usize::MAX }),
        };
        let (client, server) =
            if reversed { (stream.backward, stream.forward) } else { (stream.forward, stream.backward) };
        if reversed {
            out.swap_directions();
        }
        let mut told = Told::default();
        let stop = read(client, server, &mut told);
        if told.from.is_none() {
            // Of a capture of the server alone.
            told.from = match Tag::find(server, 0, STREAM) {
                Found::Whole(header) => header.attribute(b"from"),
                _ => None,
            };
        }
        let most = self.limits.text_bytes;
        let texts = [told.to, told.from, told.mechanism];
        let cut = texts.iter().flatten().any(|text| text.len() > most);
        let [to, from, mechanism] = texts.map(|text| text.map(|text| Value::Bytes(text.get(..most).unwrap_or(text))));
        let flag = |set: bool| set.then_some(Value::U64(1));
        let tls = told.tls.map(Value::number);
        out.fields(&self.ids, &[to, from, mechanism, tls, flag(told.clear_credentials), flag(cut)]);
        Ok(match stop {
            Stop::Client => Progress::More { forward: client.len() + 1, backward: usize::MAX },
            Stop::Server => Progress::More { forward: usize::MAX, backward: server.len() + 1 },
            Stop::Over => Progress::Done,
            Stop::Tls(forward, backward) => {
                out.hand_over(forward, backward);
                Progress::Done
            }
        })
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        let reversed = matches!(is_reversed(stream), Sides::Reversed(true));
        let (client, server) =
            if reversed { (stream.backward, stream.forward) } else { (stream.forward, stream.backward) };
        let tls = match read(client, server, &mut Told::default()) {
            Stop::Tls(asked, answered) => [asked, answered],
            _ => [usize::MAX; 2],
        };
        crate::dissect::draw(stream, reversed, tls, tree);
    }
}

/// Who is who.
enum Sides {
    /// Whether the originator is the server.
    Reversed(bool),
    /// Both sides are.
    Servers,
    /// More bytes tell.
    Unsure,
}

/// A server's header has an identifier, a client's has none (section 4.7.3); where there is no header, it was seen on the
/// other side.
fn is_reversed(stream: &StreamView<'_>) -> Sides {
    let is_server = |bytes| match Tag::find(bytes, 0, STREAM) {
        Found::Whole(header) => header.attribute(b"id").is_some(),
        _ => false,
    };
    if is_server(stream.forward) && is_server(stream.backward) {
        return Sides::Servers;
    }
    Sides::Reversed(match Tag::find(stream.forward, 0, STREAM) {
        Found::Whole(_) => is_server(stream.forward),
        _ if stream.forward_ended => match Tag::find(stream.backward, 0, STREAM) {
            Found::Whole(header) => header.attribute(b"id").is_none(),
            _ => false,
        },
        _ => return Sides::Unsure,
    })
}
