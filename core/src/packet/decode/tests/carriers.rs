//! Every way to carry one TCP packet gives that packet.

use super::*;

/// Decodes `data` and holds it against the packet inside; returns the identifiers that were met.
#[track_caller]
fn carries(link: LinkType, data: &[u8], what: &str) -> u64 {
    let inner = tcp_packet(b"inside");
    let plain = decode(&packet(LinkType::RAW, &inner)).unwrap();
    match decode(&packet(link, data)) {
        Ok(got) => {
            assert_eq!(Decoded { lan: 0, ..got }, plain, "{what}");
            got.lan
        }
        Err(skip) => panic!("{what}: {skip:?}"),
    }
}

#[track_caller]
fn ethernet(kind: u16, head: &[u8], body: &[u8], what: &str) -> u64 {
    carries(LinkType::ETHERNET, &frame(kind, &[head, body].concat()), what)
}

/// Through UDP to `port`.
#[track_caller]
fn port(number: u16, head: &[u8], body: &[u8], what: &str) -> u64 {
    carries(LinkType::RAW, &ipv4(17, &udp(number, &[head, body].concat())), what)
}

/// Through GRE.
#[track_caller]
fn gre(head: &[u8], body: &[u8], what: &str) -> u64 {
    carries(LinkType::RAW, &ipv4(47, &[head, body].concat()), what)
}

