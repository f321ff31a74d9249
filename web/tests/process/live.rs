//! Sessions that capture: neither a child nor a file of one outlives the portal.

use crate::portal::{Person, Portal, soon};
use crate::room::{ENDS, Room, some_frames};
use crate::workers::lives;

/// Begins a session, and waits until it has captured something. Gives the path of its page.
fn begin(portal: &Portal, me: &Person, room: &Room) -> String {
    let fields = [("interface", ENDS[1]), ("filter", ""), ("pipeline", "default")];
    let answer = me.post(portal, "/live", "/live", &fields).is(303);
    let page = answer.headers("location").next().unwrap().to_owned();
    room.send(&some_frames(10));
    soon("packets come", || me.get(portal, &page).is(200).text().contains("<dd id=\"live-packets\">10</dd>"));
    page
}

#[test]
#[allow(clippy::print_stdout, reason = "CI counts these lines of the output")]
fn neither_a_child_nor_a_file_outlives_the_portal() {
    let room = match Room::new() {
        Ok(room) => room,
        Err(why) => return println!("skipped: {why}"),
    };
    room.inside(|| {
        let config = |_: &std::path::Path| "[live]\nenabled = true\n".to_owned();
        let mut portal = Portal::prepare(&[], config).unwrap_or_else(|(status, words)| panic!("{status}: {words}"));
        let ada = portal.administrator();
        let page = begin(&portal, &ada, &room);
        // One that captures, and one that reads what it wrote.
        let children = portal.workers();
        assert_eq!(children.len(), 2);
        portal.kill();
        soon("its children end", || !children.iter().any(|child| lives(*child)));
        assert_eq!(portal.files("live").len(), 1);
        portal.again();
        assert!(portal.files("live").is_empty());
        ada.get(&portal, &page).is(404);

        begin(&portal, &ada, &room);
        let children = portal.workers();
        let (status, _) = portal.terminate();
        assert!(status.success(), "{status}");
        soon("its children end", || !children.iter().any(|child| lives(*child)));
        portal.again();
        assert!(portal.files("live").is_empty());
    });
}
