use super::desk::{Desk, Files};
use super::say::*;
use crate::config::Config;
use crate::engine::Pipeline;
use crate::plugins::Registry;
use crate::sandbox::{self, Needs};
use crate::worker::events::{Events, failed};
use crate::worker::order::{Event, Failed, FailedWhy};
use crate::worker::run::{NAME, unreadable};
use std::fs::File;
use std::io::{BufRead, Read};
use std::path::Path;
use std::process;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

/// How long an answer waits that more work would make better.
const PATIENCE: Duration = Duration::from_millis(700);

/// Browses until the parent is gone.
pub(in crate::worker) fn run(order: BrowseOrder, events: &Events) -> Result<Event, Failed> {
    sandbox::limit(&order.limits).map_err(|error| failed(FailedWhy::Sandbox, error))?;
    // No byte of it is looked at before the child is confined.
    let files = open(&order).map_err(|error| failed(FailedWhy::Unreadable, error))?;
    let mut config = Config::load(Path::new("protocols")).map_err(|error| failed(FailedWhy::Pipeline, error))?;
    let (input, most) = (&mut config.input, order.unpacking);
    input.unpacked_bytes = input.unpacked_bytes.min(most.bytes);
    input.expansion_ratio = input.expansion_ratio.min(most.ratio);
    let limits = input.clone();
    config.tables.folders.extend(order.tables.clone());
    // But for tables nothing else can be opened, and nothing made.
    let listed = config.tables.folders.clone();
    if let Err(error) = sandbox::confine(&Needs { listed, ..Needs::default() }) {
        if !order.limits.without_sandbox {
            return Err(failed(FailedWhy::Sandbox, error));
        }
        eprintln!("going on without a sandbox: {error}");
    }
    let asked = listen()?;
    let mut registry = Registry::with_builtins().map_err(|error| failed(FailedWhy::Pipeline, error))?;
    let pipeline = Pipeline::untrained(config, &mut registry).map_err(|error| failed(FailedWhy::Pipeline, error))?;
    let mut desk = Desk::new(order, files, limits, NAME, pipeline).map_err(|error| unreadable(&error))?;
    let mut waiting: Option<(Asked, Instant)> = None;
    loop {
        if let Some((Asked { id, ask }, until)) = &waiting {
            let said = desk.answer(ask, Instant::now() >= *until);
            let said = said.unwrap_or_else(|error| {
                Some(Said::Unreadable(crate::output::bounded(error.to_string().as_bytes(), WORDS_BYTES)))
            });
            if let Some(said) = said {
                say(events, Answer { id: *id, read: desk.read(), said })?;
                waiting = None;
            }
        }
        if waiting.is_none() {
            match next(&asked, desk.is_busy()) {
                Some(line) => {
                    desk.look_again();
                    waiting = Some((question(&line)?, Instant::now() + PATIENCE));
                }
                None => {
                    desk.look_again();
                    desk.work().map_err(|error| unreadable(&error))?;
                }
            }
        } else {
            desk.work().map_err(|error| unreadable(&error))?;
        }
    }
}

fn open(order: &BrowseOrder) -> std::io::Result<Files> {
    let written = |path: &Path| File::options().read(true).write(true).open(path);
    Ok(Files {
        capture: File::open(&order.capture)?,
        // One that is gone is made again.
        kept: order.kept.as_deref().and_then(|path| File::open(path).ok()),
        judged: order.judged.as_deref().map(File::open).transpose()?,
        index: written(&order.index)?,
        unpacked: written(&order.unpacked)?,
    })
}

/// The next line, waited for where there is nothing else to do. The listener ends the process, so it is always there.
fn next(asked: &Receiver<Vec<u8>>, is_busy: bool) -> Option<Vec<u8>> {
    if is_busy {
        return match asked.try_recv() {
            Ok(line) => Some(line),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => process::exit(1),
        };
    }
    match asked.recv_timeout(PATIENCE) {
        Ok(line) => Some(line),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => process::exit(1),
    }
}

/// A question from a line. Whoever sends anything else is none that one can talk to.
fn question(line: &[u8]) -> Result<Asked, Failed> {
    serde_json::from_slice(line).map_err(|error| failed(FailedWhy::Order, format!("this is no question: {error}")))
}

/// Says an answer, or that there is none that fits on a line.
fn say(events: &Events, answer: Answer) -> Result<(), Failed> {
    let line = |answer: &Answer| serde_json::to_vec(answer).map_err(|error| failed(FailedWhy::Output, error));
    let whole = line(&answer)?;
    if whole.len() < ANSWER_BYTES {
        events.line(whole);
        return Ok(());
    }
    let said = Said::Unreadable("there is more of it than can be shown".to_owned());
    events.line(line(&Answer { said, ..answer })?);
    Ok(())
}

/// Reads lines of standard input; its end is the parent's, and with it the child's.
fn listen() -> Result<Receiver<Vec<u8>>, Failed> {
    let (heard, asked) = mpsc::sync_channel(1);
    let hear = move || loop {
        let mut line = Vec::new();
        match std::io::stdin().lock().take(ASKED_BYTES as u64).read_until(b'\n', &mut line) {
            Ok(0) => process::exit(0),
            Ok(_) if heard.send(line).is_ok() => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            _ => process::exit(1),
        }
    };
    let started = thread::Builder::new().name("parent".into()).spawn(hear);
    started.map_err(|error| failed(FailedWhy::Sandbox, format!("the worker cannot start a thread: {error}")))?;
    Ok(asked)
}
