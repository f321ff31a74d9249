use crate::declarations;
use crate::side::Side;
use proptest::prelude::*;
use veilwatch_testkit::conformance::{Options, check};
use veilwatch_testkit::golden;
use veilwatch_testkit::talk::{Talk, Told, Wired, tree_lines};

/// A KEXINIT with these lists: key exchanges, host keys, ciphers, MACs and compressions both ways, no languages.
fn kexinit(lists: [&str; 8]) -> Vec<u8> {
    let mut payload = [&[20][..], &[7; 16]].concat();
    for list in lists.into_iter().chain(["", ""]) {
        payload.extend((list.len() as u32).to_be_bytes());
        payload.extend(list.as_bytes());
    }
    payload.extend([0; 5]);
    packet(&payload)
}

/// A packet without encryption: its length, that of four bytes of padding, and these.
fn packet(payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32 + 5).to_be_bytes()[..], &[4], payload, &[0; 4]].concat()
}

fn client() -> Vec<u8> {
    let offer = kexinit([
        "curve25519-sha256,ecdh-sha2-nistp256",
        "ssh-ed25519",
        "aes128-ctr,aes256-gcm@openssh.com",
        "aes128-ctr",
        "hmac-sha2-256",
        "hmac-sha1",
        "none,zlib",
        "none",
    ]);
    [&b"SSH-2.0-OpenSSH_9.6 Debian-1\r\n"[..], &offer].concat()
}

fn server() -> Vec<u8> {
    let offer = kexinit([
        "curve25519-sha256",
        "rsa-sha2-512,ssh-ed25519",
        "aes128-ctr",
        "aes256-gcm@openssh.com",
        "hmac-sha1",
        "hmac-sha2-512,hmac-sha2-256",
        "zlib",
        "none",
    ]);
    // A debug message may come before.
    [&b"SSH-2.0-libssh_0.10\n"[..], &packet(b"\x04\0"), &offer].concat()
}

fn template() -> Wired {
    Wired::new(&declarations()[0], "").unwrap()
}

fn talk() -> Talk {
    Talk::tcp().between("10.0.0.1:50000", "192.0.2.1:22").open()
}

fn hashes<'a>(told: &'a Told<'_>) -> [Option<&'a str>; 2] {
    ["ssh.client.hassh.hash", "ssh.server.hassh.hash"].map(|name| told.text(name))
}

#[test]
fn it_conforms() {
    let samples = vec![[client(), server()], [client(), [b"Welcome.\r\n", &server()[..]].concat()]];
    let report = check(&declarations()[0], &Options { samples, draws: true, ..Options::default() });
    assert!(report.passed(), "{report}");
}

/// MD5 of `curve25519-sha256,ecdh-sha2-nistp256;aes128-ctr,aes256-gcm@openssh.com;hmac-sha2-256;none,zlib`, and of
/// `curve25519-sha256;aes256-gcm@openssh.com;hmac-sha2-512,hmac-sha2-256;none`.
const HASHES: [&str; 2] = ["422ee74a94a71ac0996822b3ef6ad33e", "ee37907147039bf79e91746a734acd81"];

#[test]
fn reads_both_sides() {
    let template = template();
    // Servers often speak first.
    let told = template.read(&talk().backward(&server()).forward(&client()));
    let text = |name: &str| told.text(name);
    assert_eq!(text("ssh.client.proto_version"), Some("2.0"));
    assert_eq!(
        (text("ssh.client.software_version"), text("ssh.client.comments")),
        (Some("OpenSSH_9.6"), Some("Debian-1"))
    );
    assert_eq!((text("ssh.server.software_version"), text("ssh.server.comments")), (Some("libssh_0.10"), None));
    assert_eq!(text("ssh.client.host_keys"), Some("ssh-ed25519"));
    assert_eq!(text("ssh.client.ciphers"), Some("aes128-ctr,aes256-gcm@openssh.com"));
    assert_eq!(text("ssh.server.ciphers"), Some("aes256-gcm@openssh.com"));
    assert_eq!(
        (text("ssh.server.macs"), text("ssh.server.compressions")),
        (Some("hmac-sha2-512,hmac-sha2-256"), Some("none"))
    );
    assert_eq!(hashes(&told), HASHES.map(Some));
    assert_eq!(told.errors, 0);
}

#[test]
fn what_is_drawn_of_conversations() {
    let keys = [packet(b"\x1eclient's key"), packet(b"\x15"), b"no longer in clear".to_vec()].concat();
    let leaves = [&b"SSH-2.0-a\r\n"[..], &packet(b"\x01\0\0\0\x02\0\0\0\x05wrong\0\0\0\0")].concat();
    let mut text = String::new();
    for (name, talk) in [
        ("both sides", talk().forward(&[client(), keys].concat()).backward(&[b"Welcome.\r\n", &server()[..]].concat())),
        ("cut off, and no packets", talk().forward(&client()[..150]).backward(b"SSH-1.5-old\n\0\0\0\x0a")),
        ("somebody leaves", talk().forward(&leaves).backward(b"SSH-2.0-b\r\n\xff\xff\xff\xff")),
    ] {
        let tree = template().tree(&talk);
        assert!(tree.is_whole(), "{name}");
        text.push_str(&format!("## {name}\n{}\n", tree_lines(&tree)));
    }
    golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tree.txt"), &text);
}

