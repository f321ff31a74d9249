//! The parent: starts a worker, listens, and says how it ended.
//!
//! A worker may have become an attacker's. What it says is read in bounded lines and held against the protocol; what it
//! does not say, the kernel does: how it died.

use super::order::{Event, Failed, Order, Task, WorkerLimits};
use super::{LINE_BYTES, MAX_ALERTS, PLUGINS};
use crate::output::plain;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A worker to be.
#[derive(Debug, Clone, Copy)]
pub struct Supervised<'a> {
    /// This program, or another that calls [`main`](super::main) when its one argument is `worker`.
    pub program: &'a Path,
    /// What it is to do.
    pub order: &'a Order,
    /// Time after which it is ended.
    pub wall: Duration,
    /// Set from elsewhere to have it end with what it found so far.
    pub stop: &'a AtomicBool,
    /// Set from elsewhere to end it at once.
    pub kill: &'a AtomicBool,
}

/// How a worker ended that did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum WorkerEnd {
    /// It said why it cannot be done.
    #[error("{}", .0.words)]
    Failed(Failed),
    /// It wanted more memory than it may have.
    #[error("the analysis needs more memory than it may have; raise the limit on memory, or give it fewer packets")]
    Memory,
    /// It used up its processor time.
    #[error("the analysis took more than {seconds} s of processor time; raise the limit, or give it fewer packets")]
    CpuTime {
        /// The limit.
        seconds: u64,
    },
    /// It took too long.
    #[error("the analysis did not end within {seconds} s; raise the limit, or give it fewer packets")]
    WallTime {
        /// The limit.
        seconds: u64,
    },
    /// A capture did not begin.
    #[error("the capture did not begin within {seconds} s; raise that limit, or choose a pipeline that loads faster")]
    NotBegun {
        /// The limit.
        seconds: u64,
    },
    /// A capture said nothing any more.
    #[error("the capture said nothing for {seconds} s and was ended; raise that limit if the machine is busy")]
    Silent {
        /// The limit.
        seconds: u64,
    },
    /// Its result grew too large.
    #[error("the result grew beyond {bytes} bytes; raise the limit on its size, or give it fewer packets")]
    FileSize {
        /// The limit.
        bytes: u64,
    },
    /// It tried what only an attacker has a use for.
    #[error("the analysis tried a forbidden system call and was ended; the capture may be made to attack it")]
    Forbidden,
    /// It died.
    #[error("the analysis died ({}){}{words}", ending(*.signal, *.code), if words.is_empty() { "" } else { ": " })]
    Crashed {
        /// The signal that ended it.
        signal: Option<i32>,
        /// Its exit status.
        code: Option<i32>,
        /// The last it wrote to standard error: any text, on one line and bounded.
        words: String,
    },
    /// It was ended, because it was told to.
    #[error("the analysis was ended")]
    Killed,
    /// It did not keep to the protocol.
    #[error("the analysis spoke out of turn ({what}) and was ended; the capture or a plugin may be made to attack it")]
    Babble {
        /// What it said wrong.
        what: &'static str,
    },
    /// It could not be started.
    #[error("the analysis cannot be started: {0}; check the program and the limits it runs under")]
    Start(#[from] io::Error),
}

impl WorkerEnd {
    /// Whether the worker perished over its work, so that trying again may well end the same way.
    pub fn is_crash(&self) -> bool {
        !matches!(self, Self::Failed(_) | Self::Killed | Self::Start(_))
    }
}

fn ending(signal: Option<i32>, code: Option<i32>) -> String {
    match (signal, code) {
        (Some(signal), _) => {
            Signal::try_from(signal).map_or(format!("signal {signal}"), |signal| signal.as_str().to_owned())
        }
        (None, Some(code)) => format!("exit status {code}"),
        (None, None) => "nobody knows how".into(),
    }
}

/// Time for a cooperative end, and for one after the last word.
const GRACE: Duration = Duration::from_secs(10);
/// How often the flags are looked at.
const TICK: Duration = Duration::from_millis(50);
/// Time for what a dead worker wrote to come through.
const DRAIN: Duration = Duration::from_secs(1);
/// What a worker may say at once, and with every second it lives.
const SAID_BYTES: u64 = 16 << 20;
const SAID_BYTES_PER_SECOND: u64 = 4 << 10;
/// Messages that wait for [`supervise`] to take them.
const WAITING: usize = 64;
/// Bytes kept of the end of standard error.
const TAIL_BYTES: usize = 4 << 10;

