//! Bytes become a private file, within limits.
//!
//! The network is read on an async thread, piece by piece; each piece is written and hashed on a thread that may block,
//! while the next one is read. A slow visitor holds no thread, and no upload more than two pieces of memory.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rocket::tokio::io::{AsyncRead, AsyncReadExt};
use rocket::tokio::task::{JoinHandle, spawn_blocking};
use rocket::tokio::time::{Instant, timeout_at};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::folders::{FileError, Folders, Sha256Hex, remove_file};
use super::under_way::Upload;
use crate::accounts::Reason;
use crate::config::Limits;

/// Bytes that are read before they are written.
const PIECE: usize = 256 << 10;
/// Bytes after which the free space of the disk is looked at again.
const LOOK_AGAIN: u64 = 8 << 20;

/// What an upload is held to.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveLimits {
    /// Bytes of the file.
    pub bytes: u64,
    /// How long nothing may come.
    pub idle: Duration,
    /// How long all of it may take.
    pub whole: Duration,
    /// Bytes that stay free on the disk.
    pub free_disk_bytes: u64,
}

impl From<&Limits> for ReceiveLimits {
    fn from(limits: &Limits) -> Self {
        let seconds = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        Self {
            bytes: limits.upload_bytes,
            idle: seconds(limits.upload_idle_seconds),
            whole: seconds(limits.upload_seconds),
            free_disk_bytes: limits.free_disk_bytes,
        }
    }
}

impl ReceiveLimits {
    /// Whether a file of this length would be refused, asked before the first byte comes. What comes is counted all the
    /// same: the length is the visitor's word.
    ///
    /// # Errors
    /// Where it would be.
    pub fn check_declared(&self, folders: &Folders, length: u64) -> Result<(), UploadError> {
        if length > self.bytes {
            return Err(UploadError::TooLarge { limit: self.bytes });
        }
        let free = folders.free_bytes().map_err(UploadError::Io)?;
        if free < length.saturating_add(self.free_disk_bytes) { Err(UploadError::DiskFull) } else { Ok(()) }
    }
}

/// Why an upload came to nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UploadError {
    /// More bytes than one capture may have.
    #[error("the upload is larger than {limit} bytes")]
    TooLarge {
        /// How many it may have.
        limit: u64,
    },
    /// Not one byte.
    #[error("the upload is empty")]
    Empty,
    /// Nothing came for too long.
    #[error("the upload stood still")]
    Slow,
    /// It took too long.
    #[error("the upload took too long")]
    TooLong,
    /// The disk has no room.
    #[error("the disk is full, up to what is to stay free (limits.free_disk_bytes): make room on it")]
    DiskFull,
    /// The account has no room.
    #[error("the account's quota is used up")]
    Quota,
    /// The connection ended early.
    #[error("the connection ended before the upload: {0}")]
    Cut(io::Error),
    /// The file cannot be written.
    #[error("an upload cannot be written into the data folder: {0}")]
    Io(io::Error),
}

impl UploadError {
    /// What to tell the visitor; none where it is the portal's own trouble.
    pub fn reason(&self) -> Option<Reason> {
        Some(match self {
            Self::TooLarge { .. } => Reason::UploadTooLarge,
            Self::Empty => Reason::UploadEmpty,
            Self::Slow => Reason::UploadSlow,
            Self::TooLong => Reason::UploadTooLong,
            Self::DiskFull => Reason::DiskFull,
            Self::Quota => Reason::Quota,
            Self::Cut(_) => Reason::UploadCut,
            Self::Io(_) => return None,
        })
    }

    fn of_file(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Io(error),
        }
    }
}

impl From<FileError> for UploadError {
    fn from(error: FileError) -> Self {
        match Self::of_file(io::Error::new(error.source.kind(), error.to_string())) {
            Self::Io(_) => Self::Io(io::Error::other(error)),
            other => other,
        }
    }
}

/// A file that came in whole and is on the disk. Dropped without being kept, it is deleted.
#[derive(Debug)]
pub struct Received {
    pub(super) file: Scrap,
    bytes: u64,
    sha256: Sha256Hex,
    upload: Upload,
}

impl Received {
    /// Where it is for now: for a worker's look.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// How long it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its hash.
    pub fn sha256(&self) -> &Sha256Hex {
        &self.sha256
    }

    /// Whose upload it is.
    pub fn account(&self) -> i64 {
        self.upload.account()
    }
}

/// A file that is deleted when it is dropped. That it is gone already, because it was moved into its place, is fine.
#[derive(Debug)]
pub(super) struct Scrap {
    pub(super) path: PathBuf,
}

