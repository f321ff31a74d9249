//! Pipelines that are written here: checked, saved in versions, used, rolled back.

#[path = "../../../host/tests/common/dropins.rs"]
mod dropins;

use veilwatch_web::accounts::Role;

use crate::support::{Got, Person, Site, capture};

/// A text with less in it than the one in the box: it is loaded fast.
fn small(packets: u32) -> String {
    format!("[[plugin]]\nid = \"splt\"\nuse = \"feature/splt\"\n[plugin.settings]\npackets = {packets}\n")
}

/// The text in the box, with another number in it.
fn whole(reasons: u32) -> String {
    veilwatch::config::EXAMPLE.replace("reasons = 4 ", &format!("reasons = {reasons} "))
}

fn post(me: &Person<'_>, path: &str, name: &str, text: &str, base: &str, wish: &str) -> Got {
    let fields = [("name", name), ("text", text), ("words", "as it was asked for"), ("do", wish)];
    let base = if base.is_empty() { None } else { Some(("base", base)) };
    let fields: Vec<_> = fields.into_iter().chain(base).collect();
    me.post("/framework", path, &fields)
}

/// What a page says of mistakes, by place.
fn places(got: &Got) -> Vec<(String, String)> {
    let of = |part: &str, name: &str| {
        part.split_once(&format!("{name}=\"")).unwrap().1.split('"').next().unwrap().to_owned()
    };
    got.body.split("<a href=\"#text\" ").skip(1).map(|part| (of(part, "data-line"), of(part, "data-column"))).collect()
}

/// Uploads a capture and has it analysed by this pipeline.
fn analyse(me: &Person<'_>, pipeline: &str) -> String {
    let key = me.keep("first.pcap", &capture("first-run.pcap"));
    confirm(me, &key, pipeline);
    key
}

fn confirm(me: &Person<'_>, key: &str, pipeline: &str) {
    let page = format!("/entries/{key}");
    let fields = [("pipeline", pipeline), ("packets", ""), ("category", ""), ("note", "")];
    me.post(&page, &format!("{page}/confirm"), &fields).is(303);
    assert_eq!(me.site.ended(key), "done", "{}", me.get(&page).body);
}

#[test]
fn mistakes_are_said_at_their_place_and_what_was_typed_is_kept() {
    let site = Site::with_ada();
    let ada = site.session_of(&site.add("bea", Role::Administrator));
    let text = "model = \"default\"\n[[plugin]]\nid = \"own\"\npath = \"../../evil.so\"\n# <kept>\n";
    let got = post(&ada, "/pipelines", "mine", text, "", "check").is(200);
    assert_eq!(places(&got), [("4".to_owned(), "8".to_owned())]);
    let got = got.says("framework.plugins is not set").says("# &lt;kept&gt;").says("aria-invalid=\"true\"");
    got.says("aria-describedby=\"mistakes text-hint\"").says("value=\"as it was asked for\"");
    let got = post(&ada, "/pipelines", "mine", "[flows]\nx = = 1\n", "", "save").is(422);
    assert_eq!(places(&got)[0].0, "2");
    let got = post(&ada, "/pipelines", "mine", "[flows]\r\n  tcp_idle_secnds = 3\r\n", "", "save").is(422);
    assert_eq!(places(&got), [("2".to_owned(), "3".to_owned())]);
    got.reads("did you mean `tcp_idle_seconds`?");
    // What only loading shows: there is no such plugin, and the model does not fit.
    let got =
        post(&ada, "/pipelines", "mine", "\n[[plugin]]\nid = \"a\"\nuse = \"feature/slpt\"\n", "", "check").is(200);
    assert_eq!(places(&got), [("3".to_owned(), "6".to_owned())]);
    got.reads("did you mean `feature/splt`?");
    post(&ada, "/pipelines", "mine", &"#".repeat(70_000), "", "check").is(200).says("longer than 65536 bytes");
    post(&ada, "/pipelines", "mine", &"#".repeat(420_000), "", "check").is(413);
    // In Chinese as well.
    ada.post("/framework", "/language", &[("language", "zh"), ("next", "/")]).is(303);
    post(&ada, "/pipelines", "mine", text, "", "check").is(200).says("第 4 行第 8 列");
    assert_eq!(site.number("SELECT count(*) FROM pipelines"), 0, "nothing of it was saved");
    assert!(site.files("work").is_empty(), "and nothing is left behind");
}

