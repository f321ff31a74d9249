//! Fields of packets beside those of headers: what the capture says of a packet, and what templates draw of its payload.
//!
//! A template draws for people, in words; a rule knows how to take the value out of them again. What has no rule is there as
//! text under `tree.`, by the name that its node has.

use super::super::Kind::{self, Bytes, Duration, Flag, Ip, Ipv4, Ipv6, Mac, Number, Real, Text, Time};
use super::super::packet::OfFlow;
use super::super::value::Value;
use super::{Read, Rule};
use crate::packets::{Extent, PacketView, Payloads};
use std::borrow::Cow;
use veilwatch_core::packet::dissect::{Address, Datum, PacketNode};
use veilwatch_core::record::{dns_code_name, dns_type_name};

/// Values of a node, by its place in the tree.
pub(in super::super) type ReadNode = for<'v> fn(usize, &'v PacketNode, &'v PacketView<'_>, &mut Vec<Value<'v>>);
/// Values of a packet as a whole.
pub(in super::super) type ReadView = for<'v> fn(&'v PacketView<'_>, &mut Vec<Value<'v>>);

/// Values of a packet's flow.
pub(in super::super) type ReadOfFlow = for<'v> fn(&'v OfFlow, &mut Vec<Value<'v>>);

/// How the nodes of a header's field are read.
pub(super) fn datum(kind: Kind) -> ReadNode {
    match kind {
        Text => whole,
        Bytes => layer,
        _ => number_or_address,
    }
}

fn number_or_address<'v>(_: usize, node: &'v PacketNode, _: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    match node.datum {
        Datum::Number(number) => out.push(Value::Number(number)),
        Datum::Ip(address) => out.push(Value::Ip(address)),
        Datum::Mac(address) => out.push(Value::Mac(address)),
        Datum::Words | Datum::Bytes => {}
    }
}

/// The words of a node.
fn whole<'v>(_: usize, node: &'v PacketNode, _: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    out.push(Value::bytes(&node.value));
}

/// A layer's bytes: from its first one to the end of the frame, as what it carries is a part of it.
pub(super) fn layer<'v>(_: usize, node: &'v PacketNode, view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    let begin = node.bytes.as_ref().map_or(0, |bytes| bytes.start);
    out.push(Value::bytes(view.packet.data.get(begin..).unwrap_or_default()));
}

/// The bytes that a node stands in.
fn own_bytes<'v>(_: usize, node: &'v PacketNode, view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    let range = node.bytes.clone().unwrap_or(0..0);
    out.push(Value::bytes(view.packet.data.get(range).unwrap_or_default()));
}

/// A number behind the last comma, or the only word: `handshake, 22`, `TLS_AES_128_GCM_SHA256, 0x1301`, `0x1a2b`.
fn code<'v>(_: usize, node: &'v PacketNode, _: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    out.extend(code_of(node).map(Value::Number));
}

fn code_of(node: &PacketNode) -> Option<u64> {
    let last = node.value.rsplit(", ").next()?;
    match last.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => last.parse().ok(),
    }
}

/// The number that the words begin with: `300 s`, `512 bytes`.
fn first_number<'v>(_: usize, node: &'v PacketNode, _: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    let word = node.value.split([' ', ',']).next();
    out.extend(word.and_then(|word| word.parse().ok()).map(Value::Number));
}

/// Bytes in digits, perhaps with a remark behind them.
fn digits<'v>(_: usize, node: &'v PacketNode, _: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    let digits = node.value.split(',').next().unwrap_or_default();
    let pairs = digits.as_bytes().as_chunks::<2>().0;
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    out.extend(bytes.filter(|bytes| !bytes.is_empty()).map(|bytes| Value::Bytes(Cow::Owned(bytes))));
}

/// The word with this place.
fn word<'v>(node: &'v PacketNode, at: usize, out: &mut Vec<Value<'v>>) {
    out.extend(node.value.splitn(3, ' ').nth(at).map(Value::bytes));
}

