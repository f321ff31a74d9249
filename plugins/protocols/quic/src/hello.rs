//! As much of the TLS handshake (RFC 8446 section 4) as QUIC itself needs: whether hellos are all there, and the
//! transport parameters in the client's. The rest is for the template that reads handshake messages.

use crate::header::{length, varint};
use veilwatch_core::plugin::Reader;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

/// The random of a ServerHello that asks for another ClientHello (RFC 8446 section 4.1.3).
const RETRY: &[u8; 32] = b"\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91\
                           \xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c";

/// The messages that are all there, with their type.
fn messages(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut reader = Reader::new(bytes);
    std::iter::from_fn(move || {
        let kind = reader.u8()?;
        let len = usize::from(reader.u8()?) << 16 | usize::from(reader.u16()?);
        Some((kind, reader.take(len)?))
    })
}

/// Whether a ClientHello is all there.
pub(crate) fn is_client_complete(bytes: &[u8]) -> bool {
    messages(bytes).any(|(kind, _)| kind == CLIENT_HELLO)
}

/// Whether a ServerHello is all there that asks for nothing more.
pub(crate) fn is_server_complete(bytes: &[u8]) -> bool {
    messages(bytes).any(|(kind, body)| kind == SERVER_HELLO && body.get(2..34) != Some(RETRY))
}

/// A client's transport parameters (RFC 9000 section 18.2), as far as they are kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Parameters<'a> {
    /// Numbers of all of them in their order, without those that are there to be ignored.
    pub(crate) numbers: Vec<u16>,
    /// Milliseconds.
    pub(crate) max_idle_timeout: Option<u64>,
    pub(crate) max_udp_payload_size: Option<u64>,
    pub(crate) initial_max_data: Option<u64>,
    pub(crate) initial_max_streams_bidi: Option<u64>,
    pub(crate) active_connection_id_limit: Option<u64>,
    /// RFC 9221.
    pub(crate) max_datagram_frame_size: Option<u64>,
    /// What Google's clients call themselves.
    pub(crate) user_agent: Option<&'a [u8]>,
}

/// The client's transport parameters, in the extension of this number.
pub(crate) fn parameters(bytes: &[u8], extension: u16) -> Option<Parameters<'_>> {
    let (_, body) = messages(bytes).find(|(kind, _)| *kind == CLIENT_HELLO)?;
    let mut reader = Reader::new(body);
    reader.take(34)?;
    let session = reader.u8()?;
    reader.take(session.into())?;
    let suites = reader.u16()?;
    reader.take(suites.into())?;
    let compressions = reader.u8()?;
    reader.take(compressions.into())?;
    let len = reader.u16()?;
    let mut list = Reader::new(reader.take(len.into())?);
    loop {
        let (kind, len) = (list.u16()?, list.u16()?);
        let data = list.take(len.into())?;
        if kind == extension {
            return Some(read(data));
        }
    }
}

/// Parameters whose numbers are kept; nobody sends more than a third of these.
const NUMBERS: usize = 64;

fn read(data: &[u8]) -> Parameters<'_> {
    let mut parameters = Parameters::default();
    let mut reader = Reader::new(data);
    while let Some((number, value)) = entry(&mut reader) {
        // RFC 9000 section 18.1: for nobody to mind.
        if number % 31 == 27 {
            continue;
        }
        if parameters.numbers.len() < NUMBERS {
            // Larger numbers, which nobody has registered, are all alike here.
            parameters.numbers.push(u16::try_from(number).unwrap_or(u16::MAX));
        }
        let as_number = || varint(&mut Reader::new(value));
        match number {
            0x01 => parameters.max_idle_timeout = as_number(),
            0x03 => parameters.max_udp_payload_size = as_number(),
            0x04 => parameters.initial_max_data = as_number(),
            0x08 => parameters.initial_max_streams_bidi = as_number(),
            0x0e => parameters.active_connection_id_limit = as_number(),
            0x20 => parameters.max_datagram_frame_size = as_number(),
            0x3129 => parameters.user_agent = Some(value),
            _ => {}
        }
    }
    parameters
}

fn entry<'a>(reader: &mut Reader<'a>) -> Option<(u64, &'a [u8])> {
    let (number, len) = (varint(reader)?, length(reader)?);
    Some((number, reader.take(len)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{client_hello, server_hello};

    #[test]
    fn hellos_are_complete_or_not() {
        let (client, server) = (client_hello("a.example", &[]), server_hello());
        for len in 0..client.len() {
            assert!(!is_client_complete(&client[..len]));
        }
        assert!(is_client_complete(&client) && !is_server_complete(&client));
        assert!(is_server_complete(&server) && !is_server_complete(&server[..server.len() - 1]));
        let mut retry = server.clone();
        retry[6..38].copy_from_slice(RETRY);
        assert!(!is_server_complete(&retry));
        assert!(is_server_complete(&[retry, server].concat()));
    }

    #[test]
    fn parameters_are_read() {
        let sent =
            b"\x01\x04\x80\0\x4e\x20\x1b\x00\x04\x04\x80\x10\0\0\x0e\x01\x07\x71\x29\x03abc\xc0\0\0\x01\0\0\0\x05\x00";
        let hello = client_hello("a.example", sent);
        let told = parameters(&hello, 0x39).unwrap();
        assert_eq!(told.numbers, [1, 4, 14, 0x3129, 0xffff]);
        assert_eq!((told.max_idle_timeout, told.initial_max_data), (Some(20_000), Some(0x10_0000)));
        assert_eq!((told.active_connection_id_limit, told.user_agent), (Some(7), Some(&b"abc"[..])));
        assert_eq!(told.max_udp_payload_size, None);
        assert_eq!(parameters(&hello, 0xffa5), None);
    }
}