/// Starts a worker and stays with it to its end, which is never later than `wall` and a few seconds. `on_event` hears of
/// everything but the final event. The process is always reaped.
///
/// It blocks the calling thread, and the worker's life hangs on that thread: it must not be a short-lived one of a pool.
pub fn supervise(what: Supervised<'_>, on_event: &mut dyn FnMut(&Event)) -> Result<Event, WorkerEnd> {
    let mut line = serde_json::to_vec(what.order).map_err(io::Error::other)?;
    line.push(b'\n');
    if line.len() > LINE_BYTES {
        return Err(WorkerEnd::Start(io::Error::other("the order is too long for a line")));
    }
    let mut process = Process::start(what.program)?;
    let ears = process.listen(line)?;
    let mut watch = Watch {
        what,
        deadline: deadline(what.wall),
        told_to_stop: false,
        gone: false,
        alerts: 0,
        plugins: 0,
        last: None,
    };
    let outcome = watch.follow(&process, &ears, on_event);
    // Whatever it did, it does no more, and neither does what it may have started.
    let (status, cpu_seconds) = process.end()?;
    outcome?;
    ended(status, cpu_seconds, ears.words(), &what.order.limits, watch.last)
}

/// What the end of a worker means whose last word is `last`.
pub(super) fn ended(
    status: ExitStatus,
    cpu_seconds: u64,
    words: String,
    limits: &WorkerLimits,
    last: Option<Event>,
) -> Result<Event, WorkerEnd> {
    match status.signal() {
        Some(libc::SIGSYS) => Err(WorkerEnd::Forbidden),
        Some(libc::SIGXCPU) => Err(WorkerEnd::CpuTime { seconds: limits.cpu_seconds }),
        // The limit's second signal, which cannot be caught.
        Some(libc::SIGKILL) if cpu_seconds >= limits.cpu_seconds => {
            Err(WorkerEnd::CpuTime { seconds: limits.cpu_seconds })
        }
        Some(libc::SIGXFSZ) => Err(WorkerEnd::FileSize { bytes: limits.file_bytes }),
        Some(libc::SIGABRT) if words.contains("memory allocation of ") => Err(WorkerEnd::Memory),
        signal => match last {
            Some(Event::Failed(failed)) if signal.is_none() => Err(WorkerEnd::Failed(failed)),
            Some(event) if status.success() => Ok(event),
            _ => Err(WorkerEnd::Crashed { signal, code: status.code(), words }),
        },
    }
}

/// When a time from now is over; one that no clock can show is a century.
fn deadline(wall: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    let now = Instant::now();
    now + wall.min(CENTURY)
}

/// A child that does not outlive this.
pub(super) struct Process {
    pub(super) child: Child,
    group: Pid,
    reaped: bool,
}

impl Process {
    pub(super) fn start(program: &Path) -> io::Result<Self> {
        let child = Command::new(program)
            .arg("worker")
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: an interrupt on the terminal is for the parent, and what the child starts ends with it.
            .process_group(0)
            .spawn()?;
        let group = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
        Ok(Self { child, group, reaped: false })
    }

    /// Threads that write to it and read from it; they end with it.
    fn listen(&mut self, order: Vec<u8>) -> io::Result<Ears> {
        let gone = || io::Error::other("a pipe to it is missing");
        let input = self.child.stdin.take().ok_or_else(gone)?;
        let output = self.child.stdout.take().ok_or_else(gone)?;
        let errors = self.child.stderr.take().ok_or_else(gone)?;
        let (stop, asked) = mpsc::channel();
        let (said, heard) = mpsc::sync_channel(WAITING);
        let tail = Arc::new(Mutex::new(Vec::new()));
        let thread = |name: &str| thread::Builder::new().name(format!("worker {name}"));
        thread("input").spawn(move || command(input, &order, &asked))?;
        let (babbles, kept) = (said.clone(), Arc::clone(&tail));
        let errors = thread("errors").spawn(move || {
            keep_tail(errors, &kept, || {
                let _ = babbles.send(Heard::Babble("too much on standard error"));
            });
        })?;
        thread("output").spawn(move || read_events(output, &said))?;
        Ok(Ears { stop, heard, errors, tail })
    }

