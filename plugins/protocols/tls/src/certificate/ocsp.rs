//! A stapled answer about revocation: the CertificateStatus message (RFC 6066 section 8, RFC 6961 section 2.2) and the
//! OCSP response in it (RFC 6960 section 4.2.1).

use super::extensions::wrapped_stamps;
use super::oid;
use crate::client::Bytes;
use crate::der::{Reader, tag};

/// Kinds of status: one response, or one for each certificate of the chain.
const ONE: u8 = 1;
const MANY: u8 = 2;

/// What a staple says of the server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Staple {
    /// `good`, `revoked` or `unknown`; why there is no answer; `unread` where it could not be read.
    pub(crate) status: &'static str,
    /// Certificate-transparency stamps in it.
    pub(crate) stamps: u64,
}

impl Staple {
    /// Reads the body of a CertificateStatus message; `None` where it has no response about the first certificate.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(body);
        let response = match bytes.byte()? {
            ONE => bytes.three().and_then(|len| bytes.take(len))?,
            MANY => {
                let mut list = bytes.three().map(|len| Bytes(bytes.up_to(len)))?;
                list.three().and_then(|len| list.take(len))?
            }
            _ => return None,
        };
        // With many, one that is empty says that there is none.
        (!response.is_empty()).then(|| answer(response).unwrap_or(Self { status: "unread", stamps: 0 }))
    }
}

fn answer(response: &[u8]) -> Option<Staple> {
    let mut parts = Reader(response).sequence()?;
    let refusal = match parts.value_of(tag::ENUMERATED)?.content {
        [0] => None,
        [1] => Some("malformed-request"),
        [2] => Some("internal-error"),
        [3] => Some("try-later"),
        [5] => Some("signature-required"),
        [6] => Some("unauthorized"),
        _ => return None,
    };
    if let Some(status) = refusal {
        return Some(Staple { status, stamps: 0 });
    }
    let mut bytes = parts.optional(0)??.reader().sequence()?;
    bytes.primitive()?;
    let mut basic = Reader(bytes.value_of(tag::OCTET_STRING)?.content).sequence()?;
    let mut data = basic.sequence()?;
    data.optional(0)?;
    // Who answers, and when.
    data.value()?;
    data.value_of(tag::GENERALIZED_TIME)?;
    let mut first = data.sequence()?.sequence()?;
    first.sequence()?;
    let status = match first.value().filter(|status| status.is_context())?.tag {
        0 => "good",
        1 => "revoked",
        2 => "unknown",
        _ => return None,
    };
    Some(Staple { status, stamps: stamps(first).unwrap_or(0) })
}

/// The stamps among the extensions of one answer, which goes on with times.
fn stamps(mut answer: Reader<'_>) -> Option<u64> {
    answer.value_of(tag::GENERALIZED_TIME)?;
    answer.optional(0)?;
    let mut list = answer.optional(1)??.reader().sequence()?;
    while !list.is_empty() {
        let mut parts = list.sequence()?;
        if parts.primitive()? == oid::OCSP_TRANSPARENCY {
            if parts.peek() == Some(tag::BOOLEAN) {
                parts.value()?;
            }
            return parts.value_of(tag::OCTET_STRING).map(|value| wrapped_stamps(value.content));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ocsp_response, status_message};

    fn read(message: &[u8]) -> Option<(&'static str, u64)> {
        Staple::read(&message[4..]).map(|staple| (staple.status, staple.stamps))
    }

    #[test]
    fn a_staple_says_what_is_known_of_the_certificate() {
        for (tag, status) in [(0x80, "good"), (0xa1, "revoked"), (0x82, "unknown"), (0x83, "unread")] {
            assert_eq!(read(&status_message(&ocsp_response(tag, 0))), Some((status, 0)));
        }
        assert_eq!(read(&status_message(&ocsp_response(0x80, 3))), Some(("good", 3)));
        for (code, status) in [(1, "malformed-request"), (3, "try-later"), (6, "unauthorized"), (4, "unread")] {
            assert_eq!(read(&status_message(&[0x30, 3, 10, 1, code])), Some((status, 0)));
        }
        // Nothing but success brings an answer.
        assert_eq!(read(&status_message(&[0x30, 3, 10, 1, 0])), Some(("unread", 0)));
    }

    #[test]
    fn one_for_each_certificate_or_none() {
        let response = ocsp_response(0x80, 1);
        let three = |body: &[u8]| [&(body.len() as u32).to_be_bytes()[1..], body].concat();
        let many = |list: &[&[u8]]| {
            let list: Vec<u8> = list.iter().flat_map(|response| three(response)).collect();
            [&[22, 0, 0, 0, 2][..], &three(&list)].concat()
        };
        assert_eq!(read(&many(&[&response, b""])), Some(("good", 1)));
        assert_eq!(read(&many(&[b"", &response])), None);
        assert_eq!(read(&many(&[])), None);
        assert_eq!(read(&[22, 0, 0, 0, 9, 0, 0, 0]), None);
        assert_eq!(Staple::read(&[]), None);
    }

    #[test]
    fn a_staple_that_is_cut_is_unread() {
        let response = ocsp_response(0xa1, 2);
        for len in 1..response.len() {
            let staple = read(&status_message(&response[..len])).unwrap();
            assert_eq!(staple, ("unread", 0), "{len}");
        }
    }
}
