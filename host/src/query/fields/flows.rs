//! Fields of flows beside those that templates declare: both ends, counts, verdicts, and what output makes of typed records.

use super::super::Kind::{self, Bytes, Duration, Flag, Ip, Ipv4, Ipv6, Number, Real, Text, Time};
use super::super::value::Value;
use crate::engine::Detection;
use crate::output::{community_id, version_name};
use std::net::IpAddr;
use veilwatch_core::flow::{Endpoint, FlowRecord};
use veilwatch_core::record::{
    CertificateInfo, ClientHello, Dns, DnsLinks, Ja4, Record, ServerHello, TlsRecords, dns_code_name, ja3, ja3s, ja4,
};
use veilwatch_core::tables::Transport;

/// Values of a flow.
pub(in crate::query) type ReadFlow = for<'v> fn(&'v Detection<'v>, &mut Vec<Value<'v>>);

const TCP: u8 = 6;
const UDP: u8 = 17;
const SECOND: i128 = 1_000_000_000;

/// Name, kind, how it is read, and words of each field.
pub(super) const FLOWS: &[(&str, Kind, ReadFlow, &str)] = &[
    ("verdict", Text, verdict, "`malicious`, `suspicious`, `benign` or `unknown`, where the flow was scored"),
    ("ml.verdict", Text, verdict, "`malicious`, `suspicious`, `benign` or `unknown`, where the flow was scored"),
    ("score", Real, score, "calibrated score from 0 to 1, where there is a model"),
    ("ml.score", Real, score, "calibrated score from 0 to 1, where there is a model"),
    ("novelty", Real, novelty, "how new the flow is to the model, from 0 to 1"),
    ("ml.novelty", Real, novelty, "how new the flow is to the model, from 0 to 1"),
    ("novel", Flag, novel, "whether training held nothing like it"),
    ("ml.novel", Flag, novel, "whether training held nothing like it"),
    ("category", Text, category, "what the flow is for, as `c2-direct`"),
    ("ml.category", Text, category, "what the flow is for, as `c2-direct`"),
    ("src_ip", Ip, |d, out| out.push(Value::Ip(d.flow.originator.ip())), "the originator"),
    ("dest_ip", Ip, |d, out| out.push(Value::Ip(d.flow.responder.ip())), "the responder"),
    ("addr", Ip, |d, out| ends(d, out, |_| true), "originator and responder"),
    ("src_port", Number, |d, out| port(d, &d.flow.originator, None, out), "the originator's port"),
    ("dest_port", Number, |d, out| port(d, &d.flow.responder, None, out), "the responder's port"),
    ("port", Number, |d, out| ports(d, None, out), "both ports"),
    ("ip", Flag, |d, out| yes(d.flow.originator.is_ipv4(), out), "whether it is IPv4"),
    ("ip.src", Ipv4, |d, out| address(&d.flow.originator, true, out), "the originator"),
    ("ip.dst", Ipv4, |d, out| address(&d.flow.responder, true, out), "the responder"),
    ("ip.addr", Ipv4, |d, out| ends(d, out, IpAddr::is_ipv4), "originator and responder"),
    ("ip.proto", Number, |d, out| out.push(Value::Number(d.flow.protocol.into())), "protocol: 6 TCP, 17 UDP"),
    ("ipv6", Flag, |d, out| yes(!d.flow.originator.is_ipv4(), out), "whether it is IPv6"),
    ("ipv6.src", Ipv6, |d, out| address(&d.flow.originator, false, out), "the originator"),
    ("ipv6.dst", Ipv6, |d, out| address(&d.flow.responder, false, out), "the responder"),
    ("ipv6.addr", Ipv6, |d, out| ends(d, out, IpAddr::is_ipv6), "originator and responder"),
    ("tcp", Flag, |d, out| yes(d.flow.protocol == TCP, out), "whether it goes over TCP"),
    ("tcp.srcport", Number, |d, out| port(d, &d.flow.originator, Some(TCP), out), "the originator's port"),
    ("tcp.dstport", Number, |d, out| port(d, &d.flow.responder, Some(TCP), out), "the responder's port"),
    ("tcp.port", Number, |d, out| ports(d, Some(TCP), out), "both ports"),
    ("udp", Flag, |d, out| yes(d.flow.protocol == UDP, out), "whether it goes over UDP"),
    ("udp.srcport", Number, |d, out| port(d, &d.flow.originator, Some(UDP), out), "the originator's port"),
    ("udp.dstport", Number, |d, out| port(d, &d.flow.responder, Some(UDP), out), "the responder's port"),
    ("udp.port", Number, |d, out| ports(d, Some(UDP), out), "both ports"),
    ("proto", Text, |d, out| out.push(Value::bytes(transport(d.flow))), "`TCP` or `UDP`"),
    ("app_proto", Text, template, "template that recognised it, as `tls`"),
    ("service", Text, service, "what the responder's port usually stands for"),
    ("record", Text, |d, out| out.push(Value::bytes(d.flow.record())), "`final`, or `early` of one that goes on"),
    ("flow_id", Number, |d, out| out.push(Value::Number(d.flow.id)), "number that stands for the flow"),
    ("community_id", Text, |d, out| out.push(Value::text(community_id(d.flow))), "community ID, version 1"),
    ("timestamp", Time, |d, out| out.push(Value::Nanos(d.flow.first_ns.into())), "time of the first packet"),
    ("flow.start", Time, |d, out| out.push(Value::Nanos(d.flow.first_ns.into())), "time of the first packet"),
    ("flow.end", Time, |d, out| out.push(Value::Nanos(d.flow.last_ns.into())), "time of the last packet"),
    ("flow.duration", Duration, duration, "from the first packet to the last"),
    ("flow.reason", Text, |d, out| out.push(Value::bytes(d.flow.end.name())), "why it ended, as `fin` or `idle`"),
    ("flow.first_packet", Number, |d, out| out.push(Value::Number(d.flow.first_packet)), "number of the first packet"),
    ("flow.packets", Number, |d, out| sum(d, |stats| stats.packets, out), "packets of both directions"),
    ("flow.bytes", Number, |d, out| sum(d, |stats| stats.bytes, out), "bytes of both directions"),
    ("flow.pkts_toserver", Number, |d, out| stat(d, 0, |stats| stats.packets, out), "packets of the originator"),
    ("flow.pkts_toclient", Number, |d, out| stat(d, 1, |stats| stats.packets, out), "packets of the responder"),
    ("flow.bytes_toserver", Number, |d, out| stat(d, 0, |stats| stats.bytes, out), "bytes of the originator"),
    ("flow.bytes_toclient", Number, |d, out| stat(d, 1, |stats| stats.bytes, out), "bytes of the responder"),
    ("warning.id", Text, warnings, "warnings of the tables that fit, by their entries"),
    ("file.type", Text, files, "types of the files that each direction begins with, by name"),
    ("tls.sni", Text, server_name, "server name that the client asks for"),
    ("tls.handshake.extensions_server_name", Text, server_name, "server name that the client asks for"),
    ("tls.alpn", Text, application_protocols, "application protocols that the client offers"),
    ("tls.handshake.extensions_alpn_str", Text, application_protocols, "application protocols that the client offers"),
    ("tls.version", Text, version, "version that was agreed on, else the best that was offered, as `TLS 1.2`"),
    ("tls.handshake.ciphersuite", Number, ciphers, "cipher suites, offered and chosen"),
    ("tls.ja3", Text, client_print, "JA3 of the ClientHello, as a hash"),
    ("tls.handshake.ja3", Text, client_print, "JA3 of the ClientHello, as a hash"),
    ("tls.ja3s", Text, server_print, "JA3S of the ServerHello, as a hash"),
    ("tls.handshake.ja3s", Text, server_print, "JA3S of the ServerHello, as a hash"),
    ("tls.ja4", Text, client_print_4, "JA4 of the ClientHello"),
    ("tls.handshake.ja4", Text, client_print_4, "JA4 of the ClientHello"),
    ("tls.session_resumed", Flag, resumed, "whether an earlier session was taken up"),
    ("tls.subject", Text, |d, out| certificate(d, out, |c| c.subject), "subject of the server's certificate"),
    ("tls.issuerdn", Text, |d, out| certificate(d, out, |c| c.issuer), "its issuer"),
    ("tls.serial", Bytes, |d, out| certificate(d, out, |c| c.serial), "its serial number"),
    ("tls.fingerprint_sha256", Bytes, |d, out| certificate(d, out, |c| c.sha256), "its SHA-256"),
    ("tls.notbefore", Time, |d, out| validity(d, out, |c| c.not_before), "begin of its validity"),
    ("tls.notafter", Time, |d, out| validity(d, out, |c| c.not_after), "end of its validity"),
    (
        "tls.alert_message.desc",
        Number,
        |d, out| alert(d, out, |_, what| what),
        "description of the last alert in clear",
    ),
    ("tls.alert_message.level", Number, |d, out| alert(d, out, |level, _| level), "level of it: 1 warning, 2 fatal"),
    ("dns.qry.name", Text, |d, out| dns(d, out, |dns| text(dns.rrname)), "name that was asked for first"),
    ("dns.qry.type", Number, |d, out| dns(d, out, |dns| Some(Value::Number(dns.rrtype.into()))), "type of that"),
    (
        "dns.flags.rcode",
        Number,
        |d, out| dns(d, out, |dns| dns.first_rcode().map(|code| Value::Number(code.into()))),
        "code of the first response",
    ),
    (
        "dns.rcode",
        Text,
        |d, out| dns(d, out, |dns| dns.first_rcode().map(|code| Value::text(dns_code_name(code)))),
        "code of the first response, as `NXDOMAIN`",
    ),
    ("dns.resp.name", Text, answered_names, "names that led to addresses"),
    ("dns.a", Ipv4, |d, out| answered(d, out, IpAddr::is_ipv4), "addresses of IPv4 that names led to"),
    ("dns.aaaa", Ipv6, |d, out| answered(d, out, IpAddr::is_ipv6), "addresses of IPv6 that names led to"),
    ("dns_name.rrname", Text, led, "name that had led the originator to the responder"),
    ("dns_name.age", Duration, led_age, "from that answer to the flow's begin"),
];

