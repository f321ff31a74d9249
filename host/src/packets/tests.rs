//! Packets made by hand, and what a browser shows of them.

use super::*;
use crate::config::Config;
use crate::engine::Pipeline;
use crate::output::{PacketHexSink, PacketJsonSink, PacketTableSink, PacketTreeSink};
use crate::plugins::Registry;
use crate::source::Source;
use etherparse::PacketBuilder;
use proptest::prelude::*;
use std::path::Path;
use veilwatch_core::packet::{LinkType, Packet};

fn pipeline() -> Pipeline {
    piped(Config::builtin().unwrap())
}

fn piped(mut config: Config) -> Pipeline {
    // A machine that has much else to do is no plugin's fault.
    config.plugins.batch_milliseconds = 600_000;
    Pipeline::untrained(config, &mut Registry::with_builtins().unwrap()).unwrap()
}

fn browser(pipeline: &Pipeline) -> Browser<'_> {
    Browser::new(pipeline)
}

fn packet(number: u64, data: &[u8]) -> Packet<'_> {
    Packet { number, time_ns: number * 1000, link: LinkType::ETHERNET, wire_len: data.len() as u32, data }
}

const CLIENT: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [10, 0, 0, 2];

/// A segment of the client.
fn segment(port: u16, seq: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let head = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4(CLIENT, SERVER, 64).tcp(50_000, port, seq, 1024);
    head.ack(1).write(&mut frame, payload).unwrap();
    frame
}

/// The client's first segment.
fn syn(port: u16, seq: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    let head = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4(CLIENT, SERVER, 64).tcp(50_000, port, seq, 1024);
    head.syn().write(&mut frame, &[]).unwrap();
    frame
}

/// Frames of an example.
fn example(name: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/captures").join(name);
    let mut source = Source::open(&path, &Config::builtin().unwrap().input).unwrap();
    let mut frames = Vec::new();
    while let Some(block) = source.next_block(None).unwrap() {
        frames.extend(block.packets().map(|packet| packet.data.to_vec()));
    }
    frames
}

/// The TLS records of a ClientHello.
fn client_hello() -> Vec<u8> {
    let frames = example("first-run.pcap");
    let hello = frames.iter().find(|frame| frame.get(54..56) == Some(&[0x16, 3][..])).unwrap();
    hello[54..].to_vec()
}

#[test]
fn a_handshake_in_two_segments_is_shown_in_its_parts() {
    let (pipeline, hello) = (pipeline(), client_hello());
    let (one, two) = hello.split_at(100);
    let mut browser = browser(&pipeline);
    browser.pass(&packet(1, &syn(443, 99)));
    let first = segment(443, 100, one);
    let first = browser.view(&packet(2, &first));
    let second = segment(443, 200, two);
    let second = browser.view(&packet(3, &second));
    for (view, begins) in [(&first, true), (&second, false)] {
        assert_eq!(view.protocol(), "tls");
        assert!(view.tree.field("tls").all(|node| node.value.ends_with("bytes")));
        let nodes: Vec<_> = view.tree.nodes.iter().filter(|node| node.field.starts_with("tls.")).collect();
        assert!(nodes.len() > 3, "{nodes:?}");
        // Everything stands in the payload, and the record's head in the packet that brought it.
        assert!(nodes.iter().filter_map(|node| node.bytes.clone()).all(|bytes| bytes.start >= 54));
        assert_eq!(view.tree.field("tls.version").count() > 0, begins);
    }
    assert_eq!(first.tree.field("tcp.seq").next().map(|node| node.value.as_str()), Some("1"));
    // Without the first part nobody knows what the second one is.
    let mut alone = self::browser(&pipeline);
    let frame = segment(443, 200, two);
    assert_eq!(alone.view(&packet(3, &frame)).protocol(), "TCP");
}

#[test]
fn what_is_not_kept_goes_on_by_name() {
    let (pipeline, hello) = (pipeline(), client_hello());
    let mut browser = browser(&pipeline);
    browser.pass(&packet(1, &syn(443, 99)));
    browser.pass(&packet(2, &segment(443, 100, &hello)));
    let far = segment(443, 1_000_000, b"anything");
    let view = browser.view(&packet(3, &far));
    assert_eq!((view.protocol(), view.info.as_str()), ("tls", "50000 → 443 continuation of tls"));
    // A new connection with the same ports is another flow.
    browser.pass(&packet(4, &syn(443, 5_000_000)));
    let other = segment(443, 5_000_001, b"anything");
    assert_eq!(browser.view(&packet(5, &other)).protocol(), "TCP");
}

