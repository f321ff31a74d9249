//! Packets that come in parts.

use super::*;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

/// A part of an IPv4 packet: its place in bytes, whether others follow, what it holds.
fn part(id: u8, offset: usize, more: bool, body: &[u8]) -> Vec<u8> {
    let mut part = ipv4(6, body);
    part[5] = id;
    let place = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
    part[6..8].copy_from_slice(&place.to_be_bytes());
    part
}

/// The same of an IPv6 packet.
fn part6(id: u8, offset: usize, more: bool, body: &[u8]) -> Vec<u8> {
    let place = (offset as u16 | u16::from(more)).to_be_bytes();
    ipv6(44, &[&[6, 0, place[0], place[1], 0, 0, 0, id], body].concat())
}

/// TCP header and payload as [`tcp_packet`] has them behind IP.
fn segment(payload: &[u8]) -> Vec<u8> {
    tcp_packet(payload).split_off(20)
}

/// Payload, length of the payload and of the packet of what the parts give together.
fn joined(decoder: &mut Decoder, parts: &[Vec<u8>]) -> Vec<(Vec<u8>, u32, u32)> {
    let at = |data| Packet { time_ns: SECOND, ..packet(LinkType::RAW, data) };
    parts
        .iter()
        .filter_map(|data| {
            let whole = decoder.decode(0, &at(data));
            let (whole, waits) = (whole.map(|w| (w.payload.to_vec(), w.payload_len, w.ip_len)), whole);
            if whole.is_err() {
                assert_eq!(waits, Err(Skip::Fragment));
            }
            whole.ok()
        })
        .collect()
}

#[test]
fn parts_in_any_order_become_what_was_sent() {
    let sent = segment(&[7; 30]);
    for (make, headers) in [(part as fn(u8, usize, bool, &[u8]) -> Vec<u8>, 20), (part6, 40)] {
        let parts = [make(1, 0, true, &sent[..16]), make(1, 16, true, &sent[16..40]), make(1, 40, false, &sent[40..])];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut decoder = Decoder::new(DecodeLimits::default(), 1);
            let got = joined(&mut decoder, &order.map(|at| parts[at].clone()));
            assert_eq!(got, [(vec![7; 30], 30, headers + 50)]);
            assert_eq!(decoder.finish(), FragmentCounters { joined: 1, ..FragmentCounters::default() });
        }
    }
    // Alone they are what they are.
    assert_eq!(decode(&packet(LinkType::RAW, &part(1, 0, true, &sent[..16]))), Err(Skip::Fragment));
}

#[test]
fn packets_are_told_apart() {
    let (one, two) = (segment(&[1; 12]), segment(&[2; 12]));
    let parts = [
        part(1, 0, true, &one[..16]),
        part(2, 0, true, &two[..16]),
        part6(1, 0, true, &two[..16]),
        part(1, 16, false, &one[16..]),
        part(2, 16, false, &two[16..]),
        part6(1, 16, false, &two[16..]),
    ];
    let got: Vec<_> = joined(&mut Decoder::new(DecodeLimits::default(), 1), &parts)
        .into_iter()
        .map(|(payload, ..)| payload[0])
        .collect();
    assert_eq!(got, [1, 2, 2]);
}

#[test]
fn the_first_copy_wins_and_conflicts_are_counted() {
    let sent = segment(&[7; 44]);
    let mut other = sent.clone();
    other[24..32].fill(9);
    // The same again; other bytes in the middle of what is known; an end elsewhere.
    let parts = [
        part(1, 16, true, &sent[16..40]),
        part(1, 16, true, &sent[16..40]),
        part(1, 24, true, &other[24..32]),
        part(1, 40, false, &sent[40..]),
        part(1, 40, false, &sent[40..48]),
        // Overlaps all that is known from the front, and fills the rest.
        part(1, 0, true, &other[..48]),
    ];
    let mut decoder = Decoder::new(DecodeLimits::default(), 1);
    assert_eq!(joined(&mut decoder, &parts), [(vec![7; 44], 44, 84)]);
    let counters = decoder.finish();
    assert_eq!((counters.joined, counters.conflicts, counters.unfinished), (1, 3, 0));
}

