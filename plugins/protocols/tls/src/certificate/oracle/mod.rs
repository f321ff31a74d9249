//! What x509-parser reads of a certificate: the oracle that [`Leaf::read`] is held against.
//!
//! Both must say the same of every certificate, sound or damaged, but for those of a [`class`].

mod tests;

use super::extensions::{Extensions, Names, wrapped_stamps};
use super::host::Host;
use super::name::Name;
use super::{Leaf, SERIAL_BYTES};
use crate::der::{self, Reader};
use crate::template::Limits;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;
use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::certificate::X509CertificateParser;
use x509_parser::extensions::{AuthorityInfoAccess, BasicConstraints, GeneralName, SubjectAlternativeName};
use x509_parser::nom::Parser;
use x509_parser::oid_registry::Oid;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo, X509Name};

/// Object identifiers, as x509-parser encodes them.
mod oid {
    use x509_parser::asn1_rs::oid;

    pub(super) const ALTERNATIVE_NAMES: &[u8] = &oid!(raw 2.5.29.17);
    pub(super) const BASIC_CONSTRAINTS: &[u8] = &oid!(raw 2.5.29.19);
    pub(super) const AUTHORITY_ACCESS: &[u8] = &oid!(raw 1.3.6.1.5.5.7.1.1);
    pub(super) const OCSP: &[u8] = &oid!(raw 1.3.6.1.5.5.7.48.1);
    pub(super) const CRL_POINTS: &[u8] = &oid!(raw 2.5.29.31);
    pub(super) const POLICIES: &[u8] = &oid!(raw 2.5.29.32);
    pub(super) const TRANSPARENCY: &[u8] = &oid!(raw 1.3.6.1.4.1.11129.2.4.2);
    pub(super) const RSA: &[u8] = &oid!(raw 1.2.840.113549.1.1.1);
    pub(super) const RSA_PSS: &[u8] = &oid!(raw 1.2.840.113549.1.1.10);
    pub(super) const ELLIPTIC_CURVE: &[u8] = &oid!(raw 1.2.840.10045.2.1);
    pub(super) const DSA: &[u8] = &oid!(raw 1.2.840.10040.4.1);
    pub(super) const ED25519: &[u8] = &oid!(raw 1.3.101.112);
    pub(super) const ED448: &[u8] = &oid!(raw 1.3.101.113);
    pub(super) const MD5_RSA: &[u8] = &oid!(raw 1.2.840.113549.1.1.4);
    pub(super) const SHA1_RSA: &[u8] = &oid!(raw 1.2.840.113549.1.1.5);
    pub(super) const SHA1_RSA_OIW: &[u8] = &oid!(raw 1.3.14.3.2.29);
    pub(super) const SHA1_DSA: &[u8] = &oid!(raw 1.2.840.10040.4.3);
    pub(super) const SHA1_ECDSA: &[u8] = &oid!(raw 1.2.840.10045.4.1);
    pub(super) const SHA256_RSA: &[u8] = &oid!(raw 1.2.840.113549.1.1.11);
    pub(super) const SHA256_ECDSA: &[u8] = &oid!(raw 1.2.840.10045.4.3.2);
    pub(super) const SHA256_DSA: &[u8] = &oid!(raw 2.16.840.1.101.3.4.3.2);
    pub(super) const SHA384_RSA: &[u8] = &oid!(raw 1.2.840.113549.1.1.12);
    pub(super) const SHA384_ECDSA: &[u8] = &oid!(raw 1.2.840.10045.4.3.3);
    pub(super) const SHA384_DSA: &[u8] = &oid!(raw 2.16.840.1.101.3.4.3.3);
    pub(super) const SHA512_RSA: &[u8] = &oid!(raw 1.2.840.113549.1.1.13);
    pub(super) const SHA512_ECDSA: &[u8] = &oid!(raw 1.2.840.10045.4.3.4);
    pub(super) const SHA512_DSA: &[u8] = &oid!(raw 2.16.840.1.101.3.4.3.4);
    pub(super) const SHA1: &[u8] = &oid!(raw 1.3.14.3.2.26);
    pub(super) const SHA256: &[u8] = &oid!(raw 2.16.840.1.101.3.4.2.1);
    pub(super) const SHA384: &[u8] = &oid!(raw 2.16.840.1.101.3.4.2.2);
    pub(super) const SHA512: &[u8] = &oid!(raw 2.16.840.1.101.3.4.2.3);
    pub(super) const COMMON_NAME: &[u8] = &oid!(raw 2.5.4.3);
}

