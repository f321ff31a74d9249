//! Packets of a capture: the pages, and the readers behind them.

use std::io::Write;
use std::process::Command;

use veilwatch_web::accounts::Role;

use crate::support::{Got, Person, Site, capture, logged};

/// What stands between two texts, the first time.
fn between<'b>(body: &'b str, begin: &str, end: &str) -> &'b str {
    body.split_once(begin).unwrap_or_else(|| panic!("{begin:?} is missing in {body}")).1.split_once(end).unwrap().0
}

/// Where the first link behind a text leads to.
fn link(body: &str, begin: &str) -> String {
    between(body.split_once(begin).unwrap_or_else(|| panic!("{begin:?} is missing in {body}")).1, "href=\"", "\"")
        .replace("&amp;", "&")
        .replace("&#x3D;", "=")
}

/// The numbers of the packets on a page.
fn listed(got: &Got) -> Vec<u64> {
    let rows = got.body.split("<tr").skip(2);
    rows.map(|row| between(between(row, "<a ", "/a>"), ">", "<").parse().unwrap()).collect()
}

#[test]
fn the_list_has_a_packet_in_full_and_lights_its_bytes() {
    let site = Site::with_ada();
    let me = site.session_of(&site.add("olga", Role::Analyst));
    let key = me.keep("first.pcap", &capture("first-run.pcap"));
    // Nobody has to analyse it for that.
    let page = format!("/entries/{key}/packets");
    let first = me.whole(&page, &[]).is(200).says("Packet 1</h2>");
    assert_eq!(listed(&first), (1..=50).collect::<Vec<_>>());
    let next = link(&first.body, "<a id=\"next\"");
    assert_eq!(listed(&me.whole(&next, &[])), (51..=100).collect::<Vec<_>>());

    let at = me.whole(&format!("{page}?at=60"), &[]).is(200).says("Packet 60</h2>").says("Ethernet: ");
    assert!(listed(&at).contains(&60));
    assert_eq!(at.body.matches("aria-current=\"true\"").count(), 1, "no field is lit");
    assert!(!at.body.contains("<mark>"));
    // The links of the fields light their bytes, in hexadecimal and as text.
    let fields = at.body.split_once("id=\"tree\"").unwrap().1;
    let field = fields.split("<li ").find(|field| field.contains("title=\"eth.src\"")).unwrap();
    assert!(field.contains("data-from=\"6\" data-to=\"12\""), "{field}");
    let lit = me.get(link(field, "").split('#').next().unwrap()).is(200);
    assert_eq!(lit.body.matches("<mark>").count(), 2);
    assert_eq!(between(&lit.body, "<mark>", "</mark>").len(), 6 * 3 - 1);

    me.get(&format!("{page}?at=999999")).is(200).says("no packet of this number");
    me.whole(&format!("{page}?at=60"), &[("Accept-Language", "zh")]).is(200).says("数据包 60</h2>").says("校验和");
    for odd in
        ["from=-1", "from=18446744073709551615", "at=x&from=y", "field=99999&at=3", "flow=99999999", "flow=0&at=0"]
    {
        let got = me.get(&format!("{page}?{odd}"));
        assert_eq!(got.status, 200, "{odd}: {}", got.body);
    }
}

#[test]
fn a_filter_is_searched_for_and_pointed_at_where_it_is_wrong() {
    let site = Site::with_ada();
    let me = site.session_of(&site.add("olga", Role::Analyst));
    let key = me.keep("first.pcap", &capture("first-run.pcap"));
    let page = format!("/entries/{key}/packets");
    let found = me.whole(&format!("{page}?where=tls.handshake.type%20%3D%3D%201"), &[]).is(200).says("Packets found: ");
    let numbers = listed(&found);
    assert!(numbers.len() > 10 && numbers.is_sorted(), "{numbers:?}");
    found.says(&format!("Packet {}</h2>", numbers[0])).says("value=\"tls.handshake.type &#x3D;&#x3D; 1\"");
    me.whole(&format!("{page}?where=frame.number%20%3E%20999999"), &[]).is(200).says("Packets found: 0");

    let wrong = me.get(&format!("{page}?where=ip%20%26%26%20tcp.prt%20%3D%3D%201")).is(200);
    assert_eq!(between(&wrong.body, "<mark>", "</mark>"), "tcp.prt");
    wrong.says("&#x60;tcp.port&#x60;").says("aria-invalid").lacks("Packet 1</h2>");
    me.get(&format!("{page}?where=%3Cscript%3E%22")).is(200).says("&lt;script&gt;&quot;").lacks("<script>\"");
    me.get(&format!("{page}?where={}", "x".repeat(5000))).is(422);
    // A search that was told to stop does not begin by itself again.
    let stopped = me.get(&format!("{page}?where=udp%20%26%26%20ip&stop=true")).is(200).says("was stopped");
    assert!(!stopped.body.contains("http-equiv=\"refresh\""));

    let names = me.get(&format!("{page}/complete?text=%C3%A9%20tcp.po&cursor=8")).is(200).json();
    assert_eq!((&names["from"], &names["to"]), (&2.into(), &8.into()), "{names}");
    assert!(names["fields"].as_array().unwrap().iter().any(|field| field["name"] == "tcp.port"), "{names}");
}

