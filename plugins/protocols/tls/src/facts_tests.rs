//! Tests of what is told beside the typed records.

use crate::Tls;
use crate::records::{APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE};
use crate::testing::{
    CertificateParts, SESSION, certificate, certificate_message, client_extensions, client_hello, client_hello_with,
    declared, extension, flow, message, name, ocsp_response, record, server_hello_with, stamp_list, stamps_extension,
    status_message, vec16,
};
use veilwatch_core::flow::Direction::{Backward, Forward};
use veilwatch_core::flow::FlowRecord;
use veilwatch_core::plugin::ProtocolTemplate;
use veilwatch_core::record::{ServerHello, Value};

/// All that the template's own fields say of a flow, a line each.
fn told(flow: &FlowRecord) -> String {
    let line = |(at, spec): (usize, veilwatch_core::record::FieldSpec)| {
        Some(match flow.fields.get(declared(at))? {
            Value::Bytes(bytes) => format!("{} {}\n", spec.name, String::from_utf8_lossy(bytes)),
            Value::U64(number) => format!("{} {number}\n", spec.name),
            other => format!("{} {other:?}\n", spec.name),
        })
    };
    Tls::default().fields().into_iter().enumerate().filter_map(line).collect()
}

fn handshake(messages: &[Vec<u8>]) -> Vec<u8> {
    record(HANDSHAKE, &messages.concat())
}

fn rest() -> Vec<u8> {
    [record(CHANGE_CIPHER_SPEC, &[1]), record(HANDSHAKE, &[0xe7; 40]), record(APPLICATION_DATA, &[1; 200])].concat()
}

