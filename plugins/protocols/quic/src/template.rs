//! The protocol template: settings, fields, and what is handed on.

use crate::connection::Connection;
use crate::hello::{Parameters, is_client_complete, parameters};
use serde::Deserialize;
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::TreeSink;
use veilwatch_core::plugin::{
    Carrier, FirstBytes, Made, Openings, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings,
    StreamView, TLS_HANDSHAKE,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value, parameters_print};

/// The settings: how much is read of one connection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Initial packets looked at in each direction.
    pub packets: usize,
    /// Bytes put together of each side's handshake.
    pub crypto_bytes: usize,
    /// Connection ids from which keys are made: a client has one, and another for each time that it is sent away.
    pub connection_ids: usize,
    /// Bytes kept of what a client calls itself.
    pub user_agent_bytes: usize,
    /// Whether a fingerprint of the client's transport parameters is written.
    pub fingerprints: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { packets: 32, crypto_bytes: 16_384, connection_ids: 4, user_agent_bytes: 256, fingerprints: false }
    }
}

impl Limits {
    fn read(settings: Settings<'_>) -> Result<Self, PluginError> {
        let limits: Self = settings.read()?;
        for (name, value, least, most) in [
            ("packets", limits.packets, 1, 1024),
            ("crypto_bytes", limits.crypto_bytes, 512, 1 << 20),
            ("connection_ids", limits.connection_ids, 1, 64),
            ("user_agent_bytes", limits.user_agent_bytes, 1, 4096),
        ] {
            if !(least..=most).contains(&value) {
                return Err(PluginError::settings(format!("`{name}` is {value}; give {least} to {most}")));
            }
        }
        Ok(limits)
    }
}

/// Reads QUIC (RFC 9000, RFC 9001, RFC 9369, drafts 22 to 34) on any port, and recognises what Google spoke before.
///
/// Its Initial packets are protected with keys that whoever saw the first one can compute, so that a sensor reads the
/// same hellos as of TLS over TCP. It writes fields of its own, and hands the handshake to whoever reads
/// [`TLS_HANDSHAKE`].
#[derive(Debug, Clone, Default)]
pub struct Quic {
    limits: Limits,
    ids: Vec<FieldId>,
}

/// The settings that bound what is read.
const BOUNDS: [&str; 4] = ["packets", "crypto_bytes", "connection_ids", "user_agent_bytes"];

impl Quic {
    /// Makes the template from its settings ([`Limits`]).
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        Ok(Self { limits: Limits::read(settings)?, ids: Vec::new() })
    }

    fn write(
        &self,
        connection: &Connection<'_>,
        swapped: bool,
        sent: Option<&Parameters<'_>>,
        out: &mut RecordSink<'_>,
    ) {
        let number = |number: usize| Some(Value::U64(number as u64));
        let flag = |yes: bool| Some(Value::U64(u64::from(yes)));
        let ids = connection.first.and_then(|first| first.ids);
        let [mut client, mut server] = connection.initials;
        if swapped {
            (client, server) = (server, client);
        }
        let of = |value: fn(&Parameters<'_>) -> Option<u64>| sent.and_then(value).map(Value::U64);
        let name = sent.and_then(|sent| sent.user_agent);
        let kept = name.map(|name| name.get(..self.limits.user_agent_bytes).unwrap_or(name));
        let crypto_is_cut = connection.attempts.iter().any(|attempt| attempt.crypto.iter().any(|side| side.cut));
        let reached = [
            connection.too_many[0],
            crypto_is_cut,
            connection.too_many[1],
            name.is_some_and(|name| name.len() > self.limits.user_agent_bytes),
        ];
        let print = sent.zip(connection.first).filter(|_| self.limits.fingerprints);
        let print = print.map(|(sent, first)| parameters_print(first.version.0, &sent.numbers));
        let values = [
            connection.first.map(|first| Value::number(first.version.0)),
            ids.and_then(|ids| number(ids[0])),
            ids.and_then(|ids| number(ids[1])),
            ids.and_then(|_| number(connection.token_bytes)),
            flag(connection.retry),
            flag(connection.negotiation),
            Some(Value::U64(client)),
            Some(Value::U64(server)),
            Some(Value::U64(connection.unopened)),
            sent.map(|sent| Value::U16List(&sent.numbers)),
            of(|sent| sent.max_idle_timeout),
            of(|sent| sent.max_udp_payload_size),
            of(|sent| sent.initial_max_data),
            of(|sent| sent.initial_max_streams_bidi),
            of(|sent| sent.active_connection_id_limit),
            of(|sent| sent.max_datagram_frame_size),
            kept.map(Value::Bytes),
            print.as_deref().map(|print| Value::Bytes(print.as_bytes())),
        ];
        out.fields(&self.ids, &values);
        let bounds = self.ids.get(values.len()..).unwrap_or_default();
        out.fields(bounds, &reached.map(|reached| reached.then_some(Value::U64(1))));
    }
}