#[test]
fn verdicts_are_marked_and_searched_for_once_there_is_a_result() {
    let site = Site::with_ada();
    let olga = site.add("olga", Role::Analyst);
    let me = site.session_of(&olga);
    let key = me.keep("beacon.pcap", &capture("malicious-beacon-tls12.pcap"));
    let page = format!("/entries/{key}/packets");
    let asked = format!("{page}?where=ml.verdict%20%3D%3D%20%22malicious%22");
    let wrong = me.get(&asked).is(200);
    assert_eq!(between(&wrong.body, "<mark>", "</mark>"), "ml.verdict");
    me.confirm(&key);
    assert_eq!(site.ended(&key), "done");
    let found = me.whole(&asked, &[]).is(200);
    let numbers = listed(&found);
    let account = veilwatch_web::accounts::tokens::Scope::Read;
    let flows =
        site.program_of(&olga, account).get(&format!("/api/v1{page}").replace("packets", "flows?verdict=malicious"));
    let flows = flows.is(200).json();
    let all: u64 = flows["flows"].as_array().unwrap().iter().map(|flow| flow["packets"].as_u64().unwrap()).sum();
    assert!(all > 0 && flows["is_complete"] == true, "{flows}");
    let found = found.says(&format!("Packets found: {}", veilwatch_web::results::human::grouped(all)));
    assert_eq!(found.body.matches("<span class=\"tag malicious\">Malicious</span>").count(), numbers.len());
}

/// An address of packets by a filter.
fn by(page: &str, filter: &str) -> String {
    format!("{page}?where={}", filter.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>())
}

/// How many packets a filter finds in all, and the page that says so.
fn found(me: &Person<'_>, page: &str, filter: &str) -> (u64, Got) {
    let got = me.site.until("the search is over", || {
        let got = me.get(&by(page, filter)).is(200);
        got.body.contains("Packets found: ").then_some(got)
    });
    (between(&got.body, "Packets found: ", " ").replace(',', "").parse().unwrap(), got)
}

