use super::places::Places;
use super::{Index, IndexedFlow, Place};
use crate::hash::sha256_hex;
use crate::source::Damage;
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use veilwatch_core::flow::{Endpoint, FlowKey};
use veilwatch_core::packet::LinkType;

/// Indexes in the user's cache: a capture that did not change since it was looked into last is known at once.
pub struct KeptIndexes {
    folder: PathBuf,
}

/// The first bytes of a file; another number for another layout.
const BEGIN: &[u8; 8] = b"VWINDEX2";
/// Indexes that are kept, and the bytes of all of them; the oldest ones go.
const MOST: usize = 16;
const MOST_BYTES: u64 = 1 << 30;

impl KeptIndexes {
    /// In the user's cache; nothing where there is none.
    pub fn of_user() -> Option<Self> {
        crate::cache::folder().map(|cache| Self::at(&cache.join("indexes")))
    }

    /// In a folder.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The index of a capture, if it is kept and the capture is still what it was.
    pub fn find(&self, capture: &Path, nesting: u8) -> Option<Index> {
        let identity = identity(capture, nesting)?;
        Self::read(File::open(self.file(&identity)).ok()?, &identity)
    }

    /// The index that a file holds; nothing where it is another's, or anything else.
    pub fn read(file: File, identity: &str) -> Option<Index> {
        let left = file.metadata().ok()?.len().min(MOST_BYTES);
        let mut reader = Reader { file: BufReader::with_capacity(PIECE, file), left };
        if reader.take()? != *BEGIN {
            return None;
        }
        let index = reader.index(identity)?;
        (reader.left == 0).then_some(index)
    }

    /// Writes an index into an empty file. `identity` says of which capture it is, and by which rules it was made.
    pub fn write(file: File, identity: &str, index: &Index) -> io::Result<()> {
        let mut writer = Writer { file: BufWriter::with_capacity(PIECE, file) };
        writer.file.write_all(BEGIN)?;
        writer.index(identity, index)?;
        writer.file.flush()
    }

    /// Bytes that a file with an index takes, or some more.
    pub fn bytes(index: &Index) -> u64 {
        index.len() * 32 + index.flows().len() as u64 * 128
    }

