//! The second factor: set up, asked for, lost, taken away.

use std::sync::Arc;

use rocket::http::{ContentType, Cookie, Status};
use rocket::local::asynchronous::Client;
use totp_rs::{Builder, Secret};
use veilwatch_web::accounts::pending::{self, Begun, Kind};
use veilwatch_web::accounts::people::{self, NewAccount};
use veilwatch_web::accounts::tokens::Scope;
use veilwatch_web::accounts::{Account, Actor, Refused, Role, second_factor};
use veilwatch_web::clock::ManualClock;
use veilwatch_web::config::{Config, SecondFactor};
use veilwatch_web::portal::Portal;

use crate::support::{Got, PASSWORD, Person, START, Site, form};

const PAGE: &str = "/account/second-factor";

/// The code of a secret at a time.
pub(crate) fn code(key: &[u8], at: i64) -> String {
    Builder::new().with_secret(key).build().unwrap().generate(at.try_into().unwrap()).to_string()
}

/// The code now.
fn code_now(site: &Site, key: &[u8]) -> String {
    code(key, site.portal().now())
}

/// The secret on the page.
fn key_of(got: &Got) -> Vec<u8> {
    let text = got.body.split_once("<code id=\"key\">").unwrap().1.split('<').next().unwrap().replace(' ', "");
    Secret::try_from_base32(text).unwrap().as_bytes().to_vec()
}

/// The recovery codes on the page.
fn codes_of(got: &Got) -> Vec<String> {
    got.body.split("<li><code>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
}

/// Begins, and gives the page with the secret.
fn offered(person: &Person<'_>) -> Got {
    person.post(PAGE, PAGE, &[("current", PASSWORD)]).is(200)
}

fn confirm(person: &Person<'_>, offer: &Got, code: &str) -> Got {
    let sealed = offer.body.split_once("name=\"sealed\" value=\"").unwrap().1.split('"').next().unwrap();
    person.post_raw(&format!("{PAGE}/confirm"), &form(&offer.csrf(), &[("sealed", sealed), ("code", code)]), &[])
}

/// Sets a second factor up. Its first code is used up, so the clock goes on.
pub(crate) fn set_up(person: &Person<'_>) -> (Vec<u8>, Vec<String>) {
    let offer = offered(person);
    let key = key_of(&offer);
    let done = confirm(person, &offer, &code_now(person.site, &key)).is(200);
    person.site.clock.advance(60);
    (key, codes_of(&done))
}

/// Logs in as far as the code.
pub(crate) fn half(site: &Site) -> Person<'_> {
    let person = site.stranger();
    assert_eq!(person.log_in("ada", PASSWORD).is(303).location(), "/login/code");
    person
}

pub(crate) fn type_code(person: &Person<'_>, code: &str) -> Got {
    let csrf = person.get("/nowhere").csrf();
    person.post_raw("/login/code", &form(&csrf, &[("code", code)]), &[])
}

fn last_action(site: &Site) -> String {
    site.text("SELECT action || ' ' || coalesce(actor, '-') FROM audit ORDER BY id DESC LIMIT 1")
}

