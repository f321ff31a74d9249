use super::super::{Altering, Dataset, Loading, load, load_altered};
use super::packets::altered;
use super::*;
use crate::config::Config;
use crate::engine::{Detection, Pipeline, Progress, RunOptions, Sink, run};
use crate::plugins::Registry;
use crate::source::{InputLimits, Source};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use veilwatch_core::packet::{LinkType, decode};
use veilwatch_core::record::{CertificateInfo, ClientHello, Dns, Record, TlsRecords};
use veilwatch_core::tables::Tables;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn list(words: &[&str]) -> Vec<Alteration> {
    words.iter().map(|word| word.parse().unwrap()).collect()
}

fn open(capture: &str, words: &[&str], seed: u64) -> Source {
    let limits = InputLimits::default();
    let source = Source::open(&root().join("examples/captures").join(capture), &limits).unwrap();
    altered(source, &list(words), capture, seed, &limits).unwrap()
}

/// Time, length on the wire, and bytes of every packet.
type Packets = Vec<(u64, u32, Vec<u8>)>;

fn packets(capture: &str, words: &[&str], seed: u64) -> Packets {
    let mut source = open(capture, words, seed);
    let mut packets = Vec::new();
    while let Some(block) = source.next_block(None).unwrap() {
        packets.extend(block.packets().map(|packet| (packet.time_ns, packet.wire_len, packet.data.to_vec())));
    }
    assert_eq!(source.status().damage, None);
    packets
}

#[test]
fn each_is_written_as_it_is_read() {
    for alteration in Alteration::USUAL {
        assert_eq!(alteration.to_string().parse(), Ok(alteration));
    }
    for wrong in
        ["", "loss", "loss=1", "loss=NaN", "loss=-0.1", "snaplen=0", "mtu=64", "jitter=20", "hide=all", "pad=0", "x=1"]
    {
        assert!(wrong.parse::<Alteration>().is_err(), "{wrong}");
    }
}

#[test]
fn a_snap_length_keeps_the_beginning_and_the_length() {
    let (whole, cut) = (packets("first-run.pcap", &[], 1), packets("first-run.pcap", &["snaplen=100"], 1));
    assert!(whole.iter().any(|(_, _, data)| data.len() > 100));
    let expected: Packets =
        whole.into_iter().map(|(time, len, data)| (time, len, data[..data.len().min(100)].to_vec())).collect();
    assert_eq!(cut, expected);
}

#[test]
fn loss_drops_its_share_and_the_same_for_the_same_seed() {
    let whole = packets("first-run.pcap", &[], 1);
    let lost = |share: &str, seed| packets("first-run.pcap", &[share], seed);
    let left = lost("loss=0.25", 1);
    let share = 1.0 - left.len() as f64 / whole.len() as f64;
    assert!((share - 0.25).abs() < 0.08, "{share} of {}", whole.len());
    let mut from = whole.iter();
    assert!(left.iter().all(|packet| from.any(|other| other == packet)), "in order, and nothing new");
    assert_eq!(left, lost("loss=0.25", 1));
    assert_ne!(left, lost("loss=0.25", 2));
    assert_eq!(whole, lost("loss=0", 1));
}

#[test]
fn jitter_moves_times_within_its_bounds_and_keeps_them_in_order() {
    let whole = packets("first-run.pcap", &[], 1);
    let moved = packets("first-run.pcap", &["jitter=20ms"], 1);
    assert!(moved.is_sorted_by_key(|(time, ..)| *time));
    assert_ne!(moved, whole);
    assert_eq!(moved, packets("first-run.pcap", &["jitter=20ms"], 1));
    // Each packet is found again within 20 ms of where it was.
    let mut left = whole.clone();
    for (time, _, data) in &moved {
        let at = left.iter().position(|(was, _, same)| same == data && was.abs_diff(*time) <= 20_000_000).unwrap();
        left.remove(at);
    }
    assert_eq!(packets("first-run.pcap", &["jitter=0ms"], 1).len(), whole.len());
}

