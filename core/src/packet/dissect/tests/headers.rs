//! Header by header.

use super::*;
use etherparse::PacketBuilder;

/// SYN of a connection with the usual options; etherparse computes the checksums.
fn syn() -> Vec<u8> {
    let mut bytes = Vec::new();
    let options = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 5, 1, 3, 3, 7];
    PacketBuilder::ethernet2([1; 6], [2; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(1234, 443, 77, 1024)
        .syn()
        .options_raw(&options)
        .unwrap()
        .write(&mut bytes, b"hi")
        .unwrap();
    bytes
}

#[test]
fn a_syn_is_read_to_its_last_option() {
    let bytes = syn();
    let (tree, outline) = read(&packet(LinkType::ETHERNET, &bytes));
    assert_eq!(layers(&tree), ["frame", "eth", "ip", "tcp"]);
    for (field, wanted) in [
        ("frame.number", "7"),
        ("frame.time_epoch", "1.500000000"),
        ("frame.time_relative", "0.500000000"),
        ("frame.len", "76"),
        ("eth.src", "01:01:01:01:01:01"),
        ("eth.type", "0x0800"),
        ("ip.len", "62"),
        ("ip.ttl", "64"),
        ("ip.checksum.status", "good"),
        ("ip.dst", "10.0.0.2"),
        ("tcp.dstport", "443"),
        ("tcp.seq_raw", "77"),
        ("tcp.hdr_len", "40"),
        ("tcp.flags", "0x002 (SYN)"),
        ("tcp.flags.syn", "set"),
        ("tcp.flags.ack", "not set"),
        ("tcp.window_size_value", "1024"),
        ("tcp.checksum.status", "good"),
        ("tcp.options.mss_val", "1460"),
        ("tcp.options.sack_perm", "set"),
        ("tcp.options.timestamp.tsval", "9"),
        ("tcp.options.timestamp.tsecr", "5"),
        ("tcp.options.wscale.shift", "7 (times 128)"),
        ("tcp.fingerprint", &crate::record::syn_print(&bytes[34..74]).unwrap()),
        ("tcp.len", "2"),
    ] {
        assert_eq!(value(&tree, field), wanted, "{field}\n{}", lines(&tree));
    }
    assert_eq!(outline.info, "1234 → 443 [SYN] seq 77 win 1024 len 2 mss 1460 sack scale 128");
    let payload = outline.payload.unwrap();
    assert_eq!((payload.at, payload.bytes, payload.wire_len), (74, &b"hi"[..], 2));
    // Ranges are those of the frame: of the ports, here.
    let ports: Vec<_> = tree.field("tcp.dstport").map(|node| node.bytes.clone()).collect();
    assert_eq!(ports, [Some(36..38)]);
    assert!(tree.nodes.iter().all(|node| !node.cut));
}

/// All of the header has to be there, and one without SYN has none.
#[test]
fn a_header_with_syn_has_a_fingerprint() {
    let prints = |bytes: &[u8], wire: usize| {
        let packet = Packet { wire_len: wire as u32, ..packet(LinkType::ETHERNET, bytes) };
        values(&read(&packet).0, "tcp.fingerprint")
    };
    let mut bytes = syn();
    let whole = bytes.len();
    let [print] = &prints(&bytes, whole)[..] else { panic!("one fingerprint") };
    assert!(print.starts_with("vwt1:syn/7/1460:"), "{print}");
    // The payload has no part in it, the options have.
    assert_eq!(prints(&bytes[..74], whole), [print.as_str()]);
    assert!(prints(&bytes[..73], whole).is_empty());
    bytes[47] = 0x12;
    assert!(prints(&bytes, whole)[0].starts_with("vwt1:syn-ack/7/1460:"));
    bytes[47] = 0x10;
    assert!(prints(&bytes, whole).is_empty());
}

#[test]
fn numbers_are_counted_from_the_first_ones() {
    let bytes = syn();
    let tables = Tables::default();
    let around = Surroundings { first_seq: Some(70), first_ack: Some(1), ..around(&tables) };
    let Dissected { drawing, outline } = dissect(&packet(LinkType::ETHERNET, &bytes), &around);
    assert_eq!(value(&drawing.finish(), "tcp.seq"), "7");
    assert!(outline.info.contains(" seq 7 "), "{}", outline.info);
}

#[test]
fn checksums_are_good_bad_offloaded_or_not_verified() {
    use ChecksumStatus::{Absent, Bad, Good, NotVerified, Offloaded};
    let statuses = |bytes: &[u8], wire: usize| {
        let (_, outline) = read(&Packet { wire_len: wire as u32, ..packet(LinkType::ETHERNET, bytes) });
        outline.checksums.iter().map(|checksum| checksum.status).collect::<Vec<_>>()
    };
    let good = syn();
    let whole = good.len();
    let right = u16::from_be_bytes([good[50], good[51]]);
    assert_eq!(statuses(&good, whole), [Good, Good]);
    let mut bad = good.clone();
    bad[75] ^= 1;
    assert_eq!(statuses(&bad, whole), [Good, Bad { expected: right + 1 }]);
    let mut bad = good.clone();
    bad[22] -= 1;
    let header = u16::from_be_bytes([good[24], good[25]]);
    assert_eq!(statuses(&bad, whole), [Bad { expected: header + 0x0100 }, Good]);
    // What Linux leaves to the card: the sum of addresses, protocol and length, not inverted.
    let pseudo = checksum::sum(&[&[10, 0, 0, 1, 10, 0, 0, 2], &[0, 6], &42_u16.to_be_bytes()]);
    let mut offloaded = good.clone();
    offloaded[24..26].fill(0);
    offloaded[50..52].copy_from_slice(&pseudo.to_be_bytes());
    assert_eq!(statuses(&offloaded, whole), [Offloaded, Offloaded]);
    assert_eq!(statuses(&good[..74], whole), [Good, NotVerified]);
    let udp = frame(0x0800, &ipv4(17, &udp(53, b"abc")));
    assert_eq!(statuses(&udp, udp.len()), [Good, Absent]);
}

#[test]
fn udp_over_ipv6_has_a_checksum_to_hold() {
    let mut bytes = Vec::new();
    PacketBuilder::ipv6([1; 16], [2; 16], 9).udp(5353, 53).write(&mut bytes, b"abc").unwrap();
    let (tree, outline) = read(&packet(LinkType::RAW, &bytes));
    assert_eq!(layers(&tree), ["frame", "ipv6", "udp"]);
    assert_eq!(value(&tree, "udp.checksum.status"), "good");
    assert_eq!((value(&tree, "ipv6.hlim"), value(&tree, "ipv6.plen")), ("9".into(), "11".into()));
    assert_eq!(outline.info, "5353 → 53 len 3");
    bytes[46..48].fill(0);
    assert_eq!(value(&read(&packet(LinkType::RAW, &bytes)).0, "udp.checksum.status"), "not computed (offload)");
}

#[test]
fn tags_and_cooked_headers_are_passed_through() {
    let ip = ipv4(17, &udp(53, b"abc"));
    let tagged = frame(0x88a8, &[&[0x60, 5, 0x81, 0, 0x10, 9, 8, 0], &ip[..]].concat());
    let (tree, _) = read(&packet(LinkType::ETHERNET, &tagged));
    assert_eq!(layers(&tree), ["frame", "eth", "vlan", "vlan", "ip", "udp"]);
    assert_eq!(values(&tree, "vlan.id"), ["5", "9"]);
    assert_eq!(values(&tree, "vlan.priority"), ["3", "0"]);
    assert_eq!(values(&tree, "vlan.dei"), ["not set", "set"]);
    let first = [&[0, 4, 0, 1, 0, 6, 9, 9, 9, 9, 9, 9, 0, 0, 8, 0], &ip[..]].concat();
    let second = [&[8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 4, 6, 9, 9, 9, 9, 9, 9, 0, 0], &ip[..]].concat();
    for (link, bytes, index) in [(LinkType::LINUX_SLL, first, ""), (LinkType::LINUX_SLL2, second, "3")] {
        let (tree, _) = read(&packet(link, &bytes));
        assert_eq!(layers(&tree), ["frame", "sll", "ip", "udp"]);
        assert_eq!(value(&tree, "sll.pkttype"), "4 (sent by us)");
        assert_eq!(value(&tree, "sll.src.eth"), "09:09:09:09:09:09");
        assert_eq!(value(&tree, "sll.ifindex"), index);
    }
    for family in [[2, 0, 0, 0], [0, 0, 0, 2]] {
        let (tree, _) = read(&packet(LinkType::NULL, &[&family, &ip[..]].concat()));
        assert_eq!(layers(&tree), ["frame", "null", "ip", "udp"]);
        assert_eq!(value(&tree, "null.family"), "2 (IPv4)");
    }
}

#[test]
fn arp_asks_and_answers() {
    let mut body = vec![0, 1, 8, 0, 6, 4, 0, 1, 1, 1, 1, 1, 1, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2];
    let info = |body: &[u8]| read(&packet(LinkType::ETHERNET, &frame(0x0806, body))).1.info;
    assert_eq!(info(&body), "who has 10.0.0.2? tell 10.0.0.1");
    body[7] = 2;
    assert_eq!(info(&body), "10.0.0.1 is at 01:01:01:01:01:01");
    (body[7], body[27]) = (1, 1);
    assert_eq!(info(&body), "10.0.0.1 announces itself");
    assert_eq!(info(&body[..20]), "operation 1 request");
    let bytes = frame(0x0806, &body);
    let (tree, outline) = read(&packet(LinkType::ETHERNET, &bytes));
    assert_eq!(value(&tree, "arp.dst.proto_ipv4"), "10.0.0.1");
    assert_eq!(outline.src, Some(Address::Mac([1; 6])));
    body[7] = 3;
    let bytes = frame(0x8035, &body);
    let (_, outline) = read(&packet(LinkType::ETHERNET, &bytes));
    assert_eq!((outline.protocol.as_str(), outline.info.as_str()), ("RARP", "operation 3 reverse request"));
}

#[test]
fn errors_quote_the_packet_they_are_about() {
    let quoted = &syn()[14..42];
    let mut message = [&[3, 3, 0, 0, 0, 0, 0, 0], quoted].concat();
    let sum = (!checksum::sum(&[&message])).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    let bytes = frame(0x0800, &ipv4(1, &message));
    let (tree, outline) = read(&packet(LinkType::ETHERNET, &bytes));
    assert_eq!(layers(&tree), ["frame", "eth", "ip", "icmp"]);
    assert_eq!(values(&tree, "ip.src"), ["192.0.2.1", "10.0.0.1"]);
    assert_eq!(value(&tree, "icmp.checksum.status"), "good");
    assert_eq!((value(&tree, "tcp.srcport"), value(&tree, "tcp.seq_raw")), ("1234".into(), "77".into()));
    assert_eq!(outline.info, "destination unreachable: port unreachable");
    assert_eq!(outline.src.unwrap().to_string(), "192.0.2.1");
    assert_eq!((outline.ports, outline.payload), (None, None));
    // The quoted header's checksum is not the packet's.
    assert_eq!(outline.checksums.len(), 2);
}

#[test]
fn fragments_are_named() {
    let mut first = ipv4(17, &udp(53, b"abcdefgh"));
    first[6] = 0x20;
    let (tree, outline) = read(&packet(LinkType::RAW, &first));
    assert_eq!(value(&tree, "ip.fragment"), "bytes 0 to 16 of packet 0x0007, protocol 17");
    assert_eq!(value(&tree, "ip.flags.mf"), "set");
    assert!(outline.payload.unwrap().fragment);
    first[7] = 2;
    let (tree, outline) = read(&packet(LinkType::RAW, &first));
    assert_eq!(layers(&tree), ["frame", "ip", "ip.fragment"]);
    assert_eq!(value(&tree, "ip.frag_offset"), "16");
    assert_eq!(outline.payload, None);
    let six = ipv6(44, &[&[17, 0, 0, 9, 0, 0, 0, 5], &[0; 16][..]].concat());
    let (tree, _) = read(&packet(LinkType::RAW, &six));
    assert_eq!(layers(&tree), ["frame", "ipv6", "ipv6.fraghdr", "ipv6.fragment"]);
    assert_eq!(value(&tree, "ipv6.fraghdr.offset"), "8");
}

#[test]
fn tunnels_lead_to_the_packet_inside() {
    let ip = ipv4(17, &udp(53, b"abc"));
    let inner = frame(0x0800, &ip);
    let raw = |protocol, head: &[u8], body: &[u8]| ipv4(protocol, &[head, body].concat());
    let port = |port, head: &[u8], body: &[u8]| ipv4(17, &udp(port, &[head, body].concat()));
    let gtp = [0x30, 255, 0, ip.len() as u8, 0, 0, 0, 1];
    for (bytes, between) in [
        (raw(4, &[], &ip), &[][..]),
        (raw(47, &[0x20, 0, 8, 0, 0, 0, 0, 9], &ip), &["gre"]),
        (raw(47, &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], &inner), &["gre", "erspan", "eth"]),
        (raw(97, &[0x30, 0], &inner), &["etherip", "eth"]),
        (raw(137, &[0, 1, 1, 64], &ip), &["mpls"]),
        (raw(51, &[4, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &ip), &["ah"]),
        (port(4789, &[8, 0, 0, 0, 0, 0, 9, 0], &inner), &["udp", "vxlan", "eth"]),
        (port(6081, &[0, 0, 0x65, 0x58, 0, 0, 9, 0], &inner), &["udp", "geneve", "eth"]),
        (port(2152, &gtp, &ip), &["udp", "gtp"]),
    ] {
        let (tree, outline) = read(&packet(LinkType::RAW, &bytes));
        let wanted = [&["frame", "ip"], between, &["ip", "udp"]].concat();
        assert_eq!(layers(&tree), wanted);
        assert_eq!(outline.payload.unwrap().bytes, b"abc");
        // Layers stand one behind the other, without a gap.
        let ranges: Vec<_> = tree.layers().filter_map(|node| node.bytes.clone()).collect();
        assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start), "{}", lines(&tree));
    }
}

