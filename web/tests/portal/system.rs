//! The page of the system.

use veilwatch_web::accounts::Role;
use veilwatch_web::config::SecretText;

use crate::support::{Site, capture};

#[test]
fn the_queue_the_disk_and_the_settings_are_told_and_nothing_of_captures_or_secrets() {
    let site = Site::with(|config| {
        config.secret = Some(SecretText("a secret of 32 characters, or more".to_owned()));
        config.limits.entries = 4711;
    });
    let ada = site.session_of(&site.add("ada", Role::Administrator));
    let anna = site.session_of(&site.add("anna", Role::Analyst));
    anna.analyse("done-secret.pcap", &capture("ssh-greeting.pcap"));
    site.portal().runner.end();
    let key = anna.keep("waits-secret.pcap", &capture("first-run.pcap"));
    anna.confirm(&key);
    site.clock.advance(90);
    let page = ada.get("/system").is(200).says("the oldest for").says("<dd>1 (the oldest for");
    let page = page.says("SQLite").says("confined by Landlock").says("<td>4711</td>").says("limits.entries");
    let page = page.lacks("secret of 32").lacks("waits-secret").lacks("done-secret").lacks(&key);
    page.says("2 (").says("href=\"/audit\"");
    // It is told how far an analysis is, and not whose.
    site.execute("UPDATE entries SET state = 'running', started_at = 1800000000 WHERE state = 'queued'");
    ada.get("/system").is(200).says("Analysis 2, for").lacks("anna");
    ada.get("/administration").is(200).says("href=\"/system\"");
    ada.get_with("/system", &[("Accept-Language", "zh")]).is(200).says("生效的设置");
}

#[test]
fn what_went_wrong_last_is_told_without_the_words_of_others() {
    let site = Site::with_ada();
    let bea = site.session_of(&site.add("bea", Role::Administrator));
    let anna = site.session_of(&site.add("anna", Role::Analyst));
    let key = anna.keep("first.pcap", &capture("first-run.pcap"));
    std::fs::remove_file(site.folder.path().join("data/captures").join(site.text("SELECT sha256 FROM captures")))
        .unwrap();
    anna.confirm(&key);
    assert_eq!(site.ended(&key), "failed");
    let id = site.number("SELECT id FROM entries");
    site.until("the log says so", || {
        let page = bea.get("/system").is(200);
        page.body
            .contains(&format!("an analysis failed entry&#x3D;{id} why&#x3D;&quot;capture-missing&quot;"))
            .then_some(())
    });
}
