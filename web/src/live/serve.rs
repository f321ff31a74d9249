//! The thread that one session lives on: while it captures, and until its file is saved or gone.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use rocket::tokio::sync::oneshot;
use veilwatch::worker::WorkerLimits;
use veilwatch::worker::live::{LiveCommand, LiveOrder, LiveSaid, LiveSession};

use super::board::{Refused, Session, Sessions};
use super::seen::{End, State};
use crate::jobs::clean;
use crate::jobs::tasks::Temporary;
use crate::pipelines::Chosen;

/// How long nobody is heard at most.
const TICK: Duration = Duration::from_millis(100);
/// Between two looks at the disk.
const DISK: Duration = Duration::from_secs(2);
/// How long a child that was told to end may take.
const GRACE: Duration = Duration::from_secs(20);
/// Bytes that a file may have beyond its bound before the kernel ends the child: a block of packets, and far more.
const BEYOND: u64 = 64 << 20;

/// What a session is told.
pub(super) enum Said {
    /// Something for its child.
    Command(LiveCommand),
    /// To go, with all it has.
    Discard,
}

type Begun = oneshot::Sender<Result<(), Refused>>;

/// Serves it to its end.
pub(super) fn serve(sessions: &Sessions, session: &Session, chosen: &Chosen, told: &Receiver<Said>, begun: Begun) {
    // Whatever happens from here on, the file goes with this thread.
    let _file = Temporary::new(session.path.clone());
    let mut begun = Some(begun);
    let end = capture(sessions, session, chosen, told, &mut begun);
    tracing::info!(interface = session.what.interface, end = ?end, "a live session has ended");
    if let Some(begun) = begun {
        // It ended before it had begun: whoever waits is told, and there is nothing to keep.
        let _ = begun.send(Err(Refused::Died("the child ended before it captured".to_owned())));
    } else if let Some(end) = end {
        session.seen().end(end);
        // Who looks from now on reads a file that grows no more.
        sessions.readers.end_of(session.number);
        wait(sessions, session, told);
    }
    sessions.readers.end_of(session.number);
}

/// Captures until the child has ended; nothing where there is nothing to keep.
fn capture(
    sessions: &Sessions,
    session: &Session,
    chosen: &Chosen,
    told: &Receiver<Said>,
    begun: &mut Option<Begun>,
) -> Option<End> {
    let bench = &sessions.bench;
    let mut answer = |answer| begun.take().map(|begun| begun.send(answer));
    let mut live = match LiveSession::start(&bench.program, &order(sessions, session, chosen)) {
        Ok(live) => live,
        Err(error) => {
            answer(Err(Refused::Ours(error.to_string())));
            return None;
        }
    };
    tracing::info!(interface = session.what.interface, process = live.process_id(), "a live session is started");
    let idle = Duration::from_secs(bench.config.live.idle_seconds);
    let (mut looked, mut stopped, mut why) = (Instant::now(), None, None);
    loop {
        loop {
            match told.try_recv() {
                Ok(Said::Command(command)) => {
                    live.tell(command);
                    if command == LiveCommand::Stop {
                        stopped.get_or_insert_with(Instant::now);
                    }
                }
                // The child ends with its value.
                Ok(Said::Discard) | Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => break,
            }
        }
        match live.next(TICK) {
            Ok(None) => {}
            Ok(Some(LiveSaid::Begun)) => {
                session.seen().state = State::Running;
                answer(Ok(()));
            }
            Ok(Some(LiveSaid::Now(now))) => session.seen().goes(&now),
            Ok(Some(LiveSaid::Alert(alert))) => session.seen().alert(*alert),
            Ok(Some(LiveSaid::Word(words))) => session.seen().word(&words),
            Ok(Some(LiveSaid::Ended(end))) => {
                session.seen().goes(&end.now);
                return Some(why.unwrap_or(End::Well(end.why)));
            }
            Ok(Some(LiveSaid::Refused(refused))) => {
                let words = clean(&refused.words);
                if answer(Err(Refused::Child(refused))).is_some() {
                    return None;
                }
                return Some(End::Refused(words));
            }
            Ok(Some(LiveSaid::Failed(failed))) => {
                let words = clean(&failed.words);
                if answer(Err(Refused::Ours(words.clone()))).is_some() {
                    return None;
                }
                return Some(End::Died(words));
            }
            Err(end) => {
                let words = clean(&end.to_string());
                tracing::warn!(interface = session.what.interface, words, "the child of a live session died");
                if answer(Err(Refused::Died(words.clone()))).is_some() {
                    return None;
                }
                return Some(End::Died(words));
            }
        }
        let mut stop = |end| {
            if stopped.is_none() {
                (stopped, why) = (Some(Instant::now()), Some(end));
                session.seen().state = State::Stopping;
                live.tell(LiveCommand::Stop);
            }
        };
        if session.seen().looked.elapsed() >= idle {
            stop(End::Idle);
        }
        if looked.elapsed() >= DISK {
            looked = Instant::now();
            if !bench.has_room() {
                stop(End::Room);
            }
        }
        if stopped.is_some_and(|since: Instant| since.elapsed() >= GRACE) {
            return Some(End::Died("it did not end when it was told to".to_owned()));
        }
    }
}

/// Keeps the file until it is thrown away, or its time is over.
fn wait(sessions: &Sessions, session: &Session, told: &Receiver<Said>) {
    let until = Instant::now() + Duration::from_secs(sessions.bench.config.live.keep_seconds);
    while !sessions.is_over() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() && !session.seen().is_saving {
            tracing::info!(interface = session.what.interface, "a live session was not saved in time, and is deleted");
            return;
        }
        match told.recv_timeout(left.max(TICK)) {
            Ok(Said::Discard) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(Said::Command(_)) | Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn order(sessions: &Sessions, session: &Session, chosen: &Chosen) -> LiveOrder {
    let config = &sessions.bench.config;
    let (live, worker) = (&config.live, &config.worker);
    // One that is larger could not be saved.
    let bytes = live.bytes.min(config.limits.upload_bytes.saturating_sub(1 << 20).max(1));
    LiveOrder {
        interface: session.what.interface.clone(),
        capture_filter: session.what.filter.clone(),
        promiscuous: session.what.promiscuous,
        recording: session.path.clone(),
        pipeline: chosen.file(),
        tables: Some(sessions.bench.folders.tables().to_owned()),
        model: chosen.model(),
        packets: live.packets,
        bytes,
        seconds: live.seconds,
        begin_seconds: live.begin_seconds,
        silent_seconds: live.silent_seconds,
        ring_bytes: live.ring_bytes,
        workers: worker.threads,
        alerts: live.alerts.into(),
        limits: WorkerLimits {
            memory_bytes: worker.memory_bytes,
            // Every thread, all the time.
            cpu_seconds: live.seconds.saturating_mul(u64::from(worker.threads) + 3),
            file_bytes: bytes.saturating_add(BEYOND),
            open_files: worker.open_files,
            without_sandbox: worker.without_sandbox,
        },
    }
}
