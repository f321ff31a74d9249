use crate::declarations;
use proptest::prelude::*;
use veilwatch_core::plugin::Settings;
use veilwatch_testkit::conformance::{Options, check};
use veilwatch_testkit::golden;
use veilwatch_testkit::talk::{Talk, Wired, tree_lines};

const HELLO: &[u8] = b"\x16\x03\x01\0\x05\x01\0\0\x01\x03";
const ANSWER: &[u8] = b"\x16\x03\x03\0\x04\x02\0\0\0";
const STARTTLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
const AGREED: &[u8] = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\0\x04\0\x04\0";
const REFUSED: &[u8] = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\0\x04\0";
/// A bind as `cn=me` with a password.
const BIND: &[u8] = b"\x30\x17\x02\x01\x02\x60\x12\x02\x01\x03\x04\x05cn=me\x80\x06secret";
const BOUND: &[u8] = b"\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\0\x04\0\x04\0";
/// The same by a SASL mechanism.
const SASL: &[u8] = b"\x30\x1a\x02\x01\x02\x60\x15\x02\x01\x03\x04\0\xa3\x0e\x04\x0aGSS-SPNEGO\x04\0";
/// A search, what it finds, and its end.
const SEARCH: &[u8] = b"\x30\x05\x02\x01\x03\x63\0";
const FOUND: &[u8] = b"\x30\x05\x02\x01\x03\x64\0\x30\x0c\x02\x01\x03\x65\x07\x0a\x01\0\x04\0\x04\0";

fn template() -> Wired {
    Wired::new(&declarations()[0], "").unwrap().with_rest()
}

fn talk(parts: &[&[u8]], segment: usize) -> Talk {
    let talk = Talk::tcp().between("10.0.0.1:50000", "192.0.2.1:389").open().segments(segment);
    parts
        .iter()
        .enumerate()
        .fold(talk, |talk, (at, part)| if at % 2 == 0 { talk.forward(part) } else { talk.backward(part) })
}

const TLS: [&[u8]; 6] = [SEARCH, FOUND, STARTTLS, AGREED, HELLO, ANSWER];

fn streams(parts: &[&[u8]]) -> [Vec<u8>; 2] {
    [0, 1].map(|side: usize| parts.iter().skip(side).step_by(2).copied().collect::<Vec<_>>().concat())
}

#[test]
fn it_conforms() {
    let samples = vec![streams(&TLS), streams(&[STARTTLS, AGREED, HELLO, ANSWER]), streams(&[BIND, BOUND])];
    let report = check(&declarations()[0], &Options { samples, draws: true, ..Options::default() });
    assert!(report.passed(), "{report}");
}

