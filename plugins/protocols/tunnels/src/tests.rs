use crate::declarations;
use proptest::prelude::*;
use veilwatch_testkit::conformance::{Options, assert_conforms, check};
use veilwatch_testkit::golden;
use veilwatch_testkit::talk::{Talk, Wired, tree_lines};

fn template(name: &str) -> Wired {
    let declarations = declarations();
    Wired::new(declarations.iter().find(|one| one.manifest.name == name).unwrap(), "").unwrap()
}

fn message(kind: u8, len: usize) -> Vec<u8> {
    let mut message = vec![7; len];
    message[..4].copy_from_slice(&[kind, 0, 0, 0]);
    message
}

#[test]
fn they_conform() {
    let with_length = |packet: &[u8]| [&(packet.len() as u16).to_be_bytes()[..], packet].concat();
    let samples = vec![[with_length(&reset("plain")), with_length(b"\x40aaaaaaaa")]];
    assert_conforms(declarations());
    let report = check(&declarations()[1], &Options { samples, draws: true, ..Options::default() });
    assert!(report.passed(), "{report}");
}

#[test]
fn wireguard_has_its_lengths() {
    let template = template("wireguard");
    let told = template.read(&Talk::udp().forward(&message(1, 148)).backward(&message(2, 92)).forward(&message(4, 32)));
    assert_eq!((told.number("wg.type"), told.number("wg.answer")), (Some(1), Some(2)));
    let mut data = message(4, 96);
    data[8..16].copy_from_slice(&[9, 1, 0, 0, 0, 0, 0, 0]);
    assert!(template.read(&Talk::udp().forward(&data)).recognised());
    data[15] = 1;
    for other in [message(1, 147), message(2, 148), message(3, 65), message(5, 148), message(4, 33), data] {
        assert!(!template.read(&Talk::udp().forward(&other)).recognised(), "{other:?}");
    }
    assert!(!template.read(&Talk::tcp().forward(&message(1, 148))).recognised());
}

/// A client's reset, wrapped in each way.
fn reset(wrapping: &str) -> Vec<u8> {
    let begin = |opcode: u8| [&[opcode][..], b"session!"].concat();
    let code = [0xaa; 32];
    let number = b"\0\0\0\x01\x65\x00\x00\x00";
    match wrapping {
        "plain" => [begin(0x38), vec![0; 5]].concat(),
        "tls-auth" => [begin(0x38), code[..20].to_vec(), number.to_vec(), vec![0; 5]].concat(),
        "tls-crypt" => [begin(0x38), number.to_vec(), code.to_vec(), vec![3; 5]].concat(),
        _ => [begin(0x50), number.to_vec(), code.to_vec(), vec![3; 300]].concat(),
    }
}

#[test]
fn openvpn_tells_its_wrapping() {
    let template = template("openvpn");
    for wrapping in ["plain", "tls-auth", "tls-crypt", "tls-crypt-v2"] {
        let packet = reset(wrapping);
        let told = template.read(&Talk::udp().forward(&packet).forward(b"\x20more").backward(b"\x40aaaaaaaa"));
        assert_eq!((told.text("openvpn.wrapping"), told.number("openvpn.answer")), (Some(wrapping), Some(8)));
        let framed = [&(packet.len() as u16).to_be_bytes()[..], &packet].concat();
        let told = template.read(&Talk::tcp().open().segments(5).forward(&framed).backward(b"\0\x09\x40aaaaaaaa"));
        assert_eq!((told.text("openvpn.wrapping"), told.number("openvpn.answer")), (Some(wrapping), Some(8)));
        let opcode = if wrapping == "tls-crypt-v2" { 10 } else { 7 };
        assert_eq!(told.number("openvpn.opcode"), Some(opcode));
    }
    for other in [&reset("plain")[..13], &[reset("plain"), vec![0]].concat(), b"8", &[0x38; 54], &[0x50; 400]] {
        assert!(!template.read(&Talk::udp().forward(other)).recognised(), "{other:?}");
    }
}

#[test]
fn what_is_drawn_of_conversations() {
    // A server's reset that acknowledges message 0, and more: an acknowledgement, a ClientHello, data.
    let answer = b"\x40reverses\x01\0\0\0\0session!\0\0\0\0";
    let acknowledged = b"\x28session!\x01\0\0\0\0reverses";
    let control = b"\x20session!\0\0\0\0\x01\x16\x03\x01";
    let data = b"\x48\0\0\x07encrypted";
    let signed = [&b"\x40reverses"[..], &[0xbb; 20], b"\0\0\0\x01\x65\x00\x00\x00\0\0\0\0\0"].concat();
    let framed = |packet: &[u8]| [&(packet.len() as u16).to_be_bytes()[..], packet].concat();
    let mut text = String::new();
    for (name, what, talk) in [
        ("wireguard", "a handshake", {
            let talk = Talk::udp().forward(&message(1, 148)).backward(&message(2, 92)).forward(&message(4, 32));
            talk.backward(&message(3, 64)).forward(&message(1, 50)).forward(b"\x09\0\0\0more")
        }),
        (
            "openvpn",
            "plain",
            Talk::udp().forward(&reset("plain")).backward(answer).forward(acknowledged).forward(control).backward(data),
        ),
        (
            "openvpn",
            "signed",
            Talk::udp().forward(&reset("tls-auth")).backward(&signed).forward(&reset("tls-auth")[..20]),
        ),
        ("openvpn", "wrapped", Talk::udp().forward(&reset("tls-crypt"))),
        ("openvpn", "wrapped with a key", Talk::udp().forward(&reset("tls-crypt-v2"))),
        ("openvpn", "over TCP", Talk::tcp().forward(&framed(&reset("plain"))).backward(&framed(answer)[..20])),
    ] {
        let tree = template(name).tree(&talk);
        assert!(tree.is_whole(), "{name}, {what}");
        text.push_str(&format!("## {name}: {what}\n{}\n", tree_lines(&tree)));
    }
    golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tree.txt"), &text);
}

proptest! {
    /// Whatever is changed, cut or made up: nobody fails, and noise is nobody's.
    #[test]
    fn whatever_comes(
        which in 0usize..5, changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6), noise in prop::collection::vec(any::<u8>(), 1..200),
        udp in any::<bool>(),
    ) {
        let wrappings = ["plain", "tls-auth", "tls-crypt", "tls-crypt-v2"];
        let mut said = wrappings.get(which).map_or_else(|| message(1, 148), |wrapping| reset(wrapping));
        for (at, byte) in changes {
            let at = at % said.len();
            said[at] = byte;
        }
        let talk = || if udp { Talk::udp() } else { Talk::tcp() };
        for name in ["wireguard", "openvpn"] {
            let template = template(name);
            prop_assert_eq!(template.read(&talk().forward(&said).backward(&noise)).errors, 0);
            let tree = template.tree(&talk().forward(&said).backward(&noise));
            prop_assert!(!tree.nodes.is_empty() && !tree.outside && !tree.unbalanced);
            prop_assert!(!template.read(&talk().forward(&noise)).recognised());
        }
    }
}
