//! Pipelines with parts of one's own, chosen in the portal.

#[path = "../../../host/tests/common/dropins.rs"]
mod dropins;

use std::path::Path;

use veilwatch_web::results::ResultFile;

use crate::portal::{Portal, example};

fn choice(name: &str, file: &Path) -> String {
    format!("[[pipeline]]\nname = {name:?}\nfile = {file:?}\n")
}

#[test]
fn one_of_each_kind_has_its_say_on_the_pages() {
    let start = Portal::prepare(&[], |folder| choice("mine", &dropins::own_parts(folder)));
    let portal = start.unwrap_or_else(|(status, words)| panic!("{status}: {words}"));
    let ada = portal.administrator();
    assert_eq!(ada.call(&portal, "GET", "/pipelines", b"").json(), serde_json::json!(["default", "mine"]));

    // The template: a flow that nothing in the box can name.
    let mqtt = ada.analyse(&portal, "mine", &example("mqtt-sensors.pcap"));
    ada.done(&portal, &mqtt);
    let flows = ada.call(&portal, "GET", &format!("/entries/{mqtt}/flows"), b"").is(200).json();
    let flow = flows["flows"].as_array().unwrap().iter().find(|flow| flow["app_proto"] == "mqtt").unwrap();
    let page = ada.get(&portal, &format!("/entries/{mqtt}/flows/{}", flow["flow_id"])).is(200).text();
    assert!(page.contains("<dt>mqtt.clientid</dt><dd>"), "{page}");
    // The feature.
    assert!(page.contains("<code>alive."), "{page}");

    // The classifier.
    let tls = ada.analyse(&portal, "mine", &example("first-run.pcap"));
    let done = ada.done(&portal, &tls);
    assert!(done["analysed"]["scored"].as_u64() > Some(0), "{done}");
    let result = ada.get(&portal, &format!("/entries/{tls}")).is(200).text();
    assert!(result.contains("<dd>mine · model ("), "{result}");
    let file = ResultFile::open(&portal.data().join("results").join(format!("{tls}.sqlite")), 1000).unwrap();
    assert_eq!(file.summary().unwrap().pipeline.model.unwrap().classifier, "classifier/nearest-mean");

    // The same capture by the pipeline in the box knows nothing of either.
    let plain = ada.analyse(&portal, "default", &example("mqtt-sensors.pcap"));
    ada.done(&portal, &plain);
    assert!(!ada.lines(&portal, &plain).contains("mqtt.clientid"));
}

#[test]
fn what_is_wrong_with_a_pipeline_is_said_at_the_start() {
    let refused = |prepare: &dyn Fn(&Path)| {
        let start = Portal::prepare(&[], |folder| {
            prepare(folder);
            choice("mine", &folder.join("mine.toml"))
        });
        let Err((status, words)) = start else { panic!("it starts") };
        assert_eq!(status.code(), Some(2), "{words}");
        words.lines().last().unwrap().to_owned()
    };
    let write = |text: &str| {
        let text = text.to_owned();
        move |folder: &Path| std::fs::write(folder.join("mine.toml"), &text).unwrap()
    };
    let words = refused(&write("[[plugin]]\nid = \"tls\"\nuses = \"protocol/tls\"\n"));
    assert!(words.contains("`mine`") && words.contains("mine.toml:3: ") && words.contains("uses"), "{words}");
    let words = refused(&|_| {});
    assert!(words.contains("mine.toml"), "{words}");
    let missing = format!("{}\n[[plugin]]\nid = \"own\"\npath = \"own.so\"\n", veilwatch::config::EXAMPLE);
    let words = refused(&write(&missing));
    assert!(words.contains("`mine`") && words.contains("own.so"), "{words}");
    // A library that is none, and a model that is not there.
    let words = refused(&|folder: &Path| {
        std::fs::write(folder.join("own.so"), "no library").unwrap();
        write(&missing)(folder);
    });
    assert!(words.contains("own.so"), "{words}");
    let words = refused(&write(&veilwatch::config::EXAMPLE.replace("model = \"default\"", "model = \"gone\"")));
    assert!(words.contains("gone"), "{words}");
}

#[test]
fn a_library_that_goes_later_is_said_at_the_entry() {
    let start = Portal::prepare(&[], |folder| {
        let library = folder.join("own.so");
        std::fs::copy(dropins::library("mqtt"), library).unwrap();
        let text = format!("{}\n[[plugin]]\nid = \"own\"\npath = \"own.so\"\n", veilwatch::config::EXAMPLE);
        std::fs::write(folder.join("mine.toml"), text).unwrap();
        choice("mine", &folder.join("mine.toml"))
    });
    let portal = start.unwrap_or_else(|(status, words)| panic!("{status}: {words}"));
    let ada = portal.administrator();
    std::fs::remove_file(portal.path("own.so")).unwrap();
    let key = ada.analyse(&portal, "mine", &example("first-run.pcap"));
    let entry = ada.ended(&portal, &key);
    assert_eq!((&entry["state"], &entry["failure"]["why"]), (&"failed".into(), &"pipeline".into()), "{entry}");
    assert!(entry["failure"]["words"].as_str().unwrap().contains("own.so"), "{entry}");
    let page = ada.get(&portal, &format!("/entries/{key}")).is(200).text();
    assert!(page.contains("The pipeline cannot be used.") && page.contains("own.so"), "{page}");
}
