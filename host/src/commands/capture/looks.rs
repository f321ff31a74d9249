use super::super::watch::Rate;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use veilwatch::engine::Progress;
use veilwatch::live::Control;
use veilwatch::output::plain;

/// The last line of a terminal, which says how things go; others are written above it. Nothing where there is no terminal.
#[derive(Clone)]
pub(super) struct Looks {
    bar: ProgressBar,
}

/// The line goes when this does.
pub(super) struct Look {
    bar: ProgressBar,
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(250);

impl Looks {
    pub(super) fn new() -> Self {
        Self { bar: ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()) }
    }

    /// Does something that writes to the terminal.
    pub(super) fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }

    /// Tells a line on standard error, whatever is in it.
    pub(super) fn teller(&self) -> impl FnMut(&str) + Send + 'static {
        let looks = self.clone();
        move |line| looks.above(|| super::super::say(&plain(line)))
    }

    /// An output that may be the same terminal.
    pub(super) fn around<W: Write>(&self, inner: W) -> Above<W> {
        Above { looks: self.clone(), inner }
    }

    /// Shows the line from now on.
    pub(super) fn begin(&self, progress: &Arc<Progress>, control: &Control, name: &str) -> Look {
        if !std::io::stderr().is_terminal() {
            return Look { bar: self.bar.clone(), end: None, thread: None };
        }
        self.bar.set_draw_target(ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            self.bar.set_style(style);
        }
        let (end, ended) = channel();
        let (bar, progress, control, name) = (self.bar.clone(), Arc::clone(progress), control.clone(), plain(name));
        let mut rate = Rate::default();
        let thread = std::thread::spawn(move || {
            loop {
                let packets = progress.packets.load(Ordering::Relaxed);
                let counts = control.counts();
                let mut line = format!(
                    "{name}: {} packets ({}/s), {} lost, {} flows, {} alerts",
                    HumanCount(packets),
                    HumanCount(rate.at(Instant::now(), packets)),
                    HumanCount(counts.dropped()),
                    HumanCount(progress.flows.load(Ordering::Relaxed)),
                    HumanCount(progress.alerts.load(Ordering::Relaxed)),
                );
                if counts.recorded_bytes > 0 {
                    line.push_str(&format!(", {} written", indicatif::HumanBytes(counts.recorded_bytes)));
                }
                bar.set_message(line);
                bar.tick();
                if ended.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        Look { bar: self.bar.clone(), end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        self.end.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}

/// Writes above the line.
pub(super) struct Above<W> {
    looks: Looks,
    inner: W,
}

impl<W: Write> Write for Above<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.looks.above(|| self.inner.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.looks.above(|| self.inner.flush())
    }
}
