//! What an operator may set, in a TOML file and in the environment.
//!
//! Nothing has to be set. A file is named with `--config`; a variable `VEILWATCH_WEB_…` overrides it, with two
//! underscores between a table and its key: `VEILWATCH_WEB_LIMITS__UPLOAD_BYTES=1000000`. A key that nobody knows is an
//! error in either: a limit that is misspelt is a limit that is not there.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

/// What every variable of ours begins with.
pub const ENVIRONMENT_PREFIX: &str = "VEILWATCH_WEB_";

/// The whole configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The folder of the database, the secret and all captures.
    pub data: PathBuf,
    /// Where the portal listens.
    pub address: SocketAddr,
    /// Serve plain HTTP beyond this computer, where everybody on the way can read passwords.
    pub insecure_plain_http: bool,
    /// The secret as text; by default it is generated into the data folder.
    pub secret: Option<SecretText>,
    /// The certificate and key to serve HTTPS with.
    pub tls: Option<Tls>,
    /// The proxy in front of the portal.
    pub proxy: Proxy,
    /// How much of everything.
    pub limits: Limits,
    /// How long a log-in lasts.
    pub sessions: Sessions,
    /// How often a log-in may fail.
    pub login: Login,
    /// How long an invitation can be used.
    pub invitations: Invitations,
    /// How analyses are run and held down.
    pub worker: Worker,
    /// How packets are looked at.
    pub browse: Browse,
    /// Who may capture, and how much.
    pub live: Live,
    /// The pipelines that can be chosen, beside the one in the box.
    pub pipeline: Vec<PipelineChoice>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("./data"),
            address: SocketAddr::from(([127, 0, 0, 1], 8000)),
            insecure_plain_http: false,
            secret: None,
            tls: None,
            proxy: Proxy::default(),
            limits: Limits::default(),
            sessions: Sessions::default(),
            login: Login::default(),
            invitations: Invitations::default(),
            worker: Worker::default(),
            browse: Browse::default(),
            live: Live::default(),
            pipeline: Vec::new(),
        }
    }
}

/// A secret that must not end in a log.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct SecretText(pub String);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// HTTPS by the portal itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// A proxy that people reach the portal through.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    /// The proxy speaks HTTPS with the visitors: cookies are then marked `Secure`.
    pub tls: bool,
    /// The header in which the proxy names the visitor's address. Without it the peer's own address counts: a visitor
    /// who could name any address would never be throttled.
    pub address_header: Option<String>,
}

/// How much of everything.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of one uploaded capture.
    pub upload_bytes: u64,
    /// Bytes that one account may keep.
    pub quota_bytes: u64,
    /// Bytes that stay free on the disk.
    pub free_disk_bytes: u64,
    /// Bytes that a compressed capture may unpack to; the pipeline's own limit holds as well.
    pub unpacked_bytes: u64,
    /// How many times its size a capture may unpack to, after the first 64 MiB; the pipeline's own limit holds as well.
    pub expansion_ratio: u32,
    /// Uploads that one account may have under way at the same time.
    pub uploads_at_once: u32,
    /// Seconds without a byte after which an upload is broken off.
    pub upload_idle_seconds: i64,
    /// Seconds after which every upload is broken off.
    pub upload_seconds: i64,
    /// Entries of one account.
    pub entries: u32,
    /// Entries of one account that wait for their analysis.
    pub waiting: u32,
    /// Looks into results that one account may have under way at the same time.
    pub looks_at_once: u32,
    /// Downloads that one account may have under way at the same time.
    pub downloads_at_once: u32,
    /// Wait pages that one account may have open at the same time.
    pub streams_at_once: u32,
    /// Flows on one page of a table.
    pub page_rows: u32,
    /// Milliseconds that one search in a result may take.
    pub search_milliseconds: u32,
    /// Bytes of a flow's packets that can be cut out.
    pub cut_bytes: u64,
    /// Bytes of a posted form.
    pub form_bytes: u64,
    /// API tokens of one account.
    pub api_tokens: u32,
    /// Invitations that wait at the same time.
    pub invitations: u32,
    /// Sessions of one account; the oldest ends when one more begins.
    pub sessions: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            upload_bytes: 2 << 30,
            quota_bytes: 20 << 30,
            free_disk_bytes: 1 << 30,
            unpacked_bytes: 64 << 30,
            expansion_ratio: 1000,
            uploads_at_once: 24,
            upload_idle_seconds: 30,
            upload_seconds: 4 * 3600,
            entries: 10_000,
            waiting: 100,
            looks_at_once: 16,
            downloads_at_once: 4,
            streams_at_once: 12,
            page_rows: 50,
            search_milliseconds: 4000,
            cut_bytes: 256 << 20,
            form_bytes: 16 << 10,
            api_tokens: 20,
            invitations: 100,
            sessions: 20,
        }
    }
}

