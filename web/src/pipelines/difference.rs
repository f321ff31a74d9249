//! What differs between two versions, line by line.

use std::time::Duration;

use similar::{ChangeTag, TextDiff};

/// Lines around a change that are shown.
const AROUND: usize = 3;
/// Time that finding the smallest difference may take; after it a larger one does.
const PATIENCE: Duration = Duration::from_millis(500);

/// A line of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number in the old text.
    pub old: Option<usize>,
    /// Its number in the new one.
    pub new: Option<usize>,
    /// The line, without its end.
    pub text: String,
}

/// The parts that differ, with some lines around each.
pub fn difference(old: &str, new: &str) -> Vec<Vec<Line>> {
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(old, new);
    let line = |change: similar::Change<&str>| Line {
        old: change.old_index().filter(|_| change.tag() != ChangeTag::Insert).map(|at| at + 1),
        new: change.new_index().filter(|_| change.tag() != ChangeTag::Delete).map(|at| at + 1),
        text: change.value().trim_end_matches('\n').to_owned(),
    };
    let groups = diff.grouped_ops(AROUND);
    groups.iter().map(|ops| ops.iter().flat_map(|op| diff.iter_changes(op)).map(line).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_with_their_numbers() {
        let old: String = (1..=20).map(|n| format!("line {n}\n")).collect();
        let new = old.replace("line 10\n", "line ten\nand more\n");
        let parts = difference(&old, &new);
        assert_eq!(parts.len(), 1);
        let shown: Vec<_> = parts[0].iter().map(|line| (line.old, line.new, line.text.as_str())).collect();
        assert_eq!(shown[2], (Some(9), Some(9), "line 9"));
        assert_eq!(shown[3], (Some(10), None, "line 10"));
        assert_eq!(shown[4], (None, Some(10), "line ten"));
        assert_eq!(shown[5], (None, Some(11), "and more"));
        assert_eq!(shown[6], (Some(11), Some(12), "line 11"));
        assert_eq!(shown.len(), 9);
        assert!(difference(&old, &old).is_empty());
    }
}
