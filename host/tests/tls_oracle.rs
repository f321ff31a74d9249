//! What the handshake of TLS shows, over real captures: what the client offers, what the server chooses, and the server's
//! certificate, ours against tshark's.
//!
//! What tshark reads is stored in `oracle/tls-tshark.tsv.gz`; the differences stand in `oracle/tls-differences.md`, and this
//! test fails when they are others. How both are written again stands in `oracle/README.md`.

// All of this file is a test.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/streams.rs"]
mod streams;

use streams::{Case, Oracle, UNEXPLAINED, clean};
use veilwatch::engine::Detection;
use veilwatch_core::record::{CertificateInfo, ClientHello, Record, ServerHello, ja3, ja3s};

const ORACLE: Oracle = Oracle {
    stored: "tls-tshark.tsv.gz",
    table: "tls-differences.md",
    title: "# The handshake of TLS over TCP: what tshark and we read\n\nThe first ClientHello, the first ServerHello that is no \
            HelloRetryRequest, the server's own certificate. Written by `tests/tls_oracle.rs`.",
    fields: &[
        "SNI",
        "ALPN",
        "version offered",
        "versions offered",
        "ciphers offered",
        "JA3",
        "version chosen",
        "cipher chosen",
        "JA3S",
        "certificate serial",
        "certificate subject",
    ],
    classes: &CLASSES,
    ours,
    same,
    explain,
    largest: 30_000,
};

/// Classes of differences: name, who is right, why.
const CLASSES: [(&str, &str, &str); 9] = [
    (
        "more",
        "we",
        "tshark says nothing: it gives the port to another dissector, takes segments for repeated ones, or waits for some \
         that are missing; tshark.py looks into each of the training data",
    ),
    (
        "old-form",
        "both",
        "a ClientHello in SSL 2.0 form, of which tshark tells the version alone; ours is over its suites",
    ),
    (
        "frames",
        "both",
        "inside the frames of OpenVPN's control channel or of Android's debug bridge, which is what the flow is to us",
    ),
    ("behind", "tshark", "behind the opening of Gnutella or NoMachine, which no template knows"),
    (
        "mid-hello",
        "tshark",
        "the capture begins within a ClientHello: what follows is found by tshark, which looks at each segment anew",
    ),
    (
        "client's",
        "both",
        "the client's certificate, where the server's is not in the capture: ours is the server's own",
    ),
    ("long", "both", "a name longer than either keeps"),
    ("odd", "both", "bytes that no TLS program sends, made up or fuzzed; the list of tshark.py says more"),
    ("draft", "we", "TLS 1.3 draft 14, whose ServerHello has no session id: tshark reads the suite as the id's length"),
];

/// Captures that were looked into: the end of the name, and the class of what tshark says otherwise.
const LOOKED_INTO: [(&str, &str); 17] = [
    ("ntop_nDPI__gnutella.pcap.gz", "behind"),
    ("ntop_nDPI__nomachine.pcap", "behind"),
    ("adb_synthetic.pcap", "frames"),
    ("openvpn_tcp_multi.pcap", "frames"),
    ("openvpn_tcp_nontlsauth.pcap", "frames"),
    ("443-opvn.pcap", "frames"),
    ("openvpn.pcap", "frames"),
    ("Jahnavipohar08_network-traffic-analysis-wireshark__wireshark.pcap", "mid-hello"),
    ("tls_client_certificate_with_missing_server_one.pcap", "client's"),
    ("tls-rdn-extract.pcap", "long"),
    ("tls_tls13-draft14_tls13_draft14.pcap", "draft"),
    ("tls_invalid_reads.pcap", "odd"),
    ("encrypted_handshake_cert_false_positive.pcap", "odd"),
    ("app-layer-protocol-negated-unknown-shortcircuit_input.pcap", "odd"),
    ("arkime_synthetic.pcap", "odd"),
    ("tls_cipher_lens.pcap", "odd"),
    ("tls_multiple_synack_different_seq.pcap", "odd"),
];

/// Code points as the stored lines have them.
fn codes(list: &[u16]) -> String {
    list.iter().map(|code| format!("{code:04x}")).collect::<Vec<_>>().join(" ")
}

fn text(bytes: &[u8]) -> String {
    clean(&String::from_utf8_lossy(bytes))
}

/// Our values, in the order of the fields.
fn ours(detection: &Detection<'_>) -> Vec<String> {
    let value = |id| detection.flow.fields.get(id);
    let mut values = match ClientHello::read(value) {
        Some(hello) => vec![
            text(hello.sni),
            text(hello.alpn),
            codes(&[hello.version]),
            codes(hello.supported_versions),
            codes(hello.ciphers),
            ja3(&hello),
        ],
        None => vec![String::new(); 6],
    };
    values.extend(match ServerHello::read(value) {
        Some(hello) => [codes(&[hello.selected_version]), codes(&[hello.cipher]), ja3s(&hello)],
        None => [const { String::new() }; 3],
    });
    values.extend(match CertificateInfo::read(value).filter(|certificate| certificate.parsed) {
        Some(found) => [found.serial.iter().map(|byte| format!("{byte:02x}")).collect(), text(found.subject)],
        None => [const { String::new() }; 2],
    });
    values
}

/// Whether two values are the same; of long names tshark shows the end, without what we escape.
fn same(field: &str, theirs: &str, ours: &str) -> bool {
    match theirs.strip_prefix("...") {
        Some(end) if field == "certificate subject" => ours.ends_with(end),
        _ => theirs == ours,
    }
}

/// The class of a difference.
fn explain(case: &Case<'_>) -> &'static str {
    let [theirs, _] = case.values();
    let version = case.theirs.get(2).is_some_and(|version| !version.is_empty());
    match LOOKED_INTO.iter().find(|(part, _)| case.capture.ends_with(part)) {
        Some((_, class)) => class,
        None if theirs.is_empty() && version && matches!(case.field, "ciphers offered" | "JA3") => "old-form",
        None if theirs.is_empty() => "more",
        None => UNEXPLAINED,
    }
}

#[test]
fn what_a_handshake_shows_is_what_another_program_reads() {
    let Some(counts) = ORACLE.hold() else { return };
    assert!(counts[0].theirs > 100, "{}", counts[0].theirs);
}
