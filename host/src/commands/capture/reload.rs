//! Signals while a capture goes on: the end, and SIGHUP, which has the configuration and the model read again.
//!
//! The next pipeline is made beside the one that runs. Where it can be used, the run ends, its open flows with it, and the
//! next one takes the packets that came meanwhile: none is lost. Where it cannot, or nothing has changed, the run goes on.

use super::super::interrupt::{Interrupt, Output};
use super::metrics::Metrics;
use super::{Args, without_filter};
use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGUSR1, SIGXFSZ};
use signal_hook::flag;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use veilwatch::config::Config;
use veilwatch::engine::Pipeline;
use veilwatch::live::Control;
use veilwatch::plugins::Registry;

/// Gets a line that a person should know of.
type Tell = Box<dyn FnMut(&str) + Send>;

/// What signals ask for.
pub(super) struct Signals {
    interrupt: Interrupt,
    /// SIGHUP: everything is read again. At a terminal that is gone, it is the end.
    hung_up: Arc<AtomicBool>,
    /// SIGUSR1: the log is opened anew, and nothing else.
    moved: Arc<AtomicBool>,
    at_terminal: bool,
}

impl Signals {
    pub(super) fn listen(interrupt: Interrupt) -> Result<Self> {
        let (hung_up, moved) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        flag::register(SIGHUP, Arc::clone(&hung_up)).context("SIGHUP cannot be caught")?;
        flag::register(SIGUSR1, Arc::clone(&moved)).context("SIGUSR1 cannot be caught")?;
        // A file that may not grow is one that cannot be written, and no reason to end.
        flag::register(SIGXFSZ, Arc::default()).context("SIGXFSZ cannot be caught")?;
        let at_terminal = std::io::stdin().is_terminal() || std::io::stderr().is_terminal();
        Ok(Self { interrupt, hung_up, moved, at_terminal })
    }

    pub(super) fn stdout(&self) -> std::io::Result<Output> {
        self.interrupt.stdout()
    }
}

/// Makes pipelines anew.
pub(super) struct Reloader {
    args: Args,
    /// The configuration of the pipeline that runs, and what tells its models and tables from others.
    current: Config,
    identity: String,
    reopen: Option<Arc<AtomicBool>>,
    metrics: Arc<Metrics>,
    tell: Tell,
}

impl Reloader {
    pub(super) fn new(
        args: &Args,
        config: &Config,
        pipeline: &Pipeline,
        reopen: Option<Arc<AtomicBool>>,
        metrics: Arc<Metrics>,
        tell: Tell,
    ) -> Self {
        let (args, current, identity) = (args.clone(), config.clone(), pipeline.identity());
        Self { args, current, identity, reopen, metrics, tell }
    }

    /// Reads all again, and has the run end where there is another pipeline.
    fn again(&mut self, next: &Mutex<Option<Arc<Pipeline>>>, control: &Control) {
        self.metrics.reloads.fetch_add(1, Ordering::Relaxed);
        match self.reload() {
            Ok(None) => (self.tell)("read again: nothing has changed"),
            Ok(Some(pipeline)) => {
                (self.tell)("read again: from here on by the new configuration and model");
                *next.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(pipeline));
                control.turn();
            }
            Err(error) => {
                self.metrics.failed_reloads.fetch_add(1, Ordering::Relaxed);
                let confined = error.chain().any(|cause| {
                    let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
                    kind == Some(std::io::ErrorKind::PermissionDenied)
                        || cause.to_string().contains("Permission denied")
                });
                let hint = if confined && self.current.live.sandbox {
                    "; this process can read only what lies in the folders that were named when it began: begin anew"
                } else {
                    ""
                };
                (self.tell)(&format!("error: not read again, the old one goes on: {error:#}{hint}"));
            }
        }
    }

    /// The next pipeline, where it is another.
    fn reload(&mut self) -> Result<Option<Pipeline>> {
        let config = self.args.config()?;
        if config.input.filter != self.current.input.filter || config.live != self.current.live {
            bail!("`input.filter` and [live] are the interface's; begin anew to change them");
        }
        let libraries = |config: &Config| -> Vec<PathBuf> {
            config.plugin.iter().filter_map(|entry| entry.path.clone()).chain(config.plugins.folders.clone()).collect()
        };
        if libraries(&config) != libraries(&self.current) {
            bail!("libraries are loaded before rights are given up; begin anew to change them");
        }
        // They were tried when the capture began: a confined process starts no other.
        let mut registry = super::super::bounded(Registry::with_builtins()?);
        let pipeline = Pipeline::new(without_filter(config.clone()), &mut registry)?;
        let identity = pipeline.identity();
        if config == self.current && identity == self.identity {
            return Ok(None);
        }
        (self.current, self.identity) = (config, identity);
        Ok(Some(pipeline))
    }
}

/// Waits for signals, in two threads: who reads a model for a while does not keep the end waiting.
pub(super) struct Watcher {
    next: Arc<Mutex<Option<Arc<Pipeline>>>>,
    ends: Vec<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// Between two looks at what signals left.
const INTERVAL: Duration = Duration::from_millis(50);

impl Watcher {
    pub(super) fn start(mut reloader: Reloader, signals: &Signals, control: Control) -> Result<Self> {
        let mut watcher = Self { next: Arc::default(), ends: Vec::new(), threads: Vec::new() };
        let (asked, hung_up, at_terminal) =
            (signals.interrupt.shared(), Arc::clone(&signals.hung_up), signals.at_terminal);
        let stop = control.clone();
        watcher.watch("end", move || {
            if asked.load(Ordering::Relaxed) || at_terminal && hung_up.load(Ordering::Relaxed) {
                stop.stop();
            }
        })?;
        let (hung_up, moved) = (Arc::clone(&signals.hung_up), Arc::clone(&signals.moved));
        let next = Arc::clone(&watcher.next);
        watcher.watch("reload", move || {
            let hup = !at_terminal && hung_up.swap(false, Ordering::Relaxed);
            if hup || moved.swap(false, Ordering::Relaxed) {
                reloader.reopen.iter().for_each(|reopen| reopen.store(true, Ordering::Relaxed));
            }
            if hup {
                reloader.again(&next, &control);
            }
        })?;
        Ok(watcher)
    }

    /// Looks now and then, in a thread of its own.
    fn watch(&mut self, name: &str, mut look: impl FnMut() + Send + 'static) -> Result<()> {
        let (end, ended) = channel();
        let watch = move || {
            while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                look();
            }
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(watch).context("no thread for signals")?;
        self.ends.push(end);
        self.threads.push(thread);
        Ok(())
    }

    /// The pipeline that the next run is to have, where there is another one.
    pub(super) fn next(&self) -> Option<Arc<Pipeline>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.ends.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
