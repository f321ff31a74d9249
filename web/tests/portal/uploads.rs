//! Captures come in: what is taken, what is refused with which words, and what is left behind by neither.

use std::io::Write;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use rocket::http::Method;
use veilwatch_web::accounts::Role;
use veilwatch_web::accounts::tokens::Scope;

use crate::support::{Got, MULTIPART, Person, Site, capture, multipart, part};

/// The header of a pcap file of Ethernet.
fn header() -> Vec<u8> {
    capture("first-run.pcap")[..24].to_vec()
}

/// A small capture of which there is no other.
fn unique(n: u8) -> Vec<u8> {
    let mut bytes = capture("ssh-greeting.pcap");
    *bytes.last_mut().unwrap() = n;
    bytes
}

/// Asserts that no upload has left anything.
#[track_caller]
fn nothing_is_kept(site: &Site) {
    assert_eq!(site.number("SELECT count(*) FROM entries"), 0);
    assert_eq!(site.number("SELECT count(*) FROM captures"), 0);
    for folder in ["captures", "incoming", "work", "results"] {
        assert!(site.files(folder).is_empty(), "{folder}");
    }
}

/// Posts a body as the form with files.
fn post_form(me: &Person<'_>, kind: &str, body: &[u8]) -> Got {
    me.ask(Method::Post, "/uploads", Some(kind), body, &[])
}

#[test]
fn the_form_without_script_says_of_each_file_what_became_of_it() {
    let site = Site::new();
    let me = site.session_of(&site.add("ada", Role::Administrator));
    let [one, two, three] = [1, 2, 3].map(unique);
    let got = me.upload(&[("one.pcap", &one), ("two.pcap", &two)]).is(200).says("one.pcap").says("two.pcap");
    assert_eq!(got.body.matches("href=\"/entries/").count(), 2);
    assert_eq!(site.number("SELECT count(*) FROM entries WHERE state = 'unconfirmed'"), 2);
    me.get("/").says("one.pcap").says("two.pcap");
    // One that is refused does not take the others with it, wherever it stands.
    let got = me.upload(&[("bad.pcap", b"no capture at all, just words"), ("three.pcap", &three), ("none.pcap", b"")]);
    let got = got.is(200).says("<strong>bad.pcap</strong>: It is no capture").says("<strong>none.pcap</strong>");
    assert_eq!(got.body.matches("href=\"/entries/").count(), 1);
    assert_eq!(site.number("SELECT count(*) FROM entries"), 3);
    assert!(site.files("incoming").is_empty());
}

#[test]
fn the_script_gets_json() {
    let site = Site::new();
    let me = site.session_of(&site.add("ada", Role::Administrator));
    let csrf = me.get("/").csrf();
    let send = |bytes: &[u8]| {
        let accept = [("Accept", "application/json")];
        me.ask(Method::Post, "/uploads", Some(MULTIPART), &multipart(&csrf, &[("a.pcap", bytes)]), &accept)
    };
    let kept = send(&unique(1)).is(201).json();
    me.get(kept["location"].as_str().unwrap()).is(200).says("a.pcap");
    let refused = send(b"words and nothing else").is(422).json();
    assert!(refused["detail"].as_str().unwrap().starts_with("It is no capture."), "{refused}");
    assert_eq!(send(b"").is(422).json()["detail"].as_str().map(|words| words.contains("empty")), Some(true));
}

