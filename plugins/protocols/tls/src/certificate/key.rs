//! Public keys and signature algorithms, by the numbers of the typed record (RFC 3279, RFC 4055, RFC 5480, RFC 8410).

use super::oid;
use crate::der::{Reader, Value, tag, without_zeros};

/// An algorithm and its parameters (RFC 5280 section 4.1.1.2).
#[derive(Debug, Clone, Copy)]
pub(super) struct Algorithm<'a> {
    oid: &'a [u8],
    parameters: Option<Value<'a>>,
}

impl<'a> Algorithm<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let mut parts = reader.sequence()?;
        let oid = parts.primitive()?;
        let parameters = if parts.is_empty() { None } else { Some(parts.value()?) };
        Some(Self { oid, parameters })
    }

    /// The hash of a signature.
    pub(super) fn signature(&self) -> u8 {
        match self.oid {
            oid::MD5_RSA => 1,
            oid::SHA1_RSA | oid::SHA1_RSA_OIW | oid::SHA1_DSA | oid::SHA1_ECDSA => 2,
            oid::SHA256_RSA | oid::SHA256_ECDSA | oid::SHA256_DSA => 3,
            oid::SHA384_RSA | oid::SHA384_ECDSA | oid::SHA384_DSA => 4,
            oid::SHA512_RSA | oid::SHA512_ECDSA | oid::SHA512_DSA => 5,
            oid::ED25519 | oid::ED448 => 6,
            oid::RSA_PSS => self.pss_hash().unwrap_or(0),
            _ => 0,
        }
    }

    /// RSASSA-PSS names its hash in the parameters (RFC 4055 section 3.1); SHA-1 where it does not.
    fn pss_hash(&self) -> Option<u8> {
        let mut parts = self.parameters.filter(|value| value.tag == tag::SEQUENCE)?.reader();
        let algorithm = |value: Value<'a>| Self::read(&mut value.reader());
        let hash = match parts.optional(0)? {
            Some(value) => algorithm(value)?.oid,
            None => oid::SHA1,
        };
        if let Some(mask) = parts.optional(1)? {
            algorithm(mask)?;
        }
        // The lengths of salt and trailer are of no interest, but that they are numbers is.
        for number in [2, 3] {
            if !parts.is_empty() && parts.peek()? == number {
                let value = parts.optional(number)?.filter(Value::is_constructed)?;
                value.reader().unsigned()?;
            }
        }
        Some(match hash {
            oid::SHA1 => 2,
            oid::SHA256 => 3,
            oid::SHA384 => 4,
            oid::SHA512 => 5,
            _ => 0,
        })
    }
}

/// Reads a public key (RFC 5280 section 4.1.2.7): kind and size in bits.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<(u8, u16)> {
    let mut parts = reader.sequence()?;
    let algorithm = Algorithm::read(&mut parts)?;
    let key = parts.bits()?;
    let (kind, bits) = match algorithm.oid {
        oid::RSA => (1, modulus(key).map_or(0, significant_bits)),
        // A key for PSS alone is so rare that its size is left.
        oid::RSA_PSS => (1, 0),
        oid::ELLIPTIC_CURVE => {
            let bits = match key {
                [4, both @ ..] => both.len() / 2 * 8,
                [2 | 3, one @ ..] => one.len() * 8,
                _ => 0,
            };
            // P-521 has 66 bytes.
            (2, if bits == 528 { 521 } else { bits })
        }
        oid::DSA => {
            // The public value is an INTEGER as long as the prime, or nearly.
            let bits = Reader(key).value().map_or(0, |value| significant_bits(value.content));
            (3, bits.next_multiple_of(64))
        }
        oid::ED25519 | oid::ED448 => (4, key.len() * 8),
        _ => (0, key.len() * 8),
    };
    Some((kind, bits.min(usize::from(u16::MAX)) as u16))
}

/// The modulus of an RSA key that is whole (RFC 8017 appendix A.1.1).
fn modulus(key: &[u8]) -> Option<&[u8]> {
    let mut parts = Reader(key).sequence()?;
    let modulus = parts.integer()?;
    parts.integer()?;
    Some(modulus)
}

/// Bits of a big-endian number without leading zeros.
fn significant_bits(number: &[u8]) -> usize {
    let number = without_zeros(number);
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}
