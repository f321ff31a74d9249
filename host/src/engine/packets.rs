//! The packet stage: blocks of packets become finished flows, shard by shard.

use super::context::Consumer;
use super::summary::PacketCounts;
use super::{EPOCH_PACKETS, Pipeline, RunError, RunOptions, SHARDS};
use crate::filter::Passage;
use crate::source::{Block, Look, Source, SourceError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};
use veilwatch_core::flow::{FlowRecord, FlowTable, Notice, Place};
use veilwatch_core::packet::{Decoded, Decoder, Outer, Packet, Skip};

/// Packets that are looked at together before they are taken in one after the other.
const AHEAD: usize = 16;

/// How late packets may be, in nanoseconds: those of two interfaces, or of two rings of one, are taken one after the other.
const LATE: u64 = 2_000_000_000;

/// What a packet is, as far as it can be read by itself.
struct Ahead<'p> {
    /// Its place among the thread's tables.
    shard: usize,
    /// What is in it; nothing for a packet of another thread, or one that is passed over.
    decoded: Option<Result<Decoded<'p>, Skip>>,
}

/// The shards of one thread.
struct Shards<'a> {
    pipeline: &'a Pipeline,
    /// Which thread this is, of how many.
    index: usize,
    of: usize,
    tables: Vec<FlowTable>,
    decoder: Decoder,
    nesting: u8,
    counts: PacketCounts,
    clock: Clock,
    /// When flows were last looked through for those that have ended.
    swept_ns: u64,
    /// The latest moment that looks at closed flows went by, where packets come by themselves.
    looked_ns: u64,
    /// Records that a look came upon and that wait for the end of the epoch.
    #[allow(clippy::vec_box, reason = "records are large, and travel on in their boxes")]
    kept_back: Vec<Box<FlowRecord>>,
    /// Whether the clock was set back since the last hand-over: flows of the time before end then, and nothing that has
    /// ended waits for its place in time. Not at once: a hostile clock may be set back every hundred packets.
    set_back: bool,
    /// Records that nobody needs any more.
    #[allow(clippy::vec_box, reason = "records are large, and travel on in their boxes")]
    spent: Vec<Box<FlowRecord>>,
}

/// The time of the capture: the latest packet time, but one packet with a broken clock does not move it.
#[derive(Debug, Default)]
struct Clock {
    now_ns: u64,
    /// Packets in a row that disagree by more than [`Clock::LEAP`].
    elsewhere: u32,
}

/// What a packet's time makes of the capture's.
#[derive(Debug, PartialEq, Eq)]
enum Tick {
    /// It goes on.
    On,
    /// It was set back: flows of the time before would wait for their end as long as that took.
    Back,
}

impl Clock {
    /// Further than this is a leap, not the passing of time.
    const LEAP: u64 = 300 * 1_000_000_000;
    /// So many packets in a row are believed.
    const BELIEVED: u32 = 64;

    #[inline]
    fn tick(&mut self, time_ns: u64) -> Tick {
        if self.now_ns != 0 && time_ns.abs_diff(self.now_ns) > Self::LEAP {
            self.elsewhere += 1;
            if self.elsewhere >= Self::BELIEVED {
                let is_back = time_ns < self.now_ns;
                *self = Self { now_ns: time_ns, elsewhere: 0 };
                return if is_back { Tick::Back } else { Tick::On };
            }
        } else {
            self.elsewhere = 0;
            self.now_ns = self.now_ns.max(time_ns);
        }
        Tick::On
    }
}

/// Why a thread hands over what has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// So many packets have passed.
    Epoch,
    /// Somebody waits: packets come by themselves, and an epoch of them may take hours.
    Look(Look),
    /// The capture is over.
    Last,
}

