//! What holds for any bytes.

use super::*;
use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use proptest::prelude::*;

/// Frames of many shapes, as beginnings for what mutation makes of them.
fn shapes() -> Vec<(LinkType, Vec<u8>)> {
    let ip = tcp_packet(b"inside");
    let inner = frame(0x0800, &ip);
    let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &ip].concat();
    let wifi = [&[0x88, 0x81][..], &[0; 28], &snap].concat();
    let raw = |protocol, head: &[u8], body: &[u8]| (LinkType::RAW, ipv4(protocol, &[head, body].concat()));
    let port = |port, head: &[u8], body: &[u8]| raw(17, &[], &udp(port, &[head, body].concat()));
    let ether = |kind, head: &[u8], body: &[u8]| (LinkType::ETHERNET, frame(kind, &[head, body].concat()));
    vec![
        ether(0x8100, &[0, 5, 0x81, 0, 0, 9, 8, 0], &ip),
        ether(0x8847, &[0, 1, 0, 64, 0, 3, 1, 64, 0, 0, 0, 1], &inner),
        ether(0x8864, &[0x11, 0, 0, 9, 0, 48, 0, 0x21], &ip),
        ether(0x88e7, &[0, 0, 1, 2], &inner),
        ether(0x88e5, &[0x20, 0, 0, 0, 0, 1, 3, 3, 3, 3, 3, 3, 3, 3, 8, 0], &ip),
        ether(0x22f3, &[0, 0x40, 0, 1, 0, 2, 9, 9, 9, 9], &inner),
        ether(snap.len() as u16, &[], &snap),
        raw(47, &[0x70, 0, 8, 0, 0, 0, 0, 0, 9, 9, 9, 9, 0, 0, 0, 1, 8, 0, 0, 4, 1, 2, 3, 4, 0, 0, 0, 0], &ip),
        raw(47, &[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 9, 0, 5, 0, 0, 0, 3, 0, 0, 0, 0], &inner),
        raw(47, &[0x30, 0x81, 0x88, 0x0b, 0, 50, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 3, 0, 0x21], &ip),
        raw(51, &[4, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &ip),
        port(4789, &[8, 0, 0, 0, 0, 0, 9, 0], &inner),
        port(4790, &[0x0c, 0, 0, 4, 0, 0, 9, 0, 0, 2, 1, 3, 0, 0, 1, 1], &inner),
        port(6081, &[2, 0x40, 8, 0, 0, 0, 9, 0, 1, 2, 3, 1, 9, 9, 9, 9], &ip),
        port(2152, &[0x34, 255, 0, 58, 0, 0, 0, 1, 0, 7, 0, 0x85, 1, 0x10, 5, 0x85, 1, 0, 5, 0], &ip),
        port(3544, &[0, 1, 1, 2, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 0, 0, 1, 2, 3, 4, 5, 6], &ipv6(6, &ip[20..])),
        port(5247, &[0, 0x20, 3, 0x20, 0, 0, 0, 0, 4, 1, 2, 3, 0, 0, 0, 0], &wifi),
        port(1701, &[0x4a, 2, 0, 64, 0, 1, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0x21], &ip),
        (
            LinkType::IPV6,
            ipv6(0, &[&[60, 0, 1, 4, 0, 0, 0, 0, 44, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 1, 0, 0, 0, 9], &ip[20..]].concat()),
        ),
        (LinkType::RADIOTAP, [&[0, 0, 17, 0, 3, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 0x20][..], &wifi].concat()),
        (LinkType::PPI, [&[0, 0, 8, 0, 105, 0, 0, 0][..], &wifi].concat()),
        (LinkType::PRISM, [&[0x44, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0][..], &wifi].concat()),
        (LinkType::NFLOG, [&[2, 0, 0, 7, 6, 0, 10, 0, b'a', 0, 0, 0, 50, 0, 9, 0][..], &ip].concat()),
        (LinkType::FRELAY, [&[0x18, 0x41, 3, 0, 0x80, 0, 0, 0, 8, 0][..], &ip].concat()),
        (LinkType::TOKEN_RING, [&[0x10, 0x40][..], &[0x81; 12], &[4, 0, 0, 0], &snap].concat()),
        (LinkType::ERF, [&[0, 0, 0, 0, 0, 0, 0, 0, 0x82][..], &[0; 17], &inner].concat()),
        (LinkType::PKTAP, [&[12, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0][..], &inner].concat()),
    ]
}

