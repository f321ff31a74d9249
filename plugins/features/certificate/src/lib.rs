//! The server's certificate as numbers: who vouches for it, for how long, and what a name in it looks like.

use veilwatch_core::declare_plugins;
use veilwatch_core::feature::{Column, Evidence, FlowBatch, FlowView, RowWriter, RowsMut, entropy, ratio};
use veilwatch_core::plugin::{FeatureExtractor, PluginError, Settings};
use veilwatch_core::record::{CertificateInfo, ClientHello};

declare_plugins!(feature "certificate" "the server's certificate as numbers": Certificate);

/// The extractor; it has no settings.
#[derive(Debug)]
pub struct Certificate;

const COLUMNS: [(&str, &str, &str); 34] = [
    ("present", "flag", "the handshake shows a certificate"),
    ("chain_length", "count", "certificates in the chain"),
    ("chain_bytes", "bytes", "length of the certificate chain"),
    ("leaf_bytes", "bytes", "length of the server's certificate"),
    ("readable", "flag", "the server's certificate can be read"),
    ("self_signed", "flag", "the server's certificate is self-signed"),
    ("version", "code", "X.509 version of the server's certificate"),
    ("serial_length", "bytes", "length of the serial number"),
    ("validity", "days", "validity of the server's certificate"),
    ("age", "days", "age of the server's certificate"),
    ("left", "days", "days left of the server's certificate"),
    ("expired", "flag", "the server's certificate is not valid at that time"),
    ("key_kind", "code", "kind of the server's public key: 1 RSA, 2 elliptic curve, 3 DSA, 4 Edwards curve"),
    ("key_bits", "bits", "size of the server's public key"),
    ("signature", "code", "hash of the signature: 1 MD5, 2 SHA-1, 3 SHA-256, 4 SHA-384, 5 SHA-512, 6 EdDSA"),
    ("san_count", "count", "alternative names in the server's certificate"),
    ("wildcard", "flag", "the server's certificate has a wildcard name"),
    ("matches_name", "flag", "the server's certificate covers the name that was asked for"),
    ("authority", "flag", "the server's certificate may sign others"),
    ("extensions", "count", "extensions in the server's certificate"),
    ("transparency", "flag", "the server's certificate carries transparency stamps"),
    ("policies", "flag", "the server's certificate names a policy"),
    ("revocation", "flag", "the server's certificate says where revocation is published"),
    ("subject_attributes", "count", "attributes in the certificate's subject"),
    ("issuer_attributes", "count", "attributes in the certificate's issuer"),
    ("subject_length", "bytes", "length of the certificate's subject"),
    ("issuer_length", "bytes", "length of the certificate's issuer"),
    ("subject_cn_length", "bytes", "length of the certificate's common name"),
    ("subject_cn_entropy", "bits", "entropy of the certificate's common name"),
    ("subject_cn_digits", "ratio", "share of digits in the certificate's common name"),
    ("subject_cn_dots", "count", "dots in the certificate's common name"),
    ("subject_cn_spaces", "count", "spaces in the certificate's common name"),
    ("issuer_cn_length", "bytes", "length of the issuer's common name"),
    ("issuer_cn_entropy", "bits", "entropy of the issuer's common name"),
];

const DAY: f64 = 86_400.0;

impl Certificate {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none()?;
        Ok(Self)
    }

    fn fill(certificate: &CertificateInfo<'_>, named: bool, began: u64, row: &mut RowWriter<'_>) {
        row.flag(true);
        row.put(f64::from(certificate.chain_len));
        row.put(f64::from(certificate.chain_bytes));
        row.put(f64::from(certificate.leaf_bytes));
        row.flag(certificate.parsed);
        if !certificate.parsed {
            return;
        }
        let (from, to, now) = (certificate.not_before as f64, certificate.not_after as f64, began as f64);
        row.flag(certificate.self_signed);
        row.put(f64::from(certificate.version));
        row.put(certificate.serial.len() as f64);
        row.put((to - from) / DAY);
        // A capture whose clock stands before 1990 never was set: ages would measure the clock.
        let clock = began > 631_152_000;
        row.maybe(clock.then_some((now - from) / DAY));
        row.maybe(clock.then_some((to - now) / DAY));
        row.maybe(clock.then(|| f64::from(u8::from(now < from || now > to))));
        row.put(f64::from(certificate.key_kind));
        row.put(f64::from(certificate.key_bits));
        row.put(f64::from(certificate.signature));
        row.put(f64::from(certificate.san_count));
        row.flag(certificate.wildcard);
        row.maybe(named.then(|| f64::from(u8::from(certificate.matches_sni))));
        row.flag(certificate.is_ca);
        row.put(f64::from(certificate.extensions));
        row.flag(certificate.ct_stamps);
        row.flag(certificate.has_policies);
        row.flag(certificate.has_revocation);
        row.put(f64::from(certificate.subject_attributes));
        row.put(f64::from(certificate.issuer_attributes));
        row.put(certificate.subject.len() as f64);
        row.put(certificate.issuer.len() as f64);
        let name = certificate.subject_cn;
        let count = |test: fn(&u8) -> bool| name.iter().filter(|byte| test(byte)).count() as f64;
        row.put(name.len() as f64);
        row.put(entropy(name));
        row.maybe(ratio(count(u8::is_ascii_digit), name.len() as f64));
        row.put(count(|byte| *byte == b'.'));
        row.put(count(|byte| *byte == b' '));
        row.put(certificate.issuer_cn.len() as f64);
        row.put(entropy(certificate.issuer_cn));
        debug_assert_eq!(row.left(), 0);
    }
}

impl FeatureExtractor for Certificate {
    fn columns(&self) -> Vec<Column> {
        COLUMNS.map(|(name, unit, words)| Column::new(name, unit, words, Evidence::Certificate)).to_vec()
    }

    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        for (at, flow) in batch.iter().enumerate() {
            let mut row = rows.writer(at);
            match FlowView::record::<CertificateInfo<'_>>(&flow) {
                Some(certificate) => {
                    let named = flow.record::<ClientHello<'_>>().is_some_and(|hello| !hello.sni.is_empty());
                    Self::fill(&certificate, named, flow.began(), &mut row);
                }
                None => row.flag(false),
            }
        }
        Ok(())
    }
}
