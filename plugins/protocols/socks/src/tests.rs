use crate::declarations;
use proptest::prelude::*;
use veilwatch_core::plugin::Settings;
use veilwatch_testkit::conformance::{Options, assert_conforms, check};
use veilwatch_testkit::golden;
use veilwatch_testkit::talk::{Talk, Wired, tree_lines};

const HELLO: &[u8] = b"\x16\x03\x01\0\x05\x01\0\0\x01\x03";
const ANSWER: &[u8] = b"\x16\x03\x03\0\x04\x02\0\0\0";

/// Version 5 without a password, to a name; with one, to an address; version 4; version 4a.
const FIVE: [&[u8]; 4] =
    [b"\x05\x01\0", b"\x05\0", b"\x05\x01\0\x03\x09a.example\x01\xbb", b"\x05\0\0\x01\x0a\0\0\x01\x04\x38"];
const WITH_PASSWORD: [&[u8]; 6] = [
    b"\x05\x02\0\x02",
    b"\x05\x02",
    b"\x01\x02me\x06secret",
    b"\x01\0",
    b"\x05\x01\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\x50",
    b"\x05\0\0\x03\x01p\0\0",
];
const FOUR: [&[u8]; 2] = [b"\x04\x01\x01\xbb\xc0\0\x02\x01me\0", b"\0\x5a\0\0\0\0\0\0"];
const FOUR_A: [&[u8]; 2] = [b"\x04\x01\x01\xbb\0\0\0\x01\0a.example\0", b"\0\x5a\0\0\0\0\0\0"];

fn template() -> Wired {
    Wired::new(&declarations()[0], "").unwrap().with_rest()
}

fn proxy_protocol() -> Wired {
    Wired::new(&declarations()[1], "").unwrap().with_rest()
}

/// In turns, the client first, TLS behind.
fn talk(parts: &[&[u8]], segment: usize) -> Talk {
    let talk = Talk::tcp().between("10.0.0.1:50000", "192.0.2.1:1080").open().segments(segment);
    let said = parts.iter().enumerate().fold(talk, |talk, (at, part)| match at % 2 {
        0 => talk.forward(part),
        _ => talk.backward(part),
    });
    said.forward(HELLO).backward(ANSWER)
}

/// What each side says in all.
fn streams(parts: &[&[u8]]) -> [Vec<u8>; 2] {
    let side = |which: usize| parts.iter().skip(which).step_by(2).copied().collect::<Vec<_>>().concat();
    [[side(0), HELLO.to_vec()].concat(), [side(1), ANSWER.to_vec()].concat()]
}

#[test]
fn it_conforms() {
    assert_conforms(declarations());
    let samples = [&FIVE[..], &WITH_PASSWORD, &FOUR, &FOUR_A].map(streams).to_vec();
    let report = check(&declarations()[0], &Options { samples, draws: true, ..Options::default() });
    assert!(report.passed(), "{report}");
    let samples = HEADERS.map(|header| [[header, HELLO].concat(), ANSWER.to_vec()]).to_vec();
    let report = check(&declarations()[1], &Options { samples, draws: true, ..Options::default() });
    assert!(report.passed(), "{report}");
}

#[test]
fn what_is_read_of_conversations() {
    let (mut text, mut trees) = (String::new(), String::new());
    let mut draw = |name: &str, template: &Wired, talk: &Talk| {
        let tree = template.tree(talk);
        assert!(tree.is_whole(), "{name}");
        trees.push_str(&format!("## {name}\n{}\n", tree_lines(&tree)));
    };
    for (name, parts) in [
        ("version 5, no password, to a name", &FIVE[..]),
        ("version 5, with a password, to an address", &WITH_PASSWORD),
        ("version 4", &FOUR),
        ("version 4a", &FOUR_A),
        ("version 5, no method will do", &[b"\x05\x01\x02", b"\x05\xff"]),
        ("version 5, the password is wrong", &[b"\x05\x01\x02", b"\x05\x02", b"\x01\x01a\x01b", b"\x01\x01"]),
        ("version 5, the host is not reached", &[FIVE[0], FIVE[1], FIVE[2], b"\x05\x04\0\x01\0\0\0\0\0\0"]),
        ("version 4, refused", &[FOUR[0], b"\0\x5b\0\0\0\0\0\0"]),
        ("no SOCKS", &[b"\x05\0\x0b\x03", b"\x05\0"]),
    ] {
        let talk = talk(parts, 0);
        text.push_str(&format!("## {name}\n{}{}\n", talk.lines(), template().read(&talk).lines()));
        draw(name, &template(), &talk);
    }
    for header in HEADERS {
        let talk = Talk::tcp().open().forward(header).forward(HELLO).backward(ANSWER);
        text.push_str(&format!("## PROXY\n{}{}\n", talk.lines(), proxy_protocol().read(&talk).lines()));
        draw("PROXY", &proxy_protocol(), &talk);
    }
    let more = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11\xc0\0\x02\x01\xc0\0\x02\x02\xc3\x50\x01\xbb\x02\0\x02ab";
    draw("PROXY, with a name", &proxy_protocol(), &Talk::tcp().forward(more));
    draw("PROXY, cut off", &proxy_protocol(), &Talk::tcp().forward(&HEADERS[2][..25]));
    draw("version 5, cut off", &template(), &Talk::tcp().forward(FIVE[0]).forward(&FIVE[2][..9]).backward(FIVE[1]));
    golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/read.txt"), &text);
    golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tree.txt"), &trees);
    assert!(!trees.contains("secret"));
}