fn parsed(der: &[u8]) -> Option<X509Certificate<'_>> {
    X509CertificateParser::new().with_deep_parse_extensions(false).parse(der).ok().map(|(_, certificate)| certificate)
}

fn leaf<'a>(certificate: &X509Certificate<'a>, sni: &[u8], limits: &Limits) -> Leaf<'a> {
    let (key_kind, key_bits) = key(certificate.public_key());
    let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
    let serial = certificate.raw_serial();
    let subject = name(certificate.subject(), limits.name_bytes);
    Leaf {
        version: certificate.version().0.saturating_add(1).min(255) as u8,
        serial: &serial[..serial.len().min(SERIAL_BYTES)],
        issuer: name(certificate.issuer(), limits.name_bytes),
        self_signed: certificate.subject().as_raw() == certificate.issuer().as_raw(),
        not_before: seconds(certificate.validity().not_before.timestamp()),
        not_after: seconds(certificate.validity().not_after.timestamp()),
        key_kind,
        key_bits,
        signature: signature(&certificate.signature_algorithm),
        extensions: extensions(certificate, &subject, sni, limits),
        subject,
    }
}

fn extensions(certificate: &X509Certificate<'_>, subject: &Name, sni: &[u8], limits: &Limits) -> Extensions {
    let host = Host::new(sni);
    let mut read = Extensions { count: certificate.extensions().len().min(255) as u8, ..Extensions::default() };
    for extension in certificate.iter_extensions() {
        match extension.oid.as_bytes() {
            oid::ALTERNATIVE_NAMES => {
                let Ok((_, SubjectAlternativeName { general_names: names })) =
                    SubjectAlternativeName::from_der(extension.value)
                else {
                    continue;
                };
                let (first, first_is_cut) = names.first().map(|name| general_name(name, limits)).unwrap_or_default();
                read.names = Names { count: names.len().min(usize::from(u16::MAX)) as u16, first, first_is_cut };
                for name in &names {
                    if let GeneralName::DNSName(name) = name {
                        read.has_hosts = true;
                        read.coverage.take(name, host);
                    }
                }
            }
            oid::BASIC_CONSTRAINTS => {
                read.is_ca = BasicConstraints::from_der(extension.value).is_ok_and(|(_, constraints)| constraints.ca);
            }
            oid::AUTHORITY_ACCESS => {
                let access = AuthorityInfoAccess::from_der(extension.value);
                let ocsp = |(_, access): (&[u8], AuthorityInfoAccess<'_>)| {
                    access.accessdescs.iter().any(|place| place.access_method.as_bytes() == oid::OCSP)
                };
                read.has_revocation |= access.is_ok_and(ocsp);
            }
            oid::TRANSPARENCY => {
                read.ct_stamps = true;
                // What theirs reads of a damaged list is another matter; a test holds sound ones against it.
                read.stamps = wrapped_stamps(extension.value);
            }
            oid::POLICIES => read.has_policies = true,
            oid::CRL_POINTS => read.has_revocation = true,
            _ => {}
        }
    }
    if !read.has_hosts {
        read.coverage.take(&subject.common_name, host);
    }
    read
}

