//! Models: looked at, trained, compared, promoted, rolled back, and set beside each other.

#[path = "../common/quick.rs"]
mod quick;

use rocket::http::Method;
use tempfile::TempDir;
use veilwatch_web::accounts::Role;
use veilwatch_web::accounts::tokens::Scope;
use veilwatch_web::config::{Config, PipelineChoice};

use crate::support::{Person, Site, capture};

/// A portal that trains the quick pipeline, with a registry that is empty yet.
fn site(change: impl FnOnce(&mut Config)) -> (Site, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = quick::quick_pipeline(folder.path());
    let site = Site::with(|config| {
        config.models.registry = Some(folder.path().join("registry"));
        config.models.use_champions = true;
        config.training.data = Some(quick::examples());
        config.pipeline = vec![PipelineChoice { name: "quick".to_owned(), file }];
        change(config);
    });
    site.add("ada", Role::Administrator);
    site.add("olga", Role::Analyst);
    (site, folder)
}

fn olga(site: &Site) -> Person<'_> {
    let id = site.number("SELECT id FROM accounts WHERE name = 'olga'");
    let account = site.portal().db.run_blocking(|c| veilwatch_web::accounts::people::by_id(c, id)).unwrap();
    site.session_of(&account)
}

fn ada(site: &Site) -> Person<'_> {
    let id = site.number("SELECT id FROM accounts WHERE name = 'ada'");
    let account = site.portal().db.run_blocking(|c| veilwatch_web::accounts::people::by_id(c, id)).unwrap();
    site.session_of(&account)
}

/// Has a capture analysed by the quick pipeline; gives the path of its entry.
fn analysed(me: &Person<'_>, name: &str) -> String {
    let key = me.keep(name, &capture(name));
    let page = format!("/entries/{key}");
    let fields = [("pipeline", "quick"), ("packets", ""), ("category", ""), ("note", "")];
    me.post(&page, &format!("{page}/confirm"), &fields).is(303);
    assert_eq!(me.site.ended(&key), "done", "{:?}", me.site.rows("SELECT why, words FROM entries"));
    page
}

/// Marks the first flow that was scored.
fn mark(me: &Person<'_>, entry: &str, malicious: &str) {
    let flows = me.get(&format!("{entry}/flows?sort=score&down=true")).is(200);
    let link = format!("{entry}/flows/");
    let flow = flows.body.split_once(&link).unwrap().1.split('"').next().unwrap().to_owned();
    let said = [("malicious", malicious), ("reason", "I asked them")];
    me.post(&format!("{link}{flow}"), &format!("{link}{flow}/mark"), &said).is(303);
}

/// Puts curves and a table into an evaluation, as a model that is judged on enough data has them.
fn judged(file: &std::path::Path) {
    let mut digest: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let figure = serde_json::json!({"value": 0.5, "low": 0.4, "high": 0.6});
    digest["roc"] = serde_json::json!([[0.0, 0.0], [0.1, 0.8], [1.0, 1.0]]);
    digest["precision_recall"] = serde_json::json!([[0.5, 1.0], [1.0, 0.4]]);
    digest["reliability"] = serde_json::json!([[0.1, 0.05, 12], [0.9, 0.95, 7]]);
    digest["withheld"] = serde_json::json!(["<b>"]);
    digest["classifiers"] = serde_json::json!([{"name": "random-forest", "average_precision": figure, "f1": figure,
        "precision": figure, "recall": null, "weighted_f1": null, "failed": null}]);
    std::fs::write(file, digest.to_string()).unwrap();
}

fn hash(site: &Site) -> String {
    site.text("SELECT sha256 FROM entries ORDER BY id DESC LIMIT 1")
}

/// Trains, and gives the path of the training once it is over.
fn trained(me: &Person<'_>, capture: Option<&str>, seed: &str, state: &str) -> String {
    let mut fields =
        vec![("pipeline", "quick"), ("source", "labels"), ("weight", "1"), ("conflict", "refuse"), ("seed", seed)];
    fields.extend(capture.map(|sha256| ("capture", sha256)));
    let path = me.post("/training", "/training", &fields).is(303).location().to_owned();
    let now = || me.site.text("SELECT state FROM trainings ORDER BY id DESC LIMIT 1");
    me.site.until("the training is over", || (!["queued", "running"].contains(&&*now())).then_some(()));
    assert_eq!(now(), state, "{:?}", me.site.rows("SELECT why, words FROM trainings"));
    path
}