/// What one thread hands over at the end of an epoch.
pub(super) struct HandOver {
    /// Flows that have ended, and early records, in no particular order.
    #[allow(clippy::vec_box, reason = "records are large, and are about to be sorted")]
    pub(super) flows: Vec<Box<FlowRecord>>,
    /// What packets of the epoch told, in the order of each shard's packets.
    pub(super) notices: Vec<Notice>,
    /// No flow that ended before this is still to come, as long as clocks go forward.
    pub(super) watermark_ns: u64,
    /// The time of the capture, the same for every thread.
    pub(super) now_ns: u64,
}

impl<'a> Shards<'a> {
    fn new(pipeline: &'a Pipeline, index: usize, of: usize) -> Self {
        // The seed keeps chosen addresses from colliding in a table; it changes no result.
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos() as u64);
        let mine = (0..SHARDS).filter(|shard| shard % of == index).count();
        let notices = pipeline.config().context.names > 0;
        let table = || FlowTable::new(pipeline.config().flows.clone(), seed);
        let tables = (0..mine).map(|_| if notices { table().with_notices() } else { table() }).collect();
        let decoder = Decoder::new(pipeline.config().flows.decoding(), mine);
        let (counts, clock) = (PacketCounts::default(), Clock::default());
        let nesting = pipeline.config().flows.nesting;
        Self {
            pipeline,
            index,
            of,
            tables,
            decoder,
            nesting,
            counts,
            clock,
            swept_ns: 0,
            looked_ns: 0,
            kept_back: Vec::new(),
            set_back: false,
            spent: Vec::new(),
        }
    }

    /// Takes packets in, in their order; `epoch` is called with what has ended where an epoch ends, and says whether to
    /// go on.
    fn push_all<'p>(
        &mut self,
        mut packets: impl Iterator<Item = (Packet<'p>, Passage)> + Clone,
        mut epoch: impl FnMut(&mut Self) -> bool,
    ) -> bool {
        let mut ahead: Vec<Ahead<'p>> = Vec::with_capacity(AHEAD);
        let mut places: Vec<Option<Place>> = Vec::with_capacity(AHEAD);
        loop {
            let again = packets.clone();
            ahead.clear();
            ahead.extend(packets.by_ref().take(AHEAD).map(|(packet, passage)| self.look_ahead(&packet, passage)));
            if ahead.is_empty() {
                return true;
            }
            // Flows lie all over memory: asked for one after the other, each would be waited for by itself.
            let place = |Ahead { shard, decoded }: &Ahead<'_>| match decoded {
                Some(Ok(decoded)) => Some(self.tables[*shard].place(decoded)),
                _ => None,
            };
            places.clear();
            places.extend(ahead.iter().map(place));
            let mut guesses = [None; AHEAD];
            for (guess, (Ahead { shard, .. }, place)) in guesses.iter_mut().zip(ahead.iter().zip(&places)) {
                if let Some(place) = place {
                    *guess = self.tables[*shard].guess(place).map(|slot| (*shard, slot, place));
                }
            }
            let touch =
                |sum, (shard, slot, place): &(usize, u32, &Place)| sum ^ self.tables[*shard].touch(*slot, place);
            let touched = guesses.iter().flatten().fold(0, touch);
            std::hint::black_box(touched);
            for ((packet, passage), (ahead, place)) in again.zip(ahead.iter().zip(&places)) {
                if self.next(&packet, passage, ahead, place.as_ref()) && !epoch(self) {
                    return false;
                }
            }
        }
    }

    /// Reads a packet as far as it can be read by itself.
    #[inline(always)]
    fn look_ahead<'p>(&self, packet: &Packet<'p>, passage: Passage) -> Ahead<'p> {
        let outer = Outer::of(packet, self.nesting);
        let shard = outer.shard_hint() as usize % SHARDS;
        if self.of > 1 && shard % self.of != self.index || passage != Passage::Seen {
            return Ahead { shard: 0, decoded: None };
        }
        Ahead { shard: shard / self.of, decoded: Some(outer.decode()) }
    }

    #[inline]
    fn push(&mut self, packet: &Packet<'_>, ahead: &Ahead<'_>, place: Option<&Place>) {
        let Ahead { shard, decoded } = ahead;
        let (number, time_ns, templates) = (packet.number, packet.time_ns, self.pipeline.templates());
        let skip = match decoded {
            None => return,
            Some(Ok(decoded)) => {
                let table = &mut self.tables[*shard];
                let place = place.copied().unwrap_or_else(|| table.place(decoded));
                return table.push_at(place, number, time_ns, decoded, templates);
            }
            // It may be the last part that was missing.
            Some(Err(Skip::Fragment)) => match self.decoder.decode(*shard, packet) {
                Ok(decoded) => return self.tables[*shard].push(number, time_ns, &decoded, templates),
                Err(skip) => skip,
            },
            Some(Err(skip)) => *skip,
        };
        self.counts.skipped[skip as usize] += 1;
        if skip == Skip::UnknownLink {
            *self.counts.unknown_links.entry(packet.link.0).or_default() += 1;
        }
    }

    /// Takes a packet, or passes it over; returns whether an epoch ends with it.
    ///
    /// One that the filter keeps out is as if it were not in the capture: it is in no flow and moves no clock. But it has
    /// its number, so that epochs count it.
    #[inline]
    fn next(&mut self, packet: &Packet<'_>, passage: Passage, ahead: &Ahead<'_>, place: Option<&Place>) -> bool {
        self.counts.packets += 1;
        if passage == Passage::Seen {
            self.push(packet, ahead, place);
            self.clock(packet);
        } else {
            self.pass_over(packet, passage);
        }
        packet.number.is_multiple_of(EPOCH_PACKETS)
    }

    #[cold]
    fn pass_over(&mut self, packet: &Packet<'_>, passage: Passage) {
        if passage == Passage::Unfilterable {
            *self.counts.filter_failed.entry(packet.link.0).or_default() += 1;
        } else {
            self.counts.filtered += 1;
        }
    }

    /// Notes what every packet tells, whoever's shard it is.
    #[inline]
    fn clock(&mut self, packet: &Packet<'_>) {
        self.counts.wire_bytes += u64::from(packet.wire_len);
        self.counts.first_ns.get_or_insert(packet.time_ns);
        self.counts.last_ns = self.counts.last_ns.max(packet.time_ns);
        if self.clock.tick(packet.time_ns) == Tick::Back {
            self.counts.clock_set_back += 1;
            self.set_back = true;
        }
    }

    /// What has ended, at the end of an epoch or of the capture, or when somebody waits for it.
    ///
    /// When somebody looks changes when a flow is handed over, never what it says, nor its place in the order. What a look
    /// has from another clock than that of packets is used for flows alone that were closed by then: they say the same
    /// whenever they end.
    fn hand_over(&mut self, turn: Turn) -> HandOver {
        const SECOND: u64 = 1_000_000_000;
        let templates = self.pipeline.templates();
        let now = self.clock.now_ns;
        let (last, is_look) = (turn == Turn::Last, matches!(turn, Turn::Look(_)));
        if is_look && self.set_back {
            // What a clock that was set back does is of the capture: it waits for the end of the epoch, and all with it.
            return HandOver { flows: Vec::new(), notices: Vec::new(), watermark_ns: 0, now_ns: now };
        }
        // Every packet to come is of a later time than this, where that is known.
        let quiet_ns = match turn {
            Turn::Look(look) => look.nothing_before_ns.filter(|quiet| *quiet > now),
            _ => None,
        };
        // Packets that are a little late find their flows as they would without a look.
        let sweep_now = if is_look && quiet_ns.is_none() { now.saturating_sub(LATE) } else { now };
        let closed_now = quiet_ns.unwrap_or(sweep_now);
        // A sweep looks at every flow: once in a second of packet time is enough.
        let apart = if is_look { sweep_now.saturating_sub(self.swept_ns) } else { now.abs_diff(self.swept_ns) };
        let sweep = apart >= SECOND || closed_now.saturating_sub(self.looked_ns) >= SECOND;
        if sweep && !last {
            // Flows that end lie all over memory: all of them are on their way before the first is looked at.
            self.tables.iter_mut().for_each(|table| table.look_for_due(closed_now));
            std::hint::black_box(self.tables.iter().fold(0, |sum, table| sum ^ table.touch_due()));
        }
        let set_back = std::mem::take(&mut self.set_back);
        if set_back {
            let future_ns = now.saturating_add(Clock::LEAP);
            self.tables.iter_mut().for_each(|table| table.end_future(future_ns, now, templates));
        }
        let (mut flows, mut notices) = (std::mem::take(&mut self.kept_back), Vec::new());
        for table in &mut self.tables {
            notices.extend(table.drain_notices());
            if last {
                table.finish_all(now, templates);
                self.counts.flows.add(table.counters());
            } else if sweep {
                table.expire_due(sweep_now, closed_now, templates);
            }
            let finished = table.drain_finished();
            let count = finished.len();
            flows.extend(finished);
            // As many as it gave away come back to it.
            self.spent.drain(self.spent.len().saturating_sub(count)..).for_each(|record| table.reuse(record));
        }
        if is_look {
            // Where a flow that ended in the future belongs is for the end of the epoch to say.
            self.kept_back = flows.extract_if(.., |flow| flow.ended_ns > now).collect();
        }
        if last {
            self.counts.fragments = self.decoder.finish();
        }
        if sweep {
            (self.swept_ns, self.looked_ns) = (sweep_now, closed_now);
        }
        // A closed flow lingers before it is handed over.
        let linger = u64::from(self.pipeline.config().flows.linger_seconds) * SECOND;
        let watermark_ns = if last || set_back {
            u64::MAX
        } else if quiet_ns.is_some() {
            // Those that fall silent are handed over up to the last sweep; all others to come end later.
            self.swept_ns.saturating_add(1).min(self.looked_ns.saturating_sub(linger))
        } else {
            self.swept_ns.saturating_sub(linger)
        };
        HandOver { flows, notices, watermark_ns, now_ns: now }
    }
}