#[test]
fn it_is_set_up_asked_for_and_switched_off() {
    let site = Site::new();
    let ada = site.add("ada", Role::Administrator);
    let (here, there) = (site.session_of(&ada), site.session_of(&ada));
    here.get("/account").is(200).says("Not set up");
    here.post(PAGE, PAGE, &[("current", "wrong wrong wrong")]).is(422).says("current password is wrong");
    let offer = offered(&here).says("<svg ").lacks("<?xml");
    let key = key_of(&offer);
    assert_eq!(key.len(), 20);
    // Nothing is kept until a device has shown that it has it.
    assert_eq!(site.number("SELECT count(*) FROM second_factors"), 0);
    let wrong = confirm(&here, &offer, "000000").is(422).says("wrong, too old");
    assert_eq!(key_of(&wrong), key);
    let before = here.session();
    let first = code_now(&site, &key);
    let done = confirm(&here, &offer, &first).is(200);
    let codes = codes_of(&done);
    assert_eq!((codes.len(), codes[0].len()), (10, 11));
    assert_eq!(
        site.text("SELECT group_concat(action) FROM (SELECT action FROM audit WHERE action LIKE 'factor%')"),
        "factor-set"
    );
    // All sessions have ended; this browser has another, and the forms of this page are of it.
    assert_ne!(here.session(), before);
    there.get("/account").is(303);
    here.post_raw("/language", &form(&done.csrf(), &[("language", "en"), ("next", "/")]), &[]).is(303);
    here.get("/account").is(200).says("Set up since");
    here.get(PAGE).is(200).lacks(&codes[0]).says("Recovery codes left: 10");
    // Neither secret nor codes are kept as they are.
    let kept = site.rows("SELECT sealed FROM second_factors").concat()
        + &site.rows("SELECT hash FROM recovery_codes").concat();
    assert!(!kept.contains(&format!("{key:?}").replace(['[', ']'], "")), "{kept}");
    assert!(!kept.contains(&codes[0]));

    // The password alone lets nobody in.
    let person = site.stranger();
    let fields = [("name", "ada"), ("password", PASSWORD), ("next", "/audit?before=7")];
    assert_eq!(person.post("/login", "/login", &fields).is(303).location(), "/login/code");
    assert!(!person.cookies.borrow().contains_key("veilwatch-session"));
    person.get("/account").is(303);
    person.get("/login/code").is(200).says("Enter the code");
    // The first code is used up.
    type_code(&person, &first).is(422).says("used before");
    assert_eq!(last_action(&site), "code-failed -");
    site.clock.advance(60);
    let code = code_now(&site, &key);
    assert_eq!(type_code(&person, &format!(" {} {}", &code[..3], &code[3..])).is(303).location(), "/audit?before=7");
    assert_eq!(last_action(&site), "login ada");
    person.get("/account").is(200);
    assert!(!person.cookies.borrow().contains_key("veilwatch-code"));
    assert_eq!(person.get("/login/code").is(303).location(), "/login");
    // One code once, in its own step too.
    let again = half(&site);
    type_code(&again, &code).is(422);
    // A window of one step: the one before is good until it is used or overtaken, the one before that is not.
    site.clock.advance(90);
    let now = site.portal().now();
    type_code(&again, &crate::second_factor::code(&key, now - 60)).is(422);
    type_code(&again, &crate::second_factor::code(&key, now + 60)).is(422);
    type_code(&again, &crate::second_factor::code(&key, now + 30)).is(303);
    // Older ones than the last are used up with it.
    type_code(&half(&site), &crate::second_factor::code(&key, now)).is(422);

    site.clock.advance(120);
    let off = format!("{PAGE}/off");
    let fields = |password, code| [("current", password), ("code", code)];
    let code = code_now(&site, &key);
    person.post(PAGE, &off, &fields("wrong", &code)).is(422).says("current password is wrong");
    person.post(PAGE, &off, &fields(PASSWORD, "123456")).is(422);
    person.post(PAGE, &off, &fields(PASSWORD, &code)).is(200).says("is switched off");
    assert_eq!(last_action(&site), "factor-off ada");
    assert_eq!(site.number("SELECT count(*) FROM recovery_codes"), 0);
    assert_eq!(site.stranger().log_in("ada", PASSWORD).is(303).location(), "/");
}

#[test]
fn a_secret_is_confirmed_by_the_session_that_it_was_made_for_and_soon() {
    let site = Site::new();
    let (ada, bob) = (site.add("ada", Role::Administrator), site.add("bob", Role::Viewer));
    let (here, there, bobs) = (site.session_of(&ada), site.session_of(&ada), site.session_of(&bob));
    let offer = offered(&here);
    let key = key_of(&offer);
    let sealed = offer.body.split_once("name=\"sealed\" value=\"").unwrap().1.split('"').next().unwrap();
    let longer = format!("{}{}", i64::MAX, &sealed[sealed.find('.').unwrap()..]);
    for (person, sealed) in
        [(&bobs, sealed), (&there, sealed), (&here, &longer), (&here, ""), (&here, "1.x"), (&here, "x")]
    {
        let csrf = person.get(PAGE).csrf();
        let fields = [("sealed", sealed), ("code", &*code_now(&site, &key))];
        person.post_raw(&format!("{PAGE}/confirm"), &form(&csrf, &fields), &[]).is(422).says("Begin again");
    }
    site.clock.advance(site.portal().config.login.pending_seconds);
    confirm(&here, &offer, &code_now(&site, &key)).is(422).says("Begin again");
    // One that is there is not replaced.
    let (first, second) = (offered(&here), offered(&here));
    confirm(&here, &first, &code_now(&site, &key_of(&first))).is(200);
    let csrf = here.get(PAGE).csrf();
    let second_key = key_of(&second);
    let sealed = second.body.split_once("name=\"sealed\" value=\"").unwrap().1.split('"').next().unwrap();
    let fields = [("sealed", sealed), ("code", &*code_now(&site, &second_key))];
    here.post_raw(&format!("{PAGE}/confirm"), &form(&csrf, &fields), &[]).is(422);
    here.post(PAGE, PAGE, &[("current", PASSWORD)]).is(422).says("There is a second factor already");
}

