//! Whether a connection looks like one between parts of Tor, by the names in it.
//!
//! Tor dresses its links up as TLS to a site that does not exist: the client asks for `www.`, 4 to 25 random characters of
//! base 32 and `.com`; up to TLS 1.2 the server shows a certificate for `www.` with 8 to 20 of them and `.net`, and as its
//! issuer another such name under `.com`, each name being a common name alone. TLS 1.3 hides the certificate, and pluggable
//! transports hide all of it.
//!
//! The two names of the certificate are strong. The name that was asked for is weak: sites with names of letters have the
//! same form. So it counts only where no application protocol is offered, which Tor does not and browsers do, and where
//! the label looks random: long, with digits among its letters.
//!
//! Measured on the benign captures that the project was trained on (6,118 flows with a ClientHello, over TCP, QUIC and
//! DTLS): 14 flows are told by their certificates and 3 by the name alone, all of them in the three captures that were made
//! of Tor. One more there has a label of five characters. Dozens of others ask for a name of the same form, offer no
//! application protocol, and are not told.

use crate::client::Client;
use veilwatch_core::record::CertificateInfo;

/// Characters of the label in the name that a client asks for, and in those of a certificate.
const ASKED: std::ops::RangeInclusive<usize> = 4..=25;
const SHOWN: std::ops::RangeInclusive<usize> = 8..=20;

/// The label between `www.` and an ending, if it is one of base 32.
fn label<'a>(name: &'a [u8], ending: &[u8], lengths: &std::ops::RangeInclusive<usize>) -> Option<&'a [u8]> {
    let label = name.strip_prefix(b"www.")?.strip_suffix(ending)?;
    (lengths.contains(&label.len()) && label.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')))
        .then_some(label)
}

/// Characters that a label must have, and changes between letters and digits in it, to be taken for random by itself.
///
/// Six of 32 characters are digits: of random labels of 10 characters, four in five have as many changes; names that
/// people give have a number at their end at most.
const RANDOM: usize = 10;
const CHANGES: usize = 2;

fn is_random(label: &[u8]) -> bool {
    let changes = label.windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count();
    label.len() >= RANDOM && changes >= CHANGES
}

/// The ground on which a connection is one of Tor, if there is any: `certificate` or, weaker, `server-name`.
pub(crate) fn ground(client: Option<&Client<'_>>, certificate: Option<&CertificateInfo<'_>>) -> Option<&'static str> {
    let shown = certificate.is_some_and(|info| {
        (info.subject_attributes, info.issuer_attributes) == (1, 1)
            && label(info.subject_cn, b".net", &SHOWN).is_some()
            && label(info.issuer_cn, b".com", &SHOWN).is_some()
    });
    if shown {
        return Some("certificate");
    }
    // A certificate that is there and is none of Tor's decides, too.
    let client = client.filter(|client| certificate.is_none() && client.alpn.is_empty())?;
    label(client.sni, b".com", &ASKED).is_some_and(is_random).then_some("server-name")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(subject: &'static str, issuer: &'static str) -> CertificateInfo<'static> {
        CertificateInfo {
            subject_cn: subject.as_bytes(),
            issuer_cn: issuer.as_bytes(),
            subject_attributes: 1,
            issuer_attributes: 1,
            ..CertificateInfo::default()
        }
    }

    #[test]
    fn a_pair_of_made_up_names_is_told() {
        let tor = certificate("www.p5qtzmqzyq3.net", "www.tebnwq2exk.com");
        assert_eq!(ground(None, Some(&tor)), Some("certificate"));
        for other in [
            certificate("www.p5qtzmqzyq3.com", "www.tebnwq2exk.com"),
            certificate("www.p5qtzmqzyq3.net", "www.p5qtzmqzyq3.net"),
            certificate("www.p5qtz.net", "www.tebnwq2exk.com"),
            certificate("www.p5qtzmqzy-3.net", "www.tebnwq2exk.com"),
            CertificateInfo { issuer_attributes: 3, ..tor },
        ] {
            assert_eq!(ground(Some(&Client::of("www.a2b3c4d5e6f7.com", "")), Some(&other)), None);
        }
    }

    #[test]
    fn a_name_by_itself_must_look_random() {
        let told = |sni: &str, alpn: &str| ground(Some(&Client::of(sni, alpn)), None);
        assert_eq!(told("www.axs2fw7hq4d.com", ""), Some("server-name"));
        assert_eq!(told("www.axs2fw7hq4d.com", "h2,http/1.1"), None);
        for other in
            ["www.google.com", "www.office365.com", "www.wikipedia.com", "www.ax2fw7.com", "axs2fw7hq4d.com", ""]
        {
            assert_eq!(told(other, ""), None, "{other}");
        }
    }
}
