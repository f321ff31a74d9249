//! Passwords: which are good enough, and how they are kept.
//!
//! A password is kept as an Argon2id hash with a salt of its own. Which ones are good enough follows NIST SP 800-63B:
//! length counts, kinds of characters do not; what everybody tries first is refused.

use std::sync::LazyLock;

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use rocket::tokio::sync::Semaphore;
use rocket::tokio::task;
use thiserror::Error;

/// Memory of one hash in KiB: 19 MiB, OWASP's first recommendation for Argon2id.
pub const ARGON2_MEMORY_KIB: u32 = 19 * 1024;
/// Passes over that memory.
pub const ARGON2_PASSES: u32 = 2;
/// Lanes of one hash.
pub const ARGON2_LANES: u32 = 1;
/// Hashes that are made at the same time: they bound the memory that a crowd at the log-in can take.
pub const HASHES_AT_ONCE: usize = 2;

/// The fewest characters of a password.
pub const MIN_CHARACTERS: usize = 12;
/// The most bytes of a password: nobody types more, and hashing has an end.
pub const MAX_BYTES: usize = 1024;
/// What must remain of a password once everything that everybody tries is taken out of it.
pub const MIN_OWN_CHARACTERS: usize = 6;

/// What people choose most often, as stems: years and signs around them are undone by the rule.
static COMMON: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let mut words: Vec<&str> = include_str!("common-passwords.txt").lines().filter(|word| !word.is_empty()).collect();
    // The longest first, or `password` would break up `passwords`' longer neighbours.
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    words
});

/// Rows that fingers walk along, forwards and backwards.
const ROWS: [&str; 6] =
    ["abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiopasdfghjklyxcvbnm"];
/// As many steps along a row count as one key.
const WALK: usize = 4;

/// What is wrong with a password. The name of each is its message's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PasswordFault {
    /// Fewer than [`MIN_CHARACTERS`].
    #[error("password.short")]
    Short,
    /// More than [`MAX_BYTES`].
    #[error("password.long")]
    Long,
    /// One of the first that an attacker tries, or made of those.
    #[error("password.common")]
    Common,
    /// It holds the account's name.
    #[error("password.name")]
    Name,
}

/// Whether a new password of the account with these names is good enough.
///
/// # Errors
/// What is wrong with it.
pub fn check(password: &str, names: &[&str]) -> Result<(), PasswordFault> {
    if password.chars().count() < MIN_CHARACTERS {
        return Err(PasswordFault::Short);
    }
    if password.len() > MAX_BYTES {
        return Err(PasswordFault::Long);
    }
    let lower = password.to_lowercase();
    for name in names {
        let name = name.to_lowercase();
        if name.chars().count() >= 3 && lower.contains(&name) {
            return Err(PasswordFault::Name);
        }
    }
    // With and without `p@55w0rd` spelling, since digits may be meant as digits.
    for spelling in [lower.clone(), plain_letters(&lower)] {
        if own_characters(&spelling) < MIN_OWN_CHARACTERS {
            return Err(PasswordFault::Common);
        }
    }
    Ok(())
}

/// Undoes the usual replacements of letters.
fn plain_letters(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '@' | '4' => 'a',
            '3' => 'e',
            '1' | '!' => 'i',
            '0' => 'o',
            '5' | '$' => 's',
            '7' => 't',
            other => other,
        })
        .collect()
}

/// How many different characters are left without common words, walks along a row, and repetitions.
fn own_characters(text: &str) -> usize {
    let mut rest = text.to_owned();
    for word in COMMON.iter() {
        rest = rest.replace(word, " ");
    }
    let letters: Vec<char> = rest.chars().collect();
    let mut own = std::collections::BTreeSet::new();
    let mut at = 0;
    while let Some(&letter) = letters.get(at) {
        let walk = walk_length(letters.get(at..).unwrap_or_default());
        if walk >= WALK {
            at += walk;
            continue;
        }
        if letter != ' ' {
            own.insert(letter);
        }
        at += 1;
    }
    own.len()
}

/// How many of the first characters lie side by side on a row.
fn walk_length(letters: &[char]) -> usize {
    let along = |row: &str| {
        let mut text = String::new();
        letters
            .iter()
            .take_while(|letter| {
                text.push(**letter);
                row.contains(&text)
            })
            .count()
    };
    ROWS.iter().flat_map(|row| [along(row), along(&row.chars().rev().collect::<String>())]).max().unwrap_or_default()
}