    /// Whether it has ended; it still waits to be reaped.
    pub(super) fn has_ended(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !matches!(waitid(Id::Pid(self.group), flags), Ok(WaitStatus::StillAlive) | Err(nix::Error::EINTR))
    }

    /// Ends it where it lives, and everything it started; returns how it ended, and its processor time.
    pub(super) fn end(&mut self) -> io::Result<(ExitStatus, u64)> {
        // Dead but not reaped, it still holds the group's number, so this can hit nobody else.
        let _ = killpg(self.group, Signal::SIGKILL);
        while let Err(nix::Error::EINTR) = waitid(Id::Pid(self.group), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {}
        let cpu_seconds = cpu_seconds(self.group);
        let status = self.child.wait()?;
        self.reaped = true;
        Ok((status, cpu_seconds))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = self.end();
        }
    }
}

/// Processor time of a process, rounded to seconds.
fn cpu_seconds(process: Pid) -> u64 {
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten();
    let per_second = ticks.and_then(|ticks| u64::try_from(ticks).ok()).unwrap_or(100).max(1);
    let facts = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // proc(5): after the name in brackets, which may hold anything, the 12th and 13th word.
    let words = facts.rsplit(')').next().unwrap_or_default().split_whitespace();
    let used: u64 = words.skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
    (used + per_second / 2) / per_second
}

/// What comes from a worker.
enum Heard {
    Event(Event),
    Babble(&'static str),
}

/// The ends of the pipes.
struct Ears {
    stop: Sender<()>,
    heard: Receiver<Heard>,
    errors: thread::JoinHandle<()>,
    tail: Arc<Mutex<Vec<u8>>>,
}

impl Ears {
    /// The end of standard error, on one line.
    fn words(&self) -> String {
        // Somebody else may hold the pipe open.
        let patience = Instant::now() + DRAIN;
        while !self.errors.is_finished() && Instant::now() < patience {
            thread::sleep(TICK / 10);
        }
        let tail = self.tail.lock().map(|tail| tail.clone()).unwrap_or_default();
        plain(String::from_utf8_lossy(&tail).trim())
    }
}

/// Writes the order, then `stop` when asked; standard input stays open until the worker is gone.
fn command(mut input: ChildStdin, order: &[u8], asked: &Receiver<()>) {
    let mut alive = input.write_all(order).and_then(|()| input.flush());
    while alive.is_ok() && asked.recv().is_ok() {
        alive = input.write_all(b"stop\n").and_then(|()| input.flush());
    }
}

/// Reads events until the end, or until one is none.
fn read_events(output: ChildStdout, said: &SyncSender<Heard>) {
    let begin = Instant::now();
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    let mut total = 0u64;
    loop {
        line.clear();
        match output.by_ref().take(LINE_BYTES as u64).read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(bytes) => total += bytes as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        }
        let heard = if total > SAID_BYTES + begin.elapsed().as_secs() * SAID_BYTES_PER_SECOND {
            Heard::Babble("too much in all")
        } else if line.last() == Some(&b'\n') {
            serde_json::from_slice(&line).map_or(Heard::Babble("a line that is no event"), Heard::Event)
        } else if line.len() == LINE_BYTES {
            Heard::Babble("a line too long")
        } else {
            // Cut off in the middle of a line: how it died says more.
            return;
        };
        let last = matches!(heard, Heard::Babble(_));
        if said.send(heard).is_err() || last {
            return;
        }
    }
}

