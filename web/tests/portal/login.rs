//! Logging in, staying in, and being kept out.

use veilwatch_web::accounts::Role;

use crate::support::{PASSWORD, Site, form};

#[test]
fn the_first_visit_makes_the_administrator_once() {
    let site = Site::new();
    let token = site.setup_token.clone().unwrap();
    let ada = site.stranger();
    assert_eq!(ada.get("/").is(303).location(), "/login?next=%2F");
    assert_eq!(ada.get("/login").is(303).location(), "/setup");
    let page = format!("/setup?token={token}");
    ada.get(&page).is(200).says(&token);
    let fields = |token| {
        [("token", token), ("name", "Ada"), ("display_name", "Ada L."), ("password", PASSWORD), ("again", PASSWORD)]
    };
    ada.post(&page, "/setup", &fields("wrong")).is(422).says("The token is wrong");
    ada.post(&page, "/setup", &fields("")).is(422);
    assert_eq!(site.number("SELECT count(*) FROM accounts"), 0);
    assert_eq!(ada.post(&page, "/setup", &fields(&token)).is(303).location(), "/");
    ada.get("/").is(200).says("Ada L.").says("There are no entries");
    ada.get("/people").is(200);
    // Once is once.
    let eve = site.stranger();
    assert_eq!(eve.get(&page).is(303).location(), "/");
    let csrf = eve.get("/login").csrf();
    eve.post_raw("/setup", &form(&csrf, &fields(&token).map(|(k, v)| (k, if v == "Ada" { "eve" } else { v }))), &[])
        .is(422);
    assert_eq!(site.number("SELECT count(*) FROM accounts"), 1);
}

#[test]
fn a_weak_password_is_refused_with_the_reason() {
    let site = Site::new();
    let token = site.setup_token.clone().unwrap();
    let ada = site.stranger();
    for (password, again, words) in [
        ("short", "short", "12 characters"),
        ("password123456", "password123456", "first that an attacker tries"),
        ("i am ada the great", "i am ada the great", "contain your name"),
        (PASSWORD, "otter lamp river tan", "differ"),
    ] {
        let fields =
            [("token", &*token), ("name", "ada"), ("display_name", "Ada"), ("password", password), ("again", again)];
        let got = ada.post("/setup", "/setup", &fields).is(422).says(words);
        assert!(!got.body.contains(&format!("value=\"{password}\"")), "a password is never sent back");
    }
}

#[test]
fn a_wrong_password_and_an_unknown_name_get_the_same_answer() {
    let site = Site::with_ada();
    let gone = site.add("gone", Role::Viewer);
    site.portal().db.run_blocking(|c| c.execute("UPDATE accounts SET disabled = 1 WHERE id = ?1", [gone.id])).unwrap();
    let answers: Vec<String> = [("ada", "not the password"), ("bob", PASSWORD), ("gone", PASSWORD), ("b b", PASSWORD)]
        .into_iter()
        .map(|(name, password)| {
            let person = site.stranger();
            let got = person.log_in(name, password).is(422).says("Login name or password is wrong.");
            assert!(!person.cookies.borrow().contains_key("veilwatch-session"));
            got.body.replace(&got.csrf(), "").replace(&format!("value=\"{name}\""), "")
        })
        .collect();
    assert!(answers.iter().all(|answer| answer == &answers[0]), "{answers:#?}");
    site.stranger().log_in("ADA", PASSWORD).is(303);
}

