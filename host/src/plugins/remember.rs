//! Which libraries were tried before and did no harm, so that the next start need not try them again.
//!
//! One line for each: its SHA-256, the contract and the version of Veilwatch that tried it. The file only saves time: a
//! damaged one, or one that others may write to, is as good as none, and a library that is not in it is tried once more.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Libraries that are remembered; the oldest go first.
const LIBRARIES: usize = 1024;
/// Bytes of the file at most.
const BYTES: u64 = 1 << 20;
const FILE: &str = "verified";

/// The file that remembers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Remembered {
    folder: Option<PathBuf>,
}

impl Remembered {
    /// In `$VEILWATCH_CACHE`, else in the user's cache folder.
    pub(crate) fn of_this_user() -> Self {
        Self { folder: crate::cache::folder() }
    }

    /// In a folder.
    pub(crate) fn at(folder: &Path) -> Self {
        Self { folder: Some(folder.to_owned()) }
    }

    /// Whether this library was tried by this version.
    pub(crate) fn knows(&self, sha256: &str) -> bool {
        let line = line(sha256);
        self.lines().contains(&line)
    }

    /// Notes that a library was tried and did no harm. What cannot be written is not remembered.
    pub(crate) fn note(&self, sha256: &str) {
        let _ = self.write(sha256);
    }

    fn lines(&self) -> Vec<String> {
        let Some(path) = self.folder.as_ref().map(|folder| folder.join(FILE)) else { return Vec::new() };
        let mut text = String::new();
        let ours = |file: &File| {
            let us = nix::unistd::geteuid().as_raw();
            file.metadata().is_ok_and(|facts| facts.is_file() && facts.uid() == us && facts.mode() & 0o022 == 0)
        };
        // A named pipe in its place must not make us wait.
        let open = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        match open.ok().filter(ours).map(|file| file.take(BYTES).read_to_string(&mut text)) {
            Some(Ok(_)) => text.lines().filter(|line| is_whole(line)).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }

    fn write(&self, sha256: &str) -> std::io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut lines = self.lines();
        let new = line(sha256);
        lines.retain(|line| *line != new);
        lines.push(new);
        let first = lines.len().saturating_sub(LIBRARIES);
        // A whole file under another name takes the old one's place: a reader sees one or the other.
        let passing = folder.join(format!("{FILE}.{}", std::process::id()));
        let written =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&passing).and_then(|mut file| {
                file.write_all((lines[first..].join("\n") + "\n").as_bytes())?;
                file.sync_all()
            });
        let moved = written.and_then(|()| std::fs::rename(&passing, folder.join(FILE)));
        if moved.is_err() {
            let _ = std::fs::remove_file(&passing);
        }
        moved
    }
}

fn line(sha256: &str) -> String {
    format!("{sha256} {} {}", veilwatch_core::abi::CONTRACT, env!("CARGO_PKG_VERSION"))
}

/// Whether a line is one of ours and was not cut.
fn is_whole(line: &str) -> bool {
    let mut words = line.split(' ');
    let hash = words.next().is_some_and(|hash| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()));
    hash && words.count() == 2 && line.len() < 200
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn hash(number: usize) -> String {
        format!("{number:064x}")
    }

    #[test]
    fn what_was_noted_is_known_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("deep/down");
        let remembered = Remembered::at(&cache);
        assert!(!remembered.knows(&hash(1)));
        remembered.note(&hash(1));
        remembered.note(&hash(2));
        remembered.note(&hash(1));
        assert!(Remembered::at(&cache).knows(&hash(1)) && remembered.knows(&hash(2)) && !remembered.knows(&hash(3)));
        assert_eq!(remembered.lines().len(), 2);
        assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 1, "nothing is left behind");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&cache), mode(&cache.join(FILE))), (0o700, 0o600));
        // Another version's word does not count.
        let text = std::fs::read_to_string(cache.join(FILE)).unwrap();
        std::fs::write(cache.join(FILE), text.replace(env!("CARGO_PKG_VERSION"), "0.0.0")).unwrap();
        assert!(!remembered.knows(&hash(1)));
    }

    #[test]
    fn damage_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let remembered = Remembered::at(folder.path());
        remembered.note(&hash(1));
        let path = folder.path().join(FILE);
        let good = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("junk\n{good}{}", &good[..50])).unwrap();
        assert!(remembered.knows(&hash(1)));
        remembered.note(&hash(2));
        assert_eq!(remembered.lines().len(), 2);
        std::fs::write(&path, [0xff, 0xfe, 0]).unwrap();
        assert!(!remembered.knows(&hash(1)));
        remembered.note(&hash(1));
        assert!(remembered.knows(&hash(1)));
        // Others may write to it: it proves nothing.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(!remembered.knows(&hash(1)));
        // Where nothing can be remembered, nothing is.
        Remembered::default().note(&hash(1));
        assert!(!Remembered::default().knows(&hash(1)));
    }

    #[test]
    fn only_so_many_are_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let remembered = Remembered::at(folder.path());
        let many: Vec<String> = (0..LIBRARIES).map(|number| line(&hash(number))).collect();
        std::fs::write(folder.path().join(FILE), many.join("\n")).unwrap();
        remembered.note(&hash(LIBRARIES));
        assert!(!remembered.knows(&hash(0)) && remembered.knows(&hash(1)) && remembered.knows(&hash(LIBRARIES)));
    }
}
