//! The protocol template: both directions together.

use crate::dissect::hidden;
use crate::exchange::{Side, Stop, Told, read};
use crate::http2;
use crate::probe::{BEGINS, Look, PREFACE, is_reversed, look};
use serde::Deserialize;
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::TreeSink;
use veilwatch_core::plugin::{
    Carrier, FirstBytes, Openings, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView,
    within,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

/// The settings: how much is read of one connection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes read of the head of one message: its first line and its header fields.
    pub header_bytes: usize,
    /// Bytes kept of each text.
    pub text_bytes: usize,
    /// Exchanges that are counted.
    pub exchanges: usize,
    /// Longest body behind which the next message is looked for.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { header_bytes: 8192, text_bytes: 512, exchanges: 8, body_bytes: 4096 }
    }
}

/// Fields that are of HTTP/1, the limits among them; those of HTTP/2 stand behind these.
const HTTP1: usize = 15;
/// The field that says that a text was cut.
const TEXT_LIMIT: usize = 13;

/// Reads HTTP/1 in clear (RFC 9112) on any port, and of HTTP/2 what stands before the first header fields (RFC 9113).
///
/// Fields are those of the first exchange. What stands behind a CONNECT that succeeded, or behind an upgrade to TLS, is
/// handed over; then they are those of the exchange that led there.
#[derive(Debug, Clone)]
pub struct Http {
    limits: Limits,
    ids: Vec<FieldId>,
}

impl Http {
    /// Makes the template from its settings ([`Limits`]).
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        let limits: Limits = settings.read()?;
        within("header_bytes", limits.header_bytes, 64..=1 << 20)?;
        // All texts of a flow have to fit into what its fields may take, and leave room for those of TLS.
        within("text_bytes", limits.text_bytes, 16..=1024)?;
        within("exchanges", limits.exchanges, 1..=1024)?;
        within("body_bytes", limits.body_bytes, 0..=1 << 20)?;
        Ok(Self { limits, ids: Vec::new() })
    }
}

impl ProtocolTemplate for Http {
    fn fields(&self) -> Vec<FieldSpec> {
        let bytes = |name, words| FieldSpec::new(name, FieldKind::Bytes, words);
        let number = |name, words| FieldSpec::new(name, FieldKind::U64, words);
        vec![
            bytes("http.http_method", "method of the first request"),
            bytes("http.hostname", "its Host, with a port where it has one"),
            bytes("http.url", "its target, without a password"),
            bytes("http.protocol", "its version, such as `HTTP/1.1`; `HTTP/2` where the connection begins with that"),
            bytes("http.http_user_agent", "its User-Agent"),
            number("http.status", "status of the response"),
            bytes("http.server", "what the server calls itself"),
            bytes("http.http_content_type", "media type of the response"),
            number("http.content_length", "bytes of the response's body, as its header says"),
            bytes("http.redirect", "Location of the response, without a password"),
            bytes("http.upgrade", "Upgrade of the response, or else of the request"),
            number("http.requests", "requests that were counted"),
            number("http.responses", "responses that were counted, without those that say `continue`"),
            FieldSpec::limit("http", "text_bytes"),
            FieldSpec::limit("http", "header_bytes"),
            bytes("http2.client.settings", "the client's first settings, as `number=value` with commas between"),
            number(
                "http2.client.window_update",
                "bytes by which the client widens the window of the connection at first",
            ),
            number("http2.client.headers", "1 where the client sent header fields"),
            bytes("http2.server.settings", "the server's first settings"),
            number("http2.server.window_update", "bytes by which the server widens the window at first"),
            number("http2.server.headers", "1 where the server sent header fields"),
            number("http2.goaway", "error with which a side took leave before that, the server's where both did"),
        ]
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.ids = ids.to_vec();
        Ok(())
    }

    fn openings(&self, carrier: Carrier) -> Openings {
        match carrier {
            // At some ports an answer tells, whatever it is an answer to.
            Carrier::Tcp => Openings { forward: FirstBytes::of(BEGINS), backward: FirstBytes::of(BEGINS).or_silence() },
            Carrier::Udp => Openings::NONE,
        }
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        crate::probe::probe(stream)
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let Some(reversed) = is_reversed(stream) else { return Ok(Progress::Done) };
        if reversed {
            out.swap_directions();
        }
        let side = |direction: Direction| Side { bytes: stream.bytes(direction), ended: stream.ended(direction) };
        let (mut client, server) = match reversed {
            false => (side(Direction::Forward), side(Direction::Backward)),
            true => (side(Direction::Backward), side(Direction::Forward)),
        };
        if look(client.bytes) == Look::No {
            // The server takes it for a bad request; to us it says nothing.
            client = Side { bytes: &[], ended: true };
        }
        if client.bytes.starts_with(b"PRI ") {
            return Ok(self.preface(client, server, out));
        }
        let mut told = Told::default();
        let stop = read(client, server, &self.limits, &mut told);
        self.write(&told, out);
        Ok(match stop {
            Stop::Client(forward) => Progress::More { forward, backward: usize::MAX },
            Stop::Server(backward) => Progress::More { forward: usize::MAX, backward },
            Stop::Over => Progress::Done,
            Stop::Behind(forward, backward) => {
                out.hand_over(forward, backward);
                Progress::Done
            }
        })
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        crate::dissect::draw(stream, &self.limits, tree);
    }
}

