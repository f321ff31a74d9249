//! What both templates share.

use serde::Deserialize;
use veilwatch_core::plugin::{PluginError, Progress, RecordSink, Settings, within};
use veilwatch_core::record::{FieldId, Value};

/// The settings: how much is kept of one connection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes kept of each text.
    pub text_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { text_bytes: 255 }
    }
}

impl Limits {
    /// Reads and checks them.
    pub(crate) fn read(settings: Settings<'_>) -> Result<Self, PluginError> {
        let limits: Self = settings.read()?;
        within("text_bytes", limits.text_bytes, 16..=1024)?;
        Ok(limits)
    }

    /// Writes texts, and then whether one of them was cut.
    pub(crate) fn write(&self, texts: &[Option<&[u8]>], ids: &[FieldId], out: &mut RecordSink<'_>) {
        let mut cut = false;
        for (id, text) in ids.iter().zip(texts) {
            let Some(text) = text.filter(|text| !text.is_empty()) else { continue };
            cut |= text.len() > self.text_bytes;
            out.field(*id, Value::Bytes(text.get(..self.text_bytes).unwrap_or(text)));
        }
        if let (true, Some(id)) = (cut, ids.get(texts.len())) {
            out.field(*id, Value::U64(1));
        }
    }
}

/// Why reading stopped: each with offsets or bytes in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The client has to say this many bytes.
    Client(usize),
    /// The server has.
    Server(usize),
    Over,
    /// TLS begins here, of client and server.
    Tls(usize, usize),
}

impl Stop {
    pub(crate) fn tell(self, out: &mut RecordSink<'_>) -> Progress {
        match self {
            Self::Client(forward) => Progress::More { forward, backward: usize::MAX },
            Self::Server(backward) => Progress::More { forward: usize::MAX, backward },
            Self::Over => Progress::Done,
            Self::Tls(forward, backward) => {
                out.hand_over(forward, backward);
                Progress::Done
            }
        }
    }
}

/// Text up to a zero, and what stands behind that.
pub(crate) fn zero_ended(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = bytes.iter().position(|byte| *byte == 0)?;
    Some((bytes.get(..len)?, bytes.get(len + 1..)?))
}
