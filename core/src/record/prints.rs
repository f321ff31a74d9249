//! Fingerprints of our own: of a server's answer, of a certificate's shape, of a QUIC client's transport parameters, of how
//! a host opens a TCP connection.
//!
//! `FINGERPRINTS.md` beside this file specifies them, with examples that one can work out by hand and that the tests here
//! work out from it.

use super::{CertificateInfo, ServerHello, hex};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Bytes of the hash that are kept.
const HASH: usize = 8;

/// Puts one together: tag, what people read, and the hash of the whole text, which begins with the tag too.
fn print(tag: &str, readable: &str, text: &str) -> String {
    let hash = Sha256::digest(format!("{tag}|{text}"));
    format!("{tag}:{readable}:{}", hex(hash.get(..HASH).unwrap_or(&hash)))
}

/// A list in hexadecimal, with commas.
fn list(numbers: impl IntoIterator<Item = u16>) -> String {
    let mut out = String::new();
    for number in numbers {
        let _ = write!(out, "{}{number:x}", if out.is_empty() { "" } else { "," });
    }
    out
}

/// The fingerprint of a ServerHello, `vws1`: what was chosen, and which extensions came in which order.
pub fn server_print(hello: &ServerHello<'_>) -> String {
    let &ServerHello { version, selected_version, cipher, compression, key_share, session_id_len, extensions, .. } =
        hello;
    let readable = format!("{selected_version:04x}/{cipher:04x}/{key_share:04x}");
    let extensions = list(extensions.iter().copied());
    let text = format!(
        "{version:x}|{selected_version:x}|{cipher:x}|{compression:x}|{key_share:x}|{session_id_len:x}|{extensions}"
    );
    print("vws1", &readable, &text)
}

/// The fingerprint of a certificate's shape, `vwc1`: nothing that names its holder, its issuer, or when it was made.
///
/// `extensions` are the object identifiers of its extensions in their order, as they are encoded (X.690 section 8.19). `None`
/// where the certificate could not be read.
pub fn certificate_print<'a>(
    info: &CertificateInfo<'_>,
    extensions: impl IntoIterator<Item = &'a [u8]>,
) -> Option<String> {
    if !info.parsed {
        return None;
    }
    let kind = ["other", "rsa", "ec", "dsa", "ed"].get(usize::from(info.key_kind)).unwrap_or(&"other");
    let signature = ["other", "md5", "sha1", "sha256", "sha384", "sha512", "eddsa"]
        .get(usize::from(info.signature))
        .unwrap_or(&"other");
    let validity = validity(info.not_before, info.not_after);
    let flags: String = [('s', info.self_signed), ('a', info.is_ca), ('w', info.wildcard)]
        .into_iter()
        .filter_map(|(letter, is)| is.then_some(letter))
        .collect();
    let identifiers = extensions.into_iter().map(hex).collect::<Vec<_>>().join(",");
    let chain = info.chain_len;
    let readable = format!("{kind}{}/{signature}/{validity}/{chain}", info.key_bits);
    let names = match info.san_count {
        few @ 0..=2 => few,
        3..=9 => 3,
        10..=99 => 10,
        _ => 100,
    };
    let text = format!(
        "{:x}|{kind}|{:x}|{signature}|{validity}|{names:x}|{chain:x}|{flags}|{:x}|{:x}|{:x}|{identifiers}",
        info.version,
        info.key_bits,
        info.subject_attributes,
        info.issuer_attributes,
        info.serial.len(),
    );
    Some(print("vwc1", &readable, &text))
}

/// The class of a validity: the name of the first limit in days that it does not exceed.
fn validity(not_before: u64, not_after: u64) -> &'static str {
    const DAY: u64 = 86_400;
    let Some(seconds) = not_after.checked_sub(not_before) else { return "never" };
    let classes = [
        (7, "7d"),
        (47, "47d"),
        (100, "100d"),
        (200, "200d"),
        (398, "398d"),
        (825, "825d"),
        (1_830, "5y"),
        (3_660, "10y"),
    ];
    classes.into_iter().find(|(days, _)| seconds <= days * DAY).map_or("long", |(_, name)| name)
}

