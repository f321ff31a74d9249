use super::libpcap::Libpcap;
use super::program::Instruction;
use super::*;
use proptest::prelude::*;

/// Expressions that people type, and each kind of instruction that they compile to.
const EXPRESSIONS: [&str; 30] = [
    "tcp port 443",
    "udp port 53 or tcp port 53",
    "host 10.0.0.1 and not port 22",
    "net 192.0.2.0/24",
    "src net 10.0.0.0/8 and dst port 443",
    "ip6",
    "ip6 host 2001:db8::1",
    "portrange 400-500",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "tcp[13] = 2",
    "vlan 7 and tcp",
    "not ip and not ip6",
    "icmp or icmp6 or arp",
    "greater 200",
    "less 100 and udp",
    "len - 20 > 200",
    "ip[8] % 3 = 1",
    "ip[8] / 30 = 1",
    "ip[2:2] ^ 7 > 50",
    "ip[6:2] & 0x1fff = 0 and ip[0] & 0xf = 5",
    "ether[0] & 1 != 0",
    "ether[12:2] << 2 > 5000",
    "ether[12:4] >> 3 * 2 | 1 > 77",
    "ether host 01:01:01:01:01:01",
    "ip[tcp[0] & 15] / (tcp[1] & 3) > 20",
    "udp[4:2] * 2 - len < 100 or udp[0] % udp[1] = 3",
    "1 << (tcp[3] & 7) = 8",
    "pppoes and ip",
    "mpls and tcp",
    "proto 47 or ip multicast or ether broadcast",
];

/// libpcap, or a word that it is not here.
fn libpcap() -> Option<Libpcap> {
    let found = Libpcap::load();
    if let Err(error) = &found {
        eprintln!("skipped: {error}");
    }
    found.ok()
}

/// Frames that the expressions know: addresses, ports and lengths from small sets, cut anywhere.
fn frame() -> impl Strategy<Value = (Vec<u8>, u32)> {
    let port = || prop_oneof![Just(443u16), Just(53), Just(22), Just(450), any::<u16>()];
    let last = prop_oneof![Just([10, 0, 0, 1]), Just([192, 0, 2, 9]), any::<[u8; 4]>()];
    let payload = proptest::collection::vec(any::<u8>(), 0..260);
    let shape = (any::<[bool; 4]>(), port(), port(), last, payload, any::<u8>(), 0..400usize, 0..2000u32);
    shape.prop_map(|([tcp, six, tagged, syn], from, to, address, payload, ttl, cut, more)| {
        let mac = if syn { [1; 6] } else { [2, 0, 0, 0, 0, ttl] };
        let link = etherparse::PacketBuilder::ethernet2(mac, [0xff; 6]);
        let six_of = |last: u8| {
            let mut address = [0; 16];
            (address[0], address[1], address[2], address[3], address[15]) = (0x20, 1, 0xd, 0xb8, last);
            address
        };
        let vlan = etherparse::VlanId::try_new(u16::from(ttl) % 8).unwrap();
        let network = match (tagged, six) {
            (false, false) => link.ipv4(address, [10, 0, 0, 2], ttl),
            (false, true) => link.ipv6(six_of(1), six_of(ttl), ttl),
            (true, false) => link.single_vlan(vlan).ipv4(address, [10, 0, 0, 2], ttl),
            (true, true) => link.single_vlan(vlan).ipv6(six_of(1), six_of(ttl), ttl),
        };
        let mut frame = Vec::new();
        if tcp {
            let transport = network.tcp(from, to, u32::from(ttl), 100);
            let transport = if syn { transport.syn() } else { transport.fin() };
            transport.write(&mut frame, &payload).unwrap();
        } else {
            network.udp(from, to).write(&mut frame, &payload).unwrap();
        }
        let wire_len = frame.len() as u32 + if cut % 2 == 0 { more } else { 0 };
        frame.truncate(cut.max(1));
        (frame, wire_len)
    })
}

