//! What people make of findings: marks with a scope, the queue, states, comments, and what is taken over.

use std::collections::BTreeSet;

use rocket::http::Method;
use serde_json::{Value, json};
use veilwatch_web::accounts::tokens::Scope;
use veilwatch_web::accounts::{Account, Role};

use crate::support::{Got, Person, Site, capture, form};

/// The text between two others, for the first time.
#[track_caller]
fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("{before:?} is missing in {text}"));
    rest.split_once(after).unwrap().0
}

/// Where a link of this relation leads.
#[track_caller]
fn link(got: &Got, relation: &str) -> String {
    let (before, _) = got.body.split_once(&format!("\" rel=\"{relation}\"")).expect("a link");
    before.rsplit("<a href=\"").next().unwrap().replace("&amp;", "&").replace("&#x3D;", "=")
}

/// The numbers of the items on a page of the queue, in order.
fn listed(got: &Got) -> Vec<i64> {
    let rows = got.body.split("name=\"item\" value=\"").skip(1);
    rows.map(|rest| rest.split('.').next().unwrap().parse().unwrap()).collect()
}

fn site(change: impl FnOnce(&mut veilwatch_web::config::Config)) -> (Site, Account) {
    let site = Site::with(change);
    let account = site.add("ada", Role::Administrator);
    (site, account)
}

/// What one sends to change an item as its page shows it.
fn decide(me: &Person<'_>, id: i64, fields: &[(&str, &str)]) -> Got {
    let page = format!("/triage/{id}");
    let version = between(&me.get(&page).is(200).body, "name=\"version\" value=\"", "\"").to_owned();
    let mut all = vec![("version", version.as_str())];
    all.extend(fields);
    me.post(&page, &page, &all)
}

#[test]
fn a_mark_covers_what_it_says_and_training_gets_every_flow_of_it() {
    let (site, account) = site(|config| config.triage.mark_flows = 10);
    let me = site.session_of(&account);
    let key = me.analyse("<b>a.pcap", &capture("first-run.pcap"));
    // A pair with more flows than one, and fewer than a mark may cover; and a server that has more.
    let program = site.program_of(&account, Scope::Read);
    let flows = program.get(&format!("/api/v1/entries/{key}/flows?sort=score&down=true&limit=500")).is(200).json();
    let flows: Vec<Value> =
        flows["flows"].as_array().unwrap().iter().filter(|flow| !flow["verdict"].is_null()).cloned().collect();
    let pair = |flow: &Value| (flow["src_ip"].to_string(), flow["dest_ip"].to_string());
    let count = |of: &Value| flows.iter().filter(|flow| pair(flow) == pair(of)).count();
    let flow = flows.iter().find(|flow| (2..=10).contains(&count(flow))).expect("a pair of some flows");
    let covers = count(flow);
    let wide = flows.iter().find(|flow| count(flow) > 10).expect("a pair of many flows");
    let page = |flow: &Value| format!("/entries/{key}/flows/{}", flow["flow_id"]);
    let (here, there) = (page(flow), page(wide));
    let got = me.get(&here).is(200).says("covers 1 flow<").says(&format!("covers {covers} flows"));
    assert!(got.body.contains("straight to those who give the orders"), "{}", got.body);
    me.get(&there).is(200).says("covers 10 flows or more: too many");

    let mark = |page: &str, malicious: &str, more: &[(&str, &str)]| {
        let mut fields = vec![("malicious", malicious)];
        fields.extend(more);
        me.post(page, &format!("{page}/mark"), &fields)
    };
    let pair = ("scope", "pair");
    let refused = mark(&there, "true", &[("why", "owner"), ("reason", "all of <them>"), pair]).is(422);
    refused.says("more flows than one may").says("value=\"all of &lt;them&gt;\"");
    mark(&here, "false", &[("why", "owner"), ("reason", ""), ("purpose", "c2-direct"), pair])
        .is(422)
        .says("has a purpose");
    mark(&here, "true", &[("why", "nothing"), ("reason", "odd"), pair]).is(422);
    mark(&here, "true", &[("why", "other"), ("reason", ""), pair]).is(422).says("Say why");
    mark(&here, "true", &[("why", "behaviour"), ("reason", "every minute"), ("purpose", "c2-direct"), pair]).is(303);
    let said = "how it behaves: every minute";
    me.get(&here).says(said).says("This counts.").lacks("the flow it was made on");
    let other = flows.iter().find(|other| pair_of(other) == pair_of(flow) && other != &flow).unwrap();
    me.get(&page(other)).says(said).says("ada shown").says("the flow it was made on");

    // The narrower one counts, the conflict is shown, and both are in the list of conflicts.
    mark(&page(other), "false", &[("why", "drill"), ("reason", "")]).is(303);
    me.get(&page(other)).says("Marks contradict each other here").says("a test or a drill");
    me.get("/marks")
        .is(200)
        .says(&format!("{covers} flows are marked"))
        .says("contradict each other")
        .says("&lt;b&gt;a");
    me.get(&format!("/entries/{key}")).is(200).says(said).says("a test or a drill");
    let labels = me.get("/marks/flows.csv").is(200);
    let mut reader = csv::Reader::from_reader(labels.body.as_bytes());
    let rows: Vec<Vec<String>> = reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
    assert_eq!(rows.len(), covers);
    assert_eq!(rows.iter().filter(|row| row[6] == "benign" && row[13..] == ["drill", "", "flow"]).count(), 1);
    let malicious = |row: &&Vec<String>| row[6] == "malicious" && row[13..] == ["behaviour", "c2-direct", "pair"];
    assert_eq!(rows.iter().filter(malicious).count(), covers - 1);
    me.get(&format!("/entries/{key}/report.html")).is(200).says(said);

    // Undone, what was said of all of them counts again, and the history tells.
    let id = site.number("SELECT max(id) FROM marks");
    let undone = me.post(&here, &format!("/entries/{key}/marks/{id}/withdraw"), &[]).is(303);
    me.get(undone.location()).is(200).says("The mark is withdrawn").says("withdrawn by ada shown").lacks("contradict");
    assert_eq!(me.get("/marks/flows.csv").body.matches(",malicious,").count(), covers);
    me.post(&here, &format!("/entries/{key}/marks/{id}/withdraw"), &[]).is(404);
}

