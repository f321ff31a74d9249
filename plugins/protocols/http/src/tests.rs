use crate::declarations;
use proptest::prelude::*;
use veilwatch_core::plugin::Settings;
use veilwatch_testkit::conformance::{Options, check};
use veilwatch_testkit::golden;
use veilwatch_testkit::talk::{Talk, Wired, tree_lines};

const GET: &[u8] = b"GET /a?b=c HTTP/1.1\r\nHost: www.example\r\nUser-Agent: curl/8.0\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello";
const CONNECT: &[u8] = b"CONNECT mail.example:443 HTTP/1.1\r\nHost: mail.example:443\r\n\r\n";
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
const REFUSED: &[u8] = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 3\r\n\r\nno!";
const BAD: &[u8] = b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n";
const HELLO: &[u8] = b"\x16\x03\x01\0\x05\x01\0\0\x01\x03";
const ANSWER: &[u8] = b"\x16\x03\x03\0\x04\x02\0\0\0";

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// As a browser sends them: 65,536 bytes of table, no push, 6 MiB of window.
const SETTINGS: &[u8] = b"\0\0\x12\x04\0\0\0\0\0\0\x01\0\x01\0\0\0\x02\0\0\0\0\0\x04\0\x60\0\0";
const WINDOW: &[u8] = b"\0\0\x04\x08\0\0\0\0\0\0\xef\0\x01";
const HEADERS: &[u8] = b"\0\0\x01\x01\x05\0\0\0\x01\x82";

fn template() -> Wired {
    Wired::new(&declarations()[0], "").unwrap().with_rest()
}

fn said(parts: &[(bool, &[u8])]) -> Talk {
    let talk = Talk::tcp().between("10.0.0.1:50000", "192.0.2.1:8080").open();
    parts.iter().fold(talk, |talk, (forth, bytes)| if *forth { talk.forward(bytes) } else { talk.backward(bytes) })
}

#[test]
fn it_conforms() {
    let join = |parts: &[&[u8]]| parts.concat();
    let samples = vec![
        [join(&[GET, GET]), join(&[OK, OK])],
        [join(&[CONNECT, HELLO]), join(&[ESTABLISHED, ANSWER])],
        [join(&[CONNECT, CONNECT, HELLO]), join(&[REFUSED, ESTABLISHED, ANSWER])],
        [
            b"POST /up HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"
                .to_vec(),
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nHTTP/1.0 302 Found\r\nLocation: /b\r\n\r\n"
                .to_vec(),
        ],
        [[PREFACE, SETTINGS, WINDOW, HEADERS].concat(), [SETTINGS, HEADERS].concat()],
    ];
    let report = check(&declarations()[0], &Options { samples, draws: true, ..Options::default() });
    assert!(report.passed(), "{report}");
}

