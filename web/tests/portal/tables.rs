//! Protocol tables: searched, added to, and seen in packets and reports.

use veilwatch_web::accounts::Role;

use crate::support::{Site, capture};

const OURS: [(&str, &str); 4] =
    [("table", "tcp"), ("key", "443"), ("name", "our-portal"), ("words", "Ours & <theirs>")];

#[test]
fn tables_are_searched_by_number_and_by_words() {
    let site = Site::with_ada();
    let anna = site.session_of(&site.add("anna", Role::Analyst));
    anna.get("/tables?table=tcp&search=443")
        .is(200)
        .says("<td>https</td>")
        .says("1 entries")
        .lacks("<form class=\"card\"");
    anna.get("/tables?table=&search=0x0800").is(200).says("ETHER").says("0x0800");
    anna.get("/tables?table=ip&search=6").is(200).says("IP").says("1 entries");
    anna.get("/tables?table=files&search=png").is(200).says("image/png").says("in the box");
    anna.get("/tables?table=warn").is(200).says("WARN");
    anna.get("/tables?search=%3Cb%3E").is(200).says("0 entries").lacks("<b>");
    let first = anna.get("/tables").is(200).says("rel=\"next\"");
    assert_eq!(first.body.matches("in the box").count() - first.body.matches("one in the box").count(), 50);
    anna.get("/tables?table=tcp&search=&offset=50").is(200).says("rel=\"prev\"");
    anna.get("/tables?offset=4294967295&table=nonsense").is(200);
}

#[test]
fn an_added_entry_is_seen_in_packets_and_in_the_next_analysis() {
    let site = Site::with_ada();
    let bea = site.session_of(&site.add("bea", Role::Administrator));
    let anna = site.session_of(&site.add("anna", Role::Analyst));
    let key = anna.keep("first.pcap", &capture("first-run.pcap"));
    let packets = format!("/entries/{key}/packets?where=tcp.dstport+%3D%3D+443");
    let row = anna.whole(&packets, &[]).is(200);
    assert!(!row.body.contains("our-portal"));
    let added = bea.post("/framework", "/tables", &OURS).is(303);
    assert_eq!(added.location(), "/tables?table=tcp&search=443&done=saved");
    let page =
        anna.get(added.location()).is(200).says("our-portal").says("added by bea").says("Ours &amp; &lt;theirs&gt;");
    page.says("TCP 443 takes the place of https.").lacks("/remove");
    // The reader that was open is begun anew, and knows it as well.
    let at = row.body.split_once("at&#x3D;").expect("a link to a packet").1;
    let at: String = at.chars().take_while(char::is_ascii_digit).collect();
    anna.whole(&format!("/entries/{key}/packets?at={at}"), &[]).is(200).says("our-portal");
    // A warning is found by the next analysis.
    let warning = [
        ("table", "warn"),
        ("key", "our-old-server"),
        ("severity", "high"),
        ("words", "The old server should be gone."),
        ("look", "Who still asks."),
        ("ports", "443\n8443-8450"),
        ("transport", "tcp"),
    ];
    bea.post("/framework", "/tables", &warning).is(303);
    anna.confirm(&key);
    assert_eq!(site.ended(&key), "done");
    let lines = anna.get(&format!("/entries/{key}/flows.jsonl")).is(200);
    lines.says("our-old-server");
    let file = site.files("tables").remove("added.toml").unwrap();
    assert_eq!(String::from_utf8(file).unwrap().lines().filter(|line| !line.starts_with('#')).count(), 2);

    // Removed, it is the one in the box again.
    let id = site.number("SELECT id FROM table_entries WHERE key = '443'");
    bea.post("/framework", &format!("/tables/{id}/remove"), &[]).is(303);
    anna.get("/tables?table=tcp&search=443").is(200).says("<td>https</td>").lacks("our-portal");
    let audit = site.text("SELECT group_concat(action || ' ' || subject) FROM audit WHERE action LIKE 'table-%'");
    assert!(
        audit.contains("tcp 443") && audit.contains("warn our-old-server") && audit.contains("table-removed"),
        "{audit}"
    );
}

#[test]
fn what_is_no_entry_is_said_beside_the_form_and_what_was_typed_is_kept() {
    let site = Site::with_ada();
    let bea = site.session_of(&site.add("bea", Role::Administrator));
    let post = |fields: &[(&str, &str)]| bea.post("/framework", "/tables", fields);
    post(&[("table", "tcp"), ("key", "70000"), ("name", "kept-name")])
        .is(422)
        .says("70000")
        .says("value=\"kept-name\"");
    post(&[("table", "tcp"), ("key", "80"), ("name", "")]).is(422).reads("has no `name`");
    post(&[("table", "tcp"), ("key", "80\" = 1 }\n[warn]"), ("name", "x")]).is(422).says("control characters");
    post(&[("table", "nonsense"), ("key", "80"), ("name", "x")]).is(422);
    let odd = [("table", "files"), ("key", "ours"), ("name", "Ours"), ("media", "nothing"), ("bytes", "0: 'MSR'")];
    post(&odd).is(422).says("is no media type").says("0: &#x27;MSR&#x27;");
    assert_eq!(site.number("SELECT count(*) FROM table_entries"), 0);
    // Corrected in place.
    post(&OURS).is(303);
    post(&OURS).is(422).says("Correct that one instead");
    let id = site.number("SELECT id FROM table_entries").to_string();
    bea.get(&format!("/tables?edit={id}")).is(200).says("Correct in TCP").says("value=\"our-portal\"");
    post(&[("id", &id), ("table", "tcp"), ("key", "8443"), ("name", "our-portal")]).is(303);
    bea.get("/tables?table=tcp&search=8443").is(200).says("our-portal").lacks("Ours &amp;");
    post(&[("id", "99"), ("table", "tcp"), ("key", "1"), ("name", "x")]).is(422).says("not there any more");
}
