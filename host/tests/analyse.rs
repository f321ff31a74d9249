//! `veilwatch analyse` in a real terminal: keys go in, and the screen is read. Without tmux these tests say so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;

use common::example;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

/// A terminal with the program in it.
struct Terminal {
    socket: String,
    folder: tempfile::TempDir,
}

impl Terminal {
    /// Begins one, or says why not.
    fn begin(name: &str, size: (u16, u16), args: &[&str]) -> Option<Self> {
        let there = Command::new("tmux").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !there.is_ok_and(|status| status.success()) {
            eprintln!("skipped: tmux is not there");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let socket = format!("veilwatch-{}-{name}", std::process::id());
        let cache = folder.path().join("cache");
        let mut command = Command::new("tmux");
        command.args(["-L", &socket, "-f", "/dev/null", "new-session", "-d"]);
        command.args(["-x", &size.0.to_string(), "-y", &size.1.to_string()]);
        command.args([
            "env",
            &format!("VEILWATCH_CACHE={}", cache.display()),
            env!("CARGO_BIN_EXE_veilwatch"),
            "analyse",
        ]);
        assert!(command.args(args).status().unwrap().success());
        Some(Self { socket, folder })
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux").args(["-L", &self.socket]).args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until all of it is on the screen.
    #[track_caller]
    fn shows(&self, words: &[&str]) -> String {
        let begin = Instant::now();
        loop {
            let screen = self.screen();
            if words.iter().all(|word| screen.contains(word)) {
                return screen;
            }
            assert!(begin.elapsed() < LONG, "{words:?} are not on the screen:\n{screen}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Waits until the program has ended, and the terminal with it.
    #[track_caller]
    fn ends(&self) {
        let begin = Instant::now();
        while !self.tmux(&["list-sessions"]).is_empty() {
            assert!(begin.elapsed() < LONG, "it goes on:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[test]
fn a_capture_is_looked_into() {
    let capture = example("first-run.pcap");
    let Some(terminal) = Terminal::begin("file", (120, 40), &[capture.to_str().unwrap()]) else { return };
    terminal.shows(&["987 packets", "26 alerts", "who has 192.168.56.1"]);
    // To a packet, into its tree, and the bytes of a field.
    terminal.keys(&["g", "1", "9", "Enter"]);
    terminal.shows(&["packets 19 of 987", "packet 19", "TCP"]);
    terminal.keys(&["Tab", "Down", "Down"]);
    terminal.shows(&["▶ packet 19"]);
    terminal.keys(&["End"]);
    terminal.shows(&["▶ packet 19", "Usual service"]);
    terminal.keys(&["Tab", "Tab", "/"]);
    terminal.keys(&["ledgerly", "Enter"]);
    terminal.shows(&["ledgerly"]);
    // An alert, its reasons, its packets, the flow alone, and back.
    terminal.keys(&["2"]);
    terminal.shows(&["worst first", "malicious", "c2-direct", "packets to look at"]);
    terminal.keys(&["Enter"]);
    terminal.shows(&["▶ packets"]);
    terminal.keys(&["o"]);
    terminal.shows(&["only ", "of the flow of packet"]);
    terminal.keys(&["a"]);
    terminal.shows(&["▶ flows", "malicious"]);
    terminal.keys(&["1", "s"]);
    terminal.shows(&["what both sides said", "→ packet"]);
    terminal.keys(&["q", "3"]);
    terminal.shows(&["protocols: packets, bytes", "IPv4", "packets in stretches"]);
    terminal.keys(&["q", "y"]);
    terminal.shows(&["copy", "this flow, for --where and Wireshark", "ip.addr == "]);
    terminal.keys(&["3"]);
    terminal.shows(&["copied this flow, for tcpdump"]);
    // Only the flow is saved, and reads as a capture.
    let saved = terminal.folder.path().join("saved.pcapng");
    terminal.keys(&["w"]);
    terminal.keys(&["-l", saved.to_str().unwrap()]);
    terminal.keys(&["Enter"]);
    terminal.shows(&["packets are in"]);
    let mut source = veilwatch::source::Source::open(&saved, &Default::default()).unwrap();
    let mut packets = 0;
    while let Some(block) = source.next_block(None).unwrap() {
        packets += block.len();
    }
    assert!((10..60).contains(&packets) && source.status().damage.is_none(), "{packets}");
    terminal.keys(&["?"]);
    terminal.shows(&["follow what both sides said"]);
    terminal.keys(&["q", "q"]);
    terminal.ends();
    // It was indexed, and is known the next time.
    let kept = terminal.folder.path().join("cache/indexes");
    assert_eq!(std::fs::read_dir(kept).unwrap().count(), 1);
}

/// A capture of one TLS flow to a server whose name would steer a terminal.
fn hostile(folder: &Path) -> std::path::PathBuf {
    let mut bytes = std::fs::read(example("first-run.pcap")).unwrap();
    let name = b"www.northfield-news.example";
    let evil: &[u8] = b"\x1b]0;owned\x07\x1b[31mred\x1b[2J\r\xc2\x9b1m";
    assert_eq!(name.len(), evil.len());
    let mut found = 0;
    for at in 0..bytes.len() - name.len() {
        if &bytes[at..at + name.len()] == name {
            bytes[at..at + name.len()].copy_from_slice(evil);
            found += 1;
        }
    }
    assert!(found > 0);
    let path = folder.join("evil.pcap");
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn what_a_capture_says_never_steers_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let capture = hostile(folder.path());
    let Some(terminal) = Terminal::begin("evil", (170, 40), &[capture.to_str().unwrap()]) else { return };
    terminal.tmux(&["set-option", "-g", "allow-rename", "on"]);
    terminal.shows(&["987 packets", "alerts"]);
    terminal.keys(&["g", "1", "9", "Enter"]);
    terminal.shows(&["packets 19 of 987", "owned"]);
    terminal.keys(&["2", "t"]);
    terminal.shows(&["by time"]);
    terminal.keys(&["1", "s"]);
    terminal.shows(&["what both sides said"]);
    let title = terminal.tmux(&["display-message", "-p", "#{pane_title} #{window_name}"]);
    assert!(!title.contains("owned"), "{title}");
    terminal.keys(&["q", "q"]);
    terminal.ends();
}

#[test]
fn it_fits_a_small_terminal_and_does_without_colours() {
    let capture = example("benign-office.pcapng");
    let Some(terminal) = Terminal::begin("small", (80, 24), &[capture.to_str().unwrap()]) else { return };
    let screen = terminal.shows(&["packets", "No.", "Info", "? help"]);
    assert!(screen.lines().count() <= 24 && screen.lines().all(|line| line.chars().count() <= 80));
    terminal.keys(&["End"]);
    terminal.shows(&["▶ packets"]);
    terminal.keys(&["q"]);
    terminal.ends();
    // Where there is no terminal it says what to take instead.
    let piped = common::veilwatch(["analyse", capture.to_str().unwrap()]);
    let (status, said) = common::err(&piped);
    assert!(status == Some(2) && said.contains("veilwatch packets"), "{said}");
}
