use super::{LinkType, Packet};
use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};

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
    /// VLAN identifiers, outer and inner, packed; part of the flow's key, 0 without VLAN.
    pub vlan: u32,
    /// Length of the IP packet on the wire in bytes.
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
    /// A fragment of an IP packet; fragments are not put together yet.
    Fragment,
    /// IP, but neither TCP nor UDP.
    OtherTransport,
    /// The capture ends inside the headers.
    Truncated,
    /// Headers that contradict themselves.
    Malformed,
    /// A link type that is not decoded.
    UnknownLink,
}

impl Skip {
    /// All reasons, in the order they are reported.
    pub const ALL: [Self; 6] =
        [Self::NotIp, Self::Fragment, Self::OtherTransport, Self::Truncated, Self::Malformed, Self::UnknownLink];

    /// The reason's name in counters and output.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotIp => "not_ip",
            Self::Fragment => "fragment",
            Self::OtherTransport => "other_transport",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::UnknownLink => "unknown_link",
        }
    }
}

/// Decodes one packet down to its transport payload.
///
/// The common path (Ethernet with up to two VLAN tags or a raw link, IPv4 or IPv6, TCP or UDP) is decoded by hand,
/// because library decoding costs a quarter of the whole pipeline; what the hand-written path does not know goes
/// through etherparse. A property test holds the two equal.
pub fn decode<'a>(packet: &Packet<'a>) -> Result<Decoded<'a>, Skip> {
    let (network, vlan) = link(packet)?;
    let above = packet.wire_len.saturating_sub((packet.data.len() - network.len()) as u32);
    ip(network, above, vlan)
}

const VLAN: [u16; 4] = [0x8100, 0x88a8, 0x9100, 0x9200];
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// Walks the link layer; returns the IP packet and the VLAN tags.
fn link<'a>(packet: &Packet<'a>) -> Result<(&'a [u8], u32), Skip> {
    let data = packet.data;
    let ethertype_at = match packet.link {
        LinkType::ETHERNET => 12,
        LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_ALT | LinkType::IPV4 | LinkType::IPV6 => {
            return Ok((data, 0));
        }
        LinkType::NULL | LinkType::LOOP => return loopback(data),
        LinkType::LINUX_SLL => 14,
        LinkType::LINUX_SLL2 => return ethertype(data, 0, 20),
        _ => return Err(Skip::UnknownLink),
    };
    ethertype(data, ethertype_at, ethertype_at + 2)
}

/// Follows an EtherType at `at`, whose payload starts at `next`, through VLAN tags.
fn ethertype(data: &[u8], at: usize, next: usize) -> Result<(&[u8], u32), Skip> {
    let mut kind = be16(data, at).ok_or(Skip::Truncated)?;
    let mut next = next;
    let mut vlan = 0u32;
    for _ in 0..4 {
        if !VLAN.contains(&kind) {
            break;
        }
        let tag = be16(data, next).ok_or(Skip::Truncated)?;
        // Identifier 0 is a priority without a VLAN (IEEE 802.1Q); often only one direction carries it.
        if tag & 0x0fff != 0 {
            vlan = vlan << 16 | u32::from(tag & 0x0fff) | 0x1000;
        }
        kind = be16(data, next + 2).ok_or(Skip::Truncated)?;
        next += 4;
    }
    match kind {
        IPV4 | IPV6 => Ok((data.get(next..).ok_or(Skip::Truncated)?, vlan)),
        _ => Err(Skip::NotIp),
    }
}

/// BSD loopback: the address family tells nothing that the IP version does not, except that IP is inside.
fn loopback(data: &[u8]) -> Result<(&[u8], u32), Skip> {
    let Some((family, rest)) = data.split_first_chunk::<4>() else {
        return Err(Skip::Truncated);
    };
    // The family is in the byte order of whoever captured: one of these bytes holds it.
    let family = if family[0] == 0 && family[1] == 0 { family[3] } else { family[0] };
    match family {
        2 | 10 | 24 | 28 | 30 => Ok((rest, 0)),
        _ => Err(Skip::NotIp),
    }
}

