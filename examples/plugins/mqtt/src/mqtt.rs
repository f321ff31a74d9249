//! A protocol template: what CONNECT and CONNACK of MQTT say in the clear (OASIS, versions 3.1.1 and 5, section 3.1).

use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink};
use veilwatch_core::plugin::{
    Carrier, FirstBytes, Openings, PluginError, Probe, Progress, ProtocolTemplate, Reader, RecordSink, Settings,
    StreamView,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

veilwatch_core::declare_plugins!(protocol "mqtt" "how an MQTT client introduces itself": Mqtt);

/// The template, with the ids of its fields.
pub struct Mqtt(Vec<FieldId>);

impl Mqtt {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none().map(|()| Self(Vec::new()))
    }
}

impl ProtocolTemplate for Mqtt {
    fn fields(&self) -> Vec<FieldSpec> {
        vec![
            FieldSpec::new("mqtt.ver", FieldKind::U64, "protocol level: 4 for version 3.1.1, 5 for 5"),
            FieldSpec::new("mqtt.conflag.cleansess", FieldKind::U64, "whether the client begins anew"),
            FieldSpec::new("mqtt.conflag.uname", FieldKind::U64, "whether a user name is sent"),
            FieldSpec::new("mqtt.kalive", FieldKind::U64, "keep-alive in seconds, 0 for none"),
            FieldSpec::new("mqtt.clientid", FieldKind::Bytes, "what the client calls itself, at most 256 bytes"),
            FieldSpec::new("mqtt.conack.val", FieldKind::U64, "the broker's answer, 0 for welcome"),
        ]
    }
    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.0 = ids.to_vec();
        Ok(())
    }
    fn openings(&self, _: Carrier) -> Openings {
        // CONNECT is the client's first packet, and is waited for whatever the server says.
        Openings { forward: FirstBytes::of(&[0x10]).or_silence(), backward: FirstBytes::NONE }
    }
    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        match body(stream.forward, 0x10).map(|body| body.rest()) {
            Some(body) if body.starts_with(b"\0\x04MQTT") => Probe::Certain,
            Some(body) if b"\0\x04MQTT".starts_with(body) => Probe::Unsure,
            None if stream.forward.len() < 5 => Probe::Unsure,
            _ => Probe::No,
        }
    }
    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let mut connect = body(stream.forward, 0x10).unwrap_or_default();
        let (_, level, flags, keep_alive) = (connect.take(6), connect.u8(), connect.u8(), connect.u16());
        let properties = if level == Some(5) { connect.varint() } else { Some(0) };
        let len = properties.and_then(|len| connect.take(len)).and_then(|_| connect.u16());
        let name = len.and_then(|len| connect.take(len.into())).map(|name| &name[..name.len().min(256)]);
        let answer = body(stream.backward, 0x20).and_then(|mut answer| answer.u16()).map(|both| both & 0xff);
        let flag = |bit: u8| flags.map(|flags| Value::number(flags >> bit & 1));
        let [level, keep_alive, code] = [level.map(u16::from), keep_alive, answer].map(|v| v.map(Value::number));
        out.fields(&self.0, &[level, flag(1), flag(7), keep_alive, name.map(Value::Bytes), code]);
        Ok(Progress::of(stream, name.is_some(), answer.is_some()))
    }
    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        for (direction, side) in [(Direction::Forward, "MQTT, client"), (Direction::Backward, "MQTT, broker")] {
            let bytes = stream.bytes(direction);
            let place = |at: usize, len: usize| Some(ByteRange::new(direction, at, len.min(bytes.len() - at)));
            if bytes.is_empty() {
                continue;
            }
            tree.open(side, "", place(0, bytes.len()));
            let mut at = 0;
            while at < bytes.len() && !tree.is_full() {
                let mut reader = Reader::new(&bytes[at..]);
                let (kind, Some(len)) = (reader.u8().unwrap_or_default(), reader.varint()) else {
                    tree.leaf("Packet", "without a length", place(at, bytes.len()));
                    break;
                };
                let begin = bytes.len() - reader.rest().len();
                tree.open("Packet", KINDS[usize::from(kind >> 4)], place(at, (begin - at).saturating_add(len)));
                let cut = if reader.take(len).is_none() { ", cut off here" } else { "" };
                tree.leaf("Length", &format!("{len} bytes{cut}"), place(at + 1, begin - at - 1));
                if kind >> 4 == 1 {
                    draw_connect(
                        &bytes[begin..begin + len.min(bytes.len() - begin)],
                        |at, len| place(begin + at, len),
                        tree,
                    );
                }
                tree.close();
                at = begin.saturating_add(len);
            }
            tree.close();
        }
    }
}

/// Kinds of packets (section 2.1.2).
const KINDS: [&str; 16] = [
    "reserved",
    "CONNECT",
    "CONNACK",
    "PUBLISH",
    "PUBACK",
    "PUBREC",
    "PUBREL",
    "PUBCOMP",
    "SUBSCRIBE",
    "SUBACK",
    "UNSUBSCRIBE",
    "UNSUBACK",
    "PINGREQ",
    "PINGRESP",
    "DISCONNECT",
    "AUTH",
];

/// What a CONNECT says before it names the client, as far as it is there; a user's name and password come behind that.
fn draw_connect(body: &[u8], place: impl Fn(usize, usize) -> Option<ByteRange>, tree: &mut TreeSink<'_>) -> Option<()> {
    let mut reader = Reader::new(body);
    tree.leaf("Protocol", &String::from_utf8_lossy(reader.take(6)?.get(2..)?), place(0, 6));
    tree.leaf("Level", &reader.u8()?.to_string(), place(6, 1));
    tree.leaf("Flags", &format!("{:#04x}", reader.u8()?), place(7, 1));
    tree.leaf("Keep-alive", &format!("{} s", reader.u16()?), place(8, 2));
    if body.get(6) == Some(&5) {
        let len = reader.varint()?;
        reader.take(len)?;
    }
    let at = body.len() - reader.rest().len();
    let len = usize::from(reader.u16()?);
    tree.leaf("Client", &String::from_utf8_lossy(reader.take(len)?), place(at, 2 + len));
    Some(())
}

/// What stands behind the header of one side's first packet, if that is of this kind (section 2.1).
fn body(bytes: &[u8], kind: u8) -> Option<Reader<'_>> {
    let mut reader = Reader::new(bytes);
    reader.u8().filter(|first| *first == kind).and_then(|_| reader.varint()).map(|_| reader)
}
