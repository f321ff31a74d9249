//! A portal in a temporary folder, and the people in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::http::{self, Answer, ask};
use crate::workers::workers_of;

const PASSWORD: &str = "otter lamp river tin";
/// How long anything that must come may take, on a machine that has more to do.
pub(crate) const SOON: Duration = Duration::from_secs(180);

/// One portal, over all its restarts.
pub(crate) struct Portal {
    folder: TempDir,
    settings: Vec<(String, String)>,
    process: Option<Child>,
    pub(crate) address: SocketAddr,
    /// The path of the link for the first administrator.
    setup: Option<String>,
    /// The lines that it greeted with.
    said: Vec<String>,
    starts: u32,
}

/// What became of a start.
enum Started {
    Listens(Child, Option<String>, Vec<String>),
    Ended(ExitStatus, String),
}

impl Portal {
    /// A portal with these settings, as in `limits.waiting`.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        Self::prepare(settings, |_| String::new()).unwrap_or_else(|(status, words)| panic!("{status}: {words}"))
    }

    /// The same with a configuration file, which is made from what `prepare` puts into the folder. The error is how it
    /// ended and what it said.
    pub(crate) fn prepare(
        settings: &[(&str, &str)],
        prepare: impl FnOnce(&Path) -> String,
    ) -> Result<Self, (ExitStatus, String)> {
        let folder = tempfile::tempdir().unwrap();
        let config = prepare(folder.path());
        std::fs::write(folder.path().join("web.toml"), config).unwrap();
        let name = |key: &str| format!("VEILWATCH_WEB_{}", key.replace('.', "__").to_uppercase());
        let settings = settings.iter().map(|(key, value)| (name(key), (*value).to_owned())).collect();
        let address = ([127, 0, 0, 1], 0).into();
        let (process, setup, said) = (None, None, Vec::new());
        let mut portal = Self { folder, settings, process, address, setup, said, starts: 0 };
        portal.try_start()?;
        Ok(portal)
    }

    /// A portal whose data folder is there before its first start.
    pub(crate) fn restored(prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        std::fs::write(folder.path().join("web.toml"), "").unwrap();
        let (setup, said, address) = (Some(String::new()), Vec::new(), ([127, 0, 0, 1], 0).into());
        let mut portal = Self { folder, settings: Vec::new(), process: None, address, setup, said, starts: 0 };
        portal.again();
        portal
    }

    /// Starts it again on what it left.
    pub(crate) fn again(&mut self) {
        self.try_start().unwrap_or_else(|(status, words)| panic!("{status}: {words}"));
    }

    fn try_start(&mut self) -> Result<(), (ExitStatus, String)> {
        assert!(self.process.is_none(), "it runs");
        loop {
            // Somebody else may take the port before the portal does.
            self.address = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
            self.starts += 1;
            match self.launch() {
                Started::Listens(process, setup, said) => {
                    self.said = said;
                    self.process = Some(process);
                    self.setup = setup.or(self.setup.take());
                    return Ok(());
                }
                Started::Ended(_, words) if words.contains("already in use") && self.starts < 20 => {}
                Started::Ended(status, words) => return Err((status, words)),
            }
        }
    }

    fn launch(&self) -> Started {
        let log = self.path(&format!("log-{}", self.starts));
        let mut child = Command::new(env!("CARGO_BIN_EXE_veilwatch-web"))
            .arg("--config")
            .arg(self.path("web.toml"))
            .env_clear()
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            // As whoever follows the README: the data folder is the default one, `./data`.
            .current_dir(self.folder.path())
            .env("VEILWATCH_WEB_ADDRESS", self.address.to_string())
            .env("VEILWATCH_WEB_LIMITS__FREE_DISK_BYTES", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let is_new = self.setup.is_none();
        let mut said = Vec::new();
        let mut setup = None;
        let mut listens = false;
        while !listens || (is_new && setup.is_none()) {
            let Some(Ok(line)) = lines.next() else {
                let status = child.wait().unwrap();
                return Started::Ended(status, std::fs::read_to_string(&log).unwrap());
            };
            said.push(line.clone());
            listens |= line.starts_with("The portal listens on ");
            setup = setup.or(line.find("/setup?token=").map(|at| line[at..].to_owned()));
        }
        Started::Listens(child, setup, said)
    }

    /// How another portal ends that is started beside it on the same data folder, and what it says.
    pub(crate) fn second(&self) -> (ExitStatus, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_veilwatch-web"))
            .env_clear()
            .current_dir(self.folder.path())
            .env("VEILWATCH_WEB_ADDRESS", "127.0.0.1:0")
            .output()
            .unwrap();
        (output.status, String::from_utf8(output.stderr).unwrap())
    }

    /// A path in its folder, beside the data.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// The names in a folder of the data.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.data().join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// What it greeted with after these words.
    #[track_caller]
    pub(crate) fn said(&self, words: &str) -> &str {
        self.said.iter().find_map(|line| line.strip_prefix(words)).unwrap_or_else(|| panic!("{:?}", self.said))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Somebody without an account.
    pub(crate) fn stranger(&self) -> Person {
        Person { cookies: Mutex::default(), token: String::new() }
    }

    /// What it has logged since its last start.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path(&format!("log-{}", self.starts))).unwrap()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.as_ref().unwrap().id()).unwrap())
    }

    /// The workers that it has started and that live.
    pub(crate) fn workers(&self) -> Vec<Pid> {
        workers_of(self.pid())
    }

    /// Ends it as nothing else does: `kill -9`.
    pub(crate) fn kill(&mut self) {
        kill(self.pid(), Signal::SIGKILL).unwrap();
        self.process.take().unwrap().wait().unwrap();
    }

    /// Asks it to end, and says how it did and how long that took.
    pub(crate) fn terminate(&mut self) -> (ExitStatus, Duration) {
        let begin = Instant::now();
        kill(self.pid(), Signal::SIGTERM).unwrap();
        let mut process = self.process.take().unwrap();
        let mut ended = None;
        soon("the portal ends", || {
            ended = process.try_wait().unwrap();
            ended.is_some()
        });
        (ended.unwrap(), begin.elapsed())
    }

    /// The first administrator.
    pub(crate) fn administrator(&self) -> Person {
        let path = self.setup.as_ref().unwrap();
        Person::new(self, path, "/setup", "ada")
    }

    /// Another analyst, by invitation.
    pub(crate) fn analyst(&self, administrator: &Person, name: &str) -> Person {
        let page = administrator.post(self, "/people", "/people/invitations", &[("role", "analyst")]).is(200).text();
        let path = between(&page, "/invitation?token&#x3D;", "\"");
        Person::new(self, &format!("/invitation?token={path}"), "/invitation", name)
    }

    /// Whether it lives, and how long that answer took.
    pub(crate) fn health(&self) -> Duration {
        let begin = Instant::now();
        ask(self.address, "GET", "/healthz", "", b"").is(200);
        begin.elapsed()
    }
}

