//! Signals while a capture goes on: the end, and SIGHUP, which has the configuration and the model read again.
//!
//! The next pipeline is made beside the one that runs. Where it can be used, the run ends, its open flows with it, and the
//! next one takes the packets that came meanwhile: none is lost. Where it cannot, or nothing has changed, the run goes on.

use super::super::interrupt::Interrupt;
use super::metrics::Metrics;
use super::{Args, without_filter};
use anyhow::{Context, Result, bail};
use signal_hook::consts::SIGHUP;
use signal_hook::flag;
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

/// Makes pipelines anew.
pub(super) struct Reloader {
    args: Args,
    /// The configuration of the pipeline that runs, and the hash of its model and tables.
    current: Config,
    identity: Option<String>,
    reopen: Option<Arc<AtomicBool>>,
    metrics: Arc<Metrics>,
}

impl Reloader {
    pub(super) fn new(
        args: &Args,
        config: &Config,
        pipeline: &Pipeline,
        reopen: Option<Arc<AtomicBool>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { args: args.clone(), current: config.clone(), identity: identity(pipeline), reopen, metrics }
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
        let identity = identity(&pipeline);
        // What tables say, and a challenger, is not compared.
        let all_told = config.tables.folders.is_empty() && config.shadow.model.is_empty();
        if all_told && config == self.current && identity == self.identity {
            return Ok(None);
        }
        (self.current, self.identity) = (config, identity);
        Ok(Some(pipeline))
    }
}

/// What tells models apart.
fn identity(pipeline: &Pipeline) -> Option<String> {
    pipeline.card().and_then(|card| serde_json::to_string(card).ok())
}

/// Waits for signals.
pub(super) struct Watcher {
    next: Arc<Mutex<Option<Arc<Pipeline>>>>,
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Between two looks at what signals left.
const INTERVAL: Duration = Duration::from_millis(50);

impl Watcher {
    pub(super) fn start(mut reloader: Reloader, interrupt: &Interrupt, control: Control) -> Result<Self> {
        let hung_up = Arc::new(AtomicBool::new(false));
        flag::register(SIGHUP, Arc::clone(&hung_up)).context("SIGHUP cannot be caught")?;
        let asked = interrupt.shared();
        let (end, ended) = channel();
        let next = Arc::new(Mutex::new(None));
        let put = Arc::clone(&next);
        let watch = move || {
            while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if asked.load(Ordering::Relaxed) {
                    control.stop();
                }
                if !hung_up.swap(false, Ordering::Relaxed) {
                    continue;
                }
                if let Some(reopen) = &reloader.reopen {
                    reopen.store(true, Ordering::Relaxed);
                }
                reloader.metrics.reloads.fetch_add(1, Ordering::Relaxed);
                match reloader.reload() {
                    Ok(None) => super::super::say("read again: nothing has changed"),
                    Ok(Some(pipeline)) => {
                        super::super::say("read again: from here on by the new configuration and model");
                        *put.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(pipeline));
                        control.turn();
                    }
                    Err(error) => {
                        reloader.metrics.failed_reloads.fetch_add(1, Ordering::Relaxed);
                        super::super::complain(&format!("not read again, the old one goes on: {error:#}"));
                    }
                }
            }
        };
        let thread =
            std::thread::Builder::new().name("signals".into()).spawn(watch).context("no thread for signals")?;
        Ok(Self { next, end: Some(end), thread: Some(thread) })
    }

    /// The pipeline that the next run is to have, where there is another one.
    pub(super) fn next(&self) -> Option<Arc<Pipeline>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.end.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
