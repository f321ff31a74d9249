//! What is known of conversations, bounded.

use crate::context::ConversationKey;
use crate::flow::FlowRecord;
use std::collections::BTreeMap;

/// Something for each conversation, at most so many: where one finds no room, the half that ranks lower is forgotten, and
/// begins anew if it comes back. So nobody's flood hides what ranks high.
#[derive(Debug)]
pub(super) struct Conversations<T> {
    known: BTreeMap<ConversationKey, T>,
    limit: usize,
    by_name: bool,
    forgotten: u64,
}

impl<T: Default> Conversations<T> {
    /// None yet, and at most `limit` (two at the least); whether a service is a name, where there is one, says `by_name`.
    pub(super) fn new(limit: usize, by_name: bool) -> Self {
        Self { known: BTreeMap::new(), limit: limit.max(2), by_name, forgotten: 0 }
    }

    /// The conversation of a flow.
    pub(super) fn key(&self, flow: &FlowRecord) -> ConversationKey {
        ConversationKey::of(flow, self.by_name)
    }

    /// What is known of one; `rank` decides what is forgotten where there is no room.
    pub(super) fn of(&mut self, key: ConversationKey, rank: impl Fn(&T) -> f64) -> &mut T {
        if self.known.len() >= self.limit && !self.known.contains_key(&key) {
            self.forget(rank);
        }
        self.known.entry(key).or_default()
    }

    fn forget(&mut self, rank: impl Fn(&T) -> f64) {
        let mut all: Vec<_> = std::mem::take(&mut self.known).into_iter().collect();
        // Stable: those that are alike stand in the order of their keys.
        all.sort_by(|(_, a), (_, b)| rank(b).total_cmp(&rank(a)));
        self.forgotten += all.len().saturating_sub(self.limit / 2) as u64;
        all.truncate(self.limit / 2);
        self.known = all.into_iter().collect();
    }

    /// Conversations that were forgotten because the limit was reached.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// All that is known, in the order of the keys.
    pub(super) fn into_known(self) -> BTreeMap<ConversationKey, T> {
        self.known
    }
}
