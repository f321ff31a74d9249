use crate::declarations;
use crate::message::{Bad, Message, Name};
use proptest::prelude::*;
use veilwatch_core::plugin::{Carrier, Probe, ProtocolTemplate, Settings, StreamView};
use veilwatch_core::record::{Dns, DnsLinks};
use veilwatch_testkit::conformance::{Options, check};
use veilwatch_testkit::golden;
use veilwatch_testkit::talk::{Talk, Told, Wired, tree_lines};

/// Asks for the address of `www.example.com`.
const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01";
/// The answer: `www.example.com` is `web.example.com` for 300 seconds, and that is 192.0.2.7 and .8 for 60 and 50.
const ANSWER: &[u8] = b"\x12\x34\x81\x80\0\x01\0\x03\0\0\0\x01\x03www\x07example\x03com\0\0\x01\0\x01\
    \xc0\x0c\0\x05\0\x01\0\0\x01\x2c\0\x06\x03web\xc0\x10\
    \xc0\x2d\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x07\
    \xc0\x2d\0\x01\0\x01\0\0\0\x32\0\x04\xc0\0\x02\x08\
    \0\0\x29\x10\0\0\0\0\0\0\0";
/// The same question for IPv6, and that there is no such name.
const QUERY_6: &[u8] = b"\x12\x35\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x1c\0\x01";
const NO_NAME: &[u8] = b"\x12\x35\x81\x83\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x1c\0\x01";

fn template() -> Wired {
    Wired::new(&declarations()[0], "").unwrap()
}