#[test]
fn link_types() {
    let ip = tcp_packet(b"inside");
    let snap: &[u8] = &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
    let with = |parts: &[&[u8]]| [parts.concat(), ip.clone()].concat();
    let wifi: &[u8] = &[[8, 1].as_slice(), &[0; 22]].concat();
    let data: [(LinkType, Vec<u8>); 48] = [
        (LinkType::RAW, ip.clone()),
        (LinkType::RAW_BSD, ip.clone()),
        (LinkType::RAW_ALT, ip.clone()),
        (LinkType::IPV4, ip.clone()),
        (LinkType::NULL, with(&[&[2, 0, 0, 0]])),
        (LinkType::NULL, with(&[&[0, 0, 0, 2]])),
        (LinkType::LOOP, with(&[&[0, 0, 0, 2]])),
        // Protocol 0x0800 at the end; LLC, whose protocol is 4; a GRE interface that names none.
        (LinkType::LINUX_SLL, with(&[&[0; 14], &[8, 0]])),
        (LinkType::LINUX_SLL, with(&[&[0; 14], &[0, 4], snap])),
        (LinkType::LINUX_SLL, with(&[&[0, 0, 3, 10], &[0; 10], &[0, 0]])),
        (LinkType::LINUX_SLL2, with(&[&[8, 0], &[0; 18]])),
        // Framed, bare, with a short protocol; Cisco HDLC under PPP's number.
        (LinkType::PPP, with(&[&[0xff, 3, 0, 0x21]])),
        (LinkType::PPP, with(&[&[0, 0x21]])),
        (LinkType::PPP, with(&[&[0x21]])),
        (LinkType::PPP_HDLC, with(&[&[0x0f, 0, 8, 0]])),
        (LinkType::PPP_PPPD, with(&[&[1, 3, 0, 0x21]])),
        (LinkType::PPP_WITH_DIRECTION, with(&[&[0, 0xff, 3, 0, 0x21]])),
        (LinkType::C_HDLC, with(&[&[0x8f, 0, 8, 0]])),
        (LinkType::C_HDLC_WITH_DIRECTION, with(&[&[1, 0x0f, 0, 8, 0]])),
        // Frame Relay: RFC 2427 with padding and without, SNAP, Cisco's EtherType, an address of four bytes.
        (LinkType::FRELAY, with(&[&[0x18, 0x41, 3, 0xcc]])),
        (LinkType::FRELAY, with(&[&[0x18, 0x41, 3, 0, 0xcc]])),
        (LinkType::FRELAY, with(&[&[0x18, 0x41, 3, 0, 0x80, 0, 0, 0, 8, 0]])),
        (LinkType::FRELAY, with(&[&[0x18, 0x40, 0x40, 0x41, 8, 0]])),
        (LinkType::FRELAY_WITH_DIRECTION, with(&[&[1, 0x18, 0x41, 8, 0]])),
        (LinkType::MPLS, with(&[&[0, 1, 1, 64]])),
        (LinkType::ENC, with(&[&[2, 0, 0, 0], &[0; 8]])),
        // 61 bytes of header and three of padding.
        (LinkType::PFLOG, with(&[&[61, 2], &[0; 62]])),
        // One attribute of six bytes and its padding, then the packet.
        (LinkType::NFLOG, with(&[&[2, 0, 0, 7], &[6, 0, 10, 0, b'a', 0, 0, 0], &[4 + ip.len() as u8, 0, 9, 0]])),
        (LinkType::FDDI, with(&[&[0x50], &[1; 12], snap])),
        (LinkType::TOKEN_RING, with(&[&[0x10, 0x40], &[1; 12], snap])),
        // The source's first bit: a route of four bytes.
        (LinkType::TOKEN_RING, with(&[&[0x10, 0x40], &[1; 6], &[0x81; 6], &[4, 0, 0, 0], snap])),
        (LinkType::ATM_LLC, with(&[snap])),
        // Bridged Ethernet, its padding and a frame.
        (LinkType::ATM_LLC, with(&[&[0xaa, 0xaa, 3, 0, 0x80, 0xc2, 0, 7, 0, 0], &[1; 12], &[8, 0]])),
        (LinkType::IP_OVER_FC, with(&[&[0; 16], snap])),
        (LinkType::SUN_ATM, with(&[&[2, 0, 0, 33], snap])),
        (LinkType::SUN_ATM, with(&[&[1, 0, 0, 33, 0, 1], &[1; 12], &[8, 0]])),
        (LinkType::SLIP, with(&[&[0; 16]])),
        (LinkType::APPLE_FIREWIRE, with(&[&[1; 16], &[8, 0]])),
        (LinkType::IPNET, with(&[&[1, 2], &[0; 22]])),
        (LinkType::IP_OVER_INFINIBAND, with(&[&[1; 40], &[8, 0, 0, 0]])),
        (LinkType::NETANALYZER, with(&[&[0; 4], &frame(0x0800, &[])])),
        (LinkType::NETANALYZER_TRANSPARENT, with(&[&[0; 12], &frame(0x0800, &[])])),
        (LinkType::DSA_BROADCOM, with(&[&[1; 12], &[0, 0, 0, 1], &[8, 0]])),
        (LinkType::DSA_BROADCOM_FRONT, with(&[&[0, 0, 0, 1], &frame(0x0800, &[])])),
        (LinkType::DSA_ETHERTYPE, with(&[&[1; 12], &[0xda, 0xda, 0, 0, 0, 0, 0, 1], &[8, 0]])),
        // A header of 108 bytes that says: Ethernet.
        (LinkType::PKTAP, with(&[&[108, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0], &[0; 96], &frame(0x0800, &[])])),
        // Type 2 with one extension header, and two bytes before the frame.
        (LinkType::ERF, with(&[&[0; 8], &[0x82], &[0; 7], &[0; 8], &[0, 0], &frame(0x0800, &[])])),
        (LinkType::PPI, with(&[&[0, 0, 8, 0, 105, 0, 0, 0], wifi, snap])),
    ];
    for (at, (link, data)) in data.iter().enumerate() {
        assert_eq!(carries(*link, data, &format!("case {at}, {link}")), 0);
    }
    assert_ne!(carries(LinkType::PPP_ETHER, &with(&[&[0x11, 0, 0, 9, 0, 48, 0, 0x21]]), "PPPoE"), 0);
}

