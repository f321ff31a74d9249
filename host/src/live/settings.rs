use serde::{Deserialize, Serialize};

/// Bounds on live captures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LiveSettings {
    /// Bytes of each ring: what waits there when its turn comes late is not lost. The kernel holds it in memory that is
    /// never swapped out.
    pub ring_bytes: u32,
    /// Bytes that all rings may take together.
    pub all_rings_bytes: u64,
    /// Bytes of a block of a ring, which the kernel hands over as one; a power of two and whole pages, and larger than any
    /// packet.
    pub ring_block_bytes: u32,
    /// Rings of each interface, between which the kernel spreads packets by flow. More than one is for links on which its
    /// processors wait for each other.
    pub rings: u8,
    /// How long a packet waits in the ring for others at most, in milliseconds.
    pub wait_milliseconds: u32,
    /// Time between two looks for what has ended, in milliseconds.
    pub look_milliseconds: u32,
    /// Seconds of packet time after which `output.explained` and `output.lines` count anew: a capture may go on for months.
    pub renew_seconds: u32,
    /// Whether the process gives up every right that it needs no more once its rings are open. Only for systems without
    /// Landlock or seccomp is it meant to be false.
    pub sandbox: bool,
}

impl Default for LiveSettings {
    fn default() -> Self {
        Self {
            ring_bytes: 64 << 20,
            all_rings_bytes: 1 << 30,
            ring_block_bytes: 1 << 20,
            rings: 1,
            wait_milliseconds: 50,
            look_milliseconds: 500,
            renew_seconds: 3600,
            sandbox: true,
        }
    }
}

impl LiveSettings {
    /// Bytes of a block as the kernel takes them.
    pub(super) fn block(&self) -> usize {
        // A packet that was put together by the network card may have 64 KiB, and headers.
        (self.ring_block_bytes.clamp(256 << 10, 64 << 20) as usize).next_power_of_two()
    }

    /// Blocks of a ring; with fewer than three one could not be read while the next is filled and another waits.
    pub(super) fn blocks(&self) -> usize {
        (self.ring_bytes as usize / self.block()).max(3)
    }
}
