//! A portal in a temporary folder, a clock that is moved by hand, and people with browsers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use rocket::http::uri::Host;
use rocket::http::{ContentType, Cookie, Header, Method};
use rocket::local::blocking::{Client, LocalRequest};
use tempfile::TempDir;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use veilwatch_web::accounts::people::{self, NewAccount};
use veilwatch_web::accounts::tokens::{self, NewToken, Scope};
use veilwatch_web::accounts::{Account, Actor, Refused, Role, invitations, sessions};
use veilwatch_web::clock::ManualClock;
use veilwatch_web::config::Config;
use veilwatch_web::database::DbError;
use veilwatch_web::portal::Portal;

/// A good password.
pub(crate) const PASSWORD: &str = "otter lamp river tin";
/// When the tests begin.
pub(crate) const START: i64 = 1_800_000_000;

/// Everything that was logged by any test of this binary.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static LOGGING: Once = Once::new();

struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(crate) fn logged() -> String {
    String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned()
}

/// One of the example captures.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/captures").join(name)
}

/// The bytes of one of the example captures.
pub(crate) fn capture(name: &str) -> Vec<u8> {
    std::fs::read(example(name)).unwrap()
}

/// One portal.
pub(crate) struct Site {
    pub(crate) client: Client,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) setup_token: Option<String>,
    pub(crate) folder: TempDir,
}

impl Drop for Site {
    fn drop(&mut self) {
        // The threads of the analyses, and their workers, end with the test.
        self.portal().runner.end();
        self.portal().live.end();
        self.portal().readers.end();
        self.portal().sweeper.end();
        self.portal().webhooks.end();
        self.portal().trainer.end();
    }
}

