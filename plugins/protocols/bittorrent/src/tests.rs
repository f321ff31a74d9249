use crate::declarations;
use proptest::prelude::*;
use veilwatch_testkit::conformance::{Options, check};
use veilwatch_testkit::golden;
use veilwatch_testkit::talk::{Talk, Wired, tree_lines};

/// A handshake for the hash `aa…aa`, of a peer with this name.
fn handshake(peer: &[u8; 20]) -> Vec<u8> {
    [&b"\x13BitTorrent protocol"[..], &[0; 8], &[0xaa; 20], peer].concat()
}

/// BEP 5's example of a question for peers.
const GET_PEERS: &[u8] =
    b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe";

fn template() -> Wired {
    Wired::new(&declarations()[0], "").unwrap()
}

#[test]
fn it_conforms() {
    let samples = vec![[handshake(b"-TR4050-abcdefghijkl"), handshake(b"-qB4650-abcdefghijkl")]];
    let report = check(&declarations()[0], &Options { samples, draws: true, ..Options::default() });
    assert!(report.passed(), "{report}");
}

#[test]
fn peers_and_the_table() {
    let template = template();
    let talk = Talk::tcp().open().segments(30).forward(&handshake(b"-TR4050-abcdefghijkl"));
    let told = template.read(&talk.backward(&handshake(b"-qB4650-abcdefghijkl")).forward(b"\0\0\0\x01\x02"));
    assert_eq!(told.text("bittorrent.info_hash"), Some("aa".repeat(20).as_str()));
    assert_eq!((told.text("bittorrent.peer"), told.text("bittorrent.answer")), (Some("-TR4050-"), Some("-qB4650-")));
    let told = template.read(&Talk::udp().forward(GET_PEERS));
    assert_eq!(told.text("bittorrent_dht.request_type"), Some("get_peers"));
    let told = template.read(&Talk::udp().forward(b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re"));
    assert!(told.recognised() && told.text("bittorrent_dht.request_type").is_none());
}

#[test]
fn what_is_drawn_of_conversations() {
    let mut able = handshake(b"-qB4650-abcdefghijkl");
    (able[25], able[27]) = (0x10, 5);
    let messages = b"\0\0\0\0\0\0\0\x01\x02\0\0\0\x05\x04\0\0\0\x01\0\0\0\x20\x14";
    let answer = b"d1:rd2:id20:mnopqrstuvwxyz1234565:token2:\x01\x025:nodes0:6:valuesl6:axje.uee1:t2:aa1:y1:re";
    let error = b"d1:eli201e5:Wronge1:t2:aa1:y1:ee";
    let mut text = String::new();
    for (name, talk) in [
        ("peers", Talk::tcp().forward(&handshake(b"-TR4050-abcdefghijkl")).backward(&[&able[..], messages].concat())),
        ("half a handshake", Talk::tcp().forward(&able[..40]).backward(b"HTTP/1.1 400")),
        ("the DHT", Talk::udp().forward(GET_PEERS).backward(answer).forward(GET_PEERS).backward(error)),
        ("cut off", Talk::udp().forward(&GET_PEERS[..40]).backward(b"lll")),
    ] {
        let tree = template().tree(&talk);
        assert!(tree.is_whole(), "{name}");
        text.push_str(&format!("## {name}\n{}\n", tree_lines(&tree)));
    }
    golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tree.txt"), &text);
    let deep = Talk::udp().forward("l".repeat(5000).as_bytes()).backward("d1:a".repeat(5000).as_bytes());
    assert!(template().tree(&deep).is_whole());
}

#[test]
fn leaves_others_alone() {
    let template = template();
    for other in [&b"\x13BitTorrent protocal"[..], b"d1:ad2:id20:abc", b"d3:foo3:bare", b"GET /announce?"] {
        for talk in [Talk::udp(), Talk::tcp()] {
            assert!(!template.read(&talk.forward(other)).recognised(), "{other:?}");
        }
    }
}

proptest! {
    #[test]
    fn whatever_comes(changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6), cut in 0usize..90, more in prop::collection::vec(any::<u8>(), 0..90)) {
        for (mut said, talk) in [(GET_PEERS.to_vec(), Talk::udp()), (handshake(b"-TR4050-abcdefghijkl"), Talk::tcp())] {
            for (at, byte) in &changes {
                let at = at % said.len();
                said[at] = *byte;
            }
            said.truncate(cut.max(1));
            let talk = talk.forward(&said).backward(&more);
            prop_assert_eq!(template().read(&talk).errors, 0);
            let tree = template().tree(&talk);
            prop_assert!(!tree.nodes.is_empty() && !tree.outside && !tree.unbalanced);
        }
    }
}
