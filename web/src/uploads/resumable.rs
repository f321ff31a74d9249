//! Uploads that go on after they were broken off: by a lost connection, by a closed page, by the end of the portal.
//!
//! A row says how many bytes have come, a file has them. Bytes are written, then brought to the disk, and only then
//! counted in the row: so the row may say too little, after a crash, and never too much. What stands behind the counted
//! bytes is cut off before the next ones come. The SHA-256 is made at the end, of what is on the disk.

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rocket::tokio::io::AsyncRead;
use rocket::tokio::runtime::Handle;
use rocket::tokio::task::spawn_blocking;
use rocket::tokio::time::{Duration, Instant};
use rusqlite::{Connection, Row, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::folders::{FileError, Key, Sha256Hex, remove_file};
use super::intake::{Intake, Outcome, Refusal, ours};
use super::receive::{LOOK_AGAIN, PIECE, ReceiveLimits, Received, UploadError, fill, joined};
use super::store::{goes_beyond, one_more_entry};
use super::{Folders, UnderWay, Upload, shown_name};
use crate::accounts::{Actor, Reason, Refused, Role};
use crate::config::{DEFAULT_PIPELINE, Limits};
use crate::database::{Db, DbError};
use crate::entries::Choices;

/// Bytes after which what came is brought to the disk and counted: the most that a crash costs.
const SETTLED: u64 = 4 << 20;
/// The most bytes of the description that an upload may bring along.
pub const MAX_METADATA: usize = 4096;
/// Uploads of one account that became nothing and are still told of, until they are forgotten.
const REFUSED: u32 = 100;
/// The most pairs in it.
const MAX_PAIRS: usize = 32;

/// How far an upload has come.
#[derive(Clone, Debug)]
pub enum Stage {
    /// Bytes are missing, or the look at it is.
    Open,
    /// It became the entry with this key.
    Done(String),
    /// It became nothing.
    Refused(Box<Refusal>),
}

/// How to confirm what an upload becomes, so that it is analysed without another word.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Confirmation {
    /// The pipeline; the one in the box where none is named.
    pub pipeline: Option<String>,
    /// Packets after which the analysis stops.
    pub packets: Option<u64>,
    /// What to say of it.
    pub note: String,
}

impl From<Confirmation> for Choices {
    fn from(wish: Confirmation) -> Self {
        let pipeline = wish.pipeline.unwrap_or_else(|| DEFAULT_PIPELINE.to_owned());
        Self { pipeline, packet_limit: wish.packets, note: wish.note, category: None, team: None }
    }
}

/// An upload that is to begin.
#[derive(Clone, Debug)]
pub struct NewResumable {
    /// Its bytes.
    pub length: u64,
    /// Its description, as it was given.
    pub metadata: Option<Metadata>,
    /// What its file is called, where the description does not say.
    pub name: String,
    /// How to confirm it; its owner is asked where there is none.
    pub confirmation: Option<Confirmation>,
}

/// What a program says of an upload: pairs of a name and a value in Base64 (`Upload-Metadata`).
#[derive(Clone, Debug)]
pub struct Metadata {
    text: String,
    pairs: BTreeMap<String, Vec<u8>>,
}

