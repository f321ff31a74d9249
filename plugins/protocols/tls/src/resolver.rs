//! DNS inside TLS (RFC 7858, RFC 8484, RFC 9250), told by what stands in clear: the application protocol, the port, the
//! name of a resolver that everybody knows.
//!
//! What is inside is encrypted, so each answer is a ground and no proof: a resolver that nobody knows is not seen, and a
//! known one may serve pages under the same name.

use crate::client::Client;

/// The port of DNS over TLS, and of DNS over QUIC.
const PORT: u16 = 853;

/// Names under which public resolvers answer queries over HTTPS or TLS, as their operators publish them; sorted.
const RESOLVERS: [&str; 41] = [
    "1dot1dot1dot1.cloudflare-dns.com",
    "adblock.dns.mullvad.net",
    "anycast.uncensoreddns.org",
    "base.dns.mullvad.net",
    "chrome.cloudflare-dns.com",
    "cloudflare-dns.com",
    "common.dot.dns.yandex.net",
    "dns.adguard-dns.com",
    "dns.adguard.com",
    "dns.alidns.com",
    "dns.cloudflare.com",
    "dns.google",
    "dns.google.com",
    "dns.mullvad.net",
    "dns.nextdns.io",
    "dns.quad9.net",
    "dns.sb",
    "dns10.quad9.net",
    "dns11.quad9.net",
    "dns64.dns.google",
    "dns9.quad9.net",
    "doh.360.cn",
    "doh.cleanbrowsing.org",
    "doh.dns.apple.com",
    "doh.dns.sb",
    "doh.familyshield.opendns.com",
    "doh.opendns.com",
    "doh.pub",
    "doh.sb",
    "doh.umbrella.com",
    "doh.xfinity.com",
    "dot.360.cn",
    "dot.pub",
    "family.adguard-dns.com",
    "family.cloudflare-dns.com",
    "firefox.dns.nextdns.io",
    "freedns.controld.com",
    "mozilla.cloudflare-dns.com",
    "one.one.one.one",
    "security.cloudflare-dns.com",
    "unfiltered.adguard-dns.com",
];

/// Operators that give each customer a name below this one.
const OPERATORS: [&str; 5] =
    [".cloudflare-gateway.com", ".d.adguard-dns.com", ".dns.controld.com", ".dns.nextdns.io", ".dns.mullvad.net"];

/// The ground on which a connection is one of DNS, if there is any, the strongest first.
///
/// `tcp` says what carries it: over UDP it is QUIC, which has an application protocol always.
pub(crate) fn ground(client: &Client<'_>, server_port: u16, tcp: bool) -> Option<&'static str> {
    let offers = |protocol: &[u8]| client.alpn.split(|byte| *byte == b',').any(|offered| offered == protocol);
    if !client.alpn.is_empty() {
        if offers(b"dot") {
            return Some("dot-alpn");
        }
        if offers(b"doq") {
            return Some("doq-alpn");
        }
    }
    if server_port == PORT && tcp {
        return Some("dot-port");
    }
    // What speaks neither HTTP nor leaves open what it speaks is something else under the same name.
    let http = client.alpn.is_empty() || [&b"h2"[..], b"h3", b"http/1.1"].into_iter().any(offers);
    (http && is_resolver(client.sni)).then_some("doh-name")
}

/// Whether a name is a known resolver's.
fn is_resolver(name: &[u8]) -> bool {
    // As long as the longest of them, and room for a customer's own label.
    let mut lower = [0; 64];
    let Some(lower) = lower.get_mut(..name.len()) else { return false };
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    let lower = lower.strip_suffix(b".").unwrap_or(lower);
    RESOLVERS.binary_search_by(|known| known.as_bytes().cmp(lower)).is_ok()
        || OPERATORS.iter().any(|operator| lower.ends_with(operator.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted() {
        assert!(RESOLVERS.is_sorted() && RESOLVERS.iter().all(|name| name.len() < 64));
    }

    #[test]
    fn each_ground_is_told() {
        let told = |alpn: &str, sni: &str, port, tcp| ground(&Client::of(sni, alpn), port, tcp);
        assert_eq!(told("dot", "", 443, true), Some("dot-alpn"));
        assert_eq!(told("h3,doq", "", 8853, false), Some("doq-alpn"));
        assert_eq!(told("", "dns.google", 853, true), Some("dot-port"));
        assert_eq!(told("", "", 853, false), None);
        assert_eq!(told("h2,http/1.1", "DNS.google.", 443, true), Some("doh-name"));
        assert_eq!(told("h3", "0a1b2c.dns.nextdns.io", 443, false), Some("doh-name"));
        assert_eq!(told("", "dns.quad9.net", 443, true), Some("doh-name"));
        // A name is not enough where another protocol is spoken.
        assert_eq!(told("imap", "dns.google", 443, true), None);
        assert_eq!(told("h2", "www.google.com", 443, true), None);
        assert_eq!(told("h2", "notdns.google", 443, true), None);
        assert_eq!(told("dotty", "", 443, true), None);
    }
}
