//! The ClientHello (RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2).

use crate::handshake::Message;
use crate::template::Limits;
use smallvec::SmallVec;
use veilwatch_core::record::ClientHello;

/// Extension types that are read here.
mod extension {
    pub(super) const SERVER_NAME: u16 = 0;
    pub(super) const GROUPS: u16 = 10;
    pub(super) const POINT_FORMATS: u16 = 11;
    pub(super) const SIGNATURE_ALGORITHMS: u16 = 13;
    pub(super) const ALPN: u16 = 16;
    pub(super) const TICKET: u16 = 35;
    pub(super) const PRE_SHARED_KEY: u16 = 41;
    pub(super) const VERSIONS: u16 = 43;
    pub(super) const PSK_MODES: u16 = 45;
    pub(super) const KEY_SHARE: u16 = 51;
    pub(super) const ENCRYPTED_HELLO: u16 = 0xfe0d;
}

/// A list of code points, as long as nearly all of them are.
type Codes = SmallVec<[u16; 32]>;

/// A ClientHello that was read; owns what the typed record borrows and the hello does not have in this form.
#[derive(Debug, Default)]
pub(crate) struct Client<'a> {
    record_version: u16,
    version: u16,
    pub(crate) session_id: &'a [u8],
    ciphers: Codes,
    compressions: &'a [u8],
    extensions: Codes,
    extension_lens: Codes,
    pub(crate) sni: &'a [u8],
    pub(crate) alpn: SmallVec<[u8; 32]>,
    groups: Codes,
    point_formats: &'a [u8],
    signature_algorithms: Codes,
    supported_versions: Codes,
    pub(crate) key_shares: Codes,
    psk_modes: &'a [u8],
    message_len: u32,
    resumes: bool,
    /// It brings a ticket (RFC 5077), and so a session id that it made up.
    pub(crate) ticket: bool,
    ech: bool,
    /// The server name was longer than what is kept of it.
    pub(crate) sni_is_cut: bool,
}

impl<'a> Client<'a> {
    /// Reads a ClientHello, also one that is cut off, as long as its cipher suites are there.
    ///
    /// It is walked by hand, because a hello that is odd somewhere shall not lose the rest.
    pub(crate) fn read(message: &Message<'a>, limits: &Limits) -> Option<Self> {
        let mut bytes = Bytes(&message.body[..message.body.len().min(limits.client_hello_bytes)]);
        let mut client =
            Self { record_version: message.record_version, message_len: message.len as u32, ..Self::default() };
        client.version = bytes.word()?;
        bytes.take(32)?;
        let session_len = bytes.byte()?;
        client.session_id = bytes.take(usize::from(session_len))?;
        let ciphers_len = bytes.word()?;
        client.ciphers = words(bytes.take(usize::from(ciphers_len))?);
        let Some(compressions_len) = bytes.byte() else { return Some(client) };
        client.compressions = bytes.up_to(usize::from(compressions_len));
        let Some(extensions_len) = bytes.word() else { return Some(client) };
        // In a hello that is all there, a list that does not fit is none; only what was cut off is read in part.
        let whole = message.is_complete() && message.len <= limits.client_hello_bytes;
        let fits = usize::from(extensions_len) <= bytes.0.len();
        if fits || !whole {
            client.read_extensions(bytes.up_to(usize::from(extensions_len)), limits);
        }
        Some(client)
    }

    /// One that says nothing but a server name and application protocols.
    #[cfg(test)]
    pub(crate) fn of(sni: &'a str, alpn: &str) -> Self {
        Self { sni: sni.as_bytes(), alpn: alpn.as_bytes().into(), ..Self::default() }
    }

