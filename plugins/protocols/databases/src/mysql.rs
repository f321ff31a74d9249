//! MySQL's client/server protocol, version 10 of the handshake (its documentation, "Connection Phase").

use crate::dissect::{HIDDEN, Side, little as low_first, text as lossy};
use crate::template::{Limits, Stop, zero_ended};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink};
use veilwatch_core::plugin::{
    Carrier, PluginError, Probe, Progress, ProtocolTemplate, Reader, RecordSink, Settings, StreamView,
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
            draw_packets(&mut clear, direction == client, tree);
            let mut rest = Side { bytes, at: clear.at, direction };
            let words = if end < bytes.len() { ("TLS", "from here on") } else { ("Not read", "") };
            rest.all(words.0, words.1, tree);
            tree.close();
        }
    }
}

/// Packets: a length of three bytes, a number, and a body.
fn draw_packets(side: &mut Side<'_>, of_client: bool, tree: &mut TreeSink<'_>) {
    let mut first = true;
    while !side.rest().is_empty() && !tree.is_full() {
        let Some(&[a, b, c, number]) = side.rest().first_chunk() else {
            side.all("Packet", "cut off here", tree);
            return;
        };
        let len = u32::from_le_bytes([a, b, c, 0]) as usize;
        let there = side.rest().len() - 4;
        let kind = side.rest().get(4).copied();
        let name = match (of_client, first) {
            (false, true) => "greeting".into(),
            (false, false) => answer(kind, len),
            (true, true) => if matches!(len, SSL_REQUEST | OLD_SSL_REQUEST) { "SSLRequest" } else { "login" }.into(),
            // Commands begin anew; what counts on is part of a login.
            (true, false) if number > 0 => "part of a login".into(),
            (true, false) => kind.map_or_else(String::new, command),
        };
        let cut = if there < len { ", cut off here" } else { "" };
        tree.open("Packet", &format!("{name}{cut}"), side.range(4 + len));
        let mut body = side.part(4 + len);
        tree.leaf("Length", &format!("{len} bytes"), Some(ByteRange::new(body.direction, body.at, 3)));
        tree.leaf("Number", &number.to_string(), Some(ByteRange::new(body.direction, body.at + 3, 1)));
        body.at = (body.at + 4).min(body.bytes.len());
        let drawn = match (of_client, first) {
            (false, true) => draw_greeting(&mut body, tree),
            (false, false) => draw_answer(kind, &mut body, tree),
            (true, true) => draw_login(&mut body, len, tree),
            (true, false) if number > 0 => {
                body.all("Data", HIDDEN, tree);
                Some(())
            }
            (true, false) => draw_command(kind, &mut body, tree),
        };
        if drawn.is_none() {
            body.all("The rest", "is not there, or not as it should be", tree);
        }
        tree.close();
        first = false;
    }
}

fn number(bytes: &[u8]) -> String {
    low_first(bytes).to_string()
}

/// What a server begins with; nothing where it ends within it.
fn draw_greeting(body: &mut Side<'_>, tree: &mut TreeSink<'_>) -> Option<()> {
    let version = body.leaf("Version of the protocol", 1, number, tree)?;
    if version != [VERSION] {
        return None;
    }
    body.text("Version of the server", tree)?;
    body.leaf("Connection", 4, number, tree)?;
    body.leaf("Salt", 9, |_| "8 bytes".into(), tree)?;
    let low = body.leaf("Can do, lower half", 2, |bits| capabilities(low_first(bits)), tree)?;
    // Old servers end here.
    if body.rest().is_empty() {
        return Some(());
    }
    body.leaf("Character set", 1, number, tree)?;
    body.leaf("Status", 2, |status| format!("{:#06x}", low_first(status)), tree)?;
    let high = body.leaf("Can do, upper half", 2, |bits| capabilities(low_first(bits) << 16), tree)?;
    let all = low_first(high) << 16 | low_first(low);
    body.leaf("Bytes of the salt", 1, number, tree)?;
    body.leaf("Filler", 10, |_| String::new(), tree)?;
    let salt = body.rest().iter().position(|byte| *byte == 0).map_or(body.rest().len(), |len| len + 1);
    body.leaf("More salt", salt, |salt| format!("{} bytes", salt.len()), tree)?;
    if all & u64::from(PLUGIN_AUTH) != 0 && !body.rest().is_empty() {
        body.text("How to show who one is", tree)?;
    }
    Some(())
}

