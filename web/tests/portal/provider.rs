//! Signing in by a provider: a good one, and all the ways in which one, or a visitor, may not be.

use std::collections::BTreeMap;
use std::net::TcpListener;

use serde_json::{Value, json};
use veilwatch_web::accounts::Role;
use veilwatch_web::config::{Oidc, Roles, SecretText};

use crate::second_factor::{code, set_up, type_code};
use crate::stub::{Answers, Sign, Stub};
use crate::support::{Got, PASSWORD, Person, START, Site, form, logged};

fn oidc(stub: &Stub) -> Oidc {
    Oidc { issuer: stub.issuer.clone(), client_id: "veilwatch".to_owned(), answer_seconds: 1, ..Oidc::default() }
}

/// A portal with a provider.
fn site(change: impl FnOnce(&mut Oidc)) -> (Site, Stub) {
    let stub = Stub::start(START);
    let mut config = oidc(&stub);
    change(&mut config);
    let site = Site::with(|all| {
        all.oidc = Some(config);
        all.login.address_attempts = 1000;
    });
    site.add("ada", Role::Administrator);
    (site, stub)
}

/// Makes the provider's only person ada.
fn link_ada(site: &Site, stub: &Stub) {
    site.execute(&format!(
        "INSERT INTO identities (issuer, subject, account_id, linked_at) VALUES ('{}', 'subject-1', 1, 0)",
        stub.issuer
    ));
}

/// What an address carries.
type Query = BTreeMap<String, String>;