const HEADERS: [&[u8]; 4] = [
    b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n",
    b"PROXY UNKNOWN\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\xc3\x50\x01\xbb",
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
];

#[test]
fn what_goes_through_is_handed_over_as_it_came() {
    for parts in [&FIVE[..], &WITH_PASSWORD, &FOUR, &FOUR_A] {
        for segment in [0, 1, 5] {
            assert_eq!(template().read(&talk(parts, segment)).rest(), Some([HELLO, ANSWER]), "{parts:?}");
        }
    }
    for header in HEADERS {
        for segment in [0, 1, 5] {
            let talk = Talk::tcp().open().segments(segment).forward(&[header, HELLO].concat()).backward(ANSWER);
            assert_eq!(proxy_protocol().read(&talk).rest(), Some([HELLO, ANSWER]), "{header:?}");
        }
    }
    // Refused, or for something else than a connection.
    for parts in
        [&[FOUR[0], &b"\0\x5b\0\0\0\0\0\0"[..]][..], &[FIVE[0], FIVE[1], b"\x05\x03\0\x01\0\0\0\0\0\0", FIVE[3]]]
    {
        assert_eq!(template().read(&talk(parts, 0)).rest(), None);
    }
}

#[test]
fn leaves_other_protocols_alone() {
    for (forward, backward) in [
        (&b"\x16\x03\x01\x02\0\x01"[..], &b""[..]),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
        // DCE/RPC begins with its version, which is 5.0.
        (b"\x05\0\x0b\x03\x10\0\0\0", b"\x05\0\x0c\x03"),
        (b"\x05\x01\0", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        (b"\x05\x02\0\0", b"\x05\0"),
        (b"\x04\x09\0\0", b""),
    ] {
        let said = Talk::tcp().open().forward(forward).backward(backward);
        assert!(!template().read(&said).recognised(), "{forward:?}");
    }
}

#[test]
fn settings_bound_what_is_kept() {
    let small = Wired::new(&declarations()[0], "text_bytes = 16").unwrap();
    let long = [b"\x05\x01\0\x03\x14", &[b'h'; 20][..], b"\0\x50"].concat();
    let told = small.read(&talk(&[FIVE[0], FIVE[1], &long, FIVE[3]], 0));
    assert_eq!((told.bytes("socks.host").map(<[u8]>::len), told.number("socks.limit.text_bytes")), (Some(16), Some(1)));
    for bad in ["text_bytes = 1", "texts = 1"] {
        assert!(crate::Socks::create(Settings::new(bad)).is_err(), "{bad}");
    }
    assert!(crate::ProxyProtocol::create(Settings::new("a = 1")).is_err());
}

proptest! {
    #[test]
    fn changed_conversations(
        which in 0usize..4, at in any::<prop::sample::Index>(), to in any::<u8>(), segment in 1usize..30,
    ) {
        let mut streams = streams([&FIVE[..], &WITH_PASSWORD, &FOUR, &FOUR_A][which]);
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
        five in any::<bool>(),
        forward in prop::collection::vec(any::<u8>(), 0..300),
        backward in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let (ask, answer) = match five {
            true => (&b"\x05\x01\0"[..], &b"\x05\0"[..]),
            false => (&b"\x04\x01\0\x50\x01\x02\x03\x04\0"[..], &b"\0\x5a"[..]),
        };
        let template = template();
        let talk = Talk::tcp().open().forward(&[ask, &forward].concat()).backward(&[answer, &backward].concat());
        let told = template.read(&talk);
        prop_assert!(told.recognised() && told.errors == 0);
        let tree = template.tree(&talk);
        prop_assert!(!tree.nodes.is_empty() && !tree.outside && !tree.unbalanced);
        let signature = [b"\r\n\r\n\0\r\nQUIT\n", &forward[..]].concat();
        let talk = Talk::tcp().open().forward(&signature);
        prop_assert_eq!(proxy_protocol().read(&talk).errors, 0);
        let tree = proxy_protocol().tree(&talk);
        prop_assert!(!tree.nodes.is_empty() && !tree.outside && !tree.unbalanced);
    }
}
