//! Object identifiers as they are encoded: comparing bytes costs nothing, writing them as text does.

use super::text::Text;
use std::fmt::Write;

/// Bytes of an object identifier (X.690 section 8.19).
const fn encoded_len(arcs: &[u32]) -> usize {
    let (mut len, mut at) = (1, 2);
    while at < arcs.len() {
        let mut rest = arcs[at];
        len += 1;
        while rest >= 0x80 {
            rest >>= 7;
            len += 1;
        }
        at += 1;
    }
    len
}

const fn encoded<const N: usize>(arcs: &[u32]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[0] = (arcs[0] * 40 + arcs[1]) as u8;
    // From the back: of each arc the lowest bits stand last.
    let (mut end, mut at) = (N, arcs.len());
    while at > 2 {
        at -= 1;
        let mut rest = arcs[at];
        end -= 1;
        bytes[end] = (rest & 0x7f) as u8;
        while rest >= 0x80 {
            rest >>= 7;
            end -= 1;
            bytes[end] = (rest & 0x7f) as u8 | 0x80;
        }
    }
    bytes
}

macro_rules! oid {
    ($($arc:literal),+) => {{
        const ARCS: &[u32] = &[$($arc),+];
        const BYTES: [u8; encoded_len(ARCS)] = encoded(ARCS);
        &BYTES
    }};
}

pub(super) const ALTERNATIVE_NAMES: &[u8] = oid!(2, 5, 29, 17);
pub(super) const BASIC_CONSTRAINTS: &[u8] = oid!(2, 5, 29, 19);
pub(super) const AUTHORITY_ACCESS: &[u8] = oid!(1, 3, 6, 1, 5, 5, 7, 1, 1);
pub(super) const OCSP: &[u8] = oid!(1, 3, 6, 1, 5, 5, 7, 48, 1);
pub(super) const CRL_POINTS: &[u8] = oid!(2, 5, 29, 31);
pub(super) const POLICIES: &[u8] = oid!(2, 5, 29, 32);
/// RFC 6962 section 3.3.
pub(super) const TRANSPARENCY: &[u8] = oid!(1, 3, 6, 1, 4, 1, 11129, 2, 4, 2);
/// The same in an OCSP response.
pub(super) const OCSP_TRANSPARENCY: &[u8] = oid!(1, 3, 6, 1, 4, 1, 11129, 2, 4, 5);
/// Public keys (RFC 3279, RFC 5480, RFC 8410).
pub(super) const RSA: &[u8] = oid!(1, 2, 840, 113549, 1, 1, 1);
pub(super) const RSA_PSS: &[u8] = oid!(1, 2, 840, 113549, 1, 1, 10);
pub(super) const ELLIPTIC_CURVE: &[u8] = oid!(1, 2, 840, 10045, 2, 1);
pub(super) const DSA: &[u8] = oid!(1, 2, 840, 10040, 4, 1);
pub(super) const ED25519: &[u8] = oid!(1, 3, 101, 112);
pub(super) const ED448: &[u8] = oid!(1, 3, 101, 113);
/// Signatures (RFC 3279, RFC 4055, RFC 5758).
pub(super) const MD5_RSA: &[u8] = oid!(1, 2, 840, 113549, 1, 1, 4);
pub(super) const SHA1_RSA: &[u8] = oid!(1, 2, 840, 113549, 1, 1, 5);
pub(super) const SHA1_RSA_OIW: &[u8] = oid!(1, 3, 14, 3, 2, 29);
pub(super) const SHA1_DSA: &[u8] = oid!(1, 2, 840, 10040, 4, 3);
pub(super) const SHA1_ECDSA: &[u8] = oid!(1, 2, 840, 10045, 4, 1);
pub(super) const SHA256_RSA: &[u8] = oid!(1, 2, 840, 113549, 1, 1, 11);
pub(super) const SHA256_ECDSA: &[u8] = oid!(1, 2, 840, 10045, 4, 3, 2);
pub(super) const SHA256_DSA: &[u8] = oid!(2, 16, 840, 1, 101, 3, 4, 3, 2);
pub(super) const SHA384_RSA: &[u8] = oid!(1, 2, 840, 113549, 1, 1, 12);
pub(super) const SHA384_ECDSA: &[u8] = oid!(1, 2, 840, 10045, 4, 3, 3);
pub(super) const SHA384_DSA: &[u8] = oid!(2, 16, 840, 1, 101, 3, 4, 3, 3);
pub(super) const SHA512_RSA: &[u8] = oid!(1, 2, 840, 113549, 1, 1, 13);
pub(super) const SHA512_ECDSA: &[u8] = oid!(1, 2, 840, 10045, 4, 3, 4);
pub(super) const SHA512_DSA: &[u8] = oid!(2, 16, 840, 1, 101, 3, 4, 3, 4);
/// Hashes by themselves (RFC 4055 section 2.1).
pub(super) const SHA1: &[u8] = oid!(1, 3, 14, 3, 2, 26);
pub(super) const SHA256: &[u8] = oid!(2, 16, 840, 1, 101, 3, 4, 2, 1);
pub(super) const SHA384: &[u8] = oid!(2, 16, 840, 1, 101, 3, 4, 2, 2);
pub(super) const SHA512: &[u8] = oid!(2, 16, 840, 1, 101, 3, 4, 2, 3);
/// Attribute types of names (RFC 4519).
pub(super) const COMMON_NAME: &[u8] = oid!(2, 5, 4, 3);