#[test]
fn log_ins_are_throttled_by_account_and_by_address() {
    let site = Site::with(|config| {
        config.login.account_attempts = 2;
        config.login.address_attempts = 3;
        config.login.window_seconds = 600;
    });
    site.add("ada", Role::Administrator);
    let eve = site.stranger();
    for name in ["ada", "nobody"] {
        let mut eve = site.stranger();
        eve.address = format!("198.51.100.{}", name.len());
        eve.log_in(name, "wrong wrong wrong").is(422);
        eve.log_in(name, "wrong wrong wrong").is(422);
        // Known or not, right password or not.
        let got = eve.log_in(name, PASSWORD).is(429).says("Try again in 10 min.");
        assert_eq!(got.header("Retry-After"), Some("600"));
    }
    for n in 0..3 {
        eve.log_in(&format!("name{n}"), "x").is(422);
    }
    eve.log_in("other", "x").is(429);
    // Who logs in rightly, however often, keeps nobody out.
    site.add("bob", Role::Viewer);
    for _ in 0..5 {
        let mut office = site.stranger();
        office.address = "198.51.100.200".to_owned();
        office.log_in("bob", PASSWORD).is(303);
    }
    // Nobody can say that they come from elsewhere.
    let csrf = eve.get("/login").csrf();
    let fields = form(&csrf, &[("name", "other"), ("password", "x"), ("next", "/")]);
    eve.post_raw("/login", &fields, &[("X-Real-IP", "203.0.113.5"), ("X-Forwarded-For", "203.0.113.5")]).is(429);
    site.clock.advance(600);
    site.stranger().log_in("ada", PASSWORD).is(303);
}

#[test]
fn the_session_cookie_is_hidden_from_scripts_and_other_sites() {
    let site = Site::with_ada();
    let got = site.stranger().log_in("ada", PASSWORD).is(303);
    let cookie = |got: &crate::support::Got, name: &str| {
        got.headers
            .iter()
            .find(|(key, value)| key.eq_ignore_ascii_case("Set-Cookie") && value.starts_with(name))
            .unwrap()
            .1
            .clone()
    };
    let plain = cookie(&got, "veilwatch-session=");
    for flag in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(plain.contains(flag), "{plain}");
    }
    assert!(!plain.contains("Secure") && !plain.contains("Domain"), "{plain}");

    let site = Site::with(|config| config.proxy.tls = true);
    site.add("ada", Role::Administrator);
    let ada = site.stranger();
    let secure = cookie(&ada.log_in("ada", PASSWORD).is(303), "__Host-veilwatch-session=");
    for flag in ["HttpOnly", "SameSite=Strict", "Path=/", "Secure"] {
        assert!(secure.contains(flag), "{secure}");
    }
    assert!(!secure.contains("Domain"), "{secure}");
    ada.get("/account").is(200);
    let visit = cookie(&site.stranger().get("/login"), "__Host-veilwatch-visit=");
    assert!(visit.contains("HttpOnly") && visit.contains("Secure"), "{visit}");
}

#[test]
fn a_session_that_was_planted_is_worth_nothing() {
    let site = Site::with_ada();
    let ada = site.stranger();
    let planted = "A".repeat(43);
    ada.cookies.borrow_mut().insert("veilwatch-session".to_owned(), planted.clone());
    ada.log_in("ada", PASSWORD).is(303);
    let first = ada.session();
    assert_ne!(first, planted);
    let eve = site.stranger();
    eve.cookies.borrow_mut().insert("veilwatch-session".to_owned(), planted);
    eve.get("/account").is(303);
    // Logging in again gives another session and ends the one before.
    let csrf = ada.get("/account").csrf();
    ada.post_raw("/login", &form(&csrf, &[("name", "ada"), ("password", PASSWORD), ("next", "/")]), &[]).is(303);
    assert_ne!(ada.session(), first);
    eve.cookies.borrow_mut().insert("veilwatch-session".to_owned(), first);
    eve.get("/account").is(303);
    ada.get("/account").is(200);
}

#[test]
fn sessions_end_when_idle_and_at_the_latest_after_a_week() {
    let site = Site::new();
    let account = site.add("ada", Role::Administrator);
    let limits = site.portal().config.sessions.clone();
    let idle = site.session_of(&account);
    site.clock.advance(limits.idle_seconds - 1);
    idle.get("/account").is(200);
    site.clock.advance(limits.idle_seconds);
    idle.get("/account").is(303);

    let busy = site.session_of(&account);
    for _ in 0..limits.absolute_seconds / 3600 - 1 {
        site.clock.advance(3600);
        busy.get("/account").is(200);
    }
    site.clock.advance(3600);
    busy.get("/account").is(303);
}