impl Site {
    /// A portal that nobody has visited.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        LOGGING.call_once(|| {
            let log = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(|| LogWriter);
            log.with_ansi(false).finish().with(veilwatch_web::recent::Recent).init();
        });
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config { data: folder.path().join("data"), ..Config::default() };
        change(&mut config);
        let clock = Arc::new(ManualClock::at(START));
        let program = std::path::PathBuf::from(env!("CARGO_BIN_EXE_veilwatch-web"));
        let (rocket, setup_token) = veilwatch_web::build(config, clock.clone(), program).unwrap();
        Self { client: Client::untracked(rocket).unwrap(), clock, setup_token, folder }
    }

    /// A portal whose first administrator `ada` is there.
    pub(crate) fn with_ada() -> Self {
        let site = Self::new();
        site.add("ada", Role::Administrator);
        site
    }

    pub(crate) fn portal(&self) -> &Portal {
        self.client.rocket().state().unwrap()
    }

    /// An account with [`PASSWORD`], made without pages.
    pub(crate) fn add(&self, name: &str, role: Role) -> Account {
        let portal = self.portal();
        let hash = self.hash();
        let new = NewAccount { name: name.to_owned(), display_name: format!("{name} shown"), password_hash: hash };
        let actor = Actor { name: None, address: "test".to_owned() };
        portal
            .db
            .run_blocking(|connection| -> Result<Account, Refused> {
                let id = if people::count(connection)? == 0 {
                    people::create_first(connection, &new, &actor, START)?
                } else {
                    let token =
                        invitations::create(connection, &portal.secret, role, 1, &actor, (9999, i64::MAX), START)?;
                    invitations::accept(connection, &portal.secret, &token, &new, &actor, START)?
                };
                people::by_id(connection, id)
            })
            .unwrap()
    }

    /// The hash of [`PASSWORD`].
    fn hash(&self) -> String {
        let runtime = rocket::tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.portal().hasher.hash(PASSWORD)).unwrap()
    }

    /// Somebody without a log-in.
    pub(crate) fn stranger(&self) -> Person<'_> {
        Person { site: self, cookies: RefCell::default(), address: "192.0.2.1".to_owned(), bearer: None }
    }

    /// Somebody with a fresh session, begun without pages.
    pub(crate) fn session_of(&self, account: &Account) -> Person<'_> {
        let portal = self.portal();
        let actor = Actor { name: Some(account.name.clone()), address: "192.0.2.1".to_owned() };
        let limits = &portal.config.sessions;
        let token = portal
            .db
            .run_blocking(|c| {
                sessions::begin(c, &portal.secret, account.id, "a browser", &actor, limits, 20, portal.now())
            })
            .unwrap();
        let person = self.stranger();
        person.cookies.borrow_mut().insert(portal.session_cookie().to_owned(), token);
        person
    }

    /// An API token of this account that reads.
    pub(crate) fn api_token_of(&self, account: &Account) -> String {
        self.api_token(account, Scope::Read)
    }

    /// An API token of this account.
    pub(crate) fn api_token(&self, account: &Account, scope: Scope) -> String {
        let portal = self.portal();
        let new = NewToken { label: "test".to_owned(), scope, days: 1 };
        let actor = Actor { name: None, address: "test".to_owned() };
        portal
            .db
            .run_blocking(|c| tokens::create(c, &portal.secret, account.id, &new, &actor, 9999, portal.now()))
            .unwrap()
    }

    /// A program with a token of this account.
    pub(crate) fn program_of(&self, account: &Account, scope: Scope) -> Person<'_> {
        let mut program = self.stranger();
        program.bearer = Some(self.api_token(account, scope));
        program
    }

    /// Runs SQL behind the portal's back.
    pub(crate) fn execute(&self, sql: &str) {
        self.portal().db.run_blocking(|c| c.execute_batch(sql)).unwrap();
    }

    /// All rows of a query as text.
    pub(crate) fn rows(&self, sql: &str) -> Vec<String> {
        self.portal()
            .db
            .run_blocking(|c| -> Result<Vec<String>, DbError> {
                let mut statement = c.prepare(sql)?;
                let columns = statement.column_count();
                let row = |row: &rusqlite::Row<'_>| -> rusqlite::Result<String> {
                    let values = (0..columns).map(|at| Ok(format!("{:?}", row.get_ref(at)?)));
                    Ok(values.collect::<rusqlite::Result<Vec<_>>>()?.join(" "))
                };
                Ok(statement.query_map([], row)?.collect::<rusqlite::Result<_>>()?)
            })
            .unwrap()
    }

    /// Names and content of all files in one of the folders of the data folder.
    pub(crate) fn files(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let folder = self.folder.path().join("data").join(folder);
        let read = |file: std::io::Result<std::fs::DirEntry>| {
            let file = file.unwrap();
            (file.file_name().to_string_lossy().into_owned(), std::fs::read(file.path()).unwrap())
        };
        std::fs::read_dir(folder).unwrap().map(read).collect()
    }

    /// All files and folders of the test, for finding what does not belong there.
    pub(crate) fn tree(&self) -> Vec<String> {
        let (mut found, mut open) = (Vec::new(), vec![self.folder.path().to_owned()]);
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path.clone());
                }
                found.push(path.strip_prefix(self.folder.path()).unwrap().to_string_lossy().into_owned());
            }
        }
        found.sort();
        found
    }

    /// One text from the database.
    #[track_caller]
    pub(crate) fn text(&self, sql: &str) -> String {
        let ask =
            |c: &mut rusqlite::Connection| -> Result<String, DbError> { Ok(c.query_row(sql, [], |row| row.get(0))?) };
        self.portal().db.run_blocking(ask).unwrap()
    }

    /// The state of an entry.
    #[track_caller]
    pub(crate) fn state(&self, key: &str) -> String {
        self.text(&format!("SELECT state FROM entries WHERE key = '{key}'"))
    }

    /// Waits until an entry's analysis is over, and says how it ended.
    pub(crate) fn ended(&self, key: &str) -> String {
        self.until("the analysis is over", || {
            let state = self.state(key);
            ["done", "failed"].contains(&&*state).then_some(state)
        })
    }

    /// Waits until something is there.
    #[track_caller]
    pub(crate) fn until<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(found) = ask() {
                return found;
            }
            assert!(Instant::now() < end, "waited too long: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The page of the first flow that the page of a result links to.
    #[track_caller]
    pub(crate) fn first_flow(&self, me: &Person<'_>, page: &str) -> String {
        let result = me.get(page).is(200);
        let (_, rest) = result.body.split_once(&format!("{page}/flows/")).expect("a flow");
        format!("{page}/flows/{}", rest.split('"').next().unwrap())
    }

    /// The time of this portal.
    pub(crate) fn clock_now(&self) -> i64 {
        self.portal().now()
    }

    pub(crate) fn number(&self, sql: &str) -> i64 {
        let ask =
            |c: &mut rusqlite::Connection| -> Result<i64, DbError> { Ok(c.query_row(sql, [], |row| row.get(0))?) };
        self.portal().db.run_blocking(ask).unwrap()
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) bytes: Vec<u8>,
    /// The same as text, as far as it is.
    pub(crate) body: String,
}

