//! From an upload to what was found: the pages of an entry, what can be saved, and how it ends early.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use rocket::http::Method;
use veilwatch::config::Config;
use veilwatch::engine::{Pipeline, Progress, RunOptions, Sink, Summary, run};
use veilwatch::output::{CsvSink, JsonSink, Selection};
use veilwatch::plugins::Registry;
use veilwatch::source::Source;
use veilwatch_web::accounts::Role;
use veilwatch_web::accounts::tokens::Scope;

use crate::support::{Site, capture, example};

/// What the command does with a capture, in this process.
fn detect(pipeline: &Pipeline, capture: &Path, sink: &mut dyn Sink) -> Summary {
    let (stop, progress) = (AtomicBool::new(false), Progress::default());
    let source = Source::open(capture, &pipeline.config().input).unwrap();
    run(pipeline, source, RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress }, sink).unwrap()
}

/// What stands between two words on a page.
fn between<'p>(page: &'p str, from: &str, to: &str) -> &'p str {
    page.split_once(from).unwrap_or_else(|| panic!("{from:?} is missing in {page}")).1.split(to).next().unwrap()
}

/// The example over and over, so that an analysis takes a while.
fn long_capture(times: usize) -> Vec<u8> {
    let once = capture("first-run.pcap");
    let (header, packets) = once.split_at(24);
    [header, &packets.repeat(times)].concat()
}

#[test]
fn what_uses_up_the_quota_is_not_analysed_again() {
    let bytes = capture("first-run.pcap");
    let site = Site::with(|config| config.limits.quota_bytes = bytes.len() as u64 + 1);
    let me = site.session_of(&site.add("ada", Role::Analyst));
    // A result that there is no room for is not kept, and neither is a part of it.
    let key = me.keep("a.pcap", &bytes);
    me.confirm(&key);
    assert_eq!(site.ended(&key), "failed");
    me.get(&format!("/entries/{key}")).is(200).says("has no room for the result").says("Delete entries");
    assert_eq!((site.files("results").len(), site.files("work").len()), (0, 0));
    // With room for one there is none for another.
    site.execute("UPDATE accounts SET quota_bytes = 1 << 30");
    let again = me.post("/", &format!("/entries/{key}/again"), &[]).is(303).location().to_owned();
    let again = again.rsplit('/').next().unwrap();
    me.confirm(again);
    assert_eq!(site.ended(again), "done");
    // Of two that run side by side, each with room for itself alone, one is kept.
    let kept = "(SELECT sum(bytes) FROM captures) + (SELECT sum(result_bytes) FROM entries)";
    site.execute(&format!(
        "UPDATE accounts SET quota_bytes = {kept} + (SELECT max(result_bytes) * 3 / 2 FROM entries)"
    ));
    let both = [(); 2].map(|()| {
        let path = me.post("/", &format!("/entries/{again}/again"), &[]).is(303).location().to_owned();
        path.rsplit('/').next().unwrap().to_owned()
    });
    both.iter().for_each(|key| me.confirm(key));
    let mut ends = both.each_ref().map(|key| site.ended(key));
    ends.sort();
    assert_eq!(ends, ["done", "failed"]);
    assert_eq!(site.number("SELECT count(*) FROM entries WHERE why = 'quota'"), 2);
    site.until("the results are those that are kept", || (site.files("results").len() == 2).then_some(()));
    site.execute(&format!("UPDATE accounts SET quota_bytes = {kept}"));
    me.post("/", &format!("/entries/{again}/again"), &[]).is(422).says("Your quota is used up");
    assert_eq!(site.number("SELECT count(*) FROM entries"), 4);
}

