//! A model is trained, compared, promoted and rolled back.

#[path = "../common/quick.rs"]
mod quick;

use crate::browser::Browser;
use crate::chromedriver::Chromedriver;
use crate::site::Site;

pub(crate) fn trained_compared_promoted_and_rolled_back(driver: &Chromedriver) {
    let site = Site::start_prepared(|folder| {
        let file = quick::quick_pipeline(folder);
        format!(
            "[models]\nregistry = {:?}\nuse_champions = true\n[training]\ndata = {:?}\n[[pipeline]]\nname = \"quick\"\nfile = {file:?}\n",
            folder.join("registry"),
            quick::examples(),
        )
    });
    let browser = Browser::logged_in(driver, &site);
    // With other seeds a fold of so few captures may have nothing benign to learn from.
    for (version, seed) in [("quick@1", "1"), ("quick@2", "4")] {
        browser.open("/training");
        browser.script("document.getElementById('pipeline').value = 'quick'", Vec::new());
        browser.script("document.querySelector('input[value=labels]').checked = true", Vec::new());
        browser.fill("#seed", seed);
        browser.click("main form.card button");
        // The page waits by itself, and shows what came of it.
        browser.wait_for("it is trained", || browser.has("#h-versus"));
        browser.look();
        assert!(browser.text(".verdict").contains(version), "{}", browser.text(".verdict"));
        browser.click(".verdict a");
        assert!(browser.has("#h-card") && browser.has("#h-evaluation"), "the card and how it was judged are there");
        browser.look();
        browser.click("a[href$='/promote']");
        browser.look();
        if browser.has("input[name=even_if_worse]") {
            browser.script("document.querySelector('input[name=even_if_worse]').checked = true", Vec::new());
        }
        browser.click("button.danger");
        browser.wait_for("it is the champion", || browser.has(".notice.good"));
    }
    browser.click("a[href$='/roll-back']");
    assert!(browser.text("main").contains("quick@2, champion now"), "{}", browser.text("main"));
    browser.look();
    browser.click("button.danger");
    browser.wait_for("the first one is back", || browser.path().starts_with("/models/quick@1"));
    assert!(browser.text("main").contains("Champion"), "{}", browser.text("main"));
}
