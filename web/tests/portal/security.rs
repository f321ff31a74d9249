//! Attackers: what a capture, a name or a person says never becomes more than text, and nothing of the inside gets out.

use std::collections::BTreeMap;

use rocket::http::Method;
use serde_json::Value;
use veilwatch_web::accounts::Role;
use veilwatch_web::accounts::tokens::Scope;

use crate::support::{Got, MULTIPART, Person, Site, capture, form, logged, multipart, without_our_script};

/// Server names of the example and what an attacker writes there instead: of the same length, so that the capture stays
/// whole.
const NAMES: [(&str, &str); 4] = [
    ("www.northfield-news.example", "<script>alert(1)</script>\"'"),
    ("api.ledgerly.example", "=cmd|' /C calc'!A0xx"),
    ("weather.skylark.example", "\r\nFORGED-BY-SNI\x1b[31m..\n"),
    ("files.harbour-docs.example", "{{me.name}}{{{csrf}}}@SUM("),
];
/// The same for the subject of the certificates of its malware.
const SUBJECT: (&str, &str) = ("Internet Widgits Pty Ltd", "<img src=x onerror=y>\"'>");

/// The example, taken over by an attacker.
fn hostile() -> Vec<u8> {
    let mut bytes = capture("first-run.pcap");
    for (from, to) in NAMES.into_iter().chain([SUBJECT]) {
        let (from, to) = (from.as_bytes(), to.as_bytes());
        assert_eq!(from.len(), to.len());
        let mut places = 0;
        for at in 0..bytes.len() - from.len() {
            if &bytes[at..at + from.len()] == from {
                bytes[at..at + from.len()].copy_from_slice(to);
                places += 1;
            }
        }
        assert!(places > 0);
    }
    bytes
}

/// Asserts that nothing on a page came out of its quotes.
#[track_caller]
fn is_harmless(path: &str, got: &Got) {
    let kind = got.header("Content-Type").unwrap_or_default().to_owned();
    assert_eq!(got.header("X-Content-Type-Options"), Some("nosniff"), "{path}");
    for (name, value) in &got.headers {
        for word in ["script", "FORGED", "planted", "cmd|", "\r", "\n"] {
            let is_policy = name.eq_ignore_ascii_case("Content-Security-Policy");
            assert!(is_policy || !value.contains(word), "{path}: {name}: {value}");
        }
    }
    match kind.split(';').next().unwrap() {
        "text/html" | "image/svg+xml" => {
            let page = if path.ends_with("report.html") || kind.starts_with("image") {
                got.body.clone()
            } else {
                without_our_script(&got.body)
            };
            for word in ["<script", "<img src=x", "onerror=y>", "javascript:", "\x1b", "\u{202e}"] {
                assert!(!page.contains(word), "{path}: {word:?} in {page}");
            }
            // The form token of somebody is not put in by a template that somebody wrote.
            assert!(!page.contains("shown{{"), "{path}");
        }
        "application/json" => drop(got.json()),
        "application/jsonl" => {
            got.body.lines().for_each(|line| drop(serde_json::from_str::<Value>(line).unwrap()));
            assert!(!got.body.contains('\x1b'), "{path}");
        }
        "text/csv" => {
            let rows = csv::ReaderBuilder::new().has_headers(false).from_reader(got.body.as_bytes()).into_records();
            for cell in rows.flat_map(|row| row.unwrap().iter().map(str::to_owned).collect::<Vec<_>>()) {
                assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']), "{path}: {cell:?}");
            }
        }
        other => panic!("{path} is {other}"),
    }
}

