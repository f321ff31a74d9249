//! The protocol template: both directions together.

use crate::certificate::{Certificate, Staple};
use crate::client::Client;
use crate::facts::{Fact, Facts};
use crate::handshake::Message;
use crate::records::{CERTIFICATE, CERTIFICATE_REQUEST, CERTIFICATE_STATUS, CLIENT_HELLO, RECORDS, SERVER_HELLO, Walk};
use crate::server::{Resumed, Server, is_retry};
use crate::{resolver, tor};
use serde::Deserialize;
use smallvec::SmallVec;
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::TreeSink;
use veilwatch_core::plugin::{
    Carrier, Openings, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView, TLS_HANDSHAKE,
};
use veilwatch_core::record::{
    FieldId, FieldSpec, Mark, TlsRecords, Value, certificate_print, is_post_quantum, server_print,
};

/// The settings: how much is read of one connection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes read of a ClientHello.
    pub client_hello_bytes: usize,
    /// Bytes joined of one direction's handshake; a message that announces more is none.
    pub handshake_bytes: usize,
    /// Records over which one direction's handshake may be spread.
    pub handshake_records: usize,
    /// Certificates counted of a chain; with 0 the chain is not read at all, and there is no record of it.
    pub certificates: usize,
    /// Records of each direction whose length and type are noted; with 0 a connection is read no further than its hellos
    /// and certificates.
    pub record_lengths: usize,
    /// Bytes kept of a server name.
    pub sni_bytes: usize,
    /// Bytes kept of each name in a certificate.
    pub name_bytes: usize,
    /// Whether fingerprints of server and certificate are written.
    pub fingerprints: bool,
    /// Bytes at the begin of each direction that are counted by their values; 0 for none.
    pub histogram_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            client_hello_bytes: 16_384,
            handshake_bytes: 65_536,
            handshake_records: 1024,
            certificates: 10,
            record_lengths: 32,
            sni_bytes: 255,
            name_bytes: 512,
            fingerprints: false,
            histogram_bytes: 0,
        }
    }
}

/// Reads TLS over TCP (RFC 5246, RFC 8446) on any port, and handshake messages without records that other templates
/// hand on ([`TLS_HANDSHAKE`]), as those of QUIC are.
///
/// Writes [`ClientHello`](veilwatch_core::record::ClientHello), [`ServerHello`](veilwatch_core::record::ServerHello),
/// [`CertificateInfo`](veilwatch_core::record::CertificateInfo) where there is one in clear, and over TCP always
/// [`TlsRecords`].
#[derive(Debug, Clone, Default)]
pub struct Tls {
    limits: Limits,
    /// The fields that say that one of [`BOUNDS`] was reached, and behind them those of [`Facts`].
    ids: Vec<FieldId>,
}

/// The settings that bound what is read. `record_lengths` is none of them, for it says how many are looked at, nor is
/// `fingerprints` or `histogram_bytes`.
const BOUNDS: [&str; 6] =
    ["client_hello_bytes", "handshake_bytes", "handshake_records", "certificates", "sni_bytes", "name_bytes"];

impl Tls {
    /// Makes the template from its settings ([`Limits`]).
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        let limits: Limits = settings.read()?;
        for (name, value, least, most) in [
            ("client_hello_bytes", limits.client_hello_bytes, 512, 1 << 24),
            ("handshake_bytes", limits.handshake_bytes, 2048, 1 << 24),
            ("handshake_records", limits.handshake_records, 1, 1 << 16),
            ("certificates", limits.certificates, 0, 255),
            ("record_lengths", limits.record_lengths, 0, 1024),
            ("sni_bytes", limits.sni_bytes, 1, 4096),
            ("name_bytes", limits.name_bytes, 1, 4096),
            ("histogram_bytes", limits.histogram_bytes, 0, 4096),
        ] {
            if !(least..=most).contains(&value) {
                return Err(PluginError::settings(format!("`{name}` is {value}; give {least} to {most}")));
            }
        }
        Ok(Self { limits, ids: Vec::new() })
    }

    fn walk<'a>(&self, stream: &StreamView<'a>, direction: Direction, retried: bool) -> Walk<'a> {
        Walk::new(
            stream.bytes(direction),
            stream.ended(direction),
            stream.framed[direction.index()],
            retried,
            &self.limits,
        )
    }
}

/// How often each value of the high four bits stands in some bytes, then how many of them are zero, then how many
/// different ones there are; nothing of nothing.
fn histogram(bytes: &[u8]) -> SmallVec<[u16; 18]> {
    if bytes.is_empty() {
        return SmallVec::new();
    }
    let mut values = [0u16; 256];
    bytes.iter().for_each(|byte| values[usize::from(*byte)] += 1);
    let bins = values.chunks_exact(16).map(|bin| bin.iter().sum());
    let distinct = values.iter().map(|count| u16::from(*count > 0)).sum();
    bins.chain([values[0], distinct]).collect()
}

