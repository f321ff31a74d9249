use super::PluginError;
use crate::flow::Direction;
use crate::record::{FieldId, FieldSpec, Mark, Record, Value};

/// Recognises a protocol by the first bytes of a flow and reads what it shows in the clear.
///
/// A template is a pure function of the two stream prefixes: it keeps nothing between calls. The host calls
/// [`probe`](Self::probe) when bytes arrive, and once it is sure, [`parse`](Self::parse) until that is done; before
/// each call to `parse` what an earlier one wrote is forgotten.
pub trait ProtocolTemplate: Send + Sync {
    /// The fields it writes beside the typed records.
    fn fields(&self) -> Vec<FieldSpec> {
        Vec::new()
    }

    /// Learns the ids of its own fields, in the order of [`fields`](Self::fields).
    fn wire(&mut self, _ids: &[FieldId]) -> Result<(), PluginError> {
        Ok(())
    }

    /// Whether this flow speaks the protocol. A panic counts as [`Probe::No`].
    fn probe(&self, stream: &StreamView<'_>) -> Probe;

    /// Reads what is there into `out` and says whether more bytes would tell more.
    ///
    /// Bad traffic is not an error: write what was understood and return [`Progress::Done`].
    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError>;
}

/// What carries a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Carrier {
    /// TCP: the prefixes are byte streams.
    Tcp = 6,
    /// UDP: the prefixes are datagrams one after the other.
    Udp = 17,
}

/// The beginnings of both directions of a flow.
#[derive(Debug, Clone, Copy)]
pub struct StreamView<'a> {
    /// The originator's first bytes, in order and without holes.
    pub forward: &'a [u8],
    /// The responder's first bytes.
    pub backward: &'a [u8],
    /// No more bytes will come forward.
    pub forward_ended: bool,
    /// No more bytes will come backward.
    pub backward_ended: bool,
    /// What carries it.
    pub carrier: Carrier,
    /// The originator's port.
    pub originator_port: u16,
    /// The responder's port.
    pub responder_port: u16,
}

impl<'a> StreamView<'a> {
    /// The bytes of one direction.
    pub fn bytes(&self, direction: Direction) -> &'a [u8] {
        match direction {
            Direction::Forward => self.forward,
            Direction::Backward => self.backward,
        }
    }

    /// Whether no more bytes will come in one direction.
    pub fn ended(&self, direction: Direction) -> bool {
        match direction {
            Direction::Forward => self.forward_ended,
            Direction::Backward => self.backward_ended,
        }
    }
}

/// Whether a flow speaks a template's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Probe {
    /// It does not, and more bytes would not change that.
    No = 0,
    /// It may; ask again with more bytes.
    Unsure = 1,
    /// It does.
    Certain = 2,
}

/// Whether a parse is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All that this template wants has been read.
    Done,
    /// More would be read once either direction has this many bytes in all; `usize::MAX` asks for none.
    More {
        /// Bytes wanted forward.
        forward: usize,
        /// Bytes wanted backward.
        backward: usize,
    },
}

impl Progress {
    /// Where one has to look again with every byte: done, once both sides were read as far as they are wanted; before
    /// that, one byte more of those that were not.
    pub fn of(stream: &StreamView<'_>, forward_read: bool, backward_read: bool) -> Self {
        if forward_read && backward_read {
            return Self::Done;
        }
        let wanted = |read: bool, bytes: &[u8]| if read { usize::MAX } else { bytes.len() + 1 };
        Self::More { forward: wanted(forward_read, stream.forward), backward: wanted(backward_read, stream.backward) }
    }
}

/// Where a template writes to.
pub struct RecordSink<'a> {
    target: &'a mut dyn SinkTarget,
}

/// What stands behind a [`RecordSink`]: the flow's own fields, or the other side of a library boundary.
pub(crate) trait SinkTarget {
    fn set(&mut self, id: FieldId, value: Value<'_>);
    fn mark(&mut self, mark: Mark, direction: Direction, offset: usize);
    fn swap_directions(&mut self);
}

impl<'a> RecordSink<'a> {
    pub(crate) fn new(target: &'a mut dyn SinkTarget) -> Self {
        Self { target }
    }

    pub(crate) fn target(&mut self) -> &mut dyn SinkTarget {
        self.target
    }

    /// Writes a typed record.
    pub fn record<'r>(&mut self, record: &impl Record<'r>) {
        record.write(|id, value| self.target.set(id, value));
    }

    /// Writes a declared field.
    pub fn field(&mut self, id: FieldId, value: Value<'_>) {
        self.target.set(id, value);
    }

    /// Writes declared fields by their place in [`fields`](ProtocolTemplate::fields): `ids` are those that
    /// [`wire`](ProtocolTemplate::wire) gave; a value that was not there is left out.
    pub fn fields(&mut self, ids: &[FieldId], values: &[Option<Value<'_>>]) {
        for (id, value) in ids.iter().zip(values) {
            if let Some(value) = value {
                self.field(*id, *value);
            }
        }
    }

    /// Notes where something begins: `offset` bytes into one direction.
    pub fn mark(&mut self, mark: Mark, direction: Direction, offset: usize) {
        self.target.mark(mark, direction, offset);
    }

    /// Says that the originator is the other side; offsets and wanted bytes are given as the directions will be then.
    ///
    /// Where the flow began with a SYN, that decides, and the flow keeps its directions.
    pub fn swap_directions(&mut self) {
        self.target.swap_directions();
    }
}