#[test]
fn shapes_of_old_attacks() {
    let mut decoder = Decoder::new(DecodeLimits::default(), 1);
    // Teardrop: the second part lies within the first.
    let parts = [part(1, 0, true, &[0; 32]), part(1, 8, false, &[0; 8])];
    assert!(joined(&mut decoder, &parts).is_empty());
    // Ping of death: the end lies past the largest packet.
    let long = part(2, 65_528, false, &[0; 100]);
    assert_eq!(decoder.decode(0, &packet(LinkType::RAW, &long)), Err(Skip::Malformed));
    // Nothing at all, and less than one unit although more is to come.
    for body in [&[][..], &[0; 7]] {
        assert_eq!(decoder.decode(0, &packet(LinkType::RAW, &part(3, 0, true, body))), Err(Skip::Malformed));
    }
    // The smallest parts there can be: the ports alone, then the rest of the header.
    let sent = segment(&[5; 4]);
    let tiny = [part(4, 8, true, &sent[8..16]), part(4, 0, true, &sent[..8]), part(4, 16, false, &sent[16..])];
    assert_eq!(joined(&mut decoder, &tiny), [(vec![5; 4], 4, 44)]);
    let counters = decoder.finish();
    assert_eq!((counters.joined, counters.unfinished, counters.conflicts), (1, 1, 1));
}

#[test]
fn what_the_capture_cut_stays_cut() {
    let sent = segment(&[7; 60]);
    let (first, second) = (part(1, 0, true, &sent[..40]), part(1, 40, false, &sent[40..]));
    let mut decoder = Decoder::new(DecodeLimits::default(), 1);
    let cut = Packet { data: &first[..50], ..packet(LinkType::RAW, &first) };
    assert_eq!(decoder.decode(0, &cut), Err(Skip::Fragment));
    let got = decoder.decode(0, &packet(LinkType::RAW, &second)).unwrap();
    assert_eq!((got.payload, got.payload_len, got.ip_len), (&[7; 10][..], 60, 100));
}

#[test]
fn tunnels_in_parts_and_parts_in_tunnels() {
    let sent = segment(&[7; 30]);
    let whole = tcp_packet(&[7; 30]);
    // An inner packet in two parts, each of them in an outer packet of two parts.
    let inner = [part(9, 0, true, &sent[..24]), part(9, 24, false, &sent[24..])];
    let parts: Vec<Vec<u8>> = (0..)
        .zip(&inner)
        .flat_map(|(id, inner)| {
            let mut outer = [part(id, 0, true, &inner[..16]), part(id, 16, false, &inner[16..])];
            outer.iter_mut().for_each(|part| part[9] = 4);
            outer
        })
        .collect();
    let mut decoder = Decoder::new(DecodeLimits::default(), 1);
    assert_eq!(joined(&mut decoder, &parts), [(vec![7; 30], 30, whole.len() as u32)]);
    assert_eq!(decoder.finish().joined, 3);
}

#[test]
fn waiting_is_bounded_in_number_bytes_and_time() {
    let limits = DecodeLimits {
        fragments_per_shard: 10,
        fragment_bytes_per_shard: 200_000,
        fragment_seconds: 30,
        ..DecodeLimits::default()
    };
    let mut decoder = Decoder::new(limits, 1);
    for id in 0..100 {
        let _ = decoder.decode(0, &packet(LinkType::RAW, &part(id, 64, true, &[0; 64])));
    }
    assert_eq!(decoder.footprint().0, 10);
    assert_eq!((decoder.finish().dropped, decoder.footprint()), (90, (0, 0)));

    let mut decoder = Decoder::new(limits, 1);
    for id in 0..100 {
        let _ = decoder.decode(0, &packet(LinkType::RAW, &part(id, 60_000, true, &[0; 64])));
        assert!(decoder.footprint().1 <= 200_000, "{:?}", decoder.footprint());
    }
    assert_eq!(decoder.finish().dropped_for_bytes, 97);

    // The second part comes too late, and begins a packet that never gets its first.
    let sent = segment(&[7; 30]);
    let mut decoder = Decoder::new(limits, 1);
    for (second, part) in [(0, part(1, 0, true, &sent[..16])), (31, part(1, 16, false, &sent[16..]))] {
        let late = Packet { time_ns: second * SECOND, ..packet(LinkType::RAW, &part) };
        assert_eq!(decoder.decode(0, &late), Err(Skip::Fragment));
    }
    assert_eq!(decoder.finish(), FragmentCounters { unfinished: 2, ..FragmentCounters::default() });
}

