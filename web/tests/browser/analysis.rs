//! From the upload to the result, and what is done with it.

use serde_json::json;

use crate::browser::Browser;
use crate::captures::{Files, example};
use crate::chromedriver::Chromedriver;
use crate::site::Site;

pub(crate) fn from_upload_to_deletion(driver: &Chromedriver) {
    let site = Site::start();
    let browser = Browser::logged_in(driver, &site);
    browser.upload(&example("first-run.pcap"));
    assert_eq!(browser.text("h1"), "Analyse this capture?");
    assert!(browser.text(".facts").contains("first-run.pcap"));
    browser.fill("#note", "from the first floor");
    browser.analyse();
    let result = browser.path();
    assert!(browser.text(".verdict").contains("26 malicious flows"), "{}", browser.text(".verdict"));
    assert!(browser.text(".facts").contains("from the first floor"));
    assert!(!browser.texts(".alert").is_empty());

    mark_the_first_alert(&browser, &result);
    the_report_stands_alone(&browser);
    the_list_finds_it(&browser, &result);
    describe_and_delete(&browser, &result);

    browser.click(".logout button");
    browser.wait_for_path("/login");
    browser.open(&result);
    assert_eq!(browser.path(), "/login");
}

fn mark_the_first_alert(browser: &Browser, result: &str) {
    browser.click(".alert a");
    assert!(browser.path().starts_with(&format!("{result}/flows/")));
    assert!(browser.text(".verdict").starts_with("Malicious"));
    assert!(!browser.texts("section[aria-labelledby=h-why] li").is_empty());
    assert!(browser.texts("dt").iter().any(|label| label == "tls.ja3"), "{:?}", browser.texts("dt"));
    browser.fill("#reason", "the computer was cleaned after that");
    browser.click("form[action$='/mark'] button");
    assert_eq!(browser.text(".notice.good"), "The mark is kept.");
    let is_kept = || {
        let mark = browser.text("section[aria-labelledby=h-marks] li");
        assert!(mark.contains("malicious") && mark.contains("the computer was cleaned after that"), "{mark}");
    };
    is_kept();
    browser.open(result);
    is_kept();
    assert_eq!(browser.texts(".alert .tag:not(.malicious):not(.suspicious)"), ["malicious"]);
}

/// Somebody saves the report, and opens it where there is no portal.
fn the_report_stands_alone(browser: &Browser) {
    let link = browser.attribute("a[href$='/report.html']", "href");
    let code = "const done = arguments[1];
        fetch(arguments[0]).then(async (answer) => {
          const headers = ['Content-Type', 'Content-Disposition'].map((name) => answer.headers.get(name));
          done([answer.status, ...headers, await answer.text()]);
        });";
    let answer = browser.script_that_waits(code, vec![link.into()]);
    let [status, kind, disposition, report] = answer.as_array().unwrap().as_slice() else { panic!("{answer}") };
    assert_eq!(*status, 200);
    assert!(kind.as_str().unwrap().starts_with("text/html"), "{kind}");
    assert!(disposition.as_str().unwrap().starts_with("attachment"), "{disposition}");
    let files = Files::new();
    browser.open_file(&files.write("report.html", report.as_str().unwrap().as_bytes()));
    browser.resize(360, 740);
    browser.look();
    browser.resize(1200, 800);
    let text = browser.text("body");
    for words in ["first-run.pcap", "26 malicious flows", "the computer was cleaned after that", "from the first floor"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(browser.has("svg"), "the pictures are in it");
    let loaded = "return performance.getEntriesByType('resource').map((one) => one.name)";
    assert_eq!(browser.script(loaded, Vec::new()), json!([]), "nothing is loaded beside it");
}

fn the_list_finds_it(browser: &Browser, result: &str) {
    browser.open("/");
    let rows = browser.texts("tbody tr");
    assert_eq!(rows.len(), 1);
    assert!(rows[0].contains("first-run.pcap") && rows[0].contains("Malicious"), "{rows:?}");
    for (search, found) in [("first floor", 1), ("first-run", 1), ("second floor", 0)] {
        browser.fill("#search", search);
        browser.click(".filter button");
        assert_eq!(browser.texts("tbody tr").len(), found, "{search}");
        assert_eq!(browser.has(".empty"), found == 0, "{search}");
    }
    browser.open("/");
    browser.click("tbody a");
    assert_eq!(browser.path(), result);
}

fn describe_and_delete(browser: &Browser, result: &str) {
    browser.fill("#note", "from the cellar");
    browser.click("form[action$='/note'] button");
    assert_eq!(browser.text(".notice.good"), "Saved.");
    browser.open("/");
    assert!(browser.text("tbody tr").contains("from the cellar"));

    browser.open(result);
    browser.click("a.danger");
    assert_eq!(browser.text("h1"), "Delete this entry?");
    browser.click("main form a");
    assert_eq!(browser.path(), result, "kept");
    browser.click("a.danger");
    browser.click("button.danger");
    browser.wait_for_path("/");
    assert!(browser.text(".notice.good").starts_with("The entry is deleted"));
    assert!(browser.has(".empty"));
    browser.expect_status(404);
    browser.open(result);
    assert_eq!(browser.text("h1"), "Not found");
    browser.met_all();
}
