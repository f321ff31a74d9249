//! What a backup says of itself: its version, and every file with length and hash.
//!
//! A backup may come from anywhere, so its names are held to a short alphabet before they are used as paths. Hashes show
//! damage; they do not show who made the backup.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{BackupError, LOCK, RESTORING};
use crate::database;
use crate::uploads::{Key, Sha256Hex};

/// The manifest's own name in a backup.
pub const MANIFEST: &str = "manifest.json";
/// The name of the secret.
pub const SECRET: &str = "secret";
/// What the first key of a manifest says.
const FORMAT: &str = "veilwatch-backup";
/// The version of manifests that this program writes, and the only one that it reads.
const VERSION: u32 = 1;
/// Bytes of a manifest that are written and read: more than a million files.
pub const MANIFEST_BYTES: u64 = 256 << 20;
/// Characters of a name, and of one part of it; parts.
const NAME: usize = 200;
const PART: usize = 100;
const PARTS: usize = 8;
/// What never stands at the beginning of a name: what is unfinished, what is made anew, and what is not data.
const NOT_OURS: [&str; 10] = [
    "incoming",
    "partial",
    "live",
    "work",
    LOCK,
    RESTORING,
    MANIFEST,
    "portal.sqlite-wal",
    "portal.sqlite-shm",
    "portal.sqlite-journal",
];

/// The path of a file below the data folder: parts of letters, digits, `.`, `_` and `-`, none of which begins with a dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Name(String);

impl Name {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The database.
    pub fn database() -> Self {
        Self(database::FILE.to_owned())
    }

    /// A capture.
    pub fn capture(sha256: &Sha256Hex) -> Self {
        Self(format!("captures/{sha256}"))
    }

    /// The result of an entry.
    pub fn result(key: &Key) -> Self {
        Self(format!("results/{key}.sqlite"))
    }

    /// The index of an entry's capture.
    pub fn index(key: &Key) -> Self {
        Self(format!("indexes/{key}"))
    }

    /// The hash that a capture is named by, if this is one.
    pub fn named_hash(&self) -> Option<&str> {
        self.0.strip_prefix("captures/")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_part = |part: &str| {
            (1..=PART).contains(&part.len())
                && !part.starts_with('.')
                && part.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'))
        };
        let parts: Vec<&str> = text.split('/').take(PARTS + 1).collect();
        let is_ours = parts.first().is_some_and(|first| !NOT_OURS.contains(first));
        // Three folders hold what their names say and nothing else.
        let fits = match parts.as_slice() {
            ["captures", name] => name.parse::<Sha256Hex>().is_ok(),
            ["indexes", name] => name.parse::<Key>().is_ok(),
            ["results", name] => name.strip_suffix(".sqlite").is_some_and(|key| key.parse::<Key>().is_ok()),
            ["captures" | "indexes" | "results", ..] => false,
            [database::FILE | SECRET, ..] => parts.len() == 1,
            parts => parts.iter().all(|part| is_part(part)),
        };
        // What has no room in the plain header of an archive would take another one in front of it.
        let has_room = || tar::Header::new_ustar().set_path(text).is_ok();
        if text.len() <= NAME && parts.len() <= PARTS && is_ours && fits && has_room() {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("{:?} is no name of a file in a backup", text.chars().take(NAME).collect::<String>()))
        }
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// Where it belongs.
    pub path: Name,
    /// How long it is.
    pub bytes: u64,
    /// Its SHA-256, lower case hexadecimal.
    pub sha256: String,
}

/// A whole backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: String,
    version: u32,
    /// The version of the program that took it.
    pub program: String,
    /// The version of the tables in its database.
    pub database: u32,
    /// When its database was copied, in seconds since 1970.
    pub taken_at: i64,
    /// Its files.
    pub files: Vec<Listed>,
}

impl Manifest {
    /// A new one.
    pub fn new(database: u32, taken_at: i64, files: Vec<Listed>) -> Self {
        let program = env!("CARGO_PKG_VERSION").to_owned();
        Self { format: FORMAT.to_owned(), version: VERSION, program, database, taken_at, files }
    }

