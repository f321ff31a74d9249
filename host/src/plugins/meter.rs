//! How long plugins take, and what happens when a call does not come back.
//!
//! A thread that is stuck cannot be ended. So a [`Watchdog`] looks at all instances, and where one call takes longer than
//! it may, whoever was named by [`Registry::on_overdue`](super::Registry::on_overdue) ends the program in its own way.
//! Where nobody was named, a call that does come back, too late, still ends the run.
//!
//! Time never decides about a verdict: it ends the run, or it is only told.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use veilwatch_core::plugin::PluginError;

/// One call took longer than `plugins.batch_milliseconds`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "plugin `{id}`: a call took longer than {milliseconds} ms; look for an endless loop, leave the plugin out, or raise \
     `batch_milliseconds` under [plugins]"
)]
pub struct Overdue {
    /// The instance.
    pub id: String,
    /// How long a call may take.
    pub milliseconds: u64,
}

/// Ends the program, or has it end, when a call does not come back.
#[derive(Clone)]
pub struct OnOverdue(Arc<dyn Fn(&Overdue) + Send + Sync>);

impl OnOverdue {
    /// Calls `end`, from a thread of its own.
    pub fn new(end: impl Fn(&Overdue) + Send + Sync + 'static) -> Self {
        Self(Arc::new(end))
    }
}

impl fmt::Debug for OnOverdue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnOverdue")
    }
}

/// Threads whose calls can be watched at the same time; those of others are only counted.
const SLOTS: usize = 64;

/// The calls of one instance.
pub(crate) struct Meter {
    id: String,
    /// 0 for no limit.
    limit_ns: u64,
    calls: AtomicU64,
    total_ns: AtomicU64,
    /// The longest call that came back too late.
    late_ns: AtomicU64,
    /// What went wrong in a call that cannot say so itself.
    trouble: Mutex<Option<PluginError>>,
    /// Since when a thread is in a call, in [`ticks`]; 0 for not at all.
    since: [AtomicU64; SLOTS],
}

/// Of so many brief calls, one is timed.
const SAMPLE: u64 = 16;

/// Nanoseconds since the first call of this function, and 1 more.
fn now() -> u64 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64 + 1
}

/// A clock that ticks every few milliseconds and costs a tenth: enough to tell whether a call comes back. Never 0, as it
/// counts from the start of the machine.
#[cfg(target_os = "linux")]
fn ticks() -> u64 {
    use nix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE);
    time.map_or(1, |time| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

#[cfg(not(target_os = "linux"))]
fn ticks() -> u64 {
    now()
}

/// A number of this thread, from 0.
fn thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    MINE.with(|mine| *mine)
}

impl Meter {
    pub(crate) fn new(id: &str, limit: Duration) -> Arc<Self> {
        Arc::new(Self {
            id: id.to_owned(),
            limit_ns: limit.as_nanos() as u64,
            calls: AtomicU64::new(0),
            total_ns: AtomicU64::new(0),
            late_ns: AtomicU64::new(0),
            trouble: Mutex::new(None),
            since: std::array::from_fn(|_| AtomicU64::new(0)),
        })
    }

    /// Makes one call.
    pub(crate) fn time<T>(&self, call: impl FnOnce() -> T) -> T {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.measured(1, call)
    }

    /// Makes one of very many calls that hardly take longer than looking at a clock: all are watched, and one in
    /// [`SAMPLE`] is timed for all.
    #[inline]
    pub(crate) fn brief<T>(&self, call: impl FnOnce() -> T) -> T {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        if calls.is_multiple_of(SAMPLE) { self.measured(SAMPLE, call) } else { self.watched(call) }
    }

    /// Makes a call that stands for so many.
    fn measured<T>(&self, calls: u64, call: impl FnOnce() -> T) -> T {
        let begin = now();
        let out = self.watched(call);
        self.total_ns.fetch_add((now() - begin) * calls, Ordering::Relaxed);
        out
    }

