//! Where files live: folders in the data folder, for the portal's eyes only.
//!
//! | folder | what is in it |
//! |---|---|
//! | `incoming` | uploads under way; nothing in it outlives a restart |
//! | `partial` | `KEY`, what has come of the upload with that key, which can be gone on with |
//! | `captures` | what is kept, each content once, under its SHA-256 |
//! | `work` | what workers are writing; nothing in it outlives a restart |
//! | `live` | `KEY.pcapng`, what a live session captures; nothing in it outlives a restart |
//! | `results` | `KEY.sqlite`, the result of the entry with that key |
//! | `indexes` | `KEY`, where the packets of that entry's capture lie; one that is gone is made again |
//! | `tables` | entries of protocol tables that administrators added |
//!
//! A path is made from a [`Key`] or a [`Sha256Hex`] and from nothing else, and both hold hexadecimal digits only.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde::Serialize;
use thiserror::Error;
use veilwatch::hash::hex;

use crate::accounts::{Reason, Refused};
use crate::database::DbError;
use crate::entries::{WHY_CAPTURE_MISSING, WHY_RESULT_MISSING};
use crate::secret::{SecretError, random_bytes};

/// Random bytes in a key: 128 bits cannot be guessed.
const KEY_BYTES: usize = 16;
/// Bytes of a SHA-256.
const HASH_BYTES: usize = 32;
/// Files that SQLite puts beside a database.
const SIDE_FILES: [&str; 3] = ["-journal", "-wal", "-shm"];

/// A file or folder of the portal's own does not do what it should.
#[derive(Debug, Error)]
#[error("{} cannot be {what}: {source}; check the data folder, its disk and its owner", path.display())]
pub struct FileError {
    /// What was tried, as in "cannot be written".
    pub what: &'static str,
    /// Which file or folder.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

impl FileError {
    pub(super) fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { what, path: path.to_owned(), source }
    }
}

fn is_hex(text: &str, bytes: usize) -> bool {
    text.len() == 2 * bytes && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
}