/// Why a password could not be hashed or compared.
#[derive(Debug, Error)]
#[error("a password could not be hashed: {0}")]
pub struct HashError(String);

/// Hashes passwords and compares them, a few at a time.
#[derive(Debug)]
pub struct Hasher {
    turns: Semaphore,
    /// The hash of nobody's password: an unknown name costs the same work as a known one.
    nobody: String,
}

impl Hasher {
    /// A hasher, with nobody's hash made.
    ///
    /// # Errors
    /// Where the system gives no random bytes.
    pub fn new() -> Result<Self, HashError> {
        let nobody = crate::secret::random_token().map_err(|error| HashError(error.to_string()))?;
        Ok(Self { turns: Semaphore::new(HASHES_AT_ONCE), nobody: hash_now(&nobody)? })
    }

    /// The hash to keep.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub async fn hash(&self, password: &str) -> Result<String, HashError> {
        let password = password.to_owned();
        self.turn(move || hash_now(&password)).await
    }

    /// Whether this is the password of that hash; without a hash the answer is no, after the same work.
    ///
    /// # Errors
    /// Where the comparison cannot be made.
    pub async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, HashError> {
        // Longer ones were never set, and must not cost more than the others.
        let password = if password.len() <= MAX_BYTES { password.to_owned() } else { String::new() };
        // An account of the provider's has none.
        let hash = hash.filter(|hash| !hash.is_empty());
        let known = hash.is_some();
        let hash = hash.unwrap_or(&self.nobody).to_owned();
        self.turn(move || Ok(hasher()?.verify_password(password.as_bytes(), hash.as_str()).is_ok() && known)).await
    }

    async fn turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, HashError> {
        let _turn = self.turns.acquire().await.map_err(|error| HashError(error.to_string()))?;
        task::spawn_blocking(work).await.map_err(|error| HashError(error.to_string()))?
    }
}

fn hasher() -> Result<Argon2<'static>, HashError> {
    Params::new(ARGON2_MEMORY_KIB, ARGON2_PASSES, ARGON2_LANES, None)
        .map(|params| Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
        .map_err(|error| HashError(error.to_string()))
}

fn hash_now(password: &str) -> Result<String, HashError> {
    hasher()?
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| HashError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_passwords_pass() {
        for good in ["otter lamp river tin", "kV9#xw2Lq!mZ", "三只水獭在河边点灯笼看星星", "marmalade quorum zebra"]
        {
            assert_eq!(check(good, &["ada", "Ada Lovelace"]), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_everybody_tries_is_refused() {
        for (bad, fault) in [
            ("short", PasswordFault::Short),
            ("elevenchars", PasswordFault::Short),
            ("password1234", PasswordFault::Common),
            ("P@ssw0rd2026!", PasswordFault::Common),
            ("aaaaaaaaaaaaaaaa", PasswordFault::Common),
            ("abababababababab", PasswordFault::Common),
            ("qwertyuiopasdfgh", PasswordFault::Common),
            ("098765432109876", PasswordFault::Common),
            ("Welcome2026!!", PasswordFault::Common),
            ("iloveyouforever", PasswordFault::Common),
            ("correcthorsebatterystaple", PasswordFault::Common),
            ("veilwatch-admin-1", PasswordFault::Common),
            ("my name is ADA today", PasswordFault::Name),
        ] {
            assert_eq!(check(bad, &["ada"]), Err(fault), "{bad}");
        }
        assert_eq!(check(&"long otter lamp ".repeat(100), &[]), Err(PasswordFault::Long));
    }

    #[rocket::async_test]
    async fn hashes_are_salted_argon2id_and_compare() {
        let hasher = Hasher::new().unwrap();
        let first = hasher.hash("otter lamp river tin").await.unwrap();
        assert!(first.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{first}");
        assert_ne!(first, hasher.hash("otter lamp river tin").await.unwrap());
        assert!(hasher.verify("otter lamp river tin", Some(&first)).await.unwrap());
        assert!(!hasher.verify("otter lamp river", Some(&first)).await.unwrap());
        assert!(!hasher.verify("otter lamp river tin", None).await.unwrap());
        // An account of a provider's.
        assert!(!hasher.verify("", Some("")).await.unwrap());
    }
}
