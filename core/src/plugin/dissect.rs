//! What a template reads, as a tree for people: names, values in words, and the bytes they stand in.
//!
//! A template draws into a [`TreeSink`], which holds it to what a person can look at: so many nodes, so deep, so much
//! text. What goes past is left out and the [`Tree`] says so; nothing that a template does here is an error.

mod pieces;

pub use crate::record::hex;
pub use pieces::{Place, beginning_in_hex, datagrams, sides, text_or_hex};

use super::{ProtocolTemplate, StreamView};
use crate::flow::Direction;

/// Most nodes of a tree.
pub const NODES: usize = 4096;
/// Most nodes on the way from the root to a leaf.
pub const DEPTH: usize = 16;
/// Most bytes of a label; what goes past is cut.
pub const LABEL_BYTES: usize = 96;
/// Most bytes of a value; what goes past is cut.
pub const VALUE_BYTES: usize = 512;
/// Most bytes that all labels and values take together; further nodes come without text.
pub const TEXT_BYTES: usize = 256 * 1024;

/// Where in a stream something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// Who sent it.
    pub direction: Direction,
    /// Bytes before it, from the beginning of what the template was shown.
    pub offset: usize,
    /// Bytes of it.
    pub length: usize,
}

impl ByteRange {
    /// So many bytes from an offset of one direction.
    pub fn new(direction: Direction, offset: usize, length: usize) -> Self {
        Self { direction, offset, length }
    }
}

/// One line of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeNode {
    /// Nodes above it.
    pub depth: u8,
    /// What it is, such as `Session ID`.
    pub label: String,
    /// What it says, in words; empty where the label says it all.
    pub value: String,
    /// The bytes it stands in, all of which are there.
    pub bytes: Option<ByteRange>,
    /// Its text was cut.
    pub cut: bool,
    /// It named bytes that are not there; the range is cut to those that are.
    pub outside: bool,
}

/// A template's reading of one flow: nodes from top to bottom, as they are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// The nodes, each after the one it belongs to.
    pub nodes: Vec<TreeNode>,
    /// Nodes that were left out because there were [`NODES`].
    pub left_out: usize,
    /// Nodes that were left out because they lay deeper than [`DEPTH`].
    pub too_deep: usize,
    /// Text was cut: one label or value, or all of them together.
    pub cut: bool,
    /// Some node named bytes that are not there.
    pub outside: bool,
    /// Something was closed that was not open, or left open.
    pub unbalanced: bool,
    /// What the template said when it failed, on one line; what it drew before is there.
    pub failed: Option<String>,
}

impl Tree {
    /// Has a template draw what it reads in a stream. One that panics takes this call with it, unless it is guarded or
    /// stands across a library boundary: then the tree says that it failed.
    pub fn of(template: &dyn ProtocolTemplate, stream: &StreamView<'_>) -> Self {
        let mut drawing = Drawing::new([stream.forward.len(), stream.backward.len()]);
        template.dissect(stream, &mut TreeSink::new(&mut drawing));
        drawing.finish()
    }

    /// Whether all that the template drew is there, as it drew it.
    pub fn is_whole(&self) -> bool {
        let left = self.left_out > 0 || self.too_deep > 0;
        !(left || self.cut || self.outside || self.unbalanced || self.failed.is_some())
    }
}

/// Where a template draws what it reads.
pub struct TreeSink<'a> {
    target: &'a mut dyn TreeTarget,
}

/// What stands behind a [`TreeSink`]: a tree, or the other side of a library boundary.
pub(crate) trait TreeTarget {
    fn open(&mut self, label: &str, value: &str, bytes: Option<ByteRange>);
    fn close(&mut self);
    fn fail(&mut self, message: &str);
    fn is_full(&self) -> bool;
}

impl<'a> TreeSink<'a> {
    pub(crate) fn new(target: &'a mut dyn TreeTarget) -> Self {
        Self { target }
    }

    pub(crate) fn target(&mut self) -> &mut dyn TreeTarget {
        self.target
    }

    /// Begins a node to which all belongs that is drawn until [`close`](Self::close).
    pub fn open(&mut self, label: &str, value: &str, bytes: Option<ByteRange>) {
        self.target.open(label, value, bytes);
    }

    /// Ends the node that was opened last.
    pub fn close(&mut self) {
        self.target.close();
    }

    /// Draws a node to which nothing belongs.
    pub fn leaf(&mut self, label: &str, value: &str, bytes: Option<ByteRange>) {
        self.target.open(label, value, bytes);
        self.target.close();
    }

