use super::syntax::Span;
use std::fmt;
use std::ops::Range;
use veilwatch_core::detect::is_unruly;

/// Characters of an expression that an error shows, the wrong part among them.
const SHOWN: usize = 96;

/// What is wrong with an expression, and where.
///
/// As text it has three lines: what is wrong, the expression (of a long one the part that matters), and a line with carets
/// under the place. What an expression holds that could steer a terminal is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryError {
    text: String,
    place: Range<usize>,
    what: String,
}

impl QueryError {
    pub(super) fn new(text: &str, place: Span, what: impl Into<String>) -> Self {
        Self { text: text.to_owned(), place: place.start..place.end, what: what.into() }
    }

    /// What is wrong, without the place.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The bytes of the expression that are wrong; empty at its end where something is missing.
    pub fn place(&self) -> Range<usize> {
        self.place.clone()
    }

    /// The expression, or the part of it around the place, and the line with carets that stands under it.
    pub fn lines(&self) -> [String; 2] {
        let shown = |c: char| {
            if c.is_whitespace() {
                ' '
            } else if is_unruly(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        };
        let chars: Vec<(usize, char)> = self.text.char_indices().map(|(at, c)| (at, shown(c))).collect();
        let column = |byte: usize| chars.partition_point(|(at, _)| *at < byte);
        let (from, to) = (column(self.place.start), column(self.place.end));
        // A part of a long expression begins a little before the place.
        let first = if chars.len() <= SHOWN { 0 } else { from.saturating_sub(SHOWN / 3).min(chars.len() - SHOWN) };
        let last = chars.len().min(first + SHOWN);
        let mut line: String = chars.get(first..last).unwrap_or_default().iter().map(|(_, c)| *c).collect();
        let mut before = from - first;
        if first > 0 {
            line.insert(0, '…');
            before += 1;
        }
        if last < chars.len() {
            line.push('…');
        }
        let carets = to.min(last).saturating_sub(from).max(1);
        [line, format!("{}{}", " ".repeat(before), "^".repeat(carets))]
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [line, carets] = self.lines();
        let what: String =
            self.what.chars().map(|c| if is_unruly(c) { char::REPLACEMENT_CHARACTER } else { c }).collect();
        write!(f, "{what}\n  {line}\n  {carets}")
    }
}

impl std::error::Error for QueryError {}
