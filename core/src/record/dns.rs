//! The typed record of DNS, over UDP and TCP, and the list of what names led to.

use super::{FieldId, typed_record};

typed_record! {
    /// What a flow of DNS says (RFC 1035): its first question in full, the others as counts, and where names led.
    Dns, "dns", 400;
    rrname: &'a [u8] = "first name asked for, its labels joined by dots; `.` for the root",
    rrtype: u16 = "type that was asked for first",
    rcode: u8 = "code of the first response; nothing where there is none",
    queries: u32 = "queries",
    responses: u32 = "responses",
    nxdomains: u32 = "responses that say that there is no such name",
    answers: u32 = "records in the answers of all responses",
    ttl: u32 = "smallest time to live among them in seconds; nothing where there are none",
    links: &'a [u8] = "names and the addresses that they led to, packed",
}

impl Dns<'_> {
    /// The field `rrname`, for those who need little else.
    pub const RRNAME: FieldId = FieldId(400);
    /// The field `queries`.
    pub const QUERIES: FieldId = FieldId(403);
    /// The field `nxdomains`.
    pub const NXDOMAINS: FieldId = FieldId(405);
    /// The field `links`, which [`DnsLinks`] writes and reads. It only grows at its end while a flow is read, so that
    /// what a packet brought is what is new behind it.
    pub const LINKS: FieldId = FieldId(408);

    /// The code of the first response, where there is one.
    pub fn first_rcode(&self) -> Option<u8> {
        (self.responses > 0).then_some(self.rcode)
    }
}

/// The name of a record's or question's type (IANA, DNS Parameters); RFC 3597's `TYPE…` where it has none here.
pub fn dns_type_name(number: u16) -> String {
    let name = match number {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        10 => "NULL",
        12 => "PTR",
        13 => "HINFO",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        35 => "NAPTR",
        39 => "DNAME",
        41 => "OPT",
        43 => "DS",
        46 => "RRSIG",
        47 => "NSEC",
        48 => "DNSKEY",
        50 => "NSEC3",
        52 => "TLSA",
        64 => "SVCB",
        65 => "HTTPS",
        99 => "SPF",
        250 => "TSIG",
        251 => "IXFR",
        252 => "AXFR",
        255 => "ANY",
        257 => "CAA",
        other => return format!("TYPE{other}"),
    };
    name.to_owned()
}

/// The name of a response's code (RFC 1035, RFC 2136), or `RCODE…`.
pub fn dns_code_name(code: u8) -> String {
    const NAMES: [&str; 11] = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
        "NOTZONE",
    ];
    NAMES.get(usize::from(code)).map_or_else(|| format!("RCODE{code}"), |name| (*name).to_owned())
}

/// An answer: the name that was asked for, and the addresses to which it led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DnsLink<'a> {
    /// The name.
    pub name: &'a [u8],
    addresses: &'a [u8],
}

/// Bytes of an address in the list: its time to live, and the address, IPv4 mapped.
const ADDRESS: usize = 4 + 16;

impl<'a> DnsLink<'a> {
    /// How many addresses there are.
    pub fn len(&self) -> usize {
        self.addresses.len() / ADDRESS
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// Each address (IPv4 mapped) with its time to live in seconds.
    pub fn addresses(&self) -> impl Iterator<Item = ([u8; 16], u32)> + use<'a> {
        self.addresses.chunks_exact(ADDRESS).filter_map(|entry| {
            let (ttl, address) = entry.split_first_chunk::<4>()?;
            Some((*address.first_chunk()?, u32::from_be_bytes(*ttl)))
        })
    }
}

/// The list of what names led to, as the field [`Dns::LINKS`] holds it: of each answer a byte with the length of the
/// name, the name, a byte with the number of addresses, and these.
#[derive(Debug, Clone, Copy, Default)]
pub struct DnsLinks<'a>(&'a [u8]);

impl<'a> DnsLinks<'a> {
    /// Reads a list, or the end of one.
    pub fn new(list: &'a [u8]) -> Self {
        Self(list)
    }

    /// Adds an answer to a list. What a byte cannot count is left out: bytes of a name and addresses past 255.
    pub fn push(list: &mut Vec<u8>, name: &[u8], addresses: &[([u8; 16], u32)]) {
        let (name, addresses) = (&name[..name.len().min(255)], &addresses[..addresses.len().min(255)]);
        list.push(name.len() as u8);
        list.extend_from_slice(name);
        list.push(addresses.len() as u8);
        for (address, ttl) in addresses {
            list.extend_from_slice(&ttl.to_be_bytes());
            list.extend_from_slice(address);
        }
    }
}

impl<'a> Iterator for DnsLinks<'a> {
    type Item = DnsLink<'a>;

    /// The next answer; a list that is broken off ends before it.
    fn next(&mut self) -> Option<DnsLink<'a>> {
        let (len, rest) = self.0.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(*len))?;
        let (count, rest) = rest.split_first()?;
        let (addresses, rest) = rest.split_at_checked(usize::from(*count) * ADDRESS)?;
        self.0 = rest;
        Some(DnsLink { name, addresses })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use proptest::prelude::*;

    #[test]
    fn the_named_fields_are_where_they_are_said_to_be() {
        let place = |id: FieldId| Dns::FIELDS[usize::from(id.0 - Dns::FIRST.0)].name.as_ref();
        assert_eq!(
            [Dns::QUERIES, Dns::NXDOMAINS, Dns::LINKS].map(place),
            ["dns.queries", "dns.nxdomains", "dns.links"]
        );
    }

    proptest! {
        /// What is written is read, and what anybody else wrote is read as far as it goes.
        #[test]
        fn lists_go_and_come_back(
            answers in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), prop::collection::vec(any::<([u8; 16], u32)>(), 0..5)), 0..5),
            junk in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut list = Vec::new();
            for (name, addresses) in &answers {
                DnsLinks::push(&mut list, name, addresses);
            }
            let read: Vec<_> = DnsLinks::new(&list).map(|link| (link.name.to_vec(), link.addresses().collect::<Vec<_>>())).collect();
            let kept: Vec<_> = answers.into_iter().map(|(mut name, addresses)| { name.truncate(255); (name, addresses) }).collect();
            prop_assert_eq!(read, kept);
            prop_assert!(DnsLinks::new(&junk).count() <= junk.len() / 2);
        }
    }
}
