//! Dropped, several, refused and damaged files.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::browser::{Browser, until};
use crate::captures::{Files, PNG, example, long};
use crate::chromedriver::Chromedriver;
use crate::site::Site;

pub(crate) fn dropped_files_arrive(driver: &Chromedriver) {
    let site = Site::start();
    let browser = Browser::logged_in(driver, &site);
    let bytes = std::fs::read(example("first-run.pcap")).unwrap();
    let code = "const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([bytes], arguments[1]));
        const form = document.getElementById('upload');
        const send = (name) => form.dispatchEvent(new DragEvent(name, { bubbles: true, cancelable: true, dataTransfer }));
        send('dragenter');
        const over = form.className;
        // The browser opens the file where nobody says no.
        return [over, send('dragover'), send('drop'), form.className];";
    let done = browser.script(code, vec![BASE64_STANDARD.encode(&bytes).into(), "dropped.pcap".into()]);
    assert_eq!(done, json!(["drop over", false, false, "drop"]));
    browser.wait_for("the confirmation is there", || browser.has("#pipeline"));
    let facts = browser.text(".facts");
    assert!(facts.contains("dropped.pcap"), "{facts}");
    let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(facts.contains(&sha256), "every byte arrived: {facts}");
}

pub(crate) fn several_files_get_a_link_each(driver: &Chromedriver) {
    let site = Site::start();
    let browser = Browser::logged_in(driver, &site);
    let names = ["benign-odd.pcap", "benign-office.pcapng"];
    let files = names.map(example);
    browser.choose("#captures", &files.each_ref().map(|file| file.as_path()));
    browser.wait_for("both are there", || browser.texts("#uploads li.ready a").len() == 2);
    assert_eq!(browser.path(), "/", "nobody is sent away");
    assert_eq!(browser.texts("#uploads strong"), names);
    let links = [1, 2].map(|row| browser.attribute(&format!("#uploads li:nth-child({row}) a"), "href"));
    for (link, name) in links.iter().zip(names) {
        browser.open(link);
        assert!(browser.text(".facts").contains(name), "{name}");
    }
    browser.open("/");
    assert_eq!(browser.texts("tbody tr").len(), 2);
}

pub(crate) fn a_file_that_is_too_large_is_said_so_before_it_is_sent(driver: &Chromedriver) {
    let site = Site::start_with(&[("VEILWATCH_WEB_LIMITS__UPLOAD_BYTES", "100000")]);
    let browser = Browser::logged_in(driver, &site);
    browser.choose("#captures", &[&example("first-run.pcap")]);
    browser.wait_for("it is said", || browser.has("#uploads li.failed"));
    let said = browser.text("#uploads li.failed span");
    assert!(said.starts_with("Larger than ") && said.ends_with(", which is the most that can be uploaded."), "{said}");
    let code = "return performance.getEntriesByType('resource').filter((one) => one.name.endsWith('/uploads')).length";
    assert_eq!(browser.script(code, Vec::new()), 0, "nothing was sent");
    // One that fits goes through, on the same page.
    browser.choose("#captures", &[&example("ssh-greeting.pcap")]);
    browser.wait_for("the other one is there", || browser.has("#uploads li.ready a"));
}

pub(crate) fn what_is_no_capture_is_said_so(driver: &Chromedriver) {
    let site = Site::start();
    let browser = Browser::logged_in(driver, &site);
    let files = Files::new();
    for (name, bytes, says) in [
        ("picture.pcap", PNG, "It is no capture. Only pcap and pcapng can be analysed"),
        ("nothing.pcap", &[], "The file is empty."),
    ] {
        browser.open("/");
        browser.expect_status(422);
        browser.choose("#captures", &[&files.write(name, bytes)]);
        browser.wait_for("it is said", || browser.has("#uploads li.failed"));
        assert_eq!(browser.text("#uploads strong"), name);
        let said = browser.text("#uploads li.failed span");
        assert!(said.starts_with(says), "{said}");
        browser.met_all();
    }
    browser.open("/");
    assert!(browser.has(".empty"), "nothing is kept");
}