impl Drop for Portal {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            for start in 1..=self.starts {
                let log = std::fs::read_to_string(self.path(&format!("log-{start}"))).unwrap_or_default();
                let lines = log.lines().filter(|line| !line.contains("answered"));
                eprintln!("start {start}:\n{}", lines.collect::<Vec<_>>().join("\n"));
            }
        }
    }
}

/// Somebody with an account, a browser and a program.
pub(crate) struct Person {
    cookies: Mutex<BTreeMap<String, String>>,
    token: String,
}

impl Person {
    fn new(portal: &Portal, link: &str, action: &str, name: &str) -> Self {
        let mut person = Self { cookies: Mutex::default(), token: String::new() };
        let token = link.split_once("token=").unwrap().1;
        let fields =
            [("token", token), ("name", name), ("display_name", name), ("password", PASSWORD), ("again", PASSWORD)];
        person.post(portal, link, action, &fields).is(303);
        let wish = [("label", "program"), ("scope", "write"), ("days", "1")];
        let page = person.post(portal, "/account", "/account/tokens", &wish).is(200).text();
        person.token = format!("vwp_{}", between(&page, "<code>vwp_", "<"));
        person
    }

    /// The same one with the same program and the same cookies elsewhere.
    pub(crate) fn again(&self) -> Self {
        Self { cookies: Mutex::new(self.cookies.lock().unwrap().clone()), token: self.token.clone() }
    }

    /// Logs in.
    pub(crate) fn log_in(&mut self, portal: &Portal, name: &str) {
        self.cookies.lock().unwrap().clear();
        self.post(portal, "/login", "/login", &[("name", name), ("password", PASSWORD), ("next", "/")]).is(303);
    }

