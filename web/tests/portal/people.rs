//! Invitations, roles, API tokens and the audit log.

use veilwatch_web::accounts::Role;

use crate::support::{PASSWORD, Person, Site, form, logged, without_our_script};

/// Invites somebody and gives the link.
fn invite(administrator: &Person<'_>, role: &str) -> String {
    let got = administrator.post("/people", "/people/invitations", &[("role", role)]).is(200);
    let (_, rest) = got.body.split_once("href=\"/invitation?token").expect("a link");
    format!("/invitation?token{}", rest.split('"').next().unwrap()).replace("&#x3D;", "=")
}

fn join(person: &Person<'_>, link: &str, name: &str, display_name: &str) -> crate::support::Got {
    let token = link.split_once('=').unwrap().1;
    let fields =
        [("token", token), ("name", name), ("display_name", display_name), ("password", PASSWORD), ("again", PASSWORD)];
    let csrf = person.get("/login").csrf();
    person.post_raw("/invitation", &form(&csrf, &fields), &[])
}

#[test]
fn an_invitation_works_once_and_for_a_while() {
    let site = Site::new();
    let ada = site.session_of(&site.add("ada", Role::Administrator));
    let link = invite(&ada, "analyst");
    let bob = site.stranger();
    bob.get(&link).is(200).says("Your invitation");
    join(&bob, &link, "ada", "Not Ada").is(422).says("Somebody has that login name");
    join(&bob, &link, "bob", "Bob").is(303);
    bob.get("/account").is(200).says("Analyst");
    bob.get("/people").is(403).says("Ask an administrator");
    let eve = site.stranger();
    eve.get(&link).is(404).says("has been used or has ended");
    join(&eve, &link, "eve", "Eve").is(404);

    let late = invite(&ada, "viewer");
    site.clock.advance(site.portal().config.invitations.hours * 3600);
    site.stranger().get(&late).is(404);
    let ada = site.stranger();
    ada.log_in("ada", PASSWORD).is(303);
    let withdrawn = invite(&ada, "viewer");
    let id = site.number("SELECT max(id) FROM invitations");
    ada.post("/people", &format!("/people/invitations/{id}/withdraw"), &[]).is(303);
    site.stranger().get(&withdrawn).is(404);
    assert_eq!(site.number("SELECT count(*) FROM accounts"), 2);
}

#[test]
fn a_change_of_role_counts_at_once_and_ends_sessions() {
    let site = Site::new();
    let ada = site.session_of(&site.add("ada", Role::Administrator));
    let account = site.add("bob", Role::Administrator);
    let bob = site.session_of(&account);
    let link = invite(&bob, "administrator");
    ada.post("/people", &format!("/people/{}/role", account.id), &[("role", "viewer")]).is(303);
    bob.get("/people").is(303);
    site.session_of(&account).get("/people").is(403);
    // What he gave away with the rights of before has ended too.
    site.stranger().get(&link).is(404);
    ada.post("/people", &format!("/people/{}/role", account.id), &[("role", "root")]).is(422);
}

#[test]
fn a_disabled_account_is_out_with_its_sessions_and_tokens() {
    let site = Site::new();
    let ada = site.session_of(&site.add("ada", Role::Administrator));
    let account = site.add("bob", Role::Analyst);
    let mut bob = site.session_of(&account);
    bob.bearer = Some(site.api_token_of(&account));
    bob.get("/api/v1/me").is(200);
    let got = ada.post("/people", &format!("/people/{}/disable", account.id), &[]).is(303);
    ada.get(got.location()).says("The account is disabled.");
    bob.get("/account").is(303);
    bob.get("/api/v1/me").is(401);
    site.stranger().log_in("bob", PASSWORD).is(422);
    ada.post("/people", &format!("/people/{}/enable", account.id), &[]).is(303);
    site.stranger().log_in("bob", PASSWORD).is(303);
    bob.get("/api/v1/me").is(401);
}

#[test]
fn the_last_administrator_stays() {
    let site = Site::new();
    let account = site.add("ada", Role::Administrator);
    let ada = site.session_of(&account);
    let role = format!("/people/{}/role", account.id);
    ada.post("/people", &role, &[("role", "viewer")]).is(422).says("last administrator");
    ada.post("/people", &format!("/people/{}/disable", account.id), &[]).is(422);
    ada.get("/people").is(200);
    site.add("bob", Role::Administrator);
    ada.post("/people", &role, &[("role", "viewer")]).is(303);
    ada.get("/people").is(303);
}

#[test]
fn api_tokens_are_shown_once_and_ended_by_their_owner_alone() {
    let site = Site::new();
    let ada = site.session_of(&site.add("ada", Role::Administrator));
    let bob = site.session_of(&site.add("bob", Role::Viewer));
    let got =
        ada.post("/account", "/account/tokens", &[("label", "nightly"), ("scope", "write"), ("days", "2")]).is(200);
    let token = got.body.split_once("<code>vwp_").unwrap().1.split('<').next().unwrap().to_owned();
    let page = ada.get("/account").is(200).says("nightly");
    assert!(!page.body.contains(&token));
    let mut program = site.stranger();
    program.bearer = Some(format!("vwp_{token}"));
    program.get("/api/v1/me").is(200).says("\"scope\":\"write\"");
    let id = site.number("SELECT id FROM api_tokens").to_string();
    bob.post("/account", "/account/tokens/revoke", &[("id", &id)]).is(422);
    program.get("/api/v1/me").is(200);
    ada.post("/account", "/account/tokens/revoke", &[("id", &id)]).is(303);
    program.get("/api/v1/me").is(401);
    for (label, scope, days) in
        [("", "read", "1"), ("x", "all", "1"), ("x", "read", "0"), ("x", "read", "366"), ("x", "read", "many")]
    {
        ada.post("/account", "/account/tokens", &[("label", label), ("scope", scope), ("days", days)]).is(422);
    }
}

