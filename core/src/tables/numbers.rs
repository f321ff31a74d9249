use super::NumberEntry;

/// Numbers and ranges, cut into pieces that do not overlap.
#[derive(Debug, Default)]
pub(super) struct NumberTable {
    entries: Vec<NumberEntry>,
    /// In order; each number stands in one at most.
    pieces: Vec<Piece>,
}

#[derive(Debug)]
struct Piece {
    first: u16,
    last: u16,
    entry: u32,
}

impl NumberTable {
    /// Entries in any order; of two equally wide ranges that hold a number, the later one wins.
    pub(super) fn new(entries: Vec<(u32, NumberEntry)>) -> Self {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        let width = |at: usize| entries[at].1.last.saturating_sub(entries[at].1.first);
        order.sort_by_key(|&at| (std::cmp::Reverse(width(at)), entries[at].0));
        // Painted wide before narrow; 0 is nothing.
        let mut paint = vec![0_u32; 1 << 16];
        for at in order {
            let entry = &entries[at].1;
            let mark = u32::try_from(at + 1).unwrap_or(0);
            paint[usize::from(entry.first)..=usize::from(entry.last.max(entry.first))].fill(mark);
        }
        let mut pieces: Vec<Piece> = Vec::new();
        for (number, mark) in (0..=u16::MAX).zip(paint) {
            let Some(entry) = mark.checked_sub(1) else { continue };
            match pieces.last_mut() {
                Some(piece) if piece.entry == entry && piece.last.checked_add(1) == Some(number) => piece.last = number,
                _ => pieces.push(Piece { first: number, last: number, entry }),
            }
        }
        Self { entries: entries.into_iter().map(|(_, entry)| entry).collect(), pieces }
    }

    pub(super) fn get(&self, number: u16) -> Option<&NumberEntry> {
        let at = self.pieces.partition_point(|piece| piece.last < number);
        let piece = self.pieces.get(at).filter(|piece| piece.first <= number)?;
        self.entries.get(piece.entry as usize)
    }

    pub(super) fn entries(&self) -> &[NumberEntry] {
        &self.entries
    }
}