/// Cuts text at a character's end, and says whether it did.
fn cut(mut text: String, limit: usize) -> (String, bool) {
    let is_longer = text.len() > limit;
    text.truncate((0..=limit.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
    (text, is_longer)
}

fn name(name: &X509Name<'_>, limit: usize) -> Name {
    let mut read = Name::default();
    for rdn in name.iter_rdn() {
        for (at, attribute) in rdn.iter().enumerate() {
            read.attributes = read.attributes.saturating_add(1);
            let value = attribute_text(attribute.attr_value());
            let oid = attribute.attr_type();
            if oid.as_bytes() == oid::COMMON_NAME && read.common_name.is_empty() {
                let is_cut;
                (read.common_name, is_cut) = cut(value.clone(), limit);
                read.is_cut |= is_cut;
            }
            if !read.text.is_empty() {
                read.text.push_str(if at == 0 { ", " } else { "+" });
            }
            match short_name(oid) {
                Some(name) => read.text.push_str(name),
                None => read.text.push_str(&oid.to_id_string()),
            }
            read.text.push('=');
            escape(&value, &mut read.text);
        }
    }
    let is_cut;
    (read.text, is_cut) = cut(read.text, limit);
    read.is_cut |= is_cut;
    read
}

/// Names of attribute types (RFC 4514 section 3, and those that OpenSSL shows).
fn short_name(oid: &Oid<'_>) -> Option<&'static str> {
    use x509_parser::asn1_rs::oid;
    const NAMES: &[(&[u8], &str)] = &[
        (&oid!(raw 2.5.4.3), "CN"),
        (&oid!(raw 2.5.4.4), "SN"),
        (&oid!(raw 2.5.4.5), "serialNumber"),
        (&oid!(raw 2.5.4.6), "C"),
        (&oid!(raw 2.5.4.7), "L"),
        (&oid!(raw 2.5.4.8), "ST"),
        (&oid!(raw 2.5.4.9), "street"),
        (&oid!(raw 2.5.4.10), "O"),
        (&oid!(raw 2.5.4.11), "OU"),
        (&oid!(raw 2.5.4.12), "title"),
        (&oid!(raw 2.5.4.13), "description"),
        (&oid!(raw 2.5.4.15), "businessCategory"),
        (&oid!(raw 2.5.4.17), "postalCode"),
        (&oid!(raw 2.5.4.42), "GN"),
        (&oid!(raw 2.5.4.97), "organizationIdentifier"),
        (&oid!(raw 1.2.840.113549.1.9.1), "emailAddress"),
        (&oid!(raw 0.9.2342.19200300.100.1.1), "UID"),
        (&oid!(raw 0.9.2342.19200300.100.1.25), "DC"),
        (&oid!(raw 1.3.6.1.4.1.311.60.2.1.1), "jurisdictionL"),
        (&oid!(raw 1.3.6.1.4.1.311.60.2.1.2), "jurisdictionST"),
        (&oid!(raw 1.3.6.1.4.1.311.60.2.1.3), "jurisdictionC"),
    ];
    NAMES.iter().find(|(known, _)| *known == oid.as_bytes()).map(|(_, name)| *name)
}

/// An attribute's value as text, whatever kind of string it is; what is no string gives `#` and its bytes.
fn attribute_text(value: &Any<'_>) -> String {
    match value.tag() {
        Tag::BmpString => {
            let units = value.data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        // In practice Latin 1.
        Tag::T61String => value.data.iter().map(|b| char::from(*b)).collect(),
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::NumericString
        | Tag::VisibleString
        | Tag::GeneralString => String::from_utf8_lossy(value.data).into_owned(),
        _ => value.data.iter().fold(String::from("#"), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        }),
    }
}

/// Escapes what would read as structure (RFC 4514 section 2.4) and control characters.
fn escape(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_ascii_control() => {
                let _ = write!(out, "\\{:02x}", c as u32);
            }
            c => out.push(c),
        }
    }
}

fn general_name(name: &GeneralName<'_>, limits: &Limits) -> (String, bool) {
    let text = match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => (*text).to_owned(),
        GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
            (Ok(four), _) => IpAddr::from(four).to_string(),
            (_, Ok(sixteen)) => IpAddr::from(sixteen).to_string(),
            _ => String::new(),
        },
        GeneralName::DirectoryName(directory) => {
            let name = self::name(directory, limits.name_bytes);
            return (name.text, name.is_cut);
        }
        _ => String::new(),
    };
    cut(text, limits.name_bytes)
}

