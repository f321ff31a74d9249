mod dissect;

use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink};
use veilwatch_core::plugin::{
    Carrier, FirstBytes, Openings, PluginError, Probe, Progress, ProtocolTemplate, Reader, RecordSink, Settings,
    StreamView,
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

    fn openings(&self, carrier: Carrier) -> Openings {
        match carrier {
            Carrier::Tcp => Openings::either(FirstBytes::of(&[0, SESSION_REQUEST])),
            Carrier::Udp => Openings::NONE,
        }
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
            dissect::draw_side(bytes, direction, &offered, tree);
            tree.close();
        }
    }
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
