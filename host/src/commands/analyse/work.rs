//! What goes on beside the terminal: an index is made, flows are judged, packets are captured.

use anyhow::{Context, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use veilwatch::analyser::{Book, Ground, Index, Indexer, KeptIndexes, Numbering, Opened, Search, Verdicts, save};
use veilwatch::engine::{Pipeline, Progress};
use veilwatch::live::{Control, Live, LiveSettings, Wanted};
use veilwatch::memory::give_back;
use veilwatch::output::plain;
use veilwatch::source::{Damage, Source};

/// A capture while it is looked into.
pub(super) struct Work {
    pub(super) name: String,
    pub(super) book: Book,
    pub(super) shown: Arc<Pipeline>,
    pub(super) shared: Arc<Shared>,
    pub(super) live: Option<Capturing>,
    threads: Vec<JoinHandle<()>>,
    /// What is looked for in some of them.
    searches: Vec<Weak<Search>>,
}

/// What threads and the terminal have in common.
#[derive(Default)]
pub(super) struct Shared {
    index: RwLock<Index>,
    pub(super) indexed: AtomicBool,
    pub(super) read_bytes: AtomicU64,
    pub(super) all_bytes: AtomicU64,
    pub(super) verdicts: Verdicts,
    pub(super) judged: AtomicBool,
    pub(super) progress: Progress,
    stop: AtomicBool,
    /// How many packets from the first one on are in a file of their own.
    pub(super) saved: AtomicU64,
    /// Whether packets are written into one.
    pub(super) saving: AtomicBool,
    /// Whether packets that come are passed over.
    pub(super) paused: AtomicBool,
    /// What a person should know of, the latest last.
    said: Mutex<Vec<String>>,
}

/// A capture that goes on.
pub(super) struct Capturing {
    pub(super) control: Control,
}

impl Shared {
    pub(super) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn say(&self, line: &str) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).push(plain(line));
    }

    /// What was said since it was asked last.
    pub(super) fn said(&self) -> Vec<String> {
        std::mem::take(&mut *self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&self, indexed: veilwatch::analyser::Indexed) {
        self.index.write().unwrap_or_else(PoisonError::into_inner).take(indexed);
    }
}

/// What took longer took memory.
const LONG: Duration = Duration::from_secs(2);
/// Between two looks whether another thread is done.
const PAUSE: Duration = Duration::from_millis(20);

/// It guards tables against chosen addresses, and changes nothing else.
fn seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

impl Work {
    /// Opens a capture file, and begins to index and judge it.
    pub(super) fn open(path: &Path, shown: Arc<Pipeline>, judge: Pipeline) -> Result<Self> {
        let limits = judge.config().input.clone();
        let opened = Opened::open(path, &limits)?;
        let shared = Arc::new(Shared::default());
        shared.all_bytes.store(opened.bytes, Ordering::Relaxed);
        let nesting = shown.config().flows.nesting;
        let again = opened.file.try_clone().with_context(|| opened.name.clone())?;
        let book = Book::new(again, Arc::clone(&shown));
        let kept = KeptIndexes::of_user();
        let mut threads = Vec::new();
        let (name, capture) = (opened.name.clone(), opened.path.clone());
        let at_work = Arc::clone(&shared);
        let (source, damage) = (opened.source, opened.damage);
        threads.push(start("index", move || {
            match capture.as_deref().zip(kept.as_ref()).and_then(|(path, kept)| kept.find(path, nesting)) {
                Some(index) => *at_work.index.write().unwrap_or_else(PoisonError::into_inner) = index,
                None => {
                    let is_whole = make_index(source, damage, nesting, &at_work);
                    if let Some((path, kept)) = capture.as_deref().zip(kept).filter(|_| is_whole)
                        && let Err(error) = kept.keep(path, nesting, &at_work.index())
                    {
                        at_work.say(&format!("the index could not be kept: {error}"));
                    }
                }
            }
            if let Some(damage) = &at_work.index().damage {
                at_work.say(&format!("damaged: {damage}; what came before it is shown"));
            }
            give_back();
            at_work.indexed.store(true, Ordering::Release);
        })?);
        let (at_work, path) = (Arc::clone(&shared), path.to_owned());
        threads.push(start("judge", move || {
            // In its own time: whoever looks on comes first, and memory is not taken for both at once.
            while !at_work.indexed.load(Ordering::Acquire) && !at_work.stop.load(Ordering::Relaxed) {
                std::thread::sleep(PAUSE);
            }
            match Source::open(&path, &limits) {
                Ok(source) => judge_all(&judge, source, &at_work),
                Err(error) => {
                    at_work.say(&error.to_string());
                    at_work.judged.store(true, Ordering::Release);
                }
            }
        })?);
        Ok(Self { name, book, shown, shared, live: None, threads, searches: Vec::new() })
    }

