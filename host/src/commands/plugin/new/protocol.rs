//! A protocol template: recognises a conversation by how its first line begins, and keeps that line.

use serde::Deserialize;
use veilwatch_core::plugin::{PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

// What pipelines call it, and what it is for. The second line makes a library of this crate.
veilwatch_core::declare_plugins!(protocol "{{name}}" "the originator's first line": Plugin);
veilwatch_core::export_plugins!(declarations);

/// Most bytes of a line that are kept: whatever is read of a capture has a limit.
const LINE: usize = 255;

/// The settings, and the number that the field gets. A key that is not among the settings is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    /// How the line begins.
    #[serde(default = "ssh")]
    begins: String,
    #[serde(skip)]
    line: Option<FieldId>,
}

fn ssh() -> String {
    "SSH-".into()
}

impl Plugin {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        let plugin: Self = settings.read()?;
        let good = (1..=LINE).contains(&plugin.begins.len());
        good.then_some(plugin).ok_or_else(|| PluginError::settings(format!("`begins` takes 1 to {LINE} bytes")))
    }
}

impl ProtocolTemplate for Plugin {
    fn fields(&self) -> Vec<FieldSpec> {
        let words = "first line of the originator".into();
        vec![FieldSpec { name: "{{snake}}.line".into(), kind: FieldKind::Bytes, words }]
    }
    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.line = ids.first().copied();
        Ok(())
    }
    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        let (known, seen) = (self.begins.as_bytes(), stream.forward);
        let unsure = if known.starts_with(seen) && !stream.forward_ended { Probe::Unsure } else { Probe::No };
        if seen.starts_with(known) { Probe::Certain } else { unsure }
    }
    // Bytes are anybody's, and may end anywhere: what is there is written, and more is asked for where it would help.
    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let (seen, end) = (stream.forward.len(), stream.forward.iter().take(LINE).position(|byte| *byte == b'\n'));
        let line = stream.forward[..end.unwrap_or(seen.min(LINE))].trim_ascii_end();
        self.line.iter().for_each(|id| out.field(*id, Value::Bytes(line)));
        let whole = end.is_some() || seen >= LINE || stream.forward_ended;
        Ok(if whole { Progress::Done } else { Progress::More { forward: seen + 1, backward: usize::MAX } })
    }
}
