use crate::declarations;
use proptest::prelude::*;
use veilwatch_testkit::conformance::{Options, assert_conforms, check};
use veilwatch_testkit::golden;
use veilwatch_testkit::talk::{Talk, Wired, tree_lines};

const HELLO: &[u8] = b"\x16\x03\x01\0\x05\x01\0\0\x01\x03";
const ANSWER: &[u8] = b"\x16\x03\x03\0\x04\x02\0\0\0";

const SSL: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSSENC: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";
const STARTUP: &[u8] = b"\0\0\0\x2d\0\x03\0\0user\0me\0database\0shop\0search_path\0a\0\0";
const CLEAR_PASSWORD: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
const PASSWORD: &[u8] = b"p\0\0\0\x0bsecret\0";
const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0S\0\0\0\x18server_version\x0016.1\0";

/// A greeting with TLS, one of the first kind of SSLRequest, and a login in clear.
const GREETING: &[u8] =
    b"\x30\0\0\0\x0a8.0.36\0\x01\0\0\0saltsalt\0\xff\xff\xff\x02\0\xff\xff\x15\0\0\0\0\0\0\0\0\0\0saltsal\0x";
const SSL_REQUEST: &[u8] = b"\x20\0\0\x01\x05\xae\x0f\0\0\0\0\x01\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
const OLD_SSL_REQUEST: &[u8] = b"\x05\0\0\x01\x05\xac\0\0\0";

fn login() -> Vec<u8> {
    let body = [&b"\x0d\xa6\x0f\0\0\0\0\x01\xff"[..], &[0; 23], b"me\0\x06secretshop\0mysql_clear_password\0"].concat();
    [&[body.len() as u8, 0, 0, 1][..], &body].concat()
}

fn postgresql() -> Wired {
    Wired::new(&declarations()[0], "").unwrap().with_rest()
}

fn mysql() -> Wired {
    Wired::new(&declarations()[1], "").unwrap().with_rest()
}

/// In turns.
fn talk(parts: &[&[u8]], server_first: bool, segment: usize) -> Talk {
    let talk = Talk::tcp().between("10.0.0.1:50000", "192.0.2.1:9999").open().segments(segment);
    parts.iter().enumerate().fold(talk, |talk, (at, part)| match (at % 2 == 0) == server_first {
        false => talk.forward(part),
        true => talk.backward(part),
    })
}

const POSTGRESQL: [&[u8]; 6] = [GSSENC, b"N", SSL, b"S", HELLO, ANSWER];

fn side(parts: &[&[u8]], which: usize) -> Vec<u8> {
    parts.iter().skip(which).step_by(2).copied().collect::<Vec<_>>().concat()
}

