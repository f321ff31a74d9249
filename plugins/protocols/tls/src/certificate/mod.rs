//! The server's Certificate message (RFC 5246 section 7.4.2) and the X.509 certificate in it (RFC 5280).
//!
//! Of the certificate nothing is copied but the texts that are kept, and those only up to their limit. `oracle` holds
//! what is read against x509-parser.
//!
//! * `name` writes distinguished names as text, `text` bounds it, `oid` tells object identifiers.
//! * `key` reads public keys and signature algorithms, `time` times.
//! * `extensions` reads what the extensions say, `host` which names cover a host.
//! * `ocsp` reads what the server has brought along about revocation.

mod extensions;
mod host;
mod key;
mod name;
mod ocsp;
mod oid;
#[cfg(test)]
mod oracle;
mod text;
mod time;

use crate::client::Bytes;
use crate::der::{Reader, tag};
use crate::handshake::Message;
use crate::template::Limits;
use extensions::Extensions;
use host::Host;
use key::Algorithm;
use name::Name;
pub(crate) use ocsp::Staple;
use sha2::{Digest, Sha256};
use veilwatch_core::record::CertificateInfo;

/// Serial numbers have at most 20 bytes (RFC 5280 section 4.1.2.2); some have more.
const SERIAL_BYTES: usize = 64;

/// A chain that was read; owns what the typed record borrows.
#[derive(Debug)]
pub(crate) struct Certificate<'a> {
    chain_len: u8,
    chain_bytes: u32,
    leaf_bytes: u32,
    /// The server's certificate as it was sent.
    der: &'a [u8],
    sha256: [u8; 32],
    leaf: Option<Leaf<'a>>,
    /// There were more certificates than are counted.
    pub(crate) chain_is_cut: bool,
    /// Certificates that the next one did not issue, by its name; one that cannot be read was issued by none and issues none.
    pub(crate) breaks: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Leaf<'a> {
    version: u8,
    serial: &'a [u8],
    subject: Name,
    issuer: Name,
    self_signed: bool,
    not_before: u64,
    not_after: u64,
    key_kind: u8,
    key_bits: u16,
    signature: u8,
    extensions: Extensions,
}

impl<'a> Certificate<'a> {
    /// Reads the server's certificate and the sizes of the chain; `None` while the first certificate is not all there.
    ///
    /// The rest of a long chain may be cut off: it counts as far as it is there.
    pub(crate) fn read(message: &Message<'a>, sni: &[u8], limits: &Limits) -> Option<Self> {
        let mut bytes = Bytes(message.body);
        let chain_bytes = bytes.three()?;
        let mut chain = Bytes(bytes.up_to(chain_bytes));
        let leaf_bytes = chain.three()?;
        let der = chain.take(leaf_bytes)?;
        let mut certificate = Self {
            chain_len: 1,
            chain_bytes: chain_bytes as u32,
            leaf_bytes: leaf_bytes as u32,
            der,
            sha256: Sha256::digest(der).into(),
            leaf: Leaf::read(der, sni, limits),
            chain_is_cut: false,
            breaks: 0,
        };
        let mut issuer = None;
        while usize::from(certificate.chain_len) < limits.certificates
            && let Some(next) = chain.three().and_then(|len| chain.take(len))
        {
            // Most chains have several, but a server's certificate alone needs no second look.
            if certificate.chain_len == 1 {
                issuer = issuer_and_subject(der).map(|names| names[0]);
            }
            let names = issuer_and_subject(next);
            let is_issued = issuer.is_some() && issuer == names.map(|names| names[1]);
            certificate.breaks += u64::from(!is_issued);
            issuer = names.map(|names| names[0]);
            certificate.chain_len = certificate.chain_len.saturating_add(1);
        }
        certificate.chain_is_cut = usize::from(certificate.chain_len) >= limits.certificates && chain.three().is_some();
        Some(certificate)
    }

    /// Reads one certificate by itself.
    pub(crate) fn of_one(der: &'a [u8], limits: &Limits) -> Option<Self> {
        Some(Self {
            chain_len: 1,
            chain_bytes: der.len() as u32,
            leaf_bytes: der.len() as u32,
            der,
            sha256: Sha256::digest(der).into(),
            leaf: Some(Leaf::read(der, &[], limits)?),
            chain_is_cut: false,
            breaks: 0,
        })
    }

    /// Whether a name was longer than what is kept of it.
    pub(crate) fn names_are_cut(&self) -> bool {
        self.leaf
            .as_ref()
            .is_some_and(|leaf| leaf.subject.is_cut || leaf.issuer.is_cut || leaf.extensions.names.first_is_cut)
    }

    /// Object identifiers of the extensions of the server's certificate, in their order and as they are encoded; they are
    /// read anew, because hardly anybody asks.
    pub(crate) fn extension_kinds(&self) -> Vec<&'a [u8]> {
        extension_kinds(self.der).unwrap_or_default()
    }

    /// Certificate-transparency stamps in the server's certificate.
    pub(crate) fn stamps(&self) -> u64 {
        self.leaf.as_ref().map_or(0, |leaf| leaf.extensions.stamps)
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
            serial: leaf.serial,
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
            san_count: leaf.extensions.names.count,
            san_first: leaf.extensions.names.first.as_bytes(),
            wildcard: leaf.extensions.coverage.wildcard,
            matches_sni: leaf.extensions.coverage.matches,
            is_ca: leaf.extensions.is_ca,
            extensions: leaf.extensions.count,
            ct_stamps: leaf.extensions.ct_stamps,
            has_policies: leaf.extensions.has_policies,
            has_revocation: leaf.extensions.has_revocation,
            ..info
        }
    }
}