#[test]
fn wireless_frames() {
    let ip = tcp_packet(b"inside");
    let body = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &ip].concat();
    let header = |control: [u8; 2], rest: usize| [&control[..], &vec![0; rest]].concat();
    let data = [&header([0x08, 1], 22), &body[..]].concat();
    let four_addresses = [&header([0x08, 3], 28), &body[..]].concat();
    let quality = [&header([0x88, 1], 24), &body[..]].concat();
    let ordered = [&header([0x88, 0x81], 28), &body[..]].concat();
    // Two packets in one frame: the first one's destination, source and length.
    let mut aggregate = header([0x88, 1], 24);
    aggregate[24] = 0x80;
    aggregate.extend([[1; 6], [2; 6]].concat());
    aggregate.extend((body.len() as u16).to_be_bytes());
    aggregate.extend(&body);
    aggregate.extend([0; 40]);
    for (what, frame) in [
        ("data", &data),
        ("four addresses", &four_addresses),
        ("quality of service", &quality),
        ("high throughput", &ordered),
        ("aggregate", &aggregate),
    ] {
        carries(LinkType::IEEE802_11, frame, what);
        let with = |head: &[u8]| [head, frame].concat();
        carries(LinkType::RADIOTAP, &with(&[0, 0, 8, 0, 0, 0, 0, 0]), what);
        carries(LinkType::AVS, &with(&[0x80, 0x21, 0x10, 1, 0, 0, 0, 12, 0, 0, 0, 0]), what);
        carries(LinkType::PRISM, &with(&[0x80, 0x21, 0x10, 2, 0, 0, 0, 8]), what);
        carries(LinkType::PRISM, &with(&[&[0x44, 0, 0, 0, 144, 0, 0, 0][..], &[0; 136]].concat()), what);
        carries(LinkType::PRISM, &with(&[&[0, 0, 0, 0x44, 0, 0, 0, 144][..], &[0; 136]].concat()), what);
    }
    // Radiotap with a time, a second word of fields and the flag that aligns the body: 26 bytes become 28.
    let tap = [&[0, 0, 25, 0, 3, 0, 0, 0x80, 0, 0, 0, 0][..], &[0; 4], &[9; 8], &[0x20]].concat();
    let aligned = [&header([0x88, 1], 26), &body[..]].concat();
    carries(LinkType::RADIOTAP, &[tap, aligned].concat(), "aligned");

    let skipped = |frame: &[u8]| decode(&packet(LinkType::IEEE802_11, frame)).unwrap_err();
    assert_eq!(skipped(&[&header([0x08, 0x41], 22), &body[..]].concat()), Skip::Encrypted);
    assert_eq!(skipped(&header([0x80, 0], 40)), Skip::NotIp);
    assert_eq!(skipped(&header([0x48, 1], 22)), Skip::NotIp);
    let mut second = data.clone();
    second[22] = 1;
    assert_eq!(skipped(&second), Skip::Fragment);
}

#[test]
fn tags_and_labels() {
    let ip = tcp_packet(b"inside");
    let inner = frame(0x0800, &ip);
    let one = ethernet(0x8100, &[0, 5, 8, 0], &ip, "VLAN");
    let two = ethernet(0x88a8, &[0, 5, 0x81, 0, 0, 9, 8, 0], &ip, "two VLANs");
    let five = [&[0, 9, 0x81, 0].repeat(4)[..], &[0, 9, 8, 0]].concat();
    ethernet(0x8100, &five, &ip, "five VLANs");
    assert!(one != 0 && two != one);
    assert_eq!(ethernet(0x8100, &[0xe0, 0, 8, 0], &ip, "a priority is no VLAN"), 0);
    assert_eq!(ethernet(ip.len() as u16 + 8, &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &ip, "IEEE 802.3"), 0);

    assert_eq!(ethernet(0x8847, &[0, 1, 1, 64], &ip, "MPLS"), 0);
    assert_eq!(ethernet(0x8847, &[0, 1, 0, 64, 0, 2, 0, 64, 0, 3, 1, 64], &ip, "three labels"), 0);
    ethernet(0x8847, &[0, 1, 1, 64], &inner, "a pseudo-wire");
    ethernet(0x8847, &[0, 1, 1, 64, 0, 0, 0, 7], &inner, "a pseudo-wire with its control word");
    // A destination address that looks like IPv4.
    let looks = [&[0x45, 0, 0, 40, 1, 1][..], &inner[6..]].concat();
    ethernet(0x8847, &[0, 1, 1, 64], &looks, "a pseudo-wire that looks like IP");

    let length = (ip.len() + 2) as u8;
    let session = ethernet(0x8864, &[0x11, 0, 0, 9, 0, length, 0, 0x21], &ip, "PPPoE");
    assert_ne!(session, ethernet(0x8864, &[0x11, 0, 0, 8, 0, length, 0, 0x21], &ip, "another session"));
    let service = ethernet(0x88e7, &[0, 0, 1, 2], &inner, "provider backbone bridge");
    assert!(session != 0 && service != 0 && session != service);

    ethernet(0x88e5, &[0, 0, 0, 0, 0, 1, 8, 0], &ip, "signed MACsec");
    ethernet(0x88e5, &[&[0x20, 0, 0, 0, 0, 1][..], &[3; 8], &[8, 0]].concat(), &ip, "signed MACsec, with its channel");
    ethernet(0x8909, &[1, 1, 0, 1, 0, 16, 8, 0], &ip, "Cisco MetaData");
    ethernet(0x892f, &[0, 52, 0, 1, 8, 0], &ip, "HSR");
    ethernet(0x8926, &[0, 1, 0, 2, 8, 0], &ip, "VN-Tag");
    ethernet(0x8903, &[0, 1], &inner, "FabricPath");
    ethernet(0x22f3, &[0, 0x40, 0, 1, 0, 2, 9, 9, 9, 9], &inner, "TRILL with four bytes of options");
    ethernet(0x894f, &[0, 2, 1, 1, 0, 0, 1, 1], &ip, "a service chain");
    ethernet(0x6558, &[], &inner, "bridged");

    let encrypted = frame(0x88e5, &[0x0c; 40]);
    assert_eq!(decode(&packet(LinkType::ETHERNET, &encrypted)), Err(Skip::Encrypted));
    // Discovery, spanning tree, a pseudo-wire's own messages.
    for (kind, body) in [(0x8863, [0x11; 30]), (38, [0x42; 30]), (0x8847, [1; 30])] {
        assert_eq!(decode(&packet(LinkType::ETHERNET, &frame(kind, &body))), Err(Skip::NotIp));
    }
}

