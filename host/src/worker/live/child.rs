use super::say::*;
use super::tell::{Telling, say};
use crate::config::{Config, ShadowSettings};
use crate::engine::{self, Pipeline, Progress, RunOptions};
use crate::live::{Control, Live, LiveError, LiveSettings, Reach, Recording, Wanted, confine_session};
use crate::output::bounded;
use crate::plugins::Registry;
use crate::sandbox;
use crate::worker::LINE_BYTES;
use crate::worker::events::Events;
use std::fmt::Display;
use std::io::{BufRead, Read};
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Time between two words on how it goes.
const EVERY: Duration = Duration::from_millis(250);
/// Messages of the capture that are told between two of them; of more only so many.
const WORDS: usize = 8;
/// Threads of the packet stage at most.
const WORKERS: u16 = 64;

/// Captures until its end, which is the process's.
pub(in crate::worker) fn run(order: &LiveOrder, events: &Events) -> ! {
    match work(order, events) {
        Ok(end) => {
            say(events, &LiveSaid::Ended(end));
            process::exit(0)
        }
        Err(refused) => {
            say(events, &LiveSaid::Refused(refused));
            process::exit(1)
        }
    }
}

fn refused(why: LiveRefusal, words: impl Display) -> LiveRefused {
    LiveRefused { why, words: bounded(words.to_string().as_bytes(), LIVE_WORDS_BYTES) }
}

fn work(order: &LiveOrder, events: &Events) -> Result<LiveEnd, LiveRefused> {
    let of_pipeline = |error: &dyn Display| refused(LiveRefusal::Pipeline, error);
    sandbox::limit(&order.limits).map_err(|error| refused(LiveRefusal::Sandbox, error))?;
    let mut config = match &order.pipeline {
        Some(path) => Config::load(path),
        None => Config::builtin(),
    }
    .map_err(|error| of_pipeline(&error))?;
    // No page tells of a challenger.
    config.shadow = ShadowSettings::default();
    config.tables.folders.extend(order.tables.clone());
    if let Some(choice) = &order.model {
        config.model.clone_from(&choice.name);
        config.models.clone_from(&choice.models);
    }
    // The interface asks the filter: what it keeps out is not there.
    let of_pipeline_filter = std::mem::take(&mut config.input.filter);
    let wanted = Wanted {
        interfaces: vec![order.interface.clone()],
        promiscuous: order.promiscuous,
        filter: if order.capture_filter.trim().is_empty() { of_pipeline_filter } else { order.capture_filter.clone() },
        recording: Some(Recording { path: order.recording.clone(), ring: None }),
        packets: Some(order.packets),
        duration: Some(Duration::from_secs(order.seconds)),
        bytes: Some(order.bytes),
    };
    let settings = LiveSettings { ring_bytes: order.ring_bytes, rings: 1, ..config.live.clone() };
    let begin = Instant::now();
    let (put, words) = mpsc::sync_channel(WORDS);
    let tell = move |line: &str| _ = put.try_send(bounded(line.as_bytes(), LIVE_WORDS_BYTES));
    let live = Live::open(&wanted, &settings, tell).map_err(|error| refused(kind(&error), error))?;
    // What it captures from here on waits in the ring. No byte of it is looked at before all is given up.
    if let Err(error) = confine_session(&reach(&config)) {
        if !order.limits.without_sandbox {
            return Err(refused(LiveRefusal::Sandbox, error));
        }
        eprintln!("going on without a sandbox: {error}");
    }
    let (control, asked) = (live.control(), Arc::new(AtomicBool::new(false)));
    listen(control.clone(), Arc::clone(&asked)).map_err(|error| refused(LiveRefusal::Sandbox, error))?;
    let mut registry = Registry::with_builtins().map_err(|error| of_pipeline(&error))?;
    let pipeline = Pipeline::new(config, &mut registry).map_err(|error| of_pipeline(&error))?;
    say(events, &LiveSaid::Begun);
    let (progress, never) = (Progress::default(), AtomicBool::new(false));
    let workers = usize::from(order.workers.clamp(1, WORKERS));
    let options = RunOptions { workers, packets: None, stop: &never, progress: &progress };
    let templates = pipeline.template_ids().iter().map(|id| Arc::from(id.as_str())).collect();
    let mut sink = Telling::new(events, templates, order.alerts);
    let outcome = thread::scope(|scope| {
        let (done, ended) = mpsc::channel::<()>();
        let (control, progress) = (&control, &progress);
        let teller = thread::Builder::new().name("progress".into()).spawn_scoped(scope, move || {
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                tell_on(events, control, progress, &words);
            }
            tell_on(events, control, progress, &words);
        });
        // Nobody would learn how it goes.
        teller.map_err(|error| refused(LiveRefusal::Sandbox, error))?;
        let outcome = engine::run(&pipeline, live.source(), options, &mut sink);
        drop(done);
        outcome.map_err(|error| refused(LiveRefusal::Plugin, error))
    });
    // The file is ended well in any case.
    drop(live);
    outcome?;
    let now = now(&control, &progress);
    let is_time = begin.elapsed() >= Duration::from_secs(order.seconds);
    let why = match () {
        () if now.not_recorded > 0 => LiveEnding::Disk,
        () if asked.load(Ordering::Relaxed) => LiveEnding::Stopped,
        () if now.packets >= order.packets => LiveEnding::Packets,
        () if now.file_bytes >= order.bytes => LiveEnding::Bytes,
        () if is_time => LiveEnding::Time,
        () => LiveEnding::Interface,
    };
    Ok(LiveEnd { why, now })
}

