//! A pipeline that is written in the browser, mistakes and all, and an entry of a table.

use serde_json::json;

use crate::browser::Browser;
use crate::captures::example;
use crate::chromedriver::Chromedriver;
use crate::site::Site;

pub(crate) fn a_pipeline_is_mended_saved_and_used_and_a_port_gets_a_name(driver: &Chromedriver) {
    let site = Site::start();
    let browser = Browser::logged_in(driver, &site);
    browser.click("nav a[href='/framework']");
    browser.click("main a[href='/pipelines']");
    browser.click("main a[href='/pipelines/new']");
    browser.fill("#name", "mine");
    browser.fill("#words", "Fewer reasons");
    let change = |from: &str, to: &str| {
        let code = "const text = document.getElementById('text'); const before = text.value;
            text.value = before.replace(arguments[0], arguments[1]);
            text.dispatchEvent(new Event('input')); return text.value !== before;";
        assert_eq!(browser.script(code, vec![from.into(), to.into()]), true, "{from}");
    };
    change("reasons = 4 ", "raesons = 2 ");
    browser.click("button[value=check]");
    // It is said beside the text, and what was typed is still there.
    assert_eq!(browser.text("#mistakes mark"), "raesons");
    assert!(browser.text("#mistakes").contains("did you mean `reasons`?"), "{}", browser.text("#mistakes"));
    let typed = browser.script("return ['name', 'words'].map((id) => document.getElementById(id).value)", Vec::new());
    assert_eq!(typed, json!(["mine", "Fewer reasons"]));
    browser.look();
    browser.resize(360, 740);
    browser.look();
    browser.resize(1200, 800);
    // Its lines are numbered, and the link of the mistake leads to it.
    let numbers = "return document.querySelector('.numbers').textContent.split('\\n').length
        === document.getElementById('text').value.split('\\n').length";
    assert_eq!(browser.script(numbers, Vec::new()), true);
    browser.script("document.querySelector('#mistakes a[data-line]').click()", Vec::new());
    let chosen = "const text = document.getElementById('text');
        return document.activeElement === text && text.value.slice(text.selectionStart).startsWith('raesons = 2')";
    assert_eq!(browser.script(chosen, Vec::new()), true);
    change("raesons = 2 ", "reasons = 2 ");
    browser.click("button[value=check]");
    assert!(browser.text("#mistakes").starts_with("Nothing is wrong"), "{}", browser.text("#mistakes"));
    browser.click("button[value=save]");
    browser.wait_for_path("/pipelines/mine");
    assert!(browser.text(".notice.good").contains("is saved"), "{}", browser.text(".notice.good"));

    // A port gets a name.
    browser.open("/tables?table=tcp&search=443");
    browser.fill("#key", "443");
    browser.fill("#field-name", "our-portal");
    browser.click("section[aria-labelledby=add] form button");
    browser.wait_for("it is there", || browser.texts("td").iter().any(|cell| cell == "our-portal"));
    assert!(browser.text("section[aria-labelledby=h-conflicts]").contains("takes the place of https"));

    // Both are used.
    browser.open("/");
    browser.upload(&example("first-run.pcap"));
    assert_eq!(browser.texts("#pipeline option"), ["default", "mine"]);
    browser.script("document.getElementById('pipeline').value = 'mine'", Vec::new());
    browser.analyse();
    assert!(browser.texts(".facts dd").iter().any(|fact| fact.contains("mine@1")), "{:?}", browser.texts(".facts dd"));
    let entry = browser.path();
    browser.open(&format!("{entry}/packets?where=tcp.dstport+%3D%3D+443"));
    browser.wait_for("the packets are there", || browser.has("#tree a"));
    let tree = browser.texts("#tree a").join("\n");
    assert!(tree.contains("our-portal"), "{tree}");
    for path in ["/pipelines/mine", "/plugins?pipeline=mine", "/tables?table=warn", "/system"] {
        browser.open(path);
        browser.look();
    }
}
