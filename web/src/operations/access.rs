//! The access log: lines of JSON that never hold a request up.
//!
//! A thread of its own writes them. Where the disk is full or whoever reads the log is slow, lines are dropped and
//! counted; once it goes on, a line in the log itself says how many are missing.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use serde::Serialize;
use veilwatch::output::open_appended;

use crate::config::Log;

/// The name that stands for standard output.
pub const STANDARD_OUTPUT: &str = "-";

/// One request, as the log tells it: never an address that was asked for, nor anything else that a visitor sent.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    /// When the answer began, RFC 3339.
    pub time: String,
    /// What the answer's `X-Request-Id` says, too.
    pub request: &'a str,
    /// How it was asked.
    pub method: &'a str,
    /// The pattern of the route; `-` where there is none.
    pub route: &'a str,
    /// The answer's status.
    pub status: u16,
    /// From the head of the request to the head of the answer.
    pub seconds: f64,
    /// Bytes of the request's body, as it declared them.
    pub bytes_in: Option<u64>,
    /// Bytes of the answer's body, where they are known when it begins.
    pub bytes_out: Option<u64>,
    /// The role of whoever asked, once logged in.
    pub role: Option<&'a str>,
    /// The number of their account.
    pub account: Option<i64>,
    /// Where they come from, unless `log.addresses` is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

enum Message {
    Line(Vec<u8>),
    /// Have a look at what was asked beside the lines.
    Look,
    End(SyncSender<()>),
}

/// The way to the thread that writes; copies share it.
#[derive(Clone, Debug)]
pub struct AccessLog {
    messages: SyncSender<Message>,
    reopen: Arc<AtomicBool>,
    lost: Arc<AtomicU64>,
    /// Whether addresses of visitors are written down.
    pub addresses: bool,
}

impl AccessLog {
    /// Begins the log; none where it is not wanted.
    ///
    /// # Errors
    /// Where the file cannot be opened or made, or there is no thread.
    pub fn start(settings: &Log) -> io::Result<Option<Self>> {
        let Some(path) = &settings.access else { return Ok(None) };
        let (file, path) = if path == Path::new(STANDARD_OUTPUT) {
            (File::from(io::stdout().as_fd().try_clone_to_owned()?), None)
        } else {
            (open_appended(path)?, Some(path.clone()))
        };
        Self::begin(Sheet { file, path, is_cut: false, fails: false }, settings).map(Some)
    }