/// Conversations, and what is read of them.
#[test]
fn what_is_read_of_conversations() {
    let mut text = String::new();
    for (name, parts) in [
        ("two exchanges", &[(true, GET), (false, OK), (true, b"GET /2 HTTP/1.1\r\n\r\n"), (false, OK)][..]),
        ("an answer that ends with the connection", &[(true, GET), (false, b"HTTP/1.0 200 OK\r\n\r\nhello")]),
        ("a proxy", &[(true, CONNECT), (false, ESTABLISHED), (true, HELLO), (false, ANSWER)]),
        (
            "a proxy that wants to know who asks",
            &[
                (true, CONNECT),
                (false, REFUSED),
                (true, b"CONNECT mail.example:443 HTTP/1.1\r\nProxy-Authorization: Basic eA==\r\n\r\n"),
                (false, ESTABLISHED),
                (true, HELLO),
                (false, ANSWER),
            ],
        ),
        ("a proxy that refuses", &[(true, CONNECT), (false, REFUSED), (true, HELLO)]),
        (
            "an upgrade to TLS",
            &[
                (true, b"OPTIONS * HTTP/1.1\r\nHost: a\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\n\r\n"),
                (false, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: TLS/1.0, HTTP/1.1\r\n\r\n"),
                (true, HELLO),
            ],
        ),
        (
            "an upgrade to something else",
            &[
                (true, b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"),
                (false, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"),
                (false, b"\x81\x02hi"),
            ],
        ),
        (
            "HTTP/2 with settings",
            &[(true, PREFACE), (true, SETTINGS), (false, SETTINGS), (true, WINDOW), (true, HEADERS), (false, HEADERS)],
        ),
        ("HTTP/2 without asking", &[(true, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")]),
        ("an old request", &[(true, b"GET /old\r\n\r\n"), (false, b"<html>")]),
        ("answers alone", &[(false, OK), (false, OK)]),
        ("an answer to what is no request", &[(true, b"U\0\0\0r=B"), (false, BAD)]),
        ("a client alone, through a proxy", &[(true, CONNECT), (true, HELLO)]),
    ] {
        let talk = said(parts);
        text.push_str(&format!("## {name}\n{}{}\n", talk.lines(), template().read(&talk).lines()));
    }
    golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/read.txt"), &text);
}

/// What is drawn of conversations.
#[test]
fn what_is_drawn_of_conversations() {
    let asked = b"POST /up HTTP/1.1\r\nAuthorization: Basic bWU6c2VjcmV0\r\n bWU6c2VjcmV0\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nabc\r\n0\r\n\r\nHEAD / HTTP/1.1\r\n\r\n";
    let answered =
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    let mut text = String::new();
    for (name, parts) in [
        ("two exchanges", &[(true, GET), (false, OK), (true, b"GET /2 HTTP/1.1\r\n\r\n"), (false, OK)][..]),
        ("a password, chunks, and answers without bodies", &[(true, asked), (false, answered)]),
        ("a proxy", &[(true, CONNECT), (false, ESTABLISHED), (true, HELLO), (false, ANSWER)]),
        ("an upgrade", &[(true, b"GET /chat HTTP/1.1\r\n\r\n"), (false, b"HTTP/1.1 101 Up\r\n\r\n\x81\x02hi")]),
        ("HTTP/2 without asking", &[(true, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"), (false, b"\0\0")]),
        ("cut off", &[(true, &GET[..40]), (false, &OK[..OK.len() - 3])]),
        ("an answer that ends with the connection", &[(true, GET), (false, b"HTTP/1.0 200 OK\r\n\r\nhello")]),
        ("no HTTP behind it", &[(true, b"GET / HTTP/1.1\r\n\r\n\x81\x82what\r\n\r\n")]),
    ] {
        let tree = template().tree(&said(parts));
        assert!(tree.is_whole(), "{name}");
        text.push_str(&format!("## {name}\n{}\n", tree_lines(&tree)));
    }
    golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tree.txt"), &text);
    assert!(!text.contains("bWU6"));
}

/// Fields show no more than the tree does.
#[test]
fn passwords_in_addresses_are_not_read() {
    let read = |asked: &[u8], answered: &[u8]| {
        let template = template();
        let told = template.read(&said(&[(true, asked), (false, answered)]));
        (told.text("http.url").map(str::to_owned), told.text("http.redirect").map(str::to_owned))
    };
    let all: [&[u8]; 2] = [
        b"GET http://me:secret@h/ HTTP/1.1\r\nProxy-Authorization: Basic c2VjcmV0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: ftp://me:se'cret@h:21/a\r\n\r\n",
    ];
    let shown = (Some("http://me:****@h/".into()), Some("ftp://me:****@h:21/a".into()));
    assert_eq!(read(all[0], all[1]), shown);
    // Cut off, it may be a password, or a port.
    assert_eq!(read(&all[0][..16], &all[1][..42]), (Some("http://me:****".into()), Some("ftp://me:****".into())));
    let plain = (Some("http://h:80".into()), Some("http://h:80".into()));
    assert_eq!(read(b"GET http://h:80 HTTP/1.1\r\n\r\n", b"HTTP/1.1 302 F\r\nLocation: http://h:80\r\n\r\n"), plain);
    for len in 0..all[0].len() {
        let tree =
            tree_lines(&template().tree(&said(&[(true, &all[0][..len]), (false, &all[1][..len.min(all[1].len())])])));
        assert!(!tree.contains(":s") && !tree.contains("cret") && !tree.contains("c2V"), "{tree}");
    }
}

#[test]
fn what_is_behind_a_connect_is_handed_over_as_it_came() {
    for segment in [1, 3, 0] {
        let talk = Talk::tcp().open().segments(segment).forward(CONNECT).backward(REFUSED).forward(CONNECT);
        let talk = talk.backward(ESTABLISHED).forward(HELLO).backward(ANSWER);
        assert_eq!(template().read(&talk).rest(), Some([HELLO, ANSWER]), "{segment}");
        // The client does not wait.
        let hasty = [CONNECT, HELLO].concat();
        let talk = Talk::tcp().open().segments(segment).forward(&hasty).backward(ESTABLISHED).backward(ANSWER);
        assert_eq!(template().read(&talk).rest(), Some([HELLO, ANSWER]), "{segment}");
    }
    let refused = said(&[(true, CONNECT), (false, REFUSED), (true, HELLO)]);
    assert_eq!(template().read(&refused).rest(), None);
}

#[test]
fn without_a_syn_the_request_tells_who_the_client_is() {
    let template = template();
    let told = template.read(&Talk::tcp().backward(OK).forward(GET));
    assert_eq!((told.text("http.hostname"), told.number("http.status")), (Some("www.example"), Some(200)));
    assert_eq!(told.flow.originator.port, 50_000);
}

#[test]
fn what_is_no_request_is_http_where_a_server_of_http_says_so() {
    let template = template();
    for (port, answer, recognised) in [
        (80, BAD, true),
        (443, BAD, true),
        (8080, BAD, true),
        (81, BAD, false),
        (80, &BAD[..6], false),
        (80, b"220 a\r\n", false),
        (80, GET, false),
    ] {
        for (segment, opened) in [(0, true), (1, true), (3, false)] {
            let talk = Talk::tcp().between("10.0.0.1:50000", &format!("192.0.2.1:{port}")).segments(segment);
            let talk = if opened { talk.open() } else { talk };
            let told = template.read(&talk.forward(b"U\0\0\0r=B").backward(answer).forward(GET));
            assert_eq!((told.recognised(), told.errors), (recognised, 0), "{port} {} {segment}", answer.escape_ascii());
            assert_eq!(told.number("http.status"), recognised.then_some(400));
            assert_eq!((told.number("http.requests"), told.bytes("http.http_method")), (recognised.then_some(0), None));
        }
    }
}

#[test]
fn settings_bound_what_is_read() {
    let small = Wired::new(&declarations()[0], "text_bytes = 16\nheader_bytes = 64\nexchanges = 2").unwrap();
    let told = small.read(&said(&[(true, b"GET /0123456789abcdefgh HTTP/1.1\r\n\r\n"), (false, OK)]));
    assert_eq!(told.bytes("http.url").map(<[u8]>::len), Some(16));
    assert_eq!((told.number("http.limit.text_bytes"), told.number("http.limit.header_bytes")), (Some(1), Some(1)));
    let talk = said(&[(true, &b"GET / HTTP/1.1\r\n\r\n".repeat(5)), (false, &b"HTTP/1.1 304 N\r\n\r\n".repeat(5))]);
    assert_eq!(small.read(&talk).number("http.requests"), Some(2));
    for bad in ["text_bytes = 1", "header_bytes = 1", "exchanges = 0", "body_bytes = -1", "bodies = 1"] {
        assert!(crate::Http::create(Settings::new(bad)).is_err(), "{bad}");
    }
}

/// What stands in the pipeline in the box are the defaults.
#[test]
fn the_pipeline_has_the_defaults() {
    let text = include_str!("../../../../config/protocols.toml");
    let pipeline: toml::Table = toml::from_str(text).unwrap();
    let entries = pipeline["plugin"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["use"].as_str() == Some("protocol/http")).unwrap();
    let limits: crate::Limits = entry["settings"].clone().try_into().unwrap();
    assert_eq!(limits, crate::Limits::default());
    assert_eq!(entry["settings"].as_table().unwrap().len(), 4);
}

proptest! {
    /// Whatever follows, and however it is cut: no failure, and never more than the bounds.
    #[test]
    fn whatever_follows_a_request(
        rest in prop::collection::vec(any::<u8>(), 0..300),
        answer in prop::collection::vec(any::<u8>(), 0..300),
        segment in 0usize..40,
    ) {
        let template = template();
        let talk = Talk::tcp().segments(segment).forward(b"GET /").forward(&rest).backward(b"HTTP/1.1 ").backward(&answer);
        let told = template.read(&talk);
        prop_assert!(told.recognised() && told.errors == 0);
        let tree = template.tree(&talk);
        prop_assert!(!tree.nodes.is_empty() && !tree.outside && !tree.unbalanced);
        prop_assert!(told.number("http.requests") <= Some(8));
    }

    /// A conversation in which somebody changed a byte is read without failure, in any pieces the same.
    #[test]
    fn changed_conversations(at in any::<prop::sample::Index>(), to in any::<u8>(), segment in 1usize..60) {
        let mut client = [CONNECT, CONNECT, HELLO].concat();
        let mut server = [REFUSED, ESTABLISHED, ANSWER].concat();
        let place = at.index(client.len() + server.len());
        match client.get_mut(place) {
            Some(byte) => *byte = to,
            None => server[place - client.len()] = to,
        }
        let template = template();
        let whole = template.read(&Talk::tcp().open().forward(&client).backward(&server));
        let pieces = template.read(&Talk::tcp().open().segments(segment).forward(&client).backward(&server));
        prop_assert_eq!(whole.errors, 0);
        prop_assert_eq!(whole.lines(), pieces.lines());
    }
}
