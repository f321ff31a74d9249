//! Both readers over certificates of every shape, changed ones, and real ones.

use super::*;
use crate::captures::{captures, flows};
use crate::handshake::Message;
use crate::records::{CERTIFICATE, Walk};
use crate::testing::{
    CertificateParts, SHA256_RSA, algorithm, attribute, certificate_extension, der, public_key, sequence,
};
use crate::{Tls, client::Bytes};
use proptest::prelude::*;
use std::sync::{Arc, Mutex};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::{PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView};

fn parts() -> CertificateParts {
    CertificateParts::new("www.example.org", &["*.example.org", "example.org"])
}

fn with(change: impl FnOnce(&mut CertificateParts)) -> Vec<u8> {
    let mut parts = parts();
    change(&mut parts);
    parts.build()
}

fn validity(before: &[u8], after: &[u8]) -> Vec<u8> {
    sequence(&[before, after])
}

const SAN: &[u8] = &[0x55, 29, 17];
const CONSTRAINTS: &[u8] = &[0x55, 29, 19];
const ACCESS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];
const OCSP: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 1];
const PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];

fn with_extension(oid: &[u8], body: &[u8]) -> Vec<u8> {
    with(|parts| parts.extensions.extend(certificate_extension(oid, body)))
}

fn with_subject(attributes: &[&[u8]]) -> Vec<u8> {
    with(|parts| parts.subject = sequence(attributes))
}