impl Metadata {
    /// Reads such a header; none where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_METADATA {
            return None;
        }
        let mut pairs = BTreeMap::new();
        for pair in text.split(',').map(str::trim) {
            let (name, value) = pair.split_once(' ').unwrap_or((pair, ""));
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
            let value = BASE64_STANDARD.decode(value.trim()).ok()?;
            if !is_name || pairs.len() == MAX_PAIRS || pairs.insert(name.to_owned(), value).is_some() {
                return None;
            }
        }
        Some(Self { text: text.to_owned(), pairs })
    }

    fn text(&self, names: &[&str]) -> Option<String> {
        let value = names.iter().find_map(|name| self.pairs.get(*name))?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

/// One upload. Times are seconds since 1970.
#[derive(Clone, Debug)]
pub struct Resumable {
    /// Its number.
    pub id: i64,
    /// Names it in addresses.
    pub key: Key,
    /// Whose it is.
    pub account_id: i64,
    /// Where it was begun from.
    pub address: String,
    /// What its file is called.
    pub name: String,
    /// Its description, as it was given.
    pub metadata: Option<String>,
    /// When the file was last changed, as the page's script says.
    pub modified: Option<String>,
    /// Its bytes.
    pub length: u64,
    /// Those that are on the disk.
    pub kept: u64,
    /// How to confirm it.
    pub confirmation: Option<Confirmation>,
    /// How far it has come.
    pub stage: Stage,
    /// When it is forgotten, unless more of it comes.
    pub expires_at: i64,
}

fn read(row: &Row<'_>) -> Result<Resumable, DbError> {
    let key: String = row.get("key")?;
    let foreign = |what: &str| DbError::Foreign(format!("the {what} of upload {key:?}"));
    let count = |column: &str| u64::try_from(row.get::<_, i64>(column)?).map_err(|_| foreign(column));
    let json = |column: &str| row.get::<_, Option<String>>(column);
    let stage = match row.get::<_, String>("state")?.as_str() {
        "open" => Stage::Open,
        "done" => Stage::Done(row.get("entry")?),
        _ => {
            let refusal = json("refusal")?.and_then(|text| serde_json::from_str(&text).ok());
            Stage::Refused(refusal.ok_or_else(|| foreign("refusal"))?)
        }
    };
    let confirmation = json("choices")?.map(|text| serde_json::from_str(&text));
    Ok(Resumable {
        id: row.get("id")?,
        account_id: row.get("account_id")?,
        address: row.get("address")?,
        name: row.get("name")?,
        metadata: row.get("metadata")?,
        modified: row.get("modified")?,
        length: count("length")?,
        kept: count("kept")?,
        confirmation: confirmation.transpose().map_err(|_| foreign("choices"))?,
        stage,
        expires_at: row.get("expires_at")?,
        key: key.parse().map_err(|_| foreign("key"))?,
    })
}

/// An upload of this account that is not forgotten.
///
/// # Errors
/// Where there is none, or the database fails.
pub fn find(connection: &Connection, account: i64, key: &str, now: i64) -> Result<Resumable, Refused> {
    let mut found =
        connection.prepare_cached("SELECT * FROM uploads WHERE account_id = ?1 AND key = ?2 AND expires_at > ?3")?;
    let mut found = found.query_and_then(params![account, key, now], read)?;
    Ok(found.next().transpose()?.ok_or(Reason::NotThere)?)
}

/// This account's uploads that can be gone on with, the oldest first.
///
/// # Errors
/// Where the database fails.
pub fn unfinished(connection: &Connection, account: i64, now: i64) -> Result<Vec<Resumable>, DbError> {
    let mut open = connection.prepare_cached(
        "SELECT * FROM uploads WHERE account_id = ?1 AND state = 'open' AND expires_at > ?2 ORDER BY id",
    )?;
    open.query_and_then(params![account, now], read)?.collect()
}

/// Begins an upload: its room is taken from the quota from now on. `noted` is told its key, in the transaction that makes
/// it.
///
/// # Errors
/// Where it would be empty or too large, there is no room for it, there are as many as there may be, or the database or
/// the disk fails.
pub fn begin(
    connection: &mut Connection,
    folders: &Folders,
    new: &NewResumable,
    (account, actor): (i64, &Actor),
    limits: &Limits,
    now: i64,
    noted: impl FnOnce(&Connection, &Key) -> Result<(), Refused>,
) -> Result<Resumable, Refused> {
    if new.length == 0 {
        return Err(Reason::UploadEmpty.into());
    }
    let length = i64::try_from(new.length).map_err(|_| Reason::UploadTooLarge)?;
    let name = new.metadata.as_ref().and_then(|given| given.text(&["filename", "name"]));
    let name = shown_name(name.as_deref().unwrap_or(&new.name));
    let modified = new.metadata.as_ref().and_then(|given| given.text(&["modified"]));
    let modified = modified.filter(|text| text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit()));
    let choices = new.confirmation.as_ref().map(serde_json::to_string).transpose();
    let choices = choices.map_err(|error| DbError::Foreign(format!("a confirmation that is no JSON ({error})")))?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    one_more_entry(&transaction, account, limits.entries)?;
    let open: u32 = transaction.query_row(
        "SELECT count(*) FROM uploads WHERE account_id = ?1 AND state = 'open'",
        [account],
        |row| row.get(0),
    )?;
    if open >= limits.unfinished_uploads {
        return Err(Reason::TooManyUnfinished.into());
    }
    if goes_beyond(&transaction, account, new.length, limits.quota_bytes)? {
        return Err(Reason::Quota.into());
    }
    let (key, path) = folders.new_partial_file()?;
    let write = || -> Result<Resumable, Refused> {
        transaction.execute(
            "INSERT INTO uploads (key, account_id, address, name, metadata, modified, length, choices, created_at,
                expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                key.as_str(),
                account,
                actor.address,
                name,
                new.metadata.as_ref().map(|given| &given.text),
                modified,
                length,
                choices,
                now,
                now.saturating_add(limits.unfinished_seconds),
            ],
        )?;
        let begun = find(&transaction, account, key.as_str(), now)?;
        noted(&transaction, &key)?;
        transaction.commit()?;
        Ok(begun)
    };
    write().inspect_err(|_| drop(std::fs::remove_file(path)))
}

