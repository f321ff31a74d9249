mod dissect;

use veilwatch_core::plugin::dissect::{TreeSink, datagrams};
use veilwatch_core::plugin::{
    Carrier, FirstBytes, Openings, PluginError, Probe, Progress, ProtocolTemplate, Reader, RecordSink, Settings,
    StreamView,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

/// The template of SNMP, versions 1, 2c and 3, over UDP.
pub struct Snmp(Vec<FieldId>);

/// Most bytes of a community that are kept.
const COMMUNITY: usize = 255;

impl Snmp {
    /// Makes it; it has no settings.
    ///
    /// # Errors
    /// Any setting.
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none().map(|()| Self(Vec::new()))
    }
}

impl ProtocolTemplate for Snmp {
    fn fields(&self) -> Vec<FieldSpec> {
        vec![
            FieldSpec::new("snmp.version", FieldKind::U64, "1, 2 (for 2c) or 3"),
            FieldSpec::new("snmp.community", FieldKind::Bytes, "the community; before version 3, at most 255 bytes"),
            FieldSpec::new("snmp.pdu_type", FieldKind::Bytes, "kind of the first message; before version 3"),
        ]
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.0 = ids.to_vec();
        Ok(())
    }

    fn openings(&self, carrier: Carrier) -> Openings {
        match carrier {
            Carrier::Tcp => Openings::NONE,
            Carrier::Udp => Openings::either(FirstBytes::of(&[SEQUENCE])),
        }
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        let bytes = if stream.forward.is_empty() { stream.backward } else { stream.forward };
        if stream.carrier != Carrier::Udp || bytes.first() != Some(&SEQUENCE) {
            return Probe::No;
        }
        // The message is the datagram, to its last byte.
        match Message::read(bytes) {
            Some((_, [])) => Probe::Certain,
            _ => Probe::No,
        }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let bytes = if stream.forward.is_empty() { stream.backward } else { stream.forward };
        if let Some((message, _)) = Message::read(bytes) {
            let community = message.community.map(|name| Value::Bytes(&name[..name.len().min(COMMUNITY)]));
            let kind = message.kind.map(|kind| Value::Bytes(kind.as_bytes()));
            out.fields(&self.0, &[Some(Value::U64(message.version)), community, kind]);
        }
        Ok(Progress::Done)
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        datagrams(stream, "SNMP", tree, dissect::draw_message);
    }
}

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// EVE's names of the kinds (RFC 3416 section 3), from tag 0xa0 on.
const KINDS: [&str; 9] = [
    "get_request",
    "get_next_request",
    "response",
    "set_request",
    "trap_v1",
    "get_bulk_request",
    "inform_request",
    "trap_v2",
    "report",
];

struct Message<'a> {
    version: u64,
    community: Option<&'a [u8]>,
    kind: Option<&'static str>,
}

impl<'a> Message<'a> {
    /// Reads a message, and what stands behind it.
    fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let mut outer = Reader::new(bytes);
        let mut message = Reader::new(value(&mut outer, SEQUENCE)?);
        let version = match value(&mut message, INTEGER)? {
            [0] => 1,
            [1] => 2,
            [3] => 3,
            _ => return None,
        };
        if version == 3 {
            // Header, parameters of the security model, and what these may hide (RFC 3412 section 6).
            let mut header = Reader::new(value(&mut message, SEQUENCE)?);
            let (_id, _most) = (value(&mut header, INTEGER)?, value(&mut header, INTEGER)?);
            value(&mut header, OCTETS).filter(|flags| flags.len() == 1)?;
            value(&mut message, OCTETS)?;
            return Some((Self { version, community: None, kind: None }, outer.rest()));
        }
        let community = value(&mut message, OCTETS)?;
        let tag = *message.rest().first()?;
        let kind = KINDS.get(usize::from(tag.checked_sub(0xa0)?))?;
        value(&mut message, tag)?;
        Some((Self { version, community: Some(community), kind: Some(kind) }, outer.rest()))
    }
}

/// The next value in BER, if it has this tag.
fn value<'a>(reader: &mut Reader<'a>, tag: u8) -> Option<&'a [u8]> {
    reader.u8().filter(|found| *found == tag)?;
    let len = match reader.u8()? {
        short @ ..=0x7f => usize::from(short),
        0x81 => usize::from(reader.u8()?),
        0x82 => usize::from(reader.u16()?),
        0x83 => usize::from(reader.u8()?) << 16 | usize::from(reader.u16()?),
        0x84 => usize::try_from(reader.u32()?).ok()?,
        _ => return None,
    };
    reader.take(len)
}