fn verdict<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>) {
    out.extend(d.scored.and_then(|scored| scored.verdict).map(|verdict| Value::bytes(verdict.name())));
}

fn real(value: Option<f64>, out: &mut Vec<Value<'_>>) {
    out.extend(value.filter(|value| value.is_finite()).map(Value::Real));
}

fn score<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>) {
    real(d.scored.and_then(|scored| scored.score), out);
}

fn novelty<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>) {
    real(d.scored.and_then(|scored| scored.novelty), out);
}

fn novel<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>) {
    out.extend(d.scored.map(|scored| Value::Number(d.pipeline.is_novel(scored.novelty).into())));
}

fn category<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>) {
    out.extend(d.category.map(|said| Value::bytes(said.category.name())));
}

/// A flag that is only there where it is set, as a layer is.
fn yes(is: bool, out: &mut Vec<Value<'_>>) {
    out.extend(is.then_some(Value::Number(1)));
}

fn address(endpoint: &Endpoint, old: bool, out: &mut Vec<Value<'_>>) {
    out.extend((endpoint.is_ipv4() == old).then(|| Value::Ip(endpoint.ip())));
}

fn ends<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>, wanted: fn(&IpAddr) -> bool) {
    let both = [&d.flow.originator, &d.flow.responder].map(Endpoint::ip);
    out.extend(both.into_iter().filter(wanted).map(Value::Ip));
}

