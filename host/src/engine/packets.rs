//! The packet stage: blocks of packets become finished flows, shard by shard.

use super::context::Consumer;
use super::summary::PacketCounts;
use super::{EPOCH_PACKETS, Pipeline, RunError, RunOptions, SHARDS};
use crate::filter::Passage;
use crate::source::{Block, Source, SourceError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};
use veilwatch_core::flow::{FlowRecord, FlowTable, Notice, Place};
use veilwatch_core::packet::{Decoded, Decoder, Outer, Packet, Skip};

/// Packets that are looked at together before they are taken in one after the other.
const AHEAD: usize = 16;

/// What a packet is, as far as it can be read by itself.
struct Ahead<'p> {
    /// Its place among the thread's tables.
    shard: usize,
    /// What is in it, and where its flow is; nothing for a packet of another thread, or one that is passed over.
    decoded: Option<Result<(Decoded<'p>, Place), Skip>>,
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

impl Clock {
    /// Further than this is a leap, not the passing of time.
    const LEAP: u64 = 3600 * 1_000_000_000;
    /// So many packets in a row are believed.
    const BELIEVED: u32 = 64;

    fn tick(&mut self, time_ns: u64) {
        if self.now_ns != 0 && time_ns.abs_diff(self.now_ns) > Self::LEAP {
            self.elsewhere += 1;
            if self.elsewhere >= Self::BELIEVED {
                *self = Self { now_ns: time_ns, elsewhere: 0 };
            }
        } else {
            self.elsewhere = 0;
            self.now_ns = self.now_ns.max(time_ns);
        }
    }
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
        Self { pipeline, index, of, tables, decoder, nesting, counts, clock, swept_ns: 0, spent: Vec::new() }
    }

    /// Takes packets in, in their order; `epoch` is called with what has ended where an epoch ends, and says whether to
    /// go on.
    fn push_all<'p>(
        &mut self,
        mut packets: impl Iterator<Item = (Packet<'p>, Passage)> + Clone,
        mut epoch: impl FnMut(&mut Self) -> bool,
    ) -> bool {
        let mut ahead: Vec<Ahead<'p>> = Vec::with_capacity(AHEAD);
        loop {
            let again = packets.clone();
            ahead.clear();
            ahead.extend(packets.by_ref().take(AHEAD).map(|(packet, passage)| self.look_ahead(&packet, passage)));
            if ahead.is_empty() {
                return true;
            }
            // Flows lie all over memory: asked for one after the other, each would be waited for by itself.
            let mut guesses = [None; AHEAD];
            for (guess, Ahead { shard, decoded }) in guesses.iter_mut().zip(&ahead) {
                if let Some(Ok((_, place))) = decoded {
                    *guess = self.tables[*shard].guess(place).map(|slot| (*shard, slot));
                }
            }
            let touched = guesses.iter().flatten().fold(0, |sum, (shard, slot)| sum ^ self.tables[*shard].touch(*slot));
            std::hint::black_box(touched);
            for ((packet, passage), ahead) in again.zip(&ahead) {
                if self.next(&packet, passage, ahead) && !epoch(self) {
                    return false;
                }
            }
        }
    }

    /// Reads a packet as far as it can be read by itself.
    #[inline]
    fn look_ahead<'p>(&self, packet: &Packet<'p>, passage: Passage) -> Ahead<'p> {
        let outer = Outer::of(packet, self.nesting);
        let shard = outer.shard_hint() as usize % SHARDS;
        if self.of > 1 && shard % self.of != self.index || passage != Passage::Seen {
            return Ahead { shard: 0, decoded: None };
        }
        let shard = shard / self.of;
        let decoded = outer.decode().map(|decoded| (decoded, self.tables[shard].place(&decoded)));
        Ahead { shard, decoded: Some(decoded) }
    }

    #[inline]
    fn push(&mut self, packet: &Packet<'_>, ahead: &Ahead<'_>) {
        let Ahead { shard, decoded } = ahead;
        let (number, time_ns, templates) = (packet.number, packet.time_ns, self.pipeline.templates());
        let skip = match decoded {
            None => return,
            Some(Ok((decoded, place))) => {
                return self.tables[*shard].push_at(*place, number, time_ns, decoded, templates);
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
    fn next(&mut self, packet: &Packet<'_>, passage: Passage, ahead: &Ahead<'_>) -> bool {
        self.counts.packets += 1;
        if passage == Passage::Seen {
            self.push(packet, ahead);
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
        self.clock.tick(packet.time_ns);
    }

    /// What has ended, at the end of an epoch or of the capture.
    fn hand_over(&mut self, last: bool) -> HandOver {
        const SECOND: u64 = 1_000_000_000;
        let templates = self.pipeline.templates();
        let now = self.clock.now_ns;
        // A sweep looks at every flow: once in a second of packet time is enough.
        let sweep = now.abs_diff(self.swept_ns) >= SECOND;
        let (mut flows, mut notices) = (Vec::new(), Vec::new());
        for table in &mut self.tables {
            notices.extend(table.drain_notices());
            if last {
                table.finish_all(now, templates);
                self.counts.flows.add(table.counters());
            } else if sweep {
                table.expire(now, templates);
            }
            let finished = table.drain_finished();
            let count = finished.len();
            flows.extend(finished);
            // As many as it gave away come back to it.
            self.spent.drain(self.spent.len().saturating_sub(count)..).for_each(|record| table.reuse(record));
        }
        if last {
            self.counts.fragments = self.decoder.finish();
        }
        if sweep {
            self.swept_ns = now;
        }
        // A closed flow lingers before it is handed over.
        let linger = u64::from(self.pipeline.config().flows.linger_seconds) * SECOND;
        let watermark_ns = if last { u64::MAX } else { self.swept_ns.saturating_sub(linger) };
        HandOver { flows, notices, watermark_ns }
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
            let go_on = shards.push_all(block.filtered().take(take), |shards| {
                let outcome = consumer.epoch(shards.hand_over(false));
                consumer.give_back(&mut shards.spent);
                failed = outcome.err();
                failed.is_none()
            });
            spare.set(Some(block));
            go_on
        },
    )?;
    if let Some(error) = failed {
        return Err(error);
    }
    consumer.epoch(shards.hand_over(true))?;
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
    let workers = options.workers.min(SHARDS);
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
        let go_on = shards.push_all(block.filtered().take(take), |shards| {
            if let Ok(mut spent) = spent.lock() {
                std::mem::swap(&mut *spent, &mut shards.spent);
            }
            outgoing.send(shards.hand_over(false)).is_ok()
        });
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
    let last = shards.hand_over(true);
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
        let mut epoch = HandOver { flows: Vec::new(), notices: Vec::new(), watermark_ns: u64::MAX };
        let mut open = 0;
        for worker in from_workers {
            if let Ok(mut part) = worker.recv() {
                open += 1;
                epoch.flows.append(&mut part.flows);
                epoch.notices.append(&mut part.notices);
                epoch.watermark_ns = epoch.watermark_ns.min(part.watermark_ns);
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
        [5 * HOUR, 6 * HOUR, 400_000 * HOUR, 6 * HOUR + 1, 2, 6 * HOUR + 2].iter().for_each(|time| clock.tick(*time));
        assert_eq!(clock.now_ns, 6 * HOUR + 2);
        // A capture that goes on years later is believed after a while, and so is one that goes back.
        (0..64).for_each(|at| clock.tick(9000 * HOUR + at));
        assert_eq!(clock.now_ns, 9000 * HOUR + 63);
        (0..64).for_each(|at| clock.tick(HOUR + at));
        assert_eq!(clock.now_ns, HOUR + 63);
    }
}