fn pair_of(flow: &Value) -> (String, String) {
    (flow["src_ip"].to_string(), flow["dest_ip"].to_string())
}

#[test]
fn the_queue_is_worked_through_and_another_analysis_takes_it_over() {
    let (site, account) = site(|config| {
        config.limits.page_rows = 2;
        config.triage.comments = 2;
    });
    let (me, program) = (site.session_of(&account), site.program_of(&account, Scope::Write));
    me.get("/triage").is(200).says("nothing to look at here");
    let bytes = capture("first-run.pcap");
    let key = me.analyse("<i>one.pcap", &bytes);
    let found = || program.get("/api/v1/triage?limit=200").is(200).json()["items"].as_array().unwrap().clone();
    let alerts = found().iter().map(|item| item["flows"].as_u64().unwrap()).sum::<u64>();
    assert_eq!((found().len(), alerts), (2, 26), "every alert is in one conversation");
    // The capture has two servers; with more, there are pages.
    site.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4)
            INSERT INTO items (entry_id, kind, at, place, verdict, score, flows, client, server, port, protocol, flow_id,
                first_ns, client_port)
            SELECT entry_id, kind, at, place + i, verdict, score, flows, client, '198.51.100.' || i, port, protocol, flow_id,
                first_ns, client_port FROM n, (SELECT * FROM items ORDER BY id DESC LIMIT 1)",
    );
    let items: Vec<i64> = found().iter().map(|item| item["id"].as_i64().unwrap()).collect();
    let list = program.get("/api/v1/triage").is(200).json();
    assert_eq!((items.len(), &list["counts"]["new"], &list["after"]), (6, &json!(6), &Value::Null));
    assert_eq!((&list["pending"], &list["left"]), (&json!(0), &json!(0)));

    // Pages, both ways, and from one item to the next.
    let first = me.get("/triage").is(200).says("&lt;i&gt;one").lacks("<i>one");
    assert_eq!(listed(&first), items[..2]);
    let second = me.get(&link(&first, "next")).is(200);
    assert_eq!(listed(&second), items[2..4]);
    assert_eq!(listed(&me.get(&link(&second, "prev"))), items[..2]);
    let page = me.get(&format!("/triage/{}?state=new", items[1])).is(200);
    let page = page.says("id=\"h-why\"");
    let beside = ["prev", "next"].map(|relation| link(&page, relation));
    assert_eq!(beside, [items[0], items[2]].map(|id| format!("/triage/{id}?state=new")));

    // Decided, and on to the next.
    let next = format!("/triage/{}?state=new", items[2]);
    let got = decide(&me, items[1], &[("state", "dismissed"), ("next", &next)]).is(303);
    assert_eq!(got.location(), format!("{next}&done=changed"));
    for evil in ["https://evil.example", "//evil.example", "/people"] {
        let got = decide(&me, items[1], &[("state", "seen"), ("next", evil)]).is(303);
        assert_eq!(got.location(), format!("/triage/{}?done=changed", items[1]));
    }
    decide(&me, items[0], &[("state", "closed"), ("words", "")]).is(422).says("what is closed needs");
    // Whoever is late is told, and keeps what they wrote.
    let path = format!("/triage/{}", items[0]);
    let csrf = me.get(&path).csrf();
    let mine = account.id.to_string();
    decide(&me, items[0], &[("assignee", &mine)]).is(303);
    let late = [("version", "1"), ("state", "closed"), ("words", "<late> words")];
    let got = me.post_raw(&path, &form(&csrf, &late), &[]).is(409);
    got.says("Somebody else has changed this").says("&lt;late&gt; words</textarea>").says("value=\"closed\" selected");
    decide(&me, items[0], &[("state", "confirmed"), ("words", "one\r\ntwo")]).is(303);
    me.get(&path).says("Confirmed.").says("Given to ada shown.").says("one\ntwo");
    assert_eq!(listed(&me.get("/triage?assignee=me")), items[..1]);
    assert_eq!(listed(&me.get("/triage?state=seen")), items[1..2]);
    assert_eq!(listed(&me.get(&format!("/triage?entry={}", "0".repeat(32)))), [0; 0]);
    assert_eq!(listed(&me.get("/triage?kind=entry&state=nonsense&after=1.2&category=x")).len(), 1);

    // Comments.
    let comment = |text: &str| me.post(&path, &format!("{path}/comments"), &[("text", text)]);
    comment(" <script>\r\nalert(1) ").is(303);
    comment("").is(422).says("A comment has");
    me.get(&path).says("&lt;script&gt;\nalert(1)").lacks("<script>\n");
    let id = site.number("SELECT max(id) FROM comments");
    let item = items[0].to_string();
    let edit = |version: &str, text: &str| {
        let fields = [("version", version), ("item", item.as_str()), ("text", text)];
        me.post(&path, &format!("/triage/comments/{id}/edit"), &fields)
    };
    me.get(&format!("{path}?edit={id}")).says(&format!("id=\"edit-{id}\""));
    edit("1", "better").is(303);
    edit("1", "late <text>").is(409).says("late &lt;text&gt;</textarea>");
    me.get(&path).says("better").says("changed 2027");
    comment("another").is(303);
    me.get(&path).says("as many comments as there may be").lacks("id=\"comment\"");
    comment("a third").is(422);
    let delete = |version: &str| me.post(&path, &format!("/triage/comments/{id}/delete"), &[("version", version)]);
    delete("1").is(409);
    delete("2").is(303);
    me.get(&path).says("deleted by its author").lacks("better");

    // Several at once, after a confirmation; what somebody else changed meanwhile stays.
    let value = |id: i64, version: u32| format!("{id}.{version}");
    let (two, three) = (value(items[2], 1), value(items[3], 1));
    let chosen = [("item", two.as_str()), ("item", three.as_str()), ("do", "closed"), ("back", "/triage?state=new")];
    me.post("/triage", "/triage/choose", &chosen[2..]).is(422).says("Nothing is chosen");
    me.post("/triage", "/triage/choose", &[("item", &two), ("do", "nonsense")]).is(422);
    me.post("/triage", "/triage/choose", &chosen)
        .is(200)
        .says("So many are changed: 2")
        .says(&format!("value=\"{two}\""));
    let stayed =
        site.number(&format!("SELECT count(*) FROM items WHERE id IN ({}, {}) AND state = 'new'", items[2], items[3]));
    assert_eq!(stayed, 2, "nothing is changed before it is confirmed");
    me.post("/triage", "/triage/change", &chosen).is(422).says("what is closed needs").says("So many are changed: 2");
    decide(&me, items[3], &[("state", "seen")]).is(303);
    let closing = [&chosen[..], &[("words", "reimaged")]].concat();
    let got = me.post("/triage", "/triage/change", &closing).is(409);
    got.says("Changed: 1").says(&format!("/triage/{}\"", items[3]));
    let take = [("item", value(items[3], 2)), ("do", "take".to_owned()), ("back", "/triage?state=seen".to_owned())];
    let take: Vec<(&str, &str)> = take.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(me.post("/triage", "/triage/change", &take).is(303).location(), "/triage?state=seen&done=changed");

    // Programs: the same rules.
    let place = format!("/api/v1/triage/{}", items[2]);
    let patch = |body: &str| program.send_json(Method::Patch, &place, body);
    let seen = program.get(&place).is(200).json();
    assert_eq!((&seen["state"], &seen["words"], &seen["version"]), (&json!("closed"), &json!("reimaged"), &json!(2)));
    assert_eq!(seen["history"][0]["by"], "ada shown");
    patch("{\"version\": 1, \"state\": \"new\"}").is(409);
    for (body, status) in [
        ("{\"version\": 2, \"assignee\": \"bob\"}", 422),
        ("{\"version\": 2, \"state\": \"nonsense\"}", 422),
        ("{\"state\": \"new\"}", 422),
        ("{\"version\": 2, \"sate\": \"new\"}", 422),
    ] {
        patch(body).is(status);
    }
    let changed = patch("{\"version\": 2, \"state\": \"dismissed\", \"assignee\": \"ada\"}").is(200).json();
    assert_eq!(
        (&changed["state"], &changed["assignee"], &changed["words"]),
        (&json!("dismissed"), &json!("ada"), &json!(""))
    );
    let said = |body: &str| program.send_json(Method::Post, &format!("{place}/comments"), body);
    for (body, status) in [("{\"text\": \"\"}", 422), ("{\"words\": \"x\"}", 422), ("text", 400)] {
        said(body).is(status);
    }
    said(&json!({ "text": "x".repeat(1501) }).to_string()).is(422).says("1500");
    let commented = said("{\"text\": \"ticket 4711,\\nsee <there>\"}").is(200).json();
    assert_eq!(commented["comments"].as_array().unwrap().last().unwrap()["text"], "ticket 4711,\nsee <there>");
    me.get(&format!("/triage/{}", items[2])).is(200).says("ticket 4711,").says("see &lt;there&gt;");
    for wrong in ["state=nonsense", "kind=x", "assignee=bob", "after=1", "limit=x"] {
        program.get(&format!("/api/v1/triage?{wrong}")).is(422);
    }
    let page = program.get("/api/v1/triage?limit=2&state=all").is(200).json();
    let page = program
        .get(&format!("/api/v1/triage?limit=2&state=all&after={}", page["after"].as_str().unwrap()))
        .is(200)
        .json();
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let description = program.get("/api/v1/openapi.json").is(200).json();
    let keys = |value: &Value| -> BTreeSet<String> { value.as_object().unwrap().keys().cloned().collect() };
    let fields = |schema: &str| keys(&description["components"]["schemas"][schema]["properties"]);
    assert_eq!(keys(&page), fields("TriageList"));
    assert_eq!(keys(&page["items"][0]), fields("TriageItem"));
    assert_eq!(keys(&page["items"][0]["conversation"]), fields("TriageConversation"));

    // Labels of what was decided.
    let labels = program.get("/api/v1/triage/labels").is(200).json();
    assert_eq!(labels.as_array().unwrap().len(), 2);
    assert_eq!(keys(&labels[0]), fields("TriageLabel"));
    let table = me.get("/triage/labels.csv").is(200);
    assert_eq!(table.body.lines().count(), 3, "{}", table.body);
    assert_eq!(me.get("/triage/labels.json?state=confirmed").is(200).json().as_array().unwrap().len(), 1);

    // A new analysis of the same capture takes over what was decided, and says from where.
    let again = me.post("/", &format!("/entries/{key}/again"), &[]).is(303);
    let again = again.location().strip_prefix("/entries/").unwrap().to_owned();
    me.confirm(&again);
    assert_eq!(site.ended(&again), "done");
    let states = |key: &str| {
        let sql = "SELECT i.state, i.words, i.assignee_id, i.client, i.server, i.name FROM items i JOIN entries e ON e.id = i.entry_id
            WHERE i.kind = 'conversation' AND e.key = ";
        site.rows(&format!("{sql}'{key}' ORDER BY i.client, i.server, i.port, i.name"))
    };
    let (old, new) = (states(&key), states(&again));
    assert!(new.len() == 2 && new.iter().all(|item| old.contains(item)), "{old:#?} {new:#?}");
    let confirmed = format!(
        "SELECT count(*) FROM items i JOIN entries e ON e.id = i.entry_id WHERE e.key = '{again}' AND i.state = 'confirmed'"
    );
    assert_eq!(site.number(&confirmed), 1);
    let carried = site.number(&format!("SELECT id FROM items WHERE carried_from = {}", items[0]));
    me.get(&format!("/triage/{carried}"))
        .is(200)
        .says("taken over from an earlier analysis")
        .says("Given to ada shown.");

    // Entries of before there was a queue follow by themselves, and one whose result is gone is told of.
    site.execute("DELETE FROM items WHERE kind = 'conversation'; UPDATE entries SET items_at = NULL");
    let result = site.folder.path().join("data/results").join(format!("{again}.sqlite"));
    std::fs::write(result, b"this is no result").unwrap();
    site.portal().runner.wake();
    site.until("all are taken over", || {
        (site.number("SELECT count(*) FROM entries WHERE items_at IS NULL") == 0).then_some(())
    });
    me.get("/triage").is(200).says("whose result cannot be read, and which are not in this list: 1");
    assert_eq!(site.number("SELECT count(*) FROM items WHERE kind = 'conversation'"), 2);
}

