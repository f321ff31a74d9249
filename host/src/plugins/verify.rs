//! What is checked of a library before any of its code runs.
//!
//! * It is a regular file that belongs to us or to root, and neither it nor its folder can be changed by others: not by
//!   everybody, and not by a group, unless that is the owner's own (the same number: many systems give every user one).
//!   A folder that everybody may write to will do where it is sticky, as `/tmp` is: others cannot replace a file there.
//! * Its SHA-256 is the one that the configuration gives, where it gives one.
//! * It is a library for this machine, and all of it is there.
//!
//! Only the file and the folder that it lies in are looked at, links resolved. Whoever owns a folder further up can move
//! everything in it, and whoever may change the file can do so between this check and the loading: both are ourselves,
//! root, or somebody whom one of the two trusts with that folder.

use super::elf::{self, Fault};
use super::error::LibraryError;
use crate::hash::sha256_hex;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes of a library at most.
const LIBRARY_BYTES: u64 = 1 << 30;

/// A library that was checked as far as that goes without running it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verified {
    /// Where it lies, links resolved.
    pub(crate) path: PathBuf,
    /// What it is.
    pub(crate) sha256: String,
}

/// The file behind a path, links resolved.
pub(crate) fn locate(path: &Path) -> Result<PathBuf, LibraryError> {
    path.canonicalize().map_err(|error| LibraryError::Unreadable { path: path.to_owned(), error })
}

/// Checks a library; `sha256` is what the configuration says of it.
pub(crate) fn verify(path: &Path, sha256: Option<&str>) -> Result<Verified, LibraryError> {
    let path = locate(path)?;
    let unreadable = |error| LibraryError::Unreadable { path: path.clone(), error };
    let wrong = |why: String| LibraryError::Unsafe { path: path.clone(), why };
    // Before opening it: a named pipe would wait for a writer for ever.
    let facts = std::fs::metadata(&path).map_err(unreadable)?;
    if !facts.is_file() {
        return Err(wrong("not a regular file; name the library itself".into()));
    }
    if facts.len() > LIBRARY_BYTES {
        return Err(wrong(format!("{} bytes are more than a library may have, {LIBRARY_BYTES}", facts.len())));
    }
    let us = nix::unistd::geteuid().as_raw();
    owned(&facts, us, "it", &path).map_err(wrong)?;
    let writers = writers(&facts);
    if let Some(who) = writers {
        let why = format!("{who} may write to it; make sure of what it is and run `chmod go-w {}`", path.display());
        return Err(wrong(why));
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let around = std::fs::metadata(folder).map_err(unreadable)?;
    owned(&around, us, "its folder", folder).map_err(wrong)?;
    const STICKY: u32 = 0o1000;
    if let Some(who) = self::writers(&around).filter(|_| around.mode() & STICKY == 0) {
        let why =
            format!("{who} may write to its folder; make sure of what it is and run `chmod go-w {}`", folder.display());
        return Err(wrong(why));
    }
    let mut bytes = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(LIBRARY_BYTES).read_to_end(&mut bytes));
    read.map_err(unreadable)?;
    let found = sha256_hex(&bytes);
    if let Some(wanted) = sha256.filter(|wanted| !wanted.eq_ignore_ascii_case(&found)) {
        return Err(LibraryError::OtherHash { path, wanted: wanted.into(), found });
    }
    match elf::check(&bytes) {
        Ok(()) => Ok(Verified { path, sha256: found }),
        Err(Fault::NotLibrary(why)) => Err(LibraryError::NotLibrary { path, why }),
        Err(Fault::Damaged(why)) => Err(LibraryError::Damaged { path, why }),
    }
}

fn owned(facts: &Metadata, us: u32, what: &str, path: &Path) -> Result<(), String> {
    match facts.uid() {
        0 => Ok(()),
        owner if owner == us => Ok(()),
        owner => Err(format!(
            "{what} belongs to user {owner}, neither to you nor to root; make sure of what it is and run `chown {us} {}`",
            path.display()
        )),
    }
}

/// Who beside the owner may write.
fn writers(facts: &Metadata) -> Option<&'static str> {
    let (mode, own_group) = (facts.mode(), facts.gid() == facts.uid());
    if mode & 0o002 != 0 {
        Some("everybody")
    } else if mode & 0o020 != 0 && !own_group {
        Some("a group")
    } else {
        None
    }
}
