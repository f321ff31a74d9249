//! The server's Certificate message (RFC 5246 section 7.4.2) and the X.509 certificate in it (RFC 5280).

use crate::client::Bytes;
use crate::handshake::Message;
use crate::template::Limits;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::net::IpAddr;
use veilwatch_core::record::CertificateInfo;
use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::certificate::X509CertificateParser;
use x509_parser::extensions::{AuthorityInfoAccess, BasicConstraints, GeneralName, SubjectAlternativeName};
use x509_parser::nom::Parser;
use x509_parser::oid_registry::Oid;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo, X509Name};

/// Object identifiers as they are encoded: comparing bytes costs nothing, writing them as text does.
mod oid {
    use x509_parser::asn1_rs::oid;

    pub(super) const ALTERNATIVE_NAMES: &[u8] = &oid!(raw 2.5.29.17);
    pub(super) const BASIC_CONSTRAINTS: &[u8] = &oid!(raw 2.5.29.19);
    pub(super) const AUTHORITY_ACCESS: &[u8] = &oid!(raw 1.3.6.1.5.5.7.1.1);
    pub(super) const OCSP: &[u8] = &oid!(raw 1.3.6.1.5.5.7.48.1);
    pub(super) const CRL_POINTS: &[u8] = &oid!(raw 2.5.29.31);
    pub(super) const POLICIES: &[u8] = &oid!(raw 2.5.29.32);
    /// RFC 6962 section 3.3.
    pub(super) const TRANSPARENCY: &[u8] = &oid!(raw 1.3.6.1.4.1.11129.2.4.2);
    /// Public keys (RFC 3279, RFC 5480, RFC 8410).
    pub(super) const RSA: &[u8] = &oid!(raw 1.2.840.113549.1.1.1);
    pub(super) const RSA_PSS: &[u8] = &oid!(raw 1.2.840.113549.1.1.10);
    pub(super) const ELLIPTIC_CURVE: &[u8] = &oid!(raw 1.2.840.10045.2.1);
    pub(super) const DSA: &[u8] = &oid!(raw 1.2.840.10040.4.1);
    pub(super) const ED25519: &[u8] = &oid!(raw 1.3.101.112);
    pub(super) const ED448: &[u8] = &oid!(raw 1.3.101.113);
    /// Signatures (RFC 3279, RFC 4055, RFC 5758).
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
    /// Hashes by themselves (RFC 4055 section 2.1).
    pub(super) const SHA1: &[u8] = &oid!(raw 1.3.14.3.2.26);
    pub(super) const SHA256: &[u8] = &oid!(raw 2.16.840.1.101.3.4.2.1);
    pub(super) const SHA384: &[u8] = &oid!(raw 2.16.840.1.101.3.4.2.2);
    pub(super) const SHA512: &[u8] = &oid!(raw 2.16.840.1.101.3.4.2.3);
    /// Attribute types of names (RFC 4519).
    pub(super) const COMMON_NAME: &[u8] = &oid!(raw 2.5.4.3);
}

/// Serial numbers have at most 20 bytes (RFC 5280 section 4.1.2.2); some have more.
const SERIAL_BYTES: usize = 64;

/// A chain that was read; owns what the typed record borrows.
#[derive(Debug, Default)]
pub(crate) struct Certificate {
    chain_len: u8,
    chain_bytes: u32,
    leaf_bytes: u32,
    sha256: [u8; 32],
    leaf: Option<Leaf>,
}

#[derive(Debug, Default)]
struct Leaf {
    version: u8,
    serial: Vec<u8>,
    subject: Name,
    issuer: Name,
    self_signed: bool,
    not_before: u64,
    not_after: u64,
    key_kind: u8,
    key_bits: u16,
    signature: u8,
    san_count: u16,
    san_first: String,
    wildcard: bool,
    matches_sni: bool,
    is_ca: bool,
    extensions: u8,
    ct_stamps: bool,
    has_policies: bool,
    has_revocation: bool,
}

/// A distinguished name, as text.
#[derive(Debug, Default)]
struct Name {
    text: String,
    common_name: String,
    attributes: u8,
}

impl Certificate {
    /// Reads the server's certificate and the sizes of the chain; `None` while the first certificate is not all there.
    ///
    /// The rest of a long chain may be cut off: it counts as far as it is there.
    pub(crate) fn read(message: &Message<'_>, sni: &[u8], limits: &Limits) -> Option<Self> {
        let mut bytes = Bytes(message.body);
        let chain_bytes = bytes.three()?;
        let mut chain = Bytes(bytes.up_to(chain_bytes));
        let leaf_bytes = chain.three()?;
        let der = chain.take(leaf_bytes)?;
        let mut certificate = Self {
            chain_len: 1,
            chain_bytes: chain_bytes as u32,
            leaf_bytes: leaf_bytes as u32,
            sha256: Sha256::digest(der).into(),
            // Most extensions are of no interest: those that are, are parsed one by one.
            leaf: X509CertificateParser::new()
                .with_deep_parse_extensions(false)
                .parse(der)
                .ok()
                .map(|(_, leaf)| Leaf::read(&leaf, sni, limits)),
        };
        while usize::from(certificate.chain_len) < limits.certificates
            && chain.three().and_then(|len| chain.take(len)).is_some()
        {
            certificate.chain_len = certificate.chain_len.saturating_add(1);
        }
        Some(certificate)
    }

