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
        self.words(label, text, tree)
    }

    /// The same, in other words.
    pub(crate) fn words(
        &mut self,
        label: &str,
        words: impl Fn(&[u8]) -> String,
        tree: &mut TreeSink<'_>,
    ) -> Option<&'a [u8]> {
        let len = self.rest().iter().position(|byte| *byte == 0)?;
        self.leaf(label, len + 1, |bytes| words(bytes.strip_suffix(b"\0").unwrap_or(bytes)), tree)
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

/// A statement of SQL as text; of one that may set a password, without what stands in quotes.
pub(crate) fn statement(bytes: &[u8]) -> String {
    let has = |word: &[u8]| bytes.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    if ![&b"PASSWORD"[..], b"IDENTIFIED"].into_iter().any(has) {
        return text(bytes);
    }
    // With a backslash it depends on the server's settings where a literal ends, and in a comment or another kind of
    // quotes a quote is none: then nothing is shown from the first literal on, nor where the last one has no end.
    let is_plain =
        !bytes.iter().any(|byte| b"\\#`".contains(byte)) && !bytes.windows(2).any(|two| matches!(two, b"--" | b"/*"));
    let (mut shown, mut rest) = (String::new(), bytes);
    let mut first = None;
    while let Some(begin) = (0..rest.len()).find(|at| begins_literal(&rest[*at..])) {
        let (before, literal) = rest.split_at(begin);
        shown.push_str(&text(before));
        let first = *first.get_or_insert(shown.len());
        let end = match literal {
            [quote @ (b'\'' | b'"'), inside @ ..] if is_plain => inside.iter().position(|byte| byte == quote),
            _ => None,
        };
        let Some(end) = end else {
            shown.truncate(first);
            return shown + HIDDEN;
        };
        let quote = char::from(literal[0]);
        shown.push_str(&format!("{quote}{HIDDEN}{quote}"));
        rest = &literal[end + 2..];
    }
    shown + &text(rest)
}

/// Whether text begins that is written out: in quotes, between dollars, or as digits (`0x…`). `$1` is a parameter.
fn begins_literal(bytes: &[u8]) -> bool {
    match bytes {
        [b'\'' | b'"', ..] | [b'0', b'x' | b'X', ..] => true,
        [b'$', behind @ ..] => !behind.first().is_some_and(u8::is_ascii_digit),
        _ => false,
    }
}

/// A number, the highest byte first, of at most eight bytes.
pub(crate) fn big(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The same, the lowest byte first.
pub(crate) fn little(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
