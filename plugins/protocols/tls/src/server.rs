//! The ServerHello (RFC 8446 section 4.1.3, RFC 5246 section 7.4.1.3).

use crate::client::{Bytes, Client};
use crate::handshake::Message;
use crate::records::{CERTIFICATE, NEW_SESSION_TICKET, SERVER_HELLO, Walk};
use smallvec::SmallVec;
use tls_parser::{TlsExtension, parse_tls_server_hello_extension};
use veilwatch_core::record::ServerHello;

/// Extension types that are read here.
mod extension {
    pub(super) const ALPN: u16 = 16;
    /// RFC 6962 section 3.3.1.
    pub(super) const TRANSPARENCY: u16 = 18;
    pub(super) const PRE_SHARED_KEY: u16 = 41;
    pub(super) const VERSIONS: u16 = 43;
    pub(super) const KEY_SHARE: u16 = 51;
}

/// Versions of the drafts of TLS 1.3 before the 22nd.
const DRAFTS: std::ops::RangeInclusive<u16> = 0x7f00..=0x7f15;

/// The random of a ServerHello that is a HelloRetryRequest (RFC 8446 section 4.1.3).
pub(crate) const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Whether this message is a HelloRetryRequest.
pub(crate) fn is_retry(message: &Message<'_>) -> bool {
    message.kind == SERVER_HELLO && message.body.get(2..34) == Some(&RETRY)
}

/// What an earlier session is taken up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resumed {
    SessionId,
    Ticket,
    /// A pre-shared key of TLS 1.3, which is what became of tickets there.
    Key,
}

impl Resumed {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SessionId => "session-id",
            Self::Ticket => "ticket",
            Self::Key => "psk",
        }
    }
}

/// How many certificate-transparency stamps a list has (RFC 6962 section 3.3): those that are there as a whole.
pub(crate) fn stamps(list: &[u8]) -> u64 {
    let mut bytes = Bytes(list);
    let len = bytes.word().unwrap_or(0);
    let mut stamps = Bytes(bytes.up_to(usize::from(len)));
    let mut count = 0;
    while stamps.word().and_then(|len| stamps.take(usize::from(len))).is_some_and(|stamp| !stamp.is_empty()) {
        count += 1;
    }
    count
}

/// A ServerHello that was read; owns what the typed record borrows.
#[derive(Debug, Default)]
pub(crate) struct Server<'a> {
    record_version: u16,
    version: u16,
    selected_version: u16,
    cipher: u16,
    compression: u8,
    session_id: &'a [u8],
    extensions: SmallVec<[u16; 16]>,
    alpn: &'a [u8],
    pub(crate) key_share: u16,
    takes_key: bool,
    /// Certificate-transparency stamps that it sends beside the certificate.
    pub(crate) stamps: u64,
    message_len: u32,
}

impl<'a> Server<'a> {
    /// Reads a ServerHello or a HelloRetryRequest.
    ///
    /// As with the ClientHello, the fixed part is walked by hand: extensions also come with SSL 3.0, which has none by
    /// its specification, and versions that tls-parser does not know have the same form.
    pub(crate) fn read(message: &Message<'a>) -> Option<Self> {
        let mut bytes = Bytes(message.body);
        let mut server =
            Self { record_version: message.record_version, message_len: message.len as u32, ..Self::default() };
        server.version = bytes.word()?;
        bytes.take(32)?;
        // Drafts of TLS 1.3 before the 22nd left out the session id and the compression; the first ones said 0x0304
        // here, which the finished protocol never does.
        let early_draft = DRAFTS.contains(&server.version) || server.version == 0x0304;
        if !early_draft {
            let session_len = bytes.byte()?;
            server.session_id = bytes.take(usize::from(session_len))?;
        }
        server.cipher = bytes.word()?;
        if !early_draft {
            server.compression = bytes.byte()?;
        }
        server.selected_version = server.version;
        let extensions_len = bytes.word().unwrap_or(0);
        server.read_extensions(bytes.up_to(usize::from(extensions_len)));
        Some(server)
    }

