//! Recognises QUIC by the first datagram, on any port.

use crate::header::{Found, is_worth_reading, read};
use crate::version::{Kind, Version};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::{Carrier, Probe, StreamView};

/// Whether either direction begins with a long header of QUIC.
pub(crate) fn probe(stream: &StreamView<'_>) -> Probe {
    if stream.carrier != Carrier::Udp {
        return Probe::No;
    }
    let looks = [Direction::Forward, Direction::Backward].map(|direction| {
        let bytes = stream.bytes(direction);
        bytes.first().is_some_and(|first| is_worth_reading(*first)) && is_quic(bytes)
    });
    match looks {
        [true, _] | [_, true] => Probe::Certain,
        // A datagram is all there or never will be.
        _ if stream.forward.is_empty() && stream.backward.is_empty() => Probe::Unsure,
        _ => Probe::No,
    }
}

fn is_quic(bytes: &[u8]) -> bool {
    match read(bytes) {
        Some(Found::Packet(packet)) => match packet.kind {
            // What comes behind it in the stream may be the rest of the packet only where a capture cut nothing.
            Kind::Initial | Kind::Handshake | Kind::ZeroRtt => !packet.cut || is_sensible(packet.destination),
            Kind::Retry => !packet.source.is_empty() && !packet.token.is_empty(),
        },
        // One that names a version that is known, or one for nobody, beside whole numbers of four bytes.
        Some(Found::Negotiation(versions)) => {
            let known = |version: &[u8; 4]| {
                let version = Version(u32::from_be_bytes(*version));
                version.is_known() || version.is_grease()
            };
            let (versions, rest) = versions.as_chunks::<4>();
            rest.is_empty() && versions.iter().any(known)
        }
        Some(Found::Foreign(_)) => true,
        None => false,
    }
}

/// Whether a client, or whoever answers one, would choose such an id: a capture that cuts its packets leaves nothing
/// else to look at. A client's first one has eight bytes at least (RFC 9000 section 7.2).
fn is_sensible(destination: &[u8]) -> bool {
    destination.len() >= 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Initial, crypto};

    fn told(forward: &[u8], backward: &[u8]) -> Probe {
        probe(&StreamView { forward, backward, carrier: Carrier::Udp, ..StreamView::default() })
    }

    #[test]
    fn tells_quic_from_the_rest() {
        let initial = Initial::client(b"original").with(&crypto(0, b"hello"));
        assert_eq!((told(&initial, &[]), told(&[], &initial)), (Probe::Certain, Probe::Certain));
        assert_eq!(told(&[], &[]), Probe::Unsure);
        // Cut, but the ids are there.
        assert_eq!(told(&initial[..100], &[]), Probe::Certain);
        assert_eq!(told(&initial[..10], &[]), Probe::No);
        assert_eq!(probe(&StreamView { forward: &initial, ..StreamView::default() }), Probe::No, "TCP");
        // A short header, DNS, RTP, STUN, DTLS, a number that happens to be a version.
        for other in [
            &b"\x40\x01\x02\x03\x04\x05\x06\x07\x08"[..],
            b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x02bc\0\0\x01\0\x01",
            b"\x80\x60\x12\x34\0\0\0\x01\0\0\0\x02",
            b"\0\x01\0\0\x21\x12\xa4\x42",
            b"\x16\xfe\xfd\0\0\0\0\0\0\0\0\0\x10\x01\0\0\x04",
            b"\xff\0\0\0\x01\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xc0\0\0\0\x01",
        ] {
            assert_eq!(told(other, &[]), Probe::No, "{other:x?}");
        }
    }

    #[test]
    fn a_servers_packets_alone_are_enough() {
        let retry = [&b"\xf0\0\0\0\x01\x06client\x08new name"[..], b"token", &[3; 16]].concat();
        assert_eq!(told(&[], &retry), Probe::Certain);
        let negotiation = b"\xca\0\0\0\0\x06client\x08original\x1a\x2a\x3a\x4a\0\0\0\x01";
        assert_eq!(told(negotiation, &[]), Probe::Certain);
        assert_eq!(told(&negotiation[..26], &[]), Probe::No);
        assert_eq!(told(b"\xca\0\0\0\0\x01a\x01b\x12\x34\x56\x78", &[]), Probe::No);
        assert_eq!(told(b"\xc3Q050\x08original", &[]), Probe::Certain);
        assert_eq!(told(b"\x0dconn 128Q039\x01", &[]), Probe::Certain);
    }
}
