//! An end that was asked for.

use std::io::Write;
use std::time::Duration;

use crate::http::{connect, head, hear};
use crate::portal::{Portal, many_times, soon, within};
use crate::workers::{lives, work_a_little};

/// How long an end that was asked for may take: Rocket gives requests five seconds.
const END: Duration = Duration::from_secs(20);

#[test]
fn a_portal_that_is_asked_to_end_does_and_goes_on_later() {
    let mut portal = Portal::start(&[("worker.at_once", "1")]);
    let ada = portal.administrator();
    let long = many_times("malicious-beacon-tls12.pcap", 160);
    let keys = [(); 2].map(|()| ada.analyse(&portal, "default", &long));
    soon("the first analysis reads", || {
        work_a_little(portal.pid());
        ada.entry(&portal, &keys[0])["progress"]["progress"]["packets"].as_u64() > Some(0)
    });
    // Somebody looks on, and somebody uploads.
    let mut stream = connect(portal.address);
    stream.write_all(head("GET", &format!("/entries/{}/events", keys[0]), &ada.browser()).as_bytes()).unwrap();
    let mut half = connect(portal.address);
    let length = format!("{}Content-Length: {}\r\n", ada.program(), long.len());
    half.write_all(head("POST", "/api/v1/entries", &length).as_bytes()).unwrap();
    half.write_all(&long[..long.len() / 2]).unwrap();
    soon("the upload comes in", || portal.files("incoming").len() == 1);
    let workers = portal.workers();
    assert_eq!(workers.len(), 1);

    let (status, time) = portal.terminate();
    assert!(status.success(), "{status}");
    assert!(time < END, "{time:?}");
    within(Duration::from_secs(2), "the worker ends", || !lives(workers[0]));
    let events = hear(stream).unwrap().is(200).text();
    assert!(events.contains("event:progress") && !events.contains("event:end"), "{events}");

    portal.again();
    assert_eq!(portal.files("incoming"), [""; 0]);
    assert_eq!(ada.entries(&portal).len(), 2);
    let packets = keys.map(|key| ada.done(&portal, &key)["analysed"]["packets"].as_u64());
    assert!(packets[0] > Some(0) && packets[0] == packets[1]);
    assert_eq!(portal.files("work"), [""; 0]);
    // One that has nothing to do ends at once.
    let (status, time) = portal.terminate();
    assert!(status.success() && time < END, "{status} {time:?}");
}
