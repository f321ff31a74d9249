use crate::declarations;
use proptest::prelude::*;
use veilwatch_testkit::conformance::assert_conforms;
use veilwatch_testkit::golden;
use veilwatch_testkit::talk::{Talk, Wired, tree_lines};

fn template(name: &str) -> Wired {
    let declarations = declarations();
    Wired::new(declarations.iter().find(|one| one.manifest.name == name).unwrap(), "").unwrap()
}

fn to(port: u16) -> Talk {
    Talk::udp().between("10.0.0.1:50000", &format!("192.0.2.1:{port}"))
}

#[test]
fn they_conform() {
    assert_conforms(declarations());
}

/// A message of NTP: no warning, this version and mode, and a stratum.
fn ntp(version: u8, mode: u8, stratum: u8) -> Vec<u8> {
    let mut message = vec![0; 48];
    (message[0], message[1]) = (version << 3 | mode, stratum);
    message
}

#[test]
fn ntp_is_read_on_its_port() {
    let template = template("ntp");
    let told = template.read(&to(123).forward(&ntp(4, 3, 0)).backward(&ntp(4, 4, 2)).forward(&ntp(4, 3, 0)));
    let numbers = ["ntp.flags.vn", "ntp.flags.mode", "ntp.stratum"];
    assert_eq!(numbers.map(|name| told.number(name)), [Some(4), Some(3), Some(2)]);
    // `monlist`, by which servers are made to flood others.
    let told = template.read(&to(123).forward(b"\x17\0\x03\x2a\0\0\0\0"));
    assert_eq!(numbers.map(|name| told.number(name)), [Some(2), Some(7), None]);
    for (port, other) in
        [(124, ntp(4, 3, 0)), (123, ntp(0, 3, 0)), (123, ntp(4, 0, 0)), (123, vec![0x23; 47]), (123, vec![0x23; 49])]
    {
        assert!(!template.read(&to(port).forward(&other)).recognised(), "{port} {other:?}");
    }
}

/// A discover of a host that is called `desk`, of Windows, which asks for mask, router and name servers.
fn dhcp() -> Vec<u8> {
    let mut message = vec![0; 236];
    message[..4].copy_from_slice(&[1, 1, 6, 0]);
    [&message[..], &[99, 130, 83, 99], b"\x35\x01\x01\0\x0c\x04desk\x3c\x08MSFT 5.0\x37\x03\x01\x03\x06\xff"].concat()
}

#[test]
fn dhcp_says_who_asks() {
    let template = template("dhcp");
    let talk = |bytes: &[u8]| Talk::udp().between("0.0.0.0:68", "255.255.255.255:67").forward(bytes);
    let told = template.read(&talk(&dhcp()));
    assert_eq!((told.number("dhcp.dhcp_type"), told.text("dhcp.hostname")), (Some(1), Some("desk")));
    assert_eq!(told.text("dhcp.vendor_class_identifier"), Some("MSFT 5.0"));
    assert_eq!(told.list("dhcp.params"), Some(&[1, 3, 6][..]));
    // Cut within the vendor's text: what came before is known.
    let told = template.read(&talk(&dhcp()[..255]));
    assert_eq!((told.text("dhcp.hostname"), told.text("dhcp.vendor_class_identifier")), (Some("desk"), None));
    let mut other = dhcp();
    other[239] = 0;
    assert!(!template.read(&talk(&other)).recognised());
    assert!(!template.read(&talk(&dhcp()[..239])).recognised());
}

/// A question of version 2c for one value, with the community `public`.
const SNMP: &[u8] = b"\x30\x26\x02\x01\x01\x04\x06public\xa0\x19\x02\x01\x07\x02\x01\0\x02\x01\0\x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x02\0\x05\0";
/// The first message of version 3.
const SNMP_3: &[u8] = b"\x30\x14\x02\x01\x03\x30\x0d\x02\x01\x07\x02\x02\x05\xc0\x04\x01\x04\x02\x01\x03\x04\0";

