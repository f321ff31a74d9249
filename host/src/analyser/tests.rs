use super::*;
use crate::config::Config;
use crate::engine::{Pipeline, Progress};
use crate::packets::Extent;
use crate::plugins::Registry;
use crate::query::{Fields, PacketQuery};
use crate::source::InputLimits;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, RwLock};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/captures").join(name)
}

fn pipeline() -> Arc<Pipeline> {
    let config = Config::load(Path::new("protocols")).unwrap();
    Arc::new(Pipeline::untrained(config, &mut Registry::with_builtins().unwrap()).unwrap())
}

fn index(path: &Path) -> (Index, Opened) {
    let opened = Opened::open(path, &InputLimits::default()).unwrap();
    let again = Opened::open(path, &InputLimits::default()).unwrap();
    let mut indexer = Indexer::new(opened.source, 8, 1);
    let mut index = Index::default();
    while let Some(more) = indexer.more().unwrap() {
        index.take(more);
    }
    index.damage = indexer.damage();
    (index, again)
}

/// What the packet browser says of each packet in turn.
fn in_turn(path: &Path, pipeline: &Pipeline) -> Vec<(u64, String, Vec<u8>, usize)> {
    struct All(Vec<(u64, String, Vec<u8>, usize)>);
    impl crate::packets::PacketSink for All {
        fn packet(&mut self, view: &crate::packets::PacketView<'_>) -> std::io::Result<()> {
            self.0.push((view.packet.number, view.info.clone(), view.packet.data.to_vec(), view.tree.nodes.len()));
            Ok(())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let source = crate::source::Source::open(path, &InputLimits::default()).unwrap();
    let (numbers, stop, progress) = (crate::packets::Numbers::all(), AtomicBool::new(false), Progress::default());
    let options = crate::packets::ReadOptions { numbers: &numbers, query: None, stop: &stop, progress: &progress };
    let mut all = All(Vec::new());
    crate::packets::read(pipeline, source, options, &mut all).unwrap();
    all.0
}

#[test]
fn any_packet_is_what_it_is_when_all_are_read_in_turn() {
    let pipeline = pipeline();
    for name in ["first-run.pcap", "benign-office.pcapng", "mqtt-sensors.pcap"] {
        let path = example(name);
        let (index, opened) = index(&path);
        let book = Book::new(opened.file, Arc::clone(&pipeline));
        let wanted = in_turn(&path, &pipeline);
        assert_eq!(index.len() as usize, wanted.len());
        // In an order that is none.
        let mut differ = Vec::new();
        for step in 0..wanted.len() {
            let at = step * 7919 % wanted.len();
            let (number, info, data, nodes) = &wanted[at];
            let page = book.page(&index, *number).unwrap().unwrap();
            assert_eq!((page.number, &page.data), (*number, data), "{name}");
            if (&page.info, page.tree.nodes.len()) != (info, *nodes) {
                differ.push((*number, page.info, info.clone()));
            }
        }
        assert_eq!(differ, [], "{name}");
        assert!(book.page(&index, 0).unwrap().is_none() && book.page(&index, index.len() + 1).unwrap().is_none());
    }
}

#[test]
fn an_index_is_kept_as_long_as_its_capture_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let kept = KeptIndexes::at(&folder.path().join("cache"));
    let capture = folder.path().join("capture");
    std::fs::copy(example("first-run.pcap"), &capture).unwrap();
    let (index, _) = index(&capture);
    assert!(kept.find(&capture, 8).is_none());
    kept.keep(&capture, 8, &index).unwrap();
    assert_eq!(kept.find(&capture, 8), Some(index));
    // By other rules flows are others.
    assert!(kept.find(&capture, 7).is_none());
    let file = std::fs::read_dir(folder.path().join("cache")).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&file).unwrap();
    for end in [0, 7, 9, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&file, &bytes[..end]).unwrap();
        assert!(kept.find(&capture, 8).is_none(), "{end}");
    }
    let mut wrong = bytes.clone();
    // A count that is more than there is.
    let at = 8 + 8 + u64::from_le_bytes(bytes[8..16].try_into().unwrap()) as usize + 24;
    wrong[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
    std::fs::write(&file, &wrong).unwrap();
    assert!(kept.find(&capture, 8).is_none());
    std::fs::write(&file, &bytes).unwrap();
    assert!(kept.find(&capture, 8).is_some());
    std::fs::write(&capture, "another").unwrap();
    assert!(kept.find(&capture, 8).is_none());
}

