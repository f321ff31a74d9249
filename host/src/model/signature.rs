//! Who vouches for a model: an Ed25519 signature (RFC 8032) over the exact bytes of its card, which names the hashes of all
//! its other files.
//!
//! A signature stands beside the card in `card.sig`, with the public key that it is of. So a wrong one is known for wrong
//! by itself, and whom to trust is a list of keys in the configuration.

use super::ModelError;
use super::store::read;
use crate::hash::hex;
use crate::plugins::brief;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature as Ed25519, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What goes before the card: a signature of anything else is none of a card, and the other way round.
const DOMAIN: &[u8] = b"veilwatch model card, format 1\0";
/// Layout of signatures and key files.
const FORMAT: u32 = 1;
/// Bytes of a signature's or a key's file, at most.
pub(super) const SIGNATURE_LIMIT: u64 = 4096;
/// Hexadecimal digits by which people tell keys apart.
const SHORT: usize = 16;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A text is no public key.
    #[error(
        "`{0}` is no public key: it takes 32 bytes as 64 hexadecimal digits or in Base64, as `veilwatch model keygen` \
         prints them"
    )]
    Public(String),
    /// A key file cannot be read or written.
    #[error("key {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// There is one already.
    #[error("key {path}: the file is there already, and keys are never overwritten; give another name")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others may read a private key.
    #[error("key {path}: others may read it (mode {mode:03o}); a private key is its owner's alone: `chmod 600` it")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file is no private key.
    #[error("key {path}: this is no private key of ours ({what}); `veilwatch model keygen` makes one")]
    Private {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The system gave no random bytes.
    #[error("the system gives no random bytes ({0}); try again later")]
    Random(getrandom::Error),
}

/// Who can be trusted, by what everybody may know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads 64 hexadecimal digits, or Base64.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let key = unhex(text).or_else(|| STANDARD.decode(text).ok()?.try_into().ok());
        // With a weak key anybody's signature is right.
        let key = key.filter(|key| VerifyingKey::from_bytes(key).is_ok_and(|key| !key.is_weak()));
        key.map(Self).ok_or_else(|| KeyError::Public(brief(&text.chars().take(80).collect::<String>())))
    }

    /// Its first digits, for tables.
    pub fn short(&self) -> String {
        self.to_string().chars().take(SHORT).collect()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What signs. It is forgotten from memory when it goes.
pub struct PrivateKey(SigningKey);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {})", self.public())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    format: u32,
    private: String,
    public: String,
}

impl PrivateKey {
    /// A new one, from the system's randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(KeyError::Random)?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Its other half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Writes it into a new file that its owner alone can read.
    pub fn write_new(&self, path: &Path) -> Result<(), KeyError> {
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => KeyError::Exists { path: path.to_owned() },
            _ => KeyError::File { path: path.to_owned(), error },
        };
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        let text = format!(
            "# A private key of Veilwatch: whoever has it signs models in your name.\n\
             format = {FORMAT}\nprivate = \"{}\"\npublic = \"{}\"\n",
            hex(&self.0.to_bytes()),
            self.public()
        );
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
    }

    /// Reads what [`write_new`](Self::write_new) wrote; a file that others can read is refused.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let failed = |error| KeyError::File { path: path.to_owned(), error };
        let no_key = |what: String| KeyError::Private { path: path.to_owned(), what };
        let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Open { path: path.to_owned(), mode });
        }
        let bytes = read(path, SIGNATURE_LIMIT).map_err(|error| match error {
            ModelError::File { error, .. } => failed(error),
            other => no_key(other.to_string()),
        })?;
        // What the parser says shows the line, and the line is secret.
        let file: Option<KeyFile> = std::str::from_utf8(&bytes).ok().and_then(|text| toml::from_str(text).ok());
        let file = file.ok_or_else(|| no_key("it cannot be read".into()))?;
        if file.format != FORMAT {
            return Err(no_key(format!("format {}, and this version knows {FORMAT}", file.format)));
        }
        let seed = unhex(&file.private).ok_or_else(|| no_key("its private half is no 64 hexadecimal digits".into()))?;
        let key = Self(SigningKey::from_bytes(&seed));
        if key.public().to_string() != file.public {
            return Err(no_key("its halves do not belong together".into()));
        }
        Ok(key)
    }

    /// Signs a card.
    pub fn sign(&self, card: &[u8]) -> Signature {
        Signature { key: self.public(), bytes: self.0.sign(&message(card)) }
    }
}

