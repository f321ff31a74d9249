//! Conversations, read by the template as a pipeline has it, with one behind it that reads handshakes.

use crate::testing::{Initial, client_hello, crypto, server_hello};
use proptest::prelude::*;
use veilwatch_core::flow::{FlowLimits, FlowRecord, FlowTable, Templates};
use veilwatch_core::plugin::dissect::Tree;
use veilwatch_core::plugin::{Carrier, Instance, ProtocolTemplate, Settings, StreamView};
use veilwatch_core::record::{FieldTable, Mark, Value};
use veilwatch_testkit::conformance::assert_conforms;
use veilwatch_testkit::scribe::Scribe;
use veilwatch_testkit::talk::Talk;

/// Both templates, wired, with the names of their fields.
fn templates(settings: &str) -> (Templates, FieldTable) {
    let mut fields = FieldTable::new();
    let Ok(Instance::Protocol(quic)) = (crate::declarations()[0].create)(Settings::new(settings)) else {
        panic!("no template")
    };
    let mut templates = vec![Box::<Scribe>::default() as Box<dyn ProtocolTemplate>, quic];
    for template in &mut templates {
        let ids: Vec<_> = template.fields().into_iter().map(|spec| fields.declare(spec, "t").unwrap()).collect();
        template.wire(&ids).unwrap();
    }
    (Templates::new(templates), fields)
}

struct Read {
    flow: FlowRecord,
    fields: FieldTable,
}

impl Read {
    fn of(talk: &Talk) -> Self {
        Self::with("", talk)
    }

    fn with(settings: &str, talk: &Talk) -> Self {
        let (templates, fields) = templates(settings);
        let (flow, errors) = talk.flow_and_errors(&templates);
        assert_eq!(errors, 0);
        Self { flow, fields }
    }

    fn value(&self, name: &str) -> Option<Value<'_>> {
        self.flow.fields.get(self.fields.id(name).unwrap())
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.value(name).map(|value| if let Value::U64(number) = value { number } else { panic!("{value:?}") })
    }

    fn said(&self, side: &str) -> &[u8] {
        match self.value(&format!("scribe.{side}")) {
            Some(Value::Bytes(bytes)) => bytes,
            _ => &[],
        }
    }

    /// The client's handshake is that of [`hello`], and this is the server's.
    fn is_read(&self, server: &[u8]) -> bool {
        self.said("client") == hello() && self.said("server") == server
    }

    fn is_whole(&self) -> bool {
        self.is_read(&server_hello())
    }
}

const ORIGIN: &[u8] = b"original";

/// Transport parameters: idle timeout 30 s, data, streams.
const PARAMETERS: &[u8] = b"\x01\x04\x80\0\x75\x30\x04\x04\x80\x10\0\0\x08\x02\x40\x64";

fn hello() -> Vec<u8> {
    client_hello("a.example", PARAMETERS)
}

fn client() -> Vec<u8> {
    Initial::client(ORIGIN).with(&crypto(0, &hello()))
}

fn server() -> Vec<u8> {
    Initial::server(ORIGIN).with(&[b"\x02\0\0\0\0".to_vec(), crypto(0, &server_hello())].concat())
}

#[test]
fn keeps_the_contract() {
    assert_conforms(crate::declarations());
}

#[test]
fn both_hellos_are_read_by_the_other_template() {
    let read = Read::of(&Talk::udp().forward(&client()).backward(&server()).forward(b"\x40more").backward(b"\x40more"));
    assert!(read.is_whole() && read.flow.template == Some(1));
    assert_eq!(read.flow.guests.iter().map(|guest| guest.template).collect::<Vec<_>>(), [0]);
    assert_eq!(read.flow.marks[Mark::ClientHello as usize], Some(1));
    assert_eq!(read.flow.marks[Mark::ServerHello as usize], Some(2));
    let told = ["version", "dcil", "scil", "token_length", "retry", "client.initials", "server.initials", "unopened"];
    let told = told.map(|name| read.number(&format!("quic.{name}")).unwrap());
    assert_eq!(told, [1, 8, 6, 0, 0, 1, 1, 0]);
    let parameters = ["max_idle_timeout", "initial_max_data", "initial_max_streams_bidi", "max_udp_payload_size"];
    let parameters = parameters.map(|name| read.number(&format!("quic.parameter.{name}")));
    assert_eq!(parameters, [Some(30_000), Some(0x10_0000), Some(100), None]);
}