/// Instructions of which many pass the check: codes that exist, small numbers.
fn instruction() -> impl Strategy<Value = Instruction> {
    let code = prop_oneof![
        8 => proptest::sample::select(vec![
            0x00u16, 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x60, 0x80, 0x01, 0x61, 0x81, 0xb1, 0x02, 0x03, 0x04, 0x0c,
            0x14, 0x1c, 0x24, 0x2c, 0x34, 0x3c, 0x44, 0x4c, 0x54, 0x5c, 0x64, 0x6c, 0x74, 0x7c, 0x84, 0x94, 0x9c, 0xa4,
            0xac, 0x05, 0x15, 0x1d, 0x25, 0x2d, 0x35, 0x3d, 0x45, 0x4d, 0x07, 0x87,
        ]),
        1 => proptest::sample::select(vec![0x06u16, 0x16]),
    ];
    let k = prop_oneof![8 => 0..16u32, 1 => 0..64u32, 1 => any::<u32>()];
    (code, 0..4u8, 0..4u8, k).prop_map(|(code, yes, no, k)| Instruction { code, yes, no, k })
}

/// What the program says as a number: nothing is zero.
fn said(program: &Program, packet: &[u8], wire_len: u32) -> u32 {
    program.run(packet, wire_len).unwrap_or(0)
}

#[test]
fn real_expressions_say_of_every_packet_what_libpcap_says() {
    let Some(mut libpcap) = libpcap() else { return };
    let compile = |text: &str| libpcap.compile(&CString::new(text).unwrap(), 1).unwrap();
    let all: Vec<Vec<Instruction>> = EXPRESSIONS.into_iter().map(compile).collect();
    let programs: Vec<Program> = all.iter().map(|raw| Program::new(raw).unwrap()).collect();
    let seen = std::cell::RefCell::new(vec![[0u32; 2]; all.len()]);
    let noise = (proptest::collection::vec(any::<u8>(), 1..120), 0..300u32)
        .prop_map(|(bytes, more)| (bytes.clone(), bytes.len() as u32 + more));
    let packets = prop_oneof![6 => frame(), 1 => noise];
    proptest!(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) }, |((bytes, wire) in packets)| {
        for (at, (raw, program)) in all.iter().zip(&programs).enumerate() {
            let theirs = libpcap.offline(raw, &bytes, wire);
            prop_assert_eq!(said(program, &bytes, wire), theirs, "{}", EXPRESSIONS[at]);
            seen.borrow_mut()[at][usize::from(theirs != 0)] += 1;
        }
    });
    // The comparison is worth something where packets go both ways.
    let both = seen.borrow().iter().filter(|[out, through]| *out > 0 && *through > 0).count();
    assert!(both >= EXPRESSIONS.len() - 3, "{:?}", seen.borrow());
}

#[test]
fn any_program_that_passes_the_check_does_what_libpcap_does() {
    let Some(libpcap) = libpcap() else { return };
    let checked = std::cell::Cell::new(0);
    let programs = proptest::collection::vec(instruction(), 0..24);
    let bytes = proptest::collection::vec(any::<u8>(), 1..40);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20_000) };
    // libpcap leaves memory as it was, so that programs begin with writing it.
    let plain = |code, k| Instruction { code, yes: 0, no: 0, k };
    let begin: Vec<Instruction> = (0..16).map(|place| plain(0x02, place)).collect();
    proptest!(config, |(raw in programs, bytes in bytes, more in 0..100u32)| {
        let raw = [&begin[..], &raw[..], &[plain(0x16, 0)]].concat();
        let wire = bytes.len() as u32 + more;
        if let Ok(program) = Program::new(&raw) {
            checked.set(checked.get() + 1);
            prop_assert_eq!(said(&program, &bytes, wire), libpcap.offline(&raw, &bytes, wire));
        }
    });
    assert!(checked.get() > 2000, "only {} programs passed the check", checked.get());
}

