mod dissect;

use veilwatch_core::plugin::dissect::{TreeSink, datagrams};
use veilwatch_core::plugin::{
    Carrier, FirstBytes, Openings, PluginError, Probe, Progress, ProtocolTemplate, Reader, RecordSink, Settings,
    StreamView,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

/// The template of DHCP for IPv4.
pub struct Dhcp(Vec<FieldId>);

/// Bytes before the options (RFC 2131 section 2), the last four of which are always these.
const HEADER: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];

impl Dhcp {
    /// Makes it; it has no settings.
    ///
    /// # Errors
    /// Any setting.
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none().map(|()| Self(Vec::new()))
    }
}

impl ProtocolTemplate for Dhcp {
    fn fields(&self) -> Vec<FieldSpec> {
        let bytes = |name, words| FieldSpec::new(name, FieldKind::Bytes, words);
        vec![
            FieldSpec::new(
                "dhcp.dhcp_type",
                FieldKind::U64,
                "kind of the first message: 1 discover, 3 request, 5 ack, …",
            ),
            bytes("dhcp.hostname", "what the host calls itself"),
            bytes("dhcp.vendor_class_identifier", "what its client program calls itself"),
            FieldSpec::new("dhcp.params", FieldKind::U16List, "options that it asks for, in its order"),
        ]
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.0 = ids.to_vec();
        Ok(())
    }

    fn openings(&self, carrier: Carrier) -> Openings {
        match carrier {
            Carrier::Tcp => Openings::NONE,
            Carrier::Udp => Openings::either(FirstBytes::of(&[1, 2])),
        }
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        let bytes = if stream.forward.is_empty() { stream.backward } else { stream.forward };
        let looks = stream.carrier == Carrier::Udp
            && matches!(*bytes, [1 | 2, _, 0..=16, ..])
            && bytes.get(HEADER - COOKIE.len()..HEADER) == Some(&COOKIE[..]);
        if looks { Probe::Certain } else { Probe::No }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let mut options = Reader::new(stream.forward.get(HEADER..).unwrap_or_default());
        let (mut kind, mut name, mut vendor, mut asked) = (None, None, None, None);
        // RFC 2132: a number, a length and a value; 0 is nothing, and 255 the end.
        while let Some(option) = options.u8().filter(|option| *option != 255) {
            if option == 0 {
                continue;
            }
            let Some(value) = options.u8().and_then(|len| options.take(len.into())) else { break };
            match option {
                12 => name = name.or(Some(value)),
                53 => kind = kind.or(value.first().copied()),
                55 => asked = asked.or(Some(value)),
                60 => vendor = vendor.or(Some(value)),
                _ => {}
            }
        }
        let asked: Option<Vec<u16>> = asked.map(|list| list.iter().copied().map(u16::from).collect());
        let kind = kind.map(|kind| Value::U64(kind.into()));
        let asked = asked.as_deref().map(Value::U16List);
        out.fields(&self.0, &[kind, name.map(Value::Bytes), vendor.map(Value::Bytes), asked]);
        Ok(Progress::Done)
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        datagrams(stream, "DHCP", tree, dissect::draw_message);
    }
}
