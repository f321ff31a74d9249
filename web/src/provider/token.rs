//! What the provider says of a person: an ID token (OpenID Connect Core, 3.1.3.7), believed only after all of it was
//! checked.
//!
//! `jsonwebtoken` takes tokens and keys apart; what compares signatures is `ring`, which the portal's TLS brings anyway.
//! Three algorithms are known, all with public keys. The times are compared here, by the portal's clock.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::signature::{Error as SignatureError, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey, Validation, decode, decode_header};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

use super::ProviderError;
use crate::accounts::Role;
use crate::config::Oidc;
use crate::secret::same;

/// Seconds that the provider's clock may differ.
const LEEWAY: f64 = 60.0;
/// The most characters of a subject (OpenID Connect Core, 2).
const MAX_SUBJECT: usize = 255;

/// What is wrong with a token, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TokenFault {
    /// Not a token, or without what every token has.
    #[error("it is no token that says who it is for, by whom and until when")]
    Form,
    /// None of the algorithms that are known.
    #[error("its algorithm is none of RS256, ES256 and EdDSA")]
    Algorithm,
    /// None of the provider's keys.
    #[error("it names none of the provider's keys")]
    UnknownKey,
    /// Not signed by the provider.
    #[error("its signature is not the provider's")]
    Signature,
    /// Somebody else's token, or for somebody else.
    #[error("it is by somebody else")]
    Issuer,
    /// For somebody else.
    #[error("it is for somebody else")]
    Audience,
    /// Too old, or of the future.
    #[error("it is too old, or of the future")]
    Time,
    /// Of another log-in.
    #[error("it is of another log-in")]
    Nonce,
    /// Of nobody.
    #[error("it says of nobody")]
    Subject,
}

/// What a token must say.
pub struct Expected<'a> {
    /// By whom, for whom, and how roles follow.
    pub config: &'a Oidc,
    /// Of which log-in.
    pub nonce: &'a str,
}

/// A person as the provider knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The provider.
    pub issuer: String,
    /// Who it is there, for ever: names and addresses change hands.
    pub subject: String,
    /// What they are called there, to make a login name of.
    pub name: Option<String>,
    /// What is to be shown.
    pub display_name: Option<String>,
    /// The highest role that what is said of them gives.
    pub role: Option<Role>,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    aud: Audience,
    exp: f64,
    iat: f64,
    nbf: Option<f64>,
    nonce: Option<String>,
    azp: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Checks an ID token with the provider's keys, and gives whom it is of.
///
/// # Errors
/// What is wrong with it.
pub fn check(token: &str, keys: &[Jwk], expected: &Expected<'_>, now: i64) -> Result<Person, TokenFault> {
    // An algorithm that the library does not know, such as `none`, is no header to it.
    let header = decode_header(token).map_err(|_| TokenFault::Algorithm)?;
    if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA) {
        return Err(TokenFault::Algorithm);
    }
    if header.crit.is_some() {
        return Err(TokenFault::Form);
    }
    let fitting: Vec<&Jwk> = keys
        .iter()
        .filter(|key| fits(key, header.alg) && (header.kid.is_none() || key.common.key_id == header.kid))
        .collect();
    if fitting.is_empty() {
        return Err(TokenFault::UnknownKey);
    }
    let mut validation = Validation::new(header.alg);
    validation.set_required_spec_claims(&["iss", "sub", "aud", "exp"]);
    validation.set_issuer(&[&expected.config.issuer]);
    validation.set_audience(&[&expected.config.client_id]);
    // By the portal's clock, below.
    validation.validate_exp = false;
    let mut fault = TokenFault::Signature;
    for key in fitting {
        let Ok(key) = DecodingKey::from_jwk(key) else { continue };
        match decode::<Claims>(token, &key, &validation) {
            Ok(decoded) => return judge(decoded.claims, expected, now),
            Err(error) => match error.kind() {
                ErrorKind::InvalidSignature => {}
                ErrorKind::InvalidIssuer => fault = TokenFault::Issuer,
                ErrorKind::InvalidAudience => fault = TokenFault::Audience,
                _ => fault = TokenFault::Form,
            },
        }
    }
    Err(fault)
}

/// Whether a key is one of this algorithm, for signatures.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let is_kind = match (&key.algorithm, algorithm) {
        (AlgorithmParameters::RSA(_), Algorithm::RS256) => true,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => key.curve == EllipticCurve::P256,
        (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDSA) => key.curve == EllipticCurve::Ed25519,
        _ => false,
    };
    let says = key.common.key_algorithm.map(|says| says.to_string());
    let is_for_it = says.is_none_or(|says| says == format!("{algorithm:?}"));
    is_kind && is_for_it && key.common.public_key_use != Some(PublicKeyUse::Encryption)
}

/// What the claims of a signed token say, beyond issuer and audience.
fn judge(claims: Claims, expected: &Expected<'_>, now: i64) -> Result<Person, TokenFault> {
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below what a double holds")]
    let now = now as f64;
    let begins = claims.nbf.unwrap_or(claims.iat).max(claims.iat);
    // Written so that what is not a number fails.
    if !(claims.exp + LEEWAY > now && begins - LEEWAY <= now) {
        return Err(TokenFault::Time);
    }
    let client = &expected.config.client_id;
    let (is_one_of_many, has_us) = match &claims.aud {
        Audience::One(one) => (false, one == client),
        Audience::Many(many) => (many.len() > 1, many.contains(client)),
    };
    // Of a token for several, the one it was made for is us.
    if !has_us || claims.azp.as_ref().is_some_and(|azp| azp != client) || (is_one_of_many && claims.azp.is_none()) {
        return Err(TokenFault::Audience);
    }
    if !claims.nonce.is_some_and(|nonce| same(nonce.as_bytes(), expected.nonce.as_bytes())) {
        return Err(TokenFault::Nonce);
    }
    let subject = claims.sub;
    if subject.is_empty() || subject.chars().count() > MAX_SUBJECT || subject.contains(char::is_control) {
        return Err(TokenFault::Subject);
    }
    let text = |name: &str| claims.rest.get(name).and_then(Value::as_str).map(str::to_owned);
    let role = expected.config.roles.as_ref().and_then(|roles| {
        let said: Vec<&str> = match claims.rest.get(&roles.claim) {
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        said.into_iter().filter_map(|one| roles.map.get(one).copied()).max()
    });
    Ok(Person {
        issuer: expected.config.issuer.clone(),
        subject,
        name: text(&expected.config.name_claim),
        display_name: text("name"),
        role,
    })
}

/// Compares signatures with `ring`; signs nothing.
static RING: CryptoProvider =
    CryptoProvider { signer_factory: no_signer, verifier_factory: verifier, key_utils: KeyUtils::new_unimplemented() };

/// Makes it the cryptography of `jsonwebtoken`, once in a process.
///
/// # Errors
/// Where another one was made so before.
pub(super) fn install() -> Result<(), ProviderError> {
    // The second portal of a process finds it there already.
    let _ = RING.install_default();
    match CryptoProvider::try_get_default() {
        Some(there) if std::ptr::eq(there, &RING) => Ok(()),
        _ => Err(ProviderError::Cryptography),
    }
}

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, JwtError> {
    Err(ErrorKind::UnsupportedAlgorithm.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, JwtError> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(Box::new(Ring { algorithm: *algorithm, key: key.clone() }))
}

struct Ring {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for Ring {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        let checked = match (self.algorithm, self.key.kind()) {
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature)
            }
            _ => return Err(SignatureError::new()),
        };
        checked.map_err(|_| SignatureError::new())
    }
}

impl JwtVerifier for Ring {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
