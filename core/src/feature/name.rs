//! What a host name looks like, for features that must not know what it is.

use super::entropy;
use smallvec::SmallVec;
use std::net::IpAddr;

/// The shape of a name: lengths and shares, and nothing of which letters they are of.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct NameShape {
    /// Whether it is an address.
    pub address: bool,
    /// Length in bytes.
    pub length: usize,
    /// Labels: what dots part.
    pub labels: usize,
    /// Length of the longest label in bytes.
    pub longest_label: usize,
    /// Length of the first label in bytes.
    pub first_label: usize,
    /// Digits.
    pub digits: usize,
    /// Digits one behind the other, at most.
    pub digit_run: usize,
    /// Letters that stand beside a digit: how often the two change.
    pub switches: usize,
    /// Hyphens.
    pub hyphens: usize,
    /// Letters.
    pub letters: usize,
    /// Vowels among them, `y` included.
    pub vowels: usize,
    /// Consonants one behind the other, at most.
    pub consonant_run: usize,
    /// Different bytes.
    pub distinct: usize,
    /// Entropy of its bytes in bits.
    pub entropy: f64,
    /// Length in bytes of the label before the top-level domain; `None` with fewer than two labels.
    pub registered_length: Option<usize>,
    /// Digits of that label.
    pub registered_digits: usize,
    /// Entropy in bits of that label.
    pub registered_entropy: f64,
    /// Length of the last label in bytes.
    pub top_length: usize,
    /// Kind of the top-level domain: 1 com, net or org, 2 that of a country, 3 another, 0 none.
    pub top_level: u8,
    /// Whether it begins with `www.`.
    pub www: bool,
    /// Whether a label is an internationalised one (`xn--`, RFC 5890).
    pub punycode: bool,
}

impl NameShape {
    /// The shape of a name in whatever case; of an empty one all is 0.
    pub fn of(name: &[u8]) -> Self {
        let name: SmallVec<[u8; 64]> = name.iter().map(u8::to_ascii_lowercase).collect();
        if name.is_empty() {
            return Self::default();
        }
        let labels: SmallVec<[&[u8]; 8]> = name.split(|byte| *byte == b'.').collect();
        let count = |test: fn(&u8) -> bool| name.iter().filter(|byte| test(byte)).count();
        let vowel = |byte: &u8| b"aeiouy".contains(byte);
        let longest = |apart: fn(&u8) -> bool| name.split(apart).map(<[u8]>::len).max().unwrap_or_default();
        let address = std::str::from_utf8(&name).is_ok_and(|text| text.parse::<IpAddr>().is_ok());
        let registered = labels.len().checked_sub(2).and_then(|at| labels.get(at)).copied();
        let top: &[u8] = labels.last().copied().unwrap_or_default();
        let mixed = |pair: &&[u8]| {
            matches!(pair, [a, b] if (a.is_ascii_digit() && b.is_ascii_lowercase())
                || (a.is_ascii_lowercase() && b.is_ascii_digit()))
        };
        let mut seen = [0u64; 4];
        name.iter().for_each(|byte| seen[usize::from(byte >> 6)] |= 1 << (byte & 63));
        Self {
            address,
            length: name.len(),
            labels: labels.len(),
            longest_label: labels.iter().map(|label| label.len()).max().unwrap_or_default(),
            first_label: labels.first().map_or(0, |label| label.len()),
            digits: count(u8::is_ascii_digit),
            digit_run: longest(|byte| !byte.is_ascii_digit()),
            switches: name.windows(2).filter(mixed).count(),
            hyphens: count(|byte| *byte == b'-'),
            letters: count(u8::is_ascii_alphabetic),
            vowels: name.iter().filter(|byte| vowel(byte)).count(),
            consonant_run: longest(|byte| !byte.is_ascii_alphabetic() || b"aeiouy".contains(byte)),
            distinct: seen.iter().map(|word| word.count_ones() as usize).sum(),
            entropy: entropy(&name),
            registered_length: registered.map(<[u8]>::len),
            registered_digits: registered.map_or(0, |label| label.iter().filter(|byte| byte.is_ascii_digit()).count()),
            registered_entropy: registered.map_or(0.0, entropy),
            top_length: top.len(),
            top_level: match top {
                b"com" | b"net" | b"org" => 1,
                top if top.len() == 2 && top.iter().all(u8::is_ascii_alphabetic) => 2,
                _ if labels.len() > 1 && !address => 3,
                _ => 0,
            },
            www: name.starts_with(b"www."),
            punycode: labels.iter().any(|label| label.starts_with(b"xn--")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let shape = NameShape::of(b"WWW.a1b22-strng.example.co");
        let wanted = NameShape {
            length: 26,
            labels: 4,
            longest_label: 11,
            first_label: 3,
            digits: 3,
            digit_run: 2,
            switches: 3,
            hyphens: 1,
            letters: 19,
            vowels: 5,
            consonant_run: 5,
            registered_length: Some(7),
            top_length: 2,
            top_level: 2,
            www: true,
            ..shape
        };
        assert_eq!(shape, wanted);
        assert!(NameShape::of(b"xn--bcher-kva.example").punycode);
    }

    #[test]
    fn addresses_and_nothing() {
        let shape = NameShape::of(b"192.0.2.1");
        assert_eq!((shape.address, shape.top_level, shape.labels), (true, 0, 4));
        assert_eq!(NameShape::of(b""), NameShape::default());
        assert_eq!(NameShape::of(b"localhost").registered_length, None);
        assert_eq!(NameShape::of(b"...").labels, 4);
    }
}
