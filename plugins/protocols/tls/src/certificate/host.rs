//! Names of hosts, and which name of a certificate covers which.

use std::net::IpAddr;

/// The host that a client asked for, ready to be compared with the names of a certificate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host<'a>(Option<&'a [u8]>);

impl<'a> Host<'a> {
    /// An address is no host's name, so no name covers it.
    pub(super) fn new(sni: &'a [u8]) -> Self {
        let host = sni.strip_suffix(b".").unwrap_or(sni);
        let is_address = std::str::from_utf8(host).is_ok_and(|host| host.parse::<IpAddr>().is_ok());
        Self(Some(host).filter(|host| !host.is_empty() && !is_address))
    }

    /// Whether a certificate's name covers the host (RFC 6125 section 6.4): a wildcard stands for one whole label.
    fn is_covered_by(self, name: &[u8]) -> bool {
        let Some(host) = self.0 else { return false };
        let name = name.strip_suffix(b".").unwrap_or(name);
        match name.strip_prefix(b"*.") {
            Some(domain) if !domain.is_empty() => {
                let dot = host.iter().position(|b| *b == b'.').filter(|at| *at > 0);
                dot.is_some_and(|dot| host[dot + 1..].eq_ignore_ascii_case(domain))
            }
            _ => name.eq_ignore_ascii_case(host),
        }
    }
}

/// What the hosts' names of a certificate say, one after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Coverage {
    pub(super) wildcard: bool,
    pub(super) matches: bool,
}

impl Coverage {
    pub(super) fn take(&mut self, name: &str, host: Host<'_>) {
        self.wildcard |= name.contains('*');
        self.matches |= host.is_covered_by(name.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(Host::new(host.as_bytes()).is_covered_by(name.as_bytes()), good, "{name} {host}");
        }
    }
}