#[test]
fn programs_that_could_go_wrong_are_refused() {
    let say = |code, yes, no, k| Instruction { code, yes, no, k };
    let end = say(0x06, 0, 0, 1);
    for (program, says) in [
        (vec![], "does not end with a return"),
        (vec![end, say(0x00, 0, 0, 1)], "does not end with a return"),
        (vec![say(0x05, 0, 0, 1), end], "instruction 0: it jumps"),
        (vec![end, say(0x05, 0, 0, u32::MAX - 1), end], "instruction 1: it jumps"),
        (vec![say(0x15, 0, 1, 0), end], "instruction 0: it jumps"),
        (vec![say(0x15, 255, 0, 0), end], "instruction 0: it jumps"),
        (vec![say(0x34, 0, 0, 0), end], "divides by zero"),
        (vec![say(0x94, 0, 0, 0), end], "divides by zero"),
        (vec![say(0x64, 0, 0, 32), end], "shifts by 32 bits"),
        (vec![say(0x02, 0, 0, 16), end], "no memory at 16"),
        (vec![say(0x61, 0, 0, u32::MAX), end], "no memory at"),
        (vec![say(0xffff, 0, 0, 0), end], "no code 0xffff"),
    ] {
        let error = Program::new(&program).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    // Reading past the packet, dividing by an index of zero: the packet is kept out.
    for first in [say(0x20, 0, 0, 1), say(0x40, 0, 0, u32::MAX), say(0xb1, 0, 0, 4), say(0x3c, 0, 0, 0)] {
        assert!(!Program::new(&[first, end]).unwrap().passes(&[0; 4], 4), "{first:?}");
        assert!(Program::new(&[end]).unwrap().passes(&[0; 4], 4));
    }
}

#[test]
fn expressions_fit_some_link_types_and_not_others() {
    if libpcap().is_none() {
        return;
    }
    assert!(Filter::new("  ").unwrap().is_none());
    let packet = |link| Packet { number: 1, time_ns: 0, link, wire_len: 60, data: &[0x45; 60] };
    // Addresses of stations are nothing that raw IP has.
    let mut filter = Filter::new("ether host 1:2:3:4:5:6").unwrap().unwrap();
    assert_eq!(filter.passage(&packet(LinkType::ETHERNET)), Passage::KeptOut);
    assert_eq!(filter.passage(&packet(LinkType::RAW)), Passage::Unfilterable);
    assert_eq!(filter.passage(&packet(LinkType(147))), Passage::Seen);
    assert!(filter.refusal(LinkType::RAW).unwrap().contains("ethernet"), "{:?}", filter.refusal(LinkType::RAW));
    assert_eq!((filter.refusal(LinkType::ETHERNET), filter.refusal(LinkType(147))), (None, None));
    // What only wireless LAN has is no mistake.
    let mut filter = Filter::new("type mgt").unwrap().unwrap();
    assert_eq!(filter.passage(&packet(LinkType::ETHERNET)), Passage::Unfilterable);
    assert_ne!(filter.passage(&packet(LinkType::IEEE802_11)), Passage::Unfilterable);
    // Numbers of link types that libpcap has others for.
    let mut filter = Filter::new("ip and ip[9] = 0x45").unwrap().unwrap();
    for link in [LinkType::RAW, LinkType::RAW_BSD, LinkType::RAW_ALT] {
        assert_eq!(filter.passage(&packet(link)), Passage::Seen, "{link:?}");
    }
    for (wrong, says) in
        [("tcp porrt 443", "syntax error"), ("tcp\0port 4", "zero byte"), ("ip6 protochain 6", "as `protochain` does")]
    {
        let error = Filter::new(wrong).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert!(error.starts_with(&format!("the capture filter `{wrong}` cannot be used: ")), "{error}");
    }
}
