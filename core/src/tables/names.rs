use super::NamePattern;

/// Labels of a name that are looked at: no valid name has more.
const LABELS: usize = 127;

/// Which entries ask for a name, or for one above it.
#[derive(Debug, Default)]
pub(super) struct NameIndex {
    /// In order.
    names: Vec<(Box<str>, u32)>,
}

impl NameIndex {
    /// Names in any order, with the entries that ask for them.
    pub(super) fn new(mut names: Vec<(Box<str>, u32)>) -> Self {
        names.sort_unstable();
        Self { names }
    }

    /// Looks at the entries of which a name is this one, or stands above it.
    pub(super) fn find(&self, name: &[u8], mut look: impl FnMut(u32)) {
        let name = name.strip_suffix(b".").unwrap_or(name);
        if name.is_empty() || name.len() > NamePattern::BYTES {
            return;
        }
        let dots = name.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at + 1);
        for start in std::iter::once(0).chain(dots).take(LABELS) {
            let part = &name[start..];
            let order = |row: &str| row.bytes().cmp(part.iter().map(u8::to_ascii_lowercase));
            let from = self.names.partition_point(|(row, _)| order(row).is_lt());
            self.names[from..].iter().take_while(|(row, _)| order(row).is_eq()).for_each(|(_, at)| look(*at));
        }
    }
}