/// What a pipeline reads of each flow: the ClientHello, the certificate, the payload of both sides.
#[derive(Default)]
struct Read(Vec<String>);

impl Sink for Read {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        let flow = detection.flow;
        let payload = flow.stats.map(|stats| stats.payload_bytes);
        let fields = &flow.fields;
        self.0.push(format!(
            "{} {payload:?} {:?} {:?} {:?}",
            flow.id,
            fields.record::<ClientHello<'_>>(),
            fields.record::<CertificateInfo<'_>>(),
            fields.record::<TlsRecords<'_>>(),
        ));
        Ok(())
    }
}

#[test]
fn what_is_cut_for_a_small_mtu_says_the_same() {
    let config = Config::builtin().unwrap();
    let pipeline = Pipeline::untrained(config, &mut Registry::with_builtins().unwrap()).unwrap();
    let read = |capture: &str, words: &[&str]| {
        let (stop, progress) = (AtomicBool::new(false), Progress::default());
        let options = RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress };
        let mut read = Read::default();
        run(&pipeline, open(capture, words, 1), options, &mut read).unwrap();
        read.0.sort();
        read.0
    };
    for capture in ["first-run.pcap", "benign-odd.pcap", "malicious-beacon-tls12.pcap"] {
        let whole = packets(capture, &[], 1);
        let cut = packets(capture, &["mtu=576"], 1);
        assert!(cut.len() > whole.len(), "{capture}");
        // Ethernet's header is no part of the packet.
        assert!(cut.iter().all(|(_, len, data)| *len <= 576 + 14 || data[23] == 17), "{capture}");
        assert_eq!(read(capture, &[]), read(capture, &["mtu=576"]), "{capture}");
        assert_eq!(read(capture, &[]), read(capture, &["mtu=128"]), "{capture}");
    }
}

/// A TCP packet with a payload, over IPv4 or IPv6, and behind so many tags.
fn segment(v6: bool, tags: usize, len: usize) -> Vec<u8> {
    let mut data = vec![2; 12];
    for _ in 0..tags {
        data.extend([0x81, 0, 0, 7]);
    }
    let payload: Vec<u8> = (0..len).map(|at| (at * 7 % 251) as u8).collect();
    if v6 {
        data.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        data.extend(((20 + len) as u16).to_be_bytes());
        data.extend([6, 64]);
        data.extend([9; 32]);
    } else {
        data.extend([0x08, 0, 0x45, 0]);
        data.extend(((40 + len) as u16).to_be_bytes());
        data.extend([0xff, 0xff, 0x40, 0, 64, 6, 0, 0]);
        data.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    }
    data.extend([0x12, 0x34, 1, 0xbb, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 0x50, 0x19, 1, 0, 0, 0, 0, 0]);
    data.extend(payload);
    data
}

#[test]
fn what_was_hardly_kept_is_not_cut_into_headers() {
    let data = segment(false, 0, 65_000);
    let wire_len = data.len() as u32;
    let pieces = |kept: usize| {
        let frame = packets::Frame { time_ns: 5, link: LinkType::ETHERNET, wire_len, data: data[..kept].to_vec() };
        let mut bytes = Vec::new();
        segments::cut(frame, 128, &mut |piece| bytes.push(piece.data.len()));
        bytes
    };
    assert_eq!(pieces(54), [54]);
    assert!(pieces(data.len()).len() > 700);
    assert!(pieces(2000).iter().sum::<usize>() <= 2000 * 257);
}

