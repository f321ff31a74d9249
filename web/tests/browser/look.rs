//! Languages, narrow screens, dark mode, and the pictures of the documents. What holds for every page stands in
//! `page.js`: that nothing sticks out, and that Chinese pages speak Chinese, too. axe-core looks at each in both colours.

use serde_json::json;
use veilwatch_web::uploads::name::MAX_NAME;

use crate::axe;
use crate::browser::Browser;
use crate::captures::{Files, example, long};
use crate::chromedriver::Chromedriver;
use crate::site::Site;
use crate::workers::{work_a_little, work_on};

const WIDE: (u32, u32) = (1200, 800);
const NARROW: (u32, u32) = (360, 740);

/// The pages that are the same for every entry, and their titles in Chinese.
const PAGES: [(&str, &str); 22] = [
    ("/", "记录"),
    ("/account", "账户"),
    ("/account/second-factor", "第二验证因素"),
    ("/administration", "管理"),
    ("/people", "人员"),
    ("/teams", "团队"),
    ("/categories", "类别"),
    ("/retention", "数据保留"),
    // As it is where nobody may capture.
    ("/live", "实时抓包"),
    ("/audit", "审计日志"),
    ("/triage?state=all", "研判"),
    ("/webhooks", "Webhook 通知"),
    ("/marks", "标记"),
    ("/framework", "框架"),
    ("/pipelines", "流水线"),
    ("/pipelines/new", "新建流水线"),
    ("/plugins", "插件"),
    ("/tables", "协议表"),
    ("/system", "系统"),
    ("/models", "模型"),
    ("/models/default", "模型详情"),
    ("/training", "训练"),
];

pub(crate) fn every_page_fits(driver: &Chromedriver) {
    // With a provider, which nobody asks anything: pages say more then.
    let site = Site::start_with(&[
        ("VEILWATCH_WEB_OIDC__ISSUER", "http://127.0.0.1:1"),
        ("VEILWATCH_WEB_OIDC__CLIENT_ID", "veilwatch"),
    ]);
    let browser = Browser::open_at(driver, &site);
    in_every_way(&browser, &site.setup, "创建第一个账户", None);
    browser.set_up(&site.setup);
    let (result, flow, conversation) = an_entry_with_pictures(&browser);
    let waiting = an_entry_with_a_long_name(&browser);
    let team = a_team_of_one(&browser, &result);
    let item = an_item_with_long_words(&browser);

    for (path, title) in PAGES {
        in_every_way(&browser, path, title, None);
    }
    for (path, title) in [
        (waiting.clone(), "分析此抓包文件？"),
        (format!("{waiting}/delete"), "删除此记录？"),
        (result.clone(), "结果"),
        (team, "团队"),
        ("/people/1/delete".to_owned(), "删除此账户？"),
        (format!("{result}/flows"), "流"),
        (flow, "流详情"),
        (conversation, "通信"),
        (format!("{result}/triage"), "记录研判"),
        (item, "会话研判"),
        (format!("{result}/packets?at=60&field=30"), "数据包"),
        (format!("{result}/packets/20/stream"), "会话内容"),
    ] {
        in_every_way(&browser, &path, title, None);
    }
    in_every_way(&browser, "/nothing-here", "找不到页面", Some(404));
    browser.open("/");
    browser.click(".logout button");
    browser.wait_for_path("/login");
    browser.picture("login");
    in_every_way(&browser, "/login", "登录", None);
    in_every_way(&browser, "/login/return?state=x", "登录未成功", Some(400));
    in_every_way(&browser, "/invitation?token=wrong", "您的邀请", Some(404));
}

/// Looks at a page that cannot be opened anew: wide and narrow, light and dark.
pub(crate) fn as_it_is(browser: &Browser) {
    for (width, height) in [NARROW, WIDE] {
        browser.resize(width, height);
        for dark in [true, false] {
            browser.like_dark(dark);
            browser.look();
            axe::check(browser);
        }
    }
}

/// Opens a page wide and narrow, light and dark, in both languages. Every one of them is looked at.
pub(crate) fn in_every_way(browser: &Browser, path: &str, title: &str, status: Option<u16>) {
    let open = |(width, height)| {
        browser.resize(width, height);
        if let Some(status) = status {
            browser.expect_status(status);
        }
        browser.open(path);
    };
    for size in [WIDE, NARROW] {
        open(size);
        assert_eq!(browser.script("return document.documentElement.lang", Vec::new()), "en");
        for dark in [true, false] {
            browser.like_dark(dark);
            assert_eq!(is_dark(browser), dark, "{path}");
            browser.look();
            axe::check(browser);
        }
    }
    open(WIDE);
    if let Some(status) = status {
        browser.expect_status(status);
    }
    browser.click("footer button[value=zh]");
    for size in [WIDE, NARROW] {
        open(size);
        assert_eq!(browser.script("return document.documentElement.lang", Vec::new()), "zh-Hans");
        assert_eq!(browser.text("h1"), title);
    }
    open(WIDE);
    if let Some(status) = status {
        browser.expect_status(status);
    }
    browser.click("footer button[value=en]");
    browser.met_all();
}