/// Ends an upload for good; the entry that it became stays.
///
/// # Errors
/// Where its file cannot be removed, or the database fails.
pub fn remove(connection: &Connection, folders: &Folders, upload: &Resumable) -> Result<(), Refused> {
    connection.execute("DELETE FROM uploads WHERE id = ?1", [upload.id])?;
    remove_file(&folders.partial(&upload.key))?;
    Ok(())
}

/// Uploads whose rows are gone. Nobody can go on with them; their files are removed by whoever holds this, who has given
/// the database back before: large files take their time.
#[must_use]
pub struct Forgotten {
    keys: Vec<Key>,
    _held: Vec<Held>,
}

impl Forgotten {
    /// Removes their files; says how many there were. What stays behind goes at the next start.
    ///
    /// # Errors
    /// Where one cannot be removed.
    pub fn remove_files(self, folders: &Folders) -> Result<usize, FileError> {
        remove_files(folders, &self.keys)?;
        Ok(self.keys.len())
    }

    /// The same, on a thread that may block.
    ///
    /// # Errors
    /// Where one cannot be removed.
    pub async fn remove(self, folders: &Folders) -> Result<usize, FileError> {
        let folders = folders.clone();
        spawn_blocking(move || self.remove_files(&folders)).await.unwrap_or_else(|error| {
            tracing::error!(%error, "files of uploads stay behind until the next start");
            Ok(0)
        })
    }
}

/// Forgets uploads that nobody has gone on with for too long.
///
/// # Errors
/// Where the database fails.
pub fn forget(connection: &Connection, writing: &Writing, now: i64) -> Result<Forgotten, DbError> {
    let mut old = connection.prepare_cached("SELECT * FROM uploads WHERE expires_at <= ?1 LIMIT 100")?;
    let old: Vec<Resumable> = old.query_and_then([now], read)?.collect::<Result<_, _>>()?;
    let (mut keys, mut all_held) = (Vec::new(), Vec::new());
    for upload in old {
        if let Some(held) = writing.enter(upload.id) {
            connection.execute("DELETE FROM uploads WHERE id = ?1", [upload.id])?;
            keys.push(upload.key);
            all_held.push(held);
        }
    }
    Ok(Forgotten { keys, _held: all_held })
}

/// The keys of an account's uploads, for whoever deletes the account: its rows go with it, the files do not.
///
/// # Errors
/// Where the database fails.
pub fn keys_of(connection: &Connection, account: i64) -> Result<Vec<Key>, DbError> {
    let mut statement = connection.prepare_cached("SELECT * FROM uploads WHERE account_id = ?1")?;
    statement.query_and_then([account], |row| read(row).map(|upload| upload.key))?.collect()
}

/// Removes what came of uploads whose rows are gone.
///
/// # Errors
/// Where a file cannot be removed.
pub fn remove_files(folders: &Folders, keys: &[Key]) -> Result<(), FileError> {
    keys.iter().try_for_each(|key| remove_file(&folders.partial(key)))
}