#[test]
fn tunnels_by_protocol() {
    let ip = tcp_packet(b"inside");
    let inner = frame(0x0800, &ip);
    carries(LinkType::RAW, &ipv4(4, &ip), "IP in IP");
    carries(LinkType::IPV6, &ipv6(4, &ip), "4in6");
    carries(
        LinkType::IPV6,
        &ipv6(60, &[&[4, 0, 1, 4, 0, 0, 0, 0], &ip[..]].concat()),
        "4in6 with its limit of nesting",
    );
    carries(LinkType::RAW, &ipv4(97, &[&[0x30, 0], &inner[..]].concat()), "EtherIP");
    carries(LinkType::RAW, &ipv4(137, &[&[0, 1, 1, 64], &ip[..]].concat()), "MPLS in IP");
    carries(LinkType::RAW, &ipv4(51, &[&[4, 4][..], &[0; 22], &ip].concat()), "authenticated");
    let six = ipv6(17, &udp(443, b"x"));
    let got = decode(&packet(LinkType::RAW, &ipv4(41, &six))).map(|got| (got.src, got.dst_port, got.ip_len));
    assert_eq!(got, Ok(([0x20; 16], 443, 49)), "6in4");

    gre(&[0, 0, 8, 0], &ip, "GRE");
    gre(&[0x80, 0, 8, 0, 1, 2, 0, 0], &ip, "a checksum");
    assert_eq!(gre(&[0x30, 0, 8, 0, 9, 9, 9, 9, 0, 0, 0, 1], &ip, "a key and a sequence number"), 0);
    // An entry of four bytes, then the empty one.
    gre(&[0x40, 0, 8, 0, 0, 0, 0, 0, 8, 0, 0, 4, 1, 2, 3, 4, 0, 0, 0, 0], &ip, "a route");
    assert_eq!(gre(&[0, 0, 0x65, 0x58], &inner, "EoGRE"), 0);
    let one = gre(&[0x20, 0, 0x65, 0x58, 0, 0, 1, 77], &inner, "NVGRE");
    let other = gre(&[0x20, 0, 0x65, 0x58, 0, 0, 1, 78], &inner, "NVGRE, another flow of the same subnet");
    assert!(one != 0 && one == other);
    gre(&[0, 0, 0x88, 0xbe], &inner, "ERSPAN I");
    gre(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 9, 0, 5, 0, 0, 0, 3], &inner, "ERSPAN II");
    let third = [0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 9, 0, 5, 0, 0, 0, 3, 0, 0, 0, 0];
    gre(&third, &inner, "ERSPAN III");
    let mut longer = third.to_vec();
    longer[19] = 1;
    longer.extend([0; 8]);
    gre(&longer, &inner, "ERSPAN III and its own header");
    gre(&[0, 0, 0x88, 0x3e], &ip, "WCCP");
    gre(&[0, 0, 0x88, 0x3e, 0, 0, 0, 0], &ip, "WCCP 2");
    gre(&[0, 0, 0x88, 0x47, 0, 1, 1, 64], &ip, "MPLS in GRE");
    let length = ip.len() as u8 + 4;
    gre(&[0x30, 1, 0x88, 0x0b, 0, length, 0, 1, 0, 0, 0, 1, 0xff, 3, 0, 0x21], &ip, "PPTP");
    gre(
        &[0x30, 0x81, 0x88, 0x0b, 0, length, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 3, 0, 0x21],
        &ip,
        "PPTP, acknowledging",
    );
    let acknowledgement = ipv4(47, &[0x20, 0x81, 0x88, 0x0b, 0, 0, 0, 1, 0, 0, 0, 2]);
    assert_eq!(decode(&packet(LinkType::RAW, &acknowledgement)), Err(Skip::NotIp));
}

