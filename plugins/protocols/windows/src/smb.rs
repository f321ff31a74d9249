use crate::dissect::{Place, bits};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink};
use veilwatch_core::plugin::{
    Carrier, PluginError, Probe, Progress, ProtocolTemplate, Reader, RecordSink, Settings, StreamView,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

/// The template of SMB, versions 1 to 3, with NetBIOS's session in front where there is one (RFC 1002 section 4.3).
pub struct Smb(Vec<FieldId>);

/// A header of NetBIOS's session: a kind and a length.
const SESSION: usize = 4;
const SESSION_REQUEST: u8 = 0x81;
/// Longest message that a connection may begin with.
const MOST: usize = 1 << 17;
/// Messages of each side that are looked at.
const MESSAGES: usize = 4;
/// Most bytes of the list of dialects.
const LIST: usize = 512;

const HEADER_1: usize = 32;
const NEGOTIATE_1: u8 = 0x72;
const HEADER_2: usize = 64;

impl Smb {
    /// Makes it; it has no settings.
    ///
    /// # Errors
    /// Any setting.
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none().map(|()| Self(Vec::new()))
    }
}

impl ProtocolTemplate for Smb {
    fn fields(&self) -> Vec<FieldSpec> {
        vec![
            FieldSpec::new(
                "smb.version",
                FieldKind::U64,
                "version of the first message: 1, 2 (2 and 3), 3 for an encrypted one",
            ),
            FieldSpec::new(
                "smb.client_dialects",
                FieldKind::Bytes,
                "dialects offered, separated by commas, at most 512 bytes",
            ),
            FieldSpec::new("smb.dialect", FieldKind::Bytes, "dialect chosen"),
            FieldSpec::new(
                "smb.server_guid",
                FieldKind::Bytes,
                "what the server calls itself, hexadecimal, from version 2 on",
            ),
        ]
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.0 = ids.to_vec();
        Ok(())
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        if stream.carrier != Carrier::Tcp {
            return Probe::No;
        }
        let mut bytes = if stream.forward.is_empty() { stream.backward } else { stream.forward };
        // Names of both ends, each of 34 bytes.
        if let [SESSION_REQUEST, 0, 0, 68, rest @ ..] = bytes {
            if rest.len() < 68 {
                return Probe::Unsure;
            }
            bytes = &rest[68..];
        }
        let [0, 0..=1, _, _, ref begin @ ..] = *bytes else {
            let short = matches!(
                *bytes,
                [] | [0 | SESSION_REQUEST]
                    | [0, 0..=1]
                    | [0, 0..=1, _]
                    | [SESSION_REQUEST, 0]
                    | [SESSION_REQUEST, 0, 0]
            );
            return if short { Probe::Unsure } else { Probe::No };
        };
        match *begin {
            [0xfc..=0xff, b'S', b'M', b'B', ..] => Probe::Certain,
            [] | [0xfc..=0xff] | [0xfc..=0xff, b'S'] | [0xfc..=0xff, b'S', b'M'] => Probe::Unsure,
            _ => Probe::No,
        }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let (client, server) = (Side::read(stream.forward), Side::read(stream.backward));
        let dialect = server.chosen.map(|chosen| match chosen {
            Chosen::Number(number) => name_2(number),
            // The place in the list of the first version; 65535 is none of them.
            Chosen::Place(place) => client.offered_1.get(usize::from(place)).cloned().unwrap_or_default(),
        });
        let text = |text: &Option<String>| text.as_ref().map(|text| text.as_bytes().to_vec());
        let offered = [client.offered_1, client.offered_2].concat();
        let mut list = offered.join(",");
        let mut most = list.len().min(LIST);
        while !list.is_char_boundary(most) {
            most -= 1;
        }
        list.truncate(most);
        let version = client.version.or(server.version).map(|version| Value::U64(version.into()));
        let list = (!list.is_empty()).then_some(Value::Bytes(list.as_bytes()));
        let (dialect, guid) = (text(&dialect.filter(|name| !name.is_empty())), text(&server.guid));
        out.fields(&self.0, &[version, list, dialect.as_deref().map(Value::Bytes), guid.as_deref().map(Value::Bytes)]);
        match [client.wanted, server.wanted] {
            [usize::MAX, usize::MAX] => Ok(Progress::Done),
            [forward, backward] => Ok(Progress::More { forward, backward }),
        }
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        let offered = Side::read(stream.forward).offered_1;
        for (direction, name) in [(Direction::Forward, "SMB, originator"), (Direction::Backward, "SMB, responder")] {
            let bytes = stream.bytes(direction);
            if bytes.is_empty() {
                continue;
            }
            tree.open(name, "", Some(ByteRange::new(direction, 0, bytes.len())));
            draw_side(bytes, direction, &offered, tree);
            tree.close();
        }
    }
}

