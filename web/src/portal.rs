//! What every request works with, made once at the start.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use rocket::http::CookieJar;
use rocket::http::{Cookie, SameSite};
use thiserror::Error;

use crate::accounts::password::{HashError, Hasher};
use crate::accounts::throttle::Throttle;
use crate::accounts::{Refused, people};
use crate::at_once::AtOnce;
use crate::clock::Clock;
use crate::config::{Config, DEFAULT_PIPELINE};
use crate::database::{Db, DbError};
use crate::jobs::runner::Runner;
use crate::jobs::tasks::Looks;
use crate::jobs::{Bench, check, queue};
use crate::live::Sessions;
use crate::packets::Readers;
use crate::pages::{PageError, Templates};
use crate::secret::{self, Purpose, Secret, SecretError, random_token};
use crate::uploads::folders::FileError;
use crate::uploads::{Folders, UnderWay};

/// Why the portal does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data folder cannot be made.
    #[error("the data folder {} cannot be made: {source}", path.display())]
    Folder {
        /// Which folder.
        path: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another portal works there.
    #[error("the data folder {} is in use by another portal: end that one, or name another folder", .0.display())]
    InUse(PathBuf),
    /// The secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The password hasher.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The templates or messages.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The folders of captures and results.
    #[error(transparent)]
    File(#[from] FileError),
    /// The captures and results that are there.
    #[error("what the last run left in the data folder cannot be put in order: {0}")]
    Sweep(#[from] Refused),
    /// A pipeline that can be chosen.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The threads of the analyses.
    #[error("the threads of the analyses cannot be started: {0}")]
    Threads(std::io::Error),
}

/// Why a pipeline cannot be offered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// Not a name that goes into forms and addresses.
    #[error(
        "the pipeline name {0:?} is not usable: use 1 to 40 letters, digits and hyphens, another one for each, and not `{DEFAULT_PIPELINE}`"
    )]
    Name(String),
    /// Its file is wrong.
    #[error("the pipeline `{name}`: {error}")]
    Config {
        /// Which one.
        name: String,
        /// What is wrong.
        error: veilwatch::config::ConfigError,
    },
    /// A worker cannot load it.
    #[error("the pipeline `{name}` cannot be used: {words}")]
    Unusable {
        /// Which one.
        name: String,
        /// What the worker says.
        words: String,
    },
}

/// The portal's state.
pub struct Portal {
    /// What the operator set.
    pub config: Config,
    /// The database.
    pub db: Db,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The key behind every token.
    pub secret: Secret,
    /// Hashes passwords.
    pub hasher: Hasher,
    /// Counts log-ins that fail.
    pub throttle: Throttle,
    /// Renders pages.
    pub templates: Arc<Templates>,
    /// Where captures and results lie.
    pub folders: Folders,
    /// Uploads that are under way.
    pub under_way: UnderWay,
    /// Runs analyses.
    pub runner: Runner,
    /// Takes short looks into captures.
    pub looks: Looks,
    /// Readers of packets.
    pub readers: Readers,
    /// Live sessions.
    pub live: Sessions,
    /// Places for looks into results.
    pub results: AtOnce,
    /// Places for downloads.
    pub downloads: AtOnce,
    /// Places for streams of events.
    pub streams: AtOnce,
    /// The hash of the first administrator's token, while there is no account.
    setup: Option<Vec<u8>>,
    /// Held as long as the portal lives.
    _lock: File,
}

impl Portal {
    /// Opens everything. The text is the token for the first administrator, where there is no account yet: it is told to
    /// the operator and kept nowhere.
    ///
    /// # Errors
    /// Where the data folder, the secret or the database cannot be used, or a pipeline is wrong.
    pub fn open(
        mut config: Config,
        clock: Arc<dyn Clock>,
        program: PathBuf,
    ) -> Result<(Self, Option<String>), StartError> {
        // Workers have another working folder.
        let absolute = std::path::absolute(&config.data);
        config.data = absolute.map_err(|source| StartError::Folder { path: config.data.clone(), source })?;
        make_private_folder(&config)?;
        let lock = lock(&config)?;
        warn_of_root();
        check_pipelines(&mut config)?;
        let secret = match &config.secret {
            Some(text) => Secret::from_text(&text.0, "the configuration")?,
            None => Secret::from_file(&config.data.join("secret"))?,
        };
        let db = Db::open(&config.data.join("portal.sqlite"))?;
        let token = match db.run_blocking(|connection| people::count(connection))? {
            0 => Some(random_token()?),
            _ => None,
        };
        let folders = Folders::make(&config.data)?;
        let now = clock.now();
        let swept = db.run_blocking(|connection| folders.sweep(connection, now))?;
        let again = db.run_blocking(|connection| queue::restart(connection, now))?;
        tracing::info!(?swept, again, "what the last run left is in order");
        let bench = Bench {
            config: config.clone(),
            db: db.clone(),
            clock: Arc::clone(&clock),
            folders: folders.clone(),
            program,
        };
        check::load_pipelines(&bench)?;
        let readers = Readers::new(bench.clone());
        let portal = Self {
            _lock: lock,
            runner: Runner::start(&bench).map_err(StartError::Threads)?,
            live: Sessions::new(bench.clone(), readers.clone()),
            readers,
            looks: Looks::new(bench),
            results: AtOnce::new(config.limits.looks_at_once),
            downloads: AtOnce::new(config.limits.downloads_at_once),
            streams: AtOnce::new(config.limits.streams_at_once),
            under_way: UnderWay::default(),
            folders,
            setup: token.as_deref().map(|token| secret.hash(Purpose::Setup, token)),
            throttle: Throttle::new(config.login.clone()),
            hasher: Hasher::new()?,
            templates: Arc::new(Templates::embedded()?),
            config,
            db,
            clock,
            secret,
        };
        Ok((portal, token))
    }

