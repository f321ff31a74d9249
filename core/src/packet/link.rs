use std::fmt;

/// Link-layer type of a capture, by its tcpdump.org number.
///
/// A newtype and not an enum, so that a number nobody knows survives and can be counted and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkType(pub u16);

/// Each link type that is decoded: constant, number, the name people know it by, what it is.
macro_rules! link_types {
    ($($constant:ident = $number:literal, $name:literal, $story:literal;)*) => {
        impl LinkType {
            $(#[doc = $story] pub const $constant: Self = Self($number);)*

            /// The name people know it by, where we decode it.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$constant => Some($name),)*
                    _ => None,
                }
            }
        }
    };
}

link_types! {
    NULL = 0, "NULL", "BSD loopback: four bytes of address family in the capturing machine's byte order.";
    ETHERNET = 1, "Ethernet", "Ethernet.";
    TOKEN_RING = 6, "Token Ring", "Token Ring (IEEE 802.5).";
    SLIP = 8, "SLIP", "A serial line with the driver's header of 16 bytes.";
    PPP = 9, "PPP", "PPP, with or without its framing.";
    FDDI = 10, "FDDI", "FDDI.";
    RAW_BSD = 12, "raw IP", "Raw IP, the number OpenBSD writes.";
    RAW_ALT = 14, "raw IP", "Raw IP, a number some BSDs write.";
    PPP_HDLC = 50, "PPP over HDLC", "PPP in HDLC-like framing (RFC 1662), or Cisco HDLC.";
    PPP_ETHER = 51, "PPPoE", "PPPoE sessions (RFC 2516) without Ethernet.";
    ATM_LLC = 100, "ATM", "LLC over ATM (RFC 2684).";
    RAW = 101, "raw IP", "Raw IP; the version stands in the first nibble.";
    C_HDLC = 104, "Cisco HDLC", "Cisco HDLC.";
    IEEE802_11 = 105, "802.11", "Wireless LAN (IEEE 802.11).";
    FRELAY = 107, "Frame Relay", "Frame Relay (RFC 2427).";
    LOOP = 108, "LOOP", "OpenBSD loopback: as [`Self::NULL`], in network byte order.";
    ENC = 109, "ENC", "OpenBSD's interface for what IPsec carries.";
    LINUX_SLL = 113, "Linux SLL", "Linux \"cooked\" capture.";
    PFLOG = 117, "PFLOG", "The log of a BSD packet filter.";
    PRISM = 119, "802.11 with Prism", "Wireless LAN behind the header of Prism cards.";
    IP_OVER_FC = 122, "IP over Fibre Channel", "IP over Fibre Channel (RFC 2625).";
    SUN_ATM = 123, "SunATM", "ATM as Solaris captures it.";
    RADIOTAP = 127, "802.11 with radiotap", "Wireless LAN behind a radiotap header.";
    APPLE_FIREWIRE = 138, "IP over FireWire", "IP over IEEE 1394 as Apple captures it.";
    AVS = 163, "802.11 with AVS", "Wireless LAN behind an AVS header.";
    PPP_PPPD = 166, "PPP", "PPP as pppd captures it: a direction instead of the address.";
    PPI = 192, "PPI", "Per-packet information before any other link type.";
    ERF = 197, "ERF", "Endace's extensible record format.";
    PPP_WITH_DIRECTION = 204, "PPP", "PPP behind a byte of direction.";
    C_HDLC_WITH_DIRECTION = 205, "Cisco HDLC", "Cisco HDLC behind a byte of direction.";
    FRELAY_WITH_DIRECTION = 206, "Frame Relay", "Frame Relay behind a byte of direction.";
    MPLS = 219, "MPLS", "MPLS labels without anything before them.";
    IPNET = 226, "IPNET", "Solaris: IP behind the zones and interfaces it passes.";
    IPV4 = 228, "IPv4", "Raw IPv4.";
    IPV6 = 229, "IPv6", "Raw IPv6.";
    NFLOG = 239, "NFLOG", "Linux netfilter's log.";
    NETANALYZER = 240, "netANALYZER", "Ethernet behind a netANALYZER header.";
    NETANALYZER_TRANSPARENT = 241, "netANALYZER", "The same with the preamble of each frame.";
    IP_OVER_INFINIBAND = 242, "IP over InfiniBand", "IP over InfiniBand (RFC 4391).";
    PKTAP = 258, "PKTAP", "Apple's tap: a header that names the link type of each packet.";
    LINUX_SLL2 = 276, "Linux SLL2", "Linux \"cooked\" capture, version 2.";
    DSA_BROADCOM = 281, "Ethernet with a switch's tag", "Ethernet with a Broadcom switch's tag inside.";
    DSA_BROADCOM_FRONT = 282, "Ethernet with a switch's tag", "Ethernet with a Broadcom switch's tag in front.";
    DSA = 284, "Ethernet with a switch's tag", "Ethernet with a Marvell switch's tag.";
    DSA_ETHERTYPE = 285, "Ethernet with a switch's tag", "The same behind an EtherType.";
}

impl LinkType {
    /// Whether [`super::decode()`] knows what to do with it.
    pub fn is_known(self) -> bool {
        self.name().is_some()
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
