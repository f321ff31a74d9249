use super::judged::Judged;
use crate::analyser::{Book, Index, Walk};
use crate::packets::Bitten;
use crate::query::PacketQuery;
use std::io;
use std::time::Instant;

/// A display filter that goes over a capture. Every packet is read once, in order, so that flows are understood.
pub(super) struct Search {
    /// The filter, as it was written.
    pub(super) text: String,
    query: PacketQuery,
    walk: Walk<'static>,
    /// Packets of which it holds, in order.
    pub(super) hits: Vec<u32>,
    /// Packets that were looked at.
    pub(super) scanned: u64,
}

impl Search {
    pub(super) fn new(text: &str, query: PacketQuery, book: &'static Book) -> Self {
        Self { text: text.to_owned(), query, walk: book.walk(), hits: Vec::new(), scanned: 0 }
    }

    /// Whether bounds of what is known of flows at once were reached.
    pub(super) fn may_miss(&self) -> bool {
        self.walk.bitten() != Bitten::default()
    }

    /// Whether it speaks of verdicts: then all packets must be known before it begins.
    pub(super) fn asks_verdicts(&self) -> bool {
        self.query.asks_verdicts()
    }

    /// Looks at more packets, until a time.
    pub(super) fn more(&mut self, index: &Index, judged: Option<&Judged>, until: Instant) -> io::Result<()> {
        let (extent, query) = ((self.query.extent(), Some(self.query.names())), &self.query);
        let judged = judged.filter(|_| query.asks_verdicts());
        for (number, place) in index.from(self.scanned + 1) {
            let flow = judged.and_then(|judged| judged.of(index, number)).copied().unwrap_or_default();
            if self.walk.next(number, &place, extent, |view| query.holds_with(view, &flow))? {
                self.hits.push(u32::try_from(number).unwrap_or(u32::MAX));
            }
            self.scanned = number;
            if Instant::now() >= until {
                break;
            }
        }
        Ok(())
    }
}