fn decode(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Where a page goes on to by itself.
#[track_caller]
fn onward(got: &Got) -> String {
    let place = got.body.split_once("http-equiv=\"refresh\" content=\"0;url=").expect("the page goes on").1;
    place.split('"').next().unwrap().replace("&amp;", "&").replace("&#x3D;", "=")
}

/// Sets out for the provider, and tells it what it was sent.
#[track_caller]
fn set_out(stub: &Stub, person: &Person<'_>, page: &str, action: &str, fields: &[(&str, &str)]) -> Query {
    let got = person.post(page, action, fields).is(200);
    let address = onward(&got);
    let query = address.strip_prefix(&format!("{}/authorize?", stub.issuer)).expect("the provider");
    let split = |pair: &str| pair.split_once('=').map(|(name, value)| (name.to_owned(), decode(value)));
    let query: Query = query.split('&').filter_map(split).collect();
    let (nonce, challenge, now) = (query["nonce"].clone(), query["code_challenge"].clone(), person.site.portal().now());
    stub.wish(|wish| (wish.nonce, wish.challenge, wish.now) = (nonce, challenge, now));
    query
}

fn log_in(stub: &Stub, person: &Person<'_>) -> Query {
    set_out(stub, person, "/login", "/login/provider", &[("next", "/audit?before=7")])
}

/// Opens a page as a browser does that comes from another site: without the cookies that are `SameSite=Strict`.
fn from_elsewhere(person: &Person<'_>, path: &str) -> Got {
    let mut all = person.cookies.borrow().clone();
    person.cookies.borrow_mut().retain(|name, _| name == "veilwatch-provider");
    all.remove("veilwatch-provider");
    let got = person.get(path);
    let set = person.cookies.borrow().clone();
    all.extend(set);
    *person.cookies.borrow_mut() = all;
    got
}

fn come_back(person: &Person<'_>, query: &Query) -> Got {
    from_elsewhere(person, &format!("/login/return?code=c0de&state={}", query["state"]))
}

fn is_in(person: &Person<'_>) -> bool {
    person.get("/account").status == 200
}

#[test]
fn somebody_with_a_link_signs_in() {
    let (site, stub) = site(|oidc| oidc.client_secret = Some(SecretText("s3cret&".to_owned())));
    link_ada(&site, &stub);
    let person = site.stranger();
    person.get("/login").is(200).says("action=\"/login/provider\"");
    let csrf = person.get("/login").csrf();
    let got = person.post_raw("/login/provider", &form(&csrf, &[("next", "/")]), &[("Host", "portal.example")]).is(200);
    let cookie = got.headers.iter().find(|(_, value)| value.starts_with("veilwatch-provider=")).unwrap().1.clone();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Path=/"), "{cookie}");
    assert!(onward(&got).contains("redirect_uri=http%3A%2F%2Fportal.example%2Flogin%2Freturn"), "{}", onward(&got));

    let query = log_in(&stub, &person);
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "veilwatch"),
        ("scope", "openid profile"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(query[name], value);
    }
    let token = person.cookies.borrow()["veilwatch-provider"].clone();
    assert!(query.values().all(|value| !value.contains(&token)), "the cookie stays here");
    let got = come_back(&person, &query).is(200).says("You are logged in");
    assert_eq!(onward(&got), "/audit?before=7");
    let cookie = got.headers.iter().find(|(_, value)| value.starts_with("veilwatch-session=")).unwrap().1.clone();
    assert!(cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(!person.cookies.borrow().contains_key("veilwatch-provider"));
    person.get("/account").is(200).says("ada shown");
    // The forms of the page that goes on are of the new session.
    person.post_raw("/language", &form(&got.csrf(), &[("language", "en"), ("next", "/")]), &[]).is(303);
    assert_eq!(site.text("SELECT action || ' ' || actor FROM audit ORDER BY id DESC LIMIT 1"), "login ada");
    // What the provider was told of the client.
    let asked = stub.wish.lock().unwrap().asked.iter().find(|(path, ..)| path == "/token").cloned().unwrap();
    assert!(asked.1.to_lowercase().contains("authorization: basic dmvpbhdhdgnoonmzy3jldcuyng=="), "{}", asked.1);
    for part in ["grant_type=authorization_code", "code=c0de", "code_verifier=", "redirect_uri="] {
        assert!(asked.2.contains(part), "{}", asked.2);
    }
    // What lets somebody in is in no log.
    for secret in ["c0de", &token, &query["state"], &query["nonce"], "s3cret"] {
        assert!(!logged().contains(secret), "{secret}");
    }
    // Discovery and keys are kept.
    let again = site.stranger();
    come_back(&again, &log_in(&stub, &again)).is(200);
    assert_eq!((stub.times("/.well-known/openid-configuration"), stub.times("/keys")), (1, 1));
    // And fetched again after a while.
    site.clock.advance(3600);
    let again = site.stranger();
    come_back(&again, &log_in(&stub, &again)).is(200);
    assert_eq!((stub.times("/.well-known/openid-configuration"), stub.times("/keys")), (2, 2));
}

#[test]
#[allow(clippy::print_stdout, reason = "CI counts these lines of the output")]
fn tokens_of_every_known_algorithm_are_believed_and_no_others() {
    let (site, stub) = site(|_| {});
    link_ada(&site, &stub);
    type Change = (&'static str, Sign, Value, Value);
    let plain = |what, sign| -> Change { (what, sign, json!({}), json!({})) };
    let claims = |what, claims| -> Change { (what, Sign::Es256, json!({}), claims) };
    let mut good = vec![
        plain("ES256", Sign::Es256),
        plain("EdDSA", Sign::EdDsa),
        claims("a token for several, made for us", json!({ "aud": ["veilwatch", "other"], "azp": "veilwatch" })),
        claims("a list of one", json!({ "aud": ["veilwatch"] })),
        claims("a clock that differs a little", json!({ "exp": START - 59, "iat": START + 59 })),
        ("no name of a key", Sign::Es256, json!({ "kid": null }), json!({})),
    ];
    if stub.has_rsa() {
        good.push(plain("RS256", Sign::Rs256));
    } else {
        println!("skipped: RS256 needs openssl");
    }
    let bad = [
        plain("no signature", Sign::Nothing),
        plain("the public key as a secret", Sign::PublicKeyAsSecret),
        plain("a foreign key", Sign::Foreign),
        plain("claims that were changed", Sign::Changed),
        ("none, with a signature", Sign::Es256, json!({ "alg": "none" }), json!({})),
        ("NONE", Sign::Nothing, json!({ "alg": "nOnE" }), json!({})),
        ("an algorithm of another key", Sign::Es256, json!({ "alg": "EdDSA" }), json!({})),
        ("the key of another algorithm", Sign::Es256, json!({ "kid": "ed" }), json!({})),
        ("ES384", Sign::Es256, json!({ "alg": "ES384" }), json!({})),
        ("a key of its own", Sign::Foreign, json!({ "kid": null, "jwk": { "kty": "EC" } }), json!({})),
        ("a key nobody knows", Sign::Es256, json!({ "kid": "unknown" }), json!({})),
        ("something critical", Sign::Es256, json!({ "crit": ["b64"], "b64": false }), json!({})),
        claims("another nonce", json!({ "nonce": "other" })),
        claims("no nonce", json!({ "nonce": null })),
        claims("an empty nonce", json!({ "nonce": "" })),
        claims("another audience", json!({ "aud": "other" })),
        claims("other audiences", json!({ "aud": ["other", "another"] })),
        claims("no audience", json!({ "aud": null })),
        claims("several, and for whom is not said", json!({ "aud": ["veilwatch", "other"] })),
        claims("made for another", json!({ "azp": "other" })),
        claims("another issuer", json!({ "iss": "https://evil.example" })),
        claims("nearly the issuer", json!({ "iss": format!("{}/", stub.issuer) })),
        claims("no issuer", json!({ "iss": null })),
        claims("expired", json!({ "exp": START - 61 })),
        claims("no end", json!({ "exp": null })),
        claims("an end that is no number", json!({ "exp": "9999999999" })),
        claims("of the future", json!({ "iat": START + 120 })),
        claims("not yet", json!({ "nbf": START + 120 })),
        claims("of nobody", json!({ "sub": "" })),
        claims("no subject", json!({ "sub": null })),
        claims("an endless subject", json!({ "sub": "x".repeat(256) })),
    ];
    for (is_good, (what, sign, head, claims)) in
        good.into_iter().map(|one| (true, one)).chain(bad.into_iter().map(|one| (false, one)))
    {
        stub.wish(|wish| {
            wish.sign = sign;
            (wish.head, wish.claims) = (head.as_object().unwrap().clone(), claims.as_object().unwrap().clone());
        });
        let person = site.stranger();
        let query = log_in(&stub, &person);
        let got = come_back(&person, &query);
        assert_eq!(got.status, if is_good { 200 } else { 502 }, "{what}: {}", got.body);
        assert_eq!(is_in(&person), is_good, "{what}");
        if !is_good {
            got.says("not as it should").lacks("subject-1");
            // It is over: the right token comes too late.
            stub.wish(|wish| {
                (wish.sign, wish.head, wish.claims) = (Sign::Es256, Default::default(), Default::default())
            });
            come_back(&person, &query).is(400);
            assert!(!is_in(&person), "{what}");
        }
    }
}

#[test]
fn the_way_back_belongs_to_the_browser_that_set_out_and_works_once() {
    let (site, stub) = site(|_| {});
    link_ada(&site, &stub);
    let (me, other) = (site.stranger(), site.stranger());
    let mine = log_in(&stub, &me);
    let of_me = stub.wish.lock().unwrap().nonce.clone();
    // A state that was made up, another's, or none: nothing is taken, and the provider is not asked.
    let others = log_in(&stub, &other);
    assert_ne!(mine["state"], others["state"]);
    for path in [
        "/login/return".to_owned(),
        "/login/return?code=c0de".to_owned(),
        "/login/return?code=c0de&state=".to_owned(),
        format!("/login/return?code=c0de&state={}", "A".repeat(43)),
        format!("/login/return?code=c0de&state={}", others["state"]),
    ] {
        let cookies = me.cookies.borrow().clone();
        me.get(&path).is(400).says("Begin again");
        assert_eq!(*me.cookies.borrow(), cookies, "{path}");
    }
    // Whoever lured somebody into coming back with their own code gets nobody in: there is no cookie.
    come_back(&site.stranger(), &mine).is(400);
    assert_eq!(stub.times("/token"), 0);
    // A code that was stolen on the way is worth nothing without the verifier, a nonce of another log-in neither.
    come_back(&me, &mine).is(502);
    assert!(!is_in(&me));
    let mine = log_in(&stub, &me);
    assert_ne!(stub.wish.lock().unwrap().nonce, of_me);
    come_back(&me, &mine).is(200);
    assert!(is_in(&me));
    // Once is once: with the cookie kept, too.
    let token = me.cookies.borrow().get("veilwatch-provider").cloned();
    assert_eq!(token, None);
    let me = site.stranger();
    let mine = log_in(&stub, &me);
    let cookies = me.cookies.borrow().clone();
    come_back(&me, &mine).is(200);
    let replay = site.stranger();
    *replay.cookies.borrow_mut() = cookies;
    come_back(&replay, &mine).is(400);
    assert!(!is_in(&replay));
    // And soon.
    let late = site.stranger();
    let query = log_in(&stub, &late);
    site.clock.advance(site.portal().config.login.pending_seconds);
    come_back(&late, &query).is(400);

    let person = site.stranger();
    let query = log_in(&stub, &person);
    from_elsewhere(&person, &format!("/login/return?error=access_denied&state={}", query["state"]))
        .is(403)
        .says("did not");
    let query = log_in(&stub, &person);
    // RFC 9207: another provider's answer.
    let path = format!("/login/return?code=c0de&state={}&iss=https%3A%2F%2Fevil.example", query["state"]);
    from_elsewhere(&person, &path).is(502);
    assert!(!is_in(&person));
    assert!(site.number("SELECT count(*) FROM audit WHERE action = 'provider-failed'") >= 3);
    // Where to go on to is a place here.
    let query = set_out(&stub, &person, "/login", "/login/provider", &[("next", "//evil.example")]);
    assert_eq!(onward(&come_back(&person, &query)), "/");
}

#[test]
fn a_provider_that_does_not_behave_is_given_up_soon() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let there = format!("http://{}/", elsewhere.local_addr().unwrap());
    let begun = std::time::Instant::now();
    let (site, stub) = site(|_| {});
    link_ada(&site, &stub);
    let bad = [
        (Answers::Huge, "not as it should"),
        (Answers::Slowly, "does not answer"),
        (Answers::Elsewhere(there.clone()), "not as it should"),
        (Answers::With(500, "{}".to_owned()), "does not answer"),
        (Answers::With(200, "<html>".to_owned()), "not as it should"),
        (Answers::With(200, "{}".to_owned()), "not as it should"),
        (Answers::With(200, "[".repeat(100_000)), "not as it should"),
    ];
    // Nothing is kept of what failed, so the order is that of the questions.
    for at in 0..3 {
        for (answers, words) in &bad {
            let person = site.stranger();
            if at < 2 {
                stub.wish(|wish| *(if at == 0 { &mut wish.discovery } else { &mut wish.keys }) = answers.clone());
                let got = person.post("/login", "/login/provider", &[("next", "/")]);
                assert_eq!(got.status, 502, "{answers:?} {at}");
                got.says(words);
                assert!(!person.cookies.borrow().contains_key("veilwatch-provider"));
            } else {
                let query = log_in(&stub, &person);
                stub.wish(|wish| wish.token = answers.clone());
                come_back(&person, &query).is(502).says(words);
            }
            assert!(!is_in(&person));
        }
        stub.wish(|wish| (wish.discovery, wish.keys, wish.token) = (Answers::Well, Answers::Well, Answers::Well));
    }
    site.stranger().log_in("ada", PASSWORD).is(303);
    assert!(elsewhere.accept().is_err(), "nobody is led elsewhere");
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    // Names that are not what was set, and places that secrets are not sent to.
    for (name, value) in [
        ("issuer", "https://evil.example"),
        ("token_endpoint", "http://evil.example/token"),
        ("jwks_uri", "file:///etc/passwd"),
        ("authorization_endpoint", "javascript:alert(1)"),
    ] {
        let (site, stub) = crate::provider::site(|_| {});
        stub.wish(|wish| drop(wish.metadata.insert(name.to_owned(), json!(value))));
        site.stranger().post("/login", "/login/provider", &[("next", "/")]).is(502).lacks("evil.example");
    }
    // One that is not there at all.
    let gone = { oidc(&Stub::start(START)) };
    let site = Site::with(|config| config.oidc = Some(gone));
    site.add("ada", Role::Administrator);
    site.stranger().post("/login", "/login/provider", &[("next", "/")]).is(502).says("does not answer");
}

#[test]
fn keys_that_change_are_looked_for_and_not_all_the_time() {
    let (site, stub) = site(|_| {});
    link_ada(&site, &stub);
    let person = site.stranger();
    come_back(&person, &log_in(&stub, &person)).is(200);
    stub.wish(|wish| wish.key_names = ["es-2", "ed-2", "rsa-2"].map(str::to_owned));
    site.clock.advance(61);
    let person = site.stranger();
    come_back(&person, &log_in(&stub, &person)).is(200);
    assert_eq!(stub.times("/keys"), 2);
    // A stranger with tokens of unknown keys does not make the portal ask and ask.
    stub.wish(|wish| wish.kid = Some("unknown".to_owned()));
    for _ in 0..3 {
        let person = site.stranger();
        come_back(&person, &log_in(&stub, &person)).is(502);
    }
    assert_eq!(stub.times("/keys"), 2);
    site.clock.advance(61);
    for _ in 0..3 {
        let person = site.stranger();
        come_back(&person, &log_in(&stub, &person)).is(502);
    }
    assert_eq!(stub.times("/keys"), 3);
}

#[test]
fn a_second_factor_follows_and_a_disabled_account_stays_out() {
    let (site, stub) = site(|_| {});
    link_ada(&site, &stub);
    let ada = site.stranger();
    ada.log_in("ada", PASSWORD).is(303);
    let (key, _) = set_up(&ada);
    let person = site.stranger();
    let got = come_back(&person, &log_in(&stub, &person)).is(200);
    assert_eq!(onward(&got), "/login/code");
    assert!(!is_in(&person));
    let now = site.portal().now();
    assert_eq!(type_code(&person, &code(&key, now)).is(303).location(), "/audit?before=7");
    assert!(is_in(&person));
    site.execute("UPDATE accounts SET disabled = 1");
    let person = site.stranger();
    come_back(&person, &log_in(&stub, &person)).is(403).says("No account here");
    // Without a link nobody is anybody, whatever they are called.
    site.execute("UPDATE accounts SET disabled = 0; DELETE FROM identities");
    stub.wish(|wish| drop(wish.claims.insert("preferred_username".to_owned(), json!("ada"))));
    let person = site.stranger();
    come_back(&person, &log_in(&stub, &person)).is(403).says("No account here");
    assert_eq!(site.number("SELECT count(*) FROM accounts"), 1);
}

#[test]
fn accounts_are_made_of_those_who_have_a_role() {
    let roles = |claim: &str| Roles {
        claim: claim.to_owned(),
        map: [("watchers", Role::Viewer), ("soc", Role::Analyst), ("chiefs", Role::Administrator)]
            .map(|(name, role)| (name.to_owned(), role))
            .into(),
    };
    let (site, stub) = site(|oidc| {
        oidc.create_accounts = true;
        oidc.roles = Some(roles("groups"));
    });
    let sign_in = |claims: Value| {
        stub.wish(|wish| wish.claims = claims.as_object().unwrap().clone());
        let person = site.stranger();
        let got = come_back(&person, &log_in(&stub, &person));
        (person, got)
    };
    for groups in [
        json!(null),
        json!([]),
        json!(["others", 7, null]),
        json!("others"),
        json!({ "soc": true }),
        json!("soc,chiefs"),
    ] {
        let (person, got) = sign_in(json!({ "groups": groups }));
        got.is(403).says("role");
        assert!(!is_in(&person));
    }
    assert_eq!(site.number("SELECT count(*) FROM accounts"), 1);
    for (subject, name, shown, groups, account) in [
        ("1", "grace", "Grace H.", json!("soc"), "grace Grace H. analyst"),
        // Somebody with the same name, and somebody called like the administrator.
        ("2", "grace", "Grace H.", json!(["watchers", "soc"]), "grace-2 Grace H. analyst"),
        ("3", "ADA", "Ada", json!(["watchers"]), "ada-2 Ada viewer"),
        ("4", "Zoë O'Neil <b>", "<b>\u{202e}Zoë\r\n", json!(["chiefs", "x"]), "zooneilb <b>Zoë administrator"),
        ("5", "艾达", "", json!("watchers"), "person person viewer"),
        ("6", "", "x", json!("watchers"), "person-2 x viewer"),
        (
            "7",
            &"n".repeat(500),
            &"s".repeat(500),
            json!("watchers"),
            &format!("{} {} viewer", "n".repeat(56), "s".repeat(80)),
        ),
    ] {
        let (person, got) =
            sign_in(json!({ "sub": subject, "preferred_username": name, "name": shown, "groups": groups }));
        got.is(200);
        let sql = "SELECT name || ' ' || display_name || ' ' || role FROM accounts ORDER BY id DESC LIMIT 1";
        assert_eq!(site.text(sql), account);
        assert!(is_in(&person));
    }
    // The second time it is the same account, whatever they are called by then; the role is as it was set here.
    let (person, got) = sign_in(json!({ "sub": "1", "preferred_username": "other", "groups": "chiefs" }));
    got.is(200);
    person.get("/account").is(200).says("Analyst").says("Grace H.");
    assert_eq!(site.number("SELECT count(*) FROM accounts"), 8);
    assert_eq!(site.number("SELECT count(*) FROM audit WHERE action = 'created-by-provider'"), 7);
    // There is no password to guess, nor one to change; a second factor is set up by whoever has just signed in.
    for password in ["", "x", PASSWORD] {
        site.stranger().log_in("grace", password).is(422);
    }
    person.get("/account").lacks("action=\"/account/password\"");
    let page = "/account/second-factor";
    person
        .post("/account", "/account/password", &[("current", ""), ("password", PASSWORD), ("again", PASSWORD)])
        .is(422);
    person.post(page, page, &[("current", "")]).is(200).says("<svg ");
    person.post(page, "/account/provider/unlink", &[("current", "")]).is(422).says("Without a password");
    site.clock.advance(site.portal().config.login.pending_seconds);
    person.post(page, page, &[("current", "")]).is(422).says("sign in again");
}

#[test]
fn without_a_password_only_what_fails_is_throttled() {
    let (site, _stub) = site(|_| {});
    let bob = site.add("bob", Role::Viewer);
    site.execute("UPDATE accounts SET password_hash = '' WHERE name = 'bob'");
    let me = site.session_of(&bob);
    let (page, most) = ("/account/second-factor", site.portal().config.login.account_attempts);
    let begin = || me.post(page, page, &[("current", "")]);
    for _ in 0..=most {
        begin().is(200).says("<svg ");
    }
    me.post("/account", "/account/provider/link", &[("current", "")]).is(200);
    // A session that is too old is believed no more, and may not ask for ever.
    site.clock.advance(site.portal().config.login.pending_seconds);
    for _ in 0..most {
        begin().is(422).says("sign in again");
    }
    begin().is(429).says("Too many attempts");
}

#[test]
fn an_invitation_is_accepted_by_the_provider() {
    let (site, stub) = site(|_| {});
    let ada = site.stranger();
    ada.log_in("ada", PASSWORD).is(303);
    let invite = || {
        let got = ada.post("/people", "/people/invitations", &[("role", "analyst")]).is(200);
        let link = got.body.split_once("href=\"/invitation?token").unwrap().1.split('"').next().unwrap();
        link.replace("&#x3D;", "").replace('=', "")
    };
    let token = invite();
    let page = format!("/invitation?token={token}");
    let (person, second) = (site.stranger(), site.stranger());
    person.get(&page).is(200).says("/invitation/provider");
    // Two set out with one invitation; whoever is back first has it.
    let later = set_out(&stub, &second, &page, "/invitation/provider", &[("token", &token)]);
    let query = set_out(&stub, &person, &page, "/invitation/provider", &[("token", &token)]);
    let got = come_back(&person, &query).is(200);
    assert_eq!(onward(&got), "/");
    person.get("/account").is(200).says("Grace H.").says("Analyst");
    stub.wish(|wish| drop(wish.claims.insert("sub".to_owned(), json!("subject-9"))));
    let (nonce, challenge) = (later["nonce"].clone(), later["code_challenge"].clone());
    stub.wish(|wish| (wish.nonce, wish.challenge) = (nonce, challenge));
    come_back(&second, &later).is(404).says("invitation");
    second.post("/login", "/invitation/provider", &[("token", &token)]).is(404);
    second.post("/login", "/invitation/provider", &[("token", "")]).is(404);
    stub.wish(|wish| wish.claims.clear());
    // Whoever has an account needs no second one; the invitation stays.
    let token = invite();
    let page = format!("/invitation?token={token}");
    let query = set_out(&stub, &second, &page, "/invitation/provider", &[("token", &token)]);
    come_back(&second, &query).is(403).says("belongs to");
    assert_eq!(site.number("SELECT count(*) FROM invitations"), 1);
    // One that is withdrawn on the way.
    let query = set_out(&stub, &second, &page, "/invitation/provider", &[("token", &token)]);
    site.execute("DELETE FROM invitations");
    stub.wish(|wish| drop(wish.claims.insert("sub".to_owned(), json!("subject-9"))));
    come_back(&second, &query).is(404);
    assert_eq!(site.number("SELECT count(*) FROM accounts"), 2);
    // Signing in is possible from now on.
    stub.wish(|wish| wish.claims.clear());
    let person = site.stranger();
    come_back(&person, &log_in(&stub, &person)).is(200);
}

#[test]
fn an_account_is_linked_with_its_password_and_unlinked() {
    let (site, stub) = site(|_| {});
    let (ada, bob) = (site.stranger(), site.session_of(&site.add("bob", Role::Viewer)));
    ada.log_in("ada", PASSWORD).is(303);
    let link = "/account/provider/link";
    ada.get("/account").is(200).says(link);
    ada.post("/account", link, &[("current", "wrong")]).is(422).says("current password is wrong");
    let query = set_out(&stub, &ada, "/account", link, &[("current", PASSWORD)]);
    let before = ada.session();
    let got = come_back(&ada, &query).is(200);
    assert_eq!(onward(&got), "/account?done=linked");
    assert_eq!(ada.session(), before);
    ada.get("/account?done=linked").is(200).says("is linked").says("/account/provider/unlink");
    assert_eq!(site.text("SELECT action || ' ' || actor FROM audit ORDER BY id DESC LIMIT 1"), "linked ada");
    // One there is one here.
    let query = set_out(&stub, &bob, "/account", link, &[("current", PASSWORD)]);
    come_back(&bob, &query).is(403).says("belongs to");
    stub.wish(|wish| drop(wish.claims.insert("sub".to_owned(), json!("subject-2"))));
    let query = set_out(&stub, &ada, "/account", link, &[("current", PASSWORD)]);
    come_back(&ada, &query).is(403);
    // A session that ended on the way links nothing.
    let query = set_out(&stub, &bob, "/account", link, &[("current", PASSWORD)]);
    bob.post("/account", "/logout", &[]).is(303);
    come_back(&bob, &query).is(400);
    assert_eq!(site.number("SELECT count(*) FROM identities"), 1);
    ada.post("/account", "/account/provider/unlink", &[("current", "wrong")]).is(422);
    ada.post("/account", "/account/provider/unlink", &[("current", PASSWORD)]).is(303);
    assert_eq!(site.number("SELECT count(*) FROM identities"), 0);
    ada.post("/account", "/account/provider/unlink", &[("current", PASSWORD)]).is(422);
}

#[test]
fn setting_out_is_throttled_and_without_a_provider_there_is_no_way() {
    let stub = Stub::start(START);
    let config = oidc(&stub);
    let site = Site::with(|all| (all.oidc, all.login.address_attempts) = (Some(config), 2));
    site.add("ada", Role::Administrator);
    let person = site.stranger();
    log_in(&stub, &person);
    log_in(&stub, &person);
    assert!(person.post("/login", "/login/provider", &[("next", "/")]).is(429).header("Retry-After").is_some());
    let site = Site::with_ada();
    site.stranger().get("/login").is(200).lacks("/login/provider");
    site.stranger().post("/login", "/login/provider", &[("next", "/")]).is(404);
}
