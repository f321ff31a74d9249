//! What every request works with, made once at the start.

use std::sync::Arc;

use rocket::http::CookieJar;
use rocket::http::{Cookie, SameSite};
use thiserror::Error;

use crate::accounts::password::{HashError, Hasher};
use crate::accounts::people;
use crate::accounts::throttle::Throttle;
use crate::clock::Clock;
use crate::config::Config;
use crate::database::{Db, DbError};
use crate::pages::{PageError, Templates};
use crate::secret::{self, Purpose, Secret, SecretError, random_token};

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
    pub templates: Templates,
    /// The hash of the first administrator's token, while there is no account.
    setup: Option<Vec<u8>>,
}

impl Portal {
    /// Opens everything. The text is the token for the first administrator, where there is no account yet: it is told to
    /// the operator and kept nowhere.
    ///
    /// # Errors
    /// Where the data folder, the secret or the database cannot be used.
    pub fn open(config: Config, clock: Arc<dyn Clock>) -> Result<(Self, Option<String>), StartError> {
        make_private_folder(&config)?;
        let secret = match &config.secret {
            Some(text) => Secret::from_text(&text.0, "the configuration")?,
            None => Secret::from_file(&config.data.join("secret"))?,
        };
        let db = Db::open(&config.data.join("portal.sqlite"))?;
        let token = match db.run_blocking(|connection| people::count(connection))? {
            0 => Some(random_token()?),
            _ => None,
        };
        let portal = Self {
            setup: token.as_deref().map(|token| secret.hash(Purpose::Setup, token)),
            throttle: Throttle::new(config.login.clone()),
            hasher: Hasher::new()?,
            templates: Templates::embedded()?,
            config,
            db,
            clock,
            secret,
        };
        Ok((portal, token))
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

/// The data folder holds captures and the secret: nobody else on this computer looks into it.
fn make_private_folder(config: &Config) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.data)
        .map_err(|source| StartError::Folder { path: config.data.clone(), source })
}