#[test]
fn thousands_of_entries_are_no_burden() {
    let (site, account) = site(|config| {
        config.worker.at_once = 0;
        // How long it takes hangs on the machine.
        config.limits.search_milliseconds = 600_000;
    });
    let (me, bob) = (site.session_of(&account), site.session_of(&site.add("bob", Role::Viewer)));
    let key = me.keep("one.pcap", &capture("ssh-greeting.pcap"));
    site.execute(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
            INSERT INTO entries (key, account_id, sha256, name, created_at, inspection, state, items_at, items_left)
            SELECT printf('%032x', i), account_id, sha256, name, created_at + i, inspection, 'done', 1, 0 FROM n, entries
            WHERE key = '{key}';
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10)
            INSERT INTO items (entry_id, kind, at, place, verdict, score, flows, client, server, port, protocol, flow_id,
                first_ns, client_port)
            SELECT e.id, 'conversation', e.created_at, (e.id * 7 + i * 13) % 20000, 'malicious', 0.9, 1, '192.0.2.1',
                '198.51.100.' || i, 443, 6, i, 1, 1 FROM n, entries e WHERE e.state = 'done'"
    ));
    assert_eq!(site.number("SELECT count(*) FROM items WHERE kind = 'conversation'"), 30_000);
    let first = me.get("/triage").is(200).says("new: 30,000");
    let items = listed(&first);
    assert_eq!((items.len(), listed(&me.get(&link(&first, "next"))).len()), (50, 50));
    bob.get("/triage").is(200).says("nothing to look at here");
    bob.get(&format!("/triage/{}", items[0])).is(404);
    // All labels at once.
    site.execute("UPDATE items SET state = 'confirmed' WHERE kind = 'conversation'");
    let labels = site.session_of(&account).get("/triage/labels.csv").is(200);
    assert_eq!(labels.body.lines().count(), 1 + 30_000);
}