    /// Says that what follows cannot be drawn, and why; the tree shows it.
    pub fn fail(&mut self, message: &str) {
        self.target.fail(message);
    }

    /// Whether the tree takes no more nodes, so that a template may stop.
    pub fn is_full(&self) -> bool {
        self.target.is_full()
    }
}

/// A tree while it is drawn.
pub(crate) struct Drawing {
    tree: Tree,
    /// Bytes of each direction.
    lengths: [usize; 2],
    /// Nodes that are open, those that were left out among them.
    open: usize,
    text: usize,
}

impl Drawing {
    pub(crate) fn new(lengths: [usize; 2]) -> Self {
        Self { tree: Tree::default(), lengths, open: 0, text: 0 }
    }

    /// Nodes that are kept.
    pub(crate) fn nodes(&self) -> usize {
        self.tree.nodes.len()
    }

    pub(crate) fn finish(mut self) -> Tree {
        self.tree.unbalanced |= self.open > 0;
        self.tree
    }

    /// Text without control characters, which could play tricks on a terminal, cut to `most` bytes and to what is left
    /// of the tree's; and whether something was cut.
    fn text(&mut self, text: &str, most: usize) -> (String, bool) {
        let most = most.min(TEXT_BYTES - self.text);
        // Nearly all text is as it may be.
        if text.len() <= most && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            self.text += text.len();
            return (text.to_owned(), false);
        }
        let mut kept = String::new();
        for c in text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }) {
            if kept.len() + c.len_utf8() > most {
                self.text += kept.len();
                return (kept, true);
            }
            kept.push(c);
        }
        self.text += kept.len();
        (kept, false)
    }

    /// The part of a range that is there.
    fn clamp(&self, range: ByteRange) -> ByteRange {
        let length = self.lengths[range.direction.index()];
        let offset = range.offset.min(length);
        ByteRange { offset, length: range.length.min(length - offset), ..range }
    }
}

impl TreeTarget for Drawing {
    fn open(&mut self, label: &str, value: &str, bytes: Option<ByteRange>) {
        let depth = self.open;
        self.open = self.open.saturating_add(1);
        if depth >= DEPTH {
            self.tree.too_deep = self.tree.too_deep.saturating_add(1);
            return;
        }
        if self.is_full() {
            self.tree.left_out = self.tree.left_out.saturating_add(1);
            return;
        }
        let (label, label_cut) = self.text(label, LABEL_BYTES);
        let (value, value_cut) = self.text(value, VALUE_BYTES);
        let cut = label_cut || value_cut;
        let clamped = bytes.map(|range| self.clamp(range));
        let outside = clamped != bytes;
        self.tree.cut |= cut;
        self.tree.outside |= outside;
        self.tree.nodes.push(TreeNode { depth: depth as u8, label, value, bytes: clamped, cut, outside });
    }

    fn close(&mut self) {
        match self.open.checked_sub(1) {
            Some(open) => self.open = open,
            None => self.tree.unbalanced = true,
        }
    }

    fn fail(&mut self, message: &str) {
        if self.tree.failed.is_none() {
            let (message, _) = self.text(message, VALUE_BYTES);
            self.tree.failed = Some(message);
        }
    }

