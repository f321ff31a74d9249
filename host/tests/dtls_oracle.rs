//! DTLS over real captures: what we read of both hellos and the certificates, and what tshark 4.0 reads of the same.
//!
//! `oracle/dtls10.pcap` and `dtls12.pcap` are of this project: OpenSSL 3.0 on both sides, with certificates made for it,
//! and an MTU of 400 bytes in the second, so that certificates come in fragments. The others are in the shared folder.

// All of this file is a test.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/flows.rs"]
mod flows;

use common::{out, shared, veilwatch};
use flows::flows;
use std::path::Path;
use veilwatch::source::{InputLimits, Source};
use veilwatch_core::flow::{FlowRecord, Templates};
use veilwatch_core::plugin::{ProtocolTemplate, Settings};
use veilwatch_core::record::{CertificateInfo, ClientHello, FieldTable, Ja4, ServerHello, Value, ja3, ja3s, ja4};
use veilwatch_protocol_dtls::Dtls;
use veilwatch_protocol_tls::Tls;

/// The flows of a capture, and the names of their fields.
fn read(path: &Path) -> (Vec<FlowRecord>, FieldTable) {
    let (mut tls, mut dtls) = (Tls::create(Settings::new("")).unwrap(), Dtls::create(Settings::new("")).unwrap());
    let mut fields = FieldTable::new();
    for template in [&mut tls as &mut dyn ProtocolTemplate, &mut dtls] {
        let ids: Vec<_> = template.fields().into_iter().map(|spec| fields.declare(spec, "t").unwrap()).collect();
        template.wire(&ids).unwrap();
    }
    let templates = Templates::new(vec![Box::new(tls), Box::new(dtls)]);
    let source = Source::open(path, &InputLimits::default()).unwrap();
    (flows(source, &templates), fields)
}

/// Both ports, server name, JA3 and JA3S of each flow that is DTLS.
fn told(path: &Path) -> Vec<String> {
    let (flows, _) = read(path);
    let line = |flow: &FlowRecord| {
        let client = flow.fields.record::<ClientHello<'_>>()?;
        let server = flow.fields.record::<ServerHello<'_>>();
        let sni = client.sni.escape_ascii();
        let (near, far) = (flow.originator.port, flow.responder.port);
        Some(format!("{near} {far} {sni} {} {}", ja3(&client), server.map(|hello| ja3s(&hello)).unwrap_or_default()))
    };
    flows.iter().filter(|flow| flow.protocol == 17).filter_map(line).collect()
}

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(name)
}

#[test]
fn tshark_reads_the_same_hellos() {
    assert_eq!(
        told(&fixture("dtls12.pcap")),
        ["46334 44330 dtls.example 096df697a18c538158d6a52abc65a0db 51e03b04c8c77175b5562a0e94e39f1c"]
    );
    assert_eq!(
        told(&fixture("dtls10.pcap")),
        ["39693 44331 dtls.example 433c7899c15ff2fb595d12853c53be68 a451b0339630ceb3e246407263b3cc54"]
    );
    for (capture, lines) in [
        (
            "train/benign/chat_voip/Lekensteyn_wireshark-notes__webrtc-freeswitch.pcap",
            &["20336 56706  5c3d5f618912ff6d5527d0458abebc61 75d30ec57d0ab39f6903a5d3ad52f43e"][..],
        ),
        (
            "train/benign/gaming/ntop_nDPI__geforcenow.pcap",
            &["52441 18452  c14667d7da3e6f7a7ab5519ef78c2452 a9e0318114bb46bdbeef6d54e42c915f"],
        ),
        (
            "badinput/odd_protocol_sample/ntop_nDPI__dtls_certificate_fragments.pcap",
            &[
                "39347 44443  3c3d129780d0066cd8936a6291a8d44f d45798bc098cd930de7eb2f5f866e994",
                "43594 50001  681eb4fb79ccb6d60d35fa502c279d42 201fdaa63db9a086f36651aa4cfd0819",
            ],
        ),
        (
            "badinput/truncated/cisco_mercury__dtls_fragmented_client_hello_partial.pcap",
            &["60934 4400  3c3d129780d0066cd8936a6291a8d44f "],
        ),
    ] {
        let (folder, capture) = capture.split_once('/').unwrap();
        let Some(folder) = shared(folder) else { return };
        let told = told(&folder.join(capture));
        for line in lines {
            assert!(told.iter().any(|told| told == line), "{capture}: {told:?}");
        }
    }
}

#[test]
fn everything_in_clear_is_read() {
    for (name, version, letters) in [("dtls12.pcap", 0xfefd, "dd2d"), ("dtls10.pcap", 0xfeff, "dd1d")] {
        let (flows, fields) = read(&fixture(name));
        let [flow] = &flows[..] else { panic!("{} flows", flows.len()) };
        let client = flow.fields.record::<ClientHello<'_>>().unwrap();
        let server = flow.fields.record::<ServerHello<'_>>().unwrap();
        assert_eq!((client.sni, client.alpn, client.count), (&b"dtls.example"[..], &b"webrtc,c-webrtc"[..], 2));
        assert_eq!((server.selected_version, server.resumed, server.retry), (version, false, false));
        assert!(ja4(&client, Ja4::of(17, &client)).starts_with(letters), "{}", ja4(&client, Ja4::of(17, &client)));
        let certificate = flow.fields.record::<CertificateInfo<'_>>().unwrap();
        assert_eq!((certificate.subject, certificate.self_signed), (&b"O=Orchard, CN=dtls.example"[..], true));
        assert!(certificate.matches_sni && certificate.chain_len == 1);
        let value = |name: &str| flow.fields.get(fields.id(name).unwrap());
        assert_eq!(value("tls.client_certificate.subject"), Some(Value::Bytes(b"CN=device 7")));
        assert_eq!(value("tls.client_certificate.requested"), Some(Value::U64(1)));
        assert_eq!(
            (value("dtls.hello_verify"), value("dtls.cookie_length")),
            (Some(Value::U64(1)), Some(Value::U64(20)))
        );
        assert_eq!(
            (value("dtls.client.epoch"), value("dtls.server.epoch")),
            (Some(Value::U64(1)), Some(Value::U64(1)))
        );
        // The marks lead to the packets: the certificate's begins in the packet of the ServerHello.
        assert_eq!(flow.marks[..3], [Some(1), Some(4), Some(4)]);
    }
}

#[test]
fn lines_say_dtls() {
    for (name, version, ja4) in [("dtls12.pcap", "DTLS 1.2", "dd2d"), ("dtls10.pcap", "DTLS 1.0", "dd1d")] {
        let capture = fixture(name);
        let args =
            ["detect", "--all", "--format", "jsonl", "--config", "config/protocols.toml", capture.to_str().unwrap()];
        let (status, lines) = out(&veilwatch(args));
        assert_eq!(status, Some(0));
        let flow: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        assert_eq!((flow["app_proto"].as_str(), flow["proto"].as_str()), (Some("dtls"), Some("UDP")));
        assert_eq!(flow["tls"]["version"].as_str(), Some(version));
        assert!(flow["tls"]["ja4"].as_str().unwrap().starts_with(ja4), "{}", flow["tls"]);
        assert_eq!(flow["fields"]["dtls.cookie_length"].as_u64(), Some(20));
        // No model has learnt from it.
        assert!(flow["score"].is_null() && flow["verdict"].is_null());
    }
}