impl Drop for Scrap {
    fn drop(&mut self) {
        if let Err(error) = remove_file(&self.path) {
            tracing::warn!(%error, "an upload stays behind until the next start");
        }
    }
}

/// Receives an upload: all of `reader` into a private file.
///
/// # Errors
/// Where it is too large, empty, too slow, cut off, or there is no room for it. Nothing of it stays then.
pub async fn receive(
    folders: &Folders,
    mut reader: impl AsyncRead + Unpin,
    limits: ReceiveLimits,
    mut upload: Upload,
) -> Result<Received, UploadError> {
    let now = Instant::now();
    // A time that far away is none.
    let end = now.checked_add(limits.whole).unwrap_or_else(|| now + Duration::from_secs(366 * 24 * 3600));
    let (sink, file) = joined(spawn_blocking({
        let folders = folders.clone();
        move || Sink::open(folders, limits.free_disk_bytes)
    }))
    .await?;
    let mut bytes = 0;
    let mut piece = Vec::with_capacity(PIECE);
    let mut writing = spawn_blocking(move || Ok((sink, Vec::with_capacity(PIECE))));
    loop {
        let ended = fill(&mut reader, &mut piece, limits.idle, end).await?;
        let more = piece.len() as u64;
        bytes += more;
        if bytes > limits.bytes {
            return Err(UploadError::TooLarge { limit: limits.bytes });
        }
        upload.add(more).map_err(|_| UploadError::Quota)?;
        let (sink, empty) = joined(writing).await?;
        let full = std::mem::replace(&mut piece, empty);
        writing = spawn_blocking(move || sink.write(full));
        if ended {
            break;
        }
    }
    let (sink, _) = joined(writing).await?;
    if bytes == 0 {
        return Err(UploadError::Empty);
    }
    let sha256 = joined(spawn_blocking(move || sink.finish())).await?;
    Ok(Received { file, bytes, sha256, upload })
}

async fn joined<T>(task: JoinHandle<Result<T, UploadError>>) -> Result<T, UploadError> {
    task.await.unwrap_or_else(|error| Err(UploadError::Io(io::Error::other(error))))
}

/// Reads until the piece is full; says whether that was all.
async fn fill(
    reader: &mut (impl AsyncRead + Unpin),
    piece: &mut Vec<u8>,
    idle: Duration,
    end: Instant,
) -> Result<bool, UploadError> {
    while piece.len() < PIECE {
        let now = Instant::now();
        if now >= end {
            return Err(UploadError::TooLong);
        }
        let by = now.checked_add(idle).map_or(end, |by| by.min(end));
        match timeout_at(by, reader.read_buf(piece)).await {
            Ok(Ok(0)) => return Ok(true),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(UploadError::Cut(error)),
            Err(_) if by == end => return Err(UploadError::TooLong),
            Err(_) => return Err(UploadError::Slow),
        }
    }
    Ok(false)
}

/// The end of the way, on threads that may block.
struct Sink {
    folders: Folders,
    file: File,
    hasher: Sha256,
    free_disk_bytes: u64,
    /// Bytes since the disk was looked at.
    unseen: u64,
}

impl Sink {
    fn open(folders: Folders, free_disk_bytes: u64) -> Result<(Self, Scrap), UploadError> {
        let (file, path) = folders.new_incoming_file()?;
        let scrap = Scrap { path };
        let sink = Self { folders, file, hasher: Sha256::new(), free_disk_bytes, unseen: 0 };
        sink.look()?;
        Ok((sink, scrap))
    }

    fn look(&self) -> Result<(), UploadError> {
        let free = self.folders.free_bytes().map_err(UploadError::Io)?;
        if free < self.free_disk_bytes { Err(UploadError::DiskFull) } else { Ok(()) }
    }

    /// Writes a piece, and gives its memory back.
    fn write(mut self, mut piece: Vec<u8>) -> Result<(Self, Vec<u8>), UploadError> {
        self.unseen += piece.len() as u64;
        if self.unseen >= LOOK_AGAIN {
            self.look()?;
            self.unseen = 0;
        }
        self.file.write_all(&piece).map_err(UploadError::of_file)?;
        self.hasher.update(&piece);
        piece.clear();
        Ok((self, piece))
    }

    /// Brings all of it to the disk.
    fn finish(self) -> Result<Sha256Hex, UploadError> {
        self.file.sync_all().map_err(UploadError::of_file)?;
        Ok(Sha256Hex::of(&self.hasher.finalize().into()))
    }
}