/// How long a log-in lasts.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sessions {
    /// Seconds without a request after which a session ends.
    pub idle_seconds: i64,
    /// Seconds after which every session ends.
    pub absolute_seconds: i64,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { idle_seconds: 2 * 3600, absolute_seconds: 7 * 24 * 3600 }
    }
}

/// How often a log-in may fail.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Login {
    /// Failures of one account in a window.
    pub account_attempts: u32,
    /// Failures from one address in a window.
    pub address_attempts: u32,
    /// The length of a window in seconds.
    pub window_seconds: i64,
    /// Accounts and addresses that are remembered at the same time.
    pub remembered: usize,
}

impl Default for Login {
    fn default() -> Self {
        Self { account_attempts: 8, address_attempts: 40, window_seconds: 15 * 60, remembered: 10_000 }
    }
}

/// How long an invitation can be used.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Invitations {
    /// Hours after which it ends.
    pub hours: i64,
}

impl Default for Invitations {
    fn default() -> Self {
        Self { hours: 72 }
    }
}

/// How analyses are run and held down.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Worker {
    /// Analyses that run at the same time.
    pub at_once: u16,
    /// Threads of one analysis.
    pub threads: u16,
    /// Bytes of memory of one analysis, as address space.
    pub memory_bytes: u64,
    /// Seconds of processor time of one analysis.
    pub cpu_seconds: u64,
    /// Seconds after which an analysis is ended.
    pub wall_seconds: u64,
    /// Bytes of one result.
    pub result_bytes: u64,
    /// Files that one analysis may have open.
    pub open_files: u64,
    /// Packets that are looked at before the confirmation.
    pub inspect_packets: u64,
    /// Seconds that this look may take.
    pub inspect_seconds: u64,
    /// Seconds that cutting out a flow may take.
    pub cut_seconds: u64,
    /// Run analyses even where the kernel cannot confine them.
    pub without_sandbox: bool,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            at_once: 2,
            threads: 2,
            memory_bytes: 3 << 30,
            cpu_seconds: 1800,
            wall_seconds: 3600,
            result_bytes: 8 << 30,
            open_files: 64,
            inspect_packets: 100_000,
            inspect_seconds: 20,
            cut_seconds: 300,
            without_sandbox: false,
        }
    }
}

/// How packets are looked at, and what holds those processes down that read them.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Browse {
    /// Captures that are open at the same time.
    pub readers: u16,
    /// The same of one account.
    pub readers_of_one: u16,
    /// Seconds without a question after which a reader ends.
    pub idle_seconds: u64,
    /// Seconds that one answer may take.
    pub answer_seconds: u64,
    /// Bytes of memory of one reader, as address space.
    pub memory_bytes: u64,
    /// Seconds of processor time of one reader.
    pub cpu_seconds: u64,
    /// Packets of one capture that can be looked at.
    pub packets: u64,
    /// Bytes of an index that is kept.
    pub index_bytes: u64,
    /// Bytes that a compressed capture may take while it is open.
    pub unpacked_bytes: u64,
}

impl Default for Browse {
    fn default() -> Self {
        Self {
            readers: 8,
            readers_of_one: 2,
            idle_seconds: 120,
            answer_seconds: 20,
            memory_bytes: 3 << 30,
            cpu_seconds: 1800,
            packets: 1 << 24,
            index_bytes: 1 << 30,
            unpacked_bytes: 8 << 30,
        }
    }
}

