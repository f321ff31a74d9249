use std::fmt;

/// How far reading a capture got, and what was odd about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStatus {
    /// Name of the capture as messages show it.
    pub name: String,
    /// Size of the file in bytes; `None` for a pipe.
    pub total_bytes: Option<u64>,
    /// Bytes read from the file, compressed as they are there.
    pub file_bytes: u64,
    /// Bytes after decompression.
    pub unpacked_bytes: u64,
    /// Packets handed out.
    pub packets: u64,
    /// Name of the capture format.
    pub format: &'static str,
    /// Name of the compression, outermost last ("gzip in zstd"); `None` for a plain file.
    pub compression: Option<&'static str>,
    /// What ended reading before the capture's end; `None` while everything is well.
    pub damage: Option<Damage>,
    /// pcapng blocks that hold no packet, section or interface, and were passed over.
    pub skipped_blocks: u64,
    /// pcapng blocks that say another length at their end than at their start.
    pub odd_blocks: u64,
    /// Packets whose fraction of a second is a second or more; the surplus is added to their time.
    pub odd_times: u64,
    /// Packets whose record says more bytes were captured than there were on the wire.
    pub odd_lengths: u64,
}

impl SourceStatus {
    /// Of a capture of which nothing was read yet.
    pub(super) fn begin(name: String, format: &'static str) -> Self {
        Self {
            name,
            total_bytes: None,
            file_bytes: 0,
            unpacked_bytes: 0,
            packets: 0,
            format,
            compression: None,
            damage: None,
            skipped_blocks: 0,
            odd_blocks: 0,
            odd_times: 0,
            odd_lengths: 0,
        }
    }
}

/// Where and why a capture ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Position in bytes after decompression.
    pub offset: u64,
    /// What is wrong there, as a sentence without a full stop.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.what, self.offset)
    }
}
