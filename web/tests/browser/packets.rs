//! Packets in a browser: list, filter, fields that light their bytes, and streams, by keyboard and without script.

use serde_json::json;
use thirtyfour::Key;

use crate::browser::Browser;
use crate::captures::example;
use crate::chromedriver::Chromedriver;
use crate::site::Site;

/// The numbers in the list.
fn listed(browser: &Browser) -> Vec<String> {
    browser.texts("#rows tbody td:first-child")
}

/// What is lit: in hexadecimal, and as text.
fn lit(browser: &Browser) -> Vec<String> {
    browser.texts("#bytes mark")
}

/// Waits until the packet with this number is the one that is shown.
fn shown(browser: &Browser, number: &str) {
    browser.wait_for("the packet is shown", || browser.texts("#h-packet") == [format!("Packet {number}")]);
    assert_eq!(browser.texts("#rows a[aria-current]"), [number]);
}

pub(crate) fn the_keyboard_goes_from_the_list_to_bytes_and_streams(driver: &Chromedriver) {
    let site = Site::start();
    let browser = Browser::logged_in(driver, &site);
    browser.upload(&example("first-run.pcap"));
    browser.analyse();
    let entry = browser.path();
    // From an alert's reasons to the packet, and from there to all of them.
    browser.click(".alert a[href*='/packets?at=']");
    browser.wait_for("the packet is there", || browser.has("#packet h2"));
    browser.open(&format!("{entry}/packets"));
    browser.wait_for("all rows are there", || listed(&browser).len() == 50);
    shown(&browser, "1");
    browser.script("window.isTheSame = true", Vec::new());
    browser.press("jjj");
    shown(&browser, "4");
    browser.press("k");
    shown(&browser, "3");
    browser.press(Key::Down + "");
    shown(&browser, "4");
    assert_eq!(browser.script("return window.isTheSame", Vec::new()), true, "nothing was loaded again");
    assert!(browser.script("return location.search", Vec::new()).as_str().unwrap().ends_with("at=4"));
    browser.press("n");
    browser.wait_for("the next page is there", || listed(&browser).first().is_some_and(|first| first == "51"));
    browser.press("p");
    browser.wait_for("the first page is there", || listed(&browser).first().is_some_and(|first| first == "1"));

    // A field lights its bytes in both columns; the next one lights others.
    browser.press("t");
    let of_field = |name: &str| {
        let code = "const field = document.querySelector(`#tree a[title='${arguments[0]}']`); field.focus();
            return [document.activeElement === field, field.getAttribute('aria-current')];";
        assert_eq!(browser.script(code, vec![name.into()]), json!([true, "true"]));
        lit(&browser)
    };
    let [bytes, _] = of_field("eth.dst").try_into().unwrap();
    assert_eq!(bytes.len(), 6 * 3 - 1);
    browser.press(Key::Down + "");
    let next = lit(&browser);
    assert!(next.len() == 2 && next[0] != bytes && next[0].len() == 6 * 3 - 1, "{next:?}");
    assert_eq!(browser.texts("#tree a[aria-current]").len(), 1);
    // What the browser lit is what the portal lights.
    let code = "return document.querySelector('#tree a[aria-current]').href";
    let link = browser.script(code, Vec::new());
    browser.open(&link.as_str().unwrap()[site.address.len()..]);
    assert_eq!(lit(&browser), next);

    // The filter: a wrong one is pointed at, a right one lists what it finds.
    browser.press("/");
    browser.press("tls.handshake.tipe == 1" + Key::Enter);
    browser.wait_for("it is said so", || browser.has("pre.pointed mark"));
    assert_eq!(browser.text("pre.pointed mark"), "tls.handshake.tipe");
    assert!(listed(&browser).is_empty());
    browser.fill("#where", "tls.hands");
    browser.wait_for("names are offered", || {
        let code = "return [...document.querySelectorAll('#fields option')].map((one) => one.value)";
        browser.script(code, Vec::new()).as_array().unwrap().contains(&json!("tls.handshake.type"))
    });
    browser.fill("#where", "tls.handshake.type == 1");
    browser.press(Key::Enter + "");
    browser.wait_for("it is found", || browser.text("p.dim[role=status]").starts_with("Packets found: "));
    let found = listed(&browser);
    assert!(found.len() > 10, "{found:?}");
    browser.press("j");
    shown(&browser, &found[1]);
    let tree = browser.texts("#tree a").join("\n");
    assert!(tree.contains("server_name"), "{tree}");

    // What both sides said.
    browser.press("s");
    browser.wait_for("the stream is there", || browser.has(".said.first") && browser.has(".said.second"));
    assert_eq!(browser.text("h1"), "Stream");
    browser.resize(360, 740);
    browser.look();
    browser.click("main > p.row a");
    assert!(browser.texts(".said pre")[0].starts_with("00000000"));
    browser.click("footer button[value=zh]");
    assert_eq!(browser.text("h1"), "会话内容");
    browser.open(&format!("{entry}/packets?at=60"));
    assert_eq!((browser.text("h1"), browser.text("#h-packet")), ("数据包".to_owned(), "数据包 60".to_owned()));
    browser.press("j");
    browser.wait_for("the next packet is shown", || browser.text("#h-packet") == "数据包 61");
}

pub(crate) fn links_and_forms_are_enough(driver: &Chromedriver) {
    let site = Site::start();
    let browser = Browser::without_script(driver, &site);
    browser.set_up(&site.setup);
    browser.choose("#captures", &[&example("ssh-greeting.pcap")]);
    browser.click("#upload button");
    let entry = browser.path();
    browser.open(&format!("{entry}/packets"));
    browser.wait_for("rows are there", || browser.has("#rows"));
    browser.fill("#where", "tcp");
    browser.click("form[role=search] button");
    browser.wait_for("it is found", || browser.text("p.dim[role=status]").starts_with("Packets found: "));
    browser.click("#rows tbody tr:nth-child(2) a");
    browser.click("#tree a[title='ip.src']");
    assert_eq!(lit(&browser)[0].len(), 4 * 3 - 1);
    browser.click("#stream");
    assert!(browser.text(".stream").contains("SSH-2.0-"));
}
