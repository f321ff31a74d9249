//! Extensions (RFC 5280 section 4.2): those that say something of interest, read one by one.

use super::host::{Coverage, Host};
use super::name::Name;
use super::oid;
use super::text::Text;
use crate::der::{Reader, Value, tag};
use crate::server::stamps;
use crate::template::Limits;
use std::fmt::Write;
use std::net::IpAddr;

/// The extensions of a certificate; what is missing or damaged leaves its part as it is without it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Extensions {
    pub(super) count: u8,
    pub(super) names: Names,
    /// Whether a name of a host was among the alternative names.
    pub(super) has_hosts: bool,
    pub(super) coverage: Coverage,
    pub(super) is_ca: bool,
    pub(super) ct_stamps: bool,
    /// How many of them there are.
    pub(super) stamps: u64,
    pub(super) has_policies: bool,
    pub(super) has_revocation: bool,
}

/// The alternative names (RFC 5280 section 4.2.1.6).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) count: u16,
    pub(super) first: String,
    /// The first one was longer than what is kept of it.
    pub(super) first_is_cut: bool,
}

impl Extensions {
    /// Reads the list behind the tag of the extensions, which must fill what is left of the certificate's body.
    pub(super) fn read(body: &mut Reader<'_>, host: Host<'_>, limits: &Limits) -> Option<Self> {
        let mut read = Self::default();
        if body.is_empty() {
            return Some(read);
        }
        body.enter(3)?;
        let mut list = body.sequence()?;
        while !list.is_empty() {
            let mut parts = list.sequence()?;
            let kind = parts.primitive()?;
            if parts.peek() == Some(tag::BOOLEAN) {
                parts.value()?.boolean()?;
            }
            let value = parts.value_of(tag::OCTET_STRING).filter(|value| !value.is_constructed())?;
            read.count = read.count.saturating_add(1);
            read.take(kind, value.content, host, limits);
        }
        body.is_empty().then_some(read)
    }

    fn take(&mut self, kind: &[u8], value: &[u8], host: Host<'_>, limits: &Limits) {
        match kind {
            oid::ALTERNATIVE_NAMES => {
                if let Some(names) = alternative_names(value) {
                    self.take_names(names, host, limits);
                }
            }
            oid::BASIC_CONSTRAINTS => self.is_ca = is_ca(value).unwrap_or(false),
            oid::AUTHORITY_ACCESS => self.has_revocation |= has_ocsp(value).unwrap_or(false),
            oid::TRANSPARENCY => {
                self.ct_stamps = true;
                self.stamps = wrapped_stamps(value);
            }
            oid::POLICIES => self.has_policies = true,
            oid::CRL_POINTS => self.has_revocation = true,
            _ => {}
        }
    }

    fn take_names(&mut self, names: Reader<'_>, host: Host<'_>, limits: &Limits) {
        self.names = Names::default();
        let mut rest = names;
        while let Some(name) = rest.value() {
            if self.names.count == 0 {
                (self.names.first, self.names.first_is_cut) = general_name(&name, limits);
            }
            self.names.count = self.names.count.saturating_add(1);
            if let (DNS_NAME, Ok(text)) = (name.tag, std::str::from_utf8(name.content)) {
                self.has_hosts = true;
                self.coverage.take(text, host);
            }
        }
    }
}

/// How many certificate-transparency stamps are in an extension: their list stands in an octet string of its own.
pub(super) fn wrapped_stamps(value: &[u8]) -> u64 {
    Reader(value).value_of(tag::OCTET_STRING).map_or(0, |list| stamps(list.content))
}

/// Tags of general names (RFC 5280 section 4.2.1.6).
const MAIL_NAME: u32 = 1;
const DNS_NAME: u32 = 2;
const DIRECTORY_NAME: u32 = 4;
const URI: u32 = 6;
const ADDRESS: u32 = 7;

/// The list of alternative names, if all of it is one.
fn alternative_names(value: &[u8]) -> Option<Reader<'_>> {
    let names = Reader(value).sequence()?;
    let mut rest = names.clone();
    while !rest.is_empty() {
        rest.value().filter(Value::is_context)?;
    }
    Some(names)
}

/// A general name as text, empty where it is damaged, or is of a kind that has none; and whether it was cut.
fn general_name(name: &Value<'_>, limits: &Limits) -> (String, bool) {
    let bytes = name.content;
    let mut out = Text::new(limits.name_bytes, if name.tag == ADDRESS { 0 } else { bytes.len() });
    match name.tag {
        MAIL_NAME | DNS_NAME | URI => out.push(std::str::from_utf8(bytes).unwrap_or_default()),
        DIRECTORY_NAME => {
            let mut reader = Reader(bytes);
            let name = Name::read(&mut reader, limits.name_bytes).filter(|_| reader.is_empty());
            return name.map(|(name, _)| (name.text, name.is_cut)).unwrap_or_default();
        }
        ADDRESS => {
            let address = match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
                (Ok(four), _) => Some(IpAddr::from(four)),
                (_, Ok(sixteen)) => Some(IpAddr::from(sixteen)),
                _ => None,
            };
            let _ = address.map_or(Ok(()), |address| write!(out, "{address}"));
        }
        _ => {}
    }
    let is_cut = out.is_full();
    (out.take(), is_cut)
}

/// Whether the holder may sign others (RFC 5280 section 4.2.1.9).
fn is_ca(value: &[u8]) -> Option<bool> {
    let list = Reader(value).value_of(tag::SEQUENCE).filter(Value::is_constructed)?;
    let mut parts = list.reader();
    let is_ca = parts.value().filter(Value::is_universal)?.boolean()?;
    if !parts.is_empty() {
        parts.value().filter(Value::is_universal)?.unsigned()?;
    }
    parts.is_empty().then_some(is_ca)
}

/// Whether the issuer's services (RFC 5280 section 4.2.2.1), all of them in order, name one that answers for revocation.
fn has_ocsp(value: &[u8]) -> Option<bool> {
    let mut list = Reader(value).sequence()?;
    let mut found = false;
    while !list.is_empty() {
        let mut place = list.sequence()?;
        found |= place.primitive()? == oid::OCSP;
        place.value().filter(Value::is_context)?;
    }
    Some(found)
}
