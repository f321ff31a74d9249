//! JA3, JA3S and JA4: fingerprints of a handshake, as pure functions over the typed records.
//!
//! JA3 and JA3S by Salesforce (2017); JA4 (the TLS client one, BSD-3-Clause) by FoxIO (2023). The other members of the
//! JA4+ family are under a licence that forbids commercial use: they have no place here.

use super::{ClientHello, ServerHello};
use md5::{Digest, Md5};
use sha2::Sha256;
use std::fmt::Write;

/// Whether a code point is one of the reserved values of RFC 8701 (`0x0a0a`, `0x1a1a`, …).
pub fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// Bytes as hexadecimal digits, two each, in lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn dashed(list: impl Iterator<Item = u16>, out: &mut String) {
    for (at, value) in list.enumerate() {
        let _ = write!(out, "{}{value}", if at == 0 { "" } else { "-" });
    }
}

/// The text that JA3 hashes: version, ciphers, extensions, groups and point formats in decimal, without GREASE.
pub fn ja3_string(hello: &ClientHello<'_>) -> String {
    let plain = |list: &[u16]| list.iter().copied().filter(|v| !is_grease(*v)).collect::<Vec<_>>().into_iter();
    let mut out = String::with_capacity(256);
    let _ = write!(out, "{},", hello.version);
    dashed(plain(hello.ciphers), &mut out);
    out.push(',');
    dashed(plain(hello.extensions), &mut out);
    out.push(',');
    dashed(plain(hello.groups), &mut out);
    out.push(',');
    dashed(hello.point_formats.iter().map(|v| u16::from(*v)), &mut out);
    out
}

/// JA3: the MD5 of [`ja3_string`] in hexadecimal.
pub fn ja3(hello: &ClientHello<'_>) -> String {
    hex(&Md5::digest(ja3_string(hello)))
}

/// JA3S: the MD5 of the server's version, cipher and extensions in decimal.
pub fn ja3s(hello: &ServerHello<'_>) -> String {
    let mut out = String::with_capacity(64);
    let _ = write!(out, "{},{},", hello.version, hello.cipher);
    dashed(hello.extensions.iter().copied(), &mut out);
    hex(&Md5::digest(out))
}

/// The carrier of a handshake, the first letter of a JA4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ja4 {
    /// TLS over TCP.
    Tcp,
    /// QUIC.
    Quic,
    /// DTLS.
    Dtls,
}

impl Ja4 {
    /// What carried a hello in a flow of this IP protocol. Over UDP that is QUIC, unless the hello says a version of
    /// DTLS, which counts downwards from 0xfeff (RFC 9147 section 5.3).
    pub fn of(protocol: u8, hello: &ClientHello<'_>) -> Self {
        match (protocol, hello.version >> 8) {
            (17, 0xfe) => Self::Dtls,
            (17, _) => Self::Quic,
            _ => Self::Tcp,
        }
    }
}

/// JA4: `a_b_c`, readable part, hash of the sorted ciphers, hash of the sorted extensions with signature algorithms.
pub fn ja4(hello: &ClientHello<'_>, carrier: Ja4) -> String {
    let [a, b, c] = parts(hello, carrier);
    let twelve = |text: String| {
        if text.is_empty() { "000000000000".to_owned() } else { hex(&Sha256::digest(text)[..6]) }
    };
    // Without extensions the third part is zeros, whatever the signature algorithms.
    format!("{a}_{}_{}", twelve(b), twelve(c))
}

/// JA4 before hashing (`JA4_r`): for people, and for tests that want to see what differs.
pub fn ja4_raw(hello: &ClientHello<'_>, carrier: Ja4) -> String {
    parts(hello, carrier).join("_")
}

const SNI: u16 = 0;
const ALPN: u16 = 16;