/// A frame that etherparse reads too: up to three VLAN tags, IPv4 with options or IPv6 with extension headers, TCP with
/// options or UDP.
fn common(tags: usize, version: u8, extras: usize, tcp: bool, payload: &[u8]) -> Vec<u8> {
    let transport = if tcp {
        let options = extras % 4 * 4;
        let mut head =
            vec![4, 210, 1, 187, 0, 0, 0, 77, 0, 0, 0, 0, (5 + options as u8 / 4) << 4, 24, 4, 0, 0, 0, 0, 0];
        head.extend(vec![1; options]);
        [head, payload.to_vec()].concat()
    } else {
        udp(443, payload)
    };
    let protocol = if tcp { 6 } else { 17 };
    let (kind, ip) = if version == 4 {
        let options = extras % 3 * 4;
        let mut ip = ipv4(protocol, &[vec![1; options], transport].concat());
        ip[0] += options as u8 / 4;
        (0x0800_u16, ip)
    } else {
        // Hop by hop only first, then destination, routing, a whole fragment, as far as `extras` has bits.
        let order = [(0u8, 1), (60, 2), (43, 4), (44, 8)];
        let chosen: Vec<u8> = order.iter().filter(|(_, bit)| extras & bit != 0).map(|(kind, _)| *kind).collect();
        let mut chain = Vec::new();
        for at in 0..chosen.len() {
            let next = chosen.get(at + 1).copied().unwrap_or(protocol);
            chain.extend([next, 0, 0, 0, 0, 0, 0, 9]);
        }
        chain.extend(transport);
        (0x86dd, ipv6(chosen.first().copied().unwrap_or(protocol), &chain))
    };
    let mut body = Vec::new();
    for at in 0..tags {
        let next = if at + 1 == tags { kind } else { 0x8100 };
        body.extend([0, at as u8 + 1]);
        body.extend(next.to_be_bytes());
    }
    body.extend(ip);
    frame(if tags > 0 { 0x8100 } else { kind }, &body)
}

/// A frame whose tags etherparse knows, too: 0x9200 stands for the same as 0x9100, and is not in its list.
fn with_known_tags(data: &[u8]) -> Vec<u8> {
    let (mut data, mut at) = (data.to_vec(), 12);
    while let Some([high @ (0x81 | 0x88 | 0x91 | 0x92), low]) = data.get_mut(at..at + 2) {
        match (*high, *low) {
            (0x92, 0) => *high = 0x91,
            (0x81 | 0x91, 0) | (0x88, 0xa8) => {}
            _ => break,
        }
        at += 4;
    }
    data
}

