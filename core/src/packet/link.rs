use std::fmt;

/// Link-layer type of a capture, by its tcpdump.org number.
///
/// A newtype and not an enum, so that a number nobody knows survives and can be counted and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: four bytes of address family in the capturing machine's byte order.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// Raw IP, the number OpenBSD writes.
    pub const RAW_BSD: Self = Self(12);
    /// Raw IP, a number some BSDs write.
    pub const RAW_ALT: Self = Self(14);
    /// Raw IP; the version stands in the first nibble.
    pub const RAW: Self = Self(101);
    /// OpenBSD loopback: as [`Self::NULL`], in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux "cooked" capture.
    pub const LINUX_SLL: Self = Self(113);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
    /// Linux "cooked" capture, version 2.
    pub const LINUX_SLL2: Self = Self(276);

    /// Whether [`super::decode()`] knows what to do with it.
    pub fn is_known(self) -> bool {
        self.name().is_some()
    }

    /// The name people know it by, where we decode it.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::NULL => "NULL",
            Self::ETHERNET => "Ethernet",
            Self::RAW | Self::RAW_BSD | Self::RAW_ALT => "raw IP",
            Self::LOOP => "LOOP",
            Self::LINUX_SLL => "Linux SLL",
            Self::IPV4 => "IPv4",
            Self::IPV6 => "IPv6",
            Self::LINUX_SLL2 => "Linux SLL2",
            _ => return None,
        })
    }
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "link type {}", self.0),
        }
    }
}