/// What a client answers to the greeting; nothing where it ends within it.
fn draw_login(body: &mut Side<'_>, len: usize, tree: &mut TreeSink<'_>) -> Option<()> {
    let low = body.leaf("Can do, lower half", 2, |bits| capabilities(low_first(bits)), tree)?;
    if low_first(low) & u64::from(PROTOCOL_41) == 0 {
        if len != OLD_SSL_REQUEST {
            body.all("Name and password", HIDDEN, tree);
        }
        return Some(());
    }
    let high = body.leaf("Can do, upper half", 2, |bits| capabilities(low_first(bits) << 16), tree)?;
    let all = low_first(high) << 16 | low_first(low);
    let has = |bit: u32| all & u64::from(bit) != 0;
    body.leaf("Largest packet", 4, number, tree)?;
    body.leaf("Character set", 1, number, tree)?;
    body.leaf("Filler", 23, |_| String::new(), tree)?;
    if body.rest().is_empty() {
        return Some(());
    }
    body.text("User", tree)?;
    let proof = *body.rest().first()?;
    if proof >= 0xfb && has(LENGTH_CODED) {
        body.all("Proof", HIDDEN, tree);
        return Some(());
    }
    let hidden = |proof: &[u8]| if proof.len() > 1 { HIDDEN } else { "none" }.to_owned();
    if body.leaf("Proof", 1 + usize::from(proof), hidden, tree).is_none() {
        body.all("Proof", HIDDEN, tree);
        return Some(());
    }
    if has(CONNECT_WITH_DB) {
        body.text("Database", tree)?;
    }
    if has(PLUGIN_AUTH) {
        body.text("How it shows who it is", tree)?;
    }
    body.all("Attributes", "", tree);
    Some(())
}

fn draw_command(kind: Option<u8>, body: &mut Side<'_>, tree: &mut TreeSink<'_>) -> Option<()> {
    body.leaf("Command", 1, |kind| kind.first().copied().map_or_else(String::new, command), tree)?;
    match kind {
        Some(2) => body.all("Database", &lossy(body.rest()), tree),
        Some(3 | 22) => body.all("Statement", &lossy(body.rest()), tree),
        // A change of user has a password.
        Some(17) => body.all("Data", HIDDEN, tree),
        _ => body.all("Data", "", tree),
    }
    Some(())
}

fn draw_answer(kind: Option<u8>, body: &mut Side<'_>, tree: &mut TreeSink<'_>) -> Option<()> {
    match kind {
        Some(0xff) => {
            body.leaf("Kind", 1, |_| "error".into(), tree)?;
            body.leaf("Code", 2, number, tree)?;
            if body.rest().first() == Some(&b'#') {
                body.leaf("State", 6, |state| lossy(state.get(1..).unwrap_or_default()), tree)?;
            }
            body.all("Words", &lossy(body.rest()), tree);
        }
        Some(0xfe) if body.rest().len() > 5 => {
            body.leaf("Kind", 1, |_| "another way is wanted".into(), tree)?;
            body.text("How to show who one is", tree)?;
            body.all("Salt", "", tree);
        }
        _ => body.all("Data", "", tree),
    }
    Some(())
}

/// What an answer is by its first byte and its length.
fn answer(kind: Option<u8>, len: usize) -> String {
    let name = match kind {
        Some(0) => "fine",
        Some(1) => "more of a login, or a row",
        Some(0xfe) if len <= 5 => "end",
        Some(0xfe) => "another login",
        Some(0xff) => "error",
        _ => "data",
    };
    name.into()
}

/// Capabilities that a person looks for (its documentation, "Capabilities Flags").
fn capabilities(bits: u64) -> String {
    let names = [
        (CONNECT_WITH_DB, "a database at once"),
        (1 << 5, "compression"),
        (PROTOCOL_41, "protocol 4.1"),
        (SSL, "TLS"),
        (PLUGIN_AUTH, "plugins for logins"),
        (LENGTH_CODED, "long proofs"),
    ];
    let mut said: Vec<&str> =
        names.iter().filter(|(bit, _)| bits & u64::from(*bit) != 0).map(|(_, name)| *name).collect();
    if said.is_empty() {
        said.push("nothing of note");
    }
    format!("{}, {bits:#x}", said.join(", "))
}

/// Commands (its documentation, "Command Phase").
fn command(kind: u8) -> String {
    let name = match kind {
        1 => "quit",
        2 => "use a database",
        3 => "query",
        4 => "list fields",
        9 => "statistics",
        14 => "ping",
        17 => "change user",
        22 => "prepare",
        23 => "execute",
        25 => "close a statement",
        31 => "reset the connection",
        _ => "another command",
    };
    format!("{name}, {kind}")
}