/// Names of attribute types (RFC 4514 section 3, and those that OpenSSL shows).
const NAMES: &[(&[u8], &str)] = &[
    (COMMON_NAME, "CN"),
    (oid!(2, 5, 4, 4), "SN"),
    (oid!(2, 5, 4, 5), "serialNumber"),
    (oid!(2, 5, 4, 6), "C"),
    (oid!(2, 5, 4, 7), "L"),
    (oid!(2, 5, 4, 8), "ST"),
    (oid!(2, 5, 4, 9), "street"),
    (oid!(2, 5, 4, 10), "O"),
    (oid!(2, 5, 4, 11), "OU"),
    (oid!(2, 5, 4, 12), "title"),
    (oid!(2, 5, 4, 13), "description"),
    (oid!(2, 5, 4, 15), "businessCategory"),
    (oid!(2, 5, 4, 17), "postalCode"),
    (oid!(2, 5, 4, 42), "GN"),
    (oid!(2, 5, 4, 97), "organizationIdentifier"),
    (oid!(1, 2, 840, 113549, 1, 9, 1), "emailAddress"),
    (oid!(0, 9, 2342, 19200300, 100, 1, 1), "UID"),
    (oid!(0, 9, 2342, 19200300, 100, 1, 25), "DC"),
    (oid!(1, 3, 6, 1, 4, 1, 311, 60, 2, 1, 1), "jurisdictionL"),
    (oid!(1, 3, 6, 1, 4, 1, 311, 60, 2, 1, 2), "jurisdictionST"),
    (oid!(1, 3, 6, 1, 4, 1, 311, 60, 2, 1, 3), "jurisdictionC"),
];

/// Writes an attribute type by its name where it has one, else by its numbers.
pub(super) fn write_attribute_type(oid: &[u8], out: &mut Text) {
    match NAMES.iter().find(|(known, _)| *known == oid) {
        Some((_, name)) => out.push(name),
        None => write_numbers(oid, out),
    }
}

/// Bytes of a number that fits into 64 bits.
const NUMBER_BYTES: usize = 9;

/// Writes an object identifier as numbers with dots, or as its bytes where a number is too large.
fn write_numbers(oid: &[u8], out: &mut Text) {
    let is_last = |byte: &u8| *byte < 0x80;
    if oid.split_inclusive(is_last).any(|number| number.len() > NUMBER_BYTES && number.last().is_some_and(is_last)) {
        for (at, byte) in oid.iter().enumerate().take(out.pieces_left()) {
            out.push(if at == 0 { "" } else { " " });
            out.push_hex(*byte);
        }
        return;
    }
    for (at, number) in oid.split_inclusive(is_last).enumerate().take(out.pieces_left()) {
        let number = number.iter().fold(0u64, |number, byte| number << 7 | u64::from(byte & 0x7f));
        // The first two numbers are one: of 0 and 1, fewer than 40 follow (X.690 section 8.19.4).
        let top = (number / 40).min(2);
        let _ = match at {
            0 => write!(out, "{top}.{}", number - top * 40),
            _ => write!(out, ".{number}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::asn1_rs::oid as theirs;

    #[test]
    fn they_are_encoded_as_others_do() {
        assert_eq!(TRANSPARENCY, &theirs!(raw 1.3.6.1.4.1.11129.2.4.2));
        assert_eq!(SHA512_DSA, &theirs!(raw 2.16.840.1.101.3.4.3.4));
        assert_eq!(RSA_PSS, &theirs!(raw 1.2.840.113549.1.1.10));
        assert_eq!(oid!(0, 9, 2342, 19200300, 100, 1, 25), &theirs!(raw 0.9.2342.19200300.100.1.25));
        assert_eq!(oid!(1, 0, 127, 128, 16383, 16384), &theirs!(raw 1.0.127.128.16383.16384));
    }

    #[test]
    fn numbers_are_written_with_dots() {
        let written = |oid: &[u8]| {
            let mut text = Text::new(100, 0);
            write_attribute_type(oid, &mut text);
            text.take()
        };
        assert_eq!(written(COMMON_NAME), "CN");
        assert_eq!(written(oid!(1, 2, 3, 840)), "1.2.3.840");
        assert_eq!(written(&[0]), "0.0");
        assert_eq!(written(&[]), "");
        // 2.999, and a number that is cut off.
        assert_eq!(written(&[0x88, 0x37, 3]), "2.999.3");
        assert_eq!(written(&[0x2a, 0x86]), "1.2.6");
        let large = [&[0x2a][..], &[0xff; 8], &[0x7f]].concat();
        assert_eq!(written(&large), "1.2.9223372036854775807");
        assert_eq!(
            written(&[0x69, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1]),
            "69 80 80 80 80 80 80 80 80 80 01"
        );
    }
}
