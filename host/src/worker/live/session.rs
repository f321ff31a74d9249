use super::say::*;
use crate::output::plain;
use crate::worker::LINE_BYTES;
use crate::worker::browse::{line, write_lines};
use crate::worker::supervise::{Process, WorkerEnd, ended, keep_tail};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::ChildStdout;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use veilwatch_core::detect::{Verdict, is_unruly};

/// A child that captures, on its parent's side. It may have become an attacker's: what it says is held against the protocol and
/// its bounds, and texts are the traffic's. It ends with this value, at once.
///
/// Its life hangs on the thread that starts it, which must not be a short-lived one of a pool.
pub struct LiveSession {
    process: Process,
    /// What a thread of its own writes to it: one that does not read keeps nobody else waiting.
    input: SyncSender<Vec<u8>>,
    heard: Receiver<Heard>,
    tail: Arc<Mutex<Vec<u8>>>,
    order: LiveOrder,
    /// When it said something; at first, when it was started.
    spoke: Instant,
    has_begun: bool,
    alerts: u64,
    now: LiveNow,
}

/// What comes from a child.
enum Heard {
    Said(LiveSaid),
    Babble(&'static str),
}

/// Time for a dead child's last words to come through.
const DRAIN: Duration = Duration::from_millis(500);
/// What it may say at once, and with every second it lives.
const SAID_BYTES: u64 = 16 << 20;
const SAID_BYTES_PER_SECOND: u64 = 64 << 10;
/// Words and commands that wait.
const WAITING: usize = 64;

impl LiveSession {
    /// Starts one: this program, or another that calls [`main`](crate::worker::main) when its one argument is `worker`. The
    /// right to capture is the program's or the parent's.
    pub fn start(program: &Path, order: &LiveOrder) -> Result<Self, WorkerEnd> {
        let mut process = Process::start(program)?;
        let gone = || io::Error::other("a pipe to it is missing");
        let input = process.child.stdin.take().ok_or_else(gone)?;
        let output = process.child.stdout.take().ok_or_else(gone)?;
        let errors = process.child.stderr.take().ok_or_else(gone)?;
        let (said, heard) = mpsc::sync_channel(WAITING);
        let tail = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&tail);
        let thread = |name: &str| thread::Builder::new().name(format!("live {name}"));
        // One that says more than anybody reads waits for its end.
        thread("errors").spawn(move || keep_tail(errors, &kept, || {}))?;
        thread("output").spawn(move || read_said(output, &said))?;
        let (tell, to_tell) = mpsc::sync_channel(WAITING);
        thread("input").spawn(move || write_lines(input, &to_tell))?;
        let _ = tell.try_send(line(order)?);
        Ok(Self {
            process,
            input: tell,
            heard,
            tail,
            order: order.clone(),
            spoke: Instant::now(),
            has_begun: false,
            alerts: 0,
            now: LiveNow::default(),
        })
    }

    /// Says something to it. One that does not listen is found out by what it says.
    pub fn tell(&self, command: LiveCommand) {
        let _ = self.input.try_send(format!("{}\n", command.word()).into_bytes());
    }

    /// What it says next; nothing where that takes longer than `patience`. After an error, an end or a refusal there is no child
    /// any more.
    pub fn next(&mut self, patience: Duration) -> Result<Option<LiveSaid>, WorkerEnd> {
        match self.heard.recv_timeout(patience) {
            Ok(Heard::Said(said)) => {
                if let Some(what) = self.unbelievable(&said) {
                    return Err(self.babble(what));
                }
                if self.has_begun {
                    self.spoke = Instant::now();
                } else if let Some(end) = self.overdue() {
                    // Words about what it loads are no begin.
                    let _ = self.process.end();
                    return Err(end);
                }
                if matches!(said, LiveSaid::Ended(_) | LiveSaid::Refused(_) | LiveSaid::Failed(_)) {
                    let _ = self.process.end();
                }
                Ok(Some(said))
            }
            Ok(Heard::Babble(what)) => Err(self.babble(what)),
            Err(RecvTimeoutError::Timeout) => match self.overdue() {
                None => Ok(None),
                Some(end) => {
                    let _ = self.process.end();
                    Err(end)
                }
            },
            Err(RecvTimeoutError::Disconnected) => Err(self.death()),
        }
    }

