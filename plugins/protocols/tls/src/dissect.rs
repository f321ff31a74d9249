//! What TLS shows in clear, as a tree for people: records, handshake messages, the members of both hellos.
//!
//! A handshake message stands under the record that it begins in; where it goes on in further records, the bytes of a
//! member reach over what lies between. What is cut or odd is drawn as far as it goes.

use crate::certificate::{Certificate, Staple};
use crate::client::Bytes;
use crate::handshake::is_message;
use crate::records::{
    ALERT, APPLICATION_DATA, CERTIFICATE, CERTIFICATE_STATUS, CHANGE_CIPHER_SPEC, CLIENT_HELLO, HANDSHAKE, HEADER,
    Header, SERVER_HELLO, is_second_hello, old_hello,
};
use crate::server::RETRY;
use crate::template::Limits;
use std::ops::Range;
use tls_parser::TlsCipherSuite;
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::StreamView;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink, hex};
use veilwatch_core::record::{CertificateInfo, alert_name, handshake_name, is_grease};

/// Draws both directions.
pub(crate) fn draw(stream: &StreamView<'_>, limits: &Limits, tree: &mut TreeSink<'_>) {
    for (direction, name) in [(Direction::Forward, "TLS, originator"), (Direction::Backward, "TLS, responder")] {
        let bytes = stream.bytes(direction);
        if bytes.is_empty() {
            continue;
        }
        tree.open(name, "", Some(ByteRange::new(direction, 0, bytes.len())));
        draw_records(bytes, direction, limits, tree);
        tree.close();
    }
}

fn draw_records(bytes: &[u8], direction: Direction, limits: &Limits, tree: &mut TreeSink<'_>) {
    let range = |offset, length| Some(ByteRange::new(direction, offset, length));
    let clear = Clear::read(bytes, direction, limits);
    let mut at = 0;
    if let Some(Some(length)) = old_hello(bytes) {
        tree.leaf("ClientHello in SSL 2.0 form", &format!("{length} bytes"), range(0, length.min(bytes.len())));
        at = length;
    }
    let mut next = 0;
    while let Some(header) = Header::at(bytes, at).filter(|_| !tree.is_full()) {
        if !header.is_plausible() {
            tree.leaf("No record of TLS", "nothing is read from here on", range(at, bytes.len() - at));
            return;
        }
        let there = (bytes.len() - at).min(HEADER + usize::from(header.len));
        tree.open("Record", &number_and_name(header.kind, content_type(header.kind)), range(at, there));
        tree.leaf("Version", &version(header.version), range(at + 1, 2));
        let cut = if there < HEADER + usize::from(header.len) { ", cut off here" } else { "" };
        tree.leaf("Length", &format!("{} bytes{cut}", header.len), range(at + 3, 2));
        let body = &bytes[at + HEADER..at + there];
        match (header.kind, body) {
            (HANDSHAKE, _) if clear.has(at) => {
                while let Some(message) = clear.messages.get(next).filter(|message| message.record == at) {
                    clear.draw(message, limits, tree);
                    next += 1;
                }
            }
            (HANDSHAKE, _) => tree.leaf("Encrypted handshake", "", range(at + HEADER, body.len())),
            (ALERT, &[level, what]) if header.len == 2 => {
                let level = if level == 2 { "fatal" } else { "warning" };
                let what = number_and_name(what, alert_name(what));
                tree.leaf("Alert", &format!("{level}, {what}"), range(at + HEADER, 2));
            }
            _ => {}
        }
        tree.close();
        at += HEADER + usize::from(header.len);
    }
}

/// A message in the joined handshake.
struct Found {
    /// The record it begins in.
    record: usize,
    /// All of it that is there, its head included.
    bytes: Range<usize>,
}

/// The handshake of one direction as far as it is in clear, records joined.
struct Clear {
    direction: Direction,
    bytes: Vec<u8>,
    /// Where each record's share begins: in the joined bytes, and its record in the stream.
    shares: Vec<(usize, usize)>,
    messages: Vec<Found>,
}

