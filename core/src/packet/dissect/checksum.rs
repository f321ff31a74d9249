//! The Internet checksum (RFC 1071), and what may be said of one.

use std::fmt;

/// What a checksum says of its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumStatus {
    /// It is right.
    Good,
    /// It is wrong.
    Bad {
        /// What it should be.
        expected: u16,
    },
    /// The packet was captured before its network card computed it.
    Offloaded,
    /// Not all that it covers is there, or headers around it covered its bytes too often to add them up again.
    NotVerified,
    /// The sender did without one.
    Absent,
}

impl ChecksumStatus {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad { .. } => "bad",
            Self::Offloaded => "not computed (offload)",
            Self::NotVerified => "not verified",
            Self::Absent => "none",
        }
    }
}

impl fmt::Display for ChecksumStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad { expected } => write!(f, "bad, should be {expected:#06x}"),
            other => f.write_str(other.word()),
        }
    }
}

/// A checksum of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum {
    /// Its field, such as `tcp.checksum`.
    pub field: &'static str,
    /// What it says.
    pub status: ChecksumStatus,
}

/// The folded sum of some pieces of an even length (but for the last) as 16-bit numbers in one's complement.
pub(super) fn sum(pieces: &[&[u8]]) -> u16 {
    let mut total: u64 = 0;
    for piece in pieces {
        let (pairs, rest) = piece.as_chunks::<2>();
        total += pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum::<u64>();
        total += rest.first().map_or(0, |last| u64::from(*last) << 8);
    }
    while total > 0xffff {
        total = (total >> 16) + (total & 0xffff);
    }
    total as u16
}

/// Adds two folded sums.
pub(super) fn add(one: u16, other: u16) -> u16 {
    let (sum, carry) = one.overflowing_add(other);
    sum + u16::from(carry)
}

/// What a checksum is that covers `data` with itself at an even offset `at`, and beside that what has the sum `beside`.
/// Where network cards compute it, they are left zero or that sum to begin with.
pub(super) fn judge(data: &[u8], at: usize, beside: u16, offloads: bool) -> ChecksumStatus {
    let (Some(before), Some([high, low, after @ ..])) = (data.get(..at), data.get(at..)) else {
        return ChecksumStatus::NotVerified;
    };
    let found = u16::from_be_bytes([*high, *low]);
    let expected = !add(sum(&[before, after]), beside);
    // There are two ways to write zero.
    if found == expected || (found == 0xffff && expected == 0) {
        return ChecksumStatus::Good;
    }
    if offloads && (found == 0 || found == beside) {
        return ChecksumStatus::Offloaded;
    }
    ChecksumStatus::Bad { expected }
}