/// A signature of a card, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    key: PublicKey,
    bytes: Ed25519,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureFile {
    format: u32,
    key: String,
    signature: String,
}

impl Signature {
    /// Reads the text of `card.sig`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "card.sig is no text".to_owned())?;
        let file: SignatureFile =
            toml::from_str(text).map_err(|error| format!("card.sig cannot be read: {}", brief(error.message())))?;
        if file.format != FORMAT {
            return Err(format!("card.sig is of format {}, and this version knows {FORMAT}", file.format));
        }
        let key = PublicKey::parse(&file.key).map_err(|error| error.to_string())?;
        let bytes = unhex(&file.signature).ok_or("the signature in card.sig is not 128 hexadecimal digits")?;
        Ok(Self { key, bytes: Ed25519::from_bytes(&bytes) })
    }

    /// The text of `card.sig`.
    pub fn text(&self) -> String {
        format!("format = {FORMAT}\nkey = \"{}\"\nsignature = \"{}\"\n", self.key, hex(&self.bytes.to_bytes()))
    }

    /// Whose it says it is.
    pub fn key(&self) -> PublicKey {
        self.key
    }

    /// Whether it is that key's, of these bytes.
    pub fn is_of(&self, card: &[u8]) -> bool {
        VerifyingKey::from_bytes(&self.key.0).is_ok_and(|key| key.verify_strict(&message(card), &self.bytes).is_ok())
    }
}

/// Whose word counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// The keys that do.
    pub keys: Vec<PublicKey>,
    /// Whether a model without the signature of one of them is refused. Models in the box are part of the program.
    pub required: bool,
}

/// Who vouches for a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// It is in the box, and as good as the program.
    Box,
    /// Nobody.
    Nobody,
    /// One who is trusted.
    Trusted(PublicKey),
    /// Somebody else, whose signature is right.
    Stranger(PublicKey),
}

impl Signer {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Box => "box",
            Self::Nobody => "none",
            Self::Trusted(_) => "trusted",
            Self::Stranger(_) => "not trusted",
        }
    }

    /// The key, where there is one.
    pub fn key(self) -> Option<PublicKey> {
        match self {
            Self::Trusted(key) | Self::Stranger(key) => Some(key),
            Self::Box | Self::Nobody => None,
        }
    }
}

impl Trust {
    /// Who signed a card, where the signature and this list allow its use.
    pub(super) fn check(&self, name: &str, card: &[u8], signature: Option<&[u8]>) -> Result<Signer, ModelError> {
        let wrong = |what: String| ModelError::Signature { name: name.to_owned(), what };
        let Some(signature) = signature else {
            return if self.required {
                Err(ModelError::Unsigned { name: name.to_owned() })
            } else {
                Ok(Signer::Nobody)
            };
        };
        let signature = Signature::parse(signature).map_err(wrong)?;
        if !signature.is_of(card) {
            return Err(wrong("the card is not the one that was signed".into()));
        }
        let key = signature.key();
        if self.keys.contains(&key) {
            return Ok(Signer::Trusted(key));
        }
        if self.required {
            Err(ModelError::Untrusted { name: name.to_owned(), key })
        } else {
            Ok(Signer::Stranger(key))
        }
    }
}

fn message(card: &[u8]) -> Vec<u8> {
    [DOMAIN, card].concat()
}

