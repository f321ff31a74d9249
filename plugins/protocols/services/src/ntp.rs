mod dissect;

use veilwatch_core::plugin::dissect::{TreeSink, datagrams};
use veilwatch_core::plugin::{
    Carrier, FirstBytes, Openings, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

/// The template of NTP, on its own port: 48 bytes that may be anything say too little elsewhere.
pub struct Ntp(Vec<FieldId>);

const PORT: u16 = 123;
/// The header (RFC 5905 section 7.3); that of a control message (RFC 9327) and of a private one.
const HEADER: usize = 48;
const CONTROL: usize = 12;
const PRIVATE: usize = 8;

impl Ntp {
    /// Makes it; it has no settings.
    ///
    /// # Errors
    /// Any setting.
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none().map(|()| Self(Vec::new()))
    }
}

impl ProtocolTemplate for Ntp {
    fn fields(&self) -> Vec<FieldSpec> {
        vec![
            FieldSpec::new("ntp.flags.vn", FieldKind::U64, "version of the first message"),
            FieldSpec::new(
                "ntp.flags.mode",
                FieldKind::U64,
                "mode of the first message: 1 to 4 peers, client, server; 5 broadcast, 6 control, 7 private",
            ),
            FieldSpec::new(
                "ntp.stratum",
                FieldKind::U64,
                "the responder's distance from a clock, 1 for one that has it",
            ),
        ]
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.0 = ids.to_vec();
        Ok(())
    }

    fn openings(&self, carrier: Carrier) -> Openings {
        match carrier {
            Carrier::Tcp => Openings::NONE,
            Carrier::Udp => {
                Openings::either(FirstBytes::when(|flags| flags & 7 != 0 && (1..=4).contains(&(flags >> 3 & 7))))
            }
        }
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        let bytes = if stream.forward.is_empty() { stream.backward } else { stream.forward };
        let ports = [stream.originator_port, stream.responder_port];
        if stream.carrier != Carrier::Udp || !ports.contains(&PORT) {
            return Probe::No;
        }
        let Some(flags) = bytes.first() else { return Probe::No };
        // Extensions and codes against changes come in whole words (section 7.5).
        let least = match flags & 7 {
            1..=5 => HEADER,
            6 => CONTROL,
            7 => PRIVATE,
            _ => return Probe::No,
        };
        let fits = bytes.len() >= least && bytes.len().is_multiple_of(4) && (1..=4).contains(&(flags >> 3 & 7));
        if fits { Probe::Certain } else { Probe::No }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let flags = stream.forward.first().copied();
        let stratum = |bytes: &[u8]| match *bytes {
            [flags, stratum, ..] if matches!(flags & 7, 1 | 2 | 4 | 5) && bytes.len() >= HEADER => Some(stratum),
            _ => None,
        };
        let stratum = stratum(stream.backward).or_else(|| stratum(stream.forward));
        let number = |number: Option<u8>| number.map(|number| Value::U64(number.into()));
        let values = [flags.map(|flags| flags >> 3 & 7), flags.map(|flags| flags & 7), stratum].map(number);
        out.fields(&self.0, &values);
        Ok(Progress::of(stream, true, !stream.backward.is_empty()))
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        datagrams(stream, "NTP", tree, dissect::draw_message);
    }
}
