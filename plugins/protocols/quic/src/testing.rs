//! Hellos and packets made by hand, for the tests.

use crate::protection::Keys;
use crate::version::Version;

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn vec8(body: &[u8]) -> Vec<u8> {
    [&[body.len() as u8][..], body].concat()
}

fn vec16(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u16).to_be_bytes()[..], body].concat()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vec16(body)].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&(u32::from(kind) << 24 | body.len() as u32).to_be_bytes()[..], body].concat()
}

/// A ClientHello of TLS 1.3 with these transport parameters.
pub(crate) fn client_hello(name: &str, parameters: &[u8]) -> Vec<u8> {
    let extensions = [
        extension(0, &vec16(&[&[0][..], &vec16(name.as_bytes())].concat())),
        extension(10, &vec16(&[0, 29])),
        extension(13, &vec16(&[4, 3])),
        extension(16, &vec16(&vec8(b"h3"))),
        extension(43, &vec8(&[3, 4])),
        extension(0x39, parameters),
    ];
    let body = [&[3, 3][..], &[1; 32], &vec8(&[]), &vec16(&[0x13, 1]), &vec8(&[0]), &vec16(&extensions.concat())];
    message(1, &body.concat())
}

/// A ServerHello of TLS 1.3.
pub(crate) fn server_hello() -> Vec<u8> {
    let extensions = [extension(43, &[3, 4]), extension(51, &[&[0, 29][..], &vec16(&[9; 32])].concat())];
    message(2, &[&[3, 3][..], &[2; 32], &vec8(&[]), &[0x13, 1, 0], &vec16(&extensions.concat())].concat())
}

/// A number in two bytes.
fn two(number: usize) -> [u8; 2] {
    (0x4000 | number as u16).to_be_bytes()
}

/// A CRYPTO frame.
pub(crate) fn crypto(offset: usize, data: &[u8]) -> Vec<u8> {
    [&[6][..], &two(offset), &two(data.len()), data].concat()
}

/// What an Initial packet is made of.
#[derive(Debug, Clone)]
pub(crate) struct Initial<'a> {
    pub(crate) version: u32,
    /// The id that the keys come from.
    pub(crate) origin: &'a [u8],
    pub(crate) destination: &'a [u8],
    pub(crate) source: &'a [u8],
    pub(crate) token: &'a [u8],
    pub(crate) number: u32,
    pub(crate) from_server: bool,
    /// Bytes of all of it, padded.
    pub(crate) size: usize,
}

impl<'a> Initial<'a> {
    /// A client's first one.
    pub(crate) fn client(origin: &'a [u8]) -> Self {
        Self {
            version: 1,
            origin,
            destination: origin,
            source: b"client",
            token: &[],
            number: 0,
            from_server: false,
            size: 1200,
        }
    }

    /// A server's first answer.
    pub(crate) fn server(origin: &'a [u8]) -> Self {
        Self { destination: b"client", source: b"server", from_server: true, size: 0, ..Self::client(origin) }
    }

    /// Sealed, with these frames.
    pub(crate) fn with(&self, frames: &[u8]) -> Vec<u8> {
        let first = if self.version == 0x6b33_43cf { 0xd3 } else { 0xc3 };
        let head = [
            &[first][..],
            &self.version.to_be_bytes(),
            &vec8(self.destination),
            &vec8(self.source),
            &two(self.token.len()),
            self.token,
        ]
        .concat();
        let mut frames = frames.to_vec();
        frames.resize(frames.len().max(self.size.saturating_sub(head.len() + 2 + 4 + 16)), 0);
        let header = [&head[..], &two(4 + frames.len() + 16), &self.number.to_be_bytes()].concat();
        let keys = Keys::new(Version(self.version), self.origin).unwrap();
        let key = if self.from_server { keys.server } else { keys.client };
        key.seal(&header, self.number, &frames)
    }
}