fn parts(hello: &ClientHello<'_>, carrier: Ja4) -> [String; 3] {
    let plain = |list: &[u16]| list.iter().copied().filter(|v| !is_grease(*v)).collect::<Vec<_>>();
    let ciphers = plain(hello.ciphers);
    let extensions = plain(hello.extensions);
    let letter = match carrier {
        Ja4::Tcp => 't',
        Ja4::Quic => 'q',
        Ja4::Dtls => 'd',
    };
    let name = if extensions.contains(&SNI) { 'd' } else { 'i' };
    let a = format!(
        "{letter}{}{name}{:02}{:02}{}",
        version_code(hello.best_version()),
        ciphers.len().min(99),
        extensions.len().min(99),
        alpn_code(hello.alpn)
    );
    let sorted = |mut list: Vec<u16>| {
        list.sort_unstable();
        comma_hex(&list)
    };
    let b = sorted(ciphers);
    let mut c = sorted(extensions.iter().copied().filter(|v| *v != SNI && *v != ALPN).collect());
    let algorithms = plain(hello.signature_algorithms);
    if !algorithms.is_empty() && !extensions.is_empty() {
        c.push('_');
        c.push_str(&comma_hex(&algorithms));
    }
    [a, b, c]
}

fn comma_hex(list: &[u16]) -> String {
    let mut out = String::with_capacity(list.len() * 5);
    for (at, value) in list.iter().enumerate() {
        let _ = write!(out, "{}{value:04x}", if at == 0 { "" } else { "," });
    }
    out
}

fn version_code(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        0xfeff => "d1",
        0xfefd => "d2",
        0xfefc => "d3",
        _ => "00",
    }
}

/// First and last character of the first protocol; where either is not alphanumeric, those of its hexadecimal form.
fn alpn_code(list: &[u8]) -> String {
    let first = list.split(|b| *b == b',').next().unwrap_or_default();
    match first {
        [] => "00".into(),
        [begin, .., end] | [begin @ end] if begin.is_ascii_alphanumeric() && end.is_ascii_alphanumeric() => {
            [char::from(*begin), char::from(*end)].iter().collect()
        }
        [begin, .., end] | [begin @ end] => {
            let (begin, end) = (hex(&[*begin]), hex(&[*end]));
            format!("{}{}", &begin[..1], &end[1..])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of FoxIO's technical description of JA4.
    #[test]
    fn ja4_of_the_published_example() {
        let hello = ClientHello {
            version: 0x0303,
            ciphers: &[
                0x0a0a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
                0x009d, 0x002f, 0x0035,
            ],
            extensions: &[
                0x1a1a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b,
                0xff01, 0x000b, 0x000a, 0x0015,
            ],
            signature_algorithms: &[0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601],
            supported_versions: &[0x2a2a, 0x0304, 0x0303],
            alpn: b"h2,http/1.1",
            ..Default::default()
        };
        assert_eq!(ja4(&hello, Ja4::Tcp), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn versions_of_dtls_count_downwards() {
        for (supported_versions, code) in
            [(&[][..], "dd2"), (&[0xfefc, 0xfefd, 0xfeff], "dd3"), (&[0xfefd, 0xfeff], "dd2")]
        {
            let hello = ClientHello { version: 0xfefd, supported_versions, ..ClientHello::default() };
            assert_eq!(&ja4(&hello, Ja4::of(17, &hello))[..3], code);
        }
    }

    #[test]
    fn the_carrier_is_the_first_letter() {
        let hello = |version| ClientHello { version, ..ClientHello::default() };
        let letter = |protocol, version| ja4(&hello(version), Ja4::of(protocol, &hello(version))).remove(0);
        assert_eq!([letter(6, 0x0303), letter(17, 0x0303), letter(17, 0xfefd)], ['t', 'q', 'd']);
    }

    /// The first example of the JA3 announcement.
    #[test]
    fn ja3_of_the_published_example() {
        let hello = ClientHello {
            version: 769,
            ciphers: &[47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4],
            extensions: &[0, 10, 11],
            groups: &[23, 24, 25],
            point_formats: &[0],
            ..Default::default()
        };
        assert_eq!(ja3_string(&hello), "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0");
        assert_eq!(ja3(&hello), "ada70206e40642a3e4461f35503241d5");
    }

    #[test]
    fn an_empty_hello_has_fingerprints() {
        assert_eq!(ja4(&ClientHello::default(), Ja4::Tcp), "t00i000000_000000000000_000000000000");
        assert_eq!(ja3_string(&ClientHello::default()), "0,,,,");
    }

    #[test]
    fn odd_application_protocols() {
        assert_eq!(alpn_code(b"h"), "hh");
        assert_eq!(alpn_code(b"\xab\xcd"), "ad");
        assert_eq!(alpn_code(&[0x30, 0xab]), "3b");
    }
}
