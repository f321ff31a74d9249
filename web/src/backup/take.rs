//! A backup is taken, while the portal works or while it does not.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::files::{Target, open};
use super::manifest::{Listed, MANIFEST_BYTES, Manifest, Name, SECRET};
use super::{BackupError, Findings, Progress, free_bytes};
use crate::database::{self, DbError};
use crate::entries::change::remove_rows;
use crate::uploads::KEPT;
use crate::uploads::{Key, Sha256Hex};

/// Pages of the database that are copied between two looks at the progress.
const PAGES: i32 = 1024;
/// How long another program may hold the database before it is tried again.
const BUSY: Duration = Duration::from_millis(50);
/// How often a file that the database names is looked for.
const LOOKS: usize = 3;
/// Folders below each other that other parts may have in the data folder.
const DEPTH: usize = 7;

/// What was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Entries in it.
    pub entries: u64,
    /// Files in it.
    pub files: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Entries that were deleted while it was taken, and are not in it.
    pub deleted: u64,
    /// Whether the secret is in it, or stands in the configuration and must be kept with that.
    pub has_secret: bool,
    /// What was damaged or missing before: the backup has it as it was.
    pub findings: Findings,
}

/// Takes a backup of a data folder into `place`: one file where the name ends in `.tar`, else a folder.
///
/// # Errors
/// Where there is no data folder, something is at `place` already, there is no room, or a file cannot be read or written.
/// Nothing of the backup stays then.
pub fn take(data: &Path, place: &Path, now: i64, progress: &Progress) -> Result<Taken, BackupError> {
    let path = data.join(database::FILE);
    if !path.is_file() {
        return Err(BackupError::NoData(data.to_owned()));
    }
    let around = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let whole = |path: &Path| path.canonicalize().map_err(BackupError::at("found", path));
    if whole(around)?.starts_with(whole(data)?) {
        return Err(BackupError::Inside(place.to_owned()));
    }
    let source = database::read_only(&path)?;
    take_between(data, place, now, progress, &database::read_only(&path)?, source)
}

/// The same with the database as it was `before`, and as it is whenever it is asked again.
pub(super) fn take_between(
    data: &Path,
    place: &Path,
    now: i64,
    progress: &Progress,
    before: &Connection,
    source: Connection,
) -> Result<Taken, BackupError> {
    let around = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let version = database::version(before, &data.join(database::FILE))?;
    let target = Target::begin(place)?;
    let copy = target.folder().join(database::FILE);
    let copied = copy_database(before, &copy)?;
    let mut taking =
        Taking { data, source, copy: copied, target, files: Vec::new(), taken: Taken::default(), progress };
    taking.check_room(around)?;
    taking.copy_results()?;
    taking.copy_captures()?;
    taking.copy_others(data, "", 0)?;
    taking.finish(&copy, version, now)
}

/// Copies the database as it is at one moment, whatever is written meanwhile.
fn copy_database(source: &Connection, to: &Path) -> Result<Connection, BackupError> {
    // For its owner alone from the first byte on.
    drop(super::files::create(to.parent().unwrap_or(to), database::FILE)?);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = Connection::open_with_flags(to, flags)?;
    // With a look that stays open all pages are of the same moment, and no writer makes the copy begin again.
    source.execute_batch("BEGIN")?;
    source.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
    let backup = Backup::new(source, &mut copy)?;
    loop {
        match backup.step(PAGES)? {
            StepResult::Done => break,
            StepResult::Busy | StepResult::Locked => std::thread::sleep(BUSY),
            _ => {}
        }
    }
    drop(backup);
    source.execute_batch("COMMIT")?;
    // One file, without a log beside it.
    copy.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))?;
    copy.pragma_update(None, "trusted_schema", false)?;
    copy.pragma_update(None, "foreign_keys", true)?;
    // What is deleted here is not to be found in its free pages.
    copy.pragma_update(None, "secure_delete", true)?;
    // Whoever has logged out since must not be logged in again.
    copy.execute("DELETE FROM sessions", [])?;
    Ok(copy)
}

/// What became of a file that the copy of the database names.
enum Found {
    There(File),
    /// Its entry or capture was deleted since.
    Deleted,
    /// It should be there, and is not.
    Missing,
}

struct Taking<'a> {
    data: &'a Path,
    source: Connection,
    copy: Connection,
    target: Target,
    files: Vec<Listed>,
    taken: Taken,
    progress: &'a Progress,
}