    /// Captures on interfaces, into a file that has no name, and judges what comes.
    pub(super) fn capture(
        wanted: &Wanted,
        settings: &LiveSettings,
        shown: Arc<Pipeline>,
        judge: Pipeline,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let said = Arc::clone(&shared);
        let live = Live::open(wanted, settings, move |line| said.say(line))?;
        let spool = tempfile::tempfile().context("there is no room for packets")?;
        let book = Book::new(spool.try_clone().context("there is no room for packets")?, Arc::clone(&shown));
        let (name, control) = (live.name().to_owned(), live.control());
        let (nesting, at_work) = (shown.config().flows.nesting, Arc::clone(&shared));
        let judging = start("judge", move || {
            let (mut at, spooled) = (0, Arc::clone(&at_work));
            let mut numbering = Numbering::new(nesting, seed());
            let tap = move |block: &veilwatch::source::Block| {
                let Some(first) = block.packets().next().map(|packet| packet.number) else { return };
                if spooled.paused.load(Ordering::Relaxed) {
                    spooled.verdicts.shift(first, None);
                } else {
                    spooled.verdicts.shift(first, first.checked_sub(spooled.index().len() + 1));
                    at = spool_block(block, &spool, at, &mut numbering, &spooled);
                }
            };
            judge_all(&judge, live.tapped(tap), &at_work);
            at_work.indexed.store(true, Ordering::Release);
        })?;
        let live = Some(Capturing { control });
        Ok(Self { name, book, shown, shared, live, threads: vec![judging], searches: Vec::new() })
    }

    /// Begins a search beside.
    pub(super) fn search(&mut self, search: &Arc<Search>) -> Result<()> {
        let (search, shared, book) = (Arc::clone(search), Arc::clone(&self.shared), self.book.clone());
        let goes_on = self.live.is_some();
        self.threads.retain(|thread| !thread.is_finished());
        self.searches.retain(|search| search.strong_count() > 0);
        self.searches.push(Arc::downgrade(&search));
        self.threads.push(start("search", move || {
            let ground = Ground {
                book: &book,
                index: &shared.index,
                verdicts: &shared.verdicts,
                indexed: &shared.indexed,
                judged: &shared.judged,
                goes_on,
            };
            let begin = Instant::now();
            if let Err(error) = search.run(&ground) {
                shared.say(&format!("packets cannot be looked through: {error}"));
            }
            if begin.elapsed() > LONG {
                give_back();
            }
        })?);
        Ok(())
    }

    /// Begins to write packets into a file: these, or all that there are by now.
    pub(super) fn save(&mut self, numbers: Option<Vec<u64>>, path: PathBuf) -> Result<()> {
        let (shared, book) = (Arc::clone(&self.shared), self.book.clone());
        shared.saving.store(true, Ordering::Relaxed);
        self.threads.push(start("save", move || {
            let all = shared.index().len();
            let saved = match &numbers {
                Some(numbers) => save(&book, &shared.index, numbers.iter().copied(), &path),
                None => save(&book, &shared.index, 1..=all, &path),
            };
            match saved {
                Ok(packets) => {
                    if numbers.is_none() {
                        shared.saved.fetch_max(all, Ordering::Relaxed);
                    }
                    shared.say(&format!("{packets} packets are in {}", path.display()));
                }
                Err(error) => shared.say(&error.to_string()),
            }
            shared.saving.store(false, Ordering::Relaxed);
        })?);
        Ok(())
    }

    pub(super) fn stop(&self) {
        if let Some(live) = &self.live {
            live.control.stop();
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.searches.iter().filter_map(Weak::upgrade).for_each(|search| search.stop());
        self.stop();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).context("no thread can be started")
}

/// Says whether it came to the capture's end, or to what ends it.
fn make_index(source: Source, damage: Option<Damage>, nesting: u8, shared: &Shared) -> bool {
    let mut indexer = Indexer::new(source, nesting, seed());
    loop {
        if shared.stop.load(Ordering::Relaxed) {
            return false;
        }
        match indexer.more() {
            Ok(Some(indexed)) => {
                shared.take(indexed);
                shared.read_bytes.store(indexer.read(), Ordering::Relaxed);
            }
            Ok(None) => break,
            Err(error) => {
                shared.say(&error.to_string());
                return false;
            }
        }
    }
    shared.index.write().unwrap_or_else(PoisonError::into_inner).end(damage.or_else(|| indexer.damage()));
    true
}

fn judge_all(pipeline: &Pipeline, source: Source, shared: &Shared) {
    let found = shared.verdicts.find(pipeline, source, 1, &shared.stop, &shared.progress);
    match found {
        Ok(summary) => summary.warnings().iter().for_each(|line| shared.say(line)),
        Err(error) => shared.say(&format!("flows are not judged: {error}")),
    }
    give_back();
    shared.judged.store(true, Ordering::Release);
}

/// Writes the packets of a block behind those that are there; what cannot be written is left out of the index.
fn spool_block(
    block: &veilwatch::source::Block,
    spool: &File,
    at: u64,
    numbering: &mut Numbering,
    shared: &Shared,
) -> u64 {
    let mut bytes = Vec::new();
    let mut offsets = Vec::with_capacity(block.len());
    for packet in block.packets() {
        offsets.push(at + bytes.len() as u64);
        bytes.extend_from_slice(packet.data);
    }
    if let Err(error) = spool.write_all_at(&bytes, at) {
        shared.paused.store(true, Ordering::Relaxed);
        shared.say(&format!("packets cannot be kept: {error}; capturing pauses"));
        return at;
    }
    shared.take(numbering.indexed(block, offsets.into_iter()));
    at + bytes.len() as u64
}