/// Certificates of every shape that is read in a way of its own; sound ones, and odd ones.
fn shapes() -> Vec<Vec<u8>> {
    let text = |text: &str| der(0x0c, text.as_bytes());
    let utc = |text: &[u8]| der(0x17, text);
    let general = |text: &[u8]| der(0x18, text);
    let directory = sequence(&[&attribute(10, &text("a,b")), &attribute(3, &der(0x13, b"*"))]);
    let ec = |point: &[u8]| public_key(&algorithm(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1], &der(6, &[1, 2, 3])), point);
    let pss = |parts: &[&[u8]]| algorithm(PSS, &sequence(parts));
    let hash = der(0xa0, &algorithm(SHA384, &[]));
    let rsa = |parts: &[&[u8]]| public_key(&algorithm(crate::testing::RSA, &[]), &sequence(parts));
    let san = |names: &[&[u8]]| sequence(names);
    let long = "é".repeat(300);
    let mut shapes = vec![
        parts().build(),
        CertificateParts::new("", &[]).build(),
        // What stands behind it, and within it behind what is read.
        [parts().build(), vec![0; 3]].concat(),
        with(|parts| parts.signature.extend([5, 0])),
        // Versions.
        with(|parts| parts.version = Vec::new()),
        with(|parts| parts.version = der(0xa0, &der(2, &[0, 0xff, 0, 0, 0]))),
        with(|parts| parts.version = der(0xa0, &der(2, &[0xff]))),
        with(|parts| parts.version = der(0xa0, &der(2, &[0, 2]))),
        with(|parts| parts.version = der(0x60, &der(2, &[2]))),
        // Serial numbers.
        with(|parts| parts.serial = der(2, &[])),
        with(|parts| parts.serial = der(0x82, &[0xff; 100])),
        with(|parts| parts.serial = der(4, &[1])),
        // Times.
        with(|parts| parts.validity = validity(&utc(b"500101000000Z"), &general(b"99991231235959Z"))),
        with(|parts| parts.validity = validity(&utc(b"7001010030-0030"), &general(b"20200101000000.5Z"))),
        with(|parts| parts.validity = validity(&utc(b"990228235959+0130"), &utc(b"000229000000-2559"))),
        with(|parts| parts.validity = validity(&utc(b"200230000000Z"), &utc(b"300101000000Z"))),
        with(|parts| parts.validity = validity(&general(b"20200101000000+0000"), &utc(b"300101000000Z"))),
        with(|parts| parts.validity = validity(&general(b"202001010000Z"), &utc(b"3001010000Z"))),
        with(|parts| parts.validity = validity(&der(0x16, b"200101000000Z"), &utc(b"300101000000Z"))),
        with(|parts| parts.validity = validity(&general(b"00000101000000Z"), &general(b"19691231235959.Z"))),
        // Keys.
        with(|parts| parts.key = ec(&[&[4][..], &[7; 64]].concat())),
        with(|parts| parts.key = ec(&[&[4][..], &[7; 132]].concat())),
        with(|parts| parts.key = ec(&[&[2][..], &[7; 48]].concat())),
        with(|parts| parts.key = ec(&[])),
        with(|parts| parts.key = public_key(&algorithm(&[0x2b, 0x65, 0x70], &[]), &[9; 32])),
        with(|parts| parts.key = public_key(&algorithm(&[0x2b, 0x65, 0x71], &[]), &[9; 57])),
        with(|parts| parts.key = public_key(&algorithm(PSS, &[]), &sequence(&[&der(2, &[5; 9]), &der(2, &[3])]))),
        with(|parts| {
            let dsa = algorithm(&[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1], &sequence(&[]));
            parts.key = public_key(&dsa, &der(2, &[0x11; 127]));
        }),
        with(|parts| parts.key = public_key(&algorithm(&[9], &[5]), &[1])),
        with(|parts| parts.key = public_key(&algorithm(&[9], &[]), &vec![1; 9000])),
        with(|parts| parts.key = rsa(&[&der(2, &[0, 0, 0xc3]), &der(2, &[3])])),
        with(|parts| parts.key = rsa(&[&der(2, &[0xc3]), &der(2, &[])])),
        with(|parts| parts.key = rsa(&[&der(2, &[0x13, 9]), &der(2, &[3]), b"more"])),
        with(|parts| parts.key = sequence(&[&algorithm(&[9], &[]), &der(3, &[4, 1, 0xf8])])),
        with(|parts| parts.key = sequence(&[&algorithm(&[9], &[]), &der(3, &[3, 1, 0xf8])])),
        // Unique identifiers.
        with(|parts| parts.unique_ids = [der(0x81, &[0, 1]), der(0x82, &[9, 1])].concat()),
        with(|parts| parts.unique_ids = der(0x82, &[])),
        with(|parts| parts.unique_ids = der(0x41, &[0, 1])),
        // Signatures.
        with(|parts| parts.signature = der(3, &[])),
        with(|parts| parts.algorithm = algorithm(SHA256_RSA, &[5])),
        with(|parts| parts.algorithm = algorithm(PSS, &[])),
        with(|parts| parts.algorithm = algorithm(PSS, &der(5, &[]))),
        with(|parts| parts.algorithm = pss(&[])),
        with(|parts| parts.algorithm = pss(&[&hash])),
        with(|parts| parts.algorithm = pss(&[&der(0x80, &algorithm(SHA384, &[]))])),
        with(|parts| parts.algorithm = pss(&[&der(0x60, &algorithm(SHA384, &[]))])),
        with(|parts| {
            let mask = der(0xa1, &algorithm(&[1], &algorithm(SHA384, &[])));
            parts.algorithm = pss(&[&hash, &mask, &der(0xa2, &der(2, &[48])), &der(0xa3, &der(2, &[1]))]);
        }),
        with(|parts| parts.algorithm = pss(&[&hash, &der(0xa1, &[])])),
        with(|parts| parts.algorithm = pss(&[&hash, &der(0x82, &der(2, &[48]))])),
        with(|parts| parts.algorithm = pss(&[&hash, &der(0xa2, &der(2, &[0xff]))])),
        with(|parts| parts.algorithm = pss(&[&hash, &der(0xa3, &der(2, &[1])), &[0xa3, 9]])),
        with(|parts| parts.algorithm = pss(&[&hash, &[0xa4, 9]])),
        with(|parts| parts.algorithm = pss(&[&[0xa4, 9]])),
        with(|parts| parts.algorithm = pss(&[&hash, &[0xbf]])),
        // Names.
        with_subject(&[]),
        with_subject(&[&attribute(3, &text("")), &attribute(3, &text("second"))]),
        with_subject(&[&attribute(3, &text("a\0b, \"c\"\n<+;>\\ \u{7f}"))]),
        with_subject(&[&attribute(11, &text(&long)), &attribute(3, &text(&long))]),
        with_subject(&[&attribute(11, &text(&"a,".repeat(300))), &attribute(3, &text("behind"))]),
        with_subject(&[&attribute(3, &der(0x1e, &[0, b'a', 0xd8, 0, 0xdc, 1, 0xd8, 0, 0, b'b', 7]))]),
        with_subject(&[&attribute(3, &der(0x14, b"caf\xe9"))]),
        with_subject(&[&attribute(3, &der(0x0c, b"caf\xe9\xff\xe2\x82s"))]),
        with_subject(&[&attribute(3, &der(0x13, b"*.a.example")), &attribute(6, &der(0x12, b"1"))]),
        with_subject(&[&attribute(3, &der(0x1a, b"v")), &attribute(3, &der(0x1b, b"g"))]),
        with_subject(&[&attribute(3, &der(0x1c, &[0, 0, 0, b'u'])), &attribute(45, &der(3, &[0; 300]))]),
        with_subject(&[&attribute(3, &der(0xbf, &[0x85]))]),
        with_subject(&[&der(0x31, &[&attribute(3, &text("a"))[2..], &attribute(10, &text("b"))[2..], b"x"].concat())]),
        with_subject(&[&attribute(3, &text("a")), &der(0x31, &[]), &attribute(10, &text("b"))]),
        with_subject(&[&attribute(3, &text("a")), &der(0x31, &sequence(&[&der(6, &[1])]))]),
        with_subject(&[&der(0x31, &sequence(&[&der(6, &[0x2a, 0x86, 0x48, 0x86]), &text("own")]))]),
        with_subject(&[&der(0x31, &sequence(&[&der(6, &[]), &text("none")]))]),
        with_subject(&[&der(
            0x31,
            &sequence(&[&der(6, &[&[0x2a][..], &[0xff; 9], &[1, 2]].concat()), &text("large")]),
        )]),
        with_subject(&[&der(0x31, &sequence(&[&der(6, &[&[0x2a][..], &[0xff; 12]].concat()), &text("cut")]))]),
        with_subject(&[&der(0x31, &sequence(&[&der(0x26, &[1]), &text("not primitive")]))]),
        with(|parts| parts.subject = parts.issuer.clone()),
        with(|parts| {
            // The same as far as it can be read.
            parts.subject = sequence(&[&attribute(3, &text("a")), b"xx"]);
            parts.issuer = sequence(&[&attribute(3, &text("a")), b"yy"]);
        }),
        // Lists of extensions.
        with(|parts| parts.extensions = Vec::new()),
        with(|parts| parts.extensions.push(0)),
        with(|parts| parts.extensions = certificate_extension(SAN, &san(&[])).repeat(300)),
        with(|parts| parts.extensions = sequence(&[&der(6, SAN), &der(1, &[9]), &der(4, &san(&[])), b"more"])),
        with(|parts| parts.extensions = sequence(&[&der(6, SAN), &der(1, &[0, 0]), &der(4, &san(&[]))])),
        with(|parts| parts.extensions = sequence(&[&der(6, SAN), &der(0x21, &[0]), &der(4, &san(&[]))])),
        with(|parts| parts.extensions = sequence(&[&der(6, SAN), &der(0x24, &san(&[]))])),
        // Alternative names.
        with(|parts| parts.extensions = certificate_extension(SAN, &san(&[&der(0x82, b"x.example")]))),
        with_extension(SAN, &san(&[])),
        with_extension(SAN, &san(&[&der(0x82, b"a\xff")])),
        with_extension(SAN, &san(&[&der(0x16, b"x")])),
        with_extension(SAN, &san(&[&der(0x82, b"www.example.org"), &[0x82, 9]])),
        with_extension(SAN, &[&san(&[&der(0x82, b"www.example.org")])[..], b"more"].concat()),
        with_extension(SAN, &san(&[&der(0x82, long.as_bytes())])),
        with_extension(SAN, b"no list"),
        with(|parts| {
            let names = [der(0x82, b"first.example"), der(0x82, b"www.example.org")].concat();
            let two = [certificate_extension(SAN, &san(&[&names])), certificate_extension(SAN, &san(&[&[0x82, 9]]))];
            parts.extensions = two.concat();
        }),
    ];
    for first in [
        der(0x87, &[192, 0, 2, 1]),
        der(0x87, &[0x20; 16]),
        der(0x87, &[1; 5]),
        der(0x86, b"https://a.example"),
        der(0x81, b"mail@a.example"),
        der(0x81, b"\xff"),
        der(0xa0, &[&der(6, &[1])[..], &der(0xa0, &text("other"))].concat()),
        der(0xa0, b"\x3f"),
        der(0xa3, b"x"),
        der(0xa4, &directory),
        der(0xa4, &[&directory[..], b"x"].concat()),
        der(0xa4, b"x"),
        der(0xa5, b"x"),
        der(0x88, &[0x2a, 3]),
        der(0x8b, b"x"),
    ] {
        shapes.push(with(|parts| parts.extensions = certificate_extension(SAN, &san(&[&first]))));
    }
    let constraints = [
        sequence(&[&der(1, &[0xff])]),
        sequence(&[&der(1, &[1])]),
        sequence(&[&der(1, &[0])]),
        sequence(&[&der(0x21, &[1])]),
        sequence(&[&der(0x81, &[1])]),
        sequence(&[&der(1, &[1, 1])]),
        sequence(&[&der(2, &[1])]),
        sequence(&[&der(1, &[0xff]), &der(2, &[0, 0, 0, 0, 0, 0])]),
        sequence(&[&der(1, &[0xff]), &der(2, &[])]),
        sequence(&[&der(1, &[0xff]), &der(2, &[0xff])]),
        sequence(&[&der(1, &[0xff]), &der(2, &[1, 0, 0, 0, 0])]),
        sequence(&[&der(1, &[0xff]), &der(0x82, &[1])]),
        sequence(&[&der(1, &[0xff]), &der(2, &[1]), &der(5, &[])]),
        sequence(&[&der(1, &[0xff]), b"\x02"]),
        der(0x10, &der(1, &[0xff])),
        der(0x31, &der(1, &[0xff])),
        [sequence(&[&der(1, &[0xff])]), vec![1]].concat(),
    ];
    shapes.extend(constraints.map(|body| with_extension(CONSTRAINTS, &body)));
    let place = |oid: &[u8], location: &[u8]| sequence(&[&der(6, oid), location]);
    let uri = der(0x86, b"http://o.example");
    let access = [
        sequence(&[&place(OCSP, &uri)]),
        sequence(&[&place(&[1], &uri), &place(OCSP, &[&uri[..], b"more"].concat())]),
        sequence(&[&place(OCSP, &der(0x16, b"x"))]),
        sequence(&[&place(OCSP, &[])]),
        sequence(&[&place(OCSP, &uri), b"more"]),
        sequence(&[&place(&[1], &uri)]),
    ];
    shapes.extend(access.map(|body| with_extension(ACCESS, &body)));
    shapes.push(with_extension(&[0x55, 29, 31], b""));
    shapes
}