/// The fingerprint of a QUIC client's transport parameters, `vwq1`: which there are, whatever their order, since there are
/// clients that shuffle them.
pub fn parameters_print(version: u32, numbers: &[u16]) -> String {
    let order = if numbers.is_sorted() { "ascending" } else { "mixed" };
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    let readable = format!("{version:x}/{}/{order}", numbers.len());
    print("vwq1", &readable, &format!("{version:x}|{}", list(sorted)))
}

/// The fingerprint of a TCP header with SYN, `vwt1`, for whoever looks at packets: no feature may be made of it.
///
/// `header` begins with the source port and holds all of the options; `None` where it does not, and without SYN.
pub fn syn_print(header: &[u8]) -> Option<String> {
    let (fixed, rest) = header.split_first_chunk::<20>()?;
    let flags = fixed[13];
    let mut options = rest.get(..(usize::from(fixed[12] >> 4) * 4).checked_sub(fixed.len())?)?;
    if flags & 0x02 == 0 {
        return None;
    }
    let (mut kinds, mut segment, mut scale) = (Vec::new(), None, None);
    while let Some((&kind, behind)) = options.split_first().filter(|(kind, _)| **kind != 0) {
        kinds.push(u16::from(kind));
        // A NOP is one byte; all others have a length that counts both of their first bytes.
        let size = if kind == 1 { 1 } else { usize::from(*behind.first()?) };
        let (option, next) = options.split_at_checked(size.max(1))?;
        match *option {
            [2, 4, high, low] => segment = Some(u16::from_be_bytes([high, low])),
            [3, 3, shift] => scale = Some(shift),
            _ => {}
        }
        options = next;
    }
    let window = u16::from_be_bytes([fixed[14], fixed[15]]);
    let class = segment.map_or("-".to_owned(), |size| {
        let classes = [536, 1220, 1360, 1400, 1440, 1460, 8960];
        classes.into_iter().find(|most| size <= *most).map_or("more".to_owned(), |most| most.to_string())
    });
    let segments = segment.filter(|size| *size > 0 && window % size == 0).map(|size| window / size);
    let held = match segments {
        Some(count @ 1..=64) => format!("{count}m"),
        _ if window == u16::MAX => "full".to_owned(),
        _ => "other".to_owned(),
    };
    let scale = scale.map_or("-".to_owned(), |shift: u8| shift.to_string());
    let begins = if flags & 0x10 == 0 { "syn" } else { "syn-ack" };
    let ecn: String =
        [('e', 0x40), ('c', 0x80)].into_iter().filter(|(_, bit)| flags & bit != 0).map(|it| it.0).collect();
    let text = format!("{begins}|{}|{class}|{scale}|{held}|{ecn}", list(kinds));
    Some(print("vwt1", &format!("{begins}/{scale}/{class}"), &text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("FINGERPRINTS.md");

    /// The lines of the code blocks that belong to a fingerprint: the text that is hashed, and what comes out.
    fn example(tag: &str) -> (String, String) {
        let line = |sign: &str| {
            let begin = format!("{tag}{sign}");
            DOCUMENT.lines().find(|line| line.starts_with(&begin)).unwrap().to_owned()
        };
        (line("|"), line(":"))
    }

    #[test]
    fn the_examples_of_the_document() {
        let server = ServerHello {
            version: 0x0303,
            selected_version: 0x0304,
            cipher: 0x1301,
            session_id_len: 32,
            extensions: &[51, 43],
            key_share: 29,
            ..ServerHello::default()
        };
        let info = CertificateInfo {
            parsed: true,
            version: 3,
            chain_len: 2,
            serial: &[7; 18],
            subject_attributes: 1,
            issuer_attributes: 3,
            not_before: 1_700_000_000,
            not_after: 1_700_000_000 + 90 * 86_400 - 1,
            key_kind: 2,
            key_bits: 256,
            signature: 4,
            san_count: 2,
            wildcard: true,
            ..CertificateInfo::default()
        };
        let identifiers = [&[0x55, 0x1d, 0x0f][..], &[0x55, 0x1d, 0x25], &[0x55, 0x1d, 0x13], &[0x55, 0x1d, 0x11]];
        for (tag, told) in [
            ("vws1", server_print(&server)),
            ("vwc1", certificate_print(&info, identifiers).unwrap()),
            ("vwq1", parameters_print(1, &[0x0f, 1, 4, 3, 0x20])),
            ("vwt1", syn_print(&syn(0x02, 64_240, LINUX)).unwrap()),
        ] {
            let (text, print) = example(tag);
            assert_eq!(told, print);
            let hash: String = Sha256::digest(text).iter().take(HASH).map(|byte| format!("{byte:02x}")).collect();
            assert!(print.ends_with(&format!(":{hash}")), "{tag}: {hash}");
        }
    }

    /// Options of a SYN of Linux.
    const LINUX: &[u8] = &[2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7];

    fn syn(flags: u8, window: u16, options: &[u8]) -> Vec<u8> {
        let mut header = vec![7; 20];
        (header[12], header[13]) = ((5 + options.len() as u8 / 4) << 4, flags);
        header[14..16].copy_from_slice(&window.to_be_bytes());
        [&header, options].concat()
    }

    #[test]
    fn syns_differ_by_what_the_system_does() {
        let begins = |flags, window, options: &[u8]| {
            syn_print(&syn(flags, window, options)).map(|print| print.rsplit_once(':').unwrap().0.to_owned())
        };
        assert_eq!(begins(0x02, 64_240, LINUX).as_deref(), Some("vwt1:syn/7/1460"));
        assert_eq!(begins(0x12, 65_535, &[2, 4, 5, 0x50]).as_deref(), Some("vwt1:syn-ack/-/1360"));
        assert_eq!(begins(0x02, 512, &[]).as_deref(), Some("vwt1:syn/-/-"));
        assert_eq!(begins(0x10, 64_240, LINUX), None);
        // What stands behind the end of the list is no option.
        let print = |options: &[u8]| syn_print(&syn(0x02, 512, options));
        assert_eq!(print(&[1, 0, 3, 3]), print(&[1, 0, 9, 9]));
        assert_ne!(print(&[1, 0, 3, 3]), print(&[1, 1, 0, 0]));
        // Congestion notification, another window, options in another order: each is another system.
        let swapped = [&LINUX[4..6], &LINUX[..4], &LINUX[6..]].concat();
        for (flags, window, options) in [(0xc2, 64_240, LINUX), (0x02, 64_241, LINUX), (0x02, 64_240, &swapped[..])] {
            assert_ne!(syn_print(&syn(flags, window, options)), syn_print(&syn(0x02, 64_240, LINUX)));
        }
        // Options that do not end, or are cut off.
        assert_eq!(print(&[2, 9, 5, 5]), None);
        let whole = syn(0x02, 64_240, LINUX);
        assert!((0..whole.len()).all(|len| syn_print(&whole[..len]).is_none()));
        // A length of zero leads nowhere, and does not keep from going on.
        assert!(print(&[9, 0, 0, 0]).is_some());
    }

    #[test]
    fn names_and_times_are_left_out() {
        let info =
            CertificateInfo { parsed: true, subject: b"CN=a", not_before: 5, not_after: 86_405, ..Default::default() };
        let other = CertificateInfo { subject: b"CN=b", issuer: b"CN=c", not_before: 0, not_after: 90_000, ..info };
        assert_eq!(certificate_print(&info, []), certificate_print(&other, []));
        assert_ne!(certificate_print(&info, []), certificate_print(&CertificateInfo { self_signed: true, ..info }, []));
        assert_eq!(certificate_print(&CertificateInfo { parsed: false, ..info }, []), None);
    }

    #[test]
    fn validity_has_classes() {
        let class = |days: u64| validity(100, 100 + days * 86_400);
        assert_eq!(
            [0, 7, 8, 90, 365, 398, 399, 3650, 3661].map(class).join(" "),
            "7d 7d 47d 100d 398d 398d 825d 10y long"
        );
        assert_eq!(validity(100, 99), "never");
    }

    #[test]
    fn shuffled_parameters_are_the_same() {
        let hash = |numbers: &[u16]| parameters_print(1, numbers).rsplit(':').next().unwrap().to_owned();
        assert_eq!(hash(&[4, 1, 3]), hash(&[3, 4, 1]));
        assert_ne!(hash(&[4, 1, 3]), hash(&[3, 4]));
        assert!(parameters_print(1, &[1, 3, 4]).starts_with("vwq1:1/3/ascending:"));
    }
}
