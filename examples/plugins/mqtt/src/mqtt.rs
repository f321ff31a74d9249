//! A protocol template: what CONNECT and CONNACK of MQTT say in the clear (OASIS, versions 3.1.1 and 5, section 3.1).

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
    fn openings(&self, carrier: Carrier) -> Openings {
        // The client speaks first.
        let forward = if carrier == Carrier::Tcp { FirstBytes::of(&[0x10]) } else { FirstBytes::NONE };
        Openings { forward, backward: FirstBytes::NONE }
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
}

/// What stands behind the header of one side's first packet, if that is of this kind (section 2.1).
fn body(bytes: &[u8], kind: u8) -> Option<Reader<'_>> {
    let mut reader = Reader::new(bytes);
    reader.u8().filter(|first| *first == kind).and_then(|_| reader.varint()).map(|_| reader)
}
