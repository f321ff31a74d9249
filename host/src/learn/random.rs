//! Chance that is the same everywhere.

use super::metrics::SplitMix;

/// FNV-1a, begun from a seed: the same on every machine.
pub(super) fn fnv(seed: u64, bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// [`SplitMix`], begun from a seed and words.
#[derive(Debug, Clone)]
pub(super) struct Random(SplitMix);

impl Random {
    /// The chance of one thing among many: the same for the same seed and words, whatever else is drawn.
    pub(super) fn of(seed: u64, words: &[&str]) -> Self {
        // With a byte between words that no text holds.
        let bytes = words.iter().flat_map(|word| word.bytes().chain([0xff]));
        Self(SplitMix(fnv(seed, bytes)))
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.0.next()
    }

    /// A number from 0 up to, but not including, 1.
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}
