use crate::declarations;
use proptest::prelude::*;
use veilwatch_testkit::conformance::{Options, check};
use veilwatch_testkit::golden;
use veilwatch_testkit::talk::{Talk, Wired, tree_lines};

fn template(name: &str) -> Wired {
    let declarations = declarations();
    Wired::new(declarations.iter().find(|one| one.manifest.name == name).unwrap(), "").unwrap()
}

fn session(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes()[..], message].concat()
}

/// A negotiation of version 1, as Windows begins with it.
fn negotiate_1() -> Vec<u8> {
    let list = b"\x02NT LM 0.12\0\x02SMB 2.002\0";
    let header = [&b"\xffSMB\x72"[..], &[0; 27]].concat();
    session(&[&header[..], &[0, list.len() as u8, 0], list].concat())
}

/// The answer: the dialect at this place.
fn answer_1(place: u8) -> Vec<u8> {
    let header = [&b"\xffSMB\x72\0\0\0\0\x88"[..], &[0; 22]].concat();
    session(&[&header[..], &[17, place, 0], &[0; 34]].concat())
}

/// A negotiation of version 2: 2.02, 3.11.
fn negotiate_2() -> Vec<u8> {
    let header = [&b"\xfeSMB\x40"[..], &[0; 59]].concat();
    session(&[&header[..], &[36, 0, 2, 0], &[0; 32], &[0x02, 0x02, 0x11, 0x03]].concat())
}

/// The answer, with a dialect and what the server calls itself.
fn answer_2(dialect: u16) -> Vec<u8> {
    let mut header = [&b"\xfeSMB\x40"[..], &[0; 59]].concat();
    header[16] = 1;
    session(&[&header[..], &[65, 0, 1, 0], &dialect.to_le_bytes(), &[0; 2], &[0xab; 16], &[0; 40]].concat())
}

/// A request for a connection by `eve`, who can do TLS and CredSSP.
fn request() -> Vec<u8> {
    let rest = b"Cookie: mstshash=eve\r\n\x01\0\x08\0\x03\0\0\0";
    [&[3, 0, 0, rest.len() as u8 + 11, rest.len() as u8 + 6, 0xe0, 0, 0, 0, 0, 0][..], rest].concat()
}

/// The confirmation: a choice (2) or a refusal (3).
fn confirm(kind: u8, number: u8) -> Vec<u8> {
    [3, 0, 0, 19, 14, 0xd0, 0, 0, 0x12, 0x34, 0, kind, 0, 8, 0, number, 0, 0, 0].to_vec()
}

#[test]
fn they_conform() {
    let smb = vec![
        [negotiate_1(), answer_1(0)],
        [[negotiate_1(), negotiate_2()].concat(), [answer_2(0x2ff), answer_2(0x311)].concat()],
    ];
    let rdp =
        vec![[request(), confirm(2, 0)], [[request(), vec![22; 90]].concat(), [confirm(2, 1), vec![22; 90]].concat()]];
    for (at, samples) in [smb, rdp].into_iter().enumerate() {
        let report = check(&declarations()[at], &Options { samples, draws: true, ..Options::default() });
        assert!(report.passed(), "{report}");
    }
}

