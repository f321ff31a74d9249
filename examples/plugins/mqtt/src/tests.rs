use crate::declarations;
use proptest::prelude::*;
use veilwatch_testkit::conformance::{Options, check};
use veilwatch_testkit::golden;
use veilwatch_testkit::talk::{Talk, Wired, tree_lines};

/// CONNECT of version 3.1.1: a new session, keep-alive of a minute, no user name.
const CONNECT: &[u8] = b"\x10\x12\0\x04MQTT\x04\x02\0\x3c\0\x06sensor";
/// CONNECT of version 5, with properties (a session expiry) and a user name.
const CONNECT_5: &[u8] = b"\x10\x1a\0\x04MQTT\x05\x80\0\x05\x05\x11\0\0\0\x0a\0\x02me\0\x04user";
const WELCOME: &[u8] = b"\x20\x02\0\0";

fn template() -> Wired {
    Wired::new(&declarations()[0], "").unwrap()
}

fn talk(connect: &[u8], answer: &[u8]) -> Talk {
    Talk::tcp().between("10.0.0.1:50000", "192.0.2.1:1883").open().forward(connect).wait_ms(20).backward(answer)
}

#[test]
fn it_conforms() {
    let samples = vec![[CONNECT.to_vec(), WELCOME.to_vec()], [CONNECT_5.to_vec(), b"\x20\x03\0\x87\0".to_vec()]];
    let report = check(&declarations()[0], &Options { samples, draws: true, ..Options::default() });
    assert!(report.passed(), "{report}");
}

#[test]
fn reads_both_versions() {
    let template = template();
    let told = template.read(&talk(CONNECT, WELCOME));
    assert_eq!(told.text("mqtt.clientid"), Some("sensor"));
    let numbers = ["mqtt.ver", "mqtt.conflag.cleansess", "mqtt.conflag.uname", "mqtt.kalive", "mqtt.conack.val"];
    assert_eq!(numbers.map(|name| told.number(name)), [4, 1, 0, 60, 0].map(Some));
    let told = template.read(&talk(CONNECT_5, b"\x20\x03\0\x87\0"));
    assert_eq!(told.text("mqtt.clientid"), Some("me"));
    assert_eq!(numbers.map(|name| told.number(name)), [5, 0, 1, 5, 0x87].map(Some));
}

#[test]
fn draws_both_sides() {
    let cut = talk(&CONNECT_5[..20], b"\x20\xff\xff\xff\xff");
    let mut text = String::new();
    for (name, talk) in [
        ("a welcome", talk(CONNECT, WELCOME).forward(b"\xc0\0")),
        ("version 5", talk(CONNECT_5, b"\x20\x03\0\x87\0")),
        ("cut off", cut),
    ] {
        let tree = template().tree(&talk);
        assert!(tree.is_whole(), "{name}");
        text.push_str(&format!("## {name}\n{}\n", tree_lines(&tree)));
    }
    golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tree.txt"), &text);
}

#[test]
fn reads_what_comes_byte_by_byte_and_a_part_of_it() {
    let template = template();
    let slow = template.read(&Talk::tcp().open().segments(1).forward(CONNECT).backward(WELCOME).close());
    assert_eq!((slow.text("mqtt.clientid"), slow.number("mqtt.conack.val")), (Some("sensor"), Some(0)));
    // Without an answer, and cut behind the keep-alive.
    let cut = template.read(&talk(&CONNECT[..12], b""));
    assert_eq!(
        (cut.number("mqtt.kalive"), cut.text("mqtt.clientid"), cut.number("mqtt.conack.val")),
        (Some(60), None, None)
    );
}

#[test]
fn names_are_bounded() {
    let long = [b"\x10\xf6\x07\0\x04MQTT\x04\0\0\0\x03\xe8", &[b'x'; 1000][..]].concat();
    let template = template();
    assert_eq!(template.read(&talk(&long, WELCOME)).text("mqtt.clientid").map(str::len), Some(256));
}

#[test]
fn leaves_other_protocols_alone() {
    for said in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"\x16\x03\x01\x02\0\x01",
        b"\x10\x12\0\x06MQIsdp\x03",
        b"\x10\x80\x80\x80\x80\x01",
    ] {
        assert!(!template().read(&talk(said, WELCOME)).recognised(), "{said:?}");
    }
}

proptest! {
    /// A CONNECT that anybody changed: no failure, and never more than the bound.
    #[test]
    fn whatever_follows_the_name(rest in prop::collection::vec(any::<u8>(), 0..600), answer in prop::collection::vec(any::<u8>(), 0..9)) {
        let template = template();
        let talk = talk(&[b"\x10\x40\0\x04MQTT", &rest[..]].concat(), &answer);
        let tree = template.tree(&talk);
        prop_assert!(!tree.nodes.is_empty() && !tree.outside && !tree.unbalanced);
        let told = template.read(&talk);
        prop_assert!(told.recognised() && told.errors == 0);
        prop_assert!(told.bytes("mqtt.clientid").is_none_or(|name| name.len() <= 256));
    }
}