#[test]
fn a_capture_becomes_an_answer() {
    let site = Site::new();
    let account = site.add("ada", Role::Administrator);
    let (me, program) = (site.session_of(&account), site.program_of(&account, Scope::Read));
    let bytes = capture("first-run.pcap");
    let key = me.keep("first run.pcap", &bytes);
    let page = format!("/entries/{key}");
    let sha256 = site.text("SELECT sha256 FROM captures");
    me.get(&page).is(200).says("Analyse this capture?").says("<dd>pcap</dd>").says("<dd>987</dd>").says(&sha256);
    me.confirm(&key);
    assert_eq!(site.ended(&key), "done");

    // The verdict in one sentence, who is at risk, why, and where to look.
    let got = me.get(&page).is(200).says("1 computer talks to 2 servers as malware does: 26 malicious flows");
    let hosts = between(&got.body, "id=\"h-hosts\"", "</section>");
    let place = |host: &str| hosts.find(host).unwrap_or_else(|| panic!("{host} is missing in {hosts}"));
    assert!(place("192.168.56.106") < place("192.168.56.105"), "the computer at risk comes first: {hosts}");
    let alerts = between(&got.body, "id=\"h-alerts\"", "</section>");
    assert!(alerts.contains("192.168.56.106") && !alerts.contains("192.168.56.105:"), "{alerts}");
    assert!(alerts.contains("Packets to look at: "), "{alerts}");
    // What to look at next: links to flows, and what is marked is asked about no more.
    let next = between(&got.body, "id=\"h-next\"", "</section>");
    let asked = between(next, "<a href=\"", "\"").to_owned();
    assert!(asked.starts_with(&format!("{page}/flows/")) && next.contains("begins."), "{next}");
    me.get(&asked).is(200);
    me.post(&asked, &format!("{asked}/mark"), &[("malicious", "false"), ("reason", "asked its owner")]).is(303);
    let now = me.get(&page).is(200);
    assert!(
        !now.body.split("id=\"h-next\"").nth(1).is_some_and(|rest| rest
            .split("</section>")
            .next()
            .unwrap()
            .contains(&asked))
    );
    let first = program.get(&format!("/api/v1/entries/{key}/alerts")).is(200).json()[0].clone();
    for reason in first["reasons"].as_array().unwrap() {
        let words = reason.as_str().unwrap();
        assert!(words.contains(' ') && words.len() > 10, "words, not the name of a feature: {words}");
    }
    for kind in ["timeline", "protocols", "lengths", "intervals"] {
        let got = me.get(&format!("{page}/pictures/{kind}.svg")).is(200);
        assert_eq!(got.header("Content-Type"), Some("image/svg+xml"));
        assert!(got.body.trim_start().starts_with("<svg") && got.body.contains("</svg>"), "{kind}");
        assert!(!got.body.contains("<script") && !got.body.contains("href="), "{kind}");
    }
    me.get(&format!("{page}/pictures/none.svg")).is(404);

    // Every flow, searched, filtered and sorted; one of them in full.
    me.get(&format!("{page}/flows")).is(200).says("www.northfield-news.example");
    let got = me.get(&format!("{page}/flows?verdict=malicious&sort=score&down=true")).is(200).says("26 flows");
    assert!(!got.body.contains("192.168.56.105:"));
    me.get(&format!("{page}/flows?search=northfield")).is(200).says("northfield").lacks("ledgerly");
    let flow = between(&got.body, &format!("{page}/flows/"), "\"").to_owned();
    let one =
        me.get(&format!("{page}/flows/{flow}")).is(200).says("192.168.56.106").says("tls.ja4").says("tls.subject");
    one.says("Packets to look at: ");

    // What is saved is what the command writes.
    let pipeline = Pipeline::new(Config::builtin().unwrap(), &mut Registry::with_builtins().unwrap()).unwrap();
    let (file, most) = (example("first-run.pcap"), pipeline.config().output.text_bytes);
    let selection = Selection { all: true, min_score: None };
    let mut sink = JsonSink::new(Vec::new(), selection, None, most);
    let summary = detect(&pipeline, &file, &mut sink);
    let json_lines = sink.summary(&summary).unwrap();
    let mut csv = Vec::new();
    let mut sink = CsvSink::new(&mut csv, selection, None, most, true).unwrap();
    detect(&pipeline, &file, &mut sink);
    sink.finish().unwrap();
    let saved = |path: &str, name: &str| {
        let got = me.get(&format!("{page}/{path}")).is(200);
        let disposition = format!("attachment; filename=\"{name}\"");
        assert_eq!(got.header("Content-Disposition"), Some(&*disposition));
        assert_eq!(got.header("Cache-Control"), Some("no-store"));
        assert_eq!(got.header("X-Content-Type-Options"), Some("nosniff"));
        assert!(got.header("Content-Security-Policy").unwrap().contains("default-src 'none'"));
        got.bytes
    };
    assert!(saved("flows.jsonl", "veilwatch-flows.jsonl") == json_lines, "JSON Lines differ");
    assert!(program.get(&format!("/api/v1/entries/{key}/flows.jsonl")).is(200).bytes == json_lines);
    assert!(saved("flows.csv", "veilwatch-flows.csv") == csv, "CSV differs");
    assert!(saved("capture", &format!("{sha256}.pcap")) == bytes);
    let report = String::from_utf8(saved("report.html", "veilwatch-report.html")).unwrap();
    for words in ["26 malicious flows", "192.168.56.106", "<svg", &sha256] {
        assert!(report.contains(words), "{words} is missing in the report");
    }
    for outside in ["<script", "http://", "https://", "src=\"/", "href=\"/"] {
        let at = report.find(outside).map(|at| report[at..].chars().take(80).collect::<String>());
        let is_namespace = at.as_deref().is_some_and(|at| at.starts_with("http://www.w3.org/2000/svg"));
        assert!(at.is_none() || is_namespace, "the report needs {at:?}");
    }

    // The packets of one flow are a capture, and hold that flow alone.
    let cut = saved(&format!("flows/{flow}/packets.pcap"), "veilwatch-flow.pcap");
    let again = me.analyse("cut.pcap", &cut);
    let flows = |key: &str, more: &str| program.get(&format!("/api/v1/entries/{key}/flows{more}")).is(200).json();
    let only = flows(&again, "");
    assert_eq!((only["total"].as_u64(), only["flows"].as_array().map(Vec::len)), (Some(1), Some(1)), "{only}");
    let malicious = flows(&key, "?verdict=malicious&sort=score&down=true");
    for fact in ["src_ip", "src_port", "dest_ip", "dest_port", "first_ns", "packets", "bytes", "sni"] {
        assert_eq!(only["flows"][0][fact], malicious["flows"][0][fact], "{fact}");
    }
    assert_eq!(malicious["flows"][0]["flow_id"].to_string(), flow);

    // Nothing that was made on the way stays.
    assert!(site.files("work").is_empty() && site.files("incoming").is_empty());
    let all: Vec<String> = site.files("results").into_keys().collect();
    assert_eq!(all.len(), 2, "{all:?}");
}