macro_rules! hex_name {
    ($(#[$words:meta])* $name:ident, $bytes:expr) => {
        $(#[$words])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Its digits.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Reason;

            fn from_str(text: &str) -> Result<Self, Reason> {
                if is_hex(text, $bytes) { Ok(Self(text.to_owned())) } else { Err(Reason::NotThere) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

hex_name! {
    /// What names an entry in addresses and files: 32 random hexadecimal digits.
    Key, KEY_BYTES
}
hex_name! {
    /// The SHA-256 of a capture as 64 lower case hexadecimal digits.
    Sha256Hex, HASH_BYTES
}

impl Key {
    /// A new key.
    ///
    /// # Errors
    /// Where the system gives no random bytes.
    pub fn random() -> Result<Self, SecretError> {
        Ok(Self(hex(&random_bytes::<KEY_BYTES>()?)))
    }
}

impl Sha256Hex {
    /// The text of these bytes.
    pub fn of(bytes: &[u8; HASH_BYTES]) -> Self {
        Self(hex(bytes))
    }
}

/// The portal's folders.
#[derive(Clone, Debug)]
pub struct Folders {
    incoming: PathBuf,
    partial: PathBuf,
    captures: PathBuf,
    work: PathBuf,
    live: PathBuf,
    results: PathBuf,
    indexes: PathBuf,
    tables: PathBuf,
}

impl Folders {
    /// Makes the folders that are not there, and shuts all of them to others.
    ///
    /// # Errors
    /// Where one cannot be made.
    pub fn make(data: &Path) -> Result<Self, FileError> {
        let make = |name: &str| {
            let path = data.join(name);
            DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(FileError::at("made", &path))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700))
                .map_err(FileError::at("shut to others", &path))?;
            Ok(path)
        };
        Ok(Self {
            incoming: make("incoming")?,
            partial: make("partial")?,
            captures: make("captures")?,
            work: make("work")?,
            live: make("live")?,
            results: make("results")?,
            indexes: make("indexes")?,
            tables: make("tables")?,
        })
    }

    /// Where a kept capture is.
    pub fn capture(&self, sha256: &Sha256Hex) -> PathBuf {
        self.captures.join(sha256.as_str())
    }

    /// The folder of the tables that were added.
    pub fn tables(&self) -> &Path {
        &self.tables
    }

    /// Where an entry's result is.
    pub fn result(&self, key: &Key) -> PathBuf {
        self.results.join(format!("{key}.sqlite"))
    }

    /// Where the index of an entry's capture is, if it was made.
    pub fn index(&self, key: &Key) -> PathBuf {
        self.indexes.join(key.as_str())
    }

    /// Where a live session captures into; the file is made by its child.
    pub fn live(&self, key: &Key) -> PathBuf {
        self.live.join(format!("{key}.pcapng"))
    }

    /// Removes the index of an entry's capture; that there is none is fine.
    ///
    /// # Errors
    /// Where it is there and cannot be removed.
    pub fn remove_index(&self, key: &Key) -> Result<(), FileError> {
        remove_file(&self.index(key))
    }

    /// A new, empty, private file for a worker to write.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn new_work_file(&self) -> Result<(File, PathBuf), FileError> {
        new_file(&self.work)
    }

    /// A new, empty, private file for an upload.
    pub(super) fn new_incoming_file(&self) -> Result<(File, PathBuf), FileError> {
        new_file(&self.incoming)
    }

    /// Where the bytes of an upload are that can be gone on with.
    pub(super) fn partial(&self, key: &Key) -> PathBuf {
        self.partial.join(key.as_str())
    }

    /// A new, empty, private file for an upload that can be gone on with: it is there after a power cut.
    pub(super) fn new_partial_file(&self) -> Result<(Key, PathBuf), FileError> {
        let (_, path) = new_file(&self.partial)?;
        sync_folder(&self.partial)?;
        let key = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        let key = key.ok_or_else(|| FileError::at("named", &path)(io::ErrorKind::InvalidData.into()))?;
        Ok((key, path))
    }

    /// The same as [`Folders::place`], but the source stays where it is until somebody removes it: where the portal ends
    /// before the database knows of the new place, nothing is lost.
    pub(super) fn place_beside(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        remove_file(to)?;
        // There are disks on which a file has one name only.
        fs::hard_link(from, to)
            .or_else(|_| fs::rename(from, to))
            .map_err(FileError::at("moved into its place", from))?;
        sync_folder(to.parent().unwrap_or(to))
    }

    /// Puts a whole file into its place for good: it is there after a power cut. The source must be in the data folder,
    /// and its content must have reached the disk (`sync_all`).
    ///
    /// # Errors
    /// Where it cannot be moved.
    pub fn place(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        fs::rename(from, to).map_err(FileError::at("moved into its place", from))?;
        sync_folder(to.parent().unwrap_or(to))
    }

    /// Removes an entry's result and what SQLite put beside it; that there is none is fine.
    ///
    /// # Errors
    /// Where it is there and cannot be removed.
    pub fn remove_result(&self, key: &Key) -> Result<(), FileError> {
        remove_file(&self.result(key))?;
        SIDE_FILES.iter().try_for_each(|end| remove_file(&self.results.join(format!("{key}.sqlite{end}"))))
    }

    /// Brings to the disk that files of entries were removed: after a power cut they are not there again.
    ///
    /// # Errors
    /// Where a folder cannot be opened or written.
    pub fn forget(&self) -> Result<(), FileError> {
        [&self.captures, &self.results, &self.indexes].into_iter().try_for_each(|folder| {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(FileError::at("brought to disk", folder))
        })
    }

    /// Bytes that are free on the disk of the uploads, as far as the portal may use them.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(&self.incoming)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Whether there is any capture or result.
    ///
    /// # Errors
    /// Where a folder cannot be read.
    pub fn has_files(&self) -> Result<bool, FileError> {
        for name in names(&self.captures)? {
            if capture_of(&name?).is_some() {
                return Ok(true);
            }
        }
        for name in names(&self.results)? {
            if result_of(&name?).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many captures and results the database knows nothing of: [`Folders::sweep`] would remove them.
    ///
    /// # Errors
    /// Where a folder cannot be read, or the database fails.
    pub fn nobodys(&self, connection: &Connection) -> Result<u64, Refused> {
        let mut count = 0;
        for name in names(&self.captures)? {
            if let Some(sha256) = capture_of(&name?) {
                count += u64::from(!is_kept(connection, &sha256)?);
            }
        }
        for name in names(&self.results)? {
            if let Some(key) = result_of(&name?) {
                count += u64::from(!is_done(connection, &key)?);
            }
        }
        Ok(count)
    }

    /// Mends what a crash left. Call it once at the start, before anything is received and before any worker runs:
    /// uploads, live sessions and results in the making are taken away, as are captures that no entry names and results whose entry is
    /// gone or not done. An entry that waits for a capture that is gone fails, and so does one that lost its result.
    ///
    /// # Errors
    /// Where a folder cannot be read or cleaned, or the database fails.
    pub fn sweep(&self, connection: &mut Connection, now: i64) -> Result<Swept, Refused> {
        let mut swept = Swept::default();
        for folder in [&self.incoming, &self.work, &self.live] {
            for name in names(folder)? {
                let path = folder.join(name?);
                if path.is_dir() {
                    swept.foreign.push(path);
                } else {
                    remove_file(&path)?;
                    swept.unfinished += 1;
                }
            }
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("DELETE FROM captures WHERE sha256 NOT IN (SELECT sha256 FROM entries)", [])?;
        self.fail_the_robbed(&transaction, now, &mut swept)?;
        // Rows first: were the files first, a crash in between would leave entries without their capture.
        transaction.commit()?;
        for name in names(&self.captures)? {
            let name = name?;
            match capture_of(&name) {
                Some(sha256) if is_kept(connection, &sha256)? => {}
                Some(sha256) => {
                    remove_file(&self.capture(&sha256))?;
                    swept.captures += 1;
                }
                _ => swept.foreign.push(self.captures.join(name)),
            }
        }
        for name in names(&self.results)? {
            let name = name?;
            match name.to_str().and_then(|name| name.split('.').next()).map(str::parse::<Key>) {
                Some(Ok(key)) if is_done(connection, &key)? => {}
                Some(Ok(_)) => {
                    remove_file(&self.results.join(name))?;
                    swept.results += 1;
                }
                _ => swept.foreign.push(self.results.join(name)),
            }
        }
        self.sweep_indexes(connection, &mut swept)?;
        self.sweep_partial(connection, &mut swept)?;
        Ok(swept)
    }

    /// Indexes that no entry counts, and entries that count one that is not there.
    fn sweep_indexes(&self, connection: &Connection, swept: &mut Swept) -> Result<(), Refused> {
        let mut there = BTreeSet::new();
        for name in names(&self.indexes)? {
            let name = name?;
            match name.to_str().map(str::parse::<Key>) {
                Some(Ok(key)) if has_index(connection, &key)? => drop(there.insert(key)),
                Some(Ok(key)) => {
                    self.remove_index(&key)?;
                    swept.indexes += 1;
                }
                _ => swept.foreign.push(self.indexes.join(name)),
            }
        }
        let mut counted = connection.prepare("SELECT key FROM entries WHERE index_bytes IS NOT NULL")?;
        let counted: Vec<String> = counted.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for key in counted.iter().filter(|key| !key.parse().is_ok_and(|key: Key| there.contains(&key))) {
            connection.execute("UPDATE entries SET index_bytes = NULL WHERE key = ?1", [key])?;
        }
        Ok(())
    }

    /// Uploads that can be gone on with: files that none of them has, and those whose file is gone or lost its end.
    fn sweep_partial(&self, connection: &Connection, swept: &mut Swept) -> Result<(), Refused> {
        let mut open = connection.prepare("SELECT key, kept FROM uploads WHERE state = 'open'")?;
        let mut open: BTreeMap<String, i64> =
            open.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        for name in names(&self.partial)? {
            let name = name?;
            match name.to_str().map(str::parse::<Key>) {
                Some(Ok(key)) => {
                    let there = fs::metadata(self.partial(&key)).map_or(0, |there| there.len());
                    match open.remove(key.as_str()) {
                        Some(kept) if u64::try_from(kept).is_ok_and(|kept| there >= kept) => continue,
                        Some(_) => connection.execute("DELETE FROM uploads WHERE key = ?1", [key.as_str()])?,
                        None => 0,
                    };
                    remove_file(&self.partial(&key))?;
                    swept.partial += 1;
                }
                _ => swept.foreign.push(self.partial.join(name)),
            }
        }
        for key in open.keys() {
            swept.partial += connection.execute("DELETE FROM uploads WHERE key = ?1", [key])?;
        }
        Ok(())
    }

    /// Entries whose files are gone.
    fn fail_the_robbed(&self, connection: &Connection, now: i64, swept: &mut Swept) -> Result<(), Refused> {
        let fail = |state: &str, column: &str| {
            format!(
                "UPDATE entries SET state = 'failed', why = ?3, words = NULL, ended_at = ?2
                    WHERE state IN ({state}) AND {column} = ?1 RETURNING key"
            )
        };
        let mut kept = connection.prepare(
            "SELECT sha256, bytes FROM captures
                WHERE sha256 IN (SELECT sha256 FROM entries WHERE capture_gone_at IS NULL)",
        )?;
        let mut robbed = connection.prepare(&fail("'unconfirmed', 'queued', 'running'", "sha256"))?;
        let mut rows = kept.query([])?;
        while let Some(row) = rows.next()? {
            let (text, bytes): (String, i64) = (row.get(0)?, row.get(1)?);
            let sha256: Sha256Hex = text.parse().map_err(|_| DbError::Foreign(format!("the capture {text:?}")))?;
            let there = fs::metadata(self.capture(&sha256)).ok().filter(fs::Metadata::is_file);
            if there.is_some_and(|there| i64::try_from(there.len()) == Ok(bytes)) {
                continue;
            }
            let keys = robbed.query_map(params![sha256.as_str(), now, WHY_CAPTURE_MISSING], |row| row.get(0))?;
            for key in keys {
                swept.failed.push(key?);
            }
            swept.captures_missing.push(sha256);
        }
        let mut done = connection.prepare("SELECT key FROM entries WHERE state = 'done'")?;
        let done: Vec<String> = done.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let mut robbed = connection.prepare(&fail("'done'", "key"))?;
        for text in done {
            let key: Key = text.parse().map_err(|_| DbError::Foreign(format!("the key {text:?}")))?;
            if !self.result(&key).is_file() {
                let key =
                    robbed.query_row(params![key.as_str(), now, WHY_RESULT_MISSING], |row| row.get(0)).optional()?;
                swept.failed.extend(key);
            }
        }
        Ok(())
    }
}

/// What a sweep found, for the operator's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Uploads and results in the making that were taken away.
    pub unfinished: usize,
    /// Captures that no entry names.
    pub captures: usize,
    /// Results whose entry is gone or not done.
    pub results: usize,
    /// Indexes that no entry counts.
    pub indexes: usize,
    /// Uploads that can be gone on with, of which the file or the row is gone.
    pub partial: usize,
    /// Keys of entries that failed because their capture or their result is gone.
    pub failed: Vec<String>,
    /// Captures whose file is gone or of another length.
    pub captures_missing: Vec<Sha256Hex>,
    /// Files that the portal never put there; they are left alone.
    pub foreign: Vec<PathBuf>,
}

/// Whether an entry needs this capture: those whose capture was deleted do without it, whoever else has it.
pub(super) fn is_kept(connection: &Connection, sha256: &Sha256Hex) -> Result<bool, DbError> {
    let mut found = connection.prepare_cached("SELECT 1 FROM entries WHERE sha256 = ?1 AND capture_gone_at IS NULL")?;
    Ok(found.exists([sha256.as_str()])?)
}

fn is_done(connection: &Connection, key: &Key) -> Result<bool, DbError> {
    Ok(connection.prepare_cached("SELECT 1 FROM entries WHERE key = ?1 AND state = 'done'")?.exists([key.as_str()])?)
}

fn has_index(connection: &Connection, key: &Key) -> Result<bool, DbError> {
    let mut found = connection.prepare_cached("SELECT 1 FROM entries WHERE key = ?1 AND index_bytes IS NOT NULL")?;
    Ok(found.exists([key.as_str()])?)
}

/// A new file under a random name; never one that is there, never through a link.
fn new_file(folder: &Path) -> Result<(File, PathBuf), FileError> {
    let key = Key::random().map_err(|error| FileError::at("written", folder)(io::Error::other(error)))?;
    let path = folder.join(key.as_str());
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
    Ok((file.map_err(FileError::at("made", &path))?, path))
}

/// Brings the names in a folder to the disk.
fn sync_folder(folder: &Path) -> Result<(), FileError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(FileError::at("brought to disk", folder))
}

/// Removes a file; that there is none is fine.
pub(super) fn remove_file(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::at("removed", path)(error)),
        _ => Ok(()),
    }
}

/// The capture that a file of this name is.
fn capture_of(name: &OsStr) -> Option<Sha256Hex> {
    name.to_str()?.parse().ok()
}

/// The key of the entry whose result a file of this name is.
fn result_of(name: &OsStr) -> Option<Key> {
    name.to_str()?.strip_suffix(".sqlite")?.parse().ok()
}

/// The names in a folder.
fn names(folder: &Path) -> Result<impl Iterator<Item = Result<OsString, FileError>>, FileError> {
    let owner = folder.to_owned();
    let entries = fs::read_dir(folder).map_err(FileError::at("read", folder))?;
    Ok(entries.map(move |entry| entry.map(|entry| entry.file_name()).map_err(FileError::at("read", &owner))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entries::{State, find};
    use crate::uploads::testing::Place;

    #[test]
    fn the_folders_are_shut_to_others_even_if_they_were_open() {
        let data = tempfile::tempdir().unwrap();
        let open = data.path().join("captures");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        Folders::make(data.path()).unwrap();
        for name in ["incoming", "partial", "captures", "work", "results", "indexes"] {
            let mode = fs::metadata(data.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{name}");
        }
    }

    #[test]
    fn paths_are_made_from_hexadecimal_digits_only() {
        let good = "0123456789abcdef0123456789abcdef";
        assert!(good.parse::<Key>().is_ok() && format!("{good}{good}").parse::<Sha256Hex>().is_ok());
        for bad in ["", "..", "../../etc/passwd", &good.to_uppercase(), &good[1..], &format!("{}/", &good[1..])] {
            assert!(bad.parse::<Key>().is_err(), "{bad}");
            assert!(bad.parse::<Sha256Hex>().is_err(), "{bad}");
        }
        assert!(format!("{}\n", &good[1..]).parse::<Key>().is_err());
        assert_ne!(Key::random().unwrap(), Key::random().unwrap());
        assert!(Key::random().unwrap().as_str().parse::<Key>().is_ok());
    }

    #[test]
    fn a_new_file_is_private() {
        let place = Place::new();
        let (_, path) = place.folders.new_work_file().unwrap();
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_sweep_takes_away_what_nothing_names_and_nothing_else() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let waits = place.keep(ada, b"one");
        let done = place.keep(ada, b"two");
        place.done(&done);
        let gone = Key::random().unwrap();
        let data = place.folder.path().to_owned();
        let stray = [
            data.join("incoming/half"),
            data.join("work/half"),
            place.folders.capture(&Sha256Hex::of(&[7; 32])),
            place.folders.result(&gone),
            data.join(format!("results/{gone}.sqlite-wal")),
            place.folders.result(&waits),
        ];
        let foreign = [data.join("incoming/sub"), data.join("captures/README"), data.join("results/README")];
        stray.iter().chain(&foreign[1..]).for_each(|path| fs::write(path, "x").unwrap());
        fs::create_dir(&foreign[0]).unwrap();

        let swept = place.folders.sweep(&mut place.connection, 50).unwrap();
        assert_eq!((swept.unfinished, swept.captures, swept.results), (2, 1, 3));
        assert_eq!(swept.foreign, foreign);
        assert_eq!((swept.failed, swept.captures_missing), (vec![], vec![]));
        assert!(stray.iter().all(|path| !path.exists()) && foreign.iter().all(|path| path.exists()));
        for (key, state) in [(&waits, State::Unconfirmed), (&done, State::Done)] {
            let entry = find(&place.connection, ada, key.as_str()).unwrap().unwrap();
            assert_eq!(entry.state, state);
            assert!(place.folders.capture(&entry.sha256).exists());
        }
        assert!(place.folders.result(&done).exists());
        let again = place.folders.sweep(&mut place.connection, 51).unwrap();
        assert_eq!(again, Swept { foreign: foreign.to_vec(), ..Swept::default() });
    }

    #[test]
    fn an_entry_whose_capture_or_result_is_gone_fails_and_says_why() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let keys = [b"lost", b"cut!", b"done", b"robb", b"well"].map(|bytes| place.keep(ada, bytes));
        let entry = |place: &Place, at: usize| find(&place.connection, ada, keys[at].as_str()).unwrap().unwrap();
        let capture = |place: &Place, at: usize| place.folders.capture(&entry(place, at).sha256);
        fs::remove_file(capture(&place, 0)).unwrap();
        fs::write(capture(&place, 1), "cut").unwrap();
        place.done(&keys[2]);
        fs::remove_file(capture(&place, 2)).unwrap();
        place.done(&keys[3]);
        fs::remove_file(place.folders.result(&keys[3])).unwrap();

        let mut swept = place.folders.sweep(&mut place.connection, 77).unwrap();
        let mut lost: Vec<_> = [0, 1, 2].map(|at| entry(&place, at).sha256).into();
        lost.sort();
        swept.captures_missing.sort();
        assert_eq!(swept.captures_missing, lost);
        let mut failed: Vec<_> = [0, 1, 3].map(|at| keys[at].to_string()).into();
        failed.sort();
        swept.failed.sort();
        assert_eq!(swept.failed, failed);
        let fate = |at| {
            let entry = entry(&place, at);
            (entry.state, entry.why, entry.ended_at)
        };
        let missing = |why: &str| (State::Failed, Some(why.to_owned()), Some(77));
        assert_eq!([fate(0), fate(1)], [missing(WHY_CAPTURE_MISSING), missing(WHY_CAPTURE_MISSING)]);
        assert_eq!(fate(2).0, State::Done, "its result is there");
        assert_eq!(fate(3), missing(WHY_RESULT_MISSING));
        assert_eq!(fate(4).0, State::Unconfirmed);
    }
}
