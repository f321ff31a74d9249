//! What both trees share: one side's bytes from the front, with names for what they are.

use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink};

/// What stands instead of a password.
pub(crate) const HIDDEN: &str = "****";

/// Bytes of one side that are read from the front.
pub(crate) struct Side<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
    pub(crate) direction: Direction,
}

impl<'a> Side<'a> {
    pub(crate) fn new(bytes: &'a [u8], direction: Direction) -> Self {
        Self { bytes, at: 0, direction }
    }

    /// What was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// So many bytes from where one is, as far as they are there.
    pub(crate) fn range(&self, len: usize) -> Option<ByteRange> {
        Some(ByteRange::new(self.direction, self.at, len.min(self.rest().len())))
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
        tree.leaf(label, &words(bytes), self.range(len));
        self.at += len;
        Some(bytes)
    }

    /// Text up to a zero, which belongs to it.
    pub(crate) fn text(&mut self, label: &str, tree: &mut TreeSink<'_>) -> Option<&'a [u8]> {
        let len = self.rest().iter().position(|byte| *byte == 0)?;
        self.leaf(label, len + 1, |bytes| text(bytes.strip_suffix(b"\0").unwrap_or(bytes)), tree)
    }

    /// The next bytes as a side of their own, which this one passes over; of what is cut, what is there.
    pub(crate) fn part(&mut self, len: usize) -> Side<'a> {
        let end = self.at.saturating_add(len).min(self.bytes.len());
        let part = Side { bytes: &self.bytes[..end], at: self.at, direction: self.direction };
        self.at = end;
        part
    }

    /// All that was not read yet as a leaf, where there is something.
    pub(crate) fn all(&mut self, label: &str, value: &str, tree: &mut TreeSink<'_>) {
        if !self.rest().is_empty() {
            tree.leaf(label, value, self.range(self.rest().len()));
            self.at = self.bytes.len();
        }
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A number, the highest byte first, of at most eight bytes.
pub(crate) fn big(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The same, the lowest byte first.
pub(crate) fn little(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
