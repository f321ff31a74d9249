//! What an operator may set, in a TOML file and in the environment.
//!
//! Nothing has to be set. A file is named with `--config`; a variable `VEILWATCH_WEB_…` overrides it, with two
//! underscores between a table and its key: `VEILWATCH_WEB_LIMITS__UPLOAD_BYTES=1000000`. A key that nobody knows is an
//! error in either: a limit that is misspelt is a limit that is not there.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;
use veilwatch::worker::browse::JUDGED_FLOWS;

use crate::accounts::Role;
use crate::accounts::teams::MAX_DAYS;
use crate::provider::fetch::is_safe;

/// What every variable of ours begins with.
pub const ENVIRONMENT_PREFIX: &str = "VEILWATCH_WEB_";

/// The whole configuration.
#[derive(Clone, Debug, Deserialize, Serialize)]
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
    /// How much people may make of findings.
    pub triage: Triage,
    /// How long a log-in lasts.
    pub sessions: Sessions,
    /// How often a log-in may fail.
    pub login: Login,
    /// The provider that people may sign in by.
    pub oidc: Option<Oidc>,
    /// How long an invitation can be used.
    pub invitations: Invitations,
    /// How analyses are run and held down.
    pub worker: Worker,
    /// How packets are looked at.
    pub browse: Browse,
    /// How long things are kept.
    pub retention: Retention,
    /// What is written down of requests.
    pub log: Log,
    /// Figures for Prometheus.
    pub metrics: Metrics,
    /// How folders are watched.
    pub watching: Watching,
    /// Folders from which captures are taken.
    pub watch: Vec<Watch>,
    /// How webhooks are held down.
    pub webhooks: WebhookLimits,
    /// Who is told when an analysis is done. Set here and by nobody else: whoever could name an address could have the
    /// portal ask for pages of the network that it stands in.
    pub webhook: Vec<Webhook>,
    /// What administrators may make here: pipelines, entries of tables.
    pub framework: Framework,
    /// Models of one's own.
    pub models: Models,
    /// How models are trained from pages.
    pub training: Training,
    /// Who may capture, and how much.
    pub live: Live,
    /// The pipelines that can be chosen, beside the one in the box.
    pub pipeline: Vec<PipelineChoice>,
    /// Where values come from that are no defaults.
    #[serde(skip)]
    pub sources: Sources,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The program.
    Default,
    /// The configuration's file.
    File,
    /// A variable of the environment.
    Environment,
}

/// Where values come from that are no defaults, by their keys such as `limits.entries`.
#[derive(Clone, Default)]
pub struct Sources(BTreeMap<String, Source>);

impl Sources {
    /// Where the value of this key comes from; a key inside of a list comes from where the list does.
    pub fn of(&self, key: &str) -> Source {
        let parts = key.match_indices('.').map(|(at, _)| &key[..at]).chain([key]);
        parts.filter_map(|key| self.0.get(key)).next_back().copied().unwrap_or(Source::Default)
    }

    fn note(&mut self, prefix: &str, table: &toml::Table, source: Source) {
        for (name, value) in table {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match value {
                toml::Value::Table(inner) => self.note(&key, inner, source),
                _ => drop(self.0.insert(key, source)),
            }
        }
    }
}

impl fmt::Debug for Sources {
    /// What a configuration says does not hang on where it says it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources(…)")
    }
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
            triage: Triage::default(),
            sessions: Sessions::default(),
            login: Login::default(),
            oidc: None,
            invitations: Invitations::default(),
            worker: Worker::default(),
            browse: Browse::default(),
            retention: Retention::default(),
            log: Log::default(),
            metrics: Metrics::default(),
            watching: Watching::default(),
            watch: Vec::new(),
            webhooks: WebhookLimits::default(),
            webhook: Vec::new(),
            framework: Framework::default(),
            models: Models::default(),
            training: Training::default(),
            live: Live::default(),
            pipeline: Vec::new(),
            sources: Sources::default(),
        }
    }
}

