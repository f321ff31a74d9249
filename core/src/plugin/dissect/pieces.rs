//! What the trees of many templates share: both sides, datagram by datagram, where things stand, and bytes in digits.

use super::{ByteRange, TreeSink};
use crate::flow::Direction;
use crate::plugin::StreamView;
use crate::record::hex;

/// Where a piece of a side stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Who sent it.
    pub direction: Direction,
    /// Bytes of that direction before it.
    pub base: usize,
}

impl Place {
    /// `len` bytes, `at` bytes into the piece.
    pub fn at(self, at: usize, len: usize) -> Option<ByteRange> {
        Some(ByteRange::new(self.direction, self.base.saturating_add(at), len))
    }

    /// The place of what stands behind so many bytes of the piece.
    #[must_use]
    pub fn behind(self, len: usize) -> Self {
        Self { base: self.base.saturating_add(len), ..self }
    }
}

/// Opens a node for each side that said something, named after who said it (`DNS, originator`), and has drawn into it
/// what that was.
pub fn sides(
    stream: &StreamView<'_>,
    name: &str,
    tree: &mut TreeSink<'_>,
    mut draw: impl FnMut(Direction, &[u8], &mut TreeSink<'_>),
) {
    for (direction, side) in [(Direction::Forward, "originator"), (Direction::Backward, "responder")] {
        let bytes = stream.bytes(direction);
        if bytes.is_empty() {
            continue;
        }
        tree.open(&format!("{name}, {side}"), "", Some(ByteRange::new(direction, 0, bytes.len())));
        draw(direction, bytes, tree);
        tree.close();
    }
}

/// The same datagram by datagram; what is not known to be one is a piece of its own.
pub fn datagrams(
    stream: &StreamView<'_>,
    name: &str,
    tree: &mut TreeSink<'_>,
    mut draw: impl FnMut(&[u8], Place, &mut TreeSink<'_>),
) {
    sides(stream, name, tree, |direction, bytes, tree| {
        let mut end = 0;
        for (base, datagram) in stream.datagrams(direction) {
            if tree.is_full() {
                return;
            }
            end = base + datagram.len();
            draw(datagram, Place { direction, base }, tree);
        }
        if let Some(rest) = bytes.get(end..).filter(|rest| !rest.is_empty() && !tree.is_full()) {
            draw(rest, Place { direction, base: end }, tree);
        }
    });
}

/// The first 32 bytes as digits, for values that nobody reads; an ellipsis where there are more.
pub fn beginning_in_hex(bytes: &[u8]) -> String {
    const SHOWN: usize = 32;
    match bytes.get(..SHOWN) {
        Some(shown) if bytes.len() > SHOWN => format!("{}…", hex(shown)),
        _ => hex(bytes),
    }
}

/// Text where it is some, and the beginning in digits where it is not.
pub fn text_or_hex(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.into(),
        _ => beginning_in_hex(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Drawing, TreeTarget};
    use super::*;
    use crate::plugin::Carrier;

    #[test]
    fn datagrams_are_drawn_where_they_stand() {
        let stream = StreamView {
            forward: b"onetwo!",
            datagram_ends: [&[3, 6], &[]],
            carrier: Carrier::Udp,
            ..StreamView::default()
        };
        let mut drawing = Drawing::new([7, 0]);
        let target: &mut dyn TreeTarget = &mut drawing;
        datagrams(&stream, "NTP", &mut TreeSink::new(target), |bytes, place, tree| {
            tree.leaf("piece", &text_or_hex(bytes), place.behind(1).at(0, bytes.len() - 1));
        });
        let tree = drawing.finish();
        let drawn = |at: usize| (tree.nodes[at].value.as_str(), tree.nodes[at].bytes.unwrap());
        assert_eq!((tree.nodes.len(), tree.nodes[0].label.as_str(), tree.is_whole()), (4, "NTP, originator", true));
        for (at, value, begin, len) in [(1, "one", 1, 2), (2, "two", 4, 2), (3, "!", 7, 0)] {
            assert_eq!(drawn(at), (value, ByteRange::new(Direction::Forward, begin, len)));
        }
    }

    #[test]
    fn bytes_in_digits() {
        assert_eq!(
            (hex(&[0, 0x9f, 0xff]), text_or_hex(b"a b"), text_or_hex(b"a\nb")),
            ("009fff".into(), "a b".into(), "610a62".into())
        );
        assert_eq!(beginning_in_hex(&[0xab; 33]), format!("{}…", "ab".repeat(32)));
        assert_eq!(beginning_in_hex(&[0xab; 32]), "ab".repeat(32));
    }
}
