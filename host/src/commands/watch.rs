//! Progress on a terminal, for anything that takes longer than two seconds.

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use veilwatch::engine::Progress;

/// Shows progress until it is dropped; nothing where standard error is no terminal.
pub(super) struct Watch {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a watch shows: how much is done, of how much, and a few words.
pub(super) type Look = Box<dyn FnMut() -> (u64, Option<u64>, String) + Send>;

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(100);

impl Watch {
    /// Shows how far a run over a capture has come; `total` is the size of the file in bytes, where it has one.
    pub(super) fn capture(progress: &Arc<Progress>, total: Option<u64>) -> Self {
        let progress = Arc::clone(progress);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut rate = Rate::default();
        let look = move || {
            let words = format!(
                "{} packets/s, {} flows, {} alerts",
                HumanCount(rate.at(Instant::now(), read(&progress.packets))),
                HumanCount(read(&progress.flows)),
                HumanCount(read(&progress.alerts))
            );
            (read(&progress.bytes), total, words)
        };
        Self::start(true, Box::new(look))
    }

    /// Looks on with `look` ten times a second; `bytes` says that it counts bytes.
    pub(super) fn start(bytes: bool, mut look: Look) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { end: None, thread: None };
        }
        let (end, ended) = channel();
        let thread = std::thread::spawn(move || {
            if ended.recv_timeout(Duration::from_secs(2)) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let template = match (bytes, look().1.is_some()) {
                (true, true) => "{bar:30} {bytes}/{total_bytes} {msg}",
                (true, false) => "{spinner} {bytes} {msg}",
                (false, _) => "{bar:30} {pos}/{len} {msg}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            loop {
                let (done, total, words) = look();
                if let Some(total) = total {
                    bar.set_length(total);
                }
                bar.set_position(done);
                bar.set_message(words);
                // A spinner turns by itself only where something is done; here that shows that the program lives.
                bar.tick();
                if ended.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    bar.finish_and_clear();
                    return;
                }
            }
        });
        Self { end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How fast a counter grows: over the last second or so, and not since the beginning.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// Times and values, the oldest first.
    seen: VecDeque<(Instant, u64)>,
}

impl Rate {
    const SPAN: Duration = Duration::from_secs(1);

    /// Takes the counter's value at a time, and gives what it grew by in a second.
    pub(super) fn at(&mut self, now: Instant, value: u64) -> u64 {
        // The newest that is a second old stays, so that a whole second is looked at.
        while self.seen.get(1).is_some_and(|(time, _)| now - *time >= Self::SPAN) {
            self.seen.pop_front();
        }
        self.seen.push_back((now, value));
        let (from, before) = self.seen[0];
        let seconds = (now - from).as_secs_f64();
        if seconds > 0.0 { (value.saturating_sub(before) as f64 / seconds).round() as u64 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_second() {
        let (begin, mut rate) = (Instant::now(), Rate::default());
        let mut at = |tenths: u64, value| rate.at(begin + Duration::from_millis(100 * tenths), value);
        assert_eq!(at(0, 500), 0);
        assert_eq!(at(1, 600), 1000);
        (2..=10).for_each(|tenth| assert_eq!(at(tenth, 500 + 100 * tenth), 1000));
        // Nothing comes any more.
        assert_eq!(at(15, 1500), 500);
        assert_eq!(at(20, 1500), 0);
        assert_eq!(at(60, 1500), 0);
        // And twice as fast.
        (61..=80).for_each(|tenth| _ = at(tenth, 1500 + 200 * (tenth - 60)));
        assert_eq!(at(81, 5700), 2000);
    }
}