/// A secret that must not end in a log.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct SecretText(pub String);

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("…")
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// HTTPS by the portal itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// A proxy that people reach the portal through.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    /// The proxy speaks HTTPS with the visitors: cookies are then marked `Secure`.
    pub tls: bool,
    /// The header in which the proxy names the visitor's address. Without it the peer's own address counts: a visitor
    /// who could name any address would never be throttled.
    pub address_header: Option<String>,
}

/// How much of everything.
#[derive(Clone, Debug, Deserialize, Serialize)]
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
    /// Uploads of one account that were begun and can be gone on with.
    pub unfinished_uploads: u32,
    /// Seconds without a byte after which such an upload is forgotten.
    pub unfinished_seconds: i64,
    /// Files of one folder that the page uploads.
    pub folder_files: u32,
    /// `Idempotency-Key`s of one account that are remembered.
    pub idempotency_keys: u32,
    /// Seconds for which one is remembered.
    pub idempotency_seconds: i64,
    /// Entries of one account.
    pub entries: u32,
    /// Entries of one account that wait for their analysis.
    pub waiting: u32,
    /// Looks into results, the queue, marks, models and trainings that one account may have under way at the same time.
    pub looks_at_once: u32,
    /// Downloads that one account may have under way at the same time.
    pub downloads_at_once: u32,
    /// Wait pages that one account may have open at the same time.
    pub streams_at_once: u32,
    /// Flows on one page of a table.
    pub page_rows: u32,
    /// Milliseconds that one search in a result, the queue or marks may take.
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
            unfinished_uploads: 20,
            unfinished_seconds: 24 * 3600,
            folder_files: 500,
            idempotency_keys: 10_000,
            idempotency_seconds: 24 * 3600,
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

/// How much people may make of findings.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Triage {
    /// Conversations of one entry that come into the queue, the worst first; the rest is counted.
    pub conversations: u32,
    /// Flows that one mark covers.
    pub mark_flows: u32,
    /// Flows that all marks of one account cover.
    pub marked_flows: u32,
    /// Comments on one conversation or entry, deleted ones included.
    pub comments: u32,
    /// Changes of one conversation or entry that are kept; the oldest goes when one more comes.
    pub changes: u32,
    /// Rows of one export of the queue.
    pub export_rows: u32,
}

impl Default for Triage {
    fn default() -> Self {
        Self {
            conversations: 1000,
            mark_flows: 10_000,
            marked_flows: 100_000,
            comments: 200,
            changes: 200,
            export_rows: 50_000,
        }
    }
}

/// How long a log-in lasts.
#[derive(Clone, Debug, Deserialize, Serialize)]
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
#[derive(Clone, Debug, Deserialize, Serialize)]
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
    /// Who must have a second factor.
    pub second_factor: SecondFactor,
    /// Seconds for the code after the password, for setting a second factor up, and for the way to a provider and back.
    pub pending_seconds: i64,
    /// Log-ins of each kind that wait for that at the same time; the oldest ends when one more begins.
    pub pending: u32,
}

/// Who must have a second factor; everybody may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SecondFactor {
    /// Nobody must.
    #[default]
    Optional,
    /// Administrators must.
    Administrators,
    /// Everybody must.
    Everybody,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            account_attempts: 8,
            address_attempts: 40,
            window_seconds: 15 * 60,
            remembered: 10_000,
            second_factor: SecondFactor::default(),
            pending_seconds: 300,
            pending: 10_000,
        }
    }
}

/// The provider that people may sign in by (OpenID Connect).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Oidc {
    /// The provider's address, exactly as it writes it.
    pub issuer: String,
    /// What it calls this portal.
    pub client_id: String,
    /// The secret that it shares with this portal; a public client has none.
    pub client_secret: Option<SecretText>,
    /// The file with that secret, in its place.
    pub client_secret_file: Option<PathBuf>,
    /// The portal's own address as people reach it, without a slash at its end; by default what their browser calls it.
    /// The provider sends them back to `/login/return` below it.
    pub portal: Option<String>,
    /// What is asked to be told of people.
    pub scopes: Vec<String>,
    /// The claim that a new account's login name is made of.
    pub name_claim: String,
    /// The claim that a new account's role is read from.
    pub roles: Option<Roles>,
    /// Make accounts for whoever has a role by that claim.
    pub create_accounts: bool,
    /// Seconds that one answer of the provider may take.
    pub answer_seconds: u64,
    /// Bytes of one answer.
    pub answer_bytes: u64,
    /// Seconds for which the provider's addresses and keys are kept.
    pub keys_seconds: i64,
    /// Questions to the provider at the same time.
    pub at_once: u16,
}

