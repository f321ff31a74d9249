//! DNS (RFC 1035) over UDP and TCP, mDNS (RFC 6762) and LLMNR (RFC 4795): what was asked, and where names led.
//!
//! A flow holds many messages. Over TCP each has its length in front (RFC 1035 section 4.2.2); over UDP the beginning of a
//! flow is its datagrams one behind the other, and a message ends where its sections end. What the context stage links to
//! later flows stands in the typed record [`Dns`](veilwatch_core::record::Dns).

mod dissect;
mod message;
mod probe;
mod template;
#[cfg(test)]
mod tests;

pub use template::DnsTemplate;

veilwatch_core::declare_plugins!(protocol "dns" "DNS, mDNS, LLMNR: what was asked, and where names led": DnsTemplate);
