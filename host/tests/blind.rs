//! The pipeline `blind` sees nothing of names, certificates and DNS: captures that differ in nothing else give the same
//! rows, to the bit.

#![allow(clippy::unwrap_used, reason = "helpers of tests count as tests")]

use std::sync::atomic::AtomicBool;
use veilwatch::config::Config;
use veilwatch::engine::{Detection, Pipeline, Progress, RunOptions, Sink, run};
use veilwatch::plugins::Registry;
use veilwatch::source::Source;

/// What ECH and encrypted DNS would hide.
#[derive(Debug, Clone, Copy)]
struct Hidden {
    /// Empty for none at all.
    name: &'static str,
    /// Bytes of the certificate chain.
    chain: usize,
    /// What it is filled with.
    fill: u8,
    /// What the host looks up before each flow; empty for nothing, or nothing that can be seen.
    asked: &'static str,
    alpn: &'static [u8],
}

const HIDDEN: [Hidden; 6] = [
    Hidden { name: "www.example.com", chain: 2900, fill: 1, asked: "www.example.com", alpn: b"\x02h2" },
    Hidden { name: "w.example", chain: 700, fill: 9, asked: "a", alpn: b"\x02h2" },
    Hidden { name: "", chain: 4100, fill: 200, asked: "other.example.net", alpn: b"\x08http/1.1" },
    Hidden {
        name: "a-very-long-name-that-needs-no-padding-any-more.and-goes-on-for-long-enough-to-push-the-hello-over.\
            the-place-where-browsers-begin-to-pad-and-further-still-until-padding-ends.example.org",
        chain: 12_000,
        fill: 77,
        asked: "x.example",
        alpn: b"\x02h2\x08http/1.1",
    },
    Hidden { name: "192.0.2.9", chain: 1, fill: 0, asked: "y.example", alpn: b"\x02h2" },
    Hidden { name: "www.example.com", chain: 2900, fill: 1, asked: "", alpn: b"\x02h2" },
];

fn vec8(body: &[u8]) -> Vec<u8> {
    [&[body.len() as u8][..], body].concat()
}

fn vec16(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u16).to_be_bytes()[..], body].concat()
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &vec16(body)].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&(u32::from(kind) << 24 | body.len() as u32).to_be_bytes()[..], body].concat()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vec16(body)].concat()
}

/// As browsers send it: padded where it would have 256 to 511 bytes (RFC 7685).
fn client_hello(hidden: &Hidden, is_13: bool) -> Vec<u8> {
    let name = vec16(&[&[0][..], &vec16(hidden.name.as_bytes())].concat());
    let mut extensions = [
        if hidden.name.is_empty() { Vec::new() } else { extension(0, &name) },
        extension(10, &vec16(&[0, 29, 0, 23])),
        extension(13, &vec16(&[4, 3, 8, 4])),
        extension(16, &vec16(hidden.alpn)),
        extension(23, &[]),
        if is_13 { extension(43, &vec8(&[3, 4, 3, 3])) } else { Vec::new() },
        extension(51, &vec16(&[&[0, 29][..], &vec16(&[8; 32])].concat())),
    ]
    .concat();
    let hello = |extensions: &[u8]| {
        let fixed = [&[3, 3][..], &[1; 32], &vec8(&[5; 32]), &vec16(&[0x13, 1, 0xc0, 0x2f, 0, 0x2f]), &vec8(&[0])];
        message(1, &[&fixed.concat()[..], &vec16(extensions)].concat())
    };
    let len = hello(&extensions).len();
    if (256..512).contains(&len) {
        extensions.extend(extension(21, &vec![0; (512 - len).saturating_sub(4)]));
    }
    record(22, &hello(&extensions))
}

fn server_hello(hidden: &Hidden, is_13: bool) -> Vec<u8> {
    let answers = match (is_13, hidden.name.is_empty()) {
        (true, _) => [extension(43, &[3, 4]), extension(51, &[&[0, 29][..], &vec16(&[6; 32])].concat())].concat(),
        // Servers say that they knew the name, and which protocol they chose.
        // A certificate may bring a staple along, and stamps.
        (false, false) => {
            let brought = [extension(5, &[]), extension(18, &vec16(&[1; 8]))].concat();
            let brought = if hidden.chain > 1000 { brought } else { Vec::new() };
            [extension(0, &[]), extension(23, &[]), extension(16, &vec16(hidden.alpn)), brought].concat()
        }
        (false, true) => extension(23, &[]),
    };
    let cipher: [u8; 2] = if is_13 { [0x13, 1] } else { [0xc0, 0x2f] };
    message(2, &[&[3, 3][..], &[7; 32], &vec8(&[]), &cipher, &[0], &vec16(&answers)].concat())
}