    /// Reads a ClientHello in SSL 2.0 form (RFC 5246 appendix E.2), from its message type on.
    pub(crate) fn read_old(hello: &'a [u8]) -> Option<Self> {
        let mut bytes = Bytes(hello);
        bytes.byte()?;
        let mut client = Self { record_version: 2, message_len: hello.len() as u32, ..Self::default() };
        client.version = bytes.word()?;
        let (ciphers_len, session_len) = (bytes.word()?, bytes.word()?);
        bytes.word()?;
        // Three bytes a suite; those of SSL 2.0 itself do not begin with zero.
        let suites = bytes.take(usize::from(ciphers_len))?.chunks_exact(3);
        client.ciphers = suites.filter(|s| s[0] == 0).map(|s| u16::from_be_bytes([s[1], s[2]])).collect();
        client.session_id = bytes.take(usize::from(session_len))?;
        Some(client)
    }

    fn read_extensions(&mut self, list: &'a [u8], limits: &Limits) {
        let mut bytes = Bytes(list);
        let mut seen = 0u64;
        loop {
            let (Some(kind), Some(len)) = (bytes.word(), bytes.word()) else { return };
            let data = bytes.up_to(usize::from(len));
            self.extensions.push(kind);
            self.extension_lens.push(len);
            // One that comes twice is read once, so that nothing is read over and over.
            let bit = 1u64.checked_shl(u32::from(kind)).unwrap_or(0);
            if seen & bit == 0 {
                seen |= bit;
                self.read_extension(kind, data, data.len() == usize::from(len), limits);
            }
        }
    }

    /// Reads the contents of one extension; of most nothing is read that is not there as a whole.
    ///
    /// By hand: lists are looked at where they stand, and nothing is asked of the allocator. A test holds all of it equal
    /// to what tls-parser reads.
    fn read_extension(&mut self, kind: u16, data: &'a [u8], is_whole: bool, limits: &Limits) {
        let whole = if is_whole { data } else { &[] };
        match kind {
            extension::TICKET => {
                self.ticket |= !data.is_empty();
                self.resumes |= !data.is_empty();
            }
            extension::PRE_SHARED_KEY => self.resumes = true,
            extension::ENCRYPTED_HELLO => self.ech = true,
            extension::KEY_SHARE => self.key_shares = key_shares(data),
            // tls-parser takes a list of one version for a server's choice, and length bytes for versions.
            extension::VERSIONS => {
                let mut bytes = Bytes(data);
                let len = bytes.byte().unwrap_or(0);
                self.supported_versions = words(bytes.up_to(usize::from(len)));
            }
            extension::SERVER_NAME => {
                if let Some(name) = list(whole).and_then(host_name) {
                    self.sni = &name[..name.len().min(limits.sni_bytes)];
                    self.sni_is_cut = name.len() > limits.sni_bytes;
                }
            }
            extension::GROUPS => {
                self.groups = list(whole).filter(|list| list.len() % 2 == 0).map(words).unwrap_or_default()
            }
            extension::SIGNATURE_ALGORITHMS => self.signature_algorithms = list(whole).map(words).unwrap_or_default(),
            extension::POINT_FORMATS => self.point_formats = short_list(whole),
            extension::PSK_MODES => self.psk_modes = short_list(whole),
            extension::ALPN => self.read_protocols(list(whole).unwrap_or_default()),
            _ => {}
        }
    }

    fn read_protocols(&mut self, list: &[u8]) {
        let mut names = Bytes(list);
        let mut separator = &b""[..];
        while let Some(name) = names.byte().and_then(|len| names.take(usize::from(len))) {
            self.alpn.extend_from_slice(separator);
            // A comma within a name (none that is registered has one) must not make two names of it.
            self.alpn.extend(name.iter().map(|b| if *b == b',' { b';' } else { *b }));
            separator = b",";
        }
    }

    /// The typed record; `count` is the number of ClientHellos in this direction.
    pub(crate) fn record(&self, count: u8) -> ClientHello<'_> {
        ClientHello {
            record_version: self.record_version,
            version: self.version,
            session_id_len: self.session_id.len().min(255) as u8,
            ciphers: &self.ciphers,
            compressions: self.compressions,
            extensions: &self.extensions,
            extension_lens: &self.extension_lens,
            sni: self.sni,
            alpn: &self.alpn,
            groups: &self.groups,
            point_formats: self.point_formats,
            signature_algorithms: &self.signature_algorithms,
            supported_versions: &self.supported_versions,
            key_shares: &self.key_shares,
            psk_modes: self.psk_modes,
            message_len: self.message_len,
            resumes: self.resumes,
            ech: self.ech,
            count,
        }
    }
}

