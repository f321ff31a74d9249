//! What both trees share: bytes of one side by their places.

use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink};

/// A message, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) direction: Direction,
    /// Bytes before it.
    pub(crate) base: usize,
}

impl<'a> Place<'a> {
    pub(crate) fn range(&self, at: usize, len: usize) -> Option<ByteRange> {
        Some(ByteRange::new(self.direction, self.base + at, len))
    }

    /// So many bytes at an offset.
    pub(crate) fn get(&self, at: usize, len: usize) -> Option<&'a [u8]> {
        self.bytes.get(at..at.checked_add(len)?)
    }

    /// A number at an offset, the lowest byte first.
    pub(crate) fn number(&self, at: usize, len: usize) -> Option<u64> {
        Some(self.get(at, len)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// That number as a leaf, in words; nothing where it is not there.
    pub(crate) fn leaf(
        &self,
        label: &str,
        at: usize,
        len: usize,
        words: impl Fn(u64) -> String,
        tree: &mut TreeSink<'_>,
    ) -> Option<u64> {
        let number = self.number(at, len)?;
        tree.leaf(label, &words(number), self.range(at, len));
        Some(number)
    }

    /// What begins at an offset.
    pub(crate) fn behind(&self, at: usize) -> Self {
        Self { bytes: self.bytes.get(at..).unwrap_or_default(), base: self.base + at.min(self.bytes.len()), ..*self }
    }
}

/// Names of the bits that are set.
pub(crate) fn bits(number: u64, names: &[(u64, &str)]) -> String {
    let said: Vec<&str> = names.iter().filter(|(bit, _)| number & bit != 0).map(|(_, name)| *name).collect();
    if said.is_empty() { "none".into() } else { said.join(", ") }
}
