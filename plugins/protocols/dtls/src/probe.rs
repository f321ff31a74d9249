//! Recognises DTLS by a datagram, on any port.

use crate::handshake::Fragment;
use crate::record::{HANDSHAKE, read};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::{Carrier, Probe, StreamView};

/// Whether either direction begins with a record of DTLS.
pub(crate) fn probe(stream: &StreamView<'_>) -> Probe {
    if stream.carrier != Carrier::Udp {
        return Probe::No;
    }
    match [Direction::Forward, Direction::Backward].map(|direction| is_dtls(stream.bytes(direction))) {
        [true, _] | [_, true] => Probe::Certain,
        // A datagram is all there or never will be.
        _ if stream.forward.is_empty() && stream.backward.is_empty() => Probe::Unsure,
        _ => Probe::No,
    }
}

fn is_dtls(bytes: &[u8]) -> bool {
    // The header of DTLS 1.3 says too little to be told from anything else.
    let Some(record) = read(bytes, 0).filter(|record| record.version != 0) else { return false };
    !(record.kind == HANDSHAKE && record.is_clear()) || Fragment::read(record.body).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{ALERT, APPLICATION_DATA};
    use crate::testing::{client_hello, fragment, record};

    fn told(forward: &[u8], backward: &[u8]) -> Probe {
        probe(&StreamView { forward, backward, carrier: Carrier::Udp, ..StreamView::default() })
    }

    #[test]
    fn tells_dtls_from_the_rest() {
        let hello = record(HANDSHAKE, 0, &fragment(1, 0, &client_hello(b""), 0..80));
        assert_eq!((told(&hello, b""), told(b"", &hello)), (Probe::Certain, Probe::Certain));
        assert_eq!(told(b"", b""), Probe::Unsure);
        assert_eq!(told(&record(APPLICATION_DATA, 1, &[7; 40]), b""), Probe::Certain);
        assert_eq!(told(&record(ALERT, 0, &[2, 40]), b""), Probe::Certain);
        assert_eq!(probe(&StreamView { forward: &hello, ..StreamView::default() }), Probe::No, "TCP");
        // STUN, RTP, QUIC, DNS, TLS, DTLS 1.3 from its middle, a handshake message that there is not.
        for other in [
            &b"\0\x01\0\0\x21\x12\xa4\x42"[..],
            b"\x80\x60\x12\x34\0\0\0\x01\0\0\0\x02",
            b"\xc0\0\0\0\x01\x08original",
            b"\x16\xfe\x01\0\0\x01\0\0\0\0\0\0\x01a\x02bc\0\0\x01\0\x01",
            b"\x16\x03\x01\0\x40\x01\0\0\x3c\x03\x03aaaaaaaaaaa",
            b"\x2f\x01\x02\0\x09aaaaaaaaa",
            &record(HANDSHAKE, 0, &fragment(99, 0, &[0; 90], 0..90)),
        ] {
            assert_eq!(told(other, b""), Probe::No, "{other:x?}");
        }
    }
}