#[test]
fn they_conform() {
    assert_conforms(declarations());
    let clear = [STARTUP, CLEAR_PASSWORD, PASSWORD, WELCOME];
    let samples = vec![
        [side(&POSTGRESQL, 0), side(&POSTGRESQL, 1)],
        [side(&clear, 0), side(&clear, 1)],
        [[SSL, STARTUP].concat(), [b"N", WELCOME].concat()],
    ];
    let report = check(&declarations()[0], &Options { samples, draws: true, ..Options::default() });
    assert!(report.passed(), "{report}");
    let samples = vec![
        [[SSL_REQUEST, HELLO].concat(), [GREETING, ANSWER].concat()],
        [[OLD_SSL_REQUEST, HELLO].concat(), [GREETING, ANSWER].concat()],
        [login(), GREETING.to_vec()],
    ];
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
        ("TLS, after GSSAPI was refused", &POSTGRESQL[..]),
        ("no TLS, and a password in clear", &[SSL, b"N", STARTUP, CLEAR_PASSWORD, PASSWORD, WELCOME]),
        ("GSSAPI encryption", &[GSSENC, b"G", b"\0\0\0\x04"]),
        ("a server that is too old", &[SSL, b"E\0\0\0\x05x"]),
        ("a query is to be cancelled", &[b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02"]),
    ] {
        let talk = talk(parts, false, 0);
        text.push_str(&format!("## postgresql: {name}\n{}{}\n", talk.lines(), postgresql().read(&talk).lines()));
        draw(&format!("postgresql: {name}"), &postgresql(), &talk);
    }
    let login = login();
    for (name, parts) in [
        ("TLS", &[GREETING, SSL_REQUEST, ANSWER, HELLO][..]),
        ("a password in clear", &[GREETING, &login]),
        ("a greeting alone", &[GREETING]),
    ] {
        let talk = talk(parts, true, 0);
        text.push_str(&format!("## mysql: {name}\n{}{}\n", talk.lines(), mysql().read(&talk).lines()));
        draw(&format!("mysql: {name}"), &mysql(), &talk);
    }
    let query = [STARTUP, b"Q\0\0\0\x0dselect 1\0X\0\0\0\x04"].concat();
    let answers = b"K\0\0\0\x0c\0\0\0\x09keysZ\0\0\0\x05IE\0\0\0\x12SERROR\0C1234\0\0C\0\0\0\x0bSELE";
    draw("postgresql: a query, and half an answer", &postgresql(), &talk(&[&query, answers], false, 0));
    let commands = [&login[..], b"\x07\0\0\x03secret\0", b"\x09\0\0\0\x03select 1", b"\x01\0\0\0\x01"].concat();
    let answers = [
        GREETING,
        &b"\x0d\0\0\x02\xfeanother\0salt"[..],
        b"\x07\0\0\x04\0\0\0\x02\0\0\0\x0b\0\0\x05\xff\x15\x04#28000No",
    ]
    .concat();
    draw("mysql: commands", &mysql(), &talk(&[&answers, &commands], true, 0));
    draw("mysql: cut off", &mysql(), &talk(&[&GREETING[..30], &login[..45]], true, 0));
    golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/read.txt"), &text);
    golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tree.txt"), &trees);
    assert!(!trees.contains("secret") && !trees.contains("secr") && !trees.contains("keys"));
    assert!(!text.lines().any(|line| line.contains(" = ") && line.contains("secret")));
}

#[test]
fn statements_that_set_a_password_are_drawn_without_it() {
    let drawn = |said: &str| {
        let query = [&[b'Q', 0, 0, 0, said.len() as u8 + 5][..], said.as_bytes(), b"\0"].concat();
        let parse = [&[b'P', 0, 0, 0, said.len() as u8 + 8][..], b"\0", said.as_bytes(), b"\0\0\0"].concat();
        let of_postgresql = postgresql().tree(&talk(&[&[STARTUP, &query, &parse].concat(), WELCOME], false, 0));
        let command = |kind: u8| [&[said.len() as u8 + 1, 0, 0, 0, kind][..], said.as_bytes()].concat();
        let of_mysql = mysql().tree(&talk(&[GREETING, &[login(), command(3), command(22)].concat()], true, 0));
        [of_postgresql, of_mysql].map(|tree| tree_lines(&tree))
    };
    for (said, shown) in [
        ("alter user x password 'hunter2'", "alter user x password '****'"),
        ("CREATE USER 'x' IDENTIFIED BY \"hunt'er2\", y", "CREATE USER '****' IDENTIFIED BY \"****\", y"),
        ("SET PASSWORD = 'hunt''er2'", "SET PASSWORD = '****''****'"),
        // Cut off, or made so that one cannot tell where a text ends.
        ("SET PASSWORD = 'hunter2", "SET PASSWORD = ****"),
        ("ALTER USER it's PASSWORD 'hunter2'", "ALTER USER it****"),
        ("SET PASSWORD = 'a\\' for 'hunter2'", "SET PASSWORD = ****"),
        ("ALTER ROLE x /* it's */ PASSWORD 'hunter2'", "ALTER ROLE x /* it****"),
        ("ALTER ROLE x -- it's\n PASSWORD 'hunter2'", "ALTER ROLE x -- it****"),
        ("ALTER ROLE x # it's\n PASSWORD 'hunter2'", "ALTER ROLE x # it****"),
        ("ALTER USER `it's` IDENTIFIED BY 'hunter2'", "ALTER USER `it****"),
        ("ALTER ROLE x PASSWORD $a$hunter2$a$", "ALTER ROLE x PASSWORD ****"),
        ("ALTER USER x IDENTIFIED WITH p AS 0x68756e74hunter2", "ALTER USER x IDENTIFIED WITH p AS ****"),
        ("SELECT 'a' WHERE password = $1", "SELECT '****' WHERE password = $1"),
        ("SELECT 'a\\', \"b\", $$c$$", "SELECT 'a\\', \"b\", $$c$$"),
    ] {
        for tree in drawn(said) {
            assert_eq!(tree.matches(&format!("Statement: {shown} [")).count(), 2, "{shown}\n{tree}");
            assert!(!tree.contains("er2"), "{tree}");
        }
    }
}

#[test]
fn tls_is_handed_over_as_it_came() {
    for segment in [0, 1, 9] {
        assert_eq!(postgresql().read(&talk(&POSTGRESQL, false, segment)).rest(), Some([HELLO, ANSWER]), "{segment}");
        for request in [SSL_REQUEST, OLD_SSL_REQUEST] {
            let client = [request, HELLO].concat();
            let talk = talk(&[GREETING, &client, ANSWER], true, segment);
            assert_eq!(mysql().read(&talk).rest(), Some([HELLO, ANSWER]), "{segment}");
        }
    }
    // The greeting tells who the server is where no SYN does.
    let told = mysql();
    let told = told.read(&Talk::tcp().backward(GREETING).forward(SSL_REQUEST).forward(HELLO).backward(ANSWER));
    assert_eq!((told.flow.originator.port, told.rest()), (50_000, Some([HELLO, ANSWER])));
}

#[test]
fn leave_other_protocols_alone() {
    for (forward, backward) in [
        (&b"\0\0\0\x08\0\0\0\0"[..], &b""[..]),
        (HELLO, ANSWER),
        (b"GET / HTTP/1.1\r\n", b""),
        (b"\0\0\0\x85\xffSMBr\0\0\0\0", b""),
        (b"", b"\x31\0\0\0\x09old"),
        (b"", b"\x04\0\0\0what"),
    ] {
        let said = Talk::tcp().open().forward(forward).backward(backward);
        assert!(!postgresql().read(&said).recognised(), "{forward:?}");
        assert!(!mysql().read(&said).recognised(), "{forward:?}");
    }
}

#[test]
fn settings_bound_what_is_kept() {
    let long = [&b"\0\0\0\x29\0\x03\0\0user\0"[..], &[b'u'; 26], b"\0\0"].concat();
    let small = Wired::new(&declarations()[0], "text_bytes = 16").unwrap();
    let told = small.read(&talk(&[&long], false, 0));
    assert_eq!(told.bytes("postgresql.user").map(<[u8]>::len), Some(16));
    assert_eq!(told.number("postgresql.limit.text_bytes"), Some(1));
    for declaration in declarations() {
        for bad in ["text_bytes = 1", "texts = 1"] {
            assert!(Wired::new(&declaration, bad).is_err(), "{bad}");
        }
    }
}

proptest! {
    #[test]
    fn no_statement_shows_the_password_that_it_sets(before in "[a$#0x'\"`*/ -]{0,12}") {
        let said = format!("\x03{before} PASSWORD 'hunter2'");
        let command = [&[said.len() as u8, 0, 0, 0][..], said.as_bytes()].concat();
        let tree = tree_lines(&mysql().tree(&talk(&[GREETING, &[login(), command].concat()], true, 0)));
        prop_assert!(tree.contains("Statement: ") && !tree.contains("hunter2"), "{tree}");
    }

    #[test]
    fn changed_conversations(
        which in any::<bool>(), at in any::<prop::sample::Index>(), to in any::<u8>(), segment in 1usize..60,
    ) {
        let (template, mut streams) = if which {
            (postgresql(), [side(&POSTGRESQL, 0), side(&POSTGRESQL, 1)])
        } else {
            (mysql(), [[SSL_REQUEST, HELLO].concat(), [GREETING, ANSWER].concat()])
        };
        let side = at.index(2);
        let place = at.index(streams[side].len());
        streams[side][place] = to;
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
        let begins = [(postgresql(), SSL, &b"N"[..]), (postgresql(), STARTUP, b"R"), (mysql(), b"", GREETING)];
        for (template, client, server) in begins {
            let client = [client, &rest[..]].concat();
            let server = [server, &answer[..]].concat();
            let told = template.read(&Talk::tcp().open().backward(&server).forward(&client));
            prop_assert_eq!(told.errors, 0);
            let tree = template.tree(&Talk::tcp().open().backward(&server).forward(&client));
            prop_assert!(!tree.nodes.is_empty() && !tree.outside && !tree.unbalanced);
        }
        let told = mysql();
        prop_assert!(told.read(&Talk::tcp().open().backward(GREETING).forward(&rest)).recognised());
    }
}