#[test]
fn the_audit_log_says_who_did_what_and_is_exported() {
    let site = Site::with_ada();
    let ada = site.stranger();
    ada.log_in("ada", "not the password").is(422);
    ada.log_in("my secret password", "oops").is(422);
    ada.log_in("ada", PASSWORD).is(303);
    invite(&ada, "viewer");
    ada.get("/audit").is(200).says("failed to log in").says("logged in").says("invited").says("192.0.2.1");
    let got = ada.get("/audit/export").is(200);
    assert_eq!(got.header("Content-Disposition"), Some("attachment; filename=\"veilwatch-audit.jsonl\""));
    let lines: Vec<serde_json::Value> = got.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let actions: Vec<&str> = lines.iter().map(|line| line["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["setup", "login-failed", "login-failed", "login", "invited", "audit-exported"]);
    assert_eq!(lines[1]["subject"].as_str(), Some("ada"));
    // What is not a name here may be a password in the wrong field.
    assert!(lines[2]["subject"].is_null());
    assert!(!got.body.contains("secret password"));
}

#[test]
fn a_long_audit_log_has_pages_and_is_exported_whole() {
    let site = Site::new();
    let ada = site.session_of(&site.add("ada", Role::Administrator));
    site.portal()
        .db
        .run_blocking(|c| {
            c.execute_batch(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
                 INSERT INTO audit (at, action, subject) SELECT i, 'login', 'line ' || i FROM n",
            )
        })
        .unwrap();
    let first = ada.get("/audit").is(200).says("line 1200<");
    assert!(!first.body.contains("line 1000<"));
    let older = first.body.split_once("/audit?before=").unwrap().1.split('"').next().unwrap().to_owned();
    ada.get(&format!("/audit?before={older}")).is(200).says("line 1099<");
    let export = ada.get("/audit/export").is(200);
    assert_eq!(i64::try_from(export.body.lines().count()).unwrap(), site.number("SELECT count(*) FROM audit"));
}

#[test]
fn script_in_names_and_programs_stays_text() {
    let site = Site::new();
    let ada = site.session_of(&site.add("ada", Role::Administrator));
    let eve = site.stranger();
    let script = "<script>alert('1')</script>\"'><img src=x onerror=y>";
    join(&eve, &invite(&ada, "viewer"), "eve", script).is(303);
    let csrf = eve.get("/account").csrf();
    let log_in = form(&csrf, &[("name", "eve"), ("password", PASSWORD), ("next", "/")]);
    eve.post_raw("/login", &log_in, &[("User-Agent", script)]).is(303);
    eve.post("/account", "/account/tokens", &[("label", script), ("scope", "read"), ("days", "1")]).is(200);
    let failed = site.stranger().log_in(script, "x");
    let pages = [ada.get("/people"), ada.get("/audit"), eve.get("/"), eve.get("/account"), eve.get("/nowhere"), failed];
    for page in pages {
        assert!(!without_our_script(&page.body).contains("<script") && !page.body.contains("<img"), "{}", page.body);
        assert!(page.body.contains("&lt;script&gt;"), "{}", page.body);
    }
}

#[test]
fn no_secret_is_logged_or_kept_as_it_is() {
    let site = Site::new();
    let setup = site.setup_token.clone().unwrap();
    let (password, wrong) = ("nine odd kettles hum 77", "eight odd kettles hum 88");
    let ada = site.stranger();
    let page = format!("/setup?token={setup}");
    let fields =
        [("token", &*setup), ("name", "ada"), ("display_name", "A"), ("password", password), ("again", password)];
    ada.post(&page, "/setup", &fields).is(303);
    let first = ada.session();
    ada.post("/account", "/logout", &[]).is(303);
    ada.log_in("ada", wrong).is(422);
    ada.log_in("ada", password).is(303);
    let link = invite(&ada, "viewer");
    site.stranger().get(&link).is(200);
    let got = ada.post("/account", "/account/tokens", &[("label", "x"), ("scope", "read"), ("days", "1")]).is(200);
    let api = got.body.split_once("<code>vwp_").unwrap().1.split('<').next().unwrap().to_owned();
    let mut program = site.stranger();
    program.bearer = Some(format!("vwp_{api}"));
    program.get("/api/v1/me").is(200);
    program.get(&format!("/nowhere?token={setup}")).is(404);

    let log = logged();
    assert!(log.contains("answered"), "the log is read at all");
    let key = std::fs::read_to_string(site.folder.path().join("data/secret")).unwrap();
    let invitation = link.split_once('=').unwrap().1;
    let mut kept = Vec::new();
    for name in ["portal.sqlite", "portal.sqlite-wal"] {
        kept.extend(std::fs::read(site.folder.path().join("data").join(name)).unwrap_or_default());
    }
    assert!(kept.windows(3).any(|bytes| bytes == b"ada"), "the database is read at all");
    for secret in [&*setup, password, wrong, &first, &ada.session(), invitation, &api, &key, &got.csrf()] {
        assert!(!log.contains(secret), "{secret} is in the log");
        assert!(!kept.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()), "{secret} is in the database");
    }
}