#[test]
fn logging_out_ends_the_session_itself() {
    let site = Site::with_ada();
    let ada = site.stranger();
    ada.log_in("ada", PASSWORD).is(303);
    let token = ada.session();
    assert_eq!(ada.post("/account", "/logout", &[]).is(303).location(), "/login");
    assert!(!ada.cookies.borrow().contains_key("veilwatch-session"));
    let thief = site.stranger();
    thief.cookies.borrow_mut().insert("veilwatch-session".to_owned(), token);
    thief.get("/account").is(303);
}

#[test]
fn sessions_are_listed_and_ended_by_their_owner_alone() {
    let site = Site::new();
    let (ada, bob) = (site.add("ada", Role::Administrator), site.add("bob", Role::Viewer));
    let (here, there, bobs) = (site.session_of(&ada), site.session_of(&ada), site.session_of(&bob));
    let id = |n: i64| site.number(&format!("SELECT id FROM sessions ORDER BY id LIMIT 1 OFFSET {n}")).to_string();
    here.get("/account").is(200).says("This session").says("a browser").says("192.0.2.1");
    // Not somebody else's.
    bobs.post("/account", "/account/sessions/revoke", &[("id", &id(1))]).is(422);
    there.get("/account").is(200);
    let got = here.post("/account", "/account/sessions/revoke", &[("id", &id(1))]).is(303);
    here.get(got.location()).says("The session has ended.");
    there.get("/account").is(303);
    let third = site.session_of(&ada);
    here.post("/account", "/account/sessions/revoke-others", &[]).is(303);
    third.get("/account").is(303);
    here.get("/account").is(200);
    bobs.get("/account").is(200);
}

#[test]
fn a_new_password_ends_all_other_sessions_and_renews_this_one() {
    let site = Site::new();
    let ada = site.add("ada", Role::Administrator);
    let (here, there) = (site.session_of(&ada), site.session_of(&ada));
    let before = here.session();
    let fields = |current, new| [("current", current), ("password", new), ("again", new)];
    here.post("/account", "/account/password", &fields("wrong wrong wrong", "seven grey herons dive"))
        .is(422)
        .says("current password is wrong");
    here.post("/account", "/account/password", &fields(PASSWORD, "password1234")).is(422);
    here.post("/account", "/account/password", &fields(PASSWORD, "seven grey herons dive")).is(303);
    assert_ne!(here.session(), before);
    here.get("/account?done=password").is(200).says("The password is changed");
    there.get("/account").is(303);
    site.stranger().log_in("ada", PASSWORD).is(422);
    site.stranger().log_in("ada", "seven grey herons dive").is(303);
}

#[test]
fn guessing_the_current_password_is_throttled_too() {
    let site = Site::with(|config| config.login.account_attempts = 2);
    let ada = site.add("ada", Role::Administrator);
    let here = site.session_of(&ada);
    let fields = [("current", "wrong"), ("password", "x"), ("again", "x")];
    here.post("/account", "/account/password", &fields).is(422);
    here.post("/account", "/account/password", &fields).is(422);
    here.post("/account", "/account/password", &fields).is(429).says("Too many attempts");
}

#[test]
fn the_log_in_leads_back_and_never_to_another_site() {
    let site = Site::with_ada();
    let person = site.stranger();
    assert_eq!(person.get("/audit?before=7").is(303).location(), "/login?next=%2Faudit%3Fbefore%3D7");
    for (next, place) in [
        ("/audit?before=7", "/audit?before=7"),
        ("https://evil.example/", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/x\r\nSet-Cookie: a=b", "/"),
    ] {
        let person = site.stranger();
        let got = person.post("/login", "/login", &[("name", "ada"), ("password", PASSWORD), ("next", next)]).is(303);
        assert_eq!(got.location(), place, "{next}");
        // Nor does the page for somebody who is logged in, nor the choice of a language.
        let encoded: String = next.bytes().map(|byte| format!("%{byte:02X}")).collect();
        assert_eq!(person.get(&format!("/login?next={encoded}")).is(303).location(), place, "{next}");
        let got = person.post("/account", "/language", &[("language", "en"), ("next", next)]).is(303);
        assert_eq!(got.location(), place, "{next}");
    }
}
