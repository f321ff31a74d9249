//! DNS in lines: what a flow of it says, and the name that led to a flow.

use super::text::bounded;
use serde_json::{Map, Value as Json, json};
use veilwatch_core::flow::{Endpoint, FlowRecord};
use veilwatch_core::record::{Dns, DnsLinks, dns_code_name, dns_type_name};

/// EVE's `dns` object, of a flow of DNS.
pub(super) fn dns(flow: &FlowRecord, text_bytes: usize) -> Option<Json> {
    let dns = flow.fields.record::<Dns<'_>>()?;
    let mut out = Map::new();
    let mut put = |name: &str, value: Json| out.insert(name.to_owned(), value);
    if !dns.rrname.is_empty() {
        put("rrname", bounded(dns.rrname, text_bytes).into());
        put("rrtype", dns_type_name(dns.rrtype).into());
    }
    if let Some(code) = dns.first_rcode() {
        put("rcode", dns_code_name(code).into());
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