fn with_length(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

fn udp(responder: &str) -> Talk {
    Talk::udp().between("10.0.0.1:50000", responder)
}

fn dns<'a>(told: &'a Told<'_>) -> Dns<'a> {
    told.flow.fields.record().unwrap()
}

fn links(dns: &Dns<'_>) -> Vec<(String, Vec<(u8, u32)>)> {
    let text = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
    DnsLinks::new(dns.links)
        .map(|link| (text(link.name), link.addresses().map(|(address, ttl)| (address[15], ttl)).collect()))
        .collect()
}

#[test]
fn it_conforms() {
    let samples = vec![
        [with_length(QUERY), with_length(ANSWER)],
        [[with_length(QUERY), with_length(QUERY_6)].concat(), [with_length(ANSWER), with_length(NO_NAME)].concat()],
    ];
    let report = check(&declarations()[0], &Options { samples, draws: true, ..Options::default() });
    assert!(report.passed(), "{report}");
}

#[test]
fn a_question_and_its_answer() {
    let template = template();
    let told = template.read(&udp("192.0.2.53:53").forward(QUERY).wait_ms(20).backward(ANSWER));
    let dns = dns(&told);
    assert_eq!((dns.rrname, dns.rrtype, dns.first_rcode()), (&b"www.example.com"[..], 1, Some(0)));
    assert_eq!((dns.queries, dns.responses, dns.nxdomains, dns.answers, dns.ttl), (1, 1, 0, 3, 50));
    assert_eq!(links(&dns), [("www.example.com".to_owned(), vec![(7, 60), (8, 50)])]);
    assert_eq!(told.errors, 0);
}

#[test]
fn what_is_drawn_of_conversations() {
    // SOA, MX, TXT, SRV, and a type that nobody reads.
    let records: &[u8] = b"\x12\x36\x85\0\0\0\0\x04\0\x01\0\0\
        \x01a\0\0\x06\0\x01\0\0\0\x05\0\x1a\x01b\xc0\x0c\x01c\0\0\0\0\x07\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\
        \xc0\x0c\0\x0f\0\x01\0\0\0\x05\0\x04\0\x0a\xc0\x0c\
        \xc0\x0c\0\x10\0\x01\0\0\0\x05\0\x06\x02hi\x02yo\
        \xc0\x0c\0\x21\x80\x01\0\0\0\x05\0\x09\0\x01\0\x02\x01\xbb\x01d\0\
        \xc0\x0c\x12\x34\0\x01\0\0\0\x05\0\x02\xab\xcd";
    let tcp = || Talk::tcp().between("10.0.0.1:50000", "192.0.2.53:53").open();
    let mut text = String::new();
    for (name, talk) in [
        ("datagrams", udp("192.0.2.53:53").forward(QUERY).forward(QUERY_6).backward(ANSWER).backward(NO_NAME)),
        ("records", udp("192.0.2.53:53").backward(records)),
        ("over TCP", tcp().forward(&with_length(QUERY)).backward(&[with_length(NO_NAME), with_length(QUERY)].concat())),
        ("cut off", tcp().forward(&with_length(QUERY)[..20]).backward(&with_length(ANSWER)[..70])),
        ("no name", udp("192.0.2.53:53").forward(b"\0\x01\0\0\0\x01\0\0\0\0\0\0\xc0\x0c\0\x01\0\x01")),
        ("more than a message", udp("192.0.2.53:53").forward(&[QUERY, b"more"].concat())),
    ] {
        let tree = template().tree(&talk);
        assert!(tree.is_whole(), "{name}");
        text.push_str(&format!("## {name}\n{}\n", tree_lines(&tree)));
    }
    golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tree.txt"), &text);
}

#[test]
fn many_in_one_flow() {
    let template = template();
    let said = |talk: Talk| talk.forward(QUERY).forward(QUERY_6).backward(NO_NAME).backward(ANSWER).forward(QUERY);
    let told = template.read(&said(udp("192.0.2.53:53")));
    let counts = |dns: Dns<'_>| (dns.queries, dns.responses, dns.nxdomains, dns.answers, dns.first_rcode());
    assert_eq!(counts(dns(&told)), (3, 2, 1, 3, Some(3)));
    let both = |first: &[u8], second: &[u8]| [with_length(first), with_length(second)].concat();
    let tcp = Talk::tcp().between("10.0.0.1:50000", "192.0.2.53:53").open();
    // A message that is none is passed over by its length.
    let tcp = tcp.forward(&both(QUERY, QUERY_6)).backward(&both(b"\0\x01?", ANSWER)).backward(&with_length(NO_NAME));
    let told = template.read(&tcp);
    assert_eq!(counts(dns(&told)), (2, 2, 1, 3, Some(0)));
    assert_eq!(links(&dns(&told)).len(), 1);
}

#[test]
fn the_answer_alone_tells_who_asked() {
    let template = template();
    let told = template.read(&Talk::udp().between("192.0.2.53:53", "10.0.0.1:50000").forward(ANSWER).backward(QUERY_6));
    let dns = dns(&told);
    assert_eq!((told.flow.originator.port, told.flow.responder.port), (50_000, 53));
    assert_eq!((dns.queries, dns.responses, dns.rrname), (1, 1, &b"www.example.com"[..]));
    assert_eq!(links(&dns).len(), 1);
}

#[test]
fn what_all_hear_leads_nobody() {
    // `printer.local` says that it is 192.0.2.9, without having been asked.
    let says = b"\0\0\x84\0\0\0\0\x01\0\0\0\0\x07printer\x05local\0\0\x01\x80\x01\0\0\0\x78\0\x04\xc0\0\x02\x09";
    let template = template();
    let told = template.read(&Talk::udp().between("10.0.0.9:5353", "224.0.0.251:5353").forward(says).forward(QUERY));
    let dns = dns(&told);
    assert_eq!(told.text("dns.variant"), Some("mdns"));
    assert_eq!(told.flow.originator.port, 5353);
    assert_eq!((dns.queries, dns.responses, dns.answers, dns.ttl, dns.links), (1, 1, 1, 120, &b""[..]));
    assert_eq!(dns.rrname, b"www.example.com");
    let told = template.read(&Talk::udp().between("10.0.0.1:50000", "224.0.0.252:5355").forward(QUERY));
    assert_eq!(told.text("dns.variant"), Some("llmnr"));
}

/// A client's port may be any, and one that asked all others from another port is answered alone.
#[test]
fn ports_of_mdns_that_are_not() {
    let template = template();
    let told = template.read(&Talk::udp().between("10.0.0.1:5353", "192.0.2.53:53").forward(QUERY).backward(ANSWER));
    assert_eq!((links(&dns(&told)).len(), told.text("dns.variant")), (1, None));
    let told = template.read(&Talk::udp().between("10.0.0.9:5353", "10.0.0.1:50000").forward(ANSWER));
    assert_eq!((told.flow.responder.port, links(&dns(&told)).len()), (5353, 1));
    let told = template.read(&Talk::udp().between("10.0.0.9:50000", "224.0.0.251:5353").forward(ANSWER).forward(QUERY));
    assert_eq!((told.flow.responder.port, dns(&told).responses, links(&dns(&told)).len()), (5353, 1, 0));
}

#[test]
fn other_ports_want_a_whole_message() {
    let template = template();
    let recognised = |talk: Talk| template.read(&talk).recognised();
    for (port, cut) in [(53, true), (5300, false)] {
        let end = format!("192.0.2.53:{port}");
        assert!(recognised(udp(&end).forward(QUERY)), "{port}");
        assert_eq!(recognised(udp(&end).forward(&QUERY[..20])), cut, "{port}");
        assert_eq!(recognised(udp(&end).forward(&[QUERY, b"more"].concat())), cut, "{port}");
    }
    // NetBIOS asks like DNS.
    assert!(!recognised(udp("192.0.2.53:137").forward(QUERY)));
    for other in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03aaaaaaaaaa", b"\0\0\0\0", &[0; 40]]
    {
        assert!(!recognised(udp("192.0.2.53:4000").forward(other)), "{other:?}");
        assert!(!recognised(Talk::tcp().between("10.0.0.1:1", "192.0.2.53:4000").forward(other)), "{other:?}");
    }
}

#[test]
fn lists_are_bounded_and_the_flow_says_so() {
    let template = Wired::new(&declarations()[0], "link_bytes = 100").unwrap();
    let talk = udp("192.0.2.53:53").forward(QUERY).backward(ANSWER);
    let told = template.read(&talk);
    assert_eq!((links(&dns(&told)).len(), told.number("dns.limit.link_bytes")), (1, None));
    let told = template.read(&talk.forward(QUERY).backward(ANSWER));
    assert_eq!((links(&dns(&told)).len(), told.number("dns.limit.link_bytes")), (1, Some(1)));
    assert_eq!(dns(&told).answers, 6);
    for bad in ["link_bytes = 1", "link_bytes = 20000", "bytes = 1"] {
        assert!(Wired::new(&declarations()[0], bad).is_err(), "{bad}");
    }
}

#[test]
fn pointers_go_back_and_names_are_bounded() {
    let text = |message: &[u8], at| Name::read(message, at).map(|(name, end)| (name.text().to_vec(), end));
    assert_eq!(text(b"\x01a\0\x01b\xc0\0", 3), Ok((b"b.a".to_vec(), 7)));
    assert_eq!(text(b"\0", 0), Ok((b".".to_vec(), 1)));
    // To itself, to what comes behind, in a circle.
    for (message, at) in
        [(&b"\xc0\0"[..], 0), (b"\xc0\x02\0", 0), (b"\x01a\xc0\0", 0), (b"\x01a\xc0\x04\x01b\xc0\0", 4)]
    {
        assert_eq!(text(message, at), Err(Bad::Wrong), "{message:?}");
    }
    let long = [&b"\x3f"[..], &[b'x'; 63]].concat().repeat(3);
    let most = [&long[..], b"\x3d", &[b'y'; 61], b"\0"].concat();
    assert_eq!(text(&most, 0).map(|(name, end)| (name.len(), end)), Ok((253, 255)));
    assert_eq!(text(&[&long[..], b"\x3e", &[b'y'; 62], b"\0"].concat(), 0), Err(Bad::Wrong));
    assert_eq!(text(b"\x40", 0), Err(Bad::Wrong));
    assert_eq!(text(b"\x03ab", 0), Err(Bad::Cut));
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let changed = (
        prop::sample::select(vec![QUERY, ANSWER, NO_NAME]),
        prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
    );
    let changed = changed.prop_map(|(message, changes)| {
        let mut message = message.to_vec();
        for (at, byte) in changes {
            let at = at % message.len();
            message[at] = byte;
        }
        message
    });
    prop_oneof![changed, prop::collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    /// Whatever comes, in whatever order: no failure, and the list only grows at its end.
    #[test]
    fn whatever_comes(messages in prop::collection::vec((any::<bool>(), message()), 1..8), tcp in any::<bool>()) {
        let template = template();
        let mut talk = if tcp { Talk::tcp().between("10.0.0.1:50000", "192.0.2.53:53").open() } else { udp("192.0.2.53:53") };
        let mut before = Vec::new();
        for (forth, message) in messages {
            // Only the responder answers: who is who does not change on the way.
            let mut message = message;
            if let Some(flags) = message.get_mut(2) {
                *flags = if forth { *flags & 0x7f } else { *flags | 0x80 };
            }
            let message = if tcp { with_length(&message) } else { message };
            talk = if forth { talk.forward(&message) } else { talk.backward(&message) };
            if talk.packets().is_empty() {
                continue;
            }
            let told = template.read(&talk);
            prop_assert_eq!(told.errors, 0);
            let tree = template.tree(&talk);
            prop_assert!(!tree.nodes.is_empty() && !tree.outside && !tree.unbalanced);
            let Some(dns) = told.flow.fields.record::<Dns<'_>>() else { continue };
            prop_assert!(dns.rrname.len() <= 254 && dns.links.len() <= 4096);
            prop_assert!(dns.links.starts_with(&before));
            before = dns.links.to_vec();
        }
    }

    /// A walk ends within the bytes.
    #[test]
    fn ends_lie_within(bytes in message()) {
        if let Ok(message) = Message::read(&bytes) {
            prop_assert!(message.end.is_err() || message.end.is_ok_and(|end| end <= bytes.len()));
            prop_assert!(message.answers().count() <= bytes.len() / 11);
        }
    }

    /// What is no DNS is told apart at once: on other ports and from its first bytes.
    #[test]
    fn noise_is_nobodys(bytes in prop::collection::vec(any::<u8>(), 1..400), udp in any::<bool>()) {
        let template = crate::DnsTemplate::create(Settings::new("")).unwrap();
        let carrier = if udp { Carrier::Udp } else { Carrier::Tcp };
        let view = StreamView { forward: &bytes, carrier, originator_port: 40_000, responder_port: 40_001, ..StreamView::default() };
        prop_assert_ne!(template.probe(&view), Probe::Certain);
    }
}