/// The server's names that a mutated certificate is read for.
const SNI: &[u8] = b"www.example.org";

#[test]
fn every_shape_is_read_alike() {
    let shapes = shapes();
    let mut read = 0;
    for name_bytes in [512, 1, 5, 40] {
        let limits = Limits { name_bytes, ..Limits::default() };
        for shape in &shapes {
            let (classes, is_read) = compare(shape, SNI, &limits);
            read += usize::from(is_read);
            assert_eq!(classes, BTreeSet::new(), "{shape:02x?}");
        }
    }
    // Neither all sound nor all damaged, or the comparison would say little.
    assert!((shapes.len() * 3..shapes.len() * 4).contains(&read), "{read} of {}", shapes.len() * 4);
}

/// What we say of each class.
#[test]
fn each_class_of_differences_is_as_it_is_said() {
    let limits = Limits::default();
    let read = |der: &[u8], class: &'static str| {
        let (classes, is_read) = compare(der, SNI, &limits);
        assert_eq!(classes, BTreeSet::from([class]));
        is_read
    };
    let serial = with(|parts| parts.serial = vec![0x22, 0x80, 2, 1, 7, 0, 0]);
    assert!(!read(&serial, class::INDEFINITE));

    for (oid, written) in [(&[0x88, 0x37][..], "2.999=x"), (&[0x7f], "2.47=x"), (&[0], "0.0=x")] {
        let subject = with_subject(&[&der(0x31, &sequence(&[&der(6, oid), &der(0x0c, b"x")]))]);
        assert!(read(&subject, class::FIRST_NUMBERS));
        assert_eq!(Leaf::read(&subject, SNI, &limits).unwrap().subject.text, written);
    }

    // What one of both cuts fits for the other.
    let short = Limits { name_bytes: 30, ..Limits::default() };
    let shop = der(0x31, &sequence(&[&der(6, &[0x55, 4, 10]), &der(0x0c, b"Shop")]));
    let longer = der(0x31, &sequence(&[&der(6, &[0x80, 4, 3]), &der(0x0c, b"www.example.org")]));
    let (classes, is_read) = compare(&with_subject(&[&shop, &longer]), SNI, &short);
    assert_eq!((classes, is_read), (BTreeSet::from([class::FIRST_NUMBERS]), true));

    let west = with(|parts| parts.validity = validity(&der(0x17, b"700101000000-0030"), &der(0x17, b"300101000000Z")));
    assert!(read(&west, class::LESS_THAN_AN_HOUR));
    assert_eq!(Leaf::read(&west, SNI, &limits).unwrap().not_before, 1800);

    for length in [&der(10, &[1])[..], &der(3, &[0, 1]), &[0x22, 0x80, 0, 0]] {
        let constraints = with_extension(CONSTRAINTS, &sequence(&[&der(1, &[0xff]), length]));
        assert!(read(&constraints, class::PATH_LENGTH));
        assert!(!Leaf::read(&constraints, SNI, &limits).unwrap().extensions.is_ca);
    }
}

