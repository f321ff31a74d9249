//! A protocol template: what client and server of SSH call themselves, before encryption begins (RFC 4253, section 4.2).

use serde::Deserialize;
use veilwatch_core::plugin::{
    Carrier, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

veilwatch_core::declare_plugins!(protocol "ssh-greeting" "the version lines of SSH": SshGreeting);

/// Most bytes of a line, its end included: the RFC's own limit.
const LINE_BYTES: usize = 255;

/// The settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SshGreetingSettings {
    /// Lines that a server may send before its version, such as a warning to strangers.
    pub lines_before: usize,
}

impl Default for SshGreetingSettings {
    fn default() -> Self {
        Self { lines_before: 16 }
    }
}

/// The template: recognises SSH on any port and writes `ssh.client_version` and `ssh.server_version`.
#[derive(Debug)]
pub struct SshGreeting {
    settings: SshGreetingSettings,
    /// Ids of the two fields, the client's first; empty until [`wire`](ProtocolTemplate::wire) is called.
    ids: Vec<FieldId>,
}

impl SshGreeting {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        let settings: SshGreetingSettings = settings.read()?;
        if settings.lines_before > 64 {
            let given = settings.lines_before;
            return Err(PluginError::settings(format!("`lines_before` is {given}; give 0 to 64")));
        }
        Ok(Self { settings, ids: Vec::new() })
    }

    /// What one direction shows. The bytes are anybody's: nothing is taken for granted, and no loop is without a limit.
    fn look<'a>(&self, bytes: &'a [u8], ended: bool) -> Look<'a> {
        let short = if ended { Look::No } else { Look::Short };
        let mut rest = bytes;
        for _ in 0..=self.settings.lines_before {
            let known = [&b"SSH-2.0-"[..], b"SSH-1.99-"];
            let line = &rest[..rest.len().min(LINE_BYTES)];
            let end = line.iter().position(|byte| *byte == b'\n');
            if known.iter().any(|version| rest.starts_with(version)) {
                let line = &line[..end.unwrap_or(line.len())];
                let whole = end.is_some() || line.len() == LINE_BYTES || ended;
                return Look::Version { line: line.strip_suffix(b"\r").unwrap_or(line), whole };
            }
            if known.iter().any(|version| version.starts_with(rest)) {
                return short;
            }
            // Text without control characters: what is binary is told after its first bytes.
            let text = line[..end.unwrap_or(line.len())].iter().all(|byte| *byte >= b' ' || b"\t\r".contains(byte));
            match end {
                _ if !text || rest.starts_with(b"SSH-") => return Look::No,
                Some(end) => rest = &rest[end + 1..],
                None if line.len() == LINE_BYTES => return Look::No,
                None => return short,
            }
        }
        Look::No
    }
}

/// What one direction shows.
enum Look<'a> {
    /// Too few bytes to tell.
    Short,
    /// No SSH.
    No,
    /// The version line, without its end.
    Version { line: &'a [u8], whole: bool },
}

impl ProtocolTemplate for SshGreeting {
    fn fields(&self) -> Vec<FieldSpec> {
        [("ssh.client_version", "version line of the client"), ("ssh.server_version", "version line of the server")]
            .map(|(name, words)| FieldSpec { name: name.into(), kind: FieldKind::Bytes, words: words.into() })
            .to_vec()
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.ids = ids.to_vec();
        Ok(())
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        if stream.carrier != Carrier::Tcp {
            return Probe::No;
        }
        match [self.look(stream.forward, stream.forward_ended), self.look(stream.backward, stream.backward_ended)] {
            [Look::Version { .. }, _] | [_, Look::Version { .. }] => Probe::Certain,
            [Look::No, Look::No] => Probe::No,
            _ => Probe::Unsure,
        }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let sides = [(stream.forward, stream.forward_ended), (stream.backward, stream.backward_ended)];
        let mut wanted = [usize::MAX; 2];
        for (at, (bytes, ended)) in sides.into_iter().enumerate() {
            match self.look(bytes, ended) {
                Look::Version { line, whole } => {
                    if let Some(id) = self.ids.get(at) {
                        out.field(*id, Value::Bytes(line));
                    }
                    if !whole {
                        wanted[at] = bytes.len() + 1;
                    }
                }
                Look::Short => wanted[at] = bytes.len() + 1,
                Look::No => {}
            }
        }
        let [forward, backward] = wanted;
        Ok(if wanted == [usize::MAX; 2] { Progress::Done } else { Progress::More { forward, backward } })
    }
}