/// Messages of NetBIOS's session, one behind the other; `offered` are the dialects of version 1.
fn draw_side(bytes: &[u8], direction: Direction, offered: &[String], tree: &mut TreeSink<'_>) {
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty() && !tree.is_full()) {
        let place = Place { bytes: rest, direction, base: at };
        let Some(&[kind, high, mid, low]) = rest.first_chunk::<SESSION>() else {
            tree.leaf("Message", "cut off within its length", place.range(0, rest.len()));
            return;
        };
        let name = match kind {
            0 => "message",
            SESSION_REQUEST => "session request",
            0x82 => "session granted",
            0x83 => "session refused",
            0x84 => "session elsewhere",
            0x85 => "keep-alive",
            _ => {
                tree.leaf("No message", "nothing is read from here on", place.range(0, rest.len()));
                return;
            }
        };
        let len = u32::from_be_bytes([0, high, mid, low]) as usize;
        let there = len.min(rest.len() - SESSION);
        tree.open("Session", name, place.range(0, SESSION + there));
        let cut = if there < len { ", cut off here" } else { "" };
        tree.leaf("Length", &format!("{len} bytes{cut}"), place.range(1, 3));
        if kind == 0 {
            let message = &rest[SESSION..SESSION + there];
            draw_message(Place { bytes: message, direction, base: at + SESSION }, offered, tree);
        }
        tree.close();
        at += SESSION + there;
    }
}

fn draw_message(message: Place<'_>, offered: &[String], tree: &mut TreeSink<'_>) {
    let len = message.bytes.len();
    match *message.bytes {
        [0xff, b'S', b'M', b'B', command, ..] => {
            tree.open("SMB 1", command_1(command), message.range(0, len));
            if draw_1(message, offered, tree).is_none() {
                tree.leaf("The rest", "is not there", None);
            }
            tree.close();
        }
        [0xfe, b'S', b'M', b'B', ..] => draw_all_2(message, tree),
        [0xfd, b'S', b'M', b'B', ..] => tree.leaf("SMB 3", "encrypted", message.range(0, len)),
        [0xfc, b'S', b'M', b'B', ..] => tree.leaf("SMB 3", "compressed", message.range(0, len)),
        _ => tree.leaf("No SMB", "", message.range(0, len)),
    }
}

/// Messages of version 2 that stand behind each other in one ([MS-SMB2] section 2.2.1).
fn draw_all_2(mut message: Place<'_>, tree: &mut TreeSink<'_>) {
    while !tree.is_full() {
        let next = message.number(20, 4).unwrap_or_default() as usize;
        let len = if next == 0 { message.bytes.len() } else { next.min(message.bytes.len()) };
        let this = Place { bytes: &message.bytes[..len], ..message };
        let command = this.number(12, 2).map_or("cut off here", command_2);
        tree.open("SMB 2", command, this.range(0, len));
        if draw_2(this, tree).is_none() {
            tree.leaf("The rest", "is not there", None);
        }
        tree.close();
        // Each begins at a multiple of eight behind the one before it.
        if next < HEADER_2 || next >= message.bytes.len() {
            return;
        }
        message = message.behind(next);
        if !message.bytes.starts_with(b"\xfeSMB") {
            return;
        }
    }
}

fn hex_number(number: u64) -> String {
    format!("{number:#x}")
}

/// [MS-CIFS] sections 2.2.3.1 and 2.2.4.52; nothing where it ends within the header.
fn draw_1(message: Place<'_>, offered: &[String], tree: &mut TreeSink<'_>) -> Option<()> {
    let command =
        message.leaf("Command", 4, 1, |command| format!("{}, {command:#04x}", command_1(command as u8)), tree)?;
    message.leaf("Status", 5, 4, status, tree)?;
    let answers = |flags: u64| if flags & 0x80 != 0 { "an answer" } else { "a request" }.to_owned();
    let flags = message.leaf("Flags", 9, 1, answers, tree)?;
    message.leaf("Tree", 24, 2, hex_number, tree)?;
    message.leaf("Process", 26, 2, hex_number, tree)?;
    message.leaf("User", 28, 2, hex_number, tree)?;
    message.leaf("Message", 30, 2, hex_number, tree)?;
    if command != u64::from(NEGOTIATE_1) {
        return Some(());
    }
    let words = message.number(HEADER_1, 1)?;
    if flags & 0x80 != 0 {
        let name = |place: u64| {
            let name = offered.get(place as usize).map_or("none of those offered", |name| name);
            format!("{name}, {place}")
        };
        return if words > 0 { message.leaf("Dialect", HEADER_1 + 1, 2, name, tree).map(|_| ()) } else { Some(()) };
    }
    let begin = HEADER_1 + 1 + 2 * words as usize;
    let len = message.number(begin, 2)? as usize;
    let list = message.bytes.get(begin + 2..)?;
    let mut at = begin + 2;
    for name in list[..len.min(list.len())].split(|byte| *byte == 0) {
        if tree.is_full() {
            break;
        }
        if let Some(text) = name.strip_prefix(b"\x02") {
            tree.leaf("Dialect", &String::from_utf8_lossy(text), message.range(at, name.len()));
        }
        at += name.len() + 1;
    }
    Some(())
}