/// Where a handshake takes place.
#[derive(Debug, Clone, Copy)]
struct Place {
    server_port: u16,
    tcp: bool,
}

/// Whether a direction is a client's by its handshake.
fn is_client(walk: &Walk<'_>) -> bool {
    walk.old_hello.is_some() || walk.message(CLIENT_HELLO).is_some()
}

fn is_server(walk: &Walk<'_>) -> bool {
    walk.message(SERVER_HELLO).is_some()
}

/// Whether the handshake was read for good, and only the headers of records are kept since.
fn is_settled(stream: &StreamView<'_>) -> bool {
    stream.framed.iter().flatten().any(|framed| framed.at == RECORDS.at)
}

/// A message that will not grow: complete, or all that there will be of it.
fn is_ripe(message: &Message<'_>, walk: &Walk<'_>, limit: usize) -> bool {
    message.is_complete() || message.body.len() >= limit || walk.encrypted || walk.is_over()
}

impl ProtocolTemplate for Tls {
    fn fields(&self) -> Vec<FieldSpec> {
        BOUNDS.map(|setting| FieldSpec::limit("tls", setting)).into_iter().chain(Facts::specs()).collect()
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.ids = ids.to_vec();
        Ok(())
    }

    fn openings(&self, carrier: Carrier) -> Openings {
        match carrier {
            Carrier::Tcp => crate::probe::openings(),
            Carrier::Udp => Openings::NONE,
        }
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        crate::probe::probe(stream)
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        if is_settled(stream) {
            return Ok(self.go_on(stream, out));
        }
        let forward = self.walk(stream, Direction::Forward, false);
        let backward = self.walk(stream, Direction::Backward, false);
        // A ClientHello tells who the client is; without one, a ServerHello tells who it is not.
        let reversed = match (is_client(&forward), is_client(&backward)) {
            (false, true) => true,
            (false, false) => is_server(&forward) && !is_server(&backward),
            _ => false,
        };
        let (client_side, mut client, mut server) = if reversed {
            out.swap_directions();
            (Direction::Backward, backward, forward)
        } else {
            (Direction::Forward, forward, backward)
        };
        let server_port = if reversed { stream.originator_port } else { stream.responder_port };
        let place = Place { server_port, tcp: true };
        let retry = server.message(SERVER_HELLO).is_some_and(|message| is_retry(&message));
        if retry {
            client = self.walk(stream, client_side, true);
            server = self.walk(stream, client_side.reverse(), true);
        }
        if self.limits.record_lengths == 0 && !retry && self.has_all(&client, &server) {
            self.write(&client, &server, retry, place, out);
            return Ok(Progress::Done);
        }
        if !(client.is_over() && server.is_over()) {
            // Reading certificates is what costs: it is done once, when the handshake is over or no more of it will come.
            // Where the sides are turned round, and a SYN says otherwise, later parses would take each for the other.
            if !retry && !reversed && self.is_over(&client, &server) {
                self.write(&client, &server, false, place, out);
                out.frames(Direction::Forward, RECORDS);
                out.frames(Direction::Backward, RECORDS);
            }
            return Ok(Progress::More { forward: client.wanted, backward: server.wanted });
        }
        self.write(&client, &server, retry, place, out);
        self.write_records(&client, &server, out);
        Ok(Progress::Done)
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        crate::dissect::draw(stream, &self.limits, tree);
    }

    fn parse_contents(
        &self,
        contents: &str,
        stream: &StreamView<'_>,
        out: &mut RecordSink<'_>,
    ) -> Result<Option<Progress>, PluginError> {
        if contents != TLS_HANDSHAKE {
            return Ok(None);
        }
        // Who is who, the other template knows.
        let [client, server] = [Direction::Forward, Direction::Backward]
            .map(|side| Walk::of_messages(stream.bytes(side), stream.ended(side), &self.limits));
        let retry = server.message(SERVER_HELLO).is_some_and(|message| is_retry(&message));
        let place = Place { server_port: stream.responder_port, tcp: stream.carrier == Carrier::Tcp };
        self.write(&client, &server, retry, place, out);
        let whole = !retry && self.has_all(&client, &server);
        let more = Progress::More { forward: client.wanted, backward: server.wanted };
        Ok(Some(if whole { Progress::Done } else { more }))
    }
}

impl Tls {
    /// Whether all is encrypted from here on, and nothing that is still to come can change what the handshake says.
    fn is_over(&self, client: &Walk<'_>, server: &Walk<'_>) -> bool {
        let ripe = |walk: &Walk<'_>, kind| walk.message(kind).is_some_and(|message| message.is_complete());
        let encrypted = client.encrypted && server.encrypted && client.application_data.is_some();
        // A hello in SSL 2.0 form is no record, so that the headers would not be found again.
        let records = client.old_hello.is_none() && server.old_hello.is_none();
        if !encrypted || !records || !ripe(client, CLIENT_HELLO) || !ripe(server, SERVER_HELLO) {
            return false;
        }
        // The first encrypted record, too, must be there already.
        let hello = server.message(SERVER_HELLO).and_then(|message| Server::read(&message));
        hello.is_some_and(|hello| !hello.is_13() || server.application_data.is_some())
    }