fn first_word<'v>(_: usize, node: &'v PacketNode, _: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    word(node, 0, out);
}

fn second_word<'v>(_: usize, node: &'v PacketNode, _: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    word(node, 1, out);
}

fn third_word<'v>(_: usize, node: &'v PacketNode, _: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    word(node, 2, out);
}

fn second_number<'v>(_: usize, node: &'v PacketNode, _: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    let code = node.value.split(' ').nth(1).and_then(|code| code.parse().ok());
    out.extend(code.map(Value::Number));
}

/// That the node is there.
fn yes<'v>(_: usize, _: &'v PacketNode, _: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    out.push(Value::Number(1));
}

fn server_name<'v>(_: usize, node: &'v PacketNode, _: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    out.extend(node.value.strip_prefix("server_name: ").map(Value::bytes));
}

fn application_protocols<'v>(_: usize, node: &'v PacketNode, _: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    if let Some(names) = node.value.strip_prefix("application_layer_protocol_negotiation: ") {
        out.extend(names.split(", ").map(Value::bytes));
    }
}

fn alert_level<'v>(_: usize, node: &'v PacketNode, _: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    out.push(Value::Number(if node.value.starts_with("fatal") { 2 } else { 1 }));
}

/// A distinguished name, without a remark that stands behind it.
fn issuer<'v>(_: usize, node: &'v PacketNode, _: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    let value = node.value.strip_suffix(", the same as the subject").unwrap_or(&node.value);
    out.push(Value::bytes(value));
}

/// A question of DNS: `NAME TYPE, CLASS`.
fn question(node: &PacketNode) -> Option<(&str, &str)> {
    node.value.rsplit_once(", ").and_then(|(rest, _)| rest.rsplit_once(' '))
}

/// Wireshark shows the root as `<Root>`, and names without the last dot, as templates do.
fn question_name<'v>(_: usize, node: &'v PacketNode, _: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    out.extend(question(node).map(|(name, _)| Value::bytes(name)));
}

fn question_type<'v>(_: usize, node: &'v PacketNode, _: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    /// The last type that has a name.
    const NAMED: u16 = 257;
    let Some((_, kind)) = question(node) else { return };
    let number = match kind.strip_prefix("TYPE") {
        Some(number) => number.parse().ok(),
        None => (1..=NAMED).find(|number| dns_type_name(*number) == kind),
    };
    out.extend(number.map(|number: u16| Value::Number(number.into())));
}

fn is_response<'v>(_: usize, node: &'v PacketNode, _: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    let is = match node.value.as_str() {
        "response" => 1,
        "query" => 0,
        _ => return,
    };
    out.push(Value::Number(is));
}

/// The flag of DNS that tells a response.
const RESPONSE: u64 = 0x8000;

/// Bits of DNS's flags; some mean something in responses alone.
fn bits<'v>(node: &'v PacketNode, mask: u64, of_responses: bool, out: &mut Vec<Value<'v>>) {
    let flags = code_of(node).filter(|flags| !of_responses || flags & RESPONSE != 0);
    out.extend(flags.map(|flags| Value::Number((flags & mask) >> mask.trailing_zeros())));
}

/// The code of a response, by the low bits of the flags.
fn response_code<'v>(_: usize, node: &'v PacketNode, _: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    bits(node, 15, true, out);
}

fn response_code_name<'v>(_: usize, node: &'v PacketNode, _: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    let code = code_of(node).filter(|flags| flags & RESPONSE != 0).map(|flags| (flags & 15) as u8);
    out.extend(code.map(|code| Value::text(dns_code_name(code))));
}

/// A version of TLS by its number.
fn version<'v>(_: usize, node: &'v PacketNode, _: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    let number = match node.value.as_str() {
        "SSL 3.0" => Some(0x0300),
        words => match words.strip_prefix("TLS 1.") {
            Some(minor) => minor.parse::<u8>().ok().map(|minor| 0x0301 + u64::from(minor)),
            None => code_of(node),
        },
    };
    out.extend(number.map(Value::Number));
}