#[test]
fn versions_are_saved_compared_and_rolled_back_and_entries_say_which_they_used() {
    let site = Site::with_ada();
    let ada = site.session_of(&site.add("bea", Role::Administrator));
    let anna = site.session_of(&site.add("anna", Role::Analyst));
    post(&ada, "/pipelines", "mine", &whole(2), "", "check").is(200).says("Nothing is wrong");
    assert_eq!(
        post(&ada, "/pipelines", "mine", &whole(2), "", "save").is(303).location(),
        "/pipelines/mine?done=saved"
    );
    for (name, says) in
        [("mine", "There is a pipeline of that name"), ("default", "1 to 40 letters"), ("../x", "1 to 40")]
    {
        post(&ada, "/pipelines", name, &whole(2), "", "save").is(422).says(says);
    }

    // An analyst reads it and chooses it.
    anna.get("/pipelines").is(200).says("made here").says("as it was asked for").lacks("/pipelines/new");
    anna.get("/pipelines/mine").is(200).reads("reasons = 2 ").lacks("<textarea");
    let key = analyse(&anna, "mine");
    let entry = format!("/entries/{key}");
    anna.get(&entry).is(200).says("mine@1").lacks("newer version");
    anna.get(&format!("{entry}/flows.jsonl")).is(200).says("malicious");

    // A new version: the old result says so, and the next analysis uses it.
    post(&ada, "/pipelines/mine", "", &whole(1), "1", "save").is(303);
    post(&ada, "/pipelines/mine", "", &whole(3), "1", "save")
        .is(422)
        .says("Somebody saved another version")
        .reads("reasons = 3 ");
    post(&ada, "/pipelines/mine", "", &whole(1), "2", "save").is(422).says("Nothing differs");
    anna.get(&entry).is(200).says("mine@1").says("There is a newer version of this pipeline, 2");
    let again = anna.post(&entry, &format!("{entry}/again"), &[]).is(303).location().to_owned();
    confirm(&anna, again.strip_prefix("/entries/").unwrap(), "mine");
    anna.get(&again).is(200).says("mine@2").lacks("newer version");
    let program = site.program_of(&site.add("prog", Role::Analyst), veilwatch_web::accounts::tokens::Scope::Read);
    assert_eq!(program.get("/api/v1/pipelines").json(), serde_json::json!(["default", "mine"]));

    // What differs, and back.
    let got = anna.get("/pipelines/mine?version=2&against=1").is(200).says("From version 1 to version 2");
    let got = got.reads("− reasons = 2 ").reads("+ reasons = 1 ").says("reasons of an alert");
    assert_eq!(got.body.matches("<tr class=\"bad\">").count(), 1);
    anna.get("/pipelines/mine?version=1").is(200).says("not the newest version").reads("reasons = 2 ");
    let back = ada.post("/pipelines/mine", "/pipelines/mine/back", &[("version", "1"), ("base", "2")]).is(303);
    assert_eq!(back.location(), "/pipelines/mine?done=saved");
    let got = anna.get("/pipelines/mine").is(200).says("version 3").says("Back to version 1").reads("reasons = 2 ");
    assert_eq!(got.body.matches("<td>1</td>").count(), 2, "each of two versions was used once: {}", got.body);
    assert_eq!(site.rows("SELECT text FROM pipeline_versions WHERE version IN (1, 3) GROUP BY text").len(), 1);

    // Retired: not to be chosen, but results stay.
    ada.post("/pipelines/mine", "/pipelines/mine/retire", &[]).is(303);
    assert_eq!(program.get("/api/v1/pipelines").json(), serde_json::json!(["default"]));
    let page = format!("/entries/{}", anna.keep("more.pcap", &capture("ssh-greeting.pcap")));
    let fields = [("pipeline", "mine"), ("packets", ""), ("category", ""), ("note", "")];
    anna.post(&page, &format!("{page}/confirm"), &fields).is(422).says("no such pipeline");
    anna.get(&entry).is(200).says("mine@1").lacks("newer version");
    ada.post("/pipelines/mine", "/pipelines/mine/restore", &[]).is(303);
    assert_eq!(site.portal().pipelines(), ["default", "mine"]);
    let audit = site.text("SELECT group_concat(action || ' ' || subject) FROM audit WHERE action LIKE 'pipeline-%'");
    for said in ["mine@1", "mine@2", "mine@3", "pipeline-retired", "pipeline-restored"] {
        assert!(audit.contains(said), "{said}: {audit}");
    }
    ada.get("/audit").is(200).says("Saved a version of a pipeline");
}