/// `above` is the length of the IP packet on the wire as far as the link layer knows it.
fn ip(data: &[u8], above: u32, vlan: u32) -> Result<Decoded<'_>, Skip> {
    match data.first().map(|b| b >> 4) {
        Some(4) => ipv4(data, above, vlan),
        Some(6) => ipv6(data, above, vlan),
        Some(_) => Err(Skip::Malformed),
        None => Err(Skip::Truncated),
    }
}

fn ipv4(data: &[u8], above: u32, vlan: u32) -> Result<Decoded<'_>, Skip> {
    let header = data.first_chunk::<20>().ok_or(Skip::Truncated)?;
    let header_len = usize::from(header[0] & 15) * 4;
    if header_len < 20 {
        return Err(Skip::Malformed);
    }
    if data.len() < header_len {
        return Err(Skip::Truncated);
    }
    let total = u32::from(u16::from_be_bytes([header[2], header[3]]));
    // A total length of zero is what segmentation offload leaves behind: the frame's length is all there is.
    let ip_len = if total == 0 { above } else { total };
    if (ip_len as usize) < header_len {
        return Err(Skip::Malformed);
    }
    if u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0 {
        return Err(Skip::Fragment);
    }
    let src = mapped([header[12], header[13], header[14], header[15]]);
    let dst = mapped([header[16], header[17], header[18], header[19]]);
    let end = data.len().min(ip_len as usize);
    transport(&data[header_len..end], header[9], ip_len - header_len as u32, Envelope { src, dst, vlan, ip_len })
}

fn ipv6(data: &[u8], above: u32, vlan: u32) -> Result<Decoded<'_>, Skip> {
    let header = data.first_chunk::<40>().ok_or(Skip::Truncated)?;
    let payload = u32::from(u16::from_be_bytes([header[4], header[5]]));
    let ip_len = if payload == 0 { above.max(40) } else { payload + 40 };
    let mut src = [0; 16];
    let mut dst = [0; 16];
    src.copy_from_slice(&header[8..24]);
    dst.copy_from_slice(&header[24..40]);
    let envelope = Envelope { src, dst, vlan, ip_len };
    let body = &data[40..data.len().min(ip_len as usize).max(40)];
    match header[6] {
        next @ (6 | 17) => transport(body, next, ip_len - 40, envelope),
        58 | 59 | 132 | 89 => Err(Skip::OtherTransport),
        _ => extended_ipv6(data, envelope),
    }
}

/// IPv6 with extension headers: rare enough to leave to etherparse.
fn extended_ipv6(data: &[u8], envelope: Envelope) -> Result<Decoded<'_>, Skip> {
    let sliced = LaxSlicedPacket::from_ip(data).map_err(|_| Skip::Malformed)?;
    let Some(LaxNetSlice::Ipv6(net)) = sliced.net else {
        return Err(Skip::Malformed);
    };
    if net.payload().fragmented {
        return Err(Skip::Fragment);
    }
    match sliced.transport {
        Some(TransportSlice::Tcp(_) | TransportSlice::Udp(_)) => {
            let body = net.payload().payload;
            let offset = body.as_ptr() as usize - data.as_ptr() as usize;
            let wire = envelope.ip_len.saturating_sub(offset as u32);
            transport(body, net.payload().ip_number.0, wire, envelope)
        }
        Some(_) => Err(Skip::OtherTransport),
        None if sliced.stop_err.is_some() => Err(Skip::Truncated),
        None => Err(Skip::OtherTransport),
    }
}

struct Envelope {
    src: [u8; 16],
    dst: [u8; 16],
    vlan: u32,
    ip_len: u32,
}