#[test]
fn what_cannot_be_analysed_is_refused_with_the_reason() {
    let site = Site::new();
    let account = site.add("ada", Role::Administrator);
    let (me, program) = (site.session_of(&account), site.program_of(&account, Scope::Write));
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89".to_vec();
    let mut version = header();
    version[4] = 9;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(b"words in a gzip").unwrap();
    for (name, bytes, words) in [
        ("nothing.pcap", Vec::new(), "empty"),
        ("picture.pcap", png, "PNG"),
        ("words.pcap", b"Dear portal, this is a letter.".to_vec(), "It is no capture"),
        ("words.pcap.gz", gzip.finish().unwrap(), "It is no capture"),
        ("cut.pcap", header()[..10].to_vec(), "10 bytes of pcap"),
        ("old.pcap", version, "version 9.4"),
        ("without.pcap", header(), "not one packet"),
    ] {
        let page = me.upload(&[(name, &bytes)]).is(422).says(words);
        assert!(page.body.contains("Status 422") && !page.body.contains(&*site.folder.path().to_string_lossy()));
        let path = format!("/api/v1/entries?name={name}");
        let problem = program.ask(Method::Post, &path, None, &bytes, &[]).is(422).json();
        assert!(problem["detail"].as_str().unwrap().contains(words), "{name}: {problem}");
    }
    nothing_is_kept(&site);
}

#[test]
fn a_damaged_capture_is_analysed_as_far_as_it_goes() {
    let site = Site::new();
    let me = site.session_of(&site.add("ada", Role::Administrator));
    let whole = capture("first-run.pcap");
    let key = me.keep("torn.pcap", &whole[..whole.len() / 2 + 1]);
    let page = format!("/entries/{key}");
    me.get(&page).is(200).says("It can be analysed as far as it goes.").says("cut off");
    me.confirm(&key);
    assert_eq!(site.ended(&key), "done");
    me.get(&page).is(200).says("damaged");
    assert_eq!(site.number("SELECT partial FROM entries"), 1);
    assert!(site.number("SELECT packets FROM entries") > 100);
}

#[test]
fn a_name_is_shown_and_nothing_else() {
    let site = Site::new();
    let account = site.add("ada", Role::Administrator);
    let (me, program) = (site.session_of(&account), site.program_of(&account, Scope::Write));
    let small = capture("ssh-greeting.pcap");
    me.keep("first.pcap", &small);
    let before: Vec<String> = site.tree().into_iter().filter(|path| !path.contains("sqlite")).collect();
    let long = "x".repeat(10_000);
    let names = [
        "../../etc/passwd",
        "..\\..\\x",
        "/etc/passwd",
        "C:\\autoexec.bat",
        "..",
        "~/.ssh/id_rsa",
        "a\0b.pcap",
        "\u{202e}pcap.exe",
        "a\r\nSet-Cookie: planted=yes.pcap",
        "\u{1b}[31mred\u{1b}]0;title\u{7}",
        &long,
        "\"; filename=\"/etc/passwd",
        "<script>alert(1).pcap",
        "{{me.name}} {{{csrf}}}",
        "",
    ];
    let mut kept = 0;
    for name in names {
        // A form cannot hold all of them; an address can.
        let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let by_program =
            program.ask(Method::Post, &format!("/api/v1/entries?name={encoded}"), None, &small, &[]).is(201);
        let by_form = me.upload(&[(name, &small)]);
        assert!([303, 422].contains(&by_form.status), "{name:?}: {}", by_form.body);
        kept += 1 + i64::from(by_form.status == 303);
        for got in [by_program, by_form] {
            assert!(
                got.headers.iter().all(|(_, value)| !value.contains("planted") && !value.contains("etc")),
                "{got:?}"
            );
        }
    }
    assert_eq!(site.number("SELECT count(*) FROM entries"), kept + 1);
    for name in site.rows("SELECT name FROM entries") {
        let bytes: Vec<u8> = name
            .trim_start_matches("Text([")
            .trim_end_matches("])")
            .split(", ")
            .map(|byte| byte.parse().unwrap())
            .collect();
        let name = String::from_utf8(bytes).unwrap();
        let steers = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || "/\\".contains(c);
        assert!(!name.contains(steers) && (1..=120).contains(&name.chars().count()), "{name:?}");
    }
    // The same content: one file, under its hash, wherever a name wanted to go.
    let after: Vec<String> = site.tree().into_iter().filter(|path| !path.contains("sqlite")).collect();
    assert_eq!(after, before);
    let page = me.get("/").is(200).says("passwd").says("&lt;script&gt;alert(1).pcap").says("{{me.name}} {{{csrf}}}");
    assert!(!page.body.contains("<script>") && !page.body.contains('\u{202e}') && !page.body.contains('\u{1b}'));
}