#[test]
fn what_waits_for_a_code_lets_nobody_in_and_ends() {
    let site = Site::new();
    let ada = site.add("ada", Role::Administrator);
    let here = site.session_of(&ada);
    let (key, _) = set_up(&here);
    let waits = half(&site);
    let token = waits.cookies.borrow()["veilwatch-code"].clone();
    // It is no session, and no API token; nor is a session or somebody's invention one of these.
    for name in ["veilwatch-session", "veilwatch-visit"] {
        let thief = site.stranger();
        thief.cookies.borrow_mut().insert(name.to_owned(), token.clone());
        thief.get("/account").is(303);
    }
    for token in [here.session(), "A".repeat(43), "A".repeat(5000), String::new()] {
        let thief = site.stranger();
        thief.cookies.borrow_mut().insert("veilwatch-code".to_owned(), token);
        assert_eq!(thief.get("/login/code").is(303).location(), "/login");
        assert_eq!(type_code(&thief, &code_now(&site, &key)).is(303).location(), "/login");
    }
    let flags = half(&site).log_in("ada", PASSWORD);
    let cookie = flags.headers.iter().find(|(_, value)| value.starts_with("veilwatch-code=")).unwrap().1.clone();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");

    let ends = |what: &str, work: &dyn Fn()| {
        let waits = half(&site);
        waits.get("/login/code").is(200);
        work();
        assert_eq!(waits.get("/login/code").is(303).location(), "/login", "{what}");
        assert_eq!(type_code(&waits, &code_now(&site, &key)).is(303).location(), "/login", "{what}");
    };
    ends("time", &|| site.clock.advance(site.portal().config.login.pending_seconds));
    ends("another password", &|| {
        site.execute("UPDATE accounts SET password_hash = password_hash WHERE name = 'ada'");
    });
    ends("another role", &|| site.execute("UPDATE accounts SET role = 'administrator' WHERE name = 'ada'"));
    ends("a disabled account", &|| site.execute("UPDATE accounts SET disabled = 1 WHERE name = 'ada'"));
    site.execute("UPDATE accounts SET disabled = 0");
    // Of too many the oldest end.
    let site = Site::with(|config| config.login.pending = 2);
    set_up(&site.session_of(&site.add("ada", Role::Administrator)));
    let all = [half(&site), half(&site), half(&site)];
    assert_eq!(all.map(|one| one.get("/login/code").status), [303, 200, 200]);
}

#[test]
fn guessing_codes_is_throttled_whoever_knows_the_password() {
    let site = Site::with(|config| config.login.account_attempts = 3);
    let ada = site.add("ada", Role::Administrator);
    let (key, codes) = set_up(&site.session_of(&ada));
    for n in 0..3 {
        // Logging in anew with the password counts nothing back.
        type_code(&half(&site), &format!("00000{n}")).is(422);
    }
    let got = type_code(&half(&site), &code_now(&site, &key)).is(429).says("Too many attempts");
    assert!(got.header("Retry-After").is_some());
    type_code(&half(&site), &codes[0]).is(429);
    // Elsewhere, too.
    let here = site.session_of(&ada);
    here.post(PAGE, &format!("{PAGE}/off"), &[("current", PASSWORD), ("code", &code_now(&site, &key))]).is(429);
    site.clock.advance(site.portal().config.login.window_seconds);
    type_code(&half(&site), &code_now(&site, &key)).is(303);
    // And by address.
    let site = Site::with(|config| config.login.address_attempts = 1);
    set_up(&site.session_of(&site.add("ada", Role::Administrator)));
    let person = site.stranger();
    site.clock.advance(site.portal().config.login.window_seconds);
    person.log_in("ada", PASSWORD).is(303);
    type_code(&person, "000000").is(422);
    type_code(&person, "000000").is(429);
}