proptest! {
    /// Cut at any size, anywhere along its capture: the pieces have the payload, and every checksum is right.
    #[test]
    fn pieces_make_the_segment(v6: bool, tags in 0usize..3, len in 1usize..4000, mtu in 128usize..1500, lost in 0usize..4000) {
        use veilwatch_core::packet::{Packet, dissect};
        let data = segment(v6, tags, len);
        let wire_len = data.len() as u32;
        let headers = data.len() - len;
        let kept = data[..headers + len.saturating_sub(lost)].to_vec();
        let frame = packets::Frame { time_ns: 5, link: LinkType::ETHERNET, wire_len, data: kept.clone() };
        let mut pieces = Vec::new();
        segments::cut(frame.clone(), mtu, &mut |piece| pieces.push(piece));
        let fits = headers - 14 - tags * 4 + len <= mtu;
        prop_assert_eq!(pieces.len() == 1 && pieces[0] == frame, fits);
        let mut joined = Vec::new();
        let mut on_wire = 0;
        for (at, piece) in pieces.iter().enumerate() {
            let packet = Packet { number: 1, time_ns: 5, link: piece.link, wire_len: piece.wire_len, data: &piece.data };
            let decoded = decode(&packet).unwrap();
            let tcp = decoded.tcp.unwrap();
            prop_assert!(decoded.ip_len as usize <= mtu);
            prop_assert_eq!(tcp.seq, 0xffff_ff00_u32.wrapping_add(on_wire));
            prop_assert_eq!(tcp.flags & 0x09 == 0x09, at + 1 == pieces.len(), "FIN and PSH at the end alone");
            on_wire += decoded.payload_len;
            joined.extend_from_slice(decoded.payload);
            let drawn = dissect::dissect(&packet, &dissect::Surroundings { tables: &Tables::default(), begin_ns: 0, first_seq: None, first_ack: None });
            let bad = drawn.outline.checksums.iter().filter(|one| matches!(one.status, dissect::ChecksumStatus::Bad { .. }));
            prop_assert!(fits || bad.count() == 0);
        }
        prop_assert_eq!(on_wire as usize, len);
        prop_assert_eq!(&joined[..], &kept[headers..]);
    }

    /// Whatever a packet holds.
    #[test]
    fn junk_stays_or_is_cut_without_a_word(
        data in prop::collection::vec(any::<u8>(), 0..200), more in 0u32..9000, link in 0u16..300, mtu in 128usize..600,
        head in 0usize..4,
    ) {
        // Some that begin well.
        let mut data = data;
        let begin = [vec![], segment(false, 0, 0), segment(true, 1, 0), segment(false, 0, 1200)][head].clone();
        let some = begin.len().min(data.len() / 2 + 30).min(begin.len());
        data.splice(0..0, begin[..some].iter().copied());
        let link = if head > 0 { LinkType::ETHERNET } else { LinkType(link) };
        let frame = packets::Frame { time_ns: 5, link, wire_len: data.len() as u32 + more, data };
        let mut bytes = 0;
        segments::cut(frame.clone(), mtu, &mut |piece| {
            assert!(piece.data.len() <= piece.wire_len as usize);
            bytes += piece.data.len();
        });
        prop_assert!(bytes + 64 >= frame.data.len().min(64));
    }
}

fn data(words: &[&str]) -> Dataset {
    let config = Config::builtin().unwrap();
    let pipeline = Pipeline::untrained(config, &mut Registry::with_builtins().unwrap()).unwrap();
    let alterations = list(words);
    let altering = Altering { alterations: &alterations, seed: 1 };
    load_altered(&root().join("examples/labels"), &pipeline, 1, &Loading::default(), altering).unwrap()
}