/// As some servers do, before they have heard of the client.
#[test]
fn a_server_may_greet_first() {
    let template = template();
    let greeting = [&b"Authorised users only.\r\nAll else is logged.\r\n"[..], &server()].concat();
    let told = template.read(&talk().backward(&greeting).forward(&client()));
    assert_eq!((told.text("ssh.server.software_version"), hashes(&told)), (Some("libssh_0.10"), HASHES.map(Some)));
    for (greeting, answer) in [(&b"220 mail\r\n"[..], client()), (b"Hello\r\n", b"USER me\r\n".to_vec())] {
        assert!(!template.read(&talk().backward(greeting).forward(&answer)).recognised());
    }
}

#[test]
fn the_port_tells_sides_where_no_syn_does() {
    let template = template();
    let told =
        template.read(&Talk::tcp().between("192.0.2.1:22", "10.0.0.1:50000").forward(&server()).backward(&client()));
    assert_eq!((told.flow.responder.port, hashes(&told)), (22, HASHES.map(Some)));
}

#[test]
fn old_versions_and_parts() {
    let template = template();
    let told = template.read(&talk().forward(b"SSH-1.5-old\n\0\0\0\x0a").backward(b"SSH-1.99-both\r\n"));
    assert_eq!(
        (told.text("ssh.client.proto_version"), told.text("ssh.server.proto_version")),
        (Some("1.5"), Some("1.99"))
    );
    assert_eq!(hashes(&told), [None, None]);
    // Cut within the list of MACs: no hash of what is not all there.
    let told = template.read(&talk().forward(&client()[..150]));
    assert_eq!((told.text("ssh.client.software_version"), hashes(&told)[0]), (Some("OpenSSH_9.6"), None));
}

#[test]
fn bounds_say_so() {
    let template = Wired::new(&declarations()[0], "banner_bytes = 20\nlist_bytes = 16").unwrap();
    let told = template.read(&talk().forward(&client()).backward(b"SSH-2.0-short\r\n"));
    assert_eq!(
        (told.text("ssh.client.software_version"), told.number("ssh.limit.banner_bytes")),
        (Some("OpenSSH_9.6"), Some(1))
    );
    let short = [b"SSH-2.0-short\r\n", &client()[30..]].concat();
    let told = template.read(&talk().forward(&short));
    assert_eq!(told.text("ssh.client.kex").map(str::len), Some(16));
    assert_eq!((told.number("ssh.limit.list_bytes"), hashes(&told)[0]), (Some(1), Some(HASHES[0])));
    assert!(Wired::new(&declarations()[0], "list_bytes = 5000").is_err());
}

#[test]
fn leaves_others_alone() {
    let template = template();
    for (forward, backward) in
        [(&b"GET / HTTP/1.1\r\n"[..], &b"SSG"[..]), (b"SSH-x", b""), (b"", b"220 hello\r\n"), (b"\x16\x03\x01", b"SS")]
    {
        assert!(!template.read(&talk().forward(forward).backward(backward)).recognised(), "{forward:?}");
    }
    assert!(!template.read(&Talk::udp().forward(&client())).recognised());
}

proptest! {
    /// Whatever comes behind `SSH-2`: no failure, and nothing past the bounds.
    #[test]
    fn whatever_comes(bytes in prop::collection::vec(any::<u8>(), 0..400), at in any::<usize>(), whole in any::<bool>()) {
        let mut said = client();
        let at = at % said.len();
        if whole { said.truncate(at); said.extend(&bytes); } else { bytes.iter().zip(at..said.len()).for_each(|(byte, at)| said[at] = *byte); }
        let said = [b"SSH-2", &said[5.min(said.len())..]].concat();
        let template = template();
        let talk = talk().forward(&said).backward(&bytes);
        let told = template.read(&talk);
        prop_assert_eq!(told.errors, 0);
        let tree = template.tree(&talk);
        prop_assert!(!tree.nodes.is_empty() && !tree.outside && !tree.unbalanced);
        for name in ["ssh.client.kex", "ssh.client.macs", "ssh.client.software_version"] {
            prop_assert!(told.bytes(name).is_none_or(|text| text.len() <= 1024));
        }
    }

    /// What is asked for lies behind what is there.
    #[test]
    fn wants_more_than_there_is(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0usize..400) {
        for bytes in [&bytes[..], &client()[..cut.min(client().len())]] {
            prop_assert!(Side::read(bytes, 255).wanted > bytes.len());
        }
    }
}