/// Whether administrators may capture on interfaces of this machine, and how much.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Live {
    /// Whether they may at all. Whoever can see everybody's traffic is chosen by who runs the machine, and by nobody who can
    /// log in: so it is not switched on by itself.
    pub enabled: bool,
    /// Interfaces that they may capture on; empty: all but those that lead back to this machine, where passwords and sessions
    /// may pass in the clear, from a proxy to the portal say. One of those is captured on where it is named.
    pub interfaces: Vec<String>,
    /// Sessions at the same time, those among them that have ended and are not saved yet.
    pub sessions: u16,
    /// Bytes of what one captures.
    pub bytes: u64,
    /// Packets of one.
    pub packets: u64,
    /// Seconds that one takes.
    pub seconds: u64,
    /// Seconds without anybody who looks, after which one ends.
    pub idle_seconds: u64,
    /// Seconds after its end, after which one that was not saved is deleted.
    pub keep_seconds: u64,
    /// Alerts of one that are shown; more are counted.
    pub alerts: u32,
    /// Bytes of memory in which the kernel keeps packets whose turn comes late.
    pub ring_bytes: u32,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            enabled: false,
            interfaces: Vec::new(),
            sessions: 2,
            bytes: 1 << 30,
            packets: 10_000_000,
            seconds: 4 * 3600,
            idle_seconds: 900,
            keep_seconds: 3600,
            alerts: 500,
            ring_bytes: 64 << 20,
        }
    }
}

/// A pipeline that can be chosen for an analysis.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineChoice {
    /// What it is called in forms: letters, digits and hyphens.
    pub name: String,
    /// Its TOML file.
    pub file: PathBuf,
}

/// The name of the pipeline in the box.
pub const DEFAULT_PIPELINE: &str = "default";

/// Why a configuration is refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration {} cannot be read: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file says something that nobody knows.
    #[error("the configuration {} is wrong: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// A variable says something that nobody knows.
    #[error("the environment variables {ENVIRONMENT_PREFIX}… are wrong: {0}")]
    Environment(String),
    /// Everybody on the way could read passwords.
    #[error(
        "{0} can be reached from other computers, and without TLS everybody on the way reads passwords. Give [tls] a \
         certificate and a key; or set proxy.tls = true if a proxy speaks HTTPS in front of it; or, knowing the risk, \
         set insecure_plain_http = true"
    )]
    Plain(SocketAddr),
    /// There is no data folder.
    #[error("data is empty: name the folder of the database, the secret and all captures")]
    Data,
    /// A number that makes no sense.
    #[error("{key} = {value} makes no sense: {why}")]
    Number {
        /// Which key.
        key: &'static str,
        /// What it says.
        value: i64,
        /// Why not.
        why: &'static str,
    },
}

impl Config {
    /// The configuration from a file, if there is one, and from variables.
    ///
    /// # Errors
    /// Where the file cannot be read, or file or variables hold unknown keys or values that make no sense.
    pub fn load(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut table = toml::Table::new();
        if let Some(path) = file {
            let text =
                std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
            let wrong = |source| ConfigError::File { path: path.to_owned(), source: Box::new(source) };
            // First on its own: the error then names line and column.
            toml::from_str::<Self>(&text).map_err(wrong)?;
            table = toml::from_str(&text).map_err(wrong)?;
        }
        let of_file = table.clone();
        let mut used = Vec::new();
        for (name, value) in variables {
            if let Some(key) = name.strip_prefix(ENVIRONMENT_PREFIX) {
                overlay(&mut table, key, &value)?;
                used.push((key.to_owned(), value));
            }
        }
        let config: Self = table.try_into().map_err(|error: toml::de::Error| {
            // The values may be secret, so only the message is passed on, never the text around it.
            let alone = |(key, value): &&(String, String)| {
                let mut table = of_file.clone();
                overlay(&mut table, key, value).is_err() || table.try_into::<Self>().is_err()
            };
            let culprit = used.iter().find(alone).map(|(key, _)| format!("{ENVIRONMENT_PREFIX}{key}: "));
            ConfigError::Environment(format!("{}{}", culprit.unwrap_or_default(), error.message()))
        })?;
        config.check()?;
        Ok(config)
    }

    /// Whether visitors reach the portal by HTTPS.
    pub fn is_https(&self) -> bool {
        self.tls.is_some() || self.proxy.tls
    }

