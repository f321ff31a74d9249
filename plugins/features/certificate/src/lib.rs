//! The server's certificate as numbers: who vouches for it, for how long, and what a name in it looks like.

use std::net::IpAddr;
use veilwatch_core::declare_plugins;
use veilwatch_core::feature::{Column, Evidence, FlowBatch, FlowView, RowWriter, RowsMut, entropy, ratio};
use veilwatch_core::plugin::{FeatureExtractor, PluginError, Settings};
use veilwatch_core::record::{CertificateInfo, ClientHello};

declare_plugins!(feature "certificate" "the server's certificate as numbers": Certificate);

/// The extractor; it has no settings.
#[derive(Debug)]
pub struct Certificate;

const COLUMNS: [(&str, &str, &str); 52] = [
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
    ("subject_country", "flag", "the certificate's subject has a country"),
    ("subject_place", "flag", "the certificate's subject has a state or a locality"),
    ("subject_organisation", "flag", "the certificate's subject has an organisation"),
    ("subject_unit", "flag", "the certificate's subject has an organisational unit"),
    ("subject_mail", "flag", "the certificate's subject has a mail address"),
    ("issuer_country", "flag", "the certificate's issuer has a country"),
    ("issuer_place", "flag", "the certificate's issuer has a state or a locality"),
    ("issuer_organisation", "flag", "the certificate's issuer has an organisation"),
    ("same_organisation", "flag", "subject and issuer of the certificate have the same organisation"),
    ("same_common_name", "flag", "subject and issuer of the certificate have the same common name"),
    ("example_values", "flag", "the certificate's subject has values that tools propose"),
    ("cn_address", "flag", "the certificate's common name is an address"),
    ("cn_first_san", "flag", "the certificate's common name is its first alternative name"),
    ("cn_hyphens", "count", "hyphens in the certificate's common name"),
    ("validity_years", "flag", "the certificate's validity is a whole number of years of 365 days"),
    ("validity_rest", "seconds", "what the certificate's validity has beyond whole days"),
    ("from_midnight", "flag", "the certificate's validity begins at midnight"),
    ("san_length", "bytes", "length of the certificate's first alternative name"),
];

const DAY: f64 = 86_400.0;

/// What tools propose or put in when nobody says who the subject is: OpenSSL's example configuration, older Linux
/// distributions, examples of Go and of documentation.
const EXAMPLES: [&[u8]; 6] = [
    b"Some-State",
    b"Internet Widgits Pty Ltd",
    b"Default City",
    b"Default Company Ltd",
    b"Acme Co",
    b"SomeOrganization",
];

/// Which attributes a name has; of its text, `C=US, O=Example`.
#[derive(Debug, Default, PartialEq)]
struct Attributes<'a> {
    country: bool,
    place: bool,
    unit: bool,
    mail: bool,
    organisation: Option<&'a [u8]>,
    example: bool,
}

