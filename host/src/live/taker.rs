use super::record::Recorder;
use super::ring::{Counted, Frame, NOTHING, Ring};
use super::{Interface, LiveSettings, PerInterface, Shared, Wanted};
use crate::filter::{Filter, Passage};
use crate::source::{Block, Look, SourceStatus};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use veilwatch_core::packet::LinkType;

/// Gets a line that a person should know of.
pub(super) type Tell = Box<dyn FnMut(&str) + Send>;

/// Takes packets from all rings of a capture, in the order of their times as far as they are there.
pub(super) struct Taker {
    rings: Vec<Ring>,
    interfaces: Vec<State>,
    /// What packets with a tag must pass here: the kernel asks the others.
    filter: Option<Filter>,
    recorder: Option<Recorder>,
    shared: Arc<Shared>,
    tell: Tell,
    /// Packets taken, and how many of them there are to be.
    taken: u64,
    most: u64,
    /// Bytes that may be written down.
    most_bytes: u64,
    taken_bytes: u64,
    /// When it ends by itself.
    deadline: Option<Instant>,
    /// Until when packets are waited for that the kernel holds back yet, once the end was asked for.
    ending: Option<Instant>,
    done: bool,
    wait: Duration,
    look: Duration,
    looked: Instant,
    counted: Instant,
    /// A moment by both clocks, and when they came apart.
    wall: (Instant, SystemTime),
    set_at: Option<Instant>,
}

/// What is known of an interface, and counted since it was told.
struct State {
    interface: Interface,
    is_down: bool,
    taken: u64,
    taken_bytes: u64,
}

/// Between two questions to the kernel for what it counted.
const COUNT: Duration = Duration::from_secs(1);
/// How long nobody is heard at most.
const PATIENCE: Duration = Duration::from_millis(100);
/// What a packet may take from its time stamp into the ring, beside what it waits there: far more than it does.
const SLACK: Duration = Duration::from_secs(1);
/// When it ends after that, though packets go on coming.
const LATEST: Duration = Duration::from_secs(10);
/// How far the wall's clock may go from the other, and for how long nothing is said of packets to come when it went further.
const ADRIFT: Duration = Duration::from_millis(500);
const DOUBT: Duration = Duration::from_secs(60);
/// Packets that are asked about before somebody else is heard: the filter may let none through.
const ASKED: usize = 4096;
/// Where in an Ethernet header the tag stood that the kernel took out.
const TAG_AT: usize = 12;

impl Taker {
    #[allow(clippy::too_many_arguments)] // one call site, and a struct would only rename the list
    pub(super) fn new(
        rings: Vec<Ring>,
        interfaces: Vec<Interface>,
        filter: Option<Filter>,
        recorder: Option<Recorder>,
        wanted: &Wanted,
        settings: &LiveSettings,
        shared: Arc<Shared>,
        tell: Tell,
    ) -> Self {
        let now = Instant::now();
        let state = |interface| State { interface, is_down: false, taken: 0, taken_bytes: 0 };
        Self {
            rings,
            interfaces: interfaces.into_iter().map(state).collect(),
            filter,
            recorder,
            shared,
            tell,
            taken: 0,
            most: wanted.packets.unwrap_or(u64::MAX),
            most_bytes: wanted.bytes.unwrap_or(u64::MAX),
            taken_bytes: 0,
            deadline: wanted.duration.and_then(|duration| now.checked_add(duration)),
            ending: None,
            done: false,
            wait: Duration::from_millis(settings.wait_milliseconds.clamp(1, 10_000).into()),
            look: Duration::from_millis(settings.look_milliseconds.max(10).into()),
            looked: now,
            counted: now,
            wall: (now, SystemTime::now()),
            set_at: None,
        }
    }