#[test]
fn marks_notes_and_categories_come_back() {
    let site = Site::new();
    let me = site.session_of(&site.add("ada", Role::Administrator));
    let key = me.analyse("a.pcap", &capture("malicious-beacon-tls12.pcap"));
    let page = format!("/entries/{key}");
    let link = format!("{page}/flows/");
    let flow = between(&me.get(&page).is(200).body, &link, "\"").to_owned();
    let mark = |malicious, reason| {
        let one = format!("{link}{flow}");
        me.post(&one, &format!("{one}/mark"), &[("malicious", malicious), ("reason", reason)])
    };
    mark("true", "no").is(422);
    mark("true", "asked its owner").is(303);
    let got = mark("false", "it was a drill").is(303);
    me.get(got.location()).is(200).says("The mark is kept.").says("asked its owner").says("it was a drill");
    me.post(&page, &format!("{page}/note"), &[("note", "from the lab"), ("category", "2")]).is(303);
    me.get(&page).is(200).says("it was a drill").says("from the lab").says("Malware sample");
    me.get("/?search=lab").says(&key);
    me.get("/?category=2").says(&key);
    me.get("/?category=1").lacks(&key);
    me.get("/?state=done").says(&key);
    me.get("/?state=failed").lacks(&key);
    let labels = me.get("/marks/flows.csv").is(200).says("it was a drill");
    assert_eq!(labels.body.lines().count(), 2, "the newest of each flow: {}", labels.body);
    // Whoever has as many looks under way as may be has no report drawn beside them.
    let account = site.number("SELECT id FROM accounts");
    let taken: Vec<_> = std::iter::from_fn(|| site.portal().results.enter(account)).collect();
    me.get(&format!("{page}/report.html")).is(429);
    drop(taken);
    me.get(&format!("{page}/report.html")).is(200).says("it was a drill").says("from the lab");
    // A retired category stays where it is, and is not offered to others.
    me.post("/categories", "/categories/2/retire", &[]).is(303);
    me.get(&page).says("Malware sample");
    let other = me.keep("b.pcap", &capture("ssh-greeting.pcap"));
    me.get(&format!("/entries/{other}")).lacks("Malware sample");
}

#[test]
fn what_waits_says_so_and_can_be_stopped() {
    let site = Site::with(|config| config.worker.at_once = 0);
    let account = site.add("ada", Role::Administrator);
    let (me, bob) = (site.session_of(&account), site.session_of(&site.add("bob", Role::Viewer)));
    let small = capture("ssh-greeting.pcap");
    let [first, second] = ["one.pcap", "two.pcap"].map(|name| me.keep(name, &small));
    me.confirm(&first);
    me.confirm(&second);
    let (page, events) = (format!("/entries/{second}"), format!("/entries/{second}/events"));
    me.get(&page).is(200).says("It waits for its turn. Analyses before it: 1.").says("http-equiv=\"refresh\"");
    let event = me.first_event(&events);
    assert!(event.contains("event:queued") && event.contains("Analyses before it: 1."), "{event}");
    assert_eq!(bob.status(&events), 404);
    // An answer that is not there yet is no answer.
    for path in ["report.html", "flows.jsonl", "flows.csv"] {
        me.get(&format!("{page}/{path}")).is(404);
    }
    let program = site.program_of(&account, Scope::Read);
    let problem = program.get(&format!("/api/v1/entries/{second}/result")).is(409).json();
    assert!(problem["detail"].as_str().unwrap().contains("queued"), "{problem}");
    assert_eq!(me.post(&page, &format!("{page}/stop"), &[]).is(303).location(), page);
    me.get(&page).is(200).says("It was stopped before there was anything to show.").says("Analyse it again");
    assert!(me.first_event(&events).contains("event:end"));
    assert_eq!(site.state(&first), "queued");
    // Twice is no harm, and confirming what failed neither.
    me.post(&page, &format!("{page}/stop"), &[]).is(303);
    assert_eq!(site.number("SELECT count(*) FROM audit WHERE action = 'stopped'"), 1);
    let again = me.post(&page, &format!("{page}/again"), &[]).is(303);
    me.get(again.location()).is(200).says("Analyse this capture?");
}

