//! What every request works with, made once at the start.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use rocket::http::CookieJar;
use rocket::http::{Cookie, SameSite};
use rocket::tokio::sync::Semaphore;
use thiserror::Error;

use crate::accounts::password::{HashError, Hasher};
use crate::accounts::throttle::Throttle;
use crate::accounts::{Refused, people};
use crate::api::once::Once;
use crate::at_once::AtOnce;
use crate::backup::RESTORING;
use crate::clock::Clock;
use crate::config::{Config, DEFAULT_PIPELINE};
use crate::database::{self, Db, DbError};
use crate::jobs::runner::Runner;
use crate::jobs::tasks::Looks;
use crate::jobs::{Bench, check, queue};
use crate::live::Sessions;
use crate::models::Shelf;
use crate::operations::{AccessLog, Figures, metrics};
use crate::packets::Readers;
use crate::pages::{PageError, Templates};
use crate::pipelines::described::Descriptions;
use crate::pipelines::{self, Names};
use crate::provider::{Provider, ProviderError};
use crate::retention::Sweeper;
use crate::retention::erase::Eraser;
use crate::secret::{self, Purpose, Secret, SecretError, random_token};
use crate::tables::Shelves;
use crate::training::{self, Trainer};
use crate::uploads::folders::FileError;
use crate::uploads::resumable::Writing;
use crate::uploads::{Folders, Intake, UnderWay};
use crate::watch;
use crate::webhooks::Webhooks;

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
    /// The provider that people sign in by.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// Files without a database.
    #[error(
        "the data folder {} holds captures or results, but no portal.sqlite that knows them: put it back or restore a backup; to begin \
         anew, move its folders captures and results elsewhere", .0.display()
    )]
    NoDatabase(PathBuf),
    /// Files of another database.
    #[error(
        "{nobodys} captures and results in {} are of no entry, as if its portal.sqlite were an older one or another's: put \
         the right one back, or move its folders captures and results elsewhere", folder.display()
    )]
    OtherDatabase {
        /// The data folder.
        folder: PathBuf,
        /// How many.
        nobodys: u64,
    },
    /// A restore ended half-way.
    #[error("a restore into {} was broken off: empty the folder and restore again", .0.display())]
    HalfRestored(PathBuf),
    /// The access log.
    #[error("the access log {} cannot be written: {source}", path.display())]
    Log {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The figures.
    #[error("figures cannot be served at {address}: {source}")]
    Metrics {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// A folder that is to be watched, or a webhook.
    #[error("{0}")]
    Told(String),
    /// The registry, or the labelled data.
    #[error("{0}")]
    Models(String),
    /// The threads of the analyses, and of the sweep.
    #[error("the threads of the portal cannot be started: {0}")]
    Threads(std::io::Error),
}

/// Captures and results that no row knows, which a start removes: what was begun when the last run ended. More are a sign
/// that the database is not theirs.
const MOST_NOBODYS: u64 = 64;

/// Why a pipeline cannot be offered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// Not a name that goes into forms and addresses.
    #[error(
        "the pipeline name {0:?} is not usable: use 1 to 40 letters, digits and hyphens, another one for each, and \
         neither `{DEFAULT_PIPELINE}` nor `new`"
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
    /// One was made in the portal.
    #[error("the pipeline name {0:?} is taken by one that was made in the portal: choose another name")]
    Made(String),
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
    /// Whoever asks whether the portal lives has it looked at one after another: anybody may ask.
    pub well: Semaphore,
    /// Counts log-ins that fail.
    pub throttle: Throttle,
    /// The provider that people may sign in by.
    pub provider: Option<Provider>,
    /// Renders pages.
    pub templates: Arc<Templates>,
    /// Where captures and results lie.
    pub folders: Folders,
    /// Uploads that are under way.
    pub under_way: UnderWay,
    /// Takes files on their way to an entry.
    pub intake: Intake,
    /// Runs analyses.
    pub runner: Runner,
    /// Takes short looks into captures.
    pub looks: Looks,
    /// Tells others when an analysis is done.
    pub webhooks: Webhooks,
    /// Readers of packets.
    pub readers: Readers,
    /// Deletes what is over time.
    pub sweeper: Sweeper,
    /// Idempotency keys whose first request is under way.
    pub once: Once,
    /// What runs here, for pages that make something out of it.
    pub bench: Bench,
    /// The names of the pipelines that were made here.
    pub made: Names,
    /// What workers said of pipelines.
    pub descriptions: Descriptions,
    /// Protocol tables, with what was added.
    pub shelves: Shelves,
    /// When the portal began.
    pub started: Instant,
    /// Models.
    pub shelf: Shelf,
    /// Trains models.
    pub trainer: Trainer,
    /// Live sessions.
    pub live: Sessions,
    /// Places for looks into results.
    pub results: AtOnce,
    /// Places for downloads.
    pub downloads: AtOnce,
    /// Places for streams of events.
    pub streams: AtOnce,
    /// What is counted.
    pub figures: Arc<Figures>,
    /// The access log, if there is one.
    pub access: Option<AccessLog>,
    /// Where figures are served, if they are.
    pub metrics: Option<SocketAddr>,
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
        if config.data.join(RESTORING).exists() {
            return Err(StartError::HalfRestored(config.data));
        }
        warn_of_root();
        for folder in [&mut config.framework.models, &mut config.framework.plugins].into_iter().flatten() {
            let whole = std::path::absolute(&*folder);
            *folder = whole.map_err(|source| StartError::Folder { path: folder.clone(), source })?;
        }
        check_pipelines(&mut config)?;
        check_watches(&mut config)?;
        check_models(&mut config)?;
        let secret = match &config.secret {
            Some(text) => Secret::from_text(&text.0, "the configuration")?,
            None => Secret::from_file(&config.data.join("secret"))?,
        };
        let folders = Folders::make(&config.data)?;
        // Without rows files are nobody's, and nobody's files are removed: a database that is away for a moment must not
        // cost them all.
        let path = config.data.join(database::FILE);
        if !path.exists() && folders.has_files()? {
            return Err(StartError::NoDatabase(config.data));
        }
        let db = Db::open(&path)?;
        let accounts = db.run_blocking(|connection| people::count(connection))?;
        let nobodys = db.run_blocking(|connection| folders.nobodys(connection))?;
        // One without anybody is as good as none: other programs leave an empty file where there was none.
        if accounts == 0 && nobodys > 0 {
            return Err(StartError::NoDatabase(config.data));
        }
        if nobodys > MOST_NOBODYS {
            return Err(StartError::OtherDatabase { folder: config.data, nobodys });
        }
        let token = if accounts == 0 { Some(random_token()?) } else { None };
        let now = clock.now();
        let swept = db.run_blocking(|connection| folders.sweep(connection, now))?;
        let again = db.run_blocking(|connection| queue::restart(connection, now))?;
        training::restart(&db, &config.data, now)?;
        tracing::info!(?swept, again, "what the last run left is in order");
        let bench = Bench {
            config: config.clone(),
            db: db.clone(),
            clock: Arc::clone(&clock),
            folders: folders.clone(),
            program,
            figures: Arc::default(),
        };
        let (made, shelves, descriptions) = (Names::default(), Shelves::default(), Descriptions::default());
        db.run_blocking(|connection| made.renew(connection))?;
        let taken = |name: &str| config.pipeline.iter().any(|choice| choice.name.eq_ignore_ascii_case(name));
        let known = db.run_blocking(|connection| pipelines::store::list(connection))?;
        if let Some(twice) = known.iter().map(|made| &made.name).find(|name| taken(name)) {
            return Err(PipelineError::Made(twice.clone()).into());
        }
        // One that was retired on a page keeps no portal from starting: files wait for it.
        let is_pipeline = |name: &str| {
            let own = config.pipeline.iter().any(|one| one.name == name);
            own || name == DEFAULT_PIPELINE || known.iter().any(|made| made.name == name)
        };
        if let Some(watch) = config.watch.iter().find(|watch| !is_pipeline(&watch.pipeline)) {
            return Err(StartError::Told(format!("[[watch]] names the pipeline `{}`, which is none", watch.pipeline)));
        }
        db.run_blocking(|connection| shelves.renew(connection, &folders))?;
        check::load_pipelines(&bench, &descriptions)?;
        let (runner, readers) = (Runner::start(&bench).map_err(StartError::Threads)?, Readers::new(bench.clone()));
        let eraser = Eraser::new(db.clone(), folders.clone(), runner.board.clone(), readers.clone());
        let sweeper = Sweeper::start(eraser, config.retention.clone(), Arc::clone(&clock));
        let access = AccessLog::start(&config.log).map_err(|source| {
            let path = config.log.access.clone().unwrap_or_default();
            StartError::Log { path, source }
        })?;
        let figures = Arc::clone(&bench.figures);
        let under_way = UnderWay::default();
        let live = Sessions::new(bench.clone(), readers.clone());
        let metrics = config.metrics.address.map(|address| {
            let source = metrics::Source {
                config: config.clone(),
                clock: Arc::clone(&clock),
                folders: folders.clone(),
                under_way: under_way.clone(),
                runner: runner.clone(),
                readers: readers.clone(),
                live: live.clone(),
                figures: Arc::clone(&figures),
                access: access.clone(),
            };
            metrics::start(source, address).map_err(|source| StartError::Metrics { address, source })
        });
        let metrics = metrics.transpose()?;
        let looks = Looks::new(bench.clone());
        let intake = Intake {
            config: Arc::new(config.clone()),
            db: db.clone(),
            clock: Arc::clone(&clock),
            folders: folders.clone(),
            under_way: under_way.clone(),
            looks: looks.clone(),
            runner: runner.clone(),
            writing: Writing::default(),
            made: made.clone(),
        };
        let webhooks = Webhooks::start(&config, &db, &clock).map_err(StartError::Told)?;
        let portal = Self {
            _lock: lock,
            webhooks,
            intake,
            runner,
            live,
            readers,
            sweeper: sweeper.map_err(StartError::Threads)?,
            looks,
            once: Once::default(),
            well: Semaphore::new(1),
            trainer: Trainer::start(&bench).map_err(StartError::Threads)?,
            shelf: Shelf::new(bench.clone()),
            bench,
            made,
            descriptions,
            shelves,
            started: Instant::now(),
            results: AtOnce::new(config.limits.looks_at_once),
            downloads: AtOnce::new(config.limits.downloads_at_once),
            streams: AtOnce::new(config.limits.streams_at_once),
            under_way,
            figures,
            access,
            metrics,
            folders,
            setup: token.as_deref().map(|token| secret.hash(Purpose::Setup, token)),
            provider: config.oidc.as_ref().map(Provider::open).transpose()?,
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
        self.intake.pipelines()
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

    /// The name of the cookie of a log-in that waits for a code.
    pub fn code_cookie(&self) -> &'static str {
        if self.config.is_https() { "__Host-veilwatch-code" } else { "veilwatch-code" }
    }

    /// The name of the cookie of somebody who is on the way to the provider and back.
    pub fn provider_cookie(&self) -> &'static str {
        if self.config.is_https() { "__Host-veilwatch-provider" } else { "veilwatch-provider" }
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
        self.take_back(cookies, self.code_cookie());
    }

    /// Takes the session back from the browser.
    pub fn take_back_session(&self, cookies: &CookieJar<'_>) {
        self.take_back(cookies, self.session_cookie());
    }

    /// Takes the cookie of the way to the provider back from the browser.
    pub fn take_back_provider(&self, cookies: &CookieJar<'_>) {
        self.take_back(cookies, self.provider_cookie());
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
        if !pipelines::store::is_name(&name) || name == "new" || names.contains(&name) {
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

/// Folders are watched for as long as the portal runs, and what is wrong with one is said at the start.
fn check_watches(config: &mut Config) -> Result<(), StartError> {
    let data = config.data.canonicalize().unwrap_or_else(|_| config.data.clone());
    let mut known = BTreeSet::new();
    for watch in &mut config.watch {
        if let Ok(path) = watch.folder.canonicalize() {
            watch.folder = path;
        }
        let wrong = |words: &str| StartError::Told(format!("[[watch]] folder {}: {words}", watch.folder.display()));
        // What lies there would be taken away, and the portal's own files with it.
        if watch.folder.starts_with(&data) || data.starts_with(&watch.folder) {
            return Err(wrong("it is the data folder, holds it, or lies in it: name another folder"));
        }
        if !known.insert(watch.folder.clone()) {
            return Err(wrong("it is named twice"));
        }
        watch::check(watch).map_err(StartError::Told)?;
    }
    Ok(())
}

/// What is wrong with the registry and the labelled data is said at the start, too.
fn check_models(config: &mut Config) -> Result<(), StartError> {
    // Workers have another working folder.
    for (key, folder) in
        [("models.registry", &mut config.models.registry), ("training.data", &mut config.training.data)]
    {
        if let Some(path) = folder {
            let failed = |words: String| StartError::Models(format!("{key} = {}: {words}", path.display()));
            let absolute = std::path::absolute(&*path).map_err(|error| failed(error.to_string()))?;
            if key == "training.data" && !absolute.is_dir() {
                return Err(failed("there is no such folder".to_owned()));
            }
            *folder = Some(absolute);
        }
    }
    for key in &config.models.trusted_keys {
        veilwatch::model::PublicKey::parse(key)
            .map_err(|error| StartError::Models(format!("models.trusted_keys: {error}")))?;
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