proptest! {
    /// However a packet is cut, shuffled, repeated and mixed with others, it comes out as it was, once it is whole.
    #[test]
    fn whatever_the_order(
        payload in proptest::collection::vec(any::<u8>(), 1..400),
        cuts in proptest::collection::btree_set(1usize..50, 0..12),
        order in proptest::collection::vec(any::<u16>(), 30),
        six in any::<bool>(),
    ) {
        let sent = segment(&payload);
        let make = if six { part6 } else { part };
        let mut edges: Vec<usize> = cuts.into_iter().map(|cut| cut * 8).filter(|cut| *cut < sent.len()).collect();
        edges.insert(0, 0);
        edges.push(sent.len());
        let mut parts: Vec<(u16, Vec<u8>)> = Vec::new();
        for (at, pair) in edges.windows(2).enumerate() {
            let more = pair[1] < sent.len();
            parts.push((order[at], make(1, pair[0], more, &sent[pair[0]..pair[1]])));
            // Some come twice; and another packet's parts come between.
            if more && at % 3 == 0 {
                parts.push((order[at + 14], make(2, pair[0], true, &sent[pair[0]..pair[1]])));
            }
        }
        parts.sort();
        let parts: Vec<Vec<u8>> = parts.into_iter().map(|(_, part)| part).collect();
        let got = if edges.len() == 2 {
            vec![(payload.clone(), 0, 0)]
        } else {
            joined(&mut Decoder::new(DecodeLimits::default(), 1), &parts)
        };
        prop_assert_eq!(got.len(), 1);
        prop_assert_eq!(&got[0].0, &payload);
    }

    /// Whatever comes, memory stays within its bounds.
    #[test]
    fn never_more_than_allowed(
        parts in proptest::collection::vec((any::<u8>(), 0usize..8190, any::<bool>(), 1usize..100, any::<u32>()), 0..200),
    ) {
        let limits = DecodeLimits {
            fragments_per_shard: 5,
            fragment_bytes_per_shard: 140_000,
            ..DecodeLimits::default()
        };
        let mut decoder = Decoder::new(limits, 1);
        for (id, place, more, length, time) in parts {
            let data = part(id % 8, place * 8, more, &vec![id; length]);
            let _ = decoder.decode(0, &Packet { time_ns: u64::from(time) << 8, ..packet(LinkType::RAW, &data) });
            let (packets, bytes) = decoder.footprint();
            prop_assert!(packets <= 5 && bytes <= 140_000 + 4096, "{} packets, {} bytes", packets, bytes);
        }
    }
}

#[test]
fn a_length_that_the_capture_makes_up_is_no_length() {
    // A total length of zero leaves the length to the capture, which may claim anything.
    let mut huge = part(1, 65_520, true, &[0; 8]);
    huge[2..4].fill(0);
    let mut decoder = Decoder::new(DecodeLimits::default(), 1);
    let given = Packet { wire_len: u32::MAX - 7, ..packet(LinkType::RAW, &huge) };
    assert_eq!(decoder.decode(0, &given), Err(Skip::Malformed));
    let next = part(1, 65_496, true, &[0; 8]);
    assert_eq!(decoder.decode(0, &packet(LinkType::RAW, &next)), Err(Skip::Fragment));
}

#[test]
fn parts_of_ipv4_never_become_extension_headers() {
    // Protocol 0 is hop-by-hop options with IPv6, and nothing with IPv4.
    let options = [&[6, 0, 1, 4, 0, 0, 0, 0][..], &segment(b"hello")].concat();
    let (mut first, mut last) = (part(7, 0, true, &options[..16]), part(7, 16, false, &options[16..]));
    (first[9], last[9]) = (0, 0);
    let mut decoder = Decoder::new(DecodeLimits::default(), 1);
    assert_eq!(decoder.decode(0, &packet(LinkType::RAW, &first)), Err(Skip::Fragment));
    assert_eq!(decoder.decode(0, &packet(LinkType::RAW, &last)), Err(Skip::OtherTransport));
}
