//! Live sessions: who may have one, and the way of one from the interface to an entry.

use std::path::PathBuf;

use veilwatch::live::may_capture;
use veilwatch_web::accounts::Role;
use veilwatch_web::config::PipelineChoice;

use crate::room::{ENDS, Room, frames_of, quick_pipeline, some_frames};
use crate::support::{Person, Site, example, form};

/// Runs a test in a network of its own.
#[allow(clippy::print_stdout, reason = "CI counts these lines of the output")]
fn in_a_room(test: impl FnOnce(&Room) + Send) {
    match Room::new() {
        Ok(room) => room.inside(|| test(&room)),
        Err(why) => println!("skipped: {why}"),
    }
}

fn live_site(change: impl FnOnce(&mut veilwatch_web::config::Live)) -> Site {
    Site::with(|config| {
        let file = quick_pipeline(config.data.parent().unwrap());
        config.live.enabled = true;
        config.pipeline.push(PipelineChoice { name: "quick".to_owned(), file });
        change(&mut config.live);
    })
}

/// The form with which one begins.
fn fields(filter: &str) -> [(&str, &str); 3] {
    [("interface", ENDS[1]), ("filter", filter), ("pipeline", "quick")]
}

/// Begins a session, and gives the path of its page.
#[track_caller]
fn begin(me: &Person<'_>, filter: &str) -> String {
    me.post("/live", "/live", &fields(filter)).is(303).location().to_owned()
}

/// What stands behind a figure on the page.
#[track_caller]
fn figure(page: &str, name: &str) -> u64 {
    let (_, rest) =
        page.split_once(&format!("<dd id=\"live-{name}\">")).unwrap_or_else(|| panic!("no {name} in {page}"));
    rest.split('<').next().unwrap().replace(['\u{202f}', ',', ' ', '\u{a0}'], "").parse().unwrap()
}

#[track_caller]
fn until_figure(me: &Person<'_>, path: &str, name: &str, at_least: u64) -> String {
    me.site.until(name, || {
        let page = me.get(path).is(200).body;
        (figure(&page, name) >= at_least).then_some(page)
    })
}

#[test]
fn whoever_may_not_is_told_what_to_do() {
    let site = Site::with_ada();
    let ada = site.add("eve", Role::Administrator);
    let me = site.session_of(&ada);
    me.get("/live").is(200).says("enabled &#x3D; false").lacks("id=\"interface\"");
    me.post("/live", "/live", &fields("")).is(422).says("enabled &#x3D; false");
    me.get("/administration").is(200).says("href=\"/live\"");
    let site = Site::with(|config| {
        config.live.enabled = true;
        config.live.interfaces = vec!["lo".to_owned()];
    });
    let me_too = site.add("ada", Role::Administrator);
    let me = site.session_of(&me_too);
    let page = me.get("/live").is(200).says("<td>lo</td>").says("127.0.0.1");
    if may_capture() {
        // What is not on the list is not offered, and not captured on.
        me.post("/live", "/live", &[("interface", "eth0"), ("filter", ""), ("pipeline", "default")])
            .is(422)
            .says("may not be captured on");
    } else {
        page.says("AmbientCapabilities&#x3D;CAP_NET_RAW").says("setcap cap_net_raw=ep").lacks("id=\"interface\"");
    }
}