/// What etherparse makes of a frame: ports, payload and a TCP sequence number, where it reads it to the end.
fn theirs(data: &[u8]) -> Option<(u16, u16, Vec<u8>, Option<u32>)> {
    let data = with_known_tags(data);
    let sliced = LaxSlicedPacket::from_ethernet(&data).ok()?;
    let fragmented = match &sliced.net {
        // A total length that does not even hold its own header: etherparse takes the frame's, we call it malformed.
        Some(LaxNetSlice::Ipv4(net))
            if (1..net.header().slice().len()).contains(&usize::from(net.header().total_len())) =>
        {
            return None;
        }
        Some(LaxNetSlice::Ipv4(net)) => net.payload().fragmented,
        Some(LaxNetSlice::Ipv6(net)) => net.payload().fragmented,
        _ => return None,
    };
    if fragmented {
        return None;
    }
    match sliced.transport? {
        TransportSlice::Tcp(tcp) => {
            Some((tcp.source_port(), tcp.destination_port(), tcp.payload().to_vec(), Some(tcp.sequence_number())))
        }
        TransportSlice::Udp(udp) => Some((udp.source_port(), udp.destination_port(), udp.payload().to_vec(), None)),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn never_panics(link in 0u16..300, data in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&packet(LinkType(link), &data));
        let _ = shard_hint(&packet(LinkType(link), &data));
    }

    /// Bytes that mean something, changed here and there, cut, and read as other link types too.
    #[test]
    fn never_panics_near_the_truth(
        shape in any::<proptest::sample::Index>(),
        link in proptest::option::weighted(0.2, 0u16..300),
        changes in proptest::collection::vec((0usize..160, prop_oneof![any::<u8>(), Just(0), Just(0xff)]), 0..6),
        cut in 0usize..240,
    ) {
        let shapes = shapes();
        let (own, mut data) = shapes[shape.index(shapes.len())].clone();
        for (at, byte) in changes {
            if let Some(place) = data.get_mut(at) {
                *place = byte;
            }
        }
        let wire_len = data.len() as u32;
        data.truncate(cut);
        let given = Packet { wire_len, ..packet(link.map_or(own, LinkType), &data) };
        let _ = shard_hint(&given);
        let mut decoder = Decoder::new(DecodeLimits::default(), 1);
        for _ in 0..2 {
            if let Ok(decoded) = decoder.decode(0, &given) {
                prop_assert!(decoded.payload.len() as u32 <= decoded.payload_len);
            }
        }
    }

    /// Whatever etherparse reads to the end we read, and equal; and the other way round.
    #[test]
    fn agrees_with_etherparse(
        tags in 0usize..4,
        version in prop_oneof![Just(4u8), Just(6)],
        extras in 0usize..16,
        tcp in any::<bool>(),
        payload in proptest::collection::vec(any::<u8>(), 0..64),
        changes in proptest::collection::vec((12usize..120, any::<u8>()), 0..3),
        cut in 14usize..240,
    ) {
        let mut data = common(tags, version, extras, tcp, &payload);
        let wire_len = data.len() as u32;
        for (at, byte) in changes {
            if let Some(place) = data.get_mut(at) {
                *place = byte;
            }
        }
        data.truncate(cut);
        let given = Packet { wire_len, ..packet(LinkType::ETHERNET, &data) };
        let ours = decode(&given);
        let plain = ours.ok().map(|ours| (ours.src_port, ours.dst_port, ours.payload.to_vec(), ours.tcp.map(|tcp| tcp.seq)));
        match (plain, theirs(&data)) {
            (Some(ours), Some(theirs)) => prop_assert_eq!(ours, theirs),
            (None, None) => {}
            (None, Some(theirs)) => prop_assert!(false, "{:?} instead of {:?}", ours, theirs),
            // etherparse wants TCP options whole and gives up on orders of extension headers that RFC 8200 only
            // advises against; we take the packet for what it is.
            (Some((_, _, payload, _)), None) => prop_assert!(payload.is_empty() || version == 6, "{:?}", ours),
        }
    }

    /// One that chance found: the first tag has become one that etherparse does not know.
    #[test]
    fn agrees_with_etherparse_on_every_tag(tags in 1usize..4, of_tag in 0usize..3, kind in prop_oneof![Just(0x91), Just(0x92)]) {
        let mut data = common(tags, 4, 0, false, &[0]);
        if of_tag < tags {
            data[12 + 4 * of_tag..][..2].copy_from_slice(&[kind, 0]);
        }
        let ours = decode(&packet(LinkType::ETHERNET, &data)).unwrap();
        prop_assert_eq!(Some((ours.src_port, ours.dst_port, ours.payload.to_vec(), None)), theirs(&data));
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