    /// As it is written.
    ///
    /// # Errors
    /// Where it cannot be put into words.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BackupError> {
        serde_json::to_vec_pretty(self).map_err(|error| BackupError::Backup(error.to_string()))
    }

    /// Reads one that may say anything.
    ///
    /// # Errors
    /// Where it is none, or one that this program does not know, or names something twice or something that no backup
    /// holds.
    pub fn read(bytes: &[u8]) -> Result<Self, BackupError> {
        let wrong = |words: String| BackupError::Backup(words);
        // What it is comes before what is in it: a newer one may have other keys.
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        let head: Head =
            serde_json::from_slice(bytes).map_err(|error| wrong(format!("its manifest cannot be read: {error}")))?;
        if head.format != FORMAT {
            return Err(wrong("its manifest is that of something else".to_owned()));
        }
        if head.version != VERSION {
            let words = format!("it is of version {}, this program reads version {VERSION}", head.version);
            return Err(wrong(words));
        }
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| wrong(format!("its manifest cannot be read: {error}")))?;
        let known = database::known_version();
        if manifest.database > known {
            let words = format!(
                "its database is of version {}, this program knows versions up to {known}: restore it with version {} \
                 of the program",
                manifest.database,
                manifest.program.chars().filter(|c| !c.is_control()).take(40).collect::<String>()
            );
            return Err(wrong(words));
        }
        let mut names = BTreeSet::new();
        for file in &manifest.files {
            if !names.insert(&file.path) {
                return Err(wrong(format!("its manifest names {} twice", file.path)));
            }
            if file.sha256.parse::<Sha256Hex>().is_err() {
                return Err(wrong(format!("its manifest gives no hash of {}", file.path)));
            }
        }
        if !names.contains(&Name::database()) {
            return Err(wrong("it has no database".to_owned()));
        }
        Ok(manifest)
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        let (key, hash) = ("a".repeat(32), "b".repeat(64));
        for good in [
            "portal.sqlite",
            "secret",
            &format!("captures/{hash}"),
            &format!("results/{key}.sqlite"),
            &format!("indexes/{key}"),
            "models/mine/weights.bin",
            &format!("models/{key}/{hash}/weights.bin"),
        ] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "/etc/passwd",
            "..",
            "../x",
            "a/../../x",
            "a//b",
            "a/",
            "./a",
            ".ssh/authorized_keys",
            "a/.b",
            "a b",
            "a\\b",
            "a\0b",
            "é",
            "captures/x",
            "captures",
            &format!("captures/{hash}/x"),
            &format!("captures/{}", hash.to_uppercase()),
            &format!("results/{key}.sqlite-wal"),
            "secret/x",
            "portal.sqlite/x",
            "portal.sqlite-wal",
            "incoming/x",
            "work/x",
            "lock",
            "restoring/x",
            "manifest.json",
            "a/b/c/d/e/f/g/h/i",
            &"x".repeat(101),
            &format!("{}/{}", "x".repeat(60), "x".repeat(100)).replacen('/', "-", 1),
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_manifest_that_says_anything_is_refused_with_the_reason() {
        let file = |path: &str| Listed { path: path.parse().unwrap(), bytes: u64::MAX, sha256: "0".repeat(64) };
        let good = Manifest::new(1, 7, vec![file("portal.sqlite"), file("secret")]);
        let text = String::from_utf8(good.to_bytes().unwrap()).unwrap();
        assert_eq!(Manifest::read(text.as_bytes()).unwrap(), good);
        assert_eq!(good.bytes(), u64::MAX);
        for (from, to, words) in [
            ("\"version\": 1", "\"version\": 2", "is of version 2"),
            ("veilwatch-backup", "other", "something else"),
            ("\"database\": 1", "\"database\": 999", "database is of version 999"),
            ("\"secret\"", "\"portal.sqlite\"", "portal.sqlite twice"),
            ("\"secret\"", "\"../secret\"", "../secret"),
            ("portal.sqlite", "x", "no database"),
            (&"0".repeat(64), "0", "no hash"),
            ("\"taken_at\": 7", "\"taken_at\": 7, \"more\": 1", "more"),
            ("18446744073709551615", "-1", "cannot be read"),
            ("{", "[", "cannot be read"),
        ] {
            let error = Manifest::read(text.replace(from, to).as_bytes()).unwrap_err().to_string();
            assert!(error.contains(words), "{to}: {error}");
        }
    }
}
