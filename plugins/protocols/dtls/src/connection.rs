//! Both directions together.

use crate::handshake::{CLIENT_HELLO, Handshake, SERVER_HELLO};
use crate::record::{ALERT, HANDSHAKE, WITH_ID, records};
use crate::template::Limits;
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::StreamView;

/// What one direction shows.
#[derive(Debug, Default)]
pub(crate) struct Side {
    pub(crate) handshake: Handshake,
    /// Version of the first record that says one.
    pub(crate) version: Option<u16>,
    /// The latest epoch, as far as records were looked at.
    pub(crate) epoch: u16,
    /// Records that are encrypted.
    pub(crate) encrypted: usize,
    /// Alerts in clear, and level and description of the last one.
    pub(crate) alerts: u64,
    pub(crate) last_alert: Option<[u8; 2]>,
    /// Whether records carry a connection id (RFC 9146).
    pub(crate) has_id: bool,
}

impl Side {
    fn read(stream: &StreamView<'_>, direction: Direction, limits: &Limits) -> Self {
        let mut side = Self::default();
        for (begin, datagram) in stream.datagrams(direction) {
            for record in records(datagram) {
                if record.version != 0 {
                    side.version.get_or_insert(record.version);
                }
                side.epoch = side.epoch.max(record.epoch);
                side.has_id |= record.kind == WITH_ID;
                match (record.kind, record.body) {
                    _ if !record.is_clear() => side.encrypted += 1,
                    (HANDSHAKE, body) => side.handshake.take(body, begin + record.at, limits),
                    (ALERT, &[level @ 1..=2, description]) => {
                        side.alerts += 1;
                        side.last_alert = Some([level, description]);
                    }
                    _ => {}
                }
            }
        }
        side
    }
}

/// What both directions show, the client's first.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) sides: [Side; 2],
    /// Whether the client is the backward side.
    pub(crate) reversed: bool,
}

/// Encrypted records behind which no more of the handshake is waited for: it might have been sent before and come after.
const ENCRYPTED: usize = 16;

impl Connection {
    pub(crate) fn read(stream: &StreamView<'_>, limits: &Limits) -> Self {
        let [forward, backward] =
            [Direction::Forward, Direction::Backward].map(|direction| Side::read(stream, direction, limits));
        let says = |side: &Side, kind| side.handshake.has(kind);
        // A ClientHello tells who the client is; without one, a ServerHello tells who it is not.
        let reversed = match (says(&forward, CLIENT_HELLO), says(&backward, CLIENT_HELLO)) {
            (false, true) => true,
            (false, false) => says(&forward, SERVER_HELLO) && !says(&backward, SERVER_HELLO),
            _ => false,
        };
        Self { sides: if reversed { [backward, forward] } else { [forward, backward] }, reversed }
    }

    /// Whether more datagrams would tell nothing: all is encrypted and the handshake has no holes, or a limit was reached.
    pub(crate) fn is_over(&self) -> bool {
        let [client, server] = &self.sides;
        let encrypted = client.encrypted > 0 && server.encrypted > 0;
        let whole = self.sides.iter().all(|side| side.handshake.is_whole());
        let limited = self.sides.iter().any(|side| side.handshake.is_limited());
        encrypted && whole || client.encrypted + server.encrypted >= ENCRYPTED || limited
    }
}