/// A handshake of TLS 1.2 with all that may stand in the clear, held against a file.
#[test]
fn all_that_tls_12_shows() {
    let mut leaf = CertificateParts::new("a.example", &["a.example"]);
    leaf.extensions.extend(stamps_extension(2));
    let root = CertificateParts::new("Somebody else", &[]).build();
    let mut own = CertificateParts::new("A person", &[]);
    own.subject = own.issuer.clone();
    let hello = client_hello_with(&client_extensions("a.example"));
    let server = server_hello_with(&[7; 32], &[9; 32], &extension(18, &stamp_list(1)));
    let flight = [
        server,
        certificate_message(&[&leaf.build(), &root]),
        status_message(&ocsp_response(0xa1, 4)),
        message(12, &[3; 300]),
        message(13, &[1, 1, 0, 0, 0, 0]),
        message(14, &[]),
    ];
    let answer = [certificate_message(&[&own.build()]), message(16, &[6; 66]), message(15, &[4; 70])];
    let forward = [handshake(&[hello]), handshake(&answer), rest()].concat();
    let backward = [handshake(&flight), rest()].concat();
    let text = told(&flow(&[(Forward, &forward), (Backward, &backward)]));
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/facts.txt");
    if std::env::var_os("VEILWATCH_WRITE_GOLDEN").is_some() {
        std::fs::write(&golden, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(golden).unwrap());
    // Whoever answers: the same.
    assert_eq!(told(&flow(&[(Backward, &forward), (Forward, &backward)])), text);
}

#[test]
fn nothing_is_told_of_an_ordinary_handshake() {
    let mut leaf = CertificateParts::new("a.example", &["a.example"]);
    leaf.extensions = Vec::new();
    let mut root = CertificateParts::new("Root", &[]);
    root.subject = leaf.issuer.clone();
    let chain = certificate_message(&[&leaf.build(), &root.build()]);
    let flight =
        handshake(&[server_hello_with(&[7; 32], &[9; 32], &[]), chain, message(12, &[3; 300]), message(14, &[])]);
    let forward = [handshake(&[client_hello("a.example")]), handshake(&[message(16, &[6; 66])]), rest()].concat();
    assert_eq!(told(&flow(&[(Forward, &forward), (Backward, &[flight, rest()].concat())])), "");
}

#[test]
fn a_client_that_is_asked_and_has_no_certificate() {
    let flight = [server_hello_with(&[7; 32], &[9; 32], &[]), message(13, &[1, 1, 0, 0, 0, 0]), message(14, &[])];
    let answer = handshake(&[certificate_message(&[]), message(16, &[6; 66])]);
    let forward = [handshake(&[client_hello("a.example")]), answer, rest()].concat();
    let flow = flow(&[(Forward, &forward), (Backward, &[handshake(&flight), rest()].concat())]);
    assert_eq!(told(&flow), "tls.client_certificate.requested 1\ntls.client_certificate.chain_len 0\n");
}

#[test]
fn sessions_are_taken_up_in_three_ways() {
    let resumed = |hello: Vec<u8>, server: Vec<u8>| {
        told(&flow(&[(Forward, &handshake(&[hello])), (Backward, &[handshake(&[server]), rest()].concat())]))
    };
    let without_ticket = || client_hello_with(&extension(23, &[]));
    // The hello of the tests brings a ticket.
    let with_ticket = || client_hello("a.example");
    assert_eq!(resumed(without_ticket(), server_hello_with(&[7; 32], &SESSION, &[])), "tls.resumed session-id\n");
    assert_eq!(resumed(with_ticket(), server_hello_with(&[7; 32], &SESSION, &[])), "tls.resumed ticket\n");
    assert_eq!(resumed(with_ticket(), server_hello_with(&[7; 32], b"", &[])), "tls.resumed ticket\n");
    let extensions = [extension(43, &[3, 4]), extension(41, &[0, 0])].concat();
    assert_eq!(resumed(with_ticket(), server_hello_with(&[7; 32], &SESSION, &extensions)), "tls.resumed psk\n");
}

/// A hello with a post-quantum key share is longer than a segment.
#[test]
fn a_post_quantum_hello_over_segments() {
    let shares = [&[0x11, 0xec][..], &vec16(&[8; 1216]), &[0, 29], &vec16(&[9; 32])].concat();
    let hello = client_hello_with(&[extension(51, &vec16(&shares)), extension(43, &[2, 3, 4])].concat());
    let forward = handshake(&[hello]);
    assert!(forward.len() > 1300);
    for (group, word) in [([0, 29], 1), ([0x11, 0xec], 2)] {
        let share = [&group[..], &vec16(&[1; 32])].concat();
        let server = server_hello_with(&[7; 32], &SESSION, &[extension(43, &[3, 4]), extension(51, &share)].concat());
        let backward = [handshake(&[server]), rest()].concat();
        for cut in [1, 5, 600, 1200] {
            let flow = flow(&[(Forward, &forward[..cut]), (Forward, &forward[cut..]), (Backward, &backward)]);
            assert_eq!(told(&flow), format!("tls.post_quantum {word}\n"));
            assert_eq!(crate::testing::read::<ServerHello<'_>>(&flow).unwrap().selected_version, 0x0304);
        }
    }
}

#[test]
fn tor_is_told_by_both_names() {
    let mut leaf = CertificateParts::new("x", &[]);
    let one = |text: &str| {
        let whole = name("Organisation", text);
        let attributes = common_name(&whole);
        crate::testing::der(0x30, attributes)
    };
    (leaf.subject, leaf.issuer, leaf.extensions) = (one("www.p5qtzmqzyq3.net"), one("www.tebnwq2exk.com"), Vec::new());
    let flight = handshake(&[server_hello_with(&[7; 32], &[9; 32], &[]), certificate_message(&[&leaf.build()])]);
    let forward = [handshake(&[client_hello("www.axs2fw7hq4d.com")]), rest()].concat();
    let text = told(&flow(&[(Forward, &forward), (Backward, &[flight, rest()].concat())]));
    assert_eq!(text, "tls.tor certificate\n");
}

/// The common name of a name made by [`name`], which stands behind the organisation.
fn common_name(name: &[u8]) -> &[u8] {
    let organisation = usize::from(name[3]) + 2;
    &name[2 + organisation..]
}

#[test]
fn fingerprints_are_told_where_they_are_asked_for() {
    let chain = certificate_message(&[&certificate("a.example", &["a.example"])]);
    let server = server_hello_with(&[7; 32], &[9; 32], &extension(0xff01, &[0]));
    let backward = [handshake(&[server, chain]), rest()].concat();
    let forward = [handshake(&[client_hello("a.example")]), rest()].concat();
    let segments = [(Forward, &forward[..]), (Backward, &backward[..])];
    let text = told(&crate::testing::flow_with("fingerprints = true", &segments));
    let read = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let flow = flow(&segments);
    let hello = crate::testing::read::<ServerHello<'_>>(&flow).unwrap();
    assert_eq!(read("tls.server_fingerprint "), veilwatch_core::record::server_print(&hello));
    // Basic constraints, policies, transparency, alternative names.
    let kinds = [&[0x55, 29, 19][..], &[0x55, 29, 32], &[0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 2], &[0x55, 29, 17]];
    let info = crate::testing::read(&flow).unwrap();
    let print = veilwatch_core::record::certificate_print(&info, kinds).unwrap();
    assert!(print.starts_with("vwc1:rsa2048/sha256/10y/1:"), "{print}");
    assert_eq!(read("tls.certificate_fingerprint "), print);
    assert!(!told(&flow).contains("fingerprint"));
}

#[test]
fn certificates_that_are_not_read_are_not_told() {
    let chain = certificate_message(&[&certificate("a.example", &[]), b"junk"]);
    let backward = [handshake(&[server_hello_with(&[7; 32], &[9; 32], &[]), chain]), rest()].concat();
    let forward = [handshake(&[client_hello("a.example"), certificate_message(&[b"junk"])]), rest()].concat();
    let segments = [(Forward, &forward[..]), (Backward, &backward)];
    assert_eq!(told(&crate::testing::flow_with("certificates = 0", &segments)), "");
    assert!(told(&flow(&segments)).contains("tls.certificate.chain_breaks 1\n"));
}