impl<'a> Attributes<'a> {
    fn of(name: &'a [u8]) -> Self {
        let mut found = Self::default();
        for part in name.split(|byte| *byte == b',') {
            let part = part.trim_ascii_start();
            let Some(equals) = part.iter().position(|byte| *byte == b'=') else { continue };
            let (kind, value) = (&part[..equals], &part[equals + 1..]);
            match kind {
                b"C" => found.country = true,
                b"ST" | b"L" => found.place = true,
                b"O" => found.organisation = found.organisation.or(Some(value)),
                b"OU" => found.unit = true,
                b"emailAddress" | b"Email" => found.mail = true,
                _ => continue,
            }
            found.example |= EXAMPLES.contains(&value);
        }
        found
    }
}

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
        Self::names(certificate, row);
        let valid = certificate.not_after.saturating_sub(certificate.not_before);
        // Both ends count (RFC 5280 section 4.1.2.5), so that a year may be one second short.
        let years = [valid, valid.saturating_add(1)];
        row.flag(valid > 0 && years.iter().any(|valid| valid.is_multiple_of(365 * 86_400)));
        row.put((valid % 86_400) as f64);
        row.flag(certificate.not_before.is_multiple_of(86_400));
        row.put(certificate.san_first.len() as f64);
        debug_assert_eq!(row.left(), 0);
    }

    /// What subject and issuer have in them.
    fn names(certificate: &CertificateInfo<'_>, row: &mut RowWriter<'_>) {
        let CertificateInfo { subject, issuer, subject_cn, issuer_cn, san_first, .. } = *certificate;
        let [subject, issuer] = [subject, issuer].map(Attributes::of);
        row.flag(subject.country);
        row.flag(subject.place);
        row.flag(subject.organisation.is_some());
        row.flag(subject.unit);
        row.flag(subject.mail);
        row.flag(issuer.country);
        row.flag(issuer.place);
        row.flag(issuer.organisation.is_some());
        row.flag(subject.organisation.is_some() && subject.organisation == issuer.organisation);
        row.flag(!subject_cn.is_empty() && subject_cn == issuer_cn);
        row.flag(subject.example);
        row.flag(std::str::from_utf8(subject_cn).is_ok_and(|text| text.parse::<IpAddr>().is_ok()));
        row.flag(!subject_cn.is_empty() && subject_cn == san_first);
        row.put(subject_cn.iter().filter(|byte| **byte == b'-').count() as f64);
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

#[cfg(test)]
mod tests {
    use super::*;
    use veilwatch_core::flow::Templates;
    use veilwatch_core::record::{FieldTable, Value};
    use veilwatch_testkit::conformance::assert_conforms;
    use veilwatch_testkit::flows::{Table, write};
    use veilwatch_testkit::talk::Talk;

    fn row(subject: &str, issuer: &str, validity: [u64; 2]) -> Table {
        let fields = FieldTable::new();
        let mut flow = Talk::tcp().open().forward(b"x").flow(&Templates::default());
        let common = |name: &'static str, of: &str| (name, of.rsplit("CN=").next().unwrap_or_default().to_owned());
        let names = [
            common("tls.certificate.subject_cn", subject),
            common("tls.certificate.issuer_cn", issuer),
            ("tls.certificate.subject", subject.to_owned()),
            ("tls.certificate.issuer", issuer.to_owned()),
            ("tls.certificate.san_first", "a-b.example".to_owned()),
        ];
        let numbers = [
            ("tls.certificate.chain_len", Value::U64(1)),
            ("tls.certificate.parsed", Value::U64(1)),
            ("tls.certificate.not_before", Value::U64(validity[0])),
            ("tls.certificate.not_after", Value::U64(validity[1])),
        ];
        write(&mut flow, &fields, &numbers).unwrap();
        names.iter().for_each(|(name, text)| {
            write(&mut flow, &fields, &[(*name, Value::Bytes(text.as_bytes()))]).unwrap();
        });
        Table::new(&declarations()[0], "", &fields, &[flow]).unwrap()
    }

    #[test]
    fn names_and_validity_by_hand() {
        let day = 86_400;
        let table =
            row("C=AU, ST=Some-State, O=Example, CN=a-b.example", "O=Example, CN=Root", [20 * day, 385 * day - 1]);
        let get = |name: &str| table.get(0, name).unwrap();
        let yes = ["subject_country", "subject_place", "subject_organisation", "same_organisation", "example_values"];
        assert_eq!(yes.map(get), [1.0; 5]);
        assert_eq!(["cn_first_san", "validity_years", "from_midnight", "cn_hyphens"].map(get), [1.0; 4]);
        let no = ["subject_unit", "subject_mail", "issuer_country", "issuer_place", "same_common_name", "cn_address"];
        assert_eq!(no.map(get), [0.0; 6]);
        assert_eq!((get("validity_rest"), get("san_length")), (86_399.0, 11.0));
        let other = row("CN=192.0.2.1", "CN=192.0.2.1", [1, 0]);
        let get = |name: &str| other.get(0, name).unwrap();
        assert_eq!((get("cn_address"), get("same_common_name"), get("same_organisation")), (1.0, 1.0, 0.0));
        assert_eq!((get("validity_years"), get("validity")), (0.0, -1.0 / 86_400.0));
    }

    #[test]
    fn attributes_are_those_of_the_name() {
        let found = Attributes::of(b"CN=O=x, O=Acme Co,L=here,O=z");
        let wanted = Attributes { place: true, organisation: Some(b"Acme Co"), example: true, ..Attributes::default() };
        assert_eq!(found, wanted);
        assert!(Attributes::of(b"OU=x, ,=,C").unit && !Attributes::of(b"OU=x, ,=,C").country);
        assert_eq!(Attributes::of(b""), Attributes::default());
    }

    #[test]
    fn it_conforms() {
        assert_conforms(declarations());
    }
}
