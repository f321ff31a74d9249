//! What both trees share: pieces of both sides, and members read from the front of one.

use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink};
use veilwatch_core::plugin::{Carrier, StreamView};

/// Bytes of a message that are read from the front.
pub(crate) struct Piece<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) direction: Direction,
    /// Bytes before it in the stream.
    base: usize,
    at: usize,
}

impl<'a> Piece<'a> {
    /// All of the piece.
    pub(crate) fn range(&self) -> Option<ByteRange> {
        Some(ByteRange::new(self.direction, self.base, self.bytes.len()))
    }

    /// What was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The next bytes as a leaf; nothing where they are not all there.
    pub(crate) fn leaf(
        &mut self,
        label: &str,
        len: usize,
        words: impl Fn(&[u8]) -> String,
        tree: &mut TreeSink<'_>,
    ) -> Option<&'a [u8]> {
        let bytes = self.rest().get(..len)?;
        tree.leaf(label, &words(bytes), Some(ByteRange::new(self.direction, self.base + self.at, len)));
        self.at += len;
        Some(bytes)
    }

    /// All that was not read yet as a leaf with its length, where there is something.
    pub(crate) fn all(&mut self, label: &str, tree: &mut TreeSink<'_>) {
        let len = self.rest().len();
        if len > 0 {
            self.leaf(label, len, |bytes| format!("{} bytes", bytes.len()), tree);
        }
    }
}

/// Draws the pieces of both sides: datagrams, where it is not known where they end as one; over TCP what stands behind a
/// length of two bytes each.
pub(crate) fn draw(
    stream: &StreamView<'_>,
    name: &str,
    tree: &mut TreeSink<'_>,
    draw_one: impl Fn(Piece<'_>, &mut TreeSink<'_>),
) {
    for (direction, side) in [(Direction::Forward, "originator"), (Direction::Backward, "responder")] {
        let bytes = stream.bytes(direction);
        if bytes.is_empty() {
            continue;
        }
        tree.open(&format!("{name}, {side}"), "", Some(ByteRange::new(direction, 0, bytes.len())));
        let mut end = 0;
        for (base, bytes) in stream.datagrams(direction).filter(|_| stream.carrier == Carrier::Udp) {
            if tree.is_full() {
                break;
            }
            end = base + bytes.len();
            draw_one(Piece { bytes, direction, base, at: 0 }, tree);
        }
        while let Some(rest) = bytes.get(end..).filter(|rest| !rest.is_empty() && !tree.is_full()) {
            let (skipped, len) = match (stream.carrier, rest.first_chunk()) {
                (Carrier::Udp, _) => (0, rest.len()),
                (Carrier::Tcp, Some(&[high, low])) => (2, usize::from(u16::from_be_bytes([high, low]))),
                (Carrier::Tcp, None) => (0, rest.len()),
            };
            let there = len.min(rest.len() - skipped);
            if skipped > 0 {
                let cut = if there < len { ", cut off here" } else { "" };
                tree.leaf("Length", &format!("{len} bytes{cut}"), Some(ByteRange::new(direction, end, skipped)));
            }
            let base = end + skipped;
            draw_one(Piece { bytes: &rest[skipped..skipped + there], direction, base, at: 0 }, tree);
            end = base + there;
        }
        tree.close();
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn big(bytes: &[u8]) -> String {
    bytes.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte)).to_string()
}
