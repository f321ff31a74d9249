//! A browser, and what one does with it. Every step looks at the console and at the page.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rocket::tokio::runtime::{Builder, Runtime};
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::error::WebDriverErrorInner;
use thirtyfour::prelude::*;
use thirtyfour::{BrowserLogEntry, LoggingPrefsLogLevel};

use crate::chromedriver::{self, Chromedriver};
use crate::site::Site;

const ARGUMENTS: [&str; 12] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--lang=en-US",
    "--window-size=1200,900",
];
/// What the tests' own account is called.
pub(crate) const NAME: &str = "ada";
/// Its password.
pub(crate) const PASSWORD: &str = "harbour candle violin";
/// How long anything may take; an analysis is the longest, on a machine that does more than this.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
pub(crate) fn until<T>(what: &str, patience: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(40));
    }
}

/// A browser with an empty profile, which ends with this value.
pub(crate) struct Browser {
    runtime: Runtime,
    driver: RefCell<Option<WebDriver>>,
    site: String,
    /// Error statuses that the next steps may meet.
    expected: RefCell<Vec<u16>>,
    /// Whether the portal may be away.
    may_be_lost: Cell<bool>,
    runs_script: bool,
    _profile: TempDir,
}

impl Browser {
    /// A browser in front of a portal.
    pub(crate) fn open_at(driver: &Chromedriver, site: &Site) -> Self {
        Self::start(driver, site, true)
    }

    /// The same, for somebody who lets no page run script.
    pub(crate) fn without_script(driver: &Chromedriver, site: &Site) -> Self {
        Self::start(driver, site, false)
    }

    /// A browser in which the administrator is logged in, on a portal that was new.
    pub(crate) fn logged_in(driver: &Chromedriver, site: &Site) -> Self {
        let browser = Self::open_at(driver, site);
        browser.set_up(&site.setup);
        browser
    }

