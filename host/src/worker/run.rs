//! The child: takes an order and carries it out.

use super::browse::BrowseOrder;
use super::events::{Events, Watched, failed};
use super::live::LiveOrder;
use super::order::{Event, Failed, FailedWhy, Order, Stage, Task};
use super::{LINE_BYTES, analyse, browse, cut, describe, inspect, live, train};
use crate::config::{Config, ShadowSettings};
use crate::engine::{Pipeline, Sink, Summary};
use crate::filter::Filter;
use crate::sandbox;
use crate::source::{Source, SourceError};
use std::io::{BufRead, Read};
use std::path::{Component, Path, PathBuf};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Where an analysis goes: gets every flow, and the summary at the end.
pub trait ResultSink: Sink {
    /// Writes the summary and everything that is not written yet.
    fn finish(self: Box<Self>, summary: &Summary) -> std::io::Result<()>;
}

/// Opens a result: a file that is there, empty, and the only one that can be written. No other file can be made beside it.
pub type OpenResult = for<'p> fn(&Path, &'p Pipeline) -> std::io::Result<Box<dyn ResultSink + 'p>>;

/// What messages call the capture: its path in the data folder is nobody's business.
pub(super) const NAME: &str = "this file";

/// The child's side, for a program that was called with the one argument `worker`; to be called before anything else is
/// done.
pub fn main(open: OpenResult) -> ExitCode {
    sandbox::close_files();
    let Ok(events) = Events::take() else { return ExitCode::FAILURE };
    match work(open, &events) {
        Ok(event) => {
            events.say(&event);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            events.say(&Event::Failed(failure));
            ExitCode::FAILURE
        }
    }
}

fn work(open: OpenResult, events: &Events) -> Result<Event, Failed> {
    let order = match order()? {
        First::Order(order) => order,
        First::Browse(order) => return browse::run(order, events),
        First::Live(order) => live::run(&order, events),
    };
    sandbox::limit(&order.limits).map_err(|error| failed(FailedWhy::Sandbox, error))?;
    let mut config = match &order.pipeline {
        Some(path) => Config::load(path),
        None => Config::builtin(),
    }
    .map_err(|error| failed(FailedWhy::Pipeline, error))?;
    let (input, most) = (&mut config.input, order.unpacking);
    input.unpacked_bytes = input.unpacked_bytes.min(most.bytes);
    input.expansion_ratio = input.expansion_ratio.min(most.ratio);
    config.tables.folders.extend(order.tables.clone());
    if let Some(choice) = &order.model {
        config.model.clone_from(&choice.name);
        config.models.clone_from(&choice.models);
    }
    // Whoever began with a champion goes on with it, and the result says which one it was.
    if matches!(order.task, Task::Analyse { .. }) {
        config.model = config.models.pinned(&config.model).map_err(|error| failed(FailedWhy::Pipeline, error))?;
    }
    // That of the configuration rests: whoever asks for an analysis says whether there is a challenger.
    config.shadow = ShadowSettings { model: order.shadow.clone().unwrap_or_default(), all: false };
    // Later it could neither load libpcap nor look up the names of ports; what is compiled here is found again.
    let filter = Filter::new(&config.input.filter);
    filter
        .and_then(|filter| filter.map_or(Ok(()), |mut filter| filter.compile_all()))
        .map_err(|error| failed(FailedWhy::Pipeline, error))?;
    let confined = sandbox::confine(&needs(&order, &config));
    let landlock = confined.as_ref().ok().copied();
    if let Err(error) = confined {
        if !order.limits.without_sandbox {
            return Err(failed(FailedWhy::Sandbox, error));
        }
        eprintln!("going on without a sandbox: {error}");
    }
    // From here on there are threads, and nothing that is read is trusted.
    let stop = Arc::new(AtomicBool::new(false));
    listen(Arc::clone(&stop))?;
    let watched = Watched::default();
    watched.telling(events, || {
        if order.task == Task::Describe {
            return describe::describe(&config, landlock, events).map(Event::Described);
        }
        carry_out(&order, config, open, events, &watched, &stop)
    })
}

fn carry_out(
    order: &Order,
    config: Config,
    open: OpenResult,
    events: &Events,
    watched: &Watched,
    stop: &AtomicBool,
) -> Result<Event, Failed> {
    if let Task::Train(task) = &order.task {
        return train::train(&order.capture, task, config, watched).map(Event::Learnt);
    }
    let source = Source::open_as(&order.capture, NAME, &config.input).map_err(|error| unreadable(&error))?;
    watched.total(source.status().total_bytes);
    match &order.task {
        Task::Inspect { packets } => {
            watched.stage(Stage::Reading);
            inspect::inspect(source, *packets, stop, &watched.progress).map(Event::Inspected)
        }
        Task::Analyse { packets, workers, result } => {
            let task = analyse::Analysis { packets: *packets, workers: *workers, result, open };
            task.run(source, config, events, watched, stop).map(Event::Analysed)
        }
        // It needs no capture, and never comes here.
        Task::Describe => Err(failed(FailedWhy::Order, "there is no capture to describe")),
        Task::Cut { flow, result, bytes } => {
            watched.stage(Stage::Reading);
            cut::write(source, flow, result, *bytes, stop, &watched.progress)
        }
        Task::Train(_) => Err(failed(FailedWhy::Order, "a training reads no single capture")),
    }
}