/// `wire` is the length of header and payload on the wire, by the IP header's word.
fn transport(data: &[u8], protocol: u8, wire: u32, envelope: Envelope) -> Result<Decoded<'_>, Skip> {
    let Envelope { src, dst, vlan, ip_len } = envelope;
    let (header_len, tcp) = match protocol {
        6 => {
            let header = data.first_chunk::<20>().ok_or(Skip::Truncated)?;
            let len = usize::from(header[12] >> 4) * 4;
            if len < 20 || len > wire as usize {
                return Err(Skip::Malformed);
            }
            let seq = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            (len, Some(Tcp { seq, flags: header[13] }))
        }
        17 => {
            if data.len() < 8 {
                return Err(Skip::Truncated);
            }
            (8, None)
        }
        _ => return Err(Skip::OtherTransport),
    };
    Ok(Decoded {
        src,
        dst,
        src_port: u16::from_be_bytes([data[0], data[1]]),
        dst_port: u16::from_be_bytes([data[2], data[3]]),
        protocol,
        vlan,
        ip_len,
        payload_len: wire.saturating_sub(header_len as u32),
        tcp,
        payload: data.get(header_len..).unwrap_or(&[]),
    })
}

fn mapped(v4: [u8; 4]) -> [u8; 16] {
    let mut out = [0; 16];
    out[10] = 0xff;
    out[11] = 0xff;
    out[12..].copy_from_slice(&v4);
    out
}

fn be16(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]))
}