#[test]
fn recovery_codes_work_once_each() {
    let site = Site::new();
    let ada = site.add("ada", Role::Administrator);
    let here = site.session_of(&ada);
    let (key, codes) = set_up(&here);
    let person = half(&site);
    // As people type it; where the count of the rest is said.
    let typed = codes[0].to_lowercase().replace('-', " ");
    assert_eq!(type_code(&person, &typed).is(303).location(), PAGE);
    person.get(PAGE).is(200).says("Recovery codes left: 9");
    assert_eq!(site.number("SELECT count(*) FROM audit WHERE action = 'recovery-used' AND actor = 'ada'"), 1);
    type_code(&half(&site), &codes[0]).is(422);
    type_code(&half(&site), "ABCDE-FGHJK").is(422);
    for code in &codes[1..7] {
        type_code(&half(&site), code).is(303);
    }
    person.get(PAGE).says("Few recovery codes are left: 3");
    // Somebody else's are worth nothing.
    let bob = site.add("bob", Role::Viewer);
    let (_, bobs) = set_up(&site.session_of(&bob));
    type_code(&half(&site), &bobs[0]).is(422);
    // Anew: those from before have ended.
    let renew = format!("{PAGE}/codes");
    person.post(PAGE, &renew, &[("current", "wrong")]).is(422);
    let anew = codes_of(&person.post(PAGE, &renew, &[("current", PASSWORD)]).is(200));
    assert_eq!((anew.len(), last_action(&site)), (10, "recovery-made ada".to_owned()));
    type_code(&half(&site), &codes[9]).is(422);
    type_code(&half(&site), &anew[9]).is(303);
    // And one switches off, too, for a lost device.
    person.post(PAGE, &format!("{PAGE}/off"), &[("current", PASSWORD), ("code", &anew[0])]).is(200);
    assert_eq!(site.number("SELECT count(*) FROM recovery_codes WHERE account_id = 1"), 0);
    assert_eq!(key.len(), 20);
}

#[test]
fn an_administrator_takes_a_lost_one_away_and_the_owner_is_told() {
    let site = Site::new();
    let (ada, bob) = (site.add("ada", Role::Administrator), site.add("bob", Role::Analyst));
    let (adas, bobs) = (site.session_of(&ada), site.session_of(&bob));
    let take = |id: i64| adas.post("/people", &format!("/people/{id}/second-factor/take"), &[]);
    take(bob.id).is(422);
    set_up(&bobs);
    adas.get("/people").is(200).says("Take the second factor of bob away");
    let waits = site.stranger();
    assert_eq!(waits.log_in("bob", PASSWORD).location(), "/login/code");
    let got = take(bob.id).is(303);
    adas.get(got.location()).says("The second factor is taken away");
    assert_eq!(site.text("SELECT action || ' ' || subject FROM audit ORDER BY id DESC LIMIT 1"), "factor-taken bob");
    bobs.get("/account").is(303);
    assert_eq!(waits.get("/login/code").is(303).location(), "/login");
    // He is told wherever he wanted to go, until he has seen it.
    for _ in 0..2 {
        let person = site.stranger();
        assert_eq!(person.log_in("bob", PASSWORD).is(303).location(), "/account");
        person.get("/account").is(200).says("An administrator took the second factor off your account");
    }
    let person = site.stranger();
    person.log_in("bob", PASSWORD).is(303);
    person.post("/account", &format!("{PAGE}/seen"), &[]).is(303);
    person.get("/account").lacks("An administrator took");
    assert_eq!(site.stranger().log_in("bob", PASSWORD).is(303).location(), "/");
    // One's own is not taken away by whoever sits there.
    set_up(&adas);
    take(ada.id).is(422).says("switched off on the page Account");
}

#[test]
fn whoever_must_have_one_is_led_to_it_before_anything_else() {
    for (policy, administrator, viewer) in [
        (SecondFactor::Optional, false, false),
        (SecondFactor::Administrators, true, false),
        (SecondFactor::Everybody, true, true),
    ] {
        let site = Site::with(|config| config.login.second_factor = policy);
        for (account, must) in
            [(site.add("ada", Role::Administrator), administrator), (site.add("bob", Role::Viewer), viewer)]
        {
            let me = site.session_of(&account);
            for path in ["/", "/account", "/people", "/entries/x"] {
                let got = me.get(path);
                assert_eq!(got.location() == PAGE, must, "{policy:?} {} {path}", account.name);
            }
            if !must {
                continue;
            }
            me.post(PAGE, "/account/tokens", &[("label", "x"), ("scope", "read"), ("days", "1")]).is(303);
            assert_eq!(site.number("SELECT count(*) FROM api_tokens WHERE label = 'x'"), 0);
            let json = me.get_with("/", &[("Accept", "application/json")]).is(401);
            assert_eq!(json.header("Content-Type"), Some("application/json"));
            // A token that is there is no way around it.
            let program = site.program_of(&account, Scope::Read);
            program.get("/api/v1/me").is(403).says("lacks the second factor");
            me.get(PAGE).is(200).says("must have a second factor");
            me.post(PAGE, "/language", &[("language", "en"), ("next", PAGE)]).is(303);
            set_up(&me);
            me.get("/account").is(200);
            program.get("/api/v1/me").is(200);
            let other = site.session_of(&account);
            assert_eq!(other.post(PAGE, "/logout", &[]).is(303).location(), "/login");
        }
    }
}