    /// Packets taken so far.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// As [`Feed::fill`](crate::source::Feed::fill) has it; `false` at a turn too.
    pub(super) fn fill(&mut self, block: &mut Block, status: &mut SourceStatus) -> bool {
        loop {
            let now = Instant::now();
            if self.done || self.shared.turn.load(Ordering::Relaxed) {
                if !self.done {
                    self.count(now);
                }
                return false;
            }
            self.hear_of_the_end(now);
            // Before they are looked at: what comes meanwhile is later.
            let wall = SystemTime::now();
            let emptied = self.take(block);
            self.write_down();
            if now.duration_since(self.counted) >= COUNT {
                self.count(now);
            }
            if !block.is_empty() {
                self.tell_counters();
                status.file_bytes = self.taken_bytes;
                status.unpacked_bytes = self.taken_bytes;
            }
            let is_over = |until: Instant| now >= until && (emptied || now >= until + LATEST);
            let is_full = self.shared.recorded_bytes.load(Ordering::Relaxed) >= self.most_bytes;
            if self.taken >= self.most || is_full || self.ending.is_some_and(is_over) {
                self.end();
                // What is there is still handed out.
                return !block.is_empty();
            }
            if now.duration_since(self.looked) >= self.look {
                self.looked = now;
                let is_known = emptied && self.clocks_agree(now, wall);
                block.ask(Look { nothing_before_ns: is_known.then(|| self.quiet(wall)) });
            }
            if !block.is_empty() || block.look().is_some() {
                return true;
            }
            self.wait(now);
        }
    }

    /// Whether the wall's clock has gone as steadily as time for a while: where somebody sets it, nobody knows which times
    /// packets have.
    fn clocks_agree(&mut self, now: Instant, wall: SystemTime) -> bool {
        let should_be = self.wall.1 + now.duration_since(self.wall.0);
        let apart = wall.duration_since(should_be).unwrap_or_else(|error| error.duration());
        if apart > ADRIFT {
            (self.wall, self.set_at) = ((now, wall), Some(now));
        }
        self.set_at.is_none_or(|set_at| now.duration_since(set_at) > DOUBT)
    }

