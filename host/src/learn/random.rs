//! Chance that is the same everywhere.

/// SplitMix64 (Steele, Lea and Flood 2014), begun from a seed and words.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// The chance of one thing among many: the same for the same seed and words, whatever else is drawn.
    pub(super) fn of(seed: u64, words: &[&str]) -> Self {
        // FNV-1a, with a byte between words that no text holds.
        let bytes = words.iter().flat_map(|word| word.bytes().chain([0xff]));
        let mixed = bytes.fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(mixed)
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to, but not including, 1.
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}
