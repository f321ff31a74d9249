//! What programs talk to: the way from a capture to an answer, and the description of it all.

use std::collections::BTreeSet;

use rocket::http::Method;
use serde_json::{Value, json};
use veilwatch_web::accounts::Role;
use veilwatch_web::accounts::tokens::Scope;

use crate::support::{Site, capture};

#[test]
fn a_program_uploads_waits_reads_and_deletes() {
    let site = Site::new();
    let program = site.program_of(&site.add("ada", Role::Analyst), Scope::Write);
    let bytes = capture("first-run.pcap");
    let pipelines = program.get("/api/v1/pipelines").is(200).json();
    assert_eq!(pipelines, json!(["default"]));
    let path = "/api/v1/entries?name=nightly.pcap&confirm=true&note=from+a+program&pipeline=default";
    let got = program.ask(Method::Post, path, Some("application/octet-stream"), &bytes, &[]).is(201);
    let entry = got.json();
    let place = format!("/api/v1/entries/{}", entry["key"].as_str().unwrap());
    assert_eq!(got.header("Location"), Some(&*place));
    assert_eq!((entry["name"].as_str(), entry["note"].as_str()), (Some("nightly.pcap"), Some("from a program")));
    assert_eq!((entry["bytes"].as_u64(), entry["verdict"].is_null()), (Some(bytes.len() as u64), true));
    let done = site.until("the analysis is over", || {
        let entry = program.get(&place).is(200).json();
        ["done", "failed"].contains(&entry["state"].as_str().unwrap()).then_some(entry)
    });
    assert_eq!((done["state"].as_str(), done["verdict"].as_str()), (Some("done"), Some("malicious")), "{done}");
    assert_eq!(done["analysed"]["malicious"], 26);

    let result = program.get(&format!("{place}/result")).is(200).json();
    assert_eq!(
        (&result["summary"]["event_type"], &result["hosts"][0]["address"]),
        (&json!("summary"), &json!("192.168.56.106"))
    );
    assert_eq!(result["hosts"][0]["malicious"], 26);
    // As many looks as may be are under way: it is said what to do.
    let account = site.number("SELECT id FROM accounts");
    let places: Vec<_> = std::iter::from_fn(|| site.portal().results.enter(account)).collect();
    let busy = program.get(&format!("{place}/result")).is(429).json();
    assert!(busy["detail"].as_str().unwrap().ends_with("ask again when it is done."), "{busy}");
    drop(places);
    let alerts = program.get(&format!("{place}/alerts")).is(200).json();
    let alerts = alerts.as_array().unwrap();
    assert_eq!(alerts.len(), 26);
    assert!(alerts.iter().all(|alert| alert["verdict"] == "malicious" && alert["reasons"][0].is_string()));
    assert!(alerts.iter().all(|alert| alert["evidence"][0].as_u64().is_some_and(|packet| packet > 0)));
    assert_eq!(program.get(&format!("{place}/alerts?offset=26")).is(200).json(), json!([]));
    let flows = program.get(&format!("{place}/flows?search=ledgerly")).is(200).json();
    assert_eq!((&flows["total"], &flows["flows"][0]["sni"]), (&json!(1), &json!("api.ledgerly.example")));
    let got = program.get(&format!("{place}/flows.jsonl")).is(200);
    assert_eq!(got.header("Content-Type"), Some("application/jsonl"));
    let lines: Vec<Value> = got.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.last().unwrap(), &result["summary"]);
    assert_eq!(lines.iter().filter(|line| line["verdict"] == "malicious").count(), 26);

    let list = program.get("/api/v1/entries?verdict=malicious&state=done&search=nightly").is(200).json();
    assert_eq!((&list["total"], &list["entries"][0]["key"]), (&json!(1), &done["key"]));
    assert_eq!(program.get("/api/v1/entries?verdict=nothing").is(200).json()["total"], 0);
    assert_eq!(program.get("/api/v1/entries?offset=1&limit=5").is(200).json()["entries"], json!([]));
    for odd in ["limit=-1", "offset=1e99", "limit=", "offset=18446744073709551616"] {
        program.get(&format!("/api/v1/entries?{odd}")).is(422).says("is no number that fits");
    }
    let changed = program.send_json(Method::Patch, &place, "{\"note\": \"looked at\"}").is(200).json();
    assert_eq!(changed["note"], "looked at");
    assert!(program.ask(Method::Delete, &place, None, b"", &[]).is(204).bytes.is_empty());
    program.get(&place).is(404);
    assert_eq!(program.get("/api/v1/entries").is(200).json()["total"], 0);
    assert!(site.files("captures").is_empty() && site.files("results").is_empty());
    // The audit log names who it was.
    for action in ["uploaded", "confirmed", "described", "deleted"] {
        let sql = format!("SELECT count(*) FROM audit WHERE actor = 'ada' AND action = '{action}'");
        assert_eq!(site.number(&sql), 1, "{action}");
    }
}