#[test]
fn compressed_and_cut_captures_are_looked_into_too() {
    let folder = tempfile::tempdir().unwrap();
    let plain = std::fs::read(example("first-run.pcap")).unwrap();
    let (whole, _) = index(&example("first-run.pcap"));
    let packed = folder.path().join("packed");
    let mut gzip = flate2::write::GzEncoder::new(std::fs::File::create(&packed).unwrap(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &plain).unwrap();
    gzip.finish().unwrap();
    let (of_packed, opened) = index(&packed);
    assert_eq!(of_packed, whole);
    assert_eq!((opened.path, opened.bytes, opened.damage), (None, plain.len() as u64, None));
    // A file that ends before what it holds does.
    let bytes = std::fs::read(&packed).unwrap();
    std::fs::write(&packed, &bytes[..bytes.len() - 4]).unwrap();
    let opened = Opened::open(&packed, &InputLimits::default()).unwrap();
    assert!(opened.damage.is_some_and(|damage| damage.offset > 0 && !damage.what.is_empty()));
    let cut = folder.path().join("cut");
    std::fs::write(&cut, &plain[..plain.len() - 10]).unwrap();
    let (of_cut, _) = index(&cut);
    assert_eq!(of_cut.len() + 1, whole.len());
    assert!(of_cut.damage.unwrap().what.contains("cut off"));
}

#[test]
fn a_stream_is_what_both_sides_said() {
    let pipeline = pipeline();
    let (index, opened) = index(&example("benign-office.pcapng"));
    let book = Book::new(opened.file, pipeline);
    // Every flow of the capture in clear: what is said begins as HTTP does.
    let mut http = 0;
    for flow in 0..index.flows().len() as u32 {
        let stream = Stream::of(&book, &index, flow, 8).unwrap();
        let said: usize = stream.said.iter().map(|said| said.bytes.len()).sum();
        let carried: u64 = index.flows()[flow as usize].bytes.iter().sum();
        assert!(said as u64 <= carried);
        if let [asked, answered, ..] = stream.said.as_slice()
            && asked.bytes.starts_with(b"GET ")
        {
            assert!(asked.first_side && !answered.first_side && answered.bytes.starts_with(b"HTTP/1"));
            http += 1;
        }
    }
    assert!(http > 0);
    assert_eq!(Stream::of(&book, &index, u32::MAX, 8).unwrap(), Stream::default());
}

#[test]
fn statistics_count_every_packet_once() {
    let pipeline = pipeline();
    let (index, _) = index(&example("first-run.pcap"));
    let Statistics { protocols, flows, hosts, lengths, rate } = Statistics::of(&index, pipeline.tables());
    let in_flows: u64 = flows.iter().map(|count| count.packets).sum();
    let at =
        |depth: usize| protocols.iter().filter(|count| count.depth == depth).map(|count| count.packets).sum::<u64>();
    assert_eq!([at(0), at(1), at(2), at(3)], [index.len(), in_flows, in_flows, in_flows]);
    assert_eq!(lengths.iter().map(|count| count.packets).sum::<u64>(), index.len());
    assert_eq!(rate.stretches.iter().map(|(packets, _)| packets).sum::<u64>(), index.len());
    let sent: u64 = hosts.iter().map(|count| count.sent.0).sum();
    let got: u64 = hosts.iter().map(|count| count.got.0).sum();
    assert_eq!((sent, got), (in_flows, in_flows));
    assert!(flows.windows(2).all(|two| two[0].bytes >= two[1].bytes));
}

#[test]
fn flows_come_with_their_verdicts_and_what_to_look_at() {
    let path = example("first-run.pcap");
    let pipeline = Pipeline::new(Config::builtin().unwrap(), &mut Registry::with_builtins().unwrap()).unwrap();
    let source = crate::source::Source::open(&path, &InputLimits::default()).unwrap();
    let (verdicts, stop, progress) = (Verdicts::default(), AtomicBool::new(false), Progress::default());
    let summary = verdicts.find(&pipeline, source, 1, &stop, &progress).unwrap();
    assert_eq!(verdicts.len() as u64, summary.flows);
    verdicts.with(|flows| {
        let alerts: Vec<_> = flows
            .iter()
            .filter(|flow| flow.judged.verdict == Some(veilwatch_core::detect::Verdict::Malicious))
            .collect();
        assert_eq!(alerts.len() as u64, summary.malicious);
        assert!(alerts.iter().all(|flow| !flow.reasons.is_empty() && !flow.evidence.is_empty()));
    });
}

/// Looks for packets with everything known, and says which ones there are.
fn search(path: &Path, pipeline: &Arc<Pipeline>, sought: Sought, verdicts: &Verdicts) -> Vec<u32> {
    let (index, opened) = index(path);
    let packets = index.len();
    let (book, index, yes) = (Book::new(opened.file, Arc::clone(pipeline)), RwLock::new(index), AtomicBool::new(true));
    let search = Search::new(sought);
    search.run(&Ground { book: &book, index: &index, verdicts, indexed: &yes, judged: &yes, goes_on: false }).unwrap();
    assert!(search.has_ended() && search.looked() == packets);
    search.found().clone()
}

#[test]
fn a_search_finds_what_packets_in_turn_say() {
    let (pipeline, nothing) = (pipeline(), Verdicts::default());
    let fields = Fields::of(&pipeline).with_verdicts();
    for name in ["first-run.pcap", "benign-office.pcapng", "mqtt-sensors.pcap"] {
        let path = example(name);
        let expressions = [
            "frame.len > 200",
            "tcp.flags.syn == 1 && ip.ttl < 100",
            "tls",
            "tls.sni contains \"a\"",
            "tls.handshake.type == 2 || dns.qry.type == 1",
            "data",
            "warning || file.type",
            "app_proto == \"dns\" && udp.length > 50",
            "info matches \"query|SYN\"",
            "service == \"https\" || tree.tls.record",
        ];
        for text in expressions {
            let query = PacketQuery::new(text, &fields).unwrap();
            // With all of each packet looked at.
            let (index, opened) = index(&path);
            let book = Book::new(opened.file, Arc::clone(&pipeline));
            let mut walk = book.walk();
            let places: Vec<(u64, Place)> = index.from(1).collect();
            let all = |view: &crate::packets::PacketView<'_>| query.holds(view);
            let wanted: Vec<u32> = places
                .iter()
                .filter(|(number, place)| walk.next(*number, place, (Extent::ALL, None), all).unwrap())
                .map(|(number, _)| *number as u32)
                .collect();
            let found = search(&path, &pipeline, Sought::Query(Box::new(query.clone())), &nothing);
            assert_eq!(found, wanted, "{text} in {name}");
        }
        let said: Vec<u32> = in_turn(&path, &pipeline)
            .into_iter()
            .filter(|(_, info, ..)| info.to_lowercase().contains("hello"))
            .map(|(number, ..)| number as u32)
            .collect();
        assert_eq!(search(&path, &pipeline, Sought::text("HELLO").unwrap(), &nothing), said);
    }
    assert!(Sought::text("").is_none() && Sought::text(&"a".repeat(Sought::TEXT_BYTES + 1)).is_none());
}

#[test]
fn verdicts_are_those_of_packets_flows() {
    let (path, shown) = (example("first-run.pcap"), pipeline());
    let (config, mut registry) = (Config::load(Path::new("default")).unwrap(), Registry::with_builtins().unwrap());
    let judge = Pipeline::new(config, &mut registry).unwrap();
    let (verdicts, stop, progress) = (Verdicts::default(), AtomicBool::new(false), Progress::default());
    let source = crate::source::Source::open(&path, &InputLimits::default()).unwrap();
    verdicts.find(&judge, source, 1, &stop, &progress).unwrap();
    let fields = Fields::of(&shown).with_verdicts();
    assert!(PacketQuery::new("ml.score > 0.5", &Fields::of(&shown)).is_err());
    let query = PacketQuery::new("ml.verdict == \"malicious\" && ml.score > 0.9", &fields).unwrap();
    assert!(query.asks_verdicts());
    let found = search(&path, &shown, Sought::Query(Box::new(query)), &verdicts);
    // Every packet of those flows, and no other.
    let (index, _) = index(&path);
    let mut wanted: Vec<u32> = verdicts.with(|flows| {
        let alerts =
            flows.iter().filter(|flow| flow.judged.verdict == Some(veilwatch_core::detect::Verdict::Malicious));
        let flow = |line: &FlowLine| index.flow_of(line.first_packet).unwrap().0;
        alerts.flat_map(|line| index.packets_of(flow(line)).map(|number| number as u32)).collect()
    });
    wanted.sort_unstable();
    assert!(!found.is_empty() && found == wanted);
}

#[test]
fn a_search_goes_on_with_what_comes_until_it_is_told_to_stop() {
    let (path, shown) = (example("first-run.pcap"), pipeline());
    let (whole, opened) = index(&path);
    let opened_again = Opened::open(&path, &InputLimits::default()).unwrap();
    let mut indexer = Indexer::new(opened_again.source, 8, 1);
    let (book, growing) = (Book::new(opened.file, Arc::clone(&shown)), RwLock::new(Index::default()));
    let (indexed, judged, verdicts) = (AtomicBool::new(false), AtomicBool::new(false), Verdicts::default());
    let ground = Ground {
        book: &book,
        index: &growing,
        verdicts: &verdicts,
        indexed: &indexed,
        judged: &judged,
        goes_on: false,
    };
    let search = |text: &str| Search::new(Sought::text(text).unwrap());
    let (all, stopped) = (search("tcp"), search("nobody says this"));
    std::thread::scope(|scope| {
        let (one, other) = (scope.spawn(|| all.run(&ground)), scope.spawn(|| stopped.run(&ground)));
        while let Some(more) = indexer.more().unwrap() {
            growing.write().unwrap().take(more);
        }
        let begin = std::time::Instant::now();
        while stopped.looked() < whole.len() && begin.elapsed().as_secs() < 60 {
            std::thread::yield_now();
        }
        let went_on = !stopped.has_ended() && !stopped.is_whole();
        stopped.stop();
        if !went_on || stopped.looked() < whole.len() {
            all.stop();
            panic!("it did not look at all packets, or ended before they had come");
        }
        other.join().unwrap().unwrap();
        indexed.store(true, std::sync::atomic::Ordering::Relaxed);
        one.join().unwrap().unwrap();
    });
    assert!(stopped.is_stopped() && stopped.found().is_empty() && !all.found().is_empty());
    assert_eq!((all.looked(), all.is_whole()), (whole.len(), true));
}