#[test]
fn every_readable_version_is_read() {
    for version in [1, 0x6b33_43cf, 0xff00_0016, 0xff00_001b, 0xff00_001d, 0xff00_0022, 0xface_b002] {
        let [client, server] = [
            Initial { version, ..Initial::client(ORIGIN) }.with(&crypto(0, &hello())),
            Initial { version, ..Initial::server(ORIGIN) }.with(&crypto(0, &server_hello())),
        ];
        let read = Read::of(&Talk::udp().forward(&client).backward(&server));
        assert!(read.is_whole(), "{version:x}");
        assert_eq!(read.number("quic.version"), Some(version.into()));
    }
}

/// RFC 9368 section 2.3: the client offers the first version, the server goes on in the second, with keys of the same
/// id.
#[test]
fn a_server_may_answer_in_another_version() {
    let server = Initial { version: 0x6b33_43cf, ..Initial::server(ORIGIN) }.with(&crypto(0, &server_hello()));
    let read = Read::of(&Talk::udp().forward(&client()).backward(&server));
    assert_eq!((read.is_whole(), read.number("quic.unopened")), (true, Some(0)));
}

#[test]
fn a_hello_may_be_spread_in_any_order() {
    let hello = hello();
    let (first, second) = hello.split_at(70);
    let later = Initial { number: 1, destination: b"server", ..Initial::client(ORIGIN) };
    let pieces = [
        later.with(&[&crypto(90, &second[20..])[..], b"\x01", &crypto(75, &second[5..])].concat()),
        Initial::client(ORIGIN).with(&[crypto(40, &first[40..]), crypto(0, &first[..50])].concat()),
        Initial { number: 2, ..later.clone() }.with(&crypto(60, &hello[60..80])),
    ];
    for order in [[1, 0, 2], [1, 2, 0], [0, 1, 2], [2, 0, 1]] {
        let mut talk = Talk::udp();
        for at in order {
            talk = talk.forward(&pieces[at]);
        }
        let read = Read::of(&talk.backward(&server()));
        assert!(read.is_whole(), "{order:?}");
        // The packet that brought its first byte.
        let first = order.iter().position(|at| *at == 1).unwrap() as u64 + 1;
        assert_eq!(read.flow.marks[Mark::ClientHello as usize], Some(first), "{order:?}");
    }
}

#[test]
fn packets_share_a_datagram() {
    let small = Initial { size: 0, ..Initial::client(ORIGIN) };
    let hello = hello();
    let both = [
        small.with(&crypto(0, &hello[..50])),
        Initial { number: 1, ..small.clone() }.with(&crypto(50, &hello[50..])),
        // A Handshake packet, and something with a short header.
        [&b"\xe0\0\0\0\x01\x06server\x06client\x20"[..], &[9; 32], b"\x41short"].concat(),
    ]
    .concat();
    let read = Read::of(&Talk::udp().forward(&both).backward(&server()));
    assert_eq!((read.is_whole(), read.number("quic.client.initials")), (true, Some(2)));
}

#[test]
fn damaged_packets_are_passed_over() {
    let mut damaged = client();
    damaged[700] ^= 1;
    let again = Initial { number: 1, ..Initial::client(ORIGIN) }.with(&crypto(0, &hello()));
    let read = Read::of(&Talk::udp().forward(&damaged).forward(&again).backward(&server()));
    assert!(read.is_whole());
    assert_eq!((read.number("quic.unopened"), read.number("quic.client.initials")), (Some(1), Some(2)));
    // A server alone opens nothing, but is recognised.
    let read = Read::of(&Talk::udp().backward(&server()));
    assert_eq!((read.flow.template, read.said("client"), read.said("server")), (Some(1), &[][..], &[][..]));
    assert_eq!(read.number("quic.unopened"), Some(1));
}

