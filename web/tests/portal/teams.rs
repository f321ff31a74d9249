//! Teams: shared, seen, worked with, taken back; quotas; accounts that go.

use std::io::Read;

use rocket::http::{ContentType, Method};
use veilwatch_web::accounts::tokens::Scope;
use veilwatch_web::accounts::{Account, Role};

use crate::support::{Site, capture, team};

/// Four people; two of them in a team.
struct People {
    administrator: Account,
    owner: Account,
    mate: Account,
    stranger: Account,
    team: String,
}

fn people(site: &Site, standing: &str) -> People {
    let administrator = site.add("ada", Role::Administrator);
    let [owner, mate, stranger] = ["olga", "wanda", "sven"].map(|name| site.add(name, Role::Analyst));
    let team = team(site, &administrator, "Blue", &[(&owner, "reads"), (&mate, standing)]);
    People { administrator, owner, mate, stranger, team }
}

#[test]
fn an_entry_is_shared_at_its_confirmation_and_taken_back() {
    let site = Site::new();
    let People { administrator, owner, mate, stranger, team } = people(&site, "works");
    let [me, her, admin] = [&owner, &mate, &administrator].map(|account| site.session_of(account));
    let key = me.keep("first.pcap", &capture("first-run.pcap"));
    let page = format!("/entries/{key}");
    her.get(&page).is(404);
    me.get(&page).is(200).says("Share with").says("Blue");
    let fields = [("pipeline", "default"), ("packets", ""), ("category", ""), ("note", ""), ("team", team.as_str())];
    me.post(&page, &format!("{page}/confirm"), &fields).is(303);
    assert_eq!(site.ended(&key), "done");

    // She finds it among hers, with whose it is; and what she asks for is what she gets.
    her.get("/").is(200).says("first.pcap").says("olga shown").says("<span class=\"tag\">Blue</span>");
    her.get(&format!("/?whose={team}")).says("first.pcap");
    her.get("/?whose=mine").lacks("first.pcap");
    me.get("/?whose=mine").says("first.pcap");
    her.get(&page).is(200).says("Uploaded by olga shown.").says("Shared with the team Blue.").lacks("/delete\"");
    her.whole(&format!("{page}/packets?at=3"), &[]).is(200);
    her.get(&format!("{page}/report.html")).is(200).says("olga shown");
    her.get(&format!("{page}/capture")).is(200);
    her.get(&format!("{page}/delete")).is(403).says("Not allowed");
    her.post(&page, &format!("{page}/note"), &[("note", "hers"), ("category", "")]).is(303);
    // Whoever saves an older page changes what they changed, and no more; the same words are nobody's loss.
    let save = |note: &str, seen: &str, category: &str| {
        let fields = [("note", note), ("category", category), ("seen_note", seen), ("seen_category", "")];
        her.post(&page, &format!("{page}/note"), &fields)
    };
    save("", "", "2").is(303);
    assert_eq!(site.text("SELECT note || category_id FROM entries ORDER BY id LIMIT 1"), "hers2");
    save("mine", "", "2").is(422).says("Somebody else has changed that since you opened the page");
    save("hers", "", "").is(303);
    assert_eq!(site.text("SELECT note || category_id FROM entries ORDER BY id LIMIT 1"), "hers2");
    her.post(&page, &format!("{page}/note"), &[("note", "hers"), ("category", "")]).is(303);
    // Another analysis is the owner's, too, and shared as the first.
    let again = her.post(&page, &format!("{page}/again"), &[]).is(303).location().to_owned();
    her.get(&again).is(200).says("Uploaded by olga shown.").lacks("name=\"team\"").says("Open the earlier entry");
    assert_eq!(site.number(&format!("SELECT count(*) FROM entries WHERE account_id = {}", owner.id)), 2);
    assert_eq!(site.number(&format!("SELECT count(*) FROM entries WHERE account_id = {}", mate.id)), 0);
    // Whoever is in no team finds nothing, and administrators are no others.
    for who in [&admin, &site.session_of(&stranger)] {
        who.get(&page).is(404);
        who.get("/").is(200).lacks("first.pcap").lacks("Blue");
    }
    me.post(&page, &format!("{page}/take-back"), &[]).is(303);
    her.get(&page).is(404);
    her.get(&format!("{page}/packets?at=3")).is(404);
    her.get("/").lacks("first.pcap\"");
    me.get(&page).is(200).lacks("Shared with the team");
    let log = admin.get("/audit").is(200);
    log.says("shared an entry with a team").says("took an entry out of its team");
}

