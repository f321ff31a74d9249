//! What a run is like for whoever waits for it: alerts on time, progress on a terminal, Ctrl-C, a reader that goes away.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;
#[path = "common/long.rs"]
mod long;

use common::{example, out, root, veilwatch};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The command with everything piped.
fn piped(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_veilwatch"));
    command.args(args).current_dir(root()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Lines as they come.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (say, heard) = channel();
    std::thread::spawn(move || BufReader::new(from).lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
    heard
}

/// The status of a child that ends in time.
fn ends(child: &mut Child) -> std::process::ExitStatus {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begin.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A capture with alerts, and so much behind it that all its flows are over.
fn alerts_and_more() -> Vec<u8> {
    let mut capture = std::fs::read(example("first-run.pcap")).unwrap();
    let mut frame = Vec::new();
    let builder = etherparse::PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
    builder.udp(5000, 5001).write(&mut frame, &[0; 18]).unwrap();
    let mut last = capture[24..28].try_into().map(u32::from_le_bytes).unwrap();
    let mut at = 24;
    while at < capture.len() {
        let word = |at: usize| u32::from_le_bytes(capture[at..at + 4].try_into().unwrap());
        last = last.max(word(at));
        at += 16 + word(at + 8) as usize;
    }
    // Hand-overs come after every 8,192 packets; behind the last that is needed, more than a pipe and buffers hold.
    for packet in 0..30_000u32 {
        let header = [last + 1 + packet / 40, packet % 40 * 25_000, frame.len() as u32, frame.len() as u32];
        capture.extend(header.map(u32::to_le_bytes).concat());
        capture.extend(&frame);
    }
    capture
}

/// Lines reach a pipe when flows end, and not when the capture does.
#[test]
fn alerts_come_while_the_capture_goes_on() {
    let (_, text) = out(&veilwatch([Path::new("detect"), &example("first-run.pcap"), Path::new("--format=csv")]));
    let alerts = text.lines().filter(|line| line.contains("malicious")).count();
    assert!(alerts > 20);
    for format in ["jsonl", "csv"] {
        let mut child = piped(&["detect", "-", "--format", format]).spawn().unwrap();
        let heard = lines(child.stdout.take().unwrap());
        let mut input = child.stdin.take().unwrap();
        input.write_all(&alerts_and_more()).unwrap();
        input.flush().unwrap();
        // Standard input stays open all the while.
        let mut missing = alerts;
        while missing > 0 {
            let line = heard.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{missing} alerts have not come"));
            missing -= usize::from(line.contains("malicious"));
        }
        drop(input);
        assert_eq!(ends(&mut child).code(), Some(1));
    }
}

/// Everything that comes out of a terminal, until a text does.
fn shown_until(terminal: &mut File, text: &str) -> String {
    let (mut shown, mut piece) = (String::new(), [0; 1024]);
    let begin = Instant::now();
    while !shown.contains(text) {
        assert!(begin.elapsed() < PATIENCE, "{shown:?}");
        // A terminal that the child has left says so by an error.
        let Ok(bytes @ 1..) = terminal.read(&mut piece) else { panic!("{text} was not shown: {shown:?}") };
        shown.push_str(&String::from_utf8_lossy(&piece[..bytes]));
    }
    shown
}

#[test]
fn progress_is_shown_on_a_terminal_and_nowhere_else() {
    let small = std::fs::read(example("first-run.pcap")).unwrap();
    for command in ["detect", "features"] {
        let pair = nix::pty::openpty(None, None).unwrap();
        let mut quiet = piped(&[command, "-"]).stdout(Stdio::null()).spawn().unwrap();
        let mut child = piped(&[command, "-"]).stderr(pair.slave).env("TERM", "xterm").spawn().unwrap();
        let results = lines(child.stdout.take().unwrap());
        let (mut input, mut unseen) = (child.stdin.take().unwrap(), quiet.stdin.take().unwrap());
        // Half of it, which is enough to see the bar; nothing is shown in the first two seconds.
        input.write_all(&small[..small.len() / 2]).unwrap();
        unseen.write_all(&small).unwrap();
        let mut terminal = File::from(pair.master);
        let shown = shown_until(&mut terminal, " alerts");
        for part in ["KiB", " packets/s, ", " flows, "] {
            assert!(shown.contains(part), "{part} is not in {shown:?}");
        }
        input.write_all(&small[small.len() / 2..]).unwrap();
        drop((input, unseen));
        assert!(ends(&mut child).code().is_some());
        assert!(results.iter().count() > 10);
        let mut said = String::new();
        quiet.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, "");
        assert!(ends(&mut quiet).code().is_some());
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

/// Waits until a child is ready for SIGINT and SIGTERM.
fn listens(child: &Child) {
    let begin = Instant::now();
    let both = 1u64 << (Signal::SIGINT as u32 - 1) | 1 << (Signal::SIGTERM as u32 - 1);
    loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        if u64::from_str_radix(caught.trim(), 16).unwrap() & both == both {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "it never listens");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until a child that listens waits for input: its first thread sleeps whenever somebody looks.
fn waits(child: &Child) {
    listens(child);
    let begin = Instant::now();
    let mut asleep = 0;
    while asleep < 5 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let state = stat.rsplit_once(") ").unwrap().1.chars().next();
        asleep = if state == Some('S') { asleep + 1 } else { 0 };
        assert!(begin.elapsed() < PATIENCE, "it never waits");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What a child left after its end.
fn left(child: &mut Child, heard: &Receiver<String>) -> (Option<i32>, Value, String) {
    let status = ends(child).code();
    let summary = heard.iter().last().map_or(Value::Null, |line| serde_json::from_str(&line).unwrap());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (status, summary, said)
}

#[test]
fn a_file_that_is_interrupted_keeps_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.pcap");
    let capture = alerts_and_more();
    // The last packets once more, some million times: it takes its time.
    let mut file = File::create(&path).unwrap();
    file.write_all(&capture).unwrap();
    let tail = capture[capture.len() - 76_000..].repeat(10);
    (0..100).for_each(|_| file.write_all(&tail).unwrap());
    for with in [Signal::SIGINT, Signal::SIGTERM] {
        let name = path.to_str().unwrap();
        let mut child =
            piped(&["detect", name, "examples/captures/benign-odd.pcap", "--format", "jsonl"]).spawn().unwrap();
        let heard = lines(child.stdout.take().unwrap());
        assert!(heard.recv_timeout(PATIENCE).unwrap().contains("malicious"));
        signal(&child, with);
        let (status, summary, said) = left(&mut child, &heard);
        assert_eq!(status, Some(1), "{said}");
        for name in ["interrupted", "partial"] {
            assert_eq!(summary[name], true, "{summary}");
        }
        let packets = summary["packets"].as_u64().unwrap();
        assert!(packets > 8192 && packets < 1_000_000, "{summary}");
        assert!(said.contains("interrupted: this is what was found so far"), "{said}");
        assert!(said.ends_with("interrupted: 1 captures were not read\n"), "{said}");
    }
}

#[test]
fn a_quiet_pipe_can_be_interrupted() {
    // Of a capture that goes on.
    let mut child = piped(&["detect", "-", "--format", "jsonl"]).spawn().unwrap();
    let heard = lines(child.stdout.take().unwrap());
    let mut input = child.stdin.take().unwrap();
    // More than a pipe holds, so that reading has begun.
    let capture = std::fs::read(example("benign-odd.pcap")).unwrap();
    assert!(capture.len() > 200_000);
    input.write_all(&capture).unwrap();
    listens(&child);
    signal(&child, Signal::SIGINT);
    let (status, summary, _) = left(&mut child, &heard);
    assert_eq!((status, &summary["interrupted"], &summary["damage"]), (Some(3), &true.into(), &Value::Null));
    assert!(summary["packets"].as_u64().unwrap() > 100, "{summary}");
    drop(input);
    // Before there is anything; the same with a named pipe that nobody writes to.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for command in ["detect", "features"] {
        for input in ["-", path.to_str().unwrap()] {
            let mut child = piped(&[command, input]).spawn().unwrap();
            let heard = lines(child.stdout.take().unwrap());
            waits(&child);
            signal(&child, Signal::SIGTERM);
            let status = ends(&mut child).code();
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            assert!(status == Some(3) && said.ends_with(": interrupted before its header was there\n"), "{said}");
            assert_eq!(heard.iter().count(), usize::from(command == "features"));
        }
    }
}

#[test]
fn a_named_pipe_reads_like_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut child = piped(&["detect", path.to_str().unwrap(), "--all", "--format", "jsonl"]).spawn().unwrap();
    let heard = lines(child.stdout.take().unwrap());
    listens(&child);
    let file = example("first-run.pcap");
    std::fs::write(&path, std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(ends(&mut child).code(), Some(1));
    let (_, want) = out(&veilwatch([Path::new("detect"), &file, Path::new("--all"), Path::new("--format=jsonl")]));
    assert!(heard.iter().eq(want.lines()));
}

/// A run that cannot end because nobody takes what it writes.
#[test]
fn the_second_time_it_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.pcap");
    std::fs::write(&path, long::long_capture(12_000, false)).unwrap();
    for (with, status) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let mut child = piped(&["detect", path.to_str().unwrap(), "--all", "--format", "jsonl"]).spawn().unwrap();
        // Something was written, and nobody reads on.
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        signal(&child, with);
        std::thread::sleep(Duration::from_millis(300));
        assert!(child.try_wait().unwrap().is_none(), "it ended the first time");
        signal(&child, with);
        assert_eq!(ends(&mut child).code(), Some(status));
    }
}

/// As with `| head -1`.
#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.pcap");
    std::fs::write(&path, long::long_capture(12_000, false)).unwrap();
    let long = path.to_str().unwrap();
    for args in [
        &["detect", long, "--all", "--format", "jsonl"][..],
        &["detect", long, "--all", "--format", "csv"],
        &["detect", long, "--all", "--format", "jsonl", "--workers", "1"],
        &["features", long],
    ] {
        let mut child = piped(args).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(first.len() > 50, "{first}");
        let (_, nothing) = channel();
        let (status, _, said) = left(&mut child, &nothing);
        assert_eq!((status, said.as_str()), (Some(141), ""), "{args:?}");
    }
    // On a pipe that goes on and says nothing more.
    let mut child = piped(&["detect", "-", "--all", "--format", "jsonl"]).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&std::fs::read(&path).unwrap()).unwrap();
    child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
    assert_eq!(ends(&mut child).code(), Some(141));
    drop(input);
    // Nobody was there in the first place.
    for args in [&["detect", "examples/captures/first-run.pcap"][..], &["config", "example"], &["plugin", "list"]] {
        let mut child = piped(args).spawn().unwrap();
        drop(child.stdout.take());
        let (_, nothing) = channel();
        let (status, _, said) = left(&mut child, &nothing);
        assert!(said.is_empty() && matches!(status, Some(141 | 0 | 1)), "{args:?}: {status:?} {said}");
    }
}