/// Kind and size of a public key, by the numbers of the typed record.
fn key(info: &SubjectPublicKeyInfo<'_>) -> (u8, u16) {
    let raw = info.subject_public_key.data.len() * 8;
    let parsed = || info.parsed().ok();
    let (kind, bits) = match info.algorithm.algorithm.as_bytes() {
        oid::RSA | oid::RSA_PSS => {
            let bits = match parsed() {
                Some(PublicKey::RSA(key)) => significant_bits(key.modulus),
                _ => 0,
            };
            (1, bits)
        }
        oid::ELLIPTIC_CURVE => {
            let point = info.subject_public_key.data.as_ref();
            let bits = match point {
                [4, both @ ..] => both.len() / 2 * 8,
                [2 | 3, one @ ..] => one.len() * 8,
                _ => 0,
            };
            // P-521 has 66 bytes.
            (2, if bits == 528 { 521 } else { bits })
        }
        oid::DSA => {
            // The public value is an INTEGER as long as the prime, or nearly.
            let bits =
                Any::from_der(info.subject_public_key.data.as_ref()).map_or(0, |(_, y)| significant_bits(y.data));
            (3, bits.next_multiple_of(64))
        }
        oid::ED25519 | oid::ED448 => (4, raw),
        _ => (0, raw),
    };
    (kind, bits.min(usize::from(u16::MAX)) as u16)
}

/// Bits of a big-endian number without leading zeros.
fn significant_bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|b| **b == 0).count();
    let number = &number[zeros..];
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

/// The hash of a signature algorithm, by the numbers of the typed record.
fn signature(algorithm: &AlgorithmIdentifier<'_>) -> u8 {
    match algorithm.algorithm.as_bytes() {
        oid::MD5_RSA => 1,
        oid::SHA1_RSA | oid::SHA1_RSA_OIW | oid::SHA1_DSA | oid::SHA1_ECDSA => 2,
        oid::SHA256_RSA | oid::SHA256_ECDSA | oid::SHA256_DSA => 3,
        oid::SHA384_RSA | oid::SHA384_ECDSA | oid::SHA384_DSA => 4,
        oid::SHA512_RSA | oid::SHA512_ECDSA | oid::SHA512_DSA => 5,
        oid::ED25519 | oid::ED448 => 6,
        oid::RSA_PSS => pss_hash(algorithm),
        _ => 0,
    }
}

/// RSASSA-PSS names its hash in the parameters (RFC 4055 section 3.1); SHA-1 where it does not.
fn pss_hash(algorithm: &AlgorithmIdentifier<'_>) -> u8 {
    use x509_parser::signature_algorithm::SignatureAlgorithm;
    let Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) = SignatureAlgorithm::try_from(algorithm) else { return 0 };
    match parameters.hash_algorithm_oid().as_bytes() {
        oid::SHA1 => 2,
        oid::SHA256 => 3,
        oid::SHA384 => 4,
        oid::SHA512 => 5,
        _ => 0,
    }
}

/// The classes of certificates of which we say something else than x509-parser, and why.
mod class {
    /// X.690 section 10.1 forbids it, and x509-parser itself refuses it everywhere but in the serial number. We refuse it.
    pub(super) const INDEFINITE: &str = "the serial number has an indefinite length";
    /// x509-parser takes 40 off the second number as often as it can, also behind a 2, where it may be larger, and
    /// leaves the second number of 0.0 out.
    pub(super) const FIRST_NUMBERS: &str = "the first two numbers of an attribute type are 0.0, or 2 and 40 or more";
    /// x509-parser adds the minutes, because the hour before them has no sign.
    pub(super) const LESS_THAN_AN_HOUR: &str = "a time zone is less than an hour west";
    /// x509-parser takes an ENUMERATED and a BIT STRING, too, and indefinite lengths. We take no such CA for one.
    pub(super) const PATH_LENGTH: &str = "the longest path below a CA is no INTEGER";
}

