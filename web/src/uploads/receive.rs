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
pub(super) const PIECE: usize = 256 << 10;
/// Bytes after which the free space of the disk is looked at again.
pub(super) const LOOK_AGAIN: u64 = 8 << 20;

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

    pub(super) fn of_file(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Io(error),
        }
    }
}

impl From<FileError> for UploadError {
    fn from(error: FileError) -> Self {
        match Self::of_file(io::Error::from(error.source.kind())) {
            Self::DiskFull => Self::DiskFull,
            _ => Self::Io(io::Error::other(error)),
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

    /// A file that came in by pieces. Whoever holds the upload removes it, and not this value.
    pub(super) fn of_pieces(path: PathBuf, bytes: u64, sha256: Sha256Hex, upload: Upload) -> Self {
        Self { file: Scrap { path, stays: true }, bytes, sha256, upload }
    }

    /// Whether the file stays when this value goes.
    pub(super) fn stays(&self) -> bool {
        self.file.stays
    }
}

/// A file that is deleted when it is dropped. That it is gone already, because it was moved into its place, is fine.
#[derive(Debug)]
pub(super) struct Scrap {
    pub(super) path: PathBuf,
    stays: bool,
}

impl Drop for Scrap {
    fn drop(&mut self) {
        if !self.stays
            && let Err(error) = remove_file(&self.path)
        {
            tracing::warn!(%error, "an upload stays behind until the next start");
        }
    }
}

/// Receives an upload: all of `reader` into a private file. The reader must not be cut off silently at a limit of its
/// own that is not above [`ReceiveLimits::bytes`]: what comes is taken for the whole file.
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

/// The SHA-256 of all of `reader`, of which nothing is kept.
///
/// # Errors
/// Where it is too large, too slow or cut off.
pub(crate) async fn digest(
    mut reader: impl AsyncRead + Unpin,
    limits: ReceiveLimits,
) -> Result<Sha256Hex, UploadError> {
    let now = Instant::now();
    let end = now.checked_add(limits.whole).unwrap_or_else(|| now + Duration::from_secs(366 * 24 * 3600));
    let (mut hasher, mut bytes, mut piece) = (Sha256::new(), 0, Vec::with_capacity(PIECE));
    loop {
        let ended = fill(&mut reader, &mut piece, limits.idle, end).await?;
        bytes += piece.len() as u64;
        if bytes > limits.bytes {
            return Err(UploadError::TooLarge { limit: limits.bytes });
        }
        hasher.update(&piece);
        piece.clear();
        if ended {
            return Ok(Sha256Hex::of(&hasher.finalize().into()));
        }
    }
}

pub(super) async fn joined<T>(task: JoinHandle<Result<T, UploadError>>) -> Result<T, UploadError> {
    task.await.unwrap_or_else(|error| Err(UploadError::Io(io::Error::other(error))))
}

/// Reads until the piece is full; says whether that was all.
pub(super) async fn fill(
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
        let scrap = Scrap { path, stays: false };
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use rocket::tokio::io::{AsyncWriteExt, ReadBuf, duplex, repeat};
    use rocket::tokio::time::{sleep, timeout};
    use rocket::tokio::{self, task};

    use super::*;
    use crate::uploads::UnderWay;

    struct Yard {
        data: tempfile::TempDir,
        folders: Folders,
        under_way: UnderWay,
        limits: ReceiveLimits,
    }

    impl Yard {
        fn new() -> Self {
            let data = tempfile::tempdir().unwrap();
            let folders = Folders::make(data.path()).unwrap();
            let limits = ReceiveLimits {
                bytes: 1 << 20,
                idle: Duration::from_secs(20),
                whole: Duration::from_secs(60),
                free_disk_bytes: 0,
            };
            Self { data, folders, under_way: UnderWay::default(), limits }
        }

        async fn receive(&self, reader: impl AsyncRead + Unpin) -> Result<Received, UploadError> {
            let upload = self.under_way.begin(1, 0, &Limits::default()).unwrap();
            receive(&self.folders, reader, self.limits, upload).await
        }

        /// Nothing is left: no file, no share of the quota.
        fn is_clean(&self) -> bool {
            let files = std::fs::read_dir(self.data.path().join("incoming")).unwrap().count();
            files == 0 && self.under_way.count(1) == 0
        }
    }

    /// Gives some bytes and then an error.
    struct Broken(usize);

    impl AsyncRead for Broken {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            if self.0 == 0 {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let more = self.0.min(out.remaining());
            out.put_slice(&vec![7; more]);
            self.0 -= more;
            Poll::Ready(Ok(()))
        }
    }

    #[rocket::async_test]
    async fn all_bytes_come_in_once_and_for_nobody_else() {
        let yard = Yard::new();
        for length in [1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 17] {
            let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let received = yard.receive(bytes.as_slice()).await.unwrap();
            assert_eq!(std::fs::read(received.path()).unwrap(), bytes);
            assert_eq!(received.bytes(), length as u64);
            assert_eq!(received.sha256().as_str(), veilwatch::hash::hex(&Sha256::digest(&bytes)));
            assert_eq!(std::fs::metadata(received.path()).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(yard.under_way.count(1), 1, "it counts until it is kept or dropped");
            drop(received);
            assert!(yard.is_clean());
        }
    }

    #[rocket::async_test]
    async fn the_limit_is_counted_and_not_believed() {
        let mut yard = Yard::new();
        yard.limits.bytes = PIECE as u64 + 5;
        assert!(yard.receive(vec![1; PIECE + 5].as_slice()).await.is_ok());
        for bytes in [PIECE + 6, 10 * PIECE] {
            let refused = yard.receive(vec![1; bytes].as_slice()).await;
            assert!(matches!(refused, Err(UploadError::TooLarge { limit }) if limit == PIECE as u64 + 5), "{bytes}");
            assert!(yard.is_clean());
        }
        // One that never ends.
        assert!(matches!(yard.receive(repeat(1)).await, Err(UploadError::TooLarge { .. })));
        assert!(matches!(yard.receive([].as_slice()).await, Err(UploadError::Empty)));
        assert!(yard.is_clean());
    }

    #[rocket::async_test]
    async fn a_declared_length_is_refused_early() {
        let mut yard = Yard::new();
        let limits = yard.limits;
        assert!(limits.check_declared(&yard.folders, limits.bytes).is_ok());
        let refused = limits.check_declared(&yard.folders, limits.bytes + 1);
        assert!(matches!(refused, Err(UploadError::TooLarge { .. })));
        yard.limits.free_disk_bytes = u64::MAX;
        assert!(matches!(yard.limits.check_declared(&yard.folders, 1), Err(UploadError::DiskFull)));
    }

    #[rocket::async_test]
    async fn the_disk_keeps_its_free_space() {
        let mut yard = Yard::new();
        yard.limits.free_disk_bytes = u64::MAX;
        assert!(matches!(yard.receive([1].as_slice()).await, Err(UploadError::DiskFull)));
        assert!(yard.is_clean());
        // The disk fills while the upload is under way: others take all that was free above the limit.
        let (file, path) = yard.folders.new_incoming_file().unwrap();
        let folders = yard.folders.clone();
        let sink = Sink { folders, file, hasher: Sha256::new(), free_disk_bytes: u64::MAX, unseen: 0 };
        let (sink, empty) = sink.write(vec![1; LOOK_AGAIN as usize - 1]).unwrap_or_else(|error| panic!("{error}"));
        assert!(empty.is_empty());
        assert!(matches!(sink.write(vec![1]), Err(UploadError::DiskFull)));
        std::fs::remove_file(path).unwrap();
    }

    #[rocket::async_test]
    async fn one_that_stands_still_is_broken_off() {
        let mut yard = Yard::new();
        yard.limits.idle = Duration::from_millis(40);
        let (mut ours, theirs) = duplex(1024);
        ours.write_all(b"some").await.unwrap();
        assert!(matches!(yard.receive(theirs).await, Err(UploadError::Slow)));
        assert!(yard.is_clean());
    }

    #[rocket::async_test]
    async fn one_that_drips_for_ever_is_broken_off() {
        let mut yard = Yard::new();
        yard.limits.whole = Duration::from_millis(120);
        let (mut ours, theirs) = duplex(1024);
        let drips = task::spawn(async move {
            while ours.write_all(b"x").await.is_ok() {
                sleep(Duration::from_millis(5)).await
            }
        });
        assert!(matches!(yard.receive(theirs).await, Err(UploadError::TooLong)));
        assert!(yard.is_clean());
        drips.await.unwrap();
        // One that is always ready is broken off as well.
        yard.limits = ReceiveLimits { bytes: u64::MAX, whole: Duration::from_millis(30), ..yard.limits };
        assert!(matches!(yard.receive(repeat(1)).await, Err(UploadError::TooLong)));
    }

    #[rocket::async_test]
    async fn a_connection_that_breaks_leaves_nothing() {
        let yard = Yard::new();
        for bytes in [0, 5, 2 * PIECE + 5] {
            assert!(matches!(yard.receive(Broken(bytes)).await, Err(UploadError::Cut(_))), "{bytes}");
            assert!(yard.is_clean());
        }
    }

    #[rocket::async_test]
    async fn a_request_that_is_dropped_leaves_nothing() {
        let yard = Yard::new();
        let (mut ours, theirs) = duplex(4 * PIECE);
        ours.write_all(&vec![1; PIECE + 9]).await.unwrap();
        assert!(timeout(Duration::from_millis(60), yard.receive(theirs)).await.is_err());
        assert!(yard.is_clean());
    }

    #[rocket::async_test]
    async fn uploads_at_once_share_the_quota_while_they_come() {
        let yard = Yard::new();
        let limits = Limits { quota_bytes: 3 * PIECE as u64, ..Limits::default() };
        let begin = || yard.under_way.begin(1, 0, &limits).unwrap();
        let bytes = vec![1; 2 * PIECE];
        let (one, two) = tokio::join!(
            receive(&yard.folders, bytes.as_slice(), yard.limits, begin()),
            receive(&yard.folders, bytes.as_slice(), yard.limits, begin()),
        );
        let (good, bad): (Vec<_>, Vec<_>) = [one, two].into_iter().partition(Result::is_ok);
        assert_eq!(good.len(), 1);
        assert!(matches!(bad[0], Err(UploadError::Quota)));
        drop(good);
        assert!(yard.is_clean());
    }

    #[test]
    fn what_a_visitor_can_mend_has_a_reason() {
        assert_eq!(UploadError::TooLarge { limit: 1 }.reason(), Some(Reason::UploadTooLarge));
        assert_eq!(UploadError::Io(io::ErrorKind::Other.into()).reason(), None);
        let full = FileError::at("made", Path::new("x"))(io::ErrorKind::StorageFull.into());
        assert!(matches!(UploadError::from(full), UploadError::DiskFull));
        let denied = FileError::at("made", Path::new("x"))(io::ErrorKind::PermissionDenied.into());
        assert!(
            matches!(UploadError::from(denied), UploadError::Io(error) if error.to_string().contains("x cannot be made"))
        );
    }
}