impl Clear {
    fn read(stream: &[u8], direction: Direction, limits: &Limits) -> Self {
        let mut clear = Self { direction, bytes: Vec::new(), shares: Vec::new(), messages: Vec::new() };
        let mut at = old_hello(stream).flatten().unwrap_or(0);
        let mut encrypted = false;
        while let Some(header) = Header::at(stream, at).filter(|header| header.is_plausible()) {
            let end = (at + HEADER + usize::from(header.len)).min(stream.len());
            let body = &stream[at + HEADER..end];
            if header.kind == HANDSHAKE && (!encrypted || is_second_hello(header, body)) {
                let room = limits.handshake_bytes.saturating_sub(clear.bytes.len());
                clear.shares.push((clear.bytes.len(), at));
                clear.bytes.extend_from_slice(&body[..body.len().min(room)]);
            }
            encrypted |= matches!(header.kind, CHANGE_CIPHER_SPEC | APPLICATION_DATA);
            if clear.shares.len() >= limits.handshake_records {
                break;
            }
            at += HEADER + usize::from(header.len);
        }
        clear.find(limits);
        clear
    }

    fn find(&mut self, limits: &Limits) {
        let mut at = 0;
        while let Some(&[kind, a, b, c]) = self.bytes.get(at..at + 4) {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if !is_message(kind) || length > limits.handshake_bytes {
                return;
            }
            let end = at + 4 + length;
            self.messages.push(Found { record: self.share(at).1, bytes: at..end.min(self.bytes.len()) });
            at = end;
        }
    }

    fn has(&self, record: usize) -> bool {
        self.shares.binary_search_by_key(&record, |share| share.1).is_ok()
    }

    /// The share that a joined byte stands in.
    fn share(&self, at: usize) -> (usize, usize) {
        let behind = self.shares.partition_point(|share| share.0 <= at);
        behind.checked_sub(1).and_then(|share| self.shares.get(share)).copied().unwrap_or_default()
    }

    /// Where joined bytes stand in the stream, from the first to the last.
    fn range(&self, joined: Range<usize>) -> Option<ByteRange> {
        let place = |at: usize| {
            let (start, record) = self.share(at);
            record + HEADER + (at - start)
        };
        let first = place(joined.start);
        let behind =
            joined.end.checked_sub(1).filter(|last| *last >= joined.start).map_or(first, |last| place(last) + 1);
        Some(ByteRange::new(self.direction, first, behind - first))
    }

    fn draw(&self, message: &Found, limits: &Limits, tree: &mut TreeSink<'_>) {
        let Range { start, end } = message.bytes;
        let Some(&[kind, a, b, c]) = self.bytes.get(start..start + 4) else { return };
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        tree.open("Handshake", &number_and_name(kind, handshake_name(kind)), self.range(start..end));
        let cut = if end - start < 4 + length { ", cut off here" } else { "" };
        tree.leaf("Length", &format!("{length} bytes{cut}"), self.range(start + 1..start + 4));
        let mut members = Members { clear: self, at: start + 4, end, limits, tree };
        match kind {
            CLIENT_HELLO => members.client_hello().unwrap_or_default(),
            SERVER_HELLO => members.server_hello().unwrap_or_default(),
            CERTIFICATE => members.certificates().unwrap_or_default(),
            CERTIFICATE_STATUS => members.staple().unwrap_or_default(),
            _ => {}
        }
        tree.close();
    }
}

/// Walks the members of a message and draws each; `None` where the message ends within one.
struct Members<'a, 'b, 't> {
    clear: &'a Clear,
    at: usize,
    end: usize,
    limits: &'a Limits,
    tree: &'b mut TreeSink<'t>,
}

impl<'a> Members<'a, '_, '_> {
    fn take(&mut self, length: usize) -> Option<(&'a [u8], Option<ByteRange>)> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.end)?;
        let joined = self.at..end;
        self.at = end;
        Some((self.clear.bytes.get(joined.clone())?, self.clear.range(joined)))
    }

    /// A length of one or two bytes, and what it counts, as far as that is there.
    fn counted(&mut self, width: usize) -> Option<(&'a [u8], Option<ByteRange>)> {
        let (length, _) = self.take(width)?;
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        self.take(length.min(self.end - self.at))
    }

