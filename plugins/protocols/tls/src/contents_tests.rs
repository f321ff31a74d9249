//! Tests of handshakes without records, as another template hands them on.

use crate::Tls;
use crate::server::RETRY;
use crate::testing::{
    certificate, certificate_message, client_hello, declared, extension, flow, message, record, server_hello_with,
};
use proptest::prelude::*;
use veilwatch_core::flow::Direction::{Backward, Forward};
use veilwatch_core::flow::{FlowLimits, FlowRecord, FlowTable, Templates};
use veilwatch_core::packet::Decoded;
use veilwatch_core::plugin::{
    Made, Piece, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView, TLS_HANDSHAKE,
};
use veilwatch_core::record::{CertificateInfo, ClientHello, Mark, ServerHello, TlsRecords, Value};

/// Hands on all that is said, each packet as a piece of its own.
struct Hands(&'static str);

impl ProtocolTemplate for Hands {
    fn probe(&self, _: &StreamView<'_>) -> Probe {
        Probe::Certain
    }
    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let pieces = [Forward, Backward]
            .map(|direction| stream.datagrams(direction).map(|(at, _)| Piece { at, from: at }).collect::<Vec<_>>());
        let bytes = [stream.forward, stream.backward];
        out.hand_bytes(self.0, Made { bytes, pieces: pieces.each_ref().map(Vec::as_slice) });
        Ok(Progress::of(stream, false, false))
    }
}

/// A flow of these datagrams; `true` is the client's.
fn handed(contents: &'static str, settings: &str, said: &[(bool, &[u8])]) -> FlowRecord {
    let mut tls = Tls::create(Settings::new(settings)).unwrap();
    let ids: Vec<_> = (0..tls.fields().len()).map(declared).collect();
    tls.wire(&ids).unwrap();
    let templates = Templates::new(vec![Box::new(tls), Box::new(Hands(contents))]);
    let mut table = FlowTable::new(FlowLimits::default(), 1);
    for (number, (client, payload)) in (1..).zip(said) {
        let (from, to) = if *client { (1, 2) } else { (2, 1) };
        let packet = Decoded {
            src: [from; 16],
            dst: [to; 16],
            src_port: u16::from(from),
            dst_port: u16::from(to),
            protocol: 17,
            lan: 0,
            ip_len: payload.len() as u32 + 28,
            payload_len: payload.len() as u32,
            tcp: None,
            payload,
        };
        table.push(number, number * 1000, &packet, &templates);
    }
    table.finish_all(0, &templates);
    assert_eq!(table.counters().template_errors, 0);
    table.take_finished().pop().unwrap()
}

fn answer() -> Vec<u8> {
    let version = extension(43, &[3, 4]);
    server_hello_with(&[7; 32], &[], &[&version[..], &extension(51, &[0, 29, 0, 1, 5])].concat())
}

#[test]
fn the_same_is_read_as_with_records() {
    let (client, server) = (client_hello("a.example"), answer());
    let without = handed(TLS_HANDSHAKE, "", &[(true, &client), (false, &server)]);
    let with = flow(&[(Forward, &record(22, &client)), (Backward, &record(22, &server))]);
    let (ours, theirs) = (without.fields.record::<ClientHello<'_>>().unwrap(), with.fields.record().unwrap());
    assert_eq!(ClientHello { record_version: 0x0301, ..ours }, theirs);
    let (ours, theirs) = (without.fields.record::<ServerHello<'_>>().unwrap(), with.fields.record().unwrap());
    assert_eq!(ServerHello { record_version: 0x0301, ..ours }, theirs);
    assert!(without.fields.record::<TlsRecords<'_>>().is_none());
    assert_eq!((without.template, without.guests.len()), (Some(1), 1));
    assert_eq!([Mark::ClientHello, Mark::ServerHello].map(|mark| without.marks[mark as usize]), [Some(1), Some(2)]);
    // Other contents are not its own.
    assert!(handed("else", "", &[(true, &client)]).guests.is_empty());
}

#[test]
fn messages_may_come_in_any_pieces() {
    let client = client_hello("a.example");
    let (first, second) = client.split_at(60);
    let server = [answer(), certificate_message(&[&certificate("a.example", &["a.example"])])].concat();
    let (early, late) = server.split_at(answer().len() + 10);
    let record = handed(TLS_HANDSHAKE, "", &[(true, first), (true, second), (false, early), (false, late)]);
    assert_eq!(record.fields.record::<ClientHello<'_>>().unwrap().sni, b"a.example");
    assert!(record.fields.record::<CertificateInfo<'_>>().unwrap().matches_sni);
    // Each leads to the packet in which it begins.
    let marks = [Mark::ClientHello, Mark::ServerHello, Mark::Certificate];
    assert_eq!(marks.map(|mark| record.marks[mark as usize]), [Some(1), Some(3), Some(3)]);
}

#[test]
fn the_hello_behind_a_retry_counts() {
    let retry = server_hello_with(&RETRY, &[], &[extension(43, &[3, 4]), extension(51, &[0, 23])].concat());
    let client = client_hello("a.example");
    let said: [(bool, &[u8]); 4] = [(true, &client), (false, &retry), (true, &client), (false, &answer())];
    let record = handed(TLS_HANDSHAKE, "", &said);
    assert_eq!(record.fields.record::<ClientHello<'_>>().unwrap().count, 2);
    let server = record.fields.record::<ServerHello<'_>>().unwrap();
    assert!(server.retry && server.key_share == 29);
    assert_eq!(record.marks[Mark::ServerHello as usize], Some(4));
}

#[test]
fn limits_hold() {
    let many: Vec<u8> = (0..9).flat_map(|_| message(4, &[0; 3])).collect();
    let reached = |record: &FlowRecord, at: usize| record.fields.get(declared(at)) == Some(Value::U64(1));
    let record = handed(TLS_HANDSHAKE, "handshake_records = 5", &[(true, &client_hello("a.example")), (false, &many)]);
    assert!(reached(&record, 2) && !reached(&record, 1));
    let long = [client_hello("a.example"), message(4, &[0; 2100])].concat();
    let record = handed(TLS_HANDSHAKE, "handshake_bytes = 2048", &[(true, &long)]);
    assert!(reached(&record, 1) && record.fields.record::<ClientHello<'_>>().is_some());
}

proptest! {
    #[test]
    fn any_bytes_are_harmless(
        client in prop::collection::vec(any::<u8>(), 0..300),
        server in prop::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        handed(TLS_HANDSHAKE, "", &[(true, &client), (false, &server)]);
        let mut changed = client_hello("a.example");
        let at = at.index(changed.len());
        changed[at] ^= byte;
        handed(TLS_HANDSHAKE, "", &[(true, &changed[..]), (false, &answer()[..at.min(40)])]);
    }
}
