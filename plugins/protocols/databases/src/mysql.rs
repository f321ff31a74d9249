//! MySQL's client/server protocol, version 10 of the handshake (its documentation, "Connection Phase").

mod dissect;

use crate::dissect::Side;
use crate::template::{Limits, Stop, zero_ended};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink};
use veilwatch_core::plugin::{
    Carrier, Openings, PluginError, Probe, Progress, ProtocolTemplate, Reader, RecordSink, Settings, StreamView,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

/// Reads the greeting of MySQL and MariaDB on any port, and the client's answer; hands over TLS behind an SSLRequest.
#[derive(Debug, Clone)]
pub struct MySql {
    limits: Limits,
    ids: Vec<FieldId>,
}

/// The version of the handshake.
const VERSION: u8 = 10;
/// Capabilities that matter.
const CONNECT_WITH_DB: u32 = 1 << 3;
const PROTOCOL_41: u32 = 1 << 9;
const SSL: u32 = 1 << 11;
const PLUGIN_AUTH: u32 = 1 << 19;
const LENGTH_CODED: u32 = 1 << 21;
/// An SSLRequest: capabilities, largest packet, character set, and 23 bytes that say nothing; and the one of old, of two
/// bytes and three.
const SSL_REQUEST: usize = 32;
const OLD_SSL_REQUEST: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Server,
    LikeClient,
    Short,
    No,
}

/// What a side begins with.
fn look(bytes: &[u8]) -> Look {
    let known = |at: usize, good: fn(u8) -> bool| bytes.get(at).is_none_or(|byte| good(*byte));
    // Length, of which the high byte is 0, then the number of the packet: 0 for a server, 1 for a client.
    if !known(2, |high| high == 0) || !known(3, |number| number <= 1) {
        return Look::No;
    }
    match bytes.get(3) {
        None => Look::Short,
        Some(0) => {
            // The version of the handshake, then that of the server, as text.
            if !known(4, |version| version == VERSION) || !known(5, |digit| digit.is_ascii_digit()) {
                return Look::No;
            }
            if !known(6, |next| next.is_ascii_digit() || next == b'.') {
                return Look::No;
            }
            if bytes.len() < 7 { Look::Short } else { Look::Server }
        }
        Some(_) => match packet(bytes, 0) {
            Packet::Whole { body, .. } if body.len() < OLD_SSL_REQUEST => Look::No,
            _ => Look::LikeClient,
        },
    }
}

/// A packet: its body, where it ends, and its number.
enum Packet<'a> {
    Whole { body: &'a [u8], end: usize, number: u8 },
    Short(usize),
}

fn packet(bytes: &[u8], at: usize) -> Packet<'_> {
    let Some(head) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) else { return Packet::Short(at + 4) };
    let [low, middle, high, number] = *head;
    let end = at + 4 + u32::from_le_bytes([low, middle, high, 0]) as usize;
    match bytes.get(at + 4..end) {
        Some(body) => Packet::Whole { body, end, number },
        None => Packet::Short(end),
    }
}

#[derive(Default)]
struct Told<'a> {
    server_version: Option<&'a [u8]>,
    user: Option<&'a [u8]>,
    database: Option<&'a [u8]>,
    plugin: Option<&'a [u8]>,
    offers_tls: Option<bool>,
    tls: Option<bool>,
    clear_credentials: bool,
}

fn read<'a>(client: &'a [u8], server: &'a [u8], told: &mut Told<'a>) -> Stop {
    let (greeting, answered) = match packet(server, 0) {
        Packet::Whole { body, end, .. } => (body, end),
        Packet::Short(wanted) => return Stop::Server(wanted),
    };
    let Some((version, rest)) = greeting.get(1..).and_then(zero_ended) else { return Stop::Over };
    told.server_version = Some(version);
    // Connection, eight bytes of salt, a zero, the lower half of what the server can do, character set, status, the rest.
    let mut reader = Reader::new(rest);
    let low = reader.take(13).and_then(|_| little(&mut reader, 2));
    told.offers_tls = low.map(|low| low & SSL != 0);
    let (login, asked) = match packet(client, 0) {
        Packet::Whole { number, .. } if number != 1 => return Stop::Over,
        Packet::Whole { body, end, .. } => (body, end),
        Packet::Short(wanted) => return Stop::Client(wanted),
    };
    let mut reader = Reader::new(login);
    let Some(low) = little(&mut reader, 2) else { return Stop::Over };
    if matches!(login.len(), SSL_REQUEST | OLD_SSL_REQUEST) && low & SSL != 0 {
        told.tls = Some(true);
        return Stop::Tls(asked, answered);
    }
    // What logs in without TLS although it was offered.
    told.tls = told.offers_tls.filter(|offers| *offers).map(|_| false);
    if low & PROTOCOL_41 != 0 {
        let capabilities = little(&mut reader, 2).map(|high| high << 16 | low);
        if let Some(capabilities) = capabilities {
            handshake(&mut reader, capabilities, told);
        }
    }
    Stop::Over
}