#[test]
fn a_client_that_is_sent_away_has_other_keys() {
    let retry = [&b"\xff\0\0\0\x01\x06client\x08new name"[..], b"token", &[3; 16]].concat();
    let again = Initial { destination: b"new name", token: b"token", number: 1, ..Initial::client(b"new name") };
    let answer = Initial::server(b"new name").with(&crypto(0, &server_hello()));
    let talk = Talk::udp().forward(&client()).backward(&retry).forward(&again.with(&crypto(0, &hello())));
    let read = Read::of(&talk.clone().backward(&answer));
    assert_eq!((read.is_whole(), read.number("quic.retry")), (true, Some(1)));
    assert_eq!((read.number("quic.token_length"), read.number("quic.unopened")), (Some(5), Some(0)));
    // The hello behind the Retry is the one that was answered.
    assert_eq!(read.flow.marks[Mark::ClientHello as usize], Some(3));
    let read = Read::with("connection_ids = 1", &talk);
    assert_eq!((read.number("quic.limit.connection_ids"), read.is_read(&[])), (Some(1), true));
}

#[test]
fn a_client_that_is_refused_its_version_begins_anew() {
    let versions = b"\x80\0\0\0\0\x06client\x08original\x1a\x2a\x3a\x4a\xff\0\0\x1d";
    let other = client_hello("b.example", PARAMETERS);
    let again = Initial { version: 0xff00_001d, ..Initial::client(b"another1") }.with(&crypto(0, &other));
    let answer = Initial { version: 0xff00_001d, ..Initial::server(b"another1") }.with(&crypto(0, &server_hello()));
    let read = Read::of(&Talk::udp().forward(&client()).backward(versions).forward(&again).backward(&answer));
    assert_eq!((read.said("client"), read.said("server")), (&other[..], &server_hello()[..]));
    assert_eq!(read.number("quic.version_negotiation"), Some(1));
}

#[test]
fn the_client_is_the_originator() {
    let read = Read::of(&Talk::udp().backward(&client()).forward(&server()));
    assert_eq!((read.flow.originator.port, read.is_whole()), (443, true));
    // Also where the answer comes first.
    let read = Read::of(&Talk::udp().forward(&server()).backward(&client()).forward(b"\x40x"));
    assert_eq!((read.flow.originator.port, read.is_whole()), (443, true));
    assert_eq!((read.number("quic.client.initials"), read.number("quic.server.initials")), (Some(1), Some(1)));
    assert_eq!(read.flow.marks[Mark::ServerHello as usize], Some(1));
}

#[test]
fn old_versions_of_google_are_recognised() {
    for packet in [&b"\xc3Q050\x08original\0\0"[..], b"\x0doriginalQ039\x01"] {
        let read = Read::of(&Talk::udp().forward(packet).backward(b"whatever"));
        assert_eq!((read.flow.template, read.number("quic.dcil"), read.said("client")), (Some(1), None, &[][..]));
        assert_eq!(read.number("quic.version").unwrap() >> 16, 0x5130);
    }
}

#[test]
fn a_hello_that_is_cut_is_read_as_far_as_it_goes() {
    let cut = Initial::client(ORIGIN).with(&crypto(0, &hello()[..90]));
    assert_eq!(Read::of(&Talk::udp().forward(&cut)).said("client"), &hello()[..90]);
}

