//! Requests that are sent again and make nothing twice.

use rocket::http::Method;
use veilwatch_web::accounts::Role;
use veilwatch_web::accounts::tokens::Scope;

use crate::support::{Got, Person, Site, capture};

fn upload(me: &Person<'_>, path: &str, bytes: &[u8], key: &str) -> Got {
    me.ask(Method::Post, path, None, bytes, &[("Idempotency-Key", key)])
}

#[test]
fn the_first_answer_is_given_again_and_nothing_is_made_twice() {
    let site = Site::new();
    let account = site.add("ada", Role::Administrator);
    let program = site.program_of(&account, Scope::Write);
    let bytes = capture("ssh-greeting.pcap");
    let path = "/api/v1/entries?name=a.pcap";
    let entries = || site.number("SELECT count(*) FROM entries");
    let first = upload(&program, path, &bytes, "one").is(201);
    let key = first.json()["key"].as_str().unwrap().to_owned();
    // Whatever became of the entry meanwhile.
    program.send_json(Method::Patch, &format!("/api/v1/entries/{key}"), "{\"note\": \"changed\"}").is(200);
    let again = upload(&program, path, &bytes, "one").is(201);
    assert_eq!((&again.body, again.location()), (&first.body, first.location()));
    let replayed = [&first, &again].map(|got| got.header("Idempotent-Replayed"));
    assert_eq!((replayed, entries()), ([None, Some("true")], 1));
    // Another file, or another question.
    let other = capture("first-run.pcap");
    upload(&program, path, &other, "one").is(422).says("used for another request");
    upload(&program, "/api/v1/entries?name=b.pcap", &bytes, "one").is(422);
    let again_path = format!("/api/v1/entries/{key}/again");
    upload(&program, &again_path, b"", "one").is(422).says("used for another request");
    for bad in ["", " ", "two words", &"x".repeat(256), "ä"] {
        upload(&program, path, &bytes, bad).is(400);
    }
    assert_eq!(entries(), 1);
    // What was refused made nothing, and may be tried again with the same key.
    upload(&program, path, b"no capture", "two").is(422).says("It is no capture");
    upload(&program, path, &bytes, "two").is(201);
    // Keys are an account's own.
    let other = site.program_of(&site.add("bob", Role::Analyst), Scope::Write);
    let theirs = upload(&other, path, &bytes, "one").is(201);
    assert_ne!(theirs.json()["key"].as_str().unwrap(), key);
    assert_eq!(entries(), 3);
    // The portal may have ended between the entry and the answer: it is made anew.
    site.execute("UPDATE answers SET answer = NULL");
    let got = upload(&program, path, &bytes, "one").is(201).json();
    assert_eq!((got["key"].as_str(), got["note"].as_str()), (Some(&*key), Some("changed")));
    // After a day it is forgotten.
    site.clock.advance(24 * 3600);
    let program = site.program_of(&site.add("cleo", Role::Analyst), Scope::Write);
    upload(&program, path, &bytes, "one").is(201);
    assert_eq!((entries(), site.number("SELECT count(*) FROM answers")), (4, 1));
}

#[test]
fn other_things_are_made_once_too_and_keys_are_counted() {
    let site = Site::with(|config| {
        config.limits.idempotency_keys = 3;
        config.worker.at_once = 0;
    });
    let program = site.program_of(&site.add("ada", Role::Administrator), Scope::Write);
    let bytes = capture("ssh-greeting.pcap");
    let key = upload(&program, "/api/v1/entries?confirm=true", &bytes, "a").is(201).json()["key"].clone();
    let path = format!("/api/v1/entries/{}/again", key.as_str().unwrap());
    let made = upload(&program, &path, b"", "b").is(200).json();
    assert_eq!(upload(&program, &path, b"", "b").is(200).json(), made);
    let begin = |key: &str, length: &str| {
        let headers = [("Idempotency-Key", key), ("Tus-Resumable", "1.0.0"), ("Upload-Length", length)];
        program.ask(Method::Post, "/api/v1/uploads", None, b"", &headers)
    };
    let place = begin("c", "10").is(201).location().to_owned();
    assert_eq!(begin("c", "10").is(201).location(), place);
    begin("c", "11").is(422);
    assert_eq!(site.number("SELECT count(*) FROM uploads"), 1);
    // One that was ended is begun anew.
    program.ask(Method::Delete, &place, None, b"", &[("Tus-Resumable", "1.0.0")]).is(204);
    assert_ne!(begin("c", "11").is(201).location(), place);
    upload(&program, &path, b"", "d").is(429).says("as many keys");
    assert_eq!(site.number("SELECT count(*) FROM entries"), 2);

    assert_eq!(site.number("SELECT count(*) FROM entries WHERE state = 'queued'"), 1);
    // Of an entry that was deleted no answer is kept.
    program.send_json(Method::Delete, &format!("/api/v1/entries/{}", key.as_str().unwrap()), "").is(204);
    let anew = upload(&program, "/api/v1/entries?confirm=true", &bytes, "a").is(201).json();
    assert_ne!(anew["key"], key);
}
