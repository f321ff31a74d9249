//! DNS in lines: what a flow of it says, and the name that led to a flow.

use super::text::bounded;
use serde_json::{Map, Value as Json, json};
use veilwatch_core::flow::{Endpoint, FlowRecord};
use veilwatch_core::record::{Dns, DnsLinks};

/// EVE's `dns` object, of a flow of DNS.
pub(super) fn dns(flow: &FlowRecord, text_bytes: usize) -> Option<Json> {
    let dns = flow.fields.record::<Dns<'_>>()?;
    let mut out = Map::new();
    let mut put = |name: &str, value: Json| out.insert(name.to_owned(), value);
    if !dns.rrname.is_empty() {
        put("rrname", bounded(dns.rrname, text_bytes).into());
        put("rrtype", kind(dns.rrtype).into());
    }
    if let Some(code) = dns.first_rcode() {
        put("rcode", rcode(code).into());
    }
    put("queries", dns.queries.into());
    put("responses", dns.responses.into());
    if dns.nxdomains > 0 {
        put("nxdomains", dns.nxdomains.into());
    }
    if dns.answers > 0 {
        put("ttl", dns.ttl.into());
    }
    let answers: Vec<Json> = DnsLinks::new(dns.links)
        .flat_map(|link| {
            let name = bounded(link.name, text_bytes);
            link.addresses().map(move |(address, ttl)| {
                let address = Endpoint { address, port: 0 }.ip();
                let kind = if address.is_ipv4() { "A" } else { "AAAA" };
                json!({"rrname": name, "rrtype": kind, "ttl": ttl, "rdata": address.to_string()})
            })
        })
        .collect();
    if !answers.is_empty() {
        put("answers", answers.into());
    }
    Some(out.into())
}

/// The name that led the originator to this flow's responder, with what was known when the flow began.
pub(super) fn dns_name(flow: &FlowRecord, text_bytes: usize) -> Option<Json> {
    let names = &flow.names;
    let link = names.link.as_ref()?;
    // Microseconds, and four digits of a share: what they mean, without the noise of their last bits.
    let rounded = |value: f64, parts: f64| (value * parts).round() / parts;
    let share = (!names.nxdomain_share.is_nan()).then(|| rounded(names.nxdomain_share, 1e4));
    Some(json!({
        "rrname": bounded(&link.name, text_bytes),
        "age": rounded(link.age, 1e6),
        "ttl": link.ttl,
        "answers": link.answers,
        "queries": names.queries,
        "nxdomain_share": share,
    }))
}

/// The name of a type; RFC 3597's where there is none.
fn kind(number: u16) -> String {
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
        251 => "IXFR",
        252 => "AXFR",
        255 => "ANY",
        257 => "CAA",
        other => return format!("TYPE{other}"),
    };
    name.to_owned()
}

/// The name of a response's code (RFC 1035, RFC 2136).
fn rcode(code: u8) -> String {
    const NAMES: [&str; 11] = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
        "NOTZONE",
    ];
    NAMES.get(usize::from(code)).map_or_else(|| format!("RCODE{code}"), |name| (*name).to_owned())
}