#[test]
fn what_is_too_large_is_refused_and_not_kept() {
    let site = Site::with(|config| config.limits.upload_bytes = 10_000);
    let account = site.add("ada", Role::Administrator);
    let (me, program) = (site.session_of(&account), site.program_of(&account, Scope::Write));
    let large = capture("first-run.pcap");
    me.upload(&[("large.pcap", &large)]).is(413).says("larger than one capture may be");
    let send =
        |bytes: &[u8], headers: &[(&str, &str)]| program.ask(Method::Post, "/api/v1/entries", None, bytes, headers);
    assert_eq!(send(&large, &[]).is(413).json()["status"], 413);
    assert_eq!(send(&large[..10_001], &[]).is(413).json()["status"], 413);
    // A length that says so is enough, before a byte is stored; one that lies helps nobody.
    send(b"x", &[("Content-Length", "10001")]).is(413);
    send(&large, &[("Content-Length", "5")]).is(413);
    nothing_is_kept(&site);
    // Whoever comes after it is taken.
    let got = me.upload(&[("large.pcap", &large), ("small.pcap", &unique(1))]).is(200);
    got.says("<strong>large.pcap</strong>").says(">small.pcap</a>");
    assert_eq!(site.number("SELECT count(*) FROM entries"), 1);
}

#[test]
fn quotas_and_counts_are_kept() {
    let (small, other) = (unique(1), unique(2));
    let room = small.len() as u64 + 100;
    let site = Site::with(|config| config.limits.quota_bytes = room);
    let account = site.add("ada", Role::Administrator);
    let me = site.session_of(&account);
    me.keep("one.pcap", &small);
    me.upload(&[("two.pcap", &other)]).is(422).says("more than your quota: you keep");
    let program = site.program_of(&account, Scope::Write);
    program.ask(Method::Post, "/api/v1/entries", None, &other, &[]).is(422);
    assert_eq!((site.number("SELECT count(*) FROM entries"), site.files("captures").len()), (1, 1));
    // Another account has a quota of its own.
    site.session_of(&site.add("bob", Role::Analyst)).keep("two.pcap", &other);

    let site = Site::with(|config| config.limits.uploads_at_once = 0);
    let me = site.session_of(&site.add("ada", Role::Administrator));
    me.upload(&[("one.pcap", &small)]).is(429);
    nothing_is_kept(&site);

    let site = Site::with(|config| {
        config.limits.entries = 2;
        config.limits.waiting = 1;
        config.worker.at_once = 0;
    });
    let me = site.session_of(&site.add("ada", Role::Administrator));
    let [first, second] = ["one.pcap", "two.pcap"].map(|name| me.keep(name, &small));
    me.upload(&[("three.pcap", &small)]).is(422);
    me.confirm(&first);
    let fields = [("pipeline", "default"), ("packets", ""), ("category", ""), ("note", "")];
    let page = format!("/entries/{second}");
    me.post(&page, &format!("{page}/confirm"), &fields).is(422);
    assert_eq!(site.state(&second), "unconfirmed");

    let site = Site::with(|config| config.limits.free_disk_bytes = u64::MAX / 2);
    let me = site.session_of(&site.add("ada", Role::Administrator));
    me.upload(&[("one.pcap", &small)]).is(507);
    nothing_is_kept(&site);
}