    /// The time that all packets to come are later than, where the rings were empty at a time.
    fn quiet(&self, wall: SystemTime) -> u64 {
        // A block may wait twice: until it is looked at, and until it is looked at again.
        let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(2 * self.wait + SLACK);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Takes what is there until the block is full, or there are enough; says whether nothing is left.
    fn take(&mut self, block: &mut Block) -> bool {
        let mut kept_out = 0;
        let is_paused = self.shared.paused.load(Ordering::Relaxed);
        while self.taken < self.most && kept_out < ASKED {
            // Most captures have one ring: there is nothing to choose.
            let next = match self.rings.as_mut_slice() {
                [ring] => ring.peek().map(|_| 0),
                rings => rings
                    .iter_mut()
                    .enumerate()
                    .filter_map(|(at, ring)| Some((ring.peek()?, at)))
                    .min()
                    .map(|(_, at)| at),
            };
            let Some(ring) = next.and_then(|at| self.rings.get_mut(at)) else { return true };
            let (of, link) = (ring.interface, ring.link);
            let Some(Frame { time_ns, wire_len, tag, data }) = ring.frame() else {
                ring.pass();
                continue;
            };
            let tag = tag.as_ref().filter(|_| link == LinkType::ETHERNET && data.len() >= TAG_AT);
            let (head, rest) = data.split_at(tag.map_or(0, |_| TAG_AT));
            let parts = [head, tag.map_or(&[][..], |tag| tag), rest];
            let wire_len = wire_len.saturating_add(parts[1].len() as u32);
            if !block.append(time_ns, wire_len, link, parts) {
                return false;
            }
            if let Some(filter) = self.filter.as_mut().filter(|_| !parts[1].is_empty())
                && let Some(last) = block.get(block.len() - 1)
                && filter.passage(&last) != Passage::Seen
            {
                block.drop_last();
                ring.pass();
                kept_out += 1;
                continue;
            }
            if is_paused {
                block.drop_last();
                ring.pass();
                kept_out += 1;
                add(&self.shared.passed_over, 1);
                continue;
            }
            if let Some(recorder) = &mut self.recorder {
                recorder.add(of, time_ns, wire_len, parts);
            }
            ring.pass();
            self.taken += 1;
            self.taken_bytes += u64::from(wire_len);
            if let Some(state) = self.interfaces.get_mut(of) {
                state.taken += 1;
                state.taken_bytes += u64::from(wire_len);
            }
        }
        false
    }

    /// Sees whether it is to end: then no packet comes into the rings any more, and what is there is waited for.
    fn hear_of_the_end(&mut self, now: Instant) {
        let is_time = self.deadline.is_some_and(|deadline| now >= deadline);
        if self.ending.is_some() || !(is_time || self.shared.stop.load(Ordering::Relaxed)) {
            return;
        }
        for ring in &self.rings {
            // Where that fails, packets go on coming, and the capture ends all the same.
            let _ = ring.filter(&NOTHING);
        }
        self.ending = Some(now + 2 * self.wait + PATIENCE);
    }

    fn write_down(&mut self) {
        let Some(recorder) = &mut self.recorder else { return };
        if let Some(line) = recorder.flush() {
            (self.tell)(&line);
        }
        let told = recorder.counts();
        self.shared.recorded.store(told.packets, Ordering::Relaxed);
        self.shared.recorded_bytes.store(told.bytes, Ordering::Relaxed);
        self.shared.not_recorded.store(told.lost, Ordering::Relaxed);
    }

    fn end(&mut self) {
        self.count(Instant::now());
        self.tell_counters();
        if let Some(recorder) = &mut self.recorder {
            let counted = |of: &PerInterface| [&of.received, &of.dropped].map(|count| count.load(Ordering::Relaxed));
            let counts: Vec<[u64; 2]> = self.shared.interfaces.iter().map(counted).collect();
            let told = recorder.finish(&counts);
            told.iter().for_each(|line| (self.tell)(line));
        }
        self.write_down();
        self.done = true;
        self.shared.ended.store(true, Ordering::Relaxed);
    }

    fn tell_counters(&self) {
        for (state, shared) in self.interfaces.iter().zip(&self.shared.interfaces) {
            shared.taken.store(state.taken, Ordering::Relaxed);
            shared.taken_bytes.store(state.taken_bytes, Ordering::Relaxed);
        }
    }

    /// Asks the kernel what it counted and how the interfaces are.
    fn count(&mut self, now: Instant) {
        self.counted = now;
        for (number, (state, shared)) in self.interfaces.iter_mut().zip(&self.shared.interfaces).enumerate() {
            let name = &state.interface.name;
            let of_it = |ring: &&Ring| ring.interface == number;
            // Whether it was down a moment ago is told once; how it is now is asked.
            let mut trouble = None;
            for ring in self.rings.iter().filter(of_it) {
                let Counted { received, dropped } = ring.counted().unwrap_or_default();
                add(&shared.received, received);
                add(&shared.dropped, dropped);
                trouble = ring.trouble().or(trouble);
            }
            if let Some(error) = trouble
                && !std::mem::replace(&mut state.is_down, true)
            {
                add(&shared.downs, 1);
                shared.is_down.store(true, Ordering::Relaxed);
                (self.tell)(&format!("{name} went down ({error}); its packets are taken again when it is back"));
            }
            let up = self.rings.iter().find(of_it).and_then(|ring| ring.up(name).ok().flatten());
            let Some(index) = up.filter(|_| state.is_down) else { continue };
            state.is_down = false;
            shared.is_down.store(false, Ordering::Relaxed);
            // Where it went, and another one of its name came, the rings hang on nothing.
            let moved = index != state.interface.index;
            state.interface.index = index;
            match self.rings.iter().filter(of_it).filter(|_| moved).try_for_each(|ring| ring.bind(index)) {
                Ok(()) => (self.tell)(&format!("{name} is back")),
                Err(error) => {
                    // Whoever goes on without it sees nothing for months; whoever ends is begun anew.
                    (self.tell)(&format!("{name} is back and cannot be taken up again ({error}): the capture ends"));
                    self.shared.stop.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    /// Waits for packets, a while.
    fn wait(&mut self, now: Instant) {
        let until_look = self.look.saturating_sub(now.duration_since(self.looked));
        let until_end = self.ending.map_or(PATIENCE, |until| until.saturating_duration_since(now));
        let wait = until_look.min(until_end).min(PATIENCE).max(Duration::from_millis(1));
        let mut files: Vec<PollFd<'_>> =
            self.rings.iter().map(|ring| PollFd::new(ring.as_fd(), PollFlags::POLLIN)).collect();
        let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO);
        let troubled = match poll(&mut files, timeout) {
            Ok(_) => files.iter().any(|file| file.revents().is_some_and(|events| events.contains(PollFlags::POLLERR))),
            Err(_) => false,
        };
        if troubled {
            self.count(now);
        }
    }
}

fn add(counter: &AtomicU64, more: u32) {
    counter.fetch_add(more.into(), Ordering::Relaxed);
}

impl Drop for Taker {
    /// Whoever takes no more has the file ended well.
    fn drop(&mut self) {
        if !self.done {
            self.end();
        }
    }
}
