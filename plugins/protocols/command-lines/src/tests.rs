use crate::declarations;
use crate::template::Limits;
use proptest::prelude::*;
use veilwatch_testkit::conformance::{Options, assert_conforms, check};
use veilwatch_testkit::golden;
use veilwatch_testkit::talk::{Talk, Wired, tree_lines};

const HELLO: &[u8] = b"\x16\x03\x01\0\x05\x01\0\0\x01\x03";
const ANSWER: &[u8] = b"\x16\x03\x03\0\x04\x02\0\0\0";

/// Who says it: the client, or the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    C,
    S,
}
use By::{C, S};

type Said = &'static [(By, &'static [u8])];

const SMTP: Said = &[
    (S, b"220 mx.example ESMTP ready\r\n"),
    (C, b"EHLO client.example\r\n"),
    (S, b"250-mx.example\r\n250-SIZE 1000\r\n250 STARTTLS\r\n"),
    (C, b"STARTTLS\r\n"),
    (S, b"220 go ahead\r\n"),
    (C, HELLO),
    (S, ANSWER),
];
const IMAP: Said = &[
    (S, b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n"),
    (C, b"a1 CAPABILITY\r\n"),
    (S, b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\na1 OK done\r\n"),
    (C, b"a2 starttls\r\n"),
    (S, b"a2 OK begin\r\n"),
    (C, HELLO),
    (S, ANSWER),
];
const POP3: Said = &[
    (S, b"+OK POP3 ready <1.2@pop.example>\r\n"),
    (C, b"CAPA\r\n"),
    (S, b"+OK\r\nSTLS\r\nUSER\r\n.\r\n"),
    (C, b"STLS\r\n"),
    (S, b"+OK begin\r\n"),
    (C, HELLO),
    (S, ANSWER),
];
const FTP: Said = &[
    (S, b"220-FTP server\r\n of an example\r\n220 ready\r\n"),
    (C, b"AUTH SSL\r\n"),
    (S, b"504 no\r\n"),
    (C, b"AUTH TLS\r\n"),
    (S, b"234 yes\r\n"),
    (C, HELLO),
    (S, ANSWER),
];
const NNTP: Said = &[
    (S, b"200 news.example InterNetNews NNRP ready\r\n"),
    (C, b"CAPABILITIES\r\n"),
    (S, b"101 list:\r\nVERSION 2\r\nSTARTTLS\r\n.\r\n"),
    (C, b"STARTTLS\r\n"),
    (S, b"382 begin\r\n"),
    (C, HELLO),
    (S, ANSWER),
];
const TLS: [Said; 5] = [SMTP, IMAP, POP3, FTP, NNTP];

/// The template at this place of the declarations.
fn template(at: usize) -> Wired {
    Wired::new(&declarations()[at], "").unwrap().with_rest()
}

fn talk(said: &[(By, &[u8])], segment: usize) -> Talk {
    let talk = Talk::tcp().between("10.0.0.1:50000", "192.0.2.1:999").open().segments(segment);
    said.iter().fold(talk, |talk, (by, bytes)| if *by == C { talk.forward(bytes) } else { talk.backward(bytes) })
}

/// What each side says in all, the client first.
fn streams(said: &[(By, &[u8])]) -> [Vec<u8>; 2] {
    [C, S].map(|side| said.iter().filter(|(by, _)| *by == side).flat_map(|(_, bytes)| bytes.iter().copied()).collect())
}

#[test]
fn they_conform() {
    assert_conforms(declarations());
    for (declaration, said) in declarations().iter().zip(TLS) {
        let (head, tail) = said.split_at(said.len() - 2);
        let hasty = [head, &[(C, &b"NOOP\r\n"[..])], tail].concat();
        let samples = vec![streams(said), streams(&hasty)];
        let report = check(declaration, &Options { samples, draws: true, ..Options::default() });
        assert!(report.passed(), "{report}");
    }
}

#[test]
fn what_is_read_of_conversations() {
    let more: [(usize, &str, Said); 18] = [
        (
            0,
            "a mail in clear, with a password",
            &[
                (S, b"220 mx.example ESMTP\r\n"),
                (C, b"EHLO a\r\n"),
                (S, b"250 mx.example\r\n"),
                (C, b"AUTH LOGIN\r\n"),
                (S, b"334 VXNlcm5hbWU6\r\n"),
                (C, b"bWU=\r\n"),
                (S, b"334 UGFzc3dvcmQ6\r\n"),
                (C, b"c2VjcmV0\r\n"),
                (S, b"235 welcome\r\n"),
                (C, b"MAIL FROM:<me@a.example> SIZE=5\r\n"),
                (S, b"250 ok\r\n"),
            ],
        ),
        (
            0,
            "PLAIN in one line, refused",
            &[
                (S, b"220 mx.example ESMTP\r\n"),
                (C, b"EHLO a\r\n"),
                (S, b"250 mx.example\r\n"),
                (C, b"auth plain AG1lAHNlY3JldA==\r\n"),
                (S, b"535 no\r\n"),
                (C, b"QUIT\r\n"),
            ],
        ),
        (
            0,
            "a password that is not in clear",
            &[
                (S, b"220 mx.example ESMTP\r\n"),
                (C, b"EHLO a\r\n"),
                (S, b"250 mx.example\r\n"),
                (C, b"AUTH CRAM-MD5\r\n"),
                (S, b"334 PDEyMz4=\r\n"),
                (C, b"bWUgMTIz\r\n"),
                (S, b"235 welcome\r\n"),
            ],
        ),
        (
            0,
            "no TLS to be had",
            &[(S, b"220 mx.example ESMTP\r\n"), (C, b"STARTTLS\r\n"), (S, b"454 not now\r\n"), (C, b"QUIT\r\n")],
        ),
        (
            0,
            "a client that does not wait",
            &[
                (S, b"220 mx.example ESMTP\r\n"),
                (C, b"EHLO a\r\nSTARTTLS\r\nEHLO b\r\nRSET\r\n"),
                (S, b"250 mx.example\r\n220 go\r\n250 b\r\n250 reset\r\n"),
                (C, HELLO),
                (S, ANSWER),
            ],
        ),
        (
            0,
            "a capture that begins later",
            &[
                (C, b"EHLO a\r\n"),
                (S, b"250-mx.example\r\n250 STARTTLS\r\n"),
                (C, b"STARTTLS\r\n"),
                (S, b"220 go\r\n"),
                (C, HELLO),
                (S, ANSWER),
            ],
        ),
        (0, "the client alone", &[(C, b"EHLO a\r\n"), (C, b"STARTTLS\r\n"), (C, HELLO)]),
        (0, "a server that is not there for you", &[(S, b"554 no SMTP service here\r\n")]),
        (1, "a login in clear", &[(S, b"* OK ready\r\n"), (C, b"1 LOGIN \"me\" secret\r\n"), (S, b"1 OK welcome\r\n")]),
        (
            1,
            "a login in literals",
            &[
                (S, b"* OK ready\r\n"),
                (C, b"1 LOGIN {2}\r\n"),
                (S, b"+ go\r\n"),
                (C, b"me {6}\r\n"),
                (S, b"+ go\r\n"),
                (C, b"1 x\r\ny\r\n"),
                (S, b"1 NO sorry\r\n"),
                (C, b"2 STARTTLS\r\n"),
                (S, b"2 BAD not now\r\n"),
            ],
        ),
        (
            1,
            "PLAIN",
            &[
                (S, b"* OK ready\r\n"),
                (C, b"1 AUTHENTICATE PLAIN\r\n"),
                (S, b"+ \r\n"),
                (C, b"AG1lAHNlY3JldA==\r\n"),
                (S, b"1 OK in\r\n"),
            ],
        ),
        (
            2,
            "a login in clear",
            &[
                (S, b"+OK POP3\r\n"),
                (C, b"USER me\r\n"),
                (S, b"+OK\r\n"),
                (C, b"PASS secret\r\n"),
                (S, b"+OK 2 messages\r\n"),
                (C, b"STAT\r\n"),
            ],
        ),
        (
            2,
            "a login that hides the password",
            &[(S, b"+OK POP3 <1@a>\r\n"), (C, b"APOP me 0123456789abcdef0123456789abcdef\r\n"), (S, b"+OK\r\n")],
        ),
        (
            2,
            "a server of which the greeting says little",
            &[(S, b"+OK hello\r\n"), (C, b"USER me\r\n"), (S, b"-ERR who\r\n")],
        ),
        (
            3,
            "a login in clear",
            &[
                (S, b"220 hello\r\n"),
                (C, b"USER anonymous\r\n"),
                (S, b"331 password?\r\n"),
                (C, b"PASS me@a.example\r\n"),
                (S, b"230 welcome\r\n"),
            ],
        ),
        (
            3,
            "TLS that is not to be had",
            &[(S, b"220 FTP\r\n"), (C, b"AUTH TLS\r\n"), (S, b"530 no\r\n"), (C, b"QUIT\r\n")],
        ),
        (
            4,
            "a login in clear",
            &[
                (S, b"201 news\r\n"),
                (C, b"AUTHINFO USER me\r\n"),
                (S, b"381 password?\r\n"),
                (C, b"AUTHINFO PASS secret\r\n"),
                (S, b"281 welcome\r\n"),
            ],
        ),
        (
            4,
            "reading",
            &[
                (S, b"200 news\r\n"),
                (C, b"MODE READER\r\n"),
                (S, b"200 hello\r\n"),
                (C, b"GROUP a.b\r\n"),
                (S, b"211 1 1 1 a.b\r\n"),
            ],
        ),
    ];
    let tls = TLS.into_iter().enumerate().map(|(at, said)| (at, "TLS", said));
    let (mut text, mut trees) = (String::new(), String::new());
    for (at, name, said) in tls.chain(more) {
        let protocol = &declarations()[at].manifest.name;
        let talk = talk(said, 0);
        let template = template(at);
        let told = template.read(&talk);
        assert!(told.recognised(), "{protocol}, {name}");
        text.push_str(&format!("## {protocol}: {name}\n{}{}\n", talk.lines(), told.lines()));
        let tree = template.tree(&talk);
        assert!(tree.is_whole(), "{protocol}, {name}");
        trees.push_str(&format!("## {protocol}: {name}\n{}\n", tree_lines(&tree)));
    }
    golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/read.txt"), &text);
    golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tree.txt"), &trees);
    let secrets = ["secret", "c2VjcmV0", "AG1l", "bWUg", "me@a.example\r", "0123456789abcdef", "x\r"];
    assert!(!secrets.iter().any(|secret| trees.contains(secret)));
    assert!(!text.lines().any(|line| line.contains(" = ") && (line.contains("secret") || line.contains("c2VjcmV0"))));
}

/// Whatever the server says to it, and in whatever form it comes: no password is drawn.
#[test]
fn no_password_is_drawn() {
    let mail = b"EHLO a\r\nDATA\r\nSubject: b\r\n\r\nc\r\n.\r\nBDAT 6\r\nmore\r\nQUIT\r\n";
    for (at, client, wanted) in [
        (0, &mail[..], "EHLO a|DATA|3 lines|BDAT 6|6 bytes of it|QUIT"),
        (
            0,
            b"EHLO a\r\nAuTh LOGIN\r\nc2VjcmV0\r\nc2VjcmV0\r\nMAIL FROM:<a>\r\n",
            "EHLO a|AuTh LOGIN|****|****|MAIL FROM:<a>",
        ),
        (0, b"EHLO a\r\n AUTH\tPLAIN\tc2VjcmV0\r\nc2VjcmV0", "EHLO a|AUTH PLAIN ****|****"),
        (0, b"EHLO a\r\nAUTH XOAUTH2 =\r\n*\r\nNOOP secret\r\n", "EHLO a|AUTH XOAUTH2 ****|*|NOOP secret"),
        (1, b"a LOGIN {2}\r\nme {6}\r\nsecret\r\nb NOOP\r\n", "a LOGIN {2}|****|****|****|b NOOP"),
        (1, b"a LOGIN me \"my secret\"\r\nLOGIN me secret\r\n", "a LOGIN me ****|LOGIN me ****"),
        (1, b"a AUTHENTICATE PLAIN\r\nc2VjcmV0\r\nb noop\r\n", "a AUTHENTICATE PLAIN|****|b noop"),
        (1, b"a LOGIN {9}\r\nsec", "a LOGIN {9}|****"),
        (1, b"a APPEND x {5}\r\nhello\r\n", "a APPEND x {5}|5 bytes"),
        (2, b"CAPA\r\npass my secret\r\nAUTH PLAIN\r\nc2VjcmV0\r\nstat\r\n", "CAPA|pass ****|AUTH PLAIN|****|stat"),
        (
            3,
            b"FEAT\r\nUSER me\r\nPASS secret\r\n\xff\xf4PASS secret\r\nACCT secret\r\nADAT c2VjcmV0\r\n",
            "FEAT|USER me|PASS ****|\u{fffd}\u{fffd}PASS ****|ACCT ****|ADAT ****",
        ),
        (
            4,
            b"MODE READER\r\nAUTHINFO USER me\r\nAUTHINFO PASS my secret\r\nAUTHINFO SASL PLAIN c2VjcmV0\r\nQUIT\r\n",
            "MODE READER|AUTHINFO USER me|AUTHINFO PASS ****|AUTHINFO SASL PLAIN ****|QUIT",
        ),
        (4, b"MODE READER\r\nAUTHINFO SIMPLE\r\nme secret\r\n", "MODE READER|AUTHINFO SIMPLE|****"),
    ] {
        let tree = template(at).tree(&Talk::tcp().open().forward(client));
        let values: Vec<&str> = tree.nodes.iter().skip(1).map(|node| node.value.as_str()).collect();
        assert_eq!(values.join("|"), wanted);
    }
}

#[test]
fn tls_is_handed_over_as_it_came() {
    for (at, said) in TLS.into_iter().enumerate() {
        for segment in [0, 1, 7] {
            assert_eq!(template(at).read(&talk(said, segment)).rest(), Some([HELLO, ANSWER]), "{at} {segment}");
        }
        // A server that says no, with the same first letter or digit where there is one.
        let no = |bytes: &'static [u8]| -> &'static [u8] {
            match bytes {
                b"220 go ahead\r\n" => b"454 no\r\n",
                b"a2 OK begin\r\n" => b"a2 NO\r\n",
                b"+OK begin\r\n" => b"-ERR\r\n",
                b"234 yes\r\n" => b"431 no\r\n",
                b"382 begin\r\n" => b"580 no\r\n",
                other => other,
            }
        };
        let refused: Vec<(By, &[u8])> = said
            .iter()
            .map(|(by, bytes)| (*by, no(bytes)))
            .filter(|(_, bytes)| *bytes != HELLO && *bytes != ANSWER)
            .collect();
        let template = template(at);
        let told = template.read(&talk(&refused, 0));
        let field = format!("{}.starttls", declarations()[at].manifest.name);
        assert_eq!((told.rest(), told.number(&field)), (None, Some(0)), "{at}");
    }
}

#[test]
fn commands_that_were_sent_too_early_are_passed_over() {
    for (at, said) in TLS.into_iter().enumerate() {
        let (head, tail) = said.split_at(said.len() - 2);
        let early =
            [head, &[(C, &b"NOOP one\r\nNOOP two\r\n"[..]), (S, b"250 one\r\n+OK\r\n* two\r\n")], tail].concat();
        for segment in [0, 1, 7] {
            assert_eq!(template(at).read(&talk(&early, segment)).rest(), Some([HELLO, ANSWER]), "{at} {segment}");
        }
    }
}

#[test]
fn without_a_syn_the_greeting_tells_who_the_server_is() {
    for (at, said) in TLS.into_iter().enumerate() {
        let start = Talk::tcp().between("10.0.0.1:50000", "192.0.2.1:999");
        let talk = said.iter().fold(start, |talk, (by, bytes)| match by {
            C => talk.forward(bytes),
            S => talk.backward(bytes),
        });
        let template = template(at);
        let told = template.read(&talk);
        assert_eq!((told.flow.originator.port, told.rest()), (50_000, Some([HELLO, ANSWER])), "{at}");
    }
}

#[test]
fn each_knows_its_own_and_leaves_the_others() {
    for (at, said) in TLS.into_iter().enumerate() {
        for other in 0..TLS.len() {
            assert_eq!(template(other).read(&talk(said, 0)).recognised(), other == at, "{other} of {at}");
        }
    }
    for (forward, backward) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], &b"HTTP/1.1 200 OK\r\n\r\n"[..]),
        (HELLO, ANSWER),
        (HELLO, b""),
        (b"*1\r\n$4\r\nPING\r\n", b"+OK\r\n"),
        (b"USER me\r\n", b"001 irc\r\n"),
        (b"SSH-2.0-a\r\n", b"SSH-2.0-b\r\n"),
        (b"200 ok\r\n", b"what\r\n"),
    ] {
        for at in 0..TLS.len() {
            let said = Talk::tcp().open().forward(forward).backward(backward);
            assert!(!template(at).read(&said).recognised(), "{at}: {forward:?}");
        }
    }
}