    /// Goes on behind the handshake: the records' lengths, and alerts in clear.
    fn go_on(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Progress {
        let client = self.walk(stream, Direction::Forward, false);
        let server = self.walk(stream, Direction::Backward, false);
        out.resume();
        if !(client.is_over() && server.is_over()) {
            return Progress::More { forward: client.wanted, backward: server.wanted };
        }
        self.write_records(&client, &server, out);
        Progress::Done
    }

    /// Whether the hellos and the certificates are there, for when nothing else is asked for.
    fn has_all(&self, client: &Walk<'_>, server: &Walk<'_>) -> bool {
        let whole = |walk: &Walk<'_>, kind| walk.message(kind).is_some_and(|message| message.is_complete());
        let certificates = self.limits.certificates == 0 || server.encrypted || whole(server, CERTIFICATE);
        certificates && whole(client, CLIENT_HELLO) && whole(server, SERVER_HELLO)
    }

    /// Writes what the handshake shows, the client being the originator.
    fn write<'a>(&self, client: &Walk<'a>, server: &Walk<'a>, retry: bool, place: Place, out: &mut RecordSink<'_>) {
        let client_hello = self.write_client(client, out);
        let (server_hello, resumed) = self.write_server(server, client_hello.as_ref(), retry, out).unzip();
        let is_13 = server_hello.as_ref().is_some_and(Server::is_13);
        let sni = client_hello.as_ref().map_or(&[][..], |hello| hello.sni);
        let message = self.certificate_of(server);
        let certificate = message.and_then(|message| {
            let certificate = Certificate::read(&message, sni, &self.limits)?;
            out.mark(Mark::Certificate, Direction::Backward, message.record);
            Some(certificate)
        });
        let info = certificate.as_ref().map(Certificate::record);
        if let Some(info) = &info {
            out.record(info);
        }
        // In TLS 1.3 the server encrypts first, before that the client.
        let sides = [(Direction::Forward, client), (Direction::Backward, server)];
        let first = if is_13 { [sides[1], sides[0]] } else { sides };
        if let Some((direction, at)) = first.iter().find_map(|(side, walk)| Some((*side, walk.application_data?))) {
            out.mark(Mark::ApplicationData, direction, at);
        }
        let hello = client.message(CLIENT_HELLO);
        let reached = [
            hello.is_some_and(|hello| hello.len > self.limits.client_hello_bytes),
            client.is_too_long() || server.is_too_long(),
            client.too_spread || server.too_spread,
            certificate.as_ref().is_some_and(|certificate| certificate.chain_is_cut),
            client_hello.as_ref().is_some_and(|hello| hello.sni_is_cut),
            certificate.as_ref().is_some_and(Certificate::names_are_cut),
        ];
        out.fields(&self.ids, &reached.map(|reached| reached.then_some(Value::U64(1))));
        let prints = self.prints(server_hello.as_ref(), retry, certificate.as_ref());
        let mut facts = Facts::default();
        facts.text(Fact::ServerPrint, prints[0].as_deref());
        facts.text(Fact::CertificatePrint, prints[1].as_deref());
        facts.text(Fact::Resumed, resumed.flatten().map(Resumed::name));
        if let Some(hello) = &client_hello {
            // A retry only asks for a group.
            let answers =
                |message: Message<'_>| message.kind == SERVER_HELLO && message.is_complete() && !is_retry(&message);
            let agreed = server_hello.as_ref().is_some_and(|server| is_post_quantum(server.key_share))
                && (!retry || server.messages().any(answers));
            let offered = hello.key_shares.iter().any(|group| is_post_quantum(*group));
            facts.count(Fact::PostQuantum, if agreed { 2 } else { u64::from(offered) });
            facts.text(Fact::Dns, resolver::ground(hello, place.server_port, place.tcp));
        }
        facts.text(Fact::Tor, tor::ground(client_hello.as_ref(), info.as_ref()));
        facts.count(Fact::HandshakeStamps, server_hello.as_ref().map_or(0, |hello| hello.stamps));
        if let Some(certificate) = &certificate {
            facts.count(Fact::ChainBreaks, certificate.breaks);
            facts.count(Fact::CertificateStamps, certificate.stamps());
        }
        // All of it is encrypted in TLS 1.3.
        let staple = server.message(CERTIFICATE_STATUS).filter(|_| !is_13).and_then(|staple| Staple::read(staple.body));
        if let Some(staple) = staple {
            facts.text(Fact::Staple, staple.status);
            facts.count(Fact::StapleStamps, staple.stamps);
        }
        facts.count(Fact::Requested, u64::from(server.message(CERTIFICATE_REQUEST).is_some()));
        let shown = self.certificate_of(client).map(|message| Certificate::read(&message, &[], &self.limits));
        let shown_info = shown.as_ref().and_then(Option::as_ref).map(Certificate::record);
        if shown.is_some() {
            facts.number(Fact::ClientChain, shown_info.map_or(0, |info| info.chain_len.into()));
        }
        if let Some(info) = shown_info.filter(|info| info.parsed) {
            facts.bytes(Fact::ClientSubject, info.subject);
            facts.bytes(Fact::ClientIssuer, info.issuer);
            facts.count(Fact::ClientSelfSigned, info.self_signed.into());
            facts.number(Fact::ClientNotBefore, info.not_before);
            facts.number(Fact::ClientNotAfter, info.not_after);
        }
        let [ours, theirs] = [client, server].map(|walk| histogram(walk.begin));
        facts.list(Fact::ClientBytes, &ours);
        facts.list(Fact::ServerBytes, &theirs);
        facts.write(self.ids.get(BOUNDS.len()..).unwrap_or_default(), out);
    }

