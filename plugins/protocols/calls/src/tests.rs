use crate::declarations;
use proptest::prelude::*;
use veilwatch_core::flow::Templates;
use veilwatch_core::plugin::{
    Instance, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView,
};
use veilwatch_core::record::FieldId;
use veilwatch_testkit::conformance::{Options, check};
use veilwatch_testkit::golden;
use veilwatch_testkit::talk::{Talk, Wired, tree_lines};

const REGISTER: &[u8] = b"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1\r\nuser-agent:  Phone 1.0 \r\nContent-Length: 0\r\n\r\n";
const UNAUTHORIZED: &[u8] = b"SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP 10.0.0.1\r\n\r\n";

/// A question for one's address, by a program that is called `test`.
const BINDING: &[u8] = b"\0\x01\0\x08\x21\x12\xa4\x42transaction!\x80\x22\0\x04test";
/// Its answer, of a program called `srv` (filled up to a word).
const BOUND: &[u8] = b"\x01\x01\0\x08\x21\x12\xa4\x42transaction!\x80\x22\0\x03srv\0";

fn template(name: &str, settings: &str) -> Wired {
    let declarations = declarations();
    Wired::new(declarations.iter().find(|one| one.manifest.name == name).unwrap(), settings).unwrap()
}

#[test]
fn they_conform() {
    for (at, sample) in [[REGISTER, UNAUTHORIZED], [BINDING, BOUND]].into_iter().enumerate() {
        let samples = vec![sample.map(<[u8]>::to_vec)];
        let report = check(&declarations()[at], &Options { samples, draws: true, ..Options::default() });
        assert!(report.passed(), "{report}");
    }
}

#[test]
fn sip_over_both() {
    let template = template("sip", "");
    for talk in [Talk::udp(), Talk::tcp().open(), Talk::tcp().segments(3)] {
        let told = template.read(&talk.forward(REGISTER).backward(UNAUTHORIZED));
        assert_eq!((told.text("sip.method"), told.text("sip.uri")), (Some("REGISTER"), Some("sip:example.com")));
        assert_eq!((told.text("sip.user_agent"), told.number("sip.code")), (Some("Phone 1.0"), Some(401)));
    }
    let told = template.read(&Talk::udp().forward(UNAUTHORIZED).backward(REGISTER));
    assert_eq!((told.text("sip.method"), told.number("sip.code")), (Some("REGISTER"), Some(401)));
    for other in [
        &b"OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"OPTIONS * RTSP/1.0\r\n",
        b"INVITED sip:a SIP/2.0\r\n",
        b"SIP/2.0 4x1 Odd\r\n",
        b"REGISTER sip:a SIP/2.0\n",
    ] {
        for talk in [Talk::udp(), Talk::tcp()] {
            assert!(!template.read(&talk.forward(other)).recognised(), "{other:?}");
        }
    }
}

#[test]
fn passwords_in_addresses_are_not_shown() {
    let register =
        b"REGISTER sip:bob:hunter2@a.example SIP/2.0\r\nFrom: \"Bob\" <SIPS:bob:hunter2@a.example>;tag=1\r\n\
        To: sip:bob:hun@ter2@a.example\r\nContact: <sip:bob:hunter2@10.0.0.1:5060>, <sip:10.0.0.1:5060>\r\n\r\n";
    let small = template("sip", "text_bytes = 16");
    let told = small.read(&Talk::udp().forward(register));
    assert_eq!(told.text("sip.uri"), Some("sip:bob:****@a.e"));
    let tree = tree_lines(&template("sip", "").tree(&Talk::udp().forward(register)));
    for shown in [
        "Request: REGISTER sip:bob:****@a.example SIP/2.0 [",
        "First line: REGISTER sip:bob:****@a.example SIP/2.0 [",
        "From: \"Bob\" <SIPS:bob:****@a.example>;tag=1 [",
        "To: sip:bob:****@a.example [",
        "Contact: <sip:bob:****@10.0.0.1:5060>, <sip:10.0.0.1:5060> [",
    ] {
        assert!(tree.contains(shown), "{shown}\n{tree}");
    }
    // Wherever it is cut off.
    for len in 0..register.len() {
        let tree = tree_lines(&template("sip", "").tree(&Talk::tcp().forward(&register[..len])));
        assert!(!tree.contains(":hu") && !tree.contains("ter2"), "{tree}");
    }
}

#[test]
fn texts_are_bounded() {
    let long = [&b"INVITE sip:"[..], &[b'x'; 500], b" SIP/2.0\r\n\r\n"].concat();
    let template = template("sip", "text_bytes = 20");
    let told = template.read(&Talk::udp().forward(&long));
    assert_eq!((told.text("sip.uri").map(str::len), told.number("sip.limit.text_bytes")), (Some(20), Some(1)));
    assert_eq!(template.read(&Talk::udp().forward(REGISTER)).number("sip.limit.text_bytes"), None);
    assert!(Wired::new(&declarations()[0], "text_bytes = 1").is_err());
}