impl Default for Oidc {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            client_id: String::new(),
            client_secret: None,
            client_secret_file: None,
            portal: None,
            scopes: ["openid", "profile"].map(str::to_owned).into(),
            name_claim: "preferred_username".to_owned(),
            roles: None,
            create_accounts: false,
            answer_seconds: 10,
            answer_bytes: 256 << 10,
            keys_seconds: 3600,
            at_once: 4,
        }
    }
}

/// How the role of a new account follows from what the provider says.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    /// The claim: a text or a list of texts.
    pub claim: String,
    /// The role that each of them gives; the highest counts.
    pub map: BTreeMap<String, Role>,
}

/// How long an invitation can be used.
#[derive(Clone, Debug, Deserialize, Serialize)]
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
#[derive(Clone, Debug, Deserialize, Serialize)]
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
#[derive(Clone, Debug, Deserialize, Serialize)]
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
    /// Flows of one result whose verdicts can be asked for, malicious and suspicious ones first.
    pub judged_flows: u32,
    /// Flows of a result up to which packets are marked by verdicts before anybody asks for these.
    pub marked_flows: u32,
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
            judged_flows: 1_000_000,
            marked_flows: 100_000,
        }
    }
}

/// How long things are kept. Days count from the end of an analysis, or from the upload where there was none; 0 is for ever.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Days after which a capture is deleted, and its result stays.
    pub captures_days: u32,
    /// Days after which an entry is deleted, with all that came of it.
    pub entries_days: u32,
    /// Days after which an upload that nobody confirmed is deleted.
    pub unconfirmed_days: u32,
    /// Seconds between two sweeps.
    pub sweep_seconds: u64,
    /// Entries that one sweep deletes something of.
    pub sweep_entries: u32,
    /// Days without a sweep after which an administrator must vouch for the clock.
    pub jump_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            captures_days: 0,
            entries_days: 0,
            unconfirmed_days: 0,
            sweep_seconds: 3600,
            sweep_entries: 200,
            jump_days: 7,
        }
    }
}

impl Retention {
    fn check(&self) -> Result<(), ConfigError> {
        for (key, value) in [
            ("retention.captures_days", self.captures_days),
            ("retention.entries_days", self.entries_days),
            ("retention.unconfirmed_days", self.unconfirmed_days),
            ("retention.jump_days", self.jump_days),
        ] {
            if value > MAX_DAYS {
                return Err(ConfigError::Number { key, value: value.into(), why: "that is more than a hundred years" });
            }
        }
        if self.sweep_seconds >= u64::from(self.jump_days) * 86_400 {
            let value = i64::try_from(self.sweep_seconds).unwrap_or(i64::MAX);
            let why = "every sweep would wait for an administrator: it must be less than retention.jump_days";
            return Err(ConfigError::Number { key: "retention.sweep_seconds", value, why });
        }
        Ok(())
    }
}

/// What is written down of requests.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The access log: a file, or `-` for standard output. Without it requests are lines of the portal's own log.
    pub access: Option<PathBuf>,
    /// Write down where visitors come from.
    pub addresses: bool,
    /// Lines that wait to be written; more are dropped and counted.
    pub waiting: u32,
}

impl Default for Log {
    fn default() -> Self {
        Self { access: None, addresses: true, waiting: 8192 }
    }
}

/// Figures for Prometheus.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Where they are served; without it they are not.
    pub address: Option<SocketAddr>,
}

