//! What contract 1.2 brought: a template that says with what flows begin, hands bytes of its own making on, reads such
//! bytes, and knows where datagrams end. The rest of it, and the other two plugins, are those of 1.1.

#[path = "../../contract-1.1/src/plugins.rs"]
pub mod earlier;

use earlier::Records;
use veilwatch_core::plugin::dissect::TreeSink;
use veilwatch_core::plugin::{
    Carrier, Declaration, FirstBytes, Made, Openings, PluginError, PluginKind, Probe, Progress, ProtocolTemplate,
    RecordSink, Settings, StreamView,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

/// The template of this library, and what 1.1 had beside its own.
pub fn declarations() -> Vec<Declaration> {
    let others = earlier::declarations().into_iter().filter(|other| other.manifest.kind != PluginKind::Protocol);
    own::declarations().into_iter().chain(others).collect()
}

mod own {
    use super::Opened;
    veilwatch_core::declare_plugins!(protocol "stored" "lengths of the first records": Opened);
}

/// The template of 1.1, which now tells its openings, and hands the first bytes of each side to itself.
#[derive(Debug, Default)]
pub struct Opened {
    records: Records,
    /// What it reads of bytes that were handed on.
    made: Option<FieldId>,
}

/// What the bytes are that it hands on.
const CONTENTS: &str = "stored-bytes";

impl Opened {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none().map(|()| Self::default())
    }
}

impl ProtocolTemplate for Opened {
    fn fields(&self) -> Vec<FieldSpec> {
        let made = FieldSpec::new("stored.made", FieldKind::U64, "bytes that were handed on, and ends of datagrams");
        self.records.fields().into_iter().chain([made]).collect()
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.made = ids.last().copied();
        self.records.wire(ids)
    }

    fn openings(&self, carrier: Carrier) -> Openings {
        match carrier {
            Carrier::Tcp => Openings { forward: FirstBytes::of(&[22, 23]).or_silence(), backward: FirstBytes::NONE },
            Carrier::Udp => Openings::NONE,
        }
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        self.records.probe(stream)
    }

    fn try_probe(&self, stream: &StreamView<'_>) -> Result<Probe, PluginError> {
        self.records.try_probe(stream)
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        if stream.framed.iter().all(Option::is_none) {
            let first = |bytes: &'_ [u8]| bytes.len().min(5);
            let bytes = [&stream.forward[..first(stream.forward)], &stream.backward[..first(stream.backward)]];
            out.hand_bytes(CONTENTS, Made { bytes, pieces: [&[], &[]] });
        }
        self.records.parse(stream, out)
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        self.records.dissect(stream, tree);
    }

    fn parse_contents(
        &self,
        contents: &str,
        stream: &StreamView<'_>,
        out: &mut RecordSink<'_>,
    ) -> Result<Option<Progress>, PluginError> {
        if contents != CONTENTS {
            return Ok(None);
        }
        let ends = stream.datagram_ends.map(|ends| ends.len() as u64);
        let made = stream.forward.len() as u64 + 10 * stream.backward.len() as u64;
        if let Some(id) = self.made {
            out.field(id, Value::U64(made + 100 * (ends[0] + ends[1])));
        }
        Ok(Some(Progress::Done))
    }
}