    /// Why one that says nothing is not waited for any longer.
    fn overdue(&self) -> Option<WorkerEnd> {
        let (begin, silent) = (self.order.begin_seconds, self.order.silent_seconds);
        let seconds = if self.has_begun { silent } else { begin };
        if self.spoke.elapsed() < Duration::from_secs(seconds) {
            return None;
        }
        Some(if self.has_begun { WorkerEnd::Silent { seconds } } else { WorkerEnd::NotBegun { seconds } })
    }

    /// How it died that says nothing any more.
    fn death(&mut self) -> WorkerEnd {
        let until = Instant::now() + DRAIN;
        while !self.process.has_ended() && Instant::now() < until {
            thread::sleep(DRAIN / 50);
        }
        let (status, cpu_seconds) = match self.process.end() {
            Ok(ended) => ended,
            Err(error) => return error.into(),
        };
        thread::sleep(DRAIN / 50);
        let words = self.tail.lock().map(|tail| tail.clone()).unwrap_or_default();
        let words = plain(String::from_utf8_lossy(&words).trim());
        match ended(status, cpu_seconds, words, &self.order.limits, None) {
            Ok(_) => WorkerEnd::Babble { what: "no last word" },
            Err(end) => end,
        }
    }

    fn babble(&mut self, what: &'static str) -> WorkerEnd {
        let _ = self.process.end();
        WorkerEnd::Babble { what }
    }

    /// Its process.
    pub fn process_id(&self) -> u32 {
        self.process.child.id()
    }

    /// What makes a word one that no honest child says.
    fn unbelievable(&mut self, said: &LiveSaid) -> Option<&'static str> {
        // Escapes of what would steer a terminal are longer than what they stand for.
        let odd = |text: &str, most: usize| text.len() > 10 * most + 4 || text.contains(is_unruly);
        let is_early = matches!(said, LiveSaid::Now(_) | LiveSaid::Alert(_) | LiveSaid::Ended(_));
        if is_early && !self.has_begun {
            return Some("news before the begin");
        }
        match said {
            LiveSaid::Begun if self.has_begun => return Some("a second begin"),
            LiveSaid::Begun => self.has_begun = true,
            LiveSaid::Now(now) | LiveSaid::Ended(LiveEnd { now, .. }) => {
                if goes_back(&self.now, now) || now.recorded > now.packets || now.packets > self.order.packets {
                    return Some("numbers that make no sense");
                }
                self.now = now.clone();
            }
            LiveSaid::Alert(alert) => {
                self.alerts += 1;
                // A flow may be told early and at its end.
                if self.alerts > 2 * self.order.alerts {
                    return Some("more alerts than it may tell");
                }
                let LiveAlert { verdict, score, src, dest, name, reasons, packets, .. } = &**alert;
                let is_sorted = packets.windows(2).all(|pair| matches!(pair, [one, other] if one < other));
                let is_in = packets.iter().all(|packet| (1..=self.order.packets).contains(packet));
                let is_bounded = packets.len() <= ALERT_PACKETS && reasons.len() <= ALERT_REASONS;
                if Verdict::from_name(verdict).is_none()
                    || !(0.0..=1.0).contains(score)
                    || !is_sorted
                    || !is_in
                    || !is_bounded
                {
                    return Some("an alert that makes no sense");
                }
                let ends = [src, dest].into_iter().any(|end| end.parse::<std::net::SocketAddr>().is_err());
                if ends || odd(name, ALERT_NAME_BYTES) || reasons.iter().any(|words| odd(words, ALERT_REASON_BYTES)) {
                    return Some("words that it has no use for");
                }
            }
            LiveSaid::Word(words) | LiveSaid::Refused(LiveRefused { words, .. }) => {
                if odd(words, LIVE_WORDS_BYTES) {
                    return Some("words that it has no use for");
                }
            }
            LiveSaid::Failed(failed) => {
                if odd(&failed.words, 2 * LIVE_WORDS_BYTES) {
                    return Some("words that it has no use for");
                }
            }
        }
        None
    }
}