fn kind(error: &LiveError) -> LiveRefusal {
    match error {
        LiveError::Forbidden { .. } => LiveRefusal::Forbidden,
        LiveError::Filter(_) => LiveRefusal::Filter,
        LiveError::Record(_) => LiveRefusal::File,
        _ => LiveRefusal::Interface,
    }
}

/// What the pipeline reads.
fn reach(config: &Config) -> Reach {
    let mut read = vec![PathBuf::from("/proc/self/statm")];
    read.extend(config.models.needed(&config.model));
    read.extend(config.tables.folders.iter().cloned());
    Reach {
        read,
        libraries: config.plugin.iter().filter_map(|entry| entry.path.clone()).collect(),
        library_folders: config.plugins.folders.clone(),
        ..Reach::default()
    }
}

/// Tells how it goes, and ends it where packets are not written any more: numbers of packets would be wrong from there on.
fn tell_on(events: &Events, control: &Control, progress: &Progress, words: &Receiver<String>) {
    words.try_iter().for_each(|words| say(events, &LiveSaid::Word(words)));
    let now = now(control, progress);
    if now.not_recorded > 0 {
        control.stop();
    }
    say(events, &LiveSaid::Now(now));
}

fn now(control: &Control, progress: &Progress) -> LiveNow {
    let counts = control.counts();
    LiveNow {
        // What was written is counted a moment before it is counted as taken.
        packets: counts.interfaces.iter().map(|interface| interface.taken).sum::<u64>().max(counts.recorded),
        bytes: counts.interfaces.iter().map(|interface| interface.taken_bytes).sum(),
        recorded: counts.recorded,
        file_bytes: counts.recorded_bytes,
        not_recorded: counts.not_recorded,
        lost: counts.dropped(),
        passed_over: control.passed_over(),
        downs: counts.downs(),
        flows: progress.flows.load(Ordering::Relaxed),
        alerts: progress.alerts.load(Ordering::Relaxed),
        is_paused: control.is_paused(),
        is_down: control.is_down(),
    }
}

/// Hears what the parent says; the end of its line is the child's.
fn listen(control: Control, asked: Arc<AtomicBool>) -> std::io::Result<()> {
    let hear = move || {
        let mut line = Vec::new();
        loop {
            line.clear();
            match std::io::stdin().lock().take(LINE_BYTES as u64).read_until(b'\n', &mut line) {
                Ok(0) => process::exit(1),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => process::exit(1),
                Ok(_) => {}
            }
            let said = line.strip_suffix(b"\n").unwrap_or(&line);
            match LiveCommand::ALL.into_iter().find(|command| command.word().as_bytes() == said) {
                Some(LiveCommand::Pause) => control.pause(true),
                Some(LiveCommand::GoOn) => control.pause(false),
                Some(LiveCommand::Stop) => {
                    asked.store(true, Ordering::Relaxed);
                    control.stop();
                }
                None => {}
            }
        }
    };
    thread::Builder::new().name("parent".into()).spawn(hear).map(drop)
}
