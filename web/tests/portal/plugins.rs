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