/// [MS-SMB2] sections 2.2.1.2, 2.2.3 and 2.2.4; nothing where it ends within it.
fn draw_2(message: Place<'_>, tree: &mut TreeSink<'_>) -> Option<()> {
    let flags = message.number(16, 4)?;
    message.leaf("Status", 8, 4, status, tree)?;
    let name = |command| format!("{}, {command}", command_2(command));
    let command = message.leaf("Command", 12, 2, name, tree)?;
    message.leaf("Credits", 14, 2, |credits| credits.to_string(), tree)?;
    let names =
        [(1, "an answer"), (2, "asynchronous"), (4, "belongs to the one before"), (8, "signed"), (0x1000_0000, "DFS")];
    message.leaf("Flags", 16, 4, |flags| bits(flags, &names), tree)?;
    message.leaf("Message", 24, 8, |number| number.to_string(), tree)?;
    if flags & 2 == 0 {
        message.leaf("Tree", 36, 4, hex_number, tree)?;
    }
    message.leaf("User", 40, 8, hex_number, tree)?;
    if command != 0 {
        return Some(());
    }
    let security = |mode: u64| bits(mode, &[(1, "signs"), (2, "wants signatures")]);
    let guid = |at: usize, tree: &mut TreeSink<'_>| {
        let guid: String = message.get(at, 16)?.iter().map(|byte| format!("{byte:02x}")).collect();
        tree.leaf("Calls itself", &guid, message.range(at, 16));
        Some(())
    };
    let body = HEADER_2;
    if flags & 1 != 0 {
        message.leaf("Security", body + 2, 2, security, tree)?;
        message.leaf("Dialect", body + 4, 2, |number| name_2(number as u16), tree)?;
        guid(body + 8, tree)?;
        message.leaf("Can do", body + 24, 4, capabilities, tree)?;
        return Some(());
    }
    let count = message.leaf("Dialects", body + 2, 2, |count| count.to_string(), tree)?;
    message.leaf("Security", body + 4, 2, security, tree)?;
    message.leaf("Can do", body + 8, 4, capabilities, tree)?;
    guid(body + 12, tree)?;
    for at in (0..count as usize).map(|at| body + 36 + 2 * at) {
        if tree.is_full() {
            break;
        }
        message.leaf("Dialect", at, 2, |number| name_2(number as u16), tree)?;
    }
    Some(())
}

fn capabilities(number: u64) -> String {
    let names = [
        (1, "DFS"),
        (2, "leases"),
        (4, "large messages"),
        (8, "several channels"),
        (0x10, "lasting handles"),
        (0x20, "leases of folders"),
        (0x40, "encryption"),
    ];
    bits(number, &names)
}

/// What became of a request ([MS-ERREF]), for the answers that a login or a share gives.
fn status(number: u64) -> String {
    let name = match number {
        0 => "fine",
        0x103 => "pending",
        0x8000_0005 => "there is more",
        0x8000_0006 => "no more files",
        0xc000_0016 => "the login goes on",
        0xc000_0022 => "not allowed",
        0xc000_0034 => "no such name",
        0xc000_006d => "wrong name or password",
        0xc000_0064 => "no such user",
        0xc000_006a => "wrong password",
        0xc000_00cc => "no such share",
        0xc000_00bb => "not supported",
        0xc000_0234 => "locked out",
        _ => return format!("{number:#010x}"),
    };
    format!("{name}, {number:#x}")
}

/// Commands of version 1 ([MS-CIFS] section 2.2.2.1), as far as they are common.
fn command_1(command: u8) -> &'static str {
    match command {
        0x04 => "close",
        0x06 => "delete",
        0x25 => "transaction",
        0x2b => "echo",
        0x2e => "read",
        0x2f => "write",
        0x32 => "transaction 2",
        0x71 => "tree disconnect",
        NEGOTIATE_1 => "negotiate",
        0x73 => "session setup",
        0x74 => "logoff",
        0x75 => "tree connect",
        0xa0 => "NT transaction",
        0xa2 => "create",
        _ => "another command",
    }
}