/// Whether something that only grows is less than before.
fn goes_back(before: &LiveNow, now: &LiveNow) -> bool {
    let all = |now: &LiveNow| {
        [
            now.packets,
            now.bytes,
            now.recorded,
            now.file_bytes,
            now.not_recorded,
            now.lost,
            now.passed_over,
            now.downs,
            now.flows,
            now.alerts,
        ]
    };
    all(before).iter().zip(all(now)).any(|(before, now)| *before > now)
}

/// Reads lines until the end, or until one makes no sense.
fn read_said(output: ChildStdout, said: &SyncSender<Heard>) {
    let (begin, mut total) = (Instant::now(), 0u64);
    let mut output = BufReader::new(output);
    loop {
        let mut line = Vec::new();
        match output.by_ref().take(LINE_BYTES as u64).read_until(b'\n', &mut line) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => return,
            Ok(bytes) => total += bytes as u64,
        }
        let heard = if total > SAID_BYTES + begin.elapsed().as_secs() * SAID_BYTES_PER_SECOND {
            Heard::Babble("too much in all")
        } else if line.last() == Some(&b'\n') {
            serde_json::from_slice(&line).map_or(Heard::Babble("a line that makes no sense"), Heard::Said)
        } else if line.len() == LINE_BYTES {
            Heard::Babble("a line too long")
        } else {
            // Cut off in the middle of a line: how it died says more.
            return;
        };
        let is_last = matches!(heard, Heard::Babble(_));
        if said.send(heard).is_err() || is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::WorkerLimits;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    /// How a session ends whose child runs these commands, and then says nothing.
    fn end_of(commands: &str, begin_seconds: u64, silent_seconds: u64) -> WorkerEnd {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("child");
        fs::write(&program, format!("#!/bin/sh\n{commands}\nexec /bin/sleep 600\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        let order = LiveOrder {
            interface: "lo".to_owned(),
            capture_filter: String::new(),
            promiscuous: false,
            recording: PathBuf::new(),
            pipeline: None,
            tables: None,
            model: None,
            packets: 1,
            bytes: 1,
            seconds: 1,
            begin_seconds,
            silent_seconds,
            ring_bytes: 1,
            workers: 1,
            alerts: 1,
            limits: WorkerLimits::default(),
        };
        let mut session = loop {
            match LiveSession::start(&program, &order) {
                // A process that another test forks just now holds the file that was written.
                Err(WorkerEnd::Start(error)) if error.kind() == io::ErrorKind::ExecutableFileBusy => {}
                started => break started.unwrap(),
            }
        };
        loop {
            if let Err(end) = session.next(Duration::from_millis(20)) {
                return end;
            }
        }
    }

    #[test]
    fn one_that_never_begins_is_ended() {
        let end = end_of("", 1, 600);
        assert!(matches!(end, WorkerEnd::NotBegun { seconds: 1 }), "{end}");
        // However much it says meanwhile.
        let end = end_of(r#"while :; do echo '{"word":"a library is slow"}'; /bin/sleep 0.02; done"#, 1, 600);
        assert!(matches!(end, WorkerEnd::NotBegun { seconds: 1 }), "{end}");
    }

    #[test]
    fn one_that_hangs_is_ended() {
        let end = end_of(r#"echo '"begun"'"#, 600, 1);
        assert!(matches!(end, WorkerEnd::Silent { seconds: 1 }), "{end}");
    }
}