    fn version_and_random(&mut self) -> Option<()> {
        let (bytes, range) = self.take(2)?;
        self.tree.leaf("Version", &version(Bytes(bytes).word()?), range);
        let (random, range) = self.take(32)?;
        let retry = if random == RETRY { ", a HelloRetryRequest" } else { "" };
        self.tree.leaf("Random", &format!("{}{retry}", hex(random)), range);
        let (session, range) = self.counted(1)?;
        self.tree.leaf("Session ID", &if session.is_empty() { "none".into() } else { hex(session) }, range);
        Some(())
    }

    /// The ClientHello (RFC 8446 section 4.1.2).
    fn client_hello(&mut self) -> Option<()> {
        self.version_and_random()?;
        let from = self.at + 2;
        let (list, range) = self.counted(2)?;
        self.tree.open("Cipher suites", &format!("{}", list.len() / 2), range);
        for (at, suite) in list.chunks_exact(2).enumerate() {
            let joined = from + 2 * at;
            let suite = u16::from_be_bytes([suite[0], suite[1]]);
            self.tree.leaf("Cipher suite", &cipher(suite), self.clear.range(joined..joined + 2));
        }
        self.tree.close();
        let (methods, range) = self.counted(1)?;
        self.tree.leaf("Compression methods", &hex(methods), range);
        self.extensions(true)
    }

    /// The ServerHello (RFC 8446 section 4.1.3).
    fn server_hello(&mut self) -> Option<()> {
        self.version_and_random()?;
        let (suite, range) = self.take(2)?;
        self.tree.leaf("Cipher suite", &cipher(Bytes(suite).word()?), range);
        let (method, range) = self.take(1)?;
        self.tree.leaf("Compression method", &hex(method), range);
        self.extensions(false)
    }

    /// The Certificate message (RFC 5246 section 7.4.2): the chain, the holder's own first.
    fn certificates(&mut self) -> Option<()> {
        let (list, range) = self.counted(3)?;
        self.at -= list.len();
        self.tree.open("Certificates", &format!("{} bytes", list.len()), range);
        while self.at < self.end && !self.tree.is_full() {
            let Some((der, range)) = self.counted(3) else { break };
            self.tree.open("Certificate", &format!("{} bytes", der.len()), range);
            if let Some(certificate) = Certificate::of_one(der, self.limits) {
                draw_certificate(&certificate.record(), range, self.tree);
            }
            self.tree.close();
        }
        self.tree.close();
        Some(())
    }

    /// The CertificateStatus message (RFC 6066 section 8).
    fn staple(&mut self) -> Option<()> {
        let (body, range) = self.take(self.end - self.at)?;
        let staple = Staple::read(body)?;
        self.tree.leaf("OCSP response", &format!("{}, {} transparency stamps", staple.status, staple.stamps), range);
        Some(())
    }

    fn extensions(&mut self, of_client: bool) -> Option<()> {
        let (list, range) = self.counted(2)?;
        let end = self.at;
        self.at -= list.len();
        self.tree.open("Extensions", &format!("{} bytes", list.len()), range);
        let whole = std::mem::replace(&mut self.end, end);
        while self.at + 4 <= end && !self.tree.is_full() {
            let from = self.at;
            let Some(kind) = self.take(2).and_then(|(kind, _)| Bytes(kind).word()) else { break };
            let Some((data, _)) = self.counted(2) else { break };
            let name = if is_grease(kind) { Some("GREASE") } else { extension(kind) };
            let words = words(kind, data, of_client);
            let value = format!("{}{}", name.map_or_else(|| format!("{kind:#06x}"), str::to_owned), words);
            self.tree.leaf("Extension", &value, self.clear.range(from..self.at));
        }
        self.at = end;
        self.end = whole;
        self.tree.close();
        Some(())
    }
}