/// Reads standard error to its end and keeps the last of it.
pub(super) fn keep_tail(mut errors: ChildStderr, tail: &Mutex<Vec<u8>>, too_much: impl FnOnce()) {
    let mut piece = [0; TAIL_BYTES];
    let mut total = 0u64;
    loop {
        match errors.read(&mut piece) {
            Ok(0) => return,
            Ok(bytes) => {
                total += bytes as u64;
                if let Ok(mut tail) = tail.lock() {
                    tail.extend_from_slice(&piece[..bytes]);
                    let surplus = tail.len().saturating_sub(TAIL_BYTES);
                    tail.drain(..surplus);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
        if total > SAID_BYTES {
            return too_much();
        }
    }
}

/// What is known of a worker while it lives.
struct Watch<'a> {
    what: Supervised<'a>,
    deadline: Instant,
    told_to_stop: bool,
    /// Whether it has ended, and only what it said before is still to come.
    gone: bool,
    alerts: u64,
    plugins: u64,
    /// The final event.
    last: Option<Event>,
}

impl Watch<'_> {
    /// Listens until it has ended (`Ok`), or has to be.
    fn follow(&mut self, process: &Process, ears: &Ears, on_event: &mut dyn FnMut(&Event)) -> Result<(), WorkerEnd> {
        let mut silent = false;
        loop {
            if self.what.kill.load(Ordering::Relaxed) {
                return Err(WorkerEnd::Killed);
            }
            let now = Instant::now();
            if !self.told_to_stop && self.what.stop.load(Ordering::Relaxed) {
                self.told_to_stop = true;
                self.deadline = self.deadline.min(now + GRACE);
                // One that is gone already cannot be told.
                let _ = ears.stop.send(());
            }
            if now >= self.deadline {
                return match (self.gone, self.told_to_stop) {
                    (true, _) => Ok(()),
                    (false, _) if self.last.is_some() => {
                        Err(WorkerEnd::Babble { what: "it did not end after its last word" })
                    }
                    (false, true) => Err(WorkerEnd::Killed),
                    (false, false) => Err(WorkerEnd::WallTime { seconds: self.what.wall.as_secs() }),
                };
            }
            let patience = TICK.min(self.deadline - now);
            if silent {
                thread::sleep(patience / 10);
            } else {
                match ears.heard.recv_timeout(patience) {
                    Ok(Heard::Event(event)) => {
                        self.believe(event, on_event)?;
                        continue;
                    }
                    Ok(Heard::Babble(what)) => return Err(WorkerEnd::Babble { what }),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => silent = true,
                }
            }
            if !self.gone && process.has_ended() {
                self.gone = true;
                self.deadline = self.deadline.min(Instant::now() + DRAIN);
            }
            if self.gone && silent {
                return Ok(());
            }
        }
    }

    /// Holds an event against the protocol and passes it on.
    fn believe(&mut self, event: Event, on_event: &mut dyn FnMut(&Event)) -> Result<(), WorkerEnd> {
        let babble = |what| Err(WorkerEnd::Babble { what });
        if self.last.is_some() {
            return babble("a word after the last");
        }
        let task = &self.what.order.task;
        match &event {
            Event::Progress(_) => {}
            Event::Learning(progress) => {
                if !matches!(task, Task::Train(_)) || progress.done > progress.of {
                    return babble("a training that nobody asked for");
                }
            }
            Event::Alert(alert) => {
                self.alerts += 1;
                let known = matches!(alert.verdict.as_str(), "malicious" | "suspicious");
                if !matches!(task, Task::Analyse { .. }) || self.alerts > MAX_ALERTS {
                    return babble("an alert that nobody asked for");
                }
                if !known || !(0.0..=1.0).contains(&alert.score) {
                    return babble("an alert that makes no sense");
                }
            }
            Event::Plugin(plugin) => {
                self.plugins += 1;
                if *task != Task::Describe || self.plugins > PLUGINS as u64 {
                    return babble("a plugin that nobody asked for");
                }
                if !plugin.is_sound() {
                    return babble("a plugin that makes no sense");
                }
            }
            Event::Described(described) if !described.is_sound(self.plugins) => {
                return babble("a pipeline that makes no sense");
            }
            last => {
                let answers = matches!(
                    (last, task),
                    (Event::Inspected(_), Task::Inspect { .. })
                        | (Event::Analysed(_), Task::Analyse { .. })
                        | (Event::Cut { .. }, Task::Cut { .. })
                        | (Event::Described(_), Task::Describe)
                        | (Event::Learnt(_), Task::Train(_))
                        | (Event::Failed(_), _)
                );
                if !answers {
                    return babble("an answer to another question");
                }
                self.deadline = self.deadline.min(Instant::now() + GRACE);
                self.last = Some(event);
                return Ok(());
            }
        }
        on_event(&event);
        Ok(())
    }
}
