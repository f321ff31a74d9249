//! The protocol template: settings, fields, and what is handed on.

use crate::connection::Connection;
use crate::handshake::HELLO_VERIFY_REQUEST;
use crate::record::{ACK, CHANGE_CIPHER_SPEC};
use serde::Deserialize;
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::TreeSink;
use veilwatch_core::plugin::{
    Carrier, FirstBytes, Made, Openings, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings,
    StreamView, TLS_HANDSHAKE, within,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

/// The settings: how much is read of one connection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes put together of each side's handshake, as its messages announce them.
    pub handshake_bytes: usize,
    /// Messages of each side's handshake.
    pub messages: usize,
    /// Fragments of each side's handshake, those that are sent again among them.
    pub fragments: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { handshake_bytes: 32_768, messages: 32, fragments: 256 }
    }
}

/// Reads DTLS 1.0 and 1.2 (RFC 4347, RFC 6347) and the hellos of DTLS 1.3 (RFC 9147) on any port.
///
/// The handshake is put together, brought into the form that it has in TLS, and handed to whoever reads
/// [`TLS_HANDSHAKE`]; that makes the same fields of it as of TLS over TCP.
#[derive(Debug, Clone, Default)]
pub struct Dtls {
    limits: Limits,
    ids: Vec<FieldId>,
}

impl Dtls {
    /// Makes the template from its settings ([`Limits`]).
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        let limits: Limits = settings.read()?;
        within("handshake_bytes", limits.handshake_bytes, 512..=1 << 20)?;
        within("messages", limits.messages, 2..=256)?;
        within("fragments", limits.fragments, 2..=1 << 16)?;
        Ok(Self { limits, ids: Vec::new() })
    }

    fn write(&self, connection: &Connection, out: &mut RecordSink<'_>) {
        let [client, server] = &connection.sides;
        let some = |number: u64| (number > 0).then_some(Value::U64(number));
        // Between the directions there is no order: the graver alert counts, the server's where they are alike.
        let last_alert = match (client.last_alert, server.last_alert) {
            (Some(ours), Some(theirs)) if ours[0] > theirs[0] => Some(ours),
            (ours, theirs) => theirs.or(ours),
        };
        let either = |is: fn(&crate::connection::Side) -> bool| some(u64::from(connection.sides.iter().any(is)));
        let values = [
            client.version.or(server.version).map(Value::number),
            client.handshake.cookie_bytes().filter(|bytes| *bytes > 0).map(|bytes| Value::U64(bytes as u64)),
            some(server.handshake.count(HELLO_VERIFY_REQUEST)),
            some(client.handshake.repeated + server.handshake.repeated),
            some(client.epoch.into()),
            some(server.epoch.into()),
            some(client.alerts),
            some(server.alerts),
            last_alert.map(|alert| Value::number(u16::from_be_bytes(alert))),
            either(|side| side.has_id),
            either(|side| side.handshake.too_long),
            either(|side| side.handshake.too_many),
            either(|side| side.handshake.too_spread),
        ];
        out.fields(&self.ids, &values);
    }
}

/// Bytes of a direction with which more would be seen. The ends of its first datagrams alone are known: where there are bytes
/// behind them, later ones are not seen.
pub(crate) fn wanted(stream: &StreamView<'_>, direction: Direction) -> usize {
    let known = stream.datagram_ends[direction.index()].last().map_or(0, |end| *end as usize);
    let there = stream.bytes(direction).len();
    if known < there { usize::MAX } else { there + 1 }
}

impl ProtocolTemplate for Dtls {
    fn fields(&self) -> Vec<FieldSpec> {
        let number = |name: &'static str, words: &'static str| FieldSpec::new(name, FieldKind::U64, words);
        vec![
            number("dtls.record_version", "version of the first record, as a number"),
            number("dtls.cookie_length", "bytes of the cookie that the client gave back, if it did"),
            number("dtls.hello_verify", "requests for a cookie, if there were any"),
            number("dtls.repeated", "fragments of the handshake that brought nothing new, if there were any"),
            number("dtls.client.epoch", "the client's latest epoch as far as is read, if it is encrypted"),
            number("dtls.server.epoch", "the server's"),
            number("dtls.client.alerts", "alerts in clear from the client, if there were any"),
            number("dtls.server.alerts", "alerts in clear from the server, if there were any"),
            number("dtls.last_alert", "level and description of the last alert in clear"),
            number("dtls.connection_id", "1 where records carry a connection id"),
            FieldSpec::limit("dtls", "handshake_bytes"),
            FieldSpec::limit("dtls", "messages"),
            FieldSpec::limit("dtls", "fragments"),
        ]
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.ids = ids.to_vec();
        Ok(())
    }

    fn openings(&self, carrier: Carrier) -> Openings {
        match carrier {
            Carrier::Tcp => Openings::NONE,
            Carrier::Udp => Openings::either(FirstBytes::when(|kind| (CHANGE_CIPHER_SPEC..=ACK).contains(&kind))),
        }
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        crate::probe::probe(stream)
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let connection = Connection::read(stream, &self.limits);
        if connection.reversed {
            out.swap_directions();
        }
        self.write(&connection, out);
        let sides = connection.sides.each_ref().map(|side| side.handshake.in_form_of_tls());
        if sides.iter().any(|(bytes, _)| !bytes.is_empty()) {
            let bytes = sides.each_ref().map(|(bytes, _)| bytes.as_slice());
            let pieces = sides.each_ref().map(|(_, pieces)| pieces.as_slice());
            out.hand_bytes(TLS_HANDSHAKE, Made { bytes, pieces });
        }
        if connection.is_over() {
            return Ok(Progress::Done);
        }
        let [forward, backward] = [Direction::Forward, Direction::Backward].map(|direction| wanted(stream, direction));
        Ok(match (forward, backward, connection.reversed) {
            (usize::MAX, usize::MAX, _) => Progress::Done,
            (_, _, false) => Progress::More { forward, backward },
            // As the directions are now.
            (_, _, true) => Progress::More { forward: backward, backward: forward },
        })
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        crate::dissect::draw(stream, tree);
    }
}