/// What stands behind a header of which a node tells the length: of TCP that of the payload, of UDP that of both.
fn carried<'v>(
    at: usize,
    view: &'v PacketView<'_>,
    layer: &str,
    length: impl Fn(usize) -> Option<usize>,
    out: &mut Vec<Value<'v>>,
) {
    /// Nodes of a header, options among them, before the one that is asked.
    const BEFORE: usize = 128;
    let before = view.tree.nodes.get(at.saturating_sub(BEFORE)..at).unwrap_or_default();
    let header = before.iter().rfind(|node| node.depth == 0).filter(|node| node.field == layer);
    let Some(header) = header.and_then(|node| node.bytes.clone()) else { return };
    let Some(length) = length(header.len()).filter(|length| *length > 0) else { return };
    let end = header.end.saturating_add(length).min(view.packet.data.len());
    out.extend(view.packet.data.get(header.end..end).map(Value::bytes));
}

fn payload_of_tcp<'v>(at: usize, node: &'v PacketNode, view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    let Datum::Number(said) = node.datum else { return };
    carried(at, view, "tcp", |_| usize::try_from(said).ok(), out);
}

fn payload_of_udp<'v>(at: usize, node: &'v PacketNode, view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    let Datum::Number(said) = node.datum else { return };
    carried(at, view, "udp", |header| usize::try_from(said).ok()?.checked_sub(header), out);
}

/// One of the counts in `questions 1, answers 2, authorities 0, additional 0`.
fn count<'v>(node: &'v PacketNode, at: usize, out: &mut Vec<Value<'v>>) {
    let part = node.value.split(", ").nth(at).and_then(|part| part.rsplit(' ').next());
    out.extend(part.and_then(|count| count.parse().ok()).map(Value::Number));
}

fn questions<'v>(_: usize, node: &'v PacketNode, _: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    count(node, 0, out);
}

fn answers<'v>(_: usize, node: &'v PacketNode, _: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    count(node, 1, out);
}

/// The data of a record of one type: its type stands a few nodes before it.
fn record<'v>(at: usize, node: &'v PacketNode, view: &'v PacketView<'_>, wanted: &str) -> Option<&'v str> {
    /// Name, type, class and time to live stand before the data.
    const BEFORE: usize = 4;
    let before = view.tree.nodes.get(at.saturating_sub(BEFORE)..at)?;
    let kind =
        before.iter().rev().take_while(|other| other.depth == node.depth).find(|other| other.field == "dns.type");
    let is = kind?.value.split(',').next() == Some(wanted);
    is.then_some(&*node.value)
}

fn address_v4<'v>(at: usize, node: &'v PacketNode, view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    out.extend(record(at, node, view, "A").and_then(|data| data.parse().ok()).map(Value::Ip));
}

fn address_v6<'v>(at: usize, node: &'v PacketNode, view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    out.extend(record(at, node, view, "AAAA").and_then(|data| data.parse().ok()).map(Value::Ip));
}

fn alias<'v>(at: usize, node: &'v PacketNode, view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    out.extend(record(at, node, view, "CNAME").map(Value::bytes));
}

/// Nodes that TLS and DTLS draw.
const RECORD: &[&str] = &["tls.record", "dtls.record"];
const HANDSHAKE: &[&str] = &["tls.handshake", "dtls.handshake"];
const EXTENSION: &[&str] = &["tls.extension"];

