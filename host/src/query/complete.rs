//! Names that begin like this, and the one that was probably meant.

use super::lex::is_of_word;
use super::{FieldInfo, Fields, Level};
use std::ops::Range;

/// What may stand where the cursor is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion<'a> {
    /// The bytes of the expression that a choice takes the place of: the word that the cursor is in or behind.
    pub replaces: Range<usize>,
    /// The fields whose names begin like the part of it before the cursor, by their names.
    pub fields: Vec<FieldInfo<'a>>,
}

/// What may stand at a place; nothing within quotes.
pub(super) fn at<'a>(fields: &'a Fields, level: Level, text: &str, cursor: usize) -> Completion<'a> {
    let cursor = text.floor_char_boundary(cursor);
    let (before, behind) = text.split_at(cursor);
    let start = before.rfind(|c| !is_of_word(c)).map_or(0, |at| text.ceil_char_boundary(at + 1));
    let end = cursor + behind.find(|c| !is_of_word(c)).unwrap_or(behind.len());
    let mut quoted = false;
    let mut escaped = false;
    for c in before.chars() {
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
    }
    let fields = if quoted { Vec::new() } else { fields.complete(level, &before[start..]) };
    Completion { replaces: start..end, fields }
}

/// Most bytes of a name to which a near one is looked for.
const LONGEST: usize = 80;

/// The nearest of some names by the letters that would have to change, if these are a third of it at most. Of several the
/// first.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > LONGEST {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let most = (name.len() / 3).max(1);
    let near = names.filter_map(|other| Some((distance(name.as_bytes(), other.as_bytes(), most)?, other)));
    near.min_by_key(|(distance, _)| *distance).map(|(_, other)| other)
}

/// Letters to put in, leave out, change or swap with their neighbour (Damerau), if they are `most` at most.
fn distance(a: &[u8], b: &[u8], most: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > most {
        return None;
    }
    // The last two rows of the table.
    let mut older: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *y && b[j - 1] == *x {
                best = best.min(older[j - 1] + 1);
            }
            row.push(best);
        }
        older = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|distance| *distance <= most)
}