    fn check(&self) -> Result<(), ConfigError> {
        if !is_local(self.address.ip()) && !self.is_https() && !self.insecure_plain_http {
            return Err(ConfigError::Plain(self.address));
        }
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (limits, worker, browse, live) = (&self.limits, &self.worker, &self.browse, &self.live);
        if self.data.as_os_str().is_empty() {
            return Err(ConfigError::Data);
        }
        let positive: [(&'static str, i64); 49] = [
            ("sessions.idle_seconds", self.sessions.idle_seconds),
            ("sessions.absolute_seconds", self.sessions.absolute_seconds),
            ("login.account_attempts", i64::from(self.login.account_attempts)),
            ("login.address_attempts", i64::from(self.login.address_attempts)),
            ("login.window_seconds", self.login.window_seconds),
            ("login.remembered", i64::try_from(self.login.remembered).unwrap_or(i64::MAX)),
            ("invitations.hours", self.invitations.hours),
            ("limits.sessions", i64::from(self.limits.sessions)),
            ("limits.upload_bytes", whole(limits.upload_bytes)),
            ("limits.quota_bytes", whole(limits.quota_bytes)),
            ("limits.unpacked_bytes", whole(limits.unpacked_bytes)),
            ("limits.expansion_ratio", limits.expansion_ratio.into()),
            ("limits.uploads_at_once", limits.uploads_at_once.into()),
            ("limits.upload_idle_seconds", limits.upload_idle_seconds),
            ("limits.upload_seconds", limits.upload_seconds),
            ("limits.entries", limits.entries.into()),
            ("limits.waiting", limits.waiting.into()),
            ("limits.looks_at_once", limits.looks_at_once.into()),
            ("limits.downloads_at_once", limits.downloads_at_once.into()),
            ("limits.streams_at_once", limits.streams_at_once.into()),
            ("limits.page_rows", limits.page_rows.into()),
            ("limits.search_milliseconds", limits.search_milliseconds.into()),
            ("limits.cut_bytes", whole(limits.cut_bytes)),
            ("worker.at_once", worker.at_once.into()),
            ("worker.threads", worker.threads.into()),
            ("worker.memory_bytes", whole(worker.memory_bytes)),
            ("worker.cpu_seconds", whole(worker.cpu_seconds)),
            ("worker.wall_seconds", whole(worker.wall_seconds)),
            ("worker.result_bytes", whole(worker.result_bytes)),
            ("worker.inspect_packets", whole(worker.inspect_packets)),
            ("worker.inspect_seconds", whole(worker.inspect_seconds)),
            ("worker.cut_seconds", whole(worker.cut_seconds)),
            ("browse.readers", browse.readers.into()),
            ("browse.readers_of_one", browse.readers_of_one.into()),
            ("browse.idle_seconds", whole(browse.idle_seconds)),
            ("browse.answer_seconds", whole(browse.answer_seconds)),
            ("browse.memory_bytes", whole(browse.memory_bytes)),
            ("browse.cpu_seconds", whole(browse.cpu_seconds)),
            ("browse.packets", whole(browse.packets)),
            ("browse.index_bytes", whole(browse.index_bytes)),
            ("browse.unpacked_bytes", whole(browse.unpacked_bytes)),
            ("live.sessions", live.sessions.into()),
            ("live.bytes", whole(live.bytes)),
            ("live.packets", whole(live.packets)),
            ("live.seconds", whole(live.seconds)),
            ("live.idle_seconds", whole(live.idle_seconds)),
            ("live.keep_seconds", whole(live.keep_seconds)),
            ("live.alerts", live.alerts.into()),
            ("live.ring_bytes", live.ring_bytes.into()),
        ];
        // Far more than anybody means, and far less than what sums of times could overflow at.
        const HUNDRED_YEARS: i64 = 100 * 366 * 24 * 3600;
        for (key, value) in positive {
            if value <= 0 {
                return Err(ConfigError::Number { key, value, why: "it must be above 0" });
            }
            let is_time = key.ends_with("_seconds") || key.ends_with("hours");
            if is_time && value > HUNDRED_YEARS / if key.ends_with("hours") { 3600 } else { 1 } {
                return Err(ConfigError::Number { key, value, why: "that is more than a hundred years" });
            }
        }
        for (key, value, least, why) in [
            (
                "worker.memory_bytes",
                worker.memory_bytes,
                256 << 20,
                "no worker would start: it must be 268435456 or more",
            ),
            (
                "browse.memory_bytes",
                browse.memory_bytes,
                256 << 20,
                "no reader would start: it must be 268435456 or more",
            ),
            ("worker.open_files", worker.open_files, 16, "no worker would start: it must be 16 or more"),
        ] {
            if value < least {
                return Err(ConfigError::Number { key, value: whole(value), why });
            }
        }
        if self.limits.form_bytes < 4096 {
            let value = i64::try_from(self.limits.form_bytes).unwrap_or(i64::MAX);
            return Err(ConfigError::Number {
                key: "limits.form_bytes",
                value,
                why: "no form would fit: it must be 4096 or more",
            });
        }
        Ok(())
    }
}

fn is_local(address: IpAddr) -> bool {
    address.is_loopback()
}

/// Puts `TABLE__KEY` into the table, as a number or a truth value where it reads as one.
fn overlay(table: &mut toml::Table, key: &str, value: &str) -> Result<(), ConfigError> {
    let mut names: Vec<String> = key.split("__").map(str::to_ascii_lowercase).collect();
    let Some(last) = names.pop() else { return Ok(()) };
    let mut place = table;
    for name in names {
        let entry = place.entry(name).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let Some(inner) = entry.as_table_mut() else {
            return Err(ConfigError::Environment(format!(
                "{ENVIRONMENT_PREFIX}{key} names a key inside a plain value"
            )));
        };
        place = inner;
    }
    // A secret of digits is a text all the same.
    let parsed = match (last.as_str(), value.parse::<i64>(), value.parse::<bool>()) {
        ("secret", ..) => None,
        (_, Ok(number), _) => Some(toml::Value::Integer(number)),
        (_, _, Ok(truth)) => Some(toml::Value::Boolean(truth)),
        _ => None,
    };
    place.insert(last, parsed.unwrap_or_else(|| toml::Value::String(value.to_owned())));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path), variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn nothing_has_to_be_set() {
        let config = Config::load(None, []).unwrap();
        assert_eq!(config.address.to_string(), "127.0.0.1:8000");
        assert_eq!(config.limits.upload_bytes, 2 * 1024 * 1024 * 1024);
        assert!(!config.is_https());
    }

