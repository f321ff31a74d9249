//! Who may do what: one table of every route and every kind of visitor, and what holds for all of them.

use std::collections::BTreeSet;

use rocket::http::Method;
use veilwatch_web::accounts::{Account, Role};

use crate::support::{Person, Site, form};

/// One route, how to ask for it, and what anonymous, viewer, analyst and administrator get.
struct Row {
    method: Method,
    route: &'static str,
    path: &'static str,
    fields: &'static [(&'static str, &'static str)],
    statuses: [u16; 4],
}

const fn get(route: &'static str, path: &'static str, statuses: [u16; 4]) -> Row {
    Row { method: Method::Get, route, path, fields: &[], statuses }
}

const fn post(
    route: &'static str,
    path: &'static str,
    fields: &'static [(&'static str, &'static str)],
    statuses: [u16; 4],
) -> Row {
    Row { method: Method::Post, route, path, fields, statuses }
}

const ALL: [u16; 4] = [200; 4];
/// Whoever is not logged in is sent to the log-in.
const VIEWER: [u16; 4] = [303, 200, 200, 200];
const ADMINISTRATOR: [u16; 4] = [303, 403, 403, 200];
const PERSON: &[(&str, &str)] =
    &[("token", "wrong"), ("name", "x"), ("display_name", "x"), ("password", "x"), ("again", "x")];

const TABLE: &[Row] = &[
    get("/style.css", "/style.css", ALL),
    get("/favicon.svg", "/favicon.svg", ALL),
    get("/healthz", "/healthz", ALL),
    get("/setup?<token>", "/setup", [303; 4]),
    post("/setup", "/setup", PERSON, [422; 4]),
    get("/login?<next>", "/login", [200, 303, 303, 303]),
    post("/login", "/login", &[("name", "nobody"), ("password", "x"), ("next", "/")], [422; 4]),
    post("/logout", "/logout", &[], [303; 4]),
    get("/invitation?<token>", "/invitation?token=wrong", [404; 4]),
    post("/invitation", "/invitation", PERSON, [404; 4]),
    get("/", "/", VIEWER),
    post("/language", "/language", &[("language", "en"), ("next", "/")], [303; 4]),
    get("/account?<done>", "/account", VIEWER),
    // A viewer gets as far as the answer that the current password is wrong, or that there is no such thing of theirs.
    post(
        "/account/password",
        "/account/password",
        &[("current", "x"), ("password", "x"), ("again", "x")],
        [303, 422, 422, 422],
    ),
    post("/account/sessions/revoke", "/account/sessions/revoke", &[("id", "999999")], [303, 422, 422, 422]),
    post("/account/sessions/revoke-others", "/account/sessions/revoke-others", &[], [303; 4]),
    post("/account/tokens", "/account/tokens", &[("label", "x"), ("scope", "read"), ("days", "1")], VIEWER),
    post("/account/tokens/revoke", "/account/tokens/revoke", &[("id", "999999")], [303, 422, 422, 422]),
    get("/people?<done>", "/people", ADMINISTRATOR),
    post("/people/invitations", "/people/invitations", &[("role", "viewer")], ADMINISTRATOR),
    post("/people/invitations/<id>/withdraw", "/people/invitations/999999/withdraw", &[], [303, 403, 403, 422]),
    post("/people/<id>/role", "/people/999999/role", &[("role", "viewer")], [303, 403, 403, 422]),
    post("/people/<id>/disable", "/people/999999/disable", &[], [303, 403, 403, 422]),
    post("/people/<id>/enable", "/people/999999/enable", &[], [303, 403, 403, 422]),
    get("/audit?<before>", "/audit", ADMINISTRATOR),
    get("/audit/export", "/audit/export", ADMINISTRATOR),
    get("/api/v1/me", "/api/v1/me", [401, 200, 200, 200]),
];

/// Accounts of each kind; the first one is nobody.
fn kinds(site: &Site) -> [Option<Account>; 4] {
    let administrator = site.add("ada", Role::Administrator);
    [None, Some(site.add("vera", Role::Viewer)), Some(site.add("anna", Role::Analyst)), Some(administrator)]
}

/// A person of a kind with a fresh session, and an API token where it is for the API.
fn person<'s>(site: &'s Site, kind: Option<&Account>, row: &Row) -> Person<'s> {
    let mut person = kind.map_or_else(|| site.stranger(), |account| site.session_of(account));
    if row.path.starts_with("/api/") {
        person.bearer = kind.map(|account| site.api_token_of(account));
    }
    person
}

/// The form token of this person, from a page that everybody sees.
fn csrf(person: &Person<'_>) -> String {
    person.get("/nowhere").csrf()
}

#[test]
fn every_route_lets_in_whom_it_should() {
    let site = Site::with(|config| {
        config.login.account_attempts = 1000;
        config.limits.api_tokens = 1000;
    });
    let kinds = kinds(&site);
    for row in TABLE {
        for (kind, status) in kinds.iter().zip(row.statuses) {
            let person = person(&site, kind.as_ref(), row);
            let got = match row.method {
                Method::Get => person.get(row.path),
                _ => person.post_raw(row.path, &form(&csrf(&person), row.fields), &[]),
            };
            let who = kind.as_ref().map_or("anonymous", |account| account.role.name());
            assert_eq!(got.status, status, "{who}: {} {}: {}", row.method, row.path, got.body);
            let is_guarded = row.statuses[0] == 303 && !["/setup?<token>", "/language"].contains(&row.route);
            if kind.is_none() && is_guarded {
                assert!(got.location().starts_with("/login"), "{} leads to {}", row.path, got.location());
            }
        }
    }
}

