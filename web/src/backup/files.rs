//! Files in and out, hashed on the way, and never through a link.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use veilwatch::hash::hex;

use super::manifest::{Listed, MANIFEST, Name};
use super::{BackupError, Progress};
use crate::secret::random_bytes;

/// Bytes that are copied at once.
const PIECE: usize = 256 << 10;

/// Opens a regular file to read; never through a link, and never one that would keep us waiting.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
}

/// A new file for its owner alone; its folders are made where they are not there.
pub(super) fn create(root: &Path, name: &str) -> Result<(File, PathBuf), BackupError> {
    let path = root.join(name);
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
    Ok((file.map_err(BackupError::at("made", &path))?, path))
}

/// A folder for its owner alone, if it is not there.
pub(super) fn make_folder(path: &Path) -> Result<(), BackupError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(BackupError::at("made", path))
}

/// Brings everything on the disk of this file to it.
pub(super) fn settle(file: &File, path: &Path) -> Result<(), BackupError> {
    rustix::fs::syncfs(file).map_err(|error| BackupError::at("brought to disk", path)(error.into()))
}

/// Hashes what is read through it, and ends after a number of bytes: with an error where there are fewer.
pub(super) struct Measured<'a, R> {
    reader: R,
    left: u64,
    bytes: u64,
    hash: Sha256,
    progress: &'a Progress,
}

impl<'a, R: Read> Measured<'a, R> {
    pub(super) fn new(reader: R, bytes: u64, progress: &'a Progress) -> Self {
        Self { reader, left: bytes, bytes, hash: Sha256::new(), progress }
    }

    /// Its length and hash, once all of it was read.
    pub(super) fn finish(self) -> (u64, String) {
        (self.bytes, hex(&self.hash.finalize()))
    }
}

impl<R: Read> Read for Measured<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(room) = buffer.get_mut(..most).filter(|room| !room.is_empty()) else { return Ok(0) };
        let count = self.reader.read(room)?;
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it ends too early: it was cut off, or is being changed",
            ));
        }
        self.hash.update(room.get(..count).unwrap_or_default());
        self.left -= count as u64;
        self.progress.add(count as u64);
        Ok(count)
    }
}

/// Copies all of it.
pub(super) fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(piece.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The hash of a file.
pub(super) fn hash(file: File, progress: &Progress) -> io::Result<String> {
    let bytes = file.metadata()?.len();
    let mut measured = Measured::new(file, bytes, progress);
    copy(&mut measured, &mut io::sink())?;
    Ok(measured.finish().1)
}

/// Where a backup is written: beside its place, which it takes once it is whole. Dropped before, it is deleted.
pub(super) struct Target {
    place: PathBuf,
    /// A folder: the backup itself, or what is around its one file.
    folder: PathBuf,
    archive: Option<tar::Builder<BufWriter<File>>>,
    is_done: bool,
}

/// The one file, before it is in its place.
const ARCHIVE: &str = "backup.tar";

impl Target {
    /// A target whose name ends in `.tar` is one file, any other a folder.
    pub(super) fn begin(place: &Path) -> Result<Self, BackupError> {
        if place.symlink_metadata().is_ok() {
            return Err(BackupError::Exists(place.to_owned()));
        }
        let name =
            place.file_name().ok_or_else(|| BackupError::Exists(place.to_owned()))?.to_string_lossy().into_owned();
        let folder = place.with_file_name(format!("{name}.partial-{}", hex(&random_bytes::<4>()?)));
        DirBuilder::new().mode(0o700).create(&folder).map_err(BackupError::at("made", &folder))?;
        let mut target = Self { place: place.to_owned(), folder, archive: None, is_done: false };
        if place.extension().is_some_and(|end| end == "tar") {
            let (file, _) = create(&target.folder, ARCHIVE)?;
            target.archive = Some(tar::Builder::new(BufWriter::with_capacity(PIECE, file)));
        }
        Ok(target)
    }

    /// Where the copy of the database is made.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Adds a file.
    pub(super) fn add(&mut self, name: &Name, file: File, progress: &Progress) -> Result<Listed, BackupError> {
        let failed = || BackupError::at("copied", Path::new(name.as_str()));
        let bytes = file.metadata().map_err(failed())?.len();
        let mut measured = Measured::new(file, bytes, progress);
        match &mut self.archive {
            Some(archive) => append(archive, name.as_str(), bytes, &mut measured).map_err(failed())?,
            None => {
                let (mut copied, path) = create(&self.folder, name.as_str())?;
                copy(&mut measured, &mut copied).map_err(BackupError::at("written", &path))?;
            }
        }
        let (bytes, sha256) = measured.finish();
        Ok(Listed { path: name.clone(), bytes, sha256 })
    }

    /// Adds the copy of the database, which lies in [`Self::folder`].
    pub(super) fn add_database(&mut self, path: &Path, progress: &Progress) -> Result<Listed, BackupError> {
        let name = Name::database();
        let file = open(path).map_err(BackupError::at("read", path))?;
        if self.archive.is_some() {
            let listed = self.add(&name, file, progress)?;
            fs::remove_file(path).map_err(BackupError::at("removed", path))?;
            return Ok(listed);
        }
        let bytes = file.metadata().map_err(BackupError::at("read", path))?.len();
        let sha256 = hash(file, progress).map_err(BackupError::at("read", path))?;
        Ok(Listed { path: name, bytes, sha256 })
    }

    /// Adds the manifest, and puts everything in its place.
    pub(super) fn finish(mut self, manifest: &[u8]) -> Result<(), BackupError> {
        let failed = || BackupError::at("written", &self.place);
        let whole = match self.archive.take() {
            Some(mut archive) => {
                append(&mut archive, MANIFEST, manifest.len() as u64, &mut &*manifest).map_err(failed())?;
                let mut file = archive.into_inner().map_err(failed())?;
                file.flush().map_err(failed())?;
                settle(file.get_ref(), &self.place)?;
                self.folder.join(ARCHIVE)
            }
            None => {
                let (mut file, path) = create(&self.folder, MANIFEST)?;
                file.write_all(manifest).map_err(BackupError::at("written", &path))?;
                settle(&file, &self.place)?;
                self.folder.clone()
            }
        };
        // Somebody may have put something there meanwhile; a folder does not replace one that holds anything.
        if self.place.symlink_metadata().is_ok() {
            return Err(BackupError::Exists(self.place.clone()));
        }
        fs::rename(&whole, &self.place).map_err(failed())?;
        self.is_done = true;
        if whole != self.folder {
            fs::remove_dir(&self.folder).map_err(BackupError::at("removed", &self.folder))?;
        }
        let around = self.place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(around).and_then(|folder| folder.sync_all()).map_err(BackupError::at("brought to disk", around))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.is_done && fs::remove_dir_all(&self.folder).is_err() {
            tracing::warn!(folder = %self.folder.display(), "a part of a backup stays behind");
        }
    }
}

fn append(archive: &mut tar::Builder<impl Write>, name: &str, bytes: u64, from: &mut impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(bytes);
    header.set_mode(0o600);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    archive.append(&header, from)
}
