//! Live captures between two network namespaces, with real TLS. The test begins itself anew in namespaces of its own, so that
//! nothing of it stays behind; where that is not allowed, or a tool is missing, it says so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;
#[path = "common/trials.rs"]
#[macro_use]
mod trials;
#[path = "live/session.rs"]
mod session;
#[path = "common/terminal.rs"]
mod terminal;

use common::{example, root, veilwatch};
use libtest_mimic::Arguments;
use serde_json::Value;
use session::{
    a_session_counts_pauses_and_ends_when_told, a_session_has_no_right_left, a_session_is_held_to_its_bounds,
    a_session_says_what_it_cannot_do, a_session_tells_alerts_and_its_file_is_followed,
    a_session_that_lies_is_not_believed,
};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use terminal::Terminal;

/// Set in the process that is in namespaces of its own.
const INSIDE: &str = "VEILWATCH_TEST_INSIDE";
/// Every wait for something that must happen.
const LONG: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("worker") {
        return session::worker();
    }
    let arguments = Arguments::from_args();
    if std::env::var_os(INSIDE).is_none() && !arguments.list {
        let tools = ["ip", "unshare", "nsenter", "openssl", "curl", "mount", "setpriv"];
        if let Some(tool) =
            tools.into_iter().find(|tool| !succeeds(Command::new("sh").args(["-c", &format!("command -v {tool}")])))
        {
            eprintln!("skipped: {tool} is not there");
            return ExitCode::SUCCESS;
        }
        let root = nix::unistd::geteuid().is_root();
        let namespaces: &[&str] = if root { &["-n", "-m"] } else { &["-U", "-r", "-n", "-m"] };
        if !succeeds(Command::new("unshare").args(namespaces).arg("true")) {
            eprintln!("skipped: network namespaces are not allowed here");
            return ExitCode::SUCCESS;
        }
        let error = Command::new("unshare")
            .args(namespaces)
            .arg(std::env::current_exe().unwrap())
            .args(std::env::args_os().skip(1))
            .env(INSIDE, "1")
            .exec();
        panic!("{error}");
    }
    if std::env::var_os(INSIDE).is_some() {
        sh("ip link set lo up");
    }
    let tests = trials! {
        live_equals_file
        several_interfaces_and_rings_and_a_filter
        files_in_turn
        a_new_configuration_loses_no_packet
        an_interface_goes_and_comes
        a_full_disk_keeps_what_was_captured
        what_cannot_be_captured_is_said_in_one_line
        figures_for_prometheus
        rounds_are_collected
        what_was_collected_teaches
        one_right_is_enough_and_none_is_left
        a_terminal_shows_alerts_as_they_come
        a_tunnel_is_captured_too
        what_is_tagged_passes_a_filter_as_in_a_file
        a_closed_terminal_is_the_end
        an_interface_is_looked_into
        a_session_tells_alerts_and_its_file_is_followed
        a_session_counts_pauses_and_ends_when_told
        a_session_is_held_to_its_bounds
        a_session_has_no_right_left
        a_session_says_what_it_cannot_do
        a_session_that_lies_is_not_believed
    };
    libtest_mimic::run(&arguments, tests).exit_code()
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[track_caller]
fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-ec", line]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A cable with both ends here, whose interfaces say nothing by themselves.
fn cable_of_two() -> [String; 2] {
    static CABLES: AtomicU32 = AtomicU32::new(0);
    let number = CABLES.fetch_add(1, Ordering::Relaxed);
    let ends = [format!("into{number}"), format!("out{number}")];
    sh(&format!("ip link add {} type veth peer name {}", ends[0], ends[1]));
    for end in &ends {
        sh(&format!("ip link set {end} mtu 65535 addrgenmode none; ip link set {end} up"));
    }
    ends
}

/// A cable: one end here, the other in a namespace of its own, where a TLS server listens.
struct Cable {
    /// Tells cables of tests apart that run at once.
    number: u32,
    there: Child,
    server: Option<Child>,
    folder: tempfile::TempDir,
}

