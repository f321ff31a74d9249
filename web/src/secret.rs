//! The portal's secret, and the random tokens that it protects.
//!
//! Whoever holds a token (a session, an invitation, an API token) is let in, so the database keeps only a keyed hash of
//! each: a stolen copy of it opens no door. The key is the secret, which lives outside the database.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use thiserror::Error;

/// The fewest characters of a secret.
pub const MIN_SECRET_CHARACTERS: usize = 32;
/// The fewest *different* characters of a secret: a long row of one letter protects nothing.
pub const MIN_SECRET_VARIETY: usize = 12;
/// Random bytes in a token: 256 bits cannot be guessed.
pub const TOKEN_BYTES: usize = 32;

/// Random bytes in front of what is sealed.
const NONCE_BYTES: usize = 12;

/// Why there is no secret to work with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Too short or too uniform.
    #[error(
        "the secret from {origin} is weak: it needs {MIN_SECRET_CHARACTERS} characters or more, {MIN_SECRET_VARIETY} of \
         them different; take one away and the portal makes a strong one in its data folder"
    )]
    Weak {
        /// Where it came from.
        origin: String,
    },
    /// Others can read the file.
    #[error("others than its owner can read {}: run `chmod 600` on it, or remove it and all sessions with it", .0.display())]
    Open(PathBuf),
    /// The file cannot be read or made.
    #[error("the secret {} cannot be read or made: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(String),
}

/// The key behind every hash and every form token.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// A secret that somebody chose, if it is strong enough.
    ///
    /// # Errors
    /// Where it is short or uniform.
    pub fn from_text(text: &str, origin: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        let variety = text.chars().collect::<BTreeSet<_>>().len();
        if text.chars().count() < MIN_SECRET_CHARACTERS || variety < MIN_SECRET_VARIETY {
            return Err(SecretError::Weak { origin: origin.to_owned() });
        }
        Ok(Self(text.as_bytes().to_vec()))
    }

    /// The secret in this file; makes the file, for its owner's eyes only, where there is none.
    ///
    /// # Errors
    /// Where the file cannot be read or made, others can read it, or its content is weak.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        let failed = |source| SecretError::File { path: path.to_owned(), source };
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(mut file) => {
                let text = random_token()?;
                file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        if fs::metadata(path).map_err(failed)?.mode() & 0o077 != 0 {
            return Err(SecretError::Open(path.to_owned()));
        }
        Self::from_text(&fs::read_to_string(path).map_err(failed)?, &path.display().to_string())
    }

    /// What the database keeps of a token. `purpose` keeps a token of one kind from passing for another.
    pub fn hash(&self, purpose: Purpose, token: &str) -> Vec<u8> {
        self.mac(purpose, token).finalize().into_bytes().to_vec()
    }

    /// Encrypts what the database keeps and the portal needs back (AES-256-GCM). `context` says whose and what it is: it
    /// opens in no other place.
    ///
    /// # Errors
    /// Where the system gives no random bytes.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, SecretError> {
        let nonce = random_bytes::<NONCE_BYTES>()?;
        let payload = Payload { msg: plain, aad: context.as_bytes() };
        let sealed = self.cipher().and_then(|cipher| cipher.encrypt(&Nonce::from(nonce), payload).ok());
        let sealed = sealed.ok_or_else(|| SecretError::Random("nothing can be encrypted".to_owned()))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// What [`Self::seal`] encrypted; none where it is another secret's, another place's or changed.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        self.cipher()?.decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad: context.as_bytes() }).ok()
    }

    fn cipher(&self) -> Option<Aes256Gcm> {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(None, &self.0).expand(b"veilwatch: sealed", &mut key).ok()?;
        Some(Aes256Gcm::new(&key.into()))
    }

    /// The form token that belongs to a session or, before the log-in, to a visit.
    pub fn form_token(&self, holder: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.hash(Purpose::Form, holder))
    }

    fn mac(&self, purpose: Purpose, token: &str) -> Hmac<Sha256> {
        // HMAC takes a key of any length; an error here cannot happen, and an empty key would never match anything kept.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).unwrap_or_else(|_| Hmac::new(&Default::default()));
        mac.update(purpose.name().as_bytes());
        mac.update(b"\0");
        mac.update(token.as_bytes());
        mac
    }
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A log-in.
    Session,
    /// A program's access.
    Api,
    /// A new account.
    Invitation,
    /// The first administrator.
    Setup,
    /// A form that changes something.
    Form,
    /// A log-in that waits for a code.
    Code,
    /// A recovery code.
    Recovery,
    /// A log-in that waits for the provider.
    Provider,
    /// What the provider gives back with the answer.
    ProviderState,
    /// What the provider's token must hold.
    ProviderNonce,
    /// What shows the provider that who asks for the token began the log-in (RFC 7636).
    ProviderVerifier,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Api => "api",
            Self::Invitation => "invitation",
            Self::Setup => "setup",
            Self::Form => "form",
            Self::Code => "code",
            Self::Recovery => "recovery",
            Self::Provider => "provider",
            Self::ProviderState => "provider-state",
            Self::ProviderNonce => "provider-nonce",
            Self::ProviderVerifier => "provider-verifier",
        }
    }
}

/// A new token: 256 random bits as text that fits in a URL and a cookie.
///
/// # Errors
/// Where the system gives no random bytes.
pub fn random_token() -> Result<String, SecretError> {
    Ok(URL_SAFE_NO_PAD.encode(random_bytes::<TOKEN_BYTES>()?))
}

/// Random bytes from the operating system.
///
/// # Errors
/// Where the system gives none.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], SecretError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| SecretError::Random(error.to_string()))?;
    Ok(bytes)
}

/// Whether two secret texts are the same, in a time that does not tell where they differ.
pub fn same(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn weak_secrets_are_refused() {
        for weak in ["", "short", &"a".repeat(64), &"abcabcabc".repeat(8)] {
            assert!(Secret::from_text(weak, "the test").is_err(), "{weak}");
        }
        assert!(Secret::from_text(&random_token().unwrap(), "the test").is_ok());
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_alone() {
        let secret = Secret::from_text(&random_token().unwrap(), "the test").unwrap();
        let other = Secret::from_text(&random_token().unwrap(), "the test").unwrap();
        let sealed = secret.seal("here", b"plain").unwrap();
        assert_eq!(secret.open("here", &sealed).as_deref(), Some(b"plain".as_slice()));
        assert!(!sealed.windows(5).any(|bytes| bytes == b"plain"));
        assert_ne!(sealed, secret.seal("here", b"plain").unwrap());
        assert_eq!(secret.open("there", &sealed), None);
        assert_eq!(other.open("here", &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(secret.open("here", &changed), None, "{at}");
            assert_eq!(secret.open("here", &sealed[..at]), None, "{at}");
        }
    }

    #[test]
    fn the_file_is_made_once_and_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let first = Secret::from_file(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Secret::from_file(&path).unwrap();
        assert_eq!(first.hash(Purpose::Session, "x"), again.hash(Purpose::Session, "x"));
        assert_ne!(first.hash(Purpose::Session, "x"), first.hash(Purpose::Api, "x"));
        assert_eq!(format!("{first:?}"), "Secret(…)");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Secret::from_file(&path), Err(SecretError::Open(_))));
    }
}
