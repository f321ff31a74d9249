//! A backup becomes a data folder.
//!
//! A backup is input: its manifest is held to what this program writes, its names to a short alphabet, every file to the
//! length and hash that the manifest gives. All of it is written into a folder of its own first, and takes its place, the
//! database last, only when everything is right.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::files::{Measured, copy, create, make_folder, open, settle};
use super::manifest::{Listed, MANIFEST, MANIFEST_BYTES, Manifest, Name, SECRET};
use super::{BackupError, Findings, LOCK, Progress, RESTORING, check, free_bytes};
use crate::database;

/// Files of one backup that are read.
const FILES: usize = 2_000_000;

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// When the backup was taken, in seconds since 1970.
    pub taken_at: i64,
    /// The version of the program that took it.
    pub program: String,
    /// Entries in it.
    pub entries: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Whether the secret was in it.
    pub has_secret: bool,
    /// What is not whole, because it was not when the backup was taken.
    pub findings: Findings,
}

/// Restores a backup, a folder or one file, into `data`, which is new or empty.
///
/// # Errors
/// Where `data` is in use or holds anything, there is no room, the backup is none or of a version that this program does
/// not know, or any of its files is not what its manifest says. Nothing of it stays then.
pub fn restore(backup: &Path, data: &Path, progress: &Progress) -> Result<Restored, BackupError> {
    let place = Place::begin(data)?;
    let kind = fs::metadata(backup).map_err(BackupError::at("read", backup))?;
    let manifest = if kind.is_dir() {
        from_folder(backup, &place.staging, progress)?
    } else {
        from_archive(backup, &place.staging, progress)?
    };
    look_at_database(&place.staging, &manifest)?;
    let checked = check::check(&place.staging, false, progress)?;
    let has_secret = manifest.files.iter().any(|file| file.path.as_str() == SECRET);
    place.settle()?;
    Ok(Restored {
        taken_at: manifest.taken_at,
        bytes: manifest.bytes(),
        has_secret,
        entries: checked.entries,
        findings: checked.damage,
        program: manifest.program,
    })
}

/// The folder that is restored into, held as a portal holds it. Dropped before it is settled, it is as empty as before.
struct Place {
    data: PathBuf,
    staging: PathBuf,
    was_there: bool,
    is_settled: bool,
    _lock: File,
}

impl Place {
    fn begin(data: &Path) -> Result<Self, BackupError> {
        let was_there = data.exists();
        make_folder(data)?;
        let path = data.join(LOCK);
        let in_use = |file: &File| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock));
        if open(&path).is_ok_and(|file| in_use(&file)) {
            return Err(BackupError::InUse(data.to_owned()));
        }
        if fs::read_dir(data).map_err(BackupError::at("read", data))?.next().is_some() {
            return Err(BackupError::NotEmpty(data.to_owned()));
        }
        let (lock, _) = create(data, LOCK)?;
        if in_use(&lock) {
            return Err(BackupError::InUse(data.to_owned()));
        }
        let staging = data.join(RESTORING);
        // From here on what is there is ours.
        let place = Self { data: data.to_owned(), staging, was_there, is_settled: false, _lock: lock };
        make_folder(&place.staging)?;
        private(&place.data)?;
        Ok(place)
    }

    /// Everything takes its place, the database last: a portal finds all of it or none.
    fn settle(mut self) -> Result<(), BackupError> {
        let folder = File::open(&self.staging).map_err(BackupError::at("read", &self.staging))?;
        settle(&folder, &self.staging)?;
        let names = fs::read_dir(&self.staging).map_err(BackupError::at("read", &self.staging))?;
        let mut names: Vec<_> = names
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<_, _>>()
            .map_err(BackupError::at("read", &self.staging))?;
        names.sort_by_key(|name| name == database::FILE);
        for name in names {
            let from = self.staging.join(&name);
            fs::rename(&from, self.data.join(&name)).map_err(BackupError::at("moved into its place", &from))?;
        }
        fs::remove_dir(&self.staging).map_err(BackupError::at("removed", &self.staging))?;
        self.is_settled = true;
        settle(&folder, &self.data)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        let gone = fs::remove_dir_all(&self.staging).and_then(|()| fs::remove_file(self.data.join(LOCK)));
        let gone = gone.and_then(|()| if self.was_there { Ok(()) } else { fs::remove_dir(&self.data) });
        if let Err(error) = gone {
            tracing::warn!(folder = %self.data.display(), %error, "a part of a restore stays behind: empty the folder");
        }
    }
}

/// The folder is its owner's alone, even if it was there before.
fn private(folder: &Path) -> Result<(), BackupError> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(BackupError::at("shut to others", folder))
}

fn wrong(words: impl Into<String>) -> BackupError {
    BackupError::Backup(words.into())
}