/// What stands behind a length of two bytes; nothing where it announces more than there is.
fn list(data: &[u8]) -> Option<&[u8]> {
    let mut bytes = Bytes(data);
    let len = bytes.word()?;
    bytes.take(usize::from(len))
}

/// The same behind a length of one byte.
fn short_list(data: &[u8]) -> &[u8] {
    let mut bytes = Bytes(data);
    bytes.byte().and_then(|len| bytes.take(usize::from(len))).unwrap_or_default()
}

/// The first name of a host in a list of names (RFC 6066 section 3).
fn host_name(names: &[u8]) -> Option<&[u8]> {
    let mut bytes = Bytes(names);
    loop {
        let (kind, len) = (bytes.byte()?, bytes.word()?);
        let name = bytes.take(usize::from(len))?;
        if kind == 0 {
            return Some(name);
        }
    }
}

/// The groups of a list of key shares (RFC 8446 section 4.2.8), which tls-parser hands over as bytes.
fn key_shares(data: &[u8]) -> Codes {
    let mut bytes = Bytes(data);
    let len = bytes.word().unwrap_or(0);
    let mut entries = Bytes(bytes.up_to(usize::from(len)));
    let mut groups = Codes::new();
    while let (Some(group), Some(len)) = (entries.word(), entries.word()) {
        groups.push(group);
        entries.up_to(usize::from(len));
    }
    groups
}