/// Reads blocks until the end, the packet limit or a stop, and hands each to `each` with the number of packets to look
/// at in it.
fn read(
    source: &mut Source,
    options: RunOptions<'_>,
    mut recycled: impl FnMut() -> Option<Block>,
    mut each: impl FnMut(Block, usize) -> bool,
) -> Result<Ended, SourceError> {
    let limit = options.packets.unwrap_or(u64::MAX);
    let mut seen = 0u64;
    let mut ended = Ended { interrupted: false, packet_limit: false };
    while seen < limit {
        if options.stop.load(Ordering::Relaxed) {
            ended.interrupted = true;
            break;
        }
        let Some(block) = source.next_block(recycled())? else {
            ended.interrupted = source.interrupted();
            return Ok(ended);
        };
        options.progress.read(source);
        let take = (block.len() as u64).min(limit - seen);
        seen += take;
        if !each(block, take as usize) {
            break;
        }
    }
    ended.packet_limit = seen >= limit;
    Ok(ended)
}

/// Why reading stopped, beside the end of the capture.
struct Ended {
    interrupted: bool,
    packet_limit: bool,
}

impl Ended {
    /// What the shards counted, with what only the reader knows.
    fn told(&self, source: &Source, counts: PacketCounts) -> PacketCounts {
        PacketCounts {
            damage: source.status().damage.clone(),
            filter: source.filter().cloned(),
            interrupted: self.interrupted,
            packet_limit: self.packet_limit,
            ..counts
        }
    }
}

