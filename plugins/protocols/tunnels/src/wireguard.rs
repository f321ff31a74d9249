use crate::dissect::{Piece, draw};
use veilwatch_core::plugin::dissect::{TreeSink, hex};
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

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        draw(stream, "WireGuard", tree, draw_message);
    }
}

fn draw_message(mut message: Piece<'_>, tree: &mut TreeSink<'_>) {
    let kind = message.bytes.first().copied();
    let name = match kind {
        Some(INITIATION) => "handshake initiation",
        Some(RESPONSE) => "handshake response",
        Some(COOKIE) => "cookie",
        Some(DATA) => "data",
        _ => "unknown",
    };
    tree.open("Message", name, message.range());
    if draw_members(kind, &mut message, tree).is_none() {
        tree.leaf("The rest", "is not there", None);
    }
    message.all(if kind == Some(DATA) { "Encrypted" } else { "Not read" }, tree);
    tree.close();
}

/// Nothing where it ends within them.
fn draw_members(kind: Option<u8>, message: &mut Piece<'_>, tree: &mut TreeSink<'_>) -> Option<()> {
    let index = |bytes: &[u8]| {
        bytes.first_chunk().map_or_else(String::new, |index| format!("{:#010x}", u32::from_le_bytes(*index)))
    };
    let size = |bytes: &[u8]| format!("{} bytes", bytes.len());
    message.leaf("Type", 1, hex, tree)?;
    message.leaf("Reserved", 3, hex, tree)?;
    let members: &[(&str, usize)] = match kind? {
        INITIATION => &[
            ("Sender's index", 4),
            ("Ephemeral key", 32),
            ("Encrypted key", 48),
            ("Encrypted time", 28),
            ("MAC 1", 16),
            ("MAC 2", 16),
        ],
        RESPONSE => &[
            ("Sender's index", 4),
            ("Receiver's index", 4),
            ("Ephemeral key", 32),
            ("Encrypted nothing", 16),
            ("MAC 1", 16),
            ("MAC 2", 16),
        ],
        COOKIE => &[("Receiver's index", 4), ("Nonce", 24), ("Encrypted cookie", 32)],
        DATA => &[("Receiver's index", 4), ("Counter", 8)],
        _ => &[],
    };
    for (label, len) in members {
        match label {
            label if label.ends_with("index") => message.leaf(label, *len, index, tree),
            &"Counter" => message.leaf(label, *len, counter, tree),
            label if label.starts_with("Encrypted") => message.leaf(label, *len, size, tree),
            _ => message.leaf(label, *len, hex, tree),
        }?;
    }
    Some(())
}

fn counter(bytes: &[u8]) -> String {
    bytes.first_chunk().map_or_else(String::new, |counter| u64::from_le_bytes(*counter).to_string())
}
