//! Slow, broken, lying, and many uploads.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::http::{connect, head, hear};
use crate::portal::{Person, Portal, example, soon, within};

/// An upload with a length of one's own choice, of which nothing has been sent but its head.
fn begin(portal: &Portal, person: &Person, length: usize) -> TcpStream {
    let mut stream = connect(portal.address);
    let more = format!("{}Content-Length: {length}\r\n", person.program());
    stream.write_all(head("POST", "/api/v1/entries", &more).as_bytes()).unwrap();
    stream
}

#[test]
fn an_upload_that_drips_or_stands_still_is_broken_off() {
    let portal = Portal::start(&[("limits.upload_idle_seconds", "1")]);
    let ada = portal.administrator();
    let bytes = example("first-run.pcap");
    std::thread::scope(|scope| {
        // Some of it, half of it, and a byte too seldom.
        for (sent, drips) in [(100, false), (bytes.len() / 2, false), (bytes.len() / 2, true)] {
            let (portal, ada, bytes) = (&portal, &ada, &bytes);
            let mut stream = begin(portal, ada, bytes.len());
            stream.write_all(&bytes[..sent]).unwrap();
            scope.spawn(move || {
                let begin = Instant::now();
                if drips {
                    let mut more = stream.try_clone().unwrap();
                    let byte = bytes[sent];
                    std::thread::spawn(move || {
                        while more.write_all(&[byte]).is_ok() {
                            std::thread::sleep(Duration::from_millis(1800));
                        }
                    });
                }
                let answer = hear(stream).unwrap().is(408);
                assert!(answer.text().contains("stood still"), "{}", answer.text());
                assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
            });
        }
    });
    assert_eq!(ada.entries(&portal).len(), 0);
    assert_eq!((portal.files("incoming"), portal.files("captures")), (vec![], vec![]));
    // Slow, but never for a second: it comes in.
    let mut stream = begin(&portal, &ada, bytes.len());
    for piece in bytes.chunks(bytes.len() / 6) {
        std::thread::sleep(Duration::from_millis(300));
        stream.write_all(piece).unwrap();
    }
    assert_eq!(hear(stream).unwrap().is(201).json()["bytes"], bytes.len());
}

#[test]
fn half_open_uploads_keep_nobody_waiting() {
    let portal = Portal::start(&[("limits.upload_idle_seconds", "3")]);
    let ada = portal.administrator();
    let ben = portal.analyst(&ada, "ben");
    let bytes = example("first-run.pcap");
    // Some in the middle of the body, more than there may be, and some in the middle of the head.
    let mut open: Vec<TcpStream> = Vec::new();
    for at in 0..150 {
        if at % 3 == 0 {
            let mut stream = connect(portal.address);
            stream.write_all(b"POST /api/v1/entries HTTP/1.1\r\nHost: por").unwrap();
            open.push(stream);
        } else {
            let mut stream = begin(&portal, &ada, bytes.len());
            stream.write_all(&bytes[..1000]).unwrap();
            open.push(stream);
        }
    }
    soon("they are under way", || portal.files("incoming").len() == 24);
    for _ in 0..5 {
        let begin = Instant::now();
        ada.get(&portal, "/").is(200);
        portal.health();
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    }
    // Another one's upload is let in beside them.
    ben.upload(&portal, "", &bytes).is(201);
    within(Duration::from_secs(60), "they are broken off", || portal.files("incoming").is_empty());
    ada.upload(&portal, "", &bytes).is(201);
    assert_eq!(ada.entries(&portal).len(), 1);
}