#[test]
fn tunnels_by_port() {
    let ip = tcp_packet(b"inside");
    let inner = frame(0x0800, &ip);
    let one = port(4789, &[8, 0, 0, 0, 0, 0, 9, 0], &inner, "VXLAN");
    assert_eq!(one, port(8472, &[0x88, 8, 0, 5, 0, 0, 9, 0], &inner, "the same network with a policy"));
    assert_ne!(one, port(4789, &[8, 0, 0, 0, 0, 0, 8, 0], &inner, "another network"));
    port(4790, &[0x0c, 0, 0, 1, 0, 0, 9, 0], &ip, "VXLAN-GPE with IP");
    port(4790, &[0x0c, 0, 0, 3, 0, 0, 9, 0], &inner, "VXLAN-GPE with a frame");
    port(4790, &[0x0c, 0, 0, 4, 0, 0, 9, 0, 0, 2, 1, 3, 0, 0, 1, 1], &inner, "VXLAN-GPE with a service chain");
    port(4790, &[0x0c, 0, 0, 5, 0, 0, 9, 0, 0, 1, 1, 64], &ip, "VXLAN-GPE with labels");
    assert_ne!(port(6081, &[0, 0, 0x65, 0x58, 0, 0, 9, 0], &inner, "GENEVE"), 0);
    port(6081, &[2, 0x40, 8, 0, 0, 0, 9, 0, 1, 2, 3, 1, 9, 9, 9, 9], &ip, "GENEVE with options");
    let length = ip.len() as u8;
    assert_eq!(port(2152, &[0x30, 255, 0, length, 0, 0, 0, 1], &ip, "GTP-U"), 0);
    port(2152, &[0x32, 255, 0, length + 4, 0, 0, 0, 1, 0, 7, 0, 0], &ip, "GTP-U with a sequence number");
    let extended = [0x34, 255, 0, length + 12, 0, 0, 0, 1, 0, 7, 0, 0x85, 1, 0x10, 5, 0x85, 1, 0, 5, 0];
    port(2152, &extended, &ip, "GTP-U with two extension headers");
    port(1701, &[0, 2, 0, 1, 0, 1, 0xff, 3, 0, 0x21], &ip, "L2TP");
    let told = [0x4a, 2, 0, length + 18, 0, 1, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0x21];
    port(1701, &told, &ip, "L2TP with all its fields");

    // Sixteen bytes of header, then a wireless frame whose first two bytes change places; eight, then Ethernet's.
    let wifi = [&[0x11, 0x08][..], &[0; 20], &[0x76, 0x30], &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &ip].concat();
    port(5247, &[0, 0x20, 3, 0x20, 0, 0, 0, 0, 4, 1, 2, 3, 0, 0, 0, 0], &wifi, "CAPWAP with a wireless frame");
    port(5247, &[0, 0x10, 2, 0, 0, 0, 0, 0], &inner, "CAPWAP with a frame of Ethernet");

    // Teredo: from one of its own addresses, bare and behind both indications.
    let mut six = ipv6(6, &ip[20..]);
    six[8..12].copy_from_slice(&[0x20, 1, 0, 0]);
    let authentication: &[u8] = &[&[0, 1, 1, 2][..], &[9; 12]].concat();
    let origin: &[u8] = &[0, 0, 1, 2, 3, 4, 5, 6];
    for head in [&[][..], origin, authentication, &[authentication, origin].concat()] {
        let outer = ipv4(17, &udp(3544, &[head, &six].concat()));
        let got = decode(&packet(LinkType::RAW, &outer)).unwrap();
        assert_eq!((got.protocol, got.src_port, got.payload), (6, 1234, &b"inside"[..]));
    }
}