/// Everything in the caller's thread.
pub(super) fn run_inline(
    pipeline: &Pipeline,
    mut source: Source,
    options: RunOptions<'_>,
    consumer: &mut Consumer<'_>,
) -> Result<PacketCounts, RunError> {
    let mut shards = Shards::new(pipeline, 0, 1);
    let spare = std::cell::Cell::new(None);
    let mut failed = None;
    let ended = read(
        &mut source,
        options,
        || spare.take(),
        |block, take| {
            let mut hand_over = |shards: &mut Shards<'_>, turn| {
                let outcome = consumer.epoch(shards.hand_over(turn));
                consumer.give_back(&mut shards.spent);
                failed = outcome.err();
                failed.is_none()
            };
            let go_on = shards.push_all(block.filtered().take(take), |shards| hand_over(shards, Turn::Epoch))
                && block.look().is_none_or(|look| hand_over(&mut shards, Turn::Look(look)));
            spare.set(Some(block));
            go_on
        },
    )?;
    if let Some(error) = failed {
        return Err(error);
    }
    consumer.epoch(shards.hand_over(Turn::Last))?;
    Ok(ended.told(&source, shards.counts))
}

/// A block on its way to every thread of the packet stage.
#[derive(Clone)]
struct Parcel {
    block: Arc<Block>,
    take: usize,
}

