use super::{Book, Index, Place, Verdicts};
use crate::packets::{Bitten, Extent, PacketView, Payloads};
use crate::query::{OfFlow, PacketQuery};
use regex::{Regex, RegexBuilder};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};
use veilwatch_core::packet::dissect::{Address, Names};

/// What packets are looked for.
#[derive(Debug, Clone)]
pub enum Sought {
    /// Those of which an expression holds.
    Query(Box<PacketQuery>),
    /// Those whose line has a text: ends, protocol, what it says. Capital letters do not matter.
    Text(Regex),
}

impl Sought {
    /// Bytes of a text that is looked for.
    pub const TEXT_BYTES: usize = 1000;

    /// Packets whose line has a text; nothing where it is empty or too long.
    pub fn text(text: &str) -> Option<Self> {
        let is_one = !text.is_empty() && text.len() <= Self::TEXT_BYTES;
        let pattern = || RegexBuilder::new(&regex::escape(text)).case_insensitive(true).build().ok();
        is_one.then(pattern).flatten().map(Self::Text)
    }

    /// What must be looked at, and the text of which fields.
    fn extent(&self) -> (Extent, Option<&Arc<Names>>) {
        match self {
            Self::Query(query) => (query.extent(), Some(query.names())),
            // The line is made without any node's text.
            Self::Text(_) => (Extent { headers: true, payload: Payloads::All, ..Extent::RECORD }, Some(&NO_NAMES)),
        }
    }

    fn asks_verdicts(&self) -> bool {
        matches!(self, Self::Query(query) if query.asks_verdicts())
    }

    fn holds(&self, view: &PacketView<'_>, flow: &OfFlow) -> bool {
        match self {
            Self::Query(query) => query.holds_with(view, flow),
            Self::Text(pattern) => {
                let is_in = |address: &Option<_>| {
                    address.as_ref().is_some_and(|address: &Address| pattern.is_match(&address.to_string()))
                };
                pattern.is_match(&view.info)
                    || pattern.is_match(view.protocol())
                    || is_in(&view.src)
                    || is_in(&view.dst)
            }
        }
    }
}

/// Packets that are looked for in all of a capture, in a thread of its own, while somebody looks at those that were found.
#[derive(Debug)]
pub struct Search {
    sought: Sought,
    found: RwLock<Vec<u32>>,
    looked: AtomicU64,
    ended: AtomicBool,
    stop: AtomicBool,
    /// Whether all packets were looked at once.
    whole: AtomicBool,
    bitten: AtomicBool,
}

/// What a search looks at while it grows.
pub struct Ground<'g> {
    /// Where packets are read.
    pub book: &'g Book,
    /// Which ones there are.
    pub index: &'g RwLock<Index>,
    /// Flows that were judged.
    pub verdicts: &'g Verdicts,
    /// Set once the index is whole.
    pub indexed: &'g AtomicBool,
    /// Set once all flows are judged.
    pub judged: &'g AtomicBool,
    /// Whether packets come as long as somebody likes: then all that there are count as all.
    pub goes_on: bool,
}

static NO_NAMES: LazyLock<Arc<Names>> = LazyLock::new(Arc::default);