#[test]
fn a_port_alone_makes_no_tunnel() {
    let ip = tcp_packet(b"inside");
    for number in [4789, 8472, 4790, 6081, 2152, 3544, 1701, 5247] {
        // DNS, random bytes, a tunnel's header that is cut or has nothing sensible inside.
        let others =
            [&b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www"[..], &[0xa5; 64], &[8, 0, 0, 0, 0, 0, 9, 0], &[], &ip];
        for body in others {
            let outer = ipv4(17, &udp(number, body));
            let got = decode(&packet(LinkType::RAW, &outer)).unwrap();
            assert_eq!((got.dst_port, got.payload), (number, body), "{body:?}");
        }
    }
    // A length that the packet inside cannot have.
    let mut longer = ip.clone();
    longer[2] = 9;
    let outer = ipv4(17, &udp(2152, &[&[0x30, 255, 0, ip.len() as u8, 0, 0, 0, 1], &longer[..]].concat()));
    assert_eq!(decode(&packet(LinkType::RAW, &outer)).unwrap().dst_port, 2152);
    // Where the capture cut it, there is nothing to tell by.
    let outer = ipv4(17, &udp(2152, &[&[0x30, 255, 0, ip.len() as u8, 0, 0, 0, 1], &ip[..]].concat()));
    let cut = Packet { data: &outer[..20 + 8 + 8 + 10], ..packet(LinkType::RAW, &outer) };
    assert_eq!(decode(&cut), Err(Skip::Truncated));
}

#[test]
fn nesting_has_a_limit() {
    let nested = |levels: usize| (0..levels).fold(tcp_packet(b"inside"), |inner, _| ipv4(4, &inner));
    carries(LinkType::RAW, &nested(8), "eight");
    assert_eq!(decode(&packet(LinkType::RAW, &nested(9))), Err(Skip::TooNested));
    let mut narrow = Decoder::new(DecodeLimits { nesting: 1, ..DecodeLimits::default() }, 1);
    assert!(narrow.decode(0, &packet(LinkType::RAW, &nested(1))).is_ok());
    assert_eq!(narrow.decode(0, &packet(LinkType::RAW, &nested(2))), Err(Skip::TooNested));
    // Tags by the thousand end there too, and not on the stack.
    let tags = [0, 9, 0x81, 0].repeat(60_000);
    assert_eq!(decode(&packet(LinkType::ETHERNET, &frame(0x8100, &tags))), Err(Skip::TooNested));
}

#[test]
fn identifiers_do_not_run_into_each_other() {
    use crate::packet::decode::walk::{Lan, Walk};
    let walk = Walk::new(0);
    let all = [
        walk,
        walk.within(Lan::Vlan(1)),
        walk.within(Lan::Vlan(1)).within(Lan::Vlan(2)),
        walk.within(Lan::Vlan(2)).within(Lan::Vlan(1)),
        walk.within(Lan::Virtual(1)),
        walk.within(Lan::Session(1)),
        walk.within(Lan::Vlan(1)).within(Lan::Virtual(1)),
        walk.within(Lan::Virtual(1)).within(Lan::Vlan(1)),
        walk.within(Lan::Vlan(0xfff)).within(Lan::Vlan(0xfff)).within(Lan::Virtual(0xff_ffff)),
    ];
    for (at, one) in all.iter().enumerate() {
        assert!(all[at + 1..].iter().all(|other| other.lan != one.lan), "case {at}");
    }
}
