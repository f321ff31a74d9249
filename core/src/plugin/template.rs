use super::PluginError;
use super::dissect::TreeSink;
use crate::flow::Direction;
use crate::record::{FieldId, FieldSpec, Mark, Record, Value};
use crate::stream::{Framed, Framing};

/// Recognises a protocol by the first bytes of a flow and reads what it shows in the clear.
///
/// A template is a pure function of the two stream prefixes: it keeps nothing between calls. The host calls
/// [`probe`](Self::probe) when bytes arrive, and once it is sure, [`parse`](Self::parse) until that is done; before
/// each call to `parse` what an earlier one wrote is forgotten.
pub trait ProtocolTemplate: Send + Sync {
    /// The fields it writes beside the typed records. One made by [`FieldSpec::limit`] says that a setting bounded what
    /// was read, and results count the flows that have it.
    fn fields(&self) -> Vec<FieldSpec> {
        Vec::new()
    }

    /// Learns the ids of its own fields, in the order of [`fields`](Self::fields).
    fn wire(&mut self, _ids: &[FieldId]) -> Result<(), PluginError> {
        Ok(())
    }

    /// Whether this flow speaks the protocol. A panic is an error of this template, and the flow goes on with the others.
    fn probe(&self, stream: &StreamView<'_>) -> Probe;

    /// The same with an error of its own, which is what the flow table calls: for a template whose [`probe`](Self::probe)
    /// can fail, and for those that stand between. The flow goes on with the other templates then.
    fn try_probe(&self, stream: &StreamView<'_>) -> Result<Probe, PluginError> {
        Ok(self.probe(stream))
    }

    /// Reads what is there into `out` and says whether more bytes would tell more.
    ///
    /// Bad traffic is not an error: write what was understood and return [`Progress::Done`].
    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError>;

    /// Draws what it reads as a tree for people, for one flow that somebody looks at. Draws nothing unless a template has
    /// its own.
    fn dissect(&self, _stream: &StreamView<'_>, _tree: &mut TreeSink<'_>) {}
}

/// What carries a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Carrier {
    /// TCP: the prefixes are byte streams.
    #[default]
    Tcp = 6,
    /// UDP: the prefixes are datagrams one after the other.
    Udp = 17,
}

/// The beginnings of both directions of a flow.
#[derive(Debug, Clone, Copy, Default)]
pub struct StreamView<'a> {
    /// The originator's first bytes, in order and without holes.
    pub forward: &'a [u8],
    /// The responder's first bytes.
    pub backward: &'a [u8],
    /// No more bytes will come forward.
    pub forward_ended: bool,
    /// No more bytes will come backward.
    pub backward_ended: bool,
    /// Where only headers are left of a direction's frames, as [`RecordSink::frames`] asked for; forward first.
    pub framed: [Option<Framed>; 2],
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
    fn frames(&mut self, direction: Direction, how: Framing);
    fn resume(&mut self);
    /// `offsets` are those of both directions, forward first.
    fn hand_over(&mut self, offsets: [usize; 2]);
    /// A value that is left out because the template has no right to it.
    fn refuse(&mut self);
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

    /// What an earlier parse of this flow wrote stands, and what this one writes is added: for a template that has read a
    /// part for good, and need not see it again.
    pub fn resume(&mut self) {
        self.target.resume();
    }

    /// Says that from some place on only the headers of a direction's frames matter, so that their bodies need not be kept.
    ///
    /// Where there are more bytes to come, the next parse (and nothing but parses) sees [`StreamView::framed`], and the
    /// headers one behind the other. It may also see the bodies, where they were kept for another reason. Of such a flow
    /// nothing can be handed over any more.
    pub fn frames(&mut self, direction: Direction, how: Framing) {
        self.target.frames(direction, how);
    }

    /// Says that the originator is the other side; offsets and wanted bytes are given as the directions will be then.
    ///
    /// Where the flow began with a SYN, that decides, and the flow keeps its directions.
    pub fn swap_directions(&mut self) {
        self.target.swap_directions();
    }

    /// Ends this template's part: from these offsets on, the other templates are asked whose protocol it is.
    ///
    /// This is how a tunnel or an upgrade (STARTTLS, CONNECT, SOCKS) hands the rest over. What was written so far stays,
    /// the [`Progress`] that is returned counts no more, and the template that recognises the rest names the flow. So
    /// call it once it is sure where the rest begins in both directions; an offset may lie behind the bytes that are
    /// there. A flow is handed over [`FlowLimits::hand_overs`](crate::flow::FlowLimits) times at most.
    pub fn hand_over(&mut self, forward: usize, backward: usize) {
        self.target.hand_over([forward, backward]);
    }
}