/// A field of what templates draw: name, kind, the nodes that have it, their depth where others may have the same name, how
/// they are read, and words.
type Drawn = (&'static str, Kind, &'static [&'static str], Option<u8>, ReadNode, &'static str);

/// What templates draw.
pub(super) const DRAWN: &[Drawn] = &[
    ("tls.record.content_type", Number, &["tls.record"], None, code, "content type of each record"),
    ("dtls.record.content_type", Number, &["dtls.record"], None, code, "content type of each record"),
    ("tls.record.type", Text, RECORD, None, whole, "content type of each record, as `handshake, 22`"),
    ("tls.record.version", Number, &["tls.version"], Some(3), version, "version of each record"),
    ("tls.record.length", Number, &["tls.length"], Some(3), first_number, "bytes of each record, without its header"),
    ("tls.handshake.version", Number, &["tls.version"], Some(4), version, "version that a hello says first"),
    (
        "tls.handshake.length",
        Number,
        &["tls.length"],
        Some(4),
        first_number,
        "bytes of each handshake message in clear",
    ),
    ("tls.handshake.type", Number, &["tls.handshake"], None, code, "type of each handshake message in clear"),
    ("dtls.handshake.type", Number, &["dtls.handshake"], None, code, "type of each handshake message in clear"),
    ("tls.handshake", Text, HANDSHAKE, None, whole, "handshake messages in clear, as `client_hello, 1`"),
    ("tls.handshake.extensions_server_name", Text, EXTENSION, None, server_name, "server name that a client asks for"),
    ("tls.sni", Text, EXTENSION, None, server_name, "server name that a client asks for"),
    (
        "tls.handshake.extensions_alpn_str",
        Text,
        EXTENSION,
        None,
        application_protocols,
        "application protocols of a hello",
    ),
    ("tls.alpn", Text, EXTENSION, None, application_protocols, "application protocols of a hello"),
    ("tls.extension", Text, EXTENSION, None, whole, "extensions of a hello, by name, with what they say"),
    ("tls.handshake.ciphersuite", Number, &["tls.cipher_suite"], None, code, "cipher suites, offered or chosen"),
    ("tls.cipher_suite", Text, &["tls.cipher_suite"], None, whole, "cipher suites by name and number"),
    ("tls.handshake.random", Bytes, &["tls.random", "dtls.random"], None, digits, "random of a hello"),
    ("tls.handshake.session_id", Bytes, &["tls.session_id"], None, digits, "session id of a hello"),
    ("tls.alert_message.desc", Number, &["tls.alert"], None, code, "description of an alert in clear"),
    ("tls.alert_message.level", Number, &["tls.alert"], None, alert_level, "level of an alert: 1 warning, 2 fatal"),
    ("tls.alert", Text, &["tls.alert", "dtls.alert"], None, whole, "alerts in clear"),
    ("tls.subject", Text, &["tls.subject"], None, whole, "subjects of certificates in clear"),
    ("tls.issuerdn", Text, &["tls.issuer"], None, issuer, "issuers of certificates in clear"),
    ("tls.serial", Bytes, &["tls.serial"], None, digits, "serial numbers of certificates in clear"),
    ("tls.fingerprint_sha256", Bytes, &["tls.sha_256"], None, digits, "SHA-256 of certificates in clear"),
    ("dns.id", Number, &["dns.id"], None, code, "identification"),
    ("dns.flags", Number, &["dns.flags"], None, code, "flags, sixteen bits"),
    ("dns.flags.response", Flag, &["dns.message"], None, is_response, "whether it is a response"),
    ("dns.flags.rcode", Number, &["dns.flags"], None, response_code, "code of a response: 0 no error, 3 no such name"),
    ("dns.flags.opcode", Number, &["dns.flags"], None, |_, n, _, out| bits(n, 0x7800, false, out), "kind of query"),
    (
        "dns.flags.authoritative",
        Flag,
        &["dns.flags"],
        None,
        |_, n, _, out| bits(n, 0x0400, true, out),
        "the server answers for its own zone",
    ),
    ("dns.flags.truncated", Flag, &["dns.flags"], None, |_, n, _, out| bits(n, 0x0200, false, out), "cut to fit"),
    (
        "dns.flags.recdesired",
        Flag,
        &["dns.flags"],
        None,
        |_, n, _, out| bits(n, 0x0100, false, out),
        "the server is to ask others",
    ),
    (
        "dns.flags.recavail",
        Flag,
        &["dns.flags"],
        None,
        |_, n, _, out| bits(n, 0x0080, true, out),
        "the server would ask others",
    ),
    ("dns.rcode", Text, &["dns.flags"], None, response_code_name, "code of a response, as `NXDOMAIN`"),
    ("dns.count.queries", Number, &["dns.counts"], None, questions, "questions"),
    ("dns.count.answers", Number, &["dns.counts"], None, answers, "records in the answer"),
    ("dns.qry.name", Text, &["dns.question"], None, question_name, "name that is asked for"),
    ("dns.qry.type", Number, &["dns.question"], None, question_type, "type that is asked for: 1 A, 28 AAAA"),
    ("dns.resp.name", Text, &["dns.name"], None, whole, "names of records"),
    ("dns.resp.type", Number, &["dns.type"], None, code, "types of records"),
    ("dns.resp.ttl", Number, &["dns.time_to_live"], None, first_number, "times to live of records, in seconds"),
    ("dns.a", Ipv4, &["dns.data"], None, address_v4, "addresses of IPv4 in records"),
    ("dns.aaaa", Ipv6, &["dns.data"], None, address_v6, "addresses of IPv6 in records"),
    ("dns.cname", Text, &["dns.data"], None, alias, "names that records lead on to"),
    ("http.request", Flag, &["http.request"], Some(2), yes, "a request"),
    ("http.response", Flag, &["http.response"], Some(2), yes, "a response"),
    ("http.request.line", Text, &["http.request"], Some(2), whole, "first line of a request"),
    ("http.request.method", Text, &["http.request"], Some(2), first_word, "method of a request"),
    ("http.request.uri", Text, &["http.request"], Some(2), second_word, "target of a request, without a password"),
    ("http.request.version", Text, &["http.request"], Some(2), third_word, "version of a request"),
    ("http.response.version", Text, &["http.response"], Some(2), first_word, "version of a response"),
    ("http.response.code", Number, &["http.response"], Some(2), second_number, "status of a response"),
    ("http.response.phrase", Text, &["http.response"], Some(2), third_word, "phrase behind the status"),
    ("http.host", Text, &["http.host"], Some(3), whole, "header Host"),
    ("http.user_agent", Text, &["http.user_agent"], Some(3), whole, "header User-Agent"),
    ("http.referer", Text, &["http.referer"], Some(3), whole, "header Referer"),
    ("http.accept", Text, &["http.accept"], Some(3), whole, "header Accept"),
    ("http.connection", Text, &["http.connection"], Some(3), whole, "header Connection"),
    ("http.content_type", Text, &["http.content_type"], Some(3), whole, "header Content-Type"),
    ("http.content_length_header", Text, &["http.content_length"], Some(3), whole, "header Content-Length, as text"),
    ("http.content_length", Number, &["http.content_length"], Some(3), first_number, "header Content-Length"),
    ("http.date", Text, &["http.date"], Some(3), whole, "header Date"),
    ("http.last_modified", Text, &["http.last_modified"], Some(3), whole, "header Last-Modified"),
    ("http.location", Text, &["http.location"], Some(3), whole, "header Location"),
    ("http.server", Text, &["http.server"], Some(3), whole, "header Server"),
    ("ssh.software", Text, &["ssh.software"], None, whole, "software that a side calls itself"),
    ("ssh.hassh", Text, &["ssh.hassh"], None, whole, "fingerprint of a key exchange's offer"),
    ("file.type", Text, &["file.type"], Some(0), whole, "type of file that the payload begins like"),
    ("warning", Text, &["warning"], Some(0), whole, "warnings of the tables that fit"),
    ("warning.id", Text, &["warning.id"], Some(1), whole, "their entries in the tables"),
    ("tcp.payload", Bytes, &["tcp.len"], None, payload_of_tcp, "what TCP carries"),
    ("udp.payload", Bytes, &["udp.length"], None, payload_of_udp, "what UDP carries"),
    ("data.data", Bytes, &["data"], None, own_bytes, "payload that no template reads"),
];

/// Headers, and what is made of them.
const HEADERS: Extent = Extent { headers: true, ..Extent::RECORD };
/// Whatever templates say, their names too.
const PAYLOAD: Extent = Extent { payload: Payloads::All, ..Extent::RECORD };
/// What the line is made of.
const LINE: Extent = Extent { headers: true, ..PAYLOAD };

/// What must be looked at for nodes of a name to be there; `is_layer` where that is a whole layer. Names of templates may be
/// those of headers, too.
pub(super) fn extent(name: &str, is_layer: bool, templates: &[String]) -> Extent {
    let first = name.split('.').next().unwrap_or_default();
    let of_headers = |known: &str| known.split('.').next() == Some(first);
    let of_template = templates.iter().any(|id| id == first);
    let drawn = if is_layer { PAYLOAD } else { Extent { payload: Payloads::Told, ..Extent::RECORD } };
    let known = if matches!(first, "warning" | "file") {
        Extent { tables: true, ..Extent::RECORD }
    } else if first == "data" {
        PAYLOAD
    } else if super::headers::HEADERS.iter().any(|(known, ..)| of_headers(known)) || first == "service" {
        HEADERS
    } else {
        drawn
    };
    if of_template { known.and(drawn) } else { known }
}

/// What is known of the packet as a whole.
pub(super) const VIEW: &[(&str, Kind, Extent, ReadView, &str)] = &[
    ("frame", Bytes, Extent::RECORD, frame, "all captured bytes"),
    ("frame.number", Number, Extent::RECORD, number, "number in the capture, from 1 on"),
    ("number", Number, Extent::RECORD, number, "number in the capture, from 1 on"),
    ("frame.time", Time, Extent::RECORD, time, "when it was captured"),
    ("frame.time_epoch", Time, Extent::RECORD, time, "when it was captured"),
    ("timestamp", Time, Extent::RECORD, time, "when it was captured"),
    ("frame.time_relative", Duration, Extent::RECORD, since, "since the first packet of the capture"),
    ("since", Duration, Extent::RECORD, since, "since the first packet of the capture"),
    ("frame.len", Number, Extent::RECORD, length, "bytes on the wire"),
    ("length", Number, Extent::RECORD, length, "bytes on the wire"),
    ("frame.cap_len", Number, Extent::RECORD, captured, "bytes that were captured"),
    ("captured", Number, Extent::RECORD, captured, "bytes that were captured"),
    ("frame.link_type", Number, Extent::RECORD, link, "link type, by its number at tcpdump.org"),
    ("src_ip", Ip, HEADERS, source, "who sent it"),
    ("dest_ip", Ip, HEADERS, destination, "for whom it is"),
    ("src_mac", Mac, HEADERS, source_mac, "who sent it, where there is no IP"),
    ("dest_mac", Mac, HEADERS, destination_mac, "for whom it is, where there is no IP"),
    ("src_port", Number, HEADERS, source_port, "port of who sent it"),
    ("dest_port", Number, HEADERS, destination_port, "port of whom it is for"),
    ("proto", Text, HEADERS, protocol, "innermost layer that is no template's, as `TCP`"),
    ("app_proto", Text, PAYLOAD, template, "template that reads the payload, as `tls`"),
    ("service", Text, HEADERS, service, "what the responder's port usually stands for"),
    ("info", Text, LINE, info, "what the packet says, on one line"),
];

/// What is known of the packet's flow.
pub(super) const OF_FLOW: &[(&str, Kind, ReadOfFlow, &str)] = &[
    ("verdict", Text, verdict, "verdict on its flow: `malicious`, `suspicious`, `benign` or `unknown`"),
    ("ml.verdict", Text, verdict, "verdict on its flow: `malicious`, `suspicious`, `benign` or `unknown`"),
    ("score", Real, score, "calibrated score of its flow, from 0 to 1"),
    ("ml.score", Real, score, "calibrated score of its flow, from 0 to 1"),
    ("novelty", Real, novelty, "how new its flow is to the model, from 0 to 1"),
    ("ml.novelty", Real, novelty, "how new its flow is to the model, from 0 to 1"),
    ("novel", Flag, novel, "whether training held nothing like its flow"),
    ("ml.novel", Flag, novel, "whether training held nothing like its flow"),
    ("category", Text, category, "what its flow is for, as `c2-direct`"),
    ("ml.category", Text, category, "what its flow is for, as `c2-direct`"),
];

fn verdict<'v>(flow: &'v OfFlow, out: &mut Vec<Value<'v>>) {
    out.extend(flow.verdict.map(|verdict| Value::bytes(verdict.name())));
}