#[test]
fn lengths_that_lie_are_told() {
    let mut bytes = syn();
    bytes[46] = 0xf0;
    let (tree, outline) = read(&packet(LinkType::ETHERNET, &bytes));
    assert_eq!(value(&tree, "tcp.hdr_len"), "60 (more than there is)");
    assert_eq!(outline.payload, None);
    let mut bytes = syn();
    bytes[14] = 0x44;
    let (tree, _) = read(&packet(LinkType::ETHERNET, &bytes));
    assert_eq!(value(&tree, "ip.hdr_len"), "16 (less than a header)");
    assert_eq!(layers(&tree), ["frame", "eth", "ip"]);
    let mut bytes = syn();
    // An option of length 1.
    bytes[55] = 1;
    let (tree, _) = read(&packet(LinkType::ETHERNET, &bytes));
    assert_eq!(value(&tree, "tcp.option_kind"), "2 (a length that cannot be)");
    let (tree, _) = read(&packet(LinkType::ETHERNET, &syn()[..40]));
    assert_eq!(value(&tree, "tcp"), "1234 → 443, cut off: 6 of 20 bytes are there");
    // What lies behind the packet is no part of it.
    let padded = [syn(), vec![0; 9]].concat();
    let (tree, outline) = read(&packet(LinkType::ETHERNET, &padded));
    assert_eq!(value(&tree, "eth.trailer"), "9 bytes behind the packet");
    assert_eq!(outline.payload.unwrap().bytes, b"hi");
}

