//! Uploads that go on after they were broken off: what the protocol promises, and what it is given by whoever means ill.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rocket::http::Method;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use veilwatch_web::accounts::Role;
use veilwatch_web::accounts::tokens::Scope;

use crate::support::{Got, Person, Site, capture};

const TYPE: Option<&str> = Some("application/offset+octet-stream");

/// A request of the protocol.
fn tus(me: &Person<'_>, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Got {
    let mut all = vec![("Tus-Resumable", "1.0.0")];
    all.extend(headers);
    let got = me.ask(method, path, TYPE.filter(|_| method == Method::Patch), body, &all);
    assert_eq!(got.header("Tus-Resumable"), Some("1.0.0"), "{method} {path}");
    got
}

/// Begins an upload of so many bytes; gives where it is.
fn begin(me: &Person<'_>, length: usize, headers: &[(&str, &str)]) -> String {
    let length = length.to_string();
    let mut all = vec![("Upload-Length", length.as_str())];
    all.extend(headers);
    tus(me, Method::Post, "/api/v1/uploads", &all, b"").is(201).location().to_owned()
}

fn piece(me: &Person<'_>, place: &str, offset: usize, bytes: &[u8]) -> Got {
    tus(me, Method::Patch, place, &[("Upload-Offset", &offset.to_string())], bytes)
}

/// Where an upload stands.
fn offset(me: &Person<'_>, place: &str) -> usize {
    let got = tus(me, Method::Head, place, &[], b"").is(200);
    assert_eq!((got.body.as_str(), got.header("Cache-Control")), ("", Some("no-store")));
    got.header("Upload-Offset").unwrap().parse().unwrap()
}

#[test]
fn pieces_become_an_entry_as_any_other_upload_does() {
    let site = Site::new();
    let account = site.add("ada", Role::Administrator);
    let (program, other) = (site.program_of(&account, Scope::Write), site.add("bob", Role::Analyst));
    let got = program.ask(Method::Options, "/api/v1/uploads", None, b"", &[]).is(204);
    let offered = ["Tus-Version", "Tus-Extension", "Tus-Max-Size"].map(|name| got.header(name).unwrap());
    assert_eq!(offered, ["1.0.0", "creation,creation-with-upload,expiration,checksum,termination", "2147483648"]);

    let bytes = capture("first-run.pcap");
    let name = format!("filename {},other", BASE64_STANDARD.encode("../night\u{202e}ly.pcap"));
    let place = begin(&program, bytes.len(), &[("Upload-Metadata", &name)]);
    assert_eq!(offset(&program, &place), 0);
    let at = [bytes.len() / 3, bytes.len() / 2];
    let got = piece(&program, &place, 0, &bytes[..at[0]]).is(204);
    assert_eq!(got.header("Upload-Offset"), Some(&*at[0].to_string()));
    assert_eq!(got.header("Upload-Expires"), Some("Sat, 16 Jan 2027 08:00:00 GMT"));
    // Only where it stands.
    for wrong in [0, at[0] - 1, at[0] + 1, bytes.len()] {
        piece(&program, &place, wrong, &bytes[at[0]..]).is(409);
    }
    let sum = |of: &[u8]| format!("sha256 {}", BASE64_STANDARD.encode(Sha256::digest(of)));
    let summed = |sum: &str| {
        let headers = [("Upload-Offset", &*at[0].to_string()), ("Upload-Checksum", sum)];
        tus(&program, Method::Patch, &place, &headers, &bytes[at[0]..at[1]])
    };
    assert_eq!((summed(&sum(b"other")).status, summed("md5 AAAA").status), (460, 400));
    assert_eq!(offset(&program, &place), at[0], "nothing of it is kept");
    summed(&sum(&bytes[at[0]..at[1]])).is(204);
    let list = program.get("/api/v1/uploads").is(200).json();
    assert_eq!((&list[0]["name"], &list[0]["offset"]), (&json!("nightly.pcap"), &json!(at[1])));
    // Nobody else knows of it.
    let stranger = site.program_of(&other, Scope::Write);
    piece(&stranger, &place, at[1], &bytes[at[1]..]).is(404);
    assert_eq!(stranger.get("/api/v1/uploads").json(), json!([]));

    let got = piece(&program, &place, at[1], &bytes[at[1]..]).is(204);
    let key = got.header("Veilwatch-Entry").unwrap().to_owned();
    let entry = program.get(&format!("/api/v1/entries/{key}")).is(200).json();
    let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((&entry["sha256"], &entry["name"]), (&json!(sha256), &json!("nightly.pcap")));
    assert_eq!(entry["state"], "unconfirmed");
    // Whoever did not hear it is told again.
    let got = tus(&program, Method::Head, &place, &[], b"").is(200);
    assert_eq!((got.header("Veilwatch-Entry"), got.header("Upload-Metadata")), (Some(&*key), Some(&*name)));
    let again = piece(&program, &place, bytes.len(), b"").is(204);
    assert_eq!(again.header("Veilwatch-Entry"), Some(&*key));
    assert_eq!(site.number("SELECT count(*) FROM entries"), 1);
    assert!(site.files("partial").is_empty());
    assert_eq!(site.files("captures").len(), 1);
    tus(&program, Method::Delete, &place, &[], b"").is(204);
    program.get(&format!("/api/v1/entries/{key}")).is(200);
    tus(&program, Method::Head, &place, &[], b"").is(404);

    // In one request, confirmed, and by a program that knows no PATCH.
    let length = bytes.len().to_string();
    let headers = [("Tus-Resumable", "1.0.0"), ("Upload-Length", &*length)];
    let got = program.ask(Method::Post, "/api/v1/uploads?confirm=true&name=whole.pcap", TYPE, &bytes, &headers).is(201);
    assert_eq!(site.ended(got.header("Veilwatch-Entry").unwrap()), "done");
    let place = begin(&program, 10, &[]);
    let headers = [("Tus-Resumable", "1.0.0"), ("X-HTTP-Method-Override", "PATCH"), ("Upload-Offset", "0")];
    program.ask(Method::Post, &place, TYPE, b"12345", &headers).is(204);
    assert_eq!(offset(&program, &place), 5);
}

