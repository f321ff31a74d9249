use super::super::complain;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use veilwatch::output::open_appended;

/// A file that lines are appended to. Others may move it away, and say so: then it is made anew. Where the disk is full, what
/// was to be written is lost and counted, and detection goes on: there may be room again.
pub(super) struct Log {
    path: PathBuf,
    file: File,
    reopen: Arc<AtomicBool>,
    /// Pieces that could not be written.
    lost: Arc<AtomicU64>,
    /// Whether the last piece could not be, or not all of it.
    is_cut: bool,
    /// Whether a line begins with the next piece: only there it is opened anew.
    at_line: bool,
}

impl Log {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file =
            open_appended(path).with_context(|| format!("{}: the result cannot be written there", path.display()))?;
        let (reopen, lost) = (Arc::default(), Arc::default());
        Ok(Self { path: path.to_owned(), file, reopen, lost, is_cut: false, at_line: true })
    }

    /// Set to have it opened anew before the next line.
    pub(super) fn reopener(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.reopen)
    }

    /// Counts what could not be written.
    pub(super) fn lost(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lost)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.is_cut {
            return self.file.write_all(bytes);
        }
        self.file.write_all(&[b"\n", bytes].concat())?;
        self.is_cut = false;
        let lost = self.lost.load(Ordering::Relaxed);
        complain(&format!("{}: it is written again; {lost} pieces were lost", self.path.display()));
        Ok(())
    }
}

impl Write for Log {
    /// Writes all of it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.at_line && self.reopen.swap(false, Ordering::Relaxed) {
            // Where it cannot be made anew, the old one is better than none.
            match open_appended(&self.path) {
                Ok(file) => self.file = file,
                Err(error) => complain(&format!("{}: {error}; the old file is written on", self.path.display())),
            }
        }
        if let Err(error) = self.append(bytes) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            if !std::mem::replace(&mut self.is_cut, true) {
                complain(&format!("{}: {error}; alerts are lost until it can be written again", self.path.display()));
            }
        }
        self.at_line = bytes.ends_with(b"\n");
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    #[test]
    fn a_full_disk_loses_lines_and_says_how_many() {
        let path = Path::new("/dev/full");
        if !path.exists() {
            eprintln!("skipped: there is no /dev/full");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(&folder.path().join("log")).unwrap();
        log.write_all(b"one\n").unwrap();
        let room = std::mem::replace(&mut log.file, OpenOptions::new().append(true).open(path).unwrap());
        log.write_all(b"two\n").unwrap();
        log.write_all(b"three\n").unwrap();
        assert_eq!(log.lost().load(Ordering::Relaxed), 2);
        log.file = room;
        log.write_all(b"four\n").unwrap();
        // What was written of the piece before would end with the line break.
        assert_eq!(std::fs::read_to_string(folder.path().join("log")).unwrap(), "one\n\nfour\n");
    }

    #[test]
    fn a_moved_log_is_made_anew_and_a_cut_line_stays_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        std::fs::write(&path, "{\"a\":1}\n{\"cut").unwrap();
        let mut log = Log::open(&path).unwrap();
        log.write_all(b"two\n").unwrap();
        std::fs::rename(&path, &moved).unwrap();
        log.write_all(b"thr").unwrap();
        log.reopener().store(true, Ordering::Relaxed);
        log.write_all(b"ee\n").unwrap();
        log.write_all(b"four\n").unwrap();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "{\"a\":1}\n{\"cut\ntwo\nthree\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "four\n");
    }
}