    fn is_full(&self) -> bool {
        self.tree.nodes.len() >= NODES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::{Carrier, PluginError, Probe, Progress, RecordSink};

    /// Draws what a test says.
    struct Draws(fn(&mut TreeSink<'_>));

    impl ProtocolTemplate for Draws {
        fn probe(&self, _: &StreamView<'_>) -> Probe {
            Probe::Certain
        }
        fn parse(&self, _: &StreamView<'_>, _: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
            Ok(Progress::Done)
        }
        fn dissect(&self, _: &StreamView<'_>, tree: &mut TreeSink<'_>) {
            (self.0)(tree);
        }
    }

    fn drawn(draw: fn(&mut TreeSink<'_>)) -> Tree {
        let stream = StreamView {
            forward: b"0123456789",
            backward: b"012",
            forward_ended: true,
            backward_ended: true,
            carrier: Carrier::Tcp,
            originator_port: 1,
            responder_port: 2,
            ..StreamView::default()
        };
        Tree::of(&Draws(draw), &stream)
    }

    fn lines(tree: &Tree) -> Vec<String> {
        let line = |node: &TreeNode| format!("{}{}: {}", " ".repeat(node.depth.into()), node.label, node.value);
        tree.nodes.iter().map(line).collect()
    }

    #[test]
    fn a_tree_is_as_it_was_drawn() {
        let tree = drawn(|tree| {
            tree.open("record", "handshake", Some(ByteRange::new(Direction::Forward, 0, 10)));
            tree.leaf("version", "TLS 1.2", Some(ByteRange::new(Direction::Forward, 1, 2)));
            tree.open("message", "", None);
            tree.leaf("kind", "1", None);
            tree.close();
            tree.close();
            tree.leaf("answer", "", Some(ByteRange::new(Direction::Backward, 0, 3)));
        });
        assert_eq!(lines(&tree), ["record: handshake", " version: TLS 1.2", " message: ", "  kind: 1", "answer: "]);
        assert_eq!(tree.nodes[1].bytes, Some(ByteRange::new(Direction::Forward, 1, 2)));
        assert!(tree.is_whole());
    }

    #[test]
    fn what_is_not_closed_or_not_open_is_told() {
        let left = drawn(|tree| tree.open("a", "", None));
        assert!(left.unbalanced && left.nodes.len() == 1 && !left.is_whole());
        let twice = drawn(|tree| {
            tree.leaf("a", "", None);
            tree.close();
            tree.leaf("b", "", None);
        });
        assert!(twice.unbalanced);
        assert_eq!(lines(&twice), ["a: ", "b: "]);
    }

    #[test]
    fn floods_are_dammed() {
        let wide = drawn(|tree| (0..NODES + 10).for_each(|_| tree.leaf("a", "", None)));
        assert_eq!((wide.nodes.len(), wide.left_out, wide.unbalanced), (NODES, 10, false));
        let deep = drawn(|tree| {
            (0..DEPTH + 5).for_each(|_| tree.open("a", "", None));
            (0..DEPTH + 5).for_each(|_| tree.close());
            tree.leaf("b", "", None);
        });
        assert_eq!((deep.nodes.len(), deep.too_deep, deep.unbalanced), (DEPTH + 1, 5, false));
        assert_eq!(deep.nodes[DEPTH].depth, 0);
        let long = drawn(|tree| tree.leaf(&"ä".repeat(LABEL_BYTES), &"x".repeat(VALUE_BYTES + 1), None));
        assert_eq!((long.nodes[0].label.len(), long.nodes[0].value.len()), (LABEL_BYTES, VALUE_BYTES));
        assert!(long.nodes[0].cut && long.cut && !long.is_whole());
        let much = drawn(|tree| (0..2000).for_each(|_| tree.leaf("", &"x".repeat(VALUE_BYTES), None)));
        assert_eq!(much.nodes.iter().map(|node| node.value.len()).sum::<usize>(), TEXT_BYTES);
        assert!(much.nodes.len() == 2000 && much.nodes[1999].cut);
        let full = drawn(|tree| {
            let mut drawn = 0;
            while !tree.is_full() {
                tree.leaf("a", "", None);
                drawn += 1;
            }
            tree.fail(&format!("{drawn}"));
        });
        assert_eq!((full.left_out, full.failed), (0, Some(NODES.to_string())));
    }

    #[test]
    fn bytes_that_are_not_there_are_cut_and_told() {
        let tree = drawn(|tree| {
            for (offset, length) in [(8, 3), (11, 1), (usize::MAX, usize::MAX), (10, 0), (0, 10)] {
                tree.leaf("a", "", Some(ByteRange::new(Direction::Forward, offset, length)));
            }
            tree.leaf("a", "", Some(ByteRange::new(Direction::Backward, 0, 4)));
        });
        let ranges: Vec<_> =
            tree.nodes.iter().map(|node| node.bytes.map(|range| (range.offset, range.length, node.outside))).collect();
        let wanted =
            [(8, 2, true), (10, 0, true), (10, 0, true), (10, 0, false), (0, 10, false), (0, 3, true)].map(Some);
        assert_eq!(ranges, wanted);
        assert!(tree.outside && !tree.is_whole());
    }

    #[test]
    fn text_plays_no_tricks_on_a_terminal() {
        let tree = drawn(|tree| {
            tree.leaf("a\u{1b}[31m", "two\nlines", None);
            tree.fail("no\nluck");
            tree.fail("again");
        });
        assert_eq!(lines(&tree), ["a\u{fffd}[31m: two\u{fffd}lines"]);
        assert_eq!(tree.failed.as_deref(), Some("no\u{fffd}luck"));
    }
}
