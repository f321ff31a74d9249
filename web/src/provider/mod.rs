//! Signing in by a provider (OpenID Connect, the authorisation code flow with PKCE).
//!
//! | module | story |
//! |---|---|
//! | [`fetch`] | what is asked of the provider, within bounds |
//! | [`token`] | what the provider says of a person, checked |
//!
//! What a log-in needs on its way back (state, nonce, verifier) is derived from the token in the visitor's cookie: nothing
//! of it is kept, and none of it tells anything of the others. The provider's addresses and keys are fetched when they are
//! first needed, and kept for a while; an unknown key is looked for once more.

pub mod fetch;
pub mod token;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use rocket::tokio::sync::Semaphore;
use rocket::tokio::{task, time};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

use self::fetch::{Client, encode, is_safe};
use self::token::{Expected, Person, TokenFault};
use crate::config::{Oidc, SecretText};
use crate::outgoing::NoCertificates;
use crate::secret::{Purpose, Secret};

/// Seconds between two looks for a key that is not there: nobody makes the portal ask the provider all the time.
const KEYS_AGAIN_SECONDS: i64 = 60;

/// Why nobody can sign in by the provider, said at the start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// The client's secret cannot be read.
    #[error("oidc.client_secret_file {} cannot be read: {source}", path.display())]
    Secret {
        /// Which file.
        path: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// No certificate to trust.
    #[error(transparent)]
    Certificates(#[from] NoCertificates),
    /// The cryptography behind it does not start.
    #[error("the cryptography behind the provider's tokens does not start")]
    Cryptography,
}

/// Why somebody was not signed in. Its name is its message's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// What came back does not belong to a log-in that was begun in this browser a short while ago.
    #[error("state")]
    State,
    /// The provider says no, or the person did.
    #[error("denied")]
    Denied,
    /// The provider does not answer.
    #[error("unreachable")]
    Unreachable,
    /// The provider's answer is not believed.
    #[error("answer")]
    Answer,
    /// No account here belongs to that person.
    #[error("unknown")]
    Unknown,
    /// Nothing that the provider says gives a role.
    #[error("no-role")]
    NoRole,
    /// That account of the provider's is linked to another one here, or this one to another there.
    #[error("taken")]
    Taken,
    /// The invitation has ended meanwhile.
    #[error("invitation")]
    Invitation,
}

/// What the provider says of itself (OpenID Connect Discovery 1.0).
#[derive(Clone, Debug, Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

/// What is known of the provider, and since when.
#[derive(Clone, Debug)]
struct Known {
    metadata: Metadata,
    keys: Vec<Jwk>,
    at: i64,
    keys_at: i64,
}

/// What the provider answers to a code.
#[derive(Deserialize)]
struct TokenAnswer {
    id_token: String,
}

/// What a log-in carries to the provider, or needs on its way back.
#[derive(Clone)]
pub struct Secrets {
    /// What comes back with the answer.
    pub state: String,
    nonce: String,
    verifier: String,
}

impl Secrets {
    /// The secrets of the log-in with this token in its cookie.
    pub fn of(secret: &Secret, token: &str) -> Self {
        let derived = |purpose| URL_SAFE_NO_PAD.encode(secret.hash(purpose, token));
        Self {
            state: derived(Purpose::ProviderState),
            nonce: derived(Purpose::ProviderNonce),
            verifier: derived(Purpose::ProviderVerifier),
        }
    }
}

/// The provider that people sign in by.
#[derive(Clone)]
pub struct Provider(Arc<Inner>);

struct Inner {
    config: Oidc,
    client_secret: Option<SecretText>,
    client: Client,
    turns: Semaphore,
    known: Mutex<Option<Known>>,
}