#[test]
fn settings_bound_what_is_read() {
    let small = Wired::new(&declarations()[0], "text_bytes = 16\ncommands = 2").unwrap().with_rest();
    let noisy = [&SMTP[..3], &[(C, b"NOOP\r\n"), (S, b"250 ok\r\n")], &SMTP[3..]].concat();
    let told = small.read(&talk(&noisy, 0));
    assert_eq!(told.text("smtp.banner"), Some("mx.example ESMTP"));
    assert_eq!((told.number("smtp.limit.text_bytes"), told.number("smtp.limit.commands")), (Some(1), Some(1)));
    assert_eq!(told.rest(), None);
    for declaration in declarations() {
        for bad in ["text_bytes = 1", "commands = 0", "command = 1"] {
            assert!(Wired::new(&declaration, bad).is_err(), "{bad}");
        }
    }
}

/// What stands in the pipeline in the box are the defaults.
#[test]
fn the_pipeline_has_the_defaults() {
    let pipeline: toml::Table = toml::from_str(include_str!("../../../../config/protocols.toml")).unwrap();
    for declaration in declarations() {
        let path = declaration.manifest.path();
        let entry = pipeline["plugin"].as_array().unwrap().iter().find(|entry| entry["use"].as_str() == Some(&path));
        let settings = entry.unwrap()["settings"].clone();
        assert_eq!(settings.as_table().unwrap().len(), 2);
        assert_eq!(settings.try_into::<Limits>().unwrap(), Limits::default());
    }
}