#[test]
fn what_is_hidden_is_not_in_the_rows_and_labels_find_their_flows() {
    let config = Config::builtin().unwrap();
    let pipeline = Pipeline::untrained(config, &mut Registry::with_builtins().unwrap()).unwrap();
    let whole = load(&root().join("examples/labels"), &pipeline, 1, &Loading::default()).unwrap();
    let columns = pipeline.schema().columns();
    let of = |data: &Dataset, id: &str| -> Vec<Vec<f32>> {
        let places = (0..columns.len()).filter(|at| columns[*at].name.starts_with(id));
        let places: Vec<usize> = places.collect();
        assert!(!places.is_empty(), "{id}");
        (0..data.rows.len()).map(|row| places.iter().map(|at| data.row(row)[*at]).collect()).collect()
    };
    let some = |rows: &[Vec<f32>]| rows.iter().flatten().filter(|value| !value.is_nan()).count();
    let names = data(&["hide=names"]);
    let certificates = data(&["hide=certificates"]);
    for altered in [&names, &certificates] {
        assert_eq!(altered.rows, whole.rows, "the same flows with the same labels and ties");
        assert_ne!(altered.sha256, whole.sha256);
    }
    assert!(some(&of(&whole, "certificate.")) > 0);
    let left = of(&certificates, "certificate.");
    assert!(left.windows(2).all(|pair| pair[0].iter().zip(&pair[1]).all(|(a, b)| a == b || a.is_nan() && b.is_nan())));
    assert_eq!(of(&certificates, "name.").len(), whole.rows.len());
    let (with, without) = (of(&whole, "name."), of(&names, "name."));
    assert!(some(&without) < some(&with));
    assert!(
        without.windows(2).all(|pair| pair[0].iter().zip(&pair[1]).all(|(a, b)| a == b || a.is_nan() && b.is_nan()))
    );
    let length = |data: &Dataset| {
        let at = columns.iter().position(|column| column.name == "records.client_handshake_1").unwrap();
        (0..data.rows.len()).map(|row| data.row(row)[at]).sum::<f32>()
    };
    assert!(length(&names) < length(&whole), "the record shrinks with the name");
}

