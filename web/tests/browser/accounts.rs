//! First run, log-in and log-out, by mouse and by keyboard.

use serde_json::json;
use thirtyfour::Key;

use crate::browser::{Browser, NAME, PASSWORD};
use crate::chromedriver::Chromedriver;
use crate::site::Site;

pub(crate) fn the_first_run_and_logging_in(driver: &Chromedriver) {
    let site = Site::start();
    let browser = Browser::open_at(driver, &site);
    // Without an account there is nothing to log in with.
    browser.open("/");
    assert_eq!(browser.path(), "/setup");
    browser.set_up(&site.setup);
    assert_eq!(browser.text(".who"), "Ada Lovelace");
    assert_eq!(browser.text(".empty"), "There are no entries yet.");
    // The link works once.
    browser.open(&site.setup);
    assert_eq!(browser.path(), "/");

    browser.click(".logout button");
    browser.wait_for_path("/login");
    browser.fill("#name", NAME);
    browser.fill("#password", "harbour candle violon");
    browser.expect_status(422);
    browser.click("main form button");
    assert_eq!(browser.text(".notice.bad"), "Login name or password is wrong.");
    browser.met_all();
    browser.open("/account");
    assert_eq!(browser.path(), "/login", "still a stranger");

    // On to where they wanted to go.
    browser.fill("#name", NAME);
    browser.fill("#password", PASSWORD);
    browser.click("main form button");
    browser.wait_for_path("/account");
    assert_eq!(browser.text(".who"), "Ada Lovelace");
}

pub(crate) fn the_keyboard_is_enough(driver: &Chromedriver) {
    let site = Site::start();
    let browser = Browser::logged_in(driver, &site);
    browser.click(".logout button");
    browser.wait_for_path("/login");
    browser.press(NAME);
    browser.press(Key::Tab);
    focus_is_seen(&browser);
    browser.press(PASSWORD);
    browser.press(Key::Enter);
    browser.wait_for_path("/");
    // The way past the navigation comes first.
    browser.press(Key::Tab);
    assert_eq!(focused(&browser), "Skip to the content");
    focus_is_seen(&browser);
    browser.press(Key::Enter);
    browser.press(Key::Tab);
    assert_eq!(focused(&browser), "captures");
    focus_is_seen(&browser);
    // Everything that can be used is come by, and seen; the last is in the footer.
    browser.open("/account");
    let mut seen = Vec::new();
    while seen.len() < 60 && seen.last().is_none_or(|last| last != "简体中文") {
        browser.press(Key::Tab);
        focus_is_seen(&browser);
        seen.push(focused(&browser));
    }
    for name in ["Veilwatch", "Log out", "current", "label", "scope", "days", "Make a token", "English", "简体中文"]
    {
        assert!(seen.iter().any(|one| one == name), "{name}: {seen:?}");
    }
}

/// What has the focus, by its id or its words.
fn focused(browser: &Browser) -> String {
    let code = "const at = document.activeElement; return at.id || at.textContent.trim();";
    browser.script(code, Vec::new()).as_str().unwrap().to_owned()
}

/// What has the focus has a ring around it, and is on the screen.
fn focus_is_seen(browser: &Browser) {
    let code = "const at = document.activeElement;
        const style = getComputedStyle(at), box = at.getBoundingClientRect();
        return [at.matches(':focus-visible'), style.outlineStyle, parseFloat(style.outlineWidth) >= 2,
            box.width > 0 && box.right > 0 && box.bottom > 0 && box.left < innerWidth && box.top < innerHeight];";
    let seen = browser.script(code, Vec::new());
    assert_eq!(seen, json!([true, "solid", true, true]), "{}", focused(browser));
}
