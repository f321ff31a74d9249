//! What both trees share: pieces of both sides, and members read from the front of one.

use veilwatch_core::plugin::dissect::{ByteRange, Place, TreeSink, datagrams, sides};
use veilwatch_core::plugin::{Carrier, StreamView};

/// Bytes of a message that are read from the front.
pub(crate) struct Piece<'a> {
    pub(crate) bytes: &'a [u8],
    place: Place,
    at: usize,
}

impl<'a> Piece<'a> {
    /// All of the piece.
    pub(crate) fn range(&self) -> Option<ByteRange> {
        self.place.at(0, self.bytes.len())
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
        tree.leaf(label, &words(bytes), self.place.at(self.at, len));
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
    if stream.carrier == Carrier::Udp {
        return datagrams(stream, name, tree, |bytes, place, tree| draw_one(Piece { bytes, place, at: 0 }, tree));
    }
    sides(stream, name, tree, |direction, bytes, tree| {
        let mut place = Place { direction, base: 0 };
        while let Some(rest) = bytes.get(place.base..).filter(|rest| !rest.is_empty() && !tree.is_full()) {
            let (skipped, len) = match rest.first_chunk() {
                Some(&[high, low]) => (2, usize::from(u16::from_be_bytes([high, low]))),
                None => (0, rest.len()),
            };
            let there = len.min(rest.len() - skipped);
            if skipped > 0 {
                let cut = if there < len { ", cut off here" } else { "" };
                tree.leaf("Length", &format!("{len} bytes{cut}"), place.at(0, skipped));
            }
            place = place.behind(skipped);
            draw_one(Piece { bytes: &rest[skipped..skipped + there], place, at: 0 }, tree);
            place = place.behind(there);
        }
    });
}

pub(crate) fn big(bytes: &[u8]) -> String {
    bytes.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte)).to_string()
}