#[test]
fn padded_records_are_multiples_and_packets_grow_with_them() {
    let config = Config::builtin().unwrap();
    let pipeline = Pipeline::untrained(config, &mut Registry::with_builtins().unwrap()).unwrap();
    struct Check(RecordChanges, u64);
    impl Sink for Check {
        fn ended(&mut self, flow: &mut veilwatch_core::flow::FlowRecord) {
            let before = flow.clone();
            self.0.apply(flow);
            let Some(was) = before.fields.record::<TlsRecords<'_>>() else { return };
            let is = flow.fields.record::<TlsRecords<'_>>().unwrap();
            let mut grown = 0;
            for (side, (was, is, types)) in
                [(was.client, is.client, is.client_types), (was.server, is.server, is.server_types)]
                    .into_iter()
                    .enumerate()
            {
                let mut more = 0;
                for ((was, is), kind) in was.iter().zip(is).zip(types) {
                    assert!(is >= was);
                    assert!(if *kind == 23 { is % 256 == 0 } else { is == was }, "{kind}: {was} to {is}");
                    more += u64::from(is - was);
                }
                assert_eq!(flow.stats[side].payload_bytes, before.stats[side].payload_bytes + more);
                grown += more;
            }
            let sum = |flow: &veilwatch_core::flow::FlowRecord| -> u64 {
                flow.splt.sizes.iter().map(|size| u64::from(size.unsigned_abs())).sum()
            };
            assert!(sum(flow) <= sum(&before) + grown);
            assert!(grown == 0 || sum(flow) > sum(&before));
            self.1 += grown;
        }
        fn flow(&mut self, _: &Detection<'_>) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut check = Check(RecordChanges::new(&list(&["pad=256"]), &pipeline), 0);
    let (stop, progress) = (AtomicBool::new(false), Progress::default());
    let options = RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress };
    run(&pipeline, open("first-run.pcap", &[], 1), options, &mut check).unwrap();
    assert!(check.1 > 0);
}

#[test]
fn a_hello_that_is_spread_over_records_turns_no_packet_round() {
    struct Spread(RecordChanges, usize);
    impl Sink for Spread {
        fn ended(&mut self, flow: &mut veilwatch_core::flow::FlowRecord) {
            let read = flow.fields.clone();
            let (Some(hello), Some(records)) = (read.record::<ClientHello<'_>>(), read.record::<TlsRecords<'_>>())
            else {
                return;
            };
            let Some(size) = flow.splt.sizes.iter().position(|size| *size > 0).filter(|_| hello.sni.len() > 20) else {
                return;
            };
            // As if the first record held only the beginning, in a packet of its own.
            let mut client = records.client.to_vec();
            client[0] = 10;
            TlsRecords { client: &client, ..records }.write(|id, value| _ = flow.fields.set(id, value));
            flow.splt.sizes[size] = 15;
            self.0.apply(flow);
            assert_eq!(flow.fields.record::<TlsRecords<'_>>().unwrap().client[0], 10);
            assert_eq!(flow.splt.sizes[size], 15);
            self.1 += 1;
        }
        fn flow(&mut self, _: &Detection<'_>) -> std::io::Result<()> {
            Ok(())
        }
    }
    let config = Config::builtin().unwrap();
    let pipeline = Pipeline::untrained(config, &mut Registry::with_builtins().unwrap()).unwrap();
    let mut spread = Spread(RecordChanges::new(&list(&["hide=names"]), &pipeline), 0);
    for capture in ["first-run.pcap", "benign-odd.pcap", "benign-office.pcapng"] {
        let (stop, progress) = (AtomicBool::new(false), Progress::default());
        let options = RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress };
        run(&pipeline, open(capture, &[], 1), options, &mut spread).unwrap();
    }
    assert!(spread.1 > 0);
}

#[test]
fn what_dns_said_is_not_known() {
    /// Flows that a name led to, and flows whose own questions were read.
    struct Names(RecordChanges, [u32; 2]);
    impl Sink for Names {
        fn ended(&mut self, flow: &mut veilwatch_core::flow::FlowRecord) {
            self.0.apply(flow);
        }
        fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
            let flow = detection.flow;
            self.1[0] += u32::from(flow.names.link.is_some() || flow.names.queries > 0);
            self.1[1] += u32::from(flow.fields.record::<Dns<'_>>().is_some());
            Ok(())
        }
    }
    let config = Config::parse(include_str!("../../../../config/protocols.toml"), "protocols").unwrap();
    let pipeline = Pipeline::untrained(config, &mut Registry::with_builtins().unwrap()).unwrap();
    let count = |words: &[&str]| {
        let (stop, progress) = (AtomicBool::new(false), Progress::default());
        let options = RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress };
        let mut names = Names(RecordChanges::new(&list(words), &pipeline), [0; 2]);
        run(&pipeline, open("benign-office.pcapng", &[], 1), options, &mut names).unwrap();
        names.1
    };
    let seen = count(&[]);
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
    assert_eq!(count(&["hide=names"]), seen);
    assert_eq!(count(&["hide=dns"]), [0, 0]);
}

/// Names and certificates stand in the bytes that histograms are of.
#[test]
fn histograms_of_the_handshake_go_with_what_is_hidden_in_it() {
    struct Histograms(RecordChanges, usize);
    impl Sink for Histograms {
        fn ended(&mut self, flow: &mut veilwatch_core::flow::FlowRecord) {
            self.0.apply(flow);
        }
        fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
            let ids = ["client", "server"].map(|side| detection.pipeline.fields().id(&format!("tls.bytes.{side}")));
            self.1 += ids.iter().flatten().filter(|id| detection.flow.fields.get(**id).is_some()).count();
            Ok(())
        }
    }
    let pipeline =
        Pipeline::untrained(Config::load(Path::new("full")).unwrap(), &mut Registry::with_builtins().unwrap()).unwrap();
    let count = |words: &[&str]| {
        let (stop, progress) = (AtomicBool::new(false), Progress::default());
        let options = RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress };
        let mut histograms = Histograms(RecordChanges::new(&list(words), &pipeline), 0);
        run(&pipeline, open("first-run.pcap", &[], 1), options, &mut histograms).unwrap();
        histograms.1
    };
    let seen = count(&[]);
    assert!(seen > 0 && count(&["hide=dns"]) == seen);
    assert_eq!([count(&["hide=names"]), count(&["hide=certificates"])], [0, 0]);
}