    /// The typed record.
    pub(crate) fn record(&self) -> CertificateInfo<'_> {
        let info = CertificateInfo {
            chain_len: self.chain_len,
            chain_bytes: self.chain_bytes,
            leaf_bytes: self.leaf_bytes,
            sha256: &self.sha256,
            ..CertificateInfo::default()
        };
        let Some(leaf) = &self.leaf else { return info };
        CertificateInfo {
            parsed: true,
            version: leaf.version,
            serial: &leaf.serial,
            subject: leaf.subject.text.as_bytes(),
            issuer: leaf.issuer.text.as_bytes(),
            subject_cn: leaf.subject.common_name.as_bytes(),
            issuer_cn: leaf.issuer.common_name.as_bytes(),
            subject_attributes: leaf.subject.attributes,
            issuer_attributes: leaf.issuer.attributes,
            self_signed: leaf.self_signed,
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            key_kind: leaf.key_kind,
            key_bits: leaf.key_bits,
            signature: leaf.signature,
            san_count: leaf.san_count,
            san_first: leaf.san_first.as_bytes(),
            wildcard: leaf.wildcard,
            matches_sni: leaf.matches_sni,
            is_ca: leaf.is_ca,
            extensions: leaf.extensions,
            ct_stamps: leaf.ct_stamps,
            has_policies: leaf.has_policies,
            has_revocation: leaf.has_revocation,
            ..info
        }
    }
}

impl Leaf {
    fn read(certificate: &X509Certificate<'_>, sni: &[u8], limits: &Limits) -> Self {
        let (key_kind, key_bits) = key(certificate.public_key());
        let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
        let mut leaf = Self {
            version: certificate.version().0.saturating_add(1).min(255) as u8,
            serial: bounded(certificate.raw_serial(), SERIAL_BYTES).to_vec(),
            subject: Name::read(certificate.subject(), limits.name_bytes),
            issuer: Name::read(certificate.issuer(), limits.name_bytes),
            self_signed: certificate.subject().as_raw() == certificate.issuer().as_raw(),
            not_before: seconds(certificate.validity().not_before.timestamp()),
            not_after: seconds(certificate.validity().not_after.timestamp()),
            key_kind,
            key_bits,
            signature: signature(&certificate.signature_algorithm),
            extensions: certificate.extensions().len().min(255) as u8,
            ..Self::default()
        };
        let mut has_host_names = false;
        for extension in certificate.iter_extensions() {
            match extension.oid.as_bytes() {
                oid::ALTERNATIVE_NAMES => {
                    let Ok((_, SubjectAlternativeName { general_names: names })) =
                        SubjectAlternativeName::from_der(extension.value)
                    else {
                        continue;
                    };
                    leaf.san_count = names.len().min(usize::from(u16::MAX)) as u16;
                    leaf.san_first = names.first().map(|name| general_name(name, limits)).unwrap_or_default();
                    for name in &names {
                        if let GeneralName::DNSName(name) = name {
                            has_host_names = true;
                            leaf.take_host_name(name, sni);
                        }
                    }
                }
                oid::BASIC_CONSTRAINTS => {
                    leaf.is_ca =
                        BasicConstraints::from_der(extension.value).is_ok_and(|(_, constraints)| constraints.ca);
                }
                oid::AUTHORITY_ACCESS => {
                    let access = AuthorityInfoAccess::from_der(extension.value);
                    let ocsp = |(_, access): (&[u8], AuthorityInfoAccess<'_>)| {
                        access.accessdescs.iter().any(|place| place.access_method.as_bytes() == oid::OCSP)
                    };
                    leaf.has_revocation |= access.is_ok_and(ocsp);
                }
                oid::TRANSPARENCY => leaf.ct_stamps = true,
                oid::POLICIES => leaf.has_policies = true,
                oid::CRL_POINTS => leaf.has_revocation = true,
                _ => {}
            }
        }
        // The common name counts where no alternative name is a host's (RFC 6125 section 6.4.4).
        if !has_host_names {
            let name = leaf.subject.common_name.clone();
            leaf.take_host_name(&name, sni);
        }
        leaf
    }

    fn take_host_name(&mut self, name: &str, sni: &[u8]) {
        self.wildcard |= name.contains('*');
        self.matches_sni |= covers(name.as_bytes(), sni);
    }
}