    /// The lines that make a request a browser's.
    pub(crate) fn browser(&self) -> String {
        let cookies: Vec<String> =
            self.cookies.lock().unwrap().iter().map(|(name, value)| format!("{name}={value}")).collect();
        if cookies.is_empty() { String::new() } else { format!("Cookie: {}\r\n", cookies.join("; ")) }
    }

    /// The line that makes a request a program's.
    pub(crate) fn program(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.token)
    }

    fn keep(&self, answer: &Answer) {
        for cookie in answer.headers("set-cookie") {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.lock().unwrap().remove(name);
            } else {
                self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// A page.
    pub(crate) fn get(&self, portal: &Portal, path: &str) -> Answer {
        let answer = ask(portal.address, "GET", path, &self.browser(), b"");
        self.keep(&answer);
        answer
    }

    /// A form, from the page that it is on.
    pub(crate) fn post(&self, portal: &Portal, page: &str, action: &str, fields: &[(&str, &str)]) -> Answer {
        let page = self.get(portal, page).is(200).text();
        let mut all = vec![("csrf", between(&page, "name=\"csrf\" value=\"", "\""))];
        all.extend(fields);
        let more = format!("{}Content-Type: application/x-www-form-urlencoded\r\n", self.browser());
        let answer = ask(portal.address, "POST", action, &more, http::encoded(&all).as_bytes());
        self.keep(&answer);
        answer
    }

    /// What a program asks.
    pub(crate) fn call(&self, portal: &Portal, method: &str, path: &str, body: &[u8]) -> Answer {
        let more = format!("{}Content-Type: application/json\r\n", self.program());
        ask(portal.address, method, &format!("/api/v1{path}"), &more, body)
    }

    /// Uploads bytes; `options` go into the query.
    pub(crate) fn upload(&self, portal: &Portal, options: &str, bytes: &[u8]) -> Answer {
        self.call(portal, "POST", &format!("/entries?{options}"), bytes)
    }

    /// Uploads an example and confirms it; returns the entry's key.
    #[track_caller]
    pub(crate) fn analyse(&self, portal: &Portal, pipeline: &str, bytes: &[u8]) -> String {
        let created = self.upload(portal, &format!("confirm=true&pipeline={pipeline}"), bytes).is(201);
        created.json()["key"].as_str().unwrap().to_owned()
    }

    /// An entry.
    pub(crate) fn entry(&self, portal: &Portal, key: &str) -> Value {
        self.call(portal, "GET", &format!("/entries/{key}"), b"").is(200).json()
    }

    /// All entries, newest first.
    pub(crate) fn entries(&self, portal: &Portal) -> Vec<Value> {
        self.call(portal, "GET", "/entries?limit=200", b"").is(200).json()["entries"].as_array().unwrap().clone()
    }

    /// An entry once it has come to an end.
    pub(crate) fn ended(&self, portal: &Portal, key: &str) -> Value {
        let mut entry = Value::Null;
        soon("the analysis ends", || {
            entry = self.entry(portal, key);
            entry["state"] == "done" || entry["state"] == "failed"
        });
        entry
    }

    /// An entry once it is done.
    #[track_caller]
    pub(crate) fn done(&self, portal: &Portal, key: &str) -> Value {
        let entry = self.ended(portal, key);
        assert_eq!(entry["state"], "done", "{entry}");
        entry
    }

    /// All flows of an entry, as JSON Lines.
    pub(crate) fn lines(&self, portal: &Portal, key: &str) -> String {
        self.call(portal, "GET", &format!("/entries/{key}/flows.jsonl"), b"").is(200).text()
    }
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    within(SOON, what, &mut is_so);
}

/// Waits until it is so, but not for ever.
#[track_caller]
pub(crate) fn within(time: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < time, "{what}: not within {time:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What stands between two texts.
#[track_caller]
pub(crate) fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no {from} in {text}"));
    rest.split_once(to).unwrap().0
}

/// An example capture.
pub(crate) fn example(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/captures").join(name)).unwrap()
}

/// An example capture, many times over: its analysis takes a while.
pub(crate) fn many_times(name: &str, times: usize) -> Vec<u8> {
    let one = example(name);
    let mut all = one.clone();
    for _ in 1..times {
        all.extend_from_slice(&one[24..]);
    }
    all
}
