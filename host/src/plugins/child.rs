//! A child process that loads a library in place of this one, and tells how that went.
//!
//! A library runs code as soon as it is loaded, and some of what it may do cannot be caught: it may crash, abort, or never
//! come back. So the same program is started once more with an argument that says what to do with it. The child takes
//! limits on, keeps its standard output for itself, and says a line for each step. If it dies, hangs or says something
//! else, that is the answer.

use super::conform::Checked;
use super::error::LibraryError;
use super::report::brief;
use crate::worker::{WorkerLimits, sandbox};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Bytes of the child's answer, and of what it says on standard error.
const ANSWER_BYTES: u64 = 256 << 10;

/// What the child says, a line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Said {
    /// What it does next.
    Trying(String),
    /// How a check of a plugin ended.
    Checked(Checked),
    /// All was done.
    Good,
    /// Something is wrong with the library.
    Refused(String),
}

/// What a child is started for.
pub(super) struct Errand<'a> {
    /// The program that becomes the child.
    pub(super) program: &'a Path,
    /// What it is to do.
    pub(super) argument: &'a str,
    /// With which library.
    pub(super) path: &'a Path,
    /// What else it has to know.
    pub(super) more: &'a [&'a OsStr],
    /// How long that may take.
    pub(super) limit: Duration,
    /// What a person may do where that was too short.
    pub(super) advice: &'a str,
}

/// Starts a child and listens; what it said until it ended, and why it did not come to its end.
pub(super) fn send(errand: &Errand<'_>) -> (Vec<Said>, Result<(), LibraryError>) {
    let Errand { program, path, limit, .. } = *errand;
    let wrong = |why: String| LibraryError::Probe { path: path.to_owned(), why };
    let cannot = |error| LibraryError::NoChild { path: path.to_owned(), program: program.to_owned(), error };
    let (answer, complaint, status) = match listen_to(errand) {
        Ok(heard) => heard,
        Err(error) => return (Vec::new(), Err(cannot(error))),
    };
    let lines = || answer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let said: Vec<Said> = lines().filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let strange = lines().count() - said.len();
    let stage =
        said.iter().rev().find_map(|said| if let Said::Trying(stage) = said { Some(stage.as_str()) } else { None });
    let stage = brief(stage.unwrap_or("starting"));
    let outcome = match (status, said.last()) {
        (None, _) => Err(wrong(format!(
            "it did not come back within {} ms when it was tried ({stage}); look for an endless loop{}",
            limit.as_millis(),
            errand.advice
        ))),
        (Some(_), _) if strange > 0 => Err(wrong(format!(
            "it wrote where only the process that tried it writes ({stage}); leave file descriptors alone that are not yours"
        ))),
        (Some(status), Some(Said::Good)) if status.success() => Ok(()),
        (Some(_), Some(Said::Refused(why))) => Err(LibraryError::Told(brief(why))),
        (Some(status), _) => {
            let complaint = brief(&String::from_utf8_lossy(&complaint));
            let words = if complaint.is_empty() { String::new() } else { format!(", which said: {complaint}") };
            let words = words.chars().take(300).collect::<String>();
            let (ended, advice) = ending(status);
            Err(wrong(format!("it ended the process that tried it ({stage}; {ended}){words}; {advice}")))
        }
    };
    (said, outcome)
}

/// What a child wrote to standard output and to standard error, and how it ended; `None` where it had to be ended.
type Heard = (Vec<u8>, Vec<u8>, Option<ExitStatus>);

fn listen_to(errand: &Errand<'_>) -> std::io::Result<Heard> {
    let mut child = Command::new(errand.program)
        .arg(errand.argument)
        .arg(errand.path)
        .args(errand.more)
        // What it says when it panics goes into a message of one line.
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let answer = listen(child.stdout.take());
    let complaint = listen(child.stderr.take());
    let status = wait(&mut child, errand.limit)?;
    // Whoever the child left behind may keep the pipes open: what came so far will do.
    let heard = |from: &Receiver<Vec<u8>>| from.recv_timeout(Duration::from_millis(500)).unwrap_or_default();
    Ok((heard(&answer), heard(&complaint), status))
}

/// How a process ended, and what to do about it.
fn ending(status: ExitStatus) -> (String, &'static str) {
    match (status.signal(), status.code()) {
        (Some(libc::SIGABRT), _) => (
            format!("it aborted, signal {}", libc::SIGABRT),
            "it panics and is built with `panic = \"abort\"`, or aborts by itself: correct it, and build it without that",
        ),
        (Some(libc::SIGSYS), _) => (
            format!("it opened a socket, wrote to a file or started a program, signal {}", libc::SIGSYS),
            "a plugin works on what it is given and on nothing else: take that out of it",
        ),
        (Some(signal), _) => (format!("it crashed, signal {signal}"), "correct it, or ask its author to"),
        (None, code) => (
            format!("exit status {}", code.unwrap_or_default()),
            "a plugin must not end the process: have it return an error instead",
        ),
    }
}

/// Waits for a child; `None` where it had to be ended.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// The beginning of what comes through a pipe, once it is closed; the rest is read and forgotten.
fn listen(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (said, heard) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.by_ref().take(ANSWER_BYTES).read_to_end(&mut bytes);
            let _ = said.send(bytes);
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        }
    });
    heard
}

/// How the child's side says a line.
pub(super) type Say<'a> = &'a mut dyn FnMut(&Said) -> std::io::Result<()>;

/// The child's side: takes standard output away from the library, takes limits on, shuts itself in with the library and those
/// of the system, does the work, and says how it went.
pub(super) fn serve(
    library: &Path,
    work: impl FnOnce(Say<'_>) -> std::io::Result<Result<(), String>>,
) -> std::io::Result<()> {
    let mut out = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    nix::unistd::dup2_stdout(std::io::stderr())?;
    let mut say = |said: &Said| -> std::io::Result<()> {
        let mut line = serde_json::to_vec(said)?;
        line.push(b'\n');
        out.write_all(&line)
    };
    let limits = WorkerLimits { cpu_seconds: 600, file_bytes: 64 << 20, ..WorkerLimits::default() };
    sandbox::limit(&limits).map_err(std::io::Error::other)?;
    // Where the kernel has no such thing, trying a library still tells of its crashes and endless loops.
    let _ = sandbox::confine_trial(library);
    match work(&mut say)? {
        Ok(()) => say(&Said::Good),
        Err(why) => say(&Said::Refused(brief(&why))),
    }
}
