//! What both trees share: both sides piece by piece, and where things stand.

use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::StreamView;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink};

/// Where a piece of a side stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    direction: Direction,
    /// Bytes before it.
    base: usize,
}

impl Place {
    /// So many bytes at an offset of the piece.
    pub(crate) fn at(self, at: usize, len: usize) -> Option<ByteRange> {
        Some(ByteRange::new(self.direction, self.base + at, len))
    }
}

/// Draws both sides. Each datagram is a piece, and what is known to be no datagram is one piece; `draw_one` draws the
/// message with which a piece begins and says how long it is, or nothing where it is none.
pub(crate) fn draw(
    stream: &StreamView<'_>,
    name: &str,
    tree: &mut TreeSink<'_>,
    draw_one: impl Fn(&[u8], Place, &mut TreeSink<'_>) -> Option<usize>,
) {
    for (direction, side) in [(Direction::Forward, "originator"), (Direction::Backward, "responder")] {
        let bytes = stream.bytes(direction);
        if bytes.is_empty() {
            continue;
        }
        tree.open(&format!("{name}, {side}"), "", Some(ByteRange::new(direction, 0, bytes.len())));
        let mut end = 0;
        for (base, datagram) in stream.datagrams(direction) {
            end = base + datagram.len();
            draw_piece(datagram, Place { direction, base }, tree, &draw_one);
        }
        draw_piece(bytes.get(end..).unwrap_or_default(), Place { direction, base: end }, tree, &draw_one);
        tree.close();
    }
}

fn draw_piece(
    mut bytes: &[u8],
    mut place: Place,
    tree: &mut TreeSink<'_>,
    draw_one: &impl Fn(&[u8], Place, &mut TreeSink<'_>) -> Option<usize>,
) {
    while !bytes.is_empty() && !tree.is_full() {
        let Some(len) = draw_one(bytes, place, tree).filter(|len| *len > 0) else {
            tree.leaf("No message", "nothing is read from here on", place.at(0, bytes.len()));
            return;
        };
        bytes = bytes.get(len..).unwrap_or_default();
        place.base += len;
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    /// Bytes of a value that are shown where nobody reads them.
    const SHOWN: usize = 32;
    let more = if bytes.len() > SHOWN { "…" } else { "" };
    let digits: String = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
    format!("{digits}{more}")
}