#[test]
fn stun_has_its_cookie() {
    let template = template("stun", "");
    for talk in [Talk::udp(), Talk::tcp().open().segments(5)] {
        let told = template.read(&talk.forward(BINDING).backward(BOUND));
        assert_eq!((told.number("stun.type"), told.number("stun.answer")), (Some(1), Some(0x101)));
        assert_eq!((told.text("stun.software"), told.text("stun.server_software")), (Some("test"), Some("srv")));
    }
    let mut other = BINDING.to_vec();
    other[7] = 0;
    assert!(!template.read(&Talk::udp().forward(&other)).recognised());
    assert!(!template.read(&Talk::udp().forward(&BINDING[..27])).recognised());
}

#[test]
fn what_is_drawn_of_conversations() {
    let invite =
        b"INVITE sip:bob@b.example SIP/2.0\r\nAuthorization: Digest username=\"me\",\r\n response=\"c0ffee\"\r\n\
        Content-Length: 5\r\n\r\nv=0\r\n\r\n\r\nBYE sip:bob@b.example SIP/2.0\r\nVia";
    // 192.0.2.7 port 50000, as it is and hidden; an error, and an attribute that is cut.
    let answer = b"\x01\x01\0\x18\x21\x12\xa4\x42transaction!\0\x01\0\x08\0\x01\xc3\x50\xc0\0\x02\x07\
        \0\x20\0\x08\0\x01\xe2\x42\xe1\x12\xa6\x45";
    let error = b"\x01\x13\0\x18\x21\x12\xa4\x42transaction!\0\x09\0\x08\0\0\x04\x01Auth\0\x15\0\x40no";
    let channel = b"\x40\x01\0\x05hello\0\0\0";
    let mut text = String::new();
    for (name, what, talk) in [
        ("sip", "datagrams", Talk::udp().forward(REGISTER).backward(UNAUTHORIZED).forward(b"noise")),
        ("sip", "a connection", Talk::tcp().forward(invite).backward(&UNAUTHORIZED[..30])),
        ("stun", "datagrams", Talk::udp().forward(BINDING).backward(BOUND).forward(BINDING).backward(answer)),
        ("stun", "a connection", Talk::tcp().forward(&[BINDING, channel].concat()).backward(error)),
    ] {
        let tree = template(name, "").tree(&talk);
        assert!(tree.is_whole(), "{name}, {what}");
        text.push_str(&format!("## {name}: {what}\n{}\n", tree_lines(&tree)));
    }
    golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tree.txt"), &text);
    assert!(!text.contains("c0ffee"));
}

proptest! {
    #[test]
    fn no_address_shows_its_password(before in "(sip:|[a:@<>, ]){0,8}", behind in "[a:@>, ]{0,4}") {
        let said = format!("REGISTER sip:a SIP/2.0\r\nTo: {before}<sip:me:hunter2@{behind}\r\n\r\n");
        let tree = tree_lines(&template("sip", "").tree(&Talk::udp().forward(said.as_bytes())));
        prop_assert!(tree.contains("To: ") && !tree.contains("hunter2"), "{tree}");
    }

    #[test]
    fn whatever_comes(changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6), cut in 1usize..100, udp in any::<bool>(), more in prop::collection::vec(any::<u8>(), 0..60)) {
        for (name, said) in [("sip", REGISTER), ("stun", BINDING)] {
            let mut said = said.to_vec();
            for (at, byte) in &changes {
                let at = at % said.len();
                said[at] = *byte;
            }
            said.truncate(cut);
            let talk = if udp { Talk::udp() } else { Talk::tcp() };
            let talk = talk.forward(&said).backward(&more);
            prop_assert_eq!(template(name, "").read(&talk).errors, 0);
            let tree = template(name, "").tree(&talk);
            prop_assert!(!tree.nodes.is_empty() && !tree.outside && !tree.unbalanced);
        }
    }
}

/// Knows DTLS by its first bytes.
struct Dtls;

impl ProtocolTemplate for Dtls {
    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        let begins = [stream.forward, stream.backward].iter().any(|side| side.starts_with(&[22, 0xfe]));
        if begins { Probe::Certain } else { Probe::No }
    }
    fn parse(&self, _: &StreamView<'_>, _: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        Ok(Progress::Done)
    }
}

#[test]
fn dtls_behind_the_search_for_a_way_is_handed_over() {
    let dtls = b"\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x04\x01\0\0\0";
    let read = |talk: Talk| {
        let Ok(Instance::Protocol(stun)) = (declarations()[1].create)(Settings::new("")) else { panic!("no template") };
        let mut stun = stun;
        stun.wire(&[100, 101, 102, 103].map(FieldId)).unwrap();
        talk.flow(&Templates::new(vec![stun, Box::new(Dtls)])).template
    };
    let found = || Talk::udp().forward(BINDING).backward(BOUND);
    assert_eq!(read(found().forward(dtls)), Some(1));
    assert_eq!(read(found().backward(BINDING).forward(BOUND).backward(dtls).forward(BINDING)), Some(1));
    assert_eq!(read(found()), Some(0));
    assert_eq!(read(found().forward(b"\x80\x60 a packet of sound").forward(dtls)), Some(0), "too late");
    assert_eq!(read((0..20).fold(found(), |talk, _| talk.forward(BINDING)).forward(dtls)), Some(0), "never ends");
}