#[test]
fn what_a_capture_and_its_people_say_stays_text_everywhere() {
    let site = Site::new();
    let account = site.add("ada", Role::Administrator);
    let (me, program) = (site.session_of(&account), site.program_of(&account, Scope::Write));
    let script = "<script>alert('person')</script><img src=x onerror=y>";
    let name = "<script>alert(1)\r\nFORGED-BY-NAME\x1b[31m\u{202e}<img src=x onerror=y>.pcap";
    let bytes = hostile();
    let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let post = |path: &str| program.ask(Method::Post, path, None, &bytes, &[]);
    let entry = post(&format!("/api/v1/entries?name={encoded}&note==cmd|calc")).is(201).json();
    let key = entry["key"].as_str().unwrap().to_owned();
    let page = format!("/entries/{key}");
    is_harmless("confirm", &me.get(&page).is(200).says("&lt;script&gt;alert(1)FORGED-BY-NAME"));
    me.confirm(&key);
    assert_eq!(site.ended(&key), "done");

    // People are attackers too.
    me.post("/categories", "/categories", &[("name", "<script>alert('c')</script>")]).is(303);
    let category = site.number("SELECT max(id) FROM categories").to_string();
    me.post(&page, &format!("{page}/note"), &[("note", script), ("category", &category)]).is(303);
    let names = program.get(&format!("/api/v1/entries/{key}/flows?sort=sni&down=true")).is(200).json();
    let flows: BTreeMap<String, String> = names["flows"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|flow| Some((flow["sni"].as_str()?.to_owned(), flow["flow_id"].to_string())))
        .collect();
    let sni = |word: &str| {
        let found = flows.iter().find(|(name, _)| name.contains(word));
        found.unwrap_or_else(|| panic!("{word} is none of {flows:?}")).1.clone()
    };
    let [by_script, by_formula, by_lines, by_template] = ["<script>", "=cmd|", "FORGED", "{{me.name}}"].map(sni);
    let malicious = me.get(&page).is(200).body;
    let alert = malicious.split_once(&format!("{page}/flows/")).unwrap().1.split('"').next().unwrap().to_owned();
    for (flow, reason) in [(&by_script, script), (&by_formula, "=cmd|calc"), (&by_lines, "+1+1"), (&alert, "@SUM(1)")] {
        let one = format!("{page}/flows/{flow}");
        me.post(&one, &format!("{one}/mark"), &[("malicious", "true"), ("reason", reason)]).is(303);
    }

    // And others whose analysis failed, waits, or was not confirmed.
    let (failed, waits) = (me.keep("<script>alert(1).pcap", &bytes), me.keep("<img src=x onerror=y>.pcap", &bytes));
    site.portal().runner.end();
    site.execute(&format!(
        "UPDATE entries SET state = 'failed', why = 'plugin', words = '<script>alert(2)</script><img src=x onerror=y>'
             WHERE key = '{failed}'"
    ));
    me.confirm(&waits);

    let refused =
        me.upload(&[("<script>alert(1).pcap", b"<script>no capture"), ("<img src=x onerror=y>", b"x")]).is(200);
    is_harmless("refused", &refused.says("&lt;script&gt;alert(1).pcap").says("&lt;img src"));
    // Packets whose server name holds this.
    let sni_is = |word: &str| {
        let filter = format!("tls.sni contains \"{word}\"");
        filter.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>()
    };
    let packet = site.until("a packet is found", || {
        let got = me.get(&format!("{page}/packets?where={}", sni_is("<script>")));
        let (_, row) = got.body.split_once("<tr class=\"here\"><td><a href=\"")?;
        Some(row.split_once("\">")?.1.split('<').next()?.to_owned())
    });
    let mut paths = vec![
        ("/".to_owned(), "&lt;script&gt;alert(1)FORGED-BY-NAME"),
        ("/?search=%3Cscript%3Ealert(9)%3C/script%3E".to_owned(), "&lt;script&gt;alert(9)"),
        (page.clone(), "&lt;script&gt;alert(&#x27;person"),
        (format!("{page}/delete"), "&lt;img src"),
        (format!("/entries/{failed}"), "&lt;script&gt;alert(2)"),
        (format!("/entries/{waits}"), "&lt;img src"),
        (format!("{page}/flows"), "&lt;script&gt;alert(1)&lt;/script&gt;"),
        (format!("{page}/flows?search=%22%3E%3Cscript%3Ealert(9)"), "&lt;script&gt;alert(9)"),
        (format!("{page}/flows?host=%3Cscript%3E&sort=%3Cscript%3E&verdict=%3Cscript%3E"), "&lt;script&gt;alert(1)"),
        (format!("{page}/flows/{by_script}"), "&lt;script&gt;alert(&#x27;person"),
        (format!("{page}/flows/{by_formula}"), "cmd|"),
        (format!("{page}/flows/{by_lines}"), "FORGED-BY-SNI"),
        (format!("{page}/flows/{by_template}"), "{{me.name}}{{{csrf}}}"),
        (format!("{page}/flows/{alert}"), "&lt;img src"),
        (format!("{page}/packets"), "&lt;script&gt;alert(1)FORGED-BY-NAME"),
        (format!("{page}/packets?where=%22%3E%3Cscript%3Ealert(9)"), "&lt;script&gt;alert(9)"),
        (format!("{page}/packets?where={}", sni_is("<script>")), "&lt;script&gt;alert(1)&lt;/script&gt;"),
        (format!("{page}/packets?where={}&field=30", sni_is("FORGED")), "FORGED-BY-SNI"),
        (format!("{page}/packets?where={}", sni_is("{{me.name}}")), "{{me.name}}"),
        (format!("{page}/packets/{packet}/stream"), "&lt;script&gt;alert(1)&lt;/script&gt;"),
        (format!("{page}/packets/{packet}/stream?hex=true"), "3c 73 63 72"),
        (format!("{page}/report.html"), "FORGED-BY-NAME"),
        (format!("{page}/flows.jsonl"), "<script>"),
        (format!("{page}/flows.csv"), "'=cmd|"),
        ("/triage?state=all".to_owned(), "&lt;script&gt;alert(1)FORGED-BY-NAME"),
        (
            format!("/triage?kind=entry&entry={}&assignee=%22%3E%3Cscript%3E", page.rsplit('/').next().unwrap()),
            "FORGED-BY-NAME",
        ),
        (format!("/triage/{}", site.number("SELECT min(id) FROM items WHERE kind = 'conversation'")), "FORGED-BY-NAME"),
        (format!("{page}/triage"), "FORGED-BY-NAME"),
        ("/marks".to_owned(), "4"),
        ("/marks/flows.csv".to_owned(), "'=cmd|calc"),
        ("/marks/captures.csv".to_owned(), ".pcap"),
        ("/categories".to_owned(), "&lt;script&gt;alert(&#x27;c"),
        ("/audit".to_owned(), "uploaded a capture"),
        ("/people".to_owned(), "ada"),
        ("/account".to_owned(), "ada"),
    ];
    for kind in ["timeline", "protocols", "lengths", "intervals"] {
        paths.push((format!("{page}/pictures/{kind}.svg"), "<svg"));
    }
    for (path, words) in &paths {
        for language in ["en", "zh"] {
            let headers = [("Accept-Language", language)];
            let is_searched = path.contains("/packets?where");
            let got = if is_searched { me.whole(path, &headers) } else { me.get_with(path, &headers) }.is(200);
            is_harmless(path, &got);
            assert!(got.body.contains(words) || language == "zh", "{path}: {words} is missing in {}", got.body);
        }
    }
    for path in ["", "/result", "/alerts", "/flows", "/flows.jsonl"] {
        let path = format!("/api/v1/entries/{key}{path}");
        is_harmless(&path, &program.get(&path).is(200));
    }
    let complete = format!("{page}/packets/complete?text=%3Cscript%3Etcp.&cursor=12");
    is_harmless(&complete, &me.get(&complete).is(200));
    is_harmless("/api/v1/entries", &program.get("/api/v1/entries").is(200));
    let event = me.first_event(&format!("/entries/{waits}/events"));
    assert!(event.contains("event:queued"), "{event:?} {}", site.state(&waits));
    // The names of what is saved are ours.
    let ours =
        ["veilwatch-", "captures.csv", "flows.csv", &site.text("SELECT sha256 FROM captures")].map(str::to_owned);
    for path in ["report.html", "flows.jsonl", "flows.csv", "capture"].map(|path| format!("{page}/{path}")) {
        let got = me.get(&path).is(200);
        let name = got.header("Content-Disposition").unwrap().strip_prefix("attachment; filename=\"").unwrap();
        assert!(ours.iter().any(|ours| name.starts_with(ours)) && name.ends_with('"'), "{path}: {name}");
    }
    // Nothing of it steers a terminal that shows the log, nor begins a line in it.
    let log = logged();
    assert!(log.contains("an analysis is done"), "the log is read at all");
    assert!(!log.contains('\x1b') && !log.contains('\u{202e}'), "something steers");
    assert!(!log.lines().any(|line| line.starts_with("FORGED") || line.starts_with("<script")), "a line is forged");
}