fn score<'v>(flow: &'v OfFlow, out: &mut Vec<Value<'v>>) {
    out.extend(flow.score.filter(|score| score.is_finite()).map(Value::Real));
}

fn novelty<'v>(flow: &'v OfFlow, out: &mut Vec<Value<'v>>) {
    out.extend(flow.novelty.filter(|novelty| novelty.is_finite()).map(Value::Real));
}

fn novel<'v>(flow: &'v OfFlow, out: &mut Vec<Value<'v>>) {
    out.extend(flow.novel.map(|novel| Value::Number(novel.into())));
}

fn category<'v>(flow: &'v OfFlow, out: &mut Vec<Value<'v>>) {
    out.extend(flow.category.map(|category| Value::bytes(category.name())));
}

fn frame<'v>(view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    out.push(Value::bytes(view.packet.data));
}

fn number<'v>(view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    out.push(Value::Number(view.packet.number));
}

fn time<'v>(view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    out.push(Value::Nanos(view.packet.time_ns.into()));
}

fn since<'v>(view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    out.push(Value::Nanos(view.since_ns));
}

fn length<'v>(view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    out.push(Value::Number(view.packet.wire_len.into()));
}

fn captured<'v>(view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    out.push(Value::Number(view.packet.data.len() as u64));
}