#[test]
fn what_is_read_of_conversations() {
    let mut text = String::new();
    for (name, parts) in [
        ("TLS behind a search", &TLS[..]),
        ("no TLS to be had, and a password in clear", &[STARTTLS, REFUSED, BIND, BOUND]),
        ("another mechanism", &[SASL, b"\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x0e\x04\0\x04\0"]),
        ("nobody in particular", &[b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0", b""]),
    ] {
        let talk = talk(parts, 0);
        text.push_str(&format!("## {name}\n{}{}\n", talk.lines(), template().read(&talk).lines()));
    }
    golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/read.txt"), &text);
    assert!(!text.lines().any(|line| line.contains(" = ") && line.contains("secret")));
}

#[test]
fn what_is_drawn_of_conversations() {
    // The name and a password's hash of everybody, and what is found.
    let search: &[u8] = b"\x30\x30\x02\x01\x03\x63\x2b\x04\x02dc\x0a\x01\x02\x0a\x01\0\x02\x01\0\x02\x01\0\x01\x01\0\
        \xa3\x08\x04\x02cn\x04\x02me\x30\x0c\x04\x02cn\x04\x06secret";
    let found: &[u8] = b"\x30\x1b\x02\x01\x03\x64\x16\x04\x02me\x30\x10\x30\x0e\x04\x02pw\x31\x08\x04\x06hidden";
    let reset: &[u8] = b"\x30\x28\x02\x01\x04\x77\x23\x80\x171.3.6.1.4.1.4203.1.11.1\x81\x08\x30\x06\x82\x04pass";
    let mut text = String::new();
    for (name, parts) in [
        ("TLS behind a search", &TLS[..]),
        ("no TLS to be had, and a password in clear", &[STARTTLS, REFUSED, BIND, BOUND]),
        ("another mechanism", &[SASL, b"\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x0e\x04\0\x04\0"]),
        ("a search, and a new password", &[search, found, reset, b""]),
        (
            "small requests",
            &[b"\x30\x06\x02\x01\x05\x4a\x01a\x30\x06\x02\x01\x06\x50\x01\x05\x30\x05\x02\x01\x07\x42\0", b""],
        ),
        ("cut off, and no LDAP", &[&BIND[..20], b"\x30\x05\x02\x01\x03\x64\0what"]),
    ] {
        let tree = template().tree(&talk(parts, 0));
        assert!(tree.is_whole(), "{name}");
        text.push_str(&format!("## {name}\n{}\n", tree_lines(&tree)));
    }
    golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tree.txt"), &text);
    // An attribute may be called so.
    assert_eq!(text.matches("secret").count(), 1);
    assert!(!text.contains("hidden") && !text.contains("pass\n"));
}

#[test]
fn what_an_unknown_bind_holds_is_not_shown() {
    // As SASL is made, with the tag of another choice; and one of those that some servers have (0x8a).
    for choice in [&b"\xa5\x0f\x04\x06secret\x04\x05token"[..], b"\x8a\x0f\x04\x06secret\x04\x05token"] {
        let bind = [b"\x30\x1b\x02\x01\x02\x60\x16\x02\x01\x03\x04\0", choice].concat();
        let tree = tree_lines(&template().tree(&talk(&[&bind, BOUND], 0)));
        assert!(
            tree.contains("Credentials: ****") && !tree.contains("secret") && !tree.contains("Mechanism"),
            "{tree}"
        );
    }
    let tree = tree_lines(&template().tree(&talk(&[SASL, BOUND], 0)));
    assert!(tree.contains("Mechanism: GSS-SPNEGO") && tree.contains("Credentials: ****"), "{tree}");
}

#[test]
fn tls_is_handed_over_as_it_came() {
    for parts in [&TLS[..], &[STARTTLS, AGREED, HELLO, ANSWER]] {
        for segment in [0, 1, 9] {
            assert_eq!(template().read(&talk(parts, segment)).rest(), Some([HELLO, ANSWER]), "{segment}");
        }
    }
    assert_eq!(template().read(&talk(&[STARTTLS, REFUSED, HELLO, ANSWER], 0)).rest(), None);
}

#[test]
fn leaves_other_protocols_alone() {
    // SNMP is BER too, and begins with a version and a name.
    for said in [&b"\x30\x26\x02\x01\x01\x04\x06public\xa0\x19"[..], b"0123456", HELLO, b"\x30\x80\x02\x01\x01\x60"] {
        assert!(!template().read(&Talk::tcp().open().forward(said)).recognised(), "{said:?}");
    }
}

#[test]
fn settings_bound_what_is_kept() {
    let small = Wired::new(&declarations()[0], "text_bytes = 16").unwrap();
    let long = b"\x30\x20\x02\x01\x02\x60\x1b\x02\x01\x03\x04\x14cn=0123456789abcdefg\x80\0";
    let told = small.read(&talk(&[long], 0));
    assert_eq!((told.text("ldap.name"), told.number("ldap.limit.text_bytes")), (Some("cn=0123456789abc"), Some(1)));
    for bad in ["text_bytes = 1", "texts = 1"] {
        assert!(crate::Ldap::create(Settings::new(bad)).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn changed_conversations(at in any::<prop::sample::Index>(), to in any::<u8>(), segment in 1usize..60) {
        let mut streams = streams(&TLS);
        let side = at.index(2);
        let place = at.index(streams[side].len());
        streams[side][place] = to;
        let template = template();
        let [client, server] = &streams;
        let whole = template.read(&Talk::tcp().open().forward(client).backward(server));
        let pieces = template.read(&Talk::tcp().open().segments(segment).forward(client).backward(server));
        prop_assert_eq!(whole.errors, 0);
        prop_assert_eq!(whole.lines(), pieces.lines());
    }

    #[test]
    fn whatever_follows(
        rest in prop::collection::vec(any::<u8>(), 0..300), answer in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let client = [b"\x30\x82\x01\0\x02\x01\x01\x60", &rest[..]].concat();
        let talk = Talk::tcp().open().forward(&client).backward(&answer);
        let template = template();
        let told = template.read(&talk);
        prop_assert!(told.recognised() && told.errors == 0);
        let tree = template.tree(&talk);
        prop_assert!(!tree.nodes.is_empty() && !tree.outside && !tree.unbalanced);
    }
}