/// What a worker is started for.
enum First {
    /// One task.
    Order(Order),
    /// Many questions.
    Browse(BrowseOrder),
    /// An interface.
    Live(LiveOrder),
}

/// The order: the first line of standard input.
fn order() -> Result<First, Failed> {
    let wrong = |what: String| failed(FailedWhy::Order, format!("this is no order for a worker: {what}"));
    let mut line = Vec::new();
    let mut input = std::io::stdin().lock().take(LINE_BYTES as u64);
    input.read_until(b'\n', &mut line).map_err(|error| wrong(error.to_string()))?;
    if line.last() != Some(&b'\n') {
        return Err(wrong(format!("no line of at most {LINE_BYTES} bytes")));
    }
    let order = match (serde_json::from_slice(&line), serde_json::from_slice(&line)) {
        (Ok(order), _) => First::Browse(order),
        (_, Ok(order)) => First::Live(order),
        _ => First::Order(serde_json::from_slice(&line).map_err(|error| wrong(error.to_string()))?),
    };
    let paths: Vec<Option<&PathBuf>> = match &order {
        First::Order(Order { capture, task, pipeline, tables, .. }) => {
            let (result, also) = match task {
                Task::Inspect { .. } | Task::Describe => (None, &[][..]),
                Task::Analyse { result, .. } | Task::Cut { result, .. } => (Some(result), &[][..]),
                Task::Train(train) => {
                    if let Some(name) = train.sources.iter().find(|name| !is_within(name)) {
                        return Err(wrong(format!("{name} is no name in a folder")));
                    }
                    (Some(&train.result), train.captures.as_slice())
                }
            };
            let marks = if let Task::Train(train) = task { train.marks.as_ref() } else { None };
            let named = [Some(capture), result, pipeline.as_ref(), tables.as_ref(), marks];
            named.into_iter().chain(also.iter().map(Some)).collect()
        }
        First::Browse(BrowseOrder { capture, kept, index, unpacked, tables, judged, .. }) => {
            vec![Some(capture), kept.as_ref(), Some(index), Some(unpacked), tables.as_ref(), judged.as_ref()]
        }
        First::Live(LiveOrder { recording, pipeline, tables, .. }) => {
            vec![Some(recording), pipeline.as_ref(), tables.as_ref()]
        }
    };
    for path in paths.into_iter().flatten() {
        if !path.is_absolute() {
            return Err(wrong(format!("{} is no absolute path", path.display())));
        }
    }
    Ok(order)
}

/// Whether a name leads into a folder, or to the folder itself, and nowhere else.
fn is_within(name: &str) -> bool {
    Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Which files the order needs.
fn needs<'a>(order: &'a Order, config: &'a Config) -> sandbox::Needs<'a> {
    let (analyses, write) = match &order.task {
        Task::Inspect { .. } => (false, None),
        Task::Describe => (true, None),
        Task::Train(task) => (true, Some(task.result.as_path())),
        Task::Analyse { result, .. } => (true, Some(result.as_path())),
        Task::Cut { result, .. } => (false, Some(result.as_path())),
    };
    let mut read = vec![order.capture.clone()];
    let (mut libraries, mut folders, mut listed) = (Vec::new(), Vec::new(), Vec::new());
    if analyses {
        folders.clone_from(&config.plugins.folders);
        libraries.extend(config.plugin.iter().filter_map(|entry| entry.path.clone()));
        listed.clone_from(&config.tables.folders);
        let models = [&config.model, &config.shadow.model].into_iter().filter(|model| !model.is_empty());
        read.extend(models.filter_map(|model| config.models.needed(model)));
    }
    if let Task::Train(task) = &order.task {
        read.extend(task.marks.iter().chain(&task.captures).cloned());
    }
    sandbox::Needs { read, libraries, folders, listed, write, make: Vec::new() }
}

/// Goes on reading standard input: `stop` asks for the end, and its own end is the parent's.
fn listen(stop: Arc<AtomicBool>) -> Result<(), Failed> {
    let hear = move || {
        let mut line = Vec::new();
        loop {
            line.clear();
            match std::io::stdin().lock().take(LINE_BYTES as u64).read_until(b'\n', &mut line) {
                Ok(0) => process::exit(1),
                Ok(_) if line == b"stop\n" => stop.store(true, Ordering::Relaxed),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => process::exit(1),
            }
        }
    };
    let started = thread::Builder::new().name("parent".into()).spawn(hear);
    started.map(drop).map_err(|error| {
        failed(FailedWhy::Sandbox, format!("the worker cannot start a thread: {error}; give it more memory"))
    })
}

/// Sorts what is wrong with a capture.
pub(super) fn unreadable(error: &SourceError) -> Failed {
    let why = match error {
        SourceError::Empty { .. } => FailedWhy::Empty,
        SourceError::NotACapture { .. } => FailedWhy::NotACapture,
        _ => FailedWhy::Unreadable,
    };
    failed(why, error)
}

/// A capture that can be opened, but without one packet: there is none, or the first one is broken.
pub(super) fn without_packets(status: &crate::source::SourceStatus) -> Failed {
    match &status.damage {
        None => failed(
            FailedWhy::Empty,
            format!(
                "{NAME} is a capture ({}) that holds no packet; check the filter it was recorded with",
                status.format
            ),
        ),
        Some(damage) => failed(
            FailedWhy::Unreadable,
            format!(
                "{NAME} is a capture ({}) without one whole packet: {damage}; copy or record it again",
                status.format
            ),
        ),
    }
}
