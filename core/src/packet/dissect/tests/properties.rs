//! What holds for any bytes.

use super::*;
use crate::packet::{Skip, decode};
use proptest::prelude::*;

/// Frames of many shapes, as beginnings for what mutation makes of them.
fn shapes() -> Vec<(LinkType, Vec<u8>)> {
    let segment =
        [4, 210, 1, 187, 0, 0, 0, 77, 0, 0, 0, 9, 0x80, 0x18, 4, 0, 0, 0, 0, 0, 1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2];
    let ip = ipv4(6, &[&segment, &b"inside"[..]].concat());
    let inner = frame(0x0800, &ip);
    let raw = |protocol, head: &[u8], body: &[u8]| (LinkType::RAW, ipv4(protocol, &[head, body].concat()));
    let port = |port, head: &[u8], body: &[u8]| raw(17, &[], &udp(port, &[head, body].concat()));
    let ether = |kind, head: &[u8], body: &[u8]| (LinkType::ETHERNET, frame(kind, &[head, body].concat()));
    let mut routed = ipv4(6, &[&[1, 131, 11, 4, 203, 0, 113, 7, 198, 51, 100, 9], &ip[20..]].concat());
    routed[0] += 3;
    let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &ip].concat();
    vec![
        (LinkType::ETHERNET, inner.clone()),
        (LinkType::RAW, routed),
        ether(0x8100, &[0, 5, 0x81, 0, 0, 9, 8, 0], &ip),
        ether(0x0806, &[0, 1, 8, 0, 6, 4, 0, 1, 1, 1, 1, 1, 1, 1, 10, 0, 0, 1], &[0, 0, 0, 0, 0, 0, 10, 0, 0, 2]),
        ether(0x8847, &[0, 1, 0, 64, 0, 3, 1, 64, 0, 0, 0, 1], &inner),
        ether(0x8864, &[0x11, 0, 0, 9, 0, 60, 0, 0x21], &ip),
        ether(snap.len() as u16, &[], &snap),
        ether(38, &[0x42, 0x42, 3], &[0; 35]),
        raw(47, &[0x30, 0, 8, 0, 9, 9, 9, 9, 0, 0, 0, 1], &ip),
        raw(1, &[3, 4, 0, 0, 0, 0, 5, 0], &ip),
        raw(1, &[8, 0, 0, 0, 0, 1, 0, 2], b"ping"),
        raw(51, &[4, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &ip),
        raw(50, &[0, 0, 0, 1, 0, 0, 0, 2], b"secret"),
        raw(132, &[0, 9, 0, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 0, 0, 4, 0, 0, 0, 8], b"data"),
        port(53, &[], b"abc"),
        port(4789, &[8, 0, 0, 0, 0, 0, 9, 0], &inner),
        port(6081, &[2, 0x40, 8, 0, 0, 0, 9, 0, 1, 2, 3, 1, 9, 9, 9, 9], &ip),
        port(2152, &[0x30, 255, 0, ip.len() as u8, 0, 0, 0, 1], &ip),
        (LinkType::IPV6, ipv6(58, &[&[135, 0, 0, 0, 0, 0, 0, 0][..], &[7; 16]].concat())),
        (
            LinkType::IPV6,
            ipv6(
                0,
                &[
                    &[
                        43, 0, 1, 4, 0, 0, 0, 0, 60, 0, 0, 1, 0, 0, 0, 0, 44, 0, 1, 4, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0,
                        9,
                    ],
                    &segment[..],
                ]
                .concat(),
            ),
        ),
        (LinkType::LINUX_SLL, [&[0, 4, 0, 1, 0, 6, 9, 9, 9, 9, 9, 9, 0, 0, 8, 0], &ip[..]].concat()),
        (LinkType::LINUX_SLL2, [&[8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 4, 6, 9, 9, 9, 9, 9, 9, 0, 0], &ip[..]].concat()),
        (LinkType::NULL, [&[2, 0, 0, 0], &ip[..]].concat()),
        (LinkType::IEEE802_11, [&[0x08, 0x01][..], &[0; 22], &snap].concat()),
        (LinkType::PKTAP, [&[12, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0][..], &inner].concat()),
    ]
}

/// What must hold for the tree and the line of any packet.
fn holds(packet: &Packet<'_>) -> Result<(), TestCaseError> {
    let (tree, outline) = read(packet);
    let mut depth = None;
    for node in &tree.nodes {
        if let Some(bytes) = &node.bytes {
            prop_assert!(bytes.start <= bytes.end && bytes.end <= packet.data.len(), "{node:?}");
        }
        // A node is at most one deeper than the one before it.
        prop_assert!(usize::from(node.depth) <= depth.map_or(0, |depth: usize| depth + 1), "{node:?}");
        depth = Some(node.depth.into());
        prop_assert!(!node.value.chars().chain(node.label.chars()).any(char::is_control));
    }
    if let Some(payload) = outline.payload {
        prop_assert_eq!(&packet.data[payload.at..payload.at + payload.bytes.len()], payload.bytes);
        prop_assert!(payload.bytes.len() <= payload.wire_len);
    }
    // Where the engine finds a payload, people are shown the same one.
    if let Ok(decoded) = decode(packet) {
        let payload = outline.payload.ok_or_else(|| TestCaseError::fail(format!("no payload: {}", lines(&tree))))?;
        prop_assert_eq!(outline.ports, Some((decoded.src_port, decoded.dst_port)));
        prop_assert_eq!(outline.transport, Some(decoded.protocol));
        prop_assert_eq!(outline.src, Some(Address::Ip(crate::flow::format_address(decoded.src))));
        prop_assert_eq!(outline.dst, Some(Address::Ip(crate::flow::format_address(decoded.dst))));
        prop_assert_eq!(payload.bytes, decoded.payload, "{}", lines(&tree));
        prop_assert_eq!(payload.wire_len, decoded.payload_len as usize, "{}", lines(&tree));
        prop_assert!(!payload.fragment);
    }
    Ok(())
}

#[test]
fn every_shape_is_what_it_is_meant_to_be() {
    let mut flows = 0;
    for (link, bytes) in shapes() {
        let packet = packet(link, &bytes);
        holds(&packet).unwrap();
        match decode(&packet) {
            Ok(_) => flows += 1,
            Err(skip) => assert!(matches!(skip, Skip::NotIp | Skip::OtherTransport), "{skip:?}"),
        }
    }
    assert_eq!(flows, 18);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_bytes_are_dissected(
        link in 0u16..300,
        more in 0u32..100,
        data in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        holds(&Packet { wire_len: data.len() as u32 + more, ..packet(LinkType(link), &data) })?;
    }

    /// Bytes that mean something, changed here and there, cut, and read as other link types too.
    #[test]
    fn bytes_near_the_truth_are_dissected(
        shape in any::<proptest::sample::Index>(),
        link in proptest::option::weighted(0.2, 0u16..300),
        changes in proptest::collection::vec((0usize..160, prop_oneof![any::<u8>(), Just(0), Just(0xff)]), 0..6),
        cut in 0usize..240,
        whole in any::<bool>(),
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
        let wire_len = if whole { data.len() as u32 } else { wire_len };
        holds(&Packet { wire_len, ..packet(link.map_or(own, LinkType), &data) })?;
    }
}
