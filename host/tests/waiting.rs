//! What a run is like for whoever waits for it: alerts on time, progress on a terminal.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;

use common::{example, out, root, veilwatch};
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
