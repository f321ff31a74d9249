//! Two people and a team: shared, seen by the other, taken back.

use crate::browser::{Browser, PASSWORD};
use crate::captures::example;
use crate::chromedriver::Chromedriver;
use crate::site::Site;

pub(crate) fn what_is_shared_is_seen_until_it_is_taken_back(driver: &Chromedriver) {
    let site = Site::start();
    let ada = Browser::logged_in(driver, &site);
    ada.open("/people");
    ada.script("document.querySelector('#role').value = 'analyst'", Vec::new());
    ada.click("form[action='/people/invitations'] button");
    let link = ada.attribute("a.link", "href");
    let bob = Browser::open_at(driver, &site);
    bob.open(&link[link.find("/invitation").unwrap()..]);
    for (field, text) in [("#name", "bob"), ("#display-name", "Bob"), ("#password", PASSWORD), ("#again", PASSWORD)] {
        bob.fill(field, text);
    }
    bob.click("main form button");
    bob.wait_for_path("/");
    assert!(!bob.has("#whose"), "who is in no team has nothing to choose");

    // A team of both.
    ada.open("/teams");
    ada.fill("#name", "Night shift");
    ada.click("form[action='/teams'] button");
    ada.wait_for("the team is there", || ada.has("#put"));
    let team = ada.path();
    for left in [2, 1] {
        assert_eq!(ada.texts("#account option").len(), left);
        ada.click("#put button");
        ada.wait_for("one more is in it", || ada.texts("section:first-of-type tbody tr").len() == 3 - left);
    }
    assert_eq!(ada.texts("section:first-of-type tbody tr td:first-child"), ["ada", "bob"]);

    // Shared at the confirmation.
    ada.upload(&example("ssh-greeting.pcap"));
    ada.script("document.querySelector('#team').selectedIndex = 1", Vec::new());
    ada.analyse();
    let entry = ada.path();
    bob.open("/");
    assert_eq!(bob.texts("tbody td:last-child"), ["Ada Lovelace Night shift"]);
    bob.click("tbody a");
    bob.wait_for_path(&entry);
    assert!(bob.has("#note") && !bob.has("a.danger"), "he works with it, and does not delete it");

    // Taken back.
    ada.click(&format!("form[action='{entry}/take-back'] button"));
    ada.wait_for("it is hers alone", || !ada.has("form[action$='/take-back']"));
    bob.expect_status(404);
    bob.open(&entry);
    assert_eq!(bob.text("h1"), "Not found");
    bob.met_all();
    bob.open("/");
    assert!(bob.has("#whose") || bob.has(".empty"));
    assert!(!bob.has("tbody a"));

    // A reason keeps it.
    ada.fill("#reason-to-keep", "case 7");
    ada.click(&format!("form[action='{entry}/keep'] button"));
    ada.wait_for("it is kept", || ada.has(&format!("form[action='{entry}/let-go']")));
    ada.open(&team);
    assert!(ada.text("main > p:first-of-type").contains("0 entries"));
}