/// What both sides say, in turns: who, when in milliseconds since the flow began, what.
fn turns(hidden: &Hidden, is_13: bool, data: u16) -> Vec<(bool, u64, Vec<u8>)> {
    let chain = vec![hidden.fill; hidden.chain];
    let vec24 = |body: &[u8]| [&(body.len() as u32).to_be_bytes()[1..], body].concat();
    let encrypted = |len: u16| record(23, &vec![0xee; usize::from(len)]);
    let request = encrypted(data);
    let answer = [encrypted(900), encrypted(data * 2)].concat();
    if is_13 {
        let flight = [record(22, &server_hello(hidden, true)), record(20, &[1]), encrypted(40)].concat();
        // Certificate and what follows it, in records as large as they may be.
        let proof: Vec<u8> = chain.chunks(16_000).flat_map(|part| encrypted(part.len() as u16 + 17)).collect();
        let finished = [record(20, &[1]), encrypted(53)].concat();
        return vec![
            (true, 50, client_hello(hidden, true)),
            (false, 100, [flight, proof, encrypted(281), encrypted(53)].concat()),
            (true, 150, finished),
            (true, 160, request),
            (false, 220, answer),
            (true, 1500, encrypted(41)),
        ];
    }
    let certificate = message(11, &vec24(&vec24(&chain)));
    let messages = [server_hello(hidden, false), certificate, message(12, &[3; 300]), message(14, &[])].concat();
    let flight: Vec<u8> = messages.chunks(16_000).flat_map(|part| record(22, part)).collect();
    let finished = [record(22, &message(16, &[4; 66])), record(20, &[1]), record(22, &[9; 40])].concat();
    vec![
        (true, 50, client_hello(hidden, false)),
        (false, 100, flight),
        (true, 150, finished),
        (false, 200, [record(20, &[1]), record(22, &[9; 40])].concat()),
        (true, 210, request),
        (false, 260, answer),
        (true, 1500, encrypted(41)),
    ]
}

/// A capture of raw IP packets.
struct Capture(Vec<u8>);

const BEGIN: u64 = 1_700_000_000_000;

impl Capture {
    fn new() -> Self {
        let mut bytes = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
        bytes.extend([2, 0, 4, 0]);
        [0, 0, 65_535, 101].iter().for_each(|word: &u32| bytes.extend(word.to_le_bytes()));
        Self(bytes)
    }

    fn packet(&mut self, ms: u64, protocol: u8, [from, to]: [[u8; 4]; 2], transport: &[u8]) {
        let len = 20 + transport.len();
        let at = BEGIN + ms;
        let header = [(at / 1000) as u32, (at % 1000) as u32 * 1000, len as u32, len as u32];
        header.iter().for_each(|word| self.0.extend(word.to_le_bytes()));
        self.0.extend([0x45, 0, (len >> 8) as u8, len as u8, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
        self.0.extend(from.iter().chain(&to).chain(transport));
    }

    /// A flow of TLS, every segment acknowledged, closed at the end.
    fn tls(&mut self, ms: u64, port: u16, turns: &[(bool, u64, Vec<u8>)]) {
        let ends = [[10, 0, 0, 1], [192, 0, 2, 1]];
        let mut next = [1000u32, 5000];
        let mut say = |at: u64, forward: bool, flags: u8, payload: &[u8]| {
            let side = usize::from(!forward);
            let ports = if forward { [port, 443] } else { [443, port] };
            let mut tcp: Vec<u8> = ports.iter().flat_map(|port| port.to_be_bytes()).collect();
            tcp.extend(next[side].to_be_bytes());
            tcp.extend(next[1 - side].to_be_bytes());
            tcp.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
            tcp.extend(payload);
            next[side] = next[side].wrapping_add(payload.len() as u32 + u32::from(flags & 3 != 0));
            self.packet(ms + at, 6, if forward { ends } else { [ends[1], ends[0]] }, &tcp);
        };
        say(0, true, 2, &[]);
        say(20, false, 0x12, &[]);
        say(40, true, 0x10, &[]);
        for (forward, at, bytes) in turns {
            for segment in bytes.chunks(1400) {
                say(*at, *forward, 0x18, segment);
                say(*at, !forward, 0x10, &[]);
            }
        }
        say(2000, true, 0x11, &[]);
        say(2020, false, 0x11, &[]);
        say(2040, true, 0x10, &[]);
    }

    /// A look-up and its answer.
    fn dns(&mut self, ms: u64, port: u16, name: &str) {
        let labels: Vec<u8> = name.split('.').flat_map(|label| vec8(label.as_bytes())).chain([0]).collect();
        let question = [&labels[..], &[0, 1, 0, 1]].concat();
        let answer = [&[0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4][..], &[192, 0, 2, 1]].concat();
        let ends = [[10, 0, 0, 1], [10, 0, 0, 53]];
        for (at, flags, answers, ports, ends) in
            [(0, [1, 0], 0u8, [port, 53], ends), (9, [0x81, 0x80], 1, [53, port], [ends[1], ends[0]])]
        {
            let mut body = [&[0, 1][..], &flags, &[0, 1, 0, answers, 0, 0, 0, 0], &question].concat();
            if answers > 0 {
                body.extend(&answer);
            }
            let mut udp: Vec<u8> = ports.iter().flat_map(|port| port.to_be_bytes()).collect();
            udp.extend((body.len() as u16 + 8).to_be_bytes());
            udp.extend([0, 0]);
            udp.extend(body);
            self.packet(ms + at, 17, ends, &udp);
        }
    }
}

/// Six flows a minute apart, of both versions, each behind a look-up, if there is any.
fn capture(hidden: &Hidden, data: u16) -> Vec<u8> {
    let mut capture = Capture::new();
    for flow in 0..6u16 {
        let begin = u64::from(flow) * 60_000;
        if !hidden.asked.is_empty() {
            capture.dns(begin, 30_000 + flow, hidden.asked);
        }
        capture.tls(begin + 100, 40_000 + flow, &turns(hidden, flow % 2 == 0, data));
    }
    capture.0
}

#[derive(Default)]
struct Rows(Vec<Vec<u32>>);

impl Sink for Rows {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        if let Some(scored) = detection.scored {
            self.0.push(scored.row.iter().map(|value| value.to_bits()).collect());
        }
        Ok(())
    }
}

fn rows(pipeline: &Pipeline, capture: &[u8]) -> Vec<Vec<u32>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blind.pcap");
    std::fs::write(&path, capture).unwrap();
    let source = Source::open(&path, &pipeline.config().input).unwrap();
    let (stop, progress) = (AtomicBool::new(false), Progress::default());
    let mut rows = Rows::default();
    run(pipeline, source, RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress }, &mut rows)
        .unwrap();
    rows.0
}