impl Provider {
    /// The provider that the operator set. Nothing is asked of it yet: the portal starts without it, too.
    ///
    /// # Errors
    /// Where the client's secret cannot be read, or there is no certificate to trust.
    pub fn open(config: &Oidc) -> Result<Self, ProviderError> {
        let client_secret = match (&config.client_secret, &config.client_secret_file) {
            (Some(text), _) => Some(text.clone()),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| ProviderError::Secret { path: path.clone(), source })?;
                Some(SecretText(text.trim().to_owned()))
            }
            (None, None) => None,
        };
        token::install()?;
        let client = Client::new(config)?;
        let turns = Semaphore::new(usize::from(config.at_once));
        Ok(Self(Arc::new(Inner { config: config.clone(), client_secret, client, turns, known: Mutex::default() })))
    }

    /// What the operator set.
    pub fn config(&self) -> &Oidc {
        &self.0.config
    }

    /// The provider's host, as people are told where they go.
    pub fn host(&self) -> &str {
        let address = self.0.config.issuer.split_once("://").map_or("", |(_, rest)| rest);
        address.split('/').next().unwrap_or_default()
    }

    /// The address at the provider that somebody is sent to, and that sends them back to `place`.
    ///
    /// # Errors
    /// Where the provider does not answer, or not as one does.
    pub async fn begin(&self, secrets: Secrets, place: String, now: i64) -> Result<String, Fault> {
        self.turn(move |inner| {
            let known = inner.known(now)?;
            let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(secrets.verifier.as_bytes()));
            let scopes = inner.config.scopes.join(" ");
            let query: Vec<String> = [
                ("response_type", "code"),
                ("client_id", &inner.config.client_id),
                ("redirect_uri", &place),
                ("scope", &scopes),
                ("state", &secrets.state),
                ("nonce", &secrets.nonce),
                ("code_challenge", &challenge),
                ("code_challenge_method", "S256"),
            ]
            .into_iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
            let endpoint = known.metadata.authorization_endpoint;
            let between = if endpoint.contains('?') { '&' } else { '?' };
            Ok(format!("{endpoint}{between}{}", query.join("&")))
        })
        .await
    }

    /// Who came back with this code.
    ///
    /// # Errors
    /// Where the provider does not answer, or its answer is not believed.
    pub async fn finish(&self, code: String, secrets: Secrets, place: String, now: i64) -> Result<Person, Fault> {
        self.turn(move |inner| {
            let known = inner.known(now)?;
            let token = inner.redeem(&known.metadata, &code, &secrets.verifier, &place)?;
            let expected = Expected { config: &inner.config, nonce: &secrets.nonce };
            match token::check(&token, &known.keys, &expected, now) {
                // The provider may have changed its keys.
                Err(TokenFault::UnknownKey) => {
                    let known = inner.look_again(known, now)?;
                    token::check(&token, &known.keys, &expected, now).map_err(refuse)
                }
                other => other.map_err(refuse),
            }
        })
        .await
    }

    /// Runs what asks the provider on a thread that may block, a few at a time.
    async fn turn<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let wait = Duration::from_secs(self.0.config.answer_seconds);
        let Ok(Ok(_turn)) = time::timeout(wait, self.0.turns.acquire()).await else { return Err(Fault::Unreachable) };
        let inner = Arc::clone(&self.0);
        task::spawn_blocking(move || work(&inner)).await.unwrap_or(Err(Fault::Unreachable))
    }
}

fn refuse(fault: TokenFault) -> Fault {
    tracing::warn!(%fault, "the provider's token is refused");
    Fault::Answer
}

impl Inner {
    /// What is known of the provider, fetched where it is not there or too old.
    fn known(&self, now: i64) -> Result<Known, Fault> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known.filter(|known| (0..self.config.keys_seconds).contains(&(now - known.at))) {
            return Ok(known);
        }
        let address = format!("{}/.well-known/openid-configuration", self.config.issuer.trim_end_matches('/'));
        let metadata: Metadata = self.client.get(&address)?;
        if metadata.issuer != self.config.issuer {
            tracing::warn!("the provider calls itself otherwise than oidc.issuer does");
            return Err(Fault::Answer);
        }
        let is_local = self.config.issuer.starts_with("http://");
        let endpoints = [&metadata.authorization_endpoint, &metadata.token_endpoint, &metadata.jwks_uri];
        if !endpoints.iter().all(|address| is_safe(address) && (is_local || address.starts_with("https://"))) {
            tracing::warn!("the provider names an address that is not https");
            return Err(Fault::Answer);
        }
        let keys = self.keys(&metadata)?;
        let known = Known { metadata, keys, at: now, keys_at: now };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
        Ok(known)
    }

    /// The same with the keys of now, where they have not been fetched just before.
    fn look_again(&self, known: Known, now: i64) -> Result<Known, Fault> {
        // Somebody else may have looked meanwhile.
        let latest = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or(known);
        if now - latest.keys_at < KEYS_AGAIN_SECONDS {
            return Ok(latest);
        }
        let keys = self.keys(&latest.metadata)?;
        let known = Known { keys, keys_at: now, ..latest };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
        Ok(known)
    }

    fn keys(&self, metadata: &Metadata) -> Result<Vec<Jwk>, Fault> {
        #[derive(Deserialize)]
        struct Keys {
            keys: Vec<serde_json::Value>,
        }
        let found: Keys = self.client.get(&metadata.jwks_uri)?;
        // Keys of a kind that nobody knows here are none of ours.
        Ok(found.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect())
    }

    /// The ID token for a code.
    fn redeem(&self, metadata: &Metadata, code: &str, verifier: &str, place: &str) -> Result<String, Fault> {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", place),
            ("code_verifier", verifier),
        ];
        let methods = &metadata.token_endpoint_auth_methods_supported;
        let knows = |method: &str| methods.iter().any(|one| one == method);
        let by_form = knows("client_secret_post") && !knows("client_secret_basic");
        let id = self.config.client_id.as_str();
        let basic = match &self.client_secret {
            Some(secret) if by_form => {
                form.extend([("client_id", id), ("client_secret", secret.0.as_str())]);
                None
            }
            Some(secret) => Some((id, secret.0.as_str())),
            None => {
                form.push(("client_id", id));
                None
            }
        };
        let answer: TokenAnswer = self.client.post(&metadata.token_endpoint, &form, basic)?;
        Ok(answer.id_token)
    }
}
