//! Stands for a template that reads what others make.

use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::{PluginError, Probe, Progress, ProtocolTemplate, RecordSink, StreamView, TLS_HANDSHAKE};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Mark, Value};

/// Writes handshakes of TLS down that another template hands on (`RecordSink::hand_bytes`), as they are, and marks where
/// each side's begins. It recognises no flow itself.
#[derive(Debug, Default)]
pub struct Scribe(Vec<FieldId>);

impl ProtocolTemplate for Scribe {
    fn fields(&self) -> Vec<FieldSpec> {
        ["scribe.client", "scribe.server"].map(|name| FieldSpec::new(name, FieldKind::Bytes, "as handed on")).to_vec()
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.0 = ids.to_vec();
        Ok(())
    }

    fn probe(&self, _: &StreamView<'_>) -> Probe {
        Probe::No
    }

    fn parse(&self, _: &StreamView<'_>, _: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        Err(PluginError::failed("it reads no flows"))
    }

    fn parse_contents(
        &self,
        contents: &str,
        stream: &StreamView<'_>,
        out: &mut RecordSink<'_>,
    ) -> Result<Option<Progress>, PluginError> {
        if contents != TLS_HANDSHAKE {
            return Ok(None);
        }
        let sides = [stream.forward, stream.backward].map(|side| (!side.is_empty()).then_some(Value::Bytes(side)));
        out.fields(&self.0, &sides);
        for (mark, direction) in [(Mark::ClientHello, Direction::Forward), (Mark::ServerHello, Direction::Backward)] {
            if !stream.bytes(direction).is_empty() {
                out.mark(mark, direction, 0);
            }
        }
        Ok(Some(Progress::Done))
    }
}
