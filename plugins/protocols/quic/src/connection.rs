//! Both directions together: who is the client, which keys open what, and the handshake in it.

use crate::crypto::Crypto;
use crate::frames::{Frame, frames};
use crate::header::{Found, Packet, packets};
use crate::hello::{is_client_complete, is_server_complete};
use crate::protection::Keys;
use crate::template::Limits;
use crate::version::{Kind, Version};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::StreamView;

/// An Initial packet on its way.
struct Waiting<'a> {
    packet: Packet<'a>,
    /// Where it stands in its direction.
    at: usize,
    direction: Direction,
    opened: bool,
}

/// Keys that come from one connection id, and the handshake that they open.
///
/// A client that is sent away with a Retry or another version begins anew, with other keys: each beginning is told
/// apart, so that no two handshakes are mixed.
pub(crate) struct Attempt<'a> {
    origin: &'a [u8],
    /// By version: a server may answer in another one (RFC 9368 section 2.3).
    keys: Vec<(Version, Keys)>,
    /// Where the client's Initial packets come from.
    pub(crate) client: Direction,
    /// The client's handshake, and the server's.
    pub(crate) crypto: [Crypto; 2],
    largest: [Option<u64>; 2],
}

impl<'a> Attempt<'a> {
    fn key(&mut self, version: Version) -> Option<&Keys> {
        // A client offers one version, and a server answers in one.
        if self.keys.len() < 2 && self.keys.iter().all(|(known, _)| *known != version) {
            self.keys.push((version, Keys::new(version, self.origin)?));
        }
        self.keys.iter().find(|(known, _)| *known == version).map(|(_, keys)| keys)
    }

    /// Opens a packet and takes its part of the handshake in; whether it could.
    fn open(&mut self, waiting: &Waiting<'_>, limits: &Limits) -> bool {
        let server = waiting.direction != self.client;
        let largest = self.largest[usize::from(server)];
        let Some(keys) = self.key(waiting.packet.version) else { return false };
        let key = if server { &keys.server } else { &keys.client };
        let Some((number, payload)) = key.open(&waiting.packet, largest) else { return false };
        self.largest[usize::from(server)] = largest.max(Some(number));
        for frame in frames(&payload, waiting.packet.version.crypto_frame()) {
            if let Frame::Crypto { offset, data } = frame {
                self.crypto[usize::from(server)].take(offset, data, waiting.at, limits.crypto_bytes);
            }
        }
        true
    }

    /// Whether both hellos are all there.
    pub(crate) fn is_complete(&self) -> bool {
        is_client_complete(self.crypto[0].bytes()) && is_server_complete(self.crypto[1].bytes())
    }
}

/// What two directions show.
#[derive(Default)]
pub(crate) struct Connection<'a> {
    /// The first packet of a version that is not for negotiation, and what stands in its header.
    pub(crate) first: Option<Header>,
    /// Initial packets by direction, readable or not.
    pub(crate) initials: [u64; 2],
    /// Those of both directions that no key opened.
    pub(crate) unopened: u64,
    /// Longest token of a client's Initial.
    pub(crate) token_bytes: usize,
    pub(crate) retry: bool,
    pub(crate) negotiation: bool,
    pub(crate) attempts: Vec<Attempt<'a>>,
    /// More Initial packets came than are looked at, and more connection ids than are tried.
    pub(crate) too_many: [bool; 2],
}

/// A header's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) version: Version,
    /// Lengths of the destination's and the source's connection id; none for versions whose header is not known.
    pub(crate) ids: Option<[usize; 2]>,
}

impl<'a> Connection<'a> {
    /// Reads both directions, as far as they go.
    pub(crate) fn read(stream: &StreamView<'a>, limits: &Limits) -> Self {
        let mut connection = Self::default();
        let mut waiting = connection.collect(stream, limits);
        // A client's first Initial brings its own key; all that can be opened is opened by such a one.
        for at in 0..waiting.len() {
            connection.begin(&mut waiting, at, limits);
        }
        for packet in &mut waiting {
            packet.opened = packet.opened || connection.attempts.iter_mut().any(|attempt| attempt.open(packet, limits));
            connection.unopened += u64::from(!packet.opened);
        }
        connection
    }

    /// The Initial packets of both directions, in the order of each; the rest is noted.
    fn collect(&mut self, stream: &StreamView<'a>, limits: &Limits) -> Vec<Waiting<'a>> {
        let mut waiting = Vec::new();
        for direction in [Direction::Forward, Direction::Backward] {
            let mut taken = 0;
            for (begin, datagram) in datagrams(stream, direction) {
                for (at, found) in packets(datagram) {
                    let packet = match found {
                        Found::Packet(packet) => packet,
                        Found::Negotiation(_) => {
                            self.negotiation = true;
                            continue;
                        }
                        Found::Foreign(version) => {
                            self.first.get_or_insert(Header { version, ids: None });
                            continue;
                        }
                    };
                    let ids = Some([packet.destination.len(), packet.source.len()]);
                    self.first.get_or_insert(Header { version: packet.version, ids });
                    self.retry |= packet.kind == Kind::Retry;
                    if packet.kind != Kind::Initial {
                        continue;
                    }
                    self.initials[direction.index()] += 1;
                    self.token_bytes = self.token_bytes.max(packet.token.len());
                    if taken == limits.packets {
                        self.too_many[0] = true;
                        continue;
                    }
                    taken += 1;
                    waiting.push(Waiting { packet, at: begin + at, direction, opened: false });
                }
            }
        }
        waiting
    }

    /// Tries whether a packet is a client's first, whose key comes from its own connection id.
    fn begin(&mut self, waiting: &mut [Waiting<'a>], at: usize, limits: &Limits) {
        let Some(packet) = waiting.get_mut(at) else { return };
        let origin = packet.packet.destination;
        if let Some(known) = self.attempts.iter_mut().find(|attempt| attempt.origin == origin) {
            packet.opened = known.open(packet, limits);
            return;
        }
        // Of an answer the destination is the client's own id, and opens nothing. A later packet of the client is
        // opened by an earlier key.
        if self.attempts.iter_mut().any(|attempt| attempt.open(packet, limits)) {
            packet.opened = true;
            return;
        }
        if self.attempts.len() == limits.connection_ids {
            self.too_many[1] = true;
            return;
        }
        let mut attempt = Attempt {
            origin,
            keys: Vec::new(),
            client: packet.direction,
            crypto: Default::default(),
            largest: [None; 2],
        };
        if attempt.open(packet, limits) {
            packet.opened = true;
            self.attempts.push(attempt);
        }
    }

    /// The handshake that counts: the first of which both sides are there, else the first of a client.
    pub(crate) fn handshake(&self) -> Option<&Attempt<'a>> {
        let answered = self.attempts.iter().find(|attempt| !attempt.crypto[1].bytes().is_empty());
        let begun = || self.attempts.iter().find(|attempt| !attempt.crypto[0].bytes().is_empty());
        answered.or_else(begun).or(self.attempts.first())
    }
}

/// The datagrams of one direction, each with its offset. Where their ends are not known, as in a program of an earlier
/// contract, what there is passes for one.
pub(crate) fn datagrams<'a>(
    stream: &StreamView<'a>,
    direction: Direction,
) -> impl Iterator<Item = (usize, &'a [u8])> + use<'a> {
    let bytes = stream.bytes(direction);
    let unknown = stream.datagram_ends[direction.index()].is_empty() && !bytes.is_empty();
    stream.datagrams(direction).chain(unknown.then_some((0, bytes)))
}