pub(crate) fn a_damaged_capture_is_analysed_as_far_as_it_goes(driver: &Chromedriver) {
    let site = Site::start();
    let browser = Browser::logged_in(driver, &site);
    let whole = std::fs::read(example("first-run.pcap")).unwrap();
    let files = Files::new();
    let damaged = files.write("half.pcap", &whole[..whole.len() / 2]);
    browser.upload(&damaged);
    assert!(browser.text(".notice.bad").contains("It can be analysed as far as it goes."));
    browser.analyse();
    let sentence = browser.text(".verdict");
    assert!(sentence.contains("this covers only what could be read."), "{sentence}");
    let unseen = browser.text("section[aria-labelledby=h-unseen] ul");
    assert!(unseen.contains("The capture is damaged"), "{unseen}");
}

/// How long anything may take that must come.
const SOON: Duration = Duration::from_secs(60);

pub(crate) fn a_long_file_goes_on_when_the_portal_comes_back_and_when_the_page_does(driver: &Chromedriver) {
    let mut site = Site::start();
    let road = Arc::new(AtomicU64::new(0));
    site.slow_down(Arc::clone(&road));
    let browser = Browser::logged_in(driver, &site);
    let short = std::fs::metadata(example("first-run.pcap")).unwrap().len();
    let bytes = long(u32::try_from((24 << 20) / short).unwrap());
    let files = Files::new();
    let file = files.write("long.pcap", &bytes);
    let bar =
        || browser.script("return document.querySelector('#uploads progress').value", Vec::new()).as_f64().unwrap();
    road.store(10, Ordering::Relaxed);
    browser.choose("#captures", &[&file]);
    // Nothing is looked at before it stands still: on a busy machine it would be over meanwhile.
    until("it is in the middle", SOON, || (browser.has("#uploads progress") && bar() > 30.0).then_some(()));
    browser.expect_loss();
    site.kill();
    browser.wait_for("the loss is said", || browser.text("#uploads span").contains("goes on by itself"));
    site.again();
    until("it goes on", SOON, || (browser.text("#uploads span").is_empty() && bar() > 60.0).then_some(()));
    // What comes after a pause, too.
    let press = "document.querySelector('#uploads button').click()";
    browser.script(press, Vec::new());
    assert!(browser.text("#uploads span").starts_with("Paused."));
    // What is on the road still arrives.
    road.store(0, Ordering::Relaxed);
    // The page is loaded anew, and the same file chosen again.
    browser.open("/");
    let listed = browser.text("#unfinished li");
    assert!(listed.contains("long.pcap") && listed.contains("came"), "{listed}");
    browser.choose("#captures", &[&file]);
    browser.wait_for("the confirmation is there", || browser.has("#pipeline"));
    let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(browser.text(".facts").contains(&sha256), "every byte arrived, and in order");
    browser.open("/");
    assert!(!browser.has("#unfinished"), "nothing is left of it");
    assert_eq!(browser.texts("tbody tr").len(), 1);
}

pub(crate) fn every_capture_of_a_folder_arrives(driver: &Chromedriver) {
    let site = Site::start();
    let browser = Browser::logged_in(driver, &site);
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("deeper")).unwrap();
    std::fs::copy(example("ssh-greeting.pcap"), folder.path().join("one.pcap")).unwrap();
    std::fs::copy(example("benign-odd.pcap"), folder.path().join("deeper/two.pcap")).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "no capture").unwrap();
    browser.expect_status(422);
    browser.choose("#folder", &[folder.path()]);
    browser.wait_for("both are there", || browser.texts("#uploads li.ready a").len() == 2);
    browser.wait_for("the third is refused", || browser.has("#uploads li.failed"));
    assert!(browser.text("#uploads li.failed span").starts_with("It is no capture."));
    assert!(browser.texts("#uploads strong").iter().any(|name| name.ends_with("deeper/two.pcap")));
    browser.met_all();
}
