//! A child process that loads a library in place of this one, and tells how that went.
//!
//! A library runs code as soon as it is loaded, and some of what it may do cannot be caught: it may crash, abort, or never
//! come back. So the same program is started once more with an argument that says what to do with it. The child takes
//! limits on, keeps its standard output for itself, and says a line for each step. If it dies, hangs or says something
//! else, that is the answer.

use super::conform::Checked;
use super::error::LibraryError;
use super::report::brief;
use crate::sandbox;
use crate::worker::WorkerLimits;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    pub(super) limit: Limit,
    /// What a person may do where that was too short.
    pub(super) advice: &'a str,
}

/// How long a child may take.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    /// For all that it does.
    Whole(Duration),
    /// From one line that it says to the next: nobody but the child knows how many there are.
    Line(Duration),
}

impl Limit {
    fn time(self) -> Duration {
        match self {
            Self::Whole(time) | Self::Line(time) => time,
        }
    }
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
    // Whoever was cut off in mid-line said nothing strange.
    let whole = answer.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    let lines = || answer[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let said: Vec<Said> = lines().filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let strange = lines().count() - said.len();
    let stage =
        said.iter().rev().find_map(|said| if let Said::Trying(stage) = said { Some(stage.as_str()) } else { None });
    let stage = brief(stage.unwrap_or("starting"));
    let outcome = match (status, said.last()) {
        (None, _) => Err(wrong(format!(
            "it did not come back within {} ms when it was tried ({stage}); look for an endless loop{}",
            limit.time().as_millis(),
            errand.advice
        ))),
        (Some(_), _) if strange > 0 => Err(wrong(format!(
            "it wrote where only the process that tried it writes ({stage}); leave file descriptors alone that are not yours"
        ))),
        (Some(_), _) if answer.len() as u64 > ANSWER_BYTES => Err(wrong(format!(
            "there is more to say of it than {} KiB ({stage}), and the rest was not heard; put fewer plugins into a library",
            ANSWER_BYTES >> 10
        ))),
        (Some(status), Some(Said::Good)) if status.success() => Ok(()),
        (Some(_), Some(Said::Refused(why))) => Err(LibraryError::Told(brief(why))),
        (Some(status), _) => {
            let complaint = brief(&String::from_utf8_lossy(&complaint));
            let words = if complaint.is_empty() { String::new() } else { format!(", which said: {complaint}") };
            let words = words.chars().take(300).collect::<String>();
            let (ended, advice) = ending(status);
            let more = if is_out_of_time(status) { errand.advice } else { "" };
            Err(wrong(format!("it ended the process that tried it ({stage}; {ended}){words}; {advice}{more}")))
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
    let lines = Arc::new(AtomicU64::new(0));
    let answer = listen(child.stdout.take(), Some(Arc::clone(&lines)));
    let complaint = listen(child.stderr.take(), None);
    let status = wait(&mut child, errand.limit, &lines)?;
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
        (Some(signal @ libc::SIGXCPU), _) => {
            (format!("it used up its processor time, signal {signal}"), "look for an endless loop")
        }
        (Some(signal), _) => (format!("it crashed, signal {signal}"), "correct it, or ask its author to"),
        (None, code) => (
            format!("exit status {}", code.unwrap_or_default()),
            "a plugin must not end the process: have it return an error instead",
        ),
    }
}

/// Whether a process used up its processor time.
fn is_out_of_time(status: ExitStatus) -> bool {
    status.signal() == Some(libc::SIGXCPU)
}

/// Waits for a child; `None` where it had to be ended.
fn wait(child: &mut Child, limit: Limit, lines: &AtomicU64) -> std::io::Result<Option<ExitStatus>> {
    let (mut since, mut heard) = (Instant::now(), 0);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let now = lines.load(Ordering::Relaxed);
        if matches!(limit, Limit::Line(_)) && now != heard {
            (since, heard) = (Instant::now(), now);
        }
        if since.elapsed() >= limit.time() {
            let _ = child.kill();
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// The beginning of what comes through a pipe, once it is closed. Where lines are counted, one byte more than is looked at
/// closes it, so that a child that goes on is not waited for; elsewhere the rest is read and forgotten.
fn listen(pipe: Option<impl Read + Send + 'static>, lines: Option<Arc<AtomicU64>>) -> Receiver<Vec<u8>> {
    let (said, heard) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let mut part = [0; 4096];
            while bytes.len() as u64 <= ANSWER_BYTES
                && let Ok(len @ 1..) = pipe.read(&mut part)
            {
                bytes.extend_from_slice(&part[..len]);
                if let Some(lines) = &lines {
                    let ends = part[..len].iter().filter(|byte| **byte == b'\n').count();
                    lines.fetch_add(ends as u64, Ordering::Relaxed);
                }
            }
            let _ = said.send(bytes);
            if lines.is_none() {
                let _ = std::io::copy(&mut pipe, &mut std::io::sink());
            }
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
    cpu_seconds: u64,
    work: impl FnOnce(Say<'_>) -> std::io::Result<Result<(), String>>,
) -> std::io::Result<()> {
    let mut out = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    nix::unistd::dup2_stdout(std::io::stderr())?;
    let mut say = |said: &Said| -> std::io::Result<()> {
        let mut line = serde_json::to_vec(said)?;
        line.push(b'\n');
        out.write_all(&line)
    };
    let limits = WorkerLimits { cpu_seconds, file_bytes: 64 << 20, ..WorkerLimits::default() };
    sandbox::limit(&limits).map_err(std::io::Error::other)?;
    // Where the kernel has no such thing, trying a library still tells of its crashes and endless loops.
    let _ = sandbox::confine_trial(library);
    match work(&mut say)? {
        Ok(()) => say(&Said::Good),
        Err(why) => say(&Said::Refused(brief(&why))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a shell says that runs a script in place of a child of this program.
    fn sent(script: &str, limit: Limit) -> (usize, String) {
        let errand = Errand {
            program: Path::new("/bin/sh"),
            argument: "-c",
            path: Path::new(script),
            more: &[],
            limit,
            advice: ", or be patient",
        };
        let (said, end) = send(&errand);
        (said.len(), end.map_or_else(|error| error.to_string(), |()| "good".into()))
    }

    const LONG: Limit = Limit::Whole(Duration::from_secs(60));

    #[test]
    fn who_says_a_line_in_time_goes_on() {
        let script = "for at in 1 2 3 4 5 6; do echo '{\"trying\":\"it\"}'; sleep 0.5; done; echo '\"good\"'";
        assert_eq!(sent(script, Limit::Line(Duration::from_millis(2500))), (7, "good".into()));
        let (said, end) = sent(script, Limit::Whole(Duration::from_millis(1500)));
        assert!(said < 6 && end.contains("did not come back within 1500 ms"), "{said} {end}");
        let (said, end) = sent("echo '{\"trying\":\"it\"}'; exec sleep 30", Limit::Line(Duration::from_millis(300)));
        assert!(said == 1 && end.contains("(it); look for an endless loop, or be patient"), "{said} {end}");
    }

    #[test]
    fn an_answer_that_is_cut_is_told_as_such() {
        let (said, end) = sent("yes '{\"trying\":\"it\"}' | head -c 400000", LONG);
        assert!(said > 10_000 && end.contains("more to say of it than 256 KiB (it)"), "{said} {end}");
        let (said, end) = sent("echo '{\"trying\":\"it\"}'; printf '{\"try'; exit 3", LONG);
        assert!(said == 1 && end.contains("(it; exit status 3)"), "{said} {end}");
        let (_, end) = sent("echo '{\"trying\":\"it\"}'; echo mine", LONG);
        assert!(end.contains("it wrote where only the process that tried it writes"), "{end}");
    }

    #[test]
    fn who_uses_up_the_processor_time_did_not_crash() {
        let (_, end) = sent("ulimit -St 1; while :; do :; done", LONG);
        assert!(end.contains("it used up its processor time, signal 24"), "{end}");
        assert!(end.ends_with("look for an endless loop, or be patient"), "{end}");
    }
}