/// What a certificate says that a person looks for; all of it stands in the same bytes.
fn draw_certificate(info: &CertificateInfo<'_>, range: Option<ByteRange>, tree: &mut TreeSink<'_>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    tree.leaf("Subject", &text(info.subject), range);
    let own = if info.self_signed { ", the same as the subject" } else { "" };
    tree.leaf("Issuer", &format!("{}{own}", text(info.issuer)), range);
    tree.leaf("Serial", &hex(info.serial), range);
    tree.leaf("Validity", &format!("{} to {}, seconds since 1970", info.not_before, info.not_after), range);
    let kind = ["other", "RSA", "elliptic curve", "DSA", "Edwards curve"].get(usize::from(info.key_kind));
    tree.leaf("Key", &format!("{}, {} bits", kind.unwrap_or(&"other"), info.key_bits), range);
    let hash = ["other", "MD5", "SHA-1", "SHA-256", "SHA-384", "SHA-512", "EdDSA"].get(usize::from(info.signature));
    tree.leaf("Signature", hash.unwrap_or(&"other"), range);
    if info.san_count > 0 {
        tree.leaf("Alternative names", &format!("{}, the first {}", info.san_count, text(info.san_first)), range);
    }
    tree.leaf("SHA-256", &hex(info.sha256), range);
}

/// What an extension says, for those that a person looks for.
fn words(kind: u16, data: &[u8], of_client: bool) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = match kind {
        // A list of one name: kind, length, name (RFC 6066 section 3).
        0 if of_client => data.get(5..).map(text),
        // Names behind a length each (RFC 7301 section 3.1).
        16 => data.get(2..).map(|rest| {
            let (mut rest, mut names) = (Bytes(rest), Vec::new());
            while let Some(length) = rest.byte() {
                names.push(text(rest.up_to(usize::from(length))));
            }
            names.join(", ")
        }),
        43 => {
            let list = if of_client { data.get(1..).unwrap_or_default() } else { data };
            let versions = list.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            Some(versions.map(version).collect::<Vec<_>>().join(", "))
        }
        51 => Some(key_shares(data, of_client)),
        ENCRYPTED_HELLO if of_client => encrypted_hello(data),
        _ => None,
    };
    said.filter(|said| !said.is_empty()).map_or_else(String::new, |said| format!(": {said}"))
}

/// Groups and sizes of key shares (RFC 8446 section 4.2.8); a HelloRetryRequest names a group alone.
fn key_shares(data: &[u8], of_client: bool) -> String {
    let mut bytes = Bytes(if of_client { data.get(2..).unwrap_or_default() } else { data });
    let mut shares = Vec::new();
    while let Some(number) = bytes.word() {
        let name = group(number).map_or_else(|| format!("{number:#06x}"), str::to_owned);
        match bytes.word() {
            Some(len) => shares.push(format!("{name} ({} bytes)", bytes.up_to(usize::from(len)).len())),
            None => shares.push(name),
        }
    }
    shares.join(", ")
}

/// Names of groups (IANA, TLS Supported Groups).
fn group(number: u16) -> Option<&'static str> {
    Some(match number {
        23 => "secp256r1",
        24 => "secp384r1",
        25 => "secp521r1",
        29 => "x25519",
        30 => "x448",
        256 => "ffdhe2048",
        257 => "ffdhe3072",
        0x0200 => "MLKEM512",
        0x0201 => "MLKEM768",
        0x0202 => "MLKEM1024",
        0x11eb => "SecP256r1MLKEM768",
        0x11ec => "X25519MLKEM768",
        0x11ed => "SecP384r1MLKEM1024",
        0x11ee => "curveSM2MLKEM768",
        0x6399 => "X25519Kyber768Draft00",
        other if is_grease(other) => "GREASE",
        _ => return None,
    })
}

/// The encrypted ClientHello in an outer one (RFC 9849). One that is made up so that real ones do not stand out
/// looks the same.
const ENCRYPTED_HELLO: u16 = 0xfe0d;

