use crate::side::{BEGIN, Side};
use serde::Deserialize;
use veilwatch_core::plugin::dissect::TreeSink;
use veilwatch_core::plugin::{
    Carrier, FirstBytes, Openings, PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView,
    within,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

/// Settings of the template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SshSettings {
    /// Bytes of a banner that are read.
    banner_bytes: u32,
    /// Bytes kept of each list of algorithms; HASSH is over all of it.
    list_bytes: u32,
}

impl Default for SshSettings {
    fn default() -> Self {
        Self { banner_bytes: 255, list_bytes: 1024 }
    }
}

/// The template of SSH.
pub struct Ssh {
    settings: SshSettings,
    ids: Vec<FieldId>,
}

impl Ssh {
    /// Makes it from its settings.
    ///
    /// # Errors
    /// Settings that are unknown or out of range.
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        let settings: SshSettings = settings.read()?;
        within("banner_bytes", settings.banner_bytes, 16..=8192)?;
        // Ten lists of this length leave room among the 16 KiB of a flow's fields.
        within("list_bytes", settings.list_bytes, 16..=1200)?;
        Ok(Self { settings, ids: Vec::new() })
    }
}

/// The port that servers listen on.
const PORT: u16 = 22;

/// Fields of each side, behind `ssh.client.` and `ssh.server.`.
const FIELDS: [(&str, &str); 9] = [
    ("proto_version", "version of the protocol"),
    ("software_version", "what its program calls itself"),
    ("comments", "what its banner says beside"),
    ("kex", "key exchanges offered, separated by commas"),
    ("host_keys", "kinds of host keys offered"),
    ("ciphers", "ciphers offered for what it sends"),
    ("macs", "codes against changes offered for what it sends"),
    ("compressions", "compressions offered for what it sends"),
    ("hassh.hash", "HASSH: MD5 over key exchanges, ciphers, MACs and compressions"),
];

impl ProtocolTemplate for Ssh {
    fn fields(&self) -> Vec<FieldSpec> {
        let sides = ["client", "server"].into_iter();
        sides
            .flat_map(|side| {
                FIELDS.map(|(name, words)| FieldSpec::new(format!("ssh.{side}.{name}"), FieldKind::Bytes, words))
            })
            .chain(["banner_bytes", "list_bytes"].map(|setting| FieldSpec::limit("ssh", setting)))
            .collect()
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.ids = ids.to_vec();
        Ok(())
    }

    fn openings(&self, carrier: Carrier) -> Openings {
        match carrier {
            Carrier::Tcp => Openings {
                forward: FirstBytes::of(&BEGIN[..1]),
                // A server may say something before.
                backward: FirstBytes::when(|byte| byte.is_ascii_alphabetic()),
            },
            Carrier::Udp => Openings::NONE,
        }
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        if stream.carrier != Carrier::Tcp {
            return Probe::No;
        }
        match (begins(stream.forward), begins(stream.backward)) {
            (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
            // A server may say something before (RFC 4253 section 4.2): then the client tells what it is.
            (Probe::Unsure, Probe::No) if !stream.forward.is_empty() || greets(stream.backward) => Probe::Unsure,
            (Probe::No, Probe::Unsure) if !stream.backward.is_empty() => Probe::Unsure,
            (Probe::No, _) | (_, Probe::No) => Probe::No,
            _ => Probe::Unsure,
        }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let [mut client, mut server] = [stream.forward, stream.backward];
        if is_reversed(stream) {
            out.swap_directions();
            std::mem::swap(&mut client, &mut server);
        }
        let banner_bytes = self.settings.banner_bytes as usize;
        let sides = [client, server].map(|bytes| Side::read(bytes, banner_bytes));
        let mut cut = false;
        for (direction, side) in sides.iter().enumerate() {
            cut |= self.write(direction, side, out);
        }
        let bit = |bit: bool| bit.then_some(Value::U64(1));
        let limits = self.ids.get(2 * FIELDS.len()..).unwrap_or_default();
        out.fields(limits, &[bit(sides.iter().any(|side| side.long)), bit(cut)]);
        match sides.map(|side| side.wanted) {
            [usize::MAX, usize::MAX] => Ok(Progress::Done),
            [forward, backward] => Ok(Progress::More { forward, backward }),
        }
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        crate::dissect::draw(stream, is_reversed(stream), self.settings.banner_bytes as usize, tree);
    }
}

impl Ssh {
    /// Writes the fields of the client (0) or of the server (1); returns whether a list was cut.
    fn write(&self, direction: usize, side: &Side<'_>, out: &mut RecordSink<'_>) -> bool {
        let ids = self.ids.get(direction * FIELDS.len()..).unwrap_or_default();
        let most = self.settings.list_bytes as usize;
        let hash = side.offer.map(|offer| offer.hassh(direction));
        let lists = side.offer.map(|offer| offer.lists(direction));
        let list = |at: usize| {
            let list: &[u8] = lists.as_ref()?.get(at)?;
            Some(Value::Bytes(&list[..list.len().min(most)]))
        };
        let text = |text: Option<_>| text.map(Value::Bytes);
        let values = [
            text(side.version),
            text(side.software),
            text(side.comments),
            list(0),
            list(1),
            list(2),
            list(3),
            list(4),
            text(hash.as_ref().map(String::as_bytes)),
        ];
        out.fields(ids, &values);
        lists.iter().flatten().any(|list| list.len() > most)
    }
}

/// Whether the originator is the server: the capture began within the connection, with its packet.
fn is_reversed(stream: &StreamView<'_>) -> bool {
    stream.originator_port == PORT && stream.responder_port != PORT
}

/// Whether a server's first words are a line of text, and not the answer of a protocol that everybody knows by it: those
/// begin with a number or a sign.
fn greets(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.iter().take(16).all(|byte| matches!(byte, b' '..=b'~' | b'\r' | b'\n'))
}

/// Whether a side begins as SSH does.
#[inline]
fn begins(bytes: &[u8]) -> Probe {
    match bytes.get(BEGIN.len()) {
        Some(version) if version.is_ascii_digit() && bytes.starts_with(BEGIN) => Probe::Certain,
        None if BEGIN.starts_with(bytes) => Probe::Unsure,
        _ => Probe::No,
    }
}