#[test]
fn limits_are_told() {
    let spread: Vec<Vec<u8>> = (0u32..)
        .zip(hello().chunks(40))
        .map(|(number, part)| Initial { number, ..Initial::client(ORIGIN) }.with(&crypto(number as usize * 40, part)))
        .collect();
    let talk = || spread.iter().fold(Talk::udp(), |talk, datagram| talk.forward(datagram));
    assert_eq!(Read::of(&talk()).number("quic.limit.packets"), None);
    let read = Read::with("packets = 2", &talk());
    assert_eq!((read.number("quic.limit.packets"), read.said("client")), (Some(1), &hello()[..80]));
    let far = Initial::client(ORIGIN).with(&[crypto(0, &hello()), crypto(2000, b"x")].concat());
    let read = Read::with("crypto_bytes = 512", &Talk::udp().forward(&far));
    assert_eq!((read.number("quic.limit.crypto_bytes"), read.is_read(&[])), (Some(1), true));
    let named = client_hello("a.example", b"\x71\x29\x0bChrome/99.0");
    let named = Initial::client(ORIGIN).with(&crypto(0, &named));
    let has_print = |settings| Read::with(settings, &Talk::udp().forward(&named)).value("quic.fingerprint").is_some();
    assert_eq!((has_print(""), has_print("fingerprints = true")), (false, true));
    let read = Read::with("user_agent_bytes = 6", &Talk::udp().forward(&named));
    assert_eq!(
        (read.value("quic.user_agent"), read.number("quic.limit.user_agent_bytes")),
        (Some(Value::Bytes(b"Chrome")), Some(1))
    );
    for wrong in ["packets = 0", "crypto_bytes = 1", "connection_ids = 65", "user_agent_bytes = 0", "other = 1"] {
        assert!(crate::Quic::create(Settings::new(wrong)).is_err(), "{wrong}");
    }
}

/// The tree of one exchange, as a golden that can be read.
#[test]
fn a_tree_for_people() {
    let (client, server) =
        (client(), [server(), [&b"\xe0\0\0\0\x01\x06client\x06server\x20"[..], &[9; 32]].concat()].concat());
    let (first, second) = (client.len() as u32, server.len() as u32);
    let view = StreamView {
        forward: &client,
        backward: &server,
        datagram_ends: [&[first], &[second]],
        carrier: Carrier::Udp,
        ..StreamView::default()
    };
    let (templates, _) = templates("");
    let tree = Tree::of(&*templates[1], &view);
    assert!(tree.is_whole());
    let lines = tree.nodes.iter().map(|node| {
        let indent = "  ".repeat(node.depth.into());
        format!("{indent}{}{}{}\n", node.label, if node.value.is_empty() { "" } else { ": " }, node.value)
    });
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/dissect.txt");
    veilwatch_testkit::golden(path, &lines.collect::<String>());
}

/// Flows of any datagrams, by the table itself: nothing panics, nothing fails.
fn harmless(datagrams: &[(bool, Vec<u8>)]) {
    let (templates, _) = templates("");
    let talk = datagrams.iter().fold(
        Talk::udp(),
        |talk, (forth, bytes)| {
            if *forth { talk.forward(bytes) } else { talk.backward(bytes) }
        },
    );
    let mut table = FlowTable::new(FlowLimits::default(), 1);
    for (number, packet) in (1..).zip(talk.packets()) {
        table.push(number, packet.time_ns, &talk.decoded(packet), &templates);
    }
    table.finish_all(0, &templates);
    assert_eq!((table.take_finished().len(), table.counters().template_errors), (1, 0));
}

proptest! {
    #[test]
    fn any_datagrams_are_harmless(
        datagrams in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 1..80)), 1..6),
        version in prop::sample::select(vec![0u32, 1, 0x6b33_43cf, 0xff00_001d, 0x5130_3433]),
    ) {
        let with_version = datagrams.into_iter().map(|(forth, mut bytes)| {
            bytes[0] |= 0xc0;
            bytes.splice(1..bytes.len().min(5), version.to_be_bytes());
            (forth, bytes)
        });
        harmless(&with_version.collect::<Vec<_>>());
    }

    #[test]
    fn changed_packets_are_harmless(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        frames in prop::collection::vec(any::<u8>(), 0..60),
        swap in any::<bool>(),
    ) {
        let mut first = client();
        for (at, byte) in &changes {
            let at = at.index(first.len());
            first[at] ^= byte;
        }
        let second = client()[..=cut.index(1199)].to_vec();
        // Frames at random, sealed as they should be.
        let third = Initial { number: 3, ..Initial::client(ORIGIN) }.with(&frames);
        let all = [(!swap, first), (!swap, second), (swap, server()), (!swap, third), (!swap, client())];
        harmless(&all);
    }
}