    /// The names of the pipelines that can be chosen, the one in the box first.
    pub fn pipelines(&self) -> Vec<String> {
        let own = self.config.pipeline.iter().map(|choice| choice.name.clone());
        std::iter::once(DEFAULT_PIPELINE.to_owned()).chain(own).collect()
    }

    /// Now, in seconds since 1970.
    pub fn now(&self) -> i64 {
        self.clock.now()
    }

    /// Whether this is the first administrator's token.
    pub fn is_setup_token(&self, token: &str) -> bool {
        self.setup.as_deref().is_some_and(|hash| secret::same(hash, &self.secret.hash(Purpose::Setup, token)))
    }

    /// The name of the cookie that holds the session. The prefix binds it to this host and to HTTPS, where there is any.
    pub fn session_cookie(&self) -> &'static str {
        if self.config.is_https() { "__Host-veilwatch-session" } else { "veilwatch-session" }
    }

    /// The name of the cookie that binds forms to a visitor before the log-in.
    pub fn visit_cookie(&self) -> &'static str {
        if self.config.is_https() { "__Host-veilwatch-visit" } else { "veilwatch-visit" }
    }

    /// A cookie that scripts and other sites never see, and that ends with the browser.
    pub fn cookie(&self, name: &'static str, value: String) -> Cookie<'static> {
        Cookie::build((name, value))
            .path("/")
            .http_only(true)
            .same_site(SameSite::Strict)
            .secure(self.config.is_https())
            .build()
    }

    /// Gives the browser a new session and takes the visit's token back.
    pub fn hand_out_session(&self, cookies: &CookieJar<'_>, token: String) {
        cookies.add(self.cookie(self.session_cookie(), token));
        self.take_back(cookies, self.visit_cookie());
    }

    /// Takes the session back from the browser.
    pub fn take_back_session(&self, cookies: &CookieJar<'_>) {
        self.take_back(cookies, self.session_cookie());
    }

    fn take_back(&self, cookies: &CookieJar<'_>, name: &'static str) {
        cookies.remove(self.cookie(name, String::new()));
    }
}

/// Pipelines are loaded by workers, but what is wrong with a file is said at the start.
fn check_pipelines(config: &mut Config) -> Result<(), PipelineError> {
    let mut names = vec![DEFAULT_PIPELINE.to_owned()];
    for choice in &mut config.pipeline {
        let name = choice.name.clone();
        let fits = (1..=40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !fits || names.contains(&name) {
            return Err(PipelineError::Name(name));
        }
        // Workers have another working folder.
        if let Ok(path) = choice.file.canonicalize() {
            choice.file = path;
        }
        veilwatch::config::Config::load(&choice.file)
            .map_err(|error| PipelineError::Config { name: name.clone(), error })?;
        names.push(name);
    }
    Ok(())
}

/// The data folder holds captures and the secret: nobody else on this computer looks into it.
fn make_private_folder(config: &Config) -> Result<(), StartError> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let failed = |source| StartError::Folder { path: config.data.clone(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.data).map_err(failed)?;
    // It may have been there before.
    std::fs::set_permissions(&config.data, std::fs::Permissions::from_mode(0o700)).map_err(failed)
}

/// One portal alone works in a data folder: the first thing a start does is to clear away what is unfinished.
fn lock(config: &Config) -> Result<File, StartError> {
    let path = config.data.join("lock");
    let failed = |source| StartError::Folder { path: path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StartError::InUse(config.data.clone())),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// A worker of root's is confined like any other, but has more to lose.
fn warn_of_root() {
    use std::os::unix::fs::MetadataExt;
    if std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0) {
        tracing::warn!("the portal runs as root: give it a user of its own");
    }
}