#[test]
fn snmp_is_a_message_to_its_last_byte() {
    let template = template("snmp");
    // On any port.
    let told = template.read(&to(1610).forward(SNMP));
    assert_eq!((told.number("snmp.version"), told.text("snmp.community")), (Some(2), Some("public")));
    assert_eq!(told.text("snmp.pdu_type"), Some("get_request"));
    let told = template.read(&to(161).forward(SNMP_3));
    assert_eq!((told.number("snmp.version"), told.text("snmp.community")), (Some(3), None));
    for other in [&SNMP[..39], &[SNMP, b"x"].concat(), b"\x30\x03\x02\x01\x01", &SNMP_3[..20]] {
        assert!(!template.read(&to(161).forward(other)).recognised(), "{other:?}");
    }
}

#[test]
fn what_is_drawn_of_conversations() {
    let mut answer = ntp(4, 4, 2);
    // Poll 64 s, precision a microsecond, a delay of half a second, from 192.0.2.5; the first second of 2024.
    answer[2..16].copy_from_slice(&[6, 0xec, 0, 0, 0x80, 0, 0, 1, 0, 0, 192, 0, 2, 5]);
    answer[40..48].copy_from_slice(&[0xe9, 0x3c, 0x7f, 0, 0x80, 0, 0, 0]);
    let mut offer = dhcp();
    (offer[0], offer[10], offer[242]) = (2, 0x80, 2);
    offer[16..20].copy_from_slice(&[192, 0, 2, 9]);
    offer.truncate(243);
    offer.extend(
        b"\x33\x04\0\0\x0e\x10\x36\x04\xc0\0\x02\x01\x06\x08\xc0\0\x02\x02\xc0\0\x02\x03\x3d\x07\x01abcdef\xff",
    );
    let trap = b"\x30\x29\x02\x01\0\x04\x01a\xa4\x21\x06\x03\x2b\x06\x01\x40\x04\xc0\0\x02\x01\x02\x01\x02\x02\x01\xff\
        \x43\x02\x01\x2c\x30\x0a\x30\x08\x06\x02\x2b\x06\x41\x02\x01\0";
    let mut text = String::new();
    for (name, what, talk) in [
        ("ntp", "both sides", to(123).forward(&ntp(4, 3, 0)).backward(&answer)),
        ("ntp", "a list of clients, status, and half a message", {
            let status = b"\x26\x82\0\x01\x06\x15\0\0\0\0\0\x04leap";
            to(123).forward(b"\x17\0\x03\x2a\0\0\0\0").backward(status).forward(&ntp(4, 3, 0)[..20])
        }),
        ("dhcp", "an offer", to(67).forward(&dhcp()).backward(&offer)),
        ("dhcp", "cut off", to(67).forward(&dhcp()[..250]).forward(&dhcp()[..100])),
        ("snmp", "two versions", to(161).forward(SNMP).forward(SNMP_3).backward(trap)),
        ("snmp", "cut off, and too much", to(161).forward(&SNMP[..30]).backward(&[SNMP, b"more"].concat())),
    ] {
        let tree = template(name).tree(&talk);
        assert!(tree.is_whole(), "{name}, {what}");
        text.push_str(&format!("## {name}: {what}\n{}\n", tree_lines(&tree)));
    }
    golden(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tree.txt"), &text);
}

proptest! {
    /// Whatever is changed, cut or made up: nobody fails.
    #[test]
    fn whatever_comes(
        which in 0usize..4, changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6), cut in any::<usize>(),
        more in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut said = [ntp(4, 3, 0), dhcp(), SNMP.to_vec(), SNMP_3.to_vec()][which].clone();
        for (at, byte) in changes {
            let at = at % said.len();
            said[at] = byte;
        }
        said.truncate(said.len() - cut % 9);
        said.extend(&more[..more.len() * (cut % 2)]);
        for name in ["ntp", "dhcp", "snmp"] {
            let template = template(name);
            let talk = to(123).forward(&said).backward(&more).forward(&said);
            prop_assert_eq!(template.read(&talk).errors, 0);
            let tree = template.tree(&talk);
            prop_assert!(!tree.nodes.is_empty() && !tree.outside && !tree.unbalanced);
        }
    }
}