/// A number that is equal for all packets between two hosts, in both directions, fragments included.
///
/// Logical shards are chosen by it before anything is decoded; it looks at the outer addresses only, and a packet it
/// cannot read gets 0.
pub fn shard_hint(packet: &Packet<'_>) -> u32 {
    let Ok((data, _)) = link(packet) else { return 0 };
    let word = |at: usize| data.get(at..at + 4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
    // XOR is the same for both directions, and multiplying spreads neighbours over the shards.
    let mixed = match data.first().map(|b| b >> 4) {
        Some(4) => word(12) ^ word(16),
        Some(6) => (8..40).step_by(4).fold(0, |sum, at| sum ^ word(at)),
        _ => 0,
    };
    mixed.wrapping_mul(0x9e37_79b1) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    fn packet(link: LinkType, data: &[u8]) -> Packet<'_> {
        Packet { number: 1, time_ns: 0, link, wire_len: data.len() as u32, data }
    }

    fn tcp_frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([1; 6], [2; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .tcp(1234, 443, 77, 1024)
            .syn()
            .write(&mut frame, payload)
            .unwrap();
        frame
    }

    #[test]
    fn reads_ethernet_ipv4_tcp() {
        let frame = tcp_frame(b"hello");
        let got = decode(&packet(LinkType::ETHERNET, &frame)).unwrap();
        assert_eq!((got.src_port, got.dst_port, got.protocol), (1234, 443, 6));
        assert_eq!(got.payload, b"hello");
        assert_eq!(got.tcp, Some(Tcp { seq: 77, flags: Tcp::SYN }));
        assert_eq!(got.ip_len, 45);
    }

    #[test]
    fn padding_behind_a_short_packet_is_no_payload() {
        let mut frame = tcp_frame(b"");
        frame.resize(60, 0);
        let got = decode(&packet(LinkType::ETHERNET, &frame)).unwrap();
        assert_eq!((got.payload, got.payload_len), (&b""[..], 0));
    }

    #[test]
    fn a_cut_payload_keeps_its_length_on_the_wire() {
        let frame = tcp_frame(&[7; 100]);
        let cut = Packet { data: &frame[..80], ..packet(LinkType::ETHERNET, &frame) };
        let got = decode(&cut).unwrap();
        assert_eq!((got.payload.len(), got.payload_len), (26, 100));
    }

    #[test]
    fn the_same_packet_on_every_link() {
        let frame = tcp_frame(b"x");
        let plain = decode(&packet(LinkType::ETHERNET, &frame)).unwrap();
        let ip = &frame[14..];
        let with = |head: &[u8]| [head, ip].concat();
        let mut sll = vec![0; 14];
        sll.extend([8, 0]);
        let mut sll2 = vec![8, 0];
        sll2.resize(20, 0);
        for (link, data) in [
            (LinkType::RAW, ip.to_vec()),
            (LinkType::IPV4, ip.to_vec()),
            (LinkType::NULL, with(&[2, 0, 0, 0])),
            (LinkType::LOOP, with(&[0, 0, 0, 2])),
            (LinkType::LINUX_SLL, with(&sll)),
            (LinkType::LINUX_SLL2, with(&sll2)),
        ] {
            assert_eq!(decode(&packet(link, &data)), Ok(plain), "{link}");
        }
        let mut tagged = frame[..12].to_vec();
        tagged.extend([0x88, 0xa8, 0, 5, 0x81, 0, 0, 9, 8, 0]);
        tagged.extend(ip);
        let got = decode(&packet(LinkType::ETHERNET, &tagged)).unwrap();
        assert_eq!(Decoded { vlan: 0, ..got }, plain);
        assert_ne!(got.vlan, 0);
        // A priority tag is no VLAN.
        let priority = [&frame[..12], &[0x81, 0, 0xe0, 0, 8, 0], ip].concat();
        assert_eq!(decode(&packet(LinkType::ETHERNET, &priority)), Ok(plain));
    }

    #[test]
    fn unknown_links_and_other_protocols_are_named() {
        assert_eq!(decode(&packet(LinkType(147), &[0; 64])), Err(Skip::UnknownLink));
        let mut arp = vec![0; 60];
        arp[12..14].copy_from_slice(&[8, 6]);
        assert_eq!(decode(&packet(LinkType::ETHERNET, &arp)), Err(Skip::NotIp));
    }

    proptest! {
        #[test]
        fn never_panics(link in 0u16..300, data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&packet(LinkType(link), &data));
            let _ = shard_hint(&packet(LinkType(link), &data));
        }

        /// The hand-written path against etherparse, on a real frame with bytes changed and the tail cut.
        #[test]
        fn agrees_with_etherparse(
            payload in proptest::collection::vec(any::<u8>(), 0..64),
            changes in proptest::collection::vec((14usize..54, any::<u8>()), 0..3),
            cut in 0usize..120,
        ) {
            let mut frame = tcp_frame(&payload);
            for (at, byte) in changes {
                frame[at] = byte;
            }
            frame.truncate(cut.max(14));
            let Ok(ours) = decode(&packet(LinkType::ETHERNET, &frame)) else { return Ok(()) };
            let theirs = LaxSlicedPacket::from_ethernet(&frame).unwrap();
            match theirs.transport {
                Some(TransportSlice::Tcp(tcp)) => {
                    prop_assert_eq!((ours.src_port, ours.dst_port), (tcp.source_port(), tcp.destination_port()));
                    prop_assert_eq!(ours.payload, tcp.payload());
                    prop_assert_eq!(ours.tcp.map(|t| t.seq), Some(tcp.sequence_number()));
                }
                Some(TransportSlice::Udp(udp)) => {
                    prop_assert_eq!((ours.src_port, ours.dst_port), (udp.source_port(), udp.destination_port()));
                }
                // A header that etherparse finds cut inside its options still names its ports to us.
                _ => prop_assert!(ours.payload.is_empty()),
            }
        }

        #[test]
        fn both_directions_share_a_shard(a in any::<[u8; 4]>(), b in any::<[u8; 4]>()) {
            let frame = |src, dst| {
                let mut out = Vec::new();
                PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4(src, dst, 64).udp(1, 2).write(&mut out, &[]).unwrap();
                out
            };
            let (there, back) = (frame(a, b), frame(b, a));
            prop_assert_eq!(
                shard_hint(&packet(LinkType::ETHERNET, &there)),
                shard_hint(&packet(LinkType::ETHERNET, &back))
            );
        }
    }
}