#[test]
fn everything_that_is_wrong_is_a_problem_document() {
    let site = Site::with(|config| config.worker.at_once = 0);
    let account = site.add("ada", Role::Analyst);
    let (program, reader) = (site.program_of(&account, Scope::Write), site.program_of(&account, Scope::Read));
    let small = capture("ssh-greeting.pcap");
    let upload = |path: &str| program.ask(Method::Post, path, None, &small, &[]);
    let entry = upload("/api/v1/entries").is(201).json();
    let place = format!("/api/v1/entries/{}", entry["key"].as_str().unwrap());
    let confirm = format!("{place}/confirm");
    let (json, long) = (Some("application/json"), format!("{{\"note\": \"{}\"}}", "x".repeat(501)));
    let huge = format!("{{\"note\": \"{}\"}}", "x".repeat(5 << 20));
    for (method, path, kind, body, statuses) in [
        (Method::Get, "/api/v1/nowhere", None, "", &[404][..]),
        (Method::Get, "/api/v1/entries/..%2f..%2fetc%2fpasswd", None, "", &[404]),
        (Method::Get, "/api/v1/entries?state=odd", None, "", &[422]),
        (Method::Get, "/api/v1/entries?verdict=odd", None, "", &[422]),
        (Method::Put, &place, json, "{}", &[404, 405]),
        (Method::Patch, &place, json, "{\"note\": \"a\\nb\"}", &[422]),
        (Method::Patch, &place, json, &long, &[422]),
        (Method::Patch, &place, json, &huge, &[413]),
        (Method::Patch, &place, json, "{\"note\": 7}", &[400, 422]),
        (Method::Patch, &place, json, "{\"other\": \"x\"}", &[400, 422]),
        (Method::Patch, &place, json, "{", &[400]),
        (Method::Post, &confirm, json, "{\"pipeline\": \"none\"}", &[422]),
        (Method::Post, &confirm, json, "{\"packets\": 0}", &[422]),
        (Method::Post, &confirm, json, "{\"packets\": 18446744073709551615}", &[422]),
        (Method::Post, &format!("{place}/stop"), None, "", &[422]),
        (Method::Get, &format!("{place}/result"), None, "", &[409]),
        (Method::Get, &format!("{place}/flows.jsonl"), None, "", &[409]),
    ] {
        let got = program.ask(method, path, kind, body.as_bytes(), &[]);
        let start: String = body.chars().take(40).collect();
        assert!(statuses.contains(&got.status), "{method} {path} {start}: {} {}", got.status, got.body);
        assert_eq!(got.header("Content-Type"), Some("application/problem+json"), "{method} {path}");
        let problem = got.json();
        assert_eq!((&problem["type"], &problem["status"]), (&json!("about:blank"), &json!(got.status)));
        assert!(problem["title"].is_string() && problem["detail"].as_str().is_some_and(|words| words.len() > 10));
    }
    reader.send_json(Method::Patch, &place, "{\"note\": \"x\"}").is(403).json();
    assert_eq!(program.get(&place).is(200).json(), entry, "none of it has changed anything");
    // What was uploaded stays where its confirmation is refused, and the problem says so little that nothing is lost.
    upload("/api/v1/entries?confirm=true&pipeline=none").is(422).json();
    // An upload with a name and a form's type is a file all the same.
    let path = "/api/v1/entries?name=b.pcap";
    program.ask(Method::Post, path, Some("application/x-www-form-urlencoded"), &small, &[]).is(201);
}

