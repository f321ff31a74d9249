//! The template over real captures, where they are at hand: what it reads must hold together, and its JA4 must be the
//! one that another implementation finds in the same bytes.

// All of this file is a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod captures;

use std::path::Path;
use veilwatch_core::flow::{Direction, FlowRecord};
use veilwatch_core::plugin::{PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView};
use veilwatch_core::record::{CertificateInfo, ClientHello, FieldId, Ja4, Record, ServerHello, TlsRecords, Value, ja4};
use veilwatch_protocol_tls::Tls;

/// Where the wrapper below keeps the first record of the client.
const FIRST_RECORD: FieldId = FieldId(FieldId::FIRST_DECLARED.0);

/// The template, and beside what it writes the bytes of the client's first record.
struct WithBytes(Tls);

impl ProtocolTemplate for WithBytes {
    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        self.0.probe(stream)
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        for direction in [Direction::Backward, Direction::Forward] {
            let bytes = stream.bytes(direction);
            if let [22, 3, _, high, low, 1, ..] = *bytes
                && let Some(record) = bytes.get(..5 + usize::from(u16::from_be_bytes([high, low])))
            {
                out.field(FIRST_RECORD, Value::Bytes(record));
            }
        }
        self.0.parse(stream, out)
    }
}

fn read<'a, R: Record<'a>>(flow: &'a FlowRecord) -> Option<R> {
    R::read(|id| flow.fields.get(id))
}

#[derive(Debug, Default)]
struct Counts {
    clients: u32,
    servers: u32,
    certificates: u32,
    parsed: u32,
    named: u32,
    matching: u32,
    compared: u32,
    equal: u32,
}

#[test]
fn real_captures_hold_together() {
    let paths = captures::captures(&["pcap"]);
    if paths.is_empty() {
        return;
    }
    let mut counts = Counts::default();
    for path in &paths {
        for flow in captures::flows(path, WithBytes(Tls::create(Settings::new("")).unwrap())) {
            check(&flow, &mut counts, path);
        }
    }
    println!("{} captures: {counts:?}", paths.len());
    assert!(counts.clients > 1000 && counts.servers > 1000 && counts.certificates > 500, "{counts:?}");
    assert!(counts.parsed * 100 >= counts.certificates * 99, "{counts:?}");
    // Certificates that do not name the server are rare, but what malware brings is here too.
    assert!(counts.matching * 100 >= counts.named * 80, "{counts:?}");
    assert_eq!(counts.equal, counts.compared);
}

fn check(flow: &FlowRecord, counts: &mut Counts, path: &Path) {
    if let Some(records) = read::<TlsRecords<'_>>(flow) {
        assert!(records.client.len() <= 32 && records.server.len() <= 32);
        assert_eq!(records.client.len(), records.client_types.len());
        assert_eq!(records.server.len(), records.server_types.len());
    }
    let client = read::<ClientHello<'_>>(flow);
    if let Some(client) = &client {
        counts.clients += 1;
        assert!(client.count > 0);
        assert_eq!(client.extensions.len(), client.extension_lens.len());
        compare_ja4(flow, client, counts, path);
    }
    counts.servers += u32::from(read::<ServerHello<'_>>(flow).is_some());
    if let Some(certificate) = read::<CertificateInfo<'_>>(flow) {
        counts.certificates += 1;
        counts.parsed += u32::from(certificate.parsed);
        assert!(certificate.chain_len > 0 && certificate.leaf_bytes < certificate.chain_bytes);
        if client.is_some_and(|client| !client.sni.is_empty()) {
            counts.named += 1;
            counts.matching += u32::from(certificate.matches_sni);
        }
    }
}

/// Compares with huginn-net-tls where the hello is alone in one record.
fn compare_ja4(flow: &FlowRecord, client: &ClientHello<'_>, counts: &mut Counts, path: &Path) {
    let Some(Value::Bytes(record)) = flow.fields.get(FIRST_RECORD) else { return };
    let Some(theirs) = huginn_net_tls::parse_tls_client_hello_ja4(record) else { return };
    let ours = ja4(client, Ja4::Tcp);
    counts.compared += 1;
    counts.equal += u32::from(ours == theirs);
    if ours != theirs {
        println!("{}: {ours} is {theirs} to huginn", path.display());
    }
}