fn words(bytes: &[u8]) -> Codes {
    bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

/// Bytes that are read from the front.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    /// Exactly so many bytes.
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// So many bytes, or what there is.
    pub(crate) fn up_to(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(crate) fn word(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// A length of three bytes.
    pub(crate) fn three(&mut self) -> Option<usize> {
        self.take(3).map(|bytes| usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{client_extensions, client_hello, client_hello_with, extension as ext, vec16};

    fn read(bytes: &[u8]) -> Option<Client<'_>> {
        let len = u32::from_be_bytes([0, bytes[1], bytes[2], bytes[3]]) as usize;
        let message = Message { kind: 1, len, body: &bytes[4..], record: 0, record_version: 0x0301 };
        Client::read(&message, &Limits::default())
    }

    #[test]
    fn every_member_is_read() {
        let bytes = client_hello("www.example.org");
        let client = read(&bytes).unwrap();
        let lens = [0, 20, 8, 2, 6, 14, 6, 7, 2, 43, 9];
        assert_eq!(
            client.record(1),
            ClientHello {
                record_version: 0x0301,
                version: 0x0303,
                session_id_len: 32,
                ciphers: &[0x0a0a, 0x1301, 0xc02f],
                compressions: &[0],
                extensions: &[0x1a1a, 0, 10, 11, 13, 16, 35, 43, 45, 51, 0xfe0d],
                extension_lens: &lens,
                sni: b"www.example.org",
                alpn: b"h2,http/1.1",
                groups: &[0x2a2a, 29, 23],
                point_formats: &[0],
                signature_algorithms: &[0x0403, 0x0804],
                supported_versions: &[0x3a3a, 0x0304, 0x0303],
                key_shares: &[0x2a2a, 29],
                psk_modes: &[1],
                message_len: bytes.len() as u32 - 4,
                resumes: true,
                ech: true,
                count: 1,
            }
        );
    }

    #[test]
    fn a_malformed_extension_loses_only_itself() {
        let bytes = client_hello_with(&[ext(10, &[0, 9, 0]), client_extensions("a.example")].concat());
        let client = read(&bytes).unwrap();
        assert_eq!(client.sni, b"a.example");
        assert_eq!(client.extensions[..2], [10, 0x1a1a]);
        // The last one announces more than there is.
        let bytes = client_hello_with(&[client_extensions("a.example"), vec![0, 99, 1, 0, 7]].concat());
        let client = read(&bytes).unwrap();
        assert_eq!(client.extensions.last(), Some(&99));
        assert_eq!(client.extension_lens.last(), Some(&256));
    }

    #[test]
    fn a_list_longer_than_the_hello_is_none() {
        let mut bytes = client_hello_with(&ext(10, &[]));
        let at = bytes.len() - 6;
        bytes[at] = 9;
        assert!(read(&bytes).unwrap().extensions.is_empty());
    }

    #[test]
    fn a_hello_that_is_cut_gives_what_was_there() {
        let bytes = client_hello("a.example");
        let ciphers_end = 4 + 2 + 32 + 33 + 2 + 6;
        for len in 4..bytes.len() {
            let client = read(&bytes[..len]);
            assert_eq!(client.is_some(), len >= ciphers_end, "{len}");
        }
    }

    #[test]
    fn no_extensions_at_all() {
        let with = client_hello_with(&[]);
        let mut without = with.clone();
        without.truncate(with.len() - 2);
        for bytes in [with, without] {
            assert!(read(&bytes).unwrap().extensions.is_empty());
        }
    }

    #[test]
    fn a_hello_in_the_old_form() {
        let hello = [&[1, 3, 1, 0, 9, 0, 0, 0, 16][..], &[0, 0, 5, 7, 0, 192, 0, 0, 10], &[4; 16]].concat();
        let client = Client::read_old(&hello).unwrap();
        assert_eq!((client.version, &client.ciphers[..]), (0x0301, &[5, 10][..]));
    }

    /// What tls-parser makes of the same extension.
    fn oracle(client: &mut Client<'_>, entry: &[u8]) {
        use tls_parser::{SNIType, TlsExtension, parse_tls_client_hello_extension};
        match parse_tls_client_hello_extension(entry) {
            Ok((_, TlsExtension::SNI(names))) => {
                let host = names.iter().find(|(kind, _)| *kind == SNIType::HostName);
                client.sni = host.map_or(&[], |(_, name)| name.to_vec().leak());
            }
            Ok((_, TlsExtension::EllipticCurves(groups))) => client.groups = groups.iter().map(|g| g.0).collect(),
            Ok((_, TlsExtension::EcPointFormats(formats))) => client.point_formats = formats.to_vec().leak(),
            Ok((_, TlsExtension::SignatureAlgorithms(list))) => client.signature_algorithms = Codes::from_slice(&list),
            Ok((_, TlsExtension::ALPN(protocols))) => {
                client.alpn = protocols.join(&b","[..]).into();
            }
            Ok((_, TlsExtension::PskExchangeModes(modes))) => client.psk_modes = modes.leak(),
            _ => {}
        }
    }

    proptest::proptest! {
        /// Lists that fit, lists that announce too much or too little, and lists of lists.
        #[test]
        fn extensions_say_what_tls_parser_reads(
            kind in proptest::sample::select(vec![0u16, 10, 11, 13, 16, 45]),
            body in proptest::collection::vec(proptest::prop_oneof![0u8..6, proptest::prelude::any::<u8>()], 0..40),
            wrap in 0usize..3,
        ) {
            // Commas in names are ours alone.
            let body: Vec<u8> = body.into_iter().map(|byte| if byte == b',' { 0 } else { byte }).collect();
            let data = match wrap {
                0 => body,
                1 => vec16(&body),
                _ => [&[body.len() as u8][..], &body].concat(),
            };
            let entry = ext(kind, &data);
            let (mut ours, mut theirs) = (Client::default(), Client::default());
            ours.read_extension(kind, &data, true, &Limits::default());
            oracle(&mut theirs, &entry);
            proptest::prop_assert_eq!(format!("{:?}", ours.record(1)), format!("{:?}", theirs.record(1)));
        }
    }

    #[test]
    fn many_names_of_other_kinds_are_passed_over() {
        let names = vec16(&[&[7][..], &vec16(b"other"), &[0], &vec16(b"host")].concat());
        assert_eq!(read(&client_hello_with(&ext(0, &names))).unwrap().sni, b"host");
    }
}