/// Whose bytes are being written just now: one writer alone goes on with an upload.
#[derive(Clone, Debug, Default)]
pub struct Writing(Arc<Mutex<HashSet<i64>>>);

impl Writing {
    /// Takes the upload of this number; none where somebody has it.
    pub fn enter(&self, id: i64) -> Option<Held> {
        let is_free = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        is_free.then(|| Held { all: self.clone(), id })
    }
}

/// An upload that somebody goes on with, until this is dropped.
#[derive(Debug)]
pub struct Held {
    all: Writing,
    id: i64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// The checksum that a piece must have.
#[derive(Clone, Debug)]
pub struct Checksum {
    hasher: Hasher,
    expected: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Hasher {
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Checksum {
    /// The names that [`Checksum::parse`] knows; the protocol wants the first.
    pub const ALGORITHMS: &str = "sha1,sha256";

    /// Reads `sha256 BASE64`; none where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, value) = text.trim().split_once(' ')?;
        let (hasher, bytes) = match name {
            "sha1" => (Hasher::Sha1(Sha1::new()), 20),
            "sha256" => (Hasher::Sha256(Sha256::new()), 32),
            _ => return None,
        };
        let expected = BASE64_STANDARD.decode(value.trim()).ok()?;
        (expected.len() == bytes).then_some(Self { hasher, expected })
    }

    fn update(&mut self, bytes: &[u8]) {
        match &mut self.hasher {
            Hasher::Sha1(hasher) => hasher.update(bytes),
            Hasher::Sha256(hasher) => hasher.update(bytes),
        }
    }

    fn fits(self) -> bool {
        match self.hasher {
            Hasher::Sha1(hasher) => hasher.finalize().as_slice() == self.expected,
            Hasher::Sha256(hasher) => hasher.finalize().as_slice() == self.expected,
        }
    }
}

/// Why an upload was not gone on with.
#[derive(Debug)]
pub enum AppendError {
    /// The file lost what was on the disk: it can never be whole.
    Lost,
    /// The piece is not what its checksum says; nothing of it is kept.
    Checksum,
    /// More came than was to come; nothing of it is kept.
    TooMuch,
    /// What any upload may end with. What came is kept.
    Upload(UploadError),
}

impl From<UploadError> for AppendError {
    fn from(error: UploadError) -> Self {
        Self::Upload(error)
    }
}

/// Goes on with an upload: what `reader` gives comes behind the bytes that are kept. Says how many there are then, which
/// is what came up to where the connection broke.
///
/// # Errors
/// See [`AppendError`].
pub async fn append(
    intake: &Intake,
    upload: &Resumable,
    held: Held,
    mut reader: impl AsyncRead + Unpin,
    checksum: Option<Checksum>,
) -> Result<(u64, Held), AppendError> {
    let limits = ReceiveLimits::from(&intake.config.limits);
    let end = Instant::now().checked_add(limits.whole);
    // A time that far away is none.
    let end = end.unwrap_or_else(|| Instant::now() + Duration::from_secs(366 * 24 * 3600));
    let mut tail = spawn_blocking({
        let (intake, upload) = (intake.clone(), upload.clone());
        move || Tail::open(&intake, &upload, held, checksum)
    })
    .await
    .unwrap_or_else(|error| Err(UploadError::Io(std::io::Error::other(error)).into()))?;
    let mut piece = Vec::with_capacity(PIECE);
    loop {
        let filled = fill(&mut reader, &mut piece, limits.idle, end).await;
        if piece.len() as u64 > upload.length - tail.at {
            joined(spawn_blocking(move || tail.take_back())).await?;
            return Err(AppendError::TooMuch);
        }
        (tail, piece) = joined(spawn_blocking(move || tail.write(piece))).await?;
        match filled {
            Ok(false) => {}
            Ok(true) => break,
            Err(error) => {
                // With a checksum only a whole piece counts.
                joined(spawn_blocking(move || tail.settle())).await?;
                return Err(error.into());
            }
        }
    }
    spawn_blocking(move || tail.finish())
        .await
        .unwrap_or_else(|error| Err(UploadError::Io(std::io::Error::other(error)).into()))
}

/// The end of an upload's file, on threads that may block. Dropped in the middle, it counts what came.
struct Tail {
    file: File,
    db: Db,
    folders: Folders,
    under_way: UnderWay,
    id: i64,
    held: Option<Held>,
    checksum: Option<Checksum>,
    /// Bytes that were there before.
    from: u64,
    /// Bytes that are written.
    at: u64,
    /// Bytes that are counted in the row.
    kept: u64,
    /// Bytes since the disk was looked at.
    unseen: u64,
    free_disk_bytes: u64,
    /// When the upload is forgotten.
    expires_at: i64,
}

impl Tail {
    fn open(intake: &Intake, upload: &Resumable, held: Held, checksum: Option<Checksum>) -> Result<Self, AppendError> {
        let path = intake.folders.partial(&upload.key);
        let mut file = match OpenOptions::new().write(true).open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(AppendError::Lost),
            other => other.map_err(UploadError::of_file)?,
        };
        if file.metadata().map_err(UploadError::of_file)?.len() < upload.kept {
            return Err(AppendError::Lost);
        }
        // What a crash left behind the bytes that count is none of them.
        file.set_len(upload.kept).map_err(UploadError::of_file)?;
        file.seek(SeekFrom::Start(upload.kept)).map_err(UploadError::of_file)?;
        let limits = &intake.config.limits;
        let tail = Self {
            file,
            db: intake.db.clone(),
            folders: intake.folders.clone(),
            under_way: intake.under_way.clone(),
            id: upload.id,
            held: Some(held),
            checksum,
            from: upload.kept,
            at: upload.kept,
            kept: upload.kept,
            unseen: 0,
            free_disk_bytes: limits.free_disk_bytes,
            expires_at: intake.clock.now().saturating_add(limits.unfinished_seconds),
        };
        tail.look()?;
        Ok(tail)
    }

