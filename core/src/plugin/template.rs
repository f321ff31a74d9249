use super::dissect::TreeSink;
use super::{Openings, PluginError};
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

    /// Which flows it wants to be asked about, by what each side begins with; all of them where a template does not say.
    /// Most flows are nobody's, so what is told here is what makes a pipeline of many templates fast.
    fn openings(&self, _carrier: Carrier) -> Openings {
        Openings::ANY
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

    /// Reads bytes that another template made out of the flow and handed on with [`RecordSink::hand_bytes`]: `contents`
    /// says what they are, such as [`TLS_HANDSHAKE`]. `None` where it reads no such contents, which is what a template
    /// says that has nothing of its own here.
    ///
    /// What it writes and marks stands in the flow's record beside what the other one wrote. The flow stays the
    /// other's: whether more bytes are read is for that one to say, and nothing of a sink but fields, marks and
    /// `hand_bytes` does anything here. An error costs this template's words alone.
    fn parse_contents(
        &self,
        _contents: &str,
        _stream: &StreamView<'_>,
        _out: &mut RecordSink<'_>,
    ) -> Result<Option<Progress>, PluginError> {
        Ok(None)
    }
}

/// Contents of bytes that are handed on: the handshake messages of TLS (RFC 8446 section 4), one after the other,
/// without records around them.
pub const TLS_HANDSHAKE: &str = "tls-handshake";

/// Bytes that a template made out of a flow, for one that reads such contents.
#[derive(Debug, Clone, Copy, Default)]
pub struct Made<'a> {
    /// What it made of each direction, forward first.
    pub bytes: [&'a [u8]; 2],
    /// Where in the flow these came from, so that marks lead to packets; ascending. A byte comes from where the last
    /// piece does that does not begin behind it, and what precedes the first piece from the direction's beginning.
    pub pieces: [&'a [Piece]; 2],
}

/// Where made bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins in the bytes that were made.
    pub at: usize,
    /// A byte of the same direction, as this template was shown it, that brought it.
    pub from: usize,
}

/// What carries a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Carrier {
    /// TCP: the prefixes are byte streams.
    #[default]
    Tcp = 6,
    /// UDP: the prefixes are datagrams one after the other; [`StreamView::datagrams`] takes them apart.
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
    /// Over UDP, where in each direction's bytes the datagrams end, as far as that is known: of the first 64 of them.
    /// Forward first; parses and trees see it, [`probe`](ProtocolTemplate::probe) does not.
    pub datagram_ends: [&'a [u32]; 2],
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

    /// The datagrams of one direction whose ends are known, each with the offset at which it begins. One that the
    /// capture cut, or for which there was no room, is there as far as it was kept.
    pub fn datagrams(&self, direction: Direction) -> impl Iterator<Item = (usize, &'a [u8])> + use<'a> {
        let bytes = self.bytes(direction);
        let mut begin = 0;
        self.datagram_ends[direction.index()].iter().filter_map(move |end| {
            let at = std::mem::replace(&mut begin, *end as usize);
            Some((at, bytes.get(at..*end as usize)?))
        })
    }

    /// The same flow seen from its other side.
    pub(crate) fn turned(self) -> Self {
        let Self { framed: [near, far], datagram_ends: [first, second], .. } = self;
        Self {
            forward: self.backward,
            backward: self.forward,
            forward_ended: self.backward_ended,
            backward_ended: self.forward_ended,
            framed: [far, near],
            datagram_ends: [second, first],
            originator_port: self.responder_port,
            responder_port: self.originator_port,
            ..self
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
    fn hand_bytes(&mut self, contents: &str, made: Made<'_>);
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

    /// Has bytes that this template made read by the first template that reads such contents
    /// ([`ProtocolTemplate::parse_contents`]): what it decrypted, decompressed or put together.
    ///
    /// They are read once this parse has come back without an error, as part of it: the next parse begins anew, and
    /// hands over all that there is by then. The flow's template stays this one. Offsets count in the directions as
    /// they will be after [`swap_directions`](Self::swap_directions). So often in one parse as a flow may be handed
    /// over at most, however deep; of each direction as many bytes at most as are kept of a flow's.
    pub fn hand_bytes(&mut self, contents: &str, made: Made<'_>) {
        self.target.hand_bytes(contents, made);
    }
}