/// What administrators may make here: pipelines, entries of tables.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Framework {
    /// The folder of the models that their pipelines may name, and the registry of `registry:NAME`; none but those in the
    /// box where it is not set.
    pub models: Option<PathBuf>,
    /// The folder of the libraries that they may name; none where it is not set. Its libraries run as programs do.
    pub plugins: Option<PathBuf>,
    /// Bytes of one library, or of all files of a model.
    pub part_bytes: u64,
    /// Bytes of a pipeline's text.
    pub pipeline_bytes: u64,
    /// Pipelines, retired ones included.
    pub pipelines: u32,
    /// Versions of one.
    pub versions: u32,
    /// Seconds that loading one may take before it is saved.
    pub check_seconds: u64,
    /// Entries that are added to tables.
    pub table_entries: u32,
    /// Analyses, the last ones, of which it is counted how often plugins failed.
    pub counted_analyses: u32,
}

impl Default for Framework {
    fn default() -> Self {
        Self {
            models: None,
            plugins: None,
            part_bytes: 256 << 20,
            pipeline_bytes: 64 << 10,
            pipelines: 100,
            versions: 500,
            check_seconds: 60,
            table_entries: 1000,
            counted_analyses: 100,
        }
    }
}

/// Models of one's own, in versions.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Models {
    /// The registry's folder; without one there are the models in the box.
    pub registry: Option<PathBuf>,
    /// Public keys whose signature counts, as `veilwatch model keygen` prints them.
    pub trusted_keys: Vec<String>,
    /// Promote only what is signed by one of them.
    pub require_signature: bool,
    /// A pipeline is judged by the registry's champion of the pipeline's name, once there is one.
    pub use_champions: bool,
}

/// How models are trained from pages, and what holds those processes down.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Training {
    /// The folder of labelled data: folders with captures.csv, and tables; without one nothing is trained.
    pub data: Option<PathBuf>,
    /// Bytes of memory of one training, as address space.
    pub memory_bytes: u64,
    /// Seconds of processor time of one training.
    pub cpu_seconds: u64,
    /// Seconds after which a training is ended.
    pub wall_seconds: u64,
    /// Bytes of a trained model with its report.
    pub result_bytes: u64,
    /// Captures that one training reads at the same time.
    pub threads: u16,
    /// Trainings that wait at the same time, of all accounts.
    pub waiting: u32,
    /// The same of one account.
    pub waiting_of_one: u32,
    /// Captures whose marks one training learns from.
    pub captures: u32,
    /// Trainings that are kept of one account; the oldest are forgotten.
    pub kept: u32,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            data: None,
            memory_bytes: 3 << 30,
            cpu_seconds: 4 * 3600,
            wall_seconds: 4 * 3600,
            result_bytes: 512 << 20,
            threads: 2,
            waiting: 10,
            waiting_of_one: 2,
            captures: 200,
            kept: 100,
        }
    }
}

/// Whether administrators may capture on interfaces of this machine, and how much.
#[derive(Clone, Debug, Deserialize, Serialize)]
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
    /// Seconds that one may take to begin, while its pipeline and model are loaded.
    pub begin_seconds: u64,
    /// Seconds without a word from its process, after which that is ended.
    pub silent_seconds: u64,
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
            begin_seconds: 60,
            silent_seconds: 30,
            idle_seconds: 900,
            keep_seconds: 3600,
            alerts: 500,
            ring_bytes: 64 << 20,
        }
    }
}

/// A pipeline that can be chosen for an analysis.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineChoice {
    /// What it is called in forms: letters, digits and hyphens.
    pub name: String,
    /// Its TOML file.
    pub file: PathBuf,
}

/// How folders are watched.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Watching {
    /// Seconds between two looks into each folder.
    pub interval_seconds: u64,
    /// Seconds for which nothing about a file may change before it counts as complete.
    pub unchanged_seconds: u64,
    /// Seconds after which a file is tried again that there was no room for.
    pub again_seconds: u64,
    /// Files of one folder that are looked at in one round.
    pub files: usize,
}

impl Default for Watching {
    fn default() -> Self {
        Self { interval_seconds: 2, unchanged_seconds: 10, again_seconds: 60, files: 1000 }
    }
}