#[test]
fn the_description_names_every_route_and_what_it_gives() {
    let site = Site::new();
    let description = site.stranger().get("/api/v1/openapi.json").is(200).json();
    let braces = |path: &str| path.split('?').next().unwrap().replace('<', "{").replace('>', "}");
    let routes: BTreeSet<String> = site
        .client
        .rocket()
        .routes()
        .map(|route| (route.method.to_string().to_lowercase(), braces(&route.uri.to_string())))
        .filter(|(_, path)| path.starts_with("/api/") || path == "/healthz")
        .map(|(method, path)| format!("{method} {path}"))
        .collect();
    let mut described = BTreeSet::new();
    let schemas = description["components"]["schemas"].as_object().unwrap();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let what = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{what} says what it does");
            let needs_token = !["/healthz", "/api/v1/openapi.json"].contains(&path.as_str());
            assert_eq!(operation["security"].is_null(), needs_token, "{what}: the token is for all but these");
            for part in path.split('{').skip(1).map(|part| part.split('}').next().unwrap()) {
                let parameters = operation["parameters"].as_array().unwrap();
                assert!(parameters.iter().any(|one| one["name"] == part && one["in"] == "path"), "{what}: {part}");
            }
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{what}");
            for (status, response) in responses {
                let content = response["content"].as_object();
                if status == "204" {
                    continue;
                }
                let content = content.unwrap_or_else(|| panic!("{what}: {status} has no content"));
                assert!(content.values().all(|kind| kind["schema"].is_object()), "{what}: {status}");
            }
            described.insert(what);
        }
    }
    assert_eq!(described, routes);
    let token = &description["components"]["securitySchemes"]["token"];
    assert_eq!((&token["type"], &token["scheme"]), (&json!("http"), &json!("bearer")));
    assert_eq!(description["security"], json!([{ "token": [] }]));
    // Nothing points to where nothing is.
    let text = description.to_string();
    let mut links = 0;
    for link in text.split("\"$ref\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        let name = link.strip_prefix("#/components/schemas/").unwrap_or_else(|| panic!("{link}"));
        assert!(schemas.contains_key(name), "{link}");
        links += 1;
    }
    assert!(links > 10);
}

#[test]
fn answers_are_as_they_are_described() {
    let site = Site::new();
    let program = site.program_of(&site.add("ada", Role::Analyst), Scope::Write);
    let description = program.get("/api/v1/openapi.json").is(200).json();
    let path = "/api/v1/entries?confirm=true";
    let entry = program.ask(Method::Post, path, None, &capture("malicious-beacon-tls12.pcap"), &[]).is(201).json();
    let key = entry["key"].as_str().unwrap();
    assert_eq!(site.ended(key), "done");
    let fields = |schema: &str| -> BTreeSet<String> {
        let schema = &description["components"]["schemas"][schema];
        let all = schema["allOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()]);
        let names = |one: &Value| one["properties"].as_object().map(|all| all.keys().cloned().collect::<Vec<_>>());
        all.iter().filter_map(names).flatten().collect()
    };
    let keys = |value: &Value| -> BTreeSet<String> { value.as_object().unwrap().keys().cloned().collect() };
    let get = |path: &str| program.get(path).is(200).json();
    let place = format!("/api/v1/entries/{key}");
    assert_eq!(keys(&get("/api/v1/me")), fields("Me"));
    assert_eq!(keys(&get("/healthz")), fields("Health"));
    assert_eq!(keys(&get("/api/v1/entries")), fields("EntryList"));
    assert_eq!(keys(&get(&place)), fields("EntryView"));
    assert_eq!(keys(&get(&format!("{place}/result"))), fields("ResultView"));
    assert_eq!(keys(&get(&format!("{place}/result"))["hosts"][0]), fields("HostView"));
    assert_eq!(keys(&get(&format!("{place}/flows"))), fields("FlowList"));
    assert_eq!(keys(&get(&format!("{place}/flows"))["flows"][0]), fields("FlowView"));
    let alert = keys(&get(&format!("{place}/alerts"))[0]);
    assert!(alert.is_superset(&fields("AlertView")) && alert.is_superset(&fields("FlowView")), "{alert:?}");
    assert_eq!(keys(&program.get("/api/v1/nowhere").json()), fields("ProblemDocument"));
}