#[test]
fn a_lead_deletes_and_takes_out_and_a_viewer_reads() {
    let site = Site::new();
    let People { administrator, owner, mate, team, .. } = people(&site, "leads");
    let vera = site.add("vera", Role::Viewer);
    let admin = site.session_of(&administrator);
    let id = vera.id.to_string();
    let of_team = format!("/teams/{team}");
    admin.post(&of_team, &format!("{of_team}/members"), &[("account", &id), ("standing", "leads")]).is(303);
    let [me, her, viewer] = [&owner, &mate, &vera].map(|account| site.session_of(account));
    site.portal().runner.end();
    let keys = ["one.pcap", "two.pcap"].map(|name| {
        let page = format!("/entries/{}", me.keep(name, &capture("ssh-greeting.pcap")));
        me.post("/", &format!("{page}/share"), &[("team", &team)]).is(303);
        page
    });
    let [one, two] = &keys;
    viewer.get(one).is(200).lacks("/confirm\"").lacks("/delete\"");
    viewer.post("/", &format!("{one}/note"), &[("note", "x"), ("category", "")]).is(403);
    site.program_of(&vera, Scope::Write)
        .send_json(Method::Patch, &format!("/api/v1{one}"), "{\"note\": \"x\"}")
        .is(403);
    her.get(&format!("{one}/delete")).is(200).says("shared with the team Blue");
    her.post("/", &format!("{one}/delete"), &[]).is(303);
    me.get(one).is(404);
    her.post("/", &format!("{two}/keep"), &[("reason", "hers")]).is(403);
    // Whoever takes out what is another's sees it no more.
    assert_eq!(her.post("/", &format!("{two}/take-back"), &[]).is(303).location(), "/?done=taken-back");
    her.get(two).is(404);
    me.get(two).is(200);
    // A program of the owner's shares and takes back as well.
    let (mine, hers) = (site.program_of(&owner, Scope::Write), site.program_of(&mate, Scope::Write));
    let teams = hers.get("/api/v1/teams").is(200).json();
    assert_eq!(teams, serde_json::json!([{ "id": team.parse::<i64>().unwrap(), "name": "Blue", "standing": "leads" }]));
    let share = format!("{{\"team\": {team}}}");
    let shared = mine.send_json(Method::Patch, &format!("/api/v1{two}"), &share).is(200).json();
    assert_eq!(
        (&shared["team"], &shared["may"], &shared["owner"]),
        (&"Blue".into(), &"own".into(), &"olga shown".into())
    );
    let list = |whose: &str| hers.get(&format!("/api/v1/entries?whose={whose}")).is(200).json()["total"].clone();
    assert_eq!([list(""), list("mine"), list(&team)], [1, 0, 1]);
    hers.get("/api/v1/entries?whose=theirs").is(422);
    hers.send_json(Method::Patch, &format!("/api/v1{two}"), &share).is(403);
    let taken = hers.send_json(Method::Patch, &format!("/api/v1{two}"), "{\"team\": 0}").is(200).json();
    assert_eq!((&taken["team"], list("")), (&serde_json::Value::Null, 0.into()));
}