fn port<'v>(d: &'v Detection<'v>, endpoint: &Endpoint, wanted: Option<u8>, out: &mut Vec<Value<'v>>) {
    let is = wanted.is_none_or(|wanted| wanted == d.flow.protocol);
    out.extend(is.then(|| Value::Number(endpoint.port.into())));
}

fn ports<'v>(d: &'v Detection<'v>, wanted: Option<u8>, out: &mut Vec<Value<'v>>) {
    port(d, &d.flow.originator, wanted, out);
    port(d, &d.flow.responder, wanted, out);
}

fn transport(flow: &FlowRecord) -> &'static str {
    if flow.protocol == TCP { "TCP" } else { "UDP" }
}

fn template<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>) {
    let id = d.flow.template.and_then(|at| d.pipeline.template_ids().get(usize::from(at)));
    out.extend(id.map(Value::bytes));
}

fn service<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>) {
    let transport = Transport::of_protocol(d.flow.protocol);
    out.extend(d.pipeline.tables().service_name(transport, d.flow.responder.port).map(Value::bytes));
}

fn duration<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>) {
    out.push(Value::Nanos(d.flow.shape().duration_ns.into()));
}

type Stats = veilwatch_core::flow::DirectionStats;

fn stat<'v>(d: &'v Detection<'v>, direction: usize, of: fn(&Stats) -> u64, out: &mut Vec<Value<'v>>) {
    out.extend(d.flow.stats.get(direction).map(|stats| Value::Number(of(stats))));
}

fn sum<'v>(d: &'v Detection<'v>, of: fn(&Stats) -> u64, out: &mut Vec<Value<'v>>) {
    out.push(Value::Number(d.flow.stats.iter().map(of).fold(0, u64::saturating_add)));
}

fn warnings<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>) {
    out.extend(d.pipeline.warnings(d.flow).into_iter().map(|(warning, _)| Value::bytes(&*warning.id)));
}