/// A folder from which captures are taken.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// The folder.
    pub folder: PathBuf,
    /// The name of the account whose entries they become.
    pub account: String,
    /// The pipeline that they are analysed with.
    #[serde(default = "default_pipeline")]
    pub pipeline: String,
    /// The category that they are sorted into.
    #[serde(default)]
    pub category: Option<String>,
    /// What becomes of a file that was taken.
    #[serde(default)]
    pub keep: Keep,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            folder: PathBuf::new(),
            account: String::new(),
            pipeline: default_pipeline(),
            category: None,
            keep: Keep::default(),
        }
    }
}

fn default_pipeline() -> String {
    DEFAULT_PIPELINE.to_owned()
}

/// What becomes of a file that was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// It is deleted: the portal has it.
    #[default]
    Delete,
    /// It is moved into the folder `taken` in the one that is watched.
    Move,
}

/// How webhooks are held down.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookLimits {
    /// Seconds that one try may take.
    pub timeout_seconds: u64,
    /// Tries of one message.
    pub tries: u32,
    /// Seconds after the first try; four times as many after each one more.
    pub first_wait_seconds: i64,
    /// The most seconds between two tries.
    pub longest_wait_seconds: i64,
    /// Messages of one webhook that may wait.
    pub waiting: u32,
    /// Messages of one webhook that came to their end and are still shown.
    pub kept: u32,
}

impl Default for WebhookLimits {
    fn default() -> Self {
        Self {
            timeout_seconds: 10,
            tries: 8,
            first_wait_seconds: 10,
            longest_wait_seconds: 3600,
            waiting: 10_000,
            kept: 1000,
        }
    }
}

/// Somebody who is told when an analysis is done.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// What it is called: letters, digits and hyphens.
    pub name: String,
    /// Where messages are sent to. Only its host is shown: its path may hold a token.
    #[serde(serialize_with = "host_alone")]
    pub url: String,
    /// What messages are signed with.
    pub secret: SecretText,
    /// What is told.
    #[serde(default = "Event::all")]
    pub events: Vec<Event>,
    /// What people call this portal, for the link in a message: `https://veilwatch.example`.
    #[serde(default)]
    pub portal: Option<String>,
}

impl Webhook {
    /// Scheme and host of its address, without what may be secret.
    pub fn host(&self) -> String {
        host_of(&self.url)
    }
}

fn host_of(url: &str) -> String {
    let url = url.parse::<ureq::http::Uri>().ok();
    let host = url.as_ref().and_then(|url| Some((url.scheme_str()?, url.authority()?.as_str().rsplit('@').next()?)));
    host.map(|(scheme, host)| format!("{scheme}://{host}")).unwrap_or_default()
}

fn host_alone<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{}/…", host_of(url)))
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            name: String::new(),
            url: String::new(),
            secret: SecretText(String::new()),
            events: Event::all(),
            portal: None,
        }
    }
}

