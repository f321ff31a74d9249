//! The queue in a browser: worked through by keyboard, and by links and forms alone.

use serde_json::json;
use thirtyfour::Key;

use crate::browser::Browser;
use crate::captures::example;
use crate::chromedriver::Chromedriver;
use crate::site::Site;

/// The row that the keyboard is on, from 0.
fn focused(browser: &Browser) -> i64 {
    let code = "return [...document.querySelectorAll('#rows a.item')].indexOf(document.activeElement)";
    browser.script(code, Vec::new()).as_i64().unwrap()
}

/// The rows of the list.
fn rows(browser: &Browser) -> Vec<String> {
    browser.texts("#rows a.item")
}

pub(crate) fn the_keyboard_works_through_the_queue(driver: &Chromedriver) {
    let site = Site::start();
    let browser = Browser::logged_in(driver, &site);
    // Two servers each.
    for _ in 0..2 {
        browser.upload(&example("first-run.pcap"));
        browser.analyse();
    }
    browser.open("/triage");
    let before = rows(&browser).len();
    assert!(before >= 4, "{before:?}");
    browser.press("jjk");
    assert_eq!(focused(&browser), 0);
    browser.press("j");
    assert_eq!(focused(&browser), 1);
    browser.press(Key::Enter + "");
    browser.wait_for("the item is there", || browser.texts("h1") == ["Conversation"]);
    // Given to oneself, talked about, and decided: the next one is there.
    browser.press("t");
    browser.wait_for("it is taken", || browser.texts("#item-assignee") == ["Ada Lovelace"]);
    browser.press("/");
    browser.press("two lines" + Key::Enter + "of it, with j and k");
    browser.press(Key::Escape + "");
    browser.click("form[action$='/comments'] button");
    browser
        .wait_for("it is said", || browser.texts("#comments .lines").first().is_some_and(|text| text.contains('\n')));
    let first = browser.path();
    browser.press("d");
    browser.wait_for("the next one is there", || browser.path() != first && browser.texts("#item-state") == ["new"]);
    let second = browser.path();
    browser.press("k");
    browser.wait_for("the one before is there", || {
        ![&first, &second].contains(&&browser.path()) && browser.has("#item-state")
    });
    browser.press("u");
    browser.wait_for("the list is there, without what was dismissed", || rows(&browser).len() == before - 1);

    // Several at once: chosen, asked, confirmed.
    browser.press("jxjx");
    let chosen = "return [...document.querySelectorAll('#rows input:checked')].length";
    assert_eq!(browser.script(chosen, Vec::new()), json!(2));
    browser.press("c");
    browser.wait_for("it is asked", || browser.texts("h1") == ["Change all of these?"]);
    assert_eq!(browser.texts("#chosen li").len(), 2);
    browser.press(Key::Enter + "");
    browser.wait_for("both are changed", || browser.texts("p.good") == ["It is changed."]);
    browser.open("/triage?state=confirmed");
    assert_eq!(rows(&browser).len(), 2);
    // With nothing chosen the row that one is on is meant.
    browser.press("js");
    browser.wait_for("it is asked", || browser.has("#chosen"));
    assert_eq!(browser.texts("#chosen li").len(), 1);
    browser.resize(360, 740);
    browser.look();
    browser.click("footer button[value=zh]");
    browser.open("/triage");
    assert_eq!(browser.text("h1"), "研判");
}

pub(crate) fn links_and_forms_are_enough(driver: &Chromedriver) {
    let site = Site::start();
    let browser = Browser::without_script(driver, &site);
    browser.set_up(&site.setup);
    browser.choose("#captures", &[&example("malicious-beacon-tls12.pcap")]);
    browser.click("#upload button");
    browser.wait_for("the confirmation is there", || browser.has("#pipeline"));
    browser.click("form[action$='/confirm'] button");
    browser.wait_for("the result is there", || browser.has(".verdict"));
    // From an alert: a mark for the whole pair, counted before it is set.
    browser.click(".alert p a");
    let option = browser.text("#scope option[value=pair]");
    assert!(option.starts_with("all flows from ") && option.contains("covers"), "{option}");
    browser.tick("#scope option[value=pair]");
    browser.tick("#why option[value=behaviour]");
    browser.click("form[action$='/mark'] button");
    browser.wait_for("it is kept", || browser.has("#marks li"));
    assert!(browser.text("#marks li").contains("how it behaves"));
    browser.click("nav a[href='/triage']");
    browser.click("#rows a.item");
    assert!(browser.text("main").contains("how it behaves"));
    browser.tick("#item-becomes option[value=closed]");
    browser.fill("#item-words", "a drill");
    browser.click("form.card button");
    browser.wait_for("it is closed", || browser.texts("#item-state") == ["closed"]);
    browser.fill("#comment", "first line\nsecond line");
    browser.click("form[action$='/comments'] button");
    browser.wait_for("it is said", || browser.has("#comments .lines"));
    browser.click("#comments form a");
    browser.fill("#comments textarea", "said otherwise");
    browser.click("#comments form[action$='/edit'] button");
    browser.wait_for("it is changed", || browser.texts("#comments .lines") == ["said otherwise"]);
    browser.click("#comments form[action$='/delete'] button");
    browser.wait_for("it is deleted", || !browser.has("#comments .lines"));
    browser.open("/triage?state=all");
    browser.tick("#rows input");
    browser.click("button[name=do][value=new]");
    browser.wait_for("it is asked", || browser.has("#chosen"));
    browser.click("form[action='/triage/change'] button");
    browser.wait_for("it is changed", || browser.has("p.good"));
}
