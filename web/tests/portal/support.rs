//! A portal in a temporary folder, a clock that is moved by hand, and people with browsers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, Once};

use rocket::http::uri::Host;
use rocket::http::{ContentType, Cookie, Header, Method};
use rocket::local::blocking::{Client, LocalRequest};
use tempfile::TempDir;
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

/// One portal.
pub(crate) struct Site {
    pub(crate) client: Client,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) setup_token: Option<String>,
    pub(crate) folder: TempDir,
}

impl Site {
    /// A portal that nobody has visited.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        LOGGING.call_once(|| {
            let log = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(|| LogWriter);
            log.with_ansi(false).init();
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

    /// An API token of this account.
    pub(crate) fn api_token_of(&self, account: &Account) -> String {
        let portal = self.portal();
        let new = NewToken { label: "test".to_owned(), scope: Scope::Read, days: 1 };
        let actor = Actor { name: None, address: "test".to_owned() };
        portal
            .db
            .run_blocking(|c| tokens::create(c, &portal.secret, account.id, &new, &actor, 9999, portal.now()))
            .unwrap()
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
    pub(crate) body: String,
}

impl Got {
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

    /// Posts exactly this.
    pub(crate) fn post_raw(&self, path: &str, body: &str, headers: &[(&str, &str)]) -> Got {
        let request = self.site.client.req(Method::Post, path.to_owned());
        self.send(request.header(ContentType::Form).body(body), headers)
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

    fn send(&self, mut request: LocalRequest<'_>, headers: &[(&str, &str)]) -> Got {
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
        let response = request.dispatch();
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
        Got { status: response.status().code, headers, body: response.into_string().unwrap_or_default() }
    }
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