fn encrypted_hello(data: &[u8]) -> Option<String> {
    let mut bytes = Bytes(data);
    if bytes.byte()? != 0 {
        return Some("inner".into());
    }
    let (kdf, aead, config) = (bytes.word()?, bytes.word()?, bytes.byte()?);
    let key = bytes.word()?;
    bytes.take(usize::from(key))?;
    let payload = bytes.word()?;
    Some(format!("real or GREASE, config {config}, KDF {kdf}, AEAD {aead}, key {key} bytes, hello {payload} bytes"))
}

fn number_and_name(number: u8, name: Option<&str>) -> String {
    name.map_or_else(|| number.to_string(), |name| format!("{name}, {number}"))
}

fn version(version: u16) -> String {
    match version {
        0x0300 => "SSL 3.0".into(),
        0x0301..=0x0304 => format!("TLS 1.{}", version - 0x0301),
        other if is_grease(other) => "GREASE".into(),
        other => format!("{other:#06x}"),
    }
}

fn cipher(suite: u16) -> String {
    match TlsCipherSuite::from_id(suite) {
        _ if is_grease(suite) => format!("GREASE, {suite:#06x}"),
        Some(known) => format!("{}, {suite:#06x}", known.name),
        None => format!("{suite:#06x}"),
    }
}

/// Content types (RFC 8446 section 5.1, RFC 6520).
fn content_type(kind: u8) -> Option<&'static str> {
    Some(match kind {
        CHANGE_CIPHER_SPEC => "change_cipher_spec",
        ALERT => "alert",
        HANDSHAKE => "handshake",
        APPLICATION_DATA => "application_data",
        24 => "heartbeat",
        _ => return None,
    })
}