#[test]
fn what_is_asked_wrongly_is_refused_and_takes_nothing() {
    let site = Site::with(|config| {
        config.limits.upload_bytes = 1000;
        config.limits.quota_bytes = 1500;
        config.limits.unfinished_uploads = 2;
    });
    let program = site.program_of(&site.add("ada", Role::Administrator), Scope::Write);
    let start = |headers: &[(&str, &str)]| program.ask(Method::Post, "/api/v1/uploads", None, b"", headers);
    let v = ("Tus-Resumable", "1.0.0");
    let many = format!("filename {}", "A".repeat(5000));
    for (status, headers) in [
        (412, &[("Upload-Length", "10")][..]),
        (412, &[("Tus-Resumable", "0.2.2"), ("Upload-Length", "10")]),
        (400, &[v]),
        (400, &[v, ("Upload-Length", "-1")]),
        (400, &[v, ("Upload-Length", "1e3")]),
        (400, &[v, ("Upload-Defer-Length", "1")]),
        (400, &[v, ("Upload-Length", "10"), ("Upload-Metadata", "filename !")]),
        (400, &[v, ("Upload-Length", "10"), ("Upload-Metadata", &many)]),
        (422, &[v, ("Upload-Length", "0")]),
        (413, &[v, ("Upload-Length", "1001")]),
        (413, &[v, ("Upload-Length", "18446744073709551615")]),
    ] {
        let got = start(headers).is(status);
        assert!(got.json()["detail"].as_str().unwrap().len() > 10);
        assert_eq!(got.header("Tus-Version").is_some(), status == 412, "{headers:?}");
    }
    assert!(site.files("partial").is_empty());
    let first = begin(&program, 1000, &[]);
    start(&[v, ("Upload-Length", "501")]).is(422).says("quota");
    program.ask(Method::Post, "/api/v1/entries", None, &capture("first-run.pcap"), &[]).is(413);
    let second = begin(&program, 10, &[]);
    start(&[v, ("Upload-Length", "10")]).is(429).says("unfinished");
    for (status, kind, headers) in [
        (412, TYPE, &[("Upload-Offset", "0")][..]),
        (415, None, &[v, ("Upload-Offset", "0")]),
        (415, Some("application/octet-stream"), &[v, ("Upload-Offset", "0")]),
        (400, TYPE, &[v]),
        (400, TYPE, &[v, ("Upload-Offset", "x")]),
        (400, TYPE, &[v, ("Upload-Offset", "0"), ("Upload-Checksum", "sha256 x")]),
    ] {
        program.ask(Method::Patch, &first, kind, b"12345", headers).is(status);
    }
    // More than it was to have, whether said before or not.
    piece(&program, &second, 0, b"12345").is(204);
    piece(&program, &second, 5, b"123456").is(413);
    let headers = [("Upload-Offset", "5"), ("Content-Length", "6")];
    tus(&program, Method::Patch, &second, &headers, b"123456").is(413);
    assert_eq!((offset(&program, &first), offset(&program, &second)), (0, 5));
    // What is no capture is said so, again and again, and leaves nothing but the words.
    piece(&program, &second, 5, b"67890").is(422).says("It is no capture");
    tus(&program, Method::Get, &second, &[], b"").is(410).says("It is no capture");
    piece(&program, &second, 10, b"").is(410);
    assert_eq!((site.files("partial").len(), site.number("SELECT count(*) FROM entries")), (1, 0));
    // What nobody goes on with is forgotten, and gives its room back.
    site.clock.advance(24 * 3600);
    let program = site.program_of(&site.add("bob", Role::Analyst), Scope::Write);
    begin(&program, 100, &[]);
    assert_eq!((site.files("partial").len(), site.number("SELECT count(*) FROM uploads")), (1, 1));
}

#[test]
fn one_alone_goes_on_with_an_upload() {
    let site = Site::new();
    let program = site.program_of(&site.add("ada", Role::Administrator), Scope::Write);
    let place = begin(&program, 10, &[]);
    let id = site.number("SELECT id FROM uploads");
    let held = site.portal().intake.writing.enter(id).unwrap();
    piece(&program, &place, 0, b"x").is(423);
    tus(&program, Method::Delete, &place, &[], b"").is(423);
    assert_eq!(offset(&program, &place), 0, "asking is always possible");
    drop(held);
    piece(&program, &place, 0, b"x").is(204);
    // A file that lost what was on the disk is never gone on with.
    std::fs::write(site.folder.path().join("data/partial").join(place.rsplit('/').next().unwrap()), b"").unwrap();
    piece(&program, &place, 1, b"x").is(410).says("lost");
    assert_eq!(site.number("SELECT count(*) FROM uploads"), 0);
}
