//! The second factor, and signing in by a provider on another site.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use totp_rs::{Builder, Secret};

use crate::browser::{Browser, NAME, PASSWORD};
use crate::chromedriver::Chromedriver;
use crate::look::{as_it_is, in_every_way};
use crate::site::Site;
use crate::stub::Stub;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Logs in as far as the code.
fn half(browser: &Browser) {
    browser.open("/login");
    browser.fill("#name", NAME);
    browser.fill("#password", PASSWORD);
    browser.click("form[action='/login'] button");
    browser.wait_for_path("/login/code");
}

pub(crate) fn a_second_factor_and_a_recovery_code(driver: &Chromedriver) {
    let site = Site::start();
    let browser = Browser::logged_in(driver, &site);
    browser.open("/account");
    browser.click("a[href='/account/second-factor']");
    browser.fill("#current", PASSWORD);
    browser.click("form[action='/account/second-factor'] button");
    as_it_is(&browser);
    // The picture is there, and as large as it has to be for a camera.
    let width = browser.script("return document.querySelector('.qr svg').getBoundingClientRect().width", Vec::new());
    assert!(width.as_f64().unwrap() >= 180.0, "{width}");
    let key = Secret::try_from_base32(browser.text("#key").replace(' ', "")).unwrap();
    let totp = Builder::new().with_secret(key).build().unwrap();
    browser.fill("#code", &totp.generate(now()).to_string());
    browser.click("main form button");
    let codes = browser.texts(".codes code");
    assert_eq!(codes.len(), 10);
    browser.click("main a.button");
    browser.wait_for_path("/");

    browser.click(".logout button");
    half(&browser);
    in_every_way(&browser, "/login/code", "输入验证码", None);
    // The first code is used up; the next one is good already.
    browser.fill("#code", &totp.generate(now() + 30).to_string());
    browser.click("main form button");
    browser.wait_for_path("/");
    browser.click(".logout button");
    half(&browser);
    browser.fill("#code", &codes[3]);
    browser.click("main form button");
    browser.wait_for_path("/account/second-factor");
    assert!(browser.texts("main p").contains(&"Recovery codes left: 9.".to_owned()));
    as_it_is(&browser);
}

pub(crate) fn a_provider_on_another_site(driver: &Chromedriver) {
    // `localhost` and 127.0.0.1 are two sites to a browser.
    let stub = Stub::start_at("localhost", i64::try_from(now()).unwrap());
    stub.wish(|wish| drop(wish.claims.insert("groups".to_owned(), json!(["soc"]))));
    let site = Site::start_prepared(|_| {
        format!(
            "[oidc]\nissuer = '{}'\nclient_id = 'veilwatch'\ncreate_accounts = true\n\
             roles = {{ claim = 'groups', map = {{ soc = 'analyst' }} }}\n",
            stub.issuer
        )
    });
    let browser = Browser::logged_in(driver, &site);
    browser.click(".logout button");
    browser.open("/marks");
    assert_eq!(browser.path(), "/login");
    browser.click("form[action='/login/provider'] button");
    browser.wait_for("the provider asks", || browser.has("#yes"));
    browser.click("#yes");
    browser.wait_for_path("/marks");
    assert_eq!(browser.text(".who"), "Grace H.");
    // And it lasts.
    browser.open("/account");
    assert_eq!(browser.path(), "/account");
}
