//! The same with a browser that runs no script: pages alone do it all.

use crate::browser::Browser;
use crate::captures::{Files, example, long};
use crate::chromedriver::Chromedriver;
use crate::site::Site;

pub(crate) fn upload_wait_and_result(driver: &Chromedriver) {
    let site = Site::start();
    let browser = Browser::without_script(driver, &site);
    browser.set_up(&site.setup);
    let files = Files::new();
    // Long enough that the wait is seen.
    browser.choose("#captures", &[&files.write("long.pcap", &long(12))]);
    assert_eq!(browser.path(), "/", "no script sends it");
    browser.click("#upload button");
    browser.wait_for("the confirmation is there", || browser.has("#pipeline"));
    browser.click("form[action$='/confirm'] button");
    assert_eq!(browser.text("h1"), "The analysis is under way");
    // Where script runs, what is in a `noscript` is no element.
    assert_eq!(browser.attribute("noscript > meta[http-equiv=refresh]", "content"), "3");
    browser.wait_for("the page has loaded itself again", || browser.has(".verdict"));
    assert!(browser.text(".verdict").contains("malicious flows"), "{}", browser.text(".verdict"));
}

pub(crate) fn a_file_that_is_too_large_gets_a_page(driver: &Chromedriver) {
    let site = Site::start_with(&[("VEILWATCH_WEB_LIMITS__UPLOAD_BYTES", "100000")]);
    let browser = Browser::without_script(driver, &site);
    browser.set_up(&site.setup);
    let files = Files::new();
    // Far larger than what the portal reads before it says no.
    for file in [example("first-run.pcap"), files.write("long.pcap", &long(60))] {
        browser.open("/");
        browser.choose("#captures", &[&file]);
        browser.expect_status(413);
        browser.click("#upload button");
        browser.wait_for("the portal's page is there", || browser.texts("h1") == ["This file cannot be taken"]);
        assert!(browser.text("main").contains("The file is larger than one capture may be."));
        browser.met_all();
    }
}