impl Got {
    /// The answer as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        let kind = self.header("Content-Type").unwrap_or_default();
        assert!(["application/json", "application/problem+json"].contains(&kind), "{kind}: {}", self.body);
        serde_json::from_str(&self.body).unwrap()
    }

    #[track_caller]
    pub(crate) fn lacks(self, words: &str) -> Self {
        assert!(!self.body.contains(words), "{words:?} is in {}", self.body);
        self
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn location(&self) -> &str {
        self.header("Location").unwrap_or_default()
    }

    /// The form token on the page.
    pub(crate) fn csrf(&self) -> String {
        let (_, rest) = self.body.split_once("name=\"csrf\" value=\"").expect("a form");
        rest.split('"').next().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    /// What a person reads in it: without escapes.
    #[track_caller]
    pub(crate) fn reads(self, words: &str) -> Self {
        let escapes =
            [("&#x60;", "`"), ("&#x3D;", "="), ("&#x27;", "'"), ("&quot;", "\""), ("&lt;", "<"), ("&gt;", ">")];
        let plain = escapes.iter().fold(self.body.clone(), |text, (from, to)| text.replace(from, to));
        assert!(plain.replace("&amp;", "&").contains(words), "{words:?} is missing in {}", self.body);
        self
    }

    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(self.body.contains(words), "{words:?} is missing in {}", self.body);
        self
    }
}

/// Somebody with a browser (its cookies) or a program (its token).
pub(crate) struct Person<'s> {
    pub(crate) site: &'s Site,
    pub(crate) cookies: RefCell<BTreeMap<String, String>>,
    pub(crate) address: String,
    pub(crate) bearer: Option<String>,
}

impl Person<'_> {
    pub(crate) fn get(&self, path: &str) -> Got {
        self.get_with(path, &[])
    }

    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Got {
        self.send(self.site.client.req(Method::Get, path.to_owned()), headers)
    }

    /// Asks again until a page of packets is whole: a browser would load it again by itself.
    #[track_caller]
    pub(crate) fn whole(&self, path: &str, headers: &[(&str, &str)]) -> Got {
        self.site.until("the page is whole", || {
            let got = self.get_with(path, headers);
            (!got.body.contains("http-equiv=\"refresh\"")).then_some(got)
        })
    }

    /// Posts exactly this.
    pub(crate) fn post_raw(&self, path: &str, body: &str, headers: &[(&str, &str)]) -> Got {
        let request = self.site.client.req(Method::Post, path.to_owned());
        self.send(request.header(ContentType::Form).body(body), headers)
    }

    /// Sends exactly this.
    pub(crate) fn ask(
        &self,
        method: Method,
        path: &str,
        kind: Option<&str>,
        body: &[u8],
        headers: &[(&str, &str)],
    ) -> Got {
        let mut request = self.site.client.req(method, path.to_owned());
        if let Some(kind) = kind {
            request = request.header(Header::new("Content-Type", kind.to_owned()));
        }
        self.send(request.body(body), headers)
    }

    /// Sends JSON.
    pub(crate) fn send_json(&self, method: Method, path: &str, body: &str) -> Got {
        self.ask(method, path, Some("application/json"), body.as_bytes(), &[])
    }

    /// Posts files as the form on the first page does.
    pub(crate) fn upload(&self, files: &[(&str, &[u8])]) -> Got {
        let csrf = self.get("/").csrf();
        self.ask(Method::Post, "/uploads", Some(MULTIPART), &multipart(&csrf, files), &[])
    }

    /// Uploads one capture, and gives the key of its entry.
    #[track_caller]
    pub(crate) fn keep(&self, name: &str, bytes: &[u8]) -> String {
        let got = self.upload(&[(name, bytes)]).is(303);
        got.location().strip_prefix("/entries/").expect("an entry").to_owned()
    }

    /// Confirms an entry as it is offered.
    #[track_caller]
    pub(crate) fn confirm(&self, key: &str) {
        let page = format!("/entries/{key}");
        let fields = [("pipeline", "default"), ("packets", ""), ("category", ""), ("note", "")];
        assert_eq!(self.post(&page, &format!("{page}/confirm"), &fields).is(303).location(), page);
    }

    /// Uploads a capture and has it analysed.
    #[track_caller]
    pub(crate) fn analyse(&self, name: &str, bytes: &[u8]) -> String {
        let key = self.keep(name, bytes);
        self.confirm(&key);
        assert_eq!(self.site.ended(&key), "done");
        key
    }

    /// What a stream of events says first. The stream is not read further: it may have no end.
    pub(crate) fn first_event(&self, path: &str) -> String {
        let mut response = self.prepared(self.site.client.get(path.to_owned()), &[]).dispatch();
        assert_eq!(response.content_type(), Some(ContentType::EventStream), "{}", response.status());
        let (mut text, mut byte) = (Vec::new(), [0]);
        while !text.ends_with(b"\n\n") && text.len() < 10_000 && response.read(&mut byte).unwrap() == 1 {
            text.push(byte[0]);
        }
        String::from_utf8(text).unwrap()
    }

    /// The status of an answer that is not read: it may have no end.
    pub(crate) fn status(&self, path: &str) -> u16 {
        self.prepared(self.site.client.get(path.to_owned()), &[]).dispatch().status().code
    }

    /// Opens a page and posts its form.
    pub(crate) fn post(&self, page: &str, action: &str, fields: &[(&str, &str)]) -> Got {
        let csrf = self.get(page).csrf();
        self.post_raw(action, &form(&csrf, fields), &[])
    }

    pub(crate) fn log_in(&self, name: &str, password: &str) -> Got {
        self.post("/login", "/login", &[("name", name), ("password", password), ("next", "/")])
    }

    /// The token of their session.
    pub(crate) fn session(&self) -> String {
        self.cookies.borrow()[self.site.portal().session_cookie()].clone()
    }

    fn prepared<'r>(&self, mut request: LocalRequest<'r>, headers: &[(&str, &str)]) -> LocalRequest<'r> {
        let address = format!("{}:4000", self.address);
        request = request.remote(address.parse().unwrap());
        for (name, value) in self.cookies.borrow().iter() {
            request = request.cookie(Cookie::new(name.clone(), value.clone()));
        }
        if let Some(token) = &self.bearer {
            request = request.header(Header::new("Authorization", format!("Bearer {token}")));
        }
        for (name, value) in headers {
            if *name == "Host" {
                // The server reads it from the wire; without a wire it has to be said.
                request.inner_mut().set_host(Host::parse_owned((*value).to_owned()).unwrap());
            }
            request = request.header(Header::new((*name).to_owned(), (*value).to_owned()));
        }
        request
    }

    fn send(&self, request: LocalRequest<'_>, headers: &[(&str, &str)]) -> Got {
        let response = self.prepared(request, headers).dispatch();
        let headers: Vec<(String, String)> =
            response.headers().iter().map(|header| (header.name().to_string(), header.value().to_owned())).collect();
        for (_, value) in headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Set-Cookie")) {
            let cookie = Cookie::parse(value.clone()).unwrap();
            let mut cookies = self.cookies.borrow_mut();
            if cookie.max_age().is_some_and(|age| age.is_zero()) {
                cookies.remove(cookie.name());
            } else {
                cookies.insert(cookie.name().to_owned(), cookie.value().to_owned());
            }
        }
        let status = response.status().code;
        let bytes = response.into_bytes().unwrap_or_default();
        Got { status, headers, body: String::from_utf8_lossy(&bytes).into_owned(), bytes }
    }
}

