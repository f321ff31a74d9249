//! Whether a data folder is whole; a portal may work in it meanwhile.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;

use super::files::{hash, open};
use super::manifest::{Name, SECRET};
use super::{BackupError, Findings, Progress};
use crate::database;
use crate::results::ResultFile;
use crate::uploads::KEPT;
use crate::uploads::{Key, Sha256Hex};

/// How long each question to one result may take.
const MILLISECONDS: u32 = 60_000;

/// What a look at a data folder came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// The version of its tables.
    pub database: u32,
    /// Its entries.
    pub entries: u64,
    /// Its captures.
    pub captures: u64,
    /// What is damaged or missing.
    pub damage: Findings,
    /// What is no damage and yet not as it should be.
    pub notes: Findings,
}

/// Looks at everything that the database names; `hashes` also reads every capture.
///
/// # Errors
/// Where there is no data folder, or its database cannot be read at all.
pub fn check(data: &Path, hashes: bool, progress: &Progress) -> Result<Checked, BackupError> {
    let path = data.join(database::FILE);
    if !path.is_file() {
        return Err(BackupError::NoData(data.to_owned()));
    }
    let connection = database::read_only(&path)?;
    let mut checked = Checked { database: database::version(&connection, &path)?, ..Checked::default() };
    check_database(&connection, &mut checked)?;
    check_rights(data, &mut checked);
    let listed = |sql: &str| -> Result<Vec<(String, Option<i64>)>, BackupError> {
        let mut rows = connection.prepare(sql)?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    };
    let captures = listed(&format!("SELECT sha256, bytes FROM captures WHERE {KEPT} ORDER BY sha256"))?;
    if hashes {
        let bytes = captures.iter().filter_map(|(_, bytes)| bytes.and_then(|bytes| u64::try_from(bytes).ok()));
        progress.expect(bytes.fold(0, u64::saturating_add));
    }
    let entries: i64 = connection.query_row("SELECT count(*) FROM entries", [], |row| row.get(0))?;
    checked.entries = u64::try_from(entries).unwrap_or(0);
    checked.captures = captures.len() as u64;
    for (sha256, bytes) in captures {
        let said = capture(data, &sha256, bytes, hashes, progress);
        let is_kept = || {
            connection
                .prepare_cached(&format!("SELECT 1 FROM captures WHERE sha256 = ?1 AND {KEPT}"))?
                .exists([&sha256])
        };
        // What is not there may have been deleted since it was listed.
        if let Err(words) = said
            && is_kept()?
        {
            checked.damage.add(words);
        }
    }
    for (key, bytes) in listed("SELECT key, result_bytes FROM entries WHERE state = 'done' ORDER BY key")? {
        let said = result(data, &key, bytes);
        let is_done = || {
            let mut rows = connection.prepare_cached("SELECT 1 FROM entries WHERE key = ?1 AND state = 'done'")?;
            rows.exists([&key])
        };
        if let Err(words) = said
            && is_done()?
        {
            checked.damage.add(words);
        }
    }
    for (key, bytes) in listed("SELECT key, index_bytes FROM entries WHERE index_bytes IS NOT NULL ORDER BY key")? {
        let found = key.parse::<Key>().ok().and_then(|key| fs::metadata(data.join(Name::index(&key).as_str())).ok());
        if found.and_then(|file| i64::try_from(file.len()).ok()) != bytes {
            checked.notes.add(format!("the index of {key} is not there; it is made again where somebody needs it"));
        }
    }
    unnamed(data, &connection, &mut checked)?;
    Ok(checked)
}

fn check_database(connection: &Connection, checked: &mut Checked) -> Result<(), BackupError> {
    let mut said = connection.prepare("PRAGMA integrity_check(100)")?;
    for words in said.query_map([], |row| row.get::<_, String>(0))? {
        let words = words?;
        if words != "ok" {
            checked.damage.add(format!("the database: {words}"));
        }
    }
    let mut said = connection.prepare("PRAGMA foreign_key_check")?;
    for row in said.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(2)?)))? {
        let (from, to) = row?;
        checked.damage.add(format!("the database: a row of {from} names one of {to} that is not there"));
    }
    Ok(())
}

/// What others on this computer could read.
fn check_rights(data: &Path, checked: &mut Checked) {
    let mode = |path: &Path| fs::metadata(path).map_or(0, |file| file.permissions().mode() & 0o077);
    if mode(data) != 0 {
        checked.notes.add(format!("others can look into {}: chmod 700", data.display()));
    }
    if mode(&data.join(SECRET)) != 0 {
        checked.damage.add("others can read the secret: chmod 600, and the portal starts again");
    }
}

fn capture(data: &Path, text: &str, bytes: Option<i64>, hashes: bool, progress: &Progress) -> Result<(), String> {
    let sha256: Sha256Hex = text.parse().map_err(|_| format!("the database names a capture {text:?}"))?;
    let name = Name::capture(&sha256);
    let file = open(&data.join(name.as_str())).map_err(|error| format!("{name} cannot be read: {error}"))?;
    let found = file.metadata().map_err(|error| format!("{name} cannot be read: {error}"))?.len();
    if i64::try_from(found).ok() != bytes {
        return Err(format!("{name} has {found} bytes, and the database says {}", bytes.unwrap_or(0)));
    }
    if hashes {
        let found = hash(file, progress).map_err(|error| format!("{name} cannot be read: {error}"))?;
        if found != sha256.as_str() {
            return Err(format!("{name} has another content"));
        }
    }
    Ok(())
}

fn result(data: &Path, text: &str, bytes: Option<i64>) -> Result<(), String> {
    let key: Key = text.parse().map_err(|_| format!("the database names an entry {text:?}"))?;
    let name = Name::result(&key);
    let path = data.join(name.as_str());
    let found = open(&path).and_then(|file| file.metadata());
    let found = found.map_err(|error| format!("{name} cannot be read: {error}"))?.len();
    if i64::try_from(found).ok() != bytes {
        return Err(format!("{name} has {found} bytes, and the database says {}", bytes.unwrap_or(0)));
    }
    let opened = ResultFile::open(&path, MILLISECONDS).and_then(|file| file.summary());
    opened.map(drop).map_err(|error| format!("{name} is no result: {error}"))
}

/// Files that nothing names: the next start takes them away.
fn unnamed(data: &Path, connection: &Connection, checked: &mut Checked) -> Result<(), BackupError> {
    let mut kept = connection.prepare("SELECT 1 FROM captures WHERE sha256 = ?1")?;
    let mut done = connection.prepare("SELECT 1 FROM entries WHERE key = ?1")?;
    for (folder, end, rows) in [("captures", "", &mut kept), ("results", ".sqlite", &mut done)] {
        let Ok(names) = fs::read_dir(data.join(folder)) else { continue };
        let mut count = 0_u64;
        for name in names.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
            if !name.strip_suffix(end).is_some_and(|name| rows.exists([name]).unwrap_or(true)) {
                count += 1;
            }
        }
        if count > 0 {
            checked.notes.add(format!("{count} files in {folder} belong to no entry; the next start takes them away"));
        }
    }
    Ok(())
}
