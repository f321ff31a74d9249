use crate::declarations;
use proptest::prelude::*;
use veilwatch_core::plugin::Settings;
use veilwatch_testkit::conformance::{Options, check};
use veilwatch_testkit::golden;
use veilwatch_testkit::talk::{Talk, Wired, tree_lines};

const HELLO: &[u8] = b"\x16\x03\x01\0\x05\x01\0\0\x01\x03";
const ANSWER: &[u8] = b"\x16\x03\x03\0\x04\x02\0\0\0";
const OPEN: &[u8] = b"<?xml version='1.0'?><stream:stream to='chat.example' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
const OPENED: &[u8] =
    b"<?xml version='1.0'?><stream:stream from='chat.example' id='++TR84Sm6A3' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' version='1.0'><stream:features>\
    <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>";
const STARTTLS: &[u8] = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const PROCEED: &[u8] = b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

fn template() -> Wired {
    Wired::new(&declarations()[0], "").unwrap().with_rest()
}

/// In turns, the client first.
fn talk(parts: &[&[u8]], segment: usize) -> Talk {
    let talk = Talk::tcp().between("10.0.0.1:50000", "192.0.2.1:5222").open().segments(segment);
    parts
        .iter()
        .enumerate()
        .fold(talk, |talk, (at, part)| if at % 2 == 0 { talk.forward(part) } else { talk.backward(part) })
}

const TLS: [&[u8]; 6] = [OPEN, OPENED, STARTTLS, PROCEED, HELLO, ANSWER];

fn streams(parts: &[&[u8]]) -> [Vec<u8>; 2] {
    [0, 1].map(|side: usize| parts.iter().skip(side).step_by(2).copied().collect::<Vec<_>>().concat())
}

#[test]
fn it_conforms() {
    let samples = vec![streams(&TLS), streams(&[OPEN, OPENED, b"<auth mechanism='PLAIN'>AA==</auth>", b"<success/>"])];
    let report = check(&declarations()[0], &Options { samples, draws: true, ..Options::default() });
    assert!(report.passed(), "{report}");
}

#[test]
fn what_is_read_of_conversations() {
    let mut text = String::new();
    for (name, parts) in [
        ("TLS", &TLS[..]),
        ("no TLS to be had", &[OPEN, OPENED, STARTTLS, b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"]),
        ("a password in clear", &[OPEN, OPENED, b"<auth mechanism=\"PLAIN\">AG1lAHNlY3JldA==</auth>", b"<success/>"]),
        ("a password that is not", &[OPEN, OPENED, b"<auth mechanism='SCRAM-SHA-1'>biws</auth>", b"<challenge/>"]),
        (
            "before SASL",
            &[OPEN, OPENED, b"<iq type='set'><query><username>me</username><password>secret</password></query></iq>"],
        ),
        ("no answer", &[OPEN]),
    ] {
        let talk = talk(parts, 0);
        text.push_str(&format!("## {name}\n{}{}\n", talk.lines(), template().read(&talk).lines()));
    }
    golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/read.txt"), &text);
    assert!(!text.lines().any(|line| line.contains(" = ") && line.contains("secret")));
}

#[test]
fn what_is_drawn_of_conversations() {
    let odd = b"<a><!-- <b> --><c x='>'/></d>text<auth x='y'>c2VjcmV0<![CDATA[c2VjcmV0]]></auth><half";
    let mut text = String::new();
    for (name, parts) in [
        ("TLS", &TLS[..]),
        ("a password in clear", &[OPEN, OPENED, b"<auth mechanism=\"PLAIN\">AG1lAHNlY3JldA==</auth>", b"<success/>"]),
        (
            "before SASL, and a message",
            &[
                b"<stream:stream>",
                b"<stream:stream id='1'><message><body>hello</body></message></stream:stream>",
                b"<iq type='set'><query><username>me</username><password>secret</password></query></iq>",
            ],
        ),
        ("what is odd", &[odd, b"what"]),
    ] {
        let tree = template().tree(&talk(parts, 0));
        assert!(tree.is_whole(), "{name}");
        text.push_str(&format!("## {name}\n{}\n", tree_lines(&tree)));
    }
    golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tree.txt"), &text);
    assert!(!text.contains("secret") && !text.contains("AG1l") && !text.contains("c2Vj"));
    let deep =
        template().tree(&Talk::tcp().forward("<a>".repeat(99).as_bytes()).backward("<a></b>".repeat(9).as_bytes()));
    assert!(deep.is_whole());
}

#[test]
fn attributes_inside_of_a_login_are_not_shown() {
    let server = b"<success xmlns='urn:xmpp:sasl:2'><token xmlns='urn:xmpp:fast:0' token=\"hunt'er2\"/>\
        <a b = 'hunter2' hunter2><c d='hunter2' e=hunter2 f='g'/></a></success><message id='1'/>";
    let tree = tree_lines(&template().tree(&talk(&[OPEN, server], 0)));
    for shown in [
        "success: xmlns='urn:xmpp:sasl:2' [",
        "token: xmlns='****' token='****' [",
        "a: b='****' **** [",
        "c: d='****' **** [",
        "message: id='1' [",
    ] {
        assert!(tree.contains(shown), "{shown}\n{tree}");
    }
    assert!(!tree.contains("er2"), "{tree}");
}

#[test]
fn tls_is_handed_over_as_it_came() {
    let closed = [OPEN, OPENED, b"<starttls a='b'>\n</starttls>\n ", b"<proceed></proceed>", HELLO, ANSWER];
    for parts in [&TLS[..], &closed] {
        for segment in [0, 1, 11] {
            assert_eq!(template().read(&talk(parts, segment)).rest(), Some([HELLO, ANSWER]), "{segment}");
        }
    }
}

#[test]
fn leaves_other_protocols_alone() {
    for said in [&b"<?xml version='1.0'?><soap:Envelope>"[..], b"<html>", HELLO, b"<stream>", &[b'<'; 600]] {
        assert!(!template().read(&Talk::tcp().open().forward(said)).recognised(), "{said:?}");
    }
}

#[test]
fn settings_bound_what_is_kept() {
    let small = Wired::new(&declarations()[0], "text_bytes = 16").unwrap();
    let told = small.read(&talk(&[b"<stream:stream to='a.very.long.host.example'>"], 0));
    assert_eq!((told.text("xmpp.to"), told.number("xmpp.limit.text_bytes")), (Some("a.very.long.host"), Some(1)));
    for bad in ["text_bytes = 1", "texts = 1"] {
        assert!(crate::Xmpp::create(Settings::new(bad)).is_err(), "{bad}");
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
        let talk = Talk::tcp().open().forward(&[b"<stream:stream ", &rest[..]].concat()).backward(&answer);
        let template = template();
        let told = template.read(&talk);
        prop_assert!(told.recognised() && told.errors == 0);
        let tree = template.tree(&talk);
        prop_assert!(!tree.nodes.is_empty() && !tree.outside && !tree.unbalanced);
    }
}
