//! What contract 1.1 brought, all of it: a template that may fail while it looks, hands flows over, has only headers
//! kept, reads on and draws. The other two plugins are those of 1.0.

#[path = "../../contract-1.0/src/plugins.rs"]
pub mod earlier;

use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink};
use veilwatch_core::plugin::{
    Declaration, PluginError, PluginKind, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView,
};
use veilwatch_core::record::{ClientHello, FieldId, FieldKind, FieldSpec, Mark, Value};
use veilwatch_core::stream::Framing;

/// The template of this library, and what 1.0 had beside its own.
pub fn declarations() -> Vec<Declaration> {
    let others = earlier::declarations().into_iter().filter(|other| other.manifest.kind != PluginKind::Protocol);
    own::declarations().into_iter().chain(others).collect()
}

mod own {
    use super::Records;
    veilwatch_core::declare_plugins!(protocol "stored" "lengths of the first records": Records);
}

/// Recognises flows that begin with a handshake record, and reads the lengths of the first records each way.
#[derive(Debug, Default)]
pub struct Records {
    ids: Vec<FieldId>,
}

/// Records that are read of each direction.
const MOST: usize = 6;

/// How records are framed (RFC 8446 section 5.1).
const FRAMES: Framing = Framing { at: 0, header: 5, length_at: 3, length_bytes: 2, keep: 2 };

impl Records {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none().map(|()| Self::default())
    }
}

/// Lengths of the records as far as their headers are there, and where the next one is.
fn lengths(stream: &StreamView<'_>, direction: Direction) -> (Vec<u16>, usize) {
    let bytes = stream.bytes(direction);
    let headers_alone = stream.framed[direction.index()].is_some();
    let (mut lengths, mut at) = (Vec::new(), 0);
    while let Some(&[_, _, _, high, low]) = bytes.get(at..at + 5) {
        let len = u16::from_be_bytes([high, low]);
        lengths.push(len);
        at += if headers_alone && len > FRAMES.keep { 5 } else { 5 + usize::from(len) };
        if lengths.len() == MOST {
            return (lengths, usize::MAX);
        }
    }
    (lengths, if stream.ended(direction) { usize::MAX } else { (at + 5).max(bytes.len() + 1) })
}

impl ProtocolTemplate for Records {
    fn fields(&self) -> Vec<FieldSpec> {
        [
            ("stored.sum", FieldKind::U64),
            ("stored.mean", FieldKind::F64),
            ("stored.answer", FieldKind::Bytes),
            ("stored.pairs", FieldKind::U16List),
        ]
        .map(|(name, kind)| FieldSpec::new(name, kind, "of the first records"))
        .to_vec()
    }

    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.ids = ids.to_vec();
        Ok(())
    }

    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        self.try_probe(stream).unwrap_or(Probe::No)
    }

    fn try_probe(&self, stream: &StreamView<'_>) -> Result<Probe, PluginError> {
        match stream.forward.first() {
            Some(22) => Ok(Probe::Certain),
            Some(23) => Err(PluginError::failed("this began earlier")),
            Some(_) => Ok(Probe::No),
            None => Ok(Probe::Unsure),
        }
    }

    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
        let (client, wanted) = lengths(stream, Direction::Forward);
        let (server, wanted_back) = lengths(stream, Direction::Backward);
        let settled = stream.framed.iter().any(Option::is_some);
        if settled {
            out.resume();
        } else {
            out.field(self.ids[2], Value::Bytes(&stream.forward[..stream.forward.len().min(5)]));
            out.record(&ClientHello { sni: b"stored", ciphers: &client, ..ClientHello::default() });
            out.mark(Mark::ClientHello, Direction::Forward, 4);
        }
        let sum: u64 = client.iter().chain(&server).map(|len| u64::from(*len)).sum();
        out.field(self.ids[0], Value::U64(sum));
        out.field(self.ids[1], Value::F64(sum as f64 / (client.len() + server.len()).max(1) as f64));
        out.field(self.ids[3], Value::U16List(&[&client[..], &server].concat()));
        // Every third port: what is inside is nobody's.
        if stream.originator_port.is_multiple_of(3) && !settled && !server.is_empty() {
            out.hand_over(5, 5);
            return Ok(Progress::Done);
        }
        if wanted == usize::MAX && wanted_back == usize::MAX {
            return Ok(Progress::Done);
        }
        if !settled && !client.is_empty() && !server.is_empty() {
            out.frames(Direction::Forward, FRAMES);
            out.frames(Direction::Backward, FRAMES);
        }
        Ok(Progress::More { forward: wanted, backward: wanted_back })
    }

    fn dissect(&self, stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
        let mut at = 0;
        for len in lengths(stream, Direction::Forward).0 {
            tree.leaf("record", &len.to_string(), Some(ByteRange::new(Direction::Forward, at, 5)));
            at += 5 + usize::from(len);
        }
    }
}
