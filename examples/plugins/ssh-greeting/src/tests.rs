use crate::declarations;
use proptest::prelude::*;
use veilwatch_core::flow::Direction::{self, Backward, Forward};
use veilwatch_core::flow::{FlowLimits, FlowRecord, FlowTable};
use veilwatch_core::packet::{Decoded, Tcp};
use veilwatch_core::plugin::{Instance, ProtocolTemplate, Settings};
use veilwatch_core::record::{FieldId, Value};

const IDS: [FieldId; 2] = [FieldId(1024), FieldId(1025)];

fn template(settings: &str) -> Box<dyn ProtocolTemplate> {
    let Instance::Protocol(mut template) = (declarations()[0].create)(Settings::new(settings)).unwrap() else {
        panic!("no template")
    };
    template.wire(&IDS).unwrap();
    template
}

/// The flow of these segments, as the flow table reads it.
fn flow(settings: &str, segments: &[(Direction, &[u8])]) -> FlowRecord {
    let templates = vec![template(settings)];
    let mut table = FlowTable::new(FlowLimits::default(), 2);
    let mut seqs = [1000u32, 2000];
    for (number, (direction, payload)) in segments.iter().enumerate() {
        let (from, to) = if *direction == Forward { (1, 2) } else { (2, 1) };
        let seq = &mut seqs[direction.index()];
        let packet = Decoded {
            src: [from; 16],
            dst: [to; 16],
            src_port: u16::from(from),
            dst_port: u16::from(to),
            protocol: 6,
            lan: 0,
            ip_len: payload.len() as u32 + 40,
            payload_len: payload.len() as u32,
            tcp: Some(Tcp { seq: *seq, flags: Tcp::ACK }),
            payload,
        };
        *seq += payload.len() as u32;
        table.push(number as u64 + 1, number as u64 * 1_000_000, &packet, &templates);
    }
    table.finish_all(0, &templates);
    table.take_finished().pop().unwrap()
}

/// Whether it was recognised, and both versions.
fn told(flow: &FlowRecord) -> (bool, [Option<String>; 2]) {
    let text = |id| match flow.fields.get(id)? {
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    };
    (flow.template.is_some(), IDS.map(text))
}

fn both(client: &str, server: &str) -> (bool, [Option<String>; 2]) {
    (true, [client, server].map(|text| (!text.is_empty()).then(|| text.to_owned())))
}

#[test]
fn reads_both_greetings() {
    let said = flow(
        "",
        &[(Forward, b"SSH-2.0-OpenSSH_9.7\r\n\0\0\x04\x2c"), (Backward, b"SSH-1.99-dropbear old one\n\0\0\x01\x0c")],
    );
    assert_eq!(told(&said), both("SSH-2.0-OpenSSH_9.7", "SSH-1.99-dropbear old one"));
}

#[test]
fn reads_what_comes_byte_by_byte() {
    let (client, server) = (&b"SSH-2.0-a\r\nbinary"[..], &b"Keep out.\r\n\r\nSSH-2.0-b c\r\n\0"[..]);
    let mut segments: Vec<(Direction, &[u8])> = client.chunks(1).map(|byte| (Forward, byte)).collect();
    segments.extend(server.chunks(1).map(|byte| (Backward, byte)));
    assert_eq!(told(&flow("", &segments)), both("SSH-2.0-a", "SSH-2.0-b c"));
    let server_first: Vec<(Direction, &[u8])> =
        server.chunks(1).map(|byte| (Backward, byte)).chain(client.chunks(1).map(|byte| (Forward, byte))).collect();
    // Without a SYN, who speaks first is the originator.
    assert_eq!(told(&flow("", &server_first)), both("SSH-2.0-b c", "SSH-2.0-a"));
}

#[test]
fn one_side_or_a_part_is_better_than_nothing() {
    assert_eq!(told(&flow("", &[(Forward, b"SSH-2.0-only\r\n")])), both("SSH-2.0-only", ""));
    assert_eq!(told(&flow("", &[(Forward, b"SSH-2.0-Open")])), both("SSH-2.0-Open", ""));
    // What the other side says is no greeting.
    let odd = flow("", &[(Forward, b"SSH-2.0-only\r\n"), (Backward, b"HTTP/1.1 400 no\r\n\r\n\x01")]);
    assert_eq!(told(&odd), both("SSH-2.0-only", ""));
    // Too little to tell.
    assert_eq!(told(&flow("", &[(Forward, b"SSH-2.")])), (false, [None, None]));
}

#[test]
fn everything_is_bounded() {
    let endless = [&b"SSH-2.0-"[..], &[b'x'; 5000]].concat();
    let (_, [client, _]) = told(&flow("", &[(Forward, &endless)]));
    assert_eq!(client.unwrap().len(), 255);
    let lines = |count: usize| [&b"line\r\n".repeat(count)[..], b"SSH-2.0-late\r\n"].concat();
    assert_eq!(told(&flow("", &[(Forward, &lines(16))])), both("SSH-2.0-late", ""));
    assert!(!told(&flow("", &[(Forward, &lines(17))])).0);
    assert!(told(&flow("lines_before = 17", &[(Forward, &lines(17))])).0);
    assert!(!told(&flow("", &[(Forward, &[&[b'x'; 255][..], b"\r\nSSH-2.0-late\r\n"].concat())])).0);
    assert!((declarations()[0].create)(Settings::new("lines_before = 65")).is_err());
    assert!((declarations()[0].create)(Settings::new("lines = 1")).is_err());
}

#[test]
fn leaves_other_protocols_alone() {
    for said in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01", b"SSH-1.5-old\r\n", b"SSH-3.0-new\r\n"] {
        assert_eq!(told(&flow("", &[(Forward, said), (Backward, b"\0")])), (false, [None, None]), "{said:?}");
    }
}

proptest! {
    /// Pieces of greetings, cut and joined at random: no panic, and never more than a line.
    #[test]
    fn never_panics(parts in prop::collection::vec((any::<bool>(), prop_oneof![
        Just(b"SSH-2.0-".to_vec()), Just(b"SSH-1.99-x\r\n".to_vec()), Just(b"\n".to_vec()), Just(vec![b'a'; 254]),
        prop::collection::vec(any::<u8>(), 0..40),
    ]), 1..12)) {
        let segments: Vec<(Direction, &[u8])> =
            parts.iter().map(|(back, bytes)| (if *back { Backward } else { Forward }, &bytes[..])).collect();
        let (_, versions) = told(&flow("", &segments));
        for version in versions.into_iter().flatten() {
            prop_assert!(version.starts_with("SSH-"));
        }
    }
}