    fn look(&self) -> Result<(), UploadError> {
        let free = self.folders.free_bytes().map_err(UploadError::Io)?;
        if free < self.free_disk_bytes { Err(UploadError::DiskFull) } else { Ok(()) }
    }

    /// Writes a piece, and gives its memory back.
    fn write(mut self, mut piece: Vec<u8>) -> Result<(Self, Vec<u8>), UploadError> {
        self.under_way.count_in(piece.len() as u64);
        self.unseen += piece.len() as u64;
        if self.unseen >= LOOK_AGAIN {
            self.look()?;
            self.unseen = 0;
        }
        self.file.write_all(&piece).map_err(UploadError::of_file)?;
        self.at += piece.len() as u64;
        if let Some(checksum) = &mut self.checksum {
            checksum.update(&piece);
        }
        if self.at - self.kept >= SETTLED {
            self.settle_so_far()?;
        }
        piece.clear();
        Ok((self, piece))
    }

    /// Brings what came to the disk, and counts it then. What a checksum is still to be held against waits.
    fn settle_so_far(&mut self) -> Result<(), UploadError> {
        if self.checksum.is_some() || self.at == self.kept {
            return Ok(());
        }
        self.file.sync_data().map_err(UploadError::of_file)?;
        self.count(self.at)
    }

    fn count(&mut self, bytes: u64) -> Result<(), UploadError> {
        let kept = i64::try_from(bytes).unwrap_or(i64::MAX);
        let (id, expires_at) = (self.id, self.expires_at);
        let counted = self.db.run_blocking(|connection| -> Result<usize, DbError> {
            Ok(connection.execute(
                "UPDATE uploads SET kept = ?2, expires_at = ?3 WHERE id = ?1 AND state = 'open'",
                params![id, kept, expires_at],
            )?)
        });
        if counted.map_err(|error| UploadError::Io(std::io::Error::other(error)))? == 0 {
            // Its account was deleted meanwhile.
            return Err(UploadError::Io(std::io::Error::other("the upload is gone")));
        }
        self.kept = bytes;
        Ok(())
    }

    fn settle(mut self) -> Result<(), UploadError> {
        self.settle_so_far()
    }

