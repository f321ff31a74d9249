//! The same for people: datagrams, records, and fragments of the handshake.

use crate::handshake::{CLIENT_HELLO, Fragment, HEAD, HELLO_VERIFY_REQUEST, SERVER_HELLO, cookie};
use crate::record::{
    ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, DTLS_10, DTLS_12, HANDSHAKE, Record, WITH_ID, records,
};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::StreamView;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink, hex};
use veilwatch_core::record::{alert_name, handshake_name};

/// Draws both directions.
pub(crate) fn draw(stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
    for (direction, name) in [(Direction::Forward, "DTLS, originator"), (Direction::Backward, "DTLS, responder")] {
        for (begin, datagram) in stream.datagrams(direction) {
            if tree.is_full() {
                return;
            }
            tree.open(name, "", Some(ByteRange::new(direction, begin, datagram.len())));
            for record in records(datagram) {
                draw_record(&record, Place { direction, at: begin + record.at }, tree);
            }
            tree.close();
        }
    }
}

/// Where something begins in its direction.
#[derive(Debug, Clone, Copy)]
struct Place {
    direction: Direction,
    at: usize,
}

impl Place {
    fn range(self, offset: usize, length: usize) -> Option<ByteRange> {
        Some(ByteRange::new(self.direction, self.at + offset, length))
    }

    fn behind(self, bytes: usize) -> Self {
        Self { at: self.at + bytes, ..self }
    }
}

fn draw_record(record: &Record<'_>, place: Place, tree: &mut TreeSink<'_>) {
    if record.version == 0 {
        let value = format!("DTLS 1.3, encrypted, epoch {} in its lowest two bits", record.epoch);
        return tree.leaf("Record", &value, place.range(0, record.body.len() + 1));
    }
    let name = match record.kind {
        CHANGE_CIPHER_SPEC => "change_cipher_spec",
        ALERT => "alert",
        HANDSHAKE => "handshake",
        APPLICATION_DATA => "application_data",
        WITH_ID => "with a connection id",
        _ => "other",
    };
    // With a connection id, nobody but the receiver knows where the length stands.
    let header = if record.kind == WITH_ID { crate::record::HEADER - 2 } else { crate::record::HEADER };
    tree.open("Record", &format!("{name}, {}", record.kind), place.range(0, header + record.body.len()));
    tree.leaf("Version", &version(record.version), place.range(1, 2));
    tree.leaf("Epoch", &record.epoch.to_string(), place.range(3, 2));
    tree.leaf("Sequence number", &record.sequence.to_string(), place.range(5, 6));
    if record.kind != WITH_ID {
        let cut = if record.body.len() < record.length { ", cut off here" } else { "" };
        tree.leaf("Length", &format!("{} bytes{cut}", record.length), place.range(11, 2));
    }
    let body = place.behind(header);
    match (record.kind, record.body) {
        _ if !record.is_clear() => tree.leaf("Encrypted", "", body.range(0, record.body.len())),
        (ALERT, &[level, what]) => {
            let level = if level == 2 { "fatal" } else { "warning" };
            let name = alert_name(what).map_or_else(String::new, |name| format!("{name}, "));
            tree.leaf("Alert", &format!("{level}, {name}{what}"), body.range(0, 2));
        }
        (HANDSHAKE, bytes) => draw_fragments(bytes, body, tree),
        _ => {}
    }
    tree.close();
}

fn draw_fragments(mut bytes: &[u8], mut place: Place, tree: &mut TreeSink<'_>) {
    while let Some(fragment) = Fragment::read(bytes) {
        let name = handshake_name(fragment.kind).map_or_else(String::new, |name| format!("{name}, "));
        tree.open("Handshake", &format!("{name}{}", fragment.kind), place.range(0, HEAD + fragment.body.len()));
        tree.leaf("Length", &format!("{} bytes", fragment.length), place.range(1, 3));
        tree.leaf("Message", &fragment.sequence.to_string(), place.range(4, 2));
        let cut = if fragment.body.len() < fragment.announced { ", cut off here" } else { "" };
        let part = format!("{} bytes from {}{cut}", fragment.announced, fragment.offset);
        tree.leaf("Fragment", &part, place.range(6, 6));
        // The head of a hello is worth a look; of the rest, the fields tell.
        if fragment.offset == 0 {
            draw_head(&fragment, place.behind(HEAD), tree);
        }
        tree.close();
        bytes = bytes.get(fragment.size()..).unwrap_or_default();
        place = place.behind(fragment.size());
    }
}

fn draw_head(fragment: &Fragment<'_>, place: Place, tree: &mut TreeSink<'_>) {
    let body = fragment.body;
    let hello = matches!(fragment.kind, CLIENT_HELLO | SERVER_HELLO | HELLO_VERIFY_REQUEST);
    let Some(&[major, minor]) = body.get(..2).filter(|_| hello) else { return };
    tree.leaf("Version", &version(u16::from_be_bytes([major, minor])), place.range(0, 2));
    let cookie = match fragment.kind {
        HELLO_VERIFY_REQUEST => {
            body.get(2).map(|len| 2..3 + usize::from(*len)).filter(|cookie| cookie.end <= body.len())
        }
        kind => {
            if let Some(random) = body.get(2..34) {
                tree.leaf("Random", &hex(random), place.range(2, 32));
            }
            cookie(body).filter(|_| kind == CLIENT_HELLO)
        }
    };
    if let Some(cookie) = cookie {
        let bytes = body.get(cookie.start + 1..cookie.end).unwrap_or_default();
        let value = if bytes.is_empty() { "none".to_owned() } else { hex(bytes) };
        tree.leaf("Cookie", &value, place.range(cookie.start, cookie.len()));
    }
}

fn version(version: u16) -> String {
    match version {
        DTLS_10 => "DTLS 1.0".into(),
        DTLS_12 => "DTLS 1.2".into(),
        other => format!("{other:#06x}"),
    }
}
