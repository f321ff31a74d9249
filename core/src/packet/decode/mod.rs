//! From a captured frame down to the innermost transport payload.
//!
//! The common path (Ethernet with up to four VLAN tags or raw IP, IPv4 or IPv6, TCP or UDP) is short and by hand;
//! everything else stands behind calls that are marked cold. A property test holds both against etherparse.
//!
//! | module | story |
//! |---|---|
//! | `link` | link types, down to the IP packet |
//! | `ethertype` | what an EtherType announces: tags, labels, signed and bridged frames |
//! | `llc`, `ppp`, `mpls`, `wifi` | the other ways to announce IP |
//! | `ip` | IPv4, IPv6 and its extension headers, fragments |
//! | `transport` | TCP and UDP |
//! | `tunnel` | packets inside packets, by protocol and by port |
//! | `walk` | what is left of a frame, and what is carried along from header to header |
//! | `part` | a part of an IP packet, where one packet alone goes no further |
//! | `fragments` | parts of a packet wait for each other |
//! | `decoder` | all of it with a memory |
//! | `steps` | single steps, for who draws each header |

mod decoder;
mod ethertype;
mod fragments;
mod ip;
mod link;
mod llc;
mod mpls;
mod part;
mod ppp;
pub(super) mod steps;
#[cfg(test)]
mod tests;
mod transport;
mod tunnel;
mod walk;
mod wifi;

pub use decoder::{Decoder, Outer};
pub use fragments::FragmentCounters;

use super::Packet;

/// Bounds of decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Headers of one packet that may hold another packet or frame.
    pub nesting: u8,
    /// Packets of one shard that may wait for their other parts.
    pub fragments_per_shard: u32,
    /// Bytes that all of them may hold together.
    pub fragment_bytes_per_shard: u32,
    /// Seconds of packet time after which a packet no longer waits for its other parts.
    pub fragment_seconds: u32,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { nesting: 8, fragments_per_shard: 256, fragment_bytes_per_shard: 1 << 20, fragment_seconds: 30 }
    }
}

/// What the engine needs of a packet: its innermost IP addresses, transport and payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// Source address; IPv4 stands IPv4-mapped (`::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2).
    pub src: [u8; 16],
    /// Destination address, in the same form.
    pub dst: [u8; 16],
    /// Source port; 0 where the protocol has none.
    pub src_port: u16,
    /// Destination port; 0 where the protocol has none.
    pub dst_port: u16,
    /// IP protocol number: 6 TCP, 17 UDP.
    pub protocol: u8,
    /// The networks it was met in whose numbers are the same in both directions (VLAN, VXLAN, GENEVE, NVGRE, PPPoE
    /// session, service instance), packed without loss up to 64 bits; part of the flow's key, 0 without any.
    pub lan: u64,
    /// Length of the innermost IP packet on the wire in bytes.
    pub ip_len: u32,
    /// Length of the transport payload on the wire in bytes; `payload` may hold less of it.
    pub payload_len: u32,
    /// The TCP header's fields, for TCP.
    pub tcp: Option<Tcp>,
    /// The captured part of the transport payload.
    pub payload: &'a [u8],
}

/// The fields of a TCP header (RFC 9293) that flows need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcp {
    /// Sequence number of the first payload byte (of the SYN itself on a SYN).
    pub seq: u32,
    /// The low eight flag bits: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32.
    pub flags: u8,
}

impl Tcp {
    /// FIN flag bit.
    pub const FIN: u8 = 1;
    /// SYN flag bit.
    pub const SYN: u8 = 2;
    /// RST flag bit.
    pub const RST: u8 = 4;
    /// PSH flag bit.
    pub const PSH: u8 = 8;
    /// ACK flag bit.
    pub const ACK: u8 = 16;

    /// Whether all bits of `flag` are set.
    pub fn has(self, flag: u8) -> bool {
        self.flags & flag == flag
    }
}

/// Why a packet gave no [`Decoded`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Skip {
    /// No IP inside: ARP, spanning tree and the like.
    NotIp,
    /// A part of a packet that waits for the others.
    Fragment,
    /// IP, but neither TCP nor UDP, nor a tunnel that is known.
    OtherTransport,
    /// The capture ends inside the headers.
    Truncated,
    /// Headers that contradict themselves.
    Malformed,
    /// A link type that is not decoded.
    UnknownLink,
    /// A frame whose link layer is encrypted: wireless LAN, MACsec, PPP.
    Encrypted,
    /// More packets and frames inside one another than [`DecodeLimits::nesting`].
    TooNested,
}

impl Skip {
    /// All reasons, in the order they are reported.
    pub const ALL: [Self; 8] = [
        Self::NotIp,
        Self::Fragment,
        Self::OtherTransport,
        Self::Truncated,
        Self::Malformed,
        Self::UnknownLink,
        Self::Encrypted,
        Self::TooNested,
    ];

    /// The reason's name in counters and output.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotIp => "not_ip",
            Self::Fragment => "fragment",
            Self::OtherTransport => "other_transport",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::UnknownLink => "unknown_link",
            Self::Encrypted => "encrypted",
            Self::TooNested => "too_nested",
        }
    }
}

/// Decodes one packet by itself down to its innermost transport payload; parts of packets are [`Skip::Fragment`].
///
/// [`Decoder`] puts parts together as well.
pub fn decode<'a>(packet: &Packet<'a>) -> Result<Decoded<'a>, Skip> {
    Outer::of(packet, DecodeLimits::default().nesting).decode()
}

/// A number that is equal for all packets between two hosts, in both directions, fragments included.
///
/// Logical shards are chosen by it before anything is decoded; it looks at the outermost addresses only, and a packet
/// it cannot read gets 0.
pub fn shard_hint(packet: &Packet<'_>) -> u32 {
    Outer::of(packet, DecodeLimits::default().nesting).shard_hint()
}

/// The same for the outermost IP packet.
#[inline]
fn pair_hint(data: &[u8]) -> u32 {
    let word = |at: usize| data.get(at..at + 4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
    // XOR is the same for both directions, and multiplying spreads neighbours over the shards.
    let mixed = match data.first().map(|b| b >> 4) {
        Some(4) => word(12) ^ word(16),
        Some(6) => (8..40).step_by(4).fold(0, |sum, at| sum ^ word(at)),
        _ => 0,
    };
    mixed.wrapping_mul(0x9e37_79b1) >> 16
}
