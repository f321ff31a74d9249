use super::{Index, IndexedFlow, Place};
use crate::hash::sha256_hex;
use crate::source::Damage;
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use veilwatch_core::flow::{Endpoint, FlowKey};
use veilwatch_core::packet::LinkType;

/// Indexes in the user's cache: a capture that did not change since it was looked into last is known at once.
pub struct KeptIndexes {
    folder: PathBuf,
}

/// The first bytes of a file; another number for another layout.
const BEGIN: &[u8; 8] = b"VWINDEX1";
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
        let mut bytes = Vec::new();
        File::open(self.file(&identity)).ok()?.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
        Self::from_bytes(&identity, &bytes)
    }

    /// An index as a file holds it. `identity` is a line that says of which capture it is, and by which rules it was made.
    pub fn to_bytes(identity: &str, index: &Index) -> Vec<u8> {
        let mut writer = Writer { bytes: BEGIN.to_vec() };
        writer.index(identity, index);
        writer.bytes
    }

    /// The index that a file holds; nothing where it is another's, or anything else.
    pub fn from_bytes(identity: &str, bytes: &[u8]) -> Option<Index> {
        let mut reader = Reader { bytes: bytes.strip_prefix(BEGIN)? };
        let index = reader.index(identity)?;
        reader.bytes.is_empty().then_some(index)
    }

    /// Keeps one. Where that fails, nothing is lost but the time to make it again.
    pub fn keep(&self, capture: &Path, nesting: u8, index: &Index) -> io::Result<()> {
        let Some(identity) = identity(capture, nesting) else { return Ok(()) };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let bytes = Self::to_bytes(&identity, index);
        if bytes.len() as u64 > MOST_BYTES / 2 {
            return Ok(());
        }
        let path = self.file(&identity);
        let fresh = path.with_extension(format!("new.{}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&bytes)?;
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

struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn u64(&mut self, number: u64) {
        self.bytes.extend(number.to_le_bytes());
    }

    fn u32(&mut self, number: u32) {
        self.bytes.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.u64(text.len() as u64);
        self.bytes.extend(text.as_bytes());
    }

    fn index(&mut self, identity: &str, index: &Index) {
        self.text(identity);
        self.u64(index.left_out);
        self.u64(index.damage.as_ref().map_or(u64::MAX, |damage| damage.offset));
        self.text(index.damage.as_ref().map_or("", |damage| &damage.what));
        self.u64(index.places.len() as u64);
        for Place { time_ns, offset, len, wire_len, flow, link } in &index.places {
            self.u64(*time_ns);
            self.u64(*offset);
            [*len, *wire_len, *flow, u32::from(link.0)].iter().for_each(|number| self.u32(*number));
        }
        self.u64(index.flows.len() as u64);
        for IndexedFlow { key, upward, opening, packets, bytes, first_ns, last_ns } in &index.flows {
            for Endpoint { address, port } in [key.low, key.high] {
                self.bytes.extend(address);
                self.u32(port.into());
            }
            self.u32(u32::from(key.protocol) | u32::from(*upward) << 8);
            self.u64(key.lan);
            [*first_ns, *last_ns].iter().chain(packets).chain(bytes).for_each(|number| self.u64(*number));
            self.u32(opening.len() as u32);
            opening.iter().for_each(|number| self.u32(*number));
        }
    }
}

/// Reads what was written; anything else is nothing.
struct Reader<'b> {
    bytes: &'b [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*first)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    /// How many pieces follow, each of so many bytes at least.
    fn count(&mut self, least: usize) -> Option<usize> {
        let count = usize::try_from(self.u64()?).ok()?;
        (count <= self.bytes.len() / least).then_some(count)
    }

    fn text(&mut self) -> Option<String> {
        let length = self.count(1)?;
        let (text, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    fn index(&mut self, identity: &str) -> Option<Index> {
        if self.text()? != identity {
            return None;
        }
        let left_out = self.u64()?;
        let (offset, what) = (self.u64()?, self.text()?);
        let damage = (offset != u64::MAX).then_some(Damage { offset, what });
        let mut places = Vec::with_capacity(self.count(32).filter(|count| *count <= Index::MOST)?);
        for _ in 0..places.capacity() {
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
            let count = self.u32()? as usize;
            if count > Index::OPENING {
                return None;
            }
            let opening = (0..count).map(|_| self.u32()).collect::<Option<_>>()?;
            let (key, upward) = (FlowKey { low, high, protocol: word as u8, lan }, word & 0x100 != 0);
            flows.push(IndexedFlow { key, upward, opening, packets, bytes, first_ns, last_ns });
        }
        Some(Index { places, flows, damage, left_out })
    }
}