#[test]
fn a_model_is_trained_compared_promoted_and_rolled_back() {
    let (site, folder) = site(|_| {});
    let (olga, ada) = (olga(&site), ada(&site));
    let entry = analysed(&olga, "first-run.pcap");
    mark(&olga, &entry, "false");
    olga.get("/training").is(200).says("first-run.pcap (1)").says("value=\"labels\"").says(">quick<");
    let page = trained(&olga, Some(&hash(&site)), "1", "done");
    let told = olga.get(&page).is(200).says("Champion and challenger").lacks("http-equiv");
    assert!(told.body.contains("quick@1"), "{}", told.body);
    // Its files are gone, and nobody promoted it.
    let left = site.folder.path().join("data/training");
    site.until("its files are gone", || (std::fs::read_dir(&left).unwrap().count() == 0).then_some(()));
    olga.get("/models").is(200).says("quick@1").lacks("tag benign\">Champion");
    let card = olga.get("/models/quick@1").is(200).says("It learnt from what people marked: 1 flows.");
    // Of so few captures nothing is quoted, and no curve drawn.
    card.says("gaussian-bayes").says("The figures are withheld").lacks("ROC curve");
    olga.get("/models/quick@1/pictures/roc.svg").is(404);
    judged(&folder.path().join("registry/quick/1/evaluation.json"));
    let card =
        olga.get("/models/quick@1").is(200).says("ROC curve").says("alt=\"Recall over the share of false alarms");
    card.says("<td>random-forest</td><td>0.500 [0.400 – 0.600]</td>").says("&lt;b&gt;").lacks("<b>");
    olga.get("/models/quick@1/pictures/calibration.svg?dark=true").is(200).says("<svg role=\"img\"").says("#e4eaea");

    // Analysts ask for trainings; administrators say what judges.
    olga.get("/models/quick@1/promote").is(403);
    ada.get("/models/quick@1/promote")
        .is(200)
        .says("There is no other champion")
        .says("Judged by the champion of that name: quick.");
    ada.post("/models/quick@1/promote", "/models/quick@1/promote", &[]).is(303);
    assert_eq!(site.text("SELECT subject FROM audit WHERE action = 'promoted'"), "quick@1");
    olga.get("/models").is(200).says("tag benign\">Champion").says("judges: quick");
    let entry = analysed(&olga, "benign-office.pcapng");
    olga.get(&entry).is(200).says("quick · quick@1 (");

    // Another one, of the same data without the mark.
    trained(&olga, None, "4", "done");
    ada.get("/models/quick@2/promote").is(200).says("quick@1, champion now").says("recall at FPR 1e-3");
    // The audit log cannot be written, which is said. The other one judges all the same, and what a worker said of the
    // former one is not told any more.
    ada.get("/plugins?pipeline=quick").is(200);
    assert!(site.portal().descriptions.find("quick", None).is_some());
    site.execute("CREATE TRIGGER no_room BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no room'); END");
    ada.post("/models/quick@2/promote", "/models/quick@2/promote", &[("even_if_worse", "true")]).is(500);
    site.execute("DROP TRIGGER no_room");
    assert!(site.portal().descriptions.find("quick", None).is_none());
    ada.get("/models/quick@2").is(200).says("Go back to the former champion");
    let back = ada.post("/models/quick@2/roll-back", "/models/quick@2/roll-back", &[]).is(303);
    assert_eq!(back.location(), "/models/quick@1?done=rolled-back");
    // Who comes late goes back no further.
    ada.post("/models/quick@2", "/models/quick@2/roll-back", &[]).is(404);
    assert_eq!(site.text("SELECT subject FROM audit WHERE action = 'rolled-back'"), "quick: from 2 to 1");

    // The one that went scores beside the one that came, and decides nothing.
    ada.post("/models/quick@2", "/models/quick@2/shadow", &[("on", "true")]).is(303);
    let entry = analysed(&olga, "malicious-beacon-tls13.pcap");
    olga.get(&entry).is(200).says("quick · quick@1 (");
    olga.get("/models/quick@2")
        .is(200)
        .says("It scores beside the model of: quick.")
        .says("Other verdict")
        .says("<td>quick@1</td><td>1</td>");
    ada.post("/models/quick@2", "/models/quick@2/shadow", &[("on", "false")]).is(303);
    olga.get("/models/quick@2").is(200).lacks("It scores beside the model of");

    // A card that was changed is told, and neither shown as good nor promoted.
    let card = folder.path().join("registry/quick/2/card.json");
    let text = std::fs::read_to_string(&card).unwrap().replacen("\"weights_sha256\": \"", "\"weights_sha256\": \"0", 1);
    std::fs::write(&card, text).unwrap();
    olga.get("/models/quick@2").is(200).says("cannot be used");
    ada.get("/models/quick@2/promote").is(422);

    // Where the champion cannot be used, no other model judges in its place, and that is said.
    let card = folder.path().join("registry/quick/1/card.json");
    let pointer = folder.path().join("registry/quick/champion.toml");
    for (path, words) in [(&card, "changed"), (&pointer, "champion.toml")] {
        let before = std::fs::read(path).unwrap();
        std::fs::write(path, [&before[..], b"\n "].concat().repeat(2)).unwrap();
        let key = olga.keep("one.pcap", &capture("benign-office.pcapng"));
        let page = format!("/entries/{key}");
        let fields = [("pipeline", "quick"), ("packets", ""), ("category", ""), ("note", "")];
        olga.post(&page, &format!("{page}/confirm"), &fields).is(303);
        assert_eq!(site.ended(&key), "failed", "{words}");
        olga.get(&page).is(200).says("The pipeline cannot be used").says(words);
        olga.get("/models").is(200).says(words);
        std::fs::write(path, before).unwrap();
    }
    analysed(&olga, "malicious-beacon-tls12.pcap");
}