#[test]
fn what_nobody_knows_of_verdicts_is_said() {
    let capture = capture("first-run.pcap");
    let filters = [r#"ml.verdict == "malicious""#, r#"verdict == "malicious""#, r#"ml.verdict == "benign""#];
    let unmarked = r#"are not marked yet. Search by verdict once, such as ml.verdict == "malicious","#;
    let known = "flows are known here";
    let marks = |got: &Got| got.body.matches("<span class=\"tag malicious\">").count();
    // Of a small result all is known at once, and nothing is said.
    let site = Site::with_ada();
    let me = site.session_of(&site.add("olga", Role::Analyst));
    let page = format!("/entries/{}/packets", me.analyse("first.pcap", &capture));
    me.whole(&page, &[]).is(200).lacks("not marked yet");
    let all = filters.map(|filter| {
        let (count, got) = found(&me, &page, filter);
        got.lacks("not marked yet").lacks(known);
        count
    });
    assert!(all[0] > 0 && all[1] == all[0] && all[2] > 0, "{all:?}");
    let sum = |columns: &str| site.number(&format!("SELECT {columns} FROM entries")).cast_unsigned();
    let (flows, alerts) = (sum("flows"), sum("malicious + suspicious"));
    assert!(alerts > 1 && flows > alerts + 2, "{alerts} of {flows}");

    // The bound, what is said once it is reached, and which filters find all the same.
    for (most, lacks, whole) in [
        (flows, None, [true; 3]),
        (alerts + 1, Some("those on all malicious and suspicious flows among them"), [true, true, false]),
        (1, Some("are malicious or suspicious ones"), [false; 3]),
    ] {
        let site = Site::with(|config| {
            config.browse.marked_flows = 1;
            config.browse.judged_flows = u32::try_from(most).unwrap();
        });
        site.add("ada", Role::Administrator);
        let me = site.session_of(&site.add("olga", Role::Analyst));
        let page = format!("/entries/{}/packets", me.analyse("first.pcap", &capture));
        // What only looks like a question by verdict brings no marks.
        for filter in ["", r#"tls.sni contains "yaml.io""#, r#"tls.sni == "ml.verdict" || tcp"#] {
            let got = me.whole(&by(&page, filter), &[]).is(200).reads(unmarked);
            assert_eq!(marks(&got), 0, "{filter}");
        }
        me.whole(&page, &[("Accept-Language", "zh")]).is(200).says("尚未标出");
        // Nor does one that is wrong, or one whose search is stopped.
        me.get(&by(&page, "ml.verdict ==")).is(200).says("aria-invalid").lacks("not marked yet");
        me.whole(&(by(&page, filters[0]) + "&stop=true"), &[]).is(200).says("was stopped").reads(unmarked);
        for (at, filter) in filters.into_iter().enumerate() {
            let (count, got) = found(&me, &page, filter);
            assert!(count <= all[at] && (count == all[at]) == whole[at], "{most}: {count} of {} by {filter}", all[at]);
            let got = got.lacks("not marked yet");
            assert_eq!(got.body.contains(known), lacks.is_some(), "{most}");
            if let Some(words) = lacks {
                let grouped = veilwatch_web::results::human::grouped;
                let of = format!("The verdicts on {} of {} {known}", grouped(most), grouped(flows));
                got.says(&of).says(words).says("browse.judged_flows");
            }
        }
        // Marks are there from then on, whoever asks for what. Where all of them are, nothing more is said.
        let (_, shown) = found(&me, &page, "ip.addr == 203.0.113.129");
        let shown = shown.lacks("not marked yet");
        assert!(marks(&shown) > 0 || most == 1, "{most}");
        assert_eq!(shown.body.contains(known), most == 1, "{most}");
    }
}

#[test]
fn a_flow_leads_to_its_packets_and_to_what_both_sides_said() {
    let site = Site::with_ada();
    let me = site.session_of(&site.add("olga", Role::Analyst));
    let key = me.analyse("first.pcap", &capture("first-run.pcap"));
    let page = format!("/entries/{key}");
    // From an alert's reasons, and from its flow.
    let result = me.get(&page).is(200).says(&format!("href=\"{page}/packets\""));
    let evidence = link(&result.body, "Packets to look at:");
    let number = evidence.strip_prefix(&format!("{page}/packets?at=")).unwrap_or_else(|| panic!("{evidence}"));
    me.whole(&format!("{page}/packets?at={number}"), &[]).is(200).says(&format!("Packet {number}</h2>"));
    let flow = between(&result.body, &format!("{page}/flows/"), "\"").to_owned();
    let flow = me.get(&format!("{page}/flows/{flow}")).is(200);
    let of_flow = link(&flow.body, "/conversation?");
    let first: u64 = of_flow.rsplit("flow=").next().unwrap().split('&').next().unwrap().parse().unwrap();
    assert_eq!(of_flow, format!("{page}/packets?flow={first}&at={first}"));
    let of_flow = me.whole(&of_flow, &[]).is(200).says("Show all packets");
    let numbers = listed(&of_flow);
    assert!(numbers[0] == first && numbers.len() > 3 && numbers.is_sorted(), "{numbers:?}");

    let stream =
        me.whole(&format!("{page}/packets/{first}/stream"), &[]).is(200).says("said first").says("said second");
    assert!(stream.body.contains("Packet ") && stream.body.contains(&format!("{page}/packets?at")));
    me.whole(&format!("{page}/packets/{first}/stream?hex=true"), &[]).is(200).says("00000000</span>  16 03 ");
    me.whole(&format!("{page}/packets/{first}/stream?skip=999999999"), &[]).is(200).says("Nothing was said here");
    me.get(&format!("{page}/packets/99999999/stream")).is(404);
    me.get(&format!("{page}/packets/x/stream")).is(422);
}

#[test]
fn an_index_is_kept_counted_and_deleted_with_its_entry() {
    let site = Site::with_ada();
    let me = site.session_of(&site.add("olga", Role::Analyst));
    let key = me.keep("first.pcap", &capture("first-run.pcap"));
    let page = format!("/entries/{key}/packets");
    let id = site.number(&format!("SELECT id FROM entries WHERE key = '{key}'"));
    let bytes = || site.number("SELECT coalesce(sum(index_bytes), 0) FROM entries");
    let ended = || {
        site.portal().readers.end_of(id);
        site.until("its files are gone", || site.files("work").is_empty().then_some(()));
    };
    let before = site.until("all of it is read", || {
        let body = me.get(&page).is(200).body;
        (!body.contains("being read")).then_some(body)
    });
    // The index is written after the answer, and told of with the next one.
    site.until("it is written", || site.files("work").values().any(|file| !file.is_empty()).then_some(()));
    me.get(&page).is(200);
    assert_eq!((bytes(), site.files("work").len(), site.portal().readers.count()), (0, 2, 1));
    ended();
    let kept = site.until("the index is kept", || (bytes() > 0).then(bytes));
    assert_eq!(
        site.files("indexes").iter().map(|(name, index)| (name.clone(), index.len() as i64)).collect::<Vec<_>>(),
        [(key.clone(), kept)]
    );
    // It is used, and nothing is made anew.
    assert_eq!(me.get(&page).is(200).body, before);
    ended();
    assert_eq!((bytes(), site.files("indexes").len()), (kept, 1));
    me.get("/").is(200).says("first.pcap");

    me.get(&page).is(200);
    me.post(&format!("/entries/{key}/delete"), &format!("/entries/{key}/delete"), &[]).is(303);
    assert!(site.files("indexes").is_empty() && site.files("captures").is_empty());
    site.until("the reader has ended", || site.files("work").is_empty().then_some(()));
    me.get(&page).is(404);
    assert!(site.files("indexes").is_empty(), "nothing comes back");
}

#[test]
fn the_reader_from_before_the_analysis_ends_before_the_next_one_begins() {
    let site = Site::with_ada();
    let me = site.session_of(&site.add("olga", Role::Analyst));
    // A number that no other test's entry has: the log is everybody's.
    me.keep("other.pcap", &capture("ssh-greeting.pcap"));
    site.execute("DELETE FROM items; UPDATE entries SET id = 8654321");
    let key = me.keep("first.pcap", &capture("first-run.pcap"));
    let page = format!("/entries/{key}/packets");
    let id = site.number(&format!("SELECT id FROM entries WHERE key = '{key}'"));
    assert!(id > 8_654_321);
    me.whole(&page, &[]).is(200);
    // The index is written after the answer, and told of with the next one.
    site.until("it is written", || site.files("work").values().any(|file| !file.is_empty()).then_some(()));
    me.get(&page).is(200);
    me.confirm(&key);
    assert_eq!(site.ended(&key), "done");
    found(&me, &page, "ml.verdict == \"malicious\"");
    let log = logged();
    let ours = log.lines().filter(|line| line.contains(&format!("entry={id} ")));
    let words = ["a reader is started", "a reader has ended"];
    let said: Vec<&str> = ours.filter_map(|line| words.into_iter().find(|words| line.contains(words))).collect();
    assert_eq!(said, [words[0], words[1], words[0]]);
    // So the index of the first one was kept when the second one looked for it.
    let kept = site.number(&format!("SELECT coalesce(index_bytes, 0) FROM entries WHERE id = {id}"));
    assert!(kept > 0 && site.files("indexes").contains_key(&key));
    assert_eq!(site.portal().readers.count(), 1);
}

#[test]
fn there_are_only_so_many_readers() {
    let site = Site::with(|config| {
        config.browse.readers = 2;
        config.browse.readers_of_one = 1;
    });
    site.add("ada", Role::Administrator);
    let people = ["olga", "anna", "vera"].map(|name| site.session_of(&site.add(name, Role::Analyst)));
    let [one, two] = ["ssh-greeting.pcap", "mqtt-sensors.pcap"].map(|name| people[0].keep(name, &capture(name)));
    for key in [&one, &two, &one, &two] {
        people[0].whole(&format!("/entries/{key}/packets"), &[]).is(200);
        assert_eq!(site.portal().readers.count(), 1, "another one's place was taken");
    }
    for me in &people {
        let key = me.keep("a.pcap", &capture("ssh-greeting.pcap"));
        me.whole(&format!("/entries/{key}/packets"), &[]).is(200);
        assert!(site.portal().readers.count() <= 2);
    }
    site.portal().readers.end();
    people[0].get(&format!("/entries/{one}/packets")).is(429);
}

#[test]
fn one_that_nobody_asks_ends() {
    let site = Site::with(|config| config.browse.idle_seconds = 1);
    let me = site.session_of(&site.add("ada", Role::Administrator));
    let key = me.keep("a.pcap", &capture("ssh-greeting.pcap"));
    me.whole(&format!("/entries/{key}/packets"), &[]).is(200);
    site.until("it has ended", || (site.portal().readers.count() == 0).then_some(()));
    me.whole(&format!("/entries/{key}/packets"), &[]).is(200);
}

#[test]
fn one_that_dies_is_said_so_and_replaced() {
    let site = Site::with_ada();
    let me = site.session_of(&site.add("olga", Role::Analyst));
    let key = me.keep("a.pcap", &capture("ssh-greeting.pcap"));
    let page = format!("/entries/{key}/packets");
    // A number that no other test's entry has: the log is everybody's.
    site.execute("DELETE FROM items; UPDATE entries SET id = 7654321");
    me.whole(&page, &[]).is(200);
    let log = logged();
    let line = log.lines().rfind(|line| line.contains("entry=7654321 process=")).unwrap();
    let process = line.rsplit("process=").next().unwrap().trim();
    assert!(Command::new("kill").args(["-9", process]).status().unwrap().success());
    me.get(&page).is(500).says("was ended: it broke down");
    assert!(logged().contains("a reader is gone"));
    me.whole(&page, &[]).is(200).says("Packet 1</h2>");
    // Of what no analysis has judged yet nobody is sent to the command.
    let asked = me.get(&format!("{page}?where=ml.score%20%3E%200.5")).is(200);
    asked.says("where an analysis of the capture is done").lacks("detect --where");
    // What cannot be read is said so by each new one.
    let file = site.folder.path().join("data/captures").join(site.text("SELECT sha256 FROM entries"));
    site.portal().readers.end_of(7_654_321);
    std::fs::write(&file, b"<script>no capture</script>".repeat(40)).unwrap();
    me.get(&page).is(422).says("cannot be read").lacks("<script>no");
    std::fs::remove_file(&file).unwrap();
    site.portal().readers.end_of(7_654_321);
    me.get(&page).is(422).says("gone from the data folder");
    me.get(&format!("{page}/1/stream")).is(422).says("gone from the data folder");
    me.get(&format!("{page}/complete?text=x&cursor=1")).is(503);
}

#[test]
fn one_that_hangs_is_ended() {
    let site = Site::with(|config| config.browse.answer_seconds = 10);
    let me = site.session_of(&site.add("ada", Role::Administrator));
    let key = me.keep("a.pcap", &capture("ssh-greeting.pcap"));
    let page = format!("/entries/{key}/packets");
    site.execute("DELETE FROM items; UPDATE entries SET id = 7654322");
    me.whole(&page, &[]).is(200);
    let log = logged();
    let line = log.lines().rfind(|line| line.contains("entry=7654322 process=")).unwrap();
    let process = line.rsplit("process=").next().unwrap().trim();
    assert!(Command::new("kill").args(["-STOP", process]).status().unwrap().success());
    me.get(&page).is(503).says("its answer took too long");
    site.until("it is gone", || (!std::path::Path::new(&format!("/proc/{process}")).exists()).then_some(()));
    me.whole(&page, &[]).is(200);
}

#[test]
fn a_compressed_capture_has_packets_too() {
    let site = Site::with_ada();
    let me = site.session_of(&site.add("olga", Role::Analyst));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&capture("first-run.pcap")).unwrap();
    let keys = [me.keep("a.pcap.gz", &packed.finish().unwrap()), me.keep("a.pcap", &capture("first-run.pcap"))];
    let [packed, plain] = keys.map(|key| {
        let got = me.whole(&format!("/entries/{key}/packets?at=77"), &[]).is(200);
        got.body.split_once("<div id=\"packet\"").unwrap().1.replace(&key, "KEY").replace("a.pcap.gz", "a.pcap")
    });
    let of_page = |body: &str| between(body, "<section", "<details>").to_owned();
    assert_eq!(of_page(&packed), of_page(&plain));
}