    fn begin(sheet: Sheet, settings: &Log) -> io::Result<Self> {
        let (messages, heard) = sync_channel(usize::try_from(settings.waiting).unwrap_or(usize::MAX));
        let log = Self { messages, reopen: Arc::default(), lost: Arc::default(), addresses: settings.addresses };
        let (reopen, lost) = (Arc::clone(&log.reopen), Arc::clone(&log.lost));
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write(sheet, &heard, &reopen, &lost))?;
        Ok(log)
    }

    /// Hands a line over, or drops it.
    pub fn write(&self, line: &Line<'_>) {
        let Ok(mut bytes) = serde_json::to_vec(line) else { return };
        bytes.push(b'\n');
        if self.messages.try_send(Message::Line(bytes)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has the file opened anew before the next line: it was moved away.
    pub fn reopen(&self) {
        self.reopen.store(true, Ordering::Relaxed);
        // Where the queue is full, the next line does it.
        let _ = self.messages.try_send(Message::Look);
    }

    /// Lines that were dropped.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until what was handed over is written, but no longer than this.
    pub fn finish(&self, patience: Duration) {
        let (done, is_done) = sync_channel(1);
        let end = std::time::Instant::now() + patience;
        let mut message = Message::End(done);
        while let Err(TrySendError::Full(back)) = self.messages.try_send(message) {
            if std::time::Instant::now() >= end {
                return;
            }
            message = back;
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = is_done.recv_timeout(end.saturating_duration_since(std::time::Instant::now()));
    }
}

fn write(mut sheet: Sheet, heard: &Receiver<Message>, reopen: &AtomicBool, lost: &AtomicU64) {
    let mut told = 0;
    while let Ok(message) = heard.recv() {
        if reopen.swap(false, Ordering::Relaxed) {
            sheet.open_anew();
        }
        match message {
            Message::Line(line) => {
                let missing = lost.load(Ordering::Relaxed);
                if missing > told {
                    let words = serde_json::json!({ "time": now(), "lost": missing - told }).to_string() + "\n";
                    if sheet.append(words.as_bytes()) {
                        told = missing;
                    }
                }
                if !sheet.append(&line) {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            }
            Message::Look => {}
            Message::End(done) => {
                let _ = done.try_send(());
            }
        }
    }
}

/// What is written on.
struct Sheet {
    file: File,
    /// None for standard output.
    path: Option<PathBuf>,
    /// Whether a part of a line is at the end.
    is_cut: bool,
    /// Whether the last line could not be written: said once.
    fails: bool,
}

impl Sheet {
    fn open_anew(&mut self) {
        let Some(path) = &self.path else { return };
        // Where it cannot be made anew, the old one is better than none.
        match open_appended(path) {
            Ok(file) => (self.file, self.is_cut) = (file, false),
            Err(error) => tracing::error!(%error, "the access log cannot be opened anew; the old file is written on"),
        }
    }

    /// Whether all of it was written.
    fn append(&mut self, line: &[u8]) -> bool {
        let ended = if self.is_cut { self.put(b"\n") } else { Ok(()) };
        match ended.and_then(|()| self.put(line)) {
            Ok(()) => {
                if std::mem::take(&mut self.fails) {
                    tracing::warn!("the access log is written again");
                }
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.fails, true) {
                    tracing::error!(%error, "the access log cannot be written; lines are dropped until it can");
                }
                false
            }
        }
    }

    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = bytes.get(count..).unwrap_or_default();
                    self.is_cut = !bytes.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Now, to the millisecond.
pub(super) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Read;
    use std::time::Instant;

    use super::*;

    fn line(request: &str) -> Line<'_> {
        Line {
            time: now(),
            request,
            method: "GET",
            route: "/entries/<key>",
            status: 200,
            seconds: 0.25,
            bytes_in: None,
            bytes_out: Some(7),
            role: Some("analyst"),
            account: Some(3),
            address: None,
        }
    }

    fn settings(path: &Path, waiting: u32) -> Log {
        Log { access: Some(path.to_owned()), waiting, ..Log::default() }
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn lines_are_json_and_a_moved_file_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        std::fs::write(&path, "{\"cut").unwrap();
        let log = AccessLog::start(&settings(&path, 100)).unwrap().unwrap();
        log.write(&line("a"));
        log.finish(PATIENCE);
        std::fs::rename(&path, &moved).unwrap();
        log.write(&line("b"));
        log.finish(PATIENCE);
        log.reopen();
        log.write(&line("c"));
        log.finish(PATIENCE);
        let old = std::fs::read_to_string(&moved).unwrap();
        assert!(old.starts_with("{\"cut\n") && old.lines().count() == 3, "{old}");
        let new = std::fs::read_to_string(&path).unwrap();
        let json: serde_json::Value = serde_json::from_str(new.trim_end()).unwrap();
        assert_eq!((&json["request"], &json["route"]), (&"c".into(), &"/entries/<key>".into()));
        assert_eq!((&json["bytes_out"], json.get("address")), (&7.into(), None));
        assert_eq!(log.lost(), 0);
    }

    #[test]
    fn a_full_disk_drops_lines_and_the_log_says_how_many() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            eprintln!("skipped: there is no /dev/full");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = OpenOptions::new().append(true).open(full).unwrap();
        let sheet = Sheet { file, path: Some(path.clone()), is_cut: false, fails: false };
        let log = AccessLog::begin(sheet, &settings(&path, 100)).unwrap();
        log.write(&line("a"));
        log.write(&line("b"));
        log.finish(PATIENCE);
        assert_eq!(log.lost(), 2);
        log.reopen();
        log.write(&line("c"));
        log.finish(PATIENCE);
        let lines = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), &lines[0]["lost"], &lines[1]["request"]), (2, &2.into(), &"c".into()));
    }

    #[test]
    fn whoever_reads_slowly_holds_nobody_up() {
        // A pipe that nobody reads: it takes a few lines, and then nothing.
        let (mut reader, writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        let log =
            AccessLog::begin(Sheet { file, path: None, is_cut: false, fails: false }, &settings(Path::new("-"), 4));
        let log = log.unwrap();
        let long = "x".repeat(4096);
        let begin = Instant::now();
        (0..200).for_each(|_| log.write(&line(&long)));
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        assert!(log.lost() > 0);
        let drain = std::thread::spawn(move || {
            let mut all = String::new();
            reader.read_to_string(&mut all).unwrap();
            all
        });
        log.finish(PATIENCE);
        log.write(&line("last"));
        let lost = log.lost();
        drop(log);
        let lines = drain.join().unwrap();
        let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.last().unwrap()["request"], "last");
        let said: u64 = lines.iter().filter_map(|line| line["lost"].as_u64()).sum();
        assert_eq!(said, lost);
        assert_eq!(lines.iter().filter(|line| line.get("request").is_some()).count() as u64 + lost, 201);
    }
}
