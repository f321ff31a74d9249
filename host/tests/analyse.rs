//! `veilwatch analyse` in a real terminal: keys go in, and the screen is read. Without tmux these tests say so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;
#[path = "common/terminal.rs"]
mod terminal;

use common::example;
use std::path::Path;
use terminal::Terminal;

#[test]
fn a_capture_is_looked_into() {
    let capture = example("first-run.pcap");
    let Some(terminal) = Terminal::begin((120, 40), &["analyse", capture.to_str().unwrap()]) else { return };
    terminal.shows(&["987 packets", "26 alerts", "who has 192.168.56.1"]);
    terminal.hides("so far");
    // To a packet, into its tree, and the bytes of a field.
    terminal.keys(&["g", "1", "9", "Enter"]);
    terminal.shows(&["packets 19 of 987", "packet 19", "TCP"]);
    terminal.keys(&["Tab", "Down", "Down"]);
    terminal.shows(&["▶ packet 19"]);
    terminal.keys(&["End"]);
    terminal.shows(&["▶ packet 19", "Usual service"]);
    terminal.keys(&["Tab", "Tab", "/"]);
    terminal.keys(&["ledgerly", "Enter"]);
    terminal.shows(&["with “ledgerly”"]);
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
    terminal.keys(&["4"]);
    terminal.shows(&["copied this flow, for tcpdump"]);
    // Only the flow is saved, and reads as a capture.
    let saved = terminal.folder.path().join("saved.pcapng");
    terminal.keys(&["w"]);
    terminal.types_path(&saved);
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

#[test]
fn filters_are_at_work_as_they_are_written() {
    let capture = example("first-run.pcap");
    let Some(terminal) = Terminal::begin((120, 40), &["analyse", capture.to_str().unwrap()]) else { return };
    terminal.shows(&["987 packets", "26 alerts"]);
    terminal.hides("so far");
    terminal.keys(&["f"]);
    terminal.types("tls");
    terminal.shows(&["display filter: tls", "442 of tls", "packets 1 of 442 that are listed of 987"]);
    // What is wrong is said with its place; the last filter that was right stays.
    terminal.types(".snj");
    let screen =
        terminal.shows(&["^^^^^^^", "packets have no field `tls.snj`; the nearest is `tls.sni`", "442 of tls"]);
    let column = |line: &str, what: &str| line.find(what).map(|at| line[..at].chars().count());
    let (text, carets) = (screen.lines().rev().nth(2).unwrap(), screen.lines().rev().nth(1).unwrap());
    assert_eq!(column(text, "tls.snj"), column(carets, "^^^^^^^"), "{screen}");
    terminal.keys(&["BSpace", "Tab"]);
    terminal.shows(&["display filter: tls.sni", "tls.sni: server name"]);
    terminal.types(" contains \"ledgerly\" && ip.dst in 192.0.2.0/24");
    terminal.keys(&["Enter"]);
    let screen = terminal.shows(&["of tls.sni contains", "client_hello", "ledgerly"]);
    assert!(!screen.contains("display filter"), "{screen}");
    // Giving up leaves what was there before.
    terminal.keys(&["f", "C-u"]);
    terminal.types("arp");
    terminal.shows(&["of arp"]);
    terminal.keys(&["Escape"]);
    terminal.shows(&["of tls.sni contains"]);
    // Verdicts, and the flows of those packets.
    terminal.keys(&["f", "C-u"]);
    terminal.types("ml.score > 0.9 && tcp.port == 4443");
    terminal.keys(&["Enter"]);
    terminal.shows(&["of ml.score", "! "]);
    terminal.keys(&["2"]);
    let screen = terminal.shows(&["worst first", "malicious", ":4443"]);
    assert!(!screen.contains(":443 "), "{screen}");
    terminal.keys(&["1"]);
    terminal.keys(&["Escape"]);
    terminal.shows(&["packets 365 of 987"]);
    terminal.hides("of ml.score");
    // A field as a filter; what is looked for is found within it.
    terminal.keys(&["g", "1", "9", "Enter"]);
    terminal.keys(&["Tab", "Down", "F"]);
    terminal.shows(&["display filter: frame.number == 19", "1 of frame.number == 19"]);
    terminal.keys(&["Escape"]);
    terminal.hides("display filter");
    terminal.keys(&["Escape"]);
    terminal.hides("listed of");
    terminal.keys(&["Home", "/"]);
    terminal.types("LEDGERLY");
    terminal.keys(&["Enter"]);
    terminal.shows(&["1 of ", "with “LEDGERLY”"]);
    terminal.keys(&["/", "Enter"]);
    terminal.shows(&["2 of "]);
    terminal.keys(&["/"]);
    terminal.types("nobody says this");
    terminal.keys(&["Enter"]);
    terminal.shows(&["no packet has “nobody says this” in its line"]);
    // Bytes that are selected belong to a field, and can be taken along.
    terminal.keys(&["g", "1", "9", "Enter"]);
    terminal.keys(&["Tab", "Tab"]);
    terminal.shows(&["▶ 571 bytes"]);
    terminal.keys(&["Right", "Down", "v", "Right", "Right"]);
    terminal.shows(&["ip.id", "bytes 17 to 19 of 571 selected"]);
    terminal.keys(&["y", "1"]);
    terminal.shows(&["copied the selected bytes: 2dc1e3"]);
    terminal.keys(&["q"]);
    terminal.ends();
}

#[test]
fn a_capture_is_chosen() {
    let folder = example("first-run.pcap").parent().unwrap().to_owned();
    let Some(terminal) = Terminal::begin_in(&folder, (80, 24), &["analyse"]) else { return };
    terminal.shows(&[
        "choose a capture",
        "capture    benign-office.pcapng",
        "capture    first-run.pcap",
        "folder     ..",
    ]);
    terminal.keys(&["End"]);
    let screen = terminal.screen();
    let last = screen.lines().rfind(|line| line.starts_with("  capture")).unwrap();
    terminal.keys(&["Enter"]);
    terminal.shows(&[last.split_whitespace().nth(1).unwrap(), "packets 1 of"]);
    terminal.keys(&["O"]);
    terminal.shows(&["choose a capture", "Backspace the folder above"]);
    terminal.keys(&["Home", "q"]);
    terminal.ends();
}

/// What the documents show.
#[test]
fn pictures_show_what_is_there() {
    let folder = example("first-run.pcap").parent().unwrap().to_owned();
    let Some(terminal) = Terminal::begin_in(&folder, (110, 32), &["analyse", "first-run.pcap"]) else { return };
    terminal.shows(&["987 packets", "26 alerts"]);
    terminal.hides("so far");
    terminal.keys(&["f"]);
    terminal.types("tls.handshake.type == 1 && ml.score > 0.9");
    terminal.keys(&["Enter"]);
    terminal.shows(&["of tls.handshake.type", "! "]);
    terminal.hides("looked at");
    terminal.keys(&["Tab", "End", "PageUp", "Up"]);
    terminal.shows(&["▶ packet"]);
    terminal.picture("analyse-packets");
    terminal.keys(&["2"]);
    terminal.shows(&["worst first", "c2-direct", "packets to look at", "•"]);
    terminal.picture("analyse-flows");
    terminal.keys(&["1", "3"]);
    terminal.shows(&["packets in stretches", "hosts: packets"]);
    terminal.picture("analyse-statistics");
    terminal.keys(&["q", "f", "C-u"]);
    terminal.types("tls.snj contains \"a\"");
    terminal.shows(&["the nearest is `tls.sni`"]);
    terminal.picture("analyse-filter");
    terminal.keys(&["Escape"]);
    terminal.hides("display filter");
    terminal.keys(&["q"]);
    terminal.ends();
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
    let Some(terminal) = Terminal::begin((170, 40), &["analyse", capture.to_str().unwrap()]) else { return };
    terminal.tmux(&["set-option", "-g", "allow-rename", "on"]);
    terminal.shows(&["987 packets", "26 alerts"]);
    terminal.hides("so far");
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
    let Some(terminal) = Terminal::begin((80, 24), &["analyse", capture.to_str().unwrap()]) else { return };
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