/// What a client answers to the greeting: who it is, and what it wants.
fn handshake<'a>(reader: &mut Reader<'a>, capabilities: u32, told: &mut Told<'a>) -> Option<()> {
    // Largest packet, character set, filler.
    reader.take(28)?;
    let (user, rest) = zero_ended(reader.rest())?;
    told.user = Some(user);
    let mut reader = Reader::new(rest);
    let len = reader.u8()?;
    if len >= 0xfb && capabilities & LENGTH_CODED != 0 {
        return None;
    }
    let proof = reader.take(len.into())?;
    if capabilities & CONNECT_WITH_DB != 0 {
        let (database, rest) = zero_ended(reader.rest())?;
        told.database = Some(database);
        reader = Reader::new(rest);
    }
    if capabilities & PLUGIN_AUTH != 0 {
        let (plugin, _) = zero_ended(reader.rest())?;
        told.plugin = Some(plugin);
        told.clear_credentials = plugin == b"mysql_clear_password" && !proof.is_empty();
    }
    Some(())
}

fn little(reader: &mut Reader<'_>, len: usize) -> Option<u32> {
    Some(reader.take(len)?.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

impl MySql {
    /// Makes the template from its settings ([`Limits`]).
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        Ok(Self { limits: Limits::read(settings)?, ids: Vec::new() })
    }
}

impl ProtocolTemplate for MySql {
    fn fields(&self) -> Vec<FieldSpec> {
        let text = |name, words| FieldSpec::new(name, FieldKind::Bytes, words);
        let number = |name, words| FieldSpec::new(name, FieldKind::U64, words);
        vec![
            text("mysql.version", "version of the server, as its greeting says"),
            text("mysql.user", "the user who logs in; a password is not read"),
            text("mysql.schema", "the database that is asked for"),
            text("mysql.auth_plugin", "how the client shows who it is"),
            FieldSpec::limit("mysql", "text_bytes"),
            number("mysql.offers_tls", "whether the server can do TLS"),
            number("mysql.starttls", "whether the client took that up"),
            number("mysql.clear_credentials", "1 where a password went in clear"),
        ]
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.ids = ids.to_vec();
        Ok(())
    }

    fn openings(&self, carrier: Carrier) -> Openings {
        match carrier {
            Carrier::Tcp => Openings::ANY,
            Carrier::Udp => Openings::NONE,
        }
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        if stream.carrier != Carrier::Tcp {
            return Probe::No;
        }
        match look(stream.forward) {
            Look::Server => Probe::Certain,
            Look::No => Probe::No,
            Look::Short if !stream.forward.is_empty() => Probe::Unsure,
            // The greeting tells.
            Look::Short | Look::LikeClient => match look(stream.backward) {
                Look::Server => Probe::Certain,
                Look::Short => Probe::Unsure,
                Look::LikeClient | Look::No => Probe::No,
            },
        }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let reversed = look(stream.forward) == Look::Server;
        if reversed && look(stream.backward) == Look::Server {
            // Nobody answers.
            return Ok(Progress::Done);
        }
        let (client, server) =
            if reversed { (stream.backward, stream.forward) } else { (stream.forward, stream.backward) };
        if reversed {
            out.swap_directions();
        }
        let mut told = Told::default();
        let stop = read(client, server, &mut told);
        let texts = [told.server_version, told.user, told.database, told.plugin];
        self.limits.write(&texts, &self.ids, out);
        let flags = [
            told.offers_tls.map(Value::number),
            told.tls.map(Value::number),
            told.clear_credentials.then_some(Value::U64(1)),
        ];
        out.fields(self.ids.get(texts.len() + 1..).unwrap_or_default(), &flags);
        Ok(stop.tell(out))
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        let (client, server) = match look(stream.forward) {
            Look::Server => (Direction::Backward, Direction::Forward),
            _ => (Direction::Forward, Direction::Backward),
        };
        let tls = match read(stream.bytes(client), stream.bytes(server), &mut Told::default()) {
            Stop::Tls(asked, answered) => [asked, answered],
            _ => [usize::MAX; 2],
        };
        for ((direction, name), end) in [(client, "MySQL, client"), (server, "MySQL, server")].into_iter().zip(tls) {
            let bytes = stream.bytes(direction);
            if bytes.is_empty() {
                continue;
            }
            tree.open(name, "", Some(ByteRange::new(direction, 0, bytes.len())));
            let mut clear = Side::new(bytes.get(..end).unwrap_or(bytes), direction);
            dissect::draw_packets(&mut clear, direction == client, tree);
            let mut rest = Side { bytes, at: clear.at, direction };
            let words = if end < bytes.len() { ("TLS", "from here on") } else { ("Not read", "") };
            rest.all(words.0, words.1, tree);
            tree.close();
        }
    }
}