#[test]
fn libraries_come_from_the_folder_of_the_operator_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(dropins::library("mqtt"), folder.path().join("mqtt.so")).unwrap();
    std::fs::write(folder.path().join("none.so"), "no library").unwrap();
    let site = Site::with(|config| config.framework.plugins = Some(folder.path().to_owned()));
    let ada = site.session_of(&site.add("ada", Role::Administrator));
    let text = |path: &str| format!("{}\n[[plugin]]\nid = \"own\"\npath = {path:?}\n", whole(4));
    for (path, says) in
        [("gone.so", "is not there"), ("../x.so", "is no path below"), ("/etc/passwd", "is no path below")]
    {
        post(&ada, "/pipelines", "mine", &text(path), "", "save").is(422).says(says);
    }
    let got = post(&ada, "/pipelines", "mine", &text("none.so"), "", "save").is(422).says("none.so");
    got.lacks(folder.path().to_str().unwrap());
    post(&ada, "/pipelines", "mine", &text("mqtt.so"), "", "save").is(303);
    // A confined worker loaded it, and the server has its hash.
    let page = ada.get("/plugins?pipeline=mine").is(200).says("library mqtt.so").says("loaded in a confined process");
    let bytes = std::fs::read(folder.path().join("mqtt.so")).unwrap();
    page.says(&veilwatch::hash::sha256_hex(&bytes)).says("in use");
    let key = ada.keep("mqtt.pcap", &capture("mqtt-sensors.pcap"));
    confirm(&ada, &key, "mine");
    assert!(ada.get(&format!("/entries/{key}/flows.jsonl")).is(200).body.contains("mqtt"));
    // The operator takes it away: the next analysis says so.
    std::fs::remove_file(folder.path().join("mqtt.so")).unwrap();
    let key = ada.keep("mqtt.pcap", &capture("mqtt-sensors.pcap"));
    let page = format!("/entries/{key}");
    let fields = [("pipeline", "mine"), ("packets", ""), ("category", ""), ("note", "")];
    ada.post(&page, &format!("{page}/confirm"), &fields).is(303);
    assert_eq!(site.ended(&key), "failed");
    ada.get(&page).is(200).says("mqtt.so");
    assert!(site.files("work").is_empty());
}

#[test]
fn a_text_without_a_model_is_refused_where_it_names_one() {
    let site = Site::with_ada();
    let ada = site.session_of(&site.add("bea", Role::Administrator));
    // The model in the box does not fit these columns.
    let got = post(&ada, "/pipelines", "small", &format!("model = \"default\"\n{}", small(3)), "", "check").is(200);
    got.says("role=\"alert\"");
    assert_eq!(site.number("SELECT count(*) FROM audit WHERE action = 'pipeline-saved'"), 0);
}
