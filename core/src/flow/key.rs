use crate::packet::Decoded;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address and a port of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Address; IPv4 stands IPv4-mapped.
    pub address: [u8; 16],
    /// Port.
    pub port: u16,
}

impl Endpoint {
    /// The address as one prints it: IPv4 where it is mapped.
    pub fn ip(&self) -> IpAddr {
        format_address(self.address)
    }

    /// Whether the address is IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.address[..12] == MAPPED
    }
}

const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// Turns the engine's sixteen bytes into a printable address.
pub fn format_address(address: [u8; 16]) -> IpAddr {
    if address[..12] == MAPPED {
        IpAddr::V4(Ipv4Addr::new(address[12], address[13], address[14], address[15]))
    } else {
        IpAddr::V6(Ipv6Addr::from(address))
    }
}

/// A five-tuple without direction, plus the symmetric identifiers of networks: the two endpoints stand in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowKey {
    /// The smaller endpoint.
    pub low: Endpoint,
    /// The larger endpoint.
    pub high: Endpoint,
    /// IP protocol number.
    pub protocol: u8,
    /// Identifiers of networks as [`Decoded::lan`] packs them.
    pub lan: u64,
}

/// In few large words: this is done for every packet.
impl Hash for FlowKey {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_ne_bytes(self.low.address));
        state.write_u128(u128::from_ne_bytes(self.high.address));
        let ports = u64::from(self.low.port) << 16 | u64::from(self.high.port);
        state.write_u64(ports << 8 | u64::from(self.protocol));
        state.write_u64(self.lan);
    }
}

impl FlowKey {
    /// The key of a packet's flow, and whether the packet goes from `low` to `high`.
    pub fn of(packet: &Decoded<'_>) -> (Self, bool) {
        let src = Endpoint { address: packet.src, port: packet.src_port };
        let dst = Endpoint { address: packet.dst, port: packet.dst_port };
        let order = |end: &Endpoint| (u128::from_be_bytes(end.address), end.port);
        let upward = order(&src) <= order(&dst);
        let (low, high) = if upward { (src, dst) } else { (dst, src) };
        (Self { low, high, protocol: packet.protocol, lan: packet.lan }, upward)
    }
}

impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            6 => "TCP",
            17 => "UDP",
            _ => "IP",
        };
        write!(f, "{protocol} {}:{} – {}:{}", self.low.ip(), self.low.port, self.high.ip(), self.high.port)
    }
}
