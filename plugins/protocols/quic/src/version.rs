//! Versions of QUIC, and what differs from one to the next in their Initial packets.

/// A version as it stands in a long header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version(pub(crate) u32);

/// How a version protects its Initial packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cipher {
    pub(crate) salt: &'static [u8; 20],
    /// Labels of key, initialisation vector and header protection.
    pub(crate) labels: [&'static str; 3],
}

/// What a packet with a long header is (RFC 9000 section 17.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Initial,
    ZeroRtt,
    Handshake,
    Retry,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Initial => "Initial",
            Self::ZeroRtt => "0-RTT",
            Self::Handshake => "Handshake",
            Self::Retry => "Retry",
        }
    }
}

/// RFC 9369.
const TWO: u32 = 0x6b33_43cf;
/// Google's, between its own handshake and the drafts.
const T050: u32 = 0x5430_3530;
const T051: u32 = 0x5430_3531;
/// Drafts are numbered from here on.
const DRAFT: u32 = 0xff00_0000;

impl Version {
    /// The version of a Version Negotiation packet (RFC 9000 section 17.2.1).
    pub(crate) const NEGOTIATION: Self = Self(0);

    /// Whether Initial packets of this version can be read.
    pub(crate) fn cipher(self) -> Option<Cipher> {
        const LABELS: [&str; 3] = ["quic key", "quic iv", "quic hp"];
        let salt = match self.draft()? {
            _ if self.0 == T050 => &SALT_T050,
            _ if self.0 == T051 => &SALT_T051,
            22 => &SALT_22,
            23..=28 => &SALT_23,
            29..=32 => &SALT_29,
            // Drafts 33 and 34 are the finished protocol under another number.
            _ if self.0 == TWO => {
                return Some(Cipher { salt: &SALT_2, labels: ["quicv2 key", "quicv2 iv", "quicv2 hp"] });
            }
            _ => &SALT_1,
        };
        Some(Cipher { salt, labels: LABELS })
    }

    /// The draft whose form this version has, for those that can be read; finished versions come after all drafts.
    fn draft(self) -> Option<u32> {
        match self.0 {
            1 | TWO => Some(u32::MAX),
            // Facebook's own names for two of them, and what Google spoke with TLS in it.
            0xface_b001 => Some(22),
            0xface_b002 | T050 | T051 => Some(27),
            _ => Some(self.0.wrapping_sub(DRAFT)).filter(|draft| (22..=34).contains(draft)),
        }
    }

    /// Whether it is a version that somebody speaks, readable or not.
    pub(crate) fn is_known(self) -> bool {
        self.is_google() || self.draft().is_some() || (DRAFT + 1..DRAFT + 22).contains(&self.0)
    }

    /// Whether it is one of Google's, whose names are four letters: Q024 to Q050, T050 and T051.
    pub(crate) fn is_google(self) -> bool {
        let [who, zero, tens, ones] = self.0.to_be_bytes();
        matches!(who, b'Q' | b'T') && zero == b'0' && tens.is_ascii_digit() && ones.is_ascii_digit()
    }

    /// Whether it is one of those that no one speaks, for a server to refuse (RFC 9000 section 15).
    pub(crate) fn is_grease(self) -> bool {
        self.0 & 0x0f0f_0f0f == 0x0a0a_0a0a
    }

    /// What the two bits of a first byte stand for.
    pub(crate) fn kind(self, first: u8) -> Kind {
        const KINDS: [Kind; 4] = [Kind::Initial, Kind::ZeroRtt, Kind::Handshake, Kind::Retry];
        // RFC 9369 section 3.2 turns them by one.
        let bits = (first >> 4 & 3).wrapping_sub(u8::from(self.0 == TWO)) & 3;
        KINDS[usize::from(bits)]
    }

    /// The type of CRYPTO frames: Google had its own frames before it took those of the drafts.
    pub(crate) fn crypto_frame(self) -> u64 {
        if self.is_google() { 8 } else { 6 }
    }

    /// Number of the TLS extension that holds transport parameters, for versions in which those have today's form.
    pub(crate) fn parameters(self) -> Option<u16> {
        match self.draft()? {
            33.. => Some(0x39),
            27..=32 => Some(0xffa5),
            _ => None,
        }
    }
}

/// RFC 9001 section 5.2.
const SALT_1: [u8; 20] = *b"\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a";
/// RFC 9369 section 3.3.1.
const SALT_2: [u8; 20] = *b"\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9";
/// draft-ietf-quic-tls-29 section 5.2.
const SALT_29: [u8; 20] = *b"\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99";
/// draft-ietf-quic-tls-23 section 5.2.
const SALT_23: [u8; 20] = *b"\xc3\xee\xf7\x12\xc7\x2e\xbb\x5a\x11\xa7\xd2\x43\x2b\xb4\x63\x65\xbe\xf9\xf5\x02";
/// draft-ietf-quic-tls-22 section 5.2.
const SALT_22: [u8; 20] = *b"\x7f\xbc\xdb\x0e\x7c\x66\xbb\xe9\x19\x3a\x96\xcd\x21\x51\x9e\xbd\x7a\x02\x64\x4a";
/// As Chromium had them.
const SALT_T050: [u8; 20] = *b"\x7f\xf5\x79\xe5\xac\xd0\x72\x91\x55\x80\x30\x4c\x43\xa2\x36\x7c\x60\x48\x83\x10";
const SALT_T051: [u8; 20] = *b"\x7a\x4e\xde\xf4\xe7\xcc\xee\x5f\xa4\x50\x6c\x19\x12\x4f\xc8\xcc\xda\x6e\x03\x3d";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_known_readable_or_neither() {
        let told = |version| (Version(version).is_known(), Version(version).cipher().is_some());
        for readable in [1, TWO, 0xff00_0016, 0xff00_001b, 0xff00_001d, 0xff00_0022, 0xface_b002, T050, T051] {
            assert_eq!(told(readable), (true, true), "{readable:x}");
        }
        for known in [0xff00_0001, 0xff00_0012, 0x5130_3433, 0x5130_3530, 0x5430_3438] {
            assert_eq!(told(known), (true, false), "{known:x}");
        }
        for other in [0, 2, 0x0a0a_0a0a, 0xff00_0023, 0x5131_3433, 0xffff_ffff] {
            assert_eq!(told(other), (false, false), "{other:x}");
        }
        assert!(Version(0xfa1a_2a0a).is_grease() && !Version(1).is_grease());
    }

    #[test]
    fn the_second_version_turns_the_kinds() {
        let kinds = |version| [0xc0, 0xd0, 0xe0, 0xf0].map(|first| Version(version).kind(first));
        assert_eq!(kinds(1), [Kind::Initial, Kind::ZeroRtt, Kind::Handshake, Kind::Retry]);
        assert_eq!(kinds(TWO), [Kind::Retry, Kind::Initial, Kind::ZeroRtt, Kind::Handshake]);
    }

    #[test]
    fn parameters_moved_with_the_drafts() {
        let of = |version| Version(version).parameters();
        assert_eq!(
            [of(1), of(TWO), of(0xff00_0021), of(0xff00_001d)],
            [Some(0x39), Some(0x39), Some(0x39), Some(0xffa5)]
        );
        assert_eq!(of(0xff00_001a), None);
    }
}