#[test]
fn dialects_of_both_versions() {
    let template = template("smb");
    let read = |forward: &[u8], backward: &[u8]| {
        let talk = Talk::tcp().open().segments(50).forward(forward).backward(backward);
        let told = template.read(&talk);
        let text = |name: &str| told.text(name).map(str::to_owned);
        (told.number("smb.version"), text("smb.client_dialects"), text("smb.dialect"), text("smb.server_guid"))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(read(&negotiate_1(), &answer_1(0)), (Some(1), some("NT LM 0.12,SMB 2.002"), some("NT LM 0.12"), None));
    assert_eq!(read(&negotiate_1(), &answer_1(9)).2, None, "none of those offered");
    assert_eq!(
        read(&negotiate_2(), &answer_2(0x311)),
        (Some(2), some("2.02,3.11"), some("3.11"), Some("ab".repeat(16)))
    );
    let both = read(&[negotiate_1(), negotiate_2()].concat(), &[answer_2(0x2ff), answer_2(0x202)].concat());
    assert_eq!((both.1, both.2), (some("NT LM 0.12,SMB 2.002,2.02,3.11"), some("2.02")));
    // Behind NetBIOS's names.
    let names = [&[0x81, 0, 0, 68][..], &[b'C'; 68]].concat();
    let netbios = read(&[names, negotiate_1()].concat(), &[vec![0x82, 0, 0, 0], answer_1(1)].concat());
    assert_eq!((netbios.0, netbios.2), (Some(1), some("SMB 2.002")));
    for other in [&b"\0\0\0\x10\xffSMX"[..], b"\0\x02\0\x10\xffSMB", b"\x81\0\0\x44", b"GET / HTTP/1.1"] {
        assert!(!template.read(&Talk::tcp().open().forward(other)).recognised(), "{other:?}");
    }
}

#[test]
fn rdp_hands_over_to_tls() {
    let template = template("rdp");
    let told = template.read(&Talk::tcp().open().forward(&request()).backward(&confirm(2, 2)).forward(b"\x16\x03\x01"));
    assert_eq!((told.text("rdp.cookie"), told.number("rdp.requested_protocols")), (Some("eve"), Some(3)));
    assert_eq!((told.number("rdp.selected_protocol"), told.flow.handed.len()), (Some(2), 1));
    let told = template.read(&Talk::tcp().open().forward(&request()).backward(&confirm(3, 5)));
    assert_eq!((told.number("rdp.failure_code"), told.number("rdp.selected_protocol")), (Some(5), None));
    assert!(told.flow.handed.is_empty());
    // Without a choice it is RDP's own protection.
    let old = [3, 0, 0, 11, 6, 0xe0, 0, 0, 0, 0, 0];
    let answer = [3, 0, 0, 11, 6, 0xd0, 0, 0, 0x12, 0x34, 0];
    let talk =
        |port: u16| Talk::tcp().between("10.0.0.1:50000", &format!("192.0.2.1:{port}")).forward(&old).backward(&answer);
    assert_eq!(template.read(&talk(3389)).number("rdp.selected_protocol"), Some(0));
    // The same request begins other protocols.
    assert!(!template.read(&talk(102)).recognised());
    for other in [
        &b"\x03\0\0\x16\x11\xe0\0\0\0\x01\0\xc0\x01\x0a\xc1\x02\x01\0\xc2\x02\x01\x02"[..],
        b"\x03\x01",
        b"\x03\0\0\x0b\x06\xf0\0\0\0\0\0",
    ] {
        assert!(!template.read(&Talk::tcp().open().forward(other)).recognised(), "{other:?}");
    }
}

#[test]
fn what_is_drawn_of_conversations() {
    let tcp = || Talk::tcp().open();
    // A login that goes on and a tree, one behind the other.
    let header = |command: u8, next: u8| {
        let mut header = [&b"\xfeSMB\x40"[..], &[0; 59]].concat();
        (header[8], header[10], header[11], header[12], header[16], header[20]) = (0x16, 0, 0xc0, command, 1, next);
        header
    };
    let both = session(&[header(1, 64), header(3, 0)].concat());
    let names = [&[0x81, 0, 0, 68][..], &[b'C'; 68]].concat();
    let old = [3, 0, 0, 11, 6, 0xd0, 0, 0, 0x12, 0x34, 0];
    let mut text = String::new();
    for (name, what, talk) in [
        (
            "smb",
            "version 1",
            tcp().forward(&[names, negotiate_1()].concat()).backward(&[vec![0x82, 0, 0, 0], answer_1(1)].concat()),
        ),
        ("smb", "version 2", tcp().forward(&negotiate_2()).backward(&[answer_2(0x311), both].concat())),
        ("smb", "cut off, encrypted, and none", {
            let odd = [session(b"\xfdSMBxxxx"), session(b"what"), b"GET /".to_vec()].concat();
            tcp().forward(&negotiate_2()[..100]).backward(&odd)
        }),
        ("rdp", "TLS", tcp().forward(&[&request()[..], b"\x16\x03\x01"].concat()).backward(&confirm(2, 2))),
        ("rdp", "refused", tcp().forward(&request()[..36]).backward(&confirm(3, 5))),
        ("rdp", "before there was a choice", tcp().forward(&request()).backward(&[&old[..], b"more"].concat())),
    ] {
        let tree = template(name).tree(&talk);
        assert!(tree.is_whole(), "{name}, {what}");
        text.push_str(&format!("## {name}: {what}\n{}\n", tree_lines(&tree)));
    }
    golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tree.txt"), &text);
}

proptest! {
    #[test]
    fn whatever_comes(changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6), cut in 1usize..200, more in prop::collection::vec(any::<u8>(), 0..60)) {
        let pairs = [
            ("smb", negotiate_1(), answer_1(0)), ("smb", negotiate_2(), answer_2(0x311)), ("rdp", request(), confirm(2, 1)),
        ];
        for (name, mut said, mut answer) in pairs {
            for (at, byte) in &changes {
                let (one, other) = (at % said.len(), at % answer.len());
                (said[one], answer[other]) = (*byte, *byte);
            }
            said.truncate(cut);
            let template = template(name);
            let talk = Talk::tcp().open().forward(&said).backward(&answer).forward(&more);
            prop_assert_eq!(template.read(&talk).errors, 0);
            let tree = template.tree(&talk);
            prop_assert!(!tree.nodes.is_empty() && !tree.outside && !tree.unbalanced);
            prop_assert_eq!(template.read(&Talk::tcp().forward(&more).backward(&said)).errors, 0);
        }
    }
}
