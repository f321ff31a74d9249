//! What x509-parser reads of a certificate: the oracle that [`Leaf::read`] is held against.
//!
//! Both must say the same of every certificate, sound or damaged, but for the classes of [`differences`].

use super::extensions::{Extensions, Names};
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
                read.names = Names {
                    count: names.len().min(usize::from(u16::MAX)) as u16,
                    first: names.first().map(|name| general_name(name, limits)).unwrap_or_default(),
                };
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
            oid::TRANSPARENCY => read.ct_stamps = true,
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

/// Cuts text at a character's end.
fn cut(mut text: String, limit: usize) -> String {
    text.truncate((0..=limit.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
    text
}

fn name(name: &X509Name<'_>, limit: usize) -> Name {
    let mut read = Name::default();
    for rdn in name.iter_rdn() {
        for (at, attribute) in rdn.iter().enumerate() {
            read.attributes = read.attributes.saturating_add(1);
            let value = attribute_text(attribute.attr_value());
            let oid = attribute.attr_type();
            if oid.as_bytes() == oid::COMMON_NAME && read.common_name.is_empty() {
                read.common_name = cut(value.clone(), limit);
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
    read.text = cut(read.text, limit);
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

fn general_name(name: &GeneralName<'_>, limits: &Limits) -> String {
    let text = match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => (*text).to_owned(),
        GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
            (Ok(four), _) => IpAddr::from(four).to_string(),
            (_, Ok(sixteen)) => IpAddr::from(sixteen).to_string(),
            _ => String::new(),
        },
        GeneralName::DirectoryName(directory) => self::name(directory, limits.name_bytes).text,
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
    let texts = [
        (&mut ours.subject.text, &theirs.subject.text),
        (&mut ours.issuer.text, &theirs.issuer.text),
        (&mut ours.extensions.names.first, &theirs.extensions.names.first),
    ];
    for (ours, theirs) in texts {
        if ours != theirs && has_odd_first_numbers(certificate) {
            classes.insert(class::FIRST_NUMBERS);
            ours.clone_from(theirs);
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

mod tests {
    use super::*;
    use crate::captures::{captures, flows};
    use crate::handshake::Message;
    use crate::records::{CERTIFICATE, Walk};
    use crate::testing::{
        CertificateParts, SHA256_RSA, algorithm, attribute, certificate_extension, der, public_key, sequence,
    };
    use crate::{Tls, client::Bytes};
    use proptest::prelude::*;
    use std::sync::{Arc, Mutex};
    use veilwatch_core::flow::Direction;
    use veilwatch_core::plugin::{PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView};

    fn parts() -> CertificateParts {
        CertificateParts::new("www.example.org", &["*.example.org", "example.org"])
    }

    fn with(change: impl FnOnce(&mut CertificateParts)) -> Vec<u8> {
        let mut parts = parts();
        change(&mut parts);
        parts.build()
    }

    fn validity(before: &[u8], after: &[u8]) -> Vec<u8> {
        sequence(&[before, after])
    }

    const SAN: &[u8] = &[0x55, 29, 17];
    const CONSTRAINTS: &[u8] = &[0x55, 29, 19];
    const ACCESS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];
    const OCSP: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 1];
    const PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
    const SHA384: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];

    fn with_extension(oid: &[u8], body: &[u8]) -> Vec<u8> {
        with(|parts| parts.extensions.extend(certificate_extension(oid, body)))
    }

    fn with_subject(attributes: &[&[u8]]) -> Vec<u8> {
        with(|parts| parts.subject = sequence(attributes))
    }

    /// Certificates of every shape that is read in a way of its own; sound ones, and odd ones.
    fn shapes() -> Vec<Vec<u8>> {
        let text = |text: &str| der(0x0c, text.as_bytes());
        let utc = |text: &[u8]| der(0x17, text);
        let general = |text: &[u8]| der(0x18, text);
        let directory = sequence(&[&attribute(10, &text("a,b")), &attribute(3, &der(0x13, b"*"))]);
        let ec =
            |point: &[u8]| public_key(&algorithm(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1], &der(6, &[1, 2, 3])), point);
        let pss = |parts: &[&[u8]]| algorithm(PSS, &sequence(parts));
        let hash = der(0xa0, &algorithm(SHA384, &[]));
        let rsa = |parts: &[&[u8]]| public_key(&algorithm(crate::testing::RSA, &[]), &sequence(parts));
        let san = |names: &[&[u8]]| sequence(names);
        let long = "é".repeat(300);
        let mut shapes = vec![
            parts().build(),
            CertificateParts::new("", &[]).build(),
            // What stands behind it, and within it behind what is read.
            [parts().build(), vec![0; 3]].concat(),
            with(|parts| parts.signature.extend([5, 0])),
            // Versions.
            with(|parts| parts.version = Vec::new()),
            with(|parts| parts.version = der(0xa0, &der(2, &[0, 0xff, 0, 0, 0]))),
            with(|parts| parts.version = der(0xa0, &der(2, &[0xff]))),
            with(|parts| parts.version = der(0xa0, &der(2, &[0, 2]))),
            with(|parts| parts.version = der(0x60, &der(2, &[2]))),
            // Serial numbers.
            with(|parts| parts.serial = der(2, &[])),
            with(|parts| parts.serial = der(0x82, &[0xff; 100])),
            with(|parts| parts.serial = der(4, &[1])),
            // Times.
            with(|parts| parts.validity = validity(&utc(b"500101000000Z"), &general(b"99991231235959Z"))),
            with(|parts| parts.validity = validity(&utc(b"7001010030-0030"), &general(b"20200101000000.5Z"))),
            with(|parts| parts.validity = validity(&utc(b"990228235959+0130"), &utc(b"000229000000-2559"))),
            with(|parts| parts.validity = validity(&utc(b"200230000000Z"), &utc(b"300101000000Z"))),
            with(|parts| parts.validity = validity(&general(b"20200101000000+0000"), &utc(b"300101000000Z"))),
            with(|parts| parts.validity = validity(&general(b"202001010000Z"), &utc(b"3001010000Z"))),
            with(|parts| parts.validity = validity(&der(0x16, b"200101000000Z"), &utc(b"300101000000Z"))),
            with(|parts| parts.validity = validity(&general(b"00000101000000Z"), &general(b"19691231235959.Z"))),
            // Keys.
            with(|parts| parts.key = ec(&[&[4][..], &[7; 64]].concat())),
            with(|parts| parts.key = ec(&[&[4][..], &[7; 132]].concat())),
            with(|parts| parts.key = ec(&[&[2][..], &[7; 48]].concat())),
            with(|parts| parts.key = ec(&[])),
            with(|parts| parts.key = public_key(&algorithm(&[0x2b, 0x65, 0x70], &[]), &[9; 32])),
            with(|parts| parts.key = public_key(&algorithm(&[0x2b, 0x65, 0x71], &[]), &[9; 57])),
            with(|parts| parts.key = public_key(&algorithm(PSS, &[]), &sequence(&[&der(2, &[5; 9]), &der(2, &[3])]))),
            with(|parts| {
                let dsa = algorithm(&[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1], &sequence(&[]));
                parts.key = public_key(&dsa, &der(2, &[0x11; 127]));
            }),
            with(|parts| parts.key = public_key(&algorithm(&[9], &[5]), &[1])),
            with(|parts| parts.key = public_key(&algorithm(&[9], &[]), &vec![1; 9000])),
            with(|parts| parts.key = rsa(&[&der(2, &[0, 0, 0xc3]), &der(2, &[3])])),
            with(|parts| parts.key = rsa(&[&der(2, &[0xc3]), &der(2, &[])])),
            with(|parts| parts.key = rsa(&[&der(2, &[0x13, 9]), &der(2, &[3]), b"more"])),
            with(|parts| parts.key = sequence(&[&algorithm(&[9], &[]), &der(3, &[4, 1, 0xf8])])),
            with(|parts| parts.key = sequence(&[&algorithm(&[9], &[]), &der(3, &[3, 1, 0xf8])])),
            // Unique identifiers.
            with(|parts| parts.unique_ids = [der(0x81, &[0, 1]), der(0x82, &[9, 1])].concat()),
            with(|parts| parts.unique_ids = der(0x82, &[])),
            with(|parts| parts.unique_ids = der(0x41, &[0, 1])),
            // Signatures.
            with(|parts| parts.signature = der(3, &[])),
            with(|parts| parts.algorithm = algorithm(SHA256_RSA, &[5])),
            with(|parts| parts.algorithm = algorithm(PSS, &[])),
            with(|parts| parts.algorithm = algorithm(PSS, &der(5, &[]))),
            with(|parts| parts.algorithm = pss(&[])),
            with(|parts| parts.algorithm = pss(&[&hash])),
            with(|parts| parts.algorithm = pss(&[&der(0x80, &algorithm(SHA384, &[]))])),
            with(|parts| parts.algorithm = pss(&[&der(0x60, &algorithm(SHA384, &[]))])),
            with(|parts| {
                let mask = der(0xa1, &algorithm(&[1], &algorithm(SHA384, &[])));
                parts.algorithm = pss(&[&hash, &mask, &der(0xa2, &der(2, &[48])), &der(0xa3, &der(2, &[1]))]);
            }),
            with(|parts| parts.algorithm = pss(&[&hash, &der(0xa1, &[])])),
            with(|parts| parts.algorithm = pss(&[&hash, &der(0x82, &der(2, &[48]))])),
            with(|parts| parts.algorithm = pss(&[&hash, &der(0xa2, &der(2, &[0xff]))])),
            with(|parts| parts.algorithm = pss(&[&hash, &der(0xa3, &der(2, &[1])), &[0xa3, 9]])),
            with(|parts| parts.algorithm = pss(&[&hash, &[0xa4, 9]])),
            with(|parts| parts.algorithm = pss(&[&[0xa4, 9]])),
            with(|parts| parts.algorithm = pss(&[&hash, &[0xbf]])),
            // Names.
            with_subject(&[]),
            with_subject(&[&attribute(3, &text("")), &attribute(3, &text("second"))]),
            with_subject(&[&attribute(3, &text("a\0b, \"c\"\n<+;>\\ \u{7f}"))]),
            with_subject(&[&attribute(11, &text(&long)), &attribute(3, &text(&long))]),
            with_subject(&[&attribute(11, &text(&"a,".repeat(300))), &attribute(3, &text("behind"))]),
            with_subject(&[&attribute(3, &der(0x1e, &[0, b'a', 0xd8, 0, 0xdc, 1, 0xd8, 0, 0, b'b', 7]))]),
            with_subject(&[&attribute(3, &der(0x14, b"caf\xe9"))]),
            with_subject(&[&attribute(3, &der(0x0c, b"caf\xe9\xff\xe2\x82s"))]),
            with_subject(&[&attribute(3, &der(0x13, b"*.a.example")), &attribute(6, &der(0x12, b"1"))]),
            with_subject(&[&attribute(3, &der(0x1a, b"v")), &attribute(3, &der(0x1b, b"g"))]),
            with_subject(&[&attribute(3, &der(0x1c, &[0, 0, 0, b'u'])), &attribute(45, &der(3, &[0; 300]))]),
            with_subject(&[&attribute(3, &der(0xbf, &[0x85]))]),
            with_subject(&[&der(
                0x31,
                &[&attribute(3, &text("a"))[2..], &attribute(10, &text("b"))[2..], b"x"].concat(),
            )]),
            with_subject(&[&attribute(3, &text("a")), &der(0x31, &[]), &attribute(10, &text("b"))]),
            with_subject(&[&attribute(3, &text("a")), &der(0x31, &sequence(&[&der(6, &[1])]))]),
            with_subject(&[&der(0x31, &sequence(&[&der(6, &[0x2a, 0x86, 0x48, 0x86]), &text("own")]))]),
            with_subject(&[&der(0x31, &sequence(&[&der(6, &[]), &text("none")]))]),
            with_subject(&[&der(
                0x31,
                &sequence(&[&der(6, &[&[0x2a][..], &[0xff; 9], &[1, 2]].concat()), &text("large")]),
            )]),
            with_subject(&[&der(0x31, &sequence(&[&der(6, &[&[0x2a][..], &[0xff; 12]].concat()), &text("cut")]))]),
            with_subject(&[&der(0x31, &sequence(&[&der(0x26, &[1]), &text("not primitive")]))]),
            with(|parts| parts.subject = parts.issuer.clone()),
            with(|parts| {
                // The same as far as it can be read.
                parts.subject = sequence(&[&attribute(3, &text("a")), b"xx"]);
                parts.issuer = sequence(&[&attribute(3, &text("a")), b"yy"]);
            }),
            // Lists of extensions.
            with(|parts| parts.extensions = Vec::new()),
            with(|parts| parts.extensions.push(0)),
            with(|parts| parts.extensions = certificate_extension(SAN, &san(&[])).repeat(300)),
            with(|parts| parts.extensions = sequence(&[&der(6, SAN), &der(1, &[9]), &der(4, &san(&[])), b"more"])),
            with(|parts| parts.extensions = sequence(&[&der(6, SAN), &der(1, &[0, 0]), &der(4, &san(&[]))])),
            with(|parts| parts.extensions = sequence(&[&der(6, SAN), &der(0x21, &[0]), &der(4, &san(&[]))])),
            with(|parts| parts.extensions = sequence(&[&der(6, SAN), &der(0x24, &san(&[]))])),
            // Alternative names.
            with(|parts| parts.extensions = certificate_extension(SAN, &san(&[&der(0x82, b"x.example")]))),
            with_extension(SAN, &san(&[])),
            with_extension(SAN, &san(&[&der(0x82, b"a\xff")])),
            with_extension(SAN, &san(&[&der(0x16, b"x")])),
            with_extension(SAN, &san(&[&der(0x82, b"www.example.org"), &[0x82, 9]])),
            with_extension(SAN, &[&san(&[&der(0x82, b"www.example.org")])[..], b"more"].concat()),
            with_extension(SAN, &san(&[&der(0x82, long.as_bytes())])),
            with_extension(SAN, b"no list"),
            with(|parts| {
                let names = [der(0x82, b"first.example"), der(0x82, b"www.example.org")].concat();
                let two =
                    [certificate_extension(SAN, &san(&[&names])), certificate_extension(SAN, &san(&[&[0x82, 9]]))];
                parts.extensions = two.concat();
            }),
        ];
        for first in [
            der(0x87, &[192, 0, 2, 1]),
            der(0x87, &[0x20; 16]),
            der(0x87, &[1; 5]),
            der(0x86, b"https://a.example"),
            der(0x81, b"mail@a.example"),
            der(0x81, b"\xff"),
            der(0xa0, &[&der(6, &[1])[..], &der(0xa0, &text("other"))].concat()),
            der(0xa0, b"\x3f"),
            der(0xa3, b"x"),
            der(0xa4, &directory),
            der(0xa4, &[&directory[..], b"x"].concat()),
            der(0xa4, b"x"),
            der(0xa5, b"x"),
            der(0x88, &[0x2a, 3]),
            der(0x8b, b"x"),
        ] {
            shapes.push(with(|parts| parts.extensions = certificate_extension(SAN, &san(&[&first]))));
        }
        let constraints = [
            sequence(&[&der(1, &[0xff])]),
            sequence(&[&der(1, &[1])]),
            sequence(&[&der(1, &[0])]),
            sequence(&[&der(0x21, &[1])]),
            sequence(&[&der(0x81, &[1])]),
            sequence(&[&der(1, &[1, 1])]),
            sequence(&[&der(2, &[1])]),
            sequence(&[&der(1, &[0xff]), &der(2, &[0, 0, 0, 0, 0, 0])]),
            sequence(&[&der(1, &[0xff]), &der(2, &[])]),
            sequence(&[&der(1, &[0xff]), &der(2, &[0xff])]),
            sequence(&[&der(1, &[0xff]), &der(2, &[1, 0, 0, 0, 0])]),
            sequence(&[&der(1, &[0xff]), &der(0x82, &[1])]),
            sequence(&[&der(1, &[0xff]), &der(2, &[1]), &der(5, &[])]),
            sequence(&[&der(1, &[0xff]), b"\x02"]),
            der(0x10, &der(1, &[0xff])),
            der(0x31, &der(1, &[0xff])),
            [sequence(&[&der(1, &[0xff])]), vec![1]].concat(),
        ];
        shapes.extend(constraints.map(|body| with_extension(CONSTRAINTS, &body)));
        let place = |oid: &[u8], location: &[u8]| sequence(&[&der(6, oid), location]);
        let uri = der(0x86, b"http://o.example");
        let access = [
            sequence(&[&place(OCSP, &uri)]),
            sequence(&[&place(&[1], &uri), &place(OCSP, &[&uri[..], b"more"].concat())]),
            sequence(&[&place(OCSP, &der(0x16, b"x"))]),
            sequence(&[&place(OCSP, &[])]),
            sequence(&[&place(OCSP, &uri), b"more"]),
            sequence(&[&place(&[1], &uri)]),
        ];
        shapes.extend(access.map(|body| with_extension(ACCESS, &body)));
        shapes.push(with_extension(&[0x55, 29, 31], b""));
        shapes
    }

    /// The server's names that a mutated certificate is read for.
    const SNI: &[u8] = b"www.example.org";

    #[test]
    fn every_shape_is_read_alike() {
        let shapes = shapes();
        let mut read = 0;
        for name_bytes in [512, 1, 5, 40] {
            let limits = Limits { name_bytes, ..Limits::default() };
            for shape in &shapes {
                let (classes, is_read) = compare(shape, SNI, &limits);
                read += usize::from(is_read);
                assert_eq!(classes, BTreeSet::new(), "{shape:02x?}");
            }
        }
        // Neither all sound nor all damaged, or the comparison would say little.
        assert!((shapes.len() * 3..shapes.len() * 4).contains(&read), "{read} of {}", shapes.len() * 4);
    }

    /// What we say of each class.
    #[test]
    fn each_class_of_differences_is_as_it_is_said() {
        let limits = Limits::default();
        let read = |der: &[u8], class: &'static str| {
            let (classes, is_read) = compare(der, SNI, &limits);
            assert_eq!(classes, BTreeSet::from([class]));
            is_read
        };
        let serial = with(|parts| parts.serial = vec![0x22, 0x80, 2, 1, 7, 0, 0]);
        assert!(!read(&serial, class::INDEFINITE));

        for (oid, written) in [(&[0x88, 0x37][..], "2.999=x"), (&[0x7f], "2.47=x"), (&[0], "0.0=x")] {
            let subject = with_subject(&[&der(0x31, &sequence(&[&der(6, oid), &der(0x0c, b"x")]))]);
            assert!(read(&subject, class::FIRST_NUMBERS));
            assert_eq!(Leaf::read(&subject, SNI, &limits).unwrap().subject.text, written);
        }

        let west =
            with(|parts| parts.validity = validity(&der(0x17, b"700101000000-0030"), &der(0x17, b"300101000000Z")));
        assert!(read(&west, class::LESS_THAN_AN_HOUR));
        assert_eq!(Leaf::read(&west, SNI, &limits).unwrap().not_before, 1800);

        for length in [&der(10, &[1])[..], &der(3, &[0, 1]), &[0x22, 0x80, 0, 0]] {
            let constraints = with_extension(CONSTRAINTS, &sequence(&[&der(1, &[0xff]), length]));
            assert!(read(&constraints, class::PATH_LENGTH));
            assert!(!Leaf::read(&constraints, SNI, &limits).unwrap().extensions.is_ca);
        }
    }

    /// A change of a certificate; places are taken modulo its length.
    #[derive(Debug, Clone)]
    enum Change {
        Set(usize, u8),
        Flip(usize, u8),
        Insert(usize, Vec<u8>),
        Remove(usize, usize),
        Repeat(usize, usize),
        Cut(usize),
        Extend(Vec<u8>),
    }

    impl Change {
        fn apply(&self, bytes: &mut Vec<u8>) {
            let place = |at: usize| at % bytes.len().max(1);
            let range = |at: usize, len: usize| place(at)..(place(at) + len).min(bytes.len());
            match self {
                Self::Set(at, byte) if !bytes.is_empty() => {
                    let at = place(*at);
                    bytes[at] = *byte;
                }
                Self::Flip(at, bit) if !bytes.is_empty() => {
                    let at = place(*at);
                    bytes[at] ^= 1 << bit;
                }
                Self::Insert(at, more) => {
                    let at = place(*at);
                    bytes.splice(at..at, more.iter().copied());
                }
                Self::Remove(at, len) => {
                    let range = range(*at, *len);
                    bytes.drain(range);
                }
                Self::Repeat(at, len) => {
                    let range = range(*at, *len);
                    let again = bytes[range.clone()].to_vec();
                    bytes.splice(range.end..range.end, again);
                }
                Self::Cut(at) => bytes.truncate(place(*at)),
                Self::Extend(more) => bytes.extend(more),
                Self::Set(..) | Self::Flip(..) => {}
            }
        }
    }

    fn change() -> impl Strategy<Value = Change> {
        // Tags and lengths that mean something, more often than chance has them.
        let byte = prop_oneof![
            any::<u8>(),
            prop::sample::select(vec![0, 1, 2, 3, 4, 5, 6, 0x0c, 0x13, 0x14, 0x1e, 0x1f, 0x30, 0x31, 0x7f, 0x80, 0x81]),
            prop::sample::select(vec![0x82, 0x84, 0x87, 0x88, 0x89, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xbf, 0xff]),
        ];
        let at = any::<usize>();
        prop_oneof![
            6 => (at, byte).prop_map(|(at, byte)| Change::Set(at, byte)),
            3 => (at, 0..8u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
            1 => (at, prop::collection::vec(any::<u8>(), 1..4)).prop_map(|(at, more)| Change::Insert(at, more)),
            1 => (at, 1..20usize).prop_map(|(at, len)| Change::Remove(at, len)),
            1 => (at, 1..40usize).prop_map(|(at, len)| Change::Repeat(at, len)),
            1 => at.prop_map(Change::Cut),
            1 => prop::collection::vec(any::<u8>(), 1..20).prop_map(Change::Extend),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        /// Nothing that is done to a certificate makes us panic, hold more than the limits say, or say something else
        /// than x509-parser without a reason.
        #[test]
        fn changed_certificates_are_read_alike(
            shape in prop::sample::select(shapes()),
            changes in prop::collection::vec(change(), 1..4),
            name_bytes in prop::sample::select(vec![512, 30]),
        ) {
            let mut bytes = shape;
            changes.iter().for_each(|change| change.apply(&mut bytes));
            let limits = Limits { name_bytes, ..Limits::default() };
            compare(&bytes, SNI, &limits);
            if let Some(leaf) = Leaf::read(&bytes, SNI, &limits) {
                let Leaf { subject, issuer, extensions, serial, .. } = leaf;
                for text in [subject.text, subject.common_name, issuer.text, issuer.common_name, extensions.names.first] {
                    prop_assert!(text.len() <= name_bytes && text.capacity() <= 2 * name_bytes);
                }
                prop_assert!(serial.len() <= SERIAL_BYTES);
            }
        }

        #[test]
        fn junk_is_read_alike(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            compare(&bytes, SNI, &Limits::default());
        }
    }

    /// What was found in the captures.
    #[derive(Default)]
    struct Seen {
        messages: u32,
        certificates: BTreeSet<Vec<u8>>,
    }

    /// The template, and beside it what it is shown of certificates.
    struct Watch(Tls, Arc<Mutex<Seen>>);

    impl ProtocolTemplate for Watch {
        fn probe(&self, stream: &StreamView<'_>) -> Probe {
            self.0.probe(stream)
        }

        fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
            for direction in [Direction::Forward, Direction::Backward] {
                let framed = stream.framed[direction.index()];
                let walk =
                    Walk::new(stream.bytes(direction), stream.ended(direction), framed, false, &Limits::default());
                if let Some(message) = walk.message(CERTIFICATE).filter(Message::is_complete) {
                    let mut seen = self.1.lock().unwrap();
                    seen.messages += 1;
                    let mut chain = Bytes(message.body);
                    chain.three();
                    while let Some(der) = chain.three().and_then(|len| chain.take(len)) {
                        seen.certificates.insert(der.to_vec());
                    }
                }
            }
            self.0.parse(stream, out)
        }
    }

    #[test]
    fn real_certificates_are_read_alike() {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let paths = captures(&["pcap", "gz"]);
        for path in &paths {
            flows(path, Watch(Tls::create(Settings::new("")).unwrap(), Arc::clone(&seen)));
        }
        let seen = seen.lock().unwrap();
        let mut read = 0;
        let mut differences = Vec::new();
        for der in &seen.certificates {
            // Asked for by its own name, it may match.
            let own = Leaf::read(der, b"", &Limits::default()).map(|leaf| leaf.extensions.names.first);
            read += u32::from(own.is_some());
            for sni in [&b""[..], &own.unwrap_or_default().into_bytes()] {
                differences.extend(compare(der, sni, &Limits::default()).0);
            }
        }
        println!(
            "{} captures, {} distinct certificates, {read} of them read; differences: {differences:?}",
            paths.len(),
            seen.certificates.len()
        );
        assert!(paths.is_empty() || seen.certificates.len() > 500, "{}", seen.certificates.len());
    }
}
