use serde::{Deserialize, Serialize};

/// What is read of a capture, and what that may cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InputLimits {
    /// Which packets count, in tcpdump's language; empty: all. A pipeline applies it; a [`Source`](super::Source) by itself
    /// does not.
    pub filter: String,
    /// Largest packet in bytes. A larger one is taken for a broken length field and ends reading.
    pub packet_bytes: u32,
    /// Most interfaces in one pcapng section.
    pub interfaces: u32,
    /// How many times its size on disk a capture may unpack to; applied after the first 64 MiB unpacked.
    pub expansion_ratio: u32,
    /// Bytes that a compressed capture may unpack to, whatever its size on disk.
    pub unpacked_bytes: u64,
    /// Size of one read in bytes, and so of a [`Block`](super::Block) that holds no larger packet.
    pub block_bytes: u32,
}

impl Default for InputLimits {
    fn default() -> Self {
        Self {
            filter: String::new(),
            packet_bytes: 256 << 10,
            interfaces: 65_536,
            expansion_ratio: 1000,
            unpacked_bytes: 64 << 30,
            block_bytes: 256 << 10,
        }
    }
}

/// Offsets into a block are 32 bits wide; with this cap on both sizes a block never comes near that.
const CAP: u32 = 1 << 30;

impl InputLimits {
    /// Largest packet in bytes, within what offsets can express.
    pub(super) fn packet(&self) -> usize {
        self.packet_bytes.min(CAP) as usize
    }

    /// Size of a fresh block in bytes: never so small that a file header does not fit.
    pub(super) fn block(&self) -> usize {
        self.block_bytes.clamp(64, CAP) as usize
    }
}