/// A word where a mechanism should be may be a password.
#[test]
fn what_is_no_mechanism_is_hidden() {
    let cases: [(usize, &str, &[u8], &[u8]); 3] = [
        (0, "smtp", b"220 mail ESMTP\r\n", b"AUTH hunter2\r\n"),
        (1, "imap", b"* OK IMAP4 ready\r\n", b"a1 AUTHENTICATE hunter2\r\n"),
        (2, "pop3", b"+OK POP3 ready\r\n", b"AUTH hunter2 again\r\n"),
    ];
    for (at, name, greeting, command) in cases {
        let template = template(at);
        let talk = Talk::tcp().open().backward(greeting).forward(command).backward(b"501 no\r\n");
        let told = template.read(&talk);
        assert_eq!(told.text(&format!("{name}.auth")), None, "{name}");
        assert_eq!(told.number(&format!("{name}.clear_credentials")), Some(1), "{name}");
        assert!(!tree_lines(&template.tree(&talk)).contains("hunter2"), "{name}");
    }
    // Redis, which has a log-in of the same name.
    let redis = Talk::tcp().open().forward(b"AUTH hunter2\r\n").backward(b"+OK\r\n");
    assert!(!template(2).read(&redis).recognised());
    let pop3 = Talk::tcp().open().forward(b"auth plain\r\n").backward(b"+OK\r\n");
    assert!(template(2).read(&pop3).recognised());
}

