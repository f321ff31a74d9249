//! A session of the portal's: a confined child that captures, its parent, and a reader of what it writes. This program is its
//! own worker, as `worker.rs` is.

use crate::{LONG, cable_of_two, example, root, sh, status_line};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};
use std::io::{BufRead, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use veilwatch::source::{InputLimits, Source};
use veilwatch::worker::browse::{Ask, BrowseOrder, PacketRows, ReadStage, Reader, Said};
use veilwatch::worker::live::*;
use veilwatch::worker::{Unpacking, WorkerEnd, WorkerLimits};

/// What this program does when it is somebody's worker.
pub(crate) fn worker() -> ExitCode {
    let name = PathBuf::from(std::env::args().next().unwrap());
    match name.file_name().unwrap().to_str().unwrap().strip_prefix("liar-") {
        Some(how) => lie(how),
        None => veilwatch::worker::main(|_, _| unreachable!("nothing is analysed here")),
    }
}

/// Two ends of a cable, both here: what is sent into one comes out of the other.
struct Line {
    ends: [String; 2],
    socket: OwnedFd,
    into: LinkAddr,
    folder: tempfile::TempDir,
}

impl Line {
    fn new() -> Self {
        let ends = cable_of_two();
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).unwrap();
        let address = getifaddrs().unwrap().filter(|one| one.interface_name == ends[0]).find_map(|one| one.address);
        let into = *address.unwrap().as_link_addr().unwrap();
        Self { ends, socket, into, folder: tempfile::tempdir().unwrap() }
    }

    fn send(&self, frame: &[u8]) {
        sendto(self.socket.as_raw_fd(), frame, &self.into, MsgFlags::empty()).unwrap();
    }

    /// Sends all packets of a capture, and says how many.
    fn replay(&self, capture: &Path) -> u64 {
        let mut source = Source::open(capture, &InputLimits::default()).unwrap();
        let mut sent = 0;
        while let Some(block) = source.next_block(None).unwrap() {
            for packet in block.packets() {
                self.send(packet.data);
                sent += 1;
            }
        }
        sent
    }

    /// Sends small frames that are of no flow.
    fn send_some(&self, count: usize) {
        for _ in 0..count {
            self.send(&[&[0xff; 6][..], &[2, 0, 0, 0, 0, 1], &[0x88, 0xb5], &[7; 46]].concat());
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The default pipeline, which tells flows soon after they were closed, and early.
    fn pipeline(&self) -> PathBuf {
        let text = veilwatch::config::EXAMPLE
            .replace("linger_seconds = 10 ", "linger_seconds = 1 ")
            .replace("early_packets = 0 ", "early_packets = 12 ");
        assert_ne!(text, veilwatch::config::EXAMPLE);
        std::fs::write(self.path("pipeline.toml"), text).unwrap();
        self.path("pipeline.toml")
    }

    fn order(&self) -> LiveOrder {
        LiveOrder {
            interface: self.ends[1].clone(),
            capture_filter: String::new(),
            promiscuous: true,
            recording: self.path("recording.pcapng"),
            pipeline: Some(self.pipeline()),
            tables: None,
            model: None,
            packets: 1_000_000,
            bytes: 1 << 28,
            seconds: 600,
            begin_seconds: 60,
            silent_seconds: 60,
            ring_bytes: 32 << 20,
            workers: 1,
            alerts: 100,
            limits: WorkerLimits::default(),
        }
    }
}

fn start(order: &LiveOrder) -> LiveSession {
    LiveSession::start(&std::env::current_exe().unwrap(), order).unwrap()
}

/// What a session says until it is so; all of it.
#[track_caller]
fn until(session: &mut LiveSession, mut is_so: impl FnMut(&LiveSaid) -> bool) -> Vec<LiveSaid> {
    let (end, mut all) = (Instant::now() + LONG, Vec::new());
    loop {
        match session.next(Duration::from_millis(100)) {
            Ok(None) => {}
            Ok(Some(said)) => {
                let done = is_so(&said);
                all.push(said);
                if done {
                    return all;
                }
            }
            Err(error) => panic!("{error}: {all:#?}"),
        }
        assert!(Instant::now() < end, "{all:#?}");
    }
}

fn begun(order: &LiveOrder) -> LiveSession {
    let mut session = start(order);
    until(&mut session, |said| *said == LiveSaid::Begun);
    session
}

#[track_caller]
fn now(session: &mut LiveSession, is_so: impl Fn(&LiveNow) -> bool) -> LiveNow {
    match until(session, |said| matches!(said, LiveSaid::Now(now) if is_so(now))).pop() {
        Some(LiveSaid::Now(now)) => now,
        other => panic!("{other:?}"),
    }
}

/// Its last word after it was told to stop, and the alerts before that.
#[track_caller]
fn stopped(session: &mut LiveSession) -> (LiveEnd, Vec<LiveAlert>) {
    session.tell(LiveCommand::Stop);
    ended(session)
}

#[track_caller]
fn ended(session: &mut LiveSession) -> (LiveEnd, Vec<LiveAlert>) {
    let all = until(session, |said| matches!(said, LiveSaid::Ended(_)));
    let alerts = all.iter().filter_map(|said| match said {
        LiveSaid::Alert(alert) => Some((**alert).clone()),
        _ => None,
    });
    let alerts = alerts.collect();
    match all.last() {
        Some(LiveSaid::Ended(end)) => (end.clone(), alerts),
        other => panic!("{other:?}"),
    }
}

fn packets_of(path: &Path) -> u64 {
    let mut source = Source::open(path, &InputLimits::default()).unwrap();
    while source.next_block(None).unwrap().is_some() {}
    assert_eq!(source.status().damage, None);
    source.status().packets
}

fn follow(line: &Line, order: &LiveOrder) -> Reader {
    for name in ["index", "unpacked"] {
        std::fs::write(line.path(name), "").unwrap();
    }
    let order = BrowseOrder {
        judged: None,
        capture: order.recording.clone(),
        identity: String::new(),
        kept: None,
        follows: true,
        tables: None,
        index: line.path("index"),
        unpacked: line.path("unpacked"),
        packets: 1 << 20,
        index_bytes: 1 << 20,
        unpacking: Unpacking::default(),
        limits: WorkerLimits::default(),
    };
    Reader::start(&std::env::current_exe().unwrap(), &order).unwrap()
}

fn rows(reader: &mut Reader, from: u64, filter: &str) -> (u64, PacketRows) {
    let ask = Ask::Rows { from, count: 50, flow: None, filter: filter.to_owned(), search: true };
    let answer = reader.ask(&ask, LONG).unwrap();
    assert_eq!(answer.read.stage, ReadStage::Following);
    match answer.said {
        Said::Rows(rows) => (answer.read.packets, rows),
        other => panic!("{other:?}"),
    }
}

/// What a filter finds, once all was looked at.
fn searched(reader: &mut Reader) -> PacketRows {
    let end = Instant::now() + LONG;
    loop {
        let found = rows(reader, 1, "tls.handshake.type == 1").1;
        if found.search.as_ref().is_some_and(|search| search.done) {
            return found;
        }
        assert!(Instant::now() < end, "{found:?}");
    }
}

pub(crate) fn a_session_tells_alerts_and_its_file_is_followed() {
    let line = Line::new();
    let order = line.order();
    let mut session = begun(&order);
    let mut reader = follow(&line, &order);
    assert_eq!(rows(&mut reader, 1, "").0, 0);
    let sent = line.replay(&example("first-run.pcap"));
    let seen = now(&mut session, |now| now.recorded >= sent);
    assert_eq!((seen.recorded, seen.packets, seen.lost), (sent, sent, 0));
    // The last packets first, as somebody looks who follows.
    let (known, last) = rows(&mut reader, u64::MAX, "");
    assert_eq!((known, last.rows.len()), (sent, 0));
    let (_, last) = rows(&mut reader, last.before.unwrap(), "");
    assert_eq!(last.rows.last().map(|row| row.number), Some(sent));
    let hellos = searched(&mut reader);
    assert!(hellos.rows.len() > 10, "{hellos:?}");
    // More come, and are known at the next question.
    line.send_some(5);
    now(&mut session, |now| now.recorded >= sent + 5);
    assert_eq!(rows(&mut reader, sent + 1, "").1.rows.len(), 5);
    let before = hellos.search.unwrap().found;
    line.replay(&example("first-run.pcap"));
    now(&mut session, |now| now.recorded >= 2 * sent + 5);
    // The same flows once more: not all of it is understood, but more is.
    assert!(searched(&mut reader).search.unwrap().found > before);
    // What closed flows are, is told while it goes on.
    let said = until(&mut session, |said| matches!(said, LiveSaid::Alert(alert) if alert.is_final));
    let Some(LiveSaid::Alert(alert)) = said.last() else { panic!("{said:?}") };
    let packet = reader.ask(&Ask::Packet { number: alert.packets[0] }, LONG).unwrap();
    let Said::Packet(Some(page)) = packet.said else { panic!("{packet:?}") };
    let ends = [&alert.src, &alert.dest].map(|end| end.parse::<std::net::SocketAddr>().unwrap().ip().to_string());
    assert!(ends.contains(&page.row.src) && ends.contains(&page.row.dst), "{alert:?} {:?}", page.row);
    assert!(!alert.reasons.is_empty(), "{alert:?}");

    let (end, alerts) = stopped(&mut session);
    assert_eq!(end.why, LiveEnding::Stopped);
    assert!(end.now.alerts as usize >= alerts.iter().filter(|alert| alert.is_final).count());
    assert_eq!(packets_of(&order.recording), end.now.recorded);
    assert!(end.now.file_bytes <= order.recording.metadata().unwrap().len());
}

pub(crate) fn a_session_counts_pauses_and_ends_when_told() {
    let line = Line::new();
    let order = LiveOrder { capture_filter: "ether proto 0x88b5".to_owned(), ..line.order() };
    let mut session = begun(&order);
    line.send_some(10);
    // What the filter keeps out is nowhere.
    line.replay(&example("ssh-greeting.pcap"));
    now(&mut session, |now| now.recorded == 10);
    session.tell(LiveCommand::Pause);
    now(&mut session, |now| now.is_paused);
    line.send_some(7);
    let paused = now(&mut session, |now| now.passed_over == 7);
    assert_eq!((paused.packets, paused.recorded), (10, 10));
    session.tell(LiveCommand::GoOn);
    now(&mut session, |now| !now.is_paused);
    line.send_some(5);
    now(&mut session, |now| now.recorded == 15);
    // The interface goes, and comes again.
    sh(&format!("ip link set {} down", line.ends[1]));
    now(&mut session, |now| now.is_down && now.downs == 1);
    sh(&format!("ip link set {} up", line.ends[1]));
    now(&mut session, |now| !now.is_down);
    let (end, alerts) = stopped(&mut session);
    assert_eq!((end.why, end.now.recorded, end.now.passed_over, end.now.lost), (LiveEnding::Stopped, 15, 7, 0));
    assert!(alerts.is_empty());
    assert_eq!(packets_of(&order.recording), 15);
}

pub(crate) fn a_session_is_held_to_its_bounds() {
    let line = Line::new();
    let mut session = begun(&LiveOrder { packets: 20, ..line.order() });
    line.send_some(30);
    let (end, _) = ended(&mut session);
    assert_eq!((end.why, end.now.recorded), (LiveEnding::Packets, 20));
    let order = LiveOrder { recording: line.path("small.pcapng"), bytes: 4000, ..line.order() };
    let mut session = begun(&order);
    line.send_some(100);
    let (end, _) = ended(&mut session);
    assert_eq!(end.why, LiveEnding::Bytes);
    assert!(end.now.file_bytes >= 4000 && packets_of(&order.recording) == end.now.recorded);
    let mut session = begun(&LiveOrder { recording: line.path("short.pcapng"), seconds: 1, ..line.order() });
    assert_eq!(ended(&mut session).0.why, LiveEnding::Time);
}

pub(crate) fn a_session_has_no_right_left() {
    const CAP_DAC_READ_SEARCH: u64 = 1 << 2;
    let line = Line::new();
    let mut session = begun(&line.order());
    let pid = session.process_id();
    let others = std::os::unix::fs::MetadataExt::uid(&root().metadata().unwrap()) != 0;
    let most = if others { CAP_DAC_READ_SEARCH } else { 0 };
    for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
        let rights = u64::from_str_radix(&status_line(pid, set), 16).unwrap();
        assert_eq!(rights & !most, 0, "{set} {rights:x}");
    }
    assert_eq!([status_line(pid, "NoNewPrivs"), status_line(pid, "Seccomp")], ["1", "2"]);
    // It ends with its parent's value, and at once.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGKILL).unwrap();
    let begin = Instant::now();
    let end = loop {
        match session.next(Duration::from_millis(100)) {
            Ok(_) => assert!(begin.elapsed() < LONG),
            Err(end) => break end,
        }
    };
    assert!(matches!(end, WorkerEnd::Crashed { signal: Some(9), .. }), "{end}");
    let session = begun(&LiveOrder { recording: line.path("other.pcapng"), ..line.order() });
    let pid = session.process_id();
    drop(session);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

pub(crate) fn a_session_says_what_it_cannot_do() {
    let line = Line::new();
    let refused = |order: &LiveOrder| match until(&mut start(order), |said| matches!(said, LiveSaid::Refused(_))).pop()
    {
        Some(LiveSaid::Refused(refused)) => refused,
        other => panic!("{other:?}"),
    };
    let nowhere = LiveOrder { interface: "nowhere0".to_owned(), ..line.order() };
    let wrong = LiveOrder { capture_filter: "tcp prot 443".to_owned(), ..line.order() };
    let absent = LiveOrder { pipeline: Some(line.path("absent.toml")), ..line.order() };
    let folder = LiveOrder { recording: line.path("no/such/folder"), ..line.order() };
    for (order, why, words) in [
        (nowhere, LiveRefusal::Interface, "there is no interface `nowhere0`"),
        (wrong, LiveRefusal::Filter, "tcp prot 443"),
        (absent, LiveRefusal::Pipeline, "absent.toml"),
        (folder, LiveRefusal::File, "cannot be written"),
    ] {
        let said = refused(&order);
        assert!(said.why == why && said.words.contains(words), "{said:?}");
    }
    // One that is down is waited for.
    sh(&format!("ip link set {} down", line.ends[1]));
    now(&mut begun(&line.order()), |now| now.is_down);
    let order = LiveOrder { recording: "relative".into(), ..line.order() };
    assert!(matches!(
        until(&mut start(&order), |said| matches!(said, LiveSaid::Failed(_))).pop(),
        Some(LiveSaid::Failed(_))
    ));
}

/// Ways to lie.
const LIES: [(&str, &str); 9] = [
    ("early", "news before the begin"),
    ("twice", "a second begin"),
    ("back", "numbers that make no sense"),
    ("more", "numbers that make no sense"),
    ("score", "an alert that makes no sense"),
    ("packet", "an alert that makes no sense"),
    ("name", "words that it has no use for"),
    ("flood", "more alerts than it may tell"),
    ("noise", "a line that makes no sense"),
];

fn lie(how: &str) -> ExitCode {
    let _ = std::io::stdin().lock().read_line(&mut String::new());
    let say = |said: &LiveSaid| {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{}", serde_json::to_string(said).unwrap());
        let _ = out.flush();
    };
    let now = |packets, recorded| LiveSaid::Now(LiveNow { packets, recorded, ..LiveNow::default() });
    let alert = LiveAlert {
        flow_id: 1,
        is_final: true,
        verdict: "malicious".to_owned(),
        score: 0.9,
        src: "10.0.0.1:1".to_owned(),
        dest: "10.0.0.2:443".to_owned(),
        name: "a.invalid".to_owned(),
        reasons: vec!["because".to_owned()],
        packets: vec![1, 2],
        first_ns: 1,
    };
    let tell = |alert: LiveAlert| say(&LiveSaid::Alert(Box::new(alert)));
    if how != "early" {
        say(&LiveSaid::Begun);
    }
    match how {
        "early" => say(&now(1, 1)),
        "twice" => say(&LiveSaid::Begun),
        "back" => [5, 4].into_iter().for_each(|packets| say(&now(packets, 0))),
        "more" => say(&now(1, 2)),
        "score" => tell(LiveAlert { score: f64::from(2), ..alert }),
        "packet" => tell(LiveAlert { packets: vec![u64::MAX], ..alert }),
        "name" => tell(LiveAlert { name: "\u{202e}".to_owned(), ..alert }),
        "flood" => (0..500).for_each(|flow_id| tell(LiveAlert { flow_id, ..alert.clone() })),
        _ => drop(std::io::stdout().write_all(b"{\n")),
    }
    // Whoever lies does not go by itself.
    std::thread::sleep(LONG);
    ExitCode::SUCCESS
}

pub(crate) fn a_session_that_lies_is_not_believed() {
    let line = Line::new();
    for (how, what) in LIES {
        let liar = line.path(&format!("liar-{how}"));
        std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &liar).unwrap();
        let mut session = LiveSession::start(&liar, &line.order()).unwrap();
        let begin = Instant::now();
        let end = loop {
            match session.next(Duration::from_millis(100)) {
                Ok(_) => assert!(begin.elapsed() < LONG, "{how} is believed"),
                Err(end) => break end,
            }
        };
        assert!(matches!(end, WorkerEnd::Babble { what: said } if said == what), "{how}: {end}");
    }
}