/// Blocks in flight to one thread: enough to smooth out, few enough to bound memory.
const QUEUE: usize = 8;

/// One thread reads, `workers` threads hold the shards, the caller's thread is the consumer.
pub(super) fn run_threads(
    pipeline: &Pipeline,
    source: Source,
    options: RunOptions<'_>,
    consumer: &mut Consumer<'_>,
) -> Result<PacketCounts, RunError> {
    let workers = options.workers.clamp(1, SHARDS);
    let spare = Mutex::new(Vec::new());
    let spent = Mutex::new(Vec::new());
    let given_up = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (mut to_workers, mut from_workers) = (Vec::new(), Vec::new());
        let mut threads = Vec::new();
        for index in 0..workers {
            let (parcels, incoming) = sync_channel::<Parcel>(QUEUE);
            let (outgoing, epochs) = sync_channel::<HandOver>(QUEUE);
            to_workers.push(parcels);
            from_workers.push(epochs);
            let memory = (&spare, &spent);
            threads.push(scope.spawn(move || work(pipeline, index, workers, &incoming, &outgoing, memory)));
        }
        let (spare, given_up) = (&spare, &given_up);
        let reader = scope.spawn(move || feed(source, options, &to_workers, spare, given_up));
        let consumed = consume(consumer, &from_workers, &spent);
        // Without a consumer nobody needs the rest: threads end when their channels close.
        given_up.store(consumed.is_err(), Ordering::Relaxed);
        drop(from_workers);
        let mut counts = PacketCounts::default();
        let mut broken = false;
        for (index, thread) in threads.into_iter().enumerate() {
            match thread.join() {
                Ok(part) if index == 0 => counts = part,
                Ok(part) => counts.add_shards(&part),
                Err(_) => broken = true,
            }
        }
        let read = reader.join();
        consumed?;
        match read {
            Ok(Ok((ended, source))) if !broken => Ok(ended.told(&source, counts)),
            Ok(Err(error)) => Err(error.into()),
            _ => Err(RunError::Output(std::io::Error::other("a thread of the engine ended unexpectedly"))),
        }
    })
}

fn feed(
    mut source: Source,
    options: RunOptions<'_>,
    to_workers: &[SyncSender<Parcel>],
    spare: &Mutex<Vec<Block>>,
    given_up: &AtomicBool,
) -> Result<(Ended, Source), SourceError> {
    let ended = read(
        &mut source,
        options,
        || spare.lock().ok().and_then(|mut blocks| blocks.pop()),
        |block, take| {
            let parcel = Parcel { block: Arc::new(block), take };
            !given_up.load(Ordering::Relaxed) && to_workers.iter().all(|worker| worker.send(parcel.clone()).is_ok())
        },
    )?;
    Ok((ended, source))
}

