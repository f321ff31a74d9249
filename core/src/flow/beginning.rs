//! What the first payload of a direction looks like, where no template knows it.

/// Bytes that are looked at.
const BYTES: usize = 128;
/// Bytes below which nothing is said of chance.
const LEAST: usize = 32;

/// Kinds of first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Printable ASCII, with line breaks, to nine tenths at least.
    Text,
    /// As if by chance: encrypted or compressed from the first byte on.
    ///
    /// The rules follow those by which a national firewall was found to recognise fully encrypted traffic (Wu et al.,
    /// *How the Great Firewall of China Detects and Blocks Fully Encrypted Traffic*, USENIX Security 2023): between 3.4
    /// and 4.6 bits of a byte are set, the first six bytes are not all printable, no more than half of all are, and no
    /// more than 20 in a row. Ours: line breaks and tabulators are printable, and less than 32 bytes are too few.
    Random,
    /// Anything else.
    Binary,
}

impl Class {
    /// Its name in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Random => "random",
            Self::Binary => "binary",
        }
    }
}

/// Figures of the first bytes of a direction, at most 128 of its first packet with payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginning {
    /// What they look like.
    pub class: Class,
    /// Bytes that were looked at.
    pub bytes: u8,
    /// How many of these are printable ASCII, tabulators or line breaks.
    pub printable: u8,
    /// Shannon entropy in thousandths of a bit a byte; of `n` bytes it is at most that of log2 `n` bits.
    pub entropy: u16,
}

impl Beginning {
    /// Looks at a payload; nothing where it is empty.
    pub fn of(payload: &[u8]) -> Option<Self> {
        let bytes = payload.get(..BYTES).unwrap_or(payload);
        let count = u8::try_from(bytes.len()).ok().filter(|count| *count > 0)?;
        let mut histogram = [0u8; 256];
        let mut spread = 0;
        for byte in bytes {
            let known = &mut histogram[usize::from(*byte)];
            spread += WEIGHTS[usize::from(*known) + 1] - WEIGHTS[usize::from(*known)];
            *known += 1;
        }
        let printable = bytes.iter().map(|byte| u8::from(is_printable(*byte))).sum::<u8>();
        let ones: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
        let n = u32::from(count);
        let entropy = ((WEIGHTS[bytes.len()] - spread) / n * 1000) >> SHIFT;
        let balanced = (34 * n..=46 * n).contains(&(10 * ones));
        let greets = bytes.len() >= 6 && bytes.iter().take(6).all(|byte| is_printable(*byte));
        let class = if u32::from(printable) * 10 >= n * 9 {
            Class::Text
        } else if bytes.len() >= LEAST && balanced && !greets && u32::from(printable) * 2 <= n && longest(bytes) <= 20 {
            Class::Random
        } else {
            Class::Binary
        };
        Some(Self { class, bytes: count, printable, entropy: entropy as u16 })
    }
}

/// The longest row of printable bytes.
fn longest(bytes: &[u8]) -> usize {
    bytes.split(|byte| !is_printable(*byte)).map(<[u8]>::len).max().unwrap_or_default()
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n')
}

/// Binary places of [`WEIGHTS`].
const SHIFT: u32 = 12;

/// `n` times log2 `n`: whole numbers, so that every machine tells the same entropy.
const WEIGHTS: [u32; BYTES + 1] = {
    let mut weights = [0; BYTES + 1];
    let mut n = 1;
    while n <= BYTES {
        weights[n] = n as u32 * log2(n as u32);
        n += 1;
    }
    weights
};

/// The logarithm with [`SHIFT`] binary places, digit by digit: the square of a number from 1 to 2 says whether the next
/// one is set.
const fn log2(n: u32) -> u32 {
    let whole = n.ilog2();
    let mut mantissa = (n as u64) << (31 - whole);
    let mut log = whole;
    let mut place = 0;
    while place < SHIFT {
        mantissa = (mantissa * mantissa) >> 31;
        log <<= 1;
        if mantissa >= 1 << 32 {
            mantissa >>= 1;
            log |= 1;
        }
        place += 1;
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(bytes: &[u8]) -> Class {
        Beginning::of(bytes).unwrap().class
    }

    #[test]
    fn entropy_is_shannons() {
        let all: Vec<u8> = (0..128).collect();
        for bytes in [&all[..], b"a", b"aaaa", b"abab", b"the quick brown fox", &all[..100]] {
            let n = bytes.len() as f64;
            let count = |byte: u8| bytes.iter().filter(|other| **other == byte).count() as f64;
            let wanted = -bytes.iter().map(|byte| (count(*byte) / n).log2() / n).sum::<f64>();
            let found = f64::from(Beginning::of(bytes).unwrap().entropy) / 1000.0;
            assert!((found - wanted).abs() < 0.003, "{found} {wanted}");
        }
    }

    #[test]
    fn classes() {
        assert_eq!(Beginning::of(b""), None);
        assert_eq!(class(b"Microsoft Windows [Version 10.0]\r\n"), Class::Text);
        let mut chance = 0x9e37_79b9_7f4a_7c15u64;
        let mut random: Vec<u8> = (0..300)
            .map(|_| {
                chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (chance >> 56) as u8
            })
            .collect();
        let told = Beginning::of(&random).unwrap();
        assert!(told.class == Class::Random && told.bytes == 128 && told.entropy > 6000, "{told:?}");
        assert_eq!(class(&random[..31]), Class::Binary, "too few");
        random[..6].copy_from_slice(b"hello!");
        assert_eq!(class(&random), Class::Binary, "a greeting in clear");
        random[90..111].copy_from_slice(b"what can be read here");
        random[0] = 0;
        assert_eq!(class(&random), Class::Binary, "words inside");
        assert_eq!(class(&[0; 100]), Class::Binary);
    }
}