#[test]
fn odd_forms_are_refused_quickly_and_keep_nothing() {
    let site = Site::new();
    let me = site.session_of(&site.add("ada", Role::Administrator));
    let csrf = me.get("/").csrf();
    let small = capture("ssh-greeting.pcap");
    let good = multipart(&csrf, &[("a.pcap", &small)]);
    let token = part("form-data; name=\"csrf\"", csrf.as_bytes());
    let then = |more: &[u8]| [&token, more, b"------veilwatch-test--\r\n"].concat();
    let behind =
        |first: Vec<u8>| then(&[first, part("form-data; name=\"capture\"; filename=\"a.pcap\"", &small)].concat());
    let file = "form-data; name=\"capture\"; filename=\"a.pcap\"";
    let megabytes = vec![b'x'; 3 << 20];
    let begun = Instant::now();
    for (what, kind, body, status) in [
        ("no boundary", "multipart/form-data", good.clone(), 415),
        ("another type", "application/json", good.clone(), 415),
        ("a plain form", "application/x-www-form-urlencoded", good.clone(), 415),
        ("another boundary", "multipart/form-data; boundary=other", good.clone(), 422),
        ("nothing", MULTIPART, Vec::new(), 422),
        ("no end", MULTIPART, good[..good.len() - 30].to_vec(), 422),
        ("no token", MULTIPART, multipart(&csrf, &[("a.pcap", &small)])[token.len()..].to_vec(), 403),
        ("a token behind the file", MULTIPART, [&part(file, &small)[..], &token].concat(), 403),
        ("a token without end", MULTIPART, part("form-data; name=\"csrf\"", &megabytes), 422),
        ("no beginning", MULTIPART, megabytes.clone(), 422),
        ("a head without end", MULTIPART, then(&[b"------veilwatch-test\r\nX: ".as_slice(), &megabytes].concat()), 422),
        ("a long name", MULTIPART, then(&part(&format!("{file}; x=\"{}\"", "y".repeat(3 << 20)), &small)), 422),
        ("a foreign field", MULTIPART, behind(part("form-data; name=\"other\"", &megabytes)), 422),
        ("many heads", MULTIPART, then(&part(&format!("{file}{}", "\r\nX: y".repeat(1000)), &small)), 422),
        ("no file", MULTIPART, multipart(&csrf, &[]), 422),
        ("1000 empty fields", MULTIPART, then(&part("form-data; name=\"other\"", b"").repeat(1000)), 422),
    ] {
        let got = post_form(&me, kind, &body);
        assert_eq!(got.status, status, "{what}: {}", got.body);
    }
    nothing_is_kept(&site);
    // A thousand files: as many as a form may have, and a word on the rest.
    let files = vec![("many.pcap", b"x".as_slice()); 1000];
    let got = me.upload(&files).is(200).says("Only the first 20 files");
    assert_eq!(got.body.matches("<strong>many.pcap</strong>").count(), 21);
    nothing_is_kept(&site);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    post_form(&me, MULTIPART, &good).is(303);
    // A field in which nothing was chosen is none, wherever it stands.
    let mut files = vec![("", b"".as_slice())];
    files.extend([("many.pcap", b"x".as_slice()); 20]);
    files.push(("", b""));
    let got = me.upload(&files).is(200).lacks("Only the first");
    assert_eq!(got.body.matches("<strong>many.pcap</strong>").count(), 20);
    me.upload(&[("", b"")]).is(422).says("No file was chosen");
}

#[test]
fn a_large_file_passes_through_the_form_whole() {
    let site = Site::new();
    let me = site.session_of(&site.add("ada", Role::Administrator));
    // Packets of noise, with much that looks like a boundary.
    let mut bytes = header();
    let packet: Vec<u8> =
        (0..60_000_u32).flat_map(|n| [b'\r', b'\n', b'-', b'-', (n % 251) as u8]).take(60_000).collect();
    for n in 0..100_u32 {
        for word in [n, 0, 60_000, 60_000] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(&packet);
    }
    let key = me.keep("large.pcap", &bytes);
    assert!(site.files("captures").values().next() == Some(&bytes));
    let got = me.get(&format!("/entries/{key}/capture")).is(200);
    assert!(got.bytes == bytes);
    me.get(&format!("/entries/{key}")).says("<dd>100</dd>");
}