impl Cable {
    fn new() -> Self {
        static CABLES: AtomicU32 = AtomicU32::new(0);
        let number = CABLES.fetch_add(1, Ordering::Relaxed) + 1;
        let mut there = Command::new("unshare")
            .args(["-n", "sh", "-c", "echo; exec sleep 600"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It has its namespace once it says something.
        there.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let mut cable = Self { number, there, server: None, folder: tempfile::tempdir().unwrap() };
        let (here, far, pid) = (cable.here(), cable.far(), cable.there.id());
        sh(&format!("ip link add {here} type veth peer name {far} netns {pid}"));
        sh(&format!("ip address add 10.9.{number}.1/24 dev {here}; ip link set {here} up"));
        cable.far_sh(&format!("ip link set lo up; ip address add 10.9.{number}.2/24 dev {far}; ip link set {far} up"));
        cable.serve();
        cable
    }

    fn here(&self) -> String {
        format!("here{}", self.number)
    }

    fn far(&self) -> String {
        format!("far{}", self.number)
    }

    fn server_address(&self) -> String {
        format!("10.9.{}.2", self.number)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn far_sh(&self, line: &str) {
        sh(&format!("nsenter -t {} -n sh -ec '{line}'", self.there.id()));
    }

    fn serve(&mut self) {
        let folder = self.folder.path().display().to_string();
        sh(&format!(
            "cd {folder}; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3 \
             -subj /CN=test.invalid -keyout key -out certificate 2>/dev/null"
        ));
        let server = Command::new("nsenter")
            .args(["-t", &self.there.id().to_string(), "-n", "openssl", "s_server", "-quiet", "-www", "-accept", "443"])
            .args(["-key", "key", "-cert", "certificate"])
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.server = Some(server);
        let begin = Instant::now();
        while !self.fetch("ready.invalid", &self.server_address()) {
            assert!(begin.elapsed() < LONG, "the server does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a datagram with the tag of network 5 from over there.
    fn send_tagged(&self) {
        const PROGRAM: &str = "\
            import socket, sys\n\
            out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n\
            out.bind((sys.argv[1], 0))\n\
            out.send(bytes.fromhex('ffffffffffff 020000000001 81000005 0800'\n\
            '4500001c 00010000 401166c3 0a000001 0a000002 00350035 0008a2c5'))\n";
        let there = self.there.id().to_string();
        let mut send = Command::new("nsenter");
        assert!(succeeds(send.args(["-t", &there, "-n", "python3", "-c", PROGRAM, &self.far()])));
    }

    /// One request over TLS for a name.
    fn fetch(&self, name: &str, address: &str) -> bool {
        succeeds(Command::new("curl").args([
            "-sk",
            "-m",
            "10",
            "--resolve",
            &format!("{name}:443:{address}"),
            &format!("https://{name}/"),
        ]))
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let _ = self.server.as_mut().map(|server| (server.kill(), server.wait()));
        let _ = (self.there.kill(), self.there.wait());
    }
}

/// A capture that goes on.
struct Capture {
    child: Child,
    out: Receiver<String>,
    said: Receiver<String>,
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (put, take) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { return };
            let _ = put.send(line);
        }
    });
    take
}

impl Capture {
    /// Begins one and waits until it captures.
    fn begin<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_veilwatch"));
        command.arg("capture").args(args);
        Self::begin_as(command)
    }

    fn begin_as(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err): (ChildStdout, ChildStderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let capture = Self { child, out: lines(out), said: lines(err) };
        capture.hear("capturing on");
        capture
    }

    /// Waits for a line of standard error with these words.
    #[track_caller]
    fn hear(&self, words: &str) -> String {
        let mut heard = Vec::new();
        loop {
            match self.said.recv_timeout(LONG) {
                Ok(line) if line.contains(words) => return line,
                Ok(line) => heard.push(line),
                Err(error) => panic!("nobody said {words:?} ({error}), but {heard:#?}"),
            }
        }
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Ends it as Ctrl-C does; gives its exit status and the lines that were not read yet.
    fn end(mut self) -> (Option<i32>, Vec<Value>, Vec<String>) {
        self.signal(nix::sys::signal::Signal::SIGINT);
        self.wait()
    }

    fn wait(&mut self) -> (Option<i32>, Vec<Value>, Vec<String>) {
        let begin = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if begin.elapsed() > LONG => panic!("it does not end"),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let parsed = self.out.iter().map(|line| serde_json::from_str(&line).unwrap()).collect();
        (status.code(), parsed, self.said.iter().collect())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// What a capture file gives, with the same pipeline.
fn of_file(path: &Path, config: Option<&Path>) -> Vec<Value> {
    let mut args = vec!["detect".into(), "--all".into(), "--format".into(), "jsonl".into()];
    args.extend(config.iter().flat_map(|config| ["--config".into(), config.as_os_str().to_owned()]));
    args.push(path.as_os_str().to_owned());
    let output = veilwatch(args);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Final records by their ids, and the last line.
fn by_id(lines: &[Value]) -> (BTreeMap<u64, &Value>, &Value) {
    let finals = lines.iter().filter(|line| line["record"] == "final");
    let flows: BTreeMap<u64, &Value> = finals.clone().map(|line| (line["flow_id"].as_u64().unwrap(), line)).collect();
    assert_eq!(flows.len(), finals.count());
    (flows, lines.last().unwrap())
}

/// The default pipeline with flows that are told soon after they were closed, and early records.
fn prompt(cable: &Cable) -> PathBuf {
    let text = veilwatch::config::EXAMPLE
        .replace("linger_seconds = 10 ", "linger_seconds = 1 ")
        .replace("early_packets = 0 ", "early_packets = 6 ");
    assert_ne!(text, veilwatch::config::EXAMPLE);
    let path = cable.path("pipeline.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn live_equals_file() {
    let cable = Cable::new();
    let (config, file, here) = (prompt(&cable), cable.path("live.pcapng"), cable.here());
    let written = ["--config", config.to_str().unwrap(), "--write", file.to_str().unwrap()];
    let capture = Capture::begin(["-i", &here, "--all", "--format", "jsonl"].into_iter().chain(written));
    for at in 0..6 {
        assert!(cable.fetch(&format!("name{at}.invalid"), &cable.server_address()));
    }
    // A tagged packet, whose tag the kernel takes out on the way.
    let can_tag = succeeds(Command::new("python3").args(["-c", ""]));
    if can_tag {
        cable.send_tagged();
    } else {
        eprintln!("skipped: python3 is not there to send a tagged packet");
    }
    // While it goes on: an early record, and flows that were closed, though nothing moves the clock any more.
    let mut before: Vec<Value> = Vec::new();
    let finals = |lines: &[Value]| lines.iter().filter(|line| line["record"] == "final").count();
    while finals(&before) < 6 {
        let line = capture.out.recv_timeout(LONG).unwrap_or_else(|error| panic!("{error}: {before:#?}"));
        before.push(serde_json::from_str(&line).unwrap());
    }
    assert!(before.iter().any(|line| line["record"] == "early"), "{before:#?}");
    assert!(cable.fetch("last.invalid", &cable.server_address()));
    let (status, after, said) = capture.end();
    assert_eq!(status, Some(0), "{said:#?}");
    let lines: Vec<Value> = before.into_iter().chain(after).collect();
    let read = of_file(&file, Some(&config));
    let ((live, summary), (of_file, file_summary)) = (by_id(&lines), by_id(&read));
    assert_eq!(live, of_file);
    let judged = |flow: &&&Value| flow["tls"]["sni"].is_string() && flow["score"].is_number();
    assert_eq!(live.values().filter(judged).count(), 7);
    let same =
        ["packets", "wire_bytes", "first", "last", "flows", "early", "scored", "skipped", "recognised", "partial"];
    for key in same {
        assert_eq!(summary[key], file_summary[key], "{key}");
    }
    let counts = &summary["live"]["interfaces"][0];
    assert_eq!((&counts["taken"], &counts["received"]), (&summary["packets"], &summary["packets"]));
    assert_eq!((&counts["dropped"], &summary["live"]["recorded"]), (&0.into(), &summary["packets"]));
    assert_eq!(summary["interrupted"], false);
    // The tag is in the file as it was on the cable.
    let mut source = veilwatch::source::Source::open(&file, &Default::default()).unwrap();
    let mut tags = 0;
    while let Some(block) = source.next_block(None).unwrap() {
        tags += block.packets().filter(|packet| packet.data.get(12..16) == Some(&[0x81, 0, 0, 5])).count();
    }
    assert_eq!(tags, usize::from(can_tag));
}

fn several_interfaces_and_rings_and_a_filter() {
    if !common::filters() {
        return;
    }
    let (one, two) = (Cable::new(), Cable::new());
    let file = one.path("both.pcap");
    let config = one.path("pipeline.toml");
    std::fs::write(&config, veilwatch::config::EXAMPLE.replace("rings = 1 ", "rings = 3 ")).unwrap();
    let (first, second) = (one.here(), two.here());
    for filter in ["tcp port 443", "tcp port 443 and not vlan"] {
        let _ = std::fs::remove_file(&file);
        let args = ["-i", &first, "-i", &second, "--all", "--filter", filter, "--config", config.to_str().unwrap()];
        let capture = Capture::begin(args.into_iter().chain(["--write", file.to_str().unwrap()]));
        for at in 0..4 {
            assert!(one.fetch(&format!("one{at}.invalid"), &one.server_address()));
            assert!(two.fetch(&format!("two{at}.invalid"), &two.server_address()));
        }
        // Nothing listens there; and nobody captures it.
        assert!(!succeeds(Command::new("curl").args([
            "-s",
            "-m",
            "5",
            &format!("http://{}:80/", one.server_address())
        ])));
        let (status, lines, said) = capture.end();
        assert_eq!(status, Some(0), "{said:#?}");
        let read = of_file(&file, Some(&config));
        let ((live, summary), (of_file, _)) = (by_id(&lines), by_id(&read));
        assert_eq!(live, of_file, "{filter}");
        // A late packet of the request that waited for the server may be another one.
        assert!((8..=9).contains(&live.len()), "{filter}: {live:#?}");
        assert!(summary["live"]["interfaces"].as_array().unwrap().iter().all(|of| of["taken"].as_u64() > Some(30)));
    }
}

fn files_in_turn() {
    let cable = Cable::new();
    let file = cable.path("turn.pcapng");
    let here = cable.here();
    let capture = Capture::begin(["-i", &here, "--write", file.to_str().unwrap(), "--ring", "64K×3"]);
    for at in 0..60 {
        assert!(cable.fetch(&format!("name{at}.invalid"), &cable.server_address()));
    }
    let (_, lines, _) = capture.end();
    let recorded = lines.last().unwrap()["live"]["recorded"].as_u64().unwrap();
    assert_eq!(Some(recorded), lines.last().unwrap()["packets"].as_u64());
    let mut files: Vec<PathBuf> = std::fs::read_dir(cable.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().contains("turn_"))
        .collect();
    files.sort();
    assert_eq!(files.len(), 3, "{files:?}");
    let packets: u64 = files.iter().map(|file| of_file(file, None).last().unwrap()["packets"].as_u64().unwrap()).sum();
    assert!(packets > 100 && packets < recorded, "{packets} of {recorded}");
    assert!(files.iter().all(|file| file.metadata().unwrap().len() <= 65 << 10));
}

fn a_new_configuration_loses_no_packet() {
    let cable = Cable::new();
    let (config, file, log) = (prompt(&cable), cable.path("all.pcapng"), cable.path("log.jsonl"));
    let here = cable.here();
    let args = ["-i", &here, "--all", "--config", config.to_str().unwrap(), "--output", log.to_str().unwrap()];
    let capture = Capture::begin(args.into_iter().chain(["--write", file.to_str().unwrap()]));
    // Traffic all the while.
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (told, address) = (std::sync::Arc::clone(&stop), cable.server_address());
    let traffic = std::thread::spawn(move || {
        let mut fetched = 0;
        while !told.load(Ordering::Relaxed) {
            let url = format!("https://{address}/");
            fetched += u32::from(succeeds(Command::new("curl").args(["-sk", "-m", "10", &url])));
        }
        fetched
    });
    let hup = || capture.signal(nix::sys::signal::Signal::SIGHUP);
    std::thread::sleep(Duration::from_millis(500));
    // Nothing has changed.
    let moved = cable.path("log.jsonl.1");
    std::fs::rename(&log, &moved).unwrap();
    // The log alone is opened anew.
    capture.signal(nix::sys::signal::Signal::SIGUSR1);
    let begin = Instant::now();
    while !log.exists() {
        assert!(begin.elapsed() < LONG, "the log is not made anew");
        std::thread::sleep(Duration::from_millis(20));
    }
    hup();
    capture.hear("nothing has changed");
    // Nonsense is refused, and the old one goes on.
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("reasons = 4 ", "raisins = 4 ")).unwrap();
    hup();
    assert!(capture.hear("not read again").contains("did you mean `reasons`"));
    std::fs::write(&config, text.replace("ring_bytes = 67108864", "ring_bytes = 33554432")).unwrap();
    hup();
    assert!(capture.hear("not read again").contains("begin anew"));
    // A model of its own beneath the configuration's folder, which calls all of it malicious; a folder of tables; then the
    // one in the box again.
    let copy = |name: &str| {
        let from = root().join("models/default").join(name);
        std::fs::copy(from, cable.path("mine").join(name)).unwrap();
    };
    std::fs::create_dir(cable.path("mine")).unwrap();
    ["card.json", "weights.bin", "memory.bin"].into_iter().for_each(copy);
    std::fs::create_dir(cable.path("tables")).unwrap();
    let mine =
        text.replace("model = \"default\"", "model = \"mine\"").replace("# threshold = 0.9 ", "threshold = 0.0 ");
    assert_ne!(mine, text);
    for text in [&mine.replacen("folders = []              # such as", "folders = [\"tables\"] #", 1), &text] {
        std::fs::write(&config, text).unwrap();
        hup();
        capture.hear("by the new configuration");
        // Until there is something of it.
        let begin = Instant::now();
        let before = std::fs::read_to_string(&log).unwrap_or_default().len();
        // What the one before had still to say does not count.
        let is_there = |log: &str| {
            let malicious = log.contains("\"verdict\":\"malicious\"");
            log.len() >= before + 20_000 && (malicious || !text.contains("threshold = 0.0 "))
        };
        while !is_there(&std::fs::read_to_string(&log).unwrap_or_default()) {
            assert!(begin.elapsed() < LONG);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    // Once more, and nothing has changed: tables are compared too.
    hup();
    capture.hear("nothing has changed");
    stop.store(true, Ordering::Relaxed);
    let fetched = traffic.join().unwrap();
    let (status, _, said) = capture.end();
    assert_eq!(status, Some(1), "{said:#?}");
    let read = |path: &Path| -> Vec<Value> {
        std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    // Whatever was said before the file was moved is in there.
    let lines: Vec<Value> = read(&moved).into_iter().chain(read(&log)).collect();
    let summaries: Vec<&Value> = lines.iter().filter(|line| line["event_type"] == "summary").collect();
    assert_eq!(summaries.len(), 3);
    let recorded = of_file(&file, None);
    let packets = |line: &Value| line["packets"].as_u64().unwrap();
    assert_eq!(summaries.iter().map(|line| packets(line)).sum::<u64>(), packets(recorded.last().unwrap()));
    // Every packet is in a flow or was passed over for a reason.
    let mut counted = 0;
    for summary in &summaries {
        counted += summary["skipped"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum::<u64>();
    }
    for flow in lines.iter().filter(|line| line["record"] == "final") {
        counted += flow["flow"]["pkts_toserver"].as_u64().unwrap() + flow["flow"]["pkts_toclient"].as_u64().unwrap();
    }
    assert_eq!(counted, packets(recorded.last().unwrap()));
    let malicious: Vec<bool> = summaries.iter().map(|line| line["malicious"].as_u64() > Some(0)).collect();
    assert_eq!(malicious, [false, true, false]);
    assert!(fetched > 0);
}

fn an_interface_goes_and_comes() {
    let cable = Cable::new();
    let file = cable.path("down.pcapng");
    let (here, far, number, pid) = (cable.here(), cable.far(), cable.number, cable.there.id());
    let capture = Capture::begin(["-i", &here, "--all", "--write", file.to_str().unwrap()]);
    assert!(cable.fetch("before.invalid", &cable.server_address()));
    sh(&format!("ip link set {here} down"));
    assert!(capture.hear("went down").contains(&here));
    sh(&format!("ip link set {here} up"));
    assert!(cable.fetch("between.invalid", &cable.server_address()));
    capture.hear("is back");
    // It goes for good, and another one of its name comes.
    sh(&format!("ip link delete {here}"));
    capture.hear("went down");
    sh(&format!(
        "ip link add {here} type veth peer name {far} netns {pid}; ip address add 10.9.{number}.1/24 dev {here}; ip link set {here} up"
    ));
    cable.far_sh(&format!("ip address add 10.9.{number}.2/24 dev {far}; ip link set {far} up"));
    capture.hear("is back");
    assert!(cable.fetch("after.invalid", &cable.server_address()));
    let (status, lines, said) = capture.end();
    // What passed meanwhile is not known.
    assert_eq!(status, Some(3), "{said:#?}");
    assert!(said.iter().any(|line| line.contains("went down 2 times")), "{said:#?}");
    let (live, summary) = by_id(&lines);
    assert_eq!(summary["live"]["interfaces"][0]["downs"], 2);
    for name in ["before", "between", "after"] {
        let name = format!("{name}.invalid");
        assert!(live.values().any(|flow| flow["tls"]["sni"] == name.as_str()), "{name}");
    }
    assert_eq!(by_id(&of_file(&file, None)).0, live);
}

fn a_full_disk_keeps_what_was_captured() {
    let cable = Cable::new();
    let disk = cable.path("disk");
    std::fs::create_dir(&disk).unwrap();
    sh(&format!("mount -t tmpfs -o size=128k none {}", disk.display()));
    let file = disk.join("full.pcapng");
    let here = cable.here();
    let capture = Capture::begin(["-i", &here, "--all", "--write", file.to_str().unwrap()]);
    for at in 0..60 {
        assert!(cable.fetch(&format!("name{at}.invalid"), &cable.server_address()));
    }
    let told = capture.hear("full.pcapng");
    assert!(told.contains("No space left") && told.contains("detection goes on"), "{told}");
    let (status, lines, _) = capture.end();
    assert_eq!(status, Some(3));
    let (live, summary) = by_id(&lines);
    let names = live.values().filter(|flow| flow["tls"]["sni"].is_string()).count();
    assert_eq!(names, 60);
    let read = of_file(&file, None);
    let (recorded, packets) = (&summary["live"]["recorded"], &read.last().unwrap()["packets"]);
    assert_eq!((recorded, &read.last().unwrap()["damage"]), (packets, &Value::Null));
    let lost = summary["live"]["not_recorded"].as_u64().unwrap();
    assert_eq!(recorded.as_u64().unwrap() + lost, summary["packets"].as_u64().unwrap());
    assert!(lost > 0 && recorded.as_u64() > Some(100));
    sh(&format!("umount {}", disk.display()));
}

fn rounds_are_collected() {
    let cable = Cable::new();
    let (here, table, kept) = (cable.here(), cable.path("rows.csv"), cable.path("kept"));
    let collect = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_veilwatch"));
        command.args(["collect", "--label", "benign", "--into"]).arg(&table).args(["-i", &here]).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let said = |output: std::process::Output| (output.status.code(), String::from_utf8(output.stderr).unwrap());
    for (more, words) in [(&[][..], "a round has no end"), (&["--packets", "5", "--from", "x"], "cannot be used with")]
    {
        let (status, text) = said(collect(more).output().unwrap());
        assert!(status == Some(2) && text.contains(words), "{text}");
    }
    let child = collect(&["--rounds", "2", "--packets", "60", "--keep"]).arg(&kept).spawn().unwrap();
    let fetching = std::sync::atomic::AtomicBool::new(true);
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            while fetching.load(Ordering::Relaxed) {
                cable.fetch("round.invalid", &cable.server_address());
            }
        });
        let output = child.wait_with_output();
        fetching.store(false, Ordering::Relaxed);
        output.unwrap()
    });
    let (status, text) = said(output);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("round 2:") && text.contains(": 2 captures; 0 malicious"), "{text}");
    // The captures that are left are those of the table.
    let again = veilwatch(["collect", "--label", "benign", "--into"].iter().map(Path::new).chain([
        &*table,
        Path::new("--from"),
        &*kept,
    ]));
    let (_, text) = said(again);
    assert!(text.matches("is in the table already; passed over").count() == 2 && text.contains("no rows"), "{text}");
    // Ctrl-C ends a round, and what came by then is in the table.
    let child = collect(&["--rounds", "9", "--duration", "50s"]).spawn().unwrap();
    let rounds = cable.path(".rows.csv.rounds");
    let begin = Instant::now();
    while !rounds.read_dir().is_ok_and(|mut files| files.next().is_some()) {
        assert!(begin.elapsed() < LONG, "nothing is recorded");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(cable.fetch("last.invalid", &cable.server_address()));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGINT).unwrap();
    let (status, text) = said(child.wait_with_output().unwrap());
    assert!(status == Some(0) && text.contains("added 1 benign rows") && text.contains(": 3 captures;"), "{text}");
    assert!(!rounds.exists());
}

fn what_was_collected_teaches() {
    let cable = Cable::new();
    let (here, table, model) = (cable.here(), cable.path("rows.csv"), cable.path("model"));
    let table_name = table.to_str().unwrap();
    let mut collect = Command::new(env!("CARGO_BIN_EXE_veilwatch"))
        .args(["collect", "--label", "benign", "-i", &here, "--rounds", "4", "--packets", "150", "--into", table_name])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while collect.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < LONG);
        cable.fetch("normal.invalid", &cable.server_address());
    }
    let malicious = ["malicious-beacon-tls12.pcap", "malicious-beacon-tls13.pcap"].map(example);
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let of_captures = ["collect", "--label", "malicious", "--into", table_name, "--from"].into_iter().map(Path::new);
    let collected = veilwatch(of_captures.chain(malicious.iter().map(PathBuf::as_path)));
    assert!(said(&collected).contains(": 6 captures; 56 malicious, "), "{}", said(&collected));
    let out = model.to_str().unwrap();
    // The share of captures that tells the thresholds holds some of each kind with one of the first seeds.
    let trained = (1..20).find_map(|seed| {
        let trained = veilwatch(["train", "--table", table_name, "--out", out, "--seed", &format!("{seed}")]);
        (trained.status.code() == Some(0)).then_some(trained)
    });
    assert!(trained.is_some());
    let found = veilwatch(["detect", "--model", out, example("first-run.pcap").to_str().unwrap()]);
    assert_eq!(found.status.code(), Some(1), "{}", said(&found));
    let lines = String::from_utf8(found.stdout).unwrap();
    let beacon: Vec<Value> = lines
        .lines()
        .filter(|line| line.contains(r#""dest_ip":"203.0.113.129""#))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(beacon.iter().filter(|flow| flow["verdict"] == "malicious").count() >= 10, "{lines}");
    // What is normal in this network it has seen. A few rounds make no threshold to rely on: scores are compared.
    let capture = Capture::begin(["-i", &here, "--all", "--model", out]);
    for _ in 0..3 {
        assert!(cable.fetch("normal.invalid", &cable.server_address()));
    }
    let (_, lines, said) = capture.end();
    let named: Vec<Value> = lines.into_iter().filter(|line| line["tls"]["sni"].is_string()).collect();
    let mean =
        |flows: &[Value]| flows.iter().map(|flow| flow["score"].as_f64().unwrap()).sum::<f64>() / flows.len() as f64;
    assert_eq!(named.len(), 3, "{said:#?}");
    assert!(mean(&named) < mean(&beacon) - 0.3, "{} and {}", mean(&named), mean(&beacon));
}

fn what_cannot_be_captured_is_said_in_one_line() {
    let cable = Cable::new();
    let here = cable.here();
    let program = env!("CARGO_BIN_EXE_veilwatch");
    let failure = |command: &mut Command| {
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    };
    let listed = String::from_utf8(Command::new(program).arg("interfaces").output().unwrap().stdout).unwrap();
    let names: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let this = names.iter().find(|line| line["name"] == here.as_str()).unwrap();
    assert_eq!((&this["up"], &this["kind"]), (&true.into(), &"Ethernet".into()), "{listed}");
    assert!(names.iter().any(|line| line["kind"] == "loopback"));
    let mistyped = failure(Command::new(program).args(["capture", "-i", &format!("{here}x")]));
    assert!(
        mistyped.contains(&format!("did you mean `{here}`")) && mistyped.contains("veilwatch interfaces"),
        "{mistyped}"
    );
    let rights = "-net_raw";
    let forbidden = failure(
        Command::new("setpriv")
            .args(["--bounding-set", rights, "--inh-caps", rights])
            .args([program, "capture", "-i", &here]),
    );
    assert!(forbidden.contains("CAP_NET_RAW") && forbidden.contains("setcap"), "{forbidden}");
    let there = failure(Command::new(program).args(["capture", "-i", &here, "--write"]).arg(example("first-run.pcap")));
    assert!(there.contains("is there already"), "{there}");
    let nowhere = failure(Command::new(program).args(["capture", "-i", &here, "--write", "/no/such/folder/file"]));
    assert!(nowhere.contains("cannot be written there"), "{nowhere}");
    if common::filters() {
        let filter = failure(Command::new(program).args(["capture", "-i", &here, "--filter", "port https and"]));
        assert!(filter.contains("capture filter"), "{filter}");
    }
    // And it ends by itself where it is told to.
    let mut capture = Capture::begin(["-i", &here, "--packets", "20", "--all"]);
    assert!(cable.fetch("one.invalid", &cable.server_address()) && cable.fetch("two.invalid", &cable.server_address()));
    assert_eq!(capture.wait().1.last().unwrap()["packets"], 20);
    let begin = Instant::now();
    let mut capture = Capture::begin(["-i", &here, "--duration", "1s"]);
    assert_eq!(capture.wait().0, Some(0));
    assert!(begin.elapsed() >= Duration::from_secs(1));
}

fn figures_for_prometheus() {
    let cable = Cable::new();
    let here = cable.here();
    let capture = Capture::begin(["-i", &here, "--metrics", "127.0.0.1:9464"]);
    let ask = |request: &str| {
        let mut stream = TcpStream::connect("127.0.0.1:9464").unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(cable.fetch("one.invalid", &cable.server_address()));
    let figure = |name: &str| -> u64 {
        let answer = ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let line = answer.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {answer}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let begin = Instant::now();
    while figure(&format!("veilwatch_packets_total{{interface=\"{here}\"}}")) < 10 {
        assert!(begin.elapsed() < LONG);
    }
    assert!(figure("process_resident_memory_bytes") > 1 << 20);
    assert!(ask("GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
    assert!(ask("POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
    // Who says nothing, or too much, stops nobody.
    let _silent = TcpStream::connect("127.0.0.1:9464").unwrap();
    let _ = TcpStream::connect("127.0.0.1:9464").unwrap().write_all(&[b'x'; 20_000]);
    assert!(ask("GET /metrics?a=b HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200"));
    capture.end();
}

/// What the kernel says of a process.
fn status_of(child: &Child, key: &str) -> String {
    status_line(child.id(), key)
}

fn status_line(pid: u32, key: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    value.unwrap().trim().to_owned()
}

fn one_right_is_enough_and_none_is_left() {
    const CAP_DAC_READ_SEARCH: u64 = 1 << 2;
    let cable = Cable::new();
    let here = cable.here();
    let confined = |child: &Child| {
        // Models that are another user's may still be read: those of the checkout are, in a namespace of users.
        let others = std::os::unix::fs::MetadataExt::uid(&root().metadata().unwrap()) != 0;
        let most = if others { CAP_DAC_READ_SEARCH } else { 0 };
        let permitted = u64::from_str_radix(&status_of(child, "CapPrm"), 16).unwrap();
        assert_eq!(permitted & !most, 0, "{permitted:x}");
        assert_eq!((status_of(child, "NoNewPrivs"), status_of(child, "Seccomp")), ("1".into(), "2".into()));
    };
    let capture = Capture::begin(["-i", &here, "--promiscuous"]);
    confined(&capture.child);
    assert!(sh(&format!("ip -details link show {here}")).contains("promiscuity 1"));
    capture.end();
    // Somebody else's user, with the one capability.
    let ambient = ["--reuid", "65534", "--clear-groups", "--inh-caps", "+net_raw", "--ambient-caps", "+net_raw"];
    if !succeeds(Command::new("setpriv").args(ambient).arg("true")) {
        eprintln!("skipped: there is no other user in this namespace");
        return;
    }
    let folder = cable.path("open");
    std::fs::create_dir(&folder).unwrap();
    sh(&format!("chown 65534 {}; chmod 755 {}", folder.display(), cable.folder.path().display()));
    let file = folder.join("by nobody.pcapng");
    // It may lie in a folder that nobody else may enter.
    let program = folder.join("veilwatch");
    std::fs::copy(env!("CARGO_BIN_EXE_veilwatch"), &program).unwrap();
    let mut command = Command::new("setpriv");
    command.args(ambient).arg(&program).args(["capture", "--all", "-i", &here, "--write"]).arg(&file);
    let capture = Capture::begin_as(command);
    confined(&capture.child);
    assert!(cable.fetch("one.invalid", &cable.server_address()));
    let (status, lines, said) = capture.end();
    assert_eq!(status, Some(0), "{said:#?}");
    assert_eq!(by_id(&of_file(&file, None)).0, by_id(&lines).0);
}

fn a_terminal_shows_alerts_as_they_come() {
    let cable = Cable::new();
    let config = prompt(&cable);
    let Ok(pair) = nix::pty::openpty(None, None) else {
        eprintln!("skipped: there are no terminals here");
        return;
    };
    let (out, err) = (pair.slave.try_clone().unwrap(), pair.slave);
    let mut child = Command::new(env!("CARGO_BIN_EXE_veilwatch"))
        .args(["capture", "-i", &cable.here(), "--all", "--config", config.to_str().unwrap()])
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .unwrap();
    let (put, shown) = channel();
    let mut terminal = std::fs::File::from(pair.master);
    std::thread::spawn(move || {
        let mut some = [0; 4096];
        // A terminal whose other side is gone is an error.
        while let Ok(bytes @ 1..) = terminal.read(&mut some) {
            let _ = put.send(String::from_utf8_lossy(&some[..bytes]).into_owned());
        }
    });
    let mut screen = String::new();
    let mut until = |words: &[&str]| {
        while !words.iter().all(|word| screen.contains(word)) {
            match shown.recv_timeout(LONG) {
                Ok(more) => screen.push_str(&more),
                Err(error) => panic!("{words:?} are not shown ({error}): {screen:?}"),
            }
        }
    };
    until(&["capturing on", "packets ("]);
    assert!(cable.fetch("shown.invalid", &cable.server_address()));
    until(&["verdict", "benign", "shown.invalid (10.9.", "so far:", " lost, 1 flows"]);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGTERM).unwrap();
    until(&["live, ", " scored: 0 malicious"]);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

fn a_tunnel_is_captured_too() {
    // Makes a tunnel, and sends one datagram of UDP through it for each line that it reads.
    const PROGRAM: &str = "\
        import fcntl, struct, sys\n\
        tunnel = open('/dev/net/tun', 'r+b', buffering=0)\n\
        fcntl.ioctl(tunnel, 0x400454ca, struct.pack('16sH', b'tun9', 0x1001))\n\
        print(flush=True)\n\
        for line in sys.stdin:\n\
        \x20   tunnel.write(bytes.fromhex('4500001c 00010000 401166c3 0a000001 0a000002 00350035 0008a2c5'))\n";
    let mut command = Command::new("python3");
    command.args(["-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut tunnel) = command.spawn() else {
        eprintln!("skipped: python3 is not there to make a tunnel");
        return;
    };
    if tunnel.stdout.take().unwrap().read(&mut [0]).unwrap() == 0 {
        let _ = tunnel.wait();
        eprintln!("skipped: there are no tunnels here");
        return;
    }
    sh("ip address add 10.7.7.1/24 dev tun9; ip link set tun9 up");
    let listed = Command::new(env!("CARGO_BIN_EXE_veilwatch")).arg("interfaces").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.lines().any(|line| line.contains("tun9") && line.contains("tunnel")), "{listed}");
    let capture = Capture::begin(["-i", "tun9", "-i", "lo", "--all"]);
    tunnel.stdin.as_mut().unwrap().write_all(b"\n\n").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let (status, lines, said) = capture.end();
    let _ = (tunnel.kill(), tunnel.wait());
    assert_eq!(status, Some(0), "{said:#?}");
    let flow = lines.iter().find(|line| line["src_ip"] == "10.0.0.1").unwrap();
    assert_eq!((&flow["dest_port"], &flow["flow"]["pkts_toserver"]), (&53.into(), &2.into()));
}

fn what_is_tagged_passes_a_filter_as_in_a_file() {
    if !common::filters() || !succeeds(Command::new("python3").args(["-c", ""])) {
        eprintln!("skipped: python3 or libpcap is not there to send and ask for a tagged packet");
        return;
    }
    let cable = Cable::new();
    let here = cable.here();
    let all = cable.path("all.pcapng");
    let begin = |filter: Option<&str>, file: &Path| {
        let filter = filter.map(|filter| vec!["--filter", filter]).unwrap_or_default();
        Capture::begin(["-i", &here, "--write", file.to_str().unwrap()].into_iter().chain(filter))
    };
    let filters = ["udp port 53", "vlan and udp port 53", "ether proto 0x8100", "not udp port 53", "greater 46"];
    let whole = begin(None, &all);
    let files: Vec<PathBuf> = (0..filters.len()).map(|at| cable.path(&format!("{at}.pcapng"))).collect();
    let captures: Vec<Capture> = filters.iter().zip(&files).map(|(filter, file)| begin(Some(filter), file)).collect();
    assert!(cable.fetch("one.invalid", &cable.server_address()));
    cable.send_tagged();
    assert!(cable.fetch("two.invalid", &cable.server_address()));
    std::thread::sleep(Duration::from_millis(200));
    captures.into_iter().chain([whole]).for_each(|capture| {
        capture.end();
    });
    let read = |path: &Path, filter: Option<&str>| -> Vec<Vec<u8>> {
        let mut filter = filter.and_then(|filter| veilwatch::filter::Filter::new(filter).unwrap());
        let mut source = veilwatch::source::Source::open(path, &Default::default()).unwrap();
        let mut packets = Vec::new();
        while let Some(block) = source.next_block(None).unwrap() {
            for packet in block.packets() {
                let passes =
                    filter.as_mut().is_none_or(|filter| filter.passage(&packet) == veilwatch::filter::Passage::Seen);
                // Of what passes all the while in the background nobody knows who saw it.
                let ours = packet.data.windows(4).any(|ip| ip == [10, 9, cable.number as u8, 2] || ip == [10, 0, 0, 2]);
                if passes && ours && packet.data.get(12..14) != Some(&[8, 6]) {
                    packets.push(packet.data.to_vec());
                }
            }
        }
        packets
    };
    for (filter, file) in filters.iter().zip(&files) {
        let (live, wanted) = (read(file, None), read(&all, Some(filter)));
        assert_eq!(live, wanted, "{filter}");
    }
    assert_eq!(read(&files[1], None).len(), 1);
}

fn a_closed_terminal_is_the_end() {
    let cable = Cable::new();
    let log = cable.path("log");
    let Ok(pair) = nix::pty::openpty(None, None) else {
        eprintln!("skipped: there are no terminals here");
        return;
    };
    let mut child = Command::new(env!("CARGO_BIN_EXE_veilwatch"))
        .args(["capture", "-i", &cable.here(), "--all", "--output", log.to_str().unwrap()])
        .stdin(pair.slave.try_clone().unwrap())
        .stdout(Stdio::null())
        .stderr(pair.slave)
        .spawn()
        .unwrap();
    let mut terminal = std::fs::File::from(pair.master);
    let (mut said, mut some) = (String::new(), [0; 4096]);
    while !said.contains("capturing on") {
        let bytes = terminal.read(&mut some).unwrap();
        said.push_str(&String::from_utf8_lossy(&some[..bytes]));
    }
    std::thread::spawn(move || while terminal.read(&mut some).is_ok_and(|bytes| bytes > 0) {});
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGHUP).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(std::fs::read_to_string(&log).unwrap().contains("\"event_type\":\"summary\""));
}

fn an_interface_is_looked_into() {
    // It is found once it came, wherever it has scrolled to; then a line says it, and the prompt is gone.
    let finds = |terminal: &Terminal, words: &str| {
        let begin = Instant::now();
        loop {
            terminal.keys(&["/"]);
            terminal.keys(&[words, "Enter"]);
            std::thread::sleep(Duration::from_millis(100));
            if terminal.screen().contains(&format!("with “{words}”")) {
                break;
            }
            assert!(begin.elapsed() < LONG, "{}", terminal.screen());
        }
    };
    let cable = Cable::new();
    let saved = cable.path("saved.pcapng");
    let Some(terminal) = Terminal::begin((120, 40), &["analyse", "-i", &cable.here()]) else { return };
    terminal.shows(&["capturing", "0 lost"]);
    assert!(cable.fetch("one.invalid", &cable.server_address()));
    finds(&terminal, "one.invalid");
    terminal.keys(&["p"]);
    terminal.shows(&["paused: packets"]);
    assert!(cable.fetch("unseen.invalid", &cable.server_address()));
    // What waits in the ring at the end of the pause is after it.
    std::thread::sleep(Duration::from_secs(1));
    terminal.keys(&["p"]);
    terminal.shows(&["goes on"]);
    assert!(cable.fetch("two.invalid", &cable.server_address()));
    // A filter goes on with what comes.
    terminal.keys(&["f"]);
    terminal.types("tls.sni contains \"two\"");
    terminal.keys(&["Enter"]);
    terminal.shows(&["1 of tls.sni contains", "two.invalid"]);
    assert!(cable.fetch("two.invalid", &cable.server_address()));
    terminal.shows(&["2 of tls.sni contains"]);
    terminal.keys(&["Escape"]);
    terminal.hides("of tls.sni");
    finds(&terminal, "two.invalid");
    terminal.keys(&["x"]);
    // All that was still on its way is there.
    terminal.shows(&["packets, stopped, "]);
    terminal.keys(&["q"]);
    terminal.shows(&["not saved; leave?"]);
    terminal.keys(&["n", "w"]);
    terminal.types_path(&saved);
    terminal.keys(&["Enter"]);
    terminal.shows(&["packets are in"]);
    terminal.keys(&["q"]);
    terminal.ends();
    let names: Vec<String> =
        of_file(&saved, None).iter().filter_map(|line| line["tls"]["sni"].as_str().map(str::to_owned)).collect();
    assert!(names.contains(&"one.invalid".to_owned()) && names.contains(&"two.invalid".to_owned()), "{names:?}");
    assert!(!names.contains(&"unseen.invalid".to_owned()), "{names:?}");
}