    /// Keeps one. Where that fails, nothing is lost but the time to make it again.
    pub fn keep(&self, capture: &Path, nesting: u8, index: &Index) -> io::Result<()> {
        let Some(identity) = identity(capture, nesting) else { return Ok(()) };
        if Self::bytes(index) > MOST_BYTES / 2 {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let path = self.file(&identity);
        let fresh = path.with_extension(format!("new.{}", std::process::id()));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        if let Err(error) = Self::write(file, &identity, index) {
            let _ = std::fs::remove_file(&fresh);
            return Err(error);
        }
        std::fs::rename(&fresh, &path)?;
        self.tidy();
        Ok(())
    }

    fn file(&self, identity: &str) -> PathBuf {
        self.folder.join(sha256_hex(identity.as_bytes()))
    }

    /// Lets the oldest ones go.
    fn tidy(&self) {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut files: Vec<(Metadata, PathBuf)> =
            entries.filter_map(|entry| Some((entry.metadata().ok()?, entry.path()))).collect();
        files.sort_by_key(|(metadata, _)| std::cmp::Reverse(metadata.mtime()));
        let mut bytes = 0;
        for (at, (metadata, path)) in files.iter().enumerate() {
            bytes += metadata.len();
            if at >= MOST || bytes > MOST_BYTES {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// What tells that a capture is the one that was indexed, and by the same rules.
fn identity(capture: &Path, nesting: u8) -> Option<String> {
    let path = capture.canonicalize().ok()?;
    let found = path.metadata().ok().filter(Metadata::is_file)?;
    Some(format!(
        "{}\n{} {}\n{} {}.{}\n{nesting} {}",
        path.display(),
        found.dev(),
        found.ino(),
        found.len(),
        found.mtime(),
        found.mtime_nsec(),
        env!("CARGO_PKG_VERSION")
    ))
}

/// Bytes that are written and read at once.
const PIECE: usize = 1 << 18;

struct Writer {
    file: BufWriter<File>,
}

impl Writer {
    fn u64(&mut self, number: u64) -> io::Result<()> {
        self.file.write_all(&number.to_le_bytes())
    }

    fn u32(&mut self, number: u32) -> io::Result<()> {
        self.file.write_all(&number.to_le_bytes())
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        self.u64(text.len() as u64)?;
        self.file.write_all(text.as_bytes())
    }

    fn index(&mut self, identity: &str, index: &Index) -> io::Result<()> {
        self.text(identity)?;
        self.u64(index.left_out)?;
        self.u64(index.damage.as_ref().map_or(u64::MAX, |damage| damage.offset))?;
        self.text(index.damage.as_ref().map_or("", |damage| &damage.what))?;
        self.u64(index.places.len() as u64)?;
        for Place { time_ns, offset, len, wire_len, flow, link } in index.places.from(0) {
            self.u64(time_ns)?;
            self.u64(offset)?;
            for number in [len, wire_len, flow, u32::from(link.0)] {
                self.u32(number)?;
            }
        }
        self.u64(index.flows.len() as u64)?;
        for IndexedFlow { key, upward, first, packets, bytes, first_ns, last_ns } in &index.flows {
            for Endpoint { address, port } in [key.low, key.high] {
                self.file.write_all(&address)?;
                self.u32(port.into())?;
            }
            self.u32(u32::from(key.protocol) | u32::from(*upward) << 8)?;
            self.u64(key.lan)?;
            for number in [*first_ns, *last_ns].iter().chain(packets).chain(bytes) {
                self.u64(*number)?;
            }
            self.u32(*first)?;
        }
        Ok(())
    }
}

/// Reads what was written; anything else is nothing.
struct Reader {
    file: BufReader<File>,
    /// Bytes that are still to come.
    left: u64,
}

impl Reader {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.left = self.left.checked_sub(N as u64)?;
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    /// How many pieces follow, each of so many bytes at least.
    fn count(&mut self, least: u64) -> Option<usize> {
        let count = self.u64()?;
        (count <= self.left / least).then(|| usize::try_from(count).ok()).flatten()
    }

    fn text(&mut self) -> Option<String> {
        let mut text = vec![0; self.count(1).filter(|length| *length <= PIECE)?];
        self.left -= text.len() as u64;
        self.file.read_exact(&mut text).ok()?;
        String::from_utf8(text).ok()
    }

    fn index(&mut self, identity: &str) -> Option<Index> {
        if self.text()? != identity {
            return None;
        }
        let left_out = self.u64()?;
        let (offset, what) = (self.u64()?, self.text()?);
        let damage = (offset != u64::MAX).then_some(Damage { offset, what });
        let mut places = Places::default();
        for _ in 0..self.count(32).filter(|count| *count <= Index::MOST)? {
            let (time_ns, offset) = (self.u64()?, self.u64()?);
            let (len, wire_len, flow, link) = (self.u32()?, self.u32()?, self.u32()?, LinkType(self.u32()? as u16));
            places.push(Place { time_ns, offset, len, wire_len, flow, link });
        }
        let mut flows = Vec::with_capacity(self.count(100)?);
        for _ in 0..flows.capacity() {
            let mut end = || Some(Endpoint { address: self.take()?, port: self.u32()? as u16 });
            let (low, high) = (end()?, end()?);
            let (word, lan) = (self.u32()?, self.u64()?);
            let [first_ns, last_ns] = [self.u64()?, self.u64()?];
            let (packets, bytes) = ([self.u64()?, self.u64()?], [self.u64()?, self.u64()?]);
            let first = self.u32()?;
            let (key, upward) = (FlowKey { low, high, protocol: word as u8, lan }, word & 0x100 != 0);
            flows.push(IndexedFlow { key, upward, first, packets, bytes, first_ns, last_ns });
        }
        Some(Index { places, flows, damage, left_out })
    }
}