#[allow(clippy::vec_box, reason = "records are large, and travel on in their boxes")]
fn work(
    pipeline: &Pipeline,
    index: usize,
    of: usize,
    incoming: &Receiver<Parcel>,
    outgoing: &SyncSender<HandOver>,
    (spare, spent): (&Mutex<Vec<Block>>, &Mutex<Vec<Box<FlowRecord>>>),
) -> PacketCounts {
    let mut shards = Shards::new(pipeline, index, of);
    while let Ok(Parcel { block, take }) = incoming.recv() {
        let hand_over = |shards: &mut Shards<'_>, turn| {
            if let Ok(mut spent) = spent.lock() {
                std::mem::swap(&mut *spent, &mut shards.spent);
            }
            outgoing.send(shards.hand_over(turn)).is_ok()
        };
        let go_on = shards.push_all(block.filtered().take(take), |shards| hand_over(shards, Turn::Epoch))
            && block.look().is_none_or(|look| hand_over(&mut shards, Turn::Look(look)));
        if !go_on {
            return shards.counts;
        }
        // The last thread to finish a block gives its memory back to the reader.
        if let Some(block) = Arc::into_inner(block)
            && let Ok(mut blocks) = spare.lock()
        {
            blocks.push(block);
        }
    }
    // A consumer that is gone needs no last epoch.
    let last = shards.hand_over(Turn::Last);
    match outgoing.try_send(last) {
        Err(TrySendError::Full(last)) => {
            let _ = outgoing.send(last);
        }
        Ok(()) | Err(TrySendError::Disconnected(_)) => {}
    }
    shards.counts
}

/// Takes one hand-over from every thread, epoch by epoch, until all have ended.
#[allow(clippy::vec_box, reason = "records are large, and travel on in their boxes")]
fn consume(
    consumer: &mut Consumer<'_>,
    from_workers: &[Receiver<HandOver>],
    spent: &Mutex<Vec<Box<FlowRecord>>>,
) -> Result<(), RunError> {
    loop {
        let mut epoch = HandOver { flows: Vec::new(), notices: Vec::new(), watermark_ns: u64::MAX, now_ns: 0 };
        let mut open = 0;
        for worker in from_workers {
            if let Ok(mut part) = worker.recv() {
                open += 1;
                epoch.flows.append(&mut part.flows);
                epoch.notices.append(&mut part.notices);
                epoch.watermark_ns = epoch.watermark_ns.min(part.watermark_ns);
                epoch.now_ns = part.now_ns;
            }
        }
        if open == 0 {
            return Ok(());
        }
        consumer.epoch(epoch)?;
        if let Ok(mut spent) = spent.lock() {
            consumer.give_back(&mut spent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broken_clock_does_not_move_the_time() {
        const HOUR: u64 = 3600 * 1_000_000_000;
        let mut clock = Clock::default();
        let (near, far) = (6 * HOUR - HOUR / 13, 6 * HOUR + HOUR / 11);
        for time in [6 * HOUR, 400_000 * HOUR, 6 * HOUR + 1, 2, near, far, 6 * HOUR + 2] {
            assert_eq!(clock.tick(time), Tick::On);
        }
        assert_eq!(clock.now_ns, 6 * HOUR + 2);
        // A capture that goes on years later is believed after a while, and so is one that goes back.
        assert!((0..64).all(|at| clock.tick(9000 * HOUR + at) == Tick::On));
        assert_eq!(clock.now_ns, 9000 * HOUR + 63);
        let back = |begin: u64| move |at: u64| begin + at;
        for begin in [HOUR, HOUR / 2] {
            let ticks: Vec<Tick> = (0..64).map(back(begin)).map(|time| clock.tick(time)).collect();
            assert!(ticks[..63].iter().all(|tick| *tick == Tick::On) && ticks[63] == Tick::Back);
            assert_eq!(clock.now_ns, begin + 63);
        }
    }
}