#[test]
fn a_length_that_lies_is_no_trouble() {
    let portal = Portal::start(&[("limits.upload_idle_seconds", "2"), ("limits.upload_bytes", "1000000")]);
    let ada = portal.administrator();
    let bytes = example("first-run.pcap");
    // More than was said: what was said is the file.
    let mut stream = begin(&portal, &ada, bytes.len() - 100);
    stream.write_all(&bytes).unwrap();
    let created = hear(stream).unwrap().is(201).json();
    assert_eq!(created["bytes"], bytes.len() - 100);
    assert!(created["inspection"]["damage"].is_string(), "{created}");
    // Less than was said: it stands still, or the connection ends.
    let mut stream = begin(&portal, &ada, bytes.len() + 100);
    stream.write_all(&bytes).unwrap();
    hear(stream).unwrap().is(408);
    let mut stream = begin(&portal, &ada, bytes.len() + 100);
    stream.write_all(&bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(hear(stream).is_none_or(|answer| answer.status >= 400));
    // More than any file may have, said and not said.
    let mut stream = begin(&portal, &ada, 1_000_001);
    stream.write_all(&bytes).unwrap();
    hear(stream).unwrap().is(413);
    let mut stream = connect(portal.address);
    let more = format!("{}Transfer-Encoding: chunked\r\n", ada.program());
    stream.write_all(head("POST", "/api/v1/entries", &more).as_bytes()).unwrap();
    let piece = vec![b'x'; 100_000];
    let sent = (0..11).try_for_each(|_| {
        stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
        stream.write_all(&piece)?;
        stream.write_all(b"\r\n")
    });
    sent.and_then(|()| stream.write_all(b"0\r\n\r\n")).unwrap();
    hear(stream).unwrap().is(413);
    // No number at all, and two of them.
    for lines in ["Content-Length: -1\r\n", "Content-Length: 5\r\nContent-Length: 6\r\n"] {
        let mut stream = connect(portal.address);
        stream.write_all(head("POST", "/api/v1/entries", &format!("{}{lines}", ada.program())).as_bytes()).unwrap();
        stream.write_all(b"hello").unwrap();
        hear(stream).unwrap().is(400);
    }
    soon("nothing is left of them", || portal.files("incoming").is_empty());
    assert_eq!((ada.entries(&portal).len(), portal.files("captures").len()), (1, 1));
}

#[test]
fn whoever_asks_first_is_told_to_go_on() {
    let portal = Portal::start(&[]);
    let ada = portal.administrator();
    let bytes = example("first-run.pcap");
    let ask = |more: String| {
        let mut stream = connect(portal.address);
        let more = format!("{more}Content-Length: {}\r\nExpect: 100-continue\r\n", bytes.len());
        stream.write_all(head("POST", "/api/v1/entries", &more).as_bytes()).unwrap();
        stream
    };
    let mut stream = ask(ada.program());
    let mut told = [0; 25];
    stream.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&bytes).unwrap();
    hear(stream).unwrap().is(201);
    // Who may not upload is told so.
    let mut stream = ask(String::new());
    stream.write_all(&bytes).unwrap();
    hear(stream).unwrap().is(401);
}

#[test]
fn pages_answer_while_many_upload() {
    let portal = Portal::start(&[]);
    let ada = portal.administrator();
    let captures = ["first-run.pcap", "benign-odd.pcap", "malicious-beacon-tls13.pcap"].map(example);
    let running = AtomicBool::new(true);
    let mut times = Vec::new();
    let address = portal.address;
    let keys: Vec<String> = std::thread::scope(|scope| {
        let uploads: Vec<_> = (0..20)
            .map(|at| {
                let (program, bytes) = (ada.program(), &captures[at % captures.len()]);
                scope.spawn(move || {
                    let answer = crate::http::ask(address, "POST", "/api/v1/entries?confirm=true", &program, bytes);
                    answer.is(201).json()["key"].as_str().unwrap().to_owned()
                })
            })
            .collect();
        let all = scope.spawn(|| {
            let keys: Vec<String> = uploads.into_iter().map(|upload| upload.join().unwrap()).collect();
            running.store(false, Ordering::Relaxed);
            keys
        });
        while running.load(Ordering::Relaxed) {
            let begin = Instant::now();
            ada.get(&portal, "/").is(200);
            times.push(begin.elapsed());
        }
        all.join().unwrap()
    });
    times.sort();
    // Of one that is held up by an upload there would be few and long ones.
    let median = times[times.len() / 2];
    assert!(
        times.len() > 5 && median < Duration::from_secs(1),
        "{} pages, half of them within {median:?}",
        times.len()
    );
    for key in &keys {
        ada.done(&portal, key);
    }
    assert_eq!(ada.entries(&portal).len(), 20);
    assert_eq!(portal.files("captures").len(), captures.len());
}
