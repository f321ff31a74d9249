//! The captures that are uploaded: the examples, and what is made of them.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A capture of the examples.
pub(crate) fn example(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/captures").join(name);
    path.canonicalize().unwrap()
}

/// Files that end with this value.
pub(crate) struct Files(TempDir);

impl Files {
    /// A folder for some.
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A file of these bytes.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// A picture, which is no capture.
pub(crate) const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";

/// A capture that takes a while: `first-run.pcap` so many times, one after the other.
pub(crate) fn long(times: u32) -> Vec<u8> {
    const HEADER: usize = 24;
    const RECORD: usize = 16;
    let short = std::fs::read(example("first-run.pcap")).unwrap();
    let number = |at: usize| u32::from_le_bytes(short[at..at + 4].try_into().unwrap());
    assert_eq!(number(0), 0xa1b2_c3d4, "a pcap of this byte order");
    let mut starts = Vec::new();
    let mut at = HEADER;
    while at < short.len() {
        starts.push(at);
        at += RECORD + number(at + 8) as usize;
    }
    let seconds = number(*starts.last().unwrap()) - number(HEADER) + 1;
    let mut long = short[..HEADER].to_vec();
    for round in 0..times {
        let mut copy = short[HEADER..].to_vec();
        for start in &starts {
            let time = number(*start) + round * seconds;
            copy[start - HEADER..start - HEADER + 4].copy_from_slice(&time.to_le_bytes());
        }
        long.extend(copy);
    }
    long
}