    /// As if nothing had come.
    fn take_back(mut self) -> Result<(), UploadError> {
        if self.kept != self.from {
            self.count(self.from)?;
        }
        self.at = self.from;
        self.file.set_len(self.from).map_err(UploadError::of_file)
    }

    /// The end of a piece.
    fn finish(mut self) -> Result<(u64, Held), AppendError> {
        if self.checksum.take().is_some_and(|checksum| !checksum.fits()) {
            self.take_back()?;
            return Err(AppendError::Checksum);
        }
        self.settle_so_far()?;
        let held = self.held.take().ok_or(AppendError::Lost)?;
        Ok((self.at, held))
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        // The connection broke, and whoever waited was told to stop: what came counts all the same.
        let Some(held) = self.held.take() else { return };
        if self.checksum.is_some() || self.at == self.kept {
            return;
        }
        let Ok(file) = self.file.try_clone() else { return };
        let mut rest = Self {
            file,
            db: self.db.clone(),
            folders: self.folders.clone(),
            under_way: self.under_way.clone(),
            held: None,
            checksum: None,
            ..*self
        };
        let settle = move || {
            if let Err(error) = rest.settle_so_far() {
                tracing::warn!(%error, "the end of an upload is not counted");
            }
            drop(held);
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(settle)),
            Err(_) => settle(),
        }
    }
}

/// Makes an entry of an upload whose bytes are all there. Whoever waits for it may go: it is brought to its end.
pub async fn finish(intake: &Intake, upload: Resumable, held: Held, actor: Actor) -> Outcome {
    let intake = intake.clone();
    let finishing = rocket::tokio::spawn(async move {
        let _held = held;
        finish_now(&intake, &upload, &actor).await
    });
    finishing.await.unwrap_or_else(|error| {
        let (status, refusal) = ours(&error);
        Outcome::Refused(status, refusal)
    })
}

async fn finish_now(intake: &Intake, upload: &Resumable, actor: &Actor) -> Outcome {
    // Its room has been taken from the quota since it began; now it counts as one that is under way.
    let turn = match intake.under_way.begin(upload.account_id, 0, &intake.config.limits) {
        Ok(turn) => turn,
        Err(reason) => {
            let (status, refusal) = intake.of_reason(reason);
            return Outcome::Refused(status, refusal);
        }
    };
    let hashed = joined(spawn_blocking({
        let (intake, upload) = (intake.clone(), upload.clone());
        move || hashed(&intake, &upload, turn)
    }));
    let received = match hashed.await {
        Ok(received) => received,
        Err(error) => {
            let (status, refusal) = ours(&error);
            return Outcome::Refused(status, refusal);
        }
    };
    let (id, account, path) = (upload.id, upload.account_id, received.path().to_owned());
    let done = move |connection: &Connection, key: &Key| -> Result<(), Refused> {
        connection.execute("UPDATE uploads SET state = 'done', entry = ?2 WHERE id = ?1", params![id, key.as_str()])?;
        Ok(())
    };
    let wish = upload.confirmation.clone().map(Choices::from);
    let outcome = intake.keep(received, actor, &upload.name, done, wish).await;
    match &outcome {
        Outcome::Kept(_) => {}
        // Our trouble may pass: the bytes stay, and it can be tried again.
        Outcome::Refused(status, _) if status.code >= 500 => return outcome,
        Outcome::Refused(_, refusal) => {
            let text = serde_json::to_string(refusal).unwrap_or_default();
            let noted = intake.db.run(move |connection| note_refused(connection, (account, id), &text));
            if let Err(error) = noted.await {
                tracing::error!(%error, "what became of an upload cannot be noted");
                return outcome;
            }
        }
    }
    if let Err(error) = remove_file(&path) {
        tracing::warn!(%error, "the file of an upload stays behind until the next start");
    }
    outcome
}

/// Notes that an upload became nothing, and why. Rows of such count towards no quota: an account has the newest of them.
fn note_refused(connection: &Connection, (account, id): (i64, i64), refusal: &str) -> Result<(), DbError> {
    connection.execute("UPDATE uploads SET state = 'refused', refusal = ?2 WHERE id = ?1", params![id, refusal])?;
    connection.execute(
        "DELETE FROM uploads WHERE state = 'refused' AND account_id = ?1 AND id <= (SELECT id FROM uploads
            WHERE state = 'refused' AND account_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        params![account, REFUSED],
    )?;
    Ok(())
}

