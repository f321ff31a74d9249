//! A live session in a browser: from the interface to the result, with what comes as it comes.

use thirtyfour::Key;

use crate::browser::Browser;
use crate::captures::example;
use crate::chromedriver::Chromedriver;
use crate::look::in_every_way;
use crate::room::{ENDS, Room, frames_of, some_frames};
use crate::site::Site;

pub(crate) fn a_session_from_the_interface_to_the_result(driver: &Chromedriver) {
    let room = match Room::new() {
        Ok(room) => room,
        Err(why) => return crate::say(&format!("skipped: {why}")),
    };
    let site = Site::start_live(&room);
    let browser = Browser::logged_in(driver, &site);
    in_every_way(&browser, "/live", "实时抓包", None);
    // A filter that is wrong is said so where it was written.
    browser.script(&format!("document.getElementById('interface').value = '{}'", ENDS[1]), Vec::new());
    browser.script("document.getElementById('pipeline').value = 'quick'", Vec::new());
    browser.fill("#filter", "not port 5353");
    browser.picture("live-interfaces");
    browser.click("form[action='/live'] button");
    browser.wait_for("it captures", || browser.texts("#live-state") == ["It captures."]);
    let session = browser.path();
    browser.script("window.isTheSame = true", Vec::new());

    // Packets, alerts and figures come by themselves.
    let frames = frames_of(&example("first-run.pcap"));
    room.send(&frames);
    let last = || browser.texts("#rows tbody tr:last-child td:first-child").concat();
    browser.wait_for("the last packet is there", || last() == frames.len().to_string());
    browser.wait_for("an alert is there", || browser.has("#live-found .alert.malicious a"));
    assert_eq!(browser.texts("#live-lost"), ["0"]);
    let at_the_end = "const pane = document.querySelector('#rows').closest('[role=region]');
        return pane.scrollHeight - pane.scrollTop - pane.clientHeight < 60";
    assert_eq!(browser.script(at_the_end, Vec::new()), true, "it follows");
    assert_eq!(browser.script("return window.isTheSame", Vec::new()), true, "nothing was loaded again");
    // Whoever scrolls up stays there.
    let up = "document.querySelector('#rows').closest('[role=region]').scrollTop = 0";
    browser.script(up, Vec::new());
    room.send(&some_frames(2));
    browser.wait_for("they came", || last() == (frames.len() + 2).to_string());
    assert_eq!(browser.script(at_the_end, Vec::new()), false, "it stays");
    // Keys walk through the list, and the packet is shown below it.
    browser.press("j");
    browser.wait_for("a packet is shown", || browser.has("#packet #h-packet"));
    assert_eq!(browser.script("return window.isTheSame", Vec::new()), true, "nothing was loaded again");
    browser.picture("live");

    // From the alert to its packet, and a display filter.
    browser.click("#live-found .alert.malicious a");
    browser.wait_for("the packet is there", || browser.has("#packet #h-packet"));
    assert!(browser.path().starts_with(&session));
    browser.fill("#where", "tls.handshake.type == 1");
    browser.press(Key::Enter + "");
    browser.wait_for("hellos are listed", || {
        browser.has("#rows tbody a") && browser.text("body").contains("Packets found")
    });
    browser.open(&session);

    browser.click("form[action$='/pause'] button");
    browser.wait_for("it pauses", || browser.text("#live-state").starts_with("It pauses"));
    in_every_way(&browser, &session, "实时抓包", None);
    room.send(&some_frames(4));
    browser.wait_for("they are counted", || browser.texts("#live-passed") == ["4"]);
    browser.click("form[action$='/stop'] button");
    browser.wait_for("it has ended", || browser.has("form[action$='/save']"));
    assert_eq!(browser.text("#live-state"), "It was stopped.");
    browser.open(&format!("{session}/discard"));
    assert_eq!(browser.text("h1"), "Throw it away?");
    browser.click("main a.button");
    browser.wait_for("it is kept", || browser.has("#save-name"));
    browser.fill("#save-name", "office.pcapng");
    browser.script("document.getElementById('save-pipeline').value = 'quick'", Vec::new());
    browser.click("form[action$='/save'] button");
    browser.wait_for("the result is there", || browser.has(".verdict"));
    assert!(browser.text(".facts").contains("office.pcapng") && browser.has(".alert"));
}