/// A change of a certificate; places are taken modulo its length.
#[derive(Debug, Clone)]
enum Change {
    Set(usize, u8),
    Flip(usize, u8),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Repeat(usize, usize),
    Cut(usize),
    Extend(Vec<u8>),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let place = |at: usize| at % bytes.len().max(1);
        let range = |at: usize, len: usize| place(at)..(place(at) + len).min(bytes.len());
        match self {
            Self::Set(at, byte) if !bytes.is_empty() => {
                let at = place(*at);
                bytes[at] = *byte;
            }
            Self::Flip(at, bit) if !bytes.is_empty() => {
                let at = place(*at);
                bytes[at] ^= 1 << bit;
            }
            Self::Insert(at, more) => {
                let at = place(*at);
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Remove(at, len) => {
                let range = range(*at, *len);
                bytes.drain(range);
            }
            Self::Repeat(at, len) => {
                let range = range(*at, *len);
                let again = bytes[range.clone()].to_vec();
                bytes.splice(range.end..range.end, again);
            }
            Self::Cut(at) => bytes.truncate(place(*at)),
            Self::Extend(more) => bytes.extend(more),
            Self::Set(..) | Self::Flip(..) => {}
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    // Tags and lengths that mean something, more often than chance has them.
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(vec![0, 1, 2, 3, 4, 5, 6, 0x0c, 0x13, 0x14, 0x1e, 0x1f, 0x30, 0x31, 0x7f, 0x80, 0x81]),
        prop::sample::select(vec![0x82, 0x84, 0x87, 0x88, 0x89, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xbf, 0xff]),
    ];
    let at = any::<usize>();
    prop_oneof![
        6 => (at, byte).prop_map(|(at, byte)| Change::Set(at, byte)),
        3 => (at, 0..8u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        1 => (at, prop::collection::vec(any::<u8>(), 1..4)).prop_map(|(at, more)| Change::Insert(at, more)),
        1 => (at, 1..20usize).prop_map(|(at, len)| Change::Remove(at, len)),
        1 => (at, 1..40usize).prop_map(|(at, len)| Change::Repeat(at, len)),
        1 => at.prop_map(Change::Cut),
        1 => prop::collection::vec(any::<u8>(), 1..20).prop_map(Change::Extend),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Nothing that is done to a certificate makes us panic, hold more than the limits say, or say something else
    /// than x509-parser without a reason.
    #[test]
    fn changed_certificates_are_read_alike(
        shape in prop::sample::select(shapes()),
        changes in prop::collection::vec(change(), 1..4),
        name_bytes in prop::sample::select(vec![512, 30]),
    ) {
        let mut bytes = shape;
        changes.iter().for_each(|change| change.apply(&mut bytes));
        let limits = Limits { name_bytes, ..Limits::default() };
        compare(&bytes, SNI, &limits);
        if let Some(leaf) = Leaf::read(&bytes, SNI, &limits) {
            let Leaf { subject, issuer, extensions, serial, .. } = leaf;
            for text in [subject.text, subject.common_name, issuer.text, issuer.common_name, extensions.names.first] {
                prop_assert!(text.len() <= name_bytes && text.capacity() <= 2 * name_bytes);
            }
            prop_assert!(serial.len() <= SERIAL_BYTES);
        }
    }

    #[test]
    fn junk_is_read_alike(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        compare(&bytes, SNI, &Limits::default());
    }
}

/// What was found in the captures.
#[derive(Default)]
struct Seen {
    messages: u32,
    certificates: BTreeSet<Vec<u8>>,
}

/// The template, and beside it what it is shown of certificates.
struct Watch(Tls, Arc<Mutex<Seen>>);

impl ProtocolTemplate for Watch {
    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        self.0.probe(stream)
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        for direction in [Direction::Forward, Direction::Backward] {
            let framed = stream.framed[direction.index()];
            let walk = Walk::new(stream.bytes(direction), stream.ended(direction), framed, false, &Limits::default());
            if let Some(message) = walk.message(CERTIFICATE).filter(Message::is_complete) {
                let mut seen = self.1.lock().unwrap();
                seen.messages += 1;
                let mut chain = Bytes(message.body);
                chain.three();
                while let Some(der) = chain.three().and_then(|len| chain.take(len)) {
                    seen.certificates.insert(der.to_vec());
                }
            }
        }
        self.0.parse(stream, out)
    }
}

#[test]
fn real_certificates_are_read_alike() {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let paths = captures(&["pcap", "gz"]);
    for path in &paths {
        flows(path, Watch(Tls::create(Settings::new("")).unwrap(), Arc::clone(&seen)));
    }
    let seen = seen.lock().unwrap();
    let mut read = 0;
    let mut differences = Vec::new();
    for der in &seen.certificates {
        // Asked for by its own name, it may match.
        let own = Leaf::read(der, b"", &Limits::default()).map(|leaf| leaf.extensions.names.first);
        read += u32::from(own.is_some());
        for sni in [&b""[..], &own.unwrap_or_default().into_bytes()] {
            differences.extend(compare(der, sni, &Limits::default()).0);
        }
    }
    println!(
        "{} captures, {} distinct certificates, {read} of them read; differences: {differences:?}",
        paths.len(),
        seen.certificates.len()
    );
    assert!(paths.is_empty() || seen.certificates.len() > 500, "{}", seen.certificates.len());
}