/// A team of these people, made on the page of an administrator; gives its number.
#[track_caller]
pub(crate) fn team(site: &Site, administrator: &Account, name: &str, members: &[(&Account, &str)]) -> String {
    let me = site.session_of(administrator);
    let place = me.post("/teams", "/teams", &[("name", name)]).is(303).location().to_owned();
    let page = place.split('?').next().unwrap();
    for (account, standing) in members {
        let account = account.id.to_string();
        me.post(page, &format!("{page}/members"), &[("account", &account), ("standing", standing)]).is(303);
    }
    page.strip_prefix("/teams/").unwrap().to_owned()
}

/// A form as a browser writes it.
pub(crate) fn form(csrf: &str, fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    let mut body = format!("csrf={}", encode(csrf));
    for (name, value) in fields {
        body.push_str(&format!("&{name}={}", encode(value)));
    }
    body
}

/// The type of what [`multipart`] makes.
pub(crate) const MULTIPART: &str = "multipart/form-data; boundary=----veilwatch-test";

/// The form with files as a browser writes it: the form token first.
pub(crate) fn multipart(csrf: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = part("form-data; name=\"csrf\"", csrf.as_bytes());
    for (name, bytes) in files {
        // As browsers do it.
        let name = name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
        body.extend(part(&format!("form-data; name=\"capture\"; filename=\"{name}\""), bytes));
    }
    body.extend_from_slice(b"------veilwatch-test--\r\n");
    body
}

/// One part of such a form.
pub(crate) fn part(disposition: &str, bytes: &[u8]) -> Vec<u8> {
    let mut part = format!("------veilwatch-test\r\nContent-Disposition: {disposition}\r\n\r\n").into_bytes();
    part.extend_from_slice(bytes);
    part.extend_from_slice(b"\r\n");
    part
}

/// A page without the one script that every page of ours loads.
#[track_caller]
pub(crate) fn without_our_script(page: &str) -> String {
    let ours = "<script src=\"/script.js\" defer></script>";
    assert_eq!(page.matches(ours).count(), 1, "{page}");
    page.replace(ours, "")
}
