//! Uploads that are gone on with over the death of the portal.

use std::io::Write;

use sha2::{Digest as _, Sha256};

use crate::http::{Answer, ask, connect, head, hear};
use crate::portal::{Person, Portal, example, many_times, soon};

fn tus(portal: &Portal, person: &Person, method: &str, path: &str, more: &str, body: &[u8]) -> Answer {
    let more = format!("{}Tus-Resumable: 1.0.0\r\n{more}", person.program());
    ask(portal.address, method, path, &more, body)
}

fn header(answer: &Answer, name: &str) -> String {
    answer.headers(name).next().unwrap_or_default().to_owned()
}

/// Sends a piece and has the portal killed when so much of it is counted; `all` of it is sent.
fn killed_in_the_middle(portal: &mut Portal, person: &Person, place: &str, bytes: &[u8], from: usize) -> usize {
    let rest = &bytes[from..];
    let more = format!(
        "{}Tus-Resumable: 1.0.0\r\nContent-Type: application/offset+octet-stream\r\nUpload-Offset: {from}\r\nContent-Length: {}\r\n",
        person.program(),
        rest.len(),
    );
    let mut stream = connect(portal.address);
    stream.write_all(head("PATCH", place, &more).as_bytes()).unwrap();
    // A third of what is missing, so that it is in the middle.
    stream.write_all(&rest[..rest.len() / 3]).unwrap();
    let asked = |portal: &Portal| {
        header(&tus(portal, person, "GET", place, "", b"").is(200), "Upload-Offset").parse::<usize>().unwrap()
    };
    let mut counted = from;
    soon("something is counted", || {
        counted = asked(portal);
        counted > from
    });
    portal.kill();
    drop(stream);
    portal.again();
    let now = asked(portal);
    assert!(now >= counted && now < bytes.len(), "what was told is kept: {counted}, {now}");
    now
}

#[test]
fn an_upload_over_two_deaths_is_the_same_to_the_byte() {
    let mut portal = Portal::start(&[]);
    let ada = portal.administrator();
    let one = many_times("first-run.pcap", 1).len();
    let bytes = many_times("first-run.pcap", (48 << 20) / one);
    let length = format!("Upload-Length: {}\r\n", bytes.len());
    let begun = tus(&portal, &ada, "POST", "/api/v1/uploads?name=long.pcap", &length, b"").is(201);
    let place = header(&begun, "Location");
    let mut at = 0;
    for _ in 0..2 {
        at = killed_in_the_middle(&mut portal, &ada, &place, &bytes, at);
        // As if the kill had torn the end: what is not counted is nothing.
        let path = portal.data().join("partial").join(place.rsplit('/').next().unwrap());
        let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"torn").unwrap();
    }
    assert!(at > 0);
    let more = format!("Content-Type: application/offset+octet-stream\r\nUpload-Offset: {at}\r\n");
    let done = tus(&portal, &ada, "PATCH", &place, &more, &bytes[at..]).is(204);
    let entry = ada.entry(&portal, &header(&done, "Veilwatch-Entry"));
    let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((entry["sha256"].as_str(), entry["bytes"].as_u64()), (Some(&*sha256), Some(bytes.len() as u64)));
    assert_eq!(portal.files("captures"), [sha256]);
    assert!(portal.files("partial").is_empty());
}

#[test]
fn what_came_whole_becomes_an_entry_at_the_next_start() {
    let mut portal = Portal::start(&[]);
    let ada = portal.administrator();
    let bytes = many_times("first-run.pcap", 1);
    let length = format!("Upload-Length: {}\r\n", bytes.len());
    let begun = tus(&portal, &ada, "POST", "/api/v1/uploads?confirm=true", &length, b"").is(201);
    let place = header(&begun, "Location");
    let key = place.rsplit('/').next().unwrap().to_owned();
    portal.kill();
    // The portal died between the last byte and the look at it.
    std::fs::write(portal.data().join("partial").join(&key), &bytes).unwrap();
    let database = rusqlite::Connection::open(portal.data().join("portal.sqlite")).unwrap();
    database.execute("UPDATE uploads SET kept = length", []).unwrap();
    drop(database);
    portal.again();
    let mut entry = String::new();
    soon("it is an entry", || {
        entry = header(&tus(&portal, &ada, "GET", &place, "", b"").is(200), "Veilwatch-Entry");
        !entry.is_empty()
    });
    ada.done(&portal, &entry);
}

#[test]
fn a_key_is_its_first_requests_while_it_is_under_way_and_over_a_death() {
    let mut portal = Portal::start(&[]);
    let ada = portal.administrator();
    let bytes = example("first-run.pcap");
    let key = format!("{}Idempotency-Key: nightly\r\n", ada.program());
    let again = |portal: &Portal| ask(portal.address, "POST", "/api/v1/entries", &key, &bytes);
    let mut first = connect(portal.address);
    let more = format!("{key}Content-Length: {}\r\n", bytes.len());
    first.write_all(head("POST", "/api/v1/entries", &more).as_bytes()).unwrap();
    first.write_all(&bytes[..bytes.len() / 2]).unwrap();
    soon("the first is under way", || portal.files("incoming").len() == 1);
    again(&portal).is(409);
    first.write_all(&bytes[bytes.len() / 2..]).unwrap();
    let answer = hear(first).unwrap().is(201).json();
    assert_eq!(again(&portal).is(201).json(), answer);
    portal.kill();
    portal.again();
    assert_eq!(again(&portal).is(201).json(), answer);
    assert_eq!(ada.entries(&portal).len(), 1);
}
