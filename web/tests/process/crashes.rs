//! What a `kill -9` leaves, and what the next start makes of it.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

use crate::http::{connect, head};
use crate::portal::{Person, Portal, example, many_times, soon, within};
use crate::workers::{lives, work_a_little};

/// How long a worker may live on without its portal.
const ORPHANS: Duration = Duration::from_secs(2);

/// What an entry came to, told in a way that another run can be compared with.
fn outcome(portal: &Portal, person: &Person, entry: &Value) -> (Value, String) {
    assert_eq!(entry["state"], "done", "{entry}");
    (entry["analysed"].clone(), person.lines(portal, entry["key"].as_str().unwrap()))
}

#[test]
fn nothing_confirmed_is_lost_and_nothing_is_half_there() {
    let mut portal = Portal::start(&[("worker.at_once", "1")]);
    let ada = portal.administrator();
    let long = many_times("malicious-beacon-tls12.pcap", 160);
    let captures = [long.clone(), example("first-run.pcap"), example("benign-odd.pcap")];
    // First what they come to where nothing disturbs.
    let keys: Vec<String> = captures.iter().map(|bytes| ada.analyse(&portal, "default", bytes)).collect();
    let undisturbed: Vec<_> = keys.iter().map(|key| outcome(&portal, &ada, &ada.done(&portal, key))).collect();

    let uploaded = |bytes: &Vec<u8>| ada.upload(&portal, "", bytes).is(201).json();
    let again: Vec<String> = captures.iter().map(|bytes| uploaded(bytes)["key"].as_str().unwrap().to_owned()).collect();
    let unconfirmed = uploaded(&captures[1]);
    let mut half = connect(portal.address);
    let length = format!("{}Content-Length: {}\r\n", ada.program(), long.len());
    half.write_all(head("POST", "/api/v1/entries?confirm=true", &length).as_bytes()).unwrap();
    half.write_all(&long[..long.len() / 2]).unwrap();
    let incoming = portal.data().join("incoming");
    soon("half of the upload is on the disk", || {
        let files = portal.files("incoming");
        files.len() == 1 && std::fs::metadata(incoming.join(&files[0])).unwrap().len() > 0
    });
    for key in &again {
        ada.call(&portal, "POST", &format!("/entries/{key}/confirm"), b"{}").is(200);
    }
    soon("the first analysis reads", || {
        work_a_little(portal.pid());
        let entry = ada.entry(&portal, &again[0]);
        assert_ne!(entry["state"], "done", "the capture is too short for this test");
        entry["progress"]["progress"]["packets"].as_u64() > Some(0)
    });
    let workers = portal.workers();
    assert_eq!(workers.len(), 1);
    assert_eq!(portal.files("work").len(), 1);
    portal.kill();
    within(ORPHANS, "no worker outlives its portal", || workers.iter().all(|worker| !lives(*worker)));
    drop(half);

    portal.again();
    // Those that were analysed, those that are, and the unconfirmed one.
    assert_eq!(portal.files("incoming"), [""; 0]);
    let entries = ada.entries(&portal);
    assert_eq!(entries.len(), 7);
    let later = ada.entry(&portal, unconfirmed["key"].as_str().unwrap());
    assert_eq!(later, unconfirmed);
    ada.get(&portal, "/account").is(200);
    for (key, undisturbed) in keys.iter().chain(&again).zip(undisturbed.iter().chain(&undisturbed)) {
        let done = ada.done(&portal, key);
        assert!(outcome(&portal, &ada, &done) == *undisturbed, "{} is another", done["analysed"]);
        ada.get(&portal, &format!("/entries/{key}")).is(200);
    }
    assert_eq!(portal.files("work"), [""; 0]);
    assert_eq!(portal.files("results").len(), 6);
    assert_eq!(portal.files("captures").len(), 3);
}

/// Whatever the portal is doing when it is killed: what it had promised it keeps.
#[test]
fn what_was_promised_is_kept_at_any_moment() {
    let mut portal = Portal::start(&[]);
    let ada = portal.administrator();
    let captures = ["first-run.pcap", "benign-odd.pcap", "malicious-beacon-tls13.pcap"].map(example);
    let promised = Mutex::new(BTreeMap::new());
    for round in 1..=3 {
        std::thread::scope(|scope| {
            for bytes in &captures {
                let (address, program, promised) = (portal.address, ada.program(), &promised);
                scope.spawn(move || {
                    loop {
                        let Some(created) = try_upload(address, &program, bytes) else { return };
                        let key = created["key"].as_str().unwrap().to_owned();
                        promised.lock().unwrap().insert(key, bytes.len());
                    }
                });
            }
            let before = promised.lock().unwrap().len();
            soon("some uploads", || promised.lock().unwrap().len() >= before + 3);
            std::thread::sleep(Duration::from_millis(37 * round));
            portal.kill();
        });
        portal.again();
        assert_eq!(portal.files("incoming"), [""; 0]);
    }
    let promised = promised.into_inner().unwrap();
    let entries = ada.entries(&portal);
    for key in promised.keys() {
        assert!(entries.iter().any(|entry| entry["key"] == **key), "{key} is lost");
    }
    // At most those whose answer was cut off come to them, and they are whole as well.
    assert!(entries.len() <= promised.len() + 9, "{} of {}", entries.len(), promised.len());
    let mut packets = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry["state"] != "unconfirmed") {
        let done = ada.done(&portal, entry["key"].as_str().unwrap());
        let counts = packets.entry(done["sha256"].to_string()).or_insert_with(|| done["analysed"].clone());
        assert_eq!(done["analysed"], *counts);
    }
    assert_eq!(packets.len(), captures.len());
    assert_eq!(portal.files("captures").len(), captures.len());
    assert_eq!(portal.files("work"), [""; 0]);
}

/// Uploads and confirms, unless the portal is gone.
fn try_upload(address: std::net::SocketAddr, program: &str, bytes: &[u8]) -> Option<Value> {
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    let more = format!("{program}Content-Length: {}\r\n", bytes.len());
    stream.write_all(head("POST", "/api/v1/entries?confirm=true", &more).as_bytes()).ok()?;
    stream.write_all(bytes).ok()?;
    let mut all = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut all).ok()?;
    let text = String::from_utf8(all).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 201 "), "{text}");
    // Killed in the middle of the answer.
    serde_json::from_str(body).ok()
}

#[test]
fn a_second_portal_on_the_same_data_leaves_the_first_alone() {
    let portal = Portal::start(&[("worker.at_once", "1")]);
    let ada = portal.administrator();
    let key = ada.analyse(&portal, "default", &many_times("malicious-beacon-tls12.pcap", 20));
    let (status, words) = portal.second();
    assert_eq!(status.code(), Some(2), "{words}");
    assert!(words.contains("is in use by another portal"), "{words}");
    ada.done(&portal, &key);
    assert_eq!(ada.entry(&portal, &key)["analysed"]["malicious"].as_u64().map(|count| count > 0), Some(true));
}