fn files<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>) {
    let known = d.pipeline.tables().files();
    let sights = d.flow.sights.iter().flat_map(|sights| sights.files).flatten();
    out.extend(sights.filter_map(|at| known.get(usize::from(at))).map(|file| Value::bytes(&*file.name)));
}

/// Bytes, where there are some.
fn text(bytes: &[u8]) -> Option<Value<'_>> {
    (!bytes.is_empty()).then(|| Value::bytes(bytes))
}

fn typed<'v, R: Record<'v>>(d: &'v Detection<'v>) -> Option<R> {
    d.flow.fields.record::<R>()
}

fn server_name<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>) {
    out.extend(typed::<ClientHello<'_>>(d).and_then(|hello| text(hello.sni)));
}

fn application_protocols<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>) {
    let names = typed::<ClientHello<'_>>(d).map(|hello| hello.alpn).unwrap_or_default();
    out.extend(names.split(|byte| *byte == b',').filter_map(text));
}

fn version<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>) {
    let server = typed::<ServerHello<'_>>(d).map(|hello| hello.selected_version);
    let version = server.or_else(|| typed::<ClientHello<'_>>(d).map(|hello| hello.best_version()));
    out.extend(version.map(|version| Value::text(version_name(version))));
}

fn ciphers<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>) {
    let offered = typed::<ClientHello<'_>>(d).map(|hello| hello.ciphers).unwrap_or_default();
    let chosen = typed::<ServerHello<'_>>(d).map(|hello| hello.cipher);
    out.extend(offered.iter().copied().chain(chosen).map(|cipher| Value::Number(cipher.into())));
}

fn client_print<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>) {
    out.extend(typed::<ClientHello<'_>>(d).map(|hello| Value::text(ja3(&hello))));
}

fn client_print_4<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>) {
    let print = |hello| ja4(&hello, Ja4::of(d.flow.protocol, &hello));
    out.extend(typed::<ClientHello<'_>>(d).map(|hello| Value::text(print(hello))));
}

fn server_print<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>) {
    out.extend(typed::<ServerHello<'_>>(d).map(|hello| Value::text(ja3s(&hello))));
}

fn resumed<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>) {
    out.extend(typed::<ServerHello<'_>>(d).map(|hello| Value::Number(hello.resumed.into())));
}

fn read_certificate<'v>(d: &'v Detection<'v>) -> Option<CertificateInfo<'v>> {
    typed::<CertificateInfo<'_>>(d).filter(|certificate| certificate.parsed)
}

fn certificate<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>, of: for<'c> fn(&CertificateInfo<'c>) -> &'c [u8]) {
    out.extend(read_certificate(d).and_then(|certificate| text(of(&certificate))));
}

fn validity<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>, of: fn(&CertificateInfo<'_>) -> u64) {
    out.extend(read_certificate(d).map(|certificate| Value::Nanos(i128::from(of(&certificate)) * SECOND)));
}

fn alert<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>, of: fn(u8, u8) -> u8) {
    let records = typed::<TlsRecords<'_>>(d).filter(|records| records.client_alerts > 0 || records.server_alerts > 0);
    let part = |alert: u16| {
        let [level, what] = alert.to_be_bytes();
        of(level, what)
    };
    out.extend(records.map(|records| Value::Number(part(records.last_alert).into())));
}

fn dns<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>, of: for<'c> fn(&Dns<'c>) -> Option<Value<'c>>) {
    out.extend(typed::<Dns<'_>>(d).and_then(|dns| of(&dns)));
}

fn links<'v>(d: &'v Detection<'v>) -> DnsLinks<'v> {
    DnsLinks::new(typed::<Dns<'_>>(d).map(|dns| dns.links).unwrap_or_default())
}

fn answered_names<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>) {
    out.extend(links(d).map(|link| Value::bytes(link.name)));
}

fn answered<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>, wanted: fn(&IpAddr) -> bool) {
    let addresses = links(d).flat_map(|link| link.addresses().map(|(address, _)| Endpoint { address, port: 0 }.ip()));
    out.extend(addresses.filter(wanted).map(Value::Ip));
}

fn led<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>) {
    out.extend(d.flow.names.link.as_ref().map(|link| Value::bytes(&*link.name)));
}

fn led_age<'v>(d: &'v Detection<'v>, out: &mut Vec<Value<'v>>) {
    let age = d.flow.names.link.as_ref().map(|link| link.age).filter(|age| age.is_finite());
    out.extend(age.map(|age| Value::Nanos((age * 1e9) as i128)));
}