#[test]
fn the_table_has_every_route_and_no_other() {
    let site = Site::new();
    let routes: BTreeSet<String> =
        site.client.rocket().routes().map(|route| format!("{} {}", route.method, route.uri)).collect();
    let table: BTreeSet<String> = TABLE.iter().map(|row| format!("{} {}", row.method, row.route)).collect();
    assert_eq!(routes, table);
    assert_eq!(TABLE.len(), table.len());
}

#[test]
fn every_change_needs_the_form_token_of_this_visitor_and_a_page_of_ours() {
    let site = Site::with(|config| config.login.account_attempts = 1000);
    let kinds = kinds(&site);
    let administrator = kinds[3].as_ref().unwrap();
    let before = site.number("SELECT count(*) FROM audit");
    let mut sessions = 0;
    for row in TABLE.iter().filter(|row| row.method == Method::Post) {
        let (me, other) = (site.session_of(administrator), site.session_of(administrator));
        sessions += 2;
        let (mine, others) = (csrf(&me), csrf(&other));
        let ask = |token: &str, headers: &[(&str, &str)]| me.post_raw(row.path, &form(token, row.fields), headers);
        let unsigned = form("", row.fields).replace("csrf=", "x=");
        assert_eq!(me.post_raw(row.path, &unsigned, &[]).status, 403, "{}: no token", row.path);
        assert_eq!(ask("", &[]).status, 403, "{}: an empty token", row.path);
        assert_eq!(ask("wrong", &[]).status, 403, "{}: a wrong token", row.path);
        assert_eq!(ask(&others, &[]).status, 403, "{}: another session's token", row.path);
        for site in ["cross-site", "same-site", "none"] {
            assert_eq!(ask(&mine, &[("Sec-Fetch-Site", site)]).status, 403, "{}: {site}", row.path);
        }
        let host = ("Host", "portal.example");
        for origin in ["https://evil.example", "http://portal.example.evil.example", "portal.example", ""] {
            assert_eq!(ask(&mine, &[host, ("Origin", origin)]).status, 403, "{}: {origin:?}", row.path);
        }
        me.post_raw(row.path, &form("wrong", row.fields), &[]).is(403).says("did not come from a page");
    }
    // None of it has changed or begun anything.
    assert_eq!(site.number("SELECT count(*) FROM audit"), before + sessions);
    let me = site.session_of(administrator);
    let good = form(&csrf(&me), &[("role", "viewer")]);
    for headers in [
        &[("Sec-Fetch-Site", "same-origin"), ("Origin", "null")][..],
        &[("Host", "portal.example"), ("Origin", "http://portal.example")],
        &[("Host", "portal.example:8000"), ("Origin", "https://portal.example:8000")],
    ] {
        me.post_raw("/people/invitations", &good, headers).is(200);
    }
}

#[test]
fn every_answer_has_the_security_headers() {
    let site = Site::with_ada();
    let stranger = site.stranger();
    let paths =
        TABLE.iter().map(|row| row.path).chain(["/nowhere", "/api/nowhere", "/api/v1/nowhere", "/people/x/role"]);
    for path in paths {
        for got in [stranger.get(path), stranger.post_raw(path, "x=y", &[])] {
            let header = |name| got.header(name).unwrap_or_else(|| panic!("{path} lacks {name}"));
            let policy = header("Content-Security-Policy");
            for part in [
                "default-src 'none'",
                "style-src 'self'",
                "img-src 'self'",
                "script-src 'self'",
                "form-action 'self'",
                "frame-ancestors 'none'",
                "base-uri 'none'",
            ] {
                assert!(policy.contains(part), "{path}: {policy}");
            }
            assert!(!policy.contains("unsafe") && !policy.contains('*'), "{path}: {policy}");
            assert_eq!(header("X-Content-Type-Options"), "nosniff");
            assert_eq!(header("Referrer-Policy"), "no-referrer");
            assert!(header("Permissions-Policy").contains("camera=()"));
            let is_asset = ["/style.css", "/favicon.svg"].contains(&path) && got.status == 200;
            assert_eq!(header("Cache-Control"), if is_asset { "no-cache" } else { "no-store" }, "{path}");
            assert!(got.header("Server").is_none(), "{path}");
            assert!(got.header("Strict-Transport-Security").is_none(), "{path}");
        }
    }
    let secure = Site::with(|config| config.proxy.tls = true);
    assert!(secure.stranger().get("/healthz").header("Strict-Transport-Security").is_some());
}

#[test]
fn the_api_answers_in_problem_documents_and_to_tokens_alone() {
    let site = Site::new();
    let ada = site.add("ada", Role::Administrator);
    // A session is no key to the API.
    let mut me = site.session_of(&ada);
    let got = me.get("/api/v1/me").is(401);
    assert_eq!(got.header("Content-Type"), Some("application/problem+json"));
    assert_eq!(got.header("WWW-Authenticate"), Some("Bearer"));
    let problem: serde_json::Value = serde_json::from_str(&got.body).unwrap();
    assert_eq!((problem["status"].as_u64(), problem["title"].as_str()), (Some(401), Some("Unauthorized")));
    me.get("/api/v1/nowhere").is(404).says("\"status\":404");
    me.bearer = Some("vwp_wrong".to_owned());
    me.get("/api/v1/me").is(401);
    me.bearer = Some(site.api_token_of(&ada));
    let got = me.get("/api/v1/me").is(200);
    let answer: serde_json::Value = serde_json::from_str(&got.body).unwrap();
    assert_eq!((answer["name"].as_str(), answer["role"].as_str()), (Some("ada"), Some("administrator")));
    assert_eq!(answer["scope"].as_str(), Some("read"));
    // And a token is no key to the pages.
    let mut program = site.stranger();
    program.bearer = me.bearer.clone();
    program.get("/account").is(303);
    site.clock.advance(24 * 3600);
    me.get("/api/v1/me").is(401);
}
