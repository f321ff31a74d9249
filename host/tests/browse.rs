//! Packets as a confined child tells them, and what becomes of hostile ones. This test is its own worker, as `worker.rs` is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;
#[path = "common/trials.rs"]
#[macro_use]
mod trials;

use common::example;
use libtest_mimic::Arguments;
use std::collections::BTreeSet;
use std::io::{BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use veilwatch::config::Config;
use veilwatch::engine::{Pipeline, Progress};
use veilwatch::packets::{Numbers, PacketSink, PacketView, ReadOptions, read};
use veilwatch::plugins::Registry;
use veilwatch::query::{Fields, PacketQuery};
use veilwatch::source::Source;
use veilwatch::worker::browse::*;
use veilwatch::worker::{FailedWhy, Unpacking, WorkerEnd, WorkerLimits};
use veilwatch_core::detect::Verdict;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("worker") {
        let name = PathBuf::from(std::env::args().next().unwrap());
        let name = name.file_name().unwrap().to_str().unwrap();
        return match name.strip_prefix("liar-") {
            Some(how) => lie(how),
            None => veilwatch::worker::main(|_, _| unreachable!("nothing is analysed here")),
        };
    }
    let tests = trials! {
        tells_packets_as_the_command_does
        an_index_is_kept_and_believed_only_of_its_own_capture
        a_filter_finds_what_it_finds_elsewhere_and_in_pages
        a_search_stops_and_goes_on
        verdicts_of_an_analysis_are_fields
        a_wrong_filter_has_a_place
        a_flow_has_its_packets_and_its_stream
        names_are_completed
        a_compressed_capture_is_the_same
        a_damaged_capture_and_one_that_is_too_long_say_so
        what_is_no_capture_is_said_so
        it_is_confined
        tables_of_ones_own_name_ports
        a_child_that_was_killed_is_told_as_such
        what_is_no_question_ends_the_child
        liars_are_not_believed
    };
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with the files that a child writes.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["index", "unpacked"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn with(&self, name: &str, bytes: &[u8]) -> PathBuf {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn order(&self, capture: &Path) -> BrowseOrder {
        BrowseOrder {
            tables: None,
            judged: None,
            capture: capture.to_owned(),
            identity: "this one".to_owned(),
            kept: None,
            follows: false,
            index: self.path("index"),
            unpacked: self.path("unpacked"),
            packets: 1 << 20,
            index_bytes: 1 << 26,
            unpacking: Unpacking::default(),
            limits: WorkerLimits::default(),
        }
    }
}

fn start(order: &BrowseOrder) -> Reader {
    Reader::start(&std::env::current_exe().unwrap(), order).unwrap()
}

fn rows(from: u64, count: u32, filter: &str) -> Ask {
    Ask::Rows { from, count, flow: None, filter: filter.to_owned(), search: true }
}

fn told(reader: &mut Reader, ask: &Ask) -> (ReadState, Said) {
    let answer = reader.ask(ask, PATIENCE).unwrap();
    (answer.read, answer.said)
}

fn told_rows(reader: &mut Reader, ask: &Ask) -> PacketRows {
    match told(reader, ask).1 {
        Said::Rows(rows) => rows,
        other => panic!("{other:?}"),
    }
}

/// Asks until the search is over.
fn found(reader: &mut Reader, ask: &Ask) -> PacketRows {
    loop {
        let rows = told_rows(reader, ask);
        if rows.search.as_ref().is_none_or(|search| search.done) {
            return rows;
        }
    }
}

/// Until an index that was made is written.
fn written(reader: &mut Reader) -> ReadState {
    let end = Instant::now() + PATIENCE;
    loop {
        let (read, _) = told(reader, &rows(1, 1, ""));
        if read.index_bytes.is_some() {
            return read;
        }
        assert!(Instant::now() < end, "{read:?}");
    }
}

fn packet(reader: &mut Reader, number: u64) -> PacketPage {
    match told(reader, &Ask::Packet { number }).1 {
        Said::Packet(Some(page)) => *page,
        other => panic!("{other:?}"),
    }
}

/// Number, info and the names of fields of each packet, as `veilwatch packets` shows them.
#[derive(Default)]
struct Shown(Vec<(u64, String, Vec<String>)>);

impl PacketSink for Shown {
    fn packet(&mut self, view: &PacketView<'_>) -> std::io::Result<()> {
        let fields = view.tree.nodes.iter().map(|node| node.field.to_string()).collect();
        self.0.push((view.packet.number, view.info.clone(), fields));
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn pipeline() -> Pipeline {
    let config = Config::load(Path::new("protocols")).unwrap();
    Pipeline::untrained(config, &mut Registry::with_builtins().unwrap()).unwrap()
}

fn shown(capture: &Path, query: Option<&str>) -> Vec<(u64, String, Vec<String>)> {
    let pipeline = pipeline();
    let fields = Fields::of(&pipeline);
    let query = query.map(|text| PacketQuery::new(text, &fields).unwrap());
    let source = Source::open(capture, &pipeline.config().input).unwrap();
    let (numbers, stop, progress) = (Numbers::all(), Default::default(), Progress::default());
    let options = ReadOptions { numbers: &numbers, query: query.as_ref(), stop: &stop, progress: &progress };
    let mut sink = Shown::default();
    read(&pipeline, source, options, &mut sink).unwrap();
    sink.0
}

fn tells_packets_as_the_command_does() {
    let (bench, capture) = (Bench::new(), example("first-run.pcap"));
    let mut reader = start(&bench.order(&capture));
    let read = written(&mut reader);
    let all = shown(&capture, None);
    assert_eq!((read.stage, read.packets, read.damage), (ReadStage::Ready, all.len() as u64, None));
    let list = told_rows(&mut reader, &rows(1, 40, ""));
    assert_eq!((list.rows.len(), list.before, list.after, list.search), (40, None, Some(41), None));
    for (row, (number, info, _)) in list.rows.iter().zip(&all) {
        assert_eq!((row.number, &row.info), (*number, info));
    }
    let last = all.len() as u64;
    let list = told_rows(&mut reader, &rows(last - 9, 40, ""));
    assert_eq!((list.rows.len(), list.before, list.after), (10, Some(last - 49), None));
    // The first packets of their flows are read in the same light; later ones know less of what was lost on the way.
    for (number, info, fields) in all.iter().take(60) {
        let page = packet(&mut reader, *number);
        assert_eq!(
            (&page.row.info, page.nodes.iter().map(|node| node.field.clone()).collect()),
            (info, fields.clone())
        );
        assert_eq!(page.hex.len() as u64, 2 * page.captured);
        assert!(page.nodes.iter().filter_map(|node| node.bytes).all(|(from, to)| from <= to && to <= page.captured));
        assert!(page.nodes.iter().any(|node| node.bytes.is_some()));
        assert_eq!(page.checksums.is_empty(), !fields.iter().any(|field| field == "ip"), "{fields:?}");
    }
    for number in [0, last + 1, u64::MAX] {
        assert_eq!(told(&mut reader, &Ask::Packet { number }).1, Said::Packet(None));
        let list = told_rows(&mut reader, &rows(number.max(1), 10, ""));
        assert_eq!(list.rows.is_empty(), number > last, "{number}");
    }
}

fn an_index_is_kept_and_believed_only_of_its_own_capture() {
    let (bench, capture) = (Bench::new(), example("first-run.pcap"));
    let mut reader = start(&bench.order(&capture));
    let (bytes, first) = (written(&mut reader).index_bytes.unwrap(), told_rows(&mut reader, &rows(5, 20, "")));
    drop(reader);
    let kept = bench.path("kept");
    std::fs::rename(bench.path("index"), &kept).unwrap();
    let index = std::fs::read(&kept).unwrap();
    assert_eq!(index.len() as u64, bytes);

    let again = Bench::new();
    let order = BrowseOrder { kept: Some(kept.clone()), ..again.order(&capture) };
    let mut reader = start(&order);
    let (read, said) = told(&mut reader, &rows(5, 20, ""));
    assert_eq!((said, read.stage, read.index_bytes), (Said::Rows(first.clone()), ReadStage::Ready, None));
    drop(reader);
    assert_eq!(std::fs::metadata(again.path("index")).unwrap().len(), 0);

    // Another capture's, one that was made with other bounds, a piece of one, noise, and none: a new one is made.
    let cut = again.with("cut", &index[..index.len() - 1]);
    let noise = again.with("noise", &[0xff; 5000]);
    for order in [
        BrowseOrder { identity: "another".to_owned(), ..order.clone() },
        BrowseOrder { packets: 1 << 19, ..order.clone() },
        BrowseOrder { kept: Some(cut), ..order.clone() },
        BrowseOrder { kept: Some(noise), ..order.clone() },
        BrowseOrder { kept: Some(again.path("nowhere")), ..order.clone() },
    ] {
        again.with("index", b"");
        let mut reader = start(&order);
        assert_eq!(written(&mut reader).index_bytes, Some(std::fs::metadata(again.path("index")).unwrap().len()));
        assert_eq!(told_rows(&mut reader, &rows(5, 20, "")), first);
    }
    // One that is too large is not written, and nothing else is lost.
    again.with("index", b"");
    let mut reader = start(&BrowseOrder { index_bytes: 1000, kept: None, ..order });
    assert_eq!(told_rows(&mut reader, &rows(5, 20, "")), first);
    drop(reader);
    assert_eq!(std::fs::metadata(again.path("index")).unwrap().len(), 0);
}

fn a_filter_finds_what_it_finds_elsewhere_and_in_pages() {
    let (bench, capture) = (Bench::new(), example("first-run.pcap"));
    let mut reader = start(&bench.order(&capture));
    for filter in ["tls.handshake.type == 1", "tcp.flags.syn == 1 && tcp.flags.ack == 0", "frame.number > 100000"] {
        let wanted: Vec<u64> = shown(&capture, Some(filter)).into_iter().map(|(number, ..)| number).collect();
        assert_eq!(wanted.is_empty(), filter.starts_with("frame"), "{filter}");
        let (mut from, mut got, mut begins) = (1, Vec::new(), Vec::new());
        loop {
            let list = found(&mut reader, &rows(from, 7, filter));
            assert_eq!(list.before, begins.last().copied(), "{filter}");
            assert_eq!(list.search.unwrap().found, wanted.len() as u64);
            begins.extend(list.rows.first().map(|row| row.number));
            got.extend(list.rows.iter().map(|row| row.number));
            match list.after {
                Some(after) => from = after,
                None => break,
            }
        }
        assert_eq!(got, wanted, "{filter}");
    }
}

fn a_search_stops_and_goes_on() {
    let (bench, capture) = (Bench::new(), example("first-run.pcap"));
    let mut reader = start(&bench.order(&capture));
    written(&mut reader);
    let ask = |search| Ask::Rows { from: 1, count: 5, flow: None, filter: "frame.number == 3".to_owned(), search };
    let before = told_rows(&mut reader, &ask(false)).search.unwrap();
    assert_eq!((before.scanned, before.done), (0, false), "it has not begun");
    let list = found(&mut reader, &ask(true));
    assert_eq!(list.rows.iter().map(|row| row.number).collect::<Vec<_>>(), [3]);
    // What was found is remembered while others are looked for.
    found(&mut reader, &rows(1, 5, "udp"));
    assert!(told_rows(&mut reader, &ask(false)).search.unwrap().done);
}

fn verdicts_of_an_analysis_are_fields() {
    let bench = Bench::new();
    let capture = example("first-run.pcap");
    let mut plain = start(&bench.order(&capture));
    let asked = r#"ml.verdict == "malicious" && ml.score > 0.9 && ml.category == "c2-direct""#;
    assert!(matches!(told(&mut plain, &rows(1, 5, asked)).1, Said::Wrong(_)), "where nothing is known they are none");
    let numbers = |rows: &PacketRows| -> Vec<u64> { rows.rows.iter().map(|row| row.number).collect() };
    let hello = numbers(&found(&mut plain, &rows(1, 1, "tls")))[0];
    let of_flow = Ask::Rows { from: 1, count: 500, flow: Some(hello), filter: String::new(), search: true };
    let expected = numbers(&found(&mut plain, &of_flow));
    assert!(expected.len() > 1);

    // Empty at first: it is read once there is something in it. What makes no sense is passed over.
    let judged = bench.with("judged", b"");
    let mut reader = start(&BrowseOrder { judged: Some(judged.clone()), ..bench.order(&capture) });
    assert!(told_rows(&mut reader, &rows(1, 20, "")).rows.iter().all(|row| row.verdict.is_none()));
    let lines = format!(
        "nonsense\n{{\"packet\":0}}\n{{\"packet\":99999999,\"novel\":false}}\n{}\n{{\"packet\":{},\"verdict\":\"malicious\",\
         \"score\":0.95,\"novelty\":0.5,\"novel\":true,\"category\":\"c2-direct\"}}\n",
        "x".repeat(2000),
        expected[0]
    );
    // A part of it is not taken for all of it: whoever asks for verdicts waits.
    let mut told_so_far = vec![JUDGED_PART];
    told_so_far.extend_from_slice(lines.as_bytes());
    std::fs::write(&judged, &told_so_far).unwrap();
    written(&mut reader);
    let waits = told_rows(&mut reader, &rows(1, 500, asked)).search.unwrap();
    assert_eq!((waits.scanned, waits.done), (0, false));
    assert!(told_rows(&mut reader, &rows(1, 500, "")).rows.iter().all(|row| row.verdict.is_none()));
    told_so_far[0] = b'\n';
    std::fs::write(&judged, &told_so_far).unwrap();
    assert_eq!(numbers(&found(&mut reader, &rows(1, 500, asked))), expected);
    assert!(found(&mut reader, &rows(1, 500, "ml.novel && ml.novelty < 0.5")).rows.is_empty());
    let shown = found(&mut reader, &rows(1, 500, ""));
    let marked = shown.rows.iter().filter(|row| row.verdict == Some(Verdict::Malicious)).map(|row| row.number);
    let last = shown.rows.last().unwrap().number;
    assert!(marked.eq(expected.into_iter().filter(|number| *number <= last)));
}

fn a_wrong_filter_has_a_place() {
    let (bench, capture) = (Bench::new(), example("ssh-greeting.pcap"));
    let mut reader = start(&bench.order(&capture));
    let Said::Wrong(wrong) = told(&mut reader, &rows(1, 5, "tcp.prt == 1")).1 else { panic!() };
    assert_eq!(wrong.place, (0, 7));
    assert!(wrong.what.contains("tcp.port"), "{wrong:?}");
    let Said::Wrong(wrong) = told(&mut reader, &rows(1, 5, "tcp &&")).1 else { panic!() };
    assert_eq!(wrong.place.0, 6);
    let Said::Wrong(wrong) = told(&mut reader, &rows(1, 5, "verdict == \"malicious\"")).1 else { panic!() };
    // Nobody judges flows here.
    assert!(wrong.what.contains("a field of flows") && wrong.place == (0, 7), "{wrong:?}");
    for nasty in ["((((", "\"", "\u{202e}\0", &"!".repeat(4000), "tcp.port matches \"(\""] {
        assert!(matches!(told(&mut reader, &rows(1, 5, nasty)).1, Said::Wrong(_)), "{nasty}");
    }
    assert_eq!(told_rows(&mut reader, &rows(1, 5, " ")).rows.len(), 5);
}

fn a_flow_has_its_packets_and_its_stream() {
    let (bench, capture) = (Bench::new(), example("ssh-greeting.pcap"));
    let mut reader = start(&bench.order(&capture));
    let all = shown(&capture, Some("tcp"));
    let ask = |from| Ask::Rows { from, count: 4, flow: Some(all[0].0), filter: String::new(), search: false };
    let mut got = Vec::new();
    let mut from = Some(1);
    while let Some(begin) = from {
        let list = told_rows(&mut reader, &ask(begin));
        assert_eq!(list.before.is_some(), begin > 1);
        got.extend(list.rows.iter().map(|row| row.number));
        from = list.after;
    }
    let page = packet(&mut reader, all[0].0);
    assert_eq!(got.len() as u64, page.flow_packets.unwrap());
    let numbers: BTreeSet<u64> = all.iter().map(|(number, ..)| *number).collect();
    assert!(got.iter().all(|number| numbers.contains(number)), "{got:?}");

    let Said::Stream(Some(part)) = told(&mut reader, &Ask::Stream { packet: all[0].0, skip: 0 }).1 else { panic!() };
    let greeting = veilwatch::hash::hex(b"SSH-2.0-");
    assert!(part.pieces[0].hex.starts_with(&greeting), "{part:?}");
    assert!(part.pieces.iter().any(|piece| piece.first_side) && part.pieces.iter().any(|piece| !piece.first_side));
    let bytes: u64 = part.pieces.iter().map(|piece| piece.hex.len() as u64 / 2).sum();
    assert_eq!((bytes, part.skipped, part.ends.len()), (part.bytes, 0, 2));
    let Said::Stream(Some(rest)) = told(&mut reader, &Ask::Stream { packet: all[0].0, skip: 4 }).1 else { panic!() };
    assert_eq!(rest.pieces[0].hex, part.pieces[0].hex[8..]);
    assert_eq!(told(&mut reader, &Ask::Stream { packet: u64::MAX, skip: 0 }).1, Said::Stream(None));
}

fn names_are_completed() {
    let (bench, capture) = (Bench::new(), example("ssh-greeting.pcap"));
    let mut reader = start(&bench.order(&capture));
    let ask = Ask::Complete { text: "ip && tcp.po == 1".to_owned(), cursor: 12 };
    let Said::Complete(said) = told(&mut reader, &ask).1 else { panic!() };
    assert_eq!(said.replaces, (6, 12));
    assert!(said.fields.iter().any(|(name, words)| name == "tcp.port" && !words.is_empty()), "{said:?}");
    let ask = Ask::Complete { text: String::new(), cursor: u64::MAX };
    let Said::Complete(said) = told(&mut reader, &ask).1 else { panic!() };
    assert_eq!(said.fields.len(), COMPLETIONS);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn a_compressed_capture_is_the_same() {
    let (bench, capture) = (Bench::new(), example("benign-office.pcapng"));
    let bytes = std::fs::read(&capture).unwrap();
    let packed = bench.with("packed", &gzip(&bytes));
    let mut reader = start(&bench.order(&packed));
    let read = written(&mut reader);
    assert_eq!(std::fs::read(bench.path("unpacked")).unwrap(), bytes);
    let other = Bench::new();
    let mut plain = start(&other.order(&capture));
    assert_eq!(written(&mut plain).packets, read.packets);
    assert_eq!(told_rows(&mut plain, &rows(100, 50, "")), told_rows(&mut reader, &rows(100, 50, "")));
    assert_eq!(packet(&mut plain, 77), packet(&mut reader, 77));
    // One that ends before what it holds does, if only by its sum, is whole to nobody.
    let cut = Bench::new();
    let bytes = gzip(&bytes);
    let path = cut.with("cut", &bytes[..bytes.len() - 4]);
    let mut reader = start(&cut.order(&path));
    let read = written(&mut reader);
    assert!(read.packets > 0 && read.damage.is_some(), "{read:?}");
    // A bomb is unpacked as far as it may.
    let bomb = Bench::new();
    let bounded = Unpacking { bytes: 100_000, ratio: u32::MAX };
    let mut reader = start(&BrowseOrder { unpacking: bounded, ..bomb.order(&packed) });
    let read = written(&mut reader);
    assert!(read.packets > 0 && read.damage.is_some(), "{read:?}");
    assert!(std::fs::metadata(bomb.path("unpacked")).unwrap().len() <= 100_000);
}

fn a_damaged_capture_and_one_that_is_too_long_say_so() {
    let bench = Bench::new();
    let mut bytes = std::fs::read(example("first-run.pcap")).unwrap();
    bytes.truncate(bytes.len() / 2);
    let half = bench.with("half", &bytes);
    let mut reader = start(&bench.order(&half));
    let read = written(&mut reader);
    assert!(read.damage.is_some() && !read.is_cut && read.packets > 10, "{read:?}");
    drop(reader);
    // An index says so as well.
    let kept = bench.path("kept");
    std::fs::copy(bench.path("index"), &kept).unwrap();
    let mut reader = start(&BrowseOrder { kept: Some(kept), ..bench.order(&half) });
    assert_eq!(told(&mut reader, &rows(1, 1, "")).0.damage, read.damage);

    let bench = Bench::new();
    let bytes = std::fs::read(example("first-run.pcap")).unwrap();
    let path = bench.with("long", &[&bytes[..], &bytes[24..], &bytes[24..]].concat());
    let mut reader = start(&BrowseOrder { packets: 10, ..bench.order(&path) });
    let read = written(&mut reader);
    assert!(read.is_cut && read.packets >= 10, "{read:?}");
}

fn what_is_no_capture_is_said_so() {
    let bench = Bench::new();
    let mut nothing = b"no capture at all".to_vec();
    nothing.resize(400, b'x');
    for (path, why) in [
        (bench.with("text", &nothing), FailedWhy::NotACapture),
        (bench.with("empty", b""), FailedWhy::Empty),
        (bench.path("nowhere"), FailedWhy::Unreadable),
        (bench.with("bomb", &gzip(&gzip(&gzip(b"x")))), FailedWhy::Unreadable),
    ] {
        match start(&bench.order(&path)).ask(&rows(1, 1, ""), PATIENCE) {
            Err(WorkerEnd::Failed(failed)) => assert_eq!(failed.why, why, "{failed:?}"),
            other => panic!("{}: {other:?}", path.display()),
        }
    }
}

fn tables_of_ones_own_name_ports() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("added")).unwrap();
    std::fs::write(bench.path("added/added.toml"), "[tcp]\n443 = \"our-portal\"\n").unwrap();
    let capture = example("first-run.pcap");
    let tree = |order: &BrowseOrder| {
        let mut reader = start(order);
        let found = found(&mut reader, &rows(1, 1, "tcp.dstport == 443"));
        format!("{:?}", packet(&mut reader, found.rows[0].number))
    };
    let order = bench.order(&capture);
    assert!(!tree(&order).contains("our-portal"));
    let with = tree(&BrowseOrder { tables: Some(bench.path("added")), ..order });
    assert!(with.contains("our-portal"), "{with}");
}

fn it_is_confined() {
    let (bench, capture) = (Bench::new(), example("ssh-greeting.pcap"));
    let mut reader = start(&bench.order(&capture));
    told(&mut reader, &rows(1, 1, ""));
    let status = std::fs::read_to_string(format!("/proc/{}/status", reader.process_id())).unwrap();
    // A filter of system calls, and no new rights.
    assert!(status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"), "{status}");
    let id = reader.process_id();
    drop(reader);
    assert!(!Path::new(&format!("/proc/{id}")).exists(), "it has ended and is reaped");
}

fn a_child_that_was_killed_is_told_as_such() {
    let (bench, capture) = (Bench::new(), example("ssh-greeting.pcap"));
    let mut reader = start(&bench.order(&capture));
    told(&mut reader, &rows(1, 1, ""));
    let process = nix::unistd::Pid::from_raw(reader.process_id() as i32);
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL).unwrap();
    match reader.ask(&rows(1, 1, ""), PATIENCE) {
        Err(WorkerEnd::Crashed { signal: Some(9), .. }) => {}
        other => panic!("{other:?}"),
    }
    let stopped = start(&bench.order(&capture)).process_id();
    assert!(!Path::new(&format!("/proc/{stopped}")).exists(), "one that is not asked ends as well");
}

fn what_is_no_question_ends_the_child() {
    let (bench, capture) = (Bench::new(), example("ssh-greeting.pcap"));
    let order = serde_json::to_string(&bench.order(&capture)).unwrap();
    let long = format!("{{\"id\":1,\"ask\":{{\"packet\":{{\"number\":1}},\"x\":\"{}\"}}}}", "x".repeat(ASKED_BYTES));
    for question in ["", "stop", "{}", "{\"id\":1,\"ask\":\"leave\"}", "\0\x7f", "{\"id\":-1,\"ask\":{}}", &long] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        // It may be gone before all of it is written.
        let _ = input.write_all(format!("{order}\n{question}\n").as_bytes());
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(!child.wait().unwrap().success(), "{question}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("\"failed\"") && said.contains("no question"), "{said}");
    }
}

/// A child that somebody has taken over: it answers whatever it is asked.
fn lie(how: &str) -> ExitCode {
    if how == "ahead" {
        // It knows what will be asked, and reads nothing.
        for id in 1..=3 {
            let answer = format!(
                r#"{{"id":{id},"read":{{"stage":"ready","bytes":1,"total_bytes":1,"packets":9,"is_cut":false,"damage":null,"index_bytes":null}},"said":{{"unreadable":"no"}}}}"#
            );
            drop(writeln!(std::io::stdout(), "{answer}"));
        }
        std::thread::sleep(PATIENCE);
        return ExitCode::SUCCESS;
    }
    // Nobody listens any more to one that was found out.
    let say =
        |words: &str| drop(std::io::stdout().write_all(words.as_bytes()).and_then(|()| std::io::stdout().flush()));
    let mut lines = std::io::stdin().lock().lines();
    let (_, asked) = (lines.next(), lines.next());
    let asked: Asked = serde_json::from_str(&asked.unwrap().unwrap()).unwrap();
    let read = ReadState {
        stage: ReadStage::Ready,
        bytes: 1,
        total_bytes: 1,
        packets: 9,
        is_cut: false,
        damage: None,
        index_bytes: None,
    };
    let row = PacketRow {
        number: 1,
        since_ns: 0,
        src: "a".to_owned(),
        dst: "b".to_owned(),
        protocol: "TCP".to_owned(),
        wire_len: 3,
        info: "info".to_owned(),
        verdict: None,
    };
    let rows = |rows: Vec<PacketRow>| Said::Rows(PacketRows { rows, before: None, after: None, search: None });
    let field = |bytes| PacketField {
        depth: 0,
        field: "f".to_owned(),
        label: "l".to_owned(),
        value: String::new(),
        bytes: Some(bytes),
    };
    let page = PacketPage {
        row: row.clone(),
        time_ns: 0,
        nodes: vec![field((0, 3))],
        left_out: 0,
        checksums: Vec::new(),
        warnings: Vec::new(),
        hex: "00ff7f".to_owned(),
        captured: 3,
        flow_packets: None,
    };
    let packet = |page| Said::Packet(Some(Box::new(page)));
    let mut answer = Answer { id: asked.id, read, said: rows(vec![row.clone()]) };
    match how {
        "truth" => {}
        "packet-truth" => answer.said = packet(page),
        "id" => answer.id += 1,
        "many" => answer.said = rows((1..=6).map(|number| PacketRow { number, ..row.clone() }).collect()),
        "order" => answer.said = rows(vec![PacketRow { number: 2, ..row.clone() }, row]),
        "early" => answer.said = rows(vec![PacketRow { number: 0, ..row }]),
        "long" => answer.said = rows(vec![PacketRow { info: "x".repeat(10 * INFO_BYTES + 5), ..row }]),
        "search" => {
            let search = Some(Searched { scanned: 1, found: 1, done: true, may_miss: false });
            answer.said = Said::Rows(PacketRows { rows: Vec::new(), before: None, after: None, search });
        }
        "other" => answer.said = Said::Stream(None),
        "damage" => answer.read.damage = Some("x".repeat(10 * WORDS_BYTES + 5)),
        "packet-number" => answer.said = packet(PacketPage { row: PacketRow { number: 2, ..row }, ..page }),
        "packet-hex" => answer.said = packet(PacketPage { hex: "<b>xyz".to_owned(), ..page }),
        "packet-odd" => answer.said = packet(PacketPage { hex: "00f".to_owned(), captured: 1, ..page }),
        "packet-short" => answer.said = packet(PacketPage { captured: 4, ..page }),
        "packet-range" => answer.said = packet(PacketPage { nodes: vec![field((2, 4))], ..page }),
        "packet-back" => answer.said = packet(PacketPage { nodes: vec![field((2, 1))], ..page }),
        "packet-deep" => {
            answer.said = packet(PacketPage { nodes: vec![PacketField { depth: 99, ..field((0, 1)) }], ..page })
        }
        "packet-words" => {
            let value = "x".repeat(10 * 512 + 5);
            answer.said = packet(PacketPage { nodes: vec![PacketField { value, ..field((0, 1)) }], ..page })
        }
        "packet-steers" => {
            let label = "a\u{202e}b".to_owned();
            answer.said = packet(PacketPage { nodes: vec![PacketField { label, ..field((0, 1)) }], ..page })
        }
        "packet-warnings" => answer.said = packet(PacketPage { warnings: vec![String::new(); REMARKS + 1], ..page }),
        "unreadable" => answer.said = Said::Unreadable("a\u{1b}[31m".to_owned()),
        "packet-nodes" => answer.said = packet(PacketPage { nodes: vec![field((0, 1)); 5000], ..page }),
        "prose" => say("here you are\n"),
        "event" => say("{\"cut\":{\"packets\":1,\"complete\":true}}\n"),
        "flood" => say(&"x".repeat(ANSWER_BYTES + 10)),
        "sleep" => std::thread::sleep(PATIENCE),
        "half" => {
            say("{\"id\"");
            return ExitCode::FAILURE;
        }
        _ => return ExitCode::from(3),
    }
    say(&(serde_json::to_string(&answer).unwrap() + "\n"));
    // It says no more, and waits to be ended.
    for _ in lines {}
    ExitCode::SUCCESS
}

fn liars_are_not_believed() {
    let (bench, capture) = (Bench::new(), example("ssh-greeting.pcap"));
    let ask = |how: &str| {
        let program = bench.path(&format!("liar-{how}"));
        std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &program).unwrap();
        let patience = if how == "sleep" { Duration::from_millis(300) } else { PATIENCE };
        let question = if how.starts_with("packet") { Ask::Packet { number: 1 } } else { rows(1, 5, "") };
        let mut reader = Reader::start(&program, &bench.order(&capture)).unwrap();
        let answer = reader.ask(&question, patience);
        (answer, reader.process_id())
    };
    for how in ["truth", "packet-truth"] {
        let (answer, _) = ask(how);
        assert!(answer.is_ok(), "{how}: {answer:?}");
    }
    for how in [
        "id",
        "many",
        "order",
        "early",
        "long",
        "search",
        "other",
        "damage",
        "packet-number",
        "packet-hex",
        "packet-odd",
        "packet-short",
        "packet-range",
        "packet-back",
        "packet-deep",
        "packet-nodes",
        "packet-words",
        "packet-steers",
        "packet-warnings",
        "unreadable",
        "prose",
        "event",
        "flood",
    ] {
        let (answer, process) = ask(how);
        assert!(matches!(answer, Err(WorkerEnd::Babble { .. })), "{how}: {answer:?}");
        assert!(!Path::new(&format!("/proc/{process}")).exists(), "{how}: it is ended");
    }
    let program = bench.path("liar-ahead");
    std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &program).unwrap();
    let mut reader = Reader::start(&program, &bench.order(&capture)).unwrap();
    let begin = Instant::now();
    let found_out = (0..3).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        matches!(reader.ask(&rows(1, 5, &"\u{1}".repeat(4000)), PATIENCE), Err(WorkerEnd::Babble { .. }))
    });
    assert!(found_out && begin.elapsed() < PATIENCE);
    assert!(matches!(ask("sleep").0, Err(WorkerEnd::WallTime { .. })));
    for how in ["half", "silent"] {
        assert!(matches!(ask(how).0, Err(WorkerEnd::Crashed { .. })), "{how}");
    }
}