/// Two requests at once, each with cookies and a code of its own; how many of them got in.
async fn two_at_once(client: &Client, tokens: [&str; 2], codes: [&str; 2]) -> usize {
    let portal: &Portal = client.rocket().state().unwrap();
    let visit = "v".repeat(43);
    let body = |code: &str| form(&portal.secret.form_token(&visit), &[("code", code)]);
    let request = |at: usize| {
        let request = client.post("/login/code").header(ContentType::Form).body(body(codes[at]));
        let request = request.cookie(Cookie::new("veilwatch-visit", visit.clone()));
        request.cookie(Cookie::new("veilwatch-code", tokens[at].to_owned())).remote("192.0.2.1:4000".parse().unwrap())
    };
    let (one, other) = rocket::tokio::join!(request(0).dispatch(), request(1).dispatch());
    let got_in = |answer: &rocket::local::asynchronous::LocalResponse<'_>| {
        let session = answer.headers().get("Set-Cookie").any(|cookie| cookie.starts_with("veilwatch-session="));
        assert!(!session || answer.status() == Status::SeeOther);
        usize::from(session)
    };
    got_in(&one) + got_in(&other)
}

#[rocket::async_test]
async fn of_two_at_once_one_gets_in() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { data: folder.path().join("data"), ..Config::default() };
    (config.login.account_attempts, config.login.address_attempts) = (1000, 1000);
    let clock = Arc::new(ManualClock::at(START));
    let program = env!("CARGO_BIN_EXE_veilwatch-web").into();
    let (rocket, _) = veilwatch_web::build(config, clock.clone(), program).unwrap();
    let client = Client::untracked(rocket).await.unwrap();
    let portal: &Portal = client.rocket().state().unwrap();
    let actor = Actor { name: None, address: "test".to_owned() };
    let password_hash = portal.hasher.hash(PASSWORD).await.unwrap();
    let new = NewAccount { name: "ada".to_owned(), display_name: "Ada".to_owned(), password_hash };
    let key = second_factor::new_key().unwrap();
    let (account, recovery) = portal
        .db
        .run_blocking(|c| -> Result<(Account, Vec<String>), Refused> {
            let id = people::create_first(c, &new, &actor, START)?;
            let account = people::by_id(c, id)?;
            let codes = second_factor::set_up(c, &portal.secret, &account, &key, &code(&key, START), &actor, START)?;
            Ok((account, codes))
        })
        .unwrap();
    let waits = || {
        let begun = Begun { account: Some(account.id), next: "/".to_owned(), ..Begun::default() };
        let begin = |c: &mut rusqlite::Connection| {
            pending::begin(c, &portal.secret, Kind::Code, &begun, (100, i64::MAX), START)
        };
        portal.db.run_blocking(begin).unwrap()
    };
    for (round, recovery) in recovery.iter().enumerate() {
        clock.advance(60);
        let now = portal.now();
        // One code, two log-ins.
        let one = code(&key, now);
        assert_eq!(two_at_once(&client, [&waits(), &waits()], [&one, &one]).await, 1, "{round}");
        // One recovery code, two log-ins.
        assert_eq!(two_at_once(&client, [&waits(), &waits()], [recovery, recovery]).await, 1, "{round}");
        // One log-in, two codes that are both good.
        clock.advance(60);
        let now = portal.now();
        let (token, first, second) = (waits(), code(&key, now), code(&key, now + 30));
        assert_eq!(two_at_once(&client, [&token, &token], [&first, &second]).await, 1, "{round}");
        clock.advance(60);
    }
    portal.runner.end();
    portal.readers.end();
}
