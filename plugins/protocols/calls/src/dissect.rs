//! What both trees share: the messages of both sides, one behind the other.

use veilwatch_core::plugin::StreamView;
use veilwatch_core::plugin::dissect::{Place, TreeSink, datagrams};

/// Draws both sides; `draw_one` draws the message with which a piece begins and says how long it is, or nothing where it
/// is none.
pub(crate) fn draw(
    stream: &StreamView<'_>,
    name: &str,
    tree: &mut TreeSink<'_>,
    draw_one: impl Fn(&[u8], Place, &mut TreeSink<'_>) -> Option<usize>,
) {
    datagrams(stream, name, tree, |mut bytes, mut place, tree| {
        while !bytes.is_empty() && !tree.is_full() {
            let Some(len) = draw_one(bytes, place, tree).filter(|len| *len > 0) else {
                tree.leaf("No message", "nothing is read from here on", place.at(0, bytes.len()));
                return;
            };
            bytes = bytes.get(len..).unwrap_or_default();
            place = place.behind(len);
        }
    });
}
