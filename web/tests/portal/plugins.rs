//! The page of plugins.

use veilwatch_web::accounts::Role;

use crate::support::Site;

#[test]
fn every_plugin_is_told_with_its_settings_and_columns() {
    let site = Site::with_ada();
    let anna = site.session_of(&site.add("anna", Role::Analyst));
    let page = anna.get("/plugins").is(200);
    for entry in veilwatch::config::Config::builtin().unwrap().plugin {
        let name = entry.plugin.unwrap();
        assert!(page.body.contains(&format!("<code>{}</code> <span class=\"dim\">{name}</span>", entry.id)), "{name}");
    }
    let page = page.says("bytes kept of a server name").says("<code>sni_bytes</code>").says("<code>255</code>");
    let page = page.says("loaded in a confined process").says("It did not fail in these analyses.");
    // What is in the box and not in this pipeline.
    page.says("protocol/dns").says("<code>splt.").lacks("not used</span>");
    anna.get("/plugins?pipeline=nobodys").is(200).says("protocol/tls");
    anna.get_with("/plugins", &[("Accept-Language", "zh")]).is(200).says("协议模板").says("在受限进程中加载");
}

/// The plugin that misbehaves: cargo builds it beside this test, because the tests depend on it.
fn hostile() -> std::path::PathBuf {
    let path = std::env::current_exe().unwrap().parent().unwrap().join("libveilwatch_test_hostile.so");
    assert!(path.is_file(), "{} was not built", path.display());
    path
}

#[test]
fn a_plugin_that_panics_in_an_analysis_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(hostile(), folder.path().join("own.so")).unwrap();
    let site = Site::with(|config| config.framework.plugins = Some(folder.path().to_owned()));
    let ada = site.session_of(&site.add("ada", Role::Administrator));
    let text = format!(
        "{}\n[[plugin]]\nid = \"own\"\npath = \"own.so\"\nrequired = false\n[plugin.settings]\ndoes = \"panic\"\n",
        veilwatch::config::EXAMPLE.replace("\nerrors = 100 ", "\nerrors = 1 ")
    );
    let fields = [("name", "mine"), ("text", &*text), ("words", ""), ("do", "save")];
    ada.post("/framework", "/pipelines", &fields).is(303);
    let page = ada.get("/plugins?pipeline=mine").is(200).says("library own.so").says("the last 0 analyses");
    page.says("<code>does</code>").lacks("Failed or unused in");
    let key = ada.keep("first.pcap", &crate::support::capture("first-run.pcap"));
    let entry = format!("/entries/{key}");
    let fields = [("pipeline", "mine"), ("packets", ""), ("category", ""), ("note", "")];
    ada.post(&entry, &format!("{entry}/confirm"), &fields).is(303);
    assert_eq!(site.ended(&key), "done");
    ada.get("/plugins?pipeline=mine").is(200).says("Failed or unused in 1 analyses, on 1 records; switched off in 1.");
}

#[test]
fn failures_are_counted_of_ones_own_analyses_and_of_all_for_administrators() {
    let site = Site::with_ada();
    let bea = site.session_of(&site.add("bea", Role::Administrator));
    let [anna, olga] = ["anna", "olga"].map(|name| site.add(name, Role::Analyst));
    let [anna, olga] = [&anna, &olga].map(|account| site.session_of(account));
    anna.analyse("a.pcap", &crate::support::capture("ssh-greeting.pcap"));
    olga.analyse("o.pcap", &crate::support::capture("ssh-greeting.pcap"));
    // What a result with failures leaves; how it gets there is told by the tests that drop plugins in.
    site.execute("INSERT INTO plugin_troubles SELECT id, 'splt', 7, 1 FROM entries");
    anna.get("/plugins").is(200).says("your last 1 analyses").says("in 1 analyses, on 7 records; switched off in 1.");
    bea.get("/plugins").is(200).says("the last 2 analyses").says("in 2 analyses, on 14 records; switched off in 2.");
}