/// On its way along a route that its sender chose, a packet has the next stop for its destination.
#[test]
fn checksums_cover_the_end_of_a_route() {
    use ChecksumStatus::{Bad, Good, NotVerified};
    let end = [198, 51, 100, 9];
    // From 192.0.2.1, by way of 192.0.2.2, to the end.
    let mut datagram = udp(53, b"abc");
    let sum = !checksum::sum(&[&[192, 0, 2, 1], &end, &[0, 17, 0, 11], &datagram]);
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    let status = |route: &[u8], body: &[u8], protocol| {
        let mut bytes = ipv4(protocol, &[route, body].concat());
        bytes[0] += route.len() as u8 / 4;
        let (_, outline) = read(&packet(LinkType::RAW, &bytes));
        assert_eq!(outline.dst.unwrap().to_string(), "192.0.2.2");
        outline.checksums[1].status
    };
    let route = |kind, pointer| [&[1, kind, 11, pointer, 203, 0, 113, 7], &end[..]].concat();
    for kind in [131, 137] {
        assert_eq!(status(&route(kind, 4), &datagram, 17), Good);
        assert_eq!(status(&route(kind, 8), &datagram, 17), Good);
        // At the end of the route, the header has the last address.
        assert!(matches!(status(&route(kind, 12), &datagram, 17), Bad { .. }));
        // Pointers into an address or at none, and two routes.
        for pointer in [0, 3, 5, 11] {
            assert_eq!(status(&route(kind, pointer), &datagram, 17), NotVerified);
        }
        assert_eq!(status(&[route(kind, 4), route(kind, 4)].concat(), &datagram, 17), NotVerified);
        // Neither a pointer nor an address.
        assert_eq!(status(&[1, 1, kind, 2], &datagram, 17), NotVerified);
        assert_eq!(status(&[kind, 5, 4, 9, 1, 1, 1, 1], &datagram, 17), NotVerified);
        // That of ICMP covers no address.
        assert_eq!(status(&[1, 1, kind, 2], &[8, 0, 0xf7, 0xfd, 0, 0, 0, 2], 1), Good);
    }
    // Where a packet has been leads nowhere.
    assert!(matches!(status(&route(7, 4), &datagram, 17), Bad { .. }));
    let mut segment = vec![0, 9, 0, 10, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0];
    let sum = !checksum::sum(&[&[192, 0, 2, 1], &end, &[0, 6, 0, 20], &segment]);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(status(&route(131, 4), &segment, 6), Good);
}

