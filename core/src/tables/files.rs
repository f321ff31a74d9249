use super::FileType;
use super::pattern::{Anchors, PATTERN_REACH};

/// File types, found by the anchors of their signatures.
#[derive(Debug, Default)]
pub(super) struct FileTable {
    entries: Vec<FileType>,
    /// When each was read: of two signatures that say as much, the later one wins.
    order: Vec<u32>,
    anchors: Anchors,
}

impl FileTable {
    pub(super) fn new(entries: Vec<(u32, FileType)>) -> Self {
        let (order, entries): (Vec<u32>, Vec<FileType>) = entries.into_iter().unzip();
        let anchors = Anchors::new(entries.iter().enumerate().flat_map(|(at, entry)| {
            entry.signatures.iter().enumerate().map(move |(number, signature)| (at, number, signature))
        }));
        Self { entries, order, anchors }
    }

    pub(super) fn get(&self, bytes: &[u8]) -> Option<&FileType> {
        self.entries.get(usize::from(self.place(bytes)?))
    }

    pub(super) fn place(&self, bytes: &[u8]) -> Option<u16> {
        let bytes = &bytes[..bytes.len().min(PATTERN_REACH)];
        self.anchors
            .candidates(bytes)
            .filter_map(|anchor| {
                let entry = self.entries.get(anchor.entry as usize)?;
                let signature = entry.signatures.get(anchor.signature as usize)?;
                let order = self.order.get(anchor.entry as usize)?;
                signature.matches(bytes).then_some((signature.fixed(), order, anchor.entry))
            })
            .max_by_key(|(fixed, order, _)| (*fixed, *order))
            .and_then(|(_, _, entry)| u16::try_from(entry).ok())
    }

    pub(super) fn entries(&self) -> &[FileType] {
        &self.entries
    }
}