#[test]
fn marks_that_contradict_labels_train_nothing() {
    let (site, _folder) = site(|_| {});
    let olga = olga(&site);
    let entry = analysed(&olga, "malicious-beacon-tls12.pcap");
    mark(&olga, &entry, "false");
    let page = trained(&olga, Some(&hash(&site)), "1", "conflicts");
    olga.get(&page).is(200).says("Marks that contradict labels").says("I asked them").says("malicious-beacon-tls12");
    olga.get("/models").is(200).lacks("quick@1");
    // What flows were marked is nobody else's business, though models are.
    ada(&site).get(&page).is(200).says("contradict labels").lacks("I asked them").lacks("malicious-beacon-tls12");
    let anna = site.add("anna", Role::Analyst);
    site.session_of(&anna).get(&page).is(404);
    let key = page.rsplit('/').next().unwrap();
    let told = site.program_of(&anna, Scope::Read).get(&format!("/api/v1/trainings/{key}"));
    told.is(404);
}

#[test]
fn what_cannot_be_trained_is_refused_and_what_runs_can_be_stopped() {
    let (site, folder) = site(|config| {
        config.training.waiting = 1;
        config.training.captures = 1;
    });
    let olga = olga(&site);
    // From now on nothing is taken out of the queue.
    site.portal().trainer.end();
    let ask = |source: &str, weight: &str, captures: &[&str], pipeline: &str| {
        let mut fields =
            vec![("pipeline", pipeline), ("source", source), ("weight", weight), ("conflict", "refuse"), ("seed", "1")];
        fields.extend(captures.iter().map(|one| ("capture", *one)));
        olga.post("/training", "/training", &fields)
    };
    let hash = "a".repeat(64);
    for (source, weight, captures, pipeline, words) in [
        ("nowhere", "1", &[][..], "quick", "There is no such labelled data"),
        ("../examples", "1", &[], "quick", "There is no such labelled data"),
        ("labels", "100", &[], "quick", "does not offer"),
        ("labels", "1", &["x"], "quick", "not there any more"),
        ("labels", "1", &[&hash, &hash], "quick", "more captures than one training"),
        ("labels", "1", &[], "nobody", "There is no such pipeline"),
    ] {
        ask(source, weight, captures, pipeline).is(422).says(words);
    }
    assert_eq!(site.number("SELECT count(*) FROM trainings"), 0);
    let page = ask("labels", "1", &[], "quick").is(303).location().to_owned();
    ask("labels", "1", &[], "quick").is(422).says("As many trainings wait");
    olga.get(&page).is(200).says("It waits for its turn").says("http-equiv=\"refresh\"");
    olga.post(&page, &format!("{page}/stop"), &[]).is(303);
    olga.get(&page).is(200).says("stopped");
    assert!(olga.first_event(&format!("{page}/events")).contains("event:end"));
    assert_eq!(std::fs::read_dir(site.folder.path().join("data/training")).unwrap().count(), 0);
    assert!(!folder.path().join("registry").exists());
}