/// A packet of tunnels in tunnels does not have its bytes added up once for each of them.
#[test]
fn checksums_cover_a_packet_a_few_times_and_no_more() {
    let level = |inner: &[u8]| {
        let length = (inner.len() as u16).to_be_bytes();
        let mut datagram = udp(2152, &[&[0x30, 255, length[0], length[1], 0, 0, 0, 1], inner].concat());
        datagram[7] = 1;
        ipv4(17, &datagram)
    };
    let statuses = |levels: usize| {
        let bytes = (0..levels).fold(ipv4(17, &udp(53, b"abc")), |inner, _| level(&inner));
        let (_, outline) = read(&packet(LinkType::RAW, &bytes));
        assert_eq!(outline.info, "40000 → 53 len 3");
        let of = |field| outline.checksums.iter().filter(move |checksum| checksum.field == field);
        // Those of IPv4 cover a header each.
        assert!(of("ip.checksum").all(|checksum| checksum.status == ChecksumStatus::Good));
        (bytes.len(), of("udp.checksum").map(|checksum| checksum.status).collect::<Vec<_>>())
    };
    let (whole, many) = statuses(1_800);
    assert_eq!(many.len(), 1_801);
    let judged = |(at, status): (usize, &ChecksumStatus)| match status {
        ChecksumStatus::Bad { .. } => whole - 20 - at * 36,
        _ => 0,
    };
    assert!(many.iter().enumerate().map(judged).sum::<usize>() <= whole * 4);
    assert!(many[..4].iter().all(|status| matches!(status, ChecksumStatus::Bad { .. })));
    assert_eq!(many[4], ChecksumStatus::NotVerified);
    let (_, few) = statuses(4);
    assert!(few[..4].iter().all(|status| matches!(status, ChecksumStatus::Bad { .. })));
}

#[test]
fn what_hides_behind_many_headers_is_found() {
    let inner = ipv4(17, &udp(53, b"abc"));
    let bytes = (0..300).fold(inner, |inner, _| ipv4(4, &inner));
    let (tree, outline) = read(&packet(LinkType::RAW, &bytes));
    assert_eq!(outline.info, "40000 → 53 len 3");
    // The tree is full before.
    assert!(tree.nodes.len() == crate::plugin::dissect::NODES && tree.left_out > 0);
    // An end there is in any case.
    let (tree, _) = read(&packet(
        LinkType::RAW,
        &[&[0x60, 0, 0, 0, 0xff, 0xff, 60, 9], &[60; 32][..], &[60, 0, 0, 0, 0, 0, 0, 0].repeat(9000)].concat(),
    ));
    assert_eq!(tree.nodes.len(), crate::plugin::dissect::NODES);
}