    fn read_extensions(&mut self, list: &'a [u8]) {
        let mut bytes = Bytes(list);
        loop {
            let entry = bytes.0;
            let (Some(kind), Some(len)) = (bytes.word(), bytes.word()) else { return };
            let data = bytes.up_to(usize::from(len));
            self.extensions.push(kind);
            match kind {
                extension::PRE_SHARED_KEY => self.takes_key = true,
                extension::TRANSPARENCY => self.stamps = stamps(data),
                // A group alone in a HelloRetryRequest, a group and a key else.
                extension::KEY_SHARE => self.key_share = Bytes(data).word().unwrap_or(0),
                // Most servers name none, and all of TLS 1.3 one version.
                extension::VERSIONS if (usize::from(len), data.len()) == (2, 2) => {
                    self.selected_version = u16::from_be_bytes([data[0], data[1]])
                }
                extension::ALPN | extension::VERSIONS => match parse_tls_server_hello_extension(entry) {
                    Ok((_, TlsExtension::ALPN(protocols))) => {
                        self.alpn = protocols.first().copied().unwrap_or_default();
                    }
                    Ok((_, TlsExtension::SupportedVersions(versions))) => {
                        self.selected_version = versions.first().map_or(self.version, |version| version.0);
                    }
                    _ => {}
                },
                _ => {}
            }
        }
    }

    /// Whether TLS 1.3, a draft of it, or DTLS 1.3 was agreed on.
    pub(crate) fn is_13(&self) -> bool {
        matches!(self.selected_version, 0x0304 | 0xfefc) || self.selected_version >> 8 == 0x7f
    }

    /// By what an earlier session is taken up, if it is: in TLS 1.3 by a pre-shared key, before it by the client's session
    /// id or by a handshake that goes straight on to the change of ciphers. Whose ticket is taken has its session id told
    /// back too, but made that up (RFC 5077 section 3.4).
    pub(crate) fn resumed_by(&self, client: Option<&Client<'_>>, walk: &Walk<'_>) -> Option<Resumed> {
        if self.is_13() {
            return self.takes_key.then_some(Resumed::Key);
        }
        let same_id = client.is_some_and(|client| !self.session_id.is_empty() && client.session_id == self.session_id);
        let short = walk.cipher_changed
            && walk.messages().all(|message| matches!(message.kind, SERVER_HELLO | NEW_SESSION_TICKET));
        if !(same_id || short) || walk.message(CERTIFICATE).is_some() {
            return None;
        }
        let by_id = same_id && client.is_some_and(|client| !client.ticket);
        Some(if by_id { Resumed::SessionId } else { Resumed::Ticket })
    }

    /// The typed record; `retry` says that a HelloRetryRequest came first.
    pub(crate) fn record(&self, resumed: bool, retry: bool) -> ServerHello<'_> {
        ServerHello {
            record_version: self.record_version,
            version: self.version,
            selected_version: self.selected_version,
            cipher: self.cipher,
            compression: self.compression,
            session_id_len: self.session_id.len().min(255) as u8,
            extensions: &self.extensions,
            alpn: self.alpn,
            key_share: self.key_share,
            resumed,
            retry,
            message_len: self.message_len,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{extension as ext, server_hello_with, vec16};

    fn read(bytes: &[u8]) -> Option<Server<'_>> {
        Server::read(&Message { kind: 2, len: bytes.len() - 4, body: &bytes[4..], record: 0, record_version: 0x0303 })
    }

    #[test]
    fn every_member_is_read() {
        let share = [&[0, 29][..], &vec16(&[1; 32])].concat();
        let extensions = [ext(43, &[3, 4]), ext(51, &share), ext(16, &vec16(b"\x02h2")), ext(41, &[0, 0])].concat();
        let bytes = server_hello_with(&[7; 32], b"id", &extensions);
        let server = read(&bytes).unwrap();
        assert_eq!(
            server.record(server.resumed_by(None, &Walk::default()) == Some(Resumed::Key), true),
            ServerHello {
                record_version: 0x0303,
                version: 0x0303,
                selected_version: 0x0304,
                cipher: 0xc02f,
                compression: 0,
                session_id_len: 2,
                extensions: &[43, 51, 16, 41],
                alpn: b"h2",
                key_share: 29,
                resumed: true,
                retry: true,
                message_len: bytes.len() as u32 - 4,
            }
        );
    }

    #[test]
    fn ssl_3_with_extensions() {
        let mut bytes = server_hello_with(&[7; 32], b"", &ext(0xff01, &[0]));
        bytes[5] = 0;
        let server = read(&bytes).unwrap();
        assert_eq!((server.version, &server.extensions[..]), (0x0300, &[0xff01][..]));
    }

    #[test]
    fn a_draft_of_tls_13() {
        let bytes = [&[2, 0, 0, 42, 0x7f, 18][..], &[7; 32], &[0x13, 1], &vec16(&ext(40, &[0, 29]))].concat();
        let server = read(&bytes).unwrap();
        assert_eq!((server.cipher, &server.extensions[..], server.is_13()), (0x1301, &[40][..], true));
    }

    #[test]
    fn a_cut_hello_is_none() {
        let bytes = server_hello_with(&[7; 32], b"id", &[]);
        assert!(read(&bytes[..40]).is_none());
    }
}
