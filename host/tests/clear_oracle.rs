//! What protocols show in clear, over real captures: the first HTTP exchange and the greetings of mail and FTP
//! servers, ours against tshark's.
//!
//! What tshark reads is stored in `oracle/clear-tshark.tsv.gz`; the differences stand in `oracle/clear-differences.md`,
//! and this test fails when they are others. How both are written again stands in `oracle/README.md`.

// All of this file is a test.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/streams.rs"]
mod streams;

use streams::{Case, Oracle, UNEXPLAINED, clean};
use veilwatch::engine::Detection;
use veilwatch_core::record::Value;

/// Where tshark's values stand with us, in the order of its lines.
const FIELDS: [&str; 8] = [
    "http.http_method",
    "http.hostname",
    "http.http_user_agent",
    "http.status",
    "smtp.banner",
    "ftp.banner",
    "imap.banner",
    "pop3.banner",
];

const ORACLE: Oracle = Oracle {
    stored: "clear-tshark.tsv.gz",
    table: "clear-differences.md",
    title: "# What stands in clear: what tshark and we read\n\nThat of the first request, of the first response, of the \
            greeting. Written by `tests/clear_oracle.rs`.",
    fields: &[
        "HTTP method",
        "HTTP Host",
        "HTTP User-Agent",
        "HTTP status",
        "SMTP greeting",
        "FTP greeting",
        "IMAP greeting",
        "POP3 greeting",
    ],
    classes: &CLASSES,
    ours,
    same,
    explain,
    largest: u64::MAX,
};

/// Classes of differences: name, who is right, why.
const CLASSES: [(&str, &str, &str); 11] = [
    (
        "answer",
        "both",
        "a server answers in HTTP to a record of TLS: to us the flow is TLS, tshark looks at each segment",
    ),
    ("scanner", "both", "a scanner says something else to a mail server: we go by who spoke first, tshark by the port"),
    ("port", "we", "tshark gives the port to another dissector"),
    ("cut", "we", "segments of the first request are missing: tshark waits for them, we read what is there"),
    (
        "hole",
        "both",
        "the first response is missing: tshark shows the second one, we do not take it for the first one's",
    ),
    ("notification", "we", "requests of UPnP, which tshark tells in another field"),
    ("evader", "both", "made to be read in different ways: status lines that are none, which browsers take"),
    ("tunnel", "tshark", "inside a tunnel that is not decoded"),
    ("networks", "we", "the same ends in two networks: tshark takes the second for packets sent again"),
    ("null", "both", "inside TLS without encryption, which tshark reads on"),
    ("resent", "we", "every packet stands there twice, and tshark leaves the second one out with what it completes"),
];

/// Captures that were looked into: part of the path, and the class of all differences in it.
const LOOKED_INTO: [(&str, &str); 13] = [
    ("PcapPlusPlus__4KHttpRequests.pcap", "cut"),
    ("boundary_wireshark__test.cap", "notification"),
    ("suricata-verify__http-evader_input.pcap", "evader"),
    ("zeek_zeek__ayiya3.pcap", "tunnel"),
    ("zeek_zeek__gre-over-udp-4754.pcap", "tunnel"),
    ("zeek_zeek__vlan-collisions.pcap", "networks"),
    ("zeek_zeek__vxlan-overlapping-http-get.pcap", "networks"),
    ("wireshark-notes__tls-null.pcap", "null"),
    ("ntop_nDPI__1kxun.pcap.gz", "hole"),
    ("ntop_nDPI__KakaoTalk_talk.pcap.gz", "resent"),
    // SMTP on port 80, HTTP on port 1080.
    ("2017-10-10-Emotet-malspam-traffic.pcap.gz", "port"),
    ("ACandeias.IntrusionDetection__tijcont.pcap", "port"),
    ("linux-cooked-unsw-nb15.pcap", "hole"),
];

/// Our values, in the order of [`FIELDS`].
fn ours(detection: &Detection<'_>) -> Vec<String> {
    let text = |name| match detection.pipeline.fields().id(name).and_then(|id| detection.flow.fields.get(id)) {
        Some(Value::U64(number)) => number.to_string(),
        Some(Value::Bytes(bytes)) => clean(&String::from_utf8_lossy(bytes)),
        _ => String::new(),
    };
    FIELDS.map(text).to_vec()
}

/// The class of a difference.
fn explain(case: &Case<'_>) -> &'static str {
    if let Some((_, class)) = LOOKED_INTO.iter().find(|(part, _)| case.capture.ends_with(part)) {
        return class;
    }
    let greeting = case.field.ends_with("greeting");
    match case.values().map(str::is_empty) {
        [false, true]
            if case.field == "HTTP status" && case.capture.ends_with("Network-Traffic-Analysis__capture.pcap.gz") =>
        {
            "answer"
        }
        [false, true] if greeting && case.capture.ends_with("ids-pcap-analysis__alert6.pcap.gz") => "scanner",
        [true, false] if !greeting && case.capture.ends_with("ids-pcap-analysis__alert6.pcap.gz") => "port",
        _ => UNEXPLAINED,
    }
}

/// Whether two values are the same; ours are cut at 512 bytes or 255.
fn same(field: &str, theirs: &str, ours: &str) -> bool {
    let theirs = if field == "IMAP greeting" {
        theirs.trim_start_matches("* ").split_once(' ').map_or("", |(_, text)| text)
    } else {
        theirs
    };
    theirs == ours || (ours.len() >= 250 && theirs.starts_with(ours))
}

#[test]
fn what_stands_in_clear_is_what_another_program_reads() {
    let Some(counts) = ORACLE.hold() else { return };
    // What requests say is the same in 999 of a thousand.
    assert!(counts[..3].iter().all(|count| count.theirs > 4000 && count.equal * 1000 >= count.theirs * 999));
}