impl Http {
    /// HTTP/2 that nobody negotiated: frames, of which those before the first header fields are read.
    fn preface(&self, client: Side<'_>, server: Side<'_>, out: &mut RecordSink<'_>) -> Progress {
        let seen = client.bytes.get(..PREFACE.len()).unwrap_or(client.bytes);
        if !PREFACE.starts_with(seen) {
            return Progress::Done;
        }
        if seen.len() < PREFACE.len() && !client.ended {
            return Progress::More { forward: PREFACE.len(), backward: usize::MAX };
        }
        let mut values = [None; 4];
        values[3] = Some(Value::Bytes(b"HTTP/2"));
        out.fields(&self.ids, &values);
        let asks = http2::Side::read(client.bytes, PREFACE.len(), self.limits.text_bytes);
        let answers = http2::Side::read(server.bytes, 0, self.limits.text_bytes);
        let [said, heard] = [&asks, &answers].map(|side| Some(Value::Bytes(side.settings.as_deref()?.as_bytes())));
        let values = [
            said,
            asks.window.map(Value::number),
            asks.headers.then_some(Value::U64(1)),
            heard,
            answers.window.map(Value::number),
            answers.headers.then_some(Value::U64(1)),
            answers.goaway.or(asks.goaway).map(Value::number),
        ];
        out.fields(self.ids.get(HTTP1..).unwrap_or_default(), &values);
        if asks.is_cut || answers.is_cut {
            out.fields(self.ids.get(TEXT_LIMIT..).unwrap_or_default(), &[Some(Value::U64(1))]);
        }
        let wants = |side: &http2::Side, ended: bool| side.wants.filter(|_| !ended).unwrap_or(usize::MAX);
        match (wants(&asks, client.ended), wants(&answers, server.ended)) {
            (usize::MAX, usize::MAX) => Progress::Done,
            (forward, backward) => Progress::More { forward, backward },
        }
    }

    fn write(&self, told: &Told<'_>, out: &mut RecordSink<'_>) {
        let request = told.request.as_ref();
        let response = told.response.as_ref();
        let asked = |name: &[u8]| request.and_then(|request| request.head.field(name));
        let answered = |name: &[u8]| response.and_then(|response| response.head.field(name));
        let url = request.map(|it| hidden(it.line.target, it.head.is_cut_in(it.line.target)));
        let redirect =
            response.and_then(|it| it.head.field(b"Location").map(|text| hidden(text, it.head.is_cut_in(text))));
        let version = request.and_then(|it| it.line.version).or(response.map(|it| it.line.version));
        let texts = [
            request.map(|it| it.line.method),
            asked(b"Host"),
            url.as_deref(),
            version,
            asked(b"User-Agent"),
            answered(b"Server"),
            answered(b"Content-Type"),
            redirect.as_deref(),
            answered(b"Upgrade").or(asked(b"Upgrade")),
        ];
        let most = self.limits.text_bytes;
        let cut = texts.iter().flatten().any(|text| text.len() > most);
        let [method, host, url, version, agent, server, media, redirect, upgrade] = texts.map(|text| {
            let text = text.filter(|text| !text.is_empty())?;
            Some(Value::Bytes(text.get(..most).unwrap_or(text)))
        });
        let status = response.map(|it| Value::number(it.line.code));
        let length = answered(b"Content-Length").and_then(crate::head::number).map(Value::U64);
        let limit = |bites: bool| bites.then_some(Value::U64(1));
        let counts = [told.requests, told.responses].map(|count| Some(Value::U64(count)));
        out.fields(
            &self.ids,
            &[
                method,
                host,
                url,
                version,
                agent,
                status,
                server,
                media,
                length,
                redirect,
                upgrade,
                counts[0],
                counts[1],
                limit(cut),
                limit(told.head_too_long),
            ],
        );
    }
}