#[test]
fn another_protocol_may_begin_in_the_middle() {
    let all = Config::parse(include_str!("../../../config/protocols.toml"), "config/protocols.toml").unwrap();
    let hello = client_hello();
    for (pipeline, proxy) in [(pipeline(), "TCP"), (piped(all), "http")] {
        let mut browser = browser(&pipeline);
        browser.pass(&packet(1, &syn(3128, 99)));
        let frame = segment(3128, 100, b"CONNECT a.example:443 HTTP/1.1\r\n\r\n");
        assert_eq!(browser.view(&packet(2, &frame)).protocol(), proxy);
        let frame = segment(3128, 134, &hello);
        let view = browser.view(&packet(3, &frame));
        assert_eq!(view.protocol(), "tls");
        let node = view.tree.field("tls").next().unwrap();
        assert_eq!(node.value, format!("{} bytes, this packet by itself", hello.len()));
    }
}

#[test]
fn tables_know_ports_files_and_bytes() {
    let pipeline = pipeline();
    let mut browser = browser(&pipeline);
    browser.pass(&packet(1, &syn(4444, 99)));
    let program = segment(4444, 100, b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    let view = browser.view(&packet(2, &program));
    assert_eq!(view.file_type.as_deref(), Some("ELF program or library"));
    let ids: Vec<&str> = view.warnings.iter().map(|warning| warning.id.as_str()).collect();
    assert_eq!(ids, ["linux-program", "port-metasploit"]);
    assert_eq!(view.tree.field("warning").count(), 2);
    assert_eq!(view.service.as_deref(), Some("krb524"));
    // The capture begins with an answer: the port that has a name is the responder's.
    let mut frame = Vec::new();
    let head = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4(SERVER, CLIENT, 64).tcp(443, 50_000, 1, 1024);
    head.ack(1).write(&mut frame, &[]).unwrap();
    let view = browser.view(&packet(3, &frame));
    assert_eq!((view.service.as_deref(), view.warnings.len()), (Some("https"), 0));
    assert_eq!(view.tree.field("service").count(), 1);
}

/// What all four formats write of a packet.
fn written(view: &PacketView<'_>) -> String {
    let mut bytes = Vec::new();
    PacketTableSink::new(&mut bytes, None).packet(view).unwrap();
    PacketTreeSink::new(&mut bytes).packet(view).unwrap();
    PacketJsonSink::new(&mut bytes).packet(view).unwrap();
    PacketHexSink::new(&mut bytes).packet(view).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// A name may hold marks that turn the reading direction, which a tree keeps and no format writes.
#[test]
fn names_play_no_tricks_on_a_terminal() {
    let (pipeline, mut hello) = (pipeline(), client_hello());
    let at = hello.windows(4).position(|bytes| bytes == b"www.").unwrap();
    hello[at..at + 3].copy_from_slice("\u{202e}".as_bytes());
    let frame = segment(443, 100, &hello);
    let mut browser = browser(&pipeline);
    let view = browser.view(&packet(1, &frame));
    assert!(view.tree.nodes.iter().any(|node| node.value.contains("\u{202e}.northfield")));
    let text = written(&view);
    assert!(!text.contains('\u{202e}') && text.contains("\\u{202e}.northfield"));
}

#[test]
fn any_bytes_are_shown_within_their_frame() {
    let pipeline = pipeline();
    let frames: Vec<Vec<u8>> =
        ["first-run.pcap", "benign-odd.pcap", "ssh-greeting.pcap"].into_iter().flat_map(example).collect();
    let change = (0usize..200, any::<u8>());
    let one = (any::<proptest::sample::Index>(), proptest::collection::vec(change, 0..4), 0usize..1600);
    proptest!(ProptestConfig::with_cases(64), |(changes in proptest::collection::vec(one, 1..12))| {
        let mut browser = browser(&pipeline);
        for (number, (frame, changes, cut)) in (1..).zip(changes) {
            let mut data = frames[frame.index(frames.len())].clone();
            for (at, byte) in changes {
                if let Some(place) = data.get_mut(at) {
                    *place = byte;
                }
            }
            let wire_len = data.len() as u32;
            data.truncate(cut);
            let packet = Packet { wire_len, ..packet(number, &data) };
            let view = browser.view(&packet);
            for node in &view.tree.nodes {
                prop_assert!(node.bytes.as_ref().is_none_or(|bytes| bytes.start <= bytes.end && bytes.end <= data.len()));
            }
            let text = written(&view);
            prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        }
    });
}