fn pipeline(name: &str) -> Pipeline {
    let mut registry = Registry::with_builtins().unwrap();
    let config = Config::load(std::path::Path::new(name)).unwrap();
    Pipeline::untrained(config, &mut registry).unwrap()
}

#[test]
fn what_is_hidden_changes_no_bit_of_a_row() {
    let blind = pipeline("blind");
    let seen: Vec<_> = HIDDEN.iter().map(|hidden| rows(&blind, &capture(hidden, 300))).collect();
    let names: Vec<&str> = blind.schema().columns().iter().map(|column| &*column.name).collect();
    for (hidden, other) in HIDDEN.iter().zip(&seen) {
        assert_eq!(other.len(), 6, "{hidden:?}");
        for (flow, (one, other)) in seen[0].iter().zip(other).enumerate() {
            let differ = names.iter().zip(one.iter().zip(other)).filter(|(_, (one, other))| one != other);
            let differ: Vec<_> = differ.map(|(name, _)| *name).collect();
            assert!(differ.is_empty(), "flow {flow}, {hidden:?}: {differ:?}");
        }
    }
    // And the rows are not empty: lengths behind the handshake stand in them, and the rhythm.
    for (flow, row) in seen[0].iter().enumerate() {
        let value = |name: &str| f32::from_bits(row[names.iter().position(|known| *known == name).unwrap()]);
        assert_eq!(value("records.client_data_1"), 300.0);
        assert_eq!((value("splt.size_1"), value("splt.size_2")), (305.0, -1200.0));
        assert_eq!((value("conversation.earlier"), value("host.hello_share").is_nan()), (flow as f32, flow == 0));
        assert!(flow < 3 || (value("conversation.period") - 60.0).abs() < 0.1);
    }
}

/// Were it blind to all, the test above would say nothing.
#[test]
fn what_is_not_hidden_is_seen_and_others_see_what_is() {
    let [blind, full] = ["blind", "full"].map(pipeline);
    let [one, other] = [300, 500].map(|data| rows(&blind, &capture(&HIDDEN[0], data)));
    assert!(one.iter().zip(&other).all(|(one, other)| one != other));
    let [one, other] = [0, 1].map(|at| rows(&full, &capture(&HIDDEN[at], 300)));
    assert!(one.iter().zip(&other).all(|(one, other)| one != other));
}

#[test]
fn each_set_has_a_model_of_its_own() {
    for name in ["full", "blind"] {
        let config = Config::load(std::path::Path::new(name)).unwrap();
        let pipeline = Pipeline::new(config, &mut Registry::with_builtins().unwrap()).unwrap();
        assert_eq!(pipeline.card().unwrap().columns.len(), pipeline.schema().width(), "{name}");
    }
}