    #[inline]
    fn watched<T>(&self, call: impl FnOnce() -> T) -> T {
        let begin = ticks();
        let slot = &self.since[thread() % SLOTS];
        // Taken by another thread: nobody looks whether this call comes back.
        let mine = slot.compare_exchange(0, begin, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        let out = call();
        if mine {
            slot.store(0, Ordering::Relaxed);
        }
        let took = ticks().saturating_sub(begin);
        if self.limit_ns > 0 && took > self.limit_ns {
            self.late_ns.fetch_max(took, Ordering::Relaxed);
        }
        out
    }

    /// Keeps what went wrong in a call that cannot say so itself.
    pub(crate) fn note(&self, error: PluginError) {
        if let Ok(mut trouble) = self.trouble.lock() {
            trouble.get_or_insert(error);
        }
    }

    /// What went wrong, if anything did since this was asked last.
    pub(crate) fn trouble(&self) -> Result<(), PluginError> {
        self.trouble.lock().ok().and_then(|mut trouble| trouble.take()).map_or(Ok(()), Err)
    }

    fn error(&self) -> Overdue {
        Overdue { id: self.id.clone(), milliseconds: self.limit_ns / 1_000_000 }
    }

    /// Whether a call came back too late since this was asked last.
    pub(crate) fn late(&self) -> Option<Overdue> {
        (self.late_ns.load(Ordering::Relaxed) > 0 && self.late_ns.swap(0, Ordering::Relaxed) > 0).then(|| self.error())
    }

    /// Whether a call goes on for too long right now.
    fn overdue(&self) -> Option<Overdue> {
        let now = ticks();
        let stuck = |since: &AtomicU64| {
            let since = since.load(Ordering::Relaxed);
            since != 0 && now.saturating_sub(since) > self.limit_ns
        };
        (self.limit_ns > 0 && self.since.iter().any(stuck)).then(|| self.error())
    }

    /// The instance, its calls, and what they took together.
    pub(crate) fn reading(&self) -> (&str, u64, Duration) {
        let total = Duration::from_nanos(self.total_ns.load(Ordering::Relaxed));
        (&self.id, self.calls.load(Ordering::Relaxed), total)
    }
}

/// Looks at calls until it is dropped.
pub(crate) struct Watchdog {
    over: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Watches instances; `None` where nobody wants to hear of it, or no thread can be had.
    pub(crate) fn start(meters: Vec<Arc<Meter>>, tell: Option<&OnOverdue>) -> Option<Self> {
        let tell = tell?.clone();
        let shortest = meters.iter().map(|meter| meter.limit_ns).filter(|limit| *limit > 0).min()?;
        let pause = Duration::from_nanos(shortest / 4).clamp(Duration::from_millis(5), Duration::from_millis(500));
        let over = Arc::new((Mutex::new(false), Condvar::new()));
        let asked = Arc::clone(&over);
        let look = move || {
            let (over, changed) = &*asked;
            let Ok(mut ended) = over.lock() else { return };
            while !*ended {
                match changed.wait_timeout(ended, pause) {
                    Ok((guard, _)) => ended = guard,
                    Err(_) => return,
                }
                if let Some(overdue) = meters.iter().find_map(|meter| meter.overdue()).filter(|_| !*ended) {
                    (tell.0)(&overdue);
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("watchdog".into()).spawn(look).ok()?;
        Some(Self { over, thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if let Ok(mut ended) = self.over.0.lock() {
            *ended = true;
        }
        self.over.1.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn calls_are_counted_and_late_ones_told_once() {
        let meter = Meter::new("slow", Duration::from_millis(5));
        assert_eq!(meter.time(|| 7), 7);
        assert_eq!(meter.late(), None);
        meter.time(|| std::thread::sleep(Duration::from_millis(20)));
        let late = meter.late().unwrap();
        assert_eq!((late.id.as_str(), late.milliseconds), ("slow", 5));
        assert_eq!(meter.late(), None);
        let (id, calls, total) = meter.reading();
        assert!((id, calls) == ("slow", 2) && total >= Duration::from_millis(20));
    }

    #[test]
    fn a_call_that_does_not_come_back_is_told_while_it_lasts() {
        let (said, heard) = channel();
        let tell = OnOverdue::new(move |overdue| said.send(overdue.to_string()).unwrap());
        let meter = Meter::new("stuck", Duration::from_millis(30));
        let watchdog =
            Watchdog::start(vec![Meter::new("fine", Duration::from_secs(60)), Arc::clone(&meter)], Some(&tell));
        meter.time(|| ());
        assert!(heard.recv_timeout(Duration::from_millis(200)).is_err());
        let message = meter.time(|| heard.recv_timeout(Duration::from_secs(60)).unwrap());
        assert!(message.starts_with("plugin `stuck`: a call took longer than 30 ms"), "{message}");
        drop(watchdog);
    }
}