/// Extension types (IANA, TLS ExtensionType Values).
fn extension(kind: u16) -> Option<&'static str> {
    Some(match kind {
        0 => "server_name",
        5 => "status_request",
        10 => "supported_groups",
        11 => "ec_point_formats",
        13 => "signature_algorithms",
        16 => "application_layer_protocol_negotiation",
        18 => "signed_certificate_timestamp",
        21 => "padding",
        22 => "encrypt_then_mac",
        23 => "extended_master_secret",
        27 => "compress_certificate",
        28 => "record_size_limit",
        35 => "session_ticket",
        41 => "pre_shared_key",
        42 => "early_data",
        43 => "supported_versions",
        44 => "cookie",
        45 => "psk_key_exchange_modes",
        49 => "post_handshake_auth",
        50 => "signature_algorithms_cert",
        51 => "key_share",
        0xfe0d => "encrypted_client_hello",
        0xff01 => "renegotiation_info",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tls;
    use crate::testing::{
        certificate, certificate_message, client_hello, client_hello_with, extension as an_extension, message,
        ocsp_response, record, server_hello_with, status_message, vec16, view,
    };
    use proptest::prelude::*;
    use veilwatch_core::plugin::dissect::Tree;

    fn drawn(forward: &[u8], backward: &[u8]) -> Tree {
        Tree::of(&Tls::default(), &view(forward, backward, false))
    }

    /// A line for each node, as the golden file has it.
    fn text(tree: &Tree) -> String {
        let line = |node: &veilwatch_core::plugin::dissect::TreeNode| {
            let place = node.bytes.map_or_else(String::new, |range| {
                let side = if range.direction == Direction::Forward { '>' } else { '<' };
                format!(" [{side}{}+{}]", range.offset, range.length)
            });
            format!("{}{}: {}{place}\n", "  ".repeat(node.depth.into()), node.label, node.value)
        };
        tree.nodes.iter().map(line).collect()
    }

    fn server() -> Vec<u8> {
        let hello = server_hello_with(&[7; 32], &[9; 4], &an_extension(43, &[3, 4]));
        [record(HANDSHAKE, &[hello, message(14, &[])].concat()), record(20, &[1]), record(23, &[0; 30])].concat()
    }

    #[test]
    fn hellos_are_drawn_member_by_member() {
        let tree = drawn(&record(HANDSHAKE, &client_hello("a.example")), &server());
        assert!(tree.is_whole());
        let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/dissect.txt");
        if std::env::var_os("VEILWATCH_WRITE_GOLDEN").is_some() {
            std::fs::create_dir_all(golden.parent().unwrap()).unwrap();
            std::fs::write(&golden, text(&tree)).unwrap();
        }
        assert_eq!(text(&tree), std::fs::read_to_string(golden).unwrap());
    }

    #[test]
    fn certificates_staples_and_alerts_are_drawn() {
        let hello = server_hello_with(&[7; 32], &[], &[]);
        let chain = certificate_message(&[&certificate("a.example", &["a.example", "b.example"]), b"junk"]);
        let flight = [hello, chain, status_message(&ocsp_response(0x80, 2))].concat();
        let (head, tail) = flight.split_at(300);
        let records = [record(HANDSHAKE, head), record(HANDSHAKE, tail), record(ALERT, &[2, 48])].concat();
        let shares = [&[0x11, 0xec][..], &vec16(&[8; 12]), &[0, 29], &vec16(&[9; 32])].concat();
        let sealed = [&[0, 0, 1, 0, 3, 17][..], &vec16(&[1; 32]), &vec16(&[2; 40])].concat();
        let hello = client_hello_with(&[an_extension(51, &vec16(&shares)), an_extension(0xfe0d, &sealed)].concat());
        let tree = drawn(&record(HANDSHAKE, &hello), &records);
        assert!(tree.is_whole());
        let drawn = text(&tree);
        for line in [
            "Extension: key_share: X25519MLKEM768 (12 bytes), x25519 (32 bytes)",
            "Extension: encrypted_client_hello: real or GREASE, config 17, KDF 1, AEAD 3, key 32 bytes, hello 40 bytes",
            "Issuer: O=Good\\, Ltd, CN=Root",
            "Key: RSA, 2048 bits",
            "Alternative names: 2, the first a.example",
            "Certificate: 4 bytes",
            "OCSP response: good, 2 transparency stamps",
            "Alert: fatal, unknown_ca, 48",
        ] {
            assert!(drawn.contains(line), "{line}: {drawn}");
        }
    }

    #[test]
    fn a_message_over_two_records_has_the_bytes_of_both() {
        let hello = client_hello("a.example");
        let whole = drawn(&record(HANDSHAKE, &hello), b"");
        let (head, tail) = hello.split_at(45);
        let split = drawn(&[record(HANDSHAKE, head), record(HANDSHAKE, tail)].concat(), b"");
        let members = |tree: &Tree| {
            let named =
                |node: &&veilwatch_core::plugin::dissect::TreeNode| !["Record", "Version"].contains(&&*node.label);
            tree.nodes.iter().skip(1).filter(named).map(|node| node.value.clone()).skip(1).collect::<Vec<_>>()
        };
        // The second record has nothing of its own but its header.
        assert_eq!(members(&whole), members(&split)[..members(&split).len() - 1]);
        let session = split.nodes.iter().find(|node| node.label == "Session ID").unwrap();
        assert_eq!(session.bytes, Some(ByteRange::new(Direction::Forward, HEADER + 39, 32 + HEADER)));
        assert!(split.is_whole());
    }

    #[test]
    fn what_is_no_tls_or_cut_is_drawn_as_far_as_it_goes() {
        let hello = record(HANDSHAKE, &client_hello("a.example"));
        for cut in 0..hello.len() {
            let tree = drawn(&hello[..cut], b"");
            assert!(!tree.outside && !tree.unbalanced && tree.failed.is_none(), "{cut}: {tree:?}");
        }
        let odd = drawn(&[&hello[..], b"GET / HTTP/1.1"].concat(), b"");
        assert_eq!(odd.nodes.last().map(|node| node.label.as_str()), Some("No record of TLS"));
        assert_eq!(drawn(b"", b""), Tree::default());
    }

    proptest! {
        #[test]
        fn never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..60), at in 0..400usize, value in any::<u8>()) {
            let mut good = [record(HANDSHAKE, &client_hello("a.example")), server()].concat();
            let at = at % good.len();
            good[at] = value;
            bytes.splice(0..0, good.clone());
            for stream in [&good, &bytes] {
                let tree = drawn(stream, stream);
                prop_assert!(!tree.unbalanced && tree.failed.is_none() && !tree.outside);
            }
        }
    }
}