/// Whether a certificate's name covers a host name (RFC 6125 section 6.4): a wildcard stands for one whole label.
fn covers(name: &[u8], host: &[u8]) -> bool {
    let host = host.strip_suffix(b".").unwrap_or(host);
    let name = name.strip_suffix(b".").unwrap_or(name);
    let address = std::str::from_utf8(host).is_ok_and(|host| host.parse::<IpAddr>().is_ok());
    if host.is_empty() || address {
        return false;
    }
    match name.strip_prefix(b"*.") {
        Some(domain) if !domain.is_empty() => {
            let dot = host.iter().position(|b| *b == b'.').filter(|at| *at > 0);
            dot.is_some_and(|dot| host[dot + 1..].eq_ignore_ascii_case(domain))
        }
        _ => name.eq_ignore_ascii_case(host),
    }
}

fn bounded(bytes: &[u8], limit: usize) -> &[u8] {
    &bytes[..bytes.len().min(limit)]
}

/// Cuts text at a character's end.
fn cut(mut text: String, limit: usize) -> String {
    text.truncate((0..=limit.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
    text
}

impl Name {
    fn read(name: &X509Name<'_>, limit: usize) -> Self {
        let mut read = Self::default();
        for rdn in name.iter_rdn() {
            for (at, attribute) in rdn.iter().enumerate() {
                read.attributes = read.attributes.saturating_add(1);
                let value = attribute_text(attribute.attr_value());
                let oid = attribute.attr_type();
                if oid.as_bytes() == oid::COMMON_NAME && read.common_name.is_empty() {
                    read.common_name = cut(value.clone(), limit);
                }
                // What is over the limit is still counted, but not written.
                if read.text.len() > limit {
                    continue;
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
        GeneralName::DirectoryName(name) => Name::read(name, limits.name_bytes).text,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{certificate, certificate_message};

    fn read(message: &[u8], sni: &[u8]) -> Option<Certificate> {
        let len = u32::from_be_bytes([0, message[1], message[2], message[3]]) as usize;
        let message = Message { kind: 11, len, body: &message[4..], record: 0, record_version: 0x0303 };
        Certificate::read(&message, sni, &Limits::default())
    }

    #[test]
    fn every_member_is_read() {
        let der = certificate("www.example.org", &["*.example.org", "example.org"]);
        let chain = certificate_message(&[&der, b"not a certificate"]);
        let sha256: [u8; 32] = Sha256::digest(&der).into();
        assert_eq!(
            read(&chain, b"WWW.example.org").unwrap().record(),
            CertificateInfo {
                chain_len: 2,
                chain_bytes: chain.len() as u32 - 7,
                leaf_bytes: der.len() as u32,
                parsed: true,
                version: 3,
                serial: &[0x12, 0x34],
                subject: b"O=Shop, CN=www.example.org",
                issuer: b"O=Good\\, Ltd, CN=Root",
                subject_cn: b"www.example.org",
                issuer_cn: b"Root",
                subject_attributes: 2,
                issuer_attributes: 2,
                self_signed: false,
                not_before: 1_577_836_800,
                not_after: 1_893_456_000,
                key_kind: 1,
                key_bits: 2048,
                signature: 3,
                san_count: 2,
                san_first: b"*.example.org",
                wildcard: true,
                matches_sni: true,
                is_ca: false,
                extensions: 4,
                ct_stamps: true,
                has_policies: true,
                has_revocation: false,
                sha256: &sha256,
            }
        );
    }

    #[test]
    fn what_cannot_be_read_keeps_its_size() {
        let certificate = read(&certificate_message(&[b"junk"]), b"").unwrap();
        let info = certificate.record();
        assert_eq!((info.parsed, info.leaf_bytes, info.chain_len), (false, 4, 1));
        assert!(read(&certificate_message(&[]), b"").is_none());
    }

    #[test]
    fn a_chain_that_is_cut_has_its_first_certificate() {
        let der = certificate("www.example.org", &[]);
        let chain = certificate_message(&[&der, &der]);
        let certificate = read(&chain[..chain.len() - 1], b"www.example.org").unwrap();
        let info = certificate.record();
        assert_eq!((info.chain_len, info.parsed, info.matches_sni), (1, true, true));
    }

    #[test]
    fn names_cover_hosts_by_the_rules() {
        for (name, host, good) in [
            ("example.org", "example.org", true),
            ("example.org", "Example.ORG.", true),
            ("*.example.org", "www.example.org", true),
            ("*.example.org", "example.org", false),
            ("*.example.org", "a.b.example.org", false),
            ("*.example.org", ".example.org", false),
            ("*.", "a.", false),
            ("192.0.2.1", "192.0.2.1", false),
            ("", "", false),
        ] {
            assert_eq!(covers(name.as_bytes(), host.as_bytes()), good, "{name} {host}");
        }
        // The common name counts only where no alternative name does.
        let der = certificate("www.example.org", &["other.example"]);
        assert!(!read(&certificate_message(&[&der]), b"www.example.org").unwrap().record().matches_sni);
    }
}
