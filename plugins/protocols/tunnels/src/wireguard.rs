use veilwatch_core::plugin::{
    Carrier, FirstBytes, Openings, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

/// The template of WireGuard (Donenfeld, 2017, section 5.4): a type, three zero bytes, and a length that goes with it.
pub struct WireGuard(Vec<FieldId>);

const INITIATION: u8 = 1;
const RESPONSE: u8 = 2;
const COOKIE: u8 = 3;
const DATA: u8 = 4;

impl WireGuard {
    /// Makes it; it has no settings.
    ///
    /// # Errors
    /// Any setting.
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none().map(|()| Self(Vec::new()))
    }
}

impl ProtocolTemplate for WireGuard {
    fn fields(&self) -> Vec<FieldSpec> {
        vec![
            FieldSpec::new(
                "wg.type",
                FieldKind::U64,
                "type of the originator's first message: 1 initiation, 2 response, 3 cookie, 4 data",
            ),
            FieldSpec::new("wg.answer", FieldKind::U64, "type of the responder's first message"),
        ]
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.0 = ids.to_vec();
        Ok(())
    }

    fn openings(&self, carrier: Carrier) -> Openings {
        match carrier {
            Carrier::Tcp => Openings::NONE,
            Carrier::Udp => Openings::either(FirstBytes::when(|kind| (INITIATION..=DATA).contains(&kind))),
        }
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        let bytes = if stream.forward.is_empty() { stream.backward } else { stream.forward };
        let [kind @ INITIATION..=DATA, 0, 0, 0, ..] = *bytes else { return Probe::No };
        let fits = match kind {
            INITIATION => bytes.len() == 148,
            RESPONSE => bytes.len() == 92,
            COOKIE => bytes.len() == 64,
            // Padded to 16 bytes, behind a counter that nobody gets to the upper half of.
            _ => bytes.len() >= 32 && bytes.len().is_multiple_of(16) && bytes.get(12..16) == Some(&[0; 4]),
        };
        if fits && stream.carrier == Carrier::Udp { Probe::Certain } else { Probe::No }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let kind = |bytes: &[u8]| bytes.first().map(|kind| Value::U64((*kind).into()));
        out.fields(&self.0, &[kind(stream.forward), kind(stream.backward)]);
        Ok(Progress::of(stream, !stream.forward.is_empty(), !stream.backward.is_empty()))
    }
}
