//! Conversations, read by the template as a pipeline has it, with one behind it that writes handshakes down.

use crate::declarations;
use crate::handshake::{CLIENT_HELLO, HELLO_VERIFY_REQUEST, SERVER_HELLO};
use crate::record::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE};
use crate::template::wanted;
use crate::testing::{client_hello, fragment, record, server_hello, verify_request};
use proptest::prelude::*;
use veilwatch_core::flow::{Direction, Templates};
use veilwatch_core::plugin::dissect::Tree;
use veilwatch_core::plugin::{Carrier, Instance, ProtocolTemplate, Settings, StreamView};
use veilwatch_core::record::{FieldId, FieldSpec, FieldTable, Value};
use veilwatch_testkit::conformance::assert_conforms;
use veilwatch_testkit::golden;
use veilwatch_testkit::scribe::Scribe;
use veilwatch_testkit::talk::Talk;

/// Both templates, wired, with the names of their fields.
fn templates(settings: &str) -> (Templates, FieldTable) {
    let mut fields = FieldTable::new();
    let Ok(Instance::Protocol(dtls)) = (declarations()[0].create)(Settings::new(settings)) else {
        panic!("no template")
    };
    let mut templates = vec![Box::<Scribe>::default() as Box<dyn ProtocolTemplate>, dtls];
    for template in &mut templates {
        let ids: Vec<_> = template.fields().into_iter().map(|spec| fields.declare(spec, "t").unwrap()).collect();
        template.wire(&ids).unwrap();
    }
    (Templates::new(templates), fields)
}

/// All that is told of a talk, a line each.
fn told_with(settings: &str, talk: &Talk) -> String {
    let (templates, fields) = templates(settings);
    let (flow, errors) = talk.flow_and_errors(&templates);
    assert_eq!(errors, 0);
    let line = |(id, spec): (FieldId, &FieldSpec)| {
        Some(match flow.fields.get(id)? {
            Value::Bytes(bytes) => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("{} {hex}\n", spec.name)
            }
            Value::U64(number) => format!("{} {number}\n", spec.name),
            other => format!("{} {other:?}\n", spec.name),
        })
    };
    fields.declared().filter_map(line).collect()
}

fn told(talk: &Talk) -> String {
    told_with("", talk)
}

fn whole(kind: u8, sequence: u16, body: &[u8]) -> Vec<u8> {
    record(HANDSHAKE, 0, &fragment(kind, sequence, body, 0..body.len()))
}

fn certificate() -> Vec<u8> {
    (0..=255).cycle().take(2000).collect()
}

/// A handshake with a cookie, whose certificate comes in three fragments.
fn conversation(order: &[usize]) -> Talk {
    let certificate = certificate();
    let parts = [0..700, 700..1400, 1400..2000].map(|part| record(HANDSHAKE, 0, &fragment(11, 2, &certificate, part)));
    let finished = [record(CHANGE_CIPHER_SPEC, 0, &[1]), record(HANDSHAKE, 1, &[9; 48])].concat();
    let talk = Talk::udp()
        .forward(&whole(CLIENT_HELLO, 0, &client_hello(b"")))
        .backward(&whole(HELLO_VERIFY_REQUEST, 0, &verify_request(b"a cookie")))
        .forward(&whole(CLIENT_HELLO, 1, &client_hello(b"a cookie")))
        .backward(&whole(SERVER_HELLO, 1, &server_hello()));
    let talk = order.iter().fold(talk, |talk, part| talk.backward(&parts[*part]));
    talk.backward(&whole(14, 3, &[]))
        .forward(&[whole(16, 2, &[5; 33]), finished.clone()].concat())
        .backward(&finished)
        .forward(&record(APPLICATION_DATA, 1, &[3; 60]))
        .backward(&record(APPLICATION_DATA, 1, &[3; 60]))
}

#[test]
fn it_conforms() {
    assert_conforms(declarations());
}

/// A conversation from beginning to end, held against a file.
#[test]
fn a_handshake_with_a_cookie() {
    let text = told(&conversation(&[0, 1, 2]));
    // The certificate is long: its beginning will do.
    let short = |line: &str| format!("{}, {} characters\n", line.get(..300).unwrap_or(line), line.len());
    let lines: String = text.lines().map(short).collect();
    golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/handshake.txt"), &lines);
    // Fragments in any order say the same, and so do they when they are sent again.
    for order in [[2, 1, 0], [1, 2, 0]] {
        assert_eq!(told(&conversation(&order)), text, "{order:?}");
    }
    let again = told(&conversation(&[0, 0, 2, 1, 1]));
    assert_eq!(again.replace("dtls.repeated 2\n", ""), text);
}

#[test]
fn a_fragment_that_is_missing_hides_its_message_alone() {
    let text = told(&conversation(&[0, 2]));
    let server = text.lines().find_map(|line| line.strip_prefix("scribe.server ")).unwrap();
    // What is behind it comes first then, and of it what stands before the hole.
    let body: String = certificate()[..700].iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(server.starts_with("0200002d") && server.ends_with(&format!("0e0000000b0007d0{body}")), "{server}");
}

#[test]
fn alerts_and_a_server_that_begins() {
    let hello = whole(CLIENT_HELLO, 0, &client_hello(b""));
    let talk = Talk::udp().backward(&hello).forward(&record(ALERT, 0, &[2, 40]));
    let straight = Talk::udp().forward(&hello).backward(&record(ALERT, 0, &[2, 40]));
    let text = told(&straight);
    assert_eq!(told(&talk), text);
    assert!(
        text.contains("dtls.server.alerts 1\ndtls.last_alert 552\n") && text.contains("scribe.client 01"),
        "{text}"
    );
}