#[test]
fn from_an_interface_to_an_entry() {
    in_a_room(|room| {
        let site = live_site(|_| {});
        let (ada, bob) = (site.add("ada", Role::Administrator), site.add("bob", Role::Administrator));
        let (me, other) = (site.session_of(&ada), site.session_of(&bob));
        // The loopback interface has to be named.
        me.get("/live").is(200).says(&format!("<td>{}</td>", ENDS[1])).lacks("<td>lo</td>");
        me.post("/live", "/live", &fields("tcp prot 443"))
            .is(422)
            .says("tcp prot 443")
            .says("The capture filter is wrong");
        me.post("/live", "/live", &[("interface", "lo"), ("filter", ""), ("pipeline", "quick")]).is(422);
        me.post("/live", "/live", &[("interface", ENDS[1]), ("filter", ""), ("pipeline", "none")]).is(422);
        assert_eq!(site.number("SELECT count(*) FROM audit WHERE action LIKE 'live%'"), 0);

        let page = begin(&me, "not port 5353");
        other.get("/live").is(200).says("ada shown");
        for path in [&page, &format!("{page}/discard"), &format!("{page}/events")] {
            other.get(path).is(404);
        }
        let frames = frames_of(&example("first-run.pcap"));
        room.send(&frames);
        let shown = until_figure(&me, &page, "packets", frames.len() as u64);
        assert_eq!((figure(&shown, "lost"), figure(&shown, "passed")), (0, 0));
        // The newest packets are there, and the page loads itself again where there is no script.
        let last = format!("at&#x3D;{}\"", frames.len());
        let shown = site.until("the last packet is shown", || {
            let shown = me.get(&page).is(200).body;
            shown.contains(&last).then_some(shown)
        });
        assert!(shown.contains("http-equiv=\"refresh\"") && !shown.contains("data-again"));
        let alert = site.until("an alert is there", || {
            let shown = me.get(&page).is(200).body;
            let (_, rest) = shown.split_once("class=\"alert malicious\"")?;
            let link = rest.split_once("<a href=\"")?.1.split('"').next()?.replace("&#x3D;", "=");
            link.starts_with(&page).then_some(link)
        });
        me.get(&alert).is(200).says("id=\"h-packet\"").lacks("http-equiv=\"refresh\"");
        let event = me.first_event(&format!("{page}/events?change=0&rows=false"));
        assert!(event.contains("event:now") && event.contains("\"verdict\":\"malicious\""), "{event}");
        let after = frames.len() - 2;
        let event = me.first_event(&format!("{page}/events?change=999999&rows=true&after={after}"));
        let numbers: Vec<&str> =
            event.split("\"number\":\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(numbers, [after + 1, after + 2].map(|number| number.to_string()), "{event}");
        assert!(event.contains("\"skipped\":false"), "{event}");
        // Who is too far behind goes on with the newest.
        let event = me.first_event(&format!("{page}/events?change=999999&rows=true&after=0"));
        assert!(!event.contains("\"number\":\"1\"") && event.contains("\"number\":"), "{event}");
        me.get(&format!("{page}?where=tls.handshake.type+%3D%3D+1")).is(200).says("Packets found");
        me.get(&format!("{page}?where=tls.handshake.tipe")).is(200).says("<mark>tls.handshake.tipe");
        let number = alert.split("at=").nth(1).unwrap();
        me.get(&format!("{page}/packets/{number}/stream")).is(200).says(&format!("href=\"{page}?at&#x3D;"));
        me.get(&format!("{page}/packets/complete?text=tls.s&cursor=5")).is(200).says("tls.sni");

        me.post(&page, &format!("{page}/pause"), &[]).is(303);
        me.get(&page).is(200).says("It pauses").says("/go-on").lacks("http-equiv=\"refresh\"");
        room.send(&some_frames(7));
        let shown = until_figure(&me, &page, "passed", 7);
        assert_eq!((figure(&shown, "passed"), figure(&shown, "packets")), (7, frames.len() as u64));
        me.post(&page, &format!("{page}/go-on"), &[]).is(303);
        room.send(&some_frames(3));
        until_figure(&me, &page, "packets", frames.len() as u64 + 3);
        me.get(&format!("{page}/capture.pcapng")).is(404);
        me.post(&page, &format!("{page}/stop"), &[]).is(303);
        me.get(&page).is(200).says("It was stopped.").says("/save").lacks("/pause");
        // The packets can still be looked at.
        me.whole(&format!("{page}?at=3"), &[]).is(200).says("Packet 3");
        let saved = me.get(&format!("{page}/capture.pcapng")).is(200);
        assert_eq!(site.files("live").into_values().next(), Some(saved.bytes));

        let kept =
            me.post(&page, &format!("{page}/save"), &[("name", "../mine.pcapng"), ("pipeline", "quick")]).is(303);
        let key = kept.location().strip_prefix("/entries/").unwrap().to_owned();
        assert_eq!(site.ended(&key), "done");
        me.get(kept.location()).is(200).says("mine.pcapng");
        let packets = "SELECT json_extract(inspection, '$.packets') FROM entries";
        assert_eq!(site.number(packets), frames.len() as i64 + 3);
        site.until("the session is gone", || (me.get(&page).status == 404).then_some(()));
        assert!(site.files("live").is_empty());
        let lines = "SELECT group_concat(action || ' ' || subject, '; ') FROM audit WHERE action LIKE 'live%'";
        let wanted = format!("live-started out0: not port 5353; live-stopped out0; live-saved {key}");
        assert_eq!(site.text(lines), wanted);
    });
}

#[test]
fn sessions_are_bounded_thrown_away_and_end_by_themselves() {
    in_a_room(|room| {
        let site = live_site(|live| {
            live.sessions = 1;
            live.packets = 20;
        });
        let ada = site.add("ada", Role::Administrator);
        let me = site.session_of(&ada);
        let page = begin(&me, "");
        me.post("/live", "/live", &fields("")).is(422).says("as many sessions as there may be (1)");
        room.send(&some_frames(30));
        site.until("it is full", || me.get(&page).body.contains("as many packets as it may have").then_some(()));
        me.get(&format!("{page}/discard")).is(200).says("cannot be brought back");
        assert_eq!(site.files("live").len(), 1);
        let gone = me.post(&page, &format!("{page}/discard"), &[]).is(303);
        me.get(gone.location()).is(200).says("It was thrown away.");
        me.get(&page).is(404);
        assert!(site.files("live").is_empty());

        // Its child is killed: what was captured by then is there.
        let page = begin(&me, "");
        room.send(&some_frames(5));
        until_figure(&me, &page, "packets", 5);
        let child = child_in_here();
        nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL).unwrap();
        site.until("it is said so", || {
            me.get(&page).body.contains("The process that captured was ended").then_some(())
        });
        me.get(&page).is(200).says("/save").says("/discard");
        me.post(&page, &format!("{page}/discard"), &[]).is(303);

        // Nobody looks, and nobody saves.
        let site = live_site(|live| {
            live.idle_seconds = 1;
            live.keep_seconds = 1;
        });
        let ada = site.add("ada", Role::Administrator);
        begin(&site.session_of(&ada), "");
        let session = site.portal().live.all().pop().unwrap();
        site.until("it ends", || session.has_ended().then_some(()));
        assert_eq!(session.look().state, veilwatch_web::live::State::Ended(veilwatch_web::live::End::Idle));
        site.until("it is gone", || site.portal().live.all().is_empty().then_some(()));
        assert!(site.files("live").is_empty());
    });
}