impl<'a> Leaf<'a> {
    /// Reads a certificate; `None` where its order is not that of one. Damaged names and extensions keep what is sound.
    fn read(der: &'a [u8], sni: &[u8], limits: &Limits) -> Option<Self> {
        let host = Host::new(sni);
        let mut certificate = Reader(der).sequence()?;
        let mut body = certificate.sequence()?;
        let version = match body.optional(0)? {
            Some(version) => version.reader().unsigned()?,
            None => 0,
        };
        let serial = body.value_of(tag::INTEGER)?.content;
        Algorithm::read(&mut body)?;
        let (issuer, raw_issuer) = Name::read(&mut body, limits.name_bytes)?;
        let mut validity = body.sequence()?;
        let (not_before, not_after) = (time::read(&mut validity)?, time::read(&mut validity)?);
        let (subject, raw_subject) = Name::read(&mut body, limits.name_bytes)?;
        let (key_kind, key_bits) = key::read(&mut body)?;
        // What tells holders of the same name apart; out of use.
        for unique_id in [1, 2] {
            if body.peek() == Some(unique_id) {
                body.optional(unique_id)?.filter(|id| !id.content.is_empty())?;
            }
        }
        let mut extensions = Extensions::read(&mut body, host, limits)?;
        // The common name counts where no alternative name is a host's (RFC 6125 section 6.4.4).
        if !extensions.has_hosts {
            extensions.coverage.take(&subject.common_name, host);
        }
        let signature = Algorithm::read(&mut certificate)?.signature();
        certificate.bits()?;
        Some(Self {
            version: version.saturating_add(1).min(255) as u8,
            serial: &serial[..serial.len().min(SERIAL_BYTES)],
            self_signed: raw_subject == raw_issuer,
            subject,
            issuer,
            not_before,
            not_after,
            key_kind,
            key_bits,
            signature,
            extensions,
        })
    }
}

fn extension_kinds(der: &[u8]) -> Option<Vec<&[u8]>> {
    let mut body = Reader(der).sequence()?.sequence()?;
    let mut list = loop {
        let value = body.value()?;
        if value.is_context() && value.tag == 3 {
            break value.reader().sequence()?;
        }
    };
    let mut kinds = Vec::new();
    while let Some(kind) = list.sequence().and_then(|mut parts| parts.primitive()) {
        kinds.push(kind);
    }
    Some(kinds)
}

/// Issuer and subject of a certificate as they are encoded, which is how one name is held against the other.
fn issuer_and_subject(der: &[u8]) -> Option<[&[u8]; 2]> {
    let mut body = Reader(der).sequence()?.sequence()?;
    body.optional(0)?;
    body.value_of(tag::INTEGER)?;
    body.sequence()?;
    let issuer = body.sequence()?.0;
    body.sequence()?;
    Some([issuer, body.sequence()?.0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CertificateParts, certificate, certificate_message, name, stamps_extension};

    fn read<'a>(message: &'a [u8], sni: &[u8]) -> Option<Certificate<'a>> {
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
        let message = certificate_message(&[b"junk"]);
        let certificate = read(&message, b"").unwrap();
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
    fn a_chain_is_in_order_or_is_not() {
        let leaf = CertificateParts::new("www.example.org", &[]);
        let mut middle = CertificateParts::new("Root", &[]);
        (middle.subject, middle.issuer) = (leaf.issuer.clone(), name("Top", "Top"));
        let mut top = CertificateParts::new("Top", &[]);
        (top.subject, top.issuer) = (middle.issuer.clone(), middle.issuer.clone());
        let [leaf, middle, top] = [leaf, middle, top].map(|parts| parts.build());
        for (chain, breaks) in [
            (&[&leaf[..]][..], 0),
            (&[&leaf, &middle, &top], 0),
            (&[&leaf, &top, &middle], 2),
            (&[&leaf, &middle, &middle, &top], 1),
            (&[&leaf, b"junk", &top], 2),
            (&[b"junk", b"junk"], 1),
        ] {
            assert_eq!(read(&certificate_message(chain), b"").unwrap().breaks, breaks);
        }
    }

    #[test]
    fn stamps_are_counted() {
        use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};
        for count in [1, 3] {
            let mut parts = CertificateParts::new("www.example.org", &[]);
            parts.extensions = stamps_extension(count);
            let der = parts.build();
            let theirs = X509Certificate::from_der(&der).unwrap().1;
            let ParsedExtension::SCT(stamps) = theirs.extensions()[0].parsed_extension() else { panic!("no stamps") };
            let message = certificate_message(&[&der]);
            assert_eq!((read(&message, b"").unwrap().stamps(), stamps.len()), (count as u64, count));
        }
    }

    #[test]
    fn the_common_name_counts_where_no_alternative_name_does() {
        let der = certificate("www.example.org", &["other.example"]);
        assert!(!read(&certificate_message(&[&der]), b"www.example.org").unwrap().record().matches_sni);
    }
}
