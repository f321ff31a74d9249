use super::Checksum;
use std::fmt;
use std::net::IpAddr;

/// Who sends or gets a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// By its address of IP.
    Ip(IpAddr),
    /// By that of the link, where there is no IP.
    Mac([u8; 6]),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Mac([a, b, c, d, e, g]) => write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"),
        }
    }
}

/// The innermost payload of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload<'a> {
    /// Bytes of the frame before it.
    pub at: usize,
    /// The captured part.
    pub bytes: &'a [u8],
    /// Its length on the wire in bytes.
    pub wire_len: usize,
    /// Whether it is a part of a packet that came in parts.
    pub fragment: bool,
}

/// What a packet is in one line: the words of its innermost header.
#[derive(Debug, Clone, Default)]
pub struct Outline<'a> {
    /// Who sent it.
    pub src: Option<Address>,
    /// For whom it is.
    pub dst: Option<Address>,
    /// Ports, where the transport has some.
    pub ports: Option<(u16, u16)>,
    /// IP protocol number of the innermost IP packet.
    pub transport: Option<u8>,
    /// The innermost protocol, such as `TCP` or `ARP`.
    pub protocol: String,
    /// What it says.
    pub info: String,
    /// Every checksum that was looked at, outermost first; not those of packets that an error message quotes.
    pub checksums: Vec<Checksum>,
    /// What stands behind the last header, where that is TCP's or UDP's.
    pub payload: Option<Payload<'a>>,
}

impl Outline<'_> {
    /// Lets a header have the word.
    pub(super) fn say(&mut self, protocol: &str, info: impl Into<String>) {
        protocol.clone_into(&mut self.protocol);
        self.info = info.into();
    }
}
