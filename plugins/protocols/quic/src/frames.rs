//! The frames that an Initial packet may hold (RFC 9000 sections 12.4 and 19).

use crate::header::{length, varint};
use veilwatch_core::plugin::Reader;

/// A frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// So many bytes of it.
    Padding(usize),
    Ping,
    Ack,
    /// Bytes of the handshake, and where they belong.
    Crypto {
        offset: u64,
        data: &'a [u8],
    },
    /// CONNECTION_CLOSE, with its error.
    Close(u64),
}

/// The frames of one packet, up to the first that is cut or has no place here; `crypto` is the type of CRYPTO frames.
pub(crate) fn frames(payload: &[u8], crypto: u64) -> impl Iterator<Item = Frame<'_>> {
    let mut reader = Reader::new(payload);
    std::iter::from_fn(move || next(&mut reader, crypto))
}

fn next<'a>(reader: &mut Reader<'a>, crypto: u64) -> Option<Frame<'a>> {
    Some(match varint(reader)? {
        0 => {
            let more = reader.rest().iter().take_while(|byte| **byte == 0).count();
            reader.take(more)?;
            Frame::Padding(1 + more)
        }
        1 => Frame::Ping,
        kind @ (2 | 3) => {
            let (_largest, _delay, ranges, _first) =
                (varint(reader)?, varint(reader)?, varint(reader)?, varint(reader)?);
            let counts = if kind == 3 { 3 } else { 0 };
            for _ in 0..ranges.checked_mul(2)?.checked_add(counts)? {
                varint(reader)?;
            }
            Frame::Ack
        }
        kind if kind == crypto => {
            let (offset, len) = (varint(reader)?, length(reader)?);
            Frame::Crypto { offset, data: reader.take(len)? }
        }
        kind @ (0x1c | 0x1d) => {
            let error = varint(reader)?;
            if kind == 0x1c {
                // The frame that was to blame.
                varint(reader)?;
            }
            let len = length(reader)?;
            reader.take(len)?;
            Frame::Close(error)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_frame_is_passed_by_its_length() {
        let payload = [
            &b"\0\0\0"[..],
            b"\x01",
            b"\x02\x05\x40\x10\x01\x02\x00\x01",
            b"\x03\x05\x10\x00\x02\x01\x01\x40\x01",
            b"\x06\x04\x03abc",
            b"\x1c\x41\x28\x06\x02no",
            b"\x1d\x07\x00",
            b"\x06\x40\x80\x01d",
        ]
        .concat();
        let told: Vec<_> = frames(&payload, 6).collect();
        let crypto = |offset, data| Frame::Crypto { offset, data };
        let (ack, close) = (Frame::Ack, Frame::Close(0x128));
        let first = [Frame::Padding(3), Frame::Ping, ack, ack, crypto(4, &b"abc"[..]), close, Frame::Close(7)];
        assert_eq!(told, [&first[..], &[crypto(128, b"d")]].concat());
    }

    #[test]
    fn what_has_no_place_ends_it() {
        // A STREAM frame, a CRYPTO frame that is cut, more ranges than there are bytes.
        for end in [
            &b"\x08\0\0"[..],
            b"\x06\0\x05ab",
            b"\x02\xff\xff\xff\xff\xff\xff\xff\xff\0\xff\xff\xff\xff\xff\xff\xff\xff\0",
        ] {
            let payload = [b"\x01", end].concat();
            assert_eq!(frames(&payload, 6).collect::<Vec<_>>(), [Frame::Ping]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(frames(&payload, 6).count() <= payload.len());
        }
    }
}