/// What a webhook can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// An analysis has a result.
    Done,
    /// An analysis has none.
    Failed,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Done, Self::Failed];

    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }

    /// Its name in the database and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
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
    /// Nobody could sign in by that provider.
    #[error("[oidc] makes no sense: {0}")]
    Oidc(&'static str),
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
        let mut sources = Sources::default();
        sources.note("", &of_file, Source::File);
        let mut used = Vec::new();
        for (name, value) in variables {
            if let Some(key) = name.strip_prefix(ENVIRONMENT_PREFIX) {
                overlay(&mut table, key, &value)?;
                sources.0.insert(key.to_ascii_lowercase().replace("__", "."), Source::Environment);
                used.push((key.to_owned(), value));
            }
        }
        let mut config: Self = table.try_into().map_err(|error: toml::de::Error| {
            // The values may be secret, so only the message is passed on, never the text around it.
            let alone = |(key, value): &&(String, String)| {
                let mut table = of_file.clone();
                overlay(&mut table, key, value).is_err() || table.try_into::<Self>().is_err()
            };
            let culprit = used.iter().find(alone).map(|(key, _)| format!("{ENVIRONMENT_PREFIX}{key}: "));
            ConfigError::Environment(format!("{}{}", culprit.unwrap_or_default(), error.message()))
        })?;
        config.sources = sources;
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
        if let Some(oidc) = &self.oidc {
            oidc.check()?;
        }
        let (framework, training) = (&self.framework, &self.training);
        let positive: [(&'static str, i64); 96] = [
            ("sessions.idle_seconds", self.sessions.idle_seconds),
            ("sessions.absolute_seconds", self.sessions.absolute_seconds),
            ("login.account_attempts", i64::from(self.login.account_attempts)),
            ("login.address_attempts", i64::from(self.login.address_attempts)),
            ("login.window_seconds", self.login.window_seconds),
            ("login.remembered", i64::try_from(self.login.remembered).unwrap_or(i64::MAX)),
            ("login.pending_seconds", self.login.pending_seconds),
            ("login.pending", self.login.pending.into()),
            ("invitations.hours", self.invitations.hours),
            ("limits.sessions", i64::from(self.limits.sessions)),
            ("limits.upload_bytes", whole(limits.upload_bytes)),
            ("limits.quota_bytes", whole(limits.quota_bytes)),
            ("limits.unpacked_bytes", whole(limits.unpacked_bytes)),
            ("limits.expansion_ratio", limits.expansion_ratio.into()),
            ("limits.uploads_at_once", limits.uploads_at_once.into()),
            ("limits.upload_idle_seconds", limits.upload_idle_seconds),
            ("limits.upload_seconds", limits.upload_seconds),
            ("limits.unfinished_uploads", limits.unfinished_uploads.into()),
            ("limits.unfinished_seconds", limits.unfinished_seconds),
            ("limits.folder_files", limits.folder_files.into()),
            ("limits.idempotency_keys", limits.idempotency_keys.into()),
            ("limits.idempotency_seconds", limits.idempotency_seconds),
            ("limits.entries", limits.entries.into()),
            ("limits.waiting", limits.waiting.into()),
            ("limits.looks_at_once", limits.looks_at_once.into()),
            ("limits.downloads_at_once", limits.downloads_at_once.into()),
            ("limits.streams_at_once", limits.streams_at_once.into()),
            ("limits.page_rows", limits.page_rows.into()),
            ("limits.search_milliseconds", limits.search_milliseconds.into()),
            ("limits.cut_bytes", whole(limits.cut_bytes)),
            ("triage.conversations", self.triage.conversations.into()),
            ("triage.mark_flows", self.triage.mark_flows.into()),
            ("triage.marked_flows", self.triage.marked_flows.into()),
            ("triage.comments", self.triage.comments.into()),
            ("triage.changes", self.triage.changes.into()),
            ("triage.export_rows", self.triage.export_rows.into()),
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
            ("browse.judged_flows", browse.judged_flows.into()),
            ("browse.marked_flows", browse.marked_flows.into()),
            ("retention.sweep_seconds", whole(self.retention.sweep_seconds)),
            ("retention.sweep_entries", self.retention.sweep_entries.into()),
            ("retention.jump_days", self.retention.jump_days.into()),
            ("log.waiting", self.log.waiting.into()),
            ("watching.interval_seconds", whole(self.watching.interval_seconds)),
            ("watching.unchanged_seconds", whole(self.watching.unchanged_seconds)),
            ("watching.again_seconds", whole(self.watching.again_seconds)),
            ("watching.files", i64::try_from(self.watching.files).unwrap_or(i64::MAX)),
            ("webhooks.timeout_seconds", whole(self.webhooks.timeout_seconds)),
            ("webhooks.tries", self.webhooks.tries.into()),
            ("webhooks.first_wait_seconds", self.webhooks.first_wait_seconds),
            ("webhooks.longest_wait_seconds", self.webhooks.longest_wait_seconds),
            ("webhooks.waiting", self.webhooks.waiting.into()),
            ("webhooks.kept", self.webhooks.kept.into()),
            ("framework.part_bytes", whole(framework.part_bytes)),
            ("framework.pipeline_bytes", whole(framework.pipeline_bytes)),
            ("framework.pipelines", framework.pipelines.into()),
            ("framework.versions", framework.versions.into()),
            ("framework.check_seconds", whole(framework.check_seconds)),
            ("framework.table_entries", framework.table_entries.into()),
            ("framework.counted_analyses", framework.counted_analyses.into()),
            ("training.memory_bytes", whole(training.memory_bytes)),
            ("training.cpu_seconds", whole(training.cpu_seconds)),
            ("training.wall_seconds", whole(training.wall_seconds)),
            ("training.result_bytes", whole(training.result_bytes)),
            ("training.threads", training.threads.into()),
            ("training.waiting", training.waiting.into()),
            ("training.waiting_of_one", training.waiting_of_one.into()),
            ("training.captures", training.captures.into()),
            ("training.kept", training.kept.into()),
            ("live.sessions", live.sessions.into()),
            ("live.bytes", whole(live.bytes)),
            ("live.packets", whole(live.packets)),
            ("live.seconds", whole(live.seconds)),
            ("live.begin_seconds", whole(live.begin_seconds)),
            ("live.silent_seconds", whole(live.silent_seconds)),
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
            (
                "training.memory_bytes",
                training.memory_bytes,
                256 << 20,
                "no training would start: it must be 268435456 or more",
            ),
            ("worker.open_files", worker.open_files, 16, "no worker would start: it must be 16 or more"),
        ] {
            if value < least {
                return Err(ConfigError::Number { key, value: whole(value), why });
            }
        }
        for (key, value) in [("browse.judged_flows", browse.judged_flows), ("browse.marked_flows", browse.marked_flows)]
        {
            if u64::from(value) > JUDGED_FLOWS as u64 {
                let why = "a reader takes in no more verdicts: it must be 2000000 or less";
                return Err(ConfigError::Number { key, value: value.into(), why });
            }
        }
        self.retention.check()?;
        if self.limits.form_bytes < 4096 {
            let value = i64::try_from(self.limits.form_bytes).unwrap_or(i64::MAX);
            return Err(ConfigError::Number {
                key: "limits.form_bytes",
                value,
                why: "no form would fit: it must be 4096 or more",
            });
        }
        // Every capture is a SHA-256 in the form, with its field's name.
        let form = u64::from(self.training.captures) * 73 + 1024;
        if self.training.data.is_some() && form > self.limits.form_bytes {
            return Err(ConfigError::Number {
                key: "training.captures",
                value: self.training.captures.into(),
                why: "so many do not fit a form: give each 73 bytes of limits.form_bytes, and 1024 for the rest",
            });
        }
        Ok(())
    }
}