/// Commands of version 2 ([MS-SMB2] section 2.2.1).
fn command_2(command: u64) -> &'static str {
    const NAMES: [&str; 20] = [
        "negotiate",
        "session setup",
        "logoff",
        "tree connect",
        "tree disconnect",
        "create",
        "close",
        "flush",
        "read",
        "write",
        "lock",
        "ioctl",
        "cancel",
        "echo",
        "query directory",
        "change notify",
        "query info",
        "set info",
        "oplock break",
        "notification",
    ];
    usize::try_from(command).ok().and_then(|at| NAMES.get(at)).copied().unwrap_or("another command")
}

#[derive(Debug, Clone, Copy)]
enum Chosen {
    /// Of the list in version 1.
    Place(u16),
    /// In version 2.
    Number(u16),
}

/// What one side says.
#[derive(Debug, Default)]
struct Side {
    version: Option<u8>,
    /// Dialects in a negotiation of version 1, and of version 2.
    offered_1: Vec<String>,
    offered_2: Vec<String>,
    chosen: Option<Chosen>,
    guid: Option<String>,
    /// Bytes in all that would tell more; `usize::MAX` where nothing would.
    wanted: usize,
}

impl Side {
    fn read(bytes: &[u8]) -> Self {
        let mut side = Self::default();
        side.wanted = side.read_messages(bytes).unwrap_or(usize::MAX);
        side
    }

    fn read_messages(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        for _ in 0..MESSAGES {
            let Some(&[kind, high, mid, low]) = bytes.get(at..)?.first_chunk::<SESSION>() else {
                return Some(at + SESSION);
            };
            let len = u32::from_be_bytes([0, high, mid, low]) as usize;
            if len > MOST {
                return None;
            }
            let Some(message) = bytes.get(at + SESSION..at + SESSION + len) else { return Some(at + SESSION + len) };
            if kind == 0 && !self.take(message) {
                return None;
            }
            at += SESSION + len;
        }
        None
    }

    /// Takes a message in; whether a later one may say more.
    fn take(&mut self, message: &[u8]) -> bool {
        let version = match *message {
            [0xff, b'S', b'M', b'B', ..] => 1,
            [0xfe, b'S', b'M', b'B', ..] => 2,
            [0xfc | 0xfd, b'S', b'M', b'B', ..] => 3,
            _ => return false,
        };
        self.version.get_or_insert(version);
        match version {
            1 if message.get(4) == Some(&NEGOTIATE_1) => {
                self.negotiate_1(message);
                true
            }
            2 if message.get(12..14) == Some(&[0, 0]) => {
                self.negotiate_2(message);
                true
            }
            _ => false,
        }
    }

    /// [MS-CIFS] section 2.2.4.52.
    fn negotiate_1(&mut self, message: &[u8]) {
        let response = message.get(9).is_some_and(|flags| flags & 0x80 != 0);
        let mut body = Reader::new(message.get(HEADER_1..).unwrap_or_default());
        let words = body.u8().unwrap_or_default();
        if response {
            self.chosen = body.u16().filter(|_| words > 0).map(|place| Chosen::Place(place.swap_bytes()));
            return;
        }
        body.take(2 * usize::from(words));
        let Some(len) = body.u16().map(u16::swap_bytes) else { return };
        let list = body.rest().get(..usize::from(len).min(body.rest().len())).unwrap_or_default();
        let names = list.split(|byte| *byte == 0).filter_map(|name| name.strip_prefix(b"\x02"));
        self.offered_1 = names.take(32).map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    }

    /// [MS-SMB2] sections 2.2.3 and 2.2.4.
    fn negotiate_2(&mut self, message: &[u8]) {
        let response = message.get(16).is_some_and(|flags| flags & 1 != 0);
        let body = message.get(HEADER_2..).unwrap_or_default();
        let number = |at: usize| Some(u16::from_le_bytes(*body.get(at..)?.first_chunk()?));
        if response {
            self.chosen = number(4).map(Chosen::Number);
            self.guid = body.get(8..24).map(|guid| guid.iter().map(|byte| format!("{byte:02x}")).collect());
            return;
        }
        let count = usize::from(number(2).unwrap_or_default()).min(32);
        self.offered_2 = (0..count).map_while(|at| number(36 + 2 * at)).map(name_2).collect();
    }
}

/// What EVE calls a dialect of version 2 or 3.
fn name_2(dialect: u16) -> String {
    match dialect {
        0x02ff => "2.??".into(),
        other => format!("{:x}.{:02x}", other >> 8, other & 0xff),
    }
}