#[test]
fn whoever_has_all_their_places_taken_waits_and_takes_nobody_elses() {
    let (site, _folder) = site(|config| config.limits.looks_at_once = 1);
    // From now on nothing is taken out of the queue.
    site.portal().trainer.end();
    let otto = site.add("otto", Role::Administrator);
    let (me, program) = (site.session_of(&otto), site.program_of(&otto, Scope::Write));
    let fields = [("pipeline", "quick"), ("source", "labels"), ("weight", "1"), ("conflict", "refuse"), ("seed", "1")];
    let body = "{\"pipeline\": \"quick\", \"sources\": [\"labels\"]}";
    let held = site.portal().results.enter(otto.id);
    assert!(held.is_some());
    for path in ["/models", "/models/default", "/models/quick@1/promote", "/models/quick@1/roll-back", "/training"] {
        me.get(path).is(429);
    }
    for path in ["/api/v1/models", "/api/v1/models/default"] {
        program.get(path).is(429);
    }
    for path in ["/training", "/models/quick@1/promote", "/models/quick@1/roll-back"] {
        me.post("/account", path, &fields).is(429);
    }
    program.send_json(Method::Post, "/api/v1/models/quick@1/promote", "{}").is(429);
    program.send_json(Method::Post, "/api/v1/trainings", body).is(429);
    assert_eq!(site.number("SELECT count(*) FROM trainings"), 0);
    olga(&site).get("/models").is(200);
    drop(held);
    // One place is enough for all that one request does, and is given back.
    me.get("/models").is(200);
    me.get("/training").is(200);
    program.get("/api/v1/models/default").is(200);
    let page = me.post("/training", "/training", &fields).is(303).location().to_owned();
    me.get(&page).is(200);
    program.send_json(Method::Post, "/api/v1/trainings", body).is(200);
    // Two of one account wait at most, whoever asks for it, and the others may still ask.
    me.post("/training", "/training", &fields).is(422).says("As many trainings of yours wait");
    program.send_json(Method::Post, "/api/v1/trainings", body).is(422).says("As many trainings of yours wait");
    olga(&site).post("/training", "/training", &fields).is(303);
}

#[test]
fn programs_train_and_read_models() {
    let (site, _folder) = site(|config| config.models.require_signature = false);
    let (olga, ada) = (site.add("otto", Role::Analyst), site.add("alan", Role::Administrator));
    let (analyst, administrator) = (site.program_of(&olga, Scope::Write), site.program_of(&ada, Scope::Write));
    let models = analyst.get("/api/v1/models").is(200).json();
    assert_eq!((&models[0]["id"], &models[0]["signature"]), (&"default".into(), &"box".into()));
    assert_eq!(analyst.get("/api/v1/models/default").is(200).json()["card"]["name"], "default");
    analyst.get("/api/v1/models/nothing@7").is(404);
    let body = "{\"pipeline\": \"quick\", \"sources\": [\"labels\"]}";
    let begun = analyst.send_json(Method::Post, "/api/v1/trainings", body).is(200).json();
    let path = format!("/api/v1/trainings/{}", begun["key"].as_str().unwrap());
    let done = site.until("the training is over", || {
        let now = analyst.get(&path).is(200).json();
        (now["state"] == "done").then_some(now)
    });
    assert_eq!(done["model"], "quick@1");
    assert_eq!(done["report"]["marks"], 0);
    analyst.send_json(Method::Post, "/api/v1/models/quick@1/promote", "{}").is(403);
    let promoted = administrator.send_json(Method::Post, "/api/v1/models/quick@1/promote", "{}").is(200).json();
    assert_eq!(promoted["signature"], "none");
    administrator.send_json(Method::Post, "/api/v1/models/default/promote", "{}").is(422);
}

#[test]
fn what_nobody_signed_is_not_promoted_where_signatures_are_wanted() {
    let key = veilwatch::model::PrivateKey::generate().unwrap();
    let public = key.public().to_string();
    let (site, folder) = site(|config| {
        config.models.require_signature = true;
        config.models.trusted_keys = vec![public];
    });
    let (olga, ada) = (olga(&site), ada(&site));
    trained(&olga, None, "1", "done");
    ada.get("/models/quick@1/promote").is(200).says("Nobody who is trusted has signed it");
    ada.post("/models/quick@1/promote", "/models/quick@1/promote", &[]).is(422).says("is not signed");
    veilwatch::model::Model::sign(&folder.path().join("registry/quick/1"), &key).unwrap();
    ada.post("/models/quick@1/promote", "/models/quick@1/promote", &[]).is(303);
}
