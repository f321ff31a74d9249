//! What the three trees share: datagrams of both sides, where things stand, and bytes as text.

use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::StreamView;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink};

/// Bytes of a value that are shown where nobody reads them.
const SHOWN: usize = 32;

/// Where a datagram stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    direction: Direction,
    /// Bytes before it.
    base: usize,
}

impl Place {
    /// So many bytes at an offset of the datagram.
    pub(crate) fn at(self, at: usize, len: usize) -> Option<ByteRange> {
        Some(ByteRange::new(self.direction, self.base + at, len))
    }

    /// The place of what stands behind so many bytes.
    pub(crate) fn behind(self, at: usize) -> Self {
        Self { base: self.base + at, ..self }
    }
}

/// Draws each datagram of both sides, as one each where it is not known where they end.
pub(crate) fn draw(
    stream: &StreamView<'_>,
    name: &str,
    tree: &mut TreeSink<'_>,
    draw_one: impl Fn(&[u8], Place, &mut TreeSink<'_>),
) {
    for (direction, side) in [(Direction::Forward, "originator"), (Direction::Backward, "responder")] {
        let bytes = stream.bytes(direction);
        if bytes.is_empty() {
            continue;
        }
        tree.open(&format!("{name}, {side}"), "", Some(ByteRange::new(direction, 0, bytes.len())));
        let mut end = 0;
        for (base, datagram) in stream.datagrams(direction) {
            if tree.is_full() {
                break;
            }
            end = base + datagram.len();
            draw_one(datagram, Place { direction, base }, tree);
        }
        if let Some(rest) = bytes.get(end..).filter(|rest| !rest.is_empty() && !tree.is_full()) {
            draw_one(rest, Place { direction, base: end }, tree);
        }
        tree.close();
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let more = if bytes.len() > SHOWN { "…" } else { "" };
    let digits: String = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
    format!("{digits}{more}")
}

/// Text where it is some, and hexadecimal digits where it is not.
pub(crate) fn text_or_hex(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.into(),
        _ => hex(bytes),
    }
}