/// Reads a certificate both ways: the classes that are needed to explain what differs, and whether it was read.
fn compare(der: &[u8], sni: &[u8], limits: &Limits) -> (BTreeSet<&'static str>, bool) {
    let certificate = parsed(der);
    let theirs = certificate.as_ref().map(|certificate| leaf(certificate, sni, limits));
    let mut ours = Leaf::read(der, sni, limits);
    let is_read = ours.is_some();
    let mut classes = BTreeSet::new();
    if let (Some(certificate), Some(theirs)) = (&certificate, &theirs)
        && ours.as_ref() != Some(theirs)
    {
        match &mut ours {
            None if has_indefinite_serial(der, certificate) => {
                classes.insert(class::INDEFINITE);
                return (classes, is_read);
            }
            None => {}
            Some(ours) => explain(ours, theirs, der, certificate, &mut classes),
        }
    }
    assert_eq!(ours, theirs, "{der:02x?}");
    (classes, is_read)
}

/// Takes over what differs where it is of a class.
fn explain(
    ours: &mut Leaf<'_>,
    theirs: &Leaf<'_>,
    der: &[u8],
    certificate: &X509Certificate<'_>,
    classes: &mut BTreeSet<&'static str>,
) {
    if (ours.not_before, ours.not_after) != (theirs.not_before, theirs.not_after)
        && der.windows(3).any(|window| window == b"-00")
    {
        classes.insert(class::LESS_THAN_AN_HOUR);
        (ours.not_before, ours.not_after) = (theirs.not_before, theirs.not_after);
    }
    if ours.extensions.is_ca != theirs.extensions.is_ca && has_odd_path_length(certificate) {
        classes.insert(class::PATH_LENGTH);
        ours.extensions.is_ca = theirs.extensions.is_ca;
    }
    // Numbers of another length may be what the limit cuts.
    let (names, their_names) = (&mut ours.extensions.names, &theirs.extensions.names);
    let texts = [
        (&mut ours.subject.text, &mut ours.subject.is_cut, &theirs.subject.text, theirs.subject.is_cut),
        (&mut ours.issuer.text, &mut ours.issuer.is_cut, &theirs.issuer.text, theirs.issuer.is_cut),
        (&mut names.first, &mut names.first_is_cut, &their_names.first, their_names.first_is_cut),
    ];
    for (text, is_cut, their_text, their_cut) in texts {
        if (&*text, *is_cut) != (their_text, their_cut) && has_odd_first_numbers(certificate) {
            classes.insert(class::FIRST_NUMBERS);
            text.clone_from(their_text);
            *is_cut = their_cut;
        }
    }
}

fn has_indefinite_serial(der: &[u8], certificate: &X509Certificate<'_>) -> bool {
    let at = certificate.raw_serial().as_ptr() as usize - der.as_ptr() as usize;
    matches!(der[at - 2..at], [lead, 0x80] if lead & 0x20 != 0)
}

fn has_odd_first_numbers(certificate: &X509Certificate<'_>) -> bool {
    let is_odd = |name: &X509Name<'_>| {
        name.iter_attributes().any(|attribute| match attribute.attr_type().as_bytes() {
            [0] => true,
            [first, ..] => *first >= 120,
            [] => false,
        })
    };
    let names = certificate.iter_extensions().filter(|extension| extension.oid.as_bytes() == oid::ALTERNATIVE_NAMES);
    let in_names = names.filter_map(|names| SubjectAlternativeName::from_der(names.value).ok()).any(|(_, names)| {
        names.general_names.iter().any(|name| matches!(name, GeneralName::DirectoryName(name) if is_odd(name)))
    });
    in_names || is_odd(certificate.subject()) || is_odd(certificate.issuer())
}

fn has_odd_path_length(certificate: &X509Certificate<'_>) -> bool {
    certificate.iter_extensions().filter(|extension| extension.oid.as_bytes() == oid::BASIC_CONSTRAINTS).any(
        |constraints| {
            let Some(mut parts) = Reader(constraints.value).sequence() else { return false };
            parts.value().is_some() && parts.value().is_none_or(|length| length.tag != der::tag::INTEGER)
        },
    )
}