#[test]
fn what_would_steer_a_header_or_a_line_is_refused() {
    let site = Site::with(|config| config.worker.at_once = 0);
    let me = site.session_of(&site.add("ada", Role::Administrator));
    let key = me.keep("a.pcap", &capture("ssh-greeting.pcap"));
    let page = format!("/entries/{key}");
    for text in ["a\r\nSet-Cookie: planted=yes", "a\nb", "a\u{202e}b", "a\0b", "a\x1b[31m"] {
        let got = me.post("/categories", "/categories", &[("name", text)]).is(422);
        assert!(got.headers.iter().all(|(_, value)| !value.contains("planted")));
        me.post(&page, &format!("{page}/note"), &[("note", text), ("category", "")]).is(422);
        let fields = [("pipeline", "default"), ("packets", ""), ("category", ""), ("note", text)];
        me.post(&page, &format!("{page}/confirm"), &fields).is(422);
        let fields = [("pipeline", text), ("packets", ""), ("category", ""), ("note", "")];
        me.post(&page, &format!("{page}/confirm"), &fields).is(422);
    }
    for (packets, category) in [("-1", ""), ("0", ""), ("x", ""), ("99999999999999999999", ""), ("", "99"), ("", "x")] {
        let fields = [("pipeline", "default"), ("packets", packets), ("category", category), ("note", "")];
        me.post(&page, &format!("{page}/confirm"), &fields).is(422);
    }
    assert_eq!(site.number("SELECT count(*) FROM categories"), 3);
    assert_eq!(site.rows("SELECT state, note FROM entries WHERE note <> '' OR state <> 'unconfirmed'"), [""; 0]);
    // What comes next is a place of ours.
    for next in ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nLocation: https://evil.example"] {
        let fields = form(&me.get("/").csrf(), &[("language", "en"), ("next", next)]);
        let got = me.post_raw("/language", &fields, &[]).is(303);
        assert_eq!(got.location(), "/", "{next}");
    }
    for path in ["/?done=", "/categories?done=", &format!("{page}?done=")] {
        let got = me.get(&format!("{path}%3Cscript%3Ealert(9)//evil.example")).is(200);
        // Only the choice of a language knows where one is, and it goes through the same check.
        is_harmless(path, &got);
        assert!(!got.body.contains("role=\"status\">&lt;"), "{path}");
    }
}