#[test]
fn what_runs_shows_how_far_it_is_and_goes_when_it_is_deleted() {
    let site = Site::with(|config| config.worker.at_once = 1);
    let me = site.session_of(&site.add("ada", Role::Administrator));
    let key = me.keep("long.pcap", &long_capture(300));
    let page = format!("/entries/{key}");
    me.confirm(&key);
    let id = site.number("SELECT id FROM entries");
    let has_read = || site.portal().runner.board.find(id).filter(|running| running.now().progress.packets > 0);
    site.until("it reads", has_read);
    me.get(&page).is(200).says("Reading packets").says("Stop and keep what was found");
    let event = me.first_event(&format!("{page}/events"));
    assert!(event.contains("event:progress") && event.contains("\"packets\""), "{event}");
    assert_eq!(site.files("work").len(), 1);
    let got = me.post(&page, &format!("{page}/delete"), &[]).is(303);
    me.get(got.location()).is(200).says("The entry is deleted").lacks("long.pcap");
    assert!(site.portal().runner.board.find(id).is_none(), "its worker has ended");
    for folder in ["captures", "results", "work", "incoming"] {
        assert!(site.files(folder).is_empty(), "{folder}");
    }
    me.get(&page).is(404);
    me.get(&format!("{page}/events")).is(404);
    // The thread goes on with the next.
    me.analyse("next.pcap", &capture("ssh-greeting.pcap"));
}

#[test]
fn what_runs_and_is_stopped_keeps_what_was_found() {
    let site = Site::with(|config| config.worker.at_once = 1);
    let me = site.session_of(&site.add("ada", Role::Administrator));
    let key = me.keep("long.pcap", &long_capture(300));
    let page = format!("/entries/{key}");
    me.confirm(&key);
    let id = site.number("SELECT id FROM entries");
    let has_read = || site.portal().runner.board.find(id).filter(|running| running.now().progress.packets > 0);
    site.until("it reads", has_read);
    me.post(&page, &format!("{page}/stop"), &[]).is(303);
    assert_eq!(site.ended(&key), "done");
    assert_eq!(site.number("SELECT partial FROM entries"), 1);
    let read = site.number("SELECT packets FROM entries");
    assert!((1..987 * 300).contains(&read), "{read}");
    me.get(&page).is(200).says("stopped");
}

#[test]
fn what_is_gone_from_the_disk_is_said_and_no_path_is_shown() {
    let site = Site::new();
    let account = site.add("ada", Role::Administrator);
    let me = site.session_of(&account);
    let key = me.analyse("a.pcap", &capture("ssh-greeting.pcap"));
    let page = format!("/entries/{key}");
    let data = site.folder.path().join("data");
    let sha256 = site.text("SELECT sha256 FROM captures");
    std::fs::remove_file(data.join("captures").join(sha256)).unwrap();
    std::fs::write(data.join("results").join(format!("{key}.sqlite")), b"this is no result").unwrap();
    let again = me.post(&page, &format!("{page}/again"), &[]).is(303).location().to_owned();
    let gone = again.strip_prefix("/entries/").map(str::to_owned);
    let mut answers = vec![
        me.get(&format!("{page}/capture")).is(404),
        // The way on is there: analysing again, and deleting.
        me.get(&page).is(200).says("The result cannot be shown").says("Analyse again"),
        me.get(&format!("{page}/flows")).is(500),
        me.get(&format!("{page}/report.html")).is(500),
        site.program_of(&account, Scope::Read).get(&format!("/api/v1/entries/{key}/result")).is(500),
    ];
    if let Some(gone) = gone {
        me.confirm(&gone);
        assert_eq!(site.ended(&gone), "failed");
        answers.push(me.get(&again).is(200).says("The capture is no longer there.").says("Upload it again."));
    }
    let program = site.program_of(&account, Scope::Write);
    answers.push(program.ask(Method::Post, "/api/v1/entries", None, b"no capture", &[]).is(422));
    for got in answers {
        for inside in [&*data.to_string_lossy(), ".sqlite", "SQL", "rusqlite", "os error"] {
            assert!(!got.body.contains(inside), "{inside} is in {}", got.body);
        }
    }
}