impl ProtocolTemplate for Quic {
    fn fields(&self) -> Vec<FieldSpec> {
        let number = |name: &'static str, words: &'static str| FieldSpec::new(name, FieldKind::U64, words);
        let own = [
            number("quic.version", "version of the first packet with a long header, as a number"),
            number("quic.dcil", "bytes of the first destination connection id"),
            number("quic.scil", "bytes of the first source connection id"),
            number("quic.token_length", "bytes of the longest token in an Initial packet"),
            number("quic.retry", "whether the server sent a Retry"),
            number("quic.version_negotiation", "whether the server sent its versions"),
            number("quic.client.initials", "Initial packets of the client"),
            number("quic.server.initials", "Initial packets of the server"),
            number("quic.unopened", "Initial packets that no key opened: damaged, or of a client that was not seen"),
            FieldSpec::new(
                "quic.parameters",
                FieldKind::U16List,
                "numbers of the client's transport parameters, without those to be ignored",
            ),
            number("quic.parameter.max_idle_timeout", "idle timeout of the client, in milliseconds"),
            number("quic.parameter.max_udp_payload_size", "largest payload that the client takes, in bytes"),
            number("quic.parameter.initial_max_data", "bytes that the client takes at first"),
            number("quic.parameter.initial_max_streams_bidi", "streams that the server may open at first"),
            number("quic.parameter.active_connection_id_limit", "connection ids that the client keeps"),
            number("quic.parameter.max_datagram_frame_size", "largest DATAGRAM frame that the client takes, in bytes"),
            FieldSpec::new("quic.user_agent", FieldKind::Bytes, "what a client of Google's calls itself"),
            FieldSpec::new(
                "quic.fingerprint",
                FieldKind::Bytes,
                "fingerprint `vwq1` of these parameters, if asked for",
            ),
        ];
        let bounds = BOUNDS.map(|setting| FieldSpec::limit("quic", setting));
        own.into_iter().chain(bounds).collect()
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.ids = ids.to_vec();
        Ok(())
    }

    fn openings(&self, carrier: Carrier) -> Openings {
        match carrier {
            Carrier::Tcp => Openings::NONE,
            Carrier::Udp => Openings::either(FirstBytes::when(crate::header::is_worth_reading)),
        }
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        crate::probe::probe(stream)
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let connection = Connection::read(stream, &self.limits);
        let handshake = connection.handshake();
        // The client is who sent the first Initial, whoever's packet came first.
        let swapped = handshake.is_some_and(|handshake| handshake.client == Direction::Backward);
        if swapped {
            out.swap_directions();
        }
        let bytes = handshake.map_or([&[][..]; 2], |handshake| handshake.crypto.each_ref().map(|side| side.bytes()));
        let extension = connection.first.and_then(|first| first.version.parameters());
        let sent = extension.and_then(|extension| parameters(bytes[0], extension));
        self.write(&connection, swapped, sent.as_ref(), out);
        if let Some(handshake) = handshake.filter(|_| bytes.iter().any(|side| !side.is_empty())) {
            let pieces = handshake.crypto.each_ref().map(|side| side.pieces());
            out.hand_bytes(TLS_HANDSHAKE, Made { bytes, pieces: pieces.each_ref().map(Vec::as_slice) });
        }
        if self.is_enough(&connection) {
            return Ok(Progress::Done);
        }
        // A client that has said all and was not sent away says nothing more in clear.
        let sent_away = connection.retry || connection.negotiation || !bytes[1].is_empty();
        let said_all = is_client_complete(bytes[0]) && !sent_away;
        // Packets that nothing opens are tried again in each parse: the more there are, the fewer parses.
        let more = |len: usize| len + if connection.unopened > 4 { len.max(1) } else { 1 };
        let (client, server) = (stream.forward.len(), stream.backward.len());
        let (client, server) = if swapped { (server, client) } else { (client, server) };
        Ok(Progress::More { forward: if said_all { usize::MAX } else { more(client) }, backward: more(server) })
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        crate::dissect::draw(stream, tree);
    }
}

impl Quic {
    /// Whether more bytes would tell nothing: both hellos are there, a limit was reached, or nothing can be read.
    fn is_enough(&self, connection: &Connection<'_>) -> bool {
        let foreign = connection.first.is_some_and(|first| first.ids.is_none());
        let hellos = connection.attempts.iter().any(|attempt| attempt.is_complete());
        foreign || hellos || connection.too_many != [false; 2]
    }
}