    #[test]
    fn the_readme_shows_every_default() {
        let readme = include_str!("../README.md");
        let block = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        assert_eq!(format!("{:?}", load(block, &[]).unwrap()), format!("{:?}", Config::default()));
    }

    #[test]
    fn a_variable_overrides_the_file() {
        let config = load(
            "address = '127.0.0.1:1'\n[limits]\nupload_bytes = 5\n",
            &[("VEILWATCH_WEB_LIMITS__UPLOAD_BYTES", "7"), ("VEILWATCH_WEB_DATA", "/var/x"), ("OTHER", "1")],
        )
        .unwrap();
        assert_eq!((config.limits.upload_bytes, config.address.port()), (7, 1));
        assert_eq!(config.data, PathBuf::from("/var/x"));
    }

    #[test]
    fn unknown_keys_are_errors_and_name_the_line() {
        let error = load("\n[limits]\nuploadbytes = 5\n", &[]).unwrap_err().to_string();
        assert!(error.contains("uploadbytes") && error.contains("line 3"), "{error}");
        let error = load("", &[("VEILWATCH_WEB_LIMIT__UPLOAD_BYTES", "5")]).unwrap_err().to_string();
        assert!(error.contains("limit"), "{error}");
    }

    #[test]
    fn plain_http_for_others_must_be_asked_for() {
        assert!(matches!(load("address = '0.0.0.0:80'", &[]), Err(ConfigError::Plain(_))));
        assert!(matches!(load("address = '[::]:80'", &[]), Err(ConfigError::Plain(_))));
        assert!(load("address = '[::1]:80'", &[]).is_ok());
        assert!(load("address = '0.0.0.0:80'\ninsecure_plain_http = true", &[]).is_ok());
        assert!(load("address = '0.0.0.0:80'\n[proxy]\ntls = true", &[]).unwrap().is_https());
        assert!(load("address = '0.0.0.0:80'\n[tls]\ncertificate = 'c'\nkey = 'k'", &[]).unwrap().is_https());
    }

    #[test]
    fn numbers_must_make_sense() {
        for text in ["[sessions]\nidle_seconds = 0", "[invitations]\nhours = -1", "[limits]\nform_bytes = 1"] {
            assert!(matches!(load(text, &[]), Err(ConfigError::Number { .. })), "{text}");
        }
        assert!(load("[sessions]\nabsolute_seconds = 9223372036854775807", &[]).is_err());
    }

    #[test]
    fn a_secret_is_never_printed() {
        let config = load("secret = 'open sesame'", &[]).unwrap();
        assert!(!format!("{config:?}").contains("sesame"));
        let error = load("", &[("VEILWATCH_WEB_SECRET", "12345"), ("VEILWATCH_WEB_SECRET__X", "sesame")]);
        assert!(!error.unwrap_err().to_string().contains("sesame"));
    }
}