impl Ground<'_> {
    fn packets(&self) -> u64 {
        self.index.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Packets whose places are taken from the index at once.
const AT_ONCE: usize = 4096;
/// Between two looks whether there is more.
const PAUSE: Duration = Duration::from_millis(50);
/// Between two rounds where verdicts are asked and more of them come.
const ROUND: Duration = Duration::from_secs(2);

impl Search {
    /// One that has not begun.
    pub fn new(sought: Sought) -> Self {
        Self {
            sought,
            found: RwLock::default(),
            looked: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            whole: AtomicBool::new(false),
            bitten: AtomicBool::new(false),
        }
    }

    /// Numbers of the packets that were found so far, in order.
    pub fn found(&self) -> RwLockReadGuard<'_, Vec<u32>> {
        self.found.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many packets of the capture were looked at.
    pub fn looked(&self) -> u64 {
        self.looked.load(Ordering::Relaxed)
    }

    /// Whether nothing more will be found.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Whether all packets of the capture have been looked at once, or all that had come where they come live; though more may be found where verdicts are asked.
    pub fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Relaxed)
    }

    /// Whether bounds of what is known of flows at once were reached, so that packets may be missing.
    pub fn was_bitten(&self) -> bool {
        self.bitten.load(Ordering::Relaxed)
    }

    /// Has it end with what was found.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether it was told to.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Looks at all packets, also at those that come meanwhile, until the index is whole or it is told to stop. Where
    /// verdicts are asked it begins anew as long as more of them come, since a flow is judged when it has ended.
    pub fn run(&self, ground: &Ground<'_>) -> io::Result<()> {
        let outcome = self.rounds(ground);
        // What could not be looked at is not there as if it had been.
        if outcome.is_err() {
            self.stop();
        }
        self.ended.store(true, Ordering::Relaxed);
        outcome
    }

    fn rounds(&self, ground: &Ground<'_>) -> io::Result<()> {
        if !self.sought.asks_verdicts() {
            return self.round(ground, true, &mut |found| self.add(found));
        }
        let mut first = true;
        loop {
            let (begin, judged) = (Instant::now(), ground.judged.load(Ordering::Acquire));
            let before = (ground.verdicts.len(), ground.packets());
            if first {
                self.round(ground, false, &mut |found| self.add(found))?;
            } else {
                // What was found before stays listed until the new round is over.
                let mut all = Vec::new();
                self.round(ground, false, &mut |found| all.extend_from_slice(found))?;
                if !self.is_stopped() {
                    *self.found.write().unwrap_or_else(PoisonError::into_inner) = all;
                }
            }
            first = false;
            let whole = judged && ground.indexed.load(Ordering::Acquire);
            if self.is_stopped() || whole {
                return Ok(());
            }
            // Other work comes first.
            let pause = ROUND.max(begin.elapsed() * 2);
            let begin = Instant::now();
            let is_judged = || ground.judged.load(Ordering::Acquire);
            let is_new = || is_judged() || before != (ground.verdicts.len(), ground.packets());
            while !self.is_stopped() && !(is_new() && (begin.elapsed() >= pause || is_judged())) {
                std::thread::sleep(PAUSE);
            }
        }
    }

    fn add(&self, found: &[u32]) {
        self.found.write().unwrap_or_else(PoisonError::into_inner).extend_from_slice(found);
    }

    /// Looks at all packets once; with `waits` also at those that are still to come.
    fn round(&self, ground: &Ground<'_>, waits: bool, add: &mut dyn FnMut(&[u32])) -> io::Result<()> {
        let (extent, asks) = (self.sought.extent(), self.sought.asks_verdicts());
        let mut walk = ground.book.walk();
        let (mut next, mut places, mut found) = (1u64, Vec::<Place>::with_capacity(AT_ONCE), Vec::new());
        loop {
            // First this, then the places: what was indexed before is whole then.
            let is_whole = ground.indexed.load(Ordering::Acquire);
            let mut flows = Vec::new();
            {
                let index = ground.index.read().unwrap_or_else(PoisonError::into_inner);
                places.clear();
                places.extend(index.from(next).take(AT_ONCE).map(|(_, place)| place));
                if asks {
                    flows = ground.verdicts.of_packets(&index, next..next + places.len() as u64);
                }
            }
            if places.is_empty() {
                if is_whole || ground.goes_on {
                    self.whole.store(true, Ordering::Relaxed);
                }
                if is_whole || !waits || self.is_stopped() {
                    return Ok(());
                }
                std::thread::sleep(PAUSE);
                continue;
            }
            found.clear();
            for (at, place) in places.iter().enumerate() {
                if self.is_stopped() {
                    break;
                }
                let flow = flows.get(at).copied().flatten().unwrap_or_default();
                let number = next + at as u64;
                if walk.next(number, place, extent, |view| self.sought.holds(view, &flow))? {
                    found.push(number as u32);
                }
            }
            if self.is_stopped() {
                return Ok(());
            }
            if walk.bitten() != Bitten::default() {
                self.bitten.store(true, Ordering::Relaxed);
            }
            add(&found);
            next += places.len() as u64;
            self.looked.store(next - 1, Ordering::Relaxed);
        }
    }
}