/// Bytes of exactly so many hexadecimal digits.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().as_chunks::<2>().0) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().filter(|_| digits[0] != b'+')?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(seed: u8) -> PrivateKey {
        PrivateKey(SigningKey::from_bytes(&[seed; 32]))
    }

    #[test]
    fn what_is_no_signature_is_told_without_steering_a_terminal() {
        for text in ["\"\\u001b]0;mine\\u202e\" = 1", &format!("format = 1\n{} = 1", "k".repeat(3000))] {
            let said = Signature::parse(text.as_bytes()).unwrap_err();
            assert!(!said.contains(['\u{1b}', '\u{202e}']) && said.chars().count() < 1000, "{said}");
        }
        let said = PublicKey::parse("\u{1b}[31m\u{202e}key").unwrap_err().to_string();
        assert!(said.starts_with("`[31mkey` is no public key"), "{said}");
    }

    #[test]
    fn what_is_signed_is_the_card_and_nothing_else() {
        let signature = key(1).sign(b"card");
        assert!(signature.is_of(b"card"));
        assert!(!signature.is_of(b"Card") && !signature.is_of(b""));
        assert_eq!(Signature::parse(signature.text().as_bytes()).unwrap(), signature);
        // A signature of the bare bytes is none of a card.
        let bare = Signature { key: key(1).public(), bytes: key(1).0.sign(b"card") };
        assert!(!bare.is_of(b"card"));
        // Nor is that of another key.
        assert!(!Signature { key: key(2).public(), ..signature }.is_of(b"card"));
    }

    #[test]
    fn trust_is_a_list() {
        let (signed, stranger) = (key(1).sign(b"card").text(), key(2).sign(b"card").text());
        let lax = Trust { keys: vec![key(1).public()], required: false };
        let strict = Trust { required: true, ..lax.clone() };
        let check = |trust: &Trust, signature: Option<&str>| trust.check("m", b"card", signature.map(str::as_bytes));
        for trust in [&lax, &strict] {
            assert_eq!(check(trust, Some(&signed)).unwrap(), Signer::Trusted(key(1).public()));
            let tampered = trust.check("m", b"another", Some(signed.as_bytes())).unwrap_err();
            assert!(tampered.to_string().contains("not the one that was signed"), "{tampered}");
        }
        assert_eq!(check(&lax, None).unwrap(), Signer::Nobody);
        assert_eq!(check(&lax, Some(&stranger)).unwrap(), Signer::Stranger(key(2).public()));
        assert!(matches!(check(&strict, None), Err(ModelError::Unsigned { .. })));
        assert!(matches!(check(&strict, Some(&stranger)), Err(ModelError::Untrusted { .. })));
        assert!(matches!(check(&lax, Some("")), Err(ModelError::Signature { .. })));
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        let text = key(3).public().to_string();
        assert_eq!(PublicKey::parse(&text).unwrap(), key(3).public());
        assert_eq!(PublicKey::parse(&text.to_uppercase()).unwrap(), key(3).public());
        assert_eq!(PublicKey::parse(&STANDARD.encode(key(3).public().0)).unwrap(), key(3).public());
        // The last two are weak: of small order.
        for bad in
            ["", "00", &text[1..], &format!("+{}", &text[1..]), &"0".repeat(64), &format!("01{}", "0".repeat(62))]
        {
            assert!(PublicKey::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn private_keys_are_their_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let made = PrivateKey::generate().unwrap();
        made.write_new(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(PrivateKey::read(&path).unwrap().public(), made.public());
        assert!(matches!(made.write_new(&path), Err(KeyError::Exists { .. })));
        assert_ne!(PrivateKey::generate().unwrap().public(), made.public());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(PrivateKey::read(&path).unwrap_err().to_string().contains("chmod 600"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let private = hex(&made.0.to_bytes());
        for bad in [String::new(), text.replace("format = 1", "format = 2"), text.replace(&private, &private[1..]), {
            let other = key(4).public().to_string();
            text.replace(&made.public().to_string(), &other)
        }] {
            std::fs::write(&path, bad).unwrap();
            let error = PrivateKey::read(&path).unwrap_err().to_string();
            assert!(error.contains("no private key of ours") && !error.contains(&private[1..]), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_may_stand_in_place_of_a_signature(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Signature::parse(&bytes).is_err());
        }

        #[test]
        fn no_changed_byte_passes(at in 0usize..400, bit in 0u8..8) {
            let text = key(5).sign(b"card").text();
            let mut bytes = text.clone().into_bytes();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            // Digits may change their case, and blanks may become others.
            let same = Signature::parse(text.as_bytes()).unwrap();
            if let Ok(other) = Signature::parse(&bytes) {
                prop_assert!(other == same || !other.is_of(b"card"), "{}", String::from_utf8_lossy(&bytes));
            }
        }
    }
}