    /// Fingerprints of the server's hello and certificate, where they are asked for.
    fn prints(
        &self,
        hello: Option<&Server<'_>>,
        retry: bool,
        certificate: Option<&Certificate<'_>>,
    ) -> [Option<String>; 2] {
        if !self.limits.fingerprints {
            return [None, None];
        }
        [
            hello.map(|hello| server_print(&hello.record(false, retry))),
            certificate.and_then(|it| certificate_print(&it.record(), it.extension_kinds())),
        ]
    }

    /// The Certificate message of one side, where certificates are read and this one is ripe.
    fn certificate_of<'w>(&self, walk: &'w Walk<'_>) -> Option<Message<'w>> {
        if self.limits.certificates == 0 {
            return None;
        }
        walk.message(CERTIFICATE).filter(|message| is_ripe(message, walk, usize::MAX))
    }

    /// Writes the first ClientHello: the fingerprints are over it, whatever a HelloRetryRequest makes of the second.
    fn write_client<'w>(&self, walk: &'w Walk<'_>, out: &mut RecordSink<'_>) -> Option<Client<'w>> {
        let count = walk.messages().filter(|message| message.kind == CLIENT_HELLO).count();
        let count = (count + usize::from(walk.old_hello.is_some())).min(255) as u8;
        let (client, at) = match &walk.old_hello {
            Some(hello) => (Client::read_old(hello)?, 0),
            None => {
                let message = walk.message(CLIENT_HELLO)?;
                if !is_ripe(&message, walk, self.limits.client_hello_bytes) {
                    return None;
                }
                (Client::read(&message, &self.limits)?, message.record)
            }
        };
        out.mark(Mark::ClientHello, Direction::Forward, at);
        out.record(&client.record(count));
        Some(client)
    }

    /// Writes the ServerHello behind a HelloRetryRequest where there is one, else the first; also says what it resumes by.
    fn write_server<'w>(
        &self,
        walk: &'w Walk<'_>,
        client: Option<&Client<'_>>,
        retry: bool,
        out: &mut RecordSink<'_>,
    ) -> Option<(Server<'w>, Option<Resumed>)> {
        let mut hellos = walk.messages().filter(|message| message.kind == SERVER_HELLO && message.is_complete());
        let first = hellos.next()?;
        let message = if retry { hellos.find(|message| !is_retry(message)).unwrap_or(first) } else { first };
        let server = Server::read(&message)?;
        out.mark(Mark::ServerHello, Direction::Backward, message.record);
        let resumed = server.resumed_by(client, walk);
        out.record(&server.record(resumed.is_some(), retry));
        Some((server, resumed))
    }

    fn write_records(&self, client: &Walk<'_>, server: &Walk<'_>, out: &mut RecordSink<'_>) {
        if self.limits.record_lengths == 0 {
            return;
        }
        // Between the directions there is no order: the graver alert counts, the server's where they are alike.
        let last_alert = match (client.last_alert, server.last_alert) {
            (Some(ours), Some(theirs)) if ours[0] > theirs[0] => Some(ours),
            (ours, theirs) => theirs.or(ours),
        };
        out.record(&TlsRecords {
            client: &client.lengths,
            server: &server.lengths,
            client_types: &client.types,
            server_types: &server.types,
            client_alerts: client.alerts,
            server_alerts: server.alerts,
            last_alert: last_alert.map_or(0, u16::from_be_bytes),
            client_complete: client.complete,
            server_complete: server.complete,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE};

    #[test]
    fn bytes_are_counted_by_hand() {
        assert!(histogram(b"").is_empty());
        let counts = histogram(b"\x00\x00\x01\x16ab\xff");
        assert_eq!(&counts[..], [3, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 6]);
    }
    use crate::server::RETRY;
    use crate::testing::{
        SESSION, certificate, certificate_message, client_extensions, client_hello, client_hello_with, declared,
        extension, flow, flow_behind_syn, flow_with, message, read, record, server_hello_with,
    };
    use proptest::prelude::*;
    use veilwatch_core::flow::Direction::{Backward, Forward};
    use veilwatch_core::flow::FlowRecord;
    use veilwatch_core::record::{CertificateInfo, ClientHello, ServerHello};

    fn server_flight() -> Vec<u8> {
        let certificate = certificate("a.example", &["a.example"]);
        [
            server_hello_with(&[7; 32], &[9; 32], &extension(0xff01, &[0])),
            certificate_message(&[&certificate]),
            message(12, &[3; 300]),
            message(14, &[]),
        ]
        .concat()
    }

    /// A handshake of TLS 1.2 with data; both sides' handshake cut into records of these sizes.
    fn conversation(cut: usize) -> (Vec<u8>, Vec<u8>) {
        let records = |message: &[u8]| message.chunks(cut).flat_map(|part| record(HANDSHAKE, part)).collect::<Vec<_>>();
        let changed = [record(CHANGE_CIPHER_SPEC, &[1]), record(HANDSHAKE, &[0xe7; 40])].concat();
        let data = [record(APPLICATION_DATA, &[1; 200]), record(APPLICATION_DATA, &[2; 50])].concat();
        let forward =
            [records(&client_hello("a.example")), records(&message(16, &[6; 66])), changed.clone(), data.clone()];
        let backward = [records(&server_flight()), changed, data];
        (forward.concat(), backward.concat())
    }

    fn hellos(flow: &FlowRecord) -> (ClientHello<'_>, ServerHello<'_>, CertificateInfo<'_>) {
        (read(flow).unwrap(), read(flow).unwrap(), read(flow).unwrap())
    }

    #[test]
    fn a_whole_handshake() {
        let (forward, backward) = conversation(usize::MAX);
        let flow = flow(&[(Forward, &forward), (Backward, &backward)]);
        let (client, server, certificate) = hellos(&flow);
        assert_eq!((client.sni, client.count), (&b"a.example"[..], 1));
        assert_eq!((server.selected_version, server.resumed, server.retry), (0x0303, false, false));
        assert!(certificate.parsed && certificate.matches_sni);
        let records: TlsRecords<'_> = read(&flow).unwrap();
        assert_eq!(records.client_types, [22, 22, 20, 22, 23, 23]);
        assert_eq!(records.server[1..], [1, 40, 200, 50]);
        assert!(records.client_complete && records.server_complete);
        assert_eq!(flow.marks, [Some(1), Some(2), Some(2), Some(1)]);
    }

    #[test]
    fn a_setting_that_bounds_what_is_read_says_so() {
        let name = "a-name.example";
        let certificate = certificate(name, &[name]);
        let backward = [
            record(HANDSHAKE, &server_hello_with(&[7; 32], &[9; 32], &[])),
            record(HANDSHAKE, &certificate_message(&[&certificate, &certificate])),
            record(HANDSHAKE, &[message(12, &[3; 3000]), message(14, &[])].concat()),
            record(APPLICATION_DATA, &[1; 50]),
        ];
        let hello = [extension(21, &[0; 600]), client_extensions(name)].concat();
        let forward = [record(HANDSHAKE, &client_hello_with(&hello)), record(APPLICATION_DATA, &[1; 50])];
        let reached = |settings: &str| {
            let flow = flow_with(settings, &[(Forward, &forward.concat()), (Backward, &backward.concat())]);
            let reached = |at: &usize| flow.fields.get(declared(*at)) == Some(Value::U64(1));
            (0..BOUNDS.len()).filter(reached).map(|at| BOUNDS[at]).collect::<Vec<_>>()
        };
        assert_eq!(reached(""), [""; 0]);
        assert_eq!(reached("record_lengths = 1"), [""; 0]);
        for (setting, least) in BOUNDS.into_iter().zip([512, 2048, 1, 1, 5, 5]) {
            assert_eq!(reached(&format!("{setting} = {least}")), [setting]);
        }
        // More than is believed, in a message that is not there.
        let announced = [record(HANDSHAKE, &backward[0][5..]), record(HANDSHAKE, &[11, 2, 0, 0])].concat();
        let flow = flow_with("", &[(Forward, &forward.concat()), (Backward, &announced)]);
        assert_eq!(flow.fields.get(declared(1)), Some(Value::U64(1)));
    }

    #[test]
    fn the_client_may_be_the_one_who_answers() {
        let (forward, backward) = conversation(usize::MAX);
        let straight = flow(&[(Forward, &forward), (Backward, &backward)]);
        for reversed in [
            flow(&[(Backward, &forward), (Forward, &backward)]),
            // The ServerHello is seen first and turns the flow before the ClientHello comes.
            flow(&[(Forward, &backward), (Backward, &forward)]),
        ] {
            assert_eq!(reversed.originator, straight.responder);
            assert_eq!(reversed.fields, straight.fields);
        }
    }

    #[test]
    fn a_hello_retry_request() {
        let changed = record(CHANGE_CIPHER_SPEC, &[1]);
        let key = extension(51, &[0, 24]);
        let share = extension(51, &[0, 24, 0, 1, 9]);
        let version = extension(43, &[3, 4]);
        let retry = record(HANDSHAKE, &server_hello_with(&RETRY, &SESSION, &[&version[..], &key].concat()));
        let hello = record(HANDSHAKE, &server_hello_with(&[7; 32], &SESSION, &[&share[..], &version].concat()));
        let first = record(HANDSHAKE, &client_hello("first.example"));
        // Cut in two, so that it is read only because the server is known to have asked.
        let second = client_hello("second.example");
        let second = [record(HANDSHAKE, &second[..3]), record(HANDSHAKE, &second[3..])].concat();
        let data = record(APPLICATION_DATA, &[4; 60]);
        let client_side = [&changed[..], &second, &data].concat();
        let server_side = [&changed[..], &hello, &data].concat();
        let early = [(Forward, &first[..]), (Backward, &retry)];
        let one = flow(&early);
        let server: ServerHello<'_> = read(&one).unwrap();
        assert_eq!((server.retry, server.key_share), (true, 24));
        let all = flow(&[early[0], early[1], (Forward, &client_side), (Backward, &server_side)]);
        let (client, server) = (read::<ClientHello<'_>>(&all).unwrap(), read::<ServerHello<'_>>(&all).unwrap());
        assert_eq!((client.sni, client.count), (&b"first.example"[..], 2));
        assert_eq!((server.retry, server.resumed, server.selected_version), (true, false, 0x0304));
        assert_eq!(server.extensions, [51, 43]);
        // In TLS 1.3 the server encrypts first.
        assert_eq!(all.marks[Mark::ApplicationData as usize], Some(4));
    }

    #[test]
    fn sessions_that_are_taken_up() {
        let hello = record(HANDSHAKE, &client_hello("a.example"));
        let resumed = |session: &[u8], extensions: &[u8], rest: &[u8]| {
            let server = record(HANDSHAKE, &server_hello_with(&[7; 32], session, extensions));
            let flow = flow(&[(Forward, &hello), (Backward, &[&server[..], rest].concat())]);
            read::<ServerHello<'_>>(&flow).unwrap().resumed
        };
        let changed = record(CHANGE_CIPHER_SPEC, &[1]);
        let certificate = record(HANDSHAKE, &certificate_message(&[b"c"]));
        let version = extension(43, &[3, 4]);
        assert!(resumed(&SESSION, &[], &[]));
        assert!(resumed(b"other", &[], &changed));
        assert!(!resumed(b"other", &[], &[]));
        assert!(!resumed(b"other", &[], &[certificate, changed.clone()].concat()));
        assert!(!resumed(&SESSION, &version, &changed));
        assert!(resumed(&SESSION, &[version, extension(41, &[0, 0])].concat(), &changed));
    }

    #[test]
    fn a_connection_from_its_middle() {
        let data = record(APPLICATION_DATA, &[1; 100]);
        let flow = flow(&[(Forward, &data), (Backward, &data), (Forward, &data)]);
        assert!(read::<ClientHello<'_>>(&flow).is_none());
        let records: TlsRecords<'_> = read(&flow).unwrap();
        assert_eq!((records.client, records.server), (&[100, 100][..], &[100][..]));
        assert_eq!(flow.marks[Mark::ApplicationData as usize], Some(1));
    }

    #[test]
    fn alerts_and_a_hello_in_the_old_form() {
        let old = [&[0x80, 31, 1, 3, 1, 0, 6, 0, 0, 0, 16][..], &[0, 0, 5, 0, 0, 10], &[4; 16]].concat();
        let flow = flow(&[(Forward, &old[..20]), (Forward, &old[20..]), (Backward, &record(ALERT, &[2, 40]))]);
        let client: ClientHello<'_> = read(&flow).unwrap();
        assert_eq!((client.record_version, client.ciphers), (2, &[5, 10][..]));
        let records: TlsRecords<'_> = read(&flow).unwrap();
        assert_eq!((records.server_alerts, records.last_alert), (1, 0x0228));
        assert!(records.client_complete);
    }

    #[test]
    fn a_hello_that_the_capture_cuts_is_read_at_the_end() {
        let hello = record(HANDSHAKE, &client_hello("a.example"));
        let cut = flow(&[(Forward, &hello[..150])]);
        assert_eq!(read::<ClientHello<'_>>(&cut).unwrap().sni, b"a.example");
        assert!(read::<ClientHello<'_>>(&flow(&[(Forward, &hello[..60])])).is_none());
    }

    #[test]
    fn settings_bound_what_is_kept() {
        let (forward, backward) = conversation(usize::MAX);
        let segments = [(Forward, &forward[..]), (Backward, &backward[..])];
        let flow = flow_with("record_lengths = 2\nsni_bytes = 3\nname_bytes = 4", &segments);
        assert_eq!(read::<TlsRecords<'_>>(&flow).unwrap().client.len(), 2);
        let (client, _, certificate) = hellos(&flow);
        assert_eq!((client.sni, certificate.subject), (&b"a.e"[..], &b"O=Sh"[..]));
        assert!(Tls::create(Settings::new("record_lengths = 1025")).is_err());
        assert!(Tls::create(Settings::new("no_such_key = 1")).is_err());
    }

    #[test]
    fn without_lengths_a_connection_is_read_to_its_certificates() {
        let (forward, backward) = conversation(usize::MAX);
        let flight = record(HANDSHAKE, &server_flight());
        let segments = [(Forward, &forward[..]), (Backward, &backward[..])];
        let with = flow(&segments);
        for segments in [&segments[..], &[(Forward, &forward[..]), (Backward, &flight[..])]] {
            let without = flow_with("record_lengths = 0", segments);
            assert_eq!(hellos(&without), hellos(&with));
            assert!(read::<TlsRecords<'_>>(&without).is_none());
        }
    }

    #[test]
    fn certificates_may_be_left_unread() {
        let (forward, backward) = conversation(usize::MAX);
        let segments = [(Forward, &forward[..]), (Backward, &backward[..])];
        let (with, without) = (flow(&segments), flow_with("certificates = 0", &segments));
        assert!(read::<CertificateInfo<'_>>(&without).is_none());
        assert_eq!(without.marks[Mark::Certificate as usize], None);
        // Of the rest nothing is missing.
        assert_eq!(read::<ClientHello<'_>>(&without), read(&with));
        assert_eq!(read::<ServerHello<'_>>(&without), read(&with));
        assert_eq!(read::<TlsRecords<'_>>(&without), read(&with));
        let counted =
            |settings| read::<CertificateInfo<'_>>(&flow_with(settings, &segments)).map(|info| info.chain_len);
        assert_eq!((counted("certificates = 1"), counted("certificates = 255")), (Some(1), Some(1)));
        assert!(Tls::create(Settings::new("certificates = 256")).is_err());
    }

    /// However a handshake is cut into records, its messages are the same.
    #[test]
    fn record_borders_do_not_matter() {
        let (forward, backward) = conversation(usize::MAX);
        let whole = flow(&[(Forward, &forward), (Backward, &backward)]);
        let longest = server_flight().len().max(client_hello("a.example").len());
        // One byte a record would be more than a prefix holds.
        for cut in 2..=longest {
            let (forward, backward) = conversation(cut);
            let cut_up = flow(&[(Forward, &forward), (Backward, &backward)]);
            assert_eq!(hellos(&cut_up), hellos(&whole), "{cut}");
        }
    }

    /// Wherever the first of two segments ends, all that is written is the same.
    #[test]
    fn segment_borders_do_not_matter() {
        let (forward, backward) = conversation(700);
        let whole = flow(&[(Forward, &forward), (Backward, &backward)]);
        for at in 1..forward.len() {
            let cut = flow(&[(Forward, &forward[..at]), (Forward, &forward[at..]), (Backward, &backward)]);
            assert_eq!(cut.fields, whole.fields, "{at}");
        }
        for at in 1..backward.len() {
            let cut = flow(&[(Backward, &backward[..at]), (Forward, &forward), (Backward, &backward[at..])]);
            assert_eq!(cut.fields, whole.fields, "{at}");
        }
    }

    /// Encrypted records of which only the headers are kept say the same as those that are kept whole.
    #[test]
    fn what_is_encrypted_need_not_be_kept() {
        let (forward, backward) = conversation(700);
        let data = |sizes: &[usize]| -> Vec<u8> {
            sizes.iter().flat_map(|size| record(APPLICATION_DATA, &vec![23; *size])).collect()
        };
        // More than a prefix holds: in one piece, nothing is left out, because nothing more is to come.
        let forward = [forward, data(&[3000, 900, 12, 5000, 1, 9000])].concat();
        let backward = [backward, data(&[700, 16_000, 4000]), record(ALERT, &[1, 0])].concat();
        let whole = flow(&[(Forward, &forward), (Backward, &backward)]);
        for size in [100, 1000, 1448] {
            let cuts = vec![size; 60];
            let cut = flow(&interleaved([&forward, &backward], &cuts));
            assert_eq!(cut.fields, whole.fields, "{size}");
        }
        // A connection that ends within a record, before its prefix is full.
        let short = flow(&[(Forward, &forward[..9000]), (Backward, &backward[..9000])]);
        let records: TlsRecords<'_> = read(&short).unwrap();
        assert_eq!((records.client_complete, records.server_complete), (false, false));
        let cut = flow(&interleaved([&forward[..9000], &backward[..9000]], &[1000; 20]));
        assert_eq!(cut.fields, short.fields);
    }

    /// However odd a handshake is, it is the same in one piece as in many, with a SYN before it or without.
    #[test]
    fn odd_handshakes_do_not_depend_on_segments() {
        let data = record(APPLICATION_DATA, &[23; 3000]).repeat(6);
        let changed = record(CHANGE_CIPHER_SPEC, &[1]);
        let hello = record(HANDSHAKE, &client_hello("a.example"));
        // A certificate that announces one byte more than it sends.
        let mut cut_short = certificate_message(&[&certificate("a.example", &["a.example"])]);
        cut_short[3] += 1;
        let server = server_hello_with(&[7; 32], &[9; 32], &extension(0xff01, &[0]));
        let cut_short =
            [record(HANDSHAKE, &[&server[..], &cut_short].concat()), changed.clone(), data.clone()].concat();
        // A hello in the old form, and another one behind it.
        let old = [&[0x80, 31, 1, 3, 1, 0, 6, 0, 0, 0, 16][..], &[0, 0, 5, 0, 0, 10], &[4; 16]].concat();
        let (forward, backward) = conversation(usize::MAX);
        let cases = [
            ([&hello[..], &changed, &data].concat(), cut_short),
            ([&old[..], &hello, &changed, &data].concat(), [&backward[..], &data].concat()),
            // A ClientHello where only encrypted records should be.
            ([&forward[..], &hello, &data].concat(), [&backward[..], &data].concat()),
        ];
        for (at, (client, server)) in cases.iter().enumerate() {
            for [first, second] in [[client, server], [server, client]] {
                for read in [flow, flow_behind_syn] {
                    let whole = read(&[(Forward, first), (Backward, second)]);
                    for size in [90, 700, 1448, 9000] {
                        let cut = read(&interleaved([first, second], &vec![size; 300]));
                        assert_eq!(cut.fields, whole.fields, "{at}, {size}");
                    }
                }
            }
        }
    }

    /// Cuts a stream at these places, in turns with the other one.
    fn interleaved<'a>(streams: [&'a [u8]; 2], cuts: &[usize]) -> Vec<(Direction, &'a [u8])> {
        let mut rest = streams;
        let mut segments = Vec::new();
        for (turn, cut) in cuts.iter().enumerate() {
            let side = &mut rest[turn % 2];
            let (now, later) = side.split_at((*cut).min(side.len()));
            *side = later;
            segments.push((if turn % 2 == 0 { Forward } else { Backward }, now));
        }
        segments.extend([(Forward, rest[0]), (Backward, rest[1])]);
        segments.retain(|(_, bytes)| !bytes.is_empty());
        segments
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(cut in 3usize..900, cuts in prop::collection::vec(1usize..400, 0..40)) {
            let (forward, backward) = conversation(cut);
            let whole = flow(&[(Forward, &forward), (Backward, &backward)]);
            // Who sends first is who opened the flow, so the first cut is forward.
            let pieces = flow(&interleaved([&forward, &backward], &cuts));
            prop_assert_eq!(&pieces.fields, &whole.fields);
        }

        #[test]
        fn damage_never_panics(
            cut in 3usize..900,
            cuts in prop::collection::vec(1usize..400, 0..20),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 0..12),
            chop in any::<prop::sample::Index>(),
        ) {
            let (mut forward, mut backward) = conversation(cut);
            for (at, byte, side) in damage {
                let stream = if side { &mut forward } else { &mut backward };
                let at = at.index(stream.len());
                stream[at] = byte;
            }
            backward.truncate(chop.index(backward.len()));
            flow(&interleaved([&forward, &backward], &cuts));
        }

        #[test]
        fn junk_never_panics(
            head in prop::sample::select(vec![vec![], vec![22, 3, 1], vec![22, 3, 3, 1, 0, 1, 0], vec![0x80, 40, 1, 3, 1]]),
            forward in prop::collection::vec(any::<u8>(), 1..600),
            backward in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            let forward = [head, forward].concat();
            flow(&interleaved([&forward, &backward], &[7, 9, 100]));
        }
    }

    /// `veilwatch config example` prints every default: the file it prints holds those of this plugin.
    #[test]
    fn the_example_holds_the_defaults() {
        let file: toml::Table = include_str!("../../../../config/default.toml").parse().unwrap();
        let entries = file["plugin"].as_array().unwrap();
        let entry = entries.iter().find(|entry| entry["use"].as_str() == Some("protocol/tls")).unwrap();
        let written = entry["settings"].as_table().unwrap();
        let read: Limits = written.clone().try_into().unwrap();
        assert_eq!(read, Limits::default());
        let keys = 9;
        assert_eq!(written.len(), keys, "a setting is missing in config/default.toml");
    }
}