/// The whole file, with the SHA-256 of what is on the disk.
fn hashed(intake: &Intake, upload: &Resumable, turn: Upload) -> Result<Received, UploadError> {
    let path = intake.folders.partial(&upload.key);
    let mut file = File::open(&path).map_err(UploadError::Io)?;
    let sha256 = veilwatch::hash::sha256_of(&mut file).map_err(UploadError::Io)?;
    let bytes = file.stream_position().map_err(UploadError::Io)?;
    if bytes != upload.length {
        let words = format!("an upload of {} bytes has {bytes} on the disk", upload.length);
        return Err(UploadError::Io(std::io::Error::other(words)));
    }
    Ok(Received::of_pieces(path, bytes, Sha256Hex::of(&sha256), turn))
}

/// Brings uploads to their end whose bytes were all there when the portal ended.
pub async fn finish_the_whole(intake: &Intake) {
    let whole = intake.db.run(|connection| -> Result<Vec<(Resumable, Actor)>, DbError> {
        let mut whole = connection.prepare(
            "SELECT u.*, a.name AS owner FROM uploads u JOIN accounts a ON a.id = u.account_id
                WHERE u.state = 'open' AND u.kept = u.length AND a.disabled = 0 AND a.role <> ?1",
        )?;
        let whole = whole.query_and_then([Role::Viewer.name()], |row| {
            let upload = read(row)?;
            let actor = Actor { name: Some(row.get("owner")?), address: upload.address.clone() };
            Ok::<_, DbError>((upload, actor))
        })?;
        whole.collect()
    });
    match whole.await {
        Ok(whole) => {
            for (upload, actor) in whole {
                if let Some(held) = intake.writing.enter(upload.id) {
                    finish(intake, upload, held, actor).await;
                }
            }
        }
        Err(error) => tracing::error!(%error, "uploads that are whole cannot be brought to their end"),
    }
}

