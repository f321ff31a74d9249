//! What one side of a connection says in the clear.

use md5::{Digest, Md5};
use veilwatch_core::plugin::Reader;

/// How a banner begins (RFC 4253 section 4.2).
pub(crate) const BEGIN: &[u8] = b"SSH-";

/// Lines that a server may send before its banner; so many are looked at.
const LINES_BEFORE: usize = 32;

/// Messages before a KEXINIT; so many are passed over.
const PACKETS_BEFORE: usize = 8;

/// Longest packet that every implementation must take (section 6.1).
pub(crate) const PACKET: usize = 35_000;

/// SSH_MSG_KEXINIT (section 7.1).
pub(crate) const KEXINIT: u8 = 20;

/// What is known of one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Side<'a> {
    /// Version of the protocol, such as `2.0`.
    pub(crate) version: Option<&'a [u8]>,
    pub(crate) software: Option<&'a [u8]>,
    pub(crate) comments: Option<&'a [u8]>,
    pub(crate) offer: Option<Offer<'a>>,
    /// Whether the banner is longer than allowed.
    pub(crate) long: bool,
    /// Bytes in all that would tell more; `usize::MAX` where nothing would.
    pub(crate) wanted: usize,
}

/// The lists of a KEXINIT, each names separated by commas.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Offer<'a> {
    pub(crate) exchanges: &'a [u8],
    pub(crate) host_keys: &'a [u8],
    /// From client to server, from server to client.
    pub(crate) ciphers: [&'a [u8]; 2],
    pub(crate) macs: [&'a [u8]; 2],
    pub(crate) compressions: [&'a [u8]; 2],
}

impl<'a> Offer<'a> {
    /// Reads what stands behind the message's number (section 7.1).
    pub(crate) fn read(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        reader.take(16)?;
        let mut list = || reader.u32().and_then(|len| reader.take(usize::try_from(len).ok()?));
        Some(Self {
            exchanges: list()?,
            host_keys: list()?,
            ciphers: [list()?, list()?],
            macs: [list()?, list()?],
            compressions: [list()?, list()?],
        })
    }

    /// Key exchanges, host keys, and what a client (0) or a server (1) offers for its own direction.
    pub(crate) fn lists(&self, direction: usize) -> [&'a [u8]; 5] {
        let of = |lists: [&'a [u8]; 2]| lists.get(direction).copied().unwrap_or_default();
        [self.exchanges, self.host_keys, of(self.ciphers), of(self.macs), of(self.compressions)]
    }

    /// HASSH of a client (0) or HASSHServer of a server (1): MD5 over the lists of the direction that it sends in.
    pub(crate) fn hassh(&self, direction: usize) -> String {
        let [exchanges, _, ciphers, macs, compressions] = self.lists(direction);
        let mut hasher = Md5::new();
        for (at, list) in [exchanges, ciphers, macs, compressions].into_iter().enumerate() {
            if at > 0 {
                hasher.update(b";");
            }
            hasher.update(list);
        }
        hasher.finalize().iter().fold(String::with_capacity(32), |mut text, byte| {
            text.extend([byte >> 4, byte & 15].map(|half| char::from_digit(u32::from(half), 16).unwrap_or('0')));
            text
        })
    }
}

impl<'a> Side<'a> {
    /// Reads what there is; a banner may have so many bytes, its end included.
    pub(crate) fn read(bytes: &'a [u8], banner_bytes: usize) -> Self {
        let mut side = Self::default();
        side.wanted = side.read_from(bytes, banner_bytes).unwrap_or(usize::MAX);
        side
    }

    /// Bytes that would tell more; `None` where nothing would.
    fn read_from(&mut self, bytes: &'a [u8], banner_bytes: usize) -> Option<usize> {
        let mut at = 0;
        let mut before = 0;
        while !bytes.get(at..)?.starts_with(BEGIN) {
            let line = &bytes[at..];
            let Some(end) = line.iter().take(banner_bytes).position(|byte| *byte == b'\n') else {
                return (line.len() < banner_bytes).then_some(bytes.len() + 1);
            };
            before += 1;
            if before > LINES_BEFORE {
                return None;
            }
            at += end + 1;
        }
        let line = &bytes[at..];
        let Some(end) = line.iter().take(banner_bytes).position(|byte| *byte == b'\n') else {
            self.long = line.len() >= banner_bytes;
            self.banner(&line[..line.len().min(banner_bytes)]);
            return (!self.long).then_some(bytes.len() + 1);
        };
        self.banner(&line[..end]);
        at += end + 1;
        if !Banner::read(&line[..end]).has_packets() {
            return None;
        }
        for _ in 0..PACKETS_BEFORE {
            let Some((length, body)) = bytes.get(at..)?.split_first_chunk::<4>() else { return Some(at + 4) };
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            if !(2..=PACKET).contains(&length) {
                return None;
            }
            let Some(packet) = body.get(..length) else { return Some(at + 4 + length) };
            let (padding, rest) = packet.split_first()?;
            let payload = rest.get(..rest.len().checked_sub(usize::from(*padding))?)?;
            match payload.split_first()? {
                (&KEXINIT, body) => {
                    self.offer = Offer::read(body);
                    return None;
                }
                // Disconnect ends it; ignore, unimplemented and debug may come before (section 11).
                (2..=4, _) => at += 4 + length,
                _ => return None,
            }
        }
        None
    }

    fn banner(&mut self, line: &'a [u8]) {
        let Banner { version, software, comments } = Banner::read(line);
        (self.version, self.software, self.comments) = (version, software, comments);
    }
}

/// The members of a banner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Banner<'a> {
    pub(crate) version: Option<&'a [u8]>,
    pub(crate) software: Option<&'a [u8]>,
    pub(crate) comments: Option<&'a [u8]>,
}

impl<'a> Banner<'a> {
    /// `SSH-2.0-software comments`, as far as it is there.
    pub(crate) fn read(line: &'a [u8]) -> Self {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut parts = line.get(BEGIN.len()..).into_iter().flat_map(|rest| rest.splitn(2, |byte| *byte == b'-'));
        let version = parts.next();
        let mut words = parts.next().into_iter().flat_map(|rest| rest.splitn(2, |byte| *byte == b' '));
        Self { version, software: words.next(), comments: words.next().filter(|comments| !comments.is_empty()) }
    }

    /// Whether packets follow that can be read. Before version 2 there are no algorithms in the clear; 1.99 is 2 and more
    /// (section 5.1).
    pub(crate) fn has_packets(&self) -> bool {
        self.version.is_some_and(|version| version.starts_with(b"2") || version == b"1.99")
    }
}
