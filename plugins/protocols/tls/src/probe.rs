//! Recognises TLS by the first bytes of either direction.

use crate::handshake::is_message;
use crate::records::{
    ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, CLIENT_HELLO, HANDSHAKE, HEADER, Header, SERVER_HELLO, old_hello,
};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::{Carrier, FirstBytes, Openings, Probe, StreamView};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Not enough bytes to tell.
    Short,
    No,
    Yes,
}

/// What a direction of TLS over TCP may begin with.
pub(crate) fn openings() -> Openings {
    // However much the other side has said, a silent one is waited for: a stager hands its program over in clear
    // before the program's own ClientHello.
    Openings::either(FirstBytes::when(|first| first & 0x80 != 0 || is_kind(first)).or_silence())
}

/// Whether records are of such a kind.
fn is_kind(kind: u8) -> bool {
    (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&kind)
}

/// Whether either direction begins with records of TLS.
pub(crate) fn probe(stream: &StreamView<'_>) -> Probe {
    if stream.carrier != Carrier::Tcp {
        return Probe::No;
    }
    let looks = [Direction::Forward, Direction::Backward].map(|direction| match look(stream.bytes(direction)) {
        Look::Short if stream.ended(direction) => Look::No,
        look => look,
    });
    match looks {
        [Look::Yes, _] | [_, Look::Yes] => Probe::Certain,
        [Look::No, Look::No] => Probe::No,
        _ => Probe::Unsure,
    }
}

fn look(bytes: &[u8]) -> Look {
    let known = |at: usize, good: fn(u8) -> bool| bytes.get(at).is_none_or(|b| good(*b));
    if bytes.first().is_some_and(|b| b & 0x80 != 0) {
        return match old_hello(bytes) {
            None => Look::Short,
            Some(None) => Look::No,
            Some(Some(_)) => Look::Yes,
        };
    }
    if !known(0, is_kind) || !known(1, |b| b == 3 || b == 1) || !known(2, |b| b <= 4) {
        return Look::No;
    }
    let Some(header) = Header::at(bytes, 0) else { return Look::Short };
    let sensible = match header.kind {
        CHANGE_CIPHER_SPEC => header.len == 1,
        // In clear, or with a nonce, a tag or a padded block.
        ALERT => header.len == 2 || header.len >= 16,
        _ => header.len > 0,
    };
    if !header.is_plausible() || !sensible {
        return Look::No;
    }
    if header.kind == HANDSHAKE {
        let Some(&kind) = bytes.get(HEADER) else { return Look::Short };
        let hello = kind == CLIENT_HELLO || kind == SERVER_HELLO;
        // No hello is longer than 64 KiB.
        if hello && known(HEADER + 1, |b| b == 0) {
            return Look::Yes;
        }
        // A capture that begins within a handshake: it is encrypted, or a message like this one.
        if header.len < 16 && !is_message(kind) {
            return Look::No;
        }
    }
    chain(bytes)
}

/// Whether records follow each other as far as the bytes go.
fn chain(bytes: &[u8]) -> Look {
    let mut at = 0;
    while let Some(header) = Header::at(bytes, at) {
        if !header.is_plausible() {
            return Look::No;
        }
        at += HEADER + usize::from(header.len);
    }
    Look::Yes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{client_hello, record, view};

    fn told(forward: &[u8], backward: &[u8]) -> Probe {
        probe(&view(forward, backward, false))
    }

    #[test]
    fn tells_tls_from_the_rest() {
        let hello = record(HANDSHAKE, &client_hello("a.example"));
        assert_eq!(told(&[], &[]), Probe::Unsure);
        for len in 1..6 {
            assert_eq!(told(&hello[..len], &[]), Probe::Unsure, "{len}");
        }
        assert_eq!(told(&hello[..6], &[]), Probe::Certain);
        assert_eq!(told(b"220 mail", &hello), Probe::Certain);
        assert_eq!(told(b"GET / HTTP/1.1\r\n", b"HTTP/1.1 200 OK"), Probe::No);
        assert_eq!(told(b"SSH-2.0", &[]), Probe::Unsure);
        assert_eq!(told(&[b'x'; 9000], &hello), Probe::Certain);
        assert_eq!(probe(&view(b"SSH-2.0", &[], true)), Probe::No);
        assert_eq!(probe(&StreamView { carrier: Carrier::Udp, ..view(&hello, &[], false) }), Probe::No);
    }

    #[test]
    fn knows_a_connection_from_its_middle() {
        let data = record(APPLICATION_DATA, &[9; 40]);
        assert_eq!(told(&data[..20], &[]), Probe::Certain);
        assert_eq!(told(&[&data[..], b"junk!"].concat(), b"x"), Probe::No);
        assert_eq!(told(&[&data[..], &data[..7]].concat(), &[]), Probe::Certain);
        assert_eq!(told(&record(ALERT, &[2, 40]), &[]), Probe::Certain);
        assert_eq!(told(&record(ALERT, &[2, 40, 1]), b"x"), Probe::No);
        assert_eq!(told(&[22, 3, 3, 0x60, 0], b"x"), Probe::No);
    }
}