impl Taking<'_> {
    fn check_room(&self, around: &Path) -> Result<(), BackupError> {
        let needed: i64 = self.copy.query_row(
            &format!(
                "SELECT coalesce((SELECT sum(bytes) FROM captures WHERE {KEPT}), 0)
                    + coalesce((SELECT sum(coalesce(result_bytes, 0) + coalesce(index_bytes, 0)) FROM entries), 0)"
            ),
            [],
            |row| row.get(0),
        )?;
        let (needed, free) = (u64::try_from(needed).unwrap_or(0), free_bytes(around)?);
        self.progress.expect(needed);
        if free < needed { Err(BackupError::NoRoom { path: around.to_owned(), free, needed }) } else { Ok(()) }
    }

    /// The file of this name; `is_named` asks the database of now whether it should be there.
    fn find(
        &self,
        name: &Name,
        is_named: impl Fn(&Connection) -> rusqlite::Result<bool>,
    ) -> Result<Found, BackupError> {
        let path = self.data.join(name.as_str());
        for _ in 0..LOOKS {
            match open(&path) {
                Ok(file) => return Ok(Found::There(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(BackupError::at("read", &path)(error)),
            }
            // Rows go before their files: where the row is still there, so should be the file. It may have come back.
            if !is_named(&self.source)? {
                return Ok(Found::Deleted);
            }
        }
        Ok(Found::Missing)
    }

    fn add(&mut self, name: &Name, file: File) -> Result<&Listed, BackupError> {
        let listed = self.target.add(name, file, self.progress)?;
        self.files.push(listed);
        self.files.last().ok_or_else(|| BackupError::Backup("a file that was added is not there".to_owned()))
    }

    fn copy_results(&mut self) -> Result<(), BackupError> {
        for (key, bytes) in self.listed("SELECT key, result_bytes FROM entries WHERE state = 'done'")? {
            let key: Key = key.parse().map_err(|_| DbError::Foreign(format!("the key {key:?}")))?;
            let name = Name::result(&key);
            let is_done = |c: &Connection| {
                c.prepare_cached("SELECT 1 FROM entries WHERE key = ?1 AND state = 'done'")?.exists([key.as_str()])
            };
            match self.find(&name, is_done)? {
                Found::There(file) => {
                    let found = self.add(&name, file)?.bytes;
                    if bytes != Some(found) {
                        self.taken.findings.add(format!("{name} has {found} bytes, and the database says {bytes:?}"));
                    }
                }
                Found::Deleted => self.taken.deleted += self.forget(key.as_str())?,
                Found::Missing => self.taken.findings.add(format!("{name} is not there")),
            }
        }
        for (key, bytes) in self.listed("SELECT key, index_bytes FROM entries WHERE index_bytes IS NOT NULL")? {
            let key: Key = key.parse().map_err(|_| DbError::Foreign(format!("the key {key:?}")))?;
            let name = Name::index(&key);
            // One that is gone, or that another one takes the place of, is made again where somebody needs it.
            let file = open(&self.data.join(name.as_str())).ok();
            let is_same = |file: &File| file.metadata().is_ok_and(|file| bytes == Some(file.len()));
            match file.filter(is_same) {
                Some(file) => drop(self.add(&name, file)?),
                None => {
                    self.copy.execute("UPDATE entries SET index_bytes = NULL WHERE key = ?1", [key.as_str()])?;
                }
            }
        }
        Ok(())
    }

    fn copy_captures(&mut self) -> Result<(), BackupError> {
        for (sha256, bytes) in self.listed(&format!("SELECT sha256, bytes FROM captures WHERE {KEPT}"))? {
            let sha256: Sha256Hex = sha256.parse().map_err(|_| DbError::Foreign(format!("the capture {sha256:?}")))?;
            let name = Name::capture(&sha256);
            let is_kept = |c: &Connection| {
                c.prepare_cached(&format!("SELECT 1 FROM captures WHERE sha256 = ?1 AND {KEPT}"))?
                    .exists([sha256.as_str()])
            };
            match self.find(&name, is_kept)? {
                Found::There(file) => {
                    // A file of another content under this name would be refused later: it is worth nothing.
                    let found = self.add(&name, file)?.clone();
                    if found.sha256 != sha256.as_str() || bytes != Some(found.bytes) {
                        self.files.pop();
                        self.taken.findings.add(format!("{name} is damaged, and not in the backup"));
                    }
                }
                Found::Deleted => self.forget_capture(&sha256)?,
                Found::Missing => self.taken.findings.add(format!("{name} is not there")),
            }
        }
        Ok(())
    }

    /// Everything else that lies in the data folder: the secret, and what other parts keep there.
    fn copy_others(&mut self, folder: &Path, before: &str, depth: usize) -> Result<(), BackupError> {
        let names = fs::read_dir(folder).map_err(BackupError::at("read", folder))?;
        let mut names: Vec<_> = names.collect::<Result<_, _>>().map_err(BackupError::at("read", folder))?;
        names.sort_by_key(fs::DirEntry::file_name);
        for entry in names {
            let Ok(part) = entry.file_name().into_string() else { continue };
            let text = format!("{before}{part}");
            if before.is_empty() && (KNOWN.contains(&&*part) || part == database::FILE) {
                continue;
            }
            let path: PathBuf = entry.path();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && depth < DEPTH {
                self.copy_others(&path, &format!("{text}/"), depth + 1)?;
                continue;
            }
            let Ok(name) = text.parse::<Name>() else {
                if !before.is_empty() || !part.starts_with("portal.sqlite-") && part != super::LOCK {
                    self.taken.findings.add(format!("{} is no file of ours, and left out", path.display()));
                }
                continue;
            };
            match open(&path) {
                Ok(file) => {
                    self.progress.expect(file.metadata().map_or(0, |file| file.len()));
                    self.add(&name, file)?;
                    self.taken.has_secret |= name.as_str() == SECRET;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.taken.findings.add(format!("{} is left out: {error}", path.display())),
            }
        }
        Ok(())
    }

    /// Takes an entry that was deleted meanwhile out of the copy, with what was copied of it; says how many that was.
    fn forget(&mut self, key: &str) -> Result<u64, BackupError> {
        if let Ok(key) = key.parse() {
            // What no list names is not restored.
            let of_it = [Name::result(&key), Name::index(&key)];
            self.files.retain(|listed| !of_it.contains(&listed.path));
        }
        let found: Option<(i64, String)> = self
            .copy
            .query_row("SELECT id, sha256 FROM entries WHERE key = ?1", [key], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((id, sha256)) = found else { return Ok(0) };
        let sha256 = sha256.parse().map_err(|_| DbError::Foreign(format!("the capture {sha256:?}")))?;
        // With what waits to be told of it, as where it was deleted.
        remove_rows(&self.copy, id, &sha256)?;
        Ok(1)
    }

    /// Does in the copy what was done to a capture meanwhile: its entries were deleted with it, or a timer took it and
    /// they go on without.
    fn forget_capture(&mut self, sha256: &Sha256Hex) -> Result<(), BackupError> {
        let of_it = |connection: &Connection| -> rusqlite::Result<HashMap<String, Option<i64>>> {
            let mut found = connection.prepare_cached("SELECT key, capture_gone_at FROM entries WHERE sha256 = ?1")?;
            found.query_map([sha256.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        let (left, copied) = (of_it(&self.source)?, of_it(&self.copy)?);
        for key in copied.into_keys() {
            match left.get(&key) {
                Some(gone_at) => {
                    self.copy.execute(
                        "UPDATE entries SET capture_gone_at = ?2, index_bytes = NULL WHERE key = ?1",
                        params![key, gone_at],
                    )?;
                }
                None => self.taken.deleted += self.forget(&key)?,
            }
        }
        Ok(())
    }

    /// Rows of a name and a number of bytes.
    fn listed(&self, sql: &str) -> Result<Vec<(String, Option<u64>)>, BackupError> {
        let mut rows = self.copy.prepare(sql)?;
        let rows = rows.query_map(params![], |row| Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?)))?;
        let rows = rows.map(|row| row.map(|(name, bytes)| (name, bytes.and_then(|bytes| u64::try_from(bytes).ok()))));
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn finish(mut self, copy: &Path, version: u32, now: i64) -> Result<Taken, BackupError> {
        let entries: i64 = self.copy.query_row("SELECT count(*) FROM entries", [], |row| row.get(0))?;
        self.taken.entries = u64::try_from(entries).unwrap_or(0);
        self.copy.close().map_err(|(_, error)| error)?;
        self.progress.expect(fs::metadata(copy).map_or(0, |file| file.len()));
        self.files.push(self.target.add_database(copy, self.progress)?);
        let manifest = Manifest::new(version, now, self.files);
        self.taken.files = manifest.files.len() as u64;
        self.taken.bytes = manifest.bytes();
        let words = manifest.to_bytes()?;
        if words.len() as u64 > MANIFEST_BYTES {
            return Err(BackupError::Backup(format!("its manifest has more than {MANIFEST_BYTES} bytes")));
        }
        self.target.finish(&words)?;
        Ok(self.taken)
    }
}

/// Folders whose files the database names, or that nothing outlives a restart in.
const KNOWN: [&str; 8] = ["captures", "results", "indexes", "incoming", "partial", "live", "work", super::RESTORING];
