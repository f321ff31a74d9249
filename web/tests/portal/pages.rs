//! How pages look and speak.

use veilwatch_web::accounts::Role;

use crate::support::{PASSWORD, Site, form, without_our_script};

#[test]
fn every_page_speaks_both_languages() {
    let site = Site::new();
    let fresh = site.stranger();
    for (language, tag, words) in
        [("en", "en", "Make the first account"), ("zh-CN,zh;q=0.9", "zh-Hans", "创建第一个账户")]
    {
        let got = fresh.get_with("/setup", &[("Accept-Language", language)]).is(200).says(words);
        assert!(got.body.contains(&format!("<html lang=\"{tag}\">")));
        assert_eq!(got.header("Content-Language"), Some(tag));
    }
    let ada = site.session_of(&site.add("ada", Role::Administrator));
    // One of each, so that every part of the pages is there.
    ada.post("/people", "/people/invitations", &[("role", "viewer")]).is(200);
    ada.post("/account", "/account/tokens", &[("label", "x"), ("scope", "read"), ("days", "1")]).is(200);
    let stranger = site.stranger();
    for (path, english, chinese) in
        [("/login", "<h1>Log in</h1>", "<h1>登录</h1>"), ("/invitation?token=x", "has ended", "已失效")]
    {
        stranger.get_with(path, &[("Accept-Language", "en")]).says(english);
        stranger.get_with(path, &[("Accept-Language", "zh")]).says(chinese);
    }
    for (path, english, chinese) in [
        ("/", "There are no entries", "还没有任何记录"),
        ("/account", "Change the password", "修改密码"),
        ("/people", "Invited by", "邀请人"),
        ("/audit", "Who did what", "谁做了什么"),
        ("/nowhere", "There is nothing at this address", "此地址没有任何内容"),
    ] {
        ada.get_with(path, &[("Accept-Language", "en")]).says(english);
        ada.get_with(path, &[("Accept-Language", "zh")]).says(chinese);
    }
}

#[test]
fn a_chosen_language_beats_the_browsers() {
    let site = Site::with_ada();
    let chinese = [("Accept-Language", "zh")];
    let ada = site.stranger();
    ada.get_with("/login", &chinese).says("登录");
    // Before the log-in the browser remembers, after it the account does.
    ada.post("/login", "/language", &[("language", "en"), ("next", "/login")]).is(303);
    ada.get_with("/login", &chinese).says("<h1>Log in</h1>");
    ada.log_in("ada", PASSWORD).is(303);
    assert_eq!(
        ada.post("/account", "/language", &[("language", "zh"), ("next", "/account")]).is(303).location(),
        "/account"
    );
    let elsewhere = site.stranger();
    elsewhere.log_in("ada", PASSWORD).is(303);
    elsewhere.get_with("/account", &[("Accept-Language", "en")]).says("修改密码");
    ada.post("/account", "/language", &[("language", "xx"), ("next", "/")]).is(422);
}

#[test]
fn errors_say_what_is_wrong_and_what_to_do() {
    let site = Site::new();
    let ada = site.session_of(&site.add("ada", Role::Administrator));
    let csrf = ada.get("/account").csrf();
    ada.get("/nowhere").is(404).says("Check the address").says("Status 404");
    let large = form(&csrf, &[("label", &"x".repeat(20_000)), ("scope", "read"), ("days", "1")]);
    ada.post_raw("/account/tokens", &large, &[]).is(413).says("larger than the portal takes");
    ada.post_raw("/account/tokens", &form(&csrf, &[("label", "x")]), &[]).is(422).says("lacks a field");
    site.portal().db.run_blocking(|c| c.execute_batch("DROP TABLE api_tokens")).unwrap();
    let got = ada.get("/account").is(500).says("The portal made a mistake");
    assert!(!got.body.contains("api_tokens") && !got.body.contains("SQL"), "{}", got.body);
    // Even without sessions to look up there is an answer, and nothing of the inside in it.
    site.portal().db.run_blocking(|c| c.execute_batch("PRAGMA foreign_keys = OFF; DROP TABLE sessions")).unwrap();
    let got = ada.get("/account").is(500);
    assert!(!got.body.contains("sessions"), "{}", got.body);
    assert_eq!(ada.get("/healthz").status, 200);
    site.portal().db.run_blocking(|c| c.execute_batch("DROP TABLE accounts")).unwrap();
    ada.get("/healthz").is(503);
}

#[test]
fn pages_load_nothing_from_elsewhere_and_run_nothing_inline() {
    let site = Site::new();
    let ada = site.session_of(&site.add("ada", Role::Administrator));
    let stranger = site.stranger();
    let pages = [
        "/",
        "/account",
        "/people",
        "/audit",
        "/categories",
        "/triage",
        "/marks",
        "/nowhere",
        "/framework",
        "/pipelines",
        "/pipelines/new",
    ];
    let pages = pages.into_iter().chain(["/tables", "/plugins", "/system"]).map(|path| ada.get(path));
    for page in pages.chain([stranger.get("/login"), stranger.get("/invitation")]) {
        let policy = page.header("Content-Security-Policy").unwrap();
        assert!(policy.contains("connect-src 'self'") && policy.contains("script-src 'self'"), "{policy}");
        let body = without_our_script(&page.body);
        for word in ["<script", "<style", " style=", " onclick", " onload", "http://", "https://", "javascript:"] {
            assert!(!body.contains(word), "{word} in {body}");
        }
        assert_eq!(body.matches("<h1>").count(), 1);
        assert!(body.starts_with("<!doctype html>"));
        // Every field that is seen has a label of its own.
        for field in body.split("<input ").skip(1).map(|rest| rest.split('>').next().unwrap()) {
            if !field.contains("type=\"hidden\"") && !field.contains("aria-label=\"") {
                let id = field.split_once("id=\"").expect("an id").1.split('"').next().unwrap();
                assert!(body.contains(&format!("<label for=\"{id}\">")), "{field} has no label");
            }
        }
    }
}

#[test]
fn every_pair_of_colours_can_be_read() {
    let sheet = include_str!("../../static/style.css");
    let roots: Vec<&str> = sheet.split(":root {").skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
    assert_eq!(roots.len(), 2, "light and dark");
    let channel = |text: &str| {
        let value = f64::from(u8::from_str_radix(text, 16).unwrap()) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    for root in roots {
        let light = |name: &str| {
            let colour = root.split_once(&format!("--{name}: #")).unwrap().1;
            0.2126 * channel(&colour[..2]) + 0.7152 * channel(&colour[2..4]) + 0.0722 * channel(&colour[4..6])
        };
        let contrast = |one: &str, other: &str| {
            let (one, other) = (light(one), light(other));
            (one.max(other) + 0.05) / (one.min(other) + 0.05)
        };
        for ground in ["ground", "raised"] {
            for text in ["text", "dim", "accent"] {
                assert!(contrast(text, ground) >= 4.5, "{text} on {ground}: {}", contrast(text, ground));
            }
            // Edges of fields and the mark of the focus need less.
            for line in ["edge", "focus"] {
                assert!(contrast(line, ground) >= 3.0, "{line} on {ground}: {}", contrast(line, ground));
            }
        }
        for (text, ground) in [("on-accent", "accent"), ("on-good", "good"), ("on-bad", "bad"), ("on-odd", "odd")] {
            assert!(contrast(text, ground) >= 4.5, "{text} on {ground}");
        }
    }
}