#[test]
fn captures_are_not_uploaded_from_the_pages_of_others() {
    let site = Site::new();
    let account = site.add("ada", Role::Analyst);
    let (me, other) = (site.session_of(&account), site.session_of(&account));
    let small = capture("ssh-greeting.pcap");
    let (mine, others) = (me.get("/").csrf(), other.get("/").csrf());
    let host = ("Host", "portal.example");
    let send = |person: &Person<'_>, csrf: &str, headers: &[(&str, &str)]| {
        person.ask(Method::Post, "/uploads", Some(MULTIPART), &multipart(csrf, &[("a.pcap", &small)]), headers)
    };
    for csrf in ["", "wrong", &others, &mine[1..], &format!("{mine} ")] {
        send(&me, csrf, &[]).is(403).says("did not come from a page");
    }
    for headers in [
        &[("Sec-Fetch-Site", "cross-site")][..],
        &[("Sec-Fetch-Site", "same-site")],
        &[host, ("Origin", "https://evil.example")],
        &[host, ("Origin", "https://portal.example.evil.example")],
    ] {
        send(&me, &mine, headers).is(403).says("did not come from a page");
    }
    // A token of the API is no session, nor is nobody.
    let program = site.program_of(&account, Scope::Write);
    send(&program, &mine, &[]).is(303);
    send(&site.stranger(), &mine, &[]).is(303);
    assert_eq!(site.number("SELECT count(*) FROM entries") + site.number("SELECT count(*) FROM captures"), 0);
    assert!(site.files("captures").is_empty() && site.files("incoming").is_empty());
    send(&me, &mine, &[("Sec-Fetch-Site", "same-origin"), host, ("Origin", "https://portal.example")]).is(303);
    assert_eq!(site.number("SELECT count(*) FROM entries"), 1);
    // What ended with the session: its token too.
    me.post("/account", "/logout", &[]).is(303);
    assert!(send(&me, &mine, &[]).is(303).location().starts_with("/login"));
    assert_eq!(site.number("SELECT count(*) FROM entries"), 1);
}

