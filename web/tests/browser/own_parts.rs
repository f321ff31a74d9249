//! A pipeline with a dropped-in part of each kind, from the upload to what each of them says on the pages.

#[path = "../../../host/tests/common/dropins.rs"]
mod dropins;

use crate::browser::Browser;
use crate::captures::example;
use crate::chromedriver::Chromedriver;
use crate::site::Site;

pub(crate) fn each_kind_is_seen_on_the_pages(driver: &Chromedriver) {
    let site = Site::start_prepared(|folder| {
        format!("[[pipeline]]\nname = \"mine\"\nfile = {:?}\n", dropins::own_parts(folder))
    });
    let browser = Browser::logged_in(driver, &site);
    browser.upload(&example("mqtt-sensors.pcap"));
    assert_eq!(browser.texts("#pipeline option"), ["default", "mine"]);
    browser.script("document.getElementById('pipeline').value = 'mine'", Vec::new());
    browser.analyse();
    let result = browser.path();
    let judged_by = |text: &String| text.starts_with("mine · model (");
    assert!(browser.texts(".facts dd").iter().any(judged_by), "{:?}", browser.texts(".facts dd"));
    assert!(browser.text(".verdict").contains("malicious"), "{}", browser.text(".verdict"));

    // The classifier calls it malicious, and the template's words and the feature's column stand with it.
    browser.click(".alert a");
    assert!(browser.path().starts_with(&format!("{result}/flows/")), "{}", browser.path());
    assert!(browser.text(".verdict").starts_with("Malicious"), "{}", browser.text(".verdict"));
    let labels = browser.texts("dt");
    assert!(labels.iter().any(|label| label == "mqtt.clientid"), "{labels:?}");
    let reasons = browser.texts("section[aria-labelledby=h-why] li .dim");
    assert!(!reasons.is_empty(), "it says why");
    // The table of columns is folded up until somebody opens it.
    browser.script("document.querySelectorAll('details').forEach((part) => { part.open = true; })", Vec::new());
    let columns = browser.texts("td code");
    assert!(columns.iter().any(|column| column == "alive.keep_alive"), "{columns:?}");

    // The pipeline in the box can name nothing of it.
    browser.upload(&example("mqtt-sensors.pcap"));
    browser.analyse();
    assert!(!browser.text("body").contains("malicious flows"), "{}", browser.text(".verdict"));
}