/// Whether the ground is darker than what stands on it.
fn is_dark(browser: &Browser) -> bool {
    let code = "const style = getComputedStyle(document.body);
        const sum = (colour) => colour.match(/[0-9]+/g).slice(0, 3).reduce((all, one) => all + Number(one), 0);
        return sum(style.backgroundColor) < sum(style.color);";
    browser.script(code, Vec::new()) == json!(true)
}

/// The way of a capture through the portal, for the documents. Gives the paths of the result, of a flow and of its conversation.
fn an_entry_with_pictures(browser: &Browser) -> (String, String, String) {
    browser.upload(&example("benign-office.pcapng"));
    browser.analyse();
    browser.upload(&example("first-run.pcap"));
    browser.fill("#note", "Office network, first floor");
    browser.picture("confirm");
    browser.analyse();
    let result = browser.path();
    browser.picture("result");
    browser.picture_from("#h-alerts", "alerts");
    browser.picture_from("#h-pictures", "pictures");
    browser.resize(NARROW.0, NARROW.1);
    browser.picture("result-narrow");
    browser.resize(WIDE.0, WIDE.1);
    browser.like_dark(true);
    browser.picture("result-dark");
    browser.like_dark(false);
    browser.click("footer button[value=zh]");
    browser.picture("result-chinese");
    browser.click("footer button[value=en]");
    browser.click(".alert a");
    let flow = browser.path();
    browser.picture("flow");
    browser.click("a[href*='/conversation?']");
    let conversation = browser.path_and_query();
    browser.picture_from("#h-picture", "conversation");
    browser.open(&format!("{result}/flows?verdict=&sort=score&down=true"));
    browser.picture("flows");
    browser.open("/");
    browser.picture("entries");
    (result, flow, conversation)
}

/// Somebody's file names and notes are as long as they may be, and have no place to break. Gives the path of the entry.
fn an_entry_with_a_long_name(browser: &Browser) -> String {
    let files = Files::new();
    let bytes = std::fs::read(example("ssh-greeting.pcap")).unwrap();
    let name = "M".repeat(MAX_NAME);
    browser.upload(&files.write(&name, &bytes));
    browser.fill("#note", &"W".repeat(500));
    browser.analyse();
    assert!(browser.text(".facts").contains(&name));
    browser.click("form[action$='/again'] button");
    browser.wait_for("it is to be confirmed", || browser.has("#pipeline"));
    browser.path()
}

/// A team with a name that has no place to break, with which an entry is shared. Gives its path.
fn a_team_of_one(browser: &Browser, result: &str) -> String {
    browser.open("/teams");
    browser.fill("#name", &"M".repeat(40));
    browser.click("form[action='/teams'] button");
    browser.wait_for("the team is there", || browser.has("#put"));
    let team = browser.path();
    browser.click("#put button");
    browser.wait_for("somebody is in it", || browser.has("form[action$='/remove']"));
    browser.open(result);
    browser.click("form[action$='/share'] button");
    browser.wait_for("it is shared", || browser.has("form[action$='/take-back']"));
    team
}

/// Something that was decided and talked about, in words without a place to break. Gives its path.
fn an_item_with_long_words(browser: &Browser) -> String {
    browser.open("/triage");
    browser.click("#rows a.item");
    let item = browser.path();
    browser.tick("#item-becomes option[value=closed]");
    browser.fill("#item-words", &"W".repeat(1000));
    browser.click("form.card button");
    browser.wait_for("it is closed", || browser.texts("#item-state") == ["closed"]);
    browser.fill("#comment", &"M".repeat(1500));
    browser.click("form[action$='/comments'] button");
    browser.wait_for("it is said", || browser.has("#comments .lines"));
    item
}

pub(crate) fn the_wait_says_how_far_it_is(driver: &Chromedriver) {
    let site = Site::start();
    let browser = Browser::logged_in(driver, &site);
    let files = Files::new();
    browser.upload(&files.write("office-2026-11.pcap", &long(400)));
    browser.click("form[action$='/confirm'] button");
    assert_eq!(browser.text("h1"), "The analysis is under way");
    browser.script("window.isTheSame = true", Vec::new());
    let now = || {
        let code = "return ['#bar', '#packets'].map((css) => document.querySelector(css)).map((at) => at.value ?? at.textContent)";
        browser.script(code, Vec::new())
    };
    // Looking takes its time, and an analysis that is done cannot be stopped any more: it works while somebody waits alone.
    browser.wait_for("alerts are shown", || {
        work_a_little(site.pid());
        now()[0].as_f64() > Some(0.0) && browser.has("#sofar li")
    });
    let before = now();
    browser.wait_for("it goes on", || {
        work_a_little(site.pid());
        [0, 1].into_iter().all(|one| now()[one] != before[one])
    });
    browser.picture("wait");
    assert_eq!(browser.script("return window.isTheSame", Vec::new()), true, "nothing was loaded again");
    browser.resize(NARROW.0, NARROW.1);
    browser.look();

    browser.click("form[action$='/stop'] button");
    work_on(site.pid());
    browser.wait_for("what was found is there", || browser.has(".verdict"));
    let sentence = browser.text(".verdict");
    assert!(sentence.contains("The analysis was stopped: this covers only a part of the capture."), "{sentence}");
}