    fn start(driver: &Chromedriver, site: &Site, runs_script: bool) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut wanted = DesiredCapabilities::chrome();
        wanted.set_binary(chromedriver::chromium().unwrap().to_str().unwrap()).unwrap();
        for argument in ARGUMENTS {
            wanted.add_arg(argument).unwrap();
        }
        wanted.add_arg(&format!("--user-data-dir={}", profile.path().display())).unwrap();
        wanted.set_browser_log_level(LoggingPrefsLogLevel::All).unwrap();
        if !runs_script {
            // 2 is "block".
            let settings = json!({ "profile.managed_default_content_settings.javascript": 2 });
            wanted.add_experimental_option("prefs", settings).unwrap();
        }
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let session = runtime.block_on(WebDriver::new(driver.address(), wanted)).expect("a browser");
        let browser = Self {
            runtime,
            driver: RefCell::new(Some(session)),
            site: site.address.clone(),
            expected: RefCell::default(),
            may_be_lost: Cell::default(),
            runs_script,
            _profile: profile,
        };
        browser.resize(1200, 800);
        browser
    }

    fn run<T>(&self, what: &str, work: impl AsyncFnOnce(&WebDriver) -> WebDriverResult<T>) -> T {
        let driver = self.driver.borrow();
        let driver = driver.as_ref().expect("the browser runs");
        match self.runtime.block_on(work(driver)) {
            Ok(done) => done,
            Err(error) => {
                let path = self.runtime.block_on(driver.current_url()).map(|url| url.path().to_owned());
                panic!("{what} on {path:?}: {error}")
            }
        }
    }

    // What one does.

    /// Opens an address of the portal.
    pub(crate) fn open(&self, path: &str) {
        let address = format!("{}{path}", self.site);
        self.run(path, async |driver| driver.goto(address).await);
        self.look();
    }

    /// Opens a file that was saved.
    pub(crate) fn open_file(&self, file: &Path) {
        let address = format!("file://{}", file.display());
        self.run(&address, async |driver| driver.goto(&address).await);
        self.look();
    }

    /// Clicks on the first that a CSS selector finds, which leads to another page, and waits until this one is gone.
    pub(crate) fn click(&self, css: &str) {
        let page = self.run(css, async |driver| {
            let page = driver.find(By::Css("html")).await?;
            let element = driver.find(By::Css(css)).await?;
            element.scroll_into_view().await?;
            element.click().await?;
            Ok(page)
        });
        until(&format!("{css} leads away"), PATIENCE, || self.runtime.block_on(page.tag_name()).is_err().then_some(()));
        self.look();
    }

    /// Clicks what stays on its page: an option, a box to tick.
    pub(crate) fn tick(&self, css: &str) {
        self.run(css, async |driver| driver.find(By::Css(css)).await?.click().await);
    }

    /// Replaces what stands in a field.
    pub(crate) fn fill(&self, css: &str, text: &str) {
        self.run(css, async |driver| {
            let field = driver.find(By::Css(css)).await?;
            field.clear().await?;
            field.send_keys(text).await
        });
    }

    /// Chooses files in a file field.
    pub(crate) fn choose(&self, css: &str, files: &[&Path]) {
        let files: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
        self.run(css, async |driver| driver.find(By::Css(css)).await?.send_keys(files.join("\n")).await);
    }

    /// Presses keys, wherever the focus is.
    pub(crate) fn press(&self, keys: impl Into<thirtyfour::TypingData>) {
        // Keys that come before the page's script has run are lost, and those behind them mean something else.
        if self.runs_script {
            let is_there = || self.script("return document.readyState", Vec::new()) == "complete";
            until("the page is there", PATIENCE, || is_there().then_some(()));
        }
        // Not by the driver's own actions: where a key leads to another page, it presses that key there again.
        for c in keys.into().as_vec() {
            for kind in ["keyDown", "keyUp"] {
                let mut event = key(c);
                event["type"] = kind.into();
                if kind == "keyUp" || event["text"].is_null() {
                    event.as_object_mut().unwrap().remove("text");
                }
                self.tell("Input.dispatchKeyEvent", event);
            }
        }
    }

    /// Runs script in the page.
    pub(crate) fn script(&self, code: &str, arguments: Vec<Value>) -> Value {
        self.run(code, async |driver| Ok(driver.execute(code, arguments).await?.json().clone()))
    }

    /// Runs script that says when it is done, by calling its last argument.
    pub(crate) fn script_that_waits(&self, code: &str, arguments: Vec<Value>) -> Value {
        self.run(code, async |driver| Ok(driver.execute_async(code, arguments).await?.json().clone()))
    }

    /// Speaks to the browser itself, by the protocol of its developer tools.
    pub(crate) fn tell(&self, command: &str, parameters: Value) -> Value {
        self.run(command, async |driver| driver.cdp().send_raw(command, parameters).await)
    }

    /// Makes the page so many pixels large.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.tell("Emulation.setDeviceMetricsOverride", size);
    }

    /// Likes dark pages, or light ones.
    pub(crate) fn like_dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.tell("Emulation.setEmulatedMedia", features);
    }

    /// Makes the first account, which is then logged in.
    pub(crate) fn set_up(&self, link: &str) {
        self.open(link);
        for (field, text) in
            [("#name", NAME), ("#display-name", "Ada Lovelace"), ("#password", PASSWORD), ("#again", PASSWORD)]
        {
            self.fill(field, text);
        }
        self.click("main form button");
        self.wait_for_path("/");
    }

    /// Uploads a capture, and waits for its confirmation.
    pub(crate) fn upload(&self, capture: &Path) {
        self.open("/");
        self.choose("#captures", &[capture]);
        self.wait_for("the confirmation is there", || self.has("#pipeline"));
    }

    /// Confirms, and waits for the result. Nobody loads a page here: the portal's own script does.
    pub(crate) fn analyse(&self) {
        self.click("form[action$='/confirm'] button");
        self.wait_for("the result is there", || self.has(".verdict"));
    }

    // What one sees.

    /// Whether there is what a CSS selector looks for.
    pub(crate) fn has(&self, css: &str) -> bool {
        self.run(css, async |driver| Ok(!driver.find_all(By::Css(css)).await?.is_empty()))
    }

    /// The texts of all that a CSS selector finds, as they are seen.
    pub(crate) fn texts(&self, css: &str) -> Vec<String> {
        self.run(css, async |driver| {
            loop {
                match texts(driver, css).await {
                    // The page went away in the middle.
                    Err(error) if matches!(error.as_inner(), WebDriverErrorInner::StaleElementReference(_)) => {}
                    other => break other,
                }
            }
        })
    }

    /// The text of the only one.
    pub(crate) fn text(&self, css: &str) -> String {
        let mut texts = self.texts(css);
        assert_eq!(texts.len(), 1, "{css}: {texts:?}");
        texts.remove(0)
    }

    /// An attribute of the first that a CSS selector finds.
    pub(crate) fn attribute(&self, css: &str, name: &str) -> String {
        let attribute = self.run(css, async |driver| driver.find(By::Css(css)).await?.attr(name).await);
        attribute.unwrap_or_else(|| panic!("{css} has no {name}"))
    }

    /// Where the browser is.
    pub(crate) fn path(&self) -> String {
        self.run("the address", async |driver| Ok(driver.current_url().await?.path().to_owned()))
    }

    /// The same with what was asked for there.
    pub(crate) fn path_and_query(&self) -> String {
        self.run("the address", async |driver| {
            let url = driver.current_url().await?;
            Ok(format!("{}?{}", url.path(), url.query().unwrap_or_default()))
        })
    }

    /// Waits until something is so, and looks then.
    pub(crate) fn wait_for(&self, what: &str, is_so: impl Fn() -> bool) {
        until(what, PATIENCE, || is_so().then_some(()));
        self.look();
    }

    /// Waits until the browser is somewhere.
    pub(crate) fn wait_for_path(&self, path: &str) {
        until(&format!("the browser is at {path}"), PATIENCE, || (self.path() == path).then_some(()));
        self.look();
    }

    /// A picture for the documents, where they are asked for, with this at the top.
    pub(crate) fn picture_from(&self, css: &str, name: &str) {
        self.script("document.querySelector(arguments[0]).scrollIntoView(); scrollBy(0, -20)", vec![css.into()]);
        // Pictures further down are loaded when they come into sight.
        let loaded =
            "return [...document.images].every((one) => one.complete || one.getBoundingClientRect().top > innerHeight)";
        self.wait_for("all pictures are there", || self.script(loaded, Vec::new()) == true);
        self.picture(name);
        self.script("scrollTo(0, 0)", Vec::new());
    }

    /// A picture of what is seen now.
    pub(crate) fn picture(&self, name: &str) {
        if std::env::var_os("VEILWATCH_WRITE_SCREENSHOTS").is_none() {
            return;
        }
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(format!("{name}.png"));
        self.run(name, async |driver| driver.screenshot(&file).await);
    }

    // What must hold.

    /// From here on a step may meet this status: the browser's own line about it is no trouble.
    pub(crate) fn expect_status(&self, status: u16) {
        self.expected.borrow_mut().push(status);
    }

    /// From here on the portal may be away: the browser's own lines about it are no trouble.
    pub(crate) fn expect_loss(&self) {
        self.may_be_lost.set(true);
    }

    /// All expected statuses were met.
    pub(crate) fn met_all(&self) {
        self.look();
        assert!(self.expected.borrow().is_empty(), "never met: {:?}", self.expected.borrow());
    }

    /// Looks at the console and at the page.
    pub(crate) fn look(&self) {
        for entry in self.run("the console", async |driver| driver.browser_log().await) {
            self.judge(&entry);
        }
        if self.runs_script {
            let wrong = self.run("page.js", async |driver| {
                let mut tries = 0..3;
                loop {
                    match driver.execute(include_str!("page.js"), Vec::new()).await {
                        // The wait page may become the result in the middle.
                        Err(_) if tries.next().is_some() => {}
                        looked => break Ok(looked?.json().clone()),
                    }
                }
            });
            assert_eq!(wrong, json!([]), "{} {}", self.path(), self.script("return document.title", Vec::new()));
        }
    }

    fn judge(&self, entry: &BrowserLogEntry) {
        let text = &entry.message;
        // Of an upload that broke off, the portal hears a moment later than its browser.
        if self.may_be_lost.get()
            && (text.contains("net::ERR_")
                || [423, 409].iter().any(|status| text.contains(&format!("a status of {status} "))))
        {
            return;
        }
        let mut expected = self.expected.borrow_mut();
        let met = expected.iter().position(|status| {
            text.contains(&format!("Failed to load resource: the server responded with a status of {status} "))
        });
        if let Some(met) = met {
            expected.remove(met);
            return;
        }
        let is_bad = entry.level == "SEVERE" || text.contains("Refused to") || text.contains("Content Security Policy");
        assert!(!is_bad, "the console says: {entry:?}");
    }
}

/// A key as the browser's own protocol has it: a character, or one of WebDriver's special keys.
fn key(c: char) -> Value {
    let special = |name: &str, code: u8, text: Option<&str>| json!({ "key": name, "code": name, "windowsVirtualKeyCode": code, "text": text });
    match c {
        c if c == Key::Tab.value() => special("Tab", 9, None),
        c if c == Key::Enter.value() => special("Enter", 13, Some("\r")),
        c if c == Key::Escape.value() => special("Escape", 27, None),
        c if c == Key::Down.value() => special("ArrowDown", 40, None),
        c => json!({ "key": c.to_string(), "text": c.to_string() }),
    }
}

async fn texts(driver: &WebDriver, css: &str) -> WebDriverResult<Vec<String>> {
    let mut texts = Vec::new();
    for element in driver.find_all(By::Css(css)).await? {
        texts.push(element.text().await?);
    }
    Ok(texts)
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.take() {
            let _ = self.runtime.block_on(driver.quit());
        }
    }
}