/// The state of an upload as it is now, asked again by whoever holds it.
///
/// # Errors
/// Where it is gone, or the database fails.
pub fn again(connection: &Connection, id: i64) -> Result<Resumable, Refused> {
    let mut found = connection.prepare_cached("SELECT * FROM uploads WHERE id = ?1")?;
    let row = found.query_and_then([id], read)?.next().transpose()?;
    Ok(row.ok_or(Reason::NotThere)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uploads::kept_bytes;
    use crate::uploads::testing::{NOW, Place, actor};

    fn new(length: u64) -> NewResumable {
        let metadata = Metadata::parse("filename Li4vLi4vZXRjL3Bhc3N3ZA==,modified MTIz");
        NewResumable { length, metadata, name: String::new(), confirmation: None }
    }

    #[test]
    fn descriptions_are_read_within_bounds() {
        let read = Metadata::parse("filename w6QucGNhcA==,is_confidential").unwrap();
        assert_eq!(
            (read.text(&["filename"]), read.text(&["is_confidential"])),
            (Some("ä.pcap".into()), Some("".into()))
        );
        let many = (0..=MAX_PAIRS).map(|n| format!("k{n}")).collect::<Vec<_>>().join(",");
        for bad in ["", ",", "a !!!", "a YQ==,a YQ==", "ä YQ==", &many, &"a".repeat(MAX_METADATA + 1)] {
            assert!(Metadata::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn checksums_are_two() {
        let sum = |text: &str| Checksum::parse(text);
        let mut one = sum("sha256 LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=").unwrap();
        one.update(b"hello");
        assert!(one.clone().fits());
        one.update(b"x");
        assert!(!one.fits());
        let mut one = sum("sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=").unwrap();
        one.update(b"hello");
        assert!(one.fits());
        for bad in ["", "sha256", "md5 AAAA", "sha256 AAAA", "sha256 !"] {
            assert!(sum(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn room_is_taken_when_it_begins_and_given_back_when_it_is_forgotten() {
        let mut place = Place::new();
        place.limits.quota_bytes = 100;
        place.limits.unfinished_uploads = 2;
        place.limits.unfinished_seconds = 50;
        let ada = place.account("ada");
        let start = |place: &mut Place, length| {
            begin(&mut place.connection, &place.folders, &new(length), (ada, &actor()), &place.limits, NOW, |_, _| {
                Ok(())
            })
        };
        let because = |result: Result<Resumable, Refused>| match result {
            Err(Refused::Because(reason)) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(because(start(&mut place, 0)), Reason::UploadEmpty);
        assert_eq!(because(start(&mut place, u64::MAX)), Reason::UploadTooLarge);
        assert_eq!(because(start(&mut place, 101)), Reason::Quota);
        let first = start(&mut place, 60).unwrap();
        assert_eq!((first.name.as_str(), first.modified.as_deref()), ("passwd", Some("123")));
        assert_eq!(kept_bytes(&place.connection, ada).unwrap(), 60);
        assert_eq!(because(start(&mut place, 41)), Reason::Quota);
        start(&mut place, 40).unwrap();
        assert_eq!(because(start(&mut place, 1)), Reason::TooManyUnfinished);
        assert_eq!(place.files("partial").len(), 2, "what is refused leaves nothing");

        let writing = Writing::default();
        let gone = |place: &Place, now| {
            forget(&place.connection, &writing, now).unwrap().remove_files(&place.folders).unwrap()
        };
        let held = writing.enter(first.id).unwrap();
        assert!(writing.enter(first.id).is_none());
        assert_eq!(gone(&place, NOW + 49), 0);
        assert_eq!(gone(&place, NOW + 50), 1, "not what is written");
        drop(held);
        assert_eq!(gone(&place, NOW + 50), 1);
        assert_eq!((place.files("partial").len(), kept_bytes(&place.connection, ada).unwrap()), (0, 0));
    }

    #[test]
    fn of_what_became_nothing_an_account_has_the_newest() {
        let mut place = Place::new();
        let (ada, bob) = (place.account("ada"), place.account("bob"));
        let mut refuse = |account: i64| {
            let limits = place.limits.clone();
            let actor = (account, &actor());
            let begun =
                begin(&mut place.connection, &place.folders, &new(1), actor, &limits, NOW, |_, _| Ok(())).unwrap();
            note_refused(&place.connection, (account, begun.id), "{}").unwrap();
            begun.id
        };
        let (theirs, first) = (refuse(bob), refuse(ada));
        let last = (0..REFUSED).map(|_| refuse(ada)).last().unwrap();
        let count = |sql: &str| place.number(&format!("SELECT count(*) FROM uploads WHERE {sql}"));
        assert_eq!(count(&format!("account_id = {ada}")), i64::from(REFUSED));
        assert_eq!(count(&format!("id IN ({theirs}, {last})")), 2);
        assert_eq!(count(&format!("id = {first}")), 0);
    }

    #[test]
    fn a_sweep_brings_rows_and_files_together() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let all: Vec<Resumable> = (0..3)
            .map(|_| {
                begin(
                    &mut place.connection,
                    &place.folders,
                    &new(9),
                    (ada, &actor()),
                    &place.limits,
                    NOW,
                    |_, _| Ok(()),
                )
                .unwrap()
            })
            .collect();
        place.connection.execute("UPDATE uploads SET kept = 3", []).unwrap();
        let path = |at: usize| place.folders.partial(&all[at].key);
        // One with a torn end, one that lost bytes, one without its file; and a file without a row.
        std::fs::write(path(0), b"abcde").unwrap();
        std::fs::write(path(1), b"ab").unwrap();
        std::fs::remove_file(path(2)).unwrap();
        place.folders.new_partial_file().unwrap();
        let swept = place.folders.sweep(&mut place.connection, NOW).unwrap();
        assert_eq!((swept.partial, place.files("partial")), (3, vec![path(0)]));
        assert_eq!(place.number("SELECT count(*) FROM uploads"), 1);
        assert_eq!(find(&place.connection, ada, all[0].key.as_str(), NOW).unwrap().kept, 3);
    }
}
