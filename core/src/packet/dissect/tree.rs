use crate::flow::Direction;
use crate::plugin::dissect::{ByteRange, Drawing, TreeTarget};
use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

/// Names of fields whose text somebody has a use for. What other headers' fields say in words is not written down; names that
/// are given while a packet is drawn (those of templates' nodes) always have their text.
#[derive(Debug, Clone, Default)]
pub struct Names(HashSet<Box<str>, foldhash::fast::RandomState>);

impl<S: Into<Box<str>>> FromIterator<S> for Names {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }
}

/// A value as programs compare it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datum {
    /// A number, a flag (0 or 1) among them.
    Number(u64),
    /// An address of IP.
    Ip(IpAddr),
    /// An address of Ethernet and its kin.
    Mac([u8; 6]),
    /// The node's words are the value.
    Words,
    /// The node's bytes are the value, if it has any.
    Bytes,
}

/// One line of a packet's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketNode {
    /// Nodes above it. Layers have none.
    pub depth: u8,
    /// Name of the field, such as `ip.src`: Wireshark's where it has one. Several nodes may have the same.
    pub field: Cow<'static, str>,
    /// What it is, for people.
    pub label: String,
    /// What it says, in words; empty where the label says it all.
    pub value: String,
    /// What it says, for programs.
    pub datum: Datum,
    /// The bytes of the frame it stands in, all of which were captured.
    pub bytes: Option<Range<usize>>,
    /// Its text was cut, or it names bytes that were not captured.
    pub cut: bool,
}

/// A packet's tree: nodes from top to bottom, as they are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PacketTree {
    /// The nodes, each after the one it belongs to.
    pub nodes: Vec<PacketNode>,
    /// Nodes that were left out because there were too many, or they lay too deep.
    pub left_out: usize,
}

impl PacketTree {
    /// The layers: nodes that belong to no other.
    pub fn layers(&self) -> impl Iterator<Item = &PacketNode> {
        self.nodes.iter().filter(|node| node.depth == 0)
    }

    /// The nodes of a field.
    pub fn field<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a PacketNode> {
        self.nodes.iter().filter(move |node| node.field == name)
    }
}

/// A packet's tree while it is drawn, held to the bounds of [`crate::plugin::dissect`].
pub struct PacketDrawing {
    drawing: Drawing,
    /// Of each node that was kept.
    names: Vec<(Cow<'static, str>, Datum)>,
    open: usize,
    /// Without it the text of all is wanted.
    wanted: Option<Arc<Names>>,
}

impl std::fmt::Debug for PacketDrawing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PacketDrawing").field("nodes", &self.names.len()).field("open", &self.open).finish()
    }
}

impl PacketDrawing {
    /// An empty one for a frame of so many bytes.
    pub(super) fn new(captured: usize) -> Self {
        Self { drawing: Drawing::new([captured, 0]), names: Vec::new(), open: 0, wanted: None }
    }

    /// Has only the text of some fields written down; the others' nodes are there without.
    pub(super) fn only(&mut self, names: &Arc<Names>) {
        self.wanted = Some(Arc::clone(names));
    }

    fn wants(&self, field: &str) -> bool {
        self.wanted.as_ref().is_none_or(|names| names.0.contains(field))
    }

    /// Begins a node to which all belongs that is drawn until [`close`](Self::close). What of its range was not captured
    /// is left out of it.
    pub fn open(
        &mut self,
        field: impl Into<Cow<'static, str>>,
        label: &str,
        value: &str,
        datum: Datum,
        bytes: Option<Range<usize>>,
    ) {
        let field = field.into();
        let is_mute = matches!(field, Cow::Borrowed(_)) && !self.wants(&field);
        let (label, value) = if is_mute { ("", "") } else { (label, value) };
        let range = bytes.map(|bytes| ByteRange::new(Direction::Forward, bytes.start, bytes.len()));
        self.drawing.open(label, value, range);
        self.open += 1;
        if self.drawing.nodes() > self.names.len() {
            self.names.push((field, datum));
        }
    }

    /// Ends the node that was opened last.
    pub fn close(&mut self) {
        self.drawing.close();
        self.open = self.open.saturating_sub(1);
    }

    /// Draws a node to which nothing belongs.
    pub fn leaf(
        &mut self,
        field: impl Into<Cow<'static, str>>,
        label: &str,
        value: &str,
        datum: Datum,
        bytes: Option<Range<usize>>,
    ) {
        self.open(field, label, value, datum, bytes);
        self.close();
    }

    /// A number that needs no words.
    pub(super) fn number(&mut self, field: &'static str, label: &str, number: impl Into<u64>, bytes: Range<usize>) {
        self.number_in_words(field, label, number.into(), bytes, |number| number.to_string());
    }

    /// A number, and its words where somebody wants them.
    fn number_in_words(
        &mut self,
        field: &'static str,
        label: &str,
        number: u64,
        bytes: Range<usize>,
        words: impl FnOnce(u64) -> String,
    ) {
        let value = if self.wants(field) { words(number) } else { String::new() };
        self.leaf(field, label, &value, Datum::Number(number), Some(bytes));
    }

    /// A number and what it stands for; nothing where the words are empty.
    pub(super) fn named(
        &mut self,
        field: &'static str,
        label: &str,
        number: impl Into<u64>,
        words: &str,
        bytes: Range<usize>,
    ) {
        self.number_in_words(field, label, number.into(), bytes, |number| {
            if words.is_empty() { number.to_string() } else { format!("{number} ({words})") }
        });
    }

    /// A number as one writes it in hexadecimal, with so many digits.
    pub(super) fn hex(
        &mut self,
        field: &'static str,
        label: &str,
        number: impl Into<u64>,
        digits: usize,
        bytes: Range<usize>,
    ) {
        let width = digits + 2;
        self.number_in_words(field, label, number.into(), bytes, |number| format!("{number:#0width$x}"));
    }

    /// The same for a number of 16 bits that has a name, perhaps an empty one.
    pub(super) fn hex_named(&mut self, field: &'static str, label: &str, number: u16, name: &str, bytes: Range<usize>) {
        self.number_in_words(field, label, number.into(), bytes, |number| {
            if name.is_empty() { format!("{number:#06x}") } else { format!("{number:#06x} ({name})") }
        });
    }

    /// A flag.
    pub(super) fn flag(&mut self, field: &'static str, label: &str, set: bool, bytes: Range<usize>) {
        let words = if set { "set" } else { "not set" };
        self.leaf(field, label, words, Datum::Number(set.into()), Some(bytes));
    }

    /// Whether there is no room for more nodes.
    pub fn is_full(&self) -> bool {
        self.drawing.is_full()
    }

    /// Closes what is open, and gives the tree.
    pub fn finish(mut self) -> PacketTree {
        while self.open > 0 {
            self.close();
        }
        let drawn = self.drawing.finish();
        let nodes = drawn.nodes.into_iter().zip(self.names).map(|(node, (field, datum))| PacketNode {
            depth: node.depth,
            field,
            label: node.label,
            value: node.value,
            datum,
            bytes: node.bytes.map(|range| range.offset..range.offset + range.length),
            cut: node.cut || node.outside,
        });
        PacketTree { nodes: nodes.collect(), left_out: drawn.left_out.saturating_add(drawn.too_deep) }
    }
}