/// Reads a stream of events to its end.
fn rest(response: &mut impl Read) -> String {
    let mut text = String::new();
    response.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn leaving_a_team_ends_what_is_open() {
    let site = Site::new();
    let People { administrator, owner, mate, team, .. } = people(&site, "works");
    let me = site.session_of(&owner);
    site.portal().runner.end();
    let key = me.keep("one.pcap", &capture("ssh-greeting.pcap"));
    me.confirm(&key);
    let page = format!("/entries/{key}");
    me.post("/", &format!("{page}/share"), &[("team", &team)]).is(303);
    let admin = site.session_of(&administrator);
    let member = format!("/teams/{team}/members");
    let id = mate.id.to_string();
    type End<'a> = (&'a str, &'a [(&'a str, &'a str)], String);
    let ends: [End<'_>; 3] = [
        ("leaves", &[], format!("{member}/{}/remove", mate.id)),
        ("the team is retired", &[], format!("/teams/{team}/retire")),
        ("is shut out", &[], format!("/people/{}/disable", mate.id)),
    ];
    for (how, fields, action) in ends {
        admin.post("/teams", &member, &[("account", &id), ("standing", "works")]).is(303);
        admin.post("/teams", &format!("/teams/{team}/restore"), &[]).is(303);
        let her = site.session_of(&mate);
        her.get(&page).is(200);
        let cookie = rocket::http::Cookie::new(site.portal().session_cookie(), her.session());
        let mut open = site.client.get(format!("{page}/events")).cookie(cookie).dispatch();
        assert_eq!(open.content_type(), Some(ContentType::EventStream), "{how}");
        let mut byte = [0];
        assert_eq!(open.read(&mut byte).unwrap(), 1, "{how}: it has begun");
        admin.post("/teams", &action, fields).is(303);
        let rest = rest(&mut open);
        assert!(rest.contains("event:end"), "{how}: {rest}");
        assert_ne!(her.status(&page), 200, "{how}");
    }
    assert_eq!(site.state(&key), "queued", "the analysis goes on");
}

#[test]
fn quotas_are_of_accounts_and_teams_and_say_what_to_do() {
    let site = Site::new();
    let People { administrator, owner, mate, team, .. } = people(&site, "works");
    site.portal().runner.end();
    let [admin, me] = [&administrator, &owner].map(|account| site.session_of(account));
    let (small, large) = (capture("ssh-greeting.pcap"), capture("first-run.pcap"));
    assert!(small.len() + large.len() < 1_000_000, "one MB is enough for both");
    me.get("/account").is(200).says("of 21.5 GB").says("Blue");
    let quota = format!("/people/{}/quota", owner.id);
    for bad in ["0", "-1", "x", "99999999999999999999"] {
        admin.post("/people", &quota, &[("quota", bad)]).is(422).says("whole number of MB");
    }
    admin.post("/people", &quota, &[("quota", "1")]).is(303);
    admin.get("/people").is(200).says("0 B of 1 MB");
    let key = me.keep("small.pcap", &small);
    site.execute(&format!("UPDATE entries SET result_bytes = 1000000 - {} WHERE key = '{key}'", small.len()));
    me.get("/account").is(200).says("1 MB of 1 MB");
    let refused = me.upload(&[("large.pcap", &large)]).is(422);
    refused.says("you keep 1 MB of 1 MB").says("Delete entries that you do not need");
    // Others keep to theirs, and back at the one of everybody there is room.
    site.session_of(&mate).keep("large.pcap", &large);
    admin.post("/people", &quota, &[("quota", "")]).is(303);
    let second = me.keep("large.pcap", &large);

    // What is shared with a team counts there, too.
    let limits = [("quota", "1"), ("captures", "3"), ("entries", ""), ("unconfirmed", "")];
    let page = format!("/teams/{team}");
    admin
        .post(
            &page,
            &format!("{page}/limits"),
            &[("quota", "1"), ("captures", "0"), ("entries", ""), ("unconfirmed", "")],
        )
        .is(422);
    admin.post(&page, &format!("{page}/limits"), &limits).is(303);
    me.post("/", &format!("/entries/{key}/share"), &[("team", &team)]).is(303);
    admin.get(&page).is(200).says("1 entries, 1 MB of 1 MB").lacks("small.pcap");
    me.post("/", &format!("/entries/{second}/share"), &[("team", &team)]).is(422).says("more than its quota");
    me.get(&format!("/entries/{second}")).is(200).lacks("Shared with the team");
}

#[test]
fn an_account_is_deleted_with_what_is_its_own() {
    let site = Site::new();
    let People { administrator, owner, mate, team, .. } = people(&site, "works");
    let [admin, me, her] = [&administrator, &owner, &mate].map(|account| site.session_of(account));
    let done = me.analyse("olga-keeps.pcap", &capture("first-run.pcap"));
    let page = format!("/entries/{done}");
    me.post("/", &format!("{page}/share"), &[("team", &team)]).is(303);
    let flow = site.first_flow(&her, &page);
    her.post("/", &format!("{flow}/mark"), &[("malicious", "true"), ("reason", "wanda knows it")]).is(303);
    // Hers are shared as well, and one is under way.
    let small = capture("ssh-greeting.pcap");
    let hers = her.keep("wanda-keeps.pcap", &small);
    her.post("/", &format!("/entries/{hers}/share"), &[("team", &team)]).is(303);
    let key = her.analyse("wanda-analyses.pcap", &small);
    her.whole(&format!("/entries/{key}/packets"), &[]).is(200);
    let program = site.program_of(&mate, Scope::Write);
    program.get("/api/v1/me").is(200);
    // An upload that waits to go on, a training that is over, and what she was given to look at.
    let waits = [("Tus-Resumable", "1.0.0"), ("Upload-Length", "10")];
    program.ask(Method::Post, "/api/v1/uploads", None, b"", &waits).is(201);
    assert_eq!(site.files("partial").len(), 1);
    site.execute(&format!(
        "INSERT INTO trainings (key, account_id, state, pipeline, model, sources, captures, marks, weight, on_conflict, seed,
            created_at) VALUES ('k', {}, 'done', 'default', 'm', '[]', '[]', 0, 1, 'refuse', 1, 1)",
        mate.id
    ));
    // One that runs, too, with what was copied for it.
    let running = format!("{:032x}", 7);
    site.execute(&format!(
        "INSERT INTO trainings (key, account_id, state, pipeline, model, sources, captures, marks, weight, on_conflict, seed,
            created_at) SELECT '{running}', account_id, 'running', pipeline, model, sources, captures, marks, weight,
            on_conflict, seed, created_at FROM trainings"
    ));
    let copied = site.folder.path().join("data/training").join(running);
    std::fs::create_dir_all(copied.join("marks")).unwrap();
    site.execute(&format!("UPDATE items SET assignee_id = {} WHERE kind = 'conversation'", mate.id));
    let given = format!("SELECT count(*) FROM items WHERE assignee_id = {}", mate.id);
    let trained = format!("SELECT count(*) FROM trainings WHERE account_id = {}", mate.id);
    // Another role takes nothing of it away.
    admin.post("/people", &format!("/people/{}/role", mate.id), &[("role", "administrator")]).is(303);
    admin.post("/people", &format!("/people/{}/role", mate.id), &[("role", "analyst")]).is(303);
    assert!(site.number(&given) > 0 && site.number(&trained) == 2);
    let her = site.session_of(&mate);

    let delete = |account: &Account| format!("/people/{}/delete", account.id);
    admin
        .get(&delete(&mate))
        .is(200)
        .says("2 entries")
        .says("1 of them are shared")
        .says("Marks on entries of others: 1");
    admin.post("/people", &delete(&administrator), &[]).is(422).says("your own account");
    admin.post("/people", &delete(&mate), &[]).is(303);
    // She is out at once; what was hers goes in the background.
    assert!(her.get("/").is(303).location().starts_with("/login"));
    program.get("/api/v1/me").is(401);
    me.get(&format!("/entries/{hers}")).is(404);
    let left = format!("SELECT count(*) FROM entries WHERE account_id = {}", mate.id);
    site.until("her entries are gone", || (site.number(&left) == 0).then_some(()));
    site.until("her capture is gone", || (site.files("captures").len() == 1).then_some(()));
    assert!(!site.files("results").contains_key(&format!("{key}.sqlite")));
    assert_eq!(site.portal().readers.count(), 0);
    assert_eq!((site.files("partial").len(), site.number(&given), site.number(&trained)), (0, 0, 0));
    assert!(!copied.exists());
    for table in ["sessions", "api_tokens", "members"] {
        assert_eq!(site.number(&format!("SELECT count(*) FROM {table} WHERE account_id = {}", mate.id)), 0, "{table}");
    }
    let row =
        format!("SELECT name || '|' || display_name || '|' || password_hash FROM accounts WHERE id = {}", mate.id);
    assert_eq!(site.text(&row), format!("#{}||", mate.id));
    // What she said of what is another's is still said, by nobody of a name.
    for place in [&page, &flow] {
        me.get(place).is(200).says("wanda knows it").says("a former account").lacks("wanda shown");
    }
    admin.get("/people").is(200).lacks("wanda");
    admin.get(&delete(&mate)).is(404);
    admin
        .get("/audit")
        .is(200)
        .says("deleted an account")
        .says(": wanda")
        .says("deleted the last entry of a deleted account");
    assert_eq!(her.log_in("wanda", crate::support::PASSWORD).status, 422);
    assert_eq!(her.log_in(&format!("#{}", mate.id), "").status, 422);
    // The name is free again, and opens nothing of before.
    let again = site.session_of(&site.add("wanda", Role::Analyst));
    again.get(&page).is(404);
}