impl Oidc {
    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |why| Err(ConfigError::Oidc(why));
        if !is_safe(&self.issuer) || self.issuer.contains('?') {
            return wrong("issuer must be an https address");
        }
        if self.client_id.is_empty() {
            return wrong("client_id is missing");
        }
        if self.client_secret.is_some() && self.client_secret_file.is_some() {
            return wrong("give client_secret or client_secret_file, not both");
        }
        if self.portal.as_ref().is_some_and(|portal| !is_safe(portal) || portal.ends_with('/') || portal.contains('?'))
        {
            return wrong("portal must be an https address without a slash at its end");
        }
        if !self.scopes.iter().any(|scope| scope == "openid") {
            return wrong("scopes must hold openid");
        }
        if self.create_accounts && self.roles.as_ref().is_none_or(|roles| roles.map.is_empty()) {
            return wrong("create_accounts needs roles, or nobody would know what a new account may do");
        }
        let numbers = [self.answer_seconds, self.answer_bytes, self.at_once.into()];
        if numbers.contains(&0) || self.answer_seconds > 300 || self.keys_seconds <= 0 {
            return wrong("its numbers must be above 0, and answer_seconds 300 or less");
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
        ("secret" | "client_secret", ..) => None,
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
    fn every_value_has_a_source() {
        let text = "[limits]\nentries = 7\nwaiting = 3\n[[pipeline]]\nname = 'a'\nfile = 'b'\n";
        let sources = load(text, &[("VEILWATCH_WEB_LIMITS__WAITING", "5")]).unwrap().sources;
        let of = |key| sources.of(key);
        assert_eq!([of("limits.entries"), of("limits.waiting")], [Source::File, Source::Environment]);
        assert_eq!([of("limits.upload_bytes"), of("limits")], [Source::Default; 2]);
        assert_eq!(of("pipeline.0.name"), Source::File);
        let told = serde_json::to_string(&load("secret = 'open sesame'", &[]).unwrap()).unwrap();
        assert!(!told.contains("sesame") && told.contains("\"entries\":10000"), "{told}");
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
    fn a_provider_must_make_sense() {
        let good = "[oidc]\nissuer = 'https://id.example/realms/x'\nclient_id = 'veilwatch'\n";
        let more =
            "roles = { claim = 'groups', map = { soc = 'analyst' } }\ncreate_accounts = true\nclient_secret = 'x'\n";
        let oidc =
            load(&format!("{good}{more}"), &[("VEILWATCH_WEB_OIDC__CLIENT_SECRET", "0123")]).unwrap().oidc.unwrap();
        assert_eq!((oidc.client_secret.unwrap().0.as_str(), oidc.scopes.len()), ("0123", 2));
        assert_eq!(oidc.roles.unwrap().map["soc"], Role::Analyst);
        for wrong in [
            "[oidc]\nclient_id = 'x'".to_owned(),
            "[oidc]\nissuer = 'https://id.example'".to_owned(),
            "[oidc]\nissuer = 'http://id.example'\nclient_id = 'x'".to_owned(),
            format!("{good}client_secret = 'x'\nclient_secret_file = 'y'"),
            format!("{good}portal = 'https://portal.example/'"),
            format!("{good}scopes = ['profile']"),
            format!("{good}create_accounts = true"),
            format!("{good}answer_seconds = 0"),
        ] {
            assert!(matches!(load(&wrong, &[]), Err(ConfigError::Oidc(_))), "{wrong}");
        }
        assert!(load(&format!("{good}roles = {{ claim = 'x', map = {{ a = 'root' }} }}"), &[]).is_err());
        assert!(load(&format!("{good}issuers = 'x'"), &[]).is_err());
    }

    #[test]
    fn numbers_must_make_sense() {
        for text in [
            "[retention]\nsweep_seconds = 0",
            "[retention]\nsweep_seconds = 604800",
            "[retention]\nentries_days = 40000",
        ] {
            assert!(matches!(load(text, &[]), Err(ConfigError::Number { .. })), "{text}");
        }
        for text in ["[sessions]\nidle_seconds = 0", "[invitations]\nhours = -1", "[limits]\nform_bytes = 1"] {
            assert!(matches!(load(text, &[]), Err(ConfigError::Number { .. })), "{text}");
        }
        assert!(load("[sessions]\nabsolute_seconds = 9223372036854775807", &[]).is_err());
    }

    #[test]
    fn a_reader_is_told_of_as_many_flows_as_it_takes_in() {
        for key in ["judged_flows", "marked_flows"] {
            let most = |flows: usize| load(&format!("[browse]\n{key} = {flows}"), &[]);
            assert!(most(JUDGED_FLOWS).is_ok() && most(0).is_err());
            let error = most(JUDGED_FLOWS + 1).unwrap_err().to_string();
            assert!(error.contains(&format!("browse.{key} = ")), "{error}");
            assert!(error.contains(&format!("{JUDGED_FLOWS} or less")), "{error}");
        }
    }

    #[test]
    fn a_secret_is_never_printed() {
        let config = load("secret = 'open sesame'", &[]).unwrap();
        assert!(!format!("{config:?}").contains("sesame"));
        let error = load("", &[("VEILWATCH_WEB_SECRET", "12345"), ("VEILWATCH_WEB_SECRET__X", "sesame")]);
        assert!(!error.unwrap_err().to_string().contains("sesame"));
    }
}
