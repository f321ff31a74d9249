//! What a handshake shows beside the typed records: declared fields, each written only where there is something to say.

use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

/// One of the template's own fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fact {
    Resumed,
    PostQuantum,
    Tor,
    Dns,
    ChainBreaks,
    CertificateStamps,
    HandshakeStamps,
    StapleStamps,
    Staple,
    Requested,
    ClientChain,
    ClientSubject,
    ClientIssuer,
    ClientSelfSigned,
    ClientNotBefore,
    ClientNotAfter,
    ServerPrint,
    CertificatePrint,
    ClientBytes,
    ServerBytes,
}

impl Fact {
    /// All of them, in the order of their fields, with name, kind and words.
    const ALL: [(Self, &'static str, FieldKind, &'static str); 20] = {
        use FieldKind::{Bytes, U16List, U64};
        [
            (
                Self::Resumed,
                "tls.resumed",
                Bytes,
                "what an earlier session was taken up by: `session-id`, `ticket`, `psk`",
            ),
            (Self::PostQuantum, "tls.post_quantum", U64, "key share of a post-quantum group: 1 offered, 2 agreed on"),
            (Self::Tor, "tls.tor", Bytes, "why it looks like Tor: `certificate`, or `server-name`, which is weak"),
            (Self::Dns, "tls.dns", Bytes, "why it may be DNS: `dot-alpn`, `doq-alpn`, `dot-port`, `doh-name`"),
            (
                Self::ChainBreaks,
                "tls.certificate.chain_breaks",
                U64,
                "certificates of the chain that the one behind them did not issue",
            ),
            (Self::CertificateStamps, "tls.sct.certificate", U64, "transparency stamps in the server's certificate"),
            (Self::HandshakeStamps, "tls.sct.handshake", U64, "transparency stamps in the ServerHello"),
            (Self::StapleStamps, "tls.sct.ocsp", U64, "transparency stamps in the stapled OCSP response"),
            (
                Self::Staple,
                "tls.ocsp",
                Bytes,
                "what a stapled OCSP response says: `good`, `revoked`, `unknown`, why it says nothing, or `unread`",
            ),
            (Self::Requested, "tls.client_certificate.requested", U64, "1 where the server asked for one in clear"),
            (
                Self::ClientChain,
                "tls.client_certificate.chain_len",
                U64,
                "certificates that the client sent in clear; 0 where it was asked and has none",
            ),
            (Self::ClientSubject, "tls.client_certificate.subject", Bytes, "subject of the client's certificate"),
            (Self::ClientIssuer, "tls.client_certificate.issuer", Bytes, "its issuer"),
            (Self::ClientSelfSigned, "tls.client_certificate.self_signed", U64, "1 where the two are the same"),
            (Self::ClientNotBefore, "tls.client_certificate.not_before", U64, "begin of validity, seconds since 1970"),
            (Self::ClientNotAfter, "tls.client_certificate.not_after", U64, "end of validity, seconds since 1970"),
            (Self::ServerPrint, "tls.server_fingerprint", Bytes, "fingerprint `vws1` of the ServerHello, if asked for"),
            (
                Self::CertificatePrint,
                "tls.certificate_fingerprint",
                Bytes,
                "fingerprint `vwc1` of the server's certificate, if asked for",
            ),
            (Self::ClientBytes, "tls.bytes.client", U16List, "histogram of the client's first bytes, if asked for"),
            (Self::ServerBytes, "tls.bytes.server", U16List, "histogram of the server's first bytes, if asked for"),
        ]
    };
}

/// The values of the template's own fields.
#[derive(Debug, Default)]
pub(crate) struct Facts<'a>([Option<Value<'a>>; Fact::ALL.len()]);

impl<'a> Facts<'a> {
    /// The fields, in the order in which values are written.
    pub(crate) fn specs() -> impl Iterator<Item = FieldSpec> {
        Fact::ALL.into_iter().map(|(_, name, kind, words)| FieldSpec::new(name, kind, words))
    }

    /// Tells a number.
    pub(crate) fn number(&mut self, fact: Fact, number: u64) {
        self.0[fact as usize] = Some(Value::U64(number));
    }

    /// Tells a number unless it is zero.
    pub(crate) fn count(&mut self, fact: Fact, count: u64) {
        if count > 0 {
            self.number(fact, count);
        }
    }

    /// Tells a text, where there is one.
    pub(crate) fn text(&mut self, fact: Fact, text: impl Into<Option<&'a str>>) {
        self.bytes(fact, text.into().unwrap_or_default().as_bytes());
    }

    /// Tells bytes unless they are empty.
    pub(crate) fn bytes(&mut self, fact: Fact, bytes: &'a [u8]) {
        if !bytes.is_empty() {
            self.0[fact as usize] = Some(Value::Bytes(bytes));
        }
    }

    /// Tells a list unless it is empty.
    pub(crate) fn list(&mut self, fact: Fact, list: &'a [u16]) {
        if !list.is_empty() {
            self.0[fact as usize] = Some(Value::U16List(list));
        }
    }

    /// Writes what was told under the ids of the fields.
    pub(crate) fn write(&self, ids: &[FieldId], out: &mut veilwatch_core::plugin::RecordSink<'_>) {
        out.fields(ids, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fact_has_its_place() {
        for (at, (fact, ..)) in Fact::ALL.into_iter().enumerate() {
            assert_eq!(fact as usize, at, "{fact:?}");
        }
    }
}