#[test]
fn what_is_encrypted_tells_little() {
    let data = record(APPLICATION_DATA, 1, &[3; 60]);
    let with_id = record(25, 1, &[3; 60]);
    let text = told(&Talk::udp().forward(&data).backward(&with_id).forward(&data));
    let expected = "dtls.record_version 65277\ndtls.client.epoch 1\ndtls.server.epoch 1\ndtls.connection_id 1\n";
    assert_eq!(text, expected);
}

#[test]
fn a_hello_of_dtls_13() {
    let hello = whole(CLIENT_HELLO, 0, &client_hello(b""));
    let server = [whole(SERVER_HELLO, 0, &server_hello()), vec![0x2e; 90]].concat();
    let text = told(&Talk::udp().forward(&hello).backward(&server).forward(&[0x2e; 60]));
    assert!(text.contains("dtls.server.epoch 2\n") && text.contains("scribe.server 02"), "{text}");
}

#[test]
fn settings_bound_what_is_read_and_say_so() {
    let talk = conversation(&[0, 1, 2]);
    for (setting, least) in [("handshake_bytes", 1024), ("messages", 2), ("fragments", 3)] {
        let text = told_with(&format!("{setting} = {least}"), &talk);
        let reached: Vec<_> = text.lines().filter(|line| line.starts_with("dtls.limit.")).collect();
        assert_eq!(reached, [format!("dtls.limit.{setting} 1")]);
    }
    let Err(error) = (declarations()[0].create)(Settings::new("messages = 1")) else { panic!("one message") };
    assert!(error.to_string().contains("messages"), "{error}");
}

/// Of a flow of many small datagrams the first ones are known, and no more is asked for behind them.
#[test]
fn datagrams_past_those_that_are_known_are_not_waited_for() {
    let alert = record(ALERT, 0, &[1, 90]);
    let talk = (0..100).fold(Talk::udp(), |talk, _| talk.forward(&alert).backward(&alert));
    let text = told(&talk);
    let alerts = text.lines().find_map(|line| line.strip_prefix("dtls.client.alerts ")?.parse::<u32>().ok()).unwrap();
    assert!((32..100).contains(&alerts), "{text}");
    let (bytes, ends) = (alert.repeat(3), [15, 30]);
    let view =
        StreamView { forward: &bytes, backward: &bytes[..30], datagram_ends: [&ends; 2], ..StreamView::default() };
    assert_eq!([Direction::Forward, Direction::Backward].map(|side| wanted(&view, side)), [usize::MAX, 31]);
}

/// A stream of these datagrams, drawn.
fn drawn(forward: &[Vec<u8>], backward: &[Vec<u8>]) -> Tree {
    let joined = [forward, backward].map(|datagrams| datagrams.concat());
    let ends = [forward, backward].map(|datagrams| {
        let end = |end: &mut u32, datagram: &Vec<u8>| {
            *end += datagram.len() as u32;
            Some(*end)
        };
        datagrams.iter().scan(0, end).collect::<Vec<_>>()
    });
    let view = StreamView {
        forward: &joined[0],
        backward: &joined[1],
        carrier: Carrier::Udp,
        datagram_ends: [&ends[0], &ends[1]],
        ..StreamView::default()
    };
    let (templates, _) = templates("");
    Tree::of(templates[1].as_ref(), &view)
}

#[test]
fn people_see_records_and_fragments() {
    let tree = drawn(
        &[whole(CLIENT_HELLO, 1, &client_hello(b"cookie")), record(APPLICATION_DATA, 1, &[3; 60])],
        &[
            whole(HELLO_VERIFY_REQUEST, 0, &verify_request(b"cookie")),
            [record(HANDSHAKE, 0, &fragment(11, 2, &certificate(), 700..900)), record(ALERT, 0, &[1, 0])].concat(),
            vec![0x2f; 40],
        ],
    );
    assert!(tree.is_whole());
    let lines: String = tree
        .nodes
        .iter()
        .map(|node| format!("{}{}: {}\n", "  ".repeat(node.depth.into()), node.label, node.value))
        .collect();
    golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/dissect.txt"), &lines);
}

proptest! {
    #[test]
    fn damage_never_panics(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in any::<prop::sample::Index>(),
    ) {
        let certificate = certificate();
        let mut said = [
            whole(CLIENT_HELLO, 0, &client_hello(b"cookie")),
            whole(SERVER_HELLO, 1, &server_hello()),
            record(HANDSHAKE, 0, &fragment(11, 2, &certificate, 100..900)),
            record(APPLICATION_DATA, 1, &[3; 60]),
        ];
        for (datagram, at, byte) in damage {
            let datagram = &mut said[datagram.index(4)];
            let at = at.index(datagram.len());
            datagram[at] = byte;
        }
        let len = said[1].len();
        said[1].truncate(cut.index(len).max(1));
        let talk = said.iter().enumerate().fold(Talk::udp(), |talk, (at, datagram)| {
            talk.say(if at % 2 == 0 { Direction::Forward } else { Direction::Backward }, datagram)
        });
        let (templates, _) = templates("");
        // What damage makes of a beginning may be no DTLS any more.
        prop_assert_eq!(talk.flow_and_errors(&templates).1, 0);
        let tree = drawn(&said[..2], &said[2..]);
        prop_assert!(!tree.unbalanced && tree.failed.is_none() && !tree.outside);
    }
}