#[test]
fn whoever_loses_the_right_while_the_form_comes_captures_nothing() {
    in_a_room(|_| {
        let site = live_site(|_| {});
        let ada = site.add("ada", Role::Administrator);
        let me = site.session_of(&ada);
        let csrf = me.get("/live").is(200).csrf();
        // The page was asked for a while ago, so the guard notes that the log-in was seen; that ends it here, after the
        // guard has read whose it is.
        site.clock.advance(120);
        site.execute(
            "CREATE TRIGGER gone AFTER UPDATE OF last_seen ON sessions
                BEGIN DELETE FROM sessions WHERE id = NEW.id; END",
        );
        let got = me.post_raw("/live", &form(&csrf, &fields("")), &[]).is(303);
        assert!(got.location().starts_with("/login"), "{}", got.location());
        assert_eq!(site.number("SELECT count(*) FROM sessions"), 0, "the right went after it was asked for");
        site.until("the session is gone", || site.portal().live.all().is_empty().then_some(()));
        assert!(site.files("live").is_empty());
        assert_eq!(site.number("SELECT count(*) FROM audit WHERE action LIKE 'live%'"), 0);
    });
}

/// The child that captures in this thread's network.
fn child_in_here() -> nix::unistd::Pid {
    let network = |path: PathBuf| std::fs::read_link(path.join("ns/net")).ok();
    let here = network("/proc/thread-self".into());
    let mut all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let worker = |path: &PathBuf| {
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        // Those that read packets are no longer there, or have no rings.
        line.ends_with(b"veilwatch-web\0worker\0") && network(path.clone()) == here && has_ring(path)
    };
    let path = all.find(worker).unwrap();
    nix::unistd::Pid::from_raw(path.file_name().unwrap().to_str().unwrap().parse().unwrap())
}

fn has_ring(process: &std::path::Path) -> bool {
    let files = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    files
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .any(|file| file.to_string_lossy().starts_with("socket:"))
}
