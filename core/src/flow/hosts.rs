//! How many flows each host has open: one that floods or scans ends flows of its own, not everybody else's.
//!
//! All of it happens where flows are opened and ended; no packet in between comes here, and nothing at all while a table
//! holds fewer flows than one host may have.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Flows of a host that are looked at for one to end.
const LOOK: u32 = 4;

/// No flow.
const NONE: u32 = u32::MAX;

/// The open flows of one table by the host that opened them, each host's in a queue.
#[derive(Debug)]
pub(super) struct Hosts {
    most: u32,
    queues: HashMap<[u8; 16], Queue, FixedState>,
    /// By slot.
    links: Vec<Link>,
}

/// One host's flows, by their slots.
#[derive(Debug, Clone, Copy)]
struct Queue {
    first: u32,
    last: u32,
    len: u32,
}

/// A flow's neighbours in the queue of its host.
#[derive(Debug, Clone, Copy)]
struct Link {
    host: [u8; 16],
    before: u32,
    after: u32,
}

impl Hosts {
    /// Hosts with at most `most` flows each; the seed of `hasher` guards against chosen addresses and changes no result.
    pub(super) fn new(most: u32, hasher: FixedState) -> Self {
        Self { most: most.max(1), queues: HashMap::with_hasher(hasher), links: Vec::new() }
    }

    /// The flow to end before a host opens another one, if it has as many as it may: the one that was quiet longest among
    /// the next few. Those that are spared go to the end of the queue, so that a host's lasting flows outlive its flood.
    pub(super) fn victim(&mut self, host: &[u8; 16], last_ns: impl Fn(u32) -> u64) -> Option<u32> {
        let queue = self.queues.get_mut(host).filter(|queue| queue.len >= self.most)?;
        let mut quietest: Option<(u64, u32)> = None;
        for _ in 0..LOOK.min(queue.len) {
            let slot = queue.first;
            queue.detach(&mut self.links, slot);
            queue.attach(&mut self.links, slot, *host);
            let time = last_ns(slot);
            if quietest.is_none_or(|(least, _)| time < least) {
                quietest = Some((time, slot));
            }
        }
        quietest.map(|(_, slot)| slot)
    }

    /// A host opened the flow in this slot.
    pub(super) fn opened(&mut self, slot: u32, host: [u8; 16]) {
        if self.links.len() <= slot as usize {
            self.links.resize(slot as usize + 1, Link { host, before: NONE, after: NONE });
        }
        let empty = Queue { first: NONE, last: NONE, len: 0 };
        self.queues.entry(host).or_insert(empty).attach(&mut self.links, slot, host);
    }

    /// The flow in this slot ended.
    pub(super) fn closed(&mut self, slot: u32) {
        let host = self.links[slot as usize].host;
        if let Some(queue) = self.queues.get_mut(&host) {
            queue.detach(&mut self.links, slot);
            if queue.len == 0 {
                self.queues.remove(&host);
            }
        }
    }
}

impl Queue {
    fn attach(&mut self, links: &mut [Link], slot: u32, host: [u8; 16]) {
        links[slot as usize] = Link { host, before: self.last, after: NONE };
        match self.last {
            NONE => self.first = slot,
            last => links[last as usize].after = slot,
        }
        self.last = slot;
        self.len += 1;
    }

    fn detach(&mut self, links: &mut [Link], slot: u32) {
        let Link { before, after, .. } = links[slot as usize];
        match before {
            NONE => self.first = after,
            before => links[before as usize].after = after,
        }
        match after {
            NONE => self.last = before,
            after => links[after as usize].before = before,
        }
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Whatever opens and ends in whatever order, each host has its own flows in its queue, and no others.
        #[test]
        fn queues_hold_what_is_open(steps in proptest::collection::vec((0u32..40, 0u8..3), 1..300)) {
            let mut hosts = Hosts::new(5, FixedState::with_seed(1));
            let mut open: BTreeMap<u32, u8> = BTreeMap::new();
            for (slot, host) in steps {
                if open.remove(&slot).is_some() {
                    hosts.closed(slot);
                    continue;
                }
                let own = open.values().filter(|other| **other == host).count();
                // The smallest slot counts as quiet longest.
                let victim = hosts.victim(&[host; 16], u64::from);
                prop_assert_eq!(victim.is_some(), own >= 5);
                if let Some(victim) = victim {
                    prop_assert_eq!(open.remove(&victim), Some(host));
                    hosts.closed(victim);
                }
                hosts.opened(slot, [host; 16]);
                open.insert(slot, host);
                for host in 0..3 {
                    let own = open.values().filter(|other| **other == host).count();
                    prop_assert!(own <= 5);
                    prop_assert_eq!(hosts.queues.get(&[host; 16]).map_or(0, |queue| queue.len as usize), own);
                }
            }
            prop_assert_eq!(hosts.queues.values().map(|queue| queue.len as usize).sum::<usize>(), open.len());
        }
    }
}