fn from_folder(backup: &Path, staging: &Path, progress: &Progress) -> Result<Manifest, BackupError> {
    let path = backup.join(MANIFEST);
    let file = open(&path).map_err(BackupError::at("read", &path))?;
    let manifest = Manifest::read(&bounded(file).map_err(BackupError::at("read", &path))?)?;
    let (needed, free) = (manifest.bytes(), free_bytes(staging)?);
    if free < needed {
        return Err(BackupError::NoRoom { path: staging.to_owned(), free, needed });
    }
    progress.expect(needed);
    for listed in &manifest.files {
        let path = backup.join(listed.path.as_str());
        let file = open(&path).map_err(BackupError::at("read", &path))?;
        // One byte more tells a file of just the length from a longer one.
        let bytes = file.metadata().map_err(BackupError::at("read", &path))?.len();
        if bytes != listed.bytes {
            return Err(differs(listed, &format!("{bytes} bytes, and not {}", listed.bytes)));
        }
        hold(listed, &write(file, bytes, listed.path.as_str(), staging, progress)?)?;
    }
    Ok(manifest)
}

fn from_archive(backup: &Path, staging: &Path, progress: &Progress) -> Result<Manifest, BackupError> {
    let failed = || BackupError::at("read", backup);
    let file = open(backup).map_err(failed())?;
    progress.expect(file.metadata().map_err(failed())?.len());
    let mut free = free_bytes(staging)?;
    let mut archive = tar::Archive::new(BufReader::with_capacity(1 << 18, file));
    let (mut found, mut manifest) = (BTreeMap::new(), None);
    // `raw`: names and lengths are the headers' own, and no other record gives them another meaning.
    for entry in archive.entries().map_err(failed())?.raw(true) {
        let entry = entry.map_err(|error| wrong(format!("it is cut off or damaged ({error})")))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if manifest.is_some() {
            return Err(wrong("something follows its manifest"));
        }
        if entry.header().entry_type() != tar::EntryType::Regular {
            return Err(wrong(format!("{name:?} in it is no regular file")));
        }
        let bytes = entry.size();
        if name == MANIFEST {
            manifest = Some(Manifest::read(&bounded(entry).map_err(failed())?)?);
            continue;
        }
        let name: Name = name.parse().map_err(wrong)?;
        if free < bytes {
            return Err(BackupError::NoRoom { path: staging.to_owned(), free, needed: bytes });
        }
        free -= bytes;
        if found.len() >= FILES {
            return Err(wrong(format!("it has more than {FILES} files")));
        }
        let written = write(entry, bytes, name.as_str(), staging, progress)?;
        found.insert(name, written);
    }
    let manifest = manifest.ok_or_else(|| wrong("it has no manifest: it is not whole"))?;
    for listed in &manifest.files {
        let written = found.remove(&listed.path).ok_or_else(|| wrong(format!("it has no {}", listed.path)))?;
        hold(listed, &written)?;
    }
    // What was damaged before the backup was taken is in the file all the same.
    for name in found.keys() {
        let path = staging.join(name.as_str());
        fs::remove_file(&path).map_err(BackupError::at("removed", &path))?;
    }
    Ok(manifest)
}

/// All of a manifest, which is not endless.
fn bounded(file: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MANIFEST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MANIFEST_BYTES {
        return Err(std::io::Error::other(format!("it is longer than {MANIFEST_BYTES} bytes")));
    }
    Ok(bytes)
}

/// Writes a file of this length into the staging folder; says its length and hash.
fn write(
    from: impl Read,
    bytes: u64,
    name: &str,
    staging: &Path,
    progress: &Progress,
) -> Result<(u64, String), BackupError> {
    let (mut file, path) = create(staging, name)?;
    let mut measured = Measured::new(from, bytes, progress);
    copy(&mut measured, &mut file).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => wrong(format!("it is cut off, within {name}")),
        _ => BackupError::at("written", &path)(error),
    })?;
    Ok(measured.finish())
}

fn hold(listed: &Listed, (bytes, sha256): &(u64, String)) -> Result<(), BackupError> {
    if *bytes != listed.bytes {
        return Err(differs(listed, &format!("{bytes} bytes, and not {}", listed.bytes)));
    }
    if *sha256 != listed.sha256 {
        return Err(differs(listed, "another content"));
    }
    if listed.path.named_hash().is_some_and(|named| named != sha256) {
        return Err(differs(listed, "another content than its name says"));
    }
    Ok(())
}

fn differs(listed: &Listed, what: &str) -> BackupError {
    wrong(format!("{} in it is damaged: it has {what}", listed.path))
}

/// The database must be whole and of the version that the manifest gives.
fn look_at_database(staging: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let path = staging.join(database::FILE);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(&path, flags)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    let version = database::version(&connection, &path)?;
    if version != manifest.database {
        return Err(wrong(format!("its database is of version {version}, and not {}", manifest.database)));
    }
    let said: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if said != "ok" {
        return Err(wrong(format!("its database is damaged: {said}")));
    }
    Ok(())
}