#[test]
fn bombs_are_looked_at_within_bounds() {
    let gzip = |pieces: &mut dyn FnMut(&mut dyn Write), level| {
        let mut encoder = GzEncoder::new(Vec::new(), level);
        pieces(&mut encoder);
        encoder.finish().unwrap()
    };
    let site = Site::with(|config| {
        config.limits.expansion_ratio = 20;
        config.limits.unpacked_bytes = 80 << 20;
        config.worker.memory_bytes = 1 << 30;
    });
    let me = site.session_of(&site.add("ada", Role::Administrator));
    let begun = Instant::now();
    // 200 MB of zeros: packets without a byte, millions of them.
    let zeros = vec![0; 1 << 20];
    let bomb = gzip(
        &mut |out| {
            out.write_all(&header()).unwrap();
            (0..200).for_each(|_| out.write_all(&zeros).unwrap());
        },
        Compression::fast(),
    );
    assert!(bomb.len() < 2 << 20);
    let key = me.keep("zeros.pcap.gz", &bomb);
    me.get(&format!("/entries/{key}")).is(200).says("more than 100,000").says("Not one of the packets");
    // A capture of large packets that unpacks to more than it may, twice packed.
    let mut packet = Vec::new();
    for word in [1_u32, 0, 60_000, 60_000] {
        packet.extend(word.to_le_bytes());
    }
    packet.resize(16 + 60_000, 0);
    let once = gzip(
        &mut |out| {
            out.write_all(&header()).unwrap();
            (0..2000).for_each(|_| out.write_all(&packet).unwrap());
        },
        Compression::fast(),
    );
    let twice = gzip(&mut |out| out.write_all(&once).unwrap(), Compression::fast());
    let key = me.keep("twice.pcap.gz.gz", &twice);
    me.get(&format!("/entries/{key}")).is(200).says("as decompression bombs do").says("expansion_ratio");
    // The analysis ends there too, and says why.
    me.confirm(&key);
    assert_eq!(site.ended(&key), "done");
    me.get(&format!("/entries/{key}")).is(200).says("expansion_ratio");
    assert_eq!(site.number("SELECT partial FROM entries WHERE state = 'done'"), 1);
    // Packed once more than is looked into.
    let thrice = gzip(&mut |out| out.write_all(&twice).unwrap(), Compression::fast());
    me.upload(&[("thrice.pcap.gz.gz.gz", &thrice)]).is(422).says("compressed more than twice over");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn what_was_uploaded_before_is_said_to_whom_it_was() {
    let site = Site::new();
    let (ada, bob) = (site.add("ada", Role::Administrator), site.add("bob", Role::Analyst));
    let (ada, bob) = (site.session_of(&ada), site.session_of(&bob));
    let small = capture("ssh-greeting.pcap");
    let words = "You have uploaded the same capture before.";
    let first = ada.keep("one.pcap", &small);
    ada.get(&format!("/entries/{first}")).is(200).lacks(words);
    // That somebody else has it shows in nothing.
    let others = bob.keep("mine.pcap", &small);
    bob.get(&format!("/entries/{others}")).is(200).lacks(words).lacks(&first).lacks("one.pcap");
    let second = ada.keep("two.pcap", &small);
    ada.get(&format!("/entries/{second}")).is(200).says(words).says(&format!("/entries/{first}\"")).lacks(&others);
    // One file for all of them, which stays as long as one of them does.
    assert_eq!(site.files("captures").len(), 1);
    for (person, key, left) in [(&ada, &first, 1), (&ada, &second, 1), (&bob, &others, 0)] {
        person.post("/", &format!("/entries/{key}/delete"), &[]).is(303);
        assert_eq!(site.files("captures").len(), left);
    }
    nothing_is_kept(&site);
}

#[test]
fn a_log_in_that_has_ended_is_told_to_the_script() {
    let site = Site::new();
    let json = [("Accept", "application/json")];
    let got = site.stranger().post_raw("/uploads", "", &json).is(401).says("Your log-in has ended");
    assert_eq!(got.header("Content-Type"), Some("application/json"));
    // A browser is led to the log-in.
    assert!(site.stranger().post_raw("/uploads", "", &[]).is(303).location().starts_with("/login"));
    // What is no form of ours is told to it, too.
    let ada = site.session_of(&site.add("ada", Role::Administrator));
    ada.post_raw("/uploads", "x=y", &json).is(415).says("detail");
}