fn link<'v>(view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    out.push(Value::Number(view.packet.link.0.into()));
}

fn ip<'v>(address: Option<Address>, out: &mut Vec<Value<'v>>) {
    if let Some(Address::Ip(address)) = address {
        out.push(Value::Ip(address));
    }
}

fn mac<'v>(address: Option<Address>, out: &mut Vec<Value<'v>>) {
    if let Some(Address::Mac(address)) = address {
        out.push(Value::Mac(address));
    }
}

fn source<'v>(view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    ip(view.src, out);
}

fn destination<'v>(view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    ip(view.dst, out);
}

fn source_mac<'v>(view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    mac(view.src, out);
}

fn destination_mac<'v>(view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    mac(view.dst, out);
}

fn source_port<'v>(view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    out.extend(view.ports.map(|(port, _)| Value::Number(port.into())));
}

fn destination_port<'v>(view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    out.extend(view.ports.map(|(_, port)| Value::Number(port.into())));
}

fn protocol<'v>(view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    out.push(Value::bytes(&view.layer));
}

fn template<'v>(view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    out.extend(view.template.as_deref().map(Value::bytes));
}

fn service<'v>(view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    out.extend(view.service.as_deref().map(Value::bytes));
}

fn info<'v>(view: &'v PacketView<'_>, out: &mut Vec<Value<'v>>) {
    out.push(Value::bytes(&view.info));
}

/// The text of nodes with a name, whatever draws them.
pub(super) fn node(name: &str, templates: &[String]) -> Read {
    Read::Nodes(vec![Rule {
        node: Cow::Owned(name.to_owned()),
        depth: None,
        extent: extent(name, false, templates),
        read: whole,
    }])
}
