//! The same for people: datagrams, the packets in them, and the frames of those that can be opened.

use crate::connection::datagrams;
use crate::frames::{Frame, frames};
use crate::header::{Found, Packet, packets};
use crate::protection::Keys;
use crate::version::{Kind, Version};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::StreamView;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink, hex};

/// Connection ids whose keys are tried here; a tree is for one flow that somebody looks at.
const ORIGINS: usize = 4;

/// Draws both directions.
pub(crate) fn draw(stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
    let origins = origins(stream);
    for (direction, name) in [(Direction::Forward, "originator"), (Direction::Backward, "responder")] {
        for (begin, datagram) in datagrams(stream, direction) {
            if tree.is_full() {
                return;
            }
            tree.open("datagram", name, Some(ByteRange::new(direction, begin, datagram.len())));
            let mut end = 0;
            for (at, found) in packets(datagram) {
                end = draw_found(&found, &origins, ByteRange::new(direction, begin + at, datagram.len() - at), tree);
                end += at;
            }
            if let Some(rest) = datagram.len().checked_sub(end).filter(|rest| *rest > 0) {
                tree.leaf("encrypted", "", Some(ByteRange::new(direction, begin + end, rest)));
            }
            tree.close();
        }
    }
}

/// Connection ids from which the first Initial packets that somebody sent can be opened.
fn origins<'a>(stream: &StreamView<'a>) -> Vec<(&'a [u8], Version)> {
    let mut origins: Vec<(&[u8], Version)> = Vec::new();
    for direction in [Direction::Forward, Direction::Backward] {
        for (_, found) in datagrams(stream, direction).flat_map(|(_, datagram)| packets(datagram)) {
            let Found::Packet(packet) = found else { continue };
            let origin = (packet.destination, packet.version);
            if packet.kind != Kind::Initial || origins.contains(&origin) {
                continue;
            }
            let keys = Keys::new(packet.version, packet.destination);
            if keys.is_some_and(|keys| keys.client.open(&packet, None).is_some()) {
                origins.push(origin);
            }
            if origins.len() == ORIGINS {
                return origins;
            }
        }
    }
    origins
}

/// Draws what begins at a place, and says how long it is.
fn draw_found(found: &Found<'_>, origins: &[(&[u8], Version)], all: ByteRange, tree: &mut TreeSink<'_>) -> usize {
    match found {
        Found::Packet(packet) => {
            draw_packet(packet, origins, all, tree);
            packet.bytes.len()
        }
        Found::Negotiation(versions) => {
            tree.open("packet", "Version Negotiation", Some(all));
            for version in versions.as_chunks::<4>().0 {
                tree.leaf("version", &name(Version(u32::from_be_bytes(*version))), None);
            }
            tree.close();
            all.length
        }
        Found::Foreign(version) => {
            tree.leaf("packet", &name(*version), Some(all));
            all.length
        }
    }
}

fn draw_packet(packet: &Packet<'_>, origins: &[(&[u8], Version)], all: ByteRange, tree: &mut TreeSink<'_>) {
    tree.open("packet", packet.kind.name(), Some(ByteRange { length: packet.bytes.len(), ..all }));
    tree.leaf("version", &name(packet.version), Some(ByteRange::new(all.direction, all.offset + 1, 4)));
    let after = all.offset + 6;
    tree.leaf(
        "destination connection id",
        &hex(packet.destination),
        Some(ByteRange::new(all.direction, after, packet.destination.len())),
    );
    tree.leaf(
        "source connection id",
        &hex(packet.source),
        Some(ByteRange::new(all.direction, after + packet.destination.len() + 1, packet.source.len())),
    );
    if !packet.token.is_empty() {
        tree.leaf("token", &hex(packet.token), None);
    }
    if packet.kind == Kind::Initial {
        let opened = origins.iter().find_map(|(origin, _)| {
            let keys = Keys::new(packet.version, origin)?;
            keys.client.open(packet, None).or_else(|| keys.server.open(packet, None))
        });
        match opened {
            Some((number, payload)) => {
                tree.leaf("packet number", &number.to_string(), None);
                for frame in frames(&payload, packet.version.crypto_frame()) {
                    if tree.is_full() {
                        break;
                    }
                    let (label, value) = words(&frame);
                    tree.leaf(label, &value, None);
                }
            }
            None => tree.leaf("not opened", "damaged, cut, or of a client that was not seen", None),
        }
    }
    tree.close();
}

fn words(frame: &Frame<'_>) -> (&'static str, String) {
    match frame {
        Frame::Padding(bytes) => ("PADDING", format!("{bytes} bytes")),
        Frame::Ping => ("PING", String::new()),
        Frame::Ack => ("ACK", String::new()),
        Frame::Crypto { offset, data } => ("CRYPTO", format!("{} bytes at {offset}", data.len())),
        Frame::Close(error) => ("CONNECTION_CLOSE", format!("error {error:#x}")),
    }
}

fn name(version: Version) -> String {
    match version.0 {
        1 => "1".into(),
        0x6b33_43cf => "2".into(),
        draft @ 0xff00_0001..=0xff00_00ff => format!("draft {}", draft & 0xff),
        google if version.is_google() => String::from_utf8_lossy(&google.to_be_bytes()).into_owned(),
        other => format!("{other:#010x}"),
    }
}