proptest! {
    /// A conversation in which somebody changed a byte is read without failure, in any pieces the same.
    #[test]
    fn changed_conversations(
        which in 0usize..5, at in any::<prop::sample::Index>(), to in any::<u8>(), segment in 1usize..60,
    ) {
        let mut streams = streams(TLS[which]);
        let side = at.index(2);
        let place = at.index(streams[side].len());
        streams[side][place] = to;
        let [client, server] = &streams;
        for at in 0..TLS.len() {
            let template = template(at);
            let whole = template.read(&Talk::tcp().open().forward(client).backward(server));
            let pieces = template.read(&Talk::tcp().open().segments(segment).forward(client).backward(server));
            prop_assert_eq!(whole.errors, 0);
            prop_assert_eq!(whole.lines(), pieces.lines());
            let tree = template.tree(&Talk::tcp().open().forward(client).backward(server));
            prop_assert!(!tree.nodes.is_empty() && !tree.outside && !tree.unbalanced);
        }
    }

    #[test]
    fn whatever_follows_a_greeting(
        which in 0usize..5,
        client in prop::collection::vec(any::<u8>(), 0..200),
        server in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let greeting = TLS[which][0].1;
        let template = template(which);
        let told = template.read(&Talk::tcp().open().backward(greeting).forward(&client).backward(&server));
        prop_assert!(told.recognised() && told.errors == 0);
    }
}