#[test]
fn no_secret_and_no_path_gets_out_on_the_way_of_a_capture() {
    let site = Site::new();
    let account = site.add("ada", Role::Administrator);
    let (me, program) = (site.session_of(&account), site.program_of(&account, Scope::Write));
    let key = me.analyse("secret-name-of-a-file.pcap", &capture("malicious-beacon-tls12.pcap"));
    let page = format!("/entries/{key}");
    let flow =
        me.get(&page).body.split_once(&format!("{page}/flows/")).unwrap().1.split('"').next().unwrap().to_owned();
    let data = site.folder.path().to_string_lossy().into_owned();
    let secret = std::fs::read_to_string(site.folder.path().join("data/secret")).unwrap();
    let (session, token) = (me.session(), program.bearer.clone().unwrap());
    let mut answers: Vec<Got> = ["", "/flows", "/delete", "/report.html", "/flows.jsonl", "/flows.csv"]
        .iter()
        .map(|path| me.get(&format!("{page}{path}")).is(200))
        .collect();
    answers.push(me.get(&format!("{page}/flows/{flow}")).is(200));
    answers.push(me.get(&format!("{page}/flows/{flow}/packets.pcap")).is(200));
    answers.push(me.get(&format!("{page}/flows/99999999")).is(404));
    answers.push(me.upload(&[("x.pcap", b"no capture")]).is(422));
    answers.extend(
        ["", "/result", "/alerts", "/flows"].map(|path| program.get(&format!("/api/v1/entries/{key}{path}")).is(200)),
    );
    answers.push(program.ask(Method::Post, "/api/v1/entries", None, b"no capture", &[]).is(422));
    for got in &answers {
        for inside in [&data, &secret, &session, &token, env!("CARGO_MANIFEST_DIR")] {
            assert!(!got.body.contains(inside.trim()), "{inside} is in {}", got.body);
        }
        assert!(got.headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("Set-Cookie")));
    }
    let log = logged();
    for inside in [&*secret, &session, &token, "secret-name-of-a-file", &me.get("/").csrf()] {
        assert!(!log.contains(inside.trim()), "{inside} is in the log");
    }
    // What a worker is given is not the portal's environment or its secret: its result holds neither.
    for (name, bytes) in site.files("results") {
        for inside in [&data, &secret, &session] {
            let inside = inside.trim().as_bytes();
            assert!(!bytes.windows(inside.len()).any(|window| window == inside), "{name}");
        }
    }
}

#[test]
fn keys_are_guessed_by_nobody() {
    let site = Site::with(|config| config.worker.at_once = 0);
    let account = site.add("ada", Role::Analyst);
    let (me, program) = (site.session_of(&account), site.program_of(&account, Scope::Write));
    let small = capture("ssh-greeting.pcap");
    let keys: Vec<String> = (0..3).map(|_| me.keep("a.pcap", &small)).collect();
    for key in &keys {
        assert!(key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
        assert_eq!(keys.iter().filter(|other| other[..8] == key[..8]).count(), 1, "{keys:?}");
    }
    // Numbers, pieces, other writings and ways out of the folder name nothing.
    let upper = keys[0].to_uppercase();
    let odd = [
        "1",
        &keys[0][..31],
        &format!("{}0", keys[0]),
        &upper,
        "%2e%2e",
        "..%2f..%2fportal.sqlite",
        "%00",
        "'%20OR%20'1'%3D'1",
        "*",
    ]
    .map(str::to_owned);
    for key in &odd {
        for path in ["", "/flows", "/report.html", "/capture", "/events", "/delete", "/flows/1/packets.pcap"] {
            let got = me.get(&format!("/entries/{key}{path}"));
            assert!(
                got.status == 404 || !keys[0].eq_ignore_ascii_case(key) && got.status == 400,
                "{key}{path}: {}",
                got.status
            );
        }
        let got = program.ask(Method::Delete, &format!("/api/v1/entries/{key}"), None, b"", &[]);
        assert!([400, 404].contains(&got.status), "{key}: {}", got.status);
    }
    for flow in ["-1", "x", "99999999999999999999999", "1%20OR%201", "1;DROP"] {
        let got = me.get(&format!("/entries/{}/flows/{flow}", keys[0]));
        assert!([404, 422].contains(&got.status), "{flow}: {}", got.status);
    }
    assert_eq!(site.number("SELECT count(*) FROM entries"), 3);
}
