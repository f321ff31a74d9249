//! Turns and limits.

use std::time::Duration;

use serde_json::json;

use crate::portal::{Person, Portal, between, example, many_times, soon, within};
use crate::workers::{halt, work_a_little, work_on};

#[test]
fn whoever_has_less_is_not_kept_waiting_by_whoever_has_more() {
    let portal = Portal::start(&[("worker.at_once", "1")]);
    let ada = portal.administrator();
    let ben = portal.analyst(&ada, "ben");
    let (long, short) = (many_times("malicious-beacon-tls12.pcap", 60), example("first-run.pcap"));
    let upload =
        |who: &Person, bytes: &[u8]| who.upload(&portal, "", bytes).is(201).json()["key"].as_str().unwrap().to_owned();
    let hers: Vec<String> = (0..6).map(|at| upload(&ada, if at == 0 { &long } else { &short })).collect();
    let his = upload(&ben, &short);
    let confirm = |who: &Person, key: &String| {
        who.call(&portal, "POST", &format!("/entries/{key}/confirm"), b"{}").is(200);
    };
    hers.iter().for_each(|key| confirm(&ada, key));
    confirm(&ben, &his);
    ben.done(&portal, &his);
    for key in &hers {
        ada.done(&portal, key);
    }
    // The log has the order, by the numbers of the entries: his is the last of seven, and the second that is done.
    let log = portal.log();
    let done = log.lines().filter(|line| line.contains("an analysis is done"));
    let order: Vec<&str> = done.map(|line| between(line, "entry=", " ")).collect();
    assert_eq!(order, ["1", "7", "2", "3", "4", "5", "6"]);
    // And neither sees the other's.
    ben.call(&portal, "GET", &format!("/entries/{}", hers[0]), b"").is(404);
    assert_eq!(ben.entries(&portal).len(), 1);
}

#[test]
fn an_account_has_so_many_entries_and_so_many_that_wait() {
    let portal = Portal::start(&[("worker.at_once", "1"), ("limits.entries", "4"), ("limits.waiting", "2")]);
    let ada = portal.administrator();
    let ben = portal.analyst(&ada, "ben");
    let long = ada.analyse(&portal, "default", &many_times("malicious-beacon-tls12.pcap", 200));
    soon("it reads", || {
        work_a_little(portal.pid());
        ada.entry(&portal, &long)["progress"]["progress"]["packets"].as_u64() > Some(0)
    });
    let bytes = example("first-run.pcap");
    let keys: Vec<String> =
        (0..3).map(|_| ada.upload(&portal, "", &bytes).is(201).json()["key"].as_str().unwrap().to_owned()).collect();
    let confirm = |key: &String| ada.call(&portal, "POST", &format!("/entries/{key}/confirm"), b"{}");
    confirm(&keys[0]).is(200);
    confirm(&keys[1]).is(200);
    let refused = confirm(&keys[2]).is(422);
    assert!(refused.text().contains("wait"), "{}", refused.text());
    assert_eq!(ada.entry(&portal, &keys[2])["state"], "unconfirmed");

    let refused = ada.upload(&portal, "", &bytes).is(422);
    assert!(refused.text().contains("entries"), "{}", refused.text());
    assert_eq!((ada.entries(&portal).len(), portal.files("incoming").len()), (4, 0));
    // Others have limits of their own.
    ben.upload(&portal, "", &bytes).is(201);

    // Stopped, it keeps what it has found, and the next ones get their turn.
    ada.call(&portal, "POST", &format!("/entries/{long}/stop"), b"").is(200);
    work_on(portal.pid());
    let stopped = ada.done(&portal, &long);
    assert_eq!(stopped["analysed"]["partial"], json!(true));
    keys[..2].iter().for_each(|key| drop(ada.done(&portal, key)));
    confirm(&keys[2]).is(200);
    ada.done(&portal, &keys[2]);
    ada.call(&portal, "DELETE", &format!("/entries/{long}"), b"").is(204);
    ada.upload(&portal, "", &bytes).is(201);
}

#[test]
fn two_that_come_at_once_run_at_once() {
    let portal = Portal::start(&[("worker.at_once", "2")]);
    let ada = portal.administrator();
    let long = many_times("malicious-beacon-tls12.pcap", 100);
    let keys = [(); 2].map(|()| {
        let created = ada.upload(&portal, "", &long).is(201).json();
        created["key"].as_str().unwrap().to_owned()
    });
    let (ada, portal) = (&ada, &portal);
    std::thread::scope(|scope| {
        for key in &keys {
            scope.spawn(move || ada.call(portal, "POST", &format!("/entries/{key}/confirm"), b"{}").is(200));
        }
    });
    // Neither waits until a thread looks by itself.
    within(Duration::from_secs(3), "both run", || {
        halt(portal.pid());
        keys.iter().all(|key| ada.entry(portal, key)["state"] == "running")
    });
}
